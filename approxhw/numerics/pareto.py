"""Pareto fronts of any number of objectives: ranks, crowding distances, NSGA-II, tournaments, fronts of measured figures.

``objectives`` is int64, N × M, all to be least and none negative; ``violations`` is int64, N: 0 where the constraint is
met, else by how much it is not. An individual with a smaller violation comes before any with a larger one, whatever
their objectives (Deb, 2000); among equal violations NSGA-II decides (Deb et al., 2002). A copy is an individual whose
objectives and violation stand at a lower index already; its crowding distance is negative. Equal ones keep the order in
which they were given.

Everything there is integers and exact, so that the outcome is the same on every machine.
"""

from __future__ import annotations

import numpy as np


def ranks_and_crowding(objectives: np.ndarray, violations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ranks (int64, N) and crowding distances within them (int64, N: larger is lonelier).

    With two objectives a distance is exact: d/r + e/s of both gaps by the ranges of the rank, times r · s (areas beyond
    2^30 lose low bits). With any other number it is the sum of the gaps in units of 2^-30 of the ranges, rounded down.
    """
    from . import _kernel_pareto as kernel

    objectives, violations = _plain(objectives, violations)
    by_value = np.lexsort((*objectives.T[::-1], violations))
    walk = kernel.two_objectives if objectives.shape[1] == 2 else kernel.any_objectives
    ranks, crowding = walk(by_value, objectives, violations)
    return ranks, crowding


def select_nsga2(objectives: np.ndarray, violations: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of the *count* that survive, best first.

    Copies survive only where too few different ones are left: integer objectives take few values, and a population
    of copies of one individual explores nothing.
    """
    ranks, crowding = ranks_and_crowding(objectives, violations)
    return np.lexsort((~crowding, ranks, crowding < 0))[:count]


def tournament(size: int, count: int, generator: np.random.Generator) -> np.ndarray:
    """Return the winners (int64, *count*) of binary tournaments within a population of *size* that stands best first."""
    winners: np.ndarray = generator.integers(0, size, size=(2, count)).min(axis=0)
    return winners


def non_dominated(objectives: np.ndarray, violations: np.ndarray) -> np.ndarray:
    """Return the indices of rank 0 without copies, by rising first objective, then by the others in turn."""
    ranks, crowding = ranks_and_crowding(objectives, violations)
    found = np.flatnonzero((ranks == 0) & (crowding >= 0))
    return found[by_objectives(objectives[found])]


def by_objectives(objectives: np.ndarray) -> np.ndarray:
    """Return the order of *objectives* (N × M) by rising first one, then by the others in turn."""
    return np.lexsort(np.asarray(objectives).T[::-1])


def pareto_front(points: np.ndarray) -> list[int]:
    """Return which of *points* (real numbers, N × M, all to be least) no other one beats; the first of equal ones.

    They stand by rising first figure, then by the others in turn.
    """
    points = np.asarray(points, dtype=np.float64)
    if not len(points):
        return []
    # the place of a figure among all of its kind says as much as the figure
    places = [np.unique(column, return_inverse=True)[1].reshape(-1) for column in points.T]
    return non_dominated(np.stack(places, axis=1), np.zeros(len(points), np.int64)).tolist()


def layers_of_front(points: np.ndarray, count: int) -> list[int]:
    """Return at least *count* of *points* (N × M, as above) that few others beat, if there are as many: front after front."""
    points = np.asarray(points, dtype=np.float64)
    left = np.arange(len(points))
    listed: list[int] = []
    while len(left) and len(listed) < count:
        front = pareto_front(points[left])
        listed += left[front].tolist()
        left = np.delete(left, front)
    return listed


def _plain(objectives: np.ndarray, violations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both as the kernels take them: one memory layout is one compilation."""
    return np.ascontiguousarray(objectives, dtype=np.int64), np.ascontiguousarray(violations, dtype=np.int64)
