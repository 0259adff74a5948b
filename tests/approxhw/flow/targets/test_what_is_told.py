"""What users are told: constant classifiers, the most frequent class, cut readings, bits of ports, targets and passes."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import approxhw as ax
from approxhw.artifacts.design import PortInfo
from approxhw.cli.terminal.terminal import Terminal
from approxhw.common.errors import InvalidDataError, InvalidDesignError, OptionError, OutputError
from approxhw.flow.printed.write_report import report_data
from approxhw.passes.simplify.fold_affine import FoldAffine
from approxhw.report import render


@pytest.fixture(scope="module")
def rows():
    readings = np.random.default_rng(0).random((60, 3))
    classes = (readings[:, 0] > 0.6).astype(int)
    return readings, classes, readings, classes


MAJORITY = 0.55


def test_a_constant_circuit_is_told_with_its_class(mlp, rows, tmp_path):
    model = mlp([(np.zeros((3, 2)), [0, 1])])
    compiled = ax.compile(model, data=rows, output=tmp_path / "out")
    assert compiled.accuracy["hardware"] == compiled.accuracy["onnx"] == pytest.approx(1 - MAJORITY)
    assert compiled.design.warnings[:3] == (
        "the circuit is constant: it reads no input, and always says class 1",
        "the model is no better than always answering the most frequent class: 45.00 % of test rows against 55.00 %",
        "the circuit is no better than always answering the most frequent class: 45.00 % of test rows against 55.00 %",
    )
    assert all(warning in compiled.report().read_text() for warning in compiled.design.warnings[:3])
    assert compiled.summary()["warnings"] == list(compiled.design.warnings)


def test_a_circuit_that_says_one_class_of_all_rows_is_told(mlp, rows, tmp_path):
    model = mlp([([[1, -1], [0, 0], [0, 0]], [3, 0])])  # class 0 wherever x0 is above −1.5
    wide = ax.Printed(low=(-4.0,), high=(4.0,))
    warnings = ax.compile(model, target=wide, data=rows, output=tmp_path / "out").design.warnings
    assert warnings[0] == "the circuit says class 0 of every one of the 60 test rows"


def test_the_most_frequent_class_stands_beside_every_accuracy(mlp, rows, tmp_path, capsys):
    good = ax.compile(mlp([([[-1, 1], [0, 0], [0, 0]], [0.6, -0.6])]), data=rows, output=tmp_path / "out")
    assert good.accuracy["majority"] == pytest.approx(MAJORITY)
    assert good.accuracy["hardware"] > 0.9
    assert not any("most frequent" in warning for warning in good.design.warnings)
    assert (
        json.loads((tmp_path / "out" / "design.json").read_text())["accuracy"]["majority_splits"]["train"] == MAJORITY
    )
    Terminal(False).compiled(good)
    assert "always the most frequent class 0.5500" in capsys.readouterr().out
    assert "always the most frequent class" in good.report().read_text()


def test_designs_of_before_do_not_say_it(design):
    path = design / "design.json"
    told = json.loads(path.read_text())
    told["accuracy"] = {name: value for name, value in told["accuracy"].items() if not name.startswith("majority")}
    path.write_text(json.dumps(told))
    old = ax.open_design(design)
    assert "majority" not in old.accuracy
    assert "most frequent" not in old.report().read_text()


def test_readings_that_an_integer_input_cuts_off_are_told(rows, tmp_path):
    weights = np.array([[1, -1], [2, 0], [0, 0]], np.float32)
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    ports = [
        helper.make_tensor_value_info("x", TensorProto.INT64, [None, 3]),
        helper.make_tensor_value_info("y", 1, [None, 2]),
    ]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    readings, classes = rows[0] * 3, rows[1]
    broken = ax.compile(model, data=(readings, classes, readings, classes), output=tmp_path / "broken").design.warnings
    assert broken[0].startswith(
        "the model declares int64 inputs (x), but 360 of 360 readings are none: model and circuit"
    )
    whole = np.trunc(readings)
    taken = ax.compile(model, data=(whole, classes, whole, classes), output=tmp_path / "whole").design.warnings
    assert not any("int64" in warning for warning in taken)


def test_rows_that_saturated_probabilities_give_another_class_are_counted(tmp_path):
    weights = np.diag([40.0, 41.0, 1.0]).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["s"]), helper.make_node("Sigmoid", ["s"], ["y"])]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 3]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], [numpy_helper.from_array(weights, "w")])
    nodes.append(helper.make_node("ArgMax", ["y"], ["c"], axis=1, keepdims=0))
    label = helper.make_tensor_value_info("c", TensorProto.INT64, [None])
    graph = helper.make_graph(nodes, "g", ports[:1], [label], [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    ones = np.tile([1.0, 1.0, 0.0], (10, 1)) * np.linspace(0.6, 1, 10)[:, None]
    classes = np.ones(10, int)
    compiled = ax.compile(model, data=(ones, classes, ones, classes), output=tmp_path / "out")
    assert compiled.design.warnings[0].startswith(
        "onnxruntime gives 20 of 20 rows another class than the greatest score does"
    )
    assert compiled.accuracy["onnx"] == 0
    assert compiled.accuracy["hardware"] == 1


PORT = PortInfo("a", 2, 0, "a", (2, 3), 0.0, 1.0, "round", "code = x")


@pytest.mark.parametrize(
    ("bits", "carried", "wiring"),
    [
        ((0, 1, 2, 3), "[3:0]", "code = x"),
        ((2, 3), "[3:2]", "code = x; port = code >> 2"),
        ((3,), "[3]", "code = x; port = code >> 3"),
        ((0, 1), "[1:0]", "code = x; port = code & 3"),
        ((1, 2), "[2:1]", "code = x; port = (code >> 1) & 3"),
        ((1, 3), "[3,1]", "code = x; port = {code[3], code[1]}"),
    ],
)
def test_ports_tell_the_bits_of_the_code_that_they_carry(bits, carried, wiring):
    port = replace(PORT, bits=len(bits), code_bits=bits)
    assert (port.carried, port.wiring(4)) == (carried, wiring)


def test_wiring_by_the_page_gives_what_the_port_carries(design):
    """Every formula of a design's ports, followed as it is written, gives the bits that the simulation drives."""
    compiled = ax.open_design(design).design
    codes = np.arange(8).reshape(-1, 1) * np.ones((1, 3), int)
    for port in compiled.inputs:
        shifted = replace(port, bits=2, code_bits=(1, 2))
        rule = shifted.wiring(3).partition("; port = ")[2]
        followed = [eval(rule, {"code": code}) for code in range(8)]
        seen = replace(compiled, inputs=(shifted,)).ports_of(codes)[port.name]
        assert followed == seen.tolist()


def test_the_page_shows_which_bits_a_port_carries(design):
    compiled = ax.open_design(design).design
    first = replace(compiled.inputs[0], bits=2, code_bits=(1, 2))
    page = render(report_data(design, replace(compiled, inputs=(first, *compiled.inputs[1:]))))
    assert "<th>Carries</th>" in page
    assert "code[2:1]" in page
    assert "code[2:0]" in page
    assert "port = code &gt;&gt; 1" in page


def test_the_terminal_shows_which_bits_a_port_carries(design, capsys):
    opened = ax.open_design(design)
    first = replace(opened.design.inputs[0], name="petal_length_cm", bits=2, code_bits=(2, 3))
    told = replace(opened, design=replace(opened.design, inputs=(first, *opened.design.inputs[1:])))
    Terminal(False).compiled(told)
    assert "ports: petal_length_cm[3:2], x1[2:0], x2[2:0] -> class_index[2]\n" in capsys.readouterr().out


def test_targets_and_passes_may_be_names(inputs, tmp_path):
    given = {"data": inputs / "tiny.npz"}
    plain = ax.compile(inputs / "tiny.onnx", **given, output=tmp_path / "plain")
    for number, more in enumerate(({"target": "printed"}, {"passes": "printed-exact"}, {"passes": ["printed-exact"]})):
        named = ax.compile(inputs / "tiny.onnx", **given, **more, output=tmp_path / str(number))
        assert [row["spelled"] for row in named.design.ledger] == [row["spelled"] for row in plain.design.ledger]
    mixed = ax.run_passes(ax.read(inputs / "tiny.onnx"), ["fold-affine", FoldAffine()])[1]
    assert [record.name for record in mixed] == ["fold-affine", "fold-affine"]
    assert ax.check(inputs / "tiny.onnx", "printed") == []


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"target": ax.Printed}, r"target: the class Printed is no target\n    do: call it: Printed\(\)"),
        ({"target": "print"}, "there is no target 'print'; did you mean 'printed'"),
        ({"passes": FoldAffine}, r"passes: the class FoldAffine is no pass\n    do: call it: FoldAffine\(\)"),
        ({"passes": [FoldAffine(), 5]}, r"passes\[1\]: 5 is no pass"),
        ({"passes": "fold-afine"}, "fold-afine: there is no pass or pipeline of this name; did you mean 'fold-affine'"),
        ({"passes": ["fold-afine", None]}, r"2 problems\n  fold-afine: .*\n  passes\[1\]: None is no pass"),
        ({"pases": ()}, "pases: there is no such option; did you mean 'passes'"),
    ],
)
def test_what_is_no_target_and_no_pass_is_told(given, why, inputs, tmp_path):
    with pytest.raises(OptionError, match=why):
        ax.compile(inputs / "tiny.onnx", data=inputs / "tiny.npz", output=tmp_path / "out", **given)


@pytest.mark.parametrize(
    ("readings", "why"),
    [
        (np.zeros((2, 5)), "the model reads 3 features, the data has 5"),
        (np.zeros(3), r"rows × features are needed, the array has shape \[3\]"),
        ([["a", "b", "c"]], "readings are numbers, not <U1"),
        ([[1.0, float("nan"), 0.0]], "1 of 1 rows hold NaN or infinity"),
        ([[1, 2], [3]], "they are no array"),
        (None, "it holds Python objects, not numbers"),
    ],
)
def test_predict_refuses_what_are_no_rows(readings, why, made):
    with pytest.raises(InvalidDataError, match=why):
        ax.open_design(made).predict(readings)
    assert ax.open_design(made).predict([[0, 0, 0], [1, 1, 1]]).shape == (2,)


@dataclass(frozen=True)
class Odd:
    """A target that somebody wrote."""

    name: ClassVar[str] = "odd"
    made: object = None
    steps: object = ()

    def passes(self):
        return self.steps

    def build(self, graph, data):
        return self.made


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (Odd(made=None), "target odd: it built None, no mapping of files by name"),
        (Odd(made=["a.v"]), "it built a list, no mapping of files by name"),
        (Odd(made={"a.v": 5}), "a.v is no text or bytes"),
        (Odd(made={}), "it built no file"),
        (Odd(steps=None), "passes: None is no pass"),
        (Odd(steps=[5]), r"passes\[0\]: 5 is no pass"),
    ],
)
def test_targets_that_do_not_keep_their_promises_are_told(target, why, inputs, tmp_path):
    with pytest.raises(OptionError, match=why):
        ax.compile(inputs / "tiny.onnx", target=target, output=tmp_path / "out")


def test_options_of_a_target_that_json_cannot_hold_are_told(inputs, tmp_path):
    @dataclass(frozen=True)
    class Complex(Odd):
        """Of an option that is no plain type."""

        made: object = None
        how: complex = 1j

        def build(self, graph, data):
            return {"a.txt": "a"}

    with pytest.raises(OptionError, match="target odd: its options are no plain types"):
        ax.compile(inputs / "tiny.onnx", target=Complex(), output=tmp_path / "out")


def test_a_link_to_no_estimate_is_a_damaged_folder(design):
    (design / "estimate").mkdir()
    (design / "estimate" / "gone.json").symlink_to(design / "nowhere.json")
    with pytest.raises(InvalidDesignError, match=r"gone\.json: it cannot be read"):
        ax.open_design(design).report()


def test_folders_of_another_kind_are_called_by_it(inputs, design, tmp_path):
    front = tmp_path / "front"
    front.mkdir()
    (front / "front.json").write_text('{"format": "approxhw front 1"}')
    with pytest.raises(OutputError, match="it holds an approxhw front, which a design does not replace"):
        ax.compile(inputs / "tiny.onnx", data=inputs / "tiny.npz", output=front)
    with pytest.raises(InvalidDesignError, match="no design: the folder holds an approxhw front"):
        ax.open_folder(front)
    told = json.loads((design / "design.json").read_text())
    (design / "design.json").write_text(json.dumps({**told, "format": "approxhw design 99"}))
    with pytest.raises(InvalidDesignError, match=r"a newer approxhw wrote it.*\n    do: update approxhw"):
        ax.open_design(design)
    with pytest.raises(OutputError, match="a newer approxhw wrote it"):
        ax.compile(inputs / "tiny.onnx", data=inputs / "tiny.npz", output=design)


def test_every_option_of_a_pipeline_that_is_wrong_is_told_at_once(inputs, tmp_path):
    target = ax.Printed(input_bits=99, weight_bits=40, hidden_bits=77)
    with pytest.raises(OptionError) as caught:
        ax.compile(inputs / "tiny.onnx", target=target, data=inputs / "tiny.npz", output=tmp_path / "out")
    assert {problem.where for problem in caught.value.problems} == {
        "quantize-inputs.bits",
        "quantize-weights.bits",
        "requantize-hidden.bits",
    }
    with pytest.raises(OptionError, match="pipeline: 'matrix-engine' makes no circuit"):
        ax.Printed(pipeline="matrix-engine").passes()
