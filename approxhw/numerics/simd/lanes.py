"""Scalar operations on float32 and its bits that LLVM lays side by side in vectors, and the wish for the widest ones."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from .narrow import _binary, _unary

multiply = _binary(types.float32, "fmul")
bits_of, from_bits = _unary(types.float32, types.int32, "bitcast"), _unary(types.int32, types.float32, "bitcast")
truncated, to_float = _unary(types.float32, types.int32, "fptosi"), _unary(types.int32, types.float32, "sitofp")
shl32, or32 = _binary(types.int32, "shl"), _binary(types.int32, "or_")


@intrinsic  # type: ignore[misc]
def max32(context, a, b):  # type: ignore[no-untyped-def]
    """Return the greater of two int32."""
    if a != types.int32 or b != types.int32:
        return None

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(builder.icmp_signed(">", *arguments), *arguments)

    return types.int32(a, b), code


@intrinsic  # type: ignore[misc]
def min32(context, a, b):  # type: ignore[no-untyped-def]
    """Return the lesser of two int32."""
    if a != types.int32 or b != types.int32:
        return None

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(builder.icmp_signed("<", *arguments), *arguments)

    return types.int32(a, b), code


@intrinsic  # type: ignore[misc]
def if_greater(context, a, b, x, y):  # type: ignore[no-untyped-def]
    """Return x where a > b, else y; all are int32, and nothing branches."""
    if any(kind != types.int32 for kind in (a, b, x, y)):
        return None

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        a, b, x, y = arguments
        return builder.select(builder.icmp_signed(">", a, b), x, y)

    return types.int32(a, b, x, y), code


@intrinsic  # type: ignore[misc]
def if_zero(context, a, x, y):  # type: ignore[no-untyped-def]
    """Return x where a is 0, else y; all are int32, and nothing branches."""
    if any(kind != types.int32 for kind in (a, x, y)):
        return None

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        a, x, y = arguments
        return builder.select(builder.icmp_signed("==", a, a.type(0)), x, y)

    return types.int32(a, x, y), code


@intrinsic  # type: ignore[misc]
def widest_vectors(context):  # type: ignore[no-untyped-def]
    """Have the function that calls this use 512-bit vectors where the machine has them; LLVM would stay at 256.

    Long loops of nothing but arithmetic gain a third to a half from it. llvmlite knows no such attribute by name,
    so it goes into the set of attributes past the check.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.none(), code
