"""The safety report of a compiled model: what is asked of it, and how it is put together from answers, whatever the target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from approxhw.common.arguments import settle_fields
from approxhw.common.errors import OptionError, Problem, shown
from approxhw.common.statistics.changes import changes_of, flips_of
from approxhw.common.statistics.safety import FormChange, SafetyReport
from approxhw.common.statistics.subgroups import (
    MOST_FEATURES,
    Answers,
    PartChange,
    column_parts,
    parts_by,
    quarter_parts,
    worst_first,
)

if TYPE_CHECKING:
    from approxhw.common.data.row_groups import RowGroups
    from approxhw.common.statistics.margins import MarginShift

ROWS_OF = {"train": "training rows", "test": "test rows", "rows": "rows of the data"}
"""What the rows of a split are called; ``rows``: of data that comes in one split."""

MOST_QUARTERS, MOST_GROUPS, MOST_NAMED = 8, 64, 8
"""Quarters of features, and groups of a user's column, that are kept, those that most surely lose most; names in a note."""

CLASS_LOSS = 0.03
"""What a class may lose before it is told, where nothing else is asked for."""


@dataclass(frozen=True)
class SafetyOptions:
    """What the safety report marks, and whether it looks at each layer alone; nothing is chosen by it."""

    max_accuracy_loss: float = field(
        default=0.01,
        metadata={"help": "of the safety report: what all rows may lose against the model, absolute", "unit": "share"},
    )
    max_class_loss: float = field(
        default=CLASS_LOSS,
        metadata={"help": "of the safety report: what a class may lose before it is told in red", "unit": "share"},
    )
    sensitivity: bool = field(
        default=False,
        metadata={
            "help": "tell what each layer harms when it alone is approximated: a run of some rows a layer",
            "engines_only": True,
        },
    )

    def __post_init__(self) -> None:
        """Refuse what is no share."""
        settle_fields(self, "safety")
        found = [
            Problem(name, f"{getattr(self, name)!r} is not in 0…1", "give a share, such as 3% or 0.03")
            for name in ("max_accuracy_loss", "max_class_loss")
            if not 0 <= getattr(self, name) <= 1
        ]
        if found:
            raise OptionError("safety", found)


@dataclass(frozen=True, eq=False)
class Subgrouped:
    """What parts the rows into subgroups: a user's column, or quarters of features.

    ``titles``: of the features; ``values``: by split, R × features.
    """

    titles: Sequence[str] = ()
    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    column: RowGroups | None = None


def safety_report(
    asked: SafetyOptions,
    answers: Mapping[str, Answers],
    classes: Sequence[str],
    against: str,
    subgroups: Subgrouped | None = None,
    margins: MarginShift | None = None,
    steps: Sequence[tuple[str, np.ndarray]] = (),
) -> SafetyReport | None:
    """Return what approximating does to classes and subgroups of rows; None without rows.

    *answers*: by split, those that judge first. *classes*: names by class index. *against*: whose answers stand before.
    *steps*: what was done, and the answers to the first rows that judge after it.
    """
    known = {split: each for split, each in answers.items() if each.rows}
    if not known:
        return None
    judging, judged = next(iter(known.items()))
    names = [*classes, *map(str, range(len(classes), 1 + max(int(each.labels.max()) for each in known.values())))]
    (whole,) = parts_by(["all rows"], known, {split: np.zeros(each.rows, np.int64) for split, each in known.items()})
    parts = tuple(parts_by(names, known, {split: each.labels for split, each in known.items()}))
    notes = _unknown(parts, "class", ROWS_OF[judging])
    groups, seen, by = _subgroups(subgroups or Subgrouped(), known, notes, ROWS_OF[judging])
    return SafetyReport(
        against=against,
        judged_by=ROWS_OF[judging],
        told_by=next((ROWS_OF[split] for split in known if split != judging), ""),
        whole=whole,
        classes=parts,
        flips=flips_of(judged.before, judged.after),
        max_accuracy_loss=asked.max_accuracy_loss,
        max_class_loss=asked.max_class_loss,
        groups_by=by,
        groups_seen=seen,
        groups=groups,
        margins=margins,
        steps=tuple(form_change(name, judged, after, names) for name, after in steps),
        notes=tuple(notes),
    )


def form_change(name: str, judged: Answers, after: np.ndarray, classes: Sequence[str]) -> FormChange:
    """Return what the answers *after* (class indices, of the first rows of *judged*) do to all rows and to the worst class."""
    labels, before = judged.labels[: len(after)], judged.before[: len(after)]
    (whole,) = changes_of(labels, before, after)
    parts = list(zip(classes, changes_of(labels, before, after, labels, len(classes)), strict=True))
    title, worst = max(parts, key=lambda part: part[1].loss if part[1].rows else -2.0)
    return FormChange(name, whole, title, worst)


def _subgroups(
    asked: Subgrouped, known: Mapping[str, Answers], notes: list[str], rows: str
) -> tuple[tuple[PartChange, ...], int, str]:
    """Return the subgroups that most surely lose most, how many were looked at, and what parts them."""
    column = asked.column
    if column is not None:
        halves = {"train": column.train, "test": column.test, "rows": column.test}
        found = list(column_parts(column.title, {split: halves[split] for split in known}, known))
        notes += _unknown(found, "group", rows)
        if len(found) > MOST_GROUPS:
            notes.append(f"{len(found)} groups; the {MOST_GROUPS} that most surely lose most are told")
        return tuple(worst_first(found)[:MOST_GROUPS]), len(found), f"the column {column.title}"
    if not asked.values:
        return (), 0, ""
    titles = asked.titles
    if len(titles) > MOST_FEATURES:
        notes.append(f"quarters of the first {MOST_FEATURES} of {len(titles)} features were looked at")
    found = list(quarter_parts(titles, {split: asked.values[split] for split in known}, known))
    by = f"quarters of {'a feature' if len(titles) == 1 else f'each of {min(len(titles), MOST_FEATURES)} features'}"
    return tuple(worst_first(found)[:MOST_QUARTERS]), len(found), by


def _unknown(parts: Sequence[PartChange], what: str, rows: str) -> list[str]:
    """Return a line that names the parts without a row that judges, where there are any."""
    lacking = [shown(part.name, 40) for part in parts if not part.judged.rows]
    if not lacking:
        return []
    named = ", ".join(lacking[:MOST_NAMED]) + (", …" if len(lacking) > MOST_NAMED else "")
    return [f"no {rows.replace('rows', 'row', 1)} is of {what} {named}: what it loses is not known"]


def feature_titles(names: Sequence[tuple[str, int]]) -> Iterator[str]:
    """Yield a title for each number of inputs of so many numbers a row: the input's name, and its place where it has several."""
    for name, count in names:
        yield from [name] if count == 1 else (f"{name}[{place}]" for place in range(count))
