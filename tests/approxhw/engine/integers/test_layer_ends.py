"""What a column of an array ends its sums with is what the Graph does to them: biases and scales that go along its columns."""

from __future__ import annotations

import numpy as np
import pytest
from layer_values import check_layers
from onnx import TensorProto, helper, numpy_helper
from small_networks import FORM_ROWS, many_forms

import approxhw as ax

RNG = np.random.default_rng(2)
SQUARE = RNG.normal(size=(64, 8, 8)).astype(np.float32)


def left_product(bias):
    """Return a constant times x, plus *bias*, cut off at 0, and another product behind it."""
    held = {"w": RNG.normal(size=(8, 8)), "b": bias}
    nodes = [
        helper.make_node("MatMul", ["w", "x"], ["m"], name="left"),
        helper.make_node("Add", ["m", "b"], ["s"]),
        helper.make_node("Relu", ["s"], ["r"]),
        helper.make_node("MatMul", ["w", "r"], ["y"], name="again"),
    ]
    shapes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 8, 8]) for name in "xy"]
    arrays = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in held.items()]
    graph = helper.make_graph(nodes, "g", shapes[:1], shapes[1:], arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("operator", ["exact", "truncated-6"])
@pytest.mark.parametrize("bias", [(8,), (8, 1), (1, 8), (1,), (8, 8)], ids=str)
def test_a_bias_goes_into_an_array_where_it_goes_along_its_columns(tmp_path, operator, bias):
    """A constant at the left has its columns along the last axis but one: a bias along the last one is none of the array's."""
    target = ax.IntegerEngine(operator=operator, rows=4, columns=4)
    check_layers(left_product(RNG.normal(size=bias) * 5), SQUARE, target, tmp_path / "e")


@pytest.mark.parametrize(
    "options",
    [
        {"operator": "truncated-6", "recover": "bias"},
        {"operator": "broken-array-6-2", "recover": "variate"},  # other products where its operands change places
        {"operator": "broken-array-8-3", "recover": "fit"},
        {"operator": "exact", "weight_bits": 3},  # operands of 4 bits: codes of activations do not go into them
        {"operator": "broken-array-4-1", "weight_bits": 4, "bias_correction": True},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_products_of_every_form_are_those_of_the_graph(tmp_path, icarus, options):
    target = ax.IntegerEngine(**options, rows=4, columns=4)
    made, _ = check_layers(many_forms(), FORM_ROWS, target, tmp_path / "e")
    assert made.simulate("icarus", layer="several", vectors=4).mismatches == 0
    assert made.simulate("icarus", layer="left", vectors=4).mismatches == 0
