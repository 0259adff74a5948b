"""Advice that fits: legal models that are not read are refused with the right node, reason, remedy and exit code."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

import approxhw as ax
from approxhw.common.data.dataset import REGRESSION
from approxhw.common.errors import InvalidModelError, UnsupportedModelError
from approxhw.frontends import read_model
from approxhw.frontends.onnx.loading import load
from approxhw.frontends.onnx.reading import read_loaded

W = np.arange(12, dtype=np.float32).reshape(4, 3) - 5


def node(op, inputs, outputs, name=None, **attributes):
    return helper.make_node(op, inputs, outputs, name=name or outputs[0], **attributes)


def refused(source, pattern, kind=InvalidModelError):
    with pytest.raises(kind, match=pattern):
        read_model(source)


@pytest.mark.parametrize(
    ("nodes", "shapes", "blamed"),
    [
        ([("MatMul", ["x", "w"], ["y"])], {"w": (4, 0)}, "node 'y' (MatMul)"),
        ([("MatMul", ["x", "w"], ["h"]), ("MatMul", ["h", "v"], ["y"])], {"w": (4, 0), "v": (0, 3)}, "'h' (MatMul)"),
        ([("Gemm", ["x", "w"], ["y"])], {"w": (4, 0)}, "node 'y' (Gemm)"),
        (
            [("Gather", ["x", "none"], ["h"]), ("MatMul", ["h", "v"], ["y"])],
            {"none": (0,), "v": (0, 3)},
            "'h' (Gather)",
        ),
    ],
    ids=["no classes", "no hidden neurons", "no classes of a Gemm", "no columns"],
)
def test_layers_without_an_element_are_told_in_words(nodes, shapes, blamed, build):
    constants = {name: np.zeros(shape, np.int64 if name == "none" else np.float32) for name, shape in shapes.items()}
    made = [node(op, inputs, outputs, **({"axis": 1} if op == "Gather" else {})) for op, inputs, outputs in nodes]
    with pytest.raises(UnsupportedModelError) as caught:
        read_model(build(made, constants))
    (problem,) = caught.value.problems
    assert blamed in problem.where
    assert problem.why == "makes rows without an element: nothing is left to decide on"


def test_constants_that_an_exporter_made_into_inputs_are_named(build):
    nodes = [node("Sub", ["x", "mean"], ["c"]), node("MatMul", ["c", "w"], ["y"])]
    model = build(nodes, {"w": W}, (("x", ("N", 4)), ("mean", (1, 4)), ("unread", (1, 4))))
    refused(model, "fixed first axis, the others an open one: 'mean', 'unread'", UnsupportedModelError)
    cured = build(nodes, {"w": W, "mean": np.ones((1, 4), np.float32), "unread": np.ones((1, 4), np.float32)},
                  (("x", ("N", 4)), ("mean", (1, 4)), ("unread", (1, 4))))  # fmt: skip
    assert read_model(cured).input.type.elements == 4  # the advice works


def test_a_model_of_ml_operators_alone_need_not_name_the_standard_ones(build, agrees):
    classes = {
        "coefficients": [1.0, 2, 0, 0, 0, 1, 1, 0, -1, 0, 0, 2],
        "intercepts": [0.0, 0.5, 1],
        "classlabels_ints": [0, 1, 2],
    }
    linear = node("LinearClassifier", ["x"], ["l", "p"], domain="ai.onnx.ml", **classes)
    outputs = (("l", None, TensorProto.INT64), ("p", None))
    model = build([linear], outputs=outputs, domains=("ai.onnx.ml",))
    assert [entry.domain for entry in model.opset_import] == ["ai.onnx.ml"]
    agrees(model)
    hidden = build(
        [linear, node("Identity", ["l"], ["m"])], outputs=(("m", None, TensorProto.INT64),), domains=("ai.onnx.ml",)
    )
    refused(hidden, "does not say which opset")
    model.opset_import.pop()
    refused(model, "does not say which opset")


def test_a_hidden_activation_is_blamed_for_itself_and_not_its_reader(build):
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Softmax", ["h"], ["s"], "soft"),
        node("MatMul", ["s", "v"], ["y"], "next"),
    ]
    with pytest.raises(UnsupportedModelError) as caught:
        read_model(build(nodes, {"w": W, "v": np.ones((W.shape[1], 3), np.float32)}))
    (problem,) = caught.value.problems
    assert problem.where == "node 'soft' (Softmax)"
    assert "its result goes on into node 'next' (MatMul)" in problem.why


def test_bins_of_features_are_refused_as_unsupported(build):
    model = build([node("Less", ["x", "bins"], ["y"])], {"bins": np.float32([1, 2, 3])}, (("x", ("N", 1)),))
    refused(model, r"compares with 3 numbers \(bins of a feature\?\)", UnsupportedModelError)


def test_equal_problems_are_told_once_with_the_names_of_all(build):
    nodes = [node("IsNaN", ["x"], [f"s{i}"], f"wave{i}") for i in range(14)]
    model = build([*nodes, node("Concat", [f"s{i}" for i in range(14)], ["y"], axis=1)])
    with pytest.raises(UnsupportedModelError) as caught:
        read_model(model)
    text = str(caught.value)
    assert text.count("operator IsNaN is not supported") == 1
    assert "14 problems" in text
    assert "and 13 more nodes: 'wave1' (IsNaN), 'wave2' (IsNaN)" in text
    assert text.endswith("'wave12' (IsNaN), and 1 other")
    assert len(caught.value.problems) == 14


@pytest.mark.parametrize("layers", [1, 2])
def test_probabilities_of_a_linear_model_are_no_matter_of_training(layers, build):
    """What works is its scores; a network gets other advice."""
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "v"], ["s"])]
    nodes = nodes if layers == 2 else [node("MatMul", ["x", "w"], ["s"])]
    model = build([*nodes, node("Sigmoid", ["s"], ["p"]), node("ReduceMean", ["p"], ["y"], "mean", axes=[1])],
                  {"w": W, "v": np.ones((3, 3), np.float32)} if layers == 2 else {"w": W})  # fmt: skip
    model.producer_name = "skl2onnx"
    (problem,) = ax.check(model)
    assert (problem.where, "train" in problem.remedy) == ("node 'mean' (ReduceMean)", False)
    assert ("options={id(model): {'raw_scores': True}}" in problem.remedy) == (layers == 1)


def test_what_skl2onnx_writes_of_a_regressor_is_one_and_other_numbers_are_told(build):
    single = {"w": W[:, :1]}
    model = build([node("MatMul", ["x", "w"], ["variable"])], single, outputs=(("variable", None),))
    model.producer_name = "skl2onnx"
    reading = read_loaded(load(model))
    assert (reading.task, reading.doubtful, reading.notes) == (REGRESSION, False, ())
    reading = read_loaded(load(build([node("MatMul", ["x", "w"], ["y"])], single)))
    assert reading.notes == ("output 'y' is one number a row: it is taken as a logit, class 1 where it is above 0",)
    assert read_loaded(load(build([node("MatMul", ["x", "w"], ["y"])], {"w": W}))).notes == ()


def test_products_of_an_engine_without_an_element_are_named_before_anything_is_built(build, tmp_path):
    nodes = [node("MatMul", ["x", "w"], ["h"], "first"), node("MatMul", ["h", "v"], ["y"], "last")]
    model = build(nodes, {"w": np.zeros((4, 0), np.float32), "v": np.zeros((0, 3), np.float32)})
    found = ax.check(model, "matrix-engine")
    assert [problem.where for problem in found] == ["layer 'first'", "layer 'last'"]
    assert found[1].why == "it multiplies 1 × 0 by 0 × 3"
    with pytest.raises(UnsupportedModelError, match="layer 'first': it multiplies 1 × 4 by 4 × 0"):
        ax.compile_engine(model, shape={"x": (1, 4)}, output=tmp_path / "out")
