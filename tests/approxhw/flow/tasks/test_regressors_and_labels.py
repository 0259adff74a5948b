"""Regressors and models of several labels: what tells them apart, their ports, scores, folders and pages."""

from __future__ import annotations

import io
import json
import re
import warnings

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from sklearn.linear_model import LinearRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor

import approxhw as ax
from approxhw.artifacts.steps import write_graph
from approxhw.cli.terminal.terminal import Terminal
from approxhw.common.data.dataset import load_dataset, task_of_targets
from approxhw.common.errors import InvalidDataError, UnsupportedModelError
from approxhw.flow.compile import counted
from approxhw.flow.opt import optimize_file
from approxhw.flow.stages.measure import job_of
from approxhw.frontends import read_model
from approxhw.ir.evaluation import details_of, score_of, task_of

RNG = np.random.default_rng(4)
X = RNG.normal(size=(200, 3))
W, B = RNG.normal(size=(3, 5)).astype(np.float32), RNG.normal(size=5).astype(np.float32)


def network(outputs, end=None, producer="pytorch"):
    v = np.random.default_rng([4, outputs]).normal(size=(5, outputs)).astype(np.float32)
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["z"]),
        helper.make_node("Relu", ["z"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["y" if end is None else "l"]),
    ]
    nodes += [] if end is None else [helper.make_node(end, ["l"], ["y"])]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", outputs])
    tensors = [numpy_helper.from_array(array, name) for name, array in (("w", W), ("b", B), ("v", v))]
    graph = helper.make_graph(nodes, "net", [x], [y], tensors)
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name=producer), np.maximum(
        X @ W + B, 0
    ) @ v


def fitted(estimator, targets):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(X, targets)


def compiled(model, targets, folder, **options):
    return ax.compile(model, target=ax.Printed(input_bits=6, **options), data=(X, targets), output=folder)


def words(design):
    """What the ports of *design* say on its test rows, by the meaning that stands beside them."""
    job, _ = job_of(design.design, random=0)
    rows = len(design.design.rows.test)
    found = []
    for port in design.design.outputs:
        codes = job.expected[port.name][:rows].astype(object)
        if port.signed:
            codes = np.where(codes >= 1 << (port.bits - 1), codes - (1 << port.bits), codes)
        found.append(codes)
    return np.stack(found, axis=1)


def test_a_single_value_with_real_targets_is_a_regressor(tmp_path):
    model, values = network(1)
    design = compiled(model, values[:, 0], tmp_path / "d")
    assert task_of(design.design.graph) == "regression"
    assert design.accuracy["measure"] == "R²"
    assert design.accuracy["onnx"] == pytest.approx(1)
    assert 0.9 < design.accuracy["hardware"] < 1
    (port,) = design.design.outputs
    assert (port.name, port.signed, port.meaning) == ("value", True, f"value * {port.scale}")
    numerator, _, denominator = port.scale.partition("/")
    told = words(design) * int(numerator) / int(denominator or 1)
    codes = design.design.graph.input.op.encoding
    rows = load_dataset((X, values[:, 0]), task="regression").X_test
    assert codes is not None
    assert np.array_equal(told.astype(float), design.predict(rows))
    errors = (design.predict(rows) - load_dataset((X, values[:, 0]), task="regression").y_test) ** 2
    assert design.accuracy["details"] == {"rmse": [pytest.approx(np.sqrt(errors.mean()))]}


@pytest.mark.parametrize("targets", [lambda v: v > 0, lambda v: (v > 0).astype(float), lambda v: (v > 0).astype(int)])
def test_a_single_value_with_labels_is_a_classifier(targets, tmp_path):
    model, values = network(1)
    design = compiled(model, targets(values[:, 0]), tmp_path / "d")
    assert [(port.name, port.bits) for port in design.design.outputs] == [("class_index", 1)]
    assert design.accuracy["measure"] == "accuracy"


def test_whole_numbers_beyond_0_and_1_are_no_labels_of_a_single_value(tmp_path):
    model, values = network(1)
    assert compiled(model, np.rint(values[:, 0]).astype(int), tmp_path / "d").accuracy["measure"] == "R²"


def test_the_option_has_the_last_word(tmp_path):
    model, values = network(1)
    truths = (values[:, 0] > 0).astype(int)
    assert compiled(model, truths, tmp_path / "d", task="regression").accuracy["measure"] == "R²"
    with pytest.raises(InvalidDataError, match="labels are integers or texts"):
        compiled(model, values[:, 0], tmp_path / "c", task="classification")
    assert counted(model, ax.Printed(task="regression")) == {"inputs": 3, "outputs": 1}
    assert counted(model) == {"inputs": 3, "classes": 2}


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    "estimator", [LinearRegression(), MLPRegressor(hidden_layer_sizes=(4,), max_iter=30, random_state=1)]
)
def test_regressors_of_scikit_learn_say_it_themselves(estimator, count, tmp_path):
    targets = np.c_[X @ [1, -2, 0.5], np.abs(X[:, 0])][:, :count]
    model = fitted(estimator, targets[:, 0] if count == 1 else targets)
    assert task_of(read_model(model)) == "regression"
    design = compiled(model, targets, tmp_path / "d")
    assert [port.name for port in design.design.outputs] == (["value"] if count == 1 else ["value0", "value1"])
    assert len(design.accuracy["details"]["rmse"]) == count
    assert design.accuracy["hardware"] == pytest.approx(design.accuracy["onnx"], abs=0.1)
    assert task_of(read_model(network(1, producer="skl2onnx")[0])) == "regression"


def test_several_labels_have_a_bit_each(tmp_path):
    model, values = network(3, "Sigmoid")
    truths = (values > 0).astype(int)
    design = compiled(model, truths, tmp_path / "d")
    assert design.accuracy["measure"] == "exact match"
    assert design.accuracy["onnx"] == 1.0
    assert [(port.name, port.bits, port.meaning) for port in design.design.outputs] == [
        (f"label{i}", 1, f"label {i}") for i in range(3)
    ]
    rows = load_dataset((X, truths), task="multilabel")
    seen = design.predict(rows.X_test)
    assert np.array_equal(words(design).astype(int), seen)
    assert design.accuracy["hardware"] == np.mean((seen == rows.y_test).all(axis=1))
    assert design.accuracy["details"] == {"label_accuracy": (seen == rows.y_test).mean(axis=0).tolist()}


def test_several_labels_of_scikit_learn(tmp_path):
    truths = (X > 0.2).astype(int)
    model = fitted(MLPClassifier((4,), max_iter=100, random_state=1), truths)
    design = compiled(model, truths, tmp_path / "d")
    assert design.accuracy["measure"] == "exact match"
    assert design.accuracy["onnx"] == pytest.approx(
        np.mean(
            (
                model.predict(load_dataset((X, truths), task="multilabel").X_test)
                == load_dataset((X, truths), task="multilabel").y_test
            ).all(axis=1)
        )
    )


def test_circuits_say_what_their_graph_says(tmp_path, icarus):
    model, values = network(2)
    for registers in (False, True):
        design = compiled(model, values, tmp_path / f"d{registers}", registers=registers)
        assert design.simulate("icarus", random=60).mismatches == 0


def test_a_folder_is_opened_again_and_has_its_page(tmp_path):
    model, values = network(2)
    folder = tmp_path / "d"
    design = compiled(model, values, folder)
    again = ax.open_folder(folder)
    assert again.design.outputs == design.design.outputs
    assert again.accuracy == design.accuracy
    assert again.summary()["accuracy"]["measure"] == "R²"
    page = again.report().read_text(encoding="utf-8")
    assert "<h2>R²</h2>" in page
    assert "Confusions" not in page
    assert "value0 * 1/" in page
    told = json.loads((folder / "design.json").read_text(encoding="utf-8"))
    assert told["format"] == "approxhw design 2"


def test_the_score_of_a_regressor_is_a_number_and_no_share(tmp_path):
    """R² of −1.5 is no −150 %."""
    model, values = network(1)
    folder = tmp_path / "d"
    bad = compiled(model, -values[:, 0], folder)
    assert bad.accuracy["hardware"] < -1
    page = bad.report().read_text(encoding="utf-8")
    told = f"{bad.accuracy['hardware']:.3f}".replace("-", "−")
    assert f'<div class="value">{told}</div>' in page
    assert page.count(told) >= 3  # headline, scores, passes
    assert "points" not in page
    assert not re.search(r"[\d.−]+ %<", page.split('id="cost"')[0])
    out, terminal = io.StringIO(), Terminal(quiet=False)
    terminal.out = Console(file=out, width=200)
    terminal.compiled(bad)
    terminal.ledger(bad.design.ledger, bad.accuracy["measure"])
    assert f"hardware {bad.accuracy['hardware']:.4f}; rmse" in out.getvalue()
    assert "test R²" in out.getvalue()
    classes = compiled(model, (values[:, 0] > 0).astype(int), tmp_path / "c").report().read_text(encoding="utf-8")
    assert "Points from float" in classes


def test_opt_scores_a_regressor(tmp_path):
    model, values = network(1)
    design = compiled(model, values[:, 0], tmp_path / "d")
    write_graph(design.design.graph, tmp_path / "g.axir")
    (line,) = optimize_file(tmp_path / "g.axir", tmp_path / "o.axir", "narrow-formats", data=(X, values[:, 0]))
    assert line["test_accuracy_after"] == pytest.approx(design.accuracy["hardware"])


def test_designs_of_before_are_read(tmp_path):
    model, values = network(1)
    folder = tmp_path / "d"
    compiled(model, (values[:, 0] > 0).astype(int), folder)
    told = json.loads((folder / "design.json").read_text(encoding="utf-8"))
    told["format"] = "approxhw design 1"
    for key in ("measure", "details"):
        del told["accuracy"][key]
    del told["outputs"]
    for key in ("signed", "scale", "zero"):
        del told["output"][key]
    (folder / "design.json").write_text(json.dumps(told), encoding="utf-8")
    design = ax.open_folder(folder)
    assert design.accuracy["measure"] == "accuracy"
    assert design.design.output == "class_index"


def test_a_search_refuses_what_names_no_class(tmp_path):
    model, values = network(1)
    with pytest.raises(UnsupportedModelError) as refused:
        ax.search(model, data=(X, values[:, 0]), output=tmp_path / "front")
    assert "a search trains classifiers; this is for regression" in str(refused.value)
    with pytest.raises(UnsupportedModelError, match="this is for regression"):
        ax.search(fitted(LinearRegression(), X[:, 0]), data=(X, X[:, 0]), output=tmp_path / "front")


# Targets -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("targets", "task"),
    [
        (np.array([0, 1, 1, 0]), None),
        (np.array([0.0, 1.0, 1.0, 0.0])[:, None], None),
        (np.array(["a", "b", "a", "b"]), None),
        (np.array([0.5, 1, 2, 3]), "regression"),
        (np.array([0, 1, 2, 3]), "regression"),
        (np.array([[0, 1], [1, 1], [0, 0], [1, 0]]), "multilabel"),
        (np.array([[0, 1], [1, 1], [0, 0.5], [1, 0]]), "regression"),
    ],
)
def test_what_targets_speak_for(targets, task):
    assert task_of_targets((np.zeros((4, 2)), targets)) == task


@pytest.mark.parametrize(
    ("targets", "task", "why"),
    [
        (np.array(["a", "b"]), "regression", "regression needs numbers, not texts"),
        (np.array([[0.5, 1], [np.nan, 0]]), "regression", "1 rows hold NaN or infinity: rows 1"),
        (np.array([[0, 1], [1, 2]]), "multilabel", "labels that are there or not are 0 and 1"),
        (np.zeros((2, 3)), "regression", "the model has 2 outputs, the data 3 targets a row"),
        (np.zeros((2, 3, 4)), "regression", "one number, or one an output, a row is needed"),
    ],
)
def test_targets_that_cannot_be_are_refused(targets, task, why):
    with pytest.raises(InvalidDataError, match=why):
        load_dataset((np.zeros((2, 2)), targets), task=task, outputs=2)


def test_scores():
    wanted = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
    assert score_of("regression", wanted, wanted) == 1
    assert score_of("regression", np.array([[1.0, 0.0]] * 3), wanted) == 0
    assert score_of("regression", wanted[:, :1] + 1, wanted[:, :1]) == 1 - 3 / 2
    bits = np.array([[1, 0], [1, 1], [0, 0]])
    assert score_of("multilabel", bits, np.array([[1, 0], [0, 1], [0, 0]])) == pytest.approx(2 / 3)
    assert details_of("multilabel", bits, np.array([[1, 0], [0, 1], [0, 0]])) == {
        "label_accuracy": [pytest.approx(2 / 3), 1]
    }
    assert details_of("classification", bits[:, 0], bits[:, 0]) == {}


def test_a_regressor_or_labels_no_better_than_a_guess_are_told(tmp_path):
    model, values = network(1)
    far = compiled(model, values[:, 0] + 1000, tmp_path / "far").design
    told = [line for line in far.warnings if "no better" in line]
    assert [line.partition(":")[0] for line in told] == [
        "the model is no better than always answering the mean of the targets",
        "the circuit is no better than always answering the mean of the targets",
    ]
    assert told[1].endswith(f"R² {far.accuracy['hardware']:.4f} on test rows")
    good = compiled(model, values[:, 0], tmp_path / "good").design
    assert not [line for line in good.warnings if "no better" in line or "constant" in line]
    for tensor in model.graph.initializer:
        if tensor.name == "v":
            tensor.CopyFrom(numpy_helper.from_array(np.zeros((5, 1), np.float32), "v"))
    dead = compiled(model, values[:, 0], tmp_path / "dead").design
    assert "the circuit is constant: it reads no input" in dead.warnings
    labels, scores = network(3, end="Sigmoid")
    wrong = compiled(labels, (scores < 0).astype(int), tmp_path / "labels").design
    assert sum("no better than always answering the most frequent labels: " in line for line in wrong.warnings) == 2
