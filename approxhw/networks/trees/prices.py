"""What comparators and selects of a tree cost in printed cells: prices for the learners, and an area model of whole trees.

All in mm² of EGFET cells at 1.0 V. A comparator with a constant is a chain of AND and OR gates over the bits above the
constant's lowest 1; one on a sum or difference adds two codes. What is common for codes of four bits was synthesised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from approxhw.ir.kinds import Forest

from .columns import CodeColumns
from .tree import comparators_of

GATE, INVERTER, STEP, ADDER = 0.36, 0.22842, 1.48036, 2.73764
"""An AND or OR of a comparator (half of them NAND and NOR), an inverter, a bit of a comparator of two numbers, a full adder:
``approxhw/networks/area_model.py`` has the cells that these are of."""

SELECT, JOINT = 0.75, 0.26
"""A multiplexer of a tree, three NANDs as synthesis merges them, and one of whose ways is a constant."""

_BITS = 4
_CONSTANTS = (
    *(1.0469, 0.8758, 0.8952, 0.5635, 1.2877, 0.7241, 1.1576, 0.0),
    *(1.3093, 0.997, 1.1576, 0.4335, 1.0469, 0.867, 0.8952),
)
"""x ≥ 1 … 15 for codes of four bits, each synthesised alone by the reference recipe."""

_SUMS = (
    *(
        2.6573,
        2.5056,
        3.481,
        3.4798,
        4.0482,
        3.9306,
        3.6703,
        3.5187,
        4.9898,
        4.8382,
        4.8812,
        4.4907,
        5.4537,
        5.6267,
        4.4477,
    ),
    *(
        5.6517,
        5.7266,
        5.8017,
        5.0236,
        4.872,
        5.2681,
        5.3859,
        3.952,
        3.8003,
        4.2214,
        4.0698,
        3.187,
        3.0353,
        2.3756,
        2.2239,
    ),
)
"""x + y ≥ 1 … 30 for codes of four bits, likewise."""

_DIFFERENCES = (
    *(
        2.8108,
        3.1036,
        3.3281,
        3.4154,
        4.6462,
        4.4946,
        4.5091,
        4.3575,
        5.8162,
        5.9486,
        5.4063,
        5.3295,
        6.2033,
        6.2497,
        5.0048,
    ),
    *(
        6.1625,
        6.0517,
        6.1817,
        5.1438,
        5.2187,
        6.2801,
        5.6522,
        4.7375,
        4.6268,
        4.9854,
        4.9854,
        3.4582,
        3.4049,
        3.1821,
        2.9625,
    ),
)
"""x + ~y ≥ 1 … 30, which is x − y ≥ −14 … 15."""

SHARED = 0.3
"""Share of a pair's price that another comparator on the same pair costs, besides its constant's gates: carries are shared."""

NODE = 0.45
"""About what a node of a tree costs beside its comparator: between a gate (one way ends in a leaf) and a multiplexer."""

CONVERTER = 0.08
"""The comparator of a flash converter that makes one bit of a thermometer code (mm², without the reference ladder)."""


@dataclass(frozen=True)
class TreePrices:
    """TreePrices of new comparators in mm²; what no table has is priced by the gates that it takes.

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


def thermometer_prices(bits: int, converter: float = CONVERTER) -> TreePrices:
    """Return prices where every threshold of an input is an input bit of its own: its comparator in the converter, no gate."""
    return TreePrices({(bits, constant): converter for constant in range(1, 1 << bits)})


def gates_of_constant(bits: int, constant: int) -> int:
    """Return how many gates x ≥ *constant* takes: one for each bit above the lowest 1 of the constant."""
    if not 0 < constant < 1 << bits:
        return 0
    return bits - 1 - ((constant & -constant).bit_length() - 1)


def constant_price(bits: int, constant: int) -> float:
    """Return about what x ≥ *constant* costs in mm² for codes of *bits* bits: as synthesised for four, else by its gates."""
    if bits == _BITS and 0 < constant < 1 << bits:
        return _CONSTANTS[constant - 1]
    return GATE * gates_of_constant(bits, constant)


def pair_price(bits: int, sign: int, constant: int) -> float:
    """Return about what x + sign · y ≥ *constant* costs in mm², with nothing to share.

    As synthesised for four bits; else in proportion to the bits, at the same share of the range.
    """
    top = (1 << bits) - 1
    reach = constant if sign > 0 else constant + top  # x − y is x + ~y, less 2^bits − 1
    if not 0 < reach <= 2 * top:
        return 0.0
    table = _SUMS if sign > 0 else _DIFFERENCES
    return bits / _BITS * table[min(len(table), max(1, round(reach * (len(table) + 1) / (2 * top + 1)))) - 1]


def split_prices(columns: CodeColumns, prices: TreePrices) -> tuple[np.ndarray, np.ndarray]:
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
                known[key] = (alone, min(alone, constant_price(columns.bits + 1, reach) + SHARED * alone))
        fresh[split], further[split] = known[key]
    return fresh, further


def tree_area(trees: Forest, bits: int, prices: TreePrices | None = None) -> float:
    """Return about what *trees* cost in mm² on codes of *bits* bits: comparators once each, selects, votes.

    One tree answers with the bits of its class; several add their leaves up, and the greatest sum is looked for.
    """
    if len(trees.roots) != 1:
        return sums_area(trees, bits, prices) + (STEP + SELECT) * sum(_votes(trees)[1][1:])
    classes = (trees.base + trees.leaves).argmax(axis=1)
    used = np.unique(classes, return_inverse=True)[0]
    selects = _selects(trees, classes[:, None], max(1, int(used.max()).bit_length()))
    return _comparators(trees, bits, prices or TreePrices()) + selects


def sums_area(trees: Forest, bits: int, prices: TreePrices | None = None) -> float:
    """Return about what *trees* cost in mm² where their sums are all that is asked for: comparators, leaves and adders."""
    return _comparators(trees, bits, prices or TreePrices()) + _votes(trees)[0]


def _comparators(trees: Forest, bits: int, prices: TreePrices) -> float:
    """Return the area of what *trees* compare, each once."""
    total = 0.0
    columns: dict[tuple[int, int, int], list[int]] = {}
    for feature, other, sign, threshold in comparators_of(trees):
        columns.setdefault((feature, other, sign), []).append(threshold)
    for (_, other, sign), thresholds in columns.items():
        if other < 0:
            total += sum(prices.constant(bits, threshold) for threshold in thresholds)
            continue
        alone = sorted((prices.pair(bits, sign, threshold) for threshold in thresholds), reverse=True)
        total += alone[0] + sum(SHARED * price + GATE for price in alone[1:])
    return total


def _votes(trees: Forest) -> tuple[float, list[int]]:
    """Return the area of the leaves of several trees and of the adders of their sums, and the widths of these."""
    total, leaf_tree = 0.0, _trees_of_leaves(trees)
    widths = []
    for c in range(trees.classes):
        reaches = [
            int(np.ptp(trees.leaves[leaf_tree == t, c])) for t in range(len(trees.roots)) if (leaf_tree == t).any()
        ]
        widths.append(max(1, sum(reaches).bit_length()))
        # a full adder makes two bits of three
        total += ADDER * max(0, sum(reach.bit_length() for reach in reaches) - widths[-1])
    shifted = trees.leaves.copy()
    for t in range(len(trees.roots)):
        mine = leaf_tree == t
        if mine.any():
            shifted[mine] -= shifted[mine].min(axis=0)
    return total + _selects(trees, shifted, max(1, int(shifted.max(initial=1)).bit_length())), widths


def _trees_of_leaves(trees: Forest) -> np.ndarray:
    """Return the tree that each leaf is of (int64, L)."""
    owner = np.full(len(trees.feature), -1, dtype=np.int64)
    leaf_owner = np.zeros(len(trees.leaves), dtype=np.int64)
    for t, root in enumerate(trees.roots.tolist()):
        if root >= 0:
            owner[root] = t
        else:
            leaf_owner[~root] = t
    for node in range(len(trees.feature)):
        for child in (int(trees.high[node]), int(trees.low[node])):
            if child >= 0:
                owner[child] = owner[node]
            else:
                leaf_owner[~child] = owner[node]
    return leaf_owner


def _selects(trees: Forest, values: np.ndarray, bits: int) -> float:
    """Return the area of the selects that give *values* (int64 ≥ 0, L × V) of *bits* bits, equal ones counted once."""
    total = 0.0
    made: dict[tuple[object, ...], int] = {}
    compared = list(
        zip(*(column.tolist() for column in (trees.feature, trees.other, trees.sign, trees.threshold)), strict=True)
    )
    for column in values.T.tolist():
        for bit in range(bits):
            leaf = [value >> bit & 1 for value in column]
            signal = [0] * len(trees.feature)
            for node in range(len(trees.feature) - 1, -1, -1):
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
                    total += SELECT if not constants else JOINT if constants == 1 else INVERTER * (high < low)
                signal[node] = made[key]
    return total
