"""The whole engine between its streams: tiles, stalls, back-pressure, resets; every result word equals the kernel's."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from approxhw.backends.matrix_engine.engine import (
    Engine,
    activation_words,
    busy_clocks,
    engine_verilog,
    result_words,
    weight_words,
)
from approxhw.backends.systolic.protocol import FAULTS
from approxhw.backends.systolic.schedule import make_schedule
from approxhw.common.errors import MismatchError, OptionError, ToolFailedError
from approxhw.numerics.mac.arithmetic import FloatMac
from approxhw.numerics.mac.kernels import gemm as float_gemm
from approxhw.sim.streams import Disturbance, Stream, StreamJob, simulate_streams

TYPES = {
    "bf16": ml_dtypes.bfloat16,
    "fp16": np.float16,
    "e4m3": ml_dtypes.float8_e4m3fn,
    "e5m2": ml_dtypes.float8_e5m2,
}


def job_of(engine, m, k, n, *, seed=1, specials=False, **disturbance) -> StreamJob:
    """Return the product of two random matrices on *engine*, some elements far smaller or larger than others."""
    source = np.random.default_rng(seed)
    kind = TYPES[engine.mac.format]

    def codes(shape):
        numbers = source.normal(size=shape) * 2.0 ** source.integers(-5, 5, size=shape)
        numbers[source.random(shape) < 0.1] = 0.0
        return np.ascontiguousarray(numbers.astype(np.float32).astype(kind))

    a, b = codes((m, k)), codes((k, n))
    if specials:
        a[0, 1], a[1, k - 1], b[0, n - 1] = np.inf, np.nan, -np.inf
    special = ~np.isfinite(a.astype(np.float32)).all(axis=1)
    unsigned = np.uint8 if engine.code_bits == 8 else np.uint16
    schedule = make_schedule(engine, m, k, n)
    product = float_gemm.matmul(a.astype(np.float32), b.astype(np.float32), engine.mac, result=engine.result)
    weights, weight_ends = weight_words(engine, schedule, b.view(unsigned))
    vectors, ends, user = activation_words(engine, schedule, a.view(unsigned))
    results, result_ends = result_words(engine, schedule, product, special)
    return StreamJob(
        f"{engine.mac} {engine.rows}x{engine.columns}",
        engine_verilog(engine),
        "matrix_engine",
        (
            Stream("s_axis_weights", engine.word_bits, weights, weight_ends),
            Stream("s_axis_activations", engine.word_bits, vectors, ends, user),
        ),
        Stream("m_axis_results", engine.columns * engine.result_bits, results, result_ends),
        Disturbance(**disturbance),
        watch="fault",
    )


def checked(job, simulator, folder):
    """Run *job* and check that every word went in and came out as expected."""
    result = simulate_streams(job, simulator, folder).raise_on_mismatch()
    assert result.words == len(job.output.words) > 0
    assert result.accepted == {stream.name: len(stream.words) for stream in (*job.inputs, job.output)}
    return result


@pytest.mark.slow
def test_stalls_on_all_streams_back_pressure_and_reset_in_mid_stream(simulator, tmp_path):
    """K > rows and N > columns, every port rests half of the time, nothing is taken for 100 clocks, and all ends once."""
    engine = Engine(4, 4, FloatMac(), vectors=16)
    job = job_of(engine, 20, 10, 9, pause=0.5, hold=(60, 100), reset_at=350)
    result = checked(job, simulator, tmp_path / simulator)
    assert len(job.inputs[0].words) == 2 * 3 * 3 * 4  # blocks of vectors, columns, rows, words a tile
    assert result.before_reset > 0  # it was under way
    assert result.stalled["m_axis_results"] >= 80
    assert min(result.stalled.values()) > 0


@pytest.mark.parametrize(("engine", "shape"), [
    (Engine(4, 4, FloatMac("bf16", 16, "exact"), depth=1, result="bf16", vectors=8), (9, 9, 5)),
    (Engine(2, 3, FloatMac("e4m3", 20, "an-2-2"), depth=3, vectors=4, fast=True), (6, 5, 4)),
    (Engine(3, 2, FloatMac("e5m2", 18, "an-1-1"), depth=4, result="bf16", vectors=4), (2, 10, 3)),
    (Engine(4, 3, FloatMac("fp16", 24, "an-1-2"), depth=4, vectors=64), (5, 6, 7)),
    (Engine(1, 1, FloatMac("bf16", 20, "exact"), depth=2, vectors=2, fast=True), (3, 4, 2)),
], ids=lambda value: value.mac.format if isinstance(value, Engine) else "")  # fmt: skip
def test_engines_of_all_kinds(icarus, engine, shape, tmp_path):
    checked(job_of(engine, *shape, pause=0.3, specials=shape[2] > 2), "icarus", tmp_path / "icarus")


def test_size_of_the_array_does_not_matter_and_few_clocks_are_lost(icarus, tmp_path):
    seen = []
    for number, (rows, columns) in enumerate(((2, 2), (4, 3))):
        engine = Engine(rows, columns, vectors=64)
        job = job_of(engine, 24, 8, 6, seed=7)
        result = checked(job, "icarus", tmp_path / str(number))
        least = busy_clocks(engine, make_schedule(engine, 24, 8, 6))
        assert least <= result.clocks <= least + 10
        seen.append(job.output.words)
    assert len(seen[0]) != len(seen[1])  # other words, the same product: job_of takes it from the kernel


def test_wrong_result_is_found_and_written_down(icarus, tmp_path):
    job = job_of(Engine(2, 2, vectors=4), 3, 3, 2)
    broken = replace(job, verilog=job.verilog.replace("start  <= north_first;", "start  <= 1'b1;"))
    assert broken.verilog != job.verilog
    with pytest.raises(MismatchError, match=r"2x2 on icarus: \d+ of 3 vectors differ"):
        simulate_streams(broken, "icarus", tmp_path / "icarus").raise_on_mismatch()
    record = json.loads((tmp_path / "icarus" / "mismatches.json").read_text())
    assert record["rows"][0]["expected"] != record["rows"][0]["seen"]


def test_lost_words_are_an_error(icarus, tmp_path):
    job = job_of(Engine(2, 2, vectors=4), 3, 3, 2)
    stuck = replace(job, verilog=job.verilog.replace("if (load) streaming <= 1'b1;", ""), idle=100)
    with pytest.raises(ToolFailedError, match=r"0 of 3 words came out, then nothing moved for 100 clocks"):
        simulate_streams(stuck, "icarus", tmp_path / "icarus")


@pytest.mark.parametrize("fault", [1, 2, 4])
def test_faults_are_told(icarus, tmp_path, fault):
    job = job_of(Engine(2, 2, vectors=4), 4, 4, 2)
    weights, vectors = job.inputs
    if fault == 4:  # the first tile's last word has no tlast
        weights = replace(weights, ends=np.arange(4) == 3)
    elif fault == 2:  # tiles of 4, the second taken for 3 and 1
        vectors = replace(vectors, ends=np.isin(np.arange(8), (3, 6, 7)))
    else:  # both tiles as one, of 8 vectors
        vectors = replace(vectors, ends=np.arange(8) == 7)
    broken = replace(job, inputs=(weights, vectors), idle=100, bits=FAULTS)
    words = re.escape(f"fault was not 0 in the end, but {fault} ({FAULTS[fault.bit_length() - 1]})")
    with pytest.raises(ToolFailedError, match=words):
        simulate_streams(broken, "icarus", tmp_path / "icarus")


def test_jobs_that_cannot_be_run():
    words = np.array([[1, 0], [2, 0]], np.uint8)
    good = Stream("s_axis_a", 16, words, np.array([False, True]))
    bad = Stream("s axis", 32, words, np.array([True, False]), np.zeros(3))
    with pytest.raises(OptionError) as error:
        simulate_streams(StreamJob("j", "", "top", (good, bad), good, Disturbance(pause=1.0)), "modelsim", "nowhere")
    assert str(error.value).splitlines() == [
        "simulation of j: 5 problems",
        "  simulator: modelsim is unknown",
        "    do: icarus or verilator",
        "  pause: 1.0 is no probability below 1",
        "  s axis: is no plain Verilog identifier",
        "  s axis: words are uint8 (2, 2), not uint8 (2, 4)",
        "  s axis: 3 values of tuser for 2 words",
    ]
