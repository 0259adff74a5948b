"""Multiply-add chains in 32-bit integers: every format, every W up to 24, every exponent, states in and out.

Operands come apart: sign (0 or −1), exponent, significand (``float_codes.split``). A state is three int32 likewise: sign,
exponent, significand of W bits. NaN and infinity are no matter of these loops: ``mark_specials`` follows them by themselves.
"""

from __future__ import annotations

import numba
import numpy as np

from approxhw.numerics.mac.float_mac import EMIN
from approxhw.numerics.simd.lanes import (
    bits_of,
    if_greater,
    if_zero,
    max32,
    min32,
    or32,
    shl32,
    to_float,
    widest_vectors,
)
from approxhw.numerics.simd.narrow import add32, and32, mul32, shr32, sub32, xor32

from .codes import INFINITE, NAN, NEGATIVE, ZERO

_LOWEST, _FAR, _ONE, _NONE = np.int32(EMIN), np.int32(31), np.int32(1), np.int32(0)
_BITS, _BIAS = np.int32(23), np.int32(127)

PLUS, MINUS, NOTHING = 1, 2, 4
"""What a chain has met: +∞, −∞, NaN; both infinities make a NaN too."""


@numba.njit(cache=True, nogil=True)
def _add(
    an: np.int32, ae: np.int32, asig: np.int32, bn: np.int32, be: np.int32, bsig: np.int32, top: np.int32, up: np.int32,
    reach: np.int32 | None, by: np.int32 | None, n: np.int32, e: np.int32, v: np.int32,
) -> tuple[np.int32, np.int32, np.int32]:  # fmt: skip
    """Return sign, E' and size (W + 1 bits) of state + a · b; *top*: place of a product's top bit, *up*: its way to bit W.

    *reach*: 2^M of a limited alignment, or None, which is compiled by itself and costs nothing; *by*: what exponents are
    multiples of, products as they stand, or None likewise.
    """
    product, pn, less, unit = mul32(asig, bsig), xor32(an, bn), add32(ae, be), _ONE
    if by is None:
        two = shr32(product, top)
        pe = add32(less, two)
        product = shl32(product, sub32(up, two))
    else:
        pe = and32(less, sub32(_NONE, by))
        down = sub32(sub32(by, _ONE), sub32(less, pe))
        product = shr32(shl32(product, sub32(up, _ONE)), down)
        less, unit = pe, by
    greater = max32(pe, e)
    p = shr32(product, min32(sub32(greater, pe), _FAR))
    s = shr32(v, min32(sub32(greater, e), _FAR))
    if reach is not None:
        s = if_greater(reach, sub32(less, e), s, _NONE)
        p = if_greater(reach, sub32(sub32(e, less), unit), p, _NONE)
    total = add32(sub32(xor32(p, pn), pn), sub32(xor32(s, n), n))
    below = shr32(total, _FAR)
    return or32(below, and32(pn, n)), greater, sub32(xor32(total, below), below)


@numba.njit(cache=True, nogil=True)
def _zeros_above(size: np.int32, width: np.int32) -> np.int32:
    """Return how many of *width* bits stand above the highest one, 0 after a carry; 31 at most."""
    place = sub32(shr32(bits_of(to_float(size)), _BITS), _BIAS)
    return min32(max32(sub32(sub32(width, _ONE), place), _NONE), _FAR)


@numba.njit(cache=True, nogil=True)
def _whole(size: np.int32, width: np.int32, by: np.int32 | None) -> np.int32:
    """Return the left shift of exact normalization: those zeros, the multiple of *by* below."""
    zeros = _zeros_above(size, width)
    return zeros if by is None else and32(zeros, sub32(_NONE, by))


@numba.njit(cache=True, nogil=True)
def _coarse(size: np.int32, open_top: np.int32, open_next: np.int32, k: np.int32, most: np.int32) -> np.int32:
    """Return the left shift of an-k-λ; *open_top*, *open_next*: the greatest sizes with nothing in the top k and k + λ bits."""
    return if_greater(size, open_top, _NONE, if_greater(size, open_next, k, most))


@numba.njit(cache=True, nogil=True)
def _open_sizes(width: int, k_shift: int, further: int) -> tuple[np.int32, np.int32]:
    """Return the greatest sizes with nothing in the top k and k + λ of *width* bits; nobody asks where normalization is exact."""
    k = max(k_shift, 0)
    return np.int32((1 << (width - k)) - 1), np.int32((1 << (width - k - further)) - 1)


@numba.njit(cache=True, nogil=True)
def _shifted(
    e: np.int32, size: np.int32, left: np.int32, width: np.int32, by: np.int32 | None
) -> tuple[np.int32, np.int32]:
    """Return exponent and significand after a carry's right shift, by one or *by*, or *left*."""
    carry = shr32(size, width)
    if by is not None:
        carry = mul32(carry, by)
    exponent = if_zero(size, _LOWEST, sub32(add32(e, carry), left))
    return exponent, shr32(shl32(size, left), carry)


@numba.njit(cache=True, nogil=True)
def advance(
    a: np.ndarray, b: np.ndarray, product_bits: int, width: int, k_shift: int, further: int, reach: np.int32 | None,
    by: np.int32 | None, signs: np.ndarray, exponents: np.ndarray, significands: np.ndarray,
) -> None:  # fmt: skip
    """Carry the states (int32, M × N, in place) through all of K; *k_shift* −1: exact normalization.

    *reach*: how far below the other an addend is dropped, *by*: what exponents are multiples of (int32), or None.
    *a*, *b*: signs, exponents and significands of the operands, int32, M × K and K × N.
    """
    widest_vectors()
    an, ae, av = a
    bn, be, bv = b
    w, top, up = np.int32(width), np.int32(product_bits - 1), np.int32(width - product_bits + 1)
    open_top, open_next = _open_sizes(width, k_shift, further)
    k, most = np.int32(k_shift), np.int32(k_shift + further)
    for m in range(an.shape[0]):
        n, e, v = signs[m], exponents[m], significands[m]
        for step in range(an.shape[1]):
            xn, xe, xv = an[m, step], ae[m, step], av[m, step]
            yn, ye, yv = bn[step], be[step], bv[step]
            if k_shift < 0:
                for j in range(n.size):
                    n[j], f, size = _add(xn, xe, xv, yn[j], ye[j], yv[j], top, up, reach, by, n[j], e[j], v[j])
                    e[j], v[j] = _shifted(f, size, _whole(size, w, by), w, by)
            else:
                for j in range(n.size):
                    n[j], f, size = _add(xn, xe, xv, yn[j], ye[j], yv[j], top, up, reach, by, n[j], e[j], v[j])
                    e[j], v[j] = _shifted(f, size, _coarse(size, open_top, open_next, k, most), w, by)


@numba.njit(cache=True, nogil=True)
def advance_each(
    a: np.ndarray, b: np.ndarray, product_bits: int, width: int, k_shift: int, further: int, reach: np.int32 | None,
    by: np.int32 | None, signs: np.ndarray, exponents: np.ndarray, significands: np.ndarray,
) -> None:  # fmt: skip
    """Carry every state (int32, one row, in place) through one step with operands of its own."""
    an, ae, av = a
    bn, be, bv = b
    w, top, up = np.int32(width), np.int32(product_bits - 1), np.int32(width - product_bits + 1)
    open_top, open_next = _open_sizes(width, k_shift, further)
    k, most = np.int32(k_shift), np.int32(k_shift + further)
    for j in range(signs.size):
        n, e, v = signs[j], exponents[j], significands[j]
        signs[j], f, size = _add(an[j], ae[j], av[j], bn[j], be[j], bv[j], top, up, reach, by, n, e, v)
        left = _whole(size, w, by) if k_shift < 0 else _coarse(size, open_top, open_next, k, most)
        exponents[j], significands[j] = _shifted(f, size, left, w, by)


@numba.njit(cache=True, nogil=True)
def count_shifts(
    a: np.ndarray, b: np.ndarray, product_bits: int, width: int, k_shift: int, further: int, reach: np.int32 | None,
    by: np.int32 | None, counts: np.ndarray,
) -> None:  # fmt: skip
    """Add to *counts* (int64, W + 2) what exact normalization would do to each sum: carry, left by 0 … W − 1, a zero sum."""
    an, ae, av = a
    bn, be, bv = b
    w, top, up = np.int32(width), np.int32(product_bits - 1), np.int32(width - product_bits + 1)
    open_top, open_next = _open_sizes(width, k_shift, further)
    k, most, zero = np.int32(k_shift), np.int32(k_shift + further), np.int32(width + 1)
    columns = bn.shape[1]
    scratch = np.empty((4, columns), np.int32)
    n, e, v, need = scratch[0], scratch[1], scratch[2], scratch[3]
    some = np.zeros((4, width + 2), np.int64)  # neighbours count in rows of their own, and need not wait for each other
    for m in range(an.shape[0]):
        n[:], e[:], v[:] = 0, EMIN, 0
        for step in range(an.shape[1]):
            xn, xe, xv = an[m, step], ae[m, step], av[m, step]
            yn, ye, yv = bn[step], be[step], bv[step]
            for j in range(columns):
                n[j], f, size = _add(xn, xe, xv, yn[j], ye[j], yv[j], top, up, reach, by, n[j], e[j], v[j])
                zeros = _zeros_above(size, w)
                left = _whole(size, w, by) if k_shift < 0 else _coarse(size, open_top, open_next, k, most)
                e[j], v[j] = _shifted(f, size, left, w, by)
                need[j] = if_zero(size, zero, sub32(add32(zeros, _ONE), shr32(size, w)))
            for j in range(columns):
                some[j & 3, need[j]] += 1
    for row in range(4):
        for place in range(width + 2):
            counts[place] += some[row, place]


@numba.njit(cache=True, nogil=True)
def _met(x: np.uint8, y: np.uint8) -> int:
    """Return what the product of two operands brings into a chain; *x*, *y*: bits of ``Rounded.specials``."""
    either = x | y
    if either & NAN or (either & INFINITE and either & ZERO):
        return NOTHING
    if either & INFINITE:
        return MINUS if (x ^ y) & NEGATIVE else PLUS
    return 0


@numba.njit(cache=True, nogil=True)
def mark_specials(a: np.ndarray, b: np.ndarray, seen: np.ndarray) -> None:
    """Set in *seen* (uint8, M × N) what each chain meets; *a* (M × K), *b* (K × N): bits of ``Rounded.specials``.

    Order is of no matter: a NaN and two infinities of unlike signs make a NaN wherever they stand, one infinity stays.
    """
    special = INFINITE | NAN
    rows, depth, columns = a.shape[0], a.shape[1], b.shape[1]
    busy = np.zeros(depth, np.bool_)
    for k in range(depth):
        for j in range(columns):
            if b[k, j] & special:
                busy[k] = True
    for m in range(rows):
        for k in range(depth):
            if a[m, k] & special or busy[k]:
                for j in range(columns):
                    seen[m, j] |= _met(a[m, k], b[k, j])


@numba.njit(cache=True, nogil=True)
def mark_each(a: np.ndarray, b: np.ndarray, seen: np.ndarray) -> None:
    """Set in *seen* what the product of each pair brings."""
    for j in range(seen.size):
        seen[j] |= _met(a[j], b[j])


@numba.njit(cache=True, nogil=True)
def settle_specials(seen: np.ndarray, words: np.ndarray) -> None:
    """Put infinities and NaNs into results (bits of float32, int32) where chains have met them."""
    for j in range(words.size):
        if seen[j] & NOTHING or seen[j] & (PLUS | MINUS) == (PLUS | MINUS):
            words[j] = 0x7FC00000
        elif seen[j]:
            words[j] = -0x800000 if seen[j] & MINUS else 0x7F800000


@numba.njit(cache=True, nogil=True)
def finish(
    signs: np.ndarray, exponents: np.ndarray, significands: np.ndarray, width: int, headroom: int, bf16: bool,
    words: np.ndarray,
) -> None:  # fmt: skip
    """Fill *words* (bits of float32, int32) with what the column's end makes of finite states."""
    for j in range(words.size):
        negative, size = signs[j] & np.int32(-0x80000000), significands[j]
        zeros = _zeros_above(size, np.int32(width))
        top = exponents[j] + headroom - zeros
        if size == 0 or top < -126:
            words[j] = negative
        elif top > 127:
            words[j] = negative | 0x7F800000
        else:
            fraction = (np.int64(size) << (zeros + 24 - width)) & 0x7FFFFF
            word = negative | (top + 127) << 23 | fraction
            words[j] = (word + 0x7FFF + ((word >> 16) & 1)) & -0x10000 if bf16 else word
