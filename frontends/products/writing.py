"""A tensor Graph back as an ONNX model: its weights and codes, products as ONNX has them, host parts as they came."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from approxhw.common.arguments import checked
from approxhw.common.errors import OutputError, Problem, UnsupportedModelError, shown
from approxhw.common.files import write_beside
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import Constant, Lookup, Relu
from approxhw.ir.kinds.tensor.integers import (
    ConvInteger,
    DequantizeLinear,
    MatMulInteger,
    QuantizeLinear,
    Rescale,
    is_integer_product,
)
from approxhw.ir.kinds.tensor.ops import Add, Conv, ConvTranspose, Feed, Gemm, Host, MatMul, Part, Transpose
from approxhw.ir.kinds.tensor.products import product_of
from approxhw.numerics.formats import Fixed, dtype_of

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

OPSET, IR_VERSION = 17, 8
"""Of a model without host parts, which bring theirs; DequantizeLinear has had an axis since 13."""


def onnx_of(graph: Graph) -> ModelProto:
    """Return *graph*, a Graph of whole tensors, as an ONNX model whose products are exact.

    ONNX knows no operators but the exact one: what the model holds is weights, biases and scales. A product of codes becomes
    MatMulInteger or ConvInteger; a Rescale becomes DequantizeLinear and QuantizeLinear, of a float32 scale: results may be a unit
    apart where a sum lies next to a tie. Read again, it becomes the same products of codes by integer-products. Raises
    :class:`UnsupportedModelError` naming every Node that ONNX has no word for.
    """
    if not graph.is_tensor:
        why = "it is a Graph of one row, not of whole tensors"
        raise UnsupportedModelError(shown(graph.name), [Problem("Graph", why, "give one of an engine's Graphs")])
    problems = [
        Problem(f"layer {shown(node.op.title, 60)!r}", "ONNX has no control variate", "leave out control-variate")
        for node in graph.nodes
        if isinstance(node.op, MatMulInteger | ConvInteger) and node.op.variate
    ]
    if problems:
        raise UnsupportedModelError(shown(graph.name), problems)
    writing = _Writing(graph)
    for node in graph.nodes:
        writing.put(node)
    return writing.model()


@checked("write_onnx")
def write_onnx(graph: Graph, path: str | Path) -> Path:
    """Write *graph* to the ONNX file *path*, whole or not at all, as :func:`onnx_of` makes a model of it; return the path.

    Raises what that does, and :class:`OutputError` for a model of more than 2 GiB, or a place that cannot be written.
    """
    proto = onnx_of(graph)
    try:
        content = proto.SerializeToString(deterministic=True)
    except ValueError as error:
        why = f"a file of this format has 2 GiB at most ({shown(error, 80)})"
        raise OutputError("write_onnx", [Problem(str(path), why, "quantise the model first")]) from error
    write_beside(Path(path), content)
    return Path(path)


@dataclass(eq=False)
class _Writing:
    """A model as it grows."""

    graph: Graph
    nodes: list[NodeProto] = field(default_factory=list)
    held: dict[str, TensorProto] = field(default_factory=dict)
    opsets: dict[str, int] = field(default_factory=dict)
    ir_version: int = IR_VERSION
    named: dict[str, str] = field(default_factory=dict)
    makes: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Name every value: those of inputs as people know them, others as Nodes are called, unless a title is called so."""
        titles = {title for title, _ in self.graph.results}
        feeds = {node.name: node.op.title for node in self.graph.nodes if isinstance(node.op, Feed)}
        taken = titles | set(feeds.values())
        for node in self.graph.nodes:
            name = feeds.get(node.name) or node.name
            while node.name not in feeds and name in taken:
                name += "_value"
            taken.add(name)
            self.named[node.name] = name

    def value(self, name: str) -> str:
        """Return the name of a value, a Constant being put among the initializers."""
        self._hold(name, self.named[name])
        return self.named[name]

    def single(self, name: str) -> str:
        """Return the name of a scale or zero point; one of a single element is written without axes."""
        op = self.graph[name].op
        if not isinstance(op, Constant) or op.data.size != 1 or op.data.ndim == 0:
            return self.value(name)
        scalar = f"{self.named[name]}/scalar"
        self._hold(name, scalar, ())
        return scalar

    def _scales(self, node: Node) -> list[str]:
        """Return the names of the scale and zero point of *node*, of one shape as ONNX wants them."""
        both = [self.graph[name] for name in node.inputs[1:]]
        sizes = [each.op.data.size for each in both if isinstance(each.op, Constant)]
        if len(sizes) < 2 or sizes[0] == sizes[1]:
            return [self.single(name) for name in node.inputs[1:]]
        own, made = self.named[node.name], []
        for each, end in zip(both, ("scale", "zero")):
            data = self.graph.constant(each.name).astype(dtype_of(each.type.format)).reshape(-1)
            made.append(self.constant(f"{own}/{end}", np.ascontiguousarray(np.broadcast_to(data, max(sizes)))))
        return made

    def _hold(self, name: str, called: str, shape: tuple[int, ...] | None = None) -> None:
        from onnx import numpy_helper

        node = self.graph[name]
        if isinstance(node.op, Constant) and called not in self.held:
            data = node.op.data.astype(dtype_of(node.type.format), copy=False)
            self.held[called] = numpy_helper.from_array(data if shape is None else data.reshape(shape), called)

    def constant(self, called: str, data: np.ndarray) -> str:
        """Put *data* among the initializers and return its name."""
        from onnx import numpy_helper

        self.held[called] = numpy_helper.from_array(data, called)
        return called

    def add(self, kind: str, inputs: list[str], output: str, title: str = "", **attributes: Any) -> str:
        """Append a node and return what it makes."""
        from onnx import helper

        given = {key: value for key, value in attributes.items() if value not in ((), "NOTSET")}
        plain = {key: int(value) if isinstance(value, bool) else value for key, value in given.items()}
        node = helper.make_node(kind, inputs, [output], name=title)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in plain.items())
        self.nodes.append(node)
        return output

    def put(self, node: Node) -> None:
        """Append what *node* becomes."""
        op, own = node.op, self.named[node.name]
        if isinstance(op, Constant | Feed):
            return
        if isinstance(op, Host):
            self._host(node, op)
        elif isinstance(op, Part):
            self.add("Identity", [self.makes[node.inputs[0]][op.index]], own)
        elif isinstance(op, MatMul | Gemm | Conv | ConvTranspose | MatMulInteger | ConvInteger):
            codes = is_integer_product(op)
            operands = [self.value(name) for name in (node.inputs[:2] if codes else node.inputs)]
            zeros = [self.single(name) for name in node.inputs[2:4]] if codes else []
            self.add(type(op).__name__, operands + zeros, own, op.title, **product_of(op, ()).attributes)
        elif isinstance(op, QuantizeLinear):
            number = self._cast(node.inputs[0], np.float32, f"{own}/float32")
            self.add("QuantizeLinear", [number, *self._scales(node)], own, axis=op.axis)
        elif isinstance(op, DequantizeLinear):
            self._numbers(node, op, own)
        elif isinstance(op, Rescale):
            self._rescale(node, op, own)
        elif isinstance(op, Lookup):
            self._table(node, op, own)
        elif isinstance(op, Add):
            self.add("Add", [self.value(name) for name in node.inputs], own)
        elif isinstance(op, Relu):
            self.add("Relu", [self.value(node.inputs[0])], own)
        elif isinstance(op, Transpose):
            self.add("Transpose", [self.value(node.inputs[0])], own, perm=op.axes)
        else:
            raise TypeError(f"{node.name}: no tensor Graph has {node.kind}")

    def _cast(self, name: str, kind: type[np.generic], called: str) -> str:
        """Return the value *name* in floating-point type *kind*: codes are made of, and become, float32 in ONNX."""
        from onnx import helper

        if dtype_of(self.graph[name].type.format) == kind:
            return self.value(name)
        return self.add("Cast", [self.value(name)], called, to=helper.np_dtype_to_tensor_dtype(np.dtype(kind)))

    def _numbers(self, node: Node, op: DequantizeLinear, own: str) -> None:
        from onnx import helper

        wanted = dtype_of(node.type.format)
        inputs = [self.value(node.inputs[0]), *self._scales(node)]
        made = self.add("DequantizeLinear", inputs, own if wanted == np.float32 else f"{own}/float32", axis=op.axis)
        if wanted != np.float32:
            self.add("Cast", [made], own, to=helper.np_dtype_to_tensor_dtype(wanted))

    def _rescale(self, node: Node, op: Rescale, own: str) -> None:
        """Append numbers of the sums, cut off where the codes are, and codes of them in steps of 1."""
        fmt = node.type.format
        factor, shift = (self.graph.constant(name).astype(np.float64) for name in node.inputs[1:])
        scale = (factor / 2.0**shift).astype(np.float32)
        scale = scale.reshape(()) if scale.size == 1 else scale.reshape(-1)
        beside = [
            self.constant(f"{own}/scale", scale),
            self.constant(f"{own}/origin", np.zeros(scale.shape, np.int32)),  # it says that the sums are int32
        ]
        made = self.add("DequantizeLinear", [self.value(node.inputs[0]), *beside], f"{own}/numbers", axis=op.axis)
        assert isinstance(fmt, Fixed)
        if op.low == op.zero and op.high == fmt.high:
            made = self.add("Relu", [made], f"{own}/positive")
        elif (op.low, op.high) != (fmt.low, fmt.high):
            limits = [
                self.constant(f"{own}/{end}", np.array(limit - op.zero, np.float32))
                for end, limit in (("low", op.low), ("high", op.high))
            ]
            made = self.add("Clip", [made, *limits], f"{own}/clipped")
        one = self.constant(f"{own}/one", np.array(1, np.float32))
        zero = self.constant(f"{own}/zero", np.array(op.zero, dtype_of(fmt)))
        self.add("QuantizeLinear", [made, one, zero], own)

    def _table(self, node: Node, op: Lookup, own: str) -> None:
        """Append the table as Gather: ONNX counts indices below 0 from the end, as tables of a Graph do."""
        from onnx import TensorProto

        entries = self.constant(f"{own}/table", np.array(op.table, dtype_of(node.type.format)))
        place = self.add("Cast", [self.value(node.inputs[0])], f"{own}/place", to=TensorProto.INT32)
        self.add("Gather", [entries, place], own, axis=0)

    def _host(self, node: Node, op: Host) -> None:
        """Append the nodes of a host part, names inside of it with the Node's in front."""
        import onnx

        proto = onnx.ModelProto.FromString(op.program)
        for each in proto.opset_import:
            domain = "" if each.domain == "ai.onnx" else each.domain
            self.opsets[domain] = max(each.version, self.opsets.get(domain, 0))
        self.ir_version = max(self.ir_version, proto.ir_version)
        known = {value.name: self.value(name) for value, name in zip(proto.graph.input, node.inputs)}
        known[""] = ""
        for tensor in proto.graph.initializer:
            copy = onnx.TensorProto()
            copy.CopyFrom(tensor)
            copy.name = known[tensor.name] = f"{self.named[node.name]}/{tensor.name}"
            self.held[copy.name] = copy
        for inner in proto.graph.node:
            changed = onnx.NodeProto()
            changed.CopyFrom(inner)
            changed.name = ""
            for name in inner.output:
                known.setdefault(name, f"{self.named[node.name]}/{name}")
            for attribute in changed.attribute:
                for body in (attribute.g, *attribute.graphs):
                    _renamed(body, known)
            for names in (changed.input, changed.output):
                names[:] = [known[name] for name in names]
            self.nodes.append(changed)
        self.makes[node.name] = [known[name] for name in op.makes]
        self.add("Identity", [self.makes[node.name][0]], self.named[node.name])

    def model(self) -> ModelProto:
        """Return the whole model."""
        from onnx import helper

        inputs, outputs = [], []
        for node in self.graph.nodes:
            if isinstance(node.op, Feed):
                kind = helper.np_dtype_to_tensor_dtype(dtype_of(node.type.format))
                inputs.append(helper.make_tensor_value_info(node.op.title, kind, node.op.dims))
        for title, name in self.graph.results:
            self.add("Identity", [self.value(name)], title)
            kind = helper.np_dtype_to_tensor_dtype(dtype_of(self.graph[name].type.format))
            outputs.append(helper.make_tensor_value_info(title, kind, [None] * len(self.graph[name].type.shape)))
        graph = helper.make_graph(self.nodes, self.graph.name, inputs, outputs, list(self.held.values()))
        opsets = {"": OPSET, **self.opsets}
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(domain, version) for domain, version in opsets.items()],
            ir_version=self.ir_version,
            producer_name="approxhw",
        )


def _renamed(body: Any, known: dict[str, str]) -> None:
    """Give what a branch inside of a node reads from outside its new name; what it makes itself keeps its own."""
    own = {name for node in body.node for name in node.output} | {
        each.name for each in (*body.initializer, *body.input)
    }
    outside = {name: called for name, called in known.items() if name not in own}
    for node in body.node:
        node.input[:] = [outside.get(name, name) for name in node.input]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _renamed(inner, outside)
    for value in body.output:
        value.name = outside.get(value.name, value.name)
