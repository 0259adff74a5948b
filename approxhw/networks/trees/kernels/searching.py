"""The best trees of two and of three leaves of some rows, by histograms that change as a cut moves."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def _fill(
    values: np.ndarray, rows: np.ndarray, y: np.ndarray, by: int, histogram: np.ndarray, total: np.ndarray
) -> None:
    for r in range(rows.size):
        total[y[rows[r]]] += by
    for k in range(values.shape[0]):
        seen, mine = values[k], histogram[k]
        for r in range(rows.size):
            mine[seen[rows[r]], y[rows[r]]] += by


@numba.njit(cache=True, nogil=True)
def _one(total: np.ndarray) -> int:
    """Return the errors of one leaf."""
    best = rows = 0
    for c in range(total.size):
        rows += total[c]
        best = max(best, total[c])
    return rows - best


@numba.njit(cache=True, nogil=True)
def _two(
    histogram: np.ndarray, total: np.ndarray, first: np.ndarray, price: np.ndarray, above: np.ndarray, bound: float
) -> tuple[float, int]:
    """Return the least cost of at most two leaves and its split, −1 for one leaf; *bound*: what costs as much is of no use."""
    best, split = np.float64(_one(total)), -1
    best_bound = min(best, bound)
    classes = total.size
    for k in range(first.size - 1):
        above[:] = 0
        for v in range(first[k + 1] - first[k], 0, -1):
            s = first[k] + v - 1
            rows = high = low = 0
            for c in range(classes):
                above[c] += histogram[k, v, c]
                rows += total[c]
                high = max(high, above[c])
                low = max(low, total[c] - above[c])
            cost = rows - high - low + price[s]
            if cost < best_bound - 1e-9:
                best, split, best_bound = cost, s, cost
    return best, split


@numba.njit(cache=True, nogil=True)
def best_three(
    values: np.ndarray, first: np.ndarray, rows: np.ndarray, y: np.ndarray, classes: int, price: np.ndarray, leaves: int,
    found: np.ndarray,
) -> float:  # fmt: skip
    """Return the least cost of a tree of at most *leaves* (1 to 3) leaves: wrong rows and the *price* of each split (in rows).

    ``found`` (int64, 3): the split at its root, that of its low way, that of its high way; −1 for a leaf.
    """
    columns, widest = first.size - 1, 1
    for k in range(columns):
        widest = max(widest, first[k + 1] - first[k] + 1)
    found[:] = -1
    all_total = np.zeros(classes, np.int64)
    whole = np.zeros((columns, widest, classes), np.int64)
    above = np.zeros(classes, np.int64)
    _fill(values, rows, y, 1, whole, all_total)
    best = float(_one(all_total))
    if leaves == 1 or best == 0:
        return best
    cost, split = _two(whole, all_total, first, price, above, np.inf)
    if split >= 0:
        best, found[0] = cost, split
    if leaves == 2:
        return best
    low, low_total = np.zeros_like(whole), np.zeros_like(all_total)
    high, high_total = whole.copy(), all_total.copy()
    order, starts = np.empty(rows.size, np.int64), np.zeros(widest + 1, np.int64)
    for k in range(columns):
        width = first[k + 1] - first[k] + 1
        starts[:] = 0
        for r in range(rows.size):
            starts[values[k, rows[r]] + 1] += 1
        for v in range(widest):
            starts[v + 1] += starts[v]
        place = starts.copy()
        for r in range(rows.size):
            v = values[k, rows[r]]
            order[place[v]] = rows[r]
            place[v] += 1
        low[:] = 0
        low_total[:] = 0
        high[:] = whole
        high_total[:] = all_total
        v = 1
        while v < width:
            moved = order[starts[v - 1] : starts[v]]
            _fill(values, moved, y, 1, low, low_total)
            _fill(values, moved, y, -1, high, high_total)
            s = first[k] + v - 1
            # cuts up to the next value that occurs part the rows alike: the cheapest of them stands for all
            while v + 1 < width and starts[v] == starts[v + 1]:
                v += 1
                if price[first[k] + v - 1] < price[s]:
                    s = first[k] + v - 1
            v += 1
            if starts[v - 1] == 0 or starts[v - 1] == rows.size:
                continue
            one_low, one_high = _one(low_total), _one(high_total)
            if one_high + price[s] < best - 1e-9:
                cost, split = _two(low, low_total, first, price, above, best - one_high - price[s])
                if split >= 0 and cost + one_high + price[s] < best - 1e-9:
                    best, found[0], found[1], found[2] = cost + one_high + price[s], s, split, -1
            if one_low + price[s] < best - 1e-9:
                cost, split = _two(high, high_total, first, price, above, best - one_low - price[s])
                if split >= 0 and cost + one_low + price[s] < best - 1e-9:
                    best, found[0], found[1], found[2] = cost + one_low + price[s], s, -1, split
    return best
