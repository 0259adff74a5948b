"""Annealing of one genome along a rising price of area: a whole front of small circuits in one run, and noisy rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .space import Space

if TYPE_CHECKING:
    from approxhw.networks.kernels.masked_network import PackedRows

    from .area_model import AreaModel


@dataclass(frozen=True)
class AnnealingSchedule:
    """How to anneal. Energy = mean loss of the rows + price · area in mm²."""

    prices: tuple[float, ...]
    """What a mm² is worth, in shares of the rows; one level each, as a rule rising."""
    moves: int = 50_000
    """Moves a level."""
    greedy: float = 0.2
    """Share of a level's moves, the last ones, of which none that is worse is kept."""
    alpha: float = 0.5
    """Weight of wrong or right; the rest is the ramp over the margin."""
    spread: float = 0.3
    """Half width of the ramp as a multiple of the mean margin; 0: wrong or right alone."""
    cold: float = 0.2
    """Least temperature, in rows."""
    warm: float = 0.5
    """Temperature in mm² at the level's price, where that is more."""
    sample: int = 0
    """Rows drawn anew for every level; 0: all rows, always."""


@dataclass(frozen=True, eq=False)
class Annealed:
    """The end of every level: genomes (int32, levels × G), wrong rows, area in mm² and moves that were kept."""

    genomes: np.ndarray
    errors: np.ndarray
    areas: np.ndarray
    kept: np.ndarray


def prices(first: float, last: float, levels: int) -> tuple[float, ...]:
    """Return *levels* prices from *first* to *last*, each the same multiple of the one before."""
    if levels == 1:
        return (first,)
    return tuple(first * (last / first) ** (k / (levels - 1)) for k in range(levels))


def anneal(
    space: Space,
    genome: np.ndarray,
    rows: PackedRows,
    model: AreaModel,
    schedule: AnnealingSchedule,
    seed: int,
    stop: np.ndarray | None = None,
) -> Annealed:
    """Return what annealing *genome* through the levels of *schedule* ends in; deterministic for a seed.

    ``rows``: codes and labels, of ``approxhw.networks.kernels.masked_network.pack_rows``; noisy copies count like any other row.
    ``stop``: a bool array of one element that may be set from another thread; no further level is begun then.
    """
    from approxhw.networks.kernels import annealing, moves
    from approxhw.networks.kernels.area import adders
    from approxhw.networks.kernels.masked_network import count_errors

    count, levels = len(rows.labels), len(schedule.prices)
    rng, draws = np.random.default_rng(seed), np.array([seed], dtype=np.uint64)
    coefficients, scratch = np.array(model.coefficients), adders.scratch(space.layout, space.head)
    counts = np.zeros((1, len(model.coefficients)))
    genomes, results = np.zeros((levels, space.genes), np.int32), np.zeros((levels, 3))
    state, table = None, annealing.quantiles()
    for level in range(levels):
        if state is None or 0 < schedule.sample < count:  # in a random order, so that the first blocks show a bad move
            order = rng.permutation(count)[: schedule.sample or count]
            mixed = rows._replace(columns=np.ascontiguousarray(rows.columns[:, order]), labels=rows.labels[order])
            state = moves.start_walk(space.layout, space.head, genome, mixed)
        annealing.anneal_at_price(
            state,
            space.lower,
            space.upper,
            coefficients,
            scratch,
            counts,
            table,
            schedule.prices[level],
            schedule.moves,
            schedule.greedy,
            schedule.alpha,
            schedule.spread,
            schedule.cold,
            schedule.warm,
            draws,
            results[level],
        )
        genome = genomes[level] = state.genome
        if stop is not None and stop[0]:
            levels = level + 1
            break
    genomes, results = genomes[:levels], results[:levels]
    errors = count_errors(space.layout, space.head, genomes, rows)
    return Annealed(genomes, errors, results[:, 0].copy(), results[:, 1].astype(np.int64))


def noisy(
    codes: np.ndarray,
    labels: np.ndarray,
    *,
    copies: int,
    probability: float,
    highest: int,
    seed: int,
    far: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and *copies* of them in which a code is one off with *probability*: codes (rows × features), labels.

    Half of the changed codes are more, half are less, all within 0 … *highest*. *far*: probability that a code is two off
    instead; the two together at most 1.
    """
    rng = np.random.default_rng(seed)
    parts = [np.asarray(codes)]
    for _ in range(copies):
        drawn = rng.integers(0, 1 << 30, codes.shape)
        sizes = (drawn < int((probability + far) * (1 << 30))).astype(np.int64) + (drawn < int(far * (1 << 30)))
        steps = sizes * (2 * rng.integers(0, 2, codes.shape) - 1)
        parts.append(np.clip(codes + steps, 0, highest))
    return np.concatenate(parts).astype(codes.dtype), np.tile(labels, copies + 1)
