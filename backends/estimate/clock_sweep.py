"""The smallest circuit for each clock period: many syntheses of one design, sized, and judged by one analysis."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from approxhw.backends.estimate.library.cells import CellLibrary, timing_of
from approxhw.backends.estimate.library.load import load_library
from approxhw.backends.estimate.netlist.netlist import Netlist
from approxhw.backends.estimate.synthesis.source import VerilogSource
from approxhw.backends.estimate.synthesis.source_files import source_of
from approxhw.backends.estimate.synthesis.survey import find_top
from approxhw.backends.estimate.synthesis.timed import (
    ADDERS,
    DONT_USE,
    FF,
    PS,
    SCRIPTS,
    UnmappedDesign,
    front,
    mapped,
    usable,
)
from approxhw.backends.estimate.timing.analyse import Surroundings, analyse, smallest_register
from approxhw.backends.estimate.timing.sizing import check_tables, size
from approxhw.common.errors import LibraryError, OptionError, Problem, ToolTimeoutError

_NEAR = 1.25  # a circuit that is slower than the period by more is not worth sizing for it
_ALMOST = 1.03  # one that is slower by no more is likely to meet it


@dataclass(frozen=True)
class Point:
    """The smallest circuit found for a clock.

    ``period_ps``: asked for. ``area_um2``: cells only. ``delay_ps``: longest path by :func:`analyse`. ``met``: whether
    that is within the period; where nothing met it, the fastest circuit stands here. ``variant`` (parameters of the
    top), ``adders`` and ``script`` say how it was made, ``netlist`` is the circuit.
    """

    period_ps: float
    area_um2: float
    delay_ps: float
    met: bool
    variant: Mapping[str, int]
    adders: str
    script: str
    netlist: Netlist


@dataclass(frozen=True)
class _Candidate:
    netlist: Netlist
    area: float
    delay: float
    made: tuple[Mapping[str, int], str, str]


def sweep(
    verilog: str | VerilogSource,
    top: str | None,
    library: str | Path | CellLibrary,
    periods_ps: Sequence[float],
    *,
    variants: Sequence[Mapping[str, int]] = ({},),
    adders: Sequence[str] = ("ripple", "sklansky"),
    scripts: Sequence[str] = tuple(SCRIPTS),
    targets: int = 2,
    sized: int = 4,
    around: Surroundings | None = None,
    dont_use: Sequence[str] = DONT_USE,
    timeout: float = 300.0,
    allow_undriven: bool = False,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> list[Point]:
    """Return for each period, ascending, the smallest circuit of *verilog* that meets it.

    Every variant of the RTL, kind of adder and ABC script is tried at *targets* delays between the least and the
    greatest period; the *sized* smallest circuits that are near a period, and as many of those that nearly meet it, get
    their sizes chosen for it, and everything found counts for every longer period too. ``around``: by default inputs
    come from registers where the design has a register. ``timeout``: seconds for each external run; one that takes
    longer is left out, and if all do, its error is raised. Raises :class:`OptionError` for periods and choices that make
    no sense, all of them at once, :class:`LibraryError` for a library without delay tables, and what Yosys says of broken
    Verilog.
    """
    cells = usable(load_library(library), dont_use)
    periods = sorted({float(period) for period in periods_ps})
    _check(cells, periods, variants, adders, scripts, targets, sized)
    source = source_of(verilog)
    top = find_top(source, timeout) if top is None else top
    tell = on_progress or (lambda step, done, total: None)
    delays = _targets(periods, targets)
    total = len(variants) * len(adders) * len(scripts) * len(delays)
    pool: list[_Candidate] = []
    late: ToolTimeoutError | None = None
    done, share = 0, 1.0
    for variant in variants:
        fronts: dict[str, UnmappedDesign] = {}
        for kind in adders:
            made = front(
                source, top, cells, parameters=variant, adders=kind, timeout=timeout, allow_undriven=allow_undriven
            )
            fronts.setdefault(made.logic, made)  # without adders in it they are all one
        done += (len(adders) - len(fronts)) * len(scripts) * len(delays)
        for made in fronts.values():
            around = around or Surroundings(clocked_inputs=made.registers)
            for script in scripts:
                for target in delays:
                    tell("synthesise", done, total)
                    done += 1
                    # ABC knows no wires: it is told less time where they take some
                    budget = max(target * share - (_overhead(cells) if made.registers else 0.0), 1.0)
                    load = around.load_farad(cells) * FF
                    try:
                        netlist = mapped(made, budget, script, output_load=load, timeout=timeout)
                    except ToolTimeoutError as error:
                        late = error
                        continue
                    delay = analyse(netlist, around).delay_ps
                    if cells.wires is not None and around.wires and delay > 0:
                        share = min(1.0, analyse(netlist, replace(around, wires=False)).delay_ps / delay)
                    pool.append(_Candidate(netlist, netlist.area(), delay, (variant, made.adders, script)))
    tell("synthesise", total, total)
    if not pool:
        raise late or LibraryError(cells.name, [Problem("sweep", "no synthesis came to an end")])
    return _choose(pool, periods, around or Surroundings(), sized, tell)


def _choose(
    pool: Sequence[_Candidate],
    periods: Sequence[float],
    around: Surroundings,
    sized: int,
    tell: Callable[[str, int, int], None],
) -> list[Point]:
    """Size the likeliest circuits for every period and return the smallest that meets each."""
    found = list(pool)
    pool = list({(c.area, c.delay): c for c in reversed(pool)}.values())  # several targets often give one circuit
    for number, period in enumerate(periods):
        tell("size", number, len(periods))
        near = sorted((c for c in pool if c.delay <= _NEAR * period), key=lambda c: (c.area, c.delay))[:sized]
        almost = sorted((c for c in pool if c.delay <= _ALMOST * period), key=lambda c: (c.area, c.delay))[:sized]
        fastest = sorted(pool, key=lambda c: (c.delay, c.area))[: 1 if near else 2]
        tried = {id(c): c for c in (*near, *almost, *([] if almost else fastest))}
        for candidate in tried.values():
            result = size(candidate.netlist, period, around)
            found.append(_Candidate(result.netlist, result.netlist.area(), result.delay_ps, candidate.made))
    tell("size", len(periods), len(periods))
    points = []
    for period in periods:
        met = [c for c in found if c.delay <= period * (1 + 1e-12)]
        best = min(met, key=lambda c: (c.area, c.delay)) if met else min(found, key=lambda c: (c.delay, c.area))
        points.append(Point(period, best.area * 1e6, best.delay, bool(met), *best.made, best.netlist))
    return points


def _targets(periods: Sequence[float], count: int) -> list[float]:
    """Return at most *count* delays from the least period to the greatest, in equal ratios."""
    least, most = periods[0], periods[-1]
    if count == 1 or least == most:
        return [least]
    return [least * (most / least) ** (step / (count - 1)) for step in range(count)]


def _overhead(library: CellLibrary) -> float:
    """Return what a register takes of a period (ps): clock to output into four inverters, and set-up."""
    register = smallest_register(library)
    if register is None:
        return 0.0
    around = Surroundings()
    slew, load = around.slew_ms(library), 4 * around.load_farad(library)
    timing = timing_of(register)
    delays = [table.at(slew, load) for arc in timing.arcs[:1] for table in arc.delays if table is not None]
    setups = [table.at(slew, slew) for pair in timing.setups.values() for table in pair if table is not None]
    return (max(delays, default=0.0) + max(0.0, *setups, 0.0)) * PS


def _check(
    library: CellLibrary,
    periods: Sequence[float],
    variants: Sequence[Mapping[str, int]],
    adders: Sequence[str],
    scripts: Sequence[str],
    targets: int,
    sized: int,
) -> None:
    problems = [
        Problem("periods", f"{period} is no clock period", "give picoseconds above 0")
        for period in periods
        if not (math.isfinite(period) and period > 0)
    ]
    for name, chosen, known in (("adders", adders, ADDERS), ("scripts", scripts, tuple(SCRIPTS))):
        problems += [
            Problem(name, f"{entry!r} is not one of {', '.join(known)}") for entry in chosen if entry not in known
        ]
    empty = (("periods", periods), ("variants", variants), ("adders", adders), ("scripts", scripts))
    problems += [Problem(name, "there are none", "give at least one") for name, chosen in empty if not chosen]
    problems += [
        Problem(name, f"{count} is too few", "give 1 or more")
        for name, count in (("targets", targets), ("sized", sized))
        if count < 1
    ]
    if problems:
        raise OptionError("sweep", problems)
    check_tables(library)
