"""Which form each layer takes so that all of them keep within a budget at least error: the integer program, solved exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_MOST_SUMS = 8192
"""Of the layers so far, that are gone on with: of more, those that are best at the price of a clock."""


@dataclass(frozen=True)
class Form:
    """A form that a layer can take: its ``size`` (a rank, a number of neurons; 0: as it is), what it ``costs`` and ``loses``."""

    size: int
    costs: int
    loses: float


def unbeaten_forms(forms: Sequence[Form]) -> list[Form]:
    """Return those *forms* that no other one beats by cost or by loss without being worse by the other, the cheapest first."""
    found: list[Form] = []
    for form in sorted(forms, key=lambda one: (one.costs, one.loses)):
        if not found or form.loses < found[-1].loses:
            found.append(form)
    return found


def within_budget(layers: Sequence[Sequence[Form]], budget: int | float) -> tuple[list[Form], int]:
    """Return a form of each of *layers*, all together at most *budget* if that is possible, and what they cost.

    Of all choices the one that loses least. A price on clocks gives a good choice, and what no choice can do better; layer by
    layer, sums that no other sum beats are gone on with, as far as they can still beat that choice. That is exact while no more
    than 8192 sums are left at a time, and never worse than the priced choice. Where nothing keeps within the budget, the
    cheapest forms come back.
    """
    fronts = [unbeaten_forms(forms) for forms in layers]
    least = [front[0] for front in fronts]
    if sum(form.costs for form in least) > budget:
        return least, sum(form.costs for form in least)
    price, priced = _priced(fronts, budget)
    bound = sum(form.loses for form in priced)
    rest = [0.0]  # what the layers from here on lose at least, their clocks being paid for
    for front in reversed(fronts):
        rest.append(rest[-1] + min(form.loses + price * form.costs for form in front))
    rest.reverse()
    costs, loses = np.zeros(1, np.int64), np.zeros(1)
    steps: list[tuple[np.ndarray, int]] = []
    """Of each layer: which sum before, and which of its forms, made each sum, as one number; how many forms it has."""
    for place, front in enumerate(fronts):
        sums = (costs[:, None] + np.array([form.costs for form in front])).reshape(-1)
        lost = (loses[:, None] + np.array([form.loses for form in front])).reshape(-1)
        hopeful = lost + price * (sums - budget) + rest[place + 1] < bound
        cheap = sums + sum(form.costs for form in least[place + 1 :]) <= budget
        order = np.flatnonzero(hopeful & cheap)
        if not len(order):
            return priced, sum(form.costs for form in priced)
        order = order[np.lexsort((lost[order], sums[order]))]
        order = order[np.append(True, lost[order][1:] < np.minimum.accumulate(lost[order])[:-1])]
        if len(order) > _MOST_SUMS:
            order = order[np.argsort((lost + price * sums)[order], kind="stable")[:_MOST_SUMS]]
        costs, loses = sums[order], lost[order]
        steps.append((order, len(front)))
    at, chosen = int(loses.argmin()), []
    for (order, count), front in zip(reversed(steps), reversed(fronts), strict=True):
        at, form = divmod(int(order[at]), count)
        chosen.append(front[form])
    return chosen[::-1], sum(form.costs for form in chosen)


def _priced(fronts: Sequence[Sequence[Form]], budget: float) -> tuple[float, list[Form]]:
    """Return the least price of a clock, to many digits, at which the best forms keep within *budget*, and these."""

    def best(price: float) -> list[Form]:
        return [min(front, key=lambda form: (form.loses + price * form.costs, form.costs)) for front in fronts]

    low, high = 0.0, 1e-9
    if sum(form.costs for form in best(low)) <= budget:
        return low, best(low)
    while sum(form.costs for form in best(high)) > budget:
        low, high = high, 4 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if sum(form.costs for form in best(middle)) <= budget else (middle, high)
    return high, best(high)
