"""What a unit has to make: the values of a function at every code in steps of the result, and the codes that are near enough."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from approxhw.common.errors import OptionError, Problem
from approxhw.numerics.formats import Fixed

from .formulas import Formula, formula_text, formula_values
from .units import MOST_UNIT_BITS


@dataclass(frozen=True, eq=False)
class WantedCodes:
    """For every code of ``x``, ascending: ``values``, float64, on the scale of the codes of ``y`` and within its ends.

    ``low``, ``high`` (int64): the least and greatest code that are near enough.
    """

    x: Fixed
    y: Fixed
    values: np.ndarray
    low: np.ndarray
    high: np.ndarray


def wanted_values(formula: Formula, x: Fixed, y: Fixed) -> np.ndarray:
    """Return *formula* at every code of *x*, ascending, on the scale of the codes of *y* (float64).

    What lies beyond the ends of *y* is the end, infinity too; where the function is not defined, such as a logarithm below 0,
    it is what the nearest code has where it is. Raises :class:`OptionError` for codes of more than 16 bits, and where it is
    defined nowhere.
    """
    wide = [(name, fmt) for name, fmt in (("x", x), ("y", y)) if fmt.bits > MOST_UNIT_BITS]
    if wide:
        why = f"every code is looked at, so that a unit reads and makes at most {MOST_UNIT_BITS} bits"
        raise OptionError("activation unit", [Problem(name, f"{fmt}: {why}", "take fewer") for name, fmt in wide])
    codes = np.arange(x.low, x.high + 1)
    found = formula_values(formula, (codes - x.zero) * float(x.scale)) * float(1 / y.scale) + y.zero
    sound = np.flatnonzero(~np.isnan(found))
    if not len(sound):
        why = f"it is not defined at any of the {len(codes)} codes of {x}"
        raise OptionError("activation unit", [Problem(formula_text(formula), why, "take another scale or zero point")])
    after = np.minimum(np.searchsorted(sound, np.arange(len(codes))), len(sound) - 1)
    before = np.maximum(after - 1, 0)
    nearer = np.abs(sound[before] - np.arange(len(codes))) <= np.abs(sound[after] - np.arange(len(codes)))
    filled: np.ndarray = found[
        np.where(np.isnan(found), np.where(nearer, sound[before], sound[after]), np.arange(len(codes)))
    ]
    return np.clip(filled, y.low, y.high)


def wanted_codes(values: np.ndarray, x: Fixed, y: Fixed, max_ulp: float) -> WantedCodes:
    """Return what is near enough to *values* (as of :func:`wanted_values`): at most *max_ulp* steps of *y* away, and in it.

    Raises :class:`OptionError` where *max_ulp* leaves no code near a value, which half a step never does.
    """
    low = np.maximum(np.ceil(values - max_ulp), y.low).astype(np.int64)
    high = np.minimum(np.floor(values + max_ulp), y.high).astype(np.int64)
    if (low > high).any():
        best = float(np.abs(values - np.rint(values)).max())
        why = f"no table is so near: the nearest codes are up to {best:.3g} steps of {y} away"
        # rounded up, so that what is advised works
        raise OptionError("activation unit", [Problem("max_ulp", f"{max_ulp:g}: {why}", f"allow {_up(best):g}")])
    return WantedCodes(x, y, values, low, high)


def ulp_error(made: np.ndarray, values: np.ndarray) -> float:
    """Return how far the codes *made* are from *values* at most, in steps: units of the last place."""
    return float(np.abs(made - values).max())


def _up(value: float) -> float:
    """Return *value* rounded up to three places."""
    return math.ceil(value * 1000) / 1000
