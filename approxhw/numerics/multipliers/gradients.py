"""The slopes of a multiplier: how its product changes with either operand, smoothed, as two tables."""

from __future__ import annotations

import numpy as np

from .signs import operand_values

HALF_WINDOW = 16
"""How far the mean that smooths a table reaches to either side, where nothing else is asked for."""


def gradient_tables(products: np.ndarray, signed: str, half_window: int = HALF_WINDOW) -> tuple[np.ndarray, np.ndarray]:
    """Return ∂T/∂w and ∂T/∂x of a table of *products*, by bit patterns as it is, float32.

    T is replaced by its mean over the operand's neighbours, *half_window* to either side, and the slope is half of the
    difference of what comes next and what came before; at an end of the range it is that of the nearest place whose neighbours
    are all there, so that the slopes of the exact products are their operands everywhere. Operands of few bits have a narrower
    window. *signed*: as of a table. Raises ``ValueError`` for a window below 0.
    Source: Meng, Burleson, De Micheli, *Gradient Estimation Methods of Approximate Multipliers for High-Accuracy Retraining of
    Deep Learning Models*, arXiv 2509.10519, 2025 (tables of two operands).
    """
    if half_window < 0:
        raise ValueError(f"a half window of {half_window}")
    table = np.asarray(products, np.float64)
    by_weight = _slopes(table, signed in ("weight", "both"), half_window)
    by_x = _slopes(table.T, signed == "both", half_window).T
    return np.ascontiguousarray(by_weight, np.float32), np.ascontiguousarray(by_x, np.float32)


def _slopes(table: np.ndarray, signed: bool, half_window: int) -> np.ndarray:
    """Return the slopes of *table* along its rows' operand, by bit patterns."""
    patterns = len(table)
    order = np.argsort(operand_values(patterns.bit_length() - 1, signed))
    half = min(half_window, (patterns - 3) // 2)
    if half < 0:  # two patterns: there is one difference
        return np.broadcast_to(table[order[1]] - table[order[0]], table.shape)
    # half of the difference of two neighbouring means: four numbers of the running sum
    along = np.concatenate([np.zeros((1, table.shape[1])), np.cumsum(table[order], axis=0)])
    middles = np.clip(np.arange(patterns), half + 1, patterns - half - 2)
    width = 2 * half + 1
    above = along[middles + half + 2] - along[middles - half + 1]
    below = along[middles + half] - along[middles - half - 1]
    made = np.empty_like(table)
    made[order] = (above - below) / (2 * width)
    return made
