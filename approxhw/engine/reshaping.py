"""What passes that change shapes get of an opened model and of the array that it is compiled for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from approxhw.ir.rewriting import Reshaping

if TYPE_CHECKING:
    from approxhw.frontends.products.partition import OpenedModel


class Tiled(Protocol):
    """An array, or the target that has one: ``rows`` of K and ``columns`` of N in a tile, ``vectors`` of a tile at most."""

    @property
    def rows(self) -> int:
        """Parts of K."""
        ...

    @property
    def columns(self) -> int:
        """Parts of N."""
        ...

    @property
    def vectors(self) -> int:
        """Vectors that go through a tile before the next one."""
        ...


def reshaping_on(model: OpenedModel, array: Tiled) -> Reshaping:
    """Return what passes get: *model*'s Graphs taken apart and typed, clocks of products on *array*."""
    return Reshaping(model.apart, model.typed, clocks_on(array))


def clocks_on(array: Tiled) -> Callable[[int, int, int], int]:
    """Return what tells the clocks of a product of M × K by K × N on *array*."""

    def clocks(m: int, k: int, n: int) -> int:
        """Return the clocks in which the weights of every tile and its vectors come in; the way out is left aside."""
        tiles = -(-k // array.rows) * -(-n // array.columns)
        return tiles * (array.columns * -(-m // array.vectors) + m)

    return clocks
