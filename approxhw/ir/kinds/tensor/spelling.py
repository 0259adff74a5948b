"""Kinds of tensor Graphs as text: their attributes as JSON, and read from it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from approxhw.common.errors import OptionError, shown
from approxhw.numerics.eight_bit.port_codes import EngineCodes, read_codes
from approxhw.numerics.formats import Format
from approxhw.numerics.mac.arithmetic import FloatMac, parse_float_mac
from approxhw.numerics.mac.integer_mac import IntegerMac, parse_integer_mac

from .integers import ConvInteger, DequantizeLinear, IntegerProduct, MatMulInteger, QuantizeLinear, Rescale
from .ops import Conv, ConvTranspose, Feed, Gemm, Host, MatMul, Part, Transpose


def tensor_attributes(op: object) -> dict[str, object]:
    """Return the attributes of *op*; bytes are for whoever prints."""
    if isinstance(op, Feed):
        return {"title": op.title, "dims": None if op.dims is None else list(op.dims)}
    if isinstance(op, Host):
        return {"operators": list(op.operators), "makes": list(op.makes), "program": op.program}
    if isinstance(op, Part):
        return {"index": op.index}
    if isinstance(op, Transpose):
        return {"axes": list(op.axes)}
    if isinstance(op, MatMul | Gemm | Conv | ConvTranspose):
        return {"title": op.title, **_shape_attributes(op), **_how(op)}
    if isinstance(op, MatMulInteger | ConvInteger):
        how = {} if op.arithmetic is None else {"arithmetic": str(op.arithmetic)}
        variate = {"variate": op.variate} if op.variate else {}
        return {"title": op.title, **_shape_attributes(op), **how, **variate}
    if isinstance(op, QuantizeLinear | DequantizeLinear):
        return {"axis": op.axis}
    if isinstance(op, Rescale):
        return {"zero": op.zero, "low": op.low, "high": op.high, "axis": op.axis}
    return {}


def _shape_attributes(op: MatMul | Gemm | Conv | ConvTranspose | IntegerProduct) -> dict[str, object]:
    if isinstance(op, Gemm):
        turned = {"transpose_a": op.transpose_a, "transpose_b": op.transpose_b}
        return {"alpha": op.alpha, "beta": op.beta, **turned}
    if isinstance(op, Conv | ConvTranspose | ConvInteger):
        sizes = {"strides": op.strides, "dilations": op.dilations, "pads": op.pads, "kernel": op.kernel}
        if isinstance(op, ConvTranspose):
            sizes |= {"output_padding": op.output_padding, "output_shape": op.output_shape}
        told: dict[str, object] = {name: list(size) for name, size in sizes.items() if size}
        return {**told, "auto_pad": op.auto_pad, "group": op.group}
    return {}


def _how(op: MatMul | Gemm | Conv | ConvTranspose) -> dict[str, object]:
    told: dict[str, object] = {}
    if op.arithmetic is not None:
        told["arithmetic"] = str(op.arithmetic)
    if op.result != "float32":
        told["result"] = op.result
    if op.codes is not None:
        told["codes"] = spell_codes(op.codes)
    return told


def spell_codes(codes: EngineCodes) -> str:
    """Return the text that ``read_codes`` reads as *codes*, such as ``dynamic8,block=256,activations=true``."""
    block = "" if codes.block is None else f",block={codes.block}"
    return f"{codes.code}{block},weights={str(codes.weights).lower()},activations={str(codes.activations).lower()}"


def _text(value: object, fmt: Format | None = None) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a text is needed, not {shown(value)!r}")
    return value


def _integer(value: object, fmt: Format | None = None) -> int:
    if type(value) is not int:
        raise ValueError(f"an integer is needed, not {shown(value)!r}")
    return value


def _number(value: object, fmt: Format | None = None) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"a number is needed, not {shown(value)!r}")
    return float(value)


def _truth(value: object, fmt: Format | None = None) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"true or false is needed, not {shown(value)!r}")
    return value


def _integers(value: object, fmt: Format | None = None) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise ValueError(f"a list of integers is needed, not {shown(value)!r}")
    return tuple(map(_integer, value))


def _texts(value: object, fmt: Format | None = None) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"a list of texts is needed, not {shown(value)!r}")
    return tuple(map(_text, value))


def _dims(value: object, fmt: Format | None = None) -> tuple[int | str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(type(dim) in (int, str) for dim in value):
        raise ValueError("dims is a list of sizes and names")
    return tuple(value)


def _program(value: object, fmt: Format | None = None) -> bytes:
    if isinstance(value, str):
        try:
            return base64.b64decode(value.encode("ascii"), validate=True)
        except (binascii.Error, UnicodeEncodeError) as error:
            raise ValueError("program is no base64") from error
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8:
        raise ValueError("program is a text, or bytes beside it")
    return value.tobytes()


def _mac(value: object, fmt: Format | None = None) -> FloatMac:
    return parse_float_mac(_text(value))


def _integer_mac(value: object, fmt: Format | None = None) -> IntegerMac:
    return parse_integer_mac(_text(value))


def _codes(value: object, fmt: Format | None = None) -> EngineCodes | None:
    try:
        return read_codes(_text(value))
    except OptionError as error:
        raise ValueError(str(error.problems[0].why)) from None


_PRODUCT = {"title": _text, "arithmetic": _mac, "result": _text, "codes": _codes}
_LEFT_OUT = frozenset({"arithmetic", "result", "codes"})
_INTEGER_PRODUCT = {"title": _text, "arithmetic": _integer_mac, "variate": _integer}
_INTEGER_LEFT_OUT = frozenset({"arithmetic", "variate"})
_WINDOW = ("strides", "dilations", "pads", "kernel")


class Spelled(NamedTuple):
    """How a kind of tensor Graphs is spelled: most inputs, readers of its attributes, and which of them may be left out."""

    op: type
    most: int
    readers: Mapping[str, Callable[[object, Format], object]]
    optional: frozenset[str] = frozenset()


SPELLED: tuple[Spelled, ...] = (
    Spelled(Feed, 0, {"title": _text, "dims": _dims}, frozenset({"dims"})),
    Spelled(MatMul, 2, _PRODUCT, _LEFT_OUT),
    Spelled(
        Gemm,
        3,
        {**_PRODUCT, "alpha": _number, "beta": _number, "transpose_a": _truth, "transpose_b": _truth},
        _LEFT_OUT,
    ),
    Spelled(
        Conv,
        3,
        {
            **_PRODUCT,
            **dict.fromkeys(_WINDOW, _integers),
            "auto_pad": _text,
            "group": _integer,
        },
        _LEFT_OUT | {*_WINDOW},
    ),
    Spelled(
        ConvTranspose,
        3,
        {
            **_PRODUCT,
            **dict.fromkeys((*_WINDOW, "output_padding", "output_shape"), _integers),
            "auto_pad": _text,
            "group": _integer,
        },
        _LEFT_OUT | {*_WINDOW, "output_padding", "output_shape"},
    ),
    Spelled(Transpose, 1, {"axes": _integers}),
    Spelled(Host, 4096, {"operators": _texts, "makes": _texts, "program": _program}),
    Spelled(Part, 1, {"index": _integer}),
    Spelled(QuantizeLinear, 3, {"axis": _integer}),
    Spelled(DequantizeLinear, 3, {"axis": _integer}),
    Spelled(MatMulInteger, 6, _INTEGER_PRODUCT, _INTEGER_LEFT_OUT),
    Spelled(
        ConvInteger,
        6,
        {**_INTEGER_PRODUCT, **dict.fromkeys(_WINDOW, _integers), "auto_pad": _text, "group": _integer},
        _INTEGER_LEFT_OUT | {*_WINDOW},
    ),
    Spelled(Rescale, 3, {"zero": _integer, "low": _integer, "high": _integer, "axis": _integer}),
)
