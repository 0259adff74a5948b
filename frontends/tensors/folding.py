"""Constants of a model: tensors → NumPy, attributes → Python, and nodes that read constants only → their value.

Every result is measured before it is made: a small file cannot ask for gigabytes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .values import Known, Refusal

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

MAXIMUM_ELEMENTS = 1 << 24
"""Most elements of a folded constant."""

_SAME = frozenset(
    [
        "Abs",
        "Cast",
        "Ceil",
        "DequantizeLinear",
        "Exp",
        "Flatten",
        "Floor",
        "Identity",
        "Log",
        "Neg",
        "Not",
        "QuantizeLinear",
        "Reciprocal",
        "Relu",
        "Reshape",
        "Round",
        "Sigmoid",
        "Sign",
        "Slice",
        "Split",
        "Sqrt",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
        "Clip",
        "Trunc",
        "CastLike",
        "Softplus",
        "Tanh",
        "ReduceSum",
        "ReduceMean",
        "ReduceProd",
        "ReduceMax",
        "ReduceMin",
        "ArgMax",
        "Erf",
    ]
)
"""Operators whose outputs are together no larger than their first input."""

_BROADCAST = frozenset(
    [
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Pow",
        "Mod",
        "Min",
        "Max",
        "And",
        "Or",
        "Xor",
        "Equal",
        "Greater",
        "Less",
        "GreaterOrEqual",
        "LessOrEqual",
        "Where",
        "Sum",
        "Mean",
    ]
)

FOLDABLE = _SAME | _BROADCAST | {"Concat", "ConstantOfShape", "Expand", "Gather", "Gemm", "MatMul", "Range", "Tile"}


Attributes = dict[str, Any]
"""Attributes by name. What each holds is a matter of the operator's schema, which is checked before they are read."""


def attributes(node: NodeProto) -> Attributes:
    """Return the attributes of *node* as Python values; text as ``str``, tensors as ``TensorProto``."""
    from onnx import helper

    result: Attributes = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        elif isinstance(value, list) and value and isinstance(value[0], bytes):
            value = [item.decode("utf-8", "replace") for item in value]
        result[attribute.name] = value
    return result


def array_of(tensor: TensorProto) -> np.ndarray:
    """Return *tensor*, whose sizes were checked on loading, as an array; text as ``str``, narrow floats as float32."""
    from onnx import TensorProto, numpy_helper

    if tensor.data_type == TensorProto.STRING:
        texts = [item.decode("utf-8", "replace") for item in tensor.string_data]
        return np.array(texts, dtype=object).reshape(tuple(tensor.dims))
    array = np.asarray(numpy_helper.to_array(tensor))
    if array.dtype.name in ("int4", "uint4", "int2", "uint2"):
        return array.astype(np.int8 if array.dtype.name.startswith("i") else np.uint8)
    if array.dtype.kind == "V" or array.dtype.name in ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float4_e2m1fn"):
        return array.astype(np.float32)
    return array


def constant_node(values: Attributes) -> np.ndarray:
    """Return what a ``Constant`` node of these attributes stands for; refuses sparse ones."""
    if "value" in values:
        return array_of(values["value"])
    for key, dtype in (
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if key in values:
            return np.array(values[key], dtype=dtype)
    for key in ("value_string", "value_strings"):
        if key in values:
            return np.array(values[key], dtype=object)
    raise Refusal("a Constant without a dense value", "store the value as a dense tensor")


def fold(node: NodeProto, inputs: list[Known | None], opset: int, budget: int) -> list[np.ndarray]:
    """Return the outputs of *node*, whose inputs are all constants; refuse what fails or is larger than *budget*."""
    arrays = [None if value is None else value.array for value in inputs]
    size = _elements(node, arrays)
    most = min(MAXIMUM_ELEMENTS, budget)
    if size > most:
        raise Refusal(f"folding this constant would make {size} elements; at most {most} are made", invalid=True)
    with np.errstate(all="ignore"):
        results = _evaluate(node, arrays, opset)
    for result in results:
        if result.dtype.kind == "f" and not np.isfinite(result).all():
            raise Refusal("its constant inputs give NaN or infinity", "look for a division by zero", invalid=True)
    return results


def _evaluate(node: NodeProto, arrays: list[np.ndarray | None], opset: int) -> list[np.ndarray]:
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    inputs, feeds = [], {}
    for name, array in zip(node.input, arrays, strict=True):
        if array is not None and name not in feeds:
            feeds[name] = array
            inputs.append(helper.make_tensor_value_info(name, _element_type(array), list(array.shape)))
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = helper.make_graph([node], "constant", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    try:
        return [np.asarray(result) for result in ReferenceEvaluator(model).run(None, feeds)]
    except Exception as error:  # the evaluator raises whatever NumPy does with nonsense from the file
        first = (str(error).splitlines() or [""])[0]
        raise Refusal(
            f"its constant inputs make no sense ({type(error).__name__}: {first[:120]})", invalid=True
        ) from error


def _element_type(array: np.ndarray) -> int:
    from onnx import TensorProto, helper

    return TensorProto.STRING if array.dtype == object else int(helper.np_dtype_to_tensor_dtype(array.dtype))


def _elements(node: NodeProto, arrays: list[np.ndarray | None]) -> int:
    """Return an upper bound on the elements that *node* makes, without making them."""
    op = node.op_type
    present = [array for array in arrays if array is not None]
    if op in _SAME:
        return max((array.size for array in present), default=0)
    if op in _BROADCAST:
        return _broadcast([array.shape for array in present])
    if op == "Concat":
        return sum(array.size for array in present)
    if op == "ConstantOfShape":
        return _product(present[0])
    if op == "Expand":
        return _broadcast([present[0].shape, tuple(int(dim) for dim in present[1].reshape(-1))])
    if op == "Tile":
        return present[0].size * _product(present[1])
    if op == "Gather":
        axis = next((int(entry.i) for entry in node.attribute if entry.name == "axis"), 0)
        inside = -present[0].ndim <= axis < present[0].ndim  # else the evaluator refuses it
        return present[0].size // max(1, present[0].shape[axis] if inside else 1) * max(1, present[1].size)
    if op == "Range":
        start, limit, step = (float(array.reshape(-1)[0]) for array in present)
        return 0 if step == 0 or not math.isfinite((limit - start) / step) else int(abs((limit - start) / step)) + 1
    first, second = present[0], present[1]  # MatMul, Gemm: no more than one axis of each, times the other axes
    rows = (
        first.size // max(1, min(first.shape, default=1))
        if op == "Gemm"
        else first.size // max(1, first.shape[-1] if first.ndim else 1)
    )
    columns = (
        second.size // max(1, min(second.shape, default=1))
        if op == "Gemm"
        else second.size // max(1, second.shape[-2] if second.ndim > 1 else 1)
    )
    return max(1, rows) * max(1, columns)


def _product(dims: np.ndarray) -> int:
    values = [int(dim) for dim in dims.reshape(-1)]
    if any(value < 0 for value in values):
        raise Refusal("it is asked for a negative dimension", invalid=True)
    return math.prod(values)


def _broadcast(shapes: list[tuple[int, ...]]) -> int:
    """Return the elements of the broadcast shape in Python integers (NumPy's own would overflow)."""
    rank = max((len(shape) for shape in shapes), default=0)
    padded = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    return math.prod(max(dims) for dims in zip(*padded, strict=True))
