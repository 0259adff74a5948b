"""The pass that folds what is the same for every row, and drops neurons that nothing reads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from approxhw.artifacts.converters import converters
from approxhw.common.errors import PassError, Problem
from approxhw.ir.chain import is_activation, is_decision, unshaped
from approxhw.ir.graph import Graph, Node, kind_of, ranges, without_unread
from approxhw.ir.kinds import (
    ArgMax,
    Constant,
    Dense,
    Forest,
    Gates,
    Input,
    Range,
    Reshape,
    Threshold,
    Type,
    approximate_argmax,
    product_ranges,
)
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.rewriting import code_array, code_constant, fit_formats, fresh_name
from approxhw.numerics.formats import BORDERED, Fixed
from approxhw.numerics.mac.arithmetic import ApproximateMultiplier, Exact, MaskedPowerOfTwo

_Masks = dict[str, np.ndarray]


@dataclass(frozen=True)
class DropConstant:
    """Fold values that are the same for every row into biases, and drop neurons that nothing reads.

    Exact ranges say what is constant: an element of one code goes into the bias of the ``Dense`` that reads it. A
    neuron whose weight is 0 wherever it is read is removed. Where only one class can win, one ``Dense`` of zero
    weights is left before the head. Ports stay, also those that nothing reads any more.
    """

    kind: ClassVar[str] = "exact"

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* without them; the same Graph where there are none."""
        if not graph.is_integer:
            why = "only an integer Graph has exact ranges"
            raise PassError("pass drop-constant", [Problem(graph.name, why, "run quantize-weights before")])
        first, neurons = graph, _neurons(graph)
        while not _is_settled(graph):
            changed = _without_dead(_folded(graph))
            if changed == graph:
                break
            graph = changed
        self._tell_inputs(graph, context)
        if graph is first or graph == first:
            return first
        context.note(f"{neurons - _neurons(graph)} of {neurons} neurons dropped")
        return fit_formats(graph)

    def _tell_inputs(self, graph: Graph, context: PassContext) -> None:
        """Note how many inputs nothing reads: an unused sensor, and its converter, is the biggest saving of all."""
        fmt = graph.input.type.format
        assert isinstance(fmt, Fixed)
        total, read = graph.input.type.elements, len(inputs_read(graph))
        op = graph.input.op
        counts = isinstance(op, Input) and op.encoding is not None and op.encoding.rule in BORDERED
        if read < total:
            so = "" if counts else f", so {converters(read, fmt.bits)}"
            context.note(f"{read} of {total} inputs are read{so}")


def inputs_read(graph: Graph) -> list[int]:
    """Return the numbers of the inputs that something reads, as far as weights and masks tell."""
    seen = np.zeros(graph.input.type.elements, dtype=bool)
    names = {graph.input.name}
    for node in graph.nodes:
        if names.isdisjoint(node.inputs):
            continue
        if isinstance(node.op, Reshape):
            names.add(node.name)
        elif isinstance(node.op, Dense):
            seen |= _reads(graph, node).any(axis=0)
        elif isinstance(node.op, Forest):
            seen[[*node.op.feature, *node.op.other[node.op.other >= 0]]] = True
        elif isinstance(node.op, Gates):
            seen |= node.op.reads.any(axis=1)
        else:
            seen[:] = True
    return [int(i) for i in np.flatnonzero(seen)]


def _neurons(graph: Graph) -> int:
    return sum(node.type.elements for node in graph.nodes if isinstance(node.op, Dense))


def _folded(graph: Graph) -> Graph:
    """Return *graph* with Constants for constant values, and constant elements of operands folded into biases."""
    known = ranges(graph)
    nodes: list[Node] = []
    for node in graph.nodes:
        fixed = node.name in known and not isinstance(node.op, Input) and not graph.is_constant(node.name)
        code = _only_code(node, known) if fixed else None
        if code is not None and node.name == graph.output and is_decision(node):
            return _settled(graph, node, int(code[0]))
        if code is not None:
            op = Constant(code_array(code.reshape(node.type.shape)))
            nodes.append(replace(node, op=op, inputs=()))
        elif isinstance(node.op, Dense):
            nodes += _dense_folded(graph, node, known[node.inputs[0]])
        else:
            nodes.append(node)
    return without_unread(replace(graph, nodes=_first_of_each_name(nodes)))


def _settled(graph: Graph, head: Node, winner: int) -> Graph:
    """Return the Graph that says *winner* to every row: its head reads a ``Dense`` of zero weights."""
    nodes, x = [graph.input], graph.input
    if len(x.type.shape) != 1:
        x = Node(fresh_name(graph, f"{x.name}_flat"), Reshape(), (x.name,), Type((x.type.elements,), x.type.format))
        nodes.append(x)
    op, m, n = head.op, graph[head.inputs[0]].type.elements, x.type.elements
    bias = [op.threshold + winner] if isinstance(op, Threshold) else [int(i == winner) for i in range(m)]
    fmt = x.type.format
    assert isinstance(fmt, Fixed)
    names = [fresh_name(graph, f"{head.name}_settled_{part}") for part in ("weight", "bias", "sum")]
    w = Node(names[0], Constant(np.zeros((m, n), dtype=np.int64)), (), Type((m, n), Fixed(1)))
    b = code_constant(names[1], bias, fmt.scale)
    dense = Node(names[2], Dense(Exact(1)), (x.name, w.name, b.name), Type((m,), b.type.format))
    head = replace(head, op=ArgMax() if isinstance(op, ArgMax) else op, inputs=(dense.name,))
    settled = replace(graph, nodes=(*nodes, w, b, dense, head))
    return fit_formats(settled)


def _is_settled(graph: Graph) -> bool:
    """Whether the head reads a ``Dense`` of zero weights over the Input itself: nothing is left to fold."""
    head = graph[graph.output]
    if not is_decision(head):
        return False
    dense = graph[head.inputs[0]]
    if not isinstance(dense.op, Dense) or graph.constant(dense.inputs[1]).any():
        return False
    return isinstance(unshaped(graph, dense.inputs[0]).op, Input)


def _only_code(node: Node, known: dict[str, Range]) -> np.ndarray | None:
    """Return the codes of *node* where it can have no others, else None."""
    low, high = known[node.name]
    if isinstance(node.op, Gates):  # what is constant there is a gate less already
        return None
    if isinstance(node.op, ArgMax):
        if node.op.width is not None:  # who can win where comparators see a few bits is more than ranges tell
            least, greatest = known[node.inputs[0]]
            return approximate_argmax(node.op, least[None, :]).astype(object) if (least == greatest).all() else None
        winners = _winners(*known[node.inputs[0]])
        return np.array(winners, dtype=object) if len(winners) == 1 else None
    return low if (low == high).all() else None


def _winners(low: np.ndarray, high: np.ndarray) -> list[int]:
    """Return the classes that can win: none before them is sure to reach their best, none behind to exceed it."""
    n = len(low)
    before = [max(low[:i].tolist(), default=None) for i in range(n)]
    behind = [max(low[i + 1 :].tolist(), default=None) for i in range(n)]
    return [
        i
        for i in range(n)
        if (before[i] is None or before[i] < high[i]) and (behind[i] is None or behind[i] <= high[i])
    ]


def _dense_folded(graph: Graph, node: Node, operand: Range) -> list[Node]:
    weights, bias, *rest = (graph.constant(name).astype(object) for name in node.inputs[1:])
    constant = (operand[0] == operand[1]) & (weights != 0).any(axis=0)
    assert isinstance(node.op, Dense)
    if isinstance(node.op.arithmetic, ApproximateMultiplier):
        # what a weight of 0 gives is the table's own affair: the column stays where it is not 0 for this code
        row = rest[0][0].tolist()
        constant &= np.array([row[int(code) % len(row)] == 0 for code in operand[0].tolist()], dtype=bool)
    if not constant.any():
        return [node]
    products = product_ranges(node.op, tuple(graph.operand(name, {node.inputs[0]: operand}) for name in node.inputs))[0]
    bias = bias + products[:, constant].sum(axis=1)
    weights = np.where(constant[None, :], 0, weights)
    if isinstance(node.op.arithmetic, MaskedPowerOfTwo):
        rest = [np.where(constant[None, :], 0, rest[0])]
    return _with_constants(graph, node, weights, bias, *rest)


def _with_constants(graph: Graph, node: Node, *constants: np.ndarray) -> list[Node]:
    """Return *node* (``Dense``) with other constants before it; names are kept where nothing else reads them."""
    made: list[Node] = []
    bias = constants[1]
    for name, data in zip(node.inputs[1:], constants):
        shared = sum(other.inputs.count(name) for other in graph.nodes) > 1
        fmt = graph[name].type.format
        assert isinstance(fmt, Fixed)
        new = fresh_name(graph, name, {n.name for n in made}) if shared else name
        made.append(code_constant(new, data, fmt.scale, origin=graph[name].origin))
    old = node.type.format
    assert isinstance(old, Fixed)
    wide = Type((len(bias),), replace(old, bits=4000, signed=True))
    return [*made, replace(node, inputs=(node.inputs[0], *(constant.name for constant in made)), type=wide)]


def _first_of_each_name(nodes: list[Node]) -> tuple[Node, ...]:
    """Return *nodes* where a Constant that was made anew takes the place of the old one of its name."""
    last = {node.name: node for node in nodes}
    return tuple(node for node in nodes if last[node.name] is node)


def _without_dead(graph: Graph) -> Graph:
    """Return *graph* without the neurons whose weight is 0 wherever they are read."""
    alive = _alive(graph)
    nodes: list[Node] = []
    for node in graph.nodes:
        mask = alive.get(node.name)
        if isinstance(node.op, Dense):
            rows, columns = alive[node.name], alive.get(node.inputs[0])
            weights, bias, *rest = (graph.constant(name) for name in node.inputs[1:])
            if columns is None:
                columns = np.ones(weights.shape[1], dtype=bool)
            if not (rows.all() and columns.all()):
                if isinstance(node.op.arithmetic, MaskedPowerOfTwo):
                    rest = [rest[0][rows][:, columns]]
                nodes += _with_constants(graph, node, weights[rows][:, columns], bias[rows], *rest)
                continue
        elif mask is not None and not mask.all():
            node = _shrunk(node, mask)
        nodes.append(node)
    return without_unread(replace(graph, nodes=_first_of_each_name(nodes)))


def _reads(graph: Graph, node: Node) -> np.ndarray:
    """Return which input each neuron of a ``Dense`` depends on: outputs × inputs."""
    assert isinstance(node.op, Dense)
    weights = graph.constant(node.inputs[1])
    if isinstance(node.op.arithmetic, MaskedPowerOfTwo):
        fmt = graph[node.inputs[0]].type.format
        assert isinstance(fmt, Fixed)
        read: np.ndarray = (weights != 0) & ((graph.constant(node.inputs[3]) & fmt.high) != 0)
        return read
    if isinstance(node.op.arithmetic, ApproximateMultiplier):
        table = graph.constant(node.inputs[3])
        same: np.ndarray = (table == 0).all(axis=1)  # a row that is 0 for every code reads nothing
        return ~same[(weights % len(table)).astype(np.int64)]
    found: np.ndarray = weights != 0
    return found


def _shrunk(node: Node, mask: np.ndarray) -> Node:
    return replace(node, op=kind_of(node.op).some(node.op, mask), type=Type((int(mask.sum()),), node.type.format))


def _alive(graph: Graph) -> _Masks:
    """Return which elements of each value something reads; only of ``Dense`` and what follows it element by element."""
    alive: _Masks = {}
    for node in graph.nodes:
        elementwise = is_activation(node) and node.inputs[0] in alive
        if isinstance(node.op, Dense) or elementwise:
            alive[node.name] = np.zeros(node.type.elements, dtype=bool)
    if graph.output in alive:
        alive[graph.output][:] = True
    for node in reversed(graph.nodes):
        mask = alive.get(node.name)
        if mask is not None and not mask.any():
            mask[0] = True  # a value has at least one element
        for name in node.inputs[: kind_of(node.op).rows]:
            if name not in alive:
                continue
            if isinstance(node.op, Dense):
                alive[name] |= _reads(graph, node)[alive[node.name]].any(axis=0)
            elif mask is not None:
                alive[name] |= mask
            else:
                alive[name][:] = True
    return alive
