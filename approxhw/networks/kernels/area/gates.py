"""Bits of a circuit that is built only to be counted: adders, gates and multiplexers, equal bits found by simulation.

A bit is a *literal*: 2·variable + (1 where it is inverted); variable 0 is the constant 0. A cell makes two variables, an even
one and the next. ``net`` holds all: of every variable what it is on 64·W input patterns, and of every cell its kind and inputs.
A new variable that is constant, or equal or opposite to an earlier one, is not built (as ABC's ``ifraig`` does, here without a
proof: with few inputs the patterns are all there are, with many a sample). With W = 0 bits are compared by name alone. All
functions take and return the next free variable, always even.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from approxhw.numerics.simd.narrow import Lowering

if TYPE_CHECKING:
    from llvmlite.ir import IRBuilder, Value
    from numba.core.base import BaseContext
    from numba.core.types import Type
    from numba.core.typing.context import Context
    from numba.core.typing.templates import Signature

FULL, HALF, GATE, MASK, SATURATE, ANY, CHOOSE, COMPARE = range(8)
"""Kinds of cells. FULL and HALF make a sum and a carry. GATE to ANY, and CHOOSE and COMPARE of two inputs, are ANDs."""

WORDS, MASK_OF_TABLE, GENOME, KEPT, TABLE, ROWS, STRIDE, SPARE, MOST_WORDS, HEADER = range(10)
"""Header of ``net``: words of patterns in use, slots of the table less 1, number of the genome, variables kept in the table,
where the table and the rows of variables start, length of such a row: the words, and for the first variable of a cell
its kind and three inputs; the first variable of those whose rows are spare; most words."""

FIRST = 2
"""The variable of the first input of a circuit."""

NET = "CPointer(i8), i8"
"""Types of the first arguments: ``net`` and the next free variable. A pointer, because arrays are counted, which costs half
the time here: whoever calls keeps them alive, and large enough."""

Pointer = Any
"""A C pointer to numbers, as compiled code indexes it: what Numba makes of ``array.ctypes``, and Python has no type for."""

_SPREAD = np.int64(-7046029254386353131)  # 2^64 by the golden ratio


@intrinsic
def _lowest(context: Context, bits: Type) -> Lowering:
    """Return the position of the lowest 1 of *bits*, an int64 other than 0."""

    def code(context: BaseContext, builder: IRBuilder, signature: Signature, arguments: Sequence[Value]) -> Value:
        return builder.cttz(arguments[0], context.get_constant(types.boolean, True))

    return types.int64(types.int64), code


lowest = cast("Callable[[int], int]", _lowest)


@numba.njit("i8(CPointer(i8), i8)", cache=True, nogil=True)
def row(net: Pointer, variable: int) -> int:
    """Return where the row of *variable* starts."""
    return net[ROWS] + variable * net[STRIDE]


@numba.njit("void(CPointer(i8), i8, i8, i8, i8, i8)", cache=True, nogil=True)
def _build(net: Pointer, free: int, kind: int, a: int, b: int, c: int) -> None:
    """Note a cell."""
    at = net[ROWS] + (free + 1) * net[STRIDE] - 4
    net[at], net[at + 1], net[at + 2], net[at + 3] = kind, a, b, c


@numba.njit("b1(CPointer(i8), i8, i8)", cache=True, nogil=True)
def apart(net: Pointer, a: int, b: int) -> bool:
    """Whether *a* and *b* are never 1 together."""
    x, flip_x, y, flip_y = row(net, a >> 1), -(a & 1), row(net, b >> 1), -(b & 1)
    word, words = 0, net[WORDS]
    while word < words and (net[x + word] ^ flip_x) & (net[y + word] ^ flip_y) == 0:
        word += 1
    return word == words > 0


@numba.njit("UniTuple(i8, 2)(CPointer(i8), i8)", cache=True, nogil=True)
def _look_up(net: Pointer, at: int) -> tuple[int, int]:
    """Return the literal of what stands at *at*, −1 where it is new, and the slot of the table where it belongs."""
    words = net[WORDS]
    flip = -(net[at] & 1)
    mixed, ones = 0, 0
    for word in range(words):
        value = net[at + word] ^ flip
        ones |= value
        mixed ^= (value << word) ^ (value >> (48 - word))
    if ones == 0:
        return -flip, 0
    table, mask, genome = net[TABLE], net[MASK_OF_TABLE], net[GENOME]
    slot = ((mixed ^ (mixed >> 32)) * _SPREAD >> 34) & mask
    while net[table + slot] >> 32 == genome:
        other = net[table + slot] & 0xFFFFFFFF
        there = row(net, other)
        turn = flip ^ -(net[there] & 1)
        word = 0
        while word < words and net[there + word] == net[at + word] ^ turn:
            word += 1
        if word == words:
            return 2 * other - turn, slot
        slot = (slot + 1) & mask
    return -1, slot


@numba.njit("i8(CPointer(i8), i8)", cache=True, nogil=True)
def known_literal(net: Pointer, at: int) -> int:
    """Return the literal of what stands at *at* on all patterns, or −1 where no variable is like that."""
    return _look_up(net, at)[0]


@numba.njit("i8(CPointer(i8), i8)", cache=True, nogil=True)
def name(net: Pointer, variable: int) -> int:
    """Return the literal of what *variable* is on all patterns: a constant, an earlier variable, or itself (which is kept).

    A slot of the table: (number of the genome << 32) + variable.
    """
    if net[WORDS] == 0:
        return 2 * variable
    literal, slot = _look_up(net, row(net, variable))
    if literal >= 0:
        return literal
    if 2 * net[KEPT] < net[MASK_OF_TABLE]:  # else the table is full enough: go on without
        net[KEPT] += 1
        net[net[TABLE] + slot] = net[GENOME] << 32 | variable
    return 2 * variable


@numba.njit(f"UniTuple(i8, 2)({NET}, i8, i8, i8)", cache=True, nogil=True)
def both(net: Pointer, free: int, kind: int, a: int, b: int) -> tuple[int, int]:
    """Return a AND b, a cell of *kind*; a OR b is the inverted AND of the inverted bits."""
    if a < 2:
        a, b = b, a
    if b < 2:
        return (0, free) if b == 0 else (a, free)
    if a == b:
        return a, free
    if a ^ b == 1:
        return 0, free
    at, x, y = row(net, free), row(net, a >> 1), row(net, b >> 1)
    flip_x, flip_y = -(a & 1), -(b & 1)
    for word in range(net[WORDS]):
        net[at + word] = (net[x + word] ^ flip_x) & (net[y + word] ^ flip_y)
    literal = name(net, free)
    if literal != 2 * free:
        return literal, free
    _build(net, free, kind, a, b, 0)
    return literal, free + 2


@numba.njit(f"UniTuple(i8, 2)({NET}, i8, i8, i8)", cache=True, nogil=True)
def either(net: Pointer, free: int, kind: int, a: int, b: int) -> tuple[int, int]:
    """Return a OR b."""
    literal, free = both(net, free, kind, a ^ 1, b ^ 1)
    return literal ^ 1, free


@numba.njit(f"UniTuple(i8, 3)({NET}, i8, i8)", cache=True, nogil=True)
def half_adder(net: Pointer, free: int, a: int, b: int) -> tuple[int, int, int]:
    """Return sum and carry of a + b."""
    if a < 2:
        a, b = b, a
    if b < 2:
        return (a, 0, free) if b == 0 else (a ^ 1, a, free)
    if a == b:
        return 0, a, free
    if a ^ b == 1:
        return 1, 0, free
    at, over, x, y = row(net, free), row(net, free + 1), row(net, a >> 1), row(net, b >> 1)
    flip_x, flip_y = -(a & 1), -(b & 1)
    for word in range(net[WORDS]):
        p, q = net[x + word] ^ flip_x, net[y + word] ^ flip_y
        net[at + word] = p ^ q
        net[over + word] = p & q
    carry = name(net, free + 1)
    if carry == 0:
        total, free = either(net, free, GATE, a, b)
        return total, carry, free
    if carry == a:
        total, free = both(net, free, GATE, b, a ^ 1)
        return total, carry, free
    if carry == b:
        total, free = both(net, free, GATE, a, b ^ 1)
        return total, carry, free
    total = name(net, free)
    if carry != 2 * free + 2 and total != 2 * free:
        return total, carry, free
    _build(net, free, HALF, a, b, 0)
    return total, carry, free + 2


@numba.njit(f"UniTuple(i8, 3)({NET}, i8, i8)", cache=True, nogil=True)
def half_adder_plus_one(net: Pointer, free: int, a: int, b: int) -> tuple[int, int, int]:
    """Return sum and carry of a + b + 1: those of (1 − a) + (1 − b), inverted."""
    total, carry, free = half_adder(net, free, a ^ 1, b ^ 1)
    return total ^ 1, carry ^ 1, free


@numba.njit(f"UniTuple(i8, 3)({NET}, i8, i8, i8)", cache=True, nogil=True)
def full_adder(net: Pointer, free: int, a: int, b: int, c: int) -> tuple[int, int, int]:
    """Return sum and carry of a + b + c."""
    if a < 2:
        a, c = c, a
    elif b < 2:
        b, c = c, b
    if c < 2:
        if c == 0:
            return half_adder(net, free, a, b)
        return half_adder_plus_one(net, free, a, b)
    if a >> 1 == b >> 1:
        return (c, a, free) if a == b else (c ^ 1, c, free)
    if a >> 1 == c >> 1:
        return (b, a, free) if a == c else (b ^ 1, b, free)
    if b >> 1 == c >> 1:
        return (a, b, free) if b == c else (a ^ 1, a, free)
    for _ in range(3 if net[WORDS] else 0):
        if apart(net, a, b):
            joined, free = either(net, free, GATE, a, b)
            return half_adder(net, free, joined, c)
        if apart(net, a ^ 1, b ^ 1):
            joined, free = both(net, free, GATE, a, b)
            return half_adder_plus_one(net, free, joined, c)
        a, b, c = b, c, a
    at, over, x, y, z = row(net, free), row(net, free + 1), row(net, a >> 1), row(net, b >> 1), row(net, c >> 1)
    flip_x, flip_y, flip_z = -(a & 1), -(b & 1), -(c & 1)
    for word in range(net[WORDS]):
        p, q, r = net[x + word] ^ flip_x, net[y + word] ^ flip_y, net[z + word] ^ flip_z
        net[at + word] = p ^ q ^ r
        net[over + word] = (p & q) | (r & (p ^ q))
    carry = name(net, free + 1)
    total = name(net, free)
    if carry != 2 * free + 2 and total != 2 * free:
        return total, carry, free
    _build(net, free, FULL, a, b, c)
    return total, carry, free + 2


@numba.njit(f"UniTuple(i8, 2)({NET}, i8, i8, i8)", cache=True, nogil=True)
def multiplexer(net: Pointer, free: int, s: int, a: int, b: int) -> tuple[int, int]:
    """Return s ? b : a."""
    if a == b or s == 0:
        return a, free
    if s == 1:
        return b, free
    if a ^ b == 1 and a >= 2:
        literal, _, free = half_adder(net, free, s, a)
        return literal, free
    if a == 0 or a == s or apart(net, s ^ 1, a):
        return both(net, free, CHOOSE, s, b)
    if b == 0 or b == s ^ 1 or apart(net, s, b):
        return both(net, free, CHOOSE, s ^ 1, a)
    if a == 1 or a == s ^ 1 or apart(net, s ^ 1, a ^ 1):
        return either(net, free, CHOOSE, s ^ 1, b)
    if b == 1 or b == s or apart(net, s, b ^ 1):
        return either(net, free, CHOOSE, s, a)
    at, x, y, z = row(net, free), row(net, s >> 1), row(net, a >> 1), row(net, b >> 1)
    flip_x, flip_y, flip_z = -(s & 1), -(a & 1), -(b & 1)
    for word in range(net[WORDS]):
        p, q = net[y + word] ^ flip_y, net[z + word] ^ flip_z
        net[at + word] = p ^ ((net[x + word] ^ flip_x) & (p ^ q))
    literal = name(net, free)
    if literal != 2 * free:
        return literal, free
    _build(net, free, CHOOSE, s, a, b)
    return literal, free + 2


@numba.njit(f"UniTuple(i8, 2)({NET}, i8, i8, i8)", cache=True, nogil=True)
def majority(net: Pointer, free: int, a: int, b: int, c: int) -> tuple[int, int]:
    """Return whether two of a, b and c are 1: one place of a comparison."""
    if a < 2:
        a, c = c, a
    elif b < 2:
        b, c = c, b
    if c < 2:
        if c == 0:
            return both(net, free, COMPARE, a, b)
        return either(net, free, COMPARE, a, b)
    if a >> 1 == b >> 1:
        return (a, free) if a == b else (c, free)
    if a >> 1 == c >> 1:
        return (a, free) if a == c else (b, free)
    if b >> 1 == c >> 1:
        return (b, free) if b == c else (a, free)
    for _ in range(3 if net[WORDS] else 0):
        if apart(net, a, b):
            joined, free = either(net, free, COMPARE, a, b)
            return both(net, free, COMPARE, joined, c)
        if apart(net, a ^ 1, b ^ 1):
            joined, free = both(net, free, COMPARE, a, b)
            return either(net, free, COMPARE, joined, c)
        if apart(net, a, b ^ 1):  # a makes b
            joined, free = both(net, free, COMPARE, b, c)
            return either(net, free, COMPARE, joined, a)
        if apart(net, a ^ 1, b):
            joined, free = both(net, free, COMPARE, a, c)
            return either(net, free, COMPARE, joined, b)
        a, b, c = b, c, a
    at, x, y, z = row(net, free), row(net, a >> 1), row(net, b >> 1), row(net, c >> 1)
    flip_x, flip_y, flip_z = -(a & 1), -(b & 1), -(c & 1)
    for word in range(net[WORDS]):
        p, q, r = net[x + word] ^ flip_x, net[y + word] ^ flip_y, net[z + word] ^ flip_z
        net[at + word] = (p & q) | (r & (p | q))
    literal = name(net, free)
    if literal != 2 * free:
        return literal, free
    _build(net, free, COMPARE, a, b, c)
    return literal, free + 2
