"""Read a Liberty file (plain or gzip) into a CellLibrary: functions, areas, leakage by state, capacitances, delays."""

from __future__ import annotations

import contextlib
import re
from bisect import bisect_right
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from approxhw.common.errors import LibraryError, Problem, shown

from . import logic
from .cells import MAX_INPUTS, Cell, CellLibrary, FlipFlop, check_cell, plain_cell_name
from .liberty_syntax import Group, liberty_number, liberty_text, parse_library
from .liberty_timing import cell_timing, most_fanout, wire_load

PRINTED_FREQUENCY, SILICON_FREQUENCY = 5.0, 100e6
_PREFIX = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3}
_EXAMPLES = {"w": "nW", "s": "ns", "f": "pf", "ohm": "kohm"}


def read_liberty(path: Path) -> CellLibrary:
    """Return the cells of the Liberty file *path* that can be used: gates, constants and plain flops.

    Cells with bus pins, tristate outputs, latches, more than six inputs or no function are left out, by name and reason
    (``left_out``). ``Cell.timing`` holds the tables. ``Cell.delays`` are those at the smallest slew and at the greatest
    tabulated load not above the smallest inverter's input capacitance, the worst over all arcs with the first input's
    related pin first. Raises :class:`LibraryError` with the line for a file that is broken.
    """
    text = liberty_text(path)
    top = parse_library(text, path)
    if top is None:
        raise LibraryError(str(path), [Problem(path.name, "not a Liberty file: it has no library group")])
    units = _units(top, path)
    load = _typical_load(top)
    cells: dict[str, Cell] = {}
    left_out: dict[str, str] = {}
    areas: dict[str, float] = {}
    problems: list[Problem] = []
    lines: dict[str, int] = {}
    for group in top.inside("cell"):
        where = f"line {group.line}, cell {shown(group.label)}"
        if group.label in lines:
            why = f"line {lines[group.label]} describes a cell of that name already"
            problems.append(Problem(where, why, "keep one of them"))
            continue
        lines[group.label] = group.line
        try:
            cell, reason = _cell(group, units, load, top, cells.keys())
        except ValueError as error:
            problems.append(Problem(where, shown(error, 160)))
            continue
        if cell is None:
            left_out[group.label] = reason
            with contextlib.suppress(ValueError):
                areas[group.label] = liberty_number(group.attributes.get("area", ""), "area") * 1e-6
        else:
            cells[cell.name] = cell
    if not cells and not problems:
        why = "no usable cell in it"
        if left_out:
            told = [f"{shown(name, 40)}: {reason}" for name, reason in list(left_out.items())[:3]]
            why += f"; left out are {'; '.join(told)}{'; …' if len(left_out) > 3 else ''}"
        problems.append(Problem(path.name, why))
    wires = None
    try:
        wires = wire_load(top, units)
    except ValueError as error:
        problems.append(Problem("wire_load", shown(error, 160), "mend it, or take the line `default_wire_load` out"))
    if problems:
        raise LibraryError(str(path), problems)
    ties = [cell for cell in cells.values() if not cell.inputs]
    slowest = max(figure for cell in cells.values() for pair in cell.delays.values() for figure in pair)
    return CellLibrary(
        name=path.name,
        title=shown(top.label),
        voltage=units["voltage"],
        frequency=PRINTED_FREQUENCY if slowest > 0.01 else SILICON_FREQUENCY,
        cells=cells,
        delay_point=(
            "tables, at the slew and the load of each net"
            if any(cell.timing for cell in cells.values())
            else "smallest slew, greatest tabulated load not above one inverter input"
        ),
        tie=min(ties, key=lambda cell: (cell.area, cell.name)).name if ties else "",
        source=str(path),
        left_out=left_out,
        left_out_areas=areas,
        most_fanout=most_fanout(top),
        wires=wires,
    )


def _scaled(text: str, what: str, unit: str) -> float:
    """Return *text*, a multiple of *unit* such as ``1ns``, ``10ps``, ``1nW``, in SI; large and small letters as they come."""
    match = re.fullmatch(r"\s*([0-9][0-9.]*(?:[eE][+-]?[0-9]+)?)\s*([a-zA-Z]*)\s*", text)
    prefix = match[2][: -len(unit)] if match and match[2].lower().endswith(unit) else None
    scale = None if prefix in (None, "M") else _PREFIX.get(prefix.lower())  # M: milli or mega, nobody knows
    if match is None or scale is None:
        raise ValueError(f"{what} is {text!r}, not a number and a unit such as 1{_EXAMPLES[unit]}")
    return _above_zero(match[1], what) * scale


def _above_zero(text: str, what: str) -> float:
    value = liberty_number(text, what)
    if value <= 0:
        raise ValueError(f"{what} is {text!r}, not above 0: all figures would be 0")
    return value


def _units(top: Group, path: Path) -> dict[str, float]:
    """Return what multiplies the file's figures: leakage → µW, capacitance → F, time → ms; and the voltage in V."""
    load = top.lists.get("capacitive_load_unit", ("1", "pf"))
    conditions = {group.label: group for group in top.inside("operating_conditions")}
    chosen = conditions.get(top.attributes.get("default_operating_conditions", ""))
    voltage = chosen.attributes.get("voltage") if chosen else None
    given = top.attributes
    read: dict[str, Callable[[], float]] = {
        "power": lambda: _scaled(given.get("leakage_power_unit", "1nW"), "leakage_power_unit", "w") * 1e6,
        "time": lambda: _scaled(given.get("time_unit", "1ns"), "time_unit", "s") * 1e3,
        "capacitance": lambda: _scaled("".join(load), "capacitive_load_unit", "f"),
        "voltage": lambda: _above_zero(voltage or given.get("nom_voltage", ""), "nom_voltage"),
    }
    units, problems = {"resistance": 1.0}, []
    if "default_wire_load" in given:  # ohm is second over farad; of use for wires alone
        ohms = given.get("pulling_resistance_unit", "1kohm")
        read["resistance"] = lambda: _scaled(ohms, "pulling_resistance_unit", "ohm") * 1e3
    for name, unit in read.items():
        try:
            units[name] = unit()
        except ValueError as error:
            problems.append(Problem("library", shown(error, 160)))
    if problems:
        raise LibraryError(str(path), problems)
    return units


def _typical_load(top: Group) -> float:
    """Return the input capacitance (file units) of the smallest cell that has one input and inverts it."""
    found = []
    for group in top.inside("cell"):
        pins = list(group.inside("pin"))
        inputs = [pin for pin in pins if pin.attributes.get("direction", "").lower() == "input"]
        functions = [pin.attributes.get("function", "") for pin in pins]
        if len(inputs) == 1 and re.sub(r"[\s()]", "", "".join(functions)) in (
            f"!{inputs[0].label}",
            f"{inputs[0].label}'",
        ):
            with contextlib.suppress(ValueError):
                area = float(group.attributes.get("area", "inf"))
                found.append((area, float(inputs[0].attributes.get("capacitance", "0"))))
    return min(found)[1] if found else 0.0


def _cell(
    group: Group, units: dict[str, float], load: float, top: Group, taken: Collection[str]
) -> tuple[Cell | None, str]:
    """Return the cell, called by a name that is not *taken*, or None and why it is not used."""
    if group.attributes.get("dont_use", "").lower() == "true":
        return None, "the file says dont_use"
    for name in ("latch", "statetable", "bus", "bundle", "test_cell", "ff_bank", "latch_bank", "memory"):
        if any(group.inside(name)):
            return None, f"has a {name} group"
    pins = list(group.inside("pin"))
    if any(pin.attributes.get("three_state") for pin in pins):
        return None, "tristate output"
    inputs = [pin for pin in pins if pin.attributes.get("direction", "").lower() == "input"]
    outputs = [pin for pin in pins if pin.attributes.get("direction", "").lower() == "output"]
    functions = {pin.label: pin.attributes["function"] for pin in outputs if pin.attributes.get("function")}
    if not functions or len(functions) != len(outputs) or len(inputs) + len(outputs) != len(pins):
        return None, "an output without a function, or a pin that is neither input nor output"
    if len(inputs) > MAX_INPUTS:
        return None, f"more than {MAX_INPUTS} inputs"
    flop = _flop(group)
    if any(
        any(arc.attributes.get("timing_type", "").startswith("three") for arc in p.inside("timing")) for p in outputs
    ):
        return None, "tristate output"
    area = liberty_number(group.attributes.get("area", "0"), "area", least=0.0)
    if inputs and not area:
        return None, "it has no area, and would cost nothing"
    capacitances = {
        pin.label: liberty_number(pin.attributes.get("capacitance", "0"), "capacitance", least=0.0)
        * units["capacitance"]
        for pin in inputs
    }
    parsed = {name: logic.parse_expression(text) for name, text in functions.items()}
    if flop is None and any(e.pins() - set(capacitances) for e in parsed.values()):
        return None, "an output that is a function of something else than inputs"
    cell = Cell(
        name=plain_cell_name(group.label, taken),
        title=group.label,
        area=area * 1e-6,
        inputs=tuple(capacitances),
        functions=parsed,
        capacitances=capacitances,
        powers={},
        delays={pin.label: _delay(pin, load, top, units["time"]) for pin in outputs},
        flip_flop=flop,
    )
    if problems := check_cell(cell):
        return None, problems[0].why
    timing = cell_timing(group, cell, top, units)
    return replace(cell, powers=_powers(group, cell, units["power"], top), timing=timing), ""


def _flop(group: Group) -> FlipFlop | None:
    ff = next(iter(group.inside("ff")), None)
    if ff is None:
        return None
    clock = logic.parse_expression(ff.attributes.get("clocked_on", ""))
    inverted = clock.kind == "not"
    pin = clock.operands[0] if inverted else clock
    if pin.kind != "pin":
        raise ValueError("clocked_on is not a pin or its complement")
    held = {k: logic.parse_expression(ff.attributes[k]) for k in ("clear", "preset") if k in ff.attributes}
    names = (*ff.args, "IQ", "IQN")
    return FlipFlop(
        pin.name,
        not inverted,
        logic.parse_expression(ff.attributes.get("next_state", "")),
        held.get("clear"),
        held.get("preset"),
        names[0],
        names[1] if len(ff.args) > 1 else "IQN",
    )


def _powers(group: Group, cell: Cell, unit: float, top: Group) -> dict[str, float]:
    """Return state → µW: per supply pin the first ``when`` that holds in the state, summed over supply pins.

    States that no ``when`` of a supply covers have its figure without ``when``; where no supply says anything of a state, it
    has the cell's ``cell_leakage_power``, else the library's ``default_cell_leakage_power``, else no figure.
    """
    pins = cell.state_pins
    masks, full = logic.columns(pins)
    flop = cell.flip_flop
    if flop is not None:
        masks[flop.inverse] = full & ~masks[flop.state]
        masks[flop.clock] = 0 if flop.rising else full  # the clock rests in the state before its edge
    for pin, function in cell.functions.items():
        masks[pin] = logic.evaluate_expression(function, masks, full)
    totals: dict[int, float] = {}
    supplies: dict[str, int] = {}
    groups = sorted(group.inside("leakage_power"), key=lambda each: not each.attributes.get("when"))
    for leakage in groups:  # those without ``when`` last: they are for what the others leave
        supply = leakage.attributes.get("related_pg_pin", "")
        expression = logic.parse_expression(leakage.attributes.get("when") or "1")
        if unknown := expression.pins() - set(masks):
            raise ValueError(f"a leakage group speaks of {sorted(unknown)[0]!r}, which is no pin")
        fresh = logic.evaluate_expression(expression, masks, full) & ~supplies.get(supply, 0)
        supplies[supply] = supplies.get(supply, 0) | fresh
        value = liberty_number(leakage.attributes.get("value", ""), "leakage value") * unit
        for state in range(full.bit_length()):
            if fresh >> state & 1:
                totals[state] = totals.get(state, 0.0) + value
    for attributes, name in ((group.attributes, "cell_leakage_power"), (top.attributes, "default_cell_leakage_power")):
        if name in attributes:
            usual = liberty_number(attributes[name], name) * unit
            for state in range(full.bit_length()):
                totals.setdefault(state, usual)
            break
    return {format(state, f"0{len(pins)}b") if pins else "": value for state, value in sorted(totals.items())}


def _delay(pin: Group, load: float, top: Group, unit: float) -> tuple[float, float]:
    """Return (rise, fall) in ms of the first input's arcs: the worst of them at the table point that is read."""
    worst = {"cell_rise": 0.0, "cell_fall": 0.0}
    first = None
    for arc in pin.inside("timing"):
        if arc.attributes.get("timing_type", "combinational").startswith(
            ("setup", "hold", "min_pulse", "recovery", "removal")
        ):
            continue
        first = arc.attributes.get("related_pin") if first is None else first
        if arc.attributes.get("related_pin") != first:
            continue
        for name in worst:
            for table in arc.inside(name):
                worst[name] = max(worst[name], _entry(table, load, top))
    return worst["cell_rise"] * unit, worst["cell_fall"] * unit


def _entry(table: Group, load: float, top: Group) -> float:
    rows = table.lists.get("values", ())
    if not rows:
        raise ValueError("a delay table without values")
    first = [liberty_number(text, "a delay") for text in re.split(r"[,\s]+", rows[0].strip()) if text]
    template = top.templates.get(table.label)
    index = table.lists.get("index_2") or (template.lists.get("index_2") if template else None)
    loads = [liberty_number(text, "index_2") for text in re.split(r"[,\s]+", index[0].strip()) if text] if index else []
    chosen = max(bisect_right(loads, load) - 1, 0) if len(loads) == len(first) else 0
    return first[chosen]
