"""Synthesise Verilog for a clock: mapping to a delay target, buffers and sizes, by ABC on the library's delay tables."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from approxhw.backends.estimate.library.cells import IDENTIFIER, Cell, CellLibrary, spell_expression, timing_of
from approxhw.backends.estimate.library.delay_tables import FALL, RISE, Arc, DelayTable
from approxhw.backends.estimate.netlist.netlist import Netlist, netlist_from_json
from approxhw.backends.estimate.netlist.text import netlist_verilog
from approxhw.common.errors import OptionError, Problem, VerilogError, shown
from approxhw.common.files import working_folder

from .elaborate import Elaborated, elaborate
from .recipes import FRONT
from .run import read_netlist_json, read_text_of_yosys, run_yosys
from .source import VerilogSource, check_source
from .source_files import source_of
from .synthesise import flop_liberty, gates_of

# What open flows leave out of sky130: cells for power switching and for probing have the function of a plain gate.
DONT_USE = ("*lpflow*", "*probe*", "*dlymetal*", "*clkdlybuf*", "*dlygate*")
ADDERS = ("ripple", "brent-kung", "sklansky")
PS, FF = 1e9, 1e15
_TIDY = "strash;ifraig;scorr;dc2;dc2;strash"
_SIZE = "{buffer}topo;upsize{target};dnsize{target};upsize{target};dnsize{target}"
SCRIPTS: Mapping[str, str] = {
    # the ruler's script, with the mapping told the target
    "area": f"{_TIDY};dch,-f;map,-a,-B,0.9{{target}};{_SIZE}",
    "balanced": f"{_TIDY};dch,-f;map,-B,0.9{{target}};topo;{_SIZE}",
    "flow": f"{_TIDY};&get,-n;&dch,-f;&nf{{target}};&put;{_SIZE}",
    # first towards few levels, by sums of products
    "levels": f"{_TIDY};if,-g,-K,6;strash;dch,-f;map,-B,0.9{{target}};topo;{_SIZE}",
    # the same without restructuring before: trees that the RTL has stay as they are
    "kept": f"strash;if,-g,-K,6;strash;dch,-f;map,-B,0.9{{target}};topo;{_SIZE}",
}
# Carries of an adder one after the other: what Yosys builds otherwise is a tree. Of several maps for a cell Yosys takes
# the one whose name sorts first, and its own is _90_lcu_brent_kung.
_RIPPLE = """(* techmap_celltype = "$lcu" *)
module _80_ripple_carry (P, G, CI, CO);
  parameter WIDTH = 2;
  (* force_downto *) input [WIDTH-1:0] P, G;
  input CI;
  (* force_downto *) output [WIDTH-1:0] CO;
  genvar i;
  generate
    for (i = 0; i < WIDTH; i = i + 1) begin : column
      if (i == 0) assign CO[0] = G[0] | (P[0] & CI);
      else assign CO[i] = G[i] | (P[i] & CO[i-1]);
    end
  endgenerate
endmodule
"""


@dataclass(frozen=True)
class UnmappedDesign:
    """A design before mapping: registers are cells already, logic is gates.

    ``text`` is Yosys' own (RTLIL), ``logic`` the same without what tells nothing of the circuit; ``registers``: whether
    there are any. ``elaborated``: what was found as it was read.
    """

    text: str
    top: str
    adders: str
    library: CellLibrary
    logic: str
    registers: bool
    elaborated: Elaborated


def usable(library: CellLibrary, dont_use: Sequence[str] = DONT_USE) -> CellLibrary:
    """Return *library* without the cells whose names match a pattern of *dont_use*; a tie cell always stays."""
    kept = {
        name: cell
        for name, cell in library.cells.items()
        if name == library.tie or not any(fnmatch.fnmatch(name, pattern) for pattern in dont_use)
    }
    return replace(library, cells=kept)


def front(
    verilog: str | VerilogSource,
    top: str,
    library: CellLibrary,
    *,
    parameters: Mapping[str, int] | None = None,
    adders: str = "ripple",
    timeout: float = 600.0,
    allow_undriven: bool = False,
) -> UnmappedDesign:
    """Return *verilog* optimised, its registers mapped to the library's smallest, with adders of one kind.

    ``parameters`` of the top module. ``adders``: ``ripple``, ``brent-kung`` or ``sklansky`` (carry trees). Raises what
    :func:`~approxhw.backends.estimate.synthesis.synthesise.synthesise` raises of broken Verilog.
    """
    source = source_of(verilog)
    problems = check_source(source)
    problems += [
        Problem("parameter", f"{shown(name)!r} is not a plain identifier")
        for name in parameters or {}
        if not IDENTIFIER.fullmatch(name)
    ]
    if not IDENTIFIER.fullmatch(top):
        problems.append(Problem("top", f"{shown(top)!r} is not a plain identifier"))
    if adders not in ADDERS:
        problems.append(Problem("adders", f"{shown(adders)!r} is not one of {', '.join(ADDERS)}"))
    if problems:
        raise OptionError("synthesis", problems)
    carries = {"ripple": "-map carries.v -map +/techmap.v", "sklansky": "-map +/choices/sklansky.v -map +/techmap.v"}
    steps = FRONT.format(flatten="flatten").replace("\ntechmap\n", f"\ntechmap {carries.get(adders, '')}\n")
    flops = [cell for cell in library.cells.values() if cell.flip_flop is not None]
    script = [
        steps,
        "dfflibmap -liberty flops.lib; opt_merge; opt_clean" if flops else "",
        "opt_clean -purge",
        "write_rtlil front.il",
    ]
    with working_folder("synthesis") as folder:
        (folder / "carries.v").write_text(_RIPPLE)
        (folder / "flops.lib").write_text(flop_liberty(flops))
        elaborated = elaborate(folder, source, top, library, script, timeout, allow_undriven, parameters)
        text = read_text_of_yosys(folder / "front.il")
    logic = re.sub(r"attribute [^\n]*\n|\$[^\s\[]*", "", text)
    registers = any(re.search(rf"cell \\{cell.name} ", text) for cell in flops)
    return UnmappedDesign(text, top, adders, library, logic, registers, elaborated)


def mapped(
    design: UnmappedDesign, target_ps: float, script: str, *, output_load: float | None = None, timeout: float = 600.0
) -> Netlist:
    """Return *design* mapped by ABC to logic that takes at most *target_ps* where ABC manages to.

    ``script``: a name in ``SCRIPTS``. ``output_load`` (fF) behind outputs and registers' data pins.
    """
    library = design.library
    if script not in SCRIPTS:
        raise OptionError("synthesis", [Problem("script", f"{shown(script)!r} is not one of {', '.join(SCRIPTS)}")])
    buffer = library.buffer
    fanout = int(min(max(library.most_fanout or 16, 2), 64))
    abc = SCRIPTS[script].format(
        target=f",-D,{target_ps:.0f}",
        buffer=f"buffer,-N,{fanout};" if buffer is not None else "",
    )
    load = max(library.inverter.capacitances.values()) * FF if output_load is None else output_load
    constraints = [f"set_load {load:.6g}"]
    if buffer is not None:
        constraints.insert(0, f"set_driving_cell {buffer.name}")
    lines = [
        "read_rtlil front.il",
        f"abc -liberty gates.lib -constr limits.constr -D {target_ps:.0f} -script +{abc}",
        "opt_clean -purge",
        "write_json netlist.json",
    ]
    with working_folder("synthesis") as folder:
        (folder / "front.il").write_text(design.text)
        (folder / "gates.lib").write_text(gates_liberty(library))
        (folder / "limits.constr").write_text("\n".join(constraints) + "\n")
        run_yosys(folder, lines, timeout)
        content = read_netlist_json(folder / "netlist.json")
    netlist = netlist_from_json(content, design.top, library, latches=design.elaborated.latches)
    if netlist.black_boxes:
        why = "has no contents, and nothing tells how long it takes"
        boxes = [Problem(f"part {shown(box.name)} ({shown(box.module)})", why) for box in netlist.black_boxes]
        raise VerilogError(f"Verilog of {shown(design.top)}", boxes)
    return replace(netlist, verilog=netlist_verilog(netlist), notes=design.elaborated.notes)


def gates_liberty(library: CellLibrary) -> str:
    """Return the gates of *library* with their tables as a Liberty text in ps and fF, for ABC."""
    lines = [
        'library (gates) { delay_model : table_lookup; time_unit : "1ps"; capacitive_load_unit (1, ff);',
        '  leakage_power_unit : "1nW"; nom_voltage : 1;',
    ]
    templates: dict[tuple[tuple[float, ...], tuple[float, ...]], str] = {}
    cells: list[str] = []
    for cell in gates_of(library):
        cells += _gate(cell, templates)
    for (slews, loads), name in templates.items():
        lines.append(f"  lu_table_template ({name}) {{ variable_1 : input_net_transition;")
        lines.append("    variable_2 : total_output_net_capacitance;")
        lines.append(f"    index_1 ({_row(slews, PS)}); index_2 ({_row(loads, FF)}); }}")
    return "\n".join([*lines, *cells, "}"]) + "\n"


def _gate(cell: Cell, templates: dict[tuple[tuple[float, ...], tuple[float, ...]], str]) -> list[str]:
    timing = timing_of(cell)
    lines = [f"  cell ({cell.name}) {{ area : {cell.area * 1e6:.9g};"]
    for pin in cell.inputs:
        rise, fall = timing.capacitances[pin]
        lines.append(f"    pin ({pin}) {{ direction : input; capacitance : {max(rise, fall) * FF:.9g};")
        lines.append(f"      rise_capacitance : {rise * FF:.9g}; fall_capacitance : {fall * FF:.9g}; }}")
    ((output, function),) = cell.functions.items()
    lines.append(f'    pin ({output}) {{ direction : output; function : "{spell_expression(function)}";')
    if output in timing.most_load:
        lines.append(f"      max_capacitance : {timing.most_load[output] * FF:.9g};")
    for arc in timing.arcs:
        sense = "non_unate" if arc.follows and arc.opposes else "positive_unate" if arc.follows else "negative_unate"
        lines.append(f'      timing () {{ related_pin : "{arc.pin}"; timing_sense : {sense};')
        for name, table in _named(arc):
            key = (_at_least(table.slews, 2), _at_least(table.loads, 3))
            template = templates.setdefault(key, f"t{len(templates)}")
            rows = ", ".join(_row([table.at(slew, load) for load in key[1]], PS) for slew in key[0])
            lines.append(f"        {name} ({template}) {{ values ({rows}); }}")
        lines.append("      }")
    return [*lines, "    }", "  }"]


def _named(arc: Arc) -> list[tuple[str, DelayTable]]:
    """Return all four tables: where one edge has none, the other's stands in."""
    found = []
    for name, tables, edge in (
        ("cell_rise", arc.delays, RISE),
        ("cell_fall", arc.delays, FALL),
        ("rise_transition", arc.slews, RISE),
        ("fall_transition", arc.slews, FALL),
    ):
        table = tables[edge] or tables[1 - edge]
        if table is not None:
            found.append((name, table))
    return found


def _at_least(axis: tuple[float, ...], count: int) -> tuple[float, ...]:
    """Return *axis* lengthened to *count* entries: ABC takes a slope from the first load to the last but one."""
    while len(axis) < count:
        axis = (*axis, 2 * axis[-1] - axis[-2] if len(axis) > 1 else axis[0] + 1e-9)
    return axis


def _row(values: Sequence[float], scale: float) -> str:
    return '"' + ", ".join(f"{value * scale:.9g}" for value in values) + '"'
