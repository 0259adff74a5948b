"""Trees and forests of scikit-learn, sized as its users size them: a grid, five folds of the training rows, the one-s.e. rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.tree import DecisionTreeClassifier

FOLDS = 5

TREE = {
    "max_leaf_nodes": [2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256],
    "min_samples_leaf": [1, 3, 10],
    "ccp_alpha": [0.0, 0.001, 0.004],
}
FOREST = {"n_estimators": [3, 5, 10], "max_leaf_nodes": [4, 8, 16, 32, 64]}

Size = tuple[float, ...]


def _size(parameters: Mapping[str, Any]) -> Size:
    """Return what of two models tells the smaller one: leaves of all trees, then what holds them back most."""
    held = parameters.get("ccp_alpha", 0.0), parameters.get("min_samples_leaf", 0)
    return (parameters.get("n_estimators", 1) * parameters["max_leaf_nodes"], *(-each for each in held))


def smallest_within_one_error(results: Mapping[str, Any]) -> int:
    """Return the smallest model of the grid whose mean accuracy is within one standard error of the best (``refit=``)."""
    mean, spread = results["mean_test_score"], results["std_test_score"]
    best = int(np.argmax(mean))
    enough = np.flatnonzero(mean >= mean[best] - spread[best] / np.sqrt(FOLDS))
    return min(enough.tolist(), key=lambda i: _size(results["params"][i]))


def _fitted(model: ClassifierMixin, grid: Mapping[str, Any], x: np.ndarray, y: np.ndarray) -> Any:
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    search = GridSearchCV(model, grid, cv=folds, refit=smallest_within_one_error)
    return search.fit(x, y).best_estimator_


def sized_tree(x: np.ndarray, y: np.ndarray) -> DecisionTreeClassifier:
    """Return the decision tree for *x* (float32, R × F) and *y* (R)."""
    return _fitted(DecisionTreeClassifier(random_state=0), TREE, x, y)


def sized_forest(x: np.ndarray, y: np.ndarray) -> RandomForestClassifier:
    """Return the random forest, likewise."""
    return _fitted(RandomForestClassifier(random_state=0), FOREST, x, y)


def small_boosting(x: np.ndarray, y: np.ndarray) -> HistGradientBoostingClassifier:
    """Return five rounds of boosted trees of four leaves, which nobody has sized."""
    return HistGradientBoostingClassifier(max_iter=5, max_leaf_nodes=4, early_stopping=False, random_state=0).fit(x, y)


MODELS = {"decision tree": sized_tree, "random forest": sized_forest, "boosted trees": small_boosting}


def told_size(model: Any) -> str:
    """Return how large a fitted *model* is."""
    if isinstance(model, DecisionTreeClassifier):
        return f"{model.get_n_leaves()} leaves"
    if isinstance(model, RandomForestClassifier):
        leaves = sum(each.get_n_leaves() for each in model.estimators_)
        return f"{len(model.estimators_)} trees, {leaves} leaves"
    return f"{model.n_iter_} rounds of {model.max_leaf_nodes} leaves"
