"""Find the unit of a kind that stays within bounds at every code: of all folds and fits the smallest."""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from approxhw.common.errors import OptionError, Problem, shown
from approxhw.numerics.formats import Fixed

from .bounds import WantedCodes, ulp_error, wanted_codes, wanted_values
from .fit_pieces import fitted_lines, fitted_parabolas
from .fit_ratios import fitted_ratios
from .fit_tables import compressed_tables, entry_bits, table_nodes
from .folding import folds_of
from .formulas import Formula, formula_text
from .units import UNIT_KINDS, ActivationUnit, Core, Differences, Entries, Pieces, unit_faults, unit_values

UnitCost = Callable[[ActivationUnit], float]
"""What a unit costs: the least one is taken."""

TABLES = ("table", "compressed-table")
"""Kinds that make the nearest code everywhere, whatever error is allowed."""

_MOST_TRIED, _OF_LEVELS = 6, 3
"""How many units a cost is asked of: of all, and of tables with so many levels."""

_LADDER = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0)
"""Errors that are tried where one that was asked for is met by nothing."""


@dataclass(frozen=True)
class FittedUnit:
    """A unit, and how far it is at most, over every code, from the values that it was made for: in steps of the result."""

    unit: ActivationUnit
    ulp: float


def fit_activation(
    formula: Formula, x: Fixed, y: Fixed, kind: str = "table", max_ulp: float = 1.0, cost: UnitCost | None = None
) -> FittedUnit:
    """Return a unit of *kind* that makes *formula* of codes of *x* as codes of *y*, at most *max_ulp* steps off at every code.

    The error is counted against float64, over all codes; values beyond *y* are its ends (:func:`wanted_values`). ``cost``: as of
    :func:`fit_within`. Raises :class:`OptionError` with what can be had where no unit of the kind is so near.
    """
    check_kind(kind, max_ulp)
    values = wanted_values(formula, x, y)
    return fit_within(wanted_codes(values, x, y, max_ulp), kind, formula_text(formula), max_ulp, cost)


def check_kind(kind: str, max_ulp: float) -> None:
    """Raise :class:`OptionError` for a kind that is none, and a bound that is none."""
    if found := unit_kind_problems("kind", kind, UNIT_KINDS) + unit_bound_problems("max_ulp", max_ulp):
        raise OptionError("activation unit", found)


def unit_kind_problems(where: str, kind: str, kinds: tuple[str, ...]) -> list[Problem]:
    """Return what is wrong with *kind*, which should be one of *kinds*."""
    return [] if kind in kinds else [Problem(where, f"{shown(kind, 40)!r} is not one of {', '.join(kinds)}")]


def unit_bound_problems(where: str, max_ulp: float) -> list[Problem]:
    """Return what is wrong with *max_ulp*, a number of at least 0."""
    return [] if 0 <= max_ulp < math.inf else [Problem(where, f"{max_ulp} is not a number from 0 on")]  # NaN neither


def fit_within(goal: WantedCodes, kind: str, said: str, max_ulp: float, cost: UnitCost | None = None) -> FittedUnit:
    """Return the cheapest unit of *kind* within the bounds of *goal*; *said*: what it makes, for messages.

    ``cost``: by what the cheapest of :func:`likely_units` is chosen; without it that of least :func:`unit_size`.
    """
    found = list(_candidates(goal, kind))
    if not found:
        best = _best_there_is(goal, kind)
        told = f"the nearest one found is {best:g} steps off: allow {best:g}" if best else "none was found at all"
        why = f"no {kind} unit makes it within {max_ulp:g} steps of {goal.y} from {goal.x}"
        raise OptionError("activation unit", [Problem(said, why, f"{told}, or take a table")])
    found.sort(key=unit_size)
    unit = found[0] if cost is None else min(likely_units(found), key=cost)
    return FittedUnit(unit, ulp_error(unit_values(unit), goal.values))


def likely_units(found: Sequence[ActivationUnit]) -> list[ActivationUnit]:
    """Return those of *found*, by rising :func:`unit_size`, that may be the smallest: six, and of each number of levels three.

    Sizes of tables of few levels and of many are hard to compare; within one number of levels they are in order.
    """
    seen: Counter[int] = Counter()
    likely = []
    for place, unit in enumerate(found):
        levels = len(unit.core.levels) if isinstance(unit.core, Differences) else 0
        seen[levels] += 1
        if place < _MOST_TRIED or (levels and seen[levels] <= _OF_LEVELS):
            likely.append(unit)
    return likely


def _candidates(goal: WantedCodes, kind: str) -> Iterator[ActivationUnit]:
    """Yield units of *kind* within *goal*."""
    x, y = goal.x, goal.y
    if kind in TABLES:  # nothing is lost: a table that could be nearer for nothing is
        nearest = np.clip(np.floor(goal.values + 0.5).astype(np.int64), y.low, y.high)
        goal = replace(goal, low=nearest, high=nearest)
    for fold, low, high in folds_of(goal):
        for core in _FITS[kind](low, high):
            unit = ActivationUnit(x.bits, x.signed, y.bits, y.signed, core, fold)
            # every code is looked at: nothing is taken for granted of the fits
            made = unit_values(unit) if not unit_faults(unit) else None
            if made is not None and (made >= goal.low).all() and (made <= goal.high).all():
                yield unit


_FITS: dict[str, Callable[[np.ndarray, np.ndarray], Iterable[Core]]] = {
    "table": lambda low, high: [Entries(tuple(low.tolist()))],
    "compressed-table": lambda low, high: compressed_tables(low),
    "pwl": fitted_lines,
    "poly": fitted_parabolas,
    "pade": fitted_ratios,
}


def _best_there_is(goal: WantedCodes, kind: str) -> float | None:
    """Return the least error of a ladder of them that a unit of *kind* keeps to, by halves."""

    def met(bound: float) -> bool:
        try:
            nearer = wanted_codes(goal.values, goal.x, goal.y, bound)
        except OptionError:
            return False
        return next(_candidates(nearer, kind), None) is not None

    return next(iter(_LADDER[bisect.bisect_left(_LADDER, True, key=met) :]), None)


def unit_size(unit: ActivationUnit) -> float:
    """Return roughly how large *unit* is: one is a quarter of a multiplexer of one bit, which tables and choices are made of."""
    core, bits, fold = unit.core, unit.core_bits, unit.fold
    cost = 0.0
    if fold is not None:
        cost = 10.0 * bits + 8.0 * bits * max(0, abs(fold.slope).bit_count() - 1) + 2.0 * bits * (fold.most is not None)
    if isinstance(core, Entries):
        return cost + 4.0 * table_nodes(core.values)
    if isinstance(core, Differences):  # what is added goes into the logic of the tables: adders alone cost little
        return cost + 4.0 * (table_nodes(core.coarse) + sum(table_nodes(level.differences) for level in core.levels))
    chosen = len(core.starts) - 1
    if isinstance(core, Pieces):
        widths = [entry_bits(np.array(column)) for column in zip(*core.rows)]
        inner = widths[0] if len(widths) == 2 else max(widths[0] + bits, widths[1]) - core.shifts[0]
        products = 7.0 * bits * (widths[0] + (inner if len(widths) == 3 else 0))
        return cost + products + chosen * (bits + sum(widths)) + 5.0 * sum(widths[1:])
    above, below = (
        [entry_bits(np.array(column)) for column in zip(*rows)] for rows in (core.numerators, core.denominators)
    )
    products = 7.0 * bits * (sum(above[:-1]) + sum(below[:-1]) + bits * (len(above) + len(below) - 4))
    divider = 9.0 * unit.out_bits * (below[-1] + 2)
    return cost + products + divider + chosen * (bits + sum(above) + sum(below))
