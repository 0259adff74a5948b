"""The honest rule: folds of the training rows choose a recipe, all rows fit its circuit, nested folds say what it will hold.

A recipe (family, price, size) is judged by circuits that were fitted without the rows that judge them. Choosing the best of
many recipes by the same rows promises too much; so the promise is what the whole procedure, choice and all, holds on folds
that neither its choice nor its fit has seen (``recipe_study.py`` says which circuits judge what).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from approxhw.artifacts.results import Promise
from approxhw.common.errors import OptionError, Problem
from approxhw.common.statistics import isotonic, majority_share, no_better

from .class_rule import AskedClasses, class_margins
from .recipe_study import FOLDS, Fit, Fitted, RecipeLike, RecipeStudy, study_recipes

RULES = {"H": 0.5, "S": 1.0, "T": 1.0}
"""Standard errors that are taken off what folds say; T counts the noise of the test sample, too."""

FITS = 5
"""Fits of the recipe that was chosen, of which the robust middle one is taken."""

LEVEL = 1.96
"""Standard errors to either side of a promise: 95 % of circuits lie within, where errors are normal."""

_FITTED = 1  # seed of the first of several fits


@dataclass(frozen=True, eq=False)
class HeldAsked:
    """What a circuit must hold: an accuracy, or at most so much less than a reference, whose right rows are known."""

    accuracy: float | None = None
    max_loss: float | None = None
    reference: np.ndarray | None = None
    """bool, R: whether what is replaced is right on each training row that it has not learnt from."""
    classes: AskedClasses | None = None
    """What any class may lose besides."""

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
        more = "" if self.classes is None else self.classes.words()
        if self.accuracy is not None:
            return f"an accuracy of {100 * self.accuracy:.2f} %{more}"
        return f"a loss of at most {100 * (self.max_loss or 0.0):g} %{more}"


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


@dataclass(frozen=True, eq=False)
class Judged:
    """What recipes hold on rows put aside, and by how much each is expected to hold a target (float64, P, both)."""

    accuracy: np.ndarray
    margin: np.ndarray
    """Less the standard errors of the rule; below 0 where it is not expected to."""

    def pick(self, costs: np.ndarray) -> tuple[int, bool]:
        """Return the cheapest recipe that is expected to hold the target, and True; else the best, the cheaper of equals."""
        held = np.flatnonzero(self.margin >= -1e-12)
        if len(held):
            return min(held.tolist(), key=lambda i: (costs[i], -self.accuracy[i], i)), True
        return min(range(len(costs)), key=lambda i: (-self.margin[i], costs[i], i)), False


def judged_recipes(
    study: RecipeStudy, outer: int, target: HeldAsked, rule: str = "T", test_rows: int | None = None
) -> Judged:
    """Return what *study* says of its recipes: without fold *outer*, or with all of them where that is ``study.folds``.

    Standard errors are those of all rows that judge: without a fold as with it, so that the procedure doubts as much.
    """
    rows = np.flatnonzero(study.judged[outer])
    right = study.right[outer][:, rows]
    costs = study.costs[outer]
    accuracy = smoothed_by_path(study.recipes, costs, right.mean(axis=1))
    count = len(rows)
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
    share = 1 / max(1, int(study.judged[study.folds].sum()))
    share += 1 / test_rows if rule == "T" and test_rows else 0.0
    margin = margin - RULES[rule] * np.sqrt(variance * share)
    if target.reference is not None:  # how often a circuit differs from the reference is chance, too
        margin = smoothed_by_path(study.recipes, costs, margin)
    if target.classes is not None:
        kept = [smoothed_by_path(study.recipes, costs, each) for each in class_margins(target.classes, right, rows)]
        margin = np.minimum.reduce([margin, *kept])
    return Judged(accuracy, margin)


def robust_middle(circuits: Sequence[Fitted], codes: np.ndarray) -> Fitted:
    """Return the one of *circuits* that answers most like all the others on *codes*; the cheaper of equals."""
    answers = np.array([circuit.answers(codes) for circuit in circuits])
    alike = [int((answers == mine).sum()) for mine in answers]
    return circuits[min(range(len(circuits)), key=lambda i: (-alike[i], circuits[i].cost, i))]


def fit_robustly(
    fit: Fit, codes: np.ndarray, labels: np.ndarray, recipes: Sequence[RecipeLike], fits: int = FITS, seed: int = 0,
    each: Callable[[Callable[[int], Sequence[Fitted]], Sequence[int]], Iterable[Sequence[Fitted]]] = map,
) -> list[Fitted]:  # fmt: skip
    """Return of each recipe the robust middle one of *fits* circuits, fitted on all rows by seed 0 and by further seeds.

    *each*: what maps the fits, such as ``map``, or that of a pool of threads.
    """
    seeds = [0, *(int(s) for s in np.random.SeedSequence((seed, _FITTED)).generate_state(max(0, fits - 1)))]
    made = each(lambda s: fit(codes, labels, recipes, s), seeds)
    return [robust_middle(circuits, codes) for circuits in zip(*made, strict=True)]


def choose_from_study(
    study: RecipeStudy,
    fit: Fit,
    codes: np.ndarray,
    target: HeldAsked,
    *,
    rule: str = "T",
    test_rows: int | None = None,
    fits: int = FITS,
    kept: dict[tuple[int, RecipeLike], Fitted] | None = None,
) -> RecipeChoice:
    """Return the recipe that *study* says is the cheapest to hold *target*, its circuit on all rows, and the promise.

    *rule*: one of :data:`RULES`. *test_rows*: rows of the sample that will judge it, where that is known: the interval, and
    rule T, count their noise, too. *kept*: circuits of the folds, kept from choice to choice. The study must be whole.
    """
    if rule not in RULES:
        raise OptionError("honest rule", [Problem("rule", f"there is no {rule!r}; there are {', '.join(RULES)}")])
    kept = {} if kept is None else kept
    judged = judged_recipes(study, study.folds, target, rule, test_rows)
    best, held = judged.pick(study.costs[study.folds])
    recipe = study.recipes[best]
    if (-1, recipe) not in kept:
        kept[-1, recipe] = fit_robustly(fit, codes, study.labels, [recipe], fits, study.seed)[0]
    nested = nested_picks(study, target, rule, test_rows)
    right = promised_right(study, nested)
    for j in range(study.folds) if fits > 1 else ():
        rows, outside, inner = (
            np.flatnonzero(study.fold != j),
            np.flatnonzero(study.fold == j),
            study.recipes[nested[j]],
        )
        if (j, inner) not in kept:
            kept[j, inner] = fit_robustly(fit, codes[rows], study.labels[rows], [inner], fits, study.seed)[0]
        right[outside] = kept[j, inner].answers(codes[outside]) == study.labels[outside]
    promise = promise_of(right, study.fold, test_rows)
    told = f"the cheapest recipe expected to hold {target.asked()} (rule {rule}, {study.folds} folds)"
    if not held:
        told += "; there is none, so it is the most accurate"
    notes = no_better("the chosen recipe", promise.accuracy, majority_share(study.labels), "training rows put aside")
    return RecipeChoice(
        recipe, kept[-1, recipe], told, held, float(judged.accuracy[best]), promise.accuracy, promise.low,
        promise.high, tuple(study.recipes[i] for i in nested), tuple(notes),
    )  # fmt: skip


def nested_picks(
    study: RecipeStudy, target: HeldAsked, rule: str, test_rows: int | None = None, costs: np.ndarray | None = None
) -> list[int]:
    """Return which recipe is chosen without each fold: by circuits, and by rows, that have not seen it.

    *costs*: what is known better than the study's own, float64, (K + 1) × P.
    """
    costs = study.costs if costs is None else costs
    return [judged_recipes(study, j, target, rule, test_rows).pick(costs[j])[0] for j in range(study.folds)]


def promised_right(study: RecipeStudy, nested: Sequence[int]) -> np.ndarray:
    """Return on which rows (bool, R) the circuits are right that were chosen and fitted (by seed 0) without them."""
    return study.right[study.folds][np.asarray(nested)[study.fold], np.arange(len(study.fold))]


def promise_of(right: np.ndarray, fold: np.ndarray, test_rows: int | None) -> Promise:
    """Return the promise of a procedure that is *right* (bool, R) on folds it has not seen."""
    parts = [right[fold == j] for j in np.unique(fold)]
    return promise_of_folds([float(part.mean()) for part in parts], [len(part) for part in parts], test_rows)


def promise_of_folds(means: Sequence[float], sizes: Sequence[int], test_rows: int | None) -> Promise:
    """Return the promise of a procedure that held *means* (accuracies) on folds of *sizes* rows it had not seen."""
    promised, error = float(np.dot(means, sizes)) / sum(sizes), error_of_folds(means, sizes, test_rows)
    low, high = max(0.0, promised - LEVEL * error), min(1.0, promised + LEVEL * error)
    return Promise(promised, low, high, int(sum(sizes)))


def error_of_folds(means: Sequence[float], sizes: Sequence[int], test_rows: int | None) -> float:
    """Return the standard error of a promise from what each fold says of it, and by how many rows.

    It counts the noise of rows that folds judged by, of those that will, and what circuits differ by: accuracies of the folds
    beyond what chance lets them differ.
    """
    count = int(sum(sizes))
    p = float(np.dot(means, sizes)) / count
    variance = max(p * (1 - p), 1 / (4 * count))
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
