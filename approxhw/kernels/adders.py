"""Count the cells of masked power-of-two circuits: a symbolic build of each genome's circuit, in Numba.

The builder of bespoke circuits (``docs/bespoke.md``) in small: the same columns, compression, QReLU and argmax tree, bit by
bit of ``gates.py``, and counted backwards from the class index, so that what nothing reads is free.

A word of a circuit takes 64 integers: the literals of its bits, lowest first, and at ``LOW`` and ``HIGH`` its range. A column
of a sum takes ``stride``: how many literals stand in it, and those.
"""

from __future__ import annotations

import numba
import numpy as np

from .functions import take_apart
from .gates import (
    ANY,
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
    SATURATE,
    SPARE,
    STRIDE,
    TABLE,
    WORDS,
    both,
    choose,
    full,
    half_one,
    lowest,
    majority,
    name,
    row,
)

COLUMNS = 61
"""Most columns of a sum: everything here fits int64."""

SIZE, LOW, HIGH = 64, 62, 63

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


@numba.njit(f"i8({NET}, CPointer(i8), i8, i8, i8, CPointer(i8), i8)", cache=True, nogil=True)
def _compress(net, free, columns, stride, width, constant, words, at):  # type: ignore[no-untyped-def]
    """Sum *columns* and *constant* modulo 2^width into the word at *at*; the columns are empty afterwards.

    Column by column as ``approxhw.backends.compression``.
    """
    rows = False
    carry = 0
    for column in range(width):
        here = column * stride
        first, end = here + 1, here + 1 + columns[here]  # a queue: bits are taken in front, sums put behind
        columns[here] = 0
        above = here + stride
        waiting = above + 1 + columns[above]
        one = (constant >> column) & 1
        if one and end > first and (end - first) % 2 == 0 and (rows or end - first != 2):
            total, over, free = half_one(net, free, columns[first], columns[first + 1])
            columns[end] = total
            columns[waiting] = over
            first, end, waiting, one = first + 2, end + 1, waiting + 1, 0
        most = 2 if rows or one else 3
        while end - first > most:
            total, over, free = full(net, free, columns[first], columns[first + 1], columns[first + 2])
            columns[end] = total
            columns[waiting] = over
            first, end, waiting = first + 3, end + 1, waiting + 1
        left = end - first
        if rows or left >= 2:
            a = columns[first] if left > 0 else one
            b = columns[first + 1] if left > 1 else (one if left == 1 else 0)
            if left == 3:
                carry = columns[first + 2]
            elif left == 2 and one:
                carry = 1
            total, carry, free = full(net, free, a, b, carry)
            words[at + column] = total
            rows = True
        elif left == 0:
            words[at + column] = one
        elif one:
            words[at + column] = columns[first] ^ 1
            columns[waiting] = columns[first]
            waiting += 1
        else:
            words[at + column] = columns[first]
        columns[above] = waiting - above - 1
    columns[width * stride] = 0
    return free


@numba.njit("i8(CPointer(i8), i8, i8, i8)", cache=True, nogil=True)
def _bit(words, at, width, position):  # type: ignore[no-untyped-def]
    """Return the bit at *position* of the word at *at*, of *width* bits, extended by its sign where it can be negative."""
    if position < width:
        return words[at + position]
    return words[at + width - 1] if words[at + LOW] < 0 else 0


@numba.njit(f"i8({NET}, CPointer(i8), i8, i8, i8)", cache=True, nogil=True)
def _activation(net, free, words, at, shift, hidden):  # type: ignore[no-untyped-def]
    """Turn the word at *at* into its QReLU of *hidden* bits: min(max(word >> shift, 0), 2^hidden − 1)."""
    low, high = words[at + LOW], words[at + HIGH]
    width = _width(low, high)
    top = (1 << hidden) - 1
    sign = words[at + width - 1] if low < 0 else 0
    shift = min(shift, COLUMNS)
    low >>= shift
    high >>= shift
    if high > top and low >= top:
        for i in range(hidden):
            words[at + i] = 1
        words[at + LOW], words[at + HIGH] = top, top
        return free
    if high <= 0:
        words[at + LOW], words[at + HIGH] = 0, 0
        return free
    for i in range(at, at + width - shift):
        words[i] = words[i + shift]
    width = _width(low, high)
    if high > top:
        over = 1  # the inverted OR of the bits above, built as an AND of inverted bits
        for i in range(hidden, width - 1 if low < 0 else width):
            over, free = both(net, free, ANY, over, words[at + i] ^ 1)
        for i in range(at, at + hidden):
            bit, free = both(net, free, SATURATE, over, words[i] ^ 1)
            words[i] = bit ^ 1
        high = top
    if low < 0:
        for i in range(at, at + _width(0, high)):
            bit, free = both(net, free, MASK, sign ^ 1, words[i])
            words[i] = bit
        low = 0
    words[at + LOW], words[at + HIGH] = low, high
    return free


@numba.njit("void(CPointer(i8), i8, i8)", cache=True, nogil=True)
def _move(words, source, target):  # type: ignore[no-untyped-def]
    """Let the word at *source* stand at *target* too."""
    for position in range(_width(words[source + LOW], words[source + HIGH])):
        words[target + position] = words[source + position]
    words[target + LOW], words[target + HIGH] = words[source + LOW], words[source + HIGH]


@numba.njit(f"UniTuple(i8, 2)({NET}, CPointer(i8), i8, i8, i8, i8)", cache=True, nogil=True)
def _match(net, free, words, left, right, looked_at, places):  # type: ignore[no-untyped-def]
    """Let two words of an argmax meet, the right one wins where it is greater; return whether it does.

    The winner, with its range, replaces the left one. *places*: 0 for an exact comparator; else the width of the offset
    binary codes of which it looks at the bit set *looked_at*.
    """
    low_left, high_left, low_right, high_right = (
        words[left + LOW],
        words[left + HIGH],
        words[right + LOW],
        words[right + HIGH],
    )
    width_left, width_right = _width(low_left, high_left), _width(low_right, high_right)
    sign = places - 1
    if not places:
        if low_right > high_left:
            _move(words, right, left)
            return 1, free
        if high_right <= low_left:
            return 0, free
        width = max(width_left, width_right)
        sign = -1
        if low_left < 0 or low_right < 0:
            width += low_left >= 0 or low_right >= 0
            sign = width - 1
        looked_at = (1 << width) - 1
    wins, below, last_a, last_b = 0, 0, -1, -1
    while looked_at:
        position = lowest(looked_at)
        looked_at &= looked_at - 1
        a, b = _bit(words, right, width_right, position), _bit(words, left, width_left, position)
        if position == sign:
            a, b = a ^ 1, b ^ 1
        if a == b:
            continue
        if (a == last_a and b == last_b) or (a == last_a ^ 1 and b == last_b ^ 1):
            wins = below  # the same pair again, a sign and its copies: it replaces the place below
        below, last_a, last_b = wins, a, b
        wins, free = majority(net, free, a, b ^ 1, wins)
    if wins == 0:
        return wins, free
    if wins == 1:
        _move(words, right, left)
        return wins, free
    least = min(low_left, low_right) if places else max(low_left, low_right)
    greatest = max(high_left, high_right)
    for position in range(_width(least, greatest) - 1, -1, -1):  # from the top: below stand the signs
        a, b = _bit(words, left, width_left, position), _bit(words, right, width_right, position)
        bit, free = choose(net, free, wins, a, b)
        words[left + position] = bit
    words[left + LOW], words[left + HIGH] = least, greatest
    return wins, free


@numba.njit(f"UniTuple(i8, 2)({NET}, CPointer(i8), CPointer(i4), CPointer(i8), i8, i8, i8)", cache=True, nogil=True)
def _argmax(net, free, head, genes, words, at, index, count):  # type: ignore[no-untyped-def]
    """Build the tree of an argmax of the *count* words from *at* on; return how many bits the class index has.

    Their literals stand at *index*, 64 integers an entry.
    """
    offset, places = head[1], head[2]
    exact = True
    for c in range(count - 1):
        exact = exact and genes[offset + c] == (1 << places) - 1
    comparator, level, entries = 0, 0, count
    while entries > 1:
        for pair in range(entries // 2):
            left, right, result = 2 * pair * SIZE, (2 * pair + 1) * SIZE, pair * SIZE
            looked_at = np.int64(genes[offset + comparator])
            comparator += 1
            wins, free = _match(net, free, words, at + left, at + right, looked_at, 0 if exact else places)
            for k in range(level):
                bit, free = choose(net, free, wins, words[index + left + k], words[index + right + k])
                words[index + result + k] = bit
            words[index + result + level] = wins
            if pair:
                _move(words, at + left, at + result)
        if entries % 2:
            result, last = entries // 2 * SIZE, (entries - 1) * SIZE
            _move(words, at + last, at + result)
            for k in range(level):
                words[index + result + k] = words[index + last + k]
            words[index + result + level] = 0
        entries = (entries + 1) // 2
        level += 1
    return level, free


@numba.njit("b1(CPointer(i8), i8, CPointer(i4), i8, i8)", cache=True, nogil=True)
def _is_read(layout, layers, genes, number, o):  # type: ignore[no-untyped-def]
    """Whether a neuron of the layer after *number* has a mask for neuron *o*; the last layer's neurons are always read."""
    if number == layers - 1:
        return True
    gene = layout[9 * number + 12] + o
    end = gene + layout[9 * number + 10] * layout[9 * number + 1]
    while gene < end and not genes[gene]:
        gene += layout[9 * number + 1]
    return gene < end


@numba.njit(
    f"i8({NET}, CPointer(i8), i8, i8, CPointer(i4), i8, CPointer(i8), i8, i8, CPointer(i8), i8)", cache=True, nogil=True
)
def _layer(net, free, layout, layers, kind, genes, number, words, source, target, columns, stride):  # type: ignore[no-untyped-def]
    """Build the neurons of layer *number* that something reads, from the words at *source* to those at *target*."""
    start = 9 * number
    inputs, outputs, ones = layout[start], layout[start + 1], (1 << layout[start + 2]) - 1
    masks, signs, exponents, biases = layout[start + 3], layout[start + 4], layout[start + 5], layout[start + 6]
    for o in range(outputs):
        if not _is_read(layout, layers, genes, number, o):
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
            below, above = _masked_range(mask, words[word + LOW], words[word + HIGH], ones)
            if negative:
                least, greatest = least - (above << exponent), greatest - (below << exponent)
            else:
                least, greatest = least + (below << exponent), greatest + (above << exponent)
            mask &= (1 << _width(words[word + LOW], words[word + HIGH])) - 1
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
        width = _width(least, greatest)
        words[at + LOW], words[at + HIGH] = least, greatest
        free = _compress(net, free, columns, stride, width, constant, words, at)
        for column in range(width + 1, highest + 1):
            columns[column * stride] = 0
        if layout[start + 7] >= 0:
            free = _activation(net, free, words, at, np.int64(genes[layout[start + 7]]), layout[start + 8])
    return free


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
def _patterns(net, layout, layers, genes, noise, sample, union, pull, aims):  # type: ignore[no-untyped-def]
    """Give every input bit that is read its values: all patterns there are, or a *sample* of so many words.

    A sample: 64 uniform patterns, then 64 each in which the sum of one neuron goes from its least to its greatest,
    because it is the tails that decide which bits are constant, and which class can win. *union*: scratch, one an input;
    behind it, the variables of the bits that are read. Returns their number, −1 where the patterns are a sample.
    """
    inputs, neurons, bits, masks = layout[0], layout[1], layout[2], layout[3]
    for i in range(inputs):
        union[i] = 0
    for o in range(neurons):
        if _is_read(layout, layers, genes, 0, o):
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
    known = _patterns(net, layout, layers, genes, noise, sample, union, pull, aims)
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
        roots, free = _argmax(net, free, head, genes, words, source, target, layout[9 * layers - 8])
    elif words[source + LOW] < 0 <= words[source + HIGH]:
        roots = 1
        words[target] = words[source + _width(words[source + LOW], words[source + HIGH]) - 1] ^ 1
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
    slots = 1 << (4 * dots + 256 if sample else 1).bit_length()
    net = np.zeros(HEADER + slots + variables * (max(most, sample) + 4), np.int64)
    spare = 2 * (6 + most.bit_length())  # two rows for every input that a function is taken apart by
    net[[MOST_WORDS, MASK_OF_TABLE, TABLE, ROWS, SPARE]] = most, slots - 1, HEADER, HEADER + slots, variables - spare
    return (
        net,
        _noise(sources, sample),
        np.zeros(inputs + sources, np.int64),
        np.zeros(2 * outputs * int(layout[0, 0])),
        np.zeros(max(sample, 1) * int(layout[0, 0]), np.int64),
        np.zeros((2, max(inputs, outputs), SIZE), np.int64),
        np.zeros((COLUMNS + 2, 3 * inputs + 9), np.int64),
        np.zeros(variables, np.uint8),
        np.array(PRICES),
        np.zeros(FEATURES),
    )


def _noise(sources: int, words: int) -> np.ndarray:
    """Return (bits of inputs + 1) × *words* × 3 words: uniform; rising from 0 to 1, more or less; falling."""
    generator = np.random.default_rng(0)
    uniform = generator.integers(0, 1 << 64, (sources + 1, words), dtype=np.uint64)
    uniform[:, :1] = (uniform[:, :1] & ~np.uint64(3)) | np.uint64(2)  # all 0 and all 1 are among the uniform ones
    ramp = generator.random((sources + 1, words, 64)) * 63 < np.arange(64)
    rising = (ramp.astype(np.uint64) << np.arange(64, dtype=np.uint64)).sum(axis=-1, dtype=np.uint64)
    return np.ascontiguousarray(np.stack([uniform, rising, ~rising], axis=-1)).view(np.int64)
