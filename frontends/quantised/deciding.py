"""The head of a quantised model → the order of its real outputs on integers, ties included."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

from approxhw.ir.graph import Node
from approxhw.ir.kinds import Binarize, Clip, Dense, Relu, Threshold
from approxhw.numerics.exact.order import Ranged, order_alike
from approxhw.numerics.exact.requantizing import Stage

from .quantiser import NEEDS_QUANTISER, UnreadError
from .state import Bound, ChainState, Lowering, bounded_codes, requantize


def decide_argmax(lowering: Lowering, node: Node, state: ChainState) -> ChainState:
    """Append an ``ArgMax`` of integers that are ordered as the real values are."""
    if state.value is None:
        raise UnreadError("decides on values that are not quantised", NEEDS_QUANTISER)
    classes = [Ranged(*entry) for entry in zip(state.scale, state.shift, state.least, state.most, strict=True)]
    before = replace(node, name="scores", origin="")
    if len(set(state.low)) == 1 and len(set(state.high)) == 1:
        state = _ordered(lowering, before, state, classes, state.low[0], state.high[0])
    else:  # bounds that differ are compared as they are, in a unit that all of them are whole multiples of
        bounds = [bound for bound in (*state.low, *state.high) if bound is not None]
        whole = math.lcm(*(v.denominator for v in (*state.scale, *state.shift, *bounds)))
        multipliers, offsets = (tuple(int(v * whole) for v in part) for part in (state.scale, state.shift))
        state = requantize(lowering, before, state, _wide(state, multipliers, offsets), Fraction(1, whole))
        lows, highs = ([None if b is None else int(b * whole) for b in part] for part in (state.low, state.high))
        state = bounded_codes(lowering, before, state, lows, highs)
    assert state.value is not None
    lowering.nodes.append(replace(node, inputs=(state.value,)))
    return state


def _ordered(
    lowering: Lowering, node: Node, state: ChainState, classes: list[Ranged], low: Bound, high: Bound
) -> ChainState:
    """Append what orders *classes*, clipped to *low* and *high*.

    A bound is one more class, of one value: a lower one before all others, so that it wins or ties against just those sums
    that it clips, an upper one behind them.
    """
    floor = [] if low is None else [Ranged(Fraction(0), low, 0, 0)]
    top = [] if high is None else [Ranged(Fraction(0), high, 0, 0)]
    multipliers, offsets = order_alike([*floor, *classes, *top])
    least = offsets[0] if floor else None
    if floor:  # from 0 on
        offsets = tuple(offset - offsets[0] for offset in offsets)
        least = 0
    most = offsets[-1] if top else None
    inner = slice(len(floor), len(floor) + len(classes))
    multipliers, offsets = multipliers[inner], offsets[inner]
    assert state.value is not None
    dense = next(made for made in lowering.nodes if made.name == state.value)
    if set(multipliers) == {1} and (isinstance(dense.op, Dense) or len(set(offsets)) == 1):
        if isinstance(dense.op, Dense):
            lowering.add_to_bias(state.value, offsets)
        else:  # the same summand everywhere decides nothing
            least, most = (None if end is None else end - offsets[0] for end in (least, most))
        if least is None and most is None:
            return state
        op = Relu() if (least, most) == (0, None) else Clip(least, most)
        fmt = lowering.format_of(state.value)
        return replace(state, value=lowering.emit(node, op, (state.value,), len(classes), fmt.scale, fmt.zero))
    stage = _wide(state, multipliers, offsets)
    low_end, high_end = (stage.low if least is None else least), (stage.high if most is None else most)
    stage = replace(stage, low=low_end if most is None else min(low_end, most), high=max(low_end, high_end))
    return requantize(lowering, node, state, stage, lowering.format_of(state.value).scale)


def _wide(state: ChainState, multipliers: tuple[int, ...], offsets: tuple[int, ...]) -> Stage:
    """Return the stage without bounds that these codes would meet."""
    ends = [
        m * end + o for m, o, low, high in zip(multipliers, offsets, state.least, state.most) for end in (low, high)
    ]
    return Stage(multipliers, 0, offsets, "floor", min(ends), max(ends))


def decide_threshold(lowering: Lowering, node: Node, state: ChainState) -> ChainState:
    """Append a ``Threshold`` on the code: 1 where its real value is greater than the model's threshold."""
    if state.value is None:
        raise UnreadError("decides on values that are not quantised", NEEDS_QUANTISER)
    assert isinstance(node.op, Threshold)
    ((sign, code),) = _limits(state, Fraction(node.op.threshold))
    if sign < 0:  # the less the code, the greater its value: compared the other way around
        before = replace(node, name="score", origin="")
        state = requantize(lowering, before, state, _wide(state, (-1,), (0,)), lowering.format_of(state.value).scale)
    assert state.value is not None
    lowering.nodes.append(replace(node, op=Threshold(code), inputs=(state.value,)))
    return state


def decide_labels(lowering: Lowering, node: Node, state: ChainState) -> ChainState:
    """Append a ``Binarize`` on codes: element by element, 1 where the real value is greater than the model's threshold."""
    if state.value is None:
        raise UnreadError("decides on values that are not quantised", NEEDS_QUANTISER)
    assert isinstance(node.op, Binarize)
    limits = _limits(state, Fraction(node.op.threshold))
    signs, codes = zip(*limits)
    code = codes[0] if set(signs) == {1} and len(set(codes)) == 1 else 0
    offsets = tuple(code - own for own in codes)
    dense = next(made for made in lowering.nodes if made.name == state.value)
    if set(signs) == {1} and isinstance(dense.op, Dense):
        lowering.add_to_bias(state.value, offsets)
    elif set(signs) != {1} or any(offsets):
        before = replace(node, name="scores", origin="")
        stage = _wide(state, signs, offsets)
        state = requantize(lowering, before, state, stage, lowering.format_of(state.value).scale)
    assert state.value is not None
    lowering.nodes.append(replace(node, op=Binarize(code), inputs=(state.value,)))
    return state


def _limits(state: ChainState, bound: Fraction) -> list[tuple[int, int]]:
    """Return a sign and a code for each element: its real value exceeds *bound* where sign times its code exceeds that one."""
    found = []
    parts = (state.scale, state.shift, state.low, state.high, state.least, state.most)
    for scale, shift, low, high, least, most in zip(*parts, strict=True):
        if scale == 0 or (low is not None and low > bound) or (high is not None and high <= bound):
            value = shift if low is None else max(shift, low)
            value = value if high is None else min(value, high)
            always = value > bound if scale == 0 else low is not None and low > bound
            found.append((1, least - 1 if always else most))
        elif scale > 0:
            found.append((1, min(max(math.floor((bound - shift) / scale), least - 1), most)))
        else:
            found.append((-1, min(max(math.floor((bound - shift) / -scale), -most - 1), -least)))
    return found
