"""Optimal trees of up to eight leaves by branch and bound on the codes, in bounded time; whether it is proven is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from approxhw.common.errors import OptionError, Problem
from approxhw.ir.kinds import Forest

from .columns import CodeColumns, code_trees, columns_of
from .priced import PricedTree, checked_labels, errors_of_sketch, grow_tree, polished, root_gains, sketches_of
from .prices import TreePrices, split_prices
from .tree import Sketch, merged_leaves, numbered

MOST_OPTIMAL = 8
"""Leaves of an optimal tree at most."""

KEPT = 200_000
"""Sets of rows whose bounds are remembered at most."""

_SAME = 1e-9


@dataclass(frozen=True)
class OptimalTree:
    """Options of an optimal tree: the least of wrong training rows + price · rows · mm² of all its splits."""

    leaves: int = field(default=4, metadata={"help": "leaves at most, 1 to 8"})
    price: float = field(
        default=0.0, metadata={"help": "share of all rows that a mm² of comparators must win; none is shared"}
    )
    seconds: float = field(default=10.0, metadata={"help": "that the search may take"})
    bits: int = field(default=4, metadata={"help": "of a code"})

    def __post_init__(self) -> None:
        """Refuse options out of reach."""
        found = []
        if not 1 <= self.leaves <= MOST_OPTIMAL:
            found.append(Problem("leaves", f"{self.leaves} is not in 1…{MOST_OPTIMAL}"))
        if not 0 <= self.price <= 1e6:
            found.append(Problem("price", f"{self.price:g} is not in 0…1e+06"))
        if not 0 <= self.seconds <= 86_400:
            found.append(Problem("seconds", f"{self.seconds:g} is not in 0…86400"))
        if found:
            raise OptionError("optimal tree", found)


@dataclass(frozen=True, eq=False)
class ProvenTree:
    """The best tree that was found, its cost in rows, and whether none is better."""

    trees: Forest
    cost: float
    """Wrong training rows, and the prices of the splits in rows."""
    proven: bool


Branches = tuple["Branches", int, "Branches"] | int
"""(low way, split, high way), or the class of a leaf."""


def optimal_tree(
    codes: np.ndarray,
    labels: np.ndarray,
    classes: int,
    options: OptimalTree,
    seed: int = 0,
    prices: TreePrices | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> ProvenTree:
    """Return the best tree of at most ``options.leaves`` leaves on *codes* (R × F) and *labels* (R).

    A split costs the price of its comparator and node, whether others have it or not. Of equal ones a smaller one wins.
    What is found within the time does not depend on the *seed*, which is there as for every learner.
    """
    labels = checked_labels(codes, labels, classes)
    columns = columns_of(np.asarray(codes), options.bits)
    prices = prices or TreePrices()
    # a price for every leaf, far below that of a row, so that of equal trees the smaller one is found
    weight = options.price * len(labels)
    exact = weight * (split_prices(columns, prices)[0] + prices.node)
    search = _Search(columns, labels, classes, exact + 1e-4, clock() + options.seconds, clock)
    start = PricedTree(leaves=options.leaves, least=1, price=options.price, bits=options.bits)
    growth = grow_tree(columns, labels, classes, start, options.leaves, (0, 0), prices)
    best = min(
        (
            merged_leaves(polished(sketch, columns, labels, classes, prices, weight, least=1))
            for sketch in sketches_of(growth, list(range(1, options.leaves + 1)))
        ),
        key=search.price_of,
    )
    _, made = search.solve(np.arange(len(labels)), options.leaves, search.price_of(best))
    sketch = best if made is None else merged_leaves(_sketch_of(made, columns))
    split = columns.first[sketch.column] + sketch.cut - 1
    return ProvenTree(
        code_trees(sketch, columns, classes),
        errors_of_sketch(sketch, columns, labels) + float(exact[split].sum()),
        not search.late,
    )


@dataclass(eq=False)
class _Search:
    """The rows that are searched, what is known of sets of them, and whether the time was too short."""

    columns: CodeColumns
    labels: np.ndarray
    classes: int
    cost: np.ndarray
    """float64, splits: in rows."""
    deadline: float
    clock: Callable[[], float]
    late: bool = False

    def __post_init__(self) -> None:
        self._alike = np.unique(self.columns.values, axis=1, return_inverse=True)[1].reshape(-1)
        self._of = self.columns.of_split()
        self._known: dict[tuple[bytes, int], tuple[float, Branches | None]] = {}
        gain = root_gains(self.columns, self.labels, self.classes)
        self._order = np.argsort(-gain, kind="stable")

    def price_of(self, sketch: Sketch) -> float:
        """Return the cost of *sketch* on all rows."""
        return errors_of_sketch(sketch, self.columns, self.labels) + float(
            self.cost[self.columns.first[sketch.column] + sketch.cut - 1].sum()
        )

    def least(self, rows: np.ndarray) -> float:
        """Return the errors that no tree avoids: of rows that are alike all but the most frequent class."""
        pairs, counts = np.unique(self._alike[rows] * self.classes + self.labels[rows], return_counts=True)
        most = np.zeros(int(self._alike.max(initial=0)) + 1, dtype=np.int64)
        np.maximum.at(most, pairs // self.classes, counts)
        return float(len(rows) - most.sum())

    def solve(self, rows: np.ndarray, leaves: int, upper: float) -> tuple[float, Branches | None]:
        """Return the least cost of at most *leaves* leaves on *rows*, and its tree; a bound and None if not below *upper*."""
        if leaves <= 3:
            return self._small(rows, leaves, upper)
        key = (rows.tobytes(), leaves)
        if key in self._known:
            cost, made = self._known[key]
            if made is not None or cost >= upper - _SAME:
                return (cost, made) if made is None or cost < upper - _SAME else (cost, None)
        best, made = self._small(rows, 3, upper)
        best = min(best, upper) if made is not None else upper
        floor = self.least(rows)
        sides = _Sides(self, rows, leaves)
        for split in self._order.tolist():
            if floor + self.cost[split] >= best - _SAME:
                continue
            parts = sides.parts(split)
            if parts is None:
                continue
            for low_leaves in range(1, leaves):
                if self.clock() > self.deadline:
                    self.late = True
                    break
                found = sides.tried(split, parts, low_leaves, best)
                if found is not None:
                    best, made = found
            if self.late:
                break
        if not self.late and len(self._known) < KEPT:
            self._known[key] = (best, made)
        return best, made

    def _small(self, rows: np.ndarray, leaves: int, upper: float) -> tuple[float, Branches | None]:
        from .kernels.searching import best_three

        split = np.empty(3, dtype=np.int64)
        columns = self.columns
        cost = float(
            best_three(columns.values, columns.first, rows, self.labels, self.classes, self.cost, leaves, split)
        )
        if cost >= upper - _SAME:
            return cost, None
        return cost, self._branches(rows, split.tolist())

    def _branches(self, rows: np.ndarray, splits: list[int]) -> Branches:
        if splits[0] < 0:
            return int(np.bincount(self.labels[rows], minlength=self.classes).argmax())
        low, high = self.parted(rows, splits[0])
        return (self._branches(low, [splits[1], -1, -1]), splits[0], self._branches(high, [splits[2], -1, -1]))

    def parted(self, rows: np.ndarray, split: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the *rows* of the low and of the high way of *split*."""
        column = int(self._of[split])
        goes = self.columns.values[column, rows] > split - self.columns.first[column]
        return rows[~goes], rows[goes]


class _Sides:
    """What is known of both sides of every cut of some rows: a side of more rows costs no less, one of fewer no more."""

    def __init__(self, search: _Search, rows: np.ndarray, leaves: int) -> None:
        self.search, self.rows = search, rows
        splits = search.columns.splits
        self.bounds = np.zeros((2, leaves, splits))
        self.sizes = np.full(splits, -1, dtype=np.int64)
        for k in range(len(search.columns.feature)):
            start, end = search.columns.first[k], search.columns.first[k + 1]
            counts = np.bincount(search.columns.values[k, rows], minlength=end - start + 1)
            self.sizes[start:end] = np.cumsum(counts)[:-1]  # rows of the low way

    def parts(self, split: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the rows of both ways; None where they, or those of a cheaper cut that parts them alike, are all rows."""
        size = int(self.sizes[split])
        if size in (0, len(self.rows)):
            return None
        column = int(self.search._of[split])
        start, end = self.search.columns.first[column], self.search.columns.first[column + 1]
        alike = start + np.flatnonzero(self.sizes[start:end] == size)
        if int(alike[self.search.cost[alike].argmin()]) != split:
            return None
        return self.search.parted(self.rows, split)

    def tried(
        self, split: int, parts: tuple[np.ndarray, np.ndarray], low_leaves: int, best: float
    ) -> tuple[float, Branches] | None:
        """Return cost and tree with *split* at the root and so many leaves on the low way, where it beats *best*."""
        leaves = (low_leaves, self.bounds.shape[1] - low_leaves)
        room = best - self.search.cost[split]
        known = [float(self.bounds[side, leaves[side], split]) for side in (0, 1)]
        if sum(known) >= room - _SAME:
            return None
        trees: list[Branches] = []
        for side in sorted((0, 1), key=lambda side: leaves[side]):  # the quick one first
            cost, made = self.search.solve(parts[side], leaves[side], room - known[1 - side])
            known[side] = max(known[side], cost)
            if not self.search.late or leaves[side] <= 3:
                self._tell(side, leaves[side], split, cost)
            if made is None:
                return None
            trees = [*trees, made] if side else [made, *trees]
        total = sum(known) + float(self.search.cost[split])
        return (total, (trees[0], split, trees[1])) if total < best - _SAME else None

    def _tell(self, side: int, leaves: int, split: int, cost: float) -> None:
        """Note that this side costs *cost* at least with so many leaves: so does a larger one, and with fewer leaves."""
        column = int(self.search._of[split])
        start, end = int(self.search.columns.first[column]), int(self.search.columns.first[column + 1])
        more = np.maximum(0, (self.sizes[split] - self.sizes[start:end]) * (1 if side == 0 else -1))
        mine = self.bounds[side, : leaves + 1, start:end]
        np.maximum(mine, cost - more, out=mine)


def _sketch_of(made: Branches, columns: CodeColumns) -> Sketch:
    """Return the tree *made* with its nodes numbered."""
    column: list[int] = []
    cut: list[int] = []
    high: list[int] = []
    low: list[int] = []
    labels: list[int] = []
    of = columns.of_split()

    def place(part: Branches) -> int:
        if isinstance(part, int):
            labels.append(part)
            return ~(len(labels) - 1)
        number = len(column)
        k = int(of[part[1]])
        column.append(k)
        cut.append(part[1] - int(columns.first[k]) + 1)
        high.append(0)
        low.append(0)
        high[number], low[number] = place(part[2]), place(part[0])  # at most eight leaves deep
        return number

    root = place(made)
    a, b, c, d, e = (np.array(part, dtype=np.int64) for part in (column, cut, high, low, labels))
    return numbered(Sketch(a, b, c, d, e, root))
