"""Limited alignment in Verilog: elements against the reference about the last distance that counts, and a small engine."""

from __future__ import annotations

import random

import numpy as np
import pytest

from approxhw.backends.matrix_engine.engine import Engine, activation_words, engine_verilog, result_words, weight_words
from approxhw.backends.matrix_engine.templates import decode_parameters, element_parameters, element_verilog
from approxhw.backends.systolic.schedule import make_schedule
from approxhw.backends.systolic.templates import configured
from approxhw.numerics.mac.arithmetic import FloatMac
from approxhw.numerics.mac.float_mac import EMIN, State, from_word, product_exponent, step, to_word, unpack_operand
from approxhw.numerics.mac.kernels import gemm as float_gemm
from approxhw.numerics.mac.kernels.codes import from_codes, to_codes
from approxhw.rtl_templates import template_text
from approxhw.sim import SimulationJob, bundle, bundle_ports, lint, simulate
from approxhw.sim.benches.matrix_element import element_job
from approxhw.sim.streams import Disturbance, Stream, StreamJob, simulate_streams

FORMATS = (("bf16", 16), ("bf16", 20), ("fp16", 24), ("e4m3", 16), ("e5m2", 17))
NORMALIZATIONS = ("an-1-2", "exact", "an-2-2")


def edge(source, mac, a, b) -> int:
    """Return a state that lies about 2^M binades above or below a product, or about as high; now and then another one."""
    width = mac.accumulator_bits
    e = product_exponent(mac, a, b)
    if e == EMIN or source.random() < 0.1:
        e = source.randrange(-12, 12)
    exponent = e + source.choice((-mac.reach, mac.reach + 1, 0)) + source.choice((-2, -1, -1, 0, 0, 0, 1, 2))
    size = source.choice((1 << (width - 1), (1 << width) - 1, source.getrandbits(width) | 1 << (width - 1)))
    return to_word(State(source.getrandbits(1), exponent, max(1, size >> source.choice((0, 0, 0, 1, 3)))), width)


def job_of(making, mac, depth, fast, count) -> SimulationJob:
    source = random.Random(f"{mac} {depth}")
    codes = making.random_codes(source, mac, count)
    states = [
        edge(source, mac, operand, weight) if source.random() < 0.8 else making.state_word(source, mac.accumulator_bits)
        for operand, weight in zip([*codes[1:], codes[-1]], codes, strict=True)
    ]
    verilog = element_verilog(mac, depth, fast=fast) + template_text("float_decode")
    return element_job(verilog, decode_parameters(mac), mac, depth, codes, states)


def dropped(mac, job) -> int:
    """Return how many vectors of *job* come out otherwise than with exact alignment."""
    exact = FloatMac(mac.format, mac.accumulator_bits, mac.normalization)
    codes, states = (job.vectors[name].tolist() for name in ("code", "state"))
    seen = zip([*codes[1:], codes[-1]], codes, states, job.expected["result"].tolist(), strict=True)
    width = mac.accumulator_bits
    return sum(to_word(step(exact, from_word(s, width), x, w), width) != found for x, w, s, found in seen)


def test_the_parameter_says_how_far_is_shifted():
    assert element_parameters(FloatMac())["ALIGN"] == 5
    assert [element_parameters(FloatMac(alignment=bits))["ALIGN"] for bits in (1, 2, 3, 4)] == [1, 2, 3, 4]
    engine = Engine(mac=FloatMac(alignment=3))
    assert engine.parameters()["ALIGN"] == 3
    for text in (engine_verilog(engine), configured("mac_array", engine.array_parameters())):
        assert text.count("parameter ALIGN                 = 3,") == 1


@pytest.mark.slow
def test_elements_equal_the_reference(making, verilator, tmp_path):
    """More than 100 000 vectors: every format, three distances, all depths and forms."""
    jobs, differ = [], 0
    for number, (format, bits) in enumerate(FORMATS):
        for alignment in (2, 3, 4):
            mac = FloatMac(format, bits, NORMALIZATIONS[(number + alignment) % 3], alignment)
            jobs.append(job_of(making, mac, 1 + (number + alignment) % 4, (number + alignment) % 3, 7000))
            if (bits, alignment) != (16, 4):
                seen = dropped(mac, jobs[-1])
                assert seen > 300, mac
                differ += seen
    assert sum(job.count for job in jobs) == 15 * 7000
    assert differ > 10_000
    together = bundle(jobs)
    result = simulate(together, "verilator", tmp_path / "verilator")
    assert result.vectors == 7000
    assert {jobs[bundle_ports(together)[port][0]].name: number for port, number in result.failing.items()} == {}


@pytest.mark.parametrize(("old", "new"), [
    ("{W{~(|steps[9:ALIGN])}}", "{W{~(|steps[9:ALIGN+1])}}"),
    ("from_state ? p : high ?", "from_state ? p : 1'b0 ?"),
    ("steps     = distance[9:0] ^ {10{distance[10]}}", "steps     = distance[9:0] ^ {9'd0, distance[10]}"),
])  # fmt: skip
def test_a_defect_is_found(making, icarus, old, new, tmp_path):
    job = job_of(making, FloatMac("bf16", 16, "an-1-2", 3), 2, 0, 400)
    assert simulate(job, "icarus", tmp_path / "whole").mismatches == 0
    assert job.verilog.count(old) == 1
    broken = SimulationJob(**{**vars(job), "verilog": job.verilog.replace(old, new)})
    assert simulate(broken, "icarus", tmp_path / "broken").mismatches > 0


def test_an_engine_multiplies_matrices(icarus, tmp_path):
    """K > rows, N > columns, ports that rest: every word is the kernel's, and exact alignment would give others."""
    engine = Engine(3, 2, FloatMac("bf16", 16, "an-1-2", 2), vectors=8)
    source = np.random.default_rng(3)
    a, b = (
        to_codes(source.normal(size=shape) * 2.0 ** source.integers(-4, 5, size=shape), "bf16")
        for shape in ((9, 8), (8, 5))
    )
    assert all(unpack_operand("bf16", code).significand for code in a.reshape(-1).tolist())
    product = float_gemm.matmul(from_codes(a, "bf16"), from_codes(b, "bf16"), engine.mac)
    assert (product != float_gemm.matmul(from_codes(a, "bf16"), from_codes(b, "bf16"), FloatMac("bf16", 16))).any()
    schedule = make_schedule(engine, 9, 8, 5)
    job = StreamJob(
        "limited",
        engine_verilog(engine),
        "matrix_engine",
        (
            Stream("s_axis_weights", engine.word_bits, *weight_words(engine, schedule, b)),
            Stream("s_axis_activations", engine.word_bits, *activation_words(engine, schedule, a)),
        ),
        Stream("m_axis_results", engine.columns * engine.result_bits, *result_words(engine, schedule, product)),
        Disturbance(pause=0.3),
        watch="fault",
    )
    result = simulate_streams(job, "icarus", tmp_path / "icarus").raise_on_mismatch()
    assert result.words == len(job.output.words) > 0


def test_it_is_lint_clean(icarus, verilator):
    for alignment in (1, 2, 3, 4):
        engine = Engine(2, 2, FloatMac("bf16", 16 + alignment, "an-1-2", alignment), alignment, vectors=4)
        lint(engine_verilog(engine), "matrix_engine")
        lint(configured("mac_array", engine.array_parameters()), "mac_array")
