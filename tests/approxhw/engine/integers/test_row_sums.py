"""An array sums rows of x once: for control variates, or for zero points of weights, and a model that needs both is refused."""

from __future__ import annotations

import numpy as np
import pytest
from layer_values import check_layers
from onnx import TensorProto, helper, numpy_helper

import approxhw as ax
from approxhw.artifacts.steps import read_graph
from approxhw.common.errors import OptionError
from approxhw.ir.tensor.integer_layers import layers_of_moved_weights

RNG = np.random.default_rng(3)
ROWS = np.abs(RNG.normal(size=(32, 10)) * 4).astype(np.float32)


def two_layers(first_zero, second_zero):
    """Return two products of codes, whose weights have these zero points."""
    held = {
        "s": np.float32(0.05),
        "t": np.float32(0.5),
        "z": np.uint8(0),
        "w": RNG.integers(-90, 90, (10, 6)).astype(np.int8),
        "v": RNG.integers(-90, 90, (6, 5)).astype(np.int8),
        "wz": np.int8(first_zero),
        "vz": np.int8(second_zero),
    }
    steps = [
        ("QuantizeLinear", ["x", "s", "z"], "a"),
        ("DequantizeLinear", ["a", "s", "z"], "b"),
        ("DequantizeLinear", ["w", "s", "wz"], "c"),
        ("MatMul", ["b", "c"], "first"),
        ("QuantizeLinear", ["first", "t", "z"], "d"),
        ("DequantizeLinear", ["d", "t", "z"], "e"),
        ("DequantizeLinear", ["v", "s", "vz"], "f"),
        ("MatMul", ["e", "f"], "y"),
    ]
    nodes = [helper.make_node(op, inputs, [made], name=made) for op, inputs, made in steps]
    arrays = [numpy_helper.from_array(np.asarray(array), name) for name, array in held.items()]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in (("x", 10), ("y", 5))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def engine(**options):
    return ax.IntegerEngine(rows=4, columns=4, library="egfet", **options)


@pytest.mark.parametrize("recover", ["variate", "all"])
@pytest.mark.parametrize(("zeros", "named"), [((7, 7), "first, y"), ((0, 7), "y"), ((7, 0), "first")], ids=str)
def test_weights_with_zero_points_leave_no_room_for_control_variates(tmp_path, zeros, named, recover):
    target = engine(operator="truncated-6", recover=recover)
    made, _ = check_layers(two_layers(*zeros), ROWS, target, tmp_path / "e")
    assert made.design.engine["variate"] == 8
    assert [layer.variate for layer in made.design.layers] == [0, 0]
    assert all(layer.operands for layer in made.design.layers)
    notes = next(row["notes"] for row in made.design.ledger if row["name"] == "control-variate")
    assert notes == [f"nothing: weights of {named} have zero points, for which an array sums whole x, and it sums once"]


def test_weights_without_zero_points_have_control_variates(tmp_path):
    made, _ = check_layers(two_layers(0, 0), ROWS, engine(operator="truncated-6", recover="variate"), tmp_path / "e")
    assert made.design.engine["variate"] == 4
    assert [layer.variate for layer in made.design.layers] == [4, 4]


def test_both_in_one_model_are_refused_and_named(tmp_path):
    """Control variates first, then an operator that reads weights without signs: their zero points are no longer 0."""
    spelled = "quantize-model{again=true},integer-products,approximate-multiplier{operator=truncated-6},control-variate"
    given = {"target": engine(), "data": {"x": ROWS}, "output": tmp_path / "e", "steps": True}
    ax.compile(two_layers(0, 0), passes=spelled, **given)
    graph = read_graph(max((tmp_path / "e" / "steps").glob("*.axir")))
    assert layers_of_moved_weights(graph) == ()
    with pytest.raises(OptionError) as raised:
        ax.compile(
            two_layers(0, 0), passes=f"{spelled},approximate-multiplier{{operator=truncated-6,signed=none}}", **given
        )
    assert (
        "variate: an array sums rows of x once: low bits for the control variate of first, y, whole ones for the zero points "
        "of the weights of first, y\n    do: leave control-variate out: --recover bias, or tune or fit"
    ) in str(raised.value)


def test_passes_that_leave_no_product_of_codes_are_told(tmp_path):
    with pytest.raises(
        OptionError, match=r"passes: they leave no product of codes\n    do: put integer-products behind"
    ):
        ax.compile(
            two_layers(0, 0),
            target=engine(),
            data={"x": ROWS},
            passes="quantize-model{again=true}",
            output=tmp_path / "e",
        )
