"""Scores: what they add up to, the best rising table against all of them, trees that name what it says, and the area told."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
import pytest

from approxhw.networks.trees.boosted import BoostedTrees
from approxhw.networks.trees.scored import rising_table, scored_sizes, scored_trees, sums_limit, table_tree
from approxhw.networks.trees.tree import answers_of_trees, sums_of_trees


def ordered_rows(seed: int, classes: int = 4, rows: int = 300):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 8, (rows, 5))
    return codes, np.clip(
        (codes[:, 0] + codes[:, 1] + codes[:, 2] + rng.integers(0, 4, rows)) * classes // 25, 0, classes - 1
    )


@pytest.mark.parametrize("seed", range(6))
def test_the_table_is_the_best_that_rises(seed):
    rng = np.random.default_rng(seed)
    score, labels = rng.integers(0, 7, 40), rng.integers(0, 3, 40)
    table = rising_table(score, labels, 3, 7)
    assert (np.diff(table) >= 0).all()
    best = max(int((np.array(each)[score] == labels).sum()) for each in combinations_with_replacement(range(3), 7))
    assert int((table[score] == labels).sum()) == best


@pytest.mark.parametrize("table", [[0], [2, 2], [0, 1, 1, 3], [0, 0, 1, 2, 3, 4, 4]])
def test_a_tree_names_what_the_table_says(table):
    tree = table_tree(np.array(table), 5)
    assert answers_of_trees(tree, np.arange(len(table))[:, None]).tolist() == table
    assert tree.classes == 5
    assert len(tree.feature) == len(set(table)) - 1


def test_a_score_adds_leaves_of_a_few_bits():
    codes, labels = ordered_rows(1)
    options = BoostedTrees(rounds=6, leaves=4, weight_bits=2, bits=3)
    made = scored_trees(codes, labels, 4, options)
    assert len(made.trees.roots) == 6
    assert made.trees.leaves.shape == (24, 1)
    assert made.trees.leaves.min() >= 0
    assert made.trees.leaves.max() <= 3
    total = sums_of_trees(made.trees, codes)[:, 0]
    assert total.min() >= 0
    assert total.max() <= sums_limit(made.trees)[0]
    right = (made.answers(codes) == labels).mean()
    assert right > np.bincount(labels).max() / len(labels) + 0.2
    again = scored_trees(codes, labels, 4, options, seed=9)
    assert np.array_equal(again.trees.leaves, made.trees.leaves)
    assert (
        0
        < made.area(3)
        < scored_trees(codes, labels, 4, BoostedTrees(rounds=6, leaves=16, weight_bits=4, bits=3)).area(3)
    )


def test_sizes_share_one_growth():
    codes, labels = ordered_rows(2)
    options = BoostedTrees(leaves=3, weight_bits=3, bits=3)
    several = scored_sizes(codes, labels, 4, options, [1, 3, 5])
    assert [len(made.trees.roots) for made in several] == [1, 3, 5]
    assert np.array_equal(several[2].trees.feature[:6], several[1].trees.feature)
    alone = scored_trees(codes, labels, 4, BoostedTrees(rounds=3, leaves=3, weight_bits=3, bits=3))
    assert np.array_equal(alone.trees.leaves, several[1].trees.leaves)


def test_rows_without_a_split_get_one_class():
    codes, labels = np.zeros((20, 2), dtype=np.int64), np.repeat([0, 1], [5, 15])
    made = scored_trees(codes, labels, 3, BoostedTrees(bits=3))
    assert made.answers(codes).tolist() == [1] * 20
