"""What the analogue-to-digital converters in front of a printed circuit cost: one an input that something reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

AREA_MM2, POWER_MW = 16.5, 1.25
"""A printed 4-bit flash converter: the middle of 0.15 to 0.18 cm² and of 1.2 to 1.3 mW, as published for EGFET."""

PRINTED = "egfet"
"""Libraries whose names begin so are of the technology of these converters."""

BITS = 4
"""Bits of the converter that these figures are of; a flash converter of b bits has 2^b − 1 comparators."""


COMPARATOR_AREA_MM2, COMPARATOR_POWER_MW = 0.08, 0.046
"""One comparator of it alone, without its share of the encoder: all that an input of one bit needs."""


@dataclass(frozen=True)
class Converters:
    """``count`` converters, or comparators, and what they cost together, in mm² and mW, outside the circuit."""

    count: int
    area_mm2: float
    power_mw: float
    word: str = "converter"

    def __str__(self) -> str:
        """Return them as a line."""
        plural = "" if self.count == 1 else "s"
        return f"{self.count} {self.word}{plural} ({self.area_mm2 / 100:.2f} cm², {self.power_mw:.3g} mW)"


def converters(inputs: int, bits: int = BITS) -> Converters:
    """Return what converting *inputs* inputs to *bits*-bit codes costs: flash converters, by their comparators."""
    share = ((1 << bits) - 1) / ((1 << BITS) - 1)
    return Converters(inputs, inputs * AREA_MM2 * share, inputs * POWER_MW * share)


def border_converters(counts: Sequence[int], thermometer: bool) -> Converters:
    """Return what inputs that count borders need, *counts* of them each: flash converters of so many comparators.

    *thermometer*: inputs of one bit a border, which are comparators and nothing else.
    """
    total = sum(counts)
    if thermometer:
        return Converters(total, total * COMPARATOR_AREA_MM2, total * COMPARATOR_POWER_MW, "comparator")
    share = total / ((1 << BITS) - 1)
    return Converters(len(counts), AREA_MM2 * share, POWER_MW * share)
