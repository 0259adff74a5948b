"""The written rule by which one member of a front is chosen: by validation rows alone, before any test row is read.

Validation rows are few, so that the accuracy of one circuit on them is mostly chance. Three things take chance away: several
folds, each a search of its own that puts other rows aside, so that most rows validate; neighbours by area are averaged; and
no circuit may be worse than a smaller one (isotonic regression).
What a circuit is expected to hold is the mean over the folds of what circuits of its area hold there, less a part of the
standard error.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """What the rule may know of a circuit: how circuits like it do on rows that they were not optimised on, and its area."""

    accuracy: float
    """That circuits of its area have on ``rows`` validation rows, of all folds."""
    rows: int
    area_mm2: float


DOUBT = 0.5
"""How many standard errors of the validation accuracy are taken off it: what a circuit is expected to hold elsewhere."""

REACH = 2
"""Neighbours by area on either side, over which accuracies are averaged."""

EXPECTED = (
    f"accuracy on validation rows, averaged over {2 * REACH + 1} neighbours by area, made to "
    f"rise with area, and averaged over the folds, less {DOUBT:g} standard errors"
)


@dataclass(frozen=True)
class Curve:
    """What circuits of one fold hold on its ``rows`` validation rows, over their area in mm², both rising."""

    areas: tuple[float, ...]
    accuracies: tuple[float, ...]
    rows: int

    def at(self, area_mm2: float) -> float:
        """Return the accuracy of the largest circuit of at most this area; of the smallest where all are larger."""
        return self.accuracies[max(0, bisect.bisect_right(self.areas, area_mm2) - 1)]


def curve(areas: Sequence[float], accuracies: Sequence[float], rows: int) -> Curve:
    """Return the curve of circuits of these *areas* (mm²) and *accuracies* on *rows* rows, one at least, in any order."""
    order = sorted(range(len(areas)), key=lambda i: (areas[i], accuracies[i]))
    return Curve(
        tuple(float(areas[i]) for i in order), tuple(rising(smoothed([accuracies[i] for i in order]))), int(rows)
    )


def mean_at(curves: Sequence[Curve], area_mm2: float) -> float:
    """Return the mean over all rows of what the *curves* hold at this area."""
    return sum(c.rows * c.at(area_mm2) for c in curves) / sum(c.rows for c in curves)


def smoothed(values: Sequence[float]) -> list[float]:
    """Return the means of *values* over ``REACH`` neighbours on both sides, as many on either side as there are."""
    found = []
    for i in range(len(values)):
        reach = min(REACH, i, len(values) - 1 - i)
        window = values[i - reach : i + reach + 1]
        found.append(sum(window) / len(window))
    return found


def rising(values: Sequence[float]) -> list[float]:
    """Return the non-decreasing sequence nearest to *values* by least squares: neighbours that fall become their mean."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        mean, size = float(value), 1
        while blocks and blocks[-1][0] >= mean:
            before, count = blocks.pop()
            mean, size = (before * count + mean * size) / (count + size), count + size
        blocks.append((mean, size))
    return [mean for mean, size in blocks for _ in range(size)]


def expected_accuracies(candidates: Sequence[Candidate]) -> list[float]:
    """Return the accuracy that each of *candidates* (by rising area) is expected to hold on rows never seen."""
    expected = []
    for p, candidate in zip(rising([c.accuracy for c in candidates]), candidates, strict=True):
        rows = max(1, candidate.rows)
        # rows that are all right are no proof: at least a quarter of a row is in doubt
        expected.append(p - DOUBT * math.sqrt(max(p * (1 - p), 1 / (4 * rows)) / rows))
    return expected


def choose(
    candidates: Sequence[Candidate], *, target: float | None, reference: float | None, loss: float
) -> tuple[int, str, bool]:
    """Return which of *candidates* (by rising area) is chosen, by what rule, and whether it holds what was asked for.

    With *target*: the smallest that is expected to hold this accuracy. Without: the smallest whose accuracy is at most
    *loss* (absolute) below *reference*, the model's own on the same rows. Where none holds that: the most accurate, the
    smaller of equals.
    """
    smooth = rising([c.accuracy for c in candidates])
    if target is not None:
        held = [i for i, value in enumerate(expected_accuracies(candidates)) if value >= target]
        rule = f"the smallest circuit expected to hold an accuracy of {100 * target:.2f} % ({EXPECTED})"
    elif reference is not None:
        held = [i for i, value in enumerate(smooth) if value >= reference - loss - 1e-12]
        rule = f"the smallest circuit that loses at most {100 * loss:g} % against the model on validation rows"
    else:
        held, rule = [], "the most accurate circuit on validation rows: the accuracy of the model itself is not known"
    if held:
        return held[0], rule, True
    best = max(range(len(candidates)), key=lambda i: (smooth[i], -candidates[i].area_mm2))
    if target is None and reference is None:
        return best, rule, True
    return best, f"{rule}; there is none, so it is the most accurate on validation rows", False
