"""What ONNX nodes that stay on the host compute, in PyTorch: those that a network can be retrained through, and no others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ._product_sums import Tensor, torch

if TYPE_CHECKING:
    from onnx import NodeProto

Attributes = Mapping[str, Any]
"""Attributes of a node by name, as ONNX gives them."""


def attributes_of(node: NodeProto) -> Attributes:
    """Return the attributes of *node*."""
    from onnx import helper

    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}


def host_node_problem(node: NodeProto, known: Mapping[str, np.ndarray], opset: int) -> str:
    """Return why no gradient goes through *node*, empty where one does; *known*: its operands that are constants."""
    if node.op_type not in _NODES or node.domain not in ("", "ai.onnx", "ai.onnx.ml"):
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
    return _NODES[node.op_type](list(operands), attributes_of(node))


_FLOATS = (1, 11)
_POOLS = ("MaxPool", "AveragePool")
_SHAPED = ("Reshape", "Squeeze", "Unsqueeze", "ReduceMean", "Clip", "BatchNormalization", "Dropout")
Made = Callable[[list[Any], Attributes], Tensor]


def _axes(operands: list[Any], given: Attributes) -> tuple[int, ...]:
    """Return the axes that are an operand, or in older models an attribute; empty: none are said."""
    said = operands[1].tolist() if len(operands) > 1 and operands[1] is not None else given.get("axes", ())
    return tuple(map(int, said))


def _reshape(operands: list[Any], given: Attributes) -> Tensor:
    x, sizes = operands[0], [int(size) for size in operands[1].tolist()]
    copied = not given.get("allowzero", 0)
    return x.reshape([x.shape[i] if size == 0 and copied else size for i, size in enumerate(sizes)])


def _flatten(operands: list[Any], given: Attributes) -> Tensor:
    x, axis = operands[0], int(given.get("axis", 1))
    before = int(np.prod(x.shape[: axis if axis >= 0 else axis + x.ndim]))
    return x.reshape(before, -1)


def _transpose(operands: list[Any], given: Attributes) -> Tensor:
    x = operands[0]
    return x.permute(tuple(given.get("perm", range(x.ndim - 1, -1, -1))))


def _squeeze(operands: list[Any], given: Attributes) -> Tensor:
    x, axes = operands[0], _axes(operands, given)
    return x.squeeze(axes) if axes else x.squeeze()


def _unsqueeze(operands: list[Any], given: Attributes) -> Tensor:
    x, axes = operands[0], _axes(operands, given)
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _pool(operands: list[Any], given: Attributes) -> tuple[Tensor, dict[str, Any], Sequence[int]]:
    """Return the images, sizes of the window as PyTorch takes them, and ends of padding, the last axis first."""
    kernel = tuple(given["kernel_shape"])
    sizes = {"kernel_size": kernel, "stride": tuple(given.get("strides", (1,) * len(kernel)))}
    pads = tuple(given.get("pads", (0,) * 2 * len(kernel)))
    ends = [end for axis in reversed(range(len(kernel))) for end in (pads[axis], pads[axis + len(kernel)])]
    return operands[0], sizes, ends


def _max_pool(operands: list[Any], given: Attributes) -> Tensor:
    x, sizes, ends = _pool(operands, given)
    functional = torch().nn.functional
    padded = functional.pad(x, ends, value=float("-inf")) if any(ends) else x
    pool = functional.max_pool1d if len(sizes["kernel_size"]) == 1 else functional.max_pool2d
    return pool(padded, **sizes, dilation=tuple(given.get("dilations", (1,) * len(sizes["kernel_size"]))))


def _average_pool(operands: list[Any], given: Attributes) -> Tensor:
    x, sizes, ends = _pool(operands, given)
    functional = torch().nn.functional
    pool = functional.avg_pool1d if len(sizes["kernel_size"]) == 1 else functional.avg_pool2d
    made = pool(functional.pad(x, ends), **sizes)
    if not any(ends) or given.get("count_include_pad", 0):
        return made
    return made / pool(functional.pad(torch().ones_like(x), ends), **sizes)


def _over_places(x: Tensor) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


def _mean(operands: list[Any], given: Attributes) -> Tensor:
    x, axes = operands[0], _axes(operands, given)
    if not axes and given.get("noop_with_empty_axes", 0):
        return x
    return x.mean(axes or tuple(range(x.ndim)), keepdim=bool(given.get("keepdims", 1)))


def _clip(operands: list[Any], given: Attributes) -> Tensor:
    low, high = ([*operands, None, None][place] for place in (1, 2))
    least = given.get("min") if low is None else float(low)
    most = given.get("max") if high is None else float(high)
    return operands[0] if least is None and most is None else operands[0].clamp(least, most)


def _normalized(operands: list[Any], given: Attributes) -> Tensor:
    x, scale, bias, mean, variance = operands
    along = (1, -1, *(1,) * (x.ndim - 2))
    spread = torch().sqrt(variance + float(given.get("epsilon", 1e-5)))
    return (x - mean.reshape(along)) / spread.reshape(along) * scale.reshape(along) + bias.reshape(along)


def _scaled(operands: list[Any], given: Attributes) -> Tensor:
    x = operands[0].to(torch().float32)
    offset, scale = (
        torch().tensor(list(given.get(name, plain))) for name, plain in (("offset", [0.0]), ("scale", [1.0]))
    )
    return (x - offset) * scale


_NODES: dict[str, Made] = {
    "Add": lambda x, given: x[0] + x[1],
    "AveragePool": _average_pool,
    "BatchNormalization": _normalized,
    "Cast": lambda x, given: x[0].to(torch().float32 if given["to"] == 1 else torch().float64),
    "Clip": _clip,
    "Concat": lambda x, given: torch().cat(x, dim=int(given["axis"])),
    "Div": lambda x, given: x[0] / x[1],
    "Dropout": lambda x, given: x[0],
    "Flatten": _flatten,
    "GlobalAveragePool": lambda x, given: x[0].mean(_over_places(x[0]), keepdim=True),
    "GlobalMaxPool": lambda x, given: x[0].amax(_over_places(x[0]), keepdim=True),
    "Identity": lambda x, given: x[0],
    "LogSoftmax": lambda x, given: x[0].log_softmax(int(given.get("axis", -1))),
    "MaxPool": _max_pool,
    "Mul": lambda x, given: x[0] * x[1],
    "Neg": lambda x, given: -x[0],
    "ReduceMean": _mean,
    "Relu": lambda x, given: x[0].relu(),
    "Reshape": _reshape,
    "Scaler": _scaled,
    "Sigmoid": lambda x, given: x[0].sigmoid(),
    "Softmax": lambda x, given: x[0].softmax(int(given.get("axis", -1))),
    "Squeeze": _squeeze,
    "Sub": lambda x, given: x[0] - x[1],
    "Tanh": lambda x, given: x[0].tanh(),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}

DIFFERENTIABLE = tuple(_NODES)
"""Operators of ONNX that a network can be retrained through, where they stay on the host."""
