"""What comparators and selects of a tree cost in printed cells: prices for the learners, and an area model of whole trees.

All in mm² of EGFET cells at 1.0 V. A comparator with a constant is a chain of AND and OR gates over the bits above the
constant's lowest 1; one on a sum or difference adds the carries of two codes. ``docs/trees.md`` tells how near synthesis is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .columns import Columns
from .tree import CodeTrees

GATE, INVERTER, SELECT, STEP, ADDER = 0.33, 0.22842, 0.972, 1.48036, 2.73764
"""An AND or OR among others (half of them NAND and NOR), an inverter, a multiplexer, a bit of a comparator of two numbers,
a full adder: ``approxhw/networks/area_model.py`` has the cells that these are of."""

CARRY = 1.632
"""A full adder of which only the carry is read."""

NODE = 0.45
"""About what a node of a tree costs beside its comparator: between a gate (one way ends in a leaf) and a multiplexer."""

CONVERTER = 0.08
"""The comparator of a flash converter that makes one bit of a thermometer code (mm², without the reference ladder)."""


@dataclass(frozen=True)
class Prices:
    """Prices of new comparators in mm²; what no table has is priced by the gates that it takes.

    ``constants``: (bits, constant) → price of x ≥ constant; ``sums``: (bits, constant) → of x + y ≥ constant; ``differences``:
    of x − y ≥ constant.
    """

    constants: Mapping[tuple[int, int], float] = field(default_factory=dict)
    sums: Mapping[tuple[int, int], float] = field(default_factory=dict)
    differences: Mapping[tuple[int, int], float] = field(default_factory=dict)
    node: float = NODE
    """Of a node beside its comparator."""

    def constant(self, bits: int, constant: int) -> float:
        """Return the price of x ≥ *constant* for codes of *bits* bits."""
        known = self.constants.get((bits, constant))
        return constant_price(bits, constant) if known is None else known

    def pair(self, bits: int, sign: int, constant: int) -> float:
        """Return the price of x + y (sign 1) or x − y (−1) ≥ *constant* where nothing is there yet."""
        known = (self.sums if sign > 0 else self.differences).get((bits, constant))
        return pair_price(bits, sign, constant) if known is None else known


def thermometer_prices(bits: int, converter: float = CONVERTER) -> Prices:
    """Return prices where every threshold of an input is an input bit of its own: its comparator in the converter, no gate."""
    return Prices({(bits, constant): converter for constant in range(1, 1 << bits)})


def gates_of_constant(bits: int, constant: int) -> int:
    """Return how many gates x ≥ *constant* takes: one for each bit above the lowest 1 of the constant."""
    if not 0 < constant < 1 << bits:
        return 0
    return bits - 1 - ((constant & -constant).bit_length() - 1)


def constant_price(bits: int, constant: int) -> float:
    """Return about what x ≥ *constant* costs in mm² for codes of *bits* bits."""
    return GATE * gates_of_constant(bits, constant)


def pair_price(bits: int, sign: int, constant: int) -> float:
    """Return about what x + sign · y ≥ *constant* costs in mm²: the carries of both, the constant's gates, inverters of y."""
    reach = constant if sign > 0 else constant + (1 << bits) - 1  # x − y is x + ~y, less 2^bits − 1
    if reach <= 0 or reach > 2 * ((1 << bits) - 1):
        return 0.0
    zeros = (reach & -reach).bit_length() - 1
    low = min(zeros, bits - 1)  # bits below the constant's lowest 1 give a carry alone
    sums = CARRY * max(0, low - 1) + (GATE if low else 0.0) + ADDER * (bits - low) * (zeros < bits)
    return sums + constant_price(bits + 1, reach) + (INVERTER * bits if sign < 0 else 0.0)


def split_prices(columns: Columns, prices: Prices) -> tuple[np.ndarray, np.ndarray]:
    """Return the price of each split of *columns* (float64, mm²): by itself, and where the tree has another of its column."""
    fresh, further = np.empty(columns.splits), np.empty(columns.splits)
    known: dict[tuple[int, int, int], tuple[float, float]] = {}
    of, constants = columns.of_split().tolist(), columns.thresholds().tolist()
    for split, (k, constant) in enumerate(zip(of, constants, strict=True)):
        sign = int(columns.sign[k]) if columns.other[k] >= 0 else 0
        key = (sign, constant, 0)
        if key not in known:
            if sign == 0:
                known[key] = (prices.constant(columns.bits, constant),) * 2
            else:
                alone = prices.pair(columns.bits, sign, constant)
                reach = constant if sign > 0 else constant + (1 << columns.bits) - 1
                # another one shares what adds, but for carries that it needs otherwise
                known[key] = (alone, min(alone, constant_price(columns.bits + 1, reach) + 0.3 * alone))
        fresh[split], further[split] = known[key]
    return fresh, further


def tree_area(trees: CodeTrees, bits: int, prices: Prices | None = None) -> float:
    """Return about what *trees* cost in mm² on codes of *bits* bits: comparators once each, selects, votes.

    One tree answers with the bits of its class; several add their leaves up, and the greatest sum is looked for.
    """
    prices = prices or Prices()
    total = 0.0
    columns: dict[tuple[int, int, int], list[int]] = {}
    for feature, other, sign, threshold in trees.comparators():
        columns.setdefault((feature, other, sign), []).append(threshold)
    for (_, other, sign), thresholds in columns.items():
        if other < 0:
            total += sum(prices.constant(bits, threshold) for threshold in thresholds)
            continue
        alone = sorted((prices.pair(bits, sign, threshold) for threshold in thresholds), reverse=True)
        total += alone[0] + sum(0.3 * price + GATE for price in alone[1:])
    if len(trees.roots) == 1:
        classes = (trees.base + trees.leaves).argmax(axis=1)
        used = np.unique(classes, return_inverse=True)[0]
        return total + _selects(trees, classes[:, None], max(1, int(used.max()).bit_length()))
    return total + _votes(trees)


def _votes(trees: CodeTrees) -> float:
    """Return the area of the leaves of several trees, of the adders of their sums, and of the search for the greatest."""
    total, leaf_tree = 0.0, _trees_of_leaves(trees)
    widths = []
    for c in range(trees.classes):
        span, terms, width = 0, 0, 0
        for t in range(len(trees.roots)):
            values = trees.leaves[leaf_tree == t, c]
            reach = int(np.ptp(values)) if len(values) else 0
            if reach:
                if terms:
                    total += ADDER * width
                terms += 1
                span += reach
                width = max(1, span.bit_length())
        widths.append(width)
    shifted = trees.leaves.copy()
    for t in range(len(trees.roots)):
        mine = leaf_tree == t
        if mine.any():
            shifted[mine] -= shifted[mine].min(axis=0)
    total += _selects(trees, shifted, max(1, int(shifted.max(initial=1)).bit_length()))
    return total + (STEP + SELECT) * sum(widths[1:])


def _trees_of_leaves(trees: CodeTrees) -> np.ndarray:
    """Return the tree that each leaf is of (int64, L)."""
    owner = np.full(trees.nodes, -1, dtype=np.int64)
    leaf_owner = np.zeros(len(trees.leaves), dtype=np.int64)
    for t, root in enumerate(trees.roots.tolist()):
        if root >= 0:
            owner[root] = t
        else:
            leaf_owner[~root] = t
    for node in range(trees.nodes):
        for child in (int(trees.high[node]), int(trees.low[node])):
            if child >= 0:
                owner[child] = owner[node]
            else:
                leaf_owner[~child] = owner[node]
    return leaf_owner


def _selects(trees: CodeTrees, values: np.ndarray, bits: int) -> float:
    """Return the area of the selects that give *values* (int64 ≥ 0, L × V) of *bits* bits, equal ones counted once."""
    total = 0.0
    made: dict[tuple[object, ...], int] = {}
    compared = list(
        zip(*(column.tolist() for column in (trees.feature, trees.other, trees.sign, trees.threshold)), strict=True)
    )
    for column in values.T.tolist():
        for bit in range(bits):
            leaf = [value >> bit & 1 for value in column]
            signal = [0] * trees.nodes
            for node in range(trees.nodes - 1, -1, -1):
                high, low = (
                    leaf[~child] if child < 0 else signal[child]
                    for child in (int(trees.high[node]), int(trees.low[node]))
                )
                if high == low:
                    signal[node] = high
                    continue
                key = (compared[node], high, low)
                if key not in made:
                    made[key] = len(made) + 2  # 0 and 1 are the constants
                    constants = (high < 2) + (low < 2)
                    total += SELECT if not constants else GATE if constants == 1 else INVERTER * (high < low)
                signal[node] = made[key]
    return total
