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


def uninverted(dot: Dot) -> Dot:
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
    """An instance of a template that is no row of lanes: a comparison, an OR, an adder with its carry chain.

    ``inputs``, ``outputs``: port → bits, lowest first. ``parameters``: (name, value, bits); the ``WIDTH`` of the first
    input where there are none.
    """

    template: str
    group: str
    inputs: tuple[tuple[str, tuple[Bit, ...]], ...]
    outputs: tuple[tuple[str, tuple[Dot, ...]], ...]
    parameters: tuple[tuple[str, int, int], ...] = ()


Cell = Lane | Whole


def is_gate(cell: Cell) -> bool:
    """Whether *cell* is a gate of Yosys' own, which becomes an expression, and no template."""
    return cell.template.startswith("$_")


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


SIGNED = ", in two's complement"


def range_text(word: Word) -> str:
    """Return the exact range of *word* as a comment line."""
    return f"  {word.low} to {word.high}{SIGNED if word.signed else ''}"


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


def bits_made(cell: Cell) -> tuple[Dot, ...]:
    """Return every bit that *cell* makes."""
    if isinstance(cell, Whole):
        return tuple(dot for _, dots in cell.outputs for dot in dots)
    return tuple(dot for _, dot in cell.outputs)


def prune(blocks: Sequence[Block], wanted: Iterable[Bit]) -> tuple[list[Block], dict[str, tuple[int, ...]]]:
    """Return *blocks* without what nothing reads, and per word that crosses a block the positions that are read.

    ``wanted``: bits that leave the circuit. Blocks stand in order of data flow. A cell stays while one of its outputs is read;
    of a ripple adder only carries are built where nothing reads the sum.
    """
    live: set[Dot] = {uninverted(bit) for bit in wanted if not isinstance(bit, int)}
    kept_blocks = []
    for block in reversed(blocks):
        inside: set[Dot] = set()
        outputs: dict[str, tuple[Bit, ...]] = {}
        for name, bits in block.outputs.items():
            for position, bit in enumerate(bits):
                if (name, position) in live and not isinstance(bit, int):
                    inside.add(uninverted(bit))
                    outputs[name] = bits
        cells = []
        for cell in reversed(block.cells):
            for part in reversed(_needed(cell, inside)):
                inside.update(uninverted(bit) for bit in bits_read(part) if not isinstance(bit, int))
                cells.append(part)
        made = {dot for cell in cells for dot in bits_made(cell)}
        live.update(inside - made)
        if outputs:
            kept_blocks.append(Block(block.name, block.comment, cells[::-1], outputs))
    positions: dict[str, set[int]] = {}
    for name, position in live:
        positions.setdefault(name, set()).add(position)
    return kept_blocks[::-1], {name: tuple(sorted(found)) for name, found in positions.items()}


def _needed(cell: Cell, live: set[Dot]) -> list[Cell]:
    """Return what of *cell* is needed for *live* bits, in order of data flow."""
    made = bits_made(cell)
    if not any(dot in live for dot in made):
        return []
    if isinstance(cell, Lane):
        return [_grouped_by_use(cell, live)]
    if cell.template == "table_lookup":
        return [_columns_read(cell, live)]
    if cell.template == "at_least":
        return [_constants_read(cell, live)]
    if cell.template != "ripple_adder":
        return [cell]
    (_, a), (_, b), (_, carry) = cell.inputs
    total = cell.outputs[0][1]
    width = 1 + max(i for i, dot in enumerate(total) if dot in live)
    parts: list[Cell] = []
    start = 0
    while start < width:  # runs of columns whose sum is read, or is not
        read = total[start] in live
        end = next((i for i in range(start, width) if (total[i] in live) != read), width)
        group = cell.group if width == len(total) == end and start == 0 else f"{cell.group}_{end - 1}_{start}"
        carry_out: Dot = (f"{group}_carry", 0)
        inputs = (("a", a[start:end]), ("b", b[start:end]), ("carry_in", carry))
        sums = (("sum", total[start:end]),) if read else ()
        parts.append(
            Whole("ripple_adder" if read else "ripple_carry", group, inputs, (*sums, ("carry_out", (carry_out,))))
        )
        carry, start = (carry_out,), end
    return parts


def _columns_read(cell: Whole, live: set[Dot]) -> Whole:
    """Return a table without the columns that nothing reads."""
    (port, dots), (inputs, outputs, table) = cell.outputs[0], (value for _, value, _ in cell.parameters)
    kept = [place for place, dot in enumerate(dots) if dot in live]
    if len(kept) == outputs:
        return cell
    content = 0
    for entry in range(1 << inputs):
        value = table >> entry * outputs
        content |= sum((value >> place & 1) << i for i, place in enumerate(kept)) << entry * len(kept)
    sizes = (("IN", inputs, 32), ("OUT", len(kept), 32), ("TABLE", content, len(kept) << inputs))
    return replace(cell, outputs=((port, tuple(dots[place] for place in kept)),), parameters=sizes)


def _constants_read(cell: Whole, live: set[Dot]) -> Whole:
    """Return comparisons with constants without those that nothing reads, and without low bits that none of the others needs."""
    (port, dots), (inp, bits) = cell.outputs[0], cell.inputs[0]
    width, _, least = (value for _, value, _ in cell.parameters)
    kept = [place for place, dot in enumerate(dots) if dot in live]
    if len(kept) == len(dots):
        return cell
    codes = [least >> place * width & ((1 << width) - 1) for place in kept]
    free = min((code & -code).bit_length() - 1 for code in codes)
    left = width - free
    packed = sum(code >> free << place * left for place, code in enumerate(codes))
    sizes = (("WIDTH", left, 32), ("COUNT", len(kept), 32), ("LEAST", packed, left * len(kept)))
    return replace(
        cell, inputs=((inp, bits[free:]),), outputs=((port, tuple(dots[place] for place in kept)),), parameters=sizes
    )


def _grouped_by_use(lane: Lane, live: set[Dot]) -> Lane:
    """Return *lane*, in a group of its own kind where one of its outputs is not read: signals are read wholly or not at all."""
    unread = [port for port, dot in lane.outputs if dot not in live]
    return replace(lane, group=f"{lane.group}_no_{unread[0]}") if unread else lane
