"""Count the cells of masked power-of-two circuits: a symbolic build of each genome's circuit, in Numba.

The builder of bespoke circuits (``docs/bespoke.md``) in small: the same columns, compression, QReLU and argmax tree, bit by
bit of ``gates.py``, and counted backwards from the class index, so that what nothing reads is free.
"""

from __future__ import annotations

import numba
import numpy as np

from .functions import take_apart
from .gates import (
    CHOOSE,
    FULL,
    GATE,
    GENOME,
    HALF,
    HEADER,
    KEPT,
    MASK,
    MASK_OF_TABLE,
    MOST_WORDS,
    NET,
    ROWS,
    SPARE,
    TABLE,
    lowest,
    name,
    row,
)
from .patterns import is_read, noise_of, set_patterns
from .words import COLUMNS, HIGH, LOW, SIZE, activate, argmax, compress, masked_range, width_of

SAMPLE = 16
"""Words of 64 patterns that bits are compared on where there are too many for :data:`MOST` words."""

MOST = 64
"""Most words of patterns: all that there are of 12 bits."""

BUDGET = 192
"""Most functions to look at before taking a circuit apart is given up."""

(
    FULL_BOTH,
    FULL_SUM,
    FULL_CARRY,
    HALF_BOTH,
    HALF_SUM,
    ADDER_GATE,
    MASK_GATE,
    SATURATE_GATE,
    ANY_GATE,
    CHOOSE_BOTH,
    CHOOSE_GATE,
    COMPARE_STEP,
    COMPARE_GATE,
    INPUT_INVERTED,
    GATE_POSITIVE,
    CELL_BOTH_PHASES,
) = range(16)
FEATURES = 16
"""Columns of :func:`count`."""

PRICES = (
    2.738,
    2.086,
    1.632,
    1.233,
    1.043,
    0.248,
    0.248,
    0.248,
    0.248,
    0.972,
    0.248,
    1.480,
    0.248,
    0.228,
    0.186,
    0.228,
)
"""By which the cheaper of two ways to build a circuit is chosen: those of printed cells alone, in mm²; only ratios matter."""


@numba.njit(
    f"i8({NET}, CPointer(i8), i8, i8, CPointer(i4), i8, CPointer(i8), i8, i8, CPointer(i8), i8)", cache=True, nogil=True
)
def _layer(net, free, layout, layers, kind, genes, number, words, source, target, columns, stride):  # type: ignore[no-untyped-def]
    """Build the neurons of layer *number* that something reads, from the words at *source* to those at *target*."""
    start = 9 * number
    inputs, outputs, ones = layout[start], layout[start + 1], (1 << layout[start + 2]) - 1
    masks, signs, exponents, biases = layout[start + 3], layout[start + 4], layout[start + 5], layout[start + 6]
    for o in range(outputs):
        if not is_read(layout, layers, genes, number, o):
            continue
        at = target + o * SIZE
        constant = np.int64(genes[biases + o])
        if kind == 1 and number == layers - 1:
            constant -= 1  # x > 0 is the sign of x − 1
        least, greatest, highest = constant, constant, 0
        for i in range(inputs):
            place = o * inputs + i
            mask = np.int64(genes[masks + place]) & ones
            if mask == 0:
                continue
            exponent, negative, word = np.int64(genes[exponents + place]), genes[signs + place], source + i * SIZE
            below, above = masked_range(mask, words[word + LOW], words[word + HIGH], ones)
            if negative:
                least, greatest = least - (above << exponent), greatest - (below << exponent)
            else:
                least, greatest = least + (below << exponent), greatest + (above << exponent)
            mask &= (1 << width_of(words[word + LOW], words[word + HIGH])) - 1
            while mask:
                position = lowest(mask)
                mask &= mask - 1
                bit = words[word + position]
                column = position + exponent
                highest = max(highest, column)
                if negative:
                    bit ^= 1
                    constant -= 1 << column
                if bit < 2:
                    constant += bit << column
                else:
                    columns[column * stride] += 1
                    columns[column * stride + columns[column * stride]] = bit
        width = width_of(least, greatest)
        words[at + LOW], words[at + HIGH] = least, greatest
        free = compress(net, free, columns, stride, width, constant, words, at)
        for column in range(width + 1, highest + 1):
            columns[column * stride] = 0
        if layout[start + 7] >= 0:
            free = activate(net, free, words, at, np.int64(genes[layout[start + 7]]), layout[start + 8])
    return free


@numba.njit("void(CPointer(u1), i8)", cache=True, nogil=True)
def _read(used, literal):  # type: ignore[no-untyped-def]
    used[literal >> 1] |= 1 << (literal & 1)


@numba.njit(
    f"f8({NET}, i8, i8, CPointer(i8), i8, i8, CPointer(u1), CPointer(f8), CPointer(f8))", cache=True, nogil=True
)
def _count(net, free, start, base, words, at, roots, used, prices, counts):  # type: ignore[no-untyped-def]
    """Count by kind the cells of variables from *start* to *free* that the literals at *at* need; return their price.

    Backwards: *used* holds 1 for a variable that is read as it is, 2 inverted, 4 by a sum alone. Inputs stand below *base*.
    """
    for i in range(free):
        used[i] = 0
    for feature in range(FEATURES):
        counts[feature] = 0.0
    for k in range(roots):
        _read(used, words[at + k])
    for variable in range(free - 2, start - 2, -2):
        first, second = used[variable], used[variable + 1]
        if not first and not second:
            continue
        at = row(net, variable + 1) - 4
        kind, x, y, z = net[at], net[at + 1], net[at + 2], net[at + 3]
        if kind <= HALF and not second:
            used[x >> 1] |= 4
            used[y >> 1] |= 4
            used[z >> 1] |= 4
        else:
            _read(used, x)
            _read(used, y)
            _read(used, z)
        if first & 3 == 3 or second & 3 == 3:
            counts[CELL_BOTH_PHASES] += 1
        if kind == FULL:
            counts[FULL_BOTH if first and second else FULL_SUM if first else FULL_CARRY] += 1
        elif kind == HALF and first:
            counts[HALF_BOTH if second else HALF_SUM] += 1
        elif z:
            counts[CHOOSE_BOTH if kind == CHOOSE else COMPARE_STEP] += 1
        else:
            if kind <= GATE:
                counts[ADDER_GATE] += 1
            elif kind >= CHOOSE:
                counts[CHOOSE_GATE if kind == CHOOSE else COMPARE_GATE] += 1
            else:
                counts[MASK_GATE + kind - MASK] += 1
            if (first | second) & 1:
                counts[GATE_POSITIVE] += 1
    for variable in range(1, base):
        if used[variable] & 2:
            counts[INPUT_INVERTED] += 1
    price = 0.0
    for feature in range(FEATURES):
        price += prices[feature] * counts[feature]
    return price


@numba.njit("i8(CPointer(i8), i8, CPointer(i8), i8, i8, CPointer(i8), i8, i8)", cache=True, nogil=True)
def _rebuild(net, free, sources, first, count, words, at, roots):  # type: ignore[no-untyped-def]
    """Build the functions whose literals stand at *at* anew from their truth tables, and put those literals there.

    ``sources``: the *count* variables of the inputs stand in it from *first* on. Returns the next free variable, −1 where
    that takes too many cells.
    """
    net[GENOME] += 1
    net[KEPT] = 0
    for k in range(count):
        name(net, sources[first + k])
    budget = np.int64(BUDGET)
    for k in range(roots):
        literal = words[at + k]
        if literal < 2:
            continue
        made, free, budget = take_apart(net, free, sources, first, count, row(net, literal >> 1), net[SPARE], budget)
        if budget < 0:
            return -1
        words[at + k] = made ^ (literal & 1)
    return free


@numba.njit(
    "void(CPointer(i8), i8, CPointer(i8), CPointer(i4), CPointer(i8), CPointer(i8), i8, CPointer(i8), CPointer(f8),"
    " CPointer(i8), CPointer(i8), i8, CPointer(i8), i8, CPointer(u1), CPointer(f8), CPointer(f8), CPointer(f8))",
    cache=True,
    nogil=True,
)
def _circuit(
    layout,
    layers,
    head,
    genes,
    net,
    noise,
    sample,
    union,
    pull,
    aims,
    words,
    values,
    columns,
    stride,
    used,
    prices,
    other,
    counts,
):  # type: ignore[no-untyped-def]
    """Build the circuit of one genome and count its cells; pointers into the scratch of :func:`count`."""
    inputs, bits = layout[0], layout[2]
    net[GENOME] += 1
    net[KEPT] = 0
    known = set_patterns(net, layout, layers, genes, noise, sample, union, pull, aims)
    for i in range(inputs):
        at = i * SIZE
        for position in range(bits):
            words[at + position] = 2 * (1 + i * bits + position)
        words[at + LOW], words[at + HIGH] = 0, (1 << bits) - 1
    base = (2 + inputs * bits) >> 1 << 1
    free, source, target = base, 0, values * SIZE
    for number in range(layers):
        free = _layer(net, free, layout, layers, head[0], genes, number, words, source, target, columns, stride)
        source, target = target, source
    # the class index takes the place of the words that are not read any more
    roots = 0
    if head[0] == 0:
        roots, free = argmax(net, free, head, genes, words, source, target, layout[9 * layers - 8])
    elif words[source + LOW] < 0 <= words[source + HIGH]:
        roots = 1
        words[target] = words[source + width_of(words[source + LOW], words[source + HIGH]) - 1] ^ 1
    price = _count(net, free, base, base, words, target, roots, used, prices, counts)
    if known < 0 or price == 0.0:
        return
    end = _rebuild(net, free, union, inputs, known, words, target, roots)
    if end >= 0 and _count(net, end, free, base, words, target, roots, used, prices, other) < price:
        for feature in range(FEATURES):
            counts[feature] = other[feature]


@numba.njit(cache=True, nogil=True)
def count(layout, head, genomes, net, noise, union, pull, aims, words, columns, used, prices, other, rows):  # type: ignore[no-untyped-def]
    """Write to *rows* (genomes × 16 float64) how many cells of every kind the circuit of each genome has.

    ``layout`` (L × 9), ``head`` (3), ``genomes`` (int32, C-contiguous) as ``passes/genetic/space.py`` lays them out; the
    arrays between as :func:`scratch` makes them, for this layout and head, and for one thread.
    """
    for p in range(genomes.shape[0]):
        _circuit(
            layout.ctypes, layout.shape[0], head.ctypes, genomes[p].ctypes, net.ctypes, noise.ctypes, noise.shape[1],
            union.ctypes, pull.ctypes, aims.ctypes, words.ctypes, words.shape[1], columns.ctypes, columns.shape[1],
            used.ctypes, prices.ctypes, other.ctypes, rows[p].ctypes,
        )  # fmt: skip


def scratch(
    layout: np.ndarray, head: np.ndarray, most: int = MOST, sample: int | None = None
) -> tuple[np.ndarray, ...]:
    """Return the scratch arrays of :func:`count` for circuits of *layout* and *head*; one set a thread.

    ``most``: words of 64 patterns, a power of two; bits are compared on all patterns where there are no more, which is
    sound. ``sample``: words of the sample that bits are compared on where there are more, :data:`SAMPLE` by default, 0 where
    ``most`` is 0. Without patterns bits are compared by name alone.
    """
    sample = (SAMPLE if most else 0) if sample is None else sample
    inputs, outputs = int(layout[:, 0].max()), int(layout[:, 1].max())
    sources = int(layout[0, 0] * layout[0, 2])
    # every cell of a sum takes a bit off its columns, or is one of the two last of a column; four gates at most instead of one
    dots = int((layout[:, 0] * layout[:, 1] * layout[:, 2]).sum())
    neurons = int(layout[:, 1].sum())
    cells = 4 * (dots + neurons * 5 * SIZE + outputs * (2 * SIZE + outputs.bit_length()))
    variables = 2 + sources + 2 * cells + 256
    slots = 1 << (4 * dots + 256 if most or sample else 1).bit_length()
    net = np.zeros(HEADER + slots + variables * (max(most, sample) + 4), np.int64)
    spare = 2 * (6 + most.bit_length())  # two rows for every input that a function is taken apart by
    net[[MOST_WORDS, MASK_OF_TABLE, TABLE, ROWS, SPARE]] = most, slots - 1, HEADER, HEADER + slots, variables - spare
    return (
        net,
        noise_of(sources, sample),
        np.zeros(inputs + sources, np.int64),
        np.zeros(2 * outputs * int(layout[0, 0])),
        np.zeros(max(sample, 1) * int(layout[0, 0]), np.int64),
        np.zeros((2, max(inputs, outputs), SIZE), np.int64),
        np.zeros((COLUMNS + 2, 3 * inputs + 9), np.int64),
        np.zeros(variables, np.uint8),
        np.array(PRICES),
        np.zeros(FEATURES),
    )
