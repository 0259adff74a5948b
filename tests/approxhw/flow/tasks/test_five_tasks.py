"""The five outside classifiers, from model to netlist: test rows on both simulators, accuracy and area."""

import json
from dataclasses import replace

import numpy as np
import pytest

import approxhw as ax
from approxhw.flow.stages.measure import job_of
from approxhw.sim import simulate

# test rows; the area in mm² of the published exact circuit; what fine or calibrated weights may cost in accuracy, and what
# weights that are rounded to 8 bits may
TASKS = {
    "breast_cancer": (205, None, 0.01, 0.01),
    "cardio": (638, 3560.0, 0.015, 0.015),
    "pendigits": (3298, 7400.0, 0.01, 0.035),
    "redwine": (480, 1910.0, 0.01, 0.01),
    "whitewine": (1470, 3370.0, 0.01, 0.01),
}
RANDOM = 50
INTERPRETED = 200
"""Vectors of a task on Icarus, data rows first: on pendigits each takes 50 ms there. Verilator and the netlist see all."""


@pytest.fixture(scope="module")
def compiled(shared_tasks, tmp_path_factory):
    """Name → compiled design, made once."""
    made = {}

    def make(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name) / "design"
            model, data = shared_tasks / f"{name}.onnx", shared_tasks / f"{name}.npz"
            made[name] = ax.compile(model, data=data, output=folder)
        return made[name]

    return make


@pytest.mark.parametrize("name", TASKS)
def test_verilator_equals_the_interpreter_on_every_test_row(name, compiled, verilator):
    design, rows = compiled(name), TASKS[name][0]
    result = design.simulate("verilator", random=RANDOM)
    assert result.mismatches == 0
    assert len(design.design.rows.test) == rows
    verdict = json.loads((design.folder / "simulation" / "verilator" / "verdict.json").read_text())
    assert verdict["sources"]["data"] == rows
    assert result.vectors == sum(verdict["sources"].values()) >= rows + RANDOM


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_icarus_equals_the_interpreter_on_test_rows(name, compiled, icarus, tmp_path):
    job, _ = job_of(compiled(name).design, random=RANDOM)
    assert job.count >= TASKS[name][0] + RANDOM
    vectors, expected = (
        {port: column[:INTERPRETED] for port, column in c.items()} for c in (job.vectors, job.expected)
    )
    result = simulate(replace(job, vectors=vectors, expected=expected), "icarus", tmp_path / "icarus")
    assert (result.vectors, result.mismatches) == (min(job.count, INTERPRETED), 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_the_netlist_equals_the_interpreter_on_all_rows_and_is_small(name, compiled):
    design, (rows, published, *_) = compiled(name), TASKS[name]
    estimate = design.estimate("egfet")
    kept = json.loads(next((design.folder / "estimate").glob("*.json")).read_text())
    assert kept["netlist_mismatches"] == 0
    assert kept["netlist_vectors"] >= rows + len(design.design.rows.train)
    assert estimate.area_mm2 > 10
    if published is not None:
        assert estimate.area_mm2 <= published


@pytest.mark.parametrize("name", TASKS)
def test_the_hardware_is_nearly_as_accurate_as_the_model(name, compiled, shared_tasks, tmp_path):
    design, (*_, loss, rounded) = compiled(name), TASKS[name]
    assert design.accuracy["rows"] == "test"
    assert design.accuracy["hardware"] >= design.accuracy["onnx"] - rounded
    model, data = shared_tasks / f"{name}.onnx", shared_tasks / f"{name}.npz"
    targets = {
        "fine": ax.Printed(input_bits=8, weight_bits=12),
        "calibrated": ax.Printed(pipeline="printed-calibrated"),
    }
    for what, target in targets.items():
        made = ax.compile(model, data=data, target=target, output=tmp_path / what)
        assert made.accuracy["hardware"] >= made.accuracy["onnx"] - loss, what


def test_the_accuracy_is_that_of_what_the_circuit_says(compiled, icarus):
    design = compiled("redwine")
    codes, classes = design.design.rows.test, design.design.rows.test_classes
    from approxhw.ir.interpreter import run

    said = run(design.design.graph, codes).reshape(len(codes))
    assert np.mean(said == classes) == pytest.approx(design.accuracy["hardware"])
