"""Starts of a search: a pure function of their number, by rising price of area, kept on disk and taken up again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from approxhw.common.errors import CheckpointError, OptionError
from approxhw.dse.genetic.executors import SerialExecutor
from approxhw.dse.genetic.initial_population import STARTS, make_starts
from approxhw.dse.genetic.options import Seeding
from approxhw.dse.genetic.seeding import Seeder
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
    prices = seeder._prices(seeder.genome)
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


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"starts": -1}, "starts: -1 is no integer of 0 or more"),
        ({"moves": 0}, "moves: 0 is no integer of 1 or more"),
        ({"noise": 2.0}, "noise: 2.0 is not in 0…1"),
        ({"last_price": 0.0}, "last_price: 0.0 is not above 0 and at most 1"),
        ({"levels": True, "rows": 0}, "levels: True is not a whole number"),
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
