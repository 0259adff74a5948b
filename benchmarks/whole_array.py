"""Synthesise a whole matrix engine as one netlist, exact beside approximate, and compare what it computes with the reference.

Elements, decoders, skew, ends of columns, control and queues: one circuit, every memory made of flip-flops; and the array of
elements with decoders and skew by itself. Each netlist is fed with tiles of a real layer, clock by clock. Results are kept in
``build/whole_array``, a file a circuit: what is there is not done again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, note, table, write
from element_area import DEFAULT, digest, digits_operands, liberty_files

from approxhw.backends.estimate import CellLibrary, Surroundings, analyse, load_library, simulate_activity, synthesise
from approxhw.backends.estimate.estimator import estimate_netlist
from approxhw.backends.estimate.netlist.netlist import Netlist
from approxhw.backends.matrix_engine.engine import (
    Engine,
    activation_words,
    engine_verilog,
    gather_results,
    weight_words,
)
from approxhw.backends.matrix_engine.templates import element_latency
from approxhw.backends.systolic.schedule import Schedule, make_schedule
from approxhw.backends.systolic.templates import configured
from approxhw.numerics.mac.arithmetic import FloatMac
from approxhw.numerics.mac.kernels.codes import from_codes, to_codes
from approxhw.numerics.mac.kernels.gemm import chain, matmul, start

KEPT = Path("build/whole_array")
SIZES = (4, 8)
EXACT = FloatMac("bf16", 20, "exact")
MACS = (
    EXACT,
    FloatMac("bf16", 20, "an-4", None, 4),
    FloatMac("bf16", 16, "an-4", None, 4),
    FloatMac("bf16", 20, "an-1-2"),
    FloatMac("bf16", 16, "an-1-2"),
)
DEPTH, VECTORS = 3, 8
CLOCK_NS = 10.0
"""At which power is told; circuits are mapped for area alone."""
TOPS = {"mac_array": "elements, decoders, skew", "matrix_engine": "whole engine, its memories too"}


@dataclass(frozen=True)
class Circuit:
    """One netlist that is made."""

    library: str
    size: int
    top: str
    mac: FloatMac

    @property
    def engine(self) -> Engine:
        """Return the engine that it is, or is the array of."""
        return Engine(self.size, self.size, self.mac, DEPTH, vectors=VECTORS)

    @property
    def name(self) -> str:
        """Return what its file is called."""
        word = "".join(c if c.isalnum() or c == "-" else "-" for c in str(self.mac))
        return f"{self.library}-{self.size}-{self.top}-{word}"

    def verilog(self) -> str:
        """Return its text."""
        engine = self.engine
        array = self.top == "mac_array"
        return configured("mac_array", engine.array_parameters()) if array else engine_verilog(engine)


def main() -> None:
    """Make what is not made yet, and write the result after every circuit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--liberty", type=Path, action="append", metavar="PATH", help="file or folder of libraries")
    parser.add_argument("--size", type=int, action="append", metavar="N", help=f"rows and columns (by default {SIZES})")
    parser.add_argument("--only", metavar="WORD", help="make what has it in its name; of all else, take what is kept")
    given = parser.parse_args()
    files = liberty_files(given.liberty or [DEFAULT])
    if not files:
        note(f"skipped: {given.liberty or DEFAULT} has no library; name one with --liberty")
        return
    libraries = {file.name.split(".")[0]: load_library(file) for file in files}
    operands = digits_operands()
    results: dict[Circuit, Mapping[str, Any]] = {}
    for size in given.size or SIZES:
        for library, cells in libraries.items():
            for top in TOPS:
                for mac in MACS:
                    circuit = Circuit(library, size, top, mac)
                    found = made(circuit, cells, operands, given.only is not None and given.only not in circuit.name)
                    if found is not None:
                        results[circuit] = found
                        write("whole_array", report(results))


def made(
    circuit: Circuit, cells: CellLibrary, operands: tuple[np.ndarray, np.ndarray], only_kept: bool
) -> Mapping[str, Any] | None:
    """Return, and keep, area, delay and power of *circuit*, checked; *only_kept*: None where it is not kept already."""
    verilog, file = circuit.verilog(), KEPT / f"{circuit.name}.json"
    if file.is_file():
        kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if kept["made_from"] == digest(verilog):
            return kept
    if only_kept:
        return None
    note(f"{circuit.name}: synthesis")
    began = time.perf_counter()
    netlist = synthesise(verilog, circuit.top, cells, timeout=3600.0)
    seconds = time.perf_counter() - began
    vectors, checked = streamed(circuit, netlist, operands)
    cost = estimate_netlist(netlist, vectors=vectors, vectors_from="digits", clock_ns=CLOCK_NS)
    told = {
        "made_from": digest(verilog),
        "area_um2": netlist.area() * 1e6,
        "cells": cost.cells,
        "delay_ns": analyse(netlist, Surroundings(clocked_inputs=True)).delay_ps * 1e-3,
        "power_mw": cost.power_mw,
        "checked": checked,
        "seconds": seconds,
    }
    KEPT.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return told


def streamed(
    circuit: Circuit, netlist: Netlist, operands: tuple[np.ndarray, np.ndarray]
) -> tuple[dict[str, np.ndarray], int]:
    """Run real tiles through *netlist*; return what went in, and how many results were compared, all of them equal."""
    engine = circuit.engine
    a, b = (to_codes(each, engine.mac.format) for each in operands)
    a, b = a[:VECTORS, 20 : 20 + 2 * engine.rows], b[20 : 20 + 2 * engine.rows, : engine.columns]
    through = through_array if circuit.top == "mac_array" else through_engine
    vectors, wrong, checked = through(engine, netlist, a, b)
    if wrong or not checked:
        raise SystemExit(f"{circuit.name}: {wrong} of {checked} results differ: figures of it mean nothing")
    return vectors, checked


def through_engine(
    engine: Engine, netlist: Netlist, a: np.ndarray, b: np.ndarray
) -> tuple[dict[str, np.ndarray], int, int]:
    """Stream a product of two tiles through all ports, with pauses long enough that nothing ever has to wait."""
    schedule = make_schedule(engine, len(a), a.shape[1], b.shape[1])
    weights, weights_last = weight_words(engine, schedule, b)
    words, words_last, user = activation_words(engine, schedule, a)
    pause = engine.latency + engine.columns + 8
    ports: dict[str, list[int]] = {port.name: [] for port in netlist.data_inputs}

    def clock(count: int = 1, **values: int) -> None:
        for name, column in ports.items():
            column.extend([values.get(name, int(name in ("aresetn", "m_axis_results_tready")))] * count)

    clock(3, aresetn=0)
    clock(2)
    taken = 0
    for number, tile in enumerate(schedule.tiles):
        for at in range(number * engine.columns, (number + 1) * engine.columns):
            beat = {"tdata": as_word(weights[at]), "tlast": int(weights_last[at]), "tvalid": 1}
            clock(**{f"s_axis_weights_{name}": value for name, value in beat.items()})
        clock(2 * engine.columns + 4)
        for at in range(taken, taken + tile.count):
            beat = {"tdata": as_word(words[at]), "tlast": int(words_last[at]), "tuser": int(user[at]), "tvalid": 1}
            clock(**{f"s_axis_activations_{name}": value for name, value in beat.items()})
        taken += tile.count
        clock(pause)
    vectors = {name: np.array(column, dtype=object) for name, column in ports.items()}
    outputs, _ = simulate_activity(netlist, vectors)
    for port in ("weights", "activations"):
        waiting = (vectors[f"s_axis_{port}_tvalid"] == 1) & (outputs[f"s_axis_{port}_tready"] == 0)
        if waiting.any():
            raise SystemExit(f"the engine let {port} wait at clock {int(np.flatnonzero(waiting)[0])}")
    leaving = np.flatnonzero(outputs["m_axis_results_tvalid"])
    size = engine.columns * engine.result_bits // 8
    seen = b"".join(int(outputs["m_axis_results_tdata"][at]).to_bytes(size, "little") for at in leaving)
    expected = matmul(from_codes(a, engine.mac.format), from_codes(b, engine.mac.format), engine.mac)
    if len(leaving) != expected.shape[0] or outputs["fault"].any():
        return vectors, expected.size, expected.size
    return vectors, differing(engine, schedule, np.frombuffer(seen, np.uint8), expected), expected.size


def differing(engine: Engine, schedule: Schedule, words: np.ndarray, expected: np.ndarray) -> int:
    """Return how many results that left the engine are not the expected ones, bit for bit."""
    found = gather_results(engine, schedule, words)
    return int((found.view(np.uint32) != np.ascontiguousarray(expected, np.float32).view(np.uint32)).sum())


def through_array(
    engine: Engine, netlist: Netlist, a: np.ndarray, b: np.ndarray
) -> tuple[dict[str, np.ndarray], int, int]:
    """Load the first tile's weights, send its vectors behind them, and look at the un-rounded states at the south."""
    rows, columns, count, bits = engine.rows, engine.columns, len(a), engine.mac.accumulator_bits
    early, lag = element_latency(engine.depth)
    a, b = a[:, :rows], b[:rows]
    length = columns + count + columns + rows * lag + early + 8
    codes = np.zeros(length, dtype=object)
    for c in range(columns):
        codes[c] = packed(b[:, columns - 1 - c], engine.code_bits)
    for number in range(count):
        codes[columns + number] = packed(a[number], engine.code_bits)
    load = np.zeros(length, dtype=np.int64)
    load[columns - 1] = 1
    zero = 0x200 << bits
    states_in = np.full(length, sum(zero << (c * (bits + 13)) for c in range(columns)), dtype=object)
    vectors = {"codes": codes, "load": load, "states_in": states_in}
    outputs, _ = simulate_activity(netlist, vectors)
    after = chain(a, b, engine.mac, start((count, columns)))
    expected = state_words(after, bits)
    seen = np.array(
        [
            [
                int(outputs["states_out"][columns + number + c + early + 1 + rows * lag]) >> (c * (bits + 13))
                & ((1 << (bits + 13)) - 1)
                for c in range(columns)
            ]
            for number in range(count)
        ],
        dtype=object,
    )
    return vectors, int((seen != expected).sum()), expected.size


def state_words(states: Any, bits: int) -> np.ndarray:
    """Return finite states as they stand on wires."""
    if states.flags.any():
        raise SystemExit("the tile holds numbers that are not finite")
    words = [
        int(sign) << (bits + 10) | (int(exponent) & 0x3FF) << bits | int(significand)
        for sign, exponent, significand in zip(
            states.sign.flat, states.exponent.flat, states.significand.flat, strict=True
        )
    ]
    return np.array(words, dtype=object).reshape(states.sign.shape)


def packed(codes: np.ndarray, bits: int) -> int:
    """Return one word of codes, the first one lowest."""
    return sum(int(code) << (bits * place) for place, code in enumerate(codes))


def as_word(octets: np.ndarray) -> int:
    """Return the word of which *octets* are the bytes, the lowest first."""
    return int.from_bytes(octets.tobytes(), "little")


def report(results: Mapping[Circuit, Mapping[str, Any]]) -> list[str]:
    """Return the parts of the result file."""
    compared = sum(found["checked"] for found in results.values())
    rows = []
    for circuit, found in results.items():
        exact = results.get(Circuit(circuit.library, circuit.size, circuit.top, EXACT))
        beside = ["", ""]
        if exact is not None and circuit.mac != EXACT:
            beside = [f"{found[key] / exact[key] - 1:+.1%}" for key in ("area_um2", "power_mw")]
        rows.append(
            [
                f"{circuit.library}, {circuit.size} × {circuit.size}",
                TOPS[circuit.top],
                str(circuit.mac),
                f"{found['cells']}",
                f"{found['area_um2']:.0f}",
                beside[0],
                f"{found['delay_ns']:.2f}",
                f"{found['power_mw']:.2f}",
                beside[1],
                f"{found['seconds']:.0f}",
            ]
        )
    titles = ["array", "circuit", "arithmetic", "cells", "area, µm²", "beside exact", "longest path, ns", "power, mW"]
    return [
        "# Whole arrays as one netlist\n",
        "    python benchmarks/whole_array.py --liberty ../shared/liberty\n",
        f"Each row is one synthesis of the whole circuit, flattened, mapped for area alone; depth {DEPTH}. The engine has a",
        f"memory of {VECTORS} states a column; that and all queues are flip-flops here, the same on both sides. Power at",
        f"{CLOCK_NS:g} ns while tiles of layer 0 of a perceptron on scaled digits go through (leakage and ½CV² of all toggles,",
        "without the clock's tree).",
        f"{compared:,} results of the netlists were compared with the reference, and all were equal. {machine()}\n",
        table([*titles, "beside exact", "seconds of synthesis"], rows),
    ]


if __name__ == "__main__":
    main()
