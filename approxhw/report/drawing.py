"""The network as a picture: where neurons, lines and captions stand. Geometry only; the template draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from .data import DrawnLayer

NAME = 20
"""Characters of a name beside a neuron at most."""

SHOWN = 16
"""Neurons of a column that are drawn at most; a taller column shows the first ones, a gap, and the last one."""

COLUMN, ROW, RADIUS, TOP, BOTTOM = 250.0, 25.0, 7.0, 64.0, 18.0
"""Distances in the picture's own units."""


@dataclass(frozen=True)
class _Neuron:
    """A circle, with a name beside it where it has one; ``side``: ``left``, ``right`` or none."""

    x: float
    y: float
    name: str = ""
    side: str = ""


@dataclass(frozen=True)
class _Line:
    """One weight that is not zero; ``strength`` is its size as a fraction of the layer's greatest, above 0 up to 1."""

    x1: float
    y1: float
    x2: float
    y2: float
    positive: bool
    strength: float


@dataclass(frozen=True)
class _Text:
    """A caption's two lines, or the words in a column's gap (``detail`` empty)."""

    x: float
    y: float
    text: str
    detail: str = ""


@dataclass(frozen=True)
class Drawing:
    """The whole picture, and how much of the network it shows."""

    width: float
    height: float
    neurons: tuple[_Neuron, ...]
    lines: tuple[_Line, ...]
    captions: tuple[_Text, ...]
    gaps: tuple[_Text, ...]
    drawn_weights: int
    nonzero_weights: int


def draw(layers: Sequence[DrawnLayer], inputs: Sequence[object] = (), labels: Sequence[object] = ()) -> Drawing | None:
    """Return the picture of *layers* with *inputs* named at the left and *labels* at the right; None without layers."""
    if not layers:
        return None
    counts = [layers[0].inputs, *(layer.outputs for layer in layers)]
    slots = [_slots(count) for count in counts]
    tallest = max(map(len, slots))
    left, right = _margin(inputs), _margin(labels if len(labels) == counts[-1] else ())
    height = TOP + tallest * ROW + BOTTOM
    neurons: list[_Neuron] = []
    gaps: list[_Text] = []
    places: list[dict[int, tuple[float, float]]] = []
    for column, (count, shown) in enumerate(zip(counts, slots, strict=True)):
        x = left + column * COLUMN
        start = TOP + (tallest - len(shown)) * ROW / 2 + ROW / 2
        names, side = _names(column, len(counts), inputs, labels, layers[-1])
        place = {}
        for slot, index in enumerate(shown):
            y = start + slot * ROW
            if index is None:
                gaps.append(_Text(x, y, f"… {count - len(shown) + 1} more"))
                continue
            place[index] = (x, y)
            neurons.append(_Neuron(x, y, str(names[index]) if index < len(names) else "", side))
        places.append(place)
    lines = [line for layer, pair in zip(layers, pairwise(places), strict=True) for line in _lines(layer, *pair)]
    captions = [_Text(left, 22.0, _plural(counts[0], "input"))]
    for column, layer in enumerate(layers, 1):
        captions.append(_Text(left + column * COLUMN, 22.0, _plural(layer.outputs, "neuron"), layer.activation))
    return Drawing(
        width=left + (len(counts) - 1) * COLUMN + right,
        height=height,
        neurons=tuple(neurons),
        lines=tuple(sorted(lines, key=lambda line: line.strength)),  # the strong ones on top
        captions=tuple(captions),
        gaps=tuple(gaps),
        drawn_weights=len(lines),
        nonzero_weights=sum(sum(w != 0 for row in layer.weights for w in row) for layer in layers if layer.weights),
    )


def _margin(names: Sequence[object]) -> float:
    """Return the room that names beside a column take; at least what a caption above it takes."""
    longest = max((len(str(name)) for name in names), default=0)
    return max(110.0, 36.0 + 7.4 * min(longest, NAME))


def _slots(count: int) -> list[int | None]:
    """Return which neurons of a column are drawn, from top to bottom; None is the gap."""
    if count <= SHOWN:
        return list(range(count))
    return [*range(SHOWN - 2), None, count - 1]


def _names(
    column: int, columns: int, inputs: Sequence[object], labels: Sequence[object], last: DrawnLayer
) -> tuple[Sequence[object], str]:
    if column == 0:
        return inputs, "left"
    if column == columns - 1 and len(labels) == last.outputs:
        return labels, "right"
    return (), ""


def _lines(
    layer: DrawnLayer, left: dict[int, tuple[float, float]], right: dict[int, tuple[float, float]]
) -> list[_Line]:
    weights = layer.weights
    if not weights:
        return []
    greatest = max((abs(w) for row in weights for w in row), default=0) or 1
    found = []
    for output, (x2, y2) in right.items():
        for index, (x1, y1) in left.items():
            weight = weights[output][index]
            if weight:
                found.append(_Line(x1 + RADIUS, y1, x2 - RADIUS, y2, weight > 0, float(abs(weight) / greatest)))
    return found


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
