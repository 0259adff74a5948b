"""docs/search.md: its examples run, and it names every option."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import click
import pytest

from approxhw.artifacts.front import Front, Member
from approxhw.cli.main import COMMANDS

CHECKOUT = Path(__file__).resolve().parents[3]
PAGE = (CHECKOUT / "docs" / "search.md").read_text(encoding="utf-8")
TABLES = (CHECKOUT / "docs" / "cli.md").read_text(encoding="utf-8")
"""Made of the command's own options (``tests/approxhw/cli/test_option_tables.py``)."""


def test_every_option_of_the_command_is_described():
    for option in COMMANDS["search"].click().params:
        if isinstance(option, click.Option) and option.name not in ("help", "verbose"):
            assert any(f"`{word}`" in PAGE + TABLES for word in option.opts), option.opts


def test_defaults_are_those_of_the_command():
    told = dict(re.findall(r"^\| `(--[a-z-]+)` \| ([^ |]+) \|", PAGE, re.MULTILINE))
    numbers = [name for name in told if re.match(r"\d", told[name])]
    assert len(numbers) >= 8
    for name in numbers:
        assert re.search(rf"`{name}` \| {re.escape(told[name])}[ ;%,]", TABLES), name


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
