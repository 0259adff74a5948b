"""Read the timing of a Liberty cell: arcs with their tables, set-up times, capacitances by edge, limits."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from . import logic
from .cells import Cell
from .delay_tables import Arc, CellTiming, DelayTable, WireLoad, worst
from .liberty_syntax import TABLES

if TYPE_CHECKING:
    from .liberty_syntax import Group

_SLEW = ("input_net_transition", "input_transition_time", "constrained_pin_transition")
_COMBINATIONAL = {"combinational": (True, True), "combinational_rise": (True, False)}
_COMBINATIONAL |= {"combinational_fall": (False, True)}
_SENSES = {"positive_unate": (True, False), "negative_unate": (False, True), "non_unate": (True, True)}


def cell_timing(group: Group, cell: Cell, top: Group, units: Mapping[str, float]) -> CellTiming | None:
    """Return the timing of *cell*, described by *group* in library *top*; None where a path through it has no table.

    Arcs that differ in ``when`` alone are put together, entry by entry the slower one; asynchronous set and reset have
    no arcs here. ``units`` multiply the file's figures (``time`` → ms, ``capacitance`` → F). Raises :class:`ValueError`
    for a table that is broken.
    """
    templates = top.templates
    arcs: dict[tuple[str, str, bool, bool], Arc] = {}
    for pin in group.inside("pin"):
        if pin.label not in cell.functions:
            continue
        for arc in _arcs(pin, cell, templates, units):
            key = (arc.pin, arc.output, arc.follows, arc.opposes)
            joined = _joined(arcs[key], arc) if key in arcs else arc
            if joined is None:  # axes differ: both stay
                key = (f"{arc.pin} {len(arcs)}", *key[1:])
            arcs[key] = joined or arc
    found = tuple(arcs.values())
    if not ways_are_timed(cell, found):
        return None
    capacitances, most_load, most_slew = {}, {}, {}
    usual = {name: _number(text, name) for name, text in top.attributes.items() if name in _DEFAULTS}
    for pin in group.inside("pin"):
        given = {name: _number(text, name) for name, text in pin.attributes.items() if name in _FIGURES}
        given.setdefault("max_transition", usual.get("default_max_transition", 0.0))
        if pin.label in cell.functions:
            given.setdefault("max_capacitance", usual.get("default_max_capacitance", 0.0))
        if pin.label in cell.inputs:
            both = given.get("capacitance", 0.0)
            rise, fall = (given.get(f"{edge}_capacitance") or both for edge in ("rise", "fall"))
            capacitances[pin.label] = (rise * units["capacitance"], fall * units["capacitance"])
        if given.get("max_capacitance", 0.0) > 0:
            most_load[pin.label] = given["max_capacitance"] * units["capacitance"]
        if given.get("max_transition", 0.0) > 0:
            most_slew[pin.label] = given["max_transition"] * units["time"]
    setups = _setups(group, cell, templates, units)
    return CellTiming(found, setups, capacitances, most_load, most_slew)


_FIGURES = frozenset(("capacitance", "rise_capacitance", "fall_capacitance", "max_capacitance", "max_transition"))
_DEFAULTS = frozenset(("default_max_capacitance", "default_max_transition"))


def most_fanout(top: Group) -> float | None:
    """Return how many input pins the library lets an output drive; None for no limit."""
    limit = top.attributes.get("default_max_fanout")
    if limit is None:
        return None
    try:
        each = _number(top.attributes.get("default_fanout_load", "1"), "default_fanout_load")
        return _number(limit, "default_max_fanout") / each if each > 0 else None
    except ValueError:
        return None


def wire_load(top: Group, units: Mapping[str, float]) -> WireLoad | None:
    """Return what the library counts for wires where nothing else is said: its ``default_wire_load``, None without one.

    Its resistances are times over capacitances in the file's units, and its trees those of the operating conditions.
    Raises :class:`ValueError` for one that is named and not there, or broken.
    """
    name = top.attributes.get("default_wire_load", "")
    if not name:
        return None
    group = next((each for each in top.inside("wire_load") if each.label == name), None)
    if group is None:
        raise ValueError(f"default_wire_load is {name!r}, and there is no wire_load of that name")
    figures = {key: _number(group.attributes.get(key, "0"), key) for key in ("capacitance", "resistance", "slope")}
    listed = [_number(text, "fanout_length") for text in group.lists.get("fanout_length", ())]
    lengths = tuple(sorted(zip(listed[::2], listed[1::2], strict=False)))
    if len(listed) % 2 or len({pins for pins, _ in lengths}) < len(lengths) or min(figures.values()) < 0:
        raise ValueError(f"wire_load {name!r} has lengths that are no pairs, one fan-out twice, or figures below 0")
    conditions = {each.label: each for each in top.inside("operating_conditions")}
    chosen = conditions.get(top.attributes.get("default_operating_conditions", ""))
    tree = chosen.attributes.get("tree_type", "balanced_tree") if chosen else "balanced_tree"
    return WireLoad(
        name,
        figures["capacitance"] * units["capacitance"],
        0.0 if tree == "best_case_tree" else figures["resistance"] * units["resistance"],
        lengths,
        figures["slope"],
        tree != "worst_case_tree",
    )


def ways_are_timed(cell: Cell, arcs: Sequence[Arc]) -> bool:
    """Return whether every way through the cell has its tables, for both edges: what is missing would be a path unseen."""
    edges: dict[tuple[str, str], set[int]] = {}
    for arc in arcs:
        there = {edge for edge, table in enumerate(arc.delays) if table is not None}
        edges.setdefault((arc.output, arc.pin), set()).update(there)
    known = {way for way, there in edges.items() if len(there) == 2}
    if cell.flip_flop is not None:
        return all((output, cell.flip_flop.clock) in known for output in cell.functions)
    return all(
        (output, pin) in known
        for output, function in cell.functions.items()
        for pin in cell.inputs
        if any(logic.unateness(function, cell.inputs, pin))
    )


def _arcs(pin: Group, cell: Cell, templates: Mapping[str, Group], units: Mapping[str, float]) -> Iterator[Arc]:
    for timing in pin.inside("timing"):
        kind = timing.attributes.get("timing_type", "combinational")
        flop = cell.flip_flop
        if flop is None:
            edges = _COMBINATIONAL.get(kind)
        else:
            edges = (True, True) if kind == ("rising_edge" if flop.rising else "falling_edge") else None
        if edges is None:
            continue
        found: list[DelayTable | None] = [None] * 4
        for place, name in enumerate(TABLES[:4]):
            for group in timing.inside(name):
                if edges[place % 2]:
                    found[place] = _table(group, templates, units, units["capacitance"])
        for place in (0, 1):  # an edge counts where both its tables are there
            if found[place] is None or found[place + 2] is None:
                found[place] = found[place + 2] = None
        if found[0] is None and found[1] is None:
            continue
        for related in timing.attributes.get("related_pin", "").split():
            if related not in cell.inputs:
                continue
            if flop is not None:
                senses = (True, True)
            elif timing.attributes.get("timing_sense") in _SENSES:
                senses = _SENSES[timing.attributes["timing_sense"]]
            else:
                senses = logic.unateness(cell.functions[pin.label], cell.inputs, related)
            yield Arc(related, pin.label, *senses, (found[0], found[1]), (found[2], found[3]))


def _joined(first: Arc, second: Arc) -> Arc | None:
    """Return both arcs as one, entry by entry the worse, or None where their axes differ."""
    tables = []
    for a, b in zip((*first.delays, *first.slews), (*second.delays, *second.slews), strict=True):
        joined = worst(a, b) if a is not None and b is not None else a or b
        if joined is None and (a is not None or b is not None):
            return None
        tables.append(joined)
    return Arc(first.pin, first.output, first.follows, first.opposes, (tables[0], tables[1]), (tables[2], tables[3]))


def _setups(
    group: Group, cell: Cell, templates: Mapping[str, Group], units: Mapping[str, float]
) -> dict[str, tuple[DelayTable | None, DelayTable | None]]:
    """Return the set-up times of a flop's data pins against its clock."""
    setups: dict[str, tuple[DelayTable | None, DelayTable | None]] = {}
    if cell.flip_flop is None:
        return setups
    kind = "setup_rising" if cell.flip_flop.rising else "setup_falling"
    for pin in group.inside("pin"):
        for timing in pin.inside("timing"):
            if timing.attributes.get("timing_type") != kind or pin.label not in cell.inputs:
                continue
            fresh: list[DelayTable | None] = [None, None]
            for place, name in enumerate(TABLES[4:]):
                for table in timing.inside(name):
                    fresh[place] = _table(table, templates, units, units["time"])
            old = setups.get(pin.label, (None, None))
            joined = tuple(worst(a, b) if a and b else a or b for a, b in zip(old, fresh, strict=True))
            setups[pin.label] = (joined[0], joined[1])
    return setups


def _table(group: Group, templates: Mapping[str, Group], units: Mapping[str, float], second: float) -> DelayTable:
    """Return a table with slews first, whichever way round the file has it; *second* scales the other axis."""
    rows = [_numbers(row, "a table entry") for row in group.lists.get("values", ())]
    template = templates.get(group.label)
    axes, names = [], []
    for number in ("1", "2"):
        listed = group.lists.get(f"index_{number}") or (template.lists.get(f"index_{number}") if template else None)
        axes.append(_numbers(" ".join(listed), f"index_{number}") if listed else (0.0,))
        names.append(template.attributes.get(f"variable_{number}", "") if template else "")
    if len(rows) == 1 and len(axes[0]) > 1:  # written as one list
        width = len(axes[1])
        rows = [rows[0][i : i + width] for i in range(0, len(rows[0]), width)]
    if len(axes[0]) == 1 and len(axes[1]) == 1 and len(rows) == 1 and len(rows[0]) == 1:
        axes = [(0.0,), (0.0,)]
    if len(rows) != len(axes[0]) or any(len(row) != len(axes[1]) for row in rows):
        shape = f"{len(rows)} rows of {'/'.join(sorted({str(len(row)) for row in rows})) or 'no'} entries"
        raise ValueError(f"a {group.name} table has {shape} for {len(axes[0])} × {len(axes[1])} indices")
    for axis, number in zip(axes, "12", strict=True):
        if any(later <= earlier for earlier, later in itertools.pairwise(axis)):
            raise ValueError(f"index_{number} of a {group.name} table does not ascend")
    if (names[0] and names[0] not in _SLEW) or names[1] in _SLEW:
        rows = [tuple(column) for column in zip(*rows, strict=True)]
        axes.reverse()
    time = units["time"]
    return DelayTable(
        tuple(entry * time for entry in axes[0]),
        tuple(entry * second for entry in axes[1]),
        tuple(tuple(entry * time for entry in row) for row in rows),
    )


def _numbers(text: str, what: str) -> tuple[float, ...]:
    return tuple(_number(entry, what) for entry in re.split(r"[,\s]+", text.strip()) if entry)


def _number(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{what} is {text!r}, no number") from None
    if value != value or abs(value) == float("inf"):
        raise ValueError(f"{what} is {text!r}, no finite number")
    return value
