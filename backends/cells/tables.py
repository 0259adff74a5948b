"""Tables as cells: what a word looks up, less what is a wire."""

from __future__ import annotations

from collections.abc import Sequence

from .blocks import Bit, Cell, Dot, Whole, Word, inverted, width_of


def table_entries(row: Sequence[int], word: Word) -> list[int]:
    """Return the entry of *row*, a table by code, for every pattern of the bits of *word*.

    Patterns that it never shows get that of its nearest end.
    """
    width, values = len(word.bits), []
    for pattern in range(1 << width):
        code = pattern - ((pattern >> (width - 1)) << width) if word.signed else pattern
        values.append(row[min(max(code, word.low), word.high) % len(row)])
    return values


def looked_up(cells: list[Cell], group: str, values: list[int], word: Word) -> Word:
    """Add what makes *values*, one a pattern of the bits of *word*, to *cells*; return their word. What is a wire stays one."""
    low, high = min(values), max(values)
    width = width_of(low, high)
    columns = [[value >> place & 1 for value in values] for place in range(width)]
    bits: list[Bit] = []
    wanted: list[int] = []
    for place, column in enumerate(columns):
        known = _as_wire(column, word)
        if known is None:
            known = (f"{group}_y", len(wanted))
            wanted.append(place)
        bits.append(known)
    if wanted:
        inputs = [place for place in range(len(word.bits)) if any(_depends(columns[w], place) for w in wanted)]
        entries = [
            sum(1 << i for i, place in enumerate(inputs) if pattern >> place & 1) for pattern in range(len(values))
        ]
        content = 0
        for pattern, entry in enumerate(entries):
            code = sum(columns[place][pattern] << i for i, place in enumerate(wanted))
            if pattern == sum(1 << place for i, place in enumerate(inputs) if entry >> i & 1):
                content |= code << entry * len(wanted)
        outputs: tuple[Dot, ...] = tuple((f"{group}_y", i) for i in range(len(wanted)))
        cells.append(
            Whole(
                "table_lookup",
                group,
                (("x", tuple(word.bits[place] for place in inputs)),),
                (("y", outputs),),
                (("IN", len(inputs), 32), ("OUT", len(wanted), 32), ("TABLE", content, len(wanted) << len(inputs))),
            )
        )
    return Word(low, high, tuple(bits))


def _as_wire(column: Sequence[int], word: Word) -> Bit | None:
    """Return the constant or the (inverted) bit of *word* that a product's bit always equals; None where it is neither."""
    if len(set(column)) == 1:
        return column[0]
    for place, bit in enumerate(word.bits):
        if all(value == pattern >> place & 1 for pattern, value in enumerate(column)):
            return bit
        if all(value != pattern >> place & 1 for pattern, value in enumerate(column)):
            return inverted(bit)
    return None


def _depends(column: Sequence[int], place: int) -> bool:
    return any(value != column[pattern ^ 1 << place] for pattern, value in enumerate(column))
