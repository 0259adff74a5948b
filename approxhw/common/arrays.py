"""Read arrays from npz, npy and csv files that nobody vouches for: declared sizes first, and no pickles."""

from __future__ import annotations

import csv
import math
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from .errors import InvalidDataError, Problem, shown

MAXIMUM_BYTES = 1 << 30
"""Largest array, and largest csv file, that is read."""

LABEL_COLUMNS = ("label", "class", "target", "y")
_SHOWN = 5
_ZIP_FAULTS = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OSError,
)


@dataclass(frozen=True)
class NamedArrays:
    """Arrays of a file by name, and titles of the features where the file has them."""

    arrays: dict[str, np.ndarray]
    titles: tuple[str, ...] = ()


def read_npz(path: Path) -> NamedArrays:
    """Return every array of an npz file; raise :class:`InvalidDataError` for what is not one."""
    arrays: dict[str, np.ndarray] = {}
    problems: list[Problem] = []
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            if total > MAXIMUM_BYTES:
                why = f"it unpacks to {total} bytes, more than {MAXIMUM_BYTES}"
                raise InvalidDataError(str(path), [Problem(path.name, why)])
            for member in members:
                name = member.filename.removesuffix(".npy")
                with archive.open(member) as stream:
                    array = _read_npy(stream, name, member.file_size, problems)
                if array is not None:
                    arrays[name] = array
    except _ZIP_FAULTS as error:
        why = f"it is no whole npz file ({shown(error)})"
        raise InvalidDataError(str(path), [Problem(path.name, why, "write it with numpy.savez")]) from error
    if problems:
        raise InvalidDataError(str(path), problems)
    return NamedArrays(arrays)


def read_npy(path: Path) -> np.ndarray:
    """Return the array of an npy file; raise :class:`InvalidDataError` for what is not one."""
    problems: list[Problem] = []
    array = None
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            array = _read_npy(stream, path.name, size, problems)
    except OSError as error:
        problems.append(Problem(path.name, f"it cannot be read ({shown(error)})"))
    if array is None:
        raise InvalidDataError(str(path), problems)
    return array


def _read_npy(stream: IO[bytes], name: str, size: int, problems: list[Problem]) -> np.ndarray | None:
    """Return the array in *stream*, or None and a problem; its header is checked against *size* before it is read."""
    header = np.lib.format
    try:
        version = header.read_magic(stream)
        reader = header.read_array_header_1_0 if version == (1, 0) else header.read_array_header_2_0
        shape, fortran, dtype = reader(stream)
    except (ValueError, EOFError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        problems.append(Problem(name, f"it is no npy array ({shown(error)})", "write it with numpy.save"))
        return None
    if dtype.hasobject:
        why = "it holds Python objects, which are pickled code; approxhw never unpickles"
        problems.append(Problem(name, why, "save numbers or texts: array.astype(float), array.astype(str)"))
        return None
    declared = math.prod(shape) * dtype.itemsize
    if min(shape, default=1) < 0 or declared > min(size, MAXIMUM_BYTES):
        why = f"it declares {shown(list(shape))} of {dtype}, {declared} bytes; the file has {size}"
        problems.append(Problem(name, why, "the file is cut off or forged"))
        return None
    data = stream.read(declared)
    if len(data) != declared:
        problems.append(Problem(name, f"{declared} bytes are declared, {len(data)} are there", "the file is cut off"))
        return None
    return np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if fortran else "C")


def read_csv(path: Path) -> NamedArrays:
    """Return X (float64) and y (texts) of a csv file, and its titles where its first row is no row of numbers.

    The label is in the column called label, class, target or y, else in the last one. Raises
    :class:`InvalidDataError` that names the lines which are ragged or hold no numbers.
    """
    try:
        if path.stat().st_size > MAXIMUM_BYTES:
            why = f"it has more than {MAXIMUM_BYTES} bytes"
            raise InvalidDataError(str(path), [Problem(path.name, why)])
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidDataError(str(path), [Problem(path.name, f"it is no csv file ({shown(error)})")]) from error
    if not lines:
        raise InvalidDataError(str(path), [Problem(path.name, "it has no rows")])
    first = lines[0][1]
    titles: list[str] = []
    if not all(map(_is_number, first[:-1])) or first[-1].lower() in LABEL_COLUMNS:
        titles, lines = first, lines[1:]
    named = [i for i, title in enumerate(titles) if title.lower() in LABEL_COLUMNS]
    label = named[0] if named else len(first) - 1
    return _table(path, lines, titles, label, len(first))


def _table(path: Path, lines: list[tuple[int, list[str]]], titles: list[str], label: int, width: int) -> NamedArrays:
    problems = []
    if width < 2:
        problems.append(Problem(path.name, "it has one column; features and a label are needed"))
    if not lines:
        problems.append(Problem(path.name, "it has titles but no rows"))
    ragged = [number for number, row in lines if len(row) != width]
    if ragged:
        why = f"{_lines(ragged)} do not have {width} columns, as the first line has"
        problems.append(Problem(path.name, why))
    whole = [(number, row) for number, row in lines if len(row) == width]
    bad = [
        (number, next(cell for i, cell in enumerate(row) if i != label and not _is_number(cell)))
        for number, row in whole
        if not all(_is_number(cell) for i, cell in enumerate(row) if i != label)
    ]
    if bad:
        why = f"{_lines([number for number, _ in bad])} hold what is no number, the first {shown(bad[0][1], 40)!r}"
        problems.append(Problem(path.name, why, "fill or drop missing values; only the label may be text"))
    if problems:
        raise InvalidDataError(str(path), problems)
    rows = [[float(cell) for i, cell in enumerate(row) if i != label] for _, row in whole]
    labels = [row[label] for _, row in whole]
    names = tuple(title for i, title in enumerate(titles) if i != label)
    return NamedArrays({"X": np.array(rows, dtype=np.float64), "y": np.array(labels)}, names)


def _lines(numbers: list[int]) -> str:
    text = ", ".join(map(str, numbers[:_SHOWN]))
    return f"lines {text}" + (f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else "")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text
