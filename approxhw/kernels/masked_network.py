"""The masked power-of-two network of a whole population over all rows: classes and errors, bit for bit the interpreter's.

Rows are innermost and cut into blocks that stay in the first-level cache. A neuron is summed in int16 where its exact
range allows it, else in int32, four summands a pass; summands that are masked out and neurons that nothing reads cost
nothing. A genome that needs more than int32, or weights or codes beyond int16, takes the plain int64 way. Layout, head
and genomes: ``approxhw/passes/genetic/space.py``.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numba
import numpy as np

from ._narrow import add16, add32, and16, and32, extend, mul16, mul32, shr16, shr32, truncate, xor32

BLOCK = 1024
_NARROW, _WIDE, _PLAIN = 0, 1, 2
_MOST_EXPONENT = 14  # the greatest power of two in int16


class Rows(NamedTuple):
    """Rows as the kernels read them: made once a data set by :func:`prepare`."""

    columns: np.ndarray
    """Codes, features × rows: int16, or int64 where a code is beyond it."""
    labels: np.ndarray
    """int32, one a row; all −1 where none were given."""


def prepare(codes: np.ndarray, labels: np.ndarray | None = None) -> Rows:
    """Return *codes* (rows × features, unsigned integers) and *labels* in the layout of the kernels."""
    codes = np.asarray(codes)
    number = np.int16 if not codes.size or int(codes.max()) < 1 << 15 else np.int64
    columns = np.ascontiguousarray(codes.T, dtype=number)
    given = np.full(len(codes), -1) if labels is None else np.asarray(labels)
    return Rows(columns, np.ascontiguousarray(given, dtype=np.int32))


def count_errors(
    layout: np.ndarray,
    head: np.ndarray,
    genomes: np.ndarray,
    codes: np.ndarray | Rows,
    labels: np.ndarray | None = None,
    threads: int = 1,
) -> np.ndarray:
    """Return how many rows (int64, P) every genome (P × G) gives another class than its label.

    ``codes``: rows × features with ``labels``, or both as :func:`prepare` returned them. ``threads``: how many share the
    population; the result does not depend on it.
    """
    rows = codes if isinstance(codes, Rows) else prepare(codes, labels)
    errors = np.zeros(len(genomes), dtype=np.int64)
    _share(layout, head, genomes, rows, errors, None, threads)
    return errors


def classes_of(
    layout: np.ndarray, head: np.ndarray, genomes: np.ndarray, codes: np.ndarray | Rows, threads: int = 1
) -> np.ndarray:
    """Return the class (int16, P × rows) that every genome (P × G) gives every row; *codes*: as :func:`count_errors`."""
    rows = codes if isinstance(codes, Rows) else prepare(codes)
    errors = np.zeros(len(genomes), dtype=np.int64)
    classes = np.zeros((len(genomes), rows.columns.shape[1]), dtype=np.int16)
    _share(layout, head, genomes, rows, errors, classes, threads)
    return classes


def _share(
    layout: np.ndarray,
    head: np.ndarray,
    genomes: np.ndarray,
    rows: Rows,
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
def _plan(layout, genome, first, inputs, masks, weights, biases, kinds, live):  # type: ignore[no-untyped-def]
    """List the summands of one genome, neuron after neuron, and return the way it takes: narrow or wide, or plain.

    Neuron q of the whole network has the summands ``first[q] … first[q + 1] − 1``; ``kinds[q]`` says how it is summed,
    ``live[q]`` whether anything reads it.
    """
    neurons = 0
    for layer in range(layout.shape[0]):
        neurons += layout[layer, 1]
    for q in range(neurons):
        live[q] = False
    top, way, q = layout.shape[0] - 1, _NARROW, neurons
    for layer in range(top, -1, -1):
        n, m, mask0, sign0, exponent0 = (
            layout[layer, 0],
            layout[layer, 1],
            layout[layer, 3],
            layout[layer, 4],
            layout[layer, 5],
        )
        q -= m
        before = q - n
        for o in range(m):
            if layer == top:
                live[q + o] = True
            if layer and live[q + o]:
                for i in range(n):
                    if genome[mask0 + o * n + i]:
                        live[before + i] = True
    q, term = 0, 0
    for layer in range(layout.shape[0]):
        n, m, bits = layout[layer, 0], layout[layer, 1], layout[layer, 2]
        mask0, sign0, exponent0, bias0 = layout[layer, 3], layout[layer, 4], layout[layer, 5], layout[layer, 6]
        if bits > 15 or layout[layer, 8] > 15:
            way = _PLAIN
        for o in range(m):
            first[q] = term
            if live[q]:
                low = high = np.int64(genome[bias0 + o])
                for i in range(n):
                    at = o * n + i
                    mask = np.int64(genome[mask0 + at])
                    if mask:
                        exponent = np.int64(genome[exponent0 + at])
                        if exponent > _MOST_EXPONENT or mask > 32767:
                            way = _PLAIN
                            exponent = min(exponent, _MOST_EXPONENT)
                        weight = np.int64(1) << exponent
                        if genome[sign0 + at]:
                            weight = -weight
                            low += weight * mask
                        else:
                            high += weight * mask
                        inputs[term], masks[term], weights[term] = i, mask, weight
                        term += 1
                biases[q] = genome[bias0 + o]
                kinds[q] = _NARROW if low >= -32768 and high <= 32767 else _WIDE
                if low < -2147483648 or high > 2147483647:
                    way = _PLAIN
            q += 1
    first[q] = term
    return way


@numba.njit(cache=True, nogil=True)
def _sum16(x, at, start, end, inputs, masks, weights, bias, total):  # type: ignore[no-untyped-def]
    """Fill *total* (int16) with bias + Σ (x & mask) · weight over the columns of *x* from row *at* on."""
    count = total.size
    b = np.int16(bias)
    for r in range(count):
        total[r] = b
    t = start
    while t + 4 <= end:
        x0, x1 = x[inputs[t], at : at + count], x[inputs[t + 1], at : at + count]
        x2, x3 = x[inputs[t + 2], at : at + count], x[inputs[t + 3], at : at + count]
        m0, m1, m2, m3 = masks[t], masks[t + 1], masks[t + 2], masks[t + 3]
        w0, w1, w2, w3 = weights[t], weights[t + 1], weights[t + 2], weights[t + 3]
        for r in range(count):
            p = add16(mul16(and16(x0[r], m0), w0), mul16(and16(x1[r], m1), w1))
            q = add16(mul16(and16(x2[r], m2), w2), mul16(and16(x3[r], m3), w3))
            total[r] = add16(total[r], add16(p, q))
        t += 4
    while t < end:
        x0, m0, w0 = x[inputs[t], at : at + count], masks[t], weights[t]
        for r in range(count):
            total[r] = add16(total[r], mul16(and16(x0[r], m0), w0))
        t += 1


@numba.njit(cache=True, nogil=True)
def _sum32(x, at, start, end, inputs, masks, weights, bias, total):  # type: ignore[no-untyped-def]
    """Fill *total* (int32) likewise."""
    count = total.size
    b = np.int32(bias)
    for r in range(count):
        total[r] = b
    t = start
    while t + 4 <= end:
        x0, x1 = x[inputs[t], at : at + count], x[inputs[t + 1], at : at + count]
        x2, x3 = x[inputs[t + 2], at : at + count], x[inputs[t + 3], at : at + count]
        m0, m1, m2, m3 = masks[t], masks[t + 1], masks[t + 2], masks[t + 3]
        w0, w1, w2, w3 = extend(weights[t]), extend(weights[t + 1]), extend(weights[t + 2]), extend(weights[t + 3])
        for r in range(count):
            p = add32(mul32(extend(and16(x0[r], m0)), w0), mul32(extend(and16(x1[r], m1)), w1))
            q = add32(mul32(extend(and16(x2[r], m2)), w2), mul32(extend(and16(x3[r], m3)), w3))
            total[r] = add32(total[r], add32(p, q))
        t += 4
    while t < end:
        x0, m0, w0 = x[inputs[t], at : at + count], masks[t], extend(weights[t])
        for r in range(count):
            total[r] = add32(total[r], mul32(extend(and16(x0[r], m0)), w0))
        t += 1


@numba.njit(cache=True, nogil=True)
def _activate16(total, shift, top, y):  # type: ignore[no-untyped-def]
    """QReLU of int16 sums."""
    s, highest, zero = np.int16(min(shift, 15)), np.int16(top), np.int16(0)
    for r in range(total.size):
        value = shr16(total[r], s)
        value = value if value > zero else zero
        y[r] = value if value < highest else highest


@numba.njit(cache=True, nogil=True)
def _activate32(total, shift, top, y):  # type: ignore[no-untyped-def]
    """QReLU of int32 sums."""
    s, highest, zero = np.int32(min(shift, 31)), np.int32(top), np.int32(0)
    for r in range(total.size):
        value = shr32(total[r], s)
        value = value if value > zero else zero
        y[r] = truncate(value if value < highest else highest)


@numba.njit(cache=True, nogil=True)
def _best(total, number, best, winner):  # type: ignore[no-untyped-def]
    """Let neuron *number* with its sums win where it is strictly greater."""
    index = np.int32(number)
    for r in range(total.size):
        greater = total[r] > best[r]
        best[r] = total[r] if greater else best[r]
        winner[r] = index if greater else winner[r]


@numba.njit(cache=True, nogil=True)
def _match(left, right, left_index, right_index, seen, flip, to, to_index):  # type: ignore[no-untyped-def]
    """One comparator over a block: the right value goes on where its seen bits are strictly greater."""
    s, f = np.int32(seen), np.int32(flip)
    for r in range(left.size):
        greater = and32(xor32(right[r], f), s) > and32(xor32(left[r], f), s)
        to[r] = right[r] if greater else left[r]
        to_index[r] = right_index[r] if greater else left_index[r]


@numba.njit(cache=True, nogil=True)
def _tree(count, comparators, flip, values, indices, rows):  # type: ignore[no-untyped-def]
    """Carry out the comparator tree over *count* neurons' sums; the winners end up in ``indices[0, :rows]``."""
    for o in range(count):
        indices[o, :rows] = np.int32(o)
    c = 0
    while count > 1:
        half = count // 2
        for k in range(half):
            a, b = 2 * k, 2 * k + 1
            _match(
                values[a, :rows], values[b, :rows], indices[a, :rows], indices[b, :rows],
                comparators[c], flip, values[k, :rows], indices[k, :rows],
            )  # fmt: skip
            c += 1
        if count & 1:
            values[half, :rows] = values[count - 1, :rows]
            indices[half, :rows] = indices[count - 1, :rows]
            half += 1
        count = half


@numba.njit(cache=True, nogil=True)
def _is_exact(head, classes, genome):  # type: ignore[no-untyped-def]
    """Whether every comparator looks at every bit."""
    return (genome[head[1] : head[1] + classes - 1] == (np.int64(1) << head[2]) - 1).all()


@numba.njit(cache=True, nogil=True)
def _population(layout, head, genomes, columns, labels, errors, classes, keep):  # type: ignore[no-untyped-def]
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
    sum16, sum32, best = np.empty(BLOCK, np.int16), np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int32)
    winner = np.empty(BLOCK, np.int32)
    values, indices = np.empty((layout[-1, 1], BLOCK), np.int32), np.empty((layout[-1, 1], BLOCK), np.int32)
    rows = columns.shape[1]
    for p in range(genomes.shape[0]):
        genome = genomes[p]
        way = _plan(layout, genome, first, inputs, masks, weights, biases, kinds, live)
        if way == _PLAIN:
            errors[p] = -1
            continue
        errors[p] = 0
        exact = head[0] == 1 or _is_exact(head, layout[-1, 1], genome)
        for at in range(0, rows, BLOCK):
            count = min(BLOCK, rows - at)
            _block(
                layout, head, genome, columns, at, exact,
                first, inputs, masks, weights, biases, kinds, live,
                acts, sum16[:count], sum32[:count], best[:count], winner[:count], values, indices,
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
    layout, head, genome, columns, at, exact,
    first, inputs, masks, weights, biases, kinds, live,
    acts, sum16, sum32, best, winner, values, indices,
):  # fmt: skip  # type: ignore[no-untyped-def]
    """Fill *winner* with the classes of one genome for the rows of a block from *at* on."""
    count, q = winner.size, 0
    for layer in range(layout.shape[0]):
        m, shift, last = layout[layer, 1], layout[layer, 7], layer == layout.shape[0] - 1
        for o in range(m):
            if not live[q]:
                q += 1
                continue
            narrow = kinds[q] == _NARROW
            total = sum32
            if last and not exact:
                total = values[o, :count]
            if layer == 0:
                if narrow:
                    _sum16(columns, at, first[q], first[q + 1], inputs, masks, weights, biases[q], sum16)
                else:
                    _sum32(columns, at, first[q], first[q + 1], inputs, masks, weights, biases[q], total)
            else:
                x = acts[(layer - 1) & 1]
                if narrow:
                    _sum16(x, 0, first[q], first[q + 1], inputs, masks, weights, biases[q], sum16)
                else:
                    _sum32(x, 0, first[q], first[q + 1], inputs, masks, weights, biases[q], total)
            q += 1
            if not last:
                top = (1 << layout[layer, 8]) - 1
                if narrow:
                    _activate16(sum16, genome[shift], top, acts[layer & 1, o, :count])
                else:
                    _activate32(sum32, genome[shift], top, acts[layer & 1, o, :count])
                continue
            if narrow:
                for r in range(count):
                    total[r] = sum16[r]
            if head[0] == 1:
                for r in range(count):
                    winner[r] = total[r] > 0
            elif exact and o:
                _best(total, o, best, winner)
            elif exact:
                best[:] = total
                winner[:] = 0
    if head[0] == 0 and not exact:
        _tree(layout[-1, 1], genome[head[1] :], np.int64(1) << (head[2] - 1), values, indices, count)
        winner[:] = indices[0, :count]


@numba.njit(cache=True, nogil=True)
def _plain(layout, head, genome, columns, winner):  # type: ignore[no-untyped-def]
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
def _plain_winner(count, head, genome, values, indices):  # type: ignore[no-untyped-def]
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
