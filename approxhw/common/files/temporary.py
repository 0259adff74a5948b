"""Temporary folders that go however their run ends: at once, or with the next run where this one was killed.

The name of such a folder holds the process that made it, and that process holds a lock (``flock``) on it: a folder whose
process is dead and whose lock is free is nobody's. The name is looked at first: a folder is made before it is locked.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "approxhw-"
"""How the name of every temporary folder of ours begins, below ``TMPDIR``; then what it is for, and its process."""


@contextlib.contextmanager
def temporary_folder(what: str) -> Iterator[Path]:
    """Give a fresh folder below ``TMPDIR`` for *what* (one word); it is removed at the end."""
    parent = Path(tempfile.gettempdir())
    _sweep_once(parent)
    with owned_folder(parent, f"{PREFIX}{what}-") as folder:
        yield folder


@contextlib.contextmanager
def owned_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Give a fresh folder in *parent* whose name begins with *prefix*, locked; what is left of it at the end is removed."""
    folder = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=parent))
    lock = None
    try:
        lock = _locked(folder)
        yield folder
    finally:
        try:
            shutil.rmtree(folder, ignore_errors=True)
        except BaseException:  # a signal in the midst of it: what was begun is finished first
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            if lock is not None:
                os.close(lock)


def clear_left_behind(parent: Path, pattern: str) -> None:
    """Remove what *pattern* (a regular expression) of :func:`left_behind` finds in *parent*; locked folders stay."""
    for path in left_behind(parent, pattern):
        with contextlib.suppress(OSError):
            if not path.is_dir():
                path.unlink()
            elif (lock := _locked(path)) is not None:
                try:
                    shutil.rmtree(path, ignore_errors=True)
                finally:
                    os.close(lock)


def left_behind(parent: Path, pattern: str) -> list[Path]:
    """Return folders and files in *parent*, this user's alone, named *pattern*, a process that is dead, and what is random."""
    shape, found = re.compile(rf"{pattern}(\d+)-[a-z0-9_]{{8}}"), []
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if (match := shape.fullmatch(entry.name)) is None or _alive(int(match[1])):
                continue
            with contextlib.suppress(OSError):
                if not entry.is_symlink() and entry.stat(follow_symlinks=False).st_uid == os.getuid():
                    found.append(Path(entry.path))
    return found


@functools.cache
def _sweep_once(parent: Path) -> None:
    clear_left_behind(parent, rf"{PREFIX}[a-z]+-")


def _locked(folder: Path) -> int | None:
    """Return a descriptor that locks *folder* until it is closed; None where it is locked, or cannot be."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
