"""Tables of multipliers: references by their definition, error figures by hand, files and what they may not say."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approxhw.common.errors import InvalidDataError, OptionError
from approxhw.numerics.multipliers.families import bits_of, correction, own_operator, spell_operator
from approxhw.numerics.multipliers.tables import (
    ProductTable,
    Stated,
    check_signs,
    error_figures,
    fitted_table,
    read_table,
)

WEIGHTS, CODES = np.arange(16), np.arange(8)
EXACT = np.where(WEIGHTS > 7, WEIGHTS - 16, WEIGHTS)[:, None] * CODES[None, :]


# The three classic ones -----------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(-128, 127), st.integers(0, 255), st.integers(0, 9))
def test_truncated_leaves_out_the_low_columns(w, x, columns):
    """By whole rows: the lowest bits of w · 2^i are cleared, as long as the sign bit stays."""
    rows = [(w << i) >> columns << columns for i in range(8) if x >> i & 1 and columns <= i + 7]
    rows += [0 for i in range(8) if x >> i & 1 and columns > i + 7]
    assert own_operator(f"truncated-{columns}").product(w, x, 8, 8) == sum(rows)


def test_truncated_by_hand():
    truncated = own_operator("truncated-2")
    # 5 · 3 = 101 + 1010: bit 0 of the first row and bit 1 of the second are in columns 0 and 1
    assert truncated.product(5, 3, 4, 2) == 4 + 8
    assert truncated.product(-3, 3, 4, 2) == -8 + 4 + (-16 + 8)
    assert truncated.product(-1, 0, 4, 2) == 0


@pytest.mark.parametrize(("weight_bits", "x_bits", "columns"), [(8, 4, 3), (8, 4, 4), (8, 8, 6), (4, 4, 5), (3, 2, 9)])
def test_the_correction_is_the_mean_of_what_is_left_out(weight_bits, x_bits, columns):
    plain = error_figures(own_operator(f"truncated-{columns}").table(weight_bits, x_bits)).bias
    corrected = error_figures(own_operator(f"truncated-{columns}-corrected").table(weight_bits, x_bits)).bias
    constant = correction(weight_bits, x_bits, columns)
    assert constant % (1 << columns) == 0
    assert corrected == pytest.approx(plain + constant)
    assert abs(corrected) <= (1 << columns) / 2


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(-128, 127), st.integers(0, 255), st.integers(0, 8))
def test_a_broken_array_without_rows_multiplies_what_is_left_of_x(w, x, horizontal):
    assert own_operator(f"broken-array-0-{horizontal}").product(w, x, 8, 8) == w * (x >> horizontal << horizontal)


def test_a_broken_array_without_rows_above_is_truncated():
    for columns in (0, 3, 7):
        one, other = own_operator(f"broken-array-{columns}-0"), own_operator(f"truncated-{columns}")
        assert (one.table(6, 5).products == other.table(6, 5).products).all()


def test_logarithmic_is_the_definition_in_fractions():
    logarithmic = own_operator("logarithmic")
    for w in range(-32, 32):
        for x in range(32):
            seen = logarithmic.product(w, x, 6, 5)
            if w == 0 or x == 0:
                assert seen == 0
                continue
            a, b = abs(w).bit_length() - 1, x.bit_length() - 1
            f, g = Fraction(abs(w), 1 << a) - 1, Fraction(x, 1 << b) - 1
            wanted = (1 << (a + b)) * (1 + f + g) if f + g < 1 else (1 << (a + b + 1)) * (f + g)
            assert seen == (wanted if w > 0 else -wanted)
            assert 0 <= 1 - Fraction(seen, w * x) <= Fraction(1, 9)


def test_spellings_are_read_and_written():
    for text in ("truncated-7", "truncated-7-corrected", "broken-array-6-2", "logarithmic"):
        assert spell_operator(own_operator(text)) == text
    assert own_operator("truncated") == own_operator("truncated-4")
    assert own_operator("truncated-0") != own_operator("truncated")
    assert own_operator("truncated-corrected") == own_operator("truncated-4-corrected")
    assert own_operator("broken-array") == own_operator("broken-array-4-1")
    assert own_operator("broken-array-0-0") != own_operator("broken-array")
    for text in ("", "exact", "truncate", "truncated-", "truncated-4-4", "broken-array-4", "logarithmic-2", "mul.v"):
        assert own_operator(text) is None


def test_tables_that_would_be_too_large():
    with pytest.raises(OptionError, match=r"16 by 16 bits: the table of its products would be too large \(at most 10 "):
        own_operator("logarithmic").table(16, 16)


# Error figures --------------------------------------------------------------------------------------------------------


def test_figures_by_hand():
    products = EXACT.copy()
    products[1, 1] += 3
    products[2, 7] -= 5
    figures = error_figures(ProductTable("two wrong", products))
    assert figures.mean_distance == 8 / 128
    assert figures.normalised == 8 / 128 / 56
    assert (figures.worst_distance, figures.error_rate, figures.bias) == (5, 2 / 128, -2 / 128)
    assert str(figures).startswith(
        "mean error distance 0.0625, normalised 0.00112, worst 5, error rate 0.0156, bias -0.01"
    )


def test_figures_of_the_products_that_are_made():
    products = EXACT.copy()
    products[1, 1] += 3
    table, times = ProductTable("one wrong", products), np.zeros((16, 8))
    assert error_figures(table, times).mean_distance == 0
    times[1, 1], times[5, 5] = 1, 3
    figures = error_figures(table, times)
    assert (figures.mean_distance, figures.worst_distance, figures.error_rate, figures.bias) == (0.75, 3, 0.25, 0.75)
    times[1, 1] = 0
    assert error_figures(table, times).worst_distance == 0


# What a table stands for ----------------------------------------------------------------------------------------------


def test_a_table_of_other_signs_is_refused():
    check_signs(ProductTable("t", EXACT))
    with pytest.raises(OptionError) as caught:
        check_signs(ProductTable("t", EXACT, "none"))
    said = "signed: signed=none is stated, but the mean error of its products is 28 so; "
    said += (
        "they are the products of signed=weight with a mean error of 0\n    do: state signed=weight, or take another"
    )
    assert said in str(caught.value)


def test_a_bad_multiplier_is_not_mistaken_for_other_signs():
    for name in ("truncated-6", "broken-array-6-2", "logarithmic"):
        check_signs(own_operator(name).table(8, 4))
    with pytest.raises(OptionError, match="that of one number for all 8160: it multiplies nothing"):
        check_signs(ProductTable("nothing", np.zeros((256, 256), dtype=int)))


def test_fitted_gives_rows_and_columns_that_a_layer_reads():
    table = ProductTable("t", EXACT)
    cut = fitted_table(table, np.array([[-8, 7]]), (0, 3), 2, False)
    assert (cut == EXACT[:, :4]).all()
    wide = fitted_table(table, np.array([[1]]), (0, 7), 4, False)
    assert wide.shape == (16, 16)
    assert (wide[:, :8] == EXACT).all()
    assert not wide[:, 8:].any()
    unsigned = ProductTable("u", np.arange(16)[:, None] * CODES, "none")
    twice = fitted_table(unsigned, np.array([[15]]), (0, 7), 3, False)
    assert (twice[:16] == unsigned.products).all()
    assert twice.shape == (32, 8)
    assert not twice[16:].any()
    both = ProductTable("b", np.where(CODES > 3, CODES - 8, CODES)[None, :] * np.array([[0], [1], [-2], [-1]]), "both")
    kept = [[0, 0, 0, 0], [0, 1, 2, 3], [0, -2, -4, -6], [0, -1, -2, -3]]
    assert fitted_table(both, np.array([[-2, 1]]), (0, 3), 2, False).tolist() == kept


def test_what_does_not_fit_is_said_at_once():
    with pytest.raises(OptionError) as caught:
        fitted_table(ProductTable("u", np.arange(16)[:, None] * CODES, "none"), np.array([[-1, 20]]), (-2, 9), 5, True)
    assert str(caught.value) == (
        "multiplier u: 2 problems\n"
        "  weights: weights -1…20 do not fit its unsigned 4-bit weight operand (0…15)\n"
        "    do: take a multiplier of signed weights\n"
        "  x: codes -2…9 do not fit its unsigned 3-bit operand x (0…7)\n"
        "    do: cut hidden activations by requantize-hidden{bits=…} before"
    )


def test_bits_of_weights():
    seen = [bits_of(np.array(w)) for w in ([0], [1], [-1, 1], [-2], [2], [-128, 127], [128], [-129])]
    assert seen == [2, 2, 2, 2, 3, 8, 9, 9]


# Files ----------------------------------------------------------------------------------------------------------------


def test_saved_and_read_again(tmp_path):
    own_operator("logarithmic").table(6, 3).save(tmp_path / "log.npz")
    again = read_table(tmp_path / "log.npz", Stated(weight_bits=6, x_bits=3))
    assert (again.products == own_operator("logarithmic").table(6, 3).products).all()
    assert (again.name, again.signed, again.weight_bits, again.x_bits) == ("log.npz", "weight", 6, 3)


def test_the_weight_may_be_the_columns(tmp_path):
    np.savez(tmp_path / "t.npz", table=EXACT.T)
    assert (read_table(tmp_path / "t.npz", Stated(weight="b")).products == EXACT).all()


@pytest.mark.parametrize(
    ("arrays", "stated", "said"),
    [
        ({"t": EXACT}, {}, "t.npz: it has no array 'table'; there are t"),
        ({"table": EXACT}, {"weight": "w"}, "weight: 'w': operand a is the rows of a table, b its columns"),
        ({"table": EXACT, "signed": [1, 0]}, {"signed": "none"}, "operand a, the weight, is signed"),
        ({"table": EXACT, "signed": [0, 1]}, {}, "operand a, the weight, is unsigned\n"),
        ({"table": EXACT, "signed": [0, 1]}, {}, "operand b, the x, is signed\n"),
        ({"table": EXACT, "signed": [2, 0]}, {}, "signed: int64 of shape [2]"),
        ({"table": EXACT, "signed": "weight"}, {}, "signed: <U6 of shape []"),
        ({"table": EXACT}, {"signed": "none"}, "they are the products of signed=weight"),
        ({"table": EXACT}, {"weight_bits": 8}, "weight_bits: 8 bits are stated, the multiplier has 4"),
        ({"table": EXACT}, {"x_bits": 4}, "x_bits: 4 bits are stated, the multiplier has 3"),
        ({"table": EXACT[:-1]}, {}, "table: shape [15, 8]: rows and columns are powers of two"),
        ({"table": EXACT[0]}, {}, "table: shape [8]: rows and columns"),
        ({"table": EXACT * 0.5}, {}, "table: its products are float64, not integers"),
        ({"table": np.full((4, 4), 1 << 41)}, {}, "table: products 2199023255552…2199023255552 of 2 by 2 bits"),
        ({"table": np.zeros((2048, 2), int)}, {}, "table: 11 by 1 bits: the table of its products would be too large"),
        (
            {"table": np.zeros((1024, 512), int)},
            {},
            "table: 10 by 9 bits: the table of its products would be too large",
        ),
    ],
)
def test_files_that_do_not_hold_what_is_stated(tmp_path, arrays, stated, said):
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(OptionError) as caught:
        read_table(tmp_path / "t.npz", Stated(**stated))
    assert said in str(caught.value)


def test_all_that_is_wrong_with_a_file_is_said_at_once(tmp_path):
    np.savez(tmp_path / "t.npz", table=EXACT, signed=[0, 1])
    with pytest.raises(OptionError, match=r"t\.npz: 4 problems"):
        read_table(tmp_path / "t.npz", Stated(weight_bits=8, x_bits=8))


def test_pickles_and_missing_files(tmp_path):
    np.savez(tmp_path / "t.npz", table=np.array([[1, None]], dtype=object))
    with pytest.raises(InvalidDataError, match="approxhw never unpickles"):
        read_table(tmp_path / "t.npz", Stated())
    with pytest.raises(OptionError, match=r"none\.npz: there is no such file"):
        read_table(tmp_path / "none.npz", Stated())
