"""Where a search starts from: the network retrained many times, and each time annealed along a rising price of area."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from approxhw.networks.anneal import AnnealingSchedule, anneal, noisy
from approxhw.networks.retrain import Settings, retrain
from approxhw.networks.space import Space

from .options import Seeding

if TYPE_CHECKING:
    from approxhw.networks.area_model import AreaModel

_STREAM = 0x5EED
"""Keeps the draws of starts apart from those of islands."""

_RETRAINING_WORK = 150_000_000
"""Weights × rows × epochs of one retraining: about half a second."""

_FEWEST_EPOCHS, _MOST_EPOCHS = 20, 200


@dataclass(frozen=True, eq=False)
class Start:
    """A start on its way: the ``genomes`` of its levels so far (int32, levels × G), the retrained one first."""

    number: int
    genomes: np.ndarray
    done: bool = False


@dataclass(frozen=True, eq=False)
class Seeder:
    """Number of a start → genomes of its levels (int32, levels × G): a pure function, so that any worker may do it.

    Each start is retrained from *genome* with draws of its own on jittered codes, then annealed: at every level the price
    of a mm² is a fixed multiple of the one before, and the rows, and noisy copies of them, are drawn anew. In every second
    start the copies bear the classes that *teacher*, the model, gives them. No further level is begun once more than
    *allowed* of the rows are wrong.
    """

    space: Space
    genome: np.ndarray
    """int32, G: what every start begins with."""
    codes: np.ndarray
    """Integers, rows × features."""
    labels: np.ndarray
    model: AreaModel
    allowed: int
    """Wrong rows beyond which smaller circuits are of no use."""
    seeding: Seeding
    seed: int
    teacher: Callable[[np.ndarray], np.ndarray] | None = None
    """Codes (rows × features) → class indices that the model gives them: labels of every second start's noisy copies."""

    def __call__(self, number: int) -> np.ndarray:
        """Return the genomes of start *number*."""
        start = self.begin(number)
        while not start.done:
            start = self.further(start)
        return start.genomes

    def begin(self, number: int) -> Start:
        """Return start *number* before anything was done for it."""
        return Start(number, np.zeros((0, self.space.genes), dtype=np.int32))

    def further(self, start: Start) -> Start:
        """Return *start* with one more genome: retrained first, then annealed level by level; to the same end anywhere."""
        from approxhw.networks.kernels.masked_network import count_errors, pack_rows

        rng = np.random.default_rng(np.random.SeedSequence((self.seed, _STREAM, start.number)))
        trained = int(rng.integers(1 << 30))
        if not len(start.genomes):
            return replace(start, genomes=self._retrained(trained)[None])
        prices, level = self._prices(start.genomes[0]), len(start.genomes) - 1
        for _ in range(level):  # what the levels before have drawn
            self._drawn(rng), rng.integers(1 << 30), rng.integers(1 << 30)
        chosen = self._drawn(rng)
        highest = (1 << self.space.layers[0].input_bits) - 1
        codes, labels = noisy(
            self.codes[chosen],
            self.labels[chosen],
            copies=self.seeding.copies,
            probability=self.seeding.noise,
            highest=highest,
            seed=int(rng.integers(1 << 30)),
        )
        if self.teacher is not None and start.number % 2:
            labels[len(chosen) :] = self.teacher(codes[len(chosen) :])
        schedule = AnnealingSchedule((prices[level],), moves=self.seeding.moves)
        rows, genome = pack_rows(codes, labels), start.genomes[-1]
        genome = anneal(self.space, genome, rows, self.model, schedule, int(rng.integers(1 << 30))).genomes[-1]
        wrong = count_errors(self.space.layout, self.space.head, genome[None], self.codes, self.labels)
        done = int(wrong[0]) > self.allowed or level + 1 == len(prices)
        return Start(start.number, np.concatenate([start.genomes, genome[None]]).astype(np.int32), done)

    def _retrained(self, seed: int) -> np.ndarray:
        work = max(1, self.space.genes * len(self.labels))
        epochs = min(max(_RETRAINING_WORK // work, _FEWEST_EPOCHS), _MOST_EPOCHS)
        settings = Settings(epochs=epochs, jitter=self.seeding.noise / 2, seed=seed)
        settings = replace(settings, l1=1e-4)
        return np.asarray(retrain(self.space, self.genome[None], self.codes, self.labels, settings).genomes[0])

    def _prices(self, genome: np.ndarray) -> list[float]:
        """Return the price of a mm² at each level, in shares of the rows."""
        area = float(self.model.area_mm2(self.space.layout, self.space.head, genome[None])[0])
        last = self.seeding.last_price
        first = min(self.seeding.first_price / max(area, 1.0), last)
        steps = max(1, self.seeding.levels - 1)
        return [first * (last / first) ** (level / steps) for level in range(self.seeding.levels)]

    def _drawn(self, rng: np.random.Generator) -> np.ndarray:
        """Return the rows of a level: all of them where they are few enough, with their copies."""
        total, count = len(self.labels), self.seeding.rows // (1 + self.seeding.copies)
        if count >= total:
            return np.arange(total)
        return np.sort(rng.choice(total, max(1, count), replace=False))
