"""What leaves of trees become as integers: common denominators, fixed point, and what no decision sees taken away."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np

from approxhw.ir.kinds import Forest
from approxhw.ir.rewriting import code_array

MOST_DENOMINATOR = 1 << 10
"""Greatest denominator of one leaf that is looked for."""

MOST_COMMON = 1 << 16
"""Greatest common denominator that is taken: beyond it fixed point needs no more bits."""

GUARD_BITS = 4
"""More fractional bits than rows ask for: one that nobody saw may be nearer to a tie than they are."""

BLIND_BITS = 18
"""More fractional bits than the least where there are no rows."""

NEIGHBOURS, MOST_NEIGHBOURS, MOVED = 32, 1 << 16, 0.2
"""Rows like each training row that are decided as by the model, too; all of them at most; the share of codes that is one off."""

_TIE = 2.0**-20
"""Share of the largest sum: nearer to a tie than this, the order in which float32 adds decides."""

MOST_FRACTION = 40
"""Most fractional bits that are tried."""


def tree_numbers(op: Forest) -> np.ndarray:
    """Return the tree of every leaf."""
    tree, of_leaf = np.zeros(len(op.feature), dtype=np.int64), np.zeros(len(op.leaves), dtype=np.int64)
    for number, root in enumerate(op.roots.tolist()):
        if root < 0:
            of_leaf[~root] = number
        else:
            tree[root] = number
    for node, ways in enumerate(zip(op.high.tolist(), op.low.tolist())):  # children stand behind their parents
        for child in ways:
            if child < 0:
                of_leaf[~child] = tree[node]
            else:
                tree[child] = tree[node]
    return of_leaf


def common_denominator(values: np.ndarray) -> int | None:
    """Return the least D for which all *values* are whole multiples of 1/D, as float32 rounds them; None beyond limits."""
    found, doubt = 1, float(np.abs(values).max()) * 2.0**-22
    for value in np.unique(np.abs(values)).tolist():
        nearest = Fraction(value).limit_denominator(MOST_DENOMINATOR)
        if abs(float(nearest) - value) > doubt:
            return None
        found = math.lcm(found, nearest.denominator)
        if found > MOST_COMMON:
            return None
    return found


def in_steps_of(op: Forest, scale: Fraction) -> Forest:
    """Return *op* with leaves and base as whole multiples of *scale*, to the nearest, halves to even."""
    factor = float(1 / scale)
    exact = max(np.abs(op.leaves).max(), np.abs(op.base).max()) * factor >= 2.0**53

    def codes(array: np.ndarray) -> np.ndarray:
        if exact:
            return code_array([round(Fraction(v) / scale) for v in array.reshape(-1).tolist()]).reshape(array.shape)
        return np.rint(array * factor).astype(np.int64)

    return _on_codes(op, codes(op.leaves), codes(op.base))


def _on_codes(op: Forest, leaves: np.ndarray, base: np.ndarray) -> Forest:
    return Forest(op.roots, op.feature, op.threshold.astype(np.int64), op.high, op.low, leaves, base)


def fixed_points(op: Forest, bits: int | None) -> Iterator[Fraction]:
    """Yield scales, coarser ones first: with *bits* the one at which the largest leaf just fits them, else ever finer ones."""
    largest = float(np.abs(op.leaves).max()) or 1.0
    top = math.frexp(largest)[1]  # below 2^top
    if bits is not None:
        yield Fraction(2) ** (top - bits)
        return
    for fraction in range(2, MOST_FRACTION):
        yield Fraction(2) ** (top - fraction)


def neighbours(op: Forest, codes: np.ndarray) -> np.ndarray:
    """Return rows like those of *codes* (float64, rows × elements), as nobody has seen them: some codes are one off."""
    copies = min(NEIGHBOURS, MOST_NEIGHBOURS // max(1, len(codes)))
    generator = np.random.default_rng(0)
    most = np.zeros(codes.shape[1])
    np.maximum.at(most, op.feature, op.threshold)
    made = np.tile(codes, (copies, 1))
    moves = generator.choice([-1.0, 1.0], made.shape) * (generator.random(made.shape) < MOVED)
    return np.clip(made + moves, 0, np.maximum(most, codes.max(axis=0, initial=0)))


def clear(sums: np.ndarray, bound: float | None) -> np.ndarray:
    """Return which *sums* (rows × classes) are decided by more than how float32 rounds: by an argmax, or by a *bound*."""
    best = np.sort(sums, axis=1)
    with np.errstate(invalid="ignore"):  # of two infinite sums nothing decides
        margin = best[:, -1] - best[:, -2] if bound is None else np.abs(sums - bound).min(axis=1)
    return np.asarray(margin > _TIE * np.abs(sums).max(initial=1e-300))


def lowered(op: Forest, classes: bool) -> Forest:
    """Return *op* with what all leaves of a tree have in common in the base; no sum changes, and no leaf is below 0.

    *classes*: an argmax reads it, so that what all sums have in common is taken away: leaf by leaf where that leaves more
    zeros, and from the base.
    """
    leaves, base = op.leaves.copy(), op.base.copy()
    if classes:
        least = leaves.min(axis=1, keepdims=True)
        fewer = ((leaves - least) != 0).sum(axis=1) < (leaves != 0).sum(axis=1)
        leaves = np.where(fewer[:, None], leaves - least, leaves)
    tree = tree_numbers(op)
    order = np.argsort(tree, kind="stable")
    starts = np.flatnonzero(np.append(True, tree[order][1:] != tree[order][:-1]))
    common = np.minimum.reduceat(leaves[order], starts, axis=0)
    leaves = leaves - common[tree]
    base = base + common.sum(axis=0)
    if classes:
        base = base - base.min()
    return replace(op, leaves=leaves, base=base)


def voting(op: Forest, winners: np.ndarray, classes: int) -> Forest:
    """Return the one tree *op* with a vote for the class of each leaf (*winners*): one of *classes* sums is 1, the others 0."""
    votes = np.zeros((len(op.leaves), classes), dtype=np.int64)
    votes[np.arange(len(winners)), winners] = 1
    return _on_codes(op, votes, np.zeros(classes, dtype=np.int64))


def votes_round_up(op: Forest, threshold: float) -> bool:
    """Whether float32 makes more than *threshold* of as many equal votes as make it exactly: sums are rounded.

    False where leaves are no equal votes.
    """
    weights = np.unique(op.leaves[op.leaves != 0])
    count = (threshold - float(op.base[0])) / float(weights[0]) if len(weights) == 1 else 0.0
    if op.classes != 1 or not 0.5 < count <= len(op.roots):
        return False
    total = np.float32(0)
    for _ in range(round(count)):
        total += np.float32(weights[0])
    return bool(total + np.float32(op.base[0]) > threshold)


def without_equal_ways(op: Forest) -> Forest:
    """Return *op* without tests whose two ways end in leaves that are alike, from the leaves up."""
    rows = [tuple(row) for row in op.leaves.tolist()]
    high, low = op.high.tolist(), op.low.tolist()
    gone: dict[int, int] = {}  # a test that decides nothing → the leaf that stands for it
    for node in range(len(high) - 1, -1, -1):
        high[node], low[node] = gone.get(high[node], high[node]), gone.get(low[node], low[node])
        if high[node] < 0 and low[node] < 0 and rows[~high[node]] == rows[~low[node]]:
            gone[node] = high[node]
    if not gone:
        return op
    kept = [node for node in range(len(high)) if node not in gone]
    number = {node: place for place, node in enumerate(kept)}
    leaves: list[int] = []

    def target(place: int) -> int:
        place = gone.get(place, place)
        if place >= 0:
            return number[place]
        leaves.append(~place)
        return -len(leaves)

    roots = [target(root) for root in op.roots.tolist()]
    ways = [(target(high[node]), target(low[node])) for node in kept]
    above, below = np.array(ways, dtype=np.int64).reshape(-1, 2).T
    return Forest(
        np.array(roots, dtype=np.int64),
        op.feature[kept],
        op.threshold[kept],
        above,
        below,
        op.leaves[leaves],
        op.base,
        op.other[kept],
        op.sign[kept],
    )
