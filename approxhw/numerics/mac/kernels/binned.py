"""Exact matrix products of 8-bit floating-point numbers, rounded once: what binned sums yield, by products of whole matrices.

A sum of bins is the exact sum, whatever the bins; so a product of matrices in float64 does, where it is exact. Numbers are cut in
two, of 16 bits at most each, so that every partial product is; three parts are then added without an error and rounded once.
"""

from __future__ import annotations

import numpy as np

from approxhw.numerics.mac.binned_mac import BinnedMac, check_chain
from approxhw.numerics.mac.float_mac import Result

from .codes import from_codes, to_codes


def binned_matmul(a: np.ndarray, b: np.ndarray, mac: BinnedMac, *, result: Result = "float32") -> np.ndarray:
    """Return a · b, float32 M × N, each element the exact sum of its products, rounded once; bf16 numbers as float32.

    *a*: M × K, *b*: K × N, read as float32 and rounded to *mac*'s format first. Raises ``ValueError`` where shapes do not
    fit, or K is more than the bins hold.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise ValueError(f"a matrix product needs M × K and K × N, not {a.shape} and {b.shape}")
    check_chain(mac, a.shape[1])
    x, y = (from_codes(to_codes(each, mac.format), mac.format).astype(np.float64) for each in (a, b))
    (xh, xl), (yh, yl) = _halves(x), _halves(y)
    made = _rounded_once(xh @ yh, xh @ yl + xl @ yh, xl @ yl, 7 if result == "bf16" else 23)
    odd = (~np.isfinite(x)).sum(axis=1)[:, None] + (~np.isfinite(y)).sum(axis=0) > 0
    if odd.any():
        with np.errstate(invalid="ignore"):
            special = x @ y
        made = np.where(np.isinf(special) & odd, special, np.where(np.isnan(special), np.nan, made))
    return made.astype(np.float32)


def _halves(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return whole numbers and what is left of finite numbers, 0 for others."""
    finite = np.where(np.isfinite(x), x, 0.0)
    whole = np.trunc(finite)
    return whole, finite - whole


def _two_sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rounded sum and its error (Knuth)."""
    total = a + b
    other = total - a
    return total, (a - (total - other)) + (b - other)


def _rounded_once(high: np.ndarray, middle: np.ndarray, low: np.ndarray, bits: int) -> np.ndarray:
    """Return the sum of three, rounded half to even to so many fraction bits, float64.

    Rounded to odd at first: the last bit of the float64 then stands for all that is below, and the second rounding is right.
    """
    total, error = _two_sum(high, middle)
    error, rest = _two_sum(error, low)
    total, error = _two_sum(total, error)
    below = error + rest  # its sign is exact
    words = np.ascontiguousarray(total).view(np.int64).copy()
    even = (words & 1) == 0
    away = np.sign(below) * np.sign(total) > 0
    words += np.where((below != 0) & even, np.where(away, 1, -1), 0)
    if bits == 7:
        spare = np.int64(52 - bits)
        half = np.int64(1) << (spare - 1)
        words = (words + half - 1 + ((words >> spare) & 1)) >> spare << spare
    return words.view(np.float64)
