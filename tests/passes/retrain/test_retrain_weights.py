"""The pass retrain-weights: what it gains on rows put aside, what it never sees, what it refuses, and the way to PyTorch."""

from __future__ import annotations

import re
import sys

import numpy as np
import onnx
import pytest
from small_networks import ROWS, network

import approxhw as ax
from approxhw.artifacts.steps import read_graph
from approxhw.common.errors import OptionError, PassError, ToolNotFoundError
from approxhw.frontends.products.partition import open_model
from approxhw.ir.kinds import Constant
from approxhw.ir.kinds.tensor.integer_rules import needed_bits, stationary
from approxhw.ir.kinds.tensor.integers import ConvInteger, MatMulInteger
from approxhw.ir.pass_manager import PassContext, parse_passes, run_passes
from approxhw.ir.tensor.integer_layers import integer_nodes, products_table
from approxhw.ir.tensor.run import walk_tensors
from approxhw.ir.verifier import problems

SHORT = "retrain-weights{epochs=5}"


def told(record):
    """Return how many rows put aside were right before and after, and after which epoch, as the ledger tells."""
    text = " ".join(record.notes)
    found = re.search(r"of (\d+) rows put aside (\d+) were right \(.*\), (\d+) are \(.*\), after epoch (\d+)", text)
    assert found, text
    return tuple(map(int, found.groups()))


@pytest.fixture(scope="module")
def retrained(pytorch, digits, coarse):
    graph, (record,) = run_passes(coarse, SHORT, digits.context())
    return graph, record


def test_rows_put_aside_are_answered_better(digits, coarse, retrained):
    graph, record = retrained
    rows, before, after, epoch = told(record)
    assert rows == round(0.2 * len(digits.labels))
    assert after > before + 2
    assert 1 <= epoch <= 5
    assert problems(graph) == []
    right = [int((digits.answers(each) == digits.labels).sum()) for each in (coarse, graph)]
    assert right[1] > right[0] + 20
    assert record.notes[1].endswith("in 2 layers; biases of 2")
    # accumulators are as wide as the new weights ask for
    for node in integer_nodes(graph):
        columns = stationary(node.op, graph.constant(node.inputs[1]))
        mac = node.op.arithmetic
        assert mac.accumulator_bits == needed_bits(columns, products_table(graph, node), mac)
        assert mac.operator == "leading-2"


def test_what_the_ledger_tells_is_what_the_graph_answers(digits, coarse, retrained):
    """The rows put aside are those of the seed; the module of PyTorch and the interpreter answer them alike."""
    graph, record = retrained
    rows, before, after, _ = told(record)
    aside = np.random.default_rng(1).permutation(len(digits.labels))[:rows]
    for each, right in ((coarse, before), (graph, after)):
        assert int((digits.answers(each) == digits.labels)[aside].sum()) == right


def test_the_seed_settles_everything(digits, coarse, retrained):
    again, (record,) = run_passes(coarse, SHORT, digits.context())
    assert again == retrained[0]
    assert record.notes == retrained[1].notes
    other, _ = run_passes(coarse, "retrain-weights{epochs=5,seed=2}", digits.context())
    assert other != retrained[0]


def test_threads_of_pytorch_change_nothing_and_stay(pytorch, digits, coarse, retrained):
    before = pytorch.get_num_threads()
    pytorch.set_num_threads(3)
    try:
        again, _ = run_passes(coarse, SHORT, digits.context())
        assert pytorch.get_num_threads() == 3
    finally:
        pytorch.set_num_threads(before)
    assert again == retrained[0]


def test_the_exact_products_slopes_are_a_choice(digits, coarse, retrained):
    graph, (record,) = run_passes(coarse, "retrain-weights{epochs=5,gradient=straight}", digits.context())
    assert record.notes[0].startswith("straight gradient")
    assert retrained[1].notes[0].startswith("table gradient")
    _, before, after, _ = told(record)
    assert after > before
    assert graph != retrained[0]


def test_rows_put_aside_are_not_trained_on(pytorch, digits, coarse, retrained):
    """Other labels there move nothing but the choice of the epoch: with one epoch and its loss bettered, nothing at all."""
    from approxhw.passes.retrain._network import differentiable
    from approxhw.passes.retrain._training import TrainingPlan, train_network

    rows = ({"X": digits.rows[:300]}, digits.labels[:300].astype(np.int64))
    made = []
    for wanted in (digits.labels[300:600], digits.labels[300:600][::-1]):
        net = differentiable(coarse, "table", 16)
        aside = ({"X": digits.rows[300:600]}, wanted.astype(np.int64))
        train_network(net, rows, aside, TrainingPlan(1, 64, 0.002, 1))
        made.append([layer.weights.detach().numpy().copy() for layer in net.layers.values()])
    assert all((one == other).all() for one, other in zip(*made))


def test_nothing_changes_where_no_epoch_does_better(pytorch, digits, coarse):
    graph, (record,) = run_passes(coarse, "retrain-weights{epochs=1,rate=1}", digits.context())
    assert graph is coarse
    assert record.notes[-1] == "no epoch did better: nothing changed"


def test_test_rows_are_never_seen(pytorch, digits, tmp_path):
    """Poisoned test rows change no weight: NaN, and labels that are all the same."""
    from approxhw.ir.pass_manager import name_of

    rows, labels = digits.rows[:400].astype(np.float32), digits.labels[:400]
    target = ax.IntegerEngine(operator="leading-2", rows=4, columns=4, library="egfet", recover="retrain")
    assert [name_of(each) for each in target.passes()][2:] == [
        "approximate-multiplier",
        "correct-bias",
        "retrain-weights",
    ]
    passes = [*target.passes()[:-1], *parse_passes("retrain-weights{epochs=3}")]
    graphs = []
    poison = np.full((60, 64), np.nan, np.float32), np.zeros(60, np.int64)
    for number, (others, classes) in enumerate(((rows[:60], labels[:60]), poison)):
        data = {"X": np.concatenate([rows, others]), "labels": np.concatenate([labels, classes])}
        # one split: its first half is looked at, the rest reported
        data = {key: np.concatenate([value[:230], value[400:], value[230:400]]) for key, value in data.items()}
        folder = tmp_path / str(number)
        ax.compile(digits.model, target=target, data=data, passes=passes, output=folder, steps=True)
        graphs.append(read_graph(max((folder / "steps").glob("*.axir"))))
    assert any("retrained" in node.name for node in graphs[0].nodes)
    assert graphs[0] == graphs[1]


@pytest.fixture(scope="module")
def residual():
    """Return a residual network of codes with a coarse operator, and a context of rows and classes for it."""
    opened = open_model(network(), {"x": ROWS.shape}, integers=True)
    rows = np.random.default_rng(3).normal(size=(400, *ROWS.shape[1:])).astype(np.float32)

    def observe(graph, seen):
        walk_tensors(graph, {"x": rows[:64]}, opened.host, None, seen)

    scores = walk_tensors(opened.graph, {"x": rows}, opened.host, None)[opened.graph.output]
    labels = (scores - scores.mean(axis=0)).argmax(axis=1)  # else nearly all are of one class
    return opened, PassContext(observe=observe, training=({"x": rows}, labels))


def test_convolutions_branches_and_pooling_are_retrained(pytorch, residual):
    opened, context = residual
    operator = "approximate-multiplier{operator=truncated-7},correct-bias"
    passes = f"quantize-model,integer-products,{operator},retrain-weights{{epochs=6,batch=16,rate=0.01}}"
    graph, records = run_passes(opened.graph, passes, context)
    assert problems(graph) == []
    _, before, after, _ = told(records[-1])
    assert after > before + 10
    kinds = [type(node.op) for node in integer_nodes(graph)]
    assert kinds == [ConvInteger, ConvInteger, MatMulInteger, MatMulInteger]
    assert records[-1].notes[1].endswith("in 4 layers; biases of 4")


def test_everything_that_has_no_gradient_is_named(pytorch, residual):
    opened, context = residual
    model = network()
    model.graph.node[4].op_type = "Relu"
    del model.graph.node[4]
    pool = onnx.helper.make_node("AveragePool", ["a"], ["r2"], name="pool", kernel_shape=[3, 3], ceil_mode=1)
    odd = onnx.helper.make_node("Softplus", ["g"], ["g2"], name="odd")
    model.graph.node.insert(4, pool)
    model.graph.node.insert(6, odd)
    model.graph.node[7].input[0] = "g2"
    other = open_model(model, {"x": ROWS.shape}, integers=True)
    graph, _ = run_passes(other.graph, "quantize-model,integer-products", _observing(other))
    with pytest.raises(PassError) as caught:
        run_passes(graph, "control-variate,retrain-weights", _observing(other, context.training))
    assert [(each.where, each.why) for each in caught.value.problems] == [
        ("AveragePool 'r2'", "AveragePool with auto_pad or ceil_mode has no gradient here"),
        ("Softplus 'g2'", "Softplus has no gradient here"),
    ]
    assert "on the host there may be Add, AveragePool" in str(caught.value)
    # a control variate, and products of two activations
    coarse, _ = run_passes(
        opened.graph, "quantize-model,integer-products,approximate-multiplier{operator=truncated-6}", context
    )
    with pytest.raises(PassError) as caught:
        run_passes(coarse, "control-variate,retrain-weights", context)
    why = "its control variate belongs to its weights"
    assert f"layer 'conv1': {why}\n    do: put control-variate behind retrain-weights" in str(caught.value)
    assert len(caught.value.problems) >= 3


def _observing(opened, training=None):
    def observe(graph, seen):
        walk_tensors(graph, {"x": ROWS}, opened.host, None, seen)

    return PassContext(observe=observe, training=training)


def test_products_of_two_activations_are_named(pytorch):
    held = {"w": np.eye(4, dtype=np.float32)}
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "w"], ["a"], name="first"),
        onnx.helper.make_node("MatMul", ["a", "a"], ["b"], name="attention"),
        onnx.helper.make_node("MatMul", ["b", "w"], ["y"], name="last"),
    ]
    ends = [onnx.helper.make_tensor_value_info(name, 1, ["n", 4, 4]) for name in ("x", "y")]
    graph = onnx.helper.make_graph(
        nodes, "g", ends[:1], ends[1:], [onnx.numpy_helper.from_array(array, name) for name, array in held.items()]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    rows = np.random.default_rng(8).normal(size=(8, 4, 4)).astype(np.float32)
    opened = open_model(model, {"x": rows.shape}, integers=True)

    def observe(graph, seen):
        walk_tensors(graph, {"x": rows}, opened.host, None, seen)

    context = PassContext(observe=observe, training=({"x": rows}, np.arange(8)))
    with pytest.raises(PassError, match=r"layer 'attention': its second operand is no constant"):
        run_passes(opened.graph, "quantize-model{products=all},integer-products,retrain-weights", context)
    with pytest.raises(PassError, match=r"matmul has no gradient here"):
        run_passes(opened.graph, "quantize-model,integer-products,retrain-weights", context)


def test_rows_that_do_not_fit_are_told(pytorch, digits, coarse):
    with pytest.raises(PassError, match="it learns from training rows and their classes, and there are none"):
        run_passes(coarse, "retrain-weights", digits.context(training=None))
    with pytest.raises(PassError, match=r"labels 10, 11 are no classes of the model: \[0, 1, 2"):
        run_passes(coarse, "retrain-weights", digits.context(training=({"X": digits.rows[:9]}, np.arange(3, 12))))
    with pytest.raises(PassError, match="input 'X': the training rows have none"):
        run_passes(coarse, "retrain-weights", digits.context(training=({"Y": digits.rows}, digits.labels)))
    rows = digits.rows.copy()
    rows[3, 3] = np.nan
    with pytest.raises(PassError, match="input 'X': some of its training rows are infinite or no numbers"):
        run_passes(coarse, "retrain-weights", digits.context(training=({"X": rows}, digits.labels)))
    with pytest.raises(PassError, match="1 training rows are too few to train on, and to put 1 of them aside"):
        run_passes(coarse, "retrain-weights", digits.context(training=({"X": rows[:1]}, digits.labels[:1])))


def test_classes_beyond_the_scores_are_told(pytorch, residual):
    opened, context = residual
    rows, labels = context.training
    graph, _ = run_passes(opened.graph, "quantize-model,integer-products", context)
    with pytest.raises(PassError, match=r"labels 1…\d, the model scores classes 0…5\n    do: give class indices"):
        run_passes(graph, "retrain-weights", PassContext(training=(rows, labels + 1)))


def test_a_graph_without_products_of_codes_is_told(pytorch, residual):
    opened, context = residual
    with pytest.raises(PassError, match="conv has no gradient here"):
        run_passes(opened.graph, "retrain-weights", context)


def test_without_pytorch_the_extra_is_said(monkeypatch, digits, coarse):
    monkeypatch.setitem(sys.modules, "torch", None)
    parse_passes("retrain-weights{epochs=1}")  # its options can be had without
    assert ax.IntegerEngine(operator="truncated-4", recover="retrain").passes()
    with pytest.raises(ToolNotFoundError) as caught:
        run_passes(coarse, "retrain-weights", digits.context())
    assert str(caught.value) == "PyTorch: not usable here\n    do: pip install 'approxhw[retrain]'"


def test_options_out_of_reach_are_told_together():
    with pytest.raises(OptionError) as caught:
        parse_passes("retrain-weights{epochs=0,batch=0,window=127,rate=0,aside=0.95,seed=-1,gradient=best}")
    assert {each.where for each in caught.value.problems} == {
        f"retrain-weights.{name}" for name in ("epochs", "batch", "window", "rate", "aside", "seed", "gradient")
    }
    assert "'best' is no gradient\n    do: choose table or straight" in str(caught.value)


def test_retrained_weights_go_back_to_onnx(digits, retrained, tmp_path):
    """The file holds the new codes; read again, with the same operator, it is the same network."""
    graph, _ = retrained
    ax.write_onnx(graph, tmp_path / "retrained.onnx")
    again = open_model(str(tmp_path / "retrained.onnx"), {"X": (64, 64)}, integers=True)
    passes = "quantize-model{again=true},integer-products,approximate-multiplier{operator=leading-2}"
    back, _ = run_passes(again.graph, passes, PassContext())
    weights = [
        [
            node.op.data.tolist()
            for node in each.nodes
            if isinstance(node.op, Constant) and node.op.data.dtype == np.int8
        ]
        for each in (graph, back)
    ]
    assert weights[0] == weights[1]
    answers = walk_tensors(back, {"X": digits.rows}, again.host, None)[back.output]
    assert (answers == digits.answers(graph)).mean() > 0.999
