"""A product of codes as a layer of PyTorch: sums of the operator's table forward, its slopes backward, whole numbers throughout.

Codes and whole weights are float32 tensors of whole numbers, sums float64 ones: both hold them exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from approxhw.ir.kinds.tensor.integers import ConvInteger
from approxhw.numerics.mac.integer_mac import IntegerMac, patterns
from approxhw.numerics.multipliers.gradients import gradient_tables
from approxhw.passes.finetune.operators.layers import pads_backwards, same_pads
from approxhw.passes.finetune.operators.library import Tensor, torch

TABLE, STRAIGHT = "table", "straight"
GRADIENTS = (TABLE, STRAIGHT)
"""Slopes of the operator's own table, or those of the exact product in its place."""


@dataclass(frozen=True, eq=False)
class OperatorLayer:
    """Products of codes by an operator: ``mac``, its table ``products``, zero points, the types of the codes.

    ``slopes``: ∂T/∂w and ∂T/∂x by bit patterns; None: those of the exact product, straight through the operator. An adder that
    is not exact has the slopes of one that is.
    """

    mac: IntegerMac
    products: np.ndarray
    x_type: np.dtype[np.generic]
    weight_type: np.dtype[np.generic]
    x_zero: int
    weight_zero: np.ndarray
    slopes: tuple[np.ndarray, np.ndarray] | None = None

    def sums(self, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the sums (int32, M × N) of codes *x*, K × M, and *weights*, K × N, as the interpreter makes them."""
        from approxhw.numerics.mac.kernels.integer_gemm import matmul_integer

        return matmul_integer(x, weights, self.mac, self.products, x_zero=self.x_zero, weight_zero=self.weight_zero)

    def slope_of_x(self, x: np.ndarray, weights: np.ndarray, back: np.ndarray) -> np.ndarray:
        """Return what of *back*, M × N, comes to each of *x*: float32, K × M."""
        if self.slopes is None:
            return (weights.astype(np.float32) - self.weight_zero.astype(np.float32)) @ back.T
        from approxhw.numerics.mac.kernels.table_gradients import gradient_of_x

        seen, moved, of_x, _ = self._patterns(x, weights)
        made = gradient_of_x(seen, of_x, self.slopes[1], back)
        # zero points: Σ T − weight_zero Σ x, of the numbers that the operator reads
        zeros = np.broadcast_to(self.weight_zero + moved, weights.shape[1:]).astype(np.float32)
        made -= (back @ zeros)[None, :]
        return made

    def slope_of_weights(self, x: np.ndarray, weights: np.ndarray, back: np.ndarray) -> np.ndarray:
        """Return what of *back*, M × N, comes to each weight: float32, K × N."""
        if self.slopes is None:
            return (x.astype(np.float32) - np.float32(self.x_zero)) @ back
        from approxhw.numerics.mac.kernels.table_gradients import gradient_of_weights

        seen, _, of_x, moved = self._patterns(x, weights)
        made = gradient_of_weights(seen, of_x, self.slopes[0], back)
        made -= np.float32(self.x_zero + moved) * back.sum(axis=0)[None, :]
        return made

    def _patterns(self, x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, int, np.ndarray, int]:
        seen, moved_w = patterns(weights, self.mac.weight_bits, self.mac.weight_signed)
        of_x, moved_x = patterns(x, self.mac.x_bits, self.mac.x_signed)
        return seen, moved_w, of_x, moved_x

    def of_group(self, columns: slice) -> OperatorLayer:
        """Return the layer of some *columns* alone."""
        zeros = self.weight_zero if self.weight_zero.size == 1 else self.weight_zero.reshape(-1)[columns]
        return OperatorLayer(self.mac, self.products, self.x_type, self.weight_type, self.x_zero, zeros, self.slopes)

    def __call__(self, x: Tensor, weights: Tensor) -> Tensor:
        """Return the sums (float64, M × N) of whole *x*, M × K, and *weights*, K × N."""
        return _functions()[0](x, weights, self)


def slopes_for(
    products: np.ndarray, mac: IntegerMac, gradient: str, window: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the slopes of the table *products* by *gradient*, one of :data:`GRADIENTS`."""
    return gradient_tables(products, mac.signed, window) if gradient == TABLE else None


def straight_through(plain: Tensor, value: Tensor, slope: Tensor | float) -> Tensor:
    """Return *value* exactly, with *slope* as its derivative by *plain*."""
    return _functions()[1](plain, value, slope)


@cache
def _functions() -> tuple[Callable[[Tensor, Tensor, OperatorLayer], Tensor], Callable[[Tensor, Tensor, Any], Tensor]]:
    """Return both functions whose derivatives are our own; their classes exist where PyTorch does."""
    pytorch = torch()

    class Sums(pytorch.autograd.Function):  # type: ignore[name-defined,misc]
        """Sums of products by a table."""

        @staticmethod
        def forward(ctx: Any, x: Tensor, weights: Tensor, layer: OperatorLayer) -> Tensor:
            ctx.layer = layer
            ctx.codes = (
                np.ascontiguousarray(x.detach().numpy().T).astype(layer.x_type),
                np.ascontiguousarray(weights.detach().numpy()).astype(layer.weight_type),
            )
            return pytorch.from_numpy(layer.sums(*ctx.codes).astype(np.float64))

        @staticmethod
        def backward(ctx: Any, back: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
            numbers, layer = np.ascontiguousarray(back.numpy(), dtype=np.float32), ctx.layer
            x, weights = (
                made(*ctx.codes, numbers) if wanted else None
                for made, wanted in zip((layer.slope_of_x, layer.slope_of_weights), ctx.needs_input_grad)
            )
            return (
                None if x is None else pytorch.from_numpy(np.ascontiguousarray(x.T)),
                None if weights is None else pytorch.from_numpy(weights),
                None,
            )

    class Straight(pytorch.autograd.Function):  # type: ignore[name-defined,misc]
        """A value with a slope of another."""

        @staticmethod
        def forward(ctx: Any, plain: Tensor, value: Tensor, slope: Tensor | float) -> Tensor:
            ctx.slope, ctx.type = slope, plain.dtype
            return value.clone()

        @staticmethod
        def backward(ctx: Any, back: Tensor) -> tuple[Tensor, None, None]:
            return (back * ctx.slope).to(ctx.type), None, None

    return Sums.apply, Straight.apply


def sums_of_rows(layer: OperatorLayer, x: Tensor, weights: Tensor) -> Tensor:
    """Return the sums of codes *x*, … × K, and *weights*, K × N: … × N."""
    rows = x.reshape(-1, x.shape[-1])
    return layer(rows, weights).reshape(*x.shape[:-1], weights.shape[1])


def sums_of_patches(layer: OperatorLayer, op: ConvInteger, x: Tensor, weights: Tensor) -> Tensor:
    """Return the sums of filters *weights* over images *x* of codes, one or two axes of places; padding has the zero's code."""
    functional = torch().nn.functional
    kernel, image = tuple(weights.shape[2:]), tuple(x.shape[2:])
    strides, dilations = op.strides or (1,) * len(image), op.dilations or (1,) * len(image)
    same = same_pads(op.auto_pad, image, kernel, strides, dilations)
    ends = pads_backwards((op.pads or (0,) * 2 * len(image)) if same is None else same)
    padded = functional.pad(x, ends, value=float(layer.x_zero))
    places = [(size - (k - 1) * d - 1) // s + 1 for size, k, d, s in zip(padded.shape[2:], kernel, dilations, strides)]
    if len(image) == 1:
        padded, kernel, strides, dilations = padded.unsqueeze(2), (1, *kernel), (1, *strides), (1, *dilations)
    patches = functional.unfold(padded, kernel, dilation=dilations, stride=strides)
    depth, width = patches.shape[1] // op.group, len(weights) // op.group
    parts = []
    for group in range(op.group):
        columns = slice(group * width, (group + 1) * width)
        rows = patches[:, group * depth : (group + 1) * depth].transpose(1, 2).reshape(-1, depth)
        parts.append(layer.of_group(columns)(rows, weights[columns].reshape(width, depth).T))
    sums = torch().cat(parts, dim=1).reshape(len(x), -1, len(weights)).transpose(1, 2)
    return sums.reshape(len(x), len(weights), *places)
