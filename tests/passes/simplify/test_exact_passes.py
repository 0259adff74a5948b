"""Exact passes: the output before and after is equal, bit for bit."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from approxhw.ir.graph import ranges
from approxhw.ir.interpreter import run
from approxhw.ir.kinds import ArgMax, Dense, Input, Threshold
from approxhw.ir.pass_manager import PassContext, available_passes, parse_passes, pass_named
from approxhw.ir.random_graphs import random_graph
from approxhw.ir.text import parse_graph
from approxhw.ir.verifier import verify
from approxhw.numerics.formats import Fixed
from approxhw.passes.simplify.center_logits import count_signed_digits

EXACT = [
    name
    for name in available_passes()
    if pass_named(name).kind == "exact" and not getattr(pass_named(name), "occurring_alone", False)
]
"""Those that are equal on every code; the others, which synthesise, have tests of their own (test_resynthesise_gates.py)."""


def rows_of(graph, seed, count=60):
    n, fmt = graph.input.type.elements, graph.input.type.format
    if n * fmt.bits <= 7:  # all of them
        grid = np.arange(1 << (n * fmt.bits))
        return np.stack([(grid >> (i * fmt.bits)) & fmt.high for i in range(n)], axis=1)
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, fmt.high + 1, (count, n))
    rows[0], rows[1] = 0, fmt.high
    rows[2:12] = rng.choice([0, fmt.high], (10, n))
    return rows


def applied(name, graph, notes=None):
    (item,) = parse_passes(name)
    result = item(graph, PassContext(notes=notes if notes is not None else []))
    verify(result)
    return result


def text_graph(layers, head, x="u4[2]", bits=4):
    n = int(x.split("[")[1][:-1])
    names = ",".join(f'"f{i}"' for i in range(n))
    ends = ",".join("0" * n), ",".join("1" * n)
    return parse_graph(
        f'axir 1\ngraph g\nx : {x} = input {{"features":[{names}],"titles":[{names}],"encoding":{{"bits":{bits},'
        f'"rule":"round","low":[{ends[0]}],"high":[{ends[1]}]}}}}\n{layers}\n{head}\noutput c\n'
    )


TWO_LAYERS = """w0 : s4[3,2] = constant {"data":[[1,0],[3,0],[-2,0]]}
b0 : s5[3] = constant {"data":[1,7,-1]}
s0 : s8[3] = dense(x, w0, b0) {"arithmetic":"exact<4>"}
r0 : u7[3] = relu(s0)
w1 : s5[3,3] = constant {"data":[[5,0,9],[6,0,1],[15,0,2]]}
b1 : s5[3] = constant {"data":[1,0,-3]}
s1 : s12[3] = dense(r0, w1, b1) {"arithmetic":"exact<5>"}"""


def test_the_exact_passes_are_these():
    assert {"center-logits", "drop-constant", "narrow-formats"} <= set(EXACT)


@pytest.mark.parametrize("name", [*EXACT, ",".join(EXACT)])
def test_output_is_equal_on_random_graphs(name):
    graphs = changed = 0
    for seed in range(160):
        graph = random_graph(seed)
        after = graph
        for item in parse_passes(name):
            after = item(after, PassContext())
        verify(after)
        rows = rows_of(graph, seed)
        assert np.array_equal(run(graph, rows), run(after, rows)), seed
        assert after.input == graph.input, "the ports stay"
        graphs += 1
        changed += after != graph
    assert graphs == 160
    assert changed > 20  # the pass did something to compare


@pytest.mark.parametrize("name", EXACT)
def test_twice_is_once(name):
    for seed in range(40):
        once = applied(name, random_graph(seed))
        twice = applied(name, once)
        if name == "center-logits":  # a Threshold of −1 stays
            assert count_signed_digits(last_weights(twice)) == count_signed_digits(last_weights(once))
        else:
            assert twice == once


def last_weights(graph):
    dense = next((node for node in reversed(graph.nodes) if isinstance(node.op, Dense)), None)
    if dense is None:  # all of it is trees
        return np.zeros((0, 0), dtype=object)
    return graph.constant(dense.inputs[1]).astype(object)


def test_narrow_formats_leaves_no_bit_too_many():
    after = applied("narrow-formats", text_graph(TWO_LAYERS, "c : u2[] = argmax(s1)"))
    assert [str(after[name].type.format) for name in ("w0", "b0", "s0", "r0", "s1")] == ["s3", "s4", "s7", "u6", "u8"]
    for seed in range(20):
        graph = applied("narrow-formats", random_graph(seed))
        for name, (low, high) in ranges(graph).items():
            fmt = graph[name].type.format
            if not isinstance(graph[name].op, Input | ArgMax | Threshold) and fmt.bits > 1:
                for narrower in (Fixed(fmt.bits - 1, True), Fixed(fmt.bits - 1, False)):
                    assert min(low) < narrower.low or max(high) > narrower.high


def test_drop_constant_removes_dead_and_constant_neurons():
    notes = []
    graph = text_graph(TWO_LAYERS, "c : u2[] = argmax(s1)")
    after = applied("drop-constant", graph, notes)
    # neuron 1 is read with weight 0; neuron 2 is never positive: its relu is 0; neuron 0 stays
    assert after["r0"].type.shape == (1,)
    assert after.constant("w0").tolist() == [[1, 0]]
    assert after.constant("w1").tolist() == [[5], [6], [15]]
    assert notes == ["1 of 2 inputs are read, so 1 converter (0.17 cm², 1.25 mW)", "2 of 6 neurons dropped"]


def test_drop_constant_folds_a_constant_neuron_into_the_next_bias():
    layers = TWO_LAYERS.replace("[-2,0]]", "[0,0]]").replace("[1,7,-1]", "[1,7,4]")
    after = applied("drop-constant", text_graph(layers, "c : u2[] = argmax(s1)"))
    assert after.constant("b1").tolist() == [1 + 9 * 4, 0 + 1 * 4, -3 + 2 * 4]
    assert after["r0"].type.shape == (1,)


def test_drop_constant_finds_the_only_class_that_can_win():
    layers = (
        TWO_LAYERS.replace("[1,0,-3]}", "[1,0,4000]}").replace("b1 : s5", "b1 : s13").replace("s1 : s12", "s1 : s14")
    )
    after = applied("drop-constant", text_graph(layers, "c : u2[] = argmax(s1)"))
    assert [node.kind for node in after.nodes] == ["input", "constant", "constant", "dense", "argmax"]
    assert after.constant("c_settled_weight").tolist() == [[0, 0]] * 3
    assert after.constant("c_settled_bias").tolist() == [0, 0, 1]
    assert after.classes == 3
    assert run(after, np.array([[0, 0], [15, 3]])).tolist() == [2, 2]


@pytest.mark.parametrize(("bias", "winner"), [("[5,5]", 0), ("[4,5]", 1), ("[5,4]", 0)])
def test_drop_constant_keeps_the_lowest_index_of_equal_classes(bias, winner):
    layers = f"""w : s2[2,2] = constant {{"data":[[0,0],[0,0]]}}
b : s5[2] = constant {{"data":{bias}}}
s : s6[2] = dense(x, w, b) {{"arithmetic":"exact<2>"}}"""
    graph = text_graph(layers, "c : u1[] = argmax(s)")
    after = applied("drop-constant", graph)
    assert run(after, np.array([[3, 1]])).tolist() == [winner]
    assert run(graph, np.array([[3, 1]])).tolist() == [winner]


def test_drop_constant_knows_that_a_tie_goes_to_the_lower_index():
    layers = """w : s2[2,2] = constant {"data":[[0,0],[-1,0]]}
b : s4[2] = constant {"data":[5,5]}
s : s6[2] = dense(x, w, b) {"arithmetic":"exact<2>"}"""
    after = applied("drop-constant", text_graph(layers, "c : u1[] = argmax(s)"))
    assert after.constant("c_settled_bias").tolist() == [1, 0]  # class 1 reaches 5, and loses the tie
    layers = layers.replace("[[0,0],[-1,0]]", "[[-1,0],[0,0]]")
    after = applied("drop-constant", text_graph(layers, "c : u1[] = argmax(s)"))
    assert "c_settled_bias" not in after.by_name  # class 0 reaches 5, and wins the tie


def test_center_logits_takes_what_columns_have_in_common():
    layers = """w : s8[3,2] = constant {"data":[[85,3],[86,3],[87,-3]]}
b : s8[3] = constant {"data":[100,101,99]}
s : s13[3] = dense(x, w, b) {"arithmetic":"exact<8>"}"""
    notes = []
    graph = text_graph(layers, "c : u2[] = argmax(s)")
    after = applied("center-logits", graph, notes)
    assert after.constant("w").tolist() == [[-1, 0], [0, 0], [1, -6]]
    assert after.constant("b").tolist() == [0, 1, -1]
    assert notes == ["s: 18 signed digits became 4"]
    assert count_signed_digits(after.constant("w").astype(object)) == 4


def test_center_logits_makes_two_classes_one_sign():
    layers = """w : s4[2,2] = constant {"data":[[1,-2],[3,7]]}
b : s4[2] = constant {"data":[2,-1]}
s : s9[2] = dense(x, w, b) {"arithmetic":"exact<4>"}"""
    graph = text_graph(layers, "c : u1[] = argmax(s)")
    after = applied("center-logits", graph)
    assert after["c"].op == Threshold(-1)
    assert after.constant("w").tolist() == [[2, 9]]
    assert after.constant("b").tolist() == [-4]
    assert str(after["s"].op.arithmetic) == "exact<5>"
    grid = np.array([[a, b] for a in range(16) for b in range(16)])
    assert np.array_equal(run(graph, grid), run(after, grid))
    tie = np.array([[0, 0]])
    assert run(graph, tie).tolist() == run(after, tie).tolist() == [0]


def test_center_logits_makes_a_threshold_a_sign():
    layers = """w : s4[1,2] = constant {"data":[[1,-2]]}
b : s4[1] = constant {"data":[2]}
s : s7[1] = dense(x, w, b) {"arithmetic":"exact<4>"}"""
    graph = text_graph(layers, 'c : u1[] = threshold(s) {"threshold":9}')
    after = applied("center-logits", graph)
    assert after["c"].op == Threshold(-1)
    assert after.constant("b").tolist() == [-8]
    grid = np.array([[a, b] for a in range(16) for b in range(16)])
    assert np.array_equal(run(graph, grid), run(after, grid))


def test_center_logits_leaves_an_argmax_that_reads_no_dense():
    graph = text_graph(TWO_LAYERS + "\nr1 : u12[3] = relu(s1)", "c : u2[] = argmax(r1)")
    assert applied("center-logits", graph) is graph


@pytest.mark.parametrize("name", EXACT)
def test_layers_that_share_constants_stay_right(name):
    layers = """w : s4[2,2] = constant {"data":[[1,-2],[0,7]]}
b : s4[2] = constant {"data":[2,-1]}
s0 : s9[2] = dense(x, w, b) {"arithmetic":"exact<4>"}
r0 : u8[2] = relu(s0)
s1 : s12[2] = dense(r0, w, b) {"arithmetic":"exact<4>"}"""
    graph = text_graph(layers, "c : u1[] = argmax(s1)")
    after = applied(name, graph)
    grid = np.array([[a, b] for a in range(16) for b in range(16)])
    assert np.array_equal(run(graph, grid), run(after, grid))


def test_sums_beyond_64_bits_stay_right():
    big = 1 << 70
    layers = f"""w : s75[3,2] = constant {{"data":[[{big},1],[{big + 1},1],[{big},{-big}]]}}
b : s80[3] = constant {{"data":[{big},0,{-big * 9}]}}
s : s90[3] = dense(x, w, b) {{"arithmetic":"exact<75>"}}"""
    graph = text_graph(layers, "c : u2[] = argmax(s)")
    grid = np.array([[a, b] for a in range(16) for b in range(16)])
    for name in EXACT:
        assert np.array_equal(run(graph, grid), run(applied(name, graph), grid))


def test_scales_stay():
    for seed in range(16):
        graph = random_graph(seed)
        for name in EXACT:
            after = applied(name, graph)
            for node in after.nodes:
                before = graph.by_name.get(node.name)
                if before is not None and before.kind == node.kind and isinstance(node.type.format, Fixed):
                    assert node.type.format.scale == before.type.format.scale
    assert isinstance(random_graph(0).input.type.format.scale, Fraction)


def test_exact_passes_do_not_touch_their_argument():
    graph = random_graph(11)
    copy = replace(graph, nodes=tuple(graph.nodes))
    for name in EXACT:
        applied(name, graph)
    assert graph == copy
