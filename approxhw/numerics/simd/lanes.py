"""Scalar operations on float32 and its bits that LLVM lays side by side in vectors, and the wish for the widest ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from numba import types
from numba.extending import intrinsic

from .narrow import Lowering, _binary, _unary

if TYPE_CHECKING:
    from llvmlite.ir import IRBuilder, Value
    from numba.core.base import BaseContext
    from numba.core.types import Type
    from numba.core.typing.context import Context
    from numba.core.typing.templates import Signature

multiply = _binary(np.float32, "fmul")
bits_of, from_bits = _unary(np.float32, np.int32, "bitcast"), _unary(np.int32, np.float32, "bitcast")
truncated, to_float = _unary(np.float32, np.int32, "fptosi"), _unary(np.int32, np.float32, "sitofp")
shl32, or32 = _binary(np.int32, "shl"), _binary(np.int32, "or_")


@intrinsic
def _max32(context: Context, a: Type, b: Type) -> Lowering:
    """Return the greater of two int32."""
    if a != types.int32 or b != types.int32:
        return None

    def code(context: BaseContext, builder: IRBuilder, signature: Signature, arguments: Sequence[Value]) -> Value:
        return builder.select(builder.icmp_signed(">", *arguments), *arguments)

    return types.int32(a, b), code


@intrinsic
def _min32(context: Context, a: Type, b: Type) -> Lowering:
    """Return the lesser of two int32."""
    if a != types.int32 or b != types.int32:
        return None

    def code(context: BaseContext, builder: IRBuilder, signature: Signature, arguments: Sequence[Value]) -> Value:
        return builder.select(builder.icmp_signed("<", *arguments), *arguments)

    return types.int32(a, b), code


@intrinsic
def _if_greater(context: Context, a: Type, b: Type, x: Type, y: Type) -> Lowering:
    """Return x where a > b, else y; all are int32, and nothing branches."""
    if any(kind != types.int32 for kind in (a, b, x, y)):
        return None

    def code(context: BaseContext, builder: IRBuilder, signature: Signature, arguments: Sequence[Value]) -> Value:
        a, b, x, y = arguments
        return builder.select(builder.icmp_signed(">", a, b), x, y)

    return types.int32(a, b, x, y), code


@intrinsic
def _if_zero(context: Context, a: Type, x: Type, y: Type) -> Lowering:
    """Return x where a is 0, else y; all are int32, and nothing branches."""
    if any(kind != types.int32 for kind in (a, x, y)):
        return None

    def code(context: BaseContext, builder: IRBuilder, signature: Signature, arguments: Sequence[Value]) -> Value:
        a, x, y = arguments
        return builder.select(builder.icmp_signed("==", a, a.type(0)), x, y)

    return types.int32(a, x, y), code


@intrinsic
def _widest_vectors(context: Context) -> Lowering:
    """Have the function that calls this use 512-bit vectors where the machine has them; LLVM would stay at 256.

    Long loops of nothing but arithmetic gain a third to a half from it. llvmlite knows no such attribute by name,
    so it goes into the set of attributes past the check.
    """

    def code(context: BaseContext, builder: IRBuilder, signature: Signature, arguments: Sequence[Value]) -> Value:
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.none(), code


max32 = cast("Callable[[np.int32, np.int32], np.int32]", _max32)
min32 = cast("Callable[[np.int32, np.int32], np.int32]", _min32)
if_greater = cast("Callable[[np.int32, np.int32, np.int32, np.int32], np.int32]", _if_greater)
if_zero = cast("Callable[[np.int32, np.int32, np.int32], np.int32]", _if_zero)
widest_vectors = cast("Callable[[], None]", _widest_vectors)
