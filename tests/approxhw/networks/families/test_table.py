"""The table of families: recipes and paths, one fit for many of them, Graphs that answer as what was learnt, and errors."""

from __future__ import annotations

import numpy as np
import pytest

from approxhw.common.errors import OptionError
from approxhw.ir.graph import Graph, Node
from approxhw.ir.interpreter import run
from approxhw.ir.kinds import ArgMax, Input, Type
from approxhw.ir.verifier import verify
from approxhw.networks.families.table import FAMILIES, FamilyRecipe, family_recipes, fit_recipes, learnt_graph
from approxhw.networks.trees.families import TreeFitting
from approxhw.numerics.formats import Encoding, Fixed


def coded_rows(seed: int, classes: int, rows: int = 240):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 16, (rows, 4))
    return codes, (codes[:, 0] + codes[:, 1] + rng.integers(0, 6, rows)) * classes // 37


def any_classifier(features: int) -> Graph:
    names = tuple(f"f{i}" for i in range(features))
    encoding = Encoding(4, "round", (0.0,) * features, (1.0,) * features)
    x = Node("x", Input(names, names, encoding), (), Type((features,), Fixed(4)))
    return Graph("net", (x, Node("y", ArgMax(), ("x",), Type((), Fixed(2)))), "y")


def test_recipes_of_a_path_differ_in_size():
    recipes = family_recipes(tuple(FAMILIES), 64)
    assert len(set(recipes)) == len(recipes)
    assert {recipe.family for recipe in recipes} == set(FAMILIES)
    for path in {recipe.path for recipe in recipes}:
        sizes = [recipe.size for recipe in recipes if recipe.path == path]
        assert len(set(sizes)) == len(sizes)
    assert max(recipe.size * max(1, recipe.parts) for recipe in recipes) <= 64
    assert str(FamilyRecipe("scored", 0.002, 4, 8, "trees")) == "scored of 8 leaves, price 0.002, 4 trees"
    assert str(FamilyRecipe("tree", 0.002, 4)) == "tree, price 0.002, at most 4 leaves"


@pytest.mark.parametrize("family", FAMILIES)
def test_graphs_answer_as_what_was_learnt(family):
    codes, labels = coded_rows(1, 4)
    recipes = family_recipes((family,), 24)[::3]
    made = fit_recipes(codes, labels, recipes, TreeFitting(4, starts=2), seed=3)
    vectors = np.random.default_rng(5).integers(0, 16, (500, 4))
    compared = 0
    for learnt in made:
        graph = learnt_graph(any_classifier(4), learnt.made)
        verify(graph)
        assert run(graph, vectors).reshape(-1).tolist() == learnt.answers(vectors).tolist()
        assert learnt.area_mm2 >= 0
        compared += len(vectors)
    assert compared == 500 * len(recipes)
    assert compared > 0
    alone = fit_recipes(codes, labels, recipes[-1:], TreeFitting(4, starts=2), seed=3)[0]
    assert alone.answers(vectors).tolist() == made[-1].answers(vectors).tolist()


def test_a_family_that_is_not_there():
    with pytest.raises(OptionError, match="there is no scorde; did you mean 'scored'") as caught:
        family_recipes(("tree", "scorde"))
    assert [problem.where for problem in caught.value.problems] == ["families"]
