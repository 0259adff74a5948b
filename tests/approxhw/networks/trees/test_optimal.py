"""Optimal trees against every tree that there is."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from approxhw.common.errors import OptionError
from approxhw.networks.trees.optimal import OptimalTree, optimal_tree
from approxhw.networks.trees.prices import NODE, TreePrices, constant_price
from approxhw.networks.trees.tree import answers_of_trees


def least_cost(codes: np.ndarray, labels: np.ndarray, leaves: int, bits: int, weight: float) -> float:
    """Return the least cost of all trees of at most so many leaves."""

    @cache
    def best(rows: tuple[int, ...], k: int) -> float:
        mine = labels[list(rows)]
        found = float(len(mine) - np.bincount(mine).max()) if len(mine) else 0.0
        for i in range(codes.shape[1]) if k > 1 else ():
            for cut in range(1, 1 << bits):
                high = tuple(r for r in rows if codes[r, i] >= cut)
                low = tuple(r for r in rows if codes[r, i] < cut)
                if high and low:
                    price = weight * (constant_price(bits, cut) + NODE)
                    found = min(found, *(price + best(low, a) + best(high, k - a) for a in range(1, k)))
        return found

    return best(tuple(range(len(labels))), leaves)


@pytest.mark.parametrize("leaves", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("price", [0.0, 0.05])
def test_no_tree_is_better(leaves, price):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        codes = rng.integers(0, 4, (18, 3))
        labels = rng.integers(0, 3, 18)
        found = optimal_tree(codes, labels, 3, OptimalTree(leaves, price, 60.0, 2))
        assert found.proven
        assert found.cost == pytest.approx(least_cost(codes, labels, leaves, 2, price * 18), abs=1e-2)
        wrong = int((answers_of_trees(found.trees, codes) != labels).sum())
        splits = sum(constant_price(2, int(t)) + NODE for t in found.trees.threshold)
        assert found.cost == pytest.approx(wrong + price * 18 * splits, abs=1e-9)
        assert len(found.trees.leaves) <= leaves


def test_it_finds_what_greed_does_not():
    codes = np.array([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)] * 4)
    labels = codes[:, 0] ^ codes[:, 2]
    found = optimal_tree(codes, labels, 2, OptimalTree(4, bits=1))
    assert found.cost == 0
    assert found.proven
    assert len(found.trees.feature) == 3


def test_without_time_it_says_that_nothing_is_proven():
    rng = np.random.default_rng(3)
    codes, labels = rng.integers(0, 16, (300, 6)), rng.integers(0, 3, 300)
    ticks = iter(range(1000))
    found = optimal_tree(codes, labels, 3, OptimalTree(8, seconds=5.0), clock=lambda: float(next(ticks)))
    assert not found.proven
    assert found.cost <= min(300 - np.bincount(labels).max(), 300)
    assert int((answers_of_trees(found.trees, codes) != labels).sum()) == round(found.cost)
    again = optimal_tree(codes, labels, 3, OptimalTree(3, seconds=600.0), prices=TreePrices())
    assert again.proven


def test_limits():
    codes = np.array([[3, 1], [3, 1], [3, 1]])
    alike = optimal_tree(codes, np.array([0, 1, 1]), 2, OptimalTree(8))
    assert alike.proven
    assert alike.cost == 1
    assert len(alike.trees.feature) == 0
    one = optimal_tree(codes[:1], np.array([1]), 2, OptimalTree(8))
    assert one.proven
    assert one.cost == 0
    with pytest.raises(OptionError, match="leaves: 9 is not in 1…8"):
        OptimalTree(9)
