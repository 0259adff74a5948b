"""Circuits that are wrong are caught: one gate is changed, its digest renewed, and every check has to say so."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path


def _spoil(folder: Path, wrong: str) -> None:
    """XOR the class index with the expression *wrong* in the top module, and vouch for the file in design.json."""
    path = folder / "rtl" / "tiny.v"
    text = path.read_text()
    assert text.count(".class_index(class_index)") == 1
    text = text.replace(".class_index(class_index)", ".class_index(right)")
    text = text.replace("endmodule", f"  wire [1:0] right;\n  assign class_index = right ^ {wrong};\nendmodule")
    path.write_text(text)
    described = json.loads((folder / "design.json").read_text())
    described["files"]["rtl/tiny.v"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "design.json").write_text(json.dumps(described))


EVERY = "2'd1"
ONE = "{1'b0, x0 == 3'd6 && x1 == 3'd1 && x2 == 3'd5}"


def test_simulators_see_one_wrong_bit(cli, design, simulator):
    _spoil(design, EVERY)
    result = cli("simulate", design, "--simulator", simulator)
    assert result.exit_code == 11, result.output
    assert result.stdout == ""
    match = re.fullmatch(
        r"error: (.+): 532 of 532 vectors differ\n    vector, expected and seen value: (.+)\n"
        r"    do: this is a defect of approxhw, never of your model; please report it with that file\n",
        result.stderr,
    )
    assert match, result.stderr
    rows = json.loads(Path(match[2]).read_text())
    rows = rows["rows"] if isinstance(rows, dict) else rows
    first = rows[0]
    assert set(first["inputs"]) == {"x0", "x1", "x2"}
    expected, seen = (int(next(iter(first[key].values()))) for key in ("expected", "seen"))
    assert expected ^ seen == 1
    verdict = json.loads((design / "simulation" / simulator / "verdict.json").read_text())
    assert (verdict["mismatches"], verdict["mismatch_file"]) == (532, match[2])
    result = cli("report", design)  # the page tells of it
    assert result.exit_code == 0
    assert "532" in (design / "report.html").read_text()
    machine = json.loads(cli("simulate", design, "--simulator", simulator, "--json").stdout)
    assert machine["exit_code"] == 11


def test_the_netlist_check_sees_one_wrong_bit(cli, design):
    _spoil(design, EVERY)
    result = cli("estimate", design)
    assert result.exit_code == 11, result.output
    file = design / "estimate" / "netlist_mismatches.json"
    assert result.stderr.startswith("error: tiny: synthesised netlist: 572 of 572 vectors differ\n")
    assert f"vector, expected and seen value: {file}" in result.stderr
    rows = json.loads(file.read_text())
    assert len(rows) == 572
    assert all(row["expected"] ^ row["seen"] == 1 for row in rows)
    assert not (design / "estimate" / "egfet.json").exists()


def test_one_wrong_vector_of_all_is_found_by_every_check(cli, design, simulator):
    _spoil(design, ONE)
    for words in (("simulate", design, "--simulator", simulator), ("estimate", design)):
        result = cli(*words)
        assert result.exit_code == 11, result.output
        match = re.search(
            r"([0-9]+) of [0-9]+ vectors differ\n    vector, expected and seen value: (.+)\n", result.stderr
        )
        assert match, result.stderr
        rows = json.loads(Path(match[2]).read_text())
        rows = rows["rows"] if isinstance(rows, dict) else rows
        assert len(rows) == int(match[1]) < 20
        assert {tuple(int(row["inputs"][name]) for name in ("x0", "x1", "x2")) for row in rows} == {(6, 1, 5)}
