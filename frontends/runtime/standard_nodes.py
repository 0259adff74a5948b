"""QONNX nodes → nodes of standard ONNX that compute the same in the same order, so that onnxruntime runs the model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from approxhw.frontends.onnx.loading import QONNX, STANDARD

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

FLOAT = 1
"""ONNX's element type of float32, in which QONNX calculates."""

_MAGIC = 1.5 * 2.0**23
"""Added to a float32 below 2^22 and taken off again it rounds to the nearest even: opsets before 11 have no Round."""


@dataclass
class _Writer:
    """The nodes and constants in place of one node. ``opset``: of the standard operators."""

    prefix: str
    opset: int
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def constant(self, value: float) -> str:
        from onnx import numpy_helper

        name = f"{self.prefix}_{len(self.constants)}_constant"
        self.constants.append(numpy_helper.from_array(np.float32(value).reshape(()), name))
        return name

    def node(self, op: str, *inputs: str, **attributes: object) -> str:
        from onnx import helper

        name = f"{self.prefix}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def real(self, name: str) -> str:
        return self.node("Cast", name, to=FLOAT)

    def clipped(self, value: str, low: float, high: float) -> str:
        if self.opset < 11:
            return self.node("Clip", value, min=float(low), max=float(high))
        return self.node("Clip", value, self.constant(low), self.constant(high))

    def nearest(self, value: str) -> str:
        if self.opset >= 11:
            return self.node("Round", value)
        magic = self.constant(_MAGIC)
        return self.node("Sub", self.node("Add", value, magic), magic)

    def signed(self, value: str, whole: Callable[[str], str]) -> str:
        """Return *whole* of the magnitude, with the sign."""
        return self.node("Mul", self.node("Sign", value), whole(self.node("Abs", value)))

    def rounded(self, value: str, mode: str) -> str:
        half = self.constant(0.5)
        match mode:
            case "CEIL":
                return self.node("Ceil", value)
            case "FLOOR":
                return self.node("Floor", value)
            case "UP":
                return self.signed(value, lambda size: self.node("Ceil", size))
            case "DOWN" | "ROUND_TO_ZERO":
                return self.signed(value, lambda size: self.node("Floor", size))
            case "HALF_UP":
                return self.signed(value, lambda size: self.node("Floor", self.node("Add", size, half)))
            case "HALF_DOWN":
                return self.signed(value, lambda size: self.node("Ceil", self.node("Sub", size, half)))
        return self.nearest(value)

    def sign(self, value: str) -> str:
        """Return 1 where *value* ≥ 0, else −1."""
        below = self.real(self.node("Less", value, self.constant(0)))
        return self.node("Add", self.node("Mul", below, self.constant(-2)), self.constant(1))


def standard_nodes(proto: ModelProto) -> ModelProto:
    """Return *proto* without QONNX nodes, or itself where it has none; one whose bit width is computed is left as it is."""
    if not any(node.domain in QONNX for node in proto.graph.node):
        return proto
    made = type(proto)()
    made.CopyFrom(proto)
    opset = max((entry.version for entry in proto.opset_import if entry.domain in STANDARD), default=1)
    known = _scalars(proto)
    taken = {name for node in proto.graph.node for name in (*node.input, *node.output)}
    nodes: list[NodeProto] = []
    for place, node in enumerate(proto.graph.node):
        prefix = f"standard_{place}"
        while any(name.startswith(prefix) for name in taken):
            prefix = f"_{prefix}"
        writer = _Writer(prefix, opset)
        result = _written(writer, node, known) if node.domain in QONNX else None
        if result is None:
            nodes.append(node)
            continue
        writer.nodes[-1].output[0] = node.output[0]
        nodes += writer.nodes
        made.graph.initializer.extend(writer.constants)
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    if not any(node.domain in QONNX for node in nodes):
        kept = [entry for entry in proto.opset_import if entry.domain not in QONNX]
        del made.opset_import[:]
        made.opset_import.extend(kept)
    return made


def _scalars(proto: ModelProto) -> dict[str, float]:
    """Return constants of one number, by name."""
    from onnx import numpy_helper

    tensors = [(tensor.name, tensor) for tensor in proto.graph.initializer]
    for node in proto.graph.node:
        if node.op_type == "Constant" and node.domain in STANDARD:
            tensors += [(node.output[0], entry.t) for entry in node.attribute if entry.name == "value"]
    found = {}
    for name, tensor in tensors:
        if all(dim == 1 for dim in tensor.dims):
            array = numpy_helper.to_array(tensor)
            if array.dtype.kind in "fiu":
                found[name] = float(array.reshape(-1)[0])
    return found


def _written(writer: _Writer, node: NodeProto, known: dict[str, float]) -> str | None:
    """Write what *node* computes; None where it is none that is known."""
    if node.op_type == "BipolarQuant":
        return writer.node("Mul", writer.sign(node.input[0]), writer.real(node.input[1]))
    if node.op_type in ("Quant", "IntQuant"):
        return _quant(writer, node, known)
    return _trunc(writer, node, known) if node.op_type == "Trunc" else None


def _attributes(node: NodeProto, rounding: bytes) -> tuple[str, bool, bool]:
    """Return rounding mode, signed and narrow."""
    from onnx import helper

    values = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    mode = values.get("rounding_mode", rounding)
    word = (mode.decode("utf-8", "replace") if isinstance(mode, bytes) else str(mode)).upper()
    return word, bool(values.get("signed", 1)), bool(values.get("narrow", 0))


def _ends(bits: int, *, signed: bool, narrow: bool) -> tuple[int, int]:
    half = 1 << (bits - 1)
    return (-half + narrow, half - 1) if signed else (0, 2 * half - 1 - narrow)


def _quant(writer: _Writer, node: NodeProto, known: dict[str, float]) -> str | None:
    mode, signed, narrow = _attributes(node, b"ROUND")
    width = known.get(node.input[3])
    if width is None:
        return None
    scale, zero = writer.real(node.input[1]), writer.real(node.input[2])
    code = writer.node("Add", writer.node("Div", node.input[0], scale), zero)
    if signed and width == 1:
        code = writer.sign(code)
    else:
        code = writer.rounded(writer.clipped(code, *_ends(int(width), signed=signed, narrow=narrow)), mode)
    return writer.node("Mul", writer.node("Sub", code, zero), scale)


def _trunc(writer: _Writer, node: NodeProto, known: dict[str, float]) -> str | None:
    """Version 1: x, scale, zero point, bits, bits left; version 2: x, scale, zero point, bits, scale and bits left."""
    mode, signed, narrow = _attributes(node, b"FLOOR")
    values = [known.get(name) for name in node.input]
    scale, zero = writer.real(node.input[1]), writer.real(node.input[2])
    whole = writer.nearest(writer.node("Add", writer.node("Div", node.input[0], scale), zero))
    if len(node.input) < 6:
        before, after = values[3], values[4]
        if before is None or after is None:
            return None
        code = writer.rounded(writer.node("Div", whole, writer.constant(2.0 ** (before - after))), mode)
        return writer.node("Mul", writer.node("Sub", code, zero), scale)
    fine, coarse, bits = values[1], values[4], values[5]
    if fine is None or coarse is None or bits is None:
        return None
    cut = writer.constant(2.0 ** round(math.log2(coarse / fine)))
    ends = _ends(int(bits), signed=signed, narrow=narrow)
    code = writer.rounded(writer.clipped(writer.node("Div", whole, cut), *ends), mode)
    moved = writer.node("Sub", code, writer.node("Div", zero, cut))
    return writer.node("Mul", moved, writer.real(node.input[4]))
