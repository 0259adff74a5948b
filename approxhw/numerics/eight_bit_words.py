"""8-bit codes beside words of a Graph: what each code decodes to, and the words at which each code begins."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from approxhw.numerics.eight_bit.codes import EightBit, power_above

from .formats import Fixed


@functools.lru_cache(1024)
def decoded(code: EightBit, maximum: float, target: Fixed) -> tuple[int, ...]:
    """Return the word of format *target* that each of the 256 codes stands for, where the block's maximum is *maximum*.

    The table's float32 times the float32 maximum, rounded to float32, then once to a whole number of steps: to nearest even.
    """
    with np.errstate(under="ignore"):
        products = code.tables.values * np.float32(maximum)
    return tuple(round(Fraction(float(value)) / target.scale) + target.zero for value in products)


def starts(code: EightBit, maximum: float, source: Fixed, low: int, high: int) -> tuple[list[int], list[int]]:
    """Return the codes that words *low* … *high* of format *source* have, by ascending value, and where all but the first begin.

    The code of a word is the nearest one of its exact real value over the maximum, with the ties of ``docs/eight-bit.md``.
    """
    step, zero = Fraction(maximum) / source.scale, source.zero
    codes = code.tables.codes.tolist()
    reached = [math.ceil(edge * step) if upper else math.floor(edge * step) + 1 for edge, upper in code.tables.exact]
    above = [(zero + steps, number) for steps, number in zip(reached, codes[1:], strict=True)]
    # below zero a code ends where it begins above it: the next smaller magnitude begins one word later
    below = [(zero - steps + 1, number | 128 if number else 0) for steps, number in zip(reached, codes)]
    edges = [*reversed(below), *above]
    current = codes[-1] | 128
    found_codes: list[int] = []
    found_starts: list[int] = []
    for word, number in edges:
        if word <= low:
            current = number
        elif word <= high:
            if not found_starts or found_starts[-1] != word:
                found_starts.append(word)
                found_codes.append(number)
            else:
                found_codes[-1] = number
    return [current, *found_codes], found_starts


def words_to_codes(code: EightBit, maxima: Sequence[float], source: Fixed, words: np.ndarray) -> np.ndarray:
    """Return the codes (int64) of *words* (rows × elements, integers of format *source*); block after block of the elements."""
    found = np.empty(words.shape, dtype=np.int64)
    for part, maximum in _blocks(code, maxima, words.shape[1]):
        some = words[:, part]
        if not some.size:
            continue
        codes, begins = starts(code, maximum, source, int(some.min()), int(some.max()))
        borders = np.array(begins, dtype=object if some.dtype == object else np.int64)
        found[:, part] = np.array(codes)[np.searchsorted(borders, some, side="right")]
    return found


def codes_to_words(code: EightBit, maxima: Sequence[float], target: Fixed, codes: np.ndarray) -> np.ndarray:
    """Return the words (int64, or object beyond 62 bits) of *codes* (rows × elements, or elements alone)."""
    parts = []
    for part, maximum in _blocks(code, maxima, codes.shape[-1]):
        table = decoded(code, maximum, target)
        wide = max(map(abs, table)) >= 1 << 62
        parts.append(np.array(table, dtype=object if wide else np.int64)[codes[..., part]])
    return np.concatenate(parts, axis=-1)


def reals_to_codes(code: EightBit, maxima: Sequence[float], values: np.ndarray) -> np.ndarray:
    """Return the codes (int64) of real *values* (rows × elements), rounded to float32 first; what exceeds a maximum saturates."""
    found = np.empty(values.shape, dtype=np.int64)
    table = code.tables
    with np.errstate(over="ignore"):
        single = values.astype(np.float32).astype(np.float64)
    for part, maximum in _blocks(code, maxima, values.shape[1]):
        some = single[:, part]
        codes = table.codes[np.searchsorted(table.borders, np.abs(some) / float(np.float32(maximum)), side="right")]
        found[:, part] = codes.astype(np.int64) | np.where((some < 0) & (codes != 0), 128, 0)
    return found


def codes_to_reals(code: EightBit, maxima: Sequence[float], codes: np.ndarray) -> np.ndarray:
    """Return the values (float64 that are float32) of *codes* (rows × elements, or elements alone)."""
    parts = []
    with np.errstate(under="ignore"):
        for part, maximum in _blocks(code, maxima, codes.shape[-1]):
            parts.append((code.tables.values * np.float32(maximum))[codes[..., part]])
    return np.concatenate(parts, axis=-1).astype(np.float64)


def calibrated(code: EightBit, magnitudes: np.ndarray) -> tuple[float, ...]:
    """Return the maxima of a value whose elements reach *magnitudes* (flat, ≥ 0): of a block that is always 0, 1."""
    if code.maximum == "fixed":
        return (1.0,)
    largest = [float(np.max(magnitudes[part])) for part, _ in _blocks(code, None, len(magnitudes))]
    single = np.array([value if value > 0 else 1.0 for value in largest], dtype=np.float32)
    return tuple((power_above(single) if code.maximum == "pow2" else single).tolist())


def _blocks(code: EightBit, maxima: Sequence[float] | None, elements: int) -> list[tuple[slice, float]]:
    width = code.block or elements
    count = -(-elements // width)
    return [
        (slice(i * width, min((i + 1) * width, elements)), 1.0 if maxima is None else maxima[i]) for i in range(count)
    ]
