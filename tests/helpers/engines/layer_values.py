"""Whether the layers of a compiled integer engine are those of its Graph, value by value."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import approxhw as ax
from approxhw.artifacts.steps import read_graph
from approxhw.backends.integer_engine.words import integer_results
from approxhw.engine.integers.rtl import array_from, constants_of
from approxhw.frontends.products.partition import open_model
from approxhw.ir.kinds import Lookup
from approxhw.ir.kinds.tensor.integers import ConvInteger, Rescale
from approxhw.ir.kinds.tensor.products import operand_sizes, product_of
from approxhw.ir.tensor.integer_layers import integer_nodes, stays_left
from approxhw.ir.tensor.run import walk_tensors


def check_layers(model, rows, target, folder):
    """Compare what each layer's array must give, from what its design keeps, with values of the design's Graph.

    Return the design, and what the Graph makes of the rows that are reported, eight at most.
    """
    made = ax.compile(model, target=target, data={"x": rows}, output=folder, steps=True)
    graph, found = read_graph(max((folder / "steps").glob("*.axir"))), {}
    at_once = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value or 8
    shown = rows[len(rows) // 2 :][:at_once]
    opened = open_model(model, {"x": shown.shape}, integers=True)
    walk_tensors(graph, {"x": shown}, opened.host, None, lambda node, value: found.__setitem__(node.name, value))
    for node, layer in zip(integer_nodes(graph), made.design.layers, strict=True):
        kept = made.design.operands[layer.operands]
        array = array_from(made.design.engine, layer.result)
        array = replace(array, mac=array.mac_of(layer.operator))
        products = kept["products"].astype(np.int64)
        results = integer_results(array, kept["x"], kept["weights"], constants_of(kept), products)
        # the sums themselves, or what the one Node behind makes of them, or those behind that
        after = [node.name]
        while len(after) < 4 and len(readers := [each for each in graph.nodes if after[-1] in each.inputs]) == 1:
            after.append(readers[0].name)
        equal = [name for name in after if same(by_columns(found[name], graph, node, results.shape), results)]
        assert equal, f"{layer.name}: {layer.result}"
        assert layer.result == "sums" or isinstance(graph[equal[0]].op, Rescale | Lookup)
    return made, found[graph.output]


def same(value, results):
    return value is not None and np.array_equal(value, results)


def by_columns(value, graph, node, shape):
    """Return *value* as the first product of *node* leaves an array: rows × columns, of *shape*; None for other forms."""
    if value.size != np.prod(node.type.shape):
        return None
    if isinstance(node.op, ConvInteger):
        return np.moveaxis(value, 1, -1).reshape(-1, node.type.shape[1])[: shape[0], : shape[1]]
    sizes = operand_sizes(product_of(node.op, node.inputs), [graph[name].type.shape for name in node.inputs[:2]])
    first = value.reshape(sizes.count, sizes.m, sizes.n)[0]
    return (first.T if stays_left(graph, node) else first)[: shape[0]]
