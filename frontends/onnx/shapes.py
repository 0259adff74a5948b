"""Operators that move elements or change nothing: Reshape, Transpose, Concat, Slice, Gather, Cast, Dropout and kin."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import cast as typed

import numpy as np

from approxhw.frontends.quantised.quantiser import Codes
from approxhw.frontends.tensors.values import (
    COMPLEMENT,
    LEVEL,
    PAIR,
    PLAIN,
    SIGMOID,
    UNIFORM,
    ClassPrediction,
    Dictionary,
    Known,
    Refusal,
    Row,
    Value,
    check_width,
    joined_columns,
)
from approxhw.ir.kinds import Affine, Concat

from .importer import PROBE, Call, Importer, where
from .linear import same_input

MIXES = "mixes the batch axis with the elements of a row"
REMEDY_MIXES = "export with a dynamic batch axis (or a fixed batch of 1) that stays in front"


def identity(work: Importer, call: Call) -> Value:
    """Identity."""
    return call.value(0)


def dropout(work: Importer, call: Call) -> Value:
    """Dropout, which does nothing in inference."""
    training = call.constant(2, "training_mode")
    if training is not None and training.any():
        raise Refusal("drops elements at random (training mode)", "export the model in inference mode (model.eval())")
    return call.value(0)


def cast(work: Importer, call: Call) -> Value:
    """Cast between floats, or of a label; a cast of values to integers would round them."""
    from onnx import TensorProto

    value = call.value(0)
    target = int(call.attributes.get("to", 0))
    floats = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
    if isinstance(value, ClassPrediction):
        if target == TensorProto.STRING:
            return replace(value, labels=tuple(str(label) for label in value.labels))
        return value
    if isinstance(value, Row) and value.stage == UNIFORM and target == TensorProto.BOOL:
        return value  # whether a sum of probabilities is 0: a guard of the division by it
    if isinstance(value, Row) and value.codes is None and target not in floats:
        raise Refusal("casts computed values to integers, which cuts them off", "leave values floating-point")
    return value


def reshape(work: Importer, call: Call) -> Value:
    """Reshape that keeps rows apart."""
    value = call.value(0)
    if isinstance(value, ClassPrediction):
        return value
    row = _row(value)
    target = call.value(1)
    if not isinstance(target, Known):
        raise Refusal("its shape is computed from the input", "make the shape a constant")
    if target.array.reshape(-1).tolist() == [-1, 1] and work.finals.intersection(call.proto.output) and row.batch == 0:
        return row  # one column of all targets of all rows: the same numbers in the same order
    return _reshaped(
        work, row, [int(dim) for dim in target.array.reshape(-1)], bool(call.attributes.get("allowzero", 0))
    )


def flatten(work: Importer, call: Call) -> Value:
    """Flatten that keeps rows apart."""
    value = call.value(0)
    if isinstance(value, ClassPrediction):
        return value
    row = _row(value)
    axis = int(call.attributes.get("axis", 1))
    full = row.full(work.batch_size)
    if not -row.rank <= axis <= row.rank:
        raise Refusal(f"axis {axis} does not exist in a tensor of rank {row.rank}", invalid=True)
    axis = axis + row.rank if axis < 0 else axis
    return _reshaped(work, row, [math.prod(full[:axis]), math.prod(full[axis:])])


def squeeze(work: Importer, call: Call) -> Value:
    """Squeeze of axes of length 1, but for the batch axis."""
    value = call.value(0)
    if isinstance(value, ClassPrediction):
        return value
    row = _row(value)
    full = row.full(work.batch_size)
    axes = _axes(call)
    if axes is None:
        axes = [axis for axis, dim in enumerate(full) if dim == 1]
    chosen = _within(axes, row.rank)
    if any(full[axis] != 1 for axis in chosen):
        raise Refusal(f"squeezes an axis that is not 1 of a tensor of shape {_spelled(work, full)}", REMEDY_MIXES)
    return _reshaped(work, row, [dim for axis, dim in enumerate(full) if axis not in chosen])


def unsqueeze(work: Importer, call: Call) -> Value:
    """Unsqueeze."""
    value = call.value(0)
    if isinstance(value, ClassPrediction):
        return value
    row = _row(value)
    axes = _axes(call) or []
    rank = row.rank + len(axes)
    chosen = _within(axes, rank)
    left = iter(row.full(work.batch_size))
    return _reshaped(work, row, [1 if axis in chosen else next(left) for axis in range(rank)])


def expand(work: Importer, call: Call) -> Value:
    """Expand of one number for all classes to all of them, or of anything to the shape that it has."""
    row, target = _row(call.value(0)), call.value(1)
    if not isinstance(target, Known):
        raise Refusal("its shape is computed from the input", "make the shape a constant")
    full = row.full(work.batch_size)
    try:
        made = np.broadcast_shapes(full, tuple(int(dim) for dim in target.array.reshape(-1)))
    except ValueError:
        raise Refusal(f"its shape does not fit {_spelled(work, full)}", invalid=True) from None
    check_width(math.prod(made) // max(work.batch_size, 1))
    if made == full:
        return row
    batch = None if row.batch is None else row.batch + len(made) - len(full)
    if row.stage not in (LEVEL, UNIFORM) or (batch is not None and made[batch] != full[row.batch or 0]):
        raise Refusal("repeats elements", "leave the values as they are")
    return replace(row, shape=tuple(dim for axis, dim in enumerate(made) if axis != batch), batch=batch)


def _within(axes: list[int], rank: int) -> set[int]:
    """Return *axes* counted from the front; refuse those that a tensor of rank *rank* does not have, and doubled ones."""
    chosen = {axis % rank for axis in axes if -rank <= axis < rank}
    if len(chosen) != len(axes):
        raise Refusal(f"its axes {axes[:8]} are not different axes of a tensor of rank {rank}", invalid=True)
    return chosen


def _axes(call: Call) -> list[int] | None:
    """Return the axes: an attribute before opset 13, an input since."""
    if "axes" in call.attributes:
        return [int(axis) for axis in call.attributes["axes"]]
    array = call.constant(1, "the list of axes")
    return None if array is None else [int(axis) for axis in array.reshape(-1)]


def _reshaped(work: Importer, row: Row, target: list[int], allow_zero: bool = False) -> Row:
    """Return *row* in ONNX shape *target* (0: copied, -1: worked out); the batch axis must survive whole."""
    full = row.full(work.batch_size)
    total = math.prod(full)
    dims = []
    for axis, dim in enumerate(target):
        if dim == 0 and not allow_zero:
            if axis >= len(full):
                raise Refusal(f"copies axis {axis} of a tensor of rank {len(full)}", invalid=True)
            dim = full[axis]
        dims.append(dim)
    rest = math.prod(dim for dim in dims if dim != -1)
    if dims.count(-1) == 1 and rest > 0 and total % rest == 0:
        dims[dims.index(-1)] = total // rest
    if -1 in dims or math.prod(dims) != total:
        why = f"makes shape {tuple(target)} of {_spelled(work, full)}"
        raise Refusal(f"{why}: {MIXES}, or loses elements", REMEDY_MIXES)
    if row.batch is None:
        return replace(row, shape=tuple(dims))
    leading = 0
    while leading < len(dims) and dims[leading] == 1 and work.batch_size != 1:
        leading += 1
    if row.batch > 0 and any(dim != 1 for dim in full[: row.batch]):
        raise Refusal(f"{MIXES} (the batch axis is not in front)", REMEDY_MIXES)
    if leading < len(dims) and dims[leading] == work.batch_size:
        return replace(row, shape=(*dims[:leading], *dims[leading + 1 :]), batch=leading)
    if work.batch_size == 1:
        return replace(row, shape=tuple(dims), batch=None)
    raise Refusal(f"makes shape {tuple(target)} of {_spelled(work, full)}: {MIXES}", REMEDY_MIXES)


def _spelled(work: Importer, full: tuple[int, ...]) -> str:
    return "(" + ", ".join("batch" if dim == PROBE else str(dim) for dim in full) + ")"


def transpose(work: Importer, call: Call) -> Value:
    """Transpose that leaves the elements of a row in order, or reorders elements of the Input."""
    value = call.value(0)
    if isinstance(value, Known):
        return _transposed_constant(value, call)
    row = _row(value)
    order = [int(axis) for axis in call.attributes.get("perm") or reversed(range(row.rank))]
    if sorted(order) != list(range(row.rank)):
        raise Refusal(f"perm {order} is no order of {row.rank} axes", invalid=True)
    inner = [axis for axis in (row.axis(axis) for axis in order) if axis is not None]
    shape = tuple(row.shape[axis] for axis in inner)
    batch = None if row.batch is None else order.index(row.batch)
    positions = np.arange(row.elements).reshape(row.shape).transpose(inner).reshape(-1)
    return replace(_picked(row, positions), shape=shape, batch=batch)


def _transposed_constant(value: Known, call: Call) -> Known:
    """Return a quantised constant with its axes in another order, and its integers with it."""
    order = [int(axis) for axis in call.attributes.get("perm") or reversed(range(value.array.ndim))]
    codes = value.codes
    if sorted(order) != list(range(value.array.ndim)):
        raise Refusal(f"perm {order} is no order of {value.array.ndim} axes", invalid=True)
    if codes is not None:
        codes = Codes(codes.integers.transpose(order), codes.scale.transpose(order))
    return replace(value, array=value.array.transpose(order), codes=codes)


def _picked(row: Row, positions: np.ndarray) -> Row:
    """Return *row* made of its elements at *positions*; only elements of the Input can be picked or reordered."""
    if len(positions) == row.elements and (positions == np.arange(row.elements)).all():
        return row
    columns = row.columns
    if row.stage == PAIR and len(positions) == 1 and (row.pair_of == SIGMOID or (row.pair_of and positions[0] == 1)):
        return replace(row, stage=row.pair_of if positions[0] == 1 else COMPLEMENT)
    if columns is None or row.stage != PLAIN:
        raise Refusal(
            "picks or reorders elements of a hidden layer",
            "do it to the model's input, or put the order into the weights",
        )
    return replace(row, columns=columns.picked(positions))


def slice_(work: Importer, call: Call) -> Value:
    """Slice with constant bounds, of elements of the Input."""
    row = _row(call.value(0))
    if "starts" in call.attributes:
        starts, ends, axes, steps = (call.attributes.get(name) for name in ("starts", "ends", "axes", "steps"))
    else:
        parts = [call.constant(p, "a bound") for p in (1, 2, 3, 4)]
        starts, ends, axes, steps = (None if part is None else part.reshape(-1).tolist() for part in parts)
    if starts is None or ends is None or len(starts) != len(ends):
        raise Refusal("its bounds are missing", invalid=True)
    places = np.arange(row.elements).reshape(row.shape)
    cut: list[slice] = [slice(None)] * len(row.shape)
    for start, end, axis, step in zip(starts, ends, axes or range(len(starts)), steps or [1] * len(starts)):
        inner = row.axis(int(axis))
        if inner is None:
            if (int(start), int(step)) == (0, 1) and int(end) >= work.batch_size:
                continue
            raise Refusal("takes some rows of the batch only", REMEDY_MIXES)
        if int(step) == 0:
            raise Refusal("has a step of 0", invalid=True)
        backwards_to_front = int(step) < 0 and int(end) < -row.shape[inner]
        cut[inner] = slice(int(start), None if backwards_to_front else int(end), int(step))
    taken = places[tuple(cut)]
    if not taken.size:
        raise Refusal("leaves no element", invalid=True)
    return replace(_picked(row, taken.reshape(-1)), shape=taken.shape)


def gather(work: Importer, call: Call) -> Value:
    """Gather of elements of the Input by constant indices, or of class labels by the class index."""
    value, index = call.value(0), call.value(1)
    if isinstance(value, Known) and isinstance(index, ClassPrediction):
        return labelled(index, value)
    row = _row(value)
    positions = call.constant(1, "the list of indices")
    assert positions is not None
    inner = row.axis(int(call.attributes.get("axis", 0)))
    check_width(positions.size)
    if inner is None:
        raise Refusal("takes some rows of the batch only", REMEDY_MIXES)
    try:
        taken = np.take(np.arange(row.elements).reshape(row.shape), positions.astype(np.int64), axis=inner)
    except IndexError:
        raise Refusal(f"an index lies outside 0 … {row.shape[inner] - 1}", invalid=True) from None
    batch = row.batch
    if batch is not None and batch > inner:
        batch += positions.ndim - 1
    return replace(_picked(row, taken.reshape(-1)), shape=taken.shape, batch=batch)


def array_feature_extractor(work: Importer, call: Call) -> Value:
    """ArrayFeatureExtractor of ai.onnx.ml: columns of the Input, or class labels by the class index."""
    value, index = call.value(0), call.value(1)
    if isinstance(value, Known) and isinstance(index, ClassPrediction):
        return labelled(index, value)
    row = _row(value)
    positions = call.constant(1, "the list of columns")
    assert positions is not None
    if len(row.shape) != 1 or positions.size == 0 or positions.min() < 0 or positions.max() >= row.elements:
        raise Refusal(f"a column lies outside 0 … {row.elements - 1}", invalid=True)
    return replace(_picked(row, positions.reshape(-1).astype(np.int64)), shape=(positions.size,))


def labelled(index: ClassPrediction, table: Known) -> ClassPrediction:
    """Return *index* with the labels that *table* gives its classes."""
    values = [label if isinstance(label, str) else label.item() for label in table.array.reshape(-1)]
    if index.labels:  # as skl2onnx does it for a binary OneVsRest: labels that are places of the table
        places = [label for label in index.labels if isinstance(label, int) and 0 <= label < len(values)]
        if len(places) != len(index.labels):
            raise Refusal("looks up labels by labels", "let one lookup follow ArgMax")
        values = [values[place] for place in places]
    if any(isinstance(value, float) and value != int(value) for value in values):
        raise Refusal("its class labels are broken numbers", "use text or integers as class labels")
    return replace(index, labels=tuple(value if isinstance(value, str) else int(value) for value in values))


def concat(work: Importer, call: Call) -> Value:
    """Concat of elements of the Input, of branches, of single scores, or of (1 − p, p) at the end of a binary classifier."""
    rows = [value for value in call.values if isinstance(value, Row)]
    if len(rows) != len(call.values) or not rows:
        raise Refusal("joins computed tensors with constants or labels", "join elements of the input only")
    if (
        [row.stage for row in rows] == [COMPLEMENT, SIGMOID]
        and rows[0].value == rows[1].value
        and rows[0].elements == 1
    ):
        return replace(rows[1], stage=PAIR, shape=(2,), batch=rows[1].batch, pair_of=SIGMOID)
    if len(rows) == 1:
        return rows[0]
    if len(rows) == 2 and rows[1].elements == 1 and (total := _total_of_pair(work, rows[0], rows[1])) is not None:
        pair = replace(rows[1], stage=PAIR, shape=(2,), pair_of=PLAIN, staged_by=where(call.proto))
        if total == 0:
            return pair  # (-z, z): the greater one is the sign of z
        # (c − z, z): z is the greater one where it is above c / 2; elements of the pair are no scores of this value
        moved = work.affine(pair.value, np.ones(1), np.full(1, -total / 2), str(call.proto.name))
        return replace(pair, value=moved, tensor="", pair_of="")
    if (made := _layers_joined(work, rows, call)) is not None:
        return made
    if any(row.columns is None or row.stage != PLAIN for row in rows):
        return _parallel(work, call)
    axes = {row.axis(int(call.attributes.get("axis", 1))) for row in rows}
    axis = axes.pop()
    if axes or axis is None or len({(row.rank, row.batch) for row in rows}) > 1:
        raise Refusal("joins rows of the batch, or tensors of different rank", REMEDY_MIXES)
    return joined(rows, axis)


def _parallel(work: Importer, call: Call) -> Row:
    """Return computed values side by side: parallel branches that meet. Of Sigmoids it is their logits that do."""
    alike = {(value.stage, value.after, value.codes) for value in call.values if isinstance(value, Row)}
    sigmoids = len(alike) == 1 and alike.pop()[::2] == (SIGMOID, None)
    rows = [typed("Row", call.value(at)) if sigmoids else call.row(at) for at in range(len(call.values))]
    axis = rows[0].axis(int(call.attributes.get("axis", 1)))
    if axis is None or len({(row.rank, row.batch) for row in rows}) > 1:
        raise Refusal("joins rows of the batch, or tensors of different rank", REMEDY_MIXES)
    if any(dim != 1 for row in rows for dim in row.shape[:axis]):
        raise Refusal(f"joins rows of shape {rows[0].shape} along axis {axis} of them", "flatten the branches before")
    if len({row.shape[axis + 1 :] for row in rows}) > 1:
        raise Refusal("joins tensors whose shapes do not fit", invalid=True)
    sizes = tuple(row.elements for row in rows)
    check_width(sum(sizes))
    origin = str(call.proto.name)
    value = work.emit(
        f"{work.prefix}_side_by_side", Concat(sizes), tuple(work.vector(r, origin) for r in rows), (sum(sizes),), origin
    )
    wide = sum(row.shape[axis] for row in rows)
    shape = (*rows[0].shape[:axis], wide, *rows[0].shape[axis + 1 :])
    return replace(rows[0], value=value, shape=shape, columns=None, shared=False, tensor="")


def _total_of_pair(work: Importer, first: Row, second: Row) -> float | None:
    """Return c where *first* is c − *second*, both of them plain; None where it is something else."""
    node = work.node(first.value)
    plain = first.stage == second.stage == PLAIN and second.columns is None and first.elements == 1
    if not plain or not isinstance(node.op, Affine) or node.inputs[0] != second.value:
        return None
    scale, shift = (work.constant_of(name) for name in node.inputs[1:])
    return float(shift[0]) if scale[0] == -1 else None


def _layers_joined(work: Importer, rows: list[Row], call: Call) -> Row | None:
    """Return single scores of layers of one and the same input side by side: they are one layer; None where they are not."""
    if any(row.elements != 1 or len(row.shape) != 1 for row in rows) or len({row.batch for row in rows}) > 1:
        return None
    parts = same_input(work, rows)
    if parts is None or rows[0].axis(int(call.attributes.get("axis", 1))) is None:
        return None
    value, weights, biases = parts
    made = work.dense(value, np.concatenate(weights), np.concatenate(biases), str(call.proto.name))
    by = rows[0].staged_by
    return Row(made, (len(rows),), rows[0].batch, stage=rows[0].stage, staged_by=by)


def joined(rows: list[Row], axis: int) -> Row:
    """Return *rows*, all of them elements of the Input, side by side along *axis* of their shape."""
    check_width(sum(row.elements for row in rows))
    start, places = 0, []
    for row in rows:
        places.append(np.arange(start, start + row.elements).reshape(row.shape))
        start += row.elements
    try:
        order = np.concatenate(places, axis=axis)
    except ValueError:
        raise Refusal("joins tensors whose shapes do not fit", invalid=True) from None
    columns = [row.columns for row in rows if row.columns is not None]
    flat = order.reshape(-1)
    return replace(rows[0], shape=order.shape, columns=joined_columns(columns).picked(flat))


def feature_vectorizer(work: Importer, call: Call) -> Value:
    """FeatureVectorizer of ai.onnx.ml: elements of the Input side by side."""
    rows = [call.row(position) for position in range(len(call.values))]
    if any(row.columns is None or len(row.shape) != 1 for row in rows):
        raise Refusal("joins computed tensors (parallel branches)", "join elements of the input only")
    return joined(rows, 0)


def shape_of(work: Importer, call: Call) -> Value:
    """Shape: known, but for the batch size, which a probe stands for."""
    value = call.value(0)
    full = value.array.shape if isinstance(value, Known) else _row(value).full(work.batch_size)
    start, end = int(call.attributes.get("start", 0)), call.attributes.get("end")
    dims = full[start : None if end is None else int(end)]
    return Known(np.array(dims, dtype=np.int64), str(call.proto.name), sized=work.batch_size in dims)


def _row(value: Value) -> Row:
    if isinstance(value, Row):
        return value
    if isinstance(value, Dictionary):
        raise Refusal("works on the dictionary of a ZipMap", "convert with zipmap=False")
    raise Refusal("works on a class index or label", "nothing but Cast, Reshape and label lookup may follow ArgMax")
