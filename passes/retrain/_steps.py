"""A tensor Graph as a row of steps, ONNX nodes inside of its Host Nodes among them, up to the scores behind its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from approxhw.common.errors import PassError, Problem, shown
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import Constant, Relu
from approxhw.ir.kinds.tensor.integer_rules import SUMS
from approxhw.ir.kinds.tensor.integers import (
    ConvInteger,
    DequantizeLinear,
    MatMulInteger,
    QuantizeLinear,
    Rescale,
)
from approxhw.ir.kinds.tensor.ops import Add, Feed, Host, Part, Transpose
from approxhw.ir.tensor.integer_layers import held
from approxhw.numerics.formats import Float

from ._host_nodes import DIFFERENTIABLE, host_node_problem

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

PASS = "pass retrain-weights"

_TAIL = (
    "ArgMax",
    "ArrayFeatureExtractor",
    "Cast",
    "Flatten",
    "Gather",
    "Identity",
    "LogSoftmax",
    "Reshape",
    "Sigmoid",
    "Softmax",
    "Squeeze",
    "Unsqueeze",
)
"""What may stand between the scores of the classes and an answer: none of it changes which is the largest."""

_PLAIN = (Relu, Transpose, QuantizeLinear, DequantizeLinear, Rescale, Feed)

Values: TypeAlias = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class NetworkStep:
    """One value: ``name`` of what ``reads``, made by a Node, by an ONNX node on the host, or, of neither, the one it reads."""

    name: str
    reads: tuple[str, ...]
    node: Node | None = None
    host: NodeProto | None = None
    opset: int = 0

    @property
    def title(self) -> str:
        """What errors call it."""
        if self.host is not None:
            return f"{self.host.op_type} {shown(self.host.name or self.host.output[0], 60)!r}"
        return shown((self.node.origin or self.node.name) if self.node is not None else self.name, 80)


@dataclass(frozen=True, eq=False)
class StepRow:
    """The steps that lead to ``scores``, in order, their constants, and what class index each column of the scores stands for.

    ``classes`` None: column 0 is class 0, and so on.
    """

    steps: tuple[NetworkStep, ...]
    constants: Values
    scores: str
    classes: np.ndarray | None = None


def steps_of(graph: Graph) -> StepRow:
    """Return the steps of *graph*; raise :class:`PassError` naming every one that no gradient goes through."""
    every, constants = _all_steps(graph)
    makers = {step.name: step for step in every}
    scores, classes = _scores(graph.results[0][1] if graph.results else graph.output, makers, constants)
    wanted, chosen = {scores}, []
    for step in reversed(every):
        if step.name in wanted:
            chosen.append(step)
            wanted.update(name for name in step.reads if name)
    row = StepRow(tuple(reversed(chosen)), constants, scores, classes)
    if problems := [problem for step in row.steps if (problem := _problem(graph, step, row)) is not None]:
        raise PassError(PASS, problems)
    return row


def _all_steps(graph: Graph) -> tuple[list[NetworkStep], dict[str, np.ndarray]]:
    steps: list[NetworkStep] = []
    constants: dict[str, np.ndarray] = {}
    makes: dict[str, list[str]] = {}
    for node in graph.nodes:
        if isinstance(node.op, Constant):
            data = held(graph, node.name)
            assert data is not None
            constants[node.name] = data
        elif isinstance(node.op, Host):
            inner, makes[node.name] = _host_steps(node, node.op, constants)
            steps += inner
            steps.append(NetworkStep(node.name, (makes[node.name][0],)))
        elif isinstance(node.op, Part):
            steps.append(NetworkStep(node.name, (makes[node.inputs[0]][node.op.index],)))
        else:
            steps.append(NetworkStep(node.name, node.inputs, node))
    return steps, constants


def _host_steps(node: Node, op: Host, constants: dict[str, np.ndarray]) -> tuple[list[NetworkStep], list[str]]:
    """Return the steps inside of a Host Node, and the names of what it makes; its *constants* are put beside the others."""
    from onnx import numpy_helper

    proto = _program(op, node)
    opset = next((each.version for each in proto.opset_import if each.domain in ("", "ai.onnx")), 0)
    # a name inside is one with the Node's in front of it: Hosts may share names
    known = {value.name: name for value, name in zip(proto.graph.input, node.inputs)}
    for tensor in proto.graph.initializer:
        known[tensor.name] = f"{node.name}/{tensor.name}"
        constants[known[tensor.name]] = np.asarray(numpy_helper.to_array(tensor))
    steps = []
    for inner in proto.graph.node:
        reads = tuple(known[name] if name else "" for name in inner.input)
        for name in inner.output:
            known[name] = f"{node.name}/{name}"
        steps.append(NetworkStep(known[inner.output[0]], reads, None, inner, opset))
        steps += [NetworkStep(known[name], reads, None, inner, opset) for name in inner.output[1:] if name]
    return steps, [known[name] for name in op.makes]


def _program(op: Host, node: Node) -> ModelProto:
    """Return the model in a Host Node; it comes from a file, so that it may be anything."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.ModelProto.FromString(op.program)
    except DecodeError as error:
        raise PassError(PASS, [Problem(node.name, "its program is no ONNX model")]) from error


def _scores(name: str, makers: Mapping[str, NetworkStep], constants: Values) -> tuple[str, np.ndarray | None]:
    """Return what is behind the answer *name* that every class has a score in, and the classes where they have other names."""
    classes = None
    while (step := makers.get(name)) is not None:
        computed = [each for each in step.reads if each and each not in constants]
        if step.node is not None or (step.host is not None and step.host.op_type not in _TAIL) or len(computed) != 1:
            break
        if step.host is not None and step.host.op_type in ("ArrayFeatureExtractor", "Gather"):
            held_ones = [constants[each] for each in step.reads if each in constants]
            if len(held_ones) != 1 or held_ones[0].dtype.kind not in "iu":
                break
            classes = held_ones[0].reshape(-1).astype(np.int64)
        name = computed[0]
    return name, classes


def _problem(graph: Graph, step: NetworkStep, row: StepRow) -> Problem | None:
    """Return why no gradient goes through *step*; None where one does, or where it only names another."""
    if step.host is not None:
        known = {
            inner: row.constants[name] for inner, name in zip(step.host.input, step.reads) if name in row.constants
        }
        why = host_node_problem(step.host, known, step.opset)
        if not why and step.name.split("/", 1)[-1] != step.host.output[0]:
            why = f"{step.host.op_type} makes several values, of which the first alone has a gradient here"
        remedy = f"on the host there may be {', '.join(DIFFERENTIABLE)}"
        return Problem(step.title, why, remedy) if why else None
    if step.node is None:
        return None
    op = step.node.op
    if isinstance(op, MatMulInteger | ConvInteger):
        return _product_problem(graph, step, row)
    remedy = "retrain models of quantised products, sums, rectifiers, pooling and turns alone"
    if isinstance(op, Add) and (isinstance(step.node.type.format, Float) or step.node.type.format == SUMS):
        return None
    if isinstance(op, _PLAIN):
        scales = [name for name in step.reads[1:] if name not in row.constants]
        return Problem(step.title, "its scale is computed, not fixed", remedy) if scales else None
    return Problem(step.title, f"{step.node.kind} has no gradient here", remedy)


def _product_problem(graph: Graph, step: NetworkStep, row: StepRow) -> Problem | None:
    node, op = step.node, step.node.op if step.node is not None else None
    assert node is not None
    assert isinstance(op, MatMulInteger | ConvInteger)
    where = f"layer {shown(op.title, 60)!r}"
    weights = row.constants.get(node.inputs[1])
    if weights is None:
        why = "its second operand is no constant: it has no weights to retrain"
        return Problem(where, why, "quantise products with weights alone: quantize-model{products=weights}")
    if node.inputs[0] in row.constants or not set(node.inputs[2:]) <= row.constants.keys():
        return Problem(where, "its activations are constant, or its zero points computed", "retrain other models")
    if isinstance(op, MatMulInteger) and weights.ndim != 2:
        why = f"its weights have {weights.ndim} axes, not 2"
        return Problem(where, why, "retrain models whose dense layers have a matrix of weights each")
    if isinstance(op, ConvInteger) and weights.ndim not in (3, 4):
        return Problem(
            where, f"its filters go over {weights.ndim - 2} axes", "retrain convolutions over one or two axes"
        )
    if op.variate:
        return Problem(
            where, "its control variate belongs to its weights", "put control-variate behind retrain-weights"
        )
    return None
