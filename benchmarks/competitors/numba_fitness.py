"""The fitness of masked power-of-two networks as a plain Numba loop: int32 columns, rows innermost, a summand a pass.

What a good user would write today, and no more: no int16, no intrinsics, no summands fused. Signs and exponents become
one factor (multiplied, it keeps 32 bits where a shift by a variable takes 64), masked summands are left out, rows come
in blocks that stay in the nearest cache, and the whole population is one call.
"""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np

from .numpy_fitness import Network

BLOCK = 512
"""Rows at a time; 1024 and 2048 are at most a tenth faster or slower, all rows at once is slower."""

Stacked = tuple[np.ndarray, ...]


def stack(networks: Sequence[Network]) -> Stacked:
    """Return a population as the loop reads it: masks, weights and biases of both layers over all networks, and shifts."""
    parts = []
    for layer in (0, 1):
        parts.append(np.stack([network.masks[layer] for network in networks]))
        parts.append(np.stack([network.signs[layer] << network.exponents[layer] for network in networks]))
        parts.append(np.stack([network.biases[layer] for network in networks]))
    parts += [np.array([network.shift for network in networks]), np.array([(1 << networks[0].bits) - 1])]
    return tuple(np.ascontiguousarray(part, dtype=np.int32) for part in parts)


def count_errors(stacked: Stacked, columns: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return how many rows every network gives the wrong class; ``columns``: features × rows; both int32."""
    return _count_errors(*stacked, columns, labels)


@numba.njit(cache=True)
def _layer(x, at, count, masks, weights, biases, sums):  # type: ignore[no-untyped-def]
    """Fill *sums* (outputs × rows) with one layer's sums of *count* rows of *x* from *at* on."""
    for o in range(masks.shape[0]):
        total = sums[o]
        for r in range(count):
            total[r] = biases[o]
        for i in range(masks.shape[1]):
            mask, weight, column = masks[o, i], weights[o, i], x[i]
            if mask == 0:
                continue
            for r in range(count):
                total[r] += (column[at + r] & mask) * weight


@numba.njit(cache=True)
def _count_errors(  # type: ignore[no-untyped-def]
    masks0, weights0, biases0, masks1, weights1, biases1, shifts, top, columns, labels
):
    errors = np.zeros(masks0.shape[0], np.int64)
    hidden, outputs = np.empty((masks0.shape[1], BLOCK), np.int32), np.empty((masks1.shape[1], BLOCK), np.int32)
    best, winner = np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int32)
    for p in range(errors.size):
        shift = shifts[p] & np.int32(31)  # says that it is no longer than a lane, so that 32-bit lanes will do
        for at in range(0, labels.size, BLOCK):
            count = min(BLOCK, labels.size - at)
            _layer(columns, at, count, masks0[p], weights0[p], biases0[p], hidden)
            for h in range(hidden.shape[0]):
                for r in range(count):
                    hidden[h, r] = min(max(np.int32(hidden[h, r] >> shift), np.int32(0)), top[0])
            _layer(hidden, 0, count, masks1[p], weights1[p], biases1[p], outputs)
            for r in range(count):
                best[r], winner[r] = outputs[0, r], 0
            for o in range(1, outputs.shape[0]):
                for r in range(count):
                    wins = outputs[o, r] > best[r]
                    best[r] = outputs[o, r] if wins else best[r]
                    winner[r] = np.int32(o) if wins else winner[r]
            wrong = 0
            for r in range(count):
                wrong += winner[r] != labels[at + r]
            errors[p] += wrong
    return errors
