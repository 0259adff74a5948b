"""Heads: ``ArgMax`` and ``Threshold`` turn values into the index of a class, ``Binarize`` into a bit a label."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from approxhw.common.errors import shown
from approxhw.numerics.formats import MAXIMUM_BITS, Fixed, Format, fixed_for

from .attributes import CodeOrReal, integer, json_number, read_number
from .kind import (
    EXACT_IN_INT64,
    Check,
    Fault,
    Kind,
    Operand,
    Operands,
    OpT,
    Range,
    Values,
    filled_integers,
    is_code,
    is_real,
)


@dataclass(frozen=True)
class ArgMax:
    """Index of the greatest element, the lowest index of equal ones.

    Where ``width`` is given, by a tree of comparators that look at chosen ``bits`` only: values sign-extended to ``width``
    bits, the sign inverted; comparator c reads the positions ``bits[c]`` as an unsigned number. :func:`matches` orders them.
    """

    width: int | None = None
    bits: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Threshold:
    """1 where x > threshold, else 0."""

    threshold: CodeOrReal = 0


@dataclass(frozen=True)
class Binarize:
    """1 where x > threshold, else 0, element by element: one independent label each."""

    threshold: CodeOrReal = 0


def _decides(count: Callable[[Operand], int], more: Check[OpT]) -> Check[OpT]:
    """Return the check of formats of a kind that decides between *count* classes of its operand."""

    def faults(op: OpT, operands: Operands, own: Operand) -> list[Fault]:
        wanted = Fixed(max(1, (count(operands[0]) - 1).bit_length()))
        why: list[Fault] = []
        if own.type.format != wanted:
            why.append(f"its format is {own.type.format}, {own.kind} of this makes {wanted}")
        return why + more(op, operands, own)

    return faults


# ArgMax ----------------------------------------------------------------------------------------------------------------


def matches(count: int) -> list[list[tuple[int, int]]]:
    """Return the rounds of an argmax tree of *count* values as pairs of places.

    A round matches (0, 1), (2, 3), …; its winners, then its odd last value, are the values of the next one. Comparators
    are numbered in this order.
    """
    rounds = []
    while count > 1:
        rounds.append([(place, place + 1) for place in range(0, count - 1, 2)])
        count = (count + 1) // 2
    return rounds


def approximate_argmax(op: ArgMax, x: np.ndarray) -> np.ndarray:
    """Return the winner (int64) of each row of codes: the tree's comparators look at chosen bits of offset binary codes."""
    width = op.width
    assert width is not None
    codes = x.astype(np.int64 if width < 62 else object) + (1 << (width - 1))  # a `width`-bit code, its sign inverted
    values = [codes[:, i] for i in range(x.shape[1])]
    indices = [np.full(len(x), i, dtype=np.int64) for i in range(x.shape[1])]
    comparators = iter(op.bits)
    for pairs in matches(len(values)):
        odd = len(values) % 2
        winners = []
        for left, right in pairs:
            mask = sum(1 << position for position in next(comparators))
            wins = ((values[right] & mask) > (values[left] & mask)).astype(bool)
            winners.append((np.where(wins, values[right], values[left]), np.where(wins, indices[right], indices[left])))
        last = [(values[-1], indices[-1])] if odd else []
        values, indices = ([entry[part] for entry in winners + last] for part in (0, 1))
    return indices[0]


def _greatest(op: ArgMax, values: Values, operands: Operands, own: Operand) -> np.ndarray:
    (x,) = values
    return np.argmax(x, axis=1).astype(np.int64) if op.width is None else approximate_argmax(op, x)


def _comparator_faults(op: ArgMax, operands: Operands, own: Operand) -> list[Fault]:
    if op.width is None:
        return ["comparators that look at chosen bits need a width"] if op.bits else []
    if not is_code(op.width) or not 1 <= op.width <= MAXIMUM_BITS:
        return [f"width {shown(op.width)} does not lie in 1…{MAXIMUM_BITS}"]
    return [
        f"comparator {count} looks at {shown(list(positions))}: give ascending positions in 0…{op.width - 1}"
        for count, positions in enumerate(op.bits)
        if not all(is_code(p) and 0 <= p < op.width for p in positions) or sorted(set(positions)) != list(positions)
    ]


def _looks_at_codes(op: ArgMax, operands: Operands, own: Operand) -> list[Fault]:
    if op.width is None:
        return []
    why: list[Fault] = []
    read, classes = operands[0].type.format, operands[0].type.elements
    if not isinstance(read, Fixed):
        why.append(f"comparators look at bits of codes, not of {read}")
    if len(op.bits) != classes - 1:
        why.append(f"{classes} values need {classes - 1} comparators, it has {len(op.bits)}")
    return why


def _wide_enough(op: ArgMax, operands: Operands, own: Operand) -> list[Fault]:
    if op.width is None or operands[0].range is None:
        return []
    low, high = operands[0].range
    needed = fixed_for(min(-1, *low.tolist()), max(high.tolist())).bits
    return [f"values of {needed} bits do not fit comparators of {op.width}"] if needed > op.width else []


def _indices(op: ArgMax, operands: Operands, own: Operand) -> Range:
    return filled_integers(1, 0), filled_integers(1, operands[0].type.elements - 1)


def _argmax_attributes(op: ArgMax) -> dict[str, object]:
    if op.width is None and not op.bits:
        return {}
    return {"width": json_number(op.width), "bits": [[json_number(p) for p in positions] for positions in op.bits]}


def _positions(value: object, fmt: Format) -> tuple[tuple[int, ...], ...]:
    if not isinstance(value, list) or not all(isinstance(row, list) for row in value):
        raise ValueError("bits is a list of lists of positions")
    return tuple(tuple(integer(position) for position in row) for row in value)


ARGMAX = Kind(
    op=ArgMax,
    shapes=lambda op, first, own: [(math.prod(first),), ()],
    numbers="codes",
    says_format=True,
    classes=lambda op, read: read.elements,
    checks={
        "attributes": _comparator_faults,
        "formats": _decides(lambda read: read.type.elements, _looks_at_codes),
        "ranges": _wide_enough,
    },
    range=_indices,
    on_codes=_greatest,
    attributes=_argmax_attributes,
    readers={"width": lambda value, fmt: None if value is None else integer(value), "bits": _positions},
    optional=frozenset({"width", "bits"}),
    in_codes=lambda op, fmt, bits: op,
)


# Threshold -------------------------------------------------------------------------------------------------------------


def _above(op: Threshold, values: Values, operands: Operands, own: Operand) -> np.ndarray:
    (x,) = values
    integer_codes = isinstance(operands[0].type.format, Fixed)
    wide = x if not integer_codes or abs(op.threshold) < EXACT_IN_INT64 else x.astype(object)
    return (wide.reshape(len(x)) > op.threshold).astype(np.int64)


def _threshold_faults(op: Threshold, operands: Operands, own: Operand) -> list[Fault]:
    return [] if is_real(op.threshold) else [f"threshold {shown(op.threshold)} is no finite number"]


def _threshold_is_code(op: Threshold, operands: Operands, own: Operand) -> list[Fault]:
    if isinstance(operands[0].type.format, Fixed) and not is_code(op.threshold):
        return [f"threshold {shown(op.threshold)} is no code (an integer)"]
    return []


def _threshold_range(op: Threshold, operands: Operands, own: Operand) -> Range:
    if operands[0].range is None:
        return filled_integers(1, 0), filled_integers(1, 1)
    low, high = operands[0].range
    return filled_integers(1, int(low[0] > op.threshold)), filled_integers(1, int(high[0] > op.threshold))


def _threshold_in_codes(op: Threshold, fmt: Fixed, bits: int) -> Threshold:
    """X > t is code > floor(t / scale), which is the same."""
    return Threshold(math.floor(Fraction(op.threshold) / fmt.scale) + fmt.zero)


THRESHOLD = Kind(
    op=Threshold,
    shapes=lambda op, first, own: [(1,), ()],
    numbers="codes",
    says_format=True,
    classes=lambda op, read: 2,
    checks={"attributes": _threshold_faults, "formats": _decides(lambda read: 2, _threshold_is_code)},
    range=_threshold_range,
    on_codes=_above,
    attributes=lambda op: {"threshold": json_number(op.threshold)},
    readers={"threshold": read_number},
    in_codes=_threshold_in_codes,
    coarser=lambda op, shift: Threshold(op.threshold >> shift),
)

# Binarize --------------------------------------------------------------------------------------------------------------


def _bits(op: Binarize, values: Values, operands: Operands, own: Operand) -> np.ndarray:
    (x,) = values
    integer_codes = isinstance(operands[0].type.format, Fixed)
    wide = x if not integer_codes or abs(op.threshold) < EXACT_IN_INT64 else x.astype(object)
    return (wide > op.threshold).astype(np.int64)


def _bit_range(op: Binarize, operands: Operands, own: Operand) -> Range:
    if operands[0].range is None:
        return filled_integers(own.type.elements, 0), filled_integers(own.type.elements, 1)
    low, high = (
        np.array([int(end > op.threshold) for end in ends.tolist()], dtype=object) for ends in operands[0].range
    )
    return low, high


def _bit_faults(op: Binarize, operands: Operands, own: Operand) -> list[Fault]:
    why: list[Fault] = [] if is_real(op.threshold) else [f"threshold {shown(op.threshold)} is no finite number"]
    return why


def _bit_formats(op: Binarize, operands: Operands, own: Operand) -> list[Fault]:
    why: list[Fault] = []
    if own.type.format != Fixed(1):
        why.append(f"its format is {own.type.format}, binarize makes {Fixed(1)}")
    if isinstance(operands[0].type.format, Fixed) and not is_code(op.threshold):
        why.append(f"threshold {shown(op.threshold)} is no code (an integer)")
    return why


BINARIZE = Kind(
    op=Binarize,
    numbers="codes",
    says_format=True,
    reads_reals=True,
    checks={"attributes": _bit_faults, "formats": _bit_formats},
    range=_bit_range,
    on_codes=_bits,
    attributes=lambda op: {"threshold": json_number(op.threshold)},
    readers={"threshold": read_number},
    # x > t is code > floor(t / scale), which is the same
    in_codes=lambda op, fmt, bits: Binarize(math.floor(Fraction(op.threshold) / fmt.scale) + fmt.zero),
    coarser=lambda op, shift: Binarize(op.threshold >> shift),
)

KINDS = (ARGMAX, THRESHOLD, BINARIZE)
