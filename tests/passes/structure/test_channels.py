"""Groups of channels and slices along them: on random networks of every kind of tie."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from approxhw.engine.operands import Feeds, observe_rows
from approxhw.engine.reshaping import reshaping_on
from approxhw.frontends.products.apart import taken_apart
from approxhw.frontends.products.partition import open_model
from approxhw.frontends.products.writing import onnx_of
from approxhw.frontends.runtime.sessions import open_session
from approxhw.ir.kinds.tensor.ops import Host
from approxhw.ir.pass_manager import PassContext, run_passes
from approxhw.ir.tensor.layers import product_layers
from approxhw.ir.tensor.run import run_tensors
from approxhw.ir.verifier import problems
from approxhw.passes.structure.ground.channels import channels_of
from approxhw.passes.structure.ground.layers import matrix_of, with_matrix
from approxhw.passes.structure.ground.leaving import matrix_channels
from approxhw.passes.structure.ground.slicing import sliced

SEEDS = range(12)


@dataclass(frozen=True)
class Array:
    """An array of 2 × 2."""

    rows: int = 2
    columns: int = 2
    vectors: int = 8


KINDS = ("convolutions", "encoder")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_graph_taken_apart_means_the_same(opened, kind, seed):
    net = opened(kind, seed)
    whole = net.whole
    assert all(len(node.op.operators) == 1 for node in whole.nodes if isinstance(node.op, Host))
    assert not problems(whole)
    made = net.run(whole)
    assert made.size == net.rows * 4
    assert np.array_equal(made, net.run(net.model.graph))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_keeping_every_channel_is_the_identity(opened, kind, seed):
    net = opened(kind, seed)
    channels = channels_of(net.whole)
    assert sliced(channels, np.zeros(0, np.int64), net.model.typed) is channels.graph


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_channels_that_nothing_weighs_can_leave_without_a_trace(opened, kind, seed):
    """Where all weights that read a channel are 0, the model without it gives the same: so it was read nowhere else."""
    net = opened(kind, seed)
    whole = net.whole
    channels = channels_of(whole)
    rng = np.random.default_rng(seed)
    gone = [
        rng.choice(group.channels, int(rng.integers(1, group.size)), replace=False)
        for group in channels.groups
        if not group.why and group.size > 1
    ]
    assert gone, "a random network without a channel that can leave tests nothing"
    gone = np.concatenate(gone)
    silent, count = whole, 0
    for name in dict.fromkeys(name for group in channels.groups if not group.why for name in group.readers):
        reads = np.isin(matrix_channels(channels, whole[name]), gone)
        matrix = matrix_of(whole, whole[name])
        matrix[reads] = 0
        count += int(reads.sum())
        silent = with_matrix(silent, silent[name], matrix)
    assert count > 0
    expected = net.run(silent)
    again = channels_of(silent)
    made = sliced(again, _same(channels, again, gone), net.model.typed)
    assert not problems(made)
    assert made[made.output].type == whole[whole.output].type
    assert np.allclose(net.run(made), expected, rtol=1e-4, atol=1e-4)
    sizes = sum(node.op.data.size for node in made.nodes if hasattr(node.op, "data"))
    assert sizes < sum(node.op.data.size for node in silent.nodes if hasattr(node.op, "data"))


def _same(before, after, gone):
    """Return the channels of *after* that are *gone* of *before*: by place in groups of the same title."""
    titles = {(group.title, group.makers): group for group in after.groups}
    found = []
    for group in before.groups:
        found += titles[group.title, group.makers].channels[np.isin(group.channels, gone)].tolist()
    return np.array(found, np.int64)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS[:4])
def test_a_smaller_graph_is_the_onnx_model_that_it_is_written_as(opened, kind, seed):
    net = opened(kind, seed)
    channels = channels_of(net.whole)
    gone = np.concatenate([group.channels[:1] for group in channels.groups if not group.why and group.size > 1])
    made = sliced(channels, gone, net.model.typed)
    proto = onnx_of(made)
    onnx.checker.check_model(proto)
    (told,) = open_session(proto, "smaller").run(None, {"x": net.x})
    assert np.array_equal(told, net.run(made))
    # and read again, of other rows than it was typed for
    again = open_model(proto, {"x": (3, *net.x.shape[1:])})
    assert again.graph[again.graph.output].type.shape == (3, 4)


def test_outputs_and_sums_with_inputs_keep_their_channels_and_say_why(opened):
    kinds = {kind: [channels_of(opened(kind, seed).whole) for seed in SEEDS] for kind in KINDS}
    why = {kind: {group.why for each in found for group in each.groups} for kind, found in kinds.items()}
    assert all("they leave the model" in each for each in why.values())
    assert any(
        re.match(r"Add \(add_\w+\) joins them with values whose channels are not followed", each)
        for each in why["encoder"]
    )


def _chain(*nodes, held, shape, opset=17):
    graph = helper.make_graph(
        list(nodes),
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in held.items()],
    )
    model = open_model(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), {"x": (2, *shape)}
    )
    return channels_of(model.apart(model.graph)), model


def _weights(*shape):
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def test_what_no_rule_follows_stays_and_is_named():
    channels, _ = _chain(
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("CumSum", ["h", "axis"], ["c"]),
        helper.make_node("MatMul", ["c", "b"], ["y"]),
        held={"a": _weights(3, 4), "b": _weights(4, 2), "axis": np.array(1)},
        shape=(3,),
    )
    (group,) = [group for group in channels.groups if group.size == 4]
    assert group.why.startswith("CumSum (c_2) reads them")


def test_a_norm_keeps_its_channels():
    channels, _ = _chain(
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("LayerNormalization", ["h", "g"], ["c"], axis=-1),
        helper.make_node("MatMul", ["c", "b"], ["y"]),
        held={"a": _weights(3, 4), "b": _weights(4, 2), "g": _weights(4)},
        shape=(3,),
    )
    (group,) = [group for group in channels.groups if group.size == 4]
    assert group.why == "LayerNormalization (c_2) takes their mean"


def test_filters_in_groups_stay():
    channels, _ = _chain(
        helper.make_node("Conv", ["x", "a"], ["h"], kernel_shape=[1, 1]),
        helper.make_node("Conv", ["h", "b"], ["g"], kernel_shape=[1, 1], group=2),
        helper.make_node("Conv", ["g", "c"], ["y"], kernel_shape=[1, 1]),
        held={"a": _weights(4, 3, 1, 1), "b": _weights(6, 2, 1, 1), "c": _weights(2, 6, 1, 1)},
        shape=(3, 2, 2),
    )
    assert {group.size: group.why for group in channels.groups if group.size == 4} == {
        4: "Conv (g) takes them in groups"
    }


def test_a_size_that_a_model_computes_follows_what_leaves():
    channels, model = _computed()
    (group,) = [group for group in channels.groups if group.size == 4]
    made = sliced(channels, group.channels[:1], model.typed)
    assert not problems(made)
    assert [layer.k for layer in product_layers(made)] == [2, 3]


@pytest.mark.parametrize("opset", [9, 10, 13, 17])
@pytest.mark.parametrize("gone", [[0, 1], [2, 3, 4, 5]])
def test_heads_that_are_joined_to_the_shape_of_something_else_can_leave(opset, gone):
    """As exporters write it: three heads of two become the shape of the layer's input, which keeps its six."""
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("Reshape", ["h", "heads"], ["s"]),
        helper.make_node("Transpose", ["s"], ["t"], perm=[0, 2, 1, 3]),
        helper.make_node("Relu", ["t"], ["r"]),
        helper.make_node("Transpose", ["r"], ["back"], perm=[0, 2, 1, 3]),
        helper.make_node("Shape", ["x"], ["all"]),
        helper.make_node("Reshape", ["back", "all"], ["joined"]),
        helper.make_node("MatMul", ["joined", "b"], ["y"]),
    ]
    held = {"a": _weights(6, 6), "b": _weights(6, 2), "heads": np.array([0, 0, 3, 2])}
    channels, model = _chain(*nodes, held=held, shape=(5, 6), opset=opset)
    (group,) = [group for group in channels.groups if group.size == 3]
    columns = np.flatnonzero(np.isin(matrix_channels(channels, channels.graph[group.readers[0]]), group.channels))
    assert len(columns) == 6
    leaving = group.channels[np.unique([place // 2 for place in gone])]
    made = sliced(channels, leaving, model.typed)
    assert not problems(made)
    x = np.random.default_rng(1).standard_normal((7, 5, 6)).astype(np.float32)
    weights = held["b"].copy()
    weights[gone] = 0
    expected = np.maximum(x @ held["a"], 0) @ weights
    seen = run_tensors(made, {"x": x}, model.host, None)["y"]
    assert np.allclose(seen, expected, atol=1e-5)
    assert seen.size > 0


def _computed():
    return _chain(
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("Shape", ["x"], ["all"]),
        helper.make_node("Gather", ["all", "one"], ["n"]),
        helper.make_node("Mul", ["n", "two"], ["size"]),
        helper.make_node("Concat", ["minus", "size"], ["shape"], axis=0),
        helper.make_node("Reshape", ["h", "shape"], ["r"]),
        helper.make_node("MatMul", ["r", "b"], ["y"]),
        held={
            "a": _weights(2, 4),
            "b": _weights(4, 2),
            "two": np.array([2]),
            "minus": np.array([-1]),
            "one": np.array([1]),
        },
        shape=(2,),
    )


def test_breaking_a_tie_is_seen(opened, monkeypatch):
    """The test of silent channels fails where a rule forgets a tie: it is broken here on purpose."""
    from approxhw.passes.structure.ground import ids

    net = opened("convolutions", 0)
    whole = net.whole
    sound = channels_of(whole)
    monkeypatch.setattr(ids.Ids, "tie", lambda self, one, other, why: one)
    broken = channels_of(whole)
    assert len(broken.groups) != len(sound.groups) or any(
        a.makers != b.makers for a, b in zip(broken.groups, sound.groups, strict=True)
    )


def test_apart_keeps_what_is_no_host(opened):
    net = opened("convolutions", 1)
    products = [node for node in net.model.graph.nodes if not isinstance(node.op, Host) and node.kind == "conv"]
    whole = taken_apart(net.model.graph, net.model.host)
    assert products
    assert all(whole[node.name].op == node.op for node in products)
    assert replace(whole, nodes=()).results


@pytest.mark.parametrize(
    "passes", ["prune-outputs{keep=0.5}", "prune-outputs{keep=0.5,repair=once}", "fuse-neurons{keep=0.5,starts=2}"]
)
def test_filters_in_groups_and_spread_ones_stay_as_they_are_beside_what_leaves(passes):
    """A convolution in groups, and one that is transposed, beside a pair of layers that can lose channels."""
    channels, model = _chain(
        helper.make_node("Conv", ["x", "a"], ["h"], kernel_shape=[1, 1]),
        helper.make_node("Conv", ["h", "b"], ["g"], kernel_shape=[1, 1], group=2),
        helper.make_node("ConvTranspose", ["g", "c"], ["t"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["t", "d"], ["u"], kernel_shape=[1, 1]),
        helper.make_node("Relu", ["u"], ["v"]),
        helper.make_node("Conv", ["v", "e"], ["y"], kernel_shape=[1, 1]),
        held={
            "a": _weights(4, 3, 1, 1), "b": _weights(6, 2, 1, 1), "c": _weights(6, 5, 2, 2), "d": _weights(8, 5, 1, 1),
            "e": _weights(2, 8, 1, 1),
        },
        shape=(3, 4, 4),
    )  # fmt: skip
    why = {group.size: group.why for group in channels.groups}
    assert why == {4: "Conv (g) takes them in groups", 8: "", 2: "they leave the model"}
    x = np.random.default_rng(0).standard_normal((16, 3, 4, 4)).astype(np.float32)
    context = PassContext(
        observe=partial(observe_rows, Feeds({"x": x}), model.host), reshaping=reshaping_on(model, Array())
    )
    made, _ = run_passes(model.graph, passes, context, check=False)
    sizes = {layer.name: layer.n for layer in product_layers(made)}
    assert [sizes[name] for name in ("h", "g", "t", "u", "y")] == [4, 3, 20, 4, 2]
    assert np.isfinite(run_tensors(made, {"x": x}, model.host, None)["y"]).all()


def _same_without_weight(channels, model, x):
    """Return how far the model without some channels is from the one whose weights that read them are 0."""
    whole = channels.graph
    silent, gone = whole, []
    for group in channels.groups:
        if not group.why and group.size > 1:
            gone.append(group.channels[: group.size // 2])
    assert gone
    gone = np.concatenate(gone)
    for name in dict.fromkeys(name for group in channels.groups if not group.why for name in group.readers):
        matrix = matrix_of(whole, whole[name])
        matrix[np.isin(matrix_channels(channels, whole[name]), gone)] = 0
        silent = with_matrix(silent, silent[name], matrix)
    again = channels_of(silent)
    made = sliced(again, _same(channels, again, gone), model.typed)
    one, other = (run_tensors(graph, {"x": x}, model.host, None)["y"] for graph in (silent, made))
    return float(np.abs(one - other).max())


def _middle(*nodes, opset=17, **held):
    """Return channels and model of two layers of six neurons with *nodes* from h to c between them, and why the six stay."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "a"], ["h"]), *nodes, helper.make_node("MatMul", ["c", "b"], ["y"])],
        "middle",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 3, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(v, k) for k, v in {"a": _weights(4, 6), "b": _weights(6, 2), **held}.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    model = open_model(proto, {"x": (2, 3, 4)})
    channels = channels_of(model.apart(model.graph))
    (group,) = [each for each in channels.groups if each.size == 6]
    return channels, model, group.why


def _node(kind, reads, makes, **given):
    return helper.make_node(kind, reads, makes, **given)


@pytest.mark.parametrize(
    ("nodes", "opset", "held", "told"),
    [
        (
            [_node("Shape", ["h"], ["s"]), _node("Gather", ["s", "two"], ["n"]), _node("Cast", ["n"], ["f"], to=1),
             _node("Div", ["h", "f"], ["c"])], 17, {"two": np.array(2)}, "and the model computes with that",
        ),
        (
            [_node("Size", ["h"], ["n"]), _node("Cast", ["n"], ["f"], to=1), _node("Div", ["h", "f"], ["c"])],
            17, {}, "and the model computes with that",
        ),
        ([_node("Softmax", ["h"], ["c"], axis=1)], 11, {}, "divides them by their sum"),
        ([_node("LogSoftmax", ["h"], ["c"])], 11, {}, "divides them by their sum"),
        ([_node("Softmax", ["h"], ["c"])], 17, {}, "divides them by their sum"),
        (
            [_node("ReduceSum", ["h", "none"], ["m"], keepdims=1), _node("Add", ["h", "m"], ["c"])],
            17, {"none": np.zeros(0, np.int64)}, "sums up them",
        ),
        (
            [_node("Transpose", ["h"], ["t"], perm=[2, 0, 1]), _node("ArgMax", ["t"], ["m"], keepdims=0),
             _node("Cast", ["m"], ["f"], to=1), _node("ReduceMean", ["f"], ["g"], keepdims=1),
             _node("Squeeze", ["g"], ["q"]), _node("Add", ["h", "q"], ["c"])], 17, {}, "compares them",
        ),
    ],
)  # fmt: skip
def test_what_depends_on_how_many_there_are_keeps_its_channels(nodes, opset, held, told):
    assert told in _middle(*nodes, opset=opset, **held)[2]


@pytest.mark.parametrize(
    ("nodes", "opset", "held"),
    [
        ([_node("Softmax", ["h"], ["c"], axis=1)], 13, {}),  # over the rows of one channel
        ([_node("Dropout", ["h"], ["d", "mask"]), _node("Cast", ["mask"], ["f"], to=1), _node("Add", ["d", "d"], ["c"])], 17, {}),
        ([_node("Shape", ["h"], ["s"]), _node("Reshape", ["h", "s"], ["c"])], 17, {}),
    ],
)  # fmt: skip
def test_what_does_not_may_lose_channels(nodes, opset, held):
    channels, model, why = _middle(*nodes, opset=opset, **held)
    assert why == ""
    x = np.random.default_rng(0).standard_normal((5, 3, 4)).astype(np.float32)
    assert _same_without_weight(channels, model, x) < 1e-4


def test_constants_in_front_of_channels_keep_them():
    channels, _, why = _middle(
        _node("Transpose", ["h"], ["t"], perm=[0, 2, 1]),
        _node("MatMul", ["front", "t"], ["u"]),
        _node("ReduceMean", ["u"], ["m"], axes=[1, 2], keepdims=1),
        _node("Add", ["h", "m"], ["c"]),
        front=_weights(2, 6),
    )
    assert "multiplies them by constants, no plain matrix behind them" in why
    assert channels.groups
