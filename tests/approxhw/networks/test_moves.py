"""Local moves: the loss of a changed genome, without evaluating the rest, is the loss of evaluating it all."""

import numpy as np
import pytest

from approxhw.networks.kernels import moves
from approxhw.networks.kernels.masked_network import classes_of, count_errors, pack_rows
from approxhw.networks.space import make_space

SHAPES = [((6, 4, 5), False), ((5, 4), False), ((7, 3, 1), True), ((6, 5, 4, 3), False), ((4, 3, 2, 1), True)]


def changed(space, genome, rng, count):
    """A copy of *genome* with *count* genes drawn anew."""
    result = genome.copy()
    for gene in rng.choice(space.genes, count, replace=False):
        result[gene] = rng.integers(space.lower[gene], int(space.upper[gene]) + 1)
        if space.upper[gene] > 1000 and rng.random() < 0.7:  # a bias, or the bits of a comparator
            result[gene] = genome[gene] ^ (1 << int(rng.integers(0, 5)))
    return result


@pytest.mark.parametrize(("sizes", "threshold"), SHAPES)
@pytest.mark.parametrize("rows", [1, 256, 900])
def test_a_chain_of_moves_keeps_up_with_the_population_kernel(sizes, threshold, rows, networks):
    rng = np.random.default_rng(rows)
    space = make_space(sizes, threshold=threshold)
    (genome,) = networks.genomes(space, 1, rng, bias=1 / 64)
    codes, labels = networks.rows(space, rows, rng)
    prepared = pack_rows(codes, labels)
    state = moves.start_walk(space.layout, space.head, genome, prepared)
    kept = tried = 0
    for step in range(120):
        candidate = changed(space, state.genome, rng, int(rng.integers(1, 4)))
        loss = moves.attempt(state, candidate, state.genome, False, moves.NO_LIMIT)
        assert loss == count_errors(space.layout, space.head, candidate[None], prepared)[0], step
        tried += 1
        if rng.random() < 0.5:
            moves.keep(state, candidate)
            assert state.loss[0].sum() == loss
            assert state.genome.tolist() == candidate.tolist()
            kept += 1
    assert tried == 120
    assert kept > 30


def test_a_move_beyond_its_limit_is_given_up_and_changes_nothing(networks):
    rng = np.random.default_rng(1)
    space = make_space((6, 4, 5))
    (genome,) = networks.genomes(space, 1, rng, bias=1 / 64)
    prepared = pack_rows(*networks.rows(space, 2000, rng))
    state = moves.start_walk(space.layout, space.head, genome, prepared)
    before = int(state.loss[0].sum())
    candidate = np.zeros_like(genome)
    worse = moves.attempt(state, candidate, state.genome, False, moves.NO_LIMIT)
    assert moves.attempt(state, candidate, state.genome, False, worse) == worse
    assert moves.attempt(state, candidate, state.genome, False, worse - 1) == -1
    assert moves.attempt(state, state.genome.copy(), state.genome, False, before) == before


def test_next_fit_finds_the_first_move_within_the_limit(networks):
    rng = np.random.default_rng(4)
    space = make_space((6, 4, 5))
    (genome,) = networks.genomes(space, 1, rng, bias=1 / 64)
    prepared = pack_rows(*networks.rows(space, 500, rng))
    state = moves.start_walk(space.layout, space.head, genome, prepared)
    genes = np.stack([np.arange(space.genes), np.where(np.arange(space.genes) % 3, -1, 7)], axis=1)
    values = np.zeros_like(genes, dtype=np.int32)
    genomes = np.repeat(genome[None], space.genes, axis=0)
    for row, (a, b) in zip(genomes, genes):
        row[a] = 0
        row[b if b >= 0 else a] = 0
    errors = count_errors(space.layout, space.head, genomes, prepared)
    limit = int(np.sort(errors)[10])
    expected = np.flatnonzero(errors <= limit)
    assert len(expected) > 10
    found, begin = [], 0
    while True:
        candidate = state.genome.copy()
        begin, loss = moves.next_fit(state, candidate, genes, values, begin, limit)
        if begin == space.genes:
            assert loss == -1
            assert candidate.tolist() == genome.tolist()
            break
        assert loss == errors[begin]
        assert candidate.tolist() == genomes[begin].tolist()
        found.append(begin)
        begin += 1
    assert found == expected.tolist()


@pytest.mark.parametrize("threshold", [False, True])
def test_the_ramp_is_the_sum_of_clipped_margins(threshold, networks):
    rng = np.random.default_rng(6)
    space = make_space((5, 4, 1) if threshold else (5, 4, 3), threshold=threshold)
    (genome,) = networks.genomes(space, 1, rng, exact=1.0, bias=1 / 64)
    codes, labels = networks.rows(space, 700, rng)
    state = moves.start_walk(space.layout, space.head, genome, pack_rows(codes, labels), unit=1000, ramp=400)
    sums = state.sums[4:].T.astype(np.int64)
    if threshold:
        margin = np.where(labels == 1, sums[:, 0], 1 - sums[:, 0])
    else:
        others = sums - (np.arange(3) > labels[:, None])
        others[np.arange(700), labels] = -(1 << 40)
        margin = sums[np.arange(700), labels] - others.max(axis=1)
    wrong = classes_of(space.layout, space.head, genome[None], codes)[0] != labels
    assert np.array_equal(wrong, margin <= 0)
    ramp = np.clip(400 - margin, 0, 800).sum()
    assert state.loss[0].sum() == 1000 * wrong.sum() + ramp
    assert 0 < ramp < 800 * 700
    assert 0 < wrong.sum() < 700
