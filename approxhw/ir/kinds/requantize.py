"""``Requantize``: codes of another scale, bounded; QReLU is one of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from approxhw.common.errors import shown
from approxhw.numerics.exact.rounding import SHIFTED, rounded_shift
from approxhw.numerics.formats import MAXIMUM_BITS, Fixed, Format

from .attributes import integer, integers, json_number
from .kind import Fault, Kind, Operand, Operands, activation, is_code


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

KINDS = (REQUANTIZE,)
