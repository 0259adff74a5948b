"""The kind Forest: its meaning equals a plain-Python walk, ranges hold what is reached, and every broken rule is named."""

from dataclasses import replace

import numpy as np
import pytest

from approxhw.ir.graph import Graph, Node, ranges
from approxhw.ir.interpreter import run
from approxhw.ir.kinds import Forest, Input, Type, forest_depth, leaves_reached
from approxhw.ir.kinds.forest import BRANCHES, MOST_DEPTH, MOST_NODES, real_sums
from approxhw.ir.random_forests import random_forest
from approxhw.ir.text import parse_graph, print_graph
from approxhw.ir.verifier import problems
from approxhw.numerics.formats import FLOAT64, Encoding, Fixed, Rational

COMPARE = {
    "leq": lambda x, t: x <= t,
    "lt": lambda x, t: x < t,
    "gte": lambda x, t: x >= t,
    "gt": lambda x, t: x > t,
    "eq": lambda x, t: x == t,
    "neq": lambda x, t: x != t,
}


def walked(op, row):
    """Return the sums of one row, written down as docs/ir.md says it."""
    row = [float(np.float32(v)) if isinstance(v, float) else v for v in row]
    sums = op.base.tolist()
    for at in op.roots.tolist():
        while at >= 0:
            value = row[op.feature[at]]
            if op.other[at] >= 0:
                value += int(op.sign[at]) * row[op.other[at]]
            holds = COMPARE[op.mode[at]](value, op.threshold[at].item())
            holds = holds or (value != value and bool(op.missing[at]))
            at = int(op.high[at] if holds else op.low[at])
        sums = [total + leaf for total, leaf in zip(sums, op.leaves[~at].tolist())]
    return sums


def graph_of(op, bits=4, elements=3, fmt=None):
    names = tuple(f"f{i}" for i in range(elements))
    encoding = Encoding(bits, "round", (0.0,) * elements, (1.0,) * elements)
    real = fmt is not None and not isinstance(fmt, Fixed)
    x = Node("x", Input(names, names, None if real else encoding), (), Type((elements,), fmt if real else Fixed(bits)))
    y = Node("y", op, ("x",), Type((op.classes,), fmt or Fixed(80, True)))
    return Graph("trees", (x, y), "y")


def test_codes_mean_what_a_walk_finds():
    checked = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        op = random_forest(rng, np.zeros(3), np.full(3, 15), int(rng.integers(1, 5)))
        graph = graph_of(op)
        assert problems(graph) == []
        rows = rng.integers(0, 16, (40, 3))
        assert run(graph, rows).tolist() == [walked(op, row) for row in rows.tolist()]
        checked += len(rows)
    assert checked == 2400


def test_reals_mean_what_a_walk_finds_in_every_mode():
    modes, missing = set(), 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        op = random_forest(rng, np.full(3, -4), np.full(3, 4), 2, real=True)
        assert problems(graph_of(op, fmt=FLOAT64)) == []
        rows = rng.integers(-9, 10, (60, 3)) / 2 + rng.choice([0, 1e-9, 0.1], (60, 3))
        rows[rng.random(rows.shape) < 0.1] = np.nan  # the interpreter refuses them, the op does not
        found = real_sums(op, leaves_reached(op, rows))
        assert np.allclose(found, [walked(op, row) for row in rows.tolist()], atol=1e-5)
        modes |= set(op.mode)
        missing += int(op.missing.sum())
    assert modes == set(BRANCHES)
    assert missing > 20


def test_real_sums_are_those_of_float32():
    op = Forest([-1, -2, -3, -4, -5], [], [], [], [], [[0.1]] * 5, [0.25])
    total = np.float32(0)
    for _ in range(5):
        total += np.float32(0.1)
    assert run(graph_of(op, fmt=FLOAT64), np.zeros((1, 3))).item() == float(total + np.float32(0.25))


def test_sums_beyond_int64_never_wrap():
    big = 1 << 70
    op = Forest([0], [0], [3], [-1], [-2], [[big], [-big]], [1])
    graph = graph_of(op, elements=1)
    assert run(graph, np.array([[2], [3]])).tolist() == [[1 - big], [1 + big]]
    assert parse_graph(print_graph(graph)) == graph


def test_a_range_is_reached_where_there_is_one_tree_of_single_tests():
    checked = 0
    every = np.stack(np.meshgrid(*[np.arange(8)] * 3), axis=-1).reshape(-1, 3)
    for seed in range(80):
        op = random_forest(np.random.default_rng(seed), np.zeros(3), np.full(3, 7), 2)
        graph = graph_of(op, bits=3)
        low, high = ranges(graph)["y"]
        values = run(graph, every)
        assert (values >= low).all()
        assert (values <= high).all()
        if len(op.roots) == 1 and (op.other < 0).all():
            assert (low.tolist(), high.tolist()) == (values.min(axis=0).tolist(), values.max(axis=0).tolist())
            checked += 1
    assert checked > 5


def test_what_a_test_above_rules_out_is_no_part_of_the_range():
    op = Forest([0], [0, 0], [4, 6], [-1, -2], [1, -3], [[1], [100], [2]], [0])  # below 4 nothing is 6 or more
    low, high = ranges(graph_of(op, elements=1))["y"]
    assert (low.tolist(), high.tolist()) == ([1], [2])


def test_a_tree_that_is_a_leaf_alone_has_no_node():
    op = Forest([-1, -2], [], [], [], [], [[1, 2], [10, 20]], [0, 0])
    graph = graph_of(op)
    assert problems(graph) == []
    assert parse_graph(print_graph(graph)) == graph
    assert run(graph, np.zeros((2, 3), dtype=int)).tolist() == [[11, 22]] * 2


def test_text_comes_back_equal_and_leaves_out_what_is_usual():
    op = Forest([0], [1], [0.1], [-1], [-2], [[0.5, 0.25], [1.0, 0.0]], [0.0, 0.0])
    assert problems(graph_of(op, fmt=FLOAT64)) != []  # 0.1 is no float32
    op = replace(op, threshold=np.array([0.1], np.float32).astype(float))
    graph = graph_of(op, fmt=FLOAT64)
    assert problems(graph) == []
    line = next(line for line in print_graph(graph).splitlines() if line.startswith("y"))
    assert line == (
        'y : float<11,52>[2] = forest(x) {"roots":[0],"feature":[1],"threshold":[0.10000000149011612],"high":[-1],'
        '"low":[-2],"leaves":[[0.5,0.25],[1.0,0.0]],"base":[0.0,0.0]}'
    )
    assert parse_graph(print_graph(graph)) == graph
    for seed in range(40):
        op = random_forest(np.random.default_rng(seed), np.zeros(3), np.full(3, 5), 2, real=seed % 2 == 0)
        graph = graph_of(op, fmt=FLOAT64 if seed % 2 == 0 else None)
        assert parse_graph(print_graph(graph)) == graph
        assert graph["y"].op != replace(op, base=op.base + 1)
    words = replace(op, mode="leq")
    assert words.mode == ("leq",) * len(op.feature)


def chain(count):
    """Return a tree whose every node has a leaf on one side."""
    leaves = np.arange(count + 1)[:, None]
    low = np.append(np.arange(1, count), ~count)
    return Forest([0], np.zeros(count, int), np.arange(count) % 15, ~np.arange(count), low, leaves, [0])


GOOD = Forest([0], [1, 0], [3, 5], [1, -1], [-3, -2], [[1], [2], [3]], [0])
HALF = Forest([0], [1, 0], [3.0, 5.0], [1, -1], [-3, -2], [[1.0], [2.0], [3.0]], [0.0])
BROKEN = [
    (replace(GOOD, leaves=[1, 2, 3]), "attributes", "leaves a row of sums each"),
    (replace(GOOD, roots=[]), "attributes", "it has no tree"),
    (replace(GOOD, base=[0, 0]), "attributes", "base one number a sum"),
    (replace(GOOD, threshold=[3]), "attributes", "threshold has 1 values for 2 nodes"),
    (replace(GOOD, feature=[0.5, 1]), "attributes", "feature hold something else than integers"),
    (replace(GOOD, threshold=[0.5, 1]), "attributes", "threshold of a Forest of codes holds something else than codes"),
    (
        replace(GOOD, leaves=[[0.5], [1], [2]]),
        "attributes",
        "leaves of a Forest of codes holds something else than int",
    ),
    (replace(GOOD, mode=("leq", "gte")), "attributes", "on codes every test is x ≥ threshold"),
    (replace(GOOD, feature=[-1, 0]), "attributes", "node 0 looks at element -1"),
    (replace(GOOD, other=[-2, -1]), "attributes", "the second element of a test is at least 0"),
    (replace(GOOD, sign=[2, 1]), "attributes", "sign is +1 or −1"),
    (replace(GOOD, high=[2, -1]), "attributes", "high 0 leads to node 2, which does not exist"),
    (replace(GOOD, low=[-4, -2]), "attributes", "low 0 leads to leaf 3, which does not exist"),
    (replace(GOOD, high=[1, 0]), "attributes", "high of node 1 leads to node 0: children stand behind their parents"),
    (replace(GOOD, high=[1, -2]), "attributes", "leaf 0 is reached from 0 places, not from one"),
    (replace(GOOD, roots=[0, 1]), "attributes", "node 1 is reached from 2 places, not from one"),
    (replace(GOOD, feature=[3, 0]), "shapes", "it looks at element 3 of 3"),
    (replace(GOOD, other=[4, -1]), "shapes", "it looks at element 4 of 3"),
    (chain(MOST_DEPTH + 1), "attributes", f"a tree is deeper than {MOST_DEPTH} tests"),
    (chain(MOST_NODES + 1), "attributes", f"{MOST_NODES + 1} nodes; a Forest has at most {MOST_NODES}"),
]


@pytest.mark.parametrize(("op", "rule", "why"), BROKEN, ids=range(len(BROKEN)))
def test_what_is_no_forest_is_refused(op, rule, why):
    found = [str(problem) for problem in problems(graph_of(op))]
    assert any(line.startswith(f"y: [{rule}] ") and why in line for line in found), found


@pytest.mark.parametrize(
    ("op", "fmt", "why"),
    [
        (
            replace(HALF, threshold=[np.nan, 1.0]),
            FLOAT64,
            "threshold of a Forest of reals holds something else than fin",
        ),
        (replace(HALF, threshold=[0.1, 1.0]), FLOAT64, "threshold np.float64(0.1) is no number that float32 holds"),
        (replace(HALF, mode=("leq", "equal")), FLOAT64, "there is no mode equal; there are leq, lt"),
        (replace(HALF, leaves=[[np.inf], [0.0], [0.0]]), FLOAT64, "leaves of a Forest of reals holds something else"),
        (replace(HALF, feature=[7, 0]), FLOAT64, "it looks at element 7 of 3"),
        (HALF, Rational(), "a Forest of reals makes float<11,52>, not rational"),
    ],
)
def test_what_is_no_forest_of_reals_is_refused(op, fmt, why):
    assert any(why in str(problem) for problem in problems(graph_of(op, fmt=fmt)))


def test_a_deep_tree_is_followed_without_recursion():
    op = chain(MOST_DEPTH)
    assert forest_depth(op) == MOST_DEPTH
    graph = graph_of(op)
    assert problems(graph) == []
    rows = np.array([[0, 0, 0], [15, 0, 0]])
    assert run(graph, rows).tolist() == [walked(op, row) for row in rows.tolist()]


def test_a_range_that_a_format_does_not_hold_is_refused():
    graph = graph_of(GOOD, fmt=Fixed(1))
    assert any("y: [ranges] its range 1…3 does not fit u1 (0…1)" in str(problem) for problem in problems(graph))
