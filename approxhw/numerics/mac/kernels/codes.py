"""Codes of the input formats of floating-point multiply-adds, as whole arrays: rounding to them, reading them, ranges."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numba
import numpy as np

from approxhw.numerics.mac.arithmetic import FLOAT_CODES
from approxhw.numerics.simd.lanes import if_greater, if_zero, max32, widest_vectors
from approxhw.numerics.simd.narrow import and32, shr32

_NONE, _TOP, _PLACE = np.int32(0), np.int32(255), np.int32(23)

ZERO_EXPONENT = -2048
"""What stands for the exponent of a zero operand: a product with it lies below every exponent of a state."""


@dataclass(frozen=True)
class Rounded:
    """An array rounded to a format: ``numbers`` float32, non-finite ones replaced by 0, and what is known of them.

    ``low``, ``high``: least and greatest exponent of the numbers that are not 0; low > high where there is none.
    ``specials``: uint8 of the same shape, the bits of :data:`SPECIAL` below; None where every number is finite.
    """

    numbers: np.ndarray
    low: int
    high: int
    specials: np.ndarray | None


INFINITE, NAN, ZERO, NEGATIVE = 1, 2, 4, 8
"""Bits that say what an operand is, in ``Rounded.specials``."""


def to_codes(x: np.ndarray, format: str) -> np.ndarray:
    """Return the codes nearest to *x* (any shape, read as float32), ties to even: uint16 or uint8.

    The rules, and the codes of what is too large or no number, are those of ``float_mac.nearest_code``.
    """
    layout, numbers = FLOAT_CODES[format], np.ascontiguousarray(x, dtype=np.float32)
    codes = np.empty(numbers.shape, dtype=np.uint16 if layout.bits > 8 else np.uint8)
    words = numbers.reshape(-1).view(np.uint32)
    _encode(words, layout.fraction_bits, layout.exponent_bits, layout.infinities, codes.reshape(-1))
    return codes


def from_codes(codes: np.ndarray, format: str) -> np.ndarray:
    """Return the numbers that *codes* (any shape, integers) stand for: float32; bf16's subnormals are zeros of their sign."""
    layout = FLOAT_CODES[format]
    table = _table(layout.fraction_bits, layout.exponent_bits, layout.infinities, layout.subnormals)
    return table[np.asarray(codes)]


def rounded(x: np.ndarray, format: str) -> Rounded:
    """Return *x* (any shape, read as float32) rounded to *format*."""
    if format == "bf16":
        numbers = np.array(x, dtype=np.float32, order="C")  # a copy, rounded in place
        _round_bf16(numbers.reshape(-1).view(np.uint32))
    else:
        numbers = from_codes(to_codes(x, format), format)
    return _examined(numbers)


def of_codes(codes: np.ndarray, format: str) -> Rounded:
    """Return the numbers of *codes*, examined likewise."""
    return _examined(from_codes(codes, format))


def _examined(numbers: np.ndarray) -> Rounded:
    words = numbers.reshape(-1).view(np.uint32)
    low, high, finite = _exponents(words.view(np.int32))
    if finite:
        return Rounded(numbers, int(low), int(high), None)
    specials = np.empty(numbers.shape, np.uint8)
    _classify(words, specials.reshape(-1))
    return Rounded(numbers, int(low), int(high), specials)


@cache
def _table(fraction_bits: int, exponent_bits: int, infinities: bool, subnormals: bool) -> np.ndarray:
    """Return the number of every code, float32."""
    codes = np.arange(1 << (1 + exponent_bits + fraction_bits))
    top, bias = (1 << exponent_bits) - 1, (1 << (exponent_bits - 1)) - 1
    field, fraction = codes >> fraction_bits & top, codes & ((1 << fraction_bits) - 1)
    lowest = fraction if subnormals else 0 * fraction
    significand = np.where(field == 0, lowest, fraction + (1 << fraction_bits)).astype(np.float64)
    sizes = np.ldexp(significand, np.maximum(field, 1) - bias - fraction_bits)
    if infinities:
        sizes[field == top] = np.where(fraction[field == top] == 0, np.inf, np.nan)
    else:
        sizes[(field == top) & (fraction == (1 << fraction_bits) - 1)] = np.nan
    table = np.where(codes >> (exponent_bits + fraction_bits), -sizes, sizes).astype(np.float32)
    table.flags.writeable = False
    return table


@numba.njit(cache=True, nogil=True)
def _encode(words: np.ndarray, fraction_bits: int, exponent_bits: int, infinities: bool, codes: np.ndarray) -> None:
    """Fill *codes* with the nearest ones to the float32 numbers whose bits are *words*."""
    bias = (1 << (exponent_bits - 1)) - 1
    top = ((1 << exponent_bits) - 1) << fraction_bits
    nan = top + (1 << (fraction_bits - 1)) if infinities else top + (1 << fraction_bits) - 1
    limit = top if infinities else nan
    for i in range(words.size):
        word = np.int64(words[i])
        size, negative = word & 0x7FFFFFFF, (word >> 31) << (exponent_bits + fraction_bits)
        if size > 0x7F800000:
            codes[i] = nan
            continue
        field = size >> 23
        significand = size & 0x7FFFFF
        if field:
            significand += 0x800000
        exponent = max(field, 1) - 127
        dropped = 23 - fraction_bits
        if exponent < 1 - bias:
            dropped += 1 - bias - exponent
            exponent = 1 - bias
        if dropped > 25:
            dropped = 25
        half, odd = np.int64(1) << (dropped - 1), (significand >> dropped) & 1
        code = ((significand + half - 1 + odd) >> dropped) + ((exponent + bias - 1) << fraction_bits)
        if size == 0x7F800000 or code >= limit:
            codes[i] = negative + top if infinities else nan
        else:
            codes[i] = negative + code


@numba.njit(cache=True, nogil=True)
def _round_bf16(words: np.ndarray) -> None:
    """Round the float32 numbers whose bits are *words* to bf16, ties to even, subnormals to zero, in place."""
    for i in range(words.size):
        word = words[i]
        size = word & np.uint32(0x7FFFFFFF)
        near = (word + np.uint32(0x7FFF) + ((word >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
        if size > np.uint32(0x7F800000):
            near = np.uint32(0x7FC00000)
        if near & np.uint32(0x7F800000) == np.uint32(0):
            near = near & np.uint32(0x80000000)
        words[i] = near


@numba.njit(cache=True, nogil=True)
def _exponents(words: np.ndarray) -> tuple[np.int64, np.int64, np.bool]:
    """Return the least and the greatest exponent of what is finite and not 0 (bits as int32), and whether all is finite."""
    widest_vectors()
    low, high, top = _TOP, _NONE, _NONE
    for i in range(words.size):
        field = and32(shr32(words[i], _PLACE), _TOP)
        finite = if_greater(_TOP, field, field, _NONE)
        top, high = max32(top, field), max32(high, finite)
        present = if_zero(field, _TOP, field)
        low = if_greater(low, present, present, low)
    return np.int64(low) - 127, np.int64(high) - 127, top < 255


@numba.njit(cache=True, nogil=True)
def _classify(words: np.ndarray, specials: np.ndarray) -> None:
    """Fill *specials*, and make zeros of the numbers in *words* that are not finite."""
    for i in range(words.size):
        word = words[i]
        size, kind = word & np.uint32(0x7FFFFFFF), 0
        if word >> np.uint32(31):
            kind |= NEGATIVE
        if size == np.uint32(0):
            kind |= ZERO
        elif size >= np.uint32(0x7F800000):
            kind |= INFINITE if size == np.uint32(0x7F800000) else NAN
            words[i] = 0
        specials[i] = kind


@numba.njit(cache=True, nogil=True)
def split(
    words: np.ndarray, fraction_bits: int, negatives: np.ndarray, exponents: np.ndarray, significands: np.ndarray
) -> None:
    """Take float32 numbers of a format (their bits as int32) apart: sign 0 or −1, exponent, significand; all int32."""
    for i in range(words.size):
        word = words[i]
        field = (word >> 23) & 0xFF
        negatives[i] = word >> 31
        exponents[i] = field - 127 if field else ZERO_EXPONENT
        significands[i] = ((word & 0x7FFFFF) >> (23 - fraction_bits)) | (1 << fraction_bits) if field else 0


@numba.njit(cache=True, nogil=True)
def move_exponents(words: np.ndarray, by: int) -> None:
    """Multiply float32 numbers, given as bits (int32), by 2^*by* in place; zeros stay. The caller knows that they fit."""
    for i in range(words.size):
        if words[i] & 0x7F800000:
            words[i] += by << 23
