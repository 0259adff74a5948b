"""Encode and decode 8-bit codes at about the speed of memory, bit for bit as ``codes.py`` beside it defines them.

A float32's bits, read as a whole number, ascend with its magnitude. They are cut into bins so narrow that each holds one border
between codes at most and no border lies at a bin's edge: one look-up gives the two codes of a bin and the border between them.
Quotients are products with the float32 reciprocal of the maximum, less than :data:`DOUBT` steps of float32 off. A part in which
one comes that close to its border is done once more by division in float64, which decides exactly; that is about one part in
ten. Where the maximum is a power of two, float32 quotients are exact and nothing is in doubt. Nothing branches on a single value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from approxhw.numerics.simd.lanes import bits_of, from_bits, if_zero, max32, multiply, or32, widest_vectors
from approxhw.numerics.simd.narrow import Lowering, _binary, add32, and32, shr32, sub32

if TYPE_CHECKING:
    from llvmlite.ir import Instruction, IRBuilder, Value
    from numba.core.base import BaseContext
    from numba.core.types import Array, Type
    from numba.core.typing.context import Context
    from numba.core.typing.templates import Signature

    from .tables import CodeFormat, Tables

CHUNK = 4096
"""Values that are encoded at once, blocks or a part of a larger one: they and the scratch stay in the nearest caches."""

DOUBT = 4
"""Steps of float32 from a border within which a float32 quotient is not believed; it is off by 2 and the border by 1 at most."""

_OFFSET_BITS = 18
"""Bits of a border's place in its bin; with two codes of 7 bits they fill a word."""

_LEAST, _MOST = (np.float32(2.0**power) for power in (-100, 100))
"""Between them, reciprocals and quotients of any weight are normal float32; other maxima take the way through float64."""

_BYTES, _WORDS, _FLOATS, _DOUBLES = (
    types.Array(kind, 1, "C", readonly=True) for kind in (types.uint8, types.int32, types.float32, types.float64)
)  # what is only read: arrays that may be written serve as such, so that each kernel is compiled once

_MODES = {"exact": 0, "pow2": 1, "fixed": 2}
_SIZE, _INFINITE = np.int32(0x7FFFFFFF), np.int32(0x7F800000)
_NONE, _SEVEN, _CODE, _SIGN = np.int32(0), np.int32(7), np.int32(0x7F), np.int32(0x80)
_TO_SIGN, _TO_MASK, _TO_OFFSET = np.int32(24), np.int32(31), np.int32(14)

shift_right = _binary(np.int32, "lshr")


@intrinsic
def _lesser(context: Context, a: Type, b: Type) -> Lowering:
    """Return the lesser of two int32, read as unsigned."""

    def code(context: BaseContext, builder: IRBuilder, signature: Signature, arguments: Sequence[Value]) -> Value:
        return builder.select(builder.icmp_unsigned("<", *arguments), *arguments)

    return types.int32(types.int32, types.int32), code


@intrinsic
def _choice(context: Context, a: Type, b: Type, x: Type, y: Type) -> Lowering:
    """Return x where a < b, both float64, else y; nothing branches."""

    def code(context: BaseContext, builder: IRBuilder, signature: Signature, arguments: Sequence[Value]) -> Value:
        return builder.select(builder.fcmp_ordered("<", *arguments[:2]), *arguments[2:])

    return types.int32(types.float64, types.float64, types.int32, types.int32), code


@intrinsic
def _low_byte(context: Context, a: Type) -> Lowering:
    """Return the low byte of an int32."""

    def code(context: BaseContext, builder: IRBuilder, signature: Signature, arguments: Sequence[Value]) -> Value:
        return builder.trunc(arguments[0], context.get_value_type(types.uint8))

    return types.uint8(types.int32), code


def _apart(builder: IRBuilder, instruction: Instruction, kind: str) -> Instruction:
    """Promise that what is loaded so (*kind* noalias) is nothing that is stored so (alias.scope).

    Without it no loop with a look-up becomes vectors, for its table might change below it. So what is stored by :func:`_put`
    is never read by :func:`_look_up` in the same kernel.
    """
    module = builder.module
    domain = module.add_metadata([ir.MetaDataString(module, "approxhw.numerics.eight_bit.codes")])
    scope = module.add_metadata([ir.MetaDataString(module, "approxhw.numerics.eight_bit.codes.results"), domain])
    instruction.set_metadata(kind, module.add_metadata([scope]))
    return instruction


@intrinsic
def _load(context: Context, table: Array[Type], index: Type) -> Lowering:
    """Return ``table[index]`` of an array that no store of :func:`_put` changes; *index*: int32 or int64, ≥ 0, not checked."""

    def code(context: BaseContext, builder: IRBuilder, signature: Signature, arguments: Sequence[Value]) -> Value:
        array = context.make_array(table)(context, builder, arguments[0])
        place = arguments[1]
        if index == types.int32:
            place = builder.sext(place, context.get_value_type(types.int64))
        return _apart(builder, builder.load(builder.gep(array.data, [place])), "noalias")

    return table.dtype(table, index), code


@intrinsic
def _store(context: Context, array: Array[Type], index: Type, value: Type) -> Lowering:
    """Store ``array[index] = value``; *index*: int64 ≥ 0, not checked."""

    def code(context: BaseContext, builder: IRBuilder, signature: Signature, arguments: Sequence[Value]) -> Value:
        target = context.make_array(array)(context, builder, arguments[0])
        _apart(builder, builder.store(arguments[2], builder.gep(target.data, [arguments[1]])), "alias.scope")
        return context.get_dummy_value()

    return types.none(array, types.int64, array.dtype), code


_less = cast("Callable[[np.int32, np.int32], np.int32]", _lesser)
_if_below = cast("Callable[[np.float64, np.float64, np.int32, np.int32], np.int32]", _choice)
_byte = cast("Callable[[np.int32], np.uint8]", _low_byte)
_look_up = cast("Callable[[np.ndarray, int | np.int32], Any]", _load)  # Any: an element, of the type that the array has
_put = cast("Callable[[np.ndarray, int, np.generic], None]", _store)


def encode(flat: np.ndarray, fmt: CodeFormat) -> tuple[np.ndarray, np.ndarray]:
    """Return codes (uint8) and maxima (float32, one a block) of *flat* (float32, one axis, at least one value).

    A block that holds NaN or ±∞ has a maximum that is not finite, be maxima fixed or not, and codes without meaning; so has one
    above whose values float32 has no power of two, where one is asked for. Whoever calls looks at the maxima.
    """
    tables, width = fmt.tables, fmt.block or flat.size
    codes = np.empty(flat.size, dtype=np.uint8)
    maxima = np.empty(1 if fmt.maximum == "fixed" else -(-flat.size // width), dtype=np.int32)
    words = np.require(flat, requirements="A").view(np.int32)
    _encode(words, width, _MODES[fmt.maximum], *_bins(tables), codes, maxima)
    return codes, maxima.view(np.float32)


def decode(codes: np.ndarray, maxima: np.ndarray, fmt: CodeFormat) -> np.ndarray:
    """Return the float32 values of *codes* (uint8, one axis) with *maxima* (float32, one a block)."""
    values = np.empty(codes.size, dtype=np.float32)
    maxima = np.require(maxima, requirements=("C", "A"))
    _decode(codes, maxima, fmt.block or codes.size, fmt.tables.values, values)
    return values


@cache
def _bins(tables: Tables) -> tuple[np.ndarray, np.ndarray, np.int32, np.int32, np.int32]:
    """Cut the float32 numbers around the borders in bins: the widest ones, and a start that keeps borders off their edges.

    Returned are a word a bin (the border's place in it, the codes below and above), the border in float64 (of a bin without
    one: ∞), the bits at which the first bin begins, the last bits of the last one, and the binary logarithm of a bin's size.
    """
    codes = tables.codes.tolist()
    reached = np.array([_first_bits(border, upper) for border, upper in tables.exact], dtype=np.int64)
    room = 4 * DOUBT
    for size in range(_OFFSET_BITS, 8, -1):
        for before in range(room, 1 << size, 1 << (size - 8)):
            start = int(reached[0]) - before
            at, place = (reached - start) >> size, (reached - start) & ((1 << size) - 1)
            if (np.diff(at) > 0).all() and place.min() >= room and place.max() < (1 << size) - room:
                table, borders = np.empty(int(at[-1]) + 1, dtype=np.int64), np.full(int(at[-1]) + 1, np.inf)
                borders[at] = tables.borders
                for k in range(table.size):
                    rank = int(np.searchsorted(at, k))  # borders below this bin
                    if at[rank] == k:
                        table[k] = int(place[rank]) << 14 | codes[rank] << 7 | codes[rank + 1]
                    else:
                        table[k] = codes[rank] << 7 | codes[rank]
                words = table.astype(np.uint32).view(np.int32)
                words.flags.writeable = borders.flags.writeable = False
                return words, borders, np.int32(start), np.int32(start + (table.size << size) - 1), np.int32(size)
    raise AssertionError("borders lie so close that no bins part them")


def _first_bits(border: Fraction, upper: bool) -> int:
    """Return the bits of the least float32 that is at least *border*, or, where a tie goes to the lower code, above it."""
    bits = int(np.float32(float(border)).view(np.int32)) - 1
    while (value := Fraction(float(np.int32(bits).view(np.float32)))) < border or (value == border and not upper):
        bits += 1
    return bits


@numba.njit(cache=True, nogil=True)
def _largest(words: np.ndarray) -> np.int32:
    """Return the bits (int32) of the largest magnitude among float32 numbers; NaN is above ∞."""
    widest_vectors()
    top = _NONE
    for i in range(words.size):
        top = max32(top, and32(words[i], _SIZE))
    return top


@numba.njit(cache=True, nogil=True)
def _placed(bits: np.int32, start: np.int32, last: np.int32) -> np.int32:
    """Return how far a quotient's *bits* are from where the first bin begins; what is outside of all bins is moved in."""
    return sub32(_less(max32(bits, start), last), start)


@numba.njit(cache=True, nogil=True)
def _signed(code: np.int32, word: np.int32) -> np.uint8:
    """Return *code* with the sign of the float32 whose bits are *word*; magnitude 0 has code 0 alone."""
    return _byte(if_zero(code, _NONE, or32(code, and32(shift_right(word, _TO_SIGN), _SIGN))))


@numba.njit(cache=True, nogil=True)
def _place(words: np.ndarray, reciprocal: np.float32, start: np.int32, last: np.int32, places: np.ndarray) -> None:
    """Fill *places* with where the float32 products of a block and the *reciprocal* of its maximum lie among the bins."""
    widest_vectors()
    for i in range(words.size):
        places[i] = _placed(and32(bits_of(multiply(from_bits(words[i]), reciprocal)), _SIZE), start, last)


@numba.njit(cache=True, nogil=True)
def _settle(
    words: np.ndarray, table: np.ndarray, size: np.int32, doubt: np.int32, places: np.ndarray, entries: np.ndarray,
    codes: np.ndarray,
) -> np.int32:  # fmt: skip
    """Fill *codes*; return the least distance of *places* from a border: 0…2·doubt − 1 is too near to be sure.

    *entries*: scratch. Two loops: on a machine without good look-ups of vectors only the first is scalar.
    """
    widest_vectors()
    nearest, mask = np.int32(-1), np.int32((1 << size) - 1)
    for i in range(words.size):
        _put(entries, i, _look_up(table, shift_right(_look_up(places, i), size)))
    for i in range(words.size):
        entry = entries[i]
        distance = sub32(and32(places[i], mask), shift_right(entry, _TO_OFFSET))
        nearest = _less(nearest, add32(distance, doubt))
        codes[i] = _signed(and32(shift_right(entry, and32(shr32(distance, _TO_MASK), _SEVEN)), _CODE), words[i])
    return nearest


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _exactly(
    words: np.ndarray, maximum: np.float32, table: np.ndarray, borders: np.ndarray, start: np.int32, last: np.int32,
    size: np.int32, codes: np.ndarray,
) -> None:  # fmt: skip
    """Fill *codes* by division in float64, which decides exactly; *borders*: float64, one a bin."""
    widest_vectors()
    divisor = np.float64(maximum)
    for i in range(words.size):
        word = _look_up(words, i)
        quotient = np.float64(from_bits(and32(word, _SIZE))) / divisor
        k = shift_right(_placed(bits_of(np.float32(quotient)), start, last), size)
        shift = _if_below(quotient, _look_up(borders, k), _SEVEN, _NONE)
        _put(codes, i, _signed(and32(shift_right(_look_up(table, k), shift), _CODE), word))


@numba.njit(cache=True, nogil=True)
def _power_above(top: np.int32) -> np.int32:
    """Return the bits of the least power of two ≥ 2^−96 not below the number whose bits are *top*; 0 of 0."""
    if top == 0:
        return np.int32(0)
    field = (top >> 23) + (1 if top & 0x7FFFFF else 0)
    return np.int32(max(field, 127 - 96) << 23)


@numba.njit(
    types.void(
        _WORDS, types.int64, types.int64, _WORDS, _DOUBLES, types.int32, types.int32, types.int32,
        types.uint8[::1], types.int32[::1],
    ),
    cache=True, nogil=True, error_model="numpy",
)  # fmt: skip
def _encode(
    words: np.ndarray, width: int, mode: int, table: np.ndarray, borders: np.ndarray, start: np.int32, last: np.int32,
    size: np.int32, codes: np.ndarray, maxima: np.ndarray,
) -> None:  # fmt: skip
    """Fill *codes* and *maxima* (bits); *mode*: 0 exact maxima, 1 powers of two, 2 all are 1.

    What fits the nearest cache is done at once: many small blocks, or a part of a large one.
    """
    widest_vectors()
    count = words.size
    step = CHUNK // width * width if width <= CHUNK else CHUNK
    within = min(step, width)
    places, entries = np.empty(min(step, count), np.int32), np.empty(min(step, count), np.int32)
    top, seen, doubt = bits_of(np.float32(1.0)), _NONE, np.int32(0 if mode else DOUBT)
    for first in range(0, count, step):
        end, sure = min(first + step, count), True
        for begin in range(first, end, within):
            part = words[begin : min(begin + within, end)]
            if mode != 2 and begin % width == 0:
                top = _largest(words[begin : min(begin + width, count)])
                if mode == 1 and top < _INFINITE:
                    top = _power_above(top)
                maxima[begin // width] = top
            if mode == 2 or width > step:  # a look at it brings it near: later loops are too long to fetch ahead
                seen = max32(seen, _largest(part))
            maximum = from_bits(top)
            fair = _LEAST <= maximum <= _MOST
            sure = sure and (fair or top == 0 or top >= _INFINITE)
            reciprocal = np.float32(1.0) / maximum if fair else np.float32(0.0)  # else it is divided below
            _place(part, reciprocal, start, last, places[begin - first : begin - first + part.size])
        nearest = _settle(words[first:end], table, size, doubt, places, entries, codes[first:end])
        if sure and not 0 <= nearest < 2 * doubt:
            continue
        for begin in range(first, end, within):
            top_here = maxima[begin // width]
            if 0 < top_here < _INFINITE:
                stop = min(begin + within, end)
                _exactly(words[begin:stop], from_bits(top_here), table, borders, start, last, size, codes[begin:stop])
    if mode == 2:
        maxima[0] = seen if seen >= _INFINITE else top


@numba.njit(cache=True, nogil=True)
def _scaled(codes: np.ndarray, table: np.ndarray, maximum: np.float32, values: np.ndarray) -> None:
    """Fill *values* with table[code] · maximum."""
    widest_vectors()
    for i in range(codes.size):
        _put(values, i, multiply(_look_up(table, np.int32(_look_up(codes, i))), maximum))


@numba.njit(types.void(_BYTES, _FLOATS, types.int64, _FLOATS, types.float32[::1]), cache=True, nogil=True)
def _decode(codes: np.ndarray, maxima: np.ndarray, width: int, table: np.ndarray, values: np.ndarray) -> None:
    """Fill *values* (float32), block by block."""
    widest_vectors()
    for block in range(maxima.size):
        first, end = block * width, min((block + 1) * width, codes.size)
        _scaled(codes[first:end], table, maxima[block], values[first:end])
