"""Whole numbers that groups of rows add to sums, moved by a little while fewer rows go wrong."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def move_numbers(
    labels: np.ndarray, sums: np.ndarray, rows: np.ndarray, own: np.ndarray, first: int, moves: np.ndarray, most: int
) -> int:
    """Move the numbers *own* (int64, C) that all of *rows* add to *sums* (int64, R × C), both in place; return errors saved.

    Class after class from *first* on, each of *moves* is made where the greatest sum, the first of equal ones, is then wrong in
    fewer of the rows, and the number stays within ±*most*.
    """
    classes, count = sums.shape[1], rows.size
    # by how much a row's own class is ahead of the nearest other (below 0: wrong), which that is, and of the next behind it
    ahead, nearest, behind = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64)
    now = _margins(labels, sums, rows, ahead, nearest, behind)
    saved = 0
    for c in range(first, classes):
        for by in moves:
            if abs(own[c] + by) > most:
                continue
            then = 0
            for r in range(count):
                row = rows[r]
                label = labels[row]
                if label == c:
                    then += ahead[r] + by < 0
                else:
                    other = behind[r] if nearest[r] == c else ahead[r]
                    lead = sums[row, label] - sums[row, c] - by - (c < label)
                    then += other < 0 or lead < 0
            if then < now:
                own[c] += by
                for r in range(count):
                    sums[rows[r], c] += by
                saved += now - then
                now = _margins(labels, sums, rows, ahead, nearest, behind)
    return saved


@numba.njit(cache=True, nogil=True)
def _margins(
    labels: np.ndarray, sums: np.ndarray, rows: np.ndarray, ahead: np.ndarray, nearest: np.ndarray, behind: np.ndarray
) -> int:
    """Fill in what :func:`move_numbers` wants to know of each of *rows*, and return how many are wrong."""
    wrong = 0
    for r in range(rows.size):
        row = rows[r]
        label = labels[row]
        least = second = 1 << 60
        where = -1
        for c in range(sums.shape[1]):
            if c != label:
                lead = sums[row, label] - sums[row, c] - (c < label)
                if lead < least:
                    least, second, where = lead, least, c
                elif lead < second:
                    second = lead
        ahead[r], nearest[r], behind[r] = least, where, second
        wrong += least < 0
    return wrong
