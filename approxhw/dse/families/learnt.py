"""The families of ``networks/families/table.py``, on codes or, where converters count, on the bits of a thermometer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from approxhw.artifacts.converters import COMPARATOR_AREA_MM2
from approxhw.dse.rules.recipe_study import Fit, Fitted, RecipeLike
from approxhw.ir.graph import Graph
from approxhw.ir.kinds import Forest
from approxhw.networks.families.table import (
    FAMILIES,
    FamilyRecipe,
    Made,
    family_recipes,
    fit_recipes,
    learnt_area,
    learnt_graph,
)
from approxhw.networks.trees.families import TreeFitting
from approxhw.networks.trees.gates.trimmed import TrimmedTree
from approxhw.networks.trees.prices import TreePrices, thermometer_prices
from approxhw.networks.trees.scored import ScoredTrees

from .family import Facts, Family, input_area

STARTS = 4
"""Trees grown for each recipe, of which the least is taken."""

FITS = 3
"""Fits of a recipe on all rows, where a seed makes a difference: all but the first tree of each are grown by noisy gains."""

SEEDED = ("tree", "entropy", "taught", "pairs", "gates")
"""Families whose circuits differ from seed to seed."""

ROWS_A_LEAF, FEWEST, MOST = 16, 8, 192
"""Leaves of the largest tree that is tried: one for so many training rows, within these ends."""

TOGETHER = 4
"""Times as many leaves, or literals, have circuits of several parts, whose leaves are shared by more rows."""

SECONDS = 20.0
"""Of one search for an optimal tree: it takes milliseconds, and what is not proven by then may differ from run to run."""


def learnt_family(name: str) -> Family:
    """Return the family that the table of learners calls *name*."""
    return Family(name, partial(_recipes, name), learnt_fit, learnt_circuit, FITS if name in SEEDED else 1)


def _recipes(name: str, facts: Facts) -> Sequence[RecipeLike]:
    several = any(path.parts for path in FAMILIES[name].paths)
    return family_recipes((name,), max(FEWEST, min(MOST, facts.rows // ROWS_A_LEAF)) * (TOGETHER if several else 1))


def learnt_fit(facts: Facts) -> Fit:
    """Return what fits the circuits of recipes of a task, of any family of the table.

    Comparators cost gates, or one of a converter each where converters count and may be comparators.
    """

    def fit(codes: np.ndarray, labels: np.ndarray, recipes: Sequence[RecipeLike], seed: int) -> list[Fitted]:
        wanted = [recipe for recipe in recipes if isinstance(recipe, FamilyRecipe)]
        on_bits = [recipe for recipe in wanted if facts.system and not FAMILIES[recipe.family].whole_codes]
        bit_prices = thermometer_prices(facts.bits, COMPARATOR_AREA_MM2)
        found: dict[FamilyRecipe, Fitted] = {}
        for mine, prices in ((on_bits, bit_prices), ([each for each in wanted if each not in on_bits], TreePrices())):
            fitting = TreeFitting(facts.classes, facts.bits, prices, STARTS, SECONDS)
            for recipe, each in zip(mine, fit_recipes(codes, labels, mine, fitting, seed), strict=True):
                found[recipe] = Fitted(each.answers, _area(facts, each.made, each.area_mm2), each.made)
        return [found[recipe] for recipe in wanted]

    return fit


def _area(facts: Facts, made: Made, area: float) -> float:
    """Return the estimated area of *made* in mm²: *area*, but of codes and their converters where a thermometer cannot be."""
    if not facts.system or _on_thermometer(made):
        return area
    return learnt_area(made, facts.bits) + input_area(facts, _read(made))


def _trees(made: Forest | ScoredTrees) -> Forest:
    return made if isinstance(made, Forest) else made.trees


def _read(made: Made) -> np.ndarray:
    """Return the features (numbers, maybe twice) that *made* looks at."""
    if isinstance(made, TrimmedTree):
        return made.read
    trees = _trees(made)
    return np.concatenate([trees.feature, trees.other[trees.other >= 0]])


def _on_thermometer(made: Made) -> bool:
    """Whether there are tests, and every one looks at one feature, so that a comparator of a converter answers it."""
    if isinstance(made, TrimmedTree):
        return False
    trees = _trees(made)
    return len(trees.feature) > 0 and not (trees.other >= 0).any()


def learnt_circuit(facts: Facts, made: Made) -> Graph:
    """Return the Graph of *made*; where converters count, and can be comparators, its inputs are those."""
    return learnt_graph(facts.graph, made, facts.system and _on_thermometer(made))
