"""Our own multipliers by their definitions, in fractions or bit by bit, for every sign; what their sources claim of them."""

from __future__ import annotations

from fractions import Fraction

import pytest

from approxhw.common.errors import OptionError
from approxhw.numerics.multipliers.families import correction, own_operator, own_spellings, spell_operator
from approxhw.numerics.multipliers.signs import SIGNS, operand_values
from approxhw.numerics.multipliers.tables import error_figures


def pairs(weight_bits: int, x_bits: int, signed: str) -> list[tuple[int, int]]:
    """Return every pair of operands."""
    weights = operand_values(weight_bits, signed != "none").tolist()
    return [(w, x) for w in weights for x in operand_values(x_bits, signed == "both").tolist()]


def dropped(w: int, x: int, bits: tuple[int, int], signed: str, drops) -> int:
    """Return the sum of the partial-product bits that *drops* (place in w, place in x) says, by their weights."""
    total = 0
    for j in range(bits[0]):
        for i in range(bits[1]):
            sign = -1 if (signed != "none" and j == bits[0] - 1) != (signed == "both" and i == bits[1] - 1) else 1
            if drops(j, i):
                total += sign * ((w >> j & 1) & (x >> i & 1)) << (i + j)
    return total


@pytest.mark.parametrize("signed", SIGNS)
def test_families_of_partial_products_lack_what_they_leave_out(signed):
    truncated, broken = own_operator("truncated-3"), own_operator("broken-array-3-2")
    for w, x in pairs(5, 4, signed):
        lacks = dropped(w, x, (5, 4), signed, lambda j, i: i + j < 3)
        assert truncated.product(w, x, 5, 4, signed) == w * x - lacks
        lacks = dropped(w, x, (5, 4), signed, lambda j, i: i + j < 3 or i < 2)
        assert broken.product(w, x, 5, 4, signed) == w * x - lacks


@pytest.mark.parametrize("signed", SIGNS)
def test_the_correction_is_near_the_mean_of_what_lacks(signed):
    for columns in (3, 5, 7):
        plain = error_figures(own_operator(f"truncated-{columns}").table(6, 5, signed)).bias
        corrected = error_figures(own_operator(f"truncated-{columns}-corrected").table(6, 5, signed)).bias
        assert corrected == pytest.approx(plain + correction(6, 5, columns, signed))
        assert abs(corrected) <= (1 << columns) / 2


def leading(value: int) -> tuple[int, Fraction]:
    """Return place and fraction of a magnitude above 0: 2^place · (1 + fraction)."""
    place = abs(value).bit_length() - 1
    return place, Fraction(abs(value), 1 << place) - 1


@pytest.mark.parametrize("signed", SIGNS)
def test_logarithmic_is_its_definition_and_never_too_large(signed):
    plain, balanced = own_operator("logarithmic"), own_operator("logarithmic-balanced")
    for w, x in pairs(6, 5, signed):
        seen, moved = plain.product(w, x, 6, 5, signed), balanced.product(w, x, 6, 5, signed)
        if w * x == 0:
            assert seen == moved == 0
            continue
        (a, f), (b, g) = leading(w), leading(x)
        wanted = (1 << (a + b)) * (1 + f + g) if f + g < 1 else (1 << (a + b + 1)) * (f + g)
        sign = 1 if w * x > 0 else -1
        assert seen == sign * wanted
        assert moved == sign * (wanted + (5 * (1 << (a + b))) // 64)
        assert 0 <= 1 - Fraction(seen, w * x) <= Fraction(1, 9)


def test_balancing_takes_most_of_the_bias():
    plain, balanced = (
        error_figures(own_operator(f"logarithmic{end}").table(8, 8, "none")) for end in ("", "-balanced")
    )
    assert abs(balanced.bias) < abs(plain.bias) / 10
    assert balanced.mean_relative < plain.mean_relative


@pytest.mark.parametrize("signed", SIGNS)
def test_leading_digits_are_cut_and_end_in_one(signed):
    operator = own_operator("leading-3")

    def kept(value: int) -> int:
        bits = bin(abs(value))[2:]
        return abs(value) if len(bits) <= 3 else int(f"{bits[:2]}1{'0' * (len(bits) - 3)}", 2)

    for w, x in pairs(6, 5, signed):
        sign = (w > 0) - (w < 0), (x > 0) - (x < 0)
        assert operator.product(w, x, 6, 5, signed) == sign[0] * sign[1] * kept(w) * kept(x)


@pytest.mark.parametrize("digits", [3, 4, 5, 6])
def test_leading_digits_have_the_error_that_is_published(digits):
    """56.25 % at worst with 3 digits, as its authors say, 26.56 % with 4, …; far less than that is left in the mean."""
    table = own_operator(f"leading-{digits}").table(8, 8, "none")
    exact = table.weights[1:, None] * table.codes[None, 1:]
    relative = table.products[1:, 1:] / exact - 1
    assert abs(relative).max() == pytest.approx((1 + 2.0 ** -(digits - 1)) ** 2 - 1)
    assert abs(relative.mean()) < abs(relative).mean() / 2
    assert error_figures(table).mean_relative == pytest.approx(abs(relative).mean())
    smaller = own_operator(f"leading-{digits - 1}").table(8, 8, "none")
    assert error_figures(table).mean_relative < error_figures(smaller).mean_relative


@pytest.mark.parametrize("signed", SIGNS)
def test_rounded_is_off_by_the_product_of_both_distances(signed):
    operator = own_operator("rounded")

    def nearest(value: int) -> int:
        place, fraction = leading(value)
        return 1 << (place + (fraction >= Fraction(1, 2)))

    worst = Fraction(0)
    for w, x in pairs(6, 5, signed):
        seen = operator.product(w, x, 6, 5, signed)
        if w * x == 0:
            assert seen == 0
            continue
        lacks = (abs(w) - nearest(w)) * (abs(x) - nearest(x))
        assert seen == (1 if w * x > 0 else -1) * (abs(w * x) - lacks)
        worst = max(worst, abs(Fraction(seen, w * x) - 1))
        if abs(w) == nearest(w):
            assert seen == w * x, "a power of two multiplies exactly"
    assert worst == Fraction(1, 9)


def test_signs_matter_to_partial_products_alone():
    for name in ("logarithmic-balanced", "leading-3", "rounded"):
        operator = own_operator(name)
        table = operator.table(5, 5, "none").products[:16, :16]
        assert (operator.table(5, 5, "both").products[:16, :16] == table).all(), name
        assert (
            operator.table(5, 5, "both").products[16:, :16][::-1] == -operator.table(5, 5, "none").products[1:17, :16]
        ).all()


def test_patterns_name_what_there_is():
    for weight_bits, x_bits in ((8, 8), (8, 4), (4, 4)):
        names = own_spellings(weight_bits, x_bits)
        assert len(set(names)) == len(names)
        for name in names:
            assert spell_operator(own_operator(name)) == name
            own_operator(name).table(weight_bits, x_bits, "both")
    assert {name.split("-")[0] for name in own_spellings(8, 8)} == {
        "truncated",
        "broken",
        "logarithmic",
        "leading",
        "rounded",
    }
    assert "leading-3" in own_spellings(8, 4)
    assert "leading-4" not in own_spellings(8, 4)


def test_spellings_of_the_newer_families():
    for text in ("logarithmic-balanced", "leading-5", "rounded"):
        assert spell_operator(own_operator(text)) == text
    assert own_operator("leading") == own_operator("leading-4")
    for text in ("leading-1", "leading-10", "rounded-2", "balanced"):
        assert own_operator(text) is None
    with pytest.raises(OptionError, match="16 by 16 bits: the table of its products would be too large"):
        own_operator("rounded").table(16, 16, "both")
