"""Temporary folders that programs work in: that one is full, or not there at all, is told as such."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from approxhw.common.errors import OutputError, Problem

from .temporary import temporary_folder

PROBE = 1 << 16
"""Bytes that must find room in a temporary folder for a program in it to be believed that its failure is its own."""


@contextlib.contextmanager
def working_folder(what: str) -> Iterator[Path]:
    """Give a temporary folder for the files of *what*; raise :class:`OutputError` where one of them cannot be written."""
    try:
        with temporary_folder(what) as folder:
            yield folder
    except OSError as error:
        raise no_room(what, f"they cannot be written ({error.strerror or error})") from error


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
