"""The written rule that chooses a member, and what stands beside it: short lists, thinning, rank correlation."""

from __future__ import annotations

import numpy as np
import pytest

import approxhw as ax
from approxhw.common.statistics import isotonic, rank_correlation
from approxhw.dse.evolve import Hooks
from approxhw.dse.genetic.options import Seeding
from approxhw.dse.rules.decision_rule import (
    DOUBT,
    Candidate,
    accuracy_curve,
    choose_candidate,
    expected_accuracies,
    mean_at,
    smoothed,
)
from approxhw.dse.rules.short_lists import nearest, thinned
from approxhw.numerics.pareto import layers_of_front

FRONT = [Candidate(a, 400, 2.0**i) for i, a in enumerate((0.80, 0.84, 0.88, 0.90, 0.91, 0.92, 0.93))]


def test_a_target_takes_the_smallest_that_is_expected_to_hold_it():
    mean = 0.90
    error = (mean * (1 - mean) / 400) ** 0.5
    assert expected_accuracies(FRONT)[3] == pytest.approx(mean - DOUBT * error)
    assert choose_candidate(FRONT, target=mean - DOUBT * error - 1e-9, reference=None, loss=0.0)[0] == 3
    index, rule, held = choose_candidate(FRONT, target=mean, reference=0.99, loss=0.0)
    assert (index, held) == (4, True), "the mean itself is in doubt"
    assert f"expected to hold an accuracy of {100 * mean:.2f} %" in rule


def test_fewer_rows_are_more_doubt():
    few, many = (expected_accuracies([Candidate(0.9, rows, 1.0)])[0] for rows in (50, 500))
    assert few < many < 0.9
    assert expected_accuracies([Candidate(1.0, 10, 1.0)])[0] < 1, "ten rows out of ten are no proof"
    assert expected_accuracies([]) == []


def test_luck_of_a_small_member_is_evened_out_by_its_neighbours():
    values = [0.80, 0.92, 0.81, 0.82, 0.83, 0.90, 0.91, 0.92]
    assert smoothed(values)[1] == pytest.approx((0.80 + 0.92 + 0.81) / 3)
    assert smoothed(values)[2] == pytest.approx((0.80 + 0.92 + 0.81 + 0.82 + 0.83) / 5)
    assert smoothed(values)[0] == 0.80
    assert smoothed([]) == []
    found = accuracy_curve([2.0**i for i in range(8)], values, 100)
    # the average of the second is above that of the third, so that both have their mean
    assert (
        found.at(2)
        == found.at(4)
        == pytest.approx(((0.80 + 0.92 + 0.81) / 3 + (0.80 + 0.92 + 0.81 + 0.82 + 0.83) / 5) / 2)
    )
    assert found.at(64) == pytest.approx((0.90 + 0.91 + 0.92) / 3)


def test_a_curve_is_a_staircase_over_area():
    found = accuracy_curve([8.0, 1.0, 2.0], [0.9, 0.5, 0.7], 10)
    assert found.costs == (1.0, 2.0, 8.0)
    assert [found.at(area) for area in (0.0, 1.0, 1.9, 2.0, 7.9, 8.0, 99.0)] == pytest.approx(
        [0.5, 0.5, 0.5, 0.7, 0.7, 0.9, 0.9]
    )


def test_folds_are_averaged_by_their_rows():
    curves = [accuracy_curve([1.0, 4.0], [0.5, 0.9], 30), accuracy_curve([2.0, 3.0], [0.6, 0.8], 10)]
    assert mean_at(curves, 2.0) == pytest.approx((30 * 0.5 + 10 * 0.6) / 40)
    assert mean_at(curves, 4.0) == pytest.approx((30 * 0.9 + 10 * 0.8) / 40)


def test_no_member_is_worse_than_a_smaller_one():
    assert isotonic([1, 2, 2, 3]) == [1, 2, 2, 3]
    assert isotonic([3, 2, 1]) == [2, 2, 2]
    assert isotonic([0.92, 0.86, 0.87, 0.95]) == pytest.approx([0.88333333, 0.88333333, 0.88333333, 0.95])
    assert isotonic([]) == []


def test_rising_is_the_nearest_rising_sequence():
    from sklearn.isotonic import isotonic_regression

    rng = np.random.default_rng(2)
    for count in range(1, 40):
        values = rng.random(count)
        assert isotonic(values.tolist()) == pytest.approx(isotonic_regression(values).tolist())


def test_without_a_target_the_loss_against_the_model_decides():
    assert choose_candidate(FRONT, target=None, reference=0.94, loss=0.05)[0] == 3
    assert choose_candidate(FRONT, target=None, reference=0.95, loss=0.2)[0] == 0


def test_where_nothing_holds_it_the_most_accurate_is_taken_and_told():
    index, rule, held = choose_candidate(FRONT, target=0.99, reference=0.95, loss=0.05)
    assert (index, held) == (6, False)
    assert rule.endswith("; there is none, so it is the most accurate on validation rows")
    equal = [Candidate(0.9, 400, 1.0), Candidate(0.9, 400, 2.0)]
    assert choose_candidate(equal, target=0.99, reference=None, loss=0.0)[0] == 0
    assert choose_candidate(FRONT, target=None, reference=None, loss=0.05)[:3:2] == (6, True)


def test_the_rule_cannot_see_test_rows():
    assert set(Candidate.__dataclass_fields__) == {"accuracy", "rows", "cost", "class_loss"}


def test_a_short_list_holds_front_after_front():
    points = np.column_stack([[1.0, 2.0, 3.0, 1.5, 2.5, 9.0], [-0.5, -0.7, -0.9, -0.4, -0.6, -0.1]])
    assert layers_of_front(points, 3) == [0, 1, 2]
    assert layers_of_front(points, 4) == [0, 1, 2, 3, 4]
    assert sorted(layers_of_front(points, 99)) == list(range(6))


def test_those_near_the_aims_are_taken_first():
    gains = [0.1 * k for k in range(10)]
    assert nearest(gains, [0.5], 20) == list(range(10))
    assert nearest(gains, [0.5], 4) == [0, 4, 5, 9]
    assert {7, 8} <= set(nearest(gains, [0.75], 4))
    assert {2, 7} <= set(nearest(gains, [0.2, 0.7], 4))
    assert nearest(gains, [], 3) == [0, 4, 9]
    for count in range(2, 10):
        assert len(nearest(gains, [0.3, 0.31], count)) == count


def points_of(gains):
    return np.column_stack([np.arange(len(gains)), -np.array(gains)])


def test_thinning_keeps_what_is_wanted_both_ends_and_the_big_steps():
    gains = points_of([0.50, 0.70, 0.705, 0.80, 0.801, 0.90])
    assert thinned(gains, 6, {2}) == [0, 1, 2, 3, 4, 5]
    assert thinned(gains, 4, {0}) == [0, 1, 3, 5]
    assert thinned(gains, 4, {4}) == [0, 1, 4, 5]
    assert thinned(gains, 1, {3}) == [3]
    assert thinned(gains, 1, {2, 4}) == [2, 4]
    for count in range(1, 7):
        for chosen in range(6):
            kept = thinned(gains, count, {chosen})
            assert len(kept) == count
            assert chosen in kept
            assert kept == sorted(kept)


def test_thinning_a_front_of_three_objectives_keeps_the_best_of_each_and_drops_what_lies_close():
    points = np.array([[1.0, 9.0, 5.0], [2.0, 8.0, 1.0], [2.1, 7.9, 1.1], [5.0, 5.0, 9.0], [9.0, 1.0, 5.0]])
    assert thinned(points, 5, {0}) == [0, 1, 2, 3, 4]
    assert thinned(points, 4, {0}) == [0, 1, 3, 4]
    assert thinned(points, 4, {2}) in ([0, 1, 2, 4], [0, 2, 3, 4])
    assert thinned(points, 3, {0}) == [0, 1, 4]
    assert thinned(points, 1, {3}) == [3]


def test_the_rule_names_the_cost_that_was_asked_for():
    _, rule, _ = choose_candidate(
        FRONT, target=0.5, reference=None, loss=0, cost="power", least="the circuit of least power"
    )
    assert rule.startswith("the circuit of least power expected to hold an accuracy of 50.00 %")
    assert "5 neighbours by power, made to rise with power" in rule


def test_rank_correlation_is_spearmans():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(4)
    a, b = rng.integers(0, 9, 50), rng.integers(0, 9, 50)
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert rank_correlation(np.arange(9), np.exp(np.arange(9))) == pytest.approx(1)
    assert rank_correlation(np.ones(9), np.arange(9)) is None
    assert rank_correlation(np.arange(2), np.arange(2)) is None


def test_who_ends_a_search_while_it_synthesises_gets_a_front_of_what_is_there(iris, tmp_path):
    """Two circuits a batch with one job: no further batch is begun."""
    told = []
    hooks = Hooks(
        on_progress=lambda step, done, total: told.append((done, total)) if step == "synthesise" else None,
        stop=lambda: bool(told),
    )
    few = {"population": 40, "islands": 1, "jobs": 1, "generations": 3, "folds": 1, "members": 8, "synthesised": 12}
    more = {"synthesise_every": 0, "simulate": (), "seeding": Seeding(starts=0)}
    found = ax.search(iris.model, data=iris.data, output=tmp_path / "front", hooks=hooks, **few, **more)
    assert max(total for _, total in told) > 2, "there was more to do"
    assert max(done for done, _ in told) <= 2
    assert 1 <= len(found.members) <= 2
