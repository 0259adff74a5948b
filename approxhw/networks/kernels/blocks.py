"""Sums, activations and comparators over a block of rows: what the kernels of masked networks are made of."""

from __future__ import annotations

import numba
import numpy as np

from approxhw.numerics.simd.narrow import (
    add16,
    add32,
    and16,
    and32,
    extend,
    mul16,
    mul32,
    shr16,
    shr32,
    truncate,
    xor32,
)

NARROW, WIDE, PLAIN = 0, 1, 2
"""How a neuron is summed: in int16, in int32, or by the plain int64 way, which then is the whole network's."""

_MOST_EXPONENT = 14  # the greatest power of two in int16


@numba.njit(cache=True, nogil=True)
def plan(
    layout: np.ndarray, genome: np.ndarray, first: np.ndarray, inputs: np.ndarray, masks: np.ndarray,
    weights: np.ndarray, biases: np.ndarray, kinds: np.ndarray, live: np.ndarray,
) -> int:  # fmt: skip
    """List the summands of one genome, neuron after neuron, and return the way it takes: narrow or wide, or plain.

    Neuron q of the whole network has the summands ``first[q] … first[q + 1] − 1``; ``kinds[q]`` says how it is summed,
    ``live[q]`` whether anything reads it.
    """
    neurons = 0
    for layer in range(layout.shape[0]):
        neurons += layout[layer, 1]
    for q in range(neurons):
        live[q] = False
    top, way, q = layout.shape[0] - 1, NARROW, neurons
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
            way = PLAIN
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
                            way = PLAIN
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
                kinds[q] = NARROW if low >= -32768 and high <= 32767 else WIDE
                if low < -2147483648 or high > 2147483647:
                    way = PLAIN
            q += 1
    first[q] = term
    return way


@numba.njit(cache=True, nogil=True)
def sum16(
    x: np.ndarray, at: int, start: int, end: int, inputs: np.ndarray, masks: np.ndarray, weights: np.ndarray, bias: int,
    total: np.ndarray,
) -> None:  # fmt: skip
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
def sum32(
    x: np.ndarray, at: int, start: int, end: int, inputs: np.ndarray, masks: np.ndarray, weights: np.ndarray, bias: int,
    total: np.ndarray,
) -> None:  # fmt: skip
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
def activate16(total: np.ndarray, shift: np.int32, top: int, y: np.ndarray) -> None:
    """QReLU of int16 sums."""
    s, highest, zero = np.int16(min(shift, 15)), np.int16(top), np.int16(0)
    for r in range(total.size):
        value = shr16(total[r], s)
        value = value if value > zero else zero
        y[r] = value if value < highest else highest


@numba.njit(cache=True, nogil=True)
def activate32(total: np.ndarray, shift: np.int32, top: int, y: np.ndarray) -> None:
    """QReLU of int32 sums."""
    s, highest, zero = np.int32(min(shift, 31)), np.int32(top), np.int32(0)
    for r in range(total.size):
        value = shr32(total[r], s)
        value = value if value > zero else zero
        y[r] = truncate(value if value < highest else highest)


@numba.njit(cache=True, nogil=True)
def best_of(total: np.ndarray, number: int, best: np.ndarray, winner: np.ndarray) -> None:
    """Let neuron *number* with its sums win where it is strictly greater."""
    index = np.int32(number)
    for r in range(total.size):
        greater = total[r] > best[r]
        best[r] = total[r] if greater else best[r]
        winner[r] = index if greater else winner[r]


@numba.njit(cache=True, nogil=True)
def match_rows(
    left: np.ndarray, right: np.ndarray, left_index: np.ndarray, right_index: np.ndarray, seen: np.int32, flip: int,
    to: np.ndarray, to_index: np.ndarray,
) -> None:  # fmt: skip
    """One comparator over a block: the right value goes on where its seen bits are strictly greater."""
    s, f = np.int32(seen), np.int32(flip)
    for r in range(left.size):
        greater = and32(xor32(right[r], f), s) > and32(xor32(left[r], f), s)
        to[r] = right[r] if greater else left[r]
        to_index[r] = right_index[r] if greater else left_index[r]


@numba.njit(cache=True, nogil=True)
def tree(count: int, comparators: np.ndarray, flip: int, values: np.ndarray, indices: np.ndarray, rows: int) -> None:
    """Carry out the comparator tree over *count* neurons' sums; the winners end up in ``indices[0, :rows]``."""
    for o in range(count):
        indices[o, :rows] = np.int32(o)
    c = 0
    while count > 1:
        half = count // 2
        for k in range(half):
            a, b = 2 * k, 2 * k + 1
            match_rows(
                values[a, :rows], values[b, :rows], indices[a, :rows], indices[b, :rows],
                comparators[c], flip, values[k, :rows], indices[k, :rows],
            )  # fmt: skip
            c += 1
        if count & 1:
            values[half, :rows] = values[count - 1, :rows]
            indices[half, :rows] = indices[count - 1, :rows]
            half += 1
        count = half
