"""What a real tile sends through one element of an integer engine, clock by clock, and what must come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from approxhw.numerics.mac.integer_mac import IntegerMac
from approxhw.numerics.multipliers.tables import operand_values

if TYPE_CHECKING:
    from approxhw.backends.integer_engine.engine import IntegerArray

POSITIONS = 12
"""Elements of the array whose real inputs go through the netlist of one."""

_GAP = 4
"""Clocks behind a tile in which its last sums come out."""


@dataclass(frozen=True, eq=False)
class ElementStimulus:
    """What goes into one element, a value a clock, and what must come out where ``known``."""

    vectors: Mapping[str, np.ndarray]
    expected: np.ndarray
    known: np.ndarray


def element_stimulus(
    array: IntegerArray, operator: str, products: np.ndarray, x: np.ndarray, weights: np.ndarray
) -> ElementStimulus:
    """Return the inputs of elements down column 0 of a real tile, one after the other: *x*: M × K, *weights*: K × N patterns.

    The weight is loaded, then a pattern comes each clock, with the sum that the rows above have made of its vector.
    """
    mac = array.mac_of(operator)
    mask = (1 << mac.accumulator_bits) - 1
    columns: dict[str, list[np.ndarray]] = {"load": [], "operand_in": [], "sum_in": []}
    expected, known = [], []
    depth, count = array.depth, len(x)
    for k, n in tile_positions(x, weights):
        length = count + 3 + depth + _GAP
        load, operand = np.zeros(length, np.int64), np.zeros(length, np.int64)
        above, wanted, seen = np.zeros(length, np.int64), np.zeros(length, np.int64), np.zeros(length, bool)
        load[1] = 1
        operand[0], operand[1 : count + 1] = weights[k, n], x[:, k]
        before = _sums(mac, products, x[:, :k], weights[:k, n])
        after = _sums(mac, products, x[:, : k + 1], weights[: k + 1, n])
        start = 2 + depth - 1  # the operand is held a clock after it comes; with DEPTH 2 its product a clock later
        above[start : start + count] = before & mask
        place = slice(start + 1, start + 1 + count)
        wanted[place], seen[place] = after & mask, True
        for name, part in zip(("load", "operand_in", "sum_in"), (load, operand, above), strict=True):
            columns[name].append(part)
        expected.append(wanted)
        known.append(seen)
    vectors = {name: np.concatenate(parts) for name, parts in columns.items()}
    vectors["select"] = np.full(len(vectors["load"]), array.select(operator), np.int64)
    return ElementStimulus(vectors, np.concatenate(expected), np.concatenate(known))


def tile_positions(x: np.ndarray, weights: np.ndarray) -> list[tuple[int, int]]:
    """Return row and column of the elements that a tile is streamed through: rows from the first to the last."""
    rows = np.linspace(0, x.shape[1] - 1, min(POSITIONS, x.shape[1])).round().astype(int)
    return [(int(k), int(number % weights.shape[1])) for number, k in enumerate(rows)]


def _sums(mac: IntegerMac, products: np.ndarray, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the sum of each row of patterns *x* (M × k) with *weights* (k), as an element's chain makes it."""
    from approxhw.numerics.mac.kernels.integer_gemm import matmul_integer

    if not x.shape[1]:
        return np.zeros(len(x), np.int64)
    left = operand_values(mac.x_bits, mac.x_signed)[x].astype(np.int8 if mac.x_signed else np.uint8)
    right = operand_values(mac.weight_bits, mac.weight_signed)[weights].astype(
        np.int8 if mac.weight_signed else np.uint8
    )
    made: np.ndarray = matmul_integer(np.ascontiguousarray(left.T), right[:, None], mac, products)[:, 0].astype(
        np.int64
    )
    return made
