"""How large an ONNX model is in training: the numbers that have a gradient, and the widths of its dense layers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from approxhw.common.errors import Problem, UnsupportedModelError, shown
from approxhw.frontends.onnx.loading import STANDARD, ModelSource, load

from .decoding_nodes import held_formats
from .weight_tensors import MAXIMUM_MODEL, constants

if TYPE_CHECKING:
    from onnx import ModelProto


@dataclass(frozen=True)
class ModelSizes:
    """``parameters``: numbers in all float tensors; ``widths``: outputs of every Gemm and MatMul with constant weights."""

    name: str
    parameters: int
    widths: tuple[int, ...]


def measure_model(model: ModelSource) -> ModelSizes:
    """Return the sizes of *model* (path or ``onnx.ModelProto``); raise as ``load`` does, and where it has no float tensor."""
    from onnx import TensorProto

    loaded = load(model, maximum=MAXIMUM_MODEL)
    proto = loaded.proto
    if kinds := held_formats(proto):
        why = f"its weights are {', '.join(kinds)} codes"
        raise UnsupportedModelError(
            shown(loaded.title), [Problem("model", why, "give the model that it was made from")]
        )
    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
    shapes = {name: list(t.dims) for name, t, inside in constants(proto) if not inside and t.data_type in floats}
    parameters = sum(math.prod(t.dims) for _, t, _ in constants(proto) if t.data_type in floats and t.dims)
    if not parameters:
        remedy = "give the float model that was trained, or --parameters"
        raise UnsupportedModelError(shown(loaded.title), [Problem("model", "it holds no float tensors", remedy)])
    return ModelSizes(loaded.stem, parameters, tuple(_widths(proto, shapes)))


def _widths(proto: ModelProto, shapes: dict[str, list[int]]) -> list[int]:
    widths = []
    for node in proto.graph.node:
        if node.domain not in STANDARD or node.op_type not in ("Gemm", "MatMul") or len(node.input) < 2:
            continue
        shape = shapes.get(node.input[1], ())
        if len(shape) == 2:
            turned = any(entry.name == "transB" and entry.i for entry in node.attribute)
            widths.append(int(shape[0 if turned else 1]))
    return widths
