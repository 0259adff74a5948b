"""What a target of another package built, on disk: its files and a record of how they came about, in one folder.

======================  ================================================================================
``target.json``         model, target, options, ledger, digests of the files; written last
``files/NAME``          what the target wrote
``steps/NN_PASS.axir``  the Graph after every pass, where that was asked for
======================  ================================================================================
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from approxhw.common.errors import InvalidDesignError, OutputError, Problem, shown
from approxhw.common.files import beside, check_folder

from .folder import Plain, json_text, read_json

FORMAT = "approxhw target 1"
RECORD = "target.json"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,119}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,119}){0,3}\Z")


@dataclass(frozen=True)
class BuiltFiles:
    """The folder of a target of another package. ``record``: what stands in ``target.json``, digests left out."""

    folder: Path
    files: Mapping[str, bytes]
    record: Mapping[str, Plain]


def check_built_output(folder: Path) -> None:
    """Raise :class:`OutputError` unless *folder* is free, empty, or holds what such a target built."""
    check_folder(folder, "what a target built", _ours)


def _ours(folder: Path) -> tuple[set[str], tuple[str, ...]]:
    content = _content(folder)
    return {RECORD, *(f"files/{name}" for name in content["files"])}, ("steps",)


def write_built(built: BuiltFiles, steps: Mapping[str, str] | None = None) -> None:
    """Write *built* to its folder, whole or not at all; *steps*: texts of Graphs by file name.

    Raises :class:`OutputError` listing names of files that lead out of the folder.
    """
    wrong = [name for name in built.files if not _NAME.match(name)]
    if wrong:
        why = "is no plain file name of letters, digits, _, - and . with at most three folders before"
        raise OutputError("output", [Problem(shown(name), why, "tell the authors of the target") for name in wrong])
    with beside(built.folder) as part:
        for name, data in built.files.items():
            path = part / "files" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        for name, text in (steps or {}).items():
            (part / "steps").mkdir(exist_ok=True)
            (part / "steps" / name).write_text(text, encoding="utf-8")
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in built.files.items()}
        content = {"format": FORMAT, **built.record, "files": digests}
        (part / RECORD).write_text(json_text(content), encoding="utf-8")


def read_built(folder: Path) -> BuiltFiles:
    """Return what stands in *folder*; raise :class:`InvalidDesignError` where it is incomplete, altered, or none at all."""
    try:
        content = _content(folder)
        files = {name: (folder / "files" / name).read_bytes() for name in content["files"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        why = f"no target wrote it ({shown(error)})"
        raise InvalidDesignError(str(folder), [Problem(RECORD, why, "compile the model again")]) from error
    altered = [name for name, data in files.items() if hashlib.sha256(data).hexdigest() != content["files"][name]]
    if altered:
        why = "it is not the file that was written"
        raise InvalidDesignError(
            str(folder), [Problem(f"files/{name}", why, "compile the model again") for name in altered]
        )
    record = {key: value for key, value in content.items() if key not in ("format", "files")}
    return BuiltFiles(folder, files, record)


def _content(folder: Path) -> dict[str, Plain]:
    content = read_json(folder / RECORD)
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']!r}, not {FORMAT!r}")
    if not isinstance(content["ledger"], list) or not all(_NAME.match(name) for name in content["files"]):
        raise ValueError("ledger or files are not what they should be")
    return dict(content)
