"""Sums of products of 8-bit floating-point numbers kept in bins by exponent: exact, on plain integers, with their reference.

A product goes, whole, into the bin of its exponent; bins are added at the column's end, where the sum is rounded once. Nothing
is compared, aligned or normalised on the way. ``docs/float-mac.md`` defines every bit. Source of the idea: *MGS: Markov Greedy
Sums for Accurate Low-Bitwidth Floating-Point Accumulation*, arXiv 2504.09072.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from approxhw.common.arguments import told
from approxhw.common.errors import OptionError, Problem

from .arithmetic import FLOAT_CODES, FloatCode
from .float_mac import Result, unpack_operand

_FRACTION = {"bf16": 7, "float32": 23}
NARROW = tuple(name for name, code in FLOAT_CODES.items() if code.bits == 8)
"""Formats whose sums can be binned."""


@dataclass(frozen=True)
class BinnedMac:
    """A multiply-add of 8-bit floating-point numbers whose sum is exact, in bins of 2^``bin_log`` exponents.

    ``chain``: log2 of the most products that are added up; a bin has as many bits more. ``bin_log`` 6 is one bin for all.
    Raises :class:`OptionError` with everything that is wrong.
    """

    format: str = "e4m3"
    bin_log: int = 3
    chain: int = 12

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if problems := list(self._problems()):
            raise OptionError("binned multiply-add", problems)

    def _problems(self) -> Iterator[Problem]:
        if self.format not in NARROW:
            why = f"{told(self.format)} is no 8-bit floating-point format"
            yield Problem("format", why, f"choose {' or '.join(NARROW)}: others have too many exponents for bins")
        for name, least, most in (("bin_log", 1, 6), ("chain", 1, 20)):
            given = getattr(self, name)
            if isinstance(given, bool) or not isinstance(given, int) or not least <= given <= most:
                yield Problem(name, f"{told(given)} does not lie in {least}…{most}", f"choose {least} to {most}")

    @property
    def code(self) -> FloatCode:
        """The layout of the inputs' codes."""
        return FLOAT_CODES[self.format]

    @property
    def lowest(self) -> int:
        """The least exponent of a product, subnormals normalised."""
        return 2 * (1 - self.code.bias - self.code.fraction_bits)

    @property
    def exponents(self) -> int:
        """How many exponents a product may have."""
        highest = (1 << self.code.exponent_bits) - 1 - self.code.bias - self.code.infinities
        return 2 * highest - self.lowest + 1

    @property
    def bins(self) -> int:
        """How many bins there are."""
        return -(-self.exponents >> self.bin_log)

    @property
    def addend_bits(self) -> int:
        """Bits of a product at its place in a bin."""
        return self.code.product_bits + min(1 << self.bin_log, self.exponents) - 1

    @property
    def bin_bits(self) -> int:
        """Bits of a bin, its sign among them: it holds 2^``chain`` of the largest addends."""
        return self.addend_bits + self.chain + 1

    @property
    def state_bits(self) -> int:
        """Bits of a state on wires: nan, inf, the sign of an infinity, the bins, the highest first."""
        return 3 + self.bins * self.bin_bits

    def __str__(self) -> str:
        """Return the one spelling, such as ``binned-mac<e4m3,3,12>``."""
        return f"binned-mac<{self.format},{self.bin_log},{self.chain}>"


class BinnedState(NamedTuple):
    """A sum on its way: its bins, signed, the lowest first; ``sign`` is that of an infinity, 1 negative."""

    bins: tuple[int, ...]
    sign: int = 0
    nan: bool = False
    inf: bool = False


def binned_start(mac: BinnedMac) -> BinnedState:
    """Return where every chain begins: +0."""
    return BinnedState((0,) * mac.bins)


def binned_step(mac: BinnedMac, state: BinnedState, a_code: int, b_code: int) -> BinnedState:
    """Return the state after one multiply-add; beside nan and infinity the bins mean nothing, and are 0 here."""
    a, b = unpack_operand(mac.format, a_code), unpack_operand(mac.format, b_code)
    sign, none = a.sign ^ b.sign, (0,) * mac.bins
    lost = (
        a.nan or b.nan or (a.inf and not b.inf and b.significand == 0) or (b.inf and not a.inf and a.significand == 0)
    )
    infinite = a.inf or b.inf
    if state.nan or lost or (state.inf and infinite and state.sign != sign):
        return BinnedState(none, nan=True)
    if state.inf or infinite:
        return BinnedState(none, state.sign if state.inf else sign, inf=True)
    size = a.significand * b.significand
    if size == 0:
        return state
    place = a.exponent + b.exponent - mac.lowest
    bins = list(state.bins)
    addend = size << (place % (1 << mac.bin_log))
    bins[place >> mac.bin_log] += -addend if sign else addend
    return BinnedState(tuple(bins))


def binned_chain(mac: BinnedMac, a_codes: Iterable[int], b_codes: Iterable[int]) -> BinnedState:
    """Return the state after one multiply-add for each pair of codes; raise ``ValueError`` for more than 2^``chain``."""
    state, count = binned_start(mac), 0
    for a_code, b_code in zip(a_codes, b_codes, strict=True):
        state, count = binned_step(mac, state, a_code, b_code), count + 1
    check_chain(mac, count)
    return state


def check_chain(mac: BinnedMac, depth: int) -> None:
    """Raise ``ValueError`` where bins of *mac* are too narrow for so many products."""
    if depth > 1 << mac.chain:
        raise ValueError(f"{mac} holds sums of {1 << mac.chain} products, not {depth}: choose a longer chain")


def binned_value(mac: BinnedMac, state: BinnedState) -> Fraction:
    """Return the number that a finite state stands for; raise ``ValueError`` where it is none."""
    if state.nan or state.inf:
        raise ValueError("NaN and infinity are no fractions")
    whole = sum(each << (number << mac.bin_log) for number, each in enumerate(state.bins))
    return whole * Fraction(2) ** (mac.lowest - 2 * mac.code.fraction_bits)


def binned_finish(mac: BinnedMac, state: BinnedState, result: Result) -> int:
    """Return the bf16 or float32 code at the column's end: the bins added up, rounded half to even."""
    bits = _FRACTION[result]
    infinity = 0xFF << bits
    if state.nan:
        return infinity | 1 << (bits - 1)
    if state.inf:
        return state.sign << (bits + 8) | infinity
    number = binned_value(mac, state)
    if number == 0:
        return 0
    size = abs(number)
    top = size.numerator.bit_length() - size.denominator.bit_length()
    top -= Fraction(2) ** top > size
    steps = round(size / Fraction(2) ** (top - bits))
    return int(number < 0) << (bits + 8) | steps + ((top + 126) << bits)


def binned_word(mac: BinnedMac, state: BinnedState) -> int:
    """Return the state as it goes over wires: {nan, inf, sign, highest bin, …, lowest bin}, two's complement."""
    word = state.nan << 2 | state.inf << 1 | state.sign
    for each in reversed(state.bins):
        word = word << mac.bin_bits | each & ((1 << mac.bin_bits) - 1)
    return word
