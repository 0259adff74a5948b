"""Small integers order sums as the rationals behind them do: every pair of sums, ties included."""

import random
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest

from approxhw.numerics.exact import order
from approxhw.numerics.exact.order import Ranged, order_alike


def held(classes):
    """Multipliers and offsets of *classes*, held against the rationals at every pair of sums."""
    multipliers, offsets = order_alike(classes)
    for i, j in combinations(range(len(classes)), 2):
        a, b = classes[i], classes[j]
        x, y = (np.arange(c.least, c.most + 1).astype(object) for c in (a, b))
        real = (a.scale * x + a.shift)[:, None] >= (b.scale * y + b.shift)[None, :]
        whole = (multipliers[i] * x + offsets[i])[:, None] >= (multipliers[j] * y + offsets[j])[None, :]
        assert (real == whole).all(), classes
    return multipliers, offsets


def anything(rng, scale):
    size = scale or rng.choice(
        [Fraction(1, 1 << rng.randint(0, 4)), Fraction(rng.randint(1, 9), 7), Fraction(rng.random())]
    )
    sign = rng.choice([1] * 8 + [-1, 0])
    shift = rng.choice([Fraction(0), Fraction(rng.randint(-16, 16), 16), size * Fraction(rng.randint(-40, 40), 4)])
    least = rng.randint(-12, 6)
    return Ranged(sign * size, shift, least, least + rng.randint(0, 15))


@pytest.mark.parametrize("equal", [True, False])
def test_random_classes_are_ordered_alike(equal):
    rng = random.Random(equal)
    ones = 0
    for _ in range(150):
        scale = Fraction(rng.randint(1, 5), 8) if equal else None
        multipliers, _ = held([anything(rng, scale) for _ in range(rng.randint(2, 4))])
        ones += max(map(abs, multipliers)) <= 1
    assert ones > (80 if equal else 10)


def test_multiplier_1_is_taken_where_it_does():
    """The fractions fall with the index: the floor of each says all."""
    shifts = [Fraction(3, 4), Fraction(7, 2), Fraction(1, 4)]
    assert held([Ranged(Fraction(1), shift, -5, 5) for shift in shifts]) == ((1, 1, 1), (0, 3, 0))
    assert held([Ranged(Fraction(1), Fraction(s, 8), -5, 5) for s in (1, 3, 5)])[0] == (2, 2, 2)
    assert held([Ranged(Fraction(1), Fraction(s, 8), -5, 5) for s in (1, 2, 3, 4, 5)])[0] == (4,) * 5


def test_two_classes_of_one_scale_never_need_more_than_1():
    for a, b in ((0, 1), (1, 0), (-1, 5), (3, 3)):
        assert held([Ranged(Fraction(1, 3), Fraction(v, 12), -9, 9) for v in (a, b)])[0] == (1, 1)


def test_what_never_meets_is_not_told_apart():
    """Ranges that leave no doubt free the offsets: fractions that would need a multiplier do not."""
    apart = [Ranged(Fraction(1), Fraction(s, 8), low, low + 3) for s, low in ((1, 0), (3, 40), (5, 80))]
    assert held(apart)[0] == (1, 1, 1)


def test_wide_sums_of_scales_of_their_own_are_ordered_in_no_time():
    scales = [Fraction(float(np.float32(v))) for v in (0.0021, 0.0035, 0.0077)]
    classes = [Ranged(scale, Fraction(k, 3), -(1 << 21), 1 << 21) for k, scale in enumerate(scales)]
    multipliers, offsets = order_alike(classes)
    rng = random.Random(5)
    assert max(multipliers) < 1 << 27
    for i, j in combinations(range(3), 2):
        a, b = classes[i], classes[j]
        for _ in range(300):
            x = rng.randint(a.least, a.most)
            near = int((a.scale * x + a.shift - b.shift) / b.scale)  # where the two are as good as equal
            for y in (near - 1, near, near + 1):
                real = a.scale * x + a.shift >= b.scale * y + b.shift
                assert not b.least <= y <= b.most or (
                    real == (multipliers[i] * x + offsets[i] >= multipliers[j] * y + offsets[j])
                )


def test_more_classes_than_are_searched_take_the_common_denominator(monkeypatch):
    monkeypatch.setattr(order, "MOST_CLASSES", 2)
    classes = [Ranged(Fraction(1, 6), Fraction(k, 4), 0, 9) for k in range(3)]
    assert held(classes) == ((2, 2, 2), (0, 3, 6))


def test_the_greatest_of_a_line_and_a_floor_is_found():
    rng = random.Random(1)
    for _ in range(1500):
        n, p, q, d = rng.randint(1, 12), rng.randint(0, 9), rng.randint(-20, 20), rng.randint(1, 9)
        u, v = rng.randint(-6, 6), rng.randint(-6, 6)
        assert order._greatest(n, p, q, d, u, v) == max(u * x + v * ((p * x + q) // d) for x in range(n))
