"""What a search would choose for other accuracies, as two pictures: cost over the accuracy asked for, and what is promised."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from approxhw.artifacts.front import Front
from approxhw.artifacts.results import AskedAccuracy, Promise

WIDTH, HEIGHT = 460.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 56.0, 14.0, 34.0, 44.0
"""Margins of a picture, in its own units."""

WIDE = 20.0
"""Costs that are so many times apart are drawn by their logarithm."""


@dataclass(frozen=True)
class Tick:
    """A line across the picture at ``at``, with its words."""

    at: float
    text: str


@dataclass(frozen=True)
class Mark:
    """A point: where it is, what of the front it tells, and the mark of its family."""

    x: float
    y: float
    text: str
    family: int
    held: bool = True


@dataclass(frozen=True)
class AskedPlot:
    """One picture. ``path``: the line through the marks; ``band``: the area of the intervals; ``even``: asked = promised."""

    title: str
    across: str
    ticks_x: tuple[Tick, ...]
    ticks_y: tuple[Tick, ...]
    path: str
    band: str
    even: tuple[float, float, float, float] | None
    marks: tuple[Mark, ...]
    chosen: Mark | None


@dataclass(frozen=True)
class _Scale:
    """Values from ``low`` to ``high`` in places from ``start`` to ``end``, by their logarithm where ``log``."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Return the place of *value*."""
        low, high, x = (math.log(v) if self.log else v for v in (self.low, self.high, max(value, self.low)))
        share = (x - low) / (high - low) if high > low else 0.5
        return round(self.start + share * (self.end - self.start), 2)


def asked_plots(front: Front, families: Sequence[str]) -> tuple[AskedPlot, ...]:
    """Return both pictures of *front*; none where it promises nothing. *families*: in the order of their marks."""
    if len(front.asked) < 2 or front.promise is None:
        return ()
    asked, cost = front.asked, front.costs[0]
    targets = [each.target for each in asked]
    across = _Scale(min(targets), max(targets), LEFT, WIDTH - RIGHT)
    chosen = front.chosen
    wanted = chosen.expected_accuracy if chosen.expected_accuracy is not None else front.promise.accuracy
    beside = across.low <= wanted <= across.high

    def told(each: AskedAccuracy, text: str) -> str:
        return f"{_percent(each.target)} asked: {each.recipe or each.family}, {text}"

    def mark(scale: _Scale, target: float, value: float, text: str, family: str, held: bool = True) -> Mark:
        place = families.index(family) if family in families else 0
        return Mark(across.at(target), scale.at(value), text, place, held)

    costs = [each.cost * cost.shown for each in asked]
    own = cost.value(chosen) * cost.shown
    positive = [value for value in (*costs, own) if value > 0] or [1.0]
    log = max(positive) / min(positive) > WIDE
    up = _Scale(min(positive) / 1.3 if log else 0.0, max(positive) * 1.15, HEIGHT - BOTTOM, TOP, log)
    marks = tuple(
        mark(up, each.target, value, told(each, f"{value:.3g}"), each.family, each.held)
        for each, value in zip(asked, costs, strict=True)
    )
    unit = cost.title.partition(", ")[2]
    first = AskedPlot(
        f"{cost.name[:1].upper()}{cost.name[1:].replace('-', ' ')} over the accuracy asked for{', ' + unit if unit else ''}",
        "accuracy asked for",
        _shares(across),
        tuple(Tick(up.at(value), f"{value:.3g}") for value in _values(up)),
        _path(marks),
        "",
        None,
        marks,
        mark(up, wanted, own, f"chosen: {own:.3g} {unit}".strip(), chosen.family) if beside else None,
    )
    ends = [share for each in asked for share in (each.promise.low, each.promise.high)]
    height = _Scale(min(*ends, across.low), max(*ends, across.high), HEIGHT - BOTTOM, TOP)
    promised = tuple(
        mark(height, each.target, each.promise.accuracy, told(each, _told(each.promise)), each.family, each.held)
        for each in asked
    )
    places = [across.at(each.target) for each in asked]
    above = _stairs(places, [height.at(each.promise.high) for each in asked])
    below = _stairs(places, [height.at(each.promise.low) for each in asked])[::-1]
    second = AskedPlot(
        "Promised over the accuracy asked for, with the 95 % interval",
        "accuracy asked for",
        _shares(across),
        tuple(Tick(height.at(value), _percent(value)) for value in _steps(height)),
        _path(promised),
        "M" + "L".join(f"{x},{y}" for x, y in (*above, *below)) + "Z",
        (across.at(across.low), height.at(across.low), across.at(across.high), height.at(across.high)),
        promised,
        mark(height, wanted, front.promise.accuracy, f"chosen: {_told(front.promise)}", chosen.family)
        if beside
        else None,
    )
    return first, second


def asked_steps(asked: Sequence[AskedAccuracy]) -> list[tuple[float, AskedAccuracy]]:
    """Return each circuit once that *asked* (by rising accuracy) chooses in a row: the least accuracy, and the last choice."""
    found: list[tuple[float, AskedAccuracy]] = []
    for each in asked:
        if found and _choice(found[-1][1]) == _choice(each):
            found[-1] = found[-1][0], each
        else:
            found.append((each.target, each))
    return found


def _choice(each: AskedAccuracy) -> tuple[object, ...]:
    return each.family, each.recipe, each.cost, each.promise, each.held


def _told(promise: Promise) -> str:
    return f"promised {_percent(promise.accuracy)}, {_percent(promise.low)} to {_percent(promise.high)}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _path(marks: Sequence[Mark]) -> str:
    return "M" + "L".join(f"{x},{y}" for x, y in _stairs([each.x for each in marks], [each.y for each in marks]))


def _stairs(across: Sequence[float], up: Sequence[float]) -> list[tuple[float, float]]:
    """Return the corners of steps: beyond one accuracy it is the circuit of the next that is needed."""
    found = [(across[0], up[0])]
    for (x, _), (beyond, y) in itertools.pairwise(zip(across, up, strict=True)):
        found += [(x, y), (beyond, y)]
    return found


def _shares(scale: _Scale) -> tuple[Tick, ...]:
    return tuple(Tick(scale.at(value), f"{100 * value:.4g} %") for value in _steps(scale))


def _steps(scale: _Scale, count: int = 5) -> list[float]:
    """Return about *count* round numbers between the ends of *scale*."""
    raw = (scale.high - scale.low) / count or 1.0
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(k * power for k in (1, 2, 5, 10) if k * power >= raw * (1 - 1e-9))
    first = math.ceil(scale.low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(scale.high / step + 1e-9) + 1)]


def _values(scale: _Scale) -> list[float]:
    """Return round numbers of a cost's *scale*."""
    if not scale.log:
        return _steps(scale)
    low, high = math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high))
    factors = (1,) if high - low > 2 else (1, 2, 5)
    found = [k * 10.0**power for power in range(low, high + 1) for k in factors]
    return [value for value in found if scale.low <= value <= scale.high]
