"""Other people's Verilog under the same ruler: tops found and named, vectors checked, logs of what fails."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import approxhw as ax

ADDER = """module cell2(input a, input b, output s, output c);
  assign s = a ^ b;
  assign c = a & b;
endmodule
module adder(input [3:0] a, input [3:0] b, output [4:0] s);
  wire unused;
  cell2 low(.a(a[0]), .b(b[0]), .s(unused), .c());
  assign s = a + b;
endmodule
"""


@pytest.fixture
def adder(tmp_path: Path) -> Path:
    path = tmp_path / "their adder.v"
    path.write_text(ADDER)
    return path


def test_any_verilog_is_measured(cli, adder):
    result = cli("estimate", adder, "--top", "adder", "--library", "egfet", "--json")
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["design"] == str(adder)
    cost = said["estimate"]
    assert (cost["library"], cost["top"]) == ("egfet", "adder")
    assert cost["states_from"] == "10000 seeded uniform vectors"
    assert 10 < cost["cells"] < 100
    assert cost["area_mm2"] > 1
    text = cli("estimate", adder, "--top", "adder")
    assert text.stdout.startswith("egfet: ")
    assert text.stdout.endswith(" cells; states from 10000 seeded uniform vectors\n")


def test_power_comes_from_the_vectors_that_are_given(cli, adder, tmp_path):
    def power(**vectors) -> float:
        np.savez(tmp_path / "v.npz", **vectors)
        result = cli("estimate", adder, "--top", "adder", "--vectors", tmp_path / "v.npz", "--json")
        assert result.exit_code == 0, result.stderr
        cost = json.loads(result.stdout)["estimate"]
        assert cost["states_from"] == "vectors of v.npz"
        return float(cost["static_power_mw"])

    zeros, ones = np.zeros(16, int), np.full(16, 15)
    assert power(a=zeros, b=zeros) != power(a=ones, b=ones)


@pytest.mark.parametrize(
    ("vectors", "code", "text"),
    [
        ({"a": np.arange(4)}, 5, "b"),
        ({"a": np.arange(4), "b": np.arange(4), "q": np.arange(4)}, 5, "q"),
        ({"a": np.arange(4), "b": np.arange(5)}, 5, "5"),
        ({"a": np.arange(4), "b": np.arange(4) + 14}, 5, "b"),
        ({"a": np.arange(4), "b": -np.arange(4)}, 5, "b"),
        (
            {"a": np.arange(4), "b": np.arange(4) / 2},
            5,
            "b: an array of float64 with 1 axes\n    do: give whole numbers",
        ),
        ({"a": np.arange(4), "b": np.ones((4, 2), int)}, 5, "b: an array of int64 with 2 axes"),
        ({"a": np.zeros(0, int), "b": np.zeros(0, int)}, 2, "vectors: there are none"),
    ],
    ids=["missing", "unknown", "lengths", "too large", "negative", "fractions", "axes", "none"],
)
def test_vectors_that_do_not_fit_the_ports(cli, adder, tmp_path, vectors, code, text):
    np.savez(tmp_path / "v.npz", **vectors)
    result = cli("estimate", adder, "--top", "adder", "--vectors", tmp_path / "v.npz")
    assert result.exit_code == code, result.output
    assert text in result.stderr
    assert result.stdout == ""


def test_vectors_files_that_are_none(cli, adder, tmp_path):
    words = ("estimate", adder, "--top", "adder", "--vectors")
    assert "there is no such file" in cli(*words, "nope.npz").stderr
    (tmp_path / "v.npz").write_bytes(b"no zip")
    result = cli(*words, tmp_path / "v.npz")
    assert result.exit_code == 5
    assert "v.npz: " in result.stderr


def test_an_unknown_top_lists_the_modules(cli, adder):
    result = cli("estimate", adder, "--top", "addr")
    assert result.exit_code == 2
    assert "top: no module 'addr' in the source; there are: " in result.stderr
    assert "adder" in result.stderr
    assert "cell2" in result.stderr


def test_a_source_without_a_module_says_so(cli, tmp_path):
    (tmp_path / "defs.vh").write_text("`define WIDTH 4\n")
    result = cli("estimate", tmp_path / "defs.vh")
    assert result.exit_code == 2
    assert "top: the source has no module\n    do: give the file that defines one" in result.stderr


def test_the_top_is_found_where_there_is_only_one(cli, adder):
    result = cli("estimate", adder, "--json")
    assert json.loads(result.stdout)["estimate"]["top"] == "adder"
    adder.write_text(ADDER + "module other(input x, output y);\n  assign y = ~x;\nendmodule\n")
    result = cli("estimate", adder)
    assert result.exit_code == 2
    why = "no other module instantiates adder, other"
    assert f"top: the source does not tell it: {why}\n    do: name one of them" in result.stderr


def test_a_syntax_error_ends_with_the_log(cli, adder):
    adder.write_text("module broken(input a, output b);\n  assign b = = a;\nendmodule\n")
    result = cli("estimate", adder, "--top", "broken")
    assert result.exit_code == 13
    assert result.stderr.startswith("error: yosys: exit code 1\n")
    last = [line for line in result.stderr.splitlines() if line.strip(" |")][-1]
    assert last.startswith("    | ")
    assert "syntax error" in result.stderr
    assert ":2:" in result.stderr


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"hello\n"], ids=["empty", "bytes", "words"])
def test_files_that_are_no_verilog(cli, tmp_path, content):
    (tmp_path / "x.v").write_bytes(content)
    result = cli("estimate", tmp_path / "x.v", "--top", "x")
    assert result.exit_code in (2, 13), result.output
    assert result.stderr.startswith("error: ")
    assert len(result.stderr) < 3000


def test_liberty_files_that_are_none(cli, adder, design, tmp_path):
    (tmp_path / "bad.lib").write_text("library (x) {\n  cell (INV) { area : ; }\n")
    (tmp_path / "bad.lib.gz").write_bytes(b"\x1f\x8bnothing")
    for target in (adder, design):
        top = ("--top", "adder") if target == adder else ()
        for name in ("bad.lib", "bad.lib.gz"):
            result = cli("estimate", target, *top, "--liberty", tmp_path / name)
            assert result.exit_code == 10, result.output
            assert f"{name}: " in result.stderr
        result = cli("estimate", target, *top, "--liberty", tmp_path / "none.lib")
        assert result.exit_code == 2
        assert "no built-in library and no file of that name" in result.stderr


def test_options_for_designs_are_refused_for_files(cli, adder):
    result = cli("estimate", adder, "--prove")
    assert result.exit_code == 2
    assert "--prove: is for design folders" in result.stderr


def test_several_files_with_options_of_the_preprocessor(cli, tmp_path):
    (tmp_path / "defs").mkdir()
    (tmp_path / "defs" / "w.vh").write_text("`define WIDTH 3\n")
    (tmp_path / "my top.v").write_text(
        '`include "w.vh"\nmodule top #(parameter K = 0) (input [`WIDTH-1:0] a, output [`WIDTH-1:0] y);\n'
        "  part p(.a(a ^ K), .y(y)); endmodule\n"
    )
    (tmp_path / "part.v").write_text("module part(input [2:0] a, output [2:0] y); assign y = a ^ `MASK; endmodule\n")
    files = (tmp_path / "my top.v", tmp_path / "part.v")
    words = ("-I", tmp_path / "defs", "-D", "MASK=3'b011", "--parameter", "K=1", "--json")
    result = cli("estimate", *files, *words)
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["files"] == list(map(str, files))
    assert (told["estimate"]["top"], told["estimate"]["cells_by_type"]) == ("top", {"INVX1": 1})
    result = cli("estimate", *files, *words[:-1], "--prove", "--parameter", "K")
    assert result.exit_code == 2
    assert "--prove: is for design folders" in result.stderr


def test_nets_without_a_driver_are_refused_or_told(cli, tmp_path):
    (tmp_path / "t.v").write_text(
        "module t(input [3:0] a, output [3:0] s, output k); assign s = ~a; assign k = sun; endmodule\n"
    )
    result = cli("estimate", tmp_path / "t.v")
    assert result.exit_code == 18
    assert (
        "net sun: is read, but declared and driven nowhere: most likely the name is misspelt (t.v, line 1)"
        in result.stderr
    )
    assert result.stdout == ""
    result = cli("estimate", tmp_path / "t.v", "--allow-undriven")
    assert result.exit_code == 0, result.stderr
    assert "counted as 0, as allowed: net sun" in result.output
    assert ax.estimate(tmp_path / "t.v", allow_undriven=True).notes[0].startswith("counted as 0, as allowed: net sun")


def test_files_for_a_design_folder_are_refused(cli, design, adder):
    result = cli("estimate", design, adder)
    assert result.exit_code == 2
    assert "FILE: is for Verilog files; a design folder knows its own" in result.stderr
