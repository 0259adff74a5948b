"""No clock is said to be kept, or missed, without delay tables; and what a library counts for wires is counted."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from approxhw.backends.estimate import Surroundings, analyse, estimate, load_library, size, sweep, synthesise
from approxhw.backends.estimate.library.cells import CellLibrary
from approxhw.backends.estimate.library.delay_tables import WireLoad
from approxhw.cli.main import main
from approxhw.common.errors import LibraryError

AND = "module t(input a, b, output y); assign y = a & b; endmodule"
SUM = "module t(input clk, input [3:0] a, b, output reg [4:0] y); always @(posedge clk) y <= a + b; endmodule"


def gate(name: str, function: str, table: str, values: str) -> str:
    """Return a Liberty cell whose every table is of template *table*."""
    tables = ["cell_rise", "cell_fall", "rise_transition", "fall_transition"]
    told = " ".join(f'{each} ({table}) {{ values ("{values}"); }}' for each in tables)
    pins = [f"pin ({p}) {{ direction : input; capacitance : 1; }}" for p in "AB" if p in function]
    related = " ".join(p for p in "AB" if p in function)
    return (
        f'cell ({name}) {{ area : 1; leakage_power () {{ value : 1; when : "A+!A"; }} {" ".join(pins)}'
        f' pin (Y) {{ direction : output; function : "{function}"; timing () {{ related_pin : "{related}"; {told} }} }} }}'
    )


def library(folder: Path, *cells: str, head: str = "") -> CellLibrary:
    path = folder / "made.lib"
    path.write_text(
        'library (made) { time_unit : "1ns"; leakage_power_unit : "1nW"; capacitive_load_unit (1, ff); nom_voltage : 1;'
        ' lu_table_template (load) { variable_1 : total_output_net_capacitance; index_1 ("0, 10"); }'
        f" {head} {' '.join(cells)} }}"
    )
    return load_library(path)


INV = gate("INV", "!A", "load", "1, 2")
NAND = gate("NAND", "!(A*B)", "load", "1, 2")


def test_built_in_silicon_has_tables_and_a_verdict() -> None:
    cells = load_library("sky130")
    assert cells.without_tables() == ()
    cost = estimate(SUM, "t", cells, clock_ns=3.0)
    assert (cost.timed_by, cost.met) == ("delay tables", True)
    assert cost.slack_ns == pytest.approx(3.0 - cost.delay_ns)
    assert estimate(SUM, "t", cells, clock_ns=cost.delay_ns * 0.99).met is False
    assert estimate(SUM, "t", cells).met is None, "no clock was given"


@pytest.mark.parametrize("kind", ["printed", "scalar", "one cell", "no tables", "linear model"])
def test_one_delay_a_cell_is_no_ground_for_a_verdict(kind: str, tmp_path: Path) -> None:
    made = {
        "printed": lambda: load_library("egfet"),
        "scalar": lambda: library(tmp_path, gate("INV", "!A", "scalar", "1"), gate("NAND", "!(A*B)", "scalar", "1")),
        "one cell": lambda: library(tmp_path, INV, gate("NAND", "!(A*B)", "scalar", "1")),
        "no tables": lambda: library(tmp_path, INV, NAND.replace("rise_transition", "else")),
        "linear model": lambda: library(
            tmp_path, INV, NAND.replace("cell_rise", "intrinsic").replace("cell_fall", "intrinsic_fall")
        ),
    }
    cells = made[kind]()
    cost = estimate(AND, "t", cells, clock_ns=1e9)
    assert cost.timed_by == "one delay a cell"
    assert (cost.met, cost.slack_ns) == (None, None)
    told = cost.as_json()
    assert (told["met"], told["slack_ns"], told["timed_by"]) == (None, None, "one delay a cell")
    timing = analyse(synthesise(AND, "t", cells))
    assert timing.without_tables
    assert (timing.met(1e9), timing.slack_ps(1e9)) == (None, None)
    with pytest.raises(
        LibraryError, match=r"(?s)cells have no delay tables.*from one delay a cell no sizes can be chosen"
    ):
        size(synthesise(AND, "t", cells), 1e9)
    with pytest.raises(LibraryError, match="cells have no delay tables"):
        sweep(AND, "t", cells, [1e9])


def test_cells_that_are_not_used_do_not_matter(tmp_path: Path) -> None:
    cells = library(tmp_path, INV, NAND, gate("BUF", "A", "scalar", "99"))
    assert cells.without_tables() == ("BUF",)
    assert estimate(AND, "t", cells, clock_ns=10.0).met is True


def test_people_are_told_why_there_is_none(tmp_path: Path) -> None:
    source = tmp_path / "and.v"
    source.write_text(AND)
    words = ["estimate", str(source), "--clock-ns", "2e8"]
    said = CliRunner().invoke(main, [*words, "--library", "egfet"], catch_exceptions=False).output
    text = (
        "clock of 2e+08 ns: not known whether it is kept; this library has no delay tables, one delay a cell at most: "
        "give --liberty FILE"
    )
    assert text in said
    assert "met" not in said
    found = json.loads(
        CliRunner().invoke(main, [*words, "--library", "egfet", "--json"], catch_exceptions=False).stdout
    )
    assert found["estimate"]["met"] is None
    silicon = CliRunner().invoke(main, [*words, "--library", "sky130"], catch_exceptions=False).output
    assert "clock of 2e+08 ns: met, slack" in silicon


# Wires -----------------------------------------------------------------------------------------------------------------

WIRES = """wire_load (w) { capacitance : 0.5; resistance : 2; slope : 3; fanout_length (1, 4); fanout_length (3, 10); }
  default_wire_load : w; pulling_resistance_unit : "1kohm";
  operating_conditions (c) { tree_type : "TREE"; } default_operating_conditions : c;"""
TWO = "module t(input a, b, output y, z); assign y = a & b; assign z = ~(a & b); endmodule"


def test_lengths_between_and_beyond_what_is_listed() -> None:
    wires = WireLoad("w", 1.0, 1.0, ((1.0, 4.0), (3.0, 10.0)), 3.0)
    assert [wires.length(pins) for pins in (0, 1, 2, 3, 5)] == [0, 4, 7, 10, 16]
    assert WireLoad("w", 1.0, 1.0, ((2.0, 4.0),), 3.0).length(1) == 1
    assert WireLoad("w", 1.0, 1.0, (), 3.0).length(2) == 6


@pytest.mark.parametrize("tree", ["balanced_tree", "worst_case_tree", "best_case_tree"])
def test_wires_load_and_delay(tree: str, tmp_path: Path) -> None:
    """Two inverters in a row: every net leads to one pin, by a wire of 4 units: 2 fF and 8 kΩ."""
    cells = library(tmp_path, INV, NAND, head=WIRES.replace("TREE", tree))
    netlist = synthesise("module t(input a, b, output y); assign y = a & b; endmodule", "t", cells)
    assert netlist.cells_by_type() == {"INV": 1, "NAND": 1}
    around = Surroundings(input_slew=0.0, output_load=1.0)
    # a cell takes 1 ns and a tenth for each fF: one of the pin (or the output's load), two of the wire
    stages = 2 * (1 + 0.3)
    # 8 kΩ · (2 + 1) fF = 0.024 ns, before each cell and before the output
    wire = 0.0 if tree == "best_case_tree" else 0.024
    assert analyse(netlist, around).delay_ps == pytest.approx(1e3 * (stages + 3 * wire))
    assert analyse(netlist, replace(around, wires=False)).delay_ps == pytest.approx(1e3 * 2 * 1.1)


def test_a_branch_for_each_pin_or_all_of_it(tmp_path: Path) -> None:
    """A net of two pins, a cell's and an output: 7 units, 3.5 fF and 14 kΩ; a branch is half of it, with 1 fF behind."""
    delays = {}
    for tree in ("balanced_tree", "worst_case_tree"):
        cells = library(tmp_path, INV, NAND, head=WIRES.replace("TREE", tree))
        netlist = synthesise(TWO, "t", cells)
        assert sum(netlist.cells_by_type().values()) == 2
        delays[tree] = analyse(netlist, Surroundings(input_slew=0.0, output_load=1.0)).delay_ps
    half, whole = 7 * (1.75 + 1), 14 * (3.5 + 2)
    assert delays["worst_case_tree"] - delays["balanced_tree"] == pytest.approx(whole - half)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (
            "default_wire_load : w",
            "default_wire_load : v",
            "default_wire_load is 'v', and there is no wire_load of that",
        ),
        (
            "fanout_length (3, 10);",
            "fanout_length (1, 10);",
            "wire_load 'w' has lengths that are no pairs, one fan-out",
        ),
        ("resistance : 2", "resistance : -2", "or figures below 0"),
        ("slope : 3", "slope : x", "slope is 'x', no number"),
    ],
)
def test_broken_wires_are_named(old: str, new: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(LibraryError) as caught:
        library(tmp_path, INV, NAND, head=WIRES.replace("TREE", "balanced_tree").replace(old, new))
    assert text in str(caught.value)
    assert "do: mend it, or take the line `default_wire_load` out" in str(caught.value)


def test_wires_count_in_sizes_too() -> None:
    """What sizing keeps up to date step by step is what a fresh analysis says, wires included."""
    cells = load_library("sky130")
    wires = WireLoad("w", 1e-15, 2e6, ((1.0, 5.0),), 4.0, branches=False)
    netlist = replace(synthesise(SUM, "t", cells), library=replace(cells, wires=wires))
    sized = size(netlist, 1.0)
    assert not sized.met
    assert sized.delay_ps == pytest.approx(analyse(sized.netlist).delay_ps)
    assert math.isfinite(sized.delay_ps)
