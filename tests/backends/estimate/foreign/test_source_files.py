"""Files of Verilog with what they include, from where the user allows it alone, whatever they are called."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from approxhw.backends.estimate import simulate_netlist, synthesise
from approxhw.backends.estimate.synthesis.source import VerilogSource, check_source, named_values, parameter_value
from approxhw.backends.estimate.synthesis.source_files import read_sources, source_of
from approxhw.common.errors import OptionError, ToolFailedError, VerilogError


def test_several_files_of_any_name_with_includes_data_macros_and_parameters(tmp_path: Path) -> None:
    place, shared = tmp_path / 'a "b"; c', tmp_path / "shared $x"
    (place / "in").mkdir(parents=True)
    (shared / "d").mkdir(parents=True)
    (place / "in" / "w'w.vh").write_text('`define WIDTH 4\n`include "deep;er.vh"\n')
    (place / "in" / "deep;er.vh").write_text("`define DEPTH 4 // µ\n", encoding="latin-1")
    (shared / "more.vh").write_text('`ifndef MORE\n`define MORE\n`include "more.vh"\n`endif\n')
    (place / "ro m.hex").write_text("1\n2\n4\n8\n")
    (shared / "d" / "two.bin").write_text("01\n10\n11\n00\n")
    (place / "top`ls`.v").write_text(
        '`include "in/w\'w.vh"\n// `include "no.vh"\n`include "more.vh"\n'
        'module top #(parameter K = 1, parameter NAME = "ro m.hex")'
        " (input signed [3:0] a, output [`WIDTH-1:0] y, output less, output [1:0] two);\n"
        '  reg [3:0] rom [0:`DEPTH-1]; initial $readmemh(NAME, rom); reg [1:0] b [0:3]; initial $readmemb("d/two.bin", b);\n'
        "  part p(.a(rom[a[1:0]]), .y(y)); assign less = a < K; assign two = b[a[1:0]];\nendmodule\n"
    )
    (place / "; touch x.v").write_text(
        "module part(input [3:0] a, output [3:0] y); assign y = a ^ `MASK; endmodule\n"
        '`ifdef NEVER\n`include "/etc/passwd"\n`endif\n'
    )
    source = read_sources(
        [place / "top`ls`.v", place / "; touch x.v"],
        include=[shared],
        defines={"MASK": "4'b0011"},
        parameters={"K": -3},
    )
    assert len(source.unread) == 1
    netlist = synthesise(source, "top")
    a = np.arange(16)
    seen = simulate_netlist(netlist, {"a": a})
    assert np.array_equal(seen["y"], np.array([1, 2, 4, 8])[a % 4] ^ 3)
    assert np.array_equal(seen["less"], (a - 16 * (a > 7)) < -3)
    assert np.array_equal(seen["two"], np.array([1, 2, 3, 0])[a % 4])
    assert sorted(path.name for path in place.iterdir()) == ["; touch x.v", "in", "ro m.hex", "top`ls`.v"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('`include "../secret.vh"', "lies outside of the folders that may be read"),
        ('`include "link.vh"', "lies outside of the folders that may be read"),
        ('`include "none.vh"', "there is no such file beside it"),
        ("`include `NAME", "has no file name in quotes"),
        ('`include "loop.vh"', "includes itself without end"),
        ('`include "pipe.vh"', "there is no such file beside it"),
        ('initial $readmemh("../secret.vh", m);', 'the data file "../secret.vh": it lies outside'),
        ('initial $readmemh("none.hex", m);', 'the data file "none.hex": there is no such file'),
        ('localparam F = "/etc/passwd"; initial $readmemh(F, m);', 'the data file "/etc/passwd": it lies outside'),
    ],
)
def test_what_may_not_be_read_is_said_where_it_is_reached(tmp_path: Path, line: str, why: str) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (tmp_path / "secret.vh").write_text("`define W 4\n")
    (place / "link.vh").symlink_to(tmp_path / "secret.vh")
    (place / "loop.vh").write_text('`include "loop.vh"\n')
    os.mkfifo(place / "pipe.vh")
    (place / "t.v").write_text(f"module t(input a, output y); reg [3:0] m [0:3];\n{line}\nassign y = a; endmodule\n")
    source = read_sources([place / "t.v"])
    markers = [marker for name in source.files for marker in source.unread if marker.encode() in source.files[name]]
    assert len(markers) == 1
    assert all(b"/etc/passwd" not in text and b"secret" not in text for text in source.files.values())
    problem = source.unread[markers[0]]
    assert why in problem.why
    told = source.explained(ToolFailedError("yosys", 1, f"ERROR: Can't open `{markers[0]}'!"))
    assert isinstance(told, VerilogError)
    assert problem in told.problems
    if not line.startswith('`include "loop'):
        assert problem.where == "t.v, line 2"


def test_an_include_that_is_reached_and_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "t.v").write_text('`include "none.vh"\nmodule t(input a, output y); assign y = ~a; endmodule\n')
    with pytest.raises(VerilogError, match=r't.v, line 1: `include "none.vh": there is no such file beside it'):
        synthesise(read_sources([tmp_path / "t.v"]), None)
    (tmp_path / "t.v").write_text("module t(input a, output y); assign y = ~~; endmodule\n")
    with pytest.raises(ToolFailedError, match=r"t\.v:1: ERROR: syntax error"):
        synthesise(read_sources([tmp_path / "t.v"]), "t")


def test_files_that_cannot_be_read_are_named_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.v")
    (tmp_path / "utf16.v").write_bytes("module t; endmodule".encode("utf-16"))
    with pytest.raises(OptionError) as caught:
        read_sources([tmp_path / "pipe.v", tmp_path / "utf16.v", tmp_path / "none.v"], include=[tmp_path / "no"])
    told = [problem.why for problem in caught.value.problems]
    assert told == [
        "is no folder to include from",
        "it cannot be read as text (it is a pipe, no file)",
        "it cannot be read as text (it holds zero bytes: no text, or of another coding than UTF-8)",
        "it cannot be read as text (No such file or directory)",
    ]


def test_macros_and_parameters_are_texts_or_mappings() -> None:
    assert named_values(["W=8", "DEBUG", "T=a=b"], "define") == {"W": "8", "DEBUG": "", "T": "a=b"}
    assert named_values({"W": 8, "DEBUG": None}, "define") == {"W": "8", "DEBUG": ""}
    with pytest.raises(OptionError, match="--parameter W: is not NAME=VALUE\n    do: such as WIDTH=8"):
        named_values(["W"], "parameter")
    assert [parameter_value(text) for text in ("-3", "1_000", "4'hf", '"a"', "a")] == [-3, 1000, "4'hf", "a", "a"]
    source = source_of("module t; endmodule")
    wrong = {"a b": 1, "K": '";exec'}
    told = check_source(VerilogSource(source.files, source.units, defines={"A": "1; exec"}, parameters=wrong))
    assert [problem.where for problem in told] == ["define A=1; exec", "parameter a b=1", 'parameter K=";exec']


def test_a_parameter_that_the_top_does_not_have(tmp_path: Path) -> None:
    for suffix, why in ((".v", "module t has no parameter of that name"), (".sv", "is in none of the files")):
        path = tmp_path / f"t{suffix}"
        path.write_text("module t #(parameter W = 2) (input [W-1:0] a, output y); assign y = ^a; endmodule\n")
        with pytest.raises(OptionError, match=f"parameter Q: {why}"):
            synthesise(read_sources([path], parameters={"Q": 3}), "t")
        netlist = synthesise(read_sources([path], parameters={"W": 5}), None)
        assert [len(port.nets) for port in netlist.inputs] == [5]


def test_what_one_front_end_refuses_the_other_may_read(tmp_path: Path) -> None:
    (tmp_path / "t.v").write_text("module t(input [3:0] a, output [3:0] y); not g[3:0](y, a); endmodule\n")
    netlist = synthesise(read_sources([tmp_path / "t.v"]), None)
    assert netlist.cells_by_type() == {"INVX1": 4}
    assert netlist.notes == ("read as SystemVerilog: Yosys' own reader of Verilog refused it",)
