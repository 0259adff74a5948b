"""Circuits of trees: equal to the interpreter on every code, comparisons shared, and one tree without an adder."""

import numpy as np
import pytest

from approxhw.backends.bespoke.circuit import build_circuit
from approxhw.backends.bespoke.trees import path_gates, select_gates, tree_bits, trees_of
from approxhw.backends.cells.blocks import Block, Word
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import ArgMax, Forest, Input, Threshold, Type
from approxhw.ir.random_forests import random_forest
from approxhw.ir.rewriting import fit_formats
from approxhw.ir.verifier import verify
from approxhw.networks.families.graphs import scored_graph
from approxhw.networks.trees.boosted import BoostedTrees
from approxhw.networks.trees.scored import scored_trees
from approxhw.numerics.formats import Encoding, Fixed
from approxhw.rtl_templates import template_text
from approxhw.sim import SimulationJob, bundle, lint, simulate


def graph_of(op, head=None, bits=3, elements=3, name="trees"):
    features = tuple(f"f{i}" for i in range(elements))
    encoding = Encoding(bits, "round", (0.0,) * elements, (1.0,) * elements)
    nodes = [
        Node("x", Input(features, features, encoding), (), Type((elements,), Fixed(bits))),
        Node("sums", op, ("x",), Type((op.classes,), Fixed(80, True))),
    ]
    if head is not None:
        nodes.append(Node("class_index", head, ("sums",), Type((), Fixed(max(1, (op.classes - 1).bit_length())))))
    graph = fit_formats(Graph(name, tuple(nodes), nodes[-1].name))
    verify(graph)
    return graph


def templates(graph):
    return [cell.template for block in build_circuit(graph).blocks for cell in block.cells]


def test_random_forests_equal_the_interpreter_on_every_code(jobs, simulator, tmp_path):
    several = []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        classes = 1 + seed % 4
        op = random_forest(rng, np.zeros(3), np.full(3, 7), classes)
        head = (None, ArgMax(), Threshold(2))[seed % 3] if classes == 1 else (None, ArgMax())[seed % 2]
        several.append(jobs(graph_of(op, head, name=f"trees{seed}")))
    several = [job for job in several if job.inputs]
    assert len(several) > 15
    result = simulate(bundle(several), simulator, tmp_path / simulator)
    assert result.failing == {}
    assert result.vectors >= 512


def test_a_score_and_its_table_equal_the_interpreter_on_every_code(jobs, simulator, tmp_path):
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 8, (200, 3))
    labels = np.clip(codes.sum(axis=1) + rng.integers(0, 4, 200) - 6, 0, 11) // 3
    several = []
    for rounds, leaves in ((1, 2), (3, 4), (5, 6)):
        made = scored_trees(codes, labels, 4, BoostedTrees(rounds=rounds, leaves=leaves, bits=3))
        graph = scored_graph(graph_of(made.trees, ArgMax(), name=f"score{rounds}"), made)
        verify(graph)
        several.append(jobs(graph))
    result = simulate(bundle(several), simulator, tmp_path / simulator)
    assert result.failing == {}
    assert result.vectors >= 512


VOTES = Forest([0], [0, 1], [4, 3], [1, -2], [-1, -3], [[1, 0, 0], [0, 0, 1], [0, 1, 0]], [0, 0, 0])


def test_one_tree_is_plain_logic_of_the_class_code():
    graph = graph_of(VOTES, ArgMax())
    assert set(templates(graph)) == {"at_least", "?"}  # f0 ≥ 4 is a wire
    assert templates(graph_of(VOTES)).count("full_adders") == 0


def test_a_comparison_that_several_nodes_ask_for_is_built_once():
    twice = Forest([0, 1], [0, 0], [5, 5], [-1, -3], [-2, -4], [[1], [2], [4], [8]], [0])
    (cell,) = [c for block in build_circuit(graph_of(twice)).blocks for c in block.cells if c.template == "at_least"]
    assert {name: value for name, value, _ in cell.parameters} == {"WIDTH": 3, "COUNT": 1, "LEAST": 5}


def test_low_bits_that_no_constant_needs_are_no_part_of_a_comparison():
    op = Forest([0], [0], [6], [-1], [-2], [[1], [0]], [0])  # of 110 the lowest bit decides nothing
    circuit = build_circuit(graph_of(op))
    assert [(port.name, port.positions) for port in circuit.inputs] == [("f0", (1, 2))]


def test_votes_take_paths_and_many_bits_take_selects():
    rng = np.random.default_rng(1)
    nodes = 15
    high, low = (
        np.array([2 * n + way if 2 * n + way < nodes else ~(2 * n + way - nodes) for n in range(nodes)])
        for way in (1, 2)
    )
    wide = Forest(
        [0], rng.integers(0, 3, nodes), rng.integers(1, 8, nodes), high, low, rng.integers(0, 4000, (16, 2)), [0, 0]
    )
    votes = Forest([0], wide.feature, wide.threshold, high, low, np.eye(16, dtype=int), np.zeros(16, int))
    assert templates(graph_of(wide)).count("&") == 0
    assert templates(graph_of(votes)).count("?") == 0
    (tree,) = trees_of(votes)
    patterns = [1 << place for place in range(16)]
    assert path_gates(tree, patterns, 16) == 28 < select_gates(tree, patterns, 16)


def test_the_least_of_a_single_bit_is_a_wire_either_way():
    (tree,) = trees_of(Forest([0], [0], [1], [-1], [-2], [[1], [0]], [0]))
    block = Block("tree")
    assert select_gates(tree, [1, 0], 1) == path_gates(tree, [1, 0], 1) == 0
    assert len(tree_bits(block, tree, [1, 0], 1, {0: ("f0", 0)})) == 1
    assert Word(0, 1, (1,)).high == 1


@pytest.mark.parametrize("sign", [1, -1])
def test_tests_on_two_elements_compare_their_sum_or_difference(jobs, simulator, tmp_path, sign):
    op = Forest([0], [0, 2], [3, 2], [1, -1], [-3, -2], [[1], [2], [4]], [0], [1, 0], [sign, -sign])
    result = simulate(jobs(graph_of(op)), simulator, tmp_path / simulator)
    assert result.failing == {}
    assert result.vectors >= 512


def test_constants_are_reached_as_they_say(simulator, tmp_path):
    several = []
    for width in (1, 2, 3, 5):
        least = list(range(1 << width))
        packed = sum(value << place * width for place, value in enumerate(least))
        text = (
            f"module top(\n  input  wire [{width - 1}:0] x,\n  output wire [{len(least) - 1}:0] y\n);\n"
            f"  at_least #(.WIDTH({width}), .COUNT({len(least)}), .LEAST({width * len(least)}'h{packed:x})) "
            f"only (.x(x), .y(y));\nendmodule\n{template_text('at_least')}"
        )
        x = np.arange(1 << width)
        reached = [sum(int(value >= constant) << place for place, constant in enumerate(least)) for value in x.tolist()]
        several.append(
            SimulationJob(
                f"at_least_{width}",
                text,
                "top",
                (("x", width),),
                (("y", len(least)),),
                vectors={"x": x},
                expected={"y": np.array(reached, dtype=np.uint64)},
            )
        )
        lint(text, "top")
    result = simulate(bundle(several), simulator, tmp_path / simulator)
    assert result.failing == {}
    assert result.vectors >= 32
