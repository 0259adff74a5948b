"""Operators of ONNX that look at one element of each operand, in PyTorch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from .library import Attributes, Made, Tensor, UntranslatedError, torch

_TYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
}
"""ONNX's numbers of element types."""


def _cast(operands: list[Any], given: Attributes) -> Tensor:
    """Return the numbers in another type."""
    if given["to"] not in _TYPES:
        raise UntranslatedError(f"Cast to ONNX's element type {given['to']}")
    return operands[0].to(getattr(torch(), _TYPES[given["to"]]))


def _divided(operands: list[Any], given: Attributes) -> Tensor:
    """Return quotients; those of whole numbers are cut off towards 0."""
    x, y = operands
    return x / y if x.dtype.is_floating_point else torch().div(x, y, rounding_mode="trunc")


def _remainder(operands: list[Any], given: Attributes) -> Tensor:
    """Return what is left of a division: with the sign of the divisor, with ``fmod`` that of what is divided."""
    return torch().fmod(*operands) if given.get("fmod", 0) else torch().remainder(*operands)


def _clip(operands: list[Any], given: Attributes) -> Tensor:
    """Return numbers between two limits, each of which may be left out."""
    low, high = ([*operands, None, None][place] for place in (1, 2))
    least = given.get("min") if low is None else low.item()
    most = given.get("max") if high is None else high.item()
    return operands[0] if least is None and most is None else operands[0].clamp(least, most)


def _gelu(operands: list[Any], given: Attributes) -> Tensor:
    """Return GELU, by its error function or by tanh."""
    return torch().nn.functional.gelu(operands[0], approximate=given.get("approximate", b"none").decode())


def _scaled(operands: list[Any], given: Attributes) -> Tensor:
    """Return what ``Scaler`` of ONNX-ML makes: each feature moved, then scaled."""
    x = operands[0].to(torch().float32)
    offset, scale = (
        torch().tensor(list(given.get(name, plain))) for name, plain in (("offset", [0.0]), ("scale", [1.0]))
    )
    return (x - offset) * scale


def _joined(name: str) -> Made:
    """Return the operator of any number of operands that PyTorch's *name* joins two by two."""
    return lambda x, given: functools.reduce(getattr(torch(), name), x)


def _slope(name: str, plain: float) -> Made:
    """Return the function of a slope or limit ``alpha`` that PyTorch calls *name*."""

    def made(x: list[Any], given: Attributes) -> Tensor:
        return getattr(torch().nn.functional, name)(x[0], float(given.get("alpha", plain)))

    return made


def _hard_sigmoid(operands: list[Any], given: Attributes) -> Tensor:
    return (float(given.get("alpha", 0.2)) * operands[0] + float(given.get("beta", 0.5))).clamp(0, 1)


def _unary(*names: str) -> Mapping[str, Made]:
    """Return operators that PyTorch calls as ONNX does, in small letters."""

    def one(name: str) -> Made:
        return lambda x, given: getattr(torch(), name)(x[0])

    return {name: one(name.lower()) for name in names}


def _binary(*pairs: str) -> Mapping[str, Made]:
    """Return operators of two operands, each given as ONNX's name, an equals sign, and PyTorch's."""

    def one(name: str) -> Made:
        return lambda x, given: getattr(torch(), name)(x[0], x[1])

    return {name: one(theirs) for name, _, theirs in (pair.partition("=") for pair in pairs)}


_same: Callable[[list[Any], Attributes], Tensor] = lambda x, given: x[0]  # noqa: E731

ELEMENTS: Mapping[str, Made] = {
    **_unary(
        *(
            "Abs",
            "Acos",
            "Acosh",
            "Asin",
            "Asinh",
            "Atan",
            "Atanh",
            "Ceil",
            "Cos",
            "Cosh",
            "Erf",
            "Exp",
            "Floor",
            "IsInf",
        ),
        *(
            "IsNaN",
            "Log",
            "Neg",
            "Reciprocal",
            "Relu",
            "Round",
            "Sigmoid",
            "Sign",
            "Sin",
            "Sinh",
            "Sqrt",
            "Tan",
            "Tanh",
        ),
    ),
    **_binary(
        *("Add=add", "And=logical_and", "Equal=eq", "Greater=gt", "GreaterOrEqual=ge", "Less=lt", "LessOrEqual=le"),
        *("Mul=mul", "Or=logical_or", "Pow=pow", "Sub=sub", "Xor=logical_xor"),
    ),
    "Cast": _cast,
    "Celu": _slope("celu", 1.0),
    "Clip": _clip,
    "Div": _divided,
    "Dropout": _same,
    "Elu": _slope("elu", 1.0),
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda x, given: torch().nn.functional.hardswish(x[0]),
    "Identity": _same,
    "LeakyRelu": _slope("leaky_relu", 0.01),
    "Max": _joined("maximum"),
    "Mean": lambda x, given: sum(x[1:], x[0]) / len(x),
    "Min": _joined("minimum"),
    "Mish": lambda x, given: torch().nn.functional.mish(x[0]),
    "Mod": _remainder,
    "Not": lambda x, given: torch().logical_not(x[0]),
    "PRelu": lambda x, given: torch().where(x[0] < 0, x[0] * x[1], x[0]),
    "Scaler": _scaled,
    "Softplus": lambda x, given: torch().nn.functional.softplus(x[0]),
    "Softsign": lambda x, given: torch().nn.functional.softsign(x[0]),
    "Sum": lambda x, given: sum(x[1:], x[0]),
    "Swish": lambda x, given: x[0] * (float(given.get("alpha", 1.0)) * x[0]).sigmoid(),
    "Where": lambda x, given: torch().where(x[0], x[1], x[2]),
}
"""Operators by ONNX's name."""
