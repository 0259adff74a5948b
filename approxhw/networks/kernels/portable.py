"""Exponential, logarithm and random numbers for kernels: the same bits on every machine, from + − × ÷ in a fixed order."""

from __future__ import annotations

import numba
import numpy as np

_MAGIC = 6755399441055744.0  # 1.5 · 2^52: adding it leaves the nearest integer in the low bits
_LOG2E = 1.4426950408889634
LN2 = 0.6931471805599453


@numba.njit(cache=True, nogil=True, error_model="numpy")
def exponentials(x: np.ndarray, bits: np.ndarray, result: np.ndarray) -> None:
    """Fill *result* with e^x for every *x* (−700…0, clipped); *bits*: scratch, float64."""
    words = bits.view(np.int64)
    for r in range(x.size):
        y = max(x[r], -700.0) * _LOG2E
        bits[r] = y + _MAGIC
        f = (y - (bits[r] - _MAGIC)) * LN2
        p = 1.0 + f * (1.0 / 9.0) * (1.0 + f * 0.1)
        p = 1.0 + f * 0.125 * p
        p = 1.0 + f * (1.0 / 7.0) * p
        p = 1.0 + f * (1.0 / 6.0) * p
        p = 1.0 + f * 0.2 * p
        p = 1.0 + f * 0.25 * p
        p = 1.0 + f * (1.0 / 3.0) * p
        p = 1.0 + f * 0.5 * p
        result[r] = 1.0 + f * p
    for r in range(x.size):
        words[r] = (words[r] + 1023) << 52  # the integer is the exponent of a power of two
    for r in range(x.size):
        result[r] *= bits[r]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def exponential(x: float) -> float:
    """Return e^x for −700 < x < 700."""
    one, bits = np.zeros(1), np.zeros(1)
    one[0] = -abs(x)
    exponentials(one, bits, one)
    return one[0] if x < 0.0 else 1.0 / one[0]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def natural_log(x: float) -> float:
    """Return ln x for x ≥ 1."""
    whole = 0
    while x >= 2.0:
        x *= 0.5
        whole += 1
    z = (x - 1.0) / (x + 1.0)
    square = z * z
    total, k = 0.0, 27
    while k > 0:
        total = total * square + 1.0 / k
        k -= 2
    return whole * LN2 + 2.0 * z * total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def random_bits(state: np.ndarray) -> np.uint64:
    """Return 64 random bits (SplitMix64); *state*: uint64, one element."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def below(state: np.ndarray, count: int) -> np.int64:
    """Return a random integer in 0…count − 1 (count < 2^32; the bias of 2^-32 is of no matter here)."""
    return np.int64(((random_bits(state) >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32))
