"""--approximations: shapes and arithmetic searched together for both engines; members that can be made again; what is refused."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

import approxhw as ax
from approxhw.cli.main import main
from approxhw.common.errors import InvalidDataError, OptionError, PassError
from approxhw.engine.composing.asked import SHAPES, approximation_problems, read_approximations
from approxhw.engine.composing.compose import Composition, FormLosses, LossBounds, unbeaten_compositions

MATRIX = ax.MatrixEngine(rows=4, columns=2)
INTEGER = ax.IntegerEngine(rows=4, columns=4, vectors=16, library="egfet")
FEW = {"population": 8, "generations": 1, "max_accuracy_loss": 0.03, "approximations": "all", "compositions": 5}
MACS = {"formats": ("bf16",), "accumulator_bits": (16, 20), "normalizations": ("exact",)}
OPERATORS = {"operators": "truncated-6", "edits": ("none",)}


def _written(folder, name, nodes, weights, width, out):
    """Write a model of one input ``x`` (rows × *width*) and the output ``y`` (rows × *out*) into *folder*; return its path."""
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", out])],
        [numpy_helper.from_array(np.asarray(value, np.float32), key) for key, value in weights.items()],
    )
    path = folder / f"{name}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with ``digits.onnx``, a 64-24-10 network, and its rows in ``digits.npz``."""
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    folder = tmp_path_factory.mktemp("composed")
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    net = MLPClassifier((24,), max_iter=60, random_state=1).fit(x[:1400], y[:1400])
    weights = {"w0": net.coefs_[0], "b0": net.intercepts_[0], "w1": net.coefs_[1], "b1": net.intercepts_[1]}
    nodes = [
        helper.make_node("Gemm", ["x", "w0", "b0"], ["sum"], name="first"),
        helper.make_node("Relu", ["sum"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "w1", "b1"], ["y"], name="second"),
    ]
    _written(folder, "digits", nodes, weights, 64, 10)
    np.savez(folder / "digits.npz", X_train=x[:1400], y_train=y[:1400], X_test=x[1400:], y_test=y[1400:])
    return folder


def _searched(folder, output, target, **asked):
    own = MACS if isinstance(target, ax.MatrixEngine) else OPERATORS
    return ax.search(
        folder / "digits.onnx", data=folder / "digits.npz", output=output, target=target, **FEW | own | asked
    )


@pytest.fixture(scope="module")
def matrix_front(trained, tmp_path_factory):
    return _searched(trained, tmp_path_factory.mktemp("matrix") / "front", MATRIX)


@pytest.fixture(scope="module")
def integer_front(trained, tmp_path_factory):
    return _searched(trained, tmp_path_factory.mktemp("integer") / "front", INTEGER)


@pytest.fixture(params=["matrix_front", "integer_front"])
def composed(request):
    return request.getfixturevalue(request.param)


def test_the_chosen_member_is_smaller_and_compiled_as_it_was_judged(composed):
    chosen = composed.chosen
    assert chosen.passes
    assert chosen.sizes["first"].startswith("64 × 24 → ")
    design = ax.open_folder(composed.folder / "chosen")
    assert design.accuracy["engine"] == pytest.approx(chosen.test_accuracy)
    assert design.design.pipeline.replace(", ", ",").startswith(chosen.passes)
    assert chosen.validation_accuracy >= composed.onnx["validation"] - FEW["max_accuracy_loss"]
    page = (composed.folder / "report.html").read_text()
    assert "Shape of the chosen one" in page
    assert chosen.sizes["first"] in page
    assert chosen.passes in (composed.folder / "front.csv").read_text()


def test_the_matrix_front_trades_clocks_and_energy_for_accuracy(matrix_front):
    assert matrix_front.objectives == ("errors", "energy", "clocks")
    clocks = {member.clocks for member in matrix_front.members}
    assert len(clocks) > 1
    assert min(clocks) < 0.75 * max(clocks)
    for member in matrix_front.members:
        assert set(member.layers) >= {"second"}
        assert bool(member.passes) == bool(member.sizes)


def test_the_row_of_passes_makes_the_same_model_again_and_onnxruntime_answers_alike(matrix_front, trained, tmp_path):
    import onnxruntime

    chosen = matrix_front.chosen
    made = ax.compile(
        trained / "digits.onnx",
        data=trained / "digits.npz",
        target=MATRIX,
        passes=chosen.passes,
        output=tmp_path / "again",
    )
    path = tmp_path / "smaller.onnx"
    ax.export_onnx(made.folder, path)
    with np.load(trained / "digits.npz") as file:
        x, y = file["X_test"].astype(np.float32), file["y_test"]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (answers,) = session.run(None, {session.get_inputs()[0].name: x})
    assert np.mean(answers.argmax(axis=1) == y) == pytest.approx(made.accuracy["engine"])
    assert len(y) > 0
    assert [each.k for each in made.design.layers if each.name == "second"] != [24] or "first/" in chosen.passes


def test_the_same_seed_makes_the_same_front_whatever_the_jobs(matrix_front, trained, tmp_path):
    again = _searched(trained, tmp_path / "front", MATRIX, jobs=2)
    assert again.members == matrix_front.members


def test_what_was_tried_is_kept_and_another_search_begins_with_it(matrix_front, trained, tmp_path):
    kept = json.loads((matrix_front.folder / "checkpoint" / "compositions.json").read_text())
    assert 0 < len(kept["tried"]) <= FEW["compositions"]
    told = []
    output = tmp_path / "front"
    (output / "checkpoint").mkdir(parents=True)
    (output / "checkpoint" / "compositions.json").write_text(json.dumps(kept))
    again = _searched(trained, output, MATRIX, on_progress=lambda step, done, total: told.append((step, done)))
    assert again.members == matrix_front.members
    assert min(done for step, done in told if step == "smaller forms") == len(kept["tried"])


def test_a_search_that_is_ended_while_forms_are_tried_leaves_a_front(trained, tmp_path):
    found = _searched(trained, tmp_path / "front", MATRIX, stop=lambda: True)
    assert found.interrupted
    assert not found.chosen.passes
    assert "no smaller form of the model was found" in found.warnings
    assert (found.folder / "chosen" / "design.json").exists()


def test_a_bound_that_nothing_meets_tells_the_nearest(trained, tmp_path):
    found = _searched(trained, tmp_path / "front", MATRIX, max_accuracy_loss=0.0, max_class_loss=0.0, compositions=1)
    (told,) = [each for each in found.warnings if "smaller form" in each]
    assert "no smaller form keeps within the bounds on the rows searched on; the nearest, " in told
    assert "of its worst class" in told
    assert not found.chosen.passes


def test_unknown_names_are_told_and_all_of_them(trained, tmp_path):
    with pytest.raises(OptionError) as caught:
        _searched(trained, tmp_path / "front", MATRIX, approximations="tuker,lowrank", compositions=0)
    text = str(caught.value)
    assert "there is no approximation 'tuker'; did you mean 'tucker'?" in text
    assert "there is no approximation 'lowrank'; did you mean 'low-rank'?" in text
    assert "compositions: 0 is no integer of 1 or more" in text
    assert approximation_problems("arithmetic") == []
    assert read_approximations("arithmetic") == ()
    assert read_approximations("arithmetic,prune-outputs , low-rank") == ("low-rank", "prune-outputs")
    assert read_approximations("all") == tuple(SHAPES)


@pytest.mark.parametrize("target", [MATRIX, INTEGER])
def test_what_is_named_and_applies_nowhere_is_refused(trained, tmp_path, target):
    with pytest.raises(PassError) as caught:
        _searched(trained, tmp_path / "front", target, approximations="tucker,low-rank")
    text = str(caught.value)
    assert "approximations, tucker: no convolution has a core that takes fewer clocks on this array" in text
    assert "do: leave it out" in text
    assert "approximations, low-rank" not in text
    assert not (tmp_path / "front" / "front.json").exists()


def test_a_model_that_nothing_makes_smaller_says_why_of_each(tmp_path):
    node = [helper.make_node("Gemm", ["x", "w"], ["y"], name="only")]
    rng = np.random.default_rng(0)
    model = _written(tmp_path, "only", node, {"w": rng.standard_normal((3, 2))}, 3, 2)
    x = rng.standard_normal((60, 3)).astype(np.float32)
    rows = {"x": x, "labels": rng.integers(0, 2, 60)}
    with pytest.raises(PassError) as caught:
        ax.search(model, data=rows, output=tmp_path / "front", target=MATRIX, **FEW | MACS)
    text = str(caught.value)
    for name, why in (
        ("low-rank", "no weights have factors"),
        ("tucker", "no convolution"),
        ("prune-outputs", "no channels"),
    ):
        assert f"approximations, {name}: {why}" in text


def test_rows_without_labels_are_refused(trained, tmp_path):
    rows = {"x": np.zeros((60, 64), np.float32)}
    with pytest.raises(InvalidDataError, match="it has no labels, and a search counts wrong answers"):
        ax.search(trained / "digits.onnx", data=rows, output=tmp_path / "front", target=MATRIX, **FEW | MACS)


def test_few_rows_fit_and_judge_and_that_is_said(trained, tmp_path):
    with np.load(trained / "digits.npz") as file:
        rows = {"x": file["X_train"][:120], "labels": file["y_train"][:120]}
    asked = FEW | MACS | {"compositions": 1, "max_accuracy_loss": 0.5}
    found = ax.search(trained / "digits.onnx", data=rows, output=tmp_path / "front", target=MATRIX, **asked)
    assert "60 training rows are few: those that smaller forms are fitted on judge them, too" in found.warnings


def test_the_command_line_searches_shapes(trained, tmp_path):
    command = [
        "search", str(trained / "digits.onnx"), "--data", str(trained / "digits.npz"), "--target", "integer-engine",
        "--array", "4x4", "--library", "egfet", "--operators", "truncated-6",
        "--edits", "none", "--approximations", "low-rank,prune-outputs", "--compositions", "2", "--max-accuracy-loss", "3%",
        "--population", "4", "--generations", "0", "-o", str(tmp_path / "front"),
    ]  # fmt: skip
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "front" / "front.json").exists()
    assert "approximations" in (tmp_path / "front" / "report.html").read_text()


@pytest.mark.parametrize(("classes", "kept"), [(None, [100, 60, 50]), (0.05, [100, 60, 55, 50])])
def test_forms_that_hold_the_bounds_are_not_given_up_for_smaller_ones_that_do_not(classes, kept):
    """One of 60 clocks loses little of all rows and more of a class, one of 50 more of all rows: neither beats the other."""
    lost = {100: (0.0, 0.0), 60: (0.005, 0.04), 70: (0.006, 0.05), 55: (0.02, 0.03), 50: (0.012, 0.06)}
    found = [
        Composition(() if clocks == 100 else (object(),), None, clocks, FormLosses(*both))
        for clocks, both in lost.items()
    ]
    made = unbeaten_compositions(found, LossBounds(0.01, classes))
    assert [each.clocks for each in made] == kept
    assert any(LossBounds(0.01, classes).missed(each.judged) <= 0 for each in made if each.passes)


def test_all_among_names_is_no_naming_of_each():
    assert read_approximations("arithmetic, all") == tuple(SHAPES)
