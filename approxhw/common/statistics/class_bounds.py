"""A bound on what any class may lose: how many wrong rows of each class that allows, and by how many it is passed."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np


@dataclass(frozen=True, eq=False)
class ClassBound:
    """The most wrong rows that each class may have; ``labels``: class indices (int64, R) of the rows that judge.

    ``allowed``: int64, classes. ``loss``: the share of its rows that a class may lose against the reference.
    """

    labels: np.ndarray
    reference: np.ndarray
    """Wrong rows of the reference, by class (int64, classes)."""
    allowed: np.ndarray
    loss: float

    def wrong(self, answers: np.ndarray) -> np.ndarray:
        """Return the wrong rows of each class (int64, classes) of *answers* (class indices, R)."""
        return wrong_by_class(self.labels, answers, len(self.allowed))

    def excess(self, wrong: np.ndarray) -> np.ndarray:
        """Return by how many rows the bound is passed (int64) where *wrong* (… × classes) rows of each class are wrong."""
        passed: np.ndarray = np.maximum(wrong - self.allowed, 0).sum(axis=-1)
        return passed

    def counted(self, wrong: np.ndarray, allowed_errors: int) -> np.ndarray:
        """Return how many errors *wrong* (… × classes) counts for: what passes the bound counts as beyond *allowed_errors*, too.

        So whoever holds errors alone against what is allowed holds the classes, too, and sees by how many rows they miss it.
        """
        errors, passed = wrong.sum(axis=-1), self.excess(wrong)
        counted: np.ndarray = np.where(passed > 0, np.maximum(errors, allowed_errors) + passed, errors)
        return counted

    def losses(self, wrong: np.ndarray) -> np.ndarray:
        """Return the share of its rows that each class loses against the reference (float64, classes); NaN without rows."""
        rows = np.bincount(self.labels, minlength=len(self.allowed)).astype(np.float64)
        found: np.ndarray = (wrong - self.reference) / np.where(rows > 0, rows, np.nan)
        return found


def class_bound(labels: np.ndarray, reference: np.ndarray, loss: float) -> ClassBound:
    """Return the bound of *loss* on rows of *labels* (class indices, R) to which the reference gives answers (R), exactly.

    A class without rows can lose none.
    """
    classes = int(labels.max(initial=-1)) + 1
    wrong, rows = wrong_by_class(labels, reference, classes), np.bincount(labels, minlength=classes)
    share = Fraction(repr(float(loss)))
    allowed = [int(errors + share * count) for errors, count in zip(wrong.tolist(), rows.tolist(), strict=True)]
    return ClassBound(labels, wrong, np.array(allowed, dtype=np.int64), float(loss))


def wrong_by_class(labels: np.ndarray, answers: np.ndarray, classes: int) -> np.ndarray:
    """Return how many rows of each of so many *classes* get another answer than their label (int64, classes)."""
    return np.bincount(labels[labels != answers], minlength=classes)
