"""What the tests of the 8-bit RTL share: exact meanings by fractions, lanes packed to words, each simulator in turn."""

from __future__ import annotations

import bisect
import functools
import itertools
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from approxhw.numerics.eight_bit.codes import make
from approxhw.numerics.eight_bit.tables import float32_of, magnitudes
from approxhw.sim import SimulationJob

CODES = (
    make("dynamic8", max="pow2"),
    make("static8", max="pow2"),
    make("static8", max="fixed"),
    make("mantissa8", max="pow2"),
    make("mantissa8", max="fixed"),
    make("linear8", max="pow2"),
)
"""Every table there is: KIND and NORMALIZED."""


def values_of(format) -> tuple[Fraction, ...]:
    """Return the exact magnitudes of the codes 0 … 127."""
    return magnitudes(format.kind, format.maximum == "fixed")


def bf16_of(number: np.ndarray) -> np.ndarray:
    """Return the bfloat16 patterns of float32 numbers, rounded to nearest even."""
    bits = np.asarray(number, dtype=np.float32).view(np.uint32).astype(np.int64)
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16


def decoded(format, codes: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """Return the bfloat16 patterns of *codes* where the maxima are 2^exponents."""
    table = np.array([float32_of(value) for value in values_of(format)], dtype=np.float32)
    with np.errstate(over="ignore"):
        size = np.ldexp(table[codes & 127], exponents).astype(np.float32)
    return bf16_of(np.where(codes >> 7, -size, size))


def decoded_fixed(format, code: int, width: int, fraction: int, maximum: int = 0) -> int:
    """Return the two's complement pattern of *code*."""
    size = Fraction(float32_of(values_of(format)[code & 127])) * Fraction(2) ** (maximum + fraction)
    whole = round(-size if code >> 7 else size)  # to even
    limit = 1 << (width - 1)
    return min(max(whole, -limit), limit - 1) & (2 * limit - 1)


def nearest(format):
    """Return the search for the code nearest to a number, by exact borders of its own."""
    smallest: dict[Fraction, int] = {}
    for code, value in enumerate(values_of(format)):
        smallest.setdefault(value, code)
    order = sorted(smallest)
    codes = [smallest[value] for value in order]
    borders = [(low + high) / 2 for low, high in itertools.pairwise(order)]

    def code_of(number: Fraction) -> int:
        size = abs(number)
        place = bisect.bisect_left(borders, size)  # a number at a border is below it
        if place < len(borders) and borders[place] == size and codes[place] & 1 and not codes[place + 1] & 1:
            place += 1
        return codes[place] | (128 if number < 0 and codes[place] else 0)

    return code_of


def number_of(bf16: int) -> Fraction:
    """Return what a finite bfloat16 pattern stands for."""
    biased, fraction = bf16 >> 7 & 255, bf16 & 127
    size = Fraction(fraction + (128 if biased else 0)) * Fraction(2) ** (max(biased, 1) - 134)
    return -size if bf16 >> 15 else size


@functools.cache
def encoded(format) -> tuple[np.ndarray, np.ndarray]:
    """Return code and ``invalid`` of each of the 65 536 bfloat16 patterns."""
    code_of, made = nearest(format), np.zeros(1 << 16, dtype=np.int64)
    patterns = np.arange(1 << 16)
    refused = (patterns & 0x7FFF) > 0x7F80
    for pattern in range(0x7F80):
        made[pattern] = code_of(number_of(pattern))
    made[0x7F80] = made[0x7F7F]  # infinity saturates as the largest number does
    made[0x8000:0xFF81] = np.where(made[:0x7F81] == 0, 0, made[:0x7F81] | 128)
    return made, refused.astype(np.int64)


def packed(values: np.ndarray, lanes: int, bits: int) -> np.ndarray:
    """Return *values*, so many *lanes* a row (the last one padded with the first value), as words; lane 0 lowest."""
    values = np.asarray(values)
    rows = np.concatenate([values, np.full(-len(values) % lanes, values[0])]).reshape(-1, lanes).tolist()
    return np.array([sum(value << (bits * lane) for lane, value in enumerate(row)) for row in rows], dtype=object)


def lanes_job(name, verilog, top, lanes, inputs, outputs, **single) -> SimulationJob:
    """Return the simulation of registered lanes: ``inputs``, ``outputs``: port → (bits of a lane, values)."""
    rows = -(-len(next(iter(inputs.values()))[1]) // lanes)
    ones = np.ones(rows, dtype=np.int64)
    single = {"reset": (1, 0 * ones), "enable": (1, ones), "in_valid": (1, ones)} | single
    packed_inputs = {port: (bits * lanes, packed(values, lanes, bits)) for port, (bits, values) in inputs.items()}
    packed_outputs = {port: (bits * lanes, packed(values, lanes, bits)) for port, (bits, values) in outputs.items()}
    driven, expected = single | packed_inputs, {"out_valid": (1, ones)} | packed_outputs
    return SimulationJob(
        name,
        verilog,
        top,
        tuple((port, bits) for port, (bits, _) in driven.items()),
        tuple((port, bits) for port, (bits, _) in expected.items()),
        clock="clock",
        latency=1,
        vectors={port: values for port, (_, values) in driven.items()},
        expected={port: values for port, (_, values) in expected.items()},
    )


@pytest.fixture(scope="session")
def meaning() -> SimpleNamespace:
    """Exact meanings, and makers of jobs."""
    return SimpleNamespace(
        codes=CODES,
        values_of=values_of,
        bf16_of=bf16_of,
        decoded=decoded,
        decoded_fixed=decoded_fixed,
        nearest=nearest,
        number_of=number_of,
        encoded=encoded,
        packed=packed,
        lanes_job=lanes_job,
    )


@pytest.fixture(params=["icarus", "verilator"])
def simulator(request: pytest.FixtureRequest) -> str:
    """Each simulator in turn; one that is missing fails in CI and is a named skip elsewhere."""
    request.getfixturevalue(request.param)
    return str(request.param)
