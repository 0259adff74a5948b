"""docs/integer-models.md: its examples run, and the names in it are there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from approxhw.ir.pass_manager import available_passes

CHECKOUT = Path(__file__).resolve().parents[3]
TEXT = (CHECKOUT / "docs" / "integer-models.md").read_text(encoding="utf-8")


def test_examples_of_python_run(tmp_path, monkeypatch, capsys):
    shutil.copy(CHECKOUT / "examples" / "digits.onnx", tmp_path)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "docs/integer-models.md", "exec"), {})
    said = capsys.readouterr().out.splitlines()
    assert all(0.9 < float(word) <= 1 for word in said[0].split())
    assert "biases moved by their expected error" in said[-1]


def test_passes_are_there():
    named = set(re.findall(r"`([a-z]+-[a-z]+)(?:\{[^}]*\})?`", TEXT))
    assert {"quantize-model", "integer-products", "tune-weights", "correct-bias", "control-variate"} <= named
    assert {name for name in named if name in available_passes()} >= {"approximate-multiplier", "correct-bias"}
