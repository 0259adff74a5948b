"""Read the layers that a report draws off a Graph."""

from __future__ import annotations

import numpy as np

from approxhw.ir.graph import Graph
from approxhw.ir.kinds import Clip, Dense, Requantize

from .data import Layer


def layers_of(graph: Graph) -> tuple[Layer, ...]:
    """Return one :class:`Layer` a ``Dense`` of *graph*, in order, with what follows it up to the next one.

    Weight and accumulator widths are those of the formats; a float Graph has neither.
    """
    found: list[Layer] = []
    following: list[str] = []
    for node in reversed(graph.nodes):
        if not isinstance(node.op, Dense):
            if len(node.inputs) == 1 and node.kind != "reshape":
                following.insert(0, _said(node.op) or node.kind)
            continue
        weights = graph.constant(node.inputs[1])
        found.insert(
            0,
            Layer(
                name=node.name,
                kind=f"dense {node.op.arithmetic}" if node.op.arithmetic else "dense",
                inputs=int(weights.shape[1]),
                outputs=int(weights.shape[0]),
                nonzero=int(np.count_nonzero(weights)),
                weight_bits=getattr(node.op.arithmetic, "bits", None),
                accumulator_bits=getattr(node.type.format, "bits", None),
                activation=", ".join(following),
                weights=tuple(tuple(row) for row in weights.tolist()),
            ),
        )
        following.clear()
    return tuple(found)


def _said(op: object) -> str:
    if isinstance(op, Clip):
        return f"clip {op.low} … {op.high}"
    if isinstance(op, Requantize):
        return f"requantize to {op.low} … {op.high}"
    return ""
