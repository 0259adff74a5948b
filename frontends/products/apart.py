"""A tensor Graph with one ONNX node a Host Node, all its constants being Nodes: what passes that change shapes look through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from approxhw.frontends.onnx.loading import STANDARD
from approxhw.frontends.runtime.host import OnnxHost, parsed_program
from approxhw.frontends.runtime.sessions import open_session
from approxhw.ir.graph import Graph, Node, Op, identifier, without_unread
from approxhw.ir.kinds import Constant, Type
from approxhw.ir.kinds.tensor.ops import Host, Part
from approxhw.numerics.formats import format_of

from .building import OPEN
from .model import NATIVE
from .names import reads
from .pieces import element_of

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto


def taken_apart(graph: Graph, host: OnnxHost) -> Graph:
    """Return *graph* with a Host Node for each ONNX node of every Host Node, types of what is new still open.

    What it means stays: nodes keep their order, operators and operands. Constants inside of a program become Nodes; those of
    types that NumPy lacks stay inside of theirs.
    """
    taking = _Taking(host, {node.name for node in graph.nodes})
    for node in graph.nodes:
        if isinstance(node.op, Host):
            taking.open(node, node.op)
        elif isinstance(node.op, Part) and node.inputs[0] in taking.parts:
            taking.names[node.name] = taking.parts[node.inputs[0]][node.op.index]
        else:
            inputs = tuple(taking.names.get(name, name) for name in node.inputs)
            taking.nodes.append(replace(node, inputs=inputs))
    results = tuple((title, taking.names.get(name, name)) for title, name in graph.results)
    output = taking.names.get(graph.output, graph.output)
    return without_unread(replace(graph, nodes=tuple(taking.nodes), results=results, output=output))


@dataclass
class _Taking:
    """Nodes as they are taken out of Host Nodes."""

    host: OnnxHost
    taken: set[str]
    nodes: list[Node] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    """What a value of the Graph is called now."""
    parts: dict[str, list[str]] = field(default_factory=dict)
    """What a Host Node made, in order."""

    def open(self, node: Node, op: Host) -> None:
        """Put the ONNX nodes of the Host *node* in its place; it stays where something between them is no tensor."""
        program = parsed_program(op.program, self.host.title)
        inputs = [self.names.get(name, name) for name in node.inputs]
        if _is_apart(program, op):
            self._stay(node, inputs)  # the next pass knows a value by the name that it had in front of the one before
            return
        found = _Inside(
            self.host, program, dict(zip((value.name for value in program.graph.input), inputs)), self.taken
        )
        if not found.all_tensors():
            self._stay(node, inputs)
            return
        self.nodes += found.nodes
        made = [found.known[name] for name in op.makes]
        self.names[node.name], self.parts[node.name] = made[0], made

    def _stay(self, node: Node, inputs: Sequence[str]) -> None:
        self.nodes.append(replace(node, inputs=tuple(inputs)))


def _is_apart(program: ModelProto, op: Host) -> bool:
    """Whether *program* is one operator without constants of its own, all of whose results are made."""
    nodes = program.graph.node
    alone = len(nodes) == 1 and not program.graph.initializer and nodes[0].op_type != "Constant"
    return alone and tuple(nodes[0].output) == op.makes


@dataclass
class _Inside:
    """The ONNX nodes of one program as they become Nodes."""

    host: OnnxHost
    program: ModelProto
    known: dict[str, str]
    """Its values, as the Graph calls them."""
    taken: set[str]
    nodes: list[Node] = field(default_factory=list)
    elements: dict[str, int] = field(default_factory=dict)
    """ONNX's numbers of their element types."""
    odd: dict[str, TensorProto] = field(default_factory=dict)
    """Constants of types that NumPy lacks."""

    def all_tensors(self) -> bool:
        """Put every ONNX node into ``nodes``; return whether all that goes between them are tensors that NumPy knows."""
        for fed in self.program.graph.input:
            self.elements[fed.name] = fed.type.tensor_type.elem_type
        for tensor in self.program.graph.initializer:
            self._hold(tensor.name, tensor)
        for inner in self.program.graph.node:
            value = next((entry.t for entry in inner.attribute if entry.name == "value"), None)
            if inner.op_type == "Constant" and inner.domain in STANDARD and value is not None:
                self._hold(inner.output[0], value)
            elif not self._operator(inner):
                return False
        return True

    def _hold(self, name: str, tensor: TensorProto) -> None:
        from onnx import numpy_helper

        data = numpy_helper.to_array(tensor)
        if data.dtype.name not in NATIVE:
            self.odd[name] = tensor
            return
        self.elements[name] = tensor.data_type
        self.known[name] = self._add(name, Constant(data), (), Type(data.shape, format_of(data.dtype)))

    def _operator(self, inner: NodeProto) -> bool:
        """Append a Host Node of the ONNX node *inner*, and a Part for each further value; return whether all are tensors."""
        from onnx import ModelProto, TensorProto, helper

        read = [name for name in reads(inner) if name not in self.odd]
        makes = tuple(name for name in inner.output if name)
        single = ModelProto(ir_version=self.program.ir_version)
        single.opset_import.extend(self.program.opset_import)
        single.graph.name = "operator"
        single.graph.node.add().CopyFrom(inner)
        single.graph.node[0].name = ""  # names mean nothing, and programs that differ in nothing else are one
        for name in read:
            single.graph.input.append(helper.make_tensor_value_info(name, self.elements[name], None))
        for name in reads(inner):
            if name in self.odd:
                single.graph.initializer.add().CopyFrom(self.odd[name])
                single.graph.initializer[-1].name = name
        for name in makes:
            single.graph.output.add().name = name
        session = open_session(single, self.host.title)
        for value in session.get_outputs():
            element = element_of(value.type)
            if element is None or element == TensorProto.UNDEFINED:
                return False
            self.elements[value.name] = element
        op = Host(single.SerializeToString(deterministic=True), makes, (inner.op_type,))
        self.host.adopt(op, session)
        first = self.known[makes[0]] = self._add(makes[0], op, [self.known[name] for name in read], OPEN)
        for index, name in enumerate(makes[1:], 1):
            self.known[name] = self._add(name, Part(index), [first], OPEN)
        return True

    def _add(self, title: str, op: Op, inputs: Sequence[str], kind: Type) -> str:
        name = identifier(title, self.taken)
        self.taken.add(name)
        self.nodes.append(Node(name, op, tuple(inputs), kind))
        return name
