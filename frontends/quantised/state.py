"""What stands for what while a quantised model becomes integers: real = clip(scale · code + shift), all of it exact."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from approxhw.ir.graph import Graph, Node, Op, kind_of
from approxhw.ir.kinds import Clip, Constant, Relu, Requantize, Type
from approxhw.ir.rewriting import code_constant
from approxhw.numerics.exact.requantizing import Stage
from approxhw.numerics.formats import Fixed

from .quantiser import NEEDS_QUANTISER, Codes, UnreadError

Bound = Fraction | None
MOST_GRID_BITS = 64
"""Most bits that bringing values to one scale may add to them."""


@dataclass(frozen=True, eq=False)
class ChainState:
    """Where the chain stands, element by element. ``value`` is None before the first quantiser: these are readings.

    ``low``, ``high``: activation bounds on the real value that nobody carried out yet. ``least``, ``most``: the range of
    the codes (Python integers; of readings empty).
    """

    value: str | None
    scale: tuple[Fraction, ...]
    shift: tuple[Fraction, ...]
    least: tuple[int, ...] = ()
    most: tuple[int, ...] = ()
    low: tuple[Bound, ...] = ()
    high: tuple[Bound, ...] = ()

    @property
    def is_bounded(self) -> bool:
        """Whether an activation waits to be carried out."""
        return any(bound is not None for bound in (*self.low, *self.high))

    @property
    def is_uniform(self) -> bool:
        """Whether one scale, other than 0, holds for every element."""
        return len(set(self.scale)) == 1 and self.scale[0] != 0


def readings(count: int) -> ChainState:
    """Return the state of *count* readings."""
    return ChainState(None, (Fraction(1),) * count, (Fraction(0),) * count, low=(None,) * count, high=(None,) * count)


def scaled_state(state: ChainState, scale: Iterable[Fraction], shift: Iterable[Fraction]) -> ChainState:
    """Return scale · state + shift: bounds go along, and change places where a scale is negative."""
    parts = []
    for s, t, old, add, low, high in zip(scale, shift, state.scale, state.shift, state.low, state.high, strict=True):
        ends = [None if bound is None or s == 0 else s * bound + t for bound in (low, high)]
        parts.append((s * old, s * add + t, *(ends if s >= 0 else reversed(ends))))
    made = tuple(zip(*parts))
    return replace(state, scale=made[0], shift=made[1], low=made[2], high=made[3])


def clipped(state: ChainState, low: Bound, high: Bound) -> ChainState:
    """Return min(max(state, low), high)."""

    def inside(bound: Fraction) -> Fraction:
        bound = bound if low is None else max(bound, low)
        return bound if high is None else min(bound, high)

    lows = tuple(low if bound is None else inside(bound) for bound in state.low)
    highs = tuple(high if bound is None else inside(bound) for bound in state.high)
    return replace(state, low=lows, high=highs)


@dataclass
class Lowering:
    """The integer Graph so far. ``graph``: the float Graph; ``codes``: integers behind its weights."""

    graph: Graph
    codes: dict[str, Codes]
    nodes: list[Node] = field(default_factory=list)

    def emit(self, node: Node, op: Op, value: tuple[str, ...], elements: int, scale: Fraction, zero: int = 0) -> str:
        """Append an integer Node in place of *node*; its width is fitted to its range in the end."""
        taken = {made.name for made in self.nodes} | ({other.name for other in self.graph.nodes} - {node.name})
        name, number = node.name, 2
        while name in taken:
            name, number = f"{node.name}_{number}", number + 1
        self.nodes.append(Node(name, op, value, Type((elements,), Fixed(1, False, abs(scale), zero)), node.origin))
        return name

    def constant(self, name: str) -> tuple[Fraction, ...]:
        """Return a constant of the float Graph."""
        return tuple(Fraction(value) for value in self.graph.constant(name).tolist())

    def format_of(self, name: str) -> Fixed:
        """Return the format of what was appended as *name*."""
        fmt = next(node for node in self.nodes if node.name == name).type.format
        assert isinstance(fmt, Fixed)
        return fmt

    def add_to_bias(self, name: str, offsets: Iterable[int]) -> None:
        """Add *offsets* to the bias of the layer *name*."""
        dense = next(node for node in self.nodes if node.name == name)
        for place, node in enumerate(self.nodes):
            if node.name == dense.inputs[2] and isinstance(node.op, Constant):
                data = [int(old) + new for old, new in zip(node.op.data.tolist(), offsets, strict=True)]
                assert isinstance(node.type.format, Fixed)
                self.nodes[place] = code_constant(node.name, data, node.type.format.scale, 0, node.origin)


def requantize(
    lowering: Lowering, node: Node, state: ChainState, stage: Stage, scale: Fraction, zero: int = 0
) -> ChainState:
    """Append *stage* as a ``Requantize``; return *state* with its value and range (scale and shift are the caller's)."""
    assert state.value is not None
    op = Requantize(_short(stage.multiplier), stage.shift, _short(stage.offset), stage.low, stage.high, stage.rounding)
    value = lowering.emit(node, op, (state.value,), len(state.scale), scale, zero)
    least, most = _ends(state, op)
    return replace(state, value=value, least=least, most=most)


def _short(values: tuple[int, ...]) -> tuple[int, ...]:
    return values[:1] if len(set(values)) == 1 else values


def _ends(state: ChainState, op: Op) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the range of what *op* makes of the codes."""
    elements: Callable[[Op, np.ndarray], np.ndarray] = kind_of(op).elements  # type: ignore[assignment]
    a, b = (elements(op, np.array(ends, dtype=object)).tolist() for ends in (state.least, state.most))
    return tuple(map(min, a, b)), tuple(map(max, a, b))


def bounded_codes(
    lowering: Lowering, node: Node, state: ChainState, low_ends: list[int | None], high_ends: list[int | None]
) -> ChainState:
    """Append what keeps each code within its own bounds; codes keep their meaning."""
    assert state.value is not None
    fmt = lowering.format_of(state.value)
    given = [bound for bound in (*low_ends, *high_ends) if bound is not None]
    floor, top = min((*state.least, *given)), max((*state.most, *given))
    lows = [floor if end is None else end for end in low_ends]
    highs = [top if end is None else end for end in high_ends]
    if len(set(lows)) == 1 and len(set(highs)) == 1:
        low, high = (lows[0] if lows[0] > floor else None), (highs[0] if highs[0] < top else None)
        if low is None and high is None:
            return state
        op: Op = Relu() if (low, high) == (0, None) else Clip(low, high)
        value = lowering.emit(node, op, (state.value,), len(state.scale), fmt.scale, fmt.zero)
        least, most = _ends(state, op)
        return replace(state, value=value, least=least, most=most)
    # bounds of one Node hold for all elements: codes are moved so that all low ends meet, then all high ones, then back
    reach = max(map(abs, (*lows, *highs, floor, top))) * 2 + 1
    ones, none = (1,) * len(lows), [0] * len(lows)
    moved = none
    for ends, low, high in ((lows, 0, reach), (highs, -reach, 0), (none, -reach, reach)):
        offsets = tuple(before - now for before, now in zip(moved, ends, strict=True))
        stage = Stage(ones, 0, offsets, "floor", low, high)
        state = requantize(lowering, node, state, stage, fmt.scale, fmt.zero)
        moved = ends
    return state


def on_one_scale(
    lowering: Lowering, node: Node, state: ChainState, *, shifted: bool = True, unit: Fraction | None = None
) -> ChainState:
    """Return *state* on codes of one scale, activations carried out: every real value is a whole number of its steps.

    *shifted*: a state of one scale may keep its shifts. *unit*: the step, where others have to have it too.
    """
    if shifted and not state.is_bounded and state.is_uniform:
        return state
    if state.value is None:
        raise UnreadError("clips readings that are not quantised", NEEDS_QUANTISER)
    known = [*state.scale, *state.shift, *(b for b in (*state.low, *state.high) if b is not None)]
    unit = common_unit(known) if unit is None else unit
    multiplier = tuple(int(scale / unit) for scale in state.scale)
    if max(abs(m).bit_length() for m in multiplier) > MOST_GRID_BITS:
        raise UnreadError(
            "follows an activation that is not quantised, on channels of different scales", NEEDS_QUANTISER
        )
    offset = tuple(int(shift / unit) for shift in state.shift)
    before = replace(node, name=f"{node.name}_bound", origin="")
    if set(multiplier) != {1} or any(offset):
        reach = max(
            abs(m * end + o) for ends in (state.least, state.most) for m, o, end in zip(multiplier, offset, ends)
        )
        state = requantize(lowering, before, state, Stage(multiplier, 0, offset, "floor", -reach, reach), unit)
    lows, highs = ([None if b is None else int(b / unit) for b in bounds] for bounds in (state.low, state.high))
    state = bounded_codes(lowering, before, state, lows, highs)
    count = len(state.scale)
    free: tuple[Bound, ...] = (None,) * count
    return replace(state, scale=(unit,) * count, shift=(Fraction(0),) * count, low=free, high=free)


def common_unit(values: Iterable[Fraction]) -> Fraction:
    """Return the greatest number that all *values* are whole multiples of."""
    numbers = [value for value in values if value]
    if not numbers:
        return Fraction(1)
    whole = math.lcm(*(value.denominator for value in numbers))
    return Fraction(math.gcd(*(int(value * whole) for value in numbers)), whole)
