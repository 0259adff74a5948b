"""What all tests share: the guard against second copies of modules, and fixtures for tools that may be missing.

A tool that is missing fails the test where the environment variable ``CI`` is set; everywhere else it is a skip that
names the tool and the way to get it: a headline that is not tested is not a headline.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chromium import find_chromium
from opensta import find_opensta
from toy_packages import install_toy, run_with

from approxhw.common import tools
from approxhw.common.errors import ToolNotFoundError

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # some tests import onnxruntime themselves
CHECKOUT = Path(__file__).resolve().parents[1]
SHARED_TASKS = CHECKOUT.parent / "shared" / "tasks"
WINGS = ("backends", "frontends", "passes", "rtl_templates", "sim")


def doubled_wings() -> list[str]:
    """Return the wings that are in ``sys.modules`` under their folder's name: second copies of every class in them."""
    return [name for name in WINGS if name in sys.modules]


def missing(what: str, hint: str) -> None:
    """Fail where ``CI`` is set, else skip: *what* is missing, *hint* says how to get it."""
    text = f"{what} is not here; {hint}"
    if os.environ.get("CI"):
        pytest.fail(f"{text} (a skip elsewhere, a failure because CI is set)", pytrace=False)
    pytest.skip(text)


@pytest.fixture(scope="session", autouse=True)
def _one_copy_of_every_module() -> Iterator[None]:
    """Fail the session when a wing was imported as ``passes`` and not as ``approxhw.passes``."""
    for when in ("while tests were collected", "while tests ran"):
        if names := doubled_wings():
            pytest.fail(
                f"imported {when} under a top-level name: {', '.join(names)}; every class in there exists twice now. "
                f"do: import approxhw.{names[0]}, and keep the checkout off sys.path (pytest, not python -m pytest)",
                pytrace=False,
            )
        if when == "while tests were collected":
            yield


def _tool(name: str, find: Callable[[], tools.Tool]) -> tools.Tool:
    try:
        return find()
    except ToolNotFoundError as error:
        missing(name, error.hint)
        raise


@pytest.fixture(scope="session")
def icarus() -> tools.Tool:
    """Icarus Verilog."""
    return _tool("Icarus Verilog", tools.find_icarus)


@pytest.fixture(scope="session")
def verilator() -> tools.Tool:
    """Verilator, with a compiler to build what it makes."""
    return _tool("Verilator", tools.find_verilator)


@pytest.fixture(scope="session")
def opensta() -> tools.Tool:
    """OpenSTA, which times netlists."""
    return _tool("OpenSTA", find_opensta)


@pytest.fixture(scope="session")
def chromium() -> tools.Tool:
    """A headless Chromium, for pages."""
    return _tool("Chromium", find_chromium)


@pytest.fixture(scope="session")
def toy_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the toy package of docs/plugins.md is installed in; nothing else sees it."""
    return install_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def toy(toy_site: Path, tmp_path: Path) -> Callable[..., str]:
    """Run approxhw's command line, or with ``-c`` Python, beside the toy package; return what it printed."""

    def run(*words: object, code: int = 0) -> str:
        words = words if words[0] == "-c" else ("-m", "approxhw", *words)
        done = run_with(toy_site, *words, folder=tmp_path)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    return run


@pytest.fixture(scope="session")
def shared_tasks() -> Path:
    """The folder of the five outside classifiers, ``../shared/tasks``; it is no part of the project."""
    if not SHARED_TASKS.is_dir():
        missing("work material ../shared/tasks", "these tests need it beside the checkout")
    return SHARED_TASKS
