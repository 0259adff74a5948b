"""What a printed circuit costs as a system: with the converters of its inputs."""

from __future__ import annotations

from collections.abc import Mapping

from approxhw.artifacts.converters import PRINTED
from approxhw.artifacts.design import Design
from approxhw.artifacts.folder import Plain


def system_cost(design: Design, estimate: Mapping[str, Plain]) -> dict[str, object] | None:
    """Return what a printed circuit costs with the converters of its inputs, in mm² and mW; None in other technologies."""
    outside, power = design.converters, estimate["power_mw"]
    if not str(estimate["library"]).startswith(PRINTED):
        return None
    return {
        "converters": outside.count,
        "converter": outside.word,
        "converters_area_mm2": outside.area_mm2,
        "converters_power_mw": outside.power_mw,
        "area_mm2": estimate["area_mm2"] + outside.area_mm2,
        "power_mw": None if power is None else power + outside.power_mw,
    }
