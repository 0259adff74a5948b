"""A task while circuits are chosen for it: folds judge all recipes once, and rules choose for any number of targets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import approxhw as ax
from approxhw.artifacts.converters import COMPARATOR_AREA_MM2
from approxhw.dse.families.family import Facts
from approxhw.dse.families.learnt import learnt_circuit
from approxhw.dse.families.registry import family_named
from approxhw.dse.rules.honest_rule import HeldAsked, judged_recipes, shared_rows_note
from approxhw.dse.rules.recipe_study import Each, Fit, Fitted, RecipeLike, RecipeStudy, Study, study_recipes
from approxhw.flow.stages.measure import circuit_area
from approxhw.ir.evaluation import codes_of
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import PassContext
from approxhw.networks.families.table import FAMILIES
from approxhw.numerics.formats import Fixed

TRIED = ("tree", "entropy", "taught", "pairs", "optimal", "scored", "gates")
"""Families of the table of learners that take seconds a fold, not minutes."""

WHOLE_CODES = tuple(name for name, family in FAMILIES.items() if family.whole_codes)
"""Families that comparators of thresholds are no converters for."""

LEFT_OUT = {"pendigits": ("scored",)}
"""Families that are not tried: its classes have no order, and no score names digits."""

NEAR, MOST_NEAR = 1.6, 4
"""Of recipes expected to hold a target, those of at most so many times the least estimate, and so many, are synthesised."""


@dataclass(frozen=True)
class Rows:
    """Codes and classes of a task, training and test rows."""

    codes: np.ndarray
    labels: np.ndarray
    test_codes: np.ndarray
    test_labels: np.ndarray

    def drawn(self, seed: int) -> Rows:
        """Return all rows divided anew, as many for the test, so that training and test rows are alike."""
        codes = np.concatenate([self.codes, self.test_codes])
        labels = np.concatenate([self.labels, self.test_labels])
        order = np.random.default_rng(1000 + seed).permutation(len(labels))
        train, test = order[: len(self.labels)], order[len(self.labels) :]
        return Rows(codes[train], labels[train], codes[test], labels[test])


def coded(task: str, tasks: Path) -> tuple[Graph, ax.Dataset, Rows, list[str]]:
    """Return the model with 4-bit input codes, its data, the rows as codes, and what is odd about them."""
    graph, data = ax.read(tasks / f"{task}.onnx"), ax.load_dataset(tasks / f"{task}.npz")
    graph, _ = ax.run_passes(graph, ax.parse_passes("quantize-inputs"), PassContext(data))
    rows = Rows(codes_of(graph, data.X_train), data.y_train, codes_of(graph, data.X_test), data.y_test)
    return graph, data, rows, [f"{task}: {line}" for line in shared_rows_note(data.X_train, data.X_test)]


@dataclass
class Workshop:
    """A task while its circuits are chosen: what folds say of all recipes, and what is known of their circuits."""

    facts: Facts
    rows: Rows
    study: RecipeStudy
    fit: Fit
    circuits: dict[RecipeLike, Fitted] = field(default_factory=dict)
    measured: dict[RecipeLike, float] = field(default_factory=dict)

    def circuit(self, recipe: RecipeLike) -> Fitted:
        """Return the circuit of *recipe*, learnt from all training rows; all that one fit makes are kept."""
        if recipe not in self.circuits:
            made = self.fit(self.rows.codes, self.rows.labels, self.study.recipes, 0)
            self.circuits.update(zip(self.study.recipes, made, strict=True))
        return self.circuits[recipe]

    def area(self, recipe: RecipeLike) -> float:
        """Return what it costs in cm², synthesised; with its converters where these count."""
        if recipe not in self.measured:
            graph = learnt_circuit(self.facts, self.circuit(recipe).made)
            area = circuit_area(graph, "egfet")
            if self.facts.system:
                inputs = COMPARATOR_AREA_MM2 * graph.input.type.elements
                area += inputs if graph.input.type.format == Fixed(1) else math.inf
            self.measured[recipe] = area / 100
        return self.measured[recipe]

    def chosen(self, target: float, rule: str) -> tuple[RecipeLike, bool, float]:
        """Return the recipe that *rule* takes for *target*, whether it is expected to hold it, and what it is expected to hold.

        Of those near the least estimate the one that is smallest when it is synthesised: areas know nothing of test rows.
        """
        judged = judged_recipes(self.study, self.study.folds, HeldAsked(target), rule, len(self.rows.test_labels))
        costs = self.study.costs[self.study.folds]
        best, held = judged.pick(costs)
        if held:
            near = [i for i in np.flatnonzero(judged.margin >= -1e-12).tolist() if costs[i] <= NEAR * costs[best]]
            near = sorted(near, key=lambda i: (costs[i], i))[:MOST_NEAR]
            best = min(near, key=lambda i: (self.area(self.study.recipes[i]), -judged.accuracy[i], i))
        return self.study.recipes[best], held, float(judged.accuracy[best])


def opened(facts: Facts, rows: Rows, families: Sequence[str], seed: int, each: Each) -> Workshop:
    """Return what folds of the training *rows* say of all recipes of *families*."""
    known = [family_named(name) for name in families]
    recipes = [recipe for family in known for recipe in family.recipes(facts)]
    fit = known[0].fit(facts)  # one fits those of the whole table, and a bag of trees teaches them all
    study = study_recipes(fit, rows.codes, rows.labels, recipes, seed=seed, each=each)
    return Workshop(facts, rows, study, fit)


def single_folds(one: Callable[[tuple[int, ...]], Study], places: Sequence[tuple[int, ...]]) -> Iterable[Study]:
    """Map *one* over folds alone: nothing is promised of what is chosen by them."""
    return map(one, [place for place in places if len(place) == 1])
