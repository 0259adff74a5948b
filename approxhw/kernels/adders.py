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
    FIRST,
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
    STRIDE,
    TABLE,
    WORDS,
    lowest,
    name,
    row,
)
from .words import COLUMNS, HIGH, LOW, SIZE, activate, argmax, compress, masked_range, width_of

MOST = 64
"""Most words of 64 patterns that bits are compared on: all that there are of 12 inputs."""

INPUT_OF, NAME_OF, READ, NEEDED = range(4)
"""Rows of marks: name → input, input → name, whether an input is read, whether a name is needed (two rows, by turns)."""

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


@numba.njit(
    f"i8({NET}, CPointer(i8), i8, i8, CPointer(i4), i8, i8, CPointer(i8), i8, i8, CPointer(i8), i8)",
    cache=True,
    nogil=True,
)
def _neuron(net, free, layout, layers, kind, genes, number, o, words, source, at, columns, stride):  # type: ignore[no-untyped-def]
    """Build neuron *o* of layer *number*, which reads the words from *source* on, as the word at *at*."""
    start = 9 * number
    inputs, ones = layout[start], (1 << layout[start + 2]) - 1
    masks, signs, exponents, biases = layout[start + 3], layout[start + 4], layout[start + 5], layout[start + 6]
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


@numba.njit(f"f8({NET}, i8, i8, CPointer(i8), i8, i8, CPointer(u1), CPointer(f8), i8)", cache=True, nogil=True)
def _count(net, free, start, base, words, at, roots, used, tally, into):  # type: ignore[no-untyped-def]
    """Count by kind, in *tally* from *into* on, what cells from *start* to *free* the literals at *at* need; return their price.

    Backwards: *used* holds 1 for a variable that is read as it is, 2 inverted, 4 by a sum alone. Inputs stand below *base*;
    *tally* begins with the prices.
    """
    for i in range(free):
        used[i] = 0
    for feature in range(into, into + FEATURES):
        tally[feature] = 0.0
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
            tally[into + CELL_BOTH_PHASES] += 1
        if kind == FULL:
            tally[into + (FULL_BOTH if first and second else FULL_SUM if first else FULL_CARRY)] += 1
        elif kind == HALF and first:
            tally[into + (HALF_BOTH if second else HALF_SUM)] += 1
        elif z:
            tally[into + (CHOOSE_BOTH if kind == CHOOSE else COMPARE_STEP)] += 1
        else:
            if kind <= GATE:
                tally[into + ADDER_GATE] += 1
            elif kind >= CHOOSE:
                tally[into + (CHOOSE_GATE if kind == CHOOSE else COMPARE_GATE)] += 1
            else:
                tally[into + MASK_GATE + kind - MASK] += 1
            if (first | second) & 1:
                tally[into + GATE_POSITIVE] += 1
    for variable in range(1, base):
        if used[variable] & 2:
            tally[into + INPUT_INVERTED] += 1
    price = 0.0
    for feature in range(FEATURES):
        price += tally[feature] * tally[into + feature]
    return price


@numba.njit("i8(CPointer(i8), i8, i8, CPointer(i8), i8, i8, i8)", cache=True, nogil=True)
def _rebuild(net, free, inputs, words, at, roots, budget):  # type: ignore[no-untyped-def]
    """Build the functions whose literals stand at *at* anew from their truth tables, and put those literals there.

    Returns the next free variable, −1 where that takes more functions than *budget*.
    """
    net[GENOME] += 1
    net[KEPT] = 0
    for variable in range(FIRST, FIRST + inputs):
        name(net, variable)
    for k in range(roots):
        literal = words[at + k]
        if literal < 2:
            continue
        made, free, budget = take_apart(net, free, (1 << inputs) - 1, row(net, literal >> 1), net[SPARE], budget)
        if budget < 0:
            return -1
        words[at + k] = made ^ (literal & 1)
    return free


@numba.njit("i8(CPointer(i8), i8, CPointer(i4), i8, i8)", cache=True, nogil=True)
def _live(layout, layers, genes, number, o):  # type: ignore[no-untyped-def]
    """Return the bits of hidden neuron *o* of layer *number* that neurons with a reader have in their masks; all in the last."""
    if number == layers - 1:
        return -1
    bits, outputs, following = 0, layout[9 * number + 1], 9 * number + 9
    for reader in range(layout[following + 1]):
        mask = genes[layout[following + 3] + reader * outputs + o]
        if mask and _live(layout, layers, genes, number + 1, reader):
            bits |= mask
    return bits & ((1 << layout[following + 2]) - 1)


@numba.njit(
    "i8(CPointer(i8), CPointer(i8), i8, CPointer(i4), i8, i8, i8, CPointer(i8), i8, i8, CPointer(i8), i8)",
    cache=True,
    nogil=True,
)
def _begin(net, layout, layers, genes, number, first, end, words, source, target, marks, names):  # type: ignore[no-untyped-def]
    """Begin a part: neurons *first* … *end* − 1 of layer *number*, which read the words from *source* on.

    Every bit that they read becomes an input of the part, in words from *target* on; bits of one name become one input. The
    patterns are all that there are, where they are not too many, else none. Returns the number of inputs. *marks*: rows of
    *names* integers: ``INPUT_OF`` a name, zeros and so again afterwards, and ``NAME_OF`` an input.
    """
    start = 9 * number
    inputs, ones, masks = layout[start], (1 << layout[start + 2]) - 1, layout[start + 3]
    there = 0
    for i in range(inputs):
        union = 0
        for o in range(first, end):
            mask = genes[masks + o * inputs + i]
            if mask and (end == first + 1 or _live(layout, layers, genes, number, o)):
                union |= mask
        here, word = source + i * SIZE, target + i * SIZE
        words[word + LOW], words[word + HIGH] = words[here + LOW], words[here + HIGH]
        union &= ones & ((1 << width_of(words[here + LOW], words[here + HIGH])) - 1)
        while union:
            position = lowest(union)
            union &= union - 1
            bit = words[here + position]
            if bit >= 2:
                if marks[bit >> 1] == 0:
                    marks[bit >> 1] = FIRST + there
                    marks[NAME_OF * names + there] = bit >> 1
                    there += 1
                bit = 2 * marks[bit >> 1] + (bit & 1)
            words[word + position] = bit
    for i in range(inputs):
        here = source + i * SIZE
        for position in range(width_of(words[here + LOW], words[here + HIGH])):
            marks[words[here + position] >> 1] = 0
    patterns = 1 << min(max(there - 6, 0), 32)
    if patterns > net[MOST_WORDS]:
        patterns = 0
    net[GENOME] += 1
    net[KEPT] = 0
    net[WORDS], net[STRIDE] = patterns, patterns + 4
    for k in range(there if patterns else 0):
        at = row(net, FIRST + k)
        for word in range(patterns):
            net[at + word] = _BIT_OF_64[k] if k < 6 else -(word >> (k - 6) & 1)
        name(net, FIRST + k)
    for word in range(patterns):
        net[row(net, 0) + word] = 0
    return there


@numba.njit(
    f"f8({NET}, i8, CPointer(i8), i8, i8, CPointer(u1), CPointer(f8), i8, CPointer(i8), i8, i8)", cache=True, nogil=True
)
def _end(net, free, inputs, words, at, roots, used, tally, into, marks, names, needed):  # type: ignore[no-untyped-def]
    """End a part that makes the literals at *at*: add its cells to *tally* from *into* on, and return their price.

    The names of the inputs that they read are marked in row *needed* of *marks*.
    """
    base = (FIRST + 1 + inputs) >> 1 << 1
    cheaper = FEATURES
    price = _count(net, free, base, base, words, at, roots, used, tally, FEATURES)
    for k in range(inputs):
        marks[READ * names + k] = used[FIRST + k]
    if price > 0 and net[WORDS]:
        # a function takes a gate at least, as a rule
        budget = min(np.int64(2 * price / tally[ADDER_GATE]) + 1, BUDGET)
        end = _rebuild(net, free, inputs, words, at, roots, budget)
        if end >= 0:
            again = _count(net, end, free, base, words, at, roots, used, tally, 2 * FEATURES)
            if again < price:
                price, cheaper = again, 2 * FEATURES
                for k in range(inputs):
                    marks[READ * names + k] = used[FIRST + k]
    for k in range(inputs):
        if marks[READ * names + k]:
            marks[needed * names + marks[NAME_OF * names + k]] = 1
    for feature in range(FEATURES):
        tally[into + feature] += tally[cheaper + feature]
    return price


@numba.njit("i8(CPointer(i8), i8, i8, i8, i8)", cache=True, nogil=True)
def _cut(words, at, live, target, count):  # type: ignore[no-untyped-def]
    """Cut the circuit behind the word at *at*: name its *live* bits in the word at *target*, the others become 0.

    Bits that are equal or opposite share a name; *count* is the next one. All else is taken as independent. Returns the
    next name.
    """
    words[target + LOW], words[target + HIGH] = words[at + LOW], words[at + HIGH]
    for position in range(width_of(words[at + LOW], words[at + HIGH])):
        bit = words[at + position] if (live >> position) & 1 else 0
        named = bit
        if bit >= 2:
            before = 0
            while before < position and ((live >> before) & 1 == 0 or words[at + before] >> 1 != bit >> 1):
                before += 1
            if before < position:
                named = words[target + before] ^ (words[at + before] ^ bit)
            else:
                named = 2 * count
                count += 1
        words[target + position] = named
    return count


@numba.njit(
    f"UniTuple(i8, 2)({NET}, CPointer(i8), i8, CPointer(i8), CPointer(i4), CPointer(i8), i8, i8)",
    cache=True,
    nogil=True,
)
def _decide(net, free, layout, layers, head, genes, words, source, roots):  # type: ignore[no-untyped-def]
    """Build the head on the words from *source* on; return how many literals of the decision stand at *roots*."""
    if head[0] == 0:
        return argmax(net, free, head, genes, words, source, roots, layout[9 * layers - 8])
    if words[source + LOW] >= 0 or words[source + HIGH] < 0:
        return 0, free
    words[roots] = words[source + width_of(words[source + LOW], words[source + HIGH]) - 1] ^ 1
    return 1, free


@numba.njit(
    "f8(CPointer(i8), i8, CPointer(i8), CPointer(i4), CPointer(i8), CPointer(i8), i8, CPointer(i8), i8, CPointer(i8), i8,"
    " CPointer(u1), CPointer(f8), i8)",
    cache=True,
    nogil=True,
)
def _whole(layout, layers, head, genes, net, words, values, columns, stride, marks, names, used, tally, into):  # type: ignore[no-untyped-def]
    """Build the circuit of one genome as one part; count its cells in *tally* from *into* on, and return their price."""
    source, target, roots = layers * values * SIZE, (layers + 1) * values * SIZE, (layers + 2) * values * SIZE
    there = _begin(net, layout, layers, genes, 0, 0, layout[1], words, 0, source, marks, names)
    free = (FIRST + 1 + there) >> 1 << 1
    for number in range(layers):
        for o in range(layout[9 * number + 1]):
            at = target + o * SIZE
            words[at + LOW], words[at + HIGH] = 0, 0
            if _live(layout, layers, genes, number, o):
                free = _neuron(net, free, layout, layers, head[0], genes, number, o, words, source, at, columns, stride)
        source, target = target, source
    count, free = _decide(net, free, layout, layers, head, genes, words, source, roots)
    return _end(net, free, there, words, roots, count, used, tally, into, marks, names, NEEDED)


@numba.njit("b1(CPointer(i8), i8, CPointer(i4), i8)", cache=True, nogil=True)
def _has_small_parts(layout, layers, genes, most):  # type: ignore[no-untyped-def]
    """Whether a hidden neuron, or the last layer, reads at most *most* bits."""
    for number in range(layers):
        inputs, ones, last = layout[9 * number], (1 << layout[9 * number + 2]) - 1, number == layers - 1
        for o in range(layout[9 * number + 1] if not last else 1):
            bits = 0
            for i in range(inputs):
                left = np.int64(genes[layout[9 * number + 3] + o * inputs + i]) & ones
                if last:
                    left = _live(layout, layers, genes, number - 1, i)
                while left:
                    left &= left - 1
                    bits += 1
            if 0 < bits <= most and (last or _live(layout, layers, genes, number, o)):
                return True
    return False


@numba.njit(
    "f8(CPointer(i8), i8, CPointer(i8), CPointer(i4), CPointer(i8), CPointer(i8), i8, CPointer(i8), i8, CPointer(i8), i8,"
    " CPointer(u1), CPointer(f8), i8)",
    cache=True,
    nogil=True,
)
def _parts(layout, layers, head, genes, net, words, values, columns, stride, marks, names, used, tally, into):  # type: ignore[no-untyped-def]
    """As :func:`_whole`, every hidden neuron as a part by itself, the last layer with the head as another.

    Forwards the hidden bits get their names, backwards each part is built for those that the parts behind it read.
    """
    each = values * SIZE
    source, made, roots = layers * each, (layers + 1) * each, (layers + 2) * each
    for number in range(layers - 1):
        count = 1
        for o in range(layout[9 * number + 1]):
            at = (number + 1) * each + o * SIZE
            words[at + LOW], words[at + HIGH] = 0, 0
            live = _live(layout, layers, genes, number, o)
            if live:
                there = _begin(net, layout, layers, genes, number, o, o + 1, words, number * each, source, marks, names)
                free = (FIRST + 1 + there) >> 1 << 1
                _neuron(net, free, layout, layers, head[0], genes, number, o, words, source, made, columns, stride)
                count = _cut(words, made, live, at, count)
    for i in range(NEEDED * names, (NEEDED + 2) * names):
        marks[i] = 0
    outputs, last = layout[9 * layers - 8], layers - 1
    there = _begin(net, layout, layers, genes, last, 0, outputs, words, last * each, source, marks, names)
    free = (FIRST + 1 + there) >> 1 << 1
    for o in range(outputs):
        at = made + o * SIZE
        free = _neuron(net, free, layout, layers, head[0], genes, last, o, words, source, at, columns, stride)
    count, free = _decide(net, free, layout, layers, head, genes, words, made, roots)
    price = _end(net, free, there, words, roots, count, used, tally, into, marks, names, NEEDED)
    needed, following = NEEDED, NEEDED + 1
    for number in range(layers - 2, -1, -1):
        for i in range(following * names, (following + 1) * names):
            marks[i] = 0
        for o in range(layout[9 * number + 1]):
            at = (number + 1) * each + o * SIZE
            width, wanted = width_of(words[at + LOW], words[at + HIGH]), 0
            for position in range(width):
                bit = words[at + position]
                if bit >= 2 and marks[needed * names + (bit >> 1)] == 1:
                    marks[needed * names + (bit >> 1)] = 2  # once is enough
                    words[roots + wanted] = position
                    wanted += 1
            if wanted == 0:
                continue
            there = _begin(net, layout, layers, genes, number, o, o + 1, words, number * each, source, marks, names)
            free = (FIRST + 1 + there) >> 1 << 1
            free = _neuron(net, free, layout, layers, head[0], genes, number, o, words, source, made, columns, stride)
            for k in range(wanted):
                words[roots + k] = words[made + words[roots + k]]
            price += _end(net, free, there, words, roots, wanted, used, tally, into, marks, names, following)
        needed, following = following, needed
    return price


@numba.njit(
    "void(CPointer(i8), i8, CPointer(i8), CPointer(i4), CPointer(i8), CPointer(i8), i8, CPointer(i8), i8, CPointer(i8), i8,"
    " CPointer(u1), CPointer(f8), CPointer(f8))",
    cache=True,
    nogil=True,
)
def _circuit(layout, layers, head, genes, net, words, values, columns, stride, marks, names, used, tally, counts):  # type: ignore[no-untyped-def]
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
    price = _whole(layout, layers, head, genes, net, words, values, columns, stride, marks, names, used, tally, whole)
    while net[MOST_WORDS] >> (most - 5):
        most += 1
    if price > 0 and net[WORDS] == 0 < net[MOST_WORDS] and layers > 1 and _has_small_parts(layout, layers, genes, most):
        again = _parts(
            layout, layers, head, genes, net, words, values, columns, stride, marks, names, used, tally, parts
        )
        if again < price:
            best = parts
    for feature in range(FEATURES):
        counts[feature] = tally[best + feature]


@numba.njit(cache=True, nogil=True)
def count(layout, head, genomes, net, words, columns, marks, used, tally, rows):  # type: ignore[no-untyped-def]
    """Write to *rows* (genomes × 16 float64) how many cells of every kind the circuit of each genome has.

    ``layout`` (L × 9), ``head`` (3), ``genomes`` (int32, C-contiguous) as ``passes/genetic/space.py`` lays them out; the
    arrays between as :func:`scratch` makes them, for this layout and head, and for one thread.
    """
    for p in range(genomes.shape[0]):
        _circuit(
            layout.ctypes, layout.shape[0], head.ctypes, genomes[p].ctypes, net.ctypes, words.ctypes, words.shape[1],
            columns.ctypes, columns.shape[1], marks.ctypes, marks.shape[1], used.ctypes, tally.ctypes, rows[p].ctypes,
        )  # fmt: skip


def scratch(layout: np.ndarray, head: np.ndarray, most: int = MOST) -> tuple[np.ndarray, ...]:
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
