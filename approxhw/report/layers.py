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
    last = len(passed.stretches) - 1
    found: list[DrawnLayer] = []
    for number, stretch in enumerate(passed.stretches):
        dense = stretch.dense
        assert isinstance(dense.op, Dense)
        following = [*stretch.following, *([passed.head] if number == last else [])]
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


def _said(node: Node) -> str:
    said = kind_of(node.op).said
    return said(node.op) if said is not None else node.kind
