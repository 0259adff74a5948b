"""A model that is quantised already keeps its integers in printed-exact; calibration moves them and says so."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from approxhw.common.data.dataset import Dataset
from approxhw.frontends import read_model
from approxhw.ir.evaluation import codes_of
from approxhw.ir.interpreter import run
from approxhw.ir.kinds import Dense
from approxhw.ir.pass_manager import PassContext, run_passes
from approxhw.passes.pipelines import printed_calibrated, printed_exact
from approxhw.passes.quantize.calibrate_weights import CalibrateWeights

F32 = np.float32
RNG = np.random.default_rng(8)
WEIGHTS = [RNG.integers(-100, 101, (4, 6)).astype(np.int8), RNG.integers(-100, 101, (6, 3)).astype(np.int8)]


def quantised(form="QDQ"):
    """Two layers of 8-bit weights; as Brevitas writes them where *form* is QONNX: floats, and how they are rounded."""
    constants = {"s": F32(0.05), "z": np.uint8(128), "sw": F32(0.01), "b": RNG.normal(size=6).astype(F32),
                 "t": F32(0.04), "y0": np.uint8(0), "w0": WEIGHTS[0], "w1": WEIGHTS[1]}  # fmt: skip
    steps = [
        ("QuantizeLinear", ["x", "s", "z"], "q"), ("DequantizeLinear", ["q", "s", "z"], "d"),
        ("DequantizeLinear", ["w0", "sw"], "v0"), ("Gemm", ["d", "v0", "b"], "h"), ("Relu", ["h"], "r"),
        ("QuantizeLinear", ["r", "t", "y0"], "p"), ("DequantizeLinear", ["p", "t", "y0"], "e"),
        ("DequantizeLinear", ["w1", "sw"], "v1"), ("MatMul", ["e", "v1"], "y"),
    ]  # fmt: skip
    nodes = [helper.make_node(op, inputs, [output]) for op, inputs, output in steps]
    domains = [""]
    if form == "QONNX":
        domains.append("qonnx.custom_op.general")
        quant = {"domain": domains[1], "signed": 1, "narrow": 1, "rounding_mode": "ROUND"}
        for place, (name, output) in ((2, ("w0", "v0")), (7, ("w1", "v1"))):
            nodes[place] = helper.make_node("Quant", [name, "sw", "zero", "eight"], [output], **quant)
            constants[name] = constants[name] * F32(0.01)
        constants |= {"zero": F32(0), "eight": F32(8)}
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(v, k) for k, v in constants.items()])
    opsets = [helper.make_opsetid(domain, 1 if domain else 17) for domain in domains]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def data_of(graph):
    rows = np.random.default_rng(1).normal(size=(200, 4))
    labels = np.random.default_rng(2).integers(0, 3, 200)  # nothing that the model would say
    return Dataset(rows, labels, rows[:0], labels[:0])


def weights_of(graph):
    return [graph.constant(node.inputs[1]) for node in graph.nodes if isinstance(node.op, Dense)]


@pytest.mark.parametrize("form", ["QDQ", "QONNX"])
def test_printed_exact_keeps_given_integers(form):
    graph = read_model(quantised(form))
    assert all((seen == given.T).all() for seen, given in zip(weights_of(graph), WEIGHTS, strict=True))
    data = data_of(graph)
    made, ledger = run_passes(graph, printed_exact(), PassContext(data))
    assert (weights_of(made)[0] == WEIGHTS[0].T).all()
    # the last layer may lose what all classes have in common
    difference = weights_of(made)[1] - WEIGHTS[1].T
    assert (difference == difference[:1]).all()
    notes = [note for entry in ledger for note in entry.notes]
    assert "the model is quantised already: its integers stay" in notes
    assert run(made, codes_of(graph, data.X_train)).tolist() == run(graph, codes_of(graph, data.X_train)).tolist()


def test_calibration_by_name_moves_them_and_says_so():
    graph = read_model(quantised())
    made, ledger = run_passes(graph, printed_calibrated(), PassContext(data_of(graph)))
    assert not np.array_equal(weights_of(made)[0], WEIGHTS[0].T)
    notes = [note for entry in ledger for note in entry.notes]
    assert "the model is quantised already: its own integers are moved, towards the labels" in notes


def hesitant():
    """A float model whose scores hardly differ: all that a row says is worth a few thousandths of a nat."""
    source = np.random.default_rng(3)
    weights = {"w": source.normal(size=(4, 6)), "v": source.normal(size=(6, 3)) / 500}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])
    tensors = [numpy_helper.from_array(value.astype(F32), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_an_exact_pipeline_trades_no_row_for_digits():
    """A digit costs more than a row of such a model is worth: whoever trades them loses rows."""
    assert CalibrateWeights().digit_cost == 0
    assert not any(isinstance(step, CalibrateWeights) for step in printed_exact())
    assert [step.digit_cost for step in printed_calibrated() if isinstance(step, CalibrateWeights)] == [0.02]
    graph = read_model(hesitant())
    rows = np.random.default_rng(1).normal(size=(300, 4))
    data = Dataset(rows, run(graph, rows), rows[:0], np.zeros(0, np.int64))
    exact = run_passes(graph, printed_exact(), PassContext(data))[0]
    quantised = run_passes(graph, printed_exact()[:3], PassContext(data))[0]  # up to quantize-weights
    codes = codes_of(quantised, rows)
    assert run(exact, codes).tolist() == run(quantised, codes).tolist()
    dear = run_passes(graph, printed_calibrated(digit_cost=5.0), PassContext(data))[0]
    assert (run(dear, codes) != run(quantised, codes)).any()
