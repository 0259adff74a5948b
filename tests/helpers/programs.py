"""Programs that tests start and end: which of them are there, and signals that they heed whatever the session ignores."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

MARK = "APPROXHW_TEST_MARK"


@contextlib.contextmanager
def heeded() -> Iterator[None]:
    """Let programs that are started in the block heed SIGINT and SIGHUP: jobs in the background and ``nohup`` ignore them.

    A program inherits what its parent ignores; what the parent has a function for, it gets as it is by default.
    """
    numbers = (signal.SIGINT, signal.SIGHUP)
    before = [(number, signal.signal(number, signal.default_int_handler)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def marked() -> dict[str, str]:
    """Return an environment whose mark all that is started with it carries, children of children too."""
    return {**os.environ, MARK: uuid.uuid4().hex}


def carrying(environment: dict[str, str]) -> list[str]:
    """Return the command lines of living processes, whoever their parent is now, that carry the mark of *environment*."""
    found, mark = [], f"{MARK}={environment[MARK]}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            dead = "\nState:\tZ" in (folder / "status").read_text()
            if not dead and mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found


def wait_until(said: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait until *said* is true; fail saying *what* did not come where it never is."""
    limit = time.monotonic() + seconds
    while not said():
        assert time.monotonic() < limit, what
        time.sleep(0.02)


def stalling(folder: Path, name: str) -> Path:
    """Return a folder with a program *name* that takes for ever and leaves its number in the file ``started``, whole at once."""
    folder.mkdir()
    program = folder / name
    program.write_text(f"#!/bin/sh\ncd {folder} && echo $$ > begun && mv begun started\nexec sleep 1000\n")
    program.chmod(0o755)
    return folder
