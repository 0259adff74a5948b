"""Small integers that order sums as the rationals behind them do, ties included: what decides between classes needs no more.

Class i says scale_i · S_i + shift_i, S_i a whole number in a known range. Multipliers M_i and offsets O_i order M_i · S_i + O_i
alike where for every pair i < j, over all S_i and S_j: M_i · S_i + O_i ≥ M_j · S_j + O_j just where the rationals say so. For
given multipliers each pair bounds O_i − O_j from both sides (a difference constraint), so that offsets are found, or known not
to exist, by shortest paths (Bellman and Ford); the bounds themselves are extremes of u · x + v · floor((p · x + q) / d) over an
interval, which Euclid's algorithm finds without looking at every x.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

MOST_CLASSES = 128
"""With more classes offsets are not searched: multipliers of a common denominator are taken."""

_SMALL = 32
_MOST_BITS = 40


@dataclass(frozen=True)
class Ranged:
    """What one class says: scale · S + shift, S a whole number from ``least`` to ``most``."""

    scale: Fraction
    shift: Fraction
    least: int
    most: int


def order_alike(classes: Sequence[Ranged]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return a multiplier and an offset a class that order sums as *classes* do; equal ones stay equal, or their index decides.

    The index decides as in ``ArgMax``: of equal ones the lowest wins. Multipliers of 1 are found wherever they do.
    """
    rising = [_risen(entry) for entry in classes]
    signs = [-1 if entry.scale < 0 else 1 for entry in classes]
    for multipliers in _candidates(rising) if len(rising) <= MOST_CLASSES else ():
        offsets = _offsets(rising, multipliers)
        if offsets is not None:
            return tuple(sign * m for sign, m in zip(signs, multipliers)), tuple(_centred(offsets, multipliers))
    whole = math.lcm(*(value.denominator for entry in rising for value in (entry.scale, entry.shift)))
    return tuple(int(entry.scale * whole) for entry in classes), tuple(int(entry.shift * whole) for entry in classes)


def _risen(entry: Ranged) -> Ranged:
    """Return the class counted by −S where that makes it rise; one of scale 0 has the single sum 0."""
    if entry.scale > 0:
        return entry
    if entry.scale == 0:
        return Ranged(Fraction(0), entry.shift, 0, 0)
    return Ranged(-entry.scale, entry.shift, -entry.most, -entry.least)


def _candidates(rising: Sequence[Ranged]) -> Iterator[list[int]]:
    """Yield multipliers to try: powers of two for equal scales, else scales in ever finer units, and their exact ratio."""
    scales = [entry.scale for entry in rising]
    most = max(scales)
    if most == 0 or all(scale in (0, most) for scale in scales):
        for bits in range((len(rising)).bit_length() + 1):
            yield [(scale != 0) << bits for scale in scales]
        return
    whole = math.lcm(*(scale.denominator for scale in scales))
    exact = [int(scale * whole) for scale in scales]
    exact = [value // math.gcd(*exact) for value in exact]
    tops = [*range(1, _SMALL), *(1 << bits for bits in range(_SMALL.bit_length() - 1, _MOST_BITS))]
    for top in tops:
        yield [round(scale / most * top) for scale in scales]
        ratio = top // max(exact)
        if ratio and ratio & (ratio - 1) == 0:
            yield [ratio * value for value in exact]


def _offsets(rising: Sequence[Ranged], multipliers: Sequence[int]) -> list[int] | None:
    """Return offsets that order alike with *multipliers*, None where there are none."""
    count = len(rising)
    # farthest[i][j]: the most that O_i − O_j may be
    farthest = np.full((count, count), None, dtype=object)
    for i in range(count):
        farthest[i, i] = 0
        for j in range(i + 1, count):
            low, high = _between(rising[i], rising[j], multipliers[i], multipliers[j])
            if low is not None and high is not None and low > high:
                return None
            farthest[i, j], farthest[j, i] = high, None if low is None else -low
    return _shortest(farthest)


def _shortest(farthest: np.ndarray) -> list[int] | None:
    """Return O with O_i − O_j ≤ farthest[i, j] for all (None: no bound), None where that contradicts itself."""
    count = len(farthest)
    known = np.array([[value is not None for value in row] for row in farthest], dtype=bool)
    reach = max((abs(value) for value in farthest[known]), default=0)
    kind = np.int64 if reach * (count + 2) < 1 << 60 else object
    free = reach * (count + 1) + 1
    bound = np.array(np.where(known, farthest, 2 * free), dtype=object).astype(kind)
    offsets = np.zeros(count, dtype=kind)
    for _ in range(count + 1):
        nearer = np.minimum(offsets, (bound + offsets[None, :]).min(axis=1))
        if (nearer == offsets).all():
            return [int(value) for value in offsets.tolist()]
        offsets = nearer
    return None


def _centred(offsets: Sequence[int], multipliers: Sequence[int]) -> list[int]:
    """Return *offsets* less what leaves the most of them 0: a common summand orders nothing."""
    moving = [offset for offset, multiplier in zip(offsets, multipliers) if multiplier] or list(offsets)
    common = max(sorted(set(moving), key=abs), key=moving.count)
    return [offset - common for offset in offsets]


def _between(a: Ranged, b: Ranged, by_a: int, by_b: int) -> tuple[int | None, int | None]:
    """Return the least and most O_a − O_b with which a wins or ties just where the rationals say so; None: any.

    a wins or ties against the sums y of b up to t(x) = floor((scale_a · x + shift_a − shift_b) / scale_b), x its own sum.
    """
    below = b.scale or Fraction(1)
    slope, start = a.scale / below, (a.shift - b.shift) / below
    d = math.lcm(slope.denominator, start.denominator)
    p, q = int(slope * d), int(start * d)
    # from x = some on, y = b.least loses or ties; from x = every on, all y do
    some, every = (_first(p, q, d, y, a) for y in (b.least, b.most))
    inner, end = max(some, a.least), min(every - 1, a.most)
    low: list[int] = []
    high: list[int] = []
    if every <= a.most:
        low.append(by_b * b.most - by_a * max(every, a.least))
    if some > a.least:
        high.append(by_b * b.least - 1 - by_a * min(some - 1, a.most))
    if inner <= end:
        count, moved = end - inner + 1, p * inner + q
        low.append(_greatest(count, p, moved, d, -by_a, by_b) - by_a * inner)
        high.append(by_b - 1 - by_a * inner - _greatest(count, p, moved, d, by_a, -by_b))
    return max(low, default=None), min(high, default=None)


def _first(p: int, q: int, d: int, y: int, a: Ranged) -> int:
    """Return the least x with floor((p · x + q) / d) ≥ y; beyond the range of *a* where there is none."""
    lacking = y * d - q
    if p:
        return -(-lacking // p)
    return a.least if lacking <= 0 else a.most + 1


def _greatest(count: int, p: int, q: int, d: int, u: int, v: int) -> int:
    """Return the greatest u · x + v · floor((p · x + q) / d) of x = 0 … *count* − 1; p ≥ 0, d > 0.

    Where u and v pull apart, the best x stand at steps of the floor; counting by steps swaps the roles of x and floor, as
    Euclid's algorithm swaps p and d.
    """
    base, best = 0, None
    while True:
        u, p = u + v * (p // d), p % d
        base, q = base + v * (q // d), q % d
        top = (p * (count - 1) + q) // d
        ends = max(base, base + u * (count - 1) + v * top)
        best = ends if best is None else max(best, ends)
        if top == 0 or (u >= 0) == (v >= 0) or not u or not v:
            return best
        if u < 0:  # the first x of each step; else the last one of each
            base += u + v
        count, p, q, d, u, v = top, d, d - q - 1, p, v, u
