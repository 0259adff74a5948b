"""The table of families: what each is, the recipes it is tried by, and what fits many of them at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

import numpy as np

from approxhw.common.errors import OptionError, Problem, UnsupportedModelError, shown
from approxhw.common.options import suggestion
from approxhw.ir.graph import Graph
from approxhw.ir.kinds import Forest
from approxhw.networks.trees.bagged import BaggedTrees, bag_of_trees
from approxhw.networks.trees.boosted import BoostedTrees, boosted_sizes
from approxhw.networks.trees.families import OPTIMAL_SIZES, PRICES, SIZES, TreeFitting, TreeRecipe, fit_trees
from approxhw.networks.trees.gates.trimmed import LOSSES, TrimmedTree, trimmed_tree
from approxhw.networks.trees.prices import TreePrices, tree_area
from approxhw.networks.trees.scored import SCORED, ScoredTrees, scored_sizes
from approxhw.networks.trees.ternary import TernaryNetwork, ternary_sizes
from approxhw.networks.trees.tree import answers_of_trees

from .graphs import forest_graph, scored_graph, trimmed_graph
from .teaching import Teaching, taught_rows
from .thermometer import with_thermometer

Made = Forest | ScoredTrees | TrimmedTree
"""What a learner makes."""


_ONE = {"leaves": "leaf"}  # others lose their s


@dataclass(frozen=True)
class FamilyRecipe:
    """How a circuit is fitted. Recipes of one :attr:`path` differ in ``size`` alone."""

    family: str
    price: float
    """Share of all that can be won that a mm² of new comparator must win."""
    size: int
    """Leaves of one tree, or trees."""
    parts: int = 0
    """Leaves of each of several trees, literals of each of several units."""
    unit: str = "leaves"
    """What ``size`` counts."""
    part: str = "leaves"
    """What ``parts`` counts."""
    loss: float | None = None
    """Share of rows set aside that may be lost when gates are taken off; None: none are."""

    @property
    def growth(self) -> str:
        """Everything but the size and the loss: circuits of one growth are fitted together."""
        each = f" of {self.parts} {self.part}" if self.parts else ""
        return f"{self.family}{each}, price {self.price:g}"

    @property
    def path(self) -> str:
        """Everything but the size."""
        return self.growth if self.loss is None else f"{self.growth}, losing {100 * self.loss:g} %"

    def __str__(self) -> str:
        """Return it as people read it: leaves of one tree are those that it may have, and merged ones are fewer."""
        most = "at most " if self.unit == "leaves" else ""
        return f"{self.path}, {most}{self.size} {self.unit if self.size != 1 else _ONE.get(self.unit, self.unit[:-1])}"


@dataclass(frozen=True, eq=False)
class Learnt:
    """What a recipe came to: what it answers (codes, R × F → classes, R), about its area in mm², and what it is."""

    answers: Callable[[np.ndarray], np.ndarray]
    area_mm2: float
    made: Made


FitPath = Callable[[np.ndarray, np.ndarray, Sequence[FamilyRecipe], TreeFitting, int], Sequence[Made]]
"""(codes, labels, recipes of one growth, fitting, seed) → what each of them makes."""


@dataclass(frozen=True)
class LearntFamily:
    """A family of circuits: ``paths`` are recipes of every path, whose sizes ``sizes`` are."""

    help: str
    paths: tuple[FamilyRecipe, ...]
    sizes: tuple[int, ...]
    fit: FitPath
    teaching: Callable[[TreeFitting, int], Teaching] | None = None
    """(fitting, rows) → whom it learns from in place of the labels; it is fitted on the rows that the learner gets."""
    whole_codes: bool = False
    """Whether its circuits read codes alone: comparators of thresholds are no converters for them."""


def _fit_single(
    codes: np.ndarray, labels: np.ndarray, recipes: Sequence[FamilyRecipe], fitting: TreeFitting, seed: int
) -> Sequence[Made]:
    wanted = [TreeRecipe(_GROWN.get(recipe.family, recipe.family), recipe.price, recipe.size) for recipe in recipes]
    return fit_trees(codes, labels, wanted, fitting, seed)


def _fit_forest(
    codes: np.ndarray, labels: np.ndarray, recipes: Sequence[FamilyRecipe], fitting: TreeFitting, seed: int
) -> Sequence[Made]:
    asked = BoostedTrees(leaves=recipes[0].parts, price=recipes[0].price, bits=fitting.bits)
    sizes = [recipe.size for recipe in recipes]
    return boosted_sizes(codes, labels, fitting.classes, asked, sizes, fitting.prices)


def _fit_scored(
    codes: np.ndarray, labels: np.ndarray, recipes: Sequence[FamilyRecipe], fitting: TreeFitting, seed: int
) -> Sequence[Made]:
    asked = replace(SCORED, leaves=recipes[0].parts, price=recipes[0].price, bits=fitting.bits)
    sizes = [recipe.size for recipe in recipes]
    return scored_sizes(codes, labels, fitting.classes, asked, sizes, seed, fitting.prices)


def _fit_ternary(
    codes: np.ndarray, labels: np.ndarray, recipes: Sequence[FamilyRecipe], fitting: TreeFitting, seed: int
) -> Sequence[Made]:
    asked = TernaryNetwork(literals=recipes[0].parts, price=recipes[0].price, bits=fitting.bits)
    return ternary_sizes(codes, labels, fitting.classes, asked, [recipe.size for recipe in recipes], fitting.prices)


def _fit_gates(
    codes: np.ndarray, labels: np.ndarray, recipes: Sequence[FamilyRecipe], fitting: TreeFitting, seed: int
) -> Sequence[Made]:
    sizes = sorted({recipe.size for recipe in recipes})
    trees = fit_trees(codes, labels, [TreeRecipe("entropy", recipes[0].price, size) for size in sizes], fitting, seed)
    found: dict[tuple[int, float], Made] = {}
    for size, tree in zip(sizes, trees, strict=True):
        losses = [recipe.loss or 0.0 for recipe in recipes if recipe.size == size]
        made = trimmed_tree(codes, labels, fitting.classes, fitting.bits, tree, losses, seed)
        found.update(zip([(size, loss) for loss in losses], made, strict=True))
    return [found[recipe.size, recipe.loss or 0.0] for recipe in recipes]


_GROWN = {"taught": "tree"}
"""Families of one tree that are grown as another is."""

TAUGHT_ROWS = 24000
"""Of all noisy copies together, about, so that many rows take no longer: at least two copies and at most eight."""

TAUGHT_NOISE = 0.3
"""Probability that a code of a copy is one off: cross-validated on training rows, 0.2 to 0.4 do as well as each other."""


def _taught(fitting: TreeFitting, rows: int) -> Teaching:
    bag = bag_of_trees(fitting.classes, BaggedTrees(bits=fitting.bits))
    return Teaching(bag, max(2, min(8, TAUGHT_ROWS // max(1, rows))), TAUGHT_NOISE)


def _single(
    family: str, help_: str, sizes: tuple[int, ...], teaching: Callable[[TreeFitting, int], Teaching] | None = None,
    whole_codes: bool = False,
) -> LearntFamily:  # fmt: skip
    paths = tuple(FamilyRecipe(family, price, 0) for price in PRICES[_GROWN.get(family, family)])
    return LearntFamily(help_, paths, sizes, _fit_single, teaching, whole_codes)


FAMILIES: Mapping[str, LearntFamily] = {
    "tree": _single("tree", "one tree whose splits are priced by their comparators", (1, *SIZES)),
    "entropy": _single("entropy", "the same by entropy, which goes on where no class changes", (1, *SIZES)),
    "taught": _single("taught", "one tree that learns what a bag of trees says of noisy copies", (1, *SIZES), _taught),
    "pairs": _single(
        "pairs", "one tree that splits on sums and differences of two inputs, too", (1, *SIZES), whole_codes=True
    ),
    "optimal": _single("optimal", "the best tree of a few leaves", OPTIMAL_SIZES),
    "forest": LearntFamily(
        "small trees that add whole numbers to a sum for each class",
        tuple(FamilyRecipe("forest", 0.002, 0, leaves, "trees") for leaves in (4, 8)),
        (1, 2, 3, 4, 6, 8, 12, 16),
        _fit_forest,
    ),
    "scored": LearntFamily(
        "trees that add to one score whose thresholds name the class, for classes that have an order",
        tuple(
            FamilyRecipe("scored", price, 0, leaves, "trees")
            for leaves, price in ((4, 0.002), (8, 0.001), (16, 0.0005), (32, 0.0005), (64, 0.0005))
        ),
        (1, 2, 3, 4, 6, 8, 12),
        _fit_scored,
    ),
    "ternary": LearntFamily(
        "hidden units that count thresholds, outputs that add them with weights of −1, 0 and 1",
        tuple(
            FamilyRecipe("ternary", price, 0, literals, "units", "literals")
            for literals, price in ((1, 0.001), (3, 0.001), (6, 0.0005), (12, 0.0003))
        ),
        (1, 2, 3, 4, 6, 8, 12, 16),
        _fit_ternary,
    ),
    "gates": LearntFamily(
        "one tree by entropy, taught by a bag of trees, of whose gates noisy copies of the rows need fewer",
        tuple(FamilyRecipe("gates", price, 0, loss=loss) for price in (0.003, 0.006, 0.012) for loss in LOSSES),
        (3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 48, 64),
        _fit_gates,
        _taught,
        whole_codes=True,
    ),
}
"""Name → family, in the order in which they are listed."""


def family_recipes(
    families: Sequence[str] = tuple(FAMILIES), most: int = SIZES[-1], prices: Sequence[float] | None = None
) -> list[FamilyRecipe]:
    """Return all recipes of *families*, path by path, of at most *most* leaves or literals together.

    *prices*: in place of the table's own.

    Raises :class:`OptionError` for families that are not there.
    """
    unknown = [
        Problem("families", f"there is no {shown(name)}{suggestion(name, tuple(FAMILIES))}")
        for name in families
        if name not in FAMILIES
    ]
    if unknown:
        raise OptionError("families", unknown)
    found: dict[FamilyRecipe, None] = {}
    for name in families:
        family = FAMILIES[name]
        for path in family.paths:
            for price in (path.price,) if prices is None else prices:
                for size in family.sizes:
                    if size * max(1, path.parts) <= most:
                        found[replace(path, price=price, size=size)] = None
    return list(found)


def fit_recipes(
    codes: np.ndarray,
    labels: np.ndarray,
    recipes: Sequence[FamilyRecipe],
    fitting: TreeFitting,
    seed: int = 0,
    teaching: Teaching | None = None,
) -> list[Learnt]:
    """Return what each of *recipes* makes of *codes* (integers, R × F) and *labels* (R): those of one growth grow but once.

    *teaching*: learn from a teacher, itself fitted on these rows, in place of the labels and of whom a family learns from.
    """
    found: dict[FamilyRecipe, Learnt] = {}
    rows: dict[object, tuple[np.ndarray, np.ndarray]] = {}
    for _, group in groupby(sorted(recipes, key=lambda recipe: recipe.growth), key=lambda recipe: recipe.growth):
        mine = list(group)
        family = FAMILIES[mine[0].family]
        if family.teaching not in rows:
            lesson = teaching or (family.teaching(fitting, len(labels)) if family.teaching else None)
            rows[family.teaching] = (
                (codes, labels) if lesson is None else taught_rows(codes, labels, lesson, fitting.bits, seed)
            )
        for recipe, made in zip(mine, family.fit(*rows[family.teaching], mine, fitting, seed), strict=True):
            found[recipe] = _learnt(made, fitting)
    return [found[recipe] for recipe in recipes]


def learnt_area(made: Made, bits: int, prices: TreePrices | None = None) -> float:
    """Return about what *made* costs in mm² on codes of *bits* bits."""
    if isinstance(made, TrimmedTree):
        return made.area()
    return tree_area(made, bits, prices) if isinstance(made, Forest) else made.area(bits, prices)


def _learnt(made: Made, fitting: TreeFitting) -> Learnt:
    answers = partial(answers_of_trees, made) if isinstance(made, Forest) else made.answers
    return Learnt(answers, learnt_area(made, fitting.bits, fitting.prices), made)


def learnt_graph(graph: Graph, made: Made, thermometer: bool = False) -> Graph:
    """Return *graph* with *made* on its Input's codes in place of what it computes: a Graph that compiles.

    *thermometer*: on an input of one bit for each threshold instead (:func:`with_thermometer`), which gates of codes have not:
    an :class:`UnsupportedModelError`.
    """
    if isinstance(made, TrimmedTree):
        if thermometer:
            why = "its gates look at bits of codes, and a bit is no threshold"
            raise UnsupportedModelError(
                "learnt gates", [Problem(shown(graph.name), why, "take trees of single inputs")]
            )
        return trimmed_graph(graph, made)
    trees = made if isinstance(made, Forest) else made.trees
    if thermometer:
        graph, trees = with_thermometer(graph, trees)
    return forest_graph(graph, trees) if isinstance(made, Forest) else scored_graph(graph, replace(made, trees=trees))
