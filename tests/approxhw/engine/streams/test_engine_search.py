"""The search for cheap arithmetic layer by layer: its front, its seed, its chosen engine, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from approxhw.cli.main import main
from approxhw.common.errors import InvalidDataError, OptionError, OutputError
from approxhw.engine.search import EngineSearch, chosen_engine, search_engine
from approxhw.engine.target import MatrixEngine

FEW = EngineSearch(
    population=8,
    generations=3,
    formats=("bf16", "e4m3"),
    accumulator_bits=(16, 20),
    normalizations=("exact", "an-1-1"),
    max_accuracy_loss=0.5,
)
ARRAY = MatrixEngine(rows=4, columns=2)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A trained 64-12-10 MLP and its rows."""
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    folder = tmp_path_factory.mktemp("digits")
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    net = MLPClassifier((12,), max_iter=60, random_state=1).fit(x[:900], y[:900])
    weights = {"w0": net.coefs_[0], "b0": net.intercepts_[0], "w1": net.coefs_[1], "b1": net.intercepts_[1]}
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "w0", "b0"], ["sum"], name="first"),
            helper.make_node("Relu", ["sum"], ["hidden"]),
            helper.make_node("Gemm", ["hidden", "w1", "b1"], ["y"], name="second"),
        ],
        "digits",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 10])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "digits.onnx"
    )
    np.savez(folder / "digits.npz", X_train=x[:900], y_train=y[:900], X_test=x[900:1200], y_test=y[900:1200])
    return folder


@pytest.fixture(scope="module")
def front(digits):
    return search_engine(
        digits / "digits.onnx", data=digits / "digits.npz", output=digits / "front", target=ARRAY, options=FEW
    )


def test_no_member_beats_another_and_costs_are_those_of_the_elements(front):
    costs = [member.cost for member in front.members]
    accuracies = [member.search_accuracy for member in front.members]
    assert costs == sorted(costs)
    assert accuracies == sorted(accuracies)
    for member in front.members:
        assert set(member.layers) == {"first", "second"}
        assert member.cost == pytest.approx(sum(front.elements[name]["area_um2"] for name in member.arithmetics))
        assert all(front.elements[name]["checked"] > 0 for name in member.arithmetics)
    assert front.evaluations <= 8 * 4
    assert len(front.elements) == 2 * 2 * 2


def test_the_chosen_member_is_compiled_with_its_layers(front):
    chosen = front.chosen
    assert chosen.validation_accuracy >= front.onnx["validation"] - 0.5
    assert all(
        member.cost >= chosen.cost
        for member in front.members
        if member.validation_accuracy >= front.onnx["validation"] - 0.5
    )
    design = chosen_engine(front).design
    assert {layer.name: layer.arithmetic for layer in design.layers} == dict(chosen.layers)
    assert design.accuracy["engine"] == pytest.approx(chosen.test_accuracy)
    told = json.loads((front.folder / "front.json").read_text())
    assert told["chosen"]["design"] == str(front.folder / "chosen")
    assert len((front.folder / "front.csv").read_text().splitlines()) == 1 + len(front.members)


def test_the_same_seed_finds_the_same_front(front, digits, tmp_path):
    again = search_engine(
        digits / "digits.onnx", data=digits / "digits.npz", output=tmp_path / "front", target=ARRAY, options=FEW, jobs=2
    )
    assert again.members == front.members
    assert again.evaluations == front.evaluations


def test_a_search_can_be_ended(digits, tmp_path):
    seen = []
    found = search_engine(
        digits / "digits.onnx", data=digits / "digits.npz", output=tmp_path / "front", target=ARRAY, options=FEW,
        on_generation=seen.append, stop=lambda: len(seen) == 2,
    )  # fmt: skip
    assert [record["generation"] for record in seen] == [0, 1]
    assert "the search was interrupted" in found.rule
    assert found.chosen


def test_alignments_are_searched_and_the_chosen_engine_has_its_own(digits, tmp_path):
    options = replace(
        FEW, generations=0, population=4, formats=("bf16",), normalizations=("exact",), alignments=(None, 3)
    )
    assert [str(mac) for mac in options.choices()] == [
        f"float-mac<bf16,{bits},exact{limit}>" for bits in (16, 20) for limit in ("", ",align-3")
    ]
    only = replace(options, accumulator_bits=(16,), alignments=(3,))
    found = search_engine(
        digits / "digits.onnx", data=digits / "digits.npz", output=tmp_path / "front", target=ARRAY, options=only
    )
    assert set(found.elements) == {"float-mac<bf16,16,exact,align-3>"}
    assert found.elements["float-mac<bf16,16,exact,align-3>"]["checked"] > 0
    assert chosen_engine(found).design.engine["mac"]["alignment"] == 3


def test_wrong_options_are_told_at_once():
    with pytest.raises(OptionError) as caught:
        EngineSearch(population=1, objective="beauty", max_accuracy_loss=2, rows=0)
    for text in (
        "population: 1 is no integer of 4 or more",
        "'beauty' is not one of area, energy",
        "2 is not in 0…1",
        "rows: 0",
    ):
        assert text in str(caught.value)
    with pytest.raises(OptionError, match="no format fits any accumulator and normalization"):
        EngineSearch(formats=("fp16",), accumulator_bits=(16,))


def test_data_without_labels_or_rows_is_refused(digits, tmp_path):
    rows = {"x": np.zeros((9, 64), np.float32)}
    with pytest.raises(InvalidDataError, match="it has no labels, and a search counts wrong answers"):
        search_engine(digits / "digits.onnx", data=rows, output=tmp_path / "front")
    few = {"x": np.zeros((2, 64), np.float32), "labels": np.zeros(2, np.int64)}
    with pytest.raises(InvalidDataError, match="give more rows"):
        search_engine(digits / "digits.onnx", data=few, output=tmp_path / "front")


def test_folders_of_others_are_left_alone(digits, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(OutputError, match="was not written by approxhw"):
        search_engine(digits / "digits.onnx", data=digits / "digits.npz", output=tmp_path, target=ARRAY, options=FEW)


def test_the_command_line(digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["search", digits / "digits.onnx", "--data", digits / "digits.npz"]
    engine = ["--target", "matrix-engine", "--array", "4x2"]
    runner = CliRunner()
    choices = FEW.choices()
    monkeypatch.setattr("approxhw.engine.search.EngineSearch.choices", lambda self: choices)
    options = [
        "--population",
        "4",
        "--generations",
        "1",
        "--objective",
        "energy",
        "--max-accuracy-loss",
        "3%",
        "-o",
        "out",
        "--json",
    ]
    result = runner.invoke(main, [*map(str, [*words, *engine, *options])])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["chosen"]["cost"] == told["chosen"]["energy_nj"]
    assert told["options"]["max_accuracy_loss"] == 0.03
    for wrong, text in (
        ([*words, *engine, "--folds", "2"], "--folds: is for printed circuits"),
        ([*words, "--objective", "area"], "--objective: is for --target matrix-engine"),
        ([*words, "--target", "matrix"], "there is no target 'matrix'"),
        ([*words, *engine, "--objective", "beauty"], "'beauty' is not one of area, energy"),
    ):
        result = runner.invoke(main, list(map(str, wrong)))
        assert result.exit_code == 2
        assert text in result.output
