"""Vectors that can occur at the inputs of a design: others, such as unsorted bits of a thermometer, are not driven."""

from __future__ import annotations

import numpy as np

from approxhw.artifacts.design import Design
from approxhw.ir.evaluation import care_set_of
from approxhw.numerics.logic.care_set import CareSet, can_occur, count_words, drawn_words, every_word

POWER_VECTORS = 10_000
"""Random vectors that power comes from where a design has no rows."""


def vectors_that_occur(
    design: Design, vectors: dict[str, np.ndarray], counts: dict[str, int], *, seed: int, most: int
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Return *vectors* of *design* without those that no reading makes at its inputs, and how many are of which kind.

    Where all of them can occur, they are what they were. Else the data stay, and behind them come all vectors that can occur,
    up to *most* of them, or the corners that can, and as many random ones as before, drawn from those that can.
    """
    care, reads = _read(design)
    count, first = sum(counts.values()), counts["data"]
    kept = can_occur(care, design.codes_of(vectors, count), reads)
    if kept.all():
        return vectors, counts
    if (words := count_words(care, reads)) <= most:
        more = design.ports_of(every_word(care, reads))
        told = {"data": first, "corners": 0, "random": 0, "exhaustive": words}
    else:
        corners = first + np.flatnonzero(kept[first : first + counts["corners"]])
        drawn = design.ports_of(drawn_words(care, counts["random"], np.random.default_rng(seed)))
        more = {name: np.concatenate([column[corners], drawn[name]]) for name, column in vectors.items()}
        told = {**counts, "corners": len(corners)}
    return {name: np.concatenate([column[:first], more[name]]) for name, column in vectors.items()}, told


def excluded_vectors(design: Design) -> str:
    """Return which vectors are not driven, in words; nothing where every one can occur."""
    care, reads = _read(design)
    words, bits = count_words(care, reads), int(reads.sum())
    if words == 1 << bits:
        return ""
    return f"{words} of the 2^{bits} patterns of its input bits can occur, and no others are driven"


def random_words(design: Design) -> tuple[dict[str, np.ndarray] | None, str]:
    """Return vectors that can occur, and what they are; None where every one can, or there is no input."""
    care, reads = _read(design)
    if count_words(care, reads) == 1 << int(reads.sum()):
        return None, ""
    codes = drawn_words(care, POWER_VECTORS, np.random.default_rng(1))
    return design.ports_of(codes), f"{POWER_VECTORS} seeded random vectors that can occur"


def _read(design: Design) -> tuple[CareSet, np.ndarray]:
    """Return what can occur at the Input, and which of its bits (bool, elements × bits) the circuit has ports for."""
    care = care_set_of(design.graph)
    reads = np.zeros((care.elements, care.bits), dtype=bool)
    for port in design.inputs:
        reads[port.feature, list(port.code_bits)] = True
    return care, reads
