"""Thresholds as inputs: readings get the same answers, each threshold is an input once, and what has no thresholds is told."""

from __future__ import annotations

import numpy as np
import pytest

from approxhw.common.errors import UnsupportedModelError
from approxhw.ir.evaluation import codes_of
from approxhw.ir.graph import Graph, Node
from approxhw.ir.interpreter import run
from approxhw.ir.kinds import ArgMax, Input, Type
from approxhw.ir.verifier import verify
from approxhw.networks.families.graphs import forest_graph
from approxhw.networks.families.thermometer import least_reading, with_thermometer
from approxhw.networks.trees.priced import PricedTree, priced_tree
from approxhw.networks.trees.tree import comparators_of
from approxhw.numerics.formats import Encoding, Fixed

LOW, HIGH = (-1.5, 0.0, 0.1), (2.0, 0.9, 700.0)


def coded_graph(rule: str) -> Graph:
    names = ("a", "b", "c")
    x = Node("x", Input(names, names, Encoding(4, rule, LOW, HIGH)), (), Type((3,), Fixed(4)))
    return Graph("net", (x, Node("y", ArgMax(), ("x",), Type((), Fixed(2)))), "y")


@pytest.mark.parametrize("rule", ["round", "floor16"])
def test_thresholds_are_the_least_readings(rule):
    encoding = Encoding(4, rule, LOW, HIGH)
    compared = 0
    for feature in range(3):
        for threshold in range(1, 16):
            least = least_reading(encoding, feature, threshold)
            below = np.nextafter(least, np.float32(-np.inf))
            rows = np.zeros((2, 3))
            rows[:, feature] = below, least
            codes = encoding.encode(rows)[0][:, feature]
            assert codes[0] < threshold <= codes[1]
            compared += 1
    assert compared == 45


def test_readings_get_the_same_answers():
    graph = coded_graph("round")
    rng = np.random.default_rng(3)
    readings = rng.uniform(LOW, HIGH, (400, 3)).astype(np.float32)
    codes = codes_of(graph, readings)
    labels = (codes[:, 0] + codes[:, 1] > 14) + (codes[:, 2] > 9).astype(np.int64)
    trees = priced_tree(codes, labels, 4, PricedTree(leaves=12))
    made = forest_graph(*with_thermometer(graph, trees))
    verify(made)
    assert made.input.type.elements == len(comparators_of(trees))
    edges = np.array([least_reading(graph.input.op.encoding, f, t) for f, _, _, t in comparators_of(trees)])
    hard = np.repeat(readings[:1], 2 * len(edges), axis=0)
    for place, (feature, _, _, _) in enumerate(comparators_of(trees)):
        hard[2 * place, feature], hard[2 * place + 1, feature] = (
            edges[place],
            np.nextafter(edges[place], np.float32(-1e9)),
        )
    rows = np.concatenate([readings, hard])
    wanted = run(forest_graph(graph, trees), codes_of(graph, rows)).reshape(-1)
    assert run(made, codes_of(made, rows)).reshape(-1).tolist() == wanted.tolist()
    assert len(rows) > 400
    assert len(set(wanted.tolist())) > 1


def test_a_tree_of_one_leaf_keeps_an_input():
    trees = priced_tree(np.zeros((5, 3), dtype=np.int64), np.zeros(5, dtype=np.int64), 4, PricedTree())
    made = forest_graph(*with_thermometer(coded_graph("round"), trees))
    verify(made)
    assert run(made, codes_of(made, np.zeros((4, 3)))).reshape(-1).tolist() == [0] * 4


def test_pairs_have_no_thresholds_of_their_own():
    rng = np.random.default_rng(4)
    codes = rng.integers(0, 16, (300, 3))
    trees = priced_tree(codes, (codes[:, 0] > codes[:, 1]).astype(np.int64), 4, PricedTree(splits="pairs"))
    with pytest.raises(UnsupportedModelError, match="compare sums or differences of two inputs"):
        with_thermometer(coded_graph("round"), trees)
