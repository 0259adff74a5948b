"""Quantised models (QDQ, QONNX): their quantisers, read as they stand; ``lowering.py`` makes integers of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from approxhw.ir.graph import Op

from .importer import Call, Importer
from .values import PLAIN, Codes, Known, Quantiser, Refusal, Row, Value

MAXIMUM_BITS = 16


@dataclass(frozen=True)
class FakeQuantize:
    """Stands in a float Graph, between reading and lowering only: x → scale · (code of x − zero)."""

    quantiser: Quantiser


def quantize_linear(work: Importer, call: Call) -> Value:
    """QuantizeLinear: constants become codes; rows get a quantiser of one scale and zero point."""
    value = call.value(0)
    work.quantised = True
    if isinstance(value, Known):
        scale, zero = _parameters(call, value.array.shape)
        low, high = _limits(call)
        integers = np.clip(np.rint(value.array / scale) + zero, low, high)
        return Known(integers.astype(np.int64), value.origin)
    if isinstance(value, Row) and value.stage != PLAIN:
        return value  # codes of probabilities at the end: their order is what counts
    row = call.row()
    quantiser = _quantiser(call)
    return replace(_quantised(work, row, quantiser, call), codes=quantiser)


def dequantize_linear(work: Importer, call: Call) -> Value:
    """DequantizeLinear: constants keep their integers; rows must come from the same quantiser."""
    value = call.value(0)
    work.quantised = True
    if isinstance(value, Known):
        scale, zero = _parameters(call, value.array.shape)
        integers = value.array.astype(np.int64) - zero.astype(np.int64)
        return Known(
            integers * scale, value.origin, codes=Codes(integers, np.broadcast_to(scale, _ones(scale, integers)))
        )
    if not isinstance(value, Row):
        raise Refusal("dequantises a class index or label", invalid=True)
    if value.stage != PLAIN:
        return value
    if value.codes is None:
        raise Refusal("reads values that were never quantised", "put QuantizeLinear before DequantizeLinear (QDQ form)")
    quantiser = _quantiser(call)
    if (quantiser.scale, quantiser.zero) != (value.codes.scale, value.codes.zero):
        raise Refusal(
            "its scale or zero point differ from those of the QuantizeLinear before it", "use one pair for both"
        )
    return replace(value, codes=None)


def _ones(scale: np.ndarray, integers: np.ndarray) -> tuple[int, ...]:
    """Return the shape of *scale* with as many axes as *integers* has."""
    return (1,) * (integers.ndim - scale.ndim) + scale.shape


def _quantised(work: Importer, row: Row, quantiser: Quantiser, call: Call) -> Row:
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
        raise Refusal("quantises by blocks", "quantise by tensor or by channel")
    zero = call.constant(2, "the zero point")
    zero = np.zeros(scale.shape) if zero is None else zero.astype(np.float64)
    scale = scale.astype(np.float64)
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise Refusal("a scale is not greater than 0", "calibrate again", invalid=True)
    if scale.size > 1:
        if scale.ndim > 1 or not dims:
            raise Refusal(f"its scale has shape {scale.shape}", "quantise by tensor or by channel")
        axis = int(call.attributes.get("axis", 1))
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

    names: dict[int, tuple[int, int]] = {
        TensorProto.UINT8: (0, 255),
        TensorProto.INT8: (-128, 127),
        TensorProto.UINT16: (0, 65535),
        TensorProto.INT16: (-32768, 32767),
        TensorProto.UINT4: (0, 15),
        TensorProto.INT4: (-8, 7),
    }
    zero = call.values[2] if len(call.values) > 2 else None
    declared = int(call.attributes.get("output_dtype", 0)) or call.types.get(2, TensorProto.UINT8)
    if 2 not in call.types and isinstance(zero, Known):
        declared = int(helper.np_dtype_to_tensor_dtype(zero.array.dtype))
    if declared not in names:
        kind = TensorProto.DataType.Name(declared) if declared in TensorProto.DataType.values() else declared
        raise Refusal(f"quantises to {kind}", "quantise to (u)int4, (u)int8 or (u)int16")
    return names[declared]


def _quantiser(call: Call) -> Quantiser:
    scale, zero = _parameters(call, (1,))
    if scale.size != 1:
        raise Refusal("quantises activations by channel", "quantise activations by tensor (weights may be by channel)")
    low, high = _limits(call)
    return Quantiser(float(scale), int(zero), low, high)


def quant(work: Importer, call: Call) -> Value:
    """Quant of QONNX: x, scale, zero point, bit width → scale · (code − zero point)."""
    value = call.value(0)
    work.quantised = True
    scale, zero, width = (
        call.constant(p, what) for p, what in ((1, "the scale"), (2, "the zero point"), (3, "the bit width"))
    )
    if scale is None or zero is None or width is None:
        raise Refusal("an input is missing: x, scale, zero point, bit width", invalid=True)
    bits = float(width.reshape(-1)[0]) if width.size == 1 else 0.0
    if bits != int(bits) or not 1 <= bits <= MAXIMUM_BITS:
        raise Refusal(f"its bit width is not one whole number from 1 to {MAXIMUM_BITS}", "quantise to fewer bits")
    if not (scale > 0).all() or not np.isfinite(scale).all() or not (zero == np.rint(zero)).all():
        raise Refusal("a scale is not greater than 0, or a zero point is not whole", invalid=True)
    signed, narrow = bool(call.attributes.get("signed", 1)), bool(call.attributes.get("narrow", 0))
    mode = str(call.attributes.get("rounding_mode", "ROUND")).upper()
    if mode not in ("ROUND", "FLOOR"):
        raise Refusal(f"rounding mode {mode[:40]} is not read", "use ROUND or FLOOR")
    top = 1 << int(bits)
    low, high = (-top // 2 + narrow, top // 2 - 1) if signed else (0, top - 1 - narrow)
    if low >= high:
        raise Refusal("has a single code", "use more bits")
    if isinstance(value, Known):
        wide, shift = scale.astype(np.float64), zero.astype(np.float64)
        raw = value.array.astype(np.float64) / wide + shift
        integers = np.clip(np.floor(raw) if mode == "FLOOR" else np.rint(raw), low, high) - shift
        codes = Codes(integers.astype(np.int64), wide.reshape((1,) * (integers.ndim - wide.ndim) + wide.shape))
        return Known(integers * wide, value.origin, codes=codes)
    if isinstance(value, Row) and value.stage != PLAIN:
        return value
    row = call.row()
    if scale.size != 1 or zero.size != 1:
        raise Refusal("quantises activations by channel", "quantise activations by tensor (weights may be by channel)")
    quantiser = Quantiser(float(scale.reshape(-1)[0]), int(zero.reshape(-1)[0]), low, high, mode == "FLOOR")
    return _quantised(work, row, quantiser, call)
