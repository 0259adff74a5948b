"""LSTM, GRU and RNN of a fixed length written out over time: products of every step, and what lies between them.

Equations: the operators' own text in ONNX. The products with the input are one over all steps, those with the state one a step;
where no state is given, the first step has none. Biases are added behind the products.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from approxhw.frontends.onnx.loading import STANDARD

from .inferred import inferred_shapes

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

RECURRENT = {"LSTM": 4, "GRU": 3, "RNN": 1}
"""Operators that are written out, and how many gates they have."""

MOST_STEPS = 1024
"""Most steps, of all directions and nodes together, that are written out: each is a product, and a session."""

_FUNCTIONS = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu"}
_DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}


def unroll(proto: ModelProto) -> tuple[ModelProto, dict[str, str]]:
    """Return *proto* with its recurrent nodes written out, and why others stay, by the first output of each."""
    if not any(is_recurrent(node) for node in proto.graph.node):
        return proto, {}
    shapes = inferred_shapes(proto)
    made = type(proto)()
    made.CopyFrom(proto)
    taken = {name for node in proto.graph.node for name in (*node.input, *node.output)}
    taken |= {value.name for value in proto.graph.input} | {tensor.name for tensor in proto.graph.initializer}
    nodes: list[NodeProto] = []
    stays: dict[str, str] = {}
    steps = 0
    for node in proto.graph.node:
        if not is_recurrent(node):
            nodes.append(node)
            continue
        cell = _cell(node, shapes)
        if isinstance(cell, str):
            stays[next(name for name in node.output if name)] = cell
            nodes.append(node)
            continue
        steps += cell.length * len(cell.directions)
        if steps > MOST_STEPS:
            stays[next(name for name in node.output if name)] = f"more than {MOST_STEPS} steps are not written out"
            nodes.append(node)
            continue
        writer = _Writer(node.name or next(name for name in node.output if name), taken)
        _write(writer, node, cell)
        nodes.extend(writer.nodes)
        made.graph.initializer.extend(writer.constants)
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return made, stays


def is_recurrent(node: NodeProto) -> bool:
    """Return whether *node* is an LSTM, GRU or RNN that makes something."""
    return node.domain in STANDARD and node.op_type in RECURRENT and any(node.output)


@dataclass(frozen=True)
class _Cell:
    """What a recurrent node is: ``functions`` by direction."""

    kind: str
    length: int
    hidden: int
    directions: tuple[str, ...]
    functions: tuple[tuple[str, ...], ...]
    batch_first: bool
    linear_before_reset: bool


def _cell(node: NodeProto, shapes: Mapping[str, Sequence[int | str]]) -> _Cell | str:
    """Return what *node* is, or why it is not written out."""
    from onnx import helper

    given = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    kind = node.op_type
    direction = given.get("direction", b"forward").decode(errors="replace").lower()
    directions = ("forward", "reverse") if direction == "bidirectional" else (direction,)
    count = len(_DEFAULTS[kind])
    named = [name.decode(errors="replace").lower() for name in given.get("activations", ())]
    if given.get("clip"):
        return "it clips its gates"
    if given.get("input_forget"):
        return "its input and forget gates are coupled"
    if len(node.input) > 4 and node.input[4]:
        return "rows have lengths of their own (sequence_lens)"
    if not {*directions} <= {"forward", "reverse"}:
        return "its direction is unknown"
    if named and (len(named) != count * len(directions) or not {*named} <= _FUNCTIONS.keys()):
        return "its activations are others than Sigmoid, Tanh and Relu"
    batch_first = bool(given.get("layout", 0))
    sizes = shapes.get(node.input[0])
    length = None if sizes is None or len(sizes) != 3 else sizes[1 if batch_first else 0]
    if not isinstance(length, int) or length < 1:
        return "its sequence length is open; export the model with a fixed one"
    hidden = given.get("hidden_size") or (shapes.get(node.input[2]) or ("",))[-1]
    if not isinstance(hidden, int) or hidden < 1:
        return "its hidden size is not known"
    functions = tuple(
        tuple(_FUNCTIONS[name] for name in named[i * count : (i + 1) * count]) if named else _DEFAULTS[kind]
        for i in range(len(directions))
    )
    return _Cell(kind, length, hidden, directions, functions, batch_first, bool(given.get("linear_before_reset")))


@dataclass
class _Writer:
    """Nodes as they are written, with names that nothing else has."""

    title: str
    taken: set[str]
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def fresh(self, what: str) -> str:
        """Return a name for a new value."""
        made, number = f"{self.title}.{what}", 1
        while made in self.taken:
            made, number = f"{self.title}.{what}.{number}", number + 1
        self.taken.add(made)
        return made

    def op(self, kind: str, *inputs: str, out: str = "", name: str = "", **attributes: int | Sequence[int]) -> str:
        """Append a node and return the name of what it makes."""
        from onnx import helper

        made = out or self.fresh(kind.lower())
        node = helper.make_node(kind, list(inputs), [made], name=name)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self.nodes.append(node)
        return made

    def constant(self, value: object) -> str:
        """Return the name of whole numbers."""
        from onnx import numpy_helper

        name = self.fresh("constant")
        self.constants.append(numpy_helper.from_array(np.array(value, np.int64), name))
        return name

    def pick(self, source: str, index: object, axis: int) -> str:
        """Return one place, or some, of *source* along *axis*."""
        return self.op("Gather", source, self.constant(index), axis=axis)


def _write(writer: _Writer, node: NodeProto, cell: _Cell) -> None:
    inputs = [*node.input, *[""] * (8 - len(node.input))]
    x, initial = inputs[0], inputs[5:7]
    if cell.batch_first:
        x = writer.op("Transpose", x, perm=[1, 0, 2])
        initial = [name and writer.op("Transpose", name, perm=[1, 0, 2]) for name in initial]
    hidden: list[list[str]] = []
    last: list[str] = []
    for number, direction in enumerate(cell.directions):
        way = _Way(writer, cell, inputs, number)
        state = [name and writer.pick(name, number, 0) for name in initial]
        places = range(cell.length) if direction == "forward" else range(cell.length - 1, -1, -1)
        found = dict[int, str]()
        rows = writer.op("MatMul", x, way.weights(inputs[1]), name=writer.fresh(f"{direction}.inputs"))
        for place in places:
            state = _STEPS[cell.kind](way, writer.pick(rows, place, 0), state, place)
            found[place] = state[0]
        hidden.append([found[place] for place in range(cell.length)])
        last.append(state[1] if cell.kind == "LSTM" else "")
    outputs = [*node.output, *[""] * (3 - len(node.output))]
    final = [rows[-1 if way == "forward" else 0] for rows, way in zip(hidden, cell.directions, strict=True)]
    if outputs[0]:
        shape = writer.constant([1, 1, -1, cell.hidden])
        ways = [_joined(writer, [writer.op("Reshape", h, shape) for h in rows], 0) for rows in hidden]
        _leave(writer, _joined(writer, ways, 1), outputs[0], [2, 0, 1, 3] if cell.batch_first else None)
    for out, states in ((outputs[1], final), (outputs[2], last)):
        if out:
            shape = writer.constant([1, -1, cell.hidden])
            each = [writer.op("Reshape", state, shape) for state in states]
            _leave(writer, _joined(writer, each, 0), out, [1, 0, 2] if cell.batch_first else None)


def _joined(writer: _Writer, parts: Sequence[str], axis: int) -> str:
    return parts[0] if len(parts) == 1 else writer.op("Concat", *parts, axis=axis)


def _leave(writer: _Writer, value: str, out: str, order: Sequence[int] | None) -> None:
    """Let *value* be the output *out*, its axes in another *order* where one is given."""
    if order is None:
        writer.op("Identity", value, out=out)
    else:
        writer.op("Transpose", value, out=out, perm=list(order))


@dataclass
class _Way:
    """One direction: its weights turned, its biases by gate."""

    writer: _Writer
    cell: _Cell
    inputs: Sequence[str]
    number: int
    turned: dict[tuple[int, ...], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take the parts that all steps share."""
        gates, hidden = RECURRENT[self.cell.kind], self.cell.hidden
        whole = self.writer.pick(self.inputs[3], self.number, 0) if self.inputs[3] else ""
        halves = [range(gates * hidden), range(gates * hidden, 2 * gates * hidden)]
        self.biases = [whole and self.writer.pick(whole, list(half), 0) for half in halves]
        self.peepholes = self.writer.pick(self.inputs[7], self.number, 0) if self.inputs[7] else ""

    def weights(self, source: str, gates: Sequence[int] = ()) -> str:
        """Return the weights of this direction, of some *gates* alone, turned: what stays in the array."""
        rows = self.writer.pick(source, self.number, 0)
        if gates:
            rows = self.writer.pick(rows, self._places(gates), 0)
        return self.writer.op("Transpose", rows, perm=[1, 0])

    def recurrence(self, state: str, place: int, gates: Sequence[int] = (), what: str = "") -> str:
        """Return *state* times the weights of recurrence; of no state, nothing."""
        if not state:
            return ""
        key = tuple(gates)
        if key not in self.turned:
            self.turned[key] = self.weights(self.inputs[2], gates)
        name = self.writer.fresh(f"{self.cell.directions[self.number]}.step{place}{what}")
        return self.writer.op("MatMul", state, self.turned[key], name=name)

    def gate(self, rows: str, number: int) -> str:
        """Return the columns of one gate."""
        if not rows or RECURRENT[self.cell.kind] == 1:
            return rows
        return self.writer.pick(rows, self._places([number]), 1)

    def bias(self, half: int, number: int) -> str:
        """Return a gate's bias, of the input (0) or of recurrence (1)."""
        return self.biases[half] and self.writer.pick(self.biases[half], self._places([number]), 0)

    def peephole(self, number: int) -> str:
        """Return a gate's weights of the cell's state: of input, output, forget."""
        return self.peepholes and self.writer.pick(self.peepholes, self._places([number]), 0)

    def _places(self, gates: Sequence[int]) -> list[int]:
        hidden = self.cell.hidden
        return [place for gate in gates for place in range(gate * hidden, (gate + 1) * hidden)]

    def sum(self, *terms: str) -> str:
        """Return the sum of those *terms* that are there; of none, nothing."""
        total = ""
        for term in filter(None, terms):
            total = self.writer.op("Add", total, term) if total else term
        return total

    def product(self, a: str, b: str) -> str:
        """Return a · b element by element; of nothing, nothing."""
        return self.writer.op("Mul", a, b) if a and b else ""

    def apply(self, function: int, value: str) -> str:
        """Return one of the cell's functions of *value*."""
        return self.writer.op(self.cell.functions[self.number][function], value)


def _lstm(way: _Way, rows: str, state: Sequence[str], place: int) -> list[str]:
    hidden, cell = state
    back = way.recurrence(hidden, place)

    def gate(number: int) -> str:
        return way.sum(way.gate(rows, number), way.gate(back, number), way.bias(0, number), way.bias(1, number))

    entering = way.apply(0, way.sum(gate(0), way.product(way.peephole(0), cell)))
    forgotten = way.apply(0, way.sum(gate(2), way.product(way.peephole(2), cell))) if cell else ""
    cell = way.sum(way.product(forgotten, cell), way.product(entering, way.apply(1, gate(3))))
    leaving = way.apply(0, way.sum(gate(1), way.product(way.peephole(1), cell)))
    return [way.product(leaving, way.apply(2, cell)), cell]


def _gru(way: _Way, rows: str, state: Sequence[str], place: int) -> list[str]:
    hidden, linear = state[0], way.cell.linear_before_reset
    back = way.recurrence(hidden, place, () if linear else (0, 1))

    def gate(number: int) -> str:
        return way.sum(way.gate(rows, number), way.gate(back, number), way.bias(0, number), way.bias(1, number))

    update = way.apply(0, gate(0))
    bias = way.bias(1, 2)
    reset = way.apply(0, gate(1)) if hidden or (linear and bias) else ""
    if linear:
        candidate = way.product(reset, way.sum(way.gate(back, 2), bias)) if back or bias else ""
    else:
        candidate = way.sum(way.recurrence(way.product(reset, hidden), place, (2,), ".reset"), bias)
    fresh = way.apply(1, way.sum(way.gate(rows, 2), candidate, way.bias(0, 2)))
    kept = way.writer.op("Sub", fresh, way.product(update, fresh))  # (1 - z) · h̃ without a 1 of the model's own type
    return [way.sum(kept, way.product(update, hidden)), ""]


def _rnn(way: _Way, rows: str, state: Sequence[str], place: int) -> list[str]:
    back = way.recurrence(state[0], place)
    return [way.apply(0, way.sum(rows, back, way.bias(0, 0), way.bias(1, 0))), ""]


_STEPS = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}
