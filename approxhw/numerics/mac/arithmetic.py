"""How one multiply-accumulate is carried out: frozen descriptions, each with its slow and obviously right reference."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from approxhw.common.arguments import told
from approxhw.common.errors import OptionError, Problem


@dataclass(frozen=True)
class Exact:
    """``acc + w · x`` over the integers, w a ``bits``-bit two's complement code. No rounding, no overflow, no specials.

    The accumulator is as wide as the exact range needs; the verifier refuses anything narrower.
    """

    operand: ClassVar[str | None] = None
    """What a ``Dense`` reads besides x, weights and biases: nothing."""

    bits: int

    def __str__(self) -> str:
        """Return the one spelling, such as ``exact<8>``."""
        return f"exact<{self.bits}>"

    def accumulate(self, accumulator: int, weight: int, x: int) -> int:
        """Return the accumulator after one step: plain Python integers, the reference of every faster form."""
        return accumulator + weight * x

    def holds(self, low: int, high: int) -> bool:
        """Whether weights from *low* to *high* are ``bits``-bit two's complement codes."""
        return self.bits >= 1 and -(1 << (self.bits - 1)) <= low and high < 1 << (self.bits - 1)


@dataclass(frozen=True)
class MaskedPowerOfTwo:
    """``acc ± ((x & mask) << k)``: the weight is 0 or ±2^k with k ≤ ``exponent``, the mask drops bits of the summand.

    x is an unsigned code; every weight has a mask of its own, as wide as x; mask 0 and weight 0 both drop the summand.
    No rounding, no overflow. Source: Afentaki et al., *Embedding Hardware Approximations in Discrete Genetic-based
    Training for Printed MLPs*, DATE 2024 (masks); Afentaki et al., ICCAD 2023 (powers of two).
    """

    operand: ClassVar[str | None] = "mask"
    """A ``Dense`` reads the masks besides: outputs × inputs, unsigned codes."""

    exponent: int

    def __str__(self) -> str:
        """Return the one spelling, such as ``masked-power-of-two<7>``."""
        return f"masked-power-of-two<{self.exponent}>"

    def accumulate(self, accumulator: int, weight: int, x: int, mask: int) -> int:
        """Return the accumulator after one step: plain Python integers, the reference of every faster form."""
        if weight == 0:
            return accumulator
        summand = (x & mask) << (abs(weight).bit_length() - 1)
        return accumulator - summand if weight < 0 else accumulator + summand

    def holds_weight(self, weight: int) -> bool:
        """Whether *weight* is 0 or ±2^k with k ≤ ``exponent``."""
        return weight == 0 or (abs(weight).bit_count() == 1 and abs(weight) <= 1 << self.exponent)


@dataclass(frozen=True)
class ApproximateMultiplier:
    """``acc + T[w, x]``: the product of an operator, given by its table; the sum is exact.

    T has 2^``weight_bits`` rows and 2^``x_bits`` columns; the code w picks row w mod 2^``weight_bits`` (two's
    complement), the code x column x mod 2^``x_bits``.
    """

    operand: ClassVar[str | None] = "table"
    """A ``Dense`` reads the table besides: signed integers."""

    weight_bits: int
    x_bits: int

    def __str__(self) -> str:
        """Return the one spelling, such as ``approximate-multiplier<8,4>``."""
        return f"approximate-multiplier<{self.weight_bits},{self.x_bits}>"

    def accumulate(self, accumulator: int, weight: int, x: int, table: Sequence[Sequence[int]]) -> int:
        """Return the accumulator after one step: plain Python integers, the reference of every faster form."""
        return accumulator + table[weight % (1 << self.weight_bits)][x % (1 << self.x_bits)]

    def holds(self, low: int, high: int) -> bool:
        """Whether weights from *low* to *high* are ``weight_bits``-bit two's complement codes."""
        return -(1 << (self.weight_bits - 1)) <= low and high < 1 << (self.weight_bits - 1)


@dataclass(frozen=True)
class FloatCode:
    """How the codes of a floating-point input format are laid out: sign, exponent, fraction, most significant bit first.

    ``infinities``: whether the highest exponent holds infinities and NaNs, as in IEEE 754; without, only its highest code is
    a NaN and the others are numbers. ``subnormals``: whether codes of exponent 0 are numbers; without, they read as zeros.
    """

    exponent_bits: int
    fraction_bits: int
    infinities: bool = True
    subnormals: bool = True

    @property
    def bits(self) -> int:
        """Width of a code."""
        return 1 + self.exponent_bits + self.fraction_bits

    @property
    def bias(self) -> int:
        """What is taken off the exponent field."""
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def product_bits(self) -> int:
        """How many bits the product of two significands has."""
        return 2 * (self.fraction_bits + 1)


FLOAT_CODES = {
    "bf16": FloatCode(8, 7, subnormals=False),
    "fp16": FloatCode(5, 10),
    "e4m3": FloatCode(4, 3, infinities=False),
    "e5m2": FloatCode(5, 2),
}
"""The input formats of a ``FloatMac``: codes of ``ml_dtypes``' bfloat16, float8_e4m3fn and float8_e5m2, and NumPy's float16."""

_NORMALIZATION = re.compile(r"an-(?:(0)|([1-9]\d{0,2})(?:-([1-9]\d{0,2}))?)\Z")
EXPONENT_STEPS = (1, 2, 4)
"""What exponents of sums may be multiples of; 1 is every exponent, but products are added as they stand."""


@dataclass(frozen=True)
class FloatMac:
    """A floating-point multiply-add whose sum stays un-rounded, and is normalised exactly or approximately.

    ``format``: of both inputs, one of ``FLOAT_CODES``. ``accumulator_bits``: significand of the sum, 16 to 24.
    ``normalization``: ``exact``, or ``an-K-L``: the sum moves left by 0, K or K + L, whichever its top K and next L bits
    ask for, and may stay un-normalised; ``an-K``: by 0 or K; ``an-0``: never. ``alignment``: None is exact; M of 1 to 4 shifts
    the smaller addend by less than 2^M and drops it where it lies farther away. ``exponent_step``: None normalises products;
    1, 2 or 4 adds them as they stand, and exponents of sums are multiples of it, so sums move by multiples only.
    ``docs/float-mac.md`` defines every bit, ``float_mac.py`` is the reference.
    Raises :class:`OptionError` with everything that is wrong. Source of an-K-L: Alexandridis et al., *Floating-Point
    Multiply-Add with Approximate Normalization for Low-Cost Matrix Engines*, arXiv 2408.11997.
    """

    format: str = field(default="bf16", metadata={"help": "format of both operands", "choices": tuple(FLOAT_CODES)})
    accumulator_bits: int = field(default=20, metadata={"help": "significand of sums, 16 to 24"})
    normalization: str = field(
        default="an-1-2",
        metadata={
            "help": "exact, an-K-L or an-K",
            "choices": ("exact", "an-1-1", "an-1-2", "an-2-2", "an-4"),
            "metavar": "NORMALIZATION",
        },
    )
    alignment: int | None = field(
        default=None,
        metadata={
            "help": "bits of distance, 1 to 4: smaller addends farther away are dropped",
            "shown_default": "exact",
        },
    )
    exponent_step: int | None = field(
        default=None,
        metadata={
            "help": "1, 2 or 4: products are added as they stand, exponents of sums are multiples of it",
            "shown_default": "products are normalised",
        },
    )

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if problems := list(self._problems()):
            raise OptionError("floating-point multiply-add", problems)

    def _problems(self) -> Iterator[Problem]:
        code = FLOAT_CODES.get(self.format) if isinstance(self.format, str) else None
        width: int | None = self.accumulator_bits
        if code is None:
            names = ", ".join(FLOAT_CODES)
            yield Problem("format", f"{told(self.format)} is no input format", f"choose one of {names}")
        if isinstance(width, bool) or not isinstance(width, int) or not 16 <= width <= 24:
            yield Problem("accumulator_bits", f"{told(width)} does not lie in 16…24", "20 serves bf16 well")
            width = None
        elif code is not None and code.product_bits > width:
            yield Problem(
                "accumulator_bits",
                f"a product of two {self.format} significands has {code.product_bits} bits, the accumulator {width}",
                f"choose {code.product_bits}…24, or a format of fewer fraction bits",
            )
        step: int | None = self.exponent_step
        if step is not None and (isinstance(step, bool) or not isinstance(step, int) or step not in EXPONENT_STEPS):
            yield Problem(
                "exponent_step",
                f"{told(step)} is none of 1, 2, 4",
                "leave it out to have products normalised; 4 makes the smallest element",
            )
            step = None
        if not isinstance(self.normalization, str) or self.normalization != "exact":
            yield from self._shift_problems(width, step)
        bits = self.alignment
        if bits is not None and (isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= 4):
            yield Problem(
                "alignment",
                f"{told(bits)} is no number of bits of distance from 1 to 4",
                "leave it out for exact alignment: from 5 bits on nothing that counts is dropped",
            )
        elif bits is not None and step is not None and 1 << bits < step:
            yield Problem(
                "alignment",
                f"{bits} bits of distance hold no step of {step}",
                f"choose {step.bit_length() - 1} to 4, or leave it out",
            )

    def _shift_problems(self, width: int | None, step: int | None) -> Iterator[Problem]:
        match = _NORMALIZATION.match(self.normalization) if isinstance(self.normalization, str) else None
        if match is None:
            yield Problem(
                "normalization",
                f"{told(self.normalization)} is no normalization",
                "write exact, an-K-L with K and L of at least 1, such as an-1-2, or an-K with K of at least 0",
            )
            return
        k, further = _shifts(match)
        if width is not None and k + further >= width:
            why = f"{self.normalization} shifts left by {k + further}, the accumulator has {width} bits"
            yield Problem("normalization", why, f"choose K + L < {width}")
        if step is not None and (k % step or further % step):
            why = f"{self.normalization} shifts left by what is no multiple of exponent_step, {step}"
            yield Problem("normalization", why, f"choose multiples of {step}, such as an-{step}")

    @property
    def shifts(self) -> tuple[int, int] | None:
        """(k, λ) of an approximate normalization, λ = 0: by k if at all, k = 0, too: never left; None for the exact one."""
        match = _NORMALIZATION.match(self.normalization)
        return _shifts(match) if match else None

    @property
    def headroom(self) -> int:
        """How many bits of a significand stand above the one that weighs 2^E: 0, or ``exponent_step``."""
        return self.exponent_step or 0

    @property
    def reach(self) -> int | None:
        """The distance, 2^M, from which on the smaller addend is dropped; None: alignment is exact."""
        return None if self.alignment is None else 1 << self.alignment

    @property
    def code(self) -> FloatCode:
        """The layout of the inputs' codes."""
        return FLOAT_CODES[self.format]

    def __str__(self) -> str:
        """Return the one spelling, such as ``float-mac<bf16,20,an-1-2>`` or ``float-mac<bf16,16,an-4,align-3,by-4>``."""
        limited = "" if self.alignment is None else f",align-{self.alignment}"
        coarse = "" if self.exponent_step is None else f",by-{self.exponent_step}"
        return f"float-mac<{self.format},{self.accumulator_bits},{self.normalization}{limited}{coarse}>"


def _shifts(match: re.Match[str]) -> tuple[int, int]:
    return int(match[2] or 0), int(match[3] or 0)


Arithmetic = Exact | MaskedPowerOfTwo | ApproximateMultiplier

_SPELLINGS = {
    re.compile(r"exact<(\d{1,4})>\Z"): Exact,
    re.compile(r"masked-power-of-two<(\d{1,3})>\Z"): MaskedPowerOfTwo,
    re.compile(r"approximate-multiplier<(\d{1,2}),(\d{1,2})>\Z"): ApproximateMultiplier,
}


def parse_arithmetic(text: str) -> Arithmetic:
    """Return the arithmetic that *text* spells; raise ``ValueError`` where it spells none."""
    for pattern, kind in _SPELLINGS.items():
        if match := pattern.match(text):
            made: Arithmetic = kind(*map(int, match.groups()))
            return made
    raise ValueError(f"no arithmetic: {text[:80]!r}")


_FLOAT_MAC = re.compile(
    r"float-mac<([a-z0-9]{1,8}),(\d{1,3}),([a-z0-9-]{1,16})(?:,align-(\d{1,3}))?(?:,by-(\d{1,3}))?>\Z"
)


def parse_float_mac(text: str) -> FloatMac:
    """Return the multiply-add that *text* spells; raise ``ValueError`` where it spells none, or one that cannot be built."""
    match = _FLOAT_MAC.match(text)
    if match is None:
        raise ValueError(f"no floating-point multiply-add: {text[:80]!r}")
    try:
        align, step = (None if each is None else int(each) for each in match.group(4, 5))
        return FloatMac(match[1], int(match[2]), match[3], align, step)
    except OptionError as error:
        raise ValueError(error.problems[0].why) from None


def dense_reference(
    arithmetic: Arithmetic,
    weights: list[list[int]],
    bias: list[int],
    x: list[int],
    operand: list[list[int]] | None = None,
) -> list[int]:
    """Return one row of ``Dense`` step by step: weights (outputs × inputs), bias (outputs), x (inputs) → outputs.

    ``operand``: masks (outputs × inputs) or the table, where *arithmetic* reads one.
    """
    sums = []
    for o, (row, start) in enumerate(zip(weights, bias, strict=True)):
        accumulator = start
        for i, (weight, element) in enumerate(zip(row, x, strict=True)):
            if isinstance(arithmetic, Exact):
                accumulator = arithmetic.accumulate(accumulator, weight, element)
            elif isinstance(arithmetic, MaskedPowerOfTwo):
                assert operand is not None
                accumulator = arithmetic.accumulate(accumulator, weight, element, operand[o][i])
            else:
                assert operand is not None
                accumulator = arithmetic.accumulate(accumulator, weight, element, operand)
        sums.append(accumulator)
    return sums
