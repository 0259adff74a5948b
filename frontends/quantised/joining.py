"""Where branches of a quantised model meet, and where a value bends at 0: parts that are added up, or stand side by side.

Parts wait until something reads them. A quantiser rounds each of the parts that stand side by side, and each of those of which
all but one are 0, as they are after a leaky ReLU; of others it rounds the sum, by the smallest multipliers that round every
combination of codes alike. Whatever else reads them gets them on one scale, of which all of them are whole multiples.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from approxhw.ir.graph import Node
from approxhw.ir.kinds import Add, Concat
from approxhw.numerics.exact.requantizing import Stage, roundest

from .quantiser import NEEDS_QUANTISER, Quantiser, UnreadError
from .quantising import SIGNED_MODES, quantised_state
from .state import Bound, ChainState, Lowering, bounded_codes, clipped, common_unit, on_one_scale, readings, requantize
from .state import scaled_state as scaled

MOST_COMBINATIONS = 1 << 18
"""Of codes that are looked at to find small multipliers; more are added up on one scale."""

MOST_GROUPS = 64
MOST_DROPPED = 40


@dataclass(frozen=True, eq=False)
class Joined:
    """Values side by side, or added up (``is_sum``), not yet carried out; of an ``exclusive`` sum all parts but one are 0.

    ``bounds``: of a sum, holds in ``low`` and ``high`` what an activation keeps it within, and in ``shift`` what is added to it.
    """

    parts: tuple[ChainState, ...]
    is_sum: bool
    bounds: ChainState
    exclusive: bool = False


def added(states: Sequence[ChainState | Joined]) -> Joined:
    """Return the sum of *states*; sums of sums that no activation bounds are one."""
    parts: list[ChainState] = []
    shift = [Fraction(0)] * len(states[0].scale if isinstance(states[0], ChainState) else states[0].bounds.scale)
    for state in states:
        parts += (state,) if isinstance(state, ChainState) else state.parts
        if isinstance(state, Joined):
            assert state.is_sum
            shift = [old + more for old, more in zip(shift, state.bounds.shift, strict=True)]
    return Joined(tuple(parts), True, replace(readings(len(shift)), shift=tuple(shift)))


def side_by_side(states: Sequence[ChainState]) -> Joined:
    """Return *states* side by side."""
    return Joined(tuple(states), False, readings(sum(len(state.scale) for state in states)))


def bent(state: ChainState, slopes: Sequence[Fraction]) -> Joined:
    """Return *state* where it is above 0, else its slope times it: the sum of both sides."""
    if state.value is None:
        raise UnreadError("a leaky ReLU reads readings that are not quantised", NEEDS_QUANTISER)
    zero, count = Fraction(0), len(state.scale)
    slopes = tuple(slopes) * (count if len(slopes) == 1 else 1)
    below = scaled(clipped(state, None, zero), slopes, (zero,) * count)
    return Joined((clipped(state, zero, None), below), True, readings(count), exclusive=True)


def joined_scaled(joined: Joined, scale: Sequence[Fraction], shift: Sequence[Fraction]) -> Joined:
    """Return scale · joined + shift, element by element."""
    if joined.is_sum:
        none = (Fraction(0),) * len(scale)
        parts = [scaled(part, scale, none) for part in joined.parts]
        return replace(joined, parts=tuple(parts), bounds=scaled(joined.bounds, scale, shift))
    parts = [scaled(part, scale[cut], shift[cut]) for part, cut in zip(joined.parts, _cuts(joined))]
    return replace(joined, parts=tuple(parts))


def joined_clipped(joined: Joined, low: Bound, high: Bound) -> Joined:
    """Return min(max(joined, low), high)."""
    if joined.is_sum:
        return replace(joined, bounds=clipped(joined.bounds, low, high))
    return replace(joined, parts=tuple(clipped(part, low, high) for part in joined.parts))


def _cuts(joined: Joined) -> Iterator[slice]:
    start = 0
    for part in joined.parts:
        yield slice(start, start + len(part.scale))
        start += len(part.scale)


def carried_out(lowering: Lowering, node: Node, joined: Joined) -> ChainState:
    """Append *joined* on one scale, of which all parts are whole multiples; return its state."""
    parts = _shifted(joined)
    if any(part.value is None for part in parts):
        raise UnreadError("joins readings that are not quantised", NEEDS_QUANTISER)
    unit = common_unit(
        value
        for part in parts
        for value in (*part.scale, *part.shift, *(bound for bound in (*part.low, *part.high) if bound is not None))
    )
    before = replace(node, name=f"{node.name}_part", origin="")
    found = [on_one_scale(lowering, before, part, shifted=False, unit=unit) for part in parts]
    made = _together(lowering, node, found, unit, 0, joined.is_sum)
    count = len(made.least)
    return replace(made, scale=(unit,) * count, shift=(Fraction(0),) * count,
                   low=joined.bounds.low, high=joined.bounds.high)  # fmt: skip


def _together(
    lowering: Lowering, node: Node, parts: Sequence[ChainState], scale: Fraction, zero: int, is_sum: bool
) -> ChainState:
    """Append what joins the codes of *parts*, all of which are brought to the format of *scale* and *zero*."""
    parts = [_labelled(lowering, node, part, scale, zero) for part in parts]
    names = [str(part.value) for part in parts]
    if not is_sum:
        sizes = tuple(len(part.least) for part in parts)
        value = lowering.emit(node, Concat(sizes), tuple(names), sum(sizes), scale, zero)
        least, most = (tuple(end for part in parts for end in getattr(part, side)) for side in ("least", "most"))
        return replace(readings(sum(sizes)), value=value, least=least, most=most)
    value, count = names[0], len(parts[0].least)
    for name in names[1:]:
        value = lowering.emit(node, Add(), (value, name), count, scale, zero)
    least, most = (tuple(map(sum, zip(*(getattr(part, side) for part in parts)))) for side in ("least", "most"))
    return replace(readings(count), value=value, least=least, most=most)


def _labelled(lowering: Lowering, node: Node, state: ChainState, scale: Fraction, zero: int) -> ChainState:
    """Return *state* with codes of that format: what differs in it alone costs no gate."""
    assert state.value is not None
    fmt = lowering.format_of(state.value)
    if (fmt.scale, fmt.zero) == (abs(scale), zero):
        return state
    count = len(state.least)
    same = Stage((1,) * count, 0, (0,) * count, "floor", min(state.least), max(state.most))
    return requantize(lowering, replace(node, name=f"{node.name}_part", origin=""), state, same, scale, zero)


def quantised_joined(lowering: Lowering, node: Node, joined: Joined, quantiser: Quantiser) -> ChainState:
    """Append the codes that *quantiser* makes of *joined*; return their state."""
    part_node = replace(node, name=f"{node.name}_part", origin="")
    if not joined.is_sum and not quantiser.bipolar:
        origin = quantiser.base if quantiser.mode in SIGNED_MODES else quantiser.low
        parts = [quantised_state(lowering, part_node, part, quantiser, origin) for part in joined.parts]
        made = _together(lowering, node, parts, quantiser.step, quantiser.zero - origin, is_sum=False)
        scale, shift = (tuple(v for part in parts for v in getattr(part, name)) for name in ("scale", "shift"))
        return replace(made, scale=scale, shift=shift)
    if joined.exclusive and not quantiser.bipolar:
        return _exclusive(lowering, node, part_node, joined, quantiser)
    if joined.is_sum and not quantiser.bipolar and (found := _small(lowering, node, joined, quantiser)) is not None:
        return found
    return quantised_state(lowering, node, carried_out(lowering, part_node, joined), quantiser)


def _exclusive(lowering: Lowering, node: Node, part_node: Node, joined: Joined, quantiser: Quantiser) -> ChainState:
    """Append the codes of both sides of a bend, added up: the side that is 0 has the code of the shift, which is taken off."""
    bounds = joined.bounds
    idle = [quantiser.code(shift) for shift in bounds.shift]
    origin = quantiser.base if quantiser.mode in SIGNED_MODES else idle[0]
    ones = (Fraction(1),) * len(idle)
    parts = [
        quantised_state(lowering, part_node, scaled(part, ones, bounds.shift), quantiser, origin)
        for part in joined.parts
    ]
    made = _together(lowering, node, parts, quantiser.step, 0, is_sum=True)
    if extra := tuple(origin - code for code in idle) if set(idle) != {origin} else ():
        reach = max(map(abs, (*made.least, *made.most))) + max(map(abs, extra))
        stage = Stage((1,) * len(idle), 0, extra, "floor", -reach, reach)
        made = requantize(lowering, part_node, made, stage, quantiser.step)
    made = _labelled(lowering, part_node, made, quantiser.step, quantiser.zero - origin)
    lows, highs = (
        [None if bound is None else quantiser.code(bound) - origin for bound in side]
        for side in (bounds.low, bounds.high)
    )
    made = bounded_codes(lowering, node, made, lows, highs)
    count, start = len(idle), quantiser.start + quantiser.step * origin
    return replace(
        made, scale=(quantiser.step,) * count, shift=(start,) * count, low=(None,) * count, high=(None,) * count
    )


def _shifted(joined: Joined) -> tuple[ChainState, ...]:
    """Return the parts of *joined*, the shift of a sum in the first one."""
    if not joined.is_sum or not any(joined.bounds.shift):
        return joined.parts
    first, *others = joined.parts
    return (scaled(first, (Fraction(1),) * len(first.scale), joined.bounds.shift), *others)


# Small multipliers of a sum --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Term:
    """What one part adds to an element: scale · code, its code from ``least`` to ``most``."""

    scale: Fraction
    least: int
    most: int


@dataclass(frozen=True)
class _Sum:
    """One element of a sum: its terms, its shift, its bounds. Equal ones have equal multipliers."""

    terms: tuple[_Term, ...]
    shift: Fraction
    low: Bound
    high: Bound


def _small(lowering: Lowering, node: Node, joined: Joined, quantiser: Quantiser) -> ChainState | None:
    """Append the sum of small multiples of codes, and what is dropped of it; None where none are found."""
    parts = _shifted(joined)
    if any(part.value is None or part.is_bounded for part in parts):
        return None
    sums = [
        _Sum(
            tuple(_Term(part.scale[i], part.least[i], part.most[i]) for part in parts),
            sum((part.shift[i] for part in parts), Fraction(0)),
            joined.bounds.low[i],
            joined.bounds.high[i],
        )
        for i in range(len(parts[0].scale))
    ]
    groups = list(dict.fromkeys(sums))
    if len(groups) > MOST_GROUPS or any(_combinations(group) > MOST_COMBINATIONS for group in groups):
        return None
    looked = [_Looked.at(group, quantiser) for group in groups]
    for dropped in range(MOST_DROPPED + 1):
        chosen = [entry.fitted(dropped) for entry in looked]
        whole = {group: pair for group, pair in zip(groups, chosen) if pair is not None}
        if len(whole) < len(groups):
            continue
        scale = quantiser.step / (1 << dropped)
        made = []
        before = replace(node, name=f"{node.name}_part", origin="")
        for place, part in enumerate(parts):
            multipliers = tuple(whole[entry][0][place] for entry in sums)
            reach = max(abs(m) * max(abs(a), abs(b)) for m, a, b in zip(multipliers, part.least, part.most))
            stage = Stage(multipliers, 0, (0,) * len(sums), "floor", -reach, reach)
            made.append(requantize(lowering, before, part, stage, scale))
        total = _together(lowering, node, made, scale, 0, is_sum=True)
        low = min(entry.low for entry in looked)
        high = max(entry.high for entry in looked)
        offsets = tuple(whole[entry][1] - (low << dropped) for entry in sums)
        stage = Stage((1,) * len(sums), dropped, offsets, "floor", 0, high - low)
        state = requantize(lowering, node, total, stage, quantiser.step, quantiser.zero - low)
        ends = dict(zip(groups, looked))
        lows: list[int | None] = [ends[entry].low - low for entry in sums]
        highs: list[int | None] = [ends[entry].high - low for entry in sums]
        state = bounded_codes(lowering, node, state, lows, highs)
        count, start = len(sums), quantiser.start + quantiser.step * low
        return replace(readings(count), value=state.value, least=state.least, most=state.most,
                       scale=(quantiser.step,) * count, shift=(start,) * count)  # fmt: skip
    return None


def _combinations(group: _Sum) -> int:
    return math.prod(term.most - term.least + 1 for term in group.terms)


@dataclass(frozen=True, eq=False)
class _Looked:
    """All combinations of codes of a sum (``codes``: one array a term), and what the quantiser makes of each."""

    group: _Sum
    step: Fraction
    codes: tuple[np.ndarray, ...]
    found: np.ndarray
    low: int
    high: int

    @classmethod
    def at(cls, group: _Sum, quantiser: Quantiser) -> _Looked:
        """Look at all combinations of *group*."""
        axes = [np.arange(term.least, term.most + 1, dtype=object) for term in group.terms]
        codes = tuple(grid.reshape(-1) for grid in np.meshgrid(*axes, indexing="ij"))
        unit = common_unit([*(term.scale for term in group.terms), group.shift])
        whole = np.full(len(codes[0]), int(group.shift / unit), dtype=object)
        for term, grid in zip(group.terms, codes):
            whole = whole + int(term.scale / unit) * grid
        low = quantiser.low if group.low is None else quantiser.code(group.low)
        high = quantiser.high if group.high is None else quantiser.code(group.high)
        order = np.argsort(whole, kind="stable")
        rising: list[int] = whole[order].tolist()
        made = np.empty(len(rising), dtype=np.int64)
        start = 0
        while start < len(rising):  # codes rise with the sums: where each begins is found by halving
            reached = min(max(quantiser.code(rising[start] * unit), low), high)
            end = len(rising)
            if reached < high:
                after = _Codes(rising, unit, quantiser)
                end = bisect_left(after, reached + 1, start)
            made[start:end] = reached
            start = end
        found = np.empty(len(rising), dtype=np.int64)
        found[order] = made
        plain = tuple(grid.astype(np.int64) for grid in codes)
        return cls(group, quantiser.step, plain, found, low, high)

    def fitted(self, dropped: int) -> tuple[tuple[int, ...], int] | None:
        """Return multipliers and an offset with which floor((Σ multiplier · code + offset) / 2^dropped), bounded, is right."""
        multipliers = tuple(round(term.scale / self.step * (1 << dropped)) for term in self.group.terms)
        reach = sum(abs(m) * max(abs(term.least), abs(term.most)) for m, term in zip(multipliers, self.group.terms))
        if (reach + (max(abs(self.low), abs(self.high)) + 2 << dropped)) >> 60:
            return None
        total = np.zeros(len(self.found), dtype=np.int64)
        for multiplier, code in zip(multipliers, self.codes):
            total += multiplier * code
        above, below = self.found > self.low, self.found < self.high
        least = int(((self.found[above] << dropped) - total[above]).max()) if above.any() else None
        most = int(((self.found[below] + 1 << dropped) - total[below]).min()) - 1 if below.any() else None
        if least is not None and most is not None and least > most:
            return None
        return multipliers, roundest(least, most)


@dataclass(frozen=True, eq=False)
class _Codes(Sequence[int]):
    """The codes of rising sums, each worked out when it is asked for."""

    sums: list[int]
    unit: Fraction
    quantiser: Quantiser

    def __len__(self) -> int:
        return len(self.sums)

    def __getitem__(self, place: int) -> int:  # type: ignore[override]
        return self.quantiser.code(self.sums[place] * self.unit)
