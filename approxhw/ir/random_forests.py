"""Seeded random Forests: for tests, and for random Graphs."""

from __future__ import annotations

import numpy as np

from .kinds import Forest
from .kinds.forest import BRANCHES


def random_forest(
    rng: np.random.Generator, low: np.ndarray, high: np.ndarray, classes: int, real: bool = False
) -> Forest:
    """Return a small Forest over elements whose codes, or values, lie between *low* and *high*: for tests.

    It has one to four trees, leaves that are trees, thresholds that never or always hold, and tests on two elements.
    """
    columns: dict[str, list[int]] = {
        name: [] for name in ("roots", "feature", "threshold", "high", "low", "other", "sign")
    }
    leaves = 0
    for _ in range(int(rng.integers(1, 5))):
        open_ends: list[tuple[str, int]] = [("roots", len(columns["roots"]))]
        columns["roots"].append(0)
        left = int(rng.integers(0, 8))
        while open_ends:
            name, place = open_ends.pop(int(rng.integers(len(open_ends))))
            if not left:
                columns[name][place], leaves = ~leaves, leaves + 1
                continue
            left -= 1
            node = columns[name][place] = len(columns["feature"])
            element, second = (int(v) for v in rng.integers(0, len(low), 2))
            pair = second != element and rng.random() < 0.2
            sign = int(rng.choice([-1, 1]))
            ends = [int(low[element]) - 1, int(high[element]) + 2]
            if pair:
                more = [sign * int(end[second]) for end in (low, high)]
                ends = [ends[0] + min(more), ends[1] + max(more)]
            row = (element, int(rng.integers(ends[0], ends[1])), 0, 0, second if pair else -1, sign if pair else 1)
            for column, value in zip(("feature", "threshold", "high", "low", "other", "sign"), row):
                columns[column].append(value)
            open_ends += [("high", node), ("low", node)]
    votes = rng.random() < 0.3
    values = np.eye(classes, dtype=np.int64)[rng.integers(0, classes, leaves)]
    values = values if votes else rng.integers(-20, 21, (leaves, classes))
    base = rng.integers(-9, 10, classes) * (rng.random() < 0.5)
    arrays = {name: np.array(column, dtype=np.int64) for name, column in columns.items()}
    roots, feature, high_ways, low_ways = (arrays[name] for name in ("roots", "feature", "high", "low"))
    codes = arrays["threshold"]
    ways = (roots, feature, codes, high_ways, low_ways)
    if not real:
        return Forest(*ways, values, base, arrays["other"], arrays["sign"])
    count = len(feature)
    mode = tuple(str(word) for word in rng.choice(BRANCHES, count))
    near = codes + rng.choice([0.0, 0.5, 0.1], count).astype(np.float32)
    single = near.astype(np.float32).astype(np.float64)
    missing = rng.random(count) < 0.3
    rest = (values / 8, base / 8, arrays["other"], arrays["sign"])
    return Forest(roots, feature, single, high_ways, low_ways, *rest, mode, missing)
