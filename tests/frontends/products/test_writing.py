"""Graphs of whole tensors back as ONNX: the checker takes them, onnxruntime runs them, what is read again is the same."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from small_networks import ROWS, network

import approxhw as ax
from approxhw.artifacts.steps import write_graph
from approxhw.cli.main import main
from approxhw.common.errors import OutputError, UnsupportedModelError
from approxhw.flow.opt import optimize_file
from approxhw.frontends.products.partition import open_model
from approxhw.frontends.products.writing import onnx_of
from approxhw.ir.kinds import Constant
from approxhw.ir.pass_manager import PassContext, run_passes
from approxhw.ir.tensor.run import walk_tensors


@pytest.fixture(scope="module")
def opened():
    return open_model(network(), {"x": ROWS.shape}, integers=True)


@pytest.fixture(scope="module")
def coded(opened):
    def observe(graph, seen):
        walk_tensors(graph, {"x": ROWS}, opened.host, None, seen)

    return run_passes(opened.graph, "quantize-model,integer-products", PassContext(observe=observe))[0]


def by_onnxruntime(model, names=()):
    """Return what onnxruntime makes unoptimised, the values of these names too."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip([value.name for value in session.get_outputs()], session.run(None, {"x": ROWS})))


def test_a_float_model_comes_back_as_it_was(opened):
    model = onnx_of(opened.graph)
    onnx.checker.check_model(model, full_check=True)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "n"
    seen, expected = by_onnxruntime(model)["y"], by_onnxruntime(network())["y"]
    assert np.abs(seen - expected).max() < 1e-5
    assert [node.name for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")] == [
        "conv1",
        "conv2",
        "fc1",
        "fc2",
    ]


def test_products_of_codes_are_those_of_onnx_until_the_dense_layers(opened, coded):
    """onnxruntime's MatMulInteger saturates sums of two products on some machines; its ConvInteger never does."""
    model = onnx_of(coded)
    onnx.checker.check_model(model, full_check=True)
    kinds = [node.op_type for node in model.graph.node]
    assert (kinds.count("ConvInteger"), kinds.count("MatMulInteger")) == (2, 2)
    values = {}
    walk_tensors(coded, {"x": ROWS}, opened.host, None, lambda node, value: values.setdefault(node.name, value))
    names = ("c1_sums", "r1_codes", "c2_sums", "f_codes")
    seen = by_onnxruntime(model, names)
    for name in names:
        assert np.abs(seen[name].astype(int) - values[name]).max() <= (1 if name.endswith("codes") else 0)


def test_what_is_read_again_is_the_same(opened, coded):
    again = open_model(onnx_of(coded), {"x": ROWS.shape}, integers=True)
    back, _ = run_passes(again.graph, "quantize-model{again=true},integer-products", PassContext())
    for kind in (np.int8, np.int32):
        held = [
            sorted(node.op.data.tobytes() for node in each.nodes if is_weight(node, kind)) for each in (coded, back)
        ]
        if kind == np.int8:
            assert held[0] == held[1]
    seen = walk_tensors(back, {"x": ROWS}, again.host, None)[back.output]
    expected = walk_tensors(coded, {"x": ROWS}, opened.host, None)[coded.output]
    assert np.abs(seen - expected).max() < 0.05
    assert (seen == expected).mean() > 0.95


def is_weight(node, kind):
    return isinstance(node.op, Constant) and node.op.data.dtype == kind and node.op.data.size > 1


def test_names_that_clash_stay_apart():
    nodes = [
        onnx.helper.make_node("Identity", ["y"], ["x_value"]),
        onnx.helper.make_node("MatMul", ["x_value", "w"], ["x"]),
        onnx.helper.make_node("Erf", ["x"], ["z"]),
    ]
    ends = [onnx.helper.make_tensor_value_info(name, 1, [2, 2]) for name in "yxz"]
    held = [onnx.numpy_helper.from_array(np.array([[1, 2], [3, 4]], np.float32), "w")]
    graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:], held)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    written = onnx_of(open_model(model).graph)
    onnx.checker.check_model(written, full_check=True)
    assert [value.name for value in written.graph.output] == ["x", "z"]
    assert (written.opset_import[0].version, written.ir_version) == (18, 9)
    rows = np.array([[1, 0], [0, 2]], np.float32)
    made = []
    for each in (model, written):
        session = onnxruntime.InferenceSession(each.SerializeToString(), providers=["CPUExecutionProvider"])
        made.append(session.run(None, {"y": rows}))
    assert all((one == other).all() for one, other in zip(*made))


def test_opt_writes_a_model_and_replaces_none_but_ours(coded, tmp_path):
    source, output = tmp_path / "coded.axir", tmp_path / "coded.onnx"
    write_graph(coded, source)
    assert optimize_file(source, output, "") == []
    first = output.read_bytes()
    assert first == onnx_of(coded).SerializeToString(deterministic=True)
    with pytest.raises(SystemExit) as left:
        main(["opt", str(source), "--passes", "approximate-multiplier{operator=truncated-4}", "-o", str(output)])
    assert left.value.code == 0
    assert output.read_bytes() == first  # a file knows exact products alone
    onnx.save(network(), output)
    with pytest.raises(OutputError, match="it exists and is no model of ours"):
        optimize_file(source, output, "")


def test_what_onnx_has_no_word_for_is_named(opened, coded, tmp_path):
    def observe(graph, seen):
        walk_tensors(graph, {"x": ROWS}, opened.host, None, seen)

    passes = "approximate-multiplier{operator=truncated-6},control-variate"
    graph, _ = run_passes(coded, passes, PassContext(observe=observe))
    with pytest.raises(UnsupportedModelError, match=r"layer 'conv1': ONNX has no control variate") as caught:
        ax.write_onnx(graph, tmp_path / "x.onnx")
    assert len(caught.value.problems) >= 3
    assert not (tmp_path / "x.onnx").exists()
