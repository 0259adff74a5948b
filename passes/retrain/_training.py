"""Training of a network with an operator's products: Adam on cross-entropy, the epoch kept by rows put aside."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from approxhw.passes.finetune.operators.library import Tensor, torch

from ._network import DifferentiableNetwork

_ROWS = 256
"""Rows of one run where nothing is learnt."""

_MIDDLE = 128
"""A step of a bias is that of a weight whose activation is in the middle of the codes."""

Feeds = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class TrainingPlan:
    """How long and fast: ``rate``, the first step of a weight as a share of the greatest code, falls to 0 as a cosine does."""

    epochs: int
    batch: int
    rate: float
    seed: int


@dataclass(frozen=True)
class AsideScore:
    """How many ``right`` answers of so many ``rows``, and the mean cross-entropy."""

    right: int
    rows: int
    loss: float

    def better_than(self, other: AsideScore) -> bool:
        """Whether more answers are right, or as many at less cross-entropy."""
        return self.right > other.right or (self.right == other.right and self.loss < other.loss)


@dataclass(frozen=True, eq=False)
class BestEpoch:
    """The best epoch (0: as it was), what it scores on the rows put aside beside ``before``, and weights and moves by layer."""

    epoch: int
    before: AsideScore
    after: AsideScore
    weights: Mapping[str, np.ndarray]
    moves: Mapping[str, np.ndarray]


def train_network(
    network: DifferentiableNetwork,
    rows: tuple[Feeds, np.ndarray],
    aside: tuple[Feeds, np.ndarray],
    how: TrainingPlan,
    fixed: int | None = None,
) -> BestEpoch:
    """Train *network* on *rows* (feeds by title, columns of the scores), and return its best epoch by those put *aside*.

    *fixed*: rows of one run where the model leaves no choice. The same seed gives the same weights: PyTorch works on one
    thread, whatever it is set to, so that sums of floating-point numbers have one order.
    """
    pytorch = torch()
    before = pytorch.get_num_threads()
    pytorch.set_num_threads(1)  # steps are small, and most of their work is not PyTorch's
    try:
        return _trained_on(network, rows, aside, how, fixed)
    finally:
        pytorch.set_num_threads(before)


def _trained_on(
    network: DifferentiableNetwork,
    rows: tuple[Feeds, np.ndarray],
    aside: tuple[Feeds, np.ndarray],
    how: TrainingPlan,
    fixed: int | None,
) -> BestEpoch:
    pytorch = torch()
    layers = network.layers
    groups = [
        {"params": [tensor], "lr": how.rate * layer.high * share, "first": how.rate * layer.high * share}
        for layer in layers.values()
        for tensor, share in ((layer.weights, 1), (layer.moves, _MIDDLE))
    ]
    adam = pytorch.optim.Adam(groups)
    feeds, wanted = rows
    order, size = np.random.default_rng(how.seed), fixed or min(how.batch, len(wanted))
    before = best = score_rows(network, aside, fixed)
    kept, epoch = _now(network), 0
    steps, done = how.epochs * max(1, len(wanted) // size), 0
    for number in range(1, how.epochs + 1):
        for part in _batches(order.permutation(len(wanted)), size):
            for group in adam.param_groups:
                group["lr"] = group["first"] * (1 + math.cos(math.pi * done / steps)) / 2
            adam.zero_grad()
            loss = _loss(network.scores({title: array[part] for title, array in feeds.items()}), wanted[part])
            loss.backward()
            adam.step()
            for layer in layers.values():
                layer.settle()
            done += 1
        found = score_rows(network, aside, fixed)
        if found.better_than(best):
            best, kept, epoch = found, _now(network), number
    return BestEpoch(epoch, before, best, *kept)


def score_rows(network: DifferentiableNetwork, rows: tuple[Feeds, np.ndarray], fixed: int | None = None) -> AsideScore:
    """Return how *network* does on *rows*; those that do not fill a run of *fixed* ones are left out."""
    (feeds, wanted), size = rows, fixed or _ROWS
    right = count = 0
    loss = 0.0
    with torch().no_grad():
        for first in range(0, len(wanted) - (size - 1 if fixed else 0), size):
            part = slice(first, first + size)
            scores = network.scores({title: array[part] for title, array in feeds.items()})
            labels = wanted[part]
            right += int((_answers(scores) == labels).sum())
            count += len(labels)
            loss += float(_loss(scores, labels)) * len(labels)
    return AsideScore(right, count, loss / max(1, count))


def _batches(order: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Yield so many rows at a time; what is left over comes in another epoch, in another order."""
    for first in range(0, len(order) - size + 1, size):
        yield order[first : first + size]


def _now(network: DifferentiableNetwork) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    return (
        {name: layer.whole_weights() for name, layer in network.layers.items()},
        {name: layer.whole_moves() for name, layer in network.layers.items()},
    )


def _answers(scores: Tensor) -> np.ndarray:
    numbers: np.ndarray = scores.detach().numpy()
    return numbers.argmax(axis=1) if numbers.shape[1] > 1 else (numbers[:, 0] > 0).astype(np.int64)


def _loss(scores: Tensor, labels: np.ndarray) -> Tensor:
    """Return the mean cross-entropy; of a single score that of its sign."""
    pytorch = torch()
    wanted = pytorch.from_numpy(np.ascontiguousarray(labels))
    if scores.shape[1] > 1:
        return pytorch.nn.functional.cross_entropy(scores.double(), wanted)
    return pytorch.nn.functional.binary_cross_entropy_with_logits(scores[:, 0].double(), wanted.double())
