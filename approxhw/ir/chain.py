"""Walk a Graph as a chain of layers: from the head back to the Input, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

from .graph import Graph, Node, is_legal, kind_of
from .kinds import ArgMax, Dense, Reshape, Threshold


@dataclass(frozen=True)
class Stretch:
    """One layer, and what follows it up to the next one, in order of data flow, without any ``Reshape``."""

    dense: Node
    following: tuple[Node, ...]


@dataclass(frozen=True)
class Walk:
    """What stands between the Input and the head of a Graph."""

    head: Node
    """What makes the output."""
    path: tuple[Node, ...]
    """Every Node that was passed, from the one that the head reads on, against the flow of data."""
    start: Node
    """Where the walk ended: the Input, or a Node that reads nothing."""
    stretches: tuple[Stretch, ...]
    """The layers, from the Input on."""
    before: tuple[Node, ...]
    """What stands in front of the first layer."""
    strangers: tuple[Node, ...]
    """Nodes of the path that are no layer, no activation and no Reshape."""


def walk(graph: Graph) -> Walk:
    """Return the chain of layers of *graph*; who walks says what it may hold, and whether values may have several readers."""
    head = graph[graph.output]
    path: list[Node] = []
    stretches: list[Stretch] = []
    following: list[Node] = []
    strangers: list[Node] = []
    passed: set[str] = set()
    node = graph[head.inputs[0]] if head.inputs else head
    while node.inputs and node.name not in passed:
        passed.add(node.name)
        path.append(node)
        if isinstance(node.op, Dense):
            stretches.append(Stretch(node, tuple(reversed(following))))
            following = []
        elif not isinstance(node.op, Reshape):
            following.append(node)
            if not is_activation(node):
                strangers.append(node)
        node = graph[node.inputs[0]]
    return Walk(
        head, tuple(path), node, tuple(reversed(stretches)), tuple(reversed(following)), tuple(reversed(strangers))
    )


def is_activation(node: Node) -> bool:
    """Whether *node* is a function of each element alone that may stand between layers."""
    return is_legal(node.op) and kind_of(node.op).activation


def is_decision(node: Node) -> bool:
    """Whether *node* names a class: an argmax, a threshold, or gates that have decided."""
    count = kind_of(node.op).classes if is_legal(node.op) else None
    return count is not None and count(node.op, node.type) > 0


def compares_values(node: Node) -> bool:
    """Whether *node* names a class by comparing values, logits say: an argmax or a threshold."""
    return isinstance(node.op, ArgMax | Threshold)


def feeds_layers(graph: Graph, node: Node) -> bool:
    """Whether layers read *node*, through any ``Reshape``, and nothing else does."""
    readers = graph.readers(node.name)
    while len(readers) == 1 and isinstance(readers[0].op, Reshape):
        readers = graph.readers(readers[0].name)
    return bool(readers) and all(isinstance(reader.op, Dense) for reader in readers)


def unshaped(graph: Graph, name: str) -> Node:
    """Return what *name* hands on, through any ``Reshape``."""
    node = graph[name]
    while isinstance(node.op, Reshape):
        node = graph[node.inputs[0]]
    return node
