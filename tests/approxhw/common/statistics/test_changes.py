"""What became of rows: counted class by class, flips as a matrix, and intervals that hold what they say."""

from __future__ import annotations

import numpy as np
import pytest

from approxhw.common.statistics.changes import RowChange, changes_of, flips_of

LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 2])
BEFORE = np.array([0, 0, 1, 1, 1, 2, 2, 0])
AFTER = np.array([0, 1, 0, 1, 0, 2, 1, 1])


def test_rows_are_counted_by_class():
    first, second, third, none = changes_of(LABELS, BEFORE, AFTER, LABELS, 4)
    assert first == RowChange(rows=3, before=2, lost=1, gained=1, changed=2)
    assert second == RowChange(rows=2, before=2, lost=1, gained=0, changed=1)
    # the last row is wrong before and after, and of another class all the same
    assert third == RowChange(rows=3, before=2, lost=1, gained=0, changed=2)
    assert none == RowChange(0, 0, 0, 0, 0)
    assert [each.after for each in (first, second, third)] == [2, 1, 1]
    assert (first.loss, second.loss, none.loss) == (0, 0.5, 0)


def test_all_rows_are_the_sum_of_all_classes():
    random = np.random.default_rng(3)
    labels, before, after = random.integers(0, 5, (3, 400))
    (whole,) = changes_of(labels, before, after)
    parts = changes_of(labels, before, after, labels, 5)
    for name in ("rows", "before", "lost", "gained", "changed", "after"):
        assert getattr(whole, name) == sum(getattr(part, name) for part in parts), name
    assert whole.rows == 400
    assert all(part.possible for part in parts)


def test_rows_of_no_group_count_nowhere():
    (only,) = changes_of(LABELS, BEFORE, AFTER, np.array([-1, 0, 0, 7, 0, 0, -1, 0]), 1)
    assert only.rows == 5


def test_flips_are_the_matrix_of_answers():
    random = np.random.default_rng(4)
    before, after = random.integers(0, 4, (2, 300))
    table = np.zeros((4, 4), dtype=int)
    np.add.at(table, (before, after), 1)
    found = flips_of(before, after)
    assert len(found) == 12
    assert all(table[was, now] == rows and was != now for was, now, rows in found)
    assert [rows for _, _, rows in found] == sorted((rows for _, _, rows in found), reverse=True)
    assert flips_of(before, before) == ()


def test_an_interval_holds_what_it_says():
    """Of 4000 samples of 40 rows, 95 % of the intervals hold the loss that they were drawn with, and not nearly all of them."""
    random = np.random.default_rng(5)
    kept, lost, gained = 0.88, 0.1, 0.02
    draws = random.multinomial(40, [kept, lost, gained], 4000)
    held = 0
    for stays, away, back in draws.tolist():
        low, high = RowChange(40, stays + away, away, back, away + back).interval
        held += low <= lost - gained <= high
    assert 0.93 < held / 4000 < 0.985


def test_few_rows_say_little():
    low, high = RowChange(4, 4, 0, 0, 0).interval
    assert low < -0.2
    assert high > 0.2
    assert RowChange(0, 0, 0, 0, 0).interval == (-1.0, 1.0)
    wide, narrow = RowChange(10, 9, 2, 0, 2).interval, RowChange(1000, 900, 200, 0, 200).interval
    assert wide[1] - wide[0] > 5 * (narrow[1] - narrow[0])


@pytest.mark.parametrize(
    "told",
    [(-1, 0, 0, 0, 0), (3, 4, 0, 0, 0), (3, 1, 2, 0, 2), (3, 2, 0, 2, 2), (3, 2, 1, 1, 1), (3, 2, 1, 0, 4)],
)
def test_rows_that_cannot_be(told):
    assert not RowChange(*told).possible
