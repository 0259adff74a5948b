"""Units: NumPy equals the plain reference code by code, words give back the unit, and what is none is refused in words."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from approxhw.numerics.functions.unit_words import unit_of_words, unit_words
from approxhw.numerics.functions.units import (
    UNIT_KINDS,
    ActivationUnit,
    Differences,
    Entries,
    Fold,
    Level,
    Pieces,
    Ratios,
    unit_codes,
    unit_faults,
    unit_value,
    unit_values,
)


def random_core(kind, bits, rng):
    """A core of *kind* that makes some 6-bit values of *bits* bits."""
    size = 1 << bits
    if kind == "table":
        return Entries(tuple(rng.integers(-20, 20, size).tolist()))
    if kind == "compressed-table":
        levels = []
        for known, read in ((bits - 1, bits - 1), (bits, max(bits - 2, 0)), (bits, bits)):
            fine, low = min(read, int(rng.integers(0, 3))), int(rng.integers(0, 3))
            levels.append(Level(known, fine, low, tuple(rng.integers(0, 3, 1 << read).tolist())))
        return Differences(tuple(rng.integers(-2, 2, size >> 2).tolist()), tuple(levels))
    starts = (0, *np.sort(rng.choice(np.arange(1, size), 2, replace=False)).tolist())
    if kind == "pade":
        rows = [tuple(tuple(rng.integers(1, 30, n).tolist()) for _ in starts) for n in (3, 2)]
        return Ratios(starts, *rows, -5)
    shifts = {"pwl": (bits + 1,), "poly": (4, 2 * bits)}[kind]
    rows = tuple(tuple(rng.integers(-30, 30, len(shifts) + 1).tolist()) for _ in starts)
    return Pieces(starts, rows, shifts)


def random_unit(kind, seed):
    rng = np.random.default_rng(seed)
    bits, signed = int(rng.integers(4, 7)), bool(rng.random() < 0.7)
    most = int(rng.integers(-3, 12)) if rng.random() < 0.5 else None
    fold = Fold(bool(rng.random() < 0.5), bool(rng.random() < 0.5), int(rng.integers(-9, 9)), 5, 3, most)
    chosen = fold if signed and rng.random() < 0.6 else None
    core = random_core(kind, bits - (chosen is not None), rng)
    return ActivationUnit(bits, signed, 12, True, core, chosen)


@pytest.mark.parametrize("kind", UNIT_KINDS)
def test_numpy_equals_the_plain_reference(kind):
    compared = folded = 0
    for seed in range(40):
        unit = random_unit(kind, seed)
        assert unit_faults(unit) == []
        assert unit.kind == kind
        wanted = [unit_value(unit, code) for code in unit_codes(unit).tolist()]
        assert unit_values(unit).tolist() == wanted, seed
        compared += len(wanted)
        folded += unit.fold is not None
    assert compared > 1000
    assert folded > 5


@pytest.mark.parametrize("kind", UNIT_KINDS)
def test_words_give_back_the_unit(kind):
    for seed in range(40):
        unit = random_unit(kind, seed)
        assert unit_of_words(json.loads(json.dumps(unit_words(unit)))) == unit


LINE = ActivationUnit(4, True, 6, True, Pieces((0, 3), ((2, 1), (1, 4)), (1,)))


def test_the_meaning_of_lines_by_hand():
    """u = x + 8: (2 u + 1) >> 1 below 3, (u + 4) >> 1 from there on."""
    assert [unit_value(LINE, code) for code in range(-8, 8)] == [0, 1, 2, *((u + 4) >> 1 for u in range(3, 16))]


def test_the_meaning_of_a_fold_by_hand():
    """An odd function of 3 bits: the lowest code has no opposite, and reads the highest."""
    unit = ActivationUnit(3, True, 4, True, Entries((0, 2, 5, 8)), Fold(inverted=False, subtract=True, most=7))
    assert [unit_value(unit, code) for code in range(-4, 4)] == [-8, -8, -5, -2, 0, 2, 5, 7]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"bits": 17}, "codes of 1 to 16 bits, not 17 and 6"),
        ({"signed": False, "fold": Fold(inverted=False, subtract=True)}, "only a unit that reads signed codes"),
        ({"core": Entries((1, 2))}, "its table has 2 entries, not 16"),
        ({"core": Differences((1, 2, 3), ())}, "its tables have 3 entries: powers of two are needed"),
        (
            {"core": Differences((1, 2), (Level(3, 1, 0, (0, 1)),))},
            "its tables know 1, 3 bits: more and more, the last all 4",
        ),
        ({"core": Differences((1, 2), (Level(4, 2, 0, (0, 1)),))}, "a level reads no more bits than are known"),
        ({"core": Differences((1, 2), (Level(4, 1, 99, (0, 1)),))}, "a level shifts by 0 to 16 bits"),
        ({"core": Differences((1, 2), (Level(4, 1, 0, (0, -1)),))}, "differences are not negative"),
        (
            {"core": Differences((1, 1 << 40), (Level(4, 1, 16, (0, 1)), Level(4, 1, 16, (0, 1))))},
            "its values pass 62 bits",
        ),
        ({"core": Differences((1, 2), (Level(4, 1, 0, (0, 1 << 63)),))}, "its values pass 62 bits"),
        ({"core": Pieces((1,), ((1, 1),), (0,))}, "pieces start at 0 and further on, below 16"),
        ({"core": Pieces((0, 2), ((1, 1),), (0,))}, "every piece has coefficients"),
        ({"core": Pieces((0,), ((1, 1),), (0, 0))}, "one shift and two coefficients, or two and three"),
        ({"core": Pieces((0,), ((1 << 60, 1),), (0,))}, "too large for 62 bits"),
        ({"core": Ratios((0,), ((1, 1),), ((1, -3),), 0)}, "P ≥ 0 and Q > 0 do not hold everywhere"),
        ({"out_bits": 3}, "it makes 0 to 9, which 3 bits do not hold"),
        ({"fold": Fold(inverted=False, subtract=True, shift=41)}, "its fold shifts by 41, not 0 to 40"),
    ],
)
def test_what_is_no_unit_is_told(change, told):
    (why,) = unit_faults(replace(LINE, **change))
    assert told in why


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"x": "f8"}, "spelled as s8 or u8, not 'f8'"),
        ({"more": 1}, "not more"),
        ({"fold": {"slope": True}}, "truth values inverted and subtract"),
        ({"fold": {"offset": 1 << 40}}, "at most 40 bits"),
        ({"pieces": {"starts": [0]}}, "a unit's pieces has starts, rows, shifts"),
        ({"pieces": {"starts": [0], "rows": [[1.5, 2]], "shifts": [0]}}, "an integer is needed, not '1.5'"),
        ({"pieces": {"starts": 0, "rows": [[1, 2]], "shifts": [0]}}, "a list is needed, not '0'"),
        ({"pieces": {"starts": [1], "rows": [[1, 2]], "shifts": [0]}}, "pieces start at 0"),
        ({"table": {"values": [1]}}, "and one of table, differences, pieces, ratios"),
    ],
)
def test_words_that_are_no_unit_are_told(change, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        unit_of_words(unit_words(LINE) | change)
