"""power-of-two: the Graph it makes, what it reads, what it refuses, and how accurate it is."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from approxhw.common.data.dataset import Dataset, load_dataset
from approxhw.common.errors import OptionError, PassError
from approxhw.frontends import read_model
from approxhw.ir.evaluation import accuracy, codes_of, predict
from approxhw.ir.graph import Graph, Node
from approxhw.ir.interpreter import run_all
from approxhw.ir.kinds import ArgMax, Clip, Constant, Dense, Input, LeakyRelu, Relu, Requantize, Threshold, Type
from approxhw.ir.pass_manager import PassContext, parse_passes, run_passes
from approxhw.ir.random_graphs import random_float_graph, random_graph
from approxhw.ir.text import parse_graph, print_graph
from approxhw.ir.verifier import verify
from approxhw.networks.chain import read_chain
from approxhw.networks.kernels.masked_network import classes_of
from approxhw.networks.space import encode_genome, space_of
from approxhw.numerics.formats import FLOAT64, Encoding, Fixed
from approxhw.numerics.mac.arithmetic import MaskedPowerOfTwo
from approxhw.passes.retrain.power_of_two import PowerOfTwo

TASKS = Path(__file__).resolve().parents[3].parent / "shared" / "tasks"
BEFORE = "quantize-inputs,fold-affine"


def network(weights, biases, clip=None, threshold=None):
    """A float Graph of Dense and Relu (or Clip), ending in ArgMax or Threshold."""
    n = len(weights[0][0])
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


def learnt(name, hidden, seed=0):
    """A float Graph that scikit-learn trained, and its data."""
    neural = pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")
    data = load_dataset(f"sklearn:{name}")
    low, high = data.X_train.min(axis=0), data.X_train.max(axis=0)
    span = np.where(high > low, high - low, 1)
    data = replace(data, X_train=(data.X_train - low) / span, X_test=(data.X_test - low) / span)
    model = neural.MLPClassifier(hidden, max_iter=2000, learning_rate_init=0.01, random_state=seed)
    model.fit(data.X_train, data.y_train)
    weights = [w.T for w in model.coefs_]
    return network(weights, model.intercepts_, threshold=0.0 if len(weights[-1]) == 1 else None), data


def applied(graph, data, options=""):
    return run_passes(graph, parse_passes(f"{BEFORE},power-of-two{options}"), PassContext(data))


def toy(seed=0, classes=3, features=4, rows=240):
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, 1, (classes, features))
    labels = rng.integers(0, classes, rows)
    readings = centres[labels] + rng.normal(0, 0.12, (rows, features))
    half = rows // 2
    return Dataset(readings[:half], labels[:half], readings[half:], labels[half:])


def random_network(rng, sizes, **kwargs):
    weights = [rng.normal(size=(m, n)) for n, m in pairwise(sizes)]
    return network(weights, [rng.normal(size=m) * 0.3 for m in sizes[1:]], **kwargs)


@pytest.mark.parametrize(
    ("sizes", "threshold"), [((4, 3), None), ((4, 1), 0.3), ((4, 5, 3), None), ((4, 3, 3, 1), -0.1)]
)
def test_the_graph_is_of_the_masked_form_and_says_what_was_trained(sizes, threshold):
    rng = np.random.default_rng(len(sizes))
    graph, data = random_network(rng, sizes, threshold=threshold), toy(classes=2 if threshold is not None else 3)
    after, ledger = applied(graph, data, "{epochs=30}")
    verify(after)
    assert parse_graph(print_graph(after)) == after
    dense = [node for node in after.nodes if isinstance(node.op, Dense)]
    cuts = [node for node in after.nodes if isinstance(node.op, Requantize)]
    assert [node.name for node in dense] == [f"s{i}" for i in range(len(sizes) - 1)]
    assert [node.name for node in cuts] == [f"r{i}" for i in range(len(sizes) - 2)]
    for number, node in enumerate(dense):
        assert node.op.arithmetic == MaskedPowerOfTwo(7)
        assert (after.constant(node.inputs[3]) == (15 if number == 0 else 255)).all()
    for node in cuts:
        assert (node.op.multiplier, node.op.offset, node.op.low, node.op.high) == ((1,), (0,), 0, 255)
    head = after[after.output].op
    assert head == (ArgMax() if threshold is None else Threshold(0))
    space = space_of(after)
    codes = codes_of(after, data.X_train)
    classes = classes_of(space.layout, space.head, encode_genome(space, after)[None], codes)[0]
    assert np.array_equal(classes, predict(after, data.X_train))
    right = int((classes == data.y_train).sum())
    assert f"{right} of {len(data.y_train)} training rows right" in ledger[-1].notes[-1]


def test_options_set_the_widths():
    graph, data = random_network(np.random.default_rng(0), (4, 3, 3)), toy()
    after, _ = applied(graph, data, "{exponents=4,hidden_bits=5,epochs=5,starts=1}")
    space = space_of(after)
    assert [layer.exponent for layer in space.layers] == [3, 3]
    assert [layer.hidden_bits for layer in space.layers] == [5, 0]
    assert max(abs(after.constant("w0")).max(), abs(after.constant("w1")).max()) <= 8


def test_two_classes_become_one_logit_and_need_not():
    graph, data = random_network(np.random.default_rng(0), (4, 3, 2)), toy(classes=2)
    one, _ = applied(graph, data, "{epochs=20}")
    assert one["s1"].type.shape == (1,)
    assert one[one.output].op == Threshold(0)
    two, _ = applied(graph, data, "{epochs=20,one_logit=false}")
    assert two["s1"].type.shape == (2,)
    assert two[two.output].op == ArgMax()
    for after in (one, two):
        assert accuracy(after, data.X_train, data.y_train) > 0.9


def test_weights_that_are_powers_of_two_already_are_kept():
    """Without data there is nothing but rounding, and here nothing to round."""
    rng = np.random.default_rng(3)
    weights = [2.0 ** rng.integers(0, 8, (3, 4)) * rng.choice([-1, 1], (3, 4)) / 64 for _ in range(2)]
    weights[0][:, 0], weights[1] = 2.0, 2.0 ** rng.integers(0, 8, (3, 3)) / 4
    graph = network(weights, [np.zeros(3), np.zeros(3)])
    item = "quantize-inputs{low=0,high=15},fold-affine,power-of-two"
    after, ledger = run_passes(graph, parse_passes(item), PassContext(None))
    assert ledger[-1].notes == ("no training rows: weights were rounded to the nearest power of two, and not trained",)
    assert np.array_equal(after.constant("w0"), weights[0] * 64)
    ratio = after.constant("w1") / weights[1]
    assert np.unique(ratio).size == 1


def test_without_rows_the_network_still_says_much_of_what_it_said():
    graph, data = learnt("iris", (5,))
    low, high = data.X_train.min(axis=0), data.X_train.max(axis=0)
    ends = f"low={':'.join(map(str, low.tolist()))},high={':'.join(map(str, high.tolist()))}"
    item = f"quantize-inputs{{{ends}}},fold-affine,power-of-two"
    after, _ = run_passes(graph, parse_passes(item), PassContext(None))
    verify(after)
    assert np.mean(predict(after, data.X_train) == predict(graph, data.X_train)) > 0.6


@pytest.mark.parametrize(
    ("name", "hidden", "loss"), [("iris", (4,), 0.04), ("wine", (3,), 0.03), ("breast_cancer", (3,), 0.03)]
)
def test_retraining_beats_rounding(name, hidden, loss):
    graph, data = learnt(name, hidden)
    rounded, _ = applied(graph, data, "{epochs=0,starts=1}")
    trained, _ = applied(graph, data)
    figures = {}
    for title, after in (("float", graph), ("rounded", rounded), ("trained", trained)):
        figures[title] = accuracy(after, data.X_train, data.y_train)
    assert figures["trained"] >= figures["rounded"]
    assert figures["trained"] >= figures["float"] - 0.01
    assert accuracy(trained, data.X_test, data.y_test) >= accuracy(graph, data.X_test, data.y_test) - loss


def test_digits_with_two_hidden_layers():
    graph, data = learnt("digits", (12, 10))
    rounded, _ = applied(graph, data, "{epochs=0,starts=1}")
    trained, ledger = applied(graph, data, "{starts=1}")
    before, after = (accuracy(g, data.X_test, data.y_test) for g in (rounded, trained))
    assert after > before + 0.03
    assert after > accuracy(graph, data.X_test, data.y_test) - 0.04
    assert any("features have one code in all training rows" in note for note in ledger[-1].notes)
    constant = np.ptp(codes_of(trained, data.X_train), axis=0) == 0
    assert constant.sum() > 2
    assert not trained.constant("w0")[:, constant].any()


def test_a_constant_feature_goes_into_the_bias():
    rng = np.random.default_rng(1)
    data = toy()
    readings = np.hstack([data.X_train, np.full((len(data.X_train), 1), 0.5)])
    data = Dataset(readings, data.y_train, readings[:0], data.y_train[:0])
    graph = random_network(rng, (5, 3))
    item = parse_passes("quantize-inputs{low=0,high=1},fold-affine,power-of-two{epochs=0,starts=1}")
    after, ledger = run_passes(graph, item, PassContext(data))
    assert ledger[-1].notes[0] == "1 features have one code in all training rows, and are read no longer"
    assert not after.constant("w0")[:, 4].any()
    chain = read_chain(run_passes(graph, item[:2], PassContext(data))[0])[0]
    real, codes = chain.layers[0], codes_of(after, data.X_train)
    logits = codes @ real.weights.T + real.bias
    sums = run_all(after, codes)["s0"]
    scale = (sums.std() / logits.std()) if logits.std() else 1
    assert np.abs(sums.mean(axis=0) / scale - logits.mean(axis=0)).max() < 0.35 * np.abs(logits).max()


def test_one_seed_one_graph():
    graph, data = random_network(np.random.default_rng(0), (4, 3, 3)), toy()
    first, second, other = (applied(graph, data, f"{{epochs=10,seed={seed}}}")[0] for seed in (1, 1, 2))
    assert first == second
    assert first != other


def test_random_weights_learn_too():
    graph, data = random_network(np.random.default_rng(0), (4, 4, 3)), toy()
    after, _ = applied(graph, data, "{start=scratch}")
    assert accuracy(after, data.X_test, data.y_test) > 0.9


def test_hidden_layers_can_be_widened():
    graph, data = random_network(np.random.default_rng(0), (4, 2, 3)), toy()
    after, _ = applied(graph, data, "{hidden=5}")
    assert after["w0"].type.shape == (5, 4)
    assert after["w1"].type.shape == (3, 5)
    assert accuracy(after, data.X_test, data.y_test) > 0.9
    rounded, _ = run_passes(
        graph, parse_passes("quantize-inputs{low=0,high=1},fold-affine,power-of-two{hidden=5}"), PassContext(None)
    )
    assert rounded["w0"].type.shape == (5, 4)


def test_a_masked_graph_is_retrained_with_its_masks():
    graph, data = learnt("iris", (4,))
    trained, _ = applied(graph, data)
    rng = np.random.default_rng(0)
    masks = {node.inputs[3] for node in trained.nodes if isinstance(node.op, Dense)}
    nodes = tuple(
        replace(n, op=Constant(n.op.data & rng.integers(0, 256, n.op.data.shape))) if n.name in masks else n
        for n in trained.nodes
    )
    broken = replace(trained, nodes=nodes)
    context = PassContext(data)
    mended = PowerOfTwo()(broken, context)
    verify(mended)
    before, after = (accuracy(g, data.X_train, data.y_train) for g in (broken, mended))
    assert after > before + 0.05
    assert "retrained with its masks" in context.notes[0]
    assert f"{round(after * len(data.y_train))} of {len(data.y_train)} training rows right" in context.notes[0]
    for name in masks:
        old, new = broken.constant(name), mended.constant(name)
        assert np.array_equal(np.where(new == 0, 0, old), new)
    context = PassContext(None)
    assert PowerOfTwo()(broken, context) is broken
    assert context.notes == ["weights are powers of two already, and there are no rows of two classes to train on"]


def test_missing_classes_are_named_and_a_single_one_is_not_learnt():
    graph, data = random_network(np.random.default_rng(0), (4, 3, 4)), toy()
    _, ledger = applied(graph, data, "{epochs=5}")
    assert ledger[-1].notes[0] == "no training row is of class 3"
    single = Dataset(data.X_train, np.full(len(data.X_train), 2), data.X_test[:0], data.y_test[:0])
    after, ledger = applied(graph, single, "{epochs=5}")
    verify(after)
    assert ledger[-1].notes == (
        "no training row is of class 0, 1, 3",
        "training rows of one class only: weights were rounded to the nearest power of two, and not trained",
    )


def test_the_chain_is_the_float_graph_over_codes():
    """Scale and zero point of the Input, bounds of Clip and thresholds are all in weights and biases."""
    compared = 0
    for seed in range(160):
        graph = random_float_graph(seed)
        rng = np.random.default_rng(seed)
        rows = rng.uniform(-2, 2, (20, graph.input.type.elements))
        data = Dataset(rows, np.zeros(20, int), rows[:0], np.zeros(0, int))
        graph, _ = run_passes(graph, parse_passes(BEFORE), PassContext(data))
        chain, found = read_chain(graph)
        assert (chain is None) == bool(found)
        if chain is None or chain.notes:
            continue
        codes = codes_of(graph, rows)
        expected = run_all(graph, codes)[graph[graph.output].inputs[0]].reshape(20, -1)
        x = codes.reshape(20, -1).astype(np.float64)
        for number, layer in enumerate(chain.layers):
            x = x @ layer.weights.T + layer.bias
            x = np.maximum(x, 0) if number < len(chain.layers) - 1 else x
        np.testing.assert_allclose(x, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
        compared += 1
    assert compared > 16


QUANTISED = (
    "axir 1\ngraph q\n"
    'x : u4<1/3,zero=2>[2] = input {"features":["a","b"],"titles":["a","b"],"encoding":{"bits":4,"rule":"linear",'
    '"low":[-0.6666666666666666,-0.6666666666666666],"high":[4.333333333333333,4.333333333333333]}}\n'
    'w0 : s8[2,2] = constant {"data":[[3,-5],[20,7]]}\nb0 : s8<1/3>[2] = constant {"data":[4,-60]}\n'
    's0 : s12<1/3>[2] = dense(x, w0, b0) {"arithmetic":"exact<8>"}\n'
    'q0 : u8<zero=10>[2] = requantize(s0) {"multiplier":[3,5],"shift":2,"offset":[40,40],"low":10,"high":255}\n'
    'w1 : s8[2,2] = constant {"data":[[3,-2],[-1,1]]}\nb1 : s8[2] = constant {"data":[-60,90]}\n'
    's1 : s14[2] = dense(q0, w1, b1) {"arithmetic":"exact<8>"}\nc : u1[] = argmax(s1)\noutput c\n'
)


def test_a_quantised_model_is_read_by_its_gains_and_zero_points():
    graph = parse_graph(QUANTISED)
    verify(graph)
    chain, found = read_chain(graph)
    assert found == []
    assert chain.notes == ("q0: the bound 255 is left to the saturation of QReLU",)
    codes = np.stack(np.meshgrid(np.arange(16), np.arange(16)), axis=-1).reshape(-1, 2)
    hidden = np.maximum(codes @ chain.layers[0].weights.T + chain.layers[0].bias, 0)
    logits = hidden @ chain.layers[1].weights.T + chain.layers[1].bias
    expected = run_all(graph, codes)
    inside = (expected["q0"] < 255).all(axis=1)
    assert inside.sum() > 100
    assert (
        np.abs(logits - expected["s1"])[inside].max() <= 5 * 0.5 + 1e-9
    )  # what truncation may be off its mean by, times weights
    labels = expected["c"]
    readings = (codes - 2) / 3.0
    after = PowerOfTwo(epochs=60)(graph, PassContext(Dataset(readings, labels, readings[:0], labels[:0])))
    verify(after)
    assert np.mean(predict(after, readings) == labels) > 0.95


def test_scale_and_zero_point_of_the_input_go_into_the_first_layer_of_a_float_graph():
    graph = parse_graph(QUANTISED)
    kind = Type((2,), FLOAT64)
    weights, bias = np.array([[1.5, -2.0], [0.25, 4.0]]), np.array([0.5, -3.0])
    nodes = [
        Node("w", Constant(weights), (), Type((2, 2), FLOAT64)),
        Node("b", Constant(bias), (), kind),
        Node("s", Dense(), ("x", "w", "b"), kind),
        Node("c", ArgMax(), ("s",), Type((), Fixed(1))),
    ]
    graph = replace(graph, nodes=(graph.input, *nodes))
    verify(graph)
    (layer,) = read_chain(graph)[0].layers
    codes = np.array([[0, 0], [3, 9], [15, 15]])
    np.testing.assert_allclose(codes @ layer.weights.T + layer.bias, run_all(graph, codes)["s"])


def test_an_upper_bound_is_left_to_saturation_and_a_last_relu_is_dropped():
    rng = np.random.default_rng(0)
    graph = random_network(rng, (4, 3, 3), clip=(0.0, 6.0))
    _, ledger = applied(graph, toy(), "{epochs=3}")
    assert "r0: the bound 6.0 is left to the saturation of QReLU" in ledger[-1].notes
    head = graph["c"]
    relu = Node("last", Relu(), ("s1",), graph["s1"].type)
    graph = replace(graph, nodes=(*graph.nodes[:-1], relu, replace(head, inputs=("last",))))
    verify(graph)
    after, ledger = applied(graph, toy(), "{epochs=3}")
    verify(after)
    assert "last: no longer rectifies what the argmax reads" in ledger[-1].notes


def test_a_leak_gives_way_to_qrelu():
    graph = random_network(np.random.default_rng(0), (4, 3, 3))
    leaky = tuple(replace(n, op=LeakyRelu(Fraction(1, 8))) if isinstance(n.op, Relu) else n for n in graph.nodes)
    _, ledger = applied(replace(graph, nodes=leaky), toy(), "{epochs=3}")
    assert "r0: QReLU makes 0 of what a leak of 1/8 lets through" in ledger[-1].notes


def coded(graph):
    return run_passes(graph, parse_passes(BEFORE), PassContext(toy()))[0]


def test_every_option_out_of_reach_is_named_at_once():
    with pytest.raises(OptionError) as caught:
        PowerOfTwo(
            exponents=17,
            hidden_bits=0,
            epochs=-1,
            batch=0,
            rate=2.0,
            l1=-1.0,
            jitter=1.5,
            starts=0,
            start="thin air",
            seed=-1,
            hidden=(2.5,),
        )
    text = str(caught.value)
    for line in (
        "power-of-two: 11 problems",
        "power-of-two.exponents: 17 is not in 1…16",
        "power-of-two.hidden_bits: 0 is not in 1…16",
        "power-of-two.epochs: -1 is not in 0…1000000",
        "power-of-two.batch: 0 is not in 1…4096",
        "power-of-two.starts: 0 is not in 1…1000",
        "power-of-two.seed: -1 is not in 0…2147483647",
        "power-of-two.rate: 2.0 is not in 0…1",
        "power-of-two.l1: -1.0 is not in 0…1",
        "power-of-two.jitter: 1.5 is not in 0…1",
        "power-of-two.start: thin air is neither model nor scratch",
        "power-of-two.hidden: 2.5 are not whole numbers in 1…4096",
    ):
        assert line in text


def test_a_float_input_and_affine_nodes_are_refused_with_what_to_run_before():
    graph = random_network(np.random.default_rng(0), (4, 3))
    with pytest.raises(PassError, match="x: the Input has no codes yet\n    do: run quantize-inputs before"):
        PowerOfTwo()(graph, PassContext(toy()))
    (item,) = parse_passes("quantize-inputs")
    half = item(graph, PassContext(toy()))
    with pytest.raises(PassError, match="affine has no place between layers\n    do: run fold-affine before"):
        PowerOfTwo()(half, PassContext(toy()))


def test_layers_without_a_relu_between_them_are_refused():
    graph = coded(random_network(np.random.default_rng(0), (4, 3, 3), clip=(None, 1.0)))
    with pytest.raises(PassError) as caught:
        PowerOfTwo()(graph, PassContext(toy()))
    assert "s0: no relu stands between this layer and the next: QReLU would change what they compute" in str(
        caught.value
    )
    assert "do: put a relu between them, or merge them" in str(caught.value)


def test_what_is_no_chain_is_refused():
    graph = coded(random_network(np.random.default_rng(0), (4, 3, 3)))
    beheaded = replace(graph, output="s1", nodes=graph.nodes[:-1])
    with pytest.raises(PassError, match="s1: the output is dense: training needs argmax or threshold"):
        PowerOfTwo()(beheaded, PassContext(toy()))
    kind = graph["r0"].type
    shared = [Node("w2", Constant(np.eye(3)), (), Type((3, 3), FLOAT64)), Node("s2", Dense(), ("r0", "w2", "b0"), kind)]
    forked = replace(graph, nodes=(*graph.nodes[:-1], *shared, graph.nodes[-1]))
    with pytest.raises(PassError, match="r0: 2 Nodes read it: no chain of layers"):
        PowerOfTwo()(forked, PassContext(toy()))


def test_signed_or_wide_codes_are_refused():
    graph = parse_graph(QUANTISED)
    node = graph.input
    for fmt, text in ((Fixed(4, signed=True), "s4"), (Fixed(17), "u17")):
        op = replace(node.op, encoding=Encoding(fmt.bits, "round", (0.0, 0.0), (1.0, 1.0)))
        other = replace(graph, nodes=(replace(node, op=op, type=Type((2,), fmt)), *graph.nodes[1:]))
        with pytest.raises(PassError, match=f"x: inputs are {text}: only unsigned codes of at most 16 bits are masked"):
            PowerOfTwo()(other, PassContext(None))


def test_a_multiplier_below_0_and_huge_weights_are_refused():
    graph = parse_graph(QUANTISED.replace('"multiplier":[3,5]', '"multiplier":[3,-5]'))
    with pytest.raises(PassError, match="q0: a multiplier that is not above 0 turns the relu around"):
        PowerOfTwo()(graph, PassContext(None))
    huge = coded(network([[[1e200, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]]], [[0.0, 0.0]]))
    with pytest.raises(PassError, match=r"s0: weights or biases over input codes reach .*\n    do: scale the model"):
        PowerOfTwo()(huge, PassContext(toy(classes=2)))


def test_data_and_options_that_do_not_fit_the_model_are_refused():
    graph = coded(random_network(np.random.default_rng(0), (4, 3, 3)))
    narrow = Dataset(np.zeros((4, 3)), np.array([0, 1, 2, 0]), np.zeros((0, 3)), np.zeros(0, int))
    with pytest.raises(PassError, match="data: the model reads 4 features, the data has 3"):
        PowerOfTwo()(graph, PassContext(narrow))
    many = Dataset(np.zeros((4, 4)), np.array([0, 1, 2, 7]), np.zeros((0, 4)), np.zeros(0, int))
    with pytest.raises(PassError, match="data: labels 0…7, the model names classes 0…2"):
        PowerOfTwo()(graph, PassContext(many))
    with pytest.raises(PassError, match="start: random weights cannot be trained without training rows"):
        PowerOfTwo(start="scratch")(graph, PassContext(None))
    for hidden in ((2.0,), (3.0, 3.0)):
        with pytest.raises(PassError, match=r"hidden: hidden layers of \[.*\] neurons for a model that has \[3\]"):
            PowerOfTwo(hidden=hidden)(graph, PassContext(toy()))


def test_it_is_legal_on_whatever_random_graphs_it_takes():
    taken = refused = 0
    for seed in range(100):
        graph = random_graph(seed)
        rng = np.random.default_rng(seed)
        encoding = graph.input.op.encoding
        low, high = np.array(encoding.low), np.array(encoding.high)
        readings = low + rng.uniform(size=(40, len(low))) * (high - low)
        labels = rng.integers(0, max(1, graph.classes), 40)
        context = PassContext(Dataset(readings, labels, readings[:0], labels[:0]))
        try:
            after = PowerOfTwo(epochs=2, starts=1)(graph, context)
        except PassError:
            refused += 1
            continue
        verify(after)
        space = space_of(after)
        classes = classes_of(space.layout, space.head, encode_genome(space, after)[None], codes_of(after, readings))[0]
        assert np.array_equal(classes, predict(after, readings)), seed
        taken += 1
    assert taken > 20
    assert refused > 4


@pytest.mark.skipif(not TASKS.is_dir(), reason="work material ../shared/tasks is not here")
@pytest.mark.parametrize(
    ("name", "train"),
    [("breast_cancer", 0.98), ("cardio", 0.92), ("pendigits", 0.955), ("redwine", 0.61), ("whitewine", 0.55)],
)
def test_the_five_tasks_keep_their_training_accuracy(name, train):
    graph = read_model(TASKS / f"{name}.onnx")
    data = load_dataset(TASKS / f"{name}.npz", features=graph.input.type.elements, classes=graph.classes)
    after, ledger = applied(graph, data, "{starts=2}")
    assert ledger[-1].train_accuracy_after >= train
    assert accuracy(after, data.X_train, data.y_train) == ledger[-1].train_accuracy_after
