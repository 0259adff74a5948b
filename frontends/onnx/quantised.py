"""Quantised models as they stand: QDQ and QCDQ (QuantizeLinear, Clip on codes, DequantizeLinear), QONNX (Quant and kin)."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import cast

import numpy as np

from approxhw.frontends.quantised.quantiser import Codes, FakeQuantize, Quantiser, bipolar
from approxhw.frontends.tensors.values import PLAIN, Known, Refusal, Row, Value
from approxhw.ir.graph import Op
from approxhw.numerics.exact.rounding import rounded_floats

from .importer import FUNCTIONS, Call, Importer

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


def quantize_linear(work: Importer, call: Call) -> Value:
    """QuantizeLinear: constants become codes; rows get a quantiser of one scale and zero point."""
    value = call.value(0)
    if isinstance(value, Known):
        scale, zero = _parameters(call, value.array.shape)
        low, high = _limits(call)
        integers = np.clip(np.rint(ratio(value.array, scale)) + zero, low, high)
        return Known(integers.astype(np.int64), value.origin)
    if isinstance(value, Row) and value.stage not in (PLAIN, *FUNCTIONS):
        return value  # codes of probabilities at the end: their order is what counts
    quantiser = _quantiser(call)
    made = quantised_row(work, value, quantiser, call)
    return replace(made, codes=quantiser)


def dequantize_linear(work: Importer, call: Call) -> Value:
    """DequantizeLinear: constants keep their integers; rows are codes of a QuantizeLinear, or of the model's input."""
    value = call.value(0)
    if isinstance(value, Known):
        if value.array.dtype.kind not in "iu":
            raise Refusal(f"dequantises constants of type {value.array.dtype}", "store integers", invalid=True)
        scale, zero = _parameters(call, value.array.shape)
        integers = value.array.astype(np.int64) - zero.astype(np.int64)
        codes = Codes(integers, np.broadcast_to(scale, ones(scale, integers)))
        return Known(integers * scale, value.origin, codes=codes)
    if not isinstance(value, Row):
        raise Refusal("dequantises a class index or label", invalid=True)
    if value.stage != PLAIN and value.after is None:
        return value
    scale, zero = _parameters(call, (1,))
    if scale.size != 1:
        raise Refusal(
            "dequantises activations by channel", "quantise activations by tensor (weights may be by channel)"
        )
    step, point = Fraction(float(scale)), int(zero)
    codes_of = value.codes
    if codes_of is None:
        return _input_codes(work, value, step, point, call)
    row = replace(value, codes=None)
    if (step, point) == (codes_of.scale, codes_of.zero):
        return row
    if row.stage != PLAIN:
        row = work.values_of(row)
    # codes of another scale than they were made with: as the model says
    factor, moved = step / codes_of.scale, step * (codes_of.zero - point)
    count = row.elements
    return work.scaled(row, np.full(count, factor, dtype=object), np.full(count, moved, dtype=object), call)


def _input_codes(work: Importer, row: Row, step: Fraction, zero: int, call: Call) -> Row:
    """Return what the integers of the model's own input stand for: they are the codes."""
    limits = work.integer_input
    if limits is None or row.columns is None:
        why = "reads values that were never quantised"
        raise Refusal(why, "put QuantizeLinear before DequantizeLinear (QDQ form)")
    count = row.elements
    real = work.scaled(row, np.full(count, step, dtype=object), np.full(count, -step * zero, dtype=object), call)
    # the zero point in front of the rounding cancels: readings themselves are rounded, should they be no integers
    return fake_quantised(work, real, Quantiser(step, zero, *limits), call)


def narrowed_codes(work: Importer, row: Row, low: float | None, high: float | None, call: Call) -> Row:
    """Return codes between *low* and *high* (none: no bound), as Clip, Min, Max and Relu between both QDQ nodes make them."""
    before = row.codes
    assert before is not None
    bottom = before.low if low is None else math.ceil(low)
    top = before.high if high is None else math.floor(high)
    if low is not None and high is not None and low > high:
        raise Refusal(f"its lower bound {low:g} is greater than its upper bound {high:g}", "swap or mend the bounds")
    ends = [min(max(end, bottom), top) for end in (before.low, before.high)]
    made = replace(before, low=ends[0], high=ends[1])
    node = work.node(row.value)
    if isinstance(cast("object", node.op), FakeQuantize) and not row.shared:
        work.change(replace(node, op=cast("Op", FakeQuantize(made))))
        return replace(row, codes=made)
    return replace(fake_quantised(work, replace(row, codes=None), made, call), codes=made)


def ones(scale: np.ndarray, integers: np.ndarray) -> tuple[int, ...]:
    """Return the shape of *scale* with as many axes as *integers* has."""
    return (1,) * (integers.ndim - scale.ndim) + scale.shape


def ratio(array: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return a constant over its scale (float64), divided as runtimes divide: in float32, where the constant is."""
    kind = np.float64 if array.dtype == np.float64 else np.float32
    quotient: np.ndarray = (array.astype(kind) / scale.astype(kind)).astype(np.float64)
    return quotient


def quantised_row(work: Importer, value: Value, quantiser: Quantiser, call: Call) -> Row:
    """Return the real values of the codes of *value*; what may be dropped at the end of a model remembers its quantiser."""
    if isinstance(value, Row) and value.stage in FUNCTIONS and value.codes is None and value.after in (None, quantiser):
        return replace(value, after=quantiser)
    return fake_quantised(work, call.row(), quantiser, call)


def fake_quantised(work: Importer, row: Row, quantiser: Quantiser, call: Call) -> Row:
    """Return the real values of the codes of *row*."""
    origin = str(call.proto.name)
    vector = work.vector(row, origin)
    op = cast("Op", FakeQuantize(quantiser))  # which it is not: lowering ends its Nodes before anything else sees them
    return replace(row, value=work.emit(f"{work.prefix}_code", op, (vector,), (row.elements,), origin), columns=None)


def _parameters(call: Call, dims: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return scale (float64) and zero point (float64), broadcastable against a constant of shape *dims*."""
    scale = call.constant(1, "the scale")
    if scale is None:
        raise Refusal("its scale is missing", invalid=True)
    if call.attributes.get("block_size", 0):
        why = f"quantises by blocks of {call.attributes['block_size']}"
        raise Refusal(why, "quantise by tensor, or weights by output channel (block_size 0)")
    zero = call.constant(2, "the zero point")
    zero = np.zeros(scale.shape) if zero is None else zero.astype(np.float64)
    scale = scale.astype(np.float64)
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise Refusal("a scale is not greater than 0", "calibrate again", invalid=True)
    if scale.size > 1:
        if scale.ndim > 1 or not dims:
            raise Refusal(f"its scale has shape {scale.shape}", "quantise by tensor or by channel")
        axis = 0 if len(dims) == 1 else int(call.attributes.get("axis", 1))
        if not -len(dims) <= axis < len(dims) or dims[axis] != scale.size or zero.size not in (1, scale.size):
            why = f"{scale.size} scales and {zero.size} zero points do not fit axis {axis} of shape {dims}"
            raise Refusal(why, invalid=True)
        shape = [1] * len(dims)
        shape[axis] = scale.size
        return scale.reshape(shape), np.broadcast_to(zero.reshape(-1), scale.shape).reshape(shape)
    return scale.reshape(()), zero.reshape(-1)[:1].reshape(())


def _limits(call: Call) -> tuple[int, int]:
    """Return the lowest and highest code: of the zero point's type, else of ``output_dtype``, else of uint8."""
    from onnx import TensorProto, helper

    zero = call.values[2] if len(call.values) > 2 else None
    declared = int(call.attributes.get("output_dtype", 0)) or call.types.get(2, TensorProto.UINT8)
    if 2 not in call.types and isinstance(zero, Known):
        declared = int(helper.np_dtype_to_tensor_dtype(zero.array.dtype))
    found = limits_of(declared)
    if found is None:
        kind = TensorProto.DataType.Name(declared) if declared in TensorProto.DataType.values() else declared
        raise Refusal(f"quantises to {kind}", "quantise to (u)int4, (u)int8 or (u)int16")
    return found


def limits_of(element_type: int) -> tuple[int, int] | None:
    """Return the least and the greatest number of an integer type of ONNX of at most 16 bits; None of another type."""
    from onnx import TensorProto

    names: dict[int, tuple[int, int]] = {
        TensorProto.UINT8: (0, 255),
        TensorProto.INT8: (-128, 127),
        TensorProto.UINT16: (0, 65535),
        TensorProto.INT16: (-32768, 32767),
        TensorProto.UINT4: (0, 15),
        TensorProto.INT4: (-8, 7),
    }
    return names.get(element_type)


def _quantiser(call: Call) -> Quantiser:
    scale, zero = _parameters(call, (1,))
    if scale.size != 1:
        raise Refusal("quantises activations by channel", "quantise activations by tensor (weights may be by channel)")
    low, high = _limits(call)
    return Quantiser(Fraction(float(scale)), int(zero), low, high, late=True)


# QONNX ---------------------------------------------------------------------------------------------------------------


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
    if isinstance(value, Row) and value.stage not in (PLAIN, *FUNCTIONS):
        return value
    point = int(_single(zero, "the zero point"))
    return quantised_row(work, value, Quantiser(_step(scale), point, low, high, mode), call)


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
    if isinstance(value, Row) and value.stage not in (PLAIN, *FUNCTIONS):
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
    if isinstance(value, Row) and value.stage not in (PLAIN, *FUNCTIONS):
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
