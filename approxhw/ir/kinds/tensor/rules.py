"""What a Node of a tensor Graph must keep to: inputs, shapes, formats, arithmetic; each broken rule by its name."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from approxhw.common.errors import shown
from approxhw.numerics.eight_bit.port_codes import EngineCodes, lane_problems
from approxhw.numerics.formats import Fixed, Float, Format, dtype_of
from approxhw.numerics.mac.arithmetic import FloatMac

from ..requantize import Lookup
from .blocks import MisfitError
from .integer_rules import integer_kind_problems, integer_value_problems
from .integers import ConvInteger, DequantizeLinear, MatMulInteger, QuantizeLinear, Rescale
from .ops import TENSOR_ARITY, Add, Conv, ConvTranspose, Feed, Gemm, Host, MatMul, Part, Transpose, misfit
from .products import operand_sizes, product_of

MAXIMUM_VALUE = 1 << 28
"""Largest number of elements of one value of a tensor Graph."""

Told = tuple[tuple[int, ...], Format]
"""Shape and format of a value."""

Broken = tuple[str, str]
"""A rule's name, and why it is broken."""


def kind_problems(op: object, inputs: int) -> list[Broken]:
    """Return what is wrong with a Node of *op* by itself, and with how many *inputs* it has."""
    if isinstance(op, MatMulInteger | ConvInteger | QuantizeLinear | DequantizeLinear | Rescale | Lookup):
        return integer_kind_problems(op, inputs)
    least, most = TENSOR_ARITY.get(type(op), (1, 1))
    found: list[Broken] = []
    if not least <= inputs <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        found.append(("arity", f"{type(op).__name__.lower()} has {wanted} inputs, this one has {inputs}"))
    if isinstance(op, Host):
        if not op.makes or not all(isinstance(name, str) for name in op.makes):
            found.append(("attributes", "a host makes one value or more, each with a name"))
        if not isinstance(op.program, bytes) or not op.program:
            found.append(("attributes", "its program is empty"))
    if isinstance(op, Part) and (isinstance(op.index, bool) or not isinstance(op.index, int) or op.index < 0):
        found.append(("attributes", f"index {shown(op.index)} is no number of a value"))
    if isinstance(op, MatMul | Gemm | Conv | ConvTranspose):
        found += [("arithmetic", why) for why in _arithmetic_problems(op)]
    return found


def _arithmetic_problems(op: MatMul | Gemm | Conv | ConvTranspose) -> list[str]:
    why = []
    if op.arithmetic is not None and not isinstance(op.arithmetic, FloatMac):
        why.append(f"{shown(op.arithmetic)} is no floating-point multiply-add")
    elif op.arithmetic is not None:
        why += [problem.why for problem in lane_problems(op.codes, 1, op.arithmetic.format)]
    if op.result not in ("float32", "bf16"):
        why.append(f"result {shown(op.result)!r} is neither float32 nor bf16")
    if op.codes is not None and not isinstance(op.codes, EngineCodes):
        why.append(f"{shown(op.codes)} are no codes of ports")
    return why


def value_problems(op: object, own: Told, operands: Sequence[Told]) -> list[Broken]:
    """Return what is wrong with the shape and format of a value, and with what its Node reads."""
    shape, fmt = own
    if len(shape) > 8 or any(dim < 0 for dim in shape) or math.prod(shape) > MAXIMUM_VALUE:
        return [("shapes", f"its shape has at most 8 dimensions and {MAXIMUM_VALUE} elements")]
    try:
        dtype_of(fmt)
    except ValueError:
        return [("formats", f"no array of a tensor Graph holds {fmt}")]
    if isinstance(op, Feed):
        why = misfit(op.dims, shape)
        return [("shapes", why)] if why and 0 not in shape else []
    if isinstance(op, MatMul | Gemm | Conv | ConvTranspose):
        return _product_problems(op, own, operands)
    if isinstance(op, MatMulInteger | ConvInteger | QuantizeLinear | DequantizeLinear | Rescale | Lookup):
        return integer_value_problems(op, own, operands)
    shapes, formats = [told[0] for told in operands], [told[1] for told in operands]
    found: list[Broken] = []
    if isinstance(op, Transpose):
        wanted = tuple(shapes[0][axis] for axis in op.axes) if sorted(op.axes) == list(range(len(shapes[0]))) else None
        found += _shape(shape, wanted, f"axes {list(op.axes)} of {_said(shapes[0])}")
    elif isinstance(op, Add):
        try:
            together: tuple[int, ...] | None = np.broadcast_shapes(*shapes)
        except ValueError:
            together = None
        found += _shape(shape, together, f"{_said(shapes[0])} + {_said(shapes[1])}")
    elif not isinstance(op, Host | Part):
        found += _shape(shape, shapes[0], "its operand")
    if not isinstance(op, Host | Part) and any(other != fmt for other in formats):
        found.append(("formats", f"it reads {', '.join(map(str, formats))} and makes {fmt}"))
    return found


def _product_problems(op: MatMul | Gemm | Conv | ConvTranspose, own: Told, operands: Sequence[Told]) -> list[Broken]:
    try:
        sizes = operand_sizes(product_of(op, ("x",) * len(operands)), [told[0] for told in operands])
    except (MisfitError, TypeError, ValueError) as error:
        return [("shapes", shown(error, 200))]
    found = _shape(own[0], sizes.output, "its operands")
    formats = [told[1] for told in operands]
    if any(other != own[1] for other in formats):
        found.append(("formats", f"it reads {', '.join(map(str, formats))} and makes {own[1]}"))
    if op.arithmetic is not None and not isinstance(own[1], Float):
        found.append(("arithmetic", f"{op.arithmetic} multiplies floating-point numbers, not {own[1]}"))
    return found


def _shape(own: tuple[int, ...], wanted: tuple[int, ...] | None, what: str) -> list[Broken]:
    if wanted is None:
        return [("shapes", f"{what} do not go together")]
    return [] if own == wanted else [("shapes", f"{what} make {_said(wanted)}, its type says {_said(own)}")]


def data_problems(data: np.ndarray, own: Told) -> list[Broken]:
    """Return what is wrong with the *data* of a Constant of a tensor Graph, which may hold NaN and infinity."""
    shape, fmt = own
    if data.shape != shape:
        return [("constants", f"its data has shape {_said(data.shape)}, its type {_said(shape)}")]
    if isinstance(fmt, Float):
        return [] if data.dtype.kind == "f" else [("constants", f"{fmt} data is held as floats, not {data.dtype}")]
    if isinstance(fmt, Fixed):
        if data.dtype.kind != "i" and not all(type(code) is int for code in data.reshape(-1).tolist()):
            return [("constants", f"{fmt} data is held as integers, not {data.dtype}")]
        if data.size and (int(data.min()) < fmt.low or int(data.max()) > fmt.high):
            return [("constants", f"codes of {fmt} lie in {fmt.low}…{fmt.high}")]
        return []
    ok = all(isinstance(text, str) for text in data.reshape(-1).tolist())
    return [] if ok else [("constants", "its data holds something else than texts")]


def _said(shape: Sequence[int]) -> str:
    return f"[{','.join(map(str, shape))}]"
