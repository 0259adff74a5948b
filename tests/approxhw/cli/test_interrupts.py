"""Ctrl-C, SIGTERM, SIGHUP and SIGKILL while the program works: one line, the exit code, nothing half-written or left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import carrying, heeded, marked, stalling, wait_until

from approxhw.common.files import locked, temporary

PROGRAM = [sys.executable, "-m", "approxhw"]


def _ended(
    number: int, words: list[object], folder: Path, ready: Callable[[int], object], **environment: str
) -> subprocess.CompletedProcess[str]:
    """Send the signal once *ready* says so (a program that ends before that is a failure of the test)."""
    with heeded():
        process = subprocess.Popen(
            [*PROGRAM, *map(str, words)],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
    limit = time.monotonic() + 200
    while not ready(process.pid):
        assert process.poll() is None, "it ended too early"
        assert time.monotonic() < limit, "it never came so far"
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def _interrupted(words: list[object], folder: Path, ready: Callable[[int], object], **environment: str):
    return _ended(signal.SIGINT, words, folder, ready, **environment)


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
    assert "rows.csv: it is no plain file" in done.stderr
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
    place = stalling(tmp_path / "bin", "vvp")
    path = f"{place}:{os.environ['PATH']}"
    words = ["simulate", design, "--simulator", "icarus"]
    done = _interrupted(words, tmp_path, lambda pid: (place / "started").exists(), PATH=path)
    assert done.returncode == 130, done.stderr
    child = (place / "started").read_text().strip()
    limit = time.monotonic() + 20  # whoever inherits the dead may take a moment to bury them
    while Path(f"/proc/{child}").exists() and time.monotonic() < limit:
        time.sleep(0.05)
    assert child
    assert not Path(f"/proc/{child}").exists()
    assert not (design / "simulation").exists() or not list((design / "simulation").rglob("verdict.json"))


NO_PROC = not Path("/proc/self").exists()
WHY = "living processes are looked up in /proc"


@pytest.mark.skipif(NO_PROC, reason=WHY)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_process_and_no_folder_is_left_whatever_ends_a_command(design, tmp_path, icarus, number):
    place, environment = stalling(tmp_path / "bin", "vvp"), marked()
    (tmp_path / "tmp").mkdir()
    environment |= {"TMPDIR": str(tmp_path / "tmp"), "PATH": f"{place}:{os.environ['PATH']}"}
    words = ["simulate", design, "--simulator", "icarus"]
    done = _ended(number, words, tmp_path, lambda pid: (place / "started").exists(), **environment)
    wait_until(lambda: not carrying(environment), "processes outlive the command")
    if number == signal.SIGKILL:
        assert done.returncode == -number
        with locked(design):  # the next run
            temporary._sweep_once.__wrapped__(tmp_path / "tmp")
    else:
        assert done.returncode == 128 + number
        assert done.stderr == f"error: ended by {signal.Signals(number).name}; what was finished stays\n"
    assert list((tmp_path / "tmp").iterdir()) == []
    assert list(tmp_path.rglob(".*")) == []
    assert not list(design.rglob("verdict.json"))


@pytest.mark.skipif(NO_PROC, reason=WHY)
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_of_a_search_end_with_it(inputs, tmp_path, number):
    environment = marked() | {"TMPDIR": str(tmp_path)}
    words = [
        "search",
        inputs / "tiny.onnx",
        "--data",
        inputs / "tiny.npz",
        "-o",
        "out",
        "--jobs",
        2,
        "--generations",
        10**6,
    ]
    words += ["--population", 16, "--folds", 1, "--starts", 1, "--moves", 10, "--synthesise-every", 0, "--no-simulate"]
    done = _ended(number, words, tmp_path, lambda pid: "spawn_main" in str(carrying(environment)), **environment)
    wait_until(lambda: not carrying(environment), "processes outlive the search")
    assert done.returncode == (-number if number == signal.SIGKILL else 128 + number), done.stderr
    with locked(tmp_path / "out"):
        temporary._sweep_once.__wrapped__(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= {"out"}  # a checkpoint may stand there already


def test_machines_are_told_of_a_signal_and_a_signal_that_is_ignored_stays_so(design, tmp_path, icarus):
    place = stalling(tmp_path / "bin", "vvp")
    words = ["simulate", design, "--simulator", "icarus", "--json"]
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        process = subprocess.Popen(
            [*PROGRAM, *map(str, words)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PATH": f"{place}:{os.environ['PATH']}"},
        )
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_until((place / "started").exists, "it never came so far")
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGTERM):  # `timeout` sends its signal twice
        process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert json.loads(out) == {"error": "ended by SIGTERM; what was finished stays", "exit_code": 143}


def test_an_end_that_takes_too_long_is_cut_short():
    code = """
import os, signal, time
from approxhw.cli.terminal import ending
ending.GRACE = 0.2
with ending.ended_in_order():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1000)
    finally:
        time.sleep(1000)
"""
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        assert process.wait(timeout=60) == 143


def test_signals_are_given_back():
    code = """
import os, signal
from approxhw.cli.terminal.ending import EndedError, ended_in_order
with ended_in_order():
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
assert signal.getsignal(signal.SIGTERM) is signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
try:
    with ended_in_order():
        os.kill(os.getpid(), signal.SIGHUP)
except EndedError as error:
    assert (str(error), error.exit_code) == ("SIGHUP", 129)
os.kill(os.getpid(), signal.SIGTERM)
"""
    with heeded(), subprocess.Popen([sys.executable, "-c", code]) as process:
        assert process.wait(timeout=60) == -signal.SIGTERM


def test_an_interrupt_inside_a_callback_is_not_lost():
    code = """
import ctypes, os, signal, sys, time
from approxhw.cli.terminal.ending import interrupts_kept
before = sys.unraisablehook
def called():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0)
with interrupts_kept() as lost:
    try:
        ctypes.CFUNCTYPE(None)(called)()
        assert lost.any
        time.sleep(60)
    except KeyboardInterrupt:
        print("came again")
assert sys.unraisablehook is before
"""
    with heeded():
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("came again\n", "")


def test_what_fails_for_a_lost_interrupt_is_no_defect(cli, monkeypatch):
    from types import SimpleNamespace

    def fails(*_):
        sys.unraisablehook(SimpleNamespace(exc_type=KeyboardInterrupt))
        raise RuntimeError("no compiled object yet")

    monkeypatch.setattr("approxhw.cli.parameters.command._run", fails)
    monkeypatch.setattr("approxhw.cli.terminal.ending.AGAIN", 1000.0)
    done = cli("check", "x.onnx")
    assert done.exit_code == 130
    assert "error: interrupted; what was finished stays" in done.stderr
