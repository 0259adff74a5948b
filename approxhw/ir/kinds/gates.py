"""``Gates``: a netlist that is the meaning itself, of two-input gates over the bits of what it reads."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from approxhw.common.errors import shown
from approxhw.numerics.formats import Fixed, Format
from approxhw.numerics.logic.gates import (
    AND,
    ARITIES,
    CONSTANTS,
    FUNCTIONS,
    MOST_GATES,
    NOT,
    GateList,
    bits_that_count,
    gate_faults,
    output_patterns,
    run_gates,
)

from .attributes import integer, integers
from .kind import Fault, Kind, Operand, Operands, Range, Shape, Type, Values, is_code

MOST_WORD_BITS = 62
"""Bits of an element that gates read, and of one that they make."""


@dataclass(frozen=True)
class Gates:
    """What *gates* make of the lowest ``bits`` bits of every element, in two's complement, element by element.

    Their outputs are the bits of the result, element by element, the lowest first. With ``classes`` the result is the number of
    a class: a number beyond the last one is brought back (:func:`held_back`); without, it is codes.
    """

    gates: GateList
    bits: int
    classes: int = 0

    @functools.cached_property
    def whole(self) -> GateList:
        """The gates, and behind them those that bring numbers beyond the last class back, where there can be such numbers."""
        if not self.classes:
            return self.gates
        return self.gates if _highest(self.gates) < self.classes else held_back(self.gates, self.classes)

    @functools.cached_property
    def reads(self) -> np.ndarray:
        """Which bits (bool, elements × ``bits``) of what it reads may decide something."""
        return bits_that_count(self.gates).reshape(-1, self.bits)

    @functools.cached_property
    def words(self) -> np.ndarray | None:
        """Every row of words that can leave, of a result of one element; None where too many bits decide."""
        return output_patterns(self.whole, len(self.gates.outputs))


def _highest(gates: GateList) -> int:
    """Return the highest number that the outputs may be, as far as patterns or constants tell."""
    patterns = output_patterns(gates, len(gates.outputs))
    if patterns is not None:
        return int(patterns.max(initial=0))
    return sum(1 << place for place, signal in enumerate(gates.outputs.tolist()) if signal)


def held_back(gates: GateList, classes: int) -> GateList:
    """Return *gates* with others behind them that let no number beyond the last class out, and change no other one.

    A bit that the last class lacks is cleared where all bits above it that the last class has are 1.
    """
    last, outputs = classes - 1, gates.outputs.copy()
    more: list[tuple[int, tuple[int, ...]]] = []
    above: int | None = None  # signal: all bits so far that the last class has are 1
    for place in range(len(outputs) - 1, -1, -1):
        signal = int(outputs[place])
        if last >> place & 1:
            above = signal if above is None else _added(gates, more, AND, above, signal)
        elif above is None:
            outputs[place] = 0
        else:
            outputs[place] = _added(gates, more, AND, signal, _added(gates, more, NOT, above))
    return gates.with_gates(more, outputs)


def _added(gates: GateList, more: list[tuple[int, tuple[int, ...]]], function: int, *read: int) -> int:
    more.append((function, read))
    return gates.first + len(gates.functions) + len(more) - 1


# Rules -----------------------------------------------------------------------------------------------------------------


def _faults(op: Gates, operands: Operands, own: Operand) -> list[Fault]:
    why: list[Fault] = [*gate_faults(op.gates)]
    if not (is_code(op.bits) and 1 <= op.bits <= MOST_WORD_BITS):
        why.append(f"it reads {shown(op.bits)} bits of an element; 1…{MOST_WORD_BITS} may be read")
    elif op.gates.inputs % op.bits or op.gates.inputs < 1:
        why.append(f"{op.gates.inputs} input bits are no whole elements of {op.bits} bits")
    if not (is_code(op.classes) and op.classes >= 0):
        why.append(f"classes {shown(op.classes)} is no number of classes")
    return why


def _formats(op: Gates, operands: Operands, own: Operand) -> list[Fault]:
    read, made = operands[0].type, own.type.format
    why: list[Fault] = []
    if not isinstance(read.format, Fixed):
        why.append((f"gates look at bits of codes, not of {read.format}", "quantise the Graph first"))
    if read.elements * op.bits != op.gates.inputs:
        why.append(
            f"it has {op.gates.inputs} input bits, {op.bits} an element; {operands[0].name} has {read.elements} elements"
        )
    if not isinstance(made, Fixed) or made.bits > MOST_WORD_BITS:
        return [*why, f"it makes codes of at most {MOST_WORD_BITS} bits, not {made}"]
    if op.classes and made != (wanted := Fixed(max(1, (op.classes - 1).bit_length()))):
        why.append(f"its format is {made}, gates of {op.classes} classes make {wanted}")
    if len(op.gates.outputs) != (wanted_bits := own.type.elements * made.bits):
        why.append(
            f"{len(op.gates.outputs)} outputs for {own.type.elements} elements of {made.bits} bits: {wanted_bits}"
        )
    return why


def _signed(words: np.ndarray, fmt: Fixed) -> np.ndarray:
    """Return unsigned *words* of the width of *fmt* as its codes."""
    return words - ((words >> (fmt.bits - 1) & 1) << fmt.bits) if fmt.signed else words


def _reach(op: Gates, operands: Operands, own: Operand) -> Range:
    """Return the range: that of all patterns of the bits that decide, where they are few; else bits taken as independent."""
    fmt, count = own.fixed, own.type.elements
    words = op.words if count == 1 else None
    if words is not None:
        codes = _signed(words, fmt)
        return _objects([int(codes.min())]), _objects([int(codes.max())])
    low, high = [0] * count, [0] * count
    for number, signal in enumerate(op.whole.outputs.tolist()):
        element, place = divmod(number, fmt.bits)
        weight = -(1 << place) if fmt.signed and place == fmt.bits - 1 else 1 << place
        ends = (weight, weight) if signal == 1 else (0, 0) if signal == 0 else (min(weight, 0), max(weight, 0))
        low[element] += ends[0]
        high[element] += ends[1]
    if op.classes:
        high = [min(high[0], op.classes - 1)]
    return _objects(low), _objects(high)


def _objects(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=object)


def _made(op: Gates, values: Values, operands: Operands, own: Operand) -> np.ndarray:
    (x,) = values
    fmt = own.fixed
    codes = (x.reshape(len(x), -1) % (1 << op.bits)).astype(np.int64)
    return _signed(run_gates(op.whole, codes, op.bits, fmt.bits), fmt).reshape(len(x), *own.type.shape)


# Text ------------------------------------------------------------------------------------------------------------------


def _attributes(op: Gates) -> dict[str, object]:
    functions, operands = op.gates.functions.tolist(), op.gates.operands.tolist()
    rows = [[FUNCTIONS[number], *read[: ARITIES[number]]] for number, read in zip(functions, operands)]
    listed = {"inputs": int(op.gates.inputs), "list": rows, "outputs": op.gates.outputs.tolist()}
    told: dict[str, object] = {"bits": int(op.bits), "gates": listed}
    return {**told, "classes": int(op.classes)} if op.classes else told


_NUMBERS = {name: number for number, name in enumerate(FUNCTIONS)}
_MOST_SIGNALS = 1 << 30


def _read_gates(value: object, fmt: Format) -> GateList:
    if not isinstance(value, dict) or set(value) != {"inputs", "list", "outputs"}:
        raise ValueError("gates have inputs, list and outputs")
    listed, (inputs,) = value["list"], _signals([value["inputs"]], fmt)
    if not isinstance(listed, list) or len(listed) > MOST_GATES:
        raise ValueError(f"gates are a list of at most {MOST_GATES}")
    functions, operands = np.zeros(len(listed), dtype=np.int8), np.zeros((len(listed), 3), dtype=np.int32)
    for g, row in enumerate(listed):
        number = _NUMBERS.get(row[0]) if isinstance(row, list) and row and isinstance(row[0], str) else None
        if number is None:
            raise ValueError(f"gate {g} is {shown(row, 60)}; a gate is one of {', '.join(FUNCTIONS)}, and its signals")
        if len(row) != 1 + ARITIES[number]:
            raise ValueError(f"gate {g}, {row[0]}, reads {ARITIES[number]} signals, not {len(row) - 1}")
        functions[g] = number
        operands[g, : len(row) - 1] = _signals(row[1:], fmt)
    return GateList(inputs, functions, operands, np.array(_signals(value["outputs"], fmt), dtype=np.int32))


def _signals(value: object, fmt: Format) -> tuple[int, ...]:
    found = integers(value, fmt)
    if not all(0 <= signal < _MOST_SIGNALS for signal in found):
        raise ValueError(f"signals are numbers from 0 to {_MOST_SIGNALS - 1}")
    return found


# Random ones -----------------------------------------------------------------------------------------------------------


def random_gates(rng: np.random.Generator, inputs: int, outputs: int, count: int) -> GateList:
    """Return *count* random gates over *inputs* bits, and *outputs* signals of any kind, late ones as a rule."""
    first = CONSTANTS + inputs
    functions = rng.integers(0, len(FUNCTIONS), count)
    operands = np.zeros((count, 3), dtype=np.int32)
    for g, function in enumerate(functions.tolist()):
        lowest = CONSTANTS if rng.random() < 0.95 else 0
        operands[g, : ARITIES[function]] = rng.integers(lowest, first + g, ARITIES[function])
    left = rng.integers(0, first + count, outputs)
    late = rng.integers(max(0, first + count - 2 * outputs), first + count, outputs)
    return GateList(inputs, functions, operands, np.where(rng.random(outputs) < 0.7, late, left))


def _shapes(op: Gates, first: Shape, own: Type) -> list[Shape]:
    return [first, () if op.classes else own.shape]


GATES = Kind(
    op=Gates,
    shapes=_shapes,
    numbers="codes",
    says_format=True,
    classes=lambda op, read: op.classes,
    checks={"attributes": _faults, "formats": _formats},
    range=_reach,
    on_codes=_made,
    attributes=_attributes,
    readers={"bits": integer, "gates": _read_gates, "classes": integer},
    optional=frozenset({"classes"}),
    said=lambda op: f"{len(op.gates.functions)} gates",
    coarser=None,
)

KINDS = (GATES,)
