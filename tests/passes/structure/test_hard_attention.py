"""hard-attention: what rows of attention it leaves, where it leaves them alone, what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from approxhw.common.errors import OptionError, PassError
from approxhw.frontends.products.partition import open_model
from approxhw.ir.pass_manager import parse_passes, run_passes
from approxhw.ir.tensor.run import run_tensors
from approxhw.passes.structure.ground.losses import judge_of, mean_loss
from approxhw.passes.structure.hard_attention import attention_rows, with_fewest

SEEDS = range(4)


def _made(net, passes, **changed):
    return run_passes(net.model.graph, passes, replace(net.context, **changed), check=False)


def _seen(net, graph, names):
    """What the named Nodes make of all rows."""
    found = {name: [] for name in names}
    net.context.observe(graph, lambda node, value: found[node.name].append(value) if node.name in found else None)
    return {name: np.concatenate(values) for name, values in found.items()}


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_rows_keep_their_largest_weights_and_sum_to_one(opened, seed, k):
    net = opened("encoder", seed)
    whole = net.whole
    rows = attention_rows(whole)
    assert rows
    name = rows[0]  # the first layer's: what it reads is the same in both
    scores = _seen(net, whole, whole[name].inputs)[whole[name].inputs[0]].astype(np.float64)
    hard = _seen(net, net.model.typed(with_fewest(whole, name, k)), [name])[name]
    least = np.sort(scores, axis=-1)[..., -k, None]
    kept = np.where(scores >= least, np.exp(scores - scores.max(axis=-1, keepdims=True)), 0.0)
    assert np.array_equal(hard > 0, kept > 0)
    assert ((hard > 0).sum(axis=-1) == k).all()
    assert np.allclose(hard, kept / kept.sum(axis=-1, keepdims=True), atol=1e-6)
    assert hard.size >= 64 * 25


@pytest.mark.parametrize("seed", SEEDS)
def test_hard_attention_that_can_only_help_does_not_hurt(opened, seed):
    net = opened("encoder", seed)
    training = {"x": net.x}, np.random.default_rng(seed).integers(0, 4, net.rows)
    judge = judge_of(replace(net.context, training=training), net.whole, net.context.observe)
    graph, (line,) = _made(net, "hard-attention{k=2}", training=training)
    assert mean_loss(judge, graph) <= mean_loss(judge, net.whole)
    hard = int(line.notes[0].split(" of ")[0])
    made = sum("TopK" in getattr(node.op, "operators", ()) for node in graph.nodes)
    assert made == hard
    assert "No clock is saved" in line.notes[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_has_hard_attention_can_still_lose_heads(opened, seed):
    net = opened("encoder", seed)
    graph, lines = _made(net, "hard-attention{k=4,max_rise=1},prune-outputs{keep=0.6}")
    assert "clocks" in lines[1].notes[0]
    assert np.isfinite(net.run(graph)).all()
    apart = net.model.apart(graph)
    assert np.array_equal(net.run(apart), net.run(graph))


def test_weights_as_large_as_the_last_one_stay():
    net = _attention(np.zeros((3, 3), np.float32), opset=13)
    whole = net.apart(net.graph)
    hard = net.typed(with_fewest(whole, attention_rows(whole)[0], 1))
    x = np.ones((1, 4, 3), np.float32)
    assert np.array_equal(run_tensors(hard, {"x": x}, net.host, None)["y"], x)


@pytest.mark.parametrize("length", [1, 2, 4, 6])
@pytest.mark.parametrize("opset", [11, 13, 18])
def test_rows_of_another_length_keep_what_they_have(length, opset):
    net = _attention(np.eye(3, dtype=np.float32), opset, "places")
    whole = net.apart(net.graph)
    hard = net.typed(with_fewest(whole, attention_rows(whole)[0], 3))
    x = np.random.default_rng(length).standard_normal((2, length, 3)).astype(np.float32)
    scores = x @ x.transpose(0, 2, 1)
    least = np.sort(scores, axis=-1)[..., -min(3, length), None]
    kept = np.where(scores >= least, np.exp(scores), 0)
    expected = kept / kept.sum(axis=-1, keepdims=True) @ x
    assert np.allclose(run_tensors(hard, {"x": x}, net.host, None)["y"], expected, atol=1e-5)


@pytest.mark.parametrize(("opset", "found"), [(13, 1), (11, 1), (9, 0)])
def test_softmax_of_an_older_meaning_is_taken_where_it_means_rows(opset, found):
    net = _attention(np.eye(3, dtype=np.float32), opset)
    assert len(attention_rows(net.apart(net.graph))) == found


def _attention(weights, opset, length=4):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["q"]),
        helper.make_node("Transpose", ["x"], ["k"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "k"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["chances"], axis=2),
        helper.make_node("MatMul", ["chances", "x"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "attention",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", length, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", length, 3])],
        [numpy_helper.from_array(weights, "w")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(proto)
    return open_model(proto, {"x": (1, 4, 3)})


def test_models_without_attention_and_rows_that_are_short_are_told(opened):
    with pytest.raises(PassError, match="no Softmax makes the rows of a product of two computed values"):
        _made(opened("convolutions", 1), "hard-attention")
    with pytest.raises(PassError) as error:
        _made(opened("encoder", 1), "hard-attention")
    assert "no row of attention has more than 5 weights, and 16 may stay" in str(error.value)
    assert "give k below 5" in str(error.value)


@pytest.mark.parametrize(
    ("spelled", "told"),
    [
        ("hard-attention{k=0}", "0 leaves no weight in a row"),
        ("hard-attention{max_rise=nan}", "'nan' is no number"),
        ("hard-attention{max_rise=2}", "2.0 is not in 0…1"),
    ],
)
def test_options_of_hard_attention_that_cannot_be_are_refused(spelled, told):
    with pytest.raises(OptionError) as error:
        parse_passes(spelled)
    assert told in str(error.value)
