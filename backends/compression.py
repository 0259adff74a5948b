"""Column compression: bits of equal weight summed by full and half adders, from the lowest column up.

Every full adder takes three bits and leaves one here and one in the next column, so a column ends with one bit: the fewest full
adders that any order can reach. Bits that arrive first are added first, which keeps the tree shallow without costing a cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .blocks import Bit, Dot, Lane, Word, inverted, plain

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
) -> tuple[list[Lane], tuple[Bit, ...]]:
    """Return the adder lanes that sum *columns*, in order of data flow, and the result's bits, lowest first.

    ``arrival``: level at which each named signal is there (default 0). Lanes of one level and kind form one group, named
    ``<prefix>level<k>_<kind>``.
    """
    arrival = arrival or {}
    constant = columns.constant % (1 << columns.width)
    waiting: dict[int, list[tuple[int, Dot]]] = {
        column: [(arrival.get(plain(dot)[0], 0), dot) for dot in dots] for column, dots in columns.dots.items()
    }
    used: dict[str, int] = {}
    lanes: list[tuple[int, Lane]] = []
    result: list[Bit] = []
    for column in range(columns.width):
        dots = sorted(waiting.pop(column, []), key=lambda item: item[0])
        one = bool(constant >> column & 1)
        if one and dots and len(dots) % 2 == 0:
            _combine("half_plus_one", 2, column, dots, waiting, lanes, used, prefix)
            one = False
        while len(dots) >= 3:
            _combine("full", 3, column, dots, waiting, lanes, used, prefix)
        if len(dots) == 2:
            _combine("half", 2, column, dots, waiting, lanes, used, prefix)
        if not dots:
            result.append(int(one))
            continue
        when, dot = dots[0]
        if one:  # a + 1: the inverted bit stays, the bit itself is the carry
            result.append(inverted(dot))
            waiting.setdefault(column + 1, []).append((when, dot))
        else:
            result.append(dot)
    return [lane for _, lane in sorted(lanes, key=lambda item: item[0])], tuple(result)


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
    group = f"{prefix}level{level}_{kind}"
    number = used[group] = used.get(group, -1) + 1
    total, carry = (f"{group}_sum", number), (f"{group}_carry", number)
    inputs = tuple((port, dot) for port, (_, dot) in zip("abc", taken, strict=False))
    lanes.append((level, Lane(TEMPLATES[kind], group, inputs, (("sum", total), ("carry", carry)))))
    dots.append((level, total))
    dots.sort(key=lambda item: item[0])
    waiting.setdefault(column + 1, []).append((level, carry))


def adder_counts(lanes: Iterable[Lane]) -> tuple[int, int]:
    """Return the number of full adders and of half adders (with or without the constant one)."""
    kinds = [lane.template for lane in lanes]
    full = sum(kind.startswith("full") for kind in kinds)
    return full, len(kinds) - full
