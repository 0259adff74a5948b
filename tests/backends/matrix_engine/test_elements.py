"""The processing element: its RTL equals the reference, step for step, in every format, normalization, depth and variant."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from approxhw.backends.matrix_engine.engine import Engine, engine_verilog
from approxhw.backends.matrix_engine.templates import (
    decode_parameters,
    element_latency,
    element_verilog,
    operand_bits,
    operand_exponent_bits,
)
from approxhw.backends.systolic.templates import configured
from approxhw.common.errors import OptionError
from approxhw.common.tools import find_verilator, run_tool
from approxhw.numerics.mac.arithmetic import FloatMac
from approxhw.numerics.mac.float_mac import unpack_operand
from approxhw.rtl_templates import template_closure, template_text
from approxhw.sim import SimulationJob, bundle, bundle_ports, lint, simulate
from approxhw.sim.benches.matrix_element import element_job

FORMATS = (
    ("bf16", 16),
    ("bf16", 20),
    ("fp16", 22),
    ("fp16", 24),
    ("e4m3", 16),
    ("e4m3", 20),
    ("e5m2", 17),
    ("e5m2", 24),
)
NORMALIZATIONS = ("exact", "an-1-1", "an-1-2", "an-2-2", "an-3-5")


def job_of(making, mac, depth, fast, seed, count, codes=None) -> SimulationJob:
    """Return vectors for one element: random codes, or the given ones, and a mixture of states."""
    source = random.Random(f"{seed} {mac} {depth}")
    codes = making.random_codes(source, mac, count) if codes is None else codes
    states = [
        making.adversary(source, mac, operand, weight)
        if source.random() < 0.3
        else making.state_word(source, mac.accumulator_bits)
        for operand, weight in zip([*codes[1:], codes[-1]], codes, strict=True)
    ]
    verilog = element_verilog(mac, depth, fast=fast) + template_text("float_decode")
    return element_job(verilog, decode_parameters(mac), mac, depth, codes, states)


def failing(jobs, simulator, folder) -> dict[str, int]:
    """Return the mismatches of each element by its name, and check that every vector was compared."""
    together = bundle(jobs)
    result = simulate(together, simulator, folder)
    assert result.vectors == max(job.count for job in jobs) > 0
    return {jobs[bundle_ports(together)[port][0]].name: number for port, number in result.failing.items()}


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_elements_equal_the_reference_on_icarus(making, icarus, depth, tmp_path):
    jobs = [
        job_of(
            making, FloatMac(format, bits, NORMALIZATIONS[(number + depth) % 5]), depth, (number + depth) % 3, 1, 100
        )
        for number, (format, bits) in enumerate(FORMATS)
    ]
    assert len({job.name for job in jobs}) == 8
    assert failing(jobs, "icarus", tmp_path / "icarus") == {}


@pytest.mark.slow
def test_elements_equal_the_reference_on_half_a_million_vectors(making, verilator, tmp_path):
    """Every pair of codes of each 8-bit format with two sets of states; the 16-bit formats with as many random vectors."""
    pairs = making.every_pair(8)
    assert len(set(itertools.pairwise(pairs))) == 1 << 16
    jobs = []
    for number, (format, bits) in enumerate(FORMATS):
        mac = FloatMac(format, bits, "exact" if number % 2 else NORMALIZATIONS[1 + number // 2])
        codes = pairs if mac.code.bits == 8 else None
        jobs.append(job_of(making, mac, 1 + (number + number // 4) % 4, number % 3, 2, len(pairs), codes))
    assert sum(job.count for job in jobs) >= 500_000
    assert failing(jobs, "verilator", tmp_path / "verilator") == {}


@pytest.mark.parametrize(("file", "old", "new"), [
    ("mac_align", "from_state ? state_significand : high", "from_state ? state_significand : ~high"),
    ("mac_add", "assign flip       = subtract", "assign flip       = 1'b0 & subtract"),
    ("normalize_approximate", "next ? BY_K[9:0]", "next ? BY_BOTH[9:0]"),
    ("mac_multiply", "assign sign     = a[X+F+1] ^", "assign sign     = a[X+F+1] |"),
])  # fmt: skip
def test_a_defect_is_found(making, icarus, file, old, new, tmp_path):
    job = job_of(making, FloatMac(), 2, False, 3, 300)
    assert job.verilog.count(old) == 1, file
    broken = SimulationJob(**{**vars(job), "verilog": job.verilog.replace(old, new)})
    assert simulate(broken, "icarus", tmp_path / "icarus").mismatches > 0


def decoder_job(format) -> SimulationJob:
    """Return every code of a format and the operand that it is."""
    mac = FloatMac(format, 24)
    bits, exponent_bits, fraction_bits = mac.code.bits, operand_exponent_bits(mac), mac.code.fraction_bits
    words, cares = [], []
    for code in range(1 << bits):
        operand = unpack_operand(format, code)
        if operand.significand:
            head = operand.sign << 1 | 1
            exponent = operand.exponent & ((1 << exponent_bits) - 1)
            assert exponent - ((exponent >> (exponent_bits - 1)) << exponent_bits) == operand.exponent
            word = (head << exponent_bits | exponent) << fraction_bits
            words.append(word | (operand.significand & ((1 << fraction_bits) - 1)))
            cares.append((1 << operand_bits(mac)) - 1)
        else:
            kind = 3 if operand.nan else 2 if operand.inf else 0
            words.append(operand.sign << (operand_bits(mac) - 1) | kind << (fraction_bits - 2))
            sign = 0 if operand.nan else 1 << (operand_bits(mac) - 1)
            cares.append(sign | 1 << (operand_bits(mac) - 2) | (1 << fraction_bits) - 1)
    # the exponent of a zero or special is free: the bench takes out what does not matter
    wide = operand_bits(mac)
    verilog = configured("float_decode", decode_parameters(mac)) + (
        f"module bench(input [{bits - 1}:0] code, input [{wide - 1}:0] care, output [{wide - 1}:0] operand);\n"
        f"  wire [{wide - 1}:0] all;\n  float_decode decode (.code(code), .operand(all));\n"
        "  assign operand = all & care;\nendmodule\n"
    )
    return SimulationJob(
        format,
        verilog,
        "bench",
        (("code", bits), ("care", wide)),
        (("operand", wide),),
        vectors={"code": np.arange(1 << bits), "care": np.array(cares)},
        expected={"operand": np.array(words)},
    )


def test_every_code_is_decoded(verilator, tmp_path):
    jobs = [decoder_job(format) for format in ("bf16", "fp16", "e4m3", "e5m2")]
    assert [job.count for job in jobs] == [1 << 16, 1 << 16, 256, 256]
    assert failing(jobs, "verilator", tmp_path / "verilator") == {}


def test_every_configuration_is_lint_clean(verilator, tmp_path):
    """What is clean at the defaults of the parameters need not be elsewhere."""
    checked = 0
    for number, (format, bits) in enumerate(FORMATS):
        for fast in (0, 1, 2):
            depth = (1 + fast, 4)[number % 2]
            mac = FloatMac(format, bits, ("exact", "an-1-2")[(number // 2 + depth) % 2])
            file = tmp_path / f"{checked}.v"
            file.write_text(element_verilog(mac, depth, fast=fast))
            assert linted(file, "mac_element") == "", (mac, depth, fast)
            checked += 1
        file = tmp_path / f"{checked}.v"
        file.write_text(configured("float_decode", decode_parameters(FloatMac(format, bits))))
        assert linted(file, "float_decode") == ""
        checked += 1
    assert checked == 8 * 4


@pytest.mark.parametrize("engine", [
    Engine(1, 1, FloatMac("e5m2", 16), 1, "bf16", 2),
    Engine(1, 5, FloatMac("fp16", 24, "exact"), 3, "float32", 4, True),
    Engine(7, 1, FloatMac("e4m3", 23, "an-3-5"), 4, "bf16", 16),
    Engine(3, 2, FloatMac("bf16", 16, "exact"), 2, "float32", 1024, True),
], ids=lambda engine: f"{engine.rows}x{engine.columns}")  # fmt: skip
def test_engines_are_lint_clean(icarus, verilator, engine):
    lint(engine_verilog(engine), "matrix_engine")
    lint(configured("mac_array", engine.array_parameters()), "mac_array")


@pytest.mark.parametrize("width", [4, 5, 8, 15, 16, 17, 31])
def test_parts_are_lint_clean_at_every_width(verilator, width, tmp_path):
    parts = {"normalize_exact": {}, "normalize_approximate": {"K": 1, "L": 2}, "mac_add": {}}
    for name, parameters in parts.items():
        for fast in (0, 1, 2):
            file = tmp_path / f"{name}{fast}.v"
            file.write_text(configured(name, {**parameters, "W": width, "FAST": fast}))
            assert linted(file, name) == "", (name, width, fast)


def linted(file, top) -> str:
    """Return what Verilator dislikes about *top* in *file*."""
    options = ["--lint-only", "-Wall", "--quiet", "--default-language", "1364-2005", "-Wno-fatal", "-Wno-DECLFILENAME"]
    return run_tool(find_verilator(), [*options, "--top-module", top, file], timeout=120).output.strip()


def test_depth_that_no_element_has():
    with pytest.raises(OptionError, match=r"depth: 5 is no depth\n    do: choose 1, 2, 3 or 4"):
        element_verilog(FloatMac(), 5)


def test_latencies():
    assert [element_latency(depth) for depth in (1, 2, 3, 4)] == [(0, 1), (0, 2), (1, 2), (1, 3)]


def test_closure_holds_every_module_once():
    text = template_closure("mac_element")
    for name in (
        "mac_element",
        "mac_multiply",
        "mac_align",
        "mac_add",
        "mac_adder",
        "mac_carry_tree",
        "normalize_exact",
    ):
        assert text.count(f"module {name} #(") == 1
    assert (
        text.index("module mac_adder #(") < text.index("module mac_multiply #(") < text.index("module mac_element #(")
    )
