"""Render the page of multipliers: what is known of each, what an error saves, where errors are. Every text in it is untrusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from approxhw.report.figures import area_scale, delay_scale, power_scale
from approxhw.report.page import environment

from .error_map import draw_error_map
from .tradeoff import TradedPoint, draw_tradeoff

MAPS = 40
"""Maps of errors on a page at most: those that none beats come first."""


@dataclass(frozen=True, eq=False)
class MultiplierRow:
    """A multiplier as the page shows it; shares are of 1, area in mm², power in mW, delay in ms, None where not known.

    ``errors``: T[w, x] − w · x by bit patterns, ``weights`` and ``codes`` what those stand for. ``fronts``: the costs, ``power``
    and ``area``, in which none beats it. ``published``: what its library says, as text. ``in_use``: figures over given operands.
    """

    name: str
    kind: str
    operands: str
    signed: str
    figures: tuple[tuple[str, str], ...]
    errors: np.ndarray
    weights: np.ndarray
    codes: np.ndarray
    mean_share: float
    area_mm2: float | None = None
    power_mw: float | None = None
    delay_ms: float | None = None
    fronts: tuple[str, ...] = ()
    in_use: tuple[tuple[str, str], ...] = ()
    published: str = ""
    notes: tuple[str, ...] = ()


def render_multipliers(
    rows: Sequence[MultiplierRow], broken: Sequence[tuple[str, str]], notes: Sequence[str], ruler: str, command: str
) -> str:
    """Return the page of *rows*; ``broken``: what could not be read, and why; ``ruler``: library, rate, and what power is of."""
    from markupsafe import Markup

    by_front = sorted(rows, key=lambda row: (not row.fronts, row.mean_share))
    # drawings are the work of templates, in which every name is escaped already
    maps = [Markup(draw_error_map(row.errors, row.weights, row.codes, row.name)) for row in by_front[:MAPS]]
    plots = [Markup(text) for text in plots_of(rows).values()] if len(rows) > 1 else []
    page: str = (
        environment()
        .get_template("multipliers.html")
        .render(
            rows=sorted(rows, key=lambda row: (row.mean_share, row.name)),
            broken=broken,
            notes=notes,
            ruler=ruler,
            command=command,
            maps=maps,
            plots=plots,
            hidden=len(rows) - len(maps),
            scales=scales_of(rows),
        )
    )
    return page


def plots_of(rows: Sequence[MultiplierRow], title: str = "") -> dict[str, str]:
    """Return a picture of error against each cost that is known of any of *rows*, by ``power`` and ``area``."""
    scales = scales_of(rows)
    found = {}
    for name in ("power", "area"):
        factor, unit = scales[name]
        costs = [(row, row.power_mw if name == "power" else row.area_mm2) for row in rows]
        points = [
            TradedPoint(row.name, row.mean_share, cost * factor, name in row.fronts, row.kind)
            for row, cost in costs
            if cost is not None
        ]
        if points:
            found[name] = draw_tradeoff(points, name, unit, title)
    return found


def scales_of(rows: Sequence[MultiplierRow]) -> dict[str, tuple[float, str]]:
    """Return one scale for all areas, one for all powers, one for all delays: what people compare has one unit."""
    return {
        "area": area_scale(max((row.area_mm2 or 0 for row in rows), default=0)),
        "power": power_scale(max((row.power_mw or 0 for row in rows), default=0)),
        "delay": delay_scale(max((row.delay_ms or 0 for row in rows), default=0)),
    }
