"""Where a search starts from: the network retrained many times, and each time annealed along a rising price of area."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from approxhw.dse.genetic.options import Seeding
from approxhw.dse.rows.thin_inputs import univariate_scores
from approxhw.networks.anneal import AnnealingSchedule, anneal, noisy
from approxhw.networks.retrain import Settings, retrain, train_starts
from approxhw.networks.space import Space

from .averaging import averaged_start, mean_teacher

if TYPE_CHECKING:
    from approxhw.networks.area_model import AreaModel

_STREAM = 0x5EED
"""Keeps the draws of starts apart from those of islands."""

_THIN, _EARLY = 0x7417, 0xEA51
"""Keep apart the draws of which start is first to see few inputs, and of which has early prices."""

_RETRAINING_WORK = 150_000_000
"""Weights × rows × epochs of one retraining: about half a second."""

_FEWEST_EPOCHS, _MOST_EPOCHS = 20, 200


@dataclass(frozen=True, eq=False)
class Start:
    """A start on its way: the ``genomes`` of its levels so far (int32, levels × G), the retrained one first."""

    number: int
    genomes: np.ndarray
    done: bool = False
    teachers: np.ndarray | None = None
    """int32, networks × G: what teaches it where the model does not."""


@dataclass(frozen=True, eq=False)
class Seeder:
    """Number of a start → genomes of its levels (int32, levels × G): a pure function, so that any worker may do it.

    Each start is retrained from *genome* with draws of its own on jittered codes, then annealed: at every level the price
    of a mm² is a fixed multiple of the one before, and the rows, and noisy copies of them, are drawn anew. In every second
    start the copies bear the classes that *teacher*, the model, gives them. No further level is begun once more than
    *allowed* of the rows are wrong. *seeding* says what else there is: several retrained networks that are averaged or
    teach, starts that never see some inputs, and starts whose price is high at once.
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
        space = self._seen(start.number)
        if not len(start.genomes):
            genome, teachers = self._retrained(space, trained, start.number)
            return replace(start, genomes=genome[None], teachers=teachers)
        prices, level = self._prices(start.genomes[0], start.number), len(start.genomes) - 1
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
            far=self.seeding.far_noise,
        )
        if self._taught(start.number):
            labels[len(chosen) :] = self._teacher(start)(codes[len(chosen) :])
        schedule = AnnealingSchedule((prices[level],), moves=self.seeding.moves)
        rows, genome = pack_rows(codes, labels), start.genomes[-1]
        genome = anneal(space, genome, rows, self.model, schedule, int(rng.integers(1 << 30))).genomes[-1]
        wrong = count_errors(self.space.layout, self.space.head, genome[None], self.codes, self.labels)
        done = int(wrong[0]) > self.allowed or level + 1 == len(prices)
        return replace(start, genomes=np.concatenate([start.genomes, genome[None]]).astype(np.int32), done=done)

    def _among(self, number: int, share: float, stream: int) -> bool:
        """Return whether start *number* is of the *share* of starts that something is done with; evenly, which first by seed."""
        place = number + int(np.random.default_rng((self.seed, _STREAM, stream)).integers(1 << 16))
        return int((place + 1) * share) > int(place * share)

    def _taught(self, number: int) -> bool:
        return bool(number % 2) and (self.teacher is not None or self.seeding.teachers > 0)

    def _teacher(self, start: Start) -> Callable[[np.ndarray], np.ndarray]:
        if start.teachers is not None:
            return mean_teacher(self.space, start.teachers, self.codes, self.labels)
        assert self.teacher is not None
        return self.teacher

    def _seen(self, number: int) -> Space:
        """Return the space of start *number*: where it sees few inputs, no mask of another one may be set."""
        seeding, space = self.seeding, self.space
        if not self._among(number, seeding.thin_starts, _THIN):
            return space
        count = max(1, round(seeding.thin_inputs * space.features))
        left = np.argsort(-univariate_scores(self.codes, self.labels), kind="stable")[count:]
        upper = space.upper.copy()
        space.layer_genes(upper[None], 0).masks[:, :, left] = 0
        upper.flags.writeable = False  # as the space's own: kernels are compiled for arrays of one kind
        return replace(space, upper=upper)

    def _retrained(self, space: Space, seed: int, number: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Return what start *number* begins with, and the networks that teach it, where some do."""
        work = max(1, self.space.genes * len(self.labels))
        epochs = min(max(_RETRAINING_WORK // work, _FEWEST_EPOCHS), _MOST_EPOCHS)
        settings = Settings(epochs=epochs, jitter=self.seeding.noise / 2, seed=seed)
        settings = replace(settings, l1=1e-4)
        averaged, teaching = self.seeding.averaged, self.seeding.teachers if self._taught(number) else 0
        first = np.minimum(self.genome, space.upper)
        made = np.repeat(first[None], max(averaged, teaching), axis=0)
        made = np.asarray(retrain(self.space, made, self.codes, self.labels, settings).genomes)
        genome, teachers = made[0], made[:teaching] if teaching else None
        if averaged > 1:
            mean = averaged_start(self.space, made[:averaged], self.codes, self.labels)
            genome = train_starts(self.space, first[None], [mean], self.codes, self.labels, settings).genomes[0]
        return genome, teachers

    def _prices(self, genome: np.ndarray, number: int) -> list[float]:
        """Return the price of a mm² at each level of start *number*, in shares of the rows."""
        area = float(self.model.area_mm2(self.space.layout, self.space.head, genome[None])[0])
        early = self._among(number, self.seeding.early_starts, _EARLY)
        last, worth = self.seeding.last_price, self.seeding.early_price if early else self.seeding.first_price
        first = min(worth / max(area, 1.0), last)
        steps = max(1, self.seeding.levels - 1)
        return [first * (last / first) ** (level / steps) for level in range(self.seeding.levels)]

    def _drawn(self, rng: np.random.Generator) -> np.ndarray:
        """Return the rows of a level: all of them where they are few enough, with their copies."""
        total, count = len(self.labels), self.seeding.rows // (1 + self.seeding.copies)
        if count >= total:
            return np.arange(total)
        return np.sort(rng.choice(total, max(1, count), replace=False))
