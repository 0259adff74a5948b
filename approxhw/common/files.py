"""Folders and files that are whole or not there: written beside, then renamed; what is not ours is never touched."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from .errors import OutputError, Problem, shown

Ours = Callable[[Path], tuple[set[str], tuple[str, ...]]]
"""Given a folder: the files (relative, with /) that it says are ours, and what else may lie at its top. Raises for another's."""


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
    there = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    if not there:
        return
    try:
        files, later = ours(folder)
    except OtherKindError as error:
        raise _refused(folder, str(error)) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _refused(folder, "it exists and was not written by approxhw") from error
    foreign = [name for name in there if name not in files and name.split("/")[0] not in later]
    if foreign:
        named = ", ".join(shown(name, 40) for name in foreign[:5]) + (", …" if len(foreign) > 5 else "")
        raise _refused(folder, f"it is {what}, but holds files that approxhw did not write: {named}")


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
    why = f"it cannot be written ({error.strerror or error})"
    return OutputError("output", [Problem(str(path), why, "free some space or choose another folder")])


def write_beside(path: Path, content: str | bytes) -> None:
    """Write *content* to *path* whole or not at all; raise :class:`OutputError` where it cannot be written."""
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            part.write_bytes(content)
        else:
            part.write_text(content, encoding="utf-8")
        os.replace(part, path)  # noqa: PTH105
    except OSError as error:
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
