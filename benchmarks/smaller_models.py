"""How many engine clocks passes that change shapes save in a residual CNN, LeNet and a sentence transformer, not retrained.

Calibration rows alone tell what leaves. Of each pass, or row of passes, several strengths are tried: what saves most of all that
loses at most a point on the rows that choose (which no weight, and no calibration, has seen) is told on test rows, with the class
that loses most there. What is told as searched was chosen layer by layer (`--search`), no class losing
more than three points there (of the news: whatever class). An array of 16 × 16; clocks as in
the schedule of all products.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from common import arguments, command, machine, met, note, table, write
from transformer import read_news
from transformer_operators import classifying

from approxhw.common.errors import PassError
from approxhw.common.statistics.class_bounds import class_bound
from approxhw.engine.composing.asked import SHAPES
from approxhw.engine.composing.compose import Composing, FormLosses, LossBounds
from approxhw.engine.matrix.target import MatrixEngine
from approxhw.engine.operands import Feeds, observe_rows, predictions
from approxhw.engine.reshaping import reshaping_on
from approxhw.frontends.products.partition import OpenedModel, open_model
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import PassContext, run_passes
from approxhw.ir.tensor.emulate import EmulatedEngine
from approxhw.passes.structure.ground.layers import clocks_of

CALIBRATION = {"resnet8": 512, "lenet": 1024, "transformer": 128}
"""Rows that tell what leaves."""

CHOOSING = 4000
"""Images that choose, of those put aside."""

WAYS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "images": {
        "prune-outputs": tuple(f"prune-outputs{{budget={share}%}}" for share in (90, 80, 70, 65, 60, 55, 50, 45)),
        "prune-channels": tuple(
            f"prune-channels{{bound={bound}%,whole={whole}}}" for bound, whole in ((2, 1.5), (5, 2), (10, 5))
        ),
        "fuse-neurons": tuple(f"fuse-neurons{{keep={keep}}}" for keep in (0.9, 0.8, 0.7, 0.6)),
        "low-rank": tuple(f"low-rank{{budget={share}%}}" for share in (97, 90, 80, 75, 70)),
        "tucker": tuple(f"tucker{{budget={share}%}}" for share in (90, 80, 70, 65, 60)),
        "low-rank, then prune-outputs": tuple(
            f"low-rank{{budget=90%}},prune-outputs{{budget={share}%}}" for share in (85, 75, 70, 65, 60)
        ),
        "prune-outputs twice": tuple(
            f"prune-outputs{{budget={first}%}},prune-outputs{{budget={second}%}}"
            for first, second in ((80, 80), (80, 75), (75, 75))
        ),
    },
    "texts": {
        "prune-outputs": tuple(f"prune-outputs{{budget={share}%,repair=once}}" for share in (90, 80, 70, 60)),
        "fuse-neurons": ("fuse-neurons{keep=0.8,starts=2,refit=false}",),
        "low-rank": tuple(f"low-rank{{budget={share}%,refit=false}}" for share in (90, 80, 70, 60, 50)),
        "low-rank, then prune-outputs": (
            "low-rank{budget=75%,refit=false},prune-outputs{budget=90%,repair=once}",
            "low-rank{budget=65%,refit=false},prune-outputs{budget=90%,repair=once}",
        ),
    },
}
"""Rows of passes by name, weakest first: once one loses more than three points, stronger ones are left out."""

SEARCHED = "composition, searched"
"""Rows of passes that the search behind ``approxhw search --approximations`` made, layer by layer: whatever of it is kept."""

TRIALS = 12
"""Compositions that such a search tries at most; no class may lose more than :data:`CLASS`."""

ORDERS: Mapping[str, tuple[str, ...]] = {
    "lenet": (
        "low-rank{budget=80%},prune-outputs{budget=75%}",
        "prune-outputs{budget=75%},low-rank{budget=80%}",
        "low-rank{budget=90%},prune-outputs{budget=66%}",
        "prune-outputs{budget=66%},low-rank{budget=90%}",
    ),
    "resnet8": (
        "tucker{budget=85%},prune-outputs{budget=88%}",
        "prune-outputs{budget=88%},tucker{budget=85%}",
        "low-rank{budget=90%},prune-outputs{budget=85%}",
        "prune-outputs{budget=85%},low-rank{budget=90%}",
    ),
}
"""Pairs of rows of passes that take about as many clocks, in either order."""

MOST, CLASS, GIVEN_UP = 0.01, 0.03, 0.03

ASKED = {"resnet8": 0.5, "transformer": 0.3}
"""Share of the clocks to be saved at a point."""


@dataclass(frozen=True)
class Task:
    """A model, its context of passes, and the rows that choose and that report."""

    opened: OpenedModel
    context: PassContext
    choosing: Feeds
    report: Feeds
    ways: str


def images(name: str, folder: Path, calibration: int) -> Task:
    """Return the task of an image network in *folder*, of so many training rows that tell what leaves."""
    with np.load(folder / "fashion.npz") as file:
        rows = {key: file[key] for key in file.files}
    order = mixed(len(rows["X_train"]))[:calibration]
    opened = open_model(folder / f"{name}.onnx", {"x": (1, *rows["X_train"].shape[1:])})
    seen = Feeds({"x": rows["X_train"][order]}, rows["y_train"][order])
    choosing = Feeds({"x": rows["X_validation"][:CHOOSING]}, rows["y_validation"][:CHOOSING])
    return Task(opened, context_of(opened, seen), choosing, Feeds({"x": rows["X_test"]}, rows["y_test"]), "images")


def mixed(count: int) -> np.ndarray:
    """Return the numbers of so many rows in the order in which they are drawn."""
    return np.random.default_rng(0).permutation(count)


def texts(folder: Path, jobs: int) -> Task:
    """Return the task of the sentence transformer in *folder*: news by its embedding and a linear classifier."""
    news = read_news(folder, 64, 600, 64 + 456 + 304, 0)
    model, classes = classifying(folder, news.fitted, news.fitted_labels, 64, jobs)
    labels = np.array([classes[label] for label in news.tested_labels.tolist()])

    def feeds(tokens: np.ndarray, meant: np.ndarray | None) -> Feeds:
        return Feeds({"tokens": tokens, "mask": (tokens > 0).astype(np.int64)}, meant, fixed=8)

    every = feeds(news.tested, labels)
    opened = open_model(model, {"tokens": (8, 64), "mask": (8, 64)})
    seen = feeds(news.fitted[: CALIBRATION["transformer"]], None)
    return Task(opened, context_of(opened, seen), every.part(64, 520), every.part(520, 824), "texts")


def context_of(opened: OpenedModel, seen: Feeds) -> PassContext:
    """Return what passes may look at."""
    training = None if seen.labels is None else (seen.arrays, seen.labels)
    return PassContext(
        observe=partial(observe_rows, seen, opened.host),
        reshaping=reshaping_on(opened, MatrixEngine()),
        training=training,
    )


@dataclass(eq=False)
class Bench:
    """What is measured of one model, kept in a file as it comes."""

    model: str
    asked: argparse.Namespace
    kept: dict[str, list[float]]
    began: float
    task: Task | None = None
    bases: dict[str, np.ndarray] = field(default_factory=dict)
    looked: bool = False
    """Whether compositions were searched."""

    @property
    def ways(self) -> Mapping[str, tuple[str, ...]]:
        """Rows of passes, weakest first."""
        return WAYS["texts" if self.model == "transformer" else "images"]

    def found(self, passes: str, rows: str) -> list[float] | None:
        """Return what *passes* come to on *rows*: share of clocks left, change of accuracy and of the worst class, seconds."""
        key = f"{self.model}, {rows}: {passes}"
        if key not in self.kept and time.monotonic() - self.began < self.asked.seconds:
            self.kept[key] = self._measured(passes, rows)
            note(f"{key}: {self.kept[key]}")
            if self.asked.kept:
                self.asked.kept.write_text(json.dumps(self.kept))
        return self.kept.get(key) or None

    def searched(self) -> tuple[str, ...]:
        """Return the rows of passes that were searched, those that lose least first; search some where time is left."""
        if self.asked.search and not self.looked and time.monotonic() - self.began < self.asked.seconds:
            self.looked = True
            self._search()
        begins = f"{self.model}, choosing: "
        told = {
            key.removeprefix(begins): values
            for key, values in self.kept.items()
            if key.startswith(begins) and any(f"{{{name}=" in key for name in ("ranks", "cores", "sizes"))
        }
        return tuple(sorted(told, key=lambda passes: -told[passes][1]))

    def _search(self) -> None:
        task, bounds = self._task(), LossBounds(MOST, CLASS)
        base, labels = self._answers(task.opened.graph, task.choosing), task.choosing.labels
        assert labels is not None
        bound = class_bound(labels[: len(base)], base, CLASS)

        def judge(graph: Graph) -> FormLosses:
            made = self._answers(graph, task.choosing)
            loss = float(np.mean(base == labels[: len(base)]) - np.mean(made == labels[: len(base)]))
            return FormLosses(loss, float(np.nanmax(bound.losses(bound.wrong(made)))))

        composing = Composing(task.context, tuple(SHAPES), False, bounds, judge, TRIALS, lambda step, done, total: None)
        found = composing.compositions(task.opened.graph)
        for each in found:
            if each.passes:
                told = [each.clocks / max(one.clocks for one in found), -each.judged.loss, -each.judged.class_loss, 0.0]
                self.kept[f"{self.model}, choosing: {each.spelled}"] = told
        if self.asked.kept:
            self.asked.kept.write_text(json.dumps(self.kept))

    def best(self, strengths: tuple[str, ...], worst: float = 1.0) -> str:
        """Return what saves most of all *strengths* that lose at most a point on the rows that choose; empty where none does.

        *worst*: what any class may lose on them.
        """
        good = {}
        for passes in strengths:
            found = self.found(passes, "choosing")
            if found is not None and found[1] >= -MOST and found[2] >= -worst:
                good[passes] = found[0]
            elif found is not None and found[1] < -GIVEN_UP:
                break
        return min(good, key=lambda passes: good[passes], default="")

    def _task(self) -> Task:
        if self.task is None:
            texts_too = self.model == "transformer"
            self.task = (
                texts(self.asked.texts, self.asked.jobs)
                if texts_too
                else images(self.model, self.asked.images, CALIBRATION[self.model])
            )
        return self.task

    def _measured(self, passes: str, rows: str) -> list[float]:
        task, began = self._task(), time.perf_counter()
        feeds = task.choosing if rows == "choosing" else task.report
        try:
            graph, _ = run_passes(task.opened.graph, passes, task.context, check=False)
        except PassError as error:
            note(str(error))
            return []
        seconds = time.perf_counter() - began
        if rows not in self.bases:
            self.bases[rows] = self._answers(task.opened.graph, feeds)
        made, base = self._answers(graph, feeds), self.bases[rows]
        assert feeds.labels is not None
        labels = feeds.labels[: len(made)]
        right, before = made == labels, base == labels
        self.kept[f"{self.model}, {rows}"] = [float(before.mean()), len(made)]
        classes = [float(right[labels == each].mean() - before[labels == each].mean()) for each in np.unique(labels)]
        reshaping = task.context.reshaping
        assert reshaping is not None
        share = clocks_of(reshaping, graph) / clocks_of(reshaping, task.opened.graph)
        return [share, float(right.mean() - before.mean()), min(classes), seconds]

    def _answers(self, graph: Graph, feeds: Feeds) -> np.ndarray:
        assert self.task is not None
        return predictions(EmulatedEngine(graph, self.task.opened.host, self.asked.jobs), feeds)


def main() -> None:
    """Measure, print, and write the result."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--images", type=Path, default=Path("build/fashion"), help="folder of residual_cnn.py")
    parser.add_argument(
        "--texts", type=Path, default=Path("build/transformer"), help="folder of sentence_transformer.py"
    )
    parser.add_argument("--models", default="lenet,resnet8,transformer", help="which, of these three")
    parser.add_argument("--kept", type=Path, help="file that keeps what is measured, to go on from")
    parser.add_argument("--search", action="store_true", help="search compositions, too")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1e9, help="begin nothing after so long")
    asked = parser.parse_args()
    kept: dict[str, list[float]] = json.loads(asked.kept.read_text()) if asked.kept and asked.kept.exists() else {}
    began = time.monotonic()
    parts = ["# Smaller models: engine clocks that passes save without retraining\n", command()]
    parts.append((__doc__ or "").split("\n\n", 1)[1].strip() + f" {machine()}\n")
    for model in asked.models.split(","):
        parts += page(Bench(model, asked, kept, began))
    write("smaller_models", parts)


def page(bench: Bench) -> list[str]:
    """Return what the page says of one model."""
    lines = []
    searched = bench.searched()
    for way, strengths in (bench.ways | ({SEARCHED: searched} if searched else {})).items():
        best = bench.best(strengths, CLASS if way == SEARCHED and bench.model != "transformer" else 1.0)
        tried = sum(f"{bench.model}, choosing: {passes}" in bench.kept for passes in strengths)
        if not best:
            lines.append((way, f"none of {tried} loses at most a point", *[""] * 6))
            continue
        chosen, test = bench.found(best, "choosing"), bench.found(best, "test")
        assert chosen is not None
        points = [f"{100 * each:+.2f}" for found in (chosen, test) for each in (found[1:3] if found else ())]
        points += [""] * (4 - len(points))
        lines.append(
            (way, f"`{best}`", f"{100 * (1 - chosen[0]):.1f} %", *points, f"{chosen[3]:.0f}" if chosen[3] else "")
        )
    told = [
        f"{100 * bench.kept[key][0]:.2f} % of {bench.kept[key][1]:.0f} {what}"
        for key, what in ((f"{bench.model}, choosing", "rows that choose"), (f"{bench.model}, test", "test rows"))
        if key in bench.kept
    ]
    saved = [
        1 - found[0]
        for best in map(bench.best, (*bench.ways.values(), bench.searched()))
        if best and (found := bench.found(best, "choosing"))
    ]
    verdict = []
    if bench.model in ASKED and saved:
        asked = ASKED[bench.model]
        verdict = [f"At most: **{max(saved):.1%}** (target {asked:.0%}): {met(max(saved) >= asked)}.\n"]
    ways = (*bench.ways.values(), bench.searched())
    held = [best for strengths in ways if (best := bench.best(strengths, CLASS))]
    if held:
        bounded = min(held, key=lambda passes: bench.kept[f"{bench.model}, choosing: {passes}"][0])
        share = bench.kept[f"{bench.model}, choosing: {bounded}"][0]
        verdict.append(f"At most, with no class worse than −{100 * CLASS:g}: **{1 - share:.1%}**, by `{bounded}`.\n")
    orders = [(passes, bench.found(passes, "choosing")) for passes in ORDERS.get(bench.model, ())]
    if measured := [(passes, found) for passes, found in orders if found]:
        rows = [
            (f"`{passes}`", f"{100 * (1 - found[0]):.1f} %", f"{100 * found[1]:+.2f}", f"{100 * found[2]:+.2f}")
            for passes, found in measured
        ]
        verdict += [
            "The order of passes, on rows that choose:\n",
            table(("passes", "clocks saved", "points", "worst class"), rows),
        ]
    heads = ("passes", "chosen", "clocks saved", "choosing, points", "worst class", "test, points", "worst class", "s")
    return [f"## {bench.model}: {', '.join(told) or 'not measured'}\n", table(heads, lines), *verdict]


if __name__ == "__main__":
    main()
