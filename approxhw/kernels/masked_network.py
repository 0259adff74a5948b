"""The masked power-of-two network of a whole population over all rows: classes and errors, bit for bit the interpreter's."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def _winner(sums, count, comparators, flip, values, indices):  # type: ignore[no-untyped-def]
    """Return the index that the comparator tree gives for *count* sums; *flip*: the sign bit of the common width."""
    for i in range(count):
        values[i] = sums[i]
        indices[i] = i
    c = 0
    while count > 1:
        half = 0
        for i in range(0, count - 1, 2):
            seen = comparators[c]
            c += 1
            right = seen == 2 * flip - 1 and values[i + 1] > values[i]
            if seen != 2 * flip - 1:
                right = ((values[i + 1] ^ flip) & seen) > ((values[i] ^ flip) & seen)
            take = i + 1 if right else i
            values[half] = values[take]
            indices[half] = indices[take]
            half += 1
        if count & 1:
            values[half] = values[count - 1]
            indices[half] = indices[count - 1]
            half += 1
        count = half
    return indices[0]


@numba.njit(cache=True, nogil=True)
def _classes(layout, head, genome, codes, classes):  # type: ignore[no-untyped-def]
    """Fill *classes* with what one genome (int64) says to every row of *codes* (int64, rows × features)."""
    widest = codes.shape[1]
    for layer in range(layout.shape[0]):
        widest = max(widest, layout[layer, 1])
    x, y = np.zeros(widest, np.int64), np.zeros(widest, np.int64)
    values, indices = np.zeros(widest, np.int64), np.zeros(widest, np.int64)
    flip = np.int64(1) << (head[2] - 1)
    for row in range(codes.shape[0]):
        for i in range(codes.shape[1]):
            x[i] = codes[row, i]
        for layer in range(layout.shape[0]):
            n, m, _, masks, signs, exponents, biases, shift, bits = layout[layer]
            for o in range(m):
                total = genome[biases + o]
                for i in range(n):
                    at = o * n + i
                    product = (x[i] & genome[masks + at]) << genome[exponents + at]
                    total += -product if genome[signs + at] else product
                if shift >= 0:
                    total = min(max(total >> genome[shift], 0), (np.int64(1) << bits) - 1)
                y[o] = total
            x, y = y, x
        if head[0] == 1:
            classes[row] = 1 if x[0] > 0 else 0
        else:
            classes[row] = _winner(x, layout[-1, 1], genome[max(head[1], 0) :], flip, values, indices)


def classes_of(layout: np.ndarray, head: np.ndarray, genomes: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return the class (int64, P × rows) that every genome (P × G) gives every row of *codes* (rows × features)."""
    result = np.empty((len(genomes), len(codes)), dtype=np.int64)
    wide = np.ascontiguousarray(codes, dtype=np.int64)
    for genome, classes in zip(np.asarray(genomes, dtype=np.int64), result):
        _classes(layout, head, genome, wide, classes)
    return result


def count_errors(
    layout: np.ndarray, head: np.ndarray, genomes: np.ndarray, codes: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Return how many rows (int64, P) every genome gives another class than *labels*."""
    return (classes_of(layout, head, genomes, codes) != labels).sum(axis=1)
