"""Local moves on one masked network: what a change of a few genes does to the loss, without evaluating the rest.

The sums of every neuron are kept for all rows. A move recomputes what depends on the changed genes alone, block by
block, and stops as soon as its loss passes a limit: most moves of a search are bad, and cost a block or two.

The loss of a row is an integer: ``unit`` where its class is wrong, and with ``ramp`` R > 0 besides
min(max(R − margin, 0), 2R), where the margin is how far the label's sum is ahead of the best other one, exact argmax
assumed; a row is right where it is above 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from approxhw.numerics.simd.narrow import add32, and32, mul32, shr32, sub32

from .blocks import best_of, tree
from .masked_network import PackedRows

BLOCK = 512
NO_LIMIT = np.int64(np.iinfo(np.int64).max)
_LEAST = -(1 << 30)
MOST_RAMP = 1 << 22  # the ramps of a block's rows add up to less than 2^31


class WalkState(NamedTuple):
    """One genome with all that a move needs. Arrays are changed in place by :func:`attempt` and :func:`keep`."""

    layout: np.ndarray
    head: np.ndarray
    genome: np.ndarray
    """int32, G."""
    columns: np.ndarray
    """Codes, int32, features × rows."""
    labels: np.ndarray
    """int32, rows."""
    sums: np.ndarray
    """int32, neurons × rows, layer after layer."""
    acts: np.ndarray
    """int32, neurons × rows; those of the last layer are not used."""
    new_sums: np.ndarray
    new_acts: np.ndarray
    loss: np.ndarray
    """int64, 2 × blocks: the loss of every block before and after the move."""
    sums_moved: np.ndarray
    """Whether the last move touched the sums of a neuron; bool, neurons."""
    acts_moved: np.ndarray
    differs: np.ndarray
    """Whether any activation of the block at hand is another one than before; bool, neurons."""
    entries: np.ndarray
    """int64, entries × 6: layer, source (input or neuron), old mask, old weight, new mask, new weight. A scratch list."""
    first: np.ndarray
    """int64, neurons + 1: where the entries of a neuron start."""
    scratch: np.ndarray
    """int32, (2 · widest layer + 3) × BLOCK."""
    weights: np.ndarray
    """int64, 2: ``unit`` and R of the loss."""


def start_walk(
    layout: np.ndarray, head: np.ndarray, genome: np.ndarray, rows: PackedRows, unit: int = 1, ramp: int = 0
) -> WalkState:
    """Return the state of *genome* (int32, G) on *rows*; ``state.loss[0].sum()`` is its loss."""
    neurons, summands = int(layout[:, 1].sum()), int((layout[:, 0] * layout[:, 1]).sum())
    count = rows.columns.shape[1]
    widest = int(layout[:, 1].max())
    state = WalkState(
        layout,
        head,
        np.array(genome, dtype=np.int32),
        np.ascontiguousarray(rows.columns, dtype=np.int32),
        rows.labels,
        np.zeros((neurons, count), np.int32),
        np.zeros((neurons, count), np.int32),
        np.zeros((neurons, count), np.int32),
        np.zeros((neurons, count), np.int32),
        np.zeros((2, max(1, -(-count // BLOCK))), np.int64),
        np.zeros(neurons, np.bool_),
        np.zeros(neurons, np.bool_),
        np.zeros(neurons, np.bool_),
        np.zeros((summands, 6), np.int64),
        np.zeros(neurons + 1, np.int64),
        np.zeros((2 * widest + 3, BLOCK), np.int32),
        np.array([unit, ramp], np.int64),
    )
    attempt(state, state.genome, np.zeros_like(state.genome), True, NO_LIMIT)
    keep(state, state.genome)
    return state


@numba.njit(cache=True, nogil=True)
def _entries(state: WalkState, genome: np.ndarray, before: np.ndarray, everything: bool) -> None:
    """List what changes from *before* to *genome*: touched neurons and, of each, the summands that change."""
    layout, entries, first = state.layout, state.entries, state.first
    q, term, previous = 0, 0, 0
    for layer in range(layout.shape[0]):
        n, m = layout[layer, 0], layout[layer, 1]
        mask0, sign0, exponent0, bias0, shift = (
            layout[layer, 3], layout[layer, 4], layout[layer, 5], layout[layer, 6], layout[layer, 7]
        )  # fmt: skip
        reshaped = shift >= 0 and genome[shift] != before[shift]
        for o in range(m):
            first[q] = term
            for i in range(n):
                at = o * n + i
                old_mask, new_mask = np.int64(before[mask0 + at]), np.int64(genome[mask0 + at])
                if not (old_mask or new_mask):
                    continue
                old_weight = np.int64(1) << before[exponent0 + at]
                if before[sign0 + at]:
                    old_weight = -old_weight
                new_weight = np.int64(1) << genome[exponent0 + at]
                if genome[sign0 + at]:
                    new_weight = -new_weight
                moved = layer > 0 and state.acts_moved[previous + i]
                if moved or old_mask != new_mask or old_weight != new_weight:
                    entries[term, 0], entries[term, 1] = layer, i if layer == 0 else previous + i
                    entries[term, 2], entries[term, 3] = old_mask, old_weight
                    entries[term, 4], entries[term, 5] = new_mask, new_weight
                    term += 1
            state.sums_moved[q] = everything or term > first[q] or genome[bias0 + o] != before[bias0 + o]
            state.acts_moved[q] = shift >= 0 and (state.sums_moved[q] or reshaped)
            q += 1
        previous = q - m
    first[q] = term


@numba.njit(cache=True, nogil=True)
def _move_sum(
    old: np.ndarray, new: np.ndarray, mask: int, weight: int, new_mask: int, new_weight: int, total: np.ndarray
) -> None:
    """Replace the summand of *old* by that of *new* in *total*."""
    m0, w0, m1, w1 = np.int32(mask), np.int32(weight), np.int32(new_mask), np.int32(new_weight)
    for r in range(total.size):
        change = sub32(mul32(and32(new[r], m1), w1), mul32(and32(old[r], m0), w0))
        total[r] = add32(total[r], change)


@numba.njit(cache=True, nogil=True)
def _activate(total: np.ndarray, shift: np.int32, top: int, before: np.ndarray, y: np.ndarray) -> bool:
    """QReLU; return whether any value is another than *before*."""
    s, highest, zero, seen = np.int32(min(shift, 31)), np.int32(top), np.int32(0), np.int32(0)
    for r in range(total.size):
        value = shr32(total[r], s)
        value = value if value > zero else zero
        value = value if value < highest else highest
        y[r] = value
        seen |= value ^ before[r]
    return seen != 0


@numba.njit(cache=True, nogil=True)
def _margin(total: np.ndarray, number: int, labels: np.ndarray, own: np.ndarray, other: np.ndarray) -> None:
    """Take neuron *number* into *own*, the sum of the label, and *other*, the best of the others less 1 behind the label."""
    index, least = np.int32(number), np.int32(_LEAST)
    for r in range(total.size):
        mine = labels[r] == index
        behind = np.int32(1) if index > labels[r] else np.int32(0)
        value = least if mine else sub32(total[r], behind)
        other[r] = value if value > other[r] else other[r]
        own[r] = total[r] if mine else own[r]


@numba.njit(cache=True, nogil=True)
def _ramp(own: np.ndarray, other: np.ndarray, unit: int, ramp: int) -> np.int64:
    """Return Σ min(max(R − margin, 0), 2R), and *unit* besides for every margin that is not above 0 (none where unit is 0)."""
    total, wrong, zero, one = np.int32(0), np.int32(0), np.int32(0), np.int32(1)
    half, most = np.int32(ramp), np.int32(2 * ramp)
    for r in range(own.size):
        margin = sub32(own[r], other[r])
        value = sub32(half, margin)
        value = value if value > zero else zero
        total = add32(total, value if value < most else most)
        wrong = add32(wrong, one if margin <= zero else zero)
    return np.int64(total) + unit * np.int64(wrong)


@numba.njit(cache=True, nogil=True)
def block_loss(state: WalkState, genome: np.ndarray, at: int, count: int) -> np.int64:
    """Return the loss of the rows of a block, sums of touched neurons taken from the new ones."""
    layout, head, scratch = state.layout, state.head, state.scratch
    m = layout[-1, 1]
    q0 = state.sums.shape[0] - m
    labels = state.labels[at : at + count]
    winner, own, other, best = scratch[0, :count], scratch[1, :count], scratch[2, :count], scratch[3, :count]
    unit, ramp = state.weights[0], state.weights[1]
    exact = head[0] == 1 or (genome[head[1] : head[1] + m - 1] == (np.int64(1) << head[2]) - 1).all()
    if ramp:
        own[:] = np.int32(0)
        other[:] = np.int32(_LEAST if head[0] == 0 else 0)
    for o in range(m):
        q = q0 + o
        total = state.new_sums[q, at : at + count] if state.sums_moved[q] else state.sums[q, at : at + count]
        if ramp and head[0] == 1:
            for r in range(count):
                own[r] = total[r] if labels[r] == 1 else sub32(np.int32(1), total[r])
        elif ramp:
            _margin(total, o, labels, own, other)
        if not exact:
            scratch[3 + o, :count] = total
        elif ramp == 0 and head[0] == 1:
            for r in range(count):
                winner[r] = total[r] > 0
        elif ramp == 0 and o:
            best_of(total, o, best, winner)
        elif ramp == 0:
            best[:] = total
            winner[:] = np.int32(0)
    if exact and ramp:  # a row is right where its margin is above 0
        return _ramp(own, other, unit, ramp)
    if not exact:
        tree(m, genome[head[1] :], np.int64(1) << (head[2] - 1), scratch[3 : 3 + m], scratch[3 + m :], count)
        winner[:] = scratch[3 + m, :count]
    wrong = np.int64(0)
    for r in range(count):
        wrong += winner[r] != labels[r]
    return unit * wrong + (_ramp(own, other, np.int64(0), ramp) if ramp else np.int64(0))


@numba.njit(cache=True, nogil=True)
def attempt(
    state: WalkState,
    genome: np.ndarray,
    before: np.ndarray,
    everything: bool,
    limit: int | np.int64,
    haste: float = 0.0,
) -> int | np.int64:
    """Return the loss of *genome*, which differs from the state's (*before*) in a few genes; −1 once it passes *limit*.

    The state stays that of *before* until :func:`keep`. With *everything*, it is built anew, from no summand at all. With
    *haste* above 0, a move is given up, on a guess, where after b blocks its loss has risen by more than *haste* · √b plus
    the part of what the limit leaves that falls to them.
    """
    layout, head = state.layout, state.head
    _entries(state, genome, before, everything)
    first, entries, rows = state.first, state.entries, state.columns.shape[1]
    base = layout[-1, 1]
    rematched = everything
    if head[1] >= 0:
        for c in range(base - 1):
            rematched = rematched or genome[head[1] + c] != before[head[1] + c]
    loss, gone, blocks = np.int64(0), np.int64(0), state.loss.shape[1]
    room = 0.0
    if haste > 0:
        room = max(0.0, float(limit - state.loss[0].sum())) / blocks
    for block in range(blocks):
        at = block * BLOCK
        count = min(BLOCK, rows - at)
        moved, q = rematched, 0
        for layer in range(layout.shape[0]):
            bias0, shift = layout[layer, 6], layout[layer, 7]
            for o in range(layout[layer, 1]):
                if state.sums_moved[q]:
                    total, old = state.new_sums[q, at : at + count], state.sums[q, at : at + count]
                    delta = np.int32(genome[bias0 + o] - (0 if everything else before[bias0 + o]))
                    for r in range(count):
                        total[r] = add32(old[r], delta)
                    other = delta != 0
                    for t in range(first[q], first[q + 1]):
                        source = entries[t, 1]
                        same = entries[t, 2] == entries[t, 4] and entries[t, 3] == entries[t, 5]
                        if same and not state.differs[source]:  # only its source could have changed, but not here
                            continue
                        if layer == 0:
                            x = y = state.columns[source, at : at + count]
                        else:
                            x = state.acts[source, at : at + count]
                            y = state.new_acts[source, at : at + count] if state.acts_moved[source] else x
                        _move_sum(x, y, entries[t, 2], entries[t, 3], entries[t, 4], entries[t, 5], total)
                        other = True
                    moved = moved or (other and shift < 0)
                if state.acts_moved[q]:
                    total = (state.new_sums if state.sums_moved[q] else state.sums)[q, at : at + count]
                    state.differs[q] = _activate(
                        total, genome[shift], (1 << layout[layer, 8]) - 1,
                        state.acts[q, at : at + count], state.new_acts[q, at : at + count],
                    )  # fmt: skip
                q += 1
        if moved:
            state.loss[1, block] = block_loss(state, genome, at, count)
        else:
            state.loss[1, block] = state.loss[0, block]
        loss += state.loss[1, block]
        gone += state.loss[0, block]
        if loss > limit or (haste > 0 and loss - gone > room * (block + 1) + haste * np.sqrt(block + 1.0)):
            return np.int64(-1)
    return loss


@numba.njit(cache=True, nogil=True)
def keep(state: WalkState, genome: np.ndarray) -> None:
    """Make the last move, which :func:`attempt` did not give up, the state."""
    for q in range(state.sums.shape[0]):
        if state.sums_moved[q]:
            state.sums[q, :] = state.new_sums[q]
        if state.acts_moved[q]:
            state.acts[q, :] = state.new_acts[q]
    state.loss[0, :] = state.loss[1]
    state.genome[:] = genome


@numba.njit(cache=True, nogil=True)
def next_fit(
    state: WalkState, candidate: np.ndarray, genes: np.ndarray, values: np.ndarray, begin: int, limit: int | np.int64
) -> tuple[int, int | np.int64]:
    """Try moves *begin*, *begin* + 1, … and return the number of the first whose loss is within *limit*, and the loss.

    A move sets the genes ``genes[c]`` (−1: none) to ``values[c]``. *candidate* holds the state's genome on entry, and the
    genome of that move on return; :func:`keep` takes it over. Returns the number of moves, and −1, where none fits.
    """
    for c in range(begin, genes.shape[0]):
        for k in range(genes.shape[1]):
            if genes[c, k] >= 0:
                candidate[genes[c, k]] = values[c, k]
        loss = attempt(state, candidate, state.genome, False, limit)
        if loss >= 0:
            return c, loss
        for k in range(genes.shape[1]):
            if genes[c, k] >= 0:
                candidate[genes[c, k]] = state.genome[genes[c, k]]
    return genes.shape[0], np.int64(-1)
