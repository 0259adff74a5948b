"""Starts of training: a real-valued network, scaled so that its weights are near powers of two, or random ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .retrain import Start, tempered
from .space import Space

_FACTORS = np.arange(12, 24) / 16
"""The greatest weight of a neuron becomes 2^K times one of these: all that round to 2^K."""

_FITTING = 0.995
"""Share of the hidden values of a layer on training rows that its shift lets pass below saturation."""


_NOTHING = 1e-200
"""Neurons of no weight above this are not scaled: what they are scaled by would overflow."""


@dataclass(frozen=True)
class RealLayer:
    """Weights (float64, outputs × inputs) and biases (outputs); between layers stands max(0, ·)."""

    weights: np.ndarray
    bias: np.ndarray


def start_from(
    layers: list[RealLayer], space: Space, codes: np.ndarray | None, labels: np.ndarray | None, seed: int | None = None
) -> Start:
    """Return the start nearest to the real network *layers* over codes; with a *seed*, one of many around it.

    A hidden neuron's weights may be scaled by any number, as those that read it are divided by it. Each gets the scale
    whose rounding to powers of two has the least squared error (with a seed: a random one, and weights off by up to
    a quarter). Shifts come from *codes* (rows × features), or without them from what the codes can be.
    """
    rng = None if seed is None else np.random.default_rng(seed)
    latent, shifts = np.zeros(space.genes), np.zeros(len(layers), np.int64)
    logarithm = 0.0
    unit = np.ones(space.features)
    x = None if codes is None or not len(codes) else codes.astype(np.float64)
    high = np.full(space.features, float((1 << space.layers[0].input_bits) - 1))
    for k, (layer, row) in enumerate(zip(layers, space.layout.tolist())):
        n, m, _, _, _, exponents, biases, _, bits = row
        weights, last = layer.weights * unit, k == len(layers) - 1
        top = 1 << int(space.upper[exponents])
        scale = _scales(weights, top, last, rng)
        scaled = weights * scale[:, None]
        if rng is not None:
            scaled = scaled * (1 + 0.25 * rng.uniform(-1, 1, scaled.shape))
        whole, bias = _nearest(scaled, top), layer.bias * scale
        if x is not None:
            bias = bias + products(scaled - whole, x.mean(axis=0))  # rounding moves no mean
        bias = np.clip(bias, space.lower[biases : biases + m], space.upper[biases : biases + m])
        latent[exponents : exponents + m * n], latent[biases : biases + m] = scaled.reshape(-1), bias
        if last:
            break
        start = np.floor(bias + 0.5)
        sums = None if x is None else np.maximum(x @ whole.T + start, 0.0)
        greatest = np.maximum(np.maximum(whole, 0) @ high + start, 0.0)
        shifts[k] = _shift(sums, greatest, bits)
        # what saturates is left alone: training sees it
        x = None if sums is None else np.clip(np.floor(sums * 0.5 ** shifts[k]), 0, (1 << bits) - 1)
        high = np.clip(np.floor(greatest * 0.5 ** shifts[k]), 0, (1 << bits) - 1)
        unit = 2.0 ** shifts[k] / scale
    if codes is not None and labels is not None and len(codes):
        logarithm = tempered(space, space.upper, latent, shifts, codes, labels)  # whose masks are full
    return latent, shifts, logarithm


def widened_layers(layers: list[RealLayer], hidden: Sequence[int], seed: int) -> list[RealLayer]:
    """Return *layers* with *hidden* neurons in each hidden layer: copies, that share what the original gave to the next layer.

    The weights of a copy are off by up to the mean size of the original's, so that training tells them apart. *hidden*: no
    fewer than there are.
    """
    rng, result = np.random.default_rng(seed), list(layers)
    for k, count in enumerate(hidden):
        layer, after = result[k], result[k + 1]
        old = len(layer.bias)
        of = np.arange(count) % old
        noise = np.where(np.arange(count)[:, None] < old, 0.0, rng.uniform(-1, 1, (count, layer.weights.shape[1])))
        weights = layer.weights[of] + noise * np.abs(layer.weights).mean(axis=1)[of][:, None]
        result[k] = RealLayer(weights, layer.bias[of])
        result[k + 1] = RealLayer(after.weights[:, of] / np.bincount(of)[of], after.bias)
    return result


def random_layers(space: Space, codes: np.ndarray, seed: int) -> list[RealLayer]:
    """Return a random real network of the sizes of *space* whose neurons tell the rows of *codes* apart from the start."""
    rng = np.random.default_rng(seed)
    x, layers = codes.astype(np.float64), []
    for n, m, *_ in space.layout.tolist():
        spread = np.sqrt(((x - x.mean(axis=0)) ** 2).mean(axis=0))
        weights = rng.uniform(-1, 1, (m, n)) / (np.where(spread > 0, spread, 1.0) * math.sqrt(n))
        bias = rng.uniform(-0.5, 0.5, m) - products(weights, x.mean(axis=0))
        layers.append(RealLayer(weights, bias))
        sums = np.tile(bias, (len(x), 1))
        for column, weight in zip(x.T, weights.T):  # one after the other: the order is the same on every machine
            sums += column[:, None] * weight
        x = np.maximum(sums, 0.0)
    return layers


def products(weights: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return weights (m × n) · x (n), every sum exact before it is rounded once: the same on every machine."""
    return np.array([math.fsum(row) for row in (weights * x).tolist()])


def _scales(weights: np.ndarray, top: int, common: bool, rng: np.random.Generator | None) -> np.ndarray:
    """Return what the weights of each neuron (rows) are multiplied by, so that the greatest becomes about *top*."""
    rows = weights.reshape(1, -1) if common else weights
    scales = []
    for row in rows:
        largest = float(np.abs(row).max(initial=0.0))
        if largest < _NOTHING:
            scales.append(1.0)
            continue
        if rng is not None:
            scales.append(float(rng.uniform(0.5, 1.5)) * top / largest)
            continue
        best = None
        for factor in _FACTORS.tolist():
            scaled = row * (factor * top / largest)
            errors = (_nearest(scaled, top) - scaled) / factor
            error = math.fsum((errors * errors).tolist())
            if best is None or error < best[0]:
                best = (error, factor * top / largest)
        assert best is not None
        scales.append(best[1])
    return np.full(len(weights), scales[0]) if common else np.array(scales)


def _nearest(values: np.ndarray, top: int) -> np.ndarray:
    """Return the nearest of 0, ±1, ±2 … ±*top* to each of *values*; ties go up."""
    size = np.abs(values)
    fraction, exponent = np.frexp(np.maximum(size, 0.5))  # size = fraction · 2^exponent, fraction from 0.5 to 1
    power = np.ldexp(np.where(fraction >= 0.75, 1.0, 0.5), exponent)
    return np.sign(values) * np.where(size < 0.5, 0.0, np.clip(power, 1.0, top))


def _shift(sums: np.ndarray | None, greatest: np.ndarray, bits: int) -> int:
    """Return the least shift with which nearly all of *sums* (or, without them, the *greatest*) fit *bits* bits."""
    if sums is None or not sums.size:
        value = int(greatest.max(initial=0.0))
    else:
        flat = np.sort(sums.reshape(-1))
        value = int(flat[min(len(flat) - 1, int(len(flat) * _FITTING))])
    return max(0, value.bit_length() - bits)
