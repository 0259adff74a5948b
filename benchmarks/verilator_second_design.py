"""Time the first, a second and a repeated design on Verilator, with ccache and without, and vectors per second on both.

Every row starts from an empty cache folder. Target: the second design simulates on Verilator in under 6 s.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from approxhw import sim
from approxhw.common import tools
from approxhw.common.errors import ToolNotFoundError

RESULT = Path(__file__).parent / "results" / "verilator_second_design.md"
VECTORS = 20_000


def classifier(features: int, classes: int, seed: int, vectors: int = 1000) -> sim.SimulationJob:
    """Return a design of the size of a small bespoke classifier: weighted sums of 4-bit features, largest wins."""
    source = np.random.default_rng(seed)
    weights = source.integers(0, 128, (classes, features))
    rows = source.integers(0, 16, (vectors, features))
    inputs = tuple((f"x{feature}", 4) for feature in range(features))
    lines = [f"  wire [15:0] sum{k} = {_terms(weights[k])};" for k in range(classes)]
    lines += ["  wire [15:0] best0 = sum0;", "  wire [7:0] index0 = 8'd0;"]
    for k in range(1, classes):
        lines.append(f"  wire [15:0] best{k} = sum{k} > best{k - 1} ? sum{k} : best{k - 1};")
        lines.append(f"  wire [7:0] index{k} = sum{k} > best{k - 1} ? 8'd{k} : index{k - 1};")
    ports = ", ".join(f"input [3:0] {name}" for name, _ in inputs)
    text = (
        f"module net({ports}, output [7:0] y);\n"
        + "\n".join(lines)
        + f"\n  assign y = index{classes - 1};\nendmodule\n"
    )
    columns = {name: rows[:, feature] for feature, (name, _) in enumerate(inputs)}
    expected = {"y": np.argmax(rows @ weights.T, axis=1)}
    return sim.SimulationJob(f"net{seed}", text, "net", inputs, (("y", 8),), vectors=columns, expected=expected)


def _terms(weights: np.ndarray) -> str:
    return " + ".join(f"16'd{weight} * {{12'd0, x{feature}}}" for feature, weight in enumerate(weights))


def timed(job: sim.SimulationJob, simulator: str, use_ccache: bool = True) -> tuple[str, sim.SimulationResult]:
    """Return "wall (processor)" seconds of one simulation, and its result; a mismatch is an error."""
    with tempfile.TemporaryDirectory() as folder:
        started, used = time.perf_counter(), processor_seconds()
        result = sim.simulate(job, simulator, Path(folder) / "out", use_ccache=use_ccache)
        taken = f"{time.perf_counter() - started:.1f} ({processor_seconds() - used:.1f})"
        return taken, result.raise_on_mismatch()


def processor_seconds() -> float:
    """Return the processor time of all child processes so far, which other users of the machine hardly change."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def builds(use_ccache: bool) -> list[str]:
    """Return the times of the first, a second and the same second design, from empty caches."""
    designs = (classifier(16, 10, 1), classifier(21, 3, 2), classifier(21, 3, 2))
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as cache:
        os.environ |= {"XDG_CACHE_HOME": cache, "CCACHE_DIR": str(Path(cache) / "ccache")}
        try:
            return [timed(design, "verilator", use_ccache)[0] for design in designs]
        finally:
            os.environ.clear()
            os.environ.update(before)


def main() -> None:
    """Measure, print, and write the result."""
    lines = [
        "# Verilator: the first design and the second\n",
        "    python benchmarks/verilator_second_design.py\n",
        "Wall seconds of `sim.simulate` with cocotb and 1000 vectors, in brackets the processor seconds of all it starts;"
        f" {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start. Target for the second design: 6 s.\n",
        "| way | first design on the machine | second design | the second again |\n|---|---|---|---|",
    ]
    ways = [("objects in the cache folder, no ccache", False)]
    if tools.find_ccache() is not None:
        ways.append(("the same, and ccache", True))
    for name, use_ccache in ways:
        lines.append(f"| {name} | " + " | ".join(builds(use_ccache)) + " |")
    lines.append(
        f"\nVectors per second of the bench, 16 features and 10 classes, {VECTORS} vectors, starting included:\n"
    )
    lines.append("| simulator | build, s | run, s | vectors per second of run |\n|---|---|---|---|")
    for simulator in sim.SIMULATORS:
        _, result = timed(classifier(16, 10, 1, VECTORS), simulator)
        build, run = result.seconds["build"], result.seconds["run"]
        lines.append(f"| {simulator} | {build:.1f} | {run:.1f} | {VECTORS / run:.0f} |")
    text = "\n".join(lines) + "\n"
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    try:
        main()
    except ToolNotFoundError as error:
        raise SystemExit(str(error)) from None
