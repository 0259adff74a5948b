"""A tensor Graph without some of its channels: every constant loses their places, sizes that a model holds follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from approxhw.common.errors import InvalidDataError, InvalidModelError, PassError, Problem, shown
from approxhw.ir.graph import Graph, Node, Op, identifier, without_unread
from approxhw.ir.kinds import Constant, Type
from approxhw.ir.kinds.tensor.ops import Conv, Host
from approxhw.numerics.formats import dtype_of, format_of

from .channels import Channels
from .operators import host_operator

PASSED_ON = frozenset(["Identity", "Cast", "Unsqueeze", "Squeeze", "Reshape"])
"""Operators that hand the one entry of a shape on."""


def sliced(channels: Channels, gone: np.ndarray, typed: Callable[[Graph], Graph]) -> Graph:
    """Return the Graph without the channels *gone* (their ids), its types found by *typed*.

    Values keep their order; changed constants have new names. Without any channel gone it is the same Graph. Raises
    :class:`PassError` naming every value that does not get the size it should have.
    """
    if not len(gone):
        return channels.graph
    change = _Change(channels, np.asarray(gone, np.int64), {node.name for node in channels.graph.nodes})
    for node in channels.graph.nodes:
        change.put(node)
    try:
        made = typed(without_unread(replace(channels.graph, nodes=tuple(change.nodes))))
    except (InvalidModelError, InvalidDataError) as error:
        gone_from = [group.title for group in channels.groups if np.isin(group.channels, change.gone).any()]
        where = f"layers {shown(', '.join(gone_from), 200)}"
        why = f"the model computes sizes that do not follow them: {error.problems[0].why}"
        raise PassError("channels", [Problem(where, why, "leave out the layer in question: layers=…")]) from error
    _check(channels, change, made)
    return made


def kept_places(axis: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """Return which places of an axis stay (indices): those of no channel that is *gone*."""
    return np.flatnonzero(~np.isin(axis, gone))


@dataclass(eq=False)
class _Change:
    """A Graph as its channels leave."""

    channels: Channels
    gone: np.ndarray
    taken: set[str]
    nodes: list[Node] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    """Constants that became others, by what they were called."""

    def put(self, node: Node) -> None:
        """Append what *node* becomes."""
        op = node.op
        if isinstance(op, Constant):
            self._constant(node, op)
            return
        node = replace(node, inputs=tuple(self.names.get(name, name) for name in node.inputs))
        axis = self.channels.axes[node.inputs[0]][1] if isinstance(op, Conv) and op.group > 1 else None
        if (
            isinstance(op, Conv) and axis is not None and op.group == len(axis)
        ):  # one group a channel, whatever they are
            node = replace(node, op=replace(op, group=len(kept_places(axis, self.gone))))
        elif isinstance(op, Host):
            node = self._reshaped(node)
        self.nodes.append(node)

    def _constant(self, node: Node, op: Constant) -> None:
        data = op.data
        for place, axis in enumerate(self.channels.axes[node.name]):
            if axis is not None and np.isin(axis, self.gone).any():
                data = np.take(data, kept_places(axis, self.gone), axis=place)
        if data is op.data:
            self.nodes.append(node)
            return
        name = self._fresh(node.name)
        self.names[node.name] = name
        self.nodes.append(Node(name, Constant(data), (), Type(data.shape, node.type.format), node.origin))

    def _reshaped(self, node: Node) -> Node:
        """Return the Reshape *node* with sizes of what is left; every other Node as it is."""
        for place in [place for name, place in self.channels.reshaped if name == node.name]:
            axis = self.channels.axes[node.name][place]
            assert axis is not None
            left = len(kept_places(axis, self.gone))
            if left != len(axis):
                known = host_operator(node)
                assert known is not None
                shape = node.inputs[known[2][1]]
                renewed = self._renewed(shape, place, len(axis), left)
                node = replace(node, inputs=tuple(renewed if name == shape else name for name in node.inputs))
        return node

    def _renewed(self, name: str, entry: int, old: int, new: int) -> str:
        """Return a value like the shape *name* whose *entry* is *new* where it is *old*; itself where it is −1 or 0 there."""
        graph = self.channels.graph
        node = next((each for each in self.nodes if each.name == name), None) or graph[name]
        if isinstance(node.op, Constant):
            data = np.array(node.op.data)
            if data.reshape(-1)[entry] != old:
                return name  # −1, or 0: it follows by itself
            data.reshape(-1)[entry] = new
            return self._append(node, Constant(data), ())
        known = host_operator(node) if isinstance(node.op, Host) else None
        if known is None or (known[0] != "Concat" and known[0] not in PASSED_ON):
            return self._told(node, entry, new)
        kind, _, places = known
        operands = [node.inputs[place] for place in places if place >= 0]
        if kind == "Concat":
            start = 0
            for i, part in enumerate(operands):
                size = graph[part].type.elements if part in graph.by_name else 1
                if entry < start + size:
                    operands[i] = self._renewed(part, entry - start, old, new)
                    break
                start += size
        else:
            operands[0] = self._renewed(operands[0], entry, old, new)
        if operands == [node.inputs[place] for place in places if place >= 0]:
            return name
        if len(set(places)) < len(places):
            return name  # one operand at two places: what follows is checked
        return self._append(node, node.op, tuple(operands[places.index(i)] for i in range(len(node.inputs))))

    def _told(self, node: Node, entry: int, new: int) -> str:
        """Return the computed shape *node* with *new* as its *entry*: sizes of other values need not follow what leaves."""
        dtype, count = dtype_of(node.type.format), node.type.elements
        if count == 1:
            return self._append(node, Constant(np.full(node.type.shape, new, dtype)), ())
        if not isinstance(node.op, Host):
            return node.name

        def held(value: int) -> str:
            data = np.array([value], np.int64)
            return self._append(replace(node, type=Type((1,), format_of(data.dtype))), Constant(data), ())

        def cut(first: int, end: int) -> list[str]:
            if first == end:
                return []
            of = replace(node, type=Type((end - first,), node.type.format))
            return [self._append(of, _like(node.op, "Slice", 3), (node.name, held(first), held(end)))]

        middle = self._append(replace(node, type=Type((1,), node.type.format)), Constant(np.array([new], dtype)), ())
        parts = [*cut(0, entry), middle, *cut(entry + 1, count)]
        return self._append(node, _like(node.op, "Concat", len(parts), axis=0), tuple(parts))

    def _append(self, node: Node, op: Op, inputs: tuple[str, ...]) -> str:
        name = self._fresh(node.name)
        self.nodes.append(replace(node, name=name, op=op, inputs=inputs))
        return name

    def _fresh(self, name: str) -> str:
        fresh = identifier(f"{name}_kept", self.taken)
        self.taken.add(fresh)
        return fresh


def _like(op: Op, kind: str, operands: int, **attributes: int) -> Host:
    """Return the ONNX operator *kind* of so many *operands* of whole numbers, in the opset of the Host *op* or the 10th."""
    from onnx import ModelProto, TensorProto, helper

    assert isinstance(op, Host)
    program = ModelProto.FromString(op.program)
    names = [f"x{place}" for place in range(operands)]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, None) for name in names]
    made = ModelProto(ir_version=program.ir_version)
    opset = next((each.version for each in program.opset_import if each.domain in ("", "ai.onnx")), 0)
    made.opset_import.append(helper.make_opsetid("", max(opset, 10)))  # older ones cut at fixed places alone
    node = helper.make_node(kind, names, ["y"], **attributes)  # type: ignore[arg-type]
    made.graph.CopyFrom(helper.make_graph([node], "operator", inputs, [helper.make_empty_tensor_value_info("y")]))
    return Host(made.SerializeToString(deterministic=True), ("y",), (kind,))


def _check(channels: Channels, change: _Change, made: Graph) -> None:
    """Raise :class:`PassError` where a value of *made* lacks the size that the channels left give it."""
    problems = []
    for node in made.nodes:
        axes = channels.axes.get(node.name)
        if axes is None or isinstance(node.op, Constant):
            continue
        before = channels.graph[node.name].type.shape
        wanted = tuple(
            size if axis is None else len(kept_places(axis, change.gone))
            for size, axis in zip(before, axes, strict=True)
        )
        if node.type.shape != wanted:
            why = f"it has the sizes {node.type.shape} after its channels left, not {wanted}: the model computes them"
            problems.append(Problem(f"value {shown(node.name, 60)}", why, "leave its layer out of the pass"))
    if problems:
        raise PassError("channels", problems[:8])
