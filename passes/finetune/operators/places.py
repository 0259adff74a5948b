"""Operators of ONNX that move, pick, join and count places of a tensor, in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .library import RESULTS, Attributes, Made, Tensor, UntranslatedError, torch


def said_axes(operands: list[Any], given: Attributes, place: int = 1) -> tuple[int, ...]:
    """Return the axes that are an operand, or in older models an attribute; empty: none are said."""
    said = operands[place].tolist() if len(operands) > place and operands[place] is not None else given.get("axes", ())
    return tuple(map(int, said))


def _reshaped(operands: list[Any], given: Attributes) -> Tensor:
    """Return the tensor in another shape; a size of 0 is copied."""
    x, sizes = operands[0], [int(size) for size in operands[1].tolist()]
    copied = not given.get("allowzero", 0)
    return x.reshape([x.shape[i] if size == 0 and copied else size for i, size in enumerate(sizes)])


def _flattened(operands: list[Any], given: Attributes) -> Tensor:
    """Return a matrix, axes from ``axis`` on being its columns."""
    x, axis = operands[0], int(given.get("axis", 1))
    before = math.prod(x.shape[: axis if axis >= 0 else axis + x.ndim])
    return x.reshape(before, -1)


def _turned(operands: list[Any], given: Attributes) -> Tensor:
    """Return the axes in another order."""
    x = operands[0]
    return x.permute(tuple(given.get("perm", range(x.ndim - 1, -1, -1))))


def _squeezed(operands: list[Any], given: Attributes) -> Tensor:
    """Return the tensor without axes of one place."""
    x, axes = operands[0], said_axes(operands, given)
    return x.squeeze(axes) if axes else x.squeeze()


def _unsqueezed(operands: list[Any], given: Attributes) -> Tensor:
    """Return the tensor with further axes of one place."""
    x, axes = operands[0], said_axes(operands, given)
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _gathered(operands: list[Any], given: Attributes) -> Tensor:
    """Return what stands at numbered places of an axis."""
    x, places = operands
    axis = int(given.get("axis", 0)) % x.ndim
    numbers = torch().where(places < 0, places + x.shape[axis], places).reshape(-1).long()
    return x.index_select(axis, numbers).reshape((*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]))


def _gathered_elements(operands: list[Any], given: Attributes) -> Tensor:
    """Return an element for each numbered place."""
    x, places = operands
    axis = int(given.get("axis", 0)) % x.ndim
    return x.gather(axis, torch().where(places < 0, places + x.shape[axis], places).long())


def _cut(operands: list[Any], given: Attributes) -> Tensor:
    """Return the places between starts and ends, in steps."""
    x = operands[0]
    ends: list[Any] = [None, *(each.tolist() if each is not None else None for each in operands[1:])]
    ends += [None] * (5 - len(ends))
    starts, stops = (ends[place] or list(given[name]) for place, name in ((1, "starts"), (2, "ends")))
    axes = ends[3] or list(given.get("axes", range(len(starts))))
    for start, stop, axis, step in zip(starts, stops, axes, ends[4] or [1] * len(starts), strict=True):
        places = range(x.shape[axis])[slice(start, stop, step)]
        if step == 1:
            x = x.narrow(axis, places.start if len(places) else 0, len(places))
        else:
            x = x.index_select(axis, torch().tensor(list(places), dtype=torch().int64))
    return x


def _split(operands: list[Any], given: Attributes) -> list[Tensor]:
    """Return parts of an axis."""
    x, axis = operands[0], int(given.get("axis", 0))
    sizes = operands[1].tolist() if len(operands) > 1 and operands[1] is not None else list(given.get("split", ()))
    return list(x.split(sizes or -(-x.shape[axis] // given[RESULTS]), dim=axis))


def _padded(operands: list[Any], given: Attributes) -> Tensor:
    """Return the tensor with places before and behind."""
    x, mode = operands[0], given.get("mode", b"constant").decode()
    pads = operands[1].tolist() if len(operands) > 1 else list(given["pads"])
    axes = [axis % x.ndim for axis in said_axes(operands, {}, 3)] or list(range(x.ndim))
    filled = operands[2].item() if len(operands) > 2 and operands[2] is not None else given.get("value", 0.0)
    ends = [(0, 0)] * x.ndim
    for place, axis in enumerate(axes):
        ends[axis] = pads[place], pads[place + len(axes)]
    flat = [end for both in reversed(ends) for end in both]
    if mode != "constant":
        if any(any(both) for both in ends[:2]) or x.ndim < 3:
            raise UntranslatedError(f"Pad by {mode} of rows or channels")
        flat, mode = flat[: 2 * (x.ndim - 2)], {"edge": "replicate", "reflect": "reflect", "wrap": "circular"}[mode]
        return torch().nn.functional.pad(x, flat, mode=mode)
    return torch().nn.functional.pad(x, flat, value=filled)


def _expanded(operands: list[Any], given: Attributes) -> Tensor:
    """Return the tensor broadcast with a shape."""
    x, sizes = operands[0], operands[1].tolist()
    return x.expand(torch().broadcast_shapes(tuple(x.shape), tuple(map(int, sizes))))


def _shape_of(operands: list[Any], given: Attributes) -> Tensor:
    """Return the sizes of a tensor."""
    sizes: Sequence[int] = tuple(operands[0].shape)
    return torch().tensor(sizes[slice(given.get("start"), given.get("end"))], dtype=torch().int64)


def _filled(operands: list[Any], given: Attributes) -> Tensor:
    """Return a tensor of one number."""
    from onnx import numpy_helper

    value = numpy_helper.to_array(given["value"]).reshape(-1) if "value" in given else np.zeros(1, np.float32)
    return torch().from_numpy(np.full(operands[0].tolist(), value[0]))


def _one_triangle(operands: list[Any], given: Attributes) -> Tensor:
    """Return the upper or lower triangle of matrices, zeros elsewhere."""
    behind = int(operands[1].item()) if len(operands) > 1 and operands[1] is not None else 0
    return torch().triu(operands[0], behind) if given.get("upper", 1) else torch().tril(operands[0], behind)


def _summed_up(operands: list[Any], given: Attributes) -> Tensor:
    """Return running sums along an axis."""
    if given.get("exclusive", 0) or given.get("reverse", 0):
        raise UntranslatedError("CumSum that is exclusive or goes backwards")
    return operands[0].cumsum(int(operands[1].item()))


def _places_of(operands: list[Any], given: Attributes) -> Tensor:
    """Return whole or real numbers from a start to a limit, in steps."""
    return torch().arange(*(each.item() for each in operands), dtype=operands[0].dtype)


PLACES: Mapping[str, Made] = {
    "Concat": lambda x, given: torch().cat(x, dim=int(given["axis"])),
    "ConstantOfShape": _filled,
    "CumSum": _summed_up,
    "Expand": _expanded,
    "Flatten": _flattened,
    "Gather": _gathered,
    "GatherElements": _gathered_elements,
    "Pad": _padded,
    "Range": _places_of,
    "Reshape": _reshaped,
    "Shape": _shape_of,
    "Size": lambda x, given: torch().tensor(x[0].numel(), dtype=torch().int64),
    "Slice": _cut,
    "Split": _split,
    "Squeeze": _squeezed,
    "Tile": lambda x, given: x[0].repeat(tuple(map(int, x[1].tolist()))),
    "Transpose": _turned,
    "Trilu": _one_triangle,
    "Unsqueeze": _unsqueezed,
}
"""Operators by ONNX's name."""
