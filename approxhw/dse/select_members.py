"""From everything that the folds of a search found to the members of its front: what is synthesised, kept and chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from approxhw.artifacts.front import pareto

from .decision_rule import Candidate, choose, curve, expected_accuracies, mean_at
from .evolve import distinct, layers_of_front

if TYPE_CHECKING:
    from .fold import Branch

MOST_LISTED = 150
"""About as many circuits of all folds as may come into question for the front, and as many of each for its curve."""


@dataclass(frozen=True)
class Wanted:
    """What the front is to hold: accuracies on rows never seen, and how many members at most."""

    target: float | None
    """Of the chosen member."""
    keep: tuple[float, ...]
    """Of others that stay, too."""
    reference: float | None
    """Accuracy of the model on validation rows."""
    loss: float
    """Against this, of the chosen member, where there is no target."""
    synthesised: int
    members: int


@dataclass(frozen=True, eq=False)
class Picked:
    """A member of the front: a genome of a fold, its estimated and synthesised area in mm², what it is expected to hold."""

    branch: Branch
    genome: np.ndarray
    estimate: float
    area: float
    expected: float


@dataclass(frozen=True, eq=False)
class Choice:
    """The members of the front, by rising area, and which of them is chosen by what rule."""

    members: tuple[Picked, ...]
    index: int
    rule: str
    held: bool
    rank_correlation: float | None
    """Of estimated and synthesised areas of all that was synthesised for it."""


def pick(
    found: Sequence[tuple[Branch, np.ndarray]], wanted: Wanted, on_progress: Callable[[str, int, int], None] | None
) -> Choice:
    """Synthesise what may be best of the genomes *found* by each fold, keep what nothing beats, and choose one.

    Circuits of all folds are held against each other by area and by their accuracy on noisy copies of all training rows;
    what they hold on rows never seen is told by the validation rows of each fold.
    """
    branches = [branch for branch, _ in found]
    owners, genomes, estimates, steady, curves = [], [], [], [], []
    for number, (branch, mine) in enumerate(found):
        plain = distinct(branch.space, mine)
        sizes = np.asarray(branch.estimate(plain), dtype=np.float64)
        gains = branch.judge.noisy(plain, "all")
        listed = np.sort(layers_of_front(sizes, gains, MOST_LISTED))
        split = branch.judge.split
        checked = branch.judge.accuracies(plain[listed], split)
        assert checked is not None
        curves.append(curve(sizes[listed].tolist(), checked.tolist(), len(branch.judge.labels[split])))
        owners += [number] * len(listed)
        genomes += list(plain[listed])
        estimates.append(sizes[listed])
        steady.append(gains[listed])
    estimate, steadiness = np.concatenate(estimates), np.concatenate(steady)
    rows = sum(c.rows for c in curves)

    def candidates(places: Sequence[int], areas: Mapping[int, float]) -> list[Candidate]:
        return [Candidate(mean_at(curves, float(estimate[i])), rows, areas[i]) for i in places]

    first = (
        wanted.target
        if wanted.target is not None
        else None
        if wanted.reference is None
        else wanted.reference - wanted.loss
    )
    aims = [aim for aim in (first, *wanted.keep) if aim is not None]
    best = sorted(layers_of_front(estimate, steadiness, MOST_LISTED), key=lambda i: (estimate[i], i))
    likely = expected_accuracies(candidates(best, dict(enumerate(estimate.tolist()))))
    # what is not worth a synthesis: circuits far from what was asked for, but for a few
    tried = [best[i] for i in nearest(likely, aims, wanted.synthesised)]
    areas: dict[int, float] = {}
    for number, branch in enumerate(branches):
        own = [i for i in tried if owners[i] == number]
        if own:
            areas.update(zip(own, branch.workshop.areas(np.array([genomes[i] for i in own]), on_progress).tolist()))
    front = [tried[i] for i in pareto([(areas[i], float(steadiness[i])) for i in tried])]
    known = candidates(front, areas)
    index, rule, held = choose(known, target=wanted.target, reference=wanted.reference, loss=wanted.loss)
    # what further accuracies ask for stays, too
    others = {choose(known, target=target, reference=None, loss=wanted.loss)[0] for target in wanted.keep}
    kept = thinned([float(steadiness[i]) for i in front], wanted.members, {index, *others})
    expected = expected_accuracies(known)
    members = []
    for k in kept:
        branch = branches[owners[front[k]]]
        genome = branch.workshop.without_unread(genomes[front[k]][None])[0]
        members.append(Picked(branch, genome, float(estimate[front[k]]), areas[front[k]], expected[k]))
    correlation = rank_correlation(estimate[tried], np.array([areas[i] for i in tried]))
    return Choice(tuple(members), kept.index(index), rule, held, correlation)


def nearest(gains: Sequence[float], aims: Sequence[float], count: int) -> list[int]:
    """Return at most *count* places, ascending: half of them those nearest to the *aims*, the others evenly over all *gains*."""
    order = sorted(range(len(gains)), key=lambda i: gains[i])
    if len(order) <= count:
        return sorted(order)
    chosen: set[int] = set()
    for number, aim in enumerate(aims, 1):
        by_distance = [i for i in sorted(order, key=lambda i: (abs(gains[i] - aim), i)) if i not in chosen]
        chosen.update(by_distance[: count * number // (2 * len(aims)) - len(chosen)])
    others = [i for i in order if i not in chosen]
    evenly = np.unique(np.linspace(0, len(others) - 1, count - len(chosen)).round().astype(np.int64))
    return sorted(chosen | {others[i] for i in evenly.tolist()})


def thinned(gains: Sequence[float], count: int, wanted: set[int]) -> list[int]:
    """Return at most *count* places of a front with rising *gains*: those *wanted*, both ends, then what adds most gain."""
    kept = list(range(len(gains)))
    while len(kept) > max(1, count, len(wanted)):
        free = [k for k in range(len(kept)) if kept[k] not in wanted]
        inner = [k for k in free if 0 < k < len(kept) - 1] or free
        # what a place adds over the one before it is what is lost with it
        least = min(inner, key=lambda k: gains[kept[k]] - gains[kept[k - 1]] if k else 0.0)
        kept.pop(least)
    return kept


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Return Spearman's rank correlation of *a* and *b*; None where one of them is the same everywhere, or too short."""
    if len(a) < 3:
        return None
    first, second = _ranks(np.asarray(a)), _ranks(np.asarray(b))
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the rank of each value, the mean of their ranks for equal ones."""
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    _, group = np.unique(values, return_inverse=True)
    return (np.bincount(group, ranks) / np.bincount(group))[group]
