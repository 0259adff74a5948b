"""Moments over calibration rows, the order in which channels leave, repair, refitting: each beside a plain computation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from approxhw.common.errors import PassError
from approxhw.ir.tensor.run import run_tensors, walk_tensors
from approxhw.passes.structure.ground import moments as gathering
from approxhw.passes.structure.ground.budget import Form, unbeaten_forms, within_budget
from approxhw.passes.structure.ground.channels import channels_of, weights_of
from approxhw.passes.structure.ground.layers import matrix_of, with_matrix
from approxhw.passes.structure.ground.moments import Moments, depth_of, input_moments, vectors_of
from approxhw.passes.structure.ground.refit import Meant, columns_last, joined_graphs, refitted
from approxhw.passes.structure.ground.repair import WeightReader, order_of_leaving, repaired

SEEDS = range(4)


def _products(graph):
    return [node for node in graph.nodes if weights_of(graph, node) is not None]


def _gathered(net, graph, node):
    """Return all that the weights of *node* read and all that it gives, gathered as plainly as can be."""
    held = {}

    def seen(each, value):
        for name in {node.name, node.inputs[0]} & {each.name}:
            held.setdefault(name, []).append(value)

    net.context.observe(graph, seen)
    read, made = (np.concatenate(held[name]) for name in (node.inputs[0], node.name))
    return np.concatenate(list(vectors_of(graph, node, read))), columns_last(node, made).astype(np.float64)


@pytest.mark.parametrize("kind", ["convolutions", "encoder"])
@pytest.mark.parametrize("seed", SEEDS)
def test_what_weights_read_times_the_weights_is_what_the_product_gives(opened, kind, seed):
    net = opened(kind, seed)
    whole, count = net.whole, 0
    for node in _products(whole):
        vectors, made = _gathered(net, whole, node)
        assert vectors.shape[1] == depth_of(whole, node)
        rest = made / getattr(node.op, "alpha", 1.0) - vectors @ matrix_of(whole, node)
        assert np.allclose(rest, rest[:1], atol=1e-3)  # what is left is a bias: the same in every row
        count += len(rest)
    assert count > 0


@pytest.mark.parametrize("kind", ["convolutions", "encoder"])
@pytest.mark.parametrize("seed", SEEDS)
def test_moments_are_those_of_all_rows_at_once(opened, kind, seed, monkeypatch):
    net = opened(kind, seed)
    whole = net.whole
    nodes = _products(whole)
    names = [node.name for node in nodes]
    runs = []

    def observe(graph, seen):
        runs.append(graph)
        net.context.observe(graph, seen)

    monkeypatch.setattr(gathering, "_ROWS", 7)  # many small parts of each batch
    monkeypatch.setattr(gathering, "MOST_BYTES", 1)  # one covariance a run
    found = input_moments(whole, names, observe)
    assert len(runs) == len(names) > 1
    assert list(found) == names
    for node in nodes:
        vectors, _ = _gathered(net, whole, node)
        assert found[node.name].count == len(vectors) > 0
        assert np.allclose(found[node.name].mean, vectors.mean(axis=0))
        assert np.allclose(found[node.name].covariance, np.cov(vectors.T, bias=True).reshape(len(vectors[0]), -1))


def test_a_large_mean_leaves_its_digits_to_the_covariance():
    sums = gathering.VectorSums(3)
    rows = 1e8 + np.random.default_rng(0).standard_normal((1000, 3))
    for part in np.split(rows, 10):
        sums.add(part)
    assert np.allclose(sums.moments().covariance, np.cov(rows.T, bias=True), rtol=1e-6)


def test_nan_in_what_is_read_is_an_error_that_names_the_layer(opened):
    net = opened("encoder", 0)
    whole = net.whole
    node = _products(whole)[0]

    def observe(graph, seen):
        feeds = {"x": np.full((2, *net.x.shape[1:]), np.nan, np.float32)}
        walk_tensors(graph, feeds, net.model.host, None, seen)

    with pytest.raises(PassError, match="NaN or infinite") as told:
        input_moments(whole, [node.name], observe)
    assert node.op.title in str(told.value)
    with pytest.raises(PassError, match="no calibration row reaches it"):
        input_moments(whole, [node.name], lambda graph, seen: None)


def _reading(seed, channels, each, columns=3):
    rng = np.random.default_rng(seed)
    size = channels * each
    rows = rng.standard_normal((500, size)) @ rng.standard_normal((size, size)) + rng.standard_normal(size)
    moments = Moments(500, rows.mean(axis=0), np.cov(rows.T, bias=True))
    return WeightReader(rng.standard_normal((size, columns)), moments, np.repeat(np.arange(channels), each)), rows


def _error(reading, rows, kept):
    renewed, shift = repaired(reading.weights, reading.moments, kept)
    meant = rows @ reading.weights
    lost = meant - (rows[:, kept] @ renewed + shift)
    return np.sum(lost**2) / np.sum((meant - meant.mean(axis=0)) ** 2)


@pytest.mark.parametrize("each", [1, 2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_loss_is_that_of_the_best_repair_and_the_first_channel_the_cheapest(seed, each):
    reading, rows = _reading(seed, 5, each)
    found = order_of_leaving([reading], np.arange(5))
    assert sorted(found.channels.tolist()) == list(range(5))
    for gone in range(1, 5):
        kept = np.flatnonzero(~np.isin(reading.channels, found.channels[:gone]))
        assert _error(reading, rows, kept) == pytest.approx(found.losses[gone], rel=0.05, abs=1e-3)
    alone = [_error(reading, rows, np.flatnonzero(reading.channels != channel)) for channel in range(5)]
    assert alone[found.channels[0]] == pytest.approx(min(alone), abs=1e-3)
    best = min(
        _error(reading, rows, np.flatnonzero(~np.isin(reading.channels, pair)))
        for pair in itertools.combinations(range(5), 2)
    )
    assert found.losses[2] >= best - 1e-3
    assert (np.diff(found.losses) >= -1e-9).all()


def test_two_readers_are_weighed_together():
    (one, _), (other, _) = _reading(1, 4, 1), _reading(2, 4, 1)
    both = order_of_leaving([one, other], np.arange(4))
    apart = [order_of_leaving([each], np.arange(4)) for each in (one, other)]
    assert both.losses[-1] == pytest.approx(sum(each.losses[-1] for each in apart))


def test_repair_of_rows_that_tell_nothing_stays_finite():
    moments = Moments(10, np.zeros(4), np.zeros((4, 4)))
    renewed, shift = repaired(np.ones((4, 2)), moments, np.array([0, 1]))
    assert np.array_equal(renewed, np.ones((2, 2)))
    assert np.array_equal(shift, np.zeros(2))


@pytest.mark.parametrize("kind", ["convolutions", "encoder"])
@pytest.mark.parametrize("seed", SEEDS)
def test_refitting_spoilt_weights_brings_them_back(opened, kind, seed):
    net = opened(kind, seed)
    whole = net.whole
    node = _products(whole)[-1]
    matrix = matrix_of(whole, node)
    spoilt = with_matrix(whole, node, matrix + np.random.default_rng(0).standard_normal(matrix.shape))
    meant = [Meant(node.name, node.name, np.arange(matrix.shape[1]))]
    told = []
    made = refitted(spoilt, whole, meant, net.context.observe, lambda done, total: told.append((done, total)))
    expected, off, now = (net.run(graph) for graph in (whole, spoilt, made))
    assert told == [(1, 1)]
    assert np.abs(off - expected).max() > 0.1
    assert np.abs(now - expected).max() < 0.02 * np.abs(off - expected).max() + 1e-3


def test_two_graphs_side_by_side_are_each_what_it_is_alone(opened):
    net = opened("convolutions", 2)
    whole = net.whole
    both, names = joined_graphs(whole, whole)
    assert len(set(names.values())) == len(whole.nodes)
    made = run_tensors(both, {"x": net.x}, net.model.host, None)
    assert np.array_equal(made["logits"], made["logits after"])


@pytest.mark.parametrize("seed", range(40))
def test_a_budget_is_met_at_the_least_error_that_there_is(seed):
    rng = np.random.default_rng(seed)
    layers = [
        [Form(0, 100, 0.0), *(Form(size, int(rng.integers(1, 100)), float(rng.random())) for size in range(1, 6))]
        for _ in range(3)
    ]
    budget = int(rng.integers(60, 300))
    chosen, total = within_budget(layers, budget)
    assert total == sum(form.costs for form in chosen)
    assert all(form in layer for form, layer in zip(chosen, layers, strict=True))
    every = [
        (sum(form.loses for form in each), sum(form.costs for form in each)) for each in itertools.product(*layers)
    ]
    possible = [loss for loss, cost in every if cost <= budget]
    if not possible:
        assert total == min(cost for _, cost in every) > budget
        return
    assert total <= budget
    assert sum(form.loses for form in chosen) == pytest.approx(min(possible), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_many_layers_lose_no_more_than_by_steepest_steps(seed):
    """2,000 forms: no worse than steps along convex hulls, no better than mixtures of forms could be."""
    rng = np.random.default_rng(seed)
    layers = []
    for _ in range(40):
        costs = np.sort(rng.choice(10**6, 50, replace=False))[::-1]
        loses = np.cumsum(rng.exponential(size=50) ** 2)
        layers.append([Form(*map(int, each), float(loss)) for *each, loss in zip(range(50), costs, loses, strict=True)])
    budget = int(0.5 * sum(layer[0].costs for layer in layers))
    chosen, total = within_budget(layers, budget)
    stepped, bound = steepest(layers, budget)
    assert total <= budget
    assert bound - 1e-9 <= sum(form.loses for form in chosen) <= stepped + 1e-9


def steepest(layers, budget):
    """The loss of steps along convex hulls until the budget is met, and what a mixture with the last step would lose."""
    at = [layer[0] for layer in layers]
    loss, total, before = sum(form.loses for form in at), sum(form.costs for form in at), 0.0
    while total > budget:
        steps = [
            ((form.loses - now.loses) / (now.costs - form.costs), place, form)
            for place, (now, layer) in enumerate(zip(at, layers, strict=True))
            for form in layer
            if form.costs < now.costs
        ]
        slope, place, form = min(steps, key=lambda step: step[:2])
        before = loss + slope * (total - budget)
        loss += form.loses - at[place].loses
        total -= at[place].costs - form.costs
        at[place] = form
    return loss, before


def test_forms_that_others_beat_are_left_out():
    forms = [Form(0, 100, 0.0), Form(1, 50, 0.5), Form(2, 60, 0.1), Form(3, 10, 1.0), Form(4, 55, 0.9)]
    assert [form.size for form in unbeaten_forms(forms)] == [3, 1, 2, 0]


def test_channels_of_a_random_network_are_read_where_they_are_made(opened):
    channels = channels_of(opened("encoder", 3).whole)
    heads = [group for group in channels.groups if len(group.makers) == 3]
    assert heads
    assert all(len(group.readers) == 1 for group in heads)
