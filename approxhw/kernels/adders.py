"""Count the cells of masked power-of-two circuits: a symbolic build of each genome's circuit, in Numba.

The builder of bespoke circuits (``docs/bespoke.md``) in small: the same columns, compression, QReLU and argmax tree, bit by
bit, with constants and equal bits folded, and counted backwards from the class index, so that what nothing reads is free. A
bit is a *literal*: 2·variable + (1 where inverted); variable 0 is the constant 0. Variables 1 … I are the bits of the
inputs, I + 1 + 2c and I + 2 + 2c the first and second output of cell c.
"""

from __future__ import annotations

import numba
import numpy as np

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


@numba.njit(cache=True, nogil=True)
def _cell(cells, n, kind, a, b, c):  # type: ignore[no-untyped-def]
    cells[n, 0] = kind
    cells[n, 1] = a
    cells[n, 2] = b
    cells[n, 3] = c


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
def _compress(cells, n, base, columns, counts, width, constant, bits):  # type: ignore[no-untyped-def]
    """Sum *columns* (62 × capacity literals, *counts* of them used) and *constant* modulo 2^width into *bits*.

    Returns the number of cells; *counts* are 0 afterwards. Column by column as ``approxhw.backends.compression``.
    """
    rows = False
    carry = 0
    for column in range(width):
        here = columns[column]
        first, last = 0, counts[column]  # a queue: bits are taken in front, sums put behind
        counts[column] = 0
        one = (constant >> column) & 1
        above = column + 1 < width
        if one and last > 0 and last % 2 == 0 and (rows or last != 2):
            total, over, n = _half_one(cells, n, base, here[0], here[1])
            here[last] = total
            first, last = 2, last + 1
            if above:
                columns[column + 1, counts[column + 1]] = over
                counts[column + 1] += 1
            one = 0
        most = 2 if rows or one else 3
        while last - first > most:
            total, over, n = _full(cells, n, base, here[first], here[first + 1], here[first + 2])
            here[last] = total
            first, last = first + 3, last + 1
            if above:
                columns[column + 1, counts[column + 1]] = over
                counts[column + 1] += 1
        left = last - first
        if rows or left >= 2:
            a = here[first] if left > 0 else one
            b = here[first + 1] if left > 1 else (one if left == 1 else 0)
            if left == 3:
                carry = here[first + 2]
            elif left == 2 and one:
                carry = 1
            bits[column], carry, n = _full(cells, n, base, a, b, carry)
            rows = True
        elif left == 0:
            bits[column] = one
        elif one:
            bits[column] = here[first] ^ 1
            if above:
                columns[column + 1, counts[column + 1]] = here[first]
                counts[column + 1] += 1
        else:
            bits[column] = here[first]
    return n


@numba.njit(cache=True, nogil=True)
def _bit(bits, width, low, position):  # type: ignore[no-untyped-def]
    """Return the bit at *position* of a word of *width* bits, extended by its sign where *low* < 0."""
    if position < width:
        return bits[position]
    return bits[width - 1] if low < 0 else 0


@numba.njit(cache=True, nogil=True)
def _activation(cells, n, base, bits, low, high, shift, hidden):  # type: ignore[no-untyped-def]
    """Turn *bits*, of a sum from *low* to *high*, into those of its QReLU of *hidden* bits: min(max(sum >> shift, 0), …).

    Returns the range of the result and the number of cells.
    """
    width = _width(low, high)
    top = (1 << hidden) - 1
    sign = bits[width - 1] if low < 0 else 0
    shift = min(shift, COLUMNS)
    low >>= shift
    high >>= shift
    if low >= top:
        for i in range(hidden):
            bits[i] = 1
        return top, top, n
    if high <= 0:
        return 0, 0, n
    for i in range(min(width - shift, COLUMNS)):
        bits[i] = bits[i + shift]
    width = _width(low, high)
    value = width - 1 if low < 0 else width
    if high > top:
        over = 0  # the inverted OR of the bits above, built as an AND of inverted bits
        over = 1
        for i in range(hidden, value):
            over, n = _and(cells, n, base, ANY, over, bits[i] ^ 1)
        for i in range(hidden):
            bit, n = _and(cells, n, base, SATURATE, over, bits[i] ^ 1)
            bits[i] = bit ^ 1
        high = top
    if low < 0:
        for i in range(_width(0, high)):
            bits[i], n = _and(cells, n, base, MASK, sign ^ 1, bits[i])
        low = 0
    return low, high, n


@numba.njit(cache=True, nogil=True)
def _next_step(cells, n, base, a, b, wins, below, last_a, last_b):  # type: ignore[no-untyped-def]
    """Add one more place to a comparison; return whether a side wins now and before, and the number of cells.

    A place that reads the same pair as the one under it, or that pair inverted (a sign and its copies), replaces it.
    """
    if (a == last_a and b == last_b) or (a == last_a ^ 1 and b == last_b ^ 1):
        wins = below
    above, n = _step(cells, n, base, a, b, wins)
    return above, wins, n


@numba.njit(cache=True, nogil=True)
def _exact_match(cells, n, base, left, right, low, high, i, j):  # type: ignore[no-untyped-def]
    """Let entries *i* (left) and *j* (right) of an exact argmax meet: return whether j wins, and the number of cells.

    The winner's bits and range replace those of entry *i* (*left* is its row of bits).
    """
    if low[j] > high[i]:
        left[:] = right
        low[i], high[i] = low[j], high[j]
        return 1, n
    if high[j] <= low[i]:
        return 0, n
    width_i, width_j = _width(low[i], high[i]), _width(low[j], high[j])
    signed = low[i] < 0 or low[j] < 0
    width = max(width_i, width_j) + (1 if signed and not (low[i] < 0 and low[j] < 0) else 0)
    wins, below, last_a, last_b = 0, 0, -1, -1
    for position in range(width):
        a = _bit(right, width_j, low[j], position)
        b = _bit(left, width_i, low[i], position)
        if signed and position == width - 1:
            a, b = a ^ 1, b ^ 1
        wins, below, n = _next_step(cells, n, base, a, b, wins, below, last_a, last_b)
        last_a, last_b = a, b
    merged_low, merged_high = max(low[i], low[j]), max(high[i], high[j])
    for position in range(_width(merged_low, merged_high) - 1, -1, -1):  # from the top: below stand the signs
        a = _bit(left, width_i, low[i], position)
        b = _bit(right, width_j, low[j], position)
        left[position], n = _choose(cells, n, base, wins, a, b)
    low[i], high[i] = merged_low, merged_high
    return wins, n


@numba.njit(cache=True, nogil=True)
def _chosen_match(cells, n, base, left, right, low, high, i, j, looked_at, places):  # type: ignore[no-untyped-def]
    """As :func:`_exact_match`, by a comparator that looks at the bit set *looked_at* of *places*-bit offset binary codes."""
    width_i, width_j = _width(low[i], high[i]), _width(low[j], high[j])
    wins, below, last_a, last_b = 0, 0, -1, -1
    for position in range(places):
        if not (looked_at >> position) & 1:
            continue
        a = _bit(right, width_j, low[j], position)
        b = _bit(left, width_i, low[i], position)
        if position == places - 1:
            a, b = a ^ 1, b ^ 1
        if a == b:
            continue
        wins, below, n = _next_step(cells, n, base, a, b, wins, below, last_a, last_b)
        last_a, last_b = a, b
    if wins == 0:
        return wins, n
    if wins == 1:
        left[:] = right
        low[i], high[i] = low[j], high[j]
        return wins, n
    merged_low, merged_high = min(low[i], low[j]), max(high[i], high[j])
    for position in range(_width(merged_low, merged_high) - 1, -1, -1):  # from the top: below stand the signs
        a = _bit(left, width_i, low[i], position)
        b = _bit(right, width_j, low[j], position)
        left[position], n = _choose(cells, n, base, wins, a, b)
    low[i], high[i] = merged_low, merged_high
    return wins, n


@numba.njit(cache=True, nogil=True)
def _argmax(cells, n, base, head, genome, bits, low, high, index, count):  # type: ignore[no-untyped-def]
    """Build the tree of an argmax of the words *bits* (count × 62): return the bits of the index that *index[0]* holds."""
    offset, places = head[1], head[2]
    exact = True
    for c in range(count - 1):
        exact = exact and genome[offset + c] == (1 << places) - 1
    comparator, level, entries = 0, 0, count
    while entries > 1:
        for pair in range(entries // 2):
            i, j = 2 * pair, 2 * pair + 1
            if exact:
                wins, n = _exact_match(cells, n, base, bits[i], bits[j], low, high, i, j)
            else:
                looked_at = np.int64(genome[offset + comparator])
                wins, n = _chosen_match(cells, n, base, bits[i], bits[j], low, high, i, j, looked_at, places)
            comparator += 1
            for k in range(level):
                index[i, k], n = _choose(cells, n, base, wins, index[i, k], index[j, k])
            index[i, level] = wins
            if pair:
                bits[pair] = bits[i]
                low[pair], high[pair] = low[i], high[i]
                index[pair] = index[i]
        if entries % 2:
            last, entries = entries - 1, entries // 2 + 1
            bits[entries - 1] = bits[last]
            low[entries - 1], high[entries - 1] = low[last], high[last]
            index[entries - 1] = index[last]
            index[entries - 1, level] = 0
        else:
            entries //= 2
        level += 1
    return level, n


@numba.njit(cache=True, nogil=True)
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
                read = read or genome[following + reader * outputs + o] != 0
        if not read:
            continue
        constant = np.int64(genome[biases + o])
        if last and head[0] == 1:
            constant -= 1
        least, greatest = constant, constant
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
            bits = words[i]
            width = _width(low[i], high[i])
            for position in range(width):
                if not (mask >> position) & 1:
                    continue
                bit = bits[position]
                column = position + exponent
                if negative:
                    bit ^= 1
                    constant -= 1 << column
                if bit < 2:
                    constant += np.int64(bit) << column
                else:
                    columns[column, counts[column]] = bit
                    counts[column] += 1
        width = _width(least, greatest)
        n = _compress(cells, n, base, columns, counts, width, constant, out[o])
        for column in range(width, COLUMNS):
            counts[column] = 0
        if layout[number, 7] >= 0:
            shift = np.int64(genome[layout[number, 7]])
            out_low[o], out_high[o], n = _activation(cells, n, base, out[o], least, greatest, shift, layout[number, 8])
        else:
            out_low[o], out_high[o] = least, greatest
    return n


@numba.njit(cache=True, nogil=True)
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
        n = 0
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
        np.zeros((COLUMNS, 3 * inputs + 8), np.int32),
        np.zeros(COLUMNS, np.int64),
        np.zeros((2, values, max(COLUMNS + 2, bits)), np.int32),
        np.zeros((2, 2, values), np.int64),
        np.zeros((values, max(1, int(outputs).bit_length())), np.int32),
        np.zeros(variables, np.uint8),
    )
