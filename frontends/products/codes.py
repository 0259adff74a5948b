"""Nodes of codes: QuantizeLinear, DequantizeLinear and products of codes, from ONNX nodes whose scales are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from approxhw.common.errors import Problem, UnsupportedModelError
from approxhw.frontends.onnx.loading import STANDARD, node_title
from approxhw.ir.graph import Op
from approxhw.ir.kinds.tensor.integers import (
    ConvInteger,
    DequantizeLinear,
    MatMulInteger,
    QuantizeLinear,
    is_integer_product,
)

from .building import Building
from .model import CODE_PRODUCTS, EngineModel
from .pieces import type_word

if TYPE_CHECKING:
    from onnx import NodeProto

CODE_TYPES = ("int8", "uint8", "int32")
"""Types of codes that become Nodes; others stay on the host."""


def is_code_node(node: NodeProto, model: EngineModel) -> bool:
    """Return whether *node* makes codes of numbers, or numbers of codes, in a way that Nodes have: by constant scales."""
    if not model.integers or node.domain not in STANDARD or node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
        return False
    given = {entry.name: entry.i for entry in node.attribute}
    if given.get("block_size", 0) or given.get("output_dtype", 0) or len(node.input) < 2:
        return False
    constants = model.constants
    scale = constants.get(node.input[1])
    if scale is None or scale.dtype != np.float32 or node.input[0] in model.odd:
        return False
    zero = constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if len(node.input) > 2 and node.input[2] and zero is None:
        return False
    kind = zero.dtype.name if zero is not None else "uint8"
    if node.op_type == "DequantizeLinear" and node.input[0] in constants:
        kind = constants[node.input[0]].dtype.name
    elif node.op_type == "DequantizeLinear" and zero is None:
        return False  # nobody says what its codes are
    return kind in CODE_TYPES and (scale.size == 1 or _axis(node, model) is not None)


def _axis(node: NodeProto, model: EngineModel) -> int | None:
    """Return the axis along which *node* has scales; None where it counts from the end of a value whose rank is not known."""
    axis = next((entry.i for entry in node.attribute if entry.name == "axis"), 1)
    if axis < 0:
        held = model.constants.get(node.input[0])
        return None if held is None else axis + held.ndim
    return int(axis)


def code_node(building: Building, node: NodeProto) -> None:
    """Append the Node that *node* becomes."""
    where = f"node {node_title(node)} ({node.op_type})"
    if node.op_type in CODE_PRODUCTS:
        _product(building, node, where)
        return
    model = building.model
    scale = building.constants[node.input[1]]
    axis = 0 if scale.size == 1 else _axis(node, model)
    assert axis is not None
    quantises = node.op_type == "QuantizeLinear"
    if len(node.input) > 2 and node.input[2]:
        zero = building.read(node.input[2])
        kind = building.constants[node.input[2]].dtype.name
    else:
        held = building.constants.get(node.input[0])
        kind = "uint8" if quantises or held is None else held.dtype.name
        zero = building.zero(node.output[0], np.dtype(kind))
    op: Op = QuantizeLinear(axis) if quantises else DequantizeLinear(axis)
    building.types[node.output[0]] = type_word(kind if quantises else "float32")
    building.add(node.output[0], op, [building.read(node.input[0]), building.read(node.input[1]), zero], where)


def _product(building: Building, node: NodeProto, where: str) -> None:
    from onnx import helper

    given = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    titles = {each.op.title for each in building.nodes if is_integer_product(each.op)}  # type: ignore[union-attr]
    title = node.name if node.name and node.name not in titles else node.output[0]
    inputs = [*node.input, "", ""][:4]
    zeros = []
    for value, zero in zip(inputs[:2], inputs[2:], strict=True):
        if zero:
            zeros.append(building.read(zero))
            continue
        held = building.constants.get(value)
        kind = held.dtype if held is not None else np.dtype(building.kind_of(value))
        zeros.append(building.zero(f"{node.output[0]}_{value}", kind))
    first = building.constants.get(inputs[2])
    if first is not None and first.size > 1:
        why = f"its first operand has {first.size} zero points, one a row, and an array takes one for all that streams"
        raise UnsupportedModelError(
            where, [Problem("zero point", why, "quantise the operand with one zero point for all rows")]
        )
    op: Op = MatMulInteger(title)
    if node.op_type == "ConvInteger":
        sizes = {key: tuple(map(int, given.get(key, ()))) for key in ("strides", "dilations", "pads", "kernel_shape")}
        auto = given.get("auto_pad", b"NOTSET").decode(errors="replace")
        group = int(given.get("group", 1))
        op = ConvInteger(title, sizes["strides"], sizes["dilations"], sizes["pads"], auto, group, sizes["kernel_shape"])
    building.types[node.output[0]] = type_word("int32")
    building.add(node.output[0], op, [building.read(inputs[0]), building.read(inputs[1]), *zeros], where)
