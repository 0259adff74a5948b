"""One flow for every target: the model is opened once, folders are opened whatever the target, check knows targets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import approxhw as ax
from approxhw.common.errors import OptionError
from approxhw.flow.stages.protocol import Flow
from approxhw.flow.stages.targets import BUILT_IN, flow_of, target_named
from approxhw.frontends.onnx import loading


@pytest.fixture
def opened(monkeypatch):
    """Every model file that is read, in order."""
    seen, before = [], loading.read_bytes

    def read_bytes(path: Path, most: int) -> bytes:
        seen.append(path.name)
        return before(path, most)

    monkeypatch.setattr(loading, "read_bytes", read_bytes)
    return seen


def test_each_target_of_ours_is_served_by_a_flow():
    assert all(isinstance(flow_of(target_named(name)()), Flow) for name in BUILT_IN)


def test_a_circuit_is_read_once(inputs, tmp_path, opened):
    made = ax.compile(inputs / "tiny.onnx", data=inputs / "tiny.npz", output=tmp_path / "out")
    assert opened.count("tiny.onnx") == 1
    assert made.design.model["sha256"]


def test_an_engine_is_read_once(tmp_path, opened, network):
    np.savez(tmp_path / "d.npz", x=np.ones((4, 3), np.float32))
    target = ax.MatrixEngine(rows=2, columns=2)
    made = ax.compile(network(tmp_path), target=target, data=tmp_path / "d.npz", output=tmp_path / "out")
    assert opened.count("net.onnx") == 1
    assert made.design.model["sha256"]
    assert json.dumps(ax.open_folder(tmp_path / "out").summary()) == json.dumps(made.summary())
    assert type(ax.open_folder(tmp_path / "out")).__name__ == "CompiledEngine"
    page = made.report().read_text()
    assert "approximate-normalization" in page, "the page of an engine has its ledger, too"


def test_a_circuit_is_opened_whatever_it_is(inputs, tmp_path):
    made = ax.compile(inputs / "tiny.onnx", data=inputs / "tiny.npz", output=tmp_path / "out")
    again = ax.open_folder(tmp_path / "out")
    assert isinstance(again, ax.CompiledDesign)
    assert again.summary() == made.summary()


def test_check_knows_targets(cli, tmp_path, inputs, network):
    assert ax.check(inputs / "tiny.onnx") == ax.check(inputs / "tiny.onnx", ax.MatrixEngine()) == []
    file = network(tmp_path)
    assert ax.check(file, "matrix-engine") == []
    told = cli("check", file, "--target", "matrix-engine").stdout
    assert told == f"{file}: can be compiled: 1 input, 1 product on the engine, 0 parts on the host\n"
    assert json.loads(cli("check", inputs / "tiny.onnx", "--json").stdout)["classes"] == 3
    other = network(tmp_path, operator="Add")
    (problem,) = ax.check(other, "matrix-engine")
    assert "no MatMul, Gemm, Conv or ConvTranspose that reads an input" in problem.why
    said = cli("check", other, "--target", "matrix-engine")
    assert said.exit_code == 3
    assert "an engine has nothing to do" in said.stderr
    said = cli("check", file, "--target", "matrix-engin")
    assert "there is no target 'matrix-engin'; did you mean 'matrix-engine'?" in said.stderr
    assert said.exit_code == 2


def test_sizes_are_for_engines(inputs, tmp_path):
    with pytest.raises(OptionError, match="shape: is for the open inputs of a model on a matrix engine"):
        ax.compile(inputs / "tiny.onnx", shape={"x": (1, 3)}, output=tmp_path / "out")
