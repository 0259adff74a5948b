"""Short lists: of many circuits those near what was asked for, and of a front those that tell the most of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


def nearest(gains: Sequence[float], aims: Sequence[float], count: int) -> list[int]:
    """Return at most *count* places, ascending: half of them those nearest to the *aims*, the others evenly over all *gains*."""
    order = sorted(range(len(gains)), key=lambda i: gains[i])
    if len(order) <= count:
        return sorted(order)
    chosen: set[int] = set()
    for number, aim in enumerate(aims, 1):
        by_distance = [i for i in sorted(order, key=lambda i: (abs(gains[i] - aim), i)) if i not in chosen]
        chosen.update(by_distance[: count * number // (2 * len(aims)) - len(chosen)])
    others = [i for i in order if i not in chosen]
    evenly = np.unique(np.linspace(0, len(others) - 1, count - len(chosen)).round().astype(np.int64))
    return sorted(chosen | {others[i] for i in evenly.tolist()})


def thinned(points: np.ndarray, count: int, wanted: set[int]) -> list[int]:
    """Return at most *count* places of a front (*points*: cost, accuracy lost, other costs; by rising cost), ascending.

    Those *wanted* stay. Of two objectives so do both ends, then what adds most accuracy over the one before. Of more, what
    is best in one of them stays, and the others go one after the other, always one of the two that lie nearest together.
    """
    kept = list(range(len(points)))
    gains = -points[:, 1]
    best = {int(i) for i in points.argmin(axis=0)} if len(points) else set()
    while len(kept) > max(1, count, len(wanted)):
        free = [k for k in range(len(kept)) if kept[k] not in wanted]
        if points.shape[1] == 2:
            inner = [k for k in free if 0 < k < len(kept) - 1] or free
            # what a place adds over the one before it is what is lost with it
            least = min(inner, key=lambda k: gains[kept[k]] - gains[kept[k - 1]] if k else 0.0)
        else:
            inner = [k for k in free if kept[k] not in best] or free
            least = min(inner, key=_distance(points[kept]))
        kept.pop(least)
    return kept


def _distance(points: np.ndarray) -> Callable[[int], float]:
    """Return what gives the distance of a point to its nearest neighbour, every objective counted by its range."""
    reach = np.ptp(points, axis=0)
    scaled = points / np.where(reach > 0, reach, 1)
    distances = np.sqrt(((scaled[:, None] - scaled[None]) ** 2).sum(axis=2))
    np.fill_diagonal(distances, np.inf)
    nearest = distances.min(axis=1)
    return lambda k: float(nearest[k])
