"""What an attack on the flow found: steps of another model, models that are none, folders that lack a part, sizes, names."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import pytest

import approxhw as ax
from approxhw.common.errors import InvalidModelError, OptionError
from approxhw.ir.pass_manager import named_pipeline


@pytest.fixture
def folder(inputs, tmp_path):
    """A design with its steps."""
    ax.compile(inputs / "tiny.onnx", data=inputs / "tiny.npz", output=tmp_path / "out", steps=True)
    return tmp_path / "out"


def test_steps_of_another_model_are_refused(inputs, folder, tmp_path):
    other = tmp_path / "other.onnx"
    other.write_bytes((inputs / "tiny.onnx").read_bytes() + b"")
    again = {"data": inputs / "tiny.npz", "output": folder, "from_step": 3}
    assert ax.compile(other, **again).design.model["title"] == "other.onnx", "the same file by another name"
    model = ax.read(inputs / "tiny.onnx")
    with pytest.raises(OptionError, match=r"the steps of .* are of other\.onnx, another file than"):
        ax.compile(model, **again)


def test_a_ledger_that_ends_too_soon_is_refused(inputs, folder):
    told = json.loads((folder / "design.json").read_text())
    del told["ledger"][1:]
    (folder / "design.json").write_text(json.dumps(told))
    with pytest.raises(OptionError, match=r"the ledger of .* ends with step 1"):
        ax.compile(inputs / "tiny.onnx", data=inputs / "tiny.npz", output=folder, from_step=5)


@pytest.mark.parametrize("target", [ax.Printed(), ax.MatrixEngine()])
@pytest.mark.parametrize("model", [5, None, b"abc", []])
def test_what_is_no_model_is_refused(model, target, tmp_path):
    with pytest.raises(InvalidModelError, match="is no model that is read here\n    do: give the path of an ONNX file"):
        ax.compile(model, target=target, output=tmp_path / "out")
    with pytest.raises(InvalidModelError, match="is no model that is read here"):
        ax.check(model, target)


def test_a_graph_can_be_checked(inputs):
    assert ax.check(ax.read(inputs / "tiny.onnx")) == []


@pytest.mark.parametrize("part", ["accuracy", "model"])
def test_a_folder_that_lacks_a_part_is_refused(part, folder, cli):
    told = json.loads((folder / "design.json").read_text())
    told[part] = {}
    (folder / "design.json").write_text(json.dumps(told))
    said = cli("report", folder)
    assert (said.exit_code, f"does not fit its files ({part}: " in said.stderr) == (9, True), said.stderr


def test_sizes_are_asked_for_where_they_matter(tmp_path, cli, inputs, network):
    file = network(tmp_path)
    for size in ("99999999999999999999999x3", "0x3"):
        said = cli("check", file, "--target", "matrix-engine", "--shape", f"x={size}")
        assert said.exit_code == 2, said.stderr
    with pytest.raises(OptionError, match="is for the open inputs of a model on a matrix engine"):
        ax.check(inputs / "tiny.onnx", shape={"x": (1, 3)})


def test_a_damaged_record_names_itself(tmp_path, cli):
    (tmp_path / "target.json").write_text("{")
    said = cli("report", tmp_path)
    assert (said.exit_code, "target.json: no target wrote it" in said.stderr) == (9, True), said.stderr


@dataclass(frozen=True)
class Odd:
    """A target with a name that no folder could say."""

    name: ClassVar[object] = "../x"

    def passes(self):
        return named_pipeline("printed-exact")

    def build(self, graph, data):
        return {"a.txt": "a"}


@pytest.mark.parametrize("name", ["../x", "<b>", None, "printed"])
def test_a_name_that_no_folder_could_say_is_refused_before(name, inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(Odd, "name", name)
    with pytest.raises(OptionError, match="is no name for a target"):
        ax.compile(inputs / "tiny.onnx", target=Odd(), output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
