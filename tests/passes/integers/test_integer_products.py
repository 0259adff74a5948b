"""Products of codes from quantised models of every form: layer by layer within one unit of onnxruntime, or equal to it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from small_networks import ROWS

from approxhw.common.errors import PassError
from approxhw.frontends.products.partition import open_model
from approxhw.ir.graph import identifier
from approxhw.ir.kinds.tensor.integers import ConvInteger, MatMulInteger, Rescale
from approxhw.ir.pass_manager import PassContext, run_passes
from approxhw.ir.tensor.run import walk_tensors
from approxhw.ir.verifier import problems


def integer_form(model):
    opened = open_model(model, {"x": ROWS.shape}, integers=True)
    graph, records = run_passes(opened.graph, "integer-products", PassContext())
    assert problems(graph) == []
    values = {}
    walk_tensors(graph, {"x": ROWS}, opened.host, None, lambda node, value: values.setdefault(node.name, value))
    return graph, values, records[-1].notes


def kinds_of(graph):
    return [
        type(node.op).__name__ for node in graph.nodes if isinstance(node.op, ConvInteger | MatMulInteger | Rescale)
    ]


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(("activations", "weights"), [("u8", "s8"), ("s8", "s8"), ("u8", "u8")])
def test_quantised_layers_are_within_a_unit_of_onnxruntime(
    quantised, by_onnxruntime, activations, weights, per_channel
):
    model = quantised("QDQ", activations, weights, per_channel)
    graph, values, notes = integer_form(model)
    assert kinds_of(graph) == ["ConvInteger", "Rescale", "ConvInteger", "Rescale", "MatMulInteger", "Rescale",
                               "MatMulInteger", "Rescale"]  # fmt: skip
    assert notes == ("4 products of codes, 4 results rescaled to codes",)
    names = {
        identifier(node.output[0]): node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"
    }
    expected = by_onnxruntime(model, tuple(names.values()))
    count = 0
    for node in graph.nodes:
        if isinstance(node.op, Rescale):
            off = np.abs(values[node.name].astype(int) - expected[names[node.name]].astype(int))
            assert off.max() <= 1
            count += off.size
    assert count == 64 * (8 * 64 + 8 * 64 + 10 + 6)
    classes = values[graph.output].argmax(axis=1), expected["y"].argmax(axis=1)
    assert (classes[0] == classes[1]).mean() >= 0.999


@pytest.mark.parametrize(
    ("activations", "weights", "per_channel"), [("u8", "s8", True), ("s8", "s8", False), ("u8", "u8", False)]
)
def test_operators_of_codes_mean_what_onnx_says(quantised, activations, weights, per_channel):
    """onnxruntime's own kernels of QLinearConv saturate sums of pairs on some machines: the reference of ONNX does not."""
    model = quantised("QOperator", activations, weights, per_channel)
    assert {"QLinearConv", "QGemm", "QLinearMatMul"} <= {node.op_type for node in model.graph.node}
    graph, values, _ = integer_form(model)
    assert kinds_of(graph).count("ConvInteger") == 2
    titles = [node.op.title for node in graph.nodes if isinstance(node.op, ConvInteger | MatMulInteger)]
    assert titles[:3] == ["conv1_quant", "conv2_quant", "fc1_quant"]
    assert titles[3:] == ([] if per_channel else ["fc2_quant"])  # a scale a column of it may be along any axis
    convolutions = [node for node in model.graph.node if node.op_type == "QLinearConv"]
    first = onnx.ModelProto()
    first.CopyFrom(model)
    del first.graph.node[list(model.graph.node).index(convolutions[0]) + 1 :]
    del first.graph.output[:]
    first.graph.output.append(onnx.ValueInfoProto(name=convolutions[0].output[0]))
    expected = ReferenceEvaluator(first).run(None, {"x": ROWS})[0]
    (name,) = [node.name for node in graph.nodes if node.name == identifier(convolutions[0].output[0])]
    off = np.abs(values[name].astype(int) - expected.astype(int))
    assert off.max() <= 1
    assert off.size == 64 * 8 * 64


def test_dynamic_quantisation_stays_exact(quantised):
    model = quantised("dynamic")
    graph, values, notes = integer_form(model)
    assert kinds_of(graph) == ["ConvInteger", "ConvInteger", "MatMulInteger", "MatMulInteger"]
    assert notes == ("4 products of codes, 0 results rescaled to codes",)
    # the sums are whole and equal; scales are worked out in float32, in an order of each one's own
    expected = ReferenceEvaluator(model).run(None, {"x": ROWS})[0]
    assert np.abs(values[graph.output] - expected).max() < 0.05
    assert (values[graph.output].argmax(axis=1) == expected.argmax(axis=1)).mean() >= 0.98


def test_accumulators_are_as_narrow_as_the_weights_allow(quantised):
    graph, values, _ = integer_form(quantised("QDQ"))
    for node in graph.nodes:
        if isinstance(node.op, ConvInteger | MatMulInteger):
            mac = node.op.arithmetic
            assert (mac.operator, mac.signed, mac.weight_bits) == ("exact", "weight", 8)
            assert 16 < mac.accumulator_bits < 24
            assert np.abs(values[node.name]).max() < 1 << mac.accumulator_bits


def test_a_model_of_numbers_alone_is_told_what_lacks(opened):
    with pytest.raises(
        PassError,
        match=r"its operands are no numbers that 8-bit codes stand for\n    do: run quantize-model before",
    ):
        run_passes(opened.graph, "integer-products", PassContext())


def test_sums_that_no_accumulator_holds_are_named():
    weights = np.full((70_000, 2), 127, np.int8)
    held = {"w": weights, "s": np.array(0.5, np.float32), "z": np.array(0, np.uint8), "wz": np.array(0, np.int8)}
    nodes = [
        onnx.helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        onnx.helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        onnx.helper.make_node("DequantizeLinear", ["w", "s", "wz"], ["v"]),
        onnx.helper.make_node("MatMul", ["d", "v"], ["y"], name="wide"),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info("x", 1, [1, 70_000])],
        [onnx.helper.make_tensor_value_info("y", 1, [1, 2])],
        [onnx.numpy_helper.from_array(array, name) for name, array in held.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    opened = open_model(model, integers=True)
    why = r"layer 'wide': its sums need 33 bits, and an accumulator has 32 at most"
    with pytest.raises(PassError, match=why):
        run_passes(opened.graph, "integer-products", PassContext())
