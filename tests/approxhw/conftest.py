"""Small models made node by node, their rows, and designs compiled from them once a session."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

import approxhw as ax
from approxhw.cli.main import main

Layers = Sequence[tuple[Any, Any]]

TINY: Layers = (
    ([[3, -1], [2, 2], [-2, 1]], [-1, 0.5]),
    ([[1, -2, 0.5], [-1, 1, 1.5]], [0.25, 0.5, -2]),
)
"""3 features, 2 hidden neurons, 3 classes."""


def make_mlp(layers: Layers, name: Callable[[str], str] = str) -> onnx.ModelProto:
    """Return Gemm and Relu in turn; *name* makes the names of nodes and values from plain ones."""
    nodes, constants, value = [], [], name("x")
    for i, (weights, bias) in enumerate(layers):
        tensors = {"weights": np.asarray(weights, np.float32), "bias": np.asarray(bias, np.float32)}
        constants += [numpy_helper.from_array(tensor, name(f"{key}{i}")) for key, tensor in tensors.items()]
        inputs = [value, name(f"weights{i}"), name(f"bias{i}")]
        value = name(f"sum{i}")
        nodes.append(helper.make_node("Gemm", inputs, [value], name=name(f"gemm{i}")))
        if i + 1 < len(layers):
            nodes.append(helper.make_node("Relu", [value], [name(f"relu{i}")], name=name(f"node_relu{i}")))
            value = name(f"relu{i}")
    features, classes = np.shape(layers[0][0])[0], np.shape(layers[-1][0])[1]
    ports = [
        helper.make_tensor_value_info(key, TensorProto.FLOAT, [None, width])
        for key, width in ((name("x"), features), (value, classes))
    ]
    graph = helper.make_graph(nodes, name("graph"), ports[:1], ports[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def make_rows(layers: Layers, count: int = 60, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return uniform readings and what the model says of them."""
    values = rows = np.random.default_rng(seed).random((count, len(layers[0][0])))
    for i, (weights, bias) in enumerate(layers):
        values = values @ np.asarray(weights, float) + np.asarray(bias, float)
        values = np.maximum(values, 0) if i + 1 < len(layers) else values
    classes = values.argmax(axis=1) if values.shape[1] > 1 else (values[:, 0] > 0).astype(int)
    return rows, classes.astype(np.int64)


@pytest.fixture(scope="session")
def mlp() -> Callable[..., onnx.ModelProto]:
    return make_mlp


@pytest.fixture(scope="session")
def rows_of() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    return make_rows


@pytest.fixture(scope="session")
def tiny() -> Layers:
    return TINY


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``tiny.onnx`` and ``tiny.npz``: nothing writes into it."""
    folder = tmp_path_factory.mktemp("inputs")
    onnx.save(make_mlp(TINY), folder / "tiny.onnx")
    rows, classes = make_rows(TINY)
    assert len(set(classes.tolist())) == 3
    np.savez(folder / "tiny.npz", X_train=rows[:40], y_train=classes[:40], X_test=rows[40:], y_test=classes[40:])
    return folder


@pytest.fixture(scope="session")
def made(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A design of the tiny model with its steps, neither simulated nor measured: nothing writes into it."""
    folder = tmp_path_factory.mktemp("made") / "tiny"
    target = ax.Printed(input_bits=3)
    ax.compile(inputs / "tiny.onnx", target=target, data=inputs / "tiny.npz", output=folder, steps=True)
    return folder


@pytest.fixture
def design(made: Path, tmp_path: Path) -> Path:
    """A copy of that design to play with."""
    return Path(shutil.copytree(made, tmp_path / "design"))


@pytest.fixture(params=["icarus", "verilator"])
def simulator(request: pytest.FixtureRequest) -> str:
    """Each simulator in turn; one that is missing fails in CI and is a named skip elsewhere."""
    request.getfixturevalue(request.param)
    return str(request.param)


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below *folder* with its content."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def content() -> Callable[[Path], dict[str, bytes]]:
    return tree


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command line in an empty folder; any traceback without -v is a failure."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*words: object) -> Result:
        arguments = [str(word) for word in words]
        monkeypatch.setattr("sys.argv", ["approxhw", *arguments])
        result = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert "Traceback" not in result.output or "-v" in arguments
        return result

    return run
