"""A Graph of products of codes as a function that PyTorch differentiates: whole numbers bit for bit, slopes through them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from approxhw.common.errors import PassError, Problem
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import Relu
from approxhw.ir.kinds.tensor.integers import (
    ConvInteger,
    DequantizeLinear,
    MatMulInteger,
    QuantizeLinear,
    Rescale,
    along,
)
from approxhw.ir.kinds.tensor.ops import Add, Feed, Transpose
from approxhw.ir.tensor.integer_layers import held, integer_mac, integer_op, products_table
from approxhw.ir.tensor.integers import codes_of_numbers, rescaled_sums
from approxhw.numerics.formats import Fixed, dtype_of
from approxhw.passes.finetune.operators.library import Tensor, torch

from ._host_nodes import host_value
from ._product_sums import OperatorLayer, slopes_for, straight_through, sums_of_patches, sums_of_rows
from ._steps import PASS, StepRow, steps_of

FARTHEST = 1 << 24
"""How far a bias may move from where it was."""


@dataclass(frozen=True, eq=False)
class TrainedLayer:
    """What is learnt of a product: ``weights`` in codes, and by how much the ``moves`` of its columns change their sums.

    Both are tensors of numbers, float32, whose nearest whole numbers the layer computes with; ``low`` and ``high``: codes.
    """

    node: Node
    layer: OperatorLayer
    weights: Tensor
    moves: Tensor
    low: int
    high: int

    def whole_weights(self) -> np.ndarray:
        """Return the codes as the Graph's constant holds them."""
        made: np.ndarray = self.weights.detach().numpy().round().astype(self.layer.weight_type)
        return made

    def whole_moves(self) -> np.ndarray:
        """Return what is added to each column's sums (int64)."""
        made: np.ndarray = self.moves.detach().numpy().round().astype(np.int64)
        return made

    def settle(self) -> None:
        """Put back into their range what a step of training took out of it."""
        with torch().no_grad():
            self.weights.clamp_(self.low, self.high)
            self.moves.clamp_(-FARTHEST, FARTHEST)

    def sums(self, x: Tensor) -> Tensor:
        """Return the sums (float64) of the codes *x* and the whole weights."""
        op = self.node.op
        weights = straight_through(self.weights, self.weights.detach().round(), 1.0)
        moves = straight_through(self.moves, self.moves.detach().round(), 1.0).double()
        if isinstance(op, ConvInteger):
            sums = sums_of_patches(self.layer, op, x, weights)
            return sums + moves.reshape(1, -1, *(1,) * (sums.ndim - 2))
        return sums_of_rows(self.layer, x, weights) + moves


@dataclass(frozen=True, eq=False)
class DifferentiableNetwork:
    """A Graph that is retrained: its steps up to the scores of the classes, and what is learnt of each product."""

    graph: Graph
    row: StepRow
    layers: Mapping[str, TrainedLayer]

    def scores(self, feeds: Mapping[str, np.ndarray]) -> Tensor:
        """Return the scores, rows × classes, of *feeds* by the title of each input."""
        values = self.values(feeds)
        found = values[self.row.scores]
        return found.reshape(len(found), -1)

    def values(self, feeds: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        """Return every value up to the scores, by name: codes and sums as whole numbers."""
        values: dict[str, Tensor] = {}

        def value(name: str) -> Tensor | None:
            if name in values or not name:
                return values.get(name)
            return torch().tensor(self.row.constants[name])

        for step in self.row.steps:
            if step.host is not None:
                values[step.name] = host_value(step.host, [value(name) for name in step.reads])
            elif step.node is None:
                values[step.name] = value(step.reads[0])
            elif isinstance(step.node.op, Feed):
                given = np.ascontiguousarray(feeds[step.node.op.title], dtype_of(step.node.type.format))
                values[step.name] = torch().from_numpy(given)
            else:
                values[step.name] = self._value(step.node, [value(name) for name in step.reads[:2]])
        return values

    def _value(self, node: Node, operands: list[Tensor]) -> Tensor:
        op, constants = node.op, self.row.constants
        x = operands[0]
        if isinstance(op, MatMulInteger | ConvInteger):
            return self.layers[node.name].sums(x)
        if isinstance(op, QuantizeLinear):
            return _codes(op, x, constants[node.inputs[1]], constants[node.inputs[2]])
        if isinstance(op, Rescale):
            return _rescaled(op, x, constants[node.inputs[1]], constants[node.inputs[2]])
        if isinstance(op, DequantizeLinear):
            kind = getattr(torch(), dtype_of(node.type.format).name)
            scale = along(constants[node.inputs[1]], op.axis, x.ndim)
            zero = along(constants[node.inputs[2]], op.axis, x.ndim).astype(np.float64)
            # whole numbers of 32 bits are exact in float64, and rounded once to the type of the result
            numbers = (x.double() - torch().tensor(zero)).to(kind)
            return numbers * torch().tensor(scale).to(kind)
        if isinstance(op, Add):
            x, y = operands
            return x.double() + y.double() if isinstance(node.type.format, Fixed) else x + y
        if isinstance(op, Transpose):
            return x.permute(op.axes)
        if isinstance(op, Relu):
            return x.relu()
        raise TypeError(f"{node.name}: {node.kind} has no gradient here")


def differentiable(graph: Graph, gradient: str, window: int) -> DifferentiableNetwork:
    """Return *graph* as a function of its weights; raise :class:`PassError` naming everything that no gradient goes through.

    *gradient*: whose slopes products have, one of ``GRADIENTS``; *window*: how far tables of them are smoothed to either side.
    """
    row = steps_of(graph)
    layers = {
        step.node.name: _trained(graph, step.node, gradient, window)
        for step in row.steps
        if step.node is not None and isinstance(step.node.op, MatMulInteger | ConvInteger)
    }
    if not layers:
        why = "no product of codes with constant weights leads to its scores"
        raise PassError(PASS, [Problem(graph.name, why, "run quantize-model,integer-products before")])
    return DifferentiableNetwork(graph, row, layers)


def _trained(graph: Graph, node: Node, gradient: str, window: int) -> TrainedLayer:
    mac, op = integer_mac(node), integer_op(node)
    weights, x_zero, weight_zero = (held(graph, node.inputs[place]) for place in (1, 2, 3))
    assert weights is not None
    assert x_zero is not None
    assert weight_zero is not None
    products = products_table(graph, node)
    layer = OperatorLayer(
        mac,
        products,
        dtype_of(graph[node.inputs[0]].type.format),
        weights.dtype,
        int(x_zero.reshape(-1)[0]) if x_zero.size else 0,
        weight_zero.astype(np.int64).reshape(-1) if weight_zero.size > 1 else weight_zero.astype(np.int64).reshape(()),
        slopes_for(products, mac, gradient, window),
    )
    half = 1 << (mac.weight_bits - 1)
    low, high = (-half, half - 1) if weights.dtype.kind == "i" else (0, 2 * half - 1)
    columns = len(weights) if isinstance(op, ConvInteger) else weights.shape[1]
    pytorch = torch()
    latent = pytorch.tensor(weights.astype(np.float32), requires_grad=True)
    moves = pytorch.zeros(columns, dtype=pytorch.float32, requires_grad=True)
    return TrainedLayer(node, layer, latent, moves, low, high)


def _codes(op: QuantizeLinear, x: Tensor, scale: np.ndarray, zero: np.ndarray) -> Tensor:
    """Return the codes of the numbers *x*, float32; a slope goes through those that are not cut off."""
    numbers = x.detach().numpy()
    codes = codes_of_numbers(op, numbers, scale, zero)
    step, origin = (along(each.astype(np.float64), op.axis, numbers.ndim) for each in (scale, zero))
    limits, plain = np.iinfo(codes.dtype), numbers / step + origin
    inside = (plain >= limits.min - 0.5) & (plain <= limits.max + 0.5)
    return _whole(x, codes, inside / step)


def _rescaled(op: Rescale, sums: Tensor, multiplier: np.ndarray, shift: np.ndarray) -> Tensor:
    """Return the codes of *sums*, float32; a slope goes through those that are not cut off."""
    numbers = sums.detach().numpy()
    codes = rescaled_sums(op, numbers.astype(np.int64), multiplier, shift)
    factor = along(multiplier / 2.0 ** shift.astype(np.float64), op.axis, numbers.ndim)
    plain = numbers * factor + op.zero
    inside = (plain >= op.low - 0.5) & (plain <= op.high + 0.5)
    return _whole(sums, codes, inside * factor)


def _whole(plain: Tensor, codes: np.ndarray, slope: np.ndarray) -> Tensor:
    pytorch = torch()
    return straight_through(
        plain, pytorch.from_numpy(codes.astype(np.float32)), pytorch.from_numpy(np.asarray(slope, np.float32))
    )
