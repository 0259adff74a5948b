"""A list of gates: what it is, what is wrong with one, and what it computes for rows of codes.

Signals are numbers: 0 and 1 are the constants, then come the input bits, then the gates in their order. A gate reads signals
of smaller numbers alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FUNCTIONS = ("not", "and", "or", "xor", "nand", "nor", "xnor", "select")
"""What a gate computes, by its number. ``select`` reads s, a, b and is a where s is 0, b where it is 1."""

NOT, AND, OR, XOR, NAND, NOR, XNOR, SELECT = range(len(FUNCTIONS))

ARITIES = (1, 2, 2, 2, 2, 2, 2, 3)
"""How many signals each of them reads."""

MOST_GATES = 200_000
CONSTANTS = 2
"""Signals in front of the input bits: constant 0 and constant 1."""

MOST_PATTERN_BITS = 16
"""Input bits up to which every pattern is looked at."""


@dataclass(frozen=True, eq=False)
class GateList:
    """Gates in an order in which each reads what stands above it.

    ``inputs``: how many input bits there are. ``functions``: numbers of ``FUNCTIONS``, int8, one a gate. ``operands``: signals
    that a gate reads, int32, gates × 3, 0 behind the last one. ``outputs``: signals that leave, int32. All read-only.
    """

    inputs: int
    functions: np.ndarray
    operands: np.ndarray
    outputs: np.ndarray

    def __post_init__(self) -> None:
        """Freeze the arrays: Graphs share them."""
        count = len(np.asarray(self.functions))
        given = (
            ("functions", np.int8, (count,)),
            ("operands", np.int32, (count, 3)),
            ("outputs", np.int32, np.shape(self.outputs)),
        )
        for name, number, shape in given:
            array = np.array(getattr(self, name), dtype=number).reshape(shape)
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def __eq__(self, other: object) -> bool:
        """Equal gates in an equal order are equal."""
        return (
            isinstance(other, GateList)
            and self.inputs == other.inputs
            and np.array_equal(self.functions, other.functions)
            and np.array_equal(self.operands, other.operands)
            and np.array_equal(self.outputs, other.outputs)
        )

    def __hash__(self) -> int:
        """Hash the sizes: cheap, and consistent with equality."""
        return hash((self.inputs, len(self.functions), len(self.outputs)))

    @property
    def first(self) -> int:
        """Number of the first gate's signal."""
        return CONSTANTS + self.inputs

    def with_gates(self, more: list[tuple[int, tuple[int, ...]]], outputs: np.ndarray) -> GateList:
        """Return the list with *more* gates behind its own, (function, operands) each, and other *outputs*."""
        operands = np.zeros((len(more), 3), dtype=np.int32)
        for row, (_, read) in zip(operands, more):
            row[: len(read)] = read
        functions = np.array([function for function, _ in more], dtype=np.int8)
        return GateList(
            self.inputs,
            np.concatenate([self.functions, functions]),
            np.concatenate([self.operands, operands]),
            outputs,
        )


def gate_faults(gates: GateList) -> list[str]:
    """Return what is wrong with *gates*: too many, functions that are none, signals that do not stand above."""
    count, first = len(gates.functions), gates.first
    if count > MOST_GATES:
        return [f"it has {count} gates; {MOST_GATES} are the most"]
    why: list[str] = []
    strange = (gates.functions < 0) | (gates.functions >= len(FUNCTIONS))
    why += [f"gate {g} has function {gates.functions[g]}; there are 0…{len(FUNCTIONS) - 1}" for g in _few(strange)]
    places = np.arange(3)[None, :] < np.array(ARITIES)[np.where(strange, 0, gates.functions)][:, None]
    here = (first + np.arange(count))[:, None]
    below: np.ndarray = ((gates.operands < 0) | (gates.operands >= here)) & places
    why += [
        f"gate {g}, signal {first + g}, reads {gates.operands[g][places[g]].tolist()}: only signals above it, 0…{first + g - 1}"
        for g in _few(np.asarray(below.any(axis=1)))
    ]
    spare = ((gates.operands != 0) & ~places).any(axis=1) & ~strange
    why += [f"gate {g}, {FUNCTIONS[gates.functions[g]]}, has more than {places[g].sum()} operands" for g in _few(spare)]
    beyond = (gates.outputs < 0) | (gates.outputs >= first + count)
    why += [f"output {o} is signal {gates.outputs[o]}; there are 0…{first + count - 1}" for o in _few(beyond)]
    return why


def _few(faulty: np.ndarray) -> list[int]:
    return [int(place) for place in np.flatnonzero(faulty)[:5]]


def bits_that_count(gates: GateList) -> np.ndarray:
    """Return which input bits (bool, ``inputs``) an output may depend on."""
    live = np.zeros(gates.first + len(gates.functions), dtype=bool)
    live[gates.outputs] = True
    arities = np.array(ARITIES)[gates.functions].tolist()
    for g in range(len(arities) - 1, -1, -1):
        if live[gates.first + g]:
            live[gates.operands[g, : arities[g]]] = True
    found: np.ndarray = live[CONSTANTS : gates.first]
    return found


def run_gates(gates: GateList, codes: np.ndarray, bits: int, width: int) -> np.ndarray:
    """Return what *gates* make of *codes* (int64, rows × elements): rows × words of *width* outputs each, int64, unsigned.

    Input bit e · *bits* + b is bit b of element e, whatever stands above being ignored; output w · *width* + b is bit b of
    word w. *width* is at most 62.
    """
    from .kernels.gate_words import run_rows

    codes = np.ascontiguousarray(codes, dtype=np.int64)
    found = np.zeros((len(codes), len(gates.outputs) // width), dtype=np.int64)
    run_rows(gates.functions, gates.operands, gates.outputs, gates.first, codes, bits, width, found)
    return found


def output_patterns(gates: GateList, width: int) -> np.ndarray | None:
    """Return every row of words that *gates* can make, as :func:`run_gates` has them, one for each pattern of the input bits.

    None where outputs depend on more than ``MOST_PATTERN_BITS`` of them.
    """
    read = np.flatnonzero(bits_that_count(gates))
    if len(read) > MOST_PATTERN_BITS:
        return None
    patterns = np.arange(1 << len(read))
    codes = np.zeros((len(patterns), gates.inputs), dtype=np.int64)
    codes[:, read] = patterns[:, None] >> np.arange(len(read)) & 1
    return run_gates(gates, codes, 1, width)


@dataclass(frozen=True)
class MappedGates:
    """The gates of a synthesised circuit, in mm²: its area, and that of a gate of each of ``FUNCTIONS``."""

    gates: GateList
    area_mm2: float
    function_areas: tuple[float, ...]
