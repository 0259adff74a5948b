"""How one multiply-accumulate is carried out: frozen descriptions, each with its slow and obviously right reference."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Exact:
    """``acc + w · x`` over the integers, w a ``bits``-bit two's complement code. No rounding, no overflow, no specials.

    The accumulator is as wide as the exact range needs; the verifier refuses anything narrower.
    """

    operand: ClassVar[str | None] = None
    """What a ``Dense`` reads besides x, weights and biases: nothing."""

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


@dataclass(frozen=True)
class MaskedPowerOfTwo:
    """``acc ± ((x & mask) << k)``: the weight is 0 or ±2^k with k ≤ ``exponent``, the mask drops bits of the summand.

    x is an unsigned code; every weight has a mask of its own, as wide as x; mask 0 and weight 0 both drop the summand.
    No rounding, no overflow. Source: Afentaki et al., *Embedding Hardware Approximations in Discrete Genetic-based
    Training for Printed MLPs*, DATE 2024 (masks); Afentaki et al., ICCAD 2023 (powers of two).
    """

    operand: ClassVar[str | None] = "mask"
    """A ``Dense`` reads the masks besides: outputs × inputs, unsigned codes."""

    exponent: int

    def __str__(self) -> str:
        """Return the one spelling, such as ``masked-power-of-two<7>``."""
        return f"masked-power-of-two<{self.exponent}>"

    def accumulate(self, accumulator: int, weight: int, x: int, mask: int) -> int:
        """Return the accumulator after one step: plain Python integers, the reference of every faster form."""
        if weight == 0:
            return accumulator
        summand = (x & mask) << (abs(weight).bit_length() - 1)
        return accumulator - summand if weight < 0 else accumulator + summand

    def holds_weight(self, weight: int) -> bool:
        """Whether *weight* is 0 or ±2^k with k ≤ ``exponent``."""
        return weight == 0 or (abs(weight).bit_count() == 1 and abs(weight) <= 1 << self.exponent)


@dataclass(frozen=True)
class ApproximateMultiplier:
    """``acc + T[w, x]``: the product of an operator, given by its table; the sum is exact.

    T has 2^``weight_bits`` rows and 2^``x_bits`` columns; the code w picks row w mod 2^``weight_bits`` (two's
    complement), the code x column x mod 2^``x_bits``.
    """

    operand: ClassVar[str | None] = "table"
    """A ``Dense`` reads the table besides: signed integers."""

    weight_bits: int
    x_bits: int

    def __str__(self) -> str:
        """Return the one spelling, such as ``approximate-multiplier<8,4>``."""
        return f"approximate-multiplier<{self.weight_bits},{self.x_bits}>"

    def accumulate(self, accumulator: int, weight: int, x: int, table: Sequence[Sequence[int]]) -> int:
        """Return the accumulator after one step: plain Python integers, the reference of every faster form."""
        return accumulator + table[weight % (1 << self.weight_bits)][x % (1 << self.x_bits)]

    def holds(self, low: int, high: int) -> bool:
        """Whether weights from *low* to *high* are ``weight_bits``-bit two's complement codes."""
        return -(1 << (self.weight_bits - 1)) <= low and high < 1 << (self.weight_bits - 1)


Arithmetic = Exact | MaskedPowerOfTwo | ApproximateMultiplier

_SPELLINGS = {
    re.compile(r"exact<(\d{1,4})>\Z"): Exact,
    re.compile(r"masked-power-of-two<(\d{1,3})>\Z"): MaskedPowerOfTwo,
    re.compile(r"approximate-multiplier<(\d{1,2}),(\d{1,2})>\Z"): ApproximateMultiplier,
}


def parse_arithmetic(text: str) -> Arithmetic:
    """Return the arithmetic that *text* spells; raise ``ValueError`` where it spells none."""
    for pattern, kind in _SPELLINGS.items():
        if match := pattern.match(text):
            made: Arithmetic = kind(*map(int, match.groups()))
            return made
    raise ValueError(f"no arithmetic: {text[:80]!r}")


def dense_reference(
    arithmetic: Arithmetic,
    weights: list[list[int]],
    bias: list[int],
    x: list[int],
    operand: list[list[int]] | None = None,
) -> list[int]:
    """Return one row of ``Dense`` step by step: weights (outputs × inputs), bias (outputs), x (inputs) → outputs.

    ``operand``: masks (outputs × inputs) or the table, where *arithmetic* reads one.
    """
    sums = []
    for o, (row, start) in enumerate(zip(weights, bias, strict=True)):
        accumulator = start
        for i, (weight, element) in enumerate(zip(row, x, strict=True)):
            if isinstance(arithmetic, Exact):
                accumulator = arithmetic.accumulate(accumulator, weight, element)
            elif isinstance(arithmetic, MaskedPowerOfTwo):
                assert operand is not None
                accumulator = arithmetic.accumulate(accumulator, weight, element, operand[o][i])
            else:
                assert operand is not None
                accumulator = arithmetic.accumulate(accumulator, weight, element, operand)
        sums.append(accumulator)
    return sums
