"""The written rule that chooses a member, and what stands beside it: short lists, thinning, rank correlation."""

from __future__ import annotations

import numpy as np
import pytest

from approxhw.assembling import rank_correlation, shortlist, thinned
from approxhw.choosing import DOUBT, GAP_SPREAD, USUAL_GAP, Candidate, choose, expected_accuracies

def circuit(steady, accuracy=None, rows=400, area=1.0, fitted=None):
    accuracy = steady if accuracy is None else accuracy
    return Candidate(accuracy, rows, area, steady, steady if fitted is None else fitted)


FRONT = [circuit(0.80, area=1.0), circuit(0.85, area=2.0), circuit(0.90, area=4.0), circuit(0.91, area=9.0)]
EXPECTED = expected_accuracies(FRONT)


def test_a_target_takes_the_smallest_that_is_expected_to_hold_it():
    assert choose(FRONT, EXPECTED, target=EXPECTED[2], reference=None, loss=0.0)[0] == 2
    index, rule, held = choose(FRONT, EXPECTED, target=0.9, reference=0.99, loss=0.0)
    assert (index, held) == (3, True), "0.90 itself is in doubt"
    assert "expected to hold an accuracy of 90.00 %" in rule


def test_what_validation_rows_say_is_taken_off_all_alike():
    honest = expected_accuracies([circuit(0.9, rows=10_000), circuit(0.8, rows=10_000)])
    flattered = expected_accuracies([circuit(0.9, 0.85, 10_000), circuit(0.8, 0.75, 10_000)])
    assert honest[0] - flattered[0] == pytest.approx(honest[1] - flattered[1])
    assert honest[0] - flattered[0] == pytest.approx(0.05, rel=0.1), "many rows are believed"
    few = expected_accuracies([circuit(0.9, 0.85, 50), circuit(0.8, 0.75, 50)])
    assert honest[0] > few[0] > flattered[0], "a few rows say less"
    none = expected_accuracies([circuit(0.9, 0.5, 0)])[0]
    assert none == pytest.approx(0.9 - USUAL_GAP - DOUBT * GAP_SPREAD), "no rows say nothing"


def test_expected_accuracy_is_the_posterior_mean_less_doubt():
    error = (0.9 * 0.1 / 400) ** 0.5
    known, sure = 1 / error**2, 1 / GAP_SPREAD**2
    gap = (0.02 * known + USUAL_GAP * sure) / (known + sure)
    found = expected_accuracies([circuit(0.93, 0.9, 400, fitted=0.92)])
    assert found == [pytest.approx(0.93 - gap - DOUBT / (known + sure) ** 0.5)]
    assert expected_accuracies([]) == []
    assert expected_accuracies([circuit(1.0, rows=10)])[0] < 1, "ten rows out of ten are no proof"


def test_without_a_target_the_loss_against_the_model_decides():
    assert choose(FRONT, EXPECTED, target=None, reference=0.94, loss=0.06)[0] == 2
    assert choose(FRONT, EXPECTED, target=None, reference=0.94, loss=0.2)[0] == 0


def test_where_nothing_holds_it_the_most_promising_is_taken_and_told():
    index, rule, held = choose(FRONT, EXPECTED, target=0.99, reference=0.95, loss=0.05)
    assert (index, held) == (3, False)
    assert rule.endswith("; there is none, so it is the one of which most is expected")
    equal = [circuit(0.9, area=1.0), circuit(0.9, area=2.0)]
    assert choose(equal, expected_accuracies(equal), target=0.99, reference=None, loss=0.0)[0] == 0
    assert choose(FRONT, EXPECTED, target=None, reference=None, loss=0.05)[:3:2] == (3, True)


def test_the_rule_cannot_see_test_rows():
    assert set(Candidate.__dataclass_fields__) == {"accuracy", "rows", "area_mm2", "steady", "fitted"}


def test_a_short_list_holds_front_after_front():
    costs, gains = np.array([1.0, 2.0, 3.0, 1.5, 2.5, 9.0]), np.array([0.5, 0.7, 0.9, 0.4, 0.6, 0.1])
    assert shortlist(costs, gains, 3) == [0, 1, 2]
    assert shortlist(costs, gains, 4) == [0, 1, 2, 3, 4]
    assert sorted(shortlist(costs, gains, 99)) == list(range(6))


def test_thinning_keeps_the_chosen_both_ends_and_the_big_steps():
    gains = [0.50, 0.70, 0.705, 0.80, 0.801, 0.90]
    assert thinned(gains, 6, 2) == [0, 1, 2, 3, 4, 5]
    assert thinned(gains, 4, 0) == [0, 1, 3, 5]
    assert thinned(gains, 4, 4) == [0, 1, 4, 5]
    assert thinned(gains, 1, 3) == [3]
    for count in range(1, 7):
        for chosen in range(6):
            kept = thinned(gains, count, chosen)
            assert len(kept) == count
            assert chosen in kept
            assert kept == sorted(kept)


def test_rank_correlation_is_spearmans():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(4)
    a, b = rng.integers(0, 9, 50), rng.integers(0, 9, 50)
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert rank_correlation(np.arange(9), np.exp(np.arange(9))) == pytest.approx(1)
    assert rank_correlation(np.ones(9), np.arange(9)) is None
    assert rank_correlation(np.arange(2), np.arange(2)) is None
