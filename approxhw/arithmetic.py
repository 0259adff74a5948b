"""How one multiply-accumulate is carried out: frozen descriptions, each with its slow and obviously right reference."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Exact:
    """``acc + w · x`` over the integers, w a ``bits``-bit two's complement code. No rounding, no overflow, no specials.

    The accumulator is as wide as the exact range needs; the verifier refuses anything narrower.
    """

    bits: int

    def __str__(self) -> str:
        """Return the one spelling, such as ``exact<8>``."""
        return f"exact<{self.bits}>"

    def accumulate(self, accumulator: int, weight: int, x: int) -> int:
        """Return the accumulator after one step: plain Python integers, the reference of every faster form."""
        return accumulator + weight * x

    def holds(self, low: int, high: int) -> bool:
        """Whether weights from *low* to *high* are ``bits``-bit two's complement codes."""
        return -(1 << (self.bits - 1)) <= low and high < 1 << (self.bits - 1)


Arithmetic = Exact

_EXACT = re.compile(r"exact<(\d{1,4})>\Z")


def parse_arithmetic(text: str) -> Arithmetic:
    """Return the arithmetic that *text* spells; raise ``ValueError`` where it spells none."""
    if match := _EXACT.match(text):
        return Exact(int(match[1]))
    raise ValueError(f"no arithmetic: {text[:80]!r}")


def dense_reference(arithmetic: Arithmetic, weights: list[list[int]], bias: list[int], x: list[int]) -> list[int]:
    """Return one row of ``Dense`` step by step: weights (outputs × inputs), bias (outputs), x (inputs) → outputs."""
    sums = []
    for row, start in zip(weights, bias, strict=True):
        accumulator = start
        for weight, element in zip(row, x, strict=True):
            accumulator = arithmetic.accumulate(accumulator, weight, element)
        sums.append(accumulator)
    return sums
