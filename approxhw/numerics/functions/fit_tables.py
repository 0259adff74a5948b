"""Compress a table without loss: a coarse table, and tables of small differences that make it finer."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .units import Differences

MOST_LEVELS = 5
_MOST_STEP = 4
"""Upper bits of u that a level adds at most."""


def compressed_tables(values: np.ndarray) -> Iterator[Differences]:
    """Yield the ways to make *values* (2^k codes, ascending) of one to five levels: for each number of levels the smallest ones.

    Smallest by :func:`stored_bits`; each level halves, quarters, … the table below it.
    """
    for steps in _splits(len(values).bit_length() - 1):
        yield compressed(values, steps)


def _splits(bits: int) -> Iterator[tuple[int, ...]]:
    """Yield by how many bits each level is finer than the one before, the finest last."""
    for levels in range(1, MOST_LEVELS + 1):
        for step in range(1, _MOST_STEP + 1):
            if levels * step < bits:
                yield (step,) * levels
        if levels > 1 and levels + 1 < bits:
            yield (*(1,) * (levels - 1), 2)
            yield (2, *(1,) * (levels - 1))


def compressed(values: np.ndarray, steps: tuple[int, ...]) -> Differences:
    """Return *values* as a coarse table and levels, the last of which is finer by ``steps[-1]`` bits than the one before."""
    table = np.asarray(values, dtype=np.int64)
    levels: list[tuple[int, tuple[int, ...]]] = []
    for step in reversed(steps):
        low, table, differences = _split(table, step)
        levels.append((low, tuple(differences.tolist())))
    return Differences(tuple(table.tolist()), tuple(reversed(levels)))


def _split(table: np.ndarray, step: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Return low bits, coarse table and differences of one level: those that store the fewest bits."""
    blocks = table.reshape(-1, 1 << step)
    best: tuple[int, int, np.ndarray, np.ndarray] | None = None
    for low in range(max(int(np.ptp(table)).bit_length(), 1)):
        coarse = blocks.min(axis=1) >> low
        differences = blocks - (coarse[:, None] << low)
        size = len(coarse) * bits_of(coarse) + table.size * bits_of(differences)
        if best is None or size < best[0]:
            best = size, low, coarse, differences.reshape(-1)
    assert best is not None
    return best[1:]


def bits_of(table: np.ndarray) -> int:
    """Return the bits that hold every entry of *table* beside its least one's sign."""
    least, most = int(table.min()), int(table.max())
    return max(most.bit_length(), (-least - 1).bit_length() + 1) if least < 0 else most.bit_length()


def stored_bits(core: Differences) -> int:
    """Return the bits of all tables of *core*."""
    tables = [core.coarse, *(differences for _, differences in core.levels)]
    return sum(len(table) * bits_of(np.array(table)) for table in tables)
