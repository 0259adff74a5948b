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
ENDING = ".approxhw-lock"
"""How the name of a lock ends: no other program calls anything so."""
LOOKS = 5
"""How often a lock is asked for, 10 ms apart, before it counts as taken."""
TRIES = 50
"""How often a lock is tried for that goes while it is looked at, and how often what it says is read."""

_HELD: ContextVar[frozenset[Path]] = ContextVar("_HELD", default=frozenset())
_KEPT: ContextVar[contextlib.ExitStack | None] = ContextVar("_KEPT", default=None)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let no other run write into *folder*, which need not be there yet, while the block runs.

    What a run that was killed left beside it is cleared away. Inside the block the same folder is locked already, and is not
    locked again. Raises :class:`OutputError` that names the run which holds the lock, of this folder, of one that it is in
    (a front), or of one in it (a member). Where the place knows no locks, or is not ours to put a file into, the folder itself
    is locked; where that cannot be either, nothing is.
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
        _look_around(place)
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
    file, ours = _lock_of(place), True
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
                _flock(descriptor, fcntl.LOCK_EX)
            except BlockingIOError:
                raise _busy(folder, _said(descriptor) if regular else b"") from None
            except OSError:
                return None
            if _is_still(path, descriptor):
                if regular:
                    with contextlib.suppress(OSError):  # on a full disk it holds all the same
                        os.ftruncate(descriptor, 0)
                        os.pwrite(descriptor, _about_us(), 0)
                keep = True
                return descriptor
        finally:
            if not keep:
                os.close(descriptor)
    return None


def _flock(descriptor: int, kind: int) -> None:
    """Lock, or raise :class:`BlockingIOError`; somebody may just look at whether it is locked, for a moment."""
    for left in reversed(range(LOOKS)):
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if not left:
                raise
            time.sleep(0.01)


def _look_around(place: Path) -> None:
    """Raise where another run works in a folder that *place* is in, or that is in it; locks of the dead in it go."""
    above = [_lock_of(parent) for parent in place.parents if parent.name]
    below = [Path(inside) / name for inside, _, names in os.walk(place) for name in names if name.endswith(ENDING)]
    ours = {_lock_of(held) for held in _HELD.get()}
    for file in [file for file in (*above, *below) if file not in ours]:
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                continue
            said = os.pread(descriptor, MOST, 0)
            _flock(descriptor, fcntl.LOCK_SH)
            if file in below:
                file.unlink(missing_ok=True)
        except BlockingIOError:
            raise _busy(file.with_name(file.name[1:].removesuffix(ENDING)), said) from None
        except OSError:
            continue
        finally:
            os.close(descriptor)


def _lock_of(place: Path) -> Path:
    return place.with_name(f".{place.name}{ENDING}")


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


def _told(said: bytes) -> dict[str, str]:
    """Return what another run says of itself; empty where that is nothing, or nonsense."""
    told: object = None
    with contextlib.suppress(ValueError, RecursionError):
        told = json.loads(said)
    return {str(key): shown(value, 200) for key, value in told.items()} if isinstance(told, dict) else {}


def _busy(folder: Path, said: bytes) -> OutputError:
    about = _told(said)
    why = "another run works in it"
    if about:
        where = [f"process {about.get('pid', '?')} on {about.get('host', '?')}", f"since {about.get('since', '?')}"]
        why = f"{why}: {' '.join(where)}: {about.get('command', '?')}"
    return OutputError("output", [Problem(str(folder), why, "wait until it has ended, or take another folder")])
