"""Rows of small products added to a row of sums, as many at once as vectors hold: raw addresses in, nothing checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .narrow import Lowering

if TYPE_CHECKING:
    from llvmlite.ir import IRBuilder, Value
    from numba.core.base import BaseContext
    from numba.core.types import Type
    from numba.core.typing.context import Context
    from numba.core.typing.templates import Signature

ROWS = 4
"""Rows of products that are added in one step: the sums are loaded and stored once for all of them."""

AddRows: TypeAlias = "Callable[[int, tuple[int, int, int, int]], None]"
"""Address of int32 sums, addresses of four rows of products."""


def _add_rows(lanes: int, bits: int, signed: bool) -> AddRows:
    """Return an intrinsic: *lanes* int32 at an address are increased by as many integers of *bits* at each of four addresses."""

    @intrinsic
    def operation(context: Context, sums: Type, rows: Type) -> Lowering:
        """Add four rows of products to a row of sums."""
        if sums != types.int64 or rows != types.UniTuple(types.int64, ROWS):
            return None

        def code(context: BaseContext, builder: IRBuilder, signature: Signature, arguments: Sequence[Value]) -> Value:
            wide = ir.VectorType(ir.IntType(32), lanes)
            narrow = ir.VectorType(ir.IntType(bits), lanes)
            place = builder.inttoptr(arguments[0], wide.as_pointer())
            total = builder.load(place, align=4)
            for row in range(ROWS):
                address = builder.extract_value(arguments[1], row)
                products = builder.load(builder.inttoptr(address, narrow.as_pointer()), align=bits // 8)
                extended = products if bits == 32 else (builder.sext if signed else builder.zext)(products, wide)
                total = builder.add(total, extended)
            builder.store(total, place, align=4)
            return context.get_dummy_value()

        return types.none(sums, rows), code

    return cast("AddRows", operation)


LANES = 32
"""Sums of one row."""

add_signed, add_unsigned, add_wide = _add_rows(LANES, 16, True), _add_rows(LANES, 16, False), _add_rows(LANES, 32, True)
