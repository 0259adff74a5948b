"""Simulated annealing of one masked network: random small moves on energy = loss share + price · area.

Deterministic for a seed on every machine: integers, one generator of its own, and acceptance from a table.
"""

from __future__ import annotations

import numba
import numpy as np

from approxhw.networks.kernels.area import adders

from .moves import BLOCK, MOST_RAMP, WalkState, attempt, block_loss, keep

TABLE = 4096
SAVING, SAVING_A_BIT = 10.0, 12.0
"""mm²: a move is not expected to save more than this and so much for every mask bit that goes, when its loss is judged."""

HASTE = 5.6
"""Rows that a move may be worse by after one block, √b times that after b: 2.5 σ where one row of a hundred changes."""

_HALF = np.uint64(32)


def quantiles() -> np.ndarray:
    """Return the quantiles of the exponential distribution that acceptance draws from, float64 in multiples of 2^-20."""
    share = (np.arange(TABLE) + 0.5) / TABLE
    return np.round(-np.log(share) * (1 << 20)) / (1 << 20)


@numba.njit(cache=True, nogil=True)
def _draw(seed: np.ndarray, count: int) -> np.int64:
    """Return a number from 0 to *count* − 1 and advance *seed* (uint64, 1): splitmix64, the high bits of a product."""
    seed[0] += np.uint64(0x9E3779B97F4A7C15)
    z = seed[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return np.int64(((z >> _HALF) * np.uint64(count)) >> _HALF)


@numba.njit(cache=True, nogil=True)
def _bits(value: int) -> int:
    bits = 0
    while value > 0:
        value >>= 1
        bits += 1
    return bits


@numba.njit(cache=True, nogil=True)
def _ones(value: np.int32) -> int:
    ones = 0
    while value > 0:
        ones += value & 1
        value >>= 1
    return ones


@numba.njit(cache=True, nogil=True)
def mean_margin(state: WalkState) -> np.int64:
    """Return the mean of how far apart the label's sum and the best other one are, rounded down, at least 1."""
    m = state.layout[-1, 1]
    q0, rows = state.sums.shape[0] - m, state.labels.size
    total = np.int64(0)
    for r in range(rows):
        label = state.labels[r]
        if state.head[0] == 1:
            total += abs(state.sums[q0, r])
            continue
        best = np.int64(-(1 << 40))
        for o in range(m):
            if o != label:
                best = max(best, np.int64(state.sums[q0 + o, r]))
        if 0 <= label < m:
            total += abs(np.int64(state.sums[q0 + label, r]) - best)
    return max(np.int64(1), total // max(1, rows))


@numba.njit(cache=True, nogil=True)
def weigh(state: WalkState, unit: int, ramp: int) -> int:
    """Give the loss of *state* other weights, and return it."""
    state.weights[0], state.weights[1] = unit, ramp
    state.sums_moved[:] = False
    rows = state.columns.shape[1]
    for block in range(state.loss.shape[1]):
        at = block * BLOCK
        state.loss[0, block] = block_loss(state, state.genome, at, min(BLOCK, rows - at)) if rows else 0
    return state.loss[0].sum()


@numba.njit(cache=True, nogil=True)
def _area(
    layout: np.ndarray, head: np.ndarray, genome: np.ndarray, coefficients: np.ndarray, scratch: adders.Scratch,
    counts: np.ndarray,
) -> float:  # fmt: skip
    counts[:] = 0
    adders.count(layout, head, genome.reshape(1, genome.size), *scratch, counts)
    total = 0.0
    for k in range(coefficients.size):
        total += coefficients[k] * counts[0, k]
    return total


@numba.njit(cache=True, nogil=True)
def _new_summand(layer: np.ndarray, at: int, genome: np.ndarray, upper: np.ndarray, seed: np.ndarray) -> None:
    """Draw sign and exponent of a summand that was not there."""
    genome[layer[4] + at] = _draw(seed, 2)
    genome[layer[5] + at] = _draw(seed, upper[layer[5] + at] + 1)


@numba.njit(cache=True, nogil=True)
def propose(
    layout: np.ndarray, head: np.ndarray, genome: np.ndarray, lower: np.ndarray, upper: np.ndarray, seed: np.ndarray
) -> int:
    """Change *genome* by one random move; return how many mask bits go, 5 for a shift, or −1 where nothing changes."""
    depth = layout.shape[0]
    summands = 0
    for k in range(depth):
        summands += layout[k, 0] * layout[k, 1]
    if head[1] >= 0 and _draw(seed, 100) < 2:  # a bit of a comparator
        gene = head[1] + _draw(seed, layout[-1, 1] - 1)
        genome[gene] ^= np.int32(1 << _draw(seed, head[2]))
        return 0
    number = _draw(seed, depth)
    if _draw(seed, 2):  # half of the moves by layer, half by summand
        at = _draw(seed, summands)
        number = 0
        while at >= layout[number, 0] * layout[number, 1]:
            at -= layout[number, 0] * layout[number, 1]
            number += 1
    layer = layout[number]
    n, m = layer[0], layer[1]
    o, i = _draw(seed, m), _draw(seed, n)
    at = o * n + i
    gene, sign, exponent, bias, shift = layer[3] + at, layer[4] + at, layer[5] + at, layer[6] + o, layer[7]
    full, mask = upper[gene], genome[gene]
    if full == 0:  # a summand that may not be there
        return -1
    kind = _draw(seed, 100)
    if shift >= 0 and kind < 1:
        step = 2 * _draw(seed, 2) - 1
        if not lower[shift] <= genome[shift] + step <= upper[shift]:
            return -1
        genome[shift] += step
        if _draw(seed, 2):  # the layer that reads it makes up for it
            after = layout[number + 1]
            for k in range(after[0] * after[1]):
                moved = genome[after[5] + k] + step
                if 0 <= moved <= upper[after[5] + k]:
                    genome[after[5] + k] = moved
        return 5
    if kind < 31:  # flip a bit of a mask
        genome[gene] ^= np.int32(1 << _draw(seed, layer[2]))
        if mask == 0:
            _new_summand(layer, at, genome, upper, seed)
    elif kind < 46:
        if mask == 0:
            return -1
        moved = genome[exponent] + 2 * _draw(seed, 2) - 1
        if not 0 <= moved <= upper[exponent]:
            return -1
        genome[exponent] = moved
    elif kind < 51:
        genome[gene] = 1 + _draw(seed, full)
        _new_summand(layer, at, genome, upper, seed)
    elif kind < 56:
        if mask == 0:
            return -1
        genome[sign] ^= np.int32(1)
    elif kind < 66:
        if mask == 0:
            return -1
        genome[gene] = 0
    elif kind < 71:  # the high bits alone
        genome[gene] = full & ~((1 << _draw(seed, layer[2])) - 1)
        if mask == 0:
            _new_summand(layer, at, genome, upper, seed)
    elif kind < 82:  # change places with another input of the neuron
        other = o * n + _draw(seed, n)
        if other == at or upper[layer[3] + other] == 0 or (mask == 0 and genome[layer[3] + other] == 0):
            return -1
        for part in range(3, 6):
            a, b = layer[part] + at, layer[part] + other
            genome[a], genome[b] = genome[b], genome[a]
    else:  # a step of the bias, at most of the size of the greatest summands
        step = 1 << _draw(seed, max(1, min(11, _bits(np.int64(upper[bias])) - 3)))
        moved = np.int64(genome[bias]) + (step if _draw(seed, 2) else -step)
        if not lower[bias] <= moved <= upper[bias]:
            return -1
        genome[bias] = moved
    return max(0, _ones(mask) - _ones(genome[gene])) if kind < 71 else 0


@numba.njit(cache=True, nogil=True)
def anneal_at_price(
    state: WalkState, lower: np.ndarray, upper: np.ndarray, coefficients: np.ndarray, scratch: adders.Scratch,
    counts: np.ndarray, table: np.ndarray, price: float, moves: int, greedy: float, alpha: float, spread: float,
    cold: float, warm: float, seed: np.ndarray, result: np.ndarray,
) -> None:  # fmt: skip
    """Anneal *state* by *moves* moves at *price*, the shares of rows that a mm² is worth.

    The last *greedy* share of the moves takes none that is worse. Temperature: *cold* rows or *warm* mm² at the price,
    whichever is more. A row's loss: *alpha* where it is wrong, and 1 − *alpha* times the ramp over margins of ±R, R =
    *spread* times their mean at the start; 0: wrong or right alone. *result* (2) gets mm² and the number of moves kept.
    """
    layout, head, rows = state.layout, state.head, max(1, state.labels.size)
    candidate = state.genome.copy()
    area = _area(layout, head, candidate, coefficients, scratch, counts)
    unit, ramp, scale = np.int64(1), np.int64(0), 1.0 / rows
    if spread > 0 and alpha < 1:
        ramp = min(max(np.int64(1), np.int64(spread * mean_margin(state))), np.int64(MOST_RAMP))
        unit = np.int64(np.round(alpha / (1 - alpha) * 2 * ramp))
        scale = 1.0 / (unit + 2 * ramp) / rows
    loss = weigh(state, unit, ramp)
    kept = 0
    for move in range(moves):
        gone = propose(layout, head, candidate, lower, upper, seed)
        if gone < 0:
            candidate[:] = state.genome  # the move may have begun to change it
            continue
        heat = 0.0
        if move < moves * (1 - greedy):
            heat = max(cold / rows, warm * price) * table[_draw(seed, table.size)]
        room = scale * loss + heat
        limit = np.int64(min((room + price * min(area, SAVING + SAVING_A_BIT * gone)) / scale + 1, 4e18))
        new_loss = attempt(state, candidate, state.genome, False, limit, HASTE * (unit + 2 * ramp))
        new_area = area
        if new_loss >= 0:  # the loss is the cheaper of the two, and tells most bad moves
            new_area = _area(layout, head, candidate, coefficients, scratch, counts)
        if new_loss < 0 or scale * new_loss + price * (new_area - area) > room:
            candidate[:] = state.genome
            continue
        keep(state, candidate)
        loss, area = new_loss, new_area
        kept += 1
    result[0], result[1] = area, kept
