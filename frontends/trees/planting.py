"""A table of an ONNX tree ensemble → a Forest: nodes behind their parents, what never decides left out, cycles refused."""

from __future__ import annotations

import numpy as np

from approxhw.frontends.tensors.values import Refusal
from approxhw.ir.kinds import Forest
from approxhw.ir.kinds.forest import MOST_DEPTH, forest_depth

from .tables import REMEDY_EXPORT, REMEDY_SMALLER, TreeTable


def planted(table: TreeTable, outputs: int, base: np.ndarray, share: float = 1.0) -> Forest:
    """Return the trees of *table* as a Forest of reals that makes *outputs* sums from *base* on.

    Leaves are multiplied by *share* (of an average). Thresholds of infinity decide nothing: no finite reading is beyond. Raises
    :class:`Refusal` where what a root leads to is no tree.
    """
    high, low = table.high.tolist(), table.low.tolist()
    always = [_always(mode, value) for mode, value in zip(table.mode, table.threshold.tolist())]
    order: list[int] = []  # tests, then leaves, in the order in which they are met
    leaves: list[int] = []
    number: dict[int, int] = {}
    seen: set[int] = set()
    roots: list[int] = []
    links: list[tuple[int, int, int]] = []

    for root in table.roots.tolist():
        waiting = [(root, -1, 0)]
        while waiting:
            place, parent, side = waiting.pop()
            while place >= 0 and always[place] is not None:
                _once(place, seen)
                place = high[place] if always[place] else low[place]
            _once(place, seen)
            if place < 0:
                made = ~len(leaves)
                leaves.append(~place)
            else:
                made = number[place] = len(order)
                order.append(place)
                waiting += [(low[place], made, 1), (high[place], made, 0)]
            if parent < 0:
                roots.append(made)
            else:
                links.append((parent, side, made))
    ways = np.zeros((2, len(order)), dtype=np.int64)
    for parent, side, made in links:
        ways[side, parent] = made
    sums = np.zeros((table.leaves, outputs))
    np.add.at(sums, (table.leaf, table.target), table.weight)
    chosen = np.array(order, dtype=np.int64)
    forest = Forest(
        roots=np.array(roots, dtype=np.int64),
        feature=table.feature[chosen],
        threshold=table.threshold[chosen],
        high=ways[0],
        low=ways[1],
        leaves=sums[np.array(leaves, dtype=np.int64)] * share,
        base=np.asarray(base, dtype=np.float64),
        mode=tuple(table.mode[place] for place in order),
        missing=table.missing[chosen],
    )
    if forest_depth(forest, MOST_DEPTH) > MOST_DEPTH:
        raise Refusal(f"has a tree that is deeper than {MOST_DEPTH} tests", REMEDY_SMALLER)
    return forest


def _once(place: int, seen: set[int]) -> None:
    if place in seen:
        what = f"node {place}" if place >= 0 else f"leaf {~place}"
        raise Refusal(f"reaches its {what} twice: a cycle, or branches that meet", REMEDY_EXPORT, invalid=True)
    seen.add(place)


def _always(mode: str, threshold: float) -> bool | None:
    """Return whether every finite reading passes the test, or none does; None where it depends on the reading."""
    if not np.isinf(threshold):
        return None
    return {"leq": threshold > 0, "lt": threshold > 0, "gte": threshold < 0, "gt": threshold < 0, "eq": False}.get(
        mode, True
    )


def always_scored(table: TreeTable, outputs: int) -> np.ndarray:
    """Return for each sum (bool) whether some tree adds to it whatever leaf it ends in: onnxruntime passes over other sums."""
    named = np.zeros((table.leaves, outputs), dtype=bool)
    named[table.leaf, table.target] = True
    found = np.zeros(outputs, dtype=bool)
    for leaves in tree_leaves(table):
        found |= named[leaves].all(axis=0)
    return found


def tree_leaves(table: TreeTable) -> list[list[int]]:
    """Return the leaves of every tree; what is met twice is met once here."""
    high, low = table.high.tolist(), table.low.tolist()
    found = []
    for root in table.roots.tolist():
        waiting, seen, leaves = [root], {root}, []
        while waiting:
            place = waiting.pop()
            if place < 0:
                leaves.append(~place)
                continue
            for child in (high[place], low[place]):
                if child not in seen:
                    seen.add(child)
                    waiting.append(child)
        found.append(leaves)
    return found
