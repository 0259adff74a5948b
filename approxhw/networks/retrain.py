"""Retrain genomes: signs, exponents, biases and shifts move, masks stay; the pass and the search both call it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from approxhw.common.errors import PassError, Problem

from .space import Space

_EXACT_IN_FLOAT = 1 << 52
_TEMPERED_ROWS = 1000
"""Rows that a first temperature is looked for on."""

_TEMPERATURE_RATE = 10.0
"""The log of the temperature moves this many times faster than weights."""

_NEXT_SEED = 1_000_003

Start = tuple[np.ndarray, np.ndarray, float]
"""A latent (float64, G; ``kernels/training.py``), shifts (int64, layers) and the natural log of the temperature."""


@dataclass(frozen=True)
class Settings:
    """How one network is trained. Rates are in units of the greatest weight of a layer."""

    epochs: int = 200
    batch: int = 64
    rate: float = 0.02
    last_rate: float = 0.002
    settle: tuple[float, float] = (0.1, 0.9)
    """Shares of the epochs between which weights settle on powers of two, the largest first; the others are real numbers
    until then. (0, 0): all are rounded from the first step on, and all move to the end."""
    l1: float = 0.0
    """Pull of a weight towards 0, in nats a row, times the share of its mask bits that are set."""
    jitter: float = 0.0
    """Probability that an input code moves by ±1 each time that a row is looked at."""
    teaching: float = 0.0
    """Share of the wanted probabilities that comes from a teacher, where there is one; the rest comes from the label."""
    leak: float = 0.05
    """Share of the slope that passes where QReLU cuts off."""
    keep: str = "errors"
    """``errors`` or ``loss``: which epoch is kept, on the rows that choose it."""
    move_shifts: float = 0.25
    """Share of the epochs in which shifts may move."""
    seed: int = 1


class Retrained(NamedTuple):
    """Genomes and what they reach on the rows that chose the epoch: weighted sums, one a genome."""

    genomes: np.ndarray
    """int32, P × G."""
    errors: np.ndarray
    """float64, P."""
    losses: np.ndarray
    """float64, P; cross-entropy in nats, at the temperature that was learnt."""
    epochs: np.ndarray
    """int64, P; 0: the start itself was best."""


def retrain(
    space: Space,
    genomes: np.ndarray,
    codes: np.ndarray,
    labels: np.ndarray,
    settings: Settings,
    weights: np.ndarray | None = None,
    keep_weights: np.ndarray | None = None,
    teacher: np.ndarray | None = None,
) -> Retrained:
    """Return *genomes* (P × G) retrained on *codes* (rows × features) and *labels*; each has a seed of its own.

    Masks stay, or become 0 where a weight does; comparators stay, and are taken as exact while training. *weights*:
    what each row counts in training (0: not at all), *keep_weights*: in choosing the epoch; both 1 where not given. *teacher*:
    class probabilities (rows × classes) that ``settings.teaching`` mixes with the labels. No
    result has more errors (or loss, as ``settings.keep`` says) on those rows than its start.
    """
    starts = [start_of_genome(space, genome, codes, labels) for genome in np.asarray(genomes)]
    return train_starts(space, np.asarray(genomes), starts, codes, labels, settings, weights, keep_weights, teacher)


def train_starts(
    space: Space,
    genomes: np.ndarray,
    starts: list[Start],
    codes: np.ndarray,
    labels: np.ndarray,
    settings: Settings,
    weights: np.ndarray | None = None,
    keep_weights: np.ndarray | None = None,
    teacher: np.ndarray | None = None,
) -> Retrained:
    """Return *genomes* with the weights that training reaches from *starts*, one a genome; else as :func:`retrain`."""
    from approxhw.networks.kernels import training as kernel

    _refuse(space, codes, labels)
    columns = np.ascontiguousarray(np.asarray(codes).T, dtype=np.int32)
    classes = np.ascontiguousarray(labels, dtype=np.int64)
    wanted = _wanted(space, classes, settings.teaching, teacher)
    learnt, choosing = (
        np.ones(len(classes)) if given is None else np.ascontiguousarray(given, dtype=np.float64)
        for given in (weights, keep_weights)
    )
    numbers = np.array([getattr(settings, name) for name in ("rate", "last_rate", "l1", "jitter", "leak")])
    numbers = np.append(numbers, [_TEMPERATURE_RATE, *settings.settle])
    counts = [settings.epochs, settings.batch, settings.keep == "loss", int(settings.epochs * settings.move_shifts)]
    result = np.array(genomes, dtype=np.int32)
    errors, losses, epochs = np.zeros(len(result)), np.zeros(len(result)), np.zeros(len(result), np.int64)
    sizes = space.layout, int(space.head[0]), space.lower.astype(np.int64), space.upper.astype(np.int64)
    for p, (start, first_shifts, logarithm) in enumerate(starts):
        latent, shifts = start.copy(), first_shifts.copy()
        state = result[p].astype(np.int64), latent, shifts, float(logarithm)
        whole = np.array([*counts, settings.seed + _NEXT_SEED * p], dtype=np.int64)
        rows = columns, classes, wanted, learnt, choosing
        errors[p], losses[p], epochs[p], _ = kernel.train(*sizes, *state, *rows, whole, numbers)
        result[p] = genome_of(space, result[p], latent, shifts)
    return Retrained(result, errors, losses, epochs)


def _wanted(space: Space, labels: np.ndarray, teaching: float, teacher: np.ndarray | None) -> np.ndarray:
    """Return the probabilities to learn (float64, classes × rows; of class 1 alone where there is a single logit)."""
    wanted = np.eye(space.classes)[labels]
    if teacher is not None and teaching > 0:
        wanted = (1 - teaching) * wanted + teaching * teacher
    return np.ascontiguousarray(wanted.T if space.head[0] == 0 else wanted.T[1:])


def genome_of(space: Space, genome: np.ndarray, latent: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Return *genome* (G) with the weights, biases and shifts of a latent; a weight of 0 becomes a mask of 0."""
    from approxhw.networks.kernels import training as kernel

    real = np.zeros(space.genes)
    wide = np.array(genome, dtype=np.int64)
    kernel.quantise(
        space.layout,
        space.lower.astype(np.int64),
        space.upper.astype(np.int64),
        wide,
        latent,
        np.ones(space.genes, np.uint8),
        real,
    )
    for n, m, _, masks, signs, exponents, biases, shift, _ in space.layout.tolist():
        w = real[exponents : exponents + m * n]
        wide[masks : masks + m * n][w == 0] = 0
        wide[signs : signs + m * n] = w < 0
        wide[exponents : exponents + m * n] = np.frexp(np.where(w == 0, 1.0, np.abs(w)))[1] - 1
        wide[biases : biases + m] = real[biases : biases + m]
        if shift >= 0:
            wide[shift] = shifts[0]
            shifts = shifts[1:]
    return wide.astype(np.int32)


def start_of_genome(space: Space, genome: np.ndarray, codes: np.ndarray, labels: np.ndarray) -> Start:
    """Return *genome* (G) as a start: its own weights, at the temperature that suits *codes* and *labels* best."""
    genome = np.asarray(genome, dtype=np.int64)
    latent = np.zeros(space.genes)
    shifts = np.zeros(len(space.layers), np.int64)
    for layer, (n, m, _, masks, signs, exponents, biases, shift, _) in enumerate(space.layout.tolist()):
        k, negative, mask = (genome[at : at + m * n] for at in (exponents, signs, masks))
        latent[exponents : exponents + m * n] = np.where(mask != 0, (1 - 2 * negative) * np.ldexp(1.0, k), 0.0)
        latent[biases : biases + m] = genome[biases : biases + m]
        shifts[layer] = genome[shift] if shift >= 0 else 0
    return latent, shifts, tempered(space, genome, latent, shifts, codes, labels)


def tempered(
    space: Space, genome: np.ndarray, latent: np.ndarray, shifts: np.ndarray, codes: np.ndarray, labels: np.ndarray
) -> float:
    """Return the natural log of that power of two by which sums are best multiplied to be logits."""
    from approxhw.networks.kernels import training as kernel

    chosen = np.unique(np.linspace(0, len(codes) - 1, _TEMPERED_ROWS).astype(np.int64))
    columns = np.ascontiguousarray(np.asarray(codes)[chosen].T, dtype=np.int32)
    classes, masks = np.asarray(labels, np.int64)[chosen], np.asarray(genome, dtype=np.int64)
    real, reach, ones = np.zeros(space.genes), np.zeros((len(shifts), 2), np.int64), np.ones(len(chosen))
    kernel.quantise(
        space.layout,
        space.lower.astype(np.int64),
        space.upper.astype(np.int64),
        masks,
        latent,
        np.ones(space.genes, np.uint8),
        real,
    )

    def loss(k: int) -> float:
        found = kernel.errors_and_loss(
            space.layout, int(space.head[0]), masks, real, shifts, 2.0**-k, columns, classes, ones, reach
        )
        return float(found[1])

    return -min(range(-2, 25), key=loss) * float.fromhex("0x1.62e42fefa39efp-1")


def _refuse(space: Space, codes: np.ndarray, labels: np.ndarray) -> None:
    found = []
    for number, (n, _, bits, _, _, exponents, _, _, _) in enumerate(space.layout.tolist()):
        reach = 2 * n * (((1 << bits) - 1) << int(space.upper[exponents]))
        if reach >= _EXACT_IN_FLOAT:
            found.append(Problem(f"layer {number}", f"sums up to {reach} leave what training holds exactly, 2^52"))
    if codes.ndim != 2 or codes.shape[1] != space.features or len(codes) != len(labels):
        why = f"codes of shape {list(codes.shape)} and {len(labels)} labels, for {space.features} features"
        found.append(Problem("training rows", why))
    elif not len(codes):
        found.append(Problem("training rows", "there are none", "give data with training rows"))
    elif int(labels.min()) < 0 or int(labels.max()) >= space.classes:
        why = f"labels {int(labels.min())}…{int(labels.max())}, the network names classes 0…{space.classes - 1}"
        found.append(Problem("training rows", why))
    elif int(codes.min()) < 0 or int(codes.max()) >= 1 << space.layers[0].input_bits:
        why = f"codes {int(codes.min())}…{int(codes.max())} are not unsigned codes of {space.layers[0].input_bits} bits"
        found.append(Problem("training rows", why))
    if found:
        raise PassError("retraining", found)


def better_first(result: Retrained, keep: str) -> np.ndarray:
    """Return the order of the genomes of *result*, best first: by errors and then loss, or by loss alone."""
    keys = (result.losses, result.errors) if keep == "errors" else (result.losses,)
    return np.lexsort(keys)
