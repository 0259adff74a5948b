"""Trees on integer codes, Forests of the IR: what they compare and answer, and a tree while it is being learnt."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from approxhw.ir.kinds import Forest, code_sums, leaves_reached


def comparators_of(trees: Forest) -> list[tuple[int, int, int, int]]:
    """Return what *trees* compare, each once, in order: (feature, other, sign, threshold)."""
    columns = (trees.feature, trees.other, trees.sign, trees.threshold)
    return sorted(set(zip(*(column.tolist() for column in columns), strict=True)))


def sums_of_trees(trees: Forest, codes: np.ndarray) -> np.ndarray:
    """Return the sums of each of *codes* (integers, R × F): int64, R × C."""
    return code_sums(trees, leaves_reached(trees, np.asarray(codes, dtype=np.int64)))


def answers_of_trees(trees: Forest, codes: np.ndarray) -> np.ndarray:
    """Return the class of each of *codes* (R × F), the first of equal sums: int64, R."""
    return np.asarray(sums_of_trees(trees, codes).argmax(axis=1), dtype=np.int64)


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
