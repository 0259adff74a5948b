"""Registered lanes and normalised blocks: codes and maxima are those of the formats, with pauses, stops and resets in between."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from approxhw.backends.matrix_engine.eight_bit_rtl import (
    compressor_verilog,
    decoder_verilog,
    encoder_verilog,
    normalizer_verilog,
)
from approxhw.common.errors import OptionError
from approxhw.numerics.eight_bit.codes import make
from approxhw.sim import SimulationJob, bundle, bundle_ports, lint, simulate

SHAPES = (
    ("dynamic8", 64, 1),
    ("mantissa8", 64, 4),
    ("static8", 96, 3),
    ("linear8", 128, 8),
    ("dynamic8", 4096, 16),
)
"""Kind, block, lanes."""


def bf16(number: float) -> int:
    """Return the pattern of a number that bfloat16 holds."""
    return int(np.float32(number).view(np.uint32)) >> 16


def blocks_of(source: random.Random, size: int, count: int) -> list[list[int]]:
    """Return blocks of patterns: random ones of one magnitude, and every corner there is."""

    def near(exponent: int) -> int:  # at most 1.99 * 2^exponent, most of them up to 2^20 times smaller
        biased = max(exponent + 127 - source.choice((0, 0, 1, 2, 3, source.randrange(20), source.randrange(160))), 0)
        return source.getrandbits(1) << 15 | biased << 7 | source.getrandbits(7)

    def around(exponent: int, *others: int) -> list[int]:
        block = [near(exponent - 1) for _ in range(size)]
        for other in others:
            block[source.randrange(size)] = other
        return block

    corners = [
        [0] * size,
        [0x8000] * size,
        [source.choice((0, 0x8000, 1, 0x8001, 0x7F)) for _ in range(size)],
        [0] * (size - 1) + [0x8001],
        [0x7F] + [0] * (size - 1),
        around(-96, bf16(2.0**-96)),
        around(-96, bf16(2.0**-96) + 1),
        around(-96, bf16(-(2.0**-96)) - 1),
        around(-126, bf16(2.0**-126)),
        around(5, bf16(2.0**5)),
        around(5, bf16(-(2.0**5)) + 1),
        around(5, bf16(2.0**5) - 1),
        around(127, bf16(2.0**127)),
        around(127, bf16(-(2.0**127)), bf16(2.0**127)),
        around(127, bf16(2.0**127) + 1),
        around(127, 0x7F7F, 0xFF7F),
        around(3, 0x7F80),
        around(3, 0x7FC0, 0xFF81),
        around(127, 0xFF80, 0x7FFF),
        [source.getrandbits(16) % 0x7F80 | source.getrandbits(1) << 15 for _ in range(size)],
    ]
    while len(corners) < count:
        corners.append(around(source.randint(-126, 127)))
    source.shuffle(corners)
    return corners[:count]


def wanted(meaning, kind: str, block: list[int]) -> dict[str, object]:
    """Return codes, quotients, exponent, zero and invalid of one block."""
    with np.errstate(all="ignore"):
        numbers = (np.array(block, dtype=np.uint32) << 16).view(np.float32)
        size = np.abs(numbers)
        invalid = bool(not np.isfinite(size).all() or size.max() > 2.0**127)
        if invalid:
            exponent, zero = 127, False
        else:
            format = make(kind, max="pow2")
            made = format.encode(numbers)
            zero = bool(made.maxima[0] == 0)
            exponent = 0 if zero else int(np.log2(made.maxima[0]))
        quotients = numbers.astype(np.float64) / 2.0**exponent
        small = (np.abs(quotients) < 2.0**-126) | (size < 2.0**-126)
        patterns = np.where(small, 0, np.where(small, 0, quotients).astype(np.float32).view(np.uint32) >> 16)
        patterns = np.where(np.isfinite(numbers), patterns, np.array(block))
    codes = meaning.encoded(make(kind, max="pow2"))[0][patterns] if invalid else made.codes
    return {
        "codes": codes.tolist(),
        "quotients": patterns.tolist(),
        "exponent": exponent & 255,
        "zero": int(zero),
        "invalid": int(invalid),
    }


def stream_job(meaning, name, verilog, top, kind, block, lanes, count, *, smooth=False, late=4) -> SimulationJob:
    """Return blocks with pauses, stops and a reset; what comes out is compared where it is valid, ``late`` clocks later."""
    source = random.Random(f"{kind} {block} {lanes} {smooth}")
    port, bits = ("codes", 8) if late == 4 else ("quotients", 16)
    rows = block // lanes
    ports = {"out_valid": 1, "first": 1, port: bits * lanes, "exponent": 8, "zero": 1, "invalid": 1}
    nothing = dict.fromkeys(ports, 0)
    driven: list[tuple[int, int, int, int]] = [(1, 0, 0, 0)] * 3  # reset, enable, in_valid, values
    due: dict[int, dict[str, int]] = {}  # of enabled clocks since the start
    enabled = 0

    def stop() -> None:
        for _ in range(0 if smooth else source.choice((0, 0, 0, 1, 3))):
            driven.append((0, 0, source.getrandbits(1), source.getrandbits(16 * lanes)))

    def clock(valid: int, values: int) -> None:
        nonlocal enabled
        stop()
        driven.append((0, 1, valid, values))
        enabled += 1

    for number, each in enumerate(blocks_of(source, block, count)):
        fed = [
            sum(value << (16 * lane) for lane, value in enumerate(each[at : at + lanes]))
            for at in range(0, block, lanes)
        ]
        if number == 2 and not smooth:  # a block that is forgotten with its last row; those before have come out
            for _ in range(rows + 5):
                clock(0, source.getrandbits(16 * lanes))
            for row in fed[:-1]:
                clock(1, row)
            driven.append((1, 1, 1, fed[-1]))
        for row in fed:
            for _ in range(0 if smooth else source.choice((0, 0, 0, 0, 1, 4))):
                clock(0, source.getrandbits(16 * lanes))
            clock(1, row)
        made = wanted(meaning, kind, each)
        for row in range(rows):
            word = sum(value << (bits * lane) for lane, value in enumerate(made[port][row * lanes : (row + 1) * lanes]))
            told = {key: made[key] for key in ("exponent", "zero", "invalid")}
            due[enabled - 1 + late + row] = {"out_valid": 1, "first": int(row == 0), port: word, **told}
    for _ in range(rows + 6):
        clock(0, 0)
    expected, seen, at = [], nothing, -1
    for reset, enable, _, _ in driven:
        if enable and not reset:
            at += 1
            seen = due.get(at, nothing)
        if reset:
            seen = nothing
        expected.append(seen)
    assert sum(each["first"] for each in due.values()) == count
    masked = ", ".join(f"{each} & {{{width}{{valid}}}}" for each, width in ports.items())
    wires = "".join(f"  wire [{width - 1}:0] {each};\n" for each, width in ports.items())
    connected = ", ".join(f".{each}({each})" for each in ports)
    outputs = ", ".join(f"output [{width - 1}:0] seen_{each}" for each, width in ports.items())
    bench = (
        f"module stream(input clock, reset, enable, in_valid, input [{16 * lanes - 1}:0] values, {outputs});\n{wires}"
        f"  wire valid; assign valid = out_valid[0] === 1'b1;\n"
        f"  {top} part (.clock(clock), .reset(reset), .enable(enable), .in_valid(in_valid), .values(values), {connected});\n"
        f"  assign {{{', '.join(f'seen_{each}' for each in ports)}}} = {{{masked}}};\nendmodule\n"
    )
    inputs = ("reset", "enable", "in_valid", "values")
    return SimulationJob(
        name,
        verilog + bench,
        "stream",
        tuple((each, 16 * lanes if each == "values" else 1) for each in inputs),
        tuple((f"seen_{each}", width) for each, width in ports.items()),
        clock="clock",
        latency=1,
        vectors={each: np.array([row[at] for row in driven], dtype=object) for at, each in enumerate(inputs)},
        expected={f"seen_{each}": np.array([row[each] for row in expected], dtype=object) for each in ports},
    )


def compressor_job(meaning, kind, block, lanes, count, smooth=False):
    text = compressor_verilog(make(kind, block, "pow2"), lanes=lanes)
    return stream_job(
        meaning,
        f"{kind} {block} {lanes} {smooth}",
        text,
        "eight_bit_compress",
        kind,
        block,
        lanes,
        count,
        smooth=smooth,
    )


def failing(jobs, simulator, folder):
    together = bundle(jobs)
    result = simulate(together, simulator, folder)
    assert result.vectors == max(job.count for job in jobs) > 100
    return {(jobs[job].name, port) for job, port in map(bundle_ports(together).get, result.failing)}


def test_blocks_are_compressed_as_the_formats_do(meaning, simulator, tmp_path):
    jobs = [compressor_job(meaning, *shape, 4 if shape[1] > 1000 else 24) for shape in SHAPES]
    jobs += [compressor_job(meaning, "linear8", 64, 32, 24)] * (simulator == "icarus")  # two rows
    jobs += [compressor_job(meaning, kind, 64, 8, 40, smooth=True) for kind in ("dynamic8", "static8")]
    assert failing(jobs, simulator, tmp_path / "run") == set()
    taken = [int(sum(job.vectors["in_valid"] & job.vectors["enable"])) for job in jobs]
    assert taken[0] > 24 * 64
    assert taken[-1] == 40 * 8  # nearly as many as clocks: a row every clock
    assert jobs[-1].count < 40 * 8 + 8 + 12


def test_quotients_are_exact(meaning, simulator, tmp_path):
    jobs = [
        stream_job(
            meaning,
            f"{block} {lanes}",
            normalizer_verilog(make("linear8", block, "pow2"), lanes=lanes),
            "eight_bit_normalize",
            "linear8",
            block,
            lanes,
            24,
            late=3,
        )
        for block, lanes in ((64, 4), (80, 5), (64, 32))
    ]
    assert failing(jobs, simulator, tmp_path / "run") == set()


WRONG_NORMALIZERS = (
    ("{8'd0, |most[6:0]}", "9'd0"),
    ("above < 9'd31 ? 8'd31 :", ""),
    ("above > 9'd254 ? 8'd254 :", ""),
    ("most == 15'd0 ? 8'd127 :", ""),
    ("row_first | (row_most > most)", "row_most > most"),
    ("bank_read ^ read_ends", "bank_read"),
    ("bank ^ row_ends", "bank"),
    ("biased[9] | (biased == 10'd0)", "biased[9]"),
    ("power_invalid <= above > 9'd254", "power_invalid <= above > 9'd255"),
    ("node[2*n+1].most > node[2*n+2].most", "node[2*n+1].most < node[2*n+2].most"),
    ("| (value[14:7] == 8'd0)", ""),
    ("if (reset) row_here <= 1'b0;", ""),
    ("place <= {BITS{1'b0}};\n      bank  <= 1'b0;", "bank  <= 1'b0;"),
)


def test_wrong_normalizers_are_found(meaning, icarus, tmp_path):
    text = normalizer_verilog(make("linear8", 64, "pow2"), lanes=4)
    right = stream_job(meaning, "right", text, "eight_bit_normalize", "linear8", 64, 4, 24, late=3)
    jobs = []
    for old, new in WRONG_NORMALIZERS:
        assert right.verilog.count(old) == 1, old
        jobs.append(replace(right, name=old, verilog=right.verilog.replace(old, new)))
    found = failing([right, *jobs], "icarus", tmp_path / "run")
    assert {name for name, _ in found} == {old for old, _ in WRONG_NORMALIZERS}


def test_lanes_hold_still_and_forget(meaning, icarus, tmp_path):
    """The registered decoder and encoder: enable, valid and reset at random."""
    source, clocks, lanes = random.Random(5), 400, 2
    rows = np.array([[source.random() < share for share in (0.1, 0.7, 0.6)] for _ in range(clocks)]).astype(np.int64)
    rows[0] = (1, 1, 1)
    reset, enable, valid = rows.T
    format = make("dynamic8", max="pow2")
    codes, values = (np.array([source.getrandbits(bits) for _ in range(clocks * lanes)]) for bits in (8, 16))
    exponents = np.array([source.randint(-96, 127) for _ in range(clocks)])
    encoded, invalid = meaning.encoded(format)
    decoded = meaning.decoded(format, codes, np.repeat(exponents, lanes))
    control = {"reset": (1, reset), "enable": (1, enable), "in_valid": (1, valid)}
    jobs = [
        meaning.lanes_job(
            "decoder",
            decoder_verilog(format, lanes=lanes),
            "eight_bit_decoder",
            lanes,
            {"codes": (8, codes)},
            {"values": (16, decoded)},
            exponent=(8, exponents & 255),
            **control,
        ),
        meaning.lanes_job(
            "encoder",
            encoder_verilog(format, lanes=lanes),
            "eight_bit_encoder",
            lanes,
            {"values": (16, values)},
            {"codes": (8, encoded[values]), "invalid": (1, invalid[values])},
            **control,
        ),
    ]
    last = np.maximum.accumulate(np.where(enable == 1, np.arange(clocks), 0))  # the clock whose row is held
    for job in jobs:
        held = {port: column[last] for port, column in job.expected.items()}
        held["out_valid"], state = np.zeros(clocks, dtype=np.int64), 0
        for at in range(clocks):
            state = 0 if reset[at] else int(valid[at]) if enable[at] else state
            held["out_valid"][at] = state
        job.expected.clear()
        job.expected.update(held)
        assert failing([job], "icarus", tmp_path / job.name) == set()
        broken = job.verilog.replace("if (enable) begin", "if (1'b1) begin")
        assert failing([replace(job, verilog=broken)], "icarus", tmp_path / f"{job.name}-broken")
        broken = job.verilog.replace("if (reset) out_valid <= 1'b0;", "")
        assert failing([replace(job, verilog=broken)], "icarus", tmp_path / f"{job.name}-kept")


@pytest.mark.parametrize(("block", "lanes"), [(64, 1), (64, 32), (96, 3), (100, 5), (4096, 1), (4095, 7)])
def test_any_block_is_lint_clean(icarus, verilator, block, lanes):
    lint(compressor_verilog(make("static8", block), lanes=lanes), "eight_bit_compress")


def test_blocks_that_do_not_fit():
    with pytest.raises(OptionError) as caught:
        normalizer_verilog(make("dynamic8", max="pow2"), lanes=4)
    assert "block: the format has none, and a normalizer keeps one\n    do: say block=256, say" in str(caught.value)
    with pytest.raises(OptionError, match="lanes: 3 do not divide a block of 64"):
        compressor_verilog(make("dynamic8", 64), lanes=3)
    with pytest.raises(OptionError, match="lanes: 64 are a whole block of 64, and a block is two rows or more"):
        normalizer_verilog(make("dynamic8", 64), lanes=64)
