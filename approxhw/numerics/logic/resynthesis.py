"""Exact resynthesis: a netlist gets smaller where codes that cannot occur, and what outputs do not show, leave gates free.

Every code that can occur is simulated, so each move is proven when it is taken; the whole is compared once more in the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .care_set import CareSet, care_planes, count_words
from .gates import CONSTANTS, GateList, MappedGates, bits_that_count
from .removal import Removal, RowPlanes, signal_planes

MOST_OCCURRING = 1 << 24
"""Codes that are all looked at, at most."""

MOST_PLANES = 1 << 25
"""Words of all planes together, 256 MiB, of which there are two sets: codes are fewer where signals are many."""


@dataclass(frozen=True)
class Resynthesised:
    """An equal netlist, which is the given one where none is smaller. ``words``: codes that it was proven on, all there are."""

    mapped: MappedGates
    words: int
    moves: int
    mappings: int


def most_occurring(gates: GateList) -> int:
    """Return how many codes may occur at the bits that *gates* read, so that all of them are looked at."""
    return min(MOST_OCCURRING, MOST_PLANES // (gates.first + len(gates.functions)) * 64)


def resynthesise(
    mapped: MappedGates,
    care: CareSet,
    remap: Callable[[GateList], MappedGates],
    *,
    candidates: int,
    rng: np.random.Generator,
) -> Resynthesised | None:
    """Return a netlist that equals *mapped* on every code of *care*; None where more than :func:`most_occurring` can occur.

    *remap*: synthesises a netlist to an equal, smaller one. *candidates*: signals that are tried in the place of each, besides
    constants and pairs.
    """
    reads = bits_that_count(mapped.gates).reshape(care.elements, care.bits)
    total = count_words(care, reads)
    if total > most_occurring(mapped.gates):
        return None
    rows = _occurring(mapped.gates, care, reads)
    sources = CONSTANTS + np.flatnonzero(reads)  # other bits have no plane of their own
    found = Removal(mapped, rows, remap, candidates, rng, sources=sources, pairs=True).within()
    if differing_words(mapped.gates, found.mapped.gates, care):
        raise ValueError("resynthesised gates differ on codes that can occur")
    return Resynthesised(found.mapped, total, found.moves, found.mappings)


def _occurring(gates: GateList, care: CareSet, reads: np.ndarray) -> RowPlanes:
    """Return every code of *care* with what *gates* make of it."""
    planes, total = care_planes(care, reads)
    words = planes.shape[1]
    inputs = np.zeros((gates.first, words), dtype=np.uint64)
    inputs[1] = ~np.uint64(0)
    inputs[CONSTANTS:] = planes
    mask = np.full(words, ~np.uint64(0))
    if total % 64:
        mask[-1] = (1 << total % 64) - 1
    return RowPlanes(inputs, signal_planes(gates, inputs)[gates.outputs], mask, words)


def differing_words(first: GateList, second: GateList, care: CareSet) -> int:
    """Return on how many of the codes that can occur, at the bits that one of both reads, their outputs differ."""
    reads = (bits_that_count(first) | bits_that_count(second)).reshape(care.elements, care.bits)
    rows = _occurring(first, care, reads)
    seen = signal_planes(second, rows.inputs)[second.outputs]
    wrong = np.bitwise_or.reduce(seen ^ rows.wanted, axis=0) & rows.mask
    return int(np.bitwise_count(wrong).sum())
