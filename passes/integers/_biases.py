"""Whole numbers added to the sums of a product of codes: to the bias that is there, or as a new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from approxhw.ir.graph import Graph, Node, without_unread
from approxhw.ir.kinds.tensor.ops import Add
from approxhw.ir.tensor.integer_layers import columns_shape, held

from ._editing import SUMS, Editor, readers_of


def moved_biases(graph: Graph, moves: Mapping[str, np.ndarray]) -> Graph:
    """Return *graph* with *moves* (a whole number a column, by the name of a product) added to the sums of each product."""
    readers, editor = readers_of(graph), Editor(graph)
    behind: dict[str, tuple[Node, np.ndarray]] = {}

    def placed(node: Node, move: np.ndarray) -> np.ndarray:
        return move.reshape(columns_shape(graph, node, move.size))

    fresh: dict[str, np.ndarray] = {}
    for name, move in moves.items():
        # sums that leave the Graph are right by themselves, not behind the one that reads them
        add = None if name in graph.leaving else _bias_of(graph, readers(name))
        if add is None:
            fresh[name] = move
        else:
            behind[add.name] = (graph[name], move)
    names: dict[str, str] = {}
    for node in graph.nodes:
        changed = replace(node, inputs=tuple(names.get(name, name) for name in node.inputs))
        if node.name in behind:
            product, move = behind[node.name]
            old = next(held(graph, name) for name in node.inputs if held(graph, name) is not None)
            bias = editor.constant(f"{node.name}_bias", (placed(product, move) + old).astype(np.int32))
            changed = replace(changed, inputs=(names.get(product.name, product.name), bias))
        editor.nodes.append(changed)
        if node.name in fresh:
            bias = editor.constant(f"{node.name}_bias", placed(node, fresh[node.name]).astype(np.int32))
            names[node.name] = editor.add(f"{node.name}_biased", Add(), [node.name, bias], node.type.shape, SUMS)
    results = tuple((title, names.get(name, name)) for title, name in graph.results)
    output = names.get(graph.output, graph.output)
    return without_unread(replace(graph, nodes=tuple(editor.nodes), results=results, output=output))


def _bias_of(graph: Graph, readers: list[Node]) -> Node | None:
    """Return the one reader that adds a constant; None where there is none."""
    if len(readers) != 1 or not isinstance(readers[0].op, Add):
        return None
    constants = [name for name in readers[0].inputs if held(graph, name) is not None]
    return readers[0] if len(constants) == 1 else None
