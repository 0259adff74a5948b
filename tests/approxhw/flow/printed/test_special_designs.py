"""Odd circuits from end to end: constant ones without inputs, registered ones, single logits, one feature, unread ones."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

import approxhw as ax

BOTH = pytest.mark.parametrize("registers", [False, True], ids=["combinational", "registered"])


@pytest.fixture
def compiled(mlp, rows_of, tmp_path):
    """Return a function: layers → design, its rows the model's own opinion."""

    def make(layers, **target) -> ax.CompiledDesign:
        onnx.save(mlp(layers), tmp_path / "model.onnx")
        rows, classes = rows_of(layers)
        target = ax.Printed(**{"input_bits": 3, **target})
        return ax.compile(tmp_path / "model.onnx", target=target, data=(rows, classes), output=tmp_path / "out")

    return make


def _whole_way(cli, design: ax.CompiledDesign, *simulators: str) -> dict:
    """Simulate, measure and report by command line; return what ``--json`` says at last."""
    for simulator in simulators:
        result = cli("simulate", design.folder, "--simulator", simulator, "--random", 50)
        assert result.exit_code == 0, result.stderr
        assert " 0 mismatches (" in result.stdout
    result = cli("estimate", design.folder)
    assert result.exit_code == 0, result.stderr
    result = cli("report", design.folder, "--json")
    assert result.exit_code == 0, result.stderr
    assert (design.folder / "report.html").stat().st_size > 5000
    return json.loads(result.stdout)


@pytest.mark.slow
@BOTH
def test_a_model_of_zeros_is_a_constant(cli, compiled, icarus, verilator, registers):
    zeros = [([[0, 0], [0, 0], [0, 0]], [0, 0]), ([[0, 0, 0], [0, 0, 0]], [1, 3, 2])]
    design = compiled(zeros, registers=registers)
    assert design.design.inputs == ()
    described = json.loads((design.folder / "design.json").read_text())
    assert described["unread_features"] == ["x0", "x1", "x2"]
    assert set(design.predict(np.random.default_rng(1).random((20, 3))).tolist()) == {1}
    said = _whole_way(cli, design, "icarus", "verilator")
    assert [row["mismatches"] for row in said["simulation"]] == [0, 0]
    assert all(row["vectors"] > 0 for row in said["simulation"])
    assert said["accuracy"]["hardware"] == 1
    assert said["estimate"]["area_mm2"] >= 0


@pytest.mark.slow
def test_registers_cost_two_edges_and_cells(cli, compiled, tiny, icarus, verilator):
    plain = compiled(tiny)
    flat = _whole_way(cli, plain)["estimate"]
    design = compiled(tiny, registers=True)
    known = design.design
    assert (known.clock, known.latency) == ("clock", 2)
    assert "posedge clock" in design.verilog
    described = json.loads((design.folder / "design.json").read_text())
    assert (described["clock"], described["latency"]) == ("clock", 2)
    said = _whole_way(cli, design, "icarus", "verilator")
    assert [row["vectors"] for row in said["simulation"]] == [512 + 18] * 2
    assert said["estimate"]["cells"] > flat["cells"]
    assert any(name.startswith("DFF") for name in said["estimate"]["cells_by_type"])
    assert "latency: 2 rising edges" in (design.folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("layers", "features", "bits"),
    [
        ([([[2.0], [-3.0], [1.5]], [0.25])], 3, 1),
        ([([[2.0, -1.0], [-3.0, 1.0]], [0.5, -0.5]), ([[1.0], [-2.0]], [-0.1])], 2, 1),
        ([([[1.0, -2.0, 0.5]], [-0.2, 0.9, 0.1])], 1, 2),
        ([([[1.0, -1.0]], [-0.4, 0.4])], 1, 1),
    ],
    ids=["single logit", "single logit after ReLU", "one feature", "one feature, two classes"],
)
def test_small_heads_and_inputs(cli, compiled, icarus, layers, features, bits):
    design = compiled(layers)
    assert len(design.design.inputs) == features
    assert design.design.output_bits == bits
    said = _whole_way(cli, design, "icarus")
    assert said["accuracy"]["onnx"] == 1
    assert said["accuracy"]["hardware"] >= 0.8


def test_a_feature_that_nothing_reads_has_no_port(cli, compiled, icarus):
    layers = [([[2, -1], [0, 0], [-2, 3]], [0.1, 0.2])]
    design = compiled(layers)
    described = json.loads((design.folder / "design.json").read_text())
    assert [port["name"] for port in described["inputs"]] == ["x0", "x2"]
    assert [port["feature"] for port in described["inputs"]] == [0, 2]
    assert described["unread_features"] == ["x1"]
    assert "x1" not in design.verilog
    rows = np.random.default_rng(3).random((40, 3))
    other = rows.copy()
    other[:, 1] = 1 - other[:, 1]
    np.testing.assert_array_equal(design.predict(rows), design.predict(other))
    _whole_way(cli, design, "icarus")


def test_the_papers_code_takes_readings_from_0_to_1(cli, inputs, icarus):
    words = (
        "compile",
        inputs / "tiny.onnx",
        "--data",
        inputs / "tiny.npz",
        "-o",
        "out",
        "--no-simulate",
        "--no-estimate",
    )
    assert cli(*words, "--input-code", "floor16", "--input-bits", 4).exit_code == 0
    described = json.loads((ax.open_design("out").folder / "design.json").read_text())
    assert {(port["low"], port["high"], port["rule"]) for port in described["inputs"]} == {(0.0, 1.0, "floor16")}
    assert described["inputs"][0]["formula"].startswith("code = clip(floor(")
    assert cli("simulate", "out", "--simulator", "icarus").exit_code == 0


def test_port_formulas_are_what_the_hardware_was_tested_with(made):
    """What design.json tells a user to wire is what the rows were encoded by."""
    known = ax.open_design(made).design
    with np.load(made.parents[1] / "inputs0" / "tiny.npz") as data:
        readings = data["X_test"]
    for port in known.inputs:
        code = port.formula.removeprefix("code = ")
        names = {"clip": lambda v, low, high: np.clip(v, low, high), "floor": np.floor, "x": readings[:, port.feature]}
        told = eval(code, {"__builtins__": {}}, names)
        np.testing.assert_array_equal(told, known.rows.test[:, port.feature])


def test_bits_of_tables_are_an_option(cli, mlp, rows_of, tiny, tmp_path):
    """A hidden Tanh becomes a table of codes of so many bits; pipelines that have no tables say that they know no such option."""
    model, (rows, classes) = mlp(tiny), rows_of(tiny)
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Tanh"
    onnx.save(model, "tanh.onnx")
    np.savez("rows.npz", X=rows, y=classes)
    words = ("compile", "tanh.onnx", "--data", "rows.npz", "--no-simulate", "--no-estimate")
    sizes = {}
    for bits in (3, 8):
        assert cli(*words, "-o", str(bits), "--lookup-bits", bits).exit_code == 0
        (table,) = [node for node in ax.open_design(str(bits)).design.graph.nodes if node.kind == "lookup"]
        sizes[bits] = len(table.op.table)
    assert sizes[3] <= 8 < sizes[8] <= 256
    assert "lookup_bits: 11 is not in 2…10" in cli(*words, "--lookup-bits", 11).stderr
    refused = cli(*words, "--lookup-bits", 3, "--pipeline", "printed-po2")
    assert "printed-po2.lookup_bits: printed-po2 has no such option" in refused.stderr
