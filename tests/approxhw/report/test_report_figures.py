"""Figures, the drawing's geometry, and layers read off a Graph."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from approxhw.artifacts.results import AskedAccuracy, Promise
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import ArgMax, Constant, Dense, Input, Relu, Type
from approxhw.numerics.formats import Encoding, Fixed
from approxhw.numerics.mac.arithmetic import Exact
from approxhw.report import DrawnLayer, drawn_layers, figures
from approxhw.report.asked_plot import asked_steps
from approxhw.report.drawing import SHOWN, draw


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "–"), (math.nan, "–"), (math.inf, "–"), (0, "0"), (43.126, "43.1"), (4312.6, "4313"), (0.02, "0.0200"),
        (9.999, "10.00"), (123456.0, "123\u202f456"), (-1.5, "-1.50"), (1e-9, "1.00e-09"), (2e12, "2.00e+12"),
    ],
)  # fmt: skip
def test_three_significant_digits(value: float | None, said: str) -> None:
    assert figures.significant(value) == said


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [(0.96, 0.954, "−0.6"), (0.9, 0.95, "+5.0"), (0.9, 0.9001, "±0.0"), (None, 0.9, "–"), (0.9, None, "–")],
)
def test_points(before: float | None, after: float | None, said: str) -> None:
    assert figures.points(before, after) == said


def test_units_change_with_the_size() -> None:
    assert figures.area_scale(0.247) == (0.01, "cm²")  # one printed NAND
    assert figures.area_scale(0.01) == (1e6, "µm²")
    assert figures.power_scale(151.3)[1] == "mW"
    assert figures.power_scale(0.001)[1] == "µW"
    assert figures.delay_scale(67.0)[1] == "ms"
    assert figures.delay_scale(1e-5)[1] == "ns"
    assert figures.scaled(None, (1.0, "mW")) == "–"


def test_times_and_counts() -> None:
    assert figures.seconds(0.0021) == "2.10 ms"
    assert figures.seconds(8.44) == "8.44 s"
    assert figures.seconds(None) == "–"
    assert figures.grouped(None) == "–"
    assert figures.grouped(9213) == "9213"
    assert figures.grouped(55968) == "55\u202f968"
    assert figures.given_figure(100.0) == "100"
    assert figures.percent(0.95412) == "95.4 %"


@pytest.mark.parametrize(
    ("share", "word", "said"),
    [(0.12, "saved", "12.0 % saved"), (-0.039, "saved", "3.9 % more"), (0.0, "", "0.0 %"), (-0.0004, "", "0.0 %")],
)
def test_what_is_lost_is_so_much_more(share: float, word: str, said: str) -> None:
    assert figures.saving(share, word) == said


def test_a_column_that_just_fits_has_no_gap() -> None:
    for count, gaps in ((SHOWN, 0), (SHOWN + 1, 1)):
        drawing = draw([DrawnLayer("l", "dense", count, 1, weights=((1.0,) * count,))])
        assert drawing is not None
        assert len(drawing.gaps) == gaps
        assert len(drawing.neurons) == count + 1 - 2 * gaps
    assert drawing.gaps[0].text == "… 2 more"


def test_lines_carry_sign_and_size_and_zero_is_not_drawn() -> None:
    drawing = draw([DrawnLayer("l", "dense", 3, 1, weights=((-4, 0, 2),))])
    assert drawing is not None
    assert [(line.positive, line.strength) for line in drawing.lines] == [(True, 0.5), (False, 1.0)]
    assert (drawing.drawn_weights, drawing.nonzero_weights) == (2, 2)


def test_everything_drawn_lies_inside_the_picture() -> None:
    drawing = draw([DrawnLayer("a", "dense", 1, 200), DrawnLayer("b", "dense", 200, 2)], ("x",), ("no", "yes"))
    assert drawing is not None
    for item in (*drawing.neurons, *drawing.captions, *drawing.gaps):
        assert 0 < item.x < drawing.width
        assert 0 < item.y < drawing.height
    assert [n.name for n in drawing.neurons if n.side == "right"] == ["no", "yes"]


def test_a_layer_of_zeros_and_no_layers() -> None:
    drawing = draw([DrawnLayer("l", "dense", 2, 2, weights=((0, 0), (0, 0)))])
    assert drawing is not None
    assert drawing.lines == ()
    assert draw([]) is None


def test_layers_are_read_off_a_graph() -> None:
    scale = Fraction(1)
    x = Node("x", Input(("a", "b"), ("A", "B"), Encoding(4, "round", (0.0, 0.0), (1.0, 1.0))), (), Type((2,), Fixed(4)))
    w = Node("w", Constant(np.array([[3, 0], [-8, 7], [1, 1]])), (), Type((3, 2), Fixed(8, True, scale)))
    b = Node("b", Constant(np.array([0, 1, 2])), (), Type((3,), Fixed(8, True)))
    y = Node("y", Dense(Exact(8)), ("x", "w", "b"), Type((3,), Fixed(9, True)))
    r = Node("r", Relu(), ("y",), Type((3,), Fixed(8)))
    c = Node("c", ArgMax(), ("r",), Type((), Fixed(2)))
    (layer,) = drawn_layers(Graph("g", (x, w, b, y, r, c), "c"))
    assert layer == DrawnLayer("y", "dense exact<8>", 2, 3, 5, 8, 9, "relu, argmax", ((3, 0), (-8, 7), (1, 1)))


def test_what_is_chosen_for_several_accuracies_in_a_row_is_told_once() -> None:
    promise = Promise(0.9, 0.8, 0.95, 100)
    asked = [
        AskedAccuracy(target, held, "tree", recipe, cost, promise)
        for target, held, recipe, cost in ((0.5, True, "a", 1.0), (0.6, True, "a", 1.0), (0.7, True, "b", 2.0),
                                           (0.8, True, "a", 1.0), (0.9, False, "a", 1.0))
    ]  # fmt: skip
    assert [(low, each.target) for low, each in asked_steps(asked)] == [(0.5, 0.6), (0.7, 0.7), (0.8, 0.8), (0.9, 0.9)]
    assert asked_steps([]) == []
