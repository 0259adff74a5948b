"""A search of families that are fitted by recipes: the front, its circuits, what it promises, going on, and what may be wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

import approxhw as ax
from approxhw.common.errors import (
    CheckpointError,
    InvalidDataError,
    InvalidDesignError,
    OptionError,
    UnsupportedModelError,
)
from approxhw.dse.api import refuse_trees
from approxhw.dse.evolve import Hooks
from approxhw.dse.genetic.options import Seeding
from approxhw.ir.evaluation import accuracy
from approxhw.ir.kinds import Forest
from approxhw.ir.pass_manager import PassContext
from approxhw.report.asked_plot import asked_steps

FEW = {"members": 5, "synthesised": 5, "simulate": (), "jobs": 1}
TREES = "tree,optimal"


@pytest.fixture(scope="module")
def treed(iris, tmp_path_factory) -> ax.SearchResult:
    """A front of trees of irises, simulated on both simulators; nothing writes into it."""
    folder = tmp_path_factory.mktemp("treed") / "front"
    simulated = {**FEW, "simulate": ("icarus", "verilator")}
    return ax.search(iris.model, data=iris.data, output=folder, families=TREES, target_accuracy="90%", **simulated)


def test_members_are_circuits_of_their_family_proven_as_any_are(treed, iris):
    data = ax.load_dataset(iris.data)
    assert {member.family for member in treed.members} <= {"tree", "optimal"}
    vectors = 0
    for member in treed.members:
        design = member.design
        graph = design.design.graph
        assert any(isinstance(node.op, Forest) for node in graph.nodes)
        assert member.test_accuracy == accuracy(graph, data.X_test, data.y_test)
        assert member.train_accuracy == accuracy(graph, data.X_train, data.y_train)
        told = json.loads((design.folder / "estimate/egfet.json").read_text())
        assert (told["area_mm2"], told["netlist_mismatches"]) == (member.area_mm2, 0)
        assert told["netlist_vectors"] >= len(data.X_train)
        for simulator in ("icarus", "verilator"):
            verdict = json.loads((design.folder / f"simulation/{simulator}/verdict.json").read_text())
            assert verdict["mismatches"] == 0
            vectors += verdict["vectors"]
        line = next(row for row in design.design.ledger if row["name"] == "search")
        assert f"family={member.family},recipe={member.recipe.replace(', ', '; ')}" in line["spelled"]
        assert any(member.recipe in note for note in line["notes"])
    assert vectors > 2 * len(treed.members) * 45
    assert treed.front.genomes.shape == (len(treed.members), 0)


def test_the_cheapest_that_is_expected_to_hold_the_target_is_chosen_and_promised(treed):
    held = [member for member in treed.members if member.expected_accuracy >= 0.9]
    assert held
    assert treed.chosen.index == held[0].index
    assert "the smallest circuit expected to hold 90.00 %" in treed.front.rule
    promise = treed.front.promise
    assert promise is not None
    assert promise.rows == 105
    assert promise.low < promise.accuracy < promise.high
    assert promise.accuracy * 105 == pytest.approx(round(promise.accuracy * 105))
    told = treed.as_json()
    assert told["promise"]["accuracy"] == promise.accuracy
    assert {each["name"] for each in told["families"]} == {"tree", "optimal"}
    assert sum(each["members"] for each in told["families"]) == len(treed.members)


def test_no_member_beats_another_in_area_and_what_it_is_expected_to_hold(treed):
    points = [(member.area_mm2, -member.expected_accuracy) for member in treed.members]
    assert points == sorted(points)
    gains = [-gain for _, gain in points]
    assert gains == sorted(gains)
    assert all(member.inputs > 0 for member in treed.members), "what always says one class is no member"


def test_its_page_shows_options_of_recipes_and_each_choice_once(treed):
    page = (treed.folder / "report.html").read_text()
    assert "target accuracy" in page
    assert "crossover" not in page
    assert "seeding" not in page
    rows = page.split('<section id="asked">')[1].split("<tbody>")[1].split("</tbody>")[0].count("<tr>")
    assert rows == len(asked_steps(treed.front.asked)) <= len(treed.front.asked)


def test_accuracies_that_were_asked_for_rise_with_their_area(treed):
    targets = [each.target for each in treed.front.asked]
    assert targets == sorted(targets)
    assert len(targets) == len(set(targets)) >= 2
    assert max(targets) == max(member.expected_accuracy for member in treed.members)
    held = [each.cost for each in treed.front.asked if each.held]
    assert held == sorted(held)
    assert {each.family for each in treed.front.asked} <= {"tree", "optimal"}


def test_a_front_of_families_reads_back_and_its_figures_are_checked(treed, tmp_path):
    again = ax.open_front(treed.folder)
    assert again.as_json() == treed.as_json()
    copy = Path(shutil.copytree(treed.folder, tmp_path / "front"))
    told = json.loads((copy / "front.json").read_text())
    told["promise"]["low"] = 0.99
    told["promise"]["high"] = 1.5
    (copy / "front.json").write_text(json.dumps(told))
    with pytest.raises(InvalidDesignError, match="promise: it cannot be"):
        ax.open_front(copy)


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_same_seed_gives_the_same_front_of_families(treed, iris, tmp_path, jobs):
    few = {**FEW, "jobs": jobs}
    again = ax.search(iris.model, data=iris.data, output=tmp_path / "front", families=TREES, target_accuracy=0.9, **few)
    for one, other in zip(again.members, treed.members, strict=True):
        assert (one.recipe, one.area_mm2, one.expected_accuracy) == (
            other.recipe,
            other.area_mm2,
            other.expected_accuracy,
        )
        assert one.design.design.graph == other.design.design.graph
    assert again.front.promise == treed.front.promise
    assert again.front.asked == treed.front.asked


def test_a_search_that_is_ended_among_folds_leaves_a_front_and_goes_on_to_the_same_one(treed, iris, tmp_path):
    told: list[tuple[int, int]] = []
    hooks = Hooks(
        on_progress=lambda step, done, total: told.append((done, total)) if "folds of family" in step else None,
        stop=lambda: len(told) >= 3,
    )
    common = {"data": iris.data, "output": tmp_path / "front", "families": TREES, "target_accuracy": 0.9, **FEW}
    first = ax.search(iris.model, hooks=hooks, **common)
    assert first.front.interrupted
    assert told == [(0, 15), (1, 15), (2, 15)]
    assert first.front.promise is None
    assert first.front.asked == ()
    assert any("the search was ended before family optimal" in text for text in first.front.warnings)
    assert any(
        "42 of 105 training rows judge recipes, and nothing is promised" in text for text in first.front.warnings
    )
    kept = sorted(path.name for path in (first.folder / "checkpoint/family-tree").iterdir())
    assert kept == ["without-0.npz", "without-1.npz"]
    again = ax.search(iris.model, resume=True, **common)
    assert not again.front.interrupted
    assert again.front.promise == treed.front.promise
    assert [member.recipe for member in again.members] == [member.recipe for member in treed.members]
    assert len(list((again.folder / "checkpoint/family-tree").iterdir())) == 15


def test_folds_of_another_search_are_refused_with_every_difference(treed, iris, tmp_path):
    copy = Path(shutil.copytree(treed.folder, tmp_path / "front"))
    before = (copy / "front.json").read_bytes()
    with pytest.raises(CheckpointError) as caught:
        ax.search(iris.model, data=iris.data, output=copy, families=TREES, resume=True, seed=2, **FEW)
    assert "seed: the checkpoint is of 1, this search of 2" in str(caught.value)
    (copy / "checkpoint/family-tree/without-0.npz").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match="start again without --resume"):
        ax.search(iris.model, data=iris.data, output=copy, families=TREES, resume=True, **FEW)
    assert (copy / "front.json").read_bytes() == before


def test_where_converters_count_trees_read_the_bits_of_thermometers(iris, tmp_path):
    found = ax.search(
        iris.model,
        data=iris.data,
        output=tmp_path / "front",
        families="tree,pairs",
        objectives="errors,system-area",
        **FEW,
    )
    assert found.front.objectives == ("errors", "system-area")
    data = ax.load_dataset(iris.data)
    assert len(found.members) >= 2
    assert any(member.family == "tree" for member in found.members)
    for member in found.members:
        design = member.design.design
        forests = [node.op for node in design.graph.nodes if isinstance(node.op, Forest)]
        single = not any((forest.other >= 0).any() for forest in forests)  # no sum: every test is a comparator's
        assert single or member.family == "pairs"
        assert design.graph.input.op.encoding.rule == ("thermometer" if single else "round")
        each = 0.08 if single else 16.5  # a comparator, or the whole converter that a sum of codes needs
        assert member.converters_area_mm2 == pytest.approx(each * len(design.inputs))
        assert member.train_accuracy == accuracy(design.graph, data.X_train, data.y_train)
    costs = [member.system_area_mm2 for member in found.members]
    assert costs == sorted(costs)


@pytest.mark.slow
def test_masked_networks_and_trees_share_a_front(iris, passes, tmp_path):
    small = {"folds": 2, "population": 16, "generations": 3, "seeding": Seeding(starts=2, moves=300)}
    common = {"data": iris.data, "passes": ax.parse_passes(passes), **FEW, **small}
    both = ax.search(iris.model, output=tmp_path / "both", families="tree,mlp", **common)
    alone = ax.search(iris.model, output=tmp_path / "alone", **common)
    assert both.front.evaluations == alone.front.evaluations > 0
    assert alone.front.families == ()
    assert {each.name for each in both.front.families} == {"mlp", "tree"}
    found = {member.area_mm2: member.expected_accuracy for member in both.members if member.family == "mlp"}
    known = {member.area_mm2: member.expected_accuracy for member in alone.members}
    assert found.items() <= known.items(), "the genetic search is what it is alone"
    assert alone.front.promise is not None
    for member in both.members:
        beaten = [
            other for other in both.members
            if other.area_mm2 <= member.area_mm2 and other.expected_accuracy > member.expected_accuracy
        ]  # fmt: skip
        assert not beaten or member.chosen
    assert "family" in both.report().read_text(encoding="utf-8").lower()


def test_codes_are_those_that_were_asked_for(iris, tmp_path):
    target = ax.Printed(input_bits=3, low=(0.0,), high=(8.0,), ranges="extremes", pipeline="printed-po2")
    found = ax.search(iris.model, data=iris.data, output=tmp_path / "front", target=target, families="optimal", **FEW)
    for member in found.members:
        encoding = member.design.design.graph.input.op.encoding
        assert encoding.bits == 3
        assert set(encoding.low) == {0.0}
        assert set(encoding.high) == {8.0}
    rows = ax.load_dataset(iris.data)
    right = found.front.onnx
    assert found.front.data["rows"]["validation"] == len(rows.y_train), "every row judges, fold after fold"
    assert right["validation"] == right["train"]
    wide = ax.Printed(input_bits=10, input_code="thermometer", pipeline="printed-po2")
    with pytest.raises(OptionError) as told:
        ax.search(iris.model, data=iris.data, output=tmp_path / "wide", target=wide, families="tree,gates", **FEW)
    assert "input_bits: tree, gates are learnt on codes of at most 8 bits, not 10" in str(told.value)
    assert "do: give 8 or fewer, or --families mlp" in str(told.value)


def test_a_model_of_trees_has_no_masked_network(iris):
    data = ax.load_dataset(iris.data)
    trees, _ = ax.run_passes(ax.read(iris.model), ax.parse_passes("distil-tree{leaves=3}"), PassContext(data))
    refuse_trees(trees, ("tree", "gates"))
    with pytest.raises(OptionError) as told:
        refuse_trees(trees, ("mlp", "tree"))
    assert "families: mlp makes networks cheaper, and this model is of trees" in str(told.value)
    assert "do: --families tree" in str(told.value)


def test_what_is_wrong_with_families_is_told(iris, tmp_path):
    with pytest.raises(OptionError) as caught:
        ax.search(iris.model, data=iris.data, families="tre,mlp")
    assert "families: there is no family 'tre'; did you mean 'tree'?" in str(caught.value)
    assert "give some of mlp, tree, entropy, taught, pairs, optimal, forest" in str(caught.value)
    data = np.load(iris.data)
    few = {name: data[name][:9] if "train" in name else data[name] for name in data.files}
    few["y_train"] = np.arange(9) % 3
    np.savez(tmp_path / "few.npz", **few)
    with pytest.raises(InvalidDataError) as told:
        ax.search(iris.model, data=tmp_path / "few.npz", output=tmp_path / "front", families="tree,optimal")
    assert "X_train: 9 training rows are too few for the 5 folds that judge families tree, optimal" in str(told.value)
    assert "do: give at least 10 rows, or --families mlp" in str(told.value)
    same = {**{name: data[name] for name in data.files}, "y_train": np.ones(105, dtype=np.int64)}
    np.savez(tmp_path / "same.npz", **same)
    with pytest.raises(InvalidDataError, match="all 105 training rows are of class 1, and a wire would classify them"):
        ax.search(iris.model, data=tmp_path / "same.npz", output=tmp_path / "front", families="tree")
    assert not (tmp_path / "front").exists()


def test_a_regressor_has_no_families(tmp_path):
    from skl2onnx import to_onnx
    from sklearn.datasets import load_diabetes
    from sklearn.linear_model import LinearRegression

    rows, values = load_diabetes(return_X_y=True)
    model = to_onnx(LinearRegression().fit(rows[:50], values[:50]), rows[:1].astype(np.float32))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    np.savez(tmp_path / "data.npz", X_train=rows[:50], y_train=values[:50], X_test=rows[50:60], y_test=values[50:60])
    with pytest.raises(UnsupportedModelError, match="a search trains classifiers"):
        ax.search(tmp_path / "model.onnx", data=tmp_path / "data.npz", families="tree")


def test_a_target_that_nothing_meets_gives_the_best_and_a_word(iris, tmp_path):
    found = ax.search(
        iris.model, data=iris.data, output=tmp_path / "front", families="tree", target_accuracy="100%", **FEW
    )
    best = max(member.expected_accuracy for member in found.members)
    assert found.chosen.expected_accuracy == best
    told = [
        text for text in found.front.warnings if text.startswith("no circuit holds what was asked of the chosen one")
    ]
    assert len(told) == 1
    assert told[0].endswith(f"; the best one is expected to hold {100 * best:.2f} %")
    assert found.front.rule.endswith("; there is none, so it is the one that is expected to hold most")


def test_rows_without_any_split_leave_the_most_frequent_class(iris, tmp_path):
    data = np.load(iris.data)
    flat = {name: np.full_like(data[name], 0.5) if name.startswith("X") else data[name] for name in data.files}
    np.savez(tmp_path / "flat.npz", **flat)
    found = ax.search(iris.model, data=tmp_path / "flat.npz", output=tmp_path / "front", families="tree", **FEW)
    assert len(found.members) == 1
    assert (found.chosen.area_mm2, found.chosen.inputs) == (0.0, 0)
    assert any("4 features are the same in every training row" in text for text in found.front.warnings)
    assert any("is no better than always answering the most frequent class" in text for text in found.front.warnings)
    assert any("45 of 45 test rows (100.0 %) are training rows, too" in text for text in found.front.warnings)


def test_the_command_line_tells_families_recipes_and_the_promise(iris, cli):
    options = ("--members", 3, "--synthesised", 3, "--no-simulate", "--jobs", 1, "--target-accuracy", "85%")
    result: Result = cli("search", iris.model, "--data", iris.data, "-o", "front", "--families", TREES, *options)
    assert result.exit_code == 0, result.output
    assert "folds of 105 training rows judge tree, optimal" in result.output
    assert "promised: " in result.output
    assert "95 % interval" in result.output
    assert "chosen: front/members/" in result.output
    assert " (tree, price " in result.output
    assert "recipes, " in result.output
    assert "evaluations" not in result.output
    wrong = cli("search", iris.model, "--data", iris.data, "--families", "forrest")
    assert wrong.exit_code == 2
    assert "did you mean 'forest'" in wrong.output
