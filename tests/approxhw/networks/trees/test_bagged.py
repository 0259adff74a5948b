"""Bags of trees: they learn better than one tree, from the rows they are given alone, by seed; and what is out of reach."""

from __future__ import annotations

import numpy as np
import pytest

from approxhw.common.errors import OptionError
from approxhw.networks.families.table import FAMILIES, FamilyRecipe, fit_recipes
from approxhw.networks.trees.bagged import BaggedTrees, bag_of_trees, bagged_trees
from approxhw.networks.trees.families import TreeFitting
from approxhw.networks.trees.priced import PricedTree, priced_tree
from approxhw.networks.trees.tree import answers_of_trees, sums_of_trees


def slanted(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose border is slanted, a tenth of them of the other class."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 16, (rows, 6))
    labels = (codes[:, 0] + codes[:, 1] > codes[:, 2] + codes[:, 3]).astype(np.int64)
    return codes, labels ^ (rng.random(rows) < 0.1)


def test_a_bag_answers_as_most_of_its_trees_and_better_than_one():
    codes, labels = slanted(1, 600)
    fresh, truth = slanted(2, 2000)
    bag = bagged_trees(codes, labels, 2, BaggedTrees(trees=25), seed=4)
    assert len(bag) == 25
    votes = np.zeros((len(fresh), 2), dtype=np.int64)
    for tree in bag:
        votes += sums_of_trees(tree, fresh)
    assert (votes.sum(axis=1) == 25).all()
    answers = bag_of_trees(2, BaggedTrees(trees=25), seed=4)(codes, labels)(fresh)
    assert np.array_equal(answers, votes.argmax(axis=1))
    one = answers_of_trees(priced_tree(codes, labels, 2, PricedTree(leaves=200)), fresh)
    assert (answers == truth).mean() > (one == truth).mean() + 0.02
    again = bag_of_trees(2, BaggedTrees(trees=25), seed=4)(codes, labels)(fresh)
    assert np.array_equal(answers, again)
    assert len({tree.feature.tobytes() for tree in bag}) == 25, "no two trees are alike"


def mostly(seed: int, rows: int, wrong: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows of which two thresholds of three are passed, or not; a share *wrong* of the classes is turned."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 16, (rows, 6))
    labels = ((codes[:, :3] > [8, 5, 10]).sum(axis=1) >= 2).astype(np.int64)
    return codes, labels ^ (rng.random(rows) < wrong)


def test_taught_trees_hold_more_than_those_of_labels():
    held = np.zeros((6, 2))
    for seed in range(6):
        codes, labels = mostly(seed, 500, 0.25)
        fresh, truth = mostly(100 + seed, 4000, 0.0)
        for place, family in enumerate(("tree", "taught")):
            (made,) = fit_recipes(codes, labels, [FamilyRecipe(family, 0.0005, 32)], TreeFitting(2, starts=2))
            held[seed, place] = (made.answers(fresh) == truth).mean()
    assert held[:, 1].mean() > held[:, 0].mean() + 0.01, held


def test_the_bag_of_a_family_sees_the_rows_of_its_learner_alone():
    teaching = FAMILIES["taught"].teaching
    assert teaching is not None
    lesson = teaching(TreeFitting(2), 100)
    assert (lesson.copies, teaching(TreeFitting(2), 8000).copies, teaching(TreeFitting(2), 100000).copies) == (8, 3, 2)
    codes, labels = slanted(6, 100)
    alone = lesson.teacher(codes[:50], labels[:50])(codes)
    turned = np.concatenate([labels[:50], 1 - labels[50:]])
    assert np.array_equal(lesson.teacher(codes[:50], turned[:50])(codes), alone)


def test_bags_out_of_reach():
    with pytest.raises(OptionError, match=r"0 is not in 1…1000") as caught:
        BaggedTrees(trees=0, jitter=2.0, least=0)
    assert [problem.where for problem in caught.value.problems] == ["trees", "jitter", "least"]
    with pytest.raises(OptionError, match="there are no rows to learn from"):
        bagged_trees(np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.int64), 2)
