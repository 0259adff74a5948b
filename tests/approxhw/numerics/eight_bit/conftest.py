"""A second writing of the four 8-bit codes, from the published lists and in exact fractions: what the first is held to."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import numpy as np
import pytest

STATIC = (
    "1", "1.4375", "1.875", "2.3125", "2.75", "3.1875", "3.625", "4.0625",
    "4.5", "5.175", "5.85", "6.525", "7.2", "7.875", "8.55", "9.225",
)  # fmt: skip


def listed(kind: str) -> list[Fraction]:
    """Return the magnitude of each of 128 codes, as the reference lists them; static and mantissa codes as they are."""
    if kind == "linear8":
        return [Fraction(i, 127) for i in range(128)]
    if kind == "mantissa8":
        return [Fraction(m * 10**e, 10**6) for e in range(8) for m in range(16)]
    if kind == "static8":
        values = [Fraction(leaf) * 10**e / 10**6 for e in range(8) for leaf in STATIC]
        return [Fraction(0), *values[1:]]
    values = [Fraction(0), Fraction(1), *[Fraction(-1)] * 126]
    for n in range(6):
        unit, cells = Fraction(1, 10**n), 2 ** (5 - n)
        for half, (low, high) in enumerate(((Fraction(1, 10), Fraction(45, 100)), (Fraction(45, 100), Fraction(1)))):
            for cell in range(cells):
                bits = "0" * n + "1" + f"{half}" + (f"{cell:0{5 - n}b}" if n < 5 else "")
                assert len(bits) == 7
                values[int(bits, 2)] = unit * (low + (high - low) * (2 * cell + 1) / (2 * cells))
    return values


class Search:
    """Nearest code by looking at all 128 magnitudes, on whole numbers: nothing is rounded."""

    def __init__(self, kind: str, fixed: bool) -> None:
        values = listed(kind)
        top = Fraction(1) if fixed else max(values)
        self.magnitudes = [value / top for value in values]
        first = {}
        for code, value in enumerate(self.magnitudes):
            first.setdefault(value, code)
        self.unit = int(np.lcm.reduce([value.denominator for value in first], dtype=object))
        self.choices = [(code, int(value * self.unit)) for value, code in first.items()]
        self.ties = 0

    def code(self, x: np.float32, maximum: np.float32) -> int:
        """Return the code of x / maximum."""
        if maximum == 0:
            return 0
        (a, b), (c, d) = abs(float(x)).as_integer_ratio(), float(maximum).as_integer_ratio()
        size, scale = a * d * self.unit, b * c
        distances = [(abs(size - number * scale), code & 1, number, code) for code, number in self.choices]
        nearest = min(distances)
        self.ties += sum(distance[0] == nearest[0] for distance in distances) - 1
        return nearest[3] | 128 if nearest[3] and x < 0 else nearest[3]


@pytest.fixture(scope="session")
def search():
    """Return the exhaustive search of a kind of code; one each is made."""
    return cache(lambda kind, fixed=False: Search(kind, fixed))


@pytest.fixture(scope="session")
def near_borders():
    """Return a maker of float32 quotients' numerators next to every border times a maximum: two steps down to two up."""

    def make(fmt, maximum: float) -> np.ndarray:
        at = [np.float32(float(border * Fraction(float(maximum)))) for border, _ in fmt.tables.exact]
        words = np.array(at, dtype=np.float32).view(np.int32)
        around = np.concatenate([words + step for step in (-2, -1, 0, 1, 2)]).astype(np.int32).view(np.float32)
        around = around[np.isfinite(around) & (around >= 0)]
        if fmt.maximum != "fixed":
            around = around[around <= np.float32(maximum)]
        return np.concatenate([around, -around])

    return make
