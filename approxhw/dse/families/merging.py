"""The front of all families: circuits held against each other by what they are expected to hold, and one of them chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from approxhw.artifacts.objectives import CIRCUIT, Objective
from approxhw.artifacts.results import AskedAccuracy, FamilySummary, Promise
from approxhw.dse.rules.class_rule import AskedClasses
from approxhw.dse.rules.decision_rule import aim_of
from approxhw.dse.rules.short_lists import thinned
from approxhw.numerics.pareto import pareto_front

from .circuits import FrontCircuit

HURRIED = 6
"""Circuits that are synthesised, and members of the front, once a search was ended: it is to be there in seconds."""

TARGETS = 16
"""Accuracies of the curve of what would be chosen, at most."""


@dataclass(frozen=True)
class Wanted:
    """What the front is to hold: accuracies on rows never seen, and how many members at most."""

    target: float | None
    """Of the chosen member."""
    keep: tuple[float, ...]
    """Of others that stay, too."""
    reference: float | None
    """Accuracy of the model on the rows that judge."""
    loss: float
    """Against this, of the chosen member, where there is no target."""
    synthesised: int
    members: int
    costs: tuple[Objective, ...] = (CIRCUIT["area"],)
    """What is to be least beside the errors; the first is the one that circuits are sorted by."""
    test_rows: int | None = None
    """Rows of the sample that a promise is held to."""
    right: np.ndarray | None = field(default=None, compare=False)
    """bool, R: whether the model is right on each training row, where that is known: a loss is told on the same rows."""
    classes: AskedClasses | None = field(default=None, compare=False)
    """What any class may lose, where that is bounded."""

    @property
    def paired(self) -> bool:
        """Whether the loss against the model is asked for, row by row."""
        return self.target is None and self.reference is not None and self.right is not None

    @property
    def aim(self) -> float | None:
        """The accuracy that is asked for of the chosen member; None where the model's is not known and there is no target."""
        return aim_of(self.target, self.reference, self.loss)

    @property
    def hurried(self) -> Wanted:
        """The same of a search that was ended."""
        return replace(self, synthesised=min(self.synthesised, HURRIED), members=min(self.members, HURRIED))


@dataclass(frozen=True, eq=False)
class FamiliesPart:
    """What one kind of search found: circuits by rising cost, of which none beats another, and which of them it chose."""

    circuits: tuple[FrontCircuit, ...]
    index: int
    rule: str
    held: bool
    """Whether the one that was chosen is expected to hold what was asked for."""
    promise: Promise | None
    stays: frozenset[int] = frozenset()
    """Others that hold accuracies which were asked for, too."""
    summaries: tuple[FamilySummary, ...] = ()
    ask: Callable[[float], AskedAccuracy | None] | None = None
    """What would be chosen for another accuracy; None where no promise can be made."""
    rank_correlation: float | None = None

    @property
    def chosen(self) -> FrontCircuit:
        """The circuit that was chosen."""
        return self.circuits[self.index]


def merged_parts(parts: Sequence[FamiliesPart], wanted: Wanted) -> FamiliesPart:
    """Return one front of several *parts*; one alone is what it was.

    Circuits are compared by synthesised costs and by what they are expected to hold. Of those chosen by each part the cheapest
    that is expected to hold what was asked for is chosen, else the one that is expected to hold most.
    """
    if len(parts) == 1:
        return parts[0]
    circuits = [circuit for part in parts for circuit in part.circuits]
    points = np.array([[c.costs[0], -c.expected, *c.costs[1:]] for c in circuits])
    best = min(
        parts,
        key=lambda part: (
            not part.held,
            part.chosen.costs[0] if part.held else -part.chosen.expected,
            part.chosen.costs[0],
        ),
    )
    stays = {id(part.circuits[i]) for part in parts for i in part.stays} | {id(best.chosen)}
    # what holds an accuracy that was asked for, and is beaten by another part's circuit, is not needed any more
    listed = pareto_front(points)
    listed += [i for i, circuit in enumerate(circuits) if circuit is best.chosen and i not in listed]
    listed.sort(key=lambda i: (*points[i].tolist(), i))
    wants = {place for place, i in enumerate(listed) if id(circuits[i]) in stays}
    kept = [circuits[listed[k]] for k in thinned(points[listed], wanted.members, wants)]
    named = " or ".join(dict.fromkeys(part.rule.partition(";")[0] for part in parts))
    rule = named if best.held else f"{named}; there is none, so it is the one that is expected to hold most"
    return FamiliesPart(
        circuits=tuple(kept),
        index=next(i for i, circuit in enumerate(kept) if circuit is best.chosen),
        rule=rule,
        held=best.held,
        promise=best.promise,
        summaries=tuple(summary for part in parts for summary in part.summaries),
        rank_correlation=next((p.rank_correlation for p in parts if p.rank_correlation is not None), None),
    )


def asked_accuracies(parts: Sequence[FamiliesPart], low: float) -> tuple[AskedAccuracy, ...]:
    """Return what all *parts* would choose for *low*, and for accuracies above it that circuits are expected to hold.

    Between two of these the choice is that of the upper one.
    """
    asks = [part.ask for part in parts if part.ask is not None]
    every = {circuit.expected for part in parts for circuit in part.circuits}
    high = max(every, default=low)
    above = np.array(sorted({min(low, high)} | {each for each in every if each > low}))
    found = []
    for target in above[np.unique(np.linspace(0, len(above) - 1, min(TARGETS, len(above))).astype(int))].tolist():
        answers = [answer for ask in asks if (answer := ask(target)) is not None]
        if answers:
            found.append(min(answers, key=lambda one: (not one.held, one.cost if one.held else -one.promise.accuracy)))
    return tuple(found)
