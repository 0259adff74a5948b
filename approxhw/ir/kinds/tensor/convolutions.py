"""Conv and ConvTranspose as plain matrix products: windows, sizes, patches, and what is spread added up.

A convolution's K runs over channel, row, column, in this order; padding is zeros that are multiplied like any number. That of a
transposed one runs over channels: places of filters that meet are added in float32, as a bias is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from approxhw.common.errors import shown

from .blocks import Key, Made, Matrix, MisfitError, Patches, Product, ProductBlock, Sizes, said_shape


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
        raise MisfitError(
            product, f"kernel_shape is {said_shape(given['kernel_shape'])}, the weights have {said_shape(kernel)}"
        )
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
        raise MisfitError(
            product, f"its filters ({said_shape(extent)}) are larger than what they go over ({said_shape(padded)})"
        )
    return _Window(kernel, strides, dilations, before, padded, places)


def conv_sizes(product: Product, shapes: Sequence[tuple[int, ...]]) -> Sizes:
    """Return the sizes that a convolution has on operands of these *shapes*; raise :class:`MisfitError`."""
    image, weights = shapes[:2]
    groups = int(product.attributes.get("group", 1))
    if len(image) != len(weights) or len(image) < 3:
        raise MisfitError(product, f"{said_shape(image)} with filters of {said_shape(weights)} is no convolution")
    if groups < 1 or image[1] != weights[1] * groups or weights[0] % groups:
        why = f"{image[1]} channels, filters of {said_shape(weights)} and {groups} groups do not go together"
        raise MisfitError(product, why)
    if len(shapes) > 2 and product.inputs[2] and math.prod(shapes[2]) != weights[0]:
        raise MisfitError(product, f"{math.prod(shapes[2])} biases for {weights[0]} filters")
    window = _window(product, image[2:], weights[2:])
    positions = image[0] * math.prod(window.places)
    output = (image[0], weights[0], *window.places)
    scratch = image[0] * image[1] * math.prod(window.padded)
    return Sizes(groups, positions, math.prod(weights[1:]), weights[0] // groups, output, scratch)


def lower_conv(
    product: Product, sizes: Sizes, operands: Sequence[np.ndarray], keys: Sequence[Key | None], made: Made
) -> tuple[np.ndarray, list[ProductBlock]]:
    """Return room for the products of a convolution, filters by patches, and what fills it."""
    image, weights = operands[:2]
    window = _window(product, image.shape[2:], weights.shape[2:])
    images, channels = image.shape[:2]
    held = np.float32 if made.result is np.float32 else image.dtype
    padded = np.full((channels, images, *window.padded), made.pad, held)
    inside = tuple(slice(b, b + size) for b, size in zip(window.before, image.shape[2:]))
    padded[(slice(None), slice(None), *inside)] = image.swapaxes(0, 1)
    flat = padded.reshape(channels, -1)
    strides = [math.prod(window.padded[axis + 1 :]) for axis in range(len(window.padded))]
    along = [np.arange(k) * d * s for k, d, s in zip(window.kernel, window.dilations, strides)]
    offsets = sum(np.meshgrid(*along, indexing="ij", sparse=True), np.int64(0)).reshape(-1)
    steps = (math.prod(window.padded), *(s * each for s, each in zip(window.strides, strides)))
    result = np.empty((weights.shape[0], sizes.m), made.result)
    gemms = []
    for group in range(sizes.count):
        inner = slice(group * weights.shape[1], (group + 1) * weights.shape[1])
        outer = slice(group * sizes.n, (group + 1) * sizes.n)
        filters = Matrix(weights[outer].reshape(sizes.n, sizes.k), keys[1] and (keys[1][0], False, group))
        patches = Patches(flat[inner], offsets, (images, *window.places), steps)
        gemms.append(ProductBlock(filters, patches, result[outer], True))
    return result, gemms


@dataclass(frozen=True)
class _Spread:
    """How a filter is spread over the result of a ConvTranspose, per axis; ``before``: what is cut off in front."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    output: tuple[int, ...]


def _spread(product: Product, image: tuple[int, ...], kernel: tuple[int, ...]) -> _Spread:
    """Return the sizes of a ConvTranspose; where pads are left to it, they are what onnxruntime makes them."""
    given, axes = product.attributes, len(image)
    strides, dilations, pads, further = (
        tuple(int(v) for v in sizes or default)
        for sizes, default in (
            (given.get("strides"), (1,) * axes),
            (given.get("dilations"), (1,) * axes),
            (given.get("pads"), (0,) * 2 * axes),
            (given.get("output_padding"), (0,) * axes),
        )
    )
    if (len(strides), len(dilations), len(pads), len(further)) != (axes, axes, 2 * axes, axes):
        raise MisfitError(product, f"its strides, dilations, pads and output_padding are not those of {axes} axes")
    if min((*strides, *dilations, *kernel)) < 1 or min((*pads, *further)) < 0:
        why = "its strides, dilations and kernel must be at least 1, its pads and output_padding at least 0"
        raise MisfitError(product, why)
    if given.get("kernel_shape") and tuple(given["kernel_shape"]) != kernel:
        raise MisfitError(
            product, f"kernel_shape is {said_shape(given['kernel_shape'])}, the weights have {said_shape(kernel)}"
        )
    how, wanted = given.get("auto_pad", "NOTSET"), tuple(given.get("output_shape") or ())
    if how not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER", ""):
        raise MisfitError(product, f"auto_pad {shown(repr(how))} is unknown")
    if len(wanted) not in (0, axes, axes + 2):
        raise MisfitError(product, f"output_shape {said_shape(wanted)} is not that of {axes} axes")
    full = tuple(
        (size - 1) * s + a + (k - 1) * d + 1 for size, s, a, k, d in zip(image, strides, further, kernel, dilations)
    )
    if wanted:
        sizes = wanted[-axes:]
    elif how.startswith("SAME"):
        sizes = tuple(size * s for size, s in zip(image, strides))
    if wanted or how.startswith("SAME"):
        total = tuple(max(0, f - size) for f, size in zip(full, sizes))
        before = tuple(t // 2 if how == "SAME_UPPER" else t - t // 2 for t in total)
        output = sizes if wanted else tuple(f - t for f, t in zip(full, total))
    else:
        before = pads[:axes] if how != "VALID" else (0,) * axes
        after = pads[axes:] if how != "VALID" else (0,) * axes
        output = tuple(f - b - a for f, b, a in zip(full, before, after))
    if min(output) < 1:
        raise MisfitError(product, f"its pads leave nothing of {said_shape(full)}")
    return _Spread(kernel, strides, dilations, before, output)


def spread_sizes(product: Product, shapes: Sequence[tuple[int, ...]]) -> Sizes:
    """Return the sizes that a transposed convolution has on operands of these *shapes*; raise :class:`MisfitError`."""
    image, weights = shapes[:2]
    groups = int(product.attributes.get("group", 1))
    if len(image) != len(weights) or len(image) < 3:
        raise MisfitError(product, f"{said_shape(image)} with filters of {said_shape(weights)} is no convolution")
    if groups < 1 or image[1] != weights[0] or image[1] % groups:
        why = f"{image[1]} channels, filters of {said_shape(weights)} and {groups} groups do not go together"
        raise MisfitError(product, why)
    channels = weights[1] * groups
    if len(shapes) > 2 and product.inputs[2] and math.prod(shapes[2]) != channels:
        raise MisfitError(product, f"{math.prod(shapes[2])} biases for {channels} channels")
    spread = _spread(product, image[2:], weights[2:])
    positions, wide = image[0] * math.prod(image[2:]), math.prod(weights[1:])
    output = (image[0], channels, *spread.output)
    return Sizes(groups, positions, image[1] // groups, wide, output, groups * wide * positions)


def lower_spread(
    product: Product, sizes: Sizes, operands: Sequence[np.ndarray], keys: Sequence[Key | None], made: Made
) -> tuple[np.ndarray, list[ProductBlock]]:
    """Every position of the images by the filters of all its channels: groups x channels and places of a filter x positions."""
    image, weights = operands[:2]
    seen = image.swapaxes(0, 1).reshape(image.shape[1], sizes.m)
    result = np.empty((sizes.count * sizes.n, sizes.m), made.result)
    gemms = []
    for group in range(sizes.count):
        inner = slice(group * sizes.k, (group + 1) * sizes.k)
        filters = Matrix(weights[inner].reshape(sizes.k, sizes.n).T, keys[1] and (keys[1][0], True, group))
        into = result[group * sizes.n : (group + 1) * sizes.n]
        gemms.append(ProductBlock(filters, Matrix(seen[inner]), into, True))
    return result, gemms


def spread_out(product: Product, sizes: Sizes, result: np.ndarray, operands: Sequence[np.ndarray]) -> np.ndarray:
    """Return *result* added up where places of filters meet, in float32, from the first place of a filter on, and the bias."""
    image, weights = operands[0].shape, operands[1].shape
    spread = _spread(product, image[2:], weights[2:])
    extent = [
        max(b + o, (n - 1) * s + (k - 1) * d + 1)
        for b, o, n, s, k, d in zip(
            spread.before, spread.output, image[2:], spread.strides, spread.kernel, spread.dilations, strict=True
        )
    ]
    channels = sizes.output[1]
    parts = result.reshape(channels, math.prod(spread.kernel), image[0], *image[2:])
    whole = np.zeros((channels, image[0], *extent), np.float32)
    for place, at in enumerate(np.ndindex(*spread.kernel)):
        steps = zip(at, spread.dilations, image[2:], spread.strides, strict=True)
        there = tuple(slice(i * d, i * d + (n - 1) * s + 1, s) for i, d, n, s in steps)
        whole[(slice(None), slice(None), *there)] += parts[:, place]
    kept = tuple(slice(b, b + o) for b, o in zip(spread.before, spread.output, strict=True))
    found = whole[(slice(None), slice(None), *kept)].swapaxes(0, 1)
    if len(operands) > 2 and product.inputs[2]:
        found = found + np.asarray(operands[2], np.float32).reshape(1, channels, *(1,) * len(spread.output))
    return np.ascontiguousarray(found)
