"""What a product is made of: operands as matrices, taken in tiles; sizes; the error of operands that do not fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

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
    output_padding: tuple[int, ...]
    output_shape: tuple[int, ...]


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
class Made:
    """What a product is made with: ``pad`` stands around an image, ``result`` is the type of what comes out."""

    pad: int
    result: type[np.generic]


@dataclass(frozen=True)
class Matrix:
    """An operand that lies there as an array (2-D, of floats or codes); ``key`` where it is a constant."""

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
        # places lie inside by construction; np.take is several times as fast as an index there
        return np.take(self.flat, self.offsets[:, None] + base, axis=1, mode="clip").reshape(-1, len(chosen))

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


def said_shape(shape: Sequence[int]) -> str:
    """Return a shape as people read it."""
    return " × ".join(map(str, shape)) or "a scalar"
