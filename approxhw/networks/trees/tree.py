"""Trees on integer codes: arrays in the numbering of the IR, what they answer, and how a learner's own nodes become them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, eq=False)
class CodeTrees:
    """T trees of N nodes and L leaves on rows of integer codes; what they add up to are C sums, and a class is the greatest.

    A node looks at x[feature] + sign · x[other] (``other`` −1: at x[feature] alone) and goes ``high`` where that is at least
    ``threshold``, else ``low``: to a node of that number, or to leaf ~number. Children stand behind their parents.
    """

    roots: np.ndarray
    """int64, T: the node at which each tree begins, ~leaf where it is a leaf alone."""
    feature: np.ndarray
    threshold: np.ndarray
    high: np.ndarray
    low: np.ndarray
    leaves: np.ndarray
    """int64, L × C: what a leaf adds to each sum."""
    base: np.ndarray
    """int64, C: what the sums begin with."""
    other: np.ndarray
    sign: np.ndarray

    @property
    def nodes(self) -> int:
        """How many nodes compare."""
        return len(self.feature)

    @property
    def classes(self) -> int:
        """How many sums there are."""
        return int(self.leaves.shape[1])

    def comparators(self) -> list[tuple[int, int, int, int]]:
        """Return what is compared, each once, in order: (feature, other, sign, threshold)."""
        columns = (self.feature, self.other, self.sign, self.threshold)
        return sorted(set(zip(*(column.tolist() for column in columns), strict=True)))

    def sums(self, codes: np.ndarray) -> np.ndarray:
        """Return the sums of each of *codes* (integers, R × F): int64, R × C."""
        codes = np.asarray(codes, dtype=np.int64)
        total = np.repeat(self.base[None], len(codes), axis=0)
        for root in self.roots.tolist():
            total += self.leaves[self._leaf(codes, root)]
        return total

    def _leaf(self, codes: np.ndarray, root: int) -> np.ndarray:
        """Return the leaf that each row ends in, level by level."""
        at = np.full(len(codes), root, dtype=np.int64)
        rows = np.flatnonzero(at >= 0)
        while len(rows):
            node = at[rows]
            seen = codes[rows, self.feature[node]]
            second = codes[rows, np.maximum(self.other[node], 0)] * self.sign[node]
            seen = seen + np.where(self.other[node] >= 0, second, 0)
            at[rows] = np.where(seen >= self.threshold[node], self.high[node], self.low[node])
            rows = rows[at[rows] >= 0]
        return ~at

    def answers(self, codes: np.ndarray) -> np.ndarray:
        """Return the class of each of *codes* (R × F), the first of equal sums: int64, R."""
        return np.asarray(self.sums(codes).argmax(axis=1), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Sketch:
    """One tree while it is being learnt: ``column`` and ``cut`` of N nodes, and the class of each leaf.

    A node goes ``high`` where its column (of a :class:`CodeColumns`) is at least ``cut``; nodes are numbered as in the IR.
    """

    column: np.ndarray
    cut: np.ndarray
    high: np.ndarray
    low: np.ndarray
    labels: np.ndarray
    """int64, L."""
    root: int


def numbered(sketch: Sketch) -> Sketch:
    """Return *sketch* with what its root reaches alone, parents before children, the high way first; leaves likewise."""
    kept: list[int] = []
    labels: list[int] = []
    high, low, named = sketch.high.tolist(), sketch.low.tolist(), sketch.labels.tolist()
    if sketch.root < 0:
        none = np.zeros(0, dtype=np.int64)
        return Sketch(none, none, none, none, np.array([named[~sketch.root]], dtype=np.int64), -1)
    ways: dict[int, list[int]] = {}
    stack = [(sketch.root, -1, 0)]
    while stack:
        node, parent, side = stack.pop()
        if node < 0:
            labels.append(named[~node])
            ways[parent][side] = ~(len(labels) - 1)
            continue
        number = len(kept)
        kept.append(node)
        ways[number] = [0, 0]
        if parent >= 0:
            ways[parent][side] = number
        stack += [(low[node], number, 1), (high[node], number, 0)]
    order = np.array(kept, dtype=np.int64)
    both = np.array([ways[number] for number in range(len(kept))], dtype=np.int64)
    return Sketch(sketch.column[order], sketch.cut[order], both[:, 0], both[:, 1], np.array(labels, dtype=np.int64), 0)


def merged_leaves(sketch: Sketch) -> Sketch:
    """Return *sketch* with a leaf in the place of every node both of whose ways end in the same class."""
    high, low = sketch.high.tolist(), sketch.low.tolist()
    labels = sketch.labels.tolist()
    becomes: dict[int, int] = {}
    for node in range(len(high) - 1, -1, -1):  # children before parents
        high[node], low[node] = becomes.get(high[node], high[node]), becomes.get(low[node], low[node])
        if high[node] < 0 and low[node] < 0 and labels[~high[node]] == labels[~low[node]]:
            becomes[node] = high[node]
    root = becomes.get(sketch.root, sketch.root)
    return numbered(replace(sketch, high=np.array(high, dtype=np.int64), low=np.array(low, dtype=np.int64), root=root))


def one_leaf(label: int) -> Sketch:
    """Return the tree that always answers *label*."""
    none = np.zeros(0, dtype=np.int64)
    return Sketch(none, none, none, none, np.array([label], dtype=np.int64), -1)
