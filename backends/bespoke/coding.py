"""8-bit codes in bespoke circuits: a word becomes the nearest code by binary search, a code becomes a word by a table."""

from __future__ import annotations

from collections.abc import Sequence

from approxhw.numerics.eight_bit.codes import EightBit
from approxhw.numerics.eight_bit_words import decoded, starts
from approxhw.numerics.formats import Fixed

from .blocks import LOCAL, Bit, Block, Word
from .comparing import greater
from .products import looked_up


def encode_word(block: Block, code: EightBit, maximum: float, source: Fixed, word: Word, text: str) -> tuple[Word, str]:
    """Return the code of *word*, a value of format *source*, as 8 bits, and the formula grown from *text*.

    One comparison for each bit of the rank among the codes that the word's range reaches, the highest first; each looks up the
    word it compares with by the bits that are known. Another table turns the rank into the code.
    """
    codes, begins = starts(code, maximum, source, word.low, word.high)
    group = _free(block, "code")
    known: list[Bit] = []  # of the rank, highest first
    for level in reversed(range(len(begins).bit_length())):
        prefixes = range(1 << len(known))
        ranks = [(prefix << 1 | 1) << level for prefix in prefixes]
        # at least begins[rank - 1] is greater than the word before it; ranks that are not there are never reached
        limits = [begins[rank - 1] - 1 if rank <= len(begins) else word.high for rank in ranks]
        found = Word(0, len(prefixes) - 1, tuple(reversed(known)))
        limit = looked_up(block.cells, f"{group}_limit{level}", limits, found)
        known.append(greater(block, f"{group}_bit{level}", word, limit))
    rank = Word(0, len(begins), tuple(reversed(known)))
    values = [codes[min(pattern, len(begins))] for pattern in range(1 << len(known))]
    number = looked_up(block.cells, group, values, rank)
    return Word(0, 255, tuple(number.bit(i) for i in range(8))), f"{code.kind}({text} / {maximum:.9g})"


def decode_word(
    block: Block, code: EightBit, maximum: float, target: Fixed, word: Word, text: str, interval: tuple[int, int]
) -> tuple[Word, str]:
    """Return the word of format *target* that the 8 bits of *word* stand for; it lies in *interval*."""
    table = decoded(code, maximum, target)
    places = [place for place in range(8) if not isinstance(word.bit(place), int)]
    fixed = sum(int(bit) << place for place in range(8) if isinstance(bit := word.bit(place), int))
    # codes that are never there may stand for anything within the interval
    values = [
        min(max(table[fixed | _scattered(pattern, places)], interval[0]), interval[1])
        for pattern in range(1 << len(places))
    ]
    read = Word(0, (1 << len(places)) - 1, tuple(word.bit(place) for place in places))
    made = looked_up(block.cells, _free(block, "value"), values, read)
    return Word(*interval, tuple(made.bit(i) for i in range(len(made.bits)))), f"{maximum:.9g} * decoded({text})"


def _scattered(pattern: int, places: Sequence[int]) -> int:
    return sum((pattern >> i & 1) << place for i, place in enumerate(places))


def _free(block: Block, name: str) -> str:
    """Return *name* as a local group that the block does not have yet."""
    taken = {cell.group for cell in block.cells}
    count, chosen = 1, f"{LOCAL}{name}"
    while any(group.startswith(chosen) for group in taken):
        count += 1
        chosen = f"{LOCAL}{name}{count}"
    return chosen
