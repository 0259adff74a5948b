"""EightBit → the templates of its decoder and encoder with their parameters set, alone or as registered lanes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from approxhw.backends.systolic.templates import configured
from approxhw.common.errors import OptionError, Problem, shown
from approxhw.numerics.eight_bit.codes import EightBit
from approxhw.numerics.eight_bit.tables import KINDS

WIDTHS = (2, 32)
"""Fewest and most bits of a fixed-point number."""
FRACTIONS = (0, 31)
"""Fewest and most of them behind the point."""
LANES = (1, 1024)
"""Fewest and most values a clock."""
LATENCY = 1
"""Clocks from a row of lanes to what comes of it."""
NORMALIZER_LATENCY = 3
"""Clocks from the last row of a block to its first quotients; a compressor's codes come :data:`LATENCY` later."""


@dataclass(frozen=True)
class FixedPoint:
    """Two's complement numbers of ``width`` bits, ``fraction`` of them behind the point: whole number · 2^−fraction."""

    width: int
    fraction: int

    def __post_init__(self) -> None:
        """Refuse what the templates cannot hold, all at once."""
        found = []
        if not _within(self.width, WIDTHS):
            why = f"{shown(self.width)} bits are not {WIDTHS[0]} to {WIDTHS[1]}"
            found.append(Problem("width", why, "choose another width"))
        if not _within(self.fraction, FRACTIONS):
            why = f"{shown(self.fraction)} bits behind the point are not {FRACTIONS[0]} to {FRACTIONS[1]}"
            found.append(Problem("fraction", why, "choose another fraction"))
        if found:
            raise OptionError("fixed point", found)


def parse_fixed(text: str) -> FixedPoint:
    """Return what ``WIDTH.FRACTION`` spells, such as ``12.11``."""
    match = re.fullmatch(r"(\d{1,3})\.(\d{1,3})", text.strip())
    if match is None:
        why = f"{shown(text)!r} is no WIDTH.FRACTION"
        raise OptionError("fixed point", [Problem("fixed", why, "say 12.11 for 12 bits, 11 of them behind the point")])
    return FixedPoint(int(match[1]), int(match[2]))


def normalized(format: EightBit) -> bool:
    """Return whether the largest magnitude of the code is 1; else it stands for numbers as they are."""
    return format.maximum != "fixed" or format.kind not in ("static8", "mantissa8")


def decoder_verilog(
    format: EightBit, *, lanes: int | None = None, fixed: FixedPoint | None = None, maximum: int = 0
) -> str:
    """Return a decoder as Verilog with all its parts, the top last: ``eight_bit_decode``, to bfloat16, or ``_decode_fixed``.

    ``lanes``: the registered form of so many codes a clock instead, ``eight_bit_decoder``, :data:`LATENCY` later.
    ``fixed``: numbers of fixed point leave it; ``maximum``, −96 to 127, is then the exponent that bfloat16 has a port for.
    """
    _check(format, fixed)
    chosen = _code(format) | _form(fixed, lanes)
    if fixed is not None:
        if not _within(maximum, (-96, 127)):
            why = f"2^{shown(maximum)} is no power of two from 2^-96 to 2^127"
            raise OptionError("decoder", [Problem("maximum", why, "choose another exponent")])
        chosen["MAXIMUM"] = maximum
    return configured(decoder_top(lanes, fixed), chosen)


def encoder_verilog(format: EightBit, *, lanes: int | None = None, fixed: FixedPoint | None = None) -> str:
    """Return an encoder as Verilog with all its parts, the top last: ``eight_bit_encode``, of bfloat16, or ``_encode_fixed``.

    What comes in is normalised already. ``lanes``: the registered form of so many values a clock instead,
    ``eight_bit_encoder``, :data:`LATENCY` later. ``fixed``: numbers of fixed point come in.
    """
    _check(format, fixed)
    return configured(encoder_top(lanes, fixed), _code(format) | _form(fixed, lanes))


def normalizer_verilog(format: EightBit, *, lanes: int = 1) -> str:
    """Return ``eight_bit_normalize`` with its block and lanes set: values divided by their block's power of two.

    The maximum is rounded up to a power of two whatever the format's own rule is. Raises :class:`OptionError` for a format
    without blocks, and for lanes that do not make two rows or more of one.
    """
    _check(format)
    return configured("eight_bit_normalize", _blocks(format, lanes))


def compressor_verilog(format: EightBit, *, lanes: int = 1) -> str:
    """Return ``eight_bit_compress``, a normalizer and the encoder behind it; arguments and errors as of the normalizer."""
    _check(format)
    chosen = {"KIND": KINDS.index(format.kind), **_blocks(format, lanes)}
    return configured("eight_bit_compress", chosen)


def decoder_top(lanes: int | None = None, fixed: FixedPoint | None = None) -> str:
    """Return the name of the module that :func:`decoder_verilog` writes."""
    return "eight_bit_decoder" if lanes else "eight_bit_decode_fixed" if fixed else "eight_bit_decode"


def encoder_top(lanes: int | None = None, fixed: FixedPoint | None = None) -> str:
    """Return the name of the module that :func:`encoder_verilog` writes."""
    return "eight_bit_encoder" if lanes else "eight_bit_encode_fixed" if fixed else "eight_bit_encode"


def _within(value: int, ends: tuple[int, int]) -> bool:
    """Return whether *value* is a whole number from one of *ends* to the other."""
    return type(value) is int and ends[0] <= value <= ends[1]


def _check(format: EightBit, fixed: FixedPoint | None = None) -> None:
    """Refuse what is no format of 8-bit codes, or of fixed point."""
    found: list[Problem] = []
    if not isinstance(format, EightBit):
        why = f"{shown(repr(format), 60)} is no 8-bit format"
        found.append(Problem("format", why, "give one such as dynamic8(block=256)"))
    if fixed is not None and not isinstance(fixed, FixedPoint):
        found.append(Problem("fixed", f"{shown(repr(fixed), 60)} is no FixedPoint", "give FixedPoint(12, 11), say"))
    if found:
        raise OptionError("8-bit codes in Verilog", found)


def _code(format: EightBit) -> dict[str, int]:
    return {"KIND": KINDS.index(format.kind), "NORMALIZED": int(normalized(format))}


def _blocks(format: EightBit, lanes: int) -> dict[str, int]:
    found = _lane_problems(lanes)
    if format.block is None:
        found.append(Problem("block", "the format has none, and a normalizer keeps one", "say block=256, say"))
    elif not found and format.block % lanes:
        why = f"{lanes} do not divide a block of {format.block}"
        found.append(Problem("lanes", why, "choose another number, or another block"))
    elif not found and format.block == lanes:
        why = f"{lanes} are a whole block of {format.block}, and a block is two rows or more"
        found.append(Problem("lanes", why, "choose fewer"))
    if found:
        raise OptionError("8-bit blocks", found)
    return {"BLOCK": format.block or 0, "LANES": lanes}


def _lane_problems(lanes: int) -> list[Problem]:
    if _within(lanes, LANES):
        return []
    return [Problem("lanes", f"{shown(lanes)} are not {LANES[0]} to {LANES[1]}", "choose another number")]


def _form(fixed: FixedPoint | None, lanes: int | None) -> dict[str, int]:
    chosen = {} if fixed is None else {"WIDTH": fixed.width, "FRACTION": fixed.fraction}
    if lanes is None:
        return chosen
    if found := _lane_problems(lanes):
        raise OptionError("8-bit lanes", found)
    return chosen | {"LANES": lanes, "FLOAT": int(fixed is None)}
