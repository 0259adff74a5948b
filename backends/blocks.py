"""Blocks: a circuit as named bits and template cells, before it becomes Verilog; bits that nothing reads are not built.

A :class:`Block` is one Verilog module to be. Its cells stand in order of data flow, one bit wide each (a *lane*); lanes of the
same group are emitted side by side as one instance of a template of ``rtl_templates``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

Dot = tuple[str, int]
"""A bit: (name of the signal, position). A name that ends in ``~`` stands for the inverted bit."""

LOCAL = ":"
"""Names that start with it are of one block only; the emitter drops it and sees that they clash with nothing."""

Bit = Dot | int
"""A dot, or the constant 0 or 1."""


def inverted(bit: Bit) -> Bit:
    """Return the inverted *bit*."""
    if isinstance(bit, int):
        return 1 - bit
    name, position = bit
    return (name[:-1], position) if name.endswith("~") else (f"{name}~", position)


def plain(dot: Dot) -> Dot:
    """Return *dot* without inversion."""
    return (dot[0].removesuffix("~"), dot[1])


@dataclass(frozen=True)
class Lane:
    """One bit of a template. ``group``: instance it belongs to; ``inputs``/``outputs``: port → bit.

    ``shared``: ports that are one bit for the whole instance (a select), not one a lane.
    """

    template: str
    group: str
    inputs: tuple[tuple[str, Bit], ...]
    outputs: tuple[tuple[str, Dot], ...]
    shared: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Whole:
    """An instance of a template whose output bit needs every input bit: a comparison, an OR."""

    template: str
    group: str
    inputs: tuple[tuple[str, tuple[Bit, ...]], ...]
    output: tuple[str, Dot]


Cell = Lane | Whole


@dataclass(frozen=True)
class Word:
    """A binary number: its bits, lowest first (two's complement where ``low`` < 0), and its exact range."""

    low: int
    high: int
    bits: tuple[Bit, ...]

    @property
    def signed(self) -> bool:
        """Whether the top bit is a sign."""
        return self.low < 0

    def bit(self, position: int) -> Bit:
        """Return the bit at *position*, extended beyond the top by sign or zero."""
        if position < len(self.bits):
            return self.bits[position]
        return self.bits[-1] if self.signed else 0


def width_of(low: int, high: int) -> int:
    """Return the bits that hold *low* … *high*: two's complement where *low* < 0; 0 for the range 0 … 0."""
    if low < 0:
        return 1 + max((-low - 1).bit_length(), high.bit_length() if high > 0 else 0)
    return high.bit_length()


def constant_word(value: int) -> Word:
    """Return the word that is always *value*."""
    return Word(value, value, tuple(value >> i & 1 for i in range(width_of(value, value))))


@dataclass
class Block:
    """A Verilog module in the making: its cells and, per word that leaves, that word's bits as seen inside."""

    name: str
    comment: list[str] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    outputs: dict[str, tuple[Bit, ...]] = field(default_factory=dict)

    def leave(self, name: str, word: Word) -> Word:
        """Let *word* leave the block as *name*; return it as others see it (constants stay constants)."""
        self.outputs[name] = word.bits
        seen = tuple(bit if isinstance(bit, int) else (name, i) for i, bit in enumerate(word.bits))
        return replace(word, bits=seen)


def bits_read(cell: Cell) -> Iterable[Bit]:
    """Return every bit that *cell* reads."""
    for _, value in cell.inputs:
        if isinstance(cell, Whole):
            yield from value  # type: ignore[misc]
        else:
            yield value  # type: ignore[misc]


_SUM_ONLY = {"full_adders": "full_sums", "half_adders": "half_sums", "half_adders_plus_one": "half_sums_plus_one"}
_CARRY_ONLY = {
    "full_adders": "full_carries",
    "half_adders": "half_carries",
    "half_adders_plus_one": "half_carries_plus_one",
}


def prune(blocks: Sequence[Block], wanted: Iterable[Bit]) -> tuple[list[Block], dict[str, tuple[int, ...]]]:
    """Return *blocks* without what nothing reads, and per word that crosses a block the positions that are read.

    ``wanted``: bits that leave the circuit. Blocks stand in order of data flow. An adder whose sum or carry is not read
    becomes the template that builds only the other.
    """
    live: set[Dot] = {plain(bit) for bit in wanted if not isinstance(bit, int)}
    kept_blocks = []
    for block in reversed(blocks):
        inside: set[Dot] = set()
        outputs: dict[str, tuple[Bit, ...]] = {}
        for name, bits in block.outputs.items():
            for position, bit in enumerate(bits):
                if (name, position) in live and not isinstance(bit, int):
                    inside.add(plain(bit))
                    outputs[name] = bits
        cells = []
        for cell in reversed(block.cells):
            cell_kept = _narrowed(cell, inside)
            if cell_kept is not None:
                inside.update(plain(bit) for bit in bits_read(cell_kept) if not isinstance(bit, int))
                cells.append(cell_kept)
        made = {dot for cell in cells for dot in _made(cell)}
        live.update(inside - made)
        if outputs:
            kept_blocks.append(Block(block.name, block.comment, cells[::-1], outputs))
    positions: dict[str, set[int]] = {}
    for name, position in live:
        positions.setdefault(name, set()).add(position)
    return kept_blocks[::-1], {name: tuple(sorted(found)) for name, found in positions.items()}


def _made(cell: Cell) -> tuple[Dot, ...]:
    return (cell.output[1],) if isinstance(cell, Whole) else tuple(dot for _, dot in cell.outputs)


def _narrowed(cell: Cell, live: set[Dot]) -> Cell | None:
    """Return *cell* with only its live outputs, or None where none is."""
    if isinstance(cell, Whole):
        return cell if cell.output[1] in live else None
    outputs = tuple((port, dot) for port, dot in cell.outputs if dot in live)
    if not outputs:
        return None
    if len(outputs) == len(cell.outputs) or cell.template not in _SUM_ONLY:
        return replace(cell, outputs=outputs)
    only_sum = outputs[0][0] == "sum"
    template = (_SUM_ONLY if only_sum else _CARRY_ONLY)[cell.template]
    return Lane(template, f"{cell.group}_{'sum' if only_sum else 'carry'}_only", cell.inputs, outputs)
