"""Read the layers that a report draws off a Graph."""

from __future__ import annotations

import numpy as np

from approxhw.ir.chain import walk
from approxhw.ir.graph import Graph, Node, kind_of
from approxhw.ir.kinds import Dense

from .data import DrawnLayer


def drawn_layers(graph: Graph) -> tuple[DrawnLayer, ...]:
    """Return one :class:`DrawnLayer` a ``Dense`` of *graph*, in order, with what follows it up to the next one.

    Weight and accumulator widths are those of the formats; a float Graph has neither.
    """
    passed = walk(graph)
    stretches = [(stretch.dense, [*stretch.following]) for stretch in passed.stretches]
    if stretches:
        stretches[-1][1].append(passed.head)
    layers = [node for node in graph.nodes if isinstance(node.op, Dense)]
    if len(layers) > len(
        stretches
    ):  # branches: what follows a layer ends where it meets another, or where several read it
        stretches = [(dense, _following(graph, dense)) for dense in layers]
    found: list[DrawnLayer] = []
    for dense, following in stretches:
        assert isinstance(dense.op, Dense)
        weights = graph.constant(dense.inputs[1])
        found.append(
            DrawnLayer(
                name=dense.name,
                kind=f"dense {dense.op.arithmetic}" if dense.op.arithmetic else "dense",
                inputs=int(weights.shape[1]),
                outputs=int(weights.shape[0]),
                nonzero=int(np.count_nonzero(weights)),
                weight_bits=getattr(dense.op.arithmetic, "bits", None),
                accumulator_bits=getattr(dense.type.format, "bits", None),
                activation=", ".join(_said(node) for node in following),
                weights=tuple(tuple(row) for row in weights.tolist()),
            )
        )
    return tuple(found)


def _following(graph: Graph, dense: Node) -> list[Node]:
    found: list[Node] = []
    readers = graph.readers(dense.name)
    while len(readers) == 1 and not isinstance(readers[0].op, Dense):
        found.append(readers[0])
        readers = graph.readers(readers[0].name) if len(readers[0].inputs) == 1 else ()
    return found


def _said(node: Node) -> str:
    said = kind_of(node.op).said
    return said(node.op) if said is not None else node.kind
