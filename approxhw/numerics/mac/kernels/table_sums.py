"""Sums of products that a table says, bit for bit Σ T[w, x]: for whole matrices of bit patterns, in Numba.

A look-up for every product would be bound by loads. Here the products of one row of weights with every pattern that x can
have are laid side by side once; then one x adds a whole row of sums at a time, 32 products an instruction or two.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numba import njit

from approxhw.numerics.simd.rows import LANES, ROWS, add_signed, add_unsigned, add_wide

MOST = (1 << 31) - 1
"""Sums are int32; whoever asks for more is refused."""

SIGNED, UNSIGNED, WIDE = 0, 1, 2
_TYPES = (np.int16, np.uint16, np.int32)
"""How products are held: as narrow as they may be."""

_FEW = 192
"""Vectors below which a look-up for every product is faster than laying the products side by side."""
_TOGETHER = 1 << 15
"""Vectors at once: what is read and added up again and again stays in the caches."""
_WORTH_A_THREAD = 1 << 22  # products


def sum_products(weights: np.ndarray, x: np.ndarray, products: np.ndarray, *, threads: int = 1) -> np.ndarray:
    """Return Σ_k products[weights[k, n], x[k, m]] as int32, M × N.

    *weights*: K × N, *x*: K × M, bit patterns (uint8 or uint16); *products*: 2^bits × 2^bits of them, integers. The result does
    not depend on *threads*. Raises ``ValueError`` where shapes do not fit, and where a sum may leave 32 bits.
    """
    (depth, columns), vectors = weights.shape, x.shape[1]
    if len(x) != depth:
        raise ValueError(f"{depth} rows of weights and {len(x)} of x")
    low, high = int(min(products.min(), 0)), int(max(products.max(), 0))
    if max(-low, high) * depth > MOST:
        raise ValueError(f"{depth} products of up to {max(-low, high)} leave the 32 bits of a sum")
    sums = np.zeros((vectors, columns), np.int32)
    if not sums.size or not depth:
        return sums
    if columns > vectors and columns >= _FEW:  # who lays products side by side does it for the fewer
        return np.ascontiguousarray(sum_products(x, weights, products.T, threads=threads).T)
    kind = _kind(low, high)
    pieces = threads if depth * sums.size >= _WORTH_A_THREAD else 1
    if vectors < _FEW:
        table = np.ascontiguousarray(products, dtype=np.int32)
        by_weight, turned = np.ascontiguousarray(weights.T), np.zeros((columns, vectors), np.int32)

        def look(part: slice) -> None:
            _look_up(by_weight[part], x, table, turned[part])

        shared_out(look, columns, pieces)
        return np.ascontiguousarray(turned.T)
    by_x = np.ascontiguousarray(products.T, dtype=_TYPES[kind])
    padded = np.zeros((-(-depth // ROWS) * ROWS, -(-columns // LANES) * LANES), weights.dtype)
    padded[:depth, :columns] = weights

    def lay(whole: slice) -> None:
        for start in range(whole.start, whole.stop, _TOGETHER):
            lay_some(slice(start, min(start + _TOGETHER, whole.stop)))

    def lay_some(part: slice) -> None:
        some = np.ascontiguousarray(x[:, part])
        for first in range(0, columns, LANES):
            block = np.zeros((some.shape[1], LANES), np.int32)
            laid = np.empty((ROWS, len(by_x), LANES), _TYPES[kind])
            _add_up(padded[:, first : first + LANES], some, by_x, kind, laid, block)
            width = min(LANES, columns - first)
            sums[part, first : first + width] = block[:, :width]

    shared_out(lay, vectors, pieces)
    return sums


def _kind(low: int, high: int) -> int:
    """Return what the narrowest products are that hold *low* to *high*."""
    if low >= -(1 << 15) and high < 1 << 15:
        return SIGNED
    return UNSIGNED if low >= 0 and high < 1 << 16 else WIDE


def shared_out(work: Callable[[slice], None], count: int, pieces: int) -> None:
    """Do *work* on *pieces* parts of *count* at the same time."""
    ends = [count * i // pieces for i in range(pieces + 1)]
    parts = [slice(first, last) for first, last in pairwise(ends) if first < last]
    if len(parts) == 1:
        work(parts[0])
        return
    with ThreadPoolExecutor(len(parts)) as pool:
        for done in [pool.submit(work, part) for part in parts]:
            done.result()


@njit(cache=True, nogil=True)
def _look_up(weights: np.ndarray, x: np.ndarray, products: np.ndarray, sums: np.ndarray) -> None:
    """Fill *sums* (N × M) with a look-up for every product; *weights*: N × K."""
    for n in range(weights.shape[0]):
        for k in range(weights.shape[1]):
            row = products[weights[n, k]]
            for m in range(x.shape[1]):
                sums[n, m] += row[x[k, m]]


@njit(cache=True, nogil=True)
def _lay_out(weights: np.ndarray, first: int, depth: int, by_x: np.ndarray, laid: np.ndarray) -> None:
    """Fill *laid* with the products of four rows of *weights* from *first* on: row × pattern of x × column; 0 beyond *depth*."""
    for row in range(ROWS):
        for pattern in range(by_x.shape[0]):
            for n in range(LANES):
                laid[row, pattern, n] = by_x[pattern, weights[first + row, n]] if first + row < depth else 0


@njit(cache=True, nogil=True)
def _add_up(
    weights: np.ndarray, x: np.ndarray, by_x: np.ndarray, kind: int, laid: np.ndarray, sums: np.ndarray
) -> None:
    """Add to *sums* (M × LANES) the products of *weights* (K × LANES) and *x* (K × M); *laid*: room for four rows of them."""
    depth, row = x.shape[0], laid.shape[2] * laid.itemsize
    step = laid.shape[1] * row
    for k in range(0, weights.shape[0], ROWS):
        _lay_out(weights, k, depth, by_x, laid)
        base, at = laid.ctypes.data, sums.ctypes.data
        # a row beyond the last one has products of 0, whatever x is
        second, third, fourth = min(k + 1, depth - 1), min(k + 2, depth - 1), min(k + 3, depth - 1)
        for m in range(x.shape[1]):
            rows = (
                base + row * np.int64(x[k, m]),
                base + step + row * np.int64(x[second, m]),
                base + 2 * step + row * np.int64(x[third, m]),
                base + 3 * step + row * np.int64(x[fourth, m]),
            )
            if kind == SIGNED:
                add_signed(at + 4 * LANES * m, rows)
            elif kind == UNSIGNED:
                add_unsigned(at + 4 * LANES * m, rows)
            else:
                add_wide(at + 4 * LANES * m, rows)
