"""The family of gates: the circuit of a small tree after ``approximate-gates``, which keeps what rows set aside need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from approxhw.common.data.dataset import Dataset
from approxhw.common.errors import PassError
from approxhw.dse.rules.recipe_study import Fit, Fitted, RecipeLike
from approxhw.flow.stages.mapped import circuit_gates
from approxhw.flow.stages.measure import circuit_area
from approxhw.ir.graph import Graph
from approxhw.ir.interpreter import run
from approxhw.ir.kinds import Forest, Gates, Input
from approxhw.ir.pass_manager import PassContext, parse_passes, run_passes
from approxhw.networks.families.table import FamilyRecipe, fit_recipes, learnt_graph
from approxhw.networks.trees.families import TreeFitting
from approxhw.numerics.logic.gates import MappedGates
from approxhw.passes.approximate.approximate_gates import ApproximateGates

from .family import Facts, Family, input_area

PRICE = 0.002
"""Impurity that a split of the trees must win for a mm², a share of all rows."""

LEAVES = (4, 8)
LOSSES = (0.01, 0.03)
"""Accuracy on rows set aside that removal may lose."""

STARTS = 4


@dataclass(frozen=True)
class GatesRecipe:
    """How gates are fitted: of the tree ``base``, until rows set aside lose ``loss``."""

    base: FamilyRecipe
    loss: float

    @property
    def path(self) -> str:
        """Everything but the size of the tree."""
        return f"gates of {self.base.path}, losing {100 * self.loss:g} %"

    def __str__(self) -> str:
        """Return it as people read it."""
        return f"gates of {self.base}, losing {100 * self.loss:g} %"


def gates_family(name: str) -> Family:
    """Return the family, called *name*."""
    return Family(name, _recipes, _fit, _graph)


def _recipes(facts: Facts) -> Sequence[RecipeLike]:
    # the same ones whatever the rows say: what is smallest by all rows would have seen those put aside
    return [GatesRecipe(FamilyRecipe("tree", PRICE, leaves), loss) for loss in LOSSES for leaves in LEAVES]


def _fit(facts: Facts) -> Fit:
    fitting = TreeFitting(facts.classes, facts.bits, starts=STARTS)

    def fit(codes: np.ndarray, labels: np.ndarray, recipes: Sequence[RecipeLike], seed: int) -> list[Fitted]:
        bases = [recipe.base for recipe in recipes if isinstance(recipe, GatesRecipe)]
        learnt = fit_recipes(codes, labels, bases, fitting, seed)
        trees = {base: each.made for base, each in zip(bases, learnt, strict=True)}
        found = []
        for recipe in recipes:
            assert isinstance(recipe, GatesRecipe)
            graph, _ = run_passes(
                learnt_graph(facts.graph, trees[recipe.base]), parse_passes("drop-constant,narrow-formats")
            )
            found.append(_removed(facts, graph, codes, labels, recipe.loss, seed))
        return found

    return fit


def _removed(facts: Facts, graph: Graph, codes: np.ndarray, labels: np.ndarray, loss: float, seed: int) -> Fitted:
    """Return *graph* of fewer gates: rows that moves see, and those set aside, are all of *codes*."""

    def gates(each: Graph) -> MappedGates:
        return circuit_gates(each, facts.library, timeout=facts.timeout)

    data = Dataset(_readings(graph, codes), labels, _readings(graph, codes[:0]), labels[:0], name="folds")
    context = PassContext(data, library=facts.library, mapped_gates=gates)
    try:
        made = ApproximateGates(max_loss=loss, seed=seed)(graph, context)
    except PassError:  # too few rows to judge by: nothing goes
        made = graph
    area = circuit_area(made, facts.library, timeout=facts.timeout) + input_area(facts, _read(made))

    def answers(rows: np.ndarray) -> np.ndarray:
        return run(made, rows.reshape(len(rows), *made.input.type.shape)).reshape(-1).astype(np.int64)

    return Fitted(answers, area, made)


def _read(graph: Graph) -> np.ndarray:
    """Return the features (numbers) that *graph* reads."""
    ops = [node.op for node in graph.nodes]
    found = [np.flatnonzero(op.reads.any(axis=1)) for op in ops if isinstance(op, Gates)]
    found += [op.feature for op in ops if isinstance(op, Forest)]
    return np.concatenate(found)


def _readings(graph: Graph, codes: np.ndarray) -> np.ndarray:
    """Return readings (float64, R × F) whose codes are *codes*."""
    op = graph.input.op
    assert isinstance(op, Input)
    assert op.encoding is not None
    return np.asarray(codes * op.encoding.steps() + op.encoding.offsets(), dtype=np.float64)


def _graph(facts: Facts, made: Graph) -> Graph:
    return made
