"""What a target of another package built, on disk: its files and a record of how they came about, in one folder.

======================  ================================================================================
``target.json``         model, target, options, ledger, digests of the files; written last
``files/NAME``          what the target wrote
``steps/NN_PASS.axir``  the Graph after every pass, where that was asked for
``simulation/``         one folder a simulator, made by ``simulate`` where the target says how
``estimate/``           one file a library, made by ``estimate`` of Verilog files
``report.html``         made by ``report``
======================  ================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from approxhw.common.errors import OutputError, Problem, shown
from approxhw.common.files import read_bytes
from approxhw.ir.pass_manager import PassRecord

from . import folder as vouched
from .design import Model
from .steps import write_steps

if TYPE_CHECKING:
    from approxhw.ir.graph import Graph

NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
"""Of a target."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,119}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,119}){0,3}\Z")


@dataclass(frozen=True, kw_only=True)
class BuiltRecord:
    """What ``target.json`` holds, key by key in this order. ``spelled``: the target with its options; ``files``: digests."""

    format: str = ""
    target: str
    spelled: str
    options: Mapping[str, object] = field(default_factory=dict)
    package: str = ""
    model: Model = field(default_factory=Model)
    command: str = ""
    version: str = ""
    ledger: tuple[PassRecord, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BuiltFiles:
    """The folder of a target of another package: what the target wrote, by name, and how it came about."""

    folder: Path
    files: Mapping[str, bytes]
    record: BuiltRecord


def _needed(told: BuiltRecord) -> list[str]:
    if not NAME.fullmatch(told.target):
        raise ValueError("the name of the target")
    if "title" not in told.model:
        raise ValueError("model: no title")
    return []


BUILT = vouched.FolderFormat(
    name="approxhw target",
    version=2,
    record=BuiltRecord,
    needed=_needed,
    later=(*vouched.LATER, "simulation/*/*"),  # what the target's own simulation leaves is its matter
    what="what a target built",
    missing="no target wrote it",
    make="compile the model again",
    again="compile the model again",
    file="target.json",
)


def check_built_output(folder: Path) -> None:
    """Raise :class:`OutputError` unless *folder* is free, empty, or holds what such a target built."""
    vouched.check_folder_output(folder, BUILT)


def is_built(folder: Path) -> bool:
    """Whether *folder* says that a target of another package built what is in it."""
    return vouched.is_a(folder, BUILT)


def write_built(built: BuiltFiles, steps: Sequence[tuple[str, Graph]] = ()) -> None:
    """Write *built* to its folder, whole or not at all; *steps*: file and Graph.

    Raises :class:`OutputError` listing names of files that lead out of the folder.
    """
    wrong = [name for name in built.files if not _NAME.match(name)]
    if wrong:
        why = "is no plain file name of letters, digits, _, - and . with at most three folders before"
        raise OutputError("output", [Problem(shown(name), why, "tell the authors of the target") for name in wrong])

    def fill(part: Path) -> list[str]:
        for name, data in built.files.items():
            path = part / "files" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return [*(f"files/{name}" for name in built.files), *write_steps(part, steps)]

    vouched.write_folder(built.folder, BUILT, replace(built.record, format=BUILT.text), fill)


def read_built(folder: Path) -> BuiltFiles:
    """Return what stands in *folder*; raise :class:`InvalidDesignError` where it is incomplete, altered, or none at all."""
    told = vouched.read_folder(folder, BUILT)
    with vouched.fitting(folder, BUILT):
        names = [name.removeprefix("files/") for name in told.files if name.startswith("files/")]
        files = {name: read_bytes(folder / "files" / name, vouched.MAXIMUM_FILE) for name in names}
        return BuiltFiles(folder, files, replace(told, format="", files={}))
