"""A quantiser as it stands in a model, and its place in a float Graph until ``lowering.py`` makes integers of it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from approxhw.numerics.exact.rounding import rounded_fraction


@dataclass(frozen=True)
class Quantiser:
    """code = clip(round(x / scale + zero), low, high), which stands for scale · (code − zero).

    ``mode``: how it rounds (``numerics.exact.rounding.MODES``). ``late``: the zero point is added behind the rounding, as
    QuantizeLinear does; else in front of it, as QONNX does. ``bipolar``: code 1 where x ≥ 0, else 0; they stand for
    ± ``scale``.
    """

    scale: Fraction
    zero: int
    low: int
    high: int
    mode: str = "half-even"
    late: bool = False
    bipolar: bool = False

    @property
    def before(self) -> int:
        """What is added to x / scale in front of the rounding."""
        return 0 if self.late or self.bipolar else self.zero

    @property
    def base(self) -> int:
        """What is added behind the rounding."""
        return 1 if self.bipolar else self.zero if self.late else 0

    @property
    def step(self) -> Fraction:
        """What one code more is worth."""
        return 2 * self.scale if self.bipolar else self.scale

    @property
    def start(self) -> Fraction:
        """What code 0 stands for."""
        return -self.scale if self.bipolar else -self.scale * self.zero

    def code(self, value: Fraction) -> int:
        """Return the code of *value*."""
        whole = self.base + rounded_fraction(self.mode, value / self.scale + self.before)
        return min(max(whole, self.low), self.high)


def bipolar(scale: Fraction) -> Quantiser:
    """Return the quantiser to ± *scale*, by the sign."""
    return Quantiser(scale, 0, 0, 1, "floor", bipolar=True)


@dataclass(frozen=True)
class FakeQuantize:
    """Stands in a float Graph, between reading and lowering only: x → the real value of its code."""

    quantiser: Quantiser


@dataclass(frozen=True, eq=False)
class Codes:
    """The integers behind a quantised constant: value = scale · integers; ``scale`` broadcasts against them."""

    integers: np.ndarray
    scale: np.ndarray


class UnreadError(Exception):
    """What of a quantised model does not become integers: the value of the float Graph, why, and what to do."""

    def __init__(self, why: str, remedy: str = "", *, invalid: bool = False) -> None:
        self.why, self.remedy, self.invalid = why, remedy, invalid
        super().__init__(why)


NEEDS_QUANTISER = "quantise its input (QuantizeLinear and DequantizeLinear, or Quant, on every activation)"
