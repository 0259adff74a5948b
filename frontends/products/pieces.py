"""Parts of a model as models of their own, the types of what goes between them, and how large it becomes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from approxhw.common.errors import Problem, UnsupportedModelError, shown
from approxhw.frontends.onnx.loading import node_title

from .model import MAXIMUM_VALUE, NATIVE, EngineModel

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


def submodel(
    model: EngineModel,
    nodes: Sequence[NodeProto],
    feeds: Mapping[str, str],
    makes: Sequence[str],
    held: Mapping[str, np.ndarray],
) -> ModelProto:
    """Return *nodes* as a model that reads *feeds* (name → type word) and makes *makes*; *held*: constants inside of it."""
    from onnx import ModelProto, helper, numpy_helper

    proto = ModelProto(ir_version=model.ir_version)
    proto.opset_import.extend(model.opsets)
    proto.graph.name = "segment"
    for node in nodes:
        proto.graph.node.add().CopyFrom(node)
        proto.graph.node[-1].name = ""  # onnxruntime refuses doubled names, which mean nothing
    for name, kind in feeds.items():
        proto.graph.input.append(helper.make_tensor_value_info(name, element_of(kind) or 0, None))
    for name, array in held.items():
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    for name in makes:
        proto.graph.output.add().name = name
    return proto


def type_word(dtype: str) -> str:
    """Return onnxruntime's word for a NumPy type."""
    words = {"float32": "float", "float64": "double", "object": "string"}
    return f"tensor({words.get(dtype, dtype)})"


def element_of(kind: str) -> int | None:
    """Return the number that ONNX gives the element type of onnxruntime's *kind*; None where NumPy has none."""
    from onnx import helper

    inner = kind.removeprefix("tensor(").removesuffix(")")
    name = {"float": "float32", "double": "float64"}.get(inner, inner)
    if not kind.startswith("tensor(") or name not in NATIVE | {"string"}:
        return None
    return helper.np_dtype_to_tensor_dtype(np.dtype("O" if name == "string" else name))


def measure(model: EngineModel) -> None:
    """Refuse a model that makes tensors larger than ``MAXIMUM_VALUE``, as far as ONNX itself can tell before it runs."""
    from onnx import helper, shape_inference

    kinds = {value.name: type_word(value.dtype) for value in model.inputs}
    kinds |= {name: type_word(array.dtype.name) for name, array in model.constants.items()}
    small = {name: array for name, array in model.constants.items() if array.nbytes <= 4096}
    proto = submodel(model, model.nodes, {}, model.outputs, small)
    for name in kinds.keys() - small.keys():
        sizes = model.sizes[name] if name in model.sizes else model.constants[name].shape
        proto.graph.input.append(helper.make_tensor_value_info(name, element_of(kinds[name]) or 0, sizes))
    proto.graph.initializer.extend(model.odd.values())
    del proto.graph.output[:]
    try:
        inferred = shape_inference.infer_shapes(proto, data_prop=True)
    except Exception:  # what it cannot tell, onnxruntime refuses in words of its own
        return
    makers = {name: node for node in model.nodes for name in node.output}
    problems = []
    for value in inferred.graph.value_info:
        kind = value.type.tensor_type
        dims = [dim.dim_value for dim in kind.shape.dim]
        if not all(dim.HasField("dim_value") for dim in kind.shape.dim) or value.name not in makers:
            continue
        try:
            item = helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
        except KeyError:
            continue
        if item * math.prod(dims) > MAXIMUM_VALUE:
            node = makers[value.name]
            why = f"makes {' × '.join(map(str, dims))} elements; {MAXIMUM_VALUE >> 20} MiB are the most"
            where = f"node {node_title(node)} ({shown(node.op_type)})"
            problems.append(Problem(where, why, "choose smaller inputs (--shape)"))
    if problems:
        raise UnsupportedModelError(shown(model.title), problems)
