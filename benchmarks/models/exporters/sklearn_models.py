"""Models of scikit-learn by skl2onnx: heads, pipelines, labels, regressors, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from exporter_cases import CLASSES, FEATURES, Case, readings, targets

ROWS = 500
PACKAGES = ("skl2onnx", "scikit-learn")


def _mlp(**options: Any) -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier((5,), max_iter=60, random_state=0, **options)


def _piped(*parts: str) -> Callable[[], Any]:
    def make() -> Any:
        from sklearn import pipeline, preprocessing

        return pipeline.make_pipeline(*(getattr(preprocessing, part)() for part in parts), _mlp())

    return make


def _linear(name: str, **options: Any) -> Callable[[], Any]:
    def make() -> Any:
        from sklearn import linear_model

        return getattr(linear_model, name)(**options)

    return make


def _columns() -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    parts = [("a", StandardScaler(), [3, 1]), ("b", "passthrough", [0]), ("c", MinMaxScaler(), [2])]
    return make_pipeline(ColumnTransformer(parts), _mlp())


def _one_against_rest() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    return OneVsRestClassifier(LogisticRegression())


def _one_against_rest_networks() -> Any:
    from sklearn.multiclass import OneVsRestClassifier

    return OneVsRestClassifier(_mlp())


def _support_vectors() -> Any:
    from sklearn.svm import LinearSVC

    return LinearSVC()


def _regressor() -> Any:
    from sklearn.neural_network import MLPRegressor

    return MLPRegressor(hidden_layer_sizes=(5,), max_iter=60, random_state=0)


def _scaled_regressor() -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), _regressor())


def _of(module: str, name: str, **options: Any) -> Callable[[], Any]:
    def make() -> Any:
        import importlib

        return getattr(importlib.import_module(f"sklearn.{module}"), name)(**options)

    return make


def _several(count: int = ROWS) -> np.ndarray:
    """Return several labels a row."""
    rows = readings()[:count]
    return (rows @ np.random.default_rng(9).normal(size=(FEATURES, CLASSES)) > 0.3).astype(np.int64)


def _values(count: int, outputs: int) -> np.ndarray:
    rows = readings()[:count].astype(np.float64)
    return np.c_[rows @ [1, -2, 0.5, 0], np.abs(rows[:, 0]), rows[:, 1] * rows[:, 2]][:, :outputs]


TEXTS = np.array(["red", "green", "blue"])

TARGETS: dict[str, Callable[[], np.ndarray]] = {
    "three classes": lambda: targets(ROWS),
    "two classes": lambda: (targets(ROWS) > 0).astype(np.int64),
    "text labels": lambda: TEXTS[targets(ROWS)],
    "other numbers as labels": lambda: np.array([-7, 40, 3])[targets(ROWS)],
    "several labels": _several,
    "one value": lambda: _values(ROWS, 1)[:, 0],
    "three values": lambda: _values(ROWS, 3),
}

MODELS: tuple[tuple[str, tuple[str, ...], Callable[[], Any]], ...] = (
    ("MLPClassifier", ("three classes", "two classes", "text labels", "several labels"), _mlp),
    ("MLPClassifier, tanh", ("three classes",), lambda: _mlp(activation="tanh")),
    ("MLPClassifier, logistic", ("three classes",), lambda: _mlp(activation="logistic")),
    ("StandardScaler, MLPClassifier", ("three classes", "two classes"), _piped("StandardScaler")),
    ("MinMaxScaler, MLPClassifier", ("three classes",), _piped("MinMaxScaler")),
    ("RobustScaler, MLPClassifier", ("three classes",), _piped("RobustScaler")),
    ("MaxAbsScaler, StandardScaler, MLPClassifier", ("three classes",), _piped("MaxAbsScaler", "StandardScaler")),
    ("ColumnTransformer, MLPClassifier", ("three classes",), _columns),
    ("LogisticRegression", ("three classes", "two classes", "other numbers as labels"), _linear("LogisticRegression")),
    ("SGDClassifier, hinge", ("three classes", "two classes"), _linear("SGDClassifier", random_state=0)),
    (
        "SGDClassifier, log loss",
        ("three classes", "two classes"),
        _linear("SGDClassifier", loss="log_loss", random_state=0),
    ),
    (
        "SGDClassifier, modified Huber loss",
        ("three classes",),
        _linear("SGDClassifier", loss="modified_huber", random_state=0),
    ),
    ("Perceptron", ("three classes",), _linear("Perceptron")),
    ("RidgeClassifier", ("three classes", "two classes"), _linear("RidgeClassifier")),
    ("LinearSVC", ("three classes", "two classes"), _support_vectors),
    ("OneVsRestClassifier, LogisticRegression", ("three classes", "several labels"), _one_against_rest),
    ("OneVsRestClassifier, MLPClassifier", ("three classes", "several labels"), _one_against_rest_networks),
    ("MLPRegressor", ("one value", "three values"), _regressor),
    ("StandardScaler, MLPRegressor", ("one value",), _scaled_regressor),
    ("LinearRegression", ("one value", "three values"), _linear("LinearRegression")),
    (
        "DecisionTreeClassifier",
        ("three classes", "two classes", "other numbers as labels"),
        _of("tree", "DecisionTreeClassifier", max_depth=3),
    ),
    (
        "RandomForestClassifier",
        ("three classes",),
        _of("ensemble", "RandomForestClassifier", n_estimators=5, max_depth=4),
    ),
    ("GradientBoostingClassifier", ("two classes",), _of("ensemble", "GradientBoostingClassifier", n_estimators=3)),
)
"""Model, what it is trained on, and what makes it."""

REFUSED: tuple[tuple[str, Callable[[], Any], str], ...] = (
    ("SVC", _of("svm", "SVC"), "SVMClassifier"),
    ("Normalizer, MLPClassifier", _piped("Normalizer"), "divides every row by its own norm"),
)


def converted(make: Callable[[], Any], wanted: str) -> Callable[[Path], None]:
    """Return what fits the model and writes it."""

    def write(file: Path) -> None:
        from skl2onnx import to_onnx

        rows = readings()[:ROWS]
        model = make().fit(rows, TARGETS[wanted]())
        file.write_bytes(to_onnx(model, rows[:1]).SerializeToString())

    return write


CASES = tuple(
    [Case("skl2onnx", model, form, PACKAGES, converted(make, form)) for model, forms, make in MODELS for form in forms]
    + [
        Case("skl2onnx", model, "three classes", PACKAGES, converted(make, "three classes"), refused=why)
        for model, make, why in REFUSED
    ]
)
