"""A bound on what a class may lose: rows that are allowed, rows beyond, and errors that count for more."""

from __future__ import annotations

import numpy as np

from approxhw.common.statistics.class_bounds import class_bound, wrong_by_class

LABELS = np.repeat([0, 1, 3], [100, 40, 10])
REFERENCE = LABELS.copy()
REFERENCE[:5] = 1


def test_what_is_allowed_is_the_references_errors_and_a_share_of_the_class():
    bound = class_bound(LABELS, REFERENCE, 0.07)
    # exactly 7 of 100 rows, though 0.07 · 100 is a little more than 7 in floating point; a class without rows loses none
    assert bound.allowed.tolist() == [12, 2, 0, 0]
    assert wrong_by_class(LABELS, REFERENCE, 4).tolist() == [5, 0, 0, 0]


def test_errors_beyond_the_bound_count_as_beyond_what_is_allowed():
    bound = class_bound(LABELS, REFERENCE, 0.07)
    wrong = np.array([[12, 2, 0, 0], [0, 3, 0, 0], [13, 2, 0, 2], [40, 40, 0, 10]])
    assert bound.excess(wrong).tolist() == [0, 1, 3, 28 + 38 + 10]
    # few errors, but a class lost too much: worse than what is allowed, and nearer to it than what lost more
    assert bound.counted(wrong, 20).tolist() == [14, 21, 23, 90 + 76]


def test_losses_are_shares_of_a_class():
    bound = class_bound(LABELS, REFERENCE, 0.07)
    answers = REFERENCE.copy()
    answers[100:110] = 0
    found = bound.losses(bound.wrong(answers))
    assert found[:2].tolist() == [0, 0.25]
    assert np.isnan(found[2])
    assert found[3] == 0
