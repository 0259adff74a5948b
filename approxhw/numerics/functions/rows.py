"""Softmax and layer norm of a row of codes in integers alone: bit-exact, every width known from count and bits.

After I-BERT (Kim et al., ICML 2021), with two differences: the exponential is an activation unit, at most so many steps off,
where I-BERT has one parabola; and the mean is never divided, so that nothing is rounded before the root.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from approxhw.common.errors import OptionError, Problem

from .units import MOST_UNIT_BITS, ActivationUnit, unit_faults, unit_value, unit_values

MOST_ROW = 65536
"""Longest row: sums and squares of it stay within 62 bits."""


@dataclass(frozen=True)
class IntegerSoftmax:
    """e_i = exponential(max − x_i), y_i = min(⌊e_i · 2^out_bits / Σ e⌋, 2^out_bits − 1), for a row of ``count`` signed codes.

    ``exponential`` reads an unsigned distance of as many bits as x has, d, and makes an unsigned code of e^(−d · scale); its code
    of 0 is greater than 0, so that the sum is, too. The sum has out bits of it plus ⌈log2 count⌉. y is unsigned, in steps of
    2^−out_bits.
    """

    count: int
    bits: int
    exponential: ActivationUnit
    out_bits: int = 8

    def __post_init__(self) -> None:
        """Refuse what is no softmax."""
        unit = self.exponential
        found = _row_problems("softmax", self.count, self.bits)
        if not 1 <= self.out_bits <= MOST_UNIT_BITS:
            found.append(Problem("softmax.out_bits", f"{self.out_bits} is not in 1…{MOST_UNIT_BITS}"))
        found += [Problem("softmax.exponential", why) for why in unit_faults(unit)]
        if not found and (unit.bits != self.bits or unit.signed or unit.out_signed):
            why = f"it reads and makes unsigned codes, and reads {self.bits} bits, as x has"
            found.append(Problem("softmax.exponential", why))
        if not found and unit_value(unit, 0) < 1:
            found.append(Problem("softmax.exponential", "it is 0 at distance 0, and the sum may be 0", "fit it anew"))
        if found:
            raise OptionError("integer softmax", found)

    def row(self, codes: list[int]) -> list[int]:
        """Return y of one row, in plain integers: the meaning."""
        most = max(codes)
        shares = [unit_value(self.exponential, most - code) for code in codes]
        total = sum(shares)
        return [min((share << self.out_bits) // total, (1 << self.out_bits) - 1) for share in shares]

    def values(self, codes: np.ndarray) -> np.ndarray:
        """Return y of rows × count codes (int64)."""
        codes = np.asarray(codes, dtype=np.int64)
        shares = unit_values(self.exponential, codes.max(axis=-1, keepdims=True) - codes)
        total = shares.sum(axis=-1, keepdims=True)
        found: np.ndarray = np.minimum((shares << self.out_bits) // total, (1 << self.out_bits) - 1)
        return found


@dataclass(frozen=True)
class IntegerLayerNorm:
    """(x − mean) / deviation of a row of ``count`` signed codes, in steps of 2^−fraction, rounded towards 0.

    c_i = count · x_i − Σ x (count times the distance from the mean, exact), r = ⌊√(Σ c² + epsilon)⌋, at least 1, and
    y_i = sign(c_i) ⌊|c_i| · factor / r⌋ with factor = round(2^fraction √count): |c_i| is never more than r, so that |y_i| is
    never more than factor. Scale and bias of the layer are those of the product behind it.
    """

    count: int
    bits: int
    fraction: int = 5
    epsilon: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no layer norm."""
        found = _row_problems("layer norm", self.count, self.bits)
        if not 0 <= self.fraction <= MOST_UNIT_BITS:
            found.append(Problem("layer norm.fraction", f"{self.fraction} is not in 0…{MOST_UNIT_BITS}"))
        if not 0 <= self.epsilon < 1 << 32:
            found.append(Problem("layer norm.epsilon", f"{self.epsilon} is not in 0…2^32 − 1"))
        if not found and self.square_bits > 62:
            why = (
                f"squares of a row of {self.count} codes of {self.bits} bits take {self.square_bits} bits, more than 62"
            )
            found.append(Problem("layer norm", why, "take fewer bits, or a shorter row"))
        if found:
            raise OptionError("integer layer norm", found)

    @property
    def factor(self) -> int:
        """What 1 is in y, times √count."""
        return round(math.ldexp(math.sqrt(self.count), self.fraction))

    @property
    def out_bits(self) -> int:
        """Width of y, two's complement."""
        return self.factor.bit_length() + 1

    @property
    def square_bits(self) -> int:
        """Width of Σ c² + epsilon: |c| is at most (count − 1) · (2^bits − 1)."""
        distance = (self.count - 1) * ((1 << self.bits) - 1)
        return max(1, (self.count * distance * distance + self.epsilon).bit_length())

    def row(self, codes: list[int]) -> list[int]:
        """Return y of one row, in plain integers: the meaning."""
        total = sum(codes)
        distances = [self.count * code - total for code in codes]
        root = max(1, math.isqrt(sum(distance * distance for distance in distances) + self.epsilon))
        return [(-1 if distance < 0 else 1) * (abs(distance) * self.factor // root) for distance in distances]

    def values(self, codes: np.ndarray) -> np.ndarray:
        """Return y of rows × count codes (int64)."""
        codes = np.asarray(codes, dtype=np.int64)
        distances = self.count * codes - codes.sum(axis=-1, keepdims=True)
        squares = (distances * distances).sum(axis=-1, keepdims=True) + self.epsilon
        root = np.maximum(integer_roots(squares), 1)
        found: np.ndarray = np.sign(distances) * (np.abs(distances) * self.factor // root)
        return found


def integer_roots(squares: np.ndarray) -> np.ndarray:
    """Return ⌊√square⌋ of int64 *squares* below 2^62: the float's root, moved by one where it is off."""
    root = np.sqrt(squares.astype(np.float64)).astype(np.int64)
    root -= root * root > squares
    root += (root + 1) * (root + 1) <= squares
    return root


def _row_problems(name: str, count: int, bits: int) -> list[Problem]:
    found = []
    if not 2 <= count <= MOST_ROW:
        found.append(Problem(f"{name}.count", f"{count} is not in 2…{MOST_ROW}"))
    if not 1 <= bits <= MOST_UNIT_BITS:
        found.append(Problem(f"{name}.bits", f"{bits} is not in 1…{MOST_UNIT_BITS}"))
    return found
