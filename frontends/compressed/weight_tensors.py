"""Which tensors of an ONNX model are weights worth compressing, and why the others are not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from approxhw.common.errors import OptionError, Problem, shown
from approxhw.common.options import suggestion
from approxhw.frontends.onnx.loading import STANDARD, node_title

if TYPE_CHECKING:
    from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto

MAXIMUM_MODEL = 2 << 30
"""Bytes of a model, and of its external data, at most; a protobuf file can be no larger."""

LEAST_IR = 4
"""From this version on an initialiser need not be listed among the inputs."""


@dataclass(frozen=True)
class LeftTensor:
    """A tensor that was left as it is, and why."""

    name: str
    elements: int
    why: str


def weights(proto: ModelProto, minimum: int, keep: Sequence[str]) -> tuple[dict[str, TensorProto], list[LeftTensor]]:
    """Return the tensors to compress by name, and those left alone with the reason."""
    from onnx import TensorProto

    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
    # before IR 4 every initialiser had to be listed as an input; after that only one that a caller may replace is
    inputs = {value.name for value in proto.graph.input} if proto.ir_version >= LEAST_IR else set()
    found: dict[str, TensorProto] = {}
    left: list[LeftTensor] = []
    known = set()
    for name, tensor, inside in constants(proto):
        elements = math.prod(tensor.dims)
        if not inside:
            known.add(name)
        if tensor.data_type not in floats:
            why = f"{TensorProto.DataType.Name(tensor.data_type).lower()} is no float16, float32 or float64"
        elif inside:
            why = f"inside of {inside}"
        elif name in keep:
            why = "kept as asked"
        elif len(tensor.dims) < 2:
            why = f"{len(tensor.dims)} dimensions" if not tensor.dims else "1 dimension"
        elif elements < minimum:
            why = f"fewer than {minimum} elements"
        elif name in inputs:
            why = "an input, too, that a caller may replace"
        else:
            found[name] = tensor
            continue
        left.append(LeftTensor(name, elements, why))
    foreign = [name for name in keep if name not in known]
    if foreign:
        raise OptionError("compress", [Problem("keep", _no_tensor(name, known)) for name in foreign])
    return found, left


def _no_tensor(name: str, known: set[str]) -> str:
    return f"the model has no tensor {shown(repr(name))}{suggestion(name, sorted(known)[:200])}"


def constants(proto: ModelProto) -> Iterator[tuple[str, TensorProto, str]]:
    """Yield name, tensor, and where it lies (empty: in the graph itself) of every initialiser and dense Constant."""
    yield from _held(proto.graph, "")
    for function in proto.functions:
        yield from _held(function, f"function {shown(repr(function.name))}")


def _held(graph: GraphProto | FunctionProto, inside: str) -> Iterator[tuple[str, TensorProto, str]]:
    for tensor in getattr(graph, "initializer", ()):
        yield tensor.name, tensor, inside
    for node in graph.node:
        if is_constant(node):
            yield node.output[0], node.attribute[0].t, inside
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _held(inner, f"a branch or loop of node {node_title(node)}")


def is_constant(node: NodeProto) -> bool:
    """Return whether *node* is a Constant of a dense tensor."""
    return node.op_type == "Constant" and node.domain in STANDARD and [a.name for a in node.attribute] == ["value"]


def all_names(graph: GraphProto) -> set[str]:
    """Return every name in *graph* and below it."""
    found = {value.name for value in (*graph.input, *graph.output, *graph.value_info)}
    found |= {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        found.update((*node.input, *node.output))
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                found |= all_names(inner)
    return found
