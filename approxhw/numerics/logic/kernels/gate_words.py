"""What a list of gates computes, 64 rows a word: rows are packed into planes of bits, a plane a signal."""

from __future__ import annotations

import numba
import numpy as np

NOT, AND, OR, XOR, NAND, NOR, XNOR, SELECT, COPY, ZERO, ONE = range(11)
"""The functions of gates, and three that stand in lists which are being changed."""

WORDS = 1 << 19
"""Words that are worked on at a time, 4 MiB: they stay in the caches."""

_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_ONE = np.uint64(1)


@numba.njit(cache=True, nogil=True)
def fill_plane(function: int, a: np.ndarray, b: np.ndarray, c: np.ndarray, target: np.ndarray, width: int) -> None:
    """Fill *width* words of the plane *target* with what *function* makes of the planes *a*, *b* and *c*."""
    if function == NAND:
        for i in range(width):
            target[i] = ~(a[i] & b[i])
    elif function == AND:
        for i in range(width):
            target[i] = a[i] & b[i]
    elif function == OR:
        for i in range(width):
            target[i] = a[i] | b[i]
    elif function == NOR:
        for i in range(width):
            target[i] = ~(a[i] | b[i])
    elif function == XOR:
        for i in range(width):
            target[i] = a[i] ^ b[i]
    elif function == XNOR:
        for i in range(width):
            target[i] = ~(a[i] ^ b[i])
    elif function == NOT:
        for i in range(width):
            target[i] = ~a[i]
    elif function == SELECT:
        for i in range(width):
            target[i] = (b[i] & ~a[i]) | (c[i] & a[i])
    elif function == COPY:
        for i in range(width):
            target[i] = a[i]
    else:
        for i in range(width):
            target[i] = _ALL if function == ONE else np.uint64(0)


@numba.njit(cache=True, nogil=True)
def run_planes(functions: np.ndarray, operands: np.ndarray, first: int, planes: np.ndarray, width: int) -> None:
    """Fill *width* words of the plane of every gate; those of constants and input bits are there (signals × words)."""
    for g in range(functions.size):
        a, b, c = planes[operands[g, 0]], planes[operands[g, 1]], planes[operands[g, 2]]
        fill_plane(functions[g], a, b, c, planes[first + g], width)


@numba.njit(cache=True, nogil=True)
def load_planes(codes: np.ndarray, start: int, stop: int, bits: int, planes: np.ndarray) -> None:
    """Fill the planes of the constants and the input bits from rows *start* … *stop* of *codes* (rows × elements)."""
    width = (stop - start + 63) // 64
    planes[0, :width] = np.uint64(0)
    planes[1, :width] = _ALL
    planes[2 : 2 + codes.shape[1] * bits, :width] = np.uint64(0)
    for row in range(start, stop):
        word, place = (row - start) >> 6, np.uint64((row - start) & 63)
        for e in range(codes.shape[1]):
            code = np.uint64(codes[row, e])
            for b in range(bits):
                planes[2 + e * bits + b, word] |= ((code >> np.uint64(b)) & _ONE) << place


@numba.njit(cache=True, nogil=True)
def run_rows(
    functions: np.ndarray, operands: np.ndarray, outputs: np.ndarray, first: int, codes: np.ndarray, bits: int, width: int,
    found: np.ndarray,
) -> None:  # fmt: skip
    """Fill *found* (rows × words of *width* outputs) with what the gates make of *codes* (rows × elements)."""
    signals = first + functions.size
    block = max(1, min(WORDS // signals, (codes.shape[0] + 63) // 64))
    planes = np.empty((signals, block), np.uint64)
    for start in range(0, codes.shape[0], 64 * block):
        stop = min(start + 64 * block, codes.shape[0])
        load_planes(codes, start, stop, bits, planes)
        run_planes(functions, operands, first, planes, (stop - start + 63) // 64)
        for row in range(start, stop):
            word, place = (row - start) >> 6, np.uint64((row - start) & 63)
            for o in range(outputs.size):
                bit = (planes[outputs[o], word] >> place) & _ONE
                found[row, o // width] |= np.int64(bit << np.uint64(o % width))
