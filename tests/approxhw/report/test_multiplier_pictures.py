"""Pictures of multipliers: where errors are, and what an error saves; geometry by hand, and texts that are whole."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from approxhw.report.multipliers.error_map import SIDE, STRENGTHS, draw_error_map, error_map
from approxhw.report.multipliers.tradeoff import TradedPoint, draw_tradeoff, tradeoff


def squares_of(path: str) -> list[tuple[float, ...]]:
    """Return x, y, width and height of each square of *path*."""
    return [tuple(map(float, each)) for each in re.findall(r"M([\d.]+) ([\d.]+)h([\d.]+)v([\d.]+)h-[\d.]+z", path)]


def test_squares_stand_where_their_operands_are():
    """Signed operands by their numbers: -2 at the left and at the foot, 1 at the right and on top."""
    values = np.array([0, 1, -2, -1])
    errors = np.zeros((4, 4))
    errors[2, 2], errors[1, 1], errors[1, 0] = 8, -8, -2  # (w, x) = (-2, -2), (1, 1), (1, 0)
    drawing = error_map(errors, values, values)
    drawn = {(layer.above, layer.strength): squares_of(layer.path) for layer in drawing.layers}
    side = SIDE / 4
    left, top = 46.0, 30.0
    assert drawn == {
        (True, 1.0): [(left, top + 3 * side, side, side)],
        (False, 1.0): [(left + 3 * side, top, side, side)],
        (False, 0.5): [(left + 2 * side, top, side, side)],
    }
    assert (drawing.strongest, drawing.pairs) == ("8.00", 1)
    assert [mark.text for mark in drawing.across] == [mark.text for mark in drawing.up] == ["-2", "1"]


def test_wide_operands_share_squares_and_every_square_is_drawn():
    values = np.arange(256)
    errors = np.where(values[:, None] % 4 == 0, 4, 0) * np.ones((256, 256))
    drawing = error_map(errors, values, values)
    assert drawing.pairs == 16
    assert drawing.strongest == "1.00"
    text = draw_error_map(errors, values, values, "<name>")
    (path,) = re.findall(r' d="(.*?)"', text)
    assert len(squares_of(path)) == 64 * 64, "no text is cut"
    assert "&lt;name&gt;" in text
    ET.fromstring(text)


def test_a_map_without_errors_says_so():
    text = draw_error_map(np.zeros((4, 8)), np.arange(4), np.arange(8))
    assert "no error anywhere" in text
    assert "<path" not in text
    drawing = error_map(np.arange(-32, 32).reshape(8, 8), np.arange(8), np.arange(8))
    assert {round(layer.strength * STRENGTHS) for layer in drawing.layers} <= set(range(1, STRENGTHS + 1))


POINTS = (
    TradedPoint("exact", 0.0, 10.0, True, "ours"),
    TradedPoint("near", 0.001, 8.0, True, "module"),
    TradedPoint("far", 0.1, 2.0, True, "ours"),
    TradedPoint("bad", 0.1, 9.0, False, "module"),
)


def test_points_stand_by_error_and_cost():
    drawing = tradeoff(POINTS, "power", "mW")
    by_words = {dot.words.split(":")[0]: dot for dot in drawing.dots}
    assert by_words["exact"].x < by_words["near"].x < by_words["far"].x == by_words["bad"].x
    assert by_words["far"].y > by_words["near"].y > by_words["bad"].y > by_words["exact"].y, "less is further down"
    assert by_words["near"].words == "near: MAE 0.1 %, 8.00 mW"
    assert len(drawing.line.split()) == 3
    assert [tick.text for tick in drawing.across] == ["exact", "0.1 %", "1 %", "10 %"]
    assert [tick.text for tick in drawing.up] == ["0", "2.00", "4.00", "6.00", "8.00", "10.0"]
    assert drawing.kinds == ("ours", "module")
    ET.fromstring(draw_tradeoff(POINTS, "power", "mW", "<title>"))


@pytest.mark.parametrize("points", [POINTS[:1], POINTS[1:2], ()])
def test_few_points_are_drawn_too(points):
    ET.fromstring(draw_tradeoff(points, "area", "µm²"))


def test_names_that_would_lie_on_one_another_are_left_out():
    points = [TradedPoint(f"p{i}", 0.01 * 1.01**i, 5 - 0.01 * i, True, "ours") for i in range(40)]
    drawing = tradeoff(points, "area", "µm²")
    assert sum(bool(dot.name) for dot in drawing.dots) < 5
    assert len(drawing.dots) == 40
