"""Random chains of operators with random shapes and axes: a typed error, or a Graph equal to onnxruntime. Nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from approxhw.common.errors import InvalidModelError, UnsupportedModelError
from approxhw.frontends import read_model
from approxhw.frontends.runtime.reference import open_reference
from approxhw.ir.interpreter import run

SHAPES = [("N", 4), ("N", 2, 3), ("N", 1, 4), (1, 4), (4,), (3, 4), ("N", 1)]
OPERATORS = [
    "Gemm",
    "Gemm",
    "MatMul",
    "MatMul",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Relu",
    "Clip",
    "Reshape",
    "Flatten",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
    "Concat",
    "Slice",
    "Gather",
    "Softmax",
    "Neg",
    "Min",
    "Max",
    "Identity",
    "Shape",
    "BatchNormalization",
]


class Chain:
    """Nodes that each read the value before them, and the constants that they read."""

    def __init__(self, seed: int) -> None:
        self.numbers = np.random.default_rng(seed)
        self.nodes: list = []
        self.constants: dict[str, np.ndarray] = {}
        self.shape = self.one_of(SHAPES)
        for _ in range(self.numbers.integers(1, 6)):
            self.grow(self.one_of(OPERATORS))

    def one_of(self, items):
        return items[self.numbers.integers(len(items))]

    def floats(self, *shape):
        return self.kept(self.numbers.normal(size=shape).astype(np.float32))

    def kept(self, array):
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def dim(self):
        return self.one_of([1, 2, 3, 4, 4, 4, 6])

    def axis(self):
        return self.one_of([0, 1, 1, 2, -1])

    def either_side(self, value, constant):
        return [value, constant] if self.numbers.random() < 0.7 else [constant, value]

    def grow(self, op):
        value = f"v{len(self.nodes) - 1}" if self.nodes else "x"
        inputs, attributes = [value], {}
        if op == "Gemm":
            inputs = [*self.either_side(value, self.floats(self.dim(), self.dim())), self.floats(self.dim())]
            attributes = {"transA": self.one_of([0, 1]), "transB": self.one_of([0, 1]), "alpha": 0.5}
        elif op == "MatMul":
            inputs = self.either_side(value, self.floats(*[self.dim() for _ in range(self.one_of([1, 2, 2, 3]))]))
        elif op in ("Add", "Sub", "Mul", "Div", "Min", "Max"):
            inputs = self.either_side(value, self.floats(*[self.dim() for _ in range(self.one_of([0, 0, 1, 1, 2]))]))
        elif op == "Clip":
            inputs = [value, self.kept(np.float32(-0.5)), self.kept(np.float32(1))]
        elif op == "Reshape":
            target = [self.one_of([-1, 0, 1, 2, 3, 4, 6]) for _ in range(self.one_of([1, 2, 2, 3]))]
            inputs = [value, self.kept(np.array(target))]
        elif op == "Transpose":
            attributes = {"perm": self.numbers.permutation(self.one_of([2, 2, 3])).tolist()}
        elif op in ("Squeeze", "Unsqueeze"):
            inputs = [value, self.kept(np.array([self.axis()]))]
        elif op == "Slice":
            bounds = ([0, 1, -1, -2], [1, 2, 3, 99, -1, -99], [0, 1, 1, 2], [1, 1, 2, -1])
            inputs = [value, *(self.kept(np.array([self.one_of(choice)])) for choice in bounds)]
        elif op == "Gather":
            inputs = [value, self.kept(np.array(self.one_of([0, [0, 1], [1, 0], [[0, 1], [1, 1]]])))]
            attributes = {"axis": self.axis()}
        elif op == "BatchNormalization":
            size = self.dim()
            inputs = [
                value,
                *(self.kept(np.abs(self.numbers.normal(size=size)).astype(np.float32) + 0.1) for _ in "sbmv"),
            ]
        if op in ("Concat", "Flatten", "Softmax"):
            attributes = {"axis": self.axis()}
            inputs = [value, value] if op == "Concat" else inputs
        made = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [made], name=made, **attributes))


@pytest.mark.parametrize("block", range(4))
def test_random_chains(block, build):
    read = 0
    for seed in range(block * 400, (block + 1) * 400):
        chain = Chain(seed)
        output = ((f"v{len(chain.nodes) - 1}", None),)
        model = build(
            chain.nodes, chain.constants, (("x", chain.shape),), output, opset=int(chain.one_of([13, 17, 21]))
        )
        try:
            graph = read_model(model)
        except (InvalidModelError, UnsupportedModelError):
            continue
        rows = np.random.default_rng(seed).normal(size=(30, graph.input.type.elements)).astype(np.float32)
        expected, seen = open_reference(model).predict(rows), run(graph, rows.astype(np.float64))
        assert (expected == seen).mean() > 0.95, seed  # a row may lie on a tie, to within float32
        read += 1
    assert read > 40
