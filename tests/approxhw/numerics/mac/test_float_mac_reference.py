"""The plain-Python reference of floating-point multiply-add chains, against exact rationals and the formats of ml_dtypes."""

import itertools
import math
import random
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from approxhw.common.errors import OptionError
from approxhw.numerics.mac.arithmetic import FLOAT_CODES, FloatMac
from approxhw.numerics.mac.float_mac import (
    EMIN,
    START,
    State,
    accumulate,
    chain,
    finish,
    from_word,
    multiply_codes,
    nearest_code,
    normalize,
    step,
    to_word,
    unpack_operand,
    value,
)

DTYPES = {
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "fp16": np.dtype(np.float16),
    "e4m3": np.dtype(ml_dtypes.float8_e4m3fn),
    "e5m2": np.dtype(ml_dtypes.float8_e5m2),
}
NORMALIZATIONS = ["exact", "an-1-1", "an-1-2", "an-2-2", "an-3-1", "an-2-5", "an-1-14", "an-8-7"]
EVERY = [
    FloatMac(name, width, normalization)
    for name, code in FLOAT_CODES.items()
    for width in range(max(16, code.product_bits), 25)
    for normalization in NORMALIZATIONS
]


def code_type(name):
    return np.uint16 if FLOAT_CODES[name].bits == 16 else np.uint8


def every_code(name):
    """Return all codes of a format with their values by ml_dtypes or NumPy, float64."""
    codes = np.arange(1 << FLOAT_CODES[name].bits).astype(code_type(name))
    with np.errstate(invalid="ignore"):  # signalling NaNs
        return codes, codes.view(DTYPES[name]).astype(np.float64)


def number(name, operand):
    """Return the exact number of a finite operand."""
    size = operand.significand * Fraction(2) ** (operand.exponent - FLOAT_CODES[name].fraction_bits)
    return -size if operand.sign else size


def corners(name):
    """Return the codes at every edge of a format: zeros, ones, limits, subnormals, infinities, NaNs, full fractions."""
    layout = FLOAT_CODES[name]
    fraction, exponent = (1 << layout.fraction_bits) - 1, (1 << layout.exponent_bits) - 1
    fields = {0, 1, layout.bias - 1, layout.bias, layout.bias + 1, exponent - 1, exponent}
    fractions = {0, 1, fraction, fraction >> 1}
    sizes = {field << layout.fraction_bits | part for field in fields for part in fractions}
    return sorted(size | sign << (layout.bits - 1) for size in sizes for sign in (0, 1))


def test_the_configurations_are_complete():
    assert len(EVERY) == (9 + 3 + 9 + 9) * len(NORMALIZATIONS)


# ---------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        (("fp32",), ["format: 'fp32' is no input format", "do: choose one of bf16, fp16, e4m3, e5m2"]),
        ((None,), ["format: None is no input format"]),
        (("bf16", 15), ["accumulator_bits: 15 does not lie in 16…24", "do: 20 serves bf16 well"]),
        (("bf16", 25), ["accumulator_bits: 25 does not lie in 16…24"]),
        (("bf16", 20.0), ["accumulator_bits: 20.0 does not lie in 16…24"]),
        (("bf16", True), ["accumulator_bits: True does not lie in 16…24"]),
        (
            ("fp16", 21),
            [
                "accumulator_bits: a product of two fp16 significands has 22 bits, the accumulator 21",
                "do: choose 22…24, or a format of fewer fraction bits",
            ],
        ),
        (
            ("bf16", 16, "an-8-8"),
            ["normalization: an-8-8 shifts left by 16, the accumulator has 16 bits", "do: choose K + L < 16"],
        ),
        (
            ("bf16", 20, "an-0-2"),
            [
                "normalization: 'an-0-2' is no normalization",
                "do: write exact, an-K-L with K and L of at least 1, such as an-1-2, or an-K with K of at least 0",
            ],
        ),
        (("bf16", 20, "an-1-0"), ["normalization: 'an-1-0' is no normalization"]),
        (("bf16", 20, "an-01-2"), ["normalization: 'an-01-2' is no normalization"]),
        (("bf16", 20, "an-1-2\n"), ["normalization: 'an-1-2\\n' is no normalization"]),
        (("bf16", 20, 3), ["normalization: 3 is no normalization"]),
        (
            ("int8", 30, "approximate"),
            [
                "floating-point multiply-add: 3 problems",
                "format: 'int8' is no input format",
                "accumulator_bits: 30 does not lie in 16…24",
                "normalization: 'approximate' is no normalization",
            ],
        ),
        (("fp16", 20, "an-10-10"), ["2 problems", "has 22 bits, the accumulator 20", "an-10-10 shifts left by 20"]),
    ],
)
def test_options_that_cannot_be_are_named_all_at_once(options, lines):
    with pytest.raises(OptionError) as raised:
        FloatMac(*options)
    for line in lines:
        assert line in str(raised.value)
    assert raised.value.exit_code == 2


def test_options_that_can_be():
    assert FloatMac() == FloatMac("bf16", 20, "an-1-2")
    assert FloatMac().shifts == (1, 2)
    assert FloatMac(normalization="exact").shifts is None
    assert FloatMac("bf16", 16, "an-8-7").shifts == (8, 7)
    assert str(FloatMac("e5m2", 18, "an-2-2")) == "float-mac<e5m2,18,an-2-2>"


# ---------------------------------------------------------------- formats


@pytest.mark.parametrize("name", FLOAT_CODES)
def test_every_code_decodes_to_the_number_of_the_format(name):
    codes, numbers = every_code(name)
    specials = 0
    for code, expected in zip(codes.tolist(), numbers.tolist(), strict=True):
        operand = unpack_operand(name, code)
        if math.isnan(expected):
            assert operand.nan
            assert not operand.inf
        elif math.isinf(expected):
            assert (operand.inf, operand.nan, operand.sign) == (True, False, int(expected < 0))
        else:
            if name == "bf16" and abs(expected) < 2.0**-126:
                expected = math.copysign(0.0, expected)
            assert number(name, operand) == Fraction(expected)
            assert operand.sign == (math.copysign(1.0, expected) < 0)
            assert (operand.nan, operand.inf) == (False, False)
            assert (operand.significand.bit_length() == FLOAT_CODES[name].fraction_bits + 1) == (expected != 0)
            continue
        assert (operand.significand, operand.exponent) == (0, EMIN)
        specials += 1
    assert specials == {"bf16": 256, "fp16": 2048, "e4m3": 2, "e5m2": 8}[name]


@pytest.mark.parametrize("name", FLOAT_CODES)
def test_numbers_round_to_the_code_that_ml_dtypes_gives(name):
    rng = np.random.default_rng(5)
    _, finite = every_code(name)
    finite = np.unique(finite[np.isfinite(finite)].astype(np.float32))
    finite = finite[:: max(1, finite.size // 3000)]
    middles = ((finite[1:].astype(np.float64) + finite[:-1]) / 2).astype(np.float32)  # ties, and their neighbours
    sizes = [finite, middles, np.nextafter(middles, np.float32(np.inf)), np.nextafter(middles, np.float32(-np.inf))]
    sizes.append(rng.integers(0, 1 << 32, 6000, dtype=np.uint64).astype(np.uint32).view(np.float32))
    top = finite.max()
    with np.errstate(over="ignore"):
        sizes.append(top * np.linspace(0.9, 1.2, 301, dtype=np.float32))
    sizes.append(np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 464.0, 465.0, 61440.0, 65520.0, 1e-45], np.float32))
    numbers = np.concatenate([part.astype(np.float32) for part in sizes])
    with np.errstate(over="ignore", invalid="ignore"):
        expected = numbers.astype(DTYPES[name]).view(code_type(name))
    for given, code in zip(numbers.tolist(), expected.tolist(), strict=True):
        found = nearest_code(name, given)
        if unpack_operand(name, code).nan:
            assert unpack_operand(name, found).nan, given
        else:
            assert found == code, (given, found, code)
    assert numbers.size > 6000


@pytest.mark.parametrize("name", FLOAT_CODES)
def test_codes_read_back(name):
    codes, numbers = every_code(name)
    assert [nearest_code(name, x) for c, x in zip(codes, numbers.tolist()) if not math.isnan(x)] == [
        c for c, x in zip(codes.tolist(), numbers) if not math.isnan(x)
    ]


# ---------------------------------------------------------------- one step


@pytest.mark.parametrize("mac", EVERY, ids=str)
def test_products_are_exact_and_specials_are_those_of_ieee(mac):
    name, codes = mac.format, corners(mac.format)
    picked = random.Random(str(mac)).sample(list(itertools.product(codes, codes)), 300)
    for a_code, b_code in picked:
        a, b = unpack_operand(name, a_code), unpack_operand(name, b_code)
        product = multiply_codes(mac, a_code, b_code)
        if a.nan or b.nan or a.inf or b.inf:
            numbers = [math.nan if x.nan else math.inf if x.inf else float(number(name, x) != 0) for x in (a, b)]
            expected = numbers[0] * numbers[1]
            assert (product.nan, product.inf) == (math.isnan(expected), math.isinf(expected))
            assert product.nan or product.sign == a.sign ^ b.sign
        else:
            assert product.sign == a.sign ^ b.sign
            assert value(product, mac.accumulator_bits) == number(name, a) * number(name, b)
            if product.significand:
                assert product.significand >> (mac.accumulator_bits - 1) == 1
            else:
                assert product.exponent == EMIN


def addends(mac, rng):
    """Return states, un-normalised ones too, at the edges of what a chain can hold, and random ones."""
    width = mac.accumulator_bits
    top, ones = 1 << (width - 1), (1 << width) - 1
    sizes = [top, ones, top | 1, ones - 1, 1, 2, 3, top >> 1, ones >> 1, ones >> (width // 2), rng.randrange(1, ones)]
    exponents = [-300, -252, -1, 0, 1, 2, width - 1, width, width + 1, 255, 270]
    states = [State(rng.getrandbits(1), exponent, size) for size in sizes for exponent in rng.sample(exponents, 6)]
    states += [State(1 - s.sign, s.exponent, s.significand) for s in states]
    return [*states, State(0, EMIN, 0), State(1, EMIN, 0)]


def expected_sum(mac, one, other):
    """Return the sum of two finite states by the definition, on fractions: floors of exact quotients, no bit operation."""
    width = mac.accumulator_bits
    exponent = max(one.exponent, other.exponent)
    unit = Fraction(2) ** (exponent - (width - 1))
    parts = [math.trunc(value(state, width) / unit) for state in (one, other)]
    total = sum(parts)
    if total == 0:
        return State(1 if one.sign and other.sign else 0, EMIN, 0)
    sign, size = int(total < 0), abs(total)
    if size >= 2**width:
        return State(sign, exponent + 1, size // 2)
    position = width - 1 - math.floor(math.log2(size))  # zeros above the highest one; exact below 2^24
    if mac.shifts is None:
        left = position
    else:
        k, further = mac.shifts
        left = 0 if position < k else k if position < k + further else k + further
    return State(sign, exponent - left, size * 2**left)


@pytest.mark.parametrize("mac", EVERY, ids=str)
def test_sums_are_those_of_the_definition(mac):
    rng = random.Random(str(mac))
    pairs = list(itertools.product(addends(mac, rng), repeat=2))
    picked = rng.sample(pairs, 300)
    for state in addends(mac, rng)[:60]:  # carries and cancellations: a unit and an exponent apart at most
        for exponent, change in itertools.product((0, 1, -1), (0, 1, -1)):
            size = state.significand + change
            if 0 < size < 1 << mac.accumulator_bits:
                picked += [(state, State(sign, state.exponent + exponent, size)) for sign in (0, 1)]
    seen = dict.fromkeys(("carry", "zero", "shift", "still", "far"), 0)
    for one, other in picked:
        found = accumulate(mac, one, other)
        assert found == expected_sum(mac, one, other), (one, other)
        assert found.significand >> mac.accumulator_bits == 0
        assert (found.exponent == EMIN) == (found.significand == 0)
        before = max(one.exponent, other.exponent)
        seen["zero" if found.significand == 0 else "carry" if found.exponent > before else "shift"] += 1
        seen["still"] += found.exponent == before
        seen["far"] += abs(one.exponent - other.exponent) >= mac.accumulator_bits
        if found.significand and found.exponent <= before:  # no carry: the left shift lost nothing
            unit = Fraction(2) ** (before - (mac.accumulator_bits - 1))
            parts = [math.trunc(value(state, mac.accumulator_bits) / unit) for state in (one, other)]
            assert value(found, mac.accumulator_bits) == sum(parts) * unit
    assert min(seen.values()) > 5, seen


@pytest.mark.parametrize("mac", [m for m in EVERY if m.accumulator_bits in (16, 22, 24)], ids=str)
def test_a_left_shift_never_loses_a_bit(mac):
    width = mac.accumulator_bits
    sizes = {1 << place for place in range(width)} | {(1 << place) - 1 for place in range(1, width + 1)}
    sizes |= set(random.Random(1).sample(range(1, 1 << width), 400))
    for size in sizes:
        exponent, shifted = normalize(mac, 7, size)
        left = 7 - exponent
        assert shifted == size << left
        assert shifted >> width == 0
        if mac.shifts is None:
            assert shifted >> (width - 1) == 1
        else:
            assert left in (0, mac.shifts[0], sum(mac.shifts))


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("name", FLOAT_CODES)
def test_specials_of_a_chain(name, normalization):
    mac = FloatMac(name, 24, normalization)
    one, zero, minus = nearest_code(name, 1.0), 0, nearest_code(name, -1.0)
    nan = nearest_code(name, math.nan)
    assert step(mac, START, nan, one).nan
    assert step(mac, State(0, 3, 1 << 23), one, nan).nan
    poisoned = step(mac, START, nan, zero)
    for pair in itertools.product((one, zero, minus, nan), repeat=2):
        assert step(mac, poisoned, *pair) == poisoned
    if not FLOAT_CODES[name].infinities:
        assert nearest_code(name, math.inf) == nan
        return
    plus_inf, minus_inf = nearest_code(name, math.inf), nearest_code(name, -math.inf)
    assert step(mac, START, plus_inf, zero).nan
    assert step(mac, START, zero, minus_inf).nan
    for sign, inf in enumerate((plus_inf, minus_inf)):
        state = step(mac, State(1, 200, 1 << 23), inf, one)
        assert (state.inf, state.nan, state.sign) == (True, False, sign)
        assert step(mac, START, inf, minus).sign == 1 - sign
        assert step(mac, state, one, minus) == state
        assert step(mac, state, inf, one) == state
        assert step(mac, state, zero, minus) == state
        assert step(mac, state, inf, minus).nan
        assert step(mac, START, inf, inf).sign == 0
        assert finish(state, "bf16", 24) == (0xFF80 if sign else 0x7F80)
        assert finish(state, "float32", 24) == (0xFF800000 if sign else 0x7F800000)
    assert finish(poisoned, "bf16", 24) == 0x7FC0
    assert finish(poisoned, "float32", 24) == 0x7FC00000


def test_a_zero_product_is_a_step_that_normalizes_again():
    mac = FloatMac("bf16", 20, "an-1-2")
    state = State(1, 5, 0b1011)
    moved = step(mac, state, 0, nearest_code("bf16", 3.0))
    assert moved == State(1, 2, 0b1011 << 3)
    assert step(mac, moved, 0x8000, nearest_code("bf16", 3.0)) == State(1, -1, 0b1011 << 6)
    assert step(FloatMac("bf16", 20, "exact"), state, 0, 0) == State(1, 5 - 16, 0b1011 << 16)


def test_signs_of_zero():
    mac, one, zero, minus_zero = FloatMac(), nearest_code("bf16", 1.0), 0, 0x8000
    assert step(mac, START, minus_zero, one) == START
    assert step(mac, State(1, EMIN, 0), minus_zero, one) == State(1, EMIN, 0)
    assert step(mac, State(1, EMIN, 0), zero, one) == START
    assert step(mac, State(1, EMIN, 0), minus_zero, nearest_code("bf16", -1.0)) == START
    cancelled = chain(mac, [one, nearest_code("bf16", -1.0)], [one, one])
    assert cancelled == START
    assert finish(State(1, EMIN, 0), "bf16", 20) == 0x8000
    assert finish(START, "float32", 20) == 0


# ---------------------------------------------------------------- chains


@pytest.mark.parametrize("mac", EVERY, ids=str)
def test_chains_stay_within_the_bound(mac):
    rng, name, checked = random.Random(str(mac)), mac.format, 0
    limit = (1 << FLOAT_CODES[name].exponent_bits) - 1
    for kind in range(8):
        near = kind % 2 == 0  # else any exponent at all
        state, exact, bound = START, Fraction(0), Fraction(0)
        last = None
        for _ in range(24):
            layout, pair = FLOAT_CODES[name], []
            for _ in range(2):
                field = rng.randrange(limit // 2 - 2, limit // 2 + 2) if near else rng.randrange(limit)
                fraction = rng.getrandbits(layout.fraction_bits)
                pair.append(rng.getrandbits(1) << (layout.bits - 1) | field << layout.fraction_bits | fraction)
            if kind >= 4 and last and rng.random() < 0.5:  # take back what was just added, or nearly so
                pair = [last[0] ^ 1 << (layout.bits - 1), last[1] ^ rng.getrandbits(1)]
            a, b = unpack_operand(name, pair[0]), unpack_operand(name, pair[1])
            if a.nan or b.nan or a.inf or b.inf:
                continue
            product = multiply_codes(mac, *pair)
            bound += Fraction(2) ** (max(state.exponent, product.exponent) - mac.accumulator_bits + 2)
            state, last = step(mac, state, *pair), pair
            exact += number(name, a) * number(name, b)
            assert abs(value(state, mac.accumulator_bits) - exact) < bound
            assert (state.significand == 0) == (state.exponent == EMIN)
            assert -511 <= state.exponent <= 511 or state.significand == 0
            checked += 1
    assert checked > 100


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("name", FLOAT_CODES)
def test_exponents_stay_within_ten_bits_at_the_limits(name, normalization):
    """The largest product added up, and the smallest ones cancelled, as long as a layer is deep."""
    mac, layout = FloatMac(name, 24, normalization), FLOAT_CODES[name]
    codes, numbers = every_code(name)
    finite = np.isfinite(numbers)
    largest = int(codes[finite][np.argmax(numbers[finite])])
    state = START
    for _ in range(3000):
        state = step(mac, state, largest, largest)
    assert 0 < state.exponent < 511 - 200
    smallest = 1 << layout.fraction_bits if not layout.subnormals else 1
    state, lowest = START, 0
    for index in range(400):
        state = step(mac, state, smallest | (index * 37 % 5), smallest | (index % 2) << (layout.bits - 1))
        state = step(mac, state, 0, 0)
        lowest = min(lowest, state.exponent if state.significand else 0)
    assert EMIN + 200 < lowest < 0


def test_small_whole_numbers_are_exact_whatever_the_configuration():
    rng, checked = random.Random(3), 0
    for mac in EVERY:
        a, b = ([rng.randrange(-4, 5) for _ in range(16)] for _ in range(2))
        state = chain(mac, (nearest_code(mac.format, x) for x in a), (nearest_code(mac.format, x) for x in b))
        if mac.shifts is None or max(mac.shifts) <= 2:  # coarse normalization may drop bits even so
            expected = sum(x * y for x, y in zip(a, b))
            assert value(state, mac.accumulator_bits) == expected
            code = finish(state, "float32", mac.accumulator_bits)
            assert np.uint32(code).view(np.float32) == expected
            checked += 1
    assert checked == 30 * 4


# ---------------------------------------------------------------- column end and wires


@pytest.mark.parametrize("width", range(16, 25))
def test_column_end_rounds_like_numpy_and_ml_dtypes(width):
    rng, checked = random.Random(width), 0
    sizes = [1, 3, (1 << width) - 1, 1 << (width - 1), (1 << (width - 1)) + 1, (1 << width) - 2]
    sizes += [0b11111111 << (width - 8), 0b111111111 << (width - 9), 0b101010101 << (width - 9)]  # ties, carries
    sizes += [(0b100000001 << (width - 9)) | 1, (0b100000001 << (width - 9)) - 1]
    sizes += [rng.randrange(1, 1 << width) for _ in range(60)]
    for size, exponent in itertools.product(sizes, (-300, -127, -126, -125, -120, -1, 0, 90, 126, 127, 128, 129, 300)):
        for sign in (0, 1):
            state = State(sign, exponent, size)
            number = value(state, width)
            tiny, huge = abs(number) < Fraction(2) ** -126, abs(number) >= Fraction(2) ** 128
            single = np.float32(0.0 if tiny else math.inf if huge else float(abs(number)))
            single = np.copysign(single, np.float32(-1 if sign else 1))
            assert huge or tiny or Fraction(float(single)) == number  # float32 holds all W bits
            assert finish(state, "float32", width) == int(single.view(np.uint32))
            half = single.astype(ml_dtypes.bfloat16)
            assert finish(state, "bf16", width) == int(half.view(np.uint16))
            checked += 1
    assert checked == len(sizes) * 13 * 2


def test_small_results_are_flushed_before_they_are_rounded():
    almost = State(1, -127, (1 << 20) - 1)  # 2^-126 less one unit: bf16 would round it up to a normal number
    assert finish(almost, "bf16", 20) == 0x8000
    assert finish(almost, "float32", 20) == 0x80000000
    assert finish(State(0, -126, 1 << 19), "bf16", 20) == 0x0080


@pytest.mark.parametrize("width", [16, 20, 24])
def test_words_read_back(width):
    rng = random.Random(width)
    states = [START, State(1, EMIN, 0), State(0, 511, (1 << width) - 1), State(1, -511, 1), State(0, -1, 5)]
    states += [State(rng.getrandbits(1), rng.randrange(-500, 500), rng.randrange(1, 1 << width)) for _ in range(300)]
    states += [State(0, EMIN, 0, nan=True), State(1, EMIN, 0, inf=True), State(0, EMIN, 0, inf=True)]
    for state in states:
        word = to_word(state, width)
        assert word >> (width + 13) == 0
        assert from_word(word, width) == state
    assert to_word(State(1, -2, 5), width) == 0b0011111111110 << width | 5
    assert to_word(State(0, EMIN, 0, nan=True), width) == 0b1001000000000 << width
    assert from_word(0b1110101010101 << width | 9, width).nan


def test_a_number_is_asked_of_numbers_only():
    with pytest.raises(ValueError, match="NaN and infinity are no fractions"):
        value(State(0, EMIN, 0, inf=True), 20)
