"""Multiply-add chains with powers of two held as floats: the fast form, W ≤ 23, exponents in a range that is checked once.

A state is the float32 of its value; its exponent is that float's own (exact normalization) or the bits of 2^E (approximate).
A step takes e, the greater exponent of product and state, multiplies both by 2^(W − 1 − e) and converts them to integers:
the conversion drops what the hardware's alignment drops. The sum, converted back and multiplied by 2^(e − (W − 1)), is exact
in float32's 24 bits, carry included; the low bit that a carry loses falls at the next step's alignment, or at the end. Zero has
exponent field 0, below all others; powers of two formed from it may be nonsense, but are finite, and only zeros meet them.

Limited alignment (``reach``, 2^M in the exponent's place; None is compiled by itself, and costs nothing) compares E with the
exponent that the product has if taken as less than 2: the sum of its operands' own, or 0 for a zero, which drops nothing.

Exponents in multiples of a step (``step``, 1, 2 or 4 in the exponent's place; None is compiled by itself, too): a product's is
the sum of its operands' own, rounded down. Ranges are moved by multiples, so a field plus 1 is a multiple where its exponent
is. A state weighs 2^step more, which *up* and *down* tell, and a carry may lose more than its last bit; what it loses falls
likewise.

The inner loop takes one step of many chains: several steps at once save loads, but processors then wait for results.
"""

from __future__ import annotations

import numba
import numpy as np

from approxhw.numerics.simd.lanes import (
    bits_of,
    from_bits,
    if_greater,
    if_zero,
    max32,
    multiply,
    to_float,
    truncated,
    widest_vectors,
)
from approxhw.numerics.simd.narrow import add32, and32, sub32

_FIELD = np.int32(0x7F800000)
_NONE, _ONE = np.int32(0), np.int32(1 << 23)
_BIAS = np.int32(127 << 23)
BLOCK = 256
"""Columns that are carried through all of K together: their states stay in the nearest cache."""

_LANES = 16  # float32 numbers in the widest vector, and in a line of a cache


@numba.njit(cache=True, nogil=True)
def _open_step(
    state: np.float32, exponent: np.int32, a: np.float32, b: np.float32, up: np.int32, down: np.int32,
    reach: np.int32 | None, step: np.int32 | None,
) -> tuple[np.float32, np.int32]:  # fmt: skip
    """Return the state after one step whose normalization is still to come, and the e of the step.

    *up*, *down*: W − 1 − headroom in the exponent's place, biased or not.
    """
    product = multiply(a, b)
    field = and32(bits_of(product), _FIELD)
    less, unit = field, _ONE
    if reach is not None or step is not None:
        less = add32(and32(bits_of(a), _FIELD), sub32(and32(bits_of(b), _FIELD), _BIAS))
    if step is not None:
        unit = step
        less = sub32(and32(add32(less, _ONE), sub32(_NONE, step)), _ONE)
    if reach is not None or step is not None:
        less = if_zero(field, _NONE, less)
    if step is not None:
        field = less
    e = max32(field, exponent)
    scale = from_bits(sub32(up, e))
    p, s = truncated(multiply(product, scale)), truncated(multiply(state, scale))
    if reach is not None:
        s = if_greater(reach, sub32(less, exponent), s, _NONE)
        p = if_greater(reach, sub32(sub32(exponent, less), unit), p, _NONE)
    return multiply(to_float(add32(p, s)), from_bits(sub32(e, down))), e


@numba.njit(cache=True, nogil=True)
def _exact_step(
    state: np.float32, a: np.float32, b: np.float32, up: np.int32, down: np.int32, reach: np.int32 | None,
    step: np.int32 | None,
) -> np.float32:  # fmt: skip
    """Return the state after one step with exact normalization: the exponent is the float's own, or the step's above it."""
    exponent = and32(bits_of(state), _FIELD)
    if step is not None:
        # rounded up to a multiple, less the step that stands above 2^E
        whole = and32(add32(exponent, step), sub32(_NONE, step))
        exponent = if_zero(exponent, _NONE, sub32(sub32(whole, step), _ONE))
    following, _ = _open_step(state, exponent, a, b, up, down, reach, step)
    return following


@numba.njit(cache=True, nogil=True)
def _lowered_by_one(state: np.float32, e: np.int32, one: np.int32, most: np.int32) -> np.int32:
    """Return E after an-1-λ; *one*: 1, *most*: 1 + λ, in the exponent's place."""
    top, low = and32(bits_of(state), _FIELD), sub32(e, most)
    # top is e + 1 after a carry, e where nothing is to be shifted: the greater of it and e − 1 is right for both
    return if_zero(top, _NONE, if_greater(top, low, max32(top, sub32(e, one)), low))


@numba.njit(cache=True, nogil=True)
def _lowered(state: np.float32, e: np.int32, k: np.int32, most: np.int32) -> np.int32:
    """Return E after an-k-λ; *k*, *most*: k and k + λ in the exponent's place."""
    top, middle, low = and32(bits_of(state), _FIELD), sub32(e, k), sub32(e, most)
    return if_zero(top, _NONE, if_greater(top, middle, max32(top, e), if_greater(top, low, middle, low)))


@numba.njit(cache=True, nogil=True)
def _lowered_by_steps(state: np.float32, e: np.int32, k: np.int32, most: np.int32, step: np.int32) -> np.int32:
    """Return E after an-k-λ in multiples of *step*, which is what a carry raises it by."""
    field = and32(bits_of(state), _FIELD)
    top, middle, low = sub32(field, step), sub32(e, k), sub32(e, most)
    left = if_greater(top, middle, e, if_greater(top, low, middle, low))
    return if_zero(field, _NONE, if_greater(top, e, add32(e, step), left))


@numba.njit(cache=True, nogil=True)
def _finish(states: np.ndarray, width: int, moved: int, bf16: bool, step: np.int32 | None, row: np.ndarray) -> None:
    """Fill *row* with *states* (both float32 as bits, int32) as the column's end rounds them; exponents are *moved* too high."""
    kept = np.int32(-(1 << (24 - width)))
    for j in range(row.size):
        word = states[j]
        field = ((word >> 23) & 0xFF) - moved
        if step is not None:
            # of a state at the top of its step W bits are there, of one below fewer
            kept = np.int32(-(1 << (24 - width + (-(field + 1) & ((step >> 23) - 1)))))
        sign = word & np.int32(-0x80000000)
        if word & 0x7FFFFFFF == 0:
            row[j] = 0  # a chain from +0 never ends at −0
        elif field < 1:
            row[j] = sign
        elif field > 254:
            row[j] = sign | 0x7F800000
        else:
            word = (word & kept) - (moved << 23)
            row[j] = (word + 0x7FFF + ((word >> 16) & 1)) & -0x10000 if bf16 else word


@numba.njit(cache=True, nogil=True)
def _aligned(count: int) -> np.ndarray:
    """Return room for *count* float32 that begins where a 64-byte line does: vectors then never lie across two of them."""
    room = np.empty(count + _LANES, np.float32)
    skip = (-(room.ctypes.data >> 2)) & (_LANES - 1)
    return room[skip : skip + count]


@numba.njit(cache=True, nogil=True)
def _panel(b: np.ndarray, first: int, last: int, room: np.ndarray) -> np.ndarray:
    """Return columns *first* to *last* of b packed into *room*, rows filled up with zeros to whole vectors."""
    width = (last - first + _LANES - 1) // _LANES * _LANES
    panel = room[: b.shape[0] * width].reshape(b.shape[0], width)
    for k in range(b.shape[0]):
        panel[k, : last - first] = b[k, first:last]
        panel[k, last - first :] = np.float32(0)
    return panel


@numba.njit(cache=True, nogil=True)
def exact_chains(
    a: np.ndarray, b: np.ndarray, width: int, reach: np.int32 | None, step: np.int32 | None, moved: int, bf16: bool,
    result: np.ndarray,
) -> None:  # fmt: skip
    """Fill *result* (float32, M × N) with the products of a (M × K) and b (K × N), exact normalization, W = *width*.

    *reach*: how far below the other an addend is dropped, *step*: what exponents are multiples of, both in the exponent's
    place (int32), or None.
    """
    widest_vectors()
    rows, depth, columns = a.shape[0], a.shape[1], b.shape[1]
    above = 0 if step is None else step >> 23
    up, down = np.int32((width + 253 - above) << 23), np.int32((width - 1 - above) << 23)
    words, room, line = result.view(np.int32), _aligned(depth * BLOCK), _aligned(BLOCK)
    for first in range(0, columns, BLOCK):
        last = min(columns, first + BLOCK)
        panel = _panel(b, first, last, room)
        state = line[: panel.shape[1]]
        for m in range(rows):
            state[:] = np.float32(0)
            for k in range(depth):
                factor, across = a[m, k], panel[k]
                for j in range(state.size):
                    state[j] = _exact_step(state[j], factor, across[j], up, down, reach, step)
            _finish(state.view(np.int32), width, moved, bf16, step, words[m, first:last])


@numba.njit(cache=True, nogil=True)
def approximate_chains(
    a: np.ndarray, b: np.ndarray, width: int, k_shift: int, further: int, reach: np.int32 | None,
    step: np.int32 | None, moved: int, bf16: bool, result: np.ndarray,
) -> None:  # fmt: skip
    """Fill *result* likewise with an-k-λ normalization, k = *k_shift*, λ = *further*."""
    widest_vectors()
    rows, depth, columns = a.shape[0], a.shape[1], b.shape[1]
    above = 0 if step is None else step >> 23
    up, down = np.int32((width + 253 - above) << 23), np.int32((width - 1 - above) << 23)
    one, most = np.int32(k_shift << 23), np.int32((k_shift + further) << 23)
    words, room, line = result.view(np.int32), _aligned(depth * BLOCK), _aligned(2 * BLOCK)
    for first in range(0, columns, BLOCK):
        last = min(columns, first + BLOCK)
        panel = _panel(b, first, last, room)
        state, exponents = line[: panel.shape[1]], line[BLOCK : BLOCK + panel.shape[1]].view(np.int32)
        for m in range(rows):
            state[:] = np.float32(0)
            exponents[:] = 0
            for k in range(depth):
                factor, across = a[m, k], panel[k]
                if step is not None:
                    for j in range(state.size):
                        s, e = _open_step(state[j], exponents[j], factor, across[j], up, down, reach, step)
                        exponents[j] = _lowered_by_steps(s, e, one, most, step)
                        state[j] = s
                elif k_shift == 1:
                    for j in range(state.size):
                        s, e = _open_step(state[j], exponents[j], factor, across[j], up, down, reach, step)
                        exponents[j] = _lowered_by_one(s, e, one, most)
                        state[j] = s
                else:
                    for j in range(state.size):
                        s, e = _open_step(state[j], exponents[j], factor, across[j], up, down, reach, step)
                        exponents[j] = _lowered(s, e, one, most)
                        state[j] = s
            _finish(state.view(np.int32), width, moved, bf16, step, words[m, first:last])
