"""What the starts of a search gain from what: each variant against the search's own way, on rows put aside and on test rows."""

from __future__ import annotations

import functools
import json
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from common import TASKS, arguments, clock, command, machine, need_tasks, note, table, write

import approxhw as ax
from approxhw.dse.api import widened_passes
from approxhw.dse.genetic.fitness import Judge, Teacher
from approxhw.dse.genetic.options import Seeding
from approxhw.dse.genetic.starts.seeding import Seeder
from approxhw.dse.rows.split_rows import search_rows
from approxhw.dse.rules.decision_rule import accuracy_curve
from approxhw.ir.evaluation import codes_of
from approxhw.ir.pass_manager import PassContext
from approxhw.networks.area_model import default_model
from approxhw.networks.space import encode_genome, space_of
from approxhw.numerics.pareto import pareto_front

BUDGETS = {
    "breast_cancer": (0.02, 0.1, 0.5),
    "cardio": (0.65, 1.3, 5.0),
    "redwine": (0.1, 1.0, 3.0),
    "whitewine": (0.1, 1.0, 5.0),
    "pendigits": (5.0, 9.0, 14.0),
}
"""cm², by the estimate: about what a small, a middling and a large circuit of a front has."""

SPLITS = ("validation", "test")
CERTAIN, FEWEST = 3.0, 20
"""Standard errors that a difference must exceed to be told from chance, and splits below which none is: the error itself is
hardly known from a few, and of a dozen variants one is beyond two errors by chance every other time."""


@dataclass(frozen=True)
class Variant:
    """A way to make starts."""

    title: str
    seeding: Seeding
    widen: float = 2.0
    teacher: bool = True


@dataclass(frozen=True)
class Measured:
    """Accuracies that one variant holds within each budget, on rows of the training rows put aside and on test rows."""

    variant: str
    task: str
    seed: int
    validation: list[float]
    test: list[float]
    seconds: float


def variants(own: Seeding) -> dict[str, Variant]:
    """Return what is compared, the search's own way first."""
    return {
        "own": Variant("as searches do", own),
        "averaged": Variant("four networks averaged", replace(own, averaged=4)),
        "teachers": Variant("five networks teach, not the model", replace(own, teachers=5)),
        "noise": Variant("codes one off with probability 0.4", replace(own, noise=0.4)),
        "far": Variant("codes two off with probability 0.1, besides", replace(own, far_noise=0.1)),
        "copies": Variant("four noisy copies", replace(own, copies=4, rows=own.rows * 5 // 3)),
        "thin": Variant("half of the starts see half of the inputs", replace(own, thin_starts=0.5)),
        "early": Variant("half of the starts with early prices", replace(own, early_starts=0.5)),
        "all-early": Variant("all starts with early prices", replace(own, early_starts=1.0)),
        "no-copies": Variant("no noisy copies", replace(own, copies=0)),
        "no-teacher": Variant("no teacher", own, teacher=False),
        "narrow": Variant("hidden layers as wide as the model's", own, widen=1.0),
        "moves": Variant("half the moves", replace(own, moves=own.moves // 2)),
    }


@functools.lru_cache(maxsize=2)
def prepared(task: str, seed: int, widen: float, tasks: Path) -> tuple[Judge, np.ndarray, Teacher]:
    """Return rows as codes with the space of the masked network, its genome, and the model as a teacher."""
    graph, data = ax.read(tasks / f"{task}.onnx"), ax.load_dataset(tasks / f"{task}.npz")
    rows = search_rows(data, graph, 0.2, seed)
    passes = widened_passes(ax.named_pipeline("printed-po2"), widen)
    masked, _ = ax.run_passes(graph, passes, PassContext(rows.searched(), graph))
    space, splits = space_of(masked), rows.splits()
    codes = {name: codes_of(masked, x) for name, (x, _) in splits.items()}
    judge = Judge(space, codes, {name: y for name, (_, y) in splits.items()})
    return judge, encode_genome(space, masked), Teacher(graph, masked)


def measure(name: str, variant: Variant, task: str, seed: int, tasks: Path) -> Measured:
    """Return what the circuits of a variant's starts hold within each budget.

    Of all circuits those count that nothing beats by area and by accuracy on noisy copies of the rows they were made on; they
    make a curve as in a search (``decision_rule.py``). Rows put aside and test rows choose nothing.
    """
    judge, genome, teacher = prepared(task, seed, variant.widen, tasks)
    space, codes, labels, model = judge.space, judge.codes["train"], judge.labels["train"], default_model()
    taught = teacher if variant.teacher else None
    seeder = Seeder(space, genome, codes, labels, model, len(labels), variant.seeding, seed, taught)
    with clock() as taken:
        genomes = np.concatenate([seeder(number) for number in range(variant.seeding.starts)])
    areas = model.area_mm2(space.layout, space.head, genomes) / 100
    front = pareto_front(np.column_stack([areas, -judge.noisy(genomes, "train")]))
    held = {}
    for split in SPLITS:
        accuracies = judge.accuracies(genomes[front], split)
        assert accuracies is not None
        curve = accuracy_curve(areas[front].tolist(), accuracies.tolist(), len(judge.labels[split]))
        held[split] = [curve.at(budget) for budget in BUDGETS[task]]
    return Measured(name, task, seed, held["validation"], held["test"], taken.cpu)


def differences(found: Sequence[Measured], name: str, task: str, split: str) -> np.ndarray:
    """Return what *name* holds more than the search's own way, seed by seed on the same rows: seeds × budgets."""
    runs = {(each.variant, each.seed): getattr(each, split) for each in found if each.task == task}
    pairs = [(run, runs["own", seed]) for (variant, seed), run in sorted(runs.items()) if variant == name]
    return np.array([np.subtract(run, own) for run, own in pairs]).reshape(len(pairs), len(BUDGETS[task]))


def told(values: Sequence[float]) -> str:
    """Return mean and standard error of *values*, in percent."""
    if len(values) < 2:
        return "too few"
    return f"{100 * statistics.fmean(values):+.2f} ± {100 * _error(values):.2f}"


def _error(values: Sequence[float]) -> float:
    return statistics.stdev(values) / math.sqrt(len(values))


def together(found: Sequence[Measured], shown: dict[str, Variant], tasks: Sequence[str]) -> Iterator[list[str]]:
    """Yield a row a variant: mean difference of all budgets, over seeds and tasks, and whether it exceeds its error."""
    for name, variant in list(shown.items())[1:]:
        means = {
            split: [float(row.mean()) for task in tasks for row in differences(found, name, task, split)]
            for split in SPLITS
        }
        aside = means["validation"]
        if len(aside) < 2:
            continue
        size, error = statistics.fmean(aside), _error(aside)
        verdict = "chance" if abs(size) <= CERTAIN * error else "helps" if size > 0 else "harms"
        verdict = "too few splits" if len(aside) < FEWEST else verdict
        yield [variant.title, str(len(aside)), told(aside), verdict, told(means["test"])]


def by_task(found: Sequence[Measured], shown: dict[str, Variant], task: str) -> Iterator[list[str]]:
    """Yield a row a variant of one task: the search's own accuracies, and the others' differences to them, by budget."""
    own = [each for each in found if (each.task, each.variant) == (task, "own")]
    budgets = range(len(BUDGETS[task]))
    means = [f"{100 * statistics.fmean(getattr(e, split)[b] for e in own):.2f}" for split in SPLITS for b in budgets]
    yield [shown["own"].title, str(len(own)), *means]
    for name, variant in list(shown.items())[1:]:
        parts = [differences(found, name, task, split) for split in SPLITS]
        if len(parts[0]) > 1:
            yield [variant.title, str(len(parts[0])), *(told(part[:, b].tolist()) for part in parts for b in budgets)]


def main() -> None:
    """Measure, and write ``results/search_ablation.md``."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--only", default="cardio,whitewine,redwine,breast_cancer", help="tasks, with commas between")
    parser.add_argument("--variants", default="", help="variants beside own, with commas between; all by default")
    parser.add_argument("--seeds", default="1-10", help="of splits and draws, first to last")
    parser.add_argument("--starts", type=int, default=2, help="starts of each variant")
    parser.add_argument("--levels", type=int, default=14, help="prices of each start")
    parser.add_argument("--moves", type=int, default=20_000, help="moves at each price")
    parser.add_argument(
        "--kept", type=Path, metavar="FILE", help="what was measured so far: goes on where it was stopped"
    )
    parser.add_argument(
        "--seconds", type=float, default=1e9, help="begin nothing new after so long, and write what is there"
    )
    given = parser.parse_args()
    need_tasks(given.tasks)
    own = Seeding(starts=given.starts, levels=given.levels, moves=given.moves)
    known, asked = variants(own), given.variants.split(",") if given.variants else []
    if unknown := [name for name in asked if name not in known]:
        raise SystemExit(f"--variants: there is no {', '.join(unknown)}; there are {', '.join(known)}")
    shown = {name: variant for name, variant in known.items() if name == "own" or not asked or name in asked}
    first, _, last = given.seeds.partition("-")
    names, same = given.only.split(","), {name: asdict(variant) for name, variant in known.items()}
    found: list[Measured] = []
    if given.kept and given.kept.is_file():
        before = json.loads(given.kept.read_text(encoding="utf-8"))
        if before["variants"] != same:
            raise SystemExit(f"{given.kept} holds what other variants, starts, levels or moves gave; name another file")
        found = [Measured(**entry) for entry in before["found"]]
    done, end = {(each.variant, each.task, each.seed) for each in found}, time.monotonic() + given.seconds
    todo = [
        (name, task, seed)
        for seed in range(int(first), int(last or first) + 1)
        for task in names
        for name in shown
        if (name, task, seed) not in done
    ]
    for name, task, seed in todo:
        if time.monotonic() > end:
            break
        found.append(measure(name, shown[name], task, seed, given.tasks))
        note(f"{found[-1]}")
        if given.kept:
            kept = {"variants": same, "found": [asdict(each) for each in found]}
            given.kept.write_text(json.dumps(kept), encoding="utf-8")
    names = [task for task in TASKS if any(each.task == task for each in found)]
    titles = ["starts", "splits", "rows put aside, %", f"beyond {CERTAIN:g} errors of {FEWEST} splits", "test rows, %"]
    spent = {
        name: statistics.fmean(each.seconds for each in found if each.variant == name)
        for name in shown
        if any(each.variant == name for each in found)
    }
    parts = []
    for task in names:
        columns = [f"{split} ≤ {budget:g} cm²" for split in ("aside", "test") for budget in BUDGETS[task]]
        parts += [f"## {task}\n", table(["starts", "splits", *columns], list(by_task(found, shown, task)))]
    write(
        "search_ablation",
        [
            "# What starts of a search gain from what\n",
            command(),
            machine() + "\n",
            f"{given.starts} annealed starts a variant, {given.levels} prices, {given.moves} moves at each; no evolution, no",
            "refinement. A seed puts another fifth of the training rows aside and draws anew; all variants get the same.",
            "Circuits that nothing beats by area and by accuracy on noisy copies of the other rows make a curve over area as in",
            "a search; told is what it holds within an area (by the estimate). Rows put aside judge; test rows are reported",
            "beside, and chose nothing. Differences in percent to the search's own way, on the same split: mean ± standard error",
            "over splits (and tasks). Splits share rows, and test rows are the same for all: the errors are those of splits and",
            "draws alone.\n",
            "## All tasks and areas together\n",
            table(titles, list(together(found, shown, names))),
            *parts,
            "CPU seconds of a variant's starts, on average: "
            + ", ".join(f"{shown[name].title} {seconds:.1f}" for name, seconds in spent.items())
            + ".\n",
        ],
    )


if __name__ == "__main__":
    main()
