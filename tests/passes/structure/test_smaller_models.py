"""prune-outputs and low-rank: what they leave, what they promise, what they refuse."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from approxhw.common.errors import OptionError, PassError
from approxhw.engine.operands import Feeds, observe_rows
from approxhw.frontends.products.partition import open_model
from approxhw.ir.pass_manager import PassContext, parse_passes, run_passes
from approxhw.ir.rewriting import Reshaping
from approxhw.ir.tensor.emulate import EmulatedEngine
from approxhw.ir.tensor.layers import product_layers, with_macs
from approxhw.ir.tensor.run import run_tensors
from approxhw.numerics.mac.arithmetic import FloatMac
from approxhw.passes.structure import fuse_neurons
from approxhw.passes.structure.ground.channels import channels_of, weights_of
from approxhw.passes.structure.ground.layers import clocks_of, matrix_of, with_matrix
from approxhw.passes.structure.ground.slicing import sliced

SEEDS = range(4)
KINDS = ("convolutions", "encoder")


def _made(net, passes):
    return run_passes(net.model.graph, passes, net.context, check=False)


def _off(net, graph):
    expected = net.run(net.model.graph)
    return float(np.mean((net.run(graph) - expected) ** 2) / np.mean((expected - expected.mean(axis=0)) ** 2))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("passes", ["prune-outputs{budget=80%}", "prune-outputs{keep=0.7}"])
def test_a_pruned_model_takes_the_clocks_that_its_note_says(opened, kind, seed, passes):
    net = opened(kind, seed)
    graph, (line,) = _made(net, passes)
    reshaping = net.context.reshaping
    before, after = (clocks_of(reshaping, each) for each in (net.model.graph, graph))
    assert after < before or "budget" not in passes  # a share may be less than what fills a column
    assert after <= before
    assert f"{after:,} of {before:,} clocks" in line.notes[0]
    if "budget" in passes:
        assert after <= 0.8 * before


@pytest.mark.parametrize("kind", KINDS)
def test_repair_is_worth_it(opened, kind):
    off = {
        how: np.median(
            [
                _off(net, _made(net, f"prune-outputs{{budget=85%,repair={how}}}")[0])
                for net in map(opened, [kind] * 6, range(6))
            ]
        )
        for how in ("none", "once", "refit")
    }
    assert off["once"] < off["none"]
    assert off["refit"] < 1.1 * off["once"]


@pytest.mark.parametrize("kind", KINDS)
def test_keeping_everything_changes_nothing(opened, kind):
    net = opened(kind, 1)
    graph, (line,) = _made(net, "prune-outputs{keep=1}")
    assert graph is net.model.graph
    assert line.notes == ("every channel stays",)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_factors_of_full_rank_would_be_the_weights(opened, kind, seed):
    """A layer whose outputs have few directions loses nothing by factors of that rank."""
    net = opened(kind, seed)
    whole = net.whole
    rng = np.random.default_rng(seed)
    thin = whole
    for node in [node for node in whole.nodes if weights_of(whole, node) is not None]:
        k, n = matrix_of(whole, node).shape
        if min(k, n) > 2:
            thin = with_matrix(thin, thin[node.name], rng.standard_normal((k, 2)) @ rng.standard_normal((2, n)) / 3)
    context = replace(net.context, reshaping=replace(net.context.reshaping, clocks=lambda m, k, n: m * k * n))
    graph, (line,) = run_passes(thin, "low-rank{rank=2,refit=false}", context, check=False)
    expected = net.run(thin)
    assert np.allclose(net.run(graph), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
    assert len(product_layers(graph)) > len(product_layers(thin))
    assert "ranks: " in line.notes[0]
    assert "worst condition of weights" in line.notes[1]


@pytest.mark.parametrize("kind", KINDS)
def test_passes_follow_one_another(opened, kind):
    net = opened(kind, 2)
    context = replace(net.context, reshaping=replace(net.context.reshaping, clocks=lambda m, k, n: m * k * n))
    graph, lines = run_passes(
        net.model.graph,
        "prune-outputs{budget=90%},low-rank{budget=95%},approximate-normalization{layers=all}",
        context,
        check=False,
    )
    assert len(lines) == 3
    assert np.isfinite(net.run(graph)).all()


def test_the_same_rows_give_the_same_model(opened):
    net = opened("convolutions", 3)
    one, other = (_made(net, "prune-outputs{budget=75%}")[0] for _ in range(2))
    assert one == other


@pytest.mark.parametrize(
    ("spelled", "told"),
    [
        ("prune-outputs{keep=0}", "0.0 leaves nothing"),
        ("prune-outputs{keep=1.5}", "no share above 0 and at most 1"),
        ("prune-outputs{keep=0.5,budget=50%}", "both are given"),
        ("fuse-neurons{keep=0}", "0.0 leaves nothing"),
        ("fuse-neurons{starts=0}", "0 draws find nothing"),
        ("low-rank{rank=0}", "0 leaves nothing"),
        ("low-rank{rank=2,budget=50%}", "both are given"),
    ],
)
def test_options_that_cannot_be_are_refused(spelled, told):
    with pytest.raises(OptionError, match=told.replace(".", r"\.")):
        parse_passes(spelled)


@pytest.mark.parametrize(
    ("passes", "told", "remedy"),
    [
        ("prune-outputs{budget=1%}", "the fewest channels that can stay take", "give budget="),
        ("prune-outputs{keep=0.5,layers=nowhere}", "the model has no such product", "its products are"),
        ("low-rank{rank=9999}", "above the full rank of every layer", "give less than"),
        ("low-rank{budget=1%}", "rank 1 everywhere still takes", "or more"),
        ("low-rank{rank=2,layers=nowhere}", "the model has no such product", "its products are"),
    ],
)
def test_what_a_model_cannot_give_is_told(opened, passes, told, remedy):
    net = opened("encoder", 1)
    with pytest.raises(PassError) as error:
        _made(net, passes)
    assert told in str(error.value)
    assert remedy in str(error.value)


def test_a_budget_that_is_advised_can_be_met(opened):
    net = opened("encoder", 1)
    for name in ("prune-outputs", "low-rank"):
        with pytest.raises(PassError) as error:
            _made(net, f"{name}{{budget=1%}}")
        advised = error.value.problems[0].remedy.split("budget=")[1].split(" ")[0]
        graph, _ = _made(net, f"{name}{{budget={advised}}}")
        assert np.isfinite(net.run(graph)).all()


def test_a_layer_that_cannot_be_sliced_is_named_with_why(opened):
    net = opened("encoder", 1)
    title = product_layers(net.model.graph)[-1].name
    with pytest.raises(PassError, match="its channels stay: they leave the model"):
        _made(net, f"prune-outputs{{keep=0.5,layers={title}}}")


@pytest.mark.parametrize("passes", ["prune-outputs{keep=0.5}", "low-rank{rank=2}", "fuse-neurons"])
def test_without_rows_or_without_a_model_to_run_there_is_one_error(opened, passes):
    net = opened("encoder", 1)
    with pytest.raises(PassError, match="give --data with training rows"):
        run_passes(net.model.graph, passes, replace(net.context, observe=None), check=False)
    with pytest.raises(PassError, match="--target matrix-engine"):
        run_passes(net.model.graph, passes, replace(net.context, reshaping=None), check=False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_neurons_that_are_twins_become_one_without_a_trace(opened, kind, seed):
    """A layer whose channels come in pairs of the same weights loses half of them, and gives the same."""
    net = opened(kind, seed)
    whole = net.whole
    channels = channels_of(whole)
    group = next(group for group in channels.groups if not group.why and group.size > 1)
    clusters = np.arange(group.size) // 2
    twins, count = whole, 0
    for number, axis, reads in fuse_neurons._places(channels, group):
        node = whole.nodes[number]
        if reads:
            continue
        data, ids = np.array(node.op.data), channels.axes[node.name][axis]
        moved = np.moveaxis(data, axis, 0)
        for pair in range(group.size // 2):
            moved[ids == group.channels[2 * pair + 1]] = moved[ids == group.channels[2 * pair]]
            count += 1
        nodes = [
            replace(each, op=replace(each.op, data=data)) if each.name == node.name else each for each in twins.nodes
        ]
        twins = replace(twins, nodes=tuple(nodes))
    assert count > 0
    again = channels_of(twins)
    same = next(each for each in again.groups if each.title == group.title)
    fused, gone = fuse_neurons._fused(again, same, clusters)
    assert len(gone) == group.size // 2
    made = sliced(fuse_neurons._of(again, fused), gone, net.model.typed)
    assert np.allclose(net.run(made), net.run(twins), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_fused_models_are_whole_and_seeded(opened, kind):
    net = opened(kind, 2)
    one, other = (_made(net, "fuse-neurons{keep=0.6,starts=3}")[0] for _ in range(2))
    assert one == other
    assert clocks_of(net.context.reshaping, one) < clocks_of(net.context.reshaping, net.model.graph)
    assert np.isfinite(net.run(one)).all()


def test_k_means_leaves_no_cluster_empty():
    rows = np.repeat(np.random.default_rng(0).standard_normal((3, 4)), 5, axis=0)
    found = fuse_neurons._clustered(rows, 3, 5, np.random.default_rng(1))
    assert sorted(np.bincount(found).tolist()) == [5, 5, 5]
    assert len(np.unique(fuse_neurons._clustered(np.zeros((6, 2)), 4, 1, np.random.default_rng(1)))) == 4


@pytest.mark.parametrize("kind", ["float16", "float64"])
@pytest.mark.parametrize("passes", ["low-rank{rank=2}", "prune-outputs{keep=0.5}", "fuse-neurons{keep=0.5,starts=2}"])
def test_models_of_other_floats_stay_of_their_kind(kind, passes):
    rng = np.random.default_rng(1)
    element = {"float16": TensorProto.FLOAT16, "float64": TensorProto.DOUBLE}[kind]
    held = {"a": rng.standard_normal((8, 12)), "b": rng.standard_normal((12, 6)), "c": rng.standard_normal((4, 1))}
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "a"], ["h"]),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("Gemm", ["r", "b", "c"], ["y"]),  # what it adds differs from row to row
        ],
        "floats",
        [helper.make_tensor_value_info("x", element, [4, 8])],
        [helper.make_tensor_value_info("y", element, [4, 6])],
        [numpy_helper.from_array(array.astype(kind), name) for name, array in held.items()],
    )
    model = open_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    x = rng.standard_normal((64, 8)).astype(kind)
    context = PassContext(
        observe=partial(observe_rows, Feeds({"x": x}, fixed=4), model.host),
        reshaping=Reshaping(model.apart, model.typed),
    )
    made, _ = run_passes(model.graph, passes, context, check=False)
    assert made is not model.graph
    found = run_tensors(made, {"x": x[:4]}, model.host, None)["y"]
    assert found.dtype == np.dtype(kind)
    assert np.isfinite(found.astype(float)).all()


def test_weights_that_are_no_numbers_are_told(opened):
    net = opened("encoder", 0)
    whole = net.whole
    node = next(node for node in whole.nodes if weights_of(whole, node) is not None)
    spoilt = with_matrix(whole, node, np.full(matrix_of(whole, node).shape, np.nan))
    with pytest.raises(PassError, match="some of its weights are infinite or no numbers"):
        run_passes(spoilt, "low-rank{rank=2}", net.context, check=False)


def test_rounded_weights_of_one_graph_are_not_taken_for_those_of_another(opened):
    """Two passes may call different constants alike: an engine that runs one Graph and then the other tells them apart."""
    net = opened("convolutions", 1)
    whole = with_macs(net.whole, FloatMac())
    node = next(node for node in whole.nodes if weights_of(whole, node) is not None)
    one, other = (with_matrix(whole, node, factor * matrix_of(whole, node)) for factor in (2.0, -3.0))
    assert [each.name for each in one.nodes] == [each.name for each in other.nodes]
    engine = EmulatedEngine(whole, net.model.host)
    found = [engine.on(graph).run({"x": net.x})["logits"] for graph in (one, other)]
    alone = [EmulatedEngine(graph, net.model.host).run({"x": net.x})["logits"] for graph in (one, other)]
    assert not np.array_equal(alone[0], alone[1])
    assert all(np.array_equal(a, b) for a, b in zip(found, alone, strict=True))
