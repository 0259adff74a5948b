"""What always answering the most frequent class is worth, and who is told to be no better."""

from __future__ import annotations

import numpy as np
import pytest

from approxhw.common.statistics import majority_share, no_better


def test_the_share_of_the_most_frequent_class():
    assert majority_share(np.array([2, 2, 0, 1])) == 0.5
    assert majority_share(np.array(["a"])) == 1
    assert majority_share(np.zeros(0, int)) is None


@pytest.mark.parametrize(
    ("accuracy", "majority", "is_told"),
    [(0.529, 0.544, True), (0.544, 0.544, True), (0.545, 0.544, False), (None, 0.5, False), (0.1, None, False)],
)
def test_what_is_no_better_is_told_with_both_figures(accuracy, majority, is_told):
    told = no_better("the model", accuracy, majority, "test rows")
    assert bool(told) == is_told
    if is_told:
        words = "the model is no better than always answering the most frequent class"
        assert told == [f"{words}: {100 * accuracy:.2f} % of test rows against 54.40 %"]
