"""Every arithmetic: the interpreter equals the plain-Python reference, step by step, on random Graphs and by hand."""

import numpy as np
import pytest

from approxhw.common.errors import GraphError
from approxhw.ir.graph import ranges
from approxhw.ir.interpreter import run_all
from approxhw.ir.kinds import ArgMax, Constant, Dense, approximate_argmax, matches
from approxhw.ir.random_graphs import random_graph
from approxhw.ir.text import parse_graph, print_graph
from approxhw.ir.verifier import problems, verify
from approxhw.numerics.mac.arithmetic import (
    ApproximateMultiplier,
    Exact,
    MaskedPowerOfTwo,
    dense_reference,
    parse_arithmetic,
)

ARITHMETICS = [Exact(8), MaskedPowerOfTwo(7), ApproximateMultiplier(8, 4)]


@pytest.mark.parametrize("arithmetic", ARITHMETICS, ids=str)
def test_spelling_reads_back(arithmetic):
    assert parse_arithmetic(str(arithmetic)) == arithmetic


@pytest.mark.parametrize(
    "text", ["exact", "exact<>", "masked-power-of-two<-1>", "approximate-multiplier<8>", "x<3>", ""]
)
def test_other_spellings_are_refused(text):
    with pytest.raises(ValueError, match="no arithmetic"):
        parse_arithmetic(text)


def test_masked_step_by_hand():
    step = MaskedPowerOfTwo(7).accumulate
    assert step(100, 8, 0b1011, 0b0110) == 100 + (0b0010 << 3)
    assert step(100, -1, 0b1011, 0b1001) == 100 - 0b1001
    assert step(100, 0, 0b1011, 0b1111) == 100
    assert step(100, 128, 0b1011, 0) == 100


def test_table_step_takes_rows_and_columns_in_twos_complement():
    table = [[10 * row + column for column in range(4)] for row in range(8)]
    step = ApproximateMultiplier(3, 2).accumulate
    assert step(0, -1, 3, table) == 73
    assert step(5, 2, -2, table) == 5 + 22


def test_interpreter_equals_reference_for_every_arithmetic():
    seen = {}
    for seed in range(300):
        graph = random_graph(seed)
        fmt = graph.input.type.format
        rows = np.random.default_rng(seed).integers(fmt.low, fmt.high + 1, (12, *graph.input.type.shape))
        values, known = run_all(graph, rows), ranges(graph)
        for node in graph.nodes:
            if not isinstance(node.op, Dense):
                continue
            x = values[node.inputs[0]].reshape(len(rows), -1)
            weights, bias, *operand = (graph.constant(name).tolist() for name in node.inputs[1:])
            expected = [dense_reference(node.op.arithmetic, weights, bias, row, *operand) for row in x.tolist()]
            assert values[node.name].tolist() == expected, (seed, node.name)
            low, high = known[node.name]
            assert (values[node.name] >= low).all()
            assert (values[node.name] <= high).all()
            kind = type(node.op.arithmetic)
            seen[kind] = seen.get(kind, 0) + len(rows)
    assert set(seen) == {Exact, MaskedPowerOfTwo, ApproximateMultiplier}
    assert min(seen.values()) > 300


def slow_argmax(width, bits, values):
    """Return the winner of one row, written down as docs/ir.md says it."""
    entries = [(index, value) for index, value in enumerate(values)]
    comparators = list(bits)
    while len(entries) > 1:
        following = []
        for left, right in zip(entries[0::2], entries[1::2]):
            chosen = comparators.pop(0)
            numbers = []
            for _, value in (left, right):
                code = [(value >> place) & 1 for place in range(width)]
                code[-1] ^= 1
                numbers.append(sum(code[place] << rank for rank, place in enumerate(chosen)))
            following.append(right if numbers[1] > numbers[0] else left)
        entries = following + (entries[-1:] if len(entries) % 2 else [])
    return entries[0][0]


def test_approximate_argmax_equals_its_definition():
    rng, checked = np.random.default_rng(3), 0
    for classes in range(1, 12):
        width = int(rng.integers(2, 12))
        for _ in range(20):
            bits = tuple(tuple(np.flatnonzero(rng.random(width) < 0.5).tolist()) for _ in range(classes - 1))
            x = rng.integers(-(1 << (width - 1)), 1 << (width - 1), (30, classes))
            found = approximate_argmax(ArgMax(width, bits), x)
            assert found.tolist() == [slow_argmax(width, bits, row) for row in x.tolist()]
            checked += len(x)
    assert checked == 11 * 20 * 30


def test_all_bits_chosen_is_the_exact_argmax():
    rng = np.random.default_rng(4)
    x = rng.integers(-32, 32, (500, 7))
    assert approximate_argmax(ArgMax(6, (tuple(range(6)),) * 6), x).tolist() == np.argmax(x, axis=1).tolist()


def test_rounds_of_a_tree():
    assert matches(1) == []
    assert matches(5) == [[(0, 1), (2, 3)], [(0, 1)], [(0, 1)]]
    assert [sum(map(len, matches(n))) for n in range(1, 20)] == list(range(19))


MASKED = """axir 1
graph g
x : u4[2] = input {"features":["a","b"],"titles":["a","b"],"encoding":{"bits":4,"rule":"round","low":[0,0],"high":[1,1]}}
w : s5[2,2] = constant {"data":[[4,-8],[1,0]]}
b : s4[2] = constant {"data":[3,-2]}
m : u4[2,2] = constant {"data":[[15,6],[8,1]]}
y : s9[2] = dense(x, w, b, m) {"arithmetic":"masked-power-of-two<3>"}
c : u1[] = argmax(y) {"width":9,"bits":[[3,8]]}
output c
"""


def test_text_form_of_masks_and_comparators_reads_back():
    graph = parse_graph(MASKED)
    verify(graph)
    assert print_graph(graph) == print_graph(parse_graph(print_graph(graph)))
    assert graph["c"].op == ArgMax(9, ((3, 8),))
    assert isinstance(graph["m"].op, Constant)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (
            "[[4,-8],[1,0]]",
            "[[4,-6],[1,0]]",
            "y: [arithmetic] weights of masked-power-of-two<3> are 0 or ±2^k, k ≤ 3; it has [-6]",
        ),
        ("two<3>", "two<2>", "y: [arithmetic] weights of masked-power-of-two<2> are 0 or ±2^k, k ≤ 2; it has [-8]"),
        ("dense(x, w, b, m)", "dense(x, w, b)", "y: [arity] dense has 4 inputs, this one has 3"),
        ("m : u4", "m : s6", "y: [arithmetic] its masks is s6: masked-power-of-two<3> masks unsigned codes"),
        ("[[3,8]]", "[[3,9]]", "c: [attributes] comparator 0 looks at [3, 9]: give ascending positions in 0…8"),
        ("[[3,8]]", "[[8,3]]", "c: [attributes] comparator 0 looks at [8, 3]: give ascending positions in 0…8"),
        ("[[3,8]]", "[[3],[8]]", "c: [formats] 2 values need 1 comparators, it has 2"),
        ('"width":9', '"width":0', "c: [attributes] width 0 does not lie in 1…4096"),
        (
            '"width":9,"bits":[[3,8]]',
            '"bits":[[3]]',
            "c: [attributes] comparators that look at chosen bits need a width",
        ),
        (
            '"width":9,"bits":[[3,8]]',
            '"width":5,"bits":[[3]]',
            "c: [ranges] values of 7 bits do not fit comparators of 5",
        ),
        (
            '"masked-power-of-two<3>"',
            '"approximate-multiplier<5,3>"',
            "y: [shapes] dense of [2], [2,2], [2], [2,2] → [2]",
        ),
    ],
)
def test_broken_masks_and_comparators_are_named(old, new, text):
    found = [f"{problem.where}: {problem.why}" for problem in problems(parse_graph(MASKED.replace(old, new)))]
    assert any(line.startswith(text) for line in found), found


def test_bits_that_are_no_lists_are_refused():
    with pytest.raises(GraphError, match="bits is a list of lists of positions"):
        parse_graph(MASKED.replace("[[3,8]]", "[3,8]"))
