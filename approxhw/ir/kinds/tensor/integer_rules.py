"""What a Node of whole-number products must keep to: operands, formats, shapes, and sums that fit their accumulator."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from approxhw.common.errors import shown
from approxhw.numerics.exact.fixed_point import MULTIPLIER_BITS, SHIFT_BITS
from approxhw.numerics.formats import FLOAT32, Fixed, Float, Format
from approxhw.numerics.mac.integer_mac import IntegerMac, bits_for, exact_products, patterns, sum_range

from ..requantize import Lookup, table_faults
from .blocks import MisfitError
from .integers import (
    ConvInteger,
    DequantizeLinear,
    IntegerProduct,
    MatMulInteger,
    QuantizeLinear,
    Rescale,
    integer_arity,
    needs_table,
    operands_of,
)
from .products import operand_sizes, product_of

SUMS = Fixed(32, True)
"""What a product of codes makes, and what its table, coefficients, multipliers and shifts are held in."""

CODES = (Fixed(8, True), Fixed(8))
"""What products of codes read."""

Told = tuple[tuple[int, ...], Format]
Broken = tuple[str, str]


def integer_kind_problems(op: object, inputs: int) -> list[Broken]:
    """Return what is wrong with a Node of *op* by itself, and with how many *inputs* it has; nothing for other kinds."""
    if isinstance(op, MatMulInteger | ConvInteger):
        found: list[Broken] = []
        if op.arithmetic is not None and not isinstance(op.arithmetic, IntegerMac):
            return [("arithmetic", f"{shown(op.arithmetic)} is no integer multiply-add")]
        if type(op.variate) is not int or not 0 <= op.variate <= 8:
            return [("attributes", f"variate {shown(op.variate)} is no number of bits from 0 to 8")]
        if inputs != (wanted := integer_arity(op)):
            found.append(("arity", f"{type(op).__name__.lower()} has {wanted} inputs, this one has {inputs}"))
        return found
    if isinstance(op, QuantizeLinear | DequantizeLinear | Rescale):
        found = [] if inputs == 3 else [("arity", f"{type(op).__name__.lower()} has 3 inputs, this one has {inputs}")]
        if type(op.axis) is not int or not 0 <= op.axis < 8:
            found.append(("attributes", f"axis {shown(op.axis)} is no axis"))
        if isinstance(op, Rescale) and not (op.low <= op.zero <= op.high):
            found.append(("attributes", f"zero {op.zero} does not lie in {op.low}…{op.high}"))
        return found
    if isinstance(op, Lookup):
        found = [] if inputs == 1 else [("arity", f"lookup has 1 input, this one has {inputs}")]
        return [*found, *(("attributes", str(why)) for why in table_faults(op))]
    return []


def integer_value_problems(op: object, own: Told, operands: Sequence[Told]) -> list[Broken]:
    """Return what is wrong with shape and format of the value that *op* makes of *operands*."""
    if isinstance(op, MatMulInteger | ConvInteger):
        return _product_problems(op, own, operands)
    if isinstance(op, Lookup):
        return _table_problems(op, own, operands[0])
    (shape, first), (_, second), (_, third) = operands
    found: list[Broken] = []
    if own[0] != shape:
        found.append(("shapes", f"it makes {list(own[0])} of {list(shape)}"))
    if isinstance(op, QuantizeLinear):
        wanted: tuple[tuple[Format, Format, str], ...] = ((second, FLOAT32, "scale"), (third, own[1], "zero"))
        found += [] if isinstance(first, Float) else [("formats", f"x is {first}, no floating-point number")]
    elif isinstance(op, DequantizeLinear):
        wanted = ((third, first, "zero"), (second, FLOAT32, "scale"))
        found += [] if isinstance(own[1], Float) else [("formats", f"it makes {own[1]}, no floating-point number")]
    else:
        wanted = ((first, SUMS, "sums"), (second, SUMS, "multipliers"), (third, SUMS, "shifts"))
        assert isinstance(op, Rescale)
        if not isinstance(own[1], Fixed) or op.low < own[1].low or op.high > own[1].high:
            found.append(("formats", f"codes from {op.low} to {op.high} are no {own[1]}"))
    found += [("formats", f"{what} is {seen}, not {due}") for seen, due, what in wanted if seen != due]
    for values in (operands[1][0], operands[2][0]):
        places = math.prod(values)
        if places != 1 and (op.axis >= len(shape) or places != shape[op.axis]):
            found.append(("shapes", f"{places} values do not go along axis {op.axis} of {list(shape)}"))
    return found


def _table_problems(op: Lookup, own: Told, read: Told) -> list[Broken]:
    found: list[Broken] = [] if own[0] == read[0] else [("shapes", f"it makes {list(own[0])} of {list(read[0])}")]
    found += [
        ("formats", f"it reads or makes {fmt}, no codes of 8 bits") for fmt in (read[1], own[1]) if fmt not in CODES
    ]
    if found:
        return found
    if len(op.table) != 256:
        return [("attributes", f"its table has {len(op.table)} codes; a tensor Graph looks up 8-bit codes in 256")]
    assert isinstance(read[1], Fixed)
    assert isinstance(own[1], Fixed)
    if not own[1].low <= min(op.table) <= max(op.table) <= own[1].high:
        found.append(("formats", f"its table makes {min(op.table)} to {max(op.table)}, which are no {own[1]}"))
    if op.unit is not None and (op.unit.signed, op.unit.out_signed) != (read[1].signed, own[1].signed):
        found.append(("attributes", "its unit reads or makes codes of the other sign"))
    return found


def _product_problems(op: IntegerProduct, own: Told, operands: Sequence[Told]) -> list[Broken]:
    shapes, formats = [told[0] for told in operands], [told[1] for told in operands]
    try:
        sizes = operand_sizes(product_of(op, ("x", "w")), shapes[:2])
    except (MisfitError, TypeError, ValueError) as error:
        return [("shapes", shown(error, 200))]
    found: list[Broken] = []
    if own[0] != sizes.output:
        found.append(("shapes", f"its operands make {list(sizes.output)}, its type says {list(own[0])}"))
    if own[1] != SUMS:
        found.append(("formats", f"it makes {SUMS}, not {own[1]}"))
    found += [("formats", f"it reads {fmt}, not codes of 8 bits") for fmt in formats[:2] if fmt not in CODES]
    found += [
        ("formats", f"zero point {zero} of codes {codes}")
        for codes, zero in zip(formats[:2], formats[2:4], strict=True)
        if codes != zero
    ]
    found += [("formats", f"it reads {fmt}, not {SUMS}") for fmt in formats[4:] if fmt != SUMS]
    columns = sizes.n * (sizes.count if isinstance(op, ConvInteger) else 1)
    if math.prod(shapes[2]) != 1:
        found.append(("shapes", f"{math.prod(shapes[2])} zero points of x, not 1"))
    several = [("zero points", shapes[3], True), *([("coefficients", shapes[-1], False)] if op.variate else [])]
    for title, shape, may_be_one in several:
        if math.prod(shape) != columns and not (may_be_one and math.prod(shape) == 1):
            found.append(("shapes", f"{math.prod(shape)} {title} for {columns} columns"))
    mac = op.arithmetic
    if mac is not None and needs_table(op) and shapes[4] != (1 << mac.weight_bits, 1 << mac.x_bits):
        found.append(
            ("shapes", f"its table is {list(shapes[4])}, its operands have {mac.weight_bits} and {mac.x_bits} bits")
        )
    return found


def integer_data_problems(
    op: object, constants: Sequence[np.ndarray | None], formats: Sequence[Format]
) -> list[Broken]:
    """Return what is wrong with *constants* (None: an operand that is computed): sums that leave the accumulator, and scales."""
    if isinstance(op, Rescale):
        return _scale_problems(constants[1], constants[2])
    if not isinstance(op, MatMulInteger | ConvInteger) or op.arithmetic is None:
        return []
    mac = op.arithmetic
    held = list(constants[:2])
    weights, turned = (held[1], False) if held[1] is not None else (held[0], True)
    if weights is None:
        return []
    half, signed = 1 << (mac.weight_bits - 1), formats[int(not turned)] == CODES[0]
    low, high = int(weights.min(initial=0)), int(weights.max(initial=0))
    if low < (-half if signed else 0) or high >= (half if signed else 2 * half):
        return [("arithmetic", f"weights from {low} to {high} are no codes of {mac.weight_bits} bits")]
    columns = stationary(op, weights, turned)
    table, _ = operands_of(op, [each if each is not None else np.zeros(1) for each in constants])
    products = exact_products(mac).products if table is None else table
    needed = needed_bits(columns.astype(np.int8 if signed else np.uint8), products, mac)
    if needed > mac.accumulator_bits:
        return [("arithmetic", f"its sums need {needed} bits, the accumulator has {mac.accumulator_bits}")]
    return []


def _scale_problems(multiplier: np.ndarray | None, shift: np.ndarray | None) -> list[Broken]:
    found: list[Broken] = []
    for title, values, most in (
        ("multiplier", multiplier, (1 << MULTIPLIER_BITS) - 1),
        ("shift", shift, (1 << SHIFT_BITS) - 1),
    ):
        if values is not None and values.size and not 0 <= int(values.min()) <= int(values.max()) <= most:
            found.append(("constants", f"a {title} does not lie in 0…{most}"))
    return found


def stationary(op: IntegerProduct, weights: np.ndarray, turned: bool = False) -> np.ndarray:
    """Return constant *weights* as they stay in an array, K × columns; *turned*: they are the left operand of a product."""
    if isinstance(op, ConvInteger):
        return weights.reshape(len(weights), -1).T
    if turned:
        return weights.reshape(-1, weights.shape[-1]).T
    plain = weights if weights.ndim > 1 else weights[:, None]
    return np.moveaxis(plain, -2, 0).reshape(plain.shape[-2], -1)


def from_stationary(
    op: IntegerProduct, columns: np.ndarray, shape: tuple[int, ...], turned: bool = False
) -> np.ndarray:
    """Return the constant of *shape* that :func:`stationary` turns into *columns*."""
    if isinstance(op, ConvInteger) or turned:
        return np.ascontiguousarray(columns.T).reshape(shape)
    plain = shape if len(shape) > 1 else (*shape, 1)
    apart = columns.reshape(plain[-2], *plain[:-2], plain[-1])
    return np.ascontiguousarray(np.moveaxis(apart, 0, -2)).reshape(shape)


def needed_bits(columns: np.ndarray, products: np.ndarray, mac: IntegerMac) -> int:
    """Return how wide sums through *columns* of weights (K × columns of codes, int8 or uint8) are, whatever x is."""
    seen, _ = patterns(columns, mac.weight_bits, mac.weight_signed)
    return bits_for(*sum_range(seen, products, mac))
