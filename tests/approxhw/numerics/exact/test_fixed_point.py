"""Requantisation by multiplier and shift: arrays equal rationals at ties, ends and every shift; multipliers that are nearest."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from approxhw.numerics.exact.fixed_point import fixed_point_multiplier, requantized, requantized_sum
from approxhw.numerics.mac.kernels.requantize import requantized_fast

RNG = np.random.default_rng(31)


def test_arrays_equal_rationals_for_every_shift():
    """64 shifts, of each 60 sums: ties and their neighbours, both ends of 32 bits, at random."""
    compared = 0
    for shift in range(64):
        multiplier = np.array([0, 1, 3, 1 << 30, (1 << 31) - 1, int(RNG.integers(1 << 31))])
        half = (1 << shift) // 2 if shift else 1
        sums = np.array([0, 1, -1, -(1 << 31), (1 << 31) - 1, half, -half, 3 * half, half + 1, 5 * half - 1])
        sums = np.clip(sums, -(1 << 31), (1 << 31) - 1)[:, None] + np.zeros(6, np.int64)
        zero, low, high = RNG.integers(-256, 256, 6), RNG.integers(-256, 1, 6), RNG.integers(0, 256, 6)
        found = requantized(sums, 0, multiplier, shift, zero, low, high)
        fast = requantized_fast(sums, multiplier, np.array(shift), zero, low, high)
        assert np.array_equal(fast, found)
        assert fast.dtype == found.dtype
        for m, n in np.ndindex(sums.shape):
            args = (sums[m, n], multiplier[n], shift, zero[n], low[n], high[n])
            assert found[m, n] == requantized_sum(*map(int, args)), args
            compared += 1
    assert compared == 64 * 60


def test_ties_by_hand():
    found = requantized(np.array([[1, 3, 5, -1, -3, -5]]), 0, 1 << 30, 31, 0, -128, 127)
    assert found.tolist() == [[0, 2, 2, 0, -2, -2]]
    assert requantized(np.array([200]), -100, 3 << 29, 30, 10, -128, 127).tolist() == [127]
    assert requantized_sum(100, 3 << 29, 30, 10, -128, 255) == 160


@pytest.mark.parametrize("real", [1, 0.5, 1 / 3, Fraction(2, 3), 3e-9, 2.0**-33, 1e-12, 12345.678, (1 << 31) - 1])
def test_a_multiplier_is_the_nearest_of_31_bits(real):
    multiplier, shift = fixed_point_multiplier(real)
    assert 1 << 30 <= multiplier < 1 << 31
    exact = Fraction(real)
    if exact >= Fraction(1, 1 << 33):
        assert abs(Fraction(multiplier, 1 << shift) - exact) <= Fraction(1, 2 << shift)
    else:  # whatever the sum, both are below half
        assert [requantized_sum(s, multiplier, shift, 7, -99, 99) for s in (-(1 << 31), (1 << 31) - 1)] == [7, 7]


def test_what_rounds_up_to_a_power_of_two_takes_a_shift_less():
    assert fixed_point_multiplier(Fraction((1 << 32) - 1, 1 << 32)) == (1 << 30, 30)


@pytest.mark.parametrize("real", [0, -0.5, 2.0**31, float("nan"), float("inf")])
def test_factors_that_are_none(real):
    with pytest.raises(ValueError, match=r"a factor of .* is not above 0|is no factor of a requantisation"):
        fixed_point_multiplier(real)


@pytest.mark.parametrize(("change", "words"), [
    ({"multiplier": 1 << 31}, "multiplier is not from 0 to 2147483647"),
    ({"shift": 64}, "shift is not from 0 to 63"),
    ({"zero": 256}, "zero is not from -256 to 255"),
    ({"low": 5, "high": 4}, "low is above high"),
    ({"bias": 1 << 31}, "a sum with its bias is not from -2147483648 to 2147483647"),
])  # fmt: skip
def test_constants_out_of_range(change, words):
    given = {"bias": 0, "multiplier": 1, "shift": 0, "zero": 0, "low": -1, "high": 1} | change
    with pytest.raises(ValueError, match=words):
        requantized(np.array([0, 1]), **given)
