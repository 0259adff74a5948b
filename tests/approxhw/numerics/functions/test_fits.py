"""Fits: within bounds at every code, of the fewest pieces, without loss where nothing may be lost; and what cannot be, told."""

import math
import re
from fractions import Fraction

import numpy as np
import pytest

from approxhw.common.errors import OptionError
from approxhw.numerics.formats import Fixed
from approxhw.numerics.functions.activations import ACTIVATIONS, activation_formula
from approxhw.numerics.functions.bounds import ulp_error, wanted_codes, wanted_values
from approxhw.numerics.functions.fit import fit_activation, fit_within
from approxhw.numerics.functions.fit_pieces import line_within, longest_pieces, minimax_parabola
from approxhw.numerics.functions.fit_tables import compressed, compressed_tables, table_nodes
from approxhw.numerics.functions.folding import folds_of
from approxhw.numerics.functions.units import UNIT_KINDS, core_values, unit_faults, unit_values

X = Fixed(7, True, Fraction(1, 8))
FINE = {"sigmoid": Fixed(7, False, Fraction(1, 128)), "tanh": Fixed(7, True, Fraction(1, 64))}
WIDE = Fixed(7, True, Fraction(1, 8))


@pytest.mark.parametrize("kind", UNIT_KINDS)
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "gelu", "sau"])
def test_every_code_is_within_bounds(name, kind):
    y = FINE.get(name, WIDE)
    fitted = fit_activation(activation_formula(name), X, y, kind, 1.0)
    made, values = unit_values(fitted.unit), wanted_values(activation_formula(name), X, y)
    assert fitted.unit.kind == kind
    assert unit_faults(fitted.unit) == []
    assert fitted.ulp == np.abs(made - values).max() <= 1
    assert made.min() >= y.low
    assert made.max() <= y.high


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
@pytest.mark.parametrize("kind", ["compressed-table", "pwl"])
def test_every_activation_there_is(name, kind):
    formula, x = activation_formula(name), Fixed(6, True, Fraction(1, 8))
    fitted = fit_activation(formula, x, x, kind, 1.0)
    made = unit_values(fitted.unit)
    assert len(made) == 64
    assert ulp_error(made, wanted_values(formula, x, x)) <= (1 if kind == "pwl" else 0.5)


def fewest_by_trying_all_ends(fits, size):
    """Dynamic programming: the fewest pieces up to each end."""
    best = [0] + [math.inf] * size
    for end in range(1, size + 1):
        best[end] = min((best[start] + 1 for start in range(end) if fits(start, end)), default=math.inf)
    return best[size]


def test_lines_are_as_few_as_dynamic_programming_finds():
    compared = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        middle = np.cumsum(rng.integers(-2, 4, 24))
        low, high = (middle - rng.integers(0, 2, 24)) << 3, ((middle + rng.integers(0, 2, 24)) << 3) + 7
        u = np.arange(24)

        def fit(a, b, u=u, low=low, high=high):
            return line_within(u[a:b], low[a:b], high[a:b], 1 << 12)

        starts, rows = longest_pieces(fit, 24, 24)
        assert len(starts) == fewest_by_trying_all_ends(lambda a, b, fit=fit: fit(a, b) is not None, 24)
        piece = np.searchsorted(starts, u, side="right") - 1
        made = np.array(rows)[piece, 0] * u + np.array(rows)[piece, 1]
        assert (made >= low).all()
        assert (made <= high).all()
        compared += len(starts) > 1
    assert compared == 12


def test_a_line_is_found_where_there_is_one_and_no_other():
    """Every slope is tried beside the bisection."""
    found = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        u = np.arange(6)
        low = int(rng.integers(-9, 9)) * u + rng.integers(-6, 6, 6)
        high = low + rng.integers(0, 12, 6)
        there = any((high - a * u).min() >= (low - a * u).max() for a in range(-60, 61))
        line = line_within(u, low, high, 60)
        assert (line is not None) == there, seed
        if line is not None:
            made = line[0] * u + line[1]
            assert (low <= made).all()
            assert (made <= high).all()
            found += 1
    assert 20 < found < 180


@pytest.mark.parametrize("values", [np.exp(np.arange(40) / 12), np.tanh(np.arange(30) / 9), np.arange(9.0) ** 2])
def test_the_parabola_has_the_least_worst_error(values):
    u = np.arange(len(values))
    curve, slope = minimax_parabola(u, values)
    rest = values - curve * u * u - slope * u
    worst = np.ptp(rest) / 2
    best_of_squares = np.polyval(np.polyfit(u, values, 2), u)
    assert worst <= np.abs(values - best_of_squares).max() + 1e-9
    nearby = [
        np.ptp(values - (curve + a) * u * u - (slope + b) * u) / 2 for a in (-1e-3, 0, 1e-3) for b in (-1e-2, 0, 1e-2)
    ]
    assert worst <= min(nearby) + 1e-9


def test_compressed_tables_lose_nothing():
    rng = np.random.default_rng(5)
    tables = [np.cumsum(rng.integers(-1, 3, 64)), rng.integers(-99, 99, 64), np.full(64, -7), np.arange(64) ** 2]
    for table in tables:
        for steps in ((1,), (3,), (1, 1), (2, 1, 1)):
            for shared in (0, 1, 2):
                core = compressed(table, steps, shared)
                assert len(core.levels) == len(steps) + (shared > 0)
                assert core_values(core, np.arange(64)).tolist() == table.tolist()


def nodes_by_recursion(table):
    """The same count in plain Python, column by column, half by half."""
    found = set()

    def visit(column):
        if len(column) > 1:
            low, high = column[: len(column) // 2], column[len(column) // 2 :]
            if low != high:
                found.add(min(column, tuple(1 - bit for bit in column)))
            visit(low)
            visit(high)

    width = 12
    for place in range(width):
        visit(tuple(value >> place & 1 for value in table))
    return len(found)


@pytest.mark.parametrize("bits", [1, 3, 6, 7, 8])
def test_multiplexers_of_a_table_are_counted(bits):
    rng = np.random.default_rng(bits)
    tables = [rng.integers(-300, 300, 1 << bits), np.arange(1 << bits) // 3, np.full(1 << bits, 5)]
    assert [table_nodes(table.tolist()) for table in tables] == [nodes_by_recursion(table.tolist()) for table in tables]
    assert table_nodes([7] * 8) == 0


def test_tables_that_nothing_compresses_stay_as_they_are():
    noise = np.random.default_rng(7).integers(-99, 99, 32)
    first = next(compressed_tables(noise))
    assert first.levels == ()
    assert first.coarse == tuple(noise.tolist())


def test_a_symmetry_that_does_not_hold_at_one_code_is_no_fold():
    values = wanted_values(activation_formula("tanh"), X, FINE["tanh"])
    assert [fold for fold, _, _ in folds_of(wanted_codes(values, X, FINE["tanh"], 0.5)) if fold is not None]
    values[3] += 9
    assert [fold for fold, _, _ in folds_of(wanted_codes(values, X, FINE["tanh"], 0.5)) if fold is not None] == []


@pytest.mark.parametrize(
    ("name", "odd", "slope"), [("tanh", True, 0), ("sigmoid", True, 0), ("gelu", False, -1), ("softplus", False, -1)]
)
def test_symmetries_that_are_known_are_found(name, odd, slope):
    y = FINE.get(name, WIDE)
    goal = wanted_codes(wanted_values(activation_formula(name), X, y), X, y, 0.75)
    folds = [fold for fold, _, _ in folds_of(goal) if fold is not None]
    assert (odd, slope) in {(fold.subtract, fold.slope) for fold in folds if not fold.inverted}


def test_values_beyond_the_format_and_where_nothing_is_defined():
    x, y = Fixed(4, True, Fraction(1, 2)), Fixed(4, True)
    assert wanted_values(("x", "log"), x, y)[:9].tolist() == [-8] * 9  # below 0 as at 0, where it is −∞
    assert wanted_values(("x", "reciprocal"), x, y)[8] == 7
    assert wanted_values(("x", "exp"), x, y)[-1] == 7
    # from −1 on: the code −0.5 and below −1 have that of −1
    assert wanted_values(("x", 1.0, "add", "sqrt"), x, y)[:7].tolist() == [0] * 7


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"kind": "pwll"}, "'pwll' is not one of table, compressed-table, pwl, poly, pade"),
        ({"max_ulp": math.nan}, "max_ulp: nan is not a number from 0 on"),
        ({"x": Fixed(17)}, "x: u17: every code is looked at, so that a unit reads and makes at most 16 bits"),
        ({"y": Fixed(20)}, "y: u20"),
        ({"max_ulp": 0.25}, r"no table is so near: the nearest codes are up to 0.4\d* steps of u8<2\^-4> away"),
        ({"x": Fixed(4, True, Fraction(1), 99)}, r"sqrt\(x\): it is not defined at any of the 16 codes"),
    ],
)
def test_what_cannot_be_is_told(given, told):
    arguments = {"formula": ("x", "sqrt"), "x": Fixed(8), "y": Fixed(8, False, Fraction(1, 16))} | given
    with pytest.raises(OptionError) as caught:
        fit_activation(**arguments)
    assert re.search(told, str(caught.value))


def test_the_best_that_exists_is_told_and_works():
    x, y = Fixed(8, False, Fraction(1, 16)), Fixed(6, False)
    goal = wanted_codes(np.random.default_rng(1).integers(0, 64, 256).astype(float), x, y, 0.5)
    with pytest.raises(OptionError, match=r"noise: no pwl unit makes it within 0\.5 steps of u6 from u8") as caught:
        fit_within(goal, "pwl", "noise", 0.5)
    bound = float(str(caught.value).split("allow ")[1].split(",")[0])
    assert bound > 0.5
    assert fit_within(wanted_codes(goal.values, x, y, bound), "pwl", "noise", bound).ulp <= bound
