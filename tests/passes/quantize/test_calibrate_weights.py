"""calibrate-weights: what it may move, what it must not look at, and that its shortcuts agree with the interpreter."""

from dataclasses import replace

import numpy as np
import pytest

from approxhw.common.data.dataset import Dataset
from approxhw.common.errors import OptionError, PassError
from approxhw.ir.evaluation import accuracy, codes_of, predict
from approxhw.ir.interpreter import run_all
from approxhw.ir.kinds import Constant, Dense
from approxhw.ir.pass_manager import PassContext, parse_passes, run_passes
from approxhw.ir.random_graphs import random_float_graph, random_graph
from approxhw.ir.text import parse_graph
from approxhw.ir.verifier import verify
from approxhw.passes.quantize.calibrate_weights import CalibrateWeights, _chain, _Search


def data_of(graph, seed, rows=120):
    """Readings that reach all codes, and labels that a noisy version of the Graph gives."""
    rng = np.random.default_rng(seed)
    encoding = graph.input.op.encoding
    low, high = np.array(encoding.low), np.array(encoding.high)
    readings = low + rng.uniform(size=(rows, len(low))) * (high - low)
    labels = rng.integers(0, graph.classes, rows)
    return Dataset(readings, labels, readings[:0], labels[:0])


def digits_of(graph):
    weights = [graph.constant(n.inputs[1]).ravel().tolist() for n in graph.nodes if isinstance(n.op, Dense)]
    return sum((3 * abs(v) ^ abs(v)).bit_count() for layer in weights for v in layer)


def loss_of(graph, data, scale):
    """Mean cross-entropy by the interpreter alone."""
    head = graph[graph.output]
    logits = run_all(graph, codes_of(graph, data.X_train))[head.inputs[0]].astype(float) * scale
    if head.kind == "threshold":
        margin = logits[:, 0] - (head.op.threshold + 0.5) * scale
        return np.mean(np.logaddexp(0, np.where(data.y_train == 1, -margin, margin)))
    logits -= logits.max(axis=1, keepdims=True)
    return np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(logits)), data.y_train])


def with_constants(graph, data):
    nodes = (replace(n, op=Constant(data[n.name].astype(np.int64))) if n.name in data else n for n in graph.nodes)
    return replace(graph, nodes=tuple(nodes))


def test_the_loss_it_keeps_is_the_interpreters():
    """After all its shortcuts (rows that moved, one column at a time), sums and loss are those of the new Graph."""
    graphs = moved = 0
    for seed in range(250):
        graph = random_graph(seed, trees_and_gates=False)
        layers = _chain(graph)
        if not layers:
            continue
        data = data_of(graph, seed)
        threshold = getattr(graph[graph.output].op, "threshold", None)
        options = CalibrateWeights(gain=0.0, digit_cost=0.05 if seed % 2 else 0.0)
        shares = np.eye(graph.classes)[data.y_train]
        search = _Search(layers, codes_of(graph, data.X_train), shares, threshold, options)
        assert search.loss == pytest.approx(loss_of(graph, data, search.scale), abs=1e-9), seed
        k = seed % len(layers)
        o = seed % len(layers[k].bias)
        guess = search._loss_with(k, o, search.sums[k][:, o] + 3)
        biases = graph.constant(layers[k].node.inputs[2]) + 3 * (np.arange(len(layers[k].bias)) == o)
        other = with_constants(graph, {layers[k].node.inputs[2]: biases})
        assert guess == pytest.approx(loss_of(other, data, search.scale), abs=1e-9), seed
        moved += search.sweep()
        constants = {}
        for layer in layers:
            constants.update(zip(layer.node.inputs[1:], (layer.weights, layer.bias)))
        after = with_constants(graph, constants)
        assert search.loss == pytest.approx(loss_of(after, data, search.scale), abs=1e-9), seed
        graphs += 1
    assert graphs > 70
    assert moved > 300


def test_the_result_is_legal_on_random_graphs():
    changed = 0
    for seed in range(100):
        graph = random_graph(seed)
        context = PassContext(data_of(graph, seed))
        after = CalibrateWeights(sweeps=2, gain=0.0, digit_cost=0.1)(graph, context)
        verify(after)
        assert after.input == graph.input
        for node in after.nodes:
            if isinstance(node.op, Dense):
                assert node.op == graph[node.name].op  # the width of the weights stays
        changed += after != graph
    assert changed > 20


def trained():
    """A two-class task with a known boundary, and a network that rounding has spoilt."""
    rng = np.random.default_rng(4)
    rows = rng.uniform(0, 1, (600, 2))
    labels = (rows[:, 0] * 0.9 + rows[:, 1] * 0.55 > 0.7).astype(np.int64)
    graph = parse_graph(
        'axir 1\ngraph g\nx : u4[2] = input {"features":["a","b"],"titles":["a","b"],"encoding":{"bits":4,'
        '"rule":"round","low":[0,0],"high":[1,1]}}\n'
        'w : s8[2,2] = constant {"data":[[-9,-9],[9,2]]}\nb : s8[2] = constant {"data":[100,-80]}\n'
        'y : s12[2] = dense(x, w, b) {"arithmetic":"exact<8>"}\nc : u1[] = argmax(y)\noutput c\n'
    )
    return graph, Dataset(rows[:400], labels[:400], rows[400:], labels[400:])


def test_it_mends_what_rounding_spoilt():
    graph, data = trained()
    after, (record,) = run_passes(graph, parse_passes("calibrate-weights{sweeps=20}"), PassContext(data))
    assert record.test_accuracy_before < 0.91
    assert record.test_accuracy_after > 0.93
    assert accuracy(after, data.X_train, data.y_train) > 0.93
    assert any("moves; loss on 400 training rows" in note for note in record.notes)


def test_by_default_it_follows_the_float_model_and_not_the_labels():
    """Rounding to 3-bit weights is undone as far as it goes; labels that are all wrong change nothing."""
    rng = np.random.default_rng(5)
    w, b, v, c = (np.round(rng.normal(size=s), 3).tolist() for s in ((6, 4), (6,), (3, 6), (3,)))
    real = "float<11,52>"
    graph = parse_graph(
        f'axir 1\ngraph g\nx : {real}[4] = input {{"features":["p","q","r","s"],"titles":["p","q","r","s"]}}\n'
        f'w : {real}[6,4] = constant {{"data":{w}}}\nb : {real}[6] = constant {{"data":{b}}}\n'
        f'v : {real}[3,6] = constant {{"data":{v}}}\nc : {real}[3] = constant {{"data":{c}}}\n'
        f"h : {real}[6] = dense(x, w, b)\na : {real}[6] = relu(h)\ny : {real}[3] = dense(a, v, c)\n"
        "k : u2[] = argmax(y)\noutput k\n"
    )
    rows = rng.uniform(-1, 1, (400, graph.input.type.elements))
    labels = predict(graph, rows)
    data = Dataset(rows, labels, rows[:0], labels[:0])
    spoilt = replace(data, y_train=(labels + 1) % graph.classes)
    todo = "quantize-inputs{bits=6},fold-affine,quantize-weights{bits=3}"
    before, _ = run_passes(graph, parse_passes(todo), PassContext(data))
    after, _ = run_passes(graph, parse_passes(f"{todo},calibrate-weights"), PassContext(data))
    other, _ = run_passes(graph, parse_passes(f"{todo},calibrate-weights"), PassContext(spoilt))
    assert after == other
    assert after != before
    assert accuracy(after, rows, labels) > accuracy(before, rows, labels)


def test_test_rows_are_never_looked_at():
    graph, data = trained()
    other = replace(data, X_test=np.full((3, 2), np.nan), y_test=np.array([9, 9, 9]))
    a = CalibrateWeights()(graph, PassContext(data))
    assert CalibrateWeights()(graph, PassContext(other)) == a


def test_a_price_on_digits_gives_fewer_digits():
    graph, data = trained()
    counts = [
        digits_of(CalibrateWeights(digit_cost=cost, sweeps=20)(graph, PassContext(data))) for cost in (0.0, 1.0, 30.0)
    ]
    assert counts[0] >= counts[1] >= counts[2]
    assert counts[2] < counts[0]


def test_a_high_price_on_moves_keeps_the_codes():
    graph, data = trained()
    assert CalibrateWeights(gain=1000.0)(graph, PassContext(data)) is graph


def test_what_cannot_be_calibrated_stays_and_says_so():
    graph, data = trained()
    for context, note in (
        (PassContext(), "no training rows: nothing changed"),
        (PassContext(Dataset(data.X_test[:0], data.y_test[:0], data.X_test, data.y_test)), "no training rows"),
        (PassContext(replace(data, y_train=data.y_train + 1)), "sums too wide, or labels beyond the classes"),
    ):
        assert CalibrateWeights()(graph, context) is graph
        assert context.notes[0].startswith(note)


def test_floats_and_bad_options_are_refused():
    with pytest.raises(PassError, match=r"only an integer Graph has codes to move\n    do: run quantize-weights"):
        CalibrateWeights()(random_float_graph(14), PassContext())
    with pytest.raises(OptionError) as caught:
        parse_passes("calibrate-weights{sweeps=0,rows=0,gain=-1,digit_cost=1e9}")
    assert [problem.where for problem in caught.value.problems] == [
        "calibrate-weights.sweeps",
        "calibrate-weights.rows",
        "calibrate-weights.gain",
        "calibrate-weights.digit_cost",
    ]


def test_networks_too_large_to_try_stay_and_say_so():
    graph, data = trained()
    n = 5000
    encoding = replace(graph.input.op.encoding, low=(0.0,) * n, high=(1.0,) * n)
    names = tuple(f"f{i}" for i in range(n))
    op = replace(graph.input.op, features=names, titles=names, encoding=encoding)
    changes = {
        "x": {"op": op, "type": replace(graph["x"].type, shape=(n,))},
        "w": {"op": Constant(np.ones((2, n), dtype=np.int64)), "type": replace(graph["w"].type, shape=(2, n))},
        "y": {"type": replace(graph["y"].type, format=replace(graph["y"].type.format, bits=30))},
    }
    wide = replace(graph, nodes=tuple(replace(node, **changes.get(node.name, {})) for node in graph.nodes))
    verify(wide)
    context = PassContext(replace(data, X_train=np.zeros((600, n)), y_train=np.zeros(600, dtype=np.int64)))
    assert CalibrateWeights()(wide, context) is wide
    assert context.notes == ["more weights than can be tried in reasonable time: nothing changed"]
