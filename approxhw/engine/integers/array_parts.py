"""What stands around the elements of an integer engine: logic, registers, memories, as the Verilog has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from approxhw.engine.array_cost import LogicPart, MemoryPart

if TYPE_CHECKING:
    from approxhw.backends.integer_engine.engine import IntegerArray


def integer_parts(array: IntegerArray) -> list[LogicPart]:
    """Return everything around the elements that is logic: ends with the constants that wait in them, control, row sums."""
    from approxhw.backends.integer_engine.engine import integer_engine_verilog
    from approxhw.backends.systolic.templates import configured

    address = array.vectors.bit_length() - 1
    control = {
        "COLUMNS": array.columns,
        "COLUMN_BITS": array.columns.bit_length(),
        "ADDRESS_BITS": address,
        "QUEUE_BITS": _queue_bits(array),
        "FLIGHT_BITS": max((array.latency + 1).bit_length(), address) + 1,
    }
    end = integer_engine_verilog(array, top="integer_end")
    found = [
        LogicPart("column ends", array.columns, end, "integer_end"),
        LogicPart("control", 1, configured("engine_control", control), "engine_control"),
    ]
    if array.variate:
        # as wide as the sum on both sides: that of a row has a narrow summand, and takes less
        adder = configured("integer_adder", {"WIDTH": array.variate_bits, "ADDER": 0, "LOW": 1})
        found.append(LogicPart("adders of row sums", array.rows, adder, "integer_adder"))
    return found


RESTING = 2000
"""Clocks over which the power of a column end at rest is averaged."""


def resting_vectors(array: IntegerArray, seed: int = 1) -> dict[str, np.ndarray]:
    """Return what the ports of a column end see while sums stay in their chains: first a few that leave, then none.

    Constants are written at first, so that registers hold what they hold at work; then sums and row sums alone change.
    """
    rng = np.random.default_rng(seed)
    bank, first = array.banks.bit_length() - 1, 2 << (array.banks.bit_length() - 1)
    widths = {
        "constants": sum(array.fields().values()),
        "sum": array.mac.accumulator_bits,
        "variate": array.variate_bits,
    }
    told: dict[str, np.ndarray] = {}
    for name, bits in widths.items():
        drawn = [int.from_bytes(rng.bytes(-(-bits // 8)), "little") % (1 << bits) for _ in range(first + RESTING)]
        told[name] = np.array(drawn, dtype=object if bits > 62 else np.int64)
    at_first = (np.arange(first + RESTING) < first).astype(np.int64)
    told["constants"][first:] = told["constants"][first - 1]
    told["write"] = told["leaves"] = at_first
    told["write_bank"] = told["bank"] = np.arange(first + RESTING) % (1 << bank) * at_first
    return told


def _queue_bits(array: IntegerArray) -> int:
    """Return the address bits of a queue of results, as ``engine_frame`` has it: room for all that are on their way, and 3."""
    return (array.latency + array.columns + array.end_latency + 2).bit_length()


def integer_register_bits(array: IntegerArray) -> dict[str, int]:
    """Return the bits of plain registers around the elements, by what they are for."""
    code, address = max(array.mac.weight_bits, array.mac.x_bits), array.vectors.bit_length() - 1
    bank, later = array.banks.bit_length() - 1, array.depth > 1
    north, south = address + 1, address + bank + 3
    ways = array.latency * (south + 1) + later * north + (array.columns - 1) * (north + south + 1)
    found = {
        "skew of rows": sum(range(array.rows)) * (code + 1) + array.rows,
        "addresses on their way": ways,
        "results on their way": (array.columns + 3) * array.end_latency,
        "constants on their way": sum(array.fields().values()) + 2 * array.columns + 4 * bank + 1,
    }
    if array.variate:
        found["row sums"] = (array.rows + later + array.columns - 1) * array.variate_bits
    return found


def integer_memories(array: IntegerArray) -> list[MemoryPart]:
    """Return the memories around the elements; constants of columns are none: they stand in the ends."""
    queue, sums = 1 << _queue_bits(array), "sums between tiles (memory)"
    found = [
        MemoryPart("queue of weights (memory)", 1, 1 << array.columns.bit_length(), array.weight_word_bits),
        MemoryPart("queues of results (memory)", array.columns, queue, array.result_bits),
        MemoryPart("queues of results (memory)", 1, queue, 1),  # whether a word is the last of its tile
        MemoryPart(sums, array.columns, array.vectors, array.mac.accumulator_bits),
    ]
    if array.variate:
        found.append(MemoryPart(sums, 1, array.vectors, array.variate_bits))  # of row sums: one for all columns
    return found
