"""Operators in products of codes, and what wins back their errors: each formula against plain sums over all patterns."""

from __future__ import annotations

import numpy as np
import pytest
from small_networks import FORM_ROWS, ROWS, many_forms

from approxhw.common.errors import OptionError, PassError
from approxhw.frontends.products.partition import open_model
from approxhw.ir.kinds.tensor.integers import ConvInteger, MatMulInteger
from approxhw.ir.pass_manager import PassContext, parse_passes, run_passes
from approxhw.ir.tensor.integer_layers import held
from approxhw.ir.tensor.operator_errors import LayerCodes, layer_codes
from approxhw.ir.tensor.run import walk_tensors
from approxhw.ir.verifier import problems
from approxhw.numerics.mac.integer_mac import IntegerMac
from approxhw.numerics.multipliers.families import own_operator
from approxhw.numerics.multipliers.tables import ProductTable
from approxhw.passes.integers.control_variate import coefficients_of
from approxhw.passes.integers.tune_weights import TuneWeights

RNG = np.random.default_rng(7)
OPERATOR = "approximate-multiplier{operator=truncated-6}"


def layers_of(graph):
    return [node for node in graph.nodes if isinstance(node.op, ConvInteger | MatMulInteger)]


def error(outputs, graph, exact):
    return float(np.sqrt(((outputs(graph) - outputs(exact)) ** 2).mean()))


@pytest.mark.parametrize("operator", ["truncated-6", "leading-3", "logarithmic-balanced"])
def test_operators_make_the_products_of_the_layers_that_are_named(integer_graph, context, operator):
    graph, records = run_passes(integer_graph, f"approximate-multiplier{{operator={operator},layers=1:3}}", context)
    assert problems(graph) == []
    assert [node.op.arithmetic.operator for node in layers_of(graph)] == ["exact", operator, "exact", operator]
    table = own_operator(operator).table(8, 8, "weight").products
    held = {node.inputs[4] for node in layers_of(graph) if len(node.inputs) > 4}
    assert len(held) == 1  # one table for both
    assert (graph.constant(held.pop()) == table).all()
    assert f"{operator}: mean error distance" in records[-1].notes[0]


def test_an_exact_operator_changes_nothing(integer_graph, context, outputs):
    graph, _ = run_passes(integer_graph, "approximate-multiplier{operator=truncated-0}", context)
    assert (outputs(graph) == outputs(integer_graph)).all()
    back, _ = run_passes(graph, "approximate-multiplier{operator=exact,adder=or-3}", context)
    assert {node.op.arithmetic.adder for node in layers_of(back)} == {"or-3"}
    assert 0 < error(outputs, back, integer_graph) < 1


@pytest.mark.parametrize("signed", ["none", "both"])
def test_operators_of_other_signs_read_moved_codes(integer_graph, context, outputs, tmp_path, signed):
    """Unsigned and signed operators from a library: the top bits of codes are turned round, and nothing else changes."""
    table = own_operator("truncated-0").table(8, 8, signed)
    table.save(tmp_path / "mul.npz")
    spelled = f"approximate-multiplier{{operator={tmp_path}/mul.npz,signed={signed}}}"
    graph, _ = run_passes(integer_graph, spelled, context)
    assert {node.op.arithmetic.signed for node in layers_of(graph)} == {signed}
    assert {node.op.arithmetic.operator for node in layers_of(graph)} == {"mul.npz"}
    assert (outputs(graph) == outputs(integer_graph)).all()


@pytest.mark.parametrize("further", ["tune-weights,correct-bias", "control-variate{bits=5}"])
def test_each_way_wins_something_back(integer_graph, context, outputs, further):
    found = []
    for more in ("", ",correct-bias", f",{further}"):
        graph, _ = run_passes(integer_graph, f"approximate-multiplier{{operator=truncated-7}}{more}", context)
        assert problems(graph) == []
        found.append(error(outputs, graph, integer_graph))
    plain, biased, both = found
    assert biased < plain / 4
    assert both < 0.9 * biased


@pytest.fixture(scope="module")
def forms():
    """Return a model with products of every form, a context that shows its rows, and what tells all values."""
    opened = open_model(many_forms(), {"x": FORM_ROWS.shape}, integers=True)

    def observe(graph, seen):
        walk_tensors(graph, {"x": FORM_ROWS}, opened.host, None, seen)

    def sums(graph, name):
        """Return what *name* is once something is added to it: the sums with their bias."""
        found = {}
        observe(graph, lambda node, value: found.__setitem__(node.name, value.astype(np.float64)))
        return found[f"{name}_biased" if f"{name}_biased" in found else name]

    context = PassContext(observe=observe)
    return run_passes(opened.graph, "quantize-model,integer-products", context)[0], context, sums


@pytest.mark.parametrize("further", ["correct-bias", "tune-weights,correct-bias", "control-variate,correct-bias"])
def test_products_of_every_form_win_their_errors_back(forms, further):
    """Several matrices side by side and constants at the left have their columns elsewhere than a dense layer."""
    exact, context, sums = forms
    names = [node.name for node in layers_of(exact)]
    assert len(names) == 4
    for number, name in enumerate(names):
        rough = f"approximate-multiplier{{operator=truncated-8,layers={number}}}"
        plain, won = (run_passes(exact, f"{rough}{more}", context)[0] for more in ("", f",{further}"))
        assert problems(won) == []
        before, after = (np.abs((sums(graph, name) - sums(exact, name)).mean(axis=0)).mean() for graph in (plain, won))
        assert after < 0.3 * before, name


@pytest.mark.parametrize("further", ["correct-bias", "tune-weights", "narrow-weights{bits=5}", "control-variate"])
def test_what_mends_a_layer_does_not_depend_on_what_is_wrong_before_it(integer_graph, context, further):
    """Each layer is mended for what mended ones before it send: as the exact model does, not as the unmended one."""
    last = len(layers_of(integer_graph)) - 1
    made = []
    for numbers in (":".join(map(str, range(last + 1))), str(last)):
        rough = f"approximate-multiplier{{operator=truncated-8,layers={numbers}}}"
        graph, _ = run_passes(integer_graph, f"{rough},{further}", context)
        node = layers_of(graph)[last]
        (bias,) = graph.readers(node.name)
        kept = [held(graph, name) for name in (*node.inputs[:2], *bias.inputs)]
        made.append([data for data in kept if data is not None])
    everywhere, alone = made
    assert len(everywhere) == len(alone) == 2, "weights, and the bias behind them"
    for one, other in zip(everywhere, alone, strict=True):
        assert np.array_equal(one, other)


def some_layer(operator, signed="weight", groups=1, depth=12, columns=6):
    mac = IntegerMac(operator, signed, accumulator_bits=26)
    likely = RNG.dirichlet(np.full(256, 0.05), (groups, depth))
    table = own_operator(operator).table(8, 8, signed).products
    weights = RNG.integers(0, 256, (depth, columns)).astype(np.uint8)
    return LayerCodes(None, mac, table, weights, tuple(likely), 0)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("operator", ["truncated-7", "leading-3"])
def test_expected_errors_are_plain_sums(operator, groups):
    layer = some_layer(operator, groups=groups)
    errors, width = layer.errors, 6 // groups
    mean, spread = layer.mean_error(), layer.variance()
    both, rest = layer.rest(4)
    r = np.arange(256) & 15
    for n in range(6):
        part = layer.likely[n // width]
        each = [(part[k], errors[layer.weights[k, n]].astype(float)) for k in range(12)]
        assert mean[n] == pytest.approx(sum(p @ e for p, e in each))
        assert spread[n] == pytest.approx(sum(p @ e**2 - (p @ e) ** 2 for p, e in each))
        assert both[n] == pytest.approx(sum(-(p @ (e * r)) + (p @ e) * (p @ r) for p, e in each))
        assert rest[n] == pytest.approx(sum(p @ r**2 - (p @ r) ** 2 for p, e in each))
        assert layer.mean_rest(4)[n] == pytest.approx(sum(p @ r for p, _ in each))


def test_the_coefficient_is_the_mean_weight_where_the_error_is_the_weight_times_the_low_bits():
    """An operator that drops the low bits of x: then C = mean w, and with equal weights nothing of the error is left."""
    w = np.where(np.arange(256) > 127, np.arange(256) - 256, np.arange(256))
    table = w[:, None] * (np.arange(256) & ~15)[None, :]
    layer = some_layer("truncated-0", depth=40, columns=3)
    layer = LayerCodes(None, layer.mac, table, layer.weights, layer.likely, 0)
    even = LayerCodes(None, layer.mac, table, layer.weights, (np.full((40, 256), 1 / 256),), 0)
    coefficients, _ = coefficients_of(even, 4)
    assert coefficients.tolist() == [round(float(w[layer.weights[:, n]].mean())) for n in range(3)]
    same = LayerCodes(None, layer.mac, table, np.full((40, 3), 9, np.uint8), layer.likely, 0)
    coefficients, less = coefficients_of(same, 4)
    assert coefficients.tolist() == [9, 9, 9]
    assert less == pytest.approx(1)


@pytest.mark.parametrize("measure", ["absolute", "squared", "spread"])
def test_tuned_weights_are_the_best_within_reach(measure):
    layer = some_layer("leading-3")
    likely = RNG.dirichlet(np.full(256, 0.1))
    best = TuneWeights(measure, reach=5).best_patterns(layer, likely)
    values = np.where(np.arange(256) > 127, np.arange(256) - 256, np.arange(256))
    x = np.arange(256)

    def cost(pattern, number):
        errors = layer.products[pattern].astype(float) - number * x
        if measure == "absolute":
            return likely @ np.abs(errors)
        return likely @ errors**2 - ((likely @ errors) ** 2 if measure == "spread" else 0)

    for pattern, number in enumerate(values.tolist()):
        near = [p for p in range(256) if abs(values[p] - number) <= 5]
        least = min(cost(p, number) for p in near)
        assert abs(values[best[pattern]] - number) <= 5
        assert cost(best[pattern], number) <= least + 1e-6


def test_distributions_of_codes_are_those_that_rows_send(integer_graph, context):

    layers = layer_codes(integer_graph, context.observe, "test")
    assert len(layers) == 4
    first = layers[layers_of(integer_graph)[0].name]
    assert first.weights.shape == (9, 8)
    assert first.likely[0].shape == (9, 256)
    assert first.likely[0].sum(axis=1) == pytest.approx(np.ones(9))
    grouped = layers[layers_of(integer_graph)[1].name]
    assert len(grouped.likely) == 2
    assert grouped.weights.shape == (36, 8)
    assert len(ROWS) == 64


def test_everything_wrong_is_told(integer_graph, opened, context):
    rows = PassContext()
    for name in ("correct-bias", "tune-weights", "control-variate"):
        with pytest.raises(PassError, match="it looks at the codes that rows send through a layer, and there are none"):
            run_passes(integer_graph, name, rows)
    with pytest.raises(PassError, match="there is no layer 4, 7: they are numbered 0 … 3"):
        run_passes(integer_graph, "approximate-multiplier{layers=4:1:7}", context)
    with pytest.raises(
        PassError, match=r"it holds no product of codes\n    do: run quantize-model,integer-products before"
    ):
        run_passes(opened.graph, OPERATOR, context)
    with pytest.raises(PassError, match="products of codes get one operator from this pass"):
        run_passes(integer_graph, "approximate-multiplier{operators=truncated-4:exact}", context)
    with pytest.raises(OptionError, match=r"tune-weights\.measure: 'best' is no measure"):
        parse_passes("tune-weights{measure=best}")
    with pytest.raises(OptionError, match=r"control-variate\.bits: 9 does not lie in 1…8"):
        parse_passes("control-variate{bits=9}")
    with pytest.raises(OptionError, match=r"approximate-multiplier\.adder: 'xor-2' is no adder"):
        parse_passes("approximate-multiplier{adder=xor-2}")


def test_operators_of_other_widths_are_refused_by_layer(integer_graph, context, tmp_path):
    ProductTable("narrow", np.arange(16)[:, None] * np.arange(256)[None, :], "none").save(tmp_path / "narrow.npz")
    with pytest.raises(PassError, match=r"layer 'conv1': weights from -?\d+ to 127 do not fit its 4 bits"):
        run_passes(integer_graph, f"approximate-multiplier{{operator={tmp_path}/narrow.npz,signed=none}}", context)
    own_operator("truncated-0").table(8, 4).save(tmp_path / "x4.npz")
    with pytest.raises(PassError, match="the operator reads x of 4 bits, the codes have 8"):
        run_passes(integer_graph, f"approximate-multiplier{{operator={tmp_path}/x4.npz}}", context)
