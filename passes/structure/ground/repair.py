"""Least squares behind what left: in which order channels leave at least cost, and what the weights that stay become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .moments import Moments

DAMPING = 1e-4
"""Of a covariance's mean diagonal, added to it: rows show some directions hardly, or not at all."""

STEPS = 64
"""Most steps in which channels leave: of many channels some leave together, those that cost least."""


@dataclass(frozen=True, eq=False)
class WeightReader:
    """A product that reads channels: ``weights`` (K × N, float64), moments of its inputs, the channel of each of the K."""

    weights: np.ndarray
    moments: Moments
    channels: np.ndarray


@dataclass(frozen=True, eq=False)
class Leaving:
    """Channels in the order in which they leave, and the ``losses`` when so many are gone (one more than channels).

    A loss is E|y − ŷ|² of all that reads them, ŷ after the best repair, over E|y − E y|², summed over readers.
    """

    channels: np.ndarray
    losses: np.ndarray


def damped(covariance: np.ndarray) -> np.ndarray:
    """Return *covariance* (K × K) with a little on its diagonal, so that it can be inverted."""
    small = DAMPING * float(np.trace(covariance)) / max(1, len(covariance))
    return covariance + (small or 1.0) * np.eye(len(covariance))


def repaired(weights: np.ndarray, moments: Moments, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return new *weights* (S × N) of the inputs *kept* (indices, S) and what goes into the biases (N).

    They come nearest to what all K inputs gave over the calibration rows: W_S + (C_SS + εI)⁻¹ C_SR W_R, and the mean that is
    left. Source: least squares; two-step pruning of arXiv 2407.19126 uses the same.
    """
    gone = np.setdiff1d(np.arange(len(weights)), kept)
    covariance = damped(moments.covariance)
    moved = np.linalg.solve(covariance[np.ix_(kept, kept)], covariance[np.ix_(kept, gone)] @ weights[gone])
    renewed = weights[kept] + moved
    return renewed, moments.mean @ weights - moments.mean[kept] @ renewed


def order_of_leaving(readings: Sequence[WeightReader], channels: np.ndarray) -> Leaving:
    """Return *channels* (ids) in the order in which they cost least, every reader being repaired after each step.

    What leaving costs is |W_R|² under (C⁻¹)_RR⁻¹ for the inputs R of a channel: exact for one at a time (Hassibi & Stork,
    *Optimal Brain Surgeon*, NIPS 1992). Of more than ``STEPS`` channels, several leave in a step.
    """
    states = [_State(reading, channels) for reading in readings]
    left = np.ones(len(channels), bool)
    order: list[int] = []
    losses = [0.0]
    at_once = -(-len(channels) // STEPS)
    while left.any():
        alive = np.flatnonzero(left)
        costs = sum(state.costs(alive) for state in states)
        chosen = alive[np.argsort(costs, kind="stable")[:at_once]]
        before = losses[-1]
        after = before + sum(state.leave(chosen) for state in states)
        order += chosen.tolist()
        losses += np.linspace(before, after, len(chosen) + 1)[1:].tolist()
        left[chosen] = False
    return Leaving(channels[np.array(order, np.int64)], np.array(losses))


class _State:
    """The weights and the inverse covariance of one reader as channels leave."""

    def __init__(self, reading: WeightReader, channels: np.ndarray) -> None:
        """Invert once."""
        covariance = damped(reading.moments.covariance)
        self.weights = reading.weights.copy()
        self.inverse = np.linalg.inv(covariance)
        self.places = [np.flatnonzero(reading.channels == channel) for channel in channels]
        self.scale = 1.0 / max(float(np.sum(self.weights * (covariance @ self.weights))), np.finfo(float).tiny)

    def costs(self, alive: np.ndarray) -> np.ndarray:
        """Return what it costs that each of the channels *alive* (indices) leaves by itself."""
        sizes = {len(self.places[channel]) for channel in alive}
        if len(sizes) == 1 and min(sizes):
            rows = np.array([self.places[channel] for channel in alive])
            blocks = self.inverse[rows[:, :, None], rows[:, None, :]]
            weights = self.weights[rows]
            found = np.einsum("cin,cin->c", weights, np.linalg.solve(blocks, weights))
            return self.scale * np.maximum(found, 0.0)
        return np.array([self.scale * self._cost(self.places[channel]) for channel in alive])

    def _cost(self, rows: np.ndarray) -> float:
        if not len(rows):
            return 0.0
        weights = self.weights[rows]
        return float(np.sum(weights * np.linalg.solve(self.inverse[np.ix_(rows, rows)], weights)))

    def leave(self, chosen: np.ndarray) -> float:
        """Let the channels *chosen* leave; return what that costs."""
        rows = np.concatenate([self.places[channel] for channel in chosen])
        if not len(rows):
            return 0.0
        cost = self.scale * self._cost(rows)
        solved = np.linalg.solve(self.inverse[np.ix_(rows, rows)], np.hstack([self.weights[rows], self.inverse[rows]]))
        change = self.inverse[:, rows] @ solved
        count = self.weights.shape[1]
        self.weights -= change[:, :count]
        self.inverse -= change[:, count:]
        self.weights[rows] = 0.0
        self.inverse[rows] = 0.0
        self.inverse[:, rows] = 0.0
        self.inverse[rows, rows] = 1.0  # it is looked at no more, and stays regular
        return cost
