"""The constants that a column of an integer engine ends its sums with, and how zero points become such constants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from approxhw.common.errors import OptionError, Problem, shown
from approxhw.numerics.mac.integer_mac import IntegerMac, patterns

from .engine import IntegerArray

_SIGNED = ("bias", "coefficient", "zero", "low", "high")


@dataclass(frozen=True, eq=False)  # arrays have no one truth value
class ColumnConstants:
    """One of each for every column of B: whole numbers, N of each.

    A result is clip(round_half_even((Σ T[w, x] + bias + coefficient · S) · multiplier / 2^shift) + zero, low, high), S being
    the row sums of the engine's ``variate``, and goes through the activation unit of number ``unit``, 0 for none; an engine of
    sums leaves off what is behind the first bracket.
    """

    bias: np.ndarray
    coefficient: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray
    zero: np.ndarray
    low: np.ndarray
    high: np.ndarray
    unit: np.ndarray

    def total(self, sums: np.ndarray, row_sums: np.ndarray) -> np.ndarray:
        """Return sums (M × N) + bias + coefficient · S; *row_sums*: S, M. int64."""
        found: np.ndarray = sums + self.bias + row_sums[:, None] * self.coefficient
        return found


def column_constants(
    columns: int,
    *,
    bias: np.ndarray | int = 0,
    coefficient: np.ndarray | int = 0,
    multiplier: np.ndarray | int = 1 << 30,
    shift: np.ndarray | int = 30,
    zero: np.ndarray | int = 0,
    low: np.ndarray | int = -128,
    high: np.ndarray | int = 127,
    unit: np.ndarray | int = 0,
) -> ColumnConstants:
    """Return constants for *columns* columns, each one number for all of them or an array of one a column."""
    given = (bias, coefficient, multiplier, shift, zero, low, high, unit)
    return ColumnConstants(*(np.broadcast_to(np.asarray(each, np.int64), columns).copy() for each in given))


def check_constants(engine: IntegerArray, constants: ColumnConstants, columns: int) -> None:
    """Raise :class:`OptionError` with every constant that the ports of *engine* cannot carry to *columns* columns."""
    problems = []
    for name, bits in engine.fields().items():
        values = getattr(constants, name)
        least = -(1 << (bits - 1)) if name in _SIGNED else 0
        most = least + (1 << bits) - 1
        if values.shape != (columns,) or values.dtype.kind not in "iu":
            why = f"are {values.dtype} of shape {shown(list(values.shape))}, not a whole number for each of {columns} columns"
            problems.append(Problem(name, why))
        elif int(values.min()) < least or int(values.max()) > most:
            why = f"{int(values.min())} to {int(values.max())} are not from {least} to {most}"
            problems.append(Problem(name, why, "prove the widths of the layer first" if name == "bias" else ""))
    if not engine.variate and np.any(constants.coefficient):
        why = "is not 0, and the engine sums no rows"
        problems.append(Problem("coefficient", why, "give the engine variate=8, say"))
    known = len(engine.units) if engine.result == "codes" else 0
    wrong = constants.unit[(constants.unit < 0) | (constants.unit > known)]
    if wrong.size:
        there = f"{len(engine.units)} units" if engine.result == "codes" else "ends that make no codes"
        why = f"{int(wrong[0])} is the number of a unit, and the engine has {there}"
        problems.append(Problem("unit", why, "give the engine units, and result='codes'"))
    if not problems and engine.result == "codes" and (constants.low > constants.high).any():
        problems.append(Problem("low", "is above high"))
    if problems:
        raise OptionError("constants of columns", problems)


def zero_point_constants(
    mac: IntegerMac, weights: np.ndarray, x_type: np.dtype[np.integer], x_zero: int, weight_zero: np.ndarray | int
) -> tuple[np.ndarray, np.ndarray]:
    """Return bias and coefficient (int64, N each) that turn Σ T[w, x] into Σ (x − x_zero)(w − weight_zero) by the operator.

    *weights*: K × N codes, int8 or uint8; *x_type*: that of the activations' codes. The coefficient belongs to the row sums
    of whole x (``variate`` = all bits of x); where it is 0 for all columns no such sums are needed.
    """
    moved_w = patterns(weights[:0], mac.weight_bits, mac.weight_signed)[1]
    moved_x = patterns(np.zeros(0, x_type), mac.x_bits, mac.x_signed)[1]
    z_x = int(x_zero) + moved_x
    z_w = np.broadcast_to(np.asarray(weight_zero, np.int64) + moved_w, weights.shape[1:])
    numbers = weights.astype(np.int64).sum(axis=0) + moved_w * len(weights)
    return len(weights) * z_x * z_w - z_x * numbers, -z_w
