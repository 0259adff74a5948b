"""A vouched folder: files, and one JSON that says what they are, of which format, and by its digests that they are unchanged.

Designs, engines and fronts are such folders. The JSON is written last, into a folder beside the place that is then renamed; it
is read with limits to its size and depth, into a record (a frozen dataclass) whose field types msgspec checks. A field
with a default may lack in folders of before; a higher version than this program's is refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict

import msgspec

from approxhw.common.errors import (
    ApproxhwError,
    GraphError,
    InvalidDataError,
    InvalidDesignError,
    OutputError,
    Problem,
    shown,
)
from approxhw.common.files import OtherKindError, beside, check_folder, is_plain_file, read_bytes, read_text, sha256_of

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Plain = Any
"""What JSON holds: dicts, lists, texts, numbers. Which of them stands where, only the record says that is read from it."""

MAXIMUM_BYTES = 1 << 26
"""Largest JSON that is read; that of a transformer's engine takes some hundred kilobytes."""
MAXIMUM_DEPTH = 64
"""Most objects and lists in one another; ours take eight."""

_SIMULATION = (
    *("design.v", "harness.v", "build.log", "run.log", "mismatches.json"),
    *("simulation.json", "streams.json", "verdict.json"),
)
MAXIMUM_FILE = 1 << 28
"""Largest Verilog, and other file of a target, that is read."""

LATER = (
    "report.html",
    "steps/[0-9][0-9]*_*.axir",
    "steps/weights/*.npy",
    *(f"simulation/*/{name}" for name in _SIMULATION),
    "estimate/*_netlist.v",
    *("simulation/.*.partial-*/*", "simulation/*/.*.part", "estimate/.*.part"),  # of a command that was ended by force
)
"""What other commands add to the folder of a design, whatever the target; of ``estimate/*.json`` see :func:`own_estimates`."""

R = TypeVar("R", bound="DataclassInstance")


@dataclass(frozen=True)
class FolderFormat(Generic[R]):
    """A format of folders, and how its errors are worded.

    ``file``: the JSON, whose ``format`` says ``name version`` and whose ``files`` are digests by name. ``record``: what is in
    it, key by key in the order of its fields. ``needed``: files that a record speaks of, which need a digest; raises
    ``ValueError`` for a record that cannot be. ``later``: patterns of what other commands add to the folder.

    Words: ``what`` it is, ``missing`` where it is not, how to ``make`` it, what to do ``again``, in which ``place`` files lie,
    and ``since`` when they have not changed.
    """

    name: str
    version: int
    record: type[R]
    needed: Callable[[R], Iterable[str]]
    later: tuple[str, ...]
    what: str
    missing: str
    make: str
    again: str
    place: str = "the folder"
    since: str = "it was compiled"
    file: str = "design.json"
    oldest: int | None = None
    """The first version that is read, too; None: no other than ``version``."""

    @property
    def text(self) -> str:
        """What the JSON says that it is."""
        return f"{self.name} {self.version}"

    def _version(self, told: object) -> int | None:
        name, _, version = told.rpartition(" ") if isinstance(told, str) else ("", "", "")
        decimal = version.isascii() and version.isdecimal() and len(version) < 10
        return int(version) if name == self.name and decimal and version == str(int(version)) else None

    def reads(self, told: object) -> bool:
        """Whether *told* names this format in a version that is read."""
        version = self._version(told)
        return version is not None and (self.oldest or self.version) <= version <= self.version

    def is_newer(self, told: object) -> bool:
        """Whether *told* names this format in a version that only a later program knows."""
        version = self._version(told)
        return version is not None and version > self.version

    def refused(self, folder: Path, why: object) -> InvalidDesignError:
        """Return what to tell of a *folder* whose files are whole, but cannot be what they say."""
        text = f"it does not fit its files ({shown(why, 160)})"
        return InvalidDesignError(str(folder), [Problem(self.file, text, self.again)])


def write_folder(folder: Path, form: FolderFormat[R], record: R, fill: Callable[[Path], Iterable[str]]) -> None:
    """Write *folder* beside its place, then rename it, so that what exists is whole.

    ``fill`` writes the files into the folder that it is given and returns their names; digests of them take the place of
    ``record.files``, in that order. Raises :class:`OutputError` where something else lies there (:func:`check_folder_output`).
    """
    check_folder_output(folder, form)
    with beside(folder) as part:
        write_record(part, form, record, fill(part))


def write_record(folder: Path, form: FolderFormat[R], record: R, names: Iterable[str]) -> None:
    """Write the JSON of *folder*, where the files *names* are already; digests of them take the place of ``record.files``."""
    digests = {name: sha256_of(folder / name) for name in names}
    (folder / form.file).write_text(json_text(replace(record, files=digests)), encoding="utf-8")


def write_texts(folder: Path, texts: Mapping[str, str]) -> list[str]:
    """Write *texts*, by name, into *folder* and the folders in it; return the names."""
    for name, text in texts.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return list(texts)


def json_text(value: object) -> str:
    """Return *value*, a record or made of plain types, as the JSON that all files of ours are written in."""
    return json.dumps(as_json(value), indent=1) + "\n"


def as_json(value: object) -> Plain:
    """Return *value* as JSON has it: records and mappings as dicts, sequences as lists."""
    if is_dataclass(value):
        return {f.name: as_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    return [as_json(item) for item in value] if isinstance(value, tuple | list) else value


def check_folder_output(folder: Path, form: FolderFormat[R]) -> None:
    """Raise :class:`OutputError` unless *folder* is free, empty, or of the format *form* with nothing foreign in it."""
    check_folder(folder, form.what, lambda place: (described_files(place, form) | own_estimates(place), form.later))


def own_estimates(folder: Path) -> set[str]:
    """Return the files of ``estimate/`` in *folder* that say they are estimates, or vectors on which a netlist differed."""
    found = set()
    for path in (folder / "estimate").glob("*.json"):
        with suppress(OSError, ValueError):
            if path.name.endswith("mismatches.json") or "library" in (told := read_json(path)) or not told:
                found.add(f"estimate/{path.name}")
    return found


def place_in(folder: Path, name: str) -> Path:
    """Return the place *name* (parts between /) in *folder*, to be written to.

    Raises :class:`OutputError` where a link on the way leads elsewhere: anybody may have made the folder.
    """
    place = folder
    for part in name.split("/"):
        place = place / part
        if place.is_symlink():
            why = "it is a link: what is written there would land elsewhere"
            raise OutputError("output", [Problem(str(place), why, "remove the link")])
    return place


DESCRIPTIONS = ("design.json", "front.json", "target.json")
"""The JSON files that say what a folder of ours is."""


def kind_in(folder: Path) -> str | None:
    """Return what a folder of ours says that it is, such as ``approxhw front``, whatever the version; None for others."""
    for name in DESCRIPTIONS:
        try:
            format = read_json(folder / name).get("format")
        except (OSError, ValueError):
            continue
        if isinstance(format, str) and format.startswith("approxhw "):
            return shown(format.rpartition(" ")[0], 40)
    return None


def described_files(folder: Path, form: FolderFormat[R]) -> set[str]:
    """Return the files of *folder* by its own word; raise ``ValueError`` and the like where it is not of the format."""
    try:
        told = _told(folder, form)
    except (OSError, ValueError) as error:
        if isinstance(error, OtherKindError) or (kind := kind_in(folder)) in (None, form.name):
            raise
        raise OtherKindError(f"it holds an {kind}, which {form.what} does not replace") from error
    return {*_digests(told), form.file}


def is_a(folder: Path, form: FolderFormat[R]) -> bool:
    """Whether *folder* says that it is of the format *form*, in this or a later version."""
    try:
        told = read_json(folder / form.file).get("format")
    except (OSError, ValueError):
        return False
    return form.reads(told) or form.is_newer(told)


def read_folder(folder: Path, form: FolderFormat[R], more: Callable[[R], Iterable[Problem]] = lambda record: ()) -> R:
    """Return the record of *folder*, whose files are as it says; *more*: what else is wrong, told with the rest.

    Raises :class:`InvalidDesignError` with every file that is missing, altered, elsewhere or not vouched for, and every field
    that is of the wrong kind.
    """
    try:
        told = _told(folder, form)
        digests = _digests(told)
    except OtherKindError as error:
        newer = Problem(form.file, f"{form.missing} ({error})", "update approxhw")
        raise InvalidDesignError(str(folder), [newer]) from error
    except (OSError, ValueError, KeyError) as error:
        why = shown(error.strerror if isinstance(error, OSError) and error.strerror else error)
        problem = Problem(
            form.file, f"{form.missing} ({why if folder.exists() else 'there is no such folder'})", form.make
        )
        if not (folder / form.file).exists() and (below := _designs_below(folder)):
            named = ", ".join(shown(path, 160) for path in below[:4]) + (", …" if len(below) > 4 else "")
            what = (
                "a front, which is many designs"
                if (folder / "front.json").exists()
                else f"none, but {len(below)} lie below it"
            )
            problem = Problem(form.file, f"{form.missing}: this is {what}", f"name one of them: {named}")
        elif (kind := kind_in(folder)) not in (None, form.name):
            problem = Problem(form.file, f"{form.missing}: the folder holds an {kind}", form.make)
        raise InvalidDesignError(str(folder), [problem]) from error
    problems = [fault for name, digest in digests.items() if (fault := _fault(folder, name, digest, form))]
    try:
        record = record_of(told, form.record)
        needed = form.needed(record)
    except ValueError as error:
        raise InvalidDesignError(str(folder), [*problems, *form.refused(folder, error).problems]) from error
    why = f"{form.file} does not vouch for it"
    problems += [Problem(name, why, form.again) for name in needed if name not in digests]
    problems += more(record)
    if problems:
        raise InvalidDesignError(str(folder), problems)
    return record


def _designs_below(folder: Path) -> list[Path]:
    """Return the folders at most two below *folder* that say they hold a design: that which a front chose first."""
    found = sorted({path.parent for glob in ("*/design.json", "*/*/design.json") for path in folder.glob(glob)})
    chosen = ""
    with suppress(OSError, ValueError, KeyError, TypeError):
        chosen = next(member["design"] for member in read_json(folder / "front.json")["members"] if member["chosen"])
    return sorted(found, key=lambda path: (path.relative_to(folder).as_posix() != chosen, path))


@contextmanager
def fitting(folder: Path, form: FolderFormat[R]) -> Iterator[None]:
    """Raise :class:`InvalidDesignError` of *folder* for what its record and its files turn out not to be."""
    try:
        yield
    except (InvalidDesignError, GraphError):  # a Graph that breaks rules names every one of them
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, OSError, ApproxhwError) as error:
        why = f"{error.problems[0].where}: {error.problems[0].why}" if isinstance(error, InvalidDataError) else error
        raise form.refused(folder, why) from error


def read_json(path: Path) -> dict[str, Plain]:
    """Return the object in the JSON file *path*; raise ``OSError`` or ``ValueError`` for what is none, too large or too deep."""
    content = read_bytes(path, MAXIMUM_BYTES)
    deep = f"more than {MAXIMUM_DEPTH} lists and objects lie in one another"
    try:
        told = json.loads(content.decode("utf-8-sig"))
    except RecursionError as error:
        raise ValueError(deep) from error
    if not isinstance(told, dict):
        raise ValueError("it holds no object")
    level: list[dict[str, object] | list[object]] = [told]
    for _ in range(MAXIMUM_DEPTH):
        inner = (item.values() if isinstance(item, dict) else item for item in level)
        level = [each for items in inner for each in items if isinstance(each, dict | list)]
    if level:
        raise ValueError(deep)
    return told


def verilog_modules(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the Verilog of the modules *names* in ``rtl/`` of *folder*; raise ``OSError`` or ``ValueError`` for none."""
    return {name: read_text(folder / "rtl" / f"{name}.v", MAXIMUM_FILE) for name in names}


def record_of(told: Mapping[str, object], record: type[R]) -> R:
    """Return the *record* that *told* spells; raise ``ValueError`` naming every field that lacks or is of the wrong kind.

    A field that lacks has its default. Fields that no record knows are refused, but for those of *told* itself.
    """
    values, wrong, hints = {}, [], _hints(record)
    for f in fields(record):
        if f.name in told:
            try:
                values[f.name] = msgspec.convert(told[f.name], hints[f.name])
            except msgspec.ValidationError as error:
                wrong.append(_worded(f.name, str(error)))
            else:
                wrong += [f"{name}: there is no such field" for name in _unknown(hints[f.name], told[f.name], f.name)]
        elif f.default is MISSING and f.default_factory is MISSING:
            wrong.append(f"{f.name}: it is missing")
    if wrong:
        raise ValueError("; ".join(wrong))
    return record(**values)


def _worded(name: str, text: str) -> str:
    """Return what msgspec says in *text* of field *name*, such as ``inputs[0].bits: of the wrong kind (…)``."""
    why, _, place = text.partition(" - at `$")
    place = name + place.removesuffix("`")
    lacks = why.removeprefix("Object missing required field ")
    if lacks != why:
        return f"{place}.{lacks.strip('`')}: it is missing"
    return f"{place}: of the wrong kind ({why[:1].lower()}{why[1:]})".replace("`", "")


def _unknown(kind: object, told: object, place: str) -> Iterator[str]:
    """Yield the places of fields in *told* that the records of *kind* do not have."""
    if get_origin(kind) in (Union, UnionType):
        for inner in get_args(kind):
            yield from _unknown(inner, told, place)
    elif isinstance(told, dict) and (is_dataclass(kind) or is_typeddict(kind)):
        hints = _hints(kind)
        for key, value in told.items():
            if key in hints:
                yield from _unknown(hints[key], value, f"{place}.{key}")
            else:
                yield f"{place}.{shown(key, 40)}"
    elif isinstance(told, dict | list) and (inner := get_args(kind)):
        items = told.items() if isinstance(told, dict) else enumerate(told)
        for key, value in items:
            if isinstance(value, dict | list):
                yield from _unknown(inner[-1 if isinstance(told, dict) else 0], value, f"{place}[{shown(key, 40)}]")


@cache
def _hints(kind: type) -> dict[str, object]:
    return get_type_hints(kind)


def _told(folder: Path, form: FolderFormat[R]) -> dict[str, Plain]:
    """Return the JSON of *folder*; raise ``OSError`` or ``ValueError`` where it is not of this format and version."""
    told = read_json(folder / form.file)
    if not form.reads(format := told.get("format")):
        if form.is_newer(format):
            raise OtherKindError(f"format {shown(format, 40)!r} is not {form.text!r}: a newer approxhw wrote it")
        raise ValueError(f"format {shown(format, 40)!r} is not {form.text!r}")
    return told


def _digests(told: Mapping[str, object]) -> dict[str, str]:
    try:
        return msgspec.convert(told["files"], dict[str, str])
    except msgspec.ValidationError as error:
        raise ValueError(_worded("files", str(error))) from error


def _fault(folder: Path, name: str, digest: str, form: FolderFormat[R]) -> Problem | None:
    try:
        path = (folder / name).resolve()
        inside = path.is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # a null byte, a loop of links
        inside = False
    if not inside or Path(name).is_absolute() or ".." in Path(name).parts:
        return Problem(name, f"it lies outside {form.place}", form.again)
    try:
        whole = sha256_of(path) if path.is_file() else None
    except OSError:
        whole = None
    if whole is None:
        # os.path: a name of 5000 characters is no file either
        there = os.path.exists(path) and not is_plain_file(path)  # noqa: PTH110
        return Problem(name, "it is no plain file" if there else "the file is missing", form.again)
    if whole != digest:
        return Problem(name, f"the file was changed since {form.since}", f"{form.again}, or copy it elsewhere")
    return None
