"""How many engine clocks smaller models save that are trained to answer as the model did that they came from.

Stages of pruning follow one another, each fine-tuned on training rows, the model as it was opened being the teacher; behind each
stage its accuracy is told on rows that choose (which no weight has seen), and that of the last stage which loses at most a point
on them, or where none does of the last one, on test rows, too. Training ends after the seconds that a line gives, done or not:
a machine that is faster, or has less else to do, trains for more epochs. An array of 16 × 16; clocks as in the schedule of all
products.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from common import arguments, command, machine, met, note, table, write
from models.two_tasks import KINDS
from smaller_models import CHOOSING, MOST, Task, images, mixed, texts
from transformer import read_news

from approxhw.engine.operands import Feeds
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import PassRecord, parse_passes, run_passes, spell_pass
from approxhw.ir.tensor.emulate import EmulatedEngine
from approxhw.passes.structure.ground.layers import clocks_of

CALIBRATION = 512
"""Rows of the network of two tasks that tell what leaves."""

STAGES: Mapping[str, tuple[str, ...]] = {
    "resnet8": (
        "prune-outputs{budget=60%,repair=once},fine-tune{epochs=2,rate=0.003,labels=0.2,seconds=240}",
        "prune-outputs{budget=65%,repair=once},fine-tune{epochs=2,rate=0.003,labels=0.2,seconds=240}",
        "prune-outputs{budget=64%,repair=once},fine-tune{epochs=14,rate=0.004,labels=0.2,seconds=720}",
    ),
    "two_tasks": (
        "prune-channels{bound=5%,whole=1.5},fine-tune{epochs=2,rate=0.002,seconds=100}",
        "prune-channels{bound=20%,whole=2},fine-tune{epochs=3,rate=0.002,seconds=100}",
    ),
    "transformer": (
        "prune-outputs{budget=62%,layers=*wide*,repair=once},low-rank{budget=64%,refit=false},"
        "fine-tune{epochs=6,rate=0.0002,batch=32,features=1,seconds=900}",
    ),
}
"""Passes of each stage; the next one goes on from what it made."""

ASKED = {"resnet8": 0.75, "transformer": 0.6}
"""Share of the clocks to be saved at a point."""

WORST = {"resnet8": 0.03}
"""What the class that loses most may lose, where that is asked for."""


@dataclass(frozen=True)
class Measured:
    """A model, rows that it learns from, and of each output (by title) what rows that choose and test rows are."""

    task: Task
    training: Mapping[str, np.ndarray]
    labels: np.ndarray | None
    meant: Mapping[str, tuple[np.ndarray, np.ndarray]]


def opened(name: str, given: argparse.Namespace) -> Measured:
    """Return the model *name* as it is measured."""
    if name == "transformer":
        task = texts(given.texts, given.jobs)
        # all documents that neither choose nor report: the classifier's own, and further ones, whose classes nothing looks at
        fitted = read_news(given.texts, 64, 600, 64 + 456 + 304, 0)
        further = read_news(given.texts, 64, 600 + len(fitted.tested), 10_000, 0).tested
        tokens = np.concatenate([fitted.fitted, further])
        return Measured(task, {"tokens": tokens, "mask": (tokens > 0).astype(np.int64)}, None, {"scores": _meant(task)})
    task = images(name, given.images, CALIBRATION)
    with np.load(given.images / "fashion.npz") as file:
        order = mixed(len(file["y_train"]))  # rows that tell what leaves are the first ones, as in a compile
        x, y = file["X_train"][order], file["y_train"][order]
    meant = {"logits": _meant(task)}
    if name == "two_tasks":
        pieces = _meant(task)
        meant = {"pieces": pieces, "kinds": (KINDS[pieces[0]], KINDS[pieces[1]])}
    return Measured(task, {"x": x}, y, meant)


def _meant(task: Task) -> tuple[np.ndarray, np.ndarray]:
    assert task.choosing.labels is not None
    assert task.report.labels is not None
    return task.choosing.labels, task.report.labels


def answers(graph: Graph, measured: Measured, feeds: Feeds, jobs: int) -> dict[str, np.ndarray]:
    """Return the class that *graph* gives each row of *feeds*, by the title of the output."""
    engine = EmulatedEngine(graph, measured.task.opened.host, jobs)
    found: dict[str, list[np.ndarray]] = {title: [] for title in measured.meant}
    for part in feeds.batches():
        made = engine.run(part)
        for title, parts in found.items():
            parts.append(made[title].argmax(axis=1))
    return {title: np.concatenate(parts) for title, parts in found.items()}


def changes(plain: np.ndarray, made: np.ndarray, meant: np.ndarray) -> tuple[float, float]:
    """Return by how much accuracy changed, and that of the class that lost most."""
    meant = meant[: len(made)]
    before, after = plain == meant, made == meant
    classes = [float(after[meant == each].mean() - before[meant == each].mean()) for each in np.unique(meant)]
    return float(after.mean() - before.mean()), min(classes)


def measure(name: str, given: argparse.Namespace, kept: dict[str, object]) -> None:
    """Run the stages of the model *name*, and keep what each comes to."""
    measured, lines = opened(name, given), list[dict[str, object]]()
    task, began = measured.task, time.perf_counter()
    reshaping = task.context.reshaping
    assert reshaping is not None
    plain = [answers(task.opened.graph, measured, feeds, given.jobs) for feeds in (task.choosing, task.report)]
    kept[name] = {
        "base": {
            title: [float(np.mean(found[side][title] == meant[side][: len(found[side][title])])) for side in (0, 1)]
            for title, meant in measured.meant.items()
            for found in [plain]
        },
        "rows": [len(each[next(iter(each))]) for each in plain],
        "stages": lines,
    }
    whole = clocks_of(reshaping, task.opened.graph)

    def heard(what: str, done: int, total: int) -> None:
        if what == "fine-tune" and done % max(1, total // 20) == 0:
            note(f"{name}: step {done} of {total}, {time.perf_counter() - began:.0f} s")

    context = replace(
        task.context,
        model=task.opened.graph,
        training=(measured.training, measured.labels),
        threads=given.jobs,
        on_progress=heard,
    )
    graph = task.opened.graph
    for stage in STAGES[name]:
        before, started = graph, time.perf_counter()
        steps: list[Graph] = []

        def step(index: int, called: str, result: Graph, record: PassRecord, steps: list[Graph] = steps) -> None:
            steps.append(result)
            note(f"{name}: {called}, {record.seconds:.0f} s: {'; '.join(record.notes)}")

        graph, _ = run_passes(before, stage, context, on_step=step, check=False)
        seconds = time.perf_counter() - started
        sides = {
            side: {
                title: changes(plain[place][title], found[title], meant[place])
                for title, meant in measured.meant.items()
            }
            for side, place, feeds, made in (
                ("pruned", 0, task.choosing, steps[-2]),
                ("choosing", 0, task.choosing, graph),
                ("test", 1, task.report, graph),
            )
            for found in [answers(made, measured, feeds, given.jobs)]
        }
        share = clocks_of(reshaping, graph) / whole
        spelled = ",".join(map(spell_pass, parse_passes(stage)))
        lines.append({"passes": spelled, "share": share, "seconds": seconds, **sides})
        note(f"{name}: {lines[-1]}")
        if given.kept:
            given.kept.write_text(json.dumps(kept, indent=1))


def page(name: str, found: Mapping[str, object]) -> list[str]:
    """Return what the page says of the model *name*."""
    base, rows, stages = found["base"], found["rows"], found["stages"]
    assert isinstance(base, dict)
    assert isinstance(rows, list)
    assert isinstance(stages, list)
    lines, good = [], [stage for stage in stages if _holds(name, stage)]
    best = min(good, key=lambda stage: stage["share"], default=None)
    told_on_test = best or stages[-1]
    for stage in stages:
        for title in base:
            points = [f"{100 * each:+.2f}" for side in ("pruned", "choosing") for each in stage[side][title]]
            points += [f"{100 * each:+.2f}" for each in stage["test"][title]] if stage is told_on_test else ["", ""]
            lines.append(
                (
                    f"`{stage['passes']}`",
                    f"{100 * (1 - stage['share']):.1f} %",
                    *([title] if len(base) > 1 else []),
                    *points,
                    f"{stage['seconds']:.0f}",
                )
            )
    told = "; ".join(
        f"{title + ': ' if len(base) > 1 else ''}{100 * both[0]:.2f} % of {rows[0]} rows that choose, "
        f"{100 * both[1]:.2f} % of {rows[1]} test rows"
        for title, both in base.items()
    )
    titles = (
        *("passes, going on from the line above", "clocks saved", *(["output"] if len(base) > 1 else [])),
        *("pruned: choosing, points", "worst class", "fine-tuned: choosing, points", "worst class"),
        *("test, points", "worst class", "s"),
    )
    saved = 1 - best["share"] if best is not None else 0.0
    bound = f"{100 * MOST:g} point" + (f", {100 * WORST[name]:g} in the worst class" if name in WORST else "")
    verdict = f"At most {bound} lost: **{saved:.1%}** of the clocks saved"
    verdict += f" (target {ASKED[name]:.0%}): {met(saved >= ASKED[name])}.\n" if name in ASKED else ".\n"
    return [f"## {name}: {told}\n", table(titles, lines), verdict]


def _holds(name: str, stage: Mapping[str, Mapping[str, tuple[float, float]]]) -> bool:
    pairs = stage["choosing"].values()
    return all(mean >= -MOST and worst >= -WORST.get(name, 1.0) for mean, worst in pairs)


def main() -> None:
    """Measure, print, and write the result."""
    parser = arguments(__doc__ or "")
    parser.add_argument(
        "--images", type=Path, default=Path("build/fashion"), help="folder of residual_cnn.py and two_tasks.py"
    )
    parser.add_argument(
        "--texts", type=Path, default=Path("build/transformer"), help="folder of sentence_transformer.py"
    )
    parser.add_argument("--models", default="resnet8,two_tasks,transformer", help="which, of these three")
    parser.add_argument("--kept", type=Path, help="file that keeps what is measured, to go on from")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no model after so long")
    given = parser.parse_args()
    kept: dict[str, object] = json.loads(given.kept.read_text()) if given.kept and given.kept.exists() else {}
    began = time.monotonic()
    parts = ["# Fine-tuned models: engine clocks that pruning saves with training behind it\n", command()]
    parts.append((__doc__ or "").split("\n\n", 1)[1].strip() + f" {CHOOSING} images choose. {machine()}\n")
    for name in given.models.split(","):
        done = kept.get(name)
        if not (isinstance(done, dict) and len(done["stages"]) == len(STAGES[name])):
            if time.monotonic() - began > given.seconds:
                continue
            measure(name, given, kept)
        found = kept[name]
        assert isinstance(found, dict)
        parts += page(name, found)
    write("fine_tuned_models", parts)


if __name__ == "__main__":
    main()
