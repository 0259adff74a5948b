"""What runs on the engine equals, bit for bit, a plain evaluation by the reference on integers."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from approxhw.engine.matrix.api import open_engine
from approxhw.ir.tensor import emulate as engine_module
from approxhw.numerics.mac.arithmetic import FloatMac

op = helper.make_node
MACS = [
    FloatMac("bf16", 20, "an-1-2"),
    FloatMac("bf16", 16, "an-2-2"),
    FloatMac("bf16", 24, "exact"),
    FloatMac("fp16", 22, "an-1-1"),
    FloatMac("e4m3", 16, "exact"),
    FloatMac("e5m2", 17, "an-3-1"),
]


def normal(seed, *shape, scale=1.0):
    return np.random.default_rng(seed).normal(scale=scale, size=shape).astype(np.float32)


def same_bits(seen, expected):
    assert seen.keys() == expected.keys()
    for name, array in expected.items():
        assert seen[name].dtype == array.dtype
        assert seen[name].shape == array.shape
        assert array.size > 0
        np.testing.assert_array_equal(seen[name].view(np.uint32), array.view(np.uint32))


@pytest.mark.parametrize("mac", MACS, ids=str)
@pytest.mark.parametrize("name", ["mlp", "cnn", "attention"])
def test_networks(networks, plainly, name, mac):
    model, feeds, shape = networks[name]
    engine = open_engine(model, mac, shape=shape)
    expected, steps = plainly(model, feeds, mac)
    assert steps > 500
    same_bits(engine.run(feeds), expected)
    assert not engine.counts


@pytest.mark.parametrize("name", ["mlp", "cnn", "attention"])
def test_results_in_bf16(networks, plainly, name):
    model, feeds, shape = networks[name]
    mac = FloatMac("bf16", 20, "an-1-2")
    expected, _ = plainly(model, feeds, mac, result="bf16")
    wide, _ = plainly(model, feeds, mac)
    assert any((expected[key] != wide[key]).any() for key in wide)
    same_bits(open_engine(model, mac, shape=shape, result="bf16").run(feeds), expected)


@pytest.mark.parametrize("name", ["mlp", "cnn", "attention"])
def test_layers_of_their_own(networks, plainly, name):
    model, feeds, shape = networks[name]
    mac, names = FloatMac("bf16", 20, "an-1-2"), [node.name for node in model.graph.node if node.name]
    layers = {names[0]: None, names[-1]: FloatMac("e4m3", 16, "an-1-1")}
    expected, _ = plainly(model, feeds, mac, layers=layers)
    same_bits(open_engine(model, mac, layers, shape).run(feeds), expected)
    same_bits(open_engine(model, None, shape=shape).configured(mac, layers).run(feeds), expected)


@pytest.mark.parametrize("name", ["mlp", "cnn", "attention"])
def test_tiles_and_threads_change_nothing(networks, name, monkeypatch):
    model, feeds, shape = networks[name]
    mac = FloatMac("bf16", 18, "an-1-2")
    whole = open_engine(model, mac, shape=shape).run(feeds)
    calls = []
    original = engine_module.matmul_rounded
    monkeypatch.setattr(engine_module, "matmul_rounded", lambda *a, **k: calls.append(1) or original(*a, **k))
    open_engine(model, mac, shape=shape).run(feeds)
    few = len(calls)
    monkeypatch.setattr(engine_module, "TILE", 40)
    monkeypatch.setattr(engine_module, "_WORTH_A_THREAD", 1)
    for threads in (1, 3):
        calls.clear()
        same_bits(open_engine(model, mac, shape=shape, threads=threads).run(feeds), whole)
        assert len(calls) > few


def test_weights_that_are_not_kept_give_the_same_bits(networks, monkeypatch):
    model, feeds, shape = networks["attention"]
    mac = FloatMac("fp16", 22, "an-1-2")
    engine = open_engine(model, mac, shape=shape)
    whole = engine.run(feeds)
    assert len(engine.kept) == 4
    monkeypatch.setattr(engine_module, "KEPT", 300)  # bytes: room for one
    engine = open_engine(model, mac, shape=shape)
    same_bits(engine.run(feeds), whole)
    assert len(engine.kept) == 1


def one_product(make, plainly, node, operands, mac, activations=("x",)):
    constants = {name: array for name, array in operands.items() if name not in activations}
    inputs = [(name, operands[name].shape) for name in activations]
    model = make([node], constants, inputs)
    feeds = {name: operands[name] for name in activations}
    expected, steps = plainly(model, feeds, mac)
    assert steps > 0
    engine = open_engine(model, mac)
    same_bits(engine.run(feeds), expected)
    assert sum(layer.products for layer in engine.layers) == steps
    return model, feeds, expected


CONVOLUTIONS = [
    ((1, 3, 7), (4, 3, 3), {"strides": [2], "pads": [2, 0], "dilations": [2]}),
    ((2, 1, 5, 4), (2, 1, 3, 2), {"pads": [0, 1, 2, 0]}),
    ((1, 4, 5, 5), (4, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ((2, 4, 4, 4), (6, 2, 1, 1), {"group": 2}),
    ((1, 6, 3, 3), (4, 3, 3, 3), {"group": 2, "kernel_shape": [3, 3]}),
    ((1, 2, 3, 4, 3), (3, 2, 2, 2, 2), {"pads": [1, 0, 0, 0, 1, 1], "strides": [1, 2, 1], "dilations": [1, 1, 2]}),
]


@pytest.mark.parametrize(("image", "weights", "given"), CONVOLUTIONS)
def test_convolutions(make, plainly, session, image, weights, given):
    operands = {"x": normal(1, *image), "w": normal(2, *weights), "b": normal(3, weights[0])}
    node = op("Conv", ["x", "w", "b"], ["y"], **given)
    model, feeds, _ = one_product(make, plainly, node, operands, FloatMac("bf16", 20, "an-1-2"))
    near = open_engine(model, FloatMac("fp16", 24, "exact")).run(feeds)["y"]
    np.testing.assert_allclose(near, session(model, feeds)["y"], rtol=4e-3, atol=2e-2)


@pytest.mark.parametrize("how", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("strides", [[1, 1], [2, 3]])
def test_padding_by_name(make, session, how, strides):
    node = op("Conv", ["x", "w"], ["y"], auto_pad=how, strides=strides)
    model = make([node], {"w": normal(2, 3, 2, 4, 2)}, [("x", (2, 2, 7, 8))])
    feeds = {"x": normal(1, 2, 2, 7, 8)}
    near, expected = open_engine(model, FloatMac("fp16", 24, "exact")).run(feeds)["y"], session(model, feeds)["y"]
    assert near.shape == expected.shape
    np.testing.assert_allclose(near, expected, rtol=4e-3, atol=2e-2)


def test_a_convolution_of_two_activations(make, plainly):
    operands = {"x": normal(1, 1, 2, 4, 4), "w": normal(2, 3, 2, 3, 3)}
    node = op("Conv", ["x", "w"], ["y"], pads=[1, 1, 0, 0])
    one_product(make, plainly, node, operands, FloatMac("bf16", 20, "an-1-2"), ("x", "w"))


@pytest.mark.parametrize(
    ("a", "b", "activations"),
    [
        ((6,), (6, 3), ("x",)), ((2, 6), (6,), ("x",)), ((6,), (6,), ("x", "w")), ((3, 1, 4, 5), (2, 5, 3), ("x", "w")),
        ((4, 5), (2, 5, 3), ("x", "w")), ((2, 3, 4, 5), (1, 1, 5, 2), ("x",)), ((3, 4), (4, 5), ("w",)),
        ((2, 3, 4), (2, 4, 2), ("w",)), ((1, 1), (1, 1), ("x",)), ((40, 3), (3, 40), ("x",)),
    ],
)  # fmt: skip
def test_matrix_products_of_any_shape(make, plainly, a, b, activations):
    operands = {"x": normal(4, *a), "w": normal(5, *b)}
    one_product(make, plainly, op("MatMul", ["x", "w"], ["y"]), operands, FloatMac("bf16", 17, "an-2-1"), activations)


@pytest.mark.parametrize("turned", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("c", [None, (), (1,), (4,), (3, 1), (3, 4)])
def test_alpha_beta_and_c(make, plainly, turned, c):
    a, b = ((3, 6)[:: -1 if turned[0] else 1], (6, 4)[:: -1 if turned[1] else 1])
    operands = {"x": normal(6, *a), "w": normal(7, *b)} | ({} if c is None else {"c": normal(8, *c)})
    node = op("Gemm", list(operands), ["y"], transA=turned[0], transB=turned[1], alpha=0.3, beta=-1.7)
    one_product(make, plainly, node, operands, FloatMac("bf16", 20, "an-1-1"))


def test_values_far_from_one(make, plainly):
    """Exponents at both ends, so that the integer kernel runs, sums that cancel, and results beyond float32."""
    rng = np.random.default_rng(9)
    x = np.ldexp(rng.normal(size=(5, 40)), rng.integers(-120, 100, (5, 40))).astype(np.float32)
    w = np.ldexp(rng.normal(size=(40, 4)), rng.integers(-120, 100, (40, 4))).astype(np.float32)
    x[:, 20:], w[20:] = -x[:, :20], w[:20]
    node = op("MatMul", ["x", "w"], ["y"])
    _, _, expected = one_product(make, plainly, node, {"x": x, "w": w}, FloatMac("bf16", 20, "an-1-2"))
    assert np.isinf(expected["y"]).any()


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_other_element_types_keep_their_own(make, session, kind):
    number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    nodes = [op("MatMul", ["x", "w"], ["m"]), op("Relu", ["m"], ["y"])]
    model = make(nodes, {"w": normal(1, 4, 3).astype(kind)}, [("x", (2, 4), number)])
    feeds = {"x": normal(2, 2, 4).astype(kind)}
    seen, expected = open_engine(model, FloatMac("fp16", 24, "exact")).run(feeds)["y"], session(model, feeds)["y"]
    assert seen.dtype == kind
    np.testing.assert_allclose(seen, expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("name", ["mlp", "cnn", "attention"])
def test_close_to_float32_where_formats_are_wide(networks, session, name):
    model, feeds, shape = networks[name]
    seen, expected = (
        open_engine(model, FloatMac("fp16", 24, "exact"), shape=shape).run(feeds)["y"],
        session(model, feeds)["y"],
    )
    np.testing.assert_allclose(seen, expected, rtol=4e-3, atol=4e-3 * float(np.abs(expected).max()))
    assert (seen != expected).any()


@pytest.mark.parametrize("name", ["mlp", "cnn", "attention"])
def test_layers_in_float32_are_those_of_onnxruntime(networks, session, name):
    model, feeds, shape = networks[name]
    same_bits(open_engine(model, None, shape=shape).run(feeds), session(model, feeds))


def shared(first, second, **turned):
    """Return two products called a and b, the second with attributes, that read the constant v, each in a place."""
    return [op(*first, ["a"], name="a"), op(*second, ["b"], name="b", **turned)]


VECTOR = shared(("MatMul", ["v", "x"]), ("MatMul", ["x", "v"]))
FILTERS = shared(("MatMul", ["x", "v"]), ("Conv", ["z", "v"]))
MATRIX = shared(("Conv", ["z", "v"]), ("MatMul", ["x", "v"]))
TURNED = shared(("Gemm", ["x", "v"]), ("Gemm", ["x", "v"]), transB=1)
SHARED = [
    (VECTOR, (3,), {"x": (3, 3)}),
    (FILTERS, (1, 3, 4), {"x": (2, 3), "z": (1, 3, 6)}),
    (MATRIX, (1, 3, 4), {"x": (2, 3), "z": (1, 3, 6)}),
    (TURNED, (3, 3), {"x": (2, 3)}),
]


@pytest.mark.parametrize(("nodes", "shape", "inputs"), SHARED)
def test_one_constant_in_several_places(make, plainly, nodes, shape, inputs):
    """As a row and a column, as filters and a matrix, turned and as it is: what is kept of it is of each place its own."""
    model = make(nodes, {"v": normal(1, *shape)}, list(inputs.items()), outputs=("a", "b"))
    feeds = {name: normal(number, *size) for number, (name, size) in enumerate(inputs.items(), 2)}
    mac = FloatMac("bf16", 20, "an-1-2")
    engine = open_engine(model, mac)
    expected, _ = plainly(model, feeds, mac)
    for _ in range(2):
        same_bits(engine.run(feeds), expected)
    assert len(engine.kept) == 2
