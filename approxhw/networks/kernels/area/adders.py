"""Count the cells of masked power-of-two circuits: a symbolic build of each genome's circuit, in Numba.

The builder of bespoke circuits (``docs/bespoke.md``) in small: the same columns, compression, QReLU and argmax tree
(``words.py``), bit by bit (``gates.py``), and counted backwards from the class index (``counting.py``), as a whole or part by
part (``parts.py``); small parts also as synthesis would build them (``functions.py``). ``docs/estimate.md`` tells why.
"""

from __future__ import annotations

import numba
import numpy as np

from .counting import FEATURES, PRICES
from .gates import HEADER, MASK_OF_TABLE, MOST_WORDS, ROWS, SPARE, TABLE, WORDS, Pointer
from .parts import BUDGET, NEEDED, count_parts, count_whole, has_small_parts
from .words import COLUMNS, HIGH, LOW, SIZE

Scratch = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""What :func:`count` writes to on its way: net, words, columns, marks, used, tally; :func:`scratch` makes them."""

MOST = 64
"""Most words of 64 patterns that bits are compared on: all that there are of 12 inputs."""


@numba.njit(
    "void(CPointer(i8), i8, CPointer(i8), CPointer(i4), CPointer(i8), CPointer(i8), i8, CPointer(i8), i8, CPointer(i8), i8,"
    " CPointer(u1), CPointer(f8), CPointer(f8))",
    cache=True,
    nogil=True,
)
def _circuit(
    layout: Pointer, layers: int, head: Pointer, genes: Pointer, net: Pointer, words: Pointer, values: int,
    columns: Pointer, stride: int, marks: Pointer, names: int, used: Pointer, tally: Pointer, counts: Pointer,
) -> None:  # fmt: skip
    """Count the cells of one genome's circuit; pointers into the scratch of :func:`count`."""
    inputs, bits = layout[0], layout[2]
    for i in range(inputs):
        at = i * SIZE
        for position in range(bits):
            words[at + position] = 2 * (1 + i * bits + position)
        words[at + LOW], words[at + HIGH] = 0, (1 << bits) - 1
    whole, parts = 3 * FEATURES, 4 * FEATURES
    for feature in range(whole, parts + FEATURES):
        tally[feature] = 0.0
    best, most = whole, 6
    price = count_whole(
        layout, layers, head, genes, net, words, values, columns, stride, marks, names, used, tally, whole
    )
    while net[MOST_WORDS] >> (most - 5):
        most += 1
    if price > 0 and net[WORDS] == 0 < net[MOST_WORDS] and layers > 1 and has_small_parts(layout, layers, genes, most):
        again = count_parts(
            layout, layers, head, genes, net, words, values, columns, stride, marks, names, used, tally, parts
        )
        if again < price:
            best = parts
    for feature in range(FEATURES):
        counts[feature] = tally[best + feature]


@numba.njit(cache=True, nogil=True)
def count(
    layout: np.ndarray, head: np.ndarray, genomes: np.ndarray, net: np.ndarray, words: np.ndarray, columns: np.ndarray,
    marks: np.ndarray, used: np.ndarray, tally: np.ndarray, rows: np.ndarray,
) -> None:  # fmt: skip
    """Write to *rows* (genomes × 16 float64) how many cells of every kind the circuit of each genome has.

    ``layout`` (L × 9), ``head`` (3), ``genomes`` (int32, C-contiguous) as ``approxhw/networks/space.py`` lays them out; the
    arrays between as :func:`scratch` makes them, for this layout and head, and for one thread.
    """
    for p in range(genomes.shape[0]):
        _circuit(
            layout.ctypes, layout.shape[0], head.ctypes, genomes[p].ctypes, net.ctypes, words.ctypes, words.shape[1],
            columns.ctypes, columns.shape[1], marks.ctypes, marks.shape[1], used.ctypes, tally.ctypes, rows[p].ctypes,
        )  # fmt: skip


def scratch(layout: np.ndarray, head: np.ndarray, most: int = MOST) -> Scratch:
    """Return the scratch arrays of :func:`count` for circuits of *layout* and *head*; one set a thread.

    ``most``: words of 64 patterns, a power of two, that parts are looked at on; 0: bits are compared by name alone, and
    nothing is taken apart.
    """
    inputs, outputs = int(layout[:, 0].max()), int(layout[:, 1].max())
    # every cell of a sum takes a bit off its columns, or is one of the two last of a column; four gates at most instead of one
    dots = int((layout[:, 0] * layout[:, 1] * layout[:, 2]).sum())
    neurons = int(layout[:, 1].sum())
    names = 2 + int((layout[:, 0] * layout[:, 2]).max())
    cells = 4 * (dots + neurons * 5 * SIZE + outputs * (2 * SIZE + outputs.bit_length()))
    spare = 2 * (6 + most.bit_length())  # two rows for every input that a function is taken apart by
    variables = names + 2 * cells + 4 * BUDGET + spare
    slots = 1 << (4 * dots + 2 * BUDGET).bit_length()
    net = np.empty(HEADER + slots + variables * (most + 4), np.int64)  # large, and hardly any of it is ever touched
    net[: HEADER + slots] = 0
    net[[MOST_WORDS, MASK_OF_TABLE, TABLE, ROWS, SPARE]] = most, slots - 1, HEADER, HEADER + slots, variables - spare
    return (
        net,
        np.zeros((len(layout) + 3, max(inputs, outputs), SIZE), np.int64),
        np.zeros((COLUMNS + 2, 3 * inputs + 9), np.int64),
        np.zeros((NEEDED + 2, names), np.int64),
        np.empty(variables, np.uint8),
        np.array(PRICES + (0.0,) * (4 * FEATURES)),
    )
