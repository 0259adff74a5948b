"""Our own families of approximate multipliers: how each is spelled, and the table of its products."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from approxhw.common.errors import OptionError, Problem

from .references import Factor, broken_array, correction, leading_digits, logarithmic, nearest_powers, truncated
from .tables import ProductTable, operand_values, too_wide

__all__ = ["EXACT", "SPELLED", "Operator", "bits_of", "correction", "own_operator", "own_spellings", "spell_operator"]

_SPELLINGS = {
    "truncated": re.compile(r"truncated(?:-(\d{1,2}))?(-corrected)?\Z"),
    "broken-array": re.compile(r"broken-array(?:-(\d{1,2})-(\d{1,2}))?\Z"),
    "logarithmic": re.compile(r"logarithmic(-balanced)?\Z"),
    "leading": re.compile(r"leading(?:-([2-9]))?\Z"),
    "rounded": re.compile(r"rounded\Z"),
}
SPELLED = (
    "truncated-COLUMNS",
    "truncated-COLUMNS-corrected",
    "broken-array-VERTICAL-HORIZONTAL",
    "logarithmic",
    "logarithmic-balanced",
    "leading-DIGITS",
    "rounded",
)
"""How our own operators are spelled; ``truncated`` alone drops 4 columns, ``broken-array`` alone breaks at 4 and 1, and
``leading`` alone keeps 4 digits, at least 2."""

EXACT = "exact"
"""The name that stands for the exact product where operators are chosen."""


@dataclass(frozen=True)
class Operator:
    """One of our own multipliers: its ``kind``, and the levels and flag of its spelling.

    ``columns``: those that ``truncated`` and ``broken-array`` leave out, or the digits that ``leading`` keeps.
    """

    kind: str
    columns: int = 0
    horizontal: int = 0
    corrected: bool = False

    def product(self, w: Factor, x: Factor, weight_bits: int, x_bits: int, signed: str = "weight") -> Factor:
        """Return the product by the plain reference; ``signed``: which operands are two's complement."""
        if self.kind == "truncated":
            return truncated(w, x, weight_bits, x_bits, self.columns, self.corrected, signed)
        if self.kind == "broken-array":
            return broken_array(w, x, weight_bits, x_bits, self.columns, self.horizontal, signed)
        if self.kind == "leading":
            return leading_digits(w, x, self.columns)
        return nearest_powers(w, x) if self.kind == "rounded" else logarithmic(w, x, self.corrected)

    def table(self, weight_bits: int, x_bits: int, signed: str = "weight") -> ProductTable:
        """Return all its products for operands of these widths; raise :class:`OptionError` where they are too many."""
        name = f"{spell_operator(self)} of {weight_bits} by {x_bits} bits"
        if why := too_wide(weight_bits, x_bits):
            raise OptionError(
                "multiplier",
                [Problem(spell_operator(self), why, "cut weights, or hidden activations by requantize-hidden")],
            )
        weights = operand_values(weight_bits, signed != "none")[:, None]
        codes = operand_values(x_bits, signed == "both")[None, :]
        products = np.asarray(self.product(weights, codes, weight_bits, x_bits, signed))
        return ProductTable(name, np.broadcast_to(products, (weights.size, codes.size)), signed)


def spell_operator(operator: Operator) -> str:
    """Return the text that :func:`own_operator` reads as *operator*."""
    if operator.kind == "truncated":
        return f"truncated-{operator.columns}{'-corrected' if operator.corrected else ''}"
    if operator.kind == "broken-array":
        return f"broken-array-{operator.columns}-{operator.horizontal}"
    if operator.kind == "leading":
        return f"leading-{operator.columns}"
    return f"{operator.kind}{'-balanced' if operator.corrected else ''}"


def own_operator(text: str) -> Operator | None:
    """Return the operator that *text* spells (``truncated-4``, ``broken-array-4-1``, ``logarithmic``, …), None for none."""
    if match := _SPELLINGS["truncated"].match(text):
        return Operator("truncated", int(match[1] or 4), corrected=bool(match[2]))
    if match := _SPELLINGS["broken-array"].match(text):
        return Operator("broken-array", int(match[1] or 4), int(match[2] or 1))
    if match := _SPELLINGS["logarithmic"].match(text):
        return Operator("logarithmic", corrected=bool(match[1]))
    if match := _SPELLINGS["leading"].match(text):
        return Operator("leading", int(match[1] or 4))
    return Operator("rounded") if _SPELLINGS["rounded"].match(text) else None


def own_spellings(weight_bits: int, x_bits: int) -> tuple[str, ...]:
    """Return our own operators that make sense for operands of these widths: what a pattern such as ``truncated-*`` names.

    ``truncated`` and ``broken-array`` break in the lower half of the columns, ``broken-array`` above row 3 at most.
    """
    half = (weight_bits + x_bits) // 2
    return (
        *(f"truncated-{columns}" for columns in range(1, half + 1)),
        *(f"truncated-{columns}-corrected" for columns in range(2, half + 1)),
        *(f"broken-array-{v}-{h}" for v in range(0, half + 1, 2) for h in range(1, min(4, x_bits))),
        "logarithmic",
        "logarithmic-balanced",
        *(f"leading-{digits}" for digits in range(2, min(weight_bits, x_bits, 10))),
        "rounded",
    )


def bits_of(weights: np.ndarray) -> int:
    """Return the bits of two's complement that hold all *weights*, at least 2."""
    low, high = int(weights.min()), int(weights.max())
    return max(2, 1 + max((-low - 1).bit_length() if low < 0 else 0, high.bit_length() if high > 0 else 0))
