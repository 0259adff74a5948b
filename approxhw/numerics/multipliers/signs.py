"""What bit patterns of operands and products stand for, and which reading fits the products of a multiplier best."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from approxhw.common.errors import OptionError, Problem, shown

SIGNS = ("weight", "none", "both")
"""Which operands of a multiplier are two's complement: the weight alone, neither, or both."""

FOUND = "found"
"""In place of :data:`SIGNS`: what a file says of itself, else the reading that fits its products best."""

X_ALONE = "x"
"""The reading that is none of :data:`SIGNS`: the other operand is the signed one, so that the two have to change places."""

ALIKE = 1.1
"""Readings whose mean errors differ by less than this factor fit alike."""


def operand_values(bits: int, signed: bool) -> np.ndarray:
    """Return the number that each *bits*-bit pattern 0 … 2^bits − 1 stands for (int64)."""
    patterns = np.arange(1 << bits)
    return np.where(patterns >> (bits - 1), patterns - (1 << bits), patterns) if signed else patterns


def as_signed(products: np.ndarray, bits: int, signed: str) -> np.ndarray:
    """Return *products* of *bits* bits as numbers: two's complement where an operand is *signed*."""
    patterns = np.asarray(products, dtype=np.int64) & ((1 << bits) - 1)
    return patterns if signed == "none" else np.where(patterns >> (bits - 1), patterns - (1 << bits), patterns)


@dataclass(frozen=True)
class SignReading:
    """How well a multiplier fits one reading of its bit patterns: ``signed`` operands are two's complement.

    ``mean_error``: mean of |T[w, x] − w · x| over all pairs; ``constant``: the same for the one number that is nearest to all
    exact products. What is no nearer than that is no multiplier of such operands.
    """

    signed: str
    mean_error: float
    constant: float

    @property
    def fits(self) -> bool:
        """Whether the products are nearer to the exact ones than any one number is."""
        return self.mean_error < self.constant


def read_signs(products: np.ndarray, bits: int | None = None) -> tuple[SignReading, ...]:
    """Return how well *products* (2^weight_bits × 2^x_bits) fit each of :data:`SIGNS`, and :data:`X_ALONE`.

    ``bits``: width of products that are bit patterns, two's complement where an operand is; None where they are numbers.
    """
    widths = [len(products).bit_length() - 1, products.shape[1].bit_length() - 1]
    found = []
    for signed in (*SIGNS, X_ALONE):
        weights = operand_values(widths[0], signed in ("weight", "both"))
        codes = operand_values(widths[1], signed in ("both", X_ALONE))
        exact = weights[:, None] * codes[None, :]
        seen = products if bits is None else as_signed(products, bits, signed)
        nearest = float(np.abs(exact - int(np.median(exact))).mean())
        found.append(SignReading(signed, float(np.abs(seen - exact).mean()), nearest))
    return tuple(found)


def fitting_signs(name: str, readings: Sequence[SignReading], declared: Collection[str] = SIGNS) -> tuple[str, ...]:
    """Return the signs that fit best, and behind them those that fit alike; *declared*: those that its ports allow.

    Raises :class:`OptionError` where none fits, saying how far off each is, and where the two operands have to change places.
    """
    among = [each for each in readings if each.signed in declared]
    fitting = sorted((each for each in among if each.fits), key=lambda each: each.mean_error)
    swapped = next(each for each in readings if each.signed == X_ALONE)
    if swapped.fits and not any(each.mean_error <= ALIKE * swapped.mean_error for each in fitting):
        why = (
            f"its products are those of a signed x by an unsigned weight, with a mean error of {swapped.mean_error:.4g}: "
            "no arithmetic here reads them so"
        )
        raise OptionError(f"multiplier {shown(name)}", [Problem("signed", why, "say weight= for the other operand")])
    if not fitting:
        told = "; ".join(
            f"signed={each.signed}: {each.mean_error:.4g}, one number for all {each.constant:.4g}" for each in among
        )
        why = f"no reading fits its products; mean errors as {told}"
        remedy = "take another multiplier, or look whether its bits stand in another order"
        raise OptionError(f"multiplier {shown(name)}", [Problem("signed", why, remedy)])
    best = fitting[0]
    others = (each for each in among if each is not best and each.mean_error <= ALIKE * best.mean_error)
    return (best.signed, *(each.signed for each in sorted(others, key=lambda each: each.mean_error)))
