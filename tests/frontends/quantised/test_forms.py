"""Forms in which exporters write quantised models: QCDQ, QONNX's operators, onnxruntime's own, integer inputs."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from exact_onnx import evaluate, fractions
from onnx import TensorProto, helper, numpy_helper

from approxhw.common.errors import InvalidModelError, UnsupportedModelError
from approxhw.frontends import read_model
from approxhw.frontends.runtime.reference import open_reference
from approxhw.ir.interpreter import run
from approxhw.ir.pass_manager import PassContext, run_passes
from approxhw.passes.pipelines import printed_exact

QONNX, MICROSOFT = "qonnx.custom_op.general", "com.microsoft"
F32 = np.float32
W = np.array([[3, -2, 1], [5, 7, -4]], np.int8)


def node(op, inputs, output, domain="", **attributes):
    return helper.make_node(op, inputs, [output], name=output, domain=domain, **attributes)


def build(nodes, constants, kind=TensorProto.FLOAT, features=2, opset=17):
    inputs = [helper.make_tensor_value_info("x", kind, ["N", features])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    tensors = [
        v if isinstance(v, TensorProto) else numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()
    ]
    graph = helper.make_graph(nodes, "net", inputs, outputs, tensors)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(QONNX, 1), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


WEIGHTS = {"w": W, "sw": F32(0.25), "b": np.array([0.3, -0.2, 0.1], F32), "s": F32(0.5), "z": np.int8(0)}
LAYER = [node("DequantizeLinear", ["w", "sw"], "wd"), node("Gemm", ["d", "wd", "b"], "y")]


def equal_to_the_oracle(model, rows):
    """Read *model*; its classes are those of exact fractions, and of onnxruntime, on every row."""
    graph = read_model(model)
    codes, _ = graph.input.op.encoding.encode(rows)
    seen = run(graph, codes)
    scores = evaluate(model, fractions(rows), "y")
    assert seen.tolist() == [max(range(len(row)), key=lambda i: (row[i], -i)) for row in scores.tolist()]
    np.testing.assert_array_equal(open_reference(model).predict(rows), seen)
    assert len(set(seen.tolist())) > 1
    return graph


ROWS = np.random.default_rng(3).integers(-20, 21, (200, 2)) / 8


@pytest.mark.parametrize(
    ("clip", "ends"),
    [
        ([("Clip", ["lo", "hi"])], (-8, 7)),
        ([("Max", ["lo"]), ("Min", ["hi"])], (-8, 7)),
        ([("Min", ["hi"])], (-128, 7)),
        ([("Clip", ["", "hi"])], (-128, 7)),
        ([("Relu", [])], (0, 127)),
        ([("Clip", ["lo", "hi"]), ("Relu", [])], (0, 7)),
    ],
)
def test_codes_may_be_clipped_between_quantizelinear_and_dequantizelinear(clip, ends):
    nodes, value = [node("QuantizeLinear", ["x", "s", "z"], "q")], "q"
    for place, (op, inputs) in enumerate(clip):
        value = f"c{place}"
        nodes.append(node(op, [nodes[-1].output[0], *inputs], value))
    constants = {**WEIGHTS, "lo": np.int8(-8), "hi": np.int8(7)}
    model = build([*nodes, node("DequantizeLinear", [value, "s", "z"], "d"), *LAYER], constants)
    graph = equal_to_the_oracle(model, ROWS * 8)
    assert graph.input.op.encoding.bits == (ends[1] - ends[0]).bit_length()
    assert [n.kind for n in graph.nodes if n.kind not in ("constant", "input")][-2:] == ["dense", "argmax"]


def test_codes_that_two_nodes_read_are_clipped_for_one_of_them():
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], "q"),
        node("Clip", ["q", "lo", "hi"], "c"),
        node("DequantizeLinear", ["c", "s", "z"], "d"),
        *LAYER,
        node("DequantizeLinear", ["q", "s", "z"], "other"),
    ]
    equal_to_the_oracle(build(nodes, {**WEIGHTS, "lo": np.int8(-3), "hi": np.int8(2)}), ROWS)


def test_weights_and_biases_may_be_clipped_and_of_32_bits():
    constants = {**WEIGHTS, "lo": np.int8(-4), "hi": np.int8(4), "bi": np.array([5, -9, 2], np.int32), "sb": F32(0.125)}
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], "q"),
        node("DequantizeLinear", ["q", "s", "z"], "d"),
        node("Clip", ["w", "lo", "hi"], "wc"),
        node("DequantizeLinear", ["wc", "sw"], "wd"),
        node("DequantizeLinear", ["bi", "sb"], "b2"),
        node("Gemm", ["d", "wd", "b2"], "y"),
    ]
    graph = equal_to_the_oracle(build(nodes, constants), ROWS)
    weights = graph.constant("layer0_weight")
    assert weights.tolist() == W.T.clip(-4, 4).tolist()
    assert (graph.constant("layer0_bias") + 128 * weights.sum(axis=1)).tolist() == [5, -9, 2]


def test_a_bias_of_one_scale_a_channel_needs_no_axis_and_keeps_every_bit():
    """2^30 + 1 steps of a scale of 24 bits are no float64: the fraction is kept."""
    scales = np.array([1 + 2**-23, 1.0, 1.0], F32)
    constants = {
        **WEIGHTS,
        "bi": np.array([2**30 + 1, 2**30 + 1, 0], np.int32),
        "sb": scales,
        "s": F32(2**7),
        "sw": F32(1),
    }
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], "q"),
        node("DequantizeLinear", ["q", "s", "z"], "d"),
        node("DequantizeLinear", ["w", "sw"], "wd"),
        node("DequantizeLinear", ["bi", "sb"], "b2", axis=0),
        node("Gemm", ["d", "wd", "b2"], "y"),
    ]
    rows = np.random.default_rng(1).integers(-128, 128, (400, 2)) * 128.0
    model = build(nodes, constants)
    graph = read_model(model)
    scores = evaluate(model, fractions(rows), "y")
    expected = [max(range(3), key=lambda i: (row[i], -i)) for row in scores.tolist()]
    assert run(graph, graph.input.op.encoding.encode(rows)[0]).tolist() == expected


def qonnx_quant(op, mode, bits, signed=1, narrow=0, zero=0.0):
    constants = {**WEIGHTS, "zp": F32(zero), "bits": F32(bits)}
    quant = node(op, ["x", "s", "zp", "bits"], "d", QONNX, rounding_mode=mode, signed=signed, narrow=narrow)
    return build([quant, *LAYER], constants)


@pytest.mark.parametrize("op", ["Quant", "IntQuant"])
@pytest.mark.parametrize("mode", ["ROUND", "HALF_EVEN", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN"])
def test_every_rounding_mode_of_qonnx(op, mode):
    for signed, narrow, zero in ((1, 0, 0.0), (1, 1, 1.0), (0, 0, 3.0)):
        equal_to_the_oracle(qonnx_quant(op, mode, 4, signed, narrow, zero), ROWS)


def test_rounding_to_zero_is_down():
    down, zero = (read_model(qonnx_quant("Quant", mode, 4)) for mode in ("DOWN", "round_to_zero"))
    assert down.input.op.encoding == zero.input.op.encoding


def test_one_signed_bit_is_the_sign():
    graph = equal_to_the_oracle(qonnx_quant("Quant", "ROUND", 1), ROWS)
    assert [n.kind for n in graph.nodes if n.kind != "constant"] == ["input", "requantize", "dense", "argmax"]
    constants = {**WEIGHTS}
    model = build([node("BipolarQuant", ["x", "s"], "d", QONNX), *LAYER], constants)
    equal_to_the_oracle(model, ROWS)


def test_weights_of_one_bit_are_plus_and_minus_the_scale():
    constants = {**WEIGHTS, "wf": np.array([[0.3, -0.2, 0.0], [-1, 2, -0.5]], F32)}
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], "q"),
        node("DequantizeLinear", ["q", "s", "z"], "d"),
        node("BipolarQuant", ["wf", "sw"], "wd", QONNX),
        node("Gemm", ["d", "wd", "b"], "y"),
    ]
    graph = equal_to_the_oracle(build(nodes, constants), ROWS)
    assert graph.constant("layer0_weight").tolist() == [[1, -1], [-1, 1], [1, -1]]


@pytest.mark.parametrize("mode", ["FLOOR", "ROUND"])
def test_trunc_keeps_the_top_bits(mode):
    constants = {**WEIGHTS, "zp": F32(0), "six": F32(6), "four": F32(4)}
    nodes = [
        node("Quant", ["x", "s", "zp", "six"], "q", QONNX, rounding_mode="ROUND", signed=1, narrow=0),
        node("Trunc", ["q", "s", "zp", "six", "four"], "d", QONNX, rounding_mode=mode),
        *LAYER,
    ]
    equal_to_the_oracle(build(nodes, constants), ROWS * 8)


def test_a_quant_of_32_bits_is_read_of_constants_alone():
    constants = {**WEIGHTS, "zp": F32(0), "four": F32(4), "wide": F32(32), "sb": F32(2**-20)}
    quant = {"domain": QONNX, "rounding_mode": "ROUND", "signed": 1, "narrow": 0}
    nodes = [
        node("Quant", ["x", "s", "zp", "four"], "d", **quant),
        node("DequantizeLinear", ["w", "sw"], "wd"),
        node("Quant", ["b", "sb", "zp", "wide"], "bq", **quant),
        node("Gemm", ["d", "wd", "bq"], "y"),
    ]
    equal_to_the_oracle(build(nodes, constants), ROWS)
    with pytest.raises(
        UnsupportedModelError, match=r"'d' \(Quant\): its bit width is not one whole number from 1 to 16"
    ):
        read_model(build([node("Quant", ["x", "s", "zp", "wide"], "d", **quant), *nodes[1:]], constants))


def test_the_quantisers_of_onnxruntime_are_those_of_the_standard():
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], "q", MICROSOFT),
        node("DequantizeLinear", ["q", "s", "z"], "d", MICROSOFT),
    ]
    made = read_model(build([*nodes, *LAYER], WEIGHTS))
    plain = read_model(build([node(n.op_type, n.input, n.output[0]) for n in nodes] + LAYER, WEIGHTS))
    assert made == plain
    with pytest.raises(UnsupportedModelError) as error:
        read_model(
            build(
                [node("QuantizeLinear", ["x", "s", "z"], "q", MICROSOFT), node("QGemm", ["q"], "y", MICROSOFT)], WEIGHTS
            )
        )
    assert str(error.value).count("QGemm") == 2  # the node's title, and why


def test_a_quantised_input_before_float_layers_gives_codes_to_a_float_graph():
    constants = {**WEIGHTS, "wf": W.astype(F32) / 7}
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], "q"),
        node("DequantizeLinear", ["q", "s", "z"], "d"),
        node("Gemm", ["d", "wf", "b"], "y"),
    ]
    model = build(nodes, constants)
    graph = read_model(model)
    assert not graph.is_integer
    assert str(graph.input.type) == "u8<2^-1,zero=128>[2]"
    codes, _ = graph.input.op.encoding.encode(ROWS)
    np.testing.assert_array_equal(run(graph, codes), open_reference(model).predict(ROWS))
    printed, _ = run_passes(graph, printed_exact(), PassContext())
    assert printed.is_integer
    assert (run(printed, codes) == run(graph, codes)).mean() > 0.97  # 8-bit weights


@pytest.mark.parametrize(
    ("kind", "dtype", "zero"), [(TensorProto.UINT8, np.uint8, 128), (TensorProto.INT8, np.int8, -3)]
)
@pytest.mark.parametrize("quantised", [True, False])
def test_whole_numbers_as_inputs_are_codes_as_they_are(kind, dtype, zero, quantised):
    constants = {**WEIGHTS, "zi": dtype(zero), "wf": W.astype(F32) / 7}
    layer = LAYER if quantised else [node("Gemm", ["d", "wf", "b"], "y")]
    model = build([node("DequantizeLinear", ["x", "s", "zi"], "d"), *layer], constants, kind)
    graph = read_model(model)
    limits = np.iinfo(dtype)
    rows = np.random.default_rng(2).integers(limits.min, limits.max + 1, (300, 2))
    codes, saturated = graph.input.op.encoding.encode(rows)
    assert (codes == rows - limits.min).all()
    assert not saturated.any()
    np.testing.assert_array_equal(run(graph, codes), open_reference(model).predict(rows))
    assert graph.input.type.format.scale == Fraction(1, 2)
    assert graph.input.type.format.zero == zero - limits.min
    assert graph.is_integer == quantised


def test_blocks_are_refused_with_what_to_do():
    constants = {**WEIGHTS, "sw": np.full((1, 3), 0.25, F32)}
    nodes = [node("QuantizeLinear", ["x", "s", "z"], "q"), node("DequantizeLinear", ["q", "s", "z"], "d"),
             node("DequantizeLinear", ["w", "sw"], "wd", axis=0, block_size=2), LAYER[1]]  # fmt: skip
    with pytest.raises(UnsupportedModelError, match=r"quantises by blocks of 2\n.*by output channel \(block_size 0\)"):
        read_model(build(nodes, constants, opset=21))


def test_an_upside_down_clip_of_codes_is_refused():
    nodes = [node("QuantizeLinear", ["x", "s", "z"], "q"), node("Clip", ["q", "hi", "lo"], "c"),
             node("DequantizeLinear", ["c", "s", "z"], "d"), *LAYER]  # fmt: skip
    with pytest.raises(UnsupportedModelError, match="its lower bound 7 is greater than its upper bound -8"):
        read_model(build(nodes, {**WEIGHTS, "lo": np.int8(-8), "hi": np.int8(7)}))


def test_an_unknown_rounding_mode_is_refused_with_those_that_are_read():
    with pytest.raises(
        UnsupportedModelError, match=r"rounding mode NEAR is not read\n.*use one of ROUND, HALF_EVEN, CEIL"
    ):
        read_model(qonnx_quant("Quant", "near", 4))


def test_a_scale_of_nothing_is_invalid():
    with pytest.raises(InvalidModelError, match=r"'d' \(BipolarQuant\): a scale is not greater than 0"):
        read_model(build([node("BipolarQuant", ["x", "s"], "d", QONNX), *LAYER], {**WEIGHTS, "s": F32(0)}))
