"""Count what literals of a circuit need, by kind and backwards, so that what nothing reads is free."""

from __future__ import annotations

import numba

from .gates import CHOOSE, FULL, GATE, HALF, MASK, NET, Pointer, row

(
    FULL_BOTH,
    FULL_SUM,
    FULL_CARRY,
    HALF_BOTH,
    HALF_SUM,
    ADDER_GATE,
    MASK_GATE,
    SATURATE_GATE,
    ANY_GATE,
    CHOOSE_BOTH,
    CHOOSE_GATE,
    COMPARE_STEP,
    COMPARE_GATE,
    INPUT_INVERTED,
    GATE_POSITIVE,
    CELL_BOTH_PHASES,
) = range(16)
FEATURES = 16
"""What is counted, as ``approxhw.networks.area_model.FEATURES`` names it."""

PRICES = (
    *(2.738, 2.086, 1.632, 1.233, 1.043, 0.248, 0.248, 0.248, 0.248),
    *(0.972, 0.248, 1.480, 0.248, 0.228, 0.186, 0.228),
)
"""By which the cheaper of two ways to build a circuit is chosen: those of printed cells alone, in mm²; only ratios matter."""


@numba.njit("void(CPointer(u1), i8)", cache=True, nogil=True)
def _read(used: Pointer, literal: int) -> None:
    used[literal >> 1] |= 1 << (literal & 1)


@numba.njit(f"f8({NET}, i8, i8, CPointer(i8), i8, i8, CPointer(u1), CPointer(f8), i8)", cache=True, nogil=True)
def count_cells(
    net: Pointer, free: int, start: int, base: int, words: Pointer, at: int, roots: int, used: Pointer, tally: Pointer,
    into: int,
) -> float:  # fmt: skip
    """Count by kind, in *tally* from *into* on, what cells from *start* to *free* the literals at *at* need; return their price.

    Backwards: *used* holds 1 for a variable that is read as it is, 2 inverted, 4 by a sum alone. Inputs stand below *base*;
    *tally* begins with the prices.
    """
    for i in range(free):
        used[i] = 0
    for feature in range(into, into + FEATURES):
        tally[feature] = 0.0
    for k in range(roots):
        _read(used, words[at + k])
    for variable in range(free - 2, start - 2, -2):
        first, second = used[variable], used[variable + 1]
        if not first and not second:
            continue
        at = row(net, variable + 1) - 4
        kind, x, y, z = net[at], net[at + 1], net[at + 2], net[at + 3]
        if kind <= HALF and not second:
            used[x >> 1] |= 4
            used[y >> 1] |= 4
            used[z >> 1] |= 4
        else:
            _read(used, x)
            _read(used, y)
            _read(used, z)
        if first & 3 == 3 or second & 3 == 3:
            tally[into + CELL_BOTH_PHASES] += 1
        if kind == FULL:
            tally[into + (FULL_BOTH if first and second else FULL_SUM if first else FULL_CARRY)] += 1
        elif kind == HALF and first:
            tally[into + (HALF_BOTH if second else HALF_SUM)] += 1
        elif z:
            tally[into + (CHOOSE_BOTH if kind == CHOOSE else COMPARE_STEP)] += 1
        else:
            if kind <= GATE:
                tally[into + ADDER_GATE] += 1
            elif kind >= CHOOSE:
                tally[into + (CHOOSE_GATE if kind == CHOOSE else COMPARE_GATE)] += 1
            else:
                tally[into + MASK_GATE + kind - MASK] += 1
            if (first | second) & 1:
                tally[into + GATE_POSITIVE] += 1
    for variable in range(1, base):
        if used[variable] & 2:
            tally[into + INPUT_INVERTED] += 1
    price = 0.0
    for feature in range(FEATURES):
        price += tally[feature] * tally[into + feature]
    return price
