"""Models of unusual forms: what their arrays give is what their Graphs say, and that what onnxruntime says."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from layer_values import check_layers
from onnx import TensorProto, helper, numpy_helper

import approxhw as ax
from approxhw.artifacts.steps import read_graph
from approxhw.common.errors import OptionError, PassError, UnsupportedModelError
from approxhw.frontends.products.partition import open_model
from approxhw.ir.tensor.run import walk_tensors

RNG = np.random.default_rng(1)
STEP = {"s": np.float32(0.05), "z": np.uint8(128), "zw": np.int8(0), "ys": np.float32(0.5)}


def floats(*shape):
    return (RNG.normal(size=shape) * 0.3).astype(np.float32)


def codes(low, high, *shape):
    return RNG.integers(low, high, shape).astype(np.int8)


def quantised(made, source, scale, zero):
    """Return the two Nodes that give *source* codes, and numbers of them called *made*."""
    quantise = helper.make_node("QuantizeLinear", [source, scale, zero], [f"{made}_codes"])
    return [quantise, helper.make_node("DequantizeLinear", [f"{made}_codes", scale, zero], [made])]


def numbers(made, held, *zero, scale="s", **attributes):
    return helper.make_node("DequantizeLinear", [held, scale, *zero], [made], **attributes)


def network(nodes, held, x, y, outputs=None):
    arrays = [numpy_helper.from_array(np.asarray(array), name) for name, array in held.items()]
    told = outputs or [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)], told, arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def product(*inputs, op="MatMul", to="n", name="p", **attributes):
    return helper.make_node(op, [*inputs], [to], name=name, **attributes)


def onnxruntime_results(model, rows):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": rows})


def by_onnxruntime(model, rows):
    return onnxruntime_results(model, rows)[0]


def array(**options):
    return ax.IntegerEngine(rows=4, columns=4, library="egfet", **options)


def two_layers(first, second, zeros=("z", "z"), kinds=("s", "s")):
    """Return two products of codes, and more to quantise their results by."""
    held = {**STEP, "w1": first, "w2": second, "u1": np.zeros((), first.dtype), "u2": np.zeros((), second.dtype)}
    held |= {"x0": np.int8(0), "m0": np.uint8(0)}
    nodes = [
        *quantised("a", "x", "s", zeros[0]),
        numbers("d1", "w1", "u1"),
        product("a", "d1", to="m", name="first"),
        *quantised("b", "m", "s", zeros[1]),
        numbers("d2", "w2", "u2"),
        product("b", "d2", name="second"),
        *quantised("y", "n", "ys", "z"),
    ]
    return network(nodes, held, ["n", 12], ["n", second.shape[1]])


def test_weights_of_eight_bits_do_not_go_into_operators_of_four(tmp_path):
    model, rows = two_layers(codes(-8, 8, 12, 8), codes(-127, 128, 8, 8)), floats(32, 12) * 4
    for options in (
        {"operator": "truncated-3", "layers": "1=exact"},
        {"operator": "exact", "layers": "0=broken-array-4-1"},
    ):
        with pytest.raises(OptionError, match="the operators have weights of 4 bits, and layers 1 have weights of 8"):
            ax.compile(model, target=array(**options), data={"x": rows}, output=tmp_path / "e")
    with pytest.raises(
        OptionError, match=r"one array has one kind of operands.*\n.*leave layers of the one kind exact"
    ):
        ax.compile(model, target=array(operator="truncated-3"), data={"x": rows}, output=tmp_path / "e")
    # as the advice says
    check_layers(model, rows, array(operator="truncated-3", layers="0=exact"), tmp_path / "e")


def test_an_accumulator_holds_the_sums_of_exact_layers_of_other_signs(tmp_path, icarus):
    unsigned = RNG.integers(0, 4, (8, 8)).astype(np.uint8)
    model, rows = two_layers(codes(-127, 128, 12, 8), unsigned, ("x0", "m0")), floats(32, 12) * 4
    made, _ = check_layers(model, rows, array(operator="exact", layers="1=broken-array-6-2"), tmp_path / "e")
    assert made.simulate("icarus", layer="first", vectors=4).mismatches == 0


@pytest.mark.parametrize("shape", [(8, 1), (1, 8), (8,), (8, 8), (1, 1)], ids=str)
def test_what_a_gemm_adds_goes_along_columns_or_stays_with_the_host(tmp_path, shape):
    """As many rows as columns: the shape alone tells which way it goes."""
    held = {**STEP, "w": codes(-50, 50, 12, 8), "v": codes(-50, 50, 8, 8), "c": floats(*shape) * 20}
    nodes = [
        *quantised("a", "x", "s", "z"),
        numbers("d", "w", "zw"),
        product("a", "d", "c", op="Gemm", to="m"),
        *quantised("b", "m", "s", "z"),
        numbers("e", "v", "zw"),
        product("b", "e", to="n", name="second"),
        *quantised("y", "n", "ys", "z"),
    ]
    model, rows = network(nodes, held, [8, 12], [8, 8]), floats(64, 12)
    made, found = check_layers(model, rows, array(), tmp_path / "e")
    assert len(made.design.layers) == (2 if shape[0] == 1 or len(shape) == 1 else 1)
    assert np.abs(found - by_onnxruntime(model, rows[32:40])).max() <= 0.5 + 1e-6  # a unit of the output's codes


def test_a_vector_of_weights_has_one_scale_or_stays_with_the_host(tmp_path):
    held = {**STEP, "w": codes(-99, 99, 8), "ws": np.abs(floats(8)) * 0.1, "v": codes(-99, 99, 8, 8)}
    nodes = [
        *quantised("a", "x", "s", "z"),
        numbers("e", "v", "zw"),
        product("a", "e", to="m", name="matrix"),
        *quantised("b", "m", "s", "z"),
        numbers("d", "w", scale="ws", axis=0),
        product("b", "d"),
        *quantised("y", "n", "ys", "z"),
    ]
    model, rows = network(nodes, held, [8, 8], [8]), floats(64, 8) * 4
    made, found = check_layers(model, rows, array(), tmp_path / "e")
    assert [layer.name for layer in made.design.layers] == ["matrix"]
    assert np.abs(found - by_onnxruntime(model, rows[32:40])).max() <= 0.5 + 1e-6


VECTORS = [
    ((8, 12), [8], True),
    ((2, 12, 8), [2, 8], False),
    ((2, 8, 12), [2, 8], True),
    ((12, 8), [8], False),
]


@pytest.mark.parametrize("recover", ["bias", "tune", "fit", "variate"])
@pytest.mark.parametrize(("shape", "y", "left"), VECTORS, ids=str)
def test_a_vector_that_streams_leaves_columns_alone(tmp_path, recover, shape, y, left):
    nodes = [
        helper.make_node("Squeeze", ["x", "axes"], ["u"]),
        product(*(("w", "u") if left else ("u", "w")), to="y"),
    ]
    model = network(nodes, {"w": floats(*shape), "axes": np.array([0])}, [1, 12], y)
    check_layers(model, floats(32, 12), array(operator="truncated-6", recover=recover), tmp_path / "e")


@pytest.mark.parametrize("recover", ["variate", "fit"])
@pytest.mark.parametrize(
    ("shape", "x", "y", "left"),
    [
        ((1, 12, 8), ["n", 10, 12], ["n", 10, 8], False),
        ((2, 6, 10), [10, 12], [2, 6, 12], True),
        ((10,), ["n", 10, 12], ["n", 12], True),
        ((1, 10), ["n", 10, 12], ["n", 1, 12], True),
    ],
    ids=str,
)
def test_leading_sizes_of_weights_are_matrices_or_none(tmp_path, recover, shape, x, y, left):
    model = network([product(*(("w", "x") if left else ("x", "w")), to="y")], {"w": floats(*shape)}, x, y)
    rows = floats(32, *x[1:]) if x[0] == "n" else floats(40, 12)
    check_layers(model, rows, array(operator="leading-3", recover=recover), tmp_path / "e")


@pytest.mark.parametrize(("of_x", "of_weights", "summed"), [(128, 7, 8), (0, 7, 8), (128, 0, 0)])
def test_rows_are_summed_for_zero_points_of_a_constant_at_the_left(tmp_path, of_x, of_weights, summed):
    held = {**STEP, "z": np.uint8(of_x), "zw": np.int8(of_weights), "w": codes(-99, 99, 6, 10)}
    nodes = [
        *quantised("a", "x", "s", "z"),
        numbers("d", "w", "zw"),
        product("d", "a"),
        *quantised("y", "n", "ys", "z"),
    ]
    model = network(nodes, held, ["n", 10, 12], ["n", 6, 12])
    made, _ = check_layers(model, floats(32, 10, 12), array(), tmp_path / "e")
    assert made.design.engine["variate"] == summed


def test_weights_of_four_bits_keep_them_where_more_are_asked_for(tmp_path):
    held = {**STEP, "w": codes(-8, 8, 12, 8)}
    nodes = [*quantised("a", "x", "s", "z"), numbers("d", "w", "zw"), product("a", "d", to="y")]
    model, rows = network(nodes, held, ["n", 12], ["n", 8]), floats(32, 12)
    for edits, step in (("+5bits", 1), ("+5bits+fit", 1), ("+3bits", 2), ("+2bits+fit", 4)):
        made, _ = check_layers(model, rows, array(operator="exact", layers=f"0=truncated-3{edits}"), tmp_path / edits)
        kept = made.design.operands[made.design.layers[0].operands]["weights"].astype(int)
        assert (kept % step == 0).all()
        assert kept.max() <= 15
        if edits == "+5bits":
            assert np.array_equal(np.where(kept > 7, kept - 16, kept), held["w"])


@pytest.mark.parametrize("name", ["float16", "float64", "float32"])
def test_numbers_of_every_type_get_codes(tmp_path, name):
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(name))
    held = {"w": floats(12, 8).astype(name), "v": floats(8, 5).astype(name)}
    nodes = [product("x", "w", to="m"), helper.make_node("Relu", ["m"], ["r"]), product("r", "v", to="y", name="q")]
    model = network(nodes, held, ["n", 12], ["n", 5])
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = kind
    tiny = 1e-43 if name == "float32" else 1.0
    rows = (floats(32, 12) * np.float64(tiny)).astype(name)
    ax.compile(
        model, target=array(operator="truncated-6", bias_correction=True), data={"x": rows}, output=tmp_path / "e"
    )


def test_whole_numbers_that_are_added_behind(tmp_path):
    """A bias of more axes than the sums, and one that leaves 32 bits with what zero points add."""
    for bias in (np.ones((1, 1, 8), np.int32), np.full(8, (1 << 31) - 1000, np.int32)):
        nodes = [
            helper.make_node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
            helper.make_node("MatMulInteger", ["xq", "w", "xz"], ["i"], name="p"),
            helper.make_node("Add", ["i", "b"], ["j"]),
            helper.make_node("Cast", ["j"], ["y"], to=1),
        ]
        model = network(nodes, {"w": codes(-99, 99, 12, 8), "b": bias}, ["n", 12], None)
        check_layers(model, floats(32, 12), array(), tmp_path / str(bias.ndim))


def test_sums_that_leave_beside_what_is_added_to_them_are_right_too(tmp_path):
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
        helper.make_node("MatMulInteger", ["xq", "w", "xz"], ["i"], name="p"),
        helper.make_node("Add", ["i", "b"], ["y"]),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.INT32, ["n", 8]) for name in ("y", "i")]
    model = network(nodes, {"w": codes(-99, 99, 12, 8), "b": np.arange(8, dtype=np.int32)}, ["n", 12], None, outputs)
    rows = np.abs(floats(256, 12) * 4)
    made, _ = check_layers(model, rows, array(operator="truncated-8"), tmp_path / "e")
    graph = read_graph(max((made.folder / "steps").glob("*.axir")))
    exact = onnxruntime_results(model, rows[128:])
    opened = open_model(model, {"x": rows[128:].shape}, integers=True)
    values = {}
    walk_tensors(graph, {"x": rows[128:]}, opened.host, None, lambda node, value: values.__setitem__(node.name, value))
    for (_, name), wanted in zip(graph.results, exact, strict=True):
        spread = wanted.std(axis=0)
        assert (np.abs((values[name] - wanted).mean(axis=0)) < 0.1 * spread).all()


def test_what_cannot_be_products_of_codes_is_told(tmp_path):
    def refusal(model, rows, **options):
        with pytest.raises((PassError, UnsupportedModelError)) as raised:
            ax.compile(model, target=array(**options), data={"x": rows}, output=tmp_path / "e")
        return str(raised.value)

    turned = network(
        [product("x", "w", op="Gemm", to="y", name="g", transA=1)], {"w": floats(16, 8)}, [16, 12], [12, 8]
    )
    assert "layer 'g': its first operand is turned, or alpha or beta is not 1" in refusal(turned, floats(64, 12))
    weights = floats(12, 8)
    weights[3, 3] = np.nan
    broken = network([product("x", "w", to="y", name="g")], {"w": weights}, ["n", 12], ["n", 8])
    assert "layer 'g': some of its weights are infinite or no numbers" in refusal(broken, floats(32, 12))
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
        helper.make_node("MatMulInteger", ["w", "xq", "wz", "xz"], ["i"], name="rows"),
        helper.make_node("Cast", ["i"], ["y"], to=1),
    ]
    held = {"w": RNG.integers(0, 255, (6, 10)).astype(np.uint8), "wz": RNG.integers(0, 255, 6).astype(np.uint8)}
    said = refusal(network(nodes, held, ["n", 10, 12], ["n", 6, 12]), floats(32, 10, 12))
    assert "its first operand has 6 zero points, one a row" in said
    assert "quantise the operand with one zero point for all rows" in said


def test_a_search_of_weights_of_four_and_of_eight_bits_finds_what_can_be_compiled(tmp_path):
    model, rows = two_layers(codes(-8, 8, 12, 8), codes(-127, 128, 8, 5)), floats(120, 12) * 4
    labels = by_onnxruntime(model, rows).argmax(axis=1)
    front = ax.search(
        model, data={"x": rows, "labels": labels}, output=tmp_path / "front", target=array(vectors=16),
        operators="truncated-3,truncated-6", edits="none,fit", population=4, generations=1, max_accuracy_loss=0.3,
    )  # fmt: skip
    assert {tuple(member.layers) for member in front.members} == {("second",)}
    made = ax.open_integer_design(front.folder / "chosen")
    assert made.accuracy["engine"] == pytest.approx(front.chosen.test_accuracy)
    four = two_layers(codes(-8, 8, 12, 8), codes(-8, 8, 8, 5))
    front = ax.search(
        four, data={"x": rows, "labels": by_onnxruntime(four, rows).argmax(axis=1)}, output=tmp_path / "four",
        target=array(vectors=16), operators="truncated-3", edits="none,fit", population=4, generations=0,
        max_accuracy_loss=0.5,
    )  # fmt: skip
    assert {
        layer.arithmetic.split(",")[2] for layer in ax.open_integer_design(front.folder / "chosen").design.layers
    } == {"4"}
