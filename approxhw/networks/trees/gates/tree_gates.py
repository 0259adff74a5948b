"""A tree as gates on the bits of its codes, no synthesis in between: comparators, each once, and selects of the class's bits."""

from __future__ import annotations

import numpy as np

from approxhw.ir.kinds import Forest
from approxhw.networks.trees.prices import GATE, INVERTER
from approxhw.networks.trees.prices import SELECT as SELECTING
from approxhw.numerics.logic.gates import AND, CONSTANTS, NOT, OR, SELECT, GateList, MappedGates

AREAS = (INVERTER / 2, GATE, GATE, 2 * SELECTING, GATE, GATE, 2 * SELECTING, SELECTING)
"""About what a gate of each of ``FUNCTIONS`` costs in mm² once it is synthesised: inverters often vanish into what they feed."""


class _Builder:
    """Gates that are being made: equal ones are one, and what constants decide is no gate."""

    def __init__(self, inputs: int) -> None:
        self.first = CONSTANTS + inputs
        self.known: dict[tuple[int, ...], int] = {}

    def gate(self, function: int, *read: int) -> int:
        """Return the signal of *function* of the signals *read*."""
        key = (function, *read)
        return self.known.setdefault(key, self.first + len(self.known))

    def inverse(self, a: int) -> int:
        return 1 - a if a <= 1 else self.gate(NOT, a)

    def both(self, a: int, b: int) -> int:
        """Return a AND b."""
        low, high = min(a, b), max(a, b)
        return high if low == 1 or low == high else 0 if low == 0 else self.gate(AND, low, high)

    def either(self, a: int, b: int) -> int:
        """Return a OR b."""
        low, high = min(a, b), max(a, b)
        if low == 0 or low == high:
            return high
        return 1 if low == 1 else self.gate(OR, low, high)

    def select(self, s: int, low: int, high: int) -> int:
        """Return *low* where s is 0, *high* where it is 1."""
        low, high = 0 if low == s > 1 else low, 1 if high == s > 1 else high
        if low == high or s <= 1:
            return high if s == 1 else low
        if low <= 1:
            return self.either(self.inverse(s), high) if low else self.both(s, high)
        if high <= 1:
            return self.either(s, low) if high else self.both(self.inverse(s), low)
        return self.gate(SELECT, s, low, high)

    def at_least(self, first: int, bits: int, constant: int) -> int:
        """Return whether the code whose lowest bit is the signal *first* is ≥ *constant*."""
        if constant >= 1 << bits:
            return 0
        found = 1
        for bit in range(bits) if constant > 0 else ():
            one = constant >> bit & 1
            found = self.both(first + bit, found) if one else self.either(first + bit, found)
        return found


def tree_gates(trees: Forest, elements: int, bits: int, width: int) -> MappedGates:
    """Return the one tree of *trees*, whose tests look at one code each, as gates that name its class in *width* bits.

    *elements*: codes of *bits* bits of a row; input bit e · *bits* + b is bit b of code e. Its area is about what it will be.
    """
    if len(trees.roots) != 1 or (trees.other >= 0).any():
        raise ValueError("gates are made of one tree whose tests look at one code each")
    made = _Builder(elements * bits)
    classes = (trees.base + trees.leaves).argmax(axis=1)
    ends = [[int(number) >> bit & 1 for bit in range(width)] for number in classes]
    nodes: list[list[int]] = [[] for _ in range(len(trees.feature))]
    for n in range(len(nodes) - 1, -1, -1):  # ways lead to nodes behind
        high, low = (nodes[to] if to >= 0 else ends[~to] for to in (int(trees.high[n]), int(trees.low[n])))
        s = made.at_least(CONSTANTS + int(trees.feature[n]) * bits, bits, int(trees.threshold[n]))
        nodes[n] = [made.select(s, *each) for each in zip(low, high, strict=True)]
    root = int(trees.roots[0])
    outputs = nodes[root] if root >= 0 else ends[~root]
    return priced_gates(_without_idle(elements * bits, list(made.known), outputs))


def _without_idle(inputs: int, made: list[tuple[int, ...]], outputs: list[int]) -> GateList:
    """Return the gates that an output needs: (function, operands) each, in an order in which each reads what stands above."""
    from approxhw.numerics.logic.removal import compacted

    operands = np.zeros((len(made), 3), dtype=np.int32)
    for row, (_, *read) in zip(operands, made, strict=True):
        row[: len(read)] = read
    functions = np.array([function for function, *_ in made], dtype=np.int8)
    return compacted(inputs, functions, operands, np.array(outputs, dtype=np.int32))


def priced_gates(gates: GateList) -> MappedGates:
    """Return *gates* with about what they cost: the sum of :data:`AREAS`."""
    return MappedGates(gates, float(np.array(AREAS)[gates.functions].sum()), AREAS)
