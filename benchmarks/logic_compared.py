"""Put small circuits of the five tasks on one page: scikit-learn's trees, ours, masked perceptrons, and published ones."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import TASKS, arguments, clock, command, machine, need_tasks, note, page_rows, table, write
from published import ANCHORS, FEATURES, INPUTS, PUBLISHED_HERE, REPOSITORY, published_file, resimulated
from recipe_workshop import LEFT_OUT, TRIED, WHOLE_CODES, Rows, coded, opened, single_folds

from approxhw.artifacts.converters import AREA_MM2
from approxhw.artifacts.design import input_converters
from approxhw.common.data.dataset import Dataset
from approxhw.common.errors import ApproxhwError
from approxhw.common.tools import deadline
from approxhw.dse.families.family import Facts
from approxhw.dse.families.learnt import learnt_circuit
from approxhw.dse.rules.recipe_study import RecipeLike
from approxhw.flow.printed.building import designed
from approxhw.flow.stages.measure import circuit_area
from approxhw.frontends.classifier import open_classifier
from approxhw.ir.evaluation import accuracy
from approxhw.ir.graph import Graph
from approxhw.ir.kinds import Forest
from approxhw.ir.pass_manager import PassContext, run_passes

SKLEARN, OURS, NETWORKS, EXACTLY, DATE, TERNARY = (
    "scikit-learn",
    "our search",
    "masked perceptron",
    "exact circuit",
    "DATE 2024",
    "ternary network",
)
RULE = "S"

INPUT_CODES = {"4-bit codes": None, "borders": "borders", "thermometer": "thermometer"}
"""Front end of scikit-learn's circuits → input code of ``printed-tree``; of 4-bit codes they are fitted on these."""


@dataclass(frozen=True)
class Row:
    """A circuit of one task. ``accuracy`` is of test rows; areas in cm², NaN where nobody says; ``target``: what was asked."""

    task: str
    source: str
    what: str
    accuracy: float
    area: float
    system: float
    target: float = math.nan
    of: str = ""
    """The circuit whose accuracy was the target."""
    about: str = ""


def with_converters(area: float, inputs: int) -> float:
    """Return *area* (cm²) with a 4-bit flash converter for each of *inputs* inputs."""
    return area + AREA_MM2 / 100 * inputs


def quoted() -> list[Row]:
    """Return what other pages and papers say: exact circuits, masked perceptrons, ternary networks."""
    areas = {(row["task"], row["pipeline"]): float(row["cm²"]) for row in page_rows("exact_circuits", "Area, power")}
    found = []
    for row in page_rows("exact_circuits", "Accuracy on test rows"):
        task, pipeline = row["task"], row["pipeline"]
        area = areas[task, pipeline]
        system = with_converters(area, FEATURES[task])
        found.append(Row(task, EXACTLY, pipeline, float(row["hardware"]), area, system))
    for aim in ("(a)", "(b)"):
        for row in page_rows("printed_search", aim):
            columns = (row[key].split() for key in ("area by seed", "test accuracy by seed", "inputs read"))
            seeds = sorted(tuple(map(float, each)) for each in zip(*columns, strict=True))
            area, right, inputs = seeds[len(seeds) // 2]
            what = f"{aim}, median seed by area"
            found.append(Row(row["task"], NETWORKS, what, right, area, with_converters(area, int(inputs))))
    found += [
        Row(task, TERNARY, "published", right, area, math.nan)
        for task, several in ANCHORS.items()
        for right, area in several
    ]
    return found


def published_row(task: str, data: Dataset, checkout: Path | None) -> Row:
    """Return the DATE 2024 circuit: simulated and synthesised here where there is a checkout, else as it was once."""
    file = published_file(checkout, task) if checkout else None
    if file is None:
        right, area = PUBLISHED_HERE[task]
        return Row(task, DATE, "as measured once", right, area, with_converters(area, INPUTS[task]))
    with tempfile.TemporaryDirectory() as place:
        made = resimulated(file, data, Path(place))
    told = f"netlist = Verilog on {made.vectors} rows; training rows {made.train:.4f}"
    return Row(task, DATE, "their Verilog", made.test, made.area, made.system, about=told)


def system_area(graph: Graph, data: Dataset, area: float) -> float:
    """Return *area* (cm²) with the converters of the inputs that the circuit of *graph* reads."""
    ports = designed(graph, data, {"train": None, "test": None}).inputs
    return area + input_converters(graph, [port.feature for port in ports]).area_mm2 / 100


def on_codes(graph: Graph, coded: Graph) -> Graph:
    """Return *graph*, whose trees read whole numbers and test ``≤``, on the 4-bit Input of *coded*: x ≤ t is no x ≥ ⌊t⌋ + 1."""

    def turned(op: Forest) -> Forest:
        if set(op.mode) - {"leq"}:
            raise ValueError("only trees of scikit-learn, which test x ≤ t, are put on codes")
        return replace(op, threshold=np.floor(op.threshold) + 1, high=op.low, low=op.high, mode="gte")

    nodes = [replace(node, op=turned(node.op)) if isinstance(node.op, Forest) else node for node in graph.nodes]
    head = replace(coded.input, name=graph.input.name)
    return replace(graph, nodes=tuple(head if node is graph.input else node for node in nodes))


@dataclass(frozen=True, eq=False)
class Task:
    """A task while it is measured: its rows, and its model with a 4-bit Input."""

    name: str
    data: Dataset
    coded: Graph
    rows: Rows


def of_sklearn(task: Task, name: str, seconds: float) -> tuple[list[Row], list[str]]:
    """Return what scikit-learn's model *name* becomes behind every front end, and why where it becomes nothing."""
    from competitors.sklearn_trees import MODELS, told_size
    from skl2onnx import to_onnx

    found, why, known = list[Row](), list[str](), dict[bool, tuple[Graph, str]]()
    for front, code in INPUT_CODES.items():
        what = f"{name}, {front}"
        x = (task.rows.codes if code is None else task.data.X_train).astype(np.float32)
        try:
            if (code is None) not in known:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    model = MODELS[name](x, task.data.y_train)
                    exported = to_onnx(model, x[:1], options={"zipmap": False})
                known[code is None] = open_classifier(exported).graph, told_size(model)
        except (ValueError, TypeError, RuntimeError) as error:
            cause = error.__cause__ or error
            said = str(cause).splitlines()[0][:80]
            return found, [f"{task.name}, {name}: skl2onnx does not export it ({type(cause).__name__}: {said})"]
        graph, size = known[code is None]
        try:
            with deadline(seconds):
                if code is None:
                    graph, passes = on_codes(graph, task.coded), "quantize-leaves, drop-constant, narrow-formats"
                else:
                    passes = f"printed-tree{{input_code={code}}}"
                made, _ = run_passes(graph, passes, PassContext(task.data))
                area = circuit_area(made, "egfet", timeout=seconds) / 100
        except ApproxhwError as error:
            why.append(f"{task.name}, {what}, {size}: {error.problems[0].why if error.problems else error}"[:200])
            continue
        found.append(Row(task.name, SKLEARN, what, *_scored(made, task.data, area), about=size))
    return found, why


def _scored(graph: Graph, data: Dataset, area: float) -> tuple[float, float, float]:
    """Return accuracy on test rows, *area* (cm²), and that of the system, of the circuit of *graph*."""
    right = accuracy(graph, data.X_test, data.y_test)
    assert right is not None
    return right, area, system_area(graph, data, area)


def searched(task: Task, seed: int, targets: Mapping[str, float]) -> Iterator[Row]:
    """Yield, for the accuracy of every circuit in *targets*, the circuit of least area and the system of least area that hold it.

    That is: which the rule expects to, by folds of the training rows that judge all recipes once.
    """
    names = [name for name in TRIED if name not in LEFT_OUT.get(task.name, ())]
    for front, system in (("codes", False), ("thermometer", True)):
        mine = [name for name in names if not (system and name in WHOLE_CODES)]
        shop = opened(Facts(task.coded, len(task.rows.labels), system), task.rows, mine, seed, single_folds)
        scored: dict[RecipeLike, tuple[float, float, float]] = {}
        for of, target in targets.items():
            recipe, held, expected = shop.chosen(target, RULE)
            if recipe not in scored:
                graph = learnt_circuit(shop.facts, shop.circuit(recipe).made)
                scored[recipe] = _scored(graph, task.data, circuit_area(graph, "egfet") / 100)
            told = "" if held else "; none is expected to hold it, the best"
            about = f"expected {expected:.4f}"
            yield Row(task.name, OURS, f"{front}: {recipe}{told}", *scored[recipe], target, of, about)


def compared(found: Sequence[Row]) -> list[str]:
    """Return the table that holds every other circuit against what our search chose at its accuracy."""
    rows, ratios = [], dict[tuple[str, str], list[float]]()
    for theirs in sorted(found, key=lambda row: TASKS.index(row.task)):
        ours = [row for row in found if row.source == OURS and (row.task, row.of) == (theirs.task, _named(theirs))]
        if len(ours) != 2:
            continue
        codes, bits = ours
        cells: list[object] = [
            theirs.task,
            _named(theirs),
            f"{theirs.accuracy:.4f}",
            _cm2(theirs.area),
            _cm2(theirs.system),
        ]
        for kind, mine, least, most in (
            ("area", codes, codes.area, theirs.area),
            ("system", bits, bits.system, theirs.system),
        ):
            held = mine.accuracy >= theirs.accuracy - 5e-5
            ratio = least / most if most > 0 else math.nan
            cells += [
                f"{mine.accuracy:.4f}{'' if held else ' (lower)'}",
                _cm2(least),
                f"{ratio:.3g}" if not math.isnan(ratio) else "",
            ]
            if held and ratio > 0:
                ratios.setdefault((theirs.source, kind), []).append(ratio)
        rows.append(cells)
    theirs_told, ours_told = ("circuit", "accuracy", "cm²", "system cm²"), ("cm²", "ratio")
    titles = ("task", *theirs_told, "ours, by area", *ours_told, "ours, by system", *ours_told)
    told = [
        f"- {source}, {kind}: {math.exp(statistics.fmean(map(math.log, several))):.3f} over {len(several)} circuits"
        for (source, kind), several in ratios.items()
    ]
    return [table(titles, rows), "Geometric means of the ratios, of circuits of ours that held the accuracy:\n", *told]


def _named(row: Row) -> str:
    return f"{row.source}: {row.what}"


def _cm2(area: float) -> str:
    return "" if math.isnan(area) else f"{area:.4g}"


def every_circuit(found: Sequence[Row], task: str) -> list[str]:
    """Return the table of all circuits of *task*."""
    mine = [row for row in found if row.task == task]
    seen = {
        (row.source, row.what): row for row in reversed(mine)
    }  # the same circuit of ours may answer several targets
    order = (SKLEARN, OURS, NETWORKS, EXACTLY, DATE, TERNARY)
    rows = [
        (row.source, row.what, f"{row.accuracy:.4f}", _cm2(row.area), _cm2(row.system), row.about)
        for row in sorted(seen.values(), key=lambda row: (order.index(row.source), row.accuracy, row.area))
    ]
    return [f"### {task}\n", table(("source", "circuit", "accuracy", "cm²", "system cm²", "about"), rows)]


Step = Callable[[Task, Sequence[Row], argparse.Namespace], tuple[list[Row], list[str]]]
"""(task, what is known, what was asked) → circuits, and why there are no more."""


def _published(task: Task, known: Sequence[Row], asked: argparse.Namespace) -> tuple[list[Row], list[str]]:
    return [published_row(task.name, task.data, asked.published)], []


def _model(name: str, task: Task, known: Sequence[Row], asked: argparse.Namespace) -> tuple[list[Row], list[str]]:
    return of_sklearn(task, name, asked.limit)


def _searched(task: Task, known: Sequence[Row], asked: argparse.Namespace) -> tuple[list[Row], list[str]]:
    theirs = [row for row in known if row.task == task.name and row.source not in (OURS, TERNARY)]
    return [*searched(task, asked.seed, {_named(each): each.accuracy for each in theirs})], []


STEPS: Mapping[str, Step] = {
    "published": _published,
    **{name: partial(_model, name) for name in ("boosted trees", "decision tree", "random forest")},
    OURS: _searched,
}
"""What is measured of a task, one after the other: our search answers what the others came to."""


def main() -> None:
    """Measure what is not there yet, and write the page."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--published", type=Path, metavar="FOLDER", help=f"a checkout of {REPOSITORY}")
    parser.add_argument("--seed", type=int, default=0, help="of the folds")
    parser.add_argument("--limit", type=float, default=300.0, metavar="SECONDS", help="for one circuit of scikit-learn")
    parser.add_argument("--only", default=",".join(TASKS), help="tasks, in their order")
    parser.add_argument(
        "--kept", type=Path, metavar="FILE", help="what was measured so far: goes on where it was stopped"
    )
    parser.add_argument(
        "--seconds", type=float, default=1e9, help="begin nothing new after so long, and write what is there"
    )
    asked = parser.parse_args()
    need_tasks(asked.tasks)
    state: dict[str, Any] = {"rows": [], "done": {}, "why": []}
    if asked.kept and asked.kept.is_file():
        state = json.loads(asked.kept.read_text(encoding="utf-8"))
    found = [Row(**row) for row in state["rows"]]
    end, others = time.monotonic() + asked.seconds, quoted()
    notes, tasks = list[str](), asked.only.split(",")
    for name in tasks:
        graph, data, rows, odd = coded(name, asked.tasks)
        task = Task(name, data, graph, rows)
        notes += odd
        for step, work in STEPS.items():
            if f"{name}, {step}" in state["done"] or time.monotonic() > end:
                continue
            note(f"{name}, {step}")
            with clock() as taken:
                more, why = work(task, [*found, *others], asked)
            found += more
            state = {
                "rows": [asdict(row) for row in found],
                "why": state["why"] + why,
                "done": {**state["done"], f"{name}, {step}": taken.cpu},
            }
            if asked.kept:
                asked.kept.write_text(json.dumps(state), encoding="utf-8")
    every = [*found, *(row for row in others if row.task in tasks)]
    lacking = [task for task in tasks if f"{task}, our search" not in state["done"]]
    notes += state["why"] + ([f"not complete: {', '.join(lacking)}"] if lacking else [])
    write(
        "logic_compared",
        [
            "# Decision logic beside others\n",
            command(),
            "Accuracy is that on the test rows of the tasks; areas are of `egfet` at 1.0 V by the reference recipe; a system has",
            f"its converters in: {AREA_MM2 / 100:g} cm² a 4-bit flash converter, less in proportion where fewer borders are",
            "asked for, a comparator for each bit of a thermometer. Test rows choose nothing of ours or of scikit-learn's.",
            f"{machine()} CPU seconds: {sum(state['done'].values()):.0f}.\n",
            *(f"- {line}" for line in notes),
            "- scikit-learn: trees sized by five folds of the training rows and the one-s.e. rule, exported by skl2onnx; fitted",
            "  on 4-bit codes, or on readings and compiled by `printed-tree` without loss, as codes that count borders or a",
            "  thermometer.",
            f"- our search: rule {RULE} at the accuracy of another circuit, seed {asked.seed}, families",
            f"  {', '.join(TRIED)} (scores not of pendigits), as in [decision_logic.md](decision_logic.md); by area on",
            "  4-bit codes, by system on a thermometer.",
            "- masked perceptron: [printed_search.md](printed_search.md); exact circuit: [exact_circuits.md](exact_circuits.md).",
            f"- DATE 2024: [their Verilog]({REPOSITORY}), simulated and synthesised here where a checkout was given.",
            "- ternary network: the public list of arXiv 2508.19660, its own accuracies (a front picked on its test rows,",
            "  another split) and areas (its own synthesis): no ratio is made of them.\n",
            "## At the accuracy of others\n",
            "A target is the accuracy of the other circuit on test rows; ours is chosen for it by training rows alone, and may",
            "come out lower, which is told, and then is in no mean. A standard error is taken off what ours is expected to hold,",
            "and nothing off what others held: where they were lucky on test rows, ours is the larger one.\n",
            *compared(every),
            "\n## Every circuit\n",
            *(line for task in tasks for line in every_circuit(every, task)),
        ],
    )


if __name__ == "__main__":
    main()
