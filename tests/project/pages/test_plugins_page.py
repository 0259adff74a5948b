"""docs/plugins.md: it shows the files of the toy package as they are, and its commands run."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest
from toy_packages import TOY

from approxhw.common.plugins import GROUPS

CHECKOUT = Path(__file__).resolve().parents[3]
PAGE = (CHECKOUT / "docs" / "plugins.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_entry_points_are_those_of_the_toy_package():
    (shown,) = blocks("toml")
    there = tomllib.loads((TOY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    assert tomllib.loads(shown)["project"]["entry-points"] == there
    assert set(there) == {f"approxhw.{group}" for group in GROUPS}


def test_the_files_are_shown_as_they_are():
    shown = re.findall(r"<!-- (\w+\.py): begin -->\n```python\n(.*?)```\n<!-- \1: end -->", PAGE, re.DOTALL)
    assert [name for name, _ in shown] == ["toy_pass.py", "toy_target.py", "toy_simulator.py", "toy_multipliers.py"]
    for name, text in shown:
        assert text == (TOY / "toy_plugin" / name).read_text(encoding="utf-8"), name


@pytest.mark.slow
def test_the_commands_run(toy, icarus, tmp_path):
    pytest.importorskip("sklearn", reason="one of the page's data sets comes with scikit-learn")
    shutil.copy(CHECKOUT / "examples" / "iris.onnx", tmp_path)
    network = {"weights0": [[3, -1], [2, 2]], "bias0": [0, 1], "weights1": [[1, -2], [-1, 1]], "bias1": [0, 0.5]}
    (tmp_path / "net.toy").write_text(json.dumps(network))
    (commands,) = blocks("sh")
    for line in commands.splitlines():
        program, *words = shlex.split(line)
        assert program == "approxhw"
        toy(*words)
    assert (tmp_path / "build" / "net" / "estimate" / "toy.json").is_file()
    assert (tmp_path / "build" / "listing" / "files" / "nodes.txt").read_text().startswith("hello\n")
