"""Activations by name: their values, and what is said of names and parameters that are none."""

import math

import numpy as np
import pytest

from approxhw.common.errors import OptionError
from approxhw.numerics.functions.activations import activation_formula
from approxhw.numerics.functions.formulas import formula_values

X = np.linspace(-4, 4, 33)


def erf(x):
    return np.vectorize(math.erf)(x)


@pytest.mark.parametrize(
    ("name", "parameters", "wanted"),
    [
        ("gelu", {}, lambda x: x / 2 * (1 + erf(x / math.sqrt(2)))),
        ("gelu-tanh", {}, lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))),
        ("swish", {"alpha": 1.5}, lambda x: x / (1 + np.exp(-1.5 * x))),
        ("mish", {}, lambda x: x * np.tanh(np.log1p(np.exp(x)))),
        ("hard-sigmoid", {"alpha": 0.25}, lambda x: np.clip(x / 4 + 0.5, 0, 1)),
        ("hard-swish", {}, lambda x: x * np.clip(x + 3, 0, 6) / 6),
        ("thresholded-relu", {"alpha": 0.5}, lambda x: np.where(x > 0.5, x, 0)),
        (
            "sau",
            {"alpha": 0.1, "b": 2},
            lambda x: math.sqrt(2 / math.pi) / 4 * np.exp(-2 * x * x) + 0.55 * x + 0.45 * x * erf(2 * x / math.sqrt(2)),
        ),
        ("smu", {"alpha": 0.2, "mu": 3}, lambda x: 0.5 * (1.2 * x + 0.8 * x * erf(2.4 * x))),
        (
            "pade",
            {"numerator": [0.1, 2, -3], "denominator": [0.5, 1]},
            lambda x: (0.1 + 2 * x - 3 * x * x) / (1 + np.abs(0.5 * x + x * x)),
        ),
    ],
)
def test_values_are_those_of_the_definition(name, parameters, wanted):
    assert np.allclose(formula_values(activation_formula(name, **parameters), X), wanted(X), rtol=1e-12, atol=1e-12)


def test_sau_tends_to_leaky_relu():
    near = formula_values(activation_formula("sau", alpha=0.2, b=1e4), X)
    assert np.allclose(near, np.where(X < 0, 0.2 * X, X), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "parameters", "told"),
    [
        ("gellu", {}, "gellu: there is no activation of this name; did you mean 'gelu'?"),
        ("sau", {"beta": 1}, "sau.beta: there is no parameter of this name"),
        ("tanh", {"alpha": 1}, "it has none"),
        ("elu", {"alpha": math.nan}, "elu.alpha: nan is not finite"),
        ("elu", {"alpha": "x"}, "elu.alpha: x is no number"),
        ("pade", {"numerator": 3.0}, "pade.numerator: it is a list of 1 to 12 numbers"),
        ("pade", {"numerator": [1.0, math.inf]}, "pade.numerator: inf is not finite"),
        ("sau", {"b": 0.0}, "sau.b: it is 0, and divides"),
    ],
)
def test_names_and_parameters_that_are_none(name, parameters, told):
    with pytest.raises(OptionError) as caught:
        activation_formula(name, **parameters)
    assert told in str(caught.value)


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(OptionError) as caught:
        activation_formula("sau", alpha=math.nan, mu=1.0)
    assert len(caught.value.problems) == 2
