"""The families of one decision tree: those of ``networks/trees/families.py``, on codes or on the bits of a thermometer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from approxhw.artifacts.converters import COMPARATOR_AREA_MM2
from approxhw.dse.rules.recipe_study import Fit, Fitted, RecipeLike
from approxhw.ir.graph import Graph
from approxhw.ir.kinds import Forest
from approxhw.ir.pass_manager import PassContext
from approxhw.networks.trees.families import TreeFitting, fit_trees, tree_recipes
from approxhw.networks.trees.prices import TreePrices, thermometer_prices, tree_area
from approxhw.networks.trees.tree import answers_of_trees
from approxhw.passes.quantize.quantize_inputs import QuantizeInputs
from approxhw.passes.retrain.distil_tree import forest_graph

from .family import Facts, Family, input_area

STARTS = 4
"""Trees grown for each recipe, of which the least is taken."""

FITS = 3
"""Fits of a recipe on all rows: all but the first tree of each are grown by noisy gains."""

ROWS_A_LEAF, FEWEST, MOST = 16, 8, 192
"""Leaves of the largest trees that are tried: one for so many training rows, within these ends."""

SECONDS = 20.0
"""Of one search for an optimal tree: it takes milliseconds, and what is not proven by then may differ from run to run."""


def tree_family(name: str) -> Family:
    """Return the family of trees called *name*."""
    return Family(name, partial(_recipes, name), tree_fit, forest_of, fits=1 if name == "optimal" else FITS)


def _recipes(name: str, facts: Facts) -> Sequence[RecipeLike]:
    return tree_recipes((name,), max(FEWEST, min(MOST, facts.rows // ROWS_A_LEAF)))


def prices_of_task(facts: Facts) -> TreePrices:
    """Return what comparators cost: gates, or one of a converter each where converters count."""
    return thermometer_prices(facts.bits, COMPARATOR_AREA_MM2) if facts.system else TreePrices()


def tree_fit(facts: Facts) -> Fit:
    """Return what fits the trees of recipes of a task."""
    fitting = TreeFitting(facts.classes, facts.bits, prices_of_task(facts), STARTS, SECONDS)

    def fit(codes: np.ndarray, labels: np.ndarray, recipes: Sequence[RecipeLike], seed: int) -> list[Fitted]:
        made = fit_trees(codes, labels, recipes, fitting, seed)  # type: ignore[arg-type]  # its own recipes
        return [fitted_forest(facts, trees) for trees in made]

    return fit


def fitted_forest(facts: Facts, trees: Forest) -> Fitted:
    """Return *trees* with their estimated area in mm², of the comparators of converters, too, where these count."""
    if facts.system and not on_thermometer(trees):
        read = np.concatenate([trees.feature, trees.other[trees.other >= 0]])
        area = tree_area(trees, facts.bits) + input_area(facts, read)
    else:
        area = tree_area(trees, facts.bits, prices_of_task(facts))
    return Fitted(partial(answers_of_trees, trees), area, trees)


def on_thermometer(trees: Forest) -> bool:
    """Whether every test looks at one feature, so that a comparator of a converter answers it."""
    return not (trees.other >= 0).any()


def forest_of(facts: Facts, made: Forest) -> Graph:
    """Return the Graph of the trees *made*; where converters count, and can be comparators, its inputs are those."""
    graph = forest_graph(facts.graph, made)
    if facts.system and on_thermometer(made) and len(made.feature):
        return QuantizeInputs(code="thermometer")(graph, PassContext())
    return graph
