"""Integer multiply-adds: what they say of themselves, kernels equal to the plain reference, widths that hold."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approxhw.common.errors import OptionError
from approxhw.numerics.mac.integer_mac import (
    IntegerMac,
    accumulate_integer,
    add_integer,
    bits_for,
    exact_products,
    parse_integer_mac,
    patterns,
    sum_range,
)
from approxhw.numerics.mac.kernels.integer_gemm import matmul_integer
from approxhw.numerics.mac.kernels.table_sums import sum_products
from approxhw.numerics.multipliers.families import own_operator

RNG = np.random.default_rng(12)


def table_of(mac):
    operator = own_operator(mac.operator)
    found = exact_products(mac) if operator is None else operator.table(mac.weight_bits, mac.x_bits, mac.signed)
    return found.products


@pytest.mark.parametrize("reach", [(-16384, 16384), (0, 65025), (-34560, 28800), (-(1 << 20), 1 << 20)])
@pytest.mark.parametrize("size", [(5, 7, 3), (9, 300, 10), (64, 190, 33), (64, 200, 33), (1, 1, 1), (3, 193, 65)])
def test_sums_are_those_of_one_look_up_after_the_other(reach, size):
    depth, vectors, columns = size
    products = RNG.integers(reach[0], reach[1] + 1, (256, 256))
    weights = RNG.integers(0, 256, (depth, columns)).astype(np.uint8)
    x = RNG.integers(0, 256, (depth, vectors)).astype(np.uint8)
    expected = sum(products[weights[k][None, :], x[k][:, None]] for k in range(depth))
    for threads in (1, 2):
        assert (sum_products(weights, x, products, threads=threads) == expected).all()


def test_two_threads_share_what_is_worth_it():
    products, weights = RNG.integers(-99, 99, (16, 256)), RNG.integers(0, 16, (40, 70)).astype(np.uint8)
    x = RNG.integers(0, 256, (40, 2000)).astype(np.uint8)
    assert (sum_products(weights, x, products, threads=2) == sum_products(weights, x, products)).all()


def test_sums_that_may_leave_their_bits_are_refused():
    products = np.full((2, 2), 1 << 20)
    zeros = np.zeros((4096, 1), np.uint8)
    with pytest.raises(ValueError, match="4096 products of up to 1048576 leave the 32 bits of a sum"):
        sum_products(zeros, zeros, products)
    with pytest.raises(ValueError, match="3 rows of weights and 2 of x"):
        sum_products(zeros[:3], zeros[:2], products)
    assert sum_products(zeros[:0], zeros[:0], products).tolist() == [[0]]


MACS = [
    IntegerMac(operator, signed, weight_bits, 8, 28, adder)
    for operator, signed, weight_bits, adder in [
        ("exact", "both", 8, "exact"),
        ("truncated-6", "both", 8, "exact"),
        ("rounded", "none", 8, "exact"),
        ("leading-3", "weight", 4, "exact"),
        ("exact", "both", 8, "or-5"),
        ("logarithmic-balanced", "none", 8, "or-1"),
        ("broken-array-4-1", "weight", 8, "cut-6"),
    ]
]


@pytest.mark.parametrize("mac", MACS, ids=str)
@pytest.mark.parametrize(("x_type", "w_type"), list(itertools.product((np.uint8, np.int8), repeat=2)))
def test_products_of_matrices_are_the_reference(mac, x_type, w_type):
    """9 × 11 products of 13 steps each: operands and codes of either sign, zero points, every adder."""
    half = 1 << (mac.weight_bits - 1)
    span = (-half, half) if w_type is np.int8 else (0, 2 * half)
    weights = RNG.integers(*span, (13, 9)).astype(w_type)
    x = RNG.integers(*((-128, 128) if x_type is np.int8 else (0, 256)), (13, 11)).astype(x_type)
    x_zero, w_zero = (3, 5) if w_type is np.int8 else (130, half)
    table = table_of(mac)
    found = matmul_integer(x, weights, mac, table, x_zero=x_zero, weight_zero=w_zero)
    left, moved_w = patterns(weights, mac.weight_bits, mac.weight_signed)
    right, moved_x = patterns(x, mac.x_bits, mac.x_signed)
    count = 0
    for m, n in np.ndindex(11, 9):
        total, numbers = 0, []
        for k in range(13):
            total = accumulate_integer(mac, total, int(left[k, n]), int(right[k, m]), table)
            numbers.append((int(weights[k, n]) + moved_w, int(x[k, m]) + moved_x))
        z_x, z_w = x_zero + moved_x, w_zero + moved_w
        corrected = total - z_x * sum(w for w, _ in numbers) - z_w * sum(v for _, v in numbers) + 13 * z_x * z_w
        assert found[m, n] == corrected
        if mac.operator == "exact" and not mac.low_bits:
            assert corrected == sum((int(weights[k, n]) - w_zero) * (int(x[k, m]) - x_zero) for k in range(13))
        count += 1
    assert count == 99


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(-(1 << 20), (1 << 20) - 1), st.integers(-(1 << 15), (1 << 15) - 1), st.integers(1, 8))
def test_adders_are_off_by_their_low_bits_at_most(accumulator, product, low):
    for kind in ("or", "cut"):
        mac = IntegerMac(accumulator_bits=24, adder=f"{kind}-{low}")
        assert abs(add_integer(mac, accumulator, product) - accumulator - product) <= 1 << low
    assert add_integer(IntegerMac(accumulator_bits=24), accumulator, product) == accumulator + product


def test_adders_by_hand():
    lower = IntegerMac(accumulator_bits=8, adder="or-2")
    assert add_integer(lower, 0b0001, 0b0001) == 0b0001
    assert add_integer(lower, 0b0010, 0b0011) == 0b0111  # the highest low bits make a carry
    assert add_integer(IntegerMac(accumulator_bits=8, adder="cut-2"), 0b0011, 0b0001) == 0
    assert add_integer(IntegerMac(accumulator_bits=8), 127, 1) == -128


@pytest.mark.parametrize("mac", MACS, ids=str)
def test_no_sum_leaves_its_proven_range(mac):
    weights = RNG.integers(0, 1 << mac.weight_bits, (20, 6)).astype(np.uint8)
    table = table_of(mac)
    low, high = sum_range(weights, table, mac)
    seen = []
    worst = np.stack([table[weights[:, n]].argmax(axis=1) for n in range(6)], axis=1)
    best = np.stack([table[weights[:, n]].argmin(axis=1) for n in range(6)], axis=1)
    for x in (*worst.T, *best.T, *RNG.integers(0, 256, (20, 20))):
        for n in range(6):
            total = 0
            for k in range(20):
                total = accumulate_integer(mac, total, int(weights[k, n]), int(x[k]), table)
                seen.append(total)
    assert low <= min(seen)
    assert max(seen) <= high
    if not mac.low_bits:
        assert (min(min(seen), 0), max(seen)) == (low, high)  # it is reached


@pytest.mark.parametrize(("low", "high", "bits"), [(0, 0, 1), (-1, 0, 1), (0, 1, 2), (-128, 127, 8), (-129, 0, 9)])
def test_bits_that_hold_a_range(low, high, bits):
    assert bits_for(low, high) == bits


def test_spellings_are_read_and_written():
    for mac in (*MACS, IntegerMac("mul8s_1KVL.v")):
        assert parse_integer_mac(str(mac)) == mac
    for text in (
        "integer<>",
        "integer<exact,both,8,8,99,exact>",
        "integer<exact,both,8,8,8,or-8>",
        "float",
        "integer<a b,both,8,8,8,exact>",
    ):
        with pytest.raises(ValueError, match=r"is no|no integer|leave nothing"):
            parse_integer_mac(text)


def test_everything_wrong_is_told_at_once():
    with pytest.raises(OptionError) as caught:
        IntegerMac("../x", "weights", 9, 1, 33, "or-0")
    assert [problem.where for problem in caught.value.problems] == [
        "operator",
        "signed",
        "weight_bits",
        "x_bits",
        "accumulator_bits",
        "adder",
    ]
