"""Compress a table without loss: a coarse table, and tables of small differences that make it finer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .units import Differences, Level

MOST_STEPS = 4
"""How often a table is halved, quartered, … at most."""
_MOST_STEP = 5
"""Upper bits of u that a level adds at most."""


def compressed_tables(values: np.ndarray) -> Iterator[Differences]:
    """Yield ways to make *values* (2^k codes, ascending): as they are, or of one to four levels, the finest perhaps shared."""
    bits = len(values).bit_length() - 1
    yield Differences(tuple(np.asarray(values).tolist()), ())
    for steps in _splits(bits):
        yield compressed(values, steps)
        for shared in range(1, bits - steps[-1]):
            yield compressed(values, steps, shared)


def _splits(bits: int) -> Iterator[tuple[int, ...]]:
    """Yield by how many bits each level is finer than the one before, the finest last."""
    for levels in range(1, MOST_STEPS + 1):
        for step in range(1, _MOST_STEP + 1):
            if levels * step < bits:
                yield (step,) * levels
                if levels > 1 and step > 1:
                    yield (*(step - 1,) * (levels - 1), step)


def compressed(values: np.ndarray, steps: tuple[int, ...], shared: int = 0) -> Differences:
    """Return *values* as a coarse table and levels, the last of which is finer by ``steps[-1]`` bits than the one before.

    ``shared``: that last level leaves out so many bits in the middle; another one of all bits adds what is missing.
    """
    table = np.asarray(values, dtype=np.int64)
    levels: list[Level] = []
    for step in reversed(steps):
        bits = len(table).bit_length() - 1
        low, table, differences = _split(table, step)
        if shared and not levels:
            blocks = differences.reshape(-1, 1 << shared, 1 << step)
            common = blocks.min(axis=1)
            missing = (blocks - common[:, None, :]).reshape(-1)
            levels.append(Level(bits, step, 0, tuple(missing.tolist())))
            differences = common.reshape(-1)
        levels.append(Level(bits, step, low, tuple(differences.tolist())))
    return Differences(tuple(table.tolist()), tuple(reversed(levels)))


def _split(table: np.ndarray, step: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Return low bits, coarse table and differences of one level: those that store the fewest bits."""
    blocks = table.reshape(-1, 1 << step)
    best: tuple[int, int, np.ndarray, np.ndarray] | None = None
    for low in range(max(int(np.ptp(table)).bit_length(), 1)):
        coarse = blocks.min(axis=1) >> low
        differences = blocks - (coarse[:, None] << low)
        size = len(coarse) * entry_bits(coarse) + table.size * entry_bits(differences)
        if best is None or size < best[0]:
            best = size, low, coarse, differences.reshape(-1)
    assert best is not None
    return best[1:]


def entry_bits(table: np.ndarray) -> int:
    """Return the bits that hold every entry of *table* beside its least one's sign."""
    least, most = int(table.min()), int(table.max())
    return max(most.bit_length(), (-least - 1).bit_length() + 1) if least < 0 else most.bit_length()


def table_nodes(table: Sequence[int]) -> int:
    """Return how many multiplexers of one bit look *table* (2^k entries) up, each distinct one once.

    They are the nodes of its decision diagram. Bits of the index are asked from the highest on, as ``table_lookup`` does; one
    that is another one inverted is the same.
    """
    values = np.asarray(table, dtype=np.int64)
    columns = (values[None, :] >> np.arange(entry_bits(values))[:, None] & 1).astype(np.uint64)
    found = 0
    for known in range(1, len(values).bit_length()):
        parts = columns.reshape(-1, 1 << known)
        if known > 6:  # few are left, and longer than a word
            kept = parts[(parts[:, : 1 << (known - 1)] != parts[:, 1 << (known - 1) :]).any(axis=1)]
            found += len({min(part.tobytes(), (1 - part).tobytes()) for part in kept})
            continue
        words = (parts << np.arange(1 << known, dtype=np.uint64)).sum(axis=1, dtype=np.uint64)
        half, ones = np.uint64(1 << (known - 1)), np.uint64((1 << (1 << known)) - 1)
        differ = (words >> half) != (words & (ones >> half))
        found += len(np.unique(np.minimum(words, words ^ ones)[differ]))
    return found
