"""docs/search.md: its examples run, and the options that it speaks of are there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from approxhw.artifacts.front import Front, Member
from approxhw.cli.main import COMMANDS

CHECKOUT = Path(__file__).resolve().parents[3]
PAGE = (CHECKOUT / "docs" / "search.md").read_text(encoding="utf-8")


def test_every_option_that_is_spoken_of_is_one():
    known = {word for option in COMMANDS["search"].click().params for word in option.opts}
    told = set(re.findall(r"`(--[a-z-]+)", PAGE))
    assert len(told) >= 15
    assert told <= known | {"--pick"}  # of compile


def test_what_the_page_says_of_files_and_figures_is_there():
    for name in ("converters_area_mm2", "converters_power_mw", "inputs"):
        assert f"`{name}`" in PAGE
        assert name in Member.__dataclass_fields__
    assert {"rule", "history", "ledger"} <= set(Front.__dataclass_fields__)


@pytest.mark.slow
def test_examples_of_python_run_in_their_order(tmp_path, monkeypatch):
    shutil.copy(CHECKOUT / "examples" / "iris.onnx", tmp_path / "iris.onnx")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/search.md", "exec"), names)
    assert names["own"].front.generations == 3
    assert names["held"].accuracy >= 0.75
    assert names["front"].as_json()["evaluations"] == 100 * 21
    assert (tmp_path / "build/knee/design.json").is_file()
