"""A quantised model, read as a float Graph of rationals with quantisers in it → an integer Graph of exactly its meaning.

Along the Graph a :class:`ChainState` says what real value a code stands for, element by element; a ``Joined`` what parts are
added up or stand side by side, a ``Tabled`` which function of codes waits for its quantiser. A quantiser turns that into the
``Requantize`` that rounds every sum that can be met as the rationals do, or a table; a layer into integers, whose bias keeps what
is left of its fraction; a head into the order of the rationals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import cast

import numpy as np

from approxhw.ir.chain import is_decision
from approxhw.ir.graph import Graph, Node, kind_of
from approxhw.ir.kinds import (
    Add,
    Affine,
    ArgMax,
    Binarize,
    Clip,
    Concat,
    Constant,
    Dense,
    HardSwish,
    Input,
    LeakyRelu,
    Lookup,
    PRelu,
    Relu,
    Reshape,
    Threshold,
    ThresholdedRelu,
    Type,
)
from approxhw.ir.rewriting import code_constant, fit_formats
from approxhw.numerics.formats import FLOAT64, Fixed, fixed_for
from approxhw.numerics.mac.arithmetic import Exact

from .deciding import decide_argmax, decide_labels, decide_threshold
from .joining import Joined, added, bent, carried_out, joined_clipped, joined_scaled, quantised_joined, side_by_side
from .quantiser import NEEDS_QUANTISER, Codes, FakeQuantize, UnreadError
from .quantising import Tabled, bounded_table, quantised_state, quantised_table, scaled_table, tabled
from .state import ChainState, Lowering, clipped, on_one_scale, readings, scaled_state

State = ChainState | Joined | Tabled


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
    states: dict[str, State] = {graph.input.name: readings(graph.input.type.elements)}
    for place, node in enumerate(graph.nodes):
        if isinstance(node.op, Constant | Input):
            continue
        try:
            is_float = isinstance(node.op, Dense) and _is_float_from(graph, place, codes)
            if is_float and _are_codes(lowering, states[node.inputs[0]]):
                return _with_floats(lowering, states, place)
            states[node.name] = _step(lowering, node, states)
            if node.name == graph.output and not (is_decision(node) or isinstance(node.op, Binarize)):
                _told_by_format(lowering, node, states[node.name])
        except UnreadError as error:
            return Unread(node, error)
        except ArithmeticError:
            why = UnreadError(
                "its scale is out of all proportion to that of its input", "calibrate again", invalid=True
            )
            return Unread(node, why)
    return fit_formats(replace(graph, nodes=tuple(lowering.nodes), output=lowering.nodes[-1].name))


def _step(lowering: Lowering, node: Node, states: dict[str, State]) -> State:
    """Append what *node* becomes; return its state."""
    if isinstance(node.op, Add):
        return added([_summand(lowering, node, states[name]) for name in node.inputs])
    if isinstance(node.op, Concat):
        return side_by_side([_plain(lowering, node, states[name]) for name in node.inputs])
    state = states[node.inputs[0]]
    if isinstance(node.op, Reshape):
        return state  # the Input is flat in an integer Graph; only the Input is ever reshaped
    if isinstance(cast("object", node.op), FakeQuantize):
        return _quantise(lowering, node, state)
    if isinstance(node.op, Affine):
        return _scaled(state, *(lowering.constant(name) for name in node.inputs[1:]))
    if isinstance(node.op, Relu | Clip):
        bounds = (0, None) if isinstance(node.op, Relu) else (node.op.low, node.op.high)
        return _clipped(state, *(None if bound is None else Fraction(bound) for bound in bounds))
    return _STEPS.get(type(node.op), _unknown)(lowering, node, _plain(lowering, node, state))


def _plain(lowering: Lowering, node: Node, state: State) -> ChainState:
    """Return *state* as codes that stand for real values each."""
    if isinstance(state, Tabled):
        raise UnreadError(f"reads {state.said} that is not quantised", NEEDS_QUANTISER)
    if isinstance(state, Joined):
        return carried_out(lowering, replace(node, name=f"{node.name}_joined", origin=""), state)
    return state


def _summand(lowering: Lowering, node: Node, state: State) -> ChainState | Joined:
    if isinstance(state, Joined) and state.is_sum and not state.bounds.is_bounded:
        return state
    return _plain(lowering, node, state)


def _scaled(state: State, scale: tuple[Fraction, ...], shift: tuple[Fraction, ...]) -> State:
    if isinstance(state, Joined):
        return joined_scaled(state, scale, shift)
    return scaled_table(state, scale, shift) if isinstance(state, Tabled) else scaled_state(state, scale, shift)


def _clipped(state: State, low: Fraction | None, high: Fraction | None) -> State:
    if isinstance(state, Joined):
        return joined_clipped(state, low, high)
    return bounded_table(state, low, high) if isinstance(state, Tabled) else clipped(state, low, high)


def _quantise(lowering: Lowering, node: Node, state: State) -> ChainState:
    quantiser = cast("FakeQuantize", node.op).quantiser  # no Op: its Nodes end here
    if isinstance(state, Joined):
        return quantised_joined(lowering, node, state, quantiser)
    if isinstance(state, Tabled):
        return quantised_table(lowering, node, state, quantiser)
    return quantised_state(lowering, node, state, quantiser)


def _told_by_format(lowering: Lowering, node: Node, state: State) -> None:
    """Put the numbers that a regressor ends with on codes whose format says what they stand for."""
    plain = _plain(lowering, node, state)
    if plain.value is None:
        raise UnreadError("ends with readings that are not quantised", NEEDS_QUANTISER)
    if not _are_codes(lowering, plain):
        on_one_scale(lowering, node, plain, shifted=False)


def _unknown(lowering: Lowering, node: Node, state: ChainState) -> ChainState:
    said = kind_of(node.op).said
    why = f"{said(node.op) if said else node.kind} between quantised layers is not read"
    raise UnreadError(why, "quantise with ReLU, or leave the model in floats")


def _leaky(lowering: Lowering, node: Node, state: ChainState) -> State:
    assert isinstance(node.op, LeakyRelu | PRelu)
    return bent(state, (node.op.alpha,) if isinstance(node.op, LeakyRelu) else node.op.slopes)


def _tabulated(lowering: Lowering, node: Node, state: ChainState) -> State:
    op, said = node.op, kind_of(node.op).said
    assert said is not None
    return tabled(state, op, said(op).partition(":")[0])


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


_STEPS: dict[type, Callable[[Lowering, Node, ChainState], State]] = {
    LeakyRelu: _leaky,
    PRelu: _leaky,
    HardSwish: _tabulated,
    ThresholdedRelu: _tabulated,
    Lookup: _tabulated,
    Dense: _dense,
    ArgMax: decide_argmax,
    Threshold: decide_threshold,
    Binarize: decide_labels,
}


def _is_float_from(graph: Graph, place: int, codes: dict[str, Codes]) -> bool:
    """Whether everything from the Node at *place* on is of a float model."""
    quantised = any(isinstance(cast("object", node.op), FakeQuantize) for node in graph.nodes[place:])
    return not quantised and not any(node.inputs[1] in codes for node in graph.nodes if isinstance(node.op, Dense))


def _are_codes(lowering: Lowering, state: State) -> bool:
    """Whether the state is the real values of codes of the Input, and nothing else."""
    if not isinstance(state, ChainState) or state.value is None or state.is_bounded or not state.is_uniform:
        return False
    fmt = lowering.format_of(state.value)
    return state.scale[0] == fmt.scale and set(state.shift) == {-fmt.scale * fmt.zero}


def _with_floats(lowering: Lowering, states: dict[str, State], place: int) -> Graph:
    """Return the Graph whose Nodes from *place* on are float Nodes that read codes of the Input as real values."""
    graph = lowering.graph
    later = graph.nodes[place:]
    kept = {name for node in later for name in node.inputs}
    before = [node for node in graph.nodes[:place] if isinstance(node.op, Constant) and node.name in kept]
    renamed: dict[str, str] = {}
    for name in kept.intersection(states):
        state = states[name]
        if not isinstance(state, ChainState) or not _are_codes(lowering, state):
            raise UnreadError("float layers read several forms of the input", NEEDS_QUANTISER)
        renamed[name] = str(state.value)
    nodes: list[Node] = []
    for node in (*before, *later):
        node = replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs))
        if isinstance(node.op, Constant):
            node = replace(node, op=Constant(node.op.data.astype(np.float64)))
        elif isinstance(node.op, Threshold):
            node = replace(node, op=Threshold(float(node.op.threshold)))
        if not isinstance(node.type.format, Fixed):
            node = replace(node, type=Type(node.type.shape, FLOAT64))
        nodes.append(node)
    return fit_formats(replace(graph, nodes=(*lowering.nodes, *nodes), output=nodes[-1].name))
