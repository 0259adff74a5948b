"""From everything that the folds of a search found to the members of its front: what is synthesised, kept and chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from approxhw.artifacts.objectives import CIRCUIT, Objective
from approxhw.common.statistics import rank_correlation
from approxhw.numerics.pareto import layers_of_front, pareto_front

from .evolve import distinct
from .rules.decision_rule import Candidate, accuracy_curve, choose_candidate, expected_accuracies, mean_at

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
    costs: tuple[Objective, ...] = (CIRCUIT["area"],)
    """What is to be least beside the errors; the first is the one that circuits are sorted by."""


HURRIED = 6
"""Circuits that are synthesised, and members of the front, once a search was ended: it is to be there in seconds."""


@dataclass(frozen=True, eq=False)
class Picked:
    """A member of the front: a genome of a fold, its estimated area in mm², what it is expected to hold."""

    branch: Branch
    genome: np.ndarray
    estimate: float
    expected: float


@dataclass(frozen=True, eq=False)
class Choice:
    """The members of the front, by rising cost, and which of them is chosen by what rule."""

    members: tuple[Picked, ...]
    index: int
    rule: str
    held: bool
    rank_correlation: float | None
    """Of estimated and synthesised costs (areas, by default) of all that was synthesised for it."""


def pick(
    found: Sequence[tuple[Branch, np.ndarray]],
    wanted: Wanted,
    on_progress: Callable[[str, int, int], None] | None,
    stop: Callable[[], bool] | None = None,
) -> Choice:
    """Synthesise what may be best of the genomes *found* by each fold, keep what nothing beats, and choose one.

    Circuits of all folds are held against each other by their costs and by their accuracy on noisy copies of all training
    rows; what they hold on rows never seen is told by the validation rows of each fold. Once ``stop`` says so, no more is
    synthesised than what has begun: of what is there the front is made.
    """
    ended = stop or (lambda: False)
    branches = [branch for branch, _ in found]
    owners, genomes, estimates, sizes, steady, curves = [], [], [], [], [], []
    for number, (branch, mine) in enumerate(found):
        plain = distinct(branch.space, mine)
        costs = branch.estimates(plain)
        gains = branch.judge.noisy(plain, "all")
        listed = np.sort(layers_of_front(_points(costs, gains), MOST_LISTED))
        split = branch.judge.split
        checked = branch.judge.accuracies(plain[listed], split)
        assert checked is not None
        curves.append(accuracy_curve(costs[listed, 0].tolist(), checked.tolist(), len(branch.judge.labels[split])))
        owners += [number] * len(listed)
        genomes += list(plain[listed])
        estimates.append(costs[listed])
        sizes += branch.estimate(plain)[listed].tolist()
        steady.append(gains[listed])
    estimate, steadiness = np.concatenate(estimates), np.concatenate(steady)
    rows = sum(c.rows for c in curves)
    called = {"cost": wanted.costs[0].name, "least": wanted.costs[0].least.format("circuit")}

    def candidates(places: Sequence[int], costs: Mapping[int, float]) -> list[Candidate]:
        return [Candidate(mean_at(curves, float(estimate[i, 0])), rows, costs[i]) for i in places]

    first = (
        wanted.target
        if wanted.target is not None
        else None
        if wanted.reference is None
        else wanted.reference - wanted.loss
    )
    aims = [aim for aim in (first, *wanted.keep) if aim is not None]
    nearby = layers_of_front(_points(estimate, steadiness), MOST_LISTED)
    best = sorted(nearby, key=lambda i: (estimate[i, 0], i))
    likely = expected_accuracies(candidates(best, dict(enumerate(estimate[:, 0].tolist()))))
    # what is not worth a synthesis: circuits far from what was asked for, but for a few
    tried = [best[i] for i in nearest(likely, aims, wanted.synthesised)]
    measured: dict[int, np.ndarray] = {}
    aim = aims[0] if aims else 1.0
    distance = {place: abs(likely[k] - aim) for k, place in enumerate(best)}
    for number, branch in enumerate(branches):
        own = sorted((i for i in tried if owners[i] == number), key=lambda i: (distance[i], i))
        for begin in range(0, len(own), batch := 2 * branch.workshop.jobs):
            if measured and ended():
                break
            part = own[begin : begin + batch]
            told = _shifted(on_progress, begin, len(own))
            measured.update(zip(part, branch.workshop.measured(np.array([genomes[i] for i in part]), told)))
    tried = [i for i in tried if i in measured]
    costs = np.array([measured[i] for i in tried])
    front = [tried[i] for i in pareto_front(_points(costs, steadiness[tried]))]
    known = candidates(front, {i: float(figures[0]) for i, figures in measured.items()})
    index, rule, held = choose_candidate(
        known, target=wanted.target, reference=wanted.reference, loss=wanted.loss, **called
    )
    # what further accuracies ask for stays, too
    others = {choose_candidate(known, target=target, reference=None, loss=wanted.loss)[0] for target in wanted.keep}
    points = _points(np.array([measured[i] for i in front]), steadiness[front])
    members_at_most = min(wanted.members, HURRIED) if ended() else wanted.members
    kept = thinned(points, members_at_most, {index, *others})
    expected = expected_accuracies(known)
    members = []
    for k in kept:
        branch = branches[owners[front[k]]]
        genome = genomes[front[k]]
        if not ended():
            genome = branch.workshop.without_unread(genome[None])[0]
        members.append((Picked(branch, genome, sizes[front[k]], expected[k]), k == index))
    # what lost an input bit may have become a little cheaper
    members.sort(key=lambda each: float(each[0].branch.workshop.measured(each[0].genome[None])[0, 0]))
    correlation = rank_correlation(estimate[tried, 0], costs[:, 0])
    chosen = next(i for i, (_, is_chosen) in enumerate(members) if is_chosen)
    return Choice(tuple(member for member, _ in members), chosen, rule, held, correlation)


def _shifted(
    tell: Callable[[str, int, int], None] | None, before: int, total: int
) -> Callable[[str, int, int], None] | None:
    """Return what hears of a part, *before* it *before* of *total*, as of the whole."""
    return None if tell is None else lambda step, done, _: tell(step, before + done, total)


def _points(costs: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Return what is to be least: the first cost, accuracy lost, the other costs (float64, N × M)."""
    return np.column_stack([costs[:, 0], -gains, costs[:, 1:]])


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


def thinned(points: np.ndarray, count: int, wanted: set[int]) -> list[int]:
    """Return at most *count* places of a front (*points*: cost, accuracy lost, other costs; by rising cost), ascending.

    Those *wanted* stay. Of two objectives so do both ends, then what adds most accuracy over the one before. Of more, what
    is best in one of them stays, and the others go one after the other, always one of the two that lie nearest together.
    """
    kept = list(range(len(points)))
    gains = -points[:, 1]
    best = {int(i) for i in points.argmin(axis=0)} if len(points) else set()
    while len(kept) > max(1, count, len(wanted)):
        free = [k for k in range(len(kept)) if kept[k] not in wanted]
        if points.shape[1] == 2:
            inner = [k for k in free if 0 < k < len(kept) - 1] or free
            # what a place adds over the one before it is what is lost with it
            least = min(inner, key=lambda k: gains[kept[k]] - gains[kept[k - 1]] if k else 0.0)
        else:
            inner = [k for k in free if kept[k] not in best] or free
            least = min(inner, key=_distance(points[kept]))
        kept.pop(least)
    return kept


def _distance(points: np.ndarray) -> Callable[[int], float]:
    """Return what gives the distance of a point to its nearest neighbour, every objective counted by its range."""
    reach = np.ptp(points, axis=0)
    scaled = points / np.where(reach > 0, reach, 1)
    distances = np.sqrt(((scaled[:, None] - scaled[None]) ** 2).sum(axis=2))
    np.fill_diagonal(distances, np.inf)
    nearest = distances.min(axis=1)
    return lambda k: float(nearest[k])
