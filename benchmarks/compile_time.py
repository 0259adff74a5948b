"""Time ONNX → Verilog, without synthesis, step by step: a 16-5-10 classifier (target 1 s) and a 64-32-10 one (5 s)."""

from __future__ import annotations

import itertools
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from common import Seconds, arguments, clock, command, machine, met, note, table, write

import approxhw as ax
from approxhw.ir.pass_manager import PassContext

ROUNDS = 7
STEPS = ("read", "data", "passes", "build", "emit")
"""What makes Verilog of an ONNX file; reading it back and the design folder are stated apart."""

Timed = dict[str, Seconds]


def random_model(topology: tuple[int, ...], folder: Path, seed: int = 1) -> tuple[Path, dict[str, np.ndarray]]:
    """Write a seeded random classifier as ONNX; return its file and as many rows as pendigits has, labelled by it."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(seed)
    nodes, constants, value = [], [], "x"
    rows = rng.uniform(0, 1, (10_992, topology[0])).astype(np.float32)
    found = rows
    for k, (inputs, outputs) in enumerate(itertools.pairwise(topology)):
        weights = rng.normal(0, 1 / np.sqrt(inputs), (inputs, outputs)).astype(np.float32)
        bias = rng.normal(0, 0.1, outputs).astype(np.float32)
        constants += [numpy_helper.from_array(weights, f"w{k}"), numpy_helper.from_array(bias, f"b{k}")]
        nodes.append(helper.make_node("Gemm", [value, f"w{k}", f"b{k}"], [f"sum{k}"]))
        value, found = f"sum{k}", found @ weights + bias
        if k < len(topology) - 2:
            nodes.append(helper.make_node("Relu", [value], [f"hidden{k}"]))
            value, found = f"hidden{k}", np.maximum(found, 0)
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", width])
        for name, width in (("x", topology[0]), (value, topology[-1]))
    ]
    graph = helper.make_graph(nodes, "random", ends[:1], ends[1:], constants)
    file = folder / f"random_{'_'.join(map(str, topology))}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), file)
    labels = np.argmax(found, axis=1)
    return file, {"X_train": rows[:7694], "y_train": labels[:7694], "X_test": rows[7694:], "y_test": labels[7694:]}


def digits_model(folder: Path, hidden: int = 32) -> tuple[Path, ax.Dataset]:
    """Train 64-32-10 on scikit-learn's digits, and write it as ONNX."""
    from skl2onnx import to_onnx
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    data = ax.load_dataset("sklearn:digits")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network = MLPClassifier((hidden,), alpha=1e-3, max_iter=500, random_state=1).fit(data.X_train, data.y_train)
    file = folder / "digits.onnx"
    file.write_bytes(to_onnx(network, data.X_train[:1].astype(np.float32), target_opset=18).SerializeToString())
    return file, data


def steps(file: Path, data: Any) -> tuple[Timed, Timed, int]:
    """Return the time of each step of making Verilog from *file*, the time of each pass (wall only), and lines made."""
    from approxhw.backends.bespoke.circuit import build_circuit
    from approxhw.backends.bespoke.emit import emit
    from approxhw.backends.bespoke.readback import check_emitted

    with clock() as read:
        graph = ax.read(file)
    with clock() as loading:
        rows = ax.load_dataset(data, graph.input.type.elements, graph.classes, graph.labels)
    with clock() as passing:
        integer, records = ax.run_passes(graph, ax.Printed().passes(), PassContext(rows))
    with clock() as building:
        circuit = build_circuit(integer)
    with clock() as emitting:
        emitted = emit(circuit, header=["benchmark"])
    with clock() as reading_back:
        check_emitted(emitted)
    timed = {"read": read, "data": loading, "passes": passing, "build": building, "emit": emitting}
    passes = {record.name: Seconds(record.seconds) for record in records}
    passes["verifier, accuracies, checks"] = Seconds(passing.wall - sum(p.wall for p in passes.values()))
    return {**timed, "read back": reading_back}, passes, emitted.verilog.count("\n")


def whole(file: Path, data: Any, folder: Path) -> Seconds:
    """Return the time of ``ax.compile``: all steps, reading back, accuracies by onnxruntime too, and the design folder."""
    with clock() as taken:
        ax.compile(file, data=data, output=folder)
    return taken


def median(times: list[Seconds]) -> Seconds:
    """Return the median wall and the median CPU time."""
    return Seconds(float(np.median([t.wall for t in times])), float(np.median([t.cpu for t in times])))


def medians(rounds: list[Timed]) -> Timed:
    """Return the median of each step."""
    return {name: median([timed[name] for timed in rounds]) for name in rounds[0]}


def measure(title: str, file: Path, data: Any, target: float, scratch: Path) -> tuple[list[object], list[str]]:
    """Return the row of the first table, and the part of the result with every step."""
    note(title)
    measured = [steps(file, data) for _ in range(ROUNDS)]
    total = median([whole(file, data, scratch / "design") for _ in range(ROUNDS)])
    timed, passes = medians([m[0] for m in measured]), medians([m[1] for m in measured])
    sums = [Seconds(sum(m[0][s].wall for s in STEPS), sum(m[0][s].cpu for s in STEPS)) for m in measured]
    made, best = median(sums), min(s.wall for s in sums)
    row = [
        title,
        f"{target:g}",
        f"{made.wall:.2f}",
        f"{made.cpu:.2f}",
        f"{best:.2f}",
        met(made.wall <= target),
        f"{total.wall:.2f}",
        f"{total.cpu:.2f}",
        met(total.wall <= target),
        measured[0][2],
    ]
    part = [
        f"## Steps: {title}\n",
        table(
            ("step", "wall, s", "CPU, s"),
            [(name, f"{t.wall:.3f}", f"{t.cpu:.3f}") for name, t in timed.items()],
        ),
        "Within passes, wall seconds: " + ", ".join(f"{name} {t.wall:.3f}" for name, t in passes.items()) + ".\n",
    ]
    return row, part


def main() -> None:
    """Measure, print, and write the result."""
    given = arguments(__doc__ or "").parse_args()
    rows, parts = [], []
    with tempfile.TemporaryDirectory(prefix="approxhw-benchmark-") as name:
        scratch = Path(name)
        warm, warm_data = random_model((7, 4, 3), scratch, seed=2)
        steps(warm, warm_data)
        whole(warm, warm_data, scratch / "warm")
        if (given.tasks / "pendigits.onnx").is_file():
            first = ("pendigits, 16-5-10", given.tasks / "pendigits.onnx", given.tasks / "pendigits.npz")
        else:
            first = ("seeded random weights, 16-5-10", *random_model((16, 5, 10), scratch))
        second = ("scikit-learn's digits, 64-32-10", *digits_model(scratch))
        for case, target in ((first, 1.0), (second, 5.0)):
            row, part = measure(*case, target, scratch)
            rows.append(row)
            parts += part
    titles = (
        "network",
        "target, s",
        "Verilog: wall",
        "CPU",
        "best wall",
        "Verilog: target",
        "`ax.compile`: wall",
        "CPU",
        "`ax.compile`: target",
        "lines of Verilog",
    )
    head = [
        "# Compile time\n",
        command(),
        f"Seconds after imports and the compilation of another model, median of {ROUNDS}. {machine()} CPU time is that of the",
        "process and its children: other work on the machine makes wall times longer, CPU times hardly.\n",
        f"Verilog: {', '.join(STEPS)}; the target is for this. `ax.compile`: also reads the Verilog back with pyverilog, runs",
        "onnxruntime over all rows, and writes the design folder. No synthesis and no simulator in either.\n",
        table(titles, rows),
    ]
    write("compile_time", [*head, *parts])


if __name__ == "__main__":
    main()
