"""Rounding modes: what each says in plain Python, on integers behind a shift and on floats alike."""

import math
from fractions import Fraction

import numpy as np
import pytest

from approxhw.numerics.exact.rounding import (
    MODES,
    SHIFTED,
    least_for,
    rounded_floats,
    rounded_fraction,
    rounded_shift,
    targets,
)

HALF = Fraction(1, 2)
PLAIN = {
    "floor": math.floor,
    "ceil": math.ceil,
    "half-even": round,
    "half-odd": lambda q: round(q - 1) + 1,
    "half-from-zero": lambda q: math.floor(abs(q) + HALF) * (1 if q > 0 else -1),
    "half-to-zero": lambda q: math.ceil(abs(q) - HALF) * (1 if q > 0 else -1),
    "to-zero": math.trunc,
    "from-zero": lambda q: math.ceil(abs(q)) * (1 if q > 0 else -1),
}
QUARTERS = [Fraction(v, 4) for v in range(-20, 21)]


@pytest.mark.parametrize("mode", MODES)
def test_a_fraction_rounds_as_its_mode_says(mode):
    expected = [PLAIN[mode](q) for q in QUARTERS]
    assert [rounded_fraction(mode, q) for q in QUARTERS] == expected
    assert rounded_floats(np.array(QUARTERS, dtype=np.float64), mode).tolist() == expected
    codes = np.arange(-6, 7)
    half, strict = least_for(mode, codes)
    for code, h, after in zip(codes.tolist(), half.tolist(), strict.tolist(), strict=True):
        reached = [q for q in QUARTERS if PLAIN[mode](q) >= code]
        assert reached == [q for q in QUARTERS if (2 * q > h if after else 2 * q >= h)]


@pytest.mark.parametrize("mode", SHIFTED)
@pytest.mark.parametrize("dtype", [np.int64, object, np.float64])
def test_a_shift_rounds_as_its_mode_says(mode, dtype):
    values = np.arange(-70, 71).astype(dtype)
    for shift in range(6):
        expected = [PLAIN[mode](Fraction(v, 1 << shift)) for v in range(-70, 71)]
        assert rounded_shift(values, shift, mode).tolist() == expected
        codes = np.arange(-3, 4)
        least = [min(v for v in range(-300, 300) if PLAIN[mode](Fraction(v, 1 << shift)) >= code) for code in codes]
        assert targets(mode, shift, codes).tolist() == least
    wide = np.array([(1 << 70) + 6, -(1 << 70) - 6], dtype=object)
    assert rounded_shift(wide, 2, mode).tolist() == [PLAIN[mode](Fraction(v, 4)) for v in wide.tolist()]


def test_other_modes_are_refused():
    for call in (lambda: rounded_fraction("up", HALF), lambda: rounded_floats(np.ones(1), "up")):
        with pytest.raises(ValueError, match="there is no rounding mode 'up'; there are floor, ceil, half-even"):
            call()
