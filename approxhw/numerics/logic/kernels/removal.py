"""Moves that make a netlist smaller: a gate takes another, simpler function, and its fan-out cone is simulated on all rows.

A netlist that is being changed keeps the numbers of its signals: a gate that nothing reads stays, and costs nothing. Planes
hold the value of every signal, signals × words, 64 rows a word: first the rows that moves are chosen by, then others. A move
is (gate, function, first operand, second operand).
"""

from __future__ import annotations

import numba
import numpy as np

from .gate_words import AND, COPY, NAND, NOR, NOT, ONE, OR, SELECT, XNOR, ZERO, fill_plane


@numba.njit(cache=True, nogil=True, inline="always")
def bits_set(word: np.uint64) -> np.int64:
    """Return how many bits of *word* are 1."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


# Simplifying -----------------------------------------------------------------------------------------------------------


@numba.njit(cache=True, nogil=True)
def _inverse(signal: int, first: int, functions: np.ndarray, operands: np.ndarray) -> int:
    """Return a signal that is known to be the inverse of *signal*, −1 where none is."""
    if signal <= 1:
        return 1 - signal
    if signal >= first and functions[signal - first] == NOT:
        return operands[signal - first, 0]
    return -1


@numba.njit(cache=True, nogil=True)
def _reduced(
    function: int, a: int, b: int, c: int, first: int, functions: np.ndarray, operands: np.ndarray
) -> tuple[int, int, int, int]:
    """Return a gate as it is after what constants, equal and inverse operands decide; COPY where it is a signal that exists."""
    if function in (ZERO, ONE):
        return COPY, int(function == ONE), 0, 0
    if function == COPY:
        return COPY, a, 0, 0
    if function == SELECT:
        if a <= 1 or b == c:
            return COPY, (c if a == 1 else b), 0, 0
        if b == 1 and c == 0:
            function, b, c = NOT, 0, 0
        elif b == 0 or a == b:
            function, b, c = AND, c, 0
        elif c == 1 or a == c:
            function, c = OR, 0
        else:
            return SELECT, a, b, c
    inverts = function in (NOT, NAND, NOR, XNOR)
    if function == NOT:
        found = a
    else:
        if a > b:
            a, b = b, a
        against = _inverse(a, first, functions, operands) == b or _inverse(b, first, functions, operands) == a
        if function in (AND, NAND):
            found = 0 if a == 0 or against else b if a == 1 or a == b else -1
        elif function in (OR, NOR):
            found = 1 if a == 1 or against else b if a == 0 or a == b else -1
        else:
            found = 0 if a == b else 1 if against else b if a <= 1 else -1
            inverts ^= a == 1 and found == b and b > 1
    if found < 0:
        return function, a, b, 0
    if not inverts:
        return COPY, found, 0, 0
    known = _inverse(found, first, functions, operands)
    return (COPY, known, 0, 0) if known >= 0 else (NOT, found, 0, 0)


@numba.njit(cache=True, nogil=True)
def simplify(
    functions: np.ndarray, operands: np.ndarray, outputs: np.ndarray, first: int, areas: np.ndarray, alias: np.ndarray,
    live: np.ndarray,
) -> float:  # fmt: skip
    """Simplify a netlist in place; fill *alias* (signal → what stands for it) and *live* (read by something); return its area.

    *areas*: of a gate of each function. What constants decide is decided, in one walk; equal gates are not looked for.
    """
    for signal in range(first):
        alias[signal] = signal
    for g in range(functions.size):
        function, a, b, c = _reduced(
            functions[g],
            alias[operands[g, 0]],
            alias[operands[g, 1]],
            alias[operands[g, 2]],
            first,
            functions,
            operands,
        )
        functions[g], operands[g, 0], operands[g, 1], operands[g, 2] = function, a, b, c
        alias[first + g] = a if function == COPY else first + g
    live[:] = False
    for o in range(outputs.size):
        outputs[o] = alias[outputs[o]]
        live[outputs[o]] = True
    area = 0.0
    for g in range(functions.size - 1, -1, -1):
        if live[first + g]:
            area += areas[functions[g]]
            for i in range(3):
                live[operands[g, i]] = True
    return area


# Trying ----------------------------------------------------------------------------------------------------------------


@numba.njit(cache=True, nogil=True)
def _readers(
    functions: np.ndarray, operands: np.ndarray, outputs: np.ndarray, live: np.ndarray, first: int, starts: np.ndarray,
    gates: np.ndarray, counts: np.ndarray,
) -> None:  # fmt: skip
    """Fill in who reads each signal: gates ``starts[s]`` … ``starts[s + 1]`` of *gates*, and how often, among what lives."""
    counts[:] = 0
    for g in range(functions.size):
        for i in range(3):
            counts[operands[g, i]] += 1
    total = 0
    for signal in range(counts.size):
        starts[signal] = total
        total += counts[signal] if signal > 1 else 0
    starts[counts.size] = total
    counts[:] = 0
    for g in range(functions.size):
        for i in range(3):
            signal = operands[g, i]
            if signal > 1:
                gates[starts[signal] + counts[signal]] = g
                counts[signal] += 1
    counts[:] = 0
    for o in range(outputs.size):
        counts[outputs[o]] += 1
    for g in range(functions.size):
        if live[first + g]:
            for i in range(3):
                counts[operands[g, i]] += 1


@numba.njit(cache=True, nogil=True)
def _spread(
    move: np.ndarray, functions: np.ndarray, operands: np.ndarray, first: int, planes: np.ndarray, scratch: np.ndarray,
    stamps: np.ndarray, pending: np.ndarray, stamp: int, starts: np.ndarray, gates: np.ndarray, width: int,
) -> None:  # fmt: skip
    """Work out, in *scratch*, the plane of every signal that *move* changes; those have *stamp* afterwards."""
    g = move[0]
    fill_plane(move[1], planes[move[2]], planes[move[3]], planes[0], scratch[first + g], width)
    if not _differ(scratch[first + g], planes[first + g], width):
        return
    stamps[first + g] = stamp
    last = g
    for k in range(starts[first + g], starts[first + g + 1]):
        pending[gates[k]] = stamp
        last = max(last, gates[k])
    h = g + 1
    while h <= last:
        if pending[h] == stamp:
            a, b, c = operands[h, 0], operands[h, 1], operands[h, 2]
            one = scratch[a] if stamps[a] == stamp else planes[a]
            two = scratch[b] if stamps[b] == stamp else planes[b]
            three = scratch[c] if stamps[c] == stamp else planes[c]
            fill_plane(functions[h], one, two, three, scratch[first + h], width)
            if _differ(scratch[first + h], planes[first + h], width):
                stamps[first + h] = stamp
                for k in range(starts[first + h], starts[first + h + 1]):
                    pending[gates[k]] = stamp
                    last = max(last, gates[k])
        h += 1


@numba.njit(cache=True, nogil=True)
def _differ(one: np.ndarray, other: np.ndarray, width: int) -> bool:
    for i in range(width):  # noqa: SIM110  (compiled code has no any() of a generator)
        if one[i] != other[i]:
            return True
    return False


@numba.njit(cache=True, nogil=True)
def _wrong(
    outputs: np.ndarray, wanted: np.ndarray, mask: np.ndarray, planes: np.ndarray, scratch: np.ndarray, stamps: np.ndarray,
    stamp: int, start: int, stop: int,
) -> int:  # fmt: skip
    """Return how many rows of the words *start* … *stop* have an output that is not the *wanted* one."""
    count = 0
    for i in range(start, stop):
        differ = np.uint64(0)
        for o in range(outputs.size):
            signal = outputs[o]
            value = scratch[signal, i] if stamps[signal] == stamp else planes[signal, i]
            differ |= value ^ wanted[o, i]
        count += bits_set(differ & mask[i])
    return count


@numba.njit(cache=True, nogil=True)
def count_wrong(
    outputs: np.ndarray, wanted: np.ndarray, mask: np.ndarray, planes: np.ndarray, start: int, stop: int
) -> int:
    """Return how many rows of the words *start* … *stop* that *mask* names are wrong, as the planes have them."""
    stamps = np.zeros(planes.shape[0], np.int32)
    return _wrong(outputs, wanted, mask, planes, planes, stamps, 1, start, stop)


@numba.njit(cache=True, nogil=True)
def _freed(
    move: np.ndarray, functions: np.ndarray, operands: np.ndarray, first: int, areas: np.ndarray, counts: np.ndarray,
    stack: np.ndarray, touched: np.ndarray,
) -> float:  # fmt: skip
    """Return the area of the gates that nothing reads any more behind *move*, less that of its own gate; *counts* are kept."""
    counts[move[2]] += 1
    counts[move[3]] += 1
    area, top, seen = areas[functions[move[0]]] - areas[move[1]], 1, 0
    stack[0] = move[0]
    while top:
        top -= 1
        g = stack[top]
        for i in range(3):
            signal = operands[g, i]
            counts[signal] -= 1
            touched[seen] = signal
            seen += 1
            if counts[signal] == 0 and signal >= first:
                area += areas[functions[signal - first]]
                stack[top] = signal - first
                top += 1
    for i in range(seen):
        counts[touched[i]] += 1
    counts[move[2]] -= 1
    counts[move[3]] -= 1
    return area


@numba.njit(cache=True, nogil=True)
def try_moves(
    moves: np.ndarray, functions: np.ndarray, operands: np.ndarray, outputs: np.ndarray, first: int, live: np.ndarray,
    planes: np.ndarray, wanted: np.ndarray, mask: np.ndarray, width: int, areas: np.ndarray, limit: int, errors: np.ndarray,
    freed: np.ndarray,
) -> None:  # fmt: skip
    """Fill, for each of *moves* alone, how many of the first *width* words' rows are wrong, and the area that it frees.

    Of a move with more than *limit* wrong rows no more is told than that.
    The area is that of gates that nothing reads any more; what constants decide behind it comes on top. It is 0 for a move with
    more than *limit* wrong rows.
    """
    signals = planes.shape[0]
    scratch = np.empty((signals, width), np.uint64)
    stamps, pending = np.zeros(signals, np.int32), np.zeros(functions.size, np.int32)
    starts, counts = np.empty(signals + 1, np.int64), np.empty(signals, np.int64)
    gates, stack = np.empty(3 * functions.size, np.int64), np.empty(functions.size + 1, np.int64)
    touched = np.empty(3 * functions.size + 3, np.int64)
    _readers(functions, operands, outputs, live, first, starts, gates, counts)
    stamp, part = 0, min(width, max(4, width >> 3))
    for m in range(moves.shape[0]):
        freed[m], errors[m] = _freed(moves[m], functions, operands, first, areas, counts, stack, touched), 0
        if freed[m] <= 0:
            continue
        for words in (part, width):  # most moves are wrong so often that a few rows tell
            stamp += 1
            _spread(moves[m], functions, operands, first, planes, scratch, stamps, pending, stamp, starts, gates, words)
            errors[m] = _wrong(outputs, wanted, mask, planes, scratch, stamps, stamp, 0, words)
            if errors[m] > limit:
                freed[m] = 0.0
                break


@numba.njit(cache=True, nogil=True)
def take_moves(
    moves: np.ndarray, functions: np.ndarray, operands: np.ndarray, outputs: np.ndarray, first: int, planes: np.ndarray,
    wanted: np.ndarray, mask: np.ndarray, width: int, areas: np.ndarray, limits: np.ndarray, least: float, enough: float,
    best_functions: np.ndarray, best_operands: np.ndarray, best_outputs: np.ndarray, figures: np.ndarray,
) -> int:  # fmt: skip
    """Take *moves* one after the other, each where it still frees *least* of area and errors allow it; return how many.

    It ends when no more than *enough* of area is left.
    *limits*: wrong rows allowed among the first *width* words, by which moves are taken, and among the others, which only say
    whether the netlist is kept as the best. *figures*: area, wrong rows of both kinds, and the best area; read and updated.
    """
    signals = planes.shape[0]
    scratch = np.empty(planes.shape, np.uint64)
    stamps, pending = np.zeros(signals, np.int32), np.zeros(functions.size, np.int32)
    starts, counts = np.empty(signals + 1, np.int64), np.empty(signals, np.int64)
    gates = np.empty(3 * functions.size, np.int64)
    alias, live = np.empty(signals, np.int32), np.empty(signals, np.bool_)
    other_functions, other_operands, other_outputs = functions.copy(), operands.copy(), outputs.copy()
    area = simplify(functions, operands, outputs, first, areas, alias, live)
    other_live = live.copy()
    _readers(functions, operands, outputs, live, first, starts, gates, counts)
    taken, stamp = 0, 0
    for m in range(moves.shape[0]):
        move = moves[m]
        if area <= enough:
            break
        if not live[first + move[0]]:
            continue
        stamp += 1
        _spread(move, functions, operands, first, planes, scratch, stamps, pending, stamp, starts, gates, width)
        if _wrong(outputs, wanted, mask, planes, scratch, stamps, stamp, 0, width) > limits[0]:
            continue
        other_functions[:], other_operands[:, :], other_outputs[:] = functions, operands, outputs
        g = move[0]
        other_functions[g], other_operands[g, 0], other_operands[g, 1], other_operands[g, 2] = (
            move[1],
            move[2],
            move[3],
            0,
        )
        after = simplify(other_functions, other_operands, other_outputs, first, areas, alias, other_live)
        if after > area - least:
            continue
        stamp += 1
        _spread(
            move, functions, operands, first, planes, scratch, stamps, pending, stamp, starts, gates, planes.shape[1]
        )
        figures[1] = _wrong(outputs, wanted, mask, planes, scratch, stamps, stamp, 0, width)
        figures[2] = _wrong(outputs, wanted, mask, planes, scratch, stamps, stamp, width, planes.shape[1])
        for signal in range(first, signals):
            if stamps[signal] == stamp:
                planes[signal] = scratch[signal]
        functions[:], operands[:, :], outputs[:] = other_functions, other_operands, other_outputs
        live[:] = other_live
        _readers(functions, operands, outputs, live, first, starts, gates, counts)
        area = after
        figures[0] = area
        taken += 1
        if figures[2] <= limits[1] and area < figures[3]:
            best_functions[:], best_operands[:, :], best_outputs[:] = functions, operands, outputs
            figures[3] = area
    return taken


# Looking for signals ---------------------------------------------------------------------------------------------------


@numba.njit(cache=True, nogil=True)
def agreeing_signals(
    gates: np.ndarray, sources: np.ndarray, first: int, planes: np.ndarray, words: np.ndarray, found: np.ndarray
) -> None:
    """Fill *found* (gates × K × 2) with the earlier *sources* that agree most with each of *gates*, and whether inverted.

    *words*: the words that are looked at. Where there are fewer than K, signal 0 stands for the rest.
    """
    close = np.empty((planes.shape[0], words.size), np.uint64)
    for signal in range(planes.shape[0]):
        for i in range(words.size):
            close[signal, i] = planes[signal, words[i]]
    count = found.shape[1]
    scores = np.empty(count, np.int64)
    for k in range(gates.size):
        own = first + gates[k]
        scores[:] = -1
        found[k] = 0
        for s in range(sources.size):
            other = sources[s]
            if other >= own:
                break
            differ = 0
            for i in range(words.size):
                differ += bits_set(close[own, i] ^ close[other, i])
            inverted = 2 * differ > 64 * words.size
            score = differ if inverted else 64 * words.size - differ
            place = count
            while place > 0 and score > scores[place - 1]:
                place -= 1
            if place < count:
                for later in range(count - 1, place, -1):
                    scores[later], found[k, later] = scores[later - 1], found[k, later - 1]
                scores[place] = score
                found[k, place, 0], found[k, place, 1] = other, int(inverted)
