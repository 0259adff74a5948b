"""Kernels of :mod:`approxhw.numerics.pareto`: non-dominated ranks and crowding distances, for two objectives and for any number.

Both walk the individuals by violation, then by their objectives in turn (``by_value``), so that whatever dominates one
stands before it. Ranks of one violation begin above those of the smaller one.
"""

from __future__ import annotations

import numba
import numpy as np

COPY = -1
"""Crowding distance of a copy: less than that of anything that is none."""

FARTHEST = np.iinfo(np.int64).max
"""Crowding distance of both ends of a rank, by each objective."""


@numba.njit(cache=True, nogil=True)
def two_objectives(
    by_value: np.ndarray, objectives: np.ndarray, violations: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
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
    _crowd_two(by_value, objectives, ranks, base + open_ranks, crowding)
    return ranks, crowding


@numba.njit(cache=True, nogil=True)
def _crowd_two(
    by_value: np.ndarray, objectives: np.ndarray, ranks: np.ndarray, rank_count: int, crowding: np.ndarray
) -> None:
    """Fill in the distance of each from its two neighbours in its rank, each objective by its range: no division.

    d/r + e/s is ordered like d·s + e·r. Second objectives lose low bits where that would not fit 63 bits.
    """
    start, members = _by_rank(by_value, ranks, rank_count, crowding)
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


@numba.njit(cache=True, nogil=True)
def _by_rank(
    by_value: np.ndarray, ranks: np.ndarray, rank_count: int, crowding: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return where every rank begins, and its members without copies, in the order of *by_value*."""
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
    return start, members


@numba.njit(cache=True, nogil=True)
def _dominates(objectives: np.ndarray, a: int, b: int) -> bool:
    """Say whether *a*, no copy of *b*, is nowhere worse than it."""
    for m in range(objectives.shape[1]):  # noqa: SIM110  (Numba knows no all() of a generator)
        if objectives[a, m] > objectives[b, m]:
            return False
    return True


@numba.njit(cache=True, nogil=True)
def any_objectives(
    by_value: np.ndarray, objectives: np.ndarray, violations: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return ranks and crowding distances: efficient non-dominated sort by binary search (Zhang et al., 2015, ENS-BS).

    Whoever has nobody above him in a rank has nobody in a later one either, for domination is transitive.
    """
    count, width = objectives.shape
    ranks = np.empty(count, np.int64)
    crowding = np.zeros(count, np.int64)
    last = np.empty(count, np.int64)  # of every rank of this violation, the member that came last …
    linked = np.empty(count, np.int64)  # … and of every member the one before
    base = open_ranks = 0
    for position in range(count):
        i = by_value[position]
        if position:
            before = by_value[position - 1]
            same = True
            for m in range(width):
                same = same and objectives[i, m] == objectives[before, m]
            if violations[i] != violations[before]:
                base, open_ranks = base + open_ranks, 0
            elif same:
                ranks[i] = ranks[before]
                crowding[i] = COPY
                continue
        low, high = 0, open_ranks
        while low < high:
            middle = (low + high) >> 1
            j = last[middle]
            while j >= 0 and not _dominates(objectives, j, i):
                j = linked[j]
            if j >= 0:
                low = middle + 1
            else:
                high = middle
        linked[i] = last[low] if low < open_ranks else -1
        last[low] = i
        open_ranks = max(open_ranks, low + 1)
        ranks[i] = base + low
    _crowd_any(by_value, objectives, ranks, base + open_ranks, crowding)
    return ranks, crowding


@numba.njit(cache=True, nogil=True)
def _crowd_any(
    by_value: np.ndarray, objectives: np.ndarray, ranks: np.ndarray, rank_count: int, crowding: np.ndarray
) -> None:
    """Fill in the sum of the gaps between the neighbours of each by every objective, in units of 2^-30 of its range."""
    start, members = _by_rank(by_value, ranks, rank_count, crowding)
    for rank in range(rank_count):
        own = members[start[rank] : start[rank + 1]]
        if len(own) < 3:
            for i in own:
                crowding[i] = FARTHEST
            continue
        for m in range(objectives.shape[1]):
            order = own[np.argsort(objectives[own, m], kind="mergesort")]
            left, right = order[0], order[-1]
            reach = objectives[right, m] - objectives[left, m]
            if not reach:
                continue  # who stands at the ends would be chance
            drop = 0
            while (reach >> drop) >= np.int64(1) << np.int64(32):
                drop += 1
            crowding[left] = FARTHEST
            crowding[right] = FARTHEST
            for position in range(1, len(order) - 1):
                i = order[position]
                gap = objectives[order[position + 1], m] - objectives[order[position - 1], m]
                if crowding[i] != FARTHEST:
                    crowding[i] += ((gap >> drop) << np.int64(30)) // (reach >> drop)
