"""Softmax, Sigmoid and shares that exporters write out node by node: how far the order of scores goes through them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from approxhw.frontends.tensors.values import (
    COMPLEMENT,
    EXP,
    EXP_PLUS_ONE,
    LEVEL,
    MOVED,
    PAIR,
    PLAIN,
    SHARES,
    SIGMOID,
    SOFTMAX,
    UNIFORM,
    Known,
    Refusal,
    Row,
    Value,
)
from approxhw.ir.kinds import Affine, Clip, Constant, Relu

from .activations import function_of
from .importer import Call, Importer, where

SUMS = ("sums up computed values", "only a sum of probabilities over the classes, at the end, is read")
REMEDY_AVERAGE = "average the scores, before Softmax and Sigmoid, or keep one model"
LEVELS = ("makes one number of computed values", "only over the classes, of scores, at the end, is it read")
MIXED = ("mixes the probabilities of several models: no scores have their order", REMEDY_AVERAGE)


def exponential_of(work: Importer, call: Call) -> Value:
    """Exp: maybe the beginning of a Sigmoid that is written out, 1 / (1 + exp(−z)); elsewhere ``values_of`` carries it out.

    Of scores moved by one number for all of them it keeps the order.
    """
    value = call.value(0)
    if isinstance(value, Row) and value.stage in (MOVED, LEVEL, UNIFORM):
        return replace(value, stage=SHARES if value.stage == MOVED else UNIFORM)
    return replace(call.row(), stage=EXP, staged_by=where(call.proto))


def reciprocal(work: Importer, call: Call) -> Value:
    """Reciprocal: the end of a Sigmoid that is written out, or any other value."""
    row = call.value(0)
    if isinstance(row, Row) and row.stage == EXP_PLUS_ONE:
        return _written_out(work, row, call)
    return function_of(work, call.row(), ("x", "reciprocal"), str(call.proto.name))


def _written_out(work: Importer, row: Row, call: Call) -> Row:
    """Return 1 / (1 + exp(x)) of the *row* x: the Sigmoid of −x."""
    node, origin = work.node(row.value), str(call.proto.name)
    scale, shift = (work.node(name).op for name in node.inputs[1:]) if isinstance(node.op, Affine) else (None, None)
    turned = isinstance(scale, Constant) and isinstance(shift, Constant)
    if turned and (scale.data == -1).all() and (shift.data == 0).all() and row.columns is None:  # type: ignore[union-attr]
        value = node.inputs[0]
    else:
        value = work.affine(work.vector(row, origin), -np.ones(row.elements), np.zeros(row.elements), origin)
    return replace(row, value=value, columns=None, stage=SIGMOID, staged_by=where(call.proto), tensor="")


def logarithm(work: Importer, call: Call) -> Value:
    """Log: of probabilities it keeps the order, of one number for all classes it is one; elsewhere a function of values."""
    value = call.value(0)
    if isinstance(value, Row) and value.codes is None:
        if value.stage in (SOFTMAX, SHARES) and value.elements > 1:
            return replace(value, stage=MOVED, staged_by=value.staged_by or where(call.proto))
        if value.stage in (UNIFORM, LEVEL):
            return replace(value, stage=LEVEL)
    return function_of(work, call.row(), ("x", "log"), str(call.proto.name))


ORDERED = (PLAIN, SOFTMAX, SIGMOID, SHARES, MOVED)
"""Stages of scores, whose order decides."""

_NOT_NEGATIVE = (SOFTMAX, SIGMOID, SHARES, PAIR, EXP)


def reduce_sum(work: Importer, call: Call) -> Value:
    """ReduceSum over the classes, of probabilities or of what is not below 0: shares of it keep the order of the scores."""
    row = _over_classes(call, SUMS)
    if not _is_positive(work, row):
        raise Refusal(*SUMS)
    return _one_for_all(row, UNIFORM, call)


def reduce_level(work: Importer, call: Call) -> Value:
    """ReduceMax, ReduceMin and ReduceLogSumExp over the classes: what is taken from all scores keeps their order."""
    row = _over_classes(call, LEVELS)
    if row.stage not in ORDERED:
        raise Refusal(*LEVELS)
    return _one_for_all(row, LEVEL, call)


def _over_classes(call: Call, why: tuple[str, str]) -> Row:
    """Return the scores that *call* makes one number of; refuse with *why* what goes over something else."""
    row = call.value(0)
    axes = call.attributes.get("axes") or call.constant(1, "the list of axes")
    if not isinstance(row, Row) or row.codes is not None or axes is None:
        raise Refusal(*why)
    inner = [row.axis(int(axis)) for axis in np.asarray(axes).reshape(-1)]
    if len(inner) != 1 or inner[0] is None or row.shape[inner[0]] != row.elements or row.elements == 1:
        raise Refusal(*why)
    return row


def _one_for_all(row: Row, stage: str, call: Call) -> Row:
    shape: tuple[int, ...] = tuple(1 for _ in row.shape)
    if not call.attributes.get("keepdims", 1):
        shape = shape[1:]  # all of them are 1
    return replace(row, shape=shape, columns=None, stage=stage, staged_by=where(call.proto))


def _is_positive(work: Importer, row: Row) -> bool:
    return row.stage in _NOT_NEGATIVE or (row.stage == PLAIN and _least(work, row) >= 0)


def _least(work: Importer, row: Row) -> float:
    """Return what no element of *row* is below, as far as activations and scales right behind them tell."""
    if row.columns is not None:
        return -math.inf
    node, scale, shift = work.node(row.value), 1.0, 0.0
    while isinstance(node.op, Affine):
        s, t = (work.node(name).op.data for name in node.inputs[1:])  # type: ignore[union-attr]
        if not (s > 0).all() or (s != s[0]).any() or (t != t[0]).any():
            return -math.inf
        scale, shift = scale * float(s[0]), scale * float(t[0]) + shift
        node = work.node(node.inputs[0])
    if isinstance(node.op, Relu):
        return shift
    return scale * float(node.op.low) + shift if isinstance(node.op, Clip) and node.op.low is not None else -math.inf


def order_kept(work: Importer, call: Call) -> Row | None:
    """Return what Add, Sub, Mul or Div makes where only the order of scores goes through it; None where it is plain.

    That is: 1 + exp(x), 1 / (1 + exp(x)), 0 added and 1 multiplied, a positive number times several probabilities, and
    several scores plus or over one number for all of them. Other numbers times a Sigmoid or Exp are values, as everywhere.
    """
    values = call.values
    staged = [value for value in values if isinstance(value, Row) and value.stage != PLAIN]
    if len(values) != 2 or not staged:
        return None
    stages = {row.stage for row in staged}
    if len(staged) == 2 and stages <= {SOFTMAX, SIGMOID, SHARES, PAIR, MOVED} and stages != {SIGMOID}:
        raise Refusal(*MIXED)
    first, second = values
    if isinstance(first, Known) and isinstance(second, Row):
        number = _one_number(first)
        if call.op == "Div" and number == 1 and second.stage == EXP_PLUS_ONE:
            return _written_out(work, second, call)
        return _by_number(second, number, call) if call.op in ("Add", "Sum", "Mul") else None
    if not isinstance(first, Row):
        return None
    if isinstance(second, Known):
        return _by_number(first, _one_number(second), call)
    if not isinstance(second, Row):
        return None
    if call.op in ("Add", "Sum") and first.stage in (UNIFORM, LEVEL):
        first, second = second, first
    if call.op not in ("Add", "Sum", "Sub", "Div") or second.stage not in (UNIFORM, LEVEL):
        return None
    if first.stage in (UNIFORM, LEVEL):
        both = call.op in ("Add", "Sum") and first.stage == second.stage == UNIFORM
        return replace(first, stage=UNIFORM if both else LEVEL) if call.op != "Div" else None
    return _moved(work, first, second, call)


def _moved(work: Importer, row: Row, level: Row, call: Call) -> Row | None:
    """Return the scores of *row* plus, less or over one number for all of them; None where that tells nothing of their order."""
    if row.stage in (COMPLEMENT, EXP_PLUS_ONE) or row.elements == 1 or (call.op == "Div" and level.stage != UNIFORM):
        return None
    if (
        level.rank != row.rank
        or level.batch != row.batch
        or level.shape not in (row.shape, tuple(1 for _ in row.shape))
    ):
        raise Refusal(
            "joins scores and one number for all of them in shapes that do not fit", "keep the axis (keepdims=1)"
        )
    if row.stage == PAIR or (call.op != "Sub" and level.stage == UNIFORM and _is_positive(work, row)):
        return _shares(row, call)
    if row.stage == EXP:
        return None
    return replace(row, stage=MOVED, staged_by=row.staged_by or where(call.proto))


def _shares(row: Row, call: Call) -> Row:
    return replace(
        row, stage=PAIR if row.stage == PAIR else SHARES, staged_by=row.staged_by or where(call.proto), pair_of=""
    )


def _one_number(known: Known) -> float | None:
    """Return the number that *known* holds once or all over; None where it holds several, or none."""
    array = known.array
    if known.sized or not array.size or array.dtype.kind not in "fiu" or (array != array.reshape(-1)[0]).any():
        return None
    return float(array.reshape(-1)[0])


def _by_number(row: Row, number: float | None, call: Call) -> Row | None:
    op = call.op
    if number is None or row.codes is not None:
        return None
    if row.stage == EXP and op in ("Add", "Sum") and number == 1:
        return replace(row, stage=EXP_PLUS_ONE)
    if (op in ("Add", "Sum", "Sub") and number == 0) or (op in ("Mul", "Div") and number == 1):
        return row
    if row.stage == UNIFORM and number >= 0 and op in ("Add", "Sum", "Mul", "Div"):
        return row
    if row.stage in (UNIFORM, LEVEL):
        return replace(row, stage=LEVEL)
    if row.stage == MOVED and (op in ("Add", "Sum", "Sub") or (op in ("Mul", "Div") and number > 0)):
        return row
    probabilities = row.stage in (SOFTMAX, SHARES, PAIR) and row.elements > 1
    return _shares(row, call) if probabilities and op in ("Mul", "Div") and number > 0 else None
