"""What a column of an array ends its sums with is what the Graph does to them: biases and scales that go along its columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_networks import FORM_ROWS, many_forms

import approxhw as ax
from approxhw.artifacts.steps import read_graph
from approxhw.backends.integer_engine.words import integer_results
from approxhw.engine.integers.rtl import array_from, constants_of
from approxhw.frontends.products.partition import open_model
from approxhw.ir.kinds.tensor.integers import ConvInteger, Rescale
from approxhw.ir.tensor.integer_layers import integer_nodes, stays_left, weights_last
from approxhw.ir.tensor.run import walk_tensors

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


def check_layers(model, rows, target, folder):
    """Compare what each layer's array must give, from what its design keeps, with values of the design's Graph."""
    made = ax.compile(model, target=target, data={"x": rows}, output=folder, steps=True)
    graph, found = read_graph(max((folder / "steps").glob("*.axir"))), {}
    shown = rows[len(rows) // 2 :][:8]
    opened = open_model(model, {"x": shown.shape}, integers=True)
    walk_tensors(graph, {"x": shown}, opened.host, None, lambda node, value: found.__setitem__(node.name, value))
    for node, layer in zip(integer_nodes(graph), made.design.layers, strict=True):
        kept = made.design.operands[layer.operands]
        array = array_from(made.design.engine, layer.result)
        array = replace(array, mac=array.mac_of(layer.operator))
        products = kept["products"].astype(np.int64)
        results = integer_results(array, kept["x"], kept["weights"], constants_of(kept), products)
        # the sums themselves, or what the one Node behind makes of them, or the one behind that
        after = [node.name]
        while len(after) < 3 and len(readers := [each for each in graph.nodes if after[-1] in each.inputs]) == 1:
            after.append(readers[0].name)
        equal = [name for name in after if np.array_equal(by_columns(found[name], graph, node, results.shape), results)]
        assert equal, f"{layer.name}: {layer.result}"
        assert layer.result == "sums" or isinstance(graph[equal[0]].op, Rescale)
    return made


def by_columns(value, graph, node, shape):
    """Return *value* as the first product of *node* leaves an array: rows × columns, of *shape*."""
    if isinstance(node.op, ConvInteger):
        value = np.moveaxis(value, 1, -1)
    elif stays_left(graph, node):
        value = np.moveaxis(value, -2, -1)
    columns = shape[1] if value.ndim > 1 and value.shape[-1] % shape[1] == 0 and value.shape != shape[:1] else 1
    several = graph[weights_last(graph, node)[1]].type.shape[:-2]
    if several and not isinstance(node.op, ConvInteger):  # the first of the matrices
        value = value.reshape(-1, *value.shape[-2:])[0]
    whole = value[..., :columns] if value.ndim > 1 else value[:, None]
    return whole.reshape(-1, columns)[: shape[0]]


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
    made = check_layers(many_forms(), FORM_ROWS, target, tmp_path / "e")
    assert made.simulate("icarus", layer="several", vectors=4).mismatches == 0
    assert made.simulate("icarus", layer="left", vectors=4).mismatches == 0
