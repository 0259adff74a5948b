"""Multiplier, offset and shift of a requantiser equal the rounding of rationals at every sum, by every mode."""

import random
from fractions import Fraction

import numpy as np
import pytest

from approxhw.numerics.exact.requantizing import Scaled, fit, roundest
from approxhw.numerics.exact.rounding import MODES, rounded_fraction, rounded_shift


def made(stages, sums, place):
    """What *stages* make of *sums* of element *place*."""
    x = np.array(sums, dtype=object)
    for stage in stages:
        x = rounded_shift(stage.multiplier[place] * x + stage.offset[place], stage.shift, stage.rounding)
        x = np.minimum(np.maximum(x, stage.low), stage.high)
    return x.tolist()


def wanted(element, sums, mode, base, low, high):
    codes = (base + rounded_fraction(mode, element.factor * s + element.shift) for s in sums)
    return [min(max(code, low), high) for code in codes]


def held(elements, mode, base, low, high):
    """The stages that fit *elements*, held against every sum that can be met."""
    stages = fit(elements, mode, base, low, high)
    for place, element in enumerate(elements):
        sums = range(element.least, element.most + 1)
        assert made(stages, sums, place) == wanted(element, sums, mode, base, low, high), (mode, element)
    return stages


def anything(rng):
    factor = rng.choice(
        [Fraction(1, 1 << rng.randint(0, 6)), Fraction(rng.randint(1, 9), rng.randint(1, 24)), Fraction(rng.random())]
    )
    shift = rng.choice([Fraction(0), Fraction(rng.randint(-64, 64), 16), Fraction(rng.gauss(0, 3))])
    least = rng.randint(-80, 40)
    return Scaled(rng.choice([1, 1, -1, 0]) * factor, shift, least, least + rng.randint(0, 90))


@pytest.mark.parametrize("mode", MODES)
def test_every_sum_is_rounded_as_the_rationals_are(mode):
    rng = random.Random(MODES.index(mode))
    for _ in range(60):
        low = rng.choice([0, -8, -1])
        base = 0 if mode in ("to-zero", "from-zero") else rng.choice([0, 1, -low, 3])
        held([anything(rng) for _ in range(rng.randint(1, 3))], mode, base, low, low + rng.choice([1, 3, 15]))


def test_ties_of_a_power_of_two_take_a_rounding_and_no_multiplier():
    sums = Scaled(Fraction(1, 8), Fraction(0), -200, 200)
    (even,) = held([sums], "half-even", 0, -20, 20)
    (odd,) = held([sums], "half-even", 7, -20, 20)
    assert (even.multiplier, even.shift, even.rounding) == ((1,), 3, "half-even")
    assert (odd.multiplier, odd.shift, odd.rounding) == ((1,), 3, "half-odd")


def test_ties_that_nothing_reaches_take_no_rounding():
    (stage,) = held([Scaled(Fraction(1, 8), Fraction(1, 16), -200, 200)], "half-even", 0, -20, 20)
    assert (stage.multiplier, stage.shift, stage.rounding) == ((1,), 3, "floor")
    (clipped,) = held([Scaled(Fraction(1, 8), Fraction(0), 0, 11)], "half-even", 0, 0, 20)
    assert clipped.rounding == "floor"  # one tie alone goes one way


def test_ties_of_a_third_of_a_power_of_two_take_two_stages():
    stages = held([Scaled(Fraction(1, 6), Fraction(0), -90, 90), Scaled(Fraction(3, 7), Fraction(1, 3), -9, 9)],
                  "half-even", 0, -20, 20)  # fmt: skip
    assert [stage.rounding for stage in stages] == ["floor", "half-even"]


def test_one_rise_needs_no_multiplier():
    (stage,) = held([Scaled(Fraction(0.0123), Fraction(0.377), -400, 400)], "half-even", 0, 0, 1)
    assert (stage.multiplier, stage.shift) == ((1,), 0)


def test_wide_codes_are_placed_exactly():
    """65536 codes of sums of 30 bits: held at every rise, and one sum in front of it."""
    element = Scaled(Fraction(float(np.float32(3.1e-4))), Fraction(float(np.float32(17.3))), -(1 << 28), 1 << 28)
    stages = fit([element], "half-even", 0, 0, 65535)
    rises = [int((code - Fraction(1, 2) - element.shift) / element.factor) for code in range(1, 65536, 101)]
    sums = sorted({s + near for s in rises for near in (-1, 0, 1)} | {element.least, element.most})
    assert made(stages, sums, 0) == wanted(element, sums, "half-even", 0, 0, 65535)


def test_signs_need_the_base_zero():
    with pytest.raises(ValueError, match="to-zero of both signs is rounded to codes of base 0"):
        fit([Scaled(Fraction(1, 3), Fraction(0), -9, 9)], "to-zero", 8, 0, 15)


@pytest.mark.parametrize(("ends", "best"), [((3, 9), 8), ((-9, -3), -8), ((-1, 4), 0), ((5, 5), 5), ((33, 47), 40),
                                            ((None, -5), -8), ((5, None), 8), ((None, 5), 0)])  # fmt: skip
def test_the_offset_with_the_most_zeros_is_taken(ends, best):
    assert roundest(*ends) == best
