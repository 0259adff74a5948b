"""Rebuild a small circuit from its truth tables: what synthesis makes of functions of few inputs, however they were written.

A function is taken apart by one input at a time: f = x·g, x + g, x ⊕ g where that is possible, else (for an x in which it rises
or falls) g + x·h, else x ? h : g. Equal functions are built once. That is close to what ABC's ``refactor`` and ``rewrite`` reach
on circuits of a few gates, where counting adders says little.
"""

from __future__ import annotations

import numba
import numpy as np

from .gates import FIRST, GATE, NET, WORDS, Pointer, both, either, half_adder, known_literal, lowest, multiplexer, row

_LOW = np.array(
    [
        0x5555555555555555,
        0x3333333333333333,
        0x0F0F0F0F0F0F0F0F,
        0x00FF00FF00FF00FF,
        0x0000FFFF0000FFFF,
        0x00000000FFFFFFFF,
    ],
    dtype=np.uint64,
).view(np.int64)
"""Where bit k of 0 … 63 is 0."""


@numba.njit("void(CPointer(i8), i8, i8, i8, i8)", cache=True, nogil=True)
def _cofactors(net: Pointer, at: int, k: int, low: int, high: int) -> None:
    """Write the function at *at* with input *k* 0 to *low*, with it 1 to *high*: both of as many words."""
    words = net[WORDS]
    if k < 6:
        mask, shift = _LOW[k], 1 << k
        for word in range(words):
            f = net[at + word]
            zero, one = f & mask, (f >> shift) & mask
            net[low + word] = zero | (zero << shift)
            net[high + word] = one | (one << shift)
    else:
        step = 1 << (k - 6)
        for word in range(words):
            net[low + word] = net[at + (word & ~step)]
            net[high + word] = net[at + (word | step)]


@numba.njit("i8(CPointer(i8), i8)", cache=True, nogil=True)
def _ones(net: Pointer, at: int) -> int:
    """Return on how many patterns the function at *at* is 1."""
    weight = 0
    for word in range(net[WORDS]):
        left = np.uint64(net[at + word])
        left = left - ((left >> np.uint64(1)) & np.uint64(0x5555555555555555))
        left = (left & np.uint64(0x3333333333333333)) + ((left >> np.uint64(2)) & np.uint64(0x3333333333333333))
        left = (left + (left >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
        weight += np.int64((left * np.uint64(0x0101010101010101)) >> np.uint64(56))
    return weight


@numba.njit(f"UniTuple(i8, 3)({NET}, i8, i8, i8, i8)", cache=True, nogil=True)
def take_apart(net: Pointer, free: int, inputs: int, at: int, spare: int, budget: int) -> tuple[int, int, int]:
    """Build the function whose truth table stands at *at*; return its literal, the next free variable, and what is left.

    *inputs*: bit set of the inputs that it may depend on; input k is the variable ``FIRST + k``, and bit k of the table's
    index. ``spare``: variable from which on rows are free for more tables, two a level. ``budget``: most functions to look
    at; below 0 where that was not enough.
    """
    literal = known_literal(net, at)
    if literal >= 0:
        return literal, free, budget
    budget -= 1
    if budget < 0:
        return 0, free, budget
    words = net[WORDS]
    low, high = row(net, spare), row(net, spare + 1)
    best, most, how = -1, -1, 0
    left = inputs
    while left:
        k = lowest(left)
        left &= left - 1
        _cofactors(net, at, k, low, high)
        differ, zero_low, one_low, zero_high, one_high, opposite, rises, falls = 0, 0, 0, 0, 0, 0, 0, 0
        for word in range(words):
            a, b = net[low + word], net[high + word]
            differ |= a ^ b
            zero_low |= a
            one_low |= ~a
            zero_high |= b
            one_high |= ~b
            opposite |= ~(a ^ b)
            rises |= a & ~b
            falls |= b & ~a
        if differ == 0:
            inputs ^= 1 << k
            continue
        if zero_low == 0 or one_low == 0 or zero_high == 0 or one_high == 0 or opposite == 0:
            best, how = (
                k,
                1 if zero_low == 0 else 2 if one_low == 0 else 3 if zero_high == 0 else 4 if one_high == 0 else 5,
            )
            break
        for word in range(words):
            net[low + word] ^= net[high + word]
        weight = _ones(net, low)
        if weight > most:
            best, most, how = k, weight, 6 if rises == 0 else 7 if falls == 0 else 8
    x = 2 * (FIRST + best)
    inputs ^= 1 << best
    _cofactors(net, at, best, low, high)
    if how == 1 or how == 2:
        g, free, budget = take_apart(net, free, inputs, high, spare + 2, budget)
        if how == 1:
            literal, free = both(net, free, GATE, x, g)
        else:
            literal, free = either(net, free, GATE, x ^ 1, g)
        return literal, free, budget
    g, free, budget = take_apart(net, free, inputs, low, spare + 2, budget)
    if how == 3:
        literal, free = both(net, free, GATE, x ^ 1, g)
    elif how == 4:
        literal, free = either(net, free, GATE, x, g)
    elif how == 5:
        literal, _, free = half_adder(net, free, x, g)
    else:
        h, free, budget = take_apart(net, free, inputs, high, spare + 2, budget)
        if how == 6:
            part, free = both(net, free, GATE, x, h)
            literal, free = either(net, free, GATE, part, g)
        elif how == 7:
            part, free = both(net, free, GATE, x ^ 1, g)
            literal, free = either(net, free, GATE, part, h)
        else:
            literal, free = multiplexer(net, free, x, g, h)
    return literal, free, budget
