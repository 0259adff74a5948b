"""What whole-number Nodes of a tensor Graph make of their operands: the meaning of an integer engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from approxhw.ir.kinds.requantize import Lookup
from approxhw.ir.kinds.tensor.blocks import Product, ProductBlock
from approxhw.ir.kinds.tensor.integers import (
    ConvInteger,
    DequantizeLinear,
    IntegerProduct,
    QuantizeLinear,
    Rescale,
    along,
    operands_of,
)
from approxhw.ir.kinds.tensor.products import lower_product
from approxhw.numerics.mac.integer_mac import IntegerMac, exact_products, patterns
from approxhw.numerics.mac.kernels.integer_gemm import matmul_integer
from approxhw.numerics.mac.kernels.requantize import requantized_fast

CHUNK = 1 << 25
"""Codes of the streaming operand that one call of a kernel carries: what bounds memory."""


def codes_of_numbers(op: QuantizeLinear, x: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
    """Return the codes of *x* in the type of *zero*."""
    limits = np.iinfo(zero.dtype)
    s, z = along(scale, op.axis, x.ndim), along(zero, op.axis, x.ndim)
    with np.errstate(all="ignore"):
        raw = np.rint(x / s.astype(x.dtype)) + z.astype(x.dtype)
    raw = np.where(np.isnan(raw), z.astype(x.dtype), raw)
    return np.clip(raw, limits.min, limits.max).astype(zero.dtype)


def numbers_of_codes(
    op: DequantizeLinear,
    codes: np.ndarray,
    scale: np.ndarray,
    zero: np.ndarray,
    kind: np.dtype[np.generic] | type[np.generic] = np.float32,
) -> np.ndarray:
    """Return the numbers that *codes* stand for, worked out in the floating-point type *kind*."""
    numbers = codes.astype(np.int64) - along(zero, op.axis, codes.ndim).astype(np.int64)
    made: np.ndarray = numbers.astype(kind) * along(scale, op.axis, codes.ndim).astype(kind)
    return made


def rescaled_sums(op: Rescale, sums: np.ndarray, multiplier: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return the codes (int64) of *sums*."""
    factors = along(multiplier, op.axis, sums.ndim), along(shift, op.axis, sums.ndim)
    return requantized_fast(sums, *factors, op.zero, op.low, op.high)


def looked_up_codes(op: Lookup, codes: np.ndarray) -> np.ndarray:
    """Return what the table of *op* has for *codes* (int64)."""
    found: np.ndarray = np.array(op.table, dtype=np.int64)[codes.astype(np.int64) % len(op.table)]
    return found


def integer_product(
    op: IntegerProduct, product: Product, operands: Sequence[np.ndarray], constants: frozenset[str], threads: int = 1
) -> np.ndarray:
    """Return what *op* makes of its *operands*, int32; *product*: its sizes and attributes, *constants*: names that are fixed."""
    x, w, x_zero, w_zero = operands[:4]
    mac = op.arithmetic or IntegerMac()
    table, coefficients = operands_of(op, operands)
    products = exact_products(mac).products if table is None else table
    pad = int(x_zero.reshape(-1)[0]) if x_zero.size else 0
    lowered = lower_product(product, (x, w), constants, pad=pad, result=np.int32)
    for number, block in enumerate(lowered.gemms):
        _fill(block, op, mac, products, (x_zero, w_zero), coefficients, number, threads)
    result = lowered.result
    if isinstance(op, ConvInteger):
        images, channels, *inner = lowered.sizes.output
        result = np.ascontiguousarray(result.reshape(channels, images, *inner).swapaxes(0, 1))
    return result.reshape(lowered.sizes.output)


def _fill(
    block: ProductBlock,
    op: IntegerProduct,
    mac: IntegerMac,
    products: np.ndarray,
    zeros: tuple[np.ndarray, np.ndarray],
    coefficients: np.ndarray | None,
    number: int,
    threads: int,
) -> None:
    """Fill the part of the result that *block*, the group or matrix of this *number*, is to become."""
    turned = block.streams_right
    stays = (
        np.ascontiguousarray(block.left.array.T) if turned else np.ascontiguousarray(block.right.columns(slice(None)))
    )
    # of a matrix product with a constant at the left, the left one's zero point is that of what stays
    swapped = turned and not isinstance(op, ConvInteger)
    zero_of_x, zero_of_w = reversed(zeros) if swapped else zeros
    width = stays.shape[1]
    of_block = slice(number * width, (number + 1) * width) if isinstance(op, ConvInteger) else slice(0, width)
    z_w = zero_of_w.reshape(-1)[of_block] if zero_of_w.size > 1 else zero_of_w.reshape(())
    count = block.into.shape[1] if turned else block.into.shape[0]
    step = max(1, CHUNK // max(1, len(stays)))
    for first in range(0, count, step):
        part = slice(first, min(count, first + step))
        streams = block.right.columns(part) if turned else np.ascontiguousarray(block.left.rows(part).T)
        made = matmul_integer(
            streams, stays, mac, products, x_zero=int(zero_of_x.reshape(-1)[0]), weight_zero=z_w, threads=threads
        )
        if coefficients is not None:
            seen, _ = patterns(streams, mac.x_bits, mac.x_signed)
            total = (seen & ((1 << op.variate) - 1)).sum(axis=0, dtype=np.int64)
            share = coefficients.reshape(-1)[of_block].astype(np.int64)
            made = (made + total[:, None] * share[None, :]).astype(np.int32)
        if turned:
            block.into[:, part] = made.T
        else:
            block.into[part] = made
