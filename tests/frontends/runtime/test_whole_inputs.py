"""Models that declare whole numbers as input, and readings that are none: taken as they are, or rounded, and told."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import approxhw as ax
from approxhw.frontends import read_model
from approxhw.frontends.runtime.readings import as_whole, told_of_readings
from approxhw.frontends.runtime.reference import open_reference
from approxhw.ir.interpreter import run

F32 = np.float32
ROWS = np.array([[0.4, 0.6], [0.6, 0.4], [1.9, 1.1], [1.0, 2.0]])
"""Cut to whole numbers, the first three rows hold equal ones; as they are, they do not."""


def build(nodes, constants, kind):
    x = helper.make_tensor_value_info("x", kind, ["N", 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], tensors)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def cast_model(kind=TensorProto.INT64):
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    return build(nodes, {"w": np.eye(2, dtype=F32)}, kind)


def scaler_model():
    scaler = helper.make_node("Scaler", ["x"], ["f"], domain="ai.onnx.ml", offset=[0.0, 0.0], scale=[1.0, 1.0])
    return build(
        [scaler, helper.make_node("MatMul", ["f", "w"], ["y"])], {"w": np.eye(2, dtype=F32)}, TensorProto.INT64
    )


@pytest.mark.parametrize("model", [cast_model(), cast_model(TensorProto.INT8), scaler_model()])
def test_the_reference_reads_what_the_circuit_reads(model):
    graph, reference = read_model(model), open_reference(model)
    assert run(graph, ROWS).tolist() == [1, 0, 0, 1]
    assert reference.predict(ROWS).tolist() == [1, 0, 0, 1]
    assert reference.predict(ROWS.round()).tolist() == run(graph, ROWS.round()).tolist()


def test_codes_are_rounded_and_kept_within_their_type():
    constants = {"s": F32(0.5), "z": np.uint8(3), "w": np.eye(2, dtype=np.int8), "sw": F32(1)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["f"]),
        helper.make_node("DequantizeLinear", ["w", "sw"], ["v"]),
        helper.make_node("MatMul", ["f", "v"], ["y"]),
    ]
    model = build(nodes, constants, TensorProto.UINT8)
    graph, reference = read_model(model), open_reference(model)
    rows = np.array([[2.5, 2.6], [2.5, 1.5], [300.0, 255.0], [-9.0, 0.0], [254.4, 300.0]])
    codes, saturated = graph.input.op.encoding.encode(rows)
    assert codes.tolist() == [[2, 3], [2, 2], [255, 255], [0, 0], [254, 255]]
    assert saturated.tolist() == [2, 1]
    assert reference.predict(rows).tolist() == run(graph, codes).tolist() == [1, 0, 0, 0, 1]
    (told,) = told_of_readings(model, [rows])
    assert told == (
        "the model declares uint8 inputs (x), but 8 of 10 readings are none: they are rounded to the nearest that is"
    )


def test_the_widest_integers_hold_what_they_can():
    ends = np.array([1e30, -1e30, 0.5])
    assert as_whole(ends, np.dtype(np.int64)).tolist() == [1 << 62, -(1 << 62), 0]
    assert as_whole(ends, np.dtype(np.uint8)).tolist() == [255, 0, 0]


def test_readings_that_fit_are_no_news():
    assert told_of_readings(cast_model(), [ROWS.round(), ROWS[:0]]) == ()
    assert told_of_readings(cast_model(TensorProto.FLOAT), [ROWS]) == ()


def test_a_design_says_what_its_readings_were(tmp_path):
    labels = np.array([1, 0, 0, 1])
    data = ax.Dataset(np.tile(ROWS, (5, 1)), np.tile(labels, 5), ROWS, labels)
    design = ax.compile(cast_model(), data=data, target=ax.Printed(), output=tmp_path / "out")
    assert design.accuracy["onnx"] == design.accuracy["hardware"] == 1.0
    assert design.design.warnings == (
        "the model declares int64 inputs (x), but 36 of 48 readings are none: model and circuit take them as they are, "
        "where a caller of the model would have to cut them",
    )
