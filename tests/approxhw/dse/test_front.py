"""Fronts as data: which member a pick takes, what stands on disk, and what is refused of it."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest

import approxhw as ax
from approxhw.artifacts.front import as_csv, check_front_output, read_front, share_of, write_front
from approxhw.common.errors import InvalidDesignError, OptionError, OutputError
from approxhw.dse.genetic.options import Seeding
from approxhw.report import render_front


def test_the_knee_is_farthest_above_the_line_between_both_ends(member, front_of):
    curve = [(0.50, 1.0), (0.70, 2.0), (0.80, 3.0), (0.82, 6.0), (0.83, 11.0)]
    front = front_of([member(i, accuracy, area, chosen=not i) for i, (accuracy, area) in enumerate(curve)])
    above = [(a - 0.5) / 0.33 - (area - 1) / 10 for a, area in curve]
    assert front.knee().index == int(np.argmax(above)) == 2
    assert front_of([member(0, 0.9, 3.0, chosen=True)]).knee().index == 0


def test_within_counts_the_loss_against_the_model_on_validation_rows(plain_front):
    assert plain_front.onnx["validation"] == 0.906
    assert plain_front.within("5%").index == plain_front.within(0.05).index == plain_front.within(" 5 %").index == 5
    assert plain_front.members[4].accuracy < 0.856 <= plain_front.members[5].accuracy
    assert plain_front.within("100%").index == 0
    with pytest.raises(OptionError, match=r"no member holds an accuracy of 90.50 %; the best one has 89.60 %"):
        plain_front.within("0.1%")


def test_within_takes_training_rows_where_no_others_were_split_off(member, front_of):
    members = [member(0, 0.8, 1.0, validation_accuracy=None, train_accuracy=0.85, chosen=True)]
    front = front_of(members, onnx={"train": 0.9, "validation": None, "test": 0.1})
    assert front.within("5%").accuracy == 0.85
    front = front_of(members, onnx={"train": None, "validation": None, "test": None})
    with pytest.raises(OptionError, match="the accuracy of the model itself is not known"):
        front.within("5%")


def test_cheapest_by_accuracy_by_power_and_by_both(plain_front):
    powers = [member.power_mw for member in plain_front.members]
    assert powers == sorted(powers)
    assert plain_front.cheapest().index == 0
    assert plain_front.cheapest(accuracy="87%").index == 7
    assert plain_front.cheapest(accuracy=0.87, power_mw=2).index == 7
    assert plain_front.cheapest(power_mw=1).index == 6
    assert plain_front.cheapest(power_mw=10, converters=True).index == 5
    with pytest.raises(OptionError, match=r"no member works on 0.001 mW; the thriftiest needs 0.0151 mW"):
        plain_front.cheapest(power_mw=0.001)
    with pytest.raises(OptionError, match=r"no member holds an accuracy of 89.00 %; the best one has 86.90 %"):
        plain_front.cheapest(accuracy=0.89, power_mw=1)


def test_picks_are_spelled_as_on_the_command_line(plain_front):
    spelled = ("chosen", "knee", "cheapest", "3", "03", "within:5%", "within:0.05")
    picks = [plain_front.pick(text).index for text in spelled]
    assert picks == [5, plain_front.knee().index, 0, 3, 3, 5, 5]
    with pytest.raises(OptionError, match="there is no member 12; there are 0 to 11"):
        plain_front.pick("12")
    for text in ("kneee", "within", "knee:1", "-1", ""):
        with pytest.raises(OptionError, match=r"is no pick\n    do: knee, chosen, cheapest, within:5%"):
            plain_front.pick(text)


@pytest.mark.parametrize(
    ("text", "share"), [("5%", 0.05), ("0.05", 0.05), (0.05, 0.05), ("12.5 %", 0.125), (0, 0), (1, 1)]
)
def test_shares_are_percent_or_fractions(text, share):
    assert math.isclose(share_of(text, "x"), share)


@pytest.mark.parametrize("text", ["5", 5, "-1%", "101%", "five", "nan", "inf", "", "%", True])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(OptionError, match=r"x: .* is no share from 0 to 1\n    do: such as 5% or 0.05"):
        share_of(text, "x")


def test_a_front_comes_back_from_disk_as_it_was(plain_front, tmp_path):
    for member in plain_front.members:
        (tmp_path / member.design).mkdir(parents=True)
        (tmp_path / member.design / "design.json").write_text("{}")
    write_front(plain_front, tmp_path)
    back = read_front(tmp_path)
    assert back.genomes.dtype == np.int32
    assert np.array_equal(back.genomes, plain_front.genomes)
    assert [vars(member) for member in back.members] == [vars(member) for member in plain_front.members]
    apart = ("members", "genomes")
    assert {k: v for k, v in vars(back).items() if k not in apart} == {
        k: v for k, v in vars(plain_front).items() if k not in apart
    }


def test_the_table_has_one_line_a_member(plain_front):
    rows = list(csv.DictReader(as_csv(plain_front).splitlines()))
    assert len(rows) == 12
    assert [float(row["area_mm2"]) for row in rows] == [member.area_mm2 for member in plain_front.members]
    assert [row["chosen"] for row in rows].count("1") == 1
    assert rows[3]["design"] == "members/03"


def _edit(folder, change):
    told = json.loads((folder / "front.json").read_text())
    change(told)
    (folder / "front.json").write_text(json.dumps(told))


def _member(key, value):
    return lambda told: told["members"][0].update({key: value})


FORGED = {
    "another format": (lambda told: told.update(format="x"), r"no front \(format 'x' is not 'approxhw front 1'\)"),
    "no members": (lambda told: told.update(members=[]), "it does not fit its files"),
    "a design elsewhere": (_member("design", "../../etc"), "member 0: it cannot be"),
    "an area that is none": (
        _member("area_mm2", "1e3"),
        r"members\[0\]\.area_mm2: of the wrong kind \(expected float, got str\)",
    ),
    "an area of NaN": (_member("area_mm2", math.nan), "area_mm2: nan"),
    "an accuracy over 1": (_member("test_accuracy", 1.5), "member 0: it cannot be"),
    "a lacking figure": (lambda told: told["members"][0].pop("inputs"), r"members\[0\]\.inputs: it is missing"),
    "nobody chosen": (lambda told: [m.update(chosen=False) for m in told["members"]], "not one of them is chosen"),
    "another order": (lambda told: told["members"].reverse(), "members: not by rising area"),
    "rows that are none": (lambda told: told["data"].update(rows=3), "data: rows"),
    "texts that are none": (lambda told: told.update(name=["x"]), "name: "),
    "objectives of no circuit": (lambda told: told.update(objectives=["errors", "beauty"]), "objectives: .*'beauty'"),
    "objectives in a heap": (lambda told: told.update(objectives=["area", "errors"]), "objectives: they do not fit"),
    "objectives that are no names": (
        lambda told: told.update(objectives=[1, 2]),
        r"objectives\[0\]: of the wrong kind",
    ),
    "no digests": (lambda told: told.update(files=[]), r"no front \(files: of the wrong kind"),
    "no digest of the table": (
        lambda told: told["files"].pop("front.csv"),
        "front.csv: front.json does not vouch for it",
    ),
    "a digest of another": (lambda told: told["files"].update({"front.csv": "0"}), "changed since the search"),
    "files elsewhere": (lambda told: told["files"].update({"../x": "0"}), r"\.\./x: it lies outside the folder"),
    "a later version": (
        lambda told: told.update(format="approxhw front 2"),
        r"no front \(format 'approxhw front 2' is not 'approxhw front 1': a newer approxhw wrote it\)",
    ),
}


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_front_is_refused_by_name(forged, front):
    change, text = FORGED[forged]
    _edit(front, change)
    with pytest.raises(InvalidDesignError, match=text):
        ax.open_front(front)


def test_a_front_of_before_objectives_were_told_is_read(front):
    before = ax.open_front(front).front
    _edit(front, lambda told: told.pop("objectives"))
    _edit(front, lambda told: [member.pop("fold") for member in told["members"]])
    again = ax.open_front(front).front
    assert again.objectives == before.objectives == ("errors", "area")
    assert [member.fold for member in again.members] == [0] * len(before.members)
    assert again.members[0].area_mm2 == before.members[0].area_mm2


def test_a_front_of_other_objectives_is_sorted_and_picked_by_its_own_cost(member, front_of):
    figures = [(0.7, 50.0, 1.0), (0.85, 40.0, 2.0), (0.9, 45.0, 3.0), (0.91, 30.0, 9.0)]
    members = [member(i, a, area, power_mw=power, chosen=i == 1) for i, (a, area, power) in enumerate(figures)]
    front = front_of(members, objectives=("errors", "power", "area"))
    assert [each.name for each in front.costs] == ["power", "area"]
    assert front.knee().index == 2, "by power; by area nothing would be above the line"
    assert front.cheapest(accuracy=0.8).index == 1
    assert members[3].energy_uj == members[3].power_mw * members[3].delay_ms


def test_files_that_are_missing_or_altered_are_named_together(front):
    (front / "front.csv").write_text("index\n")
    (front / "front.npz").unlink()
    (front / "members/00/design.json").unlink()
    with pytest.raises(InvalidDesignError) as caught:
        ax.open_front(front)
    assert [problem.where for problem in caught.value.problems] == ["front.csv", "front.npz", "members/00/design.json"]
    assert "the file was changed since the search" in str(caught.value)
    assert str(caught.value).count("the file is missing") == 2


def test_genomes_that_were_cut_short_are_refused(front):
    from hashlib import sha256

    with np.load(front / "front.npz") as stored:
        genomes = stored["genomes"]
    np.savez(front / "front.npz", genomes=genomes[:-1])
    digest = sha256((front / "front.npz").read_bytes()).hexdigest()
    _edit(front, lambda told: told["files"].update({"front.npz": digest}))
    with pytest.raises(InvalidDesignError, match=r"front\.npz: not one genome a member"):
        ax.open_front(front)


def test_a_folder_without_a_front_says_how_to_make_one(tmp_path):
    with pytest.raises(InvalidDesignError, match=r"do: make it with: approxhw search MODEL --data DATA -o FOLDER"):
        ax.open_front(tmp_path)
    (tmp_path / "checkpoint").mkdir()
    with pytest.raises(InvalidDesignError, match=r"was ended before it had a front: run it again with --resume"):
        ax.open_front(tmp_path)


@pytest.mark.parametrize("name", ["notes.txt", "members/00/mine.txt", "members/mine/x", "rtl/top.v"])
def test_a_front_with_a_foreign_file_in_it_is_not_replaced(name, front):
    check_front_output(front)
    (front / name).parent.mkdir(parents=True, exist_ok=True)
    (front / name).write_text("mine")
    with pytest.raises(OutputError, match=f"it is a front, but holds files that approxhw did not write: {name}"):
        check_front_output(front)


def test_what_commands_add_to_the_members_is_no_foreign_file(front):
    for name in ("simulation/icarus/verdict.json", "estimate/sky130.json", "report.html"):
        path = front / "members/00" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    check_front_output(front)


def test_designs_and_other_folders_are_not_taken_for_fronts(front, tmp_path):
    with pytest.raises(OutputError, match="it holds an approxhw design, which a front does not replace"):
        check_front_output(front / "members/00")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="it exists and is no folder"):
        check_front_output(tmp_path / "file")
    (tmp_path / "killed/checkpoint").mkdir(parents=True)
    (tmp_path / "killed/checkpoint/search.npz").write_text("")
    check_front_output(tmp_path / "killed")


def test_a_front_tells_the_most_frequent_class_of_each_split(plain_front):
    told = replace(plain_front, majority={"train": 0.5, "validation": 0.25, "test": 0.544})
    page = render_front(told, "front")
    assert ">Majority</th>" in page
    assert "54.4 %" in page
    assert "54.4 %" not in render_front(plain_front, "front")


def test_a_search_tells_that_what_it_found_is_no_better_than_the_most_frequent_class(iris, tmp_path):
    with np.load(iris.data) as stored:
        data = dict(stored)
    data["y_test"] = np.ones_like(data["y_test"])  # always saying 1 is right of every row
    few = {"population": 16, "islands": 1, "jobs": 1, "generations": 1, "folds": 1, "members": 1, "synthesised": 2}
    more = {"synthesise_every": 0, "simulate": (), "seeding": Seeding(starts=0)}
    found = ax.search(iris.model, data=data, output=tmp_path / "front", **few, **more)
    assert found.front.majority["test"] == 1.0
    words = "is no better than always answering the most frequent class"
    for who, share in (("the model", found.front.onnx["test"]), ("the chosen circuit", found.chosen.test_accuracy)):
        assert f"{who} {words}: {100 * share:.2f} % of test rows against 100.00 %" in found.front.warnings
    assert found.report().read_text().count(words) == 2
