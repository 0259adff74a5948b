"""Time the bit-parallel netlist simulator against Icarus on the same mapped circuit and vectors; target 1000 times.

The two take turns, each on one thread, in CPU seconds, after a warm-up; outputs are compared by the Icarus bench
itself, which is also shown to notice a wrong expected value. Icarus' start and the reading of vectors are taken out.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from approxhw.backends.estimate import estimate_netlist, simulate_netlist, synthesise
from approxhw.backends.estimate.estimator import uniform_vectors

sys.path.insert(0, str(Path(__file__).parent))
from competitors import icarus_bench

RESULT = Path(__file__).parent / "results" / "netlist_simulation.md"
ROUNDS = 5
ICARUS_SHORT, ICARUS_LONG = 2_000, 22_000
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


def main() -> None:
    """Measure, print, and write the result."""
    netlist = synthesise(classifier(), "circuit")
    cost = estimate_netlist(netlist)
    vectors = uniform_vectors(netlist, OURS)
    expected = simulate_netlist(netlist, vectors)  # also the warm-up: compiles the kernels
    small = {name: codes.astype(np.uint8) for name, codes in vectors.items()}
    simulate_netlist(netlist, small)
    ours, ours_small, icarus = [], [], []
    with tempfile.TemporaryDirectory(prefix="approxhw-benchmark-") as name:
        folder = Path(name)
        wrong = {port: codes.copy() for port, codes in expected.items()}
        wrong["y"][17] ^= 1
        icarus_bench.prepare(netlist, vectors, wrong, folder, ICARUS_LONG)
        noticed = icarus_bench.run(folder, ICARUS_SHORT).mismatches
        icarus_bench.prepare(netlist, vectors, expected, folder, ICARUS_LONG)
        compared = mismatches = 0
        for _ in range(ROUNDS):
            short, long = (icarus_bench.run(folder, count) for count in (ICARUS_SHORT, ICARUS_LONG))
            compared, mismatches = long.vectors, mismatches + short.mismatches + long.mismatches
            icarus.append((ICARUS_LONG - ICARUS_SHORT) / (long.seconds - short.seconds))
            for rates, columns in ((ours, vectors), (ours_small, small)):
                started = time.process_time()
                seen = simulate_netlist(netlist, columns)
                rates.append(OURS / (time.process_time() - started))
                mismatches += sum(int((seen[port] != expected[port]).sum()) for port in expected)
    if noticed != 1 or mismatches:
        raise SystemExit(f"results differ: {mismatches} mismatches, and {noticed} of 1 planted one noticed")
    ratios = [fast / slow for fast, slow in zip(ours, icarus, strict=True)]
    lines = [
        "# Netlist simulation\n",
        "    python benchmarks/netlist_simulation.py\n",
        f"A mapped circuit of {cost.cells} printed cells, {len(netlist.inputs)} inputs of 4 bits. CPU time on one",
        f"thread, {ROUNDS} rounds in which the competitors take turns; median (lowest … highest). Outputs equal on all",
        f"{compared} vectors that both saw; one wrong expected value, planted, was noticed.\n",
        "| simulator | vectors per second |\n|---|---|",
        f"| Icarus, plain bench, gate primitives | {spread(icarus)} |",
        f"| bit-parallel, vectors as int64 | {spread(ours)} |",
        f"| bit-parallel, vectors as uint8 | {spread(ours_small)} |",
        f"\nRatio, int64 against Icarus in the same round: {np.median(ratios):,.0f}",
        f"({min(ratios):,.0f} … {max(ratios):,.0f}); target 1,000.",
        "\nKnown from a feasibility study, another circuit (1,229 gates): Icarus 8,500, NumPy 2.6 million, Numba 59",
        "million vectors per second.",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(text)


def spread(rates: list[float]) -> str:
    """Return median, lowest and highest of *rates* as text."""
    return f"{np.median(rates):,.0f} ({min(rates):,.0f} … {max(rates):,.0f})"


if __name__ == "__main__":
    main()
