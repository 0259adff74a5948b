"""What every split of some rows wins for a step of boosting: histograms of gradients and curvatures."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def step_gains(
    values: np.ndarray, first: np.ndarray, rows: np.ndarray, slope: np.ndarray, bend: np.ndarray, held: float, least: int,
    found: np.ndarray,
) -> None:  # fmt: skip
    """Fill *found* (float64, splits) with what each split of *rows* wins: Σ slope² / (bend + held) after less before.

    ``slope``, ``bend``: float64, R × C, of every row and sum; −1 where a side has fewer than *least* rows.
    """
    sums, widest = slope.shape[1], 1
    for k in range(values.shape[0]):
        widest = max(widest, first[k + 1] - first[k] + 1)
    g, h = np.empty((widest, sums)), np.empty((widest, sums))
    inside = np.empty(widest, np.int64)
    total_g, total_h = np.zeros(sums), np.zeros(sums)
    for r in range(rows.size):
        for c in range(sums):
            total_g[c] += slope[rows[r], c]
            total_h[c] += bend[rows[r], c]
    before = 0.0
    for c in range(sums):
        before += total_g[c] * total_g[c] / (total_h[c] + held)
    high_g, high_h = np.empty(sums), np.empty(sums)
    for k in range(values.shape[0]):
        width = first[k + 1] - first[k] + 1
        g[:width] = 0.0
        h[:width] = 0.0
        inside[:width] = 0
        seen = values[k]
        for r in range(rows.size):
            row = rows[r]
            v = seen[row]
            inside[v] += 1
            for c in range(sums):
                g[v, c] += slope[row, c]
                h[v, c] += bend[row, c]
        high_g[:] = 0.0
        high_h[:] = 0.0
        high = 0
        for v in range(width - 1, 0, -1):
            high += inside[v]
            gain = -before
            for c in range(sums):
                high_g[c] += g[v, c]
                high_h[c] += h[v, c]
                low_g, low_h = total_g[c] - high_g[c], total_h[c] - high_h[c]
                gain += high_g[c] * high_g[c] / (high_h[c] + held) + low_g * low_g / (low_h + held)
            found[first[k] + v - 1] = gain if high >= least and rows.size - high >= least else -1.0
