"""The written rule by which one member of a front is chosen: by validation rows, before any test row is read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """What the rule may know of a circuit: its accuracy on ``rows`` rows that it was not optimised on, and its area."""

    accuracy: float
    rows: int
    area_mm2: float


DOUBT = 0.5
"""How many standard errors of the validation accuracy are taken off it: what a circuit is expected to hold elsewhere."""

EXPECTED = f"its validation accuracy less {DOUBT:g} standard errors"


def expected_accuracy(candidate: Candidate) -> float:
    """Return the accuracy that *candidate* is expected to hold on rows never seen."""
    p, n = candidate.accuracy, max(1, candidate.rows)
    return p - DOUBT * math.sqrt(max(p * (1 - p), 1 / (4 * n)) / n)


def choose(
    candidates: Sequence[Candidate], *, target: float | None, reference: float | None, loss: float
) -> tuple[int, str, bool]:
    """Return which of *candidates* (by rising area) is chosen, by what rule, and whether it holds what was asked for.

    With *target*: the smallest that is expected to hold this accuracy. Without: the smallest whose accuracy is at
    most *loss* (absolute) below *reference*, the model's own. Where none holds that: the most accurate, the smaller of equals.
    """
    if target is not None:
        held = [i for i, c in enumerate(candidates) if expected_accuracy(c) >= target]
        rule = f"the smallest circuit expected to hold an accuracy of {100 * target:.2f} % ({EXPECTED})"
    elif reference is not None:
        held = [i for i, c in enumerate(candidates) if c.accuracy >= reference - loss - 1e-12]
        rule = f"the smallest circuit that loses at most {100 * loss:g} % against the model on validation rows"
    else:
        held, rule = [], "the most accurate circuit on validation rows: the accuracy of the model itself is not known"
    if held:
        return held[0], rule, True
    best = max(range(len(candidates)), key=lambda i: (candidates[i].accuracy, -candidates[i].area_mm2))
    if target is None and reference is None:
        return best, rule, True
    return best, f"{rule}; there is none, so it is the most accurate on validation rows", False
