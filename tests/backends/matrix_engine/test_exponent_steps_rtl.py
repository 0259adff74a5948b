"""Exponents in multiples of a step, in Verilog: elements, column ends and a small engine against the reference."""

from __future__ import annotations

import random

import numpy as np
import pytest

from approxhw.backends.matrix_engine.engine import Engine, activation_words, engine_verilog, result_words, weight_words
from approxhw.backends.matrix_engine.templates import decode_parameters, element_parameters, element_verilog
from approxhw.backends.systolic.schedule import make_schedule
from approxhw.backends.systolic.templates import configured
from approxhw.numerics.mac.arithmetic import FloatMac
from approxhw.numerics.mac.float_mac import State, finish, from_word, multiply_codes, to_word
from approxhw.numerics.mac.kernels import gemm as float_gemm
from approxhw.numerics.mac.kernels.codes import from_codes, to_codes
from approxhw.rtl_templates import template_text
from approxhw.sim import SimulationJob, bundle, bundle_ports, lint, simulate
from approxhw.sim.benches.matrix_element import element_job
from approxhw.sim.streams import Disturbance, Stream, StreamJob, simulate_streams

FORMATS = (("bf16", 16), ("bf16", 20), ("bf16", 24), ("fp16", 22), ("e4m3", 16), ("e5m2", 17))
FORMS = (
    ("exact", None, 4),
    ("an-4", None, 4),
    ("an-4-4", 2, 4),
    ("an-0", 4, 4),
    ("exact", 1, 2),
    ("an-2-4", None, 2),
    ("exact", None, 1),
    ("an-1-2", 3, 1),
    ("an-2", None, None),
    ("an-0", None, None),
)


def full_state(mac, a, b) -> int:
    """Return the state that is as large as one can be beside the product of two codes, so that they carry."""
    product = multiply_codes(mac, a, b)
    return to_word(State(product.sign, product.exponent, (1 << mac.accumulator_bits) - 1), mac.accumulator_bits)


def stepped_job(making, mac, depth, fast, count) -> SimulationJob:
    """Return vectors for one element: random codes, states whose exponents are multiples of the step, some that cancel."""
    source = random.Random(f"{mac} {depth}")
    codes = making.random_codes(source, mac, count)
    others = ((mac.exponent_step or 1) - 1) << mac.accumulator_bits
    states = [
        ~others
        & source.choice(
            (
                full_state(mac, operand, weight),
                making.adversary(source, mac, operand, weight),
                making.adversary(source, mac, operand, weight),
                making.state_word(source, mac.accumulator_bits),
            )
        )
        for operand, weight in zip([*codes[1:], codes[-1]], codes, strict=True)
    ]
    verilog = element_verilog(mac, depth, fast=fast) + template_text("float_decode")
    return element_job(verilog, decode_parameters(mac), mac, depth, codes, states)


def jobs_of(making, count, every) -> list[SimulationJob]:
    """Return elements of all formats and forms, each *every* of them, with depths and RTL forms in turn."""
    macs = [FloatMac(format, bits, *form) for format, bits in FORMATS for form in FORMS]
    chosen = list(enumerate(macs))[::every]
    return [stepped_job(making, mac, 1 + (n + n // 4) % 4, n % 3, count) for n, mac in chosen]


def mismatches_of(jobs, simulator, folder) -> dict[str, int]:
    together = bundle(jobs)
    result = simulate(together, simulator, folder)
    assert result.vectors == max(job.count for job in jobs) > 0
    return {jobs[bundle_ports(together)[port][0]].name: number for port, number in result.failing.items()}


def test_the_parameter_says_what_shifters_move_by():
    assert [
        element_parameters(FloatMac(normalization="an-4", exponent_step=step))["STEP"] for step in (None, 1, 4)
    ] == [0, 1, 4]
    parameters = element_parameters(FloatMac(normalization="exact", exponent_step=4))
    assert (parameters["EXACT"], parameters["K"], parameters["L"]) == (1, 4, 4)
    engine = Engine(mac=FloatMac(normalization="an-4", exponent_step=4))
    for text in (engine_verilog(engine), configured("mac_array", engine.array_parameters())):
        assert text.count("parameter STEP                  = 4,") == 1


def test_elements_in_steps_equal_the_reference_on_icarus(making, icarus, tmp_path):
    jobs = jobs_of(making, 120, 7)
    assert len({job.name for job in jobs}) == len(jobs) == 9
    assert mismatches_of(jobs, "icarus", tmp_path / "icarus") == {}


@pytest.mark.slow
def test_elements_in_steps_equal_the_reference(making, verilator, tmp_path):
    """More than 100 000 vectors: every format, normalization, step and distance."""
    jobs = jobs_of(making, 2000, 1)
    assert sum(job.count for job in jobs) == 60 * 2000
    for n, part in enumerate((jobs[::3], jobs[1::3], jobs[2::3])):
        assert mismatches_of(part, "verilator", tmp_path / str(n)) == {}


@pytest.mark.parametrize(("old", "new"), [
    ("assign placed = e[0] ? half : half >> 1;", "assign placed = e[0] ? half : half;"),
    ("assign word = lower ? placed >> STEP : state_significand;", "assign word = lower ? placed : state_significand;"),
    ("assign steps  = distance[U-1:0] ^ {U{distance[U]}};", "assign steps  = distance[U-1:0];"),
    ("{W{~(|steps[U-1:ALIGN-S])}}", "{W{1'b1}}"),
    ("assign right = {{(STEP-1){1'b0}}, sum[W:STEP]};", "assign right = sum[W:1];"),
])  # fmt: skip
def test_a_defect_in_a_step_is_found(making, icarus, old, new, tmp_path):
    job = stepped_job(making, FloatMac("bf16", 20, "an-4", None, 4), 2, 0, 400)
    assert simulate(job, "icarus", tmp_path / "whole").mismatches == 0
    assert job.verilog.count(old) == 1
    broken = SimulationJob(**{**vars(job), "verilog": job.verilog.replace(old, new)})
    assert simulate(broken, "icarus", tmp_path / "broken").mismatches > 0


def test_column_ends_know_the_headroom(making, icarus, tmp_path):
    jobs = []
    for step, bits, result, width in (
        (4, 20, "float32", 32),
        (4, 20, "bf16", 16),
        (2, 16, "float32", 32),
        (1, 24, "bf16", 16),
    ):
        source = random.Random(step + width)
        states = [making.state_word(source, bits) & ~((step - 1) << bits) for _ in range(400)]
        expected = [finish(from_word(state, bits), result, bits, step) for state in states]
        assert expected != [finish(from_word(state, bits), result, bits) for state in states]
        verilog = configured("column_end", {"W": bits, "STEP": step, "RESULT_BITS": width, "FAST": step % 3})
        jobs.append(
            SimulationJob(
                f"column_end {step} {result}", verilog, "column_end", (("state", bits + 13),), (("code", width),),
                clock="clock", latency=1, vectors={"state": np.array(states)}, expected={"code": np.array(expected)},
            )
        )  # fmt: skip
    assert mismatches_of(jobs, "icarus", tmp_path / "icarus") == {}


@pytest.mark.parametrize(
    "mac", [FloatMac("bf16", 20, "an-4", None, 4), FloatMac("e4m3", 16, "exact", None, 2)], ids=str
)
def test_an_engine_in_steps_multiplies_matrices(icarus, mac, tmp_path):
    """K > rows, N > columns, ports that rest: every word is the kernel's, and products normalised would give others."""
    engine = Engine(3, 2, mac, vectors=8, depth=3)
    source = np.random.default_rng(3)
    shapes = ((9, 8), (8, 5))
    numbers = [source.normal(size=shape) * 2.0 ** source.integers(-2, 3, size=shape) for shape in shapes]
    a, b = (to_codes(each, mac.format) for each in numbers)
    product = float_gemm.matmul(from_codes(a, mac.format), from_codes(b, mac.format), mac)
    if mac.format == "bf16":
        exact = FloatMac(mac.format, mac.accumulator_bits, "exact")
        assert (product != float_gemm.matmul(from_codes(a, mac.format), from_codes(b, mac.format), exact)).any()
    schedule = make_schedule(engine, 9, 8, 5)
    job = StreamJob(
        "in steps",
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


def test_elements_in_steps_are_lint_clean(icarus, verilator):
    for number, form in enumerate(FORMS):
        engine = Engine(2, 2, FloatMac("bf16", 16 + number % 3 * 4, *form), 1 + number % 4, vectors=4)
        lint(engine_verilog(engine), "matrix_engine")
        lint(element_verilog(engine.mac, engine.depth, fast=number % 3), "mac_element")
