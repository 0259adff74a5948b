"""Floating-point multiply-add chains on plain Python integers: the reference of every kernel and of the hardware.

``docs/float-mac.md`` is the definition; the steps below bear its numbers. Nothing here is fast.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from .arithmetic import FLOAT_CODES, FloatMac

EMIN = -512
"""Exponent of every zero: the lowest that 10 bits hold."""

Result = Literal["bf16", "float32"]

_RESULT_FRACTION = {"bf16": 7, "float32": 23}


@dataclass(frozen=True)
class UnpackedOperand:
    """One decoded input: value = ± ``significand`` · 2^(``exponent`` − fraction bits of its format).

    Finite and not 0: the significand's top bit (of 1 + fraction bits) is 1, subnormals too. Otherwise it is 0, at ``EMIN``.
    """

    sign: int
    exponent: int
    significand: int
    nan: bool = False
    inf: bool = False


@dataclass(frozen=True)
class State:
    """A sum on its way down the column: value = ± ``significand`` · 2^(``exponent`` + ``headroom`` − (W − 1)).

    W = ``accumulator_bits``. ``sign``: 1 is negative. Significand 0 always has the exponent ``EMIN``. Where ``nan`` or ``inf``
    is set, exponent and significand mean nothing (and so does a NaN's sign); here they are ``EMIN`` and 0, hardware may hold
    anything there.
    """

    sign: int
    exponent: int
    significand: int
    nan: bool = False
    inf: bool = False


START = State(0, EMIN, 0)
"""Where every chain begins: +0."""

_NAN = State(0, EMIN, 0, nan=True)


def unpack_operand(format: str, code: int) -> UnpackedOperand:
    """Return the operand of a *code* of one of ``FLOAT_CODES``."""
    layout = FLOAT_CODES[format]
    sign = code >> (layout.bits - 1)
    field = (code >> layout.fraction_bits) & ((1 << layout.exponent_bits) - 1)
    fraction = code & ((1 << layout.fraction_bits) - 1)
    if field == (1 << layout.exponent_bits) - 1:
        if layout.infinities:
            return UnpackedOperand(0 if fraction else sign, EMIN, 0, nan=fraction != 0, inf=fraction == 0)
        if fraction == (1 << layout.fraction_bits) - 1:
            return UnpackedOperand(0, EMIN, 0, nan=True)
    if field:
        return UnpackedOperand(sign, field - layout.bias, fraction | 1 << layout.fraction_bits)
    if fraction == 0 or not layout.subnormals:
        return UnpackedOperand(sign, EMIN, 0)
    up = layout.fraction_bits + 1 - fraction.bit_length()
    return UnpackedOperand(sign, 1 - layout.bias - up, fraction << up)


def nearest_code(format: str, number: float) -> int:
    """Return the code nearest to *number*, ties to even; a subnormal one where that is nearest.

    Beyond the largest finite number after rounding: infinity, or NaN in a format that has none, as ``ml_dtypes`` does.
    NaN is the positive quiet one.
    """
    layout = FLOAT_CODES[format]
    nan, inf = (1 << (layout.bits - 1)) - 1, ((1 << layout.exponent_bits) - 1) << layout.fraction_bits
    if layout.infinities:
        nan = inf | 1 << (layout.fraction_bits - 1)
    if math.isnan(number):
        return nan
    negative = int(math.copysign(1.0, number) < 0) << (layout.bits - 1)
    if math.isinf(number):
        return negative | inf if layout.infinities else nan
    size = abs(Fraction(number))
    exponent = max(_exponent(size), 1 - layout.bias) if size else 1 - layout.bias
    steps = round(size / Fraction(2) ** (exponent - layout.fraction_bits))  # Python rounds fractions half to even
    # a carry out of the fraction runs into the exponent field, and a subnormal has field 0: one sum serves all
    code = steps + ((exponent + layout.bias - 1) << layout.fraction_bits)
    if code >= (inf if layout.infinities else nan):
        return negative | inf if layout.infinities else nan
    return negative | code


def multiply_codes(mac: FloatMac, a_code: int, b_code: int) -> State:
    """Return the product of two codes as an addend (step 1): exact and normalised, or as it stands in multiples of a step."""
    a, b = unpack_operand(mac.format, a_code), unpack_operand(mac.format, b_code)
    sign = a.sign ^ b.sign
    if a.nan or b.nan or (a.inf and not b.inf and b.significand == 0) or (b.inf and not a.inf and a.significand == 0):
        return _NAN
    if a.inf or b.inf:
        return State(sign, EMIN, 0, inf=True)
    product = a.significand * b.significand
    if product == 0:
        return State(sign, EMIN, 0)
    if mac.exponent_step is not None:
        e, up = a.exponent + b.exponent, mac.accumulator_bits - mac.code.product_bits
        exponent = e - e % mac.exponent_step
        return State(sign, exponent, (product << up) >> (mac.exponent_step - 1 - (e - exponent)))
    two_or_more = product >> (mac.code.product_bits - 1)
    up = mac.accumulator_bits - product.bit_length()
    return State(sign, a.exponent + b.exponent + two_or_more, product << up)


def normalize(mac: FloatMac, exponent: int, significand: int) -> tuple[int, int]:
    """Return exponent and significand (W bits, not 0) after the left shift that *mac*'s normalization takes (step 4)."""
    width = mac.accumulator_bits
    if mac.shifts is None:
        shift = width - significand.bit_length()
        shift -= shift % (mac.exponent_step or 1)
    else:
        k, further = mac.shifts
        if significand >> (width - k):
            shift = 0
        elif significand >> (width - k - further):
            shift = k
        else:
            shift = k + further
    return exponent - shift, significand << shift


def product_exponent(mac: FloatMac, a_code: int, b_code: int) -> int:
    """Return e of step 2, the product taken as less than 2; ``EMIN`` where it is 0 or special.

    It is e_a + e_b, or the multiple of ``exponent_step`` that is not above it.
    """
    a, b = unpack_operand(mac.format, a_code), unpack_operand(mac.format, b_code)
    e = a.exponent + b.exponent
    return e - e % (mac.exponent_step or 1) if a.significand and b.significand else EMIN


def accumulate(mac: FloatMac, state: State, product: State, e: int | None = None) -> State:
    """Return the sum of a state and an addend, normalised as *mac* says (steps 2 to 5).

    *e*: what :func:`product_exponent` says, asked only where alignment is limited; by default the product was less than 2.
    """
    if state.nan or product.nan or (state.inf and product.inf and state.sign != product.sign):
        return _NAN
    if state.inf or product.inf:
        return State(state.sign if state.inf else product.sign, EMIN, 0, inf=True)
    stride = mac.exponent_step or 1
    exponent = max(state.exponent, product.exponent)
    e = product.exponent if e is None else e
    total = 0
    for addend, steps in ((state, e - state.exponent), (product, state.exponent - e - stride)):
        dropped = mac.reach is not None and steps >= mac.reach
        aligned = 0 if dropped else addend.significand >> (exponent - addend.exponent)
        total += -aligned if addend.sign else aligned
    if total == 0:
        return State(state.sign & product.sign, EMIN, 0)
    sign, size = int(total < 0), abs(total)
    if size >> mac.accumulator_bits:
        return State(sign, exponent + stride, size >> stride)
    return State(sign, *normalize(mac, exponent, size))


def step(mac: FloatMac, state: State, a_code: int, b_code: int) -> State:
    """Return the state after one multiply-add; the inputs are codes of *mac*'s format."""
    return accumulate(mac, state, multiply_codes(mac, a_code, b_code), product_exponent(mac, a_code, b_code))


def chain(mac: FloatMac, a_codes: Iterable[int], b_codes: Iterable[int], state: State = START) -> State:
    """Return the state after one multiply-add for each pair of codes, in order."""
    for a_code, b_code in zip(a_codes, b_codes, strict=True):
        state = step(mac, state, a_code, b_code)
    return state


def finish(state: State, result: Result, accumulator_bits: int, headroom: int = 0) -> int:
    """Return the bf16 or float32 code at the column's end: normalised exactly, small ones 0, rounded half to even.

    *headroom*: ``FloatMac.headroom`` of the chain.
    """
    fraction_bits = _RESULT_FRACTION[result]
    infinity, negative = 0xFF << fraction_bits, state.sign << (fraction_bits + 8)
    if state.nan:
        return infinity | 1 << (fraction_bits - 1)
    if state.inf:
        return negative | infinity
    top = state.exponent + headroom - (accumulator_bits - state.significand.bit_length())
    if state.significand == 0 or top < -126:
        return negative
    steps = round(Fraction(state.significand, 1) * Fraction(2) ** (fraction_bits + 1 - state.significand.bit_length()))
    return negative | min(steps + ((top + 126) << fraction_bits), infinity)


def value(state: State, accumulator_bits: int, headroom: int = 0) -> Fraction:
    """Return the number that a finite state stands for (*headroom*: as its chain's); raise ``ValueError`` where it is none."""
    if state.nan or state.inf:
        raise ValueError("NaN and infinity are no fractions")
    size = state.significand * Fraction(2) ** (state.exponent + headroom - (accumulator_bits - 1))
    return -size if state.sign else size


def to_word(state: State, accumulator_bits: int) -> int:
    """Return the state as it goes over wires: {nan, inf, sign, exponent[9:0], significand[W − 1:0]}, W + 13 bits."""
    head = state.nan << 12 | state.inf << 11 | state.sign << 10 | (state.exponent & 0x3FF)
    return head << accumulator_bits | state.significand


def from_word(word: int, accumulator_bits: int) -> State:
    """Return the state that a word of W + 13 bits holds; what means nothing beside NaN and infinity is read as zero."""
    head, significand = word >> accumulator_bits, word & ((1 << accumulator_bits) - 1)
    nan, inf, sign, exponent = head >> 12 & 1, head >> 11 & 1, head >> 10 & 1, head & 0x3FF
    if nan:
        return _NAN
    if inf:
        return State(sign, EMIN, 0, inf=True)
    return State(sign, exponent - ((exponent & 0x200) << 1), significand)


def _exponent(size: Fraction) -> int:
    """Return the e of 2^e ≤ *size* < 2^(e + 1)."""
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    return exponent if Fraction(2) ** exponent <= size else exponent - 1
