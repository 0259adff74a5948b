"""The written rule by which one member of a front is chosen: by validation rows alone, before any test row is read.

A front stands by rising area and rising accuracy on the rows that were searched on. Validation rows are few, so that the
accuracy of one member on them is mostly chance. Three things take chance away: noisy copies of the rows count like the
rows themselves; neighbours by area are averaged; and no member may be worse than a smaller one (isotonic regression). Part
of the standard error of what is left is taken off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """What the rule may know of a circuit: how it does on rows that it was not optimised on, and its area."""

    accuracy: float
    """On ``rows`` validation rows and noisy copies of them."""
    rows: int
    area_mm2: float


DOUBT = 0.5
"""How many standard errors of the validation accuracy are taken off it: what a circuit is expected to hold elsewhere."""

REACH = 2
"""Neighbours by area on either side, over which accuracies are averaged."""

EXPECTED = (
    f"accuracy on validation rows and noisy copies of them, averaged over {2 * REACH + 1} neighbours by area and made to "
    f"rise with area, less {DOUBT:g} standard errors"
)


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
    for p, candidate in zip(rising(smoothed([c.accuracy for c in candidates])), candidates, strict=True):
        rows = max(1, candidate.rows)
        # rows that are all right are no proof: at least a quarter of a row is in doubt
        expected.append(p - DOUBT * math.sqrt(max(p * (1 - p), 1 / (4 * rows)) / rows))
    return expected


def choose(
    candidates: Sequence[Candidate], *, target: float | None, reference: float | None, loss: float
) -> tuple[int, str, bool]:
    """Return which of *candidates* (by rising area) is chosen, by what rule, and whether it holds what was asked for.

    With *target*: the smallest that is expected to hold this accuracy. Without: the smallest whose accuracy, smoothed as
    told above, is at most *loss* (absolute) below *reference*, the model's own on the same rows. Where none holds that:
    the most accurate, the smaller of equals.
    """
    smooth = rising(smoothed([c.accuracy for c in candidates]))
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
