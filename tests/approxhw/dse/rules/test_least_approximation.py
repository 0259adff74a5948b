"""Where no member of a front holds the loss, what approximates least is offered, if it does."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from approxhw.artifacts.objectives import Objective
from approxhw.dse.genetic.options import GeneticOptions
from approxhw.dse.targets import _chosen, _with_least

AREA = Objective("area", "of it", "area", 1.0, "area", "area", "the smallest {}", 1.0)


def asked(loss: float) -> GeneticOptions:
    return GeneticOptions(max_accuracy_loss=loss)


def problem(exact_accuracy: float) -> SimpleNamespace:
    """Return a problem of two genes: each unit of them saves an area of 1; all at 0 has *exact_accuracy* on validation rows."""

    def describe(genome: np.ndarray) -> dict[str, float]:
        moved = int(np.sum(genome))
        return {"accuracy": exact_accuracy if moved == 0 else 0.8, "area": 10.0 - moved}

    lower = np.zeros(2, dtype=np.int32)
    return SimpleNamespace(lower=lower, describe=describe, reference=0.95, against="the model", objectives=(None, AREA))


@pytest.mark.parametrize(("exact", "members"), [(0.95, 3), (0.85, 2)])
def test_the_exact_genome_is_offered_where_it_alone_holds(exact, members):
    posed, genomes = problem(exact), np.array([[3, 3], [1, 0]], dtype=np.int32)
    found, told = _with_least(posed, asked(0.01), genomes, [posed.describe(genome) for genome in genomes])
    chosen, rule = _chosen(posed, told, asked(0.01))
    assert len(found) == len(told) == members
    assert [each["area"] for each in told] == sorted(each["area"] for each in told)
    assert [posed.describe(genome) for genome in found] == told
    if exact == 0.95:
        assert found[chosen].tolist() == [0, 0]
        assert "there is none" not in rule
    else:
        assert told[chosen]["accuracy"] == 0.8
        assert rule.endswith("there is none, so it is the most accurate on them")


def test_a_front_with_a_member_that_holds_stays_as_it_is():
    posed = problem(0.95)
    genomes = np.array([[3, 3], [1, 0]], dtype=np.int32)
    told = [posed.describe(genome) for genome in genomes]
    found, kept = _with_least(posed, asked(0.2), genomes, told)
    assert found is genomes
    assert kept is told
