"""Models of scikit-learn, trained here: pipelines, heads, labels, every form of skl2onnx's output."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.linear_model import LogisticRegression, Perceptron, RidgeClassifier, SGDClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, Normalizer, RobustScaler, StandardScaler
from sklearn.svm import LinearSVC

from approxhw.common.errors import OptionError, UnsupportedModelError
from approxhw.frontends import read_model
from approxhw.ir.interpreter import run

IRIS, BREAST = load_iris(), load_breast_cancer()
COLOURS = np.array(["red", "green", "blue \N{SNOWMAN}"])


def fitted(estimator, rows, labels):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(rows, labels)


def mlp(*layers, **options):
    return MLPClassifier(layers or (5,), max_iter=40, random_state=0, **options)


def compare(estimator, rows, agrees, model=None):
    """Graph = onnxruntime on every row, and = scikit-learn's own prediction on nearly every one (float32 inputs)."""
    rows = rows.astype(np.float32)
    graph = agrees(estimator if model is None else model, rows)
    indices = np.searchsorted(estimator.classes_, estimator.predict(rows))
    assert (run(graph, rows.astype(np.float64)) == indices).mean() > 0.995
    return graph


BINARY_HEADS = {
    "mlp": mlp(4), "logistic": LogisticRegression(), "svc": LinearSVC(), "sgd": SGDClassifier(random_state=0),
    "ridge": RidgeClassifier(),
}  # fmt: skip


@pytest.mark.parametrize("name", BINARY_HEADS)
def test_binary_heads_become_one_threshold(name, agrees):
    model = fitted(make_pipeline(StandardScaler(), BINARY_HEADS[name]), BREAST.data, COLOURS[BREAST.target])
    graph = compare(model, BREAST.data, agrees)
    if name != "ridge":
        assert graph[graph.output].kind == "threshold"
    assert graph.labels == tuple(sorted(COLOURS[:2].tolist()))


MULTICLASS_HEADS = {
    "mlp": mlp(6, 5), "logistic": LogisticRegression(), "svc": LinearSVC(), "sgd": SGDClassifier(random_state=0),
    "perceptron": Perceptron(), "ridge": RidgeClassifier(), "identity": mlp(4, activation="identity"),
}  # fmt: skip


@pytest.mark.parametrize("labels", ["text", "integers", "odd integers"])
@pytest.mark.parametrize("name", MULTICLASS_HEADS)
def test_multiclass_heads_keep_the_labels(name, labels, agrees):
    table = {"text": COLOURS, "integers": np.arange(3), "odd integers": np.array([-7, 40, 3])}[labels]
    model = fitted(MULTICLASS_HEADS[name], IRIS.data, table[IRIS.target])
    graph = compare(model, IRIS.data, agrees)
    assert graph[graph.output].kind == "argmax"
    assert graph.labels == tuple(sorted(table.tolist()))


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("zipmap", [True, False, "columns"])
@pytest.mark.parametrize("make", [mlp, LogisticRegression])
def test_every_zipmap_option(make, zipmap, binary, agrees):
    from skl2onnx import to_onnx

    target = IRIS.target == 1 if binary else IRIS.target
    labels = np.array(["no", "yes", "perhaps"])[target.astype(int)]
    model = fitted(make(), IRIS.data, labels)
    proto = to_onnx(model, IRIS.data[:1].astype(np.float32), options={"zipmap": zipmap})
    assert len(compare(model, IRIS.data, agrees, proto).labels) == 3 - binary


SCALERS = [StandardScaler(), MinMaxScaler((-1, 1)), RobustScaler(), make_pipeline(MaxAbsScaler(), StandardScaler())]


@pytest.mark.parametrize("scaler", SCALERS, ids=lambda scaler: type(scaler).__name__)
def test_scalers_become_one_affine_node(scaler, agrees):
    model = fitted(make_pipeline(scaler, mlp(3)), IRIS.data, IRIS.target)
    graph = compare(model, IRIS.data, agrees)
    assert [n.kind for n in graph.nodes if n.kind != "constant"] == [
        "input",
        "affine",
        "dense",
        "relu",
        "dense",
        "argmax",
    ]


def test_column_transformers(agrees):
    parts = [("a", StandardScaler(), [3, 1]), ("b", "passthrough", [0]), ("c", MinMaxScaler(), [2])]
    compare(fitted(make_pipeline(ColumnTransformer(parts), mlp(4)), IRIS.data, IRIS.target), IRIS.data, agrees)


def test_a_64_32_10_network_on_digits(agrees):
    digits = load_digits()
    model = fitted(make_pipeline(MinMaxScaler(), mlp(32)), digits.data, digits.target)
    graph = compare(model, digits.data, agrees)
    assert graph.constant("layer0_weight").shape == (32, 64)
    assert graph.classes == 10
    assert graph.name == "pipeline"


def test_feature_names_become_titles_and_identifiers(agrees):
    model = fitted(mlp(3), IRIS.data, IRIS.target)
    model.feature_names_in_ = np.array([*IRIS.feature_names[:3], "module"], dtype=object)
    graph = read_model(model, name="My model")
    assert graph.name == "my_model"
    assert graph.input.op.titles[0] == "sepal length (cm)"
    assert graph.input.op.features == ("sepal_length_cm", "sepal_width_cm", "petal_length_cm", "module_2")


def test_a_normalizer_is_refused_and_tanh_is_not():
    model = fitted(make_pipeline(Normalizer(), mlp(3, activation="tanh")), IRIS.data, IRIS.target)
    with pytest.raises(UnsupportedModelError) as error:
        read_model(model)
    assert "divides every row by its own norm" in str(error.value)
    assert len(error.value.problems) == 1


@pytest.mark.parametrize("activation", ["tanh", "logistic"])
def test_hidden_layers_that_are_no_relu(activation, agrees):
    model = fitted(make_pipeline(StandardScaler(), mlp(4, activation=activation)), IRIS.data, IRIS.target)
    assert [n.kind for n in compare(model, IRIS.data, agrees).nodes].count("lookup") == 1


def test_clusters_and_unfitted_models_are_refused():
    with pytest.raises(UnsupportedModelError, match="KMeans: 1 problem\n  model: it is neither a classifier nor a reg"):
        read_model(KMeans())
    with pytest.raises(UnsupportedModelError, match="it is not fitted"):
        read_model(MLPRegressor())
    with pytest.raises(UnsupportedModelError, match="it is not fitted"):
        read_model(MLPClassifier())


def test_a_missing_skl2onnx_is_named_with_the_way_to_get_it(monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "skl2onnx" else find(name, *rest)
    )
    with pytest.raises(OptionError, match=r"pip install 'approxhw\[sklearn\]'"):
        read_model(mlp())
