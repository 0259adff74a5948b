"""Safety reports of printed circuits: counted from answers, kept in folders, on the page and the terminal, and refusals."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import approxhw as ax
from approxhw.common.errors import InvalidDataError, InvalidDesignError, OptionError
from approxhw.common.statistics.safety import FormChange
from approxhw.ir.evaluation import deciding_values, predict
from approxhw.report.page import template

COARSE = ax.Printed(input_bits=1, weight_bits=2)
FINE = ax.Printed(input_bits=8, weight_bits=12)


@pytest.fixture(scope="module")
def rows(inputs):
    """The rows of the tiny model under a column of groups: the fourth of the test rows is of no group of the training rows."""
    with np.load(inputs / "tiny.npz") as arrays:
        data = dict(arrays)
    data["site_train"] = np.where(data["X_train"][:, 0] > np.median(data["X_train"][:, 0]), "high", "low")
    data["site_test"] = np.resize(["high", "low", "low", "new"], len(data["X_test"]))
    return data


@pytest.fixture(scope="module")
def coarse(inputs, rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("coarse") / "made"
    data = ax.DataSource(rows, groups="site")
    marks = ax.SafetyOptions(max_accuracy_loss=1.0, max_class_loss=0.0)
    return ax.compile(inputs / "tiny.onnx", target=COARSE, data=data, output=folder, safety=marks)


def test_answers_are_counted_class_by_class(coarse, inputs, rows):
    told, graph = coarse.safety, ax.read(inputs / "tiny.onnx")
    assert told.against == "the model in onnxruntime"
    assert (told.judged_by, told.told_by) == ("training rows", "test rows")
    before, after = predict(graph, rows["X_train"]), coarse.predict(rows["X_train"])
    labels = rows["y_train"]
    assert (before != after).sum() > 0
    for label, part in enumerate(told.classes):
        mine = labels == label
        assert part.judged.rows == mine.sum()
        assert part.judged.before == (before[mine] == label).sum()
        assert part.judged.after == (after[mine] == label).sum()
        assert part.judged.changed == (before[mine] != after[mine]).sum()
    assert sum(part.judged.rows for part in told.classes) == 40
    assert {flip[:2] for flip in told.flips} == {(b, a) for b, a in zip(before.tolist(), after.tolist()) if a != b}
    assert told.whole.judged.after / 40 == pytest.approx(coarse.accuracy["hardware_splits"]["train"])
    assert told.whole.told.after / len(rows["y_test"]) == pytest.approx(coarse.accuracy["hardware_splits"]["test"])


def test_passes_that_are_not_exact_are_told(coarse):
    told = coarse.safety
    names = [line["spelled"] for line in coarse.design.ledger if line["kind"] != "exact"]
    assert [form.name for form in told.steps] == names
    assert len(names) > 2
    assert all(isinstance(form, FormChange) for form in told.steps)
    assert told.steps[-1].whole == told.whole.judged
    reached = [line["train_accuracy_after"] for line in coarse.design.ledger if line["kind"] != "exact"]
    assert [form.whole.after / form.whole.rows for form in told.steps] == pytest.approx(reached)


def test_groups_without_rows_that_judge_are_named(coarse):
    told = coarse.safety
    assert told.groups_by == "the column site"
    assert sorted(part.name for part in told.groups) == ["site: high", "site: low", "site: new"]
    assert told.groups[-1].name == "site: new"
    assert told.groups[-1].judged.rows == 0 < told.groups[-1].told.rows
    assert "no training row is of group site: new: what it loses is not known" in told.notes


def test_classes_without_rows_that_judge_are_named(inputs, rows, tmp_path):
    kept = rows["y_train"] != 1
    data = {
        "X_train": rows["X_train"][kept],
        "y_train": rows["y_train"][kept],
        "X_test": rows["X_test"],
        "y_test": rows["y_test"],
    }
    told = ax.compile(inputs / "tiny.onnx", target=COARSE, data=data, output=tmp_path / "made").safety
    assert told.classes[1].judged.rows == 0
    assert told.classes[1].judged.loss == 0
    assert told.worst != told.classes[1]
    assert "no training row is of class 1: what it loses is not known" in told.notes


def test_test_rows_judge_where_there_are_no_others(inputs, rows, tmp_path):
    data = {"X_test": rows["X_test"], "y_test": rows["y_test"]}
    width = rows["X_test"].shape[1]
    target = ax.Printed(low=(-1.0,) * width, high=(1.0,) * width)
    told = ax.compile(inputs / "tiny.onnx", target=target, data=data, output=tmp_path / "made").safety
    assert (told.judged_by, told.told_by) == ("test rows", "")
    assert told.groups_by == f"quarters of each of {width} features"
    bare = ax.compile(inputs / "tiny.onnx", target=target, output=tmp_path / "bare")
    assert bare.safety is None


def test_margins_are_those_of_the_scores_that_decide(coarse, inputs, rows):
    graph = ax.read(inputs / "tiny.onnx")
    values = deciding_values(graph, rows["X_train"])
    assert values.argmax(axis=1).tolist() == predict(graph, rows["X_train"]).tolist()
    own = deciding_values(coarse.design.graph, rows["X_train"])
    assert own.argmax(axis=1).tolist() == coarse.predict(rows["X_train"]).tolist()
    shift = coarse.safety.margins
    ordered = np.sort(values, axis=1)
    assert shift.before[3] == pytest.approx(np.median(ordered[:, -1] - ordered[:, -2]) / values.std())
    assert shift.before != shift.after


def test_a_fine_circuit_loses_nothing(inputs, tmp_path):
    told = ax.compile(inputs / "tiny.onnx", target=FINE, data=inputs / "tiny.npz", output=tmp_path / "made").safety
    assert told.whole.judged.changed == 0
    assert told.flips == ()
    assert told.hidden == ()
    assert told.margins.before == pytest.approx(told.margins.after, rel=0.1)


def test_folders_keep_it_and_folders_of_before_have_none(coarse, inputs, tmp_path):
    made = ax.compile(inputs / "tiny.onnx", target=COARSE, data=inputs / "tiny.npz", output=tmp_path / "made")
    assert ax.open_design(made.folder).safety == made.safety
    assert json.loads(json.dumps(made.summary()["safety"]))["judged_by"] == "training rows"
    path = made.folder / "design.json"
    written = json.loads(path.read_text())
    told = written.pop("safety")
    path.write_text(json.dumps(written))
    assert ax.open_design(made.folder).safety is None
    told["whole"]["judged"]["lost"] = 1000
    path.write_text(json.dumps({**written, "safety": told}))
    with pytest.raises(InvalidDesignError, match="safety: it cannot be"):
        ax.open_design(made.folder)


def test_the_page_marks_a_class_that_is_lost_behind_the_mean(coarse):
    page = coarse.report().read_text(encoding="utf-8")
    section = page[page.index('<section id="safety">') :].partition("</section>")[0]
    for words in (
        "By class",
        "Subgroups that most surely lose most, of 3 by the column site",
        "Margins",
        "After each pass",
    ):
        assert words in section, words
    for part in coarse.safety.classes:
        assert part.name in section
    assert coarse.safety.hidden
    assert '<span class="badge bad">✗ a class is lost behind the mean</span>' in section
    assert '<p class="bad">the mean holds' in section
    assert section.count('<td class="n bad">✗ ') >= len(coarse.safety.hidden)
    assert "safety.html" in template("page.html")


def compiled(cli, inputs, *words):
    return cli("compile", inputs / "tiny.onnx", "--no-simulate", "--no-estimate", "-o", "made", *words)


def test_the_terminal_says_it_in_a_few_lines(cli, inputs):
    coarse = ("--data", inputs / "tiny.npz", "--input-bits", 1, "--weight-bits", 2)
    shown = compiled(cli, inputs, *coarse)
    assert shown.exit_code == 0
    assert re.search(r"safety, training rows against the model in onnxruntime: the mean does not hold", shown.output)
    assert re.search(r"class \d on test rows: ", shown.output)
    assert "subgroups by quarters of each of" in shown.output
    wide = compiled(cli, inputs, *coarse, "--max-accuracy-loss", "100%", "--max-class-loss", "1%")
    assert "the mean holds" in wide.output
    assert "but a class does not: class" in wide.output
    told = json.loads(compiled(cli, inputs, *coarse, "--max-class-loss", "0.5", "--json").stdout)["safety"]
    assert told["max_class_loss"] == 0.5


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--groups", "site"), "--groups: there are no rows to group"),
        (("--data", "{data}", "--groups", "site"), "there is no column 'site_train'"),
        (("--data", "{data}", "--max-class-loss", "130%"), "max_class_loss: '130%' is no share from 0 to 1"),
        (("--data", "{data}", "--sensitivity"), "--sensitivity"),
    ],
)
def test_what_the_command_line_refuses(cli, inputs, words, why):
    shown = compiled(cli, inputs, *(str(word).format(data=inputs / "tiny.npz") for word in words))
    assert shown.exit_code != 0
    assert why in shown.output
    assert not (inputs / "made").exists()


def test_what_python_refuses(inputs, rows, tmp_path):
    with pytest.raises(OptionError, match=r"max_class_loss: 1.5 is not in 0…1"):
        ax.SafetyOptions(max_class_loss=1.5)
    with pytest.raises(OptionError, match="is for engines, layer by layer; of a circuit every pass is told anyway"):
        ax.compile(
            inputs / "tiny.onnx",
            data=inputs / "tiny.npz",
            output=tmp_path / "made",
            safety=ax.SafetyOptions(sensitivity=True),
        )
    lacking = {name: array for name, array in rows.items() if name != "site_test"}
    with pytest.raises(InvalidDataError, match="there is no column 'site_test'"):
        ax.compile(inputs / "tiny.onnx", data=ax.DataSource(lacking, groups="site"), output=tmp_path / "made")
    broken = {**rows, "site_train": np.full(40, np.nan)}
    with pytest.raises(InvalidDataError, match="40 of 40 rows have no group: rows 0, 1, 2, 3, 4, …, counted from 0"):
        ax.compile(inputs / "tiny.onnx", data=ax.DataSource(broken, groups="site"), output=tmp_path / "made")
