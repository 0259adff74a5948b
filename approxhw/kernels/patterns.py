"""Patterns that the bits of a circuit are compared on: all there are, or a sample that reaches the tails of its sums."""

from __future__ import annotations

import numba
import numpy as np

from .gates import MOST_WORDS, STRIDE, WORDS, lowest, name, row

_BIT_OF_64 = np.array(
    [
        0xAAAAAAAAAAAAAAAA,
        0xCCCCCCCCCCCCCCCC,
        0xF0F0F0F0F0F0F0F0,
        0xFF00FF00FF00FF00,
        0xFFFF0000FFFF0000,
        0xFFFFFFFF00000000,
    ],
    dtype=np.uint64,
).view(np.int64)
"""Bit k of the numbers 0 … 63."""


@numba.njit("b1(CPointer(i8), i8, CPointer(i4), i8, i8)", cache=True, nogil=True)
def is_read(layout, layers, genes, number, o):  # type: ignore[no-untyped-def]
    """Whether a neuron of the layer after *number* has a mask for neuron *o*; the last layer's neurons are always read."""
    if number == layers - 1:
        return True
    gene = layout[9 * number + 12] + o
    end = gene + layout[9 * number + 10] * layout[9 * number + 1]
    while gene < end and not genes[gene]:
        gene += layout[9 * number + 1]
    return gene < end


@numba.njit("void(CPointer(i8), i8, CPointer(i4), CPointer(f8), CPointer(i8), i8)", cache=True, nogil=True)
def _aim(layout, layers, genes, pull, aims, words):  # type: ignore[no-untyped-def]
    """Say for every word of patterns whether an input rises (1), falls (2) or is left alone (0) from its first to its last.

    Each word but the first aims at one neuron, the last layer's first: inputs follow what they add to its sum, through all
    layers and as if they were linear; in the last one to its lead over the mean. *pull*: scratch, 2 × neurons × inputs;
    *aims*: words × inputs.
    """
    inputs, most, first = layout[0], 0, words
    for number in range(layers):
        first -= layout[9 * number + 1]  # the word of the layer's first neuron
        most = max(most, layout[9 * number + 1])
    for i in range(words * inputs):
        aims[i] = 0
    for number in range(layers):
        start = 9 * number
        n, m, masks, signs, exponents = (
            layout[start],
            layout[start + 1],
            layout[start + 3],
            layout[start + 4],
            layout[start + 5],
        )
        here, before = number % 2 * most * inputs, (1 - number % 2) * most * inputs
        for i in range(here, here + m * inputs):
            pull[i] = 0.0
        for o in range(m):
            for k in range(n):
                mask = np.int64(genes[masks + o * n + k])
                if not mask:
                    continue
                weight = float(mask << genes[exponents + o * n + k])
                if genes[signs + o * n + k]:
                    weight = -weight
                if number:
                    for i in range(inputs):
                        pull[here + o * inputs + i] += weight * pull[before + k * inputs + i]
                else:
                    pull[here + o * inputs + k] = weight
        for i in range(inputs):
            mean = 0.0
            if number == layers - 1 and m > 1:
                for o in range(m):
                    mean += pull[here + o * inputs + i] / m
            for o in range(m):
                lead = pull[here + o * inputs + i] - mean
                if first + o >= 1:
                    aims[(first + o) * inputs + i] = 1 if lead > 0 else 2 if lead < 0 else 0
        first += m


@numba.njit(
    "i8(CPointer(i8), CPointer(i8), i8, CPointer(i4), CPointer(i8), i8, CPointer(i8), CPointer(f8), CPointer(i8))",
    cache=True,
    nogil=True,
)
def set_patterns(net, layout, layers, genes, noise, sample, union, pull, aims):  # type: ignore[no-untyped-def]
    """Give every input bit that is read its values: all patterns there are, or a *sample* of so many words.

    A sample: 64 uniform patterns, then 64 each in which the sum of one neuron goes from its least to its greatest,
    because it is the tails that decide which bits are constant, and which class can win. *union*: scratch, one an input;
    behind it, the variables of the bits that are read. Returns their number, −1 where the patterns are a sample.
    """
    inputs, neurons, bits, masks = layout[0], layout[1], layout[2], layout[3]
    for i in range(inputs):
        union[i] = 0
    for o in range(neurons):
        if is_read(layout, layers, genes, 0, o):
            for i in range(inputs):
                union[i] |= genes[masks + o * inputs + i]
    there = 0
    for i in range(inputs):
        union[i] &= (1 << bits) - 1
        left = union[i]
        while left:
            left &= left - 1
            there += 1
    words = 1 << min(max(there - 6, 0), 32)
    whole = words <= net[MOST_WORDS]
    if not whole:
        words = sample
    net[WORDS], net[STRIDE] = words, words + 4
    if not whole and words:
        _aim(layout, layers, genes, pull, aims, words)
    there = 0
    for i in range(inputs):
        left = union[i]
        while left:
            variable = 1 + i * bits + lowest(left)
            left &= left - 1
            at = row(net, variable)
            for word in range(words):
                if not whole:
                    net[at + word] = noise[3 * (variable * sample + word) + aims[word * inputs + i]]
                elif there < 6:
                    net[at + word] = _BIT_OF_64[there]
                else:
                    net[at + word] = -(word >> (there - 6) & 1)
            name(net, variable)
            union[inputs + there] = variable
            there += 1
    return there if whole else -1


def noise_of(sources: int, words: int) -> np.ndarray:
    """Return (bits of inputs + 1) × *words* × 3 words: uniform; rising from 0 to 1, more or less; falling."""
    generator = np.random.default_rng(0)
    uniform = generator.integers(0, 1 << 64, (sources + 1, words), dtype=np.uint64)
    uniform[:, :1] = (uniform[:, :1] & ~np.uint64(3)) | np.uint64(2)  # all 0 and all 1 are among the uniform ones
    ramp = generator.random((sources + 1, words, 64)) * 63 < np.arange(64)
    rising = (ramp.astype(np.uint64) << np.arange(64, dtype=np.uint64)).sum(axis=-1, dtype=np.uint64)
    return np.ascontiguousarray(np.stack([uniform, rising, ~rising], axis=-1)).view(np.int64)
