"""Three classic approximate multipliers in plain Python: truncated, broken-array, logarithmic."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from approxhw.common.errors import OptionError, Problem

from .product_tables import ProductTable, operand_values, too_wide

Factor = int | np.ndarray
"""A factor or a product: a number, or an array of them."""


def truncated(w: Factor, x: Factor, weight_bits: int, x_bits: int, columns: int = 0, corrected: bool = False) -> Factor:
    """Return w · x without the lowest *columns* columns of partial-product bits; w two's complement, x unsigned.

    Every bit w_j · x_i of weight 2^(i + j) with i + j < *columns* is left out (the sign bit of w counts −2^j). With
    *corrected*, the mean of what is left out, rounded to a multiple of 2^columns, is added. Source: Schulte and Swartzlander,
    *Truncated Multiplication with Correction Constant*, VLSI Signal Processing VI, 1993.
    """
    start = correction(weight_bits, x_bits, columns) if corrected else 0
    return start + _kept(w, x, weight_bits, x_bits, lambda i, j: i + j >= columns)


def correction(weight_bits: int, x_bits: int, columns: int) -> int:
    """Return the constant of a truncated multiplier: a quarter of all dropped bits, to the nearest multiple of 2^columns."""
    kept = int(_kept(-1, (1 << x_bits) - 1, weight_bits, x_bits, lambda i, j: i + j >= columns))
    dropped = -kept - ((1 << x_bits) - 1)
    return (dropped + 2 * (1 << columns)) // (4 << columns) << columns


def broken_array(w: Factor, x: Factor, weight_bits: int, x_bits: int, vertical: int = 0, horizontal: int = 0) -> Factor:
    """Return w · x by an array of carry-save cells of which some are left out; w two's complement, x unsigned.

    Row i of the array adds w · x_i · 2^i. The cells right of the *vertical* break level (columns i + j < vertical) and those
    above the *horizontal* one (rows i < horizontal) are not there. Source: Mahdiani, Ahmadi, Fakhraie, Lucas,
    *Bio-Inspired Imprecise Computational Blocks*, IEEE TCAS I, 2010 (there for unsigned operands).
    """
    return _kept(w, x, weight_bits, x_bits, lambda i, j: i + j >= vertical and i >= horizontal)


def _kept(w: Factor, x: Factor, weight_bits: int, x_bits: int, keeps: Callable[[int, int], bool]) -> Factor:
    """Return the sum of the partial-product bits w_j · x_i that *keeps* (i, j) keeps; of integers, or arrays of them."""
    total: Factor = 0
    for i in range(x_bits):
        for j in range(weight_bits):
            if keeps(i, j):
                bit = (w >> j & 1) * (x >> i & 1) << (i + j)
                total += -bit if j == weight_bits - 1 else bit
    return total


def logarithmic(w: int, x: int) -> int:
    """Return w · x by adding binary logarithms, log2(1 + f) taken as f; the sign of w is put aside. No rounding.

    |w| = 2^a (1 + f), x = 2^b (1 + g): 2^(a+b) (1 + f + g) where f + g < 1, else 2^(a+b+1) (f + g); never too large, at
    most 1/9 too small. Source: Mitchell, *Computer Multiplication and Division Using Binary Logarithms*, IRE Trans., 1962.
    """
    if w == 0 or x == 0:
        return 0
    a, b = abs(w).bit_length() - 1, x.bit_length() - 1
    # f + g, in units of 2^-(a + b)
    fractions = ((abs(w) - (1 << a)) << b) + ((x - (1 << b)) << a)
    one = 1 << (a + b)
    magnitude = one + fractions if fractions < one else 2 * fractions
    return -magnitude if w < 0 else magnitude


_SPELLINGS = {
    "truncated": re.compile(r"truncated(?:-(\d{1,2}))?(-corrected)?\Z"),
    "broken-array": re.compile(r"broken-array(?:-(\d{1,2})-(\d{1,2}))?\Z"),
    "logarithmic": re.compile(r"logarithmic\Z"),
}
SPELLED = ("truncated-COLUMNS", "truncated-COLUMNS-corrected", "broken-array-VERTICAL-HORIZONTAL", "logarithmic")
"""How our own operators are spelled; ``truncated`` alone drops 4 columns, ``broken-array`` alone breaks at 4 and 1."""

EXACT = "exact"
"""The name that stands for the exact product where operators are chosen."""


@dataclass(frozen=True)
class Operator:
    """One of our own multipliers: its ``kind``, and the levels and flag of its spelling."""

    kind: str
    columns: int = 0
    horizontal: int = 0
    corrected: bool = False

    def product(self, w: Factor, x: Factor, weight_bits: int, x_bits: int) -> Factor:
        """Return the product by the plain reference: w two's complement of *weight_bits*, x unsigned."""
        if self.kind == "truncated":
            return truncated(w, x, weight_bits, x_bits, self.columns, self.corrected)
        if self.kind == "broken-array":
            return broken_array(w, x, weight_bits, x_bits, self.columns, self.horizontal)
        return logarithmic(int(w), int(x))

    def table(self, weight_bits: int, x_bits: int) -> ProductTable:
        """Return all its products for operands of these widths; raise :class:`OptionError` where they are too many."""
        name = f"{spell_operator(self)} of {weight_bits} by {x_bits} bits"
        if why := too_wide(weight_bits, x_bits):
            raise OptionError(
                "multiplier",
                [Problem(spell_operator(self), why, "cut weights, or hidden activations by requantize-hidden")],
            )
        weights, codes = operand_values(weight_bits, True), operand_values(x_bits, False)
        if self.kind == "logarithmic":
            products = np.array([[logarithmic(w, x) for x in codes.tolist()] for w in weights.tolist()])
        else:  # bits and sums only: the reference takes whole arrays, too
            products = np.asarray(self.product(weights[:, None], codes[None, :], weight_bits, x_bits))
        return ProductTable(name, np.broadcast_to(products, (len(weights), len(codes))), "weight")


def spell_operator(operator: Operator) -> str:
    """Return the text that :func:`own_operator` reads as *operator*."""
    if operator.kind == "truncated":
        return f"truncated-{operator.columns}{'-corrected' if operator.corrected else ''}"
    if operator.kind == "broken-array":
        return f"broken-array-{operator.columns}-{operator.horizontal}"
    return operator.kind


def own_operator(text: str) -> Operator | None:
    """Return the operator that *text* spells (``truncated-4``, ``broken-array-4-1``, ``logarithmic``), None for none."""
    if match := _SPELLINGS["truncated"].match(text):
        return Operator("truncated", int(match[1] or 4), corrected=bool(match[2]))
    if match := _SPELLINGS["broken-array"].match(text):
        return Operator("broken-array", int(match[1] or 4), int(match[2] or 1))
    return Operator("logarithmic") if _SPELLINGS["logarithmic"].match(text) else None


def bits_of(weights: np.ndarray) -> int:
    """Return the bits of two's complement that hold all *weights*, at least 2."""
    low, high = int(weights.min()), int(weights.max())
    return max(2, 1 + max((-low - 1).bit_length() if low < 0 else 0, high.bit_length() if high > 0 else 0))
