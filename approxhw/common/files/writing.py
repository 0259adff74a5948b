"""Files and folders are written whole or not at all, and nothing of others is touched."""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from approxhw.common.errors import OutputError, Problem, shown

from .reading import UnreadableError
from .temporary import clear_left_behind, left_behind, owned_folder

Ours = Callable[[Path], tuple[set[str], tuple[str, ...]]]
"""Given a folder: the files (relative, with /) that it says are ours, and patterns of what else may lie in it.

A pattern is a name with ``*``, part by part (``estimate/*.json``). Raises for another's folder.
"""


class OtherKindError(ValueError):
    """A folder is ours, but of another kind, or of a later version: the text says which."""


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
    except OtherKindError as error:
        raise _refused(folder, str(error)) from error
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
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with owned_folder(folder.parent, part_prefix(folder)) as part:
            part.chmod(0o755)
            yield part
            _put_in_place(part, folder)
    except OSError as error:
        raise unwritable(folder, error) from error


def recover(folder: Path) -> None:
    """Clear away what a run that was killed left beside *folder* and in it; what it had moved out of the way comes back.

    For whoever has locked the folder.
    """
    for old in left_behind(folder.parent, re.escape(_old(folder))):
        with contextlib.suppress(OSError):
            if folder.exists():
                shutil.rmtree(old, ignore_errors=True)
            else:
                os.replace(old, folder)  # noqa: PTH105
    clear_left_behind(folder.parent, re.escape(part_prefix(folder)))
    for inside, _, _ in os.walk(folder):
        clear_left_behind(Path(inside), r"\..+\.part-")


def part_prefix(path: Path) -> str:
    """Return how the name of what will take the place of *path* begins; the process that writes it, and chance, follow."""
    return f".{path.name}.part-"


def _old(folder: Path) -> str:
    return f".{folder.name}.old-"


def _put_in_place(part: Path, folder: Path) -> None:
    """Rename *part* to *folder*; what was there before comes back where that fails."""
    if not folder.exists():
        os.replace(part, folder)  # noqa: PTH105
        return
    old = Path(tempfile.mkdtemp(prefix=f"{_old(folder)}{os.getpid()}-", dir=folder.parent))
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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content if isinstance(content, bytes) else content.encode("utf-8"))
    except OSError as error:
        raise unwritable(path, error) from error


def write_whole(path: Path, data: bytes) -> None:
    """Write *data* to *path*, in a folder that exists, whole or not at all; raise :class:`OSError` where it cannot be."""
    part = path.with_name(f"{part_prefix(path)}{os.getpid()}-{os.urandom(4).hex()}")
    try:
        with part.open("xb") as file:
            file.write(data)
        os.replace(part, path)  # noqa: PTH105
    finally:
        part.unlink(missing_ok=True)
