"""MatMul, Gemm, Conv and ConvTranspose as plain matrix products: sizes, operands as blocks, results put where they belong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from approxhw.common.errors import shown

from .blocks import Attributes, Key, Made, Matrix, MisfitError, Product, ProductBlock, Sizes, said_shape
from .convolutions import conv_sizes, lower_conv, lower_spread, spread_out, spread_sizes
from .integers import ConvInteger, IntegerProduct, MatMulInteger
from .ops import Conv, ConvTranspose, Gemm
from .ops import Product as ProductOp


def product_of(op: ProductOp | IntegerProduct, inputs: tuple[str, ...], title: str = "") -> Product:
    """Return what a Node of *op* that reads *inputs* multiplies, as ONNX would put it; *title*: what to call it.

    Of a product of codes that is the float one of the same sizes, of its first two operands.
    """
    if isinstance(op, Gemm):
        given: Attributes = {"alpha": op.alpha, "beta": op.beta, "transA": op.transpose_a, "transB": op.transpose_b}
    elif isinstance(op, Conv | ConvTranspose | ConvInteger):
        sizes: Attributes = {"strides": op.strides, "dilations": op.dilations, "pads": op.pads}
        given = {**sizes, "auto_pad": op.auto_pad, "group": op.group, "kernel_shape": op.kernel}
        if isinstance(op, ConvTranspose):
            given = {**given, "output_padding": op.output_padding, "output_shape": op.output_shape}
    else:
        given = {}
    kind = type(op).__name__
    if isinstance(op, MatMulInteger | ConvInteger):
        kind, inputs = kind.removesuffix("Integer"), inputs[:2]
    return Product(op.title, kind, inputs, given, title or f"node {shown(op.title)!r} ({kind})")


@dataclass(frozen=True)
class LoweredProduct:
    """Matrix products that fill ``result``: float32, then to be finished by :func:`finish_product`, or int32 of codes."""

    product: Product
    sizes: Sizes
    result: np.ndarray
    gemms: tuple[ProductBlock, ...]
    operands: tuple[np.ndarray, ...]


def operand_sizes(product: Product, shapes: Sequence[tuple[int, ...]]) -> Sizes:
    """Return the sizes that *product* has on operands of these *shapes*; raise :class:`MisfitError` where they do not fit."""
    if len(shapes) < 2:
        raise MisfitError(product, "reads fewer than two operands")
    return _SIZES[product.op](product, shapes)


def lower_product(
    product: Product,
    operands: Sequence[np.ndarray],
    constants: frozenset[str],
    *,
    pad: int = 0,
    result: type[np.generic] = np.float32,
) -> LoweredProduct:
    """Return *product* as matrix products of its *operands*; *constants*: names whose arrays are the same in every run.

    ``pad``: what stands around an image. ``result``: float32, or int32 of products of codes.
    """
    sizes = operand_sizes(product, [np.shape(each) for each in operands])
    keys = [(name, False, 0) if name in constants else None for name in product.inputs]
    room, gemms = _LOWERINGS[product.op](product, sizes, operands, keys, Made(pad, result))
    return LoweredProduct(product, sizes, room, tuple(gemms), tuple(operands))


def finish_product(lowered: LoweredProduct) -> np.ndarray:
    """Return the node's output: alpha, beta, C and bias applied in float32 to the rounded products."""
    product, result, operands = lowered.product, lowered.result, lowered.operands
    with np.errstate(all="ignore"):  # NaN and infinity are carried
        if product.op == "Gemm":
            result *= np.float32(product.attributes.get("alpha", 1.0))
            if len(operands) > 2 and product.inputs[2]:
                result += np.float32(product.attributes.get("beta", 1.0)) * np.asarray(operands[2], np.float32)
        if product.op == "Conv":
            channels, images = lowered.sizes.output[1], lowered.sizes.output[0]
            if len(operands) > 2 and product.inputs[2]:
                result += np.asarray(operands[2], np.float32).reshape(channels, 1)
            inner = lowered.sizes.output[2:]
            result = np.ascontiguousarray(result.reshape(channels, images, *inner).swapaxes(0, 1))
        if product.op == "ConvTranspose":
            result = spread_out(product, lowered.sizes, result, operands)
        return result.reshape(lowered.sizes.output).astype(operands[0].dtype, copy=False)


def _matmul_sizes(product: Product, shapes: Sequence[tuple[int, ...]]) -> Sizes:
    first, second = shapes[:2]
    if not first or not second:
        raise MisfitError(product, "a scalar is no matrix")
    a, b = first if len(first) > 1 else (1, *first), second if len(second) > 1 else (*second, 1)
    if a[-1] != b[-2]:
        raise MisfitError(product, f"{said_shape(first)} by {said_shape(second)} is no matrix product")
    try:
        batch = np.broadcast_shapes(a[:-2], b[:-2])
    except ValueError:
        raise MisfitError(
            product, f"{said_shape(first)} by {said_shape(second)}: the leading sizes do not go together"
        ) from None
    output = (*batch, *(a[-2:-1] if len(first) > 1 else ()), *(b[-1:] if len(second) > 1 else ()))
    if math.prod(b[:-2]) == 1:
        return Sizes(1, math.prod(a[:-1]), a[-1], b[-1], output)
    return Sizes(math.prod(batch), a[-2], a[-1], b[-1], output)


def _lower_matmul(
    product: Product, sizes: Sizes, operands: Sequence[np.ndarray], keys: Sequence[Key | None], made: Made
) -> tuple[np.ndarray, list[ProductBlock]]:
    a, b = operands[:2]
    a, b = a if a.ndim > 1 else a[None, :], b if b.ndim > 1 else b[:, None]
    result = np.empty((sizes.count, sizes.m, sizes.n), made.result)
    turned = _stays_left(keys)
    if sizes.count == 1 and math.prod(b.shape[:-2]) == 1:
        left, right = a.reshape(sizes.m, sizes.k), b.reshape(sizes.k, sizes.n)
        return result, [ProductBlock(Matrix(left, keys[0]), Matrix(right, keys[1]), result[0], turned)]
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = np.broadcast_to(a, (*batch, *a.shape[-2:])), np.broadcast_to(b, (*batch, *b.shape[-2:]))
    places = np.ndindex(*batch)
    return result, [ProductBlock(Matrix(a[at]), Matrix(b[at]), result[i], turned) for i, at in enumerate(places)]


def _stays_left(keys: Sequence[Key | None]) -> bool:
    """Whether it is a constant at the left of activations that stays in an array."""
    return keys[0] is not None and keys[1] is None


def _gemm_sizes(product: Product, shapes: Sequence[tuple[int, ...]]) -> Sizes:
    first, second = shapes[:2]
    if len(first) != 2 or len(second) != 2:
        raise MisfitError(product, f"{said_shape(first)} by {said_shape(second)}: both must have two dimensions")
    a = first[::-1] if product.attributes.get("transA", 0) else first
    b = second[::-1] if product.attributes.get("transB", 0) else second
    if a[1] != b[0]:
        raise MisfitError(product, f"{said_shape(a)} by {said_shape(b)} is no matrix product")
    output = (a[0], b[1])
    if len(shapes) > 2 and product.inputs[2]:
        try:
            fits = np.broadcast_shapes(shapes[2], output) == output
        except ValueError:
            fits = False
        if not fits:
            raise MisfitError(product, f"C of {said_shape(shapes[2])} does not go onto {said_shape(output)}")
    return Sizes(1, a[0], a[1], b[1], output)


def _lower_gemm(
    product: Product, sizes: Sizes, operands: Sequence[np.ndarray], keys: Sequence[Key | None], made: Made
) -> tuple[np.ndarray, list[ProductBlock]]:
    sides = []
    attributes = product.attributes
    transposed = (bool(attributes.get("transA", False)), bool(attributes.get("transB", False)))
    for array, key, turned in zip(operands[:2], keys[:2], transposed, strict=True):
        sides.append(Matrix(array.T if turned else array, key and (key[0], turned, 0)))
    result = np.empty((sizes.m, sizes.n), made.result)
    return result, [ProductBlock(sides[0], sides[1], result, _stays_left(keys))]


_SIZES = {"MatMul": _matmul_sizes, "Gemm": _gemm_sizes, "Conv": conv_sizes, "ConvTranspose": spread_sizes}
_LOWERINGS = {"MatMul": _lower_matmul, "Gemm": _lower_gemm, "Conv": lower_conv, "ConvTranspose": lower_spread}
