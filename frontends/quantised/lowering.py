"""A quantised model, read as a float Graph of rationals with quantisers in it → an integer Graph of exactly its meaning.

The Graph is a chain. Along it a :class:`ChainState` says what real value a code stands for, element by element. A quantiser turns
that into the ``Requantize`` that rounds every sum that can be met as the rationals do; a layer into integers, whose bias keeps
what is left of its fraction; a head into the order of the rationals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import cast

import numpy as np

from approxhw.ir.chain import is_decision
from approxhw.ir.graph import Graph, Node, kind_of
from approxhw.ir.kinds import Affine, ArgMax, Binarize, Clip, Constant, Dense, Input, Relu, Reshape, Threshold, Type
from approxhw.ir.rewriting import code_constant, fit_formats
from approxhw.numerics.exact.requantizing import Scaled, Stage, fit
from approxhw.numerics.formats import FLOAT64, Fixed, fixed_for
from approxhw.numerics.mac.arithmetic import Exact

from .deciding import decide_argmax, decide_labels, decide_threshold
from .encoding import encoded
from .quantiser import NEEDS_QUANTISER, Codes, FakeQuantize, Quantiser, UnreadError
from .state import ChainState, Lowering, bounded_codes, clipped, on_one_scale, readings, requantize, scaled_state


@dataclass(frozen=True)
class Unread:
    """What of a quantised model is not read: the Node of its float Graph, and why."""

    node: Node
    error: UnreadError


def lower_graph(graph: Graph, codes: dict[str, Codes]) -> Graph | Unread:
    """Return the integer Graph of *graph*, which holds ``FakeQuantize``; *codes*: the integers behind its weights.

    A model that quantises its input alone keeps float layers behind integer readings. Of what cannot be read, the first
    Node is returned.
    """
    lowering = Lowering(graph, codes)
    state = readings(graph.input.type.elements)
    for place, node in enumerate(graph.nodes):
        if isinstance(node.op, Constant | Input):
            continue
        if isinstance(node.op, Dense) and _is_float_from(graph, place, codes) and _are_codes(lowering, state):
            return _with_floats(lowering, state, place)
        try:
            step = _STEPS.get(type(node.op), _unknown)
            state = step(lowering, node, state)
            if place == len(graph.nodes) - 1 and not (is_decision(node) or isinstance(node.op, Binarize)):
                state = _told_by_format(lowering, node, state)
        except UnreadError as error:
            return Unread(node, error)
        except ArithmeticError:
            why = UnreadError(
                "its scale is out of all proportion to that of its input", "calibrate again", invalid=True
            )
            return Unread(node, why)
    return fit_formats(replace(graph, nodes=tuple(lowering.nodes), output=lowering.nodes[-1].name))


def _told_by_format(lowering: Lowering, node: Node, state: ChainState) -> ChainState:
    """Return *state*, the numbers that a regressor ends with, on codes whose format says what they stand for."""
    if state.value is None:
        raise UnreadError("ends with readings that are not quantised", NEEDS_QUANTISER)
    return state if _are_codes(lowering, state) else on_one_scale(lowering, node, state, shifted=False)


def _unknown(lowering: Lowering, node: Node, state: ChainState) -> ChainState:
    said = kind_of(node.op).said
    why = f"{said(node.op) if said else node.kind} between quantised layers is not read"
    raise UnreadError(why, "quantise with ReLU, or leave the model in floats")


def _affine(lowering: Lowering, node: Node, state: ChainState) -> ChainState:
    return scaled_state(state, lowering.constant(node.inputs[1]), lowering.constant(node.inputs[2]))


def _relu(lowering: Lowering, node: Node, state: ChainState) -> ChainState:
    return clipped(state, Fraction(0), None)


def _clip(lowering: Lowering, node: Node, state: ChainState) -> ChainState:
    assert isinstance(node.op, Clip)
    low, high = (None if bound is None else Fraction(bound) for bound in (node.op.low, node.op.high))
    return clipped(state, low, high)


def _reshape(lowering: Lowering, node: Node, state: ChainState) -> ChainState:
    return state  # the Input is flat in an integer Graph; only the Input is ever reshaped


def _quantise(lowering: Lowering, node: Node, state: ChainState) -> ChainState:
    quantiser = cast("FakeQuantize", node.op).quantiser  # no Op: its Nodes end here
    lows, highs = (
        [end if bound is None else quantiser.code(bound) for bound in bounds]
        for bounds, end in ((state.low, quantiser.low), (state.high, quantiser.high))
    )
    if state.value is None:
        state, origin = encoded(lowering, state, quantiser)
    else:
        state, origin = _requantised(lowering, node, state, quantiser, min(lows), max(highs))
    moved = [[code - origin for code in ends] for ends in (lows, highs)]
    state = bounded_codes(lowering, node, state, *(cast("list[int | None]", ends) for ends in moved))
    step, start = quantiser.step, quantiser.start + quantiser.step * origin
    if (
        quantiser.bipolar
    ):  # 0 and 1 stand for -1 and 1: no integer is between them, so that the codes are those themselves
        last = Stage((2,) * len(lows), 0, (2 * origin - 1,) * len(lows), "floor", -1, 1)
        state, step, start = requantize(lowering, node, state, last, quantiser.scale), quantiser.scale, Fraction(0)
    count = len(lows)
    return replace(readings(count), value=state.value, least=state.least, most=state.most,
                   scale=(step,) * count, shift=(start,) * count)  # fmt: skip


def _requantised(
    lowering: Lowering, node: Node, state: ChainState, quantiser: Quantiser, low: int, high: int
) -> tuple[ChainState, int]:
    """Return the state of codes from *low* to *high*, and what was taken from them: they leave as unsigned ones."""
    elements = [
        Scaled(scale / quantiser.scale, shift / quantiser.scale + quantiser.before, least, most)
        for scale, shift, least, most in zip(state.scale, state.shift, state.least, state.most)
    ]
    # modes that look at the sign need 0 where it is
    origin = quantiser.base if quantiser.mode in ("to-zero", "from-zero") else low
    stages = fit(elements, quantiser.mode, quantiser.base - origin, low - origin, high - origin)
    if len(stages) == 1 and _does_nothing(stages[0], state):
        return state, origin
    zero = quantiser.zero - origin
    for stage in stages:
        state = requantize(lowering, node, state, stage, quantiser.step, zero)
    return state, origin


def _does_nothing(stage: Stage, state: ChainState) -> bool:
    inside = stage.low <= min(state.least) and max(state.most) <= stage.high
    return inside and not stage.shift and set(stage.multiplier) == {1} and not any(stage.offset)


def _dense(lowering: Lowering, node: Node, state: ChainState) -> ChainState:
    graph, codes = lowering.graph, lowering.codes.get(node.inputs[1])
    if state.value is None and node.name.startswith("input_pick"):
        why = "columns are picked or reordered before they are quantised"
        raise UnreadError(why, "quantise the input as a whole, in its order, or pick columns before the model")
    if state.value is None:
        raise UnreadError("a layer reads values that are not quantised", NEEDS_QUANTISER)
    if codes is None:
        raise UnreadError("its weights are not quantised", "quantise the weights of every layer")
    state = on_one_scale(lowering, node, state)
    assert state.value is not None
    step, weight = state.scale[0], codes.integers.astype(object)
    by_output = [Fraction(scale) for scale in _scales(codes).tolist()]
    products = [step * scale for scale in by_output]
    # what a shift of the operands adds to each sum, in steps of it
    shifts = np.array([shift / step for shift in state.shift], dtype=object)
    added = (weight @ shifts).tolist()
    bias = [b / p for b, p in zip(lowering.constant(node.inputs[2]), products, strict=True)]
    whole = [round(b) + (int(a) if a == round(a) else round(a)) for b, a in zip(bias, added)]
    rest = [(b + a - w) * p for b, a, w, p in zip(bias, added, whole, products)]
    # one scale stands for all channels in the format; what follows has the true one of each
    weight_scale = max(by_output)
    product_scale = weight_scale * lowering.format_of(state.value).scale
    lowest, highest = int(weight.min()), int(weight.max())
    fmt = fixed_for(min(lowest, -1), highest, weight_scale)
    names = node.inputs[1:]
    data = codes.integers.astype(np.int64)
    lowering.nodes.append(Node(names[0], Constant(data), (), Type(data.shape, fmt), graph[names[0]].origin))
    lowering.nodes.append(code_constant(names[1], whole, product_scale, 0, graph[names[1]].origin))
    value = lowering.emit(node, Dense(Exact(fmt.bits)), (state.value, *names), len(data), product_scale)
    least, most = _sums(weight, whole, state)
    made = replace(readings(len(data)), value=value, least=least, most=most)
    return replace(made, scale=tuple(products), shift=tuple(rest))


def _scales(codes: Codes) -> np.ndarray:
    """Return the scale of the weights of each output."""
    outputs, scale = len(codes.integers), codes.scale
    if scale.size == 1:
        return np.repeat(scale.reshape(-1), outputs)
    if scale.ndim == 2 and scale.shape[1] > 1:
        raise UnreadError("its weights have one scale an input", "quantise weights by tensor or by output channel")
    return np.broadcast_to(scale.reshape(-1), (outputs,))


def _sums(weight: np.ndarray, bias: list[int], state: ChainState) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the least and the greatest sum of each output."""
    least, most = (np.array(ends, dtype=object) for ends in (state.least, state.most))
    up, down = np.maximum(weight, 0), np.minimum(weight, 0)
    ends = (up @ least + down @ most, up @ most + down @ least)
    low, high = (tuple(int(end) + b for end, b in zip(side.tolist(), bias)) for side in ends)
    return low, high


_STEPS: dict[type, Callable[[Lowering, Node, ChainState], ChainState]] = {
    Affine: _affine,
    Relu: _relu,
    Clip: _clip,
    Reshape: _reshape,
    FakeQuantize: _quantise,
    Dense: _dense,
    ArgMax: decide_argmax,
    Threshold: decide_threshold,
    Binarize: decide_labels,
}


def _is_float_from(graph: Graph, place: int, codes: dict[str, Codes]) -> bool:
    """Whether everything from the Node at *place* on is of a float model."""
    quantised = any(isinstance(cast("object", node.op), FakeQuantize) for node in graph.nodes[place:])
    return not quantised and not any(node.inputs[1] in codes for node in graph.nodes if isinstance(node.op, Dense))


def _are_codes(lowering: Lowering, state: ChainState) -> bool:
    """Whether the state is the real values of codes of the Input, and nothing else."""
    if state.value is None or state.is_bounded or not state.is_uniform:
        return False
    fmt = lowering.format_of(state.value)
    return state.scale[0] == fmt.scale and set(state.shift) == {-fmt.scale * fmt.zero}


def _with_floats(lowering: Lowering, state: ChainState, place: int) -> Graph:
    """Return the Graph whose Nodes from *place* on are float Nodes that read the codes of the Input as real values."""
    graph = lowering.graph
    kept = {name for node in graph.nodes[place:] for name in node.inputs}
    before = [node for node in graph.nodes[:place] if isinstance(node.op, Constant) and node.name in kept]
    dense = graph.nodes[place]
    assert state.value is not None
    nodes: list[Node] = []
    for node in (*before, *graph.nodes[place:]):
        if node is dense:
            node = replace(node, inputs=(state.value, *node.inputs[1:]))
        if isinstance(node.op, Constant):
            node = replace(node, op=Constant(node.op.data.astype(np.float64)))
        elif isinstance(node.op, Threshold):
            node = replace(node, op=Threshold(float(node.op.threshold)))
        if not isinstance(node.type.format, Fixed):
            node = replace(node, type=Type(node.type.shape, FLOAT64))
        nodes.append(node)
    return fit_formats(replace(graph, nodes=(*lowering.nodes, *nodes), output=nodes[-1].name))
