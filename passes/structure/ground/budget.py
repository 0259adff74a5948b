"""Which form each layer takes so that all of them keep within a budget at least error: convex hulls, steepest first."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Form:
    """A form that a layer can take: its ``size`` (a rank, a number of neurons; 0: as it is), what it ``costs`` and ``loses``."""

    size: int
    costs: int
    loses: float


def hull_of(forms: Sequence[Form]) -> list[Form]:
    """Return those *forms* that no mixture of others beats by cost and by loss, the dearest first."""
    found: list[Form] = []
    for form in sorted(forms, key=lambda one: (-one.costs, one.loses)):
        if found and form.costs == found[-1].costs:
            continue
        while found and form.loses <= found[-1].loses:
            found.pop()
        while len(found) > 1 and _slope(found[-2], found[-1]) >= _slope(found[-1], form):
            found.pop()
        found.append(form)
    return found


def _slope(dear: Form, cheap: Form) -> float:
    return (cheap.loses - dear.loses) / (dear.costs - cheap.costs)


def within_budget(layers: Sequence[Sequence[Form]], budget: float) -> tuple[list[Form], int]:
    """Return a form of each of *layers*, all together at most *budget* if that is possible, and what they cost.

    From the best forms on, the step that costs least error for what it saves comes first.
    """
    hulls = [hull_of(forms) for forms in layers]
    chosen = [hull[0] for hull in hulls]
    total = sum(form.costs for form in chosen)
    steps = [
        (_slope(dear, cheap), layer, place)
        for layer, hull in enumerate(hulls)
        for place, (dear, cheap) in enumerate(itertools.pairwise(hull))
    ]
    for _, layer, place in sorted(steps):
        if total <= budget:
            break
        cheap = hulls[layer][place + 1]
        total += cheap.costs - chosen[layer].costs
        chosen[layer] = cheap
    return chosen, total
