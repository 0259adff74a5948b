"""Activation units: bit-exact functions of a fixed-point code to a fixed-point code, in plain integers and in NumPy."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

MOST_UNIT_BITS = 16
"""Widest code that a unit reads or makes: all of them are looked at one by one."""


@dataclass(frozen=True)
class Fold:
    """How negative codes are made of the others: u = −x (``inverted``: −x − 1), at most the highest code, is read in place of x.

    The result is ((slope · u + offset) >> shift) + core(u), or − core(u) with ``subtract``: tanh and erf are odd, sigmoid is
    1 − itself, GELU, SiLU and softplus differ by x, and SAU by ½(1 + alpha) x from something even. Of codes from 0 on it is
    core(x), at most ``most``: formats hold one code more below 0 than above.
    """

    inverted: bool
    subtract: bool
    slope: int = 0
    offset: int = 0
    shift: int = 0
    most: int | None = None


@dataclass(frozen=True)
class Entries:
    """values[u]: a plain table, 2^k entries."""

    values: tuple[int, ...]


@dataclass(frozen=True)
class Level:
    """value = (value so far << low) + differences[index], where the ``bits`` upper bits of u are known.

    The index has as many bits as the table needs: the ``fine`` lowest of those that are known, above them u's uppermost.
    """

    bits: int
    fine: int
    low: int
    differences: tuple[int, ...]


@dataclass(frozen=True)
class Differences:
    """A coarse table, which u's upper bits look up, made finer by one table of small differences after another.

    Source: Christ, Forget and de Dinechin, Lossless differential table compression, hal-03040364, 2021: there one level, whose
    index is all of u. A level that leaves bits out in the middle shares differences between neighbours, as the tables of de
    Dinechin and Tisserand, Multipartite table methods, IEEE TC, 2005, do; one more level makes up for what that loses.
    """

    coarse: tuple[int, ...]
    levels: tuple[Level, ...]
    """The coarsest first; the last one knows all bits of u."""


@dataclass(frozen=True)
class Pieces:
    """Polynomials piece by piece in Horner's form: h = coefficient 0, then h = (h · u + coefficient i) >> shift i.

    Piece i reaches from ``starts[i]`` to the next start; the first start is 0. One shift: straight lines. Two: parabolas.
    """

    starts: tuple[int, ...]
    rows: tuple[tuple[int, ...], ...]
    """Coefficients of each piece, the highest power first: one more than shifts."""
    shifts: tuple[int, ...]


@dataclass(frozen=True)
class Ratios:
    """low + floor(P(u) / Q(u)) piece by piece, P and Q polynomials with integer coefficients; P ≥ 0 and Q > 0 at every u."""

    starts: tuple[int, ...]
    numerators: tuple[tuple[int, ...], ...]
    """Coefficients of P of each piece, the highest power first."""
    denominators: tuple[tuple[int, ...], ...]
    low: int


Core = Entries | Differences | Pieces | Ratios


@dataclass(frozen=True)
class ActivationUnit:
    """A function of codes of ``bits`` bits (two's complement where ``signed``) to codes of ``out_bits`` bits.

    The ``core`` reads an unsigned u: x less its lowest code, or what ``fold`` makes of it.
    """

    bits: int
    signed: bool
    out_bits: int
    out_signed: bool
    core: Core
    fold: Fold | None = None

    @property
    def low(self) -> int:
        """Lowest code that it reads."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def core_bits(self) -> int:
        """Width of u."""
        return self.bits - (self.fold is not None)

    @property
    def kind(self) -> str:
        """One of :data:`UNIT_KINDS`."""
        core = self.core
        if isinstance(core, Pieces):
            return "pwl" if len(core.shifts) == 1 else "poly"
        return {Entries: "table", Differences: "compressed-table", Ratios: "pade"}[type(core)]


UNIT_KINDS = ("table", "compressed-table", "pwl", "poly", "pade")


# plain reference ---------------------------------------------------------------------------------------------------------


def unit_value(unit: ActivationUnit, code: int) -> int:
    """Return what *unit* makes of one *code*, in plain integers: the meaning of units."""
    fold = unit.fold
    if fold is None:
        return core_value(unit.core, code - unit.low)
    if code >= 0:
        value = core_value(unit.core, code)
        return value if fold.most is None else min(value, fold.most)
    u = min(-code - 1 if fold.inverted else -code, (1 << unit.core_bits) - 1)
    base, value = (fold.slope * u + fold.offset) >> fold.shift, core_value(unit.core, u)
    return base - value if fold.subtract else base + value


def core_value(core: Core, u: int) -> int:
    """Return what *core* makes of one unsigned *u*, in plain integers."""
    if isinstance(core, Entries):
        return core.values[u]
    if isinstance(core, Differences):
        value = core.coarse[u >> _bits_below(core)]
        for level in core.levels:
            value = (value << level.low) + level.differences[level_index(core, level, u)]
        return value
    piece = max(i for i, start in enumerate(core.starts) if start <= u)
    if isinstance(core, Pieces):
        value = core.rows[piece][0]
        for coefficient, shift in zip(core.rows[piece][1:], core.shifts, strict=True):
            value = (value * u + coefficient) >> shift
        return value
    numerator = denominator = 0
    for coefficient in core.numerators[piece]:
        numerator = numerator * u + coefficient
    for coefficient in core.denominators[piece]:
        denominator = denominator * u + coefficient
    return core.low + numerator // denominator


Index = TypeVar("Index", int, np.ndarray)


def level_index(core: Differences, level: Level, u: Index) -> Index:
    """Return the entry of *level*'s table at *u*, one or several."""
    known = u >> (core.levels[-1].bits - level.bits)
    upper = known >> (level.bits - _log2(level.differences) + level.fine)
    return (upper << level.fine) | (known & ((1 << level.fine) - 1))


def _bits_below(core: Differences) -> int:
    """Return how many bits of u the coarse table does not read."""
    return core.levels[-1].bits - _log2(core.coarse) if core.levels else 0


def _log2(table: Sequence[int]) -> int:
    return len(table).bit_length() - 1


# NumPy -------------------------------------------------------------------------------------------------------------------


def unit_codes(unit: ActivationUnit) -> np.ndarray:
    """Return every code that *unit* reads, ascending (int64)."""
    return np.arange(unit.low, unit.low + (1 << unit.bits))


def unit_values(unit: ActivationUnit, codes: np.ndarray | None = None) -> np.ndarray:
    """Return what *unit* makes of *codes* (int64), of every code that it reads by default."""
    codes = unit_codes(unit) if codes is None else np.asarray(codes, dtype=np.int64)
    fold = unit.fold
    if fold is None:
        return core_values(unit.core, codes - unit.low)
    below = np.minimum(-codes - 1 if fold.inverted else -codes, (1 << unit.core_bits) - 1)
    u = np.where(codes < 0, below, codes)
    values, base = core_values(unit.core, u), (fold.slope * u + fold.offset) >> fold.shift
    above = values if fold.most is None else np.minimum(values, fold.most)
    return np.where(codes < 0, base - values if fold.subtract else base + values, above)


def core_values(core: Core, u: np.ndarray) -> np.ndarray:
    """Return what *core* makes of unsigned *u* (int64)."""
    if isinstance(core, Entries):
        found: np.ndarray = np.array(core.values, dtype=np.int64)[u]
        return found
    if isinstance(core, Differences):
        found = np.array(core.coarse, dtype=np.int64)[u >> _bits_below(core)]
        for level in core.levels:
            differences = np.array(level.differences, dtype=np.int64)
            found = (found << level.low) + differences[level_index(core, level, u)]
        return found
    piece = np.searchsorted(core.starts, u, side="right") - 1
    if isinstance(core, Pieces):
        rows = np.array(core.rows, dtype=np.int64)[piece]
        found = rows[..., 0]
        for place, shift in enumerate(core.shifts, 1):
            found = (found * u + rows[..., place]) >> shift
        return found
    return core.low + _polynomial(core.numerators, piece, u) // _polynomial(core.denominators, piece, u)


def _polynomial(rows: Sequence[tuple[int, ...]], piece: np.ndarray, u: np.ndarray) -> np.ndarray:
    coefficients = np.array(rows, dtype=np.int64)[piece]
    found = np.zeros_like(u)
    for place in range(coefficients.shape[-1]):
        found = found * u + coefficients[..., place]
    return found


# what may be wrong ---------------------------------------------------------------------------------------------------------


def unit_faults(unit: ActivationUnit) -> list[str]:
    """Return why *unit* is none; empty where it is one."""
    if not (1 <= unit.bits <= MOST_UNIT_BITS and 1 <= unit.out_bits <= MOST_UNIT_BITS):
        return [f"a unit reads and makes codes of 1 to {MOST_UNIT_BITS} bits, not {unit.bits} and {unit.out_bits}"]
    if unit.fold is not None and (not unit.signed or unit.bits < 2):
        return ["only a unit that reads signed codes of 2 bits or more is folded"]
    if unit.fold is not None and not 0 <= unit.fold.shift <= 40:
        return [f"its fold shifts by {unit.fold.shift}, not 0 to 40"]
    why = _CORE_FAULTS[type(unit.core)](unit.core, 1 << unit.core_bits)
    if why:
        return why
    values = unit_values(unit)
    low = -(1 << (unit.out_bits - 1)) if unit.out_signed else 0
    if values.min() < low or values.max() >= low + (1 << unit.out_bits):
        return [f"it makes {values.min()} to {values.max()}, which {unit.out_bits} bits do not hold"]
    return []


def _entry_faults(core: Entries, size: int) -> list[str]:
    return [] if len(core.values) == size else [f"its table has {len(core.values)} entries, not {size}"]


def _difference_faults(core: Differences, size: int) -> list[str]:
    tables = [core.coarse, *(level.differences for level in core.levels)]
    if not all(table and len(table) & (len(table) - 1) == 0 for table in tables):
        return [f"its tables have {', '.join(str(len(table)) for table in tables)} entries: powers of two are needed"]
    known = [_log2(core.coarse), *(level.bits for level in core.levels)]
    if sorted(known) != known or 1 << known[-1] != size:
        return [f"its tables know {', '.join(map(str, known))} bits: more and more, the last all {_log2(range(size))}"]
    if not all(0 <= level.fine <= _log2(level.differences) <= level.bits for level in core.levels):
        return ["a level reads no more bits than are known, the fine ones among them"]
    if not all(0 <= level.low <= MOST_UNIT_BITS for level in core.levels):
        return [f"a level shifts by 0 to {MOST_UNIT_BITS} bits"]
    if any(min(level.differences) < 0 for level in core.levels):
        return ["differences are not negative"]
    reach = max(abs(value) for value in core.coarse)
    for level in core.levels:
        reach = (reach << level.low) + max(level.differences)
    return [] if reach < 1 << 62 else ["its values pass 62 bits"]


def _start_faults(starts: Sequence[int], tables: Sequence[Sequence[tuple[int, ...]]], size: int) -> list[str]:
    rising = len(starts) > 0 and starts[0] == 0 and all(a < b for a, b in itertools.pairwise(starts))
    if not rising or starts[-1] >= size:
        return [f"pieces start at 0 and further on, below {size}"]
    if any(len(rows) != len(starts) or len({len(row) for row in rows}) != 1 or not rows[0] for rows in tables):
        return ["every piece has coefficients, as many as the others"]
    return []


def _piece_faults(core: Pieces, size: int) -> list[str]:
    why = _start_faults(core.starts, [core.rows], size)
    if why:
        return why
    if not 1 <= len(core.shifts) <= 2 or len(core.rows[0]) != len(core.shifts) + 1:
        return ["a piece has one shift and two coefficients, or two and three"]
    if not all(0 <= shift <= 40 for shift in core.shifts):
        return ["a piece shifts by 0 to 40 bits"]
    return _wide(core.rows, size)


def _ratio_faults(core: Ratios, size: int) -> list[str]:
    why = _start_faults(core.starts, [core.numerators, core.denominators], size)
    why = why or _wide((*core.numerators, *core.denominators), size)
    if why:
        return why
    u = np.arange(size)
    piece = np.searchsorted(core.starts, u, side="right") - 1
    if (_polynomial(core.numerators, piece, u) < 0).any() or (_polynomial(core.denominators, piece, u) <= 0).any():
        return ["P ≥ 0 and Q > 0 do not hold everywhere"]
    return []


def _wide(rows: Sequence[tuple[int, ...]], size: int) -> list[str]:
    """Return a fault where a value on the way would leave int64."""
    worst = max(sum(abs(c) * size**power for power, c in enumerate(reversed(row))) for row in rows)
    return [] if worst < 1 << 62 else ["its coefficients are too large for 62 bits"]


_CORE_FAULTS: dict[type, Callable[..., list[str]]] = {
    Entries: _entry_faults,
    Differences: _difference_faults,
    Pieces: _piece_faults,
    Ratios: _ratio_faults,
}
