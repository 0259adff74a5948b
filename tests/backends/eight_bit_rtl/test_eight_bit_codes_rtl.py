"""Decoders and encoders of bfloat16: every code, every number, on both simulators and as synthesised gates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from approxhw.backends.estimate import simulate_netlist, synthesise
from approxhw.backends.matrix_engine.eight_bit_rtl import decoder_verilog, encoder_verilog
from approxhw.common.tools import find_verilator, run_tool
from approxhw.numerics.eight_bit.codes import EightBit
from approxhw.rtl_templates import template_closure, template_names
from approxhw.sim import bundle, bundle_ports, simulate

EXPONENTS = (-96, -95, -33, -1, 0, 1, 8, 113, 120, 126, 127)
LANES = 4
EVERY = np.arange(1 << 16)
"""All bfloat16."""


def decoder_job(meaning, format, exponents=EXPONENTS):
    codes = np.tile(np.arange(256), len(exponents))
    scales = np.repeat(np.array(exponents), 256)
    return meaning.lanes_job(
        f"decode {format}",
        decoder_verilog(format, lanes=LANES),
        "eight_bit_decoder",
        LANES,
        {"codes": (8, codes)},
        {"values": (16, meaning.decoded(format, codes, scales))},
        exponent=(8, scales[::LANES] & 255),
    )


def encoder_job(meaning, format, patterns=EVERY):
    codes, invalid = (made[patterns] for made in meaning.encoded(format))
    return meaning.lanes_job(
        f"encode {format}",
        encoder_verilog(format, lanes=LANES),
        "eight_bit_encoder",
        LANES,
        {"values": (16, patterns)},
        {"codes": (8, codes), "invalid": (1, invalid)},
    )


def failing(jobs, simulator, folder, rows):
    """Return (name, port) of what ever differed."""
    together = bundle(jobs)
    result = simulate(together, simulator, folder)
    assert result.vectors == rows > 0
    return {(jobs[job].name, port) for job, port in map(bundle_ports(together).get, result.failing)}


def test_every_code_is_decoded(meaning, simulator, tmp_path):
    jobs = [decoder_job(meaning, format) for format in meaning.codes]
    assert len({job.name for job in jobs}) == 6
    assert failing(jobs, simulator, tmp_path / "run", 256 * len(EXPONENTS) // LANES) == set()


def test_every_bfloat16_is_encoded(meaning, simulator, tmp_path):
    jobs = [encoder_job(meaning, format) for format in meaning.codes]
    assert failing(jobs, simulator, tmp_path / "run", (1 << 16) // LANES) == set()


def test_the_meaning_of_decoding_is_that_of_the_formats(meaning):
    """The tests' own meaning, by fractions, beside ``EightBit``."""
    compared = 0
    for format in meaning.codes:
        codes = np.arange(256)
        for exponent in EXPONENTS if format.maximum == "pow2" else (0,):
            source = format.encode(np.array([1.0], dtype=np.float32))
            maxima = np.array([2.0**exponent], dtype=np.float32)
            found = format.decode(replace(source, codes=codes.astype(np.uint8), maxima=maxima))
            wanted = meaning.decoded(format, codes, np.full(256, exponent))
            assert meaning.bf16_of(found).tolist() == wanted.tolist(), (format, exponent)
            compared += 256
    assert compared == 256 * (4 * len(EXPONENTS) + 2)


def test_the_meaning_of_encoding_is_that_of_the_formats(meaning):
    for format in meaning.codes:
        wanted, _ = meaning.encoded(format)
        limit = 1.0 if format.maximum == "pow2" else np.inf
        patterns = np.arange(1 << 16, dtype=np.uint32)
        numbers = (patterns << 16).view(np.float32)
        chosen = np.flatnonzero(np.isfinite(numbers) & (np.abs(numbers) <= limit))
        assert len(chosen) >= 0x7F00
        ones = np.append(numbers[chosen], np.float32(1.0))  # so that the maximum is 1
        assert format.encode(ones).codes[:-1].tolist() == wanted[chosen].tolist(), format
        assert wanted[0x3F80:0x7F81].tolist() == [int(wanted[0x7F7F])] * 0x4001 or limit == np.inf


def test_gates_equal_the_meaning(meaning):
    compared = 0
    for number, format in enumerate(meaning.codes):
        codes = np.repeat(np.arange(256), 2)
        exponents = np.tile(np.array([EXPONENTS[number], EXPONENTS[-number]]), 256)
        netlist = synthesise(decoder_verilog(format), "eight_bit_decode", "egfet")
        seen = simulate_netlist(netlist, {"code": codes, "exponent": exponents & 255})
        assert seen["value"].tolist() == meaning.decoded(format, codes, exponents).tolist()
        netlist = synthesise(encoder_verilog(format), "eight_bit_encode", "egfet")
        seen = simulate_netlist(netlist, {"value": np.arange(1 << 16)})
        wanted, invalid = meaning.encoded(format)
        assert (seen["code"].tolist(), seen["invalid"].tolist()) == (wanted.tolist(), invalid.tolist())
        compared += len(codes) + len(wanted)
    assert compared == 6 * (512 + 65536)


WRONG_DECODERS = (
    (1, "360 + 54 * (leaf - 8)", "360 + 53 * (leaf - 8)"),
    (0, "{~exponent[7], exponent[6:0]}", "{exponent[7], exponent[6:0]}"),
    (0, "biased & {8{number}}", "biased"),
    (2, "2 * rest == (64'd1 << cut) && q % 2 == 1", "2 * rest == (64'd1 << cut)"),
    (2, "biased[8] | (&biased[7:0])", "biased[8]"),
    (5, "halving[i-1].kept[(OUT << (IN - i))-1:OUT << (IN - 1 - i)]", "halving[i-1].kept[(OUT << (IN - 1 - i))-1:0]"),
    (3, "{code[0] & code[1], 2'b00}", "{code[0], 2'b00}"),
    (3, "code[2] ? {code[1:0], 1'b0}", "code[2] ? {code[0], code[1], 1'b0}"),
)
WRONG_ENCODERS = (
    (3, "low % 2 == 1 && high % 2 == 0", "low % 2 == 0 && high % 2 == 1"),
    (0, "low = 80'd0;", "low = 80'd1;"),
    (0, "high = 80'd1;", "high = 80'd127;"),
    (3, "high = c + 2;", "high = c + 1;"),
    (0, "value[15] & (|magnitude)", "value[15]"),
    (1, "& {8{~invalid}}", ""),
    (2, "&value[14:7] & (|value[6:0])", "&value[14:7]"),
    (5, "invalid   <= refused", "invalid   <= ~refused"),
    (5, "exponent >= 31", "exponent >= 32"),
    (5, "exponent < 23", "exponent < 24"),
    (5, "doubled[0] & ~(&doubled[7:1])", "1'b0"),
    (2, "value[14] ^ (&value[13:12])", "&value[13:12]"),
    (1, "assign beyond  = value[14];", "assign beyond  = 1'b0;"),
)
"""Table, what stands in the Verilog once, and what is put in its place."""


def wrong(jobs, defects):
    """Return the jobs with a defect in each, named after it."""
    assert len(jobs) == len(defects)
    made = []
    for job, (_, old, new) in zip(jobs, defects, strict=True):
        assert job.verilog.count(old) == 1, old
        made.append(replace(job, name=old, verilog=job.verilog.replace(old, new)))
    return made


def test_wrong_decoders_are_found(meaning, icarus, tmp_path):
    jobs = [decoder_job(meaning, meaning.codes[number]) for number, _, _ in WRONG_DECODERS]
    found = failing(wrong(jobs, WRONG_DECODERS), "icarus", tmp_path / "run", jobs[0].count)
    assert found == {(old, "values") for _, old, _ in WRONG_DECODERS}


def test_wrong_encoders_are_found(meaning, icarus, tmp_path):
    near = np.arange(0x3000, 0x4380)  # 2^-31 to 256
    patterns = np.concatenate([near, near | 0x8000, [0, 0x8000, 1, 0x7F7F, 0x7F80, 0x7F81, 0xFF80, 0xFFFF]])
    jobs = [encoder_job(meaning, meaning.codes[number], patterns) for number, _, _ in WRONG_ENCODERS]
    found = failing(wrong(jobs, WRONG_ENCODERS), "icarus", tmp_path / "run", jobs[0].count)
    assert {name for name, _ in found} == {old for _, old, _ in WRONG_ENCODERS}
    assert failing(jobs[:4], "icarus", tmp_path / "right", jobs[0].count) == set()


def test_default_formats_choose_their_tables():
    assert "parameter NORMALIZED = 0" in decoder_verilog(EightBit("static8", None, "fixed"))
    assert "parameter NORMALIZED = 1" in decoder_verilog(EightBit("static8", 64))
    assert "parameter NORMALIZED = 1" in encoder_verilog(EightBit("dynamic8", None, "fixed"))


def test_no_template_uses_a_word_of_later_standards(verilator, tmp_path):
    """Verilog-2005 is asked for elsewhere; tools that are not told so read SystemVerilog."""
    names = [name for name in template_names() if name.startswith("eight_bit_")]
    assert len(names) == 11
    for name in names:
        file = tmp_path / f"{name}.v"
        file.write_text(template_closure(name))
        options = ["--lint-only", "-Wall", "--quiet", "-Wno-DECLFILENAME", "--top-module", name]
        assert run_tool(find_verilator(), [*options, file], timeout=120).output.strip() == ""
