"""From the study of recipes to a front: circuits are fitted on all rows and synthesised, one is chosen, and promised of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from approxhw.artifacts.design import Design
from approxhw.artifacts.results import AskedAccuracy, FamilySummary, Promise
from approxhw.common.statistics import majority_share
from approxhw.common.tools import tool_threads
from approxhw.dse.rules.honest_rule import (
    RULES,
    HeldAsked,
    fit_robustly,
    judged_recipes,
    nested_picks,
    promise_of,
    promised_right,
)
from approxhw.dse.rules.recipe_study import Fitted
from approxhw.dse.rules.short_lists import nearest, thinned
from approxhw.ir.evaluation import accuracy
from approxhw.ir.graph import Graph
from approxhw.numerics.pareto import layers_of_front, pareto_front

from .circuits import FrontCircuit, Measured, Origin, Progress, circuit_design, cleaned_up, each_of, measured_circuit
from .kept_folds import Watch
from .merging import HURRIED, FamiliesPart, Wanted
from .registry import family_named
from .searching import Studied
from .synthesised import Synthesised

RULE = "H"
"""Standard errors that are taken off: as many as off the curves of masked networks."""

OF_EACH = 2
"""Circuits of each family that are synthesised whatever others have."""


class RecipeFront:
    """Fits and synthesises circuits of recipes when they are asked for, and knows what all recipes cost by then.

    ``origin``: of all circuits, with the search's line of the ledger but for family and recipe.
    """

    def __init__(self, studied: Studied, origin: Origin, wanted: Wanted, watch: Watch) -> None:
        self.studied, self.origin, self.wanted, self.watch = studied, origin, wanted, watch
        self.study, self.owners = studied.study, studied.owners
        study = studied.study
        judged = judged_recipes(study, study.folds, HeldAsked(0.0), RULE)
        self.accuracy, self.expected = judged.accuracy, judged.margin
        self.estimates = study.costs[study.folds]
        self.made: dict[int, FrontCircuit] = {}

    def listed(self) -> list[int]:
        """Return the recipes that are worth a synthesis: the best, those near what is asked for, and some of each family.

        What always answers the most frequent class is not, unless there is nothing else.
        """
        points = np.column_stack([self.estimates, -self.expected])
        least = majority_share(self.study.labels) or 0.0
        useful = np.flatnonzero(self.accuracy > least) if (self.accuracy > least).any() else np.arange(len(points))
        aims = [aim for aim in (self.wanted.aim, *self.wanted.keep) if aim is not None]

        def near(places: Sequence[int], count: int) -> set[int]:
            return {places[i] for i in nearest([float(self.expected[i]) for i in places], aims, count)}

        best = useful[sorted(layers_of_front(points[useful], self.wanted.synthesised))].tolist()
        found = near(best, self.wanted.synthesised)
        for name in dict.fromkeys(self.owners):
            mine = [i for i in useful.tolist() if self.owners[i] == name]
            found |= near([mine[i] for i in pareto_front(points[mine])], OF_EACH) if mine else set()
        return sorted(found)

    def make(self, recipes: Sequence[int]) -> None:
        """Fit and synthesise those of *recipes* (numbers) that are not there yet; fewer once the search is to end."""
        studied, tell, fitted = self.studied, self.watch.on_progress, dict[int, Fitted]()
        todo = [i for i in recipes if i not in self.made]
        for name in dict.fromkeys(self.owners[i] for i in todo):
            mine = [i for i in todo if self.owners[i] == name]
            family = family_named(name)
            fit, fits = family.fit(studied.facts), 1 if self.watch.ended() else family.fits
            named = [self.study.recipes[i] for i in mine]
            # all of them at once, whatever the jobs: how a tree grows may depend on the sizes asked for beside it
            with tool_threads(min(self.watch.jobs, fits)) as pool:
                circuits = fit_robustly(
                    fit, studied.codes, self.study.labels, named, fits, self.study.seed, each=pool.map
                )
            fitted.update(zip(mine, circuits, strict=True))
        for begin in range(0, len(todo), batch := 2 * self.watch.jobs):
            if begin and self.watch.ended():
                return
            part = todo[begin : begin + batch]
            told = None if tell is None else partial(_shifted, tell, begin, len(todo))
            made = each_of(lambda i: self._circuit(i, fitted[i]), part, self.watch.jobs, "synthesise", told)
            self.made.update(zip(part, made, strict=True))

    def _circuit(self, i: int, fitted: Fitted) -> FrontCircuit:
        name, recipe, data = self.owners[i], self.study.recipes[i], self.origin.data
        found = family_named(name).graph(self.studied.facts, fitted.made)
        judged = self.study.judged[-1]
        origin = replace(self.origin, search=_spelled(self.origin.search, name, str(recipe)))
        measured: Measured = measured_circuit(cleaned_up(found, data)[0], origin, self.wanted.costs)
        validation = float(self.study.right[-1][i][judged].mean())
        notes = (
            f"family {name}: {recipe}",
            f"{100 * validation:.2f} % of {int(judged.sum())} training rows put aside in turn; "
            f"the circuit is the middle one of {family_named(name).fits} fits on all of them",
        )
        test = accuracy(found, data.X_test, data.y_test) if len(data.y_test) else None
        train = accuracy(found, data.X_train, data.y_train)
        assert train is not None
        return FrontCircuit(
            family=name,
            recipe=str(recipe),
            fold=0,
            genome=np.zeros(0, dtype=np.int32),
            estimate=fitted.cost,
            expected=float(np.clip(self.expected[i], 0, 1)),
            costs=np.array([cost.value(measured) for cost in self.wanted.costs]),
            train=train,
            validation=validation,
            test=test,
            design=partial(_design, origin, found, notes, measured.made),
            origin=origin,
            made=measured.made,
        )

    def costs(self) -> np.ndarray:
        """Return what each recipe costs (float64, P): synthesised, else its estimate in proportion to others of its family."""
        found = np.array(self.estimates, dtype=np.float64)
        for name in dict.fromkeys(self.owners):
            mine = [i for i, owner in enumerate(self.owners) if owner == name]
            known = [i for i in mine if i in self.made]
            ratios = [self.made[i].costs[0] / self.made[i].estimate for i in known if self.made[i].estimate > 0]
            found[mine] *= float(np.median(ratios)) if ratios else 1.0
            for i in known:
                found[i] = self.made[i].costs[0]
        return found

    def choose(self, aim: float | None) -> tuple[int, bool]:
        """Return the cheapest recipe that is expected to hold *aim*, synthesised, and True; else the best, and False."""
        while True:
            best, held = self._picked(aim)
            if best in self.made:
                return best, held
            self.make([best])

    def _picked(self, aim: float | None) -> tuple[int, bool]:
        judged = judged_recipes(self.study, self.study.folds, self._asked(aim), RULE)
        best, held = judged.pick(self.costs())
        return best, held or aim is None

    def _asked(self, aim: float | None) -> HeldAsked:
        """Return *aim* as a target; without one the most accurate is asked for.

        The loss that was asked for is one against the model on the same rows: where both are right, or both wrong, there is no
        chance in it.
        """
        classes = self.wanted.classes if aim == self.wanted.aim else None
        if self.wanted.paired and aim == self.wanted.aim:
            return HeldAsked(max_loss=self.wanted.loss, reference=self.wanted.right, classes=classes)
        return HeldAsked(1.0 if aim is None else min(1.0, max(0.0, aim)), classes=classes)

    def promise(self, aim: float | None) -> Promise | None:
        """Return what the choice for *aim* holds on folds that it has not seen; None where the study was ended."""
        if not self.study.whole:
            return None
        estimates = np.where(self.estimates > 0, self.estimates, 1.0)
        moved = np.where(self.estimates > 0, self.costs() / estimates, 1.0)
        nested = nested_picks(self.study, self._asked(aim), RULE, costs=self.study.costs * moved)
        return promise_of(promised_right(self.study, nested), self.study.fold, self.wanted.test_rows)

    def ask(self, target: float) -> AskedAccuracy | None:
        """Return what would be chosen for the accuracy *target*, synthesised or not, and its promise; None without one."""
        promise = self.promise(target)
        if promise is None:
            return None
        best, held = self._picked(target)
        recipe = str(self.study.recipes[best])
        return AskedAccuracy(target, held, self.owners[best], recipe, float(self.costs()[best]), promise)

    def summaries(self) -> tuple[FamilySummary, ...]:
        """Return what each family came to; how many members it has is not known yet."""
        found = []
        for name in dict.fromkeys(self.owners):
            made = [circuit for i, circuit in self.made.items() if self.owners[i] == name]
            best = max((circuit.expected for circuit in made), default=0.0)
            least = min((float(circuit.costs[0]) for circuit in made), default=0.0)
            found.append(FamilySummary(name, self.owners.count(name), len(made), 0, best, least))
        return tuple(found)


def front_of_recipes(front: RecipeFront, cost: str, least: str) -> FamiliesPart:
    """Return the circuits of *front* that nothing beats, the one that is chosen, and what is promised of it."""
    wanted = front.wanted
    front.make(front.listed() if not front.watch.ended() else front.listed()[:HURRIED])
    best, held = front.choose(wanted.aim)
    stays = {front.choose(aim)[0] for aim in wanted.keep}
    numbers = sorted(front.made)
    points = np.array([[front.made[i].costs[0], -front.made[i].expected, *front.made[i].costs[1:]] for i in numbers])
    kept = {numbers[k] for k in pareto_front(points)} | {best, *stays}
    order = [k for k in np.lexsort((np.arange(len(points)), *points.T[::-1])).tolist() if numbers[k] in kept]
    places = thinned(
        points[order], wanted.members, {k for k, place in enumerate(order) if numbers[place] in {best, *stays}}
    )
    order = [numbers[order[k]] for k in places]
    asked = "the most accurate circuit" if wanted.aim is None else f"{least} expected to hold {100 * wanted.aim:.2f} %"
    doubt = f"made to rise with {cost}, less {RULES[RULE]:g} standard errors"
    if wanted.paired:
        asked = f"{least} expected to lose at most {100 * wanted.loss:g} % against the model"
        doubt += " of the difference on the same rows"
    if wanted.classes is not None:
        asked += wanted.classes.words()
    aside = len(np.unique(front.study.fold[front.study.judged[-1]]))  # fewer where the search was ended
    rule = f"{asked} (of recipes: accuracy on {aside} folds put aside, {doubt})"
    if not held:
        rule += "; there is none, so it is the one that is expected to hold most"
    return FamiliesPart(
        circuits=tuple(front.made[i] for i in order),
        index=order.index(best),
        rule=rule,
        held=held,
        promise=front.promise(wanted.aim),
        stays=frozenset(order.index(i) for i in stays),
        summaries=front.summaries(),
        ask=front.ask,
    )


def _shifted(tell: Progress, before: int, total: int, step: str, done: int, of: int) -> None:
    """Tell of a part, *before* it *before* of *total*, as of the whole."""
    tell(step, before + done, total)


def _spelled(search: str, family: str, recipe: str) -> str:
    """Return the line *search* (``search{…}``) with family and recipe; commas of these would end an option."""
    told = f"family={family},recipe={recipe.replace(', ', '; ')}"
    return f"{search[:-1]},{told}}}" if search.endswith("}") else f"{search}{{{told}}}"


def _design(origin: Origin, found: Graph, notes: tuple[str, ...], made: Synthesised | None, number: str) -> Design:
    return circuit_design(origin, found, number, (f"member {number} of the front", *notes), made=made)
