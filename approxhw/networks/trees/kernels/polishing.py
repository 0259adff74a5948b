"""Alternating optimisation of a finished tree: every node gets the cheapest split that its rows allow, or goes."""

from __future__ import annotations

import numba
import numpy as np

SAME = 1e-9


@numba.njit(cache=True, nogil=True)
def _part(
    values: np.ndarray, column: np.ndarray, cut: np.ndarray, high: np.ndarray, low: np.ndarray, top: int,
    order: np.ndarray, begin: np.ndarray, end: np.ndarray, leaf_begin: np.ndarray, leaf_end: np.ndarray,
    stack: np.ndarray, scratch: np.ndarray,
) -> None:  # fmt: skip
    """Put the rows of node *top* in the order of its leaves, the low way first; fill in where each node and leaf begins."""
    stack[0], depth = top, 1
    while depth:
        depth -= 1
        node = stack[depth]
        a, kept, threshold = begin[node], 0, cut[node]
        seen = values[column[node]]
        for r in range(begin[node], end[node]):
            row = order[r]
            if seen[row] >= threshold:
                scratch[kept] = row
                kept += 1
            else:
                order[a] = row
                a += 1
        order[a : a + kept] = scratch[:kept]
        for child, start, stop in ((low[node], begin[node], a), (high[node], a, end[node])):
            if child >= 0:
                begin[child], end[child] = start, stop
                stack[depth] = child
                depth += 1
            else:
                leaf_begin[~child], leaf_end[~child] = start, stop


@numba.njit(cache=True, nogil=True)
def _named(
    high: np.ndarray, low: np.ndarray, top: int, order: np.ndarray, leaf_begin: np.ndarray, leaf_end: np.ndarray,
    y: np.ndarray, labels: np.ndarray, said: np.ndarray, count: np.ndarray, stack: np.ndarray,
) -> None:  # fmt: skip
    """Give every leaf below *top* the most frequent class of its rows, the one it has where that is as frequent.

    *said* of its rows becomes that class.
    """
    stack[0], depth = top, 1
    while depth:
        depth -= 1
        node = stack[depth]
        for child in (low[node], high[node]):
            if child >= 0:
                stack[depth] = child
                depth += 1
                continue
            leaf = ~child
            count[:] = 0
            for r in range(leaf_begin[leaf], leaf_end[leaf]):
                count[y[order[r]]] += 1
            best = labels[leaf]
            for c in range(count.size):
                if count[c] > count[best]:
                    best = c
            labels[leaf] = best
            for r in range(leaf_begin[leaf], leaf_end[leaf]):
                said[order[r]] = best


@numba.njit(cache=True, nogil=True)
def _answer(
    values: np.ndarray, column: np.ndarray, cut: np.ndarray, high: np.ndarray, low: np.ndarray, labels: np.ndarray,
    at: int, row: int,
) -> int:  # fmt: skip
    while at >= 0:
        at = high[at] if values[column[at], row] >= cut[at] else low[at]
    return labels[~at]


@numba.njit(cache=True, nogil=True)
def rows_misled(
    values: np.ndarray, column: np.ndarray, cut: np.ndarray, high: np.ndarray, low: np.ndarray, labels: np.ndarray,
    root: int, y: np.ndarray,
) -> int:  # fmt: skip
    """Return how many rows end in a leaf of another class than their own, *y*."""
    wrong = 0
    for row in range(y.size):
        wrong += _answer(values, column, cut, high, low, labels, root, row) != y[row]
    return wrong


@numba.njit(cache=True, nogil=True)
def _counted(
    split: np.ndarray, column: np.ndarray, high: np.ndarray, low: np.ndarray, top: int, by: int, used: np.ndarray,
    in_column: np.ndarray, fresh: np.ndarray, further: np.ndarray, node_price: float, stack: np.ndarray,
) -> float:  # fmt: skip
    """Add *by* to the uses of every split from *top* on down, and return the area that comes (*by* 1) or goes (−1)."""
    area = 0.0
    if top < 0:
        return area
    stack[0], depth = top, 1
    while depth:
        depth -= 1
        node = stack[depth]
        area += node_price + _used(split[node], column[node], by, used, in_column, fresh, further)
        for child in (low[node], high[node]):
            if child >= 0:
                stack[depth] = child
                depth += 1
    return area


@numba.njit(cache=True, nogil=True)
def _used(
    s: int, k: int, by: int, used: np.ndarray, in_column: np.ndarray, fresh: np.ndarray, further: np.ndarray
) -> float:
    """Count split *s* of column *k* once more, or less, and return the area that its comparator adds, or frees."""
    area = 0.0
    if by < 0:
        used[s] -= 1
        if used[s] == 0:
            in_column[k] -= 1
            area = further[s] if in_column[k] else fresh[s]
    else:
        if used[s] == 0:
            area = further[s] if in_column[k] else fresh[s]
            in_column[k] += 1
        used[s] += 1
    return area


@numba.njit(cache=True, nogil=True)
def polish(
    values: np.ndarray, first: np.ndarray, y: np.ndarray, classes: int, fresh: np.ndarray, further: np.ndarray,
    node_price: float, weight: float, least: int, rise: int, sweeps: int, column: np.ndarray, cut: np.ndarray,
    high: np.ndarray, low: np.ndarray, labels: np.ndarray, root: int,
) -> int:  # fmt: skip
    """Change *column*, *cut*, *high*, *low* and *labels* of a tree in place, and return the node, or ~leaf, it then begins at.

    Node after node, from the leaves up: of all splits with which at most *rise* more of its rows are wrong than now, the one
    of least errors + *weight* · area (mm²), or one of its ways in its place. At least *least* rows go either way.
    """
    nodes, columns = column.size, values.shape[0]
    order, scratch = np.arange(y.size), np.empty(y.size, np.int64)
    begin, end = np.zeros(nodes, np.int64), np.zeros(nodes, np.int64)
    leaf_begin, leaf_end = np.zeros(nodes + 1, np.int64), np.zeros(nodes + 1, np.int64)
    stack, count = np.empty(nodes + 2, np.int64), np.empty(classes, np.int64)
    parent = np.full(nodes, -1, np.int64)
    used, in_column = np.zeros(first[columns], np.int64), np.zeros(columns, np.int64)
    split = np.empty(nodes, np.int64)
    widest = 1
    for k in range(columns):
        widest = max(widest, first[k + 1] - first[k] + 1)
    gain, inside = np.empty(widest, np.int64), np.empty(widest, np.int64)
    difference, touched = np.empty(y.size, np.int64), np.empty(y.size, np.int64)
    for node in range(nodes):
        split[node] = first[column[node]] + cut[node] - 1
        for child in (high[node], low[node]):
            if child >= 0:
                parent[child] = node
    if root < 0:
        return root
    alive = np.zeros(nodes, np.bool_)
    said = np.empty(y.size, np.int64)  # the class that the tree gives each row
    changes = 0
    settled = np.full(nodes, -1, np.int64)  # how many changes there had been when a node last stayed as it was
    end[root] = y.size
    _part(values, column, cut, high, low, root, order, begin, end, leaf_begin, leaf_end, stack, scratch)
    _named(high, low, root, order, leaf_begin, leaf_end, y, labels, said, count, stack)
    stack[0], depth = root, 1
    while depth:
        depth -= 1
        node = stack[depth]
        alive[node] = True
        _used(split[node], column[node], 1, used, in_column, fresh, further)
        for child in (low[node], high[node]):
            if child >= 0:
                stack[depth] = child
                depth += 1
    for _ in range(sweeps):
        changed = False
        for node in range(nodes - 1, -1, -1):
            if not alive[node] or root < 0 or settled[node] == changes:
                continue
            b, e = begin[node], end[node]
            now = all_high = all_low = 0
            marked = 0
            for r in range(b, e):
                row = order[r]
                wrong = said[row] != y[row]
                now += wrong
                if values[column[node], row] >= cut[node]:
                    wrong_high, wrong_low = (
                        wrong,
                        _answer(values, column, cut, high, low, labels, low[node], row) != y[row],
                    )
                else:
                    wrong_high, wrong_low = (
                        _answer(values, column, cut, high, low, labels, high[node], row) != y[row],
                        wrong,
                    )
                all_high += wrong_high
                all_low += wrong_low
                if wrong_high != wrong_low:
                    touched[marked] = row
                    difference[marked] = np.int64(wrong_low) - np.int64(wrong_high)
                    marked += 1
            # the node itself gone: what its own comparator frees is counted in for every candidate
            freed = _used(split[node], column[node], -1, used, in_column, fresh, further)
            best, best_score = split[node], now + weight * freed
            for way in range(2):
                keeps, drops = (high[node], low[node]) if way == 0 else (low[node], high[node])
                errors = all_high if way == 0 else all_low
                if errors <= now + rise:
                    area = _counted(
                        split, column, high, low, drops, -1, used, in_column, fresh, further, node_price, stack
                    )
                    _counted(split, column, high, low, drops, 1, used, in_column, fresh, further, node_price, stack)
                    score = errors - weight * (area + node_price)
                    if score < best_score - SAME or (score < best_score + SAME and best >= 0):
                        best, best_score = -1 - way, score
            for k in range(columns):
                width = first[k + 1] - first[k] + 1
                gain[:width] = 0
                inside[:width] = 0
                seen = values[k]
                for r in range(marked):
                    gain[seen[touched[r]]] += difference[r]
                useful = False
                high_gain = 0
                for v in range(width - 1, 0, -1):
                    high_gain += gain[v]
                    if all_low - high_gain <= now + rise:
                        useful = True
                if not useful:
                    continue
                for r in range(b, e):
                    inside[seen[order[r]]] += 1
                high_gain = rows_high = 0
                for v in range(width - 1, 0, -1):
                    high_gain += gain[v]
                    rows_high += inside[v]
                    errors = all_low - high_gain
                    if errors > now + rise or rows_high < least or e - b - rows_high < least:
                        continue
                    s = first[k] + v - 1
                    price = 0.0
                    if used[s] == 0:
                        price = further[s] if in_column[k] else fresh[s]
                    score = errors + weight * price
                    if score < best_score - SAME:
                        best, best_score = s, score
            if best == split[node]:
                _used(split[node], column[node], 1, used, in_column, fresh, further)
                settled[node] = changes
                continue
            changed = True
            changes += 1
            if best >= 0:
                k = 0
                while first[k + 1] <= best:
                    k += 1
                column[node], cut[node], split[node] = k, best - first[k] + 1, best
                _used(best, k, 1, used, in_column, fresh, further)
                _part(values, column, cut, high, low, node, order, begin, end, leaf_begin, leaf_end, stack, scratch)
                _named(high, low, node, order, leaf_begin, leaf_end, y, labels, said, count, stack)
                continue
            keeps, drops = (high[node], low[node]) if best == -1 else (low[node], high[node])
            _counted(split, column, high, low, drops, -1, used, in_column, fresh, further, node_price, stack)
            alive[node] = False
            if drops >= 0:
                stack[0], depth = drops, 1
                while depth:
                    depth -= 1
                    other = stack[depth]
                    alive[other] = False
                    for child in (low[other], high[other]):
                        if child >= 0:
                            stack[depth] = child
                            depth += 1
            up = parent[node]
            if up < 0:
                root = keeps
            elif high[up] == node:
                high[up] = keeps
            else:
                low[up] = keeps
            if keeps >= 0:
                parent[keeps] = up
                begin[keeps], end[keeps] = b, e
                _part(values, column, cut, high, low, keeps, order, begin, end, leaf_begin, leaf_end, stack, scratch)
                _named(high, low, keeps, order, leaf_begin, leaf_end, y, labels, said, count, stack)
            else:
                leaf_begin[~keeps], leaf_end[~keeps] = b, e
                count[:] = 0
                for r in range(b, e):
                    count[y[order[r]]] += 1
                for c in range(classes):
                    if count[c] > count[labels[~keeps]]:
                        labels[~keeps] = c
                for r in range(b, e):
                    said[order[r]] = labels[~keeps]
        if not changed:
            break
    return root
