"""Files and folders: read with a limit, whoever wrote them; written whole or not at all, and nothing of others is touched."""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import hashlib
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from .errors import OutputError, Problem, shown

Ours = Callable[[Path], tuple[set[str], tuple[str, ...]]]
"""Given a folder: the files (relative, with /) that it says are ours, and patterns of what else may lie in it.

A pattern is a name with ``*``, part by part (``estimate/*.json``). Raises for another's folder.
"""

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


def _need_plain(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((text for is_one, text in _NO_FILE if is_one(mode)), "something else")
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


def check_folder(folder: Path, what: str, ours: Ours) -> None:
    """Raise :class:`OutputError` unless *folder* is free, empty, or *what* (``a design``) with nothing foreign in it."""
    try:
        _check_place(folder, what, ours)
    except OSError as error:
        raise unwritable(folder, error) from error


def _check_place(folder: Path, what: str, ours: Ours) -> None:
    if not folder.exists() and not folder.is_symlink():
        above = next(parent for parent in folder.absolute().parents if parent.exists())
        if not above.is_dir():
            raise _refused(folder, f"{shown(above, 160)} is no folder")
        return
    if not folder.is_dir() or folder.is_symlink():
        raise _refused(folder, "it exists and is no folder")
    if Path.cwd().is_relative_to(folder.resolve()):
        raise _refused(folder, "it holds the folder that you are in, which cannot be replaced")
    found = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    there = sorted(path.relative_to(folder).as_posix() for path in found)
    if not there:
        return
    try:
        files, later = ours(folder)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _refused(folder, "it exists and was not written by approxhw") from error
    links = [name for name in there if (folder / name).is_symlink()]
    if links:
        raise _refused(folder, f"it is {what}, but holds links, which approxhw does not make: {_some(links)}")
    foreign = [name for name in there if name not in files and not any(of_pattern(name, pattern) for pattern in later)]
    if foreign:
        raise _refused(folder, f"it is {what}, but holds files that approxhw did not write: {_some(foreign)}")


def _some(names: list[str]) -> str:
    return ", ".join(shown(name, 40) for name in names[:5]) + (", …" if len(names) > 5 else "")


def of_pattern(name: str, pattern: str) -> bool:
    """Whether *name* is of *pattern*, part by part: ``*`` matches within a part alone, ``**`` at the end all below."""
    parts, wanted = name.split("/"), pattern.split("/")
    if wanted[-1] == "**" and len(parts) >= len(wanted):
        parts, wanted = parts[: len(wanted) - 1], wanted[:-1]
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


def _refused(folder: Path, why: str) -> OutputError:
    return OutputError("output", [Problem(str(folder), why, "choose another folder with -o, or move that one away")])


@contextlib.contextmanager
def beside(folder: Path) -> Iterator[Path]:
    """Give a fresh folder beside *folder*, which takes its place when all went well and is removed otherwise."""
    part: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.part-", dir=folder.parent))
        part.chmod(0o755)
        yield part
        _put_in_place(part, folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


def _put_in_place(part: Path, folder: Path) -> None:
    """Rename *part* to *folder*; what was there before comes back where that fails."""
    if not folder.exists():
        os.replace(part, folder)  # noqa: PTH105
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old-", dir=folder.parent))
    try:
        os.replace(folder, old)  # noqa: PTH105  (over an empty folder: atomic)
        os.replace(part, folder)  # noqa: PTH105
    finally:
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(old, folder)  # noqa: PTH105


def unwritable(path: Path, error: OSError) -> OutputError:
    """Return what to tell of *path*, which *error* kept from being written."""
    read = isinstance(error, UnreadableError)
    why = f"it cannot be {'read' if read else 'written'} ({error.strerror or error})"
    remedy = "give a plain file" if read else _REMEDIES.get(error.errno or 0, "choose another folder")
    return OutputError("output", [Problem(str(path), why, remedy)])


_SPACE = "free some space or choose another folder"
_REMEDIES = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: _SPACE,
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that may be written to",
}


def write_beside(path: Path, content: str | bytes) -> None:
    """Write *content* to *path* whole or not at all; raise :class:`OutputError` where it cannot be written."""
    part: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # a name that nobody can have put a link at
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:80]}.", suffix=".part", dir=path.parent)
        part = Path(name)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content if isinstance(content, bytes) else content.encode())
        part.chmod(0o644)
        os.replace(part, path)  # noqa: PTH105
    except OSError as error:
        if part is not None:
            with contextlib.suppress(OSError):
                part.unlink()
        raise unwritable(path, error) from error


@contextlib.contextmanager
def working_folder(what: str) -> Iterator[Path]:
    """Give a temporary folder for the files of *what*; raise :class:`OutputError` where one of them cannot be written."""
    try:
        with tempfile.TemporaryDirectory(prefix=f"approxhw-{what}-") as name:
            yield Path(name)
    except OSError as error:
        raise no_room(what, f"they cannot be written ({error.strerror or error})") from error


PROBE = 1 << 16
"""Bytes that must find room in a temporary folder for a program in it to be believed that its failure is its own."""


def is_full(folder: Path) -> bool:
    """Whether nothing more can be written into *folder*: programs that find their disk full seldom say so."""
    try:
        (folder / "probe").write_bytes(b"0" * PROBE)
        (folder / "probe").unlink()
    except OSError:
        return True
    return False


def no_room(what: str, why: str) -> OutputError:
    """Return what to tell where the temporary files of *what* could not be written, or not whole."""
    place = "temporary files"
    with contextlib.suppress(OSError):  # where there is no folder at all for such files
        place = f"temporary files in {tempfile.gettempdir()}"
    return OutputError(what, [Problem(place, why, "free some space, or set TMPDIR to another folder that is there")])
