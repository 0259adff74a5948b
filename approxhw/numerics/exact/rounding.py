"""How a rational becomes an integer: the rounding modes of quantisers, and those that a circuit carries out behind a shift."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

MODES = ("floor", "ceil", "half-even", "half-odd", "half-from-zero", "half-to-zero", "to-zero", "from-zero")
"""``half-…``: to the nearest integer, exact halves as the rest of the name says. ``from-zero``: away from 0, unless whole."""

SHIFTED = ("floor", "half-even", "half-odd", "to-zero", "from-zero")
"""Modes that a ``Requantize`` has; an offset makes ``ceil`` and halves up or down of ``floor``."""


def least_for(mode: str, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (h, strict) of each code: a rational r rounds to it or more where r ≥ h / 2, or where r > h / 2 if *strict*."""
    zero = codes * 0
    half: np.ndarray
    if mode == "floor":
        half, strict = 2 * codes, zero != 0
    elif mode == "ceil":
        half, strict = 2 * codes - 2, zero == 0
    elif mode == "half-even":
        half, strict = 2 * codes - 1, codes % 2 == 1
    elif mode == "half-odd":
        half, strict = 2 * codes - 1, codes % 2 == 0
    elif mode == "half-from-zero":
        half, strict = 2 * codes - 1, codes <= 0
    elif mode == "half-to-zero":
        half, strict = 2 * codes - 1, codes > 0
    elif mode == "to-zero":
        half, strict = np.where(codes > 0, 2 * codes, 2 * codes - 2), codes <= 0
    elif mode == "from-zero":
        half, strict = np.where(codes > 0, 2 * codes - 2, 2 * codes), codes > 0
    else:
        raise ValueError(f"there is no rounding mode {mode!r}; there are {', '.join(MODES)}")
    return half, strict.astype(bool)


def rounded_fraction(mode: str, value: Fraction) -> int:
    """Return *value* as an integer, rounded by *mode*."""
    low = math.floor(value)
    halves, strict = least_for(mode, np.array([low + 1], dtype=object))
    edge = Fraction(halves[0], 2)
    return low + (value > edge if strict[0] else value >= edge)


def targets(mode: str, shift: int, codes: np.ndarray) -> np.ndarray:
    """Return the least integer v of each code with v / 2^shift rounded to it or more by *mode*."""
    half, strict = least_for(mode, codes)
    strict = strict.astype(half.dtype)
    if shift:
        return (half << (shift - 1)) + strict
    return (half + 1 + strict * (1 - half % 2)) // 2


def rounded_shift(v: np.ndarray, shift: int, mode: str) -> np.ndarray:
    """Return v / 2^shift, rounded by *mode* of :data:`SHIFTED`; v: int64, Python integers, or whole float64 below 2^52."""
    if v.dtype == np.float64:
        return rounded_floats(v * 0.5**shift, mode)
    if not shift or mode == "floor":
        return v >> shift
    if mode in ("to-zero", "from-zero"):
        below = (v < 0) if mode == "to-zero" else (v > 0)
        return (v + np.where(below, (1 << shift) - 1, 0).astype(v.dtype)) >> shift
    raised = v + (1 << (shift - 1))
    ties = (raised & ((1 << shift) - 1)) == 0
    near = raised >> shift
    odd = (near & 1) == 1
    # at a tie, `near` is the upper of both neighbours
    return near - np.where(ties & (odd if mode == "half-even" else ~odd), 1, 0).astype(v.dtype)


def rounded_floats(q: np.ndarray, mode: str) -> np.ndarray:
    """Return *q* (float64) as whole numbers, rounded by *mode*."""
    whole: np.ndarray
    match mode:
        case "floor":
            whole = np.floor(q)
        case "ceil":
            whole = np.ceil(q)
        case "half-even":
            whole = np.rint(q)
        case "half-odd":
            whole = np.rint(q - 1) + 1  # even neighbours of q − 1 are odd ones of q
        case "to-zero":
            whole = np.trunc(q)
        case "from-zero":
            whole = np.copysign(np.ceil(np.abs(q)), q)
        case "half-from-zero":
            whole = np.trunc(q) + np.copysign(np.abs(q - np.trunc(q)) >= 0.5, q)
        case "half-to-zero":
            whole = np.trunc(q) + np.copysign(np.abs(q - np.trunc(q)) > 0.5, q)
        case _:
            raise ValueError(f"there is no rounding mode {mode!r}; there are {', '.join(MODES)}")
    return whole
