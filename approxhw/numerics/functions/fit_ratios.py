"""Fit ratios of polynomials with integer coefficients, piece by piece, that stay within bounds at every code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial

import numpy as np

from .fit_pieces import longest_pieces
from .units import Ratios

DEGREES = ((1, 1), (2, 2))
"""Degrees of P and Q that are tried; higher ones need wider products than a piece more."""
MOST_RATIOS = 16
_ROUNDS = 8

_Real = Callable[[int, int], np.ndarray | None]
"""Start and end (behind the last) of a piece → coefficients of P, then of Q."""


def fitted_ratios(low: np.ndarray, high: np.ndarray, most: int = MOST_RATIOS) -> Iterator[Ratios]:
    """Yield ratios, at most *most* pieces, that keep low[u] … high[u] for every u: of each degree, of more and more bits."""
    least = int(low.min())
    for above, below in DEGREES:
        # pieces are asked for again with every number of bits; the real ratio is the same
        real = cache(partial(_real_ratio, low - least, high - least, above, below))
        for bits in range(4, 2 * len(low).bit_length() + 6, 2):
            found = longest_pieces(partial(_ratio, low - least, high - least, real, above, bits), len(low), most)
            if found is not None:
                starts, rows = found
                split = above + 1
                yield Ratios(starts, tuple(row[:split] for row in rows), tuple(row[split:] for row in rows), least)


def _ratio(
    all_low: np.ndarray, all_high: np.ndarray, ratio: _Real, above: int, bits: int, start: int, end: int
) -> tuple[int, ...] | None:
    """Return coefficients of P, then of Q, highest power first: low ≤ floor(P / Q) ≤ high from *start* to before *end*.

    The greatest coefficient of Q has *bits* bits. None where none is found.
    """
    u, low, high = np.arange(start, end), all_low[start:end], all_high[start:end]
    real = ratio(start, end)
    if real is None:
        return None
    scale = (1 << bits) / np.abs(real[above + 1 :]).max()
    row = tuple(round(value) for value in (real * scale).tolist())
    upper, lower = (_at(part, u) for part in (row[: above + 1], row[above + 1 :]))
    # P may be moved as a whole: its constant is what rounding the others left least right
    missing = (low * lower - upper).max()
    spare = ((high + 1) * lower - 1 - upper).min()
    if (lower <= 0).any() or missing > spare or _largest(row, len(all_low)) >= 1 << 62:
        return None
    shift = int(min(max(0, missing), spare))
    upper = upper + shift
    return None if (upper < 0).any() else (*row[:above], row[above] + shift, *row[above + 1 :])


def _largest(row: tuple[int, ...], size: int) -> int:
    return sum(abs(c) for c in row) * size**2


def _at(coefficients: tuple[int, ...], u: np.ndarray) -> np.ndarray:
    found = np.zeros_like(u)
    for coefficient in coefficients:
        found = found * u + coefficient
    return found


def _real_ratio(
    all_low: np.ndarray, all_high: np.ndarray, above: int, below: int, start: int, end: int
) -> np.ndarray | None:
    """Return real coefficients of P and Q: P − t Q of least weighted squares, t the middle of the bounds, Q(middle of u) = 1.

    Weights are 1/Q of the round before, and grow where the error is large (Lawson): towards the least worst error.
    """
    u, low, high = np.arange(start, end), all_low[start:end], all_high[start:end]
    target, room = (low + high + 1) / 2, (high + 1 - low) / 2
    middle, scale = (u[0] + u[-1]) / 2, max((u[-1] - u[0]) / 2, 0.5)
    x = (u - middle) / scale
    columns = [x**power for power in range(above, -1, -1)] + [-target * x**power for power in range(below, 0, -1)]
    matrix, weights, size = np.stack(columns, axis=1), np.ones(len(u)), np.ones(len(u))
    best: tuple[float, np.ndarray] | None = None
    for _ in range(_ROUNDS):
        factor = np.sqrt(weights) / (size * room)
        found = np.linalg.lstsq(matrix * factor[:, None], target * factor, rcond=1e-12)[0]
        size = 1 + sum(found[above + 1 + i] * x ** (below - i) for i in range(below))
        if (size <= 1e-3).any():
            break
        error = np.abs(np.polyval(found[: above + 1], x) / size - target) / room
        worst = float(error.max())
        if best is None or worst < best[0]:
            best = worst, found
        if worst == 0:
            break
        weights = weights * (error / worst + 1e-3)
        weights /= weights.max()
    if best is None or best[0] >= 1:
        return None
    # back from x to u
    line = np.array([1 / scale, -middle / scale])
    upper = np.poly1d(best[1][: above + 1])(np.poly1d(line))
    lower = np.poly1d([*best[1][above + 1 :], 1.0])(np.poly1d(line))
    return np.concatenate([_filled(upper, above), _filled(lower, below)])


def _filled(polynomial: np.poly1d | float, degree: int) -> np.ndarray:
    coefficients = np.atleast_1d(getattr(polynomial, "coeffs", polynomial))
    return np.concatenate([np.zeros(degree + 1 - len(coefficients)), coefficients])
