"""Relu, LeakyRelu, Clip, Min and Max with constants."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np

from approxhw.ir.kinds import Clip, LeakyRelu, Relu

from .importer import Call, Importer
from .quantised import clipped_codes
from .values import PLAIN, Known, Refusal, Row, Value, per_row


def relu(work: Importer, call: Call) -> Value:
    """Relu; of codes between both nodes of a QDQ pair, too."""
    if (codes := _codes(call)) is not None:
        return clipped_codes(work, codes, 0.0, None, call)
    row = call.row()
    return _activated(work, call, row, f"{work.prefix}_relu", Relu())


def leaky_relu(work: Importer, call: Call) -> Value:
    """LeakyRelu: its alpha is taken as the exact fraction that the float32 stands for; 0 is Relu, 1 does nothing."""
    row = call.row()
    alpha = float(call.attributes.get("alpha", np.float32(0.01)))
    if not math.isfinite(alpha) or alpha < 0:
        raise Refusal(f"its alpha is {alpha:g}", "train with an alpha of at least 0: less turns the order around")
    if alpha == 1:
        return row
    op = LeakyRelu(Fraction(alpha)) if alpha else Relu()
    return _activated(work, call, row, f"{work.prefix}_relu", op)


def clip(work: Importer, call: Call) -> Value:
    """Clip by attributes (opset 6) or by inputs (opset 11 and newer); an infinite bound is none."""
    codes = _codes(call)
    row = call.row() if codes is None else codes
    if call.opset < 11:
        low, high = call.attributes.get("min"), call.attributes.get("max")
    else:
        low, high = (
            _scalar(call.constant(position, f"the {name} bound")) for position, name in ((1, "lower"), (2, "upper"))
        )
    return _clipped(work, call, row, low, high)


def _codes(call: Call) -> Row | None:
    """Return the one computed input where it holds codes of a QuantizeLinear: QCDQ form."""
    rows = [value for value in call.values if isinstance(value, Row)]
    return rows[0] if len(rows) == 1 and rows[0].codes is not None and rows[0].stage == PLAIN else None


def minimum(work: Importer, call: Call) -> Value:
    """Min with one constant number."""
    row, bound = _bounded(call)
    return _clipped(work, call, row, None, bound)


def maximum(work: Importer, call: Call) -> Value:
    """Max with one constant number; Max(x, 0) is Relu."""
    row, bound = _bounded(call)
    return _clipped(work, call, row, bound, None)


def _bounded(call: Call) -> tuple[Row, float]:
    rows = [position for position, value in enumerate(call.values) if not isinstance(value, Known)]
    if len(call.values) != 2 or len(rows) != 1:
        raise Refusal("compares computed tensors with one another", "one operand must be a constant number")
    codes = _codes(call)
    row = call.row(rows[0]) if codes is None else codes
    array = call.constant(1 - rows[0], "the bound")
    assert array is not None
    spread = per_row(array, row, "the bound")
    if not (spread == spread[0]).all():
        raise Refusal("its bound differs from element to element", "use one bound for all")
    return row, float(spread[0])


def _scalar(array: np.ndarray | None) -> float | None:
    if array is None:
        return None
    if array.size != 1:
        raise Refusal(f"a bound of shape {array.shape} is no single number", invalid=True)
    return float(array.reshape(-1)[0])


def _clipped(work: Importer, call: Call, row: Row, low: float | None, high: float | None) -> Row:
    bounds = [None if bound is None else float(bound) for bound in (low, high)]
    if any(bound is not None and np.isnan(bound) for bound in bounds):
        raise Refusal("a bound is NaN", invalid=True)
    # exporters write the largest float32 for "no bound"
    low, high = (None if bound is None or abs(bound) > 3.4e38 else bound for bound in bounds)
    if low is not None and high is not None and low > high:
        raise Refusal(f"its lower bound {low:g} is greater than its upper bound {high:g}", "swap or mend the bounds")
    if low is None and high is None:
        return row
    if row.codes is not None:
        return clipped_codes(work, row, low, high, call)
    if low == 0 and high is None:
        return _activated(work, call, row, f"{work.prefix}_relu", Relu())
    return _activated(work, call, row, f"{work.prefix}_clip", Clip(low, high))


def _activated(work: Importer, call: Call, row: Row, name: str, op: Relu | LeakyRelu | Clip) -> Row:
    origin = str(call.proto.name)
    value = work.vector(row, origin)
    return replace(row, value=work.emit(name, op, (value,), (row.elements,), origin), columns=None, shared=False)
