"""Transcribe the delay tables of the built-in sky130 from the PDK's Liberty file, and tell what the smaller grid costs.

    python benchmarks/sky130_tables.py --liberty ../shared/liberty --write

Of the 7 × 7 entries of each table those at slews 1, 3, 4, 5, 7 and at loads 1, 3, 4, 5, 7 are kept, at four digits; with
them the edges' capacitances, set-up tables, limits, and the library's default wire load. ``--write`` puts them behind the
mark in ``backends/estimate/library/tables/sky130.toml``. Without it the figures that stand there are used. In both cases ten
circuits are timed: with those figures, with the whole file, and in OpenSTA (``sta``, Debian package opensta) with the whole
file, and the results are written to ``benchmarks/results/sky130_tables.md``.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from common import RESULTS
from timing_check import DESIGNS

from approxhw.backends.estimate import Surroundings, analyse, load_library, synthesise
from approxhw.backends.estimate.library.cells import Cell, CellLibrary
from approxhw.backends.estimate.library.delay_tables import FALL, RISE, Arc, DelayTable
from approxhw.backends.estimate.library.load import TABLES
from approxhw.backends.estimate.netlist.netlist import Netlist
from approxhw.backends.estimate.netlist.text import netlist_verilog
from approxhw.backends.matrix_engine.templates import element_verilog
from approxhw.numerics.mac.float_mac import FloatMac

FILE = "sky130hd_tt.lib.gz"
PREFIX = "sky130_fd_sc_hd__"
TABLE = TABLES / "sky130.toml"
MARK = "# -- delay tables: "
KEPT = (0, 2, 3, 4, 6)
NS, FF = 1e6, 1e15  # from ms, from farad
LIMIT = 0.05
SLEW_PS, LOAD_FF = 10.0, 2.302
AROUND = Surroundings(input_slew=SLEW_PS, output_load=LOAD_FF)
"""What all three time it in: the whole library's smallest inverter is another one."""


def main() -> None:
    """Transcribe where asked to, time, print, and write the result; end with an error where the limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--liberty", type=Path, default=Path("../shared/liberty"), metavar="FOLDER", help=f"has {FILE}")
    parser.add_argument("--write", action="store_true", help="transcribe the tables anew")
    given = parser.parse_args()
    path = given.liberty / FILE
    if not path.is_file():
        sys.stderr.write(f"skipped: {path} is not there; name the folder with --liberty\n")
        return
    whole = load_library(path)
    if given.write:
        before = TABLE.read_text(encoding="utf-8").partition(MARK)[0].rstrip()
        names = tuple(re.findall(r"^\[cells\.(\w+)\]$", before, re.MULTILINE))
        text = transcribed(whole, names, hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest())
        TABLE.write_text(before + "\n\n" + text, encoding="utf-8")
    compare(load_library("sky130"), whole, path)


def transcribed(whole: CellLibrary, names: tuple[str, ...], digest: str) -> str:
    """Return the TOML text of the timing of *names*, cells of *whole* without their prefix."""
    first = whole.cells[PREFIX + names[1]].timing
    assert first is not None
    table = first.arcs[0].delays[RISE]
    assert table is not None
    slews = [table.slews[i] for i in KEPT]
    wires = whole.wires
    assert wires is not None
    lengths = ", ".join(f"[{pins:g}, {length:g}]" for pins, length in wires.lengths)
    lines = [
        f"{MARK}transcribed by benchmarks/sky130_tables.py from the file whose SHA-256 is",
        f"# {digest} (unpacked; library sky130_fd_sc_hd__tt_025C_1v80, revision 1.0, Apache-2.0).",
        "# cell_rise, cell_fall, rise_transition, fall_transition of every arc at 5 of 7 slews and 5 of 7 loads; arcs that",
        "# differ in `when` alone are one, entry by entry the slower. A row a slew, an entry a load.",
        "",
        "[timing]",
        f"slews = {_row(slews, NS)}",
        f"most_slew = {_figure(next(iter(first.most_slew.values())) * NS)}",
        "[timing.wires]  # the file's default_wire_load; kilo-ohm and fF of a unit of length, [pins, length]",
        f'name = "{wires.name}"',
        f"capacitance = {_figure(wires.capacitance * FF)}",
        f"kiloohm = {_figure(wires.resistance / 1e6)}",
        f"lengths = [{lengths}]",
        f"slope = {wires.slope:g}",
    ]
    for name in names:
        lines += _cell(name, whole.cells[PREFIX + name], slews)
    return "\n".join(lines) + "\n"


def _cell(name: str, cell: Cell, slews: list[float]) -> list[str]:
    timing = cell.timing
    if timing is None or not timing.arcs:
        return []
    loads = [next(t for t in timing.arcs[0].delays if t is not None).loads[i] for i in KEPT]
    edges = ", ".join(f"{pin} = {_row(pair, FF)}" for pin, pair in timing.capacitances.items())
    most = ", ".join(f"{pin} = {_figure(load * FF)}" for pin, load in timing.most_load.items() if pin in cell.functions)
    lines = ["", f"[cells.{name}.timing]", f"loads = {_row(loads, FF)}", f"most_load = {{ {most} }}"]
    lines += [f"edge_capacitance = {{ {edges} }}"]
    for arc in timing.arcs:
        lines += [f"[[cells.{name}.timing.arcs]]", *_arc(arc, slews, loads)]
    for pin, pair in timing.setups.items():
        rise, fall = pair
        assert rise is not None
        assert fall is not None
        assert (rise.slews, rise.loads) == (fall.slews, fall.loads)
        lines += [
            f"[cells.{name}.timing.setup.{pin}]",
            f"slews = {_row(rise.slews, NS)}",
            f"clock_slews = {_row(rise.loads, NS)}",
            f"rise = {_grid(rise)}",
            f"fall = {_grid(fall)}",
        ]
    return lines


def _arc(arc: Arc, slews: list[float], loads: list[float]) -> list[str]:
    sense = "either" if arc.follows and arc.opposes else "follows" if arc.follows else "opposes"
    tables = [("rise", arc.delays[RISE]), ("fall", arc.delays[FALL])]
    tables += [("rise_slew", arc.slews[RISE]), ("fall_slew", arc.slews[FALL])]
    told = []
    for key, table in tables:
        if table is not None:
            kept = DelayTable(tuple(slews), tuple(loads), tuple(tuple(table.values[i][j] for j in KEPT) for i in KEPT))
            # the axes of the file differ in their seventh digit from table to table
            assert all(abs(table.slews[i] / slew - 1) < 1e-4 for i, slew in zip(KEPT, slews, strict=True))
            assert all(abs(table.loads[i] / load - 1) < 1e-4 for i, load in zip(KEPT, loads, strict=True))
            told.append(f"{key} = {_grid(kept)}")
    return [f'pin = "{arc.pin}"', f'output = "{arc.output}"', f'sense = "{sense}"', *told]


def _grid(table: DelayTable) -> str:
    return "[" + ", ".join(_row(row, NS, 4) for row in table.values) + "]"


def _row(values: tuple[float, ...] | list[float], scale: float, digits: int = 5) -> str:
    return "[" + ", ".join(_figure(value * scale, digits) for value in values) + "]"


def _figure(value: float, digits: int = 5) -> str:
    return f"{value:.{digits}g}"


def compare(small: CellLibrary, whole: CellLibrary, path: Path) -> None:
    """Time ten circuits with both and in OpenSTA, print, and write the result."""
    sta = shutil.which("sta")
    rows, worst = [], [0.0, 0.0]
    with tempfile.TemporaryDirectory(prefix="approxhw-benchmark-") as name:
        plain = Path(name) / "library.lib"
        plain.write_bytes(gzip.decompress(path.read_bytes()))
        for title, netlist in circuits(small):
            again = as_named_there(netlist, whole)
            ours, full = analyse(netlist, AROUND).delay_ps, analyse(again, AROUND).delay_ps
            theirs = opensta_delay(sta, again, plain, Path(name)) if sta else None
            worst[0] = max(worst[0], abs(ours / full - 1))
            told = "–" if theirs is None else f"{theirs:.0f} | {ours / theirs - 1:+.2%} | {full / theirs - 1:+.2%}"
            if theirs is not None:
                worst[1] = max(worst[1], abs(ours / theirs - 1), abs(full / theirs - 1))
            rows.append(
                f"| {title} | {len(netlist.instances)} | {ours:.0f} | {full:.0f} | {ours / full - 1:+.2%} | {told} |"
            )
    lines = [
        "# The built-in sky130 beside the file its tables come from, and OpenSTA\n",
        "    python benchmarks/sky130_tables.py --liberty ../shared/liberty\n",
        "Ten netlists; ps. *Built in*: the 5 × 5 entries that approxhw ships; *file*: the same analysis with all 7 × 7;",
        "*OpenSTA*: with the file, its default wire load included. docs/timing.md says what is counted.\n",
        "| circuit | cells | built in | file | off | OpenSTA | built in off | file off |\n|---|---|---|---|---|---|---|---|",
        *rows,
        f"\nLargest difference between grids: {worst[0]:.2%}; to OpenSTA: {worst[1]:.2%} (limit {LIMIT:.0%}).",
    ]
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    (RESULTS / "sky130_tables.md").write_text(text)
    if max(worst) > LIMIT:
        raise SystemExit(f"off by {max(worst):.1%}, more than {LIMIT:.0%}")


def circuits(library: CellLibrary) -> list[tuple[str, Netlist]]:
    """Return nine designs and an element of a matrix engine, mapped by the ruler."""
    made = [(name, synthesise(f"module t({body} endmodule", "t", library)) for name, body in list(DESIGNS.items())[:9]]
    mac = FloatMac()
    return [*made, (f"element, {mac}", synthesise(element_verilog(mac, 2), "mac_element", library))]


def as_named_there(netlist: Netlist, whole: CellLibrary) -> Netlist:
    """Return *netlist* with the cells' whole names, of the library *whole*."""
    instances = tuple(replace(instance, cell=PREFIX + instance.cell) for instance in netlist.instances)
    return replace(netlist, instances=instances, library=whole)


def opensta_delay(sta: str, netlist: Netlist, liberty: Path, folder: Path) -> float:
    """Return the longest path that OpenSTA finds, in ps, set-up included."""
    (folder / "mapped.v").write_text(netlist_verilog(netlist))
    clock = next((port.name for port in netlist.inputs if set(port.nets) & set(netlist.clocks)), "")
    slew, load = SLEW_PS * 1e-3, LOAD_FF * 1e-3
    script = [
        f"read_liberty {liberty}; read_verilog {folder / 'mapped.v'}; link_design {netlist.top}",
        f"create_clock -name ck -period 1000 {f'[get_ports {clock}]' if clock else ''}",
        f"set_clock_transition {slew} [get_clocks ck]; set inputs [list]",
        f'foreach p [all_inputs] {{ if {{[get_property $p full_name] ne "{clock}"}} {{ lappend inputs $p }} }}',
        f"set_input_delay 0 -clock ck $inputs; set_input_transition {slew} $inputs",
        f"set_output_delay 0 -clock ck [all_outputs]; set_load {load:.9g} [all_outputs]",
        "report_checks -path_delay max -digits 6",
    ]
    (folder / "time.tcl").write_text("\n".join(script) + "\n")
    run = [sta, "-no_splash", "-exit", str(folder / "time.tcl")]
    output = subprocess.run(run, capture_output=True, text=True, timeout=300, check=True).stdout
    found = re.search(r"([0-9.]+)\s+slack", output)
    if found is None:
        raise SystemExit(f"OpenSTA told no path:\n{output[-1000:]}")
    return (1000 - float(found[1])) * 1e3


if __name__ == "__main__":
    main()
