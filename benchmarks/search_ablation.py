"""What the starts of a search gain from noisy rows, from the model as a teacher, and from wider hidden layers."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from common import arguments, command, machine, need_tasks, note, table, write

import approxhw as ax
from approxhw.dse.api import widened_passes
from approxhw.dse.genetic.fitness import Teacher
from approxhw.dse.genetic.options import Seeding
from approxhw.dse.genetic.seeding import Seeder
from approxhw.dse.rows.split_rows import search_rows
from approxhw.ir.evaluation import codes_of
from approxhw.ir.pass_manager import PassContext
from approxhw.networks.area_model import default_model
from approxhw.networks.kernels.masked_network import count_errors
from approxhw.networks.space import encode_genome, space_of

BUDGETS = {
    "cardio": (0.65, 1.3, 5.0),
    "redwine": (0.1, 1.0, 3.0),
    "whitewine": (0.1, 1.0, 5.0),
    "pendigits": (5.0, 9.0, 14.0),
}
"""cm², by the estimate: about what a small, a middling and a large circuit of a front has."""


@dataclass(frozen=True)
class Variant:
    """A way to make starts."""

    title: str
    seeding: Seeding
    widen: float = 2.0
    teacher: bool = True


def variants(starts: int) -> tuple[Variant, ...]:
    """Return what is compared, the search's own way first."""
    own = Seeding(starts=starts)
    return (
        Variant("as searches do", own),
        Variant("no noisy copies", replace(own, copies=0)),
        Variant("no teacher", own, teacher=False),
        Variant("hidden layers as wide as the model's", own, widen=1.0),
        Variant("half the moves", replace(own, moves=own.moves // 2)),
    )


def measure(variant: Variant, task: str, seed: int, tasks: Path) -> list[float]:
    """Return test accuracies, one a budget: of the circuit within it that is best on validation rows."""
    graph, data = ax.read(tasks / f"{task}.onnx"), ax.load_dataset(tasks / f"{task}.npz")
    rows = search_rows(data, graph, 0.2, seed)
    passes = widened_passes(ax.named_pipeline("printed-po2"), variant.widen)
    masked, _ = ax.run_passes(graph, passes, PassContext(rows.searched(), graph))
    space, model = space_of(masked), default_model()
    splits = {name: (codes_of(masked, x), y) for name, (x, y) in rows.splits().items()}
    codes, labels = splits["train"]
    teacher = Teacher(graph, masked) if variant.teacher else None
    allowed = len(labels)
    seeder = Seeder(space, encode_genome(space, masked), codes, labels, model, allowed, variant.seeding, seed, teacher)
    genomes = np.concatenate([seeder(number) for number in range(variant.seeding.starts)])
    areas = model.area_mm2(space.layout, space.head, genomes) / 100
    shares = {
        name: 1 - np.asarray(count_errors(space.layout, space.head, genomes, *splits[name])) / len(splits[name][1])
        for name in ("validation", "test")
    }
    found = []
    for budget in BUDGETS[task]:
        within = np.flatnonzero(areas <= budget)
        found.append(float(shares["test"][within[np.argmax(shares["validation"][within])]]))
    return found


def _rows(given: dict[tuple[str, str, int], list[float]], titles: list[str], names: list[str]) -> Iterator[list[str]]:
    for title in titles:
        row = [title]
        for name in names:
            runs = [found for (run, task, _), found in given.items() if (run, task) == (title, name)]
            for number in range(len(BUDGETS[name])):
                values = [found[number] for found in runs]
                row.append(f"{statistics.fmean(values):.4f} ± {statistics.pstdev(values):.4f}")
        yield row


def main() -> None:
    """Measure, and write ``results/search_ablation.md``."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--only", default="cardio,redwine", help="tasks, with commas between")
    parser.add_argument("--seeds", default="1,2,3", help="seeds, with commas between")
    parser.add_argument("--starts", type=int, default=2, help="starts of each seed")
    given = parser.parse_args()
    need_tasks(given.tasks)
    names, seeds = given.only.split(","), list(map(int, given.seeds.split(",")))
    found: dict[tuple[str, str, int], list[float]] = {}
    with ProcessPoolExecutor(2) as pool:
        jobs = {
            (variant.title, task, seed): pool.submit(measure, variant, task, seed, given.tasks)
            for task in names
            for seed in seeds
            for variant in variants(given.starts)
        }
        for key, job in jobs.items():
            found[key] = job.result()
            note(f"{key}: {found[key]}")
    titles = [variant.title for variant in variants(given.starts)]
    head = ["starts", *(f"{name} ≤ {budget:g} cm²" for name in names for budget in BUDGETS[name])]
    write(
        "search_ablation",
        [
            "# What starts of a search gain from what\n",
            command(),
            machine() + "\n",
            f"Test accuracy, mean and standard deviation over seeds {given.seeds}, of the circuit within an area (by the "
            f"estimate) that is best on validation rows, out of {given.starts} annealed starts; no evolution, no "
            "refinement. Differences below the deviations are chance.\n",
            table(head, list(_rows(found, titles, names))),
        ],
    )


if __name__ == "__main__":
    main()
