"""Exponents in multiples of a step: the reference against fractions and against exact normalization, the kernels against it."""

import math
import random
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from approxhw.common.errors import OptionError
from approxhw.numerics.mac import float_mac
from approxhw.numerics.mac.arithmetic import FLOAT_CODES, FloatMac, parse_float_mac
from approxhw.numerics.mac.float_mac import EMIN, START, State, accumulate, unpack_operand, value
from approxhw.numerics.mac.kernels import gemm as float_gemm
from approxhw.numerics.mac.kernels.codes import from_codes, to_codes

SHIFTS = {
    1: ("exact", "an-1-2", "an-2", "an-0"),
    2: ("exact", "an-2-2", "an-2", "an-0"),
    4: ("exact", "an-4-4", "an-4", "an-0"),
}
EVERY = [
    FloatMac(name, width, SHIFTS[step][(width + step) % 4], (None, 3, None, 2)[(width + step // 2) % 4], step)
    for name, code in FLOAT_CODES.items()
    for width in range(max(16, code.product_bits), 25)
    for step in SHIFTS
]
REAL = [FloatMac("bf16", width, each, None, step) for width in (16, 20) for step in SHIFTS for each in SHIFTS[step]]


def operand_near(source, mac, near=0.8):
    """Return a code of a finite number, mostly near 1, now and then a zero."""
    layout, sign = FLOAT_CODES[mac.format], source.getrandbits(1) << (FLOAT_CODES[mac.format].bits - 1)
    if source.random() < 0.05:
        return sign
    fraction = source.choice((0, (1 << layout.fraction_bits) - 1, source.getrandbits(layout.fraction_bits)))
    top = (1 << layout.exponent_bits) - 1
    field = source.randrange(max(1, layout.bias - 3), min(layout.bias + 4, top))
    return sign | (field if source.random() < near else source.randrange(top)) << layout.fraction_bits | fraction


def state_near(source, mac, a, b):
    """Return a state with an exponent of *mac*'s, mostly about that of the product of two codes, some nearly cancelling it."""
    width, step = mac.accumulator_bits, mac.exponent_step
    product = float_mac.multiply_codes(mac, a, b)
    if source.random() < 0.05:
        return State(source.getrandbits(1), EMIN, 0)
    e = product.exponent if product.significand else step * source.randrange(-9, 9)
    if product.significand and source.random() < 0.3:
        size = product.significand + source.choice((0, 0, 1, -1, 1 << (width // 2)))
        return State(1 - product.sign, e, min(max(size, 1), (1 << width) - 1))
    size = source.choice((1 << (width - 1), (1 << width) - 1, 1, source.randrange(1, 1 << width)))
    exponent = e + step * source.choice((0, 0, 1, -1, 2, -2, source.randrange(-9, 9), -width // step, width // step))
    return State(source.getrandbits(1), exponent, max(1, size >> source.choice((0, 0, 0, 1, 2, 5))))


def fraction_of(mac, code):
    """Return the exact number of a finite code."""
    read = unpack_operand(mac.format, code)
    size = read.significand * Fraction(2) ** (read.exponent - mac.code.fraction_bits)
    return -size if read.sign else size


def place(size):
    """Return the e of 2^e ≤ size < 2^(e + 1), size being a fraction above 0."""
    e = size.numerator.bit_length() - size.denominator.bit_length()
    return e if Fraction(2) ** e <= size else e - 1


def defined(mac, before, a_code, b_code):
    """Return the step by the definition on fractions: floors of quotients, no operation on bits."""
    width, step = mac.accumulator_bits, mac.exponent_step
    a, b = unpack_operand(mac.format, a_code), unpack_operand(mac.format, b_code)
    product = fraction_of(mac, a_code) * fraction_of(mac, b_code)
    e = math.floor(Fraction(a.exponent + b.exponent, step)) * step if product else EMIN
    highest = max(e, before.exponent)
    unit = Fraction(2) ** (highest + step - (width - 1))
    addends = [value(before, width, step), product]
    if mac.alignment is not None:
        addends = [
            addend if far < 2**mac.alignment else Fraction(0)
            for addend, far in zip(addends, (e - before.exponent, before.exponent - e - step), strict=True)
        ]
    total = sum(math.trunc(each / unit) for each in addends)
    if total == 0:
        return State(int(before.sign and a.sign ^ b.sign), EMIN, 0)
    size = abs(total)
    if size >= 2**width:
        return State(int(total < 0), highest + step, size // 2**step)
    above = width - 1 - place(Fraction(size))
    if mac.shifts is None:
        left = above // step * step
    else:
        k, further = mac.shifts
        left = 0 if above < k or k == 0 else k if above < k + further else k + further
    return State(int(total < 0), highest - left, size * 2**left)


# ---------------------------------------------------------------- options


def test_steps_and_what_does_not_fit_them_is_refused():
    with pytest.raises(OptionError) as raised:
        FloatMac("bf16", 20, "an-4", None, 3)
    assert "exponent_step: 3 is none of 1, 2, 4" in str(raised.value)
    assert "do: leave it out to have products normalised; 4 makes the smallest element" in str(raised.value)
    with pytest.raises(OptionError) as raised:
        FloatMac("bf16", 20, "an-1-2", 1, 4)
    assert "normalization: an-1-2 shifts left by what is no multiple of exponent_step, 4" in str(raised.value)
    assert "do: choose multiples of 4, such as an-4" in str(raised.value)
    assert "alignment: 1 bits of distance hold no step of 4" in str(raised.value)
    assert "do: choose 2 to 4, or leave it out" in str(raised.value)
    assert len(raised.value.problems) == 2


@pytest.mark.parametrize("text", ["an-0-2", "an-", "an-1-0", "an--1", "an-1-2-3"])
def test_shifts_that_are_none_are_refused(text):
    with pytest.raises(OptionError) as raised:
        FloatMac("bf16", 20, text)
    assert "do: write exact, an-K-L with K and L of at least 1, such as an-1-2, or an-K with K of at least 0" in str(
        raised.value
    )


def test_steps_are_spelled_and_read():
    mac = FloatMac("bf16", 16, "an-4", 3, 4)
    assert str(mac) == "float-mac<bf16,16,an-4,align-3,by-4>"
    for each in (*EVERY, *REAL, mac, FloatMac(normalization="an-0")):
        assert parse_float_mac(str(each)) == each
    with pytest.raises(ValueError, match="3 is none of 1, 2, 4"):
        parse_float_mac("float-mac<bf16,16,exact,by-3>")


# ---------------------------------------------------------------- the reference


@pytest.mark.parametrize("mac", [*EVERY, *REAL], ids=str)
def test_a_step_is_the_definitions(mac):
    source, carries, cancelled = random.Random(str(mac)), 0, 0
    for _ in range(300):
        a, b = operand_near(source, mac), operand_near(source, mac)
        before = state_near(source, mac, a, b)
        found = float_mac.step(mac, before, a, b)
        assert found == defined(mac, before, a, b), (before, a, b)
        assert found.exponent % mac.exponent_step == 0
        carries += found.significand != 0 and found.exponent > max(
            before.exponent, float_mac.product_exponent(mac, a, b)
        )
        cancelled += found.significand == 0
    assert carries + cancelled > 3


@pytest.mark.parametrize("mac", [*EVERY, *REAL], ids=str)
def test_chains_lose_no_more_than_the_bound(mac):
    """A step loses less than a unit at each alignment, and less than 2^step of them at a carry."""
    source, checked = random.Random(str(mac)), 0
    width, step = mac.accumulator_bits, mac.exponent_step
    for _ in range(4):
        reached, exact, bound = START, Fraction(0), Fraction(0)
        for _ in range(24):
            a, b = operand_near(source, mac), operand_near(source, mac)
            highest = max(reached.exponent, float_mac.product_exponent(mac, a, b))
            bound += (2**step + 1) * Fraction(2) ** (highest + step - (width - 1))
            if mac.reach is not None:
                bound += Fraction(2) ** (highest - mac.reach + step + 1)
            reached = float_mac.step(mac, reached, a, b)
            exact += fraction_of(mac, a) * fraction_of(mac, b)
            assert abs(value(reached, width, step) - exact) < bound
            checked += 1
    assert checked == 96


# ------------------------------------------- steps beside exact normalization


def small(width, step):
    """Return what ``accumulate`` asks of an arithmetic, for widths that no ``FloatMac`` has, exact normalization."""
    return SimpleNamespace(accumulator_bits=width, exponent_step=step, reach=None, shifts=None)


def exactly(mac, number):
    """Return the state of *mac*, normalised, that is *number*, a fraction that it can hold."""
    if number == 0:
        return START
    width, step = mac.accumulator_bits, mac.exponent_step
    top, stride = place(abs(number)), step or 1
    exponent = -(-top // stride) * stride - (step or 0)
    size = abs(number) / Fraction(2) ** (exponent + (step or 0) - (width - 1))
    assert size.denominator == 1
    assert size < 2**width
    return State(int(number < 0), exponent, int(size))


def as_addend(mac, size, e, bits):
    """Return the product *size* · 2^(e + 2 − bits), *size* of *bits* or one less, as *mac* adds it."""
    width, step = mac.accumulator_bits, mac.exponent_step
    if step is None:
        return State(0, e + (size >> (bits - 1)), size << (width - size.bit_length()))
    exponent = e // step * step
    return State(0, exponent, (size << (width - bits)) >> (step - 1 - (e - exponent)))


def errors_of_all(one, other, bits):
    """Return how often the error of *other* is less, as large, larger, or of another sign than that of *one*, over all steps
    from a state that *one* can hold, any product of so many *bits*, any distance that matters, any remainder of exponents.
    """
    counts = {"less": 0, "equal": 0, "more": 0, "other side": 0}
    width, start = one.accumulator_bits, 4
    for remainder in range(start, start + (other.exponent_step or 1)):
        for top in range(remainder - width - bits - 2, remainder + width + bits + 3):
            for significand in range(1 << (width - 1), 1 << width):
                for sign in (1, -1):
                    number = sign * significand * Fraction(2) ** (top - width + 1)
                    states = [exactly(mac, number) for mac in (one, other)]
                    for size in range(1 << (bits - 2), 1 << bits):
                        true = number + size * Fraction(2) ** (remainder + 2 - bits)
                        first, second = (
                            value(accumulate(mac, state, as_addend(mac, size, remainder, bits)), mac.accumulator_bits,
                                  mac.exponent_step or 0) - true
                            for mac, state in zip((one, other), states, strict=True)
                        )  # fmt: skip
                        counts["other side"] += first * second < 0
                        kind = "less" if abs(second) < abs(first) else "equal" if abs(second) == abs(first) else "more"
                        counts[kind] += 1
    return counts


@pytest.mark.parametrize(("step", "width"), [(1, 4), (2, 4), (4, 4), (2, 5)])
def test_with_step_guard_bits_no_step_loses_more_than_exact_normalization(step, width):
    """W + k bits in multiples of k: all steps of small widths, beside exact normalization with W bits and normalised products."""
    counts = errors_of_all(small(width, None), small(width + step, step), 3)
    assert counts["more"] == 0
    assert counts["other side"] == 0
    assert counts["less"] > 100
    assert counts["equal"] > 100
    assert errors_of_all(small(width, None), small(width + step - 1, step), 3)["more"] > 0  # one bit fewer is too few


@pytest.mark.parametrize("step", [2, 4])
def test_with_one_guard_bit_less_no_step_loses_more_than_with_all_exponents(step):
    """W + k − 1 bits in multiples of k, beside all exponents with W bits, products as they stand in both."""
    counts = errors_of_all(small(4, 1), small(4 + step - 1, step), 3)
    assert counts["more"] == 0
    assert counts["other side"] == 0
    assert counts["less"] > 100
    assert counts["equal"] > 100


WIDE = [("bf16", 16, 1), ("bf16", 20, 2), ("bf16", 20, 4), ("fp16", 22, 2), ("e4m3", 20, 4), ("e5m2", 17, 4)]


@pytest.mark.parametrize(("format", "width", "step"), WIDE)
def test_no_step_loses_more_on_real_widths(format, width, step):
    one, other = FloatMac(format, width, "exact"), FloatMac(format, width + step, "exact", None, step)
    source, less = random.Random(f"{format}{width}{step}"), 0
    for _ in range(1500):
        a, b = operand_near(source, one), operand_near(source, one)
        near = state_near(source, other, a, b)
        kept = State(near.sign, near.exponent, max(near.significand >> 8, 1) << 4)  # of at most W bits
        number = value(kept, width + step, step)
        top = place(abs(number))
        number = math.trunc(number / Fraction(2) ** (top - width + 1)) * Fraction(2) ** (top - width + 1)
        true = number + fraction_of(one, a) * fraction_of(one, b)
        first, second = (
            value(float_mac.step(mac, exactly(mac, number), a, b), mac.accumulator_bits, mac.headroom) - true
            for mac in (one, other)
        )
        assert first * second >= 0
        assert abs(second) <= abs(first)
        less += abs(second) < abs(first)
    assert less > 40


# ---------------------------------------------------------------- the kernels


def code_matrices(mac, source, depth, rows, columns, near=0.8):
    """Return codes of a (rows × depth) and b (depth × columns), uint16."""
    return tuple(
        np.array([[operand_near(source, mac, near) for _ in range(n)] for _ in range(m)], np.uint16)
        for m, n in ((rows, depth), (depth, columns))
    )


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("mac", [*EVERY, *REAL], ids=str)
def test_products_of_both_kernels_are_the_references(mac, wide, monkeypatch):
    calls = []
    for name in ("_fast", "_wide"):
        kernel = getattr(float_gemm, name)
        monkeypatch.setattr(
            float_gemm, name, lambda *given, kernel=kernel, name=name: (calls.append(name), kernel(*given))
        )
    if wide:
        monkeypatch.setattr(float_gemm, "_moves", lambda *given: None)
    source, compared = random.Random(f"{mac} {wide}"), 0
    for depth in (1, 2, 3, 17, 40):
        near = 1.0 if mac.format in ("bf16", "fp16") else 0.8
        a, b = code_matrices(mac, source, depth, 3, 5, near)
        for result in ("float32", "bf16"):
            found = float_gemm.matmul(from_codes(a, mac.format), from_codes(b, mac.format), mac, result=result)
            chains = [[float_mac.chain(mac, row, column) for column in b.T.tolist()] for row in a.tolist()]
            ends = [
                [float_mac.finish(each, result, mac.accumulator_bits, mac.headroom) for each in row] for row in chains
            ]
            codes = np.array(ends, np.uint32) << (16 if result == "bf16" else 0)
            assert np.array_equal(found.view(np.uint32), codes)
            compared += codes.size
    assert compared == 5 * 2 * 15
    expected = "_wide" if wide or mac.accumulator_bits == 24 else "_fast"
    assert set(calls) == {expected}


@pytest.mark.parametrize("mac", EVERY[::3], ids=str)
def test_states_and_single_steps_are_the_references(mac):
    source = random.Random(f"states {mac}")
    a, b = code_matrices(mac, source, 12, 4, 6, 0.5)
    states = float_gemm.chain(a, b, mac)
    for m, n in np.ndindex(4, 6):
        wanted = float_mac.chain(mac, a[m].tolist(), b[:, n].tolist())
        assert (states.sign[m, n], states.exponent[m, n], states.significand[m, n]) == (
            wanted.sign, wanted.exponent, wanted.significand,
        )  # fmt: skip
    x, y = code_matrices(mac, source, 4, 4, 4)
    before = [[state_near(source, mac, int(x[m, n]), int(y[m, n])) for n in range(4)] for m in range(4)]
    given = float_gemm.States(
        *(
            np.array([[getattr(each, name) for each in row] for row in before])
            for name in ("sign", "exponent", "significand")
        ),
        np.zeros((4, 4), np.int32),
    )
    after = float_gemm.step(x, y, mac, given)
    for m, n in np.ndindex(4, 4):
        wanted = float_mac.step(mac, before[m][n], int(x[m, n]), int(y[m, n]))
        assert (after.sign[m, n], after.exponent[m, n], after.significand[m, n]) == (
            wanted.sign, wanted.exponent, wanted.significand,
        )  # fmt: skip


def test_numbers_far_apart_go_the_integer_way_and_specials_stay():
    mac = FloatMac("bf16", 20, "an-4", None, 4)
    a = np.array([[1e30, 1.0, -1e-30], [np.inf, 1.0, 2.0], [np.nan, 0.0, 1.0]], np.float32)
    b = np.array([[1e-30, 2.0], [3.0, 1e30], [1e-30, 7.0]], np.float32)
    found = float_gemm.matmul(a, b, mac)
    codes = [to_codes(each, "bf16") for each in (a, b)]
    ends = [
        [float_mac.finish(float_mac.chain(mac, row, column), "float32", 20, 4) for column in codes[1].T.tolist()]
        for row in codes[0].tolist()
    ]
    assert np.array_equal(found.view(np.uint32), np.array(ends, np.uint32))
    assert np.isinf(found[1]).all()
    assert np.isnan(found[2]).all()


def test_counted_shifts_are_all_steps():
    mac = FloatMac("bf16", 20, "an-4", None, 4)
    source = np.random.default_rng(1)
    counts = float_gemm.shift_histogram(source.normal(size=(6, 30)), source.normal(size=(30, 7)), mac)
    assert counts.sum() == 6 * 30 * 7
    assert counts[1:5].sum() > counts[5:].sum()
