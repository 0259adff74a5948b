"""The written rule that keeps a class from being lost: what each class loses on rows that judge, and of whom that is too much.

Every class is judged by the rows, and by the curves, that judge all rows together. No standard errors are taken off: the worst of
several classes is a pessimist by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from approxhw.common.errors import shown
from approxhw.common.statistics.class_bounds import ClassBound, class_bound

from .decision_rule import Curve, accuracy_curve, mean_at


@dataclass(frozen=True, eq=False)
class AskedClasses:
    """What any class may lose: a share of its rows against the model.

    ``labels``: class indices of all training rows (int64, R); ``answers``: the model's own of each (int64, R). ``judging``: which
    of them pick winners (row numbers). ``names``: of the classes.
    """

    loss: float
    labels: np.ndarray
    answers: np.ndarray
    judging: np.ndarray
    names: tuple[str, ...] = ()

    @property
    def right(self) -> np.ndarray:
        """Whether the model is right on each training row (bool, R)."""
        return np.asarray(self.answers == self.labels)

    @property
    def classes(self) -> int:
        """How many there are, by the labels."""
        return int(self.labels.max(initial=-1)) + 1

    def bound(self, labels: np.ndarray, rows: np.ndarray | None = None) -> ClassBound:
        """Return the bound on the training rows of these numbers, whose labels are *labels*; None: on all."""
        answers = self.answers if rows is None else self.answers[rows]
        return class_bound(labels, answers, self.loss)

    def reference(self) -> np.ndarray:
        """Return the model's accuracy on the rows of each class that pick winners (float64, classes); NaN without any."""
        return shares_by_class(self.labels[self.judging], self.right[self.judging], self.classes)

    def notes(self) -> list[str]:
        """Return a line that names classes of which no row picks winners: nothing bounds them."""
        there = set(np.unique(self.labels[self.judging]).tolist())
        lacking = [self.names[i] if i < len(self.names) else str(i) for i in range(self.classes) if i not in there]
        if not lacking:
            return []
        named = ", ".join(shown(name, 40) for name in lacking[:8]) + (", …" if len(lacking) > 8 else "")
        return [f"no row that picks winners is of class {named}: what it loses there is not known, and not bounded"]

    def words(self) -> str:
        """Return the bound in words, behind those of the bound on all rows."""
        return f", and no class more than {100 * self.loss:g} %"


def shares_by_class(labels: np.ndarray, right: np.ndarray, classes: int) -> np.ndarray:
    """Return the share of the rows of each class (*labels*, R) that are *right* (bool, R): float64; NaN without rows."""
    rows = np.bincount(labels, minlength=classes).astype(np.float64)
    found: np.ndarray = np.bincount(labels[right], minlength=classes) / np.where(rows > 0, rows, np.nan)
    return found


def class_curves(costs: Sequence[float], wrong: np.ndarray, labels: np.ndarray) -> list[Curve | None]:
    """Return what circuits of these *costs* hold of each class on a fold's rows (*labels*); None of a class without rows.

    *wrong*: rows of each class that each of them gets wrong (int64, P × classes).
    """
    rows = np.bincount(labels, minlength=wrong.shape[1])
    return [
        accuracy_curve(costs, (1 - wrong[:, label] / count).tolist(), int(count)) if count else None
        for label, count in enumerate(rows.tolist())
    ]


def worst_expected(curves: Sequence[Sequence[Curve | None]], reference: np.ndarray, cost: float) -> float:
    """Return what the worst class is expected to lose in a circuit of this *cost*, by the *curves* of all folds by class.

    *reference*: the model's accuracy by class on the rows of all folds. −1 where no class has rows.
    """
    found = [-1.0]
    for label, held in enumerate(reference.tolist()):
        known = [curve for fold in curves if label < len(fold) and (curve := fold[label]) is not None]
        if known and np.isfinite(held):
            found.append(held - mean_at(known, cost))
    return max(found)


def class_margins(asked: AskedClasses, right: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return by how much each of P circuits keeps within the bound of each class that has rows (float64, classes × P).

    *right*: bool, P × R, on the training rows of these numbers (*rows*, R), which none of the circuits has learnt from.
    """
    labels, reference = asked.labels[rows], asked.right[rows]
    return np.array(
        [
            right[:, labels == label].mean(axis=1) - reference[labels == label].mean() + asked.loss
            for label in np.unique(labels)
        ]
    )


def worst_loss(losses: np.ndarray) -> float:
    """Return the greatest of *losses* (float64, classes; NaN where a class has no rows); −1 where none has."""
    known = losses[np.isfinite(losses)]
    return float(known.max()) if len(known) else -1.0
