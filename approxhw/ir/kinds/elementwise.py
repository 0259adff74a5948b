"""Activations on the scale of the sums: ``Relu``, ``LeakyRelu`` and ``Clip``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from approxhw.common.errors import shown
from approxhw.numerics.formats import MAXIMUM_BITS, Fixed

from .attributes import CodeOrReal, Number, json_number, read_bound, read_number
from .kind import Fault, Kind, Operand, Operands, activation, is_code, is_real


@dataclass(frozen=True)
class Relu:
    """max(x, 0)."""


@dataclass(frozen=True)
class LeakyRelu:
    """x where x ≥ 0, else alpha · x; on codes floor(alpha · x). ``alpha``: an exact fraction, ≥ 0."""

    alpha: Fraction


@dataclass(frozen=True)
class Clip:
    """min(max(x, low), high); a bound may be None."""

    low: CodeOrReal | None = None
    high: CodeOrReal | None = None


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


# LeakyRelu -------------------------------------------------------------------------------------------------------------


def _leaking_codes(op: LeakyRelu, x: np.ndarray) -> np.ndarray:
    if x.dtype == np.float64:
        leak = np.floor(x * float(op.alpha))
    else:
        leak = (x * op.alpha.numerator) >> (op.alpha.denominator.bit_length() - 1)
    return np.where(x < 0, leak, x)


def _leaking_reals(op: LeakyRelu, x: np.ndarray) -> np.ndarray:
    return np.where(x < 0, x * (op.alpha if x.dtype == object else float(op.alpha)), x)


def _alpha_faults(op: LeakyRelu, operands: Operands, own: Operand) -> list[Fault]:
    alpha = op.alpha
    if (
        not isinstance(alpha, Fraction | int)
        or alpha < 0
        or not (is_code(alpha.numerator) and is_code(alpha.denominator))
    ):
        return [f"alpha {shown(alpha)} is no fraction of at least 0 and at most {MAXIMUM_BITS} bits"]
    if isinstance(own.type.format, Fixed) and alpha.denominator & (alpha.denominator - 1):
        return [
            (f"alpha {shown(alpha)} of codes is no multiple of a power of two", "quantize-weights rounds it to one")
        ]
    return []


def _no_zero_point(op: LeakyRelu, operands: Operands, own: Operand) -> list[Fault]:
    return [f"it reads codes of zero point {own.fixed.zero}, only 0 is allowed there"] if own.fixed.zero else []


def _alpha_in_codes(op: LeakyRelu, fmt: Fixed, bits: int) -> LeakyRelu | None:
    """Round alpha as a weight is: to the finest multiple of a power of two that *bits* bits hold, halves up."""
    if fmt.zero:
        return None
    alpha, top = Fraction(op.alpha), (1 << (bits - 1)) - 1
    if not alpha:
        return op
    fraction = bits + alpha.denominator.bit_length() - alpha.numerator.bit_length()
    while (code := math.floor(alpha * Fraction(2) ** fraction + Fraction(1, 2))) > top:
        fraction -= 1
    return LeakyRelu(code / Fraction(2) ** fraction)


def _sample_leak(rng: np.random.Generator, elements: int) -> tuple[LeakyRelu, None]:
    shift = int(rng.integers(0, 9))
    top = 1 if rng.random() < 0.5 else int(rng.integers(0, (1 << shift) + 2))
    return LeakyRelu(Fraction(top, 1 << shift)), None


LEAKY_RELU = activation(
    Kind(
        op=LeakyRelu,
        keeps_scale=True,
        checks={"attributes": _alpha_faults, "formats": _no_zero_point},
        widest=lambda op, reach: max(1, op.alpha.numerator) * reach,
        slope=lambda op, before, after: np.where(before < 0, float(op.alpha), 1.0),
        attributes=lambda op: {"alpha": str(op.alpha)},
        readers={"alpha": lambda value, fmt: Fraction(read_number(value))},
        said=lambda op: f"leaky relu {op.alpha}",
        in_codes=_alpha_in_codes,
        sample=_sample_leak,
    ),
    _leaking_codes,
    reals=_leaking_reals,
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

KINDS = (RELU, LEAKY_RELU, CLIP)
