"""Models of every make on the engine: how they are cut, which sizes they take, and what is refused in which words."""

from __future__ import annotations

import logging
import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from approxhw.common.errors import InvalidDataError, InvalidModelError, OptionError, UnsupportedModelError
from approxhw.engine.matrix.api import open_engine, parse_shapes
from approxhw.frontends.products import model as engine_model
from approxhw.frontends.products import partition as engine_partition
from approxhw.ir.tensor import run as tensor_run
from approxhw.numerics.mac.arithmetic import FloatMac

op = helper.make_node
MAC = FloatMac("bf16", 20, "an-1-2")


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def same_bits(seen, expected):
    assert seen.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(np.asarray(seen[name]), np.asarray(array))


def refused(kind, pattern, call, *given, **named):
    with pytest.raises(kind, match=pattern) as error:
        call(*given, **named)
    return str(error.value)


# --- how models are cut ------------------------------------------------------------------------------------------------


def test_layers_are_listed_in_the_model_s_order(networks):
    model, _, _ = networks["attention"]
    layers = open_engine(model, MAC, shape={"x": (2, 5, 8)}).layers
    assert [(e.name, e.op, e.count, e.m, e.k, e.n, e.weights) for e in layers] == [
        ("query", "MatMul", 1, 10, 8, 8, True),
        ("key", "MatMul", 1, 10, 8, 8, True),
        ("value", "MatMul", 1, 10, 8, 8, True),
        ("scores", "MatMul", 4, 5, 4, 5, False),
        ("mixed", "MatMul", 4, 5, 5, 4, False),
        ("output", "MatMul", 1, 10, 8, 8, True),
    ]
    assert [entry.products for entry in layers] == [640, 640, 640, 400, 400, 640]
    conv, grouped, last = open_engine(networks["cnn"][0], MAC, shape={"x": (3, 2, 6, 5)}).layers
    assert (conv.count, conv.m, conv.k, conv.n) == (1, 3 * 3 * 5, 18, 4)
    assert (grouped.count, grouped.m, grouped.k, grouped.n) == (2, 3 * 3 * 4, 8, 3)
    assert (last.m, last.k, last.n) == (3, 6, 3)


def test_a_session_for_each_step_of_depth(networks):
    graph = open_engine(networks["attention"][0], MAC, shape={"x": (1, 5, 8)}).graph
    kinds = [node.kind for node in graph.nodes if node.kind in ("matmul", "gemm", "conv", "host")]
    assert kinds == ["matmul"] * 3 + ["host", "matmul"] * 3 + ["host"]


def test_values_are_let_go_after_their_last_reader(networks, monkeypatch):
    model, feeds, shape = networks["attention"]
    engine = open_engine(model, MAC, shape=shape)
    seen = []
    original = tensor_run.check_result_memory
    monkeypatch.setattr(
        tensor_run, "check_result_memory", lambda p, o, held: seen.append((p.name, held)) or original(p, o, held)
    )
    engine.run(feeds)
    size = feeds["x"].nbytes
    assert dict(seen) == {
        "query": size, "key": 2 * size, "value": 3 * size,
        "scores": 4 * size, "mixed": 2 * size + 2 * 2 * 5 * 5 * 4, "output": 2 * size,
    }  # fmt: skip


def test_constants_are_folded_once(make, session):
    """Weights that are transposed, and a Constant, are operands that stay; a product of constants is no layer."""
    nodes = [
        op("Transpose", ["w"], ["wt"], perm=[1, 0]),
        op("MatMul", ["wt", "half"], ["wh"]),
        op("Constant", [], ["one"], value=numpy_helper.from_array(np.float32([1, 2, 3]), "")),
        op("Constant", [], ["two"], value_float=2.0),
        op("MatMul", ["x", "wh"], ["m"], name="only"),
        op("Mul", ["m", "two"], ["n"]),
        op("Add", ["n", "one"], ["y"]),
    ]
    model = make(
        nodes, {"w": normal(1, 3, 4), "half": np.eye(3, dtype=np.float32) / 2}, [("x", (2, 4))], ("y", "one", "x")
    )
    engine = open_engine(model, MAC)
    assert [(layer.name, layer.weights) for layer in engine.layers] == [("only", True)]
    feeds = {"x": normal(2, 2, 4)}
    seen, expected = engine.run(feeds), session(model, feeds)
    np.testing.assert_allclose(seen["y"], expected["y"], atol=0.05)
    same_bits({name: seen[name] for name in ("one", "x")}, {name: expected[name] for name in ("one", "x")})


def test_names_that_are_missing_or_doubled_become_those_of_outputs(make):
    nodes = [
        op("MatMul", ["x", "w"], ["a"], name="same"),
        op("MatMul", ["a", "w"], ["b"], name="same"),
        op("MatMul", ["b", "w"], ["y"]),
    ]
    engine = open_engine(make(nodes, {"w": normal(1, 4, 4)}, [("x", (2, 4))]), MAC, {"b": None})
    assert [layer.name for layer in engine.layers] == ["same", "b", "y"]
    assert engine.macs == {"same": MAC, "b": None, "y": MAC}


def test_branches_stay_in_onnxruntime_and_take_values_from_outside(make, session, caplog):
    """A value that only a branch reads is handed to its session; its products are named in a warning."""

    def branch(name, node):
        return helper.make_graph(
            [node], name, [], [helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, None)]
        )

    nodes = [
        op("MatMul", ["x", "w"], ["m"], name="outside"),
        op("ReduceSum", ["m"], ["s"], keepdims=0),
        op("Greater", ["s", "zero"], ["c"]),
        op(
            "If", ["c"], ["y"], name="choice",
            then_branch=branch("t", op("Add", ["m", "m"], ["t_out"])),
            else_branch=branch("e", op("MatMul", ["m", "v"], ["e_out"])),
        ),
    ]  # fmt: skip
    model = make(nodes, {"w": normal(1, 4, 3), "v": normal(2, 3, 3), "zero": np.float32(0)}, [("x", (2, 4))])
    with caplog.at_level(logging.WARNING):
        engine = open_engine(model, FloatMac("fp16", 24, "exact"))
    assert "node 'choice' (If) holds 1 matrix products in its branches; they run in onnxruntime" in caplog.text
    for sign in (1, -1):
        feeds = {"x": sign * np.abs(normal(3, 2, 4))}
        np.testing.assert_allclose(engine.run(feeds)["y"], session(model, feeds)["y"], rtol=0.05, atol=0.05)


def test_products_of_other_operators_are_named(make, caplog):
    nodes = [op("MatMul", ["x", "w"], ["m"]), op("Einsum", ["m", "w"], ["y"], name="sum", equation="ij,jk->ik")]
    with caplog.at_level(logging.WARNING):
        open_engine(make(nodes, {"w": normal(1, 4, 4)}, [("x", (2, 4))]), MAC)
    assert "node 'sum' (Einsum) runs in onnxruntime, not on the engine" in caplog.text


def test_functions_of_the_model_are_written_out(make, plainly):
    body = helper.make_function(
        "own", "twice", ["a", "b"], ["r"], [op("MatMul", ["a", "b"], ["t"]), op("Add", ["t", "t"], ["r"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    model = make(
        [op("twice", ["x", "w"], ["y"], domain="own")],
        {"w": normal(1, 4, 3)},
        [("x", (2, 4))],
        ("y",),
        17,
        [body],
        ["own"],
    )
    flat = make(
        [op("MatMul", ["x", "w"], ["t"]), op("Add", ["t", "t"], ["y"])], {"w": normal(1, 4, 3)}, [("x", (2, 4))]
    )
    feeds = {"x": normal(2, 2, 4)}
    same_bits(open_engine(model, MAC).run(feeds), plainly(flat, feeds, MAC)[0])


def test_functions_that_call_themselves_or_explode(make):
    def function(name, calls):
        nodes = [op(callee, ["a"], [f"r{i}"], domain="own") for i, callee in enumerate(calls[:-1])]
        nodes.append(op(calls[-1], ["a"], ["r"], domain="own"))
        return helper.make_function("own", name, ["a"], ["r"], nodes, [helper.make_opsetid("own", 1)])

    nodes = [op("f0", ["x"], ["h"], domain="own"), op("MatMul", ["h", "w"], ["y"])]
    loop = make(
        nodes,
        {"w": normal(1, 4, 3)},
        [("x", (2, 4))],
        ("y",),
        17,
        [function("f0", ["f1"]), function("f1", ["f0"])],
        ["own"],
    )
    refused(InvalidModelError, "function 'f.': calls itself: f0 → f1 → f0", open_engine, loop, MAC)
    tower = [function(f"f{i}", [f"f{i + 1}"] * 10) for i in range(8)]
    tower.append(
        helper.make_function("own", "f8", ["a"], ["r"], [op("Relu", ["a"], ["r"])], [helper.make_opsetid("", 17)])
    )
    bomb = make(nodes, {"w": normal(1, 4, 3)}, [("x", (2, 4))], functions=tower, domains=["own"])
    refused(InvalidModelError, "100000001 nodes once its functions are written out", open_engine, bomb, MAC)


def test_whole_number_products_stay_outside(make, session):
    nodes = [
        op("MatMul", ["i", "v"], ["j"]),
        op("Cast", ["j"], ["k"], to=TensorProto.FLOAT),
        op("MatMul", ["k", "w"], ["y"]),
    ]
    constants = {"v": np.arange(12, dtype=np.int32).reshape(4, 3), "w": np.eye(3, dtype=np.float32)}
    model = make(nodes, constants, [("i", (2, 4), TensorProto.INT32)])
    engine = open_engine(model, MAC)
    assert [layer.name for layer in engine.layers] == ["y"]
    feeds = {"i": np.arange(8, dtype=np.int32).reshape(2, 4)}
    same_bits(engine.run(feeds), session(model, feeds))
    only = make(nodes[:1], constants, [("i", (2, 4), TensorProto.INT32)], ("j",))
    refused(UnsupportedModelError, "its matrix products are of whole numbers", open_engine, only, MAC)


def test_external_data_beside_the_model(make, tmp_path):
    model = make([op("MatMul", ["x", "w"], ["y"])], {"w": normal(1, 40, 30)}, [("x", (2, 40))])
    feeds = {"x": normal(2, 2, 40)}
    expected = open_engine(model, MAC).run(feeds)
    path = tmp_path / "model.onnx"
    onnx.save_model(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    same_bits(open_engine(path, MAC).run(feeds), expected)
    (tmp_path / "weights.bin").unlink()
    refused(InvalidModelError, "its external data file 'weights.bin' is missing", open_engine, path, MAC)


def test_large_constants_are_fed_not_copied(make, session):
    """A table that a session reads and a product too (tied weights), larger than what a session may hold itself."""
    rows = engine_partition.LARGE // 4 // 8 + 1
    nodes = [op("Gather", ["t", "i"], ["e"]), op("Gemm", ["e", "t"], ["y"], transB=1)]
    model = make(nodes, {"t": normal(1, rows, 8)}, [("i", (2,), TensorProto.INT64)])
    engine = open_engine(model, FloatMac("fp16", 24, "exact"))
    assert [node.inputs for node in engine.graph.nodes if node.kind == "host"] == [("t", "i")]
    feeds = {"i": np.array([3, rows - 1])}
    np.testing.assert_allclose(engine.run(feeds)["y"], session(model, feeds)["y"], rtol=0.01, atol=0.02)


# --- sizes and inputs --------------------------------------------------------------------------------------------------


def test_open_sizes_are_asked_for(make):
    model = make(
        [op("MatMul", ["a", "w"], ["m"]), op("MatMul", ["b", "w"], ["n"]), op("Add", ["m", "n"], ["y"])],
        {"w": normal(1, 4, 4)}, [("a", ("N", 4)), ("b", (None, 4))],
    )  # fmt: skip
    text = refused(OptionError, "input shapes: 2 problems", open_engine, model, MAC)
    assert "input 'a': its sizes are open (a: N × 4)\n    do: say them: --shape a=1x4" in text
    assert "input 'b': its sizes are open (b: size0 × 4)" in text
    shape = {"a": (2, 5), "c": (1, 4), "b": (0, 4)}
    text = refused(OptionError, "input shapes: 3 problems", open_engine, model, MAC, shape=shape)
    assert "shape of input 'a': 2 × 5: 5 where the model has 4\n    do: the model says a: N × 4" in text
    assert "the model has no input 'c'\n    do: its inputs are a, b" in text
    assert "shape of input 'b': 0 × 4: sizes are whole numbers of at least 1" in text
    text = refused(OptionError, "has 3 dimensions, not 2", open_engine, model, MAC, shape={"a": (1, 1, 4), "b": (1, 4)})


def test_runs_take_any_size_that_the_model_leaves_open(networks, plainly):
    model, _, shape = networks["attention"]
    engine = open_engine(model, MAC, shape=shape)
    for size in ((1, 1, 8), (3, 2, 8)):
        feeds = {"x": normal(3, *size)}
        same_bits(engine.run(feeds), plainly(model, feeds, MAC)[0])


def test_inputs_that_do_not_fit_are_all_named(networks):
    engine = open_engine(networks["mlp"][0], MAC, shape={"x": (1, 9)})
    text = refused(InvalidDataError, "2 problems", engine.run, {"z": np.zeros(3)})
    assert "input 'z': the model has no such input\n    do: its inputs are x" in text
    assert "input 'x': is missing\n    do: give an array: x: N × 9" in text
    refused(InvalidDataError, "3 × 8: 8 where the model has 9", engine.run, {"x": normal(1, 3, 8)})
    refused(InvalidDataError, "holds complex128, the model reads float32", engine.run, {"x": np.zeros((1, 9), complex)})
    assert engine.run({"x": np.ones((2, 9), np.int16)})["y"].shape == (2, 5)


def test_an_index_outside_of_its_table(make):
    model = make([op("Gather", ["t", "i"], ["e"]), op("MatMul", ["e", "w"], ["y"])],
                 {"t": normal(1, 5, 4), "w": normal(2, 4, 2)}, [("i", (1,), TensorProto.INT64)])  # fmt: skip
    engine = open_engine(model, MAC)
    refused(InvalidDataError, "onnxruntime: cannot compute this", engine.run, {"i": np.array([9])})


def test_sizes_that_clash_only_in_a_run(make):
    model = make([op("MatMul", ["a", "b"], ["y"], name="both")], {}, [("a", (2, "K")), ("b", ("L", 3))])
    engine = open_engine(model, MAC, shape={"a": (2, 4), "b": (4, 3)})
    feeds = {"a": normal(1, 2, 5), "b": normal(2, 4, 3)}
    refused(InvalidDataError, r"node 'both' \(MatMul\): 2 × 5 by 4 × 3 is no matrix product", engine.run, feeds)


def test_texts_of_shapes():
    assert parse_shapes(["x=1x128", "a=b=2×3", "s=7"]) == {"x": (1, 128), "a=b": (2, 3), "s": (7,)}
    text = refused(OptionError, "6 problems", parse_shapes, ["x", "=3", "x=", "x=0", "x=1x-2", "y=1", "y=2"])
    assert "shape: 'x=1x-2' is no shape\n    do: write NAME=SIZExSIZE, such as x=1x128" in text
    assert "input 'y' is given two shapes" in text


# --- what is refused ---------------------------------------------------------------------------------------------------


def test_a_model_without_products(make):
    model = make([op("Relu", ["x"], ["h"]), op("Softmax", ["h"], ["y"])])
    text = refused(
        UnsupportedModelError, "no MatMul, Gemm, Conv or ConvTranspose that reads an input", open_engine, model, MAC
    )
    assert "its operators are Relu, Softmax" in text


def test_options_that_fit_no_layer(networks):
    model, _, shape = networks["mlp"]
    layers = {"hiden": None, "last": "bf16"}
    text = refused(OptionError, "matrix engine: 2 problems", open_engine, model, MAC, layers, shape)
    assert "layer 'hiden': the model has no such product\n    do: did you mean 'hidden'?" in text
    assert "layer 'last': 'bf16' is neither a FloatMac nor None" in text
    text = refused(OptionError, "2 problems", open_engine, model, MAC, shape=shape, result="fp16", threads=0)
    assert "result: 'fp16' is no result\n    do: choose bf16 or float32" in text
    assert "threads: 0 is no number of threads" in text
    refused(OptionError, "mac: 7 is neither a FloatMac nor None", open_engine, model, 7, shape=shape)
    engine = open_engine(model, MAC, shape=shape)
    refused(OptionError, "there is no product 1 of a layer 'last'", engine.operands, {"x": normal(1, 1, 9)}, "last", 1)


BROKEN = [
    (op("MatMul", ["x", "w"], ["y"]), {"w": normal(1, 5, 3)}, (2, 4), "2 × 4 by 5 × 3 is no matrix product"),
    (op("MatMul", ["x", "w"], ["y"]), {"w": np.float32(3)}, (2, 4), "a scalar is no matrix"),
    (op("MatMul", ["x", "w"], ["y"]), {"w": normal(1, 3, 4, 2)}, (2, 2, 4), "the leading sizes do not go together"),
    (op("MatMul", ["x"], ["y"]), {}, (2, 4), "reads fewer than two operands"),
    (op("Gemm", ["x", "w"], ["y"]), {"w": normal(1, 4, 3)}, (1, 2, 4), "both must have two dimensions"),
    (op("Gemm", ["x", "w", "c"], ["y"]), {"w": normal(1, 4, 3), "c": normal(2, 4)}, (2, 4), "C of 4 does not go onto 2 × 3"),
    (op("Conv", ["x", "w"], ["y"]), {"w": normal(1, 2, 3, 2, 2)}, (1, 2, 4, 4), "2 channels, filters of 2 × 3 × 2 × 2 and 1"),
    (op("Conv", ["x", "w"], ["y"], group=0), {"w": normal(1, 2, 2, 2, 2)}, (1, 2, 4, 4), "and 0 groups do not go together"),
    (op("Conv", ["x", "w"], ["y"], strides=[0, 1]), {"w": normal(1, 2, 2, 2, 2)}, (1, 2, 4, 4), "must be at least 1"),
    (op("Conv", ["x", "w"], ["y"], pads=[1, 1]), {"w": normal(1, 2, 2, 2, 2)}, (1, 2, 4, 4), "are not those of 2 axes"),
    (op("Conv", ["x", "w"], ["y"]), {"w": normal(1, 2, 2, 5, 2)}, (1, 2, 4, 4), r"its filters \(5 × 2\) are larger"),
    (op("Conv", ["x", "w"], ["y"], auto_pad="SAME"), {"w": normal(1, 2, 2, 2, 2)}, (1, 2, 4, 4), "auto_pad 'SAME' is unknown"),
    (op("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3]), {"w": normal(1, 2, 2, 2, 2)}, (1, 2, 4, 4), "kernel_shape is 3 × 3"),
    (op("Conv", ["x", "w", "b"], ["y"]), {"w": normal(1, 2, 2, 2, 2), "b": normal(2, 3)}, (1, 2, 4, 4), "3 biases for 2 filters"),
    (op("Conv", ["x", "w"], ["y"]), {"w": normal(1, 2, 2)}, (1, 2), "is no convolution"),
]  # fmt: skip


@pytest.mark.parametrize(("node", "constants", "shape", "why"), BROKEN, ids=[entry[3][:24] for entry in BROKEN])
def test_products_that_cannot_be(make, node, constants, shape, why):
    model = make([node], constants, [("x", shape)])
    refused(InvalidModelError, rf"node that makes 'y' \({node.op_type}\): .*{why}", open_engine, model, MAC)


def test_what_onnxruntime_does_not_know(make):
    model = make(
        [op("MatMul", ["x", "w"], ["m"]), op("Frobnicate", ["m"], ["y"])], {"w": normal(1, 4, 4)}, [("x", (2, 4))]
    )
    refused((InvalidModelError, UnsupportedModelError), "onnxruntime", open_engine, model, MAC)


def test_constants_that_cannot_be_computed(make):
    nodes = [op("Gather", ["t", "far"], ["w"]), op("MatMul", ["x", "w"], ["y"])]
    model = make(nodes, {"t": normal(1, 2, 4, 3), "far": np.int64(7)}, [("x", (2, 4))])
    refused(InvalidModelError, "onnxruntime: cannot compute this", open_engine, model, MAC)


def test_tensors_that_would_fill_the_memory(make):
    nodes = [
        op("MatMul", ["x", "w"], ["m"]),
        op("Expand", ["m", "sizes"], ["e"], name="wide"),
        op("ReduceSum", ["e"], ["y"]),
    ]
    constants = {"w": normal(1, 4, 4), "sizes": np.array([1 << 20, 1 << 10, 4])}
    model = make(nodes, constants, [("x", (1, 4))])
    text = refused(
        UnsupportedModelError, "node 'wide' .Expand.: makes 1048576 × 1024 × 4 elements", open_engine, model, MAC
    )
    assert "1024 MiB are the most\n    do: choose smaller inputs" in text


def test_activations_that_would_fill_the_memory(make, monkeypatch):
    model = make([op("MatMul", ["x", "w"], ["y"], name="wide")], {"w": normal(1, 4, 4)}, [("x", ("N", 4))])
    engine = open_engine(model, MAC, shape={"x": (1, 4)})
    monkeypatch.setattr(tensor_run, "MAXIMUM_HELD", 2 << 20)
    assert engine.run({"x": np.zeros((1 << 16, 4))})["y"].shape == (1 << 16, 4)
    text = refused(
        InvalidDataError, r"node 'wide' \(MatMul\): activations of 3 MiB", engine.run, {"x": np.zeros((100_000, 4))}
    )
    assert "2 MiB are the most\n    do: give inputs of other sizes, or fewer at once" in text


def test_a_model_file_that_is_too_large(make, tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    onnx.save(make([op("MatMul", ["x", "w"], ["y"])], {"w": normal(1, 4, 4)}, [("x", (2, 4))]), path)
    monkeypatch.setattr(engine_model, "MAXIMUM_MODEL", 100)
    refused(InvalidModelError, "models of more than 0 MiB are refused", open_engine, path, MAC)
    path.write_bytes(b"no model")
    monkeypatch.undo()
    refused(InvalidModelError, "this is no ONNX model", open_engine, path, MAC)


def test_a_file_cut_anywhere_gives_an_error_of_ours(networks, tmp_path):
    content = networks["mlp"][0].SerializeToString()
    path, errors = tmp_path / "cut.onnx", 0
    for end in range(0, len(content), 7):
        path.write_bytes(content[:end])
        with pytest.raises((InvalidModelError, UnsupportedModelError, OptionError)):
            open_engine(path, MAC, shape={"x": (1, 9)})
        errors += 1
    assert errors > 50


def test_names_from_files_are_shown_printable(make):
    model = make([op("MatMul", ["x", "w"], ["y"], name="a\x1b[31m")], {"w": normal(1, 5, 3)}, [("x", (2, 4))])
    text = refused(InvalidModelError, "is no matrix product", open_engine, model, MAC)
    assert re.search(r"[\x00-\x09\x0b-\x1f]", text) is None


def test_rows_of_dictionaries_are_the_tensor_that_they_are_made_of():
    """What skl2onnx puts behind by default; other outputs, and what reads a map, stay as they are."""
    pytest.importorskip("skl2onnx")
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    rng = np.random.default_rng(2)
    rows = rng.normal(size=(60, 3)).astype(np.float32)
    fitted = MLPClassifier((4,), solver="lbfgs", random_state=0).fit(rows, np.arange(60) % 3)
    proto = to_onnx(fitted, rows[:1], target_opset=15)
    assert proto.graph.output[1].type.HasField("sequence_type")
    name = proto.graph.input[0].name
    labels, shares = open_engine(proto, shape={name: (60, 3)}).run({name: rows}).values()
    assert labels.shape == (60,)
    assert np.abs(shares - fitted.predict_proba(rows)).max() < 0.05
    with pytest.raises(UnsupportedModelError, match="an engine has nothing to do"):
        open_engine(to_onnx(LogisticRegression().fit(rows, np.arange(60) % 3), rows[:1], target_opset=15))
