"""What ONNX nodes that stay on the host compute, in PyTorch: those that a network can be retrained through, and no others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from approxhw.passes.finetune.operators.library import Attributes, Tensor
from approxhw.passes.finetune.operators.table import TRANSLATED

if TYPE_CHECKING:
    from onnx import NodeProto

DIFFERENTIABLE = (
    *(
        "Add",
        "AveragePool",
        "BatchNormalization",
        "Cast",
        "Clip",
        "Concat",
        "Div",
        "Dropout",
        "Flatten",
        "GlobalAveragePool",
    ),
    *("GlobalMaxPool", "Identity", "LogSoftmax", "MaxPool", "Mul", "Neg", "ReduceMean", "Relu", "Reshape", "Scaler"),
    *("Sigmoid", "Softmax", "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze"),
)
"""Operators of ONNX that a network can be retrained through, where they stay on the host."""

_FLOATS = (1, 11)
_POOLS = ("MaxPool", "AveragePool")
_SHAPED = ("Reshape", "Squeeze", "Unsqueeze", "ReduceMean", "Clip", "BatchNormalization", "Dropout")


def attributes_of(node: NodeProto) -> Attributes:
    """Return the attributes of *node*."""
    from onnx import helper

    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}


def host_node_problem(node: NodeProto, known: Mapping[str, np.ndarray], opset: int) -> str:
    """Return why no gradient goes through *node*, empty where one does; *known*: its operands that are constants."""
    if node.op_type not in DIFFERENTIABLE or node.domain not in ("", "ai.onnx", "ai.onnx.ml"):
        return f"{node.op_type} has no gradient here"
    given = attributes_of(node)
    if node.op_type in _POOLS:
        if given.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID", b"") or given.get("ceil_mode", 0):
            return f"{node.op_type} with auto_pad or ceil_mode has no gradient here"
        if len(given.get("kernel_shape", ())) not in (1, 2) or len([each for each in node.output if each]) > 1:
            return f"{node.op_type} of other than one or two axes, or with places, has no gradient here"
        if node.op_type == "AveragePool" and set(given.get("dilations", ())) - {1}:
            return "AveragePool with dilations has no gradient here"
    if node.op_type in _SHAPED and any(name and name not in known for name in node.input[1:]):
        return f"{node.op_type} whose sizes or limits are computed has no gradient here"
    if node.op_type == "Cast" and given.get("to") not in _FLOATS:
        return "Cast to other than float32 and float64 has no gradient here"
    if node.op_type in ("Softmax", "LogSoftmax") and opset < 13 and given.get("axis", 1) not in (-1,):
        return f"{node.op_type} of opset {opset}, which goes over several axes, has no gradient here"
    if node.op_type == "BatchNormalization" and (given.get("training_mode", 0) or len(node.input) != 5):
        return "BatchNormalization that learns has no gradient here"
    return ""


def host_value(node: NodeProto, operands: Sequence[Tensor | None]) -> Tensor:
    """Return the first value that *node* makes of *operands*."""
    return TRANSLATED[node.op_type](list(operands), attributes_of(node))
