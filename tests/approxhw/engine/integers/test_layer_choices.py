"""What a layer may have in a search: harm as plain sums say it, edits as the passes make them, the way from exact to cheapest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from approxhw.engine.integers.operator_search.choices import (
    LayerChoice,
    SumErrors,
    edited_weights,
    guided_starts,
)
from approxhw.engine.integers.operator_search.settings import parts_of_edit
from approxhw.engine.integers.plans import LayerPlan
from approxhw.ir.tensor.operator_errors import LayerCodes
from approxhw.numerics.mac.integer_mac import IntegerMac
from approxhw.numerics.multipliers.families import own_operator
from approxhw.numerics.multipliers.tables import operand_values

RNG = np.random.default_rng(6)
SIGNED, PLAIN = operand_values(8, True), operand_values(8, False)


@pytest.fixture
def layer():
    """A layer of two groups, three columns each, ten steps."""
    mac = IntegerMac("truncated-8", "weight", accumulator_bits=26)
    table = own_operator("truncated-8").table(8, 8, "weight").products
    weights = RNG.integers(0, 256, (10, 6)).astype(np.uint8)
    likely = tuple(RNG.dirichlet(np.full(256, 0.05), (2, 10)))
    return LayerCodes(None, mac, table, weights, likely, 7)


def sent(count):
    """Return codes of both groups, 10 × *count*: steps go together, as pixels of an image do."""
    return tuple(
        np.clip(128 + 50 * (np.sin(np.arange(30).reshape(10, 3)) @ RNG.normal(size=(3, count))), 0, 255).astype(
            np.uint8
        )
        for _ in range(2)
    )


@pytest.fixture
def held():
    return sent(200)


def test_harm_is_the_variance_of_errors_over_that_of_sums(layer, held):
    moved = RNG.integers(0, 256, layer.weights.shape).astype(np.uint8)
    errors, spread = 0.0, 0.0
    for n in range(6):
        x = held[n // 3].astype(int)
        exact = sum(SIGNED[layer.weights[k, n]] * (PLAIN[x[k]] - 7) for k in range(10))
        made = sum(layer.products[moved[k, n], x[k]].astype(int) - 7 * SIGNED[moved[k, n]] for k in range(10))
        errors += float((made - exact).var())
        spread += float(exact.var())
    assert SumErrors(layer, held).harm(layer.products, moved) == pytest.approx(errors / spread)
    exact_table = own_operator("truncated-0").table(8, 8, "weight").products
    assert SumErrors(layer, held).harm(exact_table, layer.weights) == 0


def test_fitted_weights_err_least_on_rows_that_they_were_not_fitted_on(layer, held):
    samples = sent(400)
    # as likely as samples have them, so that tuned weights are made for the same codes
    likely = tuple(np.stack([np.bincount(row, minlength=256) / 400 for row in part]) for part in samples)
    layer, judge, found = replace(layer, likely=likely), SumErrors(layer, held), {}
    for edit in ("none", "tune", "fit", "4bits", "4bits+fit"):
        weights = edited_weights(layer, *parts_of_edit(edit), samples)
        found[edit] = judge.harm(layer.products, weights)
        numbers = SIGNED[weights]
        assert (numbers % 16 == 0).all() == edit.startswith("4bits")
    assert found["fit"] < 0.9 * min(found["tune"], found["none"])
    assert found["4bits+fit"] < found["4bits"]


@pytest.mark.parametrize(
    ("edit", "parts"),
    [
        ("none", (None, "")),
        ("tune", (None, "tune")),
        ("fit", (None, "fit")),
        ("5bits", (5, "")),
        ("3bits+fit", (3, "fit")),
    ],
)
def test_an_edit_is_what_a_plan_says(edit, parts):
    assert parts_of_edit(edit) == parts
    plan = LayerPlan("truncated-8", *parts)
    assert str(plan) == ("truncated-8" if edit == "none" else f"truncated-8+{edit}")


def test_what_is_no_edit_is_an_error():
    with pytest.raises(ValueError, match="'8bits' is no edit"):
        parts_of_edit("8bits")


def test_the_way_leads_from_exact_to_cheapest():
    choices = [
        [LayerChoice(LayerPlan("exact"), 4.0, 0.0, None), LayerChoice(LayerPlan("a"), 2.0, harm, 0), cheapest]
        for harm, cheapest in (
            (0.1, LayerChoice(LayerPlan("b"), 1.0, 0.9, 1)),
            (0.2, LayerChoice(LayerPlan("b"), 1.0, 0.4, 1)),
        )
    ]
    products = np.array([100.0, 300.0])
    genomes = guided_starts(choices, products, np.array([1e6, 2.0, 1e-6]))
    assert genomes.tolist()[0] == [0, 0]
    assert genomes.tolist()[2] == [2, 2]
    costs = [(4, 2, 1), (4, 2, 1)]
    for genome, weight in zip(genomes, (1e6, 2.0, 1e-6)):
        best = [
            min(range(3), key=lambda i: costs[n][i] * products[n] / 1600 + weight * choices[n][i].harm)
            for n in range(2)
        ]
        assert genome.tolist() == best
