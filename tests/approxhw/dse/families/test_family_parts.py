"""Families one by one: their names, recipes and circuits, what folds keep on disk, and fronts that are put together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

import approxhw as ax
from approxhw.artifacts.converters import AREA_MM2
from approxhw.artifacts.results import AskedAccuracy, Promise
from approxhw.common.data.dataset import Dataset
from approxhw.common.errors import OptionError
from approxhw.dse.families.circuits import FrontCircuit
from approxhw.dse.families.family import Facts
from approxhw.dse.families.kept_folds import Watch, study_family
from approxhw.dse.families.merging import FamiliesPart, Wanted, asked_accuracies, merged_parts
from approxhw.dse.families.recipe_front import RecipeFront, front_of_recipes
from approxhw.dse.families.registry import NAMES, chosen_families, family_named
from approxhw.dse.families.searching import Studied
from approxhw.dse.rules.recipe_study import RecipeStudy
from approxhw.flow.stages.measure import circuit_area
from approxhw.ir.evaluation import codes_of, predict
from approxhw.ir.interpreter import run
from approxhw.ir.kinds import Forest, Gates
from approxhw.ir.pass_manager import PassContext
from approxhw.networks.families.table import FAMILIES
from approxhw.networks.trees.gates.trimmed import LOSSES, TrimmedTree
from approxhw.numerics.logic.gates import GateList


@pytest.fixture(scope="module")
def rows(iris) -> Dataset:
    return ax.load_dataset(iris.data)


@pytest.fixture(scope="module")
def facts(iris, rows) -> Facts:
    graph, _ = ax.run_passes(ax.read(iris.model), ax.parse_passes("quantize-inputs"), PassContext(rows))
    return Facts(graph, len(rows.y_train))


def test_names_are_those_of_the_registry_and_each_makes_its_family():
    assert NAMES[0] == "mlp"
    assert NAMES[1:] == tuple(FAMILIES), "learners are listed once, in their table"
    assert chosen_families("gates, tree,tree,mlp") == ("mlp", "tree", "gates")
    assert chosen_families(("all",)) == NAMES
    for name in FAMILIES:
        assert family_named(name).name == name
    with pytest.raises(OptionError) as caught:
        chosen_families("forst,trees")
    assert "there is no family 'forst'; did you mean 'forest'?" in str(caught.value)
    assert "there is no family 'trees'; did you mean 'tree'?" in str(caught.value)


def _parts(made) -> tuple[Forest | GateList, ...]:
    """Return what *made* is made of, which is compared value by value."""
    if isinstance(made, TrimmedTree):
        return (made.gates,)
    return (made,) if isinstance(made, Forest) else (made.trees, made.table)


@pytest.mark.parametrize("name", list(FAMILIES))
@pytest.mark.parametrize("system", [False, True])
def test_the_graph_of_a_circuit_answers_as_its_family_says(facts, rows, name, system):
    facts = replace(facts, system=system)
    family = family_named(name)
    recipes = list(family.recipes(facts))[:: 5 if name in ("tree", "entropy", "taught", "pairs", "gates") else 2]
    codes = codes_of(facts.graph, rows.X_train)
    circuits = family.fit(facts)(codes, rows.y_train, recipes, 1)
    seen = codes_of(facts.graph, rows.X_test)
    for circuit in circuits:
        graph = family.graph(facts, circuit.made)
        assert np.array_equal(predict(graph, rows.X_test), circuit.answers(seen))
        tests = [part for part in _parts(circuit.made)[:1] if isinstance(part, Forest)]
        thermometer = system and any(len(trees.feature) and not (trees.other >= 0).any() for trees in tests)
        assert graph.input.op.encoding.rule == ("thermometer" if thermometer else "round")
    assert len(circuits) > 2
    again = family.fit(facts)(codes, rows.y_train, recipes, 1)
    assert [_parts(one.made) for one in again] == [_parts(one.made) for one in circuits]


def test_gates_are_of_the_tree_that_they_began_as_and_loss_is_part_of_the_recipe(facts, rows):
    family = family_named("gates")
    codes = codes_of(facts.graph, rows.X_train)
    recipes = [recipe for recipe in family.recipes(facts) if recipe.growth == "gates, price 0.003" and recipe.size == 5]
    assert [recipe.loss for recipe in recipes] == list(LOSSES)
    assert str(recipes[2]) == "gates, price 0.003, losing 0.5 %, at most 5 leaves"
    found = family.fit(facts)(codes, rows.y_train, recipes, 0)
    every = np.random.default_rng(1).integers(0, 16, (500, 4))
    for circuit in found:
        graph = family.graph(facts, circuit.made)
        assert any(isinstance(node.op, Gates) for node in graph.nodes)
        assert np.array_equal(circuit.answers(every), run(graph, every).reshape(-1))
    costs = [circuit.cost for circuit in found]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < costs[0], "a loss buys something"
    synthesised = [circuit_area(family.graph(facts, each.made)) for each in (found[0], found[-1])]
    assert synthesised[1] < synthesised[0]


def test_where_converters_count_those_of_gates_do_as_whole_ones(facts, rows):
    codes = codes_of(facts.graph, rows.X_train)
    counted = replace(facts, system=True)
    recipes = [recipe for recipe in family_named("gates").recipes(facts) if recipe.size == 4][:2]
    for circuit in family_named("gates").fit(counted)(codes, rows.y_train, recipes, 0):
        inputs = len(np.unique(circuit.made.read))
        assert inputs
        assert circuit.cost == pytest.approx(circuit.made.area() + AREA_MM2 * inputs)


def test_recipes_of_gates_do_not_depend_on_rows(facts):
    """Taking the smallest trees by all rows would look at rows put aside."""
    assert family_named("gates").recipes(facts) == family_named("gates").recipes(replace(facts, rows=100))


def test_every_fit_of_a_fold_is_kept_and_read_instead_of_made_again(facts, rows, tmp_path, monkeypatch):
    codes = codes_of(facts.graph, rows.X_train)
    told: list[tuple[int, int]] = []
    watch = Watch(2, lambda step, done, total: told.append((done, total)))
    study = study_family("optimal", facts, codes, rows.y_train, 1, tmp_path, watch)
    assert study.whole
    assert told[0] == (0, 15)
    assert told[-1] == (15, 15)
    kept = sorted((tmp_path / "family-optimal").iterdir())
    assert len(kept) == 15

    def broken(*given: object) -> None:
        raise AssertionError("it is made again")

    monkeypatch.setattr("approxhw.dse.families.learnt.fit_recipes", broken)
    again = study_family("optimal", facts, codes, rows.y_train, 1, tmp_path, replace(watch, resume=True))
    assert np.array_equal(again.right, study.right)
    assert np.array_equal(again.costs, study.costs)
    with pytest.raises(AssertionError, match="it is made again"):
        study_family("optimal", facts, codes, rows.y_train, 1, tmp_path, watch)


def circuit(family: str, expected: float, *costs: float) -> FrontCircuit:
    figures = {
        "fold": 0,
        "genome": np.zeros(0, np.int32),
        "estimate": 1.0,
        "train": 1.0,
        "validation": 1.0,
        "test": 1.0,
    }
    return FrontCircuit(
        family=family, recipe="", expected=expected, costs=np.array(costs), design=None, origin=None, **figures
    )  # type: ignore[arg-type]


def wanted(**more: object) -> Wanted:
    told = {"target": 0.9, "keep": (), "reference": None, "loss": 0.05, "synthesised": 9, "members": 9}
    return Wanted(**{**told, **more})  # type: ignore[arg-type]


PROMISE = Promise(0.9, 0.8, 0.95, 100)


@dataclass(frozen=True)
class Sized:
    """A recipe that nobody fits."""

    path: str


def test_a_loss_is_one_against_the_model_on_the_same_rows():
    """A small circuit that is right where the model is has lost nothing: no chance that both share is in its loss."""
    rng = np.random.default_rng(1)
    fold, model = np.arange(400) % 5, rng.random(400) < 0.8
    small, large = model.copy(), np.ones(400, dtype=bool)
    small[np.flatnonzero(model)[:2]] = False  # 0.5 % less, on two rows
    right = np.stack([small, large])[None].repeat(6, axis=0)
    judged = fold[None] != np.arange(6)[:, None]
    study = RecipeStudy(
        (Sized("small"), Sized("large")), np.zeros(400, int), fold, right, judged, np.tile([1.0, 9.0], (6, 1)), 0
    )
    studied = Studied(study, ("tree", "tree"), None, None, (), ())  # type: ignore[arg-type]
    given = wanted(target=None, reference=float(model.mean()), loss=0.01, right=model)
    chosen = []
    for asked in (given, replace(given, right=None)):
        front = RecipeFront(studied, None, asked, Watch())  # type: ignore[arg-type]
        front.made = {0: circuit("tree", 0.8, 1.0), 1: circuit("tree", 1.0, 9.0)}
        chosen.append(front.choose(asked.aim))
        assert front.choose(0.999)[0] == 1, "another accuracy is no loss"
    assert chosen == [(0, True), (1, True)]
    front = RecipeFront(studied, None, given, Watch())  # type: ignore[arg-type]
    front.made = {0: circuit("tree", 0.8, 1.0), 1: circuit("tree", 1.0, 9.0)}
    part = front_of_recipes(front, "area", "the smallest circuit")
    assert part.rule == (
        "the smallest circuit expected to lose at most 1 % against the model (of recipes: accuracy on 5 folds put aside, "
        "made to rise with area, less 0.5 standard errors of the difference on the same rows)"
    )
    assert part.index == 0


def test_a_front_of_two_kinds_keeps_what_nothing_beats_and_chooses_the_cheapest_that_holds():
    nets = FamiliesPart((circuit("mlp", 0.7, 1.0), circuit("mlp", 0.91, 5.0)), 1, "nets", True, PROMISE)
    trees = FamiliesPart(
        (circuit("tree", 0.8, 2.0), circuit("tree", 0.92, 4.0)), 1, "trees", True, replace(PROMISE, rows=7)
    )
    found = merged_parts([nets, trees], wanted())
    assert [(each.family, each.expected) for each in found.circuits] == [("mlp", 0.7), ("tree", 0.8), ("tree", 0.92)]
    assert found.chosen.family == "tree"
    assert found.promise.rows == 7
    assert found.rule == "nets or trees"
    short = merged_parts([replace(nets, held=False), replace(trees, held=False)], wanted(target=0.99))
    assert short.chosen.expected == 0.92
    assert short.rule == "nets or trees; there is none, so it is the one that is expected to hold most"
    assert merged_parts([nets], wanted()) is nets


def test_what_was_chosen_and_what_was_to_stay_is_kept_where_members_are_few():
    nets = FamiliesPart(
        (circuit("mlp", 0.70, 1.0), circuit("mlp", 0.71, 1.1), circuit("mlp", 0.72, 1.2)), 1, "nets", True, PROMISE
    )
    trees = FamiliesPart(
        (circuit("tree", 0.8, 2.0), circuit("tree", 0.92, 4.0)), 1, "trees", True, PROMISE, frozenset({0})
    )
    found = merged_parts([nets, trees], wanted(members=2))
    assert found.chosen.expected == 0.71
    assert 0.8 in [each.expected for each in found.circuits]


def test_for_each_accuracy_the_cheapest_answer_of_all_kinds_is_told():
    def ask(family: str, most: float, cost: float):
        return lambda target: AskedAccuracy(target, target <= most, family, "", cost, PROMISE)

    nets = FamiliesPart((circuit("mlp", 0.95, 9.0),), 0, "", True, PROMISE, ask=ask("mlp", 0.95, 9.0))
    trees = FamiliesPart((circuit("tree", 0.8, 2.0),), 0, "", True, PROMISE, ask=ask("tree", 0.8, 2.0))
    found = asked_accuracies([nets, trees], 0.5)
    assert [each.target for each in found] == [0.5, 0.8, 0.95]
    assert [each.family for each in found] == ["tree" if each.target <= 0.8 else "mlp" for each in found]
    assert asked_accuracies([replace(nets, ask=lambda target: None)], 0.5) == ()
    many = FamiliesPart(
        tuple(circuit("mlp", 0.6 + k / 100, 1.0 + k) for k in range(35)), 0, "", True, PROMISE, ask=nets.ask
    )
    targets = [each.target for each in asked_accuracies([many], 0.5)]
    assert len(targets) == 16
    assert (targets[0], targets[-1]) == (0.5, 0.94)
    assert targets == sorted(targets)
    assert [each.target for each in asked_accuracies([nets], 0.97)] == [0.95]
