"""Read the delay tables of a TOML cell library: arcs by slew and load, set-up times, limits, and what wires count."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

from approxhw.common.errors import Problem, shown

from .cells import Cell
from .delay_tables import Arc, CellTiming, DelayTable, WireLoad
from .liberty_timing import ways_are_timed

MOST_ENTRIES = 64
"""Entries of an axis."""

_SENSES = {"follows": (True, False), "opposes": (False, True), "either": (True, True)}
_TABLES = ("rise", "fall", "rise_slew", "fall_slew")


@dataclass(frozen=True)
class SharedTiming:
    """What all cells of a table have in common: ``slews`` (ms), the slew that no pin may exceed (ms), and wires."""

    slews: tuple[float, ...]
    most_slew: float
    wires: WireLoad | None


class _Broken(ValueError):
    """What is wrong with an entry."""


def shared_timing(entry: object, scales: Mapping[str, float], problems: list[Problem]) -> SharedTiming | None:
    """Return what ``[timing]`` says, or None where it is not there or broken; *problems* get what is wrong with it."""
    if entry is None:
        return None
    try:
        table = _table_of(entry, "timing")
        slews = _axis(table.get("slews"), "slews", scales["delay"])
        most = math.inf
        if "most_slew" in table:
            most = _number(table["most_slew"], "most_slew", above=0) * scales["delay"]
        wires = None if "wires" not in table else _wires(_table_of(table["wires"], "wires"), scales)
    except _Broken as error:
        problems.append(Problem("timing", str(error)))
        return None
    return SharedTiming(slews, most, wires)


def table_timing(
    cell: Cell, entry: object, shared: SharedTiming | None, scales: Mapping[str, float], problems: list[Problem]
) -> CellTiming | None:
    """Return what ``[cells.NAME.timing]`` says of *cell*: ms and F. *problems* get what is wrong with it.

    Its keys: ``loads``, the axis beside the library's ``slews``; ``arcs``, each with ``pin`` (a flop's clock), ``output``,
    ``sense`` (``follows``, ``opposes`` or ``either``) and tables ``rise``, ``fall``, ``rise_slew``, ``fall_slew``, a row a
    slew; ``setup``, by data pin; ``edge_capacitance``, [rise, fall] by pin; ``most_load`` by output.
    """
    where = f"cell {shown(cell.name)} timing"
    if shared is None:
        problems.append(Problem(where, "there is no [timing] with the `slews` of its tables"))
        return None
    try:
        table = _table_of(entry, "timing")
        loads = _axis(table.get("loads"), "loads", scales["capacitance"])
        listed = table.get("arcs")
        if not isinstance(listed, list):
            raise _Broken("`arcs` is not a list")
        arcs = tuple(_arc(cell, each, shared.slews, loads, scales["delay"]) for each in listed)
        if not ways_are_timed(cell, arcs):
            raise _Broken("`arcs` lacks a way from an input (of a flop: its clock) to an output")
        capacitances = {pin: (farad, farad) for pin, farad in cell.capacitances.items()}
        for pin, pair in _table_of(table.get("edge_capacitance", {}), "edge_capacitance").items():
            rise, fall = _row(pair, f"edge_capacitance.{shown(pin)}", 2, scales["capacitance"])
            capacitances[_known(pin, cell.inputs)] = (rise, fall)
        most_load = {
            _known(pin, cell.functions): _number(value, f"most_load.{shown(pin)}", above=0) * scales["capacitance"]
            for pin, value in _table_of(table.get("most_load", {}), "most_load").items()
        }
        setups = {
            _known(pin, cell.inputs): _setup(_table_of(each, "setup"), scales["delay"])
            for pin, each in _table_of(table.get("setup", {}), "setup").items()
        }
    except _Broken as error:
        problems.append(Problem(where, str(error)))
        return None
    limits = {} if math.isinf(shared.most_slew) else dict.fromkeys((*cell.inputs, *cell.functions), shared.most_slew)
    return CellTiming(arcs, setups, capacitances, most_load, limits)


def _arc(cell: Cell, entry: object, slews: tuple[float, ...], loads: tuple[float, ...], scale: float) -> Arc:
    table = _table_of(entry, "an arc")
    pin, output = _known(table.get("pin"), cell.inputs), _known(table.get("output"), cell.functions)
    if table.get("sense") not in _SENSES:
        raise _Broken(f"the arc {pin} to {output} has no `sense`, one of {', '.join(_SENSES)}")
    found: list[DelayTable | None] = []
    for name in _TABLES:
        grid = None if name not in table else _grid(table[name], f"{name} of {pin} to {output}", slews, loads, scale)
        found.append(grid)
    if (found[0] is None) != (found[2] is None) or (found[1] is None) != (found[3] is None) or not any(found[:2]):
        raise _Broken(
            f"the arc {pin} to {output} has an edge without both its tables, delay and slew, or no edge at all"
        )
    return Arc(pin, output, *_SENSES[str(table["sense"])], (found[0], found[1]), (found[2], found[3]))


def _setup(table: Mapping[str, object], scale: float) -> tuple[DelayTable | None, DelayTable | None]:
    slews, clocks = (_axis(table.get(name), name, scale) for name in ("slews", "clock_slews"))
    return _grid(table.get("rise"), "rise of setup", slews, clocks, scale), _grid(
        table.get("fall"), "fall of setup", slews, clocks, scale
    )


def _wires(table: Mapping[str, object], scales: Mapping[str, float]) -> WireLoad:
    listed = table.get("lengths")
    if not isinstance(listed, list) or len(listed) > MOST_ENTRIES:
        raise _Broken("`wires.lengths` is not a list of [pins, length]")
    pairs = [_row(pair, "wires.lengths", 2, 1.0) for pair in listed]
    if any(later[0] <= earlier[0] for earlier, later in itertools.pairwise(pairs)):
        raise _Broken("the pins of `wires.lengths` do not ascend")
    return WireLoad(
        str(table.get("name", "")),
        _number(table.get("capacitance"), "wires.capacitance") * scales["capacitance"],
        _number(table.get("kiloohm"), "wires.kiloohm") * 1e6,  # ms/F
        tuple((pins, length) for pins, length in pairs),
        _number(table.get("slope", 0.0), "wires.slope"),
    )


def _grid(entry: object, what: str, rows: tuple[float, ...], columns: tuple[float, ...], scale: float) -> DelayTable:
    if not isinstance(entry, list) or len(entry) != len(rows):
        raise _Broken(f"`{what}` is not {len(rows)} rows")
    # a delay may well be negative: a gate that a slow slope turns early
    values = tuple(_row(row, what, len(columns), scale, least=-math.inf) for row in entry)
    return DelayTable(rows, columns, values)


def _axis(entry: object, what: str, scale: float) -> tuple[float, ...]:
    if not isinstance(entry, list) or not 1 <= len(entry) <= MOST_ENTRIES:
        raise _Broken(f"`{what}` is not a list of 1 to {MOST_ENTRIES} numbers")
    axis = _row(entry, what, len(entry), scale)
    if any(later <= earlier for earlier, later in itertools.pairwise(axis)):
        raise _Broken(f"`{what}` does not ascend")
    return axis


def _row(entry: object, what: str, count: int, scale: float, least: float = 0.0) -> tuple[float, ...]:
    if not isinstance(entry, list) or len(entry) != count:
        raise _Broken(f"`{what}` is not {count} numbers in a row")
    return tuple(_number(value, what, least) * scale for value in entry)


def _number(value: object, what: str, least: float = 0.0, above: float = -math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < least:
        raise _Broken(f"`{what}` is not a finite number" + (f" of at least {least:g}" if least > -math.inf else ""))
    if value <= above:
        raise _Broken(f"`{what}` is {value}, and must be above {above:g}")
    return float(value)


def _table_of(entry: object, what: str) -> Mapping[str, object]:
    if not isinstance(entry, dict):
        raise _Broken(f"`{what}` is not a table")
    return entry


def _known(name: object, names: Mapping[str, object] | tuple[str, ...]) -> str:
    if not isinstance(name, str) or name not in names:
        raise _Broken(f"{shown(name)} is no pin of the cell there; there are {', '.join(names)}")
    return name
