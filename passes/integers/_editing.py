"""Small tools of the passes on products of codes: fresh Nodes, constants, who reads what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from approxhw.ir.graph import Graph, Node, Op, identifier, without_unread
from approxhw.ir.kinds import Constant, Type
from approxhw.numerics.formats import Fixed, Format, format_of

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
