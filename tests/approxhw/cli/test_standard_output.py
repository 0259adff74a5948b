"""Standard output that takes nothing, being full or closed: one line on standard error, an exit code, no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")


def ended(*words: str, closed: bool = False) -> tuple[int, list[str]]:
    """Run the command line with standard output full, or *closed*; return its exit code and the lines of standard error."""
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "approxhw", *words],
            stdout=None if closed else full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
            preexec_fn=(lambda: os.close(1)) if closed else None,
        )
    return done.returncode, done.stderr.splitlines()


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["passes", "--json"], 8, "error: standard output cannot be written (No space left on device)"),
        (["passes"], 8, "error: standard output cannot be written (No space left on device)"),
        (["check", "--help"], 8, "error: standard output cannot be written (No space left on device)"),
        (["check", "nowhere.onnx", "--json"], 4, "error: nowhere.onnx: 1 problem"),
    ],
)
def test_a_full_disk_is_said_in_a_line(words, code, line):
    seen, lines = ended(*words)
    assert (seen, lines[0][: len(line)]) == (code, line)
    assert len(lines) == (1 if code == 8 else 3)


@pytest.mark.parametrize(("words", "code"), [(["--version"], 8), (["check", "nowhere.onnx"], 4)])
def test_a_closed_descriptor_is_said_in_a_line(words, code):
    seen, lines = ended(*words, closed=True)
    assert seen == code
    assert not any("Traceback" in line for line in lines)
    if code == 8:
        assert lines == ["error: standard output cannot be written (it is closed): what was found is not told"]
