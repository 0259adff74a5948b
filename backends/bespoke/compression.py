"""Column compression: bits of equal weight summed by full and half adders, then two rows by one ripple adder.

Every full adder takes three bits of a column and leaves one there and one in the next. From the lowest column up each is brought
down to two bits, and the ripple adder brings those to one: the fewest full adders that any order can reach. Bits that arrive
first are added first, which keeps the tree shallow without costing a cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from approxhw.backends.cells.blocks import Bit, Cell, Dot, Lane, Whole, Word, inverted, uninverted

TEMPLATES = {"full": "full_adders", "half": "half_adders", "half_plus_one": "half_adders_plus_one"}


@dataclass
class Columns:
    """Bits by column, modulo 2^width, and the constant that is added to them."""

    width: int
    constant: int = 0
    dots: dict[int, list[Dot]] = field(default_factory=dict)

    def add(self, word: Word, shift: int, sign: int) -> None:
        """Add sign · (word << shift). A bit of negative weight is the inverted bit and a constant: −b = (1 − b) − 1."""
        for position, bit in enumerate(word.bits):
            column = position + shift
            if column >= self.width:
                return  # modulo 2^width it is nothing
            top = word.signed and position == len(word.bits) - 1
            negative = (sign < 0) != top
            if isinstance(bit, int):
                self.constant += (-bit if negative else bit) << column
            elif negative:
                self.constant -= 1 << column
                self.dots.setdefault(column, []).append(inverted(bit))  # type: ignore[arg-type]
            else:
                self.dots.setdefault(column, []).append(bit)


def compress(
    columns: Columns, arrival: Mapping[str, int] | None = None, prefix: str = ""
) -> tuple[list[Cell], tuple[Bit, ...]]:
    """Return the cells that sum *columns*, in order of data flow, and the result's bits, lowest first.

    ``arrival``: level at which each named signal is there (default 0). Lanes of one level and kind form one group, named
    ``<prefix>level<k>_<kind>``; the ripple adder is ``<prefix>total``.
    """
    arrival = arrival or {}
    constant = columns.constant % (1 << columns.width)
    waiting: dict[int, list[tuple[int, Dot]]] = {
        column: [(arrival.get(uninverted(dot)[0], 0), dot) for dot in dots] for column, dots in columns.dots.items()
    }
    used: dict[str, int] = {}
    lanes: list[tuple[int, Lane]] = []
    low: list[Bit] = []
    rows: list[tuple[Bit, Bit]] = []
    carry_in: Bit = 0
    for column in range(columns.width):
        dots = sorted(waiting.pop(column, []), key=lambda item: item[0])
        one = constant >> column & 1
        first = not rows
        if one and dots and len(dots) % 2 == 0 and not (first and len(dots) == 2):
            _combine("half_plus_one", 2, column, dots, waiting, lanes, used, prefix)
            one = 0
        while len(dots) > (3 if first and not one else 2):
            _combine("full", 3, column, dots, waiting, lanes, used, prefix)
        bits: list[Bit] = [dot for _, dot in dots]
        if rows or len(bits) >= 2:
            if one:
                bits.append(1)
            if len(bits) == 3:  # only where the ripple adder starts: its carry input is free
                carry_in = bits.pop()
            rows.append((bits[0] if bits else 0, bits[1] if len(bits) > 1 else 0))
        elif not bits:
            low.append(one)
        elif one:  # a + 1: the inverted bit stays, the bit itself is the carry
            low.append(inverted(bits[0]))
            waiting.setdefault(column + 1, []).append(dots[0])
        else:
            low.append(bits[0])
    cells: list[Cell] = [lane for _, lane in sorted(lanes, key=lambda item: item[0])]
    if rows:
        group = f"{prefix}total"
        total = tuple((group, i) for i in range(len(rows)))
        ports = (("a", tuple(a for a, _ in rows)), ("b", tuple(b for _, b in rows)), ("carry_in", (carry_in,)))
        cells.append(Whole("ripple_adder", group, ports, (("sum", total),)))
        return cells, (*low, *total)
    return cells, tuple(low)


def _combine(
    kind: str,
    count: int,
    column: int,
    dots: list[tuple[int, Dot]],
    waiting: dict[int, list[tuple[int, Dot]]],
    lanes: list[tuple[int, Lane]],
    used: dict[str, int],
    prefix: str,
) -> None:
    """Take the *count* earliest dots of a column; leave their sum in it and their carry in the next one."""
    taken, dots[:] = dots[:count], dots[count:]
    level = 1 + max(when for when, _ in taken)
    group = f"{prefix}level{level:02d}_{kind}"  # two digits: tools that sort names keep the data flow
    number = used[group] = used.get(group, -1) + 1
    total, carry = (f"{group}_sum", number), (f"{group}_carry", number)
    inputs = tuple((port, dot) for port, (_, dot) in zip("abc", taken, strict=False))
    lanes.append((level, Lane(TEMPLATES[kind], group, inputs, (("sum", total), ("carry", carry)))))
    dots.append((level, total))
    dots.sort(key=lambda item: item[0])
    waiting.setdefault(column + 1, []).append((level, carry))


def adder_counts(cells: Iterable[Cell]) -> tuple[int, int]:
    """Return the number of full adders and of half adders; a column of a ripple adder is one or the other by its inputs."""
    full = half = 0
    for cell in cells:
        if isinstance(cell, Lane):
            full += cell.template == "full_adders"
            half += cell.template != "full_adders"
        elif cell.template == "ripple_adder":
            (_, a), (_, b), (_, (carry,)) = cell.inputs
            pairs = [sum(not isinstance(bit, int) for bit in pair) for pair in zip(a, b, strict=True)]
            pairs[0] -= isinstance(carry, int)
            full += pairs.count(2)
            half += pairs.count(1)
    return full, half
