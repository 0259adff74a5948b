"""Readings of a model whose inputs are declared as whole numbers: what they mean where they are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from approxhw.common.errors import InvalidModelError, UnsupportedModelError, shown
from approxhw.frontends.onnx.loading import ML, STANDARD

from .sessions import open_session

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession


def whole_inputs(proto: ModelProto) -> dict[str, np.dtype[np.generic]]:
    """Return the inputs of *proto* that are declared as whole numbers, with their NumPy types."""
    from onnx import helper

    known = {tensor.name for tensor in proto.graph.initializer}
    found = {}
    for value in proto.graph.input:
        kind = value.type.tensor_type.elem_type
        if value.name in known or not value.type.HasField("tensor_type") or not kind:
            continue
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind))
        if dtype.kind in "iu":
            found[value.name] = dtype
    return found


def as_real_inputs(proto: ModelProto, title: str) -> InferenceSession | None:
    """Return *proto* in onnxruntime with real inputs in place of whole ones; None where that is another model.

    It is the same model where nothing but casts and scalers of ai.onnx.ml, which make real numbers of them, read the inputs.
    """
    from onnx import TensorProto

    names = whole_inputs(proto)
    readers = [node for node in proto.graph.node if names.keys() & set(node.input)]
    casts = all(node.op_type == "Cast" and node.domain in STANDARD for node in readers)
    if not names or not (casts or all(node.domain == ML for node in readers)):
        return None
    made = type(proto)()
    made.CopyFrom(proto)
    for value in made.graph.input:
        if value.name in names:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE if casts else TensorProto.FLOAT
    try:
        return open_session(made, title)
    except (InvalidModelError, UnsupportedModelError):
        return None


def as_whole(rows: np.ndarray, dtype: np.dtype[np.generic]) -> np.ndarray:
    """Return the nearest whole numbers that *dtype* holds."""
    limits = np.iinfo(dtype.name)
    # float64 holds no greatest int64: the clip is done in two steps, the second on integers
    near = np.clip(np.rint(rows.astype(np.float64)), -(2.0**62), 2.0**62).astype(np.int64)
    low, high = max(int(limits.min), -(1 << 62)), min(int(limits.max), 1 << 62)
    found: np.ndarray = np.clip(near, low, high).astype(dtype)
    return found


def are_whole(rows: np.ndarray, dtype: np.dtype[np.generic]) -> bool:
    """Whether *dtype* holds all *rows* as they are."""
    return bool((as_whole(rows, dtype) == rows).all())


def told_of_readings(proto: ModelProto, rows: Sequence[np.ndarray]) -> tuple[str, ...]:
    """Return what users should know about *rows* (readings of several splits) where *proto* declares whole numbers."""
    kinds = whole_inputs(proto)
    if not kinds:
        return ()
    names = ", ".join(shown(name, 40) for name in list(kinds)[:5])
    dtype = next(iter(kinds.values()))
    odd = sum(int((as_whole(part, dtype) != part).sum()) for part in rows if len(part))
    if not odd or len(set(kinds.values())) > 1:
        return ()
    total = sum(part.size for part in rows)
    readers = [node for node in proto.graph.node if kinds.keys() & set(node.input)]
    if any(node.op_type == "DequantizeLinear" for node in readers):
        taken = "they are rounded to the nearest that is"
    else:
        taken = "model and circuit take them as they are, where a caller of the model would have to cut them"
    return (f"the model declares {dtype} inputs ({names}), but {odd} of {total} readings are none: {taken}",)
