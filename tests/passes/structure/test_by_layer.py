"""Ranks, cores and sizes told layer by layer, and what a model's end feels of each layer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approxhw.common.errors import OptionError, PassError
from approxhw.engine.composing.felt import TRIED, end_answers, felt_by_layer, felt_of, with_share_lost
from approxhw.ir.kinds.tensor.ops import Conv, is_product
from approxhw.ir.pass_manager import parse_passes, run_passes, spell_pass
from approxhw.passes.structure.ground.by_layer import fitted_by_layer, read_by_layer, read_count, spelled_by_layer
from approxhw.passes.structure.ground.channels import weights_of
from approxhw.passes.structure.ground.layers import matrix_of
from approxhw.passes.structure.ground.moments import input_moments

TITLES = st.lists(
    st.text(st.sampled_from("ab/.:;={}, *?[#1"), min_size=1, max_size=6), min_size=1, max_size=8, unique=True
)


@given(TITLES, st.data())
@settings(max_examples=150, deadline=None)
def test_what_is_spelled_is_read_again_whatever_layers_are_called(titles, data):
    chosen = data.draw(st.lists(st.sampled_from(titles), min_size=1, unique=True))
    values = {title: data.draw(st.integers(1, 3)) for title in titles if title in chosen}
    text = spelled_by_layer(values, titles)
    assert not set(text) & set("{},")
    read = read_by_layer(text, read_count, "low-rank.ranks", "ranks=a=1")
    assert fitted_by_layer(read, titles, "low-rank") == values


def test_names_are_left_for_numbers_where_a_text_would_be_long():
    titles = [f"/encoder/layer.{number}/attention/output/dense/MatMul" for number in range(100)]
    text = spelled_by_layer(dict.fromkeys(titles, 16), titles)
    assert text.startswith("#0:#1:")
    assert len(text) < 3000


def test_everything_wrong_with_a_text_is_told():
    with pytest.raises(OptionError) as caught:
        parse_passes("low-rank{ranks=a=0;b;c=1;c=2},tucker{cores=a=3x;b=4},prune-outputs{sizes=a=x}")
    text = str(caught.value)
    for part in (
        "'0', of a, is no whole number of 1 or more",
        "'b' gives no layer a value",
        "layer 'c' is named twice",
        "write ranks=conv1=16;fc=8",
    ):
        assert part in text
    with pytest.raises(OptionError, match="'4', of b, is no core such as 8x12"):
        parse_passes("tucker{cores=a=3x;b=4}")
    with pytest.raises(OptionError, match=r"low-rank.budget and ranks: both are given"):
        parse_passes("low-rank{budget=70%,ranks=a=1}")
    with pytest.raises(OptionError, match=r"tucker.budget and cores: both are given"):
        parse_passes("tucker{budget=70%,cores=a=1x1}")
    with pytest.raises(OptionError, match=r"prune-outputs.keep and budget and sizes: all are given"):
        parse_passes("prune-outputs{budget=70%,keep=0.5,sizes=a=1}")


def test_exact_names_go_before_patterns_and_numbers_count_layers():
    known = ["a.0", "a.1", "b"]
    assert fitted_by_layer({"a.*": 4, "a.1": 2, "#2": 7}, known, "low-rank") == {"a.0": 4, "a.1": 2, "b": 7}
    with pytest.raises(PassError, match="the model has 3 such layers, counted from #0"):
        fitted_by_layer({"#3": 1}, known, "low-rank")
    with pytest.raises(PassError, match="the model has no such product"):
        fitted_by_layer({"c": 1}, known, "low-rank")


def _chosen(net, passes):
    graph, (line,) = run_passes(net.model.graph, passes, net.context, check=False)
    return graph, line.notes[0]


@pytest.mark.parametrize("seed", range(3))
def test_ranks_that_a_budget_chose_make_the_same_model_told_by_layer(opened, seed):
    net = opened("encoder", seed)
    graph, note = _chosen(net, "low-rank{budget=95%}")
    told = [part.rsplit(" ", 1) for part in note.removeprefix("ranks: ").rsplit(": ", 1)[0].split(", ") if part != "…"]
    assert 0 < len(told) < 8, "the note names no more than eight layers"
    again, _ = _chosen(net, f"low-rank{{ranks={';'.join(f'{name}={rank}' for name, rank in told)}}}")
    assert np.array_equal(net.run(graph), net.run(again))


@pytest.mark.parametrize("seed", range(3))
def test_cores_are_as_large_as_they_are_told_to_be(opened, seed):
    net = opened("convolutions", seed)
    nodes = [n for n in net.whole.nodes if isinstance(n.op, Conv) and weights_of(net.whole, n) is not None]
    node = max(nodes, key=lambda each: min(net.whole[each.inputs[1]].type.shape[:2]))
    count, channels = net.whole[node.inputs[1]].type.shape[:2]
    graph, _ = _chosen(net, f"tucker{{cores={node.op.title}={channels - 1 or 1}x{count - 1 or 1}}}")
    (core,) = [n for n in graph.nodes if is_product(n.op) and n.op.title == f"{node.op.title}/core"]
    assert graph[core.inputs[1]].type.shape[:2] == ((count - 1) or 1, (channels - 1) or 1)
    with pytest.raises(PassError, match=f"a core of {channels + 1}x{count} is above its {channels}x{count}"):
        _chosen(net, f"tucker{{cores={node.op.title}={channels + 1}x{count}}}")


@pytest.mark.parametrize("kind", ["convolutions", "encoder"])
def test_sizes_are_those_that_a_budget_leaves(opened, kind):
    net = opened(kind, 1)
    graph, note = _chosen(net, "prune-outputs{budget=80%}")
    told = [part.rsplit(" of ", 1)[0].rsplit(" ", 1) for part in note.rsplit(": ", 1)[0].split(", ")]
    again, other = _chosen(net, f"prune-outputs{{sizes={';'.join(f'{name}={size}' for name, size in told)}}}")
    assert other.rsplit(": ", 1)[1] == note.rsplit(": ", 1)[1]
    assert np.allclose(net.run(graph), net.run(again), rtol=1e-3, atol=1e-4), "groups in another order round otherwise"
    name = told[0][0]
    with pytest.raises(PassError, match="channels, not 9999"):
        _chosen(net, f"prune-outputs{{sizes={name}=9999}}")


def test_options_by_layer_are_spelled_as_they_are_read():
    text = "low-rank{ranks=conv1=16;conv2:fc=8}"
    (made,) = parse_passes(text)
    assert spell_pass(made) == text


@pytest.mark.parametrize("kind", ["convolutions", "encoder"])
def test_a_layer_loses_the_share_that_it_is_asked_to_lose_and_keeps_its_mean(opened, kind):
    net, count = opened(kind, 2), 0
    whole = net.whole
    nodes = [n for n in whole.nodes if is_product(n.op) and weights_of(whole, n) is not None]
    moments = input_moments(whole, [n.name for n in nodes], net.context.observe)
    for node in nodes:
        matrix, covariance = matrix_of(whole, node), moments[node.name].covariance
        made = with_share_lost(whole, node, moments[node.name], TRIED)
        off = matrix_of(made, made[node.name]) - matrix
        lost = np.trace(off.T @ covariance @ off) / np.trace(matrix.T @ covariance @ matrix)
        assert lost == pytest.approx(TRIED, rel=1e-3)
        count += 1
    assert count > 0


@pytest.mark.parametrize("kind", ["convolutions", "encoder"])
def test_the_end_feels_what_its_answers_move_by(opened, kind):
    net = opened(kind, 3)
    whole, observe = net.whole, net.context.observe
    nodes = [n for n in whole.nodes if is_product(n.op) and weights_of(whole, n) is not None]
    moments = input_moments(whole, [n.name for n in nodes], observe)
    felt = felt_by_layer(whole, moments, observe)
    assert set(felt) == {n.name for n in nodes}
    (before,) = end_answers(whole, observe)
    assert before.moved(before) == 0
    for node in nodes:
        scores = net.run(with_share_lost(whole, node, moments[node.name], TRIED)).astype(np.float64)
        first = net.run(whole).astype(np.float64)
        chances = [np.exp(each - each.max(axis=1, keepdims=True)) for each in (first, scores)]
        p, q = (each / each.sum(axis=1, keepdims=True) for each in chances)
        meant = np.mean(np.sum(p * np.log(p / q), axis=1)) / TRIED
        assert felt[node.name] == pytest.approx(max(meant, 1e-6), rel=1e-3, abs=1e-6)
    assert felt_of(felt, [nodes[0].name]) == felt[nodes[0].name]
    assert felt_of(felt, []) == pytest.approx(float(np.median([*felt.values()])))


def test_a_layer_that_is_called_all_is_itself():
    assert fitted_by_layer({"all": 3}, ["all", "b"], "low-rank") == {"all": 3}
    assert fitted_by_layer({"all": 3}, ["a", "b"], "low-rank") == {"a": 3, "b": 3}
