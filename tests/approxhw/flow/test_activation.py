"""Activation units from Python: what they say of themselves, and what is refused."""

import numpy as np
import pytest

import approxhw as ax
from approxhw.common.errors import OptionError


def test_a_unit_knows_its_error_its_codes_its_verilog_and_its_cost():
    unit = ax.activation_unit("sigmoid", "s6<2^-3>", "u6<2^-6>", kind="pwl")
    x = np.arange(-32, 32)
    wanted = np.minimum(64 / (1 + np.exp(-x / 8)), 63)
    assert unit.ulp == pytest.approx(np.abs(unit.values() - wanted).max())
    assert unit.ulp <= 1
    assert (unit.values(x[5:9]) == unit.values()[5:9]).all()
    assert "module sig(" in unit.verilog("sig")
    cost = unit.estimate("egfet")
    assert cost.vectors == 64
    assert cost.area_mm2 > 0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("gelu", "f8", "float<8,23>"), ["x: 'f8' is no format", "y: float<8,23> is no fixed-point format"]),
        (("gelu", "s17", "s8"), ["x: s17: every code is looked at", "at most 16 bits"]),
        (("geluu", "s8", "s8"), ["did you mean 'gelu'?"]),
        (
            ("gelu", "s8<2^-4>", "s8<2^-4>", "spline"),
            ["'spline' is not one of table, compressed-table, pwl, poly, pade"],
        ),
        (("gelu", "s8<2^-4>", "s8<2^-4>", "pwl", 0.1), ["no table is so near", "do: allow 0."]),
    ],
)
def test_what_cannot_be_made_is_told_with_all_that_is_wrong(given, told):
    with pytest.raises(OptionError) as caught:
        ax.activation_unit(*given)
    assert all(part in str(caught.value) for part in told), str(caught.value)


def test_a_parameter_that_is_none_is_told():
    with pytest.raises(OptionError, match=r"elu\.alpha: nan is not finite"):
        ax.activation_unit("elu", "s8", "s8", alpha=float("nan"))


@pytest.mark.parametrize(
    ("codes", "told"),
    [
        (np.array([0.5]), "codes are integers, and these are float64"),
        (np.array([np.nan]), "codes are integers"),
        (np.array([0, 8]), r"they lie in 0…8, and codes of s4<2\^-2> in -8…7"),
        (np.array([-9]), "they lie in -9…-9"),
    ],
)
def test_codes_that_a_unit_does_not_read_are_refused(codes, told):
    made = ax.activation_unit("tanh", "s4<2^-2>", "s4<2^-3>")
    with pytest.raises(OptionError, match=told):
        made.values(codes)
    assert made.values(np.array([], dtype=np.int64)).size == 0


@pytest.mark.parametrize("name", ["module", "a b;", "", "Upper", "x" * 80, "1st"])
def test_names_that_no_module_has_are_refused(name):
    made = ax.activation_unit("tanh", "s4<2^-2>", "s4<2^-3>")
    with pytest.raises(OptionError, match="is no name of a module"):
        made.verilog(name)
