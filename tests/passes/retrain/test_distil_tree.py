"""distil-tree: the Graph it makes means the tree that it learnt, from labels or from the model, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from approxhw.common.data.dataset import Dataset
from approxhw.common.errors import OptionError, PassError
from approxhw.ir.evaluation import accuracy, codes_of, predict
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import ArgMax, Constant, Dense, Forest, Input, Type
from approxhw.ir.pass_manager import PassContext, parse_passes, run_passes
from approxhw.ir.text import parse_graph, print_graph
from approxhw.ir.verifier import verify
from approxhw.networks.trees.priced import PricedTree, priced_tree
from approxhw.networks.trees.tree import answers_of_trees
from approxhw.numerics.formats import FLOAT64, Fixed
from approxhw.passes.retrain.distil_tree import DistilTree


def linear(classes: int = 3, features: int = 4) -> Graph:
    """Return a float classifier: class c where element c is the greatest."""
    names = tuple(f"f{i}" for i in range(features))
    weights, bias = np.eye(classes, features), np.zeros(classes)
    made = Type((classes,), FLOAT64)
    nodes = (
        Node("x", Input(names, names), (), Type((features,), FLOAT64)),
        Node("w", Constant(weights), (), Type(weights.shape, FLOAT64)),
        Node("b", Constant(bias), (), made),
        Node("s", Dense(), ("x", "w", "b"), made),
        Node("c", ArgMax(), ("s",), Type((), Fixed(max(1, (classes - 1).bit_length())))),
    )
    graph = Graph("g", nodes, "c")
    verify(graph)
    return graph


def some_data(seed: int = 0, rows: int = 300) -> Dataset:
    rng = np.random.default_rng(seed)
    readings = rng.uniform(0, 1, (rows, 4))
    labels = readings[:, :3].argmax(axis=1)
    half = rows // 2
    return Dataset(readings[:half], labels[:half], readings[half:], labels[half:])


@pytest.mark.parametrize("splits", ["single", "pairs"])
def test_the_graph_is_the_tree(splits):
    data, graph = some_data(), linear()
    options = f"distil-tree{{leaves=12,splits={splits},price=0.002,bits=3}}"
    made, records = run_passes(graph, parse_passes(options), PassContext(data))
    verify(made)
    assert [type(node.op) for node in made.nodes] == [Input, Forest, ArgMax]
    assert made.is_integer
    assert made.input.type.format == Fixed(3)
    codes = codes_of(made, data.X_train)
    tree = priced_tree(
        codes,
        data.y_train,
        3,
        PricedTree(leaves=12, splits=splits, price=0.002, bits=3, exchange=0.3, starts=8),
        seed=1,
    )
    compared = 0
    for rows in (data.X_train, data.X_test):
        assert predict(made, rows).tolist() == answers_of_trees(tree, codes_of(made, rows)).tolist()
        compared += len(rows)
    assert compared == 300
    assert "leaves" in records[-1].notes[-1]
    assert accuracy(made, data.X_test, data.y_test) > (0.8 if splits == "pairs" else 0.75)
    assert parse_graph(print_graph(made)) == made


def test_the_model_teaches_what_labels_do_not():
    data, graph = some_data(), linear()
    wrong = replace(data, y_train=np.random.default_rng(1).integers(0, 3, len(data.y_train)))
    by_model, _ = run_passes(graph, [DistilTree(teacher="model", splits="pairs", leaves=12)], PassContext(wrong))
    by_labels, _ = run_passes(graph, [DistilTree(splits="pairs", leaves=12)], PassContext(wrong))
    assert accuracy(by_model, data.X_test, data.y_test) > 0.85
    assert accuracy(by_labels, data.X_test, data.y_test) < 0.6


def test_integer_inputs_stay_as_they_are():
    data = some_data()
    coded, _ = run_passes(linear(), parse_passes("quantize-inputs{bits=5}"), PassContext(data))
    made, _ = run_passes(coded, [DistilTree()], PassContext(data))
    assert made.input == coded.input
    again, _ = run_passes(made, [DistilTree(teacher="model", leaves=4, noise=0.0)], PassContext(data))
    assert again.nodes[1].op.leaves.shape == (4, 3)
    same, _ = run_passes(coded, [DistilTree()], PassContext(data))
    assert print_graph(same) == print_graph(made)


def test_what_is_wrong_is_told():
    data, graph = some_data(), linear()
    with pytest.raises(OptionError) as error:
        DistilTree(leaves=0, splits="three", teacher="nobody", copies=0, bits=9, noise=2.0)
    for text in (
        "distil-tree.leaves: 0 is not in 1…4096", "choose single or pairs", "distil-tree.teacher: there is no 'nobody'",
        "distil-tree.copies: 0 is not in 1…64", "distil-tree.bits: 9 is not in 1…8", "distil-tree.noise: 2 is not in 0…1",
    ):  # fmt: skip
        assert text in str(error.value)
    with pytest.raises(PassError, match="it learns from training rows and their classes, and there are none"):
        DistilTree()(graph, PassContext())
    with pytest.raises(PassError) as error:
        DistilTree()(graph, PassContext(replace(data, X_train=data.X_train[:, :3], y_train=data.y_train + 1)))
    assert "the model reads 4 features, the data has 3" in str(error.value)
    assert "labels 1…3, the model names classes 0…2" in str(error.value)
    values = replace(graph, nodes=graph.nodes[:-1], output="s")
    with pytest.raises(PassError, match="it names no class a row, and a tree names one"):
        DistilTree()(values, PassContext(data))
