"""``approxhw multiplier``: what it prints, its folder, its exit codes; and ``ax.measure_multipliers`` gives the same."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import approxhw as ax
from approxhw.artifacts.folder import read_folder
from approxhw.flow.multipliers.write_report import MULTIPLIERS

NARROW = ("--weight-bits", 4, "--x-bits", 4)


def test_one_module(cli, written, tmp_path):
    path = written(mul4s={"mae": "1.0", "ep%": "75.00"})
    result = cli("multiplier", path, "--clock-ns", 5, "--export", tmp_path / "t.npz")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    titles = ["multiplier", "operands", "signed", "MAE", "MAE, %", "WCE", "WCE, %", "MRE, %", "EP, %", "bias"]
    assert re.split(r" {2,}", lines[0]) == [*titles, "area, µm²", "power, mW", "delay, ns", "none beats it in"]
    assert lines[1].split()[:7] == ["mul4s", "4", "×", "4", "both", "1.00", "0.391"]
    assert lines[2].startswith(
        "sky130, 1.8 V, 2e+08 products per second; power of all 256 pairs of operands, once each"
    )
    assert "signs found out: signed=both" in result.stdout
    assert re.search(r"clock of 5 ns: met, slack [\d.]+ ns", result.stdout)
    assert "mul4s.json: mae 1, ep% 75" in result.stdout
    assert "note: mul4s: mul4s.json says EP% 75, its products say 50" in " ".join(result.stderr.split())
    assert ax.tabulate(tmp_path / "t.npz", signed=None).signed == "both"


def test_a_folder_in_json_and_on_disk(cli, library, tmp_path, content):
    words = ("multiplier", library, "exact", *NARROW, "-o", tmp_path / "out")
    result = cli(*words, "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert [each["name"] for each in said["operators"]] == ["mul4s_A", "mul4s_B", "exact"]
    assert len(said["broken"]) == 3
    assert said["report"] == str(tmp_path / "out" / "report.html")
    record = read_folder(tmp_path / "out", MULTIPLIERS)
    assert [each["name"] for each in record.operators] == ["mul4s_A", "mul4s_B", "exact"]
    tables = {"tables/mul4s_A.npz", "tables/mul4s_B.npz", "tables/exact.npz"}
    assert set(record.files) == {"report.html", "area.svg", "power.svg", *tables}
    exact = ax.tabulate("truncated-0", weight_bits=4, x_bits=4, signed="both").products
    assert (np.load(tmp_path / "out" / "tables" / "exact.npz")["table"] == exact).all()
    page = (tmp_path / "out" / "report.html").read_text()
    for words_there in (
        "3 multipliers",
        "clocked.v",
        "8 bits are stored at a clock edge",
        "<svg",
        "1 files are left out",
    ):
        assert words_there in page
    assert "<script" not in page
    assert cli(*words).exit_code == 0, "an earlier folder of ours is replaced"
    (tmp_path / "out" / "mine.txt").write_text("mine")
    before = content(tmp_path / "out")
    refused = cli(*words)
    assert refused.exit_code == 8
    assert "it is measured multipliers, but holds files that approxhw did not write: mine.txt" in refused.stderr
    assert content(tmp_path / "out") == before


def test_broken_files_are_notes_and_nothing_good_is_an_error(cli, library):
    result = cli("multiplier", library / "signed" / "mul4s_A.v", library / "narrow.v", *NARROW)
    assert result.exit_code == 0, result.output
    assert "not read:" in result.stderr
    assert "weight_bits: 4 bits are stated, the multiplier has 3" in result.stderr
    result = cli("multiplier", library / "narrow.v", *NARROW)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: multiplier: 1 problem\n")
    assert cli("multiplier").exit_code == 2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ("exact", "rounded", "--export", "t.npz"),
            2,
            "export: it takes one multiplier, and there are 2\n    do: give -o FOLDER",
        ),
        (("exact", "--export", "t.csv"), 2, "export: t.csv does not end in .npz"),
        (("exact", "--export", "there.npz"), 8, "there.npz: it is there already, and is no table of products"),
        (("exact", "--library", "sky131"), 2, "did you mean 'sky130'?"),
        (("exact", "--frequency", "1", "--clock-ns", "1"), 2, "there is one vector a clock, and clock_ns is given too"),
    ],
)
def test_what_cannot_be_asked_for(cli, tmp_path, words, code, said):
    (tmp_path / "here" / "there.npz").write_text("mine")
    result = cli("multiplier", *words, *NARROW)
    assert result.exit_code == code, result.output
    assert said in result.stderr
    assert (tmp_path / "here" / "there.npz").read_text() == "mine"


def test_names_that_are_not_to_be_trusted(cli, written, tmp_path):
    name = "<b onload=x>[bold]&.v"
    path = written(
        name=name, text="module m(input [3:0] A, input [3:0] B, output [7:0] O);\n  assign O = A * B;\nendmodule\n"
    )
    result = cli("multiplier", path, "exact", "--x-bits", 4, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "<b onload=x>[bold]&" in result.stdout
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<b onload" not in page
    assert "&lt;b onload=x&gt;[bold]&amp;" in page
    assert sorted(each.name for each in (tmp_path / "out" / "tables").iterdir()) == [
        "_b_onload_x__bold__.npz",
        "exact.npz",
    ]
