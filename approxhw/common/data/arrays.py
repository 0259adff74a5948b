"""Read arrays from npz and npy files that nobody vouches for: declared sizes first, and no pickles."""

from __future__ import annotations

import ast
import math
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from approxhw.common.errors import InvalidDataError, Problem, shown
from approxhw.common.files import opened

MAXIMUM_BYTES = 1 << 30
"""Largest array, and largest npz file unpacked, that is read."""

_LONGEST_HEADER, _MOST_AXES = 10_000, 32
_MOST_MEMBERS = 10_000
_LAST_CHARACTER = 0x10FFFF
_ZIP_FAULTS = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OSError,
    ValueError,
    IndexError,
    OverflowError,
    struct.error,
)
"""What zipfile raises for archives that are none; ValueError and the last two where directory and members contradict."""


@dataclass(frozen=True)
class NamedArrays:
    """Arrays of a file by name, titles of the features where the file has them, and notes on what was doubtful."""

    arrays: dict[str, np.ndarray]
    titles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    group_at: tuple[int, str] | None = None
    """Where among the features the column of groups stood that was taken out of them, and its title."""
    group_values: np.ndarray | None = None
    """What that column holds, one a row of ``X``: apart from the arrays, whose names are not the user's."""


def read_npz(path: Path) -> NamedArrays:
    """Return every array of an npz file; raise :class:`InvalidDataError` for what is not one."""
    arrays: dict[str, np.ndarray] = {}
    problems: list[Problem] = []
    try:
        with opened(path) as stream, zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
            names = [member.filename.removesuffix(".npy") for member in members]
            if len(set(names)) < len(names) or len(names) > _MOST_MEMBERS:
                why = f"more than {_MOST_MEMBERS} arrays" if len(names) > _MOST_MEMBERS else "arrays that share a name"
                raise InvalidDataError(str(path), [Problem(path.name, f"it holds {why}", "write it with numpy.savez")])
            total = sum(member.file_size for member in members)
            if total > MAXIMUM_BYTES:
                why = f"it unpacks to {total} bytes, more than {MAXIMUM_BYTES}"
                raise InvalidDataError(str(path), [Problem(path.name, why)])
            for member, name in zip(members, names, strict=True):
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    problems.append(Problem(name, "it is packed as NumPy does not", "write it with numpy.savez"))
                    continue
                with archive.open(member) as packed:
                    array = _read_npy(packed, name, member.file_size, problems)
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
        with opened(path) as stream:
            array = _read_npy(stream, path.name, path.stat().st_size, problems)
    except OSError as error:
        problems.append(Problem(path.name, f"it cannot be read ({shown(error)})"))
    if array is None:
        raise InvalidDataError(str(path), problems)
    return array


def _read_npy(stream: IO[bytes], name: str, size: int, problems: list[Problem]) -> np.ndarray | None:
    """Return the array in *stream*, or None and a problem; its header is checked against *size* before it is read."""
    try:
        shape, fortran, descr = _header(stream)
    except ValueError as error:
        problems.append(Problem(name, f"it is no npy array ({shown(error)})", "write it with numpy.save"))
        return None
    dtype, why = _dtype(descr)
    if dtype is None:
        problems.append(Problem(name, why, "save numbers or texts: array.astype(float), array.astype(str)"))
        return None
    declared = math.prod(shape) * dtype.itemsize
    if min(shape, default=1) < 0 or max(shape, default=0) > MAXIMUM_BYTES or declared > min(size, MAXIMUM_BYTES):
        why = f"it declares {shown(list(shape))} of {dtype}, {declared} bytes; the file has {size}"
        problems.append(Problem(name, why, "the file is cut off or forged"))
        return None
    data = stream.read(declared)
    if len(data) != declared or stream.read(1):  # to the end, where the archive looks at its checksum
        there = f"{len(data)} are there" if len(data) != declared else "more are there"
        problems.append(Problem(name, f"{declared} bytes are declared, {there}", "the file is cut off or forged"))
        return None
    if dtype.kind == "U" and _highest(data, dtype) > _LAST_CHARACTER:
        problems.append(Problem(name, "it holds texts of characters that do not exist", "the file is forged"))
        return None
    if dtype.kind == "b":  # a byte of 2 is neither
        data = (np.frombuffer(data, np.uint8) != 0).tobytes()
    array = np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if fortran else "C")
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


def _highest(data: bytes, dtype: np.dtype) -> int:
    """Return the highest character of the texts in *data*."""
    return int(np.frombuffer(data, np.dtype("u4").newbyteorder(dtype.byteorder)).max(initial=0))


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, object]:
    """Return shape, whether it is in Fortran's order, and type, as the header of an npy file spells them.

    NumPy's own reader lets booleans be sizes, among others. Raises ``ValueError`` that says what is wrong.
    """
    start = stream.read(8)
    if len(start) < 8 or start[:6] != b"\x93NUMPY" or start[6] not in (1, 2, 3):
        raise ValueError("it does not begin as one of versions 1 to 3")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(stream.read(width), "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"its header has {length} bytes; {_LONGEST_HEADER} are the most")
    try:
        told = ast.literal_eval(stream.read(length).decode("utf-8" if start[6] == 3 else "latin-1").strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError("its header is no table of shape, order and type") from None
    if not isinstance(told, dict) or told.keys() != {"descr", "fortran_order", "shape"}:
        raise ValueError("its header does not give shape, order and type")
    shape, fortran = told["shape"], told["fortran_order"]
    if not isinstance(shape, tuple) or len(shape) > _MOST_AXES or not all(type(size) is int for size in shape):
        raise ValueError(f"its shape is {shown(shape, 40)}, no {_MOST_AXES} whole numbers or fewer")
    if not isinstance(fortran, bool):
        raise ValueError(f"its order is {shown(fortran, 40)}, not True or False")
    return shape, fortran, told["descr"]


def _dtype(descr: object) -> tuple[np.dtype | None, str]:
    """Return the type that *descr* spells, numbers or texts, or None and why it is none."""
    if not isinstance(descr, str):
        return None, "it holds records (columns with names, or arrays in arrays), not plain numbers"
    try:
        dtype = np.dtype(descr) if len(descr) < 40 and "," not in descr else None
    except (TypeError, ValueError):
        dtype = None
    if dtype is None:
        return None, f"its type {shown(descr, 40)!r} is none"
    if dtype.hasobject:
        return None, "it holds Python objects, which are pickled code; approxhw never unpickles"
    if dtype.kind not in "biufcSUmM" or not dtype.itemsize or dtype.shape:
        return None, f"it holds {shown(dtype, 40)}, neither numbers nor texts"
    return dtype, ""
