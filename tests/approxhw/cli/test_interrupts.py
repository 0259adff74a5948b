"""Ctrl-C while the program works: one line, exit code 130, nothing half-written, no child left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-m", "approxhw"]


def _interrupted(words: list[object], folder: Path, ready, **environment: str) -> subprocess.CompletedProcess[str]:
    """Send SIGINT once *ready* says so (a program that ends before that is a failure of the test)."""
    process = subprocess.Popen(
        [*PROGRAM, *map(str, words)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    limit = time.monotonic() + 60
    while not ready(process.pid):
        assert process.poll() is None, "it ended too early"
        assert time.monotonic() < limit, "it never came so far"
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def _children(pid: int) -> list[str]:
    """Return the command lines of all processes below *pid*."""
    found, todo = [], [pid]
    while todo:
        try:
            below = Path(f"/proc/{todo[0]}/task/{todo[0]}/children").read_text().split()
        except OSError:
            below = []
        for child in map(int, below):
            todo.append(child)
            try:
                found.append(Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
        todo.pop(0)
    return found


def _stalling(folder: Path, name: str) -> Path:
    """Return a folder with a program *name* that takes for ever and says so in the file ``started``."""
    folder.mkdir()
    program = folder / name
    program.write_text(f"#!/bin/sh\necho $$ > {folder}/started\nexec sleep 1000\n")
    program.chmod(0o755)
    return folder


@pytest.mark.parametrize("machine", [False, True], ids=["people", "machine"])
def test_compile_is_interrupted(inputs, tmp_path, machine, icarus):
    """The signal comes while a tool of the compilation or of the synthesis runs; the design is whole or not there."""
    words = ["compile", inputs / "tiny.onnx", "--data", inputs / "tiny.npz", "-o", "out", "--no-simulate"]
    words += ["--json"] if machine else []
    done = _interrupted(words, tmp_path, lambda pid: any("script.ys" in line for line in _children(pid)))
    assert done.returncode == 130, done.stderr
    assert done.stderr.endswith("error: interrupted; what was finished stays\n")
    assert "Traceback" not in done.stderr
    if machine:
        assert json.loads(done.stdout) == {"error": "interrupted; what was finished stays", "exit_code": 130}
    assert {path.name for path in tmp_path.iterdir()} <= {"out"}
    assert not (tmp_path / "out" / "estimate").exists()


def test_compile_is_interrupted_before_it_writes(inputs, tmp_path):
    """A pipe instead of the data file holds the program where nothing is written yet."""
    os.mkfifo(tmp_path / "rows.csv")
    words = ["compile", inputs / "tiny.onnx", "--data", tmp_path / "rows.csv", "-o", "out"]
    # data sets have to be regular files: the program may refuse the pipe, it must not hang on it
    done = subprocess.run(
        [*PROGRAM, *map(str, words)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 5
    assert "rows.csv: there is no such file" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"rows.csv"}


def test_simulate_is_interrupted(design, tmp_path, icarus, content):
    before = content(design)
    words = ["simulate", design, "--simulator", "icarus"]
    done = _interrupted(words, tmp_path, lambda pid: any("vvp" in line for line in _children(pid)))
    assert done.returncode == 130, done.stderr
    assert done.stderr == "error: interrupted; what was finished stays\n"
    assert done.stdout == ""
    after = content(design)
    assert {name: after.get(name) for name in before} == before
    assert not (design / "simulation" / "icarus" / "verdict.json").exists()


def test_children_of_an_interrupted_program_are_gone(design, tmp_path, icarus):
    stalling = _stalling(tmp_path / "bin", "vvp")
    path = f"{stalling}:{os.environ['PATH']}"
    words = ["simulate", design, "--simulator", "icarus"]
    done = _interrupted(words, tmp_path, lambda pid: (stalling / "started").exists(), PATH=path)
    assert done.returncode == 130, done.stderr
    child = (stalling / "started").read_text().strip()
    limit = time.monotonic() + 20  # whoever inherits the dead may take a moment to bury them
    while Path(f"/proc/{child}").exists() and time.monotonic() < limit:
        time.sleep(0.05)
    assert child
    assert not Path(f"/proc/{child}").exists()
    assert not (design / "simulation").exists() or not list((design / "simulation").rglob("verdict.json"))
