"""tucker: full cores are the filters, core shapes are the best that there are, what it refuses."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from approxhw.common.errors import PassError
from approxhw.ir.kinds.tensor.ops import Conv
from approxhw.ir.pass_manager import run_passes
from approxhw.passes.structure import tucker
from approxhw.passes.structure.ground.budget import Form, within_budget
from approxhw.passes.structure.ground.channels import weights_of
from approxhw.passes.structure.ground.layers import clocks_of
from approxhw.passes.structure.ground.moments import input_moments

SEEDS = range(6)


def _convolutions(net):
    whole = net.whole
    nodes = [node for node in whole.nodes if isinstance(node.op, Conv) and weights_of(whole, node) is not None]
    return whole, nodes, input_moments(whole, [node.name for node in nodes], net.context.observe)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_core_of_all_directions_is_the_filters(opened, seed):
    net = opened("convolutions", seed)
    whole, nodes, moments = _convolutions(net)
    expected, count = net.run(whole), 0
    for node in nodes:
        spectrum = tucker.spectrum_of(whole, node, moments[node.name])
        assert np.allclose(spectrum.into @ spectrum.back, np.eye(len(spectrum.into)), atol=1e-6)
        filters, channels = spectrum.kernel.shape[:2]
        # a rank more than there are channels would be none: one less on one side, and whole on the other, are exact in turn
        full = replace(spectrum, kernel=spectrum.kernel)
        made = tucker._with_core(whole, node, full, (channels, filters))
        assert np.allclose(net.run(made), expected, rtol=1e-3, atol=1e-3)
        count += 1
    assert count > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_core_loses_is_what_its_spectrum_says(opened, seed):
    """Channels that come out along few directions lose the tail of that spectrum, to the digit."""
    net = opened("convolutions", seed)
    whole, nodes, moments = _convolutions(net)
    count = 0
    for node in nodes:
        spectrum = tucker.spectrum_of(whole, node, moments[node.name])
        filters, channels = spectrum.kernel.shape[:2]
        shown = {}
        net.context.observe(whole, lambda each, value, shown=shown: shown.__setitem__(each.name, value))
        meant = np.moveaxis(shown[node.name].astype(np.float64), 1, -1).reshape(-1, filters)
        for rank in range(1, filters):
            made = net.model.typed(tucker._with_core(whole, node, spectrum, (channels, rank)))
            shown = {}
            net.context.observe(made, lambda each, value, shown=shown: shown.__setitem__(each.name, value))
            off = meant - np.moveaxis(shown[node.name].astype(np.float64), 1, -1).reshape(-1, filters)
            lost = np.var(off, axis=0).sum() / np.var(meant, axis=0).sum()
            assert lost == pytest.approx(spectrum.lost[channels, rank], rel=0.02, abs=1e-4)
            count += 1
    assert count > 0


def test_channels_that_go_in_are_those_that_matter_most(opened):
    """Filters of one place: what any numbers of channels in and out lose is what the core's squares say, and the least."""
    count = 0
    for seed in range(12):
        whole, nodes, moments = _convolutions(opened("convolutions", seed))
        for node in nodes:
            spectrum = tucker.spectrum_of(whole, node, moments[node.name])
            filters, channels = spectrum.kernel.shape[:2]
            if np.prod(spectrum.kernel.shape[2:]) > 1:
                continue
            weights, covariance = spectrum.kernel.reshape(filters, channels), moments[node.name].covariance
            gives = np.trace(weights @ covariance @ weights.T)
            values = np.linalg.svd(weights @ np.linalg.cholesky(covariance + 1e-9 * np.eye(channels)))[1] ** 2
            for r_in, r_out in itertools.product(range(1, channels + 1), range(1, filters + 1)):
                core = spectrum.out[:, :r_out].T @ weights @ spectrum.back[:, :r_in]
                off = weights - spectrum.out[:, :r_out] @ core @ spectrum.into[:r_in]
                lost = np.trace(off @ covariance @ off.T) / gives
                assert lost == pytest.approx(spectrum.lost[r_in, r_out], abs=1e-4)
                if r_out == filters:  # the least that so few channels can lose
                    assert lost == pytest.approx(values[r_in:].sum() / values.sum(), abs=1e-4)
                count += 1
    assert count > 0


@pytest.mark.parametrize("seed", range(100))
def test_core_shapes_are_never_beaten_by_greedy_and_as_good_as_trying_all(seed):
    """On 100 random kernels: the shape that is chosen, beside every pair of ranks, and ranks grown greedily."""
    rng = np.random.default_rng(seed)
    channels, filters, places = (int(rng.integers(2, 12)) for _ in range(3))
    tails = [np.sort(rng.exponential(size=size) ** 2)[::-1] for size in (channels, filters)]
    tails = [each / each.sum() for each in tails]

    def costs(r_in, r_out):
        return channels * r_in + r_in * places * r_out + r_out * filters

    def lost(r_in, r_out):
        return float(tails[0][r_in:].sum() + tails[1][r_out:].sum())

    every = [
        Form(r_in * (filters + 1) + r_out, costs(r_in, r_out), lost(r_in, r_out))
        for r_in, r_out in itertools.product(range(1, channels + 1), range(1, filters + 1))
    ]
    budget = int(rng.integers(costs(1, 1), costs(channels, filters) + 1))
    (chosen,), total = within_budget([every], budget)
    best = min(form.loses for form in every if form.costs <= budget)
    ranks = [1, 1]
    while True:
        steps = [
            (tails[side][ranks[side]], side)
            for side in (0, 1)
            if ranks[side] < len(tails[side]) and costs(ranks[0] + (side == 0), ranks[1] + (side == 1)) <= budget
        ]
        if not steps:
            break
        ranks[max(steps)[1]] += 1
    assert total <= budget
    assert chosen.loses <= lost(*ranks) + 1e-12
    assert chosen.loses == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_least_budget_is_told_and_can_be_met(opened, seed):
    net = opened("convolutions", seed)
    context = replace(net.context, reshaping=replace(net.context.reshaping, clocks=lambda m, k, n: m * k * n))
    with pytest.raises(PassError, match="the smallest cores still take") as error:
        run_passes(net.model.graph, "tucker{budget=1%}", context, check=False)
    advised = error.value.problems[0].remedy.split("=")[1].split(" ")[0]
    graph, (line,) = run_passes(net.model.graph, f"tucker{{budget={advised}}}", context, check=False)
    before, after = (clocks_of(context.reshaping, each) for each in (net.model.graph, graph))
    assert after <= before
    assert graph is net.model.graph or f"{after:,} of {before:,} clocks" in line.notes[0]
    assert np.isfinite(net.run(graph)).all()


def test_a_model_without_convolutions_is_told(opened):
    net = opened("encoder", 1)
    with pytest.raises(PassError, match="it has no convolution"):
        run_passes(net.model.graph, "tucker", net.context, check=False)


def test_filters_in_groups_are_named(opened):
    net = next(
        net
        for net in (opened("convolutions", seed) for seed in range(12))
        if any(isinstance(node.op, Conv) and node.op.group > 1 for node in net.model.graph.nodes)
    )
    title = next(node.op.title for node in net.model.graph.nodes if isinstance(node.op, Conv) and node.op.group > 1)
    with pytest.raises(PassError, match="in groups") as error:
        run_passes(net.model.graph, f"tucker{{layers={title}}}", net.context, check=False)
    assert title in str(error.value)
