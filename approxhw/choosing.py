"""The written rule by which one member of a front is chosen: by training rows alone, before any test row is read.

Validation rows, which nothing was optimised on, tell the truth about a circuit, but there are few of them. Noisy copies of
training rows rank circuits far better, but all of them look better than they are. So the noise ranks, and validation
rows say how much has to be taken off: the mean difference over all candidates, drawn towards what is usual.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Candidate:
    """What the rule may know of a circuit: its area, and accuracies on rows that are no test rows."""

    accuracy: float
    """On ``rows`` validation rows."""
    rows: int
    area_mm2: float
    steady: float
    """On noisy copies of all training rows."""
    fitted: float
    """On noisy copies of the rows that it was optimised on."""


USUAL_GAP, GAP_SPREAD = 0.005, 0.015
"""By how much accuracy on noisy copies is usually too good, and how much that differs from task to task."""

DOUBT = 0.5
"""How many standard deviations of what is taken off are taken off besides."""

EXPECTED = "accuracy on noisy copies of the training rows, less what validation rows say is too good about it"


def expected_accuracies(candidates: Sequence[Candidate]) -> list[float]:
    """Return the accuracy that each of *candidates* is expected to hold, with some doubt, on rows never seen.

    The gap between noisy and validation accuracy is N(``USUAL_GAP``, ``GAP_SPREAD``²) before anything is known; the mean gap
    of the candidates, with the standard error of an accuracy on that many validation rows, is what is then seen of it.
    """
    if not candidates:
        return []
    rows = max(1, candidates[0].rows)
    p = float(np.mean([c.accuracy for c in candidates]))
    seen = float(np.mean([c.fitted - c.accuracy for c in candidates]))
    # rows that are all right, or none at all, are no proof: at least a quarter of a row is in doubt
    error = math.sqrt(max(p * (1 - p), 1 / (4 * rows)) / rows)
    known, sure = (1 / error**2 if candidates[0].rows else 0.0), 1 / GAP_SPREAD**2
    gap = (seen * known + USUAL_GAP * sure) / (known + sure)
    off = gap + DOUBT / math.sqrt(known + sure)
    return [c.steady - off for c in candidates]


def choose(
    candidates: Sequence[Candidate],
    expected: Sequence[float],
    *,
    target: float | None,
    reference: float | None,
    loss: float,
) -> tuple[int, str, bool]:
    """Return which of *candidates* (by rising area) is chosen, by what rule, and whether it holds what was asked for.

    ``expected``: :func:`expected_accuracies`. With *target*: the smallest that is expected to hold this accuracy.
    Without: the smallest that is expected to lose at most *loss* (absolute) against *reference*, the model's own
    accuracy. Where none holds that: the one of which most is expected, the smaller of equals.
    """
    if target is not None:
        held = [i for i, value in enumerate(expected) if value >= target]
        rule = f"the smallest circuit expected to hold an accuracy of {100 * target:.2f} % ({EXPECTED})"
    elif reference is not None:
        held = [i for i, value in enumerate(expected) if value >= reference - loss - 1e-12]
        rule = f"the smallest circuit expected to lose at most {100 * loss:g} % against the model ({EXPECTED})"
    else:
        held, rule = (
            [],
            f"the circuit of which most is expected ({EXPECTED}): the accuracy of the model itself is not known",
        )
    if held:
        return held[0], rule, True
    best = max(range(len(candidates)), key=lambda i: (expected[i], -candidates[i].area_mm2))
    if target is None and reference is None:
        return best, rule, True
    return best, f"{rule}; there is none, so it is the one of which most is expected", False
