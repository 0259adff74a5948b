"""Trees through the whole flow: the pipeline is picked, what is said of thresholds is right, circuits equal onnxruntime."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

import approxhw as ax
from approxhw.common.errors import OptionError
from approxhw.flow.compile import counted
from approxhw.flow.stages.measure import job_of
from approxhw.flow.stages.occurring import excluded_vectors, random_words
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


def test_vectors_that_cannot_occur_are_not_driven_and_that_is_told(iris, tmp_path, icarus):
    x, y, _ = iris
    proto = exported(DecisionTreeClassifier(random_state=1).fit(x, y), x)
    data = (x[::2], y[::2], x[1::2], y[1::2])
    target = ax.Printed(input_code="thermometer")
    made = ax.compile(
        proto,
        target=target,
        data=data,
        output=tmp_path / "bits",
        passes="printed-tree{input_code=thermometer}, resynthesise-gates",
    )
    encoding = made.design.graph.input.op.encoding
    job, counts = job_of(made.design, random=300)
    codes = made.design.codes_of(job.vectors, job.count)
    edges = np.array([border for (border,) in encoding.borders])
    ports = np.array([port.feature for port in made.design.inputs])
    pairs = [
        (low, high)
        for low in ports
        for high in ports
        if encoding.reads[low] == encoding.reads[high] and edges[low] < edges[high]
    ]
    assert len(pairs) > 5
    assert all((codes[:, low] >= codes[:, high]).all() for low, high in pairs)
    every = np.unique(codes[counts["data"] :][:, ports], axis=0)
    assert len(every) == counts["exhaustive"] < 1 << len(ports)
    assert (counts["corners"], counts["random"]) == (0, 0)
    few, told = job_of(made.design, random=300, exhaustive_bits=2)
    assert told["random"] == 300
    assert told["corners"] >= 1
    codes = made.design.codes_of(few.vectors, few.count)
    assert all((codes[:, low] >= codes[:, high]).all() for low, high in pairs)
    assert len(np.unique(codes[-300:][:, ports], axis=0)) > 20
    assert made.simulate("icarus", random=50).mismatches == 0
    verdict = json.loads((tmp_path / "bits" / "simulation" / "icarus" / "verdict.json").read_text())
    words = (
        f"{counts['exhaustive']} of the 2^{len(ports)} patterns of its input bits can occur, and no others are driven"
    )
    assert verdict["excluded"] == words
    made.estimate()
    assert words in made.report().read_text(encoding="utf-8")
    assert np.array_equal(made.predict(x), open_reference(open_classifier(proto)).predict(x))
    blind = replace(made.design, rows=replace(made.design.rows, train=made.design.rows.train[:0]))
    assert random_words(blind)[1] == "10000 seeded random vectors that can occur"


def test_where_all_vectors_can_occur_none_is_left_out(iris, tmp_path):
    x, y, _ = iris
    network = exported(LogisticRegression().fit(x, y), x)
    made = ax.compile(network, data=(x[::2], y[::2], x[1::2], y[1::2]), output=tmp_path / "sums")
    _, counts = job_of(made.design, random=40)
    assert counts["exhaustive"] + counts["random"] >= 40
    assert excluded_vectors(made.design) == ""
    assert random_words(made.design) == (None, "")


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


def test_bits_of_tree_codes_are_not_asked_for():
    with pytest.raises(OptionError) as told:
        ax.Printed(input_bits=8, pipeline="printed-tree").passes()
    assert "input_bits: a code of a tree has as many bits as its thresholds need" in str(told.value)
    assert "do: leave --input-bits out for models of trees" in str(told.value)
