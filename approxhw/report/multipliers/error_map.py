"""The errors of a multiplier as a map, weight upwards, x to the right, neighbouring pairs of operands together. Geometry only."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from approxhw.report.figures import significant
from approxhw.report.page import environment

SQUARES = 64
"""Squares a side at most: each stands for as many neighbouring operands as are needed."""
STRENGTHS = 12
"""Steps of colour for errors of each sign; the scale is that of square roots, so that small errors are seen."""
SIDE, LEFT, TOP, RIGHT, BOTTOM = 256.0, 46.0, 30.0, 12.0, 40.0


@dataclass(frozen=True)
class _Layer:
    """All squares of one strength: a path, its opacity above 0 up to 1, and whether products are too large there."""

    path: str
    strength: float
    above: bool


@dataclass(frozen=True)
class _Mark:
    """A number beside an axis."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class ErrorMap:
    """The whole picture; ``strongest``: the mean error of its darkest square, as people read it."""

    width: float
    height: float
    title: str
    layers: tuple[_Layer, ...]
    across: tuple[_Mark, ...]
    up: tuple[_Mark, ...]
    strongest: str
    pairs: int
    """Pairs of operands a square."""


def draw_error_map(errors: np.ndarray, weights: np.ndarray, codes: np.ndarray, title: str = "") -> str:
    """Return the map of *errors* (weights × codes, both in any order) as an SVG text that stands by itself or in a page.

    *title* is untrusted.
    """
    drawing = error_map(errors, weights, codes, title)
    text: str = environment().get_template("error_map.html").render(drawing=drawing)
    return text


def error_map(errors: np.ndarray, weights: np.ndarray, codes: np.ndarray, title: str = "") -> ErrorMap:
    """Return the geometry of that picture; operands stand in the order of their numbers."""
    rows, columns = np.argsort(weights, kind="stable"), np.argsort(codes, kind="stable")
    sorted_errors = errors[rows][:, columns].astype(np.float64)
    down, across = (min(SQUARES, count) for count in errors.shape)
    squares = sorted_errors.reshape(down, len(rows) // down, across, len(columns) // across).mean(axis=(1, 3))
    greatest = float(np.abs(squares).max(initial=0.0))
    steps = np.ceil(np.sqrt(np.abs(squares) / greatest) * STRENGTHS).astype(int) if greatest else squares.astype(int)
    wide, high = SIDE / across, SIDE / down
    layers = []
    for above in (False, True):
        for step in range(1, STRENGTHS + 1):
            places = np.argwhere((steps == step) & ((squares > 0) == above))
            if len(places):
                path = "".join(_square(LEFT + x * wide, TOP + SIDE - (y + 1) * high, wide, high) for y, x in places)
                layers.append(_Layer(path, step / STRENGTHS, above))
    ends = ((int(codes.min()), int(codes.max())), (int(weights.min()), int(weights.max())))
    return ErrorMap(
        LEFT + SIDE + RIGHT,
        TOP + SIDE + BOTTOM,
        title,
        tuple(layers),
        tuple(_Mark(LEFT + SIDE * at, TOP + SIDE + 16, str(value)) for at, value in zip((0, 1), ends[0])),
        tuple(_Mark(LEFT - 6, TOP + SIDE * (1 - at) + 4, str(value)) for at, value in zip((0, 1), ends[1])),
        significant(greatest),
        math.prod(errors.shape) // (down * across),
    )


def _square(x: float, y: float, width: float, height: float) -> str:
    return f"M{x:g} {y:g}h{width:g}v{height:g}h{-width:g}z"
