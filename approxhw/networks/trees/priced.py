"""Priced CART: trees grown best split first, gain weighed against the area of a new comparator, and polished afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from approxhw.common.errors import OptionError, Problem, shown
from approxhw.ir.kinds import Forest

from .columns import MOST_PAIRED, CodeColumns, code_trees, columns_of
from .prices import TreePrices, split_prices, tree_area
from .tree import Sketch, merged_leaves, numbered, one_leaf

CRITERIA = ("gini", "entropy")
SPLITS = ("single", "pairs")
MOST_LEAVES, MOST_STARTS = 4096, 1000


@dataclass(frozen=True)
class PricedTree:
    """Options of a priced tree."""

    leaves: int = field(default=16, metadata={"help": "leaves at most"})
    price: float = field(
        default=0.0,
        metadata={"help": "impurity (a share of all rows) that a split must win for each mm² of new comparator"},
    )
    criterion: str = field(default="gini", metadata={"help": "impurity that splits take away", "choices": CRITERIA})
    splits: str = field(
        default="single",
        metadata={"help": "x ≥ c alone, or sums and differences of two features, too", "choices": SPLITS},
    )
    least: int = field(default=3, metadata={"help": "rows that go either way, at least"})
    polish: bool = field(default=True, metadata={"help": "move thresholds to cheaper and shared ones afterwards"})
    exchange: float = field(
        default=1.0, metadata={"help": "rows that may go wrong for a mm², where polishing weighs both"}
    )
    starts: int = field(
        default=1, metadata={"help": "trees grown, of which the least is taken: errors + exchange · area"}
    )
    jitter: float = field(default=0.3, metadata={"help": "relative noise of the gains of every start but the first"})
    bits: int = field(default=4, metadata={"help": "of a code"})

    def __post_init__(self) -> None:
        """Refuse options out of reach."""
        found = []
        if not 1 <= self.leaves <= MOST_LEAVES:
            found.append(Problem("leaves", f"{self.leaves} is not in 1…{MOST_LEAVES}"))
        for name, most in (("price", 1e6), ("exchange", 1e6), ("jitter", 1.0)):
            if not 0 <= getattr(self, name) <= most:
                found.append(Problem(name, f"{getattr(self, name):g} is not in 0…{most:g}"))
        if self.least < 1:
            found.append(Problem("least", f"{self.least} is not 1 or more"))
        if not 1 <= self.starts <= MOST_STARTS:
            found.append(Problem("starts", f"{self.starts} is not in 1…{MOST_STARTS}"))
        for name, known in (("criterion", CRITERIA), ("splits", SPLITS)):
            if getattr(self, name) not in known:
                why = f"there is no {shown(repr(getattr(self, name)), 40)}"
                found.append(Problem(name, why, f"choose {' or '.join(known)}"))
        if found:
            raise OptionError("priced tree", found)


SWEEPS = 4
"""Times that polishing goes through a tree at most."""


@dataclass(frozen=True, eq=False)
class Growth:
    """How a tree grew, split by split: the tree of n leaves is the first n − 1 splits of it."""

    columns: CodeColumns
    labels: np.ndarray
    classes: int
    where: np.ndarray
    """int64: the leaf that each split parts; rows that reach it become leaf n + 1, after n splits before it."""
    splits: np.ndarray
    """int64: the split, as :class:`CodeColumns` counts them."""

    @property
    def leaves(self) -> int:
        """How many the whole tree has."""
        return len(self.splits) + 1


def priced_tree(
    codes: np.ndarray,
    labels: np.ndarray,
    classes: int,
    options: PricedTree,
    seed: int = 0,
    prices: TreePrices | None = None,
) -> Forest:
    """Return the tree of *options* on *codes* (integers, R × F) and *labels* (int64, R, in 0…classes − 1).

    The same *seed* gives the same tree. Raises :class:`OptionError` for rows that cannot be learnt from.
    """
    return priced_trees(codes, labels, classes, options, [options.leaves], seed, prices)[0]


def priced_trees(
    codes: np.ndarray,
    labels: np.ndarray,
    classes: int,
    options: PricedTree,
    sizes: Sequence[int],
    seed: int = 0,
    prices: TreePrices | None = None,
) -> list[Forest]:
    """Return one tree for each of *sizes* (leaves at most), all cut from one growth; else as :func:`priced_tree`."""
    labels = checked_labels(codes, labels, classes)
    columns = tree_columns(codes, labels, classes, options.bits, options.splits)
    prices = prices or TreePrices()
    most = max(sizes, default=1)
    growths = [
        grow_tree(columns, labels, classes, options, most, (seed, start), prices) for start in range(options.starts)
    ]
    used = columns.kept(np.concatenate([columns.of_split()[growth.splits] for growth in growths]))
    known = split_prices(used.columns, prices)
    best: list[tuple[float, Forest] | None] = [None] * len(sizes)
    for growth in growths:
        for place, sketch in enumerate(sketches_of(growth, sizes)):
            sketch = used.moved(sketch)
            if options.polish:
                sketch = polished(
                    sketch, used.columns, labels, classes, prices, options.exchange, options.least, known=known
                )
            sketch = merged_leaves(sketch)
            tree = code_trees(sketch, used.columns, classes)
            cost = 0.0
            if len(growths) > 1:
                weight = max(options.exchange, 1e-6)
                cost = errors_of_sketch(sketch, used.columns, labels) + weight * tree_area(tree, options.bits, prices)
            before = best[place]
            if before is None or cost < before[0]:
                best[place] = (cost, tree)
    return [each[1] for each in best if each is not None]


def errors_of_sketch(sketch: Sketch, columns: CodeColumns, labels: np.ndarray) -> int:
    """Return how many of all rows *sketch* gets wrong."""
    from .kernels.polishing import rows_misled

    arrays = (sketch.column, sketch.cut, sketch.high, sketch.low, sketch.labels)
    return int(rows_misled(columns.values, *arrays, sketch.root, labels))


def checked_labels(codes: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Return *labels* as int64, or raise :class:`OptionError` with all that is wrong with the rows."""
    labels, found = np.asarray(labels), []
    if len(labels) != len(codes):
        found.append(Problem("labels", f"{len(labels)} of them for {len(codes)} rows"))
    if not len(labels):
        found.append(Problem("codes", "there are no rows to learn from", "give training rows"))
    elif labels.ndim != 1 or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= classes:
        found.append(Problem("labels", f"they are not all whole numbers in 0…{classes - 1}"))
    if found:
        raise OptionError("trees", found)
    return labels.astype(np.int64)


def tree_columns(codes: np.ndarray, labels: np.ndarray, classes: int, bits: int, splits: str) -> CodeColumns:
    """Return the columns that trees of *splits* look at; of many features, those are paired that part the classes best."""
    single = columns_of(codes, bits)
    if splits == "single" or codes.shape[1] < 2:
        return single
    features = np.arange(codes.shape[1])
    if len(features) > MOST_PAIRED:
        gain = np.maximum.reduceat(root_gains(single, labels, classes), single.first[:-1])
        features = np.sort(np.argsort(-gain, kind="stable")[:MOST_PAIRED])
    return columns_of(codes, bits, features)


def root_gains(
    columns: CodeColumns, labels: np.ndarray, classes: int, criterion: str = "gini", least: int = 1
) -> np.ndarray:
    """Return what every split of all rows takes of the impurity, in rows (float32); −1 where it is not allowed."""
    from .kernels.growing import gains

    found = np.empty(columns.splits, dtype=np.float32)
    rows = np.arange(len(labels))
    gains(columns.values, columns.first, rows, labels, classes, _logs(criterion, len(labels)), least, found)
    return found


def _logs(criterion: str, rows: int) -> np.ndarray:
    if criterion == "gini":
        return np.zeros(0)
    counts = np.arange(rows + 1, dtype=np.float64)
    return counts * np.log(np.maximum(counts, 1))


def grow_tree(
    columns: CodeColumns,
    labels: np.ndarray,
    classes: int,
    options: PricedTree,
    leaves: int,
    seed: tuple[int, int],
    prices: TreePrices,
) -> Growth:
    """Grow a tree of at most *leaves* leaves. *seed*: and the number of the start, of which 0 is without noise."""
    from .kernels.growing import grow

    leaves = min(leaves, len(labels))
    fresh, further = split_prices(columns, prices)
    noise = np.ones(columns.splits)
    if options.jitter and seed[1]:
        noise += options.jitter * np.random.default_rng(seed).standard_normal(columns.splits)
    where, what = np.zeros(leaves, dtype=np.int64), np.zeros(leaves, dtype=np.int64)
    count = grow(
        columns.values, columns.first, columns.of_split(), labels, classes, _logs(options.criterion, len(labels)),
        options.least, fresh, further, float(options.price), np.maximum(noise, 0.01), leaves, where, what,
    ) if columns.splits else 0  # fmt: skip
    return Growth(columns, labels, classes, where[:count], what[:count])


def sketches_of(growth: Growth, sizes: Sequence[int]) -> list[Sketch]:
    """Return the tree of each of *sizes* leaves that *growth* went through, or the whole of it where it ended before."""
    from .kernels.growing import replay

    columns = growth.columns
    column = columns.of_split()[growth.splits]
    cut = growth.splits - columns.first[column] + 1
    leaf = np.zeros(len(growth.labels), dtype=np.int64)
    found: dict[int, Sketch] = {}
    stops = sorted({min(max(1, size), growth.leaves) for size in sizes})
    for before, size in pairwise([1, *stops]):
        replay(columns.values, column, cut, growth.where, before - 1, size - 1, leaf)
        counts = np.zeros((size, growth.classes), dtype=np.int64)
        np.add.at(counts, (leaf, growth.labels), 1)
        found[size] = _sketch(column[: size - 1], cut[: size - 1], growth.where, counts.argmax(axis=1))
    return [found[min(max(1, size), growth.leaves)] for size in sizes]


def _sketch(column: np.ndarray, cut: np.ndarray, where: np.ndarray, labels: np.ndarray) -> Sketch:
    """Return the tree of these splits: split n becomes node n, which is where leaf where[n] was."""
    if not len(column):
        return one_leaf(int(labels[0]))
    high, low = np.empty(len(column), dtype=np.int64), np.empty(len(column), dtype=np.int64)
    slot: dict[int, tuple[int, bool]] = {}
    for n in range(len(column)):
        leaf = int(where[n])
        if leaf in slot:
            node, is_high = slot[leaf]
            (high if is_high else low)[node] = n
        high[n], low[n] = ~(n + 1), ~leaf
        slot[n + 1], slot[leaf] = (n, True), (n, False)
    return numbered(Sketch(column, cut, high, low, labels.astype(np.int64), 0))


def polished(
    sketch: Sketch,
    columns: CodeColumns,
    labels: np.ndarray,
    classes: int,
    prices: TreePrices,
    exchange: float = 1.0,
    least: int = 3,
    rise: int = 0,
    known: tuple[np.ndarray, np.ndarray] | None = None,
) -> Sketch:
    """Return *sketch* with the cheapest splits that its rows allow, and without nodes that win nothing.

    No node gets more of its rows wrong than before (*rise*: so many more); of what is left, errors + *exchange* · area.
    *known*: the prices of the splits, as :func:`split_prices` has them.
    """
    from .kernels.polishing import polish

    column, cut, high, low, named = (
        np.array(array) for array in (sketch.column, sketch.cut, sketch.high, sketch.low, sketch.labels)
    )
    fresh, further = known or split_prices(columns, prices)
    root = polish(
        columns.values, columns.first, labels, classes, fresh, further, prices.node, exchange + 1e-6, least, rise, SWEEPS,
        column, cut, high, low, named, sketch.root,
    )  # fmt: skip
    return numbered(Sketch(column, cut, high, low, named, int(root)))
