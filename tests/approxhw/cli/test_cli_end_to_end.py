"""The command line from model to report: what it prints for people and machines, and what stands on disk after."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


@pytest.mark.slow
def test_one_command_compiles_simulates_measures_and_reports(cli, inputs, icarus, verilator):
    result = cli(
        "compile", inputs / "tiny.onnx", "--data", inputs / "tiny.npz", "-o", "out", "--input-bits", 3, "--json"
    )
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)  # and nothing else is on standard output
    assert said["design"] == "out"
    assert 0.8 <= said["accuracy"]["hardware"] <= 1
    assert said["accuracy"]["onnx"] == 1
    assert [(row["simulator"], row["mismatches"]) for row in said["simulation"]] == [("icarus", 0), ("verilator", 0)]
    assert [row["vectors"] for row in said["simulation"]] == [512 + 20] * 2  # every vector there is, and the test rows
    cost = said["estimate"]
    assert cost["library"] == "egfet"
    assert cost["cells"] > 100
    assert cost["area_mm2"] > 10
    assert cost["power_mw"] > 0.5
    assert cost["delay_ms"] > 5
    assert cost["states_from"] == "40 training rows of the design"
    steps = {"read", "passes", "emit", "read back", "simulate icarus", "simulate verilator", "estimate"}
    assert steps <= set(said["seconds"])
    assert all(seconds >= 0 for seconds in said["seconds"].values())
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert "approxhw compile" in page
    assert "verilator" in page


def problems(said):
    """What standard error tells but progress, of which there are lines where a machine is slow."""
    return [line for line in said.stderr.splitlines() if not re.fullmatch(r"[a-z =]+: \d+ of \d+", line)]


def test_every_command_tells_people_what_it_found(cli, design, icarus):
    said = cli("simulate", design, "--simulator", "icarus", "--random", 10)
    assert (said.exit_code, problems(said)) == (0, [])
    assert said.stdout.startswith("icarus: 532 vectors, 0 mismatches (")
    said = cli("estimate", design, "--library", "egfet")
    assert (said.exit_code, problems(said)) == (0, [])
    assert said.stdout.startswith("egfet: ")
    assert " cells; states from 40 training rows of the design" in said.stdout
    said = cli("report", design)
    assert (said.exit_code, problems(said)) == (0, [])
    assert said.stdout == f"report: {design / 'report.html'}\n"
    said = cli("report", design, "--json")
    known = json.loads(said.stdout)
    assert [row["simulator"] for row in known["simulation"]] == ["icarus"]
    assert known["estimate"]["library"] == "egfet"
    assert known["report"] == str(design / "report.html")


def test_compile_alone_leaves_simulation_and_estimate_open(cli, inputs):
    result = cli("compile", inputs / "tiny.onnx", "--low", 0, "--high", 1, "--no-simulate", "--no-estimate", "--json")
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["design"] == "build/tiny"
    assert (said["simulation"], said["estimate"]) == ([], None)
    assert said["accuracy"]["onnx"] is said["accuracy"]["hardware"] is None
    assert said["warnings"] == ["no data was given: no accuracy is known"]


def test_people_hear_where_the_design_is_and_how_good(cli, inputs):
    said = cli("compile", inputs / "tiny.onnx", "--data", inputs / "tiny.npz", "--no-simulate", "--no-estimate")
    assert said.exit_code == 0
    assert said.stdout.startswith("design: build/tiny  (ONNX to Verilog in ")
    assert "accuracy on test rows: ONNX 1.0000, hardware " in said.stdout
    assert "ports: x0[3:0], x1[3:0], x2[3:0] -> class_index[2]\n" in said.stdout
    assert said.stdout.endswith("report: build/tiny/report.html\n")


def test_the_column_of_labels_is_told_and_can_be_named(cli, inputs):
    """x, y and label: the column of that name is the label, and --label takes another one."""
    with np.load(inputs / "tiny.npz") as stored:
        rows = [(*reading, label) for reading, label in zip(stored["X_train"].tolist(), stored["y_train"].tolist())]
    lines = [",".join(map(str, row)) for row in rows]
    Path("rows.csv").write_text("\n".join(["x,z,y,label", *lines]))
    words = ("compile", inputs / "tiny.onnx", "--data", "rows.csv", "--no-simulate", "--no-estimate", "-o", "out")
    said = cli(*words)
    assert said.exit_code == 0, said.stderr
    assert "note: the label is column 'label'; 'y' is read as a feature: --label NAME" in said.stderr
    assert "accuracy on test rows: ONNX 1.0000" in said.stdout
    assert cli(*words, "--label", "label").stderr.count("is read as a feature") == 0
    refused = cli(*words, "--label", "y")
    assert refused.exit_code == 5
    assert "different labels for 3 classes" in refused.stderr


def test_a_missing_simulator_is_a_note_or_with_require_tools_an_error(cli, inputs, monkeypatch, tmp_path):
    from approxhw.common import tools

    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    tools.find_icarus.cache_clear()
    tools.find_verilator.cache_clear()
    words = ("compile", inputs / "tiny.onnx", "--data", inputs / "tiny.npz", "--no-estimate")
    try:
        kept = cli(*words)
        refused = cli(*words, "--require-tools", "--json")
    finally:
        tools.find_icarus.cache_clear()
        tools.find_verilator.cache_clear()
    assert kept.exit_code == 0
    assert "note: not simulated on icarus: iverilog: not usable here" in kept.stderr
    assert "do: install Icarus Verilog 11 or newer" in kept.stderr
    assert "note: not simulated on verilator: g++: not usable here" in kept.stderr
    assert "do: Verilator needs it: install g++ (Debian: apt-get install g++ make)" in kept.stderr
    assert refused.exit_code == 12
    assert json.loads(refused.stdout)["error"].startswith("iverilog: not usable here")
    assert Path("build/tiny/design.json").is_file()  # the design itself is whole


def test_the_program_itself_starts(tmp_path):
    program = shutil.which("approxhw", path=str(Path(sys.executable).parent))
    assert program, "the console script is missing beside the interpreter"
    for words in ([program], [sys.executable, "-m", "approxhw"]):
        done = subprocess.run(
            [*words, "--version"], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "approxhw, version 0.1.0\n", "")
