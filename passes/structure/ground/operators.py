"""How channels go through ONNX operators that stay on the host: which axes of results are which of operands."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from approxhw.common.errors import shown
from approxhw.ir.graph import Node

from .ids import Axis, Ids

OPSET = "opset of the model"
"""Among attributes: what operators mean may depend on it."""

Axes = tuple[Axis, ...]
"""The ids of every axis of a value."""


@dataclass(frozen=True, eq=False)
class HostOperator:
    """One ONNX node: what it is, its attributes, shapes and axes of its operands, shapes of what it makes.

    ``held``: operands that are constants, by their place.
    """

    node: Node
    kind: str
    attributes: Mapping[str, Any]
    shapes: tuple[tuple[int, ...], ...]
    axes: tuple[Axes, ...]
    made: tuple[tuple[int, ...], ...]
    held: Mapping[int, np.ndarray]
    reshaped: list[tuple[Node, int, np.ndarray]] = field(default_factory=list)
    """Hears of every Reshape: its Node, an axis of what it makes, and the ids along it."""

    @property
    def called(self) -> str:
        """How errors name it."""
        return f"{shown(self.kind, 40)} ({shown(self.node.name, 60)})"


Rule = Callable[[Ids, HostOperator], "tuple[Axes, ...]"]
"""Ties and stops ids, and returns the axes of everything that is made."""


def host_operator(node: Node) -> tuple[str, dict[str, Any], list[int]] | None:
    """Return operator, attributes, and which input of the Host *node* each operand is (−1: left out).

    None where the Node is no single standard operator, or has branches that read values by themselves.
    """
    import onnx
    from onnx import helper

    program = onnx.ModelProto.FromString(node.op.program)  # type: ignore[union-attr]
    if len(program.graph.node) != 1 or program.graph.node[0].domain not in ("", "ai.onnx"):
        return None
    inner = program.graph.node[0]
    read = [value.name for value in program.graph.input]
    if set(inner.input) - {""} != set(read):
        return None
    places = [read.index(name) if name else -1 for name in inner.input]
    opset = next((each.version for each in program.opset_import if each.domain in ("", "ai.onnx")), 0)
    given = {entry.name: helper.get_attribute_value(entry) for entry in inner.attribute}
    return inner.op_type, {**given, OPSET: opset}, places


def followed_axes(ids: Ids, operator: HostOperator) -> tuple[Axes, ...]:
    """Return the axes of all that *operator* makes; what no rule can follow is stopped, and says so."""
    rule = RULES.get(operator.kind)
    return _unknown(ids, operator) if rule is None else rule(ids, operator)


def _unknown(ids: Ids, operator: HostOperator) -> tuple[Axes, ...]:
    return _stopped(ids, operator, f"{operator.called} reads them, and what it makes of channels is not followed")


def _stopped(ids: Ids, operator: HostOperator, why: str) -> tuple[Axes, ...]:
    for axes in operator.axes:
        for axis in axes:
            ids.stop(axis, why)
    return tuple((None,) * len(shape) for shape in operator.made)


def broadcast(ids: Ids, why: str, made: Sequence[int], operands: Sequence[tuple[Sequence[int], Axes]]) -> Axes:
    """Return the axes of an element by element result of shape *made*; *operands*: shapes and axes, broadcast as NumPy does."""
    found: list[Axis] = []
    for place, size in enumerate(made):
        back = len(made) - place
        axis: Axis = None
        same = [axes[-back] for shape, axes in operands if back <= len(shape) and shape[-back] == size]
        for count, other in enumerate(same):
            axis = other if count == 0 else ids.tie(axis, other, why)
        found.append(axis)
    return tuple(found)


def _elementwise(ids: Ids, operator: HostOperator) -> tuple[Axes, ...]:
    why = f"{operator.called} joins them with values whose channels are not followed"
    pairs = list(zip(operator.shapes, operator.axes, strict=True))
    return (broadcast(ids, why, operator.made[0], pairs),)


def _first(ids: Ids, operator: HostOperator) -> tuple[Axes, ...]:
    """Pass the first operand's axes on; further ones (bounds, axes) have none that count, nor have further results (masks)."""
    return (operator.axes[0], *((None,) * len(shape) for shape in operator.made[1:]))


def _nothing(ids: Ids, operator: HostOperator) -> tuple[Axes, ...]:
    """Sizes of a value: they follow it by themselves."""
    return tuple((None,) * len(shape) for shape in operator.made)


def _transpose(ids: Ids, operator: HostOperator) -> tuple[Axes, ...]:
    axes = operator.axes[0]
    order = operator.attributes.get("perm", range(len(axes))[::-1])
    return (tuple(axes[place] for place in order),)


def _over(kinds: str) -> Rule:
    """Return the rule of operators that look along an axis: its channels stay."""

    def rule(ids: Ids, operator: HostOperator) -> tuple[Axes, ...]:
        rank = len(operator.shapes[0])
        if len(operator.shapes) > 1 and operator.shapes[1] and 1 not in operator.held:
            return _unknown(ids, operator)  # its axes are computed
        chosen = _axes_of(operator, rank)
        if len(operator.made[0]) not in (rank, rank - len(set(chosen))):
            return _unknown(ids, operator)
        for place in chosen:
            ids.stop(operator.axes[0][place], f"{operator.called} {kinds} them")
        kept = operator.axes[0]
        if len(operator.made[0]) == rank:
            return (tuple(None if place in chosen else axis for place, axis in enumerate(kept)),)
        return (tuple(axis for place, axis in enumerate(kept) if place not in chosen),)

    return rule


def _axes_of(operator: HostOperator, rank: int) -> list[int]:
    given = operator.attributes.get("axes", operator.attributes.get("axis"))
    if given is None and 1 in operator.held:
        given = operator.held[1].reshape(-1).tolist()
    if given is None:
        return [0] if operator.kind in ("ArgMax", "ArgMin") else list(range(rank))
    listed = [given] if isinstance(given, int) else list(given)
    if not listed and operator.kind.startswith("Reduce") and not operator.attributes.get("noop_with_empty_axes", 0):
        listed = list(range(rank))
    return [int(place) % rank for place in listed]


def _softmax(ids: Ids, operator: HostOperator) -> tuple[Axes, ...]:
    rank = len(operator.shapes[0])
    old = operator.attributes[OPSET] < 13  # it goes over all axes from one on there
    first = int(operator.attributes.get("axis", 1 if old else -1)) % rank
    for axis in operator.axes[0][first:] if old else (operator.axes[0][first],):
        ids.stop(axis, f"{operator.called} divides them by their sum")
    return (operator.axes[0],)


def _layer_norm(ids: Ids, operator: HostOperator) -> tuple[Axes, ...]:
    rank = len(operator.shapes[0])
    start = int(operator.attributes.get("axis", -1)) % rank
    for axes in operator.axes:
        for axis in axes[start:] if axes is operator.axes[0] else axes:
            ids.stop(axis, f"{operator.called} takes their mean")
    return tuple(operator.axes[0] if len(shape) == rank else (None,) * len(shape) for shape in operator.made)


def _batch_norm(ids: Ids, operator: HostOperator) -> tuple[Axes, ...]:
    axis = operator.axes[0][1]
    for axes in operator.axes[1:]:
        axis = ids.tie(axis, axes[0], f"{operator.called} scales them by what is not followed")
    return ((operator.axes[0][0], axis, *operator.axes[0][2:]), *((None,) * len(s) for s in operator.made[1:]))


def _pool(ids: Ids, operator: HostOperator) -> tuple[Axes, ...]:
    first = operator.axes[0]
    for axis in first[2:]:
        ids.stop(axis, f"{operator.called} moves over them")
    made = (*first[:2], *(None for _ in operator.made[0][2:]))
    return (made, *((None,) * len(shape) for shape in operator.made[1:]))


def _pad(ids: Ids, operator: HostOperator) -> tuple[Axes, ...]:
    pads = operator.held.get(1, np.asarray(operator.attributes.get("pads", ())))
    rank = len(operator.shapes[0])
    if len(operator.shapes) > 3 or np.size(pads) != 2 * rank:
        return _unknown(ids, operator)
    padded = [bool(np.asarray(pads).reshape(2, rank)[:, place].any()) for place in range(rank)]
    for place, axis in enumerate(operator.axes[0]):
        if padded[place]:
            ids.stop(axis, f"{operator.called} puts others beside them")
    return (tuple(None if padded[place] else axis for place, axis in enumerate(operator.axes[0])),)


def _concat(ids: Ids, operator: HostOperator) -> tuple[Axes, ...]:
    rank = len(operator.made[0])
    along = int(operator.attributes["axis"]) % rank
    why = f"{operator.called} joins them with values whose channels are not followed"
    found: list[Axis] = []
    for place in range(rank):
        parts = [axes[place] for axes in operator.axes]
        if place != along:
            axis = parts[0]
            for other in parts[1:]:
                axis = ids.tie(axis, other, why)
            found.append(axis)
        elif all(part is None for part in parts):
            found.append(None)
        else:
            sizes = [shape[place] for shape in operator.shapes]
            filled = [ids.fresh(size) if part is None else part for part, size in zip(parts, sizes, strict=True)]
            for part, given in zip(filled, parts, strict=True):
                if given is None:
                    ids.stop(part, why)
            found.append(np.concatenate(filled))
    return (tuple(found),)


def _split(ids: Ids, operator: HostOperator) -> tuple[Axes, ...]:
    first = operator.axes[0]
    along = int(operator.attributes.get("axis", 0)) % len(first)
    ids.stop(first[along], f"{operator.called} cuts them at fixed places")
    return tuple(tuple(None if place == along else axis for place, axis in enumerate(first)) for _ in operator.made)


def _gather(ids: Ids, operator: HostOperator) -> tuple[Axes, ...]:
    along = int(operator.attributes.get("axis", 0)) % len(operator.axes[0])
    ids.stop(operator.axes[0][along], f"{operator.called} picks from them by number")
    for axis in operator.axes[1]:
        ids.stop(axis, f"{operator.called} reads them as numbers of places")
    return ((*operator.axes[0][:along], *(None for _ in operator.shapes[1]), *operator.axes[0][along + 1 :]),)


def _slice(ids: Ids, operator: HostOperator) -> tuple[Axes, ...]:
    if operator.made[0] and len(operator.made[0]) == len(operator.shapes[0]):
        axes = operator.held.get(3)
        chosen = (
            set(range(len(operator.shapes[0])))
            if axes is None
            else {int(place) % len(operator.shapes[0]) for place in axes}
        )
        for place in chosen:
            ids.stop(operator.axes[0][place], f"{operator.called} cuts some of them out")
        return (tuple(None if place in chosen else axis for place, axis in enumerate(operator.axes[0])),)
    return _unknown(ids, operator)


def _unsqueeze(ids: Ids, operator: HostOperator) -> tuple[Axes, ...]:
    rank = len(operator.made[0])
    new = set(_axes_of(operator, rank))
    rest = iter(operator.axes[0])
    return (tuple(None if place in new else next(rest) for place in range(rank)),)


def _squeeze(ids: Ids, operator: HostOperator) -> tuple[Axes, ...]:
    shape = operator.shapes[0]
    gone = [place for place, size in enumerate(shape) if size == 1]
    if 1 in operator.held or "axes" in operator.attributes:
        gone = _axes_of(operator, len(shape))
    for place in gone:
        ids.stop(operator.axes[0][place], f"{operator.called} wants one of them")
    return (tuple(axis for place, axis in enumerate(operator.axes[0]) if place not in gone),)


def _reshape(ids: Ids, operator: HostOperator) -> tuple[Axes, ...]:
    """Follow axes that stay, that are merged (flattened behind convolutions) and that are split (heads of attention)."""
    before, after = operator.shapes[0], operator.made[0]
    found: list[Axis] = [None] * len(after)
    for old, new in blocks_of(before, after):
        axes = [operator.axes[0][place] for place in old]
        followed = [place for place, axis in enumerate(axes) if axis is not None]
        if not followed:
            continue
        sizes = [before[place] for place in old]
        large = [place for place in new if after[place] != 1] or list(new[:1])
        if len(followed) > 1 or not large:
            for axis in axes:
                ids.stop(axis, f"{operator.called} mixes them with other axes")
        elif len(large) == 1:
            axis = axes[followed[0]]
            assert axis is not None
            spread = np.ones(len(sizes), np.int64)
            spread[followed[0]] = sizes[followed[0]]
            found[large[0]] = np.broadcast_to(axis.reshape(spread), sizes).reshape(-1)
        elif len([size for size in sizes if size != 1]) == 1 and axes[followed[0]].size == math.prod(sizes):  # type: ignore[union-attr]
            axis = axes[followed[0]]
            assert axis is not None
            found[large[0]] = ids.together(axis.reshape(after[large[0]], -1))
        else:
            for axis in axes:
                ids.stop(axis, f"{operator.called} mixes them with other axes")
    for place, axis in enumerate(found):
        if axis is not None and operator.kind == "Reshape":
            operator.reshaped.append((operator.node, place, axis))
    return (tuple(found),)


def blocks_of(before: Sequence[int], after: Sequence[int]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return the axes of *before* and of *after* that hold the same elements, block by block, as small as they can be."""
    found, left, right = [], 0, 0
    while left < len(before) or right < len(after):
        old, new = [], []
        a = b = 1
        if left < len(before):
            old, a, left = [left], before[left], left + 1
        if right < len(after):
            new, b, right = [right], after[right], right + 1
        while a != b:
            if (a < b and left < len(before)) or right >= len(after):
                old.append(left)
                a, left = a * before[left], left + 1
            else:
                new.append(right)
                b, right = b * after[right], right + 1
        found.append((tuple(old), tuple(new)))
    return found


UNARY = frozenset(
    """
    Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Cast Ceil Celu Clip Cos Cosh Dropout Elu Erf Exp Floor Gelu HardSigmoid
    HardSwish Identity IsInf IsNaN LeakyRelu Log Mish Neg Not Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus
    Softsign Sqrt Swish Tan Tanh ThresholdedRelu
    """.split()  # noqa: SIM905  (a list of words, one a line, is no easier to read)
)
"""Operators of each element of their first operand alone."""

JOINING = frozenset(
    """
    Add And BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Or PRelu Pow
    Sub Sum Where Xor
    """.split()  # noqa: SIM905
)
"""Operators of elements that stand at the same place of each operand."""

RULES: Mapping[str, Rule] = {
    **dict.fromkeys(UNARY, _first),
    **dict.fromkeys(JOINING, _elementwise),
    **dict.fromkeys(("Shape", "Size"), _nothing),  # who computes with sizes is looked at where the Graph is walked
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), _pool),
    **dict.fromkeys(
        ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare"),
        _over("sums up"),
    ),
    **dict.fromkeys(("ArgMax", "ArgMin"), _over("compares")),
    "Transpose": _transpose,
    "LayerNormalization": _layer_norm,
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": _batch_norm,
    "Pad": _pad,
    "Concat": _concat,
    "Split": _split,
    "Gather": _gather,
    "Slice": _slice,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "Flatten": _reshape,
}
"""Every operator whose channels are followed; all others keep theirs."""

HANDED_ON = frozenset(["Gather", "Slice", "Unsqueeze", "Squeeze", "Concat", "Identity", "Cast"])
"""Operators that make sizes of sizes."""

SHAPED = frozenset(["Reshape", "Expand", "ConstantOfShape", "Slice", "Tile", "Resize", "Split"])
"""Operators that take sizes as sizes, behind their first operand (ConstantOfShape: as it)."""

_WHOLE = (6, 7)
"""ONNX's numbers of int32 and int64."""


def only_shapes(kind: str, attributes: Mapping[str, Any], place: int) -> bool | None:
    """Return whether an operator that reads sizes as operand *place* takes them as a shape; None where it hands them on."""
    if kind in SHAPED and (place > 0 or kind == "ConstantOfShape"):
        return True
    if kind == "Cast" and attributes.get("to") not in _WHOLE:
        return False
    return None if kind in HANDED_ON and (place == 0 or kind == "Concat") else False
