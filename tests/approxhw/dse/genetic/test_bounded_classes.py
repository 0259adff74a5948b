"""The genetic search with a bound on what any class may lose: errors that count, genomes that come out, and what is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from genetic_problems import search_problem

from approxhw.common.errors import OptionError
from approxhw.common.statistics.class_bounds import class_bound
from approxhw.dse.genetic.checkpoint import identity_of
from approxhw.dse.genetic.evolution import OPERATORS, evolve
from approxhw.dse.genetic.fitness import Judge
from approxhw.dse.genetic.options import GeneticOptions
from approxhw.dse.settings import settled
from approxhw.networks.kernels.masked_network import classes_of

OPTIONS = GeneticOptions(population=60, generations=12, islands=2, max_accuracy_loss=0.3)


def bounded(loss: float):
    plain = search_problem()
    said = classes_of(plain.space.layout, plain.space.head, plain.starts, plain.codes)[0].astype(np.int64)
    wrong = int((said != plain.labels).sum())
    plain = replace(plain, reference_errors=wrong)
    return plain, replace(plain, bound=class_bound(plain.labels, said, loss))


def test_errors_count_more_where_a_class_is_lost():
    plain, tight = bounded(0.05)
    genomes = evolve(plain, OPTIONS).genomes
    allowed = plain.allowed_errors(OPTIONS.max_accuracy_loss)
    found = tight.toolbox(OPTIONS).evaluate(genomes)
    before = plain.toolbox(OPTIONS).evaluate(genomes)
    said = classes_of(plain.space.layout, plain.space.head, genomes, plain.codes)
    beyond = 0
    for mine, was, now in zip(said, before, found, strict=True):
        passed = int(tight.bound.excess(tight.bound.wrong(mine)))
        beyond += passed > 0
        assert was[0] == int((mine != plain.labels).sum())
        assert now[0] == (max(was[0], allowed) + passed if passed else was[0])
        assert now[1] == was[1]
    assert 0 < beyond < len(genomes)


def test_what_is_found_keeps_every_class():
    plain, tight = bounded(0.05)
    found = evolve(tight, OPTIONS)
    assert found.feasible
    said = classes_of(plain.space.layout, plain.space.head, found.genomes, plain.codes)
    assert len(said) > 1
    assert all(tight.bound.excess(tight.bound.wrong(mine)) == 0 for mine in said)
    again = evolve(tight, OPTIONS)
    assert np.array_equal(found.genomes, again.genomes)


def test_a_bound_that_nothing_meets_leaves_what_comes_nearest():
    plain, tight = bounded(0.0)
    never = replace(tight, starts=plain.starts[:0], bound=replace(tight.bound, allowed=tight.bound.allowed * 0))
    found = evolve(never, OPTIONS)
    assert not found.feasible
    assert len(found.genomes) >= 1


def test_rows_are_judged_by_class():
    plain, _ = bounded(0.1)
    genomes = evolve(plain, OPTIONS).genomes
    judge = Judge(plain.space, {"train": plain.codes}, {"train": plain.labels})
    found = judge.by_class(genomes, "train", 4)
    assert found.shape == (len(genomes), 4)
    assert found[:, 3].tolist() == [0] * len(genomes)
    assert found.sum(axis=1).tolist() == plain.toolbox(OPTIONS).evaluate(genomes)[:, 0].tolist()


def test_searches_without_the_bound_are_what_they_were():
    plain, tight = bounded(0.05)
    told = identity_of(plain, OPTIONS, plain.toolbox(OPTIONS), OPERATORS)
    assert "max_class_loss" not in told["options"]
    options = replace(OPTIONS, max_class_loss=0.05)
    other = identity_of(tight, options, tight.toolbox(options), OPERATORS)
    assert other["options"]["max_class_loss"] == 0.05
    assert other["data"] != told["data"]


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_what_is_no_share_is_refused(share):
    with pytest.raises(OptionError, match=r"max_class_loss: .* is not in 0…1"):
        GeneticOptions(max_class_loss=share)


def test_shares_may_be_texts():
    assert settled({"max_class_loss": "3%"}).max_class_loss == 0.03
    assert settled({}).max_class_loss is None
    with pytest.raises(OptionError, match="max_class_loss"):
        settled({"max_class_loss": "much"})
