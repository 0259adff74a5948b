"""Decoders and encoders of fixed point: every code, every number of up to 12 bits, samples of wider ones; and wrong options."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from approxhw.backends.estimate import simulate_netlist, synthesise
from approxhw.backends.matrix_engine.eight_bit_rtl import (
    FixedPoint,
    decoder_top,
    decoder_verilog,
    encoder_top,
    encoder_verilog,
    parse_fixed,
)
from approxhw.common.errors import OptionError
from approxhw.numerics.eight_bit.codes import dynamic8, linear8, static8
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


WRONG_DECODERS = (
    ("2 * rest == (64'd1 << cut) && q % 2 == 1", "2 * rest == (64'd1 << cut)"),
    ("150 - biased[31:0] - SCALE", "151 - biased[31:0] - SCALE"),
    ("{(WIDTH-1){magnitude[WIDTH-1]}}", "{(WIDTH-1){1'b0}}"),
    ("code[7] ? ~magnitude + {{(WIDTH-1){1'b0}}, 1'b1}", "code[7] ? ~magnitude"),
    ("FRACTION + MAXIMUM", "FRACTION"),
)
WRONG_ENCODERS = (
    (4, 10, 5, "n % d != 0 || !(low % 2 == 1 && high % 2 == 0)", "n % d != 0"),
    (3, 5, 12, "q = (80'd1 << WIDTH) - 1;", "q = 80'd0;"),
    (3, 8, 7, "~value + {{(WIDTH-1){1'b0}}, 1'b1}", "~value"),
    (5, 8, 3, "{7{beyond}}", "7'd0"),
    (5, 12, 11, "doubled[0] & ~(&doubled[7:1])", "1'b0"),
)


def test_wrong_decoders_are_found(meaning, icarus, tmp_path):
    jobs = []
    for old, new in WRONG_DECODERS:
        for each in DECODED:
            job = decoder_job(meaning, meaning.codes[2], *each)
            assert job.verilog.count(old) == 1
            jobs.append(replace(job, name=old, verilog=job.verilog.replace(old, new)))
    assert failing(jobs, "icarus", tmp_path / "run") == {old for old, _ in WRONG_DECODERS}


def test_wrong_encoders_are_found(meaning, icarus, tmp_path):
    jobs = []
    for number, width, fraction, old, new in WRONG_ENCODERS:
        job = encoder_job(meaning, meaning.codes[number], width, fraction)
        assert job.verilog.count(old) == 1, old
        jobs.append(replace(job, name=old, verilog=job.verilog.replace(old, new)))
    assert failing(jobs, "icarus", tmp_path / "run") == {job.name for job in jobs}


def test_gates_equal_the_meaning(meaning):
    for format in (dynamic8(max="pow2"), linear8(max="pow2")):
        for job in (decoder_job(meaning, format, 12, 11, 0), encoder_job(meaning, format, 12, 11)):
            netlist = synthesise(job.verilog, job.top, "egfet")
            seen = simulate_netlist(netlist, dict(job.vectors))
            assert job.count in (256, 4096)
            for port, wanted in job.expected.items():
                assert seen[port].tolist() == wanted.tolist()


def test_any_number_of_bits_may_be_found_at_once(meaning, icarus, verilator, tmp_path):
    jobs, text = [], "parameter PARALLEL   = 3"
    for parallel in range(8):
        for number, each in ((parallel % 5, (10, 5)), (parallel // 2, (12, 11))):
            job = encoder_job(meaning, meaning.codes[number], *each)
            assert job.verilog.count(text) == 2  # of the encoder, and of the search in it
            chosen = text.replace("3", str(parallel))
            jobs.append(replace(job, name=f"{parallel} {job.name}", verilog=job.verilog.replace(text, chosen)))
        lint(jobs[-1].verilog, jobs[-1].top)
    assert len({job.name for job in jobs}) == 16
    assert failing(jobs, "icarus", tmp_path / "run") == set()


def test_every_form_is_lint_clean(meaning, icarus, verilator):
    checked = 0
    for number, format in enumerate(meaning.codes):
        for each in (None, FixedPoint(*DECODED[number][:2]), FixedPoint(32, 31)):
            lanes = (None, 3)[(number + checked) % 2]
            lint(decoder_verilog(format, lanes=lanes, fixed=each), decoder_top(lanes, each))
            lint(encoder_verilog(format, lanes=lanes, fixed=each), encoder_top(lanes, each))
            checked += 1
    assert checked == 18


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
