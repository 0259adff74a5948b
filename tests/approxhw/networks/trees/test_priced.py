"""Priced trees against slow, obvious references: gains, the order of growth, polishing, the area, and the limits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from approxhw.common.errors import OptionError
from approxhw.ir.kinds import Forest
from approxhw.networks.trees.columns import columns_of
from approxhw.networks.trees.priced import PricedTree, grow_tree, priced_tree, priced_trees, root_gains, sketches_of
from approxhw.networks.trees.prices import (
    INVERTER,
    JOINT,
    SELECT,
    TreePrices,
    constant_price,
    gates_of_constant,
    pair_price,
    split_prices,
    thermometer_prices,
    tree_area,
)
from approxhw.networks.trees.tree import answers_of_trees, comparators_of


def some_rows(seed: int, rows: int = 60, features: int = 4, bits: int = 3, classes: int = 3):
    """Return codes and labels that the codes tell something about."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 1 << bits, (rows, features))
    labels = (codes[:, 0] + (codes[:, 1] > codes[:, 2]) * 3 + rng.integers(0, 3, rows)) * classes // 14
    return codes, np.minimum(labels, classes - 1)


def impurity(labels: np.ndarray, criterion: str) -> float:
    """Return the impurity of these rows, in rows."""
    _, counts = np.unique(labels, return_counts=True)
    share = counts / max(1, counts.sum())
    return float(counts.sum() * ((1 - (share**2).sum()) if criterion == "gini" else -(share * np.log(share)).sum()))


def slow_gain(seen: np.ndarray, labels: np.ndarray, cut: int, criterion: str, least: int) -> float:
    """Return what one cut takes of the impurity, −1 where it is not allowed."""
    high = seen >= cut
    if high.sum() < least or (~high).sum() < least:
        return -1.0
    return impurity(labels, criterion) - impurity(labels[high], criterion) - impurity(labels[~high], criterion)


def walk(trees: Forest, row: list[int]) -> int:
    """Return the class of one row, a node after the other."""
    sums = trees.base.tolist()
    for at in trees.roots.tolist():
        while at >= 0:
            seen = row[trees.feature[at]]
            if trees.other[at] >= 0:
                seen += int(trees.sign[at]) * row[trees.other[at]]
            at = int(trees.high[at] if seen >= trees.threshold[at] else trees.low[at])
        sums = [a + b for a, b in zip(sums, trees.leaves[~at].tolist(), strict=True)]
    return sums.index(max(sums))


@pytest.mark.parametrize("criterion", ["gini", "entropy"])
@pytest.mark.parametrize("least", [1, 3])
def test_gains_are_those_of_every_split_alone(criterion, least):
    codes, labels = some_rows(1)
    columns = columns_of(codes, 3, np.arange(4))
    found = root_gains(columns, labels, 3, criterion, least)
    of, thresholds = columns.of_split(), columns.thresholds()
    assert columns.splits == 4 * 7 + 6 * 2 * 14
    for split in range(columns.splits):
        i, j, sign = columns.feature[of[split]], columns.other[of[split]], columns.sign[of[split]]
        seen = codes[:, i] + (sign * codes[:, j] if j >= 0 else 0)
        wanted = slow_gain(seen, labels, int(thresholds[split]), criterion, least)
        assert found[split] == pytest.approx(wanted, abs=1e-4), (split, i, j, sign)


@pytest.mark.parametrize(("price", "splits"), [(0.0, "single"), (0.02, "single"), (0.004, "pairs")])
def test_every_split_is_the_best_that_was_left(price, splits):
    codes, labels = some_rows(2, rows=80)
    options = PricedTree(leaves=9, price=price, splits=splits, bits=3, least=2)
    columns = columns_of(codes, 3, np.arange(4) if splits == "pairs" else None)
    growth = grow_tree(columns, labels, 3, options, 9, (0, 0), TreePrices())
    fresh, further = split_prices(columns, TreePrices())
    of = columns.of_split()
    leaf, used = np.zeros(len(labels), np.int64), set()
    assert growth.leaves > 5

    def score(n: int, split: int) -> float:
        rows = leaf == n
        seen = columns.values[of[split]][rows]
        gain = slow_gain(seen, labels[rows], int(split - columns.first[of[split]] + 1), "gini", 2)
        columns_used = {of[s] for s in used}
        cost = 0.0 if split in used else (further if of[split] in columns_used else fresh)[split]
        return gain / len(labels) - price * cost if gain > 1e-5 else -np.inf

    for n, (where, split) in enumerate(zip(growth.where.tolist(), growth.splits.tolist(), strict=True)):
        best = max(score(i, s) for i in range(n + 1) for s in range(columns.splits))
        assert score(where, split) == pytest.approx(best, abs=1e-6)
        goes = (leaf == where) & (columns.values[of[split]] > split - columns.first[of[split]])
        leaf[goes] = n + 1
        used.add(split)


def test_a_price_shares_comparators():
    codes, labels = some_rows(3, rows=300)
    free = priced_tree(codes, labels, 3, PricedTree(leaves=16, bits=3, polish=False))
    priced = priced_tree(codes, labels, 3, PricedTree(leaves=16, bits=3, price=0.01, polish=False))
    assert min(len(free.feature), len(priced.feature)) >= 12
    costs = [sum(constant_price(3, c[3]) for c in comparators_of(tree)) for tree in (free, priced)]
    assert costs[1] < 0.7 * costs[0]


@pytest.mark.parametrize("splits", ["single", "pairs"])
def test_trees_answer_what_a_walk_does(splits):
    codes, labels = some_rows(4, rows=120)
    checked = 0
    for tree in priced_trees(codes, labels, 3, PricedTree(bits=3, splits=splits, price=0.001), [1, 2, 5, 12]):
        assert answers_of_trees(tree, codes).tolist() == [walk(tree, row) for row in codes.tolist()]
        children = [c for c in (*tree.high.tolist(), *tree.low.tolist()) if c >= 0]
        assert sorted(children) == list(range(1, len(tree.feature)))  # each once
        assert all(c < 0 or c > n for way in (tree.high, tree.low) for n, c in enumerate(way.tolist()))
        assert len(tree.leaves) == len(tree.feature) + 1
        checked += len(codes)
    assert checked == 480


@pytest.mark.parametrize("splits", ["single", "pairs"])
def test_polishing_makes_no_more_errors_and_no_more_area(splits):
    for seed in range(6):
        codes, labels = some_rows(10 + seed, rows=150)
        sizes = [4, 8, 14]
        options = PricedTree(bits=3, splits=splits, price=0.002, polish=False)
        before = priced_trees(codes, labels, 3, options, sizes)
        after = priced_trees(codes, labels, 3, PricedTree(bits=3, splits=splits, price=0.002), sizes)
        for old, new in zip(before, after, strict=True):
            wrong = [(answers_of_trees(tree, codes) != labels).sum() for tree in (old, new)]
            assert wrong[1] <= wrong[0]
            if wrong[1] == wrong[0]:
                assert tree_area(new, 3) <= tree_area(old, 3) + 1e-9
            assert len(new.feature) <= len(old.feature)


def test_polishing_moves_a_threshold_to_the_cheap_constant_of_a_gap():
    codes = np.array([[5]] * 5 + [[11]] * 5)
    labels = np.repeat([0, 1], 5)
    tree = priced_tree(codes, labels, 2, PricedTree(leaves=2))
    assert comparators_of(tree) == [(0, -1, 1, 8)]
    assert tree_area(tree, 4) == 0


def test_the_tree_of_a_size_is_the_beginning_of_a_larger_one():
    codes, labels = some_rows(5, rows=200)
    columns = columns_of(codes, 3)
    growth = grow_tree(columns, labels, 3, PricedTree(bits=3), 20, (0, 0), TreePrices())
    for sketch, size in zip(sketches_of(growth, [1, 3, 20, 500]), [1, 3, 20, growth.leaves], strict=True):
        assert len(sketch.labels) == size


def test_the_seed_decides_and_nothing_else():
    codes, labels = some_rows(6, rows=200)
    noisy = PricedTree(leaves=12, bits=3, starts=3, jitter=0.5)
    found = [priced_tree(codes, labels, 3, noisy, seed) for seed in (1, 1, 2, 3, 4, 5)]
    spelled = [
        (tree.feature.tolist(), tree.threshold.tolist(), tree.high.tolist(), tree.low.tolist()) for tree in found
    ]
    assert spelled[0] == spelled[1]
    assert any(other != spelled[0] for other in spelled[2:])


def test_more_starts_are_no_worse():
    codes, labels = some_rows(7, rows=200)
    cost = []
    for starts in (1, 8):
        options = PricedTree(leaves=8, bits=3, starts=starts, exchange=0.5, price=0.002)
        tree = priced_tree(codes, labels, 3, options)
        cost.append((answers_of_trees(tree, codes) != labels).sum() + 0.5 * tree_area(tree, 3))
    assert cost[1] < cost[0]


def test_constants_are_priced_by_the_gates_that_they_take():
    assert [gates_of_constant(4, c) for c in range(1, 16)] == [3, 2, 3, 1, 3, 2, 3, 0, 3, 2, 3, 1, 3, 2, 3]
    fresh, further = split_prices(columns_of(np.zeros((1, 2), np.int64), 4), thermometer_prices(4, 0.08))
    assert fresh.tolist() == further.tolist() == [0.08] * 30
    assert pair_price(4, -1, 0) < pair_price(4, -1, 3)
    assert pair_price(4, 1, 0) == 0


def test_area_counts_equal_parts_once():
    def tree(high: list[int], low: list[int], classes: list[int]) -> Forest:
        n = len(high)
        leaves = np.eye(max(classes) + 1, dtype=np.int64)[classes]
        ways = (np.array(way, dtype=np.int64) for way in (high, low))
        threshold = np.array([8, 4, 4][:n])
        return Forest(
            np.array([0]), np.arange(n) % 2, threshold, *ways, leaves,
            np.zeros(max(classes) + 1, dtype=np.int64), np.full(n, -1), np.ones(n, dtype=np.int64),
        )  # fmt: skip

    assert tree_area(tree([-1], [-2], [1, 0]), 4) == 0
    assert tree_area(tree([-1], [-2], [0, 1]), 4) == pytest.approx(INVERTER)
    # x0 ≥ 8 and x1 ≥ 4
    assert tree_area(tree([1, -1], [-3, -2], [1, 0, 0]), 4) == pytest.approx(constant_price(4, 4) + JOINT)
    both = Forest(
        np.array([0]), np.array([0, 1, 1]), np.array([8, 4, 12]), np.array([1, -1, -3]), np.array([2, -2, -4]),
        np.eye(2, dtype=np.int64)[[1, 0, 1, 0]], np.zeros(2, dtype=np.int64), np.full(3, -1), np.ones(3, dtype=np.int64),
    )  # fmt: skip
    assert tree_area(both, 4) == pytest.approx(constant_price(4, 4) + constant_price(4, 12) + SELECT)


def test_what_cannot_be_split_is_one_leaf():
    codes = np.zeros((9, 3), dtype=np.int64)
    labels = np.array([0, 1, 1, 1, 0, 1, 2, 1, 1])
    for tree in (
        priced_tree(codes, labels, 3, PricedTree()),
        priced_tree(codes[:1], labels[1:2], 3, PricedTree()),
        priced_tree(some_rows(7)[0], np.ones(60, np.int64), 3, PricedTree(splits="pairs")),
    ):
        assert len(tree.feature) == 0
        assert tree.roots.tolist() == [-1]
        assert (answers_of_trees(tree, codes) == 1).all()
        assert tree_area(tree, 4) == 0


def test_what_is_wrong_is_told_at_once():
    with pytest.raises(OptionError) as error:
        PricedTree(leaves=0, price=-1.0, criterion="gain", least=0)
    for text in (
        "leaves: 0 is not in 1…4096",
        "price: -1 is not in 0…1e+06",
        "choose gini or entropy",
        "least: 0 is not 1",
    ):
        assert text in str(error.value)
    codes, labels = some_rows(8)
    for bad_codes, bad_labels, bits, text in (
        (codes, labels[:-1], 3, "59 of them for 60 rows"),
        (codes[:0], labels[:0], 3, "there are no rows to learn from"),
        (codes, labels + 5, 3, "they are not all whole numbers in 0…2"),
        (codes, labels, 2, "from 0 to 7, not in 0…3"),
        (codes, labels, 9, "trees are learnt on codes of 1…8 bits, these have 9"),
    ):
        with pytest.raises(OptionError, match=text):
            priced_tree(bad_codes, bad_labels, 3, PricedTree(bits=bits))
    wide = np.zeros((4, 2000), dtype=np.int64)
    with pytest.raises(OptionError, match="2000 features of 8 bits make 510000 cuts, 262144 can be held"):
        priced_tree(wide, np.array([0, 1, 0, 1]), 2, PricedTree(bits=8))


def test_many_features_are_paired_only_where_they_tell_something():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 16, (200, 40))
    labels = (codes[:, 31] + codes[:, 37] >= 16).astype(np.int64)
    tree = priced_tree(codes, labels, 2, PricedTree(leaves=2, splits="pairs"))
    assert comparators_of(tree) == [(31, 37, 1, 16)]
    assert (answers_of_trees(tree, codes) == labels).all()


def test_pairs_see_balance():
    codes = np.array(list(itertools.product(range(8), repeat=2)))
    labels = (codes[:, 0] - codes[:, 1] >= 1).astype(np.int64)
    tree = priced_tree(codes, labels, 2, PricedTree(leaves=2, splits="pairs", bits=3))
    assert comparators_of(tree) == [(0, 1, -1, 1)]
    assert (answers_of_trees(tree, codes) == labels).all()
