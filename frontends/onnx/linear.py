"""Operators that are linear per row: Gemm, MatMul, Add, Sub, Mul, Div, Neg, BatchNormalization, Scaler."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from approxhw.ir.kinds import Dense

from .importer import Call, Importer
from .tail import REMEDY_AVERAGE, order_kept
from .values import COMPLEMENT, PLAIN, SIGMOID, Codes, Known, Refusal, Row, Value, per_row


def gemm(work: Importer, call: Call) -> Value:
    """Gemm: alpha · A' · B' + beta · C, the weights on either side."""
    a, b = call.value(0), call.value(1)
    alpha, beta = float(call.attributes.get("alpha", 1.0)), float(call.attributes.get("beta", 1.0))
    left, right = bool(call.attributes.get("transA", 0)), bool(call.attributes.get("transB", 0))
    if isinstance(a, Row) and isinstance(b, Known):
        row, matrix = call.row(0), _matrix(b, 2)
        contracted = 0 if left else 1
        out = replace(row, batch=None if row.batch is None else 0)
        weight = matrix if right else _transposed(matrix)
    elif isinstance(a, Known) and isinstance(b, Row):
        row, matrix = call.row(1), _matrix(a, 2)
        contracted = 1 if right else 0
        out = replace(row, batch=None if row.batch is None else 1)
        weight = _transposed(matrix) if left else matrix
    else:
        raise _both(a, b)
    if row.rank != 2:
        raise Refusal(f"reads a tensor of rank {row.rank}; Gemm works on matrices", invalid=True)
    _check_contraction(row, contracted, weight)
    outputs = weight.array.shape[0]
    if row.batch is None:
        other = row.shape[1 - contracted]
        out = replace(out, shape=(other, outputs) if isinstance(a, Row) else (outputs, other))
    else:
        out = replace(out, shape=(outputs,))
    bias = np.zeros(outputs)
    c = call.constant(2, "the bias C")
    if c is not None:
        bias = beta * per_row(c, out, "the bias C")
    return _dense(work, call, row, out, _times(weight, alpha), bias)


def matmul_layer(work: Importer, call: Call) -> Value:
    """MatMul with the weights on either side."""
    a, b = call.value(0), call.value(1)
    if isinstance(a, Row) and isinstance(b, Known):
        row, weight = call.row(0), _transposed(_matrix(b, 1))
        contracted, kept = row.rank - 1, b.array.ndim > 1
    elif isinstance(a, Known) and isinstance(b, Row):
        row, weight = call.row(1), _matrix(a, 1)
        contracted, kept = max(row.rank - 2, 0), a.array.ndim > 1
        if a.array.ndim == 1:
            weight = replace(weight, array=weight.array.reshape(1, -1))
    else:
        raise _both(a, b)
    if row.rank < 1:
        raise Refusal("reads a scalar", invalid=True)
    _check_contraction(row, contracted, weight)
    axis = row.axis(contracted)
    assert axis is not None
    outputs = weight.array.shape[0]
    shape = (*row.shape[:axis], *((outputs,) if kept else ()), *row.shape[axis + 1 :])
    batch = row.batch if kept or row.batch is None or row.batch < contracted else row.batch - 1
    return _dense(work, call, row, replace(row, shape=shape, batch=batch), weight, np.zeros(outputs))


def _both(a: Value, b: Value) -> Refusal:
    if isinstance(a, Row) and isinstance(b, Row):
        return Refusal(
            "multiplies two computed tensors (attention?)", "only multiplication by constant weights is read"
        )
    return Refusal("does not multiply a computed tensor by constant weights")


def _matrix(known: Known, least: int) -> Known:
    """Return *known* as a weight matrix (a vector becomes a column, leading axes of 1 go)."""
    array = known.array
    if known.sized or array.dtype.kind not in "fiu":
        raise Refusal(f"its weights ({array.dtype}) are no constant numbers")
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 1 and least == 1:
        array = array.reshape(-1, 1)
    if array.ndim != 2:
        raise Refusal(f"its weights have shape {known.array.shape}; a matrix is read", "flatten before the layer")
    codes = known.codes
    if codes is not None:
        scale = codes.scale.reshape(codes.scale.shape[-2:]) if codes.scale.ndim > 2 else codes.scale
        codes = Codes(codes.integers.reshape(array.shape), scale)
    return replace(known, array=array.astype(np.float64), codes=codes)


def _transposed(known: Known) -> Known:
    codes = known.codes
    if codes is not None:
        codes = Codes(codes.integers.T, codes.scale.T)
    return replace(known, array=known.array.T, codes=codes)


def _times(known: Known, factor: float) -> Known:
    if factor == 1.0:
        return known
    codes = None if known.codes is None or factor <= 0 else Codes(known.codes.integers, known.codes.scale * factor)
    return replace(known, array=known.array * factor, codes=codes)


def _check_contraction(row: Row, contracted: int, weight: Known) -> None:
    """Refuse a product that sums over the batch, or that one Dense cannot carry out."""
    axis = row.axis(contracted)
    if axis is None:
        raise Refusal(
            "sums over the batch axis: rows would mix, and the result has no batch axis in front",
            "multiply rows by weights (x · W, or Gemm with transA=0)",
        )
    if row.shape[axis] != weight.array.shape[1]:
        why = f"multiplies rows of {row.shape[axis]} elements by weights for {weight.array.shape[1]}"
        raise Refusal(why, invalid=True)
    if row.elements != row.shape[axis]:
        why = f"works on rows of shape {row.shape}; one vector a row is read"
        raise Refusal(why, "flatten before the layer (sequences and images through Dense layers are not read)")


def _dense(work: Importer, call: Call, row: Row, out: Row, weight: Known, bias: np.ndarray) -> Row:
    """Append the Dense; picked elements of the Input are absorbed into its weights where they are out of order."""
    origin = str(call.proto.name)
    matrix, value, codes = weight.array, row.value, weight.codes
    columns = row.columns
    if columns is not None and not columns.is_all_of(len(work.features)):
        wide = work.blank(matrix.shape[0])
        np.add.at(wide.T, columns.index, (matrix * columns.scale).T)
        bias, matrix, codes = bias + matrix @ columns.shift, wide, None
    else:
        value = work.vector(row, origin)
    made = work.dense(value, matrix, bias, origin, codes=codes, weight_origin=weight.origin)
    return Row(made, out.shape, out.batch)


def add(work: Importer, call: Call) -> Value:
    """Add (and Sum of two) with a constant on either side, or of layers of the same input."""
    if (kept := order_kept(work, call) or summed(work, call)) is not None:
        return kept
    row, constant, _ = _operands(call)
    return work.scaled(row, np.ones(row.elements), constant, call)


def summed(work: Importer, call: Call) -> Row | None:
    """Return the sum of computed rows that are layers of one and the same input: it is such a layer; None where they are not."""
    rows = [value for value in call.values if isinstance(value, Row)]
    if len(rows) != len(call.values) or len(rows) < 2 or len({(row.shape, row.batch) for row in rows}) > 1:
        return None
    if any(row.stage != PLAIN for row in rows):
        raise Refusal("mixes the probabilities of several models: no scores have their order", REMEDY_AVERAGE)
    parts = same_input(work, rows)
    if parts is None:
        return None
    value, weights, biases = parts
    made = work.dense(value, np.sum(weights, axis=0), np.sum(biases, axis=0), str(call.proto.name))
    return replace(rows[0], value=made, shared=False, labels=())


def same_input(work: Importer, rows: list[Row]) -> tuple[str, list[np.ndarray], list[np.ndarray]] | None:
    """Return the value that the layers *rows* all read, and the weights and biases of each; None where they do not."""
    nodes = [work.node(row.value) for row in rows]
    plain = all(row.columns is None and row.codes is None and row.stage == rows[0].stage for row in rows)
    if not plain or any(not isinstance(node.op, Dense) or node.inputs[0] != nodes[0].inputs[0] for node in nodes):
        return None
    if rows[0].stage not in (PLAIN, SIGMOID) or any(node.inputs[1] in work.weight_codes for node in nodes):
        return None
    weights, biases = ([work.constant_of(node.inputs[place]) for node in nodes] for place in (1, 2))
    return nodes[0].inputs[0], weights, biases


def mean(work: Importer, call: Call) -> Value:
    """Mean of layers of the same input."""
    if (made := summed(work, call)) is None:
        raise Refusal("averages computed tensors (an ensemble of networks)", "keep one network, or train one of all")
    count = len(call.values)
    return work.scaled(made, np.full(made.elements, 1 / count), np.zeros(made.elements), call)


def subtract(work: Importer, call: Call) -> Value:
    """Sub with a constant on either side; 1 − Sigmoid is the other class of a binary head."""
    first, second = call.value(0), call.value(1)
    if isinstance(second, Row) and second.stage == SIGMOID and isinstance(first, Known) and (first.array == 1).all():
        return replace(second, stage=COMPLEMENT)
    if (kept := order_kept(work, call)) is not None:
        return kept
    row, constant, flipped = _operands(call)
    ones = np.ones(row.elements)
    return work.scaled(row, -ones, constant, call) if flipped else work.scaled(row, ones, -constant, call)


def multiply(work: Importer, call: Call) -> Value:
    """Mul with a constant on either side."""
    if (kept := order_kept(work, call)) is not None:
        return kept
    row, constant, _ = _operands(call)
    return work.scaled(row, constant, np.zeros(row.elements), call)


def divide(work: Importer, call: Call) -> Value:
    """Div by a constant, or of scores by one number for all of them."""
    if (kept := order_kept(work, call)) is not None:
        return kept
    row, constant, flipped = _operands(call)
    if flipped:
        raise Refusal("divides a constant by a computed value", "only division by a constant is read")
    if (constant == 0).any():
        raise Refusal("divides by zero", "check the scaler: a feature of zero spread?", invalid=True)
    return work.scaled(row, 1.0 / constant, np.zeros(row.elements), call)


def negate(work: Importer, call: Call) -> Value:
    """Neg."""
    row = call.row()
    return work.scaled(row, -np.ones(row.elements), np.zeros(row.elements), call)


def _operands(call: Call) -> tuple[Row, np.ndarray, bool]:
    """Return the computed operand, the constant one flat per row, and whether the constant stands first."""
    values = call.values
    if len(values) != 2:
        raise Refusal(f"has {len(values)} operands; a computed one and a constant are read")
    rows = [position for position in (0, 1) if not isinstance(values[position], Known)]
    if len(rows) == 2:
        raise _joined(call)
    position = rows[0]
    row = call.row(position)
    array = call.constant(1 - position, "the other operand")
    if array is None or array.dtype.kind not in "fiu":
        raise Refusal("its constant operand is no number", invalid=True)
    return row, per_row(array, row), position == 1


def _joined(call: Call) -> Refusal:
    """Return what to tell of two computed operands: what such networks are called depends on the operator."""
    found = [value for value in call.values if isinstance(value, Row)]
    gate = next((row for row in found if row.stage == SIGMOID), None)
    if call.op == "Mul" and gate is not None and any(row.value == gate.value for row in found if row.stage == PLAIN):
        return Refusal("is the activation SiLU (Swish), x · Sigmoid(x)", "train with ReLU (or Clip/ReLU6) in its place")
    if call.op in ("Mul", "Div"):
        why = "multiplies or divides two computed tensors (a gate, or an activation that is written out)"
        return Refusal(why, "train with ReLU; only chains of layers are read: one operand must be constant")
    why = "joins two computed tensors (a residual network, or parallel branches)"
    return Refusal(why, "only chains of layers are read: one operand must be constant")


def batch_normalization(work: Importer, call: Call) -> Value:
    """BatchNormalization with running statistics: scale · (x − mean) / sqrt(variance + epsilon) + bias."""
    if call.attributes.get("training_mode", 0) or len([name for name in call.proto.output if name]) > 1:
        raise Refusal("normalises by the batch (training mode)", "export the model in inference mode (model.eval())")
    row = call.row()
    if row.batch != 0 or not row.shape:
        raise Refusal(f"works on rows of shape {row.shape} without a batch axis in front", "give it batch × channels")
    names = ("the scale", "the bias", "the mean", "the variance")
    parts = []
    for position, name in enumerate(names, start=1):
        array = call.constant(position, name)
        if array is None or array.size != row.shape[0]:
            raise Refusal(f"{name} does not have one value for each of {row.shape[0]} channels", invalid=True)
        parts.append(np.repeat(array.reshape(-1).astype(np.float64), row.elements // row.shape[0]))
    scale, bias, mean, variance = parts
    below = variance + float(call.attributes.get("epsilon", 1e-5))
    if (below <= 0).any():
        raise Refusal("its variance is negative", invalid=True)
    factor = scale / np.sqrt(below)
    return work.scaled(row, factor, bias - mean * factor, call)


def scaler(work: Importer, call: Call) -> Value:
    """Scaler of ai.onnx.ml: (x − offset) · scale."""
    row = call.row()
    parts = []
    for name, default in (("offset", 0.0), ("scale", 1.0)):
        array = np.array(call.attributes.get(name) or [default], dtype=np.float64)
        if array.size not in (1, row.elements):
            raise Refusal(f"{name} has {array.size} values for {row.elements} features", invalid=True)
        if not np.isfinite(array).all():
            raise Refusal(f"{name} holds NaN or infinity", "look for a feature of zero spread", invalid=True)
        parts.append(np.broadcast_to(array, (row.elements,)))
    offset, scale = parts
    return work.scaled(row, scale, -offset * scale, call)
