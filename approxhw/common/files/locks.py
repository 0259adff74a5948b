"""Locks on folders that a run writes into: a second run is refused, and told which one is first.

The lock is a file beside the folder, locked by the kernel (``flock``): it is free as soon as its process is dead, however
that died. The file says who holds it, and goes with the lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import socket
import stat
import sys
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from approxhw.common.errors import OutputError, Problem, shown

from .writing import recover

MOST = 4096
"""Bytes that are read of what another run says of itself."""
TRIES = 50
"""How often a lock is tried for that goes while it is looked at, and how often what it says is read."""

_HELD: ContextVar[frozenset[Path]] = ContextVar("_HELD", default=frozenset())
_KEPT: ContextVar[contextlib.ExitStack | None] = ContextVar("_KEPT", default=None)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let no other run write into *folder*, which need not be there yet, while the block runs.

    What a run that was killed left beside it is cleared away. Inside the block the same folder is locked already, and is not
    locked again. Raises :class:`OutputError` that names the run which holds the lock. Where the place knows no locks, or
    is not ours to put a file into, the folder itself is locked; where that cannot be either, nothing is.
    """
    place = _place(folder)
    if place is None or place in _HELD.get():
        yield
        return
    with contextlib.ExitStack() as stack:
        kept = _KEPT.get()
        (stack if kept is None else kept).enter_context(_lock(place, folder))
        token = _HELD.set(_HELD.get() | {place})
        if kept is None:
            stack.callback(_HELD.reset, token)
        recover(place)
        yield


@contextlib.contextmanager
def locks_kept() -> Iterator[None]:
    """Keep each lock that is taken in the block until its end: all that a command does to a folder is one piece."""
    with contextlib.ExitStack() as stack:
        kept, held = _KEPT.set(stack), _HELD.set(_HELD.get())
        try:
            yield
        finally:
            _HELD.reset(held)
            _KEPT.reset(kept)


def _place(folder: Path) -> Path | None:
    try:
        place = folder.resolve()
    except (OSError, RuntimeError, ValueError):  # a circle of links, no path at all: whoever writes there says so
        return None
    return place if place.name else None


@contextlib.contextmanager
def _lock(place: Path, folder: Path) -> Iterator[None]:
    missing = [parent for parent in place.parents if not parent.exists()]
    file, ours = place.with_name(f".{place.name}.lock"), True
    descriptor = None
    try:
        with contextlib.suppress(OSError):  # whoever writes there says why it cannot be done
            place.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = _taken(file, os.O_RDWR | os.O_CREAT, folder)
        except OSError:
            ours = False
            with contextlib.suppress(OSError):
                descriptor = _taken(place, os.O_RDONLY | os.O_DIRECTORY, folder)
        yield
    finally:
        if descriptor is not None:
            with contextlib.suppress(OSError):  # unlinked while it is held: who waits for it sees that it is gone
                if ours:
                    file.unlink()
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)
        for parent in missing:
            with contextlib.suppress(OSError):
                parent.rmdir()


def _taken(path: Path, how: int, folder: Path) -> int | None:
    """Return a descriptor that locks *path*; None where locks are not known. Raises :class:`OutputError` where it is taken."""
    for _ in range(TRIES):
        descriptor = os.open(path, how | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
        keep = False
        try:
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            if how & os.O_CREAT and not regular:
                return None  # whatever it is, it is none of ours
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _busy(folder, _said(descriptor) if regular else b"") from None
            except OSError:
                return None
            if _is_still(path, descriptor):
                if regular:
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, _about_us(), 0)
                keep = True
                return descriptor
        finally:
            if not keep:
                os.close(descriptor)
    return None


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False


def _about_us() -> bytes:
    program = Path(sys.argv[0] if sys.argv else "").name
    command = shlex.join(["approxhw" if program == "__main__.py" else program, *sys.argv[1:]])
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    told = {"pid": os.getpid(), "host": socket.gethostname(), "since": since, "command": shown(command, 400)}
    return json.dumps(told).encode()


def _said(descriptor: int) -> bytes:
    """Return what whoever holds the lock says; it may have taken it this very moment."""
    for _ in range(TRIES):
        if said := os.pread(descriptor, MOST, 0):
            return said
        time.sleep(0.01)
    return b""


def _busy(folder: Path, said: bytes) -> OutputError:
    told: object = None
    with contextlib.suppress(ValueError, RecursionError):
        told = json.loads(said)
    about = {key: shown(value, 200) for key, value in told.items()} if isinstance(told, dict) else {}
    why = "another run works in it"
    if about:
        where = [f"process {about.get('pid', '?')} on {about.get('host', '?')}", f"since {about.get('since', '?')}"]
        why = f"{why}: {' '.join(where)}: {about.get('command', '?')}"
    return OutputError("output", [Problem(str(folder), why, "wait until it has ended, or take another folder")])
