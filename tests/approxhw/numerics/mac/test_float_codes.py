"""Rounding to input formats and reading their codes, as whole arrays: against ml_dtypes, NumPy and the reference."""

import math

import ml_dtypes
import numpy as np
import pytest

from approxhw.numerics.mac.arithmetic import FLOAT_CODES
from approxhw.numerics.mac.float_mac import nearest_code, unpack_operand
from approxhw.numerics.mac.kernels.codes import INFINITE, NAN, NEGATIVE, ZERO, from_codes, rounded, to_codes

DTYPES = {
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "fp16": np.dtype(np.float16),
    "e4m3": np.dtype(ml_dtypes.float8_e4m3fn),
    "e5m2": np.dtype(ml_dtypes.float8_e5m2),
}


def numbers(name, count):
    """Return float32 numbers of every size: random bits, numbers of the format's range, its ties, and specials."""
    rng = np.random.default_rng(8)
    layout = FLOAT_CODES[name]
    sized = np.ldexp(
        rng.uniform(-2, 2, count), rng.integers(-layout.bias - layout.fraction_bits - 2, layout.bias + 3, count)
    )
    with np.errstate(over="ignore"):
        parts = [rng.integers(0, 1 << 32, count).astype(np.uint32).view(np.float32), sized.astype(np.float32)]
    steps = rng.integers(0, 1 << (layout.bits - 1), count) << (23 - layout.fraction_bits)
    ties = steps + (127 - layout.bias << 23) + (1 << (22 - layout.fraction_bits))
    parts += [(ties + change).astype(np.uint32).view(np.float32) for change in (-1, 0, 1)]
    edges = np.arange(0x007F7000, 0x00802000, 0x800)  # where bf16's subnormals end
    parts.append(np.concatenate([edges + change for change in (-1, 0, 1)]).astype(np.uint32).view(np.float32))
    parts.append(np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1e-45, -1e-45, 464, 464.1, 3.4e38], np.float32))
    return np.concatenate(parts)


@pytest.mark.parametrize("name", FLOAT_CODES)
def test_codes_are_those_of_ml_dtypes(name):
    given = numbers(name, 100_000)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = given.astype(DTYPES[name])
    found = to_codes(given, name)
    nan = np.isnan(expected.astype(np.float32))
    assert 0 < nan.sum() < nan.size // 2
    bits = expected.view(found.dtype)
    assert np.array_equal(found[~nan], bits[~nan])
    assert np.unique(found[nan]).tolist() == [nearest_code(name, math.nan)]
    picked = slice(None, None, 97)
    assert found[picked].tolist() == [nearest_code(name, x) for x in given[picked].tolist()]


@pytest.mark.parametrize("name", FLOAT_CODES)
def test_every_code_is_read_as_the_reference_decodes_it(name):
    layout = FLOAT_CODES[name]
    codes = np.arange(1 << layout.bits).reshape(2, -1)
    found = from_codes(codes, name)
    assert found.shape == codes.shape
    for code, x in zip(codes.reshape(-1).tolist(), found.reshape(-1).tolist(), strict=True):
        operand = unpack_operand(name, code)
        assert (operand.nan, operand.inf) == (math.isnan(x), math.isinf(x))
        if not operand.nan:
            assert operand.sign == (math.copysign(1.0, x) < 0)
        if not (operand.nan or operand.inf):
            assert abs(x) == math.ldexp(operand.significand, operand.exponent - layout.fraction_bits)


@pytest.mark.parametrize("name", FLOAT_CODES)
def test_rounded_numbers_are_those_of_the_codes_and_specials_are_apart(name):
    given = numbers(name, 20_000)
    given = given[: given.size // 4 * 4].reshape(4, -1)
    found, read = rounded(given, name), from_codes(to_codes(given, name), name)
    finite = np.isfinite(read)
    assert np.array_equal(found.numbers.view(np.uint32)[finite], read.view(np.uint32)[finite])
    assert not found.numbers[~finite].any()
    sizes = np.abs(read[finite & (read != 0)])
    assert found.low == math.frexp(sizes.min())[1] - 1
    assert found.high == math.frexp(sizes.max())[1] - 1
    kinds = found.specials
    assert np.array_equal(kinds & INFINITE != 0, np.isinf(read))
    assert np.array_equal(kinds & NAN != 0, np.isnan(read))
    assert np.array_equal(kinds & ZERO != 0, read == 0)
    assert np.array_equal((kinds & NEGATIVE != 0)[~np.isnan(read)], np.signbit(read)[~np.isnan(read)])


def test_what_is_given_stays_as_it_is():
    given = np.array([[1.0001, np.nan], [np.inf, 1e-40]], np.float32)
    before = given.copy()
    found = rounded(given, "bf16")
    assert np.array_equal(given, before, equal_nan=True)
    assert found.numbers.tolist() == [[1.0, 0.0], [0.0, 0.0]]
    assert rounded(np.ones((2, 3)), "e4m3").specials is None
    assert rounded(np.zeros((2, 3)), "e5m2").low > rounded(np.zeros((2, 3)), "e5m2").high
