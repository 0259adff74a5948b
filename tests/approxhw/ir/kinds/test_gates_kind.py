"""``Gates``: meaning, range, classes that are there alone, text, and every rule that a broken one breaks."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from approxhw.common.errors import GraphError
from approxhw.ir.chain import is_decision
from approxhw.ir.evaluation import task_of
from approxhw.ir.graph import Graph, Node, ranges
from approxhw.ir.interpreter import run
from approxhw.ir.kinds import Gates, Input, Requantize, Type, random_gates
from approxhw.ir.kinds.gates import held_back
from approxhw.ir.pass_manager import PassContext, parse_passes
from approxhw.ir.random_graphs import random_graph
from approxhw.ir.text import parse_graph, print_graph
from approxhw.ir.verifier import problems, verify
from approxhw.numerics.formats import Encoding, Fixed
from approxhw.numerics.logic.gates import AND, NOT, XOR, GateList, output_patterns


def graph_with(op, fmt, shape=(), elements=3, bits=2, more=()):
    names = tuple(f"f{i}" for i in range(elements))
    encoding = Encoding(bits, "round", (0.0,) * elements, (1.0,) * elements)
    x = Node("x", Input(names, names, encoding), (), Type((elements,), Fixed(bits)))
    last = more[-1].name if more else "x"
    return Graph("g", (x, *more, Node("c", op, (last,), Type(shape, fmt))), "c")


# of a and b, the lowest bits of the first two elements: a & b, a ^ b
HALF_ADDER = GateList(6, [AND, XOR], [[2, 4, 0], [2, 4, 0]], [9, 8])


def test_it_means_what_its_gates_say():
    graph = graph_with(Gates(HALF_ADDER, 2, 3), Fixed(2))
    verify(graph)
    rows = np.array([[a, b, c] for a in range(4) for b in range(4) for c in (0, 3)])
    assert run(graph, rows).tolist() == [(a & 1) + (b & 1) for a, b, _ in rows.tolist()]
    assert graph.classes == 3
    assert is_decision(graph["c"])
    assert task_of(graph) == "classification"
    low, high = ranges(graph)["c"]
    assert (low.tolist(), high.tolist()) == ([0], [2])  # never 3, so that there is nothing to hold back
    assert graph["c"].op.whole == HALF_ADDER


@pytest.mark.parametrize("classes", range(1, 18))
def test_numbers_beyond_the_last_class_are_held_back_and_no_others(classes):
    width = max(1, (classes - 1).bit_length())
    wires = GateList(width, [], np.zeros((0, 3)), np.arange(2, 2 + width))
    numbers = output_patterns(held_back(wires, classes), width).ravel()
    assert numbers.max() == classes - 1
    assert np.array_equal(numbers[:classes], np.arange(classes))
    graph = graph_with(Gates(wires, 1, classes), Fixed(width), elements=width, bits=1)
    verify(graph)
    assert int(ranges(graph)["c"][1][0]) == classes - 1


def test_values_are_codes_of_their_format_element_by_element():
    rng = np.random.default_rng(4)
    for fmt in (Fixed(3), Fixed(3, True), Fixed(1), Fixed(5, True, Fraction(1, 4))):
        op = Gates(random_gates(rng, 6, 4 * fmt.bits, 30), 2)
        graph = graph_with(op, fmt, (2, 2))
        verify(graph)
        assert not is_decision(graph["c"])
        assert task_of(graph) == "regression"
        rows = np.stack(np.meshgrid(*[np.arange(4)] * 3), axis=-1).reshape(-1, 3)
        found, (low, high) = run(graph, rows), ranges(graph)["c"]
        assert found.shape == (64, 2, 2)
        assert (found.reshape(64, -1) >= low.astype(int)).all()
        assert (found.reshape(64, -1) <= high.astype(int)).all()
        single = Gates(GateList(6, op.gates.functions, op.gates.operands, op.gates.outputs[: fmt.bits]), 2)
        alone = graph_with(single, fmt)
        (low,), (high,) = ranges(alone)["c"]
        made = run(alone, rows)
        assert (low, high) == (made.min(), made.max()), "of few bits the range is exact"
        assert np.array_equal(made, found[:, 0, 0])


def test_many_bits_are_taken_as_independent():
    wires = GateList(40, [], np.zeros((0, 3)), [2, 0, 3, 1, *range(4, 22)])
    low, high = ranges(graph_with(Gates(wires, 10), Fixed(22, True), elements=4, bits=10))["c"]
    assert (low.tolist(), high.tolist()) == ([8 - (1 << 21)], [(1 << 21) - 1 - 2])


def test_what_it_reads_may_get_another_format():
    """Bits are those of two's complement, so narrow-formats may narrow the operand, and others widen it."""
    op = Gates(random_gates(np.random.default_rng(1), 15, 3, 40), 5, 8)
    for wide in (Fixed(9, True), Fixed(4, True), Fixed(3, True)):
        more = (Node("y", Requantize((1, -1, 1), 0, (-2, 1, -3), -4, 3), ("x",), Type((3,), wide)),)
        graph = graph_with(op, Fixed(3), more=more)
        verify(graph)
        rows = np.random.default_rng(2).integers(0, 4, (100, 3))
        if wide.bits == 9:
            wanted = run(graph, rows)
        assert np.array_equal(run(graph, rows), wanted)
        (narrow,) = parse_passes("narrow-formats")
        assert np.array_equal(run(narrow(graph, PassContext()), rows), wanted)


def test_text_comes_back_equal():
    graph = graph_with(Gates(HALF_ADDER, 2, 3), Fixed(2))
    text = print_graph(graph)
    line = text.splitlines()[-2]
    assert line == (
        'c : u2[] = gates(x) {"bits":2,"gates":{"inputs":6,"list":[["and",2,4],["xor",2,4]],"outputs":[9,8]},"classes":3}'
    )
    assert parse_graph(text) == graph
    seen = 0
    for seed in range(300):
        random = random_graph(seed)
        if isinstance(random[random.output].op, Gates):
            assert parse_graph(print_graph(random)) == random
            seen += 1
    assert seen > 15


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (
            '["and",2,4]',
            '["und",2,4]',
            "gate 0 is ['und', 2, 4]; a gate is one of not, and, or, xor, nand, nor, xnor, select",
        ),
        ('["and",2,4]', '["and",2]', "gate 0, and, reads 2 signals, not 1"),
        ('["and",2,4]', '["and",2,-4]', "signals are numbers from 0 to"),
        ('["and",2,4]', '["and",2,true]', "an integer is needed"),
        ('"list":[', '"gates":[', "gates have inputs, list and outputs"),
        ('"bits":2', '"bits":"2"', "an integer is needed"),
        ('[["and",2,4],["xor",2,4]]', "7", "gates are a list of at most 200000"),
        ('[["and",2,4],["xor",2,4]]', f"[{','.join(['[]'] * 1_000_000)}]", "gates are a list of at most 200000"),
        ('["and",2,4]', '["and",2,9]', "gate 0, signal 8, reads [2, 9]: only signals above it, 0…7"),
        ('"outputs":[9,8]', '"outputs":[9,10]', "output 1 is signal 10; there are 0…9"),
    ],
)
def test_text_that_is_none_is_refused(before, after, why):
    text = print_graph(graph_with(Gates(HALF_ADDER, 2, 3), Fixed(2))).replace(before, after)
    with pytest.raises(GraphError) as caught:
        verify(parse_graph(text))
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            {"gates": GateList(6, [NOT], [[8, 0, 0]], [2, 3])},
            "[attributes] gate 0, signal 8, reads [8]: only signals above it",
        ),
        ({"bits": 0}, "[attributes] it reads 0 bits of an element; 1…62 may be read"),
        ({"bits": 4}, "[attributes] 6 input bits are no whole elements of 4 bits"),
        ({"classes": -1}, "[attributes] classes -1 is no number of classes"),
        ({"bits": 3}, "[formats] it has 6 input bits, 3 an element; x has 3 elements"),
        ({"classes": 5}, "[formats] its format is u2, gates of 5 classes make u3"),
        ({"gates": GateList(6, [], np.zeros((0, 3)), [2])}, "[formats] 1 outputs for 1 elements of 2 bits: 2"),
    ],
)
def test_the_verifier_names_what_is_wrong(change, why):
    graph = graph_with(replace(Gates(HALF_ADDER, 2, 3), **change), Fixed(2))
    assert any(problem.why.startswith(why) for problem in problems(graph)), problems(graph)


def test_a_decision_has_no_shape_and_reads_codes():
    graph = graph_with(Gates(HALF_ADDER, 2, 3), Fixed(2), (1,))
    assert any(problem.why.startswith("[shapes] gates of [3] → [1]") for problem in problems(graph))
    wide = graph_with(Gates(GateList(6, [], np.zeros((0, 3)), np.full(63, 2)), 2), Fixed(63))
    assert any("it makes codes of at most 62 bits, not u63" in problem.why for problem in problems(wide))


def test_unused_inputs_are_told():
    graph = graph_with(Gates(HALF_ADDER, 2, 3), Fixed(2))
    notes = []
    (item,) = parse_passes("drop-constant")
    assert item(graph, PassContext(notes=notes)) == graph
    assert any("2 of 3 inputs are read" in note for note in notes)
