"""Which names an ONNX node reads, what its branches and loops hold, and what depends on constants alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from typing import TYPE_CHECKING

from approxhw.frontends.onnx.loading import STANDARD

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

_DRAWN = frozenset(
    ["RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"]
)
"""Operators whose results differ from run to run, whatever they read."""


def graphs_of(node: NodeProto) -> list[GraphProto]:
    """Return the branches, or the body, of *node*."""
    attributes = node.attribute
    return [graph for entry in attributes for graph in (*([entry.g] if entry.HasField("g") else []), *entry.graphs)]


def nodes_inside(node: NodeProto) -> list[NodeProto]:
    """Return every node in branches and loops of *node*, whatever the depth."""
    return [found for graph in graphs_of(node) for inner in graph.node for found in (inner, *nodes_inside(inner))]


def reads(node: NodeProto) -> list[str]:
    """Return the names that *node* reads, those that its branches and loops take from outside too."""
    names = [name for name in node.input if name]
    for graph in graphs_of(node):
        names.extend(_captured(graph))
    return list(dict.fromkeys(names))


def _captured(graph: GraphProto) -> list[str]:
    inside = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    inside |= {name for node in graph.node for name in node.output}
    names = [name for node in graph.node for name in reads(node)] + [value.name for value in graph.output]
    return [name for name in names if name not in inside]


def fixed_names(nodes: Iterable[NodeProto], known: Set[str]) -> frozenset[str]:
    """Return the names of constants, and of what nodes make of constants alone."""
    fixed = set(known)
    for node in nodes:
        drawn = any(each.domain in STANDARD and each.op_type in _DRAWN for each in (node, *nodes_inside(node)))
        if not drawn and all(name in fixed for name in reads(node)):
            fixed.update(name for name in node.output if name)
    return frozenset(fixed)


def needed_nodes(nodes: Sequence[NodeProto], outputs: Iterable[str]) -> list[NodeProto]:
    """Return those *nodes*, in order, that *outputs* come from; what nobody reads is left out."""
    read, kept = set(outputs), []
    for node in reversed(nodes):
        if any(name in read for name in node.output if name):
            kept.append(node)
            read.update(reads(node))
    return kept[::-1]
