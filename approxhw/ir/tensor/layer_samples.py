"""Samples of what streams through products of codes with constant weights: codes of x, step by step, from training rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

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
    found: dict[str, dict[int, _Drawn]] = {name: {} for name in layers}
    wanted: dict[str, list[tuple[Node, str]]] = {}
    for node, streams, stays in layers.values():
        wanted.setdefault(streams, []).append((node, stays))

    def keep(node: Node, value: np.ndarray) -> None:
        for layer, stays in wanted.get(node.name, []):
            _sample(graph, layer, stays, value, found[layer.name], most)

    assert observe is not None
    observe(graph, keep)
    return {name: tuple(groups[i].columns() for i in sorted(groups)) for name, groups in found.items() if groups}


def _sample(graph: Graph, node: Node, stays: str, value: np.ndarray, drawn: dict[int, _Drawn], most: int) -> None:
    """Draw from what streams through each group of the product *node* where *value* does."""
    op = integer_op(node)
    weights = held(graph, stays)
    assert weights is not None
    turned = stays_left(graph, node)
    zero = held(graph, node.inputs[3 if turned else 2])
    pad = 0 if zero is None else int(zero.reshape(-1)[0])
    operands = [weights, value] if turned else [value, weights]
    blocks = lower_product(product_of(op, node.inputs), operands, frozenset(), pad=pad, result=np.int32).gemms
    for group, block in zip(_groups(op, weights, value, len(blocks)), blocks, strict=True):
        streams_right = block.streams_right or turned
        kept = drawn.setdefault(group, _Drawn(most))
        ranks, chosen = kept.draw(block.into.shape[int(streams_right)])
        kept.add(ranks, block.right.columns(chosen) if streams_right else block.left.rows(chosen).T)


@dataclass
class _Drawn:
    """At most *most* columns of all that come, every one as likely as another, by draws that are the same every time.

    A column's rank is its place in a draw of those that come with it, as a share of them; those of least rank stay.
    """

    most: int
    came: int = 0
    ranks: list[np.ndarray] = field(default_factory=list)
    parts: list[np.ndarray] = field(default_factory=list)

    def draw(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return ranks, and positions below *count*, rising, of those columns that may stay."""
        order = np.random.default_rng(self.came).permutation(count)[: self.most]
        self.came += 1
        places = np.argsort(order)
        return places / count, order[places]

    def add(self, ranks: np.ndarray, columns: np.ndarray) -> None:
        """Keep *columns*, K × S, of these *ranks*, or those of them that are among the least."""
        self.ranks.append(ranks)
        self.parts.append(columns)
        if sum(map(len, self.ranks)) > 2 * self.most:
            self._thin()

    def columns(self) -> np.ndarray:
        """Return those that stay, K × S."""
        self._thin()
        return np.ascontiguousarray(self.parts[0])

    def _thin(self) -> None:
        ranks, whole = np.concatenate(self.ranks), np.concatenate(self.parts, axis=1)
        stay = np.sort(np.argsort(ranks, kind="stable")[: self.most])
        self.ranks, self.parts = [ranks[stay]], [whole[:, stay]]


def _groups(op: IntegerProduct, weights: np.ndarray, value: np.ndarray, blocks: int) -> list[int]:
    """Return which of the matrices of *weights*, or of the groups of a convolution, each of so many *blocks* multiplies by."""
    if isinstance(op, ConvInteger):
        return list(range(blocks))
    if weights.ndim < 3 or blocks == 1:  # several matrices at the left of one are one tall matrix
        return [0] * blocks
    several = weights.shape[:-2]
    batch = np.broadcast_shapes(several, value.shape[:-2])
    return np.broadcast_to(np.arange(int(np.prod(several))).reshape(several), batch).reshape(-1).tolist()
