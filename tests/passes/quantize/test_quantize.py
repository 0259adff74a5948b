"""quantize-inputs, quantize-weights, requantize-hidden and the pipeline that they make."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from approxhw.common.data.dataset import Dataset
from approxhw.common.errors import OptionError, PassError
from approxhw.ir.evaluation import accuracy, codes_of, predict
from approxhw.ir.graph import Graph, Node
from approxhw.ir.interpreter import run, run_all
from approxhw.ir.kinds import Affine, ArgMax, Clip, Constant, Dense, Input, LeakyRelu, Relu, Requantize, Threshold, Type
from approxhw.ir.pass_manager import PassContext, named_pipeline, parse_passes, run_passes
from approxhw.ir.random_graphs import random_float_graph, random_graph
from approxhw.ir.text import parse_graph
from approxhw.ir.verifier import verify
from approxhw.numerics.formats import FLOAT64, Fixed
from approxhw.passes.quantize.quantize_weights import quantized


def network(weights, biases, clip=None, threshold=None, n=None):
    """A float Graph of Dense and Relu (or Clip), ending in ArgMax or Threshold."""
    n = n or len(weights[0][0])
    names = tuple(f"f{i}" for i in range(n))
    nodes, last = [Node("x", Input(names, names), (), Type((n,), FLOAT64))], "x"
    for i, (w, b) in enumerate(zip(weights, biases)):
        w, b = np.array(w, dtype=np.float64), np.array(b, dtype=np.float64)
        kind = Type(b.shape, FLOAT64)
        nodes += [Node(f"w{i}", Constant(w), (), Type(w.shape, FLOAT64)), Node(f"b{i}", Constant(b), (), kind)]
        nodes.append(Node(f"s{i}", Dense(), (last, f"w{i}", f"b{i}"), kind))
        last = f"s{i}"
        if i < len(weights) - 1:
            nodes.append(Node(f"r{i}", Clip(*clip) if clip else Relu(), (last,), kind))
            last = f"r{i}"
    op = ArgMax() if threshold is None else Threshold(threshold)
    bits = 1 if threshold is not None else max(1, (len(biases[-1]) - 1).bit_length())
    graph = Graph("g", (*nodes, Node("c", op, (last,), Type((), Fixed(bits)))), "c")
    verify(graph)
    return graph


def dataset(rows, labels=None):
    rows = np.array(rows, dtype=np.float64)
    labels = np.zeros(len(rows), dtype=np.int64) if labels is None else np.array(labels)
    return Dataset(rows, labels, rows[:0], labels[:0])


SMALL = ([[[1.0, -2.0], [0.5, 0.25]], [[1.0, -1.0], [0.25, 2.0]]], [[0.1, -0.3], [0.0, 0.7]])


def test_inputs_take_their_range_from_training_rows_and_count_what_saturates():
    graph = network(*SMALL)
    train = np.array([[0.0, 5.0], [2.0, 5.0], [1.0, 5.0]])
    test = np.array([[-1.0, 5.0], [3.0, 6.0]])
    context = PassContext(Dataset(train, np.zeros(3, int), test, np.zeros(2, int)))
    (item,) = parse_passes("quantize-inputs{bits=3,ranges=extremes}")
    after = item(graph, context)
    verify(after)
    encoding = after.input.op.encoding
    assert (encoding.bits, encoding.rule, encoding.low, encoding.high) == (3, "round", (0.0, 5.0), (2.0, 5.0))
    assert after.input.type == Type((2,), Fixed(3))
    assert context.notes == ["0 of 6 training readings saturate", "3 of 4 test readings saturate"]
    reading = run_all(after, codes_of(after, train))["x_reading"]
    assert np.abs(reading - train).max() <= 2 / 7 / 2 + 1e-12
    assert reading[:, 1].tolist() == [5.0] * 3  # a constant feature stands for its value


def test_the_error_of_an_input_code_is_at_most_half_a_step():
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(500, 4)) * [1, 10, 0.01, 3]
    graph = network([np.eye(4)], [np.zeros(4)])
    for bits in (1, 2, 3, 4, 8, 16):
        after, _ = run_passes(
            graph, parse_passes(f"quantize-inputs{{bits={bits},ranges=extremes}}"), PassContext(dataset(rows))
        )
        reading = run_all(after, codes_of(after, rows))["x_reading"]
        step = (rows.max(0) - rows.min(0)) / (2**bits - 1)
        assert (np.abs(reading - rows).max(0) <= step / 2 * (1 + 1e-9)).all()


def test_ranges_by_squared_error_leave_the_tail_outside():
    """A long tail does not coarsen the steps of all other readings; the error is never larger than with the extremes."""
    rng = np.random.default_rng(6)
    rows = np.stack([rng.exponential(size=1000), rng.uniform(size=1000), np.full(1000, 4.0)], axis=1)
    graph = network([np.eye(3)], [np.zeros(3)])
    errors, ends, outside = {}, {}, {}
    for ranges in ("mse", "extremes"):
        context = PassContext(dataset(rows))
        (item,) = parse_passes(f"quantize-inputs{{ranges={ranges}}}")
        after = item(graph, context)
        verify(after)
        errors[ranges] = ((run_all(after, codes_of(after, rows))["x_reading"] - rows) ** 2).mean(axis=0)
        ends[ranges] = (after.input.op.encoding.low, after.input.op.encoding.high)
        outside[ranges] = int(context.notes[0].split(" of 3000 training readings saturate")[0])
    assert ends["extremes"] == (tuple(rows.min(0)), tuple(rows.max(0)))
    assert outside["extremes"] == 0
    assert 0 < outside["mse"] < 0.05 * 2 * 2 * 1000
    assert errors["mse"][0] < 0.8 * errors["extremes"][0]
    assert (errors["mse"] <= errors["extremes"]).all()
    assert (ends["mse"][0][2], ends["mse"][1][2]) == (4.0, 4.0)


def test_an_unknown_way_to_ranges_is_refused():
    with pytest.raises(OptionError, match=r"quantize-inputs\.ranges: there is no 'mean'; there are mse, extremes"):
        parse_passes("quantize-inputs{ranges=mean}")


def test_floor16_stands_for_the_middle_of_its_cell():
    graph = network(*SMALL)
    after, _ = run_passes(graph, parse_passes("quantize-inputs{code=floor16}"))
    assert codes_of(after, np.array([[0.0, 0.99], [0.0624, 0.0625], [-1.0, 2.0]])).tolist() == [
        [0, 15],
        [0, 1],
        [0, 15],
    ]
    assert run_all(after, np.array([[0, 15]]))["x_reading"].tolist() == [[1 / 32, 31 / 32]]


def test_given_ranges_need_no_rows():
    graph = network(*SMALL)
    after, _ = run_passes(graph, parse_passes("quantize-inputs{low=0,high=1:2}"))
    assert (after.input.op.encoding.low, after.input.op.encoding.high) == ((0.0, 0.0), (1.0, 2.0))


@pytest.mark.parametrize(
    ("options", "rows", "text"),
    [
        (
            "",
            None,
            "low, high: no training rows to take the range of each feature from\n"
            "    do: give data with training rows (--data, data= in Python), or the options low and high",
        ),
        ("{low=0}", None, "no training rows"),
        ("{low=0:1:2,high=1}", None, "low: 3 numbers for 2 features"),
        ("{low=2,high=1}", None, "low is greater than high for some feature"),
        ("", [[1, 2, 3]], "data: the model reads 2 features, the data has 3"),
    ],
)
def test_ranges_that_cannot_be_are_refused(options, rows, text):
    (item,) = parse_passes(f"quantize-inputs{options}")
    with pytest.raises(PassError) as caught:
        item(network(*SMALL), PassContext(None if rows is None else dataset(rows)))
    assert text in str(caught.value)


def test_every_reader_of_the_input_reads_readings():
    graph = network(*SMALL)
    s = Node("s", Constant(np.array([1.0, 2.0])), (), Type((2,), FLOAT64))
    graph = Graph("g", (*graph.nodes, s, Node("a", Affine(), ("x", "s", "s"), Type((2,), FLOAT64))), "a")
    after, _ = run_passes(graph, parse_passes("quantize-inputs{low=0,high=15}"))
    assert [node.name for node in after.readers("x")] == ["x_reading"]
    assert run(after, np.array([[3, 4]])).tolist() == [[4.0, 10.0]]


@pytest.mark.parametrize("bits", range(2, 17))
def test_weights_are_the_nearest_codes_of_the_best_scale(bits):
    rng = np.random.default_rng(bits)
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    for trial in range(30):
        weights = rng.normal(size=(3, 4)) * 10.0 ** rng.integers(-9, 9)
        if trial % 3 == 0:
            weights[0, 0] = 2.0 ** rng.integers(-20, 20) * rng.choice([-1, 1])
        codes, fraction = quantized(weights, bits)
        assert low <= codes.min()
        assert codes.max() <= high

        def error(f, w=weights):
            return float(((np.clip(np.floor(w * 2.0**f + 0.5), low, high) / 2.0**f - w) ** 2).sum())

        best = min((error(f), f) for f in range(fraction - 12, fraction + 4))
        assert error(fraction) == pytest.approx(best[0], rel=1e-9)
        assert np.array_equal(codes, np.clip(np.floor(weights * 2.0**fraction + 0.5), low, high))


@pytest.mark.parametrize(
    "weights",
    [
        np.zeros((2, 3)),
        np.array([[1e-300, 0.0]]),
        np.array([[1e300, 1e-300]]),
        np.array([[5e-324]]),
        np.array([[-1.0]]),
        np.array([[1.0]]),
        np.array([[-128.0, 127.0]]),
    ],
)
def test_extreme_weights(weights):
    codes, fraction = quantized(weights, 8)
    scale = Fraction(2) ** -fraction
    worst = max(abs(int(c) * scale - Fraction(w)) for c, w in zip(codes.ravel().tolist(), weights.ravel().tolist()))
    assert worst <= max(map(abs, map(Fraction, weights.ravel().tolist()))) / 100


def test_biases_take_the_scale_of_the_product():
    graph, _ = run_passes(network(*SMALL), parse_passes("quantize-inputs{low=0,high=15},fold-affine,quantize-weights"))
    assert graph.is_integer
    f0, f1 = (graph[f"w{i}"].type.format.scale for i in (0, 1))
    assert graph["b0"].type.format.scale == f0
    assert graph["b1"].type.format.scale == f0 * f1
    assert graph.constant("b0").tolist() == [math.floor(Fraction(v) / f0 + Fraction(1, 2)) for v in (0.1, -0.3)]
    assert graph.constant("b1").tolist() == [0, math.floor(Fraction(0.7) / (f0 * f1) + Fraction(1, 2))]


def test_real_values_stay_near_through_the_whole_network():
    """Codes times scale follow the float network within the rounding of weights, biases and bounds."""
    rng = np.random.default_rng(2)
    for trial in range(20):
        w = [rng.normal(size=(5, 4)), rng.normal(size=(4, 5)), rng.normal(size=(3, 4))]
        b = [rng.normal(size=5), rng.normal(size=4), rng.normal(size=3)]
        graph = network(w, b, clip=(0.0, 2.5) if trial % 2 else None)
        rows = rng.uniform(0, 1, (100, 4))
        text = "quantize-inputs{bits=12,low=0,high=1},fold-affine,quantize-weights{bits=16}"
        after, _ = run_passes(graph, parse_passes(text))
        real = run_all(graph, rows)["s2"]
        codes = run_all(after, codes_of(after, rows))["s2"]
        assert np.abs(codes * float(after["s2"].type.format.scale) - real).max() < 0.02


@pytest.mark.parametrize("threshold", [0.0, 0.3, -0.3, 2.0, 0.749, 0.751])
def test_a_threshold_on_codes_says_the_same(threshold):
    graph = network([[[1.0, -0.5]]], [[0.25]], threshold=threshold)
    after, _ = run_passes(graph, parse_passes("quantize-inputs{low=0,high=15},fold-affine,quantize-weights"))
    grid = np.array([[a, b] for a in range(16) for b in range(16)])
    assert np.array_equal(run(graph, grid.astype(float)), run(after, grid))  # every weight here is an exact code


def test_a_zero_point_goes_into_the_bias():
    text = (
        'axir 1\ngraph g\nx : u4<2^-1,zero=5>[2] = input {"features":["a","b"],"titles":["a","b"],"encoding":'
        '{"bits":4,"rule":"linear","low":[-2.5,-2.5],"high":[5,5]}}\n'
        'w : float<11,52>[2,2] = constant {"data":[[1.5,-2.0],[0.25,3.0]]}\n'
        'b : float<11,52>[2] = constant {"data":[0.5,-1.0]}\n'
        "r : float<11,52>[2] = relu(x)\ny : float<11,52>[2] = dense(r, w, b)\nc : u1[] = argmax(y)\noutput c\n"
    )
    graph = parse_graph(text)
    after, _ = run_passes(graph, parse_passes("quantize-weights"))
    assert after["r"].op == Clip(5, None)
    grid = np.array([[a, b] for a in range(16) for b in range(16)])
    real = run_all(graph, grid)["y"]
    assert np.array_equal(run_all(after, grid)["y"] * float(after["y"].type.format.scale), real)


def test_an_all_zero_layer_is_fine():
    graph = network([np.zeros((2, 2)), [[1.0, 2.0], [3.0, 4.0]]], [[0.0, 1.5], [0.0, 0.0]])
    after, _ = run_passes(graph, named_pipeline("printed-exact", low=(0.0,), high=(1.0,)))
    assert run(after, np.array([[0, 0], [15, 15]])).tolist() == [1, 1]


def test_what_is_not_ready_is_refused_all_at_once():
    graph = random_float_graph(14)
    with pytest.raises(PassError, match=r"x: the Input has no codes yet\n    do: run quantize-inputs before"):
        run_passes(graph, parse_passes("quantize-weights"))
    named = network(*SMALL)
    with pytest.raises(PassError, match=r"x_reading: a real-valued affine has no codes\n    do: run fold-affine"):
        run_passes(named, parse_passes("quantize-inputs{low=0,high=1},quantize-weights"))
    for name in ("requantize-hidden", "drop-constant"):
        with pytest.raises(PassError, match="run quantize-weights before"):
            run_passes(named, parse_passes(name))


def test_integer_graphs_pass_untouched():
    graph = random_graph(5)
    after, ledger = run_passes(graph, parse_passes("quantize-inputs,fold-affine,quantize-weights"))
    assert after is graph
    assert ledger[0].notes == ("the Input has codes already",)
    assert ledger[2].notes == ("the model is quantised already: its integers stay",)


@pytest.mark.parametrize("rational", [False, True])
def test_every_float_graph_becomes_an_integer_graph(rational):
    graphs = 0
    for seed in range(60):
        graph = random_float_graph(seed, rational=rational)
        for options in ("{low=-1,high=2}", "{input_bits=2,weight_bits=2,hidden_bits=3,low=0,high=1}"):
            after, _ = run_passes(graph, parse_passes(f"printed-exact{options}"))
            assert after.is_integer
            assert after.labels == graph.labels
            graphs += 1
    assert graphs == 120


def hidden_graph():
    rng = np.random.default_rng(0)
    graph = network(
        [rng.normal(size=(6, 4)), rng.normal(size=(5, 6)), rng.normal(size=(3, 5))],
        [rng.normal(size=6), rng.normal(size=5), rng.normal(size=3)],
    )
    rows = rng.uniform(0, 1, (400, 4))
    return graph, Dataset(rows, run(graph, rows), rows, run(graph, rows))


@pytest.mark.parametrize("options", ["", "{percentile=none}", "{rounding=half-up}", "{bits=12}"])
def test_hidden_values_get_their_bits_and_the_rest_follows(options):
    graph, data = hidden_graph()
    full, _ = run_passes(graph, named_pipeline("printed-exact", input_bits=8, weight_bits=10), PassContext(data))
    (item,) = parse_passes(f"requantize-hidden{options}")
    passes = [*parse_passes("quantize-inputs{bits=8},fold-affine,quantize-weights{bits=10}"), item]
    after, ledger = run_passes(graph, passes, PassContext(data))
    cuts = [node for node in after.nodes if isinstance(node.op, Requantize)]
    assert [node.inputs for node in cuts] == [("r0",), ("r1",)]
    assert all(node.type.format.bits <= item.bits for node in cuts)
    assert len(ledger[-1].notes) == 2
    # real values: scales follow the shifts
    rows = data.X_train
    real = run_all(graph, rows)["s2"]
    cut = run_all(after, codes_of(after, rows))["s2"] * float(after["s2"].type.format.scale)
    assert np.abs(cut - real).max() < 0.15 * np.abs(real).max()
    assert accuracy(full, rows, data.y_train) > 0.95
    assert accuracy(after, rows, data.y_train) > 0.93


def leaking(graph, alpha):
    """*graph* with leaky ReLUs for its ReLUs."""
    op = LeakyRelu(Fraction(alpha))
    return replace(graph, nodes=tuple(replace(n, op=op) if isinstance(n.op, Relu) else n for n in graph.nodes))


@pytest.mark.parametrize(
    ("alpha", "kept"), [("1/8", "1/8"), ("3", "3"), (0.01, "41/4096"), ("1/3", "85/256"), (0, "0")]
)
def test_a_leak_becomes_a_fraction_that_a_weight_code_holds(alpha, kept):
    passes = parse_passes("quantize-inputs{low=0,high=1},fold-affine,quantize-weights{bits=8}")
    after, _ = run_passes(leaking(network(*SMALL), alpha), passes)
    assert after["r0"].op == LeakyRelu(Fraction(kept))


def test_quantised_leaks_differ_from_real_ones_by_less_than_a_step_of_the_sum():
    rng = np.random.default_rng(4)
    graph = leaking(network([rng.normal(size=(5, 3)), rng.normal(size=(2, 5))], [[0.0] * 5, [0.0] * 2]), "3/16")
    after, _ = run_passes(graph, parse_passes("quantize-inputs{low=0,high=1},fold-affine,quantize-weights"))
    values = run_all(after, rng.integers(0, 16, (300, 3)))
    sums, step = values["s0"], after["s0"].type.format.scale
    assert after["r0"].type.format.scale == step
    exact = np.where(sums < 0, sums * (3 / 16), sums)
    assert ((exact - values["r0"] >= 0) & (exact - values["r0"] < 1)).all()
    assert (sums < 0).sum() > 100


def test_a_leak_of_an_input_with_a_zero_point_has_no_codes():
    graph = leaking(network(*SMALL), "1/8")
    graph, _ = run_passes(graph, parse_passes("quantize-inputs{low=0,high=1},fold-affine"))
    x, leak = graph.input, Node("leak", LeakyRelu(Fraction(1, 8)), ("x",), Type((2,), FLOAT64))
    nodes = (replace(x, type=Type((2,), Fixed(4, zero=3))), leak, *graph.nodes[1:])
    graph = replace(
        graph, nodes=tuple(replace(n, inputs=("leak", *n.inputs[1:])) if n.name == "s0" else n for n in nodes)
    )
    (item,) = parse_passes("quantize-weights")
    with pytest.raises(PassError, match="leak: leakyrelu of codes whose zero point is 3 has no codes"):
        item(graph, PassContext())


@pytest.mark.parametrize("bits", [4, 8])
def test_hidden_values_behind_a_leak_are_signed(bits):
    graph, data = hidden_graph()
    passes = parse_passes(
        f"quantize-inputs{{bits=8}},fold-affine,quantize-weights{{bits=10}},requantize-hidden{{bits={bits}}}"
    )
    after, _ = run_passes(leaking(graph, "1/2"), passes, PassContext(data))
    cuts = [node for node in after.nodes if isinstance(node.op, Requantize)]
    assert [node.inputs for node in cuts] == [("r0",), ("r1",)]
    assert {(node.op.low, node.op.high) for node in cuts} == {(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)}
    values = run_all(after, codes_of(after, data.X_train))
    assert (values[cuts[0].name] < 0).any()
    real = run_all(leaking(graph, "1/2"), data.X_train)["s2"]
    cut = values["s2"] * float(after["s2"].type.format.scale)
    assert np.abs(cut - real).max() < (0.6 if bits == 4 else 0.1) * np.abs(real).max()


def test_hidden_values_that_are_narrow_already_stay():
    graph, data = hidden_graph()
    after, _ = run_passes(graph, parse_passes("quantize-inputs,fold-affine,quantize-weights"), PassContext(data))
    (item,) = parse_passes("requantize-hidden{bits=32}")
    assert item(after, PassContext(data)) == after


def test_bounds_and_thresholds_follow_a_coarser_scale():
    graph = network([[[1.0, 2.0]], [[1.0]], [[2.0]]], [[0.0], [0.5], [1.0]], clip=(0.0, 30.0), threshold=30.0)
    passes = parse_passes("quantize-inputs{low=0,high=15},fold-affine,quantize-weights,requantize-hidden{bits=4}")
    after, _ = run_passes(graph, passes)
    assert sum(isinstance(node.op, Requantize) for node in after.nodes) == 2
    grid = np.array([[a, b] for a in range(16) for b in range(16)])
    real = run_all(graph, grid.astype(float))["s2"][:, 0]
    codes = run_all(after, grid)["s2"][:, 0] * float(after["s2"].type.format.scale)
    assert np.abs(real - codes).max() <= 10  # 30 in 4 bits: steps of 2, dropped twice, times 2
    clear = np.abs(real - 30.0) > 10
    assert clear.sum() > 100
    assert np.array_equal(run(after, grid)[clear], run(graph, grid.astype(float))[clear])


def test_zero_readings_are_no_special_case():
    graph = replace(network(*SMALL), labels=("a", "b"))
    after, _ = run_passes(graph, named_pipeline("printed-exact"), PassContext(dataset([[0, 0], [0, 0]])))
    assert run(after, np.array([[0, 0], [15, 15]])).shape == (2,)
    assert after.labels == ("a", "b")


def test_halves_round_up_and_nothing_else_is_rounded():
    from approxhw.passes.quantize.quantize_weights import _codes

    below = np.nextafter(0.5, 0)
    values = np.array([0.5, below, -0.5, -np.nextafter(0.5, 1), 1.5, 2.0**52 + 1])
    assert _codes(values, 0).tolist() == [1, 0, 0, -1, 2, 2**52 + 1]
    exact = np.array([Fraction(v) for v in values.tolist()], dtype=object)
    assert _codes(exact, 0).tolist() == [1, 0, 0, -1, 2, 2**52 + 1]


def test_floats_and_fractions_give_the_same_codes():
    rng = np.random.default_rng(9)
    for _ in range(50):
        weights = rng.normal(size=(4, 5)) * 10.0 ** rng.integers(-5, 5)
        fractions = np.array([[Fraction(v) for v in row] for row in weights.tolist()], dtype=object)
        for bits in (2, 5, 8, 16):
            (a, f), (b, g) = quantized(weights, bits), quantized(fractions, bits)
            assert f == g
            assert np.array_equal(a, b)


@pytest.mark.parametrize(
    "biases", [[0.3, 0.7, -0.2], [1e-30, 3e-30, 2e-30], [5e20, 5e20, 5.000001e20], [0.0, 0.0, 0.0]]
)
def test_a_layer_without_weights_goes_by_its_biases(biases):
    """Their scale is not that of weights, which are all 0: a class whose score is greatest stays it."""
    data = dataset([[0.0, 1.0], [2.0, 3.0]])
    for hidden in (False, True):
        weights, above = [[[0.0, 0.0]] * 3], [biases]
        if hidden:  # a dead hidden layer in front of a living one
            weights, above = [*weights, np.eye(3).tolist()], [*above, [0.0] * 3]
        context = PassContext(data)
        integer, _ = run_passes(network(weights, above), parse_passes("printed-exact"), context)
        assert set(predict(integer, data.X_train).tolist()) == {int(np.argmax(biases))}


def test_a_logit_without_weights_keeps_its_sign():
    for bias in (0.3, -0.3, 1e-9):
        context = PassContext(dataset([[0.0, 1.0], [2.0, 3.0]]))
        integer, _ = run_passes(
            network([[[0.0, 0.0]]], [[bias]], threshold=0.0), parse_passes("printed-exact"), context
        )
        assert predict(integer, context.data.X_train).tolist() == [int(bias > 0)] * 2
