"""Targets of other packages: ``--target toy{…}`` builds files, behind passes that are kept and restarted from."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

import approxhw as ax
from approxhw.artifacts.built_files import BuiltFiles, BuiltRecord, read_built, write_built
from approxhw.artifacts.results import Verdict
from approxhw.backends.estimate import load_library
from approxhw.common.errors import InvalidDesignError, MismatchError, OptionError, OutputError
from approxhw.flow.stages.targets import BUILT_IN, name_of_target, parse_target, target_named, target_names
from approxhw.ir.pass_manager import named_pipeline


@dataclass(frozen=True)
class Listing:
    """A list of nodes."""

    name: ClassVar[str] = "listing"
    file: str = "nodes.txt"

    def passes(self):
        return named_pipeline("printed-exact")

    def build(self, graph, data):
        return {self.file: "\n".join(node.name for node in graph.nodes)} if self.file else {}


def test_ours_are_known_by_name():
    assert target_names() == ("printed", "matrix-engine", "integer-engine")
    assert {name: target_named(name).__name__ for name in BUILT_IN} == {
        "printed": "Printed",
        "matrix-engine": "MatrixEngine",
        "integer-engine": "IntegerEngine",
    }
    assert [name_of_target(target_named(name)()) for name in BUILT_IN] == list(BUILT_IN)
    assert parse_target("printed") == ax.Printed()
    with pytest.raises(OptionError, match="there is no target 'prnted'; did you mean 'printed'"):
        target_named("prnted")
    with pytest.raises(OptionError, match="printed does not read options in braces"):
        parse_target("printed{input-bits=3}")


def test_a_target_of_another_package_builds_its_files(toy, inputs, tmp_path):
    words = ("compile", inputs / "tiny.onnx", "--data", inputs / "tiny.npz", "-o", "out", "--target")
    told = json.loads(toy(*words, "toy{greeting=hello,weight-bits=5}", "--steps", "--json"))
    assert told["files"] == ["nodes.txt"]
    assert (told["spelled"], told["package"]) == ("toy{greeting=hello,weight_bits=5}", "approxhw-toy 1.0")
    built = read_built(tmp_path / "out")
    lines = built.files["nodes.txt"].decode().splitlines()
    assert lines[0] == "hello"
    assert lines[1].startswith("x input u4[")
    assert [row.name for row in built.record.ledger][2] == "quantize-weights"
    assert len(list((tmp_path / "out" / "steps").glob("*.axir"))) == len(built.record.ledger) + 1
    before = (tmp_path / "out" / "files" / "nodes.txt").read_bytes()
    toy(*words, "toy{greeting=hello,weight-bits=5}", "--from-step", 3)
    assert (tmp_path / "out" / "files" / "nodes.txt").read_bytes() == before
    assert "steps 0 to" in toy(*words, "toy", "--from-step", 99, code=2)
    assert "was quantize-weights{bits=5}, now it is quantize-weights" in toy(*words, "toy", "--from-step", 5, code=2)


def test_wrong_options_of_it_are_told(toy, inputs):
    words = ("compile", inputs / "tiny.onnx", "--target")
    said = toy(*words, "toy{greting=3,weight-bits=x}", code=2)
    assert "toy.greting: toy has no such option; did you mean 'greeting'?" in said
    assert "toy.weight-bits: 'x' is no integer" in said
    said = toy(*words, "toy", "--weight-bits", 4, "--format", "fp16", code=2)
    assert "--weight-bits: target toy has its options in braces" in said
    assert "--format: target toy has its options in braces" in said
    assert "do: leave it out, or write --target 'toy{option=value}'" in said
    assert "there is no target 'tioy'; did you mean 'toy'?" in toy(*words, "tioy", code=2)
    assert "cannot read 'toy{'" in toy(*words, "toy{", code=2)


def test_a_class_of_ones_own_will_do(inputs, tmp_path):
    built = ax.compile(inputs / "tiny.onnx", target=Listing(), data=inputs / "tiny.npz", output=tmp_path / "out")
    assert read_built(tmp_path / "out").files == built.files
    assert ax.open_folder(tmp_path / "out").summary() == built.summary()
    assert built.files["nodes.txt"].startswith(b"x\n")
    assert built.record["package"] == ""
    with pytest.raises(OptionError, match="target listing: it built no file"):
        ax.compile(inputs / "tiny.onnx", target=Listing(""), data=inputs / "tiny.npz", output=tmp_path / "none")
    assert not (tmp_path / "none").exists()


GATES = "module two(input a, input b, output y, output z);\n  assign y = a & b;\n  assign z = a ^ b;\nendmodule\n"


@dataclass(frozen=True)
class Gates:
    """Two gates, whatever the model is."""

    name: ClassVar[str] = "gates"
    mismatches: int = 0
    vectors: int = 4

    def passes(self):
        return named_pipeline("printed-exact")

    def build(self, graph, data):
        return {"rtl/two.v": GATES}

    def simulate(self, folder, simulator, timeout):
        assert (folder / "files" / "rtl" / "two.v").read_text() == GATES
        assert timeout > 0
        return Verdict(
            simulator=simulator,
            vectors=self.vectors,
            mismatches=self.mismatches,
            sources={},
            seconds={},
            mismatch_file=None,
        )


@pytest.fixture
def installed(monkeypatch):
    """The target above, as if a package had brought it."""
    monkeypatch.setattr("approxhw.flow.added.parse_target", lambda text: Gates())


def test_what_it_built_is_simulated_measured_and_reported_as_our_own(inputs, tmp_path, installed, cli):
    given = {"data": inputs / "tiny.npz", "output": tmp_path / "out"}
    built = ax.compile(inputs / "tiny.onnx", target=Gates(), **given)
    assert cli("simulate", tmp_path / "out", "--simulator", "icarus").stdout == "icarus: 4 vectors, 0 mismatches\n"
    said = cli("simulate", tmp_path / "out", "--random", 3)
    assert (said.exit_code, "is not for targets of other packages" in said.stderr) == (2, True)
    told = json.loads(cli("estimate", tmp_path / "out", "--json").stdout)
    measured = ax.estimate(tmp_path / "out" / "files" / "rtl" / "two.v")
    assert told["estimate"]["area_mm2"] == measured.area_mm2 > 0
    assert told["simulation"][0]["vectors"] == 4
    assert ax.open_folder(tmp_path / "out").summary() == built.summary() == {k: told[k] for k in built.summary()}
    assert cli("report", tmp_path / "out").exit_code == 0
    page = (tmp_path / "out" / "report.html").read_text()
    for text in ("rtl/two.v", "✓ equal", "quantize-weights", "egfet", "tiny.onnx"):
        assert text in page
    ax.compile(inputs / "tiny.onnx", target=Gates(), **given)  # what was added to the folder is nobody else's
    assert not (tmp_path / "out" / "report.html").exists()


def test_what_it_does_not_say_is_told(inputs, tmp_path, monkeypatch, installed):
    given = {"data": inputs / "tiny.npz", "output": tmp_path / "out"}
    built = ax.compile(inputs / "tiny.onnx", target=Gates(), **given)
    monkeypatch.setattr("approxhw.flow.added.parse_target", lambda text: Gates(vectors=0))
    with pytest.raises(OptionError, match="target gates: it compared no vector"):
        built.simulate()
    monkeypatch.setattr("approxhw.flow.added.parse_target", lambda text: Gates(mismatches=1))
    with pytest.raises(MismatchError, match="1 of 4"):
        built.simulate("icarus")
    assert built.summary()["simulation"][0]["mismatches"] == 1, "the verdict is kept"
    with pytest.raises(OptionError, match="is unknown"):
        built.simulate("../../elsewhere")
    monkeypatch.setattr("approxhw.flow.added.parse_target", lambda text: Listing())
    with pytest.raises(OptionError, match="target gates does not say how its files are simulated"):
        built.simulate()
    with pytest.raises(OptionError, match=r"target listing built no Verilog file \(\.v\)"):
        ax.compile(inputs / "tiny.onnx", target=Listing(), **given).estimate()


def test_a_library_that_calls_itself_a_path_stays_in_the_folder(inputs, tmp_path, monkeypatch):
    built = ax.compile(inputs / "tiny.onnx", target=Gates(), data=inputs / "tiny.npz", output=tmp_path / "out")
    library = replace(load_library("egfet"), name="../../mine")
    monkeypatch.setattr("approxhw.backends.estimate.estimator.load_library", lambda given: library)
    assert built.estimate().library == "../../mine"
    assert [path.name for path in (tmp_path / "out" / "estimate").iterdir()] == ["______mine.json"]
    assert not list(tmp_path.glob("mine*"))


def test_a_target_that_is_not_installed_any_more_is_told(inputs, tmp_path):
    ax.compile(inputs / "tiny.onnx", target=Gates(), data=inputs / "tiny.npz", output=tmp_path / "out")
    with pytest.raises(OptionError, match="there is no target 'gates'"):
        ax.open_folder(tmp_path / "out").simulate()


@pytest.mark.parametrize("name", ["../up", "/abs", "a/../b", ".hidden", "a b", "a/b/c/d/e", ""])
def test_files_stay_in_their_folder(tmp_path, name):
    with pytest.raises(OutputError, match="is no plain file name of letters"):
        write_built(BuiltFiles(tmp_path / "out", {name: b""}, BuiltRecord(target="toy", spelled="toy")))
    assert not (tmp_path / "out").exists()


def test_folders_that_were_altered_or_are_of_others_are_refused(inputs, tmp_path):
    ax.compile(inputs / "tiny.onnx", target=Listing(), data=inputs / "tiny.npz", output=tmp_path / "out")
    (tmp_path / "out" / "files" / "nodes.txt").write_text("other")
    with pytest.raises(InvalidDesignError, match=r"files/nodes\.txt: the file was changed since it was compiled"):
        read_built(tmp_path / "out")
    with pytest.raises(InvalidDesignError, match=r"target\.json: no target wrote it"):
        read_built(tmp_path)
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds files that approxhw did not write: mine\.txt"):
        ax.compile(inputs / "tiny.onnx", target=Listing(), data=inputs / "tiny.npz", output=tmp_path / "out")
