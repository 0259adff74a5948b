"""Activation unit → cells: instances of the templates of ``rtl_templates/activation``, and tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from approxhw.numerics.functions.units import (
    ActivationUnit,
    Differences,
    Entries,
    Pieces,
    Ratios,
    core_values,
    level_index,
)

from .blocks import Bit, Cell, Dot, Whole, Word, inverted, width_of
from .tables import looked_up

Bits = tuple[Bit, ...]


def unit_cells(unit: ActivationUnit, x: Bits, prefix: str) -> tuple[list[Cell], Bits]:
    """Return what makes *unit* of the bits *x* of a code, lowest first, and the bits of the result; groups start with *prefix*.

    ``x``: all bits that the unit reads. Everything is worked out modulo 2^out_bits where it cannot be seen.
    """
    cells: list[Cell] = []
    fold = unit.fold
    if fold is None:
        u: Bits = (*x[:-1], inverted(x[-1])) if unit.signed else x
        value = _core(cells, unit.core, u, prefix)
        return cells, tuple(value.bit(i) for i in range(unit.out_bits))
    negative: Dot = (f"{prefix}fold_negative", 0)
    u = _outputs(f"{prefix}fold_u", unit.core_bits)
    how = (("IN", unit.bits, 32), ("INVERTED", int(fold.inverted), 32))
    cells.append(Whole("fold_code", f"{prefix}fold", (("x", x),), (("u", u), ("negative", (negative,))), how))
    value = _core(cells, unit.core, u, prefix)
    if fold.slope:
        lines = (fold.slope * np.arange(1 << unit.core_bits) + fold.offset) >> fold.shift
        slope, offset = _constant(fold.slope), _constant(fold.offset)
        base = _step(cells, f"{prefix}base", slope, u, offset, fold.shift, lines)
    else:
        base = _constant(fold.offset >> fold.shift)
    y = _outputs(f"{prefix}unfolded_y", unit.out_bits)
    v, start = _signed(value), _signed(base)
    most = 0 if fold.most is None else fold.most
    parameters = (
        ("A_BITS", len(v), 32),
        ("B_BITS", len(start), 32),
        ("OUT", unit.out_bits, 32),
        ("SUBTRACT", int(fold.subtract), 32),
        ("CLAMPED", int(fold.most is not None), 32),
        ("MOST", most % (2 << unit.out_bits), unit.out_bits + 1),
    )
    inputs = (("negative", (negative,)), ("v", v), ("base", start))
    cells.append(Whole("unfold_code", f"{prefix}unfolded", inputs, (("y", y),), parameters))
    return cells, y


def _core(cells: list[Cell], core: Entries | Differences | Pieces | Ratios, u: Bits, prefix: str) -> Word:
    """Add what makes *core* of the bits *u*, and return its word."""
    if isinstance(core, Entries):
        return looked_up(cells, f"{prefix}table", list(core.values), _unsigned(u))
    if isinstance(core, Differences):
        return _differences(cells, core, u, prefix)
    if isinstance(core, Pieces):
        columns = _pieces(cells, core.starts, [core.rows], u, prefix)[0]
        return _horner(cells, core.starts, core.rows, core.shifts, columns, u, f"{prefix}line")
    above, below = _pieces(cells, core.starts, [core.numerators, core.denominators], u, prefix)
    numerator, denominator = (
        _horner(cells, core.starts, rows, (0,) * (len(rows[0]) - 1), columns, u, f"{prefix}{name}")
        for rows, columns, name in (
            (core.numerators, above, "numerator"),
            (core.denominators, below, "denominator"),
        )
    )
    values = core_values(core, np.arange(1 << len(u)))
    group, most = f"{prefix}quotient", int(values.max()) - core.low
    quotient = _outputs(f"{group}_y", max(1, most.bit_length()))
    a, d = (tuple(word.bit(i) for i in range(max(1, width_of(0, word.high)))) for word in (numerator, denominator))
    parameters = (("A_BITS", len(a), 32), ("D_BITS", len(d), 32), ("OUT", len(quotient), 32))
    cells.append(Whole("floor_divide", group, (("a", a), ("d", d)), (("y", quotient),), parameters))
    word = Word(0, most, quotient)
    return _sum(cells, f"{prefix}moved", _constant(core.low), word, 0, values) if core.low else word


def _differences(cells: list[Cell], core: Differences, u: Bits, prefix: str) -> Word:
    """Add a coarse table and the differences that make it finer."""
    word = looked_up(cells, f"{prefix}coarse", list(core.coarse), _unsigned(u[len(u) - _log2(core.coarse) :]))
    values = np.array(core.coarse, dtype=np.int64)
    for number, level in enumerate(core.levels):
        known = u[len(u) - level.bits :]
        upper = _log2(level.differences) - level.fine
        index = (*known[: level.fine], *known[len(known) - upper :])
        finer = looked_up(cells, f"{prefix}finer{number}", list(level.differences), _unsigned(index))
        codes = np.arange(1 << level.bits) << (len(u) - level.bits)
        differences = np.array(level.differences, dtype=np.int64)[level_index(core, level, codes)]
        values = (np.repeat(values, len(codes) // len(values)) << level.low) + differences
        if finer.high < 1 << level.low:  # no carry: bits side by side
            low, high = int(values.min()), int(values.max())
            beside = (*(finer.bit(i) for i in range(level.low)), *_signed(word))
            word = Word(low, high, beside[: max(1, width_of(low, high))])
            continue
        word = _sum(cells, f"{prefix}sum{number}", word, finer, level.low, values)
    return word


def _log2(table: Sequence[int]) -> int:
    return len(table).bit_length() - 1


def _sum(cells: list[Cell], group: str, coarse: Word, finer: Word, shift: int, values: np.ndarray) -> Word:
    """Add coarse · 2^shift + finer, which makes *values*."""
    low, high = int(values.min()), int(values.max())
    a, b = _signed(coarse), tuple(finer.bit(i) for i in range(max(1, width_of(0, finer.high))))
    y = _outputs(f"{group}_y", max(1, width_of(low, high)))
    parameters = (("A_BITS", len(a), 32), ("B_BITS", len(b), 32), ("SHIFT", shift, 32), ("OUT", len(y), 32))
    cells.append(Whole("difference_sum", group, (("coarse", a), ("difference", b)), (("y", y),), parameters))
    return Word(low, high, y)


def _pieces(
    cells: list[Cell], starts: Sequence[int], tables: Sequence[Sequence[tuple[int, ...]]], u: Bits, prefix: str
) -> list[list[Word]]:
    """Add the choice of the piece; return the word of every coefficient of each of *tables*, the highest power first."""
    columns = [[[row[place] for row in rows] for place in range(len(rows[0]))] for rows in tables]
    if len(starts) == 1:
        return [[_constant(values[0]) for values in table] for table in columns]
    flat = [values for table in columns for values in table]
    widths = [len(_signed(Word(min(values), max(values), ()))) if len(set(values)) > 1 else 0 for values in flat]
    total, bits = sum(widths), len(u)
    places = [sum(widths[:i]) for i in range(len(flat))]
    packed = [
        sum(values[i] % (1 << width) << place for values, width, place in zip(flat, widths, places))
        for i in range(len(starts))
    ]
    group = f"{prefix}coefficients"
    word = _outputs(f"{group}_y", total)
    parameters = (
        ("IN", bits, 32),
        ("COUNT", len(starts), 32),
        ("WIDTH", total, 32),
        ("LEAST", sum(start << bits * i for i, start in enumerate(starts)), bits * len(starts)),
        ("TABLE", sum(value << total * i for i, value in enumerate(packed)), total * len(starts)),
    )
    if total:
        cells.append(Whole("piece_constants", group, (("x", u),), (("y", word),), parameters))
    words = iter(
        _constant(values[0]) if not width else Word(min(values), max(values), word[place : place + width])
        for values, width, place in zip(flat, widths, places)
    )
    return [[next(words) for _ in table] for table in columns]


def _horner(
    cells: list[Cell],
    starts: Sequence[int],
    rows: Sequence[tuple[int, ...]],
    shifts: Sequence[int],
    columns: Sequence[Word],
    u: Bits,
    name: str,
) -> Word:
    """Add h = (h · u + coefficient) >> shift for every shift."""
    codes = np.arange(1 << len(u))
    piece = np.searchsorted(starts, codes, side="right") - 1
    coefficients = np.array(rows, dtype=np.int64)[piece]
    word, values = columns[0], coefficients[:, 0]
    for number, (shift, column) in enumerate(zip(shifts, columns[1:], strict=True)):
        values = (values * codes + coefficients[:, number + 1]) >> shift
        word = _step(cells, f"{name}{number}", word, u, column, shift, values)
    return word


def _step(cells: list[Cell], group: str, a: Word, u: Bits, b: Word, shift: int, values: np.ndarray) -> Word:
    """Add (a · u + b) >> shift, which makes *values*."""
    low, high = int(values.min()), int(values.max())
    y = _outputs(f"{group}_y", max(1, width_of(low, high)))
    first, last = _signed(a), _signed(b)
    parameters = (
        ("A_BITS", len(first), 32),
        ("U_BITS", len(u), 32),
        ("B_BITS", len(last), 32),
        ("SHIFT", shift, 32),
        ("OUT", len(y), 32),
    )
    cells.append(Whole("multiply_step", group, (("a", first), ("u", u), ("b", last)), (("y", y),), parameters))
    return Word(low, high, y)


def _signed(word: Word) -> Bits:
    """Return the bits of *word* in two's complement: a 0 on top where it has no sign."""
    if not word.bits:  # only its width is asked for, or it is 0
        return (0,) * width_of(min(word.low, -1), word.high)
    return tuple(word.bit(i) for i in range(width_of(min(word.low, -1), word.high)))


def _unsigned(bits: Bits) -> Word:
    return Word(0, (1 << len(bits)) - 1, bits)


def _constant(value: int) -> Word:
    return Word(value, value, tuple(value >> i & 1 for i in range(width_of(min(value, -1), value))))


def _outputs(name: str, width: int) -> tuple[Dot, ...]:
    return tuple((name, i) for i in range(width))
