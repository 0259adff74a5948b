"""The end of an integer column against the plain reference: ties, saturation, every shift, row sums; a bank every clock."""

from __future__ import annotations

import random

import numpy as np
import pytest

from approxhw.backends.systolic.templates import configured
from approxhw.numerics.exact.fixed_point import requantized_sum
from approxhw.sim import SimulationJob, bundle, bundle_ports, simulate

ENDS = ((24, 0, 24, 8), (32, 8, 20, 8), (4, 3, 32, 8), (20, 0, 9, 32), (17, 4, 12, 32))
"""SUM_BITS, VARIATE, VARIATE_BITS, RESULT_BITS."""
LATENCY = 9
"""Clocks from a vector to its result: one in which its constants go into their bank, and those of the longest end."""


def corner(source: random.Random, bits: int) -> int:
    """Return a number of *bits* bits of two's complement, often at an end of its range or near 0."""
    top = 1 << (bits - 1)
    return source.choice((-top, top - 1, 0, 1, -1, source.randint(-top, top - 1), source.randint(-99, 99) % top))


def drawn(source: random.Random, number: int, shape: tuple[int, ...]) -> dict[str, int]:
    """Return the sum, row sum and constants of one vector; the total is within 32 bits, and often at a tie or a limit."""
    sum_bits, variate, variate_bits, _ = shape
    found = {"sum": corner(source, sum_bits), "variate": 0, "coefficient": 0, "shift": number % 64}
    if variate:
        found |= {"variate": corner(source, variate_bits), "coefficient": corner(source, 16)}
    rest = found["sum"] + found["variate"] * found["coefficient"]
    if not -(1 << 31) <= rest < 1 << 31:  # proven widths: the total fits
        found["coefficient"], rest = 0, found["sum"]
    wanted = source.choice((corner(source, 32), source.randint(-300, 300), source.randint(-1 << 18, 1 << 18)))
    found["bias"] = min(max(wanted - rest, -(1 << 31)), (1 << 31) - 1)
    if not -(1 << 31) <= rest + found["bias"] < 1 << 31:
        found["bias"] = 0
    total = rest + found["bias"]
    kind = source.random()
    if kind < 0.3:
        multiplier = source.choice((0, 1, (1 << 31) - 1, 1 << 30))
    elif kind < 0.6 and found["shift"]:  # total · multiplier is an odd number of halves, or a step beside it
        multiplier = (1 << (found["shift"] - 1)) // max(abs(total) & -abs(total), 1) * source.choice((1, 3, 5))
    else:
        multiplier = source.getrandbits(source.randint(1, 31))
    found["multiplier"] = multiplier % (1 << 31)
    found["low"] = source.choice((-256, -128, 0, source.randint(-256, 0)))
    found["high"] = source.choice((255, 127, found["low"], source.randint(0, 255)))
    found["zero"] = corner(source, 9)
    return found


FIELDS = (("bias", 32), ("coefficient", 16), ("multiplier", 31), ("shift", 6), ("zero", 9), ("low", 9), ("high", 9))


def end_job(shape: tuple[int, ...], count: int, text: str = "") -> SimulationJob:
    """Return *count* vectors for an end: every clock writes a bank, and its sum follows a clock later."""
    sum_bits, variate, variate_bits, result_bits = shape
    source = random.Random(repr(shape))
    vectors = [drawn(source, number, shape) for number in range(count)]
    kept = {"bias"} | ({"coefficient"} if variate else set())
    kept |= {name for name, _ in FIELDS[2:]} if result_bits == 8 else set()
    constants, expected = [], []
    for vector in vectors:
        word, at = 0, 0
        for name, bits in FIELDS:
            if name in kept:
                word |= (vector[name] & ((1 << bits) - 1)) << at
                at += bits
        constants.append(word)
        total = vector["sum"] + vector["bias"] + vector["coefficient"] * vector["variate"]
        made = requantized_sum(total, *(vector[name] for name, _ in FIELDS[2:])) if result_bits == 8 else total
        expected.append(made & ((1 << result_bits) - 1))
    width = sum(bits for name, bits in FIELDS if name in kept)
    late = LATENCY - 1 - (1 + (variate > 0) + (6 if result_bits == 8 else 0))
    held = result_bits * late
    waits = f"{{late[{held - result_bits - 1}:0], out}}" if late > 1 else "out"
    delayed = (
        f"  reg [{held - 1}:0] late;\n  always @(posedge clock) late <= {waits};\n"
        f"  assign result = late[{held - 1}:{held - result_bits}];\n"
        if late
        else "  assign result = out;\n"
    )
    bench = f"""
module end_bench(input clock, input [{width - 1}:0] constants, input [3:0] number, input [{sum_bits - 1}:0] sum,
                 input [{variate_bits - 1}:0] variate, output [{result_bits - 1}:0] result);
  reg [3:0] bank;
  reg [{sum_bits - 1}:0] sum_late;
  reg [{variate_bits - 1}:0] variate_late;
  wire [{result_bits - 1}:0] out;
  always @(posedge clock) begin bank <= number; sum_late <= sum; variate_late <= variate; end
  integer_end finish (.clock(clock), .write(1'b1), .write_bank(number), .constants(constants), .bank(bank),
                      .leaves(1'b1), .sum(sum_late), .variate(variate_late), .result(out));
{delayed}endmodule
"""
    parameters = {
        "SUM_BITS": sum_bits,
        "VARIATE": variate,
        "VARIATE_BITS": variate_bits,
        "BANK_BITS": 4,
        "RESULT_BITS": result_bits,
    }
    columns = {
        "constants": np.array(constants, dtype=object),
        "number": np.arange(count) % 16,
        "sum": np.array([vector["sum"] & ((1 << sum_bits) - 1) for vector in vectors]),
        "variate": np.array([vector["variate"] & ((1 << variate_bits) - 1) for vector in vectors]),
    }
    return SimulationJob(
        f"end {shape}",
        (text or configured("integer_end", parameters)) + bench,
        "end_bench",
        (("constants", width), ("number", 4), ("sum", sum_bits), ("variate", variate_bits)),
        (("result", result_bits),),
        clock="clock",
        latency=LATENCY,
        vectors=columns,
        expected={"result": np.array(expected)},
    )


def test_ends_equal_the_reference(simulator, tmp_path):
    count = 6000 if simulator == "verilator" else 1200
    jobs = [end_job(shape, count) for shape in ENDS]
    together = bundle(jobs)
    result = simulate(together, simulator, tmp_path / simulator)
    assert result.vectors == count
    assert {jobs[bundle_ports(together)[port][0]].name for port in result.failing} == set()


@pytest.mark.parametrize(("old", "new"), [
    ("by_1[0] & (rest | by_1[1])", "by_1[0]"),
    ("assign rest = below |", "assign rest ="),
    ("assign fits  = (&by_8[63:17]) | ~(|by_8[63:17]);", "assign fits  = 1'b1;"),
    ("{15{lower[47]}}", "{15{1'b0}}"),
    ("banks[4*BANK_BITS-1-:BANK_BITS]];\n  assign zero", "banks[3*BANK_BITS-1-:BANK_BITS]];\n  assign zero"),
    ("is_more ? high[7:0] : is_less", "is_less"),
])  # fmt: skip
def test_a_defect_is_found(icarus, tmp_path, old, new):
    text = configured("integer_end", {"SUM_BITS": 24, "VARIATE": 0, "BANK_BITS": 4})
    assert text.count(old) == 1
    broken = end_job(ENDS[0], 700, text.replace(old, new))
    assert simulate(broken, "icarus", tmp_path / "icarus").mismatches > 0
