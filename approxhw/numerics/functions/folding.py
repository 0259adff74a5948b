"""Find the symmetry of a function of signed codes: what its negative codes need beside the others."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from .bounds import WantedCodes
from .units import Fold

_MOST_SHIFT = 12
"""Bits behind the point of the slope of the part that is straight."""


def folds_of(wanted: WantedCodes) -> Iterator[tuple[Fold | None, np.ndarray, np.ndarray]]:
    """Yield how *wanted* may be made: each fold, and for every u, ascending, the least and greatest value of the core.

    The first is always no fold at all. A fold is there where what both sides allow has a value in common for every u, so that
    no symmetry is trusted: it is looked at code by code.
    """
    yield None, wanted.low, wanted.high
    if not wanted.x.signed or wanted.x.bits < 2:
        return
    half = len(wanted.values) // 2
    codes = np.arange(-half, 0)
    least, most = wanted.low[half:], wanted.high[half:]
    # a clamp takes off what is more
    unbounded = np.where(most == wanted.y.high, most + (wanted.y.high - wanted.y.low), most)
    for inverted, subtract in itertools.product((False, True), repeat=2):
        u = np.minimum(-codes - 1 if inverted else -codes, half - 1)
        above, below = wanted.values[half:][u], wanted.values[:half]
        rest = below + above if subtract else below - above  # the straight part, where there is such a symmetry
        straight = _straight(u, rest, inverted=inverted, subtract=subtract)
        for fold, upper in itertools.product(straight, (most, unbounded)):
            base = (fold.slope * u + fold.offset) >> fold.shift
            low, high = least.copy(), upper.copy()
            np.maximum.at(low, u, base - wanted.high[:half] if subtract else wanted.low[:half] - base)
            np.minimum.at(high, u, base - wanted.low[:half] if subtract else wanted.high[:half] - base)
            if (low <= high).all():
                yield replace(fold, most=wanted.y.high if high.max() > wanted.y.high else None), low, high
                break


def _straight(u: np.ndarray, rest: np.ndarray, *, inverted: bool, subtract: bool) -> Iterator[Fold]:
    """Yield folds whose straight part is near *rest*, those of the fewest bits first."""
    # far from 0 the ends of the format may cut something off, which tells nothing of the slope; u falls
    near, values = u[len(u) // 2 :], rest[len(u) // 2 :]
    slope = float(np.polyfit(near, values, 1)[0]) if len(near) > 1 else 0.0
    start = float(np.median(values - slope * near))
    for shift in range(_MOST_SHIFT + 1):
        scaled = round(slope * (1 << shift))
        half = (1 << shift) >> 1
        for offset in dict.fromkeys((round(start) << shift, (round(start) << shift) + half)):
            yield Fold(inverted, subtract, scaled, offset, shift)
