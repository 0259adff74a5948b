"""Small boosted trees: few leaves each, that add whole numbers of a few bits to the sums of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from approxhw.common.errors import OptionError, Problem
from approxhw.ir.kinds import Forest

from .columns import CodeColumns, columns_of
from .priced import checked_labels
from .prices import TreePrices, split_prices

HELD = 1.0
"""What is added to the curvature of a leaf, so that few rows do not make great steps."""

MOST_STEPS = 20
"""Times that leaves are gone through in the end."""


@dataclass(frozen=True)
class BoostedTrees:
    """Options of boosted trees."""

    rounds: int = field(default=8, metadata={"help": "trees, 1 to 256"})
    leaves: int = field(default=2, metadata={"help": "leaves of a tree, 2 to 64"})
    weight_bits: int = field(default=3, metadata={"help": "of what a leaf adds, with its sign, 2 to 8"})
    price: float = field(
        default=0.0, metadata={"help": "share of all that can be won that a mm² of new comparator must win"}
    )
    rate: float = field(default=0.6, metadata={"help": "share of a step that is taken"})
    least: int = field(default=3, metadata={"help": "rows that go either way, at least"})
    bits: int = field(default=4, metadata={"help": "of a code"})

    def __post_init__(self) -> None:
        """Refuse options out of reach."""
        found = [
            Problem(name, f"{getattr(self, name)} is not in {low}…{high}")
            for name, low, high in (("rounds", 1, 256), ("leaves", 2, 64), ("weight_bits", 2, 8), ("least", 1, 1 << 30))
            if not low <= getattr(self, name) <= high
        ]
        if not 0 <= self.price <= 1e6:
            found.append(Problem("price", f"{self.price:g} is not in 0…1e+06"))
        if not 0 < self.rate <= 1:
            found.append(Problem("rate", f"{self.rate:g} is not above 0 and at most 1"))
        if found:
            raise OptionError("boosted trees", found)


@dataclass(eq=False)
class OpenPrices:
    """What every split costs now, and would once its column is used."""

    now: np.ndarray
    further: np.ndarray

    def take(self, split: int, columns: CodeColumns) -> None:
        """Note that there is *split*."""
        of = int(np.searchsorted(columns.first, split, side="right")) - 1
        start, end = int(columns.first[of]), int(columns.first[of + 1])
        if self.now[split] > 0:
            self.now[start:end] = np.minimum(self.now[start:end], self.further[start:end])
        self.now[split] = 0.0


def boosted_trees(
    codes: np.ndarray,
    labels: np.ndarray,
    classes: int,
    options: BoostedTrees,
    seed: int = 0,
    prices: TreePrices | None = None,
) -> Forest:
    """Return ``options.rounds`` trees whose leaves add whole numbers; nothing in them is random, whatever the *seed*.

    Of two classes, the first has a sum of 0. Leaves are steps of Newton's on the cross-entropy, rounded together, and then
    moved by one where fewer training rows are wrong.
    """
    return boosted_sizes(codes, labels, classes, options, [options.rounds], prices)[0]


def boosted_sizes(
    codes: np.ndarray,
    labels: np.ndarray,
    classes: int,
    options: BoostedTrees,
    rounds: Sequence[int],
    prices: TreePrices | None = None,
) -> list[Forest]:
    """Return the first trees of one growth, so many as each of *rounds* says; else as :func:`boosted_trees`."""
    labels = checked_labels(codes, labels, classes)
    columns = columns_of(np.asarray(codes), options.bits)
    cost = open_prices(columns, prices)
    base, trees, steps, owner = prior_score(labels, classes), [], [], []
    score = np.repeat(base[None], len(labels), axis=0)
    for _ in range(max(rounds, default=0)):
        slope, bend = steepness(labels, score)
        splits, leaf, values = step_tree(columns, slope, bend, options, cost)
        if not splits:
            break
        score += values[leaf]
        trees.append(splits)
        steps.append(values)
        owner.append(leaf)
    return [
        _whole(columns, labels, classes, options, base, trees[:size], steps[:size], owner[:size]) for size in rounds
    ]


def open_prices(columns: CodeColumns, prices: TreePrices | None) -> OpenPrices:
    """Return what every split costs where none is there yet."""
    fresh, further = split_prices(columns, prices or TreePrices())
    return OpenPrices(fresh.copy(), further)


def prior_score(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return what each class begins with (float64, C): the logarithm of its share, of two classes less that of the first."""
    counts = np.bincount(labels, minlength=classes) + 0.5
    base = np.log(counts / counts.sum())
    return base - base[0] if classes == 2 else base


def steepness(labels: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return slope and curvature of the cross-entropy for every row and class (float64, R × C)."""
    share = np.exp(score - score.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    slope = -share
    slope[np.arange(len(labels)), labels] += 1
    bend = share * (1 - share)
    if score.shape[1] == 2:
        slope[:, 0] = bend[:, 0] = 0
    return slope, bend


def step_tree(
    columns: CodeColumns, slope: np.ndarray, bend: np.ndarray, options: BoostedTrees, cost: OpenPrices
) -> tuple[list[tuple[int, int]], np.ndarray, np.ndarray]:
    """Grow a tree towards the *slope* of every row (float64, R × S) of curvature *bend*, and note its comparators in *cost*.

    Return its splits (leaf, split), the leaf of each row, and what each leaf adds: a step of Newton's (float64, L × S).
    """
    from .kernels.boosting import step_gains

    leaf = np.zeros(len(slope), dtype=np.int64)
    splits: list[tuple[int, int]] = []
    gains: dict[int, np.ndarray] = {}
    fresh = [0]
    while len(splits) + 1 < options.leaves:
        for number in fresh:
            gains[number] = np.empty(columns.splits)
            rows = np.flatnonzero(leaf == number)
            step_gains(columns.values, columns.first, rows, slope, bend, HELD, options.least, gains[number])
        best, where, what = 0.0, -1, -1
        for number, gain in gains.items():
            worth = np.where(gain > 1e-9, gain / len(slope) - options.price * cost.now, -np.inf)
            split = int(worth.argmax()) if len(worth) else 0
            if len(worth) and np.isfinite(worth[split]) and (where < 0 or worth[split] > best):
                best, where, what = float(worth[split]), number, split
        if where < 0:
            break
        column = int(np.searchsorted(columns.first, what, side="right")) - 1
        goes = (leaf == where) & (columns.values[column] > what - columns.first[column])
        splits.append((where, what))
        leaf[goes] = len(splits)
        cost.take(what, columns)
        fresh = [where, len(splits)]
    count = len(splits) + 1
    pull, weight = np.zeros((count, slope.shape[1])), np.zeros((count, slope.shape[1]))
    np.add.at(pull, leaf, slope)
    np.add.at(weight, leaf, bend)
    return splits, leaf, options.rate * pull / (weight + HELD)


def _whole(
    columns: CodeColumns,
    labels: np.ndarray,
    classes: int,
    options: BoostedTrees,
    base: np.ndarray,
    trees: list[list[tuple[int, int]]],
    steps: list[np.ndarray],
    owner: list[np.ndarray],
) -> Forest:
    """Return the trees with whole numbers in their leaves, moved where that makes fewer errors."""
    from .kernels.moving import move_numbers

    top = (1 << (options.weight_bits - 1)) - 1
    greatest = max((float(np.abs(step).max()) for step in steps), default=1.0) or 1.0
    scale = top / greatest
    leaves = [np.rint(step * scale).astype(np.int64) for step in steps]
    start = np.rint((base - base.max() * (classes > 2)) * scale).astype(np.int64)
    if classes == 2:
        start[0] = 0
    total = np.repeat(start[None], len(labels), axis=0)
    for values, leaf in zip(leaves, owner, strict=True):
        total += values[leaf]
    first, moves = 1 if classes == 2 else 0, np.array([-1, 1])
    rows = [[np.flatnonzero(leaf == number) for number in range(len(v))] for v, leaf in zip(leaves, owner, strict=True)]
    for _ in range(MOST_STEPS):
        saved = 0
        for values, groups in zip(leaves, rows, strict=True):
            for own, mine in zip(values, groups, strict=True):
                saved += move_numbers(labels, total, mine, own, first, moves, top)
        if not saved:
            break
    return numbered_trees(columns, trees, leaves, start)


def numbered_trees(
    columns: CodeColumns, trees: list[list[tuple[int, int]]], leaves: list[np.ndarray], start: np.ndarray
) -> Forest:
    """Return *trees*, splits (leaf, split) each, in the numbering of the IR, with *leaves* (L × S each) and the base *start*."""
    roots: list[int] = []
    high: list[int] = []
    low: list[int] = []
    of: list[int] = []
    before = 0
    for splits in trees:
        first = len(of)
        roots.append(first)
        slot: dict[int, tuple[list[int], int]] = {}
        for n, (where, split) in enumerate(splits):
            if where in slot:
                way, node = slot[where]
                way[node] = first + n
            high.append(~(before + n + 1))
            low.append(~(before + where))
            slot[n + 1], slot[where] = (high, first + n), (low, first + n)
            of.append(split)
        before += len(splits) + 1
    splits_of = np.array(of, dtype=np.int64)
    column = columns.of_split()[splits_of] if len(of) else np.zeros(0, dtype=np.int64)
    return Forest(
        np.array(roots, dtype=np.int64),
        columns.feature[column],
        columns.thresholds()[splits_of] if len(of) else np.zeros(0, dtype=np.int64),
        np.array(high, dtype=np.int64),
        np.array(low, dtype=np.int64),
        np.concatenate(leaves) if leaves else np.zeros((0, len(start)), dtype=np.int64),
        start,
        columns.other[column],
        columns.sign[column],
    )
