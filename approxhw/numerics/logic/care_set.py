"""Which codes can occur at an input, given how readings become codes: the care set of exact changes to logic.

Of a thermometer's bits those of one reading are sorted; codes that count borders end with the number of borders; a feature
that was constant has one code. Whatever a circuit does on other codes decides nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from approxhw.numerics.formats import Encoding


@dataclass(frozen=True, eq=False)
class WordGroup:
    """Elements whose codes occur together: ``words`` (int64, words × elements) are all the rows of codes that they can have."""

    elements: np.ndarray
    words: np.ndarray


@dataclass(frozen=True, eq=False)
class CareSet:
    """The codes that can occur: every combination of one word a group; other elements have all codes of ``bits`` bits."""

    bits: int
    elements: int
    groups: tuple[WordGroup, ...] = ()

    @functools.cached_property
    def free(self) -> np.ndarray:
        """Elements that belong to no group."""
        bound = np.concatenate([np.zeros(0, np.int64), *(group.elements for group in self.groups)])
        return np.setdiff1d(np.arange(self.elements), bound)


def care_set(encoding: Encoding, elements: int) -> CareSet:
    """Return the codes that *encoding* can make of readings, for a row of *elements* codes.

    Where it is not known that a code cannot occur, it counts as one that can.
    """
    groups = []
    if encoding.rule == "thermometer":
        edges = np.array([edge[0] for edge in encoding.edges()], dtype=np.float32)
        reads = np.array(encoding.reads)
        for reading in np.unique(reads):
            own = np.flatnonzero(reads == reading)
            levels = np.unique(edges[own])
            words = np.concatenate([np.zeros((1, len(own))), levels[:, None] >= edges[own][None, :]])
            groups.append(WordGroup(own, words.astype(np.int64)))
    elif encoding.rule == "borders":
        for element, edge in enumerate(encoding.edges()):
            codes = np.unique(np.searchsorted(edge, edge, side="right"))
            groups.append(_alone(element, np.concatenate([[0], codes])))
    elif encoding.rule in ("round", "exact"):
        fixed = [low == high for low, high in zip(encoding.low, encoding.high)]
        if encoding.rule == "exact":
            fixed = [not gain for gain in encoding.gain]
        zero = encoding.encode(np.zeros((1, encoding.width)))[0][0] if any(fixed) else np.zeros(0)
        groups = [_alone(element, zero[element : element + 1]) for element, one in enumerate(fixed) if one]
    bound = [group for group in groups if len(group.words) < 1 << min(encoding.bits * len(group.elements), 62)]
    return CareSet(encoding.bits, elements, tuple(bound))


def _alone(element: int, codes: np.ndarray) -> WordGroup:
    return WordGroup(np.array([element]), np.asarray(codes, dtype=np.int64)[:, None])


# Words of the bits that are read ---------------------------------------------------------------------------------------


def _patterns(care: CareSet, reads: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Give bits (numbers element · bits + bit) that occur together, and their patterns (bool, patterns × bits).

    *reads* (bool, elements × bits): the bits that are looked at.
    """
    for group in care.groups:
        element, bit = np.nonzero(reads[group.elements])
        if len(element):
            rows = (group.words[:, element] >> bit & 1).astype(bool)
            yield group.elements[element] * care.bits + bit, np.unique(rows, axis=0)
    either = np.array([[False], [True]])
    for single in care.free.tolist():
        for place in np.flatnonzero(reads[single]).tolist():
            yield np.array([single * care.bits + place]), either


def count_words(care: CareSet, reads: np.ndarray) -> int:
    """Return how many patterns of the bits in *reads* (bool, elements × bits) can occur."""
    total = 1
    for _, patterns in _patterns(care, reads):
        total *= len(patterns)
    return total


def care_planes(care: CareSet, reads: np.ndarray) -> tuple[np.ndarray, int]:
    """Return every pattern that can occur as planes (uint64, elements · bits × words of 64 patterns), and how many there are.

    Planes of bits that are not in *reads* are 0. The memory is that of :func:`count_words` bits a plane: ask before.
    """
    total, stride = count_words(care, reads), 1
    planes = np.zeros((care.elements * care.bits, (total + 63) // 64), dtype=np.uint64)
    index = np.arange(total)
    for bits, patterns in _patterns(care, reads):
        digit = index // stride % len(patterns)
        stride *= len(patterns)
        for column, bit in enumerate(bits.tolist()):
            packed = np.packbits(patterns[digit, column], bitorder="little")
            planes[bit] = np.frombuffer(packed.tobytes().ljust(8 * planes.shape[1], b"\0"), dtype="<u8")
    return planes, total


def every_word(care: CareSet, reads: np.ndarray) -> np.ndarray:
    """Return every pattern that can occur as codes (int64, patterns × elements); bits that are not in *reads* are 0."""
    total, stride = count_words(care, reads), 1
    codes, index = np.zeros((total, care.elements), dtype=np.int64), np.arange(total)
    for bits, patterns in _patterns(care, reads):
        digit = index // stride % len(patterns)
        stride *= len(patterns)
        for column, bit in enumerate(bits.tolist()):
            codes[:, bit // care.bits] |= patterns[digit, column].astype(np.int64) << bit % care.bits
    return codes


def drawn_words(care: CareSet, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return *count* rows of codes that can occur (int64, rows × elements), every word of a group as likely as another."""
    codes = rng.integers(0, 1 << min(care.bits, 62), (count, care.elements))
    for group in care.groups:
        codes[:, group.elements] = group.words[rng.integers(0, len(group.words), count)]
    return codes


def can_occur(care: CareSet, codes: np.ndarray, reads: np.ndarray) -> np.ndarray:
    """Return which rows of *codes* (rows × elements) can occur (bool), as far as the bits in *reads* tell."""
    found = np.ones(len(codes), dtype=bool)
    for group in care.groups:
        mask = (reads[group.elements] << np.arange(care.bits)).sum(axis=1)
        words, rows = group.words & mask, codes[:, group.elements] & mask
        _, number = np.unique(np.concatenate([words, rows]), axis=0, return_inverse=True)
        number = number.reshape(-1)
        found &= np.isin(number[len(words) :], number[: len(words)])
    return found
