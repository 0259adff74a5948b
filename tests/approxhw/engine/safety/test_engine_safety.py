"""Safety reports of engines: rows that judge, layers alone, groups, margins; what folders keep, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

import approxhw as ax
from approxhw.common.errors import InvalidDataError, InvalidDesignError, OptionError
from approxhw.common.statistics.safety import SafetyReport
from approxhw.engine.integers.layers_alone import layer_alone
from approxhw.engine.safety import JUDGED_ROWS
from approxhw.flow.stages.safety import SafetyOptions
from approxhw.ir.pass_manager import parse_passes, spell_pass
from approxhw.numerics.mac.arithmetic import FloatMac

ROUGH = {"rows": 4, "columns": 4, "vectors": 16, "library": "egfet"}


def compiled(net, tmp_path, target, data=None, **options):
    path, given = net
    return ax.compile(path, target=target, data=given if data is None else data, output=tmp_path / "made", **options)


TARGETS = {
    "matrix-engine": ax.MatrixEngine(rows=4, columns=4, mac=FloatMac("e4m3", 16, "an-1-1")),
    "integer-engine": ax.IntegerEngine(**ROUGH, operator="truncated-6"),
}


@pytest.mark.parametrize("name", TARGETS)
def test_training_rows_judge_and_test_rows_are_told_beside(net, tmp_path, name):
    made = compiled(net, tmp_path, TARGETS[name])
    told = made.safety
    assert isinstance(told, SafetyReport)
    assert (told.judged_by, told.told_by) == ("training rows", "test rows")
    assert (told.whole.judged.rows, told.whole.told.rows) == (150, 90)
    assert sum(part.judged.rows for part in told.classes) == 150
    assert told.whole.told.before / 90 == pytest.approx(made.accuracy["onnx"])
    assert told.whole.told.after / 90 == pytest.approx(made.accuracy["engine"])
    assert told.whole.told.changed == round(90 * (1 - made.accuracy["agree"]))
    assert sum(rows for _, _, rows in told.flips) == told.whole.judged.changed
    assert told.groups_by == "quarters of each of 64 features"
    assert told.groups_seen == 256
    assert len(told.groups) == 8
    assert told.margins.rows == 150
    assert told.layers == ()
    assert told.steps[-1].whole == told.whole.judged
    assert told.whole.judged.changed > 0
    assert ax.open_folder(made.folder).safety == told


def test_folders_of_before_have_no_report(net, tmp_path):
    made = compiled(net, tmp_path, TARGETS["matrix-engine"])
    path = made.folder / "design.json"
    written = json.loads(path.read_text())
    assert written.pop("safety")["classes"]
    path.write_text(json.dumps(written))
    again = ax.open_folder(made.folder)
    assert again.safety is None
    assert again.summary()["safety"] is None
    page = again.report().read_text()
    assert "Safety" in page
    written["safety"] = {**json.loads(json.dumps(made.summary()["safety"])), "max_class_loss": 7}
    path.write_text(json.dumps(written))
    with pytest.raises(InvalidDesignError, match="safety: it cannot be"):
        ax.open_folder(made.folder)


@pytest.mark.parametrize("name", TARGETS)
def test_each_layer_is_told_alone(net, tmp_path, name):
    """A layer alone is the whole engine with every other layer exact: compiling that gives the same rows."""
    made = compiled(net, tmp_path, TARGETS[name], safety=SafetyOptions(sensitivity=True))
    told = made.safety
    assert [form.name for form in told.layers] == ["conv1", "conv2", "fc1", "fc2"]
    assert all(form.whole.rows == 150 for form in told.layers)
    assert len({(form.whole.changed, form.whole.lost) for form in told.layers}) > 1
    if name == "matrix-engine":
        return
    alone = ax.IntegerEngine(**ROUGH, layers="1=truncated-6")
    exact = compiled(net, tmp_path / "exact", ax.IntegerEngine(**ROUGH)).safety
    again = compiled(net, tmp_path / "alone", alone).safety
    layer = told.layers[1].whole
    assert layer.after == again.whole.judged.after
    assert layer.before == exact.whole.judged.after


def test_passes_are_kept_for_one_layer():
    passes = parse_passes(
        "approximate-multiplier{operator=truncated-6},narrow-weights{bits=4,layers=1:2},fit-weights{layers=0},correct-bias"
    )
    assert [spell_pass(item) for item in layer_alone(passes, 2)] == [
        "approximate-multiplier{operator=truncated-6,layers=2.0}",
        "narrow-weights{bits=4,layers=2.0}",
        "correct-bias",
    ]


def test_groups_of_a_column(net, tmp_path):
    source = ax.DataSource(net[1], groups="bright")
    told = compiled(net, tmp_path, TARGETS["integer-engine"], data=source).safety
    assert told.groups_by == "the column bright"
    assert {part.name for part in told.groups} == {"bright: yes", "bright: no"}
    assert sum(part.judged.rows for part in told.groups) == 150
    assert sum(part.told.rows for part in told.groups) == 90


def test_rows_in_one_split_judge_themselves(net, tmp_path):
    data = {
        "x": np.tile(net[1]["X_train"], (6, 1, 1, 1)),
        "labels": np.tile(net[1]["y_train"], 6),
        "site": np.arange(900) % 3,
    }
    told = compiled(net, tmp_path, TARGETS["matrix-engine"], data=ax.DataSource(data, groups="site")).safety
    assert (told.judged_by, told.told_by) == ("rows of the data", "")
    assert told.whole.judged.rows == 900
    assert told.steps[-1].whole.rows == JUDGED_ROWS == 512
    assert [part.judged.rows for part in told.groups] == [300] * 3


def test_what_cannot_be_told(net, tmp_path):
    rows = {"x": net[1]["X_train"][:8]}
    bare = compiled(net, tmp_path, TARGETS["matrix-engine"], data=rows)
    assert bare.safety is None
    with pytest.raises(
        InvalidDataError, match="it has no labels, and a safety report with groups counts right answers"
    ):
        compiled(net, tmp_path, TARGETS["integer-engine"], data=ax.DataSource({**rows, "g": np.arange(8)}, groups="g"))
    with pytest.raises(InvalidDataError, match="with sensitivity counts right answers"):
        compiled(net, tmp_path, TARGETS["integer-engine"], data=rows, safety=SafetyOptions(sensitivity=True))
    with pytest.raises(InvalidDataError, match="there is no column 'town'; there are g"):
        compiled(
            net, tmp_path, TARGETS["matrix-engine"], data=ax.DataSource({**rows, "g": np.arange(8)}, groups="town")
        )
    with pytest.raises(OptionError, match="there are no rows to look at layers on"):
        ax.compile(
            net[0],
            target=TARGETS["matrix-engine"],
            shape={"x": (1, 1, 8, 8)},
            safety=SafetyOptions(sensitivity=True),
            output=tmp_path / "none",
        )
    assert not (tmp_path / "none").exists()
