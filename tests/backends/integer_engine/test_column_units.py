"""Activation units at the ends of columns: every code through every unit, whole engines on both simulators, what is refused."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from integer_streams import integer_job

import approxhw as ax
from approxhw.backends.integer_engine.column_units import column_unit_modules
from approxhw.backends.integer_engine.constants import column_constants
from approxhw.backends.integer_engine.engine import IntegerArray, integer_engine_verilog
from approxhw.backends.integer_engine.words import integer_results
from approxhw.common.errors import MismatchError, OptionError
from approxhw.ir.kinds.requantize import table_of_unit
from approxhw.numerics.functions.units import UNIT_KINDS, unit_value
from approxhw.numerics.mac.integer_mac import IntegerMac, exact_products
from approxhw.sim import SimulationJob, simulate
from approxhw.sim.streams import simulate_streams

FUNCTIONS = (
    ("gelu", "s8<2^-4>"),
    ("sigmoid", "u8<2^-8>"),
    ("silu", "s8<2^-4>"),
    ("tanh", "s8<2^-7>"),
    ("softplus", "u8<2^-5>"),
)


@cache
def fitted(kinds=UNIT_KINDS):
    """Return a unit of each kind, each of another function."""
    return tuple(
        ax.activation_unit(name, "s8<2^-4>", y, kind=kind, max_ulp=1.0).unit
        for kind, (name, y) in zip(kinds, FUNCTIONS, strict=False)
    )


def engine_of_units(**more):
    return IntegerArray(4, 6, IntegerMac("exact", "both", 8, 8, 24), 2, 8, units=fitted(), **more)


def test_every_code_through_every_unit(simulator, tmp_path):
    units = fitted()
    assert [unit.kind for unit in units] == list(UNIT_KINDS)
    number, code = (each.reshape(-1) for each in np.meshgrid(np.arange(8), np.arange(256), indexing="ij"))
    wanted = []
    for which, pattern in zip(number.tolist(), code.tolist(), strict=True):
        if not 1 <= which <= len(units):  # 0, and numbers that no unit has
            wanted.append(pattern)
            continue
        wanted.append(unit_value(units[which - 1], pattern - 256 * (pattern > 127)) & 255)
    text = "\n".join(column_unit_modules(units).values())
    job = SimulationJob(
        "units",
        text,
        "column_units",
        (("unit", 3), ("code", 8)),
        (("value", 8),),
        vectors={"unit": number, "code": code},
        expected={"value": np.array(wanted)},
    )
    result = simulate(job, simulator, tmp_path / simulator)
    assert result.vectors == 8 * 256
    assert result.mismatches == 0
    broken = replace(job, expected={"value": np.array(wanted) ^ (np.arange(len(wanted)) == 700)})
    assert simulate(broken, simulator, tmp_path / "broken").mismatches == 1


@pytest.mark.parametrize("variate", [0, 8])
def test_engines_of_units_equal_the_kernel(simulator, tmp_path, variate):
    engine = engine_of_units(variate=variate)
    job = integer_job(engine, (11, 9, 13), pause=0.3)
    result = simulate_streams(job, simulator, tmp_path / simulator).raise_on_mismatch()
    assert result.words == len(job.output.words) > 0
    plain = integer_job(replace(engine, units=()), (11, 9, 13))
    assert (job.output.words != plain.output.words).any()


@pytest.mark.parametrize(("old", "new"), [
    (".CLOCKS(6)", ".CLOCKS(4)"),  # the unit of the tile behind is chosen
    ("unit == 3'd2", "unit == 3'd6"),
    ("value <= made", "value <= made | {7'd0, write}"),
])  # fmt: skip
def test_a_defect_of_units_is_found(icarus, tmp_path, old, new):
    """One column: tiles follow each other a clock apart."""
    job = integer_job(replace(engine_of_units(), columns=1), (3, 4, 25))
    assert job.verilog.count(old) == 1
    broken = replace(job, verilog=job.verilog.replace(old, new))
    with pytest.raises(MismatchError):
        simulate_streams(broken, "icarus", tmp_path / "icarus").raise_on_mismatch()


def test_results_go_through_the_unit_of_their_column():
    engine = engine_of_units()
    x, weights = np.arange(256, dtype=np.uint8)[:, None], np.ones((1, 6), np.uint8)
    constants = column_constants(6, unit=np.arange(6))
    made = integer_results(engine, x, weights, constants, exact_products(engine.mac).products)
    assert made.shape == (256, 6)
    for column, unit in enumerate((None, *engine.units)):
        wanted = np.array([p - 256 * (p > 127) for p in range(256)] if unit is None else table_of_unit(unit))
        assert (made[:, column] == wanted).all()


def test_sums_pass_units_by():
    engine = replace(engine_of_units(), result="sums")
    assert (engine.unit_bits, engine.end_latency) == (0, 1)
    assert "unit" not in engine.fields()
    text = integer_engine_verilog(engine)
    assert "activation_1" not in text


def test_a_unit_of_other_widths_is_refused():
    wide = ax.activation_unit("tanh", "s10<2^-6>", "s10<2^-9>", kind="pwl").unit
    with pytest.raises(
        OptionError, match="unit 1: it reads 10 bits and makes 10, and codes at the end of a column have 8"
    ):
        IntegerArray(units=(wide,))
    with pytest.raises(OptionError, match=r"units: \('gelu',\) is no tuple of ActivationUnits\n    do: fit them by"):
        IntegerArray(units=("gelu",))


def test_a_number_without_a_unit_is_refused():
    engine = engine_of_units()
    with pytest.raises(OptionError, match="unit: 6 is the number of a unit, and the engine has 5 units"):
        integer_job_with(engine, 6)
    with pytest.raises(OptionError, match="unit: -2 is the number of a unit"):
        integer_job_with(engine, -2)
    with pytest.raises(
        OptionError, match="unit: 1 is the number of a unit, and the engine has ends that make no codes"
    ):
        integer_job_with(replace(engine, result="sums"), 1)


def integer_job_with(engine, unit):
    from approxhw.backends.integer_engine.constants import check_constants

    check_constants(engine, column_constants(3, unit=unit), 3)
