"""Synthesis: area from cells, hierarchy, and what is said about Verilog that cannot be mapped."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from approxhw.backends.estimate import estimate, load_library, simulate_netlist, synthesise
from approxhw.backends.estimate.synthesis.recipes import shared_gates
from approxhw.backends.estimate.synthesis.synthesise import genlib
from approxhw.common.errors import LibraryError, OptionError, OutputError, ToolFailedError, ToolTimeoutError
from approxhw.common.files import is_full

FULL_ADDER = "module fa(input a, b, c, output [1:0] s); assign s = a + b + c; endmodule"
MULTIPLIER = "module mul(input [5:0] a, b, output [11:0] p); assign p = a * b; endmodule"


def test_area_is_the_sum_of_cells() -> None:
    netlist = synthesise("module t(input a, b, output y); assign y = ~(a & b); endmodule", "t")
    assert netlist.cells_by_type() == {"NAND2X1": 1}
    assert netlist.area() == 0.24786


def test_registers_become_flops_of_the_library() -> None:
    source = "module t(input clk, input [2:0] d, output reg [2:0] q); always @(posedge clk) q <= d; endmodule"
    netlist = synthesise(source, "t")
    assert netlist.cells_by_type() == {"DFFX1": 3}
    assert [port.name for port in netlist.data_inputs] == ["d"]
    falling = synthesise(source.replace("posedge", "negedge"), "t")
    assert falling.cells_by_type() == {"DFFX1": 3, "INVX1": 1}


def test_asynchronous_reset_uses_the_flop_that_has_one() -> None:
    source = (
        "module t(input clk, r, d, output reg q); "
        "always @(posedge clk or negedge r) if (!r) q <= 0; else q <= d; endmodule"
    )
    assert synthesise(source, "t").cells_by_type() == {"DFFNRX1": 1}
    assert synthesise(source, "t", "sky130").cells_by_type() == {"dfrtp_1": 1}


def test_full_adder_is_nine_nands_with_the_smallest_recipe() -> None:
    assert synthesise(FULL_ADDER, "fa", recipe="smallest").cells_by_type() == {"NAND2X1": 9}
    assert synthesise(FULL_ADDER, "fa").area() == pytest.approx(2.73764)  # what ABC finds alone


@pytest.mark.parametrize("library", ["egfet", "egfet_0v6", "sky130"])
def test_smallest_is_never_larger_and_computes_the_same(library: str) -> None:
    ruler, smallest = (synthesise(MULTIPLIER, "mul", library, recipe=r) for r in ("reference", "smallest"))
    assert smallest.area() <= ruler.area()
    a, b = (part.ravel() for part in np.meshgrid(np.arange(64), np.arange(64)))
    for netlist in (ruler, smallest):
        assert np.array_equal(simulate_netlist(netlist, {"a": a, "b": b})["p"], a * b)


@pytest.mark.parametrize("lacks", ["check.log", "netlist.json", "outputs.il", "netlist.v"])
def test_what_yosys_could_not_write_is_no_defect(lacks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(folder: Path, script: Sequence[str], timeout: float) -> str:
        for name in ("check.log", "loops.log", "outputs.il", "netlist.v"):
            (folder / name).write_text("")
        (folder / "netlist.json").write_text(
            '{"modules": {"fa": {"ports": {}, "ce' if lacks == "netlist.json" else "{}"
        )
        if lacks != "netlist.json":
            (folder / lacks).unlink()
        return ""

    monkeypatch.setattr("approxhw.backends.estimate.synthesis.elaborate.run_yosys", cut)
    with pytest.raises(OutputError, match=r"Yosys could not write them.*\n    do: free some space, or set TMPDIR"):
        synthesise(FULL_ADDER, "fa")


def test_a_program_that_fails_on_a_full_disk_is_not_blamed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not is_full(tmp_path)
    assert is_full(tmp_path / "gone")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("approxhw.backends.estimate.synthesis.run.is_full", lambda folder: True)
    with pytest.raises(OutputError, match="they cannot be written, and yosys failed"):
        synthesise("module t(input a, output y); assign y = a +; endmodule", "t")


def test_a_temporary_folder_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(OutputError, match=r"temporary files in .*gone: they cannot be written \(No such file"):
        synthesise(FULL_ADDER, "fa")


def test_shared_nands_only_where_they_are_cheaper() -> None:
    assert shared_gates(load_library("egfet")) is not None
    assert shared_gates(load_library("sky130")) is None


def test_constants_cost_nothing_printed_and_one_tie_cell_in_silicon() -> None:
    source = "module t(input a, output [2:0] y); assign y = {a, 2'b10}; endmodule"
    assert synthesise(source, "t").cells_by_type() == {}
    assert synthesise(source, "t", "sky130").cells_by_type() == {"conb_1": 1}


def test_buffer_of_a_library_without_one_is_two_inverters() -> None:
    library = load_library("egfet")
    assert "GATE approxhw_buffer 2 Y=A;" in genlib(library)
    assert "approxhw_buffer" not in genlib(load_library("sky130"))
    content = {
        "modules": {
            "t": {
                "ports": {"a": {"direction": "input", "bits": [2]}, "y": {"direction": "output", "bits": [3]}},
                "cells": {"b": {"type": "approxhw_buffer", "connections": {"A": [2], "Y": [3]}}},
                "netnames": {},
            }
        }
    }
    from approxhw.backends.estimate.netlist.netlist import netlist_from_json

    netlist = netlist_from_json(content, "t", library)
    assert netlist.cells_by_type() == {"INVX1": 2}
    assert simulate_netlist(netlist, {"a": np.array([0, 1])})["y"].tolist() == [0, 1]


def test_hierarchy_is_kept_and_its_instances_are_named() -> None:
    source = (
        "module inner(input a, b, output y, z); assign y = a & b; assign z = a; endmodule "
        "module outer(input a, b, output y, z); inner one(a, b, y, z); endmodule "
        "module t(input a, b, output y, z, k); wire m; outer two(a, b, m, z); inner three(m, 1'b1, y, k); endmodule"
    )
    netlist = synthesise(source, "t", flatten=False)
    assert netlist.modules == {(): "t", ("two",): "outer", ("two", "one"): "inner", ("three",): "inner"}
    assert {instance.path for instance in netlist.instances} == {("two", "one"), ("three",)}
    a, b = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    outputs = simulate_netlist(netlist, {"a": a, "b": b})
    assert {name: values.tolist() for name, values in outputs.items()} == {
        "y": [0, 0, 0, 1],
        "z": [0, 0, 1, 1],
        "k": [0, 0, 0, 1],
    }


def test_top_is_found_or_asked_for() -> None:
    source = f"{FULL_ADDER} module t(input a, b, c, output [1:0] s); fa u(a, b, c, s); endmodule"
    assert synthesise(source, None).top == "t"
    assert synthesise(source, "fa").top == "fa"
    with pytest.raises(OptionError, match="top: no module 'tt' in the source; there are: fa, t"):
        synthesise(source, "tt")


@pytest.mark.parametrize(
    "source",
    [
        "module t(input clk, input d, output reg q); always @(posedge clk) q <= d; endmodule",
        "module part(input [3:0] a, b, output reg [3:0] y); always @* begin if (a > b) y = a; else y = b; end endmodule "
        "module t(input [3:0] a, b, output [3:0] y); part p(.a(a), .b(b), .y(y)); endmodule",
    ],
    ids=["on top", "below"],
)
def test_top_of_a_source_with_always_blocks_is_found(source: str) -> None:
    netlist = synthesise(source, None)
    assert netlist.top == "t"
    assert netlist.area() > 0


@pytest.mark.parametrize("top", ["t; exec -- touch x", "a b", "", "t\nstat", '"'])
def test_top_that_is_no_identifier_never_reaches_yosys(top: str) -> None:
    with pytest.raises(OptionError, match="is not a plain identifier"):
        synthesise(FULL_ADDER, top)


def test_names_of_foreign_verilog_are_only_text() -> None:
    source = (
        'module t(input \\a;stat[ , input b, output \\y"*/ ); '
        'wire \\$x$ = \\a;stat[ ; assign \\y"*/ = \\$x$ & b; endmodule'
    )
    netlist = synthesise(source, None)
    values = {"a;stat[": np.array([1, 1]), "b": np.array([0, 1])}
    assert simulate_netlist(netlist, values)['y"*/'].tolist() == [0, 1]


@pytest.mark.parametrize(("source", "says"), [
    ("module t(input a, output y); assign y = a +; endmodule", "syntax error"),
    ("not verilog at all", "syntax error"),
])  # fmt: skip
def test_verilog_that_yosys_refuses(source: str, says: str) -> None:
    with pytest.raises(ToolFailedError) as caught:
        synthesise(source, None)
    assert caught.value.tool == "yosys"
    assert says in str(caught.value)
    assert "approxhw-synthesis-" not in str(caught.value).splitlines()[0]  # that folder is gone


@pytest.mark.parametrize(("source", "says"), [
    ("module t(input e, d, output reg q); always @* if (e) q = d; endmodule",
     "latches of q of module t: a value is kept wherever the always block gives none"),
    ("module t(input e, d, output q); assign q = e ? d : 1'bz; endmodule", "needs a tristate driver"),
    ("module t(inout a, input b, output q); assign q = a & b; endmodule", "port a: is inout"),
])  # fmt: skip
def test_what_no_cell_can_do(source: str, says: str) -> None:
    with pytest.raises(LibraryError) as caught:
        synthesise(source, "t")
    assert says in str(caught.value)
    assert "t on library egfet" in str(caught.value)


def test_library_without_flops_says_so() -> None:
    library = load_library("egfet")
    gates = {name: cell for name, cell in library.cells.items() if cell.flip_flop is None}
    with pytest.raises(LibraryError, match=r"needs cell type \$_DFF_P_, which no cell of the library provides"):
        synthesise(
            "module t(input c, d, output reg q); always @(posedge c) q <= d; endmodule",
            "t",
            replace(library, cells=gates),
        )


def test_empty_source_and_unknown_recipe_at_once() -> None:
    with pytest.raises(OptionError) as caught:
        synthesise("  ", "t", recipe="best")
    assert "2 problems" in str(caught.value)
    assert "verilog: is empty" in str(caught.value)
    assert "recipe: 'best' is not one of reference, smallest" in str(caught.value)


def test_time_limit_ends_synthesis() -> None:
    source = "module t(input [63:0] a, b, output [127:0] p); assign p = a * b; endmodule"
    started = time.monotonic()
    with pytest.raises(ToolTimeoutError, match="yosys: not done after"):
        estimate(source, "t", timeout=1.5)
    assert time.monotonic() - started < 10
