"""Samples of what streams through products of codes with constant weights: codes of x, step by step, from training rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds.tensor.integers import ConvInteger, IntegerProduct
from approxhw.ir.kinds.tensor.products import lower_product, product_of

from .integer_layers import held, integer_op, stays_left
from .operator_errors import constant_layers


def layer_samples(
    graph: Graph, observe: Callable[[Graph, Callable[[Node, np.ndarray], None]], None] | None, what: str, most: int
) -> dict[str, tuple[np.ndarray, ...]]:
    """Return codes of x, K × S with S at most *most*, of each product of codes with constant weights, by its Node's name.

    One array for each group of columns: those of a convolution's group, of a matrix among several. Samples are drawn
    from what the rows send through, always the same. Raises :class:`PassError` of pass *what* where there are no rows.
    """
    layers = constant_layers(graph, observe, what)
    found: dict[str, list[tuple[np.ndarray, ...]]] = {name: [] for name in layers}
    wanted: dict[str, list[tuple[Node, str]]] = {}
    for node, streams, stays in layers.values():
        wanted.setdefault(streams, []).append((node, stays))

    def keep(node: Node, value: np.ndarray) -> None:
        for layer, stays in wanted.get(node.name, []):
            found[layer.name].append(_sampled(graph, layer, stays, value, most))

    assert observe is not None
    observe(graph, keep)
    return {
        name: tuple(_at_most(np.concatenate(group, axis=1), most) for group in zip(*parts, strict=True))
        for name, parts in found.items()
        if parts
    }


def _sampled(graph: Graph, node: Node, stays: str, value: np.ndarray, most: int) -> tuple[np.ndarray, ...]:
    """Return codes, K × at most *most*, of each group of the product *node* where *value* streams."""
    op = integer_op(node)
    weights = held(graph, stays)
    assert weights is not None
    turned = stays == node.inputs[0] and not isinstance(op, ConvInteger)
    zero = held(graph, node.inputs[3 if turned else 2])
    pad = 0 if zero is None else int(zero.reshape(-1)[0])
    operands = [weights, value] if turned else [value, weights]
    blocks = lower_product(product_of(op, node.inputs), operands, frozenset(), pad=pad, result=np.int32).gemms
    groups = _groups(op, weights, value, len(blocks))
    made: list[list[np.ndarray]] = [[] for _ in range(max(groups, default=-1) + 1)]
    for group, block in zip(groups, blocks, strict=True):
        streams_right = block.streams_right or stays_left(graph, node)
        pick = _some(block.into.shape[int(streams_right)], most)
        x = block.right.columns(pick) if streams_right else block.left.rows(pick).T
        made[group].append(x)
    return tuple(_at_most(np.concatenate(each, axis=1), most) for each in made)


def _groups(op: IntegerProduct, weights: np.ndarray, value: np.ndarray, blocks: int) -> list[int]:
    """Return which of the matrices of *weights*, or of the groups of a convolution, each of so many *blocks* multiplies by."""
    if isinstance(op, ConvInteger) or weights.ndim < 3:
        return list(range(blocks)) if isinstance(op, ConvInteger) else [0] * blocks
    several = weights.shape[:-2]
    batch = np.broadcast_shapes(several, value.shape[:-2])
    return np.broadcast_to(np.arange(int(np.prod(several))).reshape(several), batch).reshape(-1).tolist()


def _some(count: int, most: int) -> np.ndarray:
    """Return at most *most* positions below *count*, by a draw that is the same every time: a step would meet the same places."""
    if count <= most:
        return np.arange(count)
    chosen: np.ndarray = np.sort(np.random.default_rng(0).permutation(count)[:most])
    return chosen


def _at_most(whole: np.ndarray, most: int) -> np.ndarray:
    return np.ascontiguousarray(whole[:, _some(whole.shape[1], most)])
