"""The pass that subtracts from all logits what they have in common, so that the last layer takes fewer adders."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from approxhw.ir.chain import compares_values
from approxhw.ir.graph import Graph, Node, ranges
from approxhw.ir.kinds import ArgMax, Dense, Requantize, Threshold, Type
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.rewriting import code_constant, fit_formats, fresh_name
from approxhw.numerics.formats import Fixed, fixed_for
from approxhw.numerics.mac.arithmetic import Exact

_WIDE = 4000
_SPAN = 1 << 16
"""Widest span of values that is searched whole; beyond it only the values themselves (and 0) are tried."""


@dataclass(frozen=True)
class CenterLogits:
    """Subtract from all logits one number a feature, which no comparison sees, so that fewer digits remain to be added.

    For ``Dense`` → ``ArgMax``: column by column the integer m is taken from all weights that leaves the fewest
    signed digits (then the fewest bits, then m = 0), likewise from the biases. Two classes: their difference and the
    sign of it, class 1 where l1 − l0 − 1 ≥ 0. A ``Threshold`` behind a ``Dense`` also becomes a look at the sign. What a
    ``Requantize`` adds below the logits' unit, to order them as a quantised model does, goes into weights and biases first.
    """

    kind: ClassVar[str] = "exact"

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* with another last layer; the class is the same for every row."""
        head = graph[graph.output]
        if not compares_values(head):
            return graph
        graph = _merged(graph, head)
        head = graph[graph.output]
        dense = graph[head.inputs[0]]
        exact = isinstance(dense.op, Dense) and isinstance(dense.op.arithmetic, Exact)
        looks = isinstance(head.op, ArgMax) and head.op.width is not None  # at bits, which a common summand changes
        if looks or not exact or not isinstance(dense.type.format, Fixed) or len(graph.readers(dense.name)) != 1:
            return graph
        weights = graph.constant(dense.inputs[1]).astype(object)
        bias = graph.constant(dense.inputs[2]).astype(object)
        before = count_signed_digits(weights)
        op = head.op
        if isinstance(op, Threshold):
            head, bias = replace(head, op=Threshold(-1)), bias - (op.threshold + 1)
        elif len(weights) == 2:
            weights, bias = weights[1:] - weights[:1], bias[1:] - bias[:1] - 1
            head = replace(head, op=Threshold(-1), type=Type((), Fixed(1)))
        else:
            weights = weights - np.array([_common(column) for column in weights.T.tolist()], dtype=object)
            bias = bias - _common(bias.tolist())
        context.note(f"{dense.name}: {before} signed digits became {count_signed_digits(weights)}")
        return fit_formats(_with_constants(graph, dense, head, weights, bias))


def _merged(graph: Graph, head: Node) -> Graph:
    """Return *graph* without a ``Requantize`` in front of *head* that only shifts all sums up and adds to each; else itself."""
    scores = graph[head.inputs[0]]
    op = scores.op
    plain = isinstance(head.op, ArgMax) and head.op.width is None
    if not plain or not isinstance(op, Requantize) or op.shift or len(set(op.multiplier)) > 1:
        return graph
    dense, factor = graph[scores.inputs[0]], op.multiplier[0]
    if (
        not isinstance(dense.op, Dense)
        or not isinstance(dense.op.arithmetic, Exact)
        or factor < 1
        or factor & (factor - 1)
    ):
        return graph
    low, high = (end * factor + np.array(op.offset, dtype=object) for end in ranges(graph)[dense.name])
    lone = len(graph.readers(dense.name)) == len(graph.readers(scores.name)) == 1
    if not lone or min(low.tolist()) < op.low or max(high.tolist()) > op.high:
        return graph
    weights, bias = (graph.constant(name).astype(object) * factor for name in dense.inputs[1:])
    nodes = tuple(
        replace(head, inputs=(dense.name,)) if node is head else node for node in graph.nodes if node is not scores
    )
    merged = replace(graph, nodes=nodes)
    return _with_constants(
        merged, dense, merged[graph.output], weights, bias + np.array(op.offset, dtype=object), factor
    )


def count_signed_digits(values: np.ndarray) -> int:
    """Return how many digits other than 0 the canonical signed-digit forms of all *values* have together."""
    return sum((3 * value ^ value).bit_count() for value in map(abs, values.reshape(-1).tolist()))


def _common(values: list[int]) -> int:
    """Return the m that leaves the fewest signed digits in values − m; then the fewest bits, the least |m|."""
    low, high = min(values), max(values)
    if high - low < _SPAN and max(abs(low), abs(high)) < 1 << 60:
        candidates = np.union1d(np.arange(low, high + 1, dtype=np.int64), [0])
        remainders = np.abs(np.array(values, dtype=np.int64)[None, :] - candidates[:, None])
        digits = np.bitwise_count(3 * remainders ^ remainders).sum(axis=1)
        candidates = candidates[digits == digits.min()]
    else:
        candidates = np.array(sorted({0, *values}), dtype=object)

    def cost(m: int) -> tuple[int, int, int, int]:
        left = [abs(value - m) for value in values]
        digits = sum((3 * value ^ value).bit_count() for value in left)
        return digits, sum(value.bit_length() for value in left), abs(m), m

    return min(map(int, candidates.tolist()), key=cost)


def _with_constants(
    graph: Graph, dense: Node, head: Node, weights: np.ndarray, bias: np.ndarray, finer: int = 1
) -> Graph:
    """Return *graph* with other constants in its last layer, whose unit is *finer* times finer."""
    old_w, old_b = (graph[name].type.format for name in dense.inputs[1:])
    assert isinstance(old_w, Fixed)
    assert isinstance(old_b, Fixed)
    names: list[str] = []
    for name in dense.inputs[1:]:
        shared = sum(other.inputs.count(name) for other in graph.nodes) > 1
        names.append(fresh_name(graph, name, set(names)) if shared else name)
    w = code_constant(names[0], weights, old_w.scale / finer)
    b = code_constant(names[1], bias, old_b.scale / finer)
    bits = fixed_for(min(-1, int(weights.min())), int(weights.max())).bits
    assert isinstance(dense.op, Dense)
    assert isinstance(dense.op.arithmetic, Exact)
    arithmetic = Exact(max(dense.op.arithmetic.bits, bits))
    wide = Type((len(weights),), Fixed(_WIDE, True, old_b.scale / finer))
    changed = replace(dense, op=Dense(arithmetic), inputs=(dense.inputs[0], w.name, b.name), type=wide)
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.name == dense.name:
            nodes += [w, b, changed]
        elif node.name not in names:
            nodes.append(head if node.name == head.name else node)
    return replace(graph, nodes=tuple(nodes))
