"""Boosted trees: gains against sums over rows, whole leaves of a few bits, what they answer, and the limits."""

from __future__ import annotations

import numpy as np
import pytest

from approxhw.common.errors import OptionError
from approxhw.networks.trees.boosted import HELD, BoostedTrees, boosted_trees
from approxhw.networks.trees.columns import columns_of
from approxhw.networks.trees.prices import tree_area
from approxhw.networks.trees.tree import answers_of_trees, comparators_of, sums_of_trees


def some_rows(seed: int, classes: int, rows: int = 150):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 8, (rows, 4))
    return codes, (codes[:, 0] + codes[:, 1] + rng.integers(0, 3, rows)) * classes // 17


def test_gains_are_sums_over_rows():
    from approxhw.networks.trees.kernels.boosting import step_gains

    rng = np.random.default_rng(1)
    codes = rng.integers(0, 8, (40, 3))
    slope, bend = rng.normal(size=(40, 2)), rng.uniform(0.1, 1, (40, 2))
    columns, rows = columns_of(codes, 3), np.arange(3, 40)
    found = np.empty(columns.splits)
    step_gains(columns.values, columns.first, rows, slope, bend, HELD, 3, found)

    def worth(chosen: np.ndarray) -> float:
        return float((slope[chosen].sum(axis=0) ** 2 / (bend[chosen].sum(axis=0) + HELD)).sum())

    allowed = 0
    for split, (k, cut) in enumerate((k, cut) for k in range(3) for cut in range(1, 8)):
        high, low = rows[codes[rows, k] >= cut], rows[codes[rows, k] < cut]
        fits = min(len(high), len(low)) >= 3
        allowed += fits
        assert found[split] == pytest.approx(worth(high) + worth(low) - worth(rows) if fits else -1)
    assert allowed > 10


@pytest.mark.parametrize("classes", [2, 3])
def test_leaves_are_whole_and_add_up(classes):
    codes, labels = some_rows(2, classes)
    options = BoostedTrees(rounds=6, leaves=3, weight_bits=3, bits=3)
    trees = boosted_trees(codes, labels, classes, options)
    assert len(trees.roots) == 6
    assert len(trees.leaves) == 18
    assert np.abs(trees.leaves).max() <= 3
    if classes == 2:
        assert not trees.leaves[:, 0].any()
    sums = []
    for row in codes.tolist():
        total = trees.base.copy()
        for at in trees.roots.tolist():
            while at >= 0:
                at = int(trees.high[at] if row[trees.feature[at]] >= trees.threshold[at] else trees.low[at])
            total += trees.leaves[~at]
        sums.append(total.tolist())
    assert sums_of_trees(trees, codes).tolist() == sums
    children = [*trees.roots.tolist(), *trees.high.tolist(), *trees.low.tolist()]
    assert sorted(c for c in children if c >= 0) == list(range(len(trees.feature)))
    assert sorted(~c for c in children if c < 0) == list(range(len(trees.leaves)))
    right = (answers_of_trees(trees, codes) == labels).mean()
    assert right > np.bincount(labels).max() / len(labels) + 0.15
    assert tree_area(trees, 3) > 0
    again = boosted_trees(codes, labels, classes, options, seed=5)
    assert np.array_equal(again.leaves, trees.leaves)


def test_a_price_shares_comparators():
    codes, labels = some_rows(3, 3, rows=300)
    count = [
        len(comparators_of(boosted_trees(codes, labels, 3, BoostedTrees(rounds=20, leaves=2, bits=3, price=price))))
        for price in (0.0, 0.05)
    ]
    assert count[1] < count[0]


def test_limits():
    alike = boosted_trees(np.zeros((9, 2), np.int64), np.array([1] * 6 + [0] * 3), 2, BoostedTrees())
    assert len(alike.roots) == 0
    assert answers_of_trees(alike, np.zeros((2, 2), np.int64)).tolist() == [1, 1]
    with pytest.raises(OptionError) as error:
        BoostedTrees(rounds=0, leaves=1, weight_bits=9, rate=0.0)
    for text in (
        "rounds: 0 is not in 1…256",
        "leaves: 1 is not in 2…64",
        "weight_bits: 9 is not in 2…8",
        "rate: 0 is not",
    ):
        assert text in str(error.value)
