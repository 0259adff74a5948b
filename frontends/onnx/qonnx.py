"""QONNX models: Quant, IntQuant, BipolarQuant and Trunc, read as they stand."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np

from approxhw.frontends.quantised.quantiser import Codes, Quantiser, bipolar
from approxhw.numerics.exact.rounding import rounded_floats

from .importer import Call, Importer
from .quantised import fake_quantised, ones, ratio
from .values import PLAIN, Known, Refusal, Row, Value

MAXIMUM_BITS = 16
"""Widest codes of activations."""

CONSTANT_BITS = 32
"""Widest codes of constants."""

MODES = {
    "ROUND": "half-even",
    "HALF_EVEN": "half-even",
    "CEIL": "ceil",
    "FLOOR": "floor",
    "UP": "from-zero",
    "DOWN": "to-zero",
    "ROUND_TO_ZERO": "to-zero",
    "HALF_UP": "half-from-zero",
    "HALF_DOWN": "half-to-zero",
}
"""Rounding mode of QONNX → the same mode of ``numerics.exact.rounding``."""


def quant(work: Importer, call: Call) -> Value:
    """Quant and IntQuant: x, scale, zero point, bit width → scale · (code − zero point). One signed bit is the sign."""
    value = call.value(0)
    scale, zero = _scale(call), call.constant(2, "the zero point")
    if zero is None:
        raise Refusal("its zero point is missing", invalid=True)
    if not (zero == np.rint(zero)).all():
        raise Refusal("a zero point is not whole", invalid=True)
    bits = _width(call, 3, CONSTANT_BITS if isinstance(value, Known) else MAXIMUM_BITS)
    signed, narrow = bool(call.attributes.get("signed", 1)), bool(call.attributes.get("narrow", 0))
    mode = _mode(call, "ROUND")
    if signed and bits == 1:
        if zero.any():
            raise Refusal("takes the sign of what a zero point is added to", "quantise to one bit with zero point 0")
        return _by_sign(work, value, scale, call)
    low, high = (-(1 << bits) // 2 + narrow, (1 << bits) // 2 - 1) if signed else (0, (1 << bits) - 1 - narrow)
    if low >= high:
        raise Refusal("has a single code", "use more bits")
    if isinstance(value, Known):
        raw = ratio(value.array, scale) + zero.astype(np.float64)
        integers = np.clip(rounded_floats(raw, mode), low, high) - zero.astype(np.float64)
        return _known(value, integers, scale)
    if isinstance(value, Row) and value.stage != PLAIN:
        return value
    row = call.row()
    point = int(_single(zero, "the zero point"))
    return fake_quantised(work, row, Quantiser(_step(scale), point, low, high, mode), call)


def bipolar_quant(work: Importer, call: Call) -> Value:
    """BipolarQuant: + scale where x ≥ 0, else − scale."""
    return _by_sign(work, call.value(0), _scale(call), call)


def trunc(work: Importer, call: Call) -> Value:
    """Trunc: a code of more bits → its top bits; by five inputs (version 1), or by six, with a scale of their own."""
    value = call.value(0)
    scale, zero = _scale(call), call.constant(2, "the zero point")
    if zero is None:
        raise Refusal("its zero point is missing", invalid=True)
    mode = _mode(call, "FLOOR")
    step, point = _step(scale), Fraction(float(_single(zero, "the zero point")))
    before = _width(call, 3, MAXIMUM_BITS)
    second = len(call.values) > 5
    after = _width(call, 5 if second else 4, MAXIMUM_BITS)
    if isinstance(value, Known):
        raise Refusal("truncates a constant", "store the truncated constant")
    if isinstance(value, Row) and value.stage != PLAIN:
        return value
    row = call.row()
    if point.denominator != 1:
        raise Refusal("a zero point is not whole", invalid=True)
    if second:
        coarse = _step(_scale(call, 4))
        dropped = round(math.log2(coarse / step))
        signed, narrow = bool(call.attributes.get("signed", 1)), bool(call.attributes.get("narrow", 0))
        half = 1 << (after - 1)
        low, high = (-half + narrow, half - 1) if signed else (0, 2 * half - 1 - narrow)
        moved = point / (1 << dropped) if dropped >= 0 else point * (1 << -dropped)
    else:
        coarse, dropped, moved = step, before - after, point
        low, high = -(1 << after), (1 << after) - 1
    if dropped < 0:
        raise Refusal("makes a code of more bits than it reads", invalid=True)
    if moved.denominator != 1:
        raise Refusal("cuts its zero point to a fraction", "use a zero point of 0")
    # whole numbers in front of the cut: what a Quant before it has made
    whole = Quantiser(step, int(point), -(1 << before), (1 << before) - 1)
    first = fake_quantised(work, row, whole, call)
    # y = (x / scale + zero) / 2^dropped is rounded, and stands for coarse · (y − moved)
    factor = coarse / step / (1 << dropped)
    shift = coarse * (point / (1 << dropped) - moved)
    count = row.elements
    cut = work.scaled(first, np.full(count, factor, dtype=object), np.full(count, shift, dtype=object), call)
    return fake_quantised(work, cut, Quantiser(coarse, int(moved), low, high, mode), call)


def _by_sign(work: Importer, value: Value, scale: np.ndarray, call: Call) -> Value:
    if isinstance(value, Known):
        return _known(value, np.where(value.array >= 0, 1.0, -1.0), scale)
    if isinstance(value, Row) and value.stage != PLAIN:
        return value
    return fake_quantised(work, call.row(), bipolar(_step(scale)), call)


def _known(value: Known, integers: np.ndarray, scale: np.ndarray) -> Known:
    wide = scale.astype(np.float64)
    codes = Codes(integers.astype(np.int64), wide.reshape(ones(wide, integers)))
    return replace(value, array=integers * wide, codes=codes)


def _mode(call: Call, default: str) -> str:
    mode = str(call.attributes.get("rounding_mode", default)).upper()
    if mode not in MODES:
        raise Refusal(f"rounding mode {mode[:40]} is not read", f"use one of {', '.join(MODES)}")
    return MODES[mode]


def _scale(call: Call, position: int = 1) -> np.ndarray:
    scale = call.constant(position, "the scale")
    if scale is None:
        raise Refusal("its scale is missing", invalid=True)
    if scale.dtype.kind not in "fiu" or not (np.isfinite(scale).all() and (scale > 0).all()):
        raise Refusal("a scale is not greater than 0", "calibrate again", invalid=True)
    return scale


def _width(call: Call, position: int, most: int) -> int:
    width = call.constant(position, "the bit width")
    bits = float(width.reshape(-1)[0]) if width is not None and width.size == 1 else 0.0
    if bits != int(bits) or not 1 <= bits <= most:
        raise Refusal(f"its bit width is not one whole number from 1 to {most}", "quantise to fewer bits")
    return int(bits)


def _step(scale: np.ndarray) -> Fraction:
    return Fraction(float(_single(scale, "the scale")))


def _single(array: np.ndarray, what: str) -> float:
    if array.size != 1:
        raise Refusal("quantises activations by channel", "quantise activations by tensor (weights may be by channel)")
    return float(array.reshape(-1)[0])
