"""Whole-number Nodes of tensor Graphs: equal to onnxruntime, to the operators' plain references, and rules that they keep."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import Constant, Type
from approxhw.ir.kinds.tensor.integers import ConvInteger, DequantizeLinear, MatMulInteger, QuantizeLinear, Rescale
from approxhw.ir.kinds.tensor.ops import Feed
from approxhw.ir.tensor.run import run_tensors
from approxhw.ir.verifier import problems
from approxhw.numerics.exact.fixed_point import requantized, requantized_sum
from approxhw.numerics.formats import FLOAT32, Fixed, dtype_of, format_of
from approxhw.numerics.mac.integer_mac import IntegerMac, accumulate_integer, patterns
from approxhw.numerics.multipliers.families import own_operator

RNG = np.random.default_rng(3)
SUMS = Fixed(32, True)


def constant(name, array):
    return Node(name, Constant(array), (), Type(array.shape, format_of(array.dtype)))


def feed(name, array):
    return Node(name, Feed(name), (), Type(array.shape, format_of(array.dtype)))


def made(op, shape, arrays, fmt=SUMS, fed=("x",)):
    """Return what a Graph of *op* alone, which keeps the rules, makes of *arrays* by name."""
    nodes = [feed(name, array) if name in fed else constant(name, array) for name, array in arrays.items()]
    graph = Graph("one", (*nodes, Node("y", op, tuple(arrays), Type(shape, fmt))), "y", results=(("y", "y"),))
    assert problems(graph) == []
    feeds = {name: arrays[name] for name in fed}
    found = run_tensors(graph, feeds, None, None)["y"]
    assert found.dtype == dtype_of(fmt)
    return found


def by_onnxruntime(kind, arrays, **attributes):
    names = {np.dtype("float32"): TensorProto.FLOAT}
    inputs = [
        helper.make_tensor_value_info(name, names.get(a.dtype, helper.np_dtype_to_tensor_dtype(a.dtype)), a.shape)
        for name, a in arrays.items()
    ]
    node = helper.make_node(kind, list(arrays), ["y"], **attributes)
    graph = helper.make_graph([node], "g", inputs, [helper.make_empty_tensor_value_info("y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, arrays)[0]


def codes(dtype, *shape):
    limits = np.iinfo(dtype)
    return RNG.integers(limits.min, limits.max + 1, shape).astype(dtype)


@pytest.mark.parametrize("w_type", [np.int8, np.uint8])
@pytest.mark.parametrize("shapes", [((3, 7), (7, 5)), ((2, 3, 7), (7, 5)), ((2, 1, 3, 7), (2, 7, 5))])
def test_products_of_matrices_are_those_of_onnxruntime(w_type, shapes):
    x, w = codes(np.uint8, *shapes[0]), codes(w_type, *shapes[1])
    zeros = {"x_zero": np.array(131, np.uint8), "w_zero": np.array(17, w_type)}
    narrow = w // 2  # some of its kernels saturate sums of two products of signed weights
    arrays = {"x": x, "w": narrow, **zeros}
    expected = by_onnxruntime("MatMulInteger", arrays)
    assert (made(MatMulInteger("m"), expected.shape, arrays) == expected).all()
    arrays["w"] = w
    expected = (x.astype(int) - 131) @ (w.astype(int) - 17)
    assert (made(MatMulInteger("m"), expected.shape, arrays) == expected).all()
    wide = IntegerMac(accumulator_bits=24)
    assert (made(MatMulInteger("m", wide), expected.shape, arrays) == expected).all()


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"pads": [1, 0, 2, 1], "strides": [2, 1]},
        {"dilations": [2, 2], "group": 2},
        {"auto_pad": "SAME_UPPER", "group": 4},
    ],
)
def test_convolutions_are_those_of_onnxruntime(given):
    group = given.get("group", 1)
    x, w = codes(np.uint8, 2, 4, 7, 6), codes(np.uint8, 8, 4 // group, 3, 2)
    arrays = {"x": x, "w": w, "x_zero": np.array(5, np.uint8), "w_zero": np.array(130, np.uint8)}
    expected = by_onnxruntime("ConvInteger", arrays, **given)
    plain = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    for mac in (None, IntegerMac(accumulator_bits=24), IntegerMac("exact", "none", accumulator_bits=24)):
        assert (made(ConvInteger("c", arithmetic=mac, **plain), expected.shape, arrays) == expected).all()


@pytest.mark.parametrize("operator", ["truncated-6", "leading-3", "rounded"])
@pytest.mark.parametrize("signed", ["weight", "none", "both"])
def test_operators_make_the_products_and_padding_is_multiplied_too(operator, signed):
    """One filter over 2 × 2 images with a border: 25 patches by plain loops over the operator's own reference."""
    mac = IntegerMac(operator, signed, accumulator_bits=24)
    table = own_operator(operator).table(8, 8, signed).products.astype(np.int32)
    x, w = codes(np.uint8, 3, 1, 2, 2), codes(np.int8, 2, 1, 2, 2)
    coefficients = np.array([3, -2], np.int32)
    arrays = {
        "x": x,
        "w": w,
        "x_zero": np.array(9, np.uint8),
        "w_zero": np.zeros(2, np.int8),
        "t": table,
        "c": coefficients,
    }
    found = made(ConvInteger("c", pads=(1, 1, 1, 1), arithmetic=mac, variate=3), (3, 2, 3, 3), arrays)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=9)
    count = 0
    for image, channel, i, j in np.ndindex(found.shape):
        patch, filters = padded[image, 0, i : i + 2, j : j + 2].reshape(-1), w[channel].reshape(-1)
        left, moved_w = patterns(filters, 8, mac.weight_signed)
        right, moved_x = patterns(patch, 8, mac.x_signed)
        total = 0
        for a, b in zip(left.tolist(), right.tolist(), strict=True):
            total = accumulate_integer(mac, total, a, b, table)
        weights, numbers = filters.astype(int) + moved_w, patch.astype(int) + moved_x
        z_x, z_w = 9 + moved_x, moved_w
        total += -z_x * int(weights.sum()) - z_w * int(numbers.sum()) + 4 * z_x * z_w
        total += int(coefficients[channel]) * int((right & 7).sum())
        assert found[image, channel, i, j] == total
        count += 1
    assert count == 54


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_codes_of_real_numbers_are_those_of_onnxruntime(dtype):
    x = np.concatenate([RNG.normal(0, 40, 4000), np.arange(-300, 300) / 2, [np.inf, -np.inf, 3e38]]).astype(np.float32)
    x = np.stack([x, -x, x / 7])
    scale, zero = np.array([0.5, 0.3, 1.7], np.float32), np.array([0, 3, 100], dtype)
    expected = by_onnxruntime("QuantizeLinear", {"x": x, "s": scale, "z": zero}, axis=0)
    arrays = {"x": x, "s": scale, "z": zero}
    assert (made(QuantizeLinear(0), x.shape, arrays, format_of(np.dtype(dtype))) == expected).all()
    back = by_onnxruntime("DequantizeLinear", {"x": expected, "s": scale, "z": zero}, axis=0)
    assert (made(DequantizeLinear(0), x.shape, {"x": expected, "s": scale, "z": zero}, FLOAT32) == back).all()


def test_rescaled_sums_are_their_definition_in_fractions():
    ends = np.array([-(1 << 31), (1 << 31) - 1, 0, 1, -1, 3, 5, -5, 6, -6])
    sums = np.concatenate([ends, RNG.integers(-(1 << 31), 1 << 31, 200)])
    count = 0
    for multiplier, shift in [(1, 0), (1, 1), ((1 << 31) - 1, 62), (1 << 30, 31), (3, 2), (0, 5), (1 << 30, 60)]:
        found = requantized(sums, 0, multiplier, shift, 3, -128, 127)
        assert found.tolist() == [requantized_sum(total, multiplier, shift, 3, -128, 127) for total in sums.tolist()]
        count += len(sums)
    assert count == 1470
    op = Rescale(3, -128, 127, axis=1)
    arrays = {
        "x": sums.reshape(-1, 3).astype(np.int32),
        "m": np.array([1 << 30, 1, 7], np.int32),
        "s": np.array([50, 0, 4], np.int32),
    }
    columns = [
        requantized(arrays["x"][:, i].astype(int), 0, m, s, 3, -128, 127)
        for i, (m, s) in enumerate([(1 << 30, 50), (1, 0), (7, 4)])
    ]
    assert (made(op, (70, 3), arrays, Fixed(8, True)) == np.stack(columns, axis=1)).all()


X, W = codes(np.uint8, 2, 3), codes(np.int8, 3, 4)
ZERO_X, ZERO_W = np.array(1, np.uint8), np.array(0, np.int8)


@pytest.mark.parametrize(
    ("op", "arrays", "fmt", "said"),
    [
        (MatMulInteger("m", IntegerMac("truncated-4")), {"w": W}, SUMS, "[arity] matmulinteger has 5 inputs, this one has 4"),
        (MatMulInteger("m", variate=9), {"w": W}, SUMS, "[attributes] variate 9 is no number of bits from 0 to 8"),
        (MatMulInteger("m"), {"w": W.astype(np.int16)}, SUMS, "[formats] it reads s16, not codes of 8 bits"),
        (MatMulInteger("m"), {"w": W, "wz": ZERO_X}, SUMS, "[formats] zero point u8 of codes s8"),
        (MatMulInteger("m"), {"w": W, "wz": np.zeros(3, np.int8)}, SUMS, "[shapes] 3 zero points for 4 columns"),
        (MatMulInteger("m"), {"w": W, "xz": np.ones(2, np.uint8)}, SUMS, "[shapes] 2 zero points of x, not 1"),
        (MatMulInteger("m"), {"w": W[:2]}, SUMS, "[shapes] 2 × 3 by 2 × 4 is no matrix product"),
        (MatMulInteger("m"), {"w": W}, Fixed(16, True), "[formats] it makes s32, not s16"),
        (MatMulInteger("m", IntegerMac(accumulator_bits=12)), {"w": np.full((3, 4), 127, np.int8)}, SUMS,
         "[arithmetic] its sums need 17 bits, the accumulator has 12"),
        (MatMulInteger("m", IntegerMac(weight_bits=4)), {"w": np.full((3, 4), 7, np.int8)}, SUMS, None),
        (MatMulInteger("m", IntegerMac(weight_bits=4)), {"w": np.full((3, 4), -9, np.int8)}, SUMS,
         "[arithmetic] weights from -9 to 0 are no codes of 4 bits"),
        (MatMulInteger("m", IntegerMac("truncated-4")), {"w": W, "t": np.zeros((4, 4), np.int32)}, SUMS,
         "[shapes] its table is [4, 4], its operands have 8 and 8 bits"),
    ],
)  # fmt: skip
def test_every_broken_rule_of_a_product_is_told(op, arrays, fmt, said):
    held = {"x": X, "w": arrays["w"], "xz": arrays.get("xz", ZERO_X), "wz": arrays.get("wz", arrays["w"].dtype.type(0))}
    held = {name: np.asarray(array) for name, array in held.items()}
    held |= {name: array for name, array in arrays.items() if name == "t"}
    nodes = [feed(n, a) if n == "x" else constant(n, a) for n, a in held.items()]
    graph = Graph("one", (*nodes, Node("y", op, tuple(held), Type((2, 4), fmt))), "y", results=(("y", "y"),))
    found = [problem.why for problem in problems(graph)]
    assert found == [] if said is None else said in found, found


@pytest.mark.parametrize(
    ("op", "kinds", "fmt", "said"),
    [
        (Rescale(0, -129, 127), (np.int32,) * 3, Fixed(8, True), "[formats] codes from -129 to 127 are no s8"),
        (Rescale(200, 0, 127), (np.int32,) * 3, Fixed(8), "[attributes] zero 200 does not lie in 0…127"),
        (Rescale(0, 0, 255), (np.int64, np.int32, np.int32), Fixed(8), "[formats] sums is s64, not s32"),
        (Rescale(0, 0, 255, 5), (np.int32,) * 3, Fixed(8), "[shapes] 3 values do not go along axis 5 of [2, 3]"),
        (QuantizeLinear(-1), (np.float32, np.float32, np.uint8), Fixed(8), "[attributes] axis -1 is no axis"),
        (QuantizeLinear(), (np.float32, np.float32, np.int8), Fixed(8), "[formats] zero is s8, not u8"),
        (DequantizeLinear(), (np.uint8, np.float32, np.int8), FLOAT32, "[formats] zero is s8, not u8"),
    ],
)
def test_every_broken_rule_of_codes_is_told(op, kinds, fmt, said):
    arrays = {"x": np.zeros((2, 3), kinds[0]), "a": np.full(3, 70, kinds[1]), "b": np.full(3, 70, kinds[2])}
    nodes = [feed(n, a) if n == "x" else constant(n, a) for n, a in arrays.items()]
    graph = Graph("one", (*nodes, Node("y", op, tuple(arrays), Type((2, 3), fmt))), "y", results=(("y", "y"),))
    found = [problem.why for problem in problems(graph)]
    assert said in found
    if isinstance(op, Rescale) and op.zero == 0 and kinds[0] is np.int32 and fmt == Fixed(8) and op.axis == 1:
        assert "[constants] a shift does not lie in 0…63" in found


def test_shifts_and_multipliers_out_of_range_are_told():
    arrays = {"x": np.zeros((2, 3), np.int32), "m": np.array([-1], np.int32), "s": np.array([64], np.int32)}
    nodes = [feed(n, a) if n == "x" else constant(n, a) for n, a in arrays.items()]
    y = Node("y", Rescale(0, 0, 255), tuple(arrays), Type((2, 3), Fixed(8)))
    graph = Graph("one", (*nodes, y), "y", results=(("y", "y"),))
    assert [problem.why for problem in problems(graph)] == [
        "[constants] a multiplier does not lie in 0…2147483647",
        "[constants] a shift does not lie in 0…63",
    ]
