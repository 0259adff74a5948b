"""The model of an engine as passes left it: compiled, exported, and run by onnxruntime on every row."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import approxhw as ax
from approxhw.common.errors import ApproxhwError

EXAMPLES = Path(__file__).resolve().parents[4] / "examples"
SMALLER = (
    "prune-outputs{keep=0.5}",
    "prune-outputs{budget=90%}",
    "fuse-neurons{keep=0.5,starts=3}",
    "prune-channels{bound=50%,whole=50}",
)


@pytest.fixture(scope="module")
def iris():
    return ax.load_dataset("sklearn:iris")


@pytest.mark.parametrize("passes", SMALLER)
def test_answers_of_an_exported_model_are_those_of_the_smaller_graph(iris, tmp_path, passes):
    made = ax.compile(
        EXAMPLES / "iris.onnx",
        target=ax.MatrixEngine(rows=2, columns=2),
        data=iris,
        output=tmp_path / "e",
        passes=passes,
    )
    path = ax.export_onnx(tmp_path / "e", tmp_path / "smaller.onnx")
    onnx.checker.check_model(str(path))
    session = onnxruntime.InferenceSession(str(path))
    (feed,) = session.get_inputs()
    rows = iris.X_test.astype(np.float64 if feed.type == "tensor(double)" else np.float32)
    classes = session.run(None, {feed.name: rows})[0].reshape(len(rows))
    assert len(rows) > 20
    assert made.accuracy["engine"] == pytest.approx(float(np.mean(classes == iris.y_test)), abs=1e-12)
    assert made.accuracy["rows"] == len(rows)
    sizes = [layer.n for layer in made.design.layers]
    whole = ax.compile(EXAMPLES / "iris.onnx", target="matrix-engine", data=iris, output=tmp_path / "w")
    assert sizes != [layer.n for layer in whole.design.layers] or passes.startswith("prune-channels")
    assert made.accuracy["onnx"] == whole.accuracy["onnx"]  # beside the model as it was given


def test_what_no_pass_changed_is_not_exported(iris, tmp_path):
    ax.compile(EXAMPLES / "iris.onnx", target="matrix-engine", data=iris, output=tmp_path / "e")
    with pytest.raises(ApproxhwError, match="it keeps no Graph") as error:
        ax.export_onnx(tmp_path / "e", tmp_path / "x.onnx")
    assert "compile with --steps" in str(error.value)
    assert not (tmp_path / "x.onnx").exists()


def test_a_printed_circuit_is_no_model(iris, tmp_path):
    ax.compile(EXAMPLES / "iris.onnx", data=iris, output=tmp_path / "p", steps=True)
    with pytest.raises(ApproxhwError, match="which are no ONNX model"):
        ax.export_onnx(tmp_path / "p", tmp_path / "x.onnx")


def test_no_folder_of_a_design_is_told(tmp_path):
    with pytest.raises(ApproxhwError, match=str(tmp_path.name)):
        ax.export_onnx(tmp_path, tmp_path / "x.onnx")


def test_from_the_command_line(cli, tmp_path):
    engine, model = tmp_path / "e", tmp_path / "smaller.onnx"
    compiled = cli(
        "compile", EXAMPLES / "iris.onnx", "--data", "sklearn:iris", "--target", "matrix-engine", "--array", "2x2",
        "--passes", "prune-outputs{keep=0.5}", "--no-simulate", "-o", engine,
    )  # fmt: skip
    assert compiled.exit_code == 0, compiled.output
    told = cli("export", engine, "-o", model, "--json")
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout) == {"model": str(model)}
    assert model.is_file()
