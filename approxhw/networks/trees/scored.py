"""Trees that add whole numbers to one score, and a table of thresholds that names the class: for classes that have an order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from approxhw.ir.kinds import Forest

from .boosted import MOST_STEPS, BoostedTrees, numbered_trees, open_prices, step_tree
from .columns import columns_of
from .priced import checked_labels
from .prices import TreePrices, sums_area, tree_area
from .tree import answers_of_trees, sums_of_trees

SCORED = BoostedTrees(leaves=8, rate=0.3, price=0.001, least=5)
"""Options that :func:`scored_trees` goes by where none are given: steps that cross-validate best on ordered classes."""


@dataclass(frozen=True, eq=False)
class ScoredTrees:
    """Sums of ≥ 0 of ``trees``, and trees on these sums that name the class (``table``): one score, or units that count."""

    trees: Forest
    table: Forest

    def answers(self, codes: np.ndarray) -> np.ndarray:
        """Return the class of each of *codes* (integers, R × F): int64, R."""
        return answers_of_trees(self.table, sums_of_trees(self.trees, codes))

    def area(self, bits: int, prices: TreePrices | None = None) -> float:
        """Return about what it costs in mm² on codes of *bits* bits: comparators, leaves, adders, and thresholds of the score."""
        width = max(1, int(sums_limit(self.trees).max(initial=0)).bit_length())
        return sums_area(self.trees, bits, prices) + tree_area(self.table, width)


def sums_limit(trees: Forest) -> np.ndarray:
    """Return what the sums of *trees* are at most (int64, S)."""
    total = trees.base.copy()
    for leaves in _leaves_by_tree(trees):
        total = total + trees.leaves[leaves].max(axis=0)
    return total


def scored_trees(
    codes: np.ndarray,
    labels: np.ndarray,
    classes: int,
    options: BoostedTrees = SCORED,
    seed: int = 0,
    prices: TreePrices | None = None,
) -> ScoredTrees:
    """Return the score of ``options.rounds`` trees for *codes* (integers, R × F) and *labels* (R); all as :func:`boosted_trees`.

    Trees are boosted on the squared error of the class's number. Then leaves become whole numbers of ``weight_bits`` bits from
    0 on, the table is the best one whose classes rise with the score, and leaves move by one where fewer rows go wrong.
    """
    return scored_sizes(codes, labels, classes, options, [options.rounds], seed, prices)[0]


def scored_sizes(
    codes: np.ndarray,
    labels: np.ndarray,
    classes: int,
    options: BoostedTrees,
    rounds: Sequence[int],
    seed: int = 0,
    prices: TreePrices | None = None,
) -> list[ScoredTrees]:
    """Return one score for each of *rounds* (trees at most), all of one growth; else as :func:`scored_trees`."""
    labels = checked_labels(codes, labels, classes)
    columns = columns_of(np.asarray(codes), options.bits)
    cost = open_prices(columns, prices)
    wanted = (labels - labels.mean()) / max(float(labels.std()), 1e-9)
    rest, flat = wanted[:, None].copy(), np.ones((len(labels), 1))
    trees: list[list[tuple[int, int]]] = []
    steps: list[np.ndarray] = []
    owner: list[np.ndarray] = []
    while len(trees) < max(rounds, default=0):
        splits, leaf, values = step_tree(columns, rest, flat, options, cost)
        if not splits:
            break
        rest -= values[leaf]
        trees.append(splits)
        steps.append(values[:, 0])
        owner.append(leaf)
    top = (1 << options.weight_bits) - 1
    found: dict[int, ScoredTrees] = {}
    for size in {min(each, len(trees)) for each in rounds}:
        leaves, table = _whole_score(labels, classes, top, steps[:size], owner[:size])
        made = numbered_trees(columns, trees[:size], [each[:, None] for each in leaves], np.zeros(1, dtype=np.int64))
        found[size] = ScoredTrees(made, table_tree(table, classes))
    return [found[min(each, len(trees))] for each in rounds]


def _whole_score(
    labels: np.ndarray, classes: int, top: int, steps: Sequence[np.ndarray], owner: Sequence[np.ndarray]
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return leaves of whole numbers in 0…*top* for each tree, and the class of each score from 0 on."""
    scale = top / max((float(np.ptp(step)) for step in steps), default=1.0) if steps else 1.0
    leaves = [np.rint((step - step.min()) * scale).astype(np.int64) for step in steps]
    reach = top * len(steps) + 1
    rows = [[np.flatnonzero(leaf == n) for n in range(len(step))] for step, leaf in zip(leaves, owner, strict=True)]
    score = np.zeros(len(labels), dtype=np.int64)
    for step, leaf in zip(leaves, owner, strict=True):
        score += step[leaf]
    table = rising_table(score, labels, classes, reach)
    wrong = int((table[score] != labels).sum())
    for _ in range(MOST_STEPS):
        before = wrong
        for step, mine in zip(leaves, rows, strict=True):
            for n, here in enumerate(mine):
                wrong -= _moved(step, n, here, score, table, labels, top)
        table = rising_table(score, labels, classes, reach)
        wrong = int((table[score] != labels).sum())
        if wrong >= before:
            break
    return leaves, table


def _moved(
    step: np.ndarray, n: int, rows: np.ndarray, score: np.ndarray, table: np.ndarray, labels: np.ndarray, top: int
) -> int:
    """Move leaf *n* of *step* by one where fewer of its *rows* go wrong, their *score* with it; return how many fewer."""
    mine, named = score[rows], labels[rows]
    now = int((table[mine] != named).sum())
    for by in (-1, 1):
        if 0 <= step[n] + by <= top:
            then = int((table[mine + by] != named).sum())
            if then < now:
                step[n] += by
                score[rows] += by
                return now - then
    return 0


def rising_table(score: np.ndarray, labels: np.ndarray, classes: int, reach: int) -> np.ndarray:
    """Return a class for each score in 0…*reach* − 1 (int64), rising with it, so that fewest rows are wrong."""
    hits = np.zeros((reach, classes), dtype=np.int64)
    np.add.at(hits, (score, labels), 1)
    best = np.zeros(classes, dtype=np.int64)
    came = np.zeros((reach, classes), dtype=np.int64)
    for s in range(reach):
        most = np.maximum.accumulate(best)
        came[s] = np.maximum.accumulate(np.where(best == most, np.arange(classes), 0))  # no change where none is needed
        best = most + hits[s]
    table = np.zeros(reach, dtype=np.int64)
    c = int(best.argmax())
    for s in range(reach - 1, -1, -1):
        table[s] = c
        c = int(came[s, c])
    return table


def table_tree(table: np.ndarray, classes: int) -> Forest:
    """Return one tree on a single code that names ``table[code]``, of *classes*; half of its thresholds go either way."""
    cuts = (np.flatnonzero(np.diff(table)) + 1).tolist()
    named = [int(table[0]), *(int(table[cut]) for cut in cuts)]
    leaves = np.zeros((len(named), classes), dtype=np.int64)
    leaves[np.arange(len(named)), named] = 1
    threshold: list[int] = []
    high: list[int] = []
    low: list[int] = []

    def place(start: int, end: int) -> int:  # of the classes start…end: as deep as the logarithm of their number
        if start == end:
            return ~start
        middle, node = (start + end + 1) // 2, len(threshold)
        threshold.append(cuts[middle - 1])
        high.append(0)
        low.append(0)
        high[node], low[node] = place(middle, end), place(start, middle - 1)
        return node

    root = place(0, len(named) - 1)
    none = np.zeros(len(threshold), dtype=np.int64)
    above, below, at = (np.array(part, dtype=np.int64) for part in (high, low, threshold))
    return Forest(np.array([root]), none, at, above, below, leaves, np.zeros(classes, dtype=np.int64))


def _leaves_by_tree(trees: Forest) -> list[np.ndarray]:
    """Return the numbers of the leaves of each tree."""
    found = []
    for root in trees.roots.tolist():
        waiting, mine = [root], []
        while waiting:
            at = waiting.pop()
            if at < 0:
                mine.append(~at)
            else:
                waiting += [int(trees.high[at]), int(trees.low[at])]
        found.append(np.array(mine, dtype=np.int64))
    return found
