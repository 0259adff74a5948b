"""Selection by two objectives under a constraint: non-dominated ranks, crowding distances, NSGA-II, tournaments.

Everything is integers and exact, so that the outcome is the same on every machine. ``objectives`` is int64, N × 2,
both to be least and none negative; ``violations`` is int64, N: 0 where the constraint is met, else by how much it is
not. An individual with a smaller violation comes before any with a larger one, whatever their objectives (Deb, 2000);
among equal violations NSGA-II decides (Deb et al., 2002). A copy is an individual whose objectives and violation
stand at a lower index already. Equal ones keep the order in which they were given.
"""

from __future__ import annotations

import numba
import numpy as np

COPY = -1
"""Crowding distance of a copy: less than that of anything that is none."""

FARTHEST = np.iinfo(np.int64).max
"""Crowding distance of both ends of a rank."""


def non_dominated_ranks(objectives: np.ndarray, violations: np.ndarray) -> np.ndarray:
    """Return the rank of every individual (int64, N): 0 where nothing dominates it, 1 once those are gone, and so on."""
    return ranks_and_crowding(objectives, violations)[0]


def ranks_and_crowding(objectives: np.ndarray, violations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ranks (int64, N) and crowding distances within them (int64, N: larger is lonelier)."""
    objectives, violations = _plain(objectives, violations)
    by_value = np.lexsort((objectives[:, 1], objectives[:, 0], violations))
    return _ranks_and_crowding(by_value, objectives, violations)


def best_first(objectives: np.ndarray, violations: np.ndarray) -> np.ndarray:
    """Return the indices (int64, N) by rank, then loneliest first, then as given."""
    ranks, crowding = ranks_and_crowding(objectives, violations)
    return np.lexsort((~crowding, ranks))  # ~c orders like -c, and exists for every c


def select_nsga2(objectives: np.ndarray, violations: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of the *count* that survive, best first.

    Copies survive only where too few different ones are left: integer objectives take few values, and a population
    of copies of one individual explores nothing.
    """
    ranks, crowding = ranks_and_crowding(objectives, violations)
    return np.lexsort((~crowding, ranks, crowding == COPY))[:count]


def tournament(size: int, count: int, generator: np.random.Generator) -> np.ndarray:
    """Return the winners (int64, *count*) of binary tournaments within a population of *size* that stands best first."""
    return generator.integers(0, size, size=(2, count)).min(axis=0)


def non_dominated(objectives: np.ndarray, violations: np.ndarray) -> np.ndarray:
    """Return the indices of rank 0 without copies, by rising first objective."""
    ranks, crowding = ranks_and_crowding(objectives, violations)
    found = np.flatnonzero((ranks == 0) & (crowding != COPY))
    return found[np.lexsort((objectives[found, 1], objectives[found, 0]))]


def _plain(objectives: np.ndarray, violations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both as the kernels take them: one memory layout is one compilation."""
    return np.ascontiguousarray(objectives, dtype=np.int64), np.ascontiguousarray(violations, dtype=np.int64)


@numba.njit(cache=True, nogil=True)
def _ranks_and_crowding(by_value, objectives, violations):  # type: ignore[no-untyped-def]
    """Walk the individuals by violation, first and second objective: whatever dominates one stands before it."""
    count = by_value.size
    ranks = np.empty(count, np.int64)
    crowding = np.empty(count, np.int64)
    last = np.empty(count, np.int64)  # of every rank of this violation: its least second objective, which rises by rank
    base = open_ranks = 0
    for position in range(count):
        i = by_value[position]
        crowding[i] = 0
        if position:
            before = by_value[position - 1]
            if violations[i] != violations[before]:
                base, open_ranks = base + open_ranks, 0
            elif objectives[i, 0] == objectives[before, 0] and objectives[i, 1] == objectives[before, 1]:
                ranks[i] = ranks[before]
                crowding[i] = COPY
                continue
        low, high = 0, open_ranks
        while low < high:
            middle = (low + high) >> 1
            if last[middle] <= objectives[i, 1]:
                low = middle + 1
            else:
                high = middle
        last[low] = objectives[i, 1]
        open_ranks = max(open_ranks, low + 1)
        ranks[i] = base + low
    _crowd(by_value, objectives, ranks, base + open_ranks, crowding)
    return ranks, crowding


@numba.njit(cache=True, nogil=True)
def _crowd(by_value, objectives, ranks, rank_count, crowding):  # type: ignore[no-untyped-def]
    """Fill in the distance of each from its two neighbours in its rank, each objective by its range: no division.

    d/r + e/s is ordered like d·s + e·r. Second objectives lose low bits where that would not fit 63 bits.
    """
    count = by_value.size
    start = np.zeros(rank_count + 1, np.int64)
    for i in range(count):
        if crowding[i] != COPY:
            start[ranks[i] + 1] += 1
    for rank in range(rank_count):
        start[rank + 1] += start[rank]
    members = np.empty(start[rank_count], np.int64)
    filled = start.copy()
    for position in range(count):
        i = by_value[position]
        if crowding[i] != COPY:
            members[filled[ranks[i]]] = i
            filled[ranks[i]] += 1
    for rank in range(rank_count):
        first, end = start[rank], start[rank + 1]
        left, right = members[first], members[end - 1]
        first_range = objectives[right, 0] - objectives[left, 0]
        second_range = objectives[left, 1] - objectives[right, 1]
        drop = 0
        while first_range and (second_range >> drop) > (np.int64(1) << np.int64(61)) // first_range:
            drop += 1
        crowding[left] = FARTHEST
        crowding[right] = FARTHEST
        for position in range(first + 1, end - 1):
            before, after = members[position - 1], members[position + 1]
            wide = objectives[after, 0] - objectives[before, 0]
            high = (objectives[before, 1] - objectives[after, 1]) >> drop
            crowding[members[position]] = wide * (second_range >> drop) + high * first_range
