"""The honest rule: folds of the training rows choose a recipe, all rows fit its circuit, nested folds say what it will hold.

A recipe (family, price, size) is judged by circuits that were fitted without the rows that judge them. Choosing the best of
many recipes by the same rows promises too much; so the promise is what the whole procedure, choice and all, holds on folds
that neither its choice nor its fit has seen. Inner and outer folds are the same ones: a circuit fitted without folds i and j
judges recipes on fold i for outer fold j, and on j for i, so that K folds take K (K + 1) / 2 fits of all recipes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol

import numpy as np

from approxhw.common.errors import InvalidDataError, OptionError, Problem
from approxhw.common.statistics import isotonic, majority_share, no_better


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

RULES = {"H": 0.5, "S": 1.0, "T": 1.0}
"""Standard errors that are taken off what folds say; T counts the noise of the test sample, too."""

FOLDS, FITS = 5, 5
"""Folds, and fits of the recipe that was chosen, of which the robust middle one is taken."""

LEVEL = 1.96
"""Standard errors to either side of a promise: 95 % of circuits lie within, where errors are normal."""

_FITTED, _DIVIDED = 1, 2  # seeds of further fits, and of further divisions into folds


@dataclass(frozen=True, eq=False)
class HeldAsked:
    """What a circuit must hold: an accuracy, or at most so much less than a reference, whose right rows are known."""

    accuracy: float | None = None
    max_loss: float | None = None
    reference: np.ndarray | None = None
    """bool, R: whether what is replaced is right on each training row that it has not learnt from."""

    def __post_init__(self) -> None:
        """Refuse a target of neither or of both kinds."""
        why = None
        if (self.accuracy is None) == (self.max_loss is None):
            why = "one of accuracy and max_loss is asked for, not both and not neither"
        elif self.max_loss is not None and self.reference is None:
            why = "a bound on the loss needs the rows on which the reference is right"
        elif not 0 <= (self.max_loss if self.accuracy is None else self.accuracy) <= 1:  # type: ignore[operator]
            why = "accuracies and losses are shares in 0…1"
        if why:
            raise OptionError("honest rule", [Problem("target", why)])

    def asked(self) -> str:
        """Return it as a text."""
        if self.accuracy is not None:
            return f"an accuracy of {100 * self.accuracy:.2f} %"
        return f"a loss of at most {100 * (self.max_loss or 0.0):g} %"


@dataclass(frozen=True, eq=False)
class RecipeStudy:
    """What every recipe holds on rows that its circuits were not fitted on. K folds, P recipes, R rows.

    ``right[j]``: bool, P × R, of circuits fitted without fold j and the row's own; ``right[K]``: without its own alone.
    ``costs``: float64, (K + 1) × P, means of these circuits' costs.
    """

    recipes: tuple[RecipeLike, ...]
    labels: np.ndarray
    fold: np.ndarray
    """int64, R: the fold of each row."""
    right: np.ndarray
    costs: np.ndarray
    shares: np.ndarray
    """float64, P × R: of several divisions into folds, the share in which circuits fitted without the row's fold are right."""
    seed: int

    @property
    def folds(self) -> int:
        """How many there are."""
        return len(self.right) - 1


@dataclass(frozen=True, eq=False)
class RecipeChoice:
    """The recipe that was chosen, its circuit, and what is promised of it."""

    recipe: RecipeLike
    circuit: Fitted
    rule: str
    held: bool
    """Whether a recipe was expected to hold what was asked for."""
    expected: float
    """What folds say of the recipe: too much, as it was chosen by them."""
    promised: float
    """Accuracy of the whole procedure on folds that neither choice nor fit saw."""
    low: float
    high: float
    """Ends of the interval in which the accuracy on new rows, as many as were asked about, is to be expected."""
    nested: tuple[RecipeLike, ...]
    """What was chosen without each fold."""
    notes: tuple[str, ...]


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
    each: Callable[[Callable[[tuple[int, ...]], Study], Iterable[tuple[int, ...]]], Iterable[Study]] = map,
    repeats: int = 1,
) -> RecipeStudy:
    """Fit all *recipes* without every fold, and without every two, and note on which rows they are right.

    *each*: what maps the fits, such as the ``map`` of a pool of threads. *repeats*: divisions into folds that the choice is the
    mean of; nested folds are those of the first alone, as circuits of others have learnt from the rows that they keep apart.
    """
    codes, labels = np.asarray(codes), np.asarray(labels)
    _check(codes, labels, recipes, folds)
    seeds = [seed, *(int(s) for s in np.random.SeedSequence((seed, _DIVIDED)).generate_state(max(0, repeats - 1)))]
    divisions = [stratified_folds(labels, folds, s) for s in seeds]
    right = np.zeros((folds + 1, len(recipes), len(labels)), dtype=np.bool_)
    costs = np.zeros((folds + 1, len(recipes)))
    shares = np.zeros((len(recipes), len(labels)))
    left_out = [
        *((0, i, j) for i, j in combinations(range(folds), 2)),
        *((division, i) for division in range(len(divisions)) for i in range(folds)),
    ]

    def one(part: tuple[int, ...]) -> Study:
        fold, without = divisions[part[0]], part[1:]
        rows = ~np.isin(fold, without)
        judged = [np.flatnonzero(fold == i) for i in without]
        circuits = fit(codes[rows], labels[rows], recipes, 0)
        answers = [[circuit.answers(codes[rest]) == labels[rest] for circuit in circuits] for rest in judged]
        return part, [np.array(rest) for rest in answers], np.array([circuit.cost for circuit in circuits])

    for (division, *without), answers, cost in each(one, left_out):
        for place, i in enumerate(without):
            outer = folds if len(without) == 1 else without[1 - place]
            if not division:
                right[outer][:, divisions[0] == i] = answers[place]
            if outer == folds:
                shares[:, divisions[division] == i] += answers[place] / len(divisions)
            costs[outer] += cost / (folds * len(divisions) if outer == folds else folds - 1)
    return RecipeStudy(tuple(recipes), labels, divisions[0], right, costs, shares, seed)


Study = tuple[tuple[int, ...], list[np.ndarray], np.ndarray]
"""(division, folds left out), right answers on each of them (bool, P × rows), costs (P)."""


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


def smoothed_by_path(recipes: Sequence[RecipeLike], costs: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return *values* (P) made to rise with *costs* along each path: what costs more is no worse, but for chance."""
    found = np.array(values, dtype=np.float64)
    paths: dict[str, list[int]] = {}
    for place, recipe in enumerate(recipes):
        paths.setdefault(recipe.path, []).append(place)
    for places in paths.values():
        order = sorted(places, key=lambda i: (costs[i], i))
        found[order] = isotonic(found[order].tolist())
    return found


def pick_recipe(
    recipes: Sequence[RecipeLike], costs: np.ndarray, right: np.ndarray, target: HeldAsked, rule: str, doubt: float,
    rows: np.ndarray, judged: int, test_rows: int | None,
) -> tuple[int, bool, float]:  # fmt: skip
    """Return which of *recipes* is the cheapest that is expected to hold *target*, whether one is, and its accuracy.

    ``right``: P × n, bool or a share of several divisions into folds, on the training rows of the numbers *rows*. Standard
    errors are those of *judged* rows: without a fold as with it, so that the procedure doubts as much. Where none is expected to
    hold it: the best, the cheaper of equals.
    """
    accuracy = smoothed_by_path(recipes, costs, right.mean(axis=1))
    count = right.shape[1]
    if target.accuracy is not None:
        margin = accuracy - target.accuracy
        variance = np.maximum(accuracy * (1 - accuracy), 1 / (4 * count))
    else:
        assert target.reference is not None
        reference = target.reference[rows]
        margin = accuracy - (float(reference.mean()) - float(target.max_loss or 0.0))
        # errors of circuit and reference on the same rows: only rows on which they differ are chance
        differ = np.abs(right - reference[None].astype(np.float64)).mean(axis=1)
        variance = np.maximum(differ - (right.mean(axis=1) - reference.mean()) ** 2, 1 / (4 * count))
    share = 1 / judged + (1 / test_rows if rule == "T" and test_rows else 0.0)
    expected = margin - doubt * np.sqrt(variance * share)
    held = np.flatnonzero(expected >= -1e-12)
    if len(held):
        best = min(held.tolist(), key=lambda i: (costs[i], -accuracy[i], i))
        return best, True, float(accuracy[best])
    best = min(range(len(recipes)), key=lambda i: (-expected[i], costs[i], i))
    return best, False, float(accuracy[best])


def robust_middle(circuits: Sequence[Fitted], codes: np.ndarray) -> Fitted:
    """Return the one of *circuits* that answers most like all the others on *codes*; the cheaper of equals."""
    answers = np.array([circuit.answers(codes) for circuit in circuits])
    alike = [int((answers == mine).sum()) for mine in answers]
    return circuits[min(range(len(circuits)), key=lambda i: (-alike[i], circuits[i].cost, i))]


def fit_recipe(
    fit: Fit, codes: np.ndarray, labels: np.ndarray, recipe: RecipeLike, fits: int = FITS, seed: int = 0
) -> Fitted:
    """Return the robust middle one of *fits* circuits of *recipe*, fitted on all rows by seed 0 and by further seeds."""
    seeds = [0, *(int(s) for s in np.random.SeedSequence((seed, _FITTED)).generate_state(max(0, fits - 1)))]
    return robust_middle([fit(codes, labels, [recipe], s)[0] for s in seeds], codes)


Finish = Callable[[Fitted, np.ndarray, np.ndarray], Fitted]
"""(circuit, codes, labels) → a cheaper one, by these rows alone."""


def _finished(
    fit: Fit, codes: np.ndarray, labels: np.ndarray, recipe: RecipeLike, fits: int, seed: int, finish: Finish | None
) -> Fitted:
    made = fit_recipe(fit, codes, labels, recipe, fits, seed)
    return made if finish is None else finish(made, codes, labels)


def choose_from_study(
    study: RecipeStudy,
    fit: Fit,
    codes: np.ndarray,
    target: HeldAsked,
    *,
    rule: str = "T",
    test_rows: int | None = None,
    fits: int = FITS,
    finish: Finish | None = None,
    kept: dict[tuple[int, RecipeLike], Fitted] | None = None,
) -> RecipeChoice:
    """Return the recipe that *study* says is the cheapest to hold *target*, its circuit on all rows, and the promise.

    *rule*: one of :data:`RULES`. *test_rows*: rows of the sample that will judge it, where that is known: the interval, and
    rule T, count their noise, too. *finish*: what is done to circuits of chosen recipes with the rows that they were fitted on,
    inside folds as in the end, so that the promise is one of finished circuits. *kept*: circuits of the folds, kept from choice
    to choice.
    """
    if rule not in RULES:
        raise OptionError("honest rule", [Problem("rule", f"there is no {rule!r}; there are {', '.join(RULES)}")])
    labels, fold, folds = study.labels, study.fold, study.folds
    kept = {} if kept is None else kept
    doubt = RULES[rule]
    everywhere = np.arange(len(labels))
    best, held, expected = pick_recipe(
        study.recipes, study.costs[folds], study.shares, target, rule, doubt, everywhere, len(labels), test_rows
    )
    right = np.zeros(len(labels), dtype=np.bool_)
    nested = []
    for j in range(folds):
        rows, outside = np.flatnonzero(fold != j), np.flatnonzero(fold == j)
        found, _, _ = pick_recipe(
            study.recipes, study.costs[j], study.right[j][:, rows], target, rule, doubt, rows, len(labels), test_rows
        )
        recipe = study.recipes[found]
        if (j, recipe) not in kept:
            kept[j, recipe] = _finished(fit, codes[rows], labels[rows], recipe, fits, study.seed, finish)
        right[outside] = kept[j, recipe].answers(codes[outside]) == labels[outside]
        nested.append(recipe)
    recipe = study.recipes[best]
    if (-1, recipe) not in kept:
        kept[-1, recipe] = _finished(fit, codes, labels, recipe, fits, study.seed, finish)
    promised = float(right.mean())
    error = promise_error(right, fold, test_rows)
    chosen = kept[-1, recipe]
    told = f"the cheapest recipe expected to hold {target.asked()} (rule {rule}, {folds} folds)"
    if not held:
        told += "; there is none, so it is the most accurate"
    notes = no_better("the chosen recipe", promised, majority_share(labels), "training rows put aside")
    return RecipeChoice(
        recipe, chosen, told, held, expected, promised, max(0.0, promised - LEVEL * error),
        min(1.0, promised + LEVEL * error), tuple(nested), tuple(notes),
    )  # fmt: skip


def promise_error(right: np.ndarray, fold: np.ndarray, test_rows: int | None) -> float:
    """Return the standard error of a promise: of rows that folds judged it by, of those that will, and between circuits.

    ``right``: bool, R, of the procedure on folds it has not seen. What accuracies of the folds differ by more than chance
    lets them is how much one circuit of the procedure differs from another.
    """
    p, count = float(right.mean()), len(right)
    variance = max(p * (1 - p), 1 / (4 * count))
    means, sizes = zip(*((right[fold == j].mean(), (fold == j).sum()) for j in np.unique(fold)), strict=True)
    between = max(0.0, float(np.var(means, ddof=1)) - variance * float(np.mean([1 / size for size in sizes])))
    return math.sqrt(variance / count + (variance / test_rows if test_rows else 0.0) + between)


def choose_recipe(
    fit: Fit,
    codes: np.ndarray,
    labels: np.ndarray,
    recipes: Sequence[RecipeLike],
    target: HeldAsked,
    folds: int = FOLDS,
    seed: int = 0,
    *,
    rule: str = "T",
    test_rows: int | None = None,
    fits: int = FITS,
) -> RecipeChoice:
    """Study *recipes* on *codes* (R × F) and *labels* (R) by *folds*, and choose one: :func:`choose_from_study`.

    The same *seed* gives the same choice. Raises :class:`InvalidDataError` for rows that no folds can be made of.
    """
    study = study_recipes(fit, codes, labels, recipes, folds, seed)
    return choose_from_study(study, fit, np.asarray(codes), target, rule=rule, test_rows=test_rows, fits=fits)


def shared_rows(training: np.ndarray, test: np.ndarray) -> int:
    """Return how many rows of *test* (T × F) are also rows of *training* (R × F), value by value."""
    known = {row.tobytes() for row in np.ascontiguousarray(training)}
    return sum(row.tobytes() in known for row in np.ascontiguousarray(test, dtype=training.dtype))


def shared_rows_note(training: np.ndarray, test: np.ndarray) -> list[str]:
    """Return a line that counts the rows of *test* that are among *training*, where there are any."""
    count = shared_rows(training, test)
    if not count:
        return []
    share = 100 * count / len(test)
    return [
        f"{count} of {len(test)} test rows ({share:.1f} %) are training rows, too: accuracy on them says little of new ones"
    ]
