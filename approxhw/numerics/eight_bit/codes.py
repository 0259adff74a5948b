"""Four 8-bit codes with decimal exponents: nearest-code encoding and decoding, one maximum a tensor or block.

Source: Dettmers, "8-Bit Approximations for Parallelism in Deep Learning" (2015). ``docs/eight-bit.md`` is the definition.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from approxhw.common.errors import InvalidDataError, OptionError, Problem, shown

from .tables import KINDS, Tables, tables

BLOCKS = (64, 4096)
"""Smallest and largest number of values that share a maximum, where it is not the whole tensor's."""

MAXIMA = ("exact", "pow2", "fixed")
"""What a block's values are divided by: its largest magnitude, that rounded up to a power of two, or 1 (no maximum)."""

LOWEST_POWER = -96
"""Least exponent of ``pow2`` maxima: every code then stands for a normal float32, and hardware needs no subnormal ones."""

SMALL = 1 << 12
"""Up to so many values NumPy is quick enough, and nothing has to be compiled."""


@dataclass(frozen=True, eq=False)
class Compressed:
    """A tensor in 8 bits a value: ``codes`` (uint8, the tensor's shape) and ``maxima`` (float32, one a block)."""

    format: EightBit
    codes: np.ndarray
    maxima: np.ndarray

    @property
    def bits(self) -> int:
        """Bits that codes and maxima take: 8 a value and 32 a block, none for maxima where they are fixed."""
        return 8 * self.codes.size + (0 if self.format.maximum == "fixed" else 32 * self.maxima.size)

    @property
    def ratio(self) -> float:
        """How many times smaller than float32 it is."""
        return 32 * self.codes.size / self.bits


@dataclass(frozen=True)
class EightBit:
    """An 8-bit format: ``kind`` of code, values in a ``block`` (None: all of a tensor), and their ``maximum`` (:data:`MAXIMA`).

    value = table[code] · maximum, both float32, rounded once to float32. Make one with :func:`dynamic8`, :func:`static8`,
    :func:`mantissa8` or :func:`linear8`.
    """

    kind: str
    block: int | None = None
    maximum: str = "exact"

    def __post_init__(self) -> None:
        """Refuse kinds, blocks and maxima that do not exist, all at once."""
        found = []
        if self.kind not in KINDS:
            found.append(Problem("kind", f"{shown(self.kind)!r} is no 8-bit code", f"choose one of {', '.join(KINDS)}"))
        if self.maximum not in MAXIMA:
            found.append(Problem("max", f"{shown(self.maximum)!r} is none", f"choose one of {', '.join(MAXIMA)}"))
        if self.block is not None:
            if (
                isinstance(self.block, bool)
                or not isinstance(self.block, int)
                or not BLOCKS[0] <= self.block <= BLOCKS[1]
            ):
                why = f"a block has {BLOCKS[0]} to {BLOCKS[1]} values, not {shown(self.block)}"
                found.append(Problem("block", why, "leave it out for one maximum a tensor"))
            elif self.maximum == "fixed":
                found.append(
                    Problem("block", "max=fixed keeps no maxima, so that blocks have no meaning", "drop one of them")
                )
        if found:
            raise OptionError("8-bit format", found)

    def __str__(self) -> str:
        """Return the one spelling, such as ``dynamic8<block=256,max=pow2>``."""
        extras = [] if self.block is None else [f"block={self.block}"]
        if self.maximum != _default_maximum(self.kind, self.block):
            extras.append(f"max={self.maximum}")
        return f"{self.kind}<{','.join(extras)}>" if extras else self.kind

    @property
    def tables(self) -> Tables:
        """Its tables."""
        return tables(self.kind, self.maximum == "fixed")

    def blocks(self, elements: int) -> int:
        """Return how many maxima a tensor of so many *elements* has."""
        return 1 if self.block is None else -(-elements // self.block)

    def encode(self, x: np.ndarray, *, ragged: bool = False, name: str = "tensor") -> Compressed:
        """Return the nearest code of every value of *x*, and the maxima.

        ``x``: any shape, at least one element, finite; anything but float32 is rounded to it first. The nearest code is that of
        the exact quotient value / maximum (float64 division decides it, see ``docs/eight-bit.md``). Blocks run through *x*
        in row-major order; the last one may be shorter only where *ragged*. An all-zero block has maximum 0 and codes 0.
        Raises :class:`InvalidDataError`, which calls the tensor *name*, for NaN, ±∞ (as float32), an empty tensor, and blocks
        that do not divide.
        """
        given = np.asarray(x)
        if given.dtype.kind in "cmMOSU":
            found = [Problem(name, f"its values are {given.dtype}, no real numbers", "convert them to float32")]
            raise InvalidDataError(f"encode as {self}", found)
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.asarray(given, dtype=np.float32, order="C")
        if found := self._size_problems(values.size, ragged, name):
            raise InvalidDataError(f"encode as {self}", [*_specials(values, name), *found])
        flat = values.reshape(-1)
        if flat.size > SMALL:
            from . import _kernel as fast

            codes, maxima = fast.encode(flat, self)
        else:
            codes, maxima = self.encode_plainly(flat)
        if not np.isfinite(maxima).all():  # only now is there a reason to look at every value once more
            above = Problem(name, "float32 has no power of two above its maximum", "use max=exact, or scale the tensor")
            raise InvalidDataError(f"encode as {self}", _specials(values, name) or [above])
        return Compressed(self, codes.reshape(values.shape), maxima)

    def encode_plainly(self, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return codes and maxima of *flat* (float32, one axis) by NumPy alone: what the fast kernel is held to.

        As there, a block that holds NaN or ±∞ has a maximum that is not finite, and codes without meaning.
        """
        maxima, found = self._maxima(flat), self.tables
        divisor = self._spread(maxima, flat.size).astype(np.float64)
        with np.errstate(invalid="ignore"):
            quotient = np.abs(flat).astype(np.float64) / np.where(divisor == 0, 1.0, divisor)
        codes = found.codes[np.searchsorted(found.borders, quotient, side="right")]
        # magnitude 0 has code 0 alone: −0 is never made
        return codes | np.where((flat < 0) & (codes != 0), np.uint8(128), np.uint8(0)), maxima

    def decode(self, compressed: Compressed) -> np.ndarray:
        """Return the values (float32, the codes' shape). Raises :class:`InvalidDataError` for codes of another format."""
        found = _code_problems(self, compressed)
        if found:
            raise InvalidDataError("compressed tensor", found)
        codes, maxima = np.asarray(compressed.codes, order="C"), compressed.maxima
        if codes.size > SMALL:
            from . import _kernel as fast

            return fast.decode(codes.reshape(-1), maxima, self).reshape(codes.shape)
        return self.decode_plainly(codes.reshape(-1), maxima).reshape(codes.shape)

    def decode_plainly(self, codes: np.ndarray, maxima: np.ndarray) -> np.ndarray:
        """Return the values of *codes* (uint8, one axis) by NumPy alone: what the fast kernel is held to."""
        with np.errstate(under="ignore"):
            return self.tables.values[codes] * self._spread(maxima, codes.size)

    def _size_problems(self, size: int, ragged: bool, name: str) -> list[Problem]:
        if not size:
            return [Problem(name, "it is empty", "there is nothing to encode")]
        if self.block is None or ragged or size % self.block == 0:
            return []
        whole = -(-size // self.block) * self.block
        remedy = f"pad it to {whole}, choose another block or none, or let the last block be shorter (ragged=True)"
        return [Problem(name, f"a block of {self.block} does not divide {size} values", remedy)]

    def _maxima(self, flat: np.ndarray) -> np.ndarray:
        width = self.block or flat.size
        largest = np.maximum.reduceat(np.abs(flat), np.arange(0, flat.size, width))
        if self.maximum == "fixed":
            return np.where(np.isfinite(largest), np.float32(1), largest)
        return power_above(largest) if self.maximum == "pow2" else largest

    def _spread(self, maxima: np.ndarray, elements: int) -> np.ndarray:
        return np.repeat(maxima, self.block or elements)[:elements]


def _specials(values: np.ndarray, name: str) -> list[Problem]:
    """Say how many of *values* are NaN or infinite, where any is."""
    counts = ((int(np.isnan(values).sum()), "NaN"), (int(np.isinf(values).sum()), "infinite"))
    if which := " and ".join(f"{count} {title}" for count, title in counts if count):
        why = f"{which} of {values.size} values: no 8-bit code stands for them"
        return [Problem(name, why, "clean the tensor first")]
    return []


def power_above(maxima: np.ndarray) -> np.ndarray:
    """Return the least power of two ≥ 2^−96 that is not below each of *maxima* (float32, ≥ 0); of 0 it is 0, above 2^127 ∞.

    What is not finite stays as it is.
    """
    fraction, exponent = np.frexp(maxima)
    with np.errstate(over="ignore"):
        power = np.ldexp(np.float32(1), np.maximum(np.where(fraction == 0.5, exponent - 1, exponent), LOWEST_POWER))
    return np.where((maxima == 0) | ~np.isfinite(maxima), maxima, power).astype(np.float32)


def _code_problems(wanted: EightBit, compressed: Compressed) -> list[Problem]:
    if not isinstance(compressed, Compressed):
        return [Problem("codes", f"{type(compressed).__name__} is no compressed tensor", "pass what encode() returned")]
    if compressed.format != wanted:
        remedy = f"decode with {compressed.format}"
        return [Problem("codes", f"they are of format {compressed.format}, not {wanted}", remedy)]
    found, codes, maxima = [], compressed.codes, compressed.maxima
    if codes.dtype != np.uint8 or not codes.size:
        found.append(Problem("codes", f"they are {codes.dtype} of shape {list(codes.shape)}, not some uint8"))
    elif maxima.dtype != np.float32 or maxima.shape != (wanted.blocks(codes.size),):
        why = f"{codes.size} codes of {wanted} have {wanted.blocks(codes.size)} float32 maxima, not {maxima.dtype} of shape"
        found.append(Problem("maxima", f"{why} {list(maxima.shape)}"))
    elif not (np.isfinite(maxima).all() and (maxima >= 0).all()):
        found.append(Problem("maxima", "one of them is negative, NaN or infinite"))
    elif wanted.maximum == "fixed" and maxima[0] != 1:
        found.append(Problem("maxima", f"it is {maxima[0]}, and 1 where max=fixed"))
    elif wanted.maximum == "pow2" and not np.array_equal(power_above(maxima), maxima):
        found.append(Problem("maxima", f"one of them is neither 0 nor a power of two from 2^{LOWEST_POWER} to 2^127"))
    return found


def _default_maximum(kind: str, block: int | None) -> str:
    """``static8`` and ``mantissa8`` have exponents enough to stand for numbers as they are, unless blocks are asked for."""
    return "fixed" if kind in ("static8", "mantissa8") and block is None else "exact"


def make(kind: str, block: int | None = None, max: str | None = None) -> EightBit:
    """Return the format of that *kind*; *max* is ``exact`` unless said, ``fixed`` for static8 and mantissa8 without blocks."""
    return EightBit(kind, block, _default_maximum(kind, block) if max is None else max)


def dynamic8(block: int | None = None, max: str | None = None) -> EightBit:
    """Return the dynamic tree: a decimal exponent of any length, what is left of 7 bits cuts its decade."""
    return make("dynamic8", block, max)


def static8(block: int | None = None, max: str | None = None) -> EightBit:
    """Return the static tree: 3 bits of decimal exponent, 4 bits cut the decade."""
    return make("static8", block, max)


def mantissa8(block: int | None = None, max: str | None = None) -> EightBit:
    """Return the mantissa code: 3 bits of decimal exponent, a whole number 0…15."""
    return make("mantissa8", block, max)


def linear8(block: int | None = None, max: str | None = None) -> EightBit:
    """Return the linear code: i / 127."""
    return make("linear8", block, max)


_SPELLED = re.compile(r"([a-z]+8)(?:<([^<>]*)>|,(.*))?\Z")


def parse(text: str) -> EightBit:
    """Return the format that *text* spells: ``dynamic8<block=256>``, or ``dynamic8,block=256`` as options have it."""
    match = _SPELLED.match(text.strip())
    found: list[Problem] = []
    given: dict[str, str] = {}
    if not match:
        remedy = f"one of {', '.join(KINDS)}, then ,block=N and ,max=exact or pow2"
        raise OptionError("8-bit format", [Problem("format", f"{shown(text)!r} spells none", remedy)])
    for part in filter(None, (match[2] or match[3] or "").split(",")):
        key, _, value = (piece.strip() for piece in part.partition("="))
        if key not in ("block", "max"):
            remedy = "there are block=N and max=exact, pow2 or fixed"
            found.append(Problem(shown(key), "no option of an 8-bit format", remedy))
        elif key in given:
            found.append(Problem(key, "it is given twice", "drop one of them"))
        elif key == "block" and not re.fullmatch(r"[0-9]{1,9}", value):
            found.append(Problem("block", f"{shown(value)!r} is no whole number"))
        else:
            given[key] = value
    try:
        made = make(match[1], int(given["block"]) if "block" in given else None, given.get("max"))
    except OptionError as error:
        found += error.problems
    if found:
        raise OptionError("8-bit format", found)
    return made
