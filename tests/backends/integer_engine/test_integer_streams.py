"""The whole integer engine between its streams: operators, adders, row sums, stalls, resets; every result is the kernel's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from integer_streams import integer_job

from approxhw.backends.integer_engine.constants import column_constants
from approxhw.backends.integer_engine.engine import IntegerArray
from approxhw.backends.integer_engine.foreign_operators import read_operator_module
from approxhw.backends.integer_engine.words import integer_clocks, integer_results
from approxhw.backends.systolic.schedule import make_schedule
from approxhw.common.errors import MismatchError
from approxhw.numerics.mac.integer_mac import IntegerMac
from approxhw.sim.streams import simulate_streams

CODES = IntegerArray(4, 3, IntegerMac("truncated-4", "both", 8, 8, 24), 2, 8, "codes", variate=8)
SUMS = IntegerArray(2, 3, IntegerMac("leading-3", "none", 4, 8, 20, "or-3"), 1, 4, "sums", variate=3, banks=4)
SWITCHABLE = IntegerArray(
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


@pytest.mark.slow
def test_stalls_on_all_streams_back_pressure_and_reset_in_mid_stream(simulator, tmp_path):
    """K > rows and N > columns, every port rests half of the time, nothing is taken for 100 clocks, and all ends once."""
    job = integer_job(CODES, (11, 9, 7), seed=2, pause=0.5, hold=(60, 100), reset_at=250)
    result = checked(job, simulator, tmp_path / simulator)
    assert len(job.inputs[0].words) == 2 * 3 * 3 * 3  # blocks of vectors, columns, rows, words a tile
    assert result.before_reset > 0  # it was under way
    assert result.stalled["m_axis_results"] >= 50
    assert min(result.stalled.values()) > 0


PLUS_ONE = "module plus(input [7:0] a, input [7:0] b, output [16:0] y); assign y = a * b + 17'd1; endmodule\n"


def test_an_operator_of_ones_own_that_has_no_product_of_0(icarus, tmp_path):
    """The rows beyond K add 1 each: it is taken off again, and so are those of the row sums."""
    own = read_operator_module("plus.v", PLUS_ONE, weight_bits=8, x_bits=8)
    engine = IntegerArray(4, 2, IntegerMac("plus.v", "none", 8, 8, 24), 1, 4, "sums", variate=8, foreign=(own,))
    table = np.arange(256)[:, None] * np.arange(256) + 1
    job = integer_job(engine, (3, 6, 3), table=table)
    checked(job, "icarus", tmp_path / "icarus")
    x = np.arange(6, dtype=np.uint8)[None]
    plain = integer_results(engine, x, x.T, column_constants(1, bias=5, coefficient=2), table)
    assert plain.tolist() == [[55 + 6 + 5 + 2 * 15]]


def test_few_clocks_are_lost(icarus, tmp_path):
    for number, (engine, sizes) in enumerate([(CODES, (3, 9, 7)), (SUMS, (4, 5, 4))]):
        job = integer_job(engine, sizes, seed=7)
        least = integer_clocks(engine, make_schedule(engine, *sizes))
        assert least <= checked(job, "icarus", tmp_path / str(number)).clocks <= least + 10


@pytest.mark.parametrize(("old", "new"), [
    ("writes <= turn & {COLUMNS{weight}};", "writes <= {COLUMNS{weight}};"),
    (".data_in(column[c-1].beside)", ".data_in({variate_out, south_bank})"),
    ("corrected  <= with_bias + lower + {upper, 8'd0};", "corrected  <= with_bias + lower;"),
])  # fmt: skip
def test_a_wrong_result_is_found(icarus, tmp_path, old, new):
    job = integer_job(CODES, (11, 9, 7))
    broken = replace(job, verilog=job.verilog.replace(old, new))
    assert broken.verilog != job.verilog
    with pytest.raises(MismatchError, match=r"4x3 on icarus: \d+ of 33 vectors differ"):
        simulate_streams(broken, "icarus", tmp_path / "icarus").raise_on_mismatch()
