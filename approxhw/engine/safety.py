"""The safety report of an engine: answers on training rows held against the model's, test rows beside, layers one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from approxhw.common.data.row_groups import RowGroups
from approxhw.common.errors import InvalidDataError, OptionError, Problem
from approxhw.common.statistics.margins import margin_shift
from approxhw.common.statistics.subgroups import MOST_FEATURES, Answers
from approxhw.flow.stages.safety import SafetyOptions, Subgrouped, feature_titles, form_change, safety_report

from .operands import LABELS, EngineAnswers, Feeds

if TYPE_CHECKING:
    from approxhw.common.statistics.safety import SafetyReport
    from approxhw.flow.stages.protocol import Clock
    from approxhw.ir.graph import Graph

JUDGED_ROWS = 512
"""Training rows that judge at most, and rows on which steps and layers are told: each of them is a run of its own."""

Run = Callable[["Graph", Feeds], EngineAnswers]
"""What a Graph says of rows."""


@dataclass(frozen=True, eq=False)
class SplitFeeds:
    """Rows by split, as a safety report judges by them: the split that judges first; none without labels.

    ``judged``: the first rows of that split. ``report``: the rows that an engine's accuracy is told of.
    """

    splits: Mapping[str, Feeds]
    judged: Feeds
    report: Feeds


def judging_feeds(train: Feeds, report: Feeds) -> SplitFeeds:
    """Return the first rows of *train* to judge by, where there are any, and *report* beside them."""
    some = train.some(JUDGED_ROWS)
    known = {"train": some, "test": report} if some.rows else {"rows": report}
    splits = {split: feeds for split, feeds in known.items() if feeds.rows and feeds.labels is not None}
    judged = next(iter(splits.values()), report)
    return SplitFeeds(splits, judged if judged.rows <= JUDGED_ROWS else judged.some(JUDGED_ROWS), report)


def check_judging(asked: SafetyOptions, feeds: SplitFeeds) -> None:
    """Raise an error where something is asked of rows that have no labels, or of no rows."""
    if not feeds.report.rows:
        if asked.sensitivity:
            why = "there are no rows to look at layers on"
            raise OptionError("safety", [Problem("sensitivity", why, "give labelled rows with --data")])
        return
    wanted = [
        name
        for name, given in (("groups", feeds.report.groups is not None), ("sensitivity", asked.sensitivity))
        if given
    ]
    if wanted and feeds.report.labels is None:
        why = f"it has no labels, and a safety report with {' and '.join(wanted)} counts right answers"
        raise InvalidDataError("data", [Problem(LABELS, why, "give class indices, one a row")])


@dataclass(frozen=True, eq=False)
class EngineForms:
    """The Graphs that a report compares: the model ``before``, the engine ``after``, and the ``steps`` between, by pass."""

    against: str
    before: Graph
    after: Graph
    steps: Sequence[tuple[str, Graph]]


def engine_safety(asked: SafetyOptions, feeds: SplitFeeds, forms: EngineForms, run: Run) -> SafetyReport | None:
    """Return the report of an engine; None without labelled rows. *run*: the same Graph on the same rows is asked for once."""
    known = feeds.splits
    if not known:
        return None
    before = {split: run(forms.before, each) for split, each in known.items()}
    after = {split: run(forms.after, each) for split, each in known.items()}
    answers = {}
    for split, each in known.items():
        assert each.labels is not None
        rows = len(after[split].classes)  # a model of fixed rows leaves some out
        answers[split] = Answers(each.labels[:rows], before[split].classes, after[split].classes)
    judging = next(iter(known))
    margins = before[judging].margins, after[judging].margins
    return safety_report(
        asked,
        answers,
        (),
        forms.against,
        _subgrouped(known, {split: each.rows for split, each in answers.items()}),
        None if margins[0] is None or margins[1] is None else margin_shift(margins[0], margins[1]),
        [(name, run(graph, feeds.judged).classes) for name, graph in forms.steps],
    )


def with_layers(
    report: SafetyReport | None,
    feeds: SplitFeeds,
    exact: Graph,
    against: str,
    alone: Sequence[tuple[str, Callable[[], Graph]]],
    run: Run,
    clock: Clock,
) -> SafetyReport | None:
    """Return *report* with what each layer harms *alone* (its name, and what makes the Graph), against the Graph *exact*."""
    if report is None:
        return None
    judged = feeds.judged
    assert judged.labels is not None
    before = run(exact, judged).classes
    labels = judged.labels[: len(before)]
    names = [part.name for part in report.classes]
    found = []
    with clock.step("sensitivity"):
        tell = clock.part("sensitivity")
        for number, (name, made) in enumerate(alone):
            tell(number, len(alone))
            found.append(form_change(name, Answers(labels, before, before), run(made(), judged).classes, names))
    notes = report.notes if alone else (*report.notes, "no layer is approximated: there is nothing to look at alone")
    return replace(report, layers=tuple(found), layers_against=against, notes=notes)


def _subgrouped(known: Mapping[str, Feeds], rows: Mapping[str, int]) -> Subgrouped:
    """Return the user's column, or the features: numbers of inputs that are no whole ones, such as tokens."""
    groups = {split: each.groups[: rows[split]] for split, each in known.items() if each.groups is not None}
    if groups:
        rest = next(iter(groups.values()))[:0]
        title = next(iter(known.values())).grouped_by
        return Subgrouped(
            column=RowGroups(title, groups.get("train", rest), groups.get("test", groups.get("rows", rest)))
        )
    first = next(iter(known.values()))
    read = [name for name, array in first.arrays.items() if array.dtype.kind == "f"]
    counts = [(name, math.prod(first.arrays[name].shape[1:])) for name in read]
    if not read:
        return Subgrouped()
    values = {
        split: np.concatenate([_flat(each.arrays[name][: rows[split]]) for name in read], axis=1)
        for split, each in known.items()
    }
    return Subgrouped(tuple(feature_titles(counts)), values)


def _flat(array: np.ndarray) -> np.ndarray:
    """Return rows × the first numbers of each."""
    return array.reshape(len(array), -1)[:, :MOST_FEATURES]
