"""prune-channels and prune-transformer: bounds on losses of classes, blocks behind residuals, what they refuse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from approxhw.common.errors import OptionError, PassError
from approxhw.ir.pass_manager import parse_passes, run_passes
from approxhw.passes.structure.ground.layers import clocks_of
from approxhw.passes.structure.ground.losses import judge_of, losses_of, mean_loss, row_losses
from approxhw.passes.structure.prune_channels import geometric_share
from approxhw.passes.structure.prune_transformer import blocks_of_residuals, without_block

SEEDS = range(3)


def _made(net, passes, **changed):
    return run_passes(net.model.graph, passes, replace(net.context, **changed), check=False)


def test_losses_are_cross_entropies_of_scores_and_of_chances():
    scores = np.log([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
    classes = np.array([1, 0])
    expected = -np.log([0.5, 0.1])
    assert np.allclose(row_losses(scores + 7, classes), expected)
    assert np.allclose(row_losses(np.exp(scores), classes), expected)
    assert np.isfinite(row_losses(np.array([[np.nan, 1.0]]), np.array([0]))).all()


@pytest.mark.parametrize("layers", [1, 3, 10, 60])
def test_bounds_of_all_layers_come_to_the_whole(layers):
    share = geometric_share(layers, 0.05, 1.5)
    whole = np.prod(1 + 0.05 * share ** np.arange(layers))
    assert whole == pytest.approx(1.5, rel=1e-6) or (layers < 3 and whole < 1.5)


@pytest.mark.parametrize("kind", ["convolutions", "encoder"])
@pytest.mark.parametrize("seed", SEEDS)
def test_no_class_loses_more_than_its_bound_at_any_layer(opened, kind, seed):
    net = opened(kind, seed)
    whole = net.whole
    judge = judge_of(net.context, whole, net.context.observe)
    graph, (line,) = _made(net, "prune-channels{bound=20%,whole=2}")
    base, now = losses_of(judge, whole), losses_of(judge, graph)
    assert len(base) >= 1
    if graph is net.model.graph:
        assert line.notes == ("every channel stays: each layer's first step costs some class more than the bound",)
        return
    assert clocks_of(net.context.reshaping, graph) < clocks_of(net.context.reshaping, whole)
    # refitting may move losses a little beside the bound that single steps kept
    assert (now <= 2.0 * base + 0.3).all()
    assert "which rises most" in line.notes[0]


def test_a_bound_of_nothing_takes_nothing_out_that_costs_something(opened):
    net = opened("encoder", 1)
    labels = net.run(net.model.graph).argmax(axis=1)
    graph, _ = _made(net, "prune-channels{bound=0}", training=({"x": net.x}, labels))
    judge = judge_of(net.context, net.whole, net.context.observe)
    assert mean_loss(judge, graph) <= mean_loss(judge, net.whole) + 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_blocks_behind_residuals_are_found_and_leave_their_residual(opened, seed):
    net = opened("encoder", seed)
    whole = net.whole
    blocks = blocks_of_residuals(whole)
    layers = sum(node.kind == "matmul" for node in whole.nodes if "softmax" in str(node.inputs))
    assert len(blocks) >= 2
    assert len(blocks) % 2 == 0 or layers
    for block in blocks:
        made = net.model.typed(without_block(whole, block))
        assert not set(block.products) & set(made.by_name)
        assert np.isfinite(net.run(made)).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_pruning_that_can_only_help_does_not_hurt(opened, seed):
    net = opened("encoder", seed)
    labels = np.random.default_rng(seed).integers(0, 4, net.rows)  # what no network of these weights knows
    training = {"x": net.x}, labels
    judge = judge_of(replace(net.context, training=training), net.whole, net.context.observe)
    graph, (line,) = _made(net, "prune-transformer", training=training)
    assert mean_loss(judge, graph) <= mean_loss(judge, net.whole)
    assert "blocks left" in line.notes[0]


@pytest.mark.parametrize(
    ("spelled", "told"),
    [
        ("prune-channels{bound=2}", "2.0 is not in 0…1"),
        ("prune-channels{whole=0.5}", "0.5 is below 1"),
        ("prune-channels{layers_kept=0}", "0.0 leaves nothing"),
        ("prune-channels{steps=0}", "0 sizes try nothing"),
        ("prune-transformer{max_rise=2}", "2.0 is not in 0…1"),
        ("prune-transformer{parts=-1}", "-1 is no number of parts"),
    ],
)
def test_options_that_bound_nothing_are_refused(spelled, told):
    with pytest.raises(OptionError) as error:
        parse_passes(spelled)
    assert told in str(error.value)


def test_a_network_without_residuals_is_told(opened):
    net = next(
        net for net in (opened("convolutions", seed) for seed in range(12)) if not blocks_of_residuals(net.whole)
    )
    with pytest.raises(PassError, match="there is no block behind a residual"):
        _made(net, "prune-transformer")


def test_labels_that_are_no_scores_are_told_and_the_models_answers_taken(opened):
    net = opened("encoder", 1)
    _, (line,) = _made(net, "prune-transformer{parts=0}", training=({"x": net.x}, np.full(net.rows, 9)))
    assert any("the model's own answers are taken for the truth" in note for note in line.notes)
