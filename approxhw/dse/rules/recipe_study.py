"""What recipes for circuits hold on rows that their circuits were not fitted on: folds, and every two of them, left out.

Inner and outer folds are the same ones: a circuit fitted without folds i and j judges recipes on fold i for outer fold j, and on
j for i, so that K folds take K (K + 1) / 2 fits of all recipes. What was left out first judges first: a study that was ended on
the way still says something.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol

import numpy as np

from approxhw.common.errors import InvalidDataError, Problem

FOLDS = 5
"""Folds where nothing else is asked for."""


class RecipeLike(Hashable, Protocol):
    """How a circuit is fitted. Recipes of one ``path`` differ in size alone: what costs more is no worse, but for chance."""

    @property
    def path(self) -> str:
        """Family and all options but the size."""
        ...


@dataclass(frozen=True, eq=False)
class Fitted:
    """A circuit that was fitted: what it answers (codes, R × F → classes, R), what it costs, and what it is."""

    answers: Callable[[np.ndarray], np.ndarray]
    cost: float
    made: object = None


Fit = Callable[[np.ndarray, np.ndarray, Sequence[RecipeLike], int], Sequence[Fitted]]
"""(codes, labels, recipes, seed) → a circuit for each recipe."""


@dataclass(frozen=True, eq=False)
class RecipeStudy:
    """What every recipe holds on rows that its circuits were not fitted on. K folds, P recipes, R rows.

    ``right[j]``: bool, P × R, of circuits fitted without fold j and the row's own; ``right[K]``: without its own alone.
    ``judged``: bool, (K + 1) × R, of which rows ``right`` says so: all but those of fold j, unless the study was ended.
    ``costs``: float64, (K + 1) × P, means of these circuits' costs; NaN where there are none yet.
    """

    recipes: tuple[RecipeLike, ...]
    labels: np.ndarray
    fold: np.ndarray
    """int64, R: the fold of each row."""
    right: np.ndarray
    judged: np.ndarray
    costs: np.ndarray
    seed: int

    @property
    def folds(self) -> int:
        """How many there are."""
        return len(self.right) - 1

    @property
    def whole(self) -> bool:
        """Whether every fit is there, so that a promise can be made."""
        outside = self.fold[None] != np.arange(self.folds + 1)[:, None]
        return bool((self.judged == outside).all())


Study = tuple[tuple[int, ...], list[np.ndarray], np.ndarray]
"""Folds left out, right answers on each of them (bool, P × rows), costs (P)."""

Each = Callable[[Callable[[tuple[int, ...]], Study], Sequence[tuple[int, ...]]], Iterable[Study]]
"""What maps the fits, such as ``map``, or that of a pool of threads; it may end early."""


def stratified_folds(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return the fold of each row (int64, R): every class is dealt out evenly, in an order that *seed* decides."""
    rng = np.random.default_rng(seed)
    fold = np.zeros(len(labels), dtype=np.int64)
    dealt = 0
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        fold[rows] = (dealt + np.arange(len(rows))) % folds
        dealt += len(rows)
    return fold


def study_recipes(
    fit: Fit,
    codes: np.ndarray,
    labels: np.ndarray,
    recipes: Sequence[RecipeLike],
    folds: int = FOLDS,
    seed: int = 0,
    each: Each = map,
) -> RecipeStudy:
    """Fit all *recipes* without every fold, and without every two, and note on which rows they are right.

    *each*: what maps the fits. Where it ends early, the study says of which rows something is known.
    """
    codes, labels = np.asarray(codes), np.asarray(labels)
    _check(codes, labels, recipes, folds)
    fold = stratified_folds(labels, folds, seed)
    right = np.zeros((folds + 1, len(recipes), len(labels)), dtype=np.bool_)
    judged = np.zeros((folds + 1, len(labels)), dtype=np.bool_)
    costs, counts = np.zeros((folds + 1, len(recipes))), np.zeros((folds + 1, 1))

    def one(without: tuple[int, ...]) -> Study:
        rows = ~np.isin(fold, without)
        parts = [np.flatnonzero(fold == i) for i in without]
        circuits = fit(codes[rows], labels[rows], recipes, 0)
        answers = [[circuit.answers(codes[part]) == labels[part] for circuit in circuits] for part in parts]
        return without, [np.array(part) for part in answers], np.array([circuit.cost for circuit in circuits])

    for without, answers, cost in each(one, left_out(folds)):
        for place, i in enumerate(without):
            outer = folds if len(without) == 1 else without[1 - place]
            right[outer][:, fold == i] = answers[place]
            judged[outer, fold == i] = True
            costs[outer] += cost
            counts[outer] += 1
    with np.errstate(invalid="ignore"):
        means = costs / counts
    return RecipeStudy(tuple(recipes), labels, fold, right, judged, means, seed)


def left_out(folds: int) -> list[tuple[int, ...]]:
    """Return the folds that each fit is made without, single ones first."""
    return [*((i,) for i in range(folds)), *combinations(range(folds), 2)]


def joined_studies(studies: Sequence[RecipeStudy]) -> RecipeStudy:
    """Return one study of the recipes of all *studies*, made on the same rows by the same folds; what all judged is judged."""
    first = studies[0]
    return RecipeStudy(
        tuple(recipe for study in studies for recipe in study.recipes),
        first.labels,
        first.fold,
        np.concatenate([study.right for study in studies], axis=1),
        np.logical_and.reduce([study.judged for study in studies]),
        np.concatenate([study.costs for study in studies], axis=1),
        first.seed,
    )


def _check(codes: np.ndarray, labels: np.ndarray, recipes: Sequence[RecipeLike], folds: int) -> None:
    found = []
    if len(codes) != len(labels):
        found.append(Problem("labels", f"{len(labels)} of them for {len(codes)} rows"))
    if folds < 3:
        found.append(Problem("folds", f"{folds} of them; nested ones take 3 or more"))
    elif len(labels) < 2 * folds:
        why = f"{len(labels)} training rows are too few for {folds} folds"
        found.append(Problem("rows", why, f"give at least {2 * folds}"))
    if not recipes:
        found.append(Problem("recipes", "there is none to choose from"))
    if found:
        raise InvalidDataError("honest rule", found)
