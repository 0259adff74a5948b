"""The pass fit-weights: sums follow the exact ones on rows it never saw, whatever the product's form; and what it keeps to."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from small_networks import FORM_ROWS, ROWS, many_forms, network

import approxhw as ax
from approxhw.common.errors import OptionError, PassError
from approxhw.frontends.products.partition import open_model
from approxhw.ir.kinds.tensor.integer_rules import from_stationary, needed_bits, stationary
from approxhw.ir.kinds.tensor.integers import MatMulInteger
from approxhw.ir.pass_manager import PassContext, parse_passes, run_passes
from approxhw.ir.tensor.integer_layers import held, integer_nodes, products_table, weights_last
from approxhw.ir.tensor.run import walk_tensors
from approxhw.ir.verifier import problems

ROUGH = "approximate-multiplier{operator=truncated-8}"
SEEN, OTHERS = slice(0, 32), slice(32, 64)


class Model:
    """A model of codes with rows that passes see, and others."""

    def __init__(self, model, rows):
        self.rows = rows
        self.opened = open_model(model, {"x": rows[SEEN].shape}, integers=True)
        self.context = PassContext(observe=self.observe)
        self.graph = run_passes(self.opened.graph, "quantize-model,integer-products", self.context)[0]

    def observe(self, graph, seen):
        walk_tensors(graph, {"x": self.rows[SEEN]}, self.opened.host, None, seen)

    def after(self, passes, context=None):
        return run_passes(self.graph, passes, context or self.context)[0]

    def spread(self, graph, name):
        """Return the variance over rows, which no pass saw, of the errors of the sums *name*, all places together."""
        made, exact = (self.values(each)[name].astype(np.float64) for each in (graph, self.graph))
        return float((made - exact).var(axis=0).sum())

    def values(self, graph):
        """Return every value of *graph* for rows that no pass saw, by name."""
        seen = {}

        def keep(node, value):
            seen[node.name] = value

        walk_tensors(graph, {"x": self.rows[OTHERS]}, self.opened.host, None, keep)
        return seen


@pytest.fixture(scope="module")
def residual():
    return Model(network(), ROWS)


@pytest.fixture(scope="module")
def forms():
    return Model(many_forms(), FORM_ROWS)


@pytest.mark.parametrize("further", ["", "bits=5"])
def test_fitted_weights_err_less_than_tuned_and_rounded_ones_on_rows_that_they_never_saw(residual, further):
    rough, name = "approximate-multiplier{operator=truncated-8,layers=1}", integer_nodes(residual.graph)[1].name
    other = "narrow-weights{bits=5}" if further else "tune-weights"
    before = residual.spread(residual.after(f"{rough},{other}"), name)
    graph = residual.after(f"{rough},fit-weights{{{further}}}")
    assert problems(graph) == []
    assert residual.spread(graph, name) < 0.9 * before
    assert residual.spread(graph, name) < 0.8 * residual.spread(residual.after(rough), name)


def test_every_form_of_a_product_is_fitted(forms):
    nodes = integer_nodes(forms.graph)
    assert len(nodes) == 4
    for number, node in enumerate(nodes):
        rough = f"approximate-multiplier{{operator=truncated-8,layers={number}}}"
        graph = forms.after(f"{rough},fit-weights{{layers={number}}}")
        assert problems(graph) == []
        assert forms.spread(graph, node.name) < 0.8 * forms.spread(forms.after(rough), node.name), node.name
        for other in integer_nodes(graph):
            stays, was = weights_last(graph, other)[1], weights_last(forms.graph, forms.graph[other.name])[1]
            assert np.array_equal(held(graph, stays), held(forms.graph, was)) == (other.name != node.name)


def test_an_accumulator_is_as_wide_as_the_sums_of_the_new_weights(residual):
    graph = residual.after(f"{ROUGH},fit-weights")
    for node in integer_nodes(graph):
        stays = weights_last(graph, node)[1]
        columns, mac = stationary(node.op, held(graph, stays), stays == node.inputs[0]), node.op.arithmetic
        assert mac.accumulator_bits == max(4, needed_bits(columns, products_table(graph, node), mac))


def test_weights_keep_the_bits_that_are_asked_for_and_exact_layers_stay(residual):
    graph = residual.after("fit-weights{bits=4,layers=1}")
    codes = [held(graph, weights_last(graph, node)[1]) for node in integer_nodes(graph)]
    assert (codes[1] % 16 == 0).all()
    assert (codes[0] % 16 != 0).any()
    assert residual.after("fit-weights") == residual.graph  # exact products of whole codes: nothing to fit


def test_what_a_layer_becomes_does_not_depend_on_the_others(residual):
    one = residual.after("approximate-multiplier{operator=truncated-8,layers=1},fit-weights{layers=1}")
    all_of_them = residual.after(f"{ROUGH},fit-weights")
    found = [held(graph, weights_last(graph, integer_nodes(graph)[1])[1]) for graph in (one, all_of_them)]
    assert np.array_equal(*found)


def test_weights_that_were_found_before_are_not_sought_again(residual, monkeypatch):
    context = PassContext(observe=residual.observe, fits={})
    first = residual.after(f"{ROUGH},fit-weights", context)
    assert len(context.fits) == 4
    monkeypatch.setattr(
        "approxhw.numerics.mac.kernels.fitted_columns.fitted_columns", lambda *_, **__: pytest.fail("sought again")
    )
    assert residual.after(f"{ROUGH},fit-weights", context) == first
    with pytest.raises(pytest.fail.Exception, match="sought again"):
        residual.after(f"{ROUGH},fit-weights{{bits=5}}", context)


@pytest.mark.parametrize(
    ("op", "shape", "turned"),
    [
        (MatMulInteger("m"), (5, 7), False),
        (MatMulInteger("m"), (2, 3, 5, 7), False),
        (MatMulInteger("m"), (5,), False),
        (MatMulInteger("m"), (5, 7), True),
    ],
)
def test_weights_come_back_in_the_shape_of_their_constant(op, shape, turned):
    constant = np.random.default_rng(1).integers(-128, 128, shape).astype(np.int8)
    assert np.array_equal(from_stationary(op, stationary(op, constant, turned), shape, turned), constant)


def test_an_engine_is_compiled_with_fitted_weights(tmp_path):
    onnx.save(network(), tmp_path / "net.onnx")
    np.savez(tmp_path / "rows.npz", x=ROWS, labels=np.arange(64) % 6)
    given = {"data": tmp_path / "rows.npz"}
    target = ax.IntegerEngine(operator="truncated-8", recover="fit", rows=4, columns=4)
    whole = ax.compile(tmp_path / "net.onnx", target=target, output=tmp_path / "whole", **given)
    plan = ax.IntegerEngine(layers="0:1:2:3=truncated-8+fit", rows=4, columns=4)
    planned = ax.compile(tmp_path / "net.onnx", target=plan, output=tmp_path / "planned", **given)
    assert planned.verilog == whole.verilog
    assert planned.simulate("icarus", layer="conv2", vectors=4).mismatches == 0
    assert planned.simulate("icarus", layer="fc1", vectors=4).vectors > 0


def test_everything_wrong_is_told(residual):
    with pytest.raises(PassError, match="it looks at the codes that rows send through a layer, and there are none"):
        residual.after("fit-weights", PassContext())
    with pytest.raises(PassError, match="there is no layer 9: they are numbered 0 … 3"):
        residual.after("fit-weights{layers=9}")
    with pytest.raises(
        OptionError, match=r"(?s)fit-weights\.bits: 9 does not lie in 2…8.*fit-weights\.samples: 3 does not"
    ):
        parse_passes("fit-weights{bits=9,samples=3}")
    with pytest.raises(
        OptionError, match=r"(?s)fit-weights\.reach: 0 does not.*fit-weights\.sweeps: 65 does not lie in 1…64"
    ):
        parse_passes("fit-weights{reach=0,sweeps=65}")
    with pytest.raises(OptionError, match="with recover fit all layers are fitted, and some have edits of their own"):
        ax.IntegerEngine(operator="truncated-8", recover="fit", layers="0=truncated-4+5bits").check()
    with pytest.raises(OptionError, match="layer 0: truncated-4 is given the same kind of edit twice"):
        ax.IntegerEngine(layers="0=truncated-4+fit+tune").check()
