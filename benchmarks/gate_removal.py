"""Simplify gates of five tasks by what rows and codes leave free: what removal, exact resynthesis and evolution add, by seed."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from common import TASKS, arguments, command, machine, need_tasks, note, table, write

from approxhw.artifacts.design import Design
from approxhw.backends.estimate import load_library, synthesise
from approxhw.common.data.dataset import Dataset, load_dataset
from approxhw.common.errors import PassError
from approxhw.flow.printed.building import designed
from approxhw.flow.stages.mapped import circuit_gates
from approxhw.flow.stages.measure import check_netlist, job_of
from approxhw.flow.stages.searching import searching
from approxhw.frontends.classifier import open_classifier
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import PassContext, run_passes

LEAVES = 32
"""Of scikit-learn's tree of each task's training rows."""

CIRCUITS = {
    "tree, borders": "printed-tree{input_code=borders}",
    "network, exact": "printed-exact",
    "tree, thermometer": "printed-tree{input_code=thermometer}",
}
"""What is simplified, and the pipeline that makes it: of a tree of ``LEAVES`` leaves, or of the task's own network."""

STEPS = {"R": ("resynthesise-gates",), "A": ("approximate-gates",), "A R": ("A", "resynthesise-gates"),
         "A R E": ("A R", "evolve-gates")}  # fmt: skip
"""Steps by name: the one that each goes on from, if any, and its pass."""

LOSSY = {"R": 0, "A": 1, "A R": 1, "A R E": 2}
"""How many passes so far may lose rows."""


@dataclass(frozen=True)
class Measured:
    """A circuit after one step (empty: before any). Area in cm²; shares of rows; ``refused``: why the step did nothing."""

    task: str
    circuit: str
    seed: int
    step: str
    area: float
    cells: int
    train: float
    test: float
    vectors: int
    seconds: float
    refused: str = ""


@cache
def base(tasks: Path, task: str, circuit: str) -> tuple[Graph, Dataset]:
    """Return the integer Graph of *circuit*, and its rows."""
    if circuit.startswith("tree"):
        from skl2onnx import to_onnx
        from sklearn.tree import DecisionTreeClassifier

        rows = load_dataset(tasks / f"{task}.npz", None, None)
        x = rows.X_train.astype("float32")
        tree = DecisionTreeClassifier(max_leaf_nodes=LEAVES, random_state=0).fit(x, rows.y_train)
        opened = open_classifier(to_onnx(tree, x[:1], options={"zipmap": False}))
    else:
        opened = open_classifier(tasks / f"{task}.onnx")
    graph = opened.graph
    data = load_dataset(tasks / f"{task}.npz", graph.input.type.elements, graph.classes, graph.labels)
    made, _ = run_passes(graph, CIRCUITS[circuit], PassContext(data))
    return made, data


def measured(
    graph: Graph, data: Dataset, place: Path, about: tuple[str, str, int, str], seconds: float, why: str
) -> Measured:
    """Return area and accuracies of *graph*; its netlist is compared with it on all rows and on random vectors."""
    design: Design = designed(graph, data, {"train": None, "test": None})
    netlist = synthesise(design.verilog, design.top, load_library("egfet"))
    vectors = check_netlist(job_of(design, every_row=True)[0], netlist, place / "mismatches.json")
    shares = design.accuracy["hardware_splits"]
    return Measured(
        *about, netlist.area() / 100, len(netlist.instances), shares["train"], shares["test"], vectors, seconds, why
    )


def steps_of(
    tasks: Path, task: str, circuit: str, seed: int, loss: float, place: Path, earlier: Sequence[Measured]
) -> list[Measured]:
    """Return what every step makes of one circuit; a step that a pass refuses leaves what it goes on from.

    *earlier*: of other seeds, which change nothing before any step and in R.
    """
    graph, data = base(tasks, task, circuit)
    made = {"": graph}
    known = [each for each in earlier if (each.task, each.circuit) == (task, circuit) and each.step in ("", "R")][:2]
    found = [replace(each, seed=seed) for each in known]
    if not known:
        found.append(measured(graph, data, place, (task, circuit, seed, ""), 0.0, ""))
    for step, (*before, name) in STEPS.items():
        if step == "R" and known:
            continue
        note(f"{task}, {circuit}, seed {seed}: {step}")
        options = f"seed={seed}" if name == "resynthesise-gates" else f"max_loss={loss},seed={seed}"
        context = PassContext(data, mapped_gates=circuit_gates, search=searching("egfet"))
        start, why = time.perf_counter(), ""
        source = made[before[0] if before else ""]
        try:
            made[step], _ = run_passes(source, f"{name}{{{options}}}", context)
        except PassError as error:
            made[step], why = source, error.problems[0].why
        seconds = time.perf_counter() - start
        found.append(measured(made[step], data, place, (task, circuit, seed, step), seconds, why))
    return found


def row(found: Sequence[Measured], task: str, circuit: str, loss: float) -> list[str] | None:
    """Return the line of one circuit: medians over the seeds whose test accuracy fell by no more than was allowed."""
    own = [each for each in found if (each.task, each.circuit) == (task, circuit)]
    bases = {each.seed: each for each in own if not each.step}
    if not bases:
        return None
    first = next(iter(bases.values()))
    line = [task, circuit, str(first.cells), f"{first.area:.4f}", f"{first.test:.4f}"]
    for step, lossy in LOSSY.items():
        here = [each for each in own if each.step == step]
        held = [each for each in here if each.test >= bases[each.seed].test - lossy * loss - 1e-9]
        if all(each.refused for each in here) and step == "R":
            line.append("refused")
        elif not held:
            line.append(f"none of {len(here)} held")
        else:
            area, test = (statistics.median(getattr(each, key) for each in held) for key in ("area", "test"))
            line.append(f"{area:.4f} (× {area / first.area:.2f}), {test:.4f}, {len(held)} of {len(here)}")
    return line


def report(found: list[Measured], loss: float, tasks: Sequence[str]) -> list[str]:
    """Return the parts of the result."""
    rows = [line for task in tasks for circuit in CIRCUITS if (line := row(found, task, circuit, loss))]
    seconds = {step: statistics.median(each.seconds for each in found if each.step == step) for step in STEPS}
    spent = ", ".join(
        f"{STEPS[step][-1]} behind {step[:-2] or 'nothing'} {value:.0f}" for step, value in seconds.items()
    )
    refused = sorted({f"- {each.task}, {each.circuit}, {each.step}: {each.refused}" for each in found if each.refused})
    vectors = [each.vectors for each in found]
    titles = ("task", "circuit", "cells", "cm²", "test", *STEPS)
    return [
        "# Gate level on the five tasks\n",
        command(),
        "R is `resynthesise-gates` alone, exact on every code that can occur; A is `approximate-gates`, A R with",
        "`resynthesise-gates` behind it, A R E with `evolve-gates` behind both. A and E may each lose",
        f"{loss:.1%} of the training rows that they set aside; options else as they are. Trees are",
        f"scikit-learn's, of {LEAVES} leaves, on training rows. Areas of `egfet`, 1.0 V, by the reference recipe.",
        "Each cell: median area (times that of the circuit before), median test accuracy, both of the seeds",
        "that held, and how many of how many seeds held: those whose test accuracy fell by no more than A and",
        "E may lose of the rows set aside. R is run once, and stands for every seed. Test rows are only told.",
        "Every netlist equals its Graph on",
        f"{min(vectors)} to {max(vectors)} vectors, all rows among them, 0 mismatches. {machine()}",
        f"Median seconds of a pass: {spent}.\n",
        table(titles, rows),
        *(["Refused, so that what stood before is what is told:\n", *refused] if refused else []),
    ]


def main() -> None:
    """Measure all circuits, seed after seed, print, and write the result."""
    parser = arguments(__doc__ or "")
    parser.add_argument(
        "--max-loss", type=float, default=0.005, metavar="SHARE", help="rows set aside that may be lost"
    )
    parser.add_argument("--seeds", type=int, default=3, metavar="COUNT", help="of the passes")
    parser.add_argument("--only", nargs="+", choices=TASKS, metavar="TASK", help="these tasks alone")
    parser.add_argument("--circuits", nargs="+", choices=tuple(CIRCUITS), metavar="CIRCUIT", help="these alone")
    parser.add_argument(
        "--kept", type=Path, metavar="FILE", help="what was measured so far: goes on where it was stopped"
    )
    parser.add_argument(
        "--seconds", type=float, default=1e9, help="begin nothing new after so long, and write what is there"
    )
    asked = parser.parse_args()
    need_tasks(asked.tasks)
    found: list[Measured] = []
    if asked.kept and asked.kept.is_file():
        found = [Measured(**entry) for entry in json.loads(asked.kept.read_text(encoding="utf-8"))]
    done = {(each.task, each.circuit, each.seed) for each in found}
    tasks, end = asked.only or TASKS, time.monotonic() + asked.seconds
    todo = [
        (task, circuit, seed)
        for circuit in asked.circuits or CIRCUITS
        for seed in range(1, asked.seeds + 1)
        for task in tasks
        if (task, circuit, seed) not in done
    ]
    with tempfile.TemporaryDirectory(prefix="approxhw-benchmark-") as scratch:
        for task, circuit, seed in todo:
            if time.monotonic() > end:
                break
            found += steps_of(asked.tasks, task, circuit, seed, asked.max_loss, Path(scratch), found)
            if asked.kept:
                asked.kept.write_text(json.dumps([asdict(each) for each in found]), encoding="utf-8")
    write("gate_removal", report(found, asked.max_loss, tasks))


if __name__ == "__main__":
    main()
