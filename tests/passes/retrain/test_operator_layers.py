"""Layers of PyTorch with an operator's products: sums bit for bit those of the interpreter, slopes those that are said."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest

from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import Constant, Relu, Type
from approxhw.ir.kinds.tensor.integers import ConvInteger, DequantizeLinear, MatMulInteger, QuantizeLinear, Rescale
from approxhw.ir.kinds.tensor.ops import Add, Feed
from approxhw.ir.kinds.tensor.products import operand_sizes, product_of
from approxhw.ir.tensor.run import walk_tensors
from approxhw.ir.verifier import problems
from approxhw.numerics.formats import FLOAT32, Fixed, dtype_of
from approxhw.numerics.mac.integer_mac import IntegerMac
from approxhw.numerics.multipliers.families import own_operator

SUMS = Fixed(32, True)
CONVOLUTIONS = [
    {},
    {"strides": (2, 1), "pads": (1, 0, 2, 1)},
    {"group": 2, "pads": (1, 1, 1, 1)},
    {"dilations": (2, 1), "auto_pad": "SAME_UPPER", "strides": (2, 2)},
    {"auto_pad": "SAME_LOWER", "group": 2},
    {"auto_pad": "VALID", "pads": ()},
]
SIGNS = [(False, True), (True, True), (False, False)]
"""Whether codes of x and of the weights are signed."""
MACS = [
    ("exact", "weight", "exact"),
    ("truncated-7", "weight", "exact"),
    ("leading-3", "both", "exact"),
    ("rounded", "none", "or-3"),
    ("logarithmic", "weight", "cut-2"),
]


@cache
def products(operator, weight_bits, signed):
    return own_operator(operator).table(weight_bits, 8, signed).products


def layer_graph(seed, mac, op=None, x_signed=False, w_signed=True):
    """Return a Graph of one product between codes of its feed and a Rescale, and rows for it; *op*: of a convolution."""
    rng = np.random.default_rng(seed)
    nodes = []

    def add(name, op, inputs, shape, fmt):
        nodes.append(Node(name, op, tuple(inputs), Type(tuple(map(int, shape)), fmt)))
        return name

    def held(name, data, fmt):
        return add(name, Constant(np.asarray(data).astype(dtype_of(fmt))), (), np.shape(data), fmt)

    code, weight = Fixed(8, x_signed), Fixed(8, w_signed)
    shape = (3, 4, 6, 5) if op is not None else (12, 2, 9)
    sizes = (6, 4 // op.get("group", 1), 3, 2) if op is not None else (9, 7)
    columns = sizes[0] if op is not None else sizes[1]
    add("x", Feed("x", ("n", *shape[1:])), (), shape, FLOAT32)
    zero, scale = held("zero", rng.integers(code.low, code.high + 1), code), held("scale", 0.5, FLOAT32)
    add("codes", QuantizeLinear(0), ["x", scale, zero], shape, code)
    half = 1 << (mac.weight_bits - 1)
    low, high = (-half, half) if w_signed else (0, 2 * half)
    held("w", rng.integers(low, high, sizes), weight)
    middle = 0 if w_signed else half
    held("w_zero", middle + rng.integers(-3, 4, columns if seed % 2 else ()), weight)
    operands = ["codes", "w", "zero", "w_zero"]
    if mac.operator != "exact":
        operands.append(held("table_of_it", products(mac.operator, mac.weight_bits, mac.signed), SUMS))
    made = ConvInteger("layer", arithmetic=mac, **op) if op is not None else MatMulInteger("layer", mac)
    result = operand_sizes(product_of(made, tuple(operands)), [shape, sizes]).output
    add("sums", made, operands, result, SUMS)
    axis = 1 if op is not None else 2
    along = (1, columns, 1, 1) if op is not None else (columns,)
    add("biased", Add(), ["sums", held("bias", rng.integers(-9999, 9999, along), SUMS)], result, SUMS)
    held("multiplier", rng.integers(1 << 30, 1 << 31, columns), SUMS)
    held("shift", rng.integers(39, 42, columns), SUMS)
    add("next", Rescale(7, 7, 255, axis), ["biased", "multiplier", "shift"], result, Fixed(8))
    held("seven", 7, Fixed(8))
    add("numbers", DequantizeLinear(0), ["next", "scale", "seven"], result, FLOAT32)
    add("y", Relu(), ["numbers"], result, FLOAT32)
    graph = Graph("layer", tuple(nodes), "y", source="layer", results=(("y", "y"),))
    assert problems(graph) == []
    return graph, (rng.normal(size=shape) * 90).astype(np.float32)


@pytest.mark.parametrize(("operator", "signed", "adder"), MACS)
@pytest.mark.parametrize("op", [None, *CONVOLUTIONS])
def test_sums_are_the_interpreters_bit_for_bit(pytorch, operator, signed, adder, op):
    from approxhw.passes.retrain._network import differentiable

    seed = MACS.index((operator, signed, adder)) + len(op or ())
    signs = SIGNS[seed % 3]
    graph, rows = layer_graph(seed, IntegerMac(operator, signed, 8, 8, 32, adder), op, *signs)
    expected = {}
    walk_tensors(graph, {"x": rows}, None, None, lambda node, value: expected.setdefault(node.name, value))
    assert len(np.unique(expected["next"])) > 8  # nothing is cut off whole
    seen = differentiable(graph, "straight", 0).values({"x": rows})
    for name in ("codes", "sums", "biased", "next", "numbers", "y"):
        assert tuple(seen[name].shape) == expected[name].shape
        assert (seen[name].detach().numpy() == expected[name]).all(), name


@pytest.mark.parametrize("operator", ["exact", "truncated-6"])
@pytest.mark.parametrize("weight_bits", [4, 8])
def test_weights_of_four_bits_stay_theirs(pytorch, operator, weight_bits):
    from approxhw.passes.retrain._network import differentiable

    graph, _ = layer_graph(3, IntegerMac(operator, "weight", weight_bits, 8, 32))
    (layer,) = differentiable(graph, "table", 8).layers.values()
    assert (layer.low, layer.high) == (-(1 << (weight_bits - 1)), (1 << (weight_bits - 1)) - 1)
    with pytorch.no_grad():
        layer.weights.add_(1000)
    layer.settle()
    assert (layer.whole_weights() == layer.high).all()


@pytest.mark.parametrize(("signed", "signs"), [("weight", SIGNS[1]), ("none", SIGNS[0]), ("both", SIGNS[2])])
@pytest.mark.parametrize("op", [None, *CONVOLUTIONS[:4]])
@pytest.mark.parametrize("gradient", ["table", "straight"])
def test_slopes_of_an_exact_operator_are_those_of_the_product(pytorch, signed, signs, op, gradient):
    """Whatever signs its operands have beside those of the codes: zero points and turned top bits cancel out."""
    from approxhw.passes.retrain._network import differentiable

    graph, rows = layer_graph(5, IntegerMac("truncated-0", signed, 8, 8, 32), op, *signs)
    network = differentiable(graph, gradient, 9)
    (layer,) = network.layers.values()
    codes = network.values({"x": rows})["codes"].detach().requires_grad_()
    sums = layer.sums(codes)
    back = pytorch.from_numpy(np.random.default_rng(1).normal(size=sums.shape))
    sums.backward(back)
    x = codes.detach().double().requires_grad_()
    weights = layer.weights.detach().double().requires_grad_()
    w_zero = pytorch.from_numpy(graph.constant("w_zero").astype(np.float64))
    moved = x - float(graph.constant("zero"))
    if op is None:
        plain = moved @ (weights - w_zero)
    else:
        pads = [0, 0, 0, 0] if op.get("auto_pad") == "VALID" else list(op.get("pads") or [0, 0, 0, 0])
        # of 6 and 5 places: filters over 5 and 2, every second one; over 3 and 2, each
        pads = {"SAME_UPPER": [1, 0, 2, 1], "SAME_LOWER": [1, 1, 1, 0]}.get(op.get("auto_pad"), pads)
        padded = pytorch.nn.functional.pad(moved, (pads[1], pads[3], pads[0], pads[2]))
        zeros = w_zero.reshape(-1, 1, 1, 1)
        plain = pytorch.nn.functional.conv2d(
            padded, weights - zeros, None, op.get("strides", 1), 0, op.get("dilations", 1), op.get("group", 1)
        )
    assert (plain == sums.detach()).all()
    plain.backward(back)
    assert pytorch.allclose(codes.grad.double(), x.grad, rtol=1e-4, atol=0.05)
    assert pytorch.allclose(layer.weights.grad.double(), weights.grad, rtol=1e-4, atol=0.05)
    assert layer.moves.grad.numpy() == pytest.approx(
        back.sum(tuple(i for i in range(back.ndim) if i != (1 if op is not None else 2))).numpy(), rel=1e-5
    )


def test_slopes_of_a_coarse_operator_are_its_own(pytorch):
    """A product that ignores the low half of x has no slope there but that of its mean: twice a step, then none."""
    from approxhw.numerics.multipliers.gradients import gradient_tables
    from approxhw.passes.retrain._network import differentiable

    graph, rows = layer_graph(4, IntegerMac("truncated-9", "weight", 8, 8, 32))
    found = {}
    for gradient in ("table", "straight"):
        network = differentiable(graph, gradient, 3)
        (layer,) = network.layers.values()
        codes = network.values({"x": rows})["codes"].detach().requires_grad_()
        layer.sums(codes).sum().backward()
        found[gradient] = codes.grad.numpy(), layer.weights.grad.numpy()
    along_w, along_x = gradient_tables(graph.constant("table_of_it"), "weight", 3)
    x = codes.detach().numpy().reshape(-1, 9).astype(int)
    w = graph.constant("w") % 256
    zeros = graph.constant("w_zero").astype(float).sum() * 7
    expected = along_x[w[None], x[:, :, None]].sum(axis=2) - zeros
    assert found["table"][0].reshape(-1, 9) == pytest.approx(expected, rel=1e-4, abs=1e-2)
    expected = (along_w[w[None], x[:, :, None]] - float(graph.constant("zero"))).sum(axis=0)
    assert found["table"][1] == pytest.approx(expected, rel=1e-4, abs=1e-2)
    assert np.abs(found["table"][1] - found["straight"][1]).max() > 100


def test_slopes_stop_where_codes_are_cut_off(pytorch):
    from approxhw.passes.retrain._network import differentiable

    graph, rows = layer_graph(2, IntegerMac("exact", "weight", 8, 8, 32))
    network = differentiable(graph, "table", 16)
    values = network.values({"x": rows})
    for name in ("biased", "next"):
        values[name].retain_grad()
    values["next"].sum().backward()
    slope, codes = values["biased"].grad.numpy(), values["next"].detach().numpy()
    factor = graph.constant("multiplier") / 2.0 ** graph.constant("shift")
    assert ((slope == 0) | (np.abs(slope / factor - 1) < 1e-6)).all()
    assert (slope[(codes > 7) & (codes < 255)] != 0).all()
    assert (slope == 0).mean() > 0.1


NODES = [
    ("AveragePool", {"kernel_shape": [2, 3], "strides": [1, 2], "pads": [1, 0, 0, 2]}, []),
    ("AveragePool", {"kernel_shape": [2, 2], "pads": [1, 1, 0, 0], "count_include_pad": 1}, []),
    ("BatchNormalization", {"epsilon": 0.1}, [np.array([1.5, 2]), np.array([3, -1]), np.array([0.5, 1]), np.array([4, 1])]),
    ("Clip", {}, [np.array(-0.5), np.array(0.5)]),
    ("Concat", {"axis": 1}, [np.ones((3, 1, 6, 5))]),
    ("Flatten", {"axis": 2}, []),
    ("GlobalAveragePool", {}, []),
    ("GlobalMaxPool", {}, []),
    ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0, 1, 1, 1], "dilations": [2, 1]}, []),
    ("ReduceMean", {"axes": [2, 3], "keepdims": 0}, []),
    ("Reshape", {}, [np.array([0, -1, 5])]),
    ("Softmax", {"axis": 1}, []),
    ("Transpose", {}, []),
    ("Transpose", {"perm": [0, 2, 3, 1]}, []),
    ("Unsqueeze", {}, [np.array([0, -1])]),
    *[(name, {}, []) for name in ("Identity", "Neg", "Relu", "Sigmoid", "Tanh", "Squeeze", "LogSoftmax")],
    *[(name, {}, [np.array([2.0, -3]).reshape(2, 1, 1)]) for name in ("Add", "Sub", "Mul", "Div")],
]  # fmt: skip


@pytest.mark.parametrize(("name", "attributes", "more"), NODES)
def test_nodes_of_the_host_are_those_of_onnx(pytorch, name, attributes, more):
    from approxhw.passes.retrain._host_nodes import host_node_problem, host_value

    x = np.random.default_rng(6).normal(size=(3, 2, 6, 5)).astype(np.float32)
    given = [
        each.astype(np.int64 if each.dtype.kind == "i" and name != "BatchNormalization" else np.float32)
        for each in more
    ]
    names = [f"c{i}" for i in range(len(given))]
    node = onnx.helper.make_node(name, ["x", *names], ["y"], **attributes)
    graph = onnx.helper.make_graph(
        [node],
        "g",
        [onnx.helper.make_tensor_value_info("x", 1, x.shape)],
        [onnx.helper.make_tensor_value_info("y", 1, None)],
        [onnx.numpy_helper.from_array(array, title) for array, title in zip(given, names)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert host_node_problem(node, dict(zip(names, given)), 17) == ""
    seen = host_value(node, [pytorch.from_numpy(x), *map(pytorch.from_numpy, given)]).numpy()
    (expected,) = session.run(None, {"x": x})
    assert seen.shape == expected.shape
    assert seen == pytest.approx(expected, rel=1e-5, abs=1e-6)
