"""Tables of the four 8-bit codes: exact magnitudes, their float32 values, and the borders between nearest codes.

Source: Dettmers, "8-Bit Approximations for Parallelism in Deep Learning" (2015). ``docs/eight-bit.md`` is the definition.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Protocol

import numpy as np


def _dynamic(code: int) -> Fraction:
    """S, n zeros, flag 1, tree: the decade below 10^−n, split at 0.45·10^−n, each half in 2^(5−n) cells; 0 and 1 besides."""
    if code < 2:
        return Fraction(code)
    flag = code.bit_length() - 1
    tree, half, unit = code - (1 << flag), 1 << (flag - 1), Fraction(1, 10 ** (6 - flag))
    low, width = (Fraction(1, 10), Fraction(35, 100)) if tree < half else (Fraction(45, 100), Fraction(55, 100))
    return unit * (low + width * (Fraction(tree % half) + Fraction(1, 2)) / half)


_LEAVES = [Fraction(16 + 7 * i, 16) for i in range(8)] + [Fraction(45, 10) + Fraction(675, 1000) * i for i in range(8)]


def _static(code: int) -> Fraction:
    """S, EEE, TTTT: one of 16 leaves between 1 and 10 times 10^(EEE − 6); code 0 is 0."""
    return _LEAVES[code & 15] * Fraction(10) ** ((code >> 4) - 6) if code else Fraction(0)


def _mantissa(code: int) -> Fraction:
    """S, EEE, MMMM: M · 10^(EEE − 6)."""
    return (code & 15) * Fraction(10) ** ((code >> 4) - 6)


def _linear(code: int) -> Fraction:
    """S and a whole number i: i / 127."""
    return Fraction(code, 127)


_RULES: dict[str, Callable[[int], Fraction]] = {
    "dynamic8": _dynamic,
    "static8": _static,
    "mantissa8": _mantissa,
    "linear8": _linear,
}


KINDS = tuple(_RULES)
"""Names of the four codes."""


@cache
def magnitudes(kind: str, fixed: bool = False) -> tuple[Fraction, ...]:
    """Return the exact magnitude of each of the 128 codes without a sign.

    Of ``static8`` and ``mantissa8``, whose largest magnitudes are 92.25 and 150, those are taken as they are where *fixed*,
    and divided by the largest otherwise, so that a block's maximum is a code like any other.
    """
    values = [_RULES[kind](code) for code in range(128)]
    top = Fraction(1) if fixed else max(values)
    return tuple(value / top for value in values)


@dataclass(frozen=True, eq=False)
class Tables:
    """What encoding and decoding look at; ``codes[k]`` is the code of the k-th smallest magnitude."""

    values: np.ndarray
    """float32 of all 256 codes, the upper 128 negative; code 0x80 is −0.0."""
    codes: np.ndarray
    """uint8, by ascending magnitude; of equal magnitudes the smallest code."""
    borders: np.ndarray
    """float64, one fewer: a quotient that is at least ``borders[k]`` is nearer to magnitude k + 1, or wins the tie."""
    exact: tuple[tuple[Fraction, bool], ...]
    """The borders as fractions, and whether the greater magnitude wins at equality."""


@cache
def tables(kind: str, fixed: bool = False) -> Tables:
    """Return the tables of *kind*; *fixed*: magnitudes as they are, not scaled to a largest one of 1."""
    exact = magnitudes(kind, fixed)
    rounded = np.array([float32_of(value) for value in exact], dtype=np.float32)
    first: dict[Fraction, int] = {}
    for code, value in enumerate(exact):
        first.setdefault(value, code)
    order = sorted(first.items())
    pairs = list(itertools.pairwise(order))
    borders = tuple(((low + high) / 2, bool(a & 1) and not b & 1) for (low, a), (high, b) in pairs)
    # a quotient equal to the rounded border is the exact tie (docs/eight-bit.md): where the smaller wins, one step further
    reached = [float(border) if upper else np.nextafter(float(border), np.inf) for border, upper in borders]
    found = Tables(
        np.concatenate([rounded, -rounded]),
        np.array([code for _, code in order], dtype=np.uint8),
        np.array(reached),
        borders,
    )
    for array in (found.values, found.codes, found.borders):
        array.flags.writeable = False
    return found


def float32_of(value: Fraction) -> float:
    """Return *value* rounded once, to nearest even, to float32 (normal numbers only)."""
    if not value:
        return 0.0
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    if value < Fraction(2) ** exponent:
        exponent -= 1
    step = Fraction(2) ** (exponent - 23)
    return float(round(value / step) * step)  # round() of a Fraction goes to even


class CodeFormat(Protocol):
    """What the kernel reads off a format of 8-bit codes; :class:`~approxhw.numerics.eight_bit.codes.EightBit` is one."""

    @property
    def block(self) -> int | None:
        """Values that share a maximum; None: all of the tensor."""

    @property
    def maximum(self) -> str:
        """Which maximum a block has."""

    @property
    def tables(self) -> Tables:
        """The tables of its code."""
