"""The normalizers for every sum of small widths, and the column's end, against the plain-Python reference."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest

from approxhw.backends.systolic.templates import configured
from approxhw.numerics.mac import float_mac
from approxhw.numerics.mac.arithmetic import FloatMac
from approxhw.numerics.mac.float_mac import State, finish, from_word, to_word
from approxhw.sim import SimulationJob, bundle, bundle_ports, simulate

WIDTHS = (4, 5, 6)


def reference(width: int, shifts, total: int, exponent: int) -> tuple[int, int]:
    """Return significand and exponent by ``float_mac.normalize``, which wants a FloatMac: its width is set beneath it."""
    if total == 0:
        return 0, float_mac.EMIN
    if total >> width:
        return total >> 1, exponent + 1
    mac = FloatMac("e5m2", 16, "exact" if shifts is None else f"an-{shifts[0]}-{shifts[1]}")
    object.__setattr__(mac, "accumulator_bits", width)
    lowered, significand = float_mac.normalize(mac, exponent, total)
    return significand, lowered


def normalizer_job(width, shifts, fast) -> SimulationJob:
    rows = list(itertools.product(range(1 << (width + 1)), (-270, -3, 0, 254), (0, 1)))
    made = [reference(width, shifts, total, exponent + above) for total, exponent, above in rows]
    name = "normalize_exact" if shifts is None else "normalize_approximate"
    parameters = {"W": width, "FAST": fast} | ({} if shifts is None else {"K": shifts[0], "L": shifts[1]})
    return SimulationJob(
        f"{name} {width} {shifts} {fast}",
        configured(name, parameters),
        name,
        (("sum", width + 1), ("zero", 1), ("exponent", 10), ("above", 1)),
        (("significand", width), ("result_exponent", 10)),
        vectors={
            "sum": np.array([row[0] for row in rows]),
            "zero": np.array([int(row[0] == 0) for row in rows]),
            "exponent": np.array([row[1] & 1023 for row in rows]),
            "above": np.array([row[2] for row in rows]),
        },
        expected={
            "significand": np.array([v for v, _ in made]),
            "result_exponent": np.array([e & 1023 for _, e in made]),
        },
    )


def test_normalizers_equal_the_reference_for_every_sum(icarus, tmp_path):
    jobs = [
        normalizer_job(width, shifts, fast)
        for width in WIDTHS
        for shifts in (None, (1, 1), (1, 2), (2, 1), (2, 2))
        if shifts is None or sum(shifts) < width
        for fast in (0, 1)
    ]
    together = bundle(jobs)
    result = simulate(together, "icarus", tmp_path / "icarus")
    assert result.vectors == (1 << 7) * 8
    assert {jobs[bundle_ports(together)[port][0]].name for port in result.failing} == set()
    assert len(jobs) == 2 * (4 + 5 + 5)


def end_states(source: random.Random, bits: int, count: int) -> list[int]:
    """Return states near all corners of the column's end: ties, the smallest and the largest numbers, specials."""
    words = []
    for _ in range(count):
        exponent = source.choice((-127, -126, -125, 126, 127, 128, 0, source.randint(-260, 300)))
        significand = source.getrandbits(bits) | 1 << (bits - 1)
        if source.random() < 0.3:  # at a tie of bf16, or beside it
            significand = (significand >> (bits - 9) << (bits - 9)) + source.choice((-1, 0, 0, 1))
            significand &= (1 << bits) - 1
        if source.random() < 0.2:
            significand |= (1 << bits) - (1 << (bits - 9))  # rounds up into the next exponent
        drop = source.choice((0, 0, 0, 1, 2, bits - 1))
        significand >>= drop
        state = State(source.getrandbits(1), exponent + drop, significand) if significand else float_mac.START
        if source.random() < 0.05:
            state = replace(state, nan=source.random() < 0.5, inf=True)
        words.append(to_word(state, bits))
    return words


def end_job(bits, result, fast, count=2000) -> SimulationJob:
    states = end_states(random.Random(f"{bits}{result}"), bits, count)
    width = {"bf16": 16, "float32": 32}[result]
    return SimulationJob(
        f"column_end {bits} {result} {fast}",
        configured("column_end", {"W": bits, "RESULT_BITS": width, "FAST": fast}),
        "column_end",
        (("state", bits + 13),),
        (("code", width),),
        clock="clock",
        latency=1,
        vectors={"state": np.array(states)},
        expected={"code": np.array([finish(from_word(state, bits), result, bits) for state in states])},
    )


def test_column_end_equals_the_reference(simulator, tmp_path):
    jobs = [
        end_job(bits, result, bits % 2, 4000 if simulator == "verilator" else 700)
        for bits in (16, 17, 20, 23, 24)
        for result in ("bf16", "float32")
    ]
    together = bundle(jobs)
    result = simulate(together, simulator, tmp_path / simulator)
    assert result.vectors >= 700
    assert {jobs[bundle_ports(together)[port][0]].name for port in result.failing} == set()
    codes = {code for job in jobs for code in job.expected["code"].tolist()}
    assert {0, 0x8000, 0x7F80, 0x7FC0, 0x7FC00000, 0x7F800000, 0xFF800000} <= codes


@pytest.mark.parametrize(("old", "new"), [
    ("v[W-2-F] & (v[W-1-F] | (|v[W-3-F:0]))", "v[W-2-F]"),
    ("biased[9] | ~(|biased[8:0])", "biased[9]"),
    ("(biased[8] | (&biased[7:0]))", "biased[8]"),
])  # fmt: skip
def test_a_wrong_column_end_is_found(icarus, tmp_path, old, new):
    job = end_job(20, "bf16", 0, 700)
    assert job.verilog.count(old) == 1
    assert simulate(replace(job, verilog=job.verilog.replace(old, new)), "icarus", tmp_path / "icarus").mismatches > 0
