"""Recipes for trees: family, price and size, and what fits the trees of many of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from approxhw.ir.kinds import Forest

from .optimal import OptimalTree, optimal_tree
from .priced import PricedTree, priced_trees
from .prices import TreePrices

PRICES = {
    "tree": (0.0005, 0.002, 0.005, 0.02, 0.04),
    "entropy": (0.003, 0.006, 0.012, 0.03),
    "pairs": (0.0005, 0.002, 0.005),
    "optimal": (0.0005, 0.003, 0.01, 0.02, 0.05),
}
"""Family → impurity, a share of all rows, that a split must win for a mm² of new comparator."""

SIZES = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256)
"""Leaves of trees that are tried."""

OPTIMAL_SIZES = (2, 3)
"""Leaves of optimal trees that are tried: more take seconds each."""


@dataclass(frozen=True)
class TreeRecipe:
    """How a tree is fitted."""

    family: str
    """tree: splits on one feature; entropy: likewise, by entropy in place of Gini's impurity; pairs: on sums and differences of
    two, too; optimal: the best of a few leaves."""
    price: float
    leaves: int

    @property
    def path(self) -> str:
        """Everything but the size."""
        return f"{self.family}, price {self.price:g}"

    def __str__(self) -> str:
        """Return it as people read it."""
        return f"{self.path}, at most {self.leaves} leaves"


@dataclass(frozen=True)
class TreeFitting:
    """What all recipes of a task share."""

    classes: int
    bits: int = 4
    prices: TreePrices = field(default_factory=TreePrices)
    starts: int = 8
    """Trees grown for each, of which the least is taken; of pairs a quarter."""
    seconds: float = 1.0
    """Of one search for an optimal tree."""


def tree_recipes(
    families: Sequence[str] = ("tree", "pairs", "optimal"), most: int = SIZES[-1], prices: Sequence[float] | None = None
) -> list[TreeRecipe]:
    """Return the recipes of *families*: every one of :data:`PRICES`, or of *prices*, and every size of at most *most* leaves."""
    return [
        TreeRecipe(family, price, size)
        for family in families
        for price in (PRICES[family] if prices is None else prices)
        for size in (OPTIMAL_SIZES if family == "optimal" else (1, *SIZES))
        if size <= most
    ]


def fit_trees(
    codes: np.ndarray, labels: np.ndarray, recipes: Sequence[TreeRecipe], fitting: TreeFitting, seed: int = 0
) -> list[Forest]:
    """Return a tree for each of *recipes*, fitted on *codes* (R × F) and *labels* (R); those of one path grow but once."""
    found: dict[TreeRecipe, Forest] = {}
    for _, group in groupby(sorted(recipes, key=lambda recipe: recipe.path), key=lambda recipe: recipe.path):
        mine = list(group)
        family, price = mine[0].family, mine[0].price
        if family == "optimal":
            for recipe in mine:
                asked = OptimalTree(recipe.leaves, price, fitting.seconds, fitting.bits)
                found[recipe] = optimal_tree(codes, labels, fitting.classes, asked, seed, fitting.prices).trees
            continue
        options = PricedTree(
            price=price,
            criterion="entropy" if family == "entropy" else "gini",
            splits="pairs" if family == "pairs" else "single",
            exchange=price * len(labels),
            starts=max(1, fitting.starts // 4) if family == "pairs" else fitting.starts,
            bits=fitting.bits,
        )
        sizes = [recipe.leaves for recipe in mine]
        made = priced_trees(codes, labels, fitting.classes, options, sizes, seed, fitting.prices)
        found.update(zip(mine, made, strict=True))
    return [found[recipe] for recipe in recipes]
