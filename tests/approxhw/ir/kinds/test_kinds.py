"""The registry of kinds, and what it promises: every kind says what it needs to, and activations keep their word."""

import ast
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import approxhw.ir.kinds as package
from approxhw.ir.graph import KINDS, Graph, Node, kind_of, ranges
from approxhw.ir.interpreter import activated, run, run_all
from approxhw.ir.kinds import (
    Clip,
    Constant,
    Dense,
    HardSwish,
    Input,
    LeakyRelu,
    Lookup,
    PRelu,
    Relu,
    Requantize,
    ThresholdedRelu,
    Type,
)
from approxhw.ir.random_graphs import random_float_graph, random_graph
from approxhw.ir.text import parse_graph, print_graph
from approxhw.ir.verifier import problems
from approxhw.numerics.formats import FLOAT64, Encoding, Fixed, Rational

ACTIVATIONS = [kind for kind in KINDS.values() if kind.activation]


def test_there_are_these_kinds():
    groups = (
        "input constant",
        "dense affine",
        "relu leakyrelu prelu clip thresholdedrelu hardswish requantize lookup",
        "argmax threshold binarize",
        "reshape concat add encode decode",
        "forest",
        "gates",
        "feed matmul gemm conv convtranspose transpose host part",
        "quantizelinear dequantizelinear matmulinteger convinteger rescale",
    )
    assert list(KINDS) == [keyword for group in groups for keyword in group.split()]
    assert [kind.op for kind in ACTIVATIONS] == [
        Relu,
        LeakyRelu,
        PRelu,
        Clip,
        ThresholdedRelu,
        HardSwish,
        Requantize,
        Lookup,
    ]
    assert kind_of(Relu()) is KINDS["relu"]
    with pytest.raises(TypeError, match="str is no kind of Node"):
        kind_of("relu")


def test_kinds_know_numbers_and_nothing_of_graphs():
    found = 0
    for path in Path(package.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                below = (node.module or "").startswith(("approxhw.numerics.", "approxhw.common.", "approxhw.ir.kinds"))
                legal = node.level == 1 or below or not node.module.startswith("approxhw.")
                assert legal, (path.name, node.module)
                found += 1
    assert found > 30


def test_random_graphs_hold_every_kind():
    graphs = [*map(random_graph, range(150)), *map(random_float_graph, range(60))]
    assert {node.kind for graph in graphs for node in graph.nodes} == {
        name
        for name, kind in KINDS.items()
        if not kind.tensor and name != "binarize"  # they all name a class
    }


@pytest.mark.parametrize("kind", ACTIVATIONS, ids=lambda kind: kind.keyword)
def test_an_activation_means_the_same_in_every_number_type(kind):
    rng = np.random.default_rng(5)
    for _ in range(60):
        op, _ = kind.sample(rng, 4)
        codes = rng.integers(-900, 900, (50, 4))
        wanted = activated(op, codes.astype(object))
        assert np.array_equal(activated(op, codes), wanted), op
        assert np.array_equal(activated(op, codes.astype(np.float64)), wanted.astype(np.float64)), op
        alone = [activated(kind.some(op, np.array([i])), codes[:, i : i + 1]) for i in range(4)]
        assert np.array_equal(np.hstack(alone), wanted), "an op for one element"
        assert max(map(abs, wanted.flat)) <= kind.widest(op, 900)


@pytest.mark.parametrize("kind", ACTIVATIONS, ids=lambda kind: kind.keyword)
def test_the_range_of_an_activation_is_that_of_all_its_values(kind):
    rng = np.random.default_rng(6)
    for _ in range(30):
        op, _ = kind.sample(rng, 1)
        graph = one_value(op)
        values = run(graph, np.arange(-64, 64)[:, None] if graph.input.type.format.signed else np.arange(64)[:, None])
        low, high = ranges(graph)["y"]
        assert (low[0], high[0]) == (values.min(), values.max()), op


def one_value(op):
    """x − 31 for a 6-bit x, then *op*."""
    encoding = Encoding(6, "round", (0.0,), (1.0,))
    from approxhw.numerics.mac.arithmetic import Exact

    nodes = (
        Node("x", Input(("a",), ("a",), encoding), (), Type((1,), Fixed(6))),
        Node("w", Constant(np.array([[1]])), (), Type((1, 1), Fixed(2, True))),
        Node("b", Constant(np.array([-31])), (), Type((1,), Fixed(6, True))),
        Node("s", Dense(Exact(2)), ("x", "w", "b"), Type((1,), Fixed(7, True))),
        Node("y", op, ("s",), Type((1,), Fixed(40, True))),
    )
    return Graph("one", nodes, "y")


# LeakyRelu -------------------------------------------------------------------------------------------------------------


def test_a_leak_is_rounded_down():
    values = run(one_value(LeakyRelu(Fraction(3, 8))), np.arange(64)[:, None])[:, 0].tolist()
    assert values == [x if x >= 0 else (3 * x) // 8 for x in range(-31, 33)]
    assert values[30] == -1  # of −1, an eighth is −1 too


def test_a_leak_beyond_int64_never_wraps():
    op = LeakyRelu(Fraction((1 << 70) + 1, 1 << 72))
    graph = one_value(op)
    assert run(graph, np.arange(3)[:, None])[:, 0].tolist() == [-31 * ((1 << 70) + 1) >> 72, -8, -8]


def test_a_leak_of_real_values_is_a_product():
    for fmt, number in ((FLOAT64, float), (Rational(), Fraction)):
        kind = Type((2,), fmt)
        nodes = (Node("x", Input(("a", "b"), ("a", "b")), (), kind), Node("y", LeakyRelu(Fraction(1, 3)), ("x",), kind))
        graph = Graph("reals", nodes, "y")
        assert problems(graph) == []
        rows = np.array([[number(-6), number(5)]], dtype=float if number is float else object)
        assert run_all(graph, rows)["y"].tolist() == [[number(-6) * number(Fraction(1, 3)), number(5)]]


def test_a_leak_prints_as_a_fraction_and_reads_numbers_too():
    text = print_graph(one_value(LeakyRelu(Fraction(3, 8))))
    assert 'y : s40[1] = leakyrelu(s) {"alpha":"3/8"}\n' in text
    for spelled in ('"3/8"', "0.375"):
        assert parse_graph(text.replace('"3/8"', spelled))["y"].op == LeakyRelu(Fraction(3, 8))


@pytest.mark.parametrize(
    ("op", "why"),
    [
        (LeakyRelu(Fraction(-1, 8)), "y: [attributes] alpha -1/8 is no fraction of at least 0 and at most 4096 bits"),
        (LeakyRelu(0.125), "y: [attributes] alpha 0.125 is no fraction"),
        (LeakyRelu(Fraction(1, 1 << 4097)), "is no fraction of at least 0"),
        (LeakyRelu(Fraction(1, 3)), "y: [attributes] alpha 1/3 of codes is no multiple of a power of two"),
    ],
)
def test_an_alpha_that_has_no_meaning_is_refused(op, why):
    assert any(why in str(problem) for problem in problems(one_value(op)))


def test_a_leak_of_a_zero_point_is_refused():
    graph = one_value(Requantize((1,), 0, (0,), 0, 15))
    middle, wanted = Fixed(4, zero=3), "z: [formats] it reads codes of zero point 3, only 0 is allowed there"
    nodes = (*graph.nodes[:-1], Node("y", graph["y"].op, ("s",), Type((1,), middle)))
    leak = Node("z", LeakyRelu(Fraction(1, 2)), ("y",), Type((1,), middle))
    assert wanted in map(str, problems(Graph("g", (*nodes, leak), "z")))
