"""What moves and joins values: ``Reshape``, ``Concat`` and ``Add``."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from approxhw.ir.kinds.tensor.ops import Add
from approxhw.numerics.formats import Fixed

from .attributes import integers
from .kind import (
    EXACT_IN_INT64,
    Fault,
    Kind,
    Operand,
    Operands,
    Range,
    Shape,
    Type,
    Values,
    is_code,
    narrowed,
    reach_of,
)


@dataclass(frozen=True)
class Reshape:
    """The same elements in row-major order."""


def _shapes(op: Reshape, first: Shape, own: Type) -> list[Shape]:
    return [first, own.shape if own.elements == math.prod(first) else (math.prod(first),)]


def _reshaped(op: Reshape, values: Values, operands: Operands, own: Operand) -> np.ndarray:
    return values[0].reshape(len(values[0]), *own.type.shape)


RESHAPE = Kind(
    op=Reshape,
    shapes=_shapes,
    keeps_scale=True,
    on_codes=_reshaped,
    on_reals=_reshaped,
    in_codes=lambda op, fmt, bits: op,
)

# Concat ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Concat:
    """Vectors side by side; ``sizes``: the elements of each."""

    sizes: tuple[int, ...]


def _size_faults(op: Concat, operands: Operands, own: Operand) -> list[Fault]:
    if not op.sizes or not all(is_code(size) and size >= 1 for size in op.sizes):
        return ["sizes are whole numbers of at least 1, one a value"]
    return []


def _same_formats(op: object, operands: Operands, own: Operand) -> list[Fault]:
    """Return a fault where values that meet are not on one scale."""
    if not isinstance(own.type.format, Fixed):
        return []
    scales = {(operand.fixed.scale, operand.fixed.zero) for operand in (*operands, own)}
    if len(scales) > 1:
        return [
            ("its operands and its result differ in scale or zero point", "put a Requantize before the coarser ones")
        ]
    if isinstance(op, Add) and own.fixed.zero:
        return [f"it reads codes of zero point {own.fixed.zero}, only 0 is allowed there"]
    return []


def _side_by_side(op: Concat, operands: Operands, own: Operand) -> Range:
    low, high = (np.concatenate([operand.ends[end] for operand in operands]) for end in (0, 1))
    return low, high


def _joined(op: Concat, values: Values, operands: Operands, own: Operand) -> np.ndarray:
    return np.concatenate([value.reshape(len(value), -1) for value in values], axis=1)


CONCAT = Kind(
    op=Concat,
    arity=lambda op: len(op.sizes),
    most_inputs=4096,
    rows=4096,
    shapes=lambda op, first, own: [*((size,) for size in op.sizes), (sum(op.sizes),)],
    keeps_scale=True,
    checks={"attributes": _size_faults, "formats": _same_formats},
    range=_side_by_side,
    on_codes=_joined,
    on_reals=_joined,
    attributes=lambda op: {"sizes": list(op.sizes)},
    readers={"sizes": integers},
    in_codes=lambda op, fmt, bits: op,
    coarser=None,
)


# Add: of tensor Graphs, too; its rules there are in tensor/rules.py ----------------------------------------------------


def _sums(op: Add, operands: Operands, own: Operand) -> Range:
    (a, b), (c, d) = operands[0].ends, operands[1].ends
    return a + c, b + d


def _added_codes(op: Add, values: Values, operands: Operands, own: Operand) -> np.ndarray:
    if sum(reach_of(operand.ends) for operand in operands) >= EXACT_IN_INT64:
        values = tuple(value.astype(object) for value in values)
    return narrowed(values[0] + values[1], own.ends)


def _added(op: Add, values: Values, operands: Operands, own: Operand) -> np.ndarray:
    found: np.ndarray = values[0] + values[1]
    return found


ADD = Kind(
    op=Add,
    arity=lambda op: 2,
    most_inputs=2,
    rows=2,
    shapes=lambda op, first, own: [first, first, first],
    keeps_scale=True,
    checks={"formats": _same_formats},
    range=_sums,
    on_codes=_added_codes,
    on_reals=_added,
    in_codes=lambda op, fmt, bits: op,
    coarser=None,
)

KINDS = (RESHAPE, CONCAT, ADD)
