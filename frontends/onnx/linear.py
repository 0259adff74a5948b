"""Operators that are linear per row: Gemm, MatMul, Add, Sub, Mul, Div, Neg, BatchNormalization, Scaler, linear models."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np

from approxhw.frontends.quantised.quantiser import Codes
from approxhw.frontends.tensors.values import (
    COMPLEMENT,
    PAIR,
    PLAIN,
    SHARES,
    SIGMOID,
    SOFTMAX,
    Known,
    Refusal,
    Row,
    Value,
    per_row,
)
from approxhw.ir.kinds import Add, Dense

from .activations import function_of, joined_by
from .importer import Call, Importer, where
from .tail import decide, labels_of
from .written_out import MIXED, order_kept


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
    c = call.number(2, "the bias C")
    if c is not None:
        bias = (Fraction(beta) if call.exact else beta) * per_row(c, out, "the bias C")
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
    codes = known.codes
    if codes is not None:  # scales stay above 0
        sign = int(np.sign(factor))
        codes = Codes(codes.integers * sign, codes.scale * (abs(factor) or 1.0))
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
        scale, shift = (part.astype(np.float64) for part in (columns.scale, columns.shift))
        np.add.at(wide.T, columns.index, (matrix * scale).T)
        bias, matrix, codes = bias.astype(np.float64) + matrix @ shift, wide, None
    else:
        value = work.vector(row, origin)
    made = work.dense(value, matrix, bias, origin, codes=codes, weight_origin=weight.origin)
    return Row(made, out.shape, out.batch)


def add(work: Importer, call: Call) -> Value:
    """Add and Sum: constants, and computed values (residual and parallel branches, averaged networks)."""
    if (kept := order_kept(work, call)) is not None:
        return kept
    return _summed(work, call, 1)


def mean(work: Importer, call: Call) -> Value:
    """Mean of computed values."""
    return _summed(work, call, max(1, len(call.values)))


def _summed(work: Importer, call: Call, count: int) -> Row:
    """Return the sum of all operands, divided by *count*."""
    known = [position for position, value in enumerate(call.values) if isinstance(value, Known)]
    rows = [_branch(call, position) for position in range(len(call.values)) if position not in known]
    if not rows:
        raise Refusal("has no operand", invalid=True)
    total = rows[0] if len(rows) == 1 else _one_layer(work, call, rows)
    if total is None:
        total = rows[0]
        for row in rows[1:]:
            total = _sum_of(work, call, total, row)
    if count == 1 and not known:
        return total
    shift = work.exact(np.zeros(total.elements))
    for position in known:
        array = call.constant(position, "the other operand")
        if array is None or array.dtype.kind not in "fiu":
            raise Refusal("its constant operand is no number", invalid=True)
        array = call.number(position, "the other operand")
        assert array is not None
        shift = shift + per_row(array, total)
    factor = Fraction(1, count) if call.exact else 1.0 / count
    return work.scaled(total, np.full(total.elements, factor), shift * factor, call)


def _branch(call: Call, position: int) -> Row:
    """Return computed operand *position*; probabilities of several networks cannot be added up, logits can."""
    value = call.value(position)
    several = sum(isinstance(other, Row) for other in call.values) > 1
    if several and isinstance(value, Row) and value.stage in (SOFTMAX, SHARES, PAIR):
        raise Refusal(*MIXED)
    return call.row(position)


def _sum_of(work: Importer, call: Call, first: Row, second: Row) -> Row:
    """Return the sum of two computed values: functions of one value where one of them is no exact one, else an ``Add``."""
    if first.full(1) != second.full(1) or first.batch != second.batch:
        why = f"joins rows of shape {first.shape} and {second.shape}"
        raise Refusal(why, "give both branches the same shape")
    made = joined_by(work, call, (first, second), "add", exact=True)
    if made is not None:
        return made
    origin = str(call.proto.name)
    inputs = (work.vector(first, origin), work.vector(second, origin))
    value = work.emit(f"{work.prefix}_joined", Add(), inputs, (first.elements,), origin)
    return replace(first, value=value, columns=None, shared=False, labels=first.labels or second.labels)


def _one_layer(work: Importer, call: Call, rows: list[Row]) -> Row | None:
    """Return the sum of *rows* that are layers of one and the same input: it is such a layer; None where they are not."""
    if len({(row.shape, row.batch) for row in rows}) > 1 or work.quantised:  # sums of floats are not exact
        return None
    parts = same_input(work, rows)
    if parts is None:
        return None
    value, weights, biases = parts
    made = work.dense(value, np.sum(weights, axis=0), np.sum(biases, axis=0), str(call.proto.name))
    labels = next((row.labels for row in rows if row.labels), ())
    return replace(rows[0], value=made, shared=False, labels=labels)


def same_input(work: Importer, rows: list[Row]) -> tuple[str, list[np.ndarray], list[np.ndarray]] | None:
    """Return the value that the layers *rows* all read, and the weights and biases of each; None where they do not."""
    nodes = [work.node(row.value) for row in rows]
    plain = all(row.columns is None and row.codes is row.after is None and row.stage == rows[0].stage for row in rows)
    if not plain or any(not isinstance(node.op, Dense) or node.inputs[0] != nodes[0].inputs[0] for node in nodes):
        return None
    if rows[0].stage not in (PLAIN, SIGMOID) or any(node.inputs[1] in work.weight_codes for node in nodes):
        return None
    weights, biases = ([work.constant_of(node.inputs[place]) for node in nodes] for place in (1, 2))
    return nodes[0].inputs[0], weights, biases


def subtract(work: Importer, call: Call) -> Value:
    """Sub with a constant on either side, or of computed values; 1 − Sigmoid is the other class of a binary head."""
    first, second = call.value(0), call.value(1)
    if isinstance(second, Row) and second.stage == SIGMOID and isinstance(first, Known) and (first.array == 1).all():
        return replace(second, stage=COMPLEMENT)
    if (kept := order_kept(work, call)) is not None:
        return kept
    if not isinstance(first, Known) and not isinstance(second, Known):
        row = _branch(call, 1)
        if (made := joined_by(work, call, (_branch(call, 0), row), "sub", exact=True)) is not None:
            return made
        ones = np.ones(row.elements)
        return _sum_of(work, call, _branch(call, 0), work.scaled(replace(row, shared=True), -ones, 0 * ones, call))
    row, constant, flipped = _operands(call)
    ones = np.ones(row.elements)
    return work.scaled(row, -ones, constant, call) if flipped else work.scaled(row, ones, -constant, call)


def multiply(work: Importer, call: Call) -> Value:
    """Mul with a constant on either side, or of two functions of one value."""
    if (made := order_kept(work, call) or _of_one_value(work, call, "mul")) is not None:
        return made
    row, constant, _ = _operands(call)
    return work.scaled(row, constant, np.zeros(row.elements), call)


def divide(work: Importer, call: Call) -> Value:
    """Div by a constant or by one number for all scores, of a constant by a value, or of two functions of one value."""
    if (made := order_kept(work, call) or _of_one_value(work, call, "div")) is not None:
        return made
    row, constant, flipped = _operands(call)
    if flipped:
        made = function_of(work, row, ("x", "reciprocal"), str(call.proto.name))
        return work.scaled(made, constant, np.zeros(made.elements), call)
    if (constant == 0).any():
        raise Refusal("divides by zero", "check the scaler: a feature of zero spread?", invalid=True)
    return work.scaled(row, 1 / constant, np.zeros(row.elements), call)


def negate(work: Importer, call: Call) -> Value:
    """Neg."""
    row = call.row()
    return work.scaled(row, -np.ones(row.elements), np.zeros(row.elements), call)


def _of_one_value(work: Importer, call: Call, word: str) -> Row | None:
    """Return two computed operands joined by *word* where both are functions of one value; None where one is constant."""
    if len(call.values) != 2 or any(isinstance(value, Known) for value in call.values):
        return None
    return joined_by(work, call, (call.row(0), call.row(1)), word)


def _operands(call: Call) -> tuple[Row, np.ndarray, bool]:
    """Return the computed operand, the constant one flat per row, and whether the constant stands first."""
    values = call.values
    if len(values) != 2:
        raise Refusal(f"has {len(values)} operands; a computed one and a constant are read")
    rows = [position for position in (0, 1) if not isinstance(values[position], Known)]
    if len(rows) == 2:
        raise Refusal(
            "multiplies or divides two computed tensors (a gated network)",
            "only functions of one value are read, such as x · Sigmoid(x): else one operand must be constant",
        )
    position = rows[0]
    row = call.row(position)
    array = call.constant(1 - position, "the other operand")
    if array is None or array.dtype.kind not in "fiu":
        raise Refusal("its constant operand is no number", invalid=True)
    array = call.number(1 - position, "the other operand")
    assert array is not None
    return row, per_row(array, row), position == 1


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
        values = work.exact(array.reshape(-1).astype(np.float64))
        parts.append(np.repeat(values, row.elements // row.shape[0]))
    scale, bias, mean, variance = parts
    epsilon = float(call.attributes.get("epsilon", 1e-5))
    below = variance + (Fraction(epsilon) if call.exact else epsilon)
    if (below <= 0).any():
        raise Refusal("its variance is negative", invalid=True)
    factor = scale / (np.array([_root(value) for value in below], dtype=object) if call.exact else np.sqrt(below))
    return work.scaled(row, factor, bias - mean * factor, call)


def _root(value: Fraction) -> Fraction:
    """Return the square root: exact where it is rational, else to 200 bits, far beyond any constant of a model."""
    below = value.denominator
    top, exact = value.numerator * below, math.isqrt(value.numerator * below)
    if exact * exact == top:
        return Fraction(exact, below)
    fine = max(0, 200 - top.bit_length() // 2)
    return Fraction(math.isqrt(top << 2 * fine), below << fine)


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
    offset, scale = (work.exact(part) for part in parts)
    return work.scaled(row, scale, -offset * scale, call)


def linear_classifier(work: Importer, call: Call) -> tuple[Value, ...]:
    """LinearClassifier of ai.onnx.ml: one row of coefficients a class; label and scores."""
    row = call.row()
    labels = labels_of(call, "classlabels_strings", "classlabels_ints")
    coefficients = np.array(call.attributes.get("coefficients") or [], dtype=np.float64)
    if row.elements == 0 or coefficients.size == 0 or coefficients.size % row.elements:
        raise Refusal(f"{coefficients.size} coefficients do not fit {row.elements} features", invalid=True)
    weight = coefficients.reshape(-1, row.elements)
    intercepts = np.array(call.attributes.get("intercepts") or np.zeros(len(weight)), dtype=np.float64)
    if not np.isfinite(weight).all() or not np.isfinite(intercepts).all():
        raise Refusal("its coefficients hold NaN or infinity", invalid=True)
    if len(intercepts) != len(weight) or (labels and len(labels) != len(weight)) or len(weight) < 2:
        raise Refusal(
            f"{len(weight)} rows of coefficients for {len(labels)} labels and {len(intercepts)} intercepts",
            "give one row of coefficients and one intercept a class",
        )
    transform = str(call.attributes.get("post_transform", "NONE"))
    if transform not in ("NONE", "SOFTMAX", "LOGISTIC"):
        raise Refusal(f"post_transform {transform} may change the order of the scores", "use NONE, SOFTMAX or LOGISTIC")
    origin = str(call.proto.name)
    vector = work.vector(row, origin)
    if len(weight) == 2 and (weight[0] == -weight[1]).all() and intercepts[0] == -intercepts[1]:
        # (-z, z), as skl2onnx writes a binary classifier: one sum and a threshold do
        second = {"NONE": PLAIN, "LOGISTIC": SIGMOID}.get(transform, "")
        made = work.dense(vector, weight[1:], intercepts[1:], origin)
        pair = Row(made, (2,), row.batch, stage=PAIR, labels=labels, staged_by=where(call.proto), pair_of=second)
        return decide(work, pair, origin), pair
    made = work.dense(vector, weight, intercepts, origin)
    scores = Row(made, (len(weight),), row.batch, labels=labels)
    stage = {"NONE": PLAIN, "SOFTMAX": SOFTMAX, "LOGISTIC": SIGMOID}[transform]
    return decide(work, scores, origin), replace(scores, stage=stage, staged_by=where(call.proto))


def linear_regressor(work: Importer, call: Call) -> Value:
    """LinearRegressor of ai.onnx.ml: one row of coefficients a target."""
    row = call.row()
    coefficients = np.array(call.attributes.get("coefficients") or [], dtype=np.float64)
    targets = int(call.attributes.get("targets", 1))
    if targets < 1 or coefficients.size != targets * row.elements:
        raise Refusal(
            f"{coefficients.size} coefficients for {targets} targets of {row.elements} features", invalid=True
        )
    intercepts = np.array(call.attributes.get("intercepts") or np.zeros(targets), dtype=np.float64)
    if intercepts.size != targets or not (np.isfinite(coefficients).all() and np.isfinite(intercepts).all()):
        raise Refusal("its intercepts do not fit, or hold NaN or infinity", invalid=True)
    if str(call.attributes.get("post_transform", "NONE")) != "NONE":
        raise Refusal(f"post_transform {call.attributes['post_transform']} is not read", "use NONE")
    origin = str(call.proto.name)
    made = work.dense(work.vector(row, origin), coefficients.reshape(targets, -1), intercepts, origin)
    return Row(made, (targets,), row.batch)
