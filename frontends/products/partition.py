"""An ONNX model as a tensor Graph: its products become Nodes, what lies between them becomes Host Nodes.

ONNX nodes are put on levels: a level is one Host Node and the products that read what it and earlier levels made. So a
model has as many sessions as products follow one another, and nothing is computed twice. An ``Add``, ``Relu`` or
``Transpose`` that reads products and constants alone becomes a Node of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from approxhw.common.errors import InvalidDataError, InvalidModelError, Problem, UnsupportedModelError, shown
from approxhw.frontends.onnx.loading import Loaded, ModelSource, node_title
from approxhw.frontends.runtime.host import OnnxHost
from approxhw.frontends.runtime.sessions import open_session, run_session
from approxhw.ir.graph import Graph, Node, Op, identifier
from approxhw.ir.kinds import Relu, Type
from approxhw.ir.kinds.tensor.blocks import MisfitError, Product
from approxhw.ir.kinds.tensor.integers import is_integer_product
from approxhw.ir.kinds.tensor.ops import Add, Conv, ConvTranspose, Feed, Gemm, Host, MatMul, Part, Transpose
from approxhw.ir.kinds.tensor.products import operand_sizes
from approxhw.ir.tensor.layers import product_nodes
from approxhw.ir.tensor.run import walk_tensors
from approxhw.numerics.formats import format_of

from .apart import taken_apart
from .building import Building
from .codes import code_node, is_code_node
from .model import PRODUCTS, EngineModel, is_engine_product, read_engine_model, sizes_of_inputs
from .names import reads
from .pieces import element_of, measure, submodel, type_word

if TYPE_CHECKING:
    from onnx import NodeProto
    from onnxruntime import InferenceSession

LARGE = 1 << 20
"""Constants of more bytes are operands of Host Nodes, whose programs would else hold a copy each."""

SIMPLE = {"Add": 2, "Relu": 1, "Transpose": 1}
"""Operators that become Nodes where they read products and constants alone, and how many operands they have."""


@dataclass(frozen=True)
class OpenedModel:
    """A tensor Graph, the sessions of its Host Nodes, and what the user should know of what stays outside of the engine."""

    graph: Graph
    host: OnnxHost
    notes: tuple[str, ...]
    model: EngineModel

    def typed(self, graph: Graph) -> Graph:
        """Return *graph*, made of this model's by a pass, with its types anew, at the sizes that the model has now."""
        try:
            return _typed(graph, self.model, self.host)
        except (MisfitError, InvalidDataError) as error:
            raise _refused(self.model, error) from error

    def apart(self, graph: Graph) -> Graph:
        """Return *graph*, of this model, with one ONNX node a Host Node, and all types."""
        return self.typed(taken_apart(graph, self.host))

    def at(self, sizes: Mapping[str, Sequence[int]]) -> OpenedModel:
        """Return the same model with the types of inputs of other *sizes*; nothing is read or built again."""
        model = replace(self.model, sizes=sizes_of_inputs(self.model.inputs, sizes))
        try:
            return replace(self, graph=_typed(self.graph, model, self.host), model=model)
        except (MisfitError, InvalidDataError) as error:
            raise _refused(model, error) from error


def open_model(
    source: ModelSource | Loaded, shape: Mapping[str, Sequence[int]] | None = None, *, integers: bool = False
) -> OpenedModel:
    """Return the model of *source* as a tensor Graph; the rest as for ``read_engine_model``, which says what it raises."""
    model = read_engine_model(source, shape, integers=integers)
    measure(model)
    types = {name: type_word(array.dtype.name) for name, array in model.constants.items()}
    types |= {value.name: type_word(value.dtype) for value in model.inputs}
    host = OnnxHost(model.title)
    try:
        constants = _settle(model, types)
        building = Building(model, constants, types, host)
        graph = _typed(_graph(building), model, host)
    except (MisfitError, InvalidDataError) as error:
        raise _refused(model, error) from error
    if not integers and not product_nodes(graph):
        why = "its matrix products are of whole numbers: the engine multiplies floating-point ones"
        remedy = "give the float model, not the quantised one"
        raise UnsupportedModelError(shown(model.title), [Problem("model", why, remedy)])
    return OpenedModel(graph, host, model.left, replace(model, constants={}, nodes=()))


def _refused(model: EngineModel, error: MisfitError | InvalidDataError) -> InvalidModelError:
    """Return the error of a model whose products do not fit, or of what onnxruntime says of constants and plain inputs."""
    found = [Problem(error.product.title, error.why)] if isinstance(error, MisfitError) else error.problems
    return InvalidModelError(shown(model.title), found)


def _graph(building: Building) -> Graph:
    """Return the Graph of the model, its types still open."""
    model = building.model
    for value in model.inputs:
        building.add(value.name, Feed(value.name, value.dims), ())
    levels, simple, products = _levels(model)
    kept = set(model.outputs)
    readers = _readers(model, levels, simple, products)
    for level in range(len(levels)):
        if inside := levels[level]:
            made = [name for node in inside for name in node.output if name]
            makes = [name for name in made if name in kept or readers.get(name, set()) - {level}]
            _host(building, inside, makes)
        for node in products[level]:
            (_product if node.op_type in PRODUCTS else code_node)(building, node)
        for node in simple[level]:
            op: Op = Add() if node.op_type == "Add" else Relu()
            if node.op_type == "Transpose":
                given = [tuple(entry.ints) for entry in node.attribute if entry.name == "perm"]
                op = Transpose(tuple(given[0]))
            building.types[node.output[0]] = building.types[node.input[0]]
            building.add(node.output[0], op, [building.read(name) for name in node.input], _where(node))
    results = tuple((name, building.read(name)) for name in model.outputs)
    return Graph(
        name=identifier(re.sub(r"\.onnx$", "", model.title), default="model"),
        nodes=tuple(building.nodes),
        output=results[0][1],
        source=model.title,
        results=results,
    )


def _levels(model: EngineModel) -> tuple[list[list[NodeProto]], list[list[NodeProto]], list[list[NodeProto]]]:
    """Return per level: what runs on the host, what simple Nodes follow its products, and the products."""
    at: dict[str, int] = {}
    behind: set[str] = set()  # what products and simple Nodes make
    hosted: dict[int, list[NodeProto]] = {}
    simple: dict[int, list[NodeProto]] = {}
    products: dict[int, list[NodeProto]] = {}
    for node in model.nodes:
        if all(name in model.fixed for name in node.output if name):
            continue
        read = reads(node)
        level = max((at.get(name, 0) for name in read), default=0)
        if (is_engine_product(node, model.integers) or is_code_node(node, model)) and node.output[0] not in model.fixed:
            products.setdefault(level, []).append(node)
            at[node.output[0]] = level + 1
            behind.add(node.output[0])
        elif _is_simple(node, behind, model):
            simple.setdefault(level - 1, []).append(node)
            at[node.output[0]] = level
            behind.add(node.output[0])
        else:
            hosted.setdefault(level, []).append(node)
            at.update((name, level) for name in node.output if name)
    count = max((*hosted, *products, *simple)) + 1
    return tuple([each.get(level, []) for level in range(count)] for each in (hosted, simple, products))  # type: ignore[return-value]


def _is_simple(node: NodeProto, behind: set[str], model: EngineModel) -> bool:
    if not node.domain and SIMPLE.get(node.op_type) == len(node.input):
        told = node.op_type != "Transpose" or any(entry.name == "perm" for entry in node.attribute)
        known = behind | model.constants.keys() | model.fixed
        odd = any(name in model.odd for name in node.input)
        return told and not odd and any(name in behind for name in node.input) and known.issuperset(node.input)
    return False


def _readers(
    model: EngineModel, levels: list[list[NodeProto]], simple: list[list[NodeProto]], products: list[list[NodeProto]]
) -> dict[str, set[int]]:
    """Return which Host Nodes read a name, by their level; −1 for products and simple Nodes."""
    readers: dict[str, set[int]] = {}
    for level, nodes in enumerate(levels):
        for node in nodes:
            for name in reads(node):
                readers.setdefault(name, set()).add(level)
    for node in (node for each in (*simple, *products) for node in each):
        for name in reads(node):
            readers.setdefault(name, set()).add(-1)
    return readers


def _where(node: NodeProto) -> str:
    return f"node {node_title(node)} ({node.op_type})"


def _product(building: Building, node: NodeProto) -> None:
    from onnx import helper

    given = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    given = {key: value.decode(errors="replace") if isinstance(value, bytes) else value for key, value in given.items()}
    titles = {each.op.title for each in building.nodes if isinstance(each.op, MatMul | Gemm | Conv | ConvTranspose)}
    title = node.name if node.name and node.name not in titles else node.output[0]
    op: Op = MatMul(title)
    if node.op_type == "Gemm":
        turned = (bool(given.get("transA", 0)), bool(given.get("transB", 0)))
        op = Gemm(title, float(given.get("alpha", 1.0)), float(given.get("beta", 1.0)), *turned)
    elif node.op_type == "Conv":
        sizes = {key: tuple(map(int, given.get(key, ()))) for key in ("strides", "dilations", "pads", "kernel_shape")}
        auto, group = str(given.get("auto_pad", "NOTSET")), int(given.get("group", 1))
        op = Conv(title, sizes["strides"], sizes["dilations"], sizes["pads"], auto, group, sizes["kernel_shape"])
    elif node.op_type == "ConvTranspose":
        named = ("strides", "dilations", "pads", "kernel_shape", "output_padding", "output_shape")
        strides, dilations, pads, kernel, further, wanted = (tuple(map(int, given.get(key, ()))) for key in named)
        auto, group = str(given.get("auto_pad", "NOTSET")), int(given.get("group", 1))
        op = ConvTranspose(title, strides, dilations, pads, auto, group, kernel, further, wanted)
    inputs = [name for name in node.input if name]
    building.types[node.output[0]] = building.types[inputs[0]]
    building.add(node.output[0], op, [building.read(name) for name in inputs], _where(node))


def _host(building: Building, nodes: Sequence[NodeProto], makes: Sequence[str]) -> None:
    """Append a Host Node of *nodes*, and a Part for each value but the first that it *makes*."""
    program, session, fed = _segment(building.model, nodes, makes, building.types, building.constants)
    operators = tuple(dict.fromkeys(node.op_type for node in nodes))
    op = Host(program, tuple(makes), operators)
    building.host.adopt(op, session)
    first = building.add(makes[0], op, [building.read(name) for name in fed])
    for index, name in enumerate(makes[1:], 1):
        building.add(name, Part(index), [first])


def _settle(model: EngineModel, types: dict[str, str]) -> dict[str, np.ndarray]:
    """Return all constants that something still reads, those that nodes make of others computed."""
    nodes, later = [], set(model.outputs)
    for node in model.nodes:
        if all(name in model.fixed for name in node.output if name):
            nodes.append(node)
        else:
            later.update(reads(node))
    made = [name for node in nodes for name in node.output if name in later]
    constants = dict(model.constants)
    if made:
        _, session, fed = _segment(model, nodes, made, types, constants)
        feeds = {name: constants[name] for name in fed}
        constants.update(zip(made, run_session(session, made, feeds, model.title), strict=True))
    return {name: array for name, array in constants.items() if name in later}


def _segment(
    model: EngineModel,
    nodes: Sequence[NodeProto],
    makes: Sequence[str],
    types: dict[str, str],
    constants: Mapping[str, np.ndarray],
) -> tuple[bytes, InferenceSession, tuple[str, ...]]:
    """Return *nodes* as a program, its session and what is fed to it; the types of what it makes are put into *types*."""
    inside = {name for node in nodes for name in node.output}
    read = list(dict.fromkeys(name for node in nodes for name in reads(node) if name not in inside))
    held = {name: constants[name] for name in read if name in constants and constants[name].nbytes <= LARGE}
    fed = [name for name in read if name not in held and name not in model.odd]
    proto = submodel(model, nodes, {name: types[name] for name in fed}, makes, held)
    proto.graph.initializer.extend(model.odd[name] for name in read if name in model.odd)
    session = open_session(proto, model.title)
    problems = []
    for value in session.get_outputs():
        types[value.name] = value.type
        if element_of(value.type) is None:
            why = f"{shown(value.name)!r} has the type {shown(value.type)}, which cannot leave onnxruntime"
            remedy = "export the model in float32, with tensors as its outputs"
            problems.append(Problem("model", why, remedy))
    if problems:
        raise UnsupportedModelError(shown(model.title), problems)
    return proto.SerializeToString(deterministic=True), session, tuple(fed)


def _typed(graph: Graph, model: EngineModel, host: OnnxHost) -> Graph:
    """Return *graph* with the types of all values, from one run on plain inputs in which products give zeros."""
    feeds = {}
    for value in model.inputs:
        dtype = np.dtype(value.dtype)
        plain = "" if dtype.kind == "O" else int(dtype.kind in "fb")
        feeds[value.name] = np.full(model.sizes[value.name], plain, dtype)
    found: dict[str, Type] = {}

    def note(node: Node, value: np.ndarray) -> None:
        found[node.name] = Type(tuple(value.shape), format_of(value.dtype))

    def zeros(node: Node, product: Product, operands: Sequence[np.ndarray]) -> np.ndarray:
        kind = np.dtype(np.int32) if is_integer_product(node.op) else operands[0].dtype
        shapes = [np.shape(each) for each in operands[: len(product.inputs)]]
        return np.zeros(operand_sizes(product, shapes).output, kind)

    walk_tensors(graph, feeds, host, zeros, note)
    return replace(graph, nodes=tuple(replace(node, type=found[node.name]) for node in graph.nodes))
