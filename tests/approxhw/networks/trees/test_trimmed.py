"""Trees as gates, and gates that rows do not need: the same answers before, few rows lost after, one way for every loss."""

from __future__ import annotations

import numpy as np
import pytest

from approxhw.common.errors import UnsupportedModelError
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import ArgMax, Forest, Input, Type
from approxhw.networks.families.table import FamilyRecipe, family_recipes, fit_recipes, learnt_graph
from approxhw.networks.trees.families import TreeFitting
from approxhw.networks.trees.gates.tree_gates import priced_gates, tree_gates
from approxhw.networks.trees.gates.trimmed import ASIDE, COPIES, LOSSES, NOISE, trimmed_tree
from approxhw.networks.trees.priced import PricedTree, priced_trees
from approxhw.networks.trees.tree import answers_of_trees
from approxhw.numerics.formats import Encoding, Fixed
from approxhw.numerics.logic.gates import gate_faults, run_gates
from approxhw.numerics.logic.removal import care_rows, remove_gates, removed_along


def noisy_rows(seed: int, classes: int, bits: int = 4, rows: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 1 << bits, (rows, 5))
    score = codes[:, 0] + codes[:, 1] // 2 + rng.integers(0, 1 << bits - 1, rows)
    return codes, score * classes // (score.max() + 1)


def tree_of(codes: np.ndarray, labels: np.ndarray, classes: int, leaves: int, bits: int = 4) -> Forest:
    options = PricedTree(price=0.0005, bits=bits, polish=False)
    return priced_trees(codes, labels, classes, options, [leaves], 0)[0]


def test_gates_answer_as_their_tree_on_every_code():
    compared = 0
    for bits, classes, leaves in ((1, 2, 3), (2, 3, 6), (4, 2, 1), (4, 5, 17), (4, 7, 60), (6, 4, 24)):
        codes, labels = noisy_rows(bits, classes, bits)
        tree = tree_of(codes, labels, classes, leaves, bits)
        width = max(1, (classes - 1).bit_length())
        mapped = tree_gates(tree, 5, bits, width)
        assert gate_faults(mapped.gates) == []
        seen = np.random.default_rng(leaves).integers(0, 1 << bits, (2000, 5))
        answers = run_gates(mapped.gates, seen, bits, width).reshape(-1)
        assert answers.tolist() == answers_of_trees(tree, seen).tolist()
        compared += len(seen)
    assert compared == 6 * 2000


def test_thresholds_beyond_all_codes_are_constants_and_equal_comparators_are_one():
    tree = Forest(
        [0], [0, 1, 1], [16, 6, 6], [~0, ~1, ~2], [1, 2, ~0], np.eye(3, dtype=np.int64), np.zeros(3, np.int64)
    )
    mapped = tree_gates(tree, 2, 4, 2)
    codes = np.stack(np.meshgrid(np.arange(16), np.arange(16)), axis=-1).reshape(-1, 2)
    assert run_gates(mapped.gates, codes, 4, 2).reshape(-1).tolist() == answers_of_trees(tree, codes).tolist()
    assert len(mapped.gates.functions) == 2, "x ≥ 6 takes two gates, and is its own class"


def test_trees_that_gates_cannot_be_made_of_are_refused():
    two = Forest([0, 1], [0, 0], [3, 5], [~0, ~0], [~1, ~1], np.eye(2, dtype=np.int64), np.zeros(2, np.int64))
    with pytest.raises(ValueError, match="one tree whose tests look at one code each"):
        tree_gates(two, 1, 4, 1)
    with pytest.raises(ValueError, match=r"losses \[0.3\] are none of"):
        trimmed_tree(np.zeros((9, 1), int), np.zeros(9, int), 2, 4, two, [0.3])


def test_more_loss_leaves_less_and_rows_set_aside_lose_no_more_than_it_allows():
    compared = 0
    for seed in range(4):
        codes, labels = noisy_rows(seed, 3)
        tree = tree_of(codes, labels, 3, 40)
        made = trimmed_tree(codes, labels, 3, 4, tree, LOSSES, seed)
        areas = [each.area() for each in made]
        assert areas == sorted(areas, reverse=True)
        assert areas[-1] < areas[0]
        given = np.random.default_rng([seed, 13])
        rows = care_rows(codes, labels, aside=ASIDE, copies=COPIES, noise=NOISE, high=15, most=10_000, rng=given)
        before = int((answers_of_trees(tree, rows.aside_codes) != rows.aside_labels).sum())
        for loss, each in zip(LOSSES, made, strict=True):
            wrong = int((each.answers(rows.aside_codes) != rows.aside_labels).sum())
            assert wrong <= before + loss * len(rows.aside_codes)
            compared += len(rows.aside_codes)
    assert compared > 4 * len(LOSSES) * 100


def test_what_a_loss_leaves_is_the_same_whoever_asks():
    codes, labels = noisy_rows(7, 4)
    recipes = [recipe for recipe in family_recipes(("gates",), 24) if recipe.price == 0.003]
    together = dict(zip(recipes, fit_recipes(codes, labels, recipes, TreeFitting(4, starts=2), 3), strict=True))
    for recipe in recipes[::7]:
        sizes = [each for each in recipes if each.size == recipe.size]
        for among in ([recipe], sizes):
            made = fit_recipes(codes, labels, among, TreeFitting(4, starts=2), 3)[among.index(recipe)]
            assert made.made.gates == together[recipe].made.gates
    assert len({recipe.loss for recipe in recipes[::7]}) > 2
    assert len({recipe.path for recipe in recipes}) == len(LOSSES)
    assert len({recipe.growth for recipe in recipes}) == 1


def test_one_loss_alone_is_what_removal_was():
    codes, labels = noisy_rows(5, 3)
    start = tree_gates(tree_of(codes, labels, 3, 30), 5, 4, 2)

    def rows():
        generator = np.random.default_rng(3)
        return care_rows(codes, labels, aside=0.3, copies=2, noise=0.2, high=15, most=9999, rng=generator), generator

    care, generator = rows()
    alone = remove_gates(start, care, 4, priced_gates, max_loss=0.03, candidates=4, rng=generator)
    care, generator = rows()
    along = removed_along(start, care, 4, priced_gates, losses=(0.03,), candidates=4, rng=generator)
    assert [each.mapped.gates for each in along] == [alone.mapped.gates]
    assert alone.mapped.area_mm2 < start.area_mm2
    assert alone.lost <= 0.03 * len(care.codes)


def test_nothing_goes_where_no_row_can_be_set_aside():
    codes, labels = np.tile([[3, 9]], (30, 1)), np.ones(30, dtype=np.int64)
    tree = Forest([0], [0], [5], [~0], [~1], np.eye(2, dtype=np.int64), np.zeros(2, np.int64))
    made = trimmed_tree(codes, labels, 2, 4, tree, (0.02,))[0]
    assert made.gates == tree_gates(tree, 2, 4, 1).gates
    assert made.read.tolist() == [0]


def test_gates_of_codes_have_no_thermometer():
    names = ("a", "b", "c", "d", "e")
    x = Node("x", Input(names, names, Encoding(4, "round", (0.0,) * 5, (1.0,) * 5)), (), Type((5,), Fixed(4)))
    graph = Graph("net", (x, Node("y", ArgMax(), ("x",), Type((), Fixed(2)))), "y")
    codes, labels = noisy_rows(1, 3)
    made = fit_recipes(codes, labels, [FamilyRecipe("gates", 0.003, 6, loss=0.01)], TreeFitting(3))[0].made
    with pytest.raises(
        UnsupportedModelError, match="its gates look at bits of codes, and a bit is no threshold"
    ) as caught:
        learnt_graph(graph, made, thermometer=True)
    assert "take trees of single inputs" in str(caught.value)
