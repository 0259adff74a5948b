"""Products that have some codes get the others; what stays with the host all the same is told, with the reason."""

from __future__ import annotations

import numpy as np
import pytest
from layer_values import check_layers
from onnx import TensorProto, helper, numpy_helper

import approxhw as ax
from approxhw.common.errors import PassError
from approxhw.flow.compile import open_folder

RNG = np.random.default_rng(7)
ARRAY = ax.IntegerEngine(rows=4, columns=4, library="egfet")
HELD = {
    "s": np.float32(1 / 16),
    "z": np.uint8(3),
    "w": RNG.normal(size=(12, 8)).astype(np.float32),
    "v": RNG.normal(size=(8, 5)).astype(np.float32),
}
ROWS = np.abs(RNG.normal(size=(32, 12)) * 4).astype(np.float32)


def network(nodes, held=HELD, y=5, kind=TensorProto.FLOAT):
    arrays = [numpy_helper.from_array(np.asarray(array), name) for name, array in held.items()]
    x = helper.make_tensor_value_info("x", kind, ["n", 12])
    told = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", y])]
    graph = helper.make_graph(nodes, "g", [x], told, arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def codes_of_x(domain=""):
    steps = [("QuantizeLinear", ["x", "s", "z"], ["q"]), ("DequantizeLinear", ["q", "s", "z"], ["d"])]
    return [helper.make_node(*step, domain=domain) for step in steps]


def two_products(first="d"):
    return [
        helper.make_node("MatMul", [first, "w"], ["m"], name="first"),
        helper.make_node("Relu", ["m"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["y"], name="second"),
    ]


def test_a_product_with_codes_for_x_gets_codes_of_its_weights(tmp_path):
    made, _ = check_layers(network([*codes_of_x(), *two_products()]), ROWS, ARRAY, tmp_path / "e")
    assert [layer.name for layer in made.design.layers] == ["first", "second"]
    assert (
        "2 products, 1 activations: ranges by mse; operands with codes of their own: 1"
        in made.design.ledger[0]["notes"]
    )
    assert not [each for each in made.design.warnings if "with the host" in each]
    kept = made.design.operands[made.design.layers[0].operands]
    wanted = np.clip(np.rint(ROWS[16:24] * 16) + 3, 0, 255)
    assert np.array_equal(kept["x"], wanted)


def test_a_product_with_codes_for_its_weights_gets_codes_of_x(tmp_path):
    held = HELD | {"w": RNG.integers(-99, 99, (12, 8)).astype(np.int8), "zw": np.int8(0)}
    nodes = [helper.make_node("DequantizeLinear", ["w", "s", "zw"], ["dw"])]
    nodes.append(helper.make_node("MatMul", ["x", "dw"], ["y"], name="first"))
    made, _ = check_layers(network(nodes, held, 8), ROWS, ARRAY, tmp_path / "e")
    kept = made.design.operands[made.design.layers[0].operands]
    assert np.array_equal(kept["weights"].view(np.int8), held["w"])


@pytest.mark.parametrize("form", ["codes come in", "codes of another domain"])
def test_codes_of_x_and_weights_of_numbers_need_no_rows(tmp_path, form):
    if form == "codes come in":
        nodes, kind = [helper.make_node("DequantizeLinear", ["x", "s", "z"], ["d"])], TensorProto.UINT8
    else:
        nodes, kind = codes_of_x("com.microsoft"), TensorProto.FLOAT
    nodes.append(helper.make_node("MatMul", ["d", "w"], ["y"], name="only"))
    model = network(nodes, y=8, kind=kind)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    made = ax.compile(model, target=ARRAY, shape={"x": (1, 12)}, output=tmp_path / "e")
    assert [layer.name for layer in made.design.layers] == ["only"]


def test_what_stays_with_the_host_is_told_with_the_reason(tmp_path):
    said = (
        "a product stays with the host, in floating point: layer 'first': its second operand is no numbers that 8-bit codes "
        "stand for; run quantize-model before, with all layers"
    )
    made = ax.compile(
        network([*codes_of_x(), *two_products()]),
        target=ARRAY,
        data={"x": ROWS},
        passes="quantize-model{layers=second},integer-products",
        output=tmp_path / "e",
    )
    assert [layer.name for layer in made.design.layers] == ["second"]
    assert said in made.design.warnings
    assert said in open_folder(tmp_path / "e").summary()["warnings"]
    page = made.report().read_text()
    assert "a product stays with the host, in floating point: layer &#39;first&#39;" in page
    assert "Every matrix product of the model" not in page


def test_products_of_other_operators_stand_in_the_design(tmp_path):
    nodes = [*two_products("x")[:2], helper.make_node("Einsum", ["r", "v"], ["y"], name="sum", equation="ij,jk->ik")]
    model = network(nodes)
    for target in (ARRAY, ax.MatrixEngine(rows=4, columns=4)):
        made = ax.compile(model, target=target, data={"x": ROWS}, output=tmp_path / type(target).__name__)
        assert "node 'sum' (Einsum) runs in onnxruntime, not on the engine" in made.design.warnings


def test_products_without_weights_are_told_what_to_do(tmp_path):
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "t"], ["y"], name="inner"),
    ]
    model = network(nodes, y=None)
    with pytest.raises(
        PassError,
        match=r"layer 'inner': both of its operands are computed: it has no weights\n    do: give such products",
    ):
        ax.compile(model, target=ARRAY, data={"x": ROWS}, output=tmp_path / "e")
    made = ax.compile(
        model, target=ARRAY, data={"x": ROWS}, passes="quantize-model{products=all},integer-products",
        output=tmp_path / "e",
    )  # fmt: skip
    assert [layer.name for layer in made.design.layers] == ["inner"]


@pytest.mark.parametrize("kind", ["integer", "matrix"])
@pytest.mark.parametrize("classes", [2, 3])
def test_one_number_a_row_is_a_class_only_where_there_are_two(tmp_path, kind, classes):
    held = {"w": HELD["w"][:, :1]}
    model = network([helper.make_node("MatMul", ["x", "w"], ["y"], name="only")], held, 1)
    target = ARRAY if kind == "integer" else ax.MatrixEngine(rows=4, columns=4)
    data = {"x": ROWS, "labels": np.arange(32) % classes}
    made = ax.compile(model, target=target, data=data, output=tmp_path / "e")
    if classes == 2:
        assert made.accuracy["rows"] > 0
        assert (
            "the model gives one number a row: above 0 it is taken for class 1, else for class 0"
            in made.design.warnings
        )
    else:
        assert made.accuracy == {}
        assert (
            "the model gives one number a row, and the labels are 3 classes: no accuracy is told"
            in made.design.warnings
        )
