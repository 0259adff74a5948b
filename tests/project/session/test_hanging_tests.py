"""No test can hang the suite: one that does fails alone, with all stacks, and the others go on."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
TESTS = """
import gc, threading
LOCK = threading.Lock()


class Waiting:
    def __del__(self):
        LOCK.acquire()


def test_that_waits_for_a_lock():
    LOCK.acquire()
    LOCK.acquire()


def test_that_waits_where_python_swallows_what_is_raised():
    waiting = Waiting()
    del waiting


def test_another():
    pass
"""
CODE = """
import ctypes, time


def test_in_c_code():
    ctypes.PyDLL(None).sleep(1000)  # holds the interpreter's lock, and is begun again after every signal


def test_another():
    pass
"""


def run(folder: Path, text: str, *options: str) -> str:
    (folder / "test_it.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\nfaulthandler_exit_on_timeout = true\n")
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "1", *options, "test_it.py"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_limits_are_set():
    told = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    assert told["timeout_method"] == "signal"
    assert told["faulthandler_exit_on_timeout"]
    assert 0 < told["timeout"] < told["faulthandler_timeout"] <= 900


def test_a_test_that_hangs_fails_alone(tmp_path):
    said = run(tmp_path, TESTS, "-o", "timeout=1", "-o", "timeout_method=signal")
    assert "Timeout (>1.0s) from pytest-timeout" in said
    assert "LOCK.acquire()" in said
    assert "test_that_waits_for_a_lock" in said
    assert "2 passed" in said or "1 passed" in said


def test_a_test_that_hangs_in_c_code_ends_its_worker_alone(tmp_path):
    said = run(tmp_path, CODE, "-o", "timeout=0", "-o", "faulthandler_timeout=1")
    assert "Timeout (0:00:01)!" in said
    assert "in test_in_c_code" in said
    assert "1 failed, 1 passed" in said
