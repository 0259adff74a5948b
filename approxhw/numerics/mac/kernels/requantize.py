"""Sums to codes of another scale, element by element in one pass: the fast form of ``numerics.exact.fixed_point``."""

from __future__ import annotations

import numpy as np
from numba import vectorize

from approxhw.numerics.exact.fixed_point import check_rescaling


@vectorize(["int64(int64, int64, int64, int64, int64, int64)"], cache=True)  # type: ignore[untyped-decorator]
def _requantize(total: int, multiplier: int, shift: int, zero: int, low: int, high: int) -> int:
    product = total * multiplier
    floor = product >> shift
    rest = product - (floor << shift)
    half = 1 << (shift - 1) if shift > 0 else 1  # nothing is lost by a shift of 0
    if rest > half or (rest == half and floor & 1):
        floor += 1
    code = floor + zero
    return min(max(code, low), high)


def requantized_fast(
    sums: np.ndarray, multiplier: np.ndarray, shift: np.ndarray, zero: int, low: int, high: int
) -> np.ndarray:
    """Return what :func:`approxhw.numerics.exact.fixed_point.requantized` does of *sums* (int32) without a bias: int64.

    Constants broadcast against *sums*. Raises ``ValueError`` as that does.
    """
    whole = sums.astype(np.int64, copy=False)
    constants = [np.asarray(each, np.int64) for each in (multiplier, shift, zero, low, high)]
    check_rescaling(whole, *constants)
    made: np.ndarray = _requantize(whole, *constants)
    return made
