"""The cheapest multiply, add and shift that equals the rounding of rational multiples of integers, over their whole ranges.

A quantiser says code = clip(base + round(factor · S + shift)) for sums S in a known range. As S grows, the code rises at known
places; any multiplier, offset and number of dropped bits under which it rises at the very same places are as good. They are
searched by the number of dropped bits, so that what is found has few bits, and is equal by construction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

import numpy as np

from .rounding import least_for, rounded_fraction, targets

_INT64 = 1 << 61
_MOST_EXTRA = 64
_TRIES = 4


@dataclass(frozen=True)
class Scaled:
    """One element: factor · S + shift, S a whole number from ``least`` to ``most``."""

    factor: Fraction
    shift: Fraction
    least: int
    most: int


@dataclass(frozen=True)
class Stage:
    """min(max(round((multiplier · x + offset) / 2^shift), low), high); multiplier and offset one an element."""

    multiplier: tuple[int, ...]
    shift: int
    offset: tuple[int, ...]
    rounding: str
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class _Edges:
    """Where the code of one element rises: it is ``codes[i]`` or more from S = ``starts[i]`` on, counted by a rising S.

    ``early``, ``late``: the rises that bind an affine function from below and from above, the corners of their hulls.
    ``first``, ``last``: codes at both ends of S, None where they are clipped there. ``sign``: −1 where S was negated to
    make the code rise. ``turns``: how often ties change from going up to going down.
    """

    codes: np.ndarray
    starts: np.ndarray
    early: np.ndarray
    late: np.ndarray
    least: int
    most: int
    first: int | None
    last: int | None
    slope: Fraction
    sign: int
    turns: int
    is_dyadic: bool
    limit: int
    both_signs: bool


def fit(elements: Sequence[Scaled], mode: str, base: int, low: int, high: int) -> tuple[Stage, ...]:
    """Return one stage, or two where one cannot do, that make clip(base + round(factor · S + shift), low, high) of every S.

    *mode*: of ``rounding.MODES``; modes that look at the sign need *base* 0 where sums of both signs are met. Raises
    ``ArithmeticError`` where nothing fits, which no quantiser of finite scales can ask for.
    """
    edges = [_edges(element, mode, base, low, high) for element in elements]
    native, limit = _native(mode, base, edges), max(edge.limit for edge in edges)
    plain = native == "floor" or (native.startswith("half") and all(edge.turns <= 1 for edge in edges))
    if plain or all(edge.turns <= 1 or edge.is_dyadic for edge in edges):
        styles = list(dict.fromkeys([*(["floor"] if plain else []), native]))
        found = _search(edges, [(partial(targets, style), 0) for style in styles], limit)
        if found is not None:
            (choice, shift), pairs = found
            return (_stage(pairs, shift, styles[choice], low, high),)
    # ties of a factor that is no multiple of 2^-k: a finer code, rounded down, then the ties of that
    ends = np.array([low + 1, high], dtype=object)
    for finer in range(2, _MOST_EXTRA if native != "floor" else 0):
        found = _search(edges, [(partial(_finer, native, finer), finer)], limit)
        if found is not None:
            (_, shift), pairs = found
            least, most = targets(native, finer, ends).tolist()
            count = len(elements)
            second = Stage((1,) * count, finer, (0,) * count, native, low, high)
            return _stage(pairs, shift, "floor", least - 1, most), second
    raise ArithmeticError("no multiplier fits: scales out of all proportion")


def _native(mode: str, base: int, edges: Sequence[_Edges]) -> str:
    """Return the rounding behind a shift that is *mode*, for codes that *base* was added to."""
    if mode in ("half-even", "half-odd"):
        return mode if base % 2 == 0 else ("half-odd" if mode == "half-even" else "half-even")
    if mode in ("to-zero", "from-zero") and any(edge.both_signs for edge in edges):
        if base:
            raise ValueError(f"{mode} of both signs is rounded to codes of base 0")
        return mode
    return "floor"


_Style = tuple[Callable[[int, np.ndarray], np.ndarray], int]
"""Dropped bits, codes → least v = multiplier · S + offset that makes each code; and how many bits of the code v has below 1."""


def _finer(mode: str, finer: int, shift: int, codes: np.ndarray) -> np.ndarray:
    return targets(mode, finer, codes) << shift


def _edges(element: Scaled, mode: str, base: int, low: int, high: int) -> _Edges:
    sign = -1 if element.factor < 0 else 1
    factor = abs(element.factor)
    least, most = (element.least, element.most) if sign > 0 else (-element.most, -element.least)
    ends = [base + rounded_fraction(mode, factor * end + element.shift) for end in (least, most)]
    first, last = (min(max(end, low), high) for end in ends)
    whole = math.lcm(factor.denominator, element.shift.denominator)
    a, b = int(factor * whole), int(element.shift * whole)
    codes = np.arange(first + 1, last + 1, dtype=np.int64)
    half, strict = least_for(mode, codes - base)
    kind = np.int64 if max(abs(first), abs(last), abs(base), 1) * 8 * max(whole, a) + 2 * abs(b) < _INT64 else object
    above = half.astype(kind) * whole - 2 * b  # S ≥ above / (2 · a)
    starts, left = (above // (2 * a), above % (2 * a)) if a else (codes, codes)
    ties = strict[(left == 0) & (half % 2 == 1)]
    reach = max(abs(least), abs(most), 1)
    starts = starts + ((left != 0) | strict)
    return _Edges(
        codes,
        starts,
        _corners(starts, codes, 1),
        _corners(starts, codes, -1),
        least,
        most,
        first if first > low else None,
        last if last < high else None,
        factor,
        sign,
        int((ties[1:] != ties[:-1]).sum()),
        whole & (whole - 1) == 0,
        whole.bit_length() + reach.bit_length() + max(abs(first), abs(last), 1).bit_length() + 4,
        low < base < high and factor * least + element.shift < 0 < factor * most + element.shift,
    )


def _corners(starts: np.ndarray, codes: np.ndarray, side: int) -> np.ndarray:
    """Return which rises are corners of the hull above (*side* 1) or below (−1) of those whose targets are one affine function.

    Targets are affine in codes of one parity and sign, whatever the rounding: no other rise binds an affine function.
    """
    kept: list[int] = []
    groups = 2 * (codes % 2) + (codes > 0)
    for group in range(4):
        hull: list[int] = []
        chosen = np.flatnonzero(groups == group)
        x, y = starts[chosen].tolist(), (side * codes[chosen]).tolist()
        for i in range(len(x)):
            while len(hull) > 1:
                a, b = hull[-2], hull[-1]
                if (x[b] - x[a]) * (y[i] - y[a]) < (y[b] - y[a]) * (x[i] - x[a]):
                    break
                hull.pop()
            hull.append(i)
        kept += chosen[hull].tolist()
    return np.array(kept, dtype=np.int64)


def _search(
    edges: Sequence[_Edges], styles: Sequence[_Style], limit: int
) -> tuple[tuple[int, int], list[tuple[int, int]]] | None:
    """Return (style, dropped bits) and (multiplier, offset) of each element: the fewest dropped bits, then the first style.

    A few bits more are tried where that takes fewer adders.
    """
    best: tuple[int, int] | None = None
    for choice, style in enumerate(styles):
        most = limit if best is None else best[1] - 1
        shift: int | None = 0
        for edge in edges:
            shift = None if shift is None else _fewest(edge, style, shift, most)
        if shift is not None:
            best = choice, shift
    if best is None:
        return None
    choice, shift = best
    tries = _TRIES
    found = []
    for more in range(tries):
        pairs = [_fitted(edge, styles[choice], shift + more) for edge in edges]
        whole = [pair for pair in pairs if pair is not None]
        if len(whole) == len(pairs):
            found.append((sum(_digits(abs(m)) for m, _ in whole), more, whole))
    _, more, whole = min(found)
    return (choice, shift + more), whole


def _fewest(edge: _Edges, style: _Style, least: int, most: int) -> int | None:
    """Return the fewest dropped bits from *least* to *most* that fit; None where none do. With one bit more, all fit as well."""
    low, high, step = least - 1, least, 4
    while high <= most and _fitted(edge, style, high) is None:
        low, high, step = high, high + step, step + 4
    if high > most:
        if most <= low or _fitted(edge, style, most) is None:
            return None
        high = most
    while high - low > 1:
        middle = (low + high) // 2
        if _fitted(edge, style, middle) is None:
            low = middle
        else:
            high = middle
    return high


def _fitted(edge: _Edges, style: _Style, shift: int) -> tuple[int, int] | None:
    """Return multiplier and offset with *shift* dropped bits: those of the fewest digits, None where none is right."""
    targets_of, finer = style
    steep = edge.slope * (1 << (shift + finer))
    top = 2 * math.ceil(steep) + 4
    reach = max(abs(edge.least), abs(edge.most)) + 1
    known = [edge.first or 0, edge.last or 0, *edge.codes[:1].tolist(), *edge.codes[-1:].tolist()]
    highest = max(map(abs, known))
    kind = np.int64 if reach * (top + 1) + (highest + 2 << (shift + finer + 1)) < _INT64 else object
    # v ≥ lower[i] at S = above[i], and v < upper[i] at S = below[i]
    above, below = [edge.starts[edge.early].astype(kind)], [edge.starts[edge.late].astype(kind) - 1]
    lower, upper = ([targets_of(shift, edge.codes[side].astype(kind))] for side in (edge.early, edge.late))
    for end, code, places, values in ((edge.least, edge.first, above, lower), (edge.most, edge.last, below, upper)):
        if code is not None:
            beyond = code + (places is below)
            places.append(np.array([end], dtype=kind))
            values.append(targets_of(shift, np.array([beyond], dtype=kind)))
    at, floor, upto, ceiling = (np.concatenate(part) for part in (above, lower, below, upper))

    def interval(multiplier: int) -> tuple[int | None, int | None]:
        least = int((floor - multiplier * at).max()) if len(at) else None
        most = int((ceiling - multiplier * upto).min()) - 1 if len(upto) else None
        return least, most

    def lack(multiplier: int) -> int:
        least, most = interval(multiplier)
        return -1 if least is None or most is None else least - most

    chosen = _multiplier(lack, math.floor(steep), top) if len(edge.codes) else 0
    if chosen is None or lack(chosen) > 0:
        return None
    return edge.sign * chosen, roundest(*interval(chosen))


def _multiplier(lack: Callable[[int], int], middle: int, top: int) -> int | None:
    """Return the m from 0 to *top* of the fewest digits with lack(m) ≤ 0, None where there is none; *lack* is convex."""
    low, high = 0, top
    good = next((m for m in (middle, middle + 1) if lack(m) <= 0), None)
    while good is None and low < high:  # downhill
        half = (low + high) // 2
        here, there = lack(half), lack(half + 1)
        if min(here, there) <= 0:
            good = half if here <= 0 else half + 1
        elif here <= there:
            high = half
        else:
            low = half + 1
    if good is None:
        return None
    least, most = good, good
    for step in (32, 16, 8, 4, 2, 1):
        if least - step >= 0 and lack(least - step) <= 0:
            least -= step
        if most + step <= top and lack(most + step) <= 0:
            most += step
    return min(range(least, most + 1), key=lambda m: (_digits(m), m))


def _stage(pairs: list[tuple[int, int]], shift: int, rounding: str, low: int, high: int) -> Stage:
    multiplier, offset = (tuple(part) for part in zip(*pairs))
    return Stage(multiplier, shift, offset, rounding if shift else "floor", low, high)


def roundest(least: int | None, most: int | None) -> int:
    """Return the integer from *least* to *most* (None: no bound) with the most zeros at its end; 0 where it is there."""
    if (least is None or least <= 0) and (most is None or most >= 0):
        return 0
    if least is None or least < 0:
        assert most is not None
        return -roundest(-most, None if least is None else -least)
    if most is None:
        return 1 << (least - 1).bit_length()
    zeros = (most - least + 1).bit_length()
    while -(-least >> zeros) << zeros > most:
        zeros -= 1
    return -(-least >> zeros) << zeros


def _digits(value: int) -> int:
    return (3 * value ^ value).bit_count()
