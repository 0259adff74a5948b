"""Objectives: chosen by name, estimated for genomes, and for members of a front what the estimate of their design says."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import approxhw as ax
from approxhw.artifacts.converters import AREA_MM2
from approxhw.artifacts.objectives import CIRCUIT, DEFAULT, ENGINE, chosen_objectives
from approxhw.common.errors import OptionError
from approxhw.dse.evolve import Hooks, prices_of
from approxhw.dse.genetic.options import Seeding
from approxhw.dse.settings import SearchSettings, Task, settled
from approxhw.flow.printed.target import Printed
from approxhw.flow.stages.protocol import Clock
from approxhw.networks.costs import CellFigures, Delay, Energy, Inputs, Power
from approxhw.networks.space import make_space

WRONG = {
    "errors,aera": "objectives: there is no objective 'aera'; did you mean 'area'?",
    "errors": "objectives: 'errors' alone leaves nothing to trade off; at least 2 are searched",
    "errors,area,power,delay": "objectives: 4 are named; at most 3 are searched",
    "errors,area,area": "objectives: area is named 2 times",
    "area,power": "objectives: errors are not among them, and without them the emptiest circuit is best",
    "": "objectives: there is no objective ''",
}


@pytest.mark.parametrize("given", WRONG)
def test_objectives_that_cannot_be_are_one_clear_error_each(given):
    for spelled in (given, tuple(given.split(","))):
        with pytest.raises(OptionError) as caught:
            settled({"objectives": spelled})
        assert len(caught.value.problems) == 1
        assert WRONG[given] in str(caught.value)


@pytest.mark.parametrize("none", [(), []])
def test_no_objectives_at_all_are_an_error_too(none):
    with pytest.raises(OptionError, match="objectives: none leaves nothing to trade off; at least 2 are searched"):
        settled({"objectives": none})


def test_what_is_wrong_with_several_is_told_together():
    with pytest.raises(OptionError) as caught:
        settled({"objectives": "errors,aera,powr,delay,delay", "population": 0, "foldz": 2})
    assert [problem.where for problem in caught.value.problems] == ["foldz", "population", *["objectives"] * 3]


@pytest.mark.parametrize("target", [[], ["--target", "matrix-engine"]])
def test_the_command_line_refuses_them_too(target, cli, iris):
    result = cli("search", iris.model, "--data", iris.data, *target, "--objectives", "errors,aera")
    assert result.exit_code == 2
    assert "there is no objective 'aera'; did you mean 'area'?" in result.output.replace("\n", " ")


def test_they_stand_in_their_order_and_are_fields_with_help_and_choices():
    names = [each.name for each in chosen_objectives("delay, errors,inputs", CIRCUIT)]
    assert names == ["errors", "delay", "inputs"]
    assert settled({}).objectives == DEFAULT == ("errors", "area")
    fields = SearchSettings.__dataclass_fields__
    assert fields["objectives"].metadata["choices"] == tuple(CIRCUIT)
    assert all(f.metadata["help"] for f in fields.values())
    for known in (CIRCUIT, ENGINE):
        assert len({each.unit for each in known.values()}) == len(known), "titles of the logbook"
        assert list(known) == [each.name for each in known.values()]


SPACE = make_space((3, 2, 2))


def genome(masks, out=((15, 15), (15, 15))):
    made = np.zeros((1, SPACE.genes), np.int32)
    SPACE.layer_genes(made, 0).masks[0] = masks
    SPACE.layer_genes(made, 1).masks[0] = out
    return made


def test_inputs_and_converters_count_the_features_that_something_reads():
    inputs = Inputs(SPACE)
    assert inputs(genome([[0, 0, 0], [0, 0, 0]])).tolist() == [0]
    assert inputs(genome([[1, 0, 0], [0, 0, 15]])).tolist() == [2]
    # a neuron that nothing reads reads nothing
    assert inputs(genome([[1, 0, 0], [0, 0, 15]], ((15, 0), (15, 0)))).tolist() == [1]
    assert Inputs(SPACE, AREA_MM2)(genome([[1, 1, 0], [0, 0, 0]])).tolist() == [2 * AREA_MM2]


def test_power_delay_and_energy_of_an_empty_circuit_are_none_and_grow_with_what_is_in_it():
    figures = CellFigures((1.0,) * 16, (1.0,) * 16, "made up")
    power, delay = Power(SPACE, figures), Delay(SPACE, figures)
    empty = genome(np.zeros((2, 3)), np.zeros((2, 2)))
    some, full = genome([[1, 0, 0], [0, 1, 0]], ((15, 0), (0, 15))), genome(np.full((2, 3), 15), np.full((2, 2), 255))
    for made in (some, full):
        SPACE.comparators(made)[:] = (1 << SPACE.width) - 1
    # neurons of equal weights would be compared away
    for layer in (0, 1):
        SPACE.layer_genes(full, layer).exponents[0] = np.arange(SPACE.layout[layer, :2].prod()).reshape(2, -1)
    assert power(empty).tolist() == delay(empty).tolist() == [0.0]
    assert 0 < power(some)[0] < power(full)[0]
    assert 0 < delay(some)[0] < delay(full)[0]
    both = np.concatenate([some, full])
    assert Energy(power, delay)(both).tolist() == (power(both) * delay(both)).tolist()
    assert np.concatenate([power(some), power(full)]).tolist() == power(both).tolist(), "whatever else is in the batch"


@pytest.fixture(scope="module")
def front(iris, passes, tmp_path_factory):
    """A front of errors, energy and inputs."""
    return ax.search(
        iris.model, data=iris.data, output=tmp_path_factory.mktemp("three") / "front", passes=ax.parse_passes(passes),
        objectives="errors,energy,inputs", seeding=Seeding(starts=2, moves=300), folds=1, population=40, generations=4,
        synthesise_every=2, members=4, synthesised=6, jobs=2, simulate=(),
    )  # fmt: skip


def test_every_objective_of_a_member_is_what_the_estimate_of_its_design_says(front):
    for found in front.members:
        member, design = found.member, found.design.design
        told = json.loads((front.folder / member.design / "estimate" / "egfet.json").read_text())
        says = {
            "area": told["area_mm2"],
            "power": told["power_mw"],
            "delay": told["delay_ms"],
            "energy": told["power_mw"] * told["delay_ms"],
            "inputs": len(design.inputs),
            "converters": design.converters.area_mm2,
            "system-area": told["area_mm2"] + design.converters.area_mm2,
            "system-power": told["power_mw"] + design.converters.power_mw,
        }
        assert set(says) == set(CIRCUIT) - {"errors"}
        for name, value in says.items():
            assert CIRCUIT[name].value(member) == pytest.approx(value, rel=1e-12), name
        assert CIRCUIT["errors"].value(member) == member.accuracy


def test_a_search_of_three_objectives_ends_with_a_front_of_them(front, tmp_path):
    told = front.front
    assert told.objectives == ("errors", "energy", "inputs")
    assert ax.open_front(front.folder).front.objectives == told.objectives
    costs = [(member.energy_uj, member.inputs) for member in told.members]
    assert [cost[0] for cost in costs] == sorted(cost[0] for cost in costs)
    assert len(costs) > 1
    assert told.rule.startswith("the circuit of least energy that loses at most 5 %")
    assert any("objectives=errors+energy+inputs" in str(row["spelled"]) for row in front.chosen.design.design.ledger)
    page = (front.folder / "report.html").read_text()
    for axis in ("area", "power", "energy", "inputs"):
        assert f'<div class="chart" data-axis="{axis}">' in page
    assert "Energy, µJ" in page
    assert {"median_aj", "least_aj", "median_inputs", "least_inputs"} <= set(told.history[0])
    assert front.as_json()["front"][0]["energy_uj"] == told.members[0].energy_uj


def test_estimated_energy_ranks_circuits_as_synthesis_does(front):
    assert front.front.rank_correlation > 0.7
    prices = prices_of("egfet", [CIRCUIT["energy"]])
    assert prices.cells.powers[0] > prices.cells.powers[5] > 0, "a full adder burns more than a gate"


def test_the_default_needs_no_cell_figures():
    assert prices_of("egfet", [CIRCUIT["area"], CIRCUIT["inputs"]]).cells is None


def test_settings_are_one_object_or_options_by_name():
    base = SearchSettings(population=80, starts=3, objectives=("errors", "area"))
    assert settled({"starts": 1}, base) == replace(settled({}, base), starts=1, seeding=Seeding(starts=1))
    assert settled({"validation_share": "0%", "folds": 3}).folds == 1


def test_options_of_starts_make_how_starts_are_made():
    own = {"far_noise": 0.1, "averaged": 3, "teachers": 2, "thin_starts": 0.5, "early_starts": 0.25, "copies": 4}
    found = settled(own)
    assert found.seeding == Seeding(**own)
    assert settled({"seeding": Seeding(averaged=3, starts=2)}).averaged == 3, "the one tells the other"
    with pytest.raises(OptionError) as caught:
        settled({"averaged": 0, "thin_inputs": 2.0})
    assert "averaged: 0 is no integer of 1 or more" in str(caught.value)
    assert "thin_inputs: 2.0 is not above 0 and at most 1" in str(caught.value)


def test_a_front_tells_options_of_starts_that_were_asked_for():
    def told(**given):
        task = Task(Printed(), (), settled(given), Hooks(), "", Clock())
        return {name: value for name, value in task.asked().items() if name.startswith("seeding_")}

    assert "seeding_noise" in told()
    assert not {"seeding_averaged", "seeding_thin_starts", "seeding_thin_inputs"} & set(told()), "as fronts of before"
    assert told(averaged=2, thin_inputs=0.25) == {**told(), "seeding_averaged": 2, "seeding_thin_inputs": 0.25}
