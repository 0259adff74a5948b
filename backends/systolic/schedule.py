"""Which tiles a matrix product is cut into on a weight-stationary array, and in which order they go through it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from approxhw.common.errors import OptionError, Problem, shown


@runtime_checkable
class TiledArray(Protocol):
    """What decides the tiles: ``rows`` x ``columns`` elements, and how many ``vectors`` of a tile wait for the next one."""

    @property
    def rows(self) -> int:
        """Rows of elements: the part of K in a tile."""

    @property
    def columns(self) -> int:
        """Columns of elements: the part of N in a tile."""

    @property
    def vectors(self) -> int:
        """Vectors of a tile at most."""


@dataclass(frozen=True)
class Tile:
    """One tile: weights rows ``k`` to ``k + depth`` and columns ``n`` to ``n + width``; vectors ``m`` to ``m + count``.

    ``first``: its chains begin here. ``last``: they end here, and ``count`` words of results leave.
    """

    m: int
    count: int
    k: int
    depth: int
    n: int
    width: int
    first: bool
    last: bool


@dataclass(frozen=True)
class Schedule:
    """The tiles of A (m x k) times B (k x n), in order: blocks of vectors, then columns of B, then rows of B."""

    m: int
    k: int
    n: int
    tiles: tuple[Tile, ...]

    def as_data(self) -> dict[str, object]:
        """Return the schedule as plain data for JSON."""
        return asdict(self)

    @property
    def leaving(self) -> tuple[Tile, ...]:
        """The tiles of which results leave, in order."""
        return tuple(tile for tile in self.tiles if tile.last)


def make_schedule(engine: TiledArray, m: int, k: int, n: int) -> Schedule:
    """Return the tiles of A (*m* x *k*) times B (*k* x *n*) on *engine*; raise :class:`OptionError` for an empty product."""
    if not isinstance(engine, TiledArray):
        why = f"{shown(type(engine).__name__)} is no engine"
        raise OptionError("schedule of a matrix product", [Problem("engine", why, "give Engine(), say")])
    problems = [
        Problem(name, f"{shown(repr(size), 40)} is no size of a matrix")
        for name, size in zip("mkn", (m, k, n))
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1
    ]
    if problems:
        raise OptionError("schedule of a matrix product", problems)
    tiles = tuple(
        Tile(
            row,
            min(engine.vectors, m - row),
            inner,
            min(engine.rows, k - inner),
            column,
            min(engine.columns, n - column),
            inner == 0,
            inner + engine.rows >= k,
        )
        for row in range(0, m, engine.vectors)
        for column in range(0, n, engine.columns)
        for inner in range(0, k, engine.rows)
    )
    return Schedule(m, k, n, tiles)
