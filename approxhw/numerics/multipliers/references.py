"""Approximate products in plain Python, by what each family leaves out: bits, digits behind the leading one, logarithms.

Every function takes numbers or arrays of them. ``signed`` says which operands are two's complement: ``weight`` (w alone),
``none`` or ``both``. Where a family works on magnitudes, the sign of a product is put aside and given back.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Factor = int | np.ndarray
"""A factor or a product: a number, or an array of them."""


def truncated(
    w: Factor,
    x: Factor,
    weight_bits: int,
    x_bits: int,
    columns: int = 0,
    corrected: bool = False,
    signed: str = "weight",
) -> Factor:
    """Return w · x without the lowest *columns* columns of partial-product bits.

    Every bit w_j · x_i of weight 2^(i + j) with i + j < *columns* is left out (the sign bit of a signed operand counts −2^j).
    With *corrected*, the mean of what is left out, rounded to a multiple of 2^columns, is added. Source: Schulte and
    Swartzlander, *Truncated Multiplication with Correction Constant*, VLSI Signal Processing VI, 1993.
    """
    start = correction(weight_bits, x_bits, columns, signed) if corrected else 0
    return start + _kept(w, x, weight_bits, x_bits, lambda i, j: i + j >= columns, signed)


def correction(weight_bits: int, x_bits: int, columns: int, signed: str = "weight") -> int:
    """Return the constant of a truncated multiplier: a quarter of all dropped bits, to the nearest multiple of 2^columns."""
    ones = -1 if signed in ("weight", "both") else (1 << weight_bits) - 1
    others = -1 if signed == "both" else (1 << x_bits) - 1
    dropped = int(_kept(ones, others, weight_bits, x_bits, lambda i, j: i + j < columns, signed))
    return (dropped + 2 * (1 << columns)) // (4 << columns) << columns


def broken_array(
    w: Factor,
    x: Factor,
    weight_bits: int,
    x_bits: int,
    vertical: int = 0,
    horizontal: int = 0,
    signed: str = "weight",
) -> Factor:
    """Return w · x by an array of carry-save cells of which some are left out.

    Row i of the array adds w · x_i · 2^i. The cells right of the *vertical* break level (columns i + j < vertical) and those
    above the *horizontal* one (rows i < horizontal) are not there. Source: Mahdiani, Ahmadi, Fakhraie, Lucas,
    *Bio-Inspired Imprecise Computational Blocks*, IEEE TCAS I, 2010 (there for unsigned operands).
    """
    return _kept(w, x, weight_bits, x_bits, lambda i, j: i + j >= vertical and i >= horizontal, signed)


def _kept(
    w: Factor, x: Factor, weight_bits: int, x_bits: int, keeps: Callable[[int, int], bool], signed: str
) -> Factor:
    """Return the sum of the partial-product bits w_j · x_i that *keeps* (i, j) keeps; of integers, or arrays of them."""
    total: Factor = 0
    for i in range(x_bits):
        for j in range(weight_bits):
            if keeps(i, j):
                bit = (w >> j & 1) * (x >> i & 1) << (i + j)
                of_w = signed != "none" and j == weight_bits - 1
                of_x = signed == "both" and i == x_bits - 1
                total += -bit if of_w != of_x else bit
    return total


def logarithmic(w: Factor, x: Factor, balanced: bool = False) -> Factor:
    """Return w · x by adding binary logarithms, log2(1 + f) taken as f. No rounding.

    |w| = 2^a (1 + f), |x| = 2^b (1 + g): 2^(a+b) (1 + f + g) where f + g < 1, else 2^(a+b+1) (f + g); never too large, at
    most 1/9 too small. With *balanced*, floor(5/64 · 2^(a+b)) is added, near the mean of what lacks. Sources: Mitchell,
    *Computer Multiplication and Division Using Binary Logarithms*, IRE Trans., 1962; Saadat, Bokhari, Parameswaran,
    *Minimally Biased Multipliers for Approximate Integer and Floating-Point Multiplication*, IEEE TCAD, 2018 (its constant
    is 1/12).
    """
    u, v = _magnitude(w), _magnitude(x)
    a, b = _place(u), _place(v)
    one = 1 << (a + b)
    # f + g, in units of 2^-(a + b)
    fractions = ((u - (1 << a)) << b) + ((v - (1 << b)) << a)
    magnitude = np.where(fractions < one, one + fractions, 2 * fractions)
    if balanced:
        magnitude = magnitude + (5 * one >> 6)
    return _with_sign(magnitude, w, x)


def leading_digits(w: Factor, x: Factor, digits: int) -> Factor:
    """Return w · x of the *digits* bits of each magnitude from its leading 1 on, the last of them taken as 1.

    Bits behind are 0; a magnitude of at most *digits* bits stays as it is. Source: Hashemi, Bahar, Reda, *DRUM: A Dynamic
    Range Unbiased Multiplier for Approximate Applications*, ICCAD 2015.
    """
    parts = []
    for operand in (w, x):
        u = _magnitude(operand)
        behind = np.maximum(_place(u) + 1 - digits, 0)
        kept = u >> behind
        parts.append(np.where(behind > 0, kept | 1, kept) << behind)
    return _with_sign(parts[0] * parts[1], w, x)


def nearest_powers(w: Factor, x: Factor) -> Factor:
    """Return r·|x| + |w|·s − r·s with the sign of w · x, r and s the powers of two that are nearest to |w| and |x|.

    That is |w|·|x| − (|w| − r)(|x| − s): shifts and additions alone. 3 · 2^n is rounded up to 2^(n+2). Source:
    Zendegani et al., *RoBA Multiplier*, IEEE TVLSI, 2017 (there 3 becomes 2).
    """
    u, v = _magnitude(w), _magnitude(x)
    r, s = (np.where(each > 0, 1 << (_place(each) + (2 * each >= 3 << _place(each))), 0) for each in (u, v))
    return _with_sign(r * v + u * s - r * s, w, x)


def _magnitude(operand: Factor) -> np.ndarray:
    magnitude: np.ndarray = np.abs(np.asarray(operand, dtype=np.int64))
    return magnitude


def _place(magnitude: np.ndarray) -> np.ndarray:
    """Return the place of the leading 1: 0 of 1, 7 of 128; 0 of 0."""
    place: np.ndarray = sum((magnitude >> i > 0 for i in range(1, 40)), start=np.zeros(magnitude.shape, dtype=np.int64))
    return place


def _with_sign(magnitude: np.ndarray, w: Factor, x: Factor) -> Factor:
    """Return *magnitude* with the sign of w · x, 0 where one of them is; of numbers a number."""
    signed: np.ndarray = magnitude * np.sign(np.asarray(w, dtype=np.int64)) * np.sign(np.asarray(x, dtype=np.int64))
    return int(signed) if signed.ndim == 0 else signed
