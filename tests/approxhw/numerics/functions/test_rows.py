"""Softmax and layer norm in integers: NumPy equals plain integers, widths hold, errors beside floats; I-BERT's constants."""

import math
from fractions import Fraction
from functools import cache

import numpy as np
import pytest

from approxhw.common.errors import OptionError
from approxhw.numerics.formats import Fixed
from approxhw.numerics.functions.activations import activation_formula
from approxhw.numerics.functions.fit import fit_activation
from approxhw.numerics.functions.rows import IntegerLayerNorm, IntegerSoftmax, integer_roots
from approxhw.numerics.functions.units import ActivationUnit, Entries


@cache
def exponential(bits=8, out=12, reach=8):
    """e^(−d · reach / 2^bits) of a distance d."""
    formula = activation_formula("exp-minus")
    x, y = Fixed(bits, False, Fraction(reach, 1 << bits)), Fixed(out, False, Fraction(1, 1 << out))
    return fit_activation(formula, x, y, "pwl", 1.0).unit


def rows(count, bits, seed=0, many=300):
    rng = np.random.default_rng(seed)
    found = rng.integers(-(1 << (bits - 1)), 1 << (bits - 1), (many, count))
    found[0], found[1, 0], found[2] = 3, -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return found


@pytest.mark.parametrize("count", [2, 3, 16, 77])
def test_softmax_in_numpy_equals_plain_integers(count):
    softmax = IntegerSoftmax(count, 8, exponential())
    codes = rows(count, 8)
    assert softmax.values(codes).tolist() == [softmax.row(row) for row in codes.tolist()]


@pytest.mark.parametrize("count", [2, 3, 16, 77])
@pytest.mark.parametrize("epsilon", [0, 1000])
def test_layer_norm_in_numpy_equals_plain_integers(count, epsilon):
    norm = IntegerLayerNorm(count, 8, 6, epsilon)
    codes = rows(count, 8)
    assert norm.values(codes).tolist() == [norm.row(row) for row in codes.tolist()]


def test_softmax_is_near_floats():
    codes = rows(16, 8, seed=3)
    shares = np.exp((codes - codes.max(axis=1, keepdims=True)) / 32)
    wanted = shares / shares.sum(axis=1, keepdims=True) * 256
    made = IntegerSoftmax(16, 8, exponential()).values(codes)
    assert (
        np.abs(made - np.minimum(wanted, 255)).max() <= 1.25
    )  # a step for the floor, and what 12-bit exponentials add
    assert made.max() > 100


def test_layer_norm_is_near_floats():
    codes = rows(64, 8, seed=4)[3:]
    wanted = (codes - codes.mean(axis=1, keepdims=True)) / codes.std(axis=1, keepdims=True) * 32
    made = IntegerLayerNorm(64, 8, 5).values(codes)
    assert np.abs(made - wanted).max() < 1.1
    assert np.abs(made).max() > 40


def test_widths_of_layer_norm_are_kept_at_the_worst_rows():
    for count in (2, 3, 8, 50):
        norm = IntegerLayerNorm(count, 6, 4)
        worst = np.full((count, count), -32)
        np.fill_diagonal(worst, 31)
        rows_of = np.concatenate([worst, -worst - 1, rows(count, 6)])
        distances = count * rows_of - rows_of.sum(axis=1, keepdims=True)
        assert int((distances**2).sum(axis=1).max()).bit_length() <= norm.square_bits
        made = norm.values(rows_of)
        assert np.abs(made).max() <= norm.factor < 1 << (norm.out_bits - 1)


def test_a_row_of_one_code_is_all_zeros_and_all_shares_alike():
    assert IntegerLayerNorm(5, 8).row([7] * 5) == [0] * 5
    assert IntegerSoftmax(4, 8, exponential()).row([-3] * 4) == [64] * 4
    assert IntegerSoftmax(2, 8, exponential()).row([127, -128])[0] == 255


def test_roots_are_those_of_integers():
    squares = np.concatenate([np.arange(300), np.array([(1 << 31) ** 2 - 1, (1 << 30) ** 2, (1 << 30) ** 2 - 1])])
    assert integer_roots(squares).tolist() == [math.isqrt(square) for square in squares.tolist()]


def test_what_is_no_row_is_told_with_all_that_is_wrong():
    with pytest.raises(OptionError) as caught:
        IntegerLayerNorm(1, 17, 99, -1)
    assert [problem.where for problem in caught.value.problems] == [
        "layer norm.count", "layer norm.bits", "layer norm.fraction", "layer norm.epsilon",
    ]  # fmt: skip
    with pytest.raises(OptionError, match="more than 62"):
        IntegerLayerNorm(60000, 16)
    with pytest.raises(OptionError, match="reads 8 bits, as x has"):
        IntegerSoftmax(4, 8, exponential(bits=7))
    with pytest.raises(OptionError, match="the sum may be 0"):
        IntegerSoftmax(4, 2, ActivationUnit(2, False, 3, False, Entries((0, 1, 1, 1))))


# I-BERT's constants: what its parabolas are off, beside the units in their place ---------------------------------------


def test_the_parabola_of_the_exponential():
    p = np.linspace(-math.log(2), 0, 100001)
    off = np.abs(0.3585 * (p + 1.353) ** 2 + 0.344 - np.exp(p)).max()
    assert 2.1e-3 < off < 2.2e-3  # published: 1.9e-3, of constants with more places


def test_the_parabola_of_erf_as_gelu():
    x = np.linspace(-6, 6, 120001)
    z = x / math.sqrt(2)
    erf = np.sign(z) * (-0.2888 * (np.minimum(np.abs(z), 1.769) - 1.769) ** 2 + 1)
    gelu = x / 2 * (1 + np.vectorize(math.erf)(z))
    off = np.abs(x / 2 * (1 + erf) - gelu).max()
    assert 1.8e-2 < off < 1.82e-2  # published: 1.8e-2
    step = Fixed(8, True, Fraction(1, 64))
    unit = fit_activation(activation_formula("gelu"), step, step, "poly", 1.0)
    assert unit.ulp / 64 < off  # a unit of 8-bit codes to 2 is nearer
