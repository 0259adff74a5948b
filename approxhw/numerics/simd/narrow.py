"""Scalar operations that stay in 16 and 32 bits: Numba widens small integers to 64 bits, and loses vector lanes so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

import numpy as np
from numba import from_dtype
from numba.extending import intrinsic

if TYPE_CHECKING:
    from llvmlite.ir import IRBuilder, Value
    from numba.core.base import BaseContext
    from numba.core.types import Type
    from numba.core.typing.context import Context
    from numba.core.typing.templates import Signature

Lowering: TypeAlias = "tuple[Signature, Callable[[BaseContext, IRBuilder, Signature, Sequence[Value]], Value]] | None"
"""What an intrinsic answers to the types of its arguments: its signature, and what emits its code; None: they do not fit.

Numba's stubs say that calling an intrinsic never returns, which is so in Python alone: each is cast to what kernels call.
"""

_A = TypeVar("_A", bound=np.generic)
_B = TypeVar("_B", bound=np.generic)


def _binary(number: type[_A], method: str) -> Callable[[_A, _A], _A]:
    """Return an intrinsic that carries out the LLVM operation *method* on two integers of type *number*; it wraps."""
    kind = from_dtype(np.dtype(number))

    @intrinsic
    def operation(context: Context, a: Type, b: Type) -> Lowering:
        """Return a ∘ b, modulo 2^bits."""
        if a != kind or b != kind:
            return None

        def code(context: BaseContext, builder: IRBuilder, signature: Signature, arguments: Sequence[Value]) -> Value:
            return getattr(builder, method)(*arguments)

        return kind(kind, kind), code

    return cast("Callable[[_A, _A], _A]", operation)


def _unary(source: type[_A], target: type[_B], method: str) -> Callable[[_A], _B]:
    """Return an intrinsic that converts an integer of type *source* into one of type *target*."""
    before, after = from_dtype(np.dtype(source)), from_dtype(np.dtype(target))

    @intrinsic
    def operation(context: Context, a: Type) -> Lowering:
        """Return a in another width."""
        if a != before:
            return None

        def code(context: BaseContext, builder: IRBuilder, signature: Signature, arguments: Sequence[Value]) -> Value:
            return getattr(builder, method)(arguments[0], context.get_value_type(after))

        return after(before), code

    return cast("Callable[[_A], _B]", operation)


add16, mul16, and16 = (_binary(np.int16, name) for name in ("add", "mul", "and_"))
add32, sub32, mul32, and32, xor32 = (_binary(np.int32, name) for name in ("add", "sub", "mul", "and_", "xor"))
shr16, shr32 = _binary(np.int16, "ashr"), _binary(np.int32, "ashr")
extend, truncate = _unary(np.int16, np.int32, "sext"), _unary(np.int32, np.int16, "trunc")
