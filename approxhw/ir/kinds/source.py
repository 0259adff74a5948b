"""Where values come from: ``Input``, the row, and ``Constant``."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from approxhw.common.errors import shown
from approxhw.numerics.exact.rounding import MODES
from approxhw.numerics.formats import (
    BORDERED,
    MAXIMUM_BITS,
    RULES,
    EightBit,
    Encoding,
    Fixed,
    Float,
    Format,
    Rational,
    Text,
)

from .attributes import integer, integers, json_number, read_number, reals, texts
from .kind import Fault, Kind, Operand, Operands, Range, filled_integers, is_code


@dataclass(frozen=True)
class Input:
    """The row: one identifier and one title an element, and how a reading becomes a code (none in a float Graph)."""

    features: tuple[str, ...]
    titles: tuple[str, ...]
    encoding: Encoding | None = None


@dataclass(frozen=True, eq=False)
class Constant:
    """An array of codes: int64 (or object, for integers beyond 63 bits), float64, or object of ``Fraction``. Read-only."""

    data: np.ndarray

    def __post_init__(self) -> None:
        """Freeze the array: Graphs share it."""
        data = np.array(self.data)
        if data.dtype.kind in "iub":
            beyond = data.dtype == np.uint64 and data.size and int(data.max()) >= 1 << 63
            data = data.astype(object if beyond else np.int64)
        data.flags.writeable = False
        object.__setattr__(self, "data", data)

    def __eq__(self, other: object) -> bool:
        """Equal arrays are equal constants."""
        return isinstance(other, Constant) and np.array_equal(self.data, other.data)

    def __hash__(self) -> int:
        """Hash the shape: cheap, and consistent with equality."""
        return hash(self.data.shape)


# Input -----------------------------------------------------------------------------------------------------------------


def _counts(op: Input, operands: Operands, own: Operand) -> list[Fault]:
    return [
        f"{len(words)} {title} for {own.type.elements} elements"
        for title, words in (("features", op.features), ("titles", op.titles))
        if len(words) != own.type.elements
    ]


def _encoding_faults(op: Input, operands: Operands, own: Operand) -> list[Fault]:
    fmt, encoding = own.type.format, op.encoding
    if not isinstance(fmt, Fixed):
        return ["a float Input has no encoding"] if encoding else []
    if encoding is None:
        return ["a Fixed Input needs an encoding: how a reading becomes a code"]
    if not len(encoding.low) == len(encoding.high) == own.type.elements:
        sizes = f"{len(encoding.low)} low and {len(encoding.high)} high"
        return [f"its encoding has {sizes} values for {own.type.elements} elements"]
    why: list[Fault] = []
    if fmt.signed or fmt.bits != encoding.bits:
        why.append(f"its encoding makes u{encoding.bits} codes, its format is {fmt}")
    if encoding.rule not in RULES:
        why.append(f"there is no encoding rule {shown(encoding.rule)!r}; there are {', '.join(RULES)}")
    ends = list(zip(encoding.low, encoding.high))
    if not all(math.isfinite(low) and math.isfinite(high) for low, high in ends):
        why.append("low and high are finite")
    elif any(low > high for low, high in ends):
        why.append("low is greater than high")
    elif encoding.rule == "linear" and any(low == high for low, high in ends):
        why.append("rule linear needs low < high")
    elif encoding.rule == "floor16" and (encoding.bits != 4 or any(end != (0, 1) for end in ends)):
        why.append("rule floor16 is 4 bits from 0 to 1")
    if encoding.rule in BORDERED:
        return why + _border_faults(encoding, own)
    return why + (_exact_faults(encoding, own) if encoding.rule == "exact" else [])


def _border_faults(encoding: Encoding, own: Operand) -> list[Fault]:
    count, thermometer = own.type.elements, encoding.rule == "thermometer"
    if not len(encoding.borders) == len(encoding.closed) == count:
        sizes = f"borders of {len(encoding.borders)} and closed of {len(encoding.closed)}"
        return [f"its encoding has {sizes} elements for {count} elements"]
    why: list[Fault] = []
    for borders, closed in zip(encoding.borders, encoding.closed):
        pairs = [(border, not shut) for border, shut in zip(borders, closed)]
        single = np.array(borders, dtype=np.float64)
        with np.errstate(over="ignore"):
            held = np.array_equal(single.astype(np.float32).astype(np.float64), single)
        if len(borders) != len(closed) or not held or not np.isfinite(single).all():
            why.append("borders are numbers that float32 holds, each of them closed or not")
        elif any(first >= second for first, second in itertools.pairwise(pairs)):
            why.append("borders of an element ascend; of two that are equal the closed one comes first")
        elif len(borders) >> encoding.bits or (thermometer and len(borders) != 1):
            why.append(
                f"an element has {len(borders)} borders, a {encoding.bits}-bit {encoding.rule} code counts others"
            )
        if why:
            return why
    if thermometer and (encoding.bits != 1 or len(encoding.reads) != count):
        return [f"a thermometer has one bit and one reading an element, not {encoding.bits} and {len(encoding.reads)}"]
    if thermometer and not all(0 <= read < encoding.readings for read in encoding.reads):
        return [f"a thermometer of {encoding.readings} readings looks at another one"]
    return why


def _exact_faults(encoding: Encoding, own: Operand) -> list[Fault]:
    why: list[Fault] = []
    for title, values in (("gain", encoding.gain), ("shift", encoding.shift)):
        if len(values) != own.type.elements:
            why.append(f"its encoding has {len(values)} values of {title} for {own.type.elements} elements")
        if not all(isinstance(v, Fraction) and is_code(v.numerator) and is_code(v.denominator) for v in values):
            why.append(f"{title} is a fraction of at most {MAXIMUM_BITS} bits")
    if encoding.rounding not in MODES:
        why.append(f"there is no rounding {shown(encoding.rounding)!r}; there are {', '.join(MODES)}")
    if not is_code(encoding.base):
        why.append(f"base is an integer of at most {MAXIMUM_BITS} bits")
    return why


def _whole_format(op: Input, operands: Operands, own: Operand) -> Range:
    """Return all codes of the format; where they count borders, those of as many bits as an element's count needs."""
    counts = op.encoding is not None and op.encoding.rule in BORDERED
    if op.encoding is not None and counts and len(op.encoding.borders) == own.type.elements:
        tops = [(1 << len(borders).bit_length()) - 1 for borders in op.encoding.borders]
        return filled_integers(own.type.elements, 0), np.array(tops, dtype=object)
    return filled_integers(own.type.elements, own.fixed.low), filled_integers(own.type.elements, own.fixed.high)


def _input_attributes(op: Input) -> dict[str, object]:
    encoding = op.encoding.attributes() if op.encoding else None
    return {"features": list(op.features), "titles": list(op.titles), "encoding": encoding}


def _encoding(value: object, fmt: Format) -> Encoding | None:
    if value is None:
        return None
    fields = {"bits", "rule", "low", "high"}
    rule = value.get("rule") if isinstance(value, dict) else None
    if rule == "exact":
        fields |= {"gain", "shift", "rounding", "base"}
    if rule in BORDERED:
        fields |= {"borders", "closed"} | ({"reads", "readings"} if rule == "thermometer" else set())
    if not isinstance(value, dict) or set(value) != fields:
        raise ValueError(f"an encoding has {', '.join(sorted(fields))}")
    ends: list[tuple[float, ...]] = []
    for name in ("low", "high"):
        if not isinstance(value[name], list) or not all(type(v) in (int, float) for v in value[name]):
            raise ValueError(f"{name} of an encoding is a list of numbers")
        ends.append(tuple(float(v) for v in value[name]))
    low, high = ends
    if not isinstance(value["rule"], str):
        raise ValueError("rule of an encoding is a text")
    if value["rule"] in BORDERED:
        return _read_borders(value, low, high, fmt)
    if value["rule"] != "exact":
        return Encoding(integer(value["bits"]), value["rule"], low, high)
    exact: list[tuple[Fraction, ...]] = []
    for name in ("gain", "shift"):
        if not isinstance(value[name], list):
            raise ValueError(f"{name} of an encoding is a list of fractions")
        exact.append(tuple(Fraction(read_number(v)) for v in value[name]))
    if not isinstance(value["rounding"], str):
        raise ValueError("rounding of an encoding is a text")
    gain, shift = exact
    base = integer(value["base"])
    return Encoding(integer(value["bits"]), "exact", low, high, gain, shift, value["rounding"], base)


def _read_borders(value: dict[str, Any], low: tuple[float, ...], high: tuple[float, ...], fmt: Format) -> Encoding:
    borders, closed = value["borders"], value["closed"]
    if not isinstance(borders, list) or not isinstance(closed, list):
        raise ValueError("borders and closed of an encoding are lists of lists")
    if not all(isinstance(row, list) and all(type(entry) is bool for entry in row) for row in closed):
        raise ValueError("closed of an encoding is made of true and false")
    several = tuple(reals(row, fmt) for row in borders), tuple(map(tuple, closed))
    found = Encoding(integer(value["bits"]), value["rule"], low, high, borders=several[0], closed=several[1])
    if value["rule"] == "borders":
        return found
    return replace(found, reads=integers(value["reads"], fmt), readings=integer(value["readings"]))


INPUT = Kind(
    op=Input,
    arity=lambda op: 0,
    most_inputs=0,
    says_format=True,
    checks={"shapes": _counts, "encoding": _encoding_faults},
    range=_whole_format,
    attributes=_input_attributes,
    readers={"features": texts, "titles": texts, "encoding": _encoding},
    optional=frozenset({"encoding"}),
)


# Constant --------------------------------------------------------------------------------------------------------------


def _data_faults(op: Constant, operands: Operands, own: Operand) -> list[Fault]:
    fmt, data = own.type.format, op.data
    if data.shape != own.type.shape:
        return [f"its data has shape {_spelled(data.shape)}, its type {_spelled(own.type.shape)}"]
    if isinstance(fmt, Float):
        if data.dtype != np.float64:
            return [f"{fmt} data is held as float64, not {data.dtype}"]
        return [] if np.isfinite(data).all() else ["its data holds NaN or infinity"]
    if isinstance(fmt, EightBit):
        ok = data.dtype.kind == "i" and not ((data < 0) | (data > 255)).any()
        return [] if ok else [f"codes of {fmt} are integers in 0…255"]
    if isinstance(fmt, Rational):
        ok = all(isinstance(value, Fraction | int) for value in data.reshape(-1).tolist())
        return [] if ok else ["rational data is held as fractions"]
    if not isinstance(fmt, Fixed):
        return [f"nothing is computed with {fmt} of one row"]
    if data.dtype.kind != "i" and not all(isinstance(value, int) for value in data.reshape(-1).tolist()):
        return [f"{fmt} data is held as integers, not {data.dtype}"]
    low, high = int(data.min()), int(data.max())
    if low < fmt.low or high > fmt.high:
        return [f"codes of {fmt} lie in {fmt.low}…{fmt.high}, its data in {low}…{high}"]
    return []


def _spelled(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _data_range(op: Constant, operands: Operands, own: Operand) -> Range:
    data = op.data.astype(object).reshape(-1)
    return data, data


def _data_attributes(op: Constant) -> dict[str, object]:
    data = op.data if op.data.dtype != object else np.vectorize(json_number, otypes=[object])(op.data)
    whole = op.data.dtype.kind != "f" or np.isfinite(op.data).all()
    return {"data": data.tolist() if whole else _special(data.tolist())}


_SPECIALS = ("nan", "inf", "-inf")
"""Numbers that JSON has no word for; constants of tensor Graphs may hold them."""


def _special(value: object) -> object:
    """Return *value*, a nested list of numbers, with texts in place of NaN and infinity."""
    if isinstance(value, list):
        return [_special(inner) for inner in value]
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)


def _data(value: object, fmt: Format) -> np.ndarray:
    """Return nested lists as the array that ``Constant`` holds in this format; ragged lists are refused."""
    if isinstance(value, np.ndarray):  # it stood beside the text
        return value
    shape, level = [], value
    while isinstance(level, list):
        shape.append(len(level))
        level = level[0] if level else None
    flat: list[object] = []
    _flatten(value, tuple(shape), flat)
    if isinstance(fmt, Float):
        numbers = [
            float(v)
            for v in flat
            if (isinstance(v, int | float) and not isinstance(v, bool)) or (isinstance(v, str) and v in _SPECIALS)
        ]
        if len(numbers) != len(flat):
            raise ValueError(f"data of {fmt} is made of numbers")
        array = np.array(numbers, dtype=np.float64)
    elif isinstance(fmt, Text):
        array = np.array([*texts(flat, fmt), None], dtype=object)[:-1]
    elif isinstance(fmt, Fixed | EightBit):
        codes = [integer(v) for v in flat]
        small = all(-(1 << 63) <= code < 1 << 63 for code in codes)
        array = np.array(codes, dtype=np.int64 if small else object)
    else:
        array = np.empty(len(flat), dtype=object)
        array[:] = [Fraction(read_number(v)) for v in flat]
    return array.reshape(shape)


def _flatten(value: object, shape: tuple[int, ...], flat: list[object]) -> None:
    if not shape:
        if isinstance(value, list):
            raise ValueError("data is ragged")
        flat.append(value)
        return
    if not isinstance(value, list) or len(value) != shape[0]:
        raise ValueError("data is ragged")
    for element in value:
        _flatten(element, shape[1:], flat)


CONSTANT = Kind(
    op=Constant,
    arity=lambda op: 0,
    most_inputs=0,
    checks={"constants": _data_faults},
    range=_data_range,
    attributes=_data_attributes,
    readers={"data": _data},
)

KINDS = (INPUT, CONSTANT)
