"""Sums of an integer engine as codes of the next layer: times a fixed-point multiplier, rounded to even, shifted, clipped."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

MULTIPLIER_BITS = 31
"""Bits of a multiplier: 2^30 to 2^31 − 1, so that its error is at most 2^-31 of it."""

MOST_SHIFT = 62
"""Greatest shift; a scale below 2^-32 makes the zero point of every sum."""


def fixed_point_multiplier(scale: float | Fraction) -> tuple[int, int]:
    """Return (multiplier, shift) with multiplier / 2^shift nearest to *scale*, and the multiplier of 31 bits.

    Where the shift would be more than ``MOST_SHIFT``, the multiplier is shorter. Raises ``ValueError`` for scales that are no
    finite number above 0, and for those from 2^31 on.
    """
    exact = Fraction(scale) if math.isfinite(scale) else Fraction(0)
    if not 0 < exact < 1 << MULTIPLIER_BITS:
        raise ValueError(f"no fixed-point multiplier stands for {float(scale)!r}")
    exponent = math.frexp(float(exact))[1]  # exact lies in [2^(exponent - 1), 2^exponent]
    shift = min(MULTIPLIER_BITS - exponent, MOST_SHIFT)
    multiplier = round(exact * (1 << shift)) if shift >= 0 else 0
    if multiplier >> MULTIPLIER_BITS:
        shift -= 1
        multiplier = round(exact * (1 << shift)) if shift >= 0 else 0
    if shift < 0:
        raise ValueError(f"no fixed-point multiplier stands for {float(scale)!r}")
    return multiplier, shift


def rescaled(
    sums: np.ndarray, multiplier: np.ndarray | int, shift: np.ndarray | int, zero: int, low: int, high: int
) -> np.ndarray:
    """Return min(max(round(sums · multiplier / 2^shift) + zero, low), high), halves to the even neighbour, as int64.

    *sums*: integers of at most 32 bits, any shape; *multiplier* (31 bits) and *shift* (0 to 62): one, or arrays that broadcast.
    Nothing overflows: a product has 62 bits and a sign.
    """
    factor, places = np.asarray(multiplier, np.int64), np.asarray(shift, np.int64)
    one = np.ones((), np.int64)
    raised = sums.astype(np.int64) * factor + np.where(places > 0, one << np.maximum(places - 1, 0), 0)
    near = raised >> places
    ties = (places > 0) & ((raised & ((one << places) - 1)) == 0)
    near -= ties & (near & 1)
    found: np.ndarray = np.clip(near + zero, low, high)
    return found


def rescaled_one(total: int, multiplier: int, shift: int, zero: int, low: int, high: int) -> int:
    """Return the same of one sum, in fractions: the reference of every faster form."""
    near = round(Fraction(total * multiplier, 1 << shift))  # Python rounds halves to even
    return min(max(near + zero, low), high)
