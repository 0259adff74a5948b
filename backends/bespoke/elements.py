"""Activations as cells: one word in, one word out, by one table of builders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from approxhw.backends.cells.blocks import LOCAL, Bit, Block, Dot, Whole, Word, constant_word, inverted, width_of
from approxhw.backends.cells.tables import looked_up, table_entries
from approxhw.backends.cells.units import unit_cells
from approxhw.ir.graph import Op, kind_of
from approxhw.ir.kinds import (
    Binarize,
    Clip,
    HardSwish,
    LeakyRelu,
    Lookup,
    Operand,
    PRelu,
    Relu,
    Requantize,
    ThresholdedRelu,
    Type,
)
from approxhw.numerics.eight_bit.codes import EightBit
from approxhw.numerics.eight_bit_words import decoded, starts
from approxhw.numerics.exact.rounding import rounded_shift
from approxhw.numerics.formats import Fixed
from approxhw.numerics.functions.formulas import formula_text

from .comparing import greater, lane
from .compression import Columns, compress
from .shift_add import signed_digits

Element = Callable[[Block, Any, int, Word, str], tuple[Word, str]]
"""Block, op, number of the element, its word and formula → word and formula of what the op makes of it.

Any: every builder takes its own kind of op, by which ``ELEMENTS`` has it."""


def element(block: Block, op: Op, index: int, word: Word, text: str) -> tuple[Word, str]:
    """Add *op* for element *index* of its value to *block*; return the word and the formula grown from *text*."""
    return ELEMENTS[type(op)](block, op, index, word, text)


def _relu(block: Block, op: Relu, index: int, word: Word, text: str) -> tuple[Word, str]:
    return _bounded(block, word, 0, None), f"relu({text})"


def _clip(block: Block, op: Clip, index: int, word: Word, text: str) -> tuple[Word, str]:
    return _bounded(block, word, op.low, op.high), f"clip({text}, {op.low}, {op.high})"


def _leaky_relu(block: Block, op: LeakyRelu, index: int, word: Word, text: str) -> tuple[Word, str]:
    return _sloped(block, op.alpha, word), f"leaky({text}, {op.alpha})"


def _prelu(block: Block, op: PRelu, index: int, word: Word, text: str) -> tuple[Word, str]:
    slope = op.slopes[index if len(op.slopes) > 1 else 0]
    return _sloped(block, slope, word), f"prelu({text}, {slope})"


def _sloped(block: Block, slope: Fraction, word: Word) -> Word:
    """Choose by the sign between the value and slope times it: a shift, and an adder for every further digit of slope."""
    if word.low >= 0 or slope == 1:
        return word
    if slope == 0:
        return _bounded(block, word, 0, None)
    multiplier, shift = slope.numerator, slope.denominator.bit_length() - 1
    below = Word(word.low, min(word.high, -1), word.bits)  # only a negative value is ever looked at
    leak = _trimmed(_shifted(_scaled(block, below, multiplier, 0), shift))
    if word.high < 0:
        return leak
    group, sign = _local(block, "leak"), word.bits[-1]
    low, high = min(leak.low, 0), max(leak.high, word.high)
    lanes = [
        lane("choose", group, {"take_b": sign, "a": word.bit(i), "b": leak.bit(i)}, i, {"take_b"})
        for i in range(width_of(low, high))
    ]
    block.cells.extend(lanes)
    return Word(low, high, tuple(lane.outputs[0][1] for lane in lanes))


def _thresholded_relu(block: Block, op: ThresholdedRelu, index: int, word: Word, text: str) -> tuple[Word, str]:
    formula = f"{text} where > {op.threshold}"
    if word.low > op.threshold:
        return word, formula
    if word.high <= op.threshold:
        return constant_word(0), formula
    group = _local(block, "above")
    keep = greater(block, f"{group}_compare", word, constant_word(op.threshold))
    low, high = _reached(op, word)
    return _kept(block, group, keep, word, low, high), formula


def _hard_swish(block: Block, op: HardSwish, index: int, word: Word, text: str) -> tuple[Word, str]:
    """Multiply the value by its own gate: one row of ANDs for each bit of the gate, and the adders of their columns."""
    formula = f"({text}) * clip({text} + {op.offset}, {op.low}, {op.high})"
    gate = _trimmed(_bounded(block, _scaled(block, word, 1, op.offset), op.low, op.high))
    low, high = _reached(op, word)
    columns = Columns(width_of(low, high))
    for place, bit in enumerate(gate.bits):
        sign = -1 if gate.signed and place == len(gate.bits) - 1 else 1
        if isinstance(bit, int):
            if bit:
                columns.add(word, place, sign)
            continue
        group = _local(block, f"times_bit{place}_")
        columns.add(_kept(block, group, bit, word, min(word.low, 0), max(word.high, 0)), place, sign)
    lanes, bits = compress(columns, prefix=_local(block, "product_"))
    block.cells.extend(lanes)
    return Word(low, high, bits), formula


def _lookup(block: Block, op: Lookup, index: int, word: Word, text: str) -> tuple[Word, str]:
    formula = f"table[{text}]" + (f", which holds {formula_text(op.formula)}" if op.formula else "")
    low, high = _reached(op, word)
    if low == high:
        return constant_word(low), formula
    if op.unit is not None:
        read = tuple(word.bit(i) for i in range(op.unit.bits))
        cells, bits = unit_cells(op.unit, read, f"{_local(block, 'unit')}_")
        block.cells.extend(cells)
        return Word(low, high, bits[: width_of(low, high)]), formula.replace("table", f"{op.unit.kind} unit", 1)
    group = _local(block, "looked_up")
    made = looked_up(block.cells, group, table_entries(op.table, word), word)
    return Word(low, high, tuple(made.bit(i) for i in range(width_of(low, high)))), formula


def _binarize(block: Block, op: Binarize, index: int, word: Word, text: str) -> tuple[Word, str]:
    formula = f"({text}) > {op.threshold}"
    bit = greater(block, _local(block, "above"), word, constant_word(int(op.threshold)))
    low, high = (int(end > op.threshold) for end in (word.low, word.high))
    return Word(low, high, (bit,)[: width_of(low, high)]), formula


def _kept(block: Block, group: str, keep: Bit, word: Word, low: int, high: int) -> Word:
    """Return *word* where *keep* is 1, else 0; it lies in *low* … *high*."""
    lanes = [
        lane("mask_bits", group, {"keep": keep, "x": word.bit(i)}, i, {"keep"}) for i in range(width_of(low, high))
    ]
    block.cells.extend(lanes)
    return Word(low, high, tuple(lane.outputs[0][1] for lane in lanes))


def _reached(op: Op, word: Word) -> tuple[int, int]:
    """Return the exact range of what *op* makes of *word*."""
    kind = kind_of(op)
    shape = Type((1,), Fixed(1))
    ends = (np.array([word.low], dtype=object), np.array([word.high], dtype=object))
    low, high = kind.range(op, (Operand("x", "", shape, None, ends),), Operand("y", kind.keyword, shape))
    return int(low[0]), int(high[0])


def _requantize(block: Block, op: Requantize, index: int, word: Word, text: str) -> tuple[Word, str]:
    multiplier = op.multiplier[index if len(op.multiplier) > 1 else 0]
    offset = op.offset[index if len(op.offset) > 1 else 0]
    cut = _cut(block, word, multiplier, offset, op.shift, op.rounding)
    scaled = text if multiplier == 1 else f"{multiplier} * ({text})"
    scaled = f"{scaled} + {offset}" if offset else scaled
    shifted = f"({scaled}) >> {op.shift}" if op.shift else scaled
    if op.shift and op.rounding != "floor":
        shifted = f"{op.rounding.replace('-', '_')}(({scaled}) / 2^{op.shift})"
    return _bounded(block, _trimmed(cut), op.low, op.high), f"clip({shifted}, {op.low}, {op.high})"


def _cut(block: Block, word: Word, multiplier: int, offset: int, shift: int, rounding: str) -> Word:
    """Return (multiplier · word + offset) / 2^shift, rounded."""
    if not shift or rounding == "floor":
        return _shifted(_scaled(block, word, multiplier, offset), shift)
    if rounding in ("half-even", "half-odd"):
        return _nearest(block, word, multiplier, offset, shift, even=rounding == "half-even")
    value = _scaled(block, word, multiplier, offset)
    near, left = _shifted(value, shift), _any(block, [value.bit(i) for i in range(shift)])
    sign: Bit = value.bits[-1] if value.signed else 0
    up = _both(block, sign if rounding == "to-zero" else inverted(sign), left)
    ends = np.array([value.low, value.high], dtype=object)
    low, high = (int(end) for end in rounded_shift(ends, shift, rounding))
    columns = Columns(width_of(low, high))
    columns.add(near, 0, 1)
    columns.add(Word(0, 1, (up,)), 0, 1)
    cells, bits = compress(columns, prefix=_local(block, "rounded_"))
    block.cells.extend(cells)
    return Word(low, high, bits)


def _nearest(block: Block, word: Word, multiplier: int, offset: int, shift: int, *, even: bool) -> Word:
    """Return the nearest integer. Half a unit is added and the rest dropped; what an exact half leaves sets the lowest bit.

    Half a unit more, it leaves zeros, and the upper neighbour, made even by clearing its lowest bit; one less than that, it
    leaves ones, and the lower neighbour, made odd by setting it.
    """
    half = (1 << (shift - 1)) - (0 if even else 1)
    value = _scaled(block, word, multiplier, offset + half)
    near, rest = _shifted(value, shift), [value.bit(i) for i in range(shift)]
    ends = np.array([value.low - half, value.high - half], dtype=object)
    low, high = (int(end) for end in rounded_shift(ends, shift, "half-even" if even else "half-odd"))
    if even:
        lowest = _both(block, near.bit(0), _any(block, rest))
    else:
        lowest = inverted(_both(block, inverted(near.bit(0)), _any(block, [inverted(bit) for bit in rest])))
    return Word(low, high, (lowest, *(near.bit(i) for i in range(1, width_of(low, high))))[: width_of(low, high)])


def _any(block: Block, bits: list[Bit]) -> Bit:
    """Return whether any of *bits* is 1."""
    moving = tuple(bit for bit in bits if not isinstance(bit, int))
    if any(bit == 1 for bit in bits):
        return 1
    if len(moving) < 2:
        return moving[0] if moving else 0
    group = _local(block, "rest")
    out: Dot = (f"{group}_any", 0)
    block.cells.append(Whole("any_bit", group, (("x", moving),), (("any", (out,)),)))
    return out


def _both(block: Block, a: Bit, b: Bit) -> Bit:
    """Return a & b."""
    if isinstance(a, int) or isinstance(b, int):
        return 0 if a == 0 or b == 0 else (b if a == 1 else a)
    made = lane("mask_bits", _local(block, "tie"), {"keep": b, "x": a}, 0, {"keep"})
    block.cells.append(made)
    return made.outputs[0][1]


ELEMENTS: dict[type, Element] = {
    Relu: _relu,
    LeakyRelu: _leaky_relu,
    PRelu: _prelu,
    Clip: _clip,
    ThresholdedRelu: _thresholded_relu,
    HardSwish: _hard_swish,
    Requantize: _requantize,
    Lookup: _lookup,
    Binarize: _binarize,
}
"""Kind of activation → what builds it: the one table that a new activation needs an entry in."""


# 8-bit codes: a word becomes the nearest code by binary search, a code becomes a word by a table --------------------------


def encode_word(block: Block, code: EightBit, maximum: float, source: Fixed, word: Word, text: str) -> tuple[Word, str]:
    """Return the code of *word*, a value of format *source*, as 8 bits, and the formula grown from *text*.

    One comparison for each bit of the rank among the codes that the word's range reaches, the highest first; each looks up the
    word it compares with by the bits that are known. Another table turns the rank into the code.
    """
    codes, begins = starts(code, maximum, source, word.low, word.high)
    group = _local(block, "code")
    known: list[Bit] = []  # of the rank, highest first
    for level in reversed(range(len(begins).bit_length())):
        prefixes = range(1 << len(known))
        ranks = [(prefix << 1 | 1) << level for prefix in prefixes]
        # at least begins[rank - 1] is greater than the word before it; ranks that are not there are never reached
        limits = [begins[rank - 1] - 1 if rank <= len(begins) else word.high for rank in ranks]
        found = Word(0, len(prefixes) - 1, tuple(reversed(known)))
        limit = looked_up(block.cells, f"{group}_limit{level}", limits, found)
        known.append(greater(block, f"{group}_bit{level}", word, limit))
    rank = Word(0, len(begins), tuple(reversed(known)))
    values = [codes[min(pattern, len(begins))] for pattern in range(1 << len(known))]
    number = looked_up(block.cells, group, values, rank)
    return Word(0, 255, tuple(number.bit(i) for i in range(8))), f"{code.kind}({text} / {maximum:.9g})"


def decode_word(
    block: Block, code: EightBit, maximum: float, target: Fixed, word: Word, text: str, interval: tuple[int, int]
) -> tuple[Word, str]:
    """Return the word of format *target* that the 8 bits of *word* stand for; it lies in *interval*."""
    table = decoded(code, maximum, target)
    places = [place for place in range(8) if not isinstance(word.bit(place), int)]
    fixed = sum(int(bit) << place for place in range(8) if isinstance(bit := word.bit(place), int))
    # codes that are never there may stand for anything within the interval
    values = [
        min(max(table[fixed | _scattered(pattern, places)], interval[0]), interval[1])
        for pattern in range(1 << len(places))
    ]
    read = Word(0, (1 << len(places)) - 1, tuple(word.bit(place) for place in places))
    made = looked_up(block.cells, _local(block, "value"), values, read)
    return Word(*interval, tuple(made.bit(i) for i in range(len(made.bits)))), f"{maximum:.9g} * decoded({text})"


def _scattered(pattern: int, places: Sequence[int]) -> int:
    return sum((pattern >> i & 1) << place for i, place in enumerate(places))


def _shifted(word: Word, shift: int) -> Word:
    """Return floor(word / 2^shift): an arithmetic shift drops low bits; the range shifts with it."""
    bits = word.bits[shift:] if len(word.bits) > shift else word.bits[-1:] if word.signed else ()
    return Word(word.low >> shift, word.high >> shift, bits)


def _scaled(block: Block, word: Word, multiplier: int, offset: int) -> Word:
    if multiplier == 1 and offset == 0:
        return word
    low, high = sorted((word.low * multiplier + offset, word.high * multiplier + offset))
    columns = Columns(width_of(low, high), offset)
    for shift, sign in signed_digits(multiplier):
        columns.add(word, shift, sign)
    lanes, bits = compress(columns, prefix=_local(block, "scaled_"))
    block.cells.extend(lanes)
    return Word(low, high, bits)


def _bounded(block: Block, word: Word, low: int | None, high: int | None) -> Word:
    """Return min(max(word, low), high)."""
    if high is not None and word.high > high:
        if word.low >= high:
            return constant_word(high)
        word = _at_most(block, word, high, floor=low)
    if low is not None and word.low < low:
        if word.high <= low:
            return constant_word(low)
        word = _at_least(block, word, low)
    return word


def _at_least(block: Block, word: Word, low: int) -> Word:
    group = _local(block, "relu" if low == 0 else "at_least")
    width = width_of(low, word.high)
    if low == 0:
        keep = inverted(word.bits[-1])
        lanes = [lane("mask_bits", group, {"keep": keep, "x": word.bit(i)}, i, {"keep"}) for i in range(width)]
    else:
        constant = constant_word(low)
        below = greater(block, f"{group}_compare", constant, word)
        lanes = [
            lane("choose", group, {"take_b": below, "a": word.bit(i), "b": constant.bit(i)}, i, {"take_b"})
            for i in range(width)
        ]
    block.cells.extend(lanes)
    return Word(low, word.high, tuple(lane.outputs[0][1] for lane in lanes))


def _at_most(block: Block, word: Word, high: int, floor: int | None) -> Word:
    group = _local(block, "saturated" if high & (high + 1) == 0 else "at_most")
    if high & (high + 1) == 0 and floor is not None and floor >= 0:
        # all ones where a bit above is set; a negative value is cleared by the lower bound that follows
        width = high.bit_length()
        value = word.bits[:-1] if word.signed else word.bits
        overflow: Dot = (f"{group}_overflow", 0)
        block.cells.append(Whole("any_bit", f"{group}_overflow", (("x", value[width:]),), (("any", (overflow,)),)))
        lanes = [
            lane("saturate_bits", group, {"overflow": overflow, "x": word.bit(i)}, i, {"overflow"})
            for i in range(width)
        ]
        block.cells.extend(lanes)
        bits = tuple(lane.outputs[0][1] for lane in lanes)
        # a negative value becomes some other negative one of this width: the lower bound clears it either way
        return Word(-1 << width, high, (*bits, word.bits[-1])) if word.signed else Word(word.low, high, bits)
    constant = constant_word(high)
    above = greater(block, f"{group}_compare", word, constant)
    lanes = [
        lane("choose", group, {"take_b": above, "a": word.bit(i), "b": constant.bit(i)}, i, {"take_b"})
        for i in range(width_of(word.low, high))
    ]
    block.cells.extend(lanes)
    return Word(word.low, high, tuple(lane.outputs[0][1] for lane in lanes))


def _local(block: Block, name: str) -> str:
    """Return *name*, marked as local, numbered where the block has a group that starts with it already."""
    taken = {cell.group for cell in block.cells}
    chosen = name = f"{LOCAL}{name}"
    count = 1
    while any(group.startswith(chosen) for group in taken):
        count += 1
        chosen = f"{name.rstrip('_')}{count}{'_' if name.endswith('_') else ''}"
    return chosen


def _trimmed(word: Word) -> Word:
    """Return *word* without bits above what its range needs."""
    return Word(word.low, word.high, tuple(word.bit(i) for i in range(width_of(word.low, word.high))))
