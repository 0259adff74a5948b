"""Variation of whole populations: start populations, crossover and mutation of integer genomes.

Every function takes genomes as int32, P × G, and one ``numpy.random.Generator``, draws integers only, and returns a
new array: the same generator state gives the same genomes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from approxhw.networks.space import Space

MASK, SIGN, EXPONENT, BIAS, SHIFT, COMPARATOR = range(6)
KINDS = ("mask", "sign", "exponent", "bias", "shift", "comparator")


@dataclass(frozen=True, eq=False)
class GeneMap:
    """What every gene is (arrays of G), and three ways to part the genes into blocks that are inherited together."""

    kinds: np.ndarray
    """int64: MASK … COMPARATOR."""
    widths: np.ndarray
    """int64: bits of the greatest value."""
    lower: np.ndarray
    upper: np.ndarray
    partitions: tuple[np.ndarray, np.ndarray, np.ndarray]
    """Block of every gene (int64). By weight: mask, sign and exponent. By neuron: the weights that it reads through, and
    its bias. By feature: weights, bias and readers of a hidden neuron. Any other gene is a block of its own."""

    @property
    def genes(self) -> int:
        """Number of genes."""
        return len(self.kinds)


def gene_map(space: Space) -> GeneMap:
    """Return what the genes of *space* are."""
    kinds = np.full(space.genes, COMPARATOR, np.int64)
    own = np.arange(space.genes)
    weights, neurons, features = own.copy(), own.copy(), own.copy()
    before = None
    for n, m, _, masks, signs, exponents, biases, shift, _ in space.layout.tolist():
        for start, kind in ((masks, MASK), (signs, SIGN), (exponents, EXPONENT)):
            genes = slice(start, start + m * n)
            kinds[genes] = kind
            weights[genes] = own[masks : masks + m * n]
            neurons[genes] = np.repeat(own[biases : biases + m], n)
            features[genes] = neurons[genes] if before is None else np.tile(before, m)
        kinds[biases : biases + m] = BIAS
        before = own[biases : biases + m]
        if shift >= 0:
            kinds[shift] = SHIFT
    upper = space.upper.astype(np.int64)
    widths = np.array([int(value).bit_length() for value in upper])
    blocks = [np.unique(part, return_inverse=True)[1].reshape(-1) for part in (weights, neurons, features)]
    return GeneMap(kinds, widths, space.lower, space.upper, (blocks[0], blocks[1], blocks[2]))


class Bounds(Protocol):
    """The least and the greatest value of every gene (integers, G)."""

    @property
    def lower(self) -> np.ndarray:
        """The least."""

    @property
    def upper(self) -> np.ndarray:
        """The greatest."""


def repair(genes: Bounds, genomes: np.ndarray) -> np.ndarray:
    """Return *genomes* with every gene within its bounds (``genes.lower``, ``genes.upper``), as a C-contiguous int32 array."""
    return np.ascontiguousarray(np.clip(genomes, genes.lower, genes.upper), dtype=np.int32)


KEPT = 3
"""One in so many of a start population may be a start as it is."""


def initialise(genes: GeneMap, starts: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Return a start population of *count* genomes around *starts* (S × G; may be none).

    The starts themselves, the first and any others, take up to a third. Of the rest half are nearly exact (a start less a
    few mask bits), a quarter lie in between, an eighth are nearly empty (few mask bits left), an eighth are random in
    every gene. Without starts, every one has random signs, exponents, biases and shifts, and all mask and comparator
    bits to lose.
    """
    if len(starts):
        room = min(count, max(1, count // KEPT))
        others = generator.permutation(np.arange(1, len(starts)))[: room - 1]
        kept = starts[np.concatenate([[0], np.sort(others)]).astype(np.int64)]
        based = starts[generator.integers(0, len(starts), count - len(kept))].astype(np.int64)
    else:
        kept = np.zeros((0, genes.genes), np.int32)
        based = _random(genes, count, generator)
        full = (genes.kinds == MASK) | (genes.kinds == COMPARATOR)
        based[:, full] = genes.upper[full]
    sort = np.arange(len(based)) % 8
    based[sort == 7] = _random(genes, int(np.sum(sort == 7)), generator)
    # Share of mask bits that stay, in 1/256, one for each genome.
    low, high = np.array([[231, 256], [32, 231], [4, 32], [256, 257]])[np.array([0, 0, 0, 0, 1, 1, 2, 3])[sort]].T
    share = generator.integers(low, high)
    masks = np.flatnonzero(genes.kinds == MASK)
    bits = int(genes.widths[masks].max())
    stays = generator.integers(0, 256, (len(based), len(masks), bits), dtype=np.uint8) < share[:, None, None]
    based[:, masks] &= stays @ (1 << np.arange(bits))
    return repair(genes, np.concatenate([kept, based]))


def _random(genes: GeneMap, count: int, generator: np.random.Generator) -> np.ndarray:
    """Return genomes of uniformly random genes; biases of every magnitude, for most of their range saturates all."""
    values = generator.integers(genes.lower.astype(np.int64), genes.upper.astype(np.int64) + 1, (count, genes.genes))
    biases = genes.kinds == BIAS
    drop = generator.integers(0, genes.widths[biases] + 1, (count, int(biases.sum())))
    values[:, biases] >>= drop
    return values


def crossover(
    genes: GeneMap,
    first: np.ndarray,
    second: np.ndarray,
    generator: np.random.Generator,
    *,
    probability: float = 0.8,
    shares: Sequence[float] = (1.0, 1.0, 1.0),
) -> np.ndarray:
    """Return one child of each pair of rows of *first* and *second* (P × G): *first* with blocks of *second*.

    With *probability* a pair is crossed at all; *shares* weigh the three partitions of :class:`GeneMap`, one of which is
    drawn for each pair. Every block then comes from *second* with one half.
    """
    children = first.copy()
    edges = np.cumsum(np.array(shares, dtype=np.float64)) * (probability / sum(shares))
    draws = generator.random(len(first))
    for index, partition in enumerate(genes.partitions):
        rows = np.flatnonzero((draws < edges[index]) & (draws >= (edges[index - 1] if index else 0.0)))
        taken = generator.integers(0, 2, (len(rows), int(partition.max()) + 1), dtype=bool)
        children[rows] = np.where(np.take(taken, partition, axis=1), second[rows], first[rows])
    return children


def mutate(
    genes: GeneMap,
    genomes: np.ndarray,
    generator: np.random.Generator,
    *,
    changes: float = 1.5,
    weights: Sequence[float] = (8.0, 1.0, 2.0, 4.0, 4.0, 2.0),
    prune: float = 0.02,
) -> np.ndarray:
    """Return *genomes* with changed genes: at least one in each, *changes* on average (geometric).

    *weights*: how often a gene is drawn, by kind (mask, sign, exponent, bias, shift, comparator). With *prune*, a genome
    loses all masks of one neuron or of one feature at a stroke, which single bits hardly ever reach.
    """
    children = genomes.copy()
    count = generator.geometric(1.0 / changes, len(children)).clip(max=genes.genes)
    rows = np.repeat(np.arange(len(children)), count)
    odds = np.cumsum(np.array(weights, dtype=np.float64)[genes.kinds])
    drawn = np.searchsorted(odds, generator.random(len(rows)) * odds[-1], side="right").clip(max=genes.genes - 1)
    children[rows, drawn] = _changed(genes, drawn, children[rows, drawn].astype(np.int64), generator)
    cut = np.flatnonzero(generator.random(len(children)) < prune)
    for row, of_neuron in zip(cut.tolist(), generator.integers(0, 2, len(cut)).tolist()):
        partition = genes.partitions[1 if of_neuron else 2]
        masks = np.flatnonzero(genes.kinds == MASK)
        block = partition[masks[generator.integers(0, len(masks))]]
        children[row, masks[partition[masks] == block]] = 0
    return repair(genes, children)


def _changed(genes: GeneMap, drawn: np.ndarray, old: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return new values of the genes *drawn*; *act* of 16 says how, *at* is a random bit or value."""
    draws = generator.integers(0, 1 << 40, len(drawn))
    act, sign, random_bits = draws & 15, 1 - 2 * (draws >> 4 & 1), draws >> 5
    kinds, width, upper = genes.kinds[drawn], genes.widths[drawn], genes.upper[drawn].astype(np.int64)
    bit = np.int64(1) << (random_bits % np.maximum(width, 1))
    bit_sets = np.select(
        [act < 11, act < 13, act < 15],
        [old ^ bit, np.zeros_like(old), old & -bit],  # one bit; all of them; those under a bit
        upper,
    )
    magnitude = np.abs(old)
    digits = np.frexp(magnitude.astype(np.float64))[1].astype(np.int64)  # exact: below 2^53
    step = sign * (np.int64(1) << (random_bits % (digits + 2)))  # steps of the size of the bias, and finer
    biases = np.where(act < 13, old + step, np.sign(old) * (magnitude & (magnitude - 1)))  # less its lowest bit
    exponents = np.where(act < 12, old + sign, random_bits % (upper + 1))
    return np.select(
        [(kinds == MASK) | (kinds == COMPARATOR), kinds == SIGN, kinds == EXPONENT, kinds == BIAS],
        [bit_sets, old ^ 1, exponents, biases],
        old + sign,
    )
