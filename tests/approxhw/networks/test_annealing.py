"""Annealing: legal genomes, figures that are true, a front along the price, and the same for the same seed."""

import numpy as np
import pytest

from approxhw.networks.anneal import AnnealingSchedule, anneal, noisy, prices
from approxhw.networks.area_model import AreaModel, default_model
from approxhw.networks.kernels import annealing as kernel
from approxhw.networks.kernels import moves
from approxhw.networks.kernels.masked_network import classes_of, count_errors, pack_rows
from approxhw.networks.space import make_space


def problem(networks, sizes=(6, 3, 4), threshold=False, rows=300):
    """A space, a genome, and rows of which it gets nine of ten right."""
    rng = np.random.default_rng(5)
    space = make_space(sizes, threshold=threshold)
    codes, noise = networks.rows(space, rows, rng)
    genomes = networks.genomes(space, 300, rng, empty=0.2, bias=1 / 256, exact=1.0)
    classes = classes_of(space.layout, space.head, genomes, codes)
    counts = np.stack([(classes == k).sum(axis=1) for k in range(space.classes)])
    best = (counts.min(axis=0) * default_model().area_mm2(space.layout, space.head, genomes)).argmax()
    labels = np.where(rng.random(rows) < 0.1, noise, classes[best])
    return space, genomes[best], codes, labels


@pytest.mark.parametrize(
    ("sizes", "threshold"), [((6, 3, 4), False), ((5, 3), False), ((6, 3, 1), True), ((5, 3, 3, 3), False)]
)
@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_levels_are_legal_and_what_is_said_of_them_is_true(sizes, threshold, spread, networks):
    space, genome, codes, labels = problem(networks, sizes, threshold)
    rows, model = pack_rows(codes, labels), default_model()
    schedule = AnnealingSchedule(prices(1e-4, 1e-1, 4), moves=1500, spread=spread)
    before = genome.copy()
    result = anneal(space, genome, rows, model, schedule, seed=1)
    assert np.array_equal(genome, before)
    assert result.genomes.shape == (4, space.genes)
    assert (result.genomes >= space.lower).all()
    assert (result.genomes <= space.upper).all()
    assert result.errors.tolist() == count_errors(space.layout, space.head, result.genomes, rows).tolist()
    assert (result.kept > 50).all()
    assert result.areas[-1] < result.areas[0]
    assert result.errors[0] < result.errors[-1]
    assert result.areas[0] < default_model().area_mm2(space.layout, space.head, genome[None])[0]


def test_levels_may_see_a_sample_of_the_rows_each(networks):
    space, genome, codes, labels = problem(networks)
    rows, model = pack_rows(codes, labels), default_model()
    sampled = anneal(
        space, genome, rows, model, AnnealingSchedule(prices(1e-4, 1e-2, 3), moves=500, sample=100), seed=1
    )
    assert sampled.errors.tolist() == count_errors(space.layout, space.head, sampled.genomes, rows).tolist()
    whole, all_of_them = (
        anneal(space, genome, rows, model, AnnealingSchedule(prices(1e-4, 1e-2, 3), moves=500, sample=sample), seed=1)
        for sample in (0, 300)
    )
    assert np.array_equal(whole.genomes, all_of_them.genomes)
    assert not np.array_equal(whole.genomes, sampled.genomes)


def test_the_same_seed_gives_the_same_front(networks):
    space, genome, codes, labels = problem(networks)
    rows, model = pack_rows(codes, labels), default_model()
    schedule = AnnealingSchedule(prices(1e-4, 1e-2, 2), moves=800)
    first, second, other = (anneal(space, genome, rows, model, schedule, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.genomes, second.genomes)
    assert not np.array_equal(first.genomes, other.genomes)


def test_without_heat_the_energy_never_rises(networks):
    """Greedy from the first move on, and area for nothing: errors can only fall."""
    space, genome, codes, labels = problem(networks)
    rows, free = pack_rows(codes, labels), AreaModel((0.0,) * len(default_model().coefficients), "free")
    result = anneal(space, genome, rows, free, AnnealingSchedule((1.0,) * 6, moves=400, greedy=1.0, spread=0.0), seed=3)
    errors = [int(count_errors(space.layout, space.head, genome[None], rows)[0]), *result.errors.tolist()]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0]
    assert (result.areas == 0).all()


def test_it_stops_after_the_level_at_hand(networks):
    space, genome, codes, labels = problem(networks)
    rows, model = pack_rows(codes, labels), default_model()
    schedule = AnnealingSchedule(prices(1e-4, 1e-2, 5), moves=100)
    stopped = anneal(space, genome, rows, model, schedule, seed=1, stop=np.array([True]))
    whole = anneal(space, genome, rows, model, schedule, seed=1, stop=np.array([False]))
    assert (len(stopped.genomes), len(whole.genomes)) == (1, 5)
    assert np.array_equal(stopped.genomes[0], whole.genomes[0])


def test_every_gene_can_be_reached_and_no_move_leaves_the_bounds(networks):
    space = make_space((3, 2, 3))
    rng = np.random.default_rng(1)
    genome = networks.genomes(space, 1, rng, bias=1 / 64)[0]
    seed, moved, kept = np.array([7], np.uint64), np.zeros(space.genes, bool), 0
    for _ in range(20_000):
        before = genome.copy()
        masks = [int(np.bitwise_count(space.layer_genes(genome[None], index).masks).sum()) for index in (0, 1)]
        gone = kernel.propose(space.layout, space.head, genome, space.lower, space.upper, seed)
        if gone < 0:
            genome = before
            continue
        left = [int(np.bitwise_count(space.layer_genes(genome[None], index).masks).sum()) for index in (0, 1)]
        assert gone == max(0, sum(masks) - sum(left)) or gone == 5
        kept += 1
        moved |= genome != before
        assert (genome >= space.lower).all()
        assert (genome <= space.upper).all()
    assert kept > 10_000
    assert moved.all()


def test_masks_that_may_not_be_set_stay_empty(networks):
    space = make_space((4, 2, 3))
    upper = space.upper.copy()
    space.layer_genes(upper[None], 0).masks[:, :, [0, 2]] = 0
    upper.flags.writeable = False  # as a space's own are
    genome = np.minimum(networks.genomes(space, 1, np.random.default_rng(1), bias=1 / 64)[0], upper)
    seed, kept, others = np.array([7], np.uint64), 0, set()
    for _ in range(10_000):
        before = genome.copy()
        if kernel.propose(space.layout, space.head, genome, space.lower, upper, seed) < 0:
            genome = before
            continue
        kept += 1
        masks = space.layer_genes(genome[None], 0).masks[0]
        assert not masks[:, [0, 2]].any()
        others.update(np.flatnonzero(masks[:, [1, 3]]).tolist())
    assert kept > 3000
    assert others == {0, 1, 2, 3}


def test_draws_are_those_of_splitmix64_and_uniform():
    seed = np.array([1234567], np.uint64)
    drawn = [int(kernel._draw(seed, 1 << 32)) for _ in range(3)]
    assert drawn == [value >> 32 for value in (6457827717110365317, 3203168211198807973, 9817491932198370423)]
    counts = np.bincount([kernel._draw(seed, 10) for _ in range(20_000)], minlength=10)
    assert counts.min() > 1800
    assert counts.max() < 2200
    table = kernel.quantiles()
    assert table.mean() == pytest.approx(1, abs=2e-3)
    assert (np.diff(table) < 0).all()


def test_weighing_anew_keeps_sums_and_tells_the_loss(networks):
    space, genome, codes, labels = problem(networks)
    rows = pack_rows(codes, labels)
    state = moves.start_walk(space.layout, space.head, genome, rows)
    errors = int(state.loss[0].sum())
    margins = kernel.mean_margin(state)
    assert margins > 1
    loss = kernel.weigh(state, 10, margins)
    again = moves.start_walk(space.layout, space.head, genome, rows, unit=10, ramp=int(margins))
    assert loss == again.loss[0].sum() > 10 * errors
    assert kernel.weigh(state, 1, 0) == errors


def test_noisy_copies_are_one_off_within_the_range():
    codes, labels = np.tile(np.arange(16), (500, 1)), np.arange(500) % 3
    more, names = noisy(codes, labels, copies=2, probability=0.2, highest=15, seed=4)
    assert more.shape == (1500, 16)
    assert names.tolist() == labels.tolist() * 3
    assert np.array_equal(more[:500], codes)
    steps = more[500:].reshape(2, 500, 16) - codes
    assert set(np.unique(steps)) == {-1, 0, 1}
    assert (steps[:, :, 1:15] != 0).mean() == pytest.approx(0.2, abs=0.02)
    assert (steps[:, :, 0] == -1).sum() == (steps[:, :, 15] == 1).sum() == 0
    again, _ = noisy(codes, labels, copies=2, probability=0.2, highest=15, seed=4)
    assert np.array_equal(more, again)


def test_prices_rise_by_the_same_factor():
    assert prices(1e-4, 1e-1, 4) == pytest.approx((1e-4, 1e-3, 1e-2, 1e-1))
    assert prices(0.5, 0.7, 1) == (0.5,)
