"""Selection: ranks as by definition, crowding as DEAP counts it, constraints first, and ties as written."""

import numpy as np
import pytest
from deap import base, creator, tools
from hypothesis import given, settings
from hypothesis import strategies as st

from approxhw.numerics._kernel_pareto import COPY, FARTHEST
from approxhw.numerics.pareto import (
    layers_of_front,
    non_dominated,
    pareto_front,
    ranks_and_crowding,
    select_nsga2,
    tournament,
)

POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 2)), min_size=1, max_size=40)


def ranks_by_definition(objectives, violations):
    """Peel off what nothing dominates, again and again."""

    def dominates(a, b):
        if violations[a] != violations[b]:
            return violations[a] < violations[b]
        return (objectives[a] <= objectives[b]).all() and (objectives[a] < objectives[b]).any()

    ranks, left, rank = np.zeros(len(objectives), np.int64), set(range(len(objectives))), 0
    while left:
        best = [i for i in left if not any(dominates(j, i) for j in left)]
        ranks[best] = rank
        left -= set(best)
        rank += 1
    return ranks


@settings(max_examples=300, deadline=None, derandomize=True)
@given(POINTS)
def test_ranks_are_those_of_the_definition(points):
    table = np.array(points, dtype=np.int64)
    objectives, violations = table[:, :2], table[:, 2]
    np.testing.assert_array_equal(
        ranks_and_crowding(objectives, violations)[0], ranks_by_definition(objectives, violations)
    )


def test_ranks_and_survivors_are_those_of_deap_where_nothing_is_equal():
    rng = np.random.default_rng(5)
    creator.create("Least", base.Fitness, weights=(-1.0, -1.0))
    creator.create("Row", list, fitness=creator.Least)
    for size in (1, 2, 3, 50, 200):
        objectives = np.stack([rng.permutation(10 * size)[:size], rng.permutation(10 * size)[:size]], axis=1)
        people = []
        for i, pair in enumerate(objectives.tolist()):
            person = creator.Row([i])
            person.fitness.values = pair
            people.append(person)
        fronts = tools.sortNondominated(people, size)
        ranks = ranks_and_crowding(objectives, np.zeros(size, np.int64))[0]
        for rank, front in enumerate(fronts):
            assert sorted(person[0] for person in front) == np.flatnonzero(ranks == rank).tolist()
        keep = (size + 1) // 2
        theirs = {person[0] for person in tools.selNSGA2(people, keep)}
        ours = select_nsga2(objectives, np.zeros(size, np.int64), keep)
        assert len(ours) == keep
        # Of equally lonely ones either may survive: compare how lonely the survivors are, not who they are.
        crowding = ranks_and_crowding(objectives, np.zeros(size, np.int64))[1]
        assert sorted(crowding[sorted(theirs)].tolist()) == sorted(crowding[ours].tolist())


def test_crowding_is_the_sum_of_both_gaps_by_their_ranges():
    objectives = np.array([[0, 100], [1, 50], [4, 40], [10, 0]])
    ranks, crowding = ranks_and_crowding(objectives, np.zeros(4, np.int64))
    assert ranks.tolist() == [0, 0, 0, 0]
    assert crowding[[0, 3]].tolist() == [FARTHEST, FARTHEST]
    # (4/10 + 60/100) and (9/10 + 50/100), times 10 · 100
    assert crowding[1:3].tolist() == [1000, 1400]


def test_huge_areas_do_not_overflow():
    objectives = np.array([[0, 1 << 60], [1 << 30, 1 << 59], [1 << 31, 1 << 20], [1 << 32, 0]])
    crowding = ranks_and_crowding(objectives, np.zeros(4, np.int64))[1]
    assert (crowding > 0).all()
    assert crowding[1] > crowding[2]


def test_least_violation_comes_first_whatever_the_objectives():
    objectives = np.array([[900, 1], [10, 10**9], [500, 2], [9, 10**9]])
    violations = np.array([400, 0, 1, 0])
    assert select_nsga2(objectives, violations, 4).tolist() == [3, 1, 2, 0]
    assert non_dominated(objectives, violations).tolist() == [3]


def test_copies_survive_last_and_the_first_of_equals_survives():
    objectives = np.array([[5, 5], [5, 5], [7, 7], [5, 5], [4, 9]])
    none = np.zeros(5, np.int64)
    ranks, crowding = ranks_and_crowding(objectives, none)
    assert ranks.tolist() == [0, 0, 1, 0, 0]
    assert (crowding == COPY).tolist() == [False, True, False, True, False]
    assert select_nsga2(objectives, none, 3).tolist() == [0, 4, 2]
    assert select_nsga2(objectives, none, 5).tolist() == [0, 4, 2, 1, 3]
    assert non_dominated(objectives, none).tolist() == [4, 0]


def test_selection_of_nothing_and_of_one():
    assert select_nsga2(np.zeros((0, 2), np.int64), np.zeros(0, np.int64), 3).tolist() == []
    assert select_nsga2(np.array([[1, 2]]), np.array([0]), 3).tolist() == [0]


def test_tournaments_prefer_those_that_stand_first_and_repeat_with_the_seed():
    winners = tournament(100, 20_000, np.random.default_rng(1))
    assert winners.min() == 0
    assert winners.max() < 100
    assert winners.mean() == pytest.approx(33.0, abs=1.0)  # of the smaller of two uniform draws
    np.testing.assert_array_equal(winners, tournament(100, 20_000, np.random.default_rng(1)))


def table_of(width):
    rows = st.tuples(*[st.integers(0, 4)] * width, st.integers(0, 2))
    return st.lists(rows, min_size=1, max_size=40).map(lambda rows: np.array(rows, dtype=np.int64))


@pytest.mark.parametrize("width", [1, 3, 4, 5])
def test_ranks_of_any_number_of_objectives_are_those_of_the_definition(width):
    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(table_of(width))
    def check(table):
        objectives, violations = table[:, :width], table[:, width]
        ranks, crowding = ranks_and_crowding(objectives, violations)
        np.testing.assert_array_equal(ranks, ranks_by_definition(objectives, violations))
        seen = [tuple(row) for row in table.tolist()]
        copies = [i for i, row in enumerate(seen) if row in seen[:i]]
        assert np.flatnonzero(crowding == COPY).tolist() == copies

    check()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(POINTS)
def test_the_way_of_two_objectives_and_that_of_any_number_rank_alike(points):
    table = np.array(points, dtype=np.int64)
    flat = np.column_stack([table[:, :2], np.zeros(len(table), np.int64)])
    np.testing.assert_array_equal(
        ranks_and_crowding(flat, table[:, 2])[0], ranks_and_crowding(table[:, :2], table[:, 2])[0]
    )


def test_ranks_of_three_objectives_are_those_of_deap_and_survivors_as_lonely():
    rng = np.random.default_rng(6)
    creator.create("Least3", base.Fitness, weights=(-1.0, -1.0, -1.0))
    creator.create("Row3", list, fitness=creator.Least3)
    for size in (1, 3, 60, 300):
        objectives = np.stack([rng.permutation(10 * size)[:size] for _ in range(3)], axis=1)
        people = []
        for i, triple in enumerate(objectives.tolist()):
            person = creator.Row3([i])
            person.fitness.values = triple
            people.append(person)
        none = np.zeros(size, np.int64)
        ranks, crowding = ranks_and_crowding(objectives, none)
        for rank, front in enumerate(tools.sortNondominated(people, size)):
            assert sorted(person[0] for person in front) == np.flatnonzero(ranks == rank).tolist()
            tools.emo.assignCrowdingDist(front)
            for person in front:
                theirs, ours = person.fitness.crowding_dist, crowding[person[0]]
                # theirs is divided by the number of objectives
                same = ours == FARTHEST if np.isinf(theirs) else ours / 2**30 == pytest.approx(3 * theirs, abs=1e-6)
                assert same or len(front) < 3


def test_crowding_of_three_objectives_counts_each_by_its_range_even_where_it_is_huge():
    wide = 1 << 60
    objectives = np.array([[0, wide, 5], [1, wide // 2, 5], [4, wide // 4, 5], [10, 0, 5]])
    crowding = ranks_and_crowding(objectives, np.zeros(4, np.int64))[1]
    assert crowding[[0, 3]].tolist() == [FARTHEST, FARTHEST]
    # the third is the same everywhere, and says nothing
    assert crowding[1:3] / 2**30 == pytest.approx([4 / 10 + 3 / 4, 9 / 10 + 1 / 2], abs=1e-8)


@pytest.mark.parametrize("width", [1, 2, 3])
def test_fronts_of_real_numbers_are_those_of_the_definition(width):
    rng = np.random.default_rng(width)
    for size in (0, 1, 30):
        points = np.round(rng.random((size, width)) - 0.5, 1)
        peeled, left = [], list(range(size))
        while left:
            told = [tuple(points[i]) for i in left]
            best = [
                i
                for k, i in enumerate(left)
                if told[k] not in told[:k]
                and not any((points[j] <= points[i]).all() and (points[j] < points[i]).any() for j in left)
            ]
            best.sort(key=lambda i: tuple(points[i]))
            peeled.append(best)
            left = [i for i in left if i not in best]
        assert pareto_front(points) == (peeled[0] if peeled else [])
        assert layers_of_front(points, size) == [i for front in peeled for i in front]
        assert layers_of_front(points, 1) == (peeled[0] if peeled else [])


def test_a_front_of_figures_keeps_what_no_other_beats_and_the_first_of_equal_ones():
    points = np.array([(3.0, -0.9), (1.0, -0.5), (2.0, -0.5), (1.0, -0.5), (2.0, -0.7), (4.0, -0.9), (0.5, -0.1)])
    assert pareto_front(points) == [6, 1, 4, 0]
