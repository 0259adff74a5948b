"""Operators of ONNX in PyTorch compute what they do in onnxruntime, each of them, and say which ways they do not know."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from approxhw.frontends.products.partition import open_model
from approxhw.frontends.runtime.sessions import open_session
from approxhw.ir.kinds.tensor.ops import Conv, ConvTranspose, Gemm

X = np.random.default_rng(6).normal(size=(3, 2, 6, 5)).astype(np.float32)
UNIT = np.tanh(X)
ABOVE = np.abs(X) + 0.1
WHOLE = (np.arange(24).reshape(2, 3, 4) % 7).astype(np.int64)
BOTH = np.stack([X, -X]) > 0.3


def whole(*numbers):
    return np.array(numbers, np.int64)


def real(*numbers):
    return np.array(numbers, np.float32)


def one(number):
    return np.array(number, np.int64)


SPREAD = real(2, -3).reshape(2, 1, 1)
NORM = [real(1.5, 2), real(3, -1), real(0.5, 1), real(4, 1)]

CASES = [
    *[
        (name, {}, [X])
        for name in ("Abs", "Atan", "Asinh", "Ceil", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid")
    ],
    *[
        (name, {}, [X])
        for name in ("HardSwish", "Identity", "IsNaN", "LeakyRelu", "LogSoftmax", "Mish", "Neg", "Reciprocal")
    ],
    *[
        (name, {}, [X])
        for name in ("Relu", "Round", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Cosh", "Tan")
    ],
    *[
        (name, {}, [X])
        for name in ("Tanh", "Celu", "IsInf", "Shape", "Size", "Softmax", "Flatten", "Transpose", "Dropout")
    ],
    *[(name, {}, [UNIT]) for name in ("Acos", "Asin", "Atanh")],
    *[(name, {}, [ABOVE]) for name in ("Log", "Sqrt")],
    ("Acosh", {}, [ABOVE + 1]),
    ("Swish", {"alpha": 0.5}, [X]),
    ("Gelu", {"approximate": "tanh"}, [X]),
    ("LeakyRelu", {"alpha": 0.3}, [X]),
    *[(name, {}, [X, SPREAD]) for name in ("Add", "Sub", "Mul", "Div", "PRelu", "Max", "Min", "Sum", "Mean")],
    ("Pow", {}, [ABOVE, real(2.5)]),
    ("Div", {}, [WHOLE - 3, whole(2)]),
    ("Mod", {}, [WHOLE - 3, whole(3)]),
    ("Mod", {"fmod": 1}, [X, real(0.7)]),
    *[(name, {}, [X, SPREAD]) for name in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")],
    *[(name, {}, [BOTH[0], BOTH[1]]) for name in ("And", "Or", "Xor")],
    ("Not", {}, [BOTH[0]]),
    ("Where", {}, [BOTH[0], X, SPREAD]),
    ("Cast", {"to": 7}, [X]),
    ("Cast", {"to": 9}, [WHOLE]),
    ("Clip", {}, [X, real(-0.5).reshape(()), real(0.5).reshape(())]),
    ("Clip", {}, [X, real(-0.5).reshape(())]),
    ("Concat", {"axis": 1}, [X, X[:, :1]]),
    ("ConstantOfShape", {"value": numpy_helper.from_array(real(1.5))}, [whole(2, 3)]),
    ("CumSum", {}, [X, one(1)]),
    ("Expand", {}, [SPREAD, whole(3, 1, 1, 4)]),
    ("Flatten", {"axis": 2}, [X]),
    ("Gather", {"axis": 1}, [X, whole(1, -1, 0)]),
    ("Gather", {}, [whole(3, 4, 5), one(-1)]),
    ("Gather", {"axis": 2}, [X, WHOLE[0] % 5]),
    ("GatherElements", {"axis": 3}, [X, np.broadcast_to(whole(4, -2, 0), (3, 2, 6, 3)).copy()]),
    ("Pad", {}, [X, whole(0, 0, 1, 2, 0, 1, 0, 3), real(0.5).reshape(())]),
    ("Pad", {"mode": "reflect"}, [X, whole(0, 0, 1, 2, 0, 0, 0, 1)]),
    ("Pad", {"mode": "edge"}, [X, whole(0, 0, 1, 2, 0, 0, 0, 1)]),
    ("Range", {}, [one(2), one(11), one(3)]),
    ("Reshape", {}, [X, whole(0, -1, 5)]),
    ("Shape", {"start": 1, "end": 3}, [X]),
    ("Slice", {}, [X, whole(1, -4), whole(2, 6), whole(1, 2)]),
    ("Slice", {}, [X, whole(5, 4), whole(0, -(1 << 40)), whole(2, 3), whole(-2, -1)]),
    ("Slice", {}, [X, whole(1), whole(1 << 40)]),
    ("Split", {"axis": 2}, [X, whole(1, 2, 3)]),
    ("Split", {"axis": 2}, [X]),
    ("Squeeze", {}, [X[:, :1]]),
    ("Squeeze", {}, [X[:1, :1], whole(1)]),
    ("Tile", {}, [X, whole(1, 2, 1, 3)]),
    ("Transpose", {"perm": [0, 2, 3, 1]}, [X]),
    ("Trilu", {"upper": 0}, [X]),
    ("Trilu", {}, [X, one(1)]),
    ("Unsqueeze", {}, [X, whole(0, -1)]),
    ("ArgMax", {"axis": 2, "keepdims": 0}, [X]),
    ("ArgMin", {"axis": 1}, [X]),
    ("AveragePool", {"kernel_shape": [2, 3], "strides": [1, 2], "pads": [1, 0, 0, 2]}, [X]),
    ("AveragePool", {"kernel_shape": [2, 2], "pads": [1, 1, 0, 0], "count_include_pad": 1}, [X]),
    ("BatchNormalization", {"epsilon": 0.1}, [X, *NORM]),
    ("Einsum", {"equation": "abcd,adce->abe"}, [X, X.transpose(0, 3, 2, 1).copy()]),
    ("GlobalAveragePool", {}, [X]),
    ("GlobalMaxPool", {}, [X]),
    ("InstanceNormalization", {}, [X, *NORM[:2]]),
    ("LayerNormalization", {"axis": -1}, [X, np.arange(5, dtype=np.float32), np.ones(5, np.float32)]),
    ("LayerNormalization", {"axis": 2, "epsilon": 0.1}, [X, X[0, 0]]),
    ("LogSoftmax", {"axis": 1}, [X]),
    ("MatMul", {}, [X, np.swapaxes(X, 2, 3).copy()]),
    ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0, 1, 1, 1], "dilations": [2, 1]}, [X]),
    *[
        (name, {"keepdims": 0}, [X, whole(-1, 1)])
        for name in ("ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd")
    ],
    ("ReduceSum", {}, [X]),
    ("ReduceSumSquare", {}, [X, whole(2)]),
    ("Softmax", {"axis": 1}, [X]),
    ("TopK", {"axis": 2}, [X, whole(3)]),
]


def _model(kind, attributes, given, results, opset=20):
    names = [f"x{i}" for i in range(len(given))]
    node = helper.make_node(kind, names, [f"y{i}" for i in range(results)], **attributes)
    kinds = [helper.np_dtype_to_tensor_dtype(each.dtype) for each in given]
    inputs = [helper.make_tensor_value_info(*each) for each in zip(names, kinds, [each.shape for each in given])]
    graph = helper.make_graph([node], "one", inputs, [onnx.ValueInfoProto(name=name) for name in node.output])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9), node


def _same(pytorch, kind, attributes, given, opset=20):
    from approxhw.passes.finetune.operators.library import RESULTS
    from approxhw.passes.finetune.operators.table import TRANSLATED
    from approxhw.passes.retrain._host_nodes import attributes_of
    from approxhw.passes.structure.ground.operators import OPSET

    results = {"Split": 3, "TopK": 2}.get(kind, 1)
    attributes = {**attributes, "num_outputs": 3} if kind == "Split" and len(given) == 1 else attributes
    opset = 24 if kind == "Swish" else opset
    proto, node = _model(kind, attributes, given, results, opset)
    expected = open_session(proto, "one").run(None, {f"x{i}": each for i, each in enumerate(given)})
    read = {**attributes_of(node), RESULTS: results, OPSET: opset}
    made = TRANSLATED[kind]([pytorch.from_numpy(each) for each in given], read)
    made = made if isinstance(made, list) else [made]
    assert len(made) == len(expected) == results
    for seen, meant in zip(made, expected, strict=True):
        assert tuple(seen.shape) == meant.shape
        assert np.allclose(seen.numpy(), meant, rtol=1e-5, atol=1e-5)
        assert seen.numpy().dtype == meant.dtype


@pytest.mark.parametrize(("kind", "attributes", "given"), CASES, ids=[f"{i}-{case[0]}" for i, case in enumerate(CASES)])
def test_an_operator_is_the_one_of_onnx(pytorch, kind, attributes, given):
    _same(pytorch, kind, attributes, given)


def test_no_operator_of_the_table_is_untested():
    from approxhw.passes.finetune.operators.table import TRANSLATED

    assert set(TRANSLATED) - {"Scaler"} == {case[0] for case in CASES}  # Scaler: tests of retrain-weights


def test_softmax_of_old_models_goes_over_all_axes_behind(pytorch):
    _same(pytorch, "Softmax", {"axis": 2}, [X], opset=11)


@pytest.mark.parametrize(
    ("kind", "attributes", "told"),
    [
        ("MaxPool", {"kernel_shape": [2, 2], "ceil_mode": 1}, "MaxPool with auto_pad or ceil_mode"),
        ("AveragePool", {"kernel_shape": [2, 2], "auto_pad": b"SAME_UPPER"}, "AveragePool with auto_pad"),
        ("AveragePool", {"kernel_shape": [2, 2], "dilations": [2, 2]}, "AveragePool with dilations"),
        ("ArgMax", {"select_last_index": 1}, "of the last of equals"),
        ("Cast", {"to": 8}, "element type 8"),
    ],
)
def test_a_way_that_is_not_translated_says_so(pytorch, kind, attributes, told):
    from approxhw.passes.finetune.operators.library import UntranslatedError
    from approxhw.passes.finetune.operators.table import TRANSLATED

    with pytest.raises(UntranslatedError, match=told):
        TRANSLATED[kind]([pytorch.from_numpy(X)], attributes)


PRODUCTS = [
    ("Conv", {"pads": [1, 0, 2, 1], "strides": [2, 1]}, (4, 2, 3, 3), True),
    ("Conv", {"group": 2, "auto_pad": "SAME_UPPER", "strides": [2, 2]}, (4, 1, 3, 3), False),
    ("Conv", {"group": 2, "auto_pad": "SAME_LOWER", "strides": [2, 1]}, (4, 1, 2, 2), False),
    ("Conv", {"auto_pad": "VALID"}, (3, 2, 2, 2), True),
    ("ConvTranspose", {"pads": [1, 1, 1, 1], "strides": [2, 2], "output_padding": [1, 1]}, (2, 3, 3, 3), True),
    ("Gemm", {"alpha": 0.5, "beta": 2.0, "transB": 1}, (7, 60), True),
    ("Gemm", {"transA": 1}, (3, 7), False),
]


@pytest.mark.parametrize(("kind", "attributes", "shape", "biased"), PRODUCTS)
def test_a_product_is_the_one_of_onnx(pytorch, kind, attributes, shape, biased):
    from approxhw.passes.finetune._torch_model import torch_model

    x = X if kind != "Gemm" else X.reshape(3, 60)
    rng = np.random.default_rng(3)
    columns = shape[1] if kind == "ConvTranspose" or not attributes.get("transB", 1) else shape[0]
    columns = shape[1] if attributes.get("transA") else columns
    held = [rng.standard_normal(shape).astype(np.float32)] + [rng.standard_normal(columns).astype(np.float32)] * biased
    names = [f"w{i}" for i in range(len(held))]
    node = helper.make_node(kind, ["x", *names], ["y"], **attributes)
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("x", 1, x.shape)],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(*each) for each in zip(held, names)],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (expected,) = open_session(proto, "product").run(None, {"x": x})
    opened = open_model(proto, {"x": x.shape})
    made = torch_model(opened.graph, [opened.graph.output], trained=True)
    assert isinstance(opened.graph[opened.graph.output].op, Conv | ConvTranspose | Gemm)
    assert len(made.trained) == 1 + biased
    seen = made.values({"x": pytorch.from_numpy(x)}, [opened.graph.output])[opened.graph.output]
    assert np.allclose(seen.detach().numpy(), expected, rtol=1e-4, atol=1e-4)
