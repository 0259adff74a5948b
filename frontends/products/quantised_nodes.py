"""Products of codes by nodes of their own (QLinearConv, QGemm, …) → the same between DequantizeLinear and QuantizeLinear.

So that one form is left, whatever wrote the model: codes become numbers, numbers are multiplied, and the result becomes codes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from approxhw.frontends.onnx.loading import STANDARD

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

MICROSOFT = "com.microsoft"
"""The domain of onnxruntime's own operators."""

LEAST_OPSET = 13
"""Of the standard operators: codes of one scale a channel are read from it on."""


@dataclass
class _Writer:
    """The nodes and constants in place of one node."""

    prefix: str
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def constant(self, array: np.ndarray) -> str:
        from onnx import numpy_helper

        name = f"{self.prefix}_{len(self.constants)}_constant"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def node(self, op: str, inputs: Sequence[str], output: str = "", **attributes: int) -> str:
        from onnx import helper

        name = output or f"{self.prefix}_{len(self.nodes)}"
        made = helper.make_node(op, list(inputs), [name])
        made.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self.nodes.append(made)
        return name

    def numbers(self, codes: str, scale: str, zero: str, axis: int) -> str:
        """Return what *codes* stand for."""
        return self.node("DequantizeLinear", [codes, scale, zero], axis=axis)


def plain_quantised(proto: ModelProto) -> ModelProto:
    """Return *proto* in the one form, or itself where it has it; a node whose scales are computed is left as it is."""
    if not any(_is_known(node) for node in proto.graph.node):
        return proto
    made = type(proto)()
    made.CopyFrom(proto)
    held = _arrays(proto)
    taken = {name for node in proto.graph.node for name in (*node.input, *node.output)}
    nodes: list[NodeProto] = []
    for place, node in enumerate(proto.graph.node):
        prefix = f"quantised_{place}"
        while any(name.startswith(prefix) for name in taken):
            prefix = f"_{prefix}"
        writer = _Writer(prefix)
        if not _is_known(node) or not _write(writer, node, held):
            nodes.append(node)
            continue
        nodes += writer.nodes
        made.graph.initializer.extend(writer.constants)
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    for entry in made.opset_import:
        if entry.domain in STANDARD and entry.version < LEAST_OPSET:
            entry.version = LEAST_OPSET
    return made


def _is_known(node: NodeProto) -> bool:
    if node.domain == MICROSOFT:
        return node.op_type in ("QGemm", "QuantizeLinear", "DequantizeLinear")
    return node.domain in STANDARD and node.op_type in ("QLinearConv", "QLinearMatMul")


def _arrays(proto: ModelProto) -> dict[str, np.ndarray]:
    """Return small constants by name: scales and zero points are among them."""
    from onnx import numpy_helper

    tensors = [(tensor.name, tensor) for tensor in proto.graph.initializer]
    for node in proto.graph.node:
        if node.op_type == "Constant" and node.domain in STANDARD:
            tensors += [(node.output[0], entry.t) for entry in node.attribute if entry.name == "value"]
    return {name: numpy_helper.to_array(tensor) for name, tensor in tensors if int(np.prod(tensor.dims)) <= 1 << 16}


def _write(writer: _Writer, node: NodeProto, held: Mapping[str, np.ndarray]) -> bool:
    """Write *node* anew; whether that could be done."""
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        from onnx import helper

        given = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        writer.node(node.op_type, node.input, node.output[0], **given)
        return True
    if node.op_type == "QLinearConv":
        return _convolution(writer, node, held)
    if node.op_type == "QLinearMatMul":
        a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = node.input[:8]
        if any(held[name].size > 1 for name in (a_scale, b_scale) if name in held):
            return False  # a scale a column may be along any axis: onnxruntime carries it out
        product = writer.node("MatMul", [writer.numbers(a, a_scale, a_zero, 0), writer.numbers(b, b_scale, b_zero, 0)])
        writer.nodes[-1].name = node.name
        writer.node("QuantizeLinear", [product, y_scale, y_zero], node.output[0])
        return True
    return _gemm(writer, node, held)


def _convolution(writer: _Writer, node: NodeProto, held: Mapping[str, np.ndarray]) -> bool:
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = node.input[:8]
    if x_scale not in held or w_scale not in held:
        return False
    operands = [writer.numbers(x, x_scale, x_zero, 0), writer.numbers(w, w_scale, w_zero, 0)]
    if len(node.input) > 8 and node.input[8]:
        operands.append(_bias(writer, node.input[8], held[x_scale], held[w_scale]))
    y = writer.node("Conv", operands)
    writer.nodes[-1].attribute.extend(node.attribute)
    writer.nodes[-1].name = node.name
    writer.node("QuantizeLinear", [y, y_scale, y_zero], node.output[0])
    return True


def _bias(writer: _Writer, codes: str, x_scale: np.ndarray, w_scale: np.ndarray) -> str:
    """Return the numbers that a bias of 32 bits stands for, in units of both scales."""
    scale = (x_scale.astype(np.float64).reshape(()) * w_scale.astype(np.float64)).astype(np.float32)
    return writer.node("DequantizeLinear", [codes, writer.constant(scale)], axis=0)


def _gemm(writer: _Writer, node: NodeProto, held: Mapping[str, np.ndarray]) -> bool:
    """QGemm: A, its scale and zero, B, its scale and zero, then C, the result's scale and zero, each of which may lack."""
    from onnx import helper

    given = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    inputs = [*node.input, "", "", ""]
    a, a_scale, a_zero, b, b_scale, b_zero, c, y_scale, y_zero = inputs[:9]
    if a_scale not in held or b_scale not in held or given.get("transA", 0) or given.get("alpha", 1.0) != 1.0:
        return False
    turned = int(given.get("transB", 0))
    operands = [writer.numbers(a, a_scale, a_zero, 0), writer.numbers(b, b_scale, b_zero, 0 if turned else 1)]
    if c:
        operands.append(_bias(writer, c, held[a_scale], held[b_scale]))
    y = writer.node("Gemm", operands, "" if y_scale else node.output[0], transB=turned)
    writer.nodes[-1].name = node.name
    if y_scale:
        writer.node("QuantizeLinear", [y, y_scale, *([y_zero] if y_zero else [])], node.output[0])
    return True
