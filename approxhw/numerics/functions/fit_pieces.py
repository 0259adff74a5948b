"""Fit straight lines and parabolas, piece by piece: the fewest pieces that stay within bounds at every code.

Bounds hold for a part of a piece where they hold for the piece, so that the longest piece from the left, again and again, gives
the fewest: what dynamic programming over all ends finds, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from .units import Pieces

MOST_PIECES = 64

_Row = tuple[int, ...]
Fitting = Callable[[int, int], _Row | None]
"""Start and end (behind the last) of a piece → its coefficients, None where nothing stays within bounds."""


def fitted_lines(low: np.ndarray, high: np.ndarray, most: int = MOST_PIECES) -> Iterator[Pieces]:
    """Yield straight lines, at most *most*, that keep low[u] … high[u] for every u: fractions of more and more bits."""
    for shift in range(len(low).bit_length() + 3):
        found = longest_pieces(partial(_line, low, high, shift), len(low), most)
        if found is not None:
            yield Pieces(*found, (shift,))


def fitted_parabolas(low: np.ndarray, high: np.ndarray, most: int = MOST_PIECES) -> Iterator[Pieces]:
    """Yield parabolas, at most *most*, that keep low[u] … high[u] for every u: roundings and fractions of more and more bits."""
    bits = len(low).bit_length()
    for total in range(max(2, bits - 2), 2 * bits + 5, 2):
        for first in sorted({0, total // 3, total // 2}):
            found = longest_pieces(partial(_parabola, low, high, first, total - first), len(low), most)
            if found is not None:
                yield Pieces(*found, (first, total - first))


def longest_pieces(fit: Fitting, size: int, most: int) -> tuple[_Row, tuple[_Row, ...]] | None:
    """Return starts and coefficients of pieces, each the longest that *fit* finds; None where they are more than *most*."""
    starts: list[int] = []
    rows: list[_Row] = []
    start = 0
    while start < size:
        row = fit(start, start + 1)
        if row is None or len(starts) == most:
            return None
        sound, step = start + 1, 1
        while sound < size:  # twice as far each time, then by halves
            end = min(size, sound + step)
            further = fit(start, end)
            if further is None:
                break
            row, sound, step = further, end, 2 * step
        bad = min(size, sound + step) if sound < size else size
        while bad - sound > 1:
            middle = (sound + bad) // 2
            further = fit(start, middle)
            if further is None:
                bad = middle
            else:
                row, sound = further, middle
        starts.append(start)
        rows.append(row)
        start = sound
    return tuple(starts), tuple(rows)


def _line(low: np.ndarray, high: np.ndarray, shift: int, a: int, b: int) -> _Row | None:
    """Return slope and offset of a straight line from code *a* to before *b*."""
    bottom, top = low[a:b] << shift, (high[a:b] << shift) + (1 << shift) - 1
    return line_within(np.arange(a, b), bottom, top, (int(high.max() - low.min()) + 1) << shift)


def line_within(u: np.ndarray, bottom: np.ndarray, top: np.ndarray, reach: int) -> tuple[int, int] | None:
    """Return integers (a, b) with bottom ≤ a · u + b ≤ top at every u; None where there are none with |a| ≤ *reach*.

    min(top − a u) − max(bottom − a u) is concave in a: bisection by its slope finds whether it reaches 0. Of all that do, b and
    then a have as many low zeros as can be: fewer bits.
    """
    if (bottom > top).any():
        return None
    left, right = -reach, reach
    while left <= right:
        a = (left + right) // 2
        upper, lower = top - a * u, bottom - a * u
        i, j = int(upper.argmin()), int(lower.argmax())
        if upper[i] >= lower[j]:
            return _rounder(u, bottom, top, a)
        if u[j] > u[i]:
            left = a + 1
        else:
            right = a - 1
    return None


def _rounder(u: np.ndarray, bottom: np.ndarray, top: np.ndarray, a: int) -> tuple[int, int]:
    """Return (a, b) near *a* of few bits."""
    best = a, _roundest(int((bottom - a * u).max()), int((top - a * u).min()))
    for zeros in range(1, max(1, abs(a)).bit_length() + 1):
        for near in ((a >> zeros) << zeros, ((a >> zeros) + 1) << zeros):
            lower, upper = int((bottom - near * u).max()), int((top - near * u).min())
            if lower <= upper:
                best = near, _roundest(lower, upper)
    return best


def _roundest(low: int, high: int) -> int:
    """Return the number with the most low zeros in the middle half of *low* to *high*: near the least worst error."""
    quarter = (high - low) // 4
    low, high = low + quarter, high - quarter
    if low <= 0 <= high:
        return 0
    zeros = max((high ^ (low - 1)).bit_length() - 1, 0)
    return (high >> zeros) << zeros


def _parabola(all_low: np.ndarray, all_high: np.ndarray, first: int, second: int, start: int, end: int) -> _Row | None:
    """Return (A, B, C) with low ≤ (((A u + B) >> first) u + C) >> second ≤ high from *start* to before *end*, or none.

    A and B are those of the best real parabola, rounded, and their neighbours; C is what they leave.
    """
    u, low, high = np.arange(start, end), all_low[start:end], all_high[start:end]
    curve, slope = minimax_parabola(u, (low + high + 1) / 2)
    whole, bottom, top = float(1 << (first + second)), low << second, (high << second) + (1 << second) - 1
    # the floor of the inner shift takes half a unit off on average
    inner = slope * whole + (0.5 * (1 << first) if first else 0.0)
    for a in dict.fromkeys((round(curve * whole), *(round(curve * whole) + step for step in (-1, 1)))):
        shifted = inner + (curve * whole - a) * (int(u[0]) + int(u[-1]))  # the slope that keeps the ends
        near = round(shifted)
        step = max(1, (1 << first) >> 1)
        for b in (near, near - step, near + step):
            bent = ((a * u + b) >> first) * u
            lower, upper = int((bottom - bent).max()), int((top - bent).min())
            if lower <= upper:
                return a, b, _roundest(lower, upper)
    return None


def minimax_parabola(u: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Return curvature and slope of the parabola with the least worst error at *values*, by exchange of four points (Remez)."""
    if len(u) < 3:
        return 0.0, (float(values[-1] - values[0]) / (len(u) - 1) if len(u) > 1 else 0.0)
    if len(u) == 3:
        curve, slope, _ = np.polyfit(u, values, 2)
        return float(curve), float(slope)
    places = np.array([0, len(u) // 4, 3 * len(u) // 4, len(u) - 1])
    if len(set(places.tolist())) < 4:
        places = np.arange(4)
    middle, scale = (u[0] + u[-1]) / 2, (u[-1] - u[0]) / 2
    x = (u - middle) / scale
    powers = np.stack([x * x, x, np.ones(len(x))], axis=1)
    signs = np.array([[1.0], [-1.0], [1.0], [-1.0]])
    found = np.zeros(4)
    for _ in range(20):
        found = np.linalg.solve(np.hstack([powers[places], signs]), values[places])
        error = values - powers @ found[:3]
        worst = int(np.abs(error).argmax())
        if abs(error[worst]) <= abs(found[3]) * (1 + 1e-9) + 1e-12 or worst in places:
            break
        places = _exchanged(places, error, worst)
    curve, slope = float(found[0]) / scale**2, float(found[1]) / scale
    return curve, slope - 2 * curve * middle


def _exchanged(places: np.ndarray, error: np.ndarray, worst: int) -> np.ndarray:
    """Return *places* with *worst* in place of the neighbour whose error has its sign."""
    at = int(np.searchsorted(places, worst))
    same = np.sign(error[worst])
    made = places.tolist()
    if at == 0:
        made = [worst, *(made[1:] if np.sign(error[made[0]]) == same else made[:3])]
    elif at == 4:
        made = [*(made[:3] if np.sign(error[made[3]]) == same else made[1:]), worst]
    else:
        made[at - 1 if np.sign(error[made[at - 1]]) == same else at] = worst
    return np.array(made)
