"""What the analogue-to-digital converters in front of a printed circuit cost: one an input that something reads."""

from __future__ import annotations

from dataclasses import dataclass

AREA_MM2, POWER_MW = 16.5, 1.25
"""A printed 4-bit flash converter: the middle of 0.15 to 0.18 cm² and of 1.2 to 1.3 mW, as published for EGFET."""

PRINTED = "egfet"
"""Libraries whose names begin so are of the technology of these converters."""

BITS = 4
"""Bits of the converter that these figures are of; a flash converter of b bits has 2^b − 1 comparators."""


@dataclass(frozen=True)
class Converters:
    """``count`` converters and what they cost together, in mm² and mW, outside the circuit."""

    count: int
    area_mm2: float
    power_mw: float

    def __str__(self) -> str:
        """Return them as a line."""
        plural = "" if self.count == 1 else "s"
        return f"{self.count} converter{plural} ({self.area_mm2 / 100:.2f} cm², {self.power_mw:.3g} mW)"


def converters(inputs: int, bits: int = BITS) -> Converters:
    """Return what converting *inputs* inputs to *bits*-bit codes costs: flash converters, by their comparators."""
    share = ((1 << bits) - 1) / ((1 << BITS) - 1)
    return Converters(inputs, inputs * AREA_MM2 * share, inputs * POWER_MW * share)
