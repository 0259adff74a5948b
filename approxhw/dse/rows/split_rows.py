"""The rows of a search: checked, noted, and the training rows split, fold by fold, into searched on and picking winners."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from approxhw.common.data.dataset import Dataset, fold_rows
from approxhw.common.errors import InvalidDataError, Problem, shown
from approxhw.ir.graph import Graph
from approxhw.ir.kinds import Input

Split = tuple[np.ndarray, np.ndarray]
"""Readings (float64, rows × features) and class indices (int64, rows)."""


@dataclass(frozen=True, eq=False)
class SearchRows:
    """All rows, and for each fold the row numbers of the training rows that are searched on and that pick winners.

    No row picks winners in two folds; together the folds are what the winners are picked by.
    """

    data: Dataset
    folds: tuple[tuple[np.ndarray, np.ndarray], ...]
    notes: tuple[str, ...]
    """What is odd about the rows, but no error."""

    def splits(self, fold: int = 0) -> dict[str, Split]:
        """Return ``train`` (searched on), ``validation``, ``test``, and ``all``: every training row."""
        data = self.data
        fit, validation = self.folds[fold]
        return {
            "train": (data.X_train[fit], data.y_train[fit]),
            "validation": (data.X_train[validation], data.y_train[validation]),
            "test": (data.X_test, data.y_test),
            "all": (data.X_train, data.y_train),
        }

    def validated(self) -> np.ndarray:
        """Return the numbers of the training rows that pick winners in any fold, ascending."""
        return np.sort(np.concatenate([validation for _, validation in self.folds]))

    def searched(self, fold: int = 0) -> Dataset:
        """Return what passes may learn from: the training rows without those that pick winners."""
        fit, _ = self.folds[fold]
        return replace(self.data, X_train=self.data.X_train[fit], y_train=self.data.y_train[fit])


def search_rows(data: Dataset, graph: Graph, validation_share: float, seed: int, folds: int = 1) -> SearchRows:
    """Split the training rows of each class by *validation_share*, *folds* times; the same *seed* splits them the same way.

    Raises :class:`InvalidDataError` with everything that keeps these rows from being searched on.
    """
    labels, found = data.y_train, []
    if not len(labels):
        why = "there are no training rows, and a search learns from them"
        raise InvalidDataError(data.name, [Problem("X_train", why, "give X_train and y_train")])
    classes = np.unique(labels)
    if len(classes) == 1:
        why = f"all {len(labels)} training rows are of class {classes[0]}, and a wire would classify them"
        found.append(Problem("y_train", why, "give rows of at least two classes"))
    if len(labels) < graph.classes:
        why = f"{len(labels)} training rows for {graph.classes} classes"
        found.append(Problem("X_train", why, "give at least one row of each class; a hundred are better"))
    if found:
        raise InvalidDataError(data.name, found)
    splits = fold_rows(labels, validation_share, folds, seed)
    return SearchRows(data, tuple(splits), (*data.notes, *_notes(data, graph, classes)))


def _notes(data: Dataset, graph: Graph, classes: np.ndarray) -> tuple[str, ...]:
    op = graph.input.op
    assert isinstance(op, Input)
    titles = data.features or op.titles
    constant = np.flatnonzero((data.X_train == data.X_train[:1]).all(axis=0)).tolist()
    notes = []
    if constant:
        named = ", ".join(shown(titles[i], 40) for i in constant[:5]) + (", …" if len(constant) > 5 else "")
        are = "1 feature is" if len(constant) == 1 else f"{len(constant)} features are"
        notes.append(f"{are} the same in every training row: {named}")
    missing = sorted(set(range(graph.classes)) - set(classes.tolist()))
    if missing:
        notes.append(f"no training row is of class {', '.join(map(str, missing))}: circuits may never answer that")
    return tuple(notes)
