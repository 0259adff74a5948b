"""An engine whose ports carry 8-bit codes: every result word equals the kernel's on the decoded numbers, on both simulators."""

from __future__ import annotations

import json
from dataclasses import replace

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
from approxhw.backends.systolic.schedule import make_schedule
from approxhw.common.errors import MismatchError, OptionError, ToolFailedError
from approxhw.numerics.eight_bit.port_codes import EngineCodes, Packed, largest_of, pack, unpack
from approxhw.numerics.mac.arithmetic import FloatMac
from approxhw.numerics.mac.kernels.codes import from_codes, to_codes
from approxhw.numerics.mac.kernels.gemm import matmul
from approxhw.sim import lint
from approxhw.sim.streams import Disturbance, Stream, StreamJob, simulate_streams

SIZES, FEW = (5, 140, 4), (3, 70, 3)


def job_of(engine, m, k, n, *, seed=1, **disturbance) -> StreamJob:
    """Return the product of two random matrices, some rows and columns far smaller than others, or zeros; every code stands."""
    source = np.random.default_rng(seed)

    def numbers(vectors):
        x = source.normal(size=(vectors, k)) * 2.0 ** source.integers(-9, 9, size=(vectors, 1))
        x[:, : k // 3] *= 2.0**-6
        x[source.random(x.shape) < 0.1] = 0.0
        return x.astype(np.float32)

    a, b = numbers(m), numbers(n)
    b[0] = 0
    schedule = make_schedule(engine, m, k, n)
    sent, left, right = [], a, b
    if engine.activation_codes is not None:
        packed = pack(a, engine.activation_codes)
        packed.codes.reshape(-1)[:256] = np.arange(256)[: packed.codes.size]
        sent.append(packed)
        left = unpack(packed)
    else:
        sent.append(to_codes(a, engine.mac.format))
    if engine.weight_codes is not None:
        packed = pack(b, engine.weight_codes, largest=largest_of(b))
        packed.codes.reshape(-1)[-256:] = np.arange(256)[: packed.codes.size]
        sent.append(packed)
        right = unpack(packed)
    else:
        sent.append(np.ascontiguousarray(to_codes(b, engine.mac.format).T))
    left, right = (from_codes(to_codes(x, "bf16"), "bf16") for x in (left, right))
    product = matmul(left, right.T, engine.mac, result=engine.result)
    weights, weight_ends = weight_words(engine, schedule, sent[1])
    vectors, ends, user = activation_words(engine, schedule, sent[0])
    results, result_ends = result_words(engine, schedule, product)
    assert np.isfinite(product).all()
    return StreamJob(
        f"{engine.codes} {engine.rows}x{engine.columns}",
        engine_verilog(engine),
        engine.top,
        (
            Stream("s_axis_weights", engine.weight_word_bits, weights, weight_ends),
            Stream("s_axis_activations", engine.activation_word_bits, vectors, ends, user),
        ),
        Stream("m_axis_results", engine.columns * engine.result_bits, results, result_ends),
        Disturbance(**disturbance),
        watch="fault",
    )


def checked(job, simulator, folder):
    result = simulate_streams(job, simulator, folder).raise_on_mismatch()
    assert result.words == len(job.output.words) > 0
    assert result.accepted == {stream.name: len(stream.words) for stream in (*job.inputs, job.output)}
    return result


ENGINES = [
    Engine(4, 3, vectors=16, codes=EngineCodes("dynamic8", 64)),
    Engine(8, 2, FloatMac("bf16", 16, "exact"), 1, "bf16", 8, codes=EngineCodes("linear8", 64, activations=True)),
    Engine(
        4,
        4,
        FloatMac("bf16", 24, "an-2-2"),
        4,
        vectors=4,
        codes=EngineCodes("static8", activations=True, weights=False),
    ),
    Engine(5, 2, FloatMac("bf16", 20, "an-1-1"), 3, vectors=8, codes=EngineCodes("mantissa8", activations=True)),
]


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.codes.code)
def test_results_on_icarus_while_streams_rest(icarus, engine, tmp_path):
    result = checked(job_of(engine, *SIZES, pause=0.3), "icarus", tmp_path / "icarus")
    assert max(result.stalled.values()) > 0


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES[:2], ids=lambda engine: engine.codes.code)
def test_results_on_verilator_with_stalls_back_pressure_and_reset(verilator, engine, tmp_path):
    result = checked(
        job_of(engine, 20, 150, 9, pause=0.5, hold=(900, 150), reset_at=3000), "verilator", tmp_path / "verilator"
    )
    assert result.before_reset > 0  # it was under way
    assert min(result.stalled.values()) > 0
    assert result.stalled["m_axis_results"] >= 20


def test_one_clock_more_and_no_other(icarus, tmp_path):
    """The bench adds the same few clocks to the fewest possible, whichever ports carry codes."""
    beyond = []
    for number, codes in enumerate((None, EngineCodes(activations=True), EngineCodes(activations=True, weights=False))):
        engine = Engine(4, 3, vectors=64, codes=codes)
        result = checked(job_of(engine, 12, 8, 6), "icarus", tmp_path / str(number))
        beyond.append(result.clocks - busy_clocks(engine, make_schedule(engine, 12, 8, 6)))
    assert beyond[1:] == beyond[:1] * 2
    assert 0 <= beyond[0] <= 10


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.codes.code)
def test_lint_is_clean(verilator, engine):
    lint(engine_verilog(engine), engine.top)


def test_the_engine_behind_the_decoders_is_the_plain_one():
    """Its modules stand in the text as they do without codes, so that a plain engine has not changed, either."""
    from approxhw.rtl_templates import template_closure

    coded, plain = engine_verilog(ENGINES[0]), engine_verilog(replace(ENGINES[0], codes=None))
    assert template_closure("matrix_engine") in template_closure("matrix_engine_codes")
    assert "eight_bit" not in plain
    assert "matrix_engine_codes" in coded
    assert coded.count("module matrix_engine #(") == 1


DEFECTS = [
    ("assign biased = own +", "assign biased = own + 8'd1 +"),  # of the decoder: twice as much
    (".exponent(word_in[8*LANES+:8])", ".exponent(word_in[8*LANES-:8])"),
    ("(~valid_out | ready_out) & ~reset", "~reset"),  # a word is overwritten while it waits
    ("always @(posedge clock) if (ready_in) beside_out", "always @(posedge clock) beside_out"),
]


@pytest.mark.parametrize(("right", "wrong"), DEFECTS, ids=["exponent", "port", "handshake", "beside"])
def test_a_defect_is_found(icarus, tmp_path, right, wrong):
    job = job_of(ENGINES[1], *FEW, pause=0.3)
    broken = replace(job, verilog=job.verilog.replace(right, wrong), idle=200)
    assert broken.verilog != job.verilog
    with pytest.raises((MismatchError, ToolFailedError), match=r"vectors differ|words came out|fault was not 0"):
        simulate_streams(broken, "icarus", tmp_path / "icarus").raise_on_mismatch()


def test_a_wrong_code_is_written_down(icarus, tmp_path):
    job = job_of(ENGINES[0], *FEW)
    words = job.inputs[0].words.copy()
    words[10, 1] ^= 0x40
    broken = replace(job, inputs=(replace(job.inputs[0], words=words), job.inputs[1]))
    with pytest.raises(MismatchError, match=r"on icarus: \d+ of 3 vectors differ"):
        simulate_streams(broken, "icarus", tmp_path / "icarus").raise_on_mismatch()
    record = json.loads((tmp_path / "icarus" / "mismatches.json").read_text())
    assert record["rows"][0]["expected"] != record["rows"][0]["seen"]


def test_a_word_is_codes_and_an_exponent():
    engine = Engine(4, 2, vectors=2, codes=EngineCodes(block=64, activations=True))
    assert (engine.word_bits, engine.weight_word_bits, engine.activation_word_bits) == (64, 40, 40)
    codes = np.arange(2 * 66, dtype=np.uint8).reshape(2, 66)
    packed = Packed(engine.weight_codes, codes, np.array([[1, -2], [3, -128]], np.int8))
    schedule = make_schedule(engine, 2, 66, 2)
    words, ends = weight_words(engine, schedule, packed)
    assert words.shape == (17 * 2, 5)
    assert words[0].tolist() == [66, 67, 68, 69, 3]  # the last column first
    assert words[1].tolist() == [0, 1, 2, 3, 1]
    assert words[-2:].tolist() == [[130, 131, 0, 0, 128], [64, 65, 0, 0, 254]]
    assert ends.tolist() == [False, True] * 17
    vectors, _, user = activation_words(engine, schedule, packed)
    assert vectors[-2:].tolist() == [[64, 65, 0, 0, 254], [130, 131, 0, 0, 128]]
    assert user.tolist() == [1, 1, *[0] * 30, 2, 2]


def test_words_of_another_kind_are_refused():
    coded, plain = Engine(4, 2, codes=EngineCodes()), Engine(4, 2)
    packed = pack(np.ones((2, 8), np.float32), coded.weight_codes)
    schedule = make_schedule(coded, 2, 8, 2)
    with pytest.raises(OptionError, match=r"weights: are numbers, and the port carries dynamic8<max=pow2>"):
        weight_words(coded, schedule, np.zeros((8, 2), np.uint16))
    with pytest.raises(OptionError, match=r"weights: are dynamic8<max=pow2>, and the port carries numbers"):
        weight_words(plain, schedule, packed)
    with pytest.raises(OptionError, match=r"activations: are dynamic8<max=pow2>, and the port carries numbers"):
        activation_words(coded, schedule, packed)
    with pytest.raises(OptionError, match=r"weights: have shape \(2, 8\), not \(3, 8\)"):
        weight_words(coded, make_schedule(coded, 2, 8, 3), packed)


def test_what_cannot_be_built():
    with pytest.raises(OptionError) as caught:
        Engine(12, 0, FloatMac("e4m3", 16, "exact"), codes=EngineCodes(block=256))
    assert len(caught.value.problems) == 3
    assert "blocks of 256 would end within beats" in str(caught.value)
    assert "decoders make bf16 of 8-bit codes, and the operands are e4m3" in str(caught.value)
