"""Limited alignment of floating-point multiply-adds: the reference against fractions, the kernels against the reference."""

import math
import random
from fractions import Fraction

import numpy as np
import pytest

from approxhw.common.errors import OptionError
from approxhw.numerics.mac import float_mac
from approxhw.numerics.mac.arithmetic import FLOAT_CODES, FloatMac
from approxhw.numerics.mac.float_mac import EMIN, START, State, nearest_code, unpack_operand, value
from approxhw.numerics.mac.kernels import gemm as float_gemm
from approxhw.numerics.mac.kernels.codes import from_codes, to_codes

BITS = (1, 2, 3, 4)
NORMALIZATIONS = ("exact", "an-1-2", "an-2-2", "an-3-5")
EVERY = [
    FloatMac(name, width, NORMALIZATIONS[(width + bits) % 4], bits)
    for name, code in FLOAT_CODES.items()
    for width in range(max(16, code.product_bits), 25)
    for bits in BITS
]
SOME = [mac for mac in EVERY if mac.accumulator_bits in (16, 20, 22, 23, 24)]


def operand(source, mac, *, special=0.0, zero=0.05, near=0.8):
    """Return a code: a zero, a special one, or a number of either sign, mostly near 1."""
    layout = FLOAT_CODES[mac.format]
    sign, top = source.getrandbits(1) << (layout.bits - 1), (1 << layout.exponent_bits) - 1
    kind = source.random()
    if kind < zero:
        return sign
    fraction = source.getrandbits(layout.fraction_bits)
    if kind < zero + special:
        return sign | top << layout.fraction_bits | source.choice((0, fraction))
    fraction = source.choice((0, (1 << layout.fraction_bits) - 1, fraction, fraction))
    field = source.randrange(max(1, layout.bias - 3), layout.bias + 4)
    return sign | (field if source.random() < near else source.randrange(top)) << layout.fraction_bits | fraction


def state(source, mac, a_code, b_code):
    """Return a state whose distance from the product lies about the last one that is not dropped, on either side."""
    width, kind = mac.accumulator_bits, source.random()
    if kind < 0.04:
        return State(source.getrandbits(1), EMIN, 0)
    if kind < 0.08:
        return State(source.getrandbits(1), EMIN, 0, inf=True) if kind < 0.07 else State(0, EMIN, 0, nan=True)
    a, b = unpack_operand(mac.format, a_code), unpack_operand(mac.format, b_code)
    e = a.exponent + b.exponent if a.significand and b.significand else source.randrange(-9, 9)
    edge = source.choice((-mac.reach, mac.reach + 1, 0)) + source.choice((-2, -1, -1, 0, 0, 1, 2))
    size = source.choice((1 << (width - 1), (1 << width) - 1, 1, source.randrange(1, 1 << width)))
    return State(source.getrandbits(1), e + edge, max(1, size >> source.choice((0, 0, 0, 1, 2, 5))))


def number(mac, code):
    """Return the exact number of a finite code."""
    read = unpack_operand(mac.format, code)
    size = read.significand * Fraction(2) ** (read.exponent - mac.code.fraction_bits)
    return -size if read.sign else size


def place(size):
    """Return the e of 2^e ≤ size < 2^(e + 1), size being a fraction above 0."""
    e = 0
    while Fraction(2) ** (e + 1) <= size:
        e += 1
    while Fraction(2) ** e > size:
        e -= 1
    return e


def expected_step(mac, before, a_code, b_code):
    """Return the step by the definition on fractions, and how far apart the addends were: finite operands and states."""
    a, b, width = number(mac, a_code), number(mac, b_code), mac.accumulator_bits
    product, sign = a * b, unpack_operand(mac.format, a_code).sign ^ unpack_operand(mac.format, b_code).sign
    addends = [value(before, width), product]
    e = place(abs(a)) + place(abs(b)) if product else EMIN
    apart = e - before.exponent if e >= before.exponent else before.exponent - e - 1
    if apart >= 2**mac.alignment:
        addends[0 if e >= before.exponent else 1] = Fraction(0)
    highest = max(before.exponent, place(abs(product)) if product else EMIN)
    unit = Fraction(2) ** (highest - (width - 1))
    total = sum(math.trunc(addend / unit) for addend in addends)
    if total == 0:
        return State(int(before.sign and sign), EMIN, 0), apart
    size = abs(total)
    if size >= 2**width:
        return State(int(total < 0), highest + 1, size // 2), apart
    open_bits = width - 1 - place(Fraction(size))
    if mac.shifts is None:
        left = open_bits
    else:
        k, further = mac.shifts
        left = 0 if open_bits < k else k if open_bits < k + further else k + further
    return State(int(total < 0), highest - left, size * 2**left), apart


# ---------------------------------------------------------------- options


@pytest.mark.parametrize("bits", [0, 5, -1, 2.0, True, "3"])
def test_distances_that_no_element_has_are_refused(bits):
    with pytest.raises(OptionError) as raised:
        FloatMac("bf16", 16, "an-1-2", bits)
    text = str(raised.value)
    assert f"alignment: {bits!r} is no number of bits of distance from 1 to 4" in text
    assert "do: leave it out for exact alignment: from 5 bits on nothing that counts is dropped" in text


def test_a_wrong_distance_is_named_beside_all_else():
    with pytest.raises(OptionError) as raised:
        FloatMac("int8", 15, "an-0-1", 9)
    for word in ("4 problems", "format: 'int8'", "accumulator_bits: 15", "normalization: 'an-0-1'", "alignment: 9"):
        assert word in str(raised.value)


def test_spelling():
    assert str(FloatMac("bf16", 16, "an-1-2", 3)) == "float-mac<bf16,16,an-1-2,align-3>"
    assert str(FloatMac("bf16", 16, "an-1-2")) == "float-mac<bf16,16,an-1-2>"
    assert (FloatMac().alignment, FloatMac().reach) == (None, None)
    assert [FloatMac(alignment=bits).reach for bits in BITS] == [2, 4, 8, 16]
    assert FloatMac(alignment=3) != FloatMac()


# ---------------------------------------------------------------- the reference


@pytest.mark.parametrize("mac", EVERY, ids=str)
def test_steps_are_those_of_the_definition(mac):
    source = random.Random(str(mac))
    seen = dict.fromkeys(("last kept", "first dropped", "state", "product", "two or more", "less", "subtract"), 0)
    checked = 0
    while checked < 300:
        a, b = operand(source, mac), operand(source, mac)
        before = state(source, mac, a, b)
        if any(x.nan or x.inf for x in (unpack_operand(mac.format, a), unpack_operand(mac.format, b), before)):
            continue
        found = float_mac.step(mac, before, a, b)
        expected, apart = expected_step(mac, before, a, b)
        assert found == expected, (before, a, b)
        checked += 1
        if before.significand and number(mac, a) * number(mac, b):
            e = float_mac.product_exponent(mac, a, b)
            product = float_mac.multiply_codes(mac, a, b)
            seen["last kept"] += apart == mac.reach - 1
            seen["first dropped"] += apart == mac.reach
            seen["state" if e >= before.exponent else "product"] += apart >= mac.reach
            seen["two or more" if product.exponent > e else "less"] += apart in (mac.reach - 1, mac.reach)
            seen["subtract"] += product.sign != before.sign and apart in (mac.reach - 1, mac.reach)
    assert min(seen.values()) > 5, seen


def test_the_distance_does_not_wait_for_the_product_s_upper_bit():
    """1.5 · 1.5 = 2.25 and 1 · 1 stand at the same distance from a state, though one binade lies between them."""
    mac = FloatMac("bf16", 16, "exact", 2)
    one, more = nearest_code("bf16", 1.0), nearest_code("bf16", 1.5)
    top = 1 << 15
    for code, number_of in ((one, 1), (more, Fraction(9, 4))):
        assert float_mac.product_exponent(mac, code, code) == 0
        kept, dropped = (float_mac.step(mac, State(0, e, top), code, code) for e in (4, 5))
        assert value(kept, 16) == 16 + number_of
        assert value(dropped, 16) == 32
        kept, dropped = (float_mac.step(mac, State(0, e, top), code, code) for e in (-3, -4))
        assert value(kept, 16) == number_of + Fraction(1, 8)
        assert value(dropped, 16) == number_of
    assert float_mac.product_exponent(mac, 0, one) == float_mac.product_exponent(mac, one, 0x7F80) == EMIN


def test_a_zero_product_drops_nothing():
    mac = FloatMac("bf16", 16, "exact", 1)
    for exponent in (-300, -1, 0, 200):
        before = State(1, exponent, 1 << 15)
        assert float_mac.step(mac, before, 0x8000, nearest_code("bf16", 2.0**100)) == before


def test_four_bits_are_exact_for_a_sum_of_sixteen():
    """A distance of 16 shifts every bit of W = 16 out anyway; with W = 17 one bit may stay."""
    source, checked, differ = random.Random(4), 0, 0
    for normalization in NORMALIZATIONS:
        for name in ("bf16", "e4m3", "e5m2"):
            for width in (16, 17):
                limited, exact = FloatMac(name, width, normalization, 4), FloatMac(name, width, normalization)
                for _ in range(400):
                    a, b = operand(source, limited, special=0.02), operand(source, limited, special=0.02)
                    before = state(source, limited, a, b)
                    same = float_mac.step(limited, before, a, b) == float_mac.step(exact, before, a, b)
                    assert same or width == 17
                    checked, differ = checked + (width == 16), differ + (not same)
    assert checked == 4 * 3 * 400
    assert differ > 20


@pytest.mark.parametrize("mac", SOME, ids=str)
def test_chains_stay_within_the_bound(mac):
    source, checked, dropped = random.Random(str(mac)), 0, 0
    for _ in range(8):
        reached, exact, bound = START, Fraction(0), Fraction(0)
        for _ in range(24):
            a, b = operand(source, mac, near=0.5), operand(source, mac, near=0.5)
            if any(x.nan or x.inf for x in (unpack_operand(mac.format, a), unpack_operand(mac.format, b))):
                continue
            product = float_mac.multiply_codes(mac, a, b)
            highest = max(reached.exponent, product.exponent)
            bound += Fraction(2) ** (highest - mac.accumulator_bits + 2)
            if expected_step(mac, reached, a, b)[1] >= mac.reach:
                bound += Fraction(2) ** (highest - mac.reach + 1)
                dropped += 1
            reached = float_mac.step(mac, reached, a, b)
            exact += number(mac, a) * number(mac, b)
            assert abs(value(reached, mac.accumulator_bits) - exact) < bound
            checked += 1
    assert checked > 100
    assert dropped > 10


# ---------------------------------------------------------------- the kernels


def matrices(mac, source, depth, rows, columns, **kinds):
    """Return codes of a (rows × depth) and b (depth × columns), uint16."""
    return tuple(
        np.array([[operand(source, mac, **kinds) for _ in range(n)] for _ in range(m)], np.uint16)
        for m, n in ((rows, depth), (depth, columns))
    )


def bits(products):
    return np.ascontiguousarray(products, np.float32).view(np.uint32)


def reference(mac, a, b):
    """Return the bits of the product of two matrices of codes by the reference, as those of float32."""
    chains = [[float_mac.chain(mac, row, column) for column in b.T.tolist()] for row in a.tolist()]
    ends = [[float_mac.finish(each, "float32", mac.accumulator_bits) for each in row] for row in chains]
    return np.array(ends, np.uint32)


@pytest.fixture
def paths(monkeypatch):
    """Count the calls of the fast and of the integer kernel, and refuse the fast one where asked."""
    seen = {"fast": 0, "wide": 0, "refused": False}
    fast, wide, moves = float_gemm._fast, float_gemm._wide, float_gemm._moves

    def counted(kernel, path):
        def call(*arguments):
            seen[path] += 1
            return kernel(*arguments)

        return call

    monkeypatch.setattr(float_gemm, "_fast", counted(fast, "fast"))
    monkeypatch.setattr(float_gemm, "_wide", counted(wide, "wide"))
    monkeypatch.setattr(float_gemm, "_moves", lambda *given: None if seen["refused"] else moves(*given))
    return seen


@pytest.mark.parametrize("mac", EVERY, ids=str)
def test_matrix_products_are_those_of_the_reference(mac, paths):
    source, checked = random.Random(str(mac)), 0
    for kinds in ({"near": 1.0}, {"near": 0.7}, {"near": 0.9, "special": 0.02}, {"near": 1.0, "zero": 0.6}):
        a, b = matrices(mac, source, 14, 2, 4, **kinds)
        expected, given = reference(mac, a, b), (from_codes(a, mac.format), from_codes(b, mac.format))
        for refused in (False, True):
            paths["refused"] = refused
            assert np.array_equal(bits(float_gemm.matmul(*given, mac)), expected), (kinds, refused)
            checked += expected.size
    assert checked == 64
    assert paths["wide"] >= 4
    assert paths["fast"] + paths["wide"] == 8
    assert (paths["fast"] >= 2) == (mac.accumulator_bits < 24)


@pytest.mark.parametrize("mac", EVERY, ids=str)
def test_single_steps_from_any_state_are_those_of_the_reference(mac):
    source, shape = random.Random(f"{mac} step"), (10, 40)
    pairs = [(operand(source, mac, special=0.03), operand(source, mac, special=0.03)) for _ in range(400)]
    given = [state(source, mac, *pair) for pair in pairs]
    fields = [[each.sign, each.exponent, each.significand, each.nan << 1 | each.inf] for each in given]
    states = float_gemm.States(*np.array(fields, np.int32).T.reshape(4, *shape))
    a, b = np.array(pairs, np.uint16).T.reshape(2, *shape)
    found = float_gemm.step(a, b, mac, states)
    expected = [float_mac.step(mac, before, *pair) for before, pair in zip(given, pairs, strict=True)]
    arrays = (found.sign, found.exponent, found.significand, found.flags)
    read = [State(s, e, v, bool(f & 2), bool(f & 1)) for s, e, v, f in zip(*(x.reshape(-1).tolist() for x in arrays))]
    assert read == expected
    exact = FloatMac(mac.format, mac.accumulator_bits, mac.normalization)
    unlimited = [float_mac.step(exact, before, *pair) for before, pair in zip(given, pairs, strict=True)]
    assert (expected == unlimited) == (mac.accumulator_bits == 16 and mac.alignment == 4)


@pytest.mark.parametrize("mac", SOME, ids=str)
def test_the_fast_form_equals_the_integers_on_layers(mac, paths):
    """Deep chains over three blocks of columns, cancelling too: each product is taken back a few steps later."""
    rng = np.random.default_rng(mac.accumulator_bits)
    a, b = rng.normal(size=(3, 90)), rng.normal(size=(90, 300)) * 0.1
    a[:, 30:60], b[30:60] = -a[:, :30], b[:30] * (1 + rng.integers(0, 2, (30, 1)) / 64)
    a[:, 60:] *= rng.random((3, 30)) < 0.3
    fast = bits(float_gemm.matmul(a, b, mac))
    assert paths["fast"] == (mac.accumulator_bits < 24)
    paths["refused"] = True
    assert np.array_equal(fast, bits(float_gemm.matmul(a, b, mac)))
    exact = bits(float_gemm.matmul(a, b, FloatMac(mac.format, mac.accumulator_bits, mac.normalization)))
    if mac.alignment < 4:  # products of 8-bit formats seldom lie 16 binades apart
        assert not np.array_equal(fast, exact)
    elif mac.accumulator_bits == 16:
        assert np.array_equal(fast, exact)


def test_real_images_through_a_fitted_layer(paths):
    """scikit-learn's digits through a linear classifier: a sample against the reference, all against the integers."""
    digits = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not here").load_digits()
    rows = (digits.data / 16).astype(np.float32)
    weights = np.linalg.lstsq(rows, np.eye(10)[digits.target] * 2 - 1, rcond=None)[0].astype(np.float32)
    a, b = to_codes(rows[::90], "bf16"), to_codes(weights, "bf16")
    shares = []
    for alignment in BITS:
        mac = FloatMac("bf16", 16, "an-1-2", alignment)
        paths["refused"] = False
        found = float_gemm.matmul(rows, weights, mac, threads=2)
        assert np.array_equal(bits(found[::90]), reference(mac, a, b))
        paths["refused"] = True
        assert np.array_equal(bits(found), bits(float_gemm.matmul(rows, weights, mac)))
        shares.append(float((np.argmax(found, axis=1) == digits.target).mean()))
    assert paths["fast"] >= 4
    assert paths["wide"] >= 4
    assert shares[3] > 0.9
    assert shares[2] > 0.9


def test_tiles_and_histograms_follow():
    mac, source = FloatMac("bf16", 20, "an-1-2", 2), random.Random(8)
    a, b = matrices(mac, source, 40, 3, 6)
    whole = float_gemm.chain(a, b, mac)
    tiles = None
    for first in (0, 7, 16, 33):
        last = {0: 7, 7: 16, 16: 33, 33: 40}[first]
        tiles = float_gemm.chain(a[:, first:last], b[first:last], mac, tiles)
    for field in ("sign", "exponent", "significand", "flags"):
        assert np.array_equal(getattr(whole, field), getattr(tiles, field))
    counts = np.zeros(22, np.int64)
    for row in a.tolist():
        for column in b.T.tolist():
            before = START
            for pair in zip(row, column, strict=True):
                exact = FloatMac("bf16", 20, "exact", 2)  # the same sum, whose left shift tells what was needed
                moved = float_mac.step(exact, before, *pair)
                highest = max(before.exponent, float_mac.multiply_codes(mac, *pair).exponent)
                counts[21 if moved.significand == 0 else highest - moved.exponent + 1] += 1
                before = float_mac.step(mac, before, *pair)
    found = float_gemm.shift_histogram(from_codes(a, "bf16"), from_codes(b, "bf16"), mac)
    assert found.tolist() == counts.tolist()
    assert found.sum() == 3 * 6 * 40
