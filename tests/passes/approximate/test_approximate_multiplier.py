"""approximate-multiplier: what it puts in place of products, how biases follow, what it chooses, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from approxhw.common.data.dataset import Dataset
from approxhw.common.errors import OptionError, PassError
from approxhw.ir.evaluation import accuracy, codes_of
from approxhw.ir.graph import Graph, Node
from approxhw.ir.interpreter import run, run_all
from approxhw.ir.kinds import ArgMax, Dense, Input, Requantize, Type
from approxhw.ir.pass_manager import PassContext, parse_passes, run_passes, spell_pass
from approxhw.ir.rewriting import code_constant, fit_formats
from approxhw.ir.verifier import verify
from approxhw.numerics.formats import Encoding, Fixed
from approxhw.numerics.mac.arithmetic import ApproximateMultiplier as Table
from approxhw.numerics.mac.arithmetic import Exact
from approxhw.numerics.multipliers.families import own_operator
from approxhw.passes.approximate._operators import corrected, replaced
from approxhw.passes.approximate.approximate_multiplier import ApproximateMultiplier, choose_operators

RNG = np.random.default_rng(5)
WEIGHTS = (RNG.integers(-60, 60, (3, 5)), RNG.integers(-12, 12, (4, 3)))
BIASES = (np.array([500, 290, 511]), np.array([690, 195, -210, 300]))


def network(weights=WEIGHTS, biases=BIASES, shift=4) -> Graph:
    """Return u4 inputs → Dense → QReLU to u6 → Dense → ArgMax."""
    names = tuple(f"f{i}" for i in range(weights[0].shape[1]))
    n = len(names)
    encoding = Encoding(4, "round", (0.0,) * n, (1.0,) * n)
    nodes = [Node("x", Input(names, names, encoding), (), Type((n,), Fixed(4)))]
    read, wide = "x", Fixed(4000, True)
    for k, (w, b) in enumerate(zip(weights, biases)):
        nodes += [code_constant(f"w{k}", w), code_constant(f"b{k}", b)]
        nodes.append(Node(f"sum{k}", Dense(Exact(8)), (read, f"w{k}", f"b{k}"), Type((len(w),), wide)))
        read = f"sum{k}"
        if k + 1 < len(weights):
            nodes.append(Node(f"relu{k}", Requantize((1,), shift, (0,), 0, 63), (read,), Type((len(w),), wide)))
            read = f"relu{k}"
    nodes.append(Node("class_index", ArgMax(), (read,), Type((), Fixed(2))))
    graph = fit_formats(Graph("net", tuple(nodes), "class_index"))
    verify(graph)
    return graph


GRAPH = network()
ROWS = RNG.random((300, 5))
DATA = Dataset(ROWS, run(GRAPH, codes_of(GRAPH, ROWS)), ROWS[:0], np.zeros(0, dtype=np.int64))
CODES = codes_of(GRAPH, ROWS)


def changed(graph=GRAPH, data=DATA, context=None, **options) -> tuple[Graph, list[str]]:
    """Return the Graph after the pass, and its notes."""
    result, (record,) = run_passes(graph, [ApproximateMultiplier(**options)], context or PassContext(data))
    return result, list(record.notes)


def refused(graph=GRAPH, data=DATA, error=PassError, context=None, **options) -> str:
    with pytest.raises(error) as caught:
        changed(graph, data, context, **options)
    return str(caught.value)


# What it does ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["truncated-3", "truncated-3-corrected", "broken-array-4-1", "logarithmic"])
def test_every_product_is_the_operators(name):
    graph, _ = changed(operator=name, correct=False)
    operator, values = own_operator(name), run_all(graph, CODES)
    for layer, read, x_bits in (("sum0", "x", 4), ("sum1", "relu0", 6)):
        node = graph[layer]
        weights, bias = graph.constant(node.inputs[1]), graph.constant(node.inputs[2])
        assert isinstance(node.op, Dense)
        assert isinstance(node.op.arithmetic, Table)
        bits = node.op.arithmetic.weight_bits
        for row in range(0, 300, 37):
            for o, neuron in enumerate(weights.tolist()):
                products = [
                    operator.product(w, x, bits, x_bits) if w else 0 for w, x in zip(neuron, values[read][row].tolist())
                ]
                assert values[layer][row, o] == bias[o] + sum(products)


def test_chosen_layers_change_and_the_others_stay():
    for layers, wanted in (
        ((0,), [True, False]),
        ((1.0,), [False, True]),
        ((1, 0), [True, True]),
        (None, [True, True]),
    ):
        graph, _ = changed(layers=layers)
        assert [isinstance(graph[f"sum{k}"].op.arithmetic, Table) for k in (0, 1)] == wanted


def test_an_exact_operator_changes_nothing():
    graph, notes = changed(operator="truncated-0")
    assert (run(graph, CODES) == run(GRAPH, CODES)).all()
    assert (graph.constant("b0") == BIASES[0]).all()
    assert any(
        "sum0: on its own weights and training rows mean error distance 0, normalised 0" in note for note in notes
    )


def test_biases_take_up_the_mean_error_of_training_rows():
    plain, _ = changed(operator="truncated-4", correct=False)
    moved, notes = changed(operator="truncated-4")
    exact = run_all(GRAPH, CODES)["sum0"]
    before, after = (run_all(graph, CODES)["sum0"] - exact for graph in (plain, moved))
    assert (np.abs(before.mean(axis=0)) > 5).all()
    assert (np.abs(after.mean(axis=0)) <= 0.5).all()
    moves = moved.constant("b0") - plain.constant("b0")
    assert any(note.endswith(f"; biases moved by {moves.min()}…{moves.max()}") for note in notes)
    assert accuracy(moved, ROWS, DATA.y_train) > accuracy(plain, ROWS, DATA.y_train)


def test_later_layers_are_corrected_for_what_earlier_ones_give():
    moved, _ = changed(operator="broken-array-3-1")
    assert (moved.constant("b1") != BIASES[1]).any()
    values = run_all(moved, CODES)
    node = moved["sum1"]
    exact = values["relu0"] @ moved.constant(node.inputs[1]).T + BIASES[1]
    assert (np.abs((values["sum1"] - exact).mean(axis=0)) <= 0.5).all()


def test_biases_stay_where_moving_them_costs_accuracy():
    """In half of the rows every hidden value is 0, and so is every error: the mean error is wrong for both halves."""
    graph = network(biases=(np.array([-200, 90, -9999]), np.array([5, 0, -7, 1])))
    data = replace(DATA, y_train=run(graph, CODES))
    dead = (run_all(graph, CODES)["relu0"] == 0).all(axis=1).mean()
    assert 0.2 < dead < 0.8
    plain, _ = changed(graph, data, operator="truncated-4", layers=(1,), correct=False)
    kept, notes = changed(graph, data, operator="truncated-4", layers=(1,))
    assert (kept.constant("b1") == graph.constant("b1")).all()
    assert notes[-1].endswith("; biases stay")
    assert accuracy(kept, ROWS, data.y_train) == accuracy(plain, ROWS, data.y_train) > 0.9


def test_without_rows_biases_stay():
    graph, notes = changed(data=None, operator="truncated-4")
    assert (graph.constant("b0") == BIASES[0]).all()
    assert "no training rows: biases stay" in notes
    assert any(
        note.startswith("sum0: truncated-4 of 7 by 4 bits: over all pairs mean error distance 12.25") for note in notes
    )


def test_a_weight_of_0_has_no_product_unless_it_is_wanted():
    weights = (WEIGHTS[0] * (RNG.random((3, 5)) > 0.5), WEIGHTS[1])
    graph = network(weights)
    table = "truncated-4-corrected"
    skipped = changed(graph, operator=table, correct=False)[0]
    whole = changed(graph, operator=table, correct=False, skip_zero=False)[0]
    zeros = (weights[0] == 0).sum(axis=1)
    assert zeros.sum() > 0
    difference = run_all(whole, CODES)["sum0"] - run_all(skipped, CODES)["sum0"]
    assert (difference == 16 * zeros).all()


def test_a_bias_that_two_layers_share_is_not_moved_for_both():
    shared = network(biases=(np.zeros(3, dtype=int), np.zeros(3, dtype=int)), weights=(WEIGHTS[0], WEIGHTS[1][:3]))
    nodes = [
        replace(n, inputs=(*n.inputs[:2], "b0")) if n.name == "sum1" else n for n in shared.nodes if n.name != "b1"
    ]
    graph = fit_formats(replace(shared, nodes=tuple(nodes)))
    verify(graph)
    table = own_operator("truncated-4").table(8, 4)
    moved, moves = corrected(replaced(graph, "sum0", table), "sum0", CODES)
    assert moved.constant(moved["sum0"].inputs[2]).tolist() == moves
    assert (moved.constant(moved["sum1"].inputs[2]) == 0).all()
    assert (moved.constant(moved["sum0"].inputs[2]) != 0).all()


def test_a_table_from_a_file(tmp_path):
    products = np.arange(-64, 64)[:, None] * np.arange(16) + 3
    np.savez(tmp_path / "t.npz", table=np.roll(products, 64, axis=0), signed=[1, 0])
    graph, notes = changed(operator=str(tmp_path / "t.npz"), layers=(0,), correct=False)
    difference = run_all(graph, CODES)["sum0"] - run_all(GRAPH, CODES)["sum0"]
    assert (difference == 3 * (WEIGHTS[0] != 0).sum(axis=1)).all()
    assert any(note.startswith("sum0: t.npz: over all pairs mean error distance 3, ") for note in notes)
    assert "signed=none is stated, but the file says that operand a, the weight, is signed" in refused(
        error=OptionError, operator=str(tmp_path / "t.npz"), signed="none"
    )
    said = refused(operator=str(tmp_path / "t.npz"))
    assert (
        "x: codes 0…63 do not fit its unsigned 4-bit operand x (0…15)\n    do: cut hidden activations by requ" in said
    )


def test_wider_operands_than_the_layer_needs():
    narrow, wide = (changed(operator="truncated-4", **bits)[0] for bits in ({}, {"weight_bits": 9, "x_bits": 7}))
    assert (run(narrow, CODES) == run(wide, CODES)).all()
    assert wide["sum0"].op.arithmetic == Table(9, 4)
    said = refused(operator="logarithmic", weight_bits=4)
    assert "2 problems\n  sum0, weights: weights " in said
    assert "do not fit its signed 4-bit weight operand (-8…7)\n    do: quantise weights to 4 bits" in said


# Choosing -------------------------------------------------------------------------------------------------------------


def area(graph: Graph) -> float:
    """Return a price for tests: 10 a layer, less the bits that are dropped in its products."""
    saved = 0.0
    for name in ("sum0", "sum1"):
        node = graph[name]
        if isinstance(node.op.arithmetic, Table):
            saved += {0: 1, 1: 2}.get(int(graph.constant(node.inputs[3]).flatten()[1:].min() % 2), 0)
            saved += int((graph.constant(node.inputs[3]) % 64 == 0).all()) * 5
    return 20 - saved


CONTEXT = PassContext(DATA, area=area)


def test_the_smallest_that_holds_the_accuracy_is_chosen():
    graph, notes = changed(context=CONTEXT, operators="truncated-6:truncated-1:exact", max_loss=1.0)
    assert notes[0].startswith("sum0: truncated-6; mm² saved in this layer alone: truncated-6 6, truncated-1 1")
    assert notes[-1] == "20 mm² became 8 mm²"
    none, notes = changed(context=CONTEXT, operators="truncated-6:truncated-6-corrected:exact", max_loss=0.0)
    assert accuracy(none, ROWS, DATA.y_train) == 1
    some, _ = changed(context=CONTEXT, operators="truncated-6:truncated-3:truncated-1:exact", max_loss=0.1)
    reached = accuracy(some, ROWS, DATA.y_train)
    assert 0.9 <= reached < 1
    assert area(graph) < area(some) < area(none) == 20


def test_it_is_the_best_of_all_combinations():
    names = ["truncated-6", "truncated-3", "exact"]
    makers = {
        name: None if name == "exact" else (lambda graph, node, name=name: own_operator(name).table(8, 6))
        for name in names
    }
    built, choice = choose_operators(GRAPH, ["sum0", "sum1"], makers, DATA, area, 0.15)
    reached = accuracy(built, ROWS, DATA.y_train)
    assert choice.accuracy == reached >= 0.85
    assert (choice.exact_mm2, choice.area_mm2) == (20, area(built))
    for one in names:
        for other in names:
            wanted = {f"sum{k}": n for k, n in enumerate((one, other)) if n != "exact"}
            graph = GRAPH
            for layer, name in wanted.items():
                graph, _ = changed(graph, operator=name, layers=(int(layer[-1]),), weight_bits=8, x_bits=6)
            if accuracy(graph, ROWS, DATA.y_train) >= 0.85:
                assert area(built) <= area(graph)


def test_nothing_holds_the_accuracy():
    said = refused(context=CONTEXT, operators="truncated-9", max_loss=0.01)
    assert "operators: no combination loses at most 0.01: the best has 0." in said
    assert "of 1.0000 on training rows\n    do: add exact, or allow more by max_loss" in said


def test_choosing_needs_rows_and_a_ruler():
    assert "operators are chosen by training rows, and there are none" in refused(
        data=None, operators="logarithmic:exact"
    )
    said = refused(operators="logarithmic:exact")
    assert "operators are chosen by synthesised area, and nothing here synthesises\n    do: run it by approxhw" in said
    many = ":".join(f"truncated-{k}" for k in range(65))
    said = refused(context=CONTEXT, operators=many)
    assert "65 operators in 2 layers are 4225 combinations, more than 4096" in said


# What it refuses ------------------------------------------------------------------------------------------------------


def test_options_are_refused_all_at_once():
    with pytest.raises(OptionError) as caught:
        parse_passes(
            "approximate-multiplier{operator=booth,signed=x,layers=0:0.5:-1,weight_bits=0,max_loss=2,weight=w}"
        )
    said = str(caught.value)
    assert said.startswith("passes: 8 problems\n")
    for part in (
        "approximate-multiplier.operator: there is no operator 'booth'; there are truncated-COLUMNS, ",
        "approximate-multiplier.signed: 'x' is not one of found, weight, none, both",
        "approximate-multiplier.layers: 0.5 is no layer: they are numbered 0, 1, …",
        "approximate-multiplier.layers: -1.0 is no layer",
        "approximate-multiplier.weight_bits: 0 is less than 1",
        "approximate-multiplier.max_loss: 2.0 is not in 0…1",
        "approximate-multiplier.weight: 'w' is stated of operators that have signed weights and unsigned x",
    ):
        assert part in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("layers=0:0", "layers: name every layer once"),
        ("operator=logarithmic,operators=exact", "operator: several are named by operators"),
        ("operators=exact:bo.w", "operators: there is no operator 'bo.w'; there are truncated-COLUMNS, "),
        ("operator=exact", "operator: there is no operator 'exact'"),
        ("operator=logarithmic,top=mul", "top: 'mul' is stated of operators that have"),
    ],
)
def test_options_that_contradict_each_other(text, said):
    with pytest.raises(OptionError, match="approximate-multiplier") as caught:
        parse_passes(f"approximate-multiplier{{{text}}}")
    assert said in str(caught.value)


def test_spelled_and_read_again():
    for text in (
        "approximate-multiplier",
        "approximate-multiplier{operator=broken-array-4-1,layers=0.0:1.0,correct=false}",
        "approximate-multiplier{operator=mul.v,weight=w,signed=both,weight_bits=8,x_bits=8,top=mul}",
        "approximate-multiplier{operators=truncated-4:logarithmic:exact,max_loss=0.02}",
    ):
        (item,) = parse_passes(text)
        assert spell_pass(item) == text


def test_layers_that_are_not_there_or_not_exact():
    assert "layer 2: there is none of this number; there are: 0 sum0, 1 sum1" in refused(layers=(2,))
    graph, _ = changed(layers=(0,))
    said = refused(graph, layers=(0, 3))
    assert "2 problems" in said
    assert (
        "layer 0, sum0: its products are those of approximate-multiplier<7,4> already\n    do: name other layers"
        in said
    )


def test_operands_that_are_too_wide_are_named_by_their_layers():
    graph = rewired(GRAPH, Requantize((1,), 0, (0,), 0, (1 << 12) - 1))
    said = refused(graph, operators="logarithmic:truncated-2:exact", context=CONTEXT)
    assert said.startswith(
        "pass approximate-multiplier: 2 problems\n  sum1, logarithmic: 5 by 11 bits: the table of its "
    )
    assert "sum1, truncated-2: 5 by 11 bits: " in said
    assert "do: cut weights, or hidden activations by requantize-hidden" in said


def rewired(graph, op) -> Graph:
    return fit_formats(replace(graph, nodes=tuple(replace(n, op=op) if n.name == "relu0" else n for n in graph.nodes)))


def test_a_float_graph_has_no_products():
    from approxhw.ir.text import parse_graph

    graph = parse_graph(
        'axir 1\ngraph g\nx : float<11,52>[1] = input {"features":["a"],"titles":["a"]}\n'
        'w : float<11,52>[2,1] = constant {"data":[[1.0],[2.0]]}\nb : float<11,52>[2] = constant {"data":[0.0,1.0]}\n'
        "y : float<11,52>[2] = dense(x, w, b)\nc : u1[] = argmax(y)\noutput c\n"
    )
    said = refused(graph, None)
    assert "g: only an integer Graph has products to replace\n    do: run quantize-weights before" in said


def test_modules_need_someone_who_tabulates(tmp_path):
    said = refused(operator=str(tmp_path / "mul.v"))
    assert "it is a Verilog module, and nothing here tabulates one\n    do: run it by approxhw compile or opt" in said
    seen = []

    def tabulate(path, stated):
        seen.append((path.name, stated.weight, stated.signed, stated.top))
        return own_operator("truncated-3").table(8, 6)

    graph, _ = changed(
        context=PassContext(DATA, tabulate=tabulate),
        operator=str(tmp_path / "mul.v"),
        weight="w",
        signed="both",
        top="m",
    )
    assert seen == [("mul.v", "w", "both", "m")]
    assert (run(graph, CODES) == run(changed(operator="truncated-3")[0], CODES)).all()
