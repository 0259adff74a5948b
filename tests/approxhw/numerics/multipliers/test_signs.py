"""Signs found out of products: the reading that fits, two that fit alike, none, and operands that have to change places."""

from __future__ import annotations

import numpy as np
import pytest

from approxhw.common.errors import OptionError
from approxhw.numerics.multipliers.families import own_operator, own_spellings
from approxhw.numerics.multipliers.signs import SIGNS, as_signed, fitting_signs, operand_values, read_signs
from approxhw.numerics.multipliers.tables import Stated, read_table


def products_of(weight_bits: int, x_bits: int, w_signed: bool, x_signed: bool) -> np.ndarray:
    return operand_values(weight_bits, w_signed)[:, None] * operand_values(x_bits, x_signed)[None, :]


@pytest.mark.parametrize("signed", SIGNS)
def test_every_operator_of_ours_is_read_as_what_it_is(signed):
    """As patterns, in which nothing says what the top bit means; even where a half of the columns is left out."""
    seen = 0
    for name in own_spellings(8, 8):
        products = own_operator(name).table(8, 8, signed).products
        readings = read_signs(products & 0x1FFFF, 17)
        assert fitting_signs(name, readings)[0] == signed, name
        assert readings[SIGNS.index(signed)].mean_error == pytest.approx(
            np.abs(products - products_of(8, 8, signed != "none", signed == "both")).mean()
        )
        seen += 1
    assert seen > 30


def test_readings_by_hand():
    readings = {each.signed: each for each in read_signs(np.array([[0, 0], [0, 1]]) & 3, 2)}
    # of one bit each, 1 is -1 where it is signed: the product 1 is right of two signed operands, and of none
    assert {signed: each.mean_error for signed, each in readings.items()} == {
        "weight": 0.5,
        "none": 0,
        "both": 0,
        "x": 0.5,
    }
    assert {each.constant for each in readings.values()} == {0.25}
    assert [signed for signed, each in readings.items() if each.fits] == ["none", "both"]
    assert fitting_signs("and", tuple(readings.values())) == ("none", "both")


def test_as_signed_reads_patterns():
    assert as_signed(np.array([0, 7, 8, 15, 31]), 4, "both").tolist() == [0, 7, -8, -1, -1]
    assert as_signed(np.array([-1, 15]), 4, "none").tolist() == [15, 15]


def test_two_readings_that_fit_alike_are_both_told():
    """The top bit of x is never read: products are as far from those of a signed x as from those of an unsigned one."""
    products = operand_values(5, True)[:, None] * (np.arange(16) & 7)
    assert fitting_signs("cut", read_signs(products)) == ("weight", "both")
    with pytest.raises(OptionError, match="signed=both: 32, one number for all 32\n"):
        fitting_signs("cut", read_signs(products), ("both",))


def test_products_that_fit_no_reading():
    noise = np.random.default_rng(1).integers(0, 256, (16, 16))
    with pytest.raises(OptionError) as caught:
        fitting_signs("noise", read_signs(noise, 8))
    said = str(caught.value)
    assert said.startswith(
        "multiplier noise: 1 problem\n  signed: no reading fits its products; mean errors as signed=weight: "
    )
    for signed in SIGNS:
        assert f"signed={signed}: " in said
    assert "one number for all" in said
    assert said.endswith("do: take another multiplier, or look whether its bits stand in another order")


def test_operands_that_have_to_change_places():
    with pytest.raises(OptionError) as caught:
        fitting_signs("turned", read_signs(products_of(5, 4, False, True)))
    assert "its products are those of a signed x by an unsigned weight, with a mean error of 0" in str(caught.value)
    assert "do: say weight= for the other operand" in str(caught.value)
    assert fitting_signs("turned", read_signs(products_of(5, 4, False, True).T)) == ("weight",)


def test_tables_say_their_signs_or_are_found_out(tmp_path):
    products = products_of(4, 3, True, False)
    for flags in ({}, {"signed": [1, 0]}):
        np.savez(tmp_path / "t.npz", table=products, **flags)
        assert read_table(tmp_path / "t.npz", Stated(None, None)).signed == "weight"
    np.savez(tmp_path / "t.npz", table=products_of(4, 3, False, True), signed=[0, 1])
    with pytest.raises(
        OptionError, match=r"it says that x alone is signed.*\n    do: say weight= for the other operand"
    ):
        read_table(tmp_path / "t.npz", Stated(None, None))
    assert read_table(tmp_path / "t.npz", Stated("b", None)).signed == "weight"
    np.savez(tmp_path / "t.npz", table=products, signed=[1, 1])
    with pytest.raises(OptionError, match="signed=both is stated, but the mean error"):
        read_table(tmp_path / "t.npz", Stated(None, None))
