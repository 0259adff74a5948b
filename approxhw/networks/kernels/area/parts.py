"""Parts of a masked network's circuit: each built from its inputs' bits, taken apart where it is small, and counted.

The whole circuit is one part, or every hidden neuron is one and the last layer with the head another. *words* holds regions of
*values* words: the names of the bits that each layer reads, then what the part at hand reads, what it makes, and the literals
that leave it.
"""

from __future__ import annotations

import numba
import numpy as np

from .counting import ADDER_GATE, FEATURES, count_cells
from .functions import take_apart
from .gates import FIRST, GENOME, KEPT, MOST_WORDS, NET, SPARE, STRIDE, WORDS, Pointer, lowest, name, row
from .words import HIGH, LOW, SIZE, activate, argmax_tree, compress_columns, masked_range, range_width

INPUT_OF, NAME_OF, READ, NEEDED = range(4)
"""Rows of marks: name → input, input → name, whether an input is read, whether a name is needed (two rows, by turns)."""

BUDGET = 192
"""Most functions to look at before taking a part apart is given up."""

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
def _neuron(
    net: Pointer, free: int, layout: Pointer, layers: int, kind: int, genes: Pointer, number: int, o: int,
    words: Pointer, source: int, at: int, columns: Pointer, stride: int,
) -> int:  # fmt: skip
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
        mask &= (1 << range_width(words[word + LOW], words[word + HIGH])) - 1
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
    width = range_width(least, greatest)
    words[at + LOW], words[at + HIGH] = least, greatest
    free = compress_columns(net, free, columns, stride, width, constant, words, at)
    for column in range(width + 1, highest + 1):
        columns[column * stride] = 0
    if layout[start + 7] >= 0:
        free = activate(net, free, words, at, np.int64(genes[layout[start + 7]]), layout[start + 8])
    return free


@numba.njit("i8(CPointer(i8), i8, i8, CPointer(i8), i8, i8, i8)", cache=True, nogil=True)
def _rebuild(net: Pointer, free: int, inputs: int, words: Pointer, at: int, roots: int, budget: int) -> int:
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
def _live(layout: Pointer, layers: int, genes: Pointer, number: int, o: int) -> int:
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
def _begin(
    net: Pointer, layout: Pointer, layers: int, genes: Pointer, number: int, first: int, end: int, words: Pointer,
    source: int, target: int, marks: Pointer, names: int,
) -> int:  # fmt: skip
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
        union &= ones & ((1 << range_width(words[here + LOW], words[here + HIGH])) - 1)
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
        for position in range(range_width(words[here + LOW], words[here + HIGH])):
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
def _end(
    net: Pointer, free: int, inputs: int, words: Pointer, at: int, roots: int, used: Pointer, tally: Pointer, into: int,
    marks: Pointer, names: int, needed: int,
) -> float:  # fmt: skip
    """End a part that makes the literals at *at*: add its cells to *tally* from *into* on, and return their price.

    The names of the inputs that they read are marked in row *needed* of *marks*.
    """
    base = (FIRST + 1 + inputs) >> 1 << 1
    cheaper = FEATURES
    price = count_cells(net, free, base, base, words, at, roots, used, tally, FEATURES)
    for k in range(inputs):
        marks[READ * names + k] = used[FIRST + k]
    if price > 0 and net[WORDS]:
        # a function takes a gate at least, as a rule
        budget = min(np.int64(2 * price / tally[ADDER_GATE]) + 1, BUDGET)
        end = _rebuild(net, free, inputs, words, at, roots, budget)
        if end >= 0:
            again = count_cells(net, end, free, base, words, at, roots, used, tally, 2 * FEATURES)
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
def _cut(words: Pointer, at: int, live: int, target: int, count: int) -> int:
    """Cut the circuit behind the word at *at*: name its *live* bits in the word at *target*, the others become 0.

    Bits that are equal or opposite share a name; *count* is the next one. All else is taken as independent. Returns the
    next name.
    """
    words[target + LOW], words[target + HIGH] = words[at + LOW], words[at + HIGH]
    for position in range(range_width(words[at + LOW], words[at + HIGH])):
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
def _decide(
    net: Pointer, free: int, layout: Pointer, layers: int, head: Pointer, genes: Pointer, words: Pointer, source: int,
    roots: int,
) -> tuple[int, int]:  # fmt: skip
    """Build the head on the words from *source* on; return how many literals of the decision stand at *roots*."""
    if head[0] == 0:
        return argmax_tree(net, free, head, genes, words, source, roots, layout[9 * layers - 8])
    if words[source + LOW] >= 0 or words[source + HIGH] < 0:
        return 0, free
    words[roots] = words[source + range_width(words[source + LOW], words[source + HIGH]) - 1] ^ 1
    return 1, free


@numba.njit(
    "f8(CPointer(i8), i8, CPointer(i8), CPointer(i4), CPointer(i8), CPointer(i8), i8, CPointer(i8), i8, CPointer(i8), i8,"
    " CPointer(u1), CPointer(f8), i8)",
    cache=True,
    nogil=True,
)
def count_whole(
    layout: Pointer, layers: int, head: Pointer, genes: Pointer, net: Pointer, words: Pointer, values: int,
    columns: Pointer, stride: int, marks: Pointer, names: int, used: Pointer, tally: Pointer, into: int,
) -> float:  # fmt: skip
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
def has_small_parts(layout: Pointer, layers: int, genes: Pointer, most: int) -> bool:
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
def count_parts(
    layout: Pointer, layers: int, head: Pointer, genes: Pointer, net: Pointer, words: Pointer, values: int,
    columns: Pointer, stride: int, marks: Pointer, names: int, used: Pointer, tally: Pointer, into: int,
) -> float:  # fmt: skip
    """As :func:`count_whole`, every hidden neuron as a part by itself, the last layer with the head as another.

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
            width, wanted = range_width(words[at + LOW], words[at + HIGH]), 0
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
