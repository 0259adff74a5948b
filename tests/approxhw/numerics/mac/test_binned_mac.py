"""Binned sums: the reference is the exact sum rounded once, bins are wide enough, products of matrices are the reference's."""

import random
from fractions import Fraction

import numpy as np
import pytest

from approxhw.common.errors import OptionError
from approxhw.numerics.mac.binned_mac import (
    NARROW,
    BinnedMac,
    BinnedState,
    binned_chain,
    binned_finish,
    binned_start,
    binned_step,
    binned_value,
    binned_word,
)
from approxhw.numerics.mac.float_mac import unpack_operand
from approxhw.numerics.mac.kernels.binned import binned_matmul
from approxhw.numerics.mac.kernels.codes import from_codes

EACH = [BinnedMac(format, log, 8) for format in NARROW for log in (1, 2, 3, 4, 5, 6)]


def finite_codes(format):
    codes = np.arange(256)
    return codes[np.isfinite(from_codes(codes, format))].tolist()


def exact_number(mac, code):
    read = unpack_operand(mac.format, code)
    return (-1) ** read.sign * read.significand * Fraction(2) ** (read.exponent - mac.code.fraction_bits)


def test_what_cannot_be_binned_is_refused():
    with pytest.raises(OptionError) as raised:
        BinnedMac("bf16", 7, 0)
    text = str(raised.value)
    assert "binned multiply-add: 3 problems" in text
    assert "format: 'bf16' is no 8-bit floating-point format" in text
    assert "do: choose e4m3 or e5m2: others have too many exponents for bins" in text
    assert "bin_log: 7 does not lie in 1…6" in text
    assert "chain: 0 does not lie in 1…20" in text
    with pytest.raises(ValueError, match="holds sums of 2 products, not 3: choose a longer chain"):
        binned_chain(BinnedMac(chain=1), [1, 2, 3], [1, 2, 3])
    with pytest.raises(ValueError, match="holds sums of 2 products, not 3: choose a longer chain"):
        binned_matmul(np.ones((1, 3)), np.ones((3, 1)), BinnedMac(chain=1))
    with pytest.raises(ValueError, match=r"M × K and K × N, not \(1, 2\) and \(3, 1\)"):
        binned_matmul(np.ones((1, 2)), np.ones((3, 1)), BinnedMac())


@pytest.mark.parametrize("mac", EACH, ids=str)
def test_sums_are_exact_and_bins_hold_the_largest(mac):
    source, codes, checked = random.Random(str(mac)), finite_codes(mac.format), 0
    for _ in range(6):
        a, b = ([source.choice(codes) for _ in range(40)] for _ in range(2))
        exact = sum(exact_number(mac, x) * exact_number(mac, y) for x, y in zip(a, b, strict=True))
        state = binned_chain(mac, a, b)
        assert binned_value(mac, state) == exact
        half = np.float32(float(exact)) if Fraction(float(exact)) == exact else None
        if half is not None:
            assert binned_finish(mac, state, "float32") == int(half.view(np.uint32)) or exact == 0
        checked += 1
    assert checked == 6
    for x in codes:  # the largest addend of every bin, as often as a chain is long
        state = binned_step(mac, binned_start(mac), x, x)
        assert all(abs(each) << mac.chain < 1 << (mac.bin_bits - 1) for each in state.bins)
        assert sum(each != 0 for each in state.bins) <= 1
    word = binned_word(mac, BinnedState(tuple(-1 for _ in range(mac.bins)), 1, inf=True))
    assert word == (1 << (mac.state_bits - 1)) - 1


@pytest.mark.parametrize("result", ["float32", "bf16"])
@pytest.mark.parametrize("mac", EACH, ids=str)
def test_products_of_matrices_are_the_references(mac, result):
    source, compared, odd = random.Random(f"{mac}{result}"), 0, 0
    special = 0x7C if mac.format == "e5m2" else 0x7F
    finite = finite_codes(mac.format)
    for codes in (finite, list(range(256)), finite[:20] + finite[-3:]):
        a = np.array([[source.choice(codes) for _ in range(50)] for _ in range(4)])
        b = np.array([[source.choice(finite) for _ in range(3)] for _ in range(50)])
        b[:25, 2], a[:, 25:], b[25:, 2] = b[25:, 2], a[:, :25], [code ^ 0x80 for code in b[25:, 2].tolist()]  # cancels
        if len(codes) == 256:
            a[1, 3], a[2, 4], b[3, :] = special, special, 0x3C
        found = binned_matmul(from_codes(a, mac.format), from_codes(b, mac.format), mac, result=result)
        ends = [[binned_finish(mac, binned_chain(mac, x, y), result) for y in b.T.tolist()] for x in a.tolist()]
        wanted = (np.array(ends, np.uint32) << (16 if result == "bf16" else 0)).view(np.float32)
        assert np.array_equal(np.isnan(found), np.isnan(wanted))
        plain = ~np.isnan(wanted)
        assert np.array_equal(found.view(np.uint32)[plain], wanted.view(np.uint32)[plain])
        compared += int(plain.sum())
        odd += int((~np.isfinite(wanted)).sum())
    assert compared > 20
    assert odd > 0
