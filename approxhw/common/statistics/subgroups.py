"""Which rows lose most: subgroups by quarters of each feature, or by the values of a column that a user names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .changes import RowChange, changes_of

QUARTERS = (0.25, 0.5, 0.75)
MOST_VALUES = 12
"""Different numbers of a column that are groups of their own; of more, its quarters are."""
MOST_FEATURES = 4096
"""Features whose quarters are looked at, the first ones."""


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers of two models to the same rows, all of them class indices (int64, R), and what is right."""

    labels: np.ndarray
    before: np.ndarray
    after: np.ndarray

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.labels)


@dataclass(frozen=True)
class PartChange:
    """A class, or a subgroup of rows: what became of it on the rows that judge, and on those told beside, where there are any."""

    name: str
    judged: RowChange
    told: RowChange | None = None


def parts_by(
    names: Sequence[str], answers: Mapping[str, Answers], groups: Mapping[str, np.ndarray]
) -> Iterator[PartChange]:
    """Yield what became of every group of *names*; *answers*, *groups* (int64, R): by split, the one that judges first."""
    found = [
        changes_of(each.labels, each.before, each.after, groups[split], len(names)) for split, each in answers.items()
    ]
    for number, name in enumerate(names):
        yield PartChange(name, found[0][number], found[1][number] if len(found) > 1 else None)


def quarter_parts(
    titles: Sequence[str], values: Mapping[str, np.ndarray], answers: Mapping[str, Answers]
) -> Iterator[PartChange]:
    """Yield what became of the rows in each quarter of each feature; ends of quarters are those of the rows that judge.

    *values*: by split, the one that judges first, R × features, numbers. A feature that never changes has no quarters; one of
    few values has as many parts as its quarters' ends tell apart.
    """
    judged = next(iter(values.values()))
    for number, title in enumerate(titles[:MOST_FEATURES]):
        column = judged[:, number]
        ends = np.unique(np.quantile(column, QUARTERS, method="lower")) if len(column) else np.zeros(0)
        ends = ends[ends < column.max(initial=-np.inf)]
        if not len(ends):
            continue
        groups = {split: np.searchsorted(ends, each[:, number], side="left") for split, each in values.items()}
        yield from parts_by(_quarter_names(title, ends.tolist()), answers, groups)


def _quarter_names(title: str, ends: Sequence[float]) -> list[str]:
    told = [f"{end:.4g}" for end in ends]
    middle = [f"{title}: above {low} up to {high}" for low, high in pairwise(told)]
    return [f"{title}: up to {told[0]}", *middle, f"{title}: above {told[-1]}"]


def column_parts(title: str, values: Mapping[str, np.ndarray], answers: Mapping[str, Answers]) -> Iterator[PartChange]:
    """Yield what became of the rows of each value of the column *title*; of many numbers, of each of its quarters.

    *values*: by split, the one that judges first, R texts or numbers.
    """
    known = np.unique(np.concatenate(list(values.values())))
    if known.dtype.kind in "fiu" and len(known) > MOST_VALUES:
        yield from quarter_parts([title], {split: each[:, None] for split, each in values.items()}, answers)
        return
    groups = {split: np.searchsorted(known, each) for split, each in values.items()}
    yield from parts_by([f"{title}: {_value(value)}" for value in known.tolist()], answers, groups)


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def worst_first(parts: Sequence[PartChange]) -> list[PartChange]:
    """Return *parts* by what they surely lose: the lower end of the interval on the rows that judge, the greatest first.

    A loss of few rows may be chance, and of many groups some lose by chance alone: their losses themselves would name those.
    """
    return sorted(parts, key=lambda part: (-part.judged.interval[0], -part.judged.loss))
