"""The written rule by which one member of a front is chosen: by validation rows alone, before any test row is read.

Validation rows are few, so that the accuracy of one circuit on them is mostly chance. Three things take chance away: several
folds, each a search of its own that puts other rows aside, so that most rows validate; neighbours by area are averaged; and
no circuit may be worse than a smaller one (isotonic regression).
What a circuit is expected to hold is the mean over the folds of what circuits of its area hold there, less a part of the
standard error. Where a search asks for another cost than the area, that stands in its place.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

from approxhw.common.statistics import isotonic


@dataclass(frozen=True)
class Candidate:
    """What the rule may know of a circuit: how circuits like it do on rows that they were not optimised on, and its cost."""

    accuracy: float
    """That circuits of its cost have on ``rows`` validation rows, of all folds."""
    rows: int
    cost: float
    """Its area in mm², or what else the search asks for first beside the errors."""
    class_loss: float = 0.0
    """What its worst class loses against the model; looked at where that is bounded."""


DOUBT = 0.5
"""How many standard errors of the validation accuracy are taken off it: what a circuit is expected to hold elsewhere."""

REACH = 2
"""Neighbours by area on either side, over which accuracies are averaged."""

EXPECTED = (
    f"accuracy on validation rows, averaged over {2 * REACH + 1} neighbours by {{0}}, made to "
    f"rise with {{0}}, and averaged over the folds, less {DOUBT:g} standard errors"
)
"""What is expected, with the name of the cost."""


@dataclass(frozen=True)
class Curve:
    """What circuits of one fold hold on its ``rows`` validation rows, over their cost, both rising."""

    costs: tuple[float, ...]
    accuracies: tuple[float, ...]
    rows: int

    def at(self, cost: float) -> float:
        """Return the accuracy of the dearest circuit of at most this cost; of the cheapest where all are dearer."""
        return self.accuracies[max(0, bisect.bisect_right(self.costs, cost) - 1)]


def accuracy_curve(costs: Sequence[float], accuracies: Sequence[float], rows: int) -> Curve:
    """Return the curve of circuits of these *costs* and *accuracies* on *rows* rows, one at least, in any order."""
    order = sorted(range(len(costs)), key=lambda i: (costs[i], accuracies[i]))
    return Curve(
        tuple(float(costs[i]) for i in order), tuple(isotonic(smoothed([accuracies[i] for i in order]))), int(rows)
    )


def mean_at(curves: Sequence[Curve], cost: float) -> float:
    """Return the mean over all rows of what the *curves* hold at this cost."""
    return sum(c.rows * c.at(cost) for c in curves) / sum(c.rows for c in curves)


def smoothed(values: Sequence[float]) -> list[float]:
    """Return the means of *values* over ``REACH`` neighbours on both sides, as many on either side as there are."""
    found = []
    for i in range(len(values)):
        reach = min(REACH, i, len(values) - 1 - i)
        window = values[i - reach : i + reach + 1]
        found.append(sum(window) / len(window))
    return found


def expected_accuracies(candidates: Sequence[Candidate], doubt: float = DOUBT) -> list[float]:
    """Return the accuracy that each of *candidates* (by rising cost) is expected to hold on rows never seen.

    *doubt*: standard errors that are taken off.
    """
    expected = []
    for p, candidate in zip(isotonic([c.accuracy for c in candidates]), candidates, strict=True):
        rows = max(1, candidate.rows)
        # rows that are all right are no proof: at least a quarter of a row is in doubt
        expected.append(p - doubt * math.sqrt(max(p * (1 - p), 1 / (4 * rows)) / rows))
    return expected


def choose_candidate(
    candidates: Sequence[Candidate],
    *,
    target: float | None,
    reference: float | None,
    loss: float,
    cost: str = "area",
    least: str = "the smallest circuit",
    among: Sequence[int] | None = None,
    doubt: float = DOUBT,
    max_class_loss: float | None = None,
) -> tuple[int, str, bool]:
    """Return which of *candidates* (by rising cost) is chosen, by what rule, and whether it holds what was asked for.

    With *target*: the cheapest that is expected to hold this accuracy. Without: the cheapest that is expected to hold at most
    *loss* (absolute) less than *reference*, the model's own on the same rows. Where none holds that: the most accurate, the
    cheaper of equals. *cost*, *least*: what the cost is, and what the cheapest is called.
    *among*: which may be chosen. *doubt*: standard errors that are taken off. *max_class_loss*: what no class may lose more than;
    where none holds both, the one that misses what is asked for least, the cheaper of equals.
    """
    places = range(len(candidates)) if among is None else among
    smooth, expected = isotonic([c.accuracy for c in candidates]), expected_accuracies(candidates, doubt)
    aim = aim_of(target, reference, loss)
    most = math.inf if max_class_loss is None else max_class_loss
    held = [i for i in places if aim is not None and expected[i] >= aim - 1e-12]
    held = [i for i in held if candidates[i].class_loss <= most + 1e-12]
    if target is not None:
        rule = f"{least} expected to hold an accuracy of {100 * target:.2f} % ({EXPECTED.format(cost)})"
    elif aim is not None:
        rule = f"{least} that loses at most {100 * loss:g} % against the model on validation rows, "
        rule += f"with {DOUBT:g} standard errors taken off its accuracy there"
    else:
        rule = "the most accurate circuit on validation rows: the accuracy of the model itself is not known"
    if max_class_loss is not None:
        rule += f", and no class more than {100 * max_class_loss:g} %"
    if held:
        return held[0], rule, True
    if max_class_loss is not None and aim is not None:
        missed = {i: max(aim - expected[i], candidates[i].class_loss - most) for i in places}
        best = min(places, key=lambda i: (missed[i], candidates[i].cost))
        return (
            best,
            f"{rule}; there is none, so it is the one that misses this least, by {100 * missed[best]:.2f} %",
            False,
        )
    best = max(places, key=lambda i: (smooth[i], -candidates[i].cost))
    if aim is None:
        return best, rule, True
    return best, f"{rule}; there is none, so it is the most accurate on validation rows", False


def aim_of(target: float | None, reference: float | None, loss: float) -> float | None:
    """Return the accuracy that is asked for: *target*, or *loss* less than *reference*; None where neither is known."""
    return target if target is not None else None if reference is None else reference - loss


def nested_accuracies(curves: Sequence[Curve], costs: Sequence[float], aim: float | None) -> list[float]:
    """Return for each fold what the circuit holds there that the *curves* of all other folds choose for *aim*.

    *costs*: what the curves go over, of the circuits to choose from. The choice doubts as much as with all folds.
    """
    rows, found = sum(c.rows for c in curves), []
    for j, curve in enumerate(curves):
        others = [*curves[:j], *curves[j + 1 :]]
        known = [Candidate(mean_at(others, cost), rows, cost) for cost in costs]
        place, _, _ = choose_candidate(known, target=aim, reference=None, loss=0.0)
        found.append(curve.at(costs[place]))
    return found
