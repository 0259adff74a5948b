"""QDQ and QCDQ models: QuantizeLinear, Clip on its codes, DequantizeLinear, read as they stand."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import cast

import numpy as np

from approxhw.frontends.quantised.quantiser import Codes, FakeQuantize, Quantiser
from approxhw.ir.graph import Op

from .importer import Call, Importer
from .values import PLAIN, Known, Refusal, Row, Value


def quantize_linear(work: Importer, call: Call) -> Value:
    """QuantizeLinear: constants become codes; rows get a quantiser of one scale and zero point."""
    value = call.value(0)
    if isinstance(value, Known):
        scale, zero = _parameters(call, value.array.shape)
        low, high = _limits(call)
        integers = np.clip(np.rint(ratio(value.array, scale)) + zero, low, high)
        return Known(integers.astype(np.int64), value.origin)
    if isinstance(value, Row) and value.stage != PLAIN:
        return value  # codes of probabilities at the end: their order is what counts
    row = call.row()
    quantiser = _quantiser(call)
    return replace(fake_quantised(work, row, quantiser, call), codes=quantiser)


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
    if value.stage != PLAIN:
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
