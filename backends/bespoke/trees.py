"""Trees as cells: shared comparisons with constants, and a tree as nested selects or as sums of paths, whichever is smaller."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from approxhw.backends.cells.blocks import LOCAL, SIGNED, Bit, Block, Dot, Whole, Word, inverted, range_text, width_of
from approxhw.ir.chain import is_decision
from approxhw.ir.graph import Node
from approxhw.ir.kinds import Forest, Range, Threshold

from .comparing import not_negative
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


def reached_bits(block: Block, word: Word, constants: Sequence[int]) -> dict[int, Bit]:
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


# The whole --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tools:
    """What the builder of a circuit hands to that of trees."""

    fresh: Callable[[str], str]
    """Name → one like it that nothing bears."""
    name_of: Callable[[Word, str], str]
    """Word and default → what texts call it."""
    decision: Callable[[Node], str]
    """Node that decides → name under which its class leaves."""
    element: Callable[[Block, Node, int, Word, str], tuple[Word, str]]
    """Adds an elementwise Node to a block."""
    blocks: list[Block]


def build_forest(tools: Tools, node: Node, tail: Sequence[Node], x: tuple[Word, ...], ends: Range) -> tuple[Word, ...]:
    """Add the blocks of the Forest *node*, and of what follows it, to the circuit; *ends*: its range. Return its words."""
    assert isinstance(node.op, Forest)
    tests, trees = _tests(tools, node, x), trees_of(node.op)
    if len(trees) == 1 and tail and is_decision(tail[0]):
        return (_one_tree(tools, node, tail[0], trees[0], tests),)
    sums: list[list[Word]] = [[] for _ in range(node.op.classes)]
    for number, tree in enumerate(trees):
        words = leaf_words(node.op.leaves[list(tree.leaves)])
        patterns = leaf_patterns(node.op.leaves[list(tree.leaves)], words)
        block = Block(tools.fresh(f"{node.name}_tree{number}" if len(trees) > 1 else f"{node.name}_tree"))
        width = sum(width for _, _, width in words)
        bits = tree_bits(block, tree, patterns, width, tests)
        out = tools.fresh(f"{block.name}_y")
        seen = block.leave(out, Word(0, (1 << width) - 1, bits)).bits
        block.comment += _tree_comment(out, tree, words)
        tools.blocks.append(block)
        place = 0
        for total, (low, high, size) in zip(sums, words, strict=True):
            total.append(Word(low, high, seen[place : place + size]))
            place += size
    return tuple(
        _forest_sum(tools, node, tail, index, words, (int(ends[0][index]), int(ends[1][index])))
        for index, words in enumerate(sums)
    )


def _tests(tools: Tools, node: Node, x: tuple[Word, ...]) -> dict[int, Bit]:
    """Build every comparison of *node* once; return for each of its nodes the bit that says whether its test holds."""
    op = node.op
    assert isinstance(op, Forest)
    found: dict[tuple[Element, int], Bit] = {}
    for key, constants in asked_of(op).items():
        element, second, sign = key
        name = tools.name_of(x[element], f"x{element}")
        text, word = name, x[element]
        block = Block(tools.fresh(f"{node.name}_{name}"))
        if second >= 0:
            other = tools.name_of(x[second], f"x{second}")
            text = f"{name} {'+' if sign > 0 else '-'} {other}"
            block = Block(tools.fresh(f"{node.name}_{name}_{'plus' if sign > 0 else 'minus'}_{other}"))
            word = pair_word(block, word, x[second], sign)
        bits = reached_bits(block, word, constants)
        # what is a wire, or always the same, is no cell of this block
        made = [constant for constant in constants if str(bits[constant]).startswith(f"('{LOCAL}")]
        if made:
            out = tools.fresh(f"{block.name}_reached")
            told = ", ".join(f"{place}: {constant}" for place, constant in enumerate(made))
            block.comment.append(f"{out} = whether {text} is at least, bit by bit, {told}")
            packed = tuple(bits[constant] for constant in made)
            seen = block.leave(out, Word(0, (1 << len(made)) - 1, packed)).bits
            bits |= dict(zip(made, seen, strict=True))
            tools.blocks.append(block)
        found |= {(key, constant): bit for constant, bit in bits.items()}
    keys = zip(op.feature.tolist(), op.other.tolist(), op.sign.tolist(), op.threshold.tolist())
    return {
        place: found[(element, second, sign if second >= 0 else 1), constant]
        for place, (element, second, sign, constant) in enumerate(keys)
    }


def _one_tree(tools: Tools, node: Node, head: Node, tree: Tree, tests: dict[int, Bit]) -> Word:
    """Build one tree whose leaves are classes: nothing is added up, nothing compared."""
    op = node.op
    assert isinstance(op, Forest)
    sums = op.leaves[list(tree.leaves)].astype(object) + op.base.astype(object)
    if isinstance(head.op, Threshold):
        classes = [int(row[0] > head.op.threshold) for row in sums.tolist()]
    else:
        classes = [max(range(len(row)), key=row.__getitem__) for row in sums.tolist()]
    out = tools.decision(head)
    block = Block(tools.fresh(f"{node.name}_tree"))
    bits = tree_bits(block, tree, classes, width_of(0, max(classes)), tests)
    block.comment += [
        f"{out} = class of the leaf that is reached",
        f"  {len(tree.tests)} tests, {len(tree.leaves)} leaves",
    ]
    tools.blocks.append(block)
    return block.leave(out, Word(0, max(classes), bits))


def _forest_sum(
    tools: Tools, node: Node, tail: Sequence[Node], index: int, words: Sequence[Word], ends: tuple[int, int]
) -> Word:
    """Add up what all trees give sum *index* of *node*."""
    assert isinstance(node.op, Forest)
    low, high = ends
    decides = tail[0] if tail and isinstance(tail[0].op, Threshold) else None
    # x > t is the sign of x − t − 1: the comparison costs a constant in the columns
    change = -int(decides.op.threshold) - 1 if decides is not None and isinstance(decides.op, Threshold) else 0
    block = Block(tools.fresh(f"{node.name}_sum{index}"))
    columns = Columns(width_of(low + change, high + change), int(node.op.base[index]) + change)
    for word in words:
        columns.add(word, 0, 1)
    lanes, bits = compress(columns, prefix=LOCAL)
    block.cells.extend(lanes)
    word = Word(low + change, high + change, bits)
    constant = int(node.op.base[index])
    text = f"what {len(words)} trees add to it" if len(words) > 1 else "what the tree adds to it"
    text += f" {'+' if constant > 0 else '-'} {abs(constant)}" if constant else ""
    tools.blocks.append(block)
    if decides is not None and isinstance(decides.op, Threshold):
        out = tools.decision(decides)
        block.comment.append(f"{out} = ({text}) > {decides.op.threshold}")
        return block.leave(out, not_negative(word))
    for link in tail:
        word, text = tools.element(block, link, index, word, text)
    out = tools.fresh(f"{block.name}_y")
    block.comment += [f"{out} = {text}", range_text(word)]
    return block.leave(out, word)


def _tree_comment(out: str, tree: Tree, words: Sequence[tuple[int, int, int]]) -> list[str]:
    """Return which bits of a tree's leaf belong to which sum."""
    places, place = [], 0
    for index, (low, high, width) in enumerate(words):
        if width:
            places.append(f"{_bits_text(place, width)}: sum {index}, {low} to {high}{SIGNED if low < 0 else ''}")
            place += width
    return [f"{out} = leaf of {len(tree.leaves)} that is reached", *(f"  {told}" for told in places)]


def _bits_text(place: int, width: int) -> str:
    return f"bit {place}" if width == 1 else f"bits {place + width - 1}:{place}"
