"""Sums to codes of another scale as integer hardware does it: a multiplier of 31 bits, a shift, halves to even, a clip."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

MULTIPLIER_BITS, SHIFT_BITS, CODE_BITS = 31, 6, 9
"""Bits of a multiplier and of a shift, both unsigned, and of a zero point or limit: two's complement, so int8 and uint8 fit."""


def requantized(
    sums: np.ndarray,
    bias: np.ndarray | int,
    multiplier: np.ndarray | int,
    shift: np.ndarray | int,
    zero: np.ndarray | int,
    low: np.ndarray | int,
    high: np.ndarray | int,
) -> np.ndarray:
    """Return clip(round_half_even((sums + bias) · multiplier / 2^shift) + zero, low, high), int64, for all products of 63 bits.

    Constants are one for all, or one a column (the last axis of *sums*). Raises ``ValueError`` for a constant out of range,
    and where a sum with its bias leaves 32 bits of two's complement.
    """
    total, m, s, z, lo, hi = (np.asarray(each, np.int64) for each in (sums + bias, multiplier, shift, zero, low, high))
    check_rescaling(total, m, s, z, lo, hi)
    product = total * m
    floor = product >> s
    rest = product - (floor << s)
    half = np.where(s > 0, np.int64(1) << np.maximum(s - 1, 0), 1)  # nothing is lost by a shift of 0
    up = (rest > half) | ((rest == half) & (floor % 2 == 1))
    made: np.ndarray = np.clip(floor + up + z, lo, hi)
    return made


def check_rescaling(
    total: np.ndarray, m: np.ndarray, s: np.ndarray, z: np.ndarray, lo: np.ndarray, hi: np.ndarray
) -> None:
    """Raise ``ValueError`` for a sum with its bias, a multiplier, shift, zero point or limit that is out of range."""
    reach = 1 << (CODE_BITS - 1)
    for name, given, least, most in (
        ("multiplier", m, 0, (1 << MULTIPLIER_BITS) - 1),
        ("shift", s, 0, (1 << SHIFT_BITS) - 1),
        ("zero", z, -reach, reach - 1),
        ("low", lo, -reach, reach - 1),
        ("high", hi, -reach, reach - 1),
        ("a sum with its bias", total, -(1 << 31), (1 << 31) - 1),
    ):
        if given.size and (int(given.min()) < least or int(given.max()) > most):
            raise ValueError(f"{name} is not from {least} to {most}: {int(given.min())} to {int(given.max())}")
    if (lo > hi).any():
        raise ValueError("low is above high")


def requantized_sum(total: int, multiplier: int, shift: int, zero: int, low: int, high: int) -> int:
    """Return the code of one sum with its bias: the plain reference, on rationals."""
    return min(max(round(Fraction(total * multiplier, 1 << shift)) + zero, low), high)  # round: halves to even


def fixed_point_multiplier(real: Fraction | float) -> tuple[int, int]:
    """Return (multiplier, shift) with multiplier / 2^shift nearest to *real*, multiplier from 2^30 to 2^31 - 1.

    What is below 2^-33 becomes 2^-33: any 32-bit sum times either is below half, 0. Raises ``ValueError`` for what is not
    above 0 and below 2^31 - 1.
    """
    if isinstance(real, float) and not math.isfinite(real):
        raise ValueError(f"{real} is no factor of a requantisation")
    exact, top = Fraction(real), (1 << MULTIPLIER_BITS) - 1
    if not 0 < exact <= top:
        raise ValueError(f"a factor of {float(exact):.4g} is not above 0 and at most 2^31 - 1")
    most = (1 << SHIFT_BITS) - 1
    shift = most
    while shift and round(exact * (1 << shift)) > top:
        shift -= 1
    return max(round(exact * (1 << shift)), 1 << (MULTIPLIER_BITS - 1)), shift
