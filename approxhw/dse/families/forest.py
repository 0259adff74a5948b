"""The family of small forests: a few boosted trees of a few leaves, which add whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from approxhw.dse.rules.recipe_study import Fit, Fitted, RecipeLike
from approxhw.networks.trees.boosted import BoostedTrees, boosted_trees

from .family import Facts, Family
from .trees import fitted_forest, forest_of, prices_of_task

ROUNDS = {2: (2, 3, 4, 6, 8, 12, 16), 4: (2, 3, 4, 6, 8)}
"""Leaves of a tree → how many trees are tried."""

WEIGHT_BITS = (2, 3)
"""Of what a leaf adds, with its sign."""

PRICE = 0.002
"""Share of all that can be won that a mm² of new comparators must win."""


@dataclass(frozen=True)
class ForestRecipe:
    """How a small forest is fitted."""

    leaves: int
    weight_bits: int
    trees: int

    @property
    def path(self) -> str:
        """Everything but the number of trees."""
        return f"forest, {self.leaves} leaves a tree, {self.weight_bits} bits a leaf"

    def __str__(self) -> str:
        """Return it as people read it."""
        return f"{self.path}, {self.trees} trees"


def forest_family(name: str) -> Family:
    """Return the family, called *name*."""
    return Family(name, _recipes, _fit, forest_of)


def _recipes(facts: Facts) -> Sequence[RecipeLike]:
    return [
        ForestRecipe(leaves, bits, trees)
        for leaves, counts in ROUNDS.items()
        for bits in WEIGHT_BITS
        for trees in counts
    ]


def _fit(facts: Facts) -> Fit:
    prices = prices_of_task(facts)

    def fit(codes: np.ndarray, labels: np.ndarray, recipes: Sequence[RecipeLike], seed: int) -> list[Fitted]:
        found = []
        for recipe in recipes:
            assert isinstance(recipe, ForestRecipe)
            options = BoostedTrees(recipe.trees, recipe.leaves, recipe.weight_bits, PRICE, bits=facts.bits)
            found.append(fitted_forest(facts, boosted_trees(codes, labels, facts.classes, options, seed, prices)))
        return found

    return fit
