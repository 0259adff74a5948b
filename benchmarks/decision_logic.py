"""Choose decision logic for all five tasks by the honest rule, several seeds: areas, systems, and whether promises come."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from common import (
    CALIBRATED,
    HELD_WITHIN,
    TASKS,
    arguments,
    clock,
    command,
    machine,
    met,
    need_tasks,
    note,
    table,
    write,
)
from published import ANCHORS, INPUTS, PUBLISHED_HERE
from recipe_workshop import LEFT_OUT, MOST_NEAR, NEAR, TRIED, WHOLE_CODES, Rows, Workshop, coded, opened, single_folds

from approxhw.artifacts.converters import AREA_MM2
from approxhw.common.statistics import majority_share, no_better
from approxhw.dse.families.family import Facts
from approxhw.dse.rules.honest_rule import (
    RULES,
    HeldAsked,
    choose_from_study,
    smoothed_by_path,
)
from approxhw.dse.rules.recipe_study import RecipeStudy
from approxhw.ir.graph import Graph

SYSTEMS = {task: (accuracy, area + AREA_MM2 / 100 * INPUTS[task]) for task, (accuracy, area) in PUBLISHED_HERE.items()}
"""The published circuits with a 4-bit flash converter for each input that they read."""

AIMS = {"a": (PUBLISHED_HERE, 0.08, 4), "b": (CALIBRATED, 0.04, 3), "c": (SYSTEMS, 0.02, 4)}
"""Aim → accuracies and areas, the greatest geometric mean of ratios, and how many of five seeds are to hold each."""

ANCHOR_RULE = "S"
TARGETS = 6
"""Accuracies a task and seed that promises are asked for."""


@dataclass(frozen=True)
class Choice:
    """What one rule chose for one target. Areas in cm²; ``split``: given, or drawn anew for the calibration.

    ``aim``: a key of ``AIMS``, ``d`` and a number for an anchor, or the number of a target that promises are asked for.
    """

    task: str
    seed: int
    split: str
    aim: str
    target: float
    rule: str
    recipe: str
    held: bool
    expected: float
    test: float
    area: float | None = None
    promised: float = math.nan
    low: float = math.nan
    high: float = math.nan


def targets_of(study: RecipeStudy) -> list[float]:
    """Return accuracies between a little above the most frequent class and the best that recipes have, evenly."""
    accuracy = smoothed_by_path(study.recipes, study.costs[-1], study.right[-1].mean(axis=1))
    low, high = majority_share(study.labels) or 0.0, float(accuracy.max())
    return [low + (high - low) * share for share in np.linspace(0.5, 0.98, TARGETS)]


def choices(task: str, graph: Graph, rows: Rows, seed: int, split: str, families: Sequence[str]) -> list[Choice]:
    """Study all recipes once, and let rules choose for every target."""
    families = [name for name in families if name not in LEFT_OUT.get(task, ())]
    if split == "drawn":
        return promised(task, opened(Facts(graph, len(rows.labels)), rows, families, seed, map), seed)
    found = []
    for system in (False, True):
        facts = Facts(graph, len(rows.labels), system)
        mine = [name for name in families if name not in WHOLE_CODES] if system else families
        shop = opened(facts, rows, mine, seed, single_folds)
        aims = {aim: targets for aim, (targets, _, _) in AIMS.items() if (aim == "c") is system}
        asked = [(aim, rule, targets[task][0]) for aim, targets in aims.items() for rule in RULES]
        asked += [] if system else [(f"d{k}", ANCHOR_RULE, accuracy) for k, (accuracy, _) in enumerate(ANCHORS[task])]
        for aim, rule, target in asked:
            recipe, held, expected = shop.chosen(target, rule)
            test = float((shop.circuit(recipe).answers(rows.test_codes) == rows.test_labels).mean())
            area = shop.area(recipe)
            found.append(Choice(task, seed, split, aim, target, rule, str(recipe), held, expected, test, area))
    return found


def promised(task: str, shop: Workshop, seed: int) -> list[Choice]:
    """Return what is chosen for accuracies of all sizes, what is promised of it, and what it holds on test rows."""
    found, kept, rows = [], {}, shop.rows
    for k, target in enumerate(targets_of(shop.study)):
        chosen = choose_from_study(
            shop.study,
            shop.fit,
            rows.codes,
            HeldAsked(target),
            rule="S",
            test_rows=len(rows.test_labels),
            fits=1,
            kept=kept,
        )
        test = float((chosen.circuit.answers(rows.test_codes) == rows.test_labels).mean())
        found.append(
            Choice(
                task, seed, "drawn", f"{k}", target, "S", str(chosen.recipe), chosen.held, chosen.expected, test, None,
                chosen.promised, chosen.low, chosen.high,
            )
        )  # fmt: skip
    return found


def areas(found: Sequence[Choice], rule: str) -> list[str]:
    """Return the tables of both aims under one rule."""
    parts = []
    for aim, (targets, most, seeds) in AIMS.items():
        rows, ratios, enough = [], [], []
        for task in TASKS:
            mine = [c for c in found if (c.task, c.aim, c.rule, c.split) == (task, aim, rule, "given")]
            if not mine:
                continue
            accuracy, area = targets[task]
            held = [c.area for c in mine if c.area is not None and c.test >= accuracy - HELD_WITHIN]
            ratio = max(statistics.median(held), 1e-4) / area if held else math.nan
            ratios += [ratio] if held else []
            enough.append(len(held) * 5 >= seeds * len(mine))
            median = f"{statistics.median(held):.4g}" if held else "none held it"
            rows.append(
                (
                    task, f"{accuracy:.4f}", f"{area:g}", median, f"{ratio:.3f}" if held else "", f"{len(held)} of {len(mine)}",
                    " ".join(f"{c.test:.4f}" for c in mine), " ".join(f"{c.area:.4g}" for c in mine), mine[0].recipe,
                )
            )  # fmt: skip
        mean = math.exp(statistics.fmean(map(math.log, ratios))) if ratios else math.nan
        good = mean <= most and len(ratios) == len(TASKS) and all(enough)
        parts += [
            f"### ({aim}), rule {rule}\n",
            table(
                (
                    "task",
                    "target",
                    "their cm²",
                    "our median cm²",
                    "ratio",
                    "held",
                    "test accuracy",
                    "cm²",
                    "recipe of seed 0",
                ),
                rows,
            ),
            f"Geometric mean over the {len(ratios)} tasks that a seed holds: **{mean:.3f}** (target {most}, with at least "
            f"{seeds} of 5 seeds holding every task): {met(good)}.\n",
        ]
    return parts


def anchors(found: Sequence[Choice]) -> list[str]:
    """Return the table of circuits at the accuracies of the published ternary networks."""
    rows, smaller, every = [], 0, 0
    for task in TASKS:
        for k, (accuracy, area) in enumerate(ANCHORS[task]):
            mine = [c for c in found if (c.task, c.aim, c.split) == (task, f"d{k}", "given")]
            if not mine:
                continue
            held = [c.area for c in mine if c.area is not None and c.test >= accuracy - HELD_WITHIN]
            median = statistics.median(held) if held else math.inf
            smaller, every = smaller + (median <= area), every + 1
            shown = f"{median:.4g}" if held else "none held it"
            tests = " ".join(f"{c.test:.4f}" for c in mine)
            rows.append(
                (task, f"{accuracy:.3f}", f"{area:g}", shown, f"{len(held)} of {len(mine)}", tests, mine[0].recipe)
            )
    if not rows:
        return ["Not run.\n"]
    titles = ("task", "accuracy", "their cm²", "our median cm²", "held", "test accuracy", "recipe of seed 0")
    share = f"**{smaller} of {every}** ({smaller / every:.0%}, target 60 %)"
    return [
        table(titles, rows),
        f"No larger at their accuracy, of those that held: {share}: {met(smaller >= 0.6 * every)}.\n",
    ]


def calibration(found: Sequence[Choice], split: str) -> list[str]:
    """Return the table that holds promises against what came."""
    rows, all_within = [], []
    for task in TASKS:
        mine = [c for c in found if c.task == task and c.split == split and not math.isnan(c.promised)]
        if not mine:
            continue
        gaps = [100 * (c.test - c.promised) for c in mine]
        naive = [100 * (c.test - c.expected) for c in mine]
        within = [c.low <= c.test <= c.high for c in mine]
        all_within += within
        by_seed = [
            statistics.fmean(g for g, c in zip(gaps, mine, strict=True) if c.seed == s) for s in {c.seed for c in mine}
        ]
        error = statistics.stdev(by_seed) / math.sqrt(len(by_seed)) if len(by_seed) > 1 else math.nan
        rows.append(
            (
                task, len(mine), f"{statistics.fmean(gaps):+.2f}", f"{error:.2f}", f"{statistics.fmean(naive):+.2f}",
                met(abs(statistics.fmean(gaps)) <= 0.5), f"{100 * statistics.fmean(within):.0f} %",
            )
        )  # fmt: skip
    titles = (
        "task",
        "circuits",
        "test − promised, points",
        "s.e. over seeds",
        "test − cross-validated",
        "within ±0.5",
        "inside the interval",
    )
    if not rows:
        return ["Not run.\n"]
    share = statistics.fmean(all_within)
    return [table(titles, rows), f"Inside the interval: **{100 * share:.1f} %** (target 90 %): {met(share >= 0.9)}.\n"]


def one_study(task: str, tasks: Path, split: str, seed: int, families: Sequence[str]) -> tuple[list[Choice], float]:
    """Return what rules choose for *task* with one *seed*, and the seconds of CPU time that it took."""
    graph, _, rows, _ = coded(task, tasks)
    with clock() as taken:
        found = choices(task, graph, rows if split == "given" else rows.drawn(seed), seed, split, families)
    return found, taken.cpu


def main() -> None:
    """Choose, score on test rows once, and write the result."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--seeds", type=int, default=5, help="of the folds, from 0 on")
    parser.add_argument("--drawn", type=int, default=5, help="divisions of rows that promises are tried on")
    parser.add_argument("--families", default=",".join(TRIED), help="families of recipes")
    parser.add_argument("--only", default=",".join(TASKS), help="tasks, in their order")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--kept", type=Path, metavar="FILE", help="choices made so far: goes on where it was stopped")
    parser.add_argument(
        "--seconds", type=float, default=1e9, help="begin nothing new after so long, and write what is there"
    )
    asked = parser.parse_args()
    need_tasks(asked.tasks)
    families = tuple(asked.families.split(","))
    found: list[Choice] = []
    seconds: dict[str, float] = {}
    if asked.kept and asked.kept.is_file():
        before = json.loads(asked.kept.read_text(encoding="utf-8"))
        found, seconds = [Choice(**entry) for entry in before["choices"]], before["seconds"]
    done = {(c.task, c.seed, c.split) for c in found}
    tasks = asked.only.split(",")
    known = {task: coded(task, asked.tasks) for task in tasks}
    end = time.monotonic() + asked.seconds
    counts = {"given": asked.seeds, "drawn": asked.drawn}
    todo = [(s, n, t) for s, most in counts.items() for n in range(most) for t in tasks if (t, n, s) not in done]
    with ProcessPoolExecutor(asked.jobs) as pool:
        running = {}
        while todo or running:
            while todo and len(running) < asked.jobs and time.monotonic() < end:
                split, seed, task = todo.pop(0)
                running[pool.submit(one_study, task, asked.tasks, split, seed, families)] = (task, seed, split)
            if not running:
                break
            ready = next(as_completed(running))
            task, seed, split = running.pop(ready)
            more, taken = ready.result()
            found += more
            seconds[task] = seconds.get(task, 0.0) + taken
            note(f"{task}, seed {seed}, {split} split: {taken:.1f} s of CPU time")
            if asked.kept:
                known_now = {"choices": [asdict(c) for c in found], "seconds": seconds}
                asked.kept.write_text(json.dumps(known_now), encoding="utf-8")
    found.sort(key=lambda choice: choice.seed)
    notes = [line for task in tasks for line in known[task][3]]
    for task in tasks:
        rows = known[task][2]
        share = float((rows.test_labels == np.bincount(rows.labels).argmax()).mean())
        lowest = min((c for c in found if c.task == task and c.aim in AIMS), key=lambda c: c.test, default=None)
        notes += [] if lowest is None else no_better(f"{task}: {lowest.recipe}", lowest.test, share, "test rows")
    for split, most in counts.items():
        seeds = {task: len({c.seed for c in found if c.task == task and c.split == split}) for task in tasks}
        short = [f"{task} {count} of {most} seeds" for task, count in seeds.items() if count < most]
        notes += [f"not complete, rows {split}: {', '.join(short)}"] if short else []
    spent = ", ".join(f"{task} {value:.0f}" for task, value in seconds.items())
    write(
        "decision_logic",
        [
            "# Decision logic for the five tasks, chosen by the honest rule\n",
            command(),
            f"Families {', '.join(families)} on 4-bit codes (`quantize-inputs`), recipes as `search` has them; five folds",
            "of the training rows choose the recipe, all training rows fit its circuit, once. Of recipes whose estimated area is",
            f"at most {NEAR:g} times the least, {MOST_NEAR} are synthesised, and the smallest is taken. Of pendigits, whose",
            "classes have no order, no scores are tried.",
            "Test rows score it once. Areas: its Verilog by the reference recipe, `egfet` at 1.0 V; converters are in (c) alone.",
            f"{machine()} CPU seconds: {spent}.\n",
            *(f"- {line}" for line in notes),
            "\n## Areas\n",
            "(a): at the accuracy of the published DATE 2024 circuits. (b): at that of our own `printed-calibrated` circuits.",
            "(c): the system at the accuracies of (a): comparators of thresholds and logic (families without",
            f"{', '.join(WHOLE_CODES)}), against the published circuits with a flash converter for each input that they read.\n",
            *(line for rule in RULES for line in areas(found, rule)),
            "## Anchors\n",
            f"(d): rule {ANCHOR_RULE} at the accuracies of published ternary networks, a front picked on its test rows (another",
            "split, another synthesis at 0.6 V: their areas make no ratio).\n",
            *anchors(found),
            "## Promises\n",
            f"{TARGETS} targets a task and division, between the most frequent class and the best recipe, rule S.",
            "Training and test rows are divided anew, so that they are alike and a promise can be held to what comes.",
            "Nothing of this chose a circuit above.\n",
            *calibration(found, "drawn"),
        ],
    )


if __name__ == "__main__":
    main()
