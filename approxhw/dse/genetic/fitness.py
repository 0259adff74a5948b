"""What genomes make of rows: accuracies on every split, with noise and without, and what the model itself says of codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from approxhw.ir.evaluation import predict
from approxhw.ir.graph import Graph
from approxhw.ir.kinds import Input

if TYPE_CHECKING:
    from approxhw.networks.space import Space

COPIES, NOISE = 8, 0.2
"""Noisy copies of every row that circuits are ranked on, and the probability that one of their codes is off by one."""


@dataclass(frozen=True, eq=False)
class Judge:
    """Codes and class indices of every split, and what genomes make of them."""

    space: Space
    codes: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]

    @property
    def split(self) -> str:
        """The rows that pick winners."""
        return "validation" if len(self.labels["validation"]) else "train"

    def accuracies(self, genomes: np.ndarray, split: str) -> np.ndarray | None:
        """Return the accuracy of each of *genomes* (P × G) on a split: float64, P; None without rows."""
        from approxhw.networks.kernels.masked_network import count_errors

        rows = len(self.labels[split])
        if not rows:
            return None
        space = self.space
        errors = count_errors(space.layout, space.head, genomes, self.codes[split], self.labels[split])
        return 1 - np.asarray(errors) / rows

    def by_class(self, genomes: np.ndarray, split: str, classes: int) -> np.ndarray:
        """Return how many rows of each class every one of *genomes* (P × G) gets wrong on a split (int64, P × classes)."""
        from approxhw.networks.kernels.masked_network import count_errors

        found, labels = np.zeros((len(genomes), classes), dtype=np.int64), self.labels[split]
        for label in np.unique(labels).tolist():
            rows = labels == label
            found[:, label] = count_errors(
                self.space.layout, self.space.head, genomes, self.codes[split][rows], labels[rows]
            )
        return found

    def accuracy(self, genome: np.ndarray, split: str) -> float | None:
        """Return the accuracy of *genome* (G) on a split; None without rows."""
        found = self.accuracies(genome[None], split)
        return None if found is None else float(found[0])

    def noisy(self, genomes: np.ndarray, split: str) -> np.ndarray:
        """Return the accuracy of each of *genomes* (P × G) on the rows of a split and noisy copies of them: float64, P."""
        from approxhw.networks.anneal import noisy
        from approxhw.networks.kernels.masked_network import count_errors

        space = self.space
        highest = (1 << space.layers[0].input_bits) - 1
        codes, labels = noisy(
            self.codes[split], self.labels[split], copies=COPIES, probability=NOISE, highest=highest, seed=COPIES
        )
        errors = count_errors(space.layout, space.head, genomes, codes, labels)
        return 1 - np.asarray(errors) / len(labels)


@dataclass(frozen=True, eq=False)
class Teacher:
    """Codes (integers, rows × features) → class indices that the ``model`` gives the readings they stand for."""

    model: Graph
    masked: Graph

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """Return them (int64, rows)."""
        op = self.masked.input.op
        assert isinstance(op, Input)
        assert op.encoding is not None
        return predict(self.model, op.encoding.offsets() + codes * op.encoding.steps())
