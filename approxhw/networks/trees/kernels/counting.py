"""What every literal wins that a threshold unit may count next: histograms of gradients over counts and codes."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def literal_gains(
    values: np.ndarray, first: np.ndarray, counts: np.ndarray, most: int, slope: np.ndarray, bend: np.ndarray,
    held: float, least: int, found: np.ndarray, reach: np.ndarray,
) -> None:  # fmt: skip
    """Fill *found* (float64, 2 × splits) with what a unit wins that counts a split, or its opposite, besides *counts*.

    ``counts``: int64, R, of the literals that it has, at most *most*. It is 1 from ``reach`` (int64, 2 × splits) on, the best
    number there is: Σ slope² / (bend + held) of both sides. ``slope``, ``bend``: float64, R × C. −1: no number leaves
    *least* rows on both sides.
    """
    rows, sums = slope.shape
    widest = 1
    for k in range(values.shape[0]):
        widest = max(widest, first[k + 1] - first[k] + 1)
    size = most + 2
    g, h = np.empty((widest, size, sums)), np.empty((widest, size, sums))
    inside = np.empty((widest, size), np.int64)
    low_g, low_h = np.empty((size, sums)), np.empty((size, sums))
    high_g, high_h = np.empty((size, sums)), np.empty((size, sums))
    low_rows, high_rows = np.empty(size, np.int64), np.empty(size, np.int64)
    for k in range(values.shape[0]):
        width = first[k + 1] - first[k] + 1
        g[:width], h[:width], inside[:width] = 0.0, 0.0, 0
        seen = values[k]
        for r in range(rows):
            v, n = seen[r], counts[r]
            inside[v, n] += 1
            for c in range(sums):
                g[v, n, c] += slope[r, c]
                h[v, n, c] += bend[r, c]
        low_g[:], low_h[:], low_rows[:] = 0.0, 0.0, 0
        for v in range(width):
            for n in range(size):
                low_rows[n] += inside[v, n]
                for c in range(sums):
                    low_g[n, c] += g[v, n, c]
                    low_h[n, c] += h[v, n, c]
        high_g[:], high_h[:], high_rows[:] = 0.0, 0.0, 0
        for v in range(width - 1, 0, -1):
            for n in range(size):
                high_rows[n] += inside[v, n]
                low_rows[n] -= inside[v, n]
                for c in range(sums):
                    high_g[n, c] += g[v, n, c]
                    high_h[n, c] += h[v, n, c]
                    low_g[n, c] -= g[v, n, c]
                    low_h[n, c] -= h[v, n, c]
            split = first[k] + v - 1
            found[0, split], reach[0, split] = _best_reach(
                high_g, high_h, high_rows, low_g, low_h, low_rows, most, held, least, rows
            )
            found[1, split], reach[1, split] = _best_reach(
                low_g, low_h, low_rows, high_g, high_h, high_rows, most, held, least, rows
            )


@numba.njit(cache=True, nogil=True)
def _best_reach(
    with_g: np.ndarray, with_h: np.ndarray, with_rows: np.ndarray, g: np.ndarray, h: np.ndarray, others: np.ndarray,
    most: int, held: float, least: int, rows: int,
) -> tuple[float, int]:  # fmt: skip
    """Return the best gain and number, where rows of the first three count one more than those of the next three."""
    sums = g.shape[1]
    best, where = -1.0, 1
    up_g, up_h = np.zeros(sums), np.zeros(sums)
    all_g, all_h = np.zeros(sums), np.zeros(sums)
    for n in range(most + 1):
        for c in range(sums):
            all_g[c] += with_g[n, c] + g[n, c]
            all_h[c] += with_h[n, c] + h[n, c]
    up = 0
    for reach in range(most + 1, 0, -1):
        # rows that now count reach: those of reach − 1 with the literal, and those of reach without it
        up += with_rows[reach - 1]
        if reach <= most:
            up += others[reach]
        gain = 0.0
        for c in range(sums):
            up_g[c] += with_g[reach - 1, c]
            up_h[c] += with_h[reach - 1, c]
            if reach <= most:
                up_g[c] += g[reach, c]
                up_h[c] += h[reach, c]
            down_g, down_h = all_g[c] - up_g[c], all_h[c] - up_h[c]
            gain += up_g[c] * up_g[c] / (up_h[c] + held) + down_g * down_g / (down_h + held)
            gain -= all_g[c] * all_g[c] / (all_h[c] + held)
        if up >= least and rows - up >= least and gain > best:
            best, where = gain, reach
    return best, where
