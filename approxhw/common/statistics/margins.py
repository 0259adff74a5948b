"""By how much a winner wins: margins of scores, and how approximating moves their distribution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SHARES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95)
"""Of the rows, that have at most the margin told."""


@dataclass(frozen=True)
class MarginShift:
    """Margins that so many ``shares`` of ``rows`` rows do not exceed, ``before`` and ``after`` approximating.

    In standard deviations of all scores of the model that gave them: a factor common to all scores decides nothing.
    """

    shares: tuple[float, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]
    rows: int


class GatheredMargins:
    """Margins of scores that come batch by batch; of the scores nothing is kept but sums."""

    def __init__(self) -> None:
        """Begin without rows."""
        self.parts: list[np.ndarray] = []
        self.count, self.sum, self.squares = 0, 0.0, 0.0

    def add(self, scores: np.ndarray) -> None:
        """Add *scores* (R × anything: the scores of a row): a model's answers, NaN and infinities among them."""
        if not scores.size:
            return
        flat = scores.reshape(len(scores), -1).astype(np.float64)
        whole = np.isfinite(flat).all(axis=1)
        known, found = flat[whole], np.full(len(flat), np.nan)
        if flat.shape[1] == 1:
            found[whole] = np.abs(known[:, 0])
        elif len(known):
            best = np.partition(known, -2, axis=1)
            found[whole] = best[:, -1] - best[:, -2]
        self.parts.append(found)
        self.count, self.sum = self.count + known.size, self.sum + float(known.sum())
        self.squares += float((known * known).sum())

    def all(self) -> np.ndarray:
        """Return the margin of every row (float64, R), in standard deviations of all scores."""
        found = np.concatenate(self.parts) if self.parts else np.zeros(0)
        mean = self.sum / max(1, self.count)
        spread = np.sqrt(max(0.0, self.squares / max(1, self.count) - mean * mean))
        return found / spread if spread > 0 else found


def margins_of(scores: np.ndarray) -> np.ndarray:
    """Return the winner's score less the runner-up's for every row of *scores* (R × classes): float64, R.

    In standard deviations of all *scores*. Of one score a row, whose sign is the answer: its distance from 0. NaN where a
    score of the row is NaN or infinite.
    """
    gathered = GatheredMargins()
    gathered.add(scores)
    return gathered.all()


def margin_shift(before: np.ndarray, after: np.ndarray) -> MarginShift | None:
    """Return how margins (float64, R) moved; rows where either is NaN are left out. None where no row is left."""
    whole = np.isfinite(before) & np.isfinite(after)
    if not whole.any():
        return None
    told = [tuple(np.quantile(each[whole], SHARES).tolist()) for each in (before, after)]
    return MarginShift(SHARES, told[0], told[1], int(whole.sum()))
