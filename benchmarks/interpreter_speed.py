"""Count the rows per second that the interpreter classifies: an integer 16-5-10 network and 100 000 rows."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from common import clock, command, machine, table, write
from compile_time import random_model

import approxhw as ax
from approxhw.ir import evaluation, interpreter
from approxhw.ir.pass_manager import PassContext

TOPOLOGY = (16, 5, 10)
ROWS = 100_000
ROUNDS = 9


def networks(folder: Path) -> tuple[ax.Graph, ax.Graph]:
    """Return a seeded random classifier as a float Graph, and as the integer Graph that hardware is made of."""
    file, rows = random_model(TOPOLOGY, folder)
    graph = ax.read(file)
    return graph, ax.run_passes(graph, ax.Printed().passes(), PassContext(ax.load_dataset(rows)))[0]


def plain(graph: ax.Graph, codes: np.ndarray) -> np.ndarray:
    """Return classes by plain NumPy in int64, written for this one topology: what the interpreter is compared with."""
    dense = [node for node in graph.nodes if type(node.op).__name__ == "Dense"]
    (w0, b0), (w1, b1) = ([graph.constant(name).astype(np.int64) for name in node.inputs[1:]] for node in dense)
    return np.argmax(np.maximum(codes @ w0.T + b0, 0) @ w1.T + b1, axis=1)


def main() -> None:
    """Measure, print, and write the result."""
    with tempfile.TemporaryDirectory(prefix="approxhw-benchmark-") as name:
        real, integer = networks(Path(name))
    readings = np.random.default_rng(3).uniform(0, 1, (ROWS, TOPOLOGY[0]))
    codes = evaluation.codes_of(integer, readings)
    if not np.array_equal(interpreter.run(integer, codes).reshape(-1), plain(integer, codes)):
        raise SystemExit("the interpreter and plain NumPy differ")
    cases = {
        "interpreter, integer Graph, codes → class": lambda: interpreter.run(integer, codes),
        "the same and the encoding of readings": lambda: evaluation.predict(integer, readings),
        "interpreter, float Graph": lambda: interpreter.run(real, readings),
        "plain NumPy in int64 (for comparison)": lambda: plain(integer, codes),
    }
    times: dict[str, list[tuple[float, float]]] = {case: [] for case in cases}
    for _ in range(ROUNDS):  # the cases take turns, so that a busy moment hits all of them
        for case, work in cases.items():
            with clock() as taken:
                work()
            times[case].append((taken.wall, taken.cpu))
    rows = []
    for case, found in times.items():
        wall, cpu = np.median(np.array(found), axis=0)
        rows.append((case, f"{ROWS / wall:,.0f}", f"{1000 * wall:.1f}", f"{1000 * cpu:.1f}"))
    parts = [
        "# Interpreter speed\n",
        command(),
        f"{'-'.join(map(str, TOPOLOGY))} with seeded random weights, 4-bit inputs, 8-bit weights, {ROWS:,} rows; median of"
        f" {ROUNDS}, cases taking turns.",
        f"{machine()} CPU time counts every thread of the linear algebra library, idle ones that spin too. The classes",
        "of both integer ways are equal.",
        "There is no figure to reach: the interpreter is to be fast enough for 100,000 rows.\n",
        table(("case", "rows per second", "wall, ms", "CPU, ms"), rows),
    ]
    write("interpreter_speed", parts)


if __name__ == "__main__":
    main()
