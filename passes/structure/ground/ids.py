"""Names for the places along an axis, and which of them must stay or go together: ids, ties, stops."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

Axis = np.ndarray | None
"""The id (int64) of every place along an axis; None: an axis that nothing is taken from, such as rows, tokens, pixels."""


@dataclass
class Ids:
    """Ids as a Graph is walked: places that are tied go together, places that are stopped stay."""

    count: int = 0
    ties: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    stops: list[tuple[np.ndarray, str]] = field(default_factory=list)

    def fresh(self, size: int) -> np.ndarray:
        """Return the ids of an axis of *size* new places."""
        made = np.arange(self.count, self.count + size, dtype=np.int64)
        self.count += size
        return made

    def tie(self, one: Axis, other: Axis, why: str) -> Axis:
        """Tie two axes place by place and return their ids; where one of them is not followed, *why* stops the other."""
        if one is None or other is None:
            followed = other if one is None else one
            self.stop(followed, why)
            return followed
        if one.shape != other.shape:
            self.stop(one, why)
            self.stop(other, why)
            return None
        self.ties.append((one, other))
        return one

    def together(self, places: np.ndarray) -> np.ndarray:
        """Tie the places in every row of *places* (rows × places); return one id a row."""
        first = places[:, 0]
        for column in range(1, places.shape[1]):
            self.ties.append((first, places[:, column]))
        return first

    def stop(self, axis: Axis, why: str) -> None:
        """Keep every place of *axis*, which *why* says; nothing where it is not followed anyway."""
        if axis is not None and axis.size:
            self.stops.append((axis.reshape(-1), why))

    def settled(self) -> tuple[np.ndarray, dict[int, str]]:
        """Return the smallest id that each id is tied to, and why the stopped among those smallest ones stay."""
        roots = np.arange(self.count, dtype=np.int64)
        if self.ties:
            left, right = (np.concatenate([pair[side] for pair in self.ties]) for side in (0, 1))
            while True:
                low = np.minimum(roots[left], roots[right])
                before = roots.copy()
                np.minimum.at(roots, left, low)
                np.minimum.at(roots, right, low)
                roots = roots[roots]
                if np.array_equal(before, roots):
                    break
        why: dict[int, str] = {}
        for ids, reason in self.stops:
            for root in np.unique(roots[ids]).tolist():
                why.setdefault(root, reason)
        return roots, why
