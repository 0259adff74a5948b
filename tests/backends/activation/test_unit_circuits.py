"""Activation units as circuits: RTL on both simulators, netlist and SAT equal the plain reference, every code there is."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache

import numpy as np
import pytest

from approxhw.backends.activation.unit_module import unit_module, unit_vectors
from approxhw.backends.bespoke.readback import check_emitted, read_modules
from approxhw.backends.estimate import prove_blocks, simulate_netlist, synthesise
from approxhw.common.errors import OptionError
from approxhw.numerics.formats import Fixed
from approxhw.numerics.functions.activations import activation_formula
from approxhw.numerics.functions.fit import fit_activation
from approxhw.numerics.functions.units import (
    UNIT_KINDS,
    ActivationUnit,
    Differences,
    Entries,
    Fold,
    Level,
    Pieces,
    Ratios,
    unit_codes,
    unit_value,
)
from approxhw.sim import SimulationJob, bundle, lint, simulate

X = Fixed(6, True, Fraction(1, 8))
LEVELS = (Level(1, 1, 1, (0, 5)), Level(3, 1, 0, (0, 1, 2, 9)), Level(4, 2, 1, (1, 0, 1, 1) * 4))
BY_HAND = {
    "one_piece": ActivationUnit(4, False, 6, True, Pieces((0,), ((3, -5),), (1,))),
    "falling": ActivationUnit(5, True, 6, True, Pieces((0, 7), ((-3, 40), (0, 2)), (2,))),
    "bent": ActivationUnit(5, False, 7, True, Pieces((0, 9, 20), ((-3, 40, -9), (1, -4, 5), (0, 0, -64)), (2, 4))),
    "folded_slope": ActivationUnit(
        5, True, 6, True, Entries(tuple(range(16))), Fold(inverted=True, subtract=False, slope=-5, offset=3, shift=2)
    ),
    "clamped": ActivationUnit(3, True, 4, True, Entries((0, 2, 5, 8)), Fold(inverted=False, subtract=True, most=7)),
    "clamped_below_0": ActivationUnit(
        3, True, 5, True, Entries((-9, 2, -5, 8)), Fold(inverted=True, subtract=True, offset=-1, most=-2)
    ),
    "no_carry": ActivationUnit(4, False, 6, True, Differences((-3, 4), (Level(4, 1, 2, (0, 3) * 8),))),
    "three_levels": ActivationUnit(4, True, 6, True, Differences((-3,), LEVELS)),
    "one_code": ActivationUnit(4, False, 3, False, Entries((5,) * 16)),
    "ratio": ActivationUnit(5, False, 7, True, Ratios((0, 12), ((2, 30), (0, 99)), ((1, 3), (2, 1)), -40)),
    "ratio_from_0": ActivationUnit(4, True, 6, False, Ratios((0,), ((1, 0, 7),), ((3, 5),), 0)),
    "sixteen_bits_out": ActivationUnit(3, True, 16, True, Pieces((0,), ((7001, -30000),), (0,))),
}
"""Corners that fits seldom come to: no piece to choose, no carry, constants, clamps, values below 0."""


@cache
def units() -> dict[str, ActivationUnit]:
    """Return every kind of two functions with a fold and two without, and those by hand."""
    found = dict(BY_HAND)
    for name, y in (
        ("tanh", Fixed(6, True, Fraction(1, 32))),
        ("gelu", X),
        ("exp", Fixed(6, False, Fraction(1, 2))),
        ("sau", X),
    ):
        for kind in UNIT_KINDS:
            unit = fit_activation(activation_formula(name), X, y, kind, 1.0).unit
            found[f"{name}_{kind}".replace("-", "_")] = unit
    return found


def job_of(name: str, unit: ActivationUnit) -> SimulationJob:
    """Return the module of *unit* with every code; bits of x that are no part of the port make no difference."""
    emitted = unit_module(unit)
    check_emitted(emitted)
    codes = unit_codes(unit)
    expected = np.array([unit_value(unit, code) for code in codes.tolist()]) % (1 << unit.out_bits)
    inputs = tuple((port, len(bits)) for port, bits in emitted.input_bits)
    return SimulationJob(
        name,
        emitted.verilog,
        emitted.top,
        inputs,
        emitted.outputs,
        vectors=unit_vectors(emitted, codes),
        expected={"y": expected},
    )


@cache
def jobs() -> tuple[SimulationJob, ...]:
    """Return all of them that read something."""
    return tuple(job_of(name, unit) for name, unit in units().items() if name != "one_code")


def test_circuits_equal_the_reference_on_simulators(simulator, tmp_path):
    together = bundle(list(jobs()))
    result = simulate(together, simulator, tmp_path / simulator)
    assert result.failing == {}
    assert result.vectors == 64
    assert len(together.expected) == len(units()) - 1 == 31


def test_netlists_equal_the_reference():
    together = bundle(list(jobs()))
    seen = simulate_netlist(synthesise(together.verilog, together.top, "egfet"), together.vectors)
    compared = [np.asarray(seen[port]) == expected for port, expected in together.expected.items()]
    assert len(compared) == 31
    assert all(equal.all() for equal in compared)


@pytest.mark.parametrize("name", ["tanh_pwl", "gelu_compressed_table", "ratio", "bent"])
def test_netlists_are_proven_equal_to_their_sources(name):
    job = next(job for job in jobs() if job.name == name)
    proofs = prove_blocks(job.verilog, job.top, "egfet")
    assert len(proofs) > 1
    assert {proof.module: proof.reason for proof in proofs if not proof.proven and proof.input_bits <= 10} == {}


@pytest.mark.parametrize("name", ["tanh_table", "tanh_compressed_table", "tanh_pwl", "sau_poly", "exp_pade", "clamped"])
def test_modules_are_clean(name, icarus, verilator):
    emitted = unit_module(units()[name])
    lint(emitted.verilog, emitted.top)
    assert "activation_unit" in read_modules(emitted.verilog)


def test_a_unit_that_is_wrong_is_found(icarus, tmp_path):
    unit = units()["tanh_pwl"]
    assert isinstance(unit.core, Pieces)
    first, *others = unit.core.rows
    broken = replace(unit, core=replace(unit.core, rows=((first[0], first[1] + (2 << unit.core.shifts[0])), *others)))
    job = replace(job_of("broken", broken), expected=job_of("right", unit).expected)
    assert simulate(job, "icarus", tmp_path).failing


def test_what_is_no_unit_gets_no_module():
    with pytest.raises(OptionError, match="its table has 3 entries, not 16"):
        unit_module(ActivationUnit(4, False, 3, False, Entries((1, 2, 3))))
