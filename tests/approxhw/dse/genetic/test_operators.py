"""Operators: what genes are, start populations, crossover that keeps blocks together, mutation within bounds."""

import numpy as np
import pytest

from approxhw.dse.genetic import operators as op
from approxhw.networks.space import make_space

SIZES = (4, 3, 2, 5)


@pytest.fixture
def space():
    return make_space(SIZES)


@pytest.fixture
def genes(space):
    return op.gene_map(space)


def at(genes, kind):
    return np.flatnonzero(genes.kinds == kind)


def test_every_gene_has_its_kind(space, genes):
    weights = 4 * 3 + 3 * 2 + 2 * 5
    counts = np.bincount(genes.kinds, minlength=6).tolist()
    assert counts == [weights, weights, weights, 3 + 2 + 5, 2, 4]
    assert (genes.upper[at(genes, op.SIGN)] == 1).all()
    assert (genes.upper[at(genes, op.EXPONENT)] == 7).all()
    assert (genes.lower[at(genes, op.BIAS)] < 0).all()
    assert (genes.upper[at(genes, op.COMPARATOR)] == (1 << space.width) - 1).all()


def test_blocks_hold_what_belongs_together(space, genes):
    weights, neurons, features = genes.partitions
    for part in genes.partitions:
        assert sorted(set(part.tolist())) == list(range(part.max() + 1))
    assert weights.max() + 1 == 28 + 10 + 2 + 4
    assert neurons.max() + 1 == features.max() + 1 == 10 + 2 + 4
    masks, signs, exponents, biases = space.layout[1, 3:7].tolist()  # 3 inputs, 2 neurons
    own = [biases + 1, *range(masks + 3, masks + 6), *range(signs + 3, signs + 6), *range(exponents + 3, exponents + 6)]
    assert np.flatnonzero(neurons == neurons[biases + 1]).tolist() == sorted(own)
    first = space.layout[0].tolist()
    # Feature 2: what neuron 2 of layer 0 reads, its bias, and the weights of layer 1 that read it.
    reads = [start + 8 + i for start in first[3:6] for i in range(4)]
    readers = [start + o * 3 + 2 for start in (masks, signs, exponents) for o in range(2)]
    assert np.flatnonzero(features == features[first[6] + 2]).tolist() == sorted([*reads, first[6] + 2, *readers])


def test_a_start_population_holds_starts_near_exact_near_empty_and_random_ones(networks, space, genes):
    rng = np.random.default_rng(2)
    starts = networks.genomes(space, 3, rng, empty=0.0)
    made = op.initialise(genes, starts, 400, rng)
    assert made.shape == (400, space.genes)
    assert made.dtype == np.int32
    assert made.flags.c_contiguous
    np.testing.assert_array_equal(made[:3], starts)
    assert ((made >= genes.lower) & (made <= genes.upper)).all()
    masks, rest = at(genes, op.MASK), genes.kinds != op.MASK
    based = (made[:, None, rest] == starts[None, :, rest]).all(axis=2)
    assert 0.80 < based.any(axis=1).mean() < 0.92  # an eighth is random in every gene
    of = np.argmax(based, axis=1)
    assert ((made[:, masks] & ~starts[of][:, masks])[based.any(axis=1)] == 0).all()  # bits are lost, never won
    bits = np.bitwise_count(made[:, masks]).sum(axis=1) / np.bitwise_count(starts[of][:, masks]).sum(axis=1)
    assert np.mean(bits[based.any(axis=1)] > 0.85) > 0.4
    assert np.mean(bits[based.any(axis=1)] < 0.15) > 0.08
    np.testing.assert_array_equal(
        op.initialise(genes, starts, 50, np.random.default_rng(9)),
        op.initialise(genes, starts, 50, np.random.default_rng(9)),
    )


def test_a_start_population_needs_no_starts_and_may_be_smaller_than_they_are(networks, space, genes):
    rng = np.random.default_rng(2)
    made = op.initialise(genes, np.zeros((0, space.genes), np.int32), 60, rng)
    assert len(np.unique(made, axis=0)) == 60
    starts = networks.genomes(space, 30, rng)
    made = op.initialise(genes, starts, 4, rng)
    np.testing.assert_array_equal(made[0], starts[0])
    assert len(made) == 4


@pytest.mark.parametrize("partition", [0, 1, 2])
def test_children_inherit_whole_blocks_of_both_parents(networks, space, genes, partition):
    rng = np.random.default_rng(4)
    first, second = np.zeros((200, space.genes), np.int32), np.ones((200, space.genes), np.int32)
    shares = np.eye(3)[partition]
    children = op.crossover(genes, first, second, rng, probability=1.0, shares=shares)
    block = genes.partitions[partition]
    for b in range(block.max() + 1):
        of_block = children[:, block == b]
        assert (of_block == of_block[:, :1]).all()
        assert 0.3 < of_block[:, 0].mean() < 0.7
    assert (first == 0).all()


def test_crossover_happens_as_often_as_asked(networks, space, genes):
    rng = np.random.default_rng(4)
    first, second = np.zeros((2000, space.genes), np.int32), np.ones((2000, space.genes), np.int32)
    crossed = op.crossover(genes, first, second, rng, probability=0.25).any(axis=1)
    assert 0.2 < crossed.mean() < 0.3
    assert not op.crossover(genes, first, second, rng, probability=0.0).any()


@pytest.mark.parametrize("kind", range(6))
def test_mutation_changes_the_kind_of_gene_that_is_asked_for(networks, space, genes, kind):
    rng = np.random.default_rng(6)
    parents = networks.genomes(space, 500, rng)
    children = op.mutate(genes, parents, rng, changes=1.0, weights=np.eye(6)[kind], prune=0.0)
    changed = children != parents
    assert changed[:, genes.kinds == kind].any(axis=1).mean() > 0.5
    assert not changed[:, genes.kinds != kind].any()
    assert changed.sum(axis=1).max() == 1
    assert ((children >= genes.lower) & (children <= genes.upper)).all()
    if kind in (op.MASK, op.COMPARATOR):
        flips = np.bitwise_count(np.bitwise_xor(children, parents)).sum(axis=1)
        assert np.mean(flips == 1) > 0.5
        cut = [
            old >> bit << bit for old in [parents.astype(np.int64)] for bit in range(space.width + 1)
        ]  # low bits lost
        known = [
            flips[:, None] == 1,
            children == 0,
            children == genes.upper,
            np.any([children == c for c in cut], axis=0),
        ]
        assert (np.any(np.broadcast_arrays(*known), axis=0) | ~changed).all()


def test_mutation_changes_as_many_genes_as_asked_and_prunes_neurons_and_features(networks, space, genes):
    rng = np.random.default_rng(6)
    parents = networks.genomes(space, 4000, rng)
    children = op.mutate(genes, parents, rng, changes=5.0, prune=0.0)
    assert 3.0 < (children != parents).sum(axis=1).mean() < 5.0  # some draws hit a gene twice, or its bound
    pruned = op.mutate(genes, parents, rng, changes=1.0, weights=(0, 0, 0, 0, 1, 0), prune=1.0)
    masks = at(genes, op.MASK)
    assert (pruned[:, masks] <= parents[:, masks]).all()
    for partition in genes.partitions[1:]:
        blocks = partition[masks]
        emptied = [(pruned[:, masks[blocks == b]] == 0).all(axis=1) for b in np.unique(blocks)]
        assert np.any(emptied, axis=0).mean() > 0.4
    np.testing.assert_array_equal(
        op.mutate(genes, parents, np.random.default_rng(1)), op.mutate(genes, parents, np.random.default_rng(1))
    )
