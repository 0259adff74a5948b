"""A quantised model, read as a float Graph with quantisers in it → an integer Graph with the model's own scales.

The Graph is a chain. Along it a :class:`_State` says what real value a code stands for, element by element:
real = scale · code + shift. A quantiser turns that into one ``Requantize``; a layer into integers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import cast

import numpy as np

from approxhw.ir.chain import is_decision
from approxhw.ir.graph import Graph, Node, Op, kind_of
from approxhw.ir.kinds import (
    Affine,
    ArgMax,
    Binarize,
    Clip,
    Constant,
    Dense,
    Input,
    LeakyRelu,
    Relu,
    Requantize,
    Reshape,
    Threshold,
    Type,
)
from approxhw.ir.rewriting import code_constant, fit_formats
from approxhw.numerics.formats import Encoding, Fixed, fixed_for
from approxhw.numerics.mac.arithmetic import Exact

from .importer import Importer
from .quantised import FakeQuantize
from .values import Quantiser, Refusal

MULTIPLIER_BITS = 16
"""Bits of the greatest multiplier of a Requantize; up to ``EXTRA_BITS`` more where multipliers differ much."""

EXTRA_BITS = 8
NEEDS_QUANTISER = "quantise its input (QuantizeLinear and DequantizeLinear, or Quant, on every activation)"


@dataclass(frozen=True, eq=False)
class _State:
    """Where the chain stands. ``value`` is None before the first quantiser: the elements are still readings."""

    value: str | None
    scale: np.ndarray
    shift: np.ndarray
    low: float = -math.inf
    high: float = math.inf
    """Activation bounds on the real value, not carried out yet: the next quantiser clips them, too."""

    @property
    def is_bounded(self) -> bool:
        return self.low > -math.inf or self.high < math.inf

    @property
    def is_uniform(self) -> bool:
        """Whether one scale and one shift hold for every element."""
        return bool((self.scale == self.scale[0]).all() and (self.shift == self.shift[0]).all() and self.scale[0] > 0)


@dataclass
class _Lowering:
    """The integer Graph so far."""

    work: Importer
    graph: Graph
    nodes: list[Node]

    def emit(self, node: Node, op: Op, inputs: tuple[str, ...], elements: int, scale: Fraction, zero: int = 0) -> str:
        """Append an integer Node in place of *node*; its width is fitted to its range in the end."""
        taken = {made.name for made in self.nodes}
        name = node.name
        while name in taken:
            name += "_clip"
        self.nodes.append(Node(name, op, inputs, Type((elements,), Fixed(1, False, scale, zero)), node.origin))
        return name

    def format_of(self, name: str) -> Fixed:
        fmt = next(node for node in self.nodes if node.name == name).type.format
        assert isinstance(fmt, Fixed)
        return fmt


def lower_graph(work: Importer, graph: Graph) -> Graph | None:
    """Return the integer Graph of *graph*, which holds ``FakeQuantize``; None where *work* was told a problem."""
    lowering = _Lowering(work, graph, [])
    count = graph.input.type.elements
    state = _State(None, np.ones(count), np.zeros(count))
    for node in graph.nodes:
        if isinstance(node.op, Constant | Input):
            continue
        step = _STEPS.get(type(node.op), _unknown)
        try:
            state = step(lowering, node, state)
        except Refusal as refusal:
            work.refuse(f"node {node.origin!r}" if node.origin else f"value {node.name}", refusal)
            return None
    if not is_decision(graph[graph.output]) and not isinstance(graph[graph.output].op, Binarize):
        try:
            state = _carried_out(lowering, graph[graph.output], state)
            if not _is_said_by_format(lowering, state):
                raise Refusal("ends with values of several scales", "end with QuantizeLinear and DequantizeLinear")
        except Refusal as refusal:
            work.refuse("output", refusal)
            return None
    return fit_formats(replace(graph, nodes=tuple(lowering.nodes), output=lowering.nodes[-1].name))


def _is_said_by_format(lowering: _Lowering, state: _State) -> bool:
    """Whether scale and zero point of the last value say what its codes stand for."""
    if state.value is None or not state.is_uniform:
        return False
    fmt, scale = lowering.format_of(state.value), float(state.scale[0])
    told = math.isclose(scale, float(fmt.scale), rel_tol=1e-12)
    return told and abs(float(state.shift[0]) + scale * fmt.zero) <= 1e-9 * scale


def _affine(lowering: _Lowering, node: Node, state: _State) -> _State:
    scale, shift = lowering.graph.constant(node.inputs[1]), lowering.graph.constant(node.inputs[2])
    if state.is_bounded:
        state = _carried_out(lowering, node, state)
    return replace(state, scale=state.scale * scale, shift=state.shift * scale + shift)


def _relu(lowering: _Lowering, node: Node, state: _State) -> _State:
    return replace(state, low=max(state.low, 0.0), high=max(state.high, 0.0))


def _leaky_relu(lowering: _Lowering, node: Node, state: _State) -> _State:
    raise Refusal("LeakyRelu between quantised layers is not read", "quantise with ReLU, or leave the model in floats")


def _unknown(lowering: _Lowering, node: Node, state: _State) -> _State:
    said = kind_of(node.op).said
    why = f"{said(node.op) if said else node.kind} between quantised layers is not read"
    raise Refusal(why, "quantise with ReLU, or leave the model in floats")


def _clip(lowering: _Lowering, node: Node, state: _State) -> _State:
    low = -math.inf if node.op.low is None else float(node.op.low)  # type: ignore[union-attr]
    high = math.inf if node.op.high is None else float(node.op.high)  # type: ignore[union-attr]
    return replace(state, low=min(max(state.low, low), high), high=max(min(state.high, high), low))


def _reshape(lowering: _Lowering, node: Node, state: _State) -> _State:
    return state  # the Input is flat in an integer Graph; only the Input is ever reshaped


def _quantise(lowering: _Lowering, node: Node, state: _State) -> _State:
    quantiser = cast("FakeQuantize", node.op).quantiser  # no Op: its Nodes end here
    if state.value is None:
        return _encoded(lowering, node, state, quantiser)
    low, high = _code_bounds(state, quantiser)
    half = 0.0 if quantiser.floor else 0.5
    real_shift = state.shift / quantiser.scale + quantiser.zero - low + half
    # codes leave as unsigned ones: 0 stands for the lowest that the activation lets through
    value = _requantised(lowering, node, state, quantiser.scale, real_shift, 0, high - low, quantiser.zero - low)
    return _quantised_state(value, len(state.scale), quantiser.scale, quantiser.zero - low)


def _quantised_state(value: str, count: int, scale: float, zero: int) -> _State:
    return _State(value, np.full(count, scale), np.full(count, -scale * zero))


def _code_bounds(state: _State, quantiser: Quantiser) -> tuple[int, int]:
    """Return the lowest and highest code that a value within the activation's bounds can have."""
    ends = []
    for bound, end in ((state.low, quantiser.low), (state.high, quantiser.high)):
        if math.isinf(bound):
            ends.append(end)
            continue
        code = bound / quantiser.scale + quantiser.zero
        whole = math.floor(code) if quantiser.floor else int(np.rint(code))
        ends.append(min(max(whole, quantiser.low), quantiser.high))
    return ends[0], ends[1]


def _encoded(lowering: _Lowering, node: Node, state: _State, quantiser: Quantiser) -> _State:
    """Append the Input: readings become unsigned codes, 0 for the quantiser's lowest."""
    count = len(state.scale)
    bits = (quantiser.high - quantiser.low).bit_length()
    top, zero, step = (1 << bits) - 1, quantiser.zero - quantiser.low, quantiser.scale
    if (state.scale == 1).all() and (state.shift == 0).all() and not quantiser.floor:
        low, high, rule = np.full(count, -zero * step), np.full(count, (top - zero) * step), "linear"
    else:
        if (state.scale <= 0).any():
            raise Refusal(
                "the input is scaled by 0 or less before it is quantised", "scale features by positive numbers"
            )
        shift = state.shift - (step / 2 if quantiser.floor else 0.0)
        low, rule = -(shift + zero * step) / state.scale, "round"
        high = low + top * step / state.scale
    source = lowering.graph.input
    op = source.op
    assert isinstance(op, Input)
    encoding = Encoding(bits, rule, tuple(low.tolist()), tuple(high.tolist()))
    fmt = Fixed(bits, False, Fraction(step), zero)
    lowering.nodes.append(Node(source.name, replace(op, encoding=encoding), (), Type((count,), fmt), source.origin))
    made = _quantised_state(source.name, count, step, zero)
    least, most = (code - quantiser.low for code in _code_bounds(state, quantiser))
    if least > 0 or most < top:  # a narrow quantiser, or an activation before it
        value = lowering.emit(node, Clip(least, most), (source.name,), count, fmt.scale, fmt.zero)
        made = replace(made, value=value)
    return made


def _requantised(
    lowering: _Lowering, node: Node, state: _State, scale: float, real_shift: np.ndarray, low: int, high: int, zero: int
) -> str:
    """Append min(max(floor(state.scale / scale · code + real_shift), low), high) as a ``Requantize``."""
    assert state.value is not None
    factor = state.scale / scale
    size = np.abs(factor)
    if not (size > 0).all() or not np.isfinite(factor).all() or not np.isfinite(real_shift).all():
        raise Refusal("a scale is 0 or infinite", "calibrate again", invalid=True)
    spread = min(EXTRA_BITS, max(0, math.ceil(math.log2(float(size.max() / size.min())))))
    shift = max(0, MULTIPLIER_BITS + spread - math.ceil(math.log2(float(size.max()) * (1 + 2.0**-40))))
    if shift > 1024:
        raise Refusal("its scale is out of all proportion to that of its input", "calibrate again", invalid=True)
    multiplier = [round(Fraction(value) * (1 << shift)) for value in factor.tolist()]
    offset = [math.floor(Fraction(value) * (1 << shift)) for value in real_shift.tolist()]
    while shift and all(value % 2 == 0 for value in multiplier):  # exact: the floor of a floor
        multiplier, offset, shift = [value // 2 for value in multiplier], [value // 2 for value in offset], shift - 1
    op = Requantize(_short(multiplier), shift, _short(offset), low, high)
    return lowering.emit(node, op, (state.value,), len(factor), Fraction(scale), zero)


def _short(values: list[int]) -> tuple[int, ...]:
    return (values[0],) if len(set(values)) == 1 else tuple(values)


def _carried_out(lowering: _Lowering, node: Node, state: _State) -> _State:
    """Return *state* with its activation bounds carried out on codes."""
    if not state.is_bounded:
        return state
    if state.value is None:
        raise Refusal("clips readings that are not quantised", NEEDS_QUANTISER)
    if not state.is_uniform:
        raise Refusal("follows an activation that is not quantised, on channels of different scales", NEEDS_QUANTISER)
    scale, shift = float(state.scale[0]), float(state.shift[0])
    low, high = (
        None if math.isinf(bound) else int(np.rint((bound - shift) / scale)) for bound in (state.low, state.high)
    )
    fmt = lowering.format_of(state.value)
    op: Op = Relu() if low == 0 and high is None else Clip(low, high)
    before = replace(node, name=f"{node.name}_bound", origin="")
    value = lowering.emit(before, op, (state.value,), len(state.scale), fmt.scale, fmt.zero)
    return replace(state, value=value, low=-math.inf, high=math.inf)


def _dense(lowering: _Lowering, node: Node, state: _State) -> _State:
    state = _carried_out(lowering, node, state)
    codes = lowering.work.weight_codes.get(node.inputs[1])
    if state.value is None:
        raise Refusal("a layer reads values that are not quantised", NEEDS_QUANTISER)
    if codes is None:
        raise Refusal("its weights are not quantised", "quantise the weights of every layer")
    if not state.is_uniform:
        raise Refusal("a layer reads channels of different scales that are not quantised", NEEDS_QUANTISER)
    step = float(state.scale[0])
    zero = -float(state.shift[0]) / step
    if abs(zero - round(zero)) > 1e-6:
        raise Refusal("a layer reads values that are shifted and not quantised", NEEDS_QUANTISER)
    scales = np.broadcast_to(
        codes.scale, (*codes.scale.shape[:-1], 1) if codes.scale.shape[-1:] == (1,) else codes.scale.shape
    )
    if scales.ndim == 2 and scales.shape[1] > 1:
        raise Refusal("its weights have one scale an input", "quantise weights by tensor or by output channel")
    by_output = np.broadcast_to(scales.reshape(-1), (len(codes.integers),)).astype(np.float64)
    weight = codes.integers.astype(object)
    bias = lowering.graph.constant(node.inputs[2])
    products = step * by_output
    whole = [round(Fraction(b) / (Fraction(s))) for b, s in zip(bias.tolist(), products.tolist())]
    corrected = [b - round(zero) * sum(row) for b, row in zip(whole, weight.tolist())]
    # one scale stands for all channels in the format; the Requantize that follows has the true one of each
    weight_scale = Fraction(float(by_output.max()))
    product_scale = weight_scale * lowering.format_of(state.value).scale
    lowest, highest = int(weight.min()), int(weight.max())
    fmt = fixed_for(min(lowest, -1), highest, weight_scale)
    weight_name, bias_name = node.inputs[1], node.inputs[2]
    data = codes.integers.astype(np.int64)
    lowering.nodes.append(
        Node(weight_name, Constant(data), (), Type(data.shape, fmt), lowering.graph[weight_name].origin)
    )
    lowering.nodes.append(code_constant(bias_name, corrected, product_scale, 0, lowering.graph[bias_name].origin))
    op = Dense(Exact(fmt.bits))
    value = lowering.emit(node, op, (state.value, weight_name, bias_name), len(data), product_scale)
    rest = np.zeros(len(data))
    if _is_quantised_next(lowering.graph, node):
        # what rounding the bias to scale · scale leaves over goes into the offset of the Requantize, for nothing
        rest = bias - np.array(whole, dtype=np.float64) * products
        rest = np.where(np.abs(rest) < 1e-3 * products, 0.0, rest)
    return _State(value, products, rest)


def _is_quantised_next(graph: Graph, node: Node) -> bool:
    """Whether a quantiser follows *node*, with nothing but activations in between."""
    for later in graph.nodes[graph.nodes.index(node) + 1 :]:
        if not isinstance(later.op, Constant | Relu | Clip):
            return isinstance(later.op, FakeQuantize)
    return False


def _argmax(lowering: _Lowering, node: Node, state: _State) -> _State:
    if state.value is None:
        raise Refusal("decides on values that are not quantised", NEEDS_QUANTISER)
    if state.is_uniform:
        state = _carried_out(lowering, node, state)
    else:
        # channels of different scales are brought to one scale, finer than the finest of them
        common = float(np.abs(state.scale).min()) / 2
        before = replace(node, name="scores", origin="")
        low, high = (int(np.rint(b / common)) if math.isfinite(b) else None for b in (state.low, state.high))
        reach = 1 << 62
        bounds = (-reach if low is None else low, reach if high is None else high)
        value = _requantised(lowering, before, state, common, state.shift / common + 0.5, *bounds, 0)
        state = replace(state, value=value)
    assert state.value is not None
    lowering.nodes.append(replace(node, inputs=(state.value,)))
    return state


def _threshold(lowering: _Lowering, node: Node, state: _State) -> _State:
    if state.value is None:
        raise Refusal("decides on values that are not quantised", NEEDS_QUANTISER)
    state = _carried_out(lowering, node, state)
    assert state.value is not None
    op = node.op
    assert isinstance(op, Threshold)
    scale, shift = float(state.scale[0]), float(state.shift[0])
    if scale <= 0:
        raise Refusal("compares a negated quantised value", "use Greater with the value first")
    bound = math.floor((Fraction(float(op.threshold)) - Fraction(shift)) / Fraction(scale))
    lowering.nodes.append(replace(node, op=Threshold(bound), inputs=(state.value,)))
    return state


def _binarize(lowering: _Lowering, node: Node, state: _State) -> _State:
    if state.value is None:
        raise Refusal("decides on values that are not quantised", NEEDS_QUANTISER)
    state = _carried_out(lowering, node, state)
    if not state.is_uniform or state.value is None:
        raise Refusal("decides on channels of different scales", "quantise the logits (QuantizeLinear) by tensor")
    op = node.op
    assert isinstance(op, Binarize)
    bound = (Fraction(float(op.threshold)) - Fraction(float(state.shift[0]))) / Fraction(float(state.scale[0]))
    lowering.nodes.append(replace(node, op=Binarize(math.floor(bound)), inputs=(state.value,)))
    return state


_STEPS: dict[type, Callable[[_Lowering, Node, _State], _State]] = {
    Affine: _affine,
    Relu: _relu,
    LeakyRelu: _leaky_relu,
    Clip: _clip,
    Reshape: _reshape,
    FakeQuantize: _quantise,
    Dense: _dense,
    ArgMax: _argmax,
    Threshold: _threshold,
    Binarize: _binarize,
}
