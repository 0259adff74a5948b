"""The four 8-bit codes: tables against the published lists, nearest codes against exact fractions, every refusal's text."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approxhw.common.errors import InvalidDataError, OptionError
from approxhw.numerics.eight_bit.codes import Compressed, EightBit, make, parse, power_above
from approxhw.numerics.eight_bit.tables import KINDS, float32_of, magnitudes, tables
from approxhw.numerics.formats import dynamic8, linear8, mantissa8, static8

VARIANTS = [(kind, fixed) for kind in KINDS for fixed in (False, True)]
SUBNORMAL = float(np.float32(2.0**-149))


def odd(number: int) -> int:
    """Return *number* without its factors of two."""
    return number // (number & -number) if number else 0


def bits(values):
    return np.asarray(values, dtype=np.float32).view(np.uint32).tolist()


# tables


@pytest.mark.parametrize(("kind", "fixed"), VARIANTS)
def test_magnitudes_are_the_published_ones(search, kind, fixed):
    assert list(magnitudes(kind, fixed)) == search(kind, fixed).magnitudes


def test_the_dynamic_tree_has_the_values_that_were_printed():
    values = magnitudes("dynamic8")
    inner = sorted(values[2:])
    assert (len(set(inner)), inner[0], inner[1]) == (126, Fraction("2.75e-6"), Fraction("7.25e-6"))
    decade = [f"{float(value):.6f}" for value in inner[-64:]]
    assert [decade[at] for at in (0, 31, 32, 63)] == ["0.105469", "0.444531", "0.458594", "0.991406"]
    widths = {after - before for before, after in zip(inner[-64:-33], inner[-63:-32], strict=True)}
    assert widths == {Fraction("0.0109375")}
    assert {b - a for a, b in zip(inner[-32:-1], inner[-31:], strict=True)} == {Fraction("0.0171875")}
    assert [sum(Fraction(1, 10 ** (n + 1)) < value <= Fraction(1, 10**n) for value in inner) for n in range(6)] == [
        64, 32, 16, 8, 4, 2,
    ]  # fmt: skip
    assert (values[0], values[1]) == (0, 1)


def test_the_other_codes_have_the_sizes_that_were_printed():
    assert (max(magnitudes("static8", True)), len(set(magnitudes("static8")))) == (Fraction("92.25"), 128)
    assert (max(magnitudes("mantissa8", True)), len(set(magnitudes("mantissa8")))) == (150, 114)
    assert magnitudes("static8", True)[:3] == (0, Fraction("1.4375e-6"), Fraction("1.875e-6"))
    assert magnitudes("linear8") == magnitudes("linear8", True) == tuple(Fraction(i, 127) for i in range(128))


@pytest.mark.parametrize(("kind", "fixed"), VARIANTS)
def test_table_entries_are_the_nearest_float32_and_the_upper_half_is_negative(kind, fixed):
    entries = tables(kind, fixed).values
    for code, exact in enumerate(magnitudes(kind, fixed)):
        entry = entries[code]
        around = [Fraction(float(np.nextafter(entry, np.float32(end)))) for end in (-np.inf, np.inf)]
        gap = abs(Fraction(float(entry)) - exact)
        assert all(gap < abs(other - exact) for other in around)
    assert np.array_equal(entries[128:].view(np.uint32), entries[:128].view(np.uint32) | np.uint32(1 << 31))
    assert bits(entries[[0, 128]]) == [0, 0x80000000]


@pytest.mark.parametrize(("kind", "fixed"), VARIANTS)
def test_a_float64_quotient_decides_exactly(kind, fixed):
    """A float32 x over a float32 maximum m is X·2^a / M with whole X, M < 2^24; let a border be p / q without factors of two.

    Where they differ, X·q·2^a and M·p (or X·q and M·p·2^−a) are different whole numbers, so that the quotient is off the border
    by more than 1 / max(M·p, X·q) of itself. Below 2^52 that is more than a step of float64: the two do not round to the same
    number, and rounding never changes the order. A quotient that equals the rounded border is therefore the exact tie.
    """
    found = tables(kind, fixed)
    largest = max(max(odd(border.numerator), odd(border.denominator)) for border, _ in found.exact)
    assert largest * 2**24 < 2**52
    assert np.all(np.diff(found.borders) > 0)
    for reached, (border, upper) in zip(found.borders, found.exact, strict=True):
        assert reached == (float(border) if upper else np.nextafter(float(border), np.inf))


@pytest.mark.parametrize(
    "value", [Fraction(1, 3), Fraction(2, 3), Fraction(2**24 + 1), Fraction(2**24 + 3), Fraction(7, 10)]
)
def test_float32_of_rounds_once_to_even(value):
    step = Fraction(2) ** (value.numerator.bit_length() - value.denominator.bit_length() - 24)
    found = Fraction(float32_of(value))
    assert found == Fraction(float(np.float32(float32_of(value))))
    assert abs(found - value) <= step * 2
    if value.denominator == 1:
        assert found == (2**24 if value == 2**24 + 1 else 2**24 + 4)


# nearest codes


def maxima_for(kind: str, fixed: bool, rng: np.random.Generator) -> list[float]:
    """Return maxima of every sort; those that are a border's denominator make exact ties."""
    if fixed:
        return [1.0]
    borders = [border for border, _ in tables(kind).exact]
    ties = [odd(border.denominator) for border in borders]
    ties = [
        float(number * 2**power) for number, power in zip(ties, rng.integers(0, 9, 200), strict=False) if number < 2**24
    ]
    sizes = np.ldexp(rng.uniform(1, 2, 8), rng.integers(-140, 127, 8))
    return [1.0, 3.0, 40.0, 0.75, SUBNORMAL, 7 * SUBNORMAL, 2.0**-126, 3.4e38, *sizes.tolist(), *ties[::6]]


@pytest.mark.parametrize(("kind", "fixed"), VARIANTS)
def test_codes_are_nearest_beside_every_border_and_in_every_tie(search, near_borders, kind, fixed):
    rng, exact = np.random.default_rng(5), search(kind, fixed)
    fmt = make(kind, max="fixed" if fixed else "exact")
    exact.ties, compared = 0, 0
    for maximum in maxima_for(kind, fixed, rng):
        maximum = np.float32(maximum)
        x = near_borders(fmt, float(maximum))
        top = float(max(exact.magnitudes)) * 1.3 if fixed else float(maximum)
        x = np.concatenate([x, rng.uniform(-top, top, 40).astype(np.float32), [0.0, -0.0]]).astype(np.float32)
        if not fixed:
            x = np.append(x, -maximum)
        codes = fmt.encode(x).codes
        expected = [exact.code(value, np.float32(1) if fixed else maximum) for value in x]
        assert codes.tolist() == expected
        assert 0x80 not in expected
        compared += x.size
    assert compared > (1000 if fixed else 10_000)
    if fixed:  # ties are the borders that are float32 numbers
        assert exact.ties >= 2 * sum(odd(border.denominator) == 1 for border, _ in fmt.tables.exact) > 0
    else:
        assert exact.ties > 50


@pytest.mark.parametrize(
    ("fmt", "x", "maximum", "code"),
    [
        (dynamic8(), 17 / 128, 1, 0x42),  # between 0x42 and 0x43: the one with bit 0 clear
        (dynamic8(), 11, 40, 0x50),  # between 0x4f and 0x50: upwards
        (dynamic8(), 255, 256.0 * 1.0009803921568628, 0x7F),
        (dynamic8(), 1.375, 1e6, 0x00),
        (dynamic8(), 1.3750001, 1e6, 0x02),
        (dynamic8(), 0.995703125, 1, 0x7F),
        (dynamic8(), -0.9957032, 1, 0x81),
        (linear8(), 1, 254, 0),  # half of a step, and three halves: to the even code
        (linear8(), 3, 254, 2),
        (static8(), 1e9, None, 0x7F),
        (mantissa8(), -1e9, None, 0xFF),
        (mantissa8(), 10, None, 0x6A),  # 10 · 10^0, not 1 · 10^1
        (mantissa8(), 0.0, None, 0x00),
    ],
)  # fmt: skip
def test_single_codes(fmt, x, maximum, code):
    x = np.array([x] if maximum is None else [x, maximum], dtype=np.float32)
    assert fmt.encode(x).codes[0] == code


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(KINDS),
    mode=st.sampled_from(("exact", "pow2", "fixed")),
    x=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20),
)
def test_any_numbers_get_the_codes_of_the_exhaustive_search(search, kind, mode, x):
    fmt, x = make(kind, max=mode), np.array(x, dtype=np.float32)
    if mode == "pow2" and np.abs(x).max() > np.float32(2.0**127):
        with pytest.raises(InvalidDataError, match="float32 has no power of two above its maximum"):
            fmt.encode(x)
        return
    found = fmt.encode(x)
    assert found.codes.tolist() == [search(kind, mode == "fixed").code(value, found.maxima[0]) for value in x]


def test_blocks_have_their_own_maxima_and_zeros_cost_nothing():
    x = np.zeros((3, 100), dtype=np.float32)
    x[0, 5], x[0, 6], x[1, 99] = -2, 1, 0.25
    found = dynamic8(block=64).encode(x, ragged=True)
    assert (found.codes.shape, found.codes.dtype, found.maxima.dtype) == ((3, 100), np.uint8, np.float32)
    assert found.maxima.tolist() == [2, 0, 0, 0.25, 0]
    assert (found.codes[0, 5], found.codes[1, 99]) == (0x81, 0x01)
    assert np.count_nonzero(found.codes) == 3
    assert (found.bits, found.ratio) == (300 * 8 + 5 * 32, 32 * 300 / 2560)
    assert (static8().encode(x).bits, static8().encode(x).ratio) == (2400, 4.0)
    assert dynamic8().encode(np.zeros(7)).maxima.tolist() == [0]
    assert bits(dynamic8().decode(dynamic8().encode(np.array([-0.0, 0.0])))) == [0, 0]


def test_float64_values_are_rounded_to_float32_first():
    x = np.array([0.1328125 + 1e-12, 1.0])
    assert dynamic8().encode(x).codes.tolist() == dynamic8().encode(x.astype(np.float32)).codes.tolist() == [0x42, 1]


def test_a_tensor_that_is_not_contiguous_or_has_no_axis_is_read_in_its_own_order():
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    found = linear8().encode(x.T)
    assert np.array_equal(found.codes, linear8().encode(x).codes.T)
    assert np.array_equal(
        linear8().decode(Compressed(linear8(), found.codes.T, found.maxima)), linear8().decode(found).T
    )
    assert linear8().encode(np.float32(3)).codes.shape == ()


def test_powers_of_two_above_maxima():
    given = [
        0,
        SUBNORMAL,
        2.0**-97,
        2.0**-96,
        np.nextafter(np.float32(2.0**-96), np.float32(1)),
        0.75,
        1,
        1.0000001,
        2.0**127,
        3e38,
    ]
    given += [np.inf]
    expected = [0, 2.0**-96, 2.0**-96, 2.0**-96, 2.0**-95, 1, 1, 2, 2.0**127, np.inf, np.inf]
    assert power_above(np.array(given, dtype=np.float32)).tolist() == expected
    assert np.isnan(power_above(np.array([np.nan], dtype=np.float32))[0])


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_divided_by_the_power_of_two_where_that_is_asked_for(search, kind):
    x = (np.random.default_rng(3).normal(size=2000) * 0.3).astype(np.float32)
    found = make(kind, max="pow2").encode(x)
    power = 2.0 ** np.ceil(np.log2(np.abs(x).max()))
    assert found.maxima.tolist() == [power]
    assert found.codes.tolist() == [search(kind).code(value, np.float32(power)) for value in x]


# decoding


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["exact", "pow2", "fixed"])
def test_decoding_rounds_the_product_once(kind, mode):
    fmt, codes = make(kind, max=mode), np.arange(256, dtype=np.uint8)
    rng = np.random.default_rng(4)
    maxima = [
        0.0,
        SUBNORMAL,
        2.0**-130,
        2.0**-120,
        1.0,
        3.0,
        2.0**127,
        *np.ldexp(rng.uniform(1, 2, 30), rng.integers(-140, 127, 30)),
    ]
    maxima = np.array([1.0] if mode == "fixed" else maxima, dtype=np.float32)
    for maximum in power_above(maxima) if mode == "pow2" else maxima:
        found = fmt.decode(Compressed(fmt, codes, np.array([maximum], dtype=np.float32)))
        product = fmt.tables.values.astype(np.float64) * float(maximum)  # 48 bits: exact
        assert bits(found) == bits(product.astype(np.float32))
    assert bits(found[[128]]) == [0x80000000]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["exact", "pow2", "fixed"])
def test_codes_that_were_decoded_are_encoded_as_they_were(kind, mode):
    fmt = make(kind, max=mode)
    canonical = np.concatenate([fmt.tables.codes, fmt.tables.codes[1:] | 128])
    assert canonical.size == (227 if kind == "mantissa8" else 255)
    top = fmt.tables.codes[-1]
    for maximum in (
        [1.0] if mode == "fixed" else [2.0**-90, 1.0, 2.0**60] if mode == "pow2" else [1e-30, 0.3, 1.0, 77.7, 3e38]
    ):
        compressed = Compressed(fmt, canonical, np.array([maximum], dtype=np.float32))
        again = fmt.encode(fmt.decode(compressed))
        assert top in again.codes
        assert again.maxima.tolist() == compressed.maxima.tolist()
        assert again.codes.tolist() == canonical.tolist()
    every = fmt.decode(Compressed(fmt, np.arange(256, dtype=np.uint8), np.ones(1, dtype=np.float32)))
    assert fmt.encode(every).codes[128] == 0


# spelling


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_is_read_as_it_is_written(kind):
    seen = set()
    for block in (None, 64, 100, 4096):
        for mode in (None, "exact", "pow2", "fixed"):
            if mode == "fixed" and block:
                continue
            fmt = make(kind, block, mode)
            assert parse(str(fmt)) == fmt
            assert parse(",".join([kind, *([f"block={block}"] if block else []), f"max={fmt.maximum}"])) == fmt
            seen.add(str(fmt))
    assert len(seen) == 9
    assert str(make(kind)) == kind


def test_spellings():
    assert parse(" dynamic8,block=256,max=pow2 ") == dynamic8(256, "pow2") == EightBit("dynamic8", 256, "pow2")
    assert str(dynamic8(256, "pow2")) == "dynamic8<block=256,max=pow2>"
    assert parse("linear8") == linear8() == EightBit("linear8")
    assert (static8().maximum, static8(64).maximum, mantissa8().maximum) == ("fixed", "exact", "fixed")
    assert str(static8(max="exact")) == "static8<max=exact>"
    assert parse("static8<max=exact>") == static8(max="exact")


# refusals


def refusal(call, error=InvalidDataError) -> str:
    with pytest.raises(error) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (("int8",), ["kind: 'int8' is no 8-bit code", "do: choose one of dynamic8, static8, mantissa8, linear8"]),
        (("dynamic8", None, "above"), ["max: 'above' is none", "do: choose one of exact, pow2, fixed"]),
        (("dynamic8", 63), ["block: a block has 64 to 4096 values, not 63", "do: leave it out for one maximum a tensor"]),
        (("dynamic8", 4097), ["a block has 64 to 4096 values, not 4097"]),
        (("dynamic8", True), ["a block has 64 to 4096 values, not True"]),
        (("dynamic8", 256.0), ["a block has 64 to 4096 values, not 256.0"]),
        (("static8", 256, "fixed"), ["block: max=fixed keeps no maxima, so that blocks have no meaning", "drop one of them"]),
        (("int8", 5, "above"), ["8-bit format: 3 problems", "'int8' is no", "64 to 4096 values, not 5", "'above' is none"]),
    ],
)  # fmt: skip
def test_formats_that_cannot_be(arguments, texts):
    text = refusal(lambda: EightBit(*arguments), OptionError)
    assert [part for part in texts if part not in text] == []


@pytest.mark.parametrize(
    ("spelled", "texts"),
    [
        ("", ["format: '' spells none", "do: one of dynamic8, static8, mantissa8, linear8, then ,block=N and ,max="]),
        ("dynamic", ["'dynamic' spells none"]),
        ("dynamic8<block=64", ["'dynamic8<block=64' spells none"]),
        ("int8", ["kind: 'int8' is no 8-bit code", "do: choose one of"]),
        ("dynamic8,size=3", ["size: no option of an 8-bit format", "do: there are block=N and max=exact, pow2 or fixed"]),
        ("dynamic8,block=many", ["block: 'many' is no whole number"]),
        ("dynamic8,block=-64", ["block: '-64' is no whole number"]),
        ("dynamic8,block=64,block=64", ["block: it is given twice", "do: drop one of them"]),
        ("dynamic8,block=٦٤", ["block: '٦٤' is no whole number"]),
        ("int8,block=5,max=above", ["3 problems", "'int8' is no 8-bit code", "not 5", "'above' is none"]),
        ("dynamic8,block=32", ["a block has 64 to 4096 values, not 32"]),
        ("dynamic8,max=2", ["max: '2' is none"]),
        ("int8,size=3,block=x", ["3 problems", "size: no option", "block: 'x' is no whole number", "'int8' is no 8-bit code"]),
    ],
)  # fmt: skip
def test_spellings_of_nothing(spelled, texts):
    text = refusal(lambda: parse(spelled), OptionError)
    assert [part for part in texts if part not in text] == []


@pytest.mark.parametrize("scale", [1, 100])  # plainly by NumPy, and by the kernel
@pytest.mark.parametrize("fmt", [dynamic8(), dynamic8(64), static8(), linear8(max="pow2")], ids=str)
def test_what_no_code_stands_for_is_counted(fmt, scale):
    x = np.zeros(128 * scale, dtype=np.float32)
    x[[3, 70]], x[[5]] = np.nan, -np.inf
    text = refusal(lambda: fmt.encode(x, name="w.1"))
    assert text == (
        f"encode as {fmt}: 1 problem\n  w.1: 2 NaN and 1 infinite of {128 * scale} values: no 8-bit code stands for them\n"
        "    do: clean the tensor first"
    )
    assert "w.1: 1 infinite of" in refusal(lambda: fmt.encode(np.where(np.isnan(x), 0, x), name="w.1"))
    assert "tensor: 2 NaN of" in refusal(lambda: fmt.encode(np.where(np.isinf(x), 0, x)))


def test_every_problem_of_a_tensor_is_told_at_once():
    x = np.array([np.nan] * 100)
    text = refusal(lambda: dynamic8(block=64).encode(x, name="g"))
    assert text.startswith("encode as dynamic8<block=64>: 2 problems\n  g: 100 NaN of 100 values")
    assert "g: a block of 64 does not divide 100 values" in text
    assert "do: pad it to 128, choose another block or none, or let the last block be shorter (ragged=True)" in text


@pytest.mark.parametrize("ragged", [False, True])
def test_empty_tensors_are_refused(ragged):
    for fmt in (dynamic8(), dynamic8(64), static8()):
        text = refusal(lambda fmt=fmt: fmt.encode(np.zeros((0, 3)), ragged=ragged))
        assert text == f"encode as {fmt}: 1 problem\n  tensor: it is empty\n    do: there is nothing to encode"


def test_other_values_than_real_numbers_are_refused():
    for x, title in ((np.ones(3, complex), "complex128"), (["a"], "<U1"), ([None], "object")):
        text = refusal(lambda x=x: dynamic8().encode(x))
        assert f"tensor: its values are {title}, no real numbers\n    do: convert them to float32" in text


def test_too_large_for_float32_is_infinite():
    assert "1 infinite of 2 values" in refusal(lambda: dynamic8().encode(np.array([1e300, 1.0])))


@pytest.mark.parametrize("scale", [1, 100])
def test_no_power_of_two_above_a_maximum(scale):
    x = np.full(64 * scale, 3e38, dtype=np.float32)
    for fmt in (dynamic8(max="pow2"), linear8(64, "pow2")):
        text = refusal(lambda fmt=fmt: fmt.encode(x, name="w"))
        assert f"encode as {fmt}: 1 problem\n  w: float32 has no power of two above its maximum" in text
        assert "do: use max=exact, or scale the tensor" in text


def altered(**changes) -> Compressed:
    found = dynamic8(64).encode(np.ones(128))
    parts = {"format": found.format, "codes": found.codes, "maxima": found.maxima}
    return Compressed(**{**parts, **changes})


@pytest.mark.parametrize(
    ("compressed", "text"),
    [
        (np.ones(128, np.uint8), "codes: ndarray is no compressed tensor\n    do: pass what encode() returned"),
        (altered(format=linear8(64)), "codes: they are of format linear8<block=64>, not dynamic8<block=64>\n    do: decode with"),
        (altered(format=dynamic8(128)), "codes: they are of format dynamic8<block=128>, not dynamic8<block=64>"),
        (altered(format=dynamic8(64, "pow2")), "codes: they are of format dynamic8<block=64,max=pow2>, not dynamic8<block=64>"),
        (altered(codes=np.ones(128, np.int8)), "codes: they are int8 of shape [128], not some uint8"),
        (altered(codes=np.ones((0, 2), np.uint8)), "codes: they are uint8 of shape [0, 2], not some uint8"),
        (altered(codes=np.ones(129, np.uint8)), "dynamic8<block=64> have 3 float32 maxima, not float32 of shape [2]"),
        (altered(maxima=np.ones(2)), "maxima: 128 codes of dynamic8<block=64> have 2 float32 maxima, not float64 of shape [2]"),
        (altered(maxima=np.ones((2, 1), np.float32)), "2 float32 maxima, not float32 of shape [2, 1]"),
        (altered(maxima=np.array([1, np.nan], np.float32)), "maxima: one of them is negative, NaN or infinite"),
        (altered(maxima=np.array([1, np.inf], np.float32)), "maxima: one of them is negative, NaN or infinite"),
        (altered(maxima=np.array([1, -1], np.float32)), "maxima: one of them is negative, NaN or infinite"),
    ],
)  # fmt: skip
def test_codes_of_another_format_and_malformed_ones(compressed, text):
    found = refusal(lambda: dynamic8(64).decode(compressed))
    assert found.startswith("compressed tensor: 1 problem\n")
    assert text in found


@pytest.mark.parametrize("maximum", [3.0, 2.0**-97, 1.0000001])
def test_maxima_that_a_format_cannot_have(maximum):
    text = refusal(
        lambda: dynamic8(64, "pow2").decode(altered(format=dynamic8(64, "pow2"), maxima=np.float32([1, maximum])))
    )
    assert "maxima: one of them is neither 0 nor a power of two from 2^-96 to 2^127" in text
    text = refusal(lambda: static8().decode(altered(format=static8(), maxima=np.float32([2]))))
    assert "maxima: it is 2.0, and 1 where max=fixed" in text
