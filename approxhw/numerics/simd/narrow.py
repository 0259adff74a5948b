"""Scalar operations that stay in 16 and 32 bits: Numba widens small integers to 64 bits, and loses vector lanes so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types
from numba.extending import intrinsic


def _binary(number: Any, method: str) -> Any:
    """Return an intrinsic that carries out the LLVM operation *method* on two integers of type *number*; it wraps."""

    @intrinsic  # type: ignore[misc]
    def operation(context, a, b):  # type: ignore[no-untyped-def]
        """Return a ∘ b, modulo 2^bits."""
        if a != number or b != number:
            return None

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            emit: Callable[..., Any] = getattr(builder, method)
            return emit(*arguments)

        return number(number, number), code

    return operation


def _unary(source: Any, target: Any, method: str) -> Any:
    """Return an intrinsic that converts an integer of type *source* into one of type *target*."""

    @intrinsic  # type: ignore[misc]
    def operation(context, a):  # type: ignore[no-untyped-def]
        """Return a in another width."""
        if a != source:
            return None

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            emit: Callable[..., Any] = getattr(builder, method)
            return emit(arguments[0], context.get_value_type(target))

        return target(source), code

    return operation


add16, mul16, and16 = (_binary(types.int16, name) for name in ("add", "mul", "and_"))
add32, sub32, mul32, and32, xor32 = (_binary(types.int32, name) for name in ("add", "sub", "mul", "and_", "xor"))
shr16, shr32 = _binary(types.int16, "ashr"), _binary(types.int32, "ashr")
extend, truncate = _unary(types.int16, types.int32, "sext"), _unary(types.int32, types.int16, "trunc")
