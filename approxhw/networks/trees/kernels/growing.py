"""Histograms of codes, the gain of every split of a node, and growth of a tree, the best split first."""

from __future__ import annotations

import numba
import numpy as np

TIE = 1e-6  # of a row: of cuts that part the rows alike, the one in the middle of the gap is the best


@numba.njit(cache=True, nogil=True)
def gains(
    values: np.ndarray, first: np.ndarray, rows: np.ndarray, labels: np.ndarray, classes: int, logs: np.ndarray,
    least: int, found: np.ndarray,
) -> None:  # fmt: skip
    """Fill *found* (float32, splits) with the impurity that each split of *rows* takes away, in rows; −1: not allowed.

    ``logs``: n ln n for every n up to the number of rows (entropy), empty for Gini's impurity. ``least``: rows on either side.
    """
    columns, count = values.shape[0], rows.size
    total = np.zeros(classes, np.int64)
    for r in range(count):
        total[labels[rows[r]]] += 1
    above, widest = np.zeros(classes, np.int64), 1
    for k in range(columns):
        widest = max(widest, first[k + 1] - first[k] + 1)
    histogram = np.zeros((widest, classes), np.int32)
    inside = np.zeros(widest, np.int32)
    entropy = logs.size > 0
    before = 0.0
    for c in range(classes):
        before += logs[total[c]] if entropy else np.float64(total[c]) * total[c]
    before = before - logs[count] if entropy else before / max(1, count)
    for k in range(columns):
        width = first[k + 1] - first[k] + 1
        histogram[:width] = 0
        inside[:width] = 0
        column = values[k]
        for r in range(count):
            row = rows[r]
            histogram[column[row], labels[row]] += 1
        for v in range(width):
            for c in range(classes):
                inside[v] += histogram[v, c]
        above[:] = 0
        high = 0
        v = width - 1
        while v > 0:
            # cuts v, v − 1, … down to above the next value that occurs part the rows alike
            for c in range(classes):
                above[c] += histogram[v, c]
            high += inside[v]
            end = v
            while end > 1 and inside[end - 1] == 0:
                end -= 1
            if high < least or count - high < least:
                gain = -1.0
            else:
                a = b = 0.0
                for c in range(classes):
                    low = total[c] - above[c]
                    if entropy:
                        a += logs[above[c]]
                        b += logs[low]
                    else:
                        a += np.float64(above[c]) * above[c]
                        b += np.float64(low) * low
                rest = count - high
                gain = (a - logs[high] + b - logs[rest] if entropy else a / high + b / rest) - before
            for cut in range(end, v + 1):
                found[first[k] + cut - 1] = gain if gain < 0 else gain - TIE * abs(2 * cut - end - v)
            v = end - 1
    return


@numba.njit(cache=True, nogil=True)
def _best(
    gain: np.ndarray, start: int, end: int, price: np.ndarray, noise: np.ndarray, rows: int, weight: float,
    best: int, score: float,
) -> tuple[int, float]:  # fmt: skip
    """Return the best split of those from *start* to *end*, and its score, where one beats *best* of *score*."""
    for s in range(start, end):
        if gain[s] > 10 * TIE:
            mine = gain[s] * noise[s] / rows - weight * price[s]
            if best < 0 or mine > score:
                best, score = s, mine
    return best, score


@numba.njit(cache=True, nogil=True)
def grow(
    values: np.ndarray, first: np.ndarray, column_of: np.ndarray, labels: np.ndarray, classes: int, logs: np.ndarray,
    least: int, fresh: np.ndarray, further: np.ndarray, weight: float, noise: np.ndarray, leaves: int,
    where: np.ndarray, what: np.ndarray,
) -> int:  # fmt: skip
    """Grow a tree of at most *leaves* leaves, the best split first, and return how many splits it has.

    Split n parts leaf ``where[n]`` by split ``what[n]``: rows that reach it become leaf n + 1, the others keep its number.
    A split scores its gain (share of all rows) less *weight* times its price: 0 where the tree has it, ``further`` where
    the tree has its column, else ``fresh`` (mm²).
    """
    rows, splits = labels.size, column_of.size
    price = fresh.copy()
    order, scratch = np.arange(rows), np.empty(rows, np.int64)
    begin, end = np.zeros(leaves, np.int64), np.zeros(leaves, np.int64)
    gain = np.empty((leaves, splits), np.float32)
    best, score = np.full(leaves, -1, np.int64), np.full(leaves, -np.inf)
    end[0] = rows
    gains(values, first, order, labels, classes, logs, least, gain[0])
    best[0], score[0] = _best(gain[0], 0, splits, price, noise, rows, weight, -1, -np.inf)
    count = 1
    while count < leaves:
        leaf = -1
        for i in range(count):
            if best[i] >= 0 and (leaf < 0 or score[i] > score[leaf]):
                leaf = i
        if leaf < 0:
            break
        s = best[leaf]
        k = column_of[s]
        cut = s - first[k] + 1
        where[count - 1], what[count - 1] = leaf, s
        a, kept = begin[leaf], 0
        for r in range(begin[leaf], end[leaf]):
            row = order[r]
            if values[k, row] >= cut:
                scratch[kept] = row
                kept += 1
            else:
                order[a] = row
                a += 1
        order[a : a + kept] = scratch[:kept]
        begin[count], end[count], end[leaf] = a, end[leaf], a
        for i in (leaf, count):
            gains(values, first, order[begin[i] : end[i]], labels, classes, logs, least, gain[i])
        count += 1
        if price[s] > 0:
            for t in range(first[k], first[k + 1]):
                price[t] = min(price[t], further[t])
            price[s] = 0.0
            for i in range(count):
                best[i], score[i] = _best(
                    gain[i], first[k], first[k + 1], price, noise, rows, weight, best[i], score[i]
                )
        for i in (leaf, count - 1):
            best[i], score[i] = _best(gain[i], 0, splits, price, noise, rows, weight, -1, -np.inf)
    return count - 1


@numba.njit(cache=True, nogil=True)
def replay(
    values: np.ndarray, column: np.ndarray, cut: np.ndarray, where: np.ndarray, start: int, end: int, leaf: np.ndarray
) -> None:
    """Move the rows of *leaf* (their leaf numbers) as splits *start* to *end* of a growth do."""
    for n in range(start, end):
        seen = values[column[n]]
        for r in range(leaf.size):
            if leaf[r] == where[n] and seen[r] >= cut[n]:
                leaf[r] = n + 1
