"""QONNX beside onnxruntime: its nodes, written out in standard ones, compute what the specification says."""

from __future__ import annotations

import numpy as np
import pytest
from exact_onnx import evaluate, fractions
from onnx import TensorProto, helper, numpy_helper

import approxhw as ax
from approxhw.dse.genetic.options import Seeding
from approxhw.frontends.runtime.sessions import open_session
from approxhw.frontends.runtime.standard_nodes import standard_nodes

QONNX = "qonnx.custom_op.general"
F32 = np.float32
ROWS = np.arange(-40, 41)[:, None].astype(F32) / 8


def model_of(op, inputs, constants, opset=17, **attributes):
    made = helper.make_node(op, ["x", *inputs], ["y"], domain=QONNX, **attributes)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1]) for name in "xy")
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph([made], "g", [x], [y], tensors)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(QONNX, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def values_of(model):
    plain = standard_nodes(model)
    assert [entry.domain for entry in plain.opset_import] == [""]
    return open_session(plain, "model").run(["y"], {"x": ROWS})[0]


@pytest.mark.parametrize("opset", [10, 17])
@pytest.mark.parametrize("mode", ["ROUND", "HALF_EVEN", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN"])
def test_quant_is_the_specification(mode, opset):
    for bits, signed, narrow, zero in ((4, 1, 0, 0), (4, 1, 1, 1), (3, 0, 1, -2), (1, 1, 0, 0), (1, 0, 0, 0)):
        constants = {"s": F32(0.25), "z": F32(zero), "b": F32(bits)}
        options = {"signed": signed, "narrow": narrow, "rounding_mode": mode}
        model = model_of("Quant", ["s", "z", "b"], constants, opset, **options)
        expected = evaluate(model, fractions(ROWS), "y").astype(np.float64)
        np.testing.assert_array_equal(values_of(model), expected)


@pytest.mark.parametrize("mode", ["FLOOR", "ROUND", "UP"])
def test_trunc_is_the_specification(mode):
    constants = {"s": F32(0.125), "z": F32(0), "b": F32(6), "a": F32(4)}
    model = model_of("Trunc", ["s", "z", "b", "a"], constants, rounding_mode=mode)
    expected = evaluate(model, fractions(ROWS), "y").astype(np.float64)
    np.testing.assert_array_equal(values_of(model), expected)


def test_trunc_of_version_2_has_a_scale_of_its_own():
    """y = round(x / s) / 2^round(log2(S / s)), clipped and rounded, times S."""
    constants = {"s": F32(0.125), "z": F32(0), "b": F32(6), "t": F32(0.5), "a": F32(4)}
    model = model_of("Trunc", ["s", "z", "b", "t", "a"], constants, rounding_mode="FLOOR", signed=1, narrow=0)
    expected = np.floor(np.clip(np.rint(ROWS / 0.125) / 4, -8, 7)) * 0.5
    np.testing.assert_array_equal(values_of(model), expected)


def test_bipolar_quant_is_the_sign():
    np.testing.assert_array_equal(
        values_of(model_of("BipolarQuant", ["s"], {"s": F32(0.5)})), np.where(ROWS >= 0, 0.5, -0.5)
    )


def test_a_scale_of_each_channel_broadcasts():
    constants = {"s": np.array([[0.25, 0.5]], F32), "z": F32(0), "b": F32(8)}
    model = model_of("Quant", ["s", "z", "b"], constants, signed=1, narrow=0, rounding_mode="ROUND")
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    np.testing.assert_array_equal(
        values_of(model), np.concatenate([np.rint(ROWS * 4) / 4, np.rint(ROWS * 2) / 2], axis=1)
    )


def test_a_model_without_such_nodes_stays_as_it_is():
    model = model_of("Quant", ["s", "z", "b"], {"s": F32(1), "z": F32(0), "b": F32(4)})
    plain = standard_nodes(model)
    assert standard_nodes(plain) is plain
    assert model.graph.node[0].op_type == "Quant"  # a copy was changed


@pytest.fixture
def classifier():
    """Two features, of which the greater one decides: QONNX's nodes on input and weights, and its rows."""
    numbers = {"s": F32(0.25), "z": F32(0), "four": F32(4), "sw": F32(0.5)}
    weights = {"w": F32([[1.0, -1.5], [-1.5, 1.0]]), "b": F32([0.25, 0])}
    quant = {"domain": QONNX, "rounding_mode": "ROUND", "signed": 1, "narrow": 0}
    nodes = [
        helper.make_node("Quant", ["x", "s", "z", "four"], ["q"], **quant),
        helper.make_node("Quant", ["w", "sw", "z", "four"], ["v"], **quant),
        helper.make_node("Gemm", ["q", "v", "b"], ["y"], name="only"),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2]) for name in "xy")
    tensors = [numpy_helper.from_array(value, name) for name, value in {**numbers, **weights}.items()]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(QONNX, 1)]
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y], tensors), opset_imports=opsets, ir_version=8)
    rows = np.random.default_rng(2).integers(-8, 8, (80, 2)).astype(F32) / 4
    labels = evaluate(model, fractions(rows), "y").argmax(axis=1)
    return model, ax.Dataset(rows[:40], labels[:40], rows[40:], labels[40:])


def test_qonnx_with_data_is_compiled_and_runs_on_an_engine(classifier, tmp_path):
    """onnxruntime knows no Quant: all three ended where the reference was asked for its classes."""
    model, data = classifier
    design = ax.compile(model, data=data, output=tmp_path / "design")
    assert design.accuracy["onnx"] == design.accuracy["hardware"] == 1.0
    engine = ax.compile_engine(model, data=data, output=tmp_path / "engine", target=ax.MatrixEngine(rows=2, columns=2))
    assert engine.accuracy["onnx"] == engine.accuracy["engine"] == 1.0
    assert [layer.name for layer in engine.design.layers] == ["only"]


def test_qonnx_with_data_is_searched(classifier, tmp_path):
    model, data = classifier
    few = {"population": 16, "islands": 1, "jobs": 1, "generations": 1, "folds": 1, "members": 1, "synthesised": 2}
    more = {"synthesise_every": 0, "simulate": (), "seeding": Seeding(starts=0)}
    found = ax.search(model, data=data, output=tmp_path / "front", target="printed", **few, **more)
    assert found.front.onnx["test"] == 1.0
    assert found.chosen.test_accuracy is not None
