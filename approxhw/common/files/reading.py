"""Files are read with a limit, whoever wrote them: plain ones alone, and never more than their reader takes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path

_NO_FILE = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class UnreadableError(OSError):
    """What a path names is no plain file, or larger than its reader takes; ``strerror`` and text say which."""

    def __str__(self) -> str:
        return str(self.strerror)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader]:
    """Give the plain file *path* to read; raise ``OSError`` for what is none, before it is opened.

    A pipe would wait for a writer, a device may never end, and opening one can already do something.
    """
    _need_plain(path, path.stat().st_mode)
    # without waiting, and looked at once more: it may have been exchanged in between
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    with os.fdopen(handle, "rb") as stream:
        _need_plain(path, os.fstat(handle).st_mode)
        yield stream


def is_plain_file(path: Path) -> bool:
    """Whether *path* names a plain file; False, too, for what can be no path, such as a name of 5000 characters."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def other_kind(path: Path) -> str:
    """Return what *path* names where it is no plain file, such as ``a pipe``; empty where it is one, or nothing is there."""
    try:
        return _other_kind(path.stat().st_mode)
    except (OSError, ValueError):
        return ""


def _other_kind(mode: int) -> str:
    return "" if stat.S_ISREG(mode) else next((text for is_one, text in _NO_FILE if is_one(mode)), "something else")


def _need_plain(path: Path, mode: int) -> None:
    if kind := _other_kind(mode):
        raise UnreadableError(errno.EINVAL, f"it is {kind}, no file", str(path))


def read_bytes(path: Path, most: int) -> bytes:
    """Return what the plain file *path* holds, *most* bytes at most; raise ``OSError`` for what is none, or larger."""
    with opened(path) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise UnreadableError(errno.EFBIG, f"it is larger than {size_text(most)}", str(path))
    return content


def read_text(path: Path, most: int) -> str:
    """Return the UTF-8 text in the plain file *path*, without its byte order mark, lines ending as in Unix.

    Raises as :func:`read_bytes`, and ``UnicodeDecodeError``.
    """
    return io.TextIOWrapper(io.BytesIO(read_bytes(path, most)), encoding="utf-8-sig").read()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of the plain file *path* in hexadecimal digits; raise ``OSError`` for what is none."""
    with opened(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def size_text(count: int) -> str:
    """Return *count* bytes as people read them."""
    for unit, shift in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 1 << shift:
            return f"{count / (1 << shift):.3g} {unit}"
    return f"{count} bytes"
