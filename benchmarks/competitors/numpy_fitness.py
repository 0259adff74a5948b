"""The fitness of one masked power-of-two network in NumPy, as its users write it: broadcast, by neuron, and by summand."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Network(NamedTuple):
    """A network of two layers: masks, signs (±1) and exponents (outputs × inputs), biases, shift and bits of the QReLU."""

    masks: tuple[np.ndarray, np.ndarray]
    signs: tuple[np.ndarray, np.ndarray]
    exponents: tuple[np.ndarray, np.ndarray]
    biases: tuple[np.ndarray, np.ndarray]
    shift: int
    bits: int


def broadcast(network: Network, codes: np.ndarray, labels: np.ndarray) -> int:
    """Return how many rows get the wrong class; one array of rows × outputs × inputs a layer. ``codes``: rows × features."""
    x = codes
    for layer in (0, 1):
        products = ((x[:, None, :] & network.masks[layer]) << network.exponents[layer]) * network.signs[layer]
        sums = products.sum(axis=2) + network.biases[layer]
        x = np.clip(sums >> network.shift, 0, (1 << network.bits) - 1)
    return int(np.count_nonzero(sums.argmax(axis=1) != labels))


def per_neuron(network: Network, codes: np.ndarray, labels: np.ndarray) -> int:
    """Return the same, neuron by neuron: arrays of rows × inputs in int32 that stay in the cache, signs by a product."""
    x = codes
    for layer in (0, 1):
        masks, signs, exponents = network.masks[layer], network.signs[layer], network.exponents[layer]
        sums = np.empty((len(codes), len(masks)), dtype=np.int32)
        for o, bias in enumerate(network.biases[layer]):
            sums[:, o] = ((x & masks[o]) << exponents[o]) @ signs[o] + bias
        x = np.clip(sums >> network.shift, 0, (1 << network.bits) - 1)
    return int(np.count_nonzero(sums.argmax(axis=1) != labels))


def per_summand(network: Network, columns: np.ndarray, labels: np.ndarray) -> int:
    """Return the same, summand by summand, from int32 columns (features × rows): in place, masked summands left out.

    The fastest NumPy that we know of; it takes the layout and the tricks of our kernel.
    """
    x = columns
    for layer in (0, 1):
        masks, signs, exponents = network.masks[layer], network.signs[layer], network.exponents[layer]
        sums = np.empty((len(masks), columns.shape[1]), dtype=np.int32)
        product = np.empty(columns.shape[1], dtype=np.int32)
        for o, total in enumerate(sums):
            total.fill(network.biases[layer][o])
            for i in np.flatnonzero(masks[o]):
                np.bitwise_and(x[i], masks[o, i], out=product)
                np.left_shift(product, exponents[o, i], out=product)
                if signs[o, i] > 0:
                    total += product
                else:
                    total -= product
        if layer == 0:
            sums >>= network.shift
            x = np.clip(sums, 0, (1 << network.bits) - 1, out=sums)
    return int(np.count_nonzero(sums.argmax(axis=0) != labels))
