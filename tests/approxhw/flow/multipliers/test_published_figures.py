"""Figures beside a multiplier, in comments or JSON: read where they are, held against its products, never a must."""

from __future__ import annotations

import json

import pytest

from approxhw.flow.multipliers.published import differing_figures, published_figures
from approxhw.numerics.multipliers.families import own_operator
from approxhw.numerics.multipliers.tables import error_figures

HEADER = "// MAE% = {} %\n// MAE = {} \n// WCE% = 0.34 %\n// EP% = 75.00 %\n// PDK45_PWR = 0.011 mW\n// PDK45_AREA = 42.5 um2\n"
FIGURES = error_figures(own_operator("truncated-3").table(6, 6, "both"))
"""MAE 4.25, 0.1038 % of 4096; WCE 17; EP 68.75 %."""


def test_comments_of_a_file(tmp_path):
    path = tmp_path / "m.v"
    path.write_text("/* of a library */\n" + HEADER.format("0.10", "4.2") + "module m(A, B, O);\n")
    found = published_figures(path, "m")
    assert found.origin == "comments of m.v"
    assert found.values == {"mae%": 0.1, "mae": 4.2, "wce%": 0.34, "ep%": 75, "pwr": 0.011, "area": 42.5}
    assert found.units["mae%"] == 0.01
    assert differing_figures(found, FIGURES) == [
        "comments of m.v says WCE% 0.34, its products say 0.415039",
        "comments of m.v says EP% 75, its products say 68.75",
    ]


@pytest.mark.parametrize(
    ("said", "agrees"), [("4.25", True), ("4.2", True), ("4.3", True), ("4", True), ("4.5", False), ("19", False)]
)
def test_what_rounding_explains_is_no_difference(tmp_path, said, agrees):
    (tmp_path / "m.v").write_text(f"// MAE = {said}\n")
    assert (differing_figures(published_figures(tmp_path / "m.v", "m"), FIGURES) == []) is agrees


def test_every_figure_is_compared(tmp_path):
    wrong = {
        "mae": 9,
        "mae%": "9.9",
        "wce": 1,
        "wce%": "9.9 %",
        "mre%": 1e9,
        "wcre%": 1,
        "ep%": "3",
        "mse": "1000000",
        "delay": 7,
    }
    (tmp_path / "m.json").write_text(json.dumps(wrong))
    found = published_figures(tmp_path / "m.v", "m")
    assert found.origin == "m.json"
    assert len(differing_figures(found, FIGURES)) == 8


def test_a_library_lists_its_modules(tmp_path):
    """As EvoApproxLib does: nested, figures as text, found by the name of the module or of its file, some folders above."""
    folder = tmp_path / "multipliers" / "6x6_signed" / "front"
    folder.mkdir(parents=True)
    entries = [
        {"name": "other", "files": [{"file": "other.v"}], "params": {"mae%": "9.0"}},
        {"name": "by_name", "params": {"mae%": "0.10", "pwr": "0.4"}},
        {"name": ["strange"], "files": [{"file": "by_file.v", "type": "Verilog"}, 7], "params": {"wce%": "0.42"}},
    ]
    (tmp_path / "meta.json").write_text(json.dumps([{"datasets": [{"datasets": [{"instances": entries}]}]}]))
    assert published_figures(folder / "file.v", "by_name").values == {"mae%": 0.1, "pwr": 0.4}
    assert published_figures(folder / "by_file.v", "module").values == {"wce%": 0.42}
    assert published_figures(folder / "nobody.v", "nobody") is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[",
        "[" * 100_000,
        '{"mae": "many"}',
        '{"mae": true, "wce": null}',
        '{"params": 7}',
        '{"mae": "1e999"}',
        "7",
        '{"pwr": 1}',
    ],
)
def test_json_that_tells_nothing_is_passed_over(tmp_path, content):
    (tmp_path / "m.json").write_text(content)
    (tmp_path / "meta.json").write_text(content)
    assert published_figures(tmp_path / "m.v", "m") is None
