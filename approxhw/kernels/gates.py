"""Bits of a circuit that is built only to be counted: adders, gates and multiplexers, equal bits found by simulation.

A bit is a *literal*: 2·variable + (1 where it is inverted); variable 0 is the constant 0. Cells stand in ``cells``, one for
two variables: cell c makes 2c and 2c + 1. ``values`` holds what every variable is on 64·W input patterns; a new variable that
is constant, or equal or opposite to an earlier one, is not built (as ABC's ``ifraig`` does, here without a proof: with few
inputs the patterns are all there are, with many a sample). ``values`` of no columns leave that out. All functions take and
return the next free variable, always even.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

FULL, HALF, GATE, MASK, SATURATE, ANY, CHOOSE, COMPARE = range(8)
"""Kinds of cells. FULL and HALF make a sum and a carry. GATE to ANY, and CHOOSE and COMPARE of two inputs, are ANDs."""

NET = "i4[:, ::1], u8[:, ::1], i8[::1], i8"
"""Types of the first arguments: cells, values, table, next free variable."""

_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_ZERO = np.uint64(0)
_ONE = np.uint64(1)


@intrinsic  # type: ignore[misc]
def lowest(context: Any, bits: Any) -> Any:
    """Return the position of the lowest 1 of *bits*, an int64 other than 0."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], context.get_constant(types.boolean, True))

    return types.int64(types.int64), code


@numba.njit("u8(u8[:, ::1], i8, i8)", cache=True, nogil=True)
def _on(values, literal, word):  # type: ignore[no-untyped-def]
    """Return what *literal* is on the 64 patterns of *word*."""
    return values[literal >> 1, word] ^ (_ZERO - np.uint64(literal & 1))


@numba.njit("b1(u8[:, ::1], i8, i8)", cache=True, nogil=True)
def apart(values, a, b):  # type: ignore[no-untyped-def]
    """Whether *a* and *b* are never 1 together."""
    for word in range(values.shape[1]):
        if _on(values, a, word) & _on(values, b, word):
            return False
    return values.shape[1] > 0


@numba.njit("i8(u8[:, ::1], i8[::1], i8)", cache=True, nogil=True)
def name(values, table, variable):  # type: ignore[no-untyped-def]
    """Return the literal of what *variable* is on all patterns: a constant, an earlier variable, or itself (which is kept).

    ``table``: 2^k slots, each (number of the genome << 32) + variable, and at the end the number of the genome.
    """
    count = values.shape[1]
    if count == 0:
        return 2 * variable
    phase = values[variable, 0] & _ONE
    flip = _ZERO - phase
    mixed, any_one = _ZERO, _ZERO
    for word in range(count):
        value = values[variable, word] ^ flip
        any_one |= value
        mixed += (value ^ (value >> np.uint64(29))) * (_SPREAD * np.uint64(2 * word + 1))
    if any_one == 0:
        return np.int64(phase)
    last = table.size - 2
    slot = np.int64((mixed ^ (mixed >> np.uint64(32))) * _SPREAD >> np.uint64(34)) & last
    genome = table[last + 1]
    while table[slot] >> 32 == genome:
        other = table[slot] & 0xFFFFFFFF
        turn = flip ^ (_ZERO - (values[other, 0] & _ONE))
        word = 0
        while word < count and values[other, word] == values[variable, word] ^ turn:
            word += 1
        if word == count:
            return 2 * other + np.int64(turn & _ONE)
        slot = (slot + 1) & last
    table[slot] = genome << 32 | variable
    return 2 * variable


@numba.njit(f"UniTuple(i8, 2)({NET}, i8, i8, i8)", cache=True, nogil=True)
def both(cells, values, table, free, kind, a, b):  # type: ignore[no-untyped-def]
    """Return a AND b, a cell of *kind*; a OR b is the inverted AND of the inverted bits."""
    if a < 2:
        a, b = b, a
    if b < 2:
        return (0, free) if b == 0 else (a, free)
    if a == b:
        return a, free
    if a ^ b == 1:
        return 0, free
    for word in range(values.shape[1]):
        values[free, word] = _on(values, a, word) & _on(values, b, word)
    literal = name(values, table, free)
    if literal != 2 * free:
        return literal, free
    cell = free >> 1
    cells[cell, 0], cells[cell, 1], cells[cell, 2], cells[cell, 3] = kind, a, b, 0
    return literal, free + 2


@numba.njit(f"UniTuple(i8, 2)({NET}, i8, i8, i8)", cache=True, nogil=True)
def either(cells, values, table, free, kind, a, b):  # type: ignore[no-untyped-def]
    """Return a OR b."""
    literal, free = both(cells, values, table, free, kind, a ^ 1, b ^ 1)
    return literal ^ 1, free


@numba.njit(f"UniTuple(i8, 3)({NET}, i8, i8)", cache=True, nogil=True)
def half(cells, values, table, free, a, b):  # type: ignore[no-untyped-def]
    """Return sum and carry of a + b."""
    if a < 2:
        a, b = b, a
    if b < 2:
        return (a, 0, free) if b == 0 else (a ^ 1, a, free)
    if a == b:
        return 0, a, free
    if a ^ b == 1:
        return 1, 0, free
    for word in range(values.shape[1]):
        x, y = _on(values, a, word), _on(values, b, word)
        values[free, word] = x ^ y
        values[free + 1, word] = x & y
    carry = name(values, table, free + 1)
    if carry == 0:
        total, free = either(cells, values, table, free, GATE, a, b)
        return total, carry, free
    if carry == a:
        total, free = both(cells, values, table, free, GATE, b, a ^ 1)
        return total, carry, free
    if carry == b:
        total, free = both(cells, values, table, free, GATE, a, b ^ 1)
        return total, carry, free
    total = name(values, table, free)
    if carry != 2 * free + 2 and total != 2 * free:
        return total, carry, free
    cell = free >> 1
    cells[cell, 0], cells[cell, 1], cells[cell, 2], cells[cell, 3] = HALF, a, b, 0
    return total, carry, free + 2


@numba.njit(f"UniTuple(i8, 3)({NET}, i8, i8)", cache=True, nogil=True)
def half_one(cells, values, table, free, a, b):  # type: ignore[no-untyped-def]
    """Return sum and carry of a + b + 1: those of (1 − a) + (1 − b), inverted."""
    total, carry, free = half(cells, values, table, free, a ^ 1, b ^ 1)
    return total ^ 1, carry ^ 1, free


@numba.njit(f"UniTuple(i8, 3)({NET}, i8, i8, i8)", cache=True, nogil=True)
def full(cells, values, table, free, a, b, c):  # type: ignore[no-untyped-def]
    """Return sum and carry of a + b + c."""
    if a < 2:
        a, c = c, a
    elif b < 2:
        b, c = c, b
    if c < 2:
        if c == 0:
            return half(cells, values, table, free, a, b)
        return half_one(cells, values, table, free, a, b)
    if a >> 1 == b >> 1:
        return (c, a, free) if a == b else (c ^ 1, c, free)
    if a >> 1 == c >> 1:
        return (b, a, free) if a == c else (b ^ 1, b, free)
    if b >> 1 == c >> 1:
        return (a, b, free) if b == c else (a ^ 1, a, free)
    for _ in range(3 if values.shape[1] else 0):
        if apart(values, a, b):
            joined, free = either(cells, values, table, free, GATE, a, b)
            return half(cells, values, table, free, joined, c)
        if apart(values, a ^ 1, b ^ 1):
            joined, free = both(cells, values, table, free, GATE, a, b)
            return half_one(cells, values, table, free, joined, c)
        a, b, c = b, c, a
    for word in range(values.shape[1]):
        x, y, z = _on(values, a, word), _on(values, b, word), _on(values, c, word)
        values[free, word] = x ^ y ^ z
        values[free + 1, word] = (x & y) | (z & (x ^ y))
    carry = name(values, table, free + 1)
    total = name(values, table, free)
    if carry != 2 * free + 2 and total != 2 * free:
        return total, carry, free
    cell = free >> 1
    cells[cell, 0], cells[cell, 1], cells[cell, 2], cells[cell, 3] = FULL, a, b, c
    return total, carry, free + 2


@numba.njit(f"UniTuple(i8, 2)({NET}, i8, i8, i8)", cache=True, nogil=True)
def choose(cells, values, table, free, s, a, b):  # type: ignore[no-untyped-def]
    """Return s ? b : a."""
    if a == b or s == 0:
        return a, free
    if s == 1:
        return b, free
    if a ^ b == 1 and a >= 2:
        literal, _, free = half(cells, values, table, free, s, a)
        return literal, free
    if a == 0 or a == s or apart(values, s ^ 1, a):
        return both(cells, values, table, free, CHOOSE, s, b)
    if b == 0 or b == s ^ 1 or apart(values, s, b):
        return both(cells, values, table, free, CHOOSE, s ^ 1, a)
    if a == 1 or a == s ^ 1 or apart(values, s ^ 1, a ^ 1):
        return either(cells, values, table, free, CHOOSE, s ^ 1, b)
    if b == 1 or b == s or apart(values, s, b ^ 1):
        return either(cells, values, table, free, CHOOSE, s, a)
    for word in range(values.shape[1]):
        picks = _on(values, s, word)
        values[free, word] = (picks & _on(values, b, word)) | (~picks & _on(values, a, word))
    literal = name(values, table, free)
    if literal != 2 * free:
        return literal, free
    cell = free >> 1
    cells[cell, 0], cells[cell, 1], cells[cell, 2], cells[cell, 3] = CHOOSE, s, a, b
    return literal, free + 2


@numba.njit(f"UniTuple(i8, 2)({NET}, i8, i8, i8)", cache=True, nogil=True)
def majority(cells, values, table, free, a, b, c):  # type: ignore[no-untyped-def]
    """Return whether two of a, b and c are 1: one place of a comparison."""
    if a < 2:
        a, c = c, a
    elif b < 2:
        b, c = c, b
    if c < 2:
        if c == 0:
            return both(cells, values, table, free, COMPARE, a, b)
        return either(cells, values, table, free, COMPARE, a, b)
    if a >> 1 == b >> 1:
        return (a, free) if a == b else (c, free)
    if a >> 1 == c >> 1:
        return (a, free) if a == c else (b, free)
    if b >> 1 == c >> 1:
        return (b, free) if b == c else (a, free)
    for _ in range(3 if values.shape[1] else 0):
        if apart(values, a, b):
            joined, free = either(cells, values, table, free, COMPARE, a, b)
            return both(cells, values, table, free, COMPARE, joined, c)
        if apart(values, a ^ 1, b ^ 1):
            joined, free = both(cells, values, table, free, COMPARE, a, b)
            return either(cells, values, table, free, COMPARE, joined, c)
        if apart(values, a, b ^ 1):  # a makes b
            joined, free = both(cells, values, table, free, COMPARE, b, c)
            return either(cells, values, table, free, COMPARE, joined, a)
        if apart(values, a ^ 1, b):
            joined, free = both(cells, values, table, free, COMPARE, a, c)
            return either(cells, values, table, free, COMPARE, joined, b)
        a, b, c = b, c, a
    for word in range(values.shape[1]):
        x, y, z = _on(values, a, word), _on(values, b, word), _on(values, c, word)
        values[free, word] = (x & y) | (z & (x | y))
    literal = name(values, table, free)
    if literal != 2 * free:
        return literal, free
    cell = free >> 1
    cells[cell, 0], cells[cell, 1], cells[cell, 2], cells[cell, 3] = COMPARE, a, b, c
    return literal, free + 2
