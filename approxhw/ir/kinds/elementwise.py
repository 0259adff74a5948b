"""Activations that are exact on codes: ``Relu``, ``LeakyRelu``, ``PRelu``, ``Clip``, ``ThresholdedRelu``, ``HardSwish``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from approxhw.common.errors import shown
from approxhw.numerics.formats import MAXIMUM_BITS, Fixed, Format

from .attributes import CodeOrReal, Number, json_number, read_bound, read_number
from .kind import EXACT_IN_INT64, Fault, Kind, Operand, Operands, activation, is_code, is_real


@dataclass(frozen=True)
class Relu:
    """max(x, 0)."""


@dataclass(frozen=True)
class LeakyRelu:
    """x where x ≥ 0, else alpha · x; on codes floor(alpha · x). ``alpha``: an exact fraction, ≥ 0."""

    alpha: Fraction


@dataclass(frozen=True)
class PRelu:
    """x where x ≥ 0, else slope · x; on codes floor(slope · x). ``slopes``: exact fractions, one, or one an element."""

    slopes: tuple[Fraction, ...]


@dataclass(frozen=True)
class Clip:
    """min(max(x, low), high); a bound may be None."""

    low: CodeOrReal | None = None
    high: CodeOrReal | None = None


@dataclass(frozen=True)
class ThresholdedRelu:
    """x where x > threshold, else 0."""

    threshold: CodeOrReal = 1


@dataclass(frozen=True)
class HardSwish:
    """x · min(max(x + offset, low), high): a value times a hard sigmoid of itself. On codes the scale is that of x², exactly."""

    offset: CodeOrReal
    low: CodeOrReal
    high: CodeOrReal


# Relu ------------------------------------------------------------------------------------------------------------------

RELU = activation(
    Kind(
        op=Relu,
        keeps_scale=True,
        # 0 is where the zero point is
        in_codes=lambda op, fmt, bits: Clip(fmt.zero, None) if fmt.zero else op,
        sample=lambda rng, elements: (Relu(), None),
    ),
    lambda op, x: np.maximum(x, 0),
)


# LeakyRelu and PRelu ---------------------------------------------------------------------------------------------------


def _sloped_codes(slopes: tuple[Fraction, ...], x: np.ndarray) -> np.ndarray:
    """Return floor(slope · x) where x < 0, else x, for codes *x* (… × elements)."""
    shift = max(slope.denominator.bit_length() for slope in slopes) - 1
    factors = [int(slope * (1 << shift)) for slope in slopes]
    if x.dtype == np.float64:
        leak = np.floor(x * np.array(factors, dtype=np.float64) * 0.5**shift)
    else:
        leak = (x * np.array(factors, dtype=object if _is_wide(factors) else x.dtype)) >> shift
    return np.where(x < 0, leak, x)


def _is_wide(factors: list[int]) -> bool:
    return max(map(abs, factors)) >= EXACT_IN_INT64


def _sloped_widest(slopes: tuple[Fraction, ...], reach: int) -> int:
    shift = max(slope.denominator.bit_length() for slope in slopes) - 1
    return max(1, *(abs(int(slope * (1 << shift))) for slope in slopes)) * reach


def _sloped_reals(slopes: tuple[Fraction, ...], x: np.ndarray) -> np.ndarray:
    factors = np.array(slopes, dtype=object)
    factors = factors if x.dtype == object else factors.astype(np.float64)
    shape = x.shape[1:] if len(slopes) > 1 else ()
    return np.where(x < 0, x * factors.reshape(shape), x)


def _slope_faults(title: str, slopes: tuple[Fraction, ...], own: Operand, least: int | None = None) -> list[Fault]:
    for slope in slopes:
        legal = isinstance(slope, Fraction | int) and is_code(slope.numerator) and is_code(slope.denominator)
        if not legal or (least is not None and slope < least):
            bound = "" if least is None else f" of at least {least} and"
            return [
                f"{title} {shown(slope)} is no fraction{bound} at most {MAXIMUM_BITS} bits".replace(
                    "fraction at", "fraction of at"
                )
            ]
        if isinstance(own.type.format, Fixed) and slope.denominator & (slope.denominator - 1):
            why = f"{title} {shown(slope)} of codes is no multiple of a power of two"
            return [(why, "quantize-weights rounds it to one")]
    return []


def _no_zero_point(op: object, operands: Operands, own: Operand) -> list[Fault]:
    zero = operands[0].fixed.zero if isinstance(operands[0].type.format, Fixed) else 0
    return [f"it reads codes of zero point {zero}, only 0 is allowed there"] if zero else []


def _slope_in_codes(slope: Fraction, bits: int) -> Fraction:
    """Round *slope* as a weight is: to the finest multiple of a power of two that *bits* bits hold, halves up."""
    size, top = abs(Fraction(slope)), (1 << (bits - 1)) - 1
    if not size:
        return Fraction(0)
    fraction = bits + size.denominator.bit_length() - size.numerator.bit_length()
    while (code := math.floor(size * Fraction(2) ** fraction + Fraction(1, 2))) > top:
        fraction -= 1
    return (code if slope > 0 else -code) / Fraction(2) ** fraction


def _sample_leak(rng: np.random.Generator, elements: int) -> tuple[LeakyRelu, None]:
    shift = int(rng.integers(0, 9))
    top = 1 if rng.random() < 0.5 else int(rng.integers(0, (1 << shift) + 2))
    return LeakyRelu(Fraction(top, 1 << shift)), None


LEAKY_RELU = activation(
    Kind(
        op=LeakyRelu,
        keeps_scale=True,
        checks={
            "attributes": lambda op, operands, own: _slope_faults("alpha", (op.alpha,), own, 0),
            "formats": _no_zero_point,
        },
        widest=lambda op, reach: _sloped_widest((op.alpha,), reach),
        slope=lambda op, before, after: np.where(before < 0, float(op.alpha), 1.0),
        attributes=lambda op: {"alpha": str(op.alpha)},
        readers={"alpha": lambda value, fmt: Fraction(read_number(value))},
        said=lambda op: f"leaky relu {op.alpha}",
        in_codes=lambda op, fmt, bits: None if fmt.zero else LeakyRelu(_slope_in_codes(op.alpha, bits)),
        sample=_sample_leak,
    ),
    lambda op, x: _sloped_codes((op.alpha,), x),
    reals=lambda op, x: _sloped_reals((op.alpha,), x),
)


def _prelu_faults(op: PRelu, operands: Operands, own: Operand) -> list[Fault]:
    if len(op.slopes) not in (1, own.type.elements):
        return [f"{len(op.slopes)} slopes for {own.type.elements} elements"]
    return _slope_faults("slope", op.slopes, own)


def _read_slopes(value: object, fmt: Format) -> tuple[Fraction, ...]:
    if not isinstance(value, list):
        raise ValueError(f"a list of numbers is needed, not {shown(value)!r}")
    return tuple(Fraction(read_number(slope)) for slope in value)


def _sample_prelu(rng: np.random.Generator, elements: int) -> tuple[PRelu, None]:
    count, shift = (1, elements)[int(rng.random() < 0.6)], int(rng.integers(0, 6))
    tops = rng.integers(-(1 << shift) - 2, (1 << shift) + 3, count)
    return PRelu(tuple(Fraction(int(top), 1 << shift) for top in tops)), None


PRELU = activation(
    Kind(
        op=PRelu,
        keeps_scale=True,
        checks={"attributes": _prelu_faults, "formats": _no_zero_point},
        widest=lambda op, reach: _sloped_widest(op.slopes, reach),
        slope=lambda op, before, after: np.where(before < 0, np.array(op.slopes, dtype=object).astype(np.float64), 1.0),
        attributes=lambda op: {"slopes": [str(slope) for slope in op.slopes]},
        readers={"slopes": _read_slopes},
        said=lambda op: f"prelu {', '.join(map(str, op.slopes[:4]))}{', …' if len(op.slopes) > 4 else ''}",
        in_codes=lambda op, fmt, bits: None if fmt.zero else PRelu(tuple(_slope_in_codes(s, bits) for s in op.slopes)),
        some=lambda op, kept: (
            op if len(op.slopes) == 1 else PRelu(tuple(np.array(op.slopes, dtype=object)[kept].tolist()))
        ),
        sample=_sample_prelu,
    ),
    lambda op, x: _sloped_codes(op.slopes, x),
    reals=lambda op, x: _sloped_reals(op.slopes, x),
    turns=lambda op: (-1, 0),  # a negative slope turns upwards there
)


# Clip ------------------------------------------------------------------------------------------------------------------


def _bounded(op: Clip, x: np.ndarray) -> np.ndarray:
    x = x if op.low is None else np.maximum(x, op.low)
    return x if op.high is None else np.minimum(x, op.high)


def _bound_faults(op: Clip, operands: Operands, own: Operand) -> list[Fault]:
    codes = isinstance(own.type.format, Fixed)
    name = "code (an integer)" if codes else "finite number"
    legal = is_code if codes else is_real
    why: list[Fault] = [f"bound {shown(b)} is no {name}" for b in (op.low, op.high) if not (b is None or legal(b))]
    if not why and op.low is not None and op.high is not None and op.low > op.high:
        why.append(f"low {op.low} is greater than high {op.high}")
    return why


def _moved(op: Clip, move: Callable[[Number], int]) -> Clip:
    return Clip(*(None if end is None else move(end) for end in (op.low, op.high)))


def _nearest(value: Number, step: Fraction | int) -> int:
    """Return how many steps *value* has, to the nearest, halves up."""
    return math.floor(Fraction(value) / step + Fraction(1, 2))


def _sample_clip(rng: np.random.Generator, elements: int) -> tuple[Clip, None]:
    low, high = sorted(int(v) for v in rng.integers(-300, 600, 2))
    return Clip(low if rng.random() < 0.7 else None, high if rng.random() < 0.7 else None), None


CLIP = activation(
    Kind(
        op=Clip,
        keeps_scale=True,
        checks={"attributes": _bound_faults},
        widest=lambda op, reach: max(reach, *(abs(end) for end in (op.low, op.high) if end is not None), 0),
        attributes=lambda op: {"low": json_number(op.low), "high": json_number(op.high)},
        readers={"low": read_bound, "high": read_bound},
        optional=frozenset({"low", "high"}),
        said=lambda op: f"clip {op.low} … {op.high}",
        in_codes=lambda op, fmt, bits: _moved(op, lambda end: _nearest(end, fmt.scale) + fmt.zero),
        coarser=lambda op, shift: _moved(op, lambda end: _nearest(end, 1 << shift)),
        sample=_sample_clip,
    ),
    _bounded,
)

# ThresholdedRelu -------------------------------------------------------------------------------------------------------


def _above_threshold(op: ThresholdedRelu, x: np.ndarray) -> np.ndarray:
    return np.where(x > op.threshold, x, x * 0)


def _threshold_faults(op: ThresholdedRelu, operands: Operands, own: Operand) -> list[Fault]:
    codes = isinstance(own.type.format, Fixed)
    legal, name = (is_code, "code (an integer)") if codes else (is_real, "finite number")
    return [] if legal(op.threshold) else [f"threshold {shown(op.threshold)} is no {name}"]


def _sample_threshold(rng: np.random.Generator, elements: int) -> tuple[ThresholdedRelu, None]:
    return ThresholdedRelu(int(rng.integers(-60, 200))), None


THRESHOLDED_RELU = activation(
    Kind(
        op=ThresholdedRelu,
        keeps_scale=True,
        checks={"attributes": _threshold_faults, "formats": _no_zero_point},
        widest=lambda op, reach: max(reach, abs(op.threshold)),
        slope=lambda op, before, after: (before > op.threshold).astype(np.float64),
        attributes=lambda op: {"threshold": json_number(op.threshold)},
        readers={"threshold": read_number},
        said=lambda op: f"relu above {op.threshold}",
        # x > t is code > floor(t / scale), which is the same
        in_codes=lambda op, fmt, bits: (
            None if fmt.zero else ThresholdedRelu(math.floor(Fraction(op.threshold) / fmt.scale))
        ),
        coarser=lambda op, shift: ThresholdedRelu(op.threshold >> shift),
        sample=_sample_threshold,
    ),
    _above_threshold,
    turns=lambda op: (op.threshold, op.threshold + 1),
)


# HardSwish -------------------------------------------------------------------------------------------------------------


def _gated(op: HardSwish, x: np.ndarray) -> np.ndarray:
    found: np.ndarray = x * np.minimum(np.maximum(x + op.offset, op.low), op.high)
    return found


def _gate_faults(op: HardSwish, operands: Operands, own: Operand) -> list[Fault]:
    codes = isinstance(own.type.format, Fixed)
    legal, name = (is_code, "code (an integer)") if codes else (is_real, "finite number")
    values = (("offset", op.offset), ("low", op.low), ("high", op.high))
    why: list[Fault] = [f"{title} {shown(value)} is no {name}" for title, value in values if not legal(value)]
    if not why and op.low > op.high:
        why.append(f"low {op.low} is greater than high {op.high}")
    return why


def _gate_formats(op: HardSwish, operands: Operands, own: Operand) -> list[Fault]:
    if not isinstance(own.type.format, Fixed):
        return []
    why = _no_zero_point(op, operands, own)
    if own.fixed.scale != operands[0].fixed.scale ** 2 or own.fixed.zero:
        why.append(f"its format is {own.fixed}, the scale of x · x is {operands[0].fixed.scale ** 2}, its zero point 0")
    return why


def _gate_widest(op: HardSwish, reach: int) -> int:
    return max(reach, 1) * max(reach + abs(op.offset), abs(op.low), abs(op.high))


def _gate_turns(op: HardSwish) -> tuple[int, ...]:
    """Return where one piece meets the next, and the two codes beside the vertex of the parabola."""
    vertex = -op.offset // 2
    return op.low - op.offset, vertex, vertex + 1, op.high - op.offset, 0


def _gate_slope(op: HardSwish, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    gate = before + op.offset
    inside = (gate > op.low) & (gate < op.high)
    slope: np.ndarray = np.clip(gate, op.low, op.high) + inside * before
    return slope


def _sample_gate(rng: np.random.Generator, elements: int) -> tuple[HardSwish, Fixed | None]:
    low, high = sorted(int(v) for v in rng.integers(-20, 90, 2))
    return HardSwish(int(rng.integers(-40, 60)), 0 if rng.random() < 0.5 else low, max(high, 0)), None


HARD_SWISH = activation(
    Kind(
        op=HardSwish,
        checks={"attributes": _gate_faults, "formats": _gate_formats},
        widest=_gate_widest,
        slope=_gate_slope,
        attributes=lambda op: {name: json_number(getattr(op, name)) for name in ("offset", "low", "high")},
        readers=dict.fromkeys(("offset", "low", "high"), read_number),
        said=lambda op: f"hard swish: x · clip(x + {op.offset}, {op.low}, {op.high})",
        result_scale=lambda op, fmt: fmt.scale**2,
        in_codes=lambda op, fmt, bits: (
            None if fmt.zero else HardSwish(*(_nearest(v, fmt.scale) for v in (op.offset, op.low, op.high)))
        ),
        coarser=None,
        sample=_sample_gate,
    ),
    _gated,
    turns=_gate_turns,
)

KINDS = (RELU, LEAKY_RELU, PRELU, CLIP, THRESHOLDED_RELU, HARD_SWISH)
