"""A bit-exact matrix product through bf16 multiply-add chains as a plain Numba loop: int32 parts, columns innermost.

What a good user would write today from the definition (docs/float-mac.md), and no more: operands come apart once, every
state is a sign, an exponent and a significand, branches are choices that vectorise, shifts say that they are below 32 so
that 32-bit lanes will do. No intrinsics, no floats in the integers' place. Finite numbers only.
"""

from __future__ import annotations

import numba
import numpy as np

EMIN = -512
"""Exponent of every zero."""

PRODUCT_TOP = 15
"""Place of the top bit of a product of two bf16 significands, where it is 2 or more."""

FAR = np.int32(31)


def matmul(a: np.ndarray, b: np.ndarray, width: int, shifts: tuple[int, int] | None) -> np.ndarray:
    """Return a · b, float32: both rounded to bf16, sums of *width* bits, normalised exactly or by *shifts* (k, λ)."""
    parts = (*_split(a), *_split(b), np.int32(width))
    signs, exponents, significands = _exact_chains(*parts) if shifts is None else _approximate_chains(*parts, *shifts)
    values = np.ldexp(np.where(signs != 0, -significands, significands).astype(np.float64), exponents - (width - 1))
    values[np.abs(values) < 2.0**-126] *= 0.0  # keeps the sign
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _split(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return sign (0 or −1), exponent and significand of *x* rounded to bf16; subnormals are zeros."""
    word = np.ascontiguousarray(x, dtype=np.float32).view(np.int32)
    word = word + 0x7FFF + ((word >> 16) & 1)
    field = (word >> 23) & 0xFF
    zero = field == 0
    significand = np.where(zero, 0, ((word >> 16) & 0x7F) | 0x80)
    return word >> 31, np.where(zero, EMIN, field - 127).astype(np.int32), significand.astype(np.int32)


@numba.njit(cache=True)
def _sum(xn, xe, xv, yn, ye, yv, n, e, v, width):  # type: ignore[no-untyped-def]
    """Return sign, exponent E' and size of state + x · y, before it is normalised."""
    product = np.int32(xv * yv)
    two = np.int32(product >> PRODUCT_TOP)
    pe = np.int32(EMIN) if product == 0 else np.int32(xe + ye + two)
    pn = np.int32(xn ^ yn)
    greater = max(pe, e)
    p = np.int32(product << ((width - PRODUCT_TOP - two) & 31))
    p = np.int32(p >> (min(np.int32(greater - pe), FAR) & 31))
    s = np.int32(v >> (min(np.int32(greater - e), FAR) & 31))
    total = np.int32(np.int32((p ^ pn) - pn) + np.int32((s ^ n) - n))
    return np.int32(total >> 31), greater, np.int32(abs(total))


@numba.njit(cache=True)
def _halved(size, left, width, distance):  # type: ignore[no-untyped-def]
    """Return *size* and how far it has moved *left*, *distance* more where its top bits are that empty."""
    empty = size < np.int32(1 << (width - distance))
    return np.int32(size << distance) if empty else size, np.int32(left + distance) if empty else left


@numba.njit(cache=True)
def _exact_chains(an, ae, av, bn, be, bv, width):  # type: ignore[no-untyped-def]
    """Return the states (int32, M × N: signs, exponents, significands) after all of K, normalised exactly."""
    signs = np.zeros((an.shape[0], bn.shape[1]), np.int32)
    exponents, significands = np.full_like(signs, EMIN), np.zeros_like(signs)
    for m in range(an.shape[0]):
        n, e, v = signs[m], exponents[m], significands[m]
        for k in range(an.shape[1]):
            xn, xe, xv = an[m, k], ae[m, k], av[m, k]
            yn, ye, yv = bn[k], be[k], bv[k]
            for j in range(n.size):
                sign, greater, size = _sum(xn, xe, xv, yn[j], ye[j], yv[j], n[j], e[j], v[j], width)
                carry = np.int32(size >> (width & 31))
                moved, left = _halved(np.int32(size >> carry), np.int32(-carry), width, 16)
                moved, left = _halved(moved, left, width, 8)
                moved, left = _halved(moved, left, width, 4)
                moved, left = _halved(moved, left, width, 2)
                moved, left = _halved(moved, left, width, 1)
                n[j], v[j] = sign, moved
                e[j] = np.int32(EMIN) if size == 0 else np.int32(greater - left)
    return signs, exponents, significands


@numba.njit(cache=True)
def _approximate_chains(an, ae, av, bn, be, bv, width, k_shift, further):  # type: ignore[no-untyped-def]
    """Return the states likewise, normalised by 0, k or k + λ."""
    signs = np.zeros((an.shape[0], bn.shape[1]), np.int32)
    exponents, significands = np.full_like(signs, EMIN), np.zeros_like(signs)
    first, most = np.int32(k_shift), np.int32(k_shift + further)
    open_top, open_next = np.int32(1 << (width - first)), np.int32(1 << (width - most))
    for m in range(an.shape[0]):
        n, e, v = signs[m], exponents[m], significands[m]
        for k in range(an.shape[1]):
            xn, xe, xv = an[m, k], ae[m, k], av[m, k]
            yn, ye, yv = bn[k], be[k], bv[k]
            for j in range(n.size):
                sign, greater, size = _sum(xn, xe, xv, yn[j], ye[j], yv[j], n[j], e[j], v[j], width)
                carry = np.int32(size >> (width & 31))
                left = most if size < open_next else first
                left = np.int32(0) if size >= open_top else left
                n[j] = sign
                v[j] = np.int32(np.int32(size << (left & 31)) >> (carry & 31))
                e[j] = np.int32(EMIN) if size == 0 else np.int32(greater + carry - left)
    return signs, exponents, significands
