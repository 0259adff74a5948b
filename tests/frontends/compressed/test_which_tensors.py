"""Which tensors are compressed and which are left alone, in models of every kind; what is refused, and in which words."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

import approxhw as ax
from approxhw.cli.main import main
from approxhw.common.errors import InvalidDataError, InvalidModelError, OptionError, OutputError, UnsupportedModelError
from approxhw.engine.matrix.api import open_engine
from approxhw.frontends.compressed import compress_model as compressed_onnx
from approxhw.ir.text import print_graph

node = helper.make_node


def weight(*shape, seed=1, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def reasons(made):
    return {entry.name: entry.why for entry in made.left}


@pytest.fixture
def mlp(make):
    """4 inputs, 80 hidden neurons, 5 classes."""
    nodes = [
        node("Gemm", ["x", "w0", "b0"], ["s"]),
        node("Relu", ["s"], ["h"]),
        node("Gemm", ["h", "w1", "b1"], ["y"]),
    ]
    constants = {"w0": weight(4, 80), "b0": weight(80), "w1": weight(80, 5), "b1": weight(5)}

    def build(**changes):
        return make(nodes, {**constants, **changes})

    return build


def test_what_is_left_alone_says_why(make):
    nodes = [node("MatMul", ["x", "w"], ["h"]), *(node("Shape", [n], [f"{n}s"]) for n in ("i", "small", "v"))]
    nodes += [node("Shape", ["bf"], ["bfs"]), node("Identity", ["h"], ["y"])]
    constants = {"w": weight(4, 100), "i": np.ones((20, 20), np.int8), "small": weight(3, 4), "v": weight(500)}
    model = make(nodes, constants)
    model.graph.initializer.append(helper.make_tensor("bf", TensorProto.BFLOAT16, [20, 20], [1.0] * 400))
    made = ax.compress_model(model)
    assert [tensor.name for tensor in made.tensors] == ["w"]
    assert reasons(made) == {
        "i": "int8 is no float16, float32 or float64",
        "small": "fewer than 256 elements",
        "v": "1 dimension",
        "bf": "bfloat16 is no float16, float32 or float64",
    }
    assert {entry.name: entry.elements for entry in made.left} == {"i": 400, "small": 12, "v": 500, "bf": 400}
    assert made.as_json()["left"][0] == {"name": "i", "elements": 400, "why": "int8 is no float16, float32 or float64"}


def test_keep_leaves_a_tensor_alone(mlp):
    made = ax.compress_model(mlp(), keep=["w0"])
    assert [tensor.name for tensor in made.tensors] == ["w1"]
    assert reasons(made)["w0"] == "kept as asked"
    with pytest.raises(OptionError, match="2 problems") as caught:
        ax.compress_model(mlp(), keep=["w10", "nothing like it"])
    assert "keep: the model has no tensor 'w10'; did you mean 'w" in str(caught.value)
    assert "keep: the model has no tensor 'nothing like it'; there are b0, b1, w0, w1" in str(caught.value)


def test_inputs_that_a_caller_may_replace_stay(make, run):
    nodes = [node("MatMul", ["x", "w0"], ["h"]), node("MatMul", ["h", "w1"], ["y"])]
    constants = {"w0": weight(4, 80), "w1": weight(80, 5)}
    ports = [("x", (None, 4)), ("w1", (80, 5))]
    made = ax.compress_model(make(nodes, constants, ports))
    assert reasons(made) == {"w1": "an input, too, that a caller may replace"}
    assert made.notes == ()
    other = weight(80, 5, seed=9)
    feeds = {"x": weight(3, 4), "w1": other}
    assert np.array_equal(run(made.proto, feeds)[0], run(made.decoded(), feeds)[0])
    # before IR version 4 every initialiser stood among the inputs
    old = ax.compress_model(make(nodes, constants, [*ports, ("w0", (4, 80))], opset=9, ir=3))
    assert [tensor.name for tensor in old.tensors] == ["w0", "w1"]
    assert old.notes == ("IR version 3 raised to 4: compressed weights are no inputs any more",)
    assert [value.name for value in old.proto.graph.input] == ["x"]
    assert old.proto.ir_version == 4
    onnx.checker.check_model(old.proto, full_check=True)
    assert np.array_equal(run(old.proto, {"x": weight(3, 4)})[0], run(old.decoded(), {"x": weight(3, 4)})[0])


def test_constants_are_weights_and_branches_are_left(make, run):
    inner = [node("MatMul", ["x", "outside"], ["t"]), node("MatMul", ["x", "inside"], ["u"])]
    inner.append(node("Add", ["t", "u"], ["made"]))
    other = [node("MatMul", ["x", "outside"], ["other"])]
    out = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 70]) for name in ("made", "other")]
    branch = helper.make_graph(inner, "then", [], out[:1], [numpy_helper.from_array(weight(4, 70, seed=2), "inside")])
    nodes = [
        node("Constant", [], ["outside"], value=numpy_helper.from_array(weight(4, 70), "any")),
        node("ReduceSum", ["x"], ["total"], keepdims=0),
        node("Greater", ["total", "zero"], ["positive"]),
        node("If", ["positive"], ["y"], then_branch=branch, else_branch=helper.make_graph(other, "else", [], out[1:])),
    ]
    made = ax.compress_model(make(nodes, {"zero": np.float32(0)}))
    onnx.checker.check_model(made.proto, full_check=True)
    assert [tensor.name for tensor in made.tensors] == ["outside"]
    assert reasons(made)["inside"] == "inside of a branch or loop of node that makes 'y'"
    assert not any(entry.op_type == "Constant" for entry in made.proto.graph.node)
    for rows in (np.ones((3, 4), np.float32), -np.ones((3, 4), np.float32)):
        assert np.array_equal(run(made.proto, {"x": rows})[0], run(made.decoded(), {"x": rows})[0])


def test_names_that_are_taken(make, shown_by):
    nodes = [node("MatMul", ["x", "w"], ["w/codes"]), node("MatMul", ["w/codes", "approxhw/dynamic8"], ["w/index"])]
    nodes.append(node("Identity", ["w/index"], ["y"], name="w"))
    model = make(nodes, {"w": weight(4, 80), "approxhw/dynamic8": weight(80, 30)})
    made = ax.compress_model(model, "dynamic8,block=64")
    onnx.checker.check_model(made.proto, full_check=True)
    seen = shown_by(made, {"x": weight(3, 4)})
    assert sorted(seen) == ["approxhw/dynamic8", "w"]
    assert [entry.name for entry in made.proto.graph.node if entry.name] == ["approxhw/dynamic8", "w"]
    assert all(np.array_equal(seen[tensor.name], tensor.decode()) for tensor in made.tensors)


def test_quantised_models_keep_their_integers(make):
    nodes = [
        node("DequantizeLinear", ["q", "scale"], ["w"]),
        node("MatMul", ["x", "w"], ["h"]),
        node("MatMul", ["h", "float"], ["y"]),
    ]
    constants = {"q": np.ones((4, 90), np.int8), "scale": np.float32(0.5), "float": weight(90, 5)}
    made = ax.compress_model(make(nodes, constants))
    assert [tensor.name for tensor in made.tensors] == ["float"]
    assert reasons(made) == {"q": "int8 is no float16, float32 or float64", "scale": "0 dimensions"}
    with pytest.raises(UnsupportedModelError) as caught:
        ax.compress_model(
            make([*nodes[:1], node("MatMul", ["x", "w"], ["y"])], {k: constants[k] for k in ("q", "scale")})
        )
    assert str(caught.value) == (
        "graph: 1 problem\n"
        "  model: no float tensor of at least 256 elements and two dimensions: there is nothing to compress (left: 1 × int8 "
        "is no float16, float32 or float64; 1 × 0 dimensions)\n"
        "    do: compress a float model"
    )


def test_external_data_comes_into_the_file(mlp, tmp_path, run):
    model, rows = mlp(), {"x": weight(7, 4)}
    wanted = run(ax.compress_model(model).proto, rows)[0]
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=100)
    assert (tmp_path / "m.onnx").stat().st_size < 1500
    made = ax.compress_model(tmp_path / "m.onnx", output=tmp_path / "alone" / "small.onnx")
    assert made.bytes_before > 720 * 4
    alone = onnx.load(tmp_path / "alone" / "small.onnx", load_external_data=False)
    assert not any(tensor.external_data for tensor in alone.graph.initializer)
    assert np.array_equal(run(alone, rows)[0], wanted)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats_are_cast_back(make, run, dtype):
    kind = int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    model = make([node("MatMul", ["x", "w"], ["y"])], {"w": weight(4, 80, dtype=dtype)}, kind=kind)
    made = ax.compress_model(model, "dynamic8,block=64")
    (tensor,) = made.tensors
    assert tensor.dtype == np.dtype(dtype).name
    assert tensor.ratio == pytest.approx(np.dtype(dtype).itemsize * 8 / 8.5)
    rows = {"x": weight(3, 4, dtype=dtype)}
    seen, plain = run(made.proto, rows)[0], run(made.decoded(), rows)[0]
    assert seen.dtype == dtype
    assert np.array_equal(seen, plain)


def test_the_frontend_reads_them_back(mlp):
    made = ax.compress_model(mlp(), "dynamic8,block=64", minimum_elements=1)
    assert ax.check(made.proto) == []
    read, plain = (print_graph(ax.read(proto, name="m")) for proto in (made.proto, made.decoded()))
    assert read == plain
    assert read != print_graph(ax.read(mlp(), name="m"))


def test_the_frontend_reads_large_tensors(make):
    model = make(
        [node("Gemm", ["x", "w0"], ["h"]), node("Gemm", ["h", "w1"], ["y"])],
        {"w0": weight(400, 200), "w1": weight(200, 3)},
        [("x", (None, 400))],
    )
    made = ax.compress_model(model)
    assert made.tensors[0].elements > 1 << 16, "times 256 entries of the table that is more than a constant may have"
    assert ax.check(made.proto) == []


def test_the_matrix_engine_reads_them_back(mlp):
    made = ax.compress_model(mlp(), "dynamic8,block=64", minimum_elements=1)
    rows = {"x": weight(3, 4)}
    engines = [open_engine(proto, None, shape={"x": (3, 4)}) for proto in (made.proto, made.decoded())]
    assert [(layer.op, layer.weights) for layer in engines[0].layers] == [("Gemm", True)] * 2
    assert np.array_equal(*(engine.run(rows)["y"] for engine in engines))


def test_nan_and_infinity_are_refused_all_at_once(mlp):
    first, second = weight(4, 80), weight(80, 5)
    first[0, :3], second[2, 2], second[0, 0] = np.nan, np.inf, -np.inf
    with pytest.raises(InvalidDataError) as caught:
        ax.compress_model(mlp(w0=first, w1=second))
    assert str(caught.value) == (
        "graph: 2 problems\n"
        "  tensor 'w0': 3 NaN of 320 values: no 8-bit code stands for them\n"
        "    do: clean the tensor first; or leave it alone: --keep\n"
        "  tensor 'w1': 2 infinite of 400 values: no 8-bit code stands for them\n"
        "    do: clean the tensor first; or leave it alone: --keep"
    )
    assert [t.name for t in ax.compress_model(mlp(w0=first), keep=["w0"]).tensors] == ["w1"]


def test_maxima_that_a_type_cannot_hold(make):
    values = weight(4, 80, dtype=np.float16)
    values[0, 0] = 65504
    model = make([node("MatMul", ["x", "w"], ["y"])], {"w": values}, kind=TensorProto.FLOAT16)
    assert ax.compress_model(model, "dynamic8").tensors[0].decode()[0, 0] == 65504
    with pytest.raises(InvalidDataError, match="float16 cannot hold its largest value once decoded"):
        ax.compress_model(model, "dynamic8,max=pow2")
    wide = make([node("MatMul", ["x", "w"], ["y"])], {"w": np.full((4, 80), 1e300)}, kind=TensorProto.DOUBLE)
    with pytest.raises(InvalidDataError, match="320 infinite of 320 values"):
        ax.compress_model(wide)


def test_models_that_are_compressed_already(mlp, tmp_path):
    made = ax.compress_model(mlp(), output=tmp_path / "small.onnx")
    again = made.proto
    del again.metadata_props[:]  # a tool in between may drop them
    with pytest.raises(UnsupportedModelError) as caught:
        ax.compress_model(again, "linear8")
    assert "model: its weights are dynamic8 codes already\n    do: compress the model that it was made from" in str(
        caught.value
    )


def test_models_that_no_file_can_hold(mlp, tmp_path, monkeypatch):
    """The limit is 2 GiB; here it is made small."""
    model = mlp(rest=weight(1000, seed=4))
    onnx.save(model, tmp_path / "m.onnx")
    monkeypatch.setattr(compressed_onnx, "MAXIMUM_MODEL", 5000)
    with pytest.raises(UnsupportedModelError) as caught:
        ax.compress_model(model)
    assert "model: what is left has 0 MiB; a model file can have no more than 0" in str(caught.value)
    assert "do: compress more of it: --minimum-elements" in str(caught.value)
    with pytest.raises(InvalidModelError, match="the file has 0 MiB; models of more than 0 MiB are refused"):
        ax.compress_model(tmp_path / "m.onnx")


def test_wrong_options(mlp):
    for wrong in (0, -1):
        with pytest.raises(OptionError, match=r"minimum elements: .* is no number of elements"):
            ax.compress_model(mlp(), minimum_elements=wrong)
    for wrong in (True, 2.5, "many"):
        with pytest.raises(OptionError, match=r"minimum_elements: .* is not a whole number"):
            ax.compress_model(mlp(), minimum_elements=wrong)
    with pytest.raises(OptionError, match="a block has 64 to 4096 values, not 63"):
        ax.compress_model(mlp(), "dynamic8,block=63")
    with pytest.raises(UnsupportedModelError) as caught:
        ax.compress_model(mlp(), minimum_elements=500)
    assert "2 × fewer than 500 elements" in str(caught.value)
    assert "do: lower --minimum-elements" in str(caught.value)


def test_auto_chooses_a_format_for_each_tensor_within_the_budget(make, run):
    rng = np.random.default_rng(3)
    constants = {"flat": rng.uniform(-1, 1, size=(40, 100)), "wide": rng.normal(size=(100, 40)) ** 5}
    nodes = [node("MatMul", ["x", "flat"], ["h"]), node("MatMul", ["h", "wide"], ["y"])]
    model = make(nodes, {k: v.astype(np.float32) for k, v in constants.items()}, [("x", (None, 40))])
    for words, most in (("auto", 8.2), ("auto,budget=8.01", 8.01), ("auto, budget=9,max=pow2", 9.0)):
        made = ax.compress_model(model, words)
        assert sum(tensor.bits_after for tensor in made.tensors) <= most * made.elements
        assert len({tensor.format.kind for tensor in made.tensors}) == 2, (
            "uniform values suit linear8, wide ones do not"
        )
        assert {tensor.format.maximum for tensor in made.tensors} == {"pow2" if "pow2" in words else "exact"}
        onnx.checker.check_model(made.proto, full_check=True)
        rows = {"x": weight(5, 40)}
        assert np.array_equal(run(made.proto, rows)[0], run(made.decoded(), rows)[0])
        (entry,) = (entry.value for entry in made.proto.metadata_props if entry.key == "approxhw.compressed")
        assert entry.startswith(f"auto<budget={most:g}")
    fixed = ax.compress_model(model, "linear8").tensors
    auto = ax.compress_model(model, "auto").tensors
    assert sum(t.mse for t in auto) < sum(t.mse for t in fixed)


def test_wrong_options_of_auto(mlp):
    with pytest.raises(OptionError) as caught:
        ax.compress_model(mlp(), "auto,budget=7,max=fixed,block=64")
    assert str(caught.value) == (
        "compress: 3 problems\n"
        "  budget: '7' is no number of bits a value in 8…64\n"
        "    do: such as budget=8.2\n"
        "  max: 'fixed' is none\n"
        "    do: choose exact or pow2\n"
        "  block: no option of auto\n"
        "    do: there are budget=BITS and max=exact or pow2"
    )
    with pytest.raises(OptionError, match="8 bits a value are fewer than the smallest formats take"):
        ax.compress_model(mlp(), "auto,budget=8")
    broken = weight(4, 80)
    broken[1, 1] = np.nan
    with pytest.raises(InvalidDataError, match="tensor 'w0': 1 NaN of 320 values"):
        ax.compress_model(mlp(w0=broken), "auto")
    with pytest.raises(OptionError, match="format: 8 is not a text or an EightBit"):
        ax.compress_model(mlp(), 8)


def test_files_that_are_not_ours_are_never_touched(mlp, tmp_path):
    source, other = tmp_path / "m.onnx", tmp_path / "other.onnx"
    onnx.save(mlp(), source)
    other.write_bytes(source.read_bytes())
    (tmp_path / "link.onnx").symlink_to(tmp_path / "nowhere")
    text = tmp_path / "text.txt"
    text.write_text("notes")
    before = {path.name: path.read_bytes() for path in (source, other, text)}
    for path, why in (
        (source, "this is the model itself"),
        (other, "it exists and is no model that approxhw compressed"),
        (text, "it exists and is no model that approxhw compressed"),
        (tmp_path / "link.onnx", "it exists and is no model that approxhw compressed"),
        (tmp_path, "this is a folder"),
    ):
        with pytest.raises(OutputError) as caught:
            ax.compress_model(source, output=path)
        assert f"{why}\n    do: choose another name with -o" in str(caught.value)
    assert before == {path.name: path.read_bytes() for path in (source, other, text)}
    small = tmp_path / "small.onnx"
    ax.compress_model(source, output=small)
    first = small.read_bytes()
    ax.compress_model(source, "linear8", output=small)
    assert small.read_bytes() != first
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, "link.onnx", "small.onnx"])


def test_the_command_line(mlp, tmp_path):
    source, small = tmp_path / "m.onnx", tmp_path / "small.onnx"
    onnx.save(mlp(), source)
    words = ["compress", str(source), "--format", "dynamic8,block=64"]
    told = CliRunner().invoke(main, [*words, "-o", str(small)])
    assert told.exit_code == 0, told.output
    assert "weights: 720 in 2 tensors, 3.7" in told.stdout
    assert "left as they are: 2 tensors of 85 values: 1 dimension" in told.stdout
    assert f"model: {small}" in told.stdout
    assert small.is_file()
    found = json.loads(CliRunner().invoke(main, [*words, "--keep", "w1", "--json"]).stdout)
    assert found["output"] is None
    assert [row["name"] for row in found["tensors"]] == ["w0"]
    assert found["tensors"][0]["format"] == "dynamic8<block=64>"
    assert found["tensors"][0]["bits_after"] == 8 * 320 + 5 * 32
    assert found["ratio"] == pytest.approx(32 / 8.5)
    assert found["bytes_before"] == source.stat().st_size
    whole = json.loads(CliRunner().invoke(main, [*words, "-o", str(small), "--json"]).stdout)
    assert whole["output"] == str(small)
    assert whole["bytes_after"] == small.stat().st_size
    wrong = CliRunner().invoke(main, [*words, "-o", str(source)])
    assert wrong.exit_code == 8
    assert "this is the model itself" in wrong.stderr
    assert CliRunner().invoke(main, ["compress", str(source), "--format", "dynamic9"]).exit_code == 2
    assert CliRunner().invoke(main, ["compress", str(tmp_path / "none.onnx")]).exit_code == 4
