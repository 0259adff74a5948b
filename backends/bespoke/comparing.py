"""Comparators: which of two words is greater, matches of an argmax tree, signs."""

from __future__ import annotations

from approxhw.backends.cells.blocks import Bit, Block, Dot, Lane, Whole, Word, inverted, width_of


def greater(block: Block, group: str, a: Word, b: Word) -> Bit:
    """Return whether a > b; a constant where the ranges tell."""
    if a.low > b.high:
        return 1
    if a.high <= b.low:
        return 0
    signed = a.signed or b.signed
    width = max(len(a.bits), len(b.bits)) + (signed and not (a.signed and b.signed))
    left, right = [a.bit(i) for i in range(width)], [b.bit(i) for i in range(width)]
    if signed:  # offset binary: with the sign bits inverted, order is that of unsigned numbers
        left[-1], right[-1] = inverted(left[-1]), inverted(right[-1])
    out: Dot = (f"{group}_greater", 0)
    block.cells.append(Whole("greater_than", group, (("a", tuple(left)), ("b", tuple(right))), (("greater", (out,)),)))
    return out


def _looked_at(word: Word, width: int, positions: tuple[int, ...]) -> list[Bit]:
    """Return the bits of *word* at *positions*, lowest first, of its *width*-bit code with the sign inverted."""
    return [inverted(word.bit(place)) if place == width - 1 else word.bit(place) for place in positions]


def _greater_bits(block: Block, group: str, a: list[Bit], b: list[Bit]) -> Bit:
    """Return whether unsigned a > b; places that are the same in both do not decide, and what is constant is known."""
    pairs = [(p, q) for p, q in zip(a, b, strict=True) if p != q]
    if not pairs:
        return 0
    if isinstance(pairs[-1][0], int) and isinstance(pairs[-1][1], int):
        return int(pairs[-1][0] > pairs[-1][1])
    out: Dot = (f"{group}_greater", 0)
    ports = (("a", tuple(p for p, _ in pairs)), ("b", tuple(q for _, q in pairs)))
    block.cells.append(Whole("greater_than", group, ports, (("greater", (out,)),)))
    return out


def not_negative(word: Word) -> Word:
    """Return the one-bit word that is 1 where *word* ≥ 0: its inverted sign."""
    bit: Bit = inverted(word.bits[-1]) if word.signed else 1
    bit = bit if word.high >= 0 else 0
    return Word(0, 1, (bit,))


def add_match(
    block: Block,
    group: str,
    left: tuple[Word, tuple[Bit, ...]],
    right: tuple[Word, tuple[Bit, ...]],
    look: tuple[int, tuple[int, ...]] | None = None,
) -> tuple[Word, tuple[Bit, ...]]:
    """Add one match of an argmax tree: return the greater word and its index; the left one wins ties.

    ``left``, ``right``: word and index bits, lowest first; the winner's index gains one bit, which side it came from.
    ``look``: the common width of all values and the bit positions that this comparator looks at; None: at the values.
    """
    if look is None:
        wins = greater(block, group, right[0], left[0])
    else:
        wins = _greater_bits(block, group, _looked_at(right[0], *look), _looked_at(left[0], *look))
    if isinstance(wins, int):
        word, index = right if wins else left
        return word, (*index, wins)
    # the greater value is at least the greater of the two lower ends: bits above what that range needs are not built
    low = (max if look is None else min)(left[0].low, right[0].low)
    high = max(left[0].high, right[0].high)
    width = width_of(low, high)
    values = [
        lane("choose", f"{group}_value", {"take_b": wins, "a": left[0].bit(i), "b": right[0].bit(i)}, i, {"take_b"})
        for i in range(width)
    ]
    indices = [
        lane("choose", f"{group}_index", {"take_b": wins, "a": a, "b": b}, i, {"take_b"})
        for i, (a, b) in enumerate(zip(left[1], right[1], strict=True))
    ]
    block.cells.extend([*values, *indices])
    chosen = tuple(made.outputs[0][1] for made in values)
    return Word(low, high, chosen), (*(made.outputs[0][1] for made in indices), wins)


def lane(template: str, group: str, inputs: dict[str, Bit], number: int, shared: set[str]) -> Lane:
    """Return lane *number* of a template whose one output is ``y``; ``shared``: ports that all lanes have in common."""
    return Lane(template, group, tuple(inputs.items()), (("y", (f"{group}_y", number)),), frozenset(shared))
