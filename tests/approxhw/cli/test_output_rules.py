"""What may be written over and what never; full disks and kills leave a whole design, an old one, or none."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

import approxhw as ax
from approxhw.artifacts.design import read_design, write_design
from approxhw.common.errors import OutputError

QUICK = ("--no-simulate", "--no-estimate")


@pytest.fixture
def build(cli, inputs):
    """Compile the tiny model to a path."""
    return lambda path, *words: cli(
        "compile", inputs / "tiny.onnx", "--data", inputs / "tiny.npz", "-o", path, *QUICK, *words
    )


def _refused(result, path: object, why: str) -> None:
    assert result.exit_code == 8, result.output
    remedy = "choose another folder with -o, or move that one away"
    assert result.stderr == f"error: output: 1 problem\n  {path}: {why}\n    do: {remedy}\n"


def test_foreign_folders_files_and_links_stay_as_they_are(build, tmp_path, content, design):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(b"one")
    (tmp_path / "letter").write_text("dear")
    (tmp_path / "link").symlink_to(design, target_is_directory=True)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "alike").mkdir()
    (tmp_path / "alike" / "design.json").write_text('{"format": "another program", "files": {}}')
    before = content(tmp_path)
    _refused(build(tmp_path / "photos"), tmp_path / "photos", "it exists and was not written by approxhw")
    _refused(build(tmp_path / "alike"), tmp_path / "alike", "it exists and was not written by approxhw")
    for name in ("letter", "link", "dangling"):
        _refused(build(tmp_path / name), tmp_path / name, "it exists and is no folder")
    assert content(tmp_path) == before
    assert (tmp_path / "link").is_symlink()
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", ["notes.txt", "rtl/mine.v", "deep/er/mine.txt", ".hidden"])
def test_a_design_with_a_foreign_file_in_it_stays(build, design, content, name):
    (design / name).parent.mkdir(parents=True, exist_ok=True)
    (design / name).write_text("mine")
    before = content(design)
    why = f"it is a design, but holds files that approxhw did not write: {name}"
    _refused(build(design), design, why)
    assert content(design) == before


def test_an_earlier_design_is_replaced_whole(build, design):
    for name in ("simulation/icarus/verdict.json", "estimate/egfet.json", "report.html"):
        (design / name).parent.mkdir(parents=True, exist_ok=True)
        (design / name).write_text("{}")
    result = build(design, "--input-bits", 2)
    assert result.exit_code == 0, result.stderr
    files = {"calibrated.axir", "design.json", "graph.axir", "report.html", "rows.npz", "rtl"}
    assert {path.name for path in design.iterdir()} == files
    assert read_design(design).inputs[0].bits == 2
    assert (design / "report.html").read_text() != "{}"
    assert [path.name for path in design.parent.iterdir() if path.name.startswith(".")] == []


def test_an_empty_folder_may_be_used(build, tmp_path):
    (tmp_path / "empty" / "below").mkdir(parents=True)
    assert build(tmp_path / "empty").exit_code == 0
    assert read_design(tmp_path / "empty").name == "tiny"


@pytest.mark.parametrize("name", [".", "", "..", "/", "../here"])
def test_the_folder_that_one_is_in_is_not_replaced(build, name, content, tmp_path):
    result = build(name)
    assert result.exit_code == 8, result.output
    assert content(tmp_path / "here") == {}
    if name != "/":
        why = "it holds the folder that you are in, which cannot be replaced"
        _refused(result, name or ".", why)


def test_missing_parents_are_made(build, tmp_path):
    assert build(tmp_path / "a b" / "ünï" / "c'\"d").exit_code == 0
    assert read_design(tmp_path / "a b" / "ünï" / "c'\"d").name == "tiny"


def test_places_where_nothing_can_be_written(build, tmp_path):
    (tmp_path / "file").write_text("mine")
    long = tmp_path / ("x" * 10_000)
    for path, reason, remedy in (
        (Path("/proc/nothing/out"), "No such file or directory", "choose another folder"),
        (long, "File name too long", "choose a shorter name"),
    ):
        result = build(path)
        assert result.exit_code == 8, result.output
        assert f"it cannot be written ({reason})" in result.stderr
        assert f"    do: {remedy}\n" in result.stderr
        assert len(result.stderr) < 500
    _refused(build(tmp_path / "file" / "out"), tmp_path / "file" / "out", f"{tmp_path / 'file'} is no folder")
    assert (tmp_path / "file").read_text() == "mine"


def _watched(monkeypatch, strike):
    """Call *strike* before everything that changes the disk; return how often that was, so far."""
    count = [0]

    def watch(owner, name):
        original = getattr(owner, name)

        def wrapper(*args, **options):
            count[0] += 1
            strike(count[0])
            return original(*args, **options)

        monkeypatch.setattr(owner, name, wrapper)

    watch(Path, "write_text")
    watch(Path, "mkdir")
    watch(np, "savez_compressed")
    watch(tempfile, "mkdtemp")
    watch(os, "replace")
    return count


@pytest.mark.parametrize("earlier", [False, True])
def test_a_disk_that_is_full_at_any_point_loses_nothing(made, tmp_path, content, monkeypatch, earlier):
    design = read_design(made)
    folder = tmp_path / "place" / "out"
    folder.parent.mkdir()
    if earlier:
        shutil.copytree(made, folder)
    before = content(folder.parent)
    full = OSError(errno.ENOSPC, "No space left on device")
    failures = 0
    for point in range(1, 200):
        with monkeypatch.context() as patch:

            def strike(number, point=point):
                if number == point:
                    raise full

            count = _watched(patch, strike)
            try:
                write_design(design, folder, [("00_input.axir", design.graph)])
            except OutputError as error:
                failures += 1
                assert f"{folder}: it cannot be written (No space left on device)" in str(error)  # noqa: PT017
            else:
                assert count[0] < point
                break
        assert content(folder.parent) == before, f"at write {point}"
        assert earlier or not folder.exists()
    assert failures > len(design.modules) + 5
    assert read_design(folder).top == design.top
    assert [path.name for path in folder.parent.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("limit", "words", "text"),
    [
        (
            3000,
            "compile {inputs}/tiny.onnx --data {inputs}/tiny.npz -o place/out",
            "they cannot be written (File too large)",
        ),
        (100, "estimate design", "they cannot be written (File too large)"),
        (3000, "estimate design/rtl/ripple_adder.v", "Yosys could not write them whole"),
        (3000, "simulate design --simulator icarus", "it cannot be written (File too large)"),
        (3000, "report design", "report.html: the report cannot be written (File too large)"),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else "",
)
def test_a_file_size_limit_is_a_full_disk(inputs, design, tmp_path, content, icarus, limit, words, text):
    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    before = content(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "approxhw", *words.format(inputs=inputs).split()],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        preexec_fn=limited,
        timeout=120,
        check=False,
    )
    assert done.returncode == 8, done.stderr
    assert done.stderr.startswith("error: ")
    assert text in done.stderr
    assert "    do: " in done.stderr
    assert "Traceback" not in done.stderr
    assert {name: data for name, data in content(tmp_path).items() if "-failed" not in name} == before


CRASHING = """
import os, signal, sys, tempfile
from pathlib import Path
import numpy as np
from approxhw.artifacts.design import read_design, write_design
design, left = read_design(Path(sys.argv[1])), [int(sys.argv[3])]
def watch(owner, name):
    original = getattr(owner, name)
    def wrapper(*args, **options):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **options)
    setattr(owner, name, wrapper)
for owner, name in ((Path, "write_text"), (Path, "mkdir"), (np, "savez_compressed"), (tempfile, "mkdtemp"), (os, "replace")):
    watch(owner, name)
write_design(design, Path(sys.argv[2]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("earlier", [False, True])
def test_a_kill_at_any_write_leaves_no_design_that_only_looks_whole(made, tmp_path, earlier):
    """Between two renames an earlier design can be away from its place, never half there, and whole beside it."""
    folder = tmp_path / "out"
    last = len(read_design(made).modules) + 12
    points = [*range(1, last, 4), last - 4, last - 3, last - 2, last - 1, last]
    killed = 0
    for point in points:
        shutil.rmtree(folder, ignore_errors=True)
        if earlier:
            shutil.copytree(made, folder)
        done = subprocess.run(
            [sys.executable, "-c", CRASHING, made, folder, str(point)], capture_output=True, timeout=60, check=False
        )
        killed += done.returncode == -signal.SIGKILL
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        if folder.exists():
            assert read_design(folder).name == "tiny"
        else:
            kept = [read_design(old) for old in tmp_path.glob(".out.old-*") if any(old.iterdir())]
            assert not earlier or kept
    assert killed > 5
    write_design(read_design(made), folder)  # leavings of the dead do not disturb the living
    assert read_design(folder).name == "tiny"


@pytest.mark.slow
def test_kill_at_random_times_of_the_whole_program(inputs, tmp_path):
    source = random.Random(5)
    words = ["compile", inputs / "tiny.onnx", "--data", inputs / "tiny.npz", "-o", "out", *QUICK]
    command = [sys.executable, "-m", "approxhw", *map(str, words)]
    started = time.monotonic()
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120, capture_output=True)
    whole = time.monotonic() - started
    for _ in range(5):
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(whole * source.uniform(0.3, 1.0))
        process.kill()
        process.wait()
        if (tmp_path / "out").exists():
            assert ax.open_design(tmp_path / "out").design.name == "tiny"
    done = subprocess.run([*command, "--json"], cwd=tmp_path, check=True, timeout=120, capture_output=True)
    assert json.loads(done.stdout)["design"] == "out"


def test_the_second_rename_failing_brings_the_earlier_design_back(made, tmp_path, content, monkeypatch):
    folder = tmp_path / "place" / "out"
    shutil.copytree(made, folder)
    before = content(tmp_path)
    original, calls = os.replace, []

    def replace(source, target):
        calls.append(target)
        if Path(target) == folder and len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        original(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OutputError, match=r"it cannot be written \(Input/output error\)"):
        write_design(read_design(made), folder)
    assert content(tmp_path) == before
    assert [path.name for path in folder.parent.iterdir()] == ["out"]


@pytest.mark.slow
def test_a_cache_that_is_broken_or_cannot_be_is_done_without(inputs, tmp_path):
    """What a killed run left in the user's cache folder must not spoil all later ones."""
    words = ["compile", inputs / "tiny.onnx", "--data", inputs / "tiny.npz", "-o", "out", *QUICK]

    def compiled(cache: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "approxhw", *map(str, words)],
            cwd=tmp_path,
            env={**os.environ, "XDG_CACHE_HOME": str(cache)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    assert compiled(tmp_path / "cache").returncode == 0
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert files
    for size in (0, 300, 2 / 3):
        for path in files:
            content = path.read_bytes()
            path.write_bytes(content[: size if isinstance(size, int) else int(size * len(content))])
        done = compiled(tmp_path / "cache")
        assert done.returncode == 0, done.stderr
    (tmp_path / "file").write_text("no folder")
    done = compiled(tmp_path / "file")
    assert done.returncode == 0, done.stderr
