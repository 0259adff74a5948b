"""Words of a circuit that is built only to be counted: sums of columns, QReLU, and matches of an argmax tree.

A word takes :data:`SIZE` integers: the literals of its bits, lowest first, and at ``LOW`` and ``HIGH`` its range. A column of
a sum takes ``stride``: how many bits stand in it, and those. As in ``approxhw.backends``: compression, elements, comparing.
"""

from __future__ import annotations

import numba
import numpy as np

from .gates import (
    ANY,
    MASK,
    NET,
    SATURATE,
    Pointer,
    both,
    full_adder,
    half_adder_plus_one,
    lowest,
    majority,
    multiplexer,
)

COLUMNS = 61
"""Most columns of a sum: everything here fits int64."""

SIZE, LOW, HIGH = 64, 62, 63

LITERAL, LEVEL = (1 << 32) - 1, 1 << 32
"""A bit in a column: its literal, and LEVEL times the adder delays after which it is there. Early bits are added first."""


@numba.njit("i8(i8, i8)", cache=True, nogil=True)
def range_width(low: int, high: int) -> int:
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
def masked_range(mask: int, low: int, high: int, ones: int) -> tuple[int, int]:
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


@numba.njit("i8(CPointer(i8), i8, i8, i8)", cache=True, nogil=True)
def _insert(columns: Pointer, first: int, end: int, bit: int) -> int:
    """Put *bit*, with its level, among those from *first* to *end*, behind all that are there no later; return the new end."""
    place = end
    while place > first and columns[place - 1] & ~LITERAL > bit & ~LITERAL:
        columns[place] = columns[place - 1]
        place -= 1
    columns[place] = bit
    return end + 1


@numba.njit(f"i8({NET}, CPointer(i8), i8, i8, i8, CPointer(i8), i8)", cache=True, nogil=True)
def compress_columns(
    net: Pointer, free: int, columns: Pointer, stride: int, width: int, constant: int, words: Pointer, at: int
) -> int:
    """Sum *columns* and *constant* modulo 2^width into the word at *at*; the columns are empty afterwards.

    Column by column as ``approxhw.backends.bespoke.compression``.
    """
    rows = False
    carry = 0
    for column in range(width):
        here = column * stride
        first, end = here + 1, here + 1 + columns[here]  # a queue: bits are taken in front
        columns[here] = 0
        above = here + stride
        waiting = above + 1 + columns[above]
        one = (constant >> column) & 1
        if one and end > first and (end - first) % 2 == 0 and (rows or end - first != 2):
            a, b = columns[first], columns[first + 1]
            total, over, free = half_adder_plus_one(net, free, a & LITERAL, b & LITERAL)
            later = (max(a, b) & ~LITERAL) + LEVEL
            first, one = first + 2, 0
            end = _insert(columns, first, end, total + later)
            waiting = _insert(columns, above + 1, waiting, over + later)
        most = 2 if rows or one else 3
        while end - first > most:
            a, b, c = columns[first], columns[first + 1], columns[first + 2]
            total, over, free = full_adder(net, free, a & LITERAL, b & LITERAL, c & LITERAL)
            later = (c & ~LITERAL) + LEVEL  # the last to come
            first += 3
            end = _insert(columns, first, end, total + later)
            waiting = _insert(columns, above + 1, waiting, over + later)
        left = end - first
        if rows or left >= 2:
            a = columns[first] & LITERAL if left > 0 else one
            b = columns[first + 1] & LITERAL if left > 1 else (one if left == 1 else 0)
            if left == 3:
                carry = columns[first + 2] & LITERAL
            elif left == 2 and one:
                carry = 1
            total, carry, free = full_adder(net, free, a, b, carry)
            words[at + column] = total
            rows = True
        elif left == 0:
            words[at + column] = one
        else:
            words[at + column] = columns[first] & LITERAL ^ one
            if one:
                waiting = _insert(columns, above + 1, waiting, columns[first])
        columns[above] = waiting - above - 1
    columns[width * stride] = 0
    return free


@numba.njit("i8(CPointer(i8), i8, i8, i8)", cache=True, nogil=True)
def _bit(words: Pointer, at: int, width: int, position: int) -> int:
    """Return the bit at *position* of the word at *at*, of *width* bits, extended by its sign where it can be negative."""
    if position < width:
        return words[at + position]
    return words[at + width - 1] if words[at + LOW] < 0 else 0


@numba.njit(f"i8({NET}, CPointer(i8), i8, i8, i8)", cache=True, nogil=True)
def activate(net: Pointer, free: int, words: Pointer, at: int, shift: int, hidden: int) -> int:
    """Turn the word at *at* into its QReLU of *hidden* bits: min(max(word >> shift, 0), 2^hidden − 1)."""
    low, high = words[at + LOW], words[at + HIGH]
    width = range_width(low, high)
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
    width = range_width(low, high)
    if high > top:
        over = 1  # the inverted OR of the bits above, built as an AND of inverted bits
        for i in range(hidden, width - 1 if low < 0 else width):
            over, free = both(net, free, ANY, over, words[at + i] ^ 1)
        for i in range(at, at + hidden):
            bit, free = both(net, free, SATURATE, over, words[i] ^ 1)
            words[i] = bit ^ 1
        high = top
    if low < 0:
        for i in range(at, at + range_width(0, high)):
            bit, free = both(net, free, MASK, sign ^ 1, words[i])
            words[i] = bit
        low = 0
    words[at + LOW], words[at + HIGH] = low, high
    return free


@numba.njit("void(CPointer(i8), i8, i8)", cache=True, nogil=True)
def _move(words: Pointer, source: int, target: int) -> None:
    """Let the word at *source* stand at *target* too."""
    for position in range(range_width(words[source + LOW], words[source + HIGH])):
        words[target + position] = words[source + position]
    words[target + LOW], words[target + HIGH] = words[source + LOW], words[source + HIGH]


@numba.njit(f"UniTuple(i8, 2)({NET}, CPointer(i8), i8, i8, i8, i8)", cache=True, nogil=True)
def _match(
    net: Pointer, free: int, words: Pointer, left: int, right: int, looked_at: int, places: int
) -> tuple[int, int]:
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
    width_left, width_right = range_width(low_left, high_left), range_width(low_right, high_right)
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
    for position in range(range_width(least, greatest) - 1, -1, -1):  # from the top: below stand the signs
        a, b = _bit(words, left, width_left, position), _bit(words, right, width_right, position)
        bit, free = multiplexer(net, free, wins, a, b)
        words[left + position] = bit
    words[left + LOW], words[left + HIGH] = least, greatest
    return wins, free


@numba.njit(f"UniTuple(i8, 2)({NET}, CPointer(i8), CPointer(i4), CPointer(i8), i8, i8, i8)", cache=True, nogil=True)
def argmax_tree(
    net: Pointer, free: int, head: Pointer, genes: Pointer, words: Pointer, at: int, index: int, count: int
) -> tuple[int, int]:
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
                bit, free = multiplexer(net, free, wins, words[index + left + k], words[index + right + k])
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
