"""Turn columns of port values into rows of bits and back: the form in which vectors travel to the bench."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from .job import SMALL_BITS

BLOCK = 4096  # rows at a time, so that wide designs with many vectors fit in memory


def total_bits(ports: Sequence[tuple[str, int]]) -> int:
    """Return the number of bits of all *ports* together."""
    return sum(bits for _, bits in ports)


def column_bits(column: np.ndarray, bits: int) -> np.ndarray:
    """Return the bits of unsigned patterns, most significant first: uint8 of shape (values, bits)."""
    values = np.asarray(column)
    if bits <= SMALL_BITS:
        shifts = np.arange(bits - 1, -1, -1, dtype=np.int64)
        return ((values.astype(np.int64)[:, None] >> shifts) & 1).astype(np.uint8)
    size = (bits + 7) // 8
    octets = np.frombuffer(b"".join(int(value).to_bytes(size, "big") for value in values), dtype=np.uint8)
    return np.unpackbits(octets.reshape(len(values), size), axis=1)[:, size * 8 - bits :]


def write_rows(path: Path, ports: Sequence[tuple[str, int]], columns: Mapping[str, np.ndarray], count: int) -> None:
    """Write *count* rows to an ``.npy`` file: the bits of all ports in order, packed to bytes, shape (count, bytes)."""
    width = (total_bits(ports) + 7) // 8
    # written block by block, not through a memory map: on a full disk a map ends the process instead of raising
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (count, width)})
        for start in range(0, count, BLOCK):
            block = slice(start, min(start + BLOCK, count))
            parts = [column_bits(np.asarray(columns[name])[block], bits) for name, bits in ports]
            if parts:
                file.write(np.packbits(np.concatenate(parts, axis=1), axis=1).tobytes())


def split_row(row: str, ports: Sequence[tuple[str, int]]) -> dict[str, int | str]:
    """Return the value of every port in one row of bit characters; a text such as ``"0bx1"`` where a bit is x or z."""
    values: dict[str, int | str] = {}
    start = 0
    for name, bits in ports:
        piece = row[start : start + bits]
        values[name] = int(piece, 2) if set(piece) <= {"0", "1"} else f"0b{piece.lower()}"
        start += bits
    return values
