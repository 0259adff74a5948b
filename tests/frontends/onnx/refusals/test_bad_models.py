"""Broken and hostile model files: each gives one clear error, before anything large is allocated."""

from __future__ import annotations

import os
import re
import tracemalloc

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from approxhw.common.errors import InvalidModelError, UnsupportedModelError
from approxhw.frontends import check_model, read_model
from approxhw.frontends.onnx import loading, reading
from approxhw.ir.graph import IDENTIFIER, VERILOG_WORDS


def node(op, inputs, outputs, name=None, domain="", **attributes):
    return helper.make_node(op, inputs, outputs, name=name or outputs[0], domain=domain, **attributes)


W = np.arange(12, dtype=np.float32).reshape(4, 3) - 5


@pytest.fixture
def good(build):
    return build([node("Gemm", ["x", "w"], ["g"]), node("Relu", ["g"], ["y"])], {"w": W})


def refused(source, pattern, kind=InvalidModelError):
    with pytest.raises(kind, match=pattern) as error:
        read_model(source)
    return str(error.value)


# --- the file ---------------------------------------------------------------------------------------------------------


def test_files_that_are_none(tmp_path):
    refused(tmp_path / "absent.onnx", "there is no such file\n.*check the path")
    refused(tmp_path, "this is a folder, not a model file")
    empty = tmp_path / "empty.onnx"
    empty.write_bytes(b"")
    refused(empty, "the file is empty")


@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n\x1a\n" + bytes(64), b"hello, I am no model\n", b"\x00" * 100, b"\x08\x08"]
)
def test_files_of_another_kind(content, tmp_path):
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    refused(path, "this is no ONNX model, or one that was cut short")


def test_a_file_cut_anywhere_never_gives_a_graph_or_a_traceback(good, tmp_path):
    content = good.SerializeToString()
    whole = read_model(good)
    for end in range(len(content)):
        path = tmp_path / "cut.onnx"
        path.write_bytes(content[:end])
        try:
            graph = read_model(path)
        except (InvalidModelError, UnsupportedModelError):
            continue
        assert graph.nodes == whole.nodes, end  # only the trailing opset or producer was cut away


def test_a_file_of_more_than_the_limit(good, tmp_path, monkeypatch):
    path = tmp_path / "large.onnx"
    onnx.save(good, path)
    monkeypatch.setattr(loading, "MAXIMUM_FILE", 100)
    refused(path, "models of more than 0 MiB are refused")


def test_names_that_are_no_text(good, tmp_path):
    good.graph.node[0].name = "gemm-node"
    path = tmp_path / "names.onnx"
    path.write_bytes(good.SerializeToString().replace(b"gemm-node", b"gemm\xff\xfe\xfd\xfc\xfb"))
    refused(path, "names that are no UTF-8 text: the file is damaged")


# --- versions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("opset", "word"), [(6, "too old"), (999, "newer than what is known")])
def test_opsets_that_are_unknown(opset, word, good):
    good.opset_import[0].version = opset
    refused(good, f"opset {opset} is {word}")


def test_a_model_without_an_opset(good):
    del good.opset_import[:]
    refused(good, "does not say which opset")


def test_an_unknown_opset_of_ai_onnx_ml(good):
    good.opset_import[1].version = 77
    refused(good, r"opset 77 of ai\.onnx\.ml is unknown")


# --- shapes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "pattern"),
    [
        (("N", "features"), r"input 'x' has a dynamic feature dimension \(N, features\)"),
        (("N", None), "input 'x' has a dynamic feature dimension"),
        (("N",), "dynamic feature dimension"),
        (("N", 0), "input 'x' has a dimension of 0"),
        (("N", -3), "input 'x' has a dimension of -3"),
        (None, "input 'x' has no shape"),
    ],
)
def test_input_shapes_that_are_dynamic_zero_or_missing(shape, pattern, build):
    model = build([node("Gemm", ["x", "w"], ["y"])], {"w": W}, (("x", shape),))
    impossible = shape is not None and shape[-1] in (0, -3)
    refused(model, pattern + r".*\n.*export with", InvalidModelError if impossible else UnsupportedModelError)


def test_inputs_that_are_no_numbers(build):
    model = build([node("Identity", ["x"], ["y"])], None, (("x", ("N", 2), TensorProto.STRING),))
    refused(model, "input 'x' is no tensor of numbers", UnsupportedModelError)


def test_too_many_features(build):
    for shape in (("N", 1 << 40), ("N", 1 << 32, 1 << 32), ("N", 70_000)):
        model = build([node("Identity", ["x"], ["y"])], None, (("x", shape),))
        refused(model, "elements a row; at most 65536 are read", UnsupportedModelError)


def test_a_model_without_an_input(build):
    refused(build([node("Identity", ["w"], ["y"])], {"w": W}, ()), "it has no input", UnsupportedModelError)


def test_an_output_that_ignores_the_input(build):
    why = "output 'y': does not depend on the model's input"
    refused(build([node("Identity", ["w"], ["y"])], {"w": W}), why, UnsupportedModelError)


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_named(value, build):
    bad = W.copy()
    bad[1, 2] = value
    nodes = [node("Gemm", ["x", "fc/weight"], ["g"]), node("Add", ["g", "fine"], ["y"])]
    text = refused(
        build(nodes, {"fc/weight": bad, "fine": W[0]}),
        "initializer \"?'fc/weight'\"?: 1 of 12 values are NaN or infinite",
    )
    assert "fine" not in text


def test_constants_that_fold_to_infinity(build):
    nodes = [node("Reciprocal", ["zero"], ["inverse"], "flip"), node("Mul", ["x", "inverse"], ["y"])]
    refused(
        build(nodes, {"zero": np.zeros(4, np.float32)}), r"node 'flip' \(Reciprocal\): its constant inputs give NaN"
    )


# --- sizes ------------------------------------------------------------------------------------------------------------


def huge(name, dims, data_type=TensorProto.FLOAT, raw=b"\0" * 16):
    return TensorProto(name=name, dims=dims, data_type=data_type, raw_data=raw)


@pytest.mark.parametrize("dims", [[16384, 16384], [1 << 40], [1 << 31, 1 << 31, 1 << 31], [3]])
@pytest.mark.parametrize("place", ["initializer", "node"])
def test_a_declared_gigabyte_is_refused_before_it_is_allocated(dims, place, build):
    if place == "initializer":
        model = build([node("Gemm", ["x", "w"], ["y"])], {"w": huge("w", dims)})
    else:
        model = build([node("Constant", [], ["w"], "big", value=huge("w", dims)), node("Gemm", ["x", "w"], ["y"])])
    tracemalloc.start()
    try:
        refused(model, rf"declares \d+ bytes \({'×'.join(map(str, dims))}\) but holds 16")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20


def test_typed_data_that_does_not_fill_its_shape(build):
    tensor = TensorProto(name="w", dims=[4, 3], data_type=TensorProto.FLOAT, float_data=[1.0] * 5)
    refused(build([node("Gemm", ["x", "w"], ["y"])], {"w": tensor}), r"declares 12 values \(4×3\) but holds 5")


def test_negative_dimensions_and_unknown_types(build):
    refused(
        build([node("Identity", ["x"], ["y"])], {"w": huge("w", [-4])}), r"initializer .*w.*: has a negative dimension"
    )
    refused(build([node("Identity", ["x"], ["y"])], {"w": huge("w", [4], 99)}), "has the unknown element type 99")


SHAPE, ONE = np.array([1 << 20, 1 << 20]), np.ones((1, 1), np.float32)
TALL, WIDE = np.zeros((1 << 14, 1), np.float32), np.zeros((1, 1 << 14), np.float32)
BOMBS = {
    "ConstantOfShape": [SHAPE],
    "Expand": [ONE, SHAPE],
    "Tile": [ONE, SHAPE],
    "Range": [np.int64(0), np.int64(1 << 50), np.int64(1)],
    "Add": [TALL, WIDE],
    "MatMul": [TALL, WIDE],
    "Gemm": [WIDE, WIDE],
}


@pytest.mark.parametrize("op", BOMBS)
def test_small_files_cannot_ask_for_gigabytes(op, build):
    constants = {f"c{position}": array for position, array in enumerate(BOMBS[op])}
    attributes = {"transA": 1} if op == "Gemm" else {}
    nodes = [node(op, list(constants), ["big"], "bomb", **attributes), node("MatMul", ["x", "big"], ["y"])]
    refused(build(nodes, constants), rf"node 'bomb' \({op}\): folding this constant would make \d+ elements; at most")


def test_many_small_nodes_cannot_ask_for_gigabytes_either(build, monkeypatch):
    monkeypatch.setattr(reading, "MAXIMUM_FOLDED", 1000)
    nodes = [node("ConstantOfShape", ["s"], [f"c{k}"]) for k in range(8)]
    nodes += [node("Add", [f"e{k - 1}" if k else "x", f"c{k}"], [f"e{k}"]) for k in range(8)]
    model = build([*nodes, node("Relu", ["e7"], ["y"])], {"s": np.array([200])}, (("x", ("N", 200)),))
    refused(model, "folding this constant would make 200 elements; at most 0 are made")


def test_columns_cannot_be_doubled_without_end(build):
    nodes = [node("Concat", [f"c{k - 1}" if k else "x"] * 2, [f"c{k}"], f"double{k}", axis=1) for k in range(60)]
    model = build([*nodes, node("Relu", ["c59"], ["y"])])
    text = refused(model, "131072 elements a row; at most 65536", UnsupportedModelError)
    assert "'double14' (Concat)" in text


def test_columns_picked_into_giant_weights_are_refused(build):
    nodes = [node("Gather", ["x", "i"], ["p"], axis=1), node("Relu", ["p"], ["y"], "act")]
    model = build(nodes, {"i": np.zeros(60000, np.int64)}, (("x", ("N", 60000)),))
    refused(model, r"'act' \(Relu\): picks columns into 60000 × 60000 weights", UnsupportedModelError)


# --- external data ----------------------------------------------------------------------------------------------------


def with_external(build, tmp_path, location, *, length=None, offset=None):
    tensor = numpy_helper.from_array(W, "w")
    raw = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("length", length), ("offset", offset)):
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    path = tmp_path / "folder" / "model.onnx"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(build([node("Gemm", ["x", "w"], ["y"])], {"w": tensor}).SerializeToString())
    return path, raw


def test_external_data_beside_the_model_is_read(build, tmp_path, agrees):
    path, raw = with_external(build, tmp_path, "data/weights.bin", offset=8, length=48)
    (path.parent / "data").mkdir()
    (path.parent / "data" / "weights.bin").write_bytes(b"\xff" * 8 + raw)
    graph = agrees(path)
    np.testing.assert_array_equal(graph.constant("layer0_weight"), W.T)


@pytest.mark.parametrize(
    "location", ["../weights.bin", "a/../../weights.bin", "/etc/hostname", "", "C:\\weights.bin", "a\0b"]
)
def test_external_data_outside_the_folder_is_refused(location, build, tmp_path):
    path, raw = with_external(build, tmp_path, location)
    (tmp_path / "weights.bin").write_bytes(raw)
    text = refused(path, "lies outside the model's folder: refused")
    assert "initializer" in text
    assert "\0" not in text


def test_a_symbolic_link_out_of_the_folder_is_refused(build, tmp_path):
    path, raw = with_external(build, tmp_path, "link.bin")
    (tmp_path / "secret.bin").write_bytes(raw)
    (path.parent / "link.bin").symlink_to(tmp_path / "secret.bin")
    refused(path, "external data 'link.bin' lies outside the model's folder: refused")


def test_external_data_of_a_name_that_no_file_can_have(build, tmp_path):
    """5000 characters were a full disk."""
    path, _ = with_external(build, tmp_path, "w" * 5000)
    text = refused(path, "is missing\n    do: copy it beside the model")
    assert "space" not in text
    assert len(text) < 500
    refused(tmp_path / ("m" * 5000 + ".onnx"), "File name too long")
    os.mkfifo(path.parent / "w.bin")
    path, _ = with_external(build, tmp_path, "w.bin")
    refused(path, "its external data file 'w.bin' is missing")


def test_external_data_that_is_missing_or_of_another_length(build, tmp_path):
    path, raw = with_external(build, tmp_path, "w.bin")
    refused(path, "its external data file 'w.bin' is missing")
    (path.parent / "w.bin").write_bytes(raw[:40])
    refused(path, "declares 48 bytes, its external data 'w.bin' gives 48 at 0 of a file of 40")
    path, _ = with_external(build, tmp_path, "w.bin", length=1 << 30)
    refused(path, "declares 48 bytes, its external data 'w.bin' gives 1073741824 at 0")
    path, _ = with_external(build, tmp_path, "w.bin", offset="many")
    refused(path, "the offset or length of its external data 'w.bin' is no number")


def test_external_data_without_a_folder_is_refused(build, tmp_path):
    path, _ = with_external(build, tmp_path, "w.bin")
    refused(onnx.load(path, load_external_data=False), "the model has no folder\n.*give the path")


# --- the graph --------------------------------------------------------------------------------------------------------


def test_cycles(build):
    nodes = [node("Add", ["g", "x"], ["y"], "early"), node("Relu", ["y"], ["g"], "late")]
    refused(build(nodes), "node 'early' .Add.: reads 'g', which is made of what it makes itself: the graph has a cycle")
    refused(build([node("Relu", ["y"], ["y"], "self")]), "node 'self' .*reads its own output: the graph has a cycle")


def test_nodes_out_of_order_are_put_in_order(build, agrees):
    """As onnxruntime's float16 converter leaves them; its runtime sorts them, too."""
    sorted_nodes = [node("Gemm", ["x", "w"], ["g"]), node("Relu", ["g"], ["r"]), node("Neg", ["r"], ["y"])]
    model = build([sorted_nodes[2], sorted_nodes[0], sorted_nodes[1]], {"w": W})
    before = model.SerializeToString()
    graph = agrees(model)
    assert model.SerializeToString() == before, "the user's model is not touched"
    assert graph == agrees(build(sorted_nodes, {"w": W}))


def test_branches_stand_behind_what_they_read():
    """A graph within a node reads values of the graph around it."""
    inner = helper.make_graph([node("Neg", ["r"], ["n"])], "b", [], [helper.make_empty_tensor_value_info("n")])
    other = helper.make_graph([], "b", [], [helper.make_empty_tensor_value_info("x")])
    nodes = [
        helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=other),
        helper.make_node("Relu", ["x"], ["r"]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ("N", 4)) for name in "xy")
    c = helper.make_tensor_value_info("c", TensorProto.BOOL, ())
    model = helper.make_model(helper.make_graph(nodes, "g", [x, c], [y]), opset_imports=[helper.make_opsetid("", 17)])
    assert [n.op_type for n in loading.load(model).proto.graph.node] == ["Relu", "If"]


def test_names_that_nothing_makes_and_names_made_twice(build):
    text = refused(build([node("Add", ["x", "nowhere"], ["y"], "a"), node("Relu", ["x"], ["y"], "b")]), "2 problems")
    assert "node 'a' (Add): reads 'nowhere', which nothing makes" in text
    assert "node 'b': makes 'y', which exists already" in text
    refused(build([node("Relu", ["x"], ["z"])]), "output .*y.*: nothing makes it")


def test_doubled_initializers(build):
    model = build([node("Gemm", ["x", "w"], ["y"])], {"w": W})
    model.graph.initializer.append(model.graph.initializer[0])
    refused(model, "initializer .*w.*: this name is given twice")


def test_nodes_that_break_the_schema_of_their_operator(build):
    refused(build([node("Gemm", ["x"], ["y"], "lonely")]), "node 'lonely' .Gemm.: breaks the rules of its operator")
    model = build([node("Relu", ["x"], ["y"], "odd", slope=3)])
    refused(model, "node 'odd' .Relu.: breaks the rules of its operator: .*slope")


def test_doubled_node_names_are_harmless(build, agrees):
    agrees(build([node("Gemm", ["x", "w"], ["g"], "same"), node("Relu", ["g"], ["y"], "same")], {"w": W}))


def test_every_problem_of_a_model_at_once(build):
    nodes = [
        node("Gemm", ["x", "nan"], ["a"], "first"),
        node("LSTM", ["a"], ["b"], "second"),
        node("Clip", ["x", "high", "low"], ["c"], "third"),
        node("Add", ["b", "c"], ["y"], "fourth"),
    ]
    constants = {"nan": np.full((4, 3), np.nan, np.float32), "high": np.float32(2), "low": np.float32(1)}
    text = refused(build(nodes, constants), "graph: 3 problems")
    assert text.index("initializer") < text.index("'second' (LSTM)") < text.index("'third' (Clip): its lower bound 2")


def test_check_returns_unsupported_nodes_and_raises_for_broken_files(build, tmp_path):
    assert check_model(build([node("Gemm", ["x", "w"], ["y"])], {"w": W})) == []
    problems = check_model(build([node("LayerNormalization", ["x", "x"], ["y"], "t")]))
    assert [str(problem) for problem in problems] == [
        "node 't' (LayerNormalization): operator LayerNormalization is not supported\n    do: use BatchNormalization"
    ]
    with pytest.raises(InvalidModelError, match="there is no such file"):
        check_model(tmp_path / "absent.onnx")


HOSTILE = [
    "name with spaces", "a/b/../../c", "quote\"'`", "*/ endmodule /*", "über \N{SNOWMAN} 中", "x" * 10_000, "module",
    "", "$(touch /tmp/x)", "<script>alert(1)</script>", "line\nbreak", "\x1b[31mred", "layer0_sum", "x", "1st",
    "\u202eevil",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_give_legal_identifiers(name, build, agrees, tmp_path):
    n = name or "empty"
    nodes = [
        node("Concat", [f"{n}0", f"{n}1"], [f"{n}j"], name, axis=1),
        node("Gemm", [f"{n}j", f"{n}w"], [f"{n}g"], name),
        node("Relu", [f"{n}g"], [f"{n}y"], name),
    ]
    inputs = ((f"{n}0", ("N", 1)), (f"{n}1", ("N", 1)))
    model = build(nodes, {f"{n}w": W[:2]}, inputs, ((f"{n}y", None),), title=n, producer_name=n)
    graph = agrees(model, count=10)
    for made in (graph.name, *(entry.name for entry in graph.nodes), *graph.input.op.features):
        assert IDENTIFIER.match(made)
        assert made not in VERILOG_WORDS
    assert len({*graph.input.op.features, *(entry.name for entry in graph.nodes)}) == 2 + len(graph.nodes)
    assert graph.source.isprintable()
    assert all(len(title) <= 200 for title in graph.input.op.titles)


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_stay_one_short_line_in_messages(name, build):
    nodes = [
        node("LpNormalization", ["x"], ["t"], name),
        helper.make_node(f"Bad{name}", ["t"], ["y"], name=name, domain=f"d{name}"),
    ]
    with pytest.raises(UnsupportedModelError) as error:
        read_model(build(nodes, domains=("", f"d{name}")))
    lines = str(error.value).splitlines()
    assert len(lines) == 5  # the subject, and two problems of two lines
    assert all(line.isprintable() and len(line) < 400 for line in lines)


def test_a_hostile_file_name(good, tmp_path):
    path = tmp_path / '2nd "model" *; rm -rf $(x) \N{SNOWMAN}.onnx'
    path.write_bytes(good.SerializeToString())
    assert re.fullmatch(r"model_2nd_model_rm_rf_x", read_model(path).name)


def test_random_bytes_flipped_never_give_a_traceback(good, tmp_path):
    """A model with changed bytes gives a Graph or a typed error, nothing else."""
    content = good.SerializeToString()
    numbers = np.random.default_rng(5)
    typed = 0
    for _ in range(600):
        changed = bytearray(content)
        for position in numbers.integers(0, len(content), size=numbers.integers(1, 4)):
            changed[position] = numbers.integers(0, 256)
        path = tmp_path / "changed.onnx"
        path.write_bytes(bytes(changed))
        try:
            read_model(path)
        except (InvalidModelError, UnsupportedModelError):
            typed += 1
    assert typed > 50
