"""What moves elements and changes none: ``Reshape``."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .kind import Kind, Operand, Operands, Shape, Type, Values


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

KINDS = (RESHAPE,)
