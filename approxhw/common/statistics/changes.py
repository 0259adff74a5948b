"""What became of rows that got other answers: right before and after, lost and gained, class by class, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

LEVEL = 1.96
"""Standard errors to either side of a loss: the interval holds 95 % of what new rows would say."""

MOST_FLIPS = 400
"""Pairs of classes that are told at most, the most frequent first."""


@dataclass(frozen=True)
class RowChange:
    """What became of ``rows`` rows: how many were right ``before``, and what an approximation changed of their answers.

    ``lost``: right before, wrong now; ``gained``: wrong before, right now; ``changed``: of another class than before.
    """

    rows: int
    before: int
    lost: int
    gained: int
    changed: int

    @property
    def after(self) -> int:
        """How many are right now."""
        return self.before - self.lost + self.gained

    @property
    def loss(self) -> float:
        """Share of the rows that are right no longer, those that became right taken off; 0 without rows."""
        return (self.lost - self.gained) / self.rows if self.rows else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the 95 % interval of :attr:`loss`; −1 to 1 without rows.

        Paired shares with half a row added to each of the four cells (Agresti and Min, Statistics in Medicine 24, 2005): rows
        that nobody lost are no proof that none will be.
        """
        if not self.rows:
            return -1.0, 1.0
        rows, moved = self.rows + 2, self.lost + self.gained + 1
        loss = (self.lost - self.gained) / rows
        reach = LEVEL * math.sqrt(max(0.0, moved - loss * loss * rows)) / rows
        return max(-1.0, loss - reach), min(1.0, loss + reach)

    @property
    def possible(self) -> bool:
        """Whether such rows can be: what is read from a file may have been written by anybody."""
        counts = (self.rows, self.before, self.lost, self.gained, self.changed)
        moved = self.lost + self.gained <= self.changed <= self.rows
        return min(counts) >= 0 and self.lost <= self.before <= self.rows - self.gained and moved


def changes_of(
    labels: np.ndarray, before: np.ndarray, after: np.ndarray, groups: np.ndarray | None = None, count: int = 1
) -> tuple[RowChange, ...]:
    """Return what became of the rows of each of *count* groups when answers changed from *before* to *after*.

    *labels*, *before*, *after*: class indices (integers, R). *groups*: of each row its group, 0 … *count* − 1; a row of any
    other number counts nowhere. Without them all rows are one group.
    """
    groups = np.zeros(len(labels), dtype=np.int64) if groups is None else groups
    counted = (groups >= 0) & (groups < count)
    was, is_now = before == labels, after == labels
    marks = (np.ones(len(labels), dtype=bool), was, was & ~is_now, ~was & is_now, before != after)
    sums = [np.bincount(groups[counted & mark], minlength=count).tolist() for mark in marks]
    return tuple(RowChange(*told) for told in zip(*sums, strict=True))


def flips_of(before: np.ndarray, after: np.ndarray) -> tuple[tuple[int, int, int], ...]:
    """Return (class before, class after, rows) of rows (class indices, R) that changed, the most frequent pairs first.

    At most :data:`MOST_FLIPS` of them: with the rows that did not change they are the matrix of answers before and after.
    """
    moved = before != after
    pairs, counts = np.unique(np.stack([before[moved], after[moved]], axis=1), axis=0, return_counts=True)
    order = np.lexsort((pairs[:, 1], pairs[:, 0], -counts))[:MOST_FLIPS]
    return tuple((int(pairs[i, 0]), int(pairs[i, 1]), int(counts[i])) for i in order.tolist())
