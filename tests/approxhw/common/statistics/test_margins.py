"""Margins of scores: by how much the winner wins, in units that a factor common to all scores does not change."""

from __future__ import annotations

import numpy as np

from approxhw.common.statistics.margins import SHARES, GatheredMargins, margin_shift, margins_of

SCORES = np.random.default_rng(2).normal(size=(500, 4))


def test_margins_are_the_winner_less_the_runner_up():
    ordered = np.sort(SCORES, axis=1)
    assert np.allclose(margins_of(SCORES) * SCORES.std(), ordered[:, -1] - ordered[:, -2])
    assert np.allclose(margins_of(SCORES * 1000), margins_of(SCORES))


def test_one_score_is_as_far_as_from_zero():
    one = SCORES[:, :1]
    assert np.allclose(margins_of(one) * one.std(), np.abs(one[:, 0]))


def test_rows_that_are_no_numbers_have_no_margin():
    bad = SCORES.copy()
    bad[3, 1], bad[5, 0] = np.nan, np.inf
    found = margins_of(bad)
    assert np.flatnonzero(np.isnan(found)).tolist() == [3, 5]
    shift = margin_shift(found, margins_of(SCORES))
    assert shift is not None
    assert shift.rows == 498
    assert margin_shift(np.full(4, np.nan), np.ones(4)) is None
    assert len(margins_of(np.zeros((0, 3)))) == 0
    assert margins_of(np.ones((2, 3))).tolist() == [0, 0]


def test_a_shift_tells_quantiles_of_both():
    before, after = margins_of(SCORES), margins_of(np.round(SCORES))
    shift = margin_shift(before, after)
    assert shift is not None
    assert len(shift.before) == len(SHARES) == 6
    assert shift.before == tuple(np.quantile(before, SHARES))
    assert shift.after[0] == 0 < shift.before[0]


def test_batches_give_what_all_rows_at_once_do():
    gathered = GatheredMargins()
    for part in np.array_split(SCORES, 7):
        gathered.add(part)
    assert np.allclose(gathered.all(), margins_of(SCORES))
    assert len(GatheredMargins().all()) == 0
