"""Measure searches of families: trees of five tasks with synthesised fronts, a wide task with all families, the search of all."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import TASKS, arguments, clock, command, machine, met, need_tasks, note, table, write

import approxhw as ax
from approxhw.dse.evolve import Hooks

TREES = "tree,pairs,optimal"
TREE_SECONDS = 60.0
"""For the fronts of trees of all five tasks together."""

WIDE = 300
"""Inputs, and rows, of the wide task."""

WIDE_SECONDS, ALL_SECONDS = 600.0, 480.0
"""For the front of all families of the wide task, and of each of the five."""


@dataclass(frozen=True)
class Searched:
    """One search: its front, its time, and whether every step of it left a checkpoint."""

    name: str
    front: ax.SearchResult
    seconds: float
    cpu: float
    kept: int
    """Fits of folds on disk."""


def wide_task(folder: Path) -> tuple[Path, Path]:
    """Return the files of a made classifier of 300 inputs, and of its 300 rows, half of them for tests."""
    from skl2onnx import to_onnx
    from sklearn.datasets import make_classification
    from sklearn.neural_network import MLPClassifier

    rows, labels = make_classification(2 * WIDE, WIDE, n_informative=12, n_redundant=20, n_classes=3, random_state=1)
    train, test = slice(0, WIDE), slice(WIDE, None)
    net = MLPClassifier((5,), max_iter=300, random_state=1).fit(rows[train], labels[train])
    model = to_onnx(net, rows[:1].astype(np.float32), options={"zipmap": False})
    (folder / "wide.onnx").write_bytes(model.SerializeToString())
    np.savez(folder / "wide.npz", X_train=rows[train], y_train=labels[train], X_test=rows[test], y_test=labels[test])
    return folder / "wide.onnx", folder / "wide.npz"


def search(name: str, model: Path, data: Path, folder: Path, families: str, **more: object) -> Searched:
    """Search *families*, told step by step, and return what came."""
    hooks = Hooks(
        on_progress=lambda step, done, total: note(f"{name}: {step}, {done} of {total}") if done == total else None
    )
    with clock() as taken:
        front = ax.search(model, data=data, output=folder / name, families=families, hooks=hooks, **more)
    kept = len(list((folder / name / "checkpoint").glob("family-*/without-*.npz")))
    note(f"{name}: {taken.wall:.0f} s")
    return Searched(name, front, taken.wall, taken.cpu, kept)


def lines(found: list[Searched]) -> str:
    """Return the table of searches."""
    rows = []
    for one in found:
        front, chosen = one.front.front, one.front.chosen
        promise = front.promise
        told = f"{100 * promise.accuracy:.2f} % ({100 * promise.low:.1f}…{100 * promise.high:.1f})" if promise else "–"
        members = ", ".join(f"{each.name} {each.members}" for each in front.families) or f"mlp {len(front.members)}"
        rows.append(
            (
                one.name, f"{one.seconds:.1f}", f"{one.cpu:.1f}", members, chosen.recipe or chosen.family,
                f"{chosen.area_mm2 / 100:.4g}", told, f"{100 * chosen.test_accuracy:.2f} %", one.kept,
            )
        )  # fmt: skip
    titles = ("task", "s", "CPU s", "members", "chosen", "cm²", "promised", "test accuracy", "fits kept")
    return table(titles, rows)


def main() -> None:
    """Search, and write the result."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--parts", default="trees,wide,all", help="what is measured, of these three")
    parser.add_argument("--only", default=",".join(TASKS), help="tasks")
    parser.add_argument(
        "--generations", type=int, default=300, help="of the genetic search, in the parts that have one"
    )
    asked = parser.parse_args()
    need_tasks(asked.tasks)
    parts, tasks = asked.parts.split(","), asked.only.split(",")
    with tempfile.TemporaryDirectory() as place:
        for part in parts:
            write(f"search_families_{part}", page(part, asked, tasks, Path(place)))


def page(part: str, asked: argparse.Namespace, tasks: list[str], folder: Path) -> list[str]:
    """Return the page of one part: what was searched, how long it took, and what was asked of it."""
    more = {} if part == "trees" else {"generations": asked.generations}
    families = TREES if part == "trees" else "all"
    (folder / part).mkdir()
    if part == "wide":
        files = {"wide": wide_task(folder)}
    else:
        files = {task: (asked.tasks / f"{task}.onnx", asked.tasks / f"{task}.npz") for task in tasks}
    found = [search(name, *files[name], folder / part, families, **more) for name in files]
    title, bound, told = {
        "trees": ("Trees of five tasks", TREE_SECONDS, "All together"),
        "wide": (f"{WIDE} inputs, {WIDE} training rows", WIDE_SECONDS, "It took"),
        "all": ("All families of five tasks", ALL_SECONDS, "The slowest took"),
    }[part]
    taken = (sum if part == "trees" else max)(one.seconds for one in found)
    whole = part == "wide" or len(tasks) == len(TASKS)
    verdict = met(taken <= bound) if whole else "not all tasks"
    return [
        f"# Searches of families: {title[:1].lower()}{title[1:]}\n",
        command(),
        f"{machine()} `--families {families}`; fronts are synthesised, compiled and simulated on both simulators.\n",
        lines(found),
        f"{told}: **{taken:.0f} s** (target {bound:g} s): {verdict}.\n",
    ]


if __name__ == "__main__":
    main()
