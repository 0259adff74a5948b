"""Frontends of other packages: a .toy file and a dict are read, compiled and checked; what fails names its package."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from toy_packages import make_package

from approxhw.common.errors import InvalidModelError, PluginError
from approxhw.frontends import check_model, read_model
from approxhw.frontends.classifier import open_classifier

IRIS = Path(__file__).resolve().parents[2] / "examples" / "iris.onnx"
NETWORK = {
    "weights0": [[3, 2, -2], [-1, 2, 1]],
    "bias0": [-1, 0.5],
    "weights1": [[1, -1], [-2, 1], [0.5, 1.5]],
    "bias1": [0.25, 0.5, -2],
}
"""TINY of tests/approxhw/conftest.py."""


@pytest.fixture
def rows(tmp_path):
    readings = np.random.default_rng(1).random((60, 3))
    hidden = np.maximum(readings @ np.array(NETWORK["weights0"]).T + NETWORK["bias0"], 0)
    classes = (hidden @ np.array(NETWORK["weights1"]).T + NETWORK["bias1"]).argmax(axis=1)
    np.savez(tmp_path / "d.npz", X_train=readings[:40], y_train=classes[:40], X_test=readings[40:], y_test=classes[40:])
    return tmp_path / "d.npz"


def test_a_file_of_another_sort_is_read_checked_and_compiled(toy, rows, tmp_path):
    (tmp_path / "net.toy").write_text(json.dumps(NETWORK))
    assert "can be compiled: 3 inputs, 3 classes" in toy("check", "net.toy")
    toy("compile", "net.toy", "--data", rows, "-o", "out", "--no-simulate", "--no-estimate")
    design = json.loads((tmp_path / "out" / "design.json").read_text())
    assert design["accuracy"]["onnx"] == 1.0, "the float network says what the rows were made of"
    assert design["accuracy"]["hardware"] > 0.8
    (tmp_path / "bad.toy").write_text('{"weights0": [1]}')
    assert "bad.toy: it is no network ('bias0')" in toy("check", "bad.toy", code=4)
    (tmp_path / "odd.toy").write_text(json.dumps({**NETWORK, "weights1": [[1, 2, 3]]}))
    assert "weights1: it reads 3 values, weights0 gives 2" in toy("check", "odd.toy", code=4)
    assert "none.toy: there is no such file" in toy("check", "none.toy", code=4)


def test_an_object_is_read_by_a_predicate_and_onnx_stays_ours(toy):
    code = f"""
import sys
import approxhw as ax
from approxhw.frontends.classifier import open_classifier
ax.read({str(IRIS)!r})
assert open_classifier({str(IRIS)!r}).loaded is not None
assert not [name for name in sys.modules if name.startswith("toy_plugin")], "not loaded for ONNX"
graph = ax.read({NETWORK!r}, name="mine")
print(graph.name, len(graph.nodes), graph.classes, open_classifier({NETWORK!r}).loaded is not None)
"""
    assert toy("-c", code) == "mine 9 3 False\n"


CODE = """from approxhw.frontends.registry import Frontend
def read(source, name):
    {body}
FRONTEND = Frontend(read, {options})
"""


def added(tmp_path, monkeypatch, name, body, options="suffixes=('.odd',)"):
    code = CODE.format(body=body, options=options)
    make_package(tmp_path / name, name, {"frontends": {name: f"{name}_module:FRONTEND"}}, code)
    monkeypatch.syspath_prepend(str(tmp_path / name))
    file = tmp_path / "net.odd"
    file.write_text("")
    return file


@pytest.mark.parametrize(
    ("number", "body", "why"),
    [
        (1, "raise KeyError('k')", r"it failed reading .*net\.odd: KeyError: 'k'"),
        (2, "return 3", r"it made int of .*net\.odd, not a Graph"),
        (
            3,
            "from approxhw.ir.graph import Graph; return Graph('g', (), 'y')",
            "it made a Graph that breaks rules",
        ),
    ],
)
def test_a_frontend_that_fails_names_its_package(tmp_path, monkeypatch, number, body, why):
    file = added(tmp_path, monkeypatch, f"reader{number}", body)
    for use in (read_model, check_model):
        with pytest.raises(PluginError, match=why) as error:
            use(file)
        assert f"pip uninstall reader{number}" in str(error.value)


def test_two_that_read_the_same_are_refused(tmp_path, monkeypatch):
    added(tmp_path, monkeypatch, "one", "pass")
    file = added(tmp_path, monkeypatch, "two", "pass")
    with pytest.raises(PluginError, match=r"\.odd: one 2\.0 and two 2\.0 all read it"):
        read_model(file)


@pytest.mark.parametrize(
    ("number", "options", "why"),
    [(4, "suffixes=('.onnx',)", r"approxhw itself reads \.onnx files"), (5, "suffixes=('ODD',)", "'ODD' is no suffix")],
)
def test_suffixes_are_looked_at(tmp_path, monkeypatch, number, options, why):
    file = added(tmp_path, monkeypatch, f"reader{number}", "pass", options)
    with pytest.raises(PluginError, match=why):
        open_classifier(file)


def test_without_packages_other_files_are_taken_for_onnx_as_ever(tmp_path):
    (tmp_path / "net.toy").write_text("{}")
    with pytest.raises(InvalidModelError):
        read_model(tmp_path / "net.toy")
