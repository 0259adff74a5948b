"""What operators do to a layer, from the codes that rows send through it: errors of its sums, expected and by chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from approxhw.common.errors import PassError, Problem
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds.tensor.integer_rules import stationary
from approxhw.ir.kinds.tensor.integers import ConvInteger
from approxhw.numerics.mac.integer_mac import IntegerMac, patterns
from approxhw.numerics.multipliers.tables import operand_values

from .integer_layers import held, integer_nodes, integer_op, products_table, stays_left, weights_last


@dataclass(frozen=True, eq=False)
class LayerCodes:
    """A product of codes with constant weights: K × N bit patterns of them, and how likely each pattern of x is (K × 256).

    Of a convolution the channels of the input have each a distribution of their own; groups stand one behind the other: rows
    of ``likely`` are those of the first group, then of the next, each for its own columns.
    """

    node: Node
    mac: IntegerMac
    products: np.ndarray
    weights: np.ndarray
    likely: tuple[np.ndarray, ...]
    x_zero: int
    """As the operator reads x."""
    kind: type[np.integer[Any]] = np.int8
    """Of the codes of weights."""

    @property
    def errors(self) -> np.ndarray:
        """T[w, x] − w · x by bit patterns (int64)."""
        w = operand_values(self.mac.weight_bits, self.mac.weight_signed)
        x = operand_values(self.mac.x_bits, self.mac.x_signed)
        return self.products.astype(np.int64) - w[:, None] * x[None, :]

    def by_column(self, of_pattern: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return K × N values: those that *of_pattern* (K × 256 likelihoods → K × patterns of w) gives each weight."""
        parts, width = [], self.weights.shape[1] // len(self.likely)
        for number, likely in enumerate(self.likely):
            columns = self.weights[:, number * width : (number + 1) * width]
            parts.append(np.take_along_axis(of_pattern(likely), columns.astype(np.int64), axis=1))
        return np.concatenate(parts, axis=1)

    def mean_error(self) -> np.ndarray:
        """Return the expected error of each column's sum, in units of the sum."""
        errors = self.errors.T.astype(np.float64)
        total: np.ndarray = self.by_column(lambda likely: likely @ errors).sum(axis=0)
        return total

    def variance(self) -> np.ndarray:
        """Return the variance of each column's error, were codes independent of one another."""
        errors = self.errors.T.astype(np.float64)
        first = self.by_column(lambda likely: likely @ errors)
        second = self.by_column(lambda likely: likely @ errors**2)
        spread: np.ndarray = np.maximum(second - first**2, 0).sum(axis=0)
        return spread

    def mean_change(self, moved: np.ndarray) -> np.ndarray:
        """Return by how much each column's exact sum is greater, on average, where weights of each pattern are *moved* so far."""
        x = operand_values(self.mac.x_bits, self.mac.x_signed) - self.x_zero
        change = moved.astype(np.float64)
        total: np.ndarray = self.by_column(lambda part: (part @ x)[:, None] * change[None, :]).sum(axis=0)
        return total

    def rest(self, variate: int) -> tuple[np.ndarray, np.ndarray]:
        """Return, a column each, Σ Cov(−error, r) and Σ Var(r), r being x mod 2^variate of every step."""
        errors, r = (
            -self.errors.T.astype(np.float64),
            (np.arange(1 << self.mac.x_bits) & ((1 << variate) - 1)).astype(float),
        )
        mean = self.by_column(lambda likely: likely @ errors)
        along = self.by_column(lambda likely: np.repeat((likely @ r)[:, None], 1 << self.mac.weight_bits, axis=1))
        both = self.by_column(lambda likely: (likely * r) @ errors)
        squares = self.by_column(lambda likely: np.repeat((likely @ r**2)[:, None], 1 << self.mac.weight_bits, axis=1))
        return (both - mean * along).sum(axis=0), np.maximum(squares - along**2, 0).sum(axis=0)

    def mean_rest(self, variate: int) -> np.ndarray:
        """Return the expected Σ (x mod 2^variate) of each column."""
        r = (np.arange(1 << self.mac.x_bits) & ((1 << variate) - 1)).astype(float)
        found = self.by_column(lambda likely: np.repeat((likely @ r)[:, None], 1 << self.mac.weight_bits, axis=1))
        total: np.ndarray = found.sum(axis=0)
        return total


def layer_codes(
    graph: Graph, observe: Callable[[Graph, Callable[[Node, np.ndarray], None]], None] | None, what: str
) -> dict[str, LayerCodes]:
    """Return what is known of each product of codes with constant weights, by the name of its Node, from one run of *observe*.

    Raises :class:`PassError` of pass *what* where there are no rows.
    """
    layers = constant_layers(graph, observe, what)
    counts: dict[str, np.ndarray] = {}
    wanted: dict[str, list[tuple[Node, str]]] = {}
    for node, streams, stays in layers.values():
        wanted.setdefault(streams, []).append((node, stays))

    def count(node: Node, value: np.ndarray) -> None:
        for layer, stays in wanted.get(node.name, []):
            mac = integer_op(layer).arithmetic
            assert mac is not None
            seen, _ = patterns(value, mac.x_bits, mac.x_signed)
            axis = _channel_axis(layer, stays, seen.ndim)
            rows = np.moveaxis(seen, axis, 0).reshape(seen.shape[axis], -1)
            found = _histograms(rows, 1 << mac.x_bits)
            counts[layer.name] = counts.get(layer.name, 0) + found

    assert observe is not None
    observe(graph, count)
    return {name: _layer(graph, layers[name][0], layers[name][2], counts[name]) for name in layers if name in counts}


def constant_layers(graph: Graph, observe: object, what: str) -> dict[str, tuple[Node, str, str]]:
    """Return each product of codes whose weights are constant, by its name: the Node, what streams, what stays.

    Raises :class:`PassError` of pass *what* where there is nothing that may *observe* rows.
    """
    if observe is None:
        why = "it looks at the codes that rows send through a layer, and there are none"
        raise PassError(f"pass {what}", [Problem("data", why, "give --data with training rows")])
    layers = {}
    for node in integer_nodes(graph):
        streams, stays = weights_last(graph, node)
        if held(graph, stays) is not None and integer_op(node).arithmetic is not None:
            layers[node.name] = (node, streams, stays)
    return layers


def layer_weights(graph: Graph, node: Node, stays: str) -> LayerCodes:
    """Return what is known of the product *node* without rows: its weights *stays* as its operator reads them; no likelihoods."""
    op = integer_op(node)
    mac, weights = op.arithmetic, held(graph, stays)
    assert mac is not None
    assert weights is not None
    turned = stays_left(graph, node)
    columns, _ = patterns(stationary(op, weights, turned), mac.weight_bits, mac.weight_signed)
    zeros = held(graph, node.inputs[2 if not turned else 3])
    codes = graph[node.inputs[int(turned)]].type.format
    _, moved = patterns(np.zeros(1, np.int8 if str(codes).startswith("s") else np.uint8), mac.x_bits, mac.x_signed)
    x_zero = moved + (int(zeros.reshape(-1)[0]) if zeros is not None else 0)
    return LayerCodes(node, mac, products_table(graph, node), columns, (), x_zero, weights.dtype.type)


def _channel_axis(node: Node, stays: str, rank: int) -> int:
    if isinstance(node.op, ConvInteger):
        return 1
    return rank - 1 if node.inputs[1] == stays else max(0, rank - 2)


def _histograms(rows: np.ndarray, patterns: int) -> np.ndarray:
    """Return how often each of so many *patterns* is in each row."""
    moved = rows.astype(np.int64) + np.arange(len(rows))[:, None] * patterns
    return np.bincount(moved.reshape(-1), minlength=len(rows) * patterns).reshape(len(rows), patterns)


def _layer(graph: Graph, node: Node, stays: str, counts: np.ndarray) -> LayerCodes:
    layer = layer_weights(graph, node, stays)
    likely = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    groups = node.op.group if isinstance(node.op, ConvInteger) else 1
    depth, channels = len(layer.weights), len(likely) // groups
    parts = tuple(
        np.repeat(likely[group * channels : (group + 1) * channels], depth // channels, axis=0)
        for group in range(groups)
    )
    return replace(layer, likely=parts)
