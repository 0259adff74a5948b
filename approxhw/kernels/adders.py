"""Count the cells of masked power-of-two circuits: a symbolic build of each genome's circuit, in Numba.

The builder of bespoke circuits (``docs/bespoke.md``) in small: the same columns, compression, QReLU and argmax tree, bit by
bit of ``gates.py``, and counted backwards from the class index, so that what nothing reads is free.
"""

from __future__ import annotations

import numba
import numpy as np

from .gates import (
    ANY,
    CHOOSE,
    FULL,
    GATE,
    HALF,
    MASK,
    NET,
    SATURATE,
    both,
    choose,
    full,
    half_one,
    lowest,
    majority,
    name,
)

COLUMNS = 62
"""Most columns of a sum: everything here fits int64."""

WORDS = 16
"""Words of 64 patterns that bits are compared on."""

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
)
"""Bit k of the numbers 0 … 63."""


@numba.njit("i8(i8, i8)", cache=True, nogil=True)
def _width(low, high):  # type: ignore[no-untyped-def]
    """Return the bits that hold *low* … *high*, a sign bit only where *low* < 0."""
    bits = 0
    while high > 0:
        high >>= 1
        bits += 1
    if low >= 0:
        return bits
    low = -low - 1
    least = 0
    while low > 0:
        low >>= 1
        least += 1
    return 1 + max(bits, least)


@numba.njit("UniTuple(i8, 2)(i8, i8, i8, i8)", cache=True, nogil=True)
def _masked_range(mask, low, high, ones):  # type: ignore[no-untyped-def]
    """Return least and greatest x & mask for low ≤ x ≤ high; *ones*: as long as any x."""
    if low == 0 and high & (high + 1) == 0:
        return 0, mask & high
    if high - low >= 1024:
        while ones >> 1 >= high:
            ones >>= 1
        return 0, mask & ones
    # x below high: a prefix of high, then 0 where high has a 1, then anything; likewise above low
    least, greatest = min(low & mask, high & mask), max(low & mask, high & mask)
    bit = 1
    while bit <= high:
        x = (high ^ bit) | (bit - 1)
        if high & bit and x >= low:
            greatest = max(greatest, x & mask)
        x = (low | bit) & ~(bit - 1)
        if not low & bit and x <= high:
            least = min(least, x & mask)
        bit <<= 1
    return least, greatest


@numba.njit(f"i8({NET}, i8[:, ::1], i8[::1], i8, i8, i8[:, ::1], i8)", cache=True, nogil=True)
def _compress(cells, values, table, free, columns, counts, width, constant, words, word):  # type: ignore[no-untyped-def]
    """Sum *columns* (62 × capacity literals, *counts* of them used) and *constant* modulo 2^width into a word.

    Returns the number of cells; *counts* are 0 afterwards. Column by column as ``approxhw.backends.compression``.
    """
    rows = False
    carry = 0
    for column in range(width):
        first, last = 0, counts[column]  # a queue: bits are taken in front, sums put behind
        counts[column] = 0
        above = column + 1
        waiting = counts[above]
        one = (constant >> column) & 1
        if one and last > 0 and last % 2 == 0 and (rows or last != 2):
            total, over, free = half_one(cells, values, table, free, columns[column, 0], columns[column, 1])
            columns[column, last] = total
            columns[above, waiting] = over
            first, last, waiting, one = 2, last + 1, waiting + 1, 0
        most = 2 if rows or one else 3
        while last - first > most:
            a, b, c = columns[column, first], columns[column, first + 1], columns[column, first + 2]
            total, over, free = full(cells, values, table, free, a, b, c)
            columns[column, last] = total
            columns[above, waiting] = over
            first, last, waiting = first + 3, last + 1, waiting + 1
        left = last - first
        if rows or left >= 2:
            a = columns[column, first] if left > 0 else one
            b = columns[column, first + 1] if left > 1 else (one if left == 1 else 0)
            if left == 3:
                carry = columns[column, first + 2]
            elif left == 2 and one:
                carry = 1
            words[word, column], carry, free = full(cells, values, table, free, a, b, carry)
            rows = True
        elif left == 0:
            words[word, column] = one
        elif one:
            words[word, column] = columns[column, first] ^ 1
            columns[above, waiting] = columns[column, first]
            waiting += 1
        else:
            words[word, column] = columns[column, first]
        counts[above] = waiting
    counts[width] = 0
    return free


@numba.njit("i8(i8[:, ::1], i8, i8, i8, i8)", cache=True, nogil=True)
def _bit(words, word, width, low, position):  # type: ignore[no-untyped-def]
    """Return the bit at *position* of a word of *width* bits, extended by its sign where *low* < 0."""
    if position < width:
        return words[word, position]
    return words[word, width - 1] if low < 0 else 0


@numba.njit(f"UniTuple(i8, 3)({NET}, i8[:, ::1], i8, i8, i8, i8, i8)", cache=True, nogil=True)
def _activation(cells, values, table, free, words, word, low, high, shift, hidden):  # type: ignore[no-untyped-def]
    """Turn a word, a sum from *low* to *high*, into its QReLU of *hidden* bits: min(max(sum >> shift, 0), 2^hidden − 1).

    Returns the range of the result and the number of cells.
    """
    width = _width(low, high)
    top = (1 << hidden) - 1
    sign = words[word, width - 1] if low < 0 else 0
    shift = min(shift, COLUMNS)
    low >>= shift
    high >>= shift
    if high > top and low >= top:
        for i in range(hidden):
            words[word, i] = 1
        return top, top, free
    if high <= 0:
        return 0, 0, free
    for i in range(width - shift):
        words[word, i] = words[word, i + shift]
    width = _width(low, high)
    if high > top:
        over = 1  # the inverted OR of the bits above, built as an AND of inverted bits
        for i in range(hidden, width - 1 if low < 0 else width):
            over, free = both(cells, values, table, free, ANY, over, words[word, i] ^ 1)
        for i in range(hidden):
            bit, free = both(cells, values, table, free, SATURATE, over, words[word, i] ^ 1)
            words[word, i] = bit ^ 1
        high = top
    if low < 0:
        for i in range(_width(0, high)):
            words[word, i], free = both(cells, values, table, free, MASK, sign ^ 1, words[word, i])
        low = 0
    return low, high, free


@numba.njit(f"UniTuple(i8, 3)({NET}, i8, i8, i8, i8, i8, i8)", cache=True, nogil=True)
def _next_step(cells, values, table, free, a, b, wins, below, last_a, last_b):  # type: ignore[no-untyped-def]
    """Add one more place to a comparison; return whether a side wins now and before, and the number of cells.

    A place that reads the same pair as the one under it, or that pair inverted (a sign and its copies), replaces it.
    """
    if (a == last_a and b == last_b) or (a == last_a ^ 1 and b == last_b ^ 1):
        wins = below
    above, free = majority(cells, values, table, free, a, b ^ 1, wins)
    return above, wins, free


@numba.njit("void(i8[:, ::1], i8[::1], i8[::1], i8, i8)", cache=True, nogil=True)
def _move(words, low, high, source, target):  # type: ignore[no-untyped-def]
    """Let word *source*, its range with it, stand at *target* too."""
    for position in range(_width(low[source], high[source])):
        words[target, position] = words[source, position]
    low[target], high[target] = low[source], high[source]


@numba.njit(f"UniTuple(i8, 2)({NET}, i8[:, ::1], i8[::1], i8[::1], i8, i8, i8, i8)", cache=True, nogil=True)
def _match(cells, values, table, free, words, low, high, i, j, looked_at, places):  # type: ignore[no-untyped-def]
    """Let words *i* and *j* of an argmax meet, j wins where it is greater; return whether it wins, and the number of cells.

    The winner's bits and range replace those of word *i*. *places*: 0 for an exact comparator; else the width of the offset
    binary codes of which it looks at the bit set *looked_at*.
    """
    width_i, width_j = _width(low[i], high[i]), _width(low[j], high[j])
    wins, below, last_a, last_b = 0, 0, -1, -1
    if places:
        width = places
        inverts = True
    else:
        if low[j] > high[i]:
            _move(words, low, high, j, i)
            return 1, free
        if high[j] <= low[i]:
            return 0, free
        inverts = low[i] < 0 or low[j] < 0
        width = max(width_i, width_j) + (1 if inverts and (low[i] >= 0 or low[j] >= 0) else 0)
        looked_at = (1 << width) - 1
    while looked_at:
        position = lowest(looked_at)
        looked_at &= looked_at - 1
        a = _bit(words, j, width_j, low[j], position)
        b = _bit(words, i, width_i, low[i], position)
        if inverts and position == width - 1:
            a, b = a ^ 1, b ^ 1
        if a != b:
            wins, below, free = _next_step(cells, values, table, free, a, b, wins, below, last_a, last_b)
            last_a, last_b = a, b
    if wins == 0:
        return wins, free
    if wins == 1:
        _move(words, low, high, j, i)
        return wins, free
    least, greatest = min(low[i], low[j]) if places else max(low[i], low[j]), max(high[i], high[j])
    for position in range(_width(least, greatest) - 1, -1, -1):  # from the top: below stand the signs
        a = _bit(words, i, width_i, low[i], position)
        b = _bit(words, j, width_j, low[j], position)
        words[i, position], free = choose(cells, values, table, free, wins, a, b)
    low[i], high[i] = least, greatest
    return wins, free


@numba.njit(
    f"UniTuple(i8, 2)({NET}, Array(i8, 1, 'C', True), Array(i4, 1, 'C', True),"
    " i8[:, ::1], i8[::1], i8[::1], i8[:, ::1], i8)",
    cache=True,
    nogil=True,
)
def _argmax(cells, values, table, free, head, genome, words, low, high, index, count):  # type: ignore[no-untyped-def]
    """Build the tree of an argmax of *count* words: return how many bits of the index *index[0]* holds, and the cells."""
    offset, places = head[1], head[2]
    exact = True
    for c in range(count - 1):
        exact = exact and genome[offset + c] == (1 << places) - 1
    comparator, level, entries = 0, 0, count
    while entries > 1:
        for pair in range(entries // 2):
            i, j = 2 * pair, 2 * pair + 1
            looked_at = np.int64(genome[offset + comparator])
            comparator += 1
            wins, free = _match(cells, values, table, free, words, low, high, i, j, looked_at, 0 if exact else places)
            for k in range(level):
                index[pair, k], free = choose(cells, values, table, free, wins, index[i, k], index[j, k])
            index[pair, level] = wins
            if pair:
                _move(words, low, high, i, pair)
        if entries % 2:
            pair = entries // 2
            _move(words, low, high, entries - 1, pair)
            for k in range(level):
                index[pair, k] = index[entries - 1, k]
            index[pair, level] = 0
        entries = (entries + 1) // 2
        level += 1
    return level, free


@numba.njit("b1(Array(i8, 2, 'C', True), Array(i4, 1, 'C', True), i8, i8)", cache=True, nogil=True)
def _is_read(layout, genome, number, o):  # type: ignore[no-untyped-def]
    """Whether a neuron of the layer after *number* has a mask for neuron *o*; the last layer's neurons are always read."""
    if number == layout.shape[0] - 1:
        return True
    reader = layout[number + 1, 3] + o
    end = reader + layout[number + 1, 1] * layout[number, 1]
    while reader < end and not genome[reader]:
        reader += layout[number, 1]
    return reader < end


@numba.njit(
    f"i8({NET}, Array(i8, 2, 'C', True), Array(i8, 1, 'C', True), Array(i4, 1, 'C', True), i8,"
    " i8[:, ::1], i8[::1], i8[::1], i8[:, ::1], i8[::1], i8[::1], i8[:, ::1], i8[::1])",
    cache=True,
    nogil=True,
)
def _layer(
    cells, values, table, free, layout, head, genome, number, words, low, high, out, out_low, out_high, columns, counts
):  # type: ignore[no-untyped-def]
    """Build the neurons of layer *number* that something reads, from *words* (inputs × 62) to *out*; return the cells."""
    inputs, outputs, input_bits = layout[number, 0], layout[number, 1], layout[number, 2]
    masks, signs, exponents, biases = layout[number, 3], layout[number, 4], layout[number, 5], layout[number, 6]
    ones = (1 << input_bits) - 1
    last = number == layout.shape[0] - 1
    for o in range(outputs):
        if not _is_read(layout, genome, number, o):
            continue
        constant = np.int64(genome[biases + o])
        if last and head[0] == 1:
            constant -= 1
        least, greatest, highest = constant, constant, 0
        for i in range(inputs):
            place = o * inputs + i
            mask = np.int64(genome[masks + place]) & ones
            if mask == 0:
                continue
            exponent = np.int64(genome[exponents + place])
            negative = genome[signs + place]
            below, above = _masked_range(mask, low[i], high[i], ones)
            if negative:
                least, greatest = least - (above << exponent), greatest - (below << exponent)
            else:
                least, greatest = least + (below << exponent), greatest + (above << exponent)
            mask &= (1 << _width(low[i], high[i])) - 1
            while mask:
                position = lowest(mask)
                mask &= mask - 1
                bit = words[i, position]
                column = position + exponent
                highest = max(highest, column)
                if negative:
                    bit ^= 1
                    constant -= 1 << column
                if bit < 2:
                    constant += bit << column
                else:
                    columns[column, counts[column]] = bit
                    counts[column] += 1
        width = _width(least, greatest)
        free = _compress(cells, values, table, free, columns, counts, width, constant, out, o)
        for column in range(width + 1, highest + 1):
            counts[column] = 0
        if layout[number, 7] >= 0:
            shift = np.int64(genome[layout[number, 7]])
            out_low[o], out_high[o], free = _activation(
                cells, values, table, free, out, o, least, greatest, shift, layout[number, 8]
            )
        else:
            out_low[o], out_high[o] = least, greatest
    return free


@numba.njit("void(u1[::1], i8)", cache=True, nogil=True)
def _read(used, literal):  # type: ignore[no-untyped-def]
    used[literal >> 1] |= 1 << (literal & 1)


@numba.njit("void(Array(i8, 2, 'C', True), Array(i4, 1, 'C', True), f8[:, :, ::1], i1[:, ::1])", cache=True, nogil=True)
def _aim(layout, genome, pull, aims):  # type: ignore[no-untyped-def]
    """Say for every word of patterns whether an input rises (1), falls (−1) or is left alone (0) from its first to its last.

    Each word but the first aims at one neuron, the last layer's first: inputs follow what they add to its sum, through all
    layers and as if they were linear; in the last one to its lead over the mean. *pull*: scratch, 2 × neurons × inputs.
    """
    layers, inputs, words = layout.shape[0], layout[0, 0], aims.shape[0]
    aims[0] = 0
    first = words  # the word after those that later layers have
    for number in range(layers):
        first -= layout[number, 1]
    for number in range(layers):
        n, m, masks, signs, exponents = (
            layout[number, 0],
            layout[number, 1],
            layout[number, 3],
            layout[number, 4],
            layout[number, 5],
        )
        here, before = pull[number % 2], pull[1 - number % 2]
        here[:m, :inputs] = 0.0
        for o in range(m):
            for k in range(n):
                mask = genome[masks + o * n + k]
                if not mask:
                    continue
                weight = float(np.int64(mask) << genome[exponents + o * n + k])
                if genome[signs + o * n + k]:
                    weight = -weight
                if number:
                    for i in range(inputs):
                        here[o, i] += weight * before[k, i]
                else:
                    here[o, k] = weight
        if number == layers - 1 and m > 1:
            for i in range(inputs):
                mean = 0.0
                for o in range(m):
                    mean += here[o, i] / m
                for o in range(m):
                    here[o, i] -= mean
        for o in range(m):
            if first + o >= 1:
                for i in range(inputs):
                    aims[first + o, i] = 1 if here[o, i] > 0 else -1 if here[o, i] < 0 else 0
        first += m


@numba.njit(
    "void(Array(i8, 2, 'C', True), Array(i4, 1, 'C', True), u8[:, ::1], i8[::1], u8[:, :, ::1], i8[::1],"
    " f8[:, :, ::1], i1[:, ::1])",
    cache=True,
    nogil=True,
)
def _patterns(layout, genome, values, table, noise, union, pull, aims):  # type: ignore[no-untyped-def]
    """Give every input bit that is read its values: all patterns there are, where they fit, else a sample.

    The sample: 64 uniform patterns, then 64 each in which the sum of one neuron goes from its least to its greatest,
    because it is the tails that decide which bits are constant, and which class can win. *union*: scratch, one an input.
    """
    words = values.shape[1]
    inputs, neurons, bits, masks, _signs = layout[0, 0], layout[0, 1], layout[0, 2], layout[0, 3], layout[0, 4]
    union[:inputs] = 0
    for o in range(neurons):
        if _is_read(layout, genome, 0, o):
            for i in range(inputs):
                union[i] |= genome[masks + o * inputs + i]
    there = 0
    for i in range(inputs):
        union[i] &= (1 << bits) - 1
        left = union[i]
        while left:
            left &= left - 1
            there += 1
    whole = words << 6 >> min(there, 62) > 0
    if not whole:
        _aim(layout, genome, pull, aims)
    there = 0
    for i in range(inputs):
        left = union[i]
        while left:
            variable = 1 + i * bits + lowest(left)
            left &= left - 1
            for word in range(words):
                if not whole:
                    aim = aims[word, i]
                    values[variable, word] = noise[variable, word, 2 if aim < 0 else aim]
                elif there < 6:
                    values[variable, word] = _BIT_OF_64[there]
                else:
                    values[variable, word] = -(word >> (there - 6) & 1)
            name(values, table, variable)
            there += 1


@numba.njit(
    "void(i4[:, ::1], i8, i8, u1[::1], Array(f8, 1, 'C', False))",
    cache=True,
    nogil=True,
)
def _count(cells, base, free, used, row):  # type: ignore[no-untyped-def]
    """Go back from the bits that are read (*used*: 1 as they are, 2 inverted, 4 by a sum alone) and count kinds in *row*."""
    for cell in range((free >> 1) - 1, (base >> 1) - 1, -1):
        first, second = used[2 * cell], used[2 * cell + 1]
        if not first and not second:
            continue
        kind, x, y, z = cells[cell, 0], cells[cell, 1], cells[cell, 2], cells[cell, 3]
        if kind <= HALF and not second:
            used[x >> 1] |= 4
            used[y >> 1] |= 4
            used[z >> 1] |= 4
        else:
            _read(used, x)
            _read(used, y)
            _read(used, z)
        if first & 3 == 3 or second & 3 == 3:
            row[CELL_BOTH_PHASES] += 1
        if kind == FULL:
            row[FULL_BOTH if first and second else FULL_SUM if first else FULL_CARRY] += 1
        elif kind == HALF and first:
            row[HALF_BOTH if second else HALF_SUM] += 1
        elif z:
            row[CHOOSE_BOTH if kind == CHOOSE else COMPARE_STEP] += 1
        else:
            if kind <= GATE:
                row[ADDER_GATE] += 1
            elif kind >= CHOOSE:
                row[CHOOSE_GATE if kind == CHOOSE else COMPARE_GATE] += 1
            else:
                row[MASK_GATE + kind - MASK] += 1
            if (first | second) & 1:
                row[GATE_POSITIVE] += 1
    for variable in range(1, base):
        if used[variable] & 2:
            row[INPUT_INVERTED] += 1


@numba.njit(cache=True, nogil=True)
def count(
    layout, head, genomes, cells, values, table, noise, pull, aims, columns, counts, words, ranges, index, used, rows
):  # type: ignore[no-untyped-def]
    """Add to *rows* (genomes × 16 float64, zeros) how many cells of every kind the circuit of each genome has.

    The arrays between are scratch, as :func:`scratch` makes it.
    """
    base = (2 + layout[0, 0] * layout[0, 2]) >> 1 << 1
    for p in range(genomes.shape[0]):
        genome = genomes[p]
        table[table.size - 1] += 1
        _patterns(layout, genome, values, table, noise, ranges[1, 0], pull, aims)
        variable = 1
        for i in range(layout[0, 0]):
            for position in range(layout[0, 2]):
                words[0, i, position] = 2 * variable
                variable += 1
            ranges[0, 0, i], ranges[0, 1, i] = 0, (1 << layout[0, 2]) - 1
        free = base
        for number in range(layout.shape[0]):
            a, b = number % 2, 1 - number % 2
            free = _layer(
                cells, values, table, free, layout, head, genome, number,
                words[a], ranges[a, 0], ranges[a, 1], words[b], ranges[b, 0], ranges[b, 1], columns, counts,
            )  # fmt: skip
        b = layout.shape[0] % 2
        low, high = ranges[b, 0], ranges[b, 1]
        if head[0] == 1:
            used[:free] = 0
            if low[0] < 0 <= high[0]:
                _read(used, words[b, 0, _width(low[0], high[0]) - 1] ^ 1)
        else:
            outputs = layout[layout.shape[0] - 1, 1]
            levels, free = _argmax(cells, values, table, free, head, genome, words[b], low, high, index, outputs)
            used[:free] = 0
            for k in range(levels):
                _read(used, index[0, k])
        _count(cells, base, free, used, rows[p])


def scratch(layout: np.ndarray, head: np.ndarray, words: int = WORDS) -> tuple[np.ndarray, ...]:
    """Return the scratch arrays of :func:`count` for circuits of *layout* and *head*; one set a thread.

    ``words``: of 64 patterns that bits are compared on, a power of two; 0: bits are compared by name alone.
    """
    inputs, outputs, bits = (int(layout[:, column].max()) for column in range(3))
    values = max(inputs, outputs)
    dots = int((layout[:, 0] * layout[:, 1] * layout[:, 2]).sum())
    # a cell of a sum takes at least one bit off its columns, or is one of a column's two last
    sums = dots + int(layout[:, 1].sum()) * 3 * COLUMNS
    tails = int(layout[:, 1].sum()) * COLUMNS * 3
    matches = outputs * 3 * (2 * COLUMNS + int(outputs).bit_length() + 1)
    sources = int(layout[0, 0] * layout[0, 2])
    variables = 2 + sources + 4 * (sums + tails + matches)
    slots = 1 << (2 * variables).bit_length()
    return (
        np.zeros((variables // 2 + 1, 4), np.int32),
        np.zeros((variables, words), np.uint64),
        np.zeros((slots if words else 1) + 1, np.int64),
        _noise(sources, words),
        np.zeros((2, outputs, int(layout[0, 0]))),
        np.zeros((words, int(layout[0, 0])), np.int8),
        np.zeros((COLUMNS + 1, 3 * inputs + 8), np.int64),
        np.zeros(COLUMNS + 1, np.int64),
        np.zeros((2, values, max(COLUMNS + 2, bits)), np.int64),
        np.zeros((2, 2, values), np.int64),
        np.zeros((values, max(1, int(outputs).bit_length())), np.int64),
        np.zeros(variables, np.uint8),
    )


def _noise(sources: int, words: int) -> np.ndarray:
    """Return (bits of inputs + 1) × *words* × 3 words: uniform; rising from 0 to 1, more or less; falling."""
    generator = np.random.default_rng(0)
    uniform = generator.integers(0, 1 << 64, (sources + 1, words), dtype=np.uint64)
    uniform[:, :1] = (uniform[:, :1] & ~np.uint64(3)) | np.uint64(2)  # all 0 and all 1 are among the uniform ones
    ramp = generator.random((sources + 1, words, 64)) * 63 < np.arange(64)
    rising = (ramp.astype(np.uint64) << np.arange(64, dtype=np.uint64)).sum(axis=-1, dtype=np.uint64)
    return np.ascontiguousarray(np.stack([uniform, rising, ~rising], axis=-1))
