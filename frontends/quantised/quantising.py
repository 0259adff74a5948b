"""A quantiser → what rounds every value that can be met as the rationals are rounded: the Input, a Requantize, or a table."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import cast

import numpy as np

from approxhw.ir.graph import Node, Op
from approxhw.ir.kinds import MOST_LOOKUP_BITS, HardSwish, Lookup, ThresholdedRelu
from approxhw.numerics.exact.requantizing import Scaled, Stage, fit
from approxhw.numerics.formats import fixed_for
from approxhw.numerics.functions.formulas import formula_text, formula_values

from .encoding import encoded
from .quantiser import NEEDS_QUANTISER, Quantiser, UnreadError
from .state import ChainState, Lowering, bounded_codes, readings, requantize

SIGNED_MODES = ("to-zero", "from-zero")
"""Modes that look at the sign: they need 0 where it is."""


def quantised_state(
    lowering: Lowering, node: Node, state: ChainState, quantiser: Quantiser, origin: int | None = None
) -> ChainState:
    """Return the codes of *state*. *origin*: what is taken from them; None: what makes them unsigned.

    Where it is said, they are on a Node of their own, in the quantiser's format.
    """
    lows, highs = (
        [end if bound is None else quantiser.code(bound) for bound in bounds]
        for bounds, end in ((state.low, quantiser.low), (state.high, quantiser.high))
    )
    if state.value is not None:
        state, origin = _requantised(lowering, node, state, quantiser, (min(lows), max(highs)), origin)
    elif origin is None:
        state, origin = encoded(lowering, state, quantiser)
    else:
        raise UnreadError("joins readings that are not quantised", NEEDS_QUANTISER)
    moved = [[code - origin for code in ends] for ends in (lows, highs)]
    state = bounded_codes(lowering, node, state, *(cast("list[int | None]", ends) for ends in moved))
    return _said(lowering, node, state, quantiser, origin)


def _said(lowering: Lowering, node: Node, state: ChainState, quantiser: Quantiser, origin: int) -> ChainState:
    """Return *state*, codes less *origin*, with what they stand for."""
    count = len(state.scale)
    step, start = quantiser.step, quantiser.start + quantiser.step * origin
    if quantiser.bipolar:
        # 0 and 1 stand for -1 and 1: no integer is between them, so that the codes are those themselves
        last = Stage((2,) * count, 0, (2 * origin - 1,) * count, "floor", -1, 1)
        state, step, start = requantize(lowering, node, state, last, quantiser.scale), quantiser.scale, Fraction(0)
    return replace(readings(count), value=state.value, least=state.least, most=state.most,
                   scale=(step,) * count, shift=(start,) * count)  # fmt: skip


def _requantised(
    lowering: Lowering,
    node: Node,
    state: ChainState,
    quantiser: Quantiser,
    ends: tuple[int, int],
    origin: int | None,
) -> tuple[ChainState, int]:
    """Return the state of codes between *ends*, and what was taken from them."""
    elements = [
        Scaled(scale / quantiser.scale, shift / quantiser.scale + quantiser.before, least, most)
        for scale, shift, least, most in zip(state.scale, state.shift, state.least, state.most)
    ]
    free = origin is None
    if origin is None:
        origin = quantiser.base if quantiser.mode in SIGNED_MODES else ends[0]
    low, high = ends
    stages = fit(elements, quantiser.mode, quantiser.base - origin, low - origin, high - origin)
    if free and len(stages) == 1 and _does_nothing(stages[0], state):
        return state, origin
    for stage in stages:
        state = requantize(lowering, node, state, stage, quantiser.step, quantiser.zero - origin)
    return state, origin


def _does_nothing(stage: Stage, state: ChainState) -> bool:
    inside = stage.low <= min(state.least) and max(state.most) <= stage.high
    return inside and not stage.shift and set(stage.multiplier) == {1} and not any(stage.offset)


# Tables ----------------------------------------------------------------------------------------------------------------

Function = Callable[[Fraction], Fraction]


@dataclass(frozen=True, eq=False)
class Tabled:
    """A function of codes that are few, not yet carried out: value = function(real value of ``base``).

    ``said``: what it is called.
    """

    base: ChainState
    function: Function
    said: str
    is_calculated: bool = False
    """Whether the function is one of floats, and so not exact."""


def exact_function(op: Op) -> Function:
    """Return what *op*, an activation, makes of one value: exact, but for formulas, which are calculated in float64."""
    if isinstance(op, HardSwish):
        offset, low, high = Fraction(op.offset), Fraction(op.low), Fraction(op.high)
        return lambda value: value * min(max(value + offset, low), high)
    if isinstance(op, ThresholdedRelu):
        bound = Fraction(op.threshold)
        return lambda value: value if value > bound else Fraction(0)
    assert isinstance(op, Lookup)
    formula = op.formula

    def calculated(value: Fraction) -> Fraction:
        found = float(formula_values(formula, np.array([float(value)]))[0])
        if not math.isfinite(found):
            raise UnreadError(f"{formula_text(formula)[:80]} is not defined at {float(value):g}, which it reads")
        return Fraction(found)

    return calculated


def tabled(state: ChainState, op: Op, said: str) -> Tabled:
    """Return *op* of *state*, where it can be tabulated; raise :class:`UnreadError` elsewhere."""
    if state.value is None:
        raise UnreadError(f"{said} reads readings that are not quantised", NEEDS_QUANTISER)
    bits = fixed_for(min(state.least), max(state.most)).bits
    if bits > MOST_LOOKUP_BITS:
        why = f"{said} reads values of {bits} bits: tables are looked up by {MOST_LOOKUP_BITS} bits at most"
        raise UnreadError(why, f"quantise what it reads to {MOST_LOOKUP_BITS} bits or fewer, or use ReLU or LeakyReLU")
    if any(len(set(part)) > 1 for part in (state.scale, state.shift, state.low, state.high)):
        raise UnreadError(f"{said} reads values on several scales", NEEDS_QUANTISER)
    return Tabled(state, exact_function(op), said, isinstance(op, Lookup))


def scaled_table(table: Tabled, scale: tuple[Fraction, ...], shift: tuple[Fraction, ...]) -> Tabled:
    """Return scale · table + shift; raise :class:`UnreadError` where that differs from element to element."""
    if len(set(scale)) > 1 or len(set(shift)) > 1:
        raise UnreadError(f"{table.said} is scaled by channel before it is quantised", NEEDS_QUANTISER)
    factor, added, inner = scale[0], shift[0], table.function
    return replace(table, function=lambda value: factor * inner(value) + added)


def bounded_table(table: Tabled, low: Fraction | None, high: Fraction | None) -> Tabled:
    """Return min(max(table, low), high)."""
    inner = table.function

    def bounded(value: Fraction) -> Fraction:
        found = inner(value) if low is None else max(inner(value), low)
        return found if high is None else min(found, high)

    return replace(table, function=bounded)


def _is_doubtful(quotient: Fraction) -> bool:
    """Whether an error of float64 decides how *quotient* is rounded; exact halves, as of a function at 0, are taken as such."""
    apart = abs(2 * quotient - round(2 * quotient))
    return 0 < apart < Fraction(1, 10**9) * max(Fraction(1), abs(quotient))


def quantised_table(lowering: Lowering, node: Node, table: Tabled, quantiser: Quantiser) -> ChainState:
    """Append the table of codes that *quantiser* makes of it; return its state."""
    base = table.base
    assert base.value is not None
    least, most = min(base.least), max(base.most)
    low, high = base.low[0], base.high[0]
    found = []
    for code in range(least, most + 1):
        value = base.scale[0] * code + base.shift[0]
        value = value if low is None else max(value, low)
        value = value if high is None else min(value, high)
        made = table.function(value)
        if table.is_calculated and _is_doubtful(made / quantiser.scale):
            why = f"rounds {table.said} of {float(value):g} to one of two codes: which one is not known"
            raise UnreadError(why, "calibrate again: another scale moves it off the middle between them")
        found.append(quantiser.code(made))
    origin = quantiser.base if quantiser.mode in SIGNED_MODES else min(found)
    size = 1 << max(fixed_for(least, most).bits, 1)
    codes = {code % size: made - origin for code, made in zip(range(least, most + 1), found)}
    op = Lookup((), tuple(codes.get(place, 0) for place in range(size)))
    count, zero = len(base.scale), quantiser.zero - origin
    value_name = lowering.emit(node, op, (base.value,), count, quantiser.step, zero)
    ends = (min(codes.values()),) * count, (max(codes.values()),) * count
    state = replace(readings(count), value=value_name, least=ends[0], most=ends[1])
    return _said(lowering, node, state, quantiser, origin)
