"""docs/python.md and docs/cli.md: every example runs, every name, option and exit code is in there."""

from __future__ import annotations

import inspect
import re
import shlex
import shutil
import signal
from pathlib import Path

import click
import pytest

import approxhw as ax
from approxhw.cli.main import COMMANDS
from approxhw.common import errors

CHECKOUT = Path(__file__).resolve().parents[3]


def _blocks(page: str, language: str) -> list[str]:
    text = (CHECKOUT / "docs" / page).read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(found) >= 5
    return found


@pytest.fixture
def place(tmp_path, monkeypatch):
    shutil.copy(CHECKOUT / "examples" / "iris.onnx", tmp_path / "iris.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_examples_of_python_run_in_their_order(place, icarus):
    names: dict[str, object] = {}
    for block in _blocks("python.md", "python"):
        exec(compile(block, "docs/python.md", "exec"), names)
    assert names["result"].mismatches == 0
    assert names["result"].vectors > 200
    assert names["cost"].cells > 50
    assert names["page"] == Path("build/iris/report.html")
    assert names["page"].is_file()
    assert names["design"].accuracy["hardware"] > 0.85
    assert len(names["classes"]) == len(names["data"].y_test)


@pytest.mark.slow
def test_examples_of_the_command_line_run_in_their_order(cli, place, icarus, monkeypatch):
    monkeypatch.chdir(place)
    lines = [line for block in _blocks("cli.md", "sh") for line in block.splitlines()]
    assert {shlex.split(line)[1] for line in lines} == set(COMMANDS)
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "approxhw"
        result = cli(*words)
        assert result.exit_code == 0, f"{line}\n{result.output}"
        assert result.stdout


def test_every_option_is_described():
    text = (CHECKOUT / "docs" / "cli.md").read_text(encoding="utf-8")
    for name, command in ((name, command.click()) for name, command in COMMANDS.items()):
        assert f"`{name}`" in text or f"[`{name}`]" in text
        assert command.help
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help, f"{name} --{option.name}"
                assert any(re.search(rf"{re.escape(word)}\b", text) for word in option.opts), f"{name} {option.opts}"


def test_exit_codes_are_those_of_the_errors():
    text = (CHECKOUT / "docs" / "cli.md").read_text(encoding="utf-8")
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    classes = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.ApproxhwError)]
    codes = [cls.exit_code for cls in classes if cls not in (errors.ApproxhwError, errors.ProblemsError)]
    assert len(codes) == len(set(codes)), "one code, one class of error"
    signals = {128 + number for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
    assert listed == {0, 70, *signals, *codes}


def test_every_public_name_is_described_and_documented():
    text = (CHECKOUT / "docs" / "python.md").read_text(encoding="utf-8")
    assert sorted(ax.__all__) == list(ax.__all__)
    for name in ax.__all__:
        thing = getattr(ax, name)
        assert inspect.getdoc(thing), name
        assert len(inspect.getdoc(thing)) > 30, name
        assert f"`ax.{name}" in text, name
        for method, value in inspect.getmembers(thing, inspect.isfunction) if inspect.isclass(thing) else ():
            assert method.startswith("_") or inspect.getdoc(value), f"{name}.{method}"


def test_names_that_are_not_there():
    with pytest.raises(AttributeError, match="module 'approxhw' has no attribute 'compil'"):
        ax.compil  # noqa: B018
