"""Trees through the whole flow: the pipeline is picked, what is said of thresholds is right, circuits equal onnxruntime."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.tree import DecisionTreeClassifier

import approxhw as ax
from approxhw.common.errors import OptionError
from approxhw.flow.compile import counted
from approxhw.frontends.classifier import open_classifier
from approxhw.frontends.runtime.reference import open_reference


def exported(fitted, x):
    from skl2onnx import to_onnx

    return to_onnx(fitted, x[:1].astype(np.float32))


@pytest.fixture(scope="module")
def iris():
    x, y = load_iris(return_X_y=True)
    return x, y, exported(DecisionTreeClassifier(max_depth=3, random_state=0).fit(x[::2], y[::2]), x)


def test_trees_take_their_own_pipeline_and_tell_their_thresholds(iris, tmp_path):
    x, y, proto = iris
    made = ax.compile(proto, data=(x[::2], y[::2], x[1::2], y[1::2]), output=tmp_path / "tree")
    assert made.design.pipeline == "printed-tree"
    assert np.array_equal(made.predict(x), open_reference(open_classifier(proto)).predict(x))
    told = json.loads((tmp_path / "tree" / "design.json").read_text())["inputs"]
    for port in told:
        column = x[::2, port["feature"]]
        assert (port["low"], port["high"]) == (column.min(), column.max())
        assert port["rule"] == "borders"
        spread = port["high"] - port["low"]
        assert port["shares"] == pytest.approx([(t - port["low"]) / spread for t in port["thresholds"]])
        assert len(port["thresholds"]) == port["formula"].count(">")
    assert ax.open_folder(tmp_path / "tree").design.inputs == made.design.inputs
    page = made.report().read_text(encoding="utf-8")
    network = page[page.index('<section id="network">') : page.index('<section id="accuracy">')]
    assert "what it computes, trees or gates, stands in <code>graph.axir</code>" in network
    assert "not run yet" not in network
    assert "of the range of training readings" in (tmp_path / "tree" / "report.html").read_text()
    assert counted(proto) == {"inputs": 4, "classes": 3, "trees": 1, "tests": 4}


def test_a_thermometer_is_compared_bit_by_bit(iris, tmp_path, icarus):
    x, y, proto = iris
    target = ax.Printed(input_code="thermometer")
    made = ax.compile(proto, target=target, data=(x[::2], y[::2], x[1::2], y[1::2]), output=tmp_path / "bits")
    assert all(port.bits == 1 and len(port.thresholds) == 1 for port in made.design.inputs)
    assert made.design.converters.word == "comparator"
    assert made.design.converters.count == len(made.design.inputs)
    assert np.array_equal(made.predict(x), open_reference(open_classifier(proto)).predict(x))
    result = made.simulate("icarus", random=50)
    assert result.mismatches == 0
    assert result.vectors >= 50


def test_forests_and_regressors_are_simulated(tmp_path, verilator):
    x, y = load_iris(return_X_y=True)
    forest = exported(RandomForestClassifier(5, max_depth=3, random_state=0).fit(x[::2], y[::2]), x)
    made = ax.compile(forest, data=(x[::2], y[::2], x[1::2], y[1::2]), output=tmp_path / "forest")
    assert np.array_equal(made.predict(x), open_reference(open_classifier(forest)).predict(x))
    assert made.simulate("verilator", random=50).mismatches == 0
    x, y = load_diabetes(return_X_y=True)
    values = exported(RandomForestRegressor(3, max_depth=3, random_state=0).fit(x[::2], y[::2]), x)
    made = ax.compile(values, data=(x[::2], y[::2], x[1::2], y[1::2]), output=tmp_path / "values")
    wanted = open_reference(open_classifier(values)).predict(x)
    assert np.abs(made.predict(x) - wanted).max() <= 2e-3 * np.ptp(wanted)
    result = made.simulate("verilator", random=50)
    assert (result.mismatches, result.vectors >= 200) == (0, True)


def test_options_that_trees_have_no_use_for_are_refused(iris, tmp_path):
    x, y, proto = iris
    with pytest.raises(OptionError, match="printed-tree"):
        ax.compile(proto, target=ax.Printed(hidden_bits=4), data=(x, y), output=tmp_path / "no")
