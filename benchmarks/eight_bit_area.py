"""Measure decoders and encoders of the four 8-bit codes beside plain tables, on printed and on silicon cells.

Every netlist is simulated: decoders on all codes and some exponents, encoders on all bfloat16 numbers, fixed point of 12 bits
on all of them. Plain forms: a ``case`` of 256 entries, with an adder for the exponent behind it; a sum of 127 comparisons.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import command, machine, note, table, write

from approxhw.backends.estimate import CellLibrary, Surroundings, analyse, load_library, simulate_netlist, synthesise
from approxhw.backends.estimate.netlist.netlist import Netlist
from approxhw.backends.estimate.synthesis.timed import front, mapped, usable
from approxhw.backends.matrix_engine.eight_bit_rtl import (
    FixedPoint,
    decoder_top,
    decoder_verilog,
    encoder_top,
    encoder_verilog,
)
from approxhw.numerics.eight_bit.codes import EightBit, make
from approxhw.numerics.eight_bit.tables import KINDS, tables

DEFAULT = Path("../shared/liberty")
FILES = ("sky130hd_tt.lib.gz",)
LIBRARIES = ("egfet", "sky130")
EXPONENTS = (-96, -7, 0, 1, 127)
FIXED = FixedPoint(12, 11)
TARGET_PS = 300.0
"""The delay that mapping for speed aims at; none gets there."""
PARALLEL = (0, 3, 7)
"""Upper bits of a code that an encoder finds at once."""


@dataclass(frozen=True)
class Circuit:
    """What is measured: Verilog, its top module, and what it must do for which vectors."""

    name: str
    verilog: str
    top: str
    vectors: dict[str, np.ndarray]
    wanted: dict[str, np.ndarray]


def main() -> None:
    """Measure, check, print, and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--liberty", type=Path, action="append", metavar="PATH", help=f"file, or folder of {FILES}")
    parser.add_argument("--quick", action="store_true", help="one library, one code; nothing is written")
    given = parser.parse_args()
    named = given.liberty or [DEFAULT]
    found = [file for path in named for file in ([path] if path.is_file() else [path / name for name in FILES])]
    files = [file for file in found if file.is_file()]
    if not files:
        note(f"no Liberty file at {', '.join(map(str, named))}: the libraries that are built in alone")
    libraries = [load_library(each) for each in [*LIBRARIES, *files]]
    formats = [make(kind, max="pow2") for kind in KINDS]
    formats += [make(kind, max="fixed") for kind in ("static8", "mantissa8")]
    if given.quick:
        libraries, formats = libraries[1:2], formats[:1]
    parts = [
        "# Decoders and encoders of 8-bit codes\n",
        command(),
        "Cells of circuits mapped for area by the reference recipe, µm² (egfet: mm²), and their longest path, ns (egfet: ms).",
        "*as they are*: static8 and mantissa8 not divided by their largest value. *plain*: for decoders a `case` of 256 entries",
        "of 16 bits, and the same with the adder of the exponent that ours has; for encoders the sum of 127 comparisons with",
        "constants. Encoders find the upper 0, 3 or 7 bits of the code at once; linear8 multiplies instead.\n",
    ]
    vectors = 0
    for library in libraries:
        rows: dict[str, list[list[str]]] = {"decoder": [], "encoder": [], "fixed": []}
        for format in formats:
            for what, circuits in (
                ("decoder", decoders(format)),
                ("encoder", encoders(format)),
                ("fixed", fixed_points(format)),
            ):
                cells = []
                for circuit in circuits:
                    cells.append("—" if circuit is None else measured(circuit, library))
                    vectors += 0 if circuit is None else len(next(iter(circuit.vectors.values())))
                note(f"{library.name}: {what} {called(format)}: {', '.join(cells)}")
                rows[what].append([called(format), *cells])
        parts += [f"\n## {library.name}\n", "Area, longest path.\n"]
        parts.append(table(["decoder to bfloat16", "ours", "table alone", "table and adder"], rows["decoder"]))
        titles = [f"{count} at once" for count in PARALLEL]
        parts.append(table(["encoder of bfloat16", *titles, "127 comparisons"], rows["encoder"]))
        parts.append(table([f"fixed point {FIXED.width}.{FIXED.fraction}", "decoder", "encoder"], rows["fixed"]))
    for file in [] if given.quick else files:
        text, compared = fast(formats, file)
        parts += [
            f"\n## {file.name}, mapped for speed\n",
            "Area, longest path; buffers and sizes of cells are chosen, too.\n",
            text,
        ]
        vectors += compared
    parts.append(f"\n{vectors:,} vectors through the netlists, all equal to the formats. {machine()}")
    if given.quick:
        note("\n".join(parts))
    else:
        write("eight_bit_area", parts)


def fast(formats: Sequence[EightBit], file: Path) -> tuple[str, int]:
    """Return the table of circuits mapped for speed, with buffers and sizes, and how many vectors were compared."""
    cells, rows, vectors = usable(load_library(file)), [], 0
    for format in formats:
        ours, _, adder = decoders(format)
        _, three, seven, comparisons = encoders(format)
        chosen = [ours, adder, three or encoders(format)[0], seven, comparisons]
        row = [called(format)]
        for circuit in chosen:
            if circuit is None:
                row.append("—")
                continue
            netlist = mapped(front(circuit.verilog, circuit.top, cells), TARGET_PS, "kept")
            row.append(figures(circuit, netlist))
            vectors += len(next(iter(circuit.vectors.values())))
        note(f"{file.name}, for speed: {', '.join(row)}")
        rows.append(row)
    titles = ["for speed", "decoder", "table and adder", "encoder", "7 at once", "127 comparisons"]
    return table(titles, rows), vectors


def called(format: EightBit) -> str:
    """Return how a table is called in the result."""
    return f"{format.kind}, as they are" if format.maximum == "fixed" else format.kind


def measured(circuit: Circuit, library: CellLibrary) -> str:
    """Return area and longest path of *circuit*, which is checked on all its vectors."""
    return figures(circuit, synthesise(circuit.verilog, circuit.top, library))


def figures(circuit: Circuit, netlist: Netlist) -> str:
    """Return area and longest path of *netlist*, which is checked on all vectors of *circuit*."""
    library = netlist.library
    seen = simulate_netlist(netlist, circuit.vectors)
    for port, wanted in circuit.wanted.items():
        if not len(wanted) or not np.array_equal(np.asarray(seen[port]).astype(np.int64), wanted):
            raise SystemExit(
                f"{circuit.name} on {library.name}: the netlist is not what the format says; no figure of it counts"
            )
    delay = analyse(netlist, Surroundings(wires=False)).delay_ps
    if library.name.startswith("egfet"):
        return f"{netlist.area():.1f}, {delay * 1e-9:.1f}"
    return f"{netlist.area() * 1e6:.0f}, {delay * 1e-3:.2f}"


def bf16_of(numbers: np.ndarray) -> np.ndarray:
    """Return bfloat16 patterns of float32 numbers, rounded to nearest even."""
    bits = numbers.astype(np.float32).view(np.uint32).astype(np.int64)
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16


def decoded(format: EightBit, codes: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """Return what decoders to bfloat16 must give."""
    with np.errstate(over="ignore"):
        return bf16_of(np.ldexp(format.tables.values[codes], exponents).astype(np.float32))


def encoded(format: EightBit, numbers: np.ndarray) -> np.ndarray:
    """Return the codes of normalised numbers (float64), larger ones saturated."""
    found = tables(format.kind, format.maximum == "fixed")
    codes = found.codes[np.searchsorted(found.borders, np.abs(numbers), side="right")].astype(np.int64)
    return codes | np.where((numbers < 0) & (codes != 0), 128, 0)


def decoders(format: EightBit) -> list[Circuit | None]:
    """Return our decoder, the table, and the table with an adder."""
    codes = np.tile(np.arange(256), len(EXPONENTS))
    exponents = np.repeat(np.array(EXPONENTS), 256)
    vectors = {"code": codes, "exponent": exponents & 255}
    wanted = {"value": decoded(format, codes, exponents)}
    entries = decoded(format, np.arange(256), np.zeros(256, dtype=np.int64))
    plain = {"value": entries}
    lines = "".join(f"      8'h{code:02x}: value = 16'h{entry:04x};\n" for code, entry in enumerate(entries.tolist()))
    look_up = f"  always @* begin\n    case (code)\n{lines}    endcase\n  end\nendmodule\n"
    adder = (
        "module adder(input [7:0] code, input [7:0] exponent, output [15:0] value);\n  wire [15:0] entry;\n"
        "  plain table_of(.code(code), .value(entry));\n  wire [9:0] sum;\n"
        "  assign sum = {2'b00, entry[14:7]} + {{2{exponent[7]}}, exponent};\n  wire huge;\n"
        f"  assign huge = {int(format.maximum == 'fixed')} & entry[14:7] != 0 & sum >= 255;\n"
        "  assign value = {entry[15], entry[14:7] == 0 ? 8'd0 : huge ? 8'd255 : sum[7:0], huge ? 7'd0 : entry[6:0]};\nendmodule\n"
    )
    head = "module plain(input [7:0] code, output reg [15:0] value);\n"
    return [
        Circuit("decoder", decoder_verilog(format), decoder_top(), vectors, wanted),
        Circuit("table", head + look_up, "plain", {"code": np.arange(256)}, plain),
        Circuit("table and adder", head + look_up + adder, "adder", vectors, wanted),
    ]


def encoders(format: EightBit) -> list[Circuit | None]:
    """Return our encoder in its forms, and the sum of comparisons."""
    patterns = np.arange(1 << 16)
    with np.errstate(invalid="ignore"):  # some nans are signalling ones
        numbers = (patterns.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    nan = np.isnan(numbers)
    codes = np.where(nan, 0, encoded(format, np.where(nan, 0.0, numbers)))
    vectors, wanted = {"value": patterns}, {"code": codes, "invalid": nan.astype(np.int64)}
    text = encoder_verilog(format)
    forms = [text.replace("parameter PARALLEL   = 3", f"parameter PARALLEL   = {count}") for count in PARALLEL]
    made: list[Circuit | None] = [Circuit("encoder", form, encoder_top(), vectors, wanted) for form in forms]
    if format.kind == "linear8":  # which has no search
        made[1:] = [None] * (len(PARALLEL) - 1)
    return [*made, Circuit("comparisons", thermometer(codes), "plain", vectors, wanted)]


def thermometer(codes: np.ndarray) -> str:
    """Return an encoder that counts how many borders a magnitude reaches, and looks the code up where it is not the count."""
    upward = codes[:0x7F81]
    steps = (np.flatnonzero(np.diff(upward)) + 1).tolist()
    order = [int(upward[0]), *(int(upward[step]) for step in steps)]
    total = " + ".join(f"{{6'd0, magnitude >= 15'd{step}}}" for step in steps)
    lines = "".join(f"      7'd{at}: found = 7'd{code};\n" for at, code in enumerate(order))
    return (
        "module plain(input [15:0] value, output [7:0] code, output invalid);\n  wire [14:0] magnitude;\n"
        f"  assign magnitude = value[14:0];\n  wire [6:0] count;\n  assign count = {total};\n  reg [6:0] found;\n"
        f"  always @* begin\n    case (count)\n{lines}      default: found = 7'd{order[-1]};\n    endcase\n  end\n"
        "  assign invalid = magnitude > 15'h7f80;\n"
        "  assign code = invalid ? 8'd0 : {value[15] & (found != 0), found};\nendmodule\n"
    )


def fixed_points(format: EightBit) -> list[Circuit | None]:
    """Return decoder and encoder of fixed point."""
    limit, scale = 1 << (FIXED.width - 1), 2.0**FIXED.fraction
    values = np.rint(format.tables.values.astype(np.float64) * scale).astype(np.int64)  # to even, once
    values = np.clip(values, -limit, limit - 1) & (2 * limit - 1)
    patterns = np.arange(2 * limit)
    numbers = np.where(patterns >= limit, patterns - 2 * limit, patterns) / scale
    decoder = decoder_verilog(format, fixed=FIXED), decoder_top(fixed=FIXED)
    encoder = encoder_verilog(format, fixed=FIXED), encoder_top(fixed=FIXED)
    return [
        Circuit("fixed decoder", *decoder, {"code": np.arange(256)}, {"value": values}),
        Circuit("fixed encoder", *encoder, {"value": patterns}, {"code": encoded(format, numbers)}),
    ]


if __name__ == "__main__":
    main()
