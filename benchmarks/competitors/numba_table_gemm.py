"""Table products as a good user of Numba writes them today: one look-up for each product, rows of the table in cache."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def table_gemm(weights: np.ndarray, x: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return Σ_k table[weights[k, n], x[k, m]] (M × N, int32)."""
    depth, columns, vectors = weights.shape[0], weights.shape[1], x.shape[1]
    sums = np.zeros((columns, vectors), np.int32)
    for n in range(columns):
        for k in range(depth):
            row = table[weights[k, n]]
            for m in range(vectors):
                sums[n, m] += row[x[k, m]]
    return sums.T
