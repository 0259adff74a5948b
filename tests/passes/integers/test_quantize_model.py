"""Codes for float models: ranges by what rows show, weights by their own, and the integer form of what was quantised."""

from __future__ import annotations

import numpy as np
import pytest
from small_networks import FORM_ROWS, many_forms

from approxhw.common.errors import OptionError, PassError
from approxhw.frontends.products.partition import open_model
from approxhw.ir.kinds.tensor.integers import ConvInteger, MatMulInteger
from approxhw.ir.pass_manager import PassContext, parse_passes, run_passes
from approxhw.ir.tensor.run import walk_tensors
from approxhw.ir.verifier import problems
from approxhw.passes.integers._ranges import BINS, least_divergence, least_squares

RNG = np.random.default_rng(4)


@pytest.mark.parametrize("ranges", ["minmax", "mse", "entropy"])
@pytest.mark.parametrize("per_channel", [True, False])
def test_a_float_model_becomes_one_of_codes(opened, context, outputs, ranges, per_channel):
    plain = outputs(opened.graph)
    spelled = f"quantize-model{{ranges={ranges},per_channel={str(per_channel).lower()}}}"
    quantised, _ = run_passes(opened.graph, spelled, context)
    assert problems(quantised) == []
    whole, records = run_passes(quantised, "integer-products", context)
    assert sum(isinstance(node.op, ConvInteger | MatMulInteger) for node in whole.nodes) == 4
    # the same codes, multiplied as numbers by the host and as codes: sums of float32 differ in their last bits
    assert np.abs(outputs(whole) - outputs(quantised)).max() < 0.05
    assert (outputs(whole).argmax(axis=1) == plain.argmax(axis=1)).mean() >= 0.95
    assert records[-1].weights > 400


def test_codes_of_weights_are_as_wide_as_asked(opened, context, outputs):
    errors = []
    for bits in (8, 4, 2):
        graph, _ = run_passes(opened.graph, f"quantize-model{{weight_bits={bits}}},integer-products", context)
        for node in graph.nodes:
            if isinstance(node.op, ConvInteger | MatMulInteger):
                assert np.abs(graph.constant(node.inputs[1])).max() == (1 << (bits - 1)) - 1
                assert node.op.arithmetic.weight_bits == (8 if bits == 8 else 4)
        errors.append(float(np.abs(outputs(graph) - outputs(opened.graph)).mean()))
    assert errors[0] < errors[1] < errors[2]


@pytest.mark.parametrize("model", ["residual", "forms"])
def test_corrected_biases_keep_the_means_of_the_float_model(opened, context, model):
    """Column by column, for biases inside a product, behind it, and where there was none."""
    if model == "forms":
        opened = open_model(many_forms(), {"x": FORM_ROWS.shape}, integers=True)
        context = PassContext(
            observe=lambda graph, seen: walk_tensors(graph, {"x": FORM_ROWS}, opened.host, None, seen)
        )
    spelled = "quantize-model{{weight_bits=3,bias_correction={}}}"
    plain, (_, *_) = run_passes(opened.graph, spelled.format("false"), context)
    better, (record,) = run_passes(opened.graph, spelled.format("true"), context)
    assert problems(better) == []
    results, distances = [opened.graph, plain, better], []
    means = [mean_of_outputs(graph, context) for graph in results]
    for found in means[1:]:
        distances.append(np.abs(found - means[0]).max())
    assert distances[1] < 0.05 * distances[0]
    assert f"{4 if model == 'residual' else 3} biases corrected" in record.notes
    whole, _ = run_passes(better, "integer-products", context)
    assert problems(whole) == []
    assert np.abs(mean_of_outputs(whole, context) - means[2]).max() < 0.02 * np.abs(means[2]).max()


def mean_of_outputs(graph, context):
    """Return the mean over rows, places and but the last axis of what *graph* gives."""
    found = {}
    context.observe(graph, lambda node, value: found.__setitem__(node.name, value))
    made = found[graph.output].astype(np.float64)
    return made.reshape(-1, made.shape[-1] if made.ndim > 1 else 1).mean(axis=0)


def test_some_layers_alone(opened, context):
    graph, records = run_passes(opened.graph, "quantize-model{layers=conv*},integer-products", context)
    assert [node.op.title for node in graph.nodes if isinstance(node.op, ConvInteger | MatMulInteger)] == [
        "conv1",
        "conv2",
    ]
    assert "2 of 4 products of numbers stay" in records[-1].notes


def test_ranges_of_outliers_are_cut():
    values = np.concatenate([RNG.normal(0, 1, 100_000), [60.0]])
    ends = (float(values.min()), float(values.max()))
    counts, _ = np.histogram(values, BINS, ends)
    for choose, most in ((least_squares, 59), (least_divergence, 16)):
        low, high = choose(counts, ends)
        assert high <= most
        assert low < 0
    even = np.full(BINS, 10)
    low, high = least_squares(even, (0.0, 1.0))
    assert (low, high) == (0.0, 1.0)  # nothing is worth cutting


def test_the_range_of_least_squared_error_is_the_best_of_those_tried():
    values = np.abs(RNG.normal(0, 1, 50_000)) ** 2
    counts, _ = np.histogram(values, BINS, (0.0, float(values.max())))
    _, high = least_squares(counts, (0.0, float(values.max())))

    def error(top):
        step = top / 255
        return float(((np.clip(np.rint(values / step), 0, 255) * step - values) ** 2).mean())

    assert error(high) <= 1.02 * min(error(values.max() * share) for share in np.linspace(0.25, 1, 64))


def test_everything_wrong_is_told(opened, context):
    with pytest.raises(OptionError) as caught:
        parse_passes("quantize-model{weight_bits=9,ranges=best,products=some}")
    assert {problem.where for problem in caught.value.problems} == {
        "quantize-model.weight_bits",
        "quantize-model.ranges",
        "quantize-model.products",
    }
    with pytest.raises(
        PassError, match=r"activations get their ranges from rows, and there are none\n    do: give --data"
    ):
        run_passes(opened.graph, "quantize-model", PassContext())
    with pytest.raises(PassError, match="no product of floating-point numbers is left that could get codes"):
        run_passes(opened.graph, "quantize-model,quantize-model", context)
    with pytest.raises(PassError, match=r"no product is called .none.\n    do: there are conv1, conv2, fc1, fc2"):
        run_passes(opened.graph, "quantize-model{layers=none}", context)

    def broken(graph, seen):
        for node in graph.nodes:
            seen(node, np.array([np.nan], np.float32))

    with pytest.raises(PassError, match="some of its numbers are infinite or no numbers"):
        run_passes(opened.graph, "quantize-model", PassContext(observe=broken))
