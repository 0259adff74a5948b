"""A mapped netlist as a list of two-input gates, and what a gate of each function costs in a library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from approxhw.backends.estimate.library import logic
from approxhw.backends.estimate.library.cells import CellLibrary
from approxhw.common.errors import LibraryError, Problem
from approxhw.numerics.logic import gates as functions
from approxhw.numerics.logic.gates import CONSTANTS, FUNCTIONS, GateList

from . import simulator
from .netlist import Netlist
from .simulator import compile_netlist

_SAME = {
    simulator.NOT: functions.NOT,
    simulator.AND: functions.AND,
    simulator.OR: functions.OR,
    simulator.XOR: functions.XOR,
    simulator.NAND: functions.NAND,
    simulator.NOR: functions.NOR,
    simulator.XNOR: functions.XNOR,
}
_TABLES = {"and": 0b1000, "or": 0b1110, "xor": 0b0110, "nand": 0b0111, "nor": 0b0001, "xnor": 0b1001}
_BUILT = (
    ("and", ("nand", "not")),
    ("or", ("nor", "not")),
    ("nand", ("and", "not")),
    ("nor", ("or", "not")),
    ("nand", ("or", "not", "not")),
    ("nor", ("and", "not", "not")),
    ("xor", ("nand",) * 4),
    ("xor", ("xnor", "not")),
    ("xnor", ("xor", "not")),
    ("select", ("nand", "nand", "nand", "not")),
)
"""Function → functions of which it can be built."""


def gate_list(netlist: Netlist, inputs: int, signals: Mapping[str, Sequence[int]], outputs: Sequence[int]) -> GateList:
    """Return *netlist*, which has no register, as gates over *inputs* bits.

    *signals*: the signals that the bits of each input port are, lowest first. *outputs*: the nets whose signals leave. Cells
    of more inputs become several gates.
    """
    program, _ = compile_netlist(netlist)
    if program.carries or program.registers:
        why, remedy = "a list of gates has no state", "give a circuit without registers"
        raise LibraryError(netlist.top, [Problem("registers", why, remedy)])
    known = {net: signal for port in netlist.inputs for net, signal in zip(port.nets, signals[port.name], strict=True)}
    known |= {0: 0, 1: 1}
    made: list[tuple[int, int, int]] = []
    for operation, out, a, b in program.rows:
        if operation in (simulator.ZERO, simulator.ONE):
            known[out] = int(operation == simulator.ONE)
        elif operation == simulator.COPY:
            known[out] = known[a]
        else:
            known[out] = CONSTANTS + inputs + len(made)
            made.append((_SAME[operation], known[a], 0 if operation == simulator.NOT else known[b]))
    operands = np.zeros((len(made), 3), dtype=np.int32)
    operands[:, :2] = np.array([row[1:] for row in made], dtype=np.int32).reshape(-1, 2)
    numbers = np.array([row[0] for row in made], dtype=np.int8)
    return GateList(inputs, numbers, operands, np.array([known[net] for net in outputs], dtype=np.int32))


def function_areas(library: CellLibrary) -> tuple[float, ...]:
    """Return the area in mm² of the smallest gate of each of ``FUNCTIONS``: of one cell, or of several that make it."""
    areas = dict.fromkeys(FUNCTIONS, math.inf)
    areas["not"] = library.inverter.area
    for cell in library.cells.values():
        if cell.flip_flop is None and len(cell.inputs) == 2 and len(cell.functions) == 1:
            table = logic.table(next(iter(cell.functions.values())), cell.inputs)
            for name, wanted in _TABLES.items():
                areas[name] = min(areas[name], cell.area) if table == wanted else areas[name]
    for _ in range(4):  # what is built of what is built
        for name, parts in _BUILT:
            areas[name] = min(areas[name], sum(areas[part] for part in parts))
    return tuple(areas[name] for name in FUNCTIONS)
