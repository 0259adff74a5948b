"""Slopes of sums of products by a table, back to their operands: each product's slope times what comes back, in Numba."""

from __future__ import annotations

import numpy as np
from numba import njit


def gradient_of_x(weights: np.ndarray, x: np.ndarray, slopes: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Return Σ_n back[m, n] · slopes[weights[k, n], x[k, m]] as float32, K × M.

    *weights*: K × N and *x*: K × M, bit patterns; *slopes*: ∂T/∂x by them, float32; *back*: M × N, the slope of each sum. Sums
    are made in the order of n, so that results do not depend on the machine's threads. Raises ``ValueError`` where shapes do
    not fit.
    """
    _check_shapes(weights, x, back)
    made = np.zeros(x.shape, np.float32)
    _of_x(weights, x, np.ascontiguousarray(slopes, np.float32), np.ascontiguousarray(back.T, np.float32), made)
    return made


def gradient_of_weights(weights: np.ndarray, x: np.ndarray, slopes: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Return Σ_m back[m, n] · slopes[weights[k, n], x[k, m]] as float32, K × N; *slopes*: ∂T/∂w, the rest as above."""
    _check_shapes(weights, x, back)
    made = np.zeros(weights.shape, np.float32)
    _of_weights(weights, x, np.ascontiguousarray(slopes, np.float32), np.ascontiguousarray(back.T, np.float32), made)
    return made


def _check_shapes(weights: np.ndarray, x: np.ndarray, back: np.ndarray) -> None:
    if len(weights) != len(x) or back.shape != (x.shape[1], weights.shape[1]):
        raise ValueError(f"weights {weights.shape}, x {x.shape} and what comes back, {back.shape}, do not fit")


@njit(cache=True, nogil=True)
def _of_x(weights: np.ndarray, x: np.ndarray, slopes: np.ndarray, back: np.ndarray, made: np.ndarray) -> None:
    """Fill *made* (K × M); *back*: N × M. The row of slopes of one weight stays in the cache while all x go by."""
    for k in range(weights.shape[0]):
        for n in range(weights.shape[1]):
            row = slopes[weights[k, n]]
            for m in range(x.shape[1]):
                made[k, m] += back[n, m] * row[x[k, m]]


@njit(cache=True, nogil=True)
def _of_weights(weights: np.ndarray, x: np.ndarray, slopes: np.ndarray, back: np.ndarray, made: np.ndarray) -> None:
    """Fill *made* (K × N); *back*: N × M."""
    for k in range(weights.shape[0]):
        for n in range(weights.shape[1]):
            row, total = slopes[weights[k, n]], 0.0
            for m in range(x.shape[1]):
                total += back[n, m] * row[x[k, m]]
            made[k, n] = total
