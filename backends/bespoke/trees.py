"""Trees as cells: shared comparisons with constants, and a tree as nested selects or as sums of paths, whichever is smaller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from approxhw.ir.kinds import Forest

from .blocks import LOCAL, Bit, Block, Dot, Whole, Word, inverted, width_of
from .compression import Columns, compress

SELECT, AND, ANY = "?", "&", "|"
"""Cells that the emitter writes as expressions, not as instances: a choice, two bits, any of several bits."""

SELECT_GATES = 2
"""What a choice between two bits that are no constants costs, in two-input gates: as synthesis leaves it, on average."""

MOST_ONES = 2
"""Ones of a leaf, on average, up to which paths are thought of: votes. With more of them synthesis ends within 1 % either way
(``docs/bespoke.md``), and selects are the shorter text."""

Element = tuple[int, int, int]
"""What a test looks at: an element, a second one or −1, and its sign."""


@dataclass(frozen=True)
class Tree:
    """One tree of a Forest: its tests from the root on, where each leads (a test here, or ~leaf), and its leaves."""

    tests: tuple[int, ...]
    """Nodes of the Forest."""
    high: tuple[int, ...]
    low: tuple[int, ...]
    leaves: tuple[int, ...]
    """Leaves of the Forest."""


def trees_of(op: Forest) -> list[Tree]:
    """Return every tree of *op*."""
    above, below, found = op.high.tolist(), op.low.tolist(), []
    for root in op.roots.tolist():
        tests: list[int] = []
        leaves: list[int] = []
        place: dict[int, int] = {}
        waiting = [root]
        while waiting:
            node = waiting.pop()
            if node < 0:
                place[node] = ~len(leaves)
                leaves.append(~node)
                continue
            place[node] = len(tests)
            tests.append(node)
            waiting += [below[node], above[node]]
        high, low = ([place[way[node]] for node in tests] for way in (above, below))
        found.append(Tree(tuple(tests), tuple(high), tuple(low), tuple(leaves)))
    return found


# Tests ------------------------------------------------------------------------------------------------------------------


def asked_of(op: Forest) -> dict[Element, list[int]]:
    """Return the constants that tests compare each element, or pair of elements, with: ascending."""
    found: dict[Element, set[int]] = {}
    for element, second, sign, constant in zip(
        op.feature.tolist(), op.other.tolist(), op.sign.tolist(), op.threshold.tolist()
    ):
        found.setdefault((element, second, sign if second >= 0 else 1), set()).add(constant)
    return {key: sorted(constants) for key, constants in sorted(found.items())}


def pair_word(block: Block, first: Word, second: Word, sign: int) -> Word:
    """Return first + sign · second."""
    ends = (second.low, second.high) if sign > 0 else (-second.high, -second.low)
    low, high = first.low + ends[0], first.high + ends[1]
    columns = Columns(width_of(low, high))
    columns.add(first, 0, 1)
    columns.add(second, 0, sign)
    cells, bits = compress(columns, prefix=LOCAL)
    block.cells.extend(cells)
    return Word(low, high, bits)


def compared(block: Block, word: Word, constants: Sequence[int]) -> dict[int, Bit]:
    """Return for each of *constants* whether *word* is at least that: a constant or a wire where that does, else a cell's bit."""
    found: dict[int, Bit] = {}
    width = len(word.bits)
    # offset binary: with the sign bit inverted, order is that of unsigned numbers
    bits = (*word.bits[:-1], inverted(word.bits[-1])) if word.signed else word.bits
    wanted: list[tuple[int, int]] = []
    for constant in constants:
        if constant <= word.low or constant > word.high:
            found[constant] = int(constant <= word.low)
            continue
        code = constant + (1 << (width - 1)) if word.signed else constant
        if code == 1 << (width - 1):
            found[constant] = bits[-1]
        else:
            wanted.append((constant, code))
    if wanted:
        free = min((code & -code).bit_length() - 1 for _, code in wanted)  # bits below decide nothing
        group, seen = f"{LOCAL}reached", bits[free:]
        least = sum(code >> free << place * len(seen) for place, (_, code) in enumerate(wanted))
        outputs: tuple[Dot, ...] = tuple((f"{group}_y", place) for place in range(len(wanted)))
        sizes = (("WIDTH", len(seen), 32), ("COUNT", len(wanted), 32), ("LEAST", least, len(seen) * len(wanted)))
        block.cells.append(Whole("at_least", group, (("x", seen),), (("y", outputs),), sizes))
        found |= {constant: dot for (constant, _), dot in zip(wanted, outputs)}
    return found


# A tree -----------------------------------------------------------------------------------------------------------------


def leaf_words(leaves: np.ndarray) -> list[tuple[int, int, int]]:
    """Return low, high and width of what one tree's *leaves* (leaves × sums) add to each sum."""
    ends = [(int(min(column)), int(max(column))) for column in leaves.T.tolist()]
    return [(low, high, width_of(low, high)) for low, high in ends]


def leaf_patterns(leaves: np.ndarray, words: Sequence[tuple[int, int, int]]) -> list[int]:
    """Return the bits of each leaf: those of its sums side by side, the first sum lowest."""
    patterns = []
    for row in leaves.tolist():
        pattern, place = 0, 0
        for value, (_, _, width) in zip(row, words, strict=True):
            pattern |= (value & ((1 << width) - 1)) << place
            place += width
        patterns.append(pattern)
    return patterns


def tree_bits(
    block: Block, tree: Tree, patterns: Sequence[int], width: int, tests: Mapping[int, Bit]
) -> tuple[Bit, ...]:
    """Add *tree* to *block*, whichever way takes fewer gates, and return the bits of the leaf that is reached.

    *patterns*: the bits of each of its leaves; *tests*: node of the Forest → whether its test holds.
    """
    every = [1 << place for place in range(width)]
    told = {bit: [bool(pattern & bit) for pattern in patterns] for bit in every}
    fixed: dict[int, Bit] = {bit: int(ones[0]) for bit, ones in told.items() if all(ones) or not any(ones)}
    moving = [bit for bit in every if bit not in fixed]
    if not moving:
        return tuple(fixed[bit] for bit in every)
    seen = [sum(1 << i for i, bit in enumerate(moving) if pattern & bit) for pattern in patterns]
    votes = sum(pattern.bit_count() for pattern in seen) <= MOST_ONES * len(seen)
    by_paths = votes and path_gates(tree, seen, len(moving)) < select_gates(tree, seen, len(moving))
    made = (_paths if by_paths else _selects)(block, tree, seen, len(moving), tests)
    bits = fixed | dict(zip(moving, made, strict=True))
    return tuple(bits[bit] for bit in every)


def select_gates(tree: Tree, patterns: Sequence[int], width: int) -> int:
    """Return how many gates nested selects take: none where both ways are alike or 0 and 1, one where one is a constant."""
    full = (1 << width) - 1
    # of each place: bits that are always 0, always 1, and a number for what a bit is made of
    gates, zeros, ones = 0, [0] * len(tree.tests), [0] * len(tree.tests)

    def known(place: int) -> tuple[int, int]:
        if place < 0:
            return ~patterns[~place] & full, patterns[~place]
        return zeros[place], ones[place]

    for node in range(len(tree.tests) - 1, -1, -1):
        (zero_high, one_high), (zero_low, one_low) = known(tree.high[node]), known(tree.low[node])
        zeros[node], ones[node] = zero_high & zero_low, one_high & one_low
        fixed_high, fixed_low = zero_high | one_high, zero_low | one_low
        one_side = (fixed_high ^ fixed_low).bit_count()
        both_move = (~fixed_high & ~fixed_low & full).bit_count()
        gates += one_side + SELECT_GATES * both_move
    return gates


def path_gates(tree: Tree, patterns: Sequence[int], width: int) -> int:
    """Return how many gates sums of paths take: one for each step below the first to what matters, and ORs over the leaves."""
    matters = _mattering(tree, patterns)
    steps = sum(matters[way] for node in range(1, len(tree.tests)) for way in (tree.high[node], tree.low[node]))
    sums = sum(max(0, sum(pattern >> place & 1 for pattern in patterns) - 1) for place in range(width))
    return steps + sums


def _mattering(tree: Tree, patterns: Sequence[int]) -> dict[int, bool]:
    """Return of each place whether a leaf with a 1 is reached from it."""
    found = {~place: bool(pattern) for place, pattern in enumerate(patterns)}
    for node in range(len(tree.tests) - 1, -1, -1):
        found[node] = found[tree.high[node]] or found[tree.low[node]]
    return found


def _selects(
    block: Block, tree: Tree, patterns: Sequence[int], width: int, tests: Mapping[int, Bit]
) -> tuple[Bit, ...]:
    """Nest choices from the leaves up; of what is chosen by a constant only one side is built."""
    made: dict[int, tuple[Bit, ...]] = {
        ~place: tuple(pattern >> i & 1 for i in range(width)) for place, pattern in enumerate(patterns)
    }
    for node in range(len(tree.tests) - 1, -1, -1):
        test, high, low = tests[tree.tests[node]], made[tree.high[node]], made[tree.low[node]]
        if isinstance(test, int) or high == low:
            made[node] = high if test == 1 else low
            continue
        group = f"{LOCAL}node{node}"
        dots: tuple[Dot, ...] = tuple((f"{group}_y", i) for i in range(width))
        block.cells.append(Whole(SELECT, group, (("take", (test,)), ("high", high), ("low", low)), (("y", dots),)))
        made[node] = dots
    return made[0]


def _paths(block: Block, tree: Tree, patterns: Sequence[int], width: int, tests: Mapping[int, Bit]) -> tuple[Bit, ...]:
    """Follow the ways from the root down; each bit is 1 where one of its leaves is reached."""
    matters = _mattering(tree, patterns)
    reached: dict[int, Bit] = {0: 1}
    for node in range(len(tree.tests)):
        if node not in reached:
            continue
        test = tests[tree.tests[node]]
        for way, holds in ((tree.high[node], test), (tree.low[node], inverted(test))):
            if matters[way]:
                title = f"to_node{way}" if way >= 0 else f"to_leaf{~way}"
                reached[way] = _both(block, f"{LOCAL}{title}", reached[node], holds)
    bits: list[Bit] = []
    for place in range(width):
        ways = [reached[~leaf] for leaf, pattern in enumerate(patterns) if pattern >> place & 1 and ~leaf in reached]
        ways = [way for way in ways if way != 0]
        if len(ways) < 2 or 1 in ways:
            bits.append(1 if 1 in ways else ways[0] if ways else 0)
            continue
        group = f"{LOCAL}bit{place}"
        block.cells.append(Whole(ANY, group, (("x", tuple(ways)),), (("y", ((f"{group}_y", 0),)),)))
        bits.append((f"{group}_y", 0))
    return tuple(bits)


def _both(block: Block, group: str, a: Bit, b: Bit) -> Bit:
    if isinstance(a, int) or isinstance(b, int):
        return 0 if a == 0 or b == 0 else (b if a == 1 else a)
    out: Dot = (f"{group}_y", 0)
    block.cells.append(Whole(AND, group, (("a", (a,)), ("b", (b,))), (("y", (out,)),)))
    return out
