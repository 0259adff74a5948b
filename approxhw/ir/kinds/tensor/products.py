"""MatMul, Gemm and Conv as plain matrix products: sizes, operands taken in tiles, results put where they belong.

A convolution's K runs over channel, row, column, in this order; padding is zeros that are multiplied like any number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from approxhw.common.errors import shown

from .ops import Conv, Gemm, MatMul
from .ops import Product as ProductOp

Pick = slice | np.ndarray
"""Which rows or columns to take: a slice or positions."""


Key = tuple[str, bool, int]
"""What tells a constant operand from others: the value's name, whether it is turned, the group of a convolution."""


class Attributes(TypedDict, total=False):
    """Attributes of a product by their names in ONNX; what is left out is as ONNX has it by default."""

    alpha: float
    beta: float
    transA: bool
    transB: bool
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    auto_pad: str
    group: int
    kernel_shape: tuple[int, ...]


class MisfitError(ValueError):
    """Operands of a product that do not fit one another; ``product`` says which."""

    def __init__(self, product: Product, why: str) -> None:
        self.product, self.why = product, why
        super().__init__(why)


@dataclass(frozen=True)
class Product:
    """A Node that multiplies: ``name`` is the model's own name of it, ``op`` the keyword of ONNX, ``inputs`` value names."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Attributes
    title: str
    """What to call it in a message."""


def product_of(op: ProductOp, inputs: tuple[str, ...], title: str = "") -> Product:
    """Return what a Node of *op* that reads *inputs* multiplies, as ONNX would put it; *title*: what to call it."""
    if isinstance(op, Gemm):
        given: Attributes = {"alpha": op.alpha, "beta": op.beta, "transA": op.transpose_a, "transB": op.transpose_b}
    elif isinstance(op, Conv):
        sizes: Attributes = {"strides": op.strides, "dilations": op.dilations, "pads": op.pads}
        given = {**sizes, "auto_pad": op.auto_pad, "group": op.group, "kernel_shape": op.kernel}
    else:
        given = {}
    kind = {MatMul: "MatMul", Gemm: "Gemm", Conv: "Conv"}[type(op)]
    return Product(op.title, kind, inputs, given, title or f"node {shown(op.title)!r} ({kind})")


@dataclass(frozen=True)
class Sizes:
    """``count`` products, each M × K by K × N; ``output``: shape of the node's output; ``scratch``: elements held besides."""

    count: int
    m: int
    k: int
    n: int
    output: tuple[int, ...]
    scratch: int = 0

    @property
    def products(self) -> int:
        """Return how many multiply-adds that is."""
        return self.count * self.m * self.k * self.n


@dataclass(frozen=True)
class Matrix:
    """An operand that lies there as an array (2-D, any float type); ``key`` where it is a constant."""

    array: np.ndarray
    key: Key | None = None

    def rows(self, pick: Pick) -> np.ndarray:
        """Return some rows."""
        return self.array[pick]

    def columns(self, pick: Pick) -> np.ndarray:
        """Return some columns."""
        return self.array[:, pick]


@dataclass(frozen=True)
class Patches:
    """What a convolution's filters see, K × positions, gathered as it is asked for.

    ``flat``: channels × (images · padded size); ``offsets``: of a filter's places; ``steps``: per image and output axis.
    """

    flat: np.ndarray
    offsets: np.ndarray
    places: tuple[int, ...]
    steps: tuple[int, ...]
    key: None = None

    def columns(self, pick: Pick) -> np.ndarray:
        """Return the patches of some positions: K × their number."""
        chosen = np.arange(pick.start, pick.stop) if isinstance(pick, slice) else pick
        base = np.zeros(len(chosen), np.int64)
        for index, step in zip(np.unravel_index(chosen, self.places), self.steps, strict=True):
            base += index * step
        return self.flat[:, self.offsets[:, None] + base].reshape(-1, len(chosen))

    def rows(self, pick: Pick) -> np.ndarray:
        """Return some rows of all positions."""
        whole: np.ndarray = self.columns(slice(0, math.prod(self.places)))[pick]
        return whole


@dataclass(frozen=True)
class ProductBlock:
    """``into`` (M × N, a view) is to become ``left`` · ``right``; ``streams_right``: activations stand at the right."""

    left: Matrix
    right: Matrix | Patches
    into: np.ndarray
    streams_right: bool = False


@dataclass(frozen=True)
class LoweredProduct:
    """Matrix products that fill ``result`` (float32); ``result`` is then to be finished by :func:`finish_product`."""

    product: Product
    sizes: Sizes
    result: np.ndarray
    gemms: tuple[ProductBlock, ...]
    operands: tuple[np.ndarray, ...]


def operand_sizes(product: Product, shapes: Sequence[tuple[int, ...]]) -> Sizes:
    """Return the sizes that *product* has on operands of these *shapes*; raise :class:`MisfitError` where they do not fit."""
    if len(shapes) < 2:
        raise MisfitError(product, "reads fewer than two operands")
    return {"MatMul": _matmul_sizes, "Gemm": _gemm_sizes, "Conv": _conv_sizes}[product.op](product, shapes)


def lower_product(product: Product, operands: Sequence[np.ndarray], constants: frozenset[str]) -> LoweredProduct:
    """Return *product* as matrix products of its *operands*; *constants*: names whose arrays are the same in every run."""
    sizes = operand_sizes(product, [np.shape(each) for each in operands])
    keys = [(name, False, 0) if name in constants else None for name in product.inputs]
    lowering = {"MatMul": _lower_matmul, "Gemm": _lower_gemm, "Conv": _lower_conv}[product.op]
    result, gemms = lowering(product, sizes, operands, keys)
    return LoweredProduct(product, sizes, result, tuple(gemms), tuple(operands))


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
        return result.reshape(lowered.sizes.output).astype(operands[0].dtype, copy=False)


def _matmul_sizes(product: Product, shapes: Sequence[tuple[int, ...]]) -> Sizes:
    first, second = shapes[:2]
    if not first or not second:
        raise MisfitError(product, "a scalar is no matrix")
    a, b = first if len(first) > 1 else (1, *first), second if len(second) > 1 else (*second, 1)
    if a[-1] != b[-2]:
        raise MisfitError(product, f"{_said(first)} by {_said(second)} is no matrix product")
    try:
        batch = np.broadcast_shapes(a[:-2], b[:-2])
    except ValueError:
        raise MisfitError(product, f"{_said(first)} by {_said(second)}: the leading sizes do not go together") from None
    output = (*batch, *(a[-2:-1] if len(first) > 1 else ()), *(b[-1:] if len(second) > 1 else ()))
    if math.prod(b[:-2]) == 1:
        return Sizes(1, math.prod(a[:-1]), a[-1], b[-1], output)
    return Sizes(math.prod(batch), a[-2], a[-1], b[-1], output)


def _lower_matmul(
    product: Product, sizes: Sizes, operands: Sequence[np.ndarray], keys: Sequence[Key | None]
) -> tuple[np.ndarray, list[ProductBlock]]:
    a, b = operands[:2]
    a, b = a if a.ndim > 1 else a[None, :], b if b.ndim > 1 else b[:, None]
    result = np.empty((sizes.count, sizes.m, sizes.n), np.float32)
    if sizes.count == 1 and math.prod(b.shape[:-2]) == 1:
        left, right = a.reshape(sizes.m, sizes.k), b.reshape(sizes.k, sizes.n)
        # a constant at the left of activations is what stays in the array
        return result, [ProductBlock(Matrix(left, keys[0]), Matrix(right, keys[1]), result[0], keys[0] is not None)]
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = np.broadcast_to(a, (*batch, *a.shape[-2:])), np.broadcast_to(b, (*batch, *b.shape[-2:]))
    places = np.ndindex(*batch)
    return result, [ProductBlock(Matrix(a[at]), Matrix(b[at]), result[i]) for i, at in enumerate(places)]


def _gemm_sizes(product: Product, shapes: Sequence[tuple[int, ...]]) -> Sizes:
    first, second = shapes[:2]
    if len(first) != 2 or len(second) != 2:
        raise MisfitError(product, f"{_said(first)} by {_said(second)}: both must have two dimensions")
    a = first[::-1] if product.attributes.get("transA", 0) else first
    b = second[::-1] if product.attributes.get("transB", 0) else second
    if a[1] != b[0]:
        raise MisfitError(product, f"{_said(a)} by {_said(b)} is no matrix product")
    output = (a[0], b[1])
    if len(shapes) > 2 and product.inputs[2]:
        try:
            fits = np.broadcast_shapes(shapes[2], output) == output
        except ValueError:
            fits = False
        if not fits:
            raise MisfitError(product, f"C of {_said(shapes[2])} does not go onto {_said(output)}")
    return Sizes(1, a[0], a[1], b[1], output)


def _lower_gemm(
    product: Product, sizes: Sizes, operands: Sequence[np.ndarray], keys: Sequence[Key | None]
) -> tuple[np.ndarray, list[ProductBlock]]:
    sides = []
    attributes = product.attributes
    transposed = (bool(attributes.get("transA", False)), bool(attributes.get("transB", False)))
    for array, key, turned in zip(operands[:2], keys[:2], transposed, strict=True):
        sides.append(Matrix(array.T if turned else array, key and (key[0], turned, 0)))
    result = np.empty((sizes.m, sizes.n), np.float32)
    return result, [ProductBlock(sides[0], sides[1], result, keys[0] is not None)]


@dataclass(frozen=True)
class _Window:
    """How a convolution's filter goes over its input, per axis."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    padded: tuple[int, ...]
    places: tuple[int, ...]


def _window(product: Product, image: tuple[int, ...], kernel: tuple[int, ...]) -> _Window:
    axes, given = len(image), product.attributes
    strides, dilations, pads = (
        tuple(int(v) for v in sizes or default)
        for sizes, default in (
            (given.get("strides"), (1,) * axes),
            (given.get("dilations"), (1,) * axes),
            (given.get("pads"), (0,) * 2 * axes),
        )
    )
    if (len(strides), len(dilations), len(pads)) != (axes, axes, 2 * axes):
        raise MisfitError(product, f"its strides, dilations and pads are not those of {axes} axes")
    if min((*strides, *dilations, *kernel)) < 1 or min(pads) < 0:
        raise MisfitError(product, "its strides, dilations and kernel must be at least 1, its pads at least 0")
    if given.get("kernel_shape") and tuple(given["kernel_shape"]) != kernel:
        raise MisfitError(product, f"kernel_shape is {_said(given['kernel_shape'])}, the weights have {_said(kernel)}")
    extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations))
    how = given.get("auto_pad", "NOTSET")
    if how in ("SAME_UPPER", "SAME_LOWER"):
        places = tuple(-(-size // s) for size, s in zip(image, strides))
        total = tuple(max(0, (p - 1) * s + e - size) for p, s, e, size in zip(places, strides, extent, image))
        before = tuple(t // 2 if how == "SAME_UPPER" else t - t // 2 for t in total)
    elif how in ("NOTSET", "VALID", ""):
        before = pads[:axes] if how != "VALID" else (0,) * axes
        total = tuple(b + a for b, a in zip(pads, pads[axes:])) if how != "VALID" else (0,) * axes
    else:
        raise MisfitError(product, f"auto_pad {shown(repr(how))} is unknown")
    padded = tuple(size + t for size, t in zip(image, total))
    places = tuple((size - e) // s + 1 for size, e, s in zip(padded, extent, strides))
    if min(places) < 1:
        raise MisfitError(product, f"its filters ({_said(extent)}) are larger than what they go over ({_said(padded)})")
    return _Window(kernel, strides, dilations, before, padded, places)


def _conv_sizes(product: Product, shapes: Sequence[tuple[int, ...]]) -> Sizes:
    image, weights = shapes[:2]
    groups = int(product.attributes.get("group", 1))
    if len(image) != len(weights) or len(image) < 3:
        raise MisfitError(product, f"{_said(image)} with filters of {_said(weights)} is no convolution")
    if groups < 1 or image[1] != weights[1] * groups or weights[0] % groups:
        why = f"{image[1]} channels, filters of {_said(weights)} and {groups} groups do not go together"
        raise MisfitError(product, why)
    if len(shapes) > 2 and product.inputs[2] and math.prod(shapes[2]) != weights[0]:
        raise MisfitError(product, f"{math.prod(shapes[2])} biases for {weights[0]} filters")
    window = _window(product, image[2:], weights[2:])
    positions = image[0] * math.prod(window.places)
    output = (image[0], weights[0], *window.places)
    scratch = image[0] * image[1] * math.prod(window.padded)
    return Sizes(groups, positions, math.prod(weights[1:]), weights[0] // groups, output, scratch)


def _lower_conv(
    product: Product, sizes: Sizes, operands: Sequence[np.ndarray], keys: Sequence[Key | None]
) -> tuple[np.ndarray, list[ProductBlock]]:
    image, weights = operands[:2]
    window = _window(product, image.shape[2:], weights.shape[2:])
    images, channels = image.shape[:2]
    padded = np.zeros((channels, images, *window.padded), np.float32)
    inside = tuple(slice(b, b + size) for b, size in zip(window.before, image.shape[2:]))
    padded[(slice(None), slice(None), *inside)] = image.swapaxes(0, 1)
    flat = padded.reshape(channels, -1)
    strides = [math.prod(window.padded[axis + 1 :]) for axis in range(len(window.padded))]
    along = [np.arange(k) * d * s for k, d, s in zip(window.kernel, window.dilations, strides)]
    offsets = sum(np.meshgrid(*along, indexing="ij", sparse=True), np.int64(0)).reshape(-1)
    steps = (math.prod(window.padded), *(s * each for s, each in zip(window.strides, strides)))
    result = np.empty((weights.shape[0], sizes.m), np.float32)
    gemms = []
    for group in range(sizes.count):
        inner = slice(group * weights.shape[1], (group + 1) * weights.shape[1])
        outer = slice(group * sizes.n, (group + 1) * sizes.n)
        filters = Matrix(weights[outer].reshape(sizes.n, sizes.k), keys[1] and (keys[1][0], False, group))
        patches = Patches(flat[inner], offsets, (images, *window.places), steps)
        gemms.append(ProductBlock(filters, patches, result[outer], True))
    return result, gemms


def _said(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape)) or "a scalar"
