"""How often sums need which shift to be normalised: a bar for each shift, and below it a row for each layer. Geometry only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from approxhw.report.figures import percent
from approxhw.report.page import environment

LEAST = 1e-6
"""Share of the sums at the foot of the bars; the scale above is logarithmic."""

LAYERS = 64
"""Layers that get a row of their own at most; the greatest ones do."""

NAMES, COLUMN, ROW, BARS, TOP, LEFT, RIGHT = 230.0, 30.0, 20.0, 170.0, 58.0, 24.0, 20.0
"""Distances in the picture's own units."""


@dataclass(frozen=True)
class _Bar:
    """One shift: all layers together; ``words``: its share as people read it."""

    x: float
    y: float
    width: float
    height: float
    name: str
    words: str


@dataclass(frozen=True)
class _Cell:
    """One shift in one layer; ``strength``: above 0 up to 1."""

    x: float
    y: float
    width: float
    height: float
    strength: float
    words: str


@dataclass(frozen=True)
class _Line:
    """A layer's name at the left of its cells, or a mark of the scale; ``words``: how many sums there were."""

    x: float
    y: float
    name: str
    words: str = ""


@dataclass(frozen=True)
class ShiftDrawing:
    """The whole picture, and how many layers have no row of their own."""

    width: float
    height: float
    title: str
    bars: tuple[_Bar, ...]
    marks: tuple[_Line, ...]
    rows: tuple[_Line, ...]
    cells: tuple[_Cell, ...]
    hidden: int
    sums: int


def draw_shifts(histograms: Mapping[str, np.ndarray], title: str = "") -> str:
    """Return the picture of *histograms* as an SVG text that stands by itself or inside of a page.

    Per layer counts of W + 2 shifts: a carry, left by 0 … W − 1, a zero sum; W may differ. Names and *title* are untrusted.
    """
    drawing = shift_drawing(histograms, title)
    text: str = environment().get_template("shifts.html").render(drawing=drawing)
    return text


def shift_drawing(histograms: Mapping[str, np.ndarray], title: str = "") -> ShiftDrawing:
    """Return the geometry of that picture."""
    widest = max((len(counts) for counts in histograms.values()), default=2)
    layers = {name: _aligned(np.asarray(counts), widest) for name, counts in histograms.items()}
    total = sum(layers.values(), np.zeros(widest, np.int64))
    sums = int(total.sum())
    names = ["carry", *(str(shift) for shift in range(widest - 2)), "zero"]
    floor = TOP + BARS
    bars = []
    for place, (name, count) in enumerate(zip(names, total, strict=True)):
        share = count / sums if sums else 0.0
        height = BARS * _strength(share)
        x = LEFT + NAMES + place * COLUMN
        bars.append(_Bar(x + 3, floor - height, COLUMN - 6, height, name, _words(share)))
    marks = [
        _Line(LEFT + NAMES - 8, floor - BARS * _strength(10.0**-power), f"{100 * 10.0**-power:g} %")
        for power in range(int(-math.log10(LEAST)) + 1)
    ]
    shown = sorted(sorted(layers, key=lambda name: -int(layers[name].sum()))[:LAYERS], key=list(layers).index)
    rows, cells = [], []
    for line, layer in enumerate(shown):
        counts, y = layers[layer], floor + 44 + line * ROW
        whole = int(counts.sum())
        rows.append(_Line(LEFT + NAMES - 8, y + ROW - 6, layer, f"{layer}: {whole} sums"))
        cells.extend(_cells(layer, counts, whole, names, y))
    return ShiftDrawing(
        width=LEFT + NAMES + widest * COLUMN + RIGHT,
        height=floor + 44 + max(1, len(shown)) * ROW + 16,
        title=title,
        bars=tuple(bars),
        marks=tuple(marks),
        rows=tuple(rows),
        cells=tuple(cells),
        hidden=len(layers) - len(shown),
        sums=sums,
    )


def _cells(layer: str, counts: np.ndarray, whole: int, names: Sequence[str], y: float) -> list[_Cell]:
    cells = []
    for place, (name, count) in enumerate(zip(names, counts, strict=True)):
        if count:
            kind = name if name in ("carry", "zero") else f"left by {name}"
            words = f"{layer}, {kind}: {_words(count / whole)}"
            x = LEFT + NAMES + place * COLUMN
            cells.append(_Cell(x + 1, y + 1, COLUMN - 2, ROW - 2, max(0.06, _strength(count / whole)), words))
    return cells


def _aligned(counts: np.ndarray, widest: int) -> np.ndarray:
    """Return *counts* with room for as many shifts as the widest layer has; zero sums stay last."""
    return np.concatenate([counts[:-1], np.zeros(widest - len(counts), np.int64), counts[-1:]])


def _strength(share: float) -> float:
    """Return where a share stands between ``LEAST`` (0) and everything (1)."""
    return 0.0 if share <= LEAST else 1 - math.log10(share) / math.log10(LEAST)


def _words(share: float) -> str:
    if share == 0:
        return "never"
    return percent(share, 0) if share >= 0.0995 else f"{100 * share:.2g} %"
