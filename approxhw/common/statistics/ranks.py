"""Statistics of order: Spearman's rank correlation and isotonic regression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Return Spearman's rank correlation of *a* and *b*; None where one of them is the same everywhere, or too short."""
    if len(a) < 3:
        return None
    first, second = _ranks(np.asarray(a)), _ranks(np.asarray(b))
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the rank of each value, the mean of their ranks for equal ones."""
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    _, group = np.unique(values, return_inverse=True)
    means: np.ndarray = (np.bincount(group, ranks) / np.bincount(group))[group]
    return means


def isotonic(values: Sequence[float]) -> list[float]:
    """Return the non-decreasing sequence nearest to *values* by least squares: neighbours that fall become their mean.

    Pool adjacent violators (Ayer et al., 1955).
    """
    blocks: list[tuple[float, int]] = []
    for value in values:
        mean, size = float(value), 1
        while blocks and blocks[-1][0] >= mean:
            before, count = blocks.pop()
            mean, size = (before * count + mean * size) / (count + size), count + size
        blocks.append((mean, size))
    return [mean for mean, size in blocks for _ in range(size)]
