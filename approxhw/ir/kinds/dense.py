"""Layers of weights: ``Dense``, whose arithmetic says how products are made, and ``Affine``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from approxhw.common.errors import shown
from approxhw.numerics.formats import Fixed, fixed_for
from approxhw.numerics.mac.arithmetic import (
    ApproximateMultiplier,
    Arithmetic,
    Exact,
    MaskedPowerOfTwo,
    parse_arithmetic,
)

from .kind import EXACT_IN_INT64, Fault, Kind, Operand, Operands, Range, Shape, Type, Values, narrowed

_EXACT_IN_FLOAT = 1 << 53


@dataclass(frozen=True)
class Dense:
    """y[o] = b[o] + Σᵢ w[o,i] · x[i], every multiply-accumulate as ``arithmetic`` says, which may read a fourth operand."""

    arithmetic: Arithmetic | None = None
    """None in a float Graph."""


@dataclass(frozen=True)
class Affine:
    """y = s · x + t, element by element."""


# Dense: shape and formats ------------------------------------------------------------------------------------------------


def _arity(op: Dense) -> int:
    return 3 + (op.arithmetic is not None and op.arithmetic.operand is not None)


def _shapes(op: Dense, first: Shape, own: Type) -> list[Shape]:
    n, m = math.prod(first), own.elements
    if isinstance(op.arithmetic, ApproximateMultiplier):
        bits = op.arithmetic
        return [(n,), (m, n), (m,), (1 << bits.weight_bits, 1 << bits.x_bits), (m,)]
    masks = [(m, n)] if isinstance(op.arithmetic, MaskedPowerOfTwo) else []
    return [(n,), (m, n), (m,), *masks, (m,)]


def _scales(op: Dense, operands: Operands, own: Operand) -> list[Fault]:
    x, weight, bias = (operand.fixed for operand in operands[:3])
    why: list[Fault] = []
    scale = x.scale * weight.scale
    for title, fmt in (("result", own.fixed), ("bias", bias)):
        if fmt.scale != scale:
            why.append(f"the scale of its {title} is {fmt.scale}, that of x · w is {scale}")
    for title, fmt in (("weight", weight), ("bias", bias), ("result", own.fixed)):
        if fmt.zero:
            why.append(f"its {title} has zero point {fmt.zero}, only 0 is allowed there")
    return why


def _arithmetic_faults(op: Dense, operands: Operands, own: Operand) -> list[Fault]:
    arithmetic = op.arithmetic
    if own.type.is_float:
        return [] if arithmetic is None else [f"a float dense has no arithmetic, this one has {arithmetic}"]
    if arithmetic is None:
        return [("an integer dense needs an arithmetic", 'say "exact<8>", for one')]
    weights = operands[1].data
    if isinstance(arithmetic, MaskedPowerOfTwo):
        return _masked_faults(arithmetic, weights, operands)
    why: list[Fault] = []
    x = operands[0].type.format
    if isinstance(arithmetic, ApproximateMultiplier) and isinstance(x, Fixed) and x.bits > arithmetic.x_bits:
        why.append(f"{arithmetic} reads {arithmetic.x_bits}-bit codes, x is {x}")
    low, high = int(weights.min()), int(weights.max())
    if not arithmetic.holds(low, high):
        bits = fixed_for(min(low, -1), high).bits
        remedy = f"{Exact(bits) if isinstance(arithmetic, Exact) else f'{bits} bits'} would hold them"
        why.append((f"weights {low}…{high} do not fit {arithmetic}", remedy))
    return why


def _masked_faults(arithmetic: MaskedPowerOfTwo, weights: np.ndarray, operands: Operands) -> list[Fault]:
    why: list[Fault] = []
    bad = [w for w in weights.reshape(-1).tolist() if not arithmetic.holds_weight(w)]
    if bad:
        why.append(f"weights of {arithmetic} are 0 or ±2^k, k ≤ {arithmetic.exponent}; it has {shown(bad[:5])}")
    for title, operand in (("x", operands[0]), ("its masks", operands[3])):
        if isinstance(operand.type.format, Fixed) and operand.type.format.signed:
            why.append(f"{title} is {operand.type.format}: {arithmetic} masks unsigned codes")
    return why


# Dense: ranges -----------------------------------------------------------------------------------------------------------


def _range(op: Dense, operands: Operands, own: Operand) -> Range:
    bias = operands[2].data.astype(object)
    least, greatest = product_ranges(op, operands)
    return bias + least.sum(axis=1), bias + greatest.sum(axis=1)


def product_ranges(op: Dense, operands: Operands) -> Range:
    """Return the lowest and highest product of every weight of a ``Dense``: two object arrays, outputs × inputs."""
    low, high = operands[0].ends
    weights = operands[1].data.astype(object)
    arithmetic = op.arithmetic
    if isinstance(arithmetic, ApproximateMultiplier):
        return _table_ranges(arithmetic, weights, operands[3].data, (low, high))
    if isinstance(arithmetic, MaskedPowerOfTwo):
        masks = operands[3].data.astype(object)
        ends = [
            [_masked_range(mask, int(a), int(b)) for mask, a, b in zip(row, low.tolist(), high.tolist())]
            for row in masks.tolist()
        ]
        ends_array = np.array(ends, dtype=object).reshape(*weights.shape, 2)
        first, second = weights * ends_array[..., 0], weights * ends_array[..., 1]
    else:
        first, second = weights * low[None, :], weights * high[None, :]
    return np.minimum(first, second), np.maximum(first, second)


_TRIED = 1 << 10


@lru_cache(maxsize=1 << 16)
def _masked_range(mask: int, low: int, high: int) -> tuple[int, int]:
    """Return least and greatest x & mask for low ≤ x ≤ high, low ≥ 0; beyond 1024 values of x a range that holds them."""
    if high - low < _TRIED:
        values = [x & mask for x in range(low, high + 1)]
        return min(values), max(values)
    return 0, mask & ((1 << high.bit_length()) - 1)


def _table_ranges(arithmetic: ApproximateMultiplier, weights: np.ndarray, table: np.ndarray, operand: Range) -> Range:
    least, greatest = np.empty(weights.shape, dtype=object), np.empty(weights.shape, dtype=object)
    rows = (weights % (1 << arithmetic.weight_bits)).astype(np.int64)
    for i, (low, high) in enumerate(zip(operand[0].tolist(), operand[1].tolist())):
        # one code a column: no more than all columns are ever reached
        count = min(high - low + 1, table.shape[1])
        columns = (np.arange(count) + low % table.shape[1]) % table.shape[1]
        part = table[np.ix_(rows[:, i], columns)]
        least[:, i], greatest[:, i] = part.min(axis=1), part.max(axis=1)
    return least, greatest


# Dense: meaning ----------------------------------------------------------------------------------------------------------


def dense_sums(x: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Return x · weightsᵀ + bias, rows × outputs, in the number type of *x*."""
    result: np.ndarray = x @ weights.T + bias
    return result


def _on_codes(op: Dense, values: Values, operands: Operands, own: Operand) -> np.ndarray:
    """Through float64 BLAS where every partial sum is exact there (a stated bound), else in integers."""
    (x,) = values
    weights, bias = operands[1].data, operands[2].data
    low, high = operands[0].ends
    if op.arithmetic is not None and op.arithmetic.operand:
        operand = operands[3].data
        least, greatest = product_ranges(op, operands)
        reach = int(np.maximum(np.abs(least), np.abs(greatest)).sum(axis=1).max())
        wide = reach + max(map(abs, bias.tolist())) >= EXACT_IN_INT64 or x.dtype == object
        products = _masked_sums if isinstance(op.arithmetic, MaskedPowerOfTwo) else _table_sums
        dtype = object if wide else np.int64
        return narrowed(products(*(array.astype(dtype) for array in (x, weights, operand))) + bias, own.ends)
    extreme = np.maximum(np.abs(low), np.abs(high))
    reach = max((np.abs(weights.astype(object)) @ extreme + np.abs(bias.astype(object))).tolist())
    if reach < _EXACT_IN_FLOAT and x.dtype != object:
        exact: np.ndarray = (x.astype(np.float64) @ weights.T.astype(np.float64)).astype(np.int64) + bias
        return exact
    if reach < EXACT_IN_INT64 and x.dtype != object:
        return dense_sums(x, weights, bias)
    return narrowed(dense_sums(*(array.astype(object) for array in (x, weights, bias))), own.ends)


def _masked_sums(x: np.ndarray, weights: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return Σᵢ w[o,i] · (x[i] & mask[o,i]) for every row: a weight is ±2^k, so that this is ±((x & mask) << k)."""
    return np.stack([(x & mask) @ row for row, mask in zip(weights, masks, strict=True)], axis=1)


def _table_sums(x: np.ndarray, weights: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return Σᵢ T[w[o,i] mod rows, x[i] mod columns] for every row."""
    rows, columns = (weights % table.shape[0]).astype(np.int64), (x % table.shape[1]).astype(np.int64)
    inputs = np.arange(x.shape[1])
    return np.stack([table[row][inputs, columns].sum(axis=1) for row in rows], axis=1)


def _on_reals(op: Dense, values: Values, operands: Operands, own: Operand) -> np.ndarray:
    return dense_sums(values[0], operands[1].data, operands[2].data)


def _attributes(op: Dense) -> dict[str, object]:
    return {"arithmetic": str(op.arithmetic)} if op.arithmetic else {}


DENSE = Kind(
    op=Dense,
    arity=_arity,
    most_inputs=4,
    shapes=_shapes,
    checks={"formats": _scales, "arithmetic": _arithmetic_faults},
    range=_range,
    on_codes=_on_codes,
    on_reals=_on_reals,
    attributes=_attributes,
    readers={"arithmetic": lambda value, fmt: parse_arithmetic(str(value))},
    optional=frozenset({"arithmetic"}),
)


def _scaled(op: Affine, values: Values, operands: Operands, own: Operand) -> np.ndarray:
    result: np.ndarray = operands[1].data * values[0] + operands[2].data
    return result


AFFINE = Kind(
    op=Affine,
    arity=lambda op: 3,
    most_inputs=3,
    shapes=lambda op, first, own: [own.shape] * 4,
    numbers="real",
    on_reals=_scaled,
)

KINDS = (DENSE, AFFINE)
