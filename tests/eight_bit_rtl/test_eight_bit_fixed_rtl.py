"""Decoders and encoders of fixed point: every code, every number of up to 12 bits, samples of wider ones; and wrong options."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from approxhw.backends.eight_bit_rtl import (
    FixedPoint,
    decoder_top,
    decoder_verilog,
    encoder_top,
    encoder_verilog,
    parse_fixed,
)
from approxhw.backends.estimate import simulate_netlist, synthesise
from approxhw.eight_bit import dynamic8, linear8, static8
from approxhw.errors import OptionError
from approxhw.sim import SimulationJob, bundle, bundle_ports, lint, simulate

DECODED = (
    (2, 0, 0),
    (4, 2, 0),
    (8, 7, 0),
    (8, 2, 0),
    (12, 11, 0),
    (13, 4, 3),
    (16, 15, -2),
    (16, 8, 0),
    (24, 23, 0),
    (32, 31, 0),
    (32, 16, -5),
    (32, 31, 127),
    (32, 31, -96),
)
"""WIDTH, FRACTION, MAXIMUM."""
WHOLE = ((2, 0), (3, 2), (5, 12), (8, 7), (8, 3), (10, 5), (12, 11), (12, 4))
"""WIDTH and FRACTION of which every number is encoded."""
SAMPLED = ((16, 15), (16, 12), (20, 19), (24, 16), (32, 31), (32, 23), (32, 0))
COUNT = 700


def decoder_job(meaning, format, width, fraction, maximum):
    codes = np.arange(256)
    fixed = FixedPoint(width, fraction)
    wanted = [meaning.decoded_fixed(format, code, width, fraction, maximum) for code in range(256)]
    return SimulationJob(
        f"{format} {width}.{fraction} {maximum}",
        decoder_verilog(format, fixed=fixed, maximum=maximum),
        decoder_top(fixed=fixed),
        (("code", 8),),
        (("value", width),),
        vectors={"code": codes},
        expected={"value": np.array(wanted)},
    )


def samples(meaning, format, width, fraction):
    """Return patterns: all, or those beside every border, the ends, and random ones of every size."""
    limit = 1 << (width - 1)
    if width <= 12:
        return list(range(2 * limit))
    source = random.Random(f"{format} {width} {fraction}")
    order = sorted(set(meaning.values_of(format)))
    beside = [int((low + high) / 2 * (1 << fraction)) for low, high in itertools.pairwise(order)]
    chosen = [0, 1, limit - 1, -limit, 1 - limit, *(step + by for step in beside for by in (0, 1))]
    chosen += [source.getrandbits(source.randrange(1, width)) for _ in range(COUNT)]
    chosen = [number if source.random() < 0.6 else -number for number in chosen if number < limit]
    return [number & (2 * limit - 1) for number in chosen]


def encoder_job(meaning, format, width, fraction):
    patterns, code_of, limit = samples(meaning, format, width, fraction), meaning.nearest(format), 1 << (width - 1)
    numbers = [Fraction(pattern - 2 * limit if pattern >= limit else pattern, 1 << fraction) for pattern in patterns]
    fixed = FixedPoint(width, fraction)
    return SimulationJob(
        f"{format} {width}.{fraction}",
        encoder_verilog(format, fixed=fixed),
        encoder_top(fixed=fixed),
        (("value", width),),
        (("code", 8),),
        vectors={"value": np.array(patterns)},
        expected={"code": np.array([code_of(number) for number in numbers])},
    )


def failing(jobs, simulator, folder):
    together = bundle(jobs)
    result = simulate(together, simulator, folder)
    assert result.vectors == max(job.count for job in jobs) > 0
    return {jobs[bundle_ports(together)[port][0]].name for port in result.failing}


def spread(meaning, simulator, configurations):
    """Return (format, configuration): all of them on Icarus, each configuration and each format on Verilator."""
    if simulator == "icarus":
        return [(format, each) for each in configurations for format in meaning.codes]
    return [(meaning.codes[number % 6], each) for number, each in enumerate(configurations)]


def test_every_code_becomes_fixed_point(meaning, simulator, tmp_path):
    jobs = [decoder_job(meaning, format, *each) for format, each in spread(meaning, simulator, DECODED)]
    assert failing(jobs, simulator, tmp_path / "run") == set()
    assert sum(job.count for job in jobs) == 256 * len(DECODED) * (6 if simulator == "icarus" else 1)


def test_every_number_of_fixed_point_is_encoded(meaning, simulator, tmp_path):
    jobs = [encoder_job(meaning, format, *each) for format, each in spread(meaning, simulator, WHOLE)]
    assert failing(jobs, simulator, tmp_path / "run") == set()
    assert sum(job.count for job in jobs) == 9772 * (6 if simulator == "icarus" else 1)


def test_wide_numbers_are_encoded(meaning, simulator, tmp_path):
    jobs = [encoder_job(meaning, format, *each) for format, each in spread(meaning, simulator, SAMPLED)]
    assert failing(jobs, simulator, tmp_path / "run") == set()
    assert min(job.count for job in jobs) > 600


@pytest.mark.parametrize(("old", "new"), [
    ("2 * rest == (64'd1 << cut) && q % 2 == 1", "2 * rest == (64'd1 << cut)"),
    ("150 - biased[31:0] - SCALE", "150 - biased[31:0] - FRACTION"),
    ("{(WIDTH-1){magnitude[WIDTH-1]}}", "{(WIDTH-1){1'b0}}"),
    ("code[7] ? ~magnitude + {{(WIDTH-1){1'b0}}, 1'b1}", "code[7] ? ~magnitude"),
])  # fmt: skip
def test_a_wrong_decoder_is_found(meaning, icarus, tmp_path, old, new):
    new = new.replace("FRACTION", "SCALE + 1")
    jobs = [decoder_job(meaning, format, *each) for format in meaning.codes[2:3] for each in DECODED]
    assert all(job.verilog.count(old) == 1 for job in jobs)
    assert failing([replace(job, verilog=job.verilog.replace(old, new)) for job in jobs], "icarus", tmp_path / "run")


@pytest.mark.parametrize(("old", "new"), [
    ("n % d != 0 || !(low % 2 == 1 && high % 2 == 0)", "n % d != 0"),
    ("q = (80'd1 << WIDTH) - 1;", "q = 80'd0;"),
    ("~value + {{(WIDTH-1){1'b0}}, 1'b1}", "~value"),
    ("{7{beyond}}", "7'd0"),
    ("doubled[0] & ~(&doubled[7:1])", "1'b0"),
])  # fmt: skip
def test_a_wrong_encoder_is_found(meaning, icarus, tmp_path, old, new):
    jobs = [encoder_job(meaning, format, *each) for format in meaning.codes[3:] for each in WHOLE]
    assert all(job.verilog.count(old) for job in jobs)
    assert failing([replace(job, verilog=job.verilog.replace(old, new)) for job in jobs], "icarus", tmp_path / "run")


def test_gates_equal_the_meaning(meaning):
    for format in (dynamic8(max="pow2"), linear8(max="pow2")):
        for job in (decoder_job(meaning, format, 12, 11, 0), encoder_job(meaning, format, 12, 11)):
            netlist = synthesise(job.verilog, job.top, "egfet")
            seen = simulate_netlist(netlist, dict(job.vectors))
            assert job.count in (256, 4096)
            for port, wanted in job.expected.items():
                assert seen[port].tolist() == wanted.tolist()


@pytest.mark.parametrize("parallel", range(8))
def test_any_number_of_bits_may_be_found_at_once(meaning, icarus, verilator, tmp_path, parallel):
    jobs = [encoder_job(meaning, format, *each) for format, each in zip(meaning.codes, WHOLE, strict=False)]
    text = "parameter PARALLEL   = 3"
    jobs = [replace(job, verilog=job.verilog.replace(text, text.replace("3", str(parallel)))) for job in jobs]
    assert all(text not in job.verilog or parallel == 3 for job in jobs)
    assert failing(jobs, "icarus", tmp_path / "run") == set()
    lint(jobs[0].verilog, jobs[0].top)
    lint(jobs[3].verilog, jobs[3].top)


def test_every_form_is_lint_clean(meaning, icarus, verilator):
    checked = 0
    for number, format in enumerate(meaning.codes):
        for each in (None, FixedPoint(2, 0), FixedPoint(*DECODED[number][:2]), FixedPoint(32, 31)):
            for lanes in (None, 3):
                lint(decoder_verilog(format, lanes=lanes, fixed=each), decoder_top(lanes, each))
                lint(encoder_verilog(format, lanes=lanes, fixed=each), encoder_top(lanes, each))
                checked += 2
    assert checked == 96


def test_options_that_do_not_exist():
    with pytest.raises(OptionError) as caught:
        FixedPoint(1, 32)
    assert str(caught.value) == (
        "fixed point: 2 problems\n  width: 1 bits are not 2 to 32\n    do: choose another width\n"
        "  fraction: 32 bits behind the point are not 0 to 31\n    do: choose another fraction"
    )
    with pytest.raises(OptionError, match=r"fixed: '12,3' is no WIDTH.FRACTION\n    do: say 12.11 for 12 bits, 11 of"):
        parse_fixed("12,3")
    assert parse_fixed(" 12.11 ") == FixedPoint(12, 11)
    with pytest.raises(OptionError, match="maximum: 2\\^128 is no power of two from 2\\^-96 to 2\\^127"):
        decoder_verilog(dynamic8(), fixed=FixedPoint(8, 7), maximum=128)
    for lanes in (0, 1025, -1):
        with pytest.raises(OptionError, match=f"lanes: {lanes} are not 1 to 1024"):
            encoder_verilog(static8(), lanes=lanes)
        with pytest.raises(OptionError, match=f"lanes: {lanes} are not 1 to 1024"):
            decoder_verilog(static8(), lanes=lanes)
