"""A bag of trees, each grown on draws of the rows with noisy gains: too large for a circuit, and a good teacher of small ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from approxhw.common.errors import OptionError, Problem
from approxhw.ir.kinds import Forest

from .columns import code_trees, columns_of
from .priced import MOST_LEAVES, PricedTree, checked_labels, grow_tree, sketches_of
from .prices import TreePrices
from .tree import sums_of_trees


@dataclass(frozen=True)
class BaggedTrees:
    """Options of a bag of trees."""

    trees: int = field(default=60, metadata={"help": "in the bag, 1 to 1000"})
    jitter: float = field(default=1.0, metadata={"help": "relative noise of the gains of every tree, 0 to 1"})
    least: int = field(default=1, metadata={"help": "rows that go either way, at least"})
    bits: int = field(default=4, metadata={"help": "of a code"})

    def __post_init__(self) -> None:
        """Refuse options out of reach."""
        found = []
        if not 1 <= self.trees <= 1000:
            found.append(Problem("trees", f"{self.trees} is not in 1…1000"))
        if not 0 <= self.jitter <= 1:
            found.append(Problem("jitter", f"{self.jitter:g} is not in 0…1"))
        if self.least < 1:
            found.append(Problem("least", f"{self.least} is not 1 or more"))
        if found:
            raise OptionError("bagged trees", found)


def bagged_trees(
    codes: np.ndarray, labels: np.ndarray, classes: int, options: BaggedTrees | None = None, seed: int = 0
) -> list[Forest]:
    """Return trees of as many leaves as their rows ask for, each grown on as many draws as there are *codes* (integers, R × F).

    A split's gain is multiplied by noise of its own in every tree, in place of the features that random forests leave out
    (Breiman 2001). The same *seed* gives the same trees. Raises :class:`OptionError` for rows that cannot be learnt from.
    """
    options = options or BaggedTrees()
    labels = checked_labels(codes, labels, classes)
    columns, free = columns_of(np.asarray(codes), options.bits), TreePrices()
    grown = PricedTree(jitter=options.jitter, least=options.least, bits=options.bits)
    rng, found = np.random.default_rng(seed), []
    for number in range(1, options.trees + 1):
        drawn = rng.integers(0, len(labels), len(labels))
        seen = replace(columns, values=np.ascontiguousarray(columns.values[:, drawn]))
        growth = grow_tree(seen, labels[drawn], classes, grown, MOST_LEAVES, (seed, number), free)
        found.append(code_trees(sketches_of(growth, [growth.leaves])[0], columns, classes))
    return found


def bag_of_trees(
    classes: int, options: BaggedTrees | None = None, seed: int = 0
) -> Callable[[np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    """Return a teacher (``networks/families/teaching.py``): fitted on codes and labels, it answers as most trees of a bag do."""

    def teacher(codes: np.ndarray, labels: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        bag = bagged_trees(codes, labels, classes, options, seed)
        return lambda asked: np.asarray(sum(sums_of_trees(tree, asked) for tree in bag)).argmax(axis=1)

    return teacher
