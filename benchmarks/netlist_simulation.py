"""Time the bit-parallel netlist simulator against Verilator's C++ loop and Icarus on the same mapped circuit and vectors.

They take turns, each on one thread, in CPU seconds, after a warm-up. Verilator's outputs are compared here, all of them,
Icarus' by its bench, which is also shown to notice a wrong expected value. Starts, the reading of vectors and Verilator's
compilation are taken out; the last is told. Target: 1000 times Icarus.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from common import command, machine, note, table, write

from approxhw.backends.estimate import Netlist, estimate_netlist, simulate_netlist, synthesise
from approxhw.backends.estimate.estimator import uniform_vectors

sys.path.insert(0, str(Path(__file__).parent))
from competitors import icarus_bench, verilator_loop
from competitors.verilator_loop import VerilatorLoop

ROUNDS = 5
ICARUS_SHORT, ICARUS_LONG = 2_000, 22_000
VERILATOR_PASSES = 3
OURS = 2_000_000


def classifier(features: int = 5, classes: int = 4, seed: int = 5) -> str:
    """Return Verilog of a bespoke linear classifier: constant 5-bit weights, 4-bit features, lowest index wins ties."""
    weights = np.random.default_rng(seed).integers(0, 32, (classes, features))
    lines = [f"module circuit({', '.join(f'input [3:0] x{i}' for i in range(features))}, output [1:0] y);"]
    for k, row in enumerate(weights.tolist()):
        lines.append(f"  wire [11:0] sum{k} = {' + '.join(f'{w} * x{i}' for i, w in enumerate(row))};")
    lines += ["  wire [11:0] best0 = sum0;", "  wire [1:0] index0 = 0;"]
    for k in range(1, classes):
        lines.append(f"  wire wins{k} = sum{k} > best{k - 1};")
        lines.append(f"  wire [11:0] best{k} = wins{k} ? sum{k} : best{k - 1};")
        lines.append(f"  wire [1:0] index{k} = wins{k} ? {k} : index{k - 1};")
    return "\n".join([*lines, f"  assign y = index{classes - 1};", "endmodule"]) + "\n"


def verilated(netlist: Netlist, vectors: dict[str, np.ndarray], folder: Path) -> VerilatorLoop | None:
    """Return Verilator's loop, its vectors loaded; None, and a note why, where there is no Verilator."""
    if why := verilator_loop.missing():
        note(f"Verilator is left out: {why}")
        return None
    folder.mkdir()
    loop = verilator_loop.build(netlist, folder)
    verilator_loop.load(loop, vectors)
    return loop


def main() -> None:
    """Measure, print, and write the result."""
    netlist = synthesise(classifier(), "circuit")
    cost = estimate_netlist(netlist)
    vectors = uniform_vectors(netlist, OURS)
    expected = simulate_netlist(netlist, vectors)  # also the warm-up: compiles the kernels
    small = {name: codes.astype(np.uint8) for name, codes in vectors.items()}
    simulate_netlist(netlist, small)
    ours, ours_small, icarus, verilator = [], [], [], []
    with tempfile.TemporaryDirectory(prefix="approxhw-benchmark-") as name:
        folder = Path(name)
        wrong = {port: codes.copy() for port, codes in expected.items()}
        wrong["y"][17] ^= 1
        icarus_bench.prepare(netlist, vectors, wrong, folder, ICARUS_LONG)
        noticed = icarus_bench.run(folder, ICARUS_SHORT).mismatches
        icarus_bench.prepare(netlist, vectors, expected, folder, ICARUS_LONG)
        loop = verilated(netlist, vectors, folder / "verilator")
        compared = mismatches = 0
        for _ in range(ROUNDS):
            short, long = (icarus_bench.run(folder, count) for count in (ICARUS_SHORT, ICARUS_LONG))
            compared, mismatches = long.vectors, mismatches + short.mismatches + long.mismatches
            icarus.append((ICARUS_LONG - ICARUS_SHORT) / (long.seconds - short.seconds))
            if loop is not None:
                seen, seconds = verilator_loop.run(loop, OURS, VERILATOR_PASSES)
                verilator.append(OURS / float(np.median(seconds)))
                mismatches += differing(seen, expected)
            for rates, columns in ((ours, vectors), (ours_small, small)):
                started = time.process_time()
                seen = simulate_netlist(netlist, columns)
                rates.append(OURS / (time.process_time() - started))
                mismatches += differing(seen, expected)
    if noticed != 1 or mismatches:
        raise SystemExit(f"results differ: {mismatches} mismatches, and {noticed} of 1 planted one noticed")
    rows = [
        ("bit-parallel, vectors as int64", ours),
        ("bit-parallel, vectors as uint8", ours_small),
        ("Icarus, plain bench, gate primitives", icarus),
    ]
    told = [f"Verilator is left out: {verilator_loop.missing()}\n"]
    if loop is not None:
        rows.insert(0, (verilator_loop.NAME, verilator))
        told = [
            f"Ratio, int64 against {verilator_loop.NAME} in the same round: {spread(ratio(ours, verilator), 1)};",
            f"uint8, which is how the loop reads its vectors: {spread(ratio(ours_small, verilator), 1)}. Making the loop took",
            f"{loop.seconds:.1f} CPU s (Verilator, g++ `{verilator_loop.FLAGS}`, its runtime too), which no rate counts.\n",
        ]
    write(
        "netlist_simulation",
        [
            "# Netlist simulation\n",
            command(),
            f"A mapped circuit of {cost.cells} printed cells, {len(netlist.inputs)} inputs of 4 bits. CPU time on one thread,",
            f"{ROUNDS} rounds in which the competitors take turns; median (lowest … highest). {machine()}",
            "Other work on the machine moves rates, ratios of one round less.",
            f"Verilator's outputs and ours are equal on all {OURS:,} vectors, Icarus' on the {compared:,} that it saw; one wrong",
            "expected value, planted, was noticed.\n",
            table(("simulator", "vectors per second"), [(name, spread(rates)) for name, rates in rows]),
            *told,
            f"Ratio, int64 against Icarus in the same round: {spread(ratio(ours, icarus))}; target 1,000.\n",
            "Known from a feasibility study, another circuit (1,229 gates): Icarus 8,500, Verilator's C++ loop 10 million,",
            "NumPy 2.6 million, Numba 59 million vectors per second.",
        ],
    )


def differing(seen: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> int:
    """Return how many outputs differ."""
    return sum(int((seen[port] != codes).sum()) for port, codes in expected.items())


def ratio(fast: list[float], slow: list[float]) -> list[float]:
    """Return the ratio of every round."""
    return [one / other for one, other in zip(fast, slow, strict=True)]


def spread(rates: list[float], digits: int = 0) -> str:
    """Return median, lowest and highest of *rates* as text."""
    return f"{np.median(rates):,.{digits}f} ({min(rates):,.{digits}f} … {max(rates):,.{digits}f})"


if __name__ == "__main__":
    main()
