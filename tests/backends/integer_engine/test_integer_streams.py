"""The whole integer engine between its streams: operators, adders, row sums, stalls, resets; every result is the kernel's."""

from __future__ import annotations

import pytest
from integer_streams import integer_job

from approxhw.backends.integer_engine.engine import IntegerEngine
from approxhw.numerics.mac.integer_mac import IntegerMac
from approxhw.sim.streams import simulate_streams

CODES = IntegerEngine(4, 3, IntegerMac("truncated-4", "both", 8, 8, 24), 2, 8, "codes", variate=8)
SUMS = IntegerEngine(2, 3, IntegerMac("leading-3", "none", 4, 8, 20, "or-3"), 1, 4, "sums", variate=3, banks=4)
SWITCHABLE = IntegerEngine(
    3,
    2,
    IntegerMac("exact", "weight", 8, 4, 18, "cut-2"),
    2,
    4,
    operators=("rounded", "exact", "truncated-3-corrected"),
)


def checked(job, simulator, folder):
    """Run *job* and check that every word went in and came out as expected."""
    result = simulate_streams(job, simulator, folder).raise_on_mismatch()
    assert result.words == len(job.output.words) > 0
    assert result.accepted == {stream.name: len(stream.words) for stream in (*job.inputs, job.output)}
    return result


@pytest.mark.parametrize(("engine", "sizes"), [(CODES, (11, 9, 7)), (SUMS, (6, 5, 4))], ids=["codes", "sums"])
def test_engines_equal_the_kernel(icarus, tmp_path, engine, sizes):
    checked(integer_job(engine, sizes, pause=0.3), "icarus", tmp_path / "icarus")


def test_select_chooses_the_operator(icarus, tmp_path):
    seen = []
    for name in SWITCHABLE.names[:2]:
        job = integer_job(SWITCHABLE, (5, 7, 3), operator=name)
        checked(job, "icarus", tmp_path / name)
        seen.append(job.output.words)
    assert (seen[0] != seen[1]).any()
