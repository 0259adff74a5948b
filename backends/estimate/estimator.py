"""Estimate what Verilog costs on a cell library: area, power by state and by toggles, delay."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from approxhw.backends.estimate.library.cells import Cell, CellLibrary
from approxhw.backends.estimate.library.load import load_library
from approxhw.backends.estimate.netlist.driving import Driving, drive, uniform_vectors
from approxhw.backends.estimate.netlist.netlist import Netlist
from approxhw.backends.estimate.netlist.simulator import Activity, simulate_activity
from approxhw.backends.estimate.synthesis.recipes import RECIPES
from approxhw.backends.estimate.synthesis.source import VerilogSource
from approxhw.backends.estimate.synthesis.synthesise import synthesise
from approxhw.backends.estimate.timing.analyse import Surroundings, analyse, path_of
from approxhw.common.errors import LibraryError, OptionError, Problem, shown

UNIFORM_VECTORS = 10_000
TIMED = "timed"
BY_TABLES, ONE_DELAY = "delay tables", "one delay a cell"


@dataclass(frozen=True)
class Estimate:
    """What a circuit costs.

    ``area_mm2``: cells only, no routing. ``static_power_mw``: mean over the vectors of every cell's power in its own
    state, registers with their clock low. ``dynamic_power_mw``: toggles × ½CV² × ``frequency_hz``, over all nets that
    cells read, inputs included. ``delay_ms``: longest path. ``cells_by_type``: counts. ``states_from``: which vectors.
    ``power_unknown``: cells and states whose static power the library does not tell; ``static_power_mw`` is None then.
    ``clock_ns``: the period asked for, if any. ``timed_by``: ``delay tables``, or ``one delay a cell``, from which no
    verdict about a clock follows. ``limits_exceeded``: nets above a limit of the library (load, slew, fan-out).
    ``notes``: what readers of the figures must know, such as undriven nets that were allowed. ``driven``: input → what it was
    driven by, of a circuit with registers that nobody gave vectors for. ``library_file``: the path of a library that has no
    name to be found by.
    """

    top: str
    library: str
    voltage: float
    area_mm2: float
    static_power_mw: float | None
    dynamic_power_mw: float
    delay_ms: float
    cells: int
    cells_by_type: Mapping[str, int]
    states_from: str
    vectors: int
    frequency_hz: float
    seconds: float
    critical_path: tuple[str, ...] = ()
    delay_point: str = ""
    recipe: str = "reference"
    clock_ns: float | None = None
    limits_exceeded: int = 0
    power_unknown: tuple[Problem, ...] = ()
    timed_by: str = ONE_DELAY
    notes: tuple[str, ...] = ()
    driven: Mapping[str, str] = field(default_factory=dict)
    library_file: str = ""

    @property
    def delay_ns(self) -> float:
        """Return the longest path in ns."""
        return self.delay_ms * 1e6

    @property
    def slack_ns(self) -> float | None:
        """Return how much shorter than the clock's period the longest path is; None without a clock, or delay tables."""
        return None if self.clock_ns is None or self.timed_by != BY_TABLES else self.clock_ns - self.delay_ns

    @property
    def met(self) -> bool | None:
        """Return whether the clock is kept; None without a clock, or where that cannot be known: without delay tables."""
        slack = self.slack_ns
        return None if slack is None or self.clock_ns is None else slack >= -1e-12 * self.clock_ns

    @property
    def power_mw(self) -> float | None:
        """Return static plus dynamic power; None where the static power is not known."""
        return None if self.static_power_mw is None else self.static_power_mw + self.dynamic_power_mw

    def known_power_mw(self) -> float:
        """Return static plus dynamic power; raise :class:`LibraryError` naming cells and states where it is not known."""
        if self.power_mw is None:
            raise LibraryError(self.library, self.power_unknown)
        return self.power_mw

    def as_json(self) -> dict[str, object]:
        """Return everything as plain types for ``json.dumps``."""
        return {
            "top": self.top,
            "library": self.library,
            "voltage": self.voltage,
            "area_mm2": self.area_mm2,
            "power_mw": self.power_mw,
            "static_power_mw": self.static_power_mw,
            "dynamic_power_mw": self.dynamic_power_mw,
            "delay_ms": self.delay_ms,
            "delay_ns": self.delay_ns,
            "clock_ns": self.clock_ns,
            "slack_ns": self.slack_ns,
            "met": self.met,
            "timed_by": self.timed_by,
            "limits_exceeded": self.limits_exceeded,
            "cells": self.cells,
            "cells_by_type": dict(self.cells_by_type),
            "states_from": self.states_from,
            "vectors": self.vectors,
            "frequency_hz": self.frequency_hz,
            "seconds": self.seconds,
            "critical_path": list(self.critical_path),
            "delay_point": self.delay_point,
            "recipe": self.recipe,
            "power_unknown": [str(problem) for problem in self.power_unknown],
            "notes": list(self.notes),
            "driven": dict(self.driven),
            "library_file": self.library_file,
        }


@dataclass(frozen=True)
class EstimatePart:
    """What one instance costs by itself, the instances inside it not counted. ``path``: instances from the top."""

    path: tuple[str, ...]
    module: str
    area_mm2: float
    power_mw: float | None
    cells: int


@dataclass(frozen=True)
class HierarchyEstimate:
    """What each instance costs in a synthesis that keeps the hierarchy; ``parts`` add up to the totals.

    Optimisation stops at module borders there, so the totals are not those of the flat synthesis.
    """

    library: str
    states_from: str
    parts: tuple[EstimatePart, ...] = field(default=())

    @property
    def area_mm2(self) -> float:
        """Return the area of all parts."""
        return sum(part.area_mm2 for part in self.parts)

    @property
    def power_mw(self) -> float | None:
        """Return the power of all parts; None where it is not known."""
        return total_power(self.parts)

    def below(self, *path: str) -> tuple[float, float | None, int]:
        """Return area, power and cells of the instance at *path* with everything inside it."""
        inside = [part for part in self.parts if part.path[: len(path)] == path]
        return sum(p.area_mm2 for p in inside), total_power(inside), sum(p.cells for p in inside)


def total_power(parts: Sequence[EstimatePart]) -> float | None:
    """Return the power of *parts*; None where that of one is not known."""
    known = [part.power_mw for part in parts if part.power_mw is not None]
    return sum(known) if len(known) == len(parts) else None


def estimate(
    verilog: str | VerilogSource,
    top: str | None = None,
    library: str | Path | CellLibrary = "egfet",
    *,
    vectors: Mapping[str, np.ndarray] | None = None,
    vectors_from: str = "",
    frequency: float | None = None,
    timeout: float = 600.0,
    seed: int = 1,
    recipe: str = "reference",
    clock_ns: float | None = None,
    allow_undriven: bool = False,
    on_progress: Callable[[str], None] | None = None,
) -> Estimate:
    """Synthesise *verilog* to *library* and return area, power and delay.

    ``vectors``: input port → 1-D codes (two's complement patterns), over which states and toggles are averaged;
    ``vectors_from`` says what they are. Without them 10 000 uniform vectors are drawn from *seed*; resets are let go after two
    (:func:`~approxhw.backends.estimate.netlist.driving.drive`). ``allow_undriven``: as for :func:`synthesise`. ``frequency``:
    vectors per second, the library's own by default. ``clock_ns``: a clock period; slack is told where the
    library has delay tables, and there is a vector a clock. ``recipe``: as :func:`synthesise` has them, or ``timed``, which
    looks for the smallest circuit that meets the clock (:func:`sweep`; minutes). ``timeout``: seconds for the synthesis, for
    each one in ``timed``.
    ``on_progress`` is called with the name of each step. Raises what :func:`synthesise` raises,
    :class:`InvalidDataError` for vectors that do not fit the ports. Where the library lacks the power of a state that the
    vectors reach, area and delay are told, and ``power_unknown`` names cell and state.
    """
    started = time.perf_counter()
    tell = on_progress or (lambda step: None)
    cells = load_library(library)
    check_rate(frequency, clock_ns, recipe)
    tell("synthesise")
    if recipe == TIMED and clock_ns is not None:
        from .clock_sweep import sweep

        (point,) = sweep(
            verilog,
            top,
            cells,
            [clock_ns * 1e3],
            around=Surroundings(),
            timeout=timeout,
            allow_undriven=allow_undriven,
        )
        netlist = point.netlist
    else:
        netlist = synthesise(verilog, top, cells, timeout=timeout, recipe=recipe, allow_undriven=allow_undriven)
    tell("simulate the netlist")
    return estimate_netlist(
        netlist,
        vectors=vectors,
        vectors_from=vectors_from,
        frequency=frequency,
        seed=seed,
        started=started,
        recipe=recipe,
        clock_ns=clock_ns,
    )


def _title_of(netlist: Netlist, name: str) -> str:
    """Return what the library calls the cell *name*; black boxes have no other name."""
    cell = netlist.library.cells.get(name)
    return (cell.title if cell is not None else "") or name


def estimate_netlist(
    netlist: Netlist,
    *,
    vectors: Mapping[str, np.ndarray] | None = None,
    vectors_from: str = "",
    frequency: float | None = None,
    seed: int = 1,
    started: float | None = None,
    recipe: str = "reference",
    clock_ns: float | None = None,
) -> Estimate:
    """Return the cost of a netlist that is mapped already; arguments as in :func:`estimate`."""
    started = time.perf_counter() if started is None else started
    check_rate(frequency, clock_ns, recipe)
    chosen = _chosen(netlist, vectors, vectors_from, seed)
    _, activity = simulate_activity(netlist, chosen.vectors)
    rate = _rate(netlist.library, frequency, clock_ns)
    by_type = netlist.cells_by_type()
    timing = analyse(netlist)
    path = path_of(timing)
    powers, unknown = static_powers(netlist, activity)
    return Estimate(
        top=netlist.top,
        library=netlist.library.name,
        voltage=netlist.library.voltage,
        area_mm2=netlist.area(),
        static_power_mw=None if unknown else sum(powers) * 1e-3 + _tie_power(netlist),
        dynamic_power_mw=sum(switching_energies(netlist, activity).values()) * rate * 1e3,
        delay_ms=path.delay,
        cells=sum(by_type.values()),
        cells_by_type={_title_of(netlist, name): count for name, count in by_type.items()},
        states_from=chosen.words,
        vectors=activity.vectors,
        frequency_hz=rate,
        seconds=time.perf_counter() - started,
        critical_path=tuple(_titled(step, netlist.library) for step in path.steps),
        delay_point=netlist.library.delay_point,
        recipe=recipe,
        clock_ns=clock_ns,
        limits_exceeded=len({excess.net for excess in timing.excesses}),
        power_unknown=tuple(unknown),
        timed_by=ONE_DELAY if timing.without_tables else BY_TABLES,
        notes=netlist.notes,
        driven=chosen.by_port,
        library_file=netlist.library.file,
    )


def _titled(step: str, library: CellLibrary) -> str:
    """Return a *step* of a path, ``CELL -> NET``, with the cell called as its library calls it."""
    name, arrow, net = step.partition(" -> ")
    cell = library.cells.get(name) if arrow else None
    return f"{cell.title}{arrow}{net}" if cell is not None and cell.title else step


def estimate_hierarchy(
    verilog: str,
    top: str | None = None,
    library: str | Path | CellLibrary = "egfet",
    *,
    vectors: Mapping[str, np.ndarray] | None = None,
    vectors_from: str = "",
    frequency: float | None = None,
    keep: Sequence[str] | None = None,
    timeout: float = 600.0,
    seed: int = 1,
    recipe: str = "reference",
    clock_ns: float | None = None,
) -> HierarchyEstimate:
    """Synthesise with the hierarchy kept and return each instance's own cost; arguments as in :func:`estimate`.

    ``keep``: modules that stay, everything in them dissolved; every module stays by default.
    The energy of a net is charged to the instance that drives it, of an input port to the top.
    """
    check_rate(frequency, clock_ns, recipe)
    netlist = synthesise(
        verilog, top, library, flatten=keep is not None, keep=keep or (), timeout=timeout, recipe=recipe
    )
    chosen = _chosen(netlist, vectors, vectors_from, seed)
    _, activity = simulate_activity(netlist, chosen.vectors)
    rate = _rate(netlist.library, frequency, clock_ns)
    figures = {path: [0.0, 0.0, 0.0] for path in netlist.modules}
    owner: dict[int, tuple[str, ...]] = {}
    powers, unknown = static_powers(netlist, activity)
    for instance, power in zip(netlist.instances, powers, strict=True):
        cell = netlist.library.cells[instance.cell]
        figures[instance.path][0] += cell.area
        figures[instance.path][1] += power * 1e-3
        figures[instance.path][2] += 1
        owner |= {instance.pins[pin]: instance.path for pin in cell.functions if pin in instance.pins}
    for net, energy in switching_energies(netlist, activity).items():
        figures[owner.get(net, ())][1] += energy * rate * 1e3
    if netlist.library.tie and netlist.needs_tie():
        figures[()][0] += netlist.library.cells[netlist.library.tie].area
        figures[()][1] += _tie_power(netlist)
        figures[()][2] += 1
    parts = tuple(
        EstimatePart(path, netlist.modules[path], area, None if unknown else power, int(count))
        for path, (area, power, count) in figures.items()
    )
    return HierarchyEstimate(netlist.library.name, chosen.words, parts)


def power_over(netlist: Netlist, vectors: Mapping[str, np.ndarray], clock_ns: float) -> float:
    """Return the power in mW of *netlist* over *vectors*, one a clock, as :func:`estimate_netlist` has it, without timing.

    Raises :class:`LibraryError` where the library lacks the figure of a state that is reached.
    """
    _, activity = simulate_activity(netlist, vectors)
    powers, unknown = static_powers(netlist, activity)
    if unknown:
        raise LibraryError(netlist.library.name, unknown)
    dynamic = sum(switching_energies(netlist, activity).values()) * 1e9 / clock_ns * 1e3
    return sum(powers) * 1e-3 + _tie_power(netlist) + dynamic


def static_powers(netlist: Netlist, activity: Activity) -> tuple[list[float], list[Problem]]:
    """Return for each instance its mean static power in µW over the states that *activity* found it in.

    Cells and states whose figure the library lacks are told besides; they count nothing in the list.
    """
    powers: list[float] = []
    missing: dict[tuple[str, str], Cell] = {}
    cells = netlist.library.cells
    for instance, states in zip(netlist.instances, activity.states, strict=True):
        cell = cells[instance.cell]
        missing |= {(cell.name, state): cell for state in states if state not in cell.powers}
        total = sum(cell.powers.get(state, 0.0) * count for state, count in states.items())
        powers.append(total / activity.vectors if activity.vectors else 0.0)
    tie = cells.get(netlist.library.tie)
    if tie is not None and netlist.needs_tie() and "" not in tie.powers:
        missing[(tie.name, "")] = tie
    problems = []
    for (_, state), cell in missing.items():
        spelled = " ".join(f"{pin}={digit}" for pin, digit in zip(cell.state_pins, state, strict=True))
        problems.append(
            Problem(
                f"cell {shown(cell.title or cell.name)}",
                f"has no static power for state {spelled or '(its only one)'}, which the vectors reach",
                "add the figure to the library: a mean over other states would be a guess",
            )
        )
    return powers, problems


def switching_energies(netlist: Netlist, activity: Activity) -> dict[int, float]:
    """Return net → joule per vector: toggles × ½CV², C the input capacitance on the net; a clock toggles twice."""
    loads: dict[int, float] = {}
    for instance in netlist.instances:
        for pin, farad in netlist.library.cells[instance.cell].capacitances.items():
            loads[instance.pins[pin]] = loads.get(instance.pins[pin], 0.0) + farad
    clocks = netlist.clocks
    steps = max(activity.vectors - 1, 1)
    half_square = 0.5 * netlist.library.voltage**2
    return {
        net: (2.0 if net in clocks else activity.toggles.get(net, 0) / steps) * load * half_square
        for net, load in loads.items()
    }


def _tie_power(netlist: Netlist) -> float:
    if not (netlist.library.tie and netlist.needs_tie()):
        return 0.0
    return netlist.library.cells[netlist.library.tie].powers.get("", 0.0) * 1e-3


def _chosen(netlist: Netlist, vectors: Mapping[str, np.ndarray] | None, vectors_from: str, seed: int) -> Driving:
    if vectors is None:
        return drive(netlist, UNIFORM_VECTORS, seed)
    lengths = {len(values) for values in vectors.values()}
    if lengths == {0}:
        raise OptionError("vectors", [Problem("vectors", "there are none", "give at least one row")])
    count = max(lengths, default=0)
    inner = {f"{box.name}." for box in netlist.black_boxes}
    if inner:  # nobody knows what a part without contents would say to these vectors
        drawn = uniform_vectors(netlist, count, seed)
        vectors = {**{name: v for name, v in drawn.items() if name.startswith(tuple(inner))}, **vectors}
    return Driving(vectors, vectors_from or f"{count} given vectors", {})


def check_rate(frequency: float | None, clock_ns: float | None, recipe: str = "reference") -> None:
    """Raise :class:`OptionError` for rates that are none, two that contradict, and ``timed`` without a clock."""
    problems = []
    if frequency is not None and not (np.isfinite(frequency) and frequency >= 0):
        problems.append(Problem("frequency", f"{frequency} is no rate", "give vectors per second, 0 or more"))
    if clock_ns is not None and not (np.isfinite(clock_ns) and clock_ns > 0):
        problems.append(Problem("clock_ns", f"{clock_ns} is no clock period", "give nanoseconds, more than 0"))
    if frequency is not None and clock_ns is not None:
        problems.append(Problem("frequency", "there is one vector a clock, and clock_ns is given too", "leave one out"))
    if recipe == TIMED and clock_ns is None:
        problems.append(Problem("clock_ns", f"recipe {TIMED} needs a clock period to meet", "give nanoseconds"))
    if recipe != TIMED and recipe not in RECIPES:
        problems.append(Problem("recipe", f"{shown(recipe)!r} is not one of {', '.join((*RECIPES, TIMED))}"))
    if problems:
        raise OptionError("estimate", problems)


def _rate(library: CellLibrary, frequency: float | None, clock_ns: float | None) -> float:
    """Return vectors per second: what is given, one a clock, or the library's."""
    if frequency is not None:
        return frequency
    return library.frequency if clock_ns is None else 1e9 / clock_ns
