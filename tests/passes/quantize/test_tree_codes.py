"""Codes and leaves of trees: nothing is lost on any reading, votes are whole, and what a pass cannot do is said."""

from dataclasses import replace

import numpy as np
import pytest

from approxhw.common.data.dataset import load_dataset
from approxhw.common.errors import OptionError, PassError
from approxhw.ir.evaluation import predict
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import Affine, ArgMax, Constant, Forest, Input, Threshold, Type
from approxhw.ir.pass_manager import PassContext, named_pipeline, parse_passes, run_passes
from approxhw.ir.random_forests import random_forest
from approxhw.ir.rewriting import fit_formats
from approxhw.ir.text import parse_graph, print_graph
from approxhw.ir.verifier import problems, verify
from approxhw.numerics.formats import FLOAT64, Encoding, Fixed

NAMES = ("petal length", "petal width", "sepal width")


def graph_of(op, head=None, elements=3):
    names = tuple(f"f{i}" for i in range(elements))
    nodes = [
        Node("x", Input(names, NAMES[:elements]), (), Type((elements,), FLOAT64)),
        Node("sums", op, ("x",), Type((op.classes,), FLOAT64)),
    ]
    if head is not None:
        nodes.append(Node("class_index", head, ("sums",), Type((), Fixed(max(1, (op.classes - 1).bit_length())))))
    graph = Graph("trees", tuple(nodes), nodes[-1].name)
    verify(graph)
    return graph


def rows_of(op, count=200, seed=0):
    """Return readings at every threshold, a hair beside it, and elsewhere."""
    rng = np.random.default_rng(seed)
    edges = op.threshold if len(op.threshold) else np.zeros(1)
    hairs = [np.nextafter(edges.astype(np.float32), np.float32(way)).astype(float) for way in (-99, 99)]
    # between two numbers of float32: which of them a reading is rounded to decides
    pool = np.concatenate([edges, *hairs, (edges + hairs[1]) / 2, rng.normal(size=30) * 4])
    return pool[rng.integers(0, len(pool), (count, 3))]


@pytest.mark.parametrize("code", ["borders", "thermometer"])
def test_codes_lose_nothing_in_any_mode(code):
    checked = 0
    for seed in range(50):
        rng = np.random.default_rng(seed)
        op = random_forest(rng, np.full(3, -4), np.full(3, 4), 2, real=True)
        graph = graph_of(replace(op, other=[], sign=[]), ArgMax())
        coded, _ = run_passes(graph, f"quantize-inputs{{code={code}}}")
        assert parse_graph(print_graph(coded)) == coded
        rows = rows_of(op, seed=seed)
        assert np.array_equal(predict(coded, rows), predict(graph, rows)), seed
        checked += len(rows)
    assert checked == 10_000


@pytest.mark.parametrize("code", ["borders", "thermometer"])
def test_trees_on_rounded_codes_become_counts_of_readings(code):
    checked = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rows = rng.normal(size=(300, 3)).astype(np.float32).astype(float)
        rows[:, 2] = 0.5 if seed % 4 == 0 else rows[:, 2]  # a reading that never changes
        ends = tuple(rows.min(axis=0).tolist()), tuple(rows.max(axis=0).tolist())
        op = random_forest(rng, np.zeros(3, int), np.full(3, 15), 2)
        graph = rounded_graph(replace(op, other=[], sign=[]), Encoding(4, "round", *ends))
        counted, _ = run_passes(graph, f"quantize-inputs{{code={code}}}")
        made = counted.input.op.encoding
        assert made.rule == code or not any(made.borders), "codes decide every test"
        more = np.concatenate([rows, rng.normal(size=(300, 3)).astype(np.float32) * 2])
        more[:, 2] = 0.5 if seed % 4 == 0 else more[:, 2]
        assert np.array_equal(predict(counted, more), predict(graph, more)), seed
        checked += len(more)
    assert checked == 12_000


def rounded_graph(op, encoding):
    names = tuple(f"f{i}" for i in range(3))
    nodes = [
        Node("x", Input(names, NAMES, encoding), (), Type((3,), Fixed(encoding.bits))),
        Node("sums", op, ("x",), Type((op.classes,), Fixed(64, signed=True))),
        Node("class_index", ArgMax(), ("sums",), Type((), Fixed(1))),
    ]
    graph = fit_formats(Graph("trees", tuple(nodes), "class_index"))
    verify(graph)
    return graph


def test_codes_of_sums_and_other_codes_are_left_alone():
    pair = Forest([0], [0], [3], [-1], [-2], np.eye(2, dtype=np.int64), [0, 0], [1], [1])
    graph = rounded_graph(pair, Encoding(4, "round", (0.0,) * 3, (1.0,) * 3))
    kept, records = run_passes(graph, "quantize-inputs{code=thermometer}")
    assert kept == graph
    assert records[0].notes == ("the Input has codes already",)


def test_borders_are_counted_and_told():
    op = Forest([0], [1, 1], [0.75, 0.75], [-1, -2], [1, -3], [[1.0], [2.0], [3.0]], [0.0], mode=("leq", "gt"))
    op = replace(op, threshold=[0.5, 0.75], mode=("lt", "leq"))
    coded, (record,) = run_passes(graph_of(op), "quantize-inputs{code=borders}")
    encoding = coded.input.op.encoding
    assert encoding.borders == ((), (0.5, 0.75), ())
    assert encoding.closed == ((), (True, False), ())
    codes, saturated = encoding.encode(np.array([[9, 0.4999, 9], [9, 0.5, 9], [9, 0.75, 9], [9, 0.7501, 9]]))
    assert codes.tolist() == [[0, 0, 0], [0, 1, 0], [0, 1, 0], [0, 2, 0]]
    assert saturated.tolist() == [0, 0, 0]
    assert encoding.formula(1) == "code = (x >= 0.5) + (x > 0.75)"
    assert record.notes == ("2 borders of 1 features, 2 bits a code",)


def test_a_thermometer_has_a_bit_a_border_with_its_name():
    op = Forest([0], [1, 0], [0.5, -2.0], [-1, -2], [1, -3], [[1.0], [2.0], [3.0]], [0.0], mode="leq")
    coded, _ = run_passes(graph_of(op), "quantize-inputs{code=thermometer}")
    head = coded.input.op
    assert head.titles == ("petal length > -2.0", "petal width > 0.5")
    assert head.features == ("f0_above_minus_2_0", "f1_above_0_5")
    assert head.encoding.width == 3
    assert coded.input.type == Type((2,), Fixed(1))


def test_votes_become_whole_numbers_and_one_tree_votes_once():
    leaves = np.float32([[0.25, 0, 0], [0, 0, 0.25], [0, 0.25, 0]] * 4).astype(float)
    arrays = {"roots": [0, 2, 4, 6], "feature": [0, 1] * 4, "threshold": [0.5, 1.5] * 4}
    high = [1, -1, 3, -4, 5, -7, 7, -10]
    low = [-2, -3, -5, -6, -8, -9, -11, -12]
    forest = Forest(**arrays, high=high, low=low, leaves=leaves, base=[0.0] * 3, mode="leq")
    made, _ = run_passes(graph_of(forest, ArgMax()), named_pipeline("printed-tree"))
    assert set(made["sums"].op.leaves.reshape(-1).tolist()) == {0, 1}
    alone = Forest([0], [0, 1], [0.5, 1.5], [1, -1], [-3, -2], [[0.2, 0.8], [0.7, 0.3], [0.1, 0.9]], [0, 0], mode="leq")
    made, _ = run_passes(graph_of(alone, ArgMax()), named_pipeline("printed-tree"))
    assert made["sums"].op.leaves.sum(axis=1).tolist() == [1] * len(made["sums"].op.leaves)


def test_equal_votes_are_broken_as_float32_breaks_them():
    for count, share in ((10, 0.1), (20, 0.05), (30, 1 / 30), (100, 0.01)):
        nodes = np.arange(count)
        op = Forest(
            nodes, nodes % 3, np.zeros(count), ~(2 * nodes), ~(2 * nodes + 1),
            np.tile([[0.0], [float(np.float32(share))]], (count, 1)), [0.0], mode="leq",
        )  # fmt: skip
        op = replace(op, threshold=np.linspace(-1, 1, count).astype(np.float32).astype(float))
        graph = graph_of(op, Threshold(0.5))
        made, _ = run_passes(graph, named_pipeline("printed-tree"))
        rows = np.linspace(-1.1, 1.1, 400)[:, None] + np.zeros(3)
        assert np.array_equal(predict(graph, rows), predict(made, rows)), count


def test_tests_that_decide_nothing_go_and_their_borders_with_them():
    op = Forest(
        [0], [0, 1], [0.5, 1.5], [1, -1], [-3, -2], [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]], [0.0, 0.0], mode="leq"
    )
    made, _ = run_passes(graph_of(op, ArgMax()), named_pipeline("printed-tree"))
    assert len(made["sums"].op.feature) == 1
    assert made.input.op.encoding.borders == ((0.5,), (), ())
    thermometer, _ = run_passes(graph_of(op, ArgMax()), named_pipeline("printed-tree", input_code="thermometer"))
    assert thermometer.input.op.titles == ("petal length > 0.5",)


def test_rows_that_nobody_saw_are_decided_alike():
    """Training rows never come near a tie; rows whose codes are one off do, and fixed point is as fine as they need it."""
    near = 1 - 2.0**-12
    leaves = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.25], [near, 0.0, 0.0]])
    leaves *= np.sqrt(0.7)  # no whole multiples of anything
    op = Forest([0, 1], [0, 1], [0.0, 0.0], [-1, -3], [-2, -4], leaves, [0.0] * 3, mode="gt")
    graph = graph_of(op, ArgMax())
    seen = np.array([[-1.0, 1.0, 0.0], [1.0, 1.0, 0.0]] * 20)
    answers = predict(graph, seen)
    assert sorted(set(answers.tolist())) == [1, 2]
    data = load_dataset((seen, answers, seen, answers), 3, 3)
    made, _ = run_passes(graph, "quantize-inputs{code=borders},quantize-leaves", PassContext(data))
    unseen = np.array([[-1.0, -1.0, 0.0], [1.0, -1.0, 0.0]])
    assert predict(graph, unseen).tolist() == [1, 2]
    assert np.array_equal(predict(made, unseen), predict(graph, unseen))


def test_fixed_point_decides_training_rows_alike_and_bits_may_be_fewer():
    rng = np.random.default_rng(4)
    op = random_forest(rng, np.full(3, -4), np.full(3, 4), 3, real=True)
    parts = [
        random_forest(np.random.default_rng(seed), np.full(3, -4), np.full(3, 4), 3, real=True) for seed in range(9)
    ]
    op = max(parts, key=lambda part: len(part.roots))
    op = replace(op, other=[], sign=[], leaves=rng.normal(size=op.leaves.shape).astype(np.float32).astype(float))
    graph = graph_of(op, ArgMax())
    rows = rows_of(op, 300)
    data = load_dataset((rows, predict(graph, rows), rows, predict(graph, rows)), 3, 3)
    made, records = run_passes(graph, named_pipeline("printed-tree"), PassContext(data))
    assert np.array_equal(predict(made, rows), predict(graph, rows))
    coarse, _ = run_passes(graph, named_pipeline("printed-tree", leaf_bits=2), PassContext(data))
    assert coarse["sums"].op.leaves.max() <= 8 < made["sums"].op.leaves.max()
    assert records[1].train_accuracy_after == 1.0


def test_a_regressor_keeps_a_thousandth_of_its_spread():
    rng = np.random.default_rng(5)
    op = random_forest(np.random.default_rng(8), np.full(3, -4), np.full(3, 4), 1, real=True)
    op = replace(op, other=[], sign=[], leaves=rng.normal(size=op.leaves.shape) * 100, base=[33.25])
    graph = graph_of(op)
    rows = rows_of(op, 300)
    data = load_dataset((rows, predict(graph, rows)[:, 0]), 3, None, task="regression")
    made, _ = run_passes(graph, named_pipeline("printed-tree"), PassContext(data))
    wanted = predict(graph, rows)
    assert np.abs(predict(made, rows) - wanted).max() <= 2e-3 * np.ptp(wanted)


def test_a_constant_tree_is_a_constant_circuit():
    op = Forest([0], [0], [0.5], [-1], [-2], [[0.9, 0.1], [0.8, 0.2]], [0.0, 0.0], mode="leq")
    made, _ = run_passes(graph_of(op, ArgMax()), named_pipeline("printed-tree"))
    assert problems(made) == []
    assert predict(made, rows_of(op)).tolist() == [0] * 200


def test_what_else_reads_the_input_is_named():
    op = Forest([0], [0], [0.5], [-1], [-2], [[1.0], [2.0]], [0.0], [1], [1])
    graph = graph_of(replace(op, other=[]))
    scale = Node("s", Constant(np.ones(3)), (), Type((3,), FLOAT64))
    twice = Node("y", Affine(), ("x", "s", "s"), Type((3,), FLOAT64))
    other = replace(graph, nodes=(graph.nodes[0], scale, twice, replace(graph.nodes[1], inputs=("y",))))
    for found, why in (
        (other, "y: affine reads the input, and codes of borders are for trees alone"),
        (graph_of(op), "sums: a test on two elements has no border in either"),
    ):
        with pytest.raises(PassError) as caught:
            run_passes(found, "quantize-inputs{code=borders}")
        assert why in str(caught.value)


def test_leaves_of_trees_on_readings_are_refused():
    op = Forest([0], [0], [0.5], [-1], [-2], [[1.0], [2.0]], [0.0])
    with pytest.raises(PassError) as caught:
        run_passes(graph_of(op), "quantize-leaves")
    assert "its trees compare readings, not codes\n    do: run quantize-inputs{code=borders} before" in str(
        caught.value
    )
    with pytest.raises(OptionError, match="33 does not lie in 1…32"):
        parse_passes("quantize-leaves{bits=33}")


ENCODED = (
    'x : u2[1] = input {{"features":["a"],"titles":["A"],'
    '"encoding":{{"bits":2,"rule":"{rule}","low":[0],"high":[1],{more}}}}}'
)


@pytest.mark.parametrize(
    ("rule", "more", "why"),
    [
        ("borders", '"borders":[[1,0.5]],"closed":[[true,true]]', "borders of an element ascend"),
        ("borders", '"borders":[[1,1]],"closed":[[false,true]]', "of two that are equal the closed one comes first"),
        ("borders", '"borders":[[0.1]],"closed":[[true]]', "borders are numbers that float32 holds"),
        ("borders", '"borders":[[1,2,3,4]],"closed":[[true,true,true,true]]', "an element has 4 borders, a 2-bit"),
        ("borders", '"borders":[],"closed":[]', "its encoding has borders of 0 and closed of 0 elements for 1"),
        ("thermometer", '"borders":[[1]],"closed":[[true]],"reads":[0],"readings":1', "a thermometer has one bit"),
    ],
)
def test_an_encoding_that_counts_nothing_is_refused(rule, more, why):
    text = f"axir 1\ngraph g\n{ENCODED.format(rule=rule, more=more)}\noutput x\n"
    assert any(why in str(problem) for problem in problems(parse_graph(text)))
