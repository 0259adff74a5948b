"""What a real tile sends through one element of a matrix engine, clock by clock, and what must come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from approxhw.numerics.mac.arithmetic import FloatMac
from approxhw.numerics.mac.float_mac import unpack_operand

if TYPE_CHECKING:
    from approxhw.numerics.mac.kernels.gemm import States

_GAP = 6
"""Clocks after a tile in which its last results come out."""


@dataclass(frozen=True)
class Stimulus:
    """What goes into one element, a value a clock, and what must come out. ``kind``: int64, clocks.

    ``expected``: state words; ``plain``: where they are to be compared in whole, ``flags``: where in their two flags alone.
    """

    vectors: Mapping[str, np.ndarray]
    expected: np.ndarray
    plain: np.ndarray
    flags: np.ndarray


def operand_words(codes: np.ndarray, mac: FloatMac) -> np.ndarray:
    """Return what ``float_decode`` makes of *codes* (unsigned): {sign, number, exponent, fraction}, int64."""
    from approxhw.backends.matrix_engine.templates import operand_exponent_bits

    fraction, width = mac.code.fraction_bits, operand_exponent_bits(mac)
    table = np.zeros(1 << mac.code.bits, dtype=np.int64)
    for code in np.unique(codes).tolist():
        operand = unpack_operand(mac.format, code)
        # beside numbers the exponent is what the field gives, and the fraction says which special it is
        exponent = (code >> fraction) & ((1 << mac.code.exponent_bits) - 1)
        word, tail = 0, (operand.nan | operand.inf) << (fraction - 1) | operand.nan << (fraction - 2)
        # of a zero it is that of the least subnormal, where there are any
        exponent = 1 - mac.code.bias - fraction if mac.code.subnormals and not exponent else exponent - mac.code.bias
        if operand.significand:
            word, exponent, tail = 1, operand.exponent, operand.significand & ((1 << fraction) - 1)
        sign = code >> (mac.code.bits - 1)
        table[code] = ((sign << 1 | word) << width | exponent & ((1 << width) - 1)) << fraction | tail
    return table[codes]


def stimulus(mac: FloatMac, depth: int, a: np.ndarray, b: np.ndarray, positions: Sequence[tuple[int, int]]) -> Stimulus:
    """Return the inputs of the elements that hold ``b[k, n]`` for each (k, n) of *positions*, one after the other.

    *a*: m × k, *b*: k × n, unsigned codes of a tile of a real layer: weights are loaded, then a vector comes each clock,
    with the states that the rows above have made of it.
    """
    from approxhw.backends.matrix_engine.templates import element_latency
    from approxhw.numerics.mac.kernels.gemm import chain, start, step

    early, _ = element_latency(depth)
    bits, count = mac.accumulator_bits, len(a)
    zero = _words(start((1,)), bits)[0]
    columns: dict[str, list[np.ndarray]] = {"load": [], "operand_in": [], "state_in": []}
    expected, plain, flags = [], [], []
    for k, n in positions:
        length = count + 2 + early + depth + _GAP
        load, operand = np.zeros(length, np.int64), np.zeros(length, np.int64)
        state, wanted = np.full(length, zero), np.full(length, zero)
        known = np.zeros(length, bool)
        load[1] = 1
        operand[0] = operand_words(b[k : k + 1, n], mac)[0]
        operand[1 : count + 1] = operand_words(a[:, k], mac)
        before: States = chain(a[:, :k], b[:k, n : n + 1], mac) if k else start((count, 1))
        after = step(a[:, k : k + 1], np.broadcast_to(b[k, n], (count, 1)), mac, before)
        state[2 + early : 2 + early + count] = _words(before, bits).reshape(-1)
        place = slice(2 + depth, 2 + depth + count)
        wanted[place], known[place] = _words(after, bits).reshape(-1), True
        special = np.zeros(length, bool)
        special[place] = after.flags.reshape(-1) != 0
        columns["load"].append(load)
        columns["operand_in"].append(operand)
        columns["state_in"].append(state)
        expected.append(wanted)
        plain.append(known & ~special)
        flags.append(known & special)
    return Stimulus(
        {name: np.concatenate(parts) for name, parts in columns.items()},
        np.concatenate(expected),
        np.concatenate(plain),
        np.concatenate(flags),
    )


def _words(states: States, bits: int) -> np.ndarray:
    """Return states as they stand on wires: {nan, inf, sign, exponent, significand}, int64."""
    sign, exponent = states.sign.astype(np.int64), states.exponent.astype(np.int64) & 0x3FF
    flags = states.flags.astype(np.int64)
    return flags << (bits + 11) | sign << (bits + 10) | exponent << bits | states.significand.astype(np.int64)
