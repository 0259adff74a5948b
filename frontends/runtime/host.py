"""onnxruntime as the host of a tensor Graph: a session for each Host Node, and one for each product outside of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from approxhw.common.errors import InvalidModelError, Problem
from approxhw.ir.graph import Node
from approxhw.ir.kinds.tensor.ops import Conv, ConvTranspose, Gemm, Host, MatMul
from approxhw.ir.kinds.tensor.products import product_of

from .sessions import open_session, run_session

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession

OPSET = 17
"""Of the models that hold one product; what MatMul, Gemm, Conv and ConvTranspose mean has not changed since 13."""

IR_VERSION = 8


class OnnxHost:
    """Sessions by what they carry out, opened on first use; ``title`` names the model in errors."""

    def __init__(self, title: str) -> None:
        """Open nothing yet."""
        self.title = title
        self.sessions: dict[bytes | tuple[str, tuple[str, ...]], InferenceSession] = {}

    def adopt(self, op: Host, session: InferenceSession) -> None:
        """Take over a session that is open already."""
        self.sessions[op.program] = session

    def run(self, node: Node, operands: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return every value that the Host *node* makes of *operands*; raise :class:`InvalidDataError` where it cannot."""
        assert isinstance(node.op, Host)
        session = self.sessions.get(node.op.program)
        if session is None:
            session = self.sessions[node.op.program] = open_session(
                parsed_program(node.op.program, self.title), self.title
            )
        names = [value.name for value in session.get_inputs()]
        feeds = dict(zip(names, operands, strict=True))
        return run_session(session, list(node.op.makes), feeds, self.title)

    def plain(self, node: Node, operands: Sequence[np.ndarray | None]) -> np.ndarray:
        """Return what onnxruntime itself makes of the product *node*."""
        assert isinstance(node.op, MatMul | Gemm | Conv | ConvTranspose)
        given = [operand for operand in operands if operand is not None]
        product = product_of(node.op, ())  # a pass may have given the Node of this name another way to multiply
        key = (f"{product.op} {sorted(product.attributes.items())}", tuple(operand.dtype.name for operand in given))
        if key not in self.sessions:
            self.sessions[key] = open_session(_product_model(node.op, given), self.title)
        feeds = {f"x{i}": operand for i, operand in enumerate(given)}
        return run_session(self.sessions[key], None, feeds, self.title)[0]


def parsed_program(program: bytes, title: str) -> ModelProto:
    """Return the model in *program*; it comes from a file, so that it may be anything."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        proto = onnx.ModelProto.FromString(program)
    except DecodeError as error:
        raise InvalidModelError(title, [Problem("host", "its program is no ONNX model")]) from error
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in proto.graph.initializer):
        raise InvalidModelError(title, [Problem("host", "its program reads files of its own", "write the Graph anew")])
    return proto


def _product_model(op: MatMul | Gemm | Conv | ConvTranspose, operands: Sequence[np.ndarray]) -> ModelProto:
    from onnx import ValueInfoProto, helper

    product = product_of(op, ())
    spelled = {key: value for key, value in product.attributes.items() if value not in ((), "NOTSET")}
    given = {key: int(value) if isinstance(value, bool) else value for key, value in spelled.items()}
    names = [f"x{i}" for i in range(len(operands))]
    node = helper.make_node(product.op, names, ["y"])
    node.attribute.extend(helper.make_attribute(key, value) for key, value in given.items())
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(operand.dtype), None)
        for name, operand in zip(names, operands, strict=True)
    ]
    graph = helper.make_graph([node], "product", inputs, [ValueInfoProto(name="y")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
