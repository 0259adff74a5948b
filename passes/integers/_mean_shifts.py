"""What codes do to the means of a float model's products, taken into its biases, product after product."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds.tensor.ops import Add, Conv, Gemm
from approxhw.ir.tensor.integer_layers import held
from approxhw.numerics.formats import dtype_of

from ._editing import Editor, is_fixed, readers_of

Observe = Callable[[Graph, Callable[[Node, np.ndarray], None]], None]
"""Carries a Graph out on training rows, batch by batch, and shows every value as it is made."""


def with_float_means(graph: Graph, coded: Graph, names: Sequence[str], observe: Observe) -> tuple[Graph, int]:
    """Return *coded* whose products of *names* have the mean in every column that they have in *graph*, and how many moved.

    One run for each product, in their order, so that each sees what those before it send now. Products with a constant at the
    left are left as they are: their columns are no axis of the model's biases. Source: Nagel et al., *Data-Free Quantization
    Through Weight Equalization and Bias Correction*, ICCV 2019 (the empirical form).
    """
    wanted = column_means(graph, names, observe)
    moved = 0
    for name in names:
        if is_fixed(graph, graph[name].inputs[0]) or name not in wanted:
            continue
        move = wanted[name] - column_means(coded, [name], observe)[name]
        if np.any(move):
            coded, moved = with_column_shift(coded, coded[name], move), moved + 1
    return coded, moved


def column_means(graph: Graph, names: Sequence[str], observe: Observe) -> dict[str, np.ndarray]:
    """Return the mean of each column of the products *names* over rows and places (float64)."""
    sums: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}

    def add(node: Node, value: np.ndarray) -> None:
        if node.name in names and value.size:
            axis = _column_axis(graph, node)
            columns = (
                value.reshape(1, -1) if axis is None else np.moveaxis(value, axis, 0).reshape(value.shape[axis], -1)
            )
            sums[node.name] = sums.get(node.name, 0) + columns.sum(axis=1, dtype=np.float64)
            counts[node.name] = counts.get(node.name, 0) + columns.shape[1]

    observe(graph, add)
    return {name: total / counts[name] for name, total in sums.items() if counts[name]}


def _column_axis(graph: Graph, node: Node) -> int | None:
    """Return the axis of *node*'s columns in what it makes; None where a vector of weights makes one of them."""
    if isinstance(node.op, Conv):
        return 1
    return None if len(graph[node.inputs[1]].type.shape) < 2 else len(node.type.shape) - 1


def with_column_shift(graph: Graph, product: Node, move: np.ndarray) -> Graph:
    """Return *graph* with *move* (one value a column) added to what *product* makes: in its own bias, or the one behind it."""
    editor = Editor(graph)
    readers = readers_of(graph)(product.name)
    own = product.inputs[2] if isinstance(product.op, Conv | Gemm) and len(product.inputs) > 2 else ""
    held_own = held(graph, own) if own else None
    shape, axis = [1] * len(product.type.shape), _column_axis(graph, product)
    if axis is not None:
        shape[axis] = move.size
    by_column = held_own is not None and held_own.size in (1, held_own.shape[-1] if held_own.ndim else 1)
    inside = by_column and (not isinstance(product.op, Gemm) or product.op.beta == 1)
    behind = readers[0] if len(readers) == 1 and isinstance(readers[0].op, Add) else None
    constants = [name for name in (behind.inputs if behind else ()) if held(graph, name) is not None]
    renamed: dict[str, str] = {}
    for node in graph.nodes:
        node = replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs))
        if node.name == product.name and inside and held_own is not None:
            bias = editor.constant(f"{node.name}_bias", (held_own + move).astype(held_own.dtype))
            node = replace(node, inputs=(*node.inputs[:2], bias, *node.inputs[3:]))
        elif behind is not None and node.name == behind.name and len(constants) == 1 and not inside:
            old = held(graph, constants[0])
            assert old is not None
            bias = editor.constant(f"{node.name}_bias", (old + move.reshape(shape)).astype(old.dtype))
            node = replace(node, inputs=tuple(bias if name == constants[0] else name for name in node.inputs))
        editor.nodes.append(node)
        if node.name == product.name and not inside and len(constants) != 1:
            bias = editor.constant(f"{node.name}_bias", move.reshape(shape).astype(dtype_of(node.type.format)))
            fmt = node.type.format
            renamed[node.name] = editor.add(f"{node.name}_biased", Add(), [node.name, bias], node.type.shape, fmt)
    return _renamed_ends(editor, renamed)


def _renamed_ends(editor: Editor, renamed: dict[str, str]) -> Graph:
    """Return the changed Graph, whose results and output have new names where they did."""
    graph = editor.graph
    results = tuple((title, renamed.get(name, name)) for title, name in graph.results)
    editor.graph = replace(graph, results=results, output=renamed.get(graph.output, graph.output))
    return editor.done()
