"""Count the cells of masked power-of-two circuits: a symbolic build of each genome's circuit, in Numba.

The builder of bespoke circuits (``docs/bespoke.md``) in small: the same columns, compression, QReLU and argmax tree, bit by
bit, with constants and equal bits folded, and counted backwards from the class index, so that what nothing reads is free. A
bit is a *literal*: 2·variable + (1 where inverted); variable 0 is the constant 0. Variables 1 … I are the bits of the
inputs, I + 1 + 2c and I + 2 + 2c the first and second output of cell c.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

FULL, HALF, HALF_ONE, MASK, SATURATE, ANY, CHOOSE, COMPARE = range(8)
"""Kinds of cells. FULL, HALF (a + b) and HALF_ONE (a + b + 1) make a sum and a carry, the others one bit."""

COLUMNS = 62
"""Most columns of a sum: everything here fits int64."""

(
    FULL_BOTH,
    FULL_SUM,
    FULL_CARRY,
    HALF_BOTH,
    HALF_SUM,
    HALF_CARRY,
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


@intrinsic  # type: ignore[misc]
def _lowest(context: Any, bits: Any) -> Any:
    """Return the position of the lowest 1 of *bits*, an int64 other than 0."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], context.get_constant(types.boolean, True))

    return types.int64(types.int64), code


@numba.njit("void(i4[:, ::1], i8, i8, i8, i8, i8)", cache=True, nogil=True)
def _cell(cells, n, kind, a, b, c):  # type: ignore[no-untyped-def]
    cells[n, 0] = kind
    cells[n, 1] = a
    cells[n, 2] = b
    cells[n, 3] = c


@numba.njit("UniTuple(i8, 3)(i4[:, ::1], i8, i8, i8, i8)", cache=True, nogil=True)
def _half(cells, n, base, a, b):  # type: ignore[no-untyped-def]
    """Return sum and carry of a + b, and the number of cells."""
    if a < 2:
        a, b = b, a
    if b < 2:
        return (a, 0, n) if b == 0 else (a ^ 1, a, n)
    if a == b:
        return 0, a, n
    if a ^ b == 1:
        return 1, 0, n
    _cell(cells, n, HALF, a, b, 0)
    return 2 * (base + 2 * n), 2 * (base + 2 * n) + 2, n + 1


@numba.njit("UniTuple(i8, 3)(i4[:, ::1], i8, i8, i8, i8)", cache=True, nogil=True)
def _half_one(cells, n, base, a, b):  # type: ignore[no-untyped-def]
    """Return sum and carry of a + b + 1, and the number of cells."""
    if a < 2:
        a, b = b, a
    if b < 2:
        return (a ^ 1, a, n) if b == 0 else (a, 1, n)
    if a == b:
        return 1, a, n
    if a ^ b == 1:
        return 0, 1, n
    _cell(cells, n, HALF_ONE, a, b, 0)
    return 2 * (base + 2 * n), 2 * (base + 2 * n) + 2, n + 1


@numba.njit("UniTuple(i8, 3)(i4[:, ::1], i8, i8, i8, i8, i8)", cache=True, nogil=True)
def _full(cells, n, base, a, b, c):  # type: ignore[no-untyped-def]
    """Return sum and carry of a + b + c, and the number of cells."""
    if a < 2:
        a, c = c, a
    elif b < 2:
        b, c = c, b
    if c < 2:
        return _half(cells, n, base, a, b) if c == 0 else _half_one(cells, n, base, a, b)
    if a >> 1 == b >> 1:
        return (c, a, n) if a == b else (c ^ 1, c, n)
    if a >> 1 == c >> 1:
        return (b, a, n) if a == c else (b ^ 1, b, n)
    if b >> 1 == c >> 1:
        return (a, b, n) if b == c else (a ^ 1, a, n)
    _cell(cells, n, FULL, a, b, c)
    return 2 * (base + 2 * n), 2 * (base + 2 * n) + 2, n + 1


@numba.njit("UniTuple(i8, 2)(i4[:, ::1], i8, i8, i8, i8, i8)", cache=True, nogil=True)
def _and(cells, n, base, kind, a, b):  # type: ignore[no-untyped-def]
    """Return a AND b, and the number of cells; a OR b is ``_and`` of the inverted bits, inverted."""
    if a < 2:
        a, b = b, a
    if b < 2:
        return (0, n) if b == 0 else (a, n)
    if a == b:
        return a, n
    if a ^ b == 1:
        return 0, n
    _cell(cells, n, kind, a, b, 0)
    return 2 * (base + 2 * n), n + 1


@numba.njit("UniTuple(i8, 2)(i4[:, ::1], i8, i8, i8, i8, i8)", cache=True, nogil=True)
def _choose(cells, n, base, s, a, b):  # type: ignore[no-untyped-def]
    """Return s ? b : a, and the number of cells."""
    if a == b or s == 0:
        return a, n
    if s == 1:
        return b, n
    if a ^ b == 1 and a >= 2:
        bit, _, n = _half(cells, n, base, s, a)
        return bit, n
    if a == 0 or a == s:
        return _and(cells, n, base, CHOOSE, s, b)
    if b == 0 or b == s ^ 1:
        return _and(cells, n, base, CHOOSE, s ^ 1, a)
    if a == 1 or a == s ^ 1:
        bit, n = _and(cells, n, base, CHOOSE, s, b ^ 1)
        return bit ^ 1, n
    if b == 1 or b == s:
        bit, n = _and(cells, n, base, CHOOSE, s ^ 1, a ^ 1)
        return bit ^ 1, n
    _cell(cells, n, CHOOSE, s, a, b)
    return 2 * (base + 2 * n), n + 1


@numba.njit("UniTuple(i8, 2)(i4[:, ::1], i8, i8, i8, i8, i8)", cache=True, nogil=True)
def _step(cells, n, base, a, b, below):  # type: ignore[no-untyped-def]
    """Return whether a, followed by lower bits, is greater than b: the majority of a, not b and *below*."""
    b ^= 1
    if a < 2:
        a, below = below, a
    elif b < 2:
        b, below = below, b
    if below == 0:
        return _and(cells, n, base, COMPARE, a, b)
    if below == 1:
        bit, n = _and(cells, n, base, COMPARE, a ^ 1, b ^ 1)
        return bit ^ 1, n
    if a >> 1 == b >> 1:
        return (a, n) if a == b else (below, n)
    if a >> 1 == below >> 1:
        return (a, n) if a == below else (b, n)
    if b >> 1 == below >> 1:
        return (b, n) if b == below else (a, n)
    _cell(cells, n, COMPARE, a, b, below)
    return 2 * (base + 2 * n), n + 1


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
def _masked_range(mask, low, high, full):  # type: ignore[no-untyped-def]
    """Return least and greatest x & mask for low ≤ x ≤ high; *full*: all ones, as long as any x."""
    if low == 0 and high & (high + 1) == 0:
        return 0, mask & high
    if high - low >= 1024:
        while full >> 1 >= high:
            full >>= 1
        return 0, mask & full
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


@numba.njit("i8(i4[:, ::1], i8, i8, i8[:, ::1], i8[::1], i8, i8, i8[:, ::1], i8)", cache=True, nogil=True)
def _compress(cells, n, base, columns, counts, width, constant, words, word):  # type: ignore[no-untyped-def]
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
            total, over, n = _half_one(cells, n, base, columns[column, 0], columns[column, 1])
            columns[column, last] = total
            columns[above, waiting] = over
            first, last, waiting, one = 2, last + 1, waiting + 1, 0
        most = 2 if rows or one else 3
        while last - first > most:
            a, b, c = columns[column, first], columns[column, first + 1], columns[column, first + 2]
            total, over, n = _full(cells, n, base, a, b, c)
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
            words[word, column], carry, n = _full(cells, n, base, a, b, carry)
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
    return n


@numba.njit("i8(i8[:, ::1], i8, i8, i8, i8)", cache=True, nogil=True)
def _bit(words, word, width, low, position):  # type: ignore[no-untyped-def]
    """Return the bit at *position* of a word of *width* bits, extended by its sign where *low* < 0."""
    if position < width:
        return words[word, position]
    return words[word, width - 1] if low < 0 else 0


@numba.njit("UniTuple(i8, 3)(i4[:, ::1], i8, i8, i8[:, ::1], i8, i8, i8, i8, i8)", cache=True, nogil=True)
def _activation(cells, n, base, words, word, low, high, shift, hidden):  # type: ignore[no-untyped-def]
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
        return top, top, n
    if high <= 0:
        return 0, 0, n
    for i in range(width - shift):
        words[word, i] = words[word, i + shift]
    width = _width(low, high)
    if high > top:
        over = 1  # the inverted OR of the bits above, built as an AND of inverted bits
        for i in range(hidden, width - 1 if low < 0 else width):
            over, n = _and(cells, n, base, ANY, over, words[word, i] ^ 1)
        for i in range(hidden):
            bit, n = _and(cells, n, base, SATURATE, over, words[word, i] ^ 1)
            words[word, i] = bit ^ 1
        high = top
    if low < 0:
        for i in range(_width(0, high)):
            words[word, i], n = _and(cells, n, base, MASK, sign ^ 1, words[word, i])
        low = 0
    return low, high, n


@numba.njit("UniTuple(i8, 3)(i4[:, ::1], i8, i8, i8, i8, i8, i8, i8, i8)", cache=True, nogil=True)
def _next_step(cells, n, base, a, b, wins, below, last_a, last_b):  # type: ignore[no-untyped-def]
    """Add one more place to a comparison; return whether a side wins now and before, and the number of cells.

    A place that reads the same pair as the one under it, or that pair inverted (a sign and its copies), replaces it.
    """
    if (a == last_a and b == last_b) or (a == last_a ^ 1 and b == last_b ^ 1):
        wins = below
    above, n = _step(cells, n, base, a, b, wins)
    return above, wins, n


@numba.njit("void(i8[:, ::1], i8[::1], i8[::1], i8, i8)", cache=True, nogil=True)
def _move(words, low, high, source, target):  # type: ignore[no-untyped-def]
    """Let word *source*, its range with it, stand at *target* too."""
    for position in range(_width(low[source], high[source])):
        words[target, position] = words[source, position]
    low[target], high[target] = low[source], high[source]


@numba.njit("UniTuple(i8, 2)(i4[:, ::1], i8, i8, i8[:, ::1], i8[::1], i8[::1], i8, i8, i8, i8)", cache=True, nogil=True)
def _match(cells, n, base, words, low, high, i, j, looked_at, places):  # type: ignore[no-untyped-def]
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
            return 1, n
        if high[j] <= low[i]:
            return 0, n
        inverts = low[i] < 0 or low[j] < 0
        width = max(width_i, width_j) + (1 if inverts and (low[i] >= 0 or low[j] >= 0) else 0)
        looked_at = (1 << width) - 1
    while looked_at:
        position = _lowest(looked_at)
        looked_at &= looked_at - 1
        a = _bit(words, j, width_j, low[j], position)
        b = _bit(words, i, width_i, low[i], position)
        if inverts and position == width - 1:
            a, b = a ^ 1, b ^ 1
        if a != b:
            wins, below, n = _next_step(cells, n, base, a, b, wins, below, last_a, last_b)
            last_a, last_b = a, b
    if wins == 0:
        return wins, n
    if wins == 1:
        _move(words, low, high, j, i)
        return wins, n
    least, greatest = min(low[i], low[j]) if places else max(low[i], low[j]), max(high[i], high[j])
    for position in range(_width(least, greatest) - 1, -1, -1):  # from the top: below stand the signs
        a = _bit(words, i, width_i, low[i], position)
        b = _bit(words, j, width_j, low[j], position)
        words[i, position], n = _choose(cells, n, base, wins, a, b)
    low[i], high[i] = least, greatest
    return wins, n


@numba.njit(
    "UniTuple(i8, 2)(i4[:, ::1], i8, i8, Array(i8, 1, 'C', True), Array(i4, 1, 'C', True),"
    " i8[:, ::1], i8[::1], i8[::1], i8[:, ::1], i8)",
    cache=True,
    nogil=True,
)
def _argmax(cells, n, base, head, genome, words, low, high, index, count):  # type: ignore[no-untyped-def]
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
            wins, n = _match(cells, n, base, words, low, high, i, j, looked_at, 0 if exact else places)
            for k in range(level):
                index[pair, k], n = _choose(cells, n, base, wins, index[i, k], index[j, k])
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
    return level, n


@numba.njit(
    "i8(i4[:, ::1], i8, i8, Array(i8, 2, 'C', True), Array(i8, 1, 'C', True), Array(i4, 1, 'C', True), i8,"
    " i8[:, ::1], i8[::1], i8[::1], i8[:, ::1], i8[::1], i8[::1], i8[:, ::1], i8[::1])",
    cache=True,
    nogil=True,
)
def _layer(cells, n, base, layout, head, genome, number, words, low, high, out, out_low, out_high, columns, counts):  # type: ignore[no-untyped-def]
    """Build the neurons of layer *number* that something reads, from *words* (inputs × 62) to *out*; return the cells."""
    inputs, outputs, input_bits = layout[number, 0], layout[number, 1], layout[number, 2]
    masks, signs, exponents, biases = layout[number, 3], layout[number, 4], layout[number, 5], layout[number, 6]
    full = (1 << input_bits) - 1
    last = number == layout.shape[0] - 1
    for o in range(outputs):
        read = last
        if not last:
            following = layout[number + 1, 3]
            for reader in range(layout[number + 1, 1]):
                if genome[following + reader * outputs + o]:
                    read = True
                    break
        if not read:
            continue
        constant = np.int64(genome[biases + o])
        if last and head[0] == 1:
            constant -= 1
        least, greatest, highest = constant, constant, 0
        for i in range(inputs):
            place = o * inputs + i
            mask = np.int64(genome[masks + place]) & full
            if mask == 0:
                continue
            exponent = np.int64(genome[exponents + place])
            negative = genome[signs + place]
            below, above = _masked_range(mask, low[i], high[i], full)
            if negative:
                least, greatest = least - (above << exponent), greatest - (below << exponent)
            else:
                least, greatest = least + (below << exponent), greatest + (above << exponent)
            mask &= (1 << _width(low[i], high[i])) - 1
            while mask:
                position = _lowest(mask)
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
        n = _compress(cells, n, base, columns, counts, width, constant, out, o)
        for column in range(width + 1, highest + 1):
            counts[column] = 0
        if layout[number, 7] >= 0:
            shift = np.int64(genome[layout[number, 7]])
            out_low[o], out_high[o], n = _activation(cells, n, base, out, o, least, greatest, shift, layout[number, 8])
        else:
            out_low[o], out_high[o] = least, greatest
    return n


@numba.njit("void(u1[::1], i8)", cache=True, nogil=True)
def _read(used, literal):  # type: ignore[no-untyped-def]
    used[literal >> 1] |= 1 << (literal & 1)


@numba.njit(cache=True, nogil=True)
def _count(cells, n, base, used, row):  # type: ignore[no-untyped-def]
    """Go back from the bits that are read (*used*: 1 as they are, 2 inverted, 4 by a sum alone) and count kinds in *row*."""
    for c in range(n - 1, -1, -1):
        first, second = used[base + 2 * c], used[base + 2 * c + 1]
        if not first and not second:
            continue
        kind, x, y, z = cells[c, 0], cells[c, 1], cells[c, 2], cells[c, 3]
        if kind <= HALF_ONE and not second:
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
            continue
        if kind <= HALF_ONE:
            row[HALF_BOTH if first and second else HALF_SUM if first else HALF_CARRY] += 1
            phase = 0 if first else second if kind == HALF else second << 1 & 2 | second >> 1 & 1
        elif kind in (CHOOSE, COMPARE):
            row[(CHOOSE_GATE if kind == CHOOSE else COMPARE_GATE) - (1 if z else 0)] += 1
            phase = 0 if z else first
        else:
            row[MASK_GATE + kind - MASK] += 1
            phase = first
        if phase & 1:
            row[GATE_POSITIVE] += 1
    for variable in range(1, base):
        if used[variable] & 2:
            row[INPUT_INVERTED] += 1


@numba.njit(cache=True, nogil=True)
def count(layout, head, genomes, cells, columns, counts, words, ranges, index, used, rows):  # type: ignore[no-untyped-def]
    """Add to *rows* (genomes × 16 float64, zeros) how many cells of every kind the circuit of each genome has.

    The arrays between are scratch, as :func:`scratch` makes it.
    """
    base = 1 + layout[0, 0] * layout[0, 2]
    for p in range(genomes.shape[0]):
        genome = genomes[p]
        variable = 1
        for i in range(layout[0, 0]):
            for position in range(layout[0, 2]):
                words[0, i, position] = 2 * variable
                variable += 1
            ranges[0, 0, i], ranges[0, 1, i] = 0, (1 << layout[0, 2]) - 1
        n = np.int64(0)
        for number in range(layout.shape[0]):
            a, b = number % 2, 1 - number % 2
            n = _layer(
                cells, n, base, layout, head, genome, number,
                words[a], ranges[a, 0], ranges[a, 1], words[b], ranges[b, 0], ranges[b, 1], columns, counts,
            )  # fmt: skip
        b = layout.shape[0] % 2
        outputs = layout[layout.shape[0] - 1, 1]
        if head[0] == 1:
            low, high = ranges[b, 0, 0], ranges[b, 1, 0]
            decided = low >= 0 or high < 0
            used[: base + 2 * n] = 0
            if not decided:
                _read(used, words[b, 0, _width(low, high) - 1] ^ 1)
        else:
            levels, n = _argmax(cells, n, base, head, genome, words[b], ranges[b, 0], ranges[b, 1], index, outputs)
            used[: base + 2 * n] = 0
            for k in range(levels):
                _read(used, index[0, k])
        _count(cells, n, base, used, rows[p])


def scratch(layout: np.ndarray, head: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the scratch arrays of :func:`count` for circuits of *layout* and *head*; one set a thread."""
    inputs, outputs, bits = (int(layout[:, column].max()) for column in range(3))
    values = max(inputs, outputs)
    dots = int((layout[:, 0] * layout[:, 1] * layout[:, 2]).sum())
    # a cell of a sum takes at least one bit off its columns, or is one of a column's two last
    sums = dots + int(layout[:, 1].sum()) * 3 * COLUMNS
    tails = int(layout[:, 1].sum()) * COLUMNS * 3
    matches = outputs * (2 * COLUMNS + int(outputs).bit_length() + 1)
    most = sums + tails + matches
    variables = 1 + int(layout[0, 0] * layout[0, 2]) + 2 * most
    return (
        np.zeros((most, 4), np.int32),
        np.zeros((COLUMNS + 1, 3 * inputs + 8), np.int64),
        np.zeros(COLUMNS + 1, np.int64),
        np.zeros((2, values, max(COLUMNS + 2, bits)), np.int64),
        np.zeros((2, 2, values), np.int64),
        np.zeros((values, max(1, int(outputs).bit_length())), np.int64),
        np.zeros(variables, np.uint8),
    )
