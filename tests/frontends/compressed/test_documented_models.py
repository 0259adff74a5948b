"""docs/compressed-models.md and docs/link-model.md: every example runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper

from approxhw.cli.main import main

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.fixture
def place(tmp_path, monkeypatch, make):
    rng = np.random.default_rng(0)
    constants = {"w": rng.normal(size=(4, 90)).astype(np.float32)}
    onnx.save(make([helper.make_node("MatMul", ["x", "w"], ["y"])], constants), tmp_path / "model.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", ["compressed-models.md", "link-model.md"])
def test_examples_run(page, place, capsys):
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = {word: re.findall(rf"^```{word}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE) for word in ("sh", "python")}
    assert [len(found) for found in blocks.values()] == [1, 1]
    for line in blocks["sh"][0].splitlines():
        program, *words = shlex.split(line)
        assert program == "approxhw"
        told = CliRunner().invoke(main, words)
        assert told.exit_code == 0, told.output
    names: dict[str, object] = {}
    exec(compile(blocks["python"][0], page, "exec"), names)
    assert capsys.readouterr().out
    if page == "link-model.md":
        assert names["svg"].startswith("<svg")
        assert (place / "speedup.svg").is_file()
    else:
        assert names["made"].elements == 360
        assert (place / "small.onnx").is_file()
