"""The search for cheap arithmetic layer by layer: its front, its seed, its chosen engine, and what it refuses."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from dask_cluster import started
from onnx import TensorProto, helper, numpy_helper

import approxhw as ax
from approxhw.cli.main import main
from approxhw.common.errors import CheckpointError, InvalidDataError, OptionError, OutputError
from approxhw.dse.settings import SearchSettings
from approxhw.dse.targets import search_engine
from approxhw.engine.matrix import search
from approxhw.engine.matrix.cost import ElementCost
from approxhw.engine.matrix.settings import EngineSearch
from approxhw.engine.matrix.target import MatrixEngine

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


@pytest.fixture(scope="module", autouse=True)
def _elements_synthesised_once():
    """Every search here prices the same few elements: what one of this process has synthesised serves the others."""
    known: dict[tuple[object, ...], ElementCost] = {}

    def element_cost(mac, depth, cells, clock_ns, codes, *, quick):
        name, a, b = codes
        asked = (mac, depth, cells.name, clock_ns, name, a.tobytes(), b.tobytes(), quick)
        if asked not in known:
            known[asked] = real(mac, depth, cells, clock_ns, codes, quick=quick)
        return known[asked]

    real = search.element_cost
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "element_cost", element_cost)
        yield


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
    design = ax.open_engine_design(front.folder / "chosen").design
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


KILLED = """
import os, signal, sys
from dataclasses import replace
from approxhw.engine.matrix.target import MatrixEngine
from approxhw.engine.matrix import search
from approxhw.engine.matrix.cost import ElementCost
from approxhw.engine.matrix.settings import EngineSearch
import approxhw as ax

folder, output = sys.argv[1:]
few = EngineSearch(
    population=8, generations=3, formats=("bf16", "e4m3"), accumulator_bits=(16, 20), normalizations=("exact", "an-1-1"),
    max_accuracy_loss=0.5,
)
told = lambda record: record["generation"] == 1 and os.kill(os.getpid(), signal.SIGKILL)
ax.search_engine(
    folder + "/digits.onnx", data=folder + "/digits.npz", output=output, target=MatrixEngine(rows=4, columns=2), options=few,
    on_generation=told,
)
"""


def test_a_search_that_is_killed_goes_on_to_the_same_front(front, digits, tmp_path):
    given = {"data": digits / "digits.npz", "output": tmp_path / "front", "target": ARRAY, "options": FEW}
    with pytest.raises(OptionError, match="there is no checkpoint of a search to go on from"):
        search_engine(digits / "digits.onnx", **given, resume=True)
    child = subprocess.run([sys.executable, "-c", KILLED, str(digits), str(tmp_path / "front")], check=False)
    assert child.returncode == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "front").iterdir()] == ["checkpoint"]
    seen = []
    again = search_engine(digits / "digits.onnx", **given, resume=True, on_generation=seen.append)
    assert [record["generation"] for record in seen] == [1, 2, 3], "the last one is told again"
    assert again.members == front.members
    assert again.history == front.history
    assert again.evaluations == front.evaluations
    # it was kept: a search that is asked for more goes on from there; another one is refused
    with pytest.raises(
        CheckpointError, match="objectives: the checkpoint is of errors,area, this search of errors,energy"
    ):
        search_engine(
            digits / "digits.onnx", **{**given, "options": replace(FEW, objectives="errors,energy")}, resume=True
        )


@pytest.mark.slow
def test_a_dask_cluster_finds_the_same_front(digits, tmp_path):
    """Workers get the problem as it is sent, and open the model anew: they were started elsewhere."""
    (tmp_path / "cluster").mkdir()
    given = {"data": digits / "digits.npz", "target": ARRAY, "options": replace(FEW, islands=2)}
    alone = search_engine(digits / "digits.onnx", output=tmp_path / "alone", **given)
    with started(tmp_path / "cluster") as cluster:
        cluster.add_worker()
        there = search_engine(digits / "digits.onnx", output=tmp_path / "there", scheduler=cluster.address, **given)
        assert cluster.workers[0].keeper.poll() is None
    assert there.members == alone.members
    assert there.history == alone.history
    assert there.evaluations == alone.evaluations > 0


def test_workers_find_the_same_front_of_three_objectives_and_its_page_shows_them(digits, tmp_path):
    asked = {"population": 8, "generations": 2, "islands": 2, "objectives": "errors,area,delay"}
    found = []
    for jobs in (1, 2):
        given = {"data": digits / "digits.npz", "output": tmp_path / str(jobs), "options": FEW, "jobs": jobs}
        found.append(ax.search(digits / "digits.onnx", target=ARRAY, **given, **asked))
    first, second = found
    assert first.members == second.members
    assert first.history == second.history
    assert first.objectives == ("errors", "area", "delay")
    figures = [(1 - m.search_accuracy, m.area_um2, m.delay_ns) for m in first.members]
    for one in figures:
        assert not any(all(a <= b for a, b in zip(other, one)) and other != one for other in figures)
    for member in first.members:
        elements = [first.elements[name] for name in member.arithmetics]
        assert member.delay_ns == max(each["delay_ns"] for each in elements)
        assert member.power_mw == pytest.approx(sum(each["power_mw"] for each in elements))
    assert [m.area_um2 for m in first.members] == sorted(m.area_um2 for m in first.members)
    page = (first.folder / "report.html").read_text()
    assert page.count('<div class="chart"') == 2
    assert "Delay, ns" in page
    assert "delay_ns" in (first.folder / "front.csv").read_text().splitlines()[0]


def test_energy_of_a_member_is_that_of_its_elements_and_products(front):
    for member in front.members:
        energy = 0.0
        for name, products in (("first", 64 * 12), ("second", 12 * 10)):
            element = front.elements[member.layers[name]]
            # mW × ns = pJ; a row has so many multiply-adds
            energy += element["power_mw"] * element["clock_ns"] * 1e-3 * products * front.rows["search"]
        assert member.energy_nj == pytest.approx(energy)


def test_options_of_circuits_and_unknown_ones_are_refused(digits):
    with pytest.raises(
        OptionError, match="settings: is for circuits; MatrixEngine is searched with options of its own"
    ):
        ax.search(digits / "digits.onnx", data=digits / "digits.npz", target=ARRAY, settings=SearchSettings())
    with pytest.raises(OptionError, match="generatons: there is no such option; did you mean 'generations'"):
        ax.search(digits / "digits.onnx", data=digits / "digits.npz", target=ARRAY, generatons=3)
    with pytest.raises(OptionError, match="objective: objectives are given, too"):
        EngineSearch(objective="energy", objectives=("errors", "delay"))


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
    assert ax.open_engine_design(found.folder / "chosen").design.engine["mac"]["alignment"] == 3


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
    monkeypatch.setattr("approxhw.engine.matrix.search.EngineSearch.choices", lambda self: choices)
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
