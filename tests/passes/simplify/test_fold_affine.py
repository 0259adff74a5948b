"""fold-affine: equal over the rationals, near in float, and the same bits on every machine."""

import numpy as np
import pytest

from approxhw.ir.graph import Graph, Node
from approxhw.ir.interpreter import as_fractions, run, run_all
from approxhw.ir.kinds import Affine, ArgMax, Constant, Dense, Input, Relu, Reshape, Type
from approxhw.ir.pass_manager import PassContext, parse_passes, run_passes
from approxhw.ir.random_graphs import random_float_graph, random_graph
from approxhw.ir.text import print_graph
from approxhw.ir.verifier import verify
from approxhw.numerics.formats import FLOAT64
from approxhw.passes.simplify.fold_affine import FoldAffine


def fold(graph):
    result = FoldAffine()(graph, PassContext())
    verify(result)
    return result


def rows_of(graph, seed, exact, count=40):
    rng = np.random.default_rng(seed)
    n, fmt = graph.input.type.elements, graph.input.type.format
    if hasattr(fmt, "high"):
        return rng.integers(0, fmt.high + 1, (count, n))
    rows = rng.integers(-30, 31, (count, n))
    return as_fractions(rows) / 7 if exact else rows / 7


def before_head(graph, rows):
    return run_all(graph, rows)[graph[graph.output].inputs[0]].reshape(len(rows), -1)


def test_equal_over_the_rationals():
    graphs = 0
    for seed in range(120):
        graph = random_float_graph(seed, rational=True)
        after = fold(graph)
        rows = rows_of(graph, seed, exact=True, count=12)
        assert (before_head(graph, rows) == before_head(after, rows)).all(), seed
        assert np.array_equal(run(graph, rows), run(after, rows)), seed
        kinds = [node.kind for node in after.nodes if node.is_float]
        assert "affine" not in kinds
        assert after.input == graph.input
        graphs += 1
    assert graphs == 120


def test_near_in_float():
    for seed in range(120):
        graph = random_float_graph(seed)
        after, rows = fold(graph), rows_of(graph, seed, exact=False)
        a, b = before_head(graph, rows), before_head(after, rows)
        # the folded constants are rounded once; the intermediate values that cancel set the scale
        reach = max(np.abs(value).max() for value in run_all(graph, rows).values())
        assert np.abs(a - b).max() <= 1e-12 * max(1.0, reach) * 100, seed


def test_twice_is_once_and_no_dense_follow_each_other_for_nothing():
    for seed in range(100):
        once = fold(random_float_graph(seed))
        assert fold(once) == once


def test_integer_graphs_are_left_alone():
    graph = random_graph(3)
    assert FoldAffine()(graph, PassContext()) is graph


def float_graph(*steps, n=3):
    """A Graph of (name, op, shape, constants…) steps, each reading the one before, with an ArgMax at its end."""
    names = tuple(f"f{i}" for i in range(n))
    nodes = [Node("x", Input(names, names), (), Type((n,), FLOAT64))]
    last = "x"
    for name, op, shape, *constants in steps:
        parts = []
        for i, data in enumerate(constants):
            array = np.array(data, dtype=np.float64)
            parts.append(f"{name}_{'wb'[i]}")
            nodes.append(Node(parts[-1], Constant(array), (), Type(array.shape, FLOAT64)))
        nodes.append(Node(name, op, (last, *parts), Type(shape, FLOAT64), f"/{name}"))
        last = name
    graph = Graph("g", tuple(nodes), last)
    verify(graph)
    return graph


def kinds(graph):
    return [node.kind for node in graph.nodes if node.kind != "constant"]


W, B = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [0.5, -0.5]


def test_an_affine_before_a_dense_goes_into_it():
    after = fold(float_graph(("a", Affine(), (3,), [2, 3, 4], [1, 0, -1]), ("d", Dense(), (2,), W, B)))
    assert kinds(after) == ["input", "dense"]
    assert after.constant("d_w").tolist() == [[2, 6, 12], [8, 15, 24]]
    assert after.constant("d_b").tolist() == [0.5 + 1 - 3, -0.5 + 4 - 6]
    assert (after["d"].origin, after.output) == ("/d", "d")


def test_an_affine_between_dense_and_relu_goes_back():
    after = fold(float_graph(("d", Dense(), (2,), W, B), ("a", Affine(), (2,), [2, -1], [1, 1]), ("r", Relu(), (2,))))
    assert kinds(after) == ["input", "dense", "relu"]
    assert after.constant("d_w").tolist() == [[2, 4, 6], [-4, -5, -6]]
    assert after.constant("d_b").tolist() == [2, 1.5]


def test_an_affine_behind_relu_goes_into_the_next_dense():
    after = fold(
        float_graph(
            ("d", Dense(), (2,), W, B),
            ("r", Relu(), (2,)),
            ("a", Affine(), (2,), [2, -1], [1, 1]),
            ("e", Dense(), (1,), [[3, 5]], [7]),
        )
    )
    assert kinds(after) == ["input", "dense", "relu", "dense"]
    assert after.constant("e_w").tolist() == [[6, -5]]
    assert after.constant("e_b").tolist() == [7 + 3 + 5]


def test_an_affine_with_no_dense_becomes_a_diagonal():
    after = fold(float_graph(("a", Affine(), (3,), [2, 3, 4], [1, 0, -1]), ("r", Relu(), (3,))))
    assert kinds(after) == ["input", "dense", "relu"]
    assert after.constant("a_weight").tolist() == [[2, 0, 0], [0, 3, 0], [0, 0, 4]]
    assert after.constant("a_bias").tolist() == [1, 0, -1]


def test_dense_merge_only_where_that_takes_no_more_weights():
    wide, narrow = np.ones((8, 3)), np.ones((2, 8))
    after = fold(float_graph(("d", Dense(), (8,), wide, np.ones(8)), ("e", Dense(), (2,), narrow, np.ones(2))))
    assert kinds(after) == ["input", "dense"]
    assert after.constant("e_w").tolist() == [[8.0] * 3] * 2
    assert after.constant("e_b").tolist() == [9.0] * 2
    after = fold(
        float_graph(
            ("d", Dense(), (1,), np.ones((1, 9)), np.ones(1)), ("e", Dense(), (9,), np.ones((9, 1)), np.ones(9)), n=9
        )
    )
    assert kinds(after) == ["input", "dense", "dense"]


def test_reshapes_go():
    steps = (
        ("s", Reshape(), (3, 1)),
        ("a", Affine(), (3, 1), [[2], [3], [4]], [[0], [0], [1]]),
        ("r", Relu(), (3, 1)),
        ("t", Reshape(), (3,)),
        ("d", Dense(), (2,), W, B),
    )
    after = fold(float_graph(*steps))
    assert kinds(after) == ["input", "dense", "relu", "dense"]


def test_a_value_that_two_read_is_kept_for_both():
    graph = float_graph(("d", Dense(), (2,), W, B), ("r", Relu(), (2,)), ("e", Dense(), (2,), np.eye(2), [1, 2]))
    # a second reader of d, through its own affine, is the output
    s = Node("s", Constant(np.array([3.0, 4.0])), (), Type((2,), FLOAT64))
    extra = Node("a", Affine(), ("d", "s", "s"), Type((2,), FLOAT64))
    arg = Node("c", ArgMax(), ("a",), Type((), random_graph(0)["class_index"].type.format))
    assert arg.kind == "argmax"
    branched = Graph("g", (*graph.nodes, s, extra), "a")
    rows = np.array([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0]])
    assert np.allclose(run(fold(branched), rows), run(branched, rows))


def test_sums_are_rounded_once():
    # 1e16 + 1 − 1e16 is 1 exactly, and 0 or 2 in any order of float additions of pairs
    after = fold(
        float_graph(("a", Affine(), (3,), [1, 1, 1], [1e16, 1.0, -1e16]), ("d", Dense(), (1,), [[1, 1, 1]], [0]))
    )
    assert after.constant("d_b").tolist() == [1.0]


@pytest.mark.parametrize("seed", range(5))
def test_the_text_of_the_result_is_stable(seed):
    graph = random_float_graph(seed)
    assert print_graph(fold(graph)) == print_graph(fold(graph))
    assert print_graph(run_passes(graph, parse_passes("fold-affine"))[0]) == print_graph(fold(graph))
