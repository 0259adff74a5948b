"""Codes of another scale: ``Requantize``, bounded, of which QReLU is one, and ``Lookup``, by a table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from approxhw.common.errors import shown
from approxhw.numerics.exact.rounding import SHIFTED, rounded_shift
from approxhw.numerics.formats import MAXIMUM_BITS, Fixed, Format
from approxhw.numerics.functions.formulas import Formula, formula_faults, formula_text, formula_values
from approxhw.numerics.functions.unit_words import unit_of_words, unit_words
from approxhw.numerics.functions.units import ActivationUnit, unit_faults, unit_values

from .attributes import integer, integers, json_number
from .kind import EXACT_IN_INT64, Fault, Kind, Operand, Operands, Range, Values, activation, is_code


@dataclass(frozen=True)
class Requantize:
    """min(max(round((multiplier · x + offset) / 2^shift), low), high); multiplier, offset: one, or one an element.

    ``rounding``: down (``floor``), to the nearest with exact halves to the even or odd neighbour (``half-even``,
    ``half-odd``), towards 0 (``to-zero``) or away from it (``from-zero``).
    """

    multiplier: tuple[int, ...]
    shift: int
    offset: tuple[int, ...]
    low: int
    high: int
    rounding: str = "floor"


MOST_LOOKUP_BITS = 10
"""Widest code that a table is looked up by: every neuron has a table of its own in hardware."""


@dataclass(frozen=True)
class Lookup:
    """The value of ``formula`` at x; on codes ``table[x mod size]``, where the table alone is the meaning.

    ``table``: a power of two of codes, at most 2^10; empty in float Nodes. ``formula``: as in ``numerics/functions/formulas.py``;
    empty where nobody knows what a table came from. ``unit``: how hardware makes the table, none: by looking it up.
    """

    formula: Formula = ()
    table: tuple[int, ...] = ()
    unit: ActivationUnit | None = None


def _attribute_faults(op: Requantize, operands: Operands, own: Operand) -> list[Fault]:
    why: list[Fault] = []
    several = [*op.multiplier, *op.offset, op.low, op.high]
    if not all(map(is_code, several)):
        why.append(f"multiplier, offset, low and high are integers of at most {MAXIMUM_BITS} bits")
    elif op.low > op.high:
        why.append(f"low {op.low} is greater than high {op.high}")
    if not (is_code(op.shift) and 0 <= op.shift <= MAXIMUM_BITS):
        why.append(f"shift {shown(op.shift)} does not lie in 0…{MAXIMUM_BITS}")
    if op.rounding not in SHIFTED:
        why.append(f"there is no rounding {shown(op.rounding)!r}; there are {', '.join(SHIFTED)}")
    for title, values in (("multiplier", op.multiplier), ("offset", op.offset)):
        if len(values) not in (1, own.type.elements):
            why.append(f"{title} has {len(values)} values for {own.type.elements} elements")
    return why


def _codes(op: Requantize, x: np.ndarray) -> np.ndarray:
    """Return the codes of codes *x* (… × elements)."""
    multiplier, offset = (np.array(values, dtype=x.dtype) for values in (op.multiplier, op.offset))
    cut = rounded_shift(multiplier * x + offset, op.shift, op.rounding)
    return np.minimum(np.maximum(cut, op.low), op.high)


def _widest(op: Requantize, reach: int) -> int:
    met = max(map(abs, op.multiplier)) * reach + max(map(abs, op.offset))
    met += 0 if op.rounding == "floor" else 1 << op.shift
    return max(met, abs(op.low), abs(op.high))


def _slope(op: Requantize, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    inside = (after > op.low) & (after < op.high)
    slope: np.ndarray = inside * (np.array(op.multiplier, dtype=np.float64) * 0.5**op.shift)
    return slope


def _attributes(op: Requantize) -> dict[str, object]:
    multiplier, offset = [json_number(v) for v in op.multiplier], [json_number(v) for v in op.offset]
    ends = {"low": json_number(op.low), "high": json_number(op.high)}
    rounding = {} if op.rounding == "floor" else {"rounding": op.rounding}
    return {"multiplier": multiplier, "shift": json_number(op.shift), "offset": offset, **ends, **rounding}


def _rounding(value: object, fmt: Format) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a rounding is a word, not {shown(value)!r}")
    return value


def _some(op: Requantize, kept: np.ndarray) -> Requantize:
    multiplier, offset = (
        values if len(values) == 1 else tuple(np.array(values, dtype=object)[kept].tolist())
        for values in (op.multiplier, op.offset)
    )
    return replace(op, multiplier=multiplier, offset=offset)


def _sample(rng: np.random.Generator, elements: int) -> tuple[Requantize, Fixed]:
    shift, bits, signed = int(rng.integers(0, 9)), int(rng.integers(1, 9)), bool(rng.random() < 0.3)
    multiplier: tuple[int, ...] = (1,)
    offset: tuple[int, ...] = (int(rng.choice([0, (1 << shift) >> 1])),)
    if rng.random() < 0.4:
        multiplier = (int(rng.integers(-3, 40)),)
    elif rng.random() < 0.5:
        multiplier = tuple(int(v) for v in rng.integers(-9, 60, elements))
        offset = tuple(int(v) for v in rng.integers(-200, 200, elements))
    wanted = Fixed(bits, signed, Fraction(1, int(rng.integers(1, 50))), int(rng.choice([0, 0, 0, 3])))
    low, high = wanted.low, wanted.high
    if rng.random() < 0.2:
        low, high = sorted(int(v) for v in rng.integers(low, high + 1, 2))
    rounding = str(rng.choice(SHIFTED)) if rng.random() < 0.5 else "floor"
    return Requantize(multiplier, shift, offset, low, high, rounding), wanted


REQUANTIZE = activation(
    Kind(
        op=Requantize,
        numbers="codes",
        checks={"attributes": _attribute_faults},
        widest=_widest,
        slope=_slope,
        attributes=_attributes,
        readers={
            "multiplier": integers,
            "shift": integer,
            "offset": integers,
            "low": integer,
            "high": integer,
            "rounding": _rounding,
        },
        optional=frozenset({"rounding"}),
        said=lambda op: f"requantize to {op.low} … {op.high}",
        some=_some,
        coarser=lambda op, shift: replace(op, multiplier=tuple(m << shift for m in op.multiplier)),
        sample=_sample,
    ),
    _codes,
)

# Lookup ----------------------------------------------------------------------------------------------------------------


def _looked_up(op: Lookup, x: np.ndarray) -> np.ndarray:
    """Return the codes of codes *x*; whole floats stay floats."""
    wide = max(map(abs, op.table)) >= EXACT_IN_INT64
    table = np.array(op.table, dtype=object if wide or x.dtype == object else x.dtype)
    found: np.ndarray = table[(x % len(op.table)).astype(np.int64)]
    return found


def _table_range(op: Lookup, operands: Operands, own: Operand) -> Range:
    low, high = operands[0].ends
    size = len(op.table)
    reached = [
        op.table if b - a + 1 >= size else [op.table[code % size] for code in range(a, b + 1)]
        for a, b in zip(low.tolist(), high.tolist())
    ]
    least, greatest = np.empty(len(low), dtype=object), np.empty(len(low), dtype=object)
    least[:], greatest[:] = [min(codes) for codes in reached], [max(codes) for codes in reached]
    return least, greatest


def _lookup_faults(op: Lookup, operands: Operands, own: Operand) -> list[Fault]:
    if own.type.is_float:
        said = "table" if op.table else "unit"
        extra = [f"a float lookup has no {said}"] if op.table or op.unit is not None else []
        return [*formula_faults(op.formula), *extra]
    return table_faults(op)


def table_faults(op: Lookup) -> list[Fault]:
    """Return what is wrong with *op* as a table of codes: its formula, size, entries, and a unit that makes something else."""
    why: list[Fault] = [*formula_faults(op.formula)] if op.formula else []
    size = len(op.table)
    if not 2 <= size <= 1 << MOST_LOOKUP_BITS or size & (size - 1):
        why.append(f"its table has {size} codes; a power of two from 2 to {1 << MOST_LOOKUP_BITS} is looked up")
    if not all(map(is_code, op.table)):
        why.append("its table holds something else than integers")
    elif op.unit is not None:
        why += unit_faults(op.unit) or _differing(op.unit, op.table)
    return why


def _differing(unit: ActivationUnit, table: tuple[int, ...]) -> list[str]:
    """Return a fault where *unit* does not make *table*, entry by entry."""
    if len(table) != 1 << unit.bits:
        return [f"its unit reads {unit.bits} bits, its table has {len(table)} codes"]
    made = table_of_unit(unit)
    differ = [entry for entry, code in enumerate(table) if code != made[entry]]
    if differ:
        return [f"its unit makes {made[differ[0]]} of entry {differ[0]}, its table says {table[differ[0]]}"]
    return []


def table_of_unit(unit: ActivationUnit) -> tuple[int, ...]:
    """Return what *unit* makes of every pattern of its code, as a ``Lookup`` has it: entry x mod 2^bits is that of code x."""
    return tuple(np.roll(unit_values(unit), unit.low).tolist())


def _fits_table(op: Lookup, operands: Operands, own: Operand) -> list[Fault]:
    read, bits = operands[0].type.format, len(op.table).bit_length() - 1
    if isinstance(read, Fixed) and read.bits > bits:
        return [(f"it looks up {bits}-bit codes, x is {read}", "put a Requantize before it")]
    return []


def _table_slope(op: Lookup, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return half the difference of the two neighbours in the table."""
    table, size = np.array(op.table, dtype=np.float64), len(op.table)
    places = (before % size).astype(np.int64)
    found: np.ndarray = (table[(places + 1) % size] - table[(places - 1) % size]) / 2
    return found


def _real_values(op: Lookup, values: Values, operands: Operands, own: Operand) -> np.ndarray:
    (x,) = values
    found = formula_values(op.formula, x.astype(np.float64))
    return np.vectorize(Fraction, otypes=[object])(found) if x.dtype == object else found


def _read_formula(value: object, fmt: Format) -> Formula:
    if not isinstance(value, list) or not all(type(word) in (str, int, float) for word in value):
        raise ValueError("a formula is a list of names and numbers")
    return tuple(word if isinstance(word, str) else float(word) for word in value)


def _lookup_attributes(op: Lookup) -> dict[str, object]:
    unit = {} if op.unit is None else {"unit": unit_words(op.unit)}
    return {"formula": list(op.formula), "table": [json_number(code) for code in op.table], **unit}


def _said(op: Lookup) -> str:
    how = "table" if op.unit is None else f"{op.unit.kind} unit"
    return f"{how} of {formula_text(op.formula)}" if op.formula else how


def _sample_lookup(rng: np.random.Generator, elements: int) -> tuple[Lookup, Fixed]:
    wanted = Fixed(int(rng.integers(1, 9)), bool(rng.random() < 0.5), Fraction(1, int(rng.integers(1, 50))))
    table = rng.integers(wanted.low, wanted.high + 1, 1 << int(rng.integers(4, MOST_LOOKUP_BITS + 1)))
    if rng.random() < 0.5:
        table = np.sort(table)  # as most activations are
    return Lookup((), tuple(table.tolist())), wanted


LOOKUP = replace(
    activation(
        Kind(
            op=Lookup,
            checks={"attributes": _lookup_faults, "formats": _fits_table},
            widest=lambda op, reach: max(reach, *map(abs, op.table)),
            slope=_table_slope,
            attributes=_lookup_attributes,
            readers={"formula": _read_formula, "table": integers, "unit": lambda value, fmt: unit_of_words(value)},
            optional=frozenset({"formula", "table", "unit"}),
            said=_said,
            coarser=None,
            sample=_sample_lookup,
        ),
        _looked_up,
    ),
    range=_table_range,
    on_reals=_real_values,
    monotone=False,
)

KINDS = (REQUANTIZE, LOOKUP)
