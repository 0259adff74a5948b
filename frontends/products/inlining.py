"""A model's own functions, and branches that a constant condition decides, written out where they are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from approxhw.common.errors import ApproxhwError, InvalidModelError, Problem, shown
from approxhw.frontends.onnx.loading import MAXIMUM_NODES, REMEDY_EXPORT, STANDARD
from approxhw.frontends.runtime.sessions import open_session, run_session

from .inferred import inferred_shapes
from .names import fixed_names, graphs_of, needed_nodes, reads

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto


def inline_functions(proto: ModelProto, title: str) -> ModelProto:
    """Return *proto* with its own functions written out."""
    if not proto.functions:
        return proto
    from onnx import inliner

    bodies = {(function.domain, function.name): function for function in proto.functions}
    counts: dict[tuple[str, str], int] = {}

    def nodes_of(key: tuple[str, str], path: tuple[tuple[str, str], ...]) -> int:
        if key in path:
            why = f"calls itself: {' → '.join(shown(name) for _, name in (*path, key))}"
            raise InvalidModelError(shown(title), [Problem(f"function {shown(key[1])!r}", why, REMEDY_EXPORT)])
        if key not in counts:
            counts[key] = sum(nodes_below(node, (*path, key)) for node in bodies[key].node)
        return counts[key]

    def nodes_below(node: NodeProto, path: tuple[tuple[str, str], ...]) -> int:
        key = (node.domain, node.op_type)
        return nodes_of(key, path) if key in bodies else 1

    total = sum(nodes_below(node, ()) for node in proto.graph.node)
    if total > MAXIMUM_NODES:
        why = f"{total} nodes once its functions are written out; more than {MAXIMUM_NODES} are refused"
        raise InvalidModelError(shown(title), [Problem("functions", why, "simplify the model")])
    try:
        return inliner.inline_local_functions(proto)
    except Exception as error:  # the inliner raises what its C++ part happens to throw
        why = f"cannot be written out: {shown(error, 160)}"
        raise InvalidModelError(shown(title), [Problem("functions", why, REMEDY_EXPORT)]) from error


def inline_branches(proto: ModelProto, title: str) -> ModelProto:
    """Return *proto* with the branch of every ``If`` in place of it whose condition is constant, nested ones too.

    Constant is what depends on constants and on sizes that the model fixes itself. Branches of loops are left as they are.
    """
    if not any(_is_branch(node) for node in proto.graph.node):
        return proto
    made = type(proto)()
    made.CopyFrom(proto)
    while decided := _decided(made, title):
        taken = _names(made)
        nodes: list[NodeProto] = []
        for node in made.graph.node:
            chosen = decided.get(node.output[0]) if _is_branch(node) else None
            branch = None if chosen is None else _branch(node, chosen)
            if branch is None:
                nodes.append(node)
            else:
                nodes.extend(_written_out(made, node, branch, taken))
        held = [type(node).FromString(node.SerializeToString()) for node in nodes]
        del made.graph.node[:]
        made.graph.node.extend(held)
    return made


def _is_branch(node: NodeProto) -> bool:
    return node.domain in STANDARD and node.op_type == "If" and bool(node.input) and bool(node.output)


def _branch(node: NodeProto, chosen: bool) -> GraphProto | None:
    """Return the branch that is *chosen*, or None where it is not there, or not whole."""
    name = "then_branch" if chosen else "else_branch"
    found = [entry.g for entry in node.attribute if entry.name == name and entry.HasField("g")]
    whole = found and not found[0].sparse_initializer and len(found[0].output) == len(node.output)
    return found[0] if whole else None


def _decided(proto: ModelProto, title: str) -> dict[str, bool]:
    """Return, by the first output of every ``If`` that is decided, whether its condition is true."""
    from onnx import ModelProto, numpy_helper

    known = {tensor.name: tensor for tensor in proto.graph.initializer}
    sized = {name: numpy_helper.from_array(np.array(dims), name) for name, dims in _sizes_known(proto).items()}
    nodes = [node for node in proto.graph.node if not set(node.output) & sized.keys()]
    fixed = fixed_names(nodes, known.keys() | sized.keys())
    open_ones = [node for node in nodes if _is_branch(node) and node.input[0] in fixed]
    open_ones = [node for node in open_ones if _branch(node, True) is not None and _branch(node, False) is not None]
    if not open_ones:
        return {}
    wanted = list(dict.fromkeys(node.input[0] for node in open_ones))
    needed = needed_nodes(nodes, wanted)
    read = {*wanted, *(name for node in needed for name in reads(node))}
    part = ModelProto(ir_version=proto.ir_version)
    part.opset_import.extend(proto.opset_import)
    part.graph.name = "conditions"
    part.graph.node.extend(needed)
    part.graph.initializer.extend(tensor for name, tensor in (known | sized).items() if name in read)
    for name in wanted:
        part.graph.output.add().name = name
    try:
        values = dict(zip(wanted, run_session(open_session(part, title), wanted, {}, title), strict=True))
    except ApproxhwError:  # whoever runs the model says why
        return {}
    return {
        node.output[0]: bool(np.ravel(values[node.input[0]])[0])
        for node in open_ones
        if np.size(values[node.input[0]]) == 1
    }


def _sizes_known(proto: ModelProto) -> dict[str, list[int]]:
    """Return what those ``Shape`` nodes make whose operand has sizes that the model fixes."""
    asked = [node for node in proto.graph.node if node.domain in STANDARD and node.op_type == "Shape"]
    if not asked:
        return {}
    shapes = inferred_shapes(proto)
    found = {}
    for node in asked:
        dims = shapes.get(node.input[0])
        if dims is not None and all(isinstance(dim, int) for dim in dims):
            ends = {entry.name: entry.i for entry in node.attribute}
            found[node.output[0]] = [int(dim) for dim in dims[ends.get("start", 0) : ends.get("end")]]
    return found


def _names(proto: ModelProto) -> set[str]:
    """Return every name of a value in *proto*, those in branches too."""

    def below(graph: GraphProto) -> set[str]:
        names = {value.name for value in (*graph.input, *graph.output)} | {tensor.name for tensor in graph.initializer}
        for node in graph.node:
            names.update((*node.input, *node.output))
            for inner in graphs_of(node):
                names |= below(inner)
        return names

    return below(proto.graph)


def _written_out(proto: ModelProto, node: NodeProto, branch: GraphProto, taken: set[str]) -> list[NodeProto]:
    """Return the nodes of *branch* under names of their own, making what *node* makes; its constants go to *proto*."""
    from onnx import helper

    def fresh(name: str) -> str:
        made, number = f"{node.output[0]}/{name}", 1
        while made in taken:
            made, number = f"{node.output[0]}/{name}.{number}", number + 1
        taken.add(made)
        return made

    makes = {name for inner in branch.node for name in inner.output if name}
    renamed: dict[str, str] = {}
    copied: list[NodeProto] = []
    for name, outer in zip((value.name for value in branch.output), node.output, strict=True):
        if name in makes and name not in renamed and outer:
            renamed[name] = outer
        elif outer:
            copied.append(helper.make_node("Identity", [name], [outer]))
    for name in (*makes, *(tensor.name for tensor in branch.initializer)):
        renamed.setdefault(name, fresh(name))
    for tensor in branch.initializer:
        held = proto.graph.initializer.add()
        held.CopyFrom(tensor)
        held.name = renamed[tensor.name]
    inside = [type(node).FromString(inner.SerializeToString()) for inner in branch.node]
    for inner in inside:
        inner.output[:] = [renamed.get(name, name) for name in inner.output]
        _rename(inner, renamed)
    for inner in copied:
        _rename(inner, renamed)
    return [*inside, *copied]


def _rename(node: NodeProto, names: Mapping[str, str]) -> None:
    """Put other *names* for what *node* reads, in its branches too, where they mean the same."""
    node.input[:] = [names.get(name, name) for name in node.input]
    for graph in graphs_of(node):
        own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
        own.update(name for inner in graph.node for name in inner.output)
        outside = {name: new for name, new in names.items() if name not in own}
        for inner in graph.node:
            _rename(inner, outside)
        for value in graph.output:
            value.name = outside.get(value.name, value.name)
