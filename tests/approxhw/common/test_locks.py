"""Locks on what a run writes into, and temporary folders: what a run that was killed left goes, what lives stays."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from approxhw.common.errors import OutputError
from approxhw.common.files import beside, locked, locks_kept, temporary, temporary_folder, write_beside, writing

HOLDER = """
import sys
from pathlib import Path
from approxhw.common.files import locked, temporary, temporary_folder
from approxhw.common.files.writing import part_prefix
folder = Path(sys.argv[1])
with locked(folder), temporary_folder("held") as made, temporary.owned_folder(folder.parent, part_prefix(folder)) as part:
    (made / "file").touch()
    print(made, part, flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(folder):
    """Another process that holds the lock of *folder*, a temporary folder, and one beside *folder*; both are given."""
    words = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        made = [Path(name) for name in process.stdout.readline().split()]
        assert len(made) == 2
        yield process, made
        process.stdin.close()


def tried(folder):
    """Return the error of who takes the lock of *folder* in a thread of its own: it holds none itself."""
    found = []

    def work():
        try:
            with locked(folder):
                found.append(None)
        except OutputError as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return found[0]


def test_a_second_run_is_refused_and_told_of_the_first(tmp_path):
    folder = tmp_path / "out"
    with held(folder) as (process, _):
        with pytest.raises(OutputError) as caught, locked(folder):
            pass
        expected = (
            rf"output: 1 problem\n  {re.escape(str(folder))}: another run works in it: process {process.pid} on \S+ "
            rf"since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d: -c {re.escape(str(folder))}\n"
            r"    do: wait until it has ended, or take another folder"
        )
        assert re.fullmatch(expected, str(caught.value)), str(caught.value)
        assert caught.value.exit_code == 8
        (tmp_path / "link").symlink_to(tmp_path)
        for spelled in (tmp_path / "x" / ".." / "out", tmp_path / "link" / "out"):
            assert "another run works in it" in str(tried(spelled))
        assert tried(tmp_path / "other") is None
    assert tried(folder) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link"]


def test_the_lock_of_a_run_that_was_killed_is_free_and_what_it_left_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    folder = tmp_path / "out"
    with held(folder) as (process, made):
        with locked(tmp_path / "another"):
            temporary._sweep_once.__wrapped__(tmp_path / "tmp")
            writing.recover(folder)
        assert all(path.is_dir() for path in made)  # it lives
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / ".out.approxhw-lock").is_file()
        with locked(folder):
            assert not made[1].exists()
        temporary._sweep_once.__wrapped__(tmp_path / "tmp")
        assert not made[0].exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tmp"]


def dead():
    """Return the number of a process that is no more."""
    with subprocess.Popen(["/bin/true"]) as process:
        process.wait()
    return process.pid


def test_what_was_moved_out_of_the_way_when_a_run_was_killed_comes_back(tmp_path):
    old = tmp_path / f".out.old-{dead()}-abcdefg1"
    old.mkdir()
    (old / "design.json").write_text("kept")
    with locked(tmp_path / "out"):
        assert (tmp_path / "out" / "design.json").read_text() == "kept"
    old.mkdir()  # where there is a folder, what was moved away is of before
    with locked(tmp_path / "out"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_halves_of_files_inside_go_but_nothing_else_does(tmp_path):
    inside, gone = tmp_path / "out" / "simulation", dead()
    inside.mkdir(parents=True)
    stays = [f".x.part-{os.getpid()}-abcdefg1", f".x.part-{gone}-short", f"x.part-{gone}-abcdefg1", "verdict.json"]
    for name in [*stays, f".verdict.json.part-{gone}-abcdefg1"]:
        (inside / name).touch()
    (tmp_path / "target").mkdir()
    (inside / f".y.part-{gone}-abcdefg1").symlink_to(tmp_path / "target")
    with locked(tmp_path / "out"):
        pass
    assert sorted(path.name for path in inside.iterdir()) == sorted([*stays, f".y.part-{gone}-abcdefg1"])
    assert (tmp_path / "target").is_dir()


def test_a_lock_holds_within_itself_and_as_long_as_a_command(tmp_path):
    folder = tmp_path / "new" / "out"
    with locked(folder):
        with locked(folder):
            assert "another run works in it" in str(tried(folder))
        assert "another run works in it" in str(tried(folder))
    assert list(tmp_path.iterdir()) == []
    with locks_kept():
        with locked(folder):
            pass
        assert "another run works in it" in str(tried(folder))
        with locked(folder):
            pass
    assert tried(folder) is None
    assert list(tmp_path.iterdir()) == []


def test_folders_in_one_another_are_not_written_by_two_runs(tmp_path):
    front, member = tmp_path / "front", tmp_path / "front" / "members" / "00"
    member.mkdir(parents=True)
    with held(front):
        assert f"{front}: another run works in it: process" in str(tried(member))
    with held(member) as (process, _):
        assert f"{member}: another run works in it: process {process.pid} " in str(tried(front))
        process.kill()
        process.wait()
        assert (member.parent / ".00.approxhw-lock").is_file()
        (front / ".users.lock").write_text("no lock of ours, whatever its name")
        assert tried(front) is None
    assert sorted(path.name for path in front.rglob(".*")) == [".users.lock"]
    with locked(front), locked(member):
        pass
    with locked(member), locked(front):
        pass


def test_a_folder_whose_place_takes_no_file_is_locked_itself(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / ".out.approxhw-lock").mkdir()  # in the way of the file
    with locked(tmp_path / "out"):
        assert "out: another run works in it\n    do: wait" in str(tried(tmp_path / "out"))
    assert tried(tmp_path / "out") is None
    assert (tmp_path / ".out.approxhw-lock").is_dir()


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("elsewhere"), lambda path: path.touch()])
def test_whatever_lies_where_the_lock_will_be_hangs_nobody(tmp_path, make):
    make(tmp_path / ".out.approxhw-lock")
    with locked(tmp_path / "out"):
        assert not (tmp_path / "elsewhere").exists()


def test_places_that_cannot_be_are_left_to_who_writes_there(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for folder in (tmp_path / "file" / "out", tmp_path / "circle", Path("a\0b"), Path("/")):
        with locked(folder):
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["circle", "file"]


def test_what_another_run_says_is_shown_whatever_it_is(tmp_path):
    for said in (b"", b"[1]", b"\xff" * 9000, b'{"pid": "\\u001b[2J"}'):
        with locked(tmp_path / "out"):
            (tmp_path / ".out.approxhw-lock").write_bytes(said)
            text = str(tried(tmp_path / "out"))
        assert "another run works in it" in text
        assert "\x1b" not in text


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_folders_and_files_under_way_go_with_an_interruption(tmp_path, error, monkeypatch):
    made = []

    def work():
        with beside(tmp_path / "out") as part, temporary_folder("test") as folder:
            made.append(folder)
            (part / "half").touch()
            raise error

    with pytest.raises(error):
        work()
    assert not made[0].exists()

    def interrupted(*_: object):
        raise error

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(error):
        write_beside(tmp_path / "file", "text")
    assert list(tmp_path.iterdir()) == []


def test_a_signal_while_a_temporary_folder_is_removed_leaves_nothing(monkeypatch):
    plain, calls = temporary.shutil.rmtree, []

    def once_interrupted(*given, **options):
        calls.append(given)
        if len(calls) == 1:
            raise KeyboardInterrupt
        plain(*given, **options)

    monkeypatch.setattr(temporary.shutil, "rmtree", once_interrupted)
    with pytest.raises(KeyboardInterrupt), temporary_folder("test") as made:
        pass
    assert len(calls) == 2
    assert not made.exists()
