"""Multipliers by mean error and cost: a point for each, a line through those that none beats. Geometry only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from approxhw.report.figures import significant
from approxhw.report.page import environment

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM, ZERO = 620.0, 300.0, 64.0, 56.0, 130.0, 46.0, 76.0
"""Distances in the picture's own units; ZERO: room of what has no error, at the left of a logarithmic scale."""
NAMED = 14
"""Points of the front that bear their names at most."""
NEAR = 13.0
"""Names that would stand nearer above one another than this are left out; every point tells its own when it is pointed at."""


@dataclass(frozen=True)
class TradedPoint:
    """A multiplier: its mean error as a share of the span, what it costs, whether none beats it, and its ``kind``."""

    name: str
    error: float
    cost: float
    front: bool
    kind: str


@dataclass(frozen=True)
class _Dot:
    x: float
    y: float
    kind: str
    front: bool
    words: str
    name: str


@dataclass(frozen=True)
class _Tick:
    at: float
    text: str


@dataclass(frozen=True)
class TradeOff:
    """The whole picture; ``unit`` of the cost, ``what`` it is."""

    width: float
    height: float
    title: str
    what: str
    left: float
    right: float
    top: float
    floor: float
    dots: tuple[_Dot, ...]
    line: str
    across: tuple[_Tick, ...]
    up: tuple[_Tick, ...]
    kinds: tuple[str, ...]


def draw_tradeoff(points: Sequence[TradedPoint], what: str, unit: str, title: str = "") -> str:
    """Return the picture of *points* as an SVG text; *what* (``power``) in *unit* upwards. Names and *title* are untrusted."""
    drawing = tradeoff(points, what, unit, title)
    text: str = environment().get_template("tradeoff.html").render(drawing=drawing)
    return text


def tradeoff(points: Sequence[TradedPoint], what: str, unit: str, title: str = "") -> TradeOff:
    """Return the geometry of that picture: errors on a logarithmic scale, exact ones at its left, costs from 0 up."""
    errors = [point.error for point in points if point.error > 0]
    low, high = (math.floor(math.log10(min(errors))), math.ceil(math.log10(max(errors)))) if errors else (-4, -1)
    high = max(high, low + 1)
    most = max((point.cost for point in points), default=0.0) or 1.0
    top_cost, step = _rounded_up(most)
    floor = TOP + HEIGHT

    def x_of(error: float) -> float:
        if error <= 0:
            return LEFT + ZERO / 4
        return LEFT + ZERO + (math.log10(error) - low) / (high - low) * (WIDTH - ZERO)

    def y_of(cost: float) -> float:
        return floor - cost / top_cost * HEIGHT

    front = sorted((point for point in points if point.front), key=lambda point: (point.error, -point.cost))
    named = _named([(point, x_of(point.error), y_of(point.cost)) for point in front])
    dots = [
        _Dot(
            x_of(point.error),
            y_of(point.cost),
            point.kind,
            point.front,
            f"{point.name}: MAE {100 * point.error:.3g} %, {significant(point.cost)} {unit}",
            point.name if point in named else "",
        )
        for point in sorted(points, key=lambda point: point.front)
    ]
    line = " ".join(f"{x_of(point.error):.1f},{y_of(point.cost):.1f}" for point in front)
    return TradeOff(
        LEFT + WIDTH + RIGHT,
        floor + BOTTOM,
        title,
        f"{what}, {unit}",
        LEFT,
        LEFT + WIDTH,
        TOP,
        floor,
        tuple(dots),
        line,
        (
            _Tick(LEFT + ZERO / 4, "exact"),
            *(_Tick(x_of(10.0**power), f"{100 * 10.0**power:g} %") for power in range(low, high + 1)),
        ),
        tuple(_Tick(y_of(step * i), significant(step * i)) for i in range(round(top_cost / step) + 1)),
        tuple(dict.fromkeys(point.kind for point in points)),
    )


def _named(front: Sequence[tuple[TradedPoint, float, float]]) -> list[TradedPoint]:
    """Return the points of the front whose names have room."""
    kept: list[tuple[TradedPoint, float, float]] = []
    for point, x, y in front:
        if len(kept) < NAMED and all(abs(y - other) >= NEAR or abs(x - at) >= 110 for _, at, other in kept):
            kept.append((point, x, y))
    return [point for point, _, _ in kept]


def _rounded_up(most: float) -> tuple[float, float]:
    """Return the end of a scale that holds *most*, and the step of its marks: 1, 2 or 5 times a power of ten."""
    unit = 10.0 ** math.floor(math.log10(most))
    step = next(each * unit for each in (0.1, 0.2, 0.5, 1, 2) if most / (each * unit) <= 6)
    return math.ceil(most / step - 1e-9) * step, step
