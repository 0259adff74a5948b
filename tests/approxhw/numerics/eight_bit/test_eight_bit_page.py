"""docs/eight-bit.md: its examples print what it says, its figures are those of the code and of the benchmarks."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import pytest

from approxhw.numerics.eight_bit.tables import KINDS, magnitudes, tables

CHECKOUT = Path(__file__).resolve().parents[4]
PAGE = (CHECKOUT / "docs" / "eight-bit.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_examples_print_what_is_written_beside_them(block, capsys):
    exec(compile(block, "docs/eight-bit.md", "exec"), {})
    said = re.findall(r"^print\(.*\)  # (.*)$", block, re.MULTILINE)
    printed = capsys.readouterr().out.splitlines()
    assert len(said) == len(printed) > 0
    for text, line in zip(said, printed, strict=True):
        assert text == line or text.startswith(f"{line}: ")


def test_there_are_examples():
    assert len(BLOCKS) == 2


def test_the_bits_of_borders_are_those_that_the_argument_needs():
    def widest(kind: str, fixed: bool) -> tuple[int, int]:
        def bits(number: int) -> int:
            return (number // (number & -number)).bit_length()

        borders = [border for border, _ in tables(kind, fixed).exact]
        return max(bits(b.numerator) for b in borders), max(bits(b.denominator) for b in borders)

    assert max(max(widest(kind, fixed)) for kind in KINDS for fixed in (False, True)) == 25
    assert widest("dynamic8", False) == (12, 14)
    assert "at most 25 bits" in PAGE
    assert "dynamic8: 12 and 14" in PAGE


def test_the_figures_of_errors_are_the_benchmark_s():
    result = (CHECKOUT / "benchmarks" / "results" / "eight_bit_errors.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| \d \| `(\w+)` \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| 0 \|$", result, re.MULTILINE
    )
    assert len(rows) == 5 * len(KINDS)
    for kind in KINDS:
        line = next(line for line in PAGE.splitlines() if line.startswith(f"| `{kind}` |") and "%" in line)
        cells = [cell.strip(" %") for cell in line.split("|")[2:5]]
        for cell, column in zip(cells, (4, 2, 3), strict=True):
            measured = [float(row[column]) for row in rows if row[0] == kind]
            ends = cell.split(" … ")
            places = len(ends[0].partition(".")[2])
            assert {f"{min(measured):.{places}f}", f"{max(measured):.{places}f}"} == set(ends), (kind, cell, measured)
    for spelled, relative in re.findall(r"^\| `(\w+<.*>)` \| ([\d.]+) % \|", PAGE, re.MULTILINE):
        assert re.search(rf"^\| `{re.escape(spelled)}` \|.*\| {relative} \|$", result, re.MULTILINE), spelled


def test_the_magnitudes_that_are_named_exist():
    values = sorted(magnitudes("dynamic8"))
    named = {"0.10546875": -65, "0.99140625": -2, "2.75·10^−6": 1, "7.25·10^−6": 2}
    for text, rank in named.items():
        assert text in PAGE
        assert values[rank] == Fraction(text.replace("·10^−", "e-"))
    assert (max(magnitudes("static8", True)), max(magnitudes("mantissa8", True))) == (Fraction("92.25"), 150)
    assert len(set(magnitudes("mantissa8"))) == 114
