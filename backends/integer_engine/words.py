"""The words that go through an integer engine for a matrix product: weights with constants, activations, results."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from approxhw.backends.systolic.schedule import Schedule
from approxhw.common.errors import OptionError, Problem, shown
from approxhw.ir.kinds.requantize import table_of_unit
from approxhw.numerics.exact.fixed_point import requantized
from approxhw.numerics.mac.integer_mac import IntegerMac
from approxhw.numerics.multipliers.tables import operand_values

from .constants import ColumnConstants, check_constants, column_constants
from .engine import IntegerArray


@dataclass(frozen=True)
class Padding:
    """Bit patterns of the rows beyond K: a weight and an x, and their ``product``, 0 wherever the operator has a 0 at all."""

    weight: int
    x: int
    product: int


def padding_of(mac: IntegerMac, products: np.ndarray) -> Padding:
    """Return what fills the rows beyond K of an operator with these *products* (by bit patterns).

    0 and 0 where their product is 0, else a pair whose product is; where there is none, the constant that the rows add is
    taken off a column's bias. Raises :class:`OptionError` where an adder that is not exact leaves that open.
    """
    if not products[0, 0]:
        return Padding(0, 0, 0)
    nothing = np.argwhere(products.T == 0)  # an x of 0 where possible: it adds nothing to row sums
    if len(nothing):
        return Padding(int(nothing[0, 1]), int(nothing[0, 0]), 0)
    if mac.low_bits:
        why = f"no product of {mac.operator} is 0, and {mac.adder} cannot take a constant off again"
        raise OptionError("integer engine", [Problem("adder", why, "take the exact adder, or a K that fills the rows")])
    return Padding(0, 0, int(products[0, 0]))


def integer_weight_words(
    engine: IntegerArray,
    schedule: Schedule,
    weights: np.ndarray,
    constants: ColumnConstants,
    padding: Padding | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the words of the stream of weights, and for each whether it ends a tile. *weights*: K × N bit patterns.

    Words: uint8, words x bytes, least significant byte first; of each tile the last column comes first. ``padding``: of the
    rows beyond K, 0 and 0 by default. Raises :class:`OptionError` with everything that does not fit.
    """
    filling = padding or Padding(0, 0, 0)
    mac = engine.mac
    _check_patterns(weights, (schedule.k, schedule.n), mac.weight_bits, "weights")
    check_constants(engine, constants, schedule.n)
    wide = -(-schedule.n // engine.columns) * engine.columns
    ended = _with_padding(engine, schedule, constants, filling, wide)
    check_constants(engine, ended, wide)
    held = np.full((schedule.k + _missing_rows(engine, schedule), wide), filling.weight, np.uint8)
    held[: schedule.k, : schedule.n] = weights
    ends_bits = np.concatenate([_bits(getattr(ended, name), bits) for name, bits in engine.fields().items()], axis=-1)
    words = []
    for tile in schedule.tiles:
        columns = slice(tile.n, tile.n + engine.columns)
        codes = _bits(held[tile.k : tile.k + engine.rows, columns].T, mac.weight_bits).reshape(engine.columns, -1)
        words.append(np.concatenate([codes, ends_bits[columns]], axis=1)[::-1])
    ends = np.zeros((len(schedule.tiles), engine.columns), dtype=bool)
    ends[:, -1] = True
    return np.packbits(np.concatenate(words), axis=1, bitorder="little"), ends.reshape(-1)


def integer_activation_words(
    engine: IntegerArray, schedule: Schedule, x: np.ndarray, padding: Padding | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the words of the stream of activations, their tlast and their tuser. *x*: M × K bit patterns."""
    filling = padding or Padding(0, 0, 0)
    _check_patterns(x, (schedule.m, schedule.k), engine.mac.x_bits, "x")
    held = np.full((schedule.m, schedule.k + _missing_rows(engine, schedule)), filling.x, np.uint8)
    held[:, : schedule.k] = x
    words, ends, user = [], [], []
    for tile in schedule.tiles:
        block = held[tile.m : tile.m + tile.count, tile.k : tile.k + engine.rows]
        words.append(_bits(block, engine.mac.x_bits).reshape(tile.count, -1))
        ends.append(np.arange(tile.count) == tile.count - 1)
        user.append(np.full(tile.count, tile.first | tile.last << 1))
    octets = np.packbits(np.concatenate(words), axis=1, bitorder="little")
    return octets, np.concatenate(ends), np.concatenate(user)


def integer_results(
    engine: IntegerArray,
    x: np.ndarray,
    weights: np.ndarray,
    constants: ColumnConstants,
    products: np.ndarray,
    *,
    threads: int = 1,
) -> np.ndarray:
    """Return what must leave the engine (M × N, int64): codes, or sums; *x*: M × K, *weights*: K × N bit patterns.

    *products*: the table of the operator that is chosen, by bit patterns. Raises :class:`OptionError` where a sum or a row sum
    may not fit, and ``ValueError`` where one does not.
    """
    from approxhw.numerics.mac.kernels.integer_gemm import matmul_integer

    mac = engine.mac
    depth = weights.shape[0]
    _check_patterns(weights, weights.shape, mac.weight_bits, "weights")
    _check_patterns(x, (len(x), depth), mac.x_bits, "x")
    if engine.variate and depth << engine.variate >= 1 << engine.variate_bits:
        why = f"{engine.variate_bits} bits may not hold {depth} times {engine.variate} bits of x"
        raise OptionError("integer engine", [Problem("variate_bits", why, "give the row sums more bits")])
    left = _as_numbers(x, mac.x_bits, mac.x_signed)
    right = _as_numbers(weights, mac.weight_bits, mac.weight_signed)
    sums = matmul_integer(np.ascontiguousarray(left.T), right, mac, products, threads=threads).astype(np.int64)
    reach = 1 << (mac.accumulator_bits - 1)
    if sums.size and (int(sums.min()) < -reach or int(sums.max()) >= reach):
        raise ValueError(f"a sum leaves {mac.accumulator_bits} bits")
    total = constants.total(sums, row_sums(engine, x))
    if engine.result == "sums":
        if total.size and (int(total.min()) < -(1 << 31) or int(total.max()) >= 1 << 31):
            raise ValueError("a sum with its bias leaves 32 bits")
        return total
    c = constants
    codes = requantized(total, 0, c.multiplier, c.shift, c.zero, c.low, c.high)
    for number, unit in enumerate(engine.units, 1):
        through = c.unit == number
        if through.any():
            codes[:, through] = np.array(table_of_unit(unit), dtype=np.int64)[codes[:, through] & 255]
    return codes


def row_sums(engine: IntegerArray, x: np.ndarray) -> np.ndarray:
    """Return S of each row of *x* (M × K bit patterns): the sum of its ``variate`` low bits, of numbers where those are all."""
    if not engine.variate:
        return np.zeros(len(x), np.int64)
    if engine.variate == engine.mac.x_bits:
        whole: np.ndarray = operand_values(engine.mac.x_bits, engine.mac.x_signed)[x].sum(axis=1)
        return whole
    found: np.ndarray = (x & ((1 << engine.variate) - 1)).sum(axis=1, dtype=np.int64)
    return found


def integer_result_words(
    engine: IntegerArray,
    schedule: Schedule,
    x: np.ndarray,
    weights: np.ndarray,
    constants: ColumnConstants,
    products: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the words that must leave the engine, and their tlast: those of :func:`integer_results`.

    Columns beyond N have the padding's weight and constants of 0.
    """
    beyond = -schedule.n % engine.columns
    if engine.result == "codes":
        results = np.pad(integer_results(engine, x, weights, constants, products), ((0, 0), (0, beyond)))
    else:
        filling = padding_of(engine.mac, products)
        wide = np.pad(weights, ((0, 0), (0, beyond)), constant_values=filling.weight)
        results = integer_results(engine, x, wide, _widened(constants, beyond), products)
    words, ends = [], []
    for tile in schedule.leaving:
        words.append(results[tile.m : tile.m + tile.count, tile.n : tile.n + engine.columns])
        ends.append(np.arange(tile.count) == tile.count - 1)
    codes = np.concatenate(words) & ((1 << engine.result_bits) - 1)
    octets = codes.astype("<u1" if engine.result_bits == 8 else "<u4").view(np.uint8)
    return octets, np.concatenate(ends)


def gather_integer_results(engine: IntegerArray, schedule: Schedule, words: np.ndarray) -> np.ndarray:
    """Return the bit patterns (M × N, uint8 or uint32) of the results in the *words* that left the engine."""
    kind = np.dtype("<u1" if engine.result_bits == 8 else "<u4")
    values = np.ascontiguousarray(words).reshape(-1).view(kind).reshape(-1, engine.columns)
    found = np.zeros((schedule.m, schedule.n), kind)
    start = 0
    for tile in schedule.leaving:
        block = values[start : start + tile.count, : tile.width]
        found[tile.m : tile.m + tile.count, tile.n : tile.n + tile.width] = block
        start += tile.count
    return found


def integer_clocks(engine: IntegerArray, schedule: Schedule) -> int:
    """Return the fewest clocks that *schedule* takes: weights, vectors, waits for sums and banks, the last results' way out."""
    out = engine.latency + engine.columns - 1 + engine.end_latency  # from a vector to the end of its tile
    free = [0] * engine.banks
    clock = first_vector = 0
    for number, tile in enumerate(schedule.tiles):
        start = max(clock, free[number % engine.banks]) + engine.columns
        first_vector = start if tile.first else max(start, first_vector + engine.latency + 1)
        clock = first_vector + tile.count
        free[number % engine.banks] = clock + out
    return clock + out


def _missing_rows(engine: IntegerArray, schedule: Schedule) -> int:
    return -schedule.k % engine.rows


def _widened(constants: ColumnConstants, beyond: int) -> ColumnConstants:
    """Return *constants* with zeros for columns *beyond* N."""
    nothing = column_constants(beyond, multiplier=0, shift=0, low=0, high=0)
    return ColumnConstants(
        *(np.concatenate([getattr(constants, name), getattr(nothing, name)]) for name in vars(constants))
    )


def _with_padding(
    engine: IntegerArray, schedule: Schedule, constants: ColumnConstants, filling: Padding, wide: int
) -> ColumnConstants:
    """Return *constants* for all columns, with what the rows beyond K add taken off the bias."""
    found = _widened(constants, wide - schedule.n)
    each = int(row_sums(engine, np.array([[filling.x]], np.uint8))[0])
    added = _missing_rows(engine, schedule) * (filling.product + each * found.coefficient)
    return replace(found, bias=found.bias - added)


def _bits(values: np.ndarray, width: int) -> np.ndarray:
    """Return the lowest *width* bits of each value, lowest first, along a new last axis; uint8."""
    found: np.ndarray = (values.astype(np.int64)[..., None] >> np.arange(width)) & 1
    return found.astype(np.uint8)


def _as_numbers(codes: np.ndarray, bits: int, signed: bool) -> np.ndarray:
    """Return bit patterns as int8 or uint8 codes of the numbers that the operator reads."""
    return operand_values(bits, signed)[codes].astype(np.int8 if signed else np.uint8)


def _check_patterns(codes: np.ndarray, shape: tuple[int, ...], bits: int, what: str) -> None:
    if not isinstance(codes, np.ndarray) or codes.dtype != np.uint8:
        kind = codes.dtype if isinstance(codes, np.ndarray) else type(codes).__name__
        why, remedy = f"are {shown(str(kind))}, not uint8", "make bit patterns of codes first (patterns)"
    elif codes.shape != shape:
        why, remedy = f"have shape {shown(list(codes.shape))}, not {shown(list(shape))}", ""
    elif codes.size and int(codes.max()) >> bits:
        why, remedy = f"have more than {bits} bits", "make bit patterns of codes first (patterns)"
    else:
        return
    raise OptionError("schedule of a matrix product", [Problem(what, why, remedy)])
