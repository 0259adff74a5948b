"""Matrix products through chains of floating-point multiply-adds, bit for bit those of ``approxhw.numerics.mac.float_mac``."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from approxhw.numerics.mac.arithmetic import FloatMac
from approxhw.numerics.mac.float_mac import EMIN, Result

from . import fast, wide
from .codes import Rounded, move_exponents, of_codes, rounded, split

INF, NAN = 1, 2
"""Values of ``States.flags`` beside 0, as on the wires."""

Operands = tuple[np.ndarray, np.ndarray, np.ndarray]

_NARROWEST = 32  # columns below which the transposed product fills vectors better
_CHUNK = 1 << 16  # elements of a result that one call of the integer kernel carries: bounds its memory
_WORTH_A_THREAD = 1 << 18  # multiply-adds


@dataclass(frozen=True)
class States:
    """Sums on their way, as ``float_mac.State``, arrays of one shape: int32 each.

    ``sign``: 0 or 1. ``flags``: 0, :data:`INF` or :data:`NAN`; where it is not 0, ``exponent`` is ``EMIN``, ``significand`` 0
    (and a NaN's sign 0).
    """

    sign: np.ndarray
    exponent: np.ndarray
    significand: np.ndarray
    flags: np.ndarray


def start(shape: tuple[int, ...]) -> States:
    """Return states of *shape*, all +0."""
    zeros = np.zeros((3, *shape), np.int32)
    return States(zeros[0], np.full(shape, EMIN, np.int32), zeros[1], zeros[2])


def matmul(a: np.ndarray, b: np.ndarray, mac: FloatMac, *, result: Result = "float32", threads: int = 1) -> np.ndarray:
    """Return a · b, float32 M × N: each element one chain over all of K, ascending, from +0, rounded once at its end.

    *a*: M × K, *b*: K × N, read as float32 and rounded to *mac*'s format first. *result*: what the column's end rounds to;
    bf16 numbers come back as float32. The bits do not depend on *threads*. Raises ``ValueError`` where shapes do not fit.
    """
    return matmul_rounded(rounded(a, mac.format), rounded(b, mac.format), mac, result=result, threads=threads)


def matmul_rounded(
    a: Rounded, b: Rounded, mac: FloatMac, *, result: Result = "float32", threads: int = 1
) -> np.ndarray:
    """Return the same of operands that are rounded already: a weight met often is rounded once."""
    depth = _depth(a.numbers, b.numbers)
    rows, columns = a.numbers.shape[0], b.numbers.shape[1]
    if columns < _NARROWEST and columns < rows:
        return np.ascontiguousarray(matmul_rounded(_turned(b), _turned(a), mac, result=result, threads=threads).T)
    if rows * columns * depth == 0:
        return np.zeros((rows, columns), np.float32)
    products = np.empty((rows, columns), np.float32)
    bf16 = result == "bf16"
    if (moves := _moves(a, b, depth, mac)) is not None:
        x, y = _moved(a.numbers, moves[0]), _moved(b.numbers, moves[1])

        def part(at: slice) -> None:
            _fast(x[at], y, mac, sum(moves), bf16, products[at])
    else:
        left, right = _apart(a.numbers, mac), _apart(b.numbers, mac)

        def part(at: slice) -> None:
            _wide(_rows(left, at), right, mac, bf16, products[at])

    _share(part, rows, threads if rows * columns * depth > _WORTH_A_THREAD else 1)
    if a.specials is not None or b.specials is not None:
        seen = np.zeros(products.shape, np.uint8)
        wide.mark_specials(_kinds(a), _kinds(b), seen)
        wide.settle_specials(seen.reshape(-1), products.reshape(-1).view(np.int32))
    return products


def chain(a_codes: np.ndarray, b_codes: np.ndarray, mac: FloatMac, states: States | None = None) -> States:
    """Return the un-rounded states (M × N) after all of K; *states* (M × N) are where the chains go on, +0 by default.

    *a_codes*: M × K, *b_codes*: K × N, codes of *mac*'s format. A tile's states are the next tile's *states*.
    """
    a, b = of_codes(a_codes, mac.format), of_codes(b_codes, mac.format)
    _depth(a.numbers, b.numbers)
    shape = (a.numbers.shape[0], b.numbers.shape[1])
    sums, seen = _opened(states, shape)
    wide.advance(_apart(a.numbers, mac), _apart(b.numbers, mac), *_settings(mac), *sums)
    if a.specials is not None or b.specials is not None:
        wide.mark_specials(_kinds(a), _kinds(b), seen)
    return _closed(sums, seen)


def step(a_codes: np.ndarray, b_codes: np.ndarray, mac: FloatMac, states: States | None = None) -> States:
    """Return each state after one multiply-add with codes of its own; all arrays have one shape."""
    a, b = of_codes(a_codes, mac.format), of_codes(b_codes, mac.format)
    if a.numbers.shape != b.numbers.shape:
        raise ValueError(f"one step needs codes of one shape, not {a.numbers.shape} and {b.numbers.shape}")
    sums, seen = _opened(states, a.numbers.shape)
    left, right = (_flat(_apart(x.numbers, mac)) for x in (a, b))
    wide.advance_each(left, right, *_settings(mac), *_flat(sums))
    wide.mark_each(_kinds(a).reshape(-1), _kinds(b).reshape(-1), seen.reshape(-1))
    return _closed(sums, seen)


def finish(states: States, mac: FloatMac, *, result: Result = "float32") -> np.ndarray:
    """Return what the column's end makes of *states*: float32 of the same shape; bf16 numbers as float32."""
    words = np.empty(states.sign.shape, np.int32)
    sums, seen = _opened(states, states.sign.shape)
    wide.finish(*_flat(sums), mac.accumulator_bits, mac.headroom, result == "bf16", words.reshape(-1))
    wide.settle_specials(seen.reshape(-1), words.reshape(-1))
    return words.view(np.float32)


def shift_histogram(a: np.ndarray, b: np.ndarray, mac: FloatMac) -> np.ndarray:
    """Return how often each sum of a · b would need which shift to be normalised exactly: int64, W + 2 counts.

    Counts 0: a carry (right by one); 1 … W: left by 0 … W − 1; W + 1: the sum is zero. The chains run with *mac*'s own
    normalization; where NaN or infinity comes in, zeros do so in their place. All counts together are M · K · N.
    """
    x, y = rounded(a, mac.format), rounded(b, mac.format)
    _depth(x.numbers, y.numbers)
    counts = np.zeros(mac.accumulator_bits + 2, np.int64)
    wide.count_shifts(_apart(x.numbers, mac), _apart(y.numbers, mac), *_settings(mac), counts)
    return counts


def _depth(a: np.ndarray, b: np.ndarray) -> int:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise ValueError(f"a matrix product needs M × K and K × N, not {a.shape} and {b.shape}")
    return int(a.shape[1])


def _settings(mac: FloatMac) -> tuple[int, int, int, int, np.int32 | None, np.int32 | None]:
    k, further = mac.shifts or (-1, 0)
    reach, step = _as_words(mac, 0)
    return mac.code.product_bits, mac.accumulator_bits, k, further, reach, step


def _as_words(mac: FloatMac, place: int) -> tuple[np.int32 | None, np.int32 | None]:
    """Return how far below the other an addend is dropped, and what exponents are multiples of, *place* bits to the left."""
    reach, step = (None if each is None else np.int32(each << place) for each in (mac.reach, mac.exponent_step))
    return reach, step


def _turned(x: Rounded) -> Rounded:
    specials = None if x.specials is None else np.ascontiguousarray(x.specials.T)
    return Rounded(np.ascontiguousarray(x.numbers.T), x.low, x.high, specials)


def _moves(a: Rounded, b: Rounded, depth: int, mac: FloatMac) -> tuple[int, int] | None:
    """Return by how much to raise the exponents of a and b so that the fast form is exact; None where it cannot be.

    Whatever a chain holds is a multiple of 2^(least product exponent − (W − 1)), and below 2^(greatest + 2 + log2 K). The
    fast form needs all powers of two that it makes, another W − 1 below, to be normal float32 numbers. In multiples of a
    step exponents lie lower by up to a step, and what they weigh higher by one: room for both at either end; and both moves
    together are a multiple, too.
    """
    width, step = mac.accumulator_bits, mac.exponent_step
    if width > 23:
        return None
    if a.low > a.high or b.low > b.high:
        return 0, 0  # nothing but zeros
    least = 2 * width - 126 - (a.low + b.low) + 2 * mac.headroom
    most = 122 - math.ceil(math.log2(depth)) - (a.high + b.high) - 2 * mac.headroom
    if least > most:
        return None
    wanted = min(max(0, least), most)
    if step is not None:
        wanted += -wanted % step
        if wanted > most:
            return None
    first = min(max(wanted, -126 - a.low), 127 - a.high)
    second = wanted - first
    return (first, second) if -126 - b.low <= second <= 127 - b.high else None


def _moved(numbers: np.ndarray, by: int) -> np.ndarray:
    if by == 0:
        return numbers
    copy = numbers.copy()
    move_exponents(copy.reshape(-1).view(np.int32), by)
    return copy


def _apart(numbers: np.ndarray, mac: FloatMac) -> Operands:
    parts = np.empty((3, *numbers.shape), np.int32)
    words = np.ascontiguousarray(numbers).reshape(-1).view(np.int32)
    split(words, mac.code.fraction_bits, *(part.reshape(-1) for part in parts))
    return parts[0], parts[1], parts[2]


def _rows(parts: Operands, at: slice) -> Operands:
    return parts[0][at], parts[1][at], parts[2][at]


def _flat(parts: Operands) -> Operands:
    return parts[0].reshape(-1), parts[1].reshape(-1), parts[2].reshape(-1)


def _kinds(x: Rounded) -> np.ndarray:
    """Return ``specials``, also of an array of nothing but finite numbers."""
    if x.specials is not None:
        return x.specials
    return (np.uint8(4) * (x.numbers == 0) | np.uint8(8) * np.signbit(x.numbers)).astype(np.uint8)


def _fast(a: np.ndarray, b: np.ndarray, mac: FloatMac, moved: int, bf16: bool, products: np.ndarray) -> None:
    reach, step = _as_words(mac, 23)
    if mac.shifts is None:
        fast.exact_chains(a, b, mac.accumulator_bits, reach, step, moved, bf16, products)
    else:
        fast.approximate_chains(a, b, mac.accumulator_bits, *mac.shifts, reach, step, moved, bf16, products)


def _wide(a: Operands, b: Operands, mac: FloatMac, bf16: bool, products: np.ndarray) -> None:
    rows, columns = products.shape
    words = products.view(np.int32)
    several = max(1, _CHUNK // columns)
    for first in range(0, rows, several):
        at = slice(first, first + several)
        sums, _ = _opened(None, words[at].shape)
        wide.advance(_rows(a, at), b, *_settings(mac), *sums)
        wide.finish(*_flat(sums), mac.accumulator_bits, mac.headroom, bf16, words[at].reshape(-1))


def _opened(states: States | None, shape: tuple[int, ...]) -> tuple[Operands, np.ndarray]:
    """Return copies of the states as the integer kernel reads them, and what their flags say has been met."""
    if states is None:
        states = start(shape)
    arrays = (states.sign, states.exponent, states.significand, states.flags)
    if any(np.shape(each) != shape for each in arrays):
        raise ValueError(f"states of shape {shape} are needed, not {[np.shape(each) for each in arrays]}")
    sign, exponent, significand, flags = (np.array(each, np.int32, order="C") for each in arrays)
    infinite = np.where(sign == 0, wide.PLUS, wide.MINUS) * (flags & INF)
    seen = np.where(flags & NAN, wide.NOTHING, infinite).astype(np.uint8)
    return (-sign, exponent, significand), seen


def _closed(sums: Operands, seen: np.ndarray) -> States:
    nan = (seen & wide.NOTHING != 0) | (seen & 3 == 3)
    flags = np.where(nan, NAN, np.where(seen != 0, INF, 0)).astype(np.int32)
    special = flags != 0
    negative, exponent, significand = sums
    exponent[special], significand[special] = EMIN, 0
    sign = np.where(nan, 0, np.where(special, seen & wide.MINUS != 0, -negative)).astype(np.int32)
    return States(sign, exponent, significand, flags)


def _share(part: Callable[[slice], None], rows: int, threads: int) -> None:
    """Call *part* on all rows, in as many pieces at once as there are *threads*."""
    pieces = max(1, min(threads, rows))
    edges = [rows * piece // pieces for piece in range(pieces + 1)]
    slices = [slice(first, last) for first, last in pairwise(edges)]
    if pieces == 1:
        part(slices[0])
        return
    with ThreadPoolExecutor(pieces) as pool:
        list(pool.map(part, slices))
