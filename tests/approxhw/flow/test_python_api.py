"""The library as Python programs use it: sources of models and data, results as objects, errors as types."""

from __future__ import annotations

import json

import numpy as np
import pytest
from onnx import TensorProto, helper

import approxhw as ax
from approxhw.common.errors import (
    InvalidDataError,
    InvalidDesignError,
    InvalidModelError,
    OptionError,
    OutputError,
    PassError,
)


def test_models_and_data_of_every_kind_give_the_same_circuit(mlp, rows_of, tiny, inputs, tmp_path):
    rows, classes = rows_of(tiny)
    parts = {"X_train": rows[:40], "y_train": classes[:40], "X_test": rows[40:], "y_test": classes[40:]}
    model = mlp(tiny)
    modules = set()
    for index, (source, data) in enumerate(
        [
            (inputs / "tiny.onnx", inputs / "tiny.npz"),
            (str(inputs / "tiny.onnx"), str(inputs / "tiny.npz")),
            (model, parts),
            (ax.read(inputs / "tiny.onnx"), tuple(parts.values())),
            (ax.read(model), ax.Dataset(*parts.values())),
        ]
    ):
        design = ax.compile(source, target=ax.Printed(input_bits=3), data=data, output=tmp_path / str(index))
        text = "\n".join(line for line in design.verilog.splitlines() if not line.startswith("//"))
        modules.add(text.replace(design.design.top, "top"))
        assert design.accuracy["onnx"] == 1
        assert design.accuracy["hardware"] == np.mean(design.predict(rows[40:]) == classes[40:])
    assert len(modules) == 1


def test_what_compile_returns_is_what_stands_on_disk(made):
    design = ax.open_design(made)
    described = json.loads((made / "design.json").read_text())
    assert design.folder == made
    assert design.accuracy == described["accuracy"]
    assert [port.name for port in design.design.inputs] == ["x0", "x1", "x2"]
    assert described["labels"] == [0, 1, 2]
    assert described["model"]["title"] == "tiny.onnx"
    assert len(described["model"]["sha256"]) == 64
    assert described["seconds"].keys() >= {"read", "passes", "emit"}
    assert design.verilog == "\n".join((made / line).read_text() for line in (made / "rtl/files.f").read_text().split())
    assert design.verilog.count("endmodule") == len(described["modules"])


def test_the_same_compilation_twice_is_the_same(inputs, made, tmp_path, content):
    target = ax.Printed(input_bits=3)
    ax.compile(inputs / "tiny.onnx", target=target, data=inputs / "tiny.npz", output=tmp_path / "again", steps=True)
    first, second = content(made), content(tmp_path / "again")
    for files in (first, second):
        told = json.loads(files.pop("design.json"))
        told["files"].pop("rows.npz")
        files["files"] = json.dumps(told["files"]).encode()
        files.pop("rows.npz")
    assert first == second


def test_simulate_estimate_and_report_return_what_they_found(design, icarus):
    compiled = ax.open_design(design)
    heard = []
    result = compiled.simulate("icarus", random=5, on_progress=lambda *said: heard.append(said))
    assert (result.simulator, result.vectors, result.mismatches, result.mismatch_file) == ("icarus", 532, 0, None)
    assert heard
    cost = compiled.estimate("egfet")
    assert cost.as_json()["area_mm2"] == cost.area_mm2 > 0
    assert cost.power_mw == cost.static_power_mw + cost.dynamic_power_mw
    kept = json.loads((design / "estimate" / "egfet.json").read_text())
    assert kept["netlist_mismatches"] == 0
    assert kept["netlist_vectors"] == 532 + 40
    faster = compiled.estimate("egfet", frequency=50.0)
    assert faster.dynamic_power_mw == pytest.approx(10 * cost.dynamic_power_mw)
    page = compiled.report()
    assert page == design / "report.html"
    assert "icarus" in page.read_text()


def test_progress_names_every_step(inputs, tmp_path):
    heard = []
    ax.compile(
        inputs / "tiny.onnx",
        data=inputs / "tiny.npz",
        output=tmp_path / "out",
        on_progress=lambda *said: heard.append(said),
    )
    steps = ["read", "data", "reference", "passes", "safety", "emit", "read back", "accuracy", "calibrate", "write"]
    ends = list(dict.fromkeys(each for each in heard if each[1] in (0.0, 1.0)))
    assert ends == [(step, share) for step in steps for share in (0.0, 1.0)]
    parts = [share for step, share in heard if step == "emit"]
    assert parts == sorted(parts)
    assert len(parts) > 2


def test_readings_outside_the_range_saturate_and_are_counted(mlp, rows_of, tiny, tmp_path):
    rows, classes = rows_of(tiny)
    wild = rows.copy()
    wild[:3, 1] = 9.0
    data = (rows, classes, wild, classes)
    target = ax.Printed(ranges="extremes")
    design = ax.compile(mlp(tiny), target=target, data=data, output=tmp_path / "out").design
    assert design.saturated == {"train": 0, "test": 3}
    assert design.warnings == ("3 test readings lie outside the range of their feature and saturate (x1)",)
    np.testing.assert_array_equal(design.rows.test[:3, 1], 15)


def test_errors_are_types_with_every_problem(inputs, mlp, tiny, tmp_path):
    model, out = mlp(tiny), tmp_path / "out"
    with pytest.raises(InvalidModelError, match=r"nope\.onnx: there is no such file"):
        ax.read("nope.onnx")
    with pytest.raises(InvalidDataError, match="X: the model reads 3 features, the data has 9"):
        ax.compile(model, data=(np.zeros((4, 9)), np.zeros(4, int)), output=out)
    with pytest.raises(PassError, match="no training rows to take the range of each feature from"):
        ax.compile(model, output=out)
    with pytest.raises(OptionError, match=r"quantize-weights\.bits: 40 is not in 2…16"):
        ax.compile(model, target=ax.Printed(weight_bits=40), data=inputs / "tiny.npz", output=out)
    with pytest.raises(OutputError, match="it exists and was not written by approxhw"):
        ax.compile(model, data=inputs / "tiny.npz", output=inputs)
    with pytest.raises(InvalidDesignError, match=r"design\.json: no design"):
        ax.open_design(inputs)
    with pytest.raises(InvalidDataError) as caught:
        ax.compile(model, data={"X": np.full((2, 3), np.nan), "y": np.array([0, 7])}, output=out)
    assert len(caught.value.problems) == 2
    assert not out.exists()


def test_check_returns_problems(inputs, tmp_path):
    assert ax.check(inputs / "tiny.onnx") == []
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(InvalidModelError, match="this is no ONNX model, or one that was cut short"):
        ax.check(tmp_path / "text.onnx")
    nodes = [
        helper.make_node("Hardmax", ["x"], ["a"], name="wave"),
        helper.make_node("LpNormalization", ["a"], ["y"], name="more"),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 3]) for name in "xy"]
    problems = ax.check(helper.make_model(helper.make_graph(nodes, "g", ports[:1], ports[1:])))
    assert [problem.where for problem in problems] == ["node 'wave' (Hardmax)", "node 'more' (LpNormalization)"]
    assert all(problem.why and problem.remedy for problem in problems)
