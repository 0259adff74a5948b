"""Speed-up over number of GPUs as a picture: a line for each code and one for what would be ideal. Geometry only."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from .page import environment

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 760.0, 420.0, 58.0, 58.0, 230.0, 52.0
"""The picture, and what is left free around its lines, in its own units."""

CODES = 6
"""Lines that get a colour of their own at most."""

APART = 15.0
"""Least distance of two captions."""


@dataclass(frozen=True)
class _Point:
    """A number of GPUs on a line; ``words``: the figure as people read it."""

    x: float
    y: float
    words: str


@dataclass(frozen=True)
class _Line:
    """One code: ``path`` of its points, and where its caption stands. ``kind``: its colour, 0 for the ideal."""

    name: str
    kind: int
    path: str
    points: tuple[_Point, ...]
    caption: float
    last: str


@dataclass(frozen=True)
class _Mark:
    """A mark of a scale."""

    at: float
    name: str


@dataclass(frozen=True)
class SpeedupDrawing:
    """The whole picture."""

    width: float
    height: float
    left: float
    right: float
    top: float
    floor: float
    title: str
    lines: tuple[_Line, ...]
    across: tuple[_Mark, ...]
    up: tuple[_Mark, ...]


def draw_speedups(lines: Mapping[str, Sequence[tuple[int, float]]], title: str = "") -> str:
    """Return the picture of *lines*, (GPUs, speed-up) by the name of a code, as an SVG text that stands by itself.

    Names and *title* are untrusted.
    """
    text: str = environment().get_template("speedups.html").render(drawing=speedup_drawing(lines, title))
    return text


def speedup_drawing(lines: Mapping[str, Sequence[tuple[int, float]]], title: str = "") -> SpeedupDrawing:
    """Return the geometry of that picture: both scales double at equal distances."""
    shown = {name: [(n, s) for n, s in points if s > 0] for name, points in list(lines.items())[:CODES]}
    counts = sorted({n for points in shown.values() for n, _ in points}) or [1]
    most = max(2, counts[-1])
    least = min((s for points in shown.values() for _, s in points), default=1.0)
    bottom = min(0, math.floor(math.log2(least)))
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM

    def across(gpus: float) -> float:
        return LEFT + (right - LEFT) * math.log2(gpus) / math.log2(most)

    def up(speedup: float) -> float:
        return floor - (floor - TOP) * (math.log2(speedup) - bottom) / (math.log2(most) - bottom)

    ideal = [(n, float(n)) for n in counts]
    drawn = []
    for kind, (name, points) in enumerate({"ideal": ideal, **shown}.items()):
        placed = [_Point(across(n), up(s), f"{name}, {n} GPUs: {s:.3g} times") for n, s in points]
        path = " ".join(f"{'L' if place else 'M'}{p.x:.1f} {p.y:.1f}" for place, p in enumerate(placed))
        last = f"{points[-1][1]:.3g}×" if points else ""
        drawn.append(_Line(name, kind, path, tuple(placed), placed[-1].y if placed else floor, last))
    captions = _apart([line.caption for line in drawn])
    drawn = [replace(line, caption=y) for line, y in zip(drawn, captions, strict=True)]
    powers = range(bottom, math.ceil(math.log2(most)) + 1)
    return SpeedupDrawing(
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=right,
        top=TOP,
        floor=floor,
        title=title,
        lines=tuple(drawn),
        across=tuple(_Mark(across(n), str(n)) for n in _spaced(counts, across)),
        up=tuple(_Mark(up(2.0**power), f"{2.0**power:g}×") for power in powers if 2.0**power <= most),
    )


def _apart(places: Sequence[float]) -> list[float]:
    """Return *places*, moved down where captions would lie on one another; their order stays."""
    found = list(places)
    order = sorted(range(len(found)), key=lambda place: found[place])
    for before, here in pairwise(order):
        found[here] = max(found[here], found[before] + APART)
    return found


def _spaced(counts: Sequence[int], across: Callable[[float], float]) -> list[int]:
    """Return the counts whose names do not run into one another, the last one always."""
    found: list[int] = []
    for count in reversed(counts):
        if not found or across(found[-1]) - across(count) >= 24:
            found.append(count)
    return found[::-1]
