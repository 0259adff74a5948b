"""Codes of a tensor as standard ONNX: uint8 and float32 initialisers, and the nodes that decode them to the same bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from approxhw.numerics.eight_bit.codes import Compressed
from approxhw.numerics.eight_bit.tables import KINDS, tables

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

SLICE_INPUTS = 10
"""First opset whose Slice takes its bounds as inputs; before that they are attributes."""


@dataclass
class Decoder:
    """What is added to a model: ``initializers`` and ``nodes``, in order. ``taken``: names of values that are there already.

    The node that makes a tensor bears its name, unless ``titles``, the names of nodes that are there already, has it.
    Tables, shapes and other small constants are shared by all tensors that need the same one.
    """

    opset: int
    taken: set[str]
    titles: frozenset[str] = frozenset()
    initializers: list[TensorProto] = field(default_factory=list)
    nodes: list[NodeProto] = field(default_factory=list)
    shared: dict[tuple[str, bytes], str] = field(default_factory=dict)

    def add(self, name: str, compressed: Compressed, data_type: int) -> None:
        """Let nodes make the value *name* from *compressed*: float32, then a Cast where *data_type* is another.

        Every value is table[code] · maximum: the product of two float32, rounded once, as ``EightBit.decode`` has it.
        """
        from onnx import TensorProto

        codes, maxima, block = compressed.codes, compressed.maxima, compressed.format.block
        many = len(maxima) > 1
        last = name if data_type == TensorProto.FLOAT else self._named(f"{name}/float")
        whole = many and codes.size % (block or 1) == 0
        layout = (len(maxima), block or 1) if whole else codes.shape
        stored = self._stored(f"{name}/codes", codes.reshape(layout))
        index = self._node("Cast", [stored], f"{name}/index", to=TensorProto.INT32)
        reshaped = whole and layout != codes.shape
        final = last if compressed.format.maximum == "fixed" else ""
        value = self._node("Gather", [self._table(compressed), index], f"{name}/table", final)
        if compressed.format.maximum != "fixed":
            if not many:
                scale = self._stored(f"{name}/maximum", maxima.reshape(()))
            else:
                scale = self._stored(f"{name}/maxima", maxima.reshape(-1, 1))
                if not whole:
                    scale = self._spread(name, scale, int(block or 1), codes)
            value = self._node("Mul", [value, scale], f"{name}/value", "" if reshaped else last)
            if reshaped:
                value = self._node("Reshape", [value, self._numbers(codes.shape)], "", last)
        if data_type != TensorProto.FLOAT:
            self._node("Cast", [value], "", name, to=data_type)
        if name not in self.titles:
            self.nodes[-1].name = name

    def _spread(self, name: str, maxima: str, block: int, codes: np.ndarray) -> str:
        """Return one maximum a value, where the last block is short: repeated, cut, and put into the codes' shape."""
        tiled = self._node("Tile", [maxima, self._numbers([1, block])], f"{name}/tiled")
        value = self._node("Reshape", [tiled, self._numbers([-1])], f"{name}/flat")
        if self.opset < SLICE_INPUTS:
            value = self._node("Slice", [value], f"{name}/cut", starts=[0], ends=[codes.size], axes=[0])
        else:
            value = self._node("Slice", [value, self._numbers([0]), self._numbers([codes.size])], f"{name}/cut")
        return value if codes.ndim == 1 else self._node("Reshape", [value, self._numbers(codes.shape)], f"{name}/scale")

    def _table(self, compressed: Compressed) -> str:
        found = compressed.format
        fixed = found.maximum == "fixed"
        return self._share(f"{found.kind}{'/fixed' if fixed else ''}", tables(found.kind, fixed).values)

    def _numbers(self, values: Sequence[int]) -> str:
        return self._share(f"int64/{'x'.join(map(str, values))}", np.array(values, dtype=np.int64))

    def _share(self, name: str, array: np.ndarray) -> str:
        key = (array.dtype.name, array.tobytes())
        if key not in self.shared:
            self.shared[key] = self._stored(f"approxhw/{name}", array)
        return self.shared[key]

    def _stored(self, wish: str, array: np.ndarray) -> str:
        from onnx import numpy_helper

        name = self._named(wish)
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return name

    # Any: as `make_node` has it, whose own parameters a narrower type would not fit
    def _node(self, op: str, inputs: Sequence[str], wish: str, output: str = "", **attributes: Any) -> str:
        from onnx import helper

        name = output or self._named(wish)
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def _named(self, wish: str) -> str:
        name, tries = wish, 1
        while name in self.taken:
            tries += 1
            name = f"{wish}/{tries}"
        self.taken.add(name)
        return name


def held_formats(proto: ModelProto) -> list[str]:
    """Return the kinds of code whose 256-entry table *proto* holds, and looks up: it is compressed already."""
    looked_up = {node.input[0] for node in proto.graph.node if node.op_type == "Gather" and len(node.input) == 2}
    known = {tables(kind, fixed).values.tobytes(): kind for kind in KINDS for fixed in (False, True)}
    found = {
        known[tensor.raw_data]
        for tensor in proto.graph.initializer
        if tensor.name in looked_up and list(tensor.dims) == [256] and tensor.raw_data in known
    }
    return sorted(found)
