"""Sizes of every value of an ONNX model, as far as ONNX itself can tell them before it runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto

_SMALL = 1024
"""Elements of a constant whose values may tell sizes of others."""


def inferred_shapes(proto: ModelProto) -> dict[str, tuple[int | str, ...]]:
    """Return the sizes of values of *proto* by name, as far as ONNX can tell: a number, or the name of an open one."""
    from onnx import ModelProto, helper, shape_inference

    copy = ModelProto(ir_version=proto.ir_version)
    copy.opset_import.extend(proto.opset_import)
    copy.graph.name = "shapes"
    copy.graph.input.extend(proto.graph.input)
    inputs = {value.name for value in proto.graph.input}
    for tensor in proto.graph.initializer:  # of a large one its sizes do
        if math.prod(tensor.dims) <= _SMALL:
            copy.graph.initializer.add().CopyFrom(tensor)
        elif tensor.name not in inputs:
            copy.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    copy.graph.node.extend(proto.graph.node)
    try:
        found = shape_inference.infer_shapes(copy, data_prop=True)
    except Exception:  # what it cannot tell is not known
        found = copy
    shapes = {}
    for value in (*found.graph.input, *found.graph.value_info):
        kind = value.type.tensor_type
        if kind.HasField("shape"):
            dims = [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "" for dim in kind.shape.dim]
            shapes[value.name] = tuple(dim if isinstance(dim, str) or dim > 0 else "" for dim in dims)
    for tensor in proto.graph.initializer:
        shapes.setdefault(tensor.name, tuple(map(int, tensor.dims)))
    return shapes
