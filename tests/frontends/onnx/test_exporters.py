"""Graphs as the exporters write them: PyTorch (both), Keras through tf2onnx; shapes, batch axes, outputs, tails."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from approxhw.common.errors import InvalidModelError, UnsupportedModelError
from approxhw.frontends import read_model
from approxhw.frontends.runtime.reference import open_reference

RNG = np.random.default_rng(11)


@pytest.fixture(autouse=True)
def _same_numbers_in_every_order():
    RNG.bit_generator.state = np.random.default_rng(11).bit_generator.state


def f32(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def node(op, inputs, outputs, name=None, domain="", **attributes):
    return helper.make_node(op, inputs, outputs, name=name or "/".join((op, outputs[0])), domain=domain, **attributes)


def test_torchscript_export(build, agrees):
    """torch.onnx.export of Flatten, Linear, ReLU, Dropout, Linear in opset 13: names with slashes and dots."""
    nodes = [
        node("Flatten", ["onnx::Flatten_0"], ["/flatten/Flatten_output_0"], "/flatten/Flatten", axis=1),
        node("Gemm", ["/flatten/Flatten_output_0", "net.0.weight", "net.0.bias"], ["/net/net.0/Gemm_output_0"],
             "/net/net.0/Gemm", alpha=1.0, beta=1.0, transB=1),
        node("Relu", ["/net/net.0/Gemm_output_0"], ["/net/net.1/Relu_output_0"], "/net/net.1/Relu"),
        node("Gemm", ["/net/net.1/Relu_output_0", "net.3.weight", "net.3.bias"], ["logits"], "/net/net.3/Gemm",
             alpha=1.0, beta=1.0, transB=1),
    ]  # fmt: skip
    constants = {"net.0.weight": f32(6, 8), "net.0.bias": f32(6), "net.3.weight": f32(3, 6), "net.3.bias": f32(3)}
    inputs = (("onnx::Flatten_0", ("batch", 1, 2, 4)),)
    model = build(
        nodes, constants, inputs, (("logits", ("batch", 3)),), 13, producer_name="pytorch", title="main_graph"
    )
    graph = agrees(model)
    assert graph.name == "main_graph"
    assert graph.source == "main_graph (pytorch)"
    assert graph.input.type.shape == (1, 2, 4)
    assert [n.name for n in graph.nodes if n.kind not in ("constant", "input")] == [
        "x_flat", "layer0_sum", "layer0_relu", "layer1_sum", "class_index",
    ]  # fmt: skip
    assert graph["layer0_sum"].origin == "/net/net.0/Gemm"


def test_torchscript_view_by_the_size_of_the_batch(build, agrees):
    """x.view(x.size(0), -1): Shape, Gather, Unsqueeze, Concat, Reshape."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Constant", [], ["zero"], value=helper.make_tensor("v", TensorProto.INT64, [], [0])),
        node("Gather", ["s", "zero"], ["n"], axis=0),
        node("Constant", [], ["axes"], value_ints=[0]),
        node("Unsqueeze", ["n", "axes"], ["n1"]),
        node("Constant", [], ["rest"], value=helper.make_tensor("v", TensorProto.INT64, [1], [-1])),
        node("Concat", ["n1", "rest"], ["target"], axis=0),
        node("Reshape", ["x", "target"], ["flat"]),
        node("Gemm", ["flat", "w"], ["y"]),
    ]
    agrees(build(nodes, {"w": f32(6, 3)}, (("x", ("N", 2, 3)),)))


def test_the_batch_size_is_no_number_to_compute_with(build):
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Cast", ["s"], ["f"], to=TensorProto.FLOAT),
        node("Gather", ["f", "i"], ["n"]),
        node("Mul", ["x", "n"], ["y"], "scale_by_batch"),
    ]
    with pytest.raises(
        UnsupportedModelError, match="scale_by_batch' \\(Mul\\): the other operand depends on the batch size"
    ):
        read_model(build(nodes, {"i": np.array(0)}))


def test_dynamo_export(build, agrees):
    """torch.onnx.export(dynamo=True): node_linear names, s77 batch, transposed weights through a Transpose node."""
    nodes = [
        node("Transpose", ["net.0.weight"], ["t"], "node_t", perm=[1, 0]),
        node("MatMul", ["x", "t"], ["mm"], "node_MatMul_1"),
        node("Add", ["mm", "net.0.bias"], ["linear"], "node_linear"),
        node("Clip", ["linear", "val_0", "val_6"], ["relu6"], "node_hardtanh"),
        node("Gemm", ["relu6", "net.2.weight", "net.2.bias"], ["linear_1"], "node_linear_1", transB=1, transA=0),
        node("Softmax", ["linear_1"], ["softmax"], "node_softmax", axis=1),
    ]
    constants = {
        "net.0.weight": f32(5, 4), "net.0.bias": f32(5), "net.2.weight": f32(3, 5), "net.2.bias": f32(3),
        "val_0": np.float32(0), "val_6": np.float32(6),
    }  # fmt: skip
    graph = agrees(build(nodes, constants, (("x", ("s77", 4)),), (("softmax", ("s77", 3)),), 18, 10))
    assert [n.name for n in graph.nodes if n.kind != "constant"] == [
        "x", "layer0_sum", "layer0_clip", "layer1_sum", "class_index",
    ]  # fmt: skip


def test_keras_export_through_tf2onnx(build, agrees):
    """tf2onnx: names with slashes and colons, MatMul and BiasAdd, batch unk__8, Softmax at the end."""
    p = "StatefulPartitionedCall/sequential/dense"
    nodes = [
        node("MatMul", ["input_1", f"{p}/MatMul/ReadVariableOp:0"], [f"{p}/MatMul:0"], f"{p}/MatMul"),
        node("Add", [f"{p}/MatMul:0", f"{p}/BiasAdd/ReadVariableOp:0"], [f"{p}/BiasAdd:0"], f"{p}/BiasAdd"),
        node("Relu", [f"{p}/BiasAdd:0"], [f"{p}/Relu:0"], f"{p}/Relu"),
        node("MatMul", [f"{p}/Relu:0", f"{p}_1/MatMul/ReadVariableOp:0"], [f"{p}_1/MatMul:0"], f"{p}_1/MatMul"),
        node("Add", [f"{p}_1/MatMul:0", f"{p}_1/BiasAdd/ReadVariableOp:0"], [f"{p}_1/BiasAdd:0"], f"{p}_1/BiasAdd"),
        node("Softmax", [f"{p}_1/BiasAdd:0"], ["dense_1"], f"{p}_1/Softmax"),
    ]
    constants = {
        f"{p}/MatMul/ReadVariableOp:0": f32(4, 6), f"{p}/BiasAdd/ReadVariableOp:0": f32(6),
        f"{p}_1/MatMul/ReadVariableOp:0": f32(6, 3), f"{p}_1/BiasAdd/ReadVariableOp:0": f32(3),
    }  # fmt: skip
    inputs, outputs = (("input_1", ("unk__8", 4)),), (("dense_1", ("unk__9", 3)),)
    for opset in (9, 12, 15):
        graph = agrees(build(nodes, constants, inputs, outputs, opset, title="tf2onnx"))
        assert graph["layer0_sum"].origin == f"{p}/MatMul"


def test_keras_binary_head(build, agrees):
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("Add", ["m", "b"], ["z"]), node("Sigmoid", ["z"], ["p"])]
    graph = agrees(build(nodes, {"w": f32(4, 1), "b": f32(1)}, outputs=(("p", ("N", 1)),)))
    assert graph[graph.output].kind == "threshold"
    assert graph[graph.output].op.threshold == 0


@pytest.mark.parametrize("batch", [1, 7, 0, -1, "N", None])
def test_batch_axes_of_every_kind(batch, build, agrees):
    model = build([node("Gemm", ["x", "w"], ["y"])], {"w": f32(4, 3)}, (("x", ("N", 4)),))
    dim = model.graph.input[0].type.tensor_type.shape.dim[0]
    dim.Clear()
    if isinstance(batch, str):
        dim.dim_param = batch
    elif batch is not None:
        dim.dim_value = batch
    if batch in (0, -1):  # onnxruntime takes neither: reading them is what matters
        assert read_model(model).input.type.shape == (4,)
    else:
        agrees(model, count=20)


def test_a_model_without_a_batch_axis(build, agrees):
    agrees(build([node("MatMul", ["x", "w"], ["y"])], {"w": f32(4, 3)}, (("x", (4,)),)), count=20)


def test_a_fixed_batch_of_one_may_be_squeezed_and_reshaped(build, agrees):
    nodes = [
        node("Reshape", ["x", "four"], ["r"]),
        node("Unsqueeze", ["r", "zero"], ["u"]),
        node("Gemm", ["u", "w"], ["g"]),
        node("Squeeze", ["g", "zero"], ["y"]),
    ]
    agrees(build(nodes, {"four": np.array([4]), "zero": np.array([0]), "w": f32(4, 3)}, (("x", (1, 4)),)), count=20)


def test_a_reshape_that_mixes_rows_is_refused(build):
    model = build([node("Reshape", ["x", "s"], ["y"], "mix")], {"s": np.array([2, -1])})
    with pytest.raises(UnsupportedModelError, match=r"'mix' \(Reshape\): makes shape .*mixes the batch axis") as error:
        read_model(model)
    assert "export with a dynamic batch axis" in str(error.value)


def test_float64_models_and_initializers_listed_as_inputs(build, agrees):
    weights = {"w": RNG.normal(size=(4, 3)), "c": RNG.normal(size=3)}
    model = build([node("Gemm", ["x", "w", "c"], ["y"])], weights, (("x", ("N", 4), TensorProto.DOUBLE),),
                  (("y", None, TensorProto.DOUBLE),), opset=9, ir=3)  # fmt: skip
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.DOUBLE, (4, 3)))
    assert agrees(model).input.type.shape == (4,)


def test_every_form_of_constant_node(build, agrees):
    nodes = [
        node("Constant", [], ["a"], value_float=2.0),
        node("Constant", [], ["b"], value_floats=[1.0, 2.0, 3.0, 4.0]),
        node("Constant", [], ["c"], value_int=1),
        node("Constant", [], ["shape"], value_ints=[-1, 4]),
        node("Constant", [], ["w"], value=helper.make_tensor("v", TensorProto.FLOAT, [4, 3], f32(4, 3).ravel())),
        node("Cast", ["c"], ["cf"], to=TensorProto.FLOAT),
        node("Add", ["a", "cf"], ["three"]),
        node("Mul", ["x", "b"], ["m"]),
        node("Div", ["m", "three"], ["d"]),
        node("Reshape", ["d", "shape"], ["r"]),
        node("MatMul", ["r", "w"], ["y"]),
    ]
    agrees(build(nodes))


def test_inputs_of_one_column_each_become_titled_features(build, agrees):
    nodes = [node("Concat", ["width (cm)", "height", "*/ evil"], ["x"], axis=1), node("Gemm", ["x", "w"], ["y"])]
    inputs = (("height", ("N", 1)), ("width (cm)", ("N", 1)), ("*/ evil", ("N", 1)))
    graph = agrees(build(nodes, {"w": f32(3, 3)}, inputs))
    assert graph.input.op.titles == ("height", "width (cm)", "*/ evil")
    assert graph.input.op.features == ("height", "width_cm", "evil")


def test_columns_picked_scaled_and_joined_are_absorbed_by_the_first_layer(build, agrees):
    nodes = [
        node("Gather", ["x", "i"], ["a"], axis=1),
        node("Sub", ["a", "c"], ["b"]),
        node("Slice", ["x", "one", "three", "one"], ["s"]),
        node("Concat", ["s", "b"], ["j"], axis=1),
        node("Gemm", ["j", "w"], ["y"]),
    ]
    constants = {"i": np.array([3, 0]), "c": f32(2), "one": np.array([1]), "three": np.array([3]), "w": f32(4, 3)}
    graph = agrees(build(nodes, constants))
    assert [n.kind for n in graph.nodes if n.kind != "constant"] == ["input", "dense", "argmax"]


def test_picking_hidden_elements_is_refused(build):
    nodes = [node("Gemm", ["x", "w"], ["g"]), node("Gather", ["g", "i"], ["y"], "pick", axis=1)]
    with pytest.raises(
        UnsupportedModelError, match="'pick' \\(Gather\\): picks or reorders elements of a hidden layer"
    ):
        read_model(build(nodes, {"w": f32(4, 3), "i": np.array([1, 0])}))


@pytest.mark.parametrize("order", [(1, 2, 0), (2, 0, 1), (1, 0, 2), (2, 1, 0)])
def test_a_batch_axis_that_does_not_stand_in_front_at_the_end(order, build, agrees):
    nodes = [node("Gemm", ["x", "w"], ["g"]), node("Unsqueeze", ["g", "one"], ["u"])]
    nodes.append(node("Transpose", ["u"], ["y"], perm=list(order)))
    agrees(build(nodes, {"w": f32(4, 3), "one": np.array([1])}))


@pytest.mark.parametrize(
    ("op", "axes"), [("Squeeze", [2]), ("Squeeze", [1, -1]), ("Unsqueeze", [5]), ("Unsqueeze", [0, 0])]
)
def test_axes_that_do_not_exist_are_invalid(op, axes, build):
    model = build([node(op, ["x", "a"], ["y"], "shape")], {"a": np.array(axes)}, (("x", (1, 1)),))
    with pytest.raises(InvalidModelError, match=r"'shape' .*its axes .* are not different axes of a tensor of rank"):
        read_model(model)


def test_a_constant_that_enlarges_a_row_is_refused(build):
    model = build([node("Add", ["x", "c"], ["y"], "outer")], {"c": f32(4, 1)}, (("x", (4,)),))
    with pytest.raises(UnsupportedModelError, match=r"'outer' .*varies along the batch axis or enlarges rows"):
        read_model(model)


def test_permuted_images(build, agrees):
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        node("Flatten", ["t"], ["f"]),
        node("Gemm", ["f", "w"], ["y"]),
    ]
    agrees(build(nodes, {"w": f32(12, 3)}, (("x", ("N", 2, 3, 2)),)))


@pytest.mark.parametrize(("opset", "axis"), [(13, -1), (13, 1), (11, 1), (13, None), (11, None)])
@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_softmax_over_the_classes_is_dropped(op, opset, axis, build, agrees):
    attributes = {} if axis is None else {"axis": axis}
    nodes = [
        node("Gemm", ["x", "w"], ["g"]),
        node(op, ["g"], ["p"], **attributes),
        node("ArgMax", ["p"], ["y"], axis=-1),
    ]
    graph = agrees(build(nodes, {"w": f32(4, 3)}, outputs=(("y", None, TensorProto.INT64),), opset=opset))
    assert graph[graph.output].inputs == ("layer0_sum",)


def test_softmax_over_the_batch_is_refused(build):
    nodes = [node("Softmax", ["x"], ["y"], "wrong", axis=0)]
    with pytest.raises(UnsupportedModelError, match="'wrong' \\(Softmax\\): axis 0 is not the class axis"):
        read_model(build(nodes))


def test_softmax_in_the_middle_is_refused(build):
    nodes = [node("Softmax", ["x"], ["p"]), node("Gemm", ["p", "w"], ["y"], "next")]
    with pytest.raises(
        UnsupportedModelError, match="node 'Softmax/p' \\(Softmax\\): its result goes on into node 'next'"
    ):
        read_model(build(nodes, {"w": f32(4, 3)}))


def test_softmax_of_old_opsets_over_a_part_of_a_row_is_refused(build):
    model = build([node("Softmax", ["x"], ["y"], "part", axis=2)], None, (("x", ("N", 2, 3)),), opset=11)
    with pytest.raises(
        UnsupportedModelError, match=r"'part' \(Softmax\): axis 2 is not the class axis of rows of shape"
    ):
        read_model(model)


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC"])
@pytest.mark.parametrize("rows", [2, 3])
def test_linear_classifiers_with_independent_rows(rows, transform, build, agrees):
    nodes = [
        node("LinearClassifier", ["x"], ["label", "p"], domain="ai.onnx.ml", classlabels_ints=list(range(5, 5 + rows)),
             coefficients=f32(rows * 4).tolist(), intercepts=f32(rows).tolist(), post_transform=transform)
    ]  # fmt: skip
    graph = agrees(build(nodes, outputs=(("label", None, TensorProto.INT64), ("p", None))), scale=0.5)
    assert graph[graph.output].kind == "argmax"
    assert graph.labels == tuple(range(5, 5 + rows))


def test_a_pair_of_z_and_minus_z_is_a_threshold_and_other_pairs_are_not(build, agrees):
    def pair(factor):
        nodes = [
            node("Gemm", ["x", "w"], ["z"]),
            node("Mul", ["z", "f"], ["n"]),
            node("Concat", ["n", "z"], ["y"], "join", axis=1),
        ]
        return build(nodes, {"w": f32(4, 1), "f": np.float32([factor])})

    graph = agrees(pair(-1.0))
    assert graph[graph.output].kind == "threshold"
    graph = agrees(pair(0.5))
    assert graph[graph.output].kind == "argmax"


def test_argmax_over_the_batch_is_refused(build):
    model = build([node("ArgMax", ["x"], ["y"], "am")], outputs=(("y", None, TensorProto.INT64),))
    with pytest.raises(UnsupportedModelError, match=r"'am' \(ArgMax\): axis 0 is not the class axis .*\n.*use axis=1"):
        read_model(model)


@pytest.mark.parametrize("op", ["Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
@pytest.mark.parametrize("form", ["logit", "sigmoid", "swapped"])
def test_comparisons_of_a_single_logit(op, form, build, agrees):
    z = "p" if form == "sigmoid" else "z"
    bound = 0.7 if form == "sigmoid" else 0.25
    nodes = [
        node("Gemm", ["x", "w"], ["z"]),
        *([node("Sigmoid", ["z"], ["p"])] if form == "sigmoid" else []),
        node(op, ["c", z] if form == "swapped" else [z, "c"], ["d"]),
        node("Cast", ["d"], ["y"], to=TensorProto.INT64),
    ]
    weight = np.array([[1.0], [0.5], [0.25], [0.125]], np.float32)
    model = build(nodes, {"w": weight, "c": np.float32(bound)}, outputs=(("y", None, TensorProto.INT64),))
    ties = np.zeros((3, 4), np.float32)
    ties[:, 0] = (0.25, 0.250001, 0.249999)
    rows = np.concatenate([RNG.normal(size=(300, 4)).astype(np.float32), ties if form != "sigmoid" else ties + 1])
    graph = read_model(model)
    np.testing.assert_array_equal(open_reference(model).predict(rows), _classes(graph, rows))


def _classes(graph, rows):
    from approxhw.ir.interpreter import run

    return run(graph, rows.astype(np.float64))


def test_label_tables_of_text_through_gather(build, agrees):
    nodes = [
        node("Gemm", ["x", "w"], ["g"]),
        node("ArgMax", ["g"], ["i"], axis=1, keepdims=0),
        node("Gather", ["labels", "i"], ["y"]),
    ]
    model = build(nodes, {"w": f32(4, 3), "labels": np.array([b"low", b"mid", b"high"], dtype=object)},
                  outputs=(("y", None, TensorProto.STRING),))  # fmt: skip
    assert agrees(model).labels == ("low", "mid", "high")


def test_label_encoder_behind_argmax(build, agrees):
    nodes = [
        node("Gemm", ["x", "w"], ["g"]),
        node("ArgMax", ["g"], ["i"], axis=1, keepdims=0),
        node("LabelEncoder", ["i"], ["y"], domain="ai.onnx.ml", keys_int64s=[2, 1, 0], values_int64s=[30, 20, 10]),
    ]
    graph = agrees(build(nodes, {"w": f32(4, 3)}, outputs=(("y", None, TensorProto.INT64),)))
    assert graph.labels == (10, 20, 30)


def test_labels_that_do_not_match_the_classes_are_invalid(build):
    nodes = [
        node("Gemm", ["x", "w"], ["g"]),
        node("ArgMax", ["g"], ["i"], axis=1, keepdims=0),
        node("Gather", ["labels", "i"], ["y"]),
    ]
    model = build(nodes, {"w": f32(4, 3), "labels": np.array([1, 2])}, outputs=(("y", None, TensorProto.INT64),))
    with pytest.raises(InvalidModelError, match="class labels: 2 class labels for 3 classes"):
        read_model(model)


def test_logits_and_their_softmax_as_two_outputs(build, agrees):
    nodes = [node("Gemm", ["x", "w"], ["y"]), node("Softmax", ["y"], ["p"])]
    agrees(build(nodes, {"w": f32(4, 3)}, outputs=(("y", None), ("p", None))))


def test_unrelated_outputs_are_refused(build):
    nodes = [node("Gemm", ["x", "w"], ["y"]), node("Gemm", ["x", "v"], ["extra"])]
    model = build(nodes, {"w": f32(4, 3), "v": f32(4, 2)}, outputs=(("y", None), ("extra", None)))
    with pytest.raises(
        UnsupportedModelError, match=r"2 outputs that are not forms of the same scores .'y', 'extra'."
    ) as error:
        read_model(model)
    assert "keep one class output" in str(error.value)


def test_local_functions_and_control_flow_are_refused_by_name(build):
    body = helper.make_graph([], "b", [], [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)])
    nodes = [
        helper.make_node("Twice", ["x"], ["a"], name="call", domain="local"),
        helper.make_node("If", ["c"], ["b"], name="branch", then_branch=body, else_branch=body),
        helper.make_node("Add", ["a", "b"], ["y"], name="join"),
    ]
    model = build(nodes, {"c": np.array(True)}, domains=("", "local"))
    function = helper.make_function(
        "local", "Twice", ["x"], ["y"], [helper.make_node("Add", ["x", "x"], ["y"])], [helper.make_opsetid("", 17)]
    )
    model.functions.append(function)
    with pytest.raises(UnsupportedModelError) as error:
        read_model(model)
    assert "node 'call' (Twice): calls a function of the model's own" in str(error.value)
    assert "inline_local_functions" in str(error.value)
    assert "node 'branch' (If): operator If is not supported" in str(error.value)
