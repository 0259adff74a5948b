"""Number formats: which codes exist, what real value a code stands for, and how a reading becomes a code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from approxhw.common.errors import OptionError
from approxhw.numerics.eight_bit.codes import Compressed, EightBit, dynamic8, linear8, mantissa8, static8
from approxhw.numerics.eight_bit.codes import parse as parse_eight_bit
from approxhw.numerics.eight_bit.tables import KINDS as EIGHT_BIT_KINDS
from approxhw.numerics.exact.rounding import rounded_fraction

__all__ = [
    "BORDERED",
    "FLOAT16",
    "FLOAT32",
    "FLOAT64",
    "MAXIMUM_BITS",
    "RULES",
    "Compressed",
    "EightBit",
    "Encoding",
    "Fixed",
    "Float",
    "Format",
    "Rational",
    "Text",
    "dtype_of",
    "dynamic8",
    "fixed_for",
    "format_of",
    "linear8",
    "mantissa8",
    "parse_format",
    "static8",
]

MAXIMUM_BITS = 4096
"""Widest ``Fixed`` format; widths come from exact ranges, so this only stops nonsense."""


@dataclass(frozen=True)
class Fixed:
    """Integer codes with an exact scale: real value = ``scale`` · (code − ``zero``)."""

    bits: int
    signed: bool = False
    scale: Fraction = Fraction(1)
    zero: int = 0

    def __post_init__(self) -> None:
        """Refuse widths and scales that cannot exist."""
        if not 1 <= self.bits <= MAXIMUM_BITS:
            raise ValueError(f"a Fixed format has 1 to {MAXIMUM_BITS} bits, not {self.bits}")
        if self.scale <= 0:
            raise ValueError(f"the scale of a Fixed format is greater than 0, not {self.scale}")

    @property
    def low(self) -> int:
        """Lowest code."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Highest code."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    def __str__(self) -> str:
        """Return the one spelling, such as ``s8<2^-5>``."""
        extras = []
        if self.scale != 1:
            extras.append(_spell_scale(self.scale))
        if self.zero:
            extras.append(f"zero={self.zero}")
        suffix = f"<{','.join(extras)}>" if extras else ""
        return f"{'s' if self.signed else 'u'}{self.bits}{suffix}"


@dataclass(frozen=True)
class Float:
    """Binary floating point with ``exponent`` and ``mantissa`` (stored fraction) bits; codes are the numbers themselves."""

    exponent: int
    mantissa: int

    def __str__(self) -> str:
        """Return the one spelling, such as ``float<8,23>``."""
        return f"float<{self.exponent},{self.mantissa}>"


@dataclass(frozen=True)
class Rational:
    """Exact fractions; only tests of algebraic passes use it."""

    def __str__(self) -> str:
        """Return the one spelling."""
        return "rational"


@dataclass(frozen=True)
class Text:
    """Texts, which some tensor models read; nothing is computed with them."""

    def __str__(self) -> str:
        """Return the one spelling."""
        return "text"


Format = Fixed | Float | Rational | EightBit | Text

FLOAT16 = Float(5, 10)
FLOAT32 = Float(8, 23)
FLOAT64 = Float(11, 52)


_FLOATS = {FLOAT16: "float16", FLOAT32: "float32", FLOAT64: "float64"}


def format_of(dtype: np.dtype[np.generic]) -> Format:
    """Return the format of what a NumPy array of *dtype* holds: floats, whole numbers, truth values (``u1``) or texts."""
    if dtype.kind == "f":
        return next(fmt for fmt, word in _FLOATS.items() if word == dtype.name)
    if dtype.kind in "iu":
        return Fixed(8 * dtype.itemsize, dtype.kind == "i")
    return Fixed(1) if dtype.kind == "b" else Text()


def dtype_of(fmt: Format) -> np.dtype[np.generic]:
    """Return the NumPy type that :func:`format_of` gives *fmt* for; raise ``ValueError`` where there is none."""
    if isinstance(fmt, Float) and fmt in _FLOATS:
        return np.dtype(_FLOATS[fmt])
    if isinstance(fmt, Text):
        return np.dtype(object)
    if fmt == Fixed(1):
        return np.dtype(bool)
    if isinstance(fmt, Fixed) and fmt.bits in (8, 16, 32, 64) and fmt == Fixed(fmt.bits, fmt.signed):
        return np.dtype(f"{'i' if fmt.signed else 'u'}{fmt.bits // 8}")
    raise ValueError(f"no array holds {fmt}")


def fixed_for(low: int, high: int, scale: Fraction = Fraction(1), zero: int = 0) -> Fixed:
    """Return the narrowest ``Fixed`` that holds every integer from *low* to *high*; unsigned where *low* ≥ 0."""
    if low > high:
        raise ValueError(f"empty range {low}…{high}")
    if low >= 0:
        return Fixed(max(1, high.bit_length()), signed=False, scale=scale, zero=zero)
    bits = 1 + max((-low - 1).bit_length(), high.bit_length() if high > 0 else 0)
    return Fixed(bits, signed=True, scale=scale, zero=zero)


_FIXED = re.compile(r"([us])(\d{1,5})(?:<([^<>]*)>)?\Z")
_FRACTION = re.compile(r"\d{1,1300}(?:/\d{1,1300})?\Z")
_FLOAT = re.compile(r"float<(\d{1,3}),(\d{1,3})>\Z")


def parse_format(text: str) -> Format:
    """Return the format that *text* spells; raise ``ValueError`` where it spells none."""
    if text == "rational":
        return Rational()
    if text == "text":
        return Text()
    if text.startswith(EIGHT_BIT_KINDS):
        try:
            return parse_eight_bit(text)
        except OptionError as error:
            raise ValueError(str(error)) from None
    if match := _FLOAT.match(text):
        return Float(int(match[1]), int(match[2]))
    if match := _FIXED.match(text):
        scale, zero = Fraction(1), 0
        for extra in match[3].split(",") if match[3] else ():
            if extra.startswith("zero="):
                zero = int(extra.removeprefix("zero="))
            else:
                scale = _parse_scale(extra)
        return Fixed(int(match[2]), match[1] == "s", scale, zero)
    raise ValueError(f"no number format: {text[:80]!r}")


def _spell_scale(scale: Fraction) -> str:
    for number, sign in ((scale.denominator, "-"), (scale.numerator, "")):
        other = scale.numerator if sign else scale.denominator
        if other == 1 and number & (number - 1) == 0:
            return f"2^{sign}{number.bit_length() - 1}"
    return f"{scale.numerator}/{scale.denominator}"


def _parse_scale(text: str) -> Fraction:
    if text.startswith("2^"):
        exponent = int(text[2:])
        if abs(exponent) > MAXIMUM_BITS:
            raise ValueError(f"scale {text} is out of reach")
        return Fraction(2) ** exponent
    if not _FRACTION.match(text):  # Fraction itself also reads "1e999999999", and would work it out
        raise ValueError(f"no scale: {text[:80]!r}")
    return Fraction(text)


RULES = ("round", "floor16", "linear", "exact", "borders", "thermometer")
"""How a reading becomes a code; ``docs/ir.md`` gives the formulas."""

BORDERED = ("borders", "thermometer")
"""Those whose codes count borders."""


@dataclass(frozen=True)
class Encoding:
    """How readings become unsigned ``bits``-bit codes, one ``low`` and ``high`` a feature (in units of the reading).

    Rule ``exact`` has what a quantiser of a model does to a reading: clip(base + round(gain · x + shift)), one exact gain
    and shift a feature, ``rounding`` of ``numerics.exact.rounding.MODES``. Rules ``borders`` and ``thermometer`` count the
    ``borders`` of an element that its reading, in float32, reaches: all that a model asks of the feature, or one. ``low`` and
    ``high`` say nothing of the code there: they are the ends of the training readings.
    """

    bits: int
    rule: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    gain: tuple[Fraction, ...] = ()
    shift: tuple[Fraction, ...] = ()
    rounding: str = ""
    base: int = 0
    borders: tuple[tuple[float, ...], ...] = ()
    """Of each element, ascending; of the same border twice the closed one comes first."""
    closed: tuple[tuple[bool, ...], ...] = ()
    """Whether a reading that equals the border reaches it."""
    reads: tuple[int, ...] = ()
    """Under rule ``thermometer``: which reading each element looks at."""
    readings: int = 0
    """Likewise: how many readings a row has."""

    @property
    def width(self) -> int:
        """How many readings a row has: one an element, but for a thermometer."""
        return self.readings if self.rule == "thermometer" else len(self.low)

    @staticmethod
    def exact(bits: int, gain: tuple[Fraction, ...], shift: tuple[Fraction, ...], rounding: str, base: int) -> Encoding:
        """Return the encoding by rule ``exact``; ``low`` and ``high`` are the readings that the end codes stand for."""
        top, ends = (1 << bits) - 1, []
        for a, b in zip(gain, shift, strict=True):
            stands = [float((code - base - b) / a) if a else 0.0 for code in (0, top)]
            ends.append(sorted(stands))
        low, high = (tuple(end[side] for end in ends) for side in (0, 1))
        return Encoding(bits, "exact", low, high, gain, shift, rounding, base)

    def encode(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return codes (int64, rows × features) and, per feature, how many readings saturated.

        ``rows``: rows × features, finite. Evaluated in the order and precision that ``docs/ir.md`` gives.
        """
        x = np.asarray(rows, dtype=np.float64)
        if self.rule in BORDERED:
            return self._counted(x), np.zeros(len(self.low), dtype=np.int64)
        top = (1 << self.bits) - 1
        low, high = np.array(self.low), np.array(self.high)
        if self.rule == "floor16":
            raw = np.floor(16.0 * x)
        elif self.rule == "linear":
            # ONNX divides single-precision readings by a single-precision scale; near-ties depend on it
            scale, zero = self.steps().astype(np.float32), self.zeros()
            raw = np.rint(x.astype(np.float32) / scale).astype(np.float64) + zero
        elif self.rule == "exact":
            raw = self._exactly(x.astype(np.float32).astype(np.float64))
        else:
            constant = high == low
            raw = np.floor((x - low) / np.where(constant, 1.0, high - low) * top + 0.5)
            raw = np.where(constant, 0.0, raw)
        # `linear` counts what its clip moves: ONNX gives it a scale, and low and high follow from that
        outside = (raw < 0) | (raw > top) if self.rule != "round" else (x < low) | (x > high)
        return np.clip(raw, 0, top).astype(np.int64), outside.sum(axis=0)

    def _counted(self, x: np.ndarray) -> np.ndarray:
        """Return how many of its borders each element reaches."""
        with np.errstate(over="ignore"):
            single = x.astype(np.float32)
        codes = np.zeros((len(x), len(self.borders)), dtype=np.int64)
        for element, edges in enumerate(self.edges()):
            column = self.reads[element] if self.rule == "thermometer" else element
            codes[:, element] = np.searchsorted(edges, single[:, column], side="right")
        return codes

    def edges(self) -> list[np.ndarray]:
        """Return the least reading (float32) that reaches each border, element by element."""
        found = []
        for borders, closed in zip(self.borders, self.closed, strict=True):
            single = np.array(borders, dtype=np.float32)
            found.append(np.where(closed, single, np.nextafter(single, np.float32(np.inf))) if borders else single)
        return found

    def spelled_borders(self, element: int) -> list[str]:
        """Return what each border of one element asks, such as ``x > 0.8``: as short as float32 tells it apart."""
        pairs = zip(self.borders[element], self.closed[element])
        return [f"x {'>=' if closed else '>'} {np.float32(border)!s}" for border, closed in pairs]

    def _exactly(self, x: np.ndarray) -> np.ndarray:
        """Return base + round(gain · x + shift); only where float64 is near to a tie or a whole number, rationals decide."""
        gain, shift = np.array(self.gain, dtype=np.float64), np.array(self.shift, dtype=np.float64)
        value = np.clip(gain * x + shift, -(2.0**40), 2.0**40)
        doubled = 2 * value
        # the sum of two terms is off by a few units in the last place of the greater one
        doubt = 2.0**-48 * (np.abs(gain * x) + np.abs(shift) + 1)
        near = np.abs(doubled - np.rint(doubled)) <= doubt
        half = np.rint(doubled) / 2 + np.where(
            doubled > np.rint(doubled), 0.25, -0.25
        )  # between ties and whole numbers
        floor, fraction = np.floor(half), half - np.floor(half)
        if self.rounding.startswith("half"):
            up = fraction > 0.5
        elif self.rounding in ("floor", "ceil"):
            up = np.full(half.shape, self.rounding == "ceil")
        else:
            up = (half > 0) == (self.rounding == "from-zero")
        codes = floor + up
        for row, column in zip(*np.nonzero(near)):
            a, b = self.gain[column], self.shift[column]
            codes[row, column] = rounded_fraction(self.rounding, a * Fraction(float(x[row, column])) + b)
        found: np.ndarray = codes + self.base
        return found

    def steps(self) -> np.ndarray:
        """Return what one code step is worth, per feature (float64); 0 for a constant feature, 1 where codes count borders."""
        if self.rule == "floor16":
            return np.full(len(self.low), 1 / 16)
        if self.rule in BORDERED:
            return np.ones(len(self.low))
        if self.rule == "exact":
            return np.array([float(1 / gain) if gain else 0.0 for gain in self.gain])
        return (np.array(self.high) - np.array(self.low)) / ((1 << self.bits) - 1)

    def zeros(self) -> np.ndarray:
        """Return the code that stands for 0 under rule ``linear``, per feature (float64, whole numbers)."""
        return np.rint(-np.array(self.low) / self.steps())

    def offsets(self) -> np.ndarray:
        """Return the reading that code 0 stands for, per feature (float64); 0 where codes count borders."""
        if self.rule == "floor16":
            return np.full(len(self.low), 1 / 32)
        if self.rule in BORDERED:
            return np.zeros(len(self.low))
        if self.rule == "linear":
            return -self.steps() * self.zeros()
        if self.rule == "exact":
            return np.array([float((-self.base - b) / a) if a else 0.0 for a, b in zip(self.gain, self.shift)])
        return np.array(self.low)

    def formula(self, feature: int) -> str:
        """Return the code of reading x of one feature as a line that a user can wire a sensor by."""
        top = (1 << self.bits) - 1
        low, high = self.low[feature], self.high[feature]
        if self.rule in BORDERED:
            return f"code = {' + '.join(f'({told})' for told in self.spelled_borders(feature)) or '0'}"
        if self.rule == "floor16":
            return "code = clip(floor(16 * x), 0, 15)"
        if self.rule == "linear":
            return (
                f"code = clip(round_half_even(x / {self.steps()[feature]!r}) + {int(self.zeros()[feature])}, 0, {top})"
            )
        if self.rule == "exact":
            gain, shift = self.gain[feature], self.shift[feature]
            word = self.rounding.replace("-", "_")
            return f"code = clip({word}({gain} * x + {shift}) + {self.base}, 0, {top})"
        if low == high:
            return f"code = 0 (x was {low!r} in every training row)"
        return f"code = clip(floor((x - {low!r}) / ({high!r} - {low!r}) * {top} + 0.5), 0, {top})"

    def attributes(self) -> dict[str, object]:
        """Return the fields as JSON-ready values."""
        ends: dict[str, object] = {"bits": self.bits, "rule": self.rule, "low": list(self.low), "high": list(self.high)}
        if self.rule in BORDERED:
            ends |= {"borders": [list(row) for row in self.borders], "closed": [list(row) for row in self.closed]}
            thermometer = {"reads": list(self.reads), "readings": self.readings}
            return {**ends, **thermometer} if self.rule == "thermometer" else ends
        if self.rule != "exact":
            return ends
        exact = {"gain": [str(gain) for gain in self.gain], "shift": [str(shift) for shift in self.shift]}
        return {**ends, **exact, "rounding": self.rounding, "base": self.base}
