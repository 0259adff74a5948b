"""The last step of a search: refined round by round, told, kept on disk, ended at any of them, and taken up again."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from approxhw.common.errors import CheckpointError
from approxhw.dse.genetic import refinement
from approxhw.dse.genetic.executors import SerialExecutor
from approxhw.dse.genetic.problem import NetworkProblem
from approxhw.dse.genetic.refinement import WALKS, refined
from approxhw.networks import refine as walking
from approxhw.networks.area_model import default_model
from approxhw.networks.refine import begin_walk, refine, refine_round
from approxhw.networks.space import make_space


@pytest.fixture(scope="module")
def problem():
    """Rows whose class a sum of two features tells, and random networks of four features."""
    rng = np.random.default_rng(4)
    space = make_space((4, 3, 3))
    codes = rng.integers(0, 16, (150, 4))
    labels = (codes[:, 0] + codes[:, 1] > 15).astype(np.int64) + (codes[:, 0] > 12)
    area = functools.partial(default_model().area_mm2, space.layout, space.head)
    return NetworkProblem(space, codes, labels, 20, area, np.zeros((0, space.genes), np.int32))


@pytest.fixture(scope="module")
def genomes(problem):
    rng = np.random.default_rng(6)
    space = problem.space
    made = rng.integers(space.lower, space.upper + 1, (12, space.genes)).astype(np.int32)
    for layer in range(2):  # biases of any size would make nearly all of them constant
        space.layer_genes(made, layer).biases[:] = 0
    assert (problem.area(made) > 0).sum() > 6
    return made


def test_every_round_is_told_and_kept(problem, genomes, tmp_path):
    told = []
    found, done = refined(
        problem, genomes, SerialExecutor(), tmp_path / WALKS, 10, on_progress=lambda *step: told.append(step)
    )
    assert done
    assert len(found) == 12
    assert (tmp_path / WALKS).is_file()
    assert told[0] == ("refine (round 1)", 0, 10)
    assert told[-1] == ("refine", 10, 10)
    assert len(told) > 4, "more often than a batch"
    assert (problem.area(found[:10]) <= problem.area(genomes).max()).all()


def test_one_that_is_ended_anywhere_goes_on_to_the_same_end(problem, genomes, tmp_path):
    whole, _ = refined(problem, genomes, SerialExecutor(), tmp_path / "whole.npz", 10)
    steps = 0
    while True:
        steps += 1
        asked = iter([True])
        found, done = refined(
            problem,
            genomes,
            SerialExecutor(),
            tmp_path / WALKS,
            10,
            resume=steps > 1,
            stop=lambda asked=asked: next(asked),  # once it has said so it is not asked again
        )
        assert found.shape == whole.shape, "a front can be made of what is there"
        if done:
            break
    assert steps > 2
    assert np.array_equal(found, whole)


def test_rounds_are_the_walk(problem, genomes):
    from approxhw.networks.kernels.masked_network import pack_rows

    rows = pack_rows(problem.codes, problem.labels)
    result = refine(problem.space, genomes[0], rows, problem.area, seed=3)
    walk = begin_walk(problem.space, genomes[0], rows)
    while not walk.done:
        walk = refine_round(problem.space, walk, rows, problem.area, seed=3)
    assert np.array_equal(walk.genome, result.genome)
    assert (walk.kept, walk.tried) == (result.moves, result.tried)
    assert len(walk.planned) > 1


def test_large_networks_look_at_some_moves_and_come_to_an_end(problem, genomes, monkeypatch):
    from approxhw.networks.kernels.masked_network import pack_rows

    monkeypatch.setattr(walking, "MOST_LOOKED_AT", 1)
    monkeypatch.setattr(walking, "FEWEST_LOOKED_AT", 9)
    seen, genome = [], genomes[problem.area(genomes).argmax()]

    def area(some):
        seen.append(len(some))
        return problem.area(some)

    rows = pack_rows(problem.codes, problem.labels)
    before = begin_walk(problem.space, genome, rows)
    first = refine(problem.space, genome, rows, area)
    assert max(seen) <= 9
    assert first.errors <= before.allowed
    assert first.area_mm2 < problem.area(genome[None])[0]
    assert np.array_equal(first.genome, refine(problem.space, genome, rows, area).genome), "drawn from a seed"


def test_a_walk_of_many_rounds_ends_with_the_moves_that_it_may_look_at(problem, genomes, monkeypatch):
    """By moves, not by seconds: the rounds that are left are the first ones of the walk that nothing bounds."""
    from approxhw.networks.kernels.masked_network import pack_rows

    rows = pack_rows(problem.codes, problem.labels)

    def walked():
        walk = begin_walk(problem.space, genomes[0], rows)
        while not walk.done:
            walk = refine_round(problem.space, walk, rows, problem.area, seed=3)
        return walk

    whole = walked()
    assert len(whole.planned) > 3
    monkeypatch.setattr(walking, "MOST_LOOKED_AT", sum(whole.planned[:2]) * problem.space.genes)
    monkeypatch.setattr(walking, "FEWEST_LOOKED_AT", 1)
    monkeypatch.setattr(walking, "MOST_ROUNDS", 1)
    short = walked()
    assert short.planned == whole.planned[:2]
    assert not np.array_equal(short.genome, whole.genome)


def test_fewer_genomes_of_large_networks_are_refined(problem, genomes, tmp_path, monkeypatch):
    monkeypatch.setattr(refinement, "LARGE", problem.space.genes // 3)
    told = []
    refined(problem, genomes, SerialExecutor(), tmp_path / WALKS, 12, on_progress=lambda *step: told.append(step))
    assert {total for _, _, total in told} == {12 * (problem.space.genes // 3) // problem.space.genes}


@pytest.mark.parametrize("kind", ["other rows", "other genomes", "cut", "out of bounds"])
def test_what_is_of_another_search_is_refused(kind, problem, genomes, tmp_path):
    path = tmp_path / WALKS
    refined(problem, genomes, SerialExecutor(), path, 4, stop=lambda: True)
    other, some = problem, genomes
    if kind == "other rows":
        other = replace(problem, labels=1 - np.minimum(problem.labels, 1))
    elif kind == "other genomes":
        some = genomes[::-1].copy()
        some[:, 0] = (some[:, 0] + 1) % (problem.space.upper[0] + 1)
    elif kind == "cut":
        path.write_bytes(path.read_bytes()[:-50])
    else:
        with np.load(path) as kept:
            arrays = dict(kept)
        arrays["genomes"][0, 0] = 99
        np.savez(path, **arrays)
    with pytest.raises(CheckpointError) as caught:
        refined(other, some, SerialExecutor(), path, 4, resume=True)
    assert "do: start again without --resume" in str(caught.value)
