"""Node kinds of whole-number products: codes in and out of real numbers, products of codes, sums as codes of the next layer.

``docs/ir.md`` (*Whole-number products*) says what each of them means; the names are those of ONNX where ONNX has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from approxhw.numerics.mac.integer_mac import IntegerMac


@dataclass(frozen=True)
class QuantizeLinear:
    """Codes of real numbers: round(x / scale) + zero, halves to even, within the range of the codes.

    Operands: x, scale, zero (whose type is that of the codes); scale and zero have one element, or one for each place along
    ``axis``. NaN becomes the zero point.
    """

    axis: int = 1


@dataclass(frozen=True)
class DequantizeLinear:
    """Real numbers of codes: (codes − zero) · scale in float32. Operands and ``axis`` as those of :class:`QuantizeLinear`."""

    axis: int = 1


@dataclass(frozen=True)
class MatMulInteger:
    """Σ (a − a_zero)(b − b_zero) over the last axis of a and the second last of b, int32, the others broadcast.

    Operands: a, b, a_zero, b_zero (one element, or one a column of b); the table of the operator where ``arithmetic`` names
    one that is not exact; one coefficient a column where ``variate`` is not 0. What stays in an array is b, or a constant a.
    """

    title: str
    arithmetic: IntegerMac | None = None
    """How an engine multiplies and adds; None: exactly, on the host."""
    variate: int = 0
    """Coefficient · Σ (x mod 2^variate) is added, x being the codes that stream, as the operator reads them."""


@dataclass(frozen=True)
class ConvInteger:
    """Filters (the second operand) over images of codes (the first), int32; operands as those of :class:`MatMulInteger`.

    Padding has the zero point's code, which is multiplied like any other. A zero point or coefficient a filter is along its
    first axis.
    """

    title: str
    strides: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    auto_pad: str = "NOTSET"
    group: int = 1
    kernel: tuple[int, ...] = ()
    arithmetic: IntegerMac | None = None
    variate: int = 0


@dataclass(frozen=True)
class Rescale:
    """min(max(round(sum · multiplier / 2^shift) + zero, low), high), halves to even: sums as codes of the next layer.

    Operands: sums (int32), multipliers (int32, below 2^31), shifts (int32, 0 to 63), one of each or one for each place along
    ``axis``.
    """

    zero: int
    low: int
    high: int
    axis: int = 1


IntegerProduct = MatMulInteger | ConvInteger
"""What an integer engine can carry out."""


def is_integer_product(op: object) -> bool:
    """Whether *op* multiplies matrices of codes."""
    return isinstance(op, MatMulInteger | ConvInteger)


def needs_table(op: IntegerProduct) -> bool:
    """Whether the products of *op* stand in a table beside it."""
    return op.arithmetic is not None and op.arithmetic.operator != "exact"


def operands_of(op: IntegerProduct, operands: Sequence[np.ndarray]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the table and the coefficients among the *operands* of *op*; None where it has none."""
    rest = list(operands[4:])
    table = rest.pop(0) if needs_table(op) else None
    return table, rest.pop(0) if op.variate else None


def integer_arity(op: IntegerProduct) -> int:
    """Return how many operands *op* has."""
    return 4 + needs_table(op) + (op.variate > 0)


def along(values: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """Return *values*, one or one for each place along *axis*, in a shape that broadcasts over an array of *rank* axes."""
    if values.size == 1:
        return values.reshape(())
    places = [1] * rank
    places[axis] = values.size
    return values.reshape(places)
