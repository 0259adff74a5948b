"""A tensor Graph as it grows from an ONNX model: Nodes still without their types, and the value that each ONNX name is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from approxhw.frontends.runtime.host import OnnxHost
from approxhw.ir.graph import Node, Op, identifier
from approxhw.ir.kinds import Constant, Type
from approxhw.numerics.formats import format_of

from .model import EngineModel

OPEN = Type((), format_of(np.dtype(np.float32)))
"""The type of a value before the Graph is typed."""


@dataclass
class Building:
    """A Graph as it grows: Nodes without their types, and the value that each ONNX name is."""

    model: EngineModel
    constants: Mapping[str, np.ndarray]
    types: dict[str, str]
    host: OnnxHost
    nodes: list[Node] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def add(self, title: str, op: Op, inputs: Sequence[str], origin: str = "", type: Type | None = None) -> str:
        """Append a Node for the ONNX value *title* and return its name."""
        name = identifier(title, self.taken)
        self.taken.add(name)
        self.nodes.append(Node(name, op, tuple(inputs), type or OPEN, origin))
        self.names[title] = name
        return name

    def read(self, title: str) -> str:
        """Return the Node of the ONNX value *title*; a constant gets one when it is first read."""
        if title not in self.names:
            data = self.constants[title]
            self.add(title, Constant(data), (), type=Type(data.shape, format_of(data.dtype)))
        return self.names[title]

    def zero(self, title: str, kind: np.dtype[np.generic]) -> str:
        """Return a Node that holds the zero point 0 of codes of this *kind*; *title*: what it belongs to."""
        data = np.zeros((), kind)
        name = identifier(f"{title}_zero", self.taken)
        self.taken.add(name)
        self.nodes.append(Node(name, Constant(data), (), Type((), format_of(kind))))
        return name

    def kind_of(self, title: str) -> str:
        """Return the NumPy type of the ONNX value *title*, which is made already."""
        return self.types[title].removeprefix("tensor(").removesuffix(")")
