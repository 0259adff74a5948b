"""From everything that the folds of a search found to the members of its front: what is synthesised, kept and chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from approxhw.artifacts.results import AskedAccuracy, FamilySummary, Promise
from approxhw.common.options import Keywords
from approxhw.common.statistics import rank_correlation
from approxhw.numerics.pareto import layers_of_front, pareto_front

from .evolve import distinct
from .families.circuits import FrontCircuit
from .families.merging import HURRIED, FamiliesPart, Wanted
from .families.registry import GENETIC
from .rules.class_rule import AskedClasses, class_curves, worst_expected, worst_loss
from .rules.decision_rule import (
    DOUBT,
    Candidate,
    Curve,
    accuracy_curve,
    choose_candidate,
    expected_accuracies,
    mean_at,
    nested_accuracies,
)
from .rules.honest_rule import promise_of_folds
from .rules.short_lists import nearest, thinned

if TYPE_CHECKING:
    from .fold import Branch

MOST_LISTED = 150
"""About as many circuits of all folds as may come into question for the front, and as many of each for its curve."""


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
    promise: Promise | None = None
    """What the choice holds on folds that neither it nor its circuits saw; None of one fold."""
    ask: Callable[[float], AskedAccuracy | None] | None = None
    """What would be chosen for another accuracy."""
    synthesised: int = 0
    """Circuits of which the members were chosen."""
    stays: frozenset[int] = frozenset()
    """Members that hold other accuracies which were asked for."""


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
    by_class, own_losses = [], list[float]()
    for number, (branch, mine) in enumerate(found):
        plain = distinct(branch.space, mine)
        costs = branch.estimates(plain)
        gains = branch.judge.noisy(plain, "all")
        listed = np.sort(layers_of_front(_points(costs, gains), MOST_LISTED))
        split = branch.judge.split
        checked = branch.judge.accuracies(plain[listed], split)
        assert checked is not None
        curves.append(accuracy_curve(costs[listed, 0].tolist(), checked.tolist(), len(branch.judge.labels[split])))
        if wanted.classes is not None:
            by_class.append(_class_curves(branch, plain[listed], costs[listed, 0].tolist(), wanted.classes))
            own_losses += _own_losses(branch, plain[listed], wanted.classes)
        owners += [number] * len(listed)
        genomes += list(plain[listed])
        estimates.append(costs[listed])
        sizes += branch.estimate(plain)[listed].tolist()
        steady.append(gains[listed])
    estimate, steadiness = np.concatenate(estimates), np.concatenate(steady)
    rows = sum(c.rows for c in curves)
    called: Keywords = {"cost": wanted.costs[0].name, "least": wanted.costs[0].least.format("circuit")}

    model = None if wanted.classes is None else wanted.classes.reference()

    def class_loss(i: int) -> float:
        """Return what the worst class loses in a circuit, on all training rows, or on those that its search has not seen."""
        return 0.0 if model is None else max(own_losses[i], worst_expected(by_class, model, float(estimate[i, 0])))

    def candidates(places: Sequence[int], costs: Mapping[int, float]) -> list[Candidate]:
        return [Candidate(mean_at(curves, float(estimate[i, 0])), rows, costs[i], class_loss(i)) for i in places]

    aims = [aim for aim in (wanted.aim, *wanted.keep) if aim is not None]
    nearby = layers_of_front(_points(estimate, steadiness), MOST_LISTED)
    best = sorted(nearby, key=lambda i: (estimate[i, 0], i))
    likely = expected_accuracies(candidates(best, dict(enumerate(estimate[:, 0].tolist()))))
    most = None if wanted.classes is None else wanted.classes.loss
    if most is not None:  # what loses a class is as far from what was asked for
        likely = [each - max(0.0, class_loss(i) - most) for each, i in zip(likely, best, strict=True)]
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
    if most is not None:  # what holds every class may be beaten by what does not
        kept_classes = [i for i, place in enumerate(tried) if class_loss(place) <= most]
        also = pareto_front(_points(costs[kept_classes], steadiness[tried][kept_classes])) if kept_classes else []
        front = sorted({*front, *(tried[kept_classes[k]] for k in also)}, key=lambda i: (float(measured[i][0]), i))
    known = candidates(front, {i: float(figures[0]) for i, figures in measured.items()})
    # a bound on the loss keeps what holds it on average, too; what further accuracies ask for stays
    asked: Keywords = {"target": wanted.target, "reference": wanted.reference, "loss": wanted.loss}
    stays = {choose_candidate(known, target=target, reference=None, loss=wanted.loss)[0] for target in wanted.keep}
    asked["max_class_loss"] = most
    stays.add(choose_candidate(known, **asked, doubt=DOUBT if wanted.target is not None else 0.0)[0])
    if most is not None:
        stays.add(choose_candidate(known, **asked)[0])
    points = _points(np.array([measured[i] for i in front]), steadiness[front])
    kept = thinned(points, min(wanted.members, HURRIED) if ended() else wanted.members, stays)
    index, rule, held = choose_candidate(known, **asked, **called, among=kept)
    expected = expected_accuracies(known)
    members = []
    for k in kept:
        branch = branches[owners[front[k]]]
        genome = genomes[front[k]]
        if not ended():
            genome = branch.workshop.without_unread(genome[None])[0]
        members.append((Picked(branch, genome, sizes[front[k]], expected[k]), k))
    # what lost an input bit may have become a little cheaper
    members.sort(key=lambda each: float(each[0].branch.workshop.measured(each[0].genome[None])[0, 0]))
    correlation = rank_correlation(estimate[tried, 0], costs[:, 0])
    places = {k: place for place, (_, k) in enumerate(members)}
    over = [float(estimate[i, 0]) for i in front]

    def promise(aim: float | None) -> Promise | None:
        if len(curves) < 2:
            return None
        return promise_of_folds(nested_accuracies(curves, over, aim), [c.rows for c in curves], wanted.test_rows)

    def ask(target: float) -> AskedAccuracy | None:
        found, made = choose_candidate(known, target=target, reference=None, loss=0.0), promise(target)
        return None if made is None else AskedAccuracy(target, found[2], GENETIC, "", known[found[0]].cost, made)

    return Choice(
        members=tuple(member for member, _ in members),
        index=places[index],
        rule=rule,
        held=held,
        rank_correlation=correlation,
        promise=promise(wanted.aim),
        ask=ask,
        synthesised=len(tried),
        stays=frozenset(places[k] for k in stays),
    )


def _class_curves(
    branch: Branch, genomes: np.ndarray, costs: Sequence[float], asked: AskedClasses
) -> list[Curve | None]:
    """Return what circuits of a fold hold of each class on the rows that its search has not seen, over their *costs*."""
    split = branch.judge.split
    return class_curves(costs, branch.judge.by_class(genomes, split, asked.classes), branch.judge.labels[split])


def _own_losses(branch: Branch, genomes: np.ndarray, asked: AskedClasses) -> list[float]:
    """Return what the worst class of each of *genomes* loses on all training rows."""
    bound = asked.bound(asked.labels)
    return [worst_loss(bound.losses(wrong)) for wrong in branch.judge.by_class(genomes, "all", asked.classes)]


def part_of(choice: Choice) -> FamiliesPart:
    """Return what the genetic search chose as a part of the front of all families."""
    circuits = []
    for picked in choice.members:
        workshop, judge, genome = picked.branch.workshop, picked.branch.judge, picked.genome
        train, validation, test = (judge.accuracy(genome, split) for split in ("train", "validation", "test"))
        assert train is not None
        circuits.append(
            FrontCircuit(
                family=GENETIC,
                recipe="",
                fold=picked.branch.number,
                genome=genome,
                estimate=picked.estimate,
                expected=min(1.0, max(0.0, picked.expected)),
                costs=workshop.measured(genome[None])[0],
                train=train,
                validation=validation,
                test=test,
                design=partial(workshop.design, genome),
                origin=workshop.origin,
                made=workshop.made(genome),
            )
        )
    best = max(circuit.expected for circuit in circuits)
    least = min(float(circuit.costs[0]) for circuit in circuits)
    return FamiliesPart(
        circuits=tuple(circuits),
        index=choice.index,
        rule=choice.rule,
        held=choice.held,
        promise=choice.promise,
        stays=choice.stays,
        summaries=(FamilySummary(GENETIC, 0, choice.synthesised, 0, best, least),),
        ask=choice.ask,
        rank_correlation=choice.rank_correlation,
    )


def _shifted(
    tell: Callable[[str, int, int], None] | None, before: int, total: int
) -> Callable[[str, int, int], None] | None:
    """Return what hears of a part, *before* it *before* of *total*, as of the whole."""
    return None if tell is None else lambda step, done, _: tell(step, before + done, total)


def _points(costs: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Return what is to be least: the first cost, accuracy lost, the other costs (float64, N × M)."""
    return np.column_stack([costs[:, 0], -gains, costs[:, 1:]])
