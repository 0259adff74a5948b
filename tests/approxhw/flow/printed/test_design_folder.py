"""Design folders that were altered, cut short or forged: every fault named, nothing of them believed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from approxhw.artifacts.design import read_design, write_design
from approxhw.artifacts.steps import read_graph
from approxhw.common.errors import InvalidDesignError, OutputError
from approxhw.common.files import write_beside

COMMANDS = (("simulate", "--simulator", "icarus"), ("estimate",), ("report",))


def _edit(folder: Path, change) -> None:
    told = json.loads((folder / "design.json").read_text())
    change(told)
    (folder / "design.json").write_text(json.dumps(told))


def _forge(folder: Path, name: str, text: str) -> None:
    """Change a file and the digest that vouches for it."""
    (folder / name).write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    _edit(folder, lambda told: told["files"].update({name: digest}))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_altered_and_missing_files_are_all_named(cli, design, command):
    (design / "rtl" / "tiny.v").write_text("module tiny(); endmodule\n")
    (design / "rtl" / "argmax.v").unlink()
    (design / "rows.npz").write_bytes(b"")
    result = cli(command[0], design, *command[1:])
    assert result.exit_code == 9
    lines = result.stderr.splitlines()
    assert lines[0] == f"error: {design}: 3 problems"
    assert "  rtl/tiny.v: the file was changed since it was compiled" in lines
    assert "    do: compile the design again, or copy it elsewhere" in lines
    assert "  rtl/argmax.v: the file is missing" in lines
    assert "  rows.npz: the file was changed since it was compiled" in lines


def test_a_design_survives_writing_and_reading(design, tmp_path, content):
    first = read_design(design)
    steps = [(path.name, read_graph(path)) for path in sorted((design / "steps").iterdir())]
    write_design(first, tmp_path / "copy", steps)
    before, after = content(design), content(tmp_path / "copy")
    assert before.pop("rows.npz")
    assert after.pop("rows.npz")
    told, again = json.loads(before.pop("design.json")), json.loads(after.pop("design.json"))
    assert told["files"].pop("rows.npz")
    assert again["files"].pop("rows.npz")
    assert (before, told) == (after, again)
    second = read_design(tmp_path / "copy")
    for name in ("train", "train_classes", "test", "test_classes"):
        np.testing.assert_array_equal(getattr(first.rows, name), getattr(second.rows, name))
    assert first.graph == second.graph
    assert first.modules == second.modules


def test_ports_carry_codes_and_codes_come_back(design):
    known = read_design(design)
    codes = np.random.default_rng(3).integers(0, 8, (50, 3))
    ports = known.ports_of(codes)
    assert {name: int(column.max()) for name, column in ports.items()} == {"x0": 7, "x1": 7, "x2": 7}
    np.testing.assert_array_equal(known.codes_of(ports, 50), codes)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no design ("),
        ("[]", "no design ("),
        ("null", "no design ("),
        ("{}", "format 'None' is not 'approxhw design 2'"),
        ('{"format": "approxhw design 3"}', "format 'approxhw design 3' is not 'approxhw design 2'"),
        ('{"format": "approxhw design 1"}', "no design ('files')"),
        ('{"format": "approxhw design 1", "files": 3}', "no design ("),
        ("[" * 100_000, "no design ("),
        ('{"format": "' + "x" * 100_000 + '"}', "no design (format 'xxx"),
        ('{"format": "<script>\\u0000\\u001b[31m"}', "is not 'approxhw design 2'"),
    ],
)
def test_texts_that_are_no_design(cli, design, text, why):
    (design / "design.json").write_text(text)
    result = cli("report", design)
    assert result.exit_code == 9, result.output
    assert result.stderr.startswith(f"error: {design}: 1 problem\n  design.json: no design (")
    assert why in result.stderr
    assert len(result.stderr) < 700
    assert "\x1b" not in result.stderr


def test_bytes_that_are_no_text(cli, design):
    (design / "design.json").write_bytes(b"\xff\xfe\x00")
    result = cli("report", design)
    assert result.exit_code == 9
    assert "design.json: no design (" in result.stderr


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda t: t["files"].update({"../secret": "0"}), "../secret: it lies outside the design folder"),
        (lambda t: t["files"].update({"/etc/hostname": "0"}), "/etc/hostname: it lies outside the design folder"),
        (lambda t: t["files"].update({"rtl/gone.v": "0"}), "rtl/gone.v: the file is missing"),
        (lambda t: t["modules"].append("../../etc/x"), "../../etc/x is no name of a module or port"),
        (lambda t: t["modules"].append("a b"), "a b is no name of a module or port"),
        (lambda t: t["modules"].append("tiny\n"), "is no name of a module or port"),
        (lambda t: t["modules"].append("gone"), "rtl/gone.v: design.json does not vouch for it"),
        (lambda t: t["modules"].clear(), "it does not fit its files ("),
        (lambda t: t.update(top="x; endmodule"), "x; endmodule is no name of a module or port"),
        (lambda t: t.update(top="nothing"), "it does not fit its files ("),
        (lambda t: t.update(clock="clk);"), "clk); is no name of a module or port"),
        (lambda t: t["inputs"][0].update(name="x-1"), "x-1 is no name of a module or port"),
        (lambda t: t["inputs"][0].update(name=7), "it does not fit its files ("),
        (lambda t: t["inputs"][0].update(bits=10**9), "it does not fit its files ("),
        (lambda t: t["inputs"][0].update(bits="three"), "it does not fit its files ("),
        (lambda t: t["inputs"][0].update(feature=99), "it does not fit its files ("),
        (lambda t: t["inputs"][0].update(feature=-1), "it does not fit its files ("),
        (lambda t: t["inputs"][0].update(code_bits=[0, 1, 10**9]), "it does not fit its files ("),
        (lambda t: t["inputs"][0].update(code_bits=[0, 1, -2]), "it does not fit its files ("),
        (lambda t: t["inputs"][0].update(extra=1), "it does not fit its files ("),
        (lambda t: t["inputs"][0].pop("low"), "it does not fit its files ("),
        (lambda t: t["output"].update(name="y y"), "y y is no name of a module or port"),
        (lambda t: t["output"].update(bits=10**12), "it does not fit its files ("),
        (lambda t: t.update(latency=10**12), "it does not fit its files ("),
        (lambda t: t.update(latency=-1), "it does not fit its files ("),
        (lambda t: t.update(name=None), "it does not fit its files ("),
        (lambda t: t.pop("ledger"), "it does not fit its files ("),
        (lambda t: t.update(ledger=3), "it does not fit its files ("),
        (lambda t: t.update(accuracy=[]), "it does not fit its files ("),
        (lambda t: t.update(model="x"), "it does not fit its files ("),
        (lambda t: t["files"].pop("rows.npz"), "rows.npz: design.json does not vouch for it"),
        (lambda t: t["files"].pop("graph.axir"), "graph.axir: design.json does not vouch for it"),
        (lambda t: t["files"].pop("rtl/tiny.v"), "rtl/tiny.v: design.json does not vouch for it"),
    ],
)
def test_forged_descriptions_are_refused(cli, design, change, why):
    (design.parent / "secret").write_text("s")
    _edit(design, change)
    for command in COMMANDS:
        result = cli(command[0], design, *command[1:])
        assert result.exit_code == 9, result.output
        assert why in result.stderr
        assert result.stderr.startswith(f"error: {design}: ")
        assert len(result.stderr) < 900
    assert not (design / "simulation").exists()


def test_forged_rows_are_refused(cli, design):
    for name, array in {
        "shape": {"train": np.zeros((4, 2), int)},
        "range": {"train": np.full((4, 3), 8)},
        "type": {"train": np.zeros((4, 3))},
        "counts": {"train_classes": np.zeros(7, int)},
        "classes": {"train_classes": np.full(4, -1)},
        "objects": {"train": np.array([[object()] * 3] * 4)},
    }.items():
        rows = {"train": np.zeros((4, 3), int), "train_classes": np.zeros(4, int)}
        rows |= {"test": np.zeros((0, 3), int), "test_classes": np.zeros(0, int), **array}
        np.savez(design / "rows.npz", **rows)
        digest = hashlib.sha256((design / "rows.npz").read_bytes()).hexdigest()
        _edit(design, lambda told, digest=digest: told["files"].update({"rows.npz": digest}))
        result = cli("report", design)
        assert result.exit_code == 9, (name, result.output)
        assert "design.json: it does not fit its files (" in result.stderr


def test_a_forged_graph_is_refused_with_its_rules(cli, design):
    graph = (design / "graph.axir").read_text()
    _forge(design, "graph.axir", graph.replace("u3[3]", "u3[4]", 1))
    result = cli("report", design)
    assert result.exit_code == 6
    assert result.stderr.startswith("error: ")
    _forge(design, "graph.axir", "axir 1\nnonsense\n")
    result = cli("simulate", design)
    assert result.exit_code == 6
    assert "line 2" in result.stderr


def test_a_link_out_of_the_folder_is_not_followed(cli, design, tmp_path):
    """A file of the design is a file of its folder: a link elsewhere could be swapped after it was checked."""
    (tmp_path / "elsewhere.v").write_bytes((design / "rtl" / "tiny.v").read_bytes())
    (design / "rtl" / "tiny.v").unlink()
    (design / "rtl" / "tiny.v").symlink_to(tmp_path / "elsewhere.v")
    result = cli("report", design)
    assert result.exit_code == 9
    assert "rtl/tiny.v: it lies outside the design folder" in result.stderr


def test_broken_results_are_named_by_the_report(cli, design):
    (design / "estimate").mkdir()
    (design / "estimate" / "egfet.json").write_text("{")
    result = cli("report", design)
    assert result.exit_code == 9
    assert "egfet.json: it cannot be read (" in result.stderr
    assert "    do: run that simulation or estimate again" in result.stderr
    for text in ("[]", "{}", '{"library": 3}'):
        (design / "estimate" / "egfet.json").write_text(text)
        result = cli("report", design)
        assert result.exit_code == 9, result.output
        assert "egfet.json: it cannot be read (" in result.stderr
        assert not (design / "report.html").exists()


def test_the_page_tells_a_kept_estimate(cli, design):
    kept = {"library": "my cells.lib", "library_file": "libraries/my cells.lib", "voltage": 1.0, "area_mm2": 1.0}
    kept |= {"power_mw": 1.0, "static_power_mw": 1.0, "dynamic_power_mw": 0.0, "delay_ms": 1.0, "cells": 1}
    kept |= {"cells_by_type": {"INV": 1}, "states_from": "vectors", "frequency_hz": 5.0, "seconds": 0.1}
    kept |= {"delay_point": "", "by_layer": [], "notes": ["<b>counted</b> as 0"]}
    kept |= {"critical_path": ["x0[1]", "INV -> $abc$1$n2", "NAND2 -> sum[3]"]}
    (design / "estimate").mkdir(exist_ok=True)
    (design / "estimate" / "my_cells_lib.json").write_text(json.dumps(kept))
    result = cli("report", design)
    assert result.exit_code == 0, result.output
    page = (design / "report.html").read_text()
    assert "--library &#39;libraries/my cells.lib&#39;" in page
    assert "&lt;b&gt;counted&lt;/b&gt; as 0" in page
    assert "x0[1] → INV → NAND2 sum[3]" in page


def test_write_beside_is_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "text"
    write_beside(path, "one")
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(OutputError, match=r"text: it cannot be written \(No space left\)"):
            write_beside(path, "two")
    assert path.read_text() == "one"
    assert [entry.name for entry in path.parent.iterdir()] == ["text"]


def test_folders_that_are_not_there(tmp_path):
    with pytest.raises(InvalidDesignError, match="do: make it with: approxhw compile MODEL --data DATA -o FOLDER"):
        read_design(tmp_path / "none")
