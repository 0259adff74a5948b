"""Attributes in the text form: numbers as JSON knows them, and readers of JSON values that refuse anything else."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import numpy as np

from approxhw.common.errors import shown
from approxhw.numerics.formats import Format

Number = int | float | Fraction
"""A code, or a real number."""

CodeOrReal = Any
"""A number on the scale of what a Node reads: a code (``int``), or a :data:`Number`. Only the Node's format says which."""

_FRACTION = re.compile(r"-?\d{1,4000}(?:/\d{1,4000})?\Z")


def json_number(value: Number | str | None) -> int | float | str | None:
    """Return a number as JSON knows it: int, float, or a fraction as text."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Fraction):
        return str(value)
    return float(value) if isinstance(value, float | np.floating) else int(value)


def integer(value: object, fmt: Format | None = None) -> int:
    """Read an integer."""
    if type(value) is not int:
        raise ValueError(f"an integer is needed, not {shown(value)!r}")
    return value


def read_number(value: object, fmt: Format | None = None) -> Number:
    """Return an int, a float, or the fraction that a text spells."""
    if isinstance(value, str):
        if not _FRACTION.match(value):
            raise ValueError(f"no fraction: {value[:40]!r}")
        return Fraction(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"a number is needed, not {shown(value)!r}")
    return value


def read_bound(value: object, fmt: Format) -> Number | None:
    """Read a number, or none."""
    return None if value is None else read_number(value)


def integers(value: object, fmt: Format) -> tuple[int, ...]:
    """Read a list of integers."""
    if not isinstance(value, list):
        raise ValueError(f"a list of integers is needed, not {shown(value)!r}")
    return tuple(integer(v) for v in value)


def reals(value: object, fmt: Format) -> tuple[float, ...]:
    """Read a list of numbers."""
    if not isinstance(value, list) or not all(type(v) in (int, float) for v in value):
        raise ValueError("a list of numbers is needed")
    return tuple(float(v) for v in value)


def texts(value: object, fmt: Format | None = None) -> tuple[str, ...]:
    """Read a list of texts."""
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise ValueError("a list of texts is needed")
    return tuple(value)
