"""Ternary networks: gains of literals against plain sums, units that count, weights of −1, 0 and 1, and what trees cannot do."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from approxhw.common.errors import OptionError
from approxhw.networks.trees.boosted import HELD
from approxhw.networks.trees.columns import columns_of
from approxhw.networks.trees.priced import PricedTree, priced_tree
from approxhw.networks.trees.ternary import TernaryNetwork, ternary_network, ternary_sizes
from approxhw.networks.trees.tree import answers_of_trees, sums_of_trees


def weighed_rows(seed: int, rows: int = 400):
    """Rows whose class says which of two sums of three codes is greater, or that they are alike."""
    codes = np.random.default_rng(seed).integers(0, 8, (rows, 6))
    return codes, np.sign(codes[:, :3].sum(axis=1) - codes[:, 3:].sum(axis=1)) + 1


def test_gains_of_literals_are_sums_over_rows():
    from approxhw.networks.trees.kernels.counting import literal_gains

    rng = np.random.default_rng(1)
    codes = rng.integers(0, 8, (50, 3))
    slope, bend, counts = rng.normal(size=(50, 2)), rng.uniform(0.1, 1, (50, 2)), rng.integers(0, 3, 50)
    columns = columns_of(codes, 3)
    found, reach = np.empty((2, columns.splits)), np.empty((2, columns.splits), dtype=np.int64)
    literal_gains(columns.values, columns.first, counts, 2, slope, bend, HELD, 3, found, reach)

    def worth(chosen: np.ndarray) -> float:
        return float((slope[chosen].sum(axis=0) ** 2 / (bend[chosen].sum(axis=0) + HELD)).sum())

    every = np.ones(50, dtype=bool)
    compared = 0
    for split, (k, cut) in enumerate((k, cut) for k in range(3) for cut in range(1, 8)):
        for side in (0, 1):
            literal = (codes[:, k] < cut) if side else (codes[:, k] >= cut)
            gains = {}
            for number in (1, 2, 3):
                up = counts + literal >= number
                if min(up.sum(), (~up).sum()) >= 3:
                    gains[number] = worth(up) + worth(~up) - worth(every)
            assert found[side, split] == pytest.approx(max(gains.values()))
            assert gains[int(reach[side, split])] == pytest.approx(found[side, split])
            compared += 1
    assert compared == 42


def test_units_count_and_outputs_add():
    codes, labels = weighed_rows(2)
    made = ternary_network(codes, labels, 3, TernaryNetwork(units=6, literals=4, bits=3))
    assert set(made.table.leaves.reshape(-1).tolist()) <= {-1, 0, 1}
    assert len(made.table.roots) == 6
    assert made.table.threshold.min() >= 1
    literals = [[] for _ in range(6)]
    for node in range(len(made.trees.feature)):
        (unit,) = np.flatnonzero(made.trees.leaves[2 * node : 2 * node + 2].any(axis=0))
        opposite = bool(made.trees.leaves[2 * node, unit])
        literals[unit].append((int(made.trees.feature[node]), int(made.trees.threshold[node]), opposite))
    assert all(1 <= len(each) <= 4 for each in literals)
    answers = []
    for row in codes.tolist():
        total = made.table.base.copy()
        for unit, each in enumerate(literals):
            count = sum((row[feature] >= threshold) != opposite for feature, threshold, opposite in each)
            total += made.table.leaves[2 * unit + 1] * (count >= made.table.threshold[unit])
        answers.append(int(total.argmax()))
    assert made.answers(codes).tolist() == answers
    assert sums_of_trees(made.trees, codes).max() <= 4
    assert made.area(3) > 0


def test_sums_are_weighed_better_than_by_trees():
    codes, labels = np.array(list(product(range(0, 8, 2), repeat=4))), None
    labels = np.sign(codes[:, 0] + codes[:, 1] - codes[:, 2] - codes[:, 3]) + 1
    tree = priced_tree(codes, labels, 3, PricedTree(leaves=16, bits=3))
    net = ternary_network(codes, labels, 3, TernaryNetwork(units=8, literals=12, price=0.0001, bits=3))
    by_tree = float((answers_of_trees(tree, codes) == labels).mean())
    by_net = float((net.answers(codes) == labels).mean())
    assert by_net > by_tree + 0.05


def test_networks_of_one_growth_and_of_two_classes():
    codes, labels = weighed_rows(3)
    labels = (labels > 1).astype(np.int64)
    several = ternary_sizes(codes, labels, 2, TernaryNetwork(bits=3), [1, 3, 5])
    assert [len(made.table.roots) for made in several] == [1, 3, 5]
    for made in several:
        assert not made.table.leaves[:, 0].any()
    right = [float((made.answers(codes) == labels).mean()) for made in several]
    assert right[0] > np.bincount(labels).max() / len(labels)
    assert right[2] > right[0]


def test_nothing_to_split_answers_the_most_frequent_class():
    made = ternary_network(np.zeros((9, 2), dtype=np.int64), np.array([0, 1, 1] * 3), 3, TernaryNetwork(bits=3))
    assert made.answers(np.zeros((4, 2), dtype=np.int64)).tolist() == [1] * 4


def test_options_out_of_reach_of_a_network():
    with pytest.raises(OptionError) as caught:
        TernaryNetwork(units=0, literals=40, price=-1.0, rate=0.0)
    text = str(caught.value)
    for part in ("0 is not in 1…256", "40 is not in 1…32", "-1 is not in 0…1e+06", "0 is not above 0 and at most 1"):
        assert part in text
