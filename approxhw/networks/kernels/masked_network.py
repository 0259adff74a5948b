"""The masked power-of-two network of a whole population over all rows: classes and errors, bit for bit the interpreter's.

Rows are innermost and cut into blocks that stay in the first-level cache. A neuron is summed in int16 where its exact
range allows it, else in int32, four summands a pass; summands that are masked out and neurons that nothing reads cost
nothing. A genome that needs more than int32, or weights or codes beyond int16, takes the plain int64 way. Layout, head
and genomes: ``approxhw/networks/space.py``.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numba
import numpy as np

from .blocks import NARROW, PLAIN, activate16, activate32, best_of, plan, sum16, sum32, tree

BLOCK = 1024


class PackedRows(NamedTuple):
    """Rows as the kernels read them: made once a data set by :func:`pack_rows`."""

    columns: np.ndarray
    """Codes, features × rows: int16, or int64 where a code is beyond it."""
    labels: np.ndarray
    """int32, one a row; all −1 where none were given."""


def pack_rows(codes: np.ndarray, labels: np.ndarray | None = None) -> PackedRows:
    """Return *codes* (rows × features, unsigned integers) and *labels* in the layout of the kernels."""
    codes = np.asarray(codes)
    number = np.int16 if not codes.size or int(codes.max()) < 1 << 15 else np.int64
    columns = np.ascontiguousarray(codes.T, dtype=number)
    given = np.full(len(codes), -1) if labels is None else np.asarray(labels)
    return PackedRows(columns, np.ascontiguousarray(given, dtype=np.int32))


def count_errors(
    layout: np.ndarray,
    head: np.ndarray,
    genomes: np.ndarray,
    codes: np.ndarray | PackedRows,
    labels: np.ndarray | None = None,
    threads: int = 1,
) -> np.ndarray:
    """Return how many rows (int64, P) every genome (P × G) gives another class than its label.

    ``codes``: rows × features with ``labels``, or both as :func:`pack_rows` returned them. ``threads``: how many share the
    population; the result does not depend on it.
    """
    rows = codes if isinstance(codes, PackedRows) else pack_rows(codes, labels)
    errors = np.zeros(len(genomes), dtype=np.int64)
    _share(layout, head, genomes, rows, errors, None, threads)
    return errors


def classes_of(
    layout: np.ndarray, head: np.ndarray, genomes: np.ndarray, codes: np.ndarray | PackedRows, threads: int = 1
) -> np.ndarray:
    """Return the class (int16, P × rows) that every genome (P × G) gives every row; *codes*: as :func:`count_errors`."""
    rows = codes if isinstance(codes, PackedRows) else pack_rows(codes)
    errors = np.zeros(len(genomes), dtype=np.int64)
    classes = np.zeros((len(genomes), rows.columns.shape[1]), dtype=np.int16)
    _share(layout, head, genomes, rows, errors, classes, threads)
    return classes


def _share(
    layout: np.ndarray,
    head: np.ndarray,
    genomes: np.ndarray,
    rows: PackedRows,
    errors: np.ndarray,
    classes: np.ndarray | None,
    threads: int,
) -> None:
    """Carry out the population, a part of it in every thread; fill *errors*, and *classes* where they are wanted."""
    genomes = np.ascontiguousarray(genomes, dtype=np.int32)
    if genomes.ndim != 2:
        raise ValueError(f"genomes are a population, P × G, not an array of shape {genomes.shape}")
    if rows.columns.shape[0] != layout[0, 0]:
        raise ValueError(f"the network reads {layout[0, 0]} features, the rows have {rows.columns.shape[0]}")
    parts = np.array_split(np.arange(len(genomes)), max(1, min(threads, len(genomes))))

    def carry_out(part: np.ndarray) -> None:
        if not len(part):
            return
        span = slice(part[0], part[-1] + 1)
        mine, seen = genomes[span], np.zeros((1, 1), np.int16) if classes is None else classes[span]
        if rows.columns.dtype == np.int16:
            _population(layout, head, mine, rows.columns, rows.labels, errors[span], seen, classes is not None)
        else:
            errors[span] = -1
        for p in np.flatnonzero(errors[span] < 0) + span.start:
            winner = np.empty(len(rows.labels), np.int16)
            _plain(layout, head, genomes[p], rows.columns.astype(np.int64), winner)
            errors[p] = np.count_nonzero(winner != rows.labels)
            if classes is not None:
                classes[p] = winner

    if len(parts) == 1:
        carry_out(parts[0])
    else:
        with ThreadPoolExecutor(len(parts)) as pool:
            list(pool.map(carry_out, parts))


@numba.njit(cache=True, nogil=True)
def _is_exact(head: np.ndarray, classes: int, genome: np.ndarray) -> bool:
    """Whether every comparator looks at every bit."""
    return (genome[head[1] : head[1] + classes - 1] == (np.int64(1) << head[2]) - 1).all()


@numba.njit(cache=True, nogil=True)
def _population(
    layout: np.ndarray, head: np.ndarray, genomes: np.ndarray, columns: np.ndarray, labels: np.ndarray,
    errors: np.ndarray, classes: np.ndarray, keep: bool,
) -> None:  # fmt: skip
    """Count the errors of every genome, −1 for one that needs the plain way; with *keep*, store the classes too."""
    neurons = terms = 0
    widest = 1
    for layer in range(layout.shape[0]):
        neurons += layout[layer, 1]
        terms += layout[layer, 0] * layout[layer, 1]
        widest = max(widest, layout[layer, 1])
    first, inputs = np.empty(neurons + 1, np.int64), np.empty(terms, np.int64)
    masks, weights = np.empty(terms, np.int16), np.empty(terms, np.int16)
    biases, kinds, live = np.empty(neurons, np.int64), np.empty(neurons, np.int64), np.empty(neurons, np.bool_)
    acts = np.empty((2, widest, BLOCK), np.int16)
    narrow_sum, wide_sum, best = np.empty(BLOCK, np.int16), np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int32)
    winner = np.empty(BLOCK, np.int32)
    values, indices = np.empty((layout[-1, 1], BLOCK), np.int32), np.empty((layout[-1, 1], BLOCK), np.int32)
    rows = columns.shape[1]
    for p in range(genomes.shape[0]):
        genome = genomes[p]
        way = plan(layout, genome, first, inputs, masks, weights, biases, kinds, live)
        if way == PLAIN:
            errors[p] = -1
            continue
        errors[p] = 0
        exact = head[0] == 1 or _is_exact(head, layout[-1, 1], genome)
        for at in range(0, rows, BLOCK):
            count = min(BLOCK, rows - at)
            _block(
                layout, head, genome, columns, at, exact,
                first, inputs, masks, weights, biases, kinds, live,
                acts, narrow_sum[:count], wide_sum[:count], best[:count], winner[:count], values, indices,
            )  # fmt: skip
            wrong = 0
            for r in range(count):
                wrong += winner[r] != labels[at + r]
            errors[p] += wrong
            if keep:
                for r in range(count):
                    classes[p, at + r] = winner[r]


@numba.njit(cache=True, nogil=True)
def _block(
    layout: np.ndarray, head: np.ndarray, genome: np.ndarray, columns: np.ndarray, at: int, exact: bool,
    first: np.ndarray, inputs: np.ndarray, masks: np.ndarray, weights: np.ndarray, biases: np.ndarray,
    kinds: np.ndarray, live: np.ndarray, acts: np.ndarray, narrow_sum: np.ndarray, wide_sum: np.ndarray,
    best: np.ndarray, winner: np.ndarray, values: np.ndarray, indices: np.ndarray,
) -> None:  # fmt: skip
    """Fill *winner* with the classes of one genome for the rows of a block from *at* on."""
    count, q = winner.size, 0
    for layer in range(layout.shape[0]):
        m, shift, last = layout[layer, 1], layout[layer, 7], layer == layout.shape[0] - 1
        for o in range(m):
            if not live[q]:
                q += 1
                continue
            narrow = kinds[q] == NARROW
            total = wide_sum
            if last and not exact:
                total = values[o, :count]
            if layer == 0:
                if narrow:
                    sum16(columns, at, first[q], first[q + 1], inputs, masks, weights, biases[q], narrow_sum)
                else:
                    sum32(columns, at, first[q], first[q + 1], inputs, masks, weights, biases[q], total)
            else:
                x = acts[(layer - 1) & 1]
                if narrow:
                    sum16(x, 0, first[q], first[q + 1], inputs, masks, weights, biases[q], narrow_sum)
                else:
                    sum32(x, 0, first[q], first[q + 1], inputs, masks, weights, biases[q], total)
            q += 1
            if not last:
                top = (1 << layout[layer, 8]) - 1
                if narrow:
                    activate16(narrow_sum, genome[shift], top, acts[layer & 1, o, :count])
                else:
                    activate32(wide_sum, genome[shift], top, acts[layer & 1, o, :count])
                continue
            if narrow:
                for r in range(count):
                    total[r] = narrow_sum[r]
            if head[0] == 1:
                for r in range(count):
                    winner[r] = total[r] > 0
            elif exact and o:
                best_of(total, o, best, winner)
            elif exact:
                best[:] = total
                winner[:] = 0
    if head[0] == 0 and not exact:
        tree(layout[-1, 1], genome[head[1] :], np.int64(1) << (head[2] - 1), values, indices, count)
        winner[:] = indices[0, :count]


@numba.njit(cache=True, nogil=True)
def _plain(layout: np.ndarray, head: np.ndarray, genome: np.ndarray, columns: np.ndarray, winner: np.ndarray) -> None:
    """Fill *winner* with the classes, row by row in int64: the way of genomes that need more than int32."""
    widest = columns.shape[0]
    for layer in range(layout.shape[0]):
        widest = max(widest, layout[layer, 1])
    x, y = np.zeros(widest, np.int64), np.zeros(widest, np.int64)
    indices = np.zeros(widest, np.int64)
    for row in range(winner.size):
        for i in range(columns.shape[0]):
            x[i] = columns[i, row]
        for layer in range(layout.shape[0]):
            n, m, mask0, sign0, exponent0 = (
                layout[layer, 0], layout[layer, 1], layout[layer, 3], layout[layer, 4], layout[layer, 5]
            )  # fmt: skip
            bias0, shift = layout[layer, 6], layout[layer, 7]
            for o in range(m):
                total = np.int64(genome[bias0 + o])
                for i in range(n):
                    k = o * n + i
                    product = (x[i] & np.int64(genome[mask0 + k])) << np.int64(genome[exponent0 + k])
                    total += -product if genome[sign0 + k] else product
                if shift >= 0:
                    top = (np.int64(1) << layout[layer, 8]) - 1
                    total = min(max(total >> min(np.int64(genome[shift]), np.int64(63)), np.int64(0)), top)
                y[o] = total
            x, y = y, x
        if head[0] == 1:
            winner[row] = 1 if x[0] > 0 else 0
        else:
            winner[row] = _plain_winner(layout[-1, 1], head, genome, x, indices)


@numba.njit(cache=True, nogil=True)
def _plain_winner(count: int, head: np.ndarray, genome: np.ndarray, values: np.ndarray, indices: np.ndarray) -> int:
    flip, c = np.int64(1) << (head[2] - 1), 0
    for o in range(count):
        indices[o] = o
    while count > 1:
        half = count // 2
        for k in range(half):
            seen = np.int64(genome[head[1] + c])
            c += 1
            take = 2 * k
            if ((values[take + 1] ^ flip) & seen) > ((values[take] ^ flip) & seen):
                take += 1
            values[k], indices[k] = values[take], indices[take]
        if count & 1:
            values[half], indices[half] = values[count - 1], indices[count - 1]
            half += 1
        count = half
    return indices[0]
