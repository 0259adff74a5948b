"""Models with many inputs are searched with those that tell classes apart best; circuits have all inputs again."""

from __future__ import annotations

import numpy as np
import pytest

import approxhw as ax
from approxhw.common.data.dataset import Dataset
from approxhw.dse.evolve import Hooks
from approxhw.dse.genetic.options import Seeding
from approxhw.dse.rows.thin_inputs import thinned_inputs, univariate_scores
from approxhw.ir.evaluation import predict
from approxhw.ir.interpreter import run


@pytest.fixture(scope="module")
def wide():
    """70 features of which number 3, 41 and 66 tell three classes apart, and a perceptron that reads all through a scaler."""
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(2)
    y = rng.integers(0, 3, 160)
    x = rng.normal(5, 2, (160, 70))
    for feature, gain in ((3, 4.0), (41, -3.0), (66, 2.5)):
        x[:, feature] += gain * y
    model = make_pipeline(StandardScaler(), MLPClassifier((3,), max_iter=80, random_state=0)).fit(x[:120], y[:120])
    return model, Dataset(x[:120], y[:120], x[120:], y[120:], features=tuple(f"f{i}" for i in range(70)), name="wide")


def test_scores_by_hand():
    x = np.array([[1.0, 5, 7, 0], [3, 5, 7, 1], [7, 5, 9, 0], [9, 5, 9, 1]])
    y = np.array([0, 0, 1, 1])
    # of the first: between 2·9 + 2·9 over 1, within 1 + 1 + 1 + 1 over 2
    assert univariate_scores(x, y).tolist() == [36 / 2, 0, np.inf, 0]


def test_what_tells_classes_apart_stays_and_the_rest_stands_at_its_mean(wide):
    model, data = wide
    graph = ax.read(model)
    thin, thinned = thinned_inputs(graph, data, 10)
    assert thinned is not None
    assert {3, 41, 66} <= set(thinned.kept.tolist())
    assert len(thinned.kept) == thin.input.type.elements == 10
    at_mean = np.tile(data.X_train.mean(axis=0), (len(data.X_test), 1))
    at_mean[:, thinned.kept] = data.X_test[:, thinned.kept]
    assert predict(thin, thinned.columns(data.X_test)).tolist() == predict(graph, at_mean).tolist()
    same, none = thinned_inputs(graph, data, 70)
    assert same is graph
    assert none is None


def test_a_search_of_many_inputs_says_so_and_its_circuits_have_all(wide, tmp_path):
    model, data = wide
    told = []
    found = ax.search(
        model,
        data=data,
        output=tmp_path / "front",
        folds=1,
        population=16,
        islands=1,
        jobs=1,
        generations=1,
        members=1,
        synthesised=2,
        synthesise_every=0,
        simulate=(),
        max_inputs=8,
        widen=1.0,
        seeding=Seeding(starts=0),
        hooks=Hooks(on_note=told.append),
    )
    text = "8 of 70 inputs were searched with: those that tell the classes apart best alone"
    assert text in told[0]
    assert any(text in warning and "--max-inputs 70" in warning for warning in found.front.warnings)
    design = found.chosen.design.design
    graph = design.graph
    assert graph.input.type.elements == 70
    assert 1 <= len(design.inputs) <= 8
    assert {port.feature for port in design.inputs} <= {int(port.title[1:]) for port in design.inputs}
    # what a member tells is what its circuit does on whole rows
    right = np.mean(run(graph, design.rows.test).reshape(-1) == data.y_test)
    assert found.chosen.test_accuracy == pytest.approx(right)
    assert found.front.options["max_inputs"] == 8
