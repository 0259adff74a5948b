"""The guard in conftest.py: a wing imported under a top-level name fails the session."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).resolve().parents[2] / "conftest.py"


def run_pytest(folder: Path, test: str, **environment: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(CONFTEST, folder / "conftest.py")
    (folder / "test_it.py").write_text(test)
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--import-mode=importlib",
            "-q",
            "-rs",
            "-p",
            "no:cacheprovider",
            "-o",
            f"pythonpath={CONFTEST.parent / 'helpers'}",  # as pyproject.toml has it
            "test_it.py",
        ],
        cwd=folder,
        env={**{k: v for k, v in os.environ.items() if k != "CI"}, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_wing_imported_at_collection_fails_the_session(tmp_path: Path) -> None:
    done = run_pytest(
        tmp_path, "import sys, types\nsys.modules['passes'] = types.ModuleType('passes')\ndef test(): pass\n"
    )
    assert done.returncode == 1
    assert "imported while tests were collected under a top-level name: passes" in done.stdout


def test_a_wing_imported_by_a_test_fails_the_session(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "import sys, types\ndef test(): sys.modules['sim'] = types.ModuleType('sim')\n")
    assert done.returncode == 1
    assert "imported while tests ran under a top-level name: sim" in done.stdout


def test_a_clean_session_passes(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "import approxhw.sim, approxhw.passes\ndef test(): pass\n")
    assert done.returncode == 0, done.stdout


def test_a_missing_tool_is_a_skip_that_names_it(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "def test(icarus): pass\n", PATH=str(tmp_path))
    assert done.returncode == 0
    assert "SKIPPED" in done.stdout
    assert "Icarus Verilog is not here; install Icarus Verilog 11 or newer" in done.stdout


def test_a_missing_tool_fails_in_ci(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "def test(icarus): pass\n", PATH=str(tmp_path), CI="true")
    assert done.returncode == 1
    assert "Icarus Verilog is not here" in done.stdout
    assert "a failure because CI is set" in done.stdout
