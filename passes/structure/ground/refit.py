"""Layer after layer of a smaller model brought near to the model that it came from, by least squares on what it reads now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from approxhw.ir.graph import Graph, Node, identifier
from approxhw.ir.kinds.tensor.ops import Conv, Feed, Gemm
from approxhw.ir.tensor.integer_layers import held
from approxhw.passes.integers._mean_shifts import with_column_shift

from .layers import matrix_of, with_matrix
from .moments import Observe, VectorSums, vectors_of
from .repair import damped

Told = Callable[[int, int], None]
"""Hears how many layers are done, of how many."""


@dataclass(frozen=True)
class Meant:
    """What the columns of a product (by its Node) are to be: ``columns`` (indices) of the Node ``of`` in the model before."""

    product: str
    of: str
    columns: np.ndarray


def refitted(graph: Graph, before: Graph, meant: Sequence[Meant], observe: Observe, told: Told | None = None) -> Graph:
    """Return *graph* whose products *meant* come as near as they can to those of *before*, on what they read in *graph*.

    What products themselves give is meant: biases behind them are to be those of *before*. One run over the rows for each, in
    the order of the Graph, of both Graphs side by side: each sees what those in front of it send by then. Weights that the rows
    do not tell stay where they are.
    """
    order = {node.name: place for place, node in enumerate(graph.nodes)}
    for done, each in enumerate(sorted(meant, key=lambda one: order[one.product])):
        graph = _refit(graph, before, each, observe)
        if told is not None:
            told(done + 1, len(meant))
    return graph


def joined_graphs(before: Graph, graph: Graph) -> tuple[Graph, dict[str, str]]:
    """Return one Graph of both, *before* first, which reads every feed once; and what Nodes of *graph* are called in it."""
    feeds = {node.op.title: node.name for node in before.nodes if isinstance(node.op, Feed)}
    taken = set(before.by_name)
    names: dict[str, str] = {}
    nodes = list(before.nodes)
    for node in graph.nodes:
        if isinstance(node.op, Feed):
            names[node.name] = feeds[node.op.title]
            continue
        names[node.name] = identifier(f"{node.name}_after", taken)
        taken.add(names[node.name])
        nodes.append(replace(node, name=names[node.name], inputs=tuple(names[name] for name in node.inputs)))
    ends = tuple((f"{title} after", names[name]) for title, name in graph.results)
    return replace(before, nodes=tuple(nodes), results=(*before.results, *ends)), names


def _refit(graph: Graph, before: Graph, meant: Meant, observe: Observe) -> Graph:
    node = graph[meant.product]
    bias = _bias_of(graph, node)
    if bias is None:
        return graph  # what it adds is not told apart from what it multiplies: its weights stay
    both, names = joined_graphs(before, graph)
    reader = both[names[node.name]]
    weights = matrix_of(graph, node)
    sums = VectorSums(*weights.shape)
    shown: dict[str, np.ndarray] = {}

    def seen(each: Node, value: np.ndarray) -> None:
        if each.name in (meant.of, reader.inputs[0]):
            shown[each.name] = value
        if each.name == reader.name:  # both stand in front of it
            wanted = columns_last(before[meant.of], shown.pop(meant.of))[:, meant.columns]
            start = 0
            for vectors in vectors_of(both, reader, shown[reader.inputs[0]]):
                sums.add(np.hstack([vectors, wanted[start : start + len(vectors)]]))
                start += len(vectors)

    observe(both, seen)
    if not sums.count:
        return graph  # no row reaches it
    scale = node.op.alpha if isinstance(node.op, Gemm) else 1.0
    renewed, shift = _solved(sums, weights, scale)
    graph = with_matrix(graph, node, renewed)
    return with_column_shift(graph, graph[node.name], shift - bias)


def columns_last(node: Node, value: np.ndarray) -> np.ndarray:
    """Return what the product *node* made as vectors × columns, in the order of :func:`.moments.vectors_of`."""
    moved = np.moveaxis(value, 1, -1) if isinstance(node.op, Conv) else value
    return moved.reshape(-1, moved.shape[-1])


def _bias_of(graph: Graph, node: Node) -> np.ndarray | None:
    """Return what the product *node* adds to its columns by itself; None where that is computed, or differs from row to row."""
    columns = node.type.shape[1 if isinstance(node.op, Conv) else -1]
    if len(node.inputs) < 3:
        return np.zeros(columns)
    data = held(graph, node.inputs[2])
    if data is None or data.size not in (1, columns) or (data.size > 1 and data.shape[-1] != columns):
        return None
    beta = node.op.beta if isinstance(node.op, Gemm) else 1.0
    return beta * np.broadcast_to(data.astype(np.float64).reshape(-1), columns)


def _solved(sums: VectorSums, weights: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (K × N) and biases (N) of least squares, drawn a little to *weights*; sums count *scale* times."""
    moments, (wanted, crossed) = sums.moments(), sums.crossed()
    ridge = damped(moments.covariance)
    renewed = np.linalg.solve(ridge, crossed / scale + (ridge - moments.covariance) @ weights)
    return renewed, wanted - scale * (moments.mean @ renewed)
