"""``Gates`` as structural Verilog: one assignment a gate, in one module, signals called by function and number."""

from __future__ import annotations

from approxhw.backends.cells.blocks import LOCAL, Bit, Block, Whole, Word, width_of
from approxhw.ir.graph import Node
from approxhw.ir.kinds import Gates, Range
from approxhw.numerics.formats import Fixed
from approxhw.numerics.logic.gates import ARITIES, FUNCTIONS, SELECT

CELLS = ("$_NOT_", "$_AND_", "$_OR_", "$_XOR_", "$_NAND_", "$_NOR_", "$_XNOR_", "$_MUX_")
"""Function → Yosys' own gate, which its Verilog writer spells as one expression."""

_PORTS = ("A", "B")
_CHOOSING = ("S", "A", "B")


def build_gates(block: Block, node: Node, interval: Range, x: tuple[Word, ...], names: list[str]) -> tuple[Word, ...]:
    """Add the gates of *node* to *block*; return the words of its result, which lie in *interval*.

    *x*: the words that it reads, *names*: what they are called.
    """
    op, fmt = node.op, node.type.format
    assert isinstance(op, Gates)
    assert isinstance(fmt, Fixed)
    gates = op.whole
    signals: list[Bit] = [0, 1, *(word.bit(place) for word in x for place in range(op.bits))]
    for number, (function, read) in enumerate(zip(gates.functions.tolist(), gates.operands.tolist())):
        group = f"{LOCAL}{FUNCTIONS[function]}{number}"
        ports = _CHOOSING if function == SELECT else _PORTS
        inputs = tuple((port, (signals[signal],)) for port, signal in zip(ports, read[: ARITIES[function]]))
        out = (f"{group}_y", 0)
        block.cells.append(Whole(CELLS[function], group, inputs, (("Y", (out,)),)))
        signals.append(out)
    used = [name for name, bits in zip(names, op.reads.tolist()) if any(bits)]
    block.comment.append(f"{len(gates.functions)} gates over bits of {', '.join(used) or 'no input'}")
    words = []
    for element, (low, high) in enumerate(zip(*(ends.tolist() for ends in interval))):
        start = element * fmt.bits
        bits = tuple(signals[signal] for signal in gates.outputs[start : start + width_of(low, high)].tolist())
        words.append(Word(low, high, bits))
    return tuple(words)
