"""The full adders of masked power-of-two circuits as DATE 2024 counts them: two trees a neuron, by column compression."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def full_adders(layout: np.ndarray, genomes: np.ndarray) -> np.ndarray:
    """Return the full adders of each genome (P × G, int32): int64, P. ``layout``: L × 9."""
    result = np.zeros(len(genomes), np.int64)
    columns = np.zeros(64, np.int64)
    for p in range(len(genomes)):
        genes = genomes[p]
        for number in range(layout.shape[0]):
            inputs, outputs, input_bits = layout[number, 0], layout[number, 1], layout[number, 2]
            masks, signs, exponents = layout[number, 3], layout[number, 4], layout[number, 5]
            for o in range(outputs):
                bias = np.int64(genes[layout[number, 6] + o])
                for negative in range(2):
                    columns[:] = 0
                    constant = max(-bias if negative else bias, 0)
                    for column in range(32):
                        columns[column] = (constant >> column) & 1
                    for place in range(o * inputs, (o + 1) * inputs):
                        mask = np.int64(genes[masks + place])
                        if mask and (genes[signs + place] != 0) == (negative == 1):
                            for position in range(input_bits):
                                columns[position + genes[exponents + place]] += (mask >> position) & 1
                    for column in range(63):
                        # three become one here and one above: two fewer each time
                        adders = (columns[column] - 1) // 2
                        if adders > 0:
                            result[p] += adders
                            columns[column + 1] += adders
    return result
