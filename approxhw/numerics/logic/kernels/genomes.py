"""What many genomes of gates make of the same rows: wrong rows and area of each, live gates alone being simulated."""

from __future__ import annotations

import numba
import numpy as np

from .gate_words import fill_plane
from .removal import count_wrong, simplify


@numba.njit(cache=True, nogil=True)
def judge_genomes(
    genomes: np.ndarray, gates: int, first: int, inputs: np.ndarray, wanted: np.ndarray, mask: np.ndarray, areas: np.ndarray,
    errors: np.ndarray, found: np.ndarray,
) -> None:  # fmt: skip
    """Fill *errors* and *found*, the area, of each of *genomes* (P × G), given the planes of constants and *inputs*."""
    words, signals = inputs.shape[1], first + gates
    planes = np.zeros((signals, words), np.uint64)
    planes[:first] = inputs
    functions, operands = np.empty(gates, np.int8), np.empty((gates, 3), np.int32)
    outputs = np.empty(genomes.shape[1] - 4 * gates, np.int32)
    alias, live = np.empty(signals, np.int32), np.empty(signals, np.bool_)
    for p in range(genomes.shape[0]):
        for g in range(gates):
            functions[g] = genomes[p, 4 * g]
            for i in range(3):
                operands[g, i] = genomes[p, 4 * g + 1 + i]
        for o in range(outputs.size):
            outputs[o] = genomes[p, 4 * gates + o]
        found[p] = simplify(functions, operands, outputs, first, areas, alias, live)
        for g in range(gates):
            if live[first + g]:
                a, b, c = planes[operands[g, 0]], planes[operands[g, 1]], planes[operands[g, 2]]
                fill_plane(functions[g], a, b, c, planes[first + g], words)
        errors[p] = count_wrong(outputs, wanted, mask, planes, 0, words)
