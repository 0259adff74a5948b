"""Times a mapped netlist in OpenSTA, from a Liberty file written out of our library: an analysis that is not ours."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from approxhw.backends.estimate.library.cells import Cell, CellLibrary, spell_expression, timing_of
from approxhw.backends.estimate.library.delay_tables import FALL, RISE, Arc, DelayTable, constant
from approxhw.backends.estimate.netlist.netlist import Netlist
from approxhw.backends.estimate.netlist.text import netlist_verilog
from approxhw.common.errors import ToolNotFoundError
from approxhw.common.tools import Tool, run_tool

NS, PF = 1e6, 1e12
"""From ms and from farad to the units of the file."""


def find_opensta() -> Tool:
    """Return OpenSTA."""
    if path := shutil.which("sta"):
        return Tool("sta", (path, "-no_splash", "-exit"))
    raise ToolNotFoundError("OpenSTA", "install it (Debian: apt-get install opensta)")


def opensta_delay(
    tool: Tool,
    netlist: Netlist,
    folder: Path,
    *,
    slew_ps: float,
    load_ff: float,
    period_ps: float,
    liberty: Path | None = None,
) -> float:
    """Return the longest path that OpenSTA finds in *netlist*, in ps, set-up included; inputs and clock are at time 0.

    ``period_ps``: of the clock, of the size of the path: OpenSTA reckons slacks in single precision.
    ``liberty``: a file with the library in it; what we know of the netlist's library, written out, by default.
    """
    if liberty is None:
        liberty = folder / "written.lib"
        liberty.write_text(liberty_text(netlist.library))
    (folder / "mapped.v").write_text(netlist_verilog(netlist))
    clock = next((port.name for port in netlist.inputs if set(port.nets) & set(netlist.clocks)), "")
    script = [
        f"read_liberty {{{liberty}}}; read_verilog {{{folder / 'mapped.v'}}}; link_design {netlist.top}",
        f"create_clock -name ck -period {period_ps * 1e-3:.9g} {f'[get_ports {clock}]' if clock else ''}",
        f"set_clock_transition {slew_ps * 1e-3:.9g} [get_clocks ck]; set inputs [list]",
        f'foreach p [all_inputs] {{ if {{[get_property $p full_name] ne "{clock}"}} {{ lappend inputs $p }} }}',
        f"set_input_delay 0 -clock ck $inputs; set_input_transition {slew_ps * 1e-3:.9g} $inputs",
        f"set_output_delay 0 -clock ck [all_outputs]; set_load {load_ff * 1e-3:.9g} [all_outputs]",
        "report_checks -path_delay max -digits 6",
    ]
    (folder / "time.tcl").write_text("\n".join(script) + "\n")
    output = run_tool(tool, [folder / "time.tcl"], timeout=120, folder=folder).output
    found = re.search(r"data arrival time.*\s([0-9.]+)\s+slack", output, re.DOTALL)
    assert found is not None, output[-2000:]
    setup = re.search(r"(-?[0-9.]+)\s+[0-9.]+\s+library setup time", output)
    arrival = re.search(r"([0-9.]+)\s+data arrival time", output)
    assert arrival is not None, output[-2000:]
    return (float(arrival[1]) - (float(setup[1]) if setup else 0.0)) * 1e3


def liberty_text(library: CellLibrary) -> str:
    """Return *library* as a Liberty file in ns and pF: tables, set-up times, capacitances by edge, wires."""
    lines = [
        'library (written) { delay_model : table_lookup; time_unit : "1ns"; capacitive_load_unit (1, pf);',
        '  voltage_unit : "1V"; current_unit : "1mA"; leakage_power_unit : "1nW"; pulling_resistance_unit : "1kohm";',
        f"  nom_voltage : {library.voltage}; nom_process : 1; nom_temperature : 25;",
        "  input_threshold_pct_rise : 50; input_threshold_pct_fall : 50; output_threshold_pct_rise : 50;",
        "  output_threshold_pct_fall : 50; slew_lower_threshold_pct_rise : 20; slew_lower_threshold_pct_fall : 20;",
        "  slew_upper_threshold_pct_rise : 80; slew_upper_threshold_pct_fall : 80;",
        '  operating_conditions (c) { process : 1; temperature : 25; voltage : 1; tree_type : "balanced_tree"; }',
        "  default_operating_conditions : c;",
        "  lu_table_template (delay) { variable_1 : input_net_transition; variable_2 : total_output_net_capacitance;",
        '    index_1 ("0, 1"); index_2 ("0, 1"); }',
        "  lu_table_template (setup) { variable_1 : constrained_pin_transition; variable_2 : related_pin_transition;",
        '    index_1 ("0, 1"); index_2 ("0, 1"); }',
    ]
    if library.wires is not None:
        wires = library.wires
        lengths = " ".join(f"fanout_length ({pins:g}, {length:.9g});" for pins, length in wires.lengths)
        lines.append(
            f'  wire_load ("w") {{ capacitance : {wires.capacitance * PF:.9g}; resistance : {wires.resistance / 1e6:.9g};'
            f' slope : {wires.slope:.9g}; {lengths} }} default_wire_load : "w"; default_wire_load_mode : top;'
        )
    for cell in library.cells.values():
        lines += _cell(cell)
    return "\n".join([*lines, "}"]) + "\n"


def _cell(cell: Cell) -> list[str]:
    timing = timing_of(cell)
    lines = [f"  cell ({cell.name}) {{ area : 1;"]
    flop = cell.flip_flop
    if flop is not None:
        held = {"clear": flop.clear, "preset": flop.preset}
        more = "".join(f' {key} : "{spell_expression(e)}";' for key, e in held.items() if e is not None)
        edge = flop.clock if flop.rising else f"!{flop.clock}"
        lines.append(
            f'    ff ({flop.state}, {flop.inverse}) {{ clocked_on : "{edge}";'
            f' next_state : "{spell_expression(flop.data)}";{more} }}'
        )
    for pin in cell.inputs:
        rise, fall = timing.capacitances[pin]
        lines.append(f"    pin ({pin}) {{ direction : input; capacitance : {max(rise, fall) * PF:.9g};")
        lines.append(f"      rise_capacitance : {rise * PF:.9g}; fall_capacitance : {fall * PF:.9g};")
        if flop is not None and pin == flop.clock:
            lines.append("      clock : true;")
        if flop is not None and pin in flop.data.pins():
            kind = "setup_rising" if flop.rising else "setup_falling"
            lines.append(f'      timing () {{ related_pin : "{flop.clock}"; timing_type : {kind};')
            tables = zip(
                ("rise_constraint", "fall_constraint"), timing.setups.get(pin, (constant(0.0),) * 2), strict=True
            )
            lines += [_table(name, "setup", table, NS) for name, table in tables if table is not None]
            lines.append("      }")
        lines.append("    }")
    for output, function in cell.functions.items():
        spelled = spell_expression(function).replace("CONST", "")
        lines.append(f'    pin ({output}) {{ direction : output; function : "{spelled}";')
        for arc in timing.arcs:
            if arc.output == output:
                lines += _arc(arc, None if flop is None else flop.rising)
        lines.append("    }")
    return [*lines, "  }"]


def _arc(arc: Arc, rising: bool | None) -> list[str]:
    sense = "non_unate" if arc.follows and arc.opposes else "positive_unate" if arc.follows else "negative_unate"
    kind = "combinational" if rising is None else "rising_edge" if rising else "falling_edge"
    lines = [f'      timing () {{ related_pin : "{arc.pin}"; timing_sense : {sense}; timing_type : {kind};']
    for name, table in (
        ("cell_rise", arc.delays[RISE]),
        ("cell_fall", arc.delays[FALL]),
        ("rise_transition", arc.slews[RISE]),
        ("fall_transition", arc.slews[FALL]),
    ):
        if table is not None:
            lines.append(_table(name, "delay", table, PF))
    return [*lines, "      }"]


def _table(name: str, template: str, table: DelayTable, second: float) -> str:
    if not table.varies:
        return f'        {name} (scalar) {{ values ("{table.values[0][0] * NS:.9g}"); }}'
    rows = ", ".join(_row(row, NS) for row in table.values)
    axes = f"index_1 ({_row(table.slews, NS)}); index_2 ({_row(table.loads, second)});"
    return f"        {name} ({template}) {{ {axes} values ({rows}); }}"


def _row(values: tuple[float, ...], scale: float) -> str:
    return '"' + ", ".join(f"{value * scale:.9g}" for value in values) + '"'
