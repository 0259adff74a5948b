"""8-bit codes on the ports of a matrix engine: which operands, cut into which blocks, encoded and decoded.

Blocks run along K, since a beat of a port is a piece of K: of one vector of activations, of one column of weights. Each has
one power of two, which goes with every beat; the last block of a vector may be shorter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from approxhw.common.errors import InvalidDataError, OptionError, Problem, shown

from .choose import compress_options, loss_of
from .codes import BLOCKS, EightBit, make, power_above

FORMAT, NUMBER_BITS = "bf16", 16
"""What the decoders in front of an array make of codes, and its bits."""

EXPONENT_BITS = 8
"""Of a block's power of two, as it is held and as it goes with a beat: two's complement."""


@dataclass(frozen=True)
class EngineCodes:
    """Which operands of every product go into the engine as 8-bit codes, and in which code and blocks.

    ``weights``: what stays in the array, be it a constant or not; ``activations``: what streams through it. Without
    ``block``, what stays has one power of two a product, what streams one a vector. Raises :class:`OptionError`.
    """

    code: str = field(default="dynamic8", metadata={"help": "dynamic8, static8, mantissa8 or linear8"})
    block: int | None = field(
        default=None, metadata={"help": "values of a vector that share a power of two, 64 to 4096"}
    )
    max: str = field(default="pow2", metadata={"help": "pow2: a block's maximum is rounded up to a power of two"})
    weights: bool = field(default=True, metadata={"help": "what stays in the array comes as codes"})
    activations: bool = field(default=False, metadata={"help": "what streams through the array comes as codes"})

    def __post_init__(self) -> None:
        """Refuse what no port can carry, all at once."""
        found = []
        if self.code == "auto":
            why = "auto would choose a code for every tensor, and an engine has decoders for one"
            found.append(Problem("compress.code", why, "choose dynamic8, static8, mantissa8 or linear8"))
        if self.max != "pow2":
            why = (
                f"max={shown(self.max, 20)} would need a multiplier a lane; with powers of two a decoder adds exponents"
            )
            found.append(Problem("compress.max", why, "leave it out: an engine rounds maxima up to powers of two"))
        try:
            make("dynamic8" if self.code == "auto" else self.code, self.block, "pow2")
        except OptionError as error:
            found += [replace(problem, where=f"compress.{problem.where}") for problem in error.problems]
        if not (self.weights or self.activations):
            found.append(Problem("compress", "neither weights nor activations", "leave one of them on"))
        if found:
            raise OptionError("compress", found)

    @property
    def format(self) -> EightBit:
        """The code with its blocks."""
        return make(self.code, self.block, "pow2")

    @property
    def stays(self) -> EightBit | None:
        """The code of what stays in the array; None where it comes as numbers."""
        return self.format if self.weights else None

    @property
    def streams(self) -> EightBit | None:
        """The code of what streams through the array; None where it comes as numbers."""
        return self.format if self.activations else None


def read_codes(compress: EngineCodes | str | None) -> EngineCodes | None:
    """Return what *compress* asks for, such as ``dynamic8,block=256,activations=true``; raise :class:`OptionError`."""
    if compress is None or isinstance(compress, EngineCodes):
        return compress
    from approxhw.common.options import read_options

    if not isinstance(compress, str):
        why = f"{shown(repr(compress))} is no text"
        raise OptionError("compress", [Problem("compress", why, "such as dynamic8,block=256")])
    given = compress_options(compress)
    values, found = read_options(
        EngineCodes, {name: value for name, value in given.items() if name != "budget"}, "compress"
    )
    if "budget" in given:
        found.append(Problem("compress.budget", "it is for auto, which an engine has not", "leave it out"))
    try:
        made = EngineCodes(**values)
    except OptionError as error:
        found += error.problems
    if found:
        raise OptionError("compress", found)
    return made


@dataclass(frozen=True, eq=False)
class Packed:
    """Vectors along K as codes: ``codes`` uint8, vectors × K; ``exponents`` int8, vectors × blocks of each, of its maximum."""

    format: EightBit
    codes: np.ndarray
    exponents: np.ndarray

    @property
    def elements(self) -> int:
        """How many values there are."""
        return int(self.codes.size)

    def first(self, vectors: int | None) -> Packed:
        """Return the first *vectors* of it; all where that is None."""
        return replace(self, codes=self.codes[:vectors], exponents=self.exponents[:vectors])

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Return whether it holds vectors × K of *shape*, in the types and with the exponents that go with them."""
        exponents = (shape[0], _blocks(shape[1], self.format))
        typed = self.codes.dtype == np.uint8 and self.exponents.dtype == np.int8
        return typed and self.codes.shape == shape and self.exponents.shape == exponents


def packed_bits(vectors: int, k: int, format: EightBit, *, whole: bool = False) -> int:
    """Return the bits that *vectors* × *k* values take: a code each, and an exponent a block; *whole*: one for all."""
    blocks = 1 if format.block is None and whole else vectors * _blocks(k, format)
    return 8 * vectors * k + EXPONENT_BITS * blocks


def largest_of(x: np.ndarray) -> np.float32:
    """Return the largest magnitude in *x* (float32, not empty)."""
    return np.float32(max(x.max(), -x.min()))


def pack(x: np.ndarray, format: EightBit, *, largest: np.float32 | None = None, name: str = "tensor") -> Packed:
    """Return *x* (vectors × K, read as float32) as codes of *format*, whose maxima are powers of two.

    A block is ``format.block`` values of one vector, fewer at its end, or all of a vector; *largest*, which counts only
    without blocks, is the magnitude that all vectors share. Each block is what ``format.encode`` makes of it alone. A block of
    zeros has exponent 0. Raises :class:`InvalidDataError`, which calls *x* *name*, for NaN, ±∞ and what is above 2^127.
    """
    values = np.ascontiguousarray(x, dtype=np.float32)
    vectors, k = values.shape
    width = format.block or k
    if format.block is None and largest is not None:
        maxima = np.full((vectors, 1), largest, np.float32)
    else:
        maxima = np.maximum.reduceat(np.abs(values), np.arange(0, k, width), axis=1)
    powers = power_above(maxima)
    if not np.isfinite(powers).all():
        raise InvalidDataError(f"encode as {format}", [_unfit(values, maxima, name)])
    _, exponents = np.frexp(powers)
    exponents = np.where(powers == 0, 0, exponents - 1).astype(np.int8)
    scaled = np.empty(values.size + 1, np.float32)
    # dividing by powers of two is exact but for what is far below the smallest code; the 1 makes the maximum of all 1
    np.divide(
        values, _along(np.where(powers == 0, np.float32(1), powers), width, k), out=scaled[:-1].reshape(values.shape)
    )
    scaled[-1] = 1
    codes = make(format.kind, None, "pow2").encode(scaled, name=name).codes
    return Packed(format, codes[:-1].reshape(values.shape), exponents)


def unpack(packed: Packed) -> np.ndarray:
    """Return the values of *packed*: float32, vectors × K."""
    k = packed.codes.shape[1]
    powers = np.ldexp(np.float32(1), packed.exponents.astype(np.int32))
    spread = _along(powers, packed.format.block or k, k)
    values: np.ndarray = packed.format.tables.values[packed.codes] * spread
    return values


def through(x: np.ndarray, format: EightBit, *, largest: np.float32 | None = None, name: str = "tensor") -> np.ndarray:
    """Return what is left of *x* (vectors × K) behind :func:`pack` and :func:`unpack`: float32."""
    return unpack(pack(x, format, largest=largest, name=name))


def lane_problems(codes: EngineCodes | None, rows: int, format: str) -> list[Problem]:
    """Return why an array of *rows* and operands of *format* cannot be fed with *codes*; empty where it can."""
    found: list[Problem] = []
    if codes is None:
        return found
    if format != FORMAT:
        why = f"decoders make {FORMAT} of 8-bit codes, and the operands are {shown(format, 20)}"
        found.append(Problem("compress", why, f"choose format {FORMAT}, or leave --compress out"))
    if codes.block is not None and isinstance(rows, int) and rows > 0 and codes.block % rows:
        why = (
            f"a beat carries {rows} codes, one a row, with one exponent; blocks of {codes.block} would end within beats"
        )
        fitting = [size for size in _multiples(rows, codes.block) if BLOCKS[0] <= size <= BLOCKS[1]]
        said = f"block={' or '.join(map(str, fitting))}, " if fitting else ""
        divisors = [count for count in (4, 8, 16, 32, 64, 128, 256) if codes.block % count == 0]
        tall = (
            f"{divisors[-1] if rows > divisors[-1] else min(divisors, key=lambda n: abs(n - rows))} rows, "
            if divisors
            else ""
        )
        found.append(Problem("compress.block", why, f"choose {said}{tall}or no block"))
    return found


def _multiples(rows: int, near: int) -> Sequence[int]:
    return [rows * count for count in (near // rows, near // rows + 1) if count]


def _blocks(k: int, format: EightBit) -> int:
    return 1 if format.block is None else -(-k // format.block)


def _along(each: np.ndarray, width: int, k: int) -> np.ndarray:
    """Return *each* (vectors × blocks) for every one of *k* values; what has one block alone stays as it is."""
    return each if each.shape[1] == 1 else np.repeat(each, width, axis=1)[:, :k]


def _unfit(values: np.ndarray, maxima: np.ndarray, name: str) -> Problem:
    nans, infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    said = [f"{count} {what}" for count, what in ((nans, "NaN"), (infinite, "infinite")) if count]
    if said or not np.isfinite(maxima).all():
        why = f"{' and '.join(said) or 'some NaN or infinite'} of {values.size} values: no 8-bit code stands for them"
        return Problem(name, why, "keep its layer in float32, or let it stream as numbers")
    return Problem(name, "float32 has no power of two above its maximum", "scale the tensor")


def summary_of(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]], format: EightBit, vectors: int, k: int, *, count: int, whole: bool
) -> dict[str, str | int | float]:
    """Return what codes do to *count* operands of *vectors* × *k* values, as plain data: bits before and after, and errors.

    *pairs*: operands and what decoding gives back, as many of them as errors are measured on, ``looked_at`` values.
    *whole*: an operand has one exponent where *format* has no blocks. ``bits_before``: as numbers of the array's format.
    """
    loss = loss_of(*(np.concatenate([np.ravel(pair[side]) for pair in pairs]) for side in (0, 1)))
    elements = count * vectors * k
    return {
        "format": str(format),
        "elements": elements,
        "bits_before": NUMBER_BITS * elements,
        "bits_after": count * packed_bits(vectors, k, format, whole=whole),
        "looked_at": sum(int(pair[0].size) for pair in pairs),
        "mse": loss.mse,
        "mae": loss.mae,
        "relative": loss.relative,
    }
