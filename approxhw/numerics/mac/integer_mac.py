"""Integer multiply-adds of whole-number codes: the operator of their products, the adder of their sums, proven widths."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from approxhw.common.arguments import settle_fields
from approxhw.common.errors import OptionError, Problem, shown
from approxhw.numerics.multipliers.families import EXACT
from approxhw.numerics.multipliers.tables import SIGNS, ProductTable, operand_values

MOST_BITS = 32
"""Widest accumulator of an integer engine."""

_ADDER = re.compile(r"(or|cut)-([1-9]\d?)\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}\Z")
_SPELLED = re.compile(r"integer<([^,<>]*),(\w+),(\d{1,2}),(\d{1,2}),(\d{1,2}),([\w-]+)>\Z")


@dataclass(frozen=True)
class IntegerMac:
    """``acc + T[w, x]`` in ``accumulator_bits`` bits of two's complement, T being the table of ``operator``.

    ``operator``: ``exact``, one of our own families, or the name of another multiplier, whose table stands beside the Node.
    ``signed``: which operands of it are two's complement, ``weight``, ``none`` or ``both``. ``adder``: ``exact``; ``or-L``,
    the L lowest bits are or-ed and their highest ones and-ed into a carry; ``cut-L``, the carry out of the L lowest bits is
    dropped. Widths are proven: no sum of the weights that a Graph holds leaves the accumulator. Raises :class:`OptionError`
    with everything that is wrong. Source of ``or-L``: Mahdiani et al., *Bio-Inspired Imprecise Computational Blocks*, IEEE
    TCAS I, 2010.
    """

    operator: str = field(default=EXACT, metadata={"help": "exact, one of our own, or a file (.v, .sv, .npz)"})
    signed: str = field(default="both", metadata={"help": "operands in two's complement", "choices": SIGNS})
    weight_bits: int = field(default=8, metadata={"help": "bits of a weight, 2 to 8"})
    x_bits: int = field(default=8, metadata={"help": "bits of an activation, 2 to 8"})
    accumulator_bits: int = field(default=MOST_BITS, metadata={"help": "bits of a sum, at most 32"})
    adder: str = field(default=EXACT, metadata={"help": "exact, or-L or cut-L: how sums treat their L lowest bits"})

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        settle_fields(self, "integer multiply-add")
        problems = []
        if not _NAME.match(self.operator):
            why = f"{shown(repr(self.operator), 60)} is no name of an operator"
            problems.append(Problem("operator", why, "use letters, digits, '-', '_' and '.'"))
        if self.signed not in SIGNS:
            problems.append(Problem("signed", f"{shown(repr(self.signed), 60)} is not one of {', '.join(SIGNS)}"))
        for name, least, most in (("weight_bits", 2, 8), ("x_bits", 2, 8), ("accumulator_bits", 4, MOST_BITS)):
            bits = getattr(self, name)
            if not least <= bits <= most:
                why = f"{shown(repr(bits), 40)} is no width from {least} to {most}"
                problems.append(Problem(name, why, f"choose {least} to {most}"))
        if not is_adder(self.adder):
            why = f"{shown(repr(self.adder), 60)} is no adder"
            problems.append(Problem("adder", why, "choose exact, or-L or cut-L, such as or-4"))
        elif self.low_bits >= self.accumulator_bits:
            why = f"{self.low_bits} low bits leave nothing of {self.accumulator_bits}"
            problems.append(Problem("adder", why, "choose fewer low bits"))
        if problems:
            raise OptionError("integer multiply-add", problems)

    def __str__(self) -> str:
        """Return the one spelling, such as ``integer<truncated-4,both,8,8,24,exact>``."""
        widths = f"{self.weight_bits},{self.x_bits},{self.accumulator_bits}"
        return f"integer<{self.operator},{self.signed},{widths},{self.adder}>"

    @property
    def low_bits(self) -> int:
        """How many low bits the adder treats apart; 0 where it is exact."""
        found = _ADDER.match(self.adder)
        return int(found[2]) if found else 0

    @property
    def weight_signed(self) -> bool:
        """Whether the operator reads weights as two's complement."""
        return self.signed != "none"

    @property
    def x_signed(self) -> bool:
        """Whether the operator reads activations as two's complement."""
        return self.signed == "both"


def accumulate_integer(mac: IntegerMac, accumulator: int, weight: int, x: int, table: Sequence[Sequence[int]]) -> int:
    """Return the accumulator after one step: plain Python integers, the reference of every faster form.

    ``weight`` and ``x`` are numbers or bit patterns of the operator's operands; the table is read modulo their widths.
    """
    product = int(table[weight % (1 << mac.weight_bits)][x % (1 << mac.x_bits)])
    return add_integer(mac, accumulator, product)


def add_integer(mac: IntegerMac, accumulator: int, product: int) -> int:
    """Return the sum of two numbers of ``accumulator_bits`` bits as the adder of *mac* makes it, two's complement."""
    bits, low = mac.accumulator_bits, mac.low_bits
    a, b = accumulator % (1 << bits), product % (1 << bits)
    mask = (1 << low) - 1
    if mac.adder.startswith("or-"):
        carry = (a >> (low - 1)) & (b >> (low - 1)) & 1
        total = (((a >> low) + (b >> low) + carry) << low) | ((a | b) & mask)
    elif mac.adder.startswith("cut-"):
        total = (((a >> low) + (b >> low)) << low) | ((a + b) & mask)
    else:
        total = a + b
    total %= 1 << bits
    return total - (1 << bits) if total >> (bits - 1) else total


def is_adder(text: object) -> bool:
    """Whether *text* spells an adder: ``exact``, ``or-L`` or ``cut-L``."""
    return isinstance(text, str) and (text == EXACT or _ADDER.match(text) is not None)


def operator_name(text: str) -> str:
    """Return *text*, the spelling of an operator or the path of a file, as the name that an arithmetic has for it."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", Path(text).name)[:80].lstrip("_.-")
    return plain or "operator"


def parse_integer_mac(text: str) -> IntegerMac:
    """Return the arithmetic that *text* spells; raise ``ValueError`` where it spells none."""
    found = _SPELLED.match(text)
    if found is None:
        raise ValueError(f"no integer multiply-add: {shown(text, 80)!r}")
    try:
        return IntegerMac(found[1], found[2], int(found[3]), int(found[4]), int(found[5]), found[6])
    except OptionError as error:
        raise ValueError(str(error.problems[0].why)) from None


def exact_products(mac: IntegerMac) -> ProductTable:
    """Return the table of exact products of operands as wide and signed as those of *mac*."""
    weights = operand_values(mac.weight_bits, mac.weight_signed)
    codes = operand_values(mac.x_bits, mac.x_signed)
    return ProductTable(EXACT, weights[:, None] * codes[None, :], mac.signed)


def patterns(codes: np.ndarray, bits: int, signed: bool) -> tuple[np.ndarray, int]:
    """Return *codes* as bit patterns of an operand of *bits*, *signed* or not, and how much the operand's number is greater.

    *codes*: int8 or uint8 (any shape); those of another sign than the operand's move by half of the range: in hardware the
    top bit is turned round. The patterns are uint8.
    """
    half = 1 << (bits - 1)
    moved = 0 if (codes.dtype.kind == "i") == signed else -half if signed else half
    if bits == 8:  # nothing is cut off: the same bytes, their top bits turned round at most
        plain = np.ascontiguousarray(codes).view(np.uint8)
        return (plain ^ np.uint8(half) if moved else plain), moved
    found = (codes.astype(np.int16) + moved) & ((1 << bits) - 1)
    return found.astype(np.uint8), moved


def sum_range(weights: np.ndarray, products: np.ndarray, mac: IntegerMac) -> tuple[int, int]:
    """Return the least and greatest sum that is met on the way through columns of *weights* (K × N patterns), whatever x is.

    The way starts at 0; every adder that is not exact may be off by 2^L a step.
    """
    low, high = np.minimum(products.min(axis=1), 0), np.maximum(products.max(axis=1), 0)
    reach = len(weights) << mac.low_bits if mac.low_bits else 0
    least, greatest = low[weights].sum(axis=0), high[weights].sum(axis=0)
    return int(least.min(initial=0)) - reach, int(greatest.max(initial=0)) + reach


def bits_for(low: int, high: int) -> int:
    """Return the bits of two's complement that hold every number from *low* to *high*."""
    return 1 + max((-low - 1).bit_length() if low < 0 else 0, high.bit_length() if high > 0 else 0)
