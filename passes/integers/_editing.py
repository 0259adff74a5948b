"""Small tools of the passes on products of codes: fresh Nodes, constants, other weights, who reads what, codes behind a value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from approxhw.common.errors import PassError, Problem, shown
from approxhw.ir.graph import Graph, Node, Op, identifier, without_unread
from approxhw.ir.kinds import Constant, Type
from approxhw.ir.kinds.tensor.integer_rules import CODES, needed_bits, stationary
from approxhw.ir.kinds.tensor.integers import DequantizeLinear
from approxhw.ir.kinds.tensor.ops import Transpose
from approxhw.ir.tensor.integer_layers import held, integer_op, products_table, weights_last
from approxhw.numerics.formats import Fixed, Format, format_of
from approxhw.numerics.mac.integer_mac import MOST_BITS

SUMS = Fixed(32, True)
"""Sums of products, biases, multipliers and shifts."""


@dataclass
class Editor:
    """A Graph under change: Nodes in order, each replaced by those that a pass puts in its place."""

    graph: Graph
    nodes: list[Node] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Take the names that are there."""
        self.taken |= {node.name for node in self.graph.nodes}

    def add(self, base: str, op: Op, inputs: Sequence[str], shape: Sequence[int], fmt: Format, name: str = "") -> str:
        """Append a Node and return its name: *name*, or a fresh one like *base*."""
        chosen = name or identifier(base, self.taken)
        self.taken.add(chosen)
        self.nodes.append(Node(chosen, op, tuple(inputs), Type(tuple(map(int, shape)), fmt)))
        return chosen

    def constant(self, base: str, data: np.ndarray) -> str:
        """Append a Constant of *data*, in the format of its type, and return its name."""
        return self.add(base, Constant(data), (), data.shape, format_of(data.dtype))

    def done(self) -> Graph:
        """Return the changed Graph without what nothing reads any more."""
        return without_unread(replace(self.graph, nodes=tuple(self.nodes)))


def readers_of(graph: Graph) -> Callable[[str], list[Node]]:
    """Return what tells which Nodes read a value."""
    table: dict[str, list[Node]] = {node.name: [] for node in graph.nodes}
    for node in graph.nodes:
        for name in dict.fromkeys(node.inputs):
            table[name].append(node)
    return lambda name: table[name]


def with_weights(editor: Editor, graph: Graph, node: Node, codes: np.ndarray, how: str) -> Node:
    """Return the product *node* with *codes* as weights, a Constant called after *how*, and an accumulator that holds their sums.

    Raises :class:`PassError` where none is wide enough.
    """
    op = integer_op(node)
    stays = weights_last(graph, node)[1]
    name = editor.constant(f"{stays}_{how}", codes)
    inputs = tuple(name if each == stays else each for each in node.inputs[:2]) + node.inputs[2:]
    if op.arithmetic is None:
        return replace(node, inputs=inputs)
    mac = replace(op.arithmetic, accumulator_bits=MOST_BITS)
    needed = needed_bits(stationary(op, codes, stays == node.inputs[0]), products_table(graph, node), mac)
    if needed > MOST_BITS:
        why = f"sums of its new weights need {needed} bits, and an accumulator has {MOST_BITS} at most"
        raise PassError("weights", [Problem(f"layer {shown(op.title, 60)!r}", why, "leave the layer as it is")])
    bits = max(4, needed, mac.low_bits + 1)
    return replace(node, op=replace(op, arithmetic=replace(mac, accumulator_bits=bits)), inputs=inputs)


@dataclass(frozen=True)
class CodesBehind:
    """Codes that a value stands for: their Node, scale, zero point, the axis of several, and how they are turned."""

    node: Node
    scale: np.ndarray
    zero: str
    axis: int
    axes: tuple[int, ...] | None = None

    @property
    def turned_axis(self) -> int:
        """The axis of several scales behind the turn."""
        return self.axis if self.axes is None else self.axes.index(self.axis)


def codes_behind(graph: Graph, name: str) -> CodesBehind | None:
    """Return the 8-bit codes that the value *name* of *graph* stands for, turned or not; None where it is no such value."""
    node, axes = graph[name], None
    if isinstance(node.op, Transpose):
        axes = node.op.axes
        node = graph[node.inputs[0]]
    if not isinstance(node.op, DequantizeLinear):
        return None
    codes, scale = graph[node.inputs[0]], held(graph, node.inputs[1])
    if codes.type.format not in CODES or scale is None or not (np.isfinite(scale).all() and (scale > 0).all()):
        return None
    return CodesBehind(codes, scale, node.inputs[2], node.op.axis, axes)


def is_fixed(graph: Graph, name: str) -> bool:
    """Whether the value *name* of *graph* is the same in every run: a constant, or what constant codes stand for."""
    node = graph[name]
    if isinstance(node.op, Transpose):
        node = graph[node.inputs[0]]
    return isinstance((graph[node.inputs[0]] if isinstance(node.op, DequantizeLinear) else node).op, Constant)
