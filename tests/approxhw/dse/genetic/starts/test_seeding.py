"""Starts of a search: a pure function of their number, by rising price of area, kept on disk and taken up again."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from approxhw.common.errors import CheckpointError, OptionError
from approxhw.dse.genetic.executors import SerialExecutor
from approxhw.dse.genetic.options import Seeding
from approxhw.dse.genetic.starts.initial_population import STARTS, make_starts
from approxhw.dse.genetic.starts.seeding import Seeder
from approxhw.networks.anneal import noisy
from approxhw.networks.area_model import default_model
from approxhw.networks.kernels.masked_network import count_errors
from approxhw.networks.space import make_space

FEW = Seeding(starts=3, levels=4, moves=400, rows=600)


@pytest.fixture(scope="module")
def seeder():
    """Two classes that a sum of two features tells apart, two features that tell nothing."""
    rng = np.random.default_rng(5)
    codes = rng.integers(0, 16, (200, 4))
    labels = (codes[:, 0] + codes[:, 1] > 15).astype(np.int64) + (codes[:, 0] > 12)
    space = make_space((4, 3, 3))
    genome = space.upper.copy()
    for k, layer in enumerate(space.layout.tolist()):
        n, m, _, _, signs, exponents, biases, shift, _ = layer
        genome[signs : signs + m * n] = rng.integers(0, 2, m * n)
        genome[exponents : exponents + m * n] = rng.integers(0, 4, m * n)
        genome[biases : biases + m] = 0
        if k == 0:
            genome[shift] = 2
    return Seeder(space, genome, codes, labels, default_model(), 200, FEW, 1)


def test_a_start_is_a_function_of_its_number(seeder):
    first, again, other = seeder(0), seeder(0), seeder(1)
    assert first.dtype == np.int32
    assert first.shape == (1 + FEW.levels, seeder.space.genes)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, replace(seeder, seed=2)(0))


def test_area_falls_as_its_price_rises(seeder):
    for number in range(FEW.starts):
        areas = seeder.model.area_mm2(seeder.space.layout, seeder.space.head, seeder(number))
        assert areas[-1] < areas[0] / 4
    prices = seeder._prices(seeder.genome, 0)
    assert prices == sorted(prices)
    assert prices[-1] == pytest.approx(FEW.last_price)


def test_no_level_is_begun_beyond_what_is_allowed(seeder):
    space = seeder.space
    strict = replace(seeder, allowed=10)
    for number in range(FEW.starts):
        genomes = strict(number)
        wrong = count_errors(space.layout, space.head, genomes, seeder.codes, seeder.labels)
        # the start itself, and the first level that is worse
        assert (np.asarray(wrong)[1:-1] <= 10).all()


def test_the_teacher_labels_noisy_copies_of_every_second_start(seeder):
    asked = []

    def teacher(codes):
        asked.append(len(codes))
        return np.zeros(len(codes), dtype=np.int64)

    taught = replace(seeder, teacher=teacher)
    assert np.array_equal(taught(0), seeder(0))
    assert not asked
    assert not np.array_equal(taught(1), seeder(1))
    assert asked[0] == 2 * 200, "two copies of every row"


def test_averaged_starts_begin_with_another_network_and_one_is_as_ever(seeder):
    assert np.array_equal(replace(seeder, seeding=replace(FEW, averaged=1))(0), seeder(0))
    averaged = replace(seeder, seeding=replace(FEW, averaged=3))
    assert np.array_equal(averaged(0), averaged(0))
    assert averaged(0).shape == seeder(0).shape
    assert not np.array_equal(averaged(0)[0], seeder(0)[0])


def test_several_networks_teach_in_place_of_the_model(seeder):
    def model(codes):
        raise AssertionError("the model is not asked")

    taught = replace(seeder, teacher=model, seeding=replace(FEW, teachers=2))
    assert np.array_equal(taught(0), seeder(0)), "every second start has no teacher"
    assert taught.further(taught.begin(0)).teachers is None
    begun = taught.further(taught.begin(1))
    assert begun.teachers.shape == (2, seeder.space.genes)
    assert np.array_equal(begun.teachers[0], begun.genomes[0])
    assert not np.array_equal(begun.teachers[1], begun.genomes[0])
    assert not np.array_equal(taught(1), seeder(1))
    alone = replace(taught, teacher=None)
    assert np.array_equal(alone(1), taught(1)), "they need no model"


def test_thin_starts_never_see_the_other_inputs(seeder):
    """Two of four features tell the classes, and the first of them more of them."""
    for share, kept in ((0.5, [0, 1]), (0.25, [0])):
        thin = replace(seeder, seeding=replace(FEW, thin_starts=1.0, thin_inputs=share, first_price=1e-6))
        for number in range(2):
            read = (seeder.space.layer_genes(thin(number), 0).masks != 0).any(axis=(0, 1))
            assert np.flatnonzero(read).tolist() == kept
    read = (seeder.space.layer_genes(seeder(0), 0).masks != 0).any(axis=(0, 1))
    assert read.all(), "others see all"


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.25, 2), (0.5, 4), (1.0, 8)])
def test_a_share_of_the_starts_is_spread_evenly_and_begins_by_seed(seeder, share, count):
    firsts = set()
    for seed in range(12):
        one = replace(seeder, seed=seed)
        chosen = [number for number in range(8) if one._among(number, share, 1)]
        assert len(chosen) == count
        assert len({b - a for a, b in pairwise(chosen)}) <= 1
        firsts.update(chosen[:1])
    assert len(firsts) > 1 or share in (0.0, 1.0), "it is not always the taught ones"


def test_early_prices_begin_high_and_end_alike(seeder):
    early = replace(seeder, seeding=replace(FEW, early_starts=1.0, early_price=0.8))
    space = seeder.space
    for number in range(FEW.starts):
        usual, high = seeder(number), early(number)
        assert np.array_equal(usual[0], high[0])
        areas = [seeder.model.area_mm2(space.layout, space.head, genomes)[1] for genomes in (usual, high)]
        assert areas[1] < areas[0], "after the first price"
        prices, before = early._prices(usual[0], number), seeder._prices(usual[0], number)
        assert prices[0] == pytest.approx(40 * before[0])
        assert [prices[-1], before[-1]] == pytest.approx([FEW.last_price] * 2)
        assert prices == sorted(prices)
    some = replace(seeder, seeding=replace(FEW, early_starts=0.5))
    assert sum(not np.array_equal(some(number), seeder(number)) for number in range(2)) == 1


def test_codes_may_be_two_off():
    codes, labels = np.full((4000, 3), 8), np.zeros(4000, dtype=np.int64)
    given = {"copies": 1, "highest": 15, "seed": 3}
    made, _ = noisy(codes, labels, probability=0.2, far=0.1, **given)
    off = np.bincount((made[4000:] - 8).ravel() + 2, minlength=5) / 12_000
    assert off == pytest.approx([0.05, 0.1, 0.7, 0.1, 0.05], abs=0.01)
    near = noisy(codes, labels, probability=0.3, **given)[0]
    assert np.array_equal(near, noisy(codes, labels, probability=0.3, far=0.0, **given)[0])
    assert np.array_equal(near, np.clip(made, 7, 9)), "the same draws, farther"
    edge = noisy(codes * 0, labels, probability=0.0, far=1.0, **given)[0]
    assert set(edge.ravel().tolist()) == {0, 2}


def test_starts_see_codes_that_are_two_off(seeder):
    far = replace(seeder, seeding=replace(FEW, far_noise=0.5))
    assert np.array_equal(far(0)[0], seeder(0)[0])
    assert not np.array_equal(far(0), seeder(0))


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"starts": -1}, "starts: -1 is no integer of 0 or more"),
        ({"moves": 0}, "moves: 0 is no integer of 1 or more"),
        ({"noise": 2.0}, "noise: 2.0 is not in 0…1"),
        ({"last_price": 0.0}, "last_price: 0.0 is not above 0 and at most 1"),
        ({"levels": True, "rows": 0}, "levels: True is not a whole number"),
        ({"averaged": 0}, "averaged: 0 is no integer of 1 or more"),
        ({"teachers": -1}, "teachers: -1 is no integer of 0 or more"),
        ({"thin_starts": 1.5}, "thin_starts: 1.5 is not in 0…1"),
        ({"thin_inputs": 0.0}, "thin_inputs: 0.0 is not above 0 and at most 1"),
        ({"early_starts": -0.1}, "early_starts: -0.1 is not in 0…1"),
        ({"early_price": 2.0}, "early_price: 2.0 is not above 0 and at most 1"),
        (
            {"far_noise": 0.9},
            "codes off by one with probability 0.2 and by two with 0.9 are more than all\n    do: at most 0.8",
        ),
    ],
)
def test_options_out_of_reach_are_refused(wrong, text):
    with pytest.raises(OptionError) as caught:
        Seeding(**wrong)
    assert text in str(caught.value)
    assert len(caught.value.problems) == len(wrong)


def test_starts_are_kept_and_taken_up_again(seeder, tmp_path):
    path = tmp_path / "checkpoint" / STARTS
    whole, complete = make_starts(seeder, SerialExecutor(), path)
    assert complete
    assert len(whole) == FEW.starts * (1 + FEW.levels)
    first, complete = make_starts(seeder, SerialExecutor(), path, stop=lambda: True)
    assert not complete
    assert np.array_equal(first, whole[[0, 1 + FEW.levels]]), "two starts, as far as their first level"
    assert not path.exists(), "nothing of them is whole"
    steps = iter([False] * FEW.levels + [True])
    first, complete = make_starts(seeder, SerialExecutor(), path, stop=lambda: next(steps))
    assert not complete
    assert np.array_equal(first, whole[: 2 * (1 + FEW.levels)]), "one batch"

    class Counting(SerialExecutor):
        done = 0

        def map(self, items):
            Counting.done += len(items)
            return super().map(items)

    again, complete = make_starts(seeder, Counting(), path, resume=True)
    assert complete
    assert np.array_equal(again, whole)
    assert Counting.done == 1 + FEW.levels, "two of three were there"


def test_starts_of_another_search_are_refused(seeder, tmp_path):
    path = tmp_path / STARTS
    make_starts(seeder, SerialExecutor(), path)
    for other in (
        replace(seeder, seed=2),
        replace(seeder, labels=1 - np.minimum(seeder.labels, 1)),
        replace(seeder, seeding=replace(FEW, moves=401)),
    ):
        with pytest.raises(
            CheckpointError, match="of another model, other rows, another seed or other options"
        ) as caught:
            make_starts(other, SerialExecutor(), path, resume=True)
        assert "do: start again without --resume" in str(caught.value)


@pytest.mark.parametrize("damage", ["short", "foreign", "bounds"])
def test_damaged_starts_are_refused(seeder, tmp_path, damage):
    path = tmp_path / STARTS
    make_starts(seeder, SerialExecutor(), path)
    if damage == "short":
        path.write_bytes(path.read_bytes()[:-200])
    else:
        arrays = dict(np.load(path))
        if damage == "foreign":
            del arrays["counts"]
        else:
            arrays["genomes"] = arrays["genomes"] + np.int32(1 << 20)
        np.savez(path, **arrays)
    with pytest.raises(CheckpointError) as caught:
        make_starts(seeder, SerialExecutor(), path, resume=True)
    assert str(path) in str(caught.value)
    assert "do: start again without --resume" in str(caught.value)
