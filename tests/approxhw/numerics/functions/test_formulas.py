"""Formulas of one value: what they give, which are refused, and how people read them."""

import math

import numpy as np
import pytest

from approxhw.numerics.functions.formulas import (
    MOST_WORDS,
    WORDS,
    composed,
    formula_faults,
    formula_text,
    formula_values,
    keeps_order,
)

X = np.array([-800.0, -2.0, -0.5, 0.0, 0.25, 3.0, 800.0])


@pytest.mark.parametrize(
    ("formula", "wanted"),
    [
        (("x", "x", "sigmoid", "mul"), lambda x: x / (1 + math.exp(-x)) if x > -700 else 0.0),
        (("x", "softplus"), lambda x: max(x, 0) + math.log1p(math.exp(-abs(x)))),
        (("x", 0.5, "elu"), lambda x: x if x > 0 else 0.5 * math.expm1(x)),
        (("x", 2.0, "celu"), lambda x: x if x > 0 else 2 * math.expm1(x / 2)),
        (("x", 3.0, 0.0, 6.0, "gate"), lambda x: x * min(max(x + 3, 0), 6)),
        (("x", 0.1, 1.0, "shrink"), lambda x: x + 0.1 if x < -1 else x - 0.1 if x > 1 else 0.0),
        (("x", "erf"), math.erf),
        ((2.0, "x", "min", "x", "sub"), lambda x: min(2.0, x) - x),
    ],
)
def test_formulas_give_what_they_say(formula, wanted):
    assert formula_faults(formula) == []
    assert formula_values(formula, X) == pytest.approx([wanted(x) for x in X.tolist()], rel=1e-12)


def test_every_word_is_a_function_of_numbers():
    for name, word in WORDS.items():
        made = formula_values(("x", *(0.5,) * (word.operands - 1), name), np.array([0.25]))
        assert made.shape == (1,)
        assert made.dtype == np.float64
        if word.rises:
            values = formula_values(("x", name), np.linspace(-1, 1, 41))
            assert (np.diff(values) > 0).all()
            assert formula_values(("x", name), np.zeros(1))[0] == 0
            assert keeps_order(("x", name))


def test_where_a_function_is_not_defined_there_is_no_number():
    assert np.isnan(formula_values(("x", "log"), np.array([-1.0])))[0]
    assert np.isinf(formula_values(("x", "exp"), np.array([1e5])))[0]


@pytest.mark.parametrize(
    ("formula", "why"),
    [
        ((), "a formula has 1 to"),
        (("x",) * (MOST_WORDS + 1), "a formula has 1 to"),
        (("x", "magic"), "there is no function 'magic'"),
        (("x", "add"), "add lacks an operand"),
        (("x", "x"), "it leaves 2 values"),
        (("x", float("nan"), "add"), "nan is neither a name nor a finite number"),
        (("x", None, "add"), "None is neither a name nor a finite number"),
    ],
)
def test_what_is_no_formula_is_refused(formula, why):
    assert why in formula_faults(formula)[0]


def test_people_read_formulas():
    assert formula_text(("x", "x", "sigmoid", "mul")) == "x * sigmoid(x)"
    assert formula_text(composed(("x", "tanh"), ("x", 2.0, "div"))) == "tanh((x / 2))"
    assert not keeps_order(("x", "abs"))
    assert not keeps_order(("x", 2.0, "mul"))
