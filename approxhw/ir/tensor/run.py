"""Carry a tensor Graph out: Nodes in order, products by whoever is handed in, Host Nodes by a runtime handed in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from approxhw.common.errors import InvalidDataError, Problem, shown
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import Constant, Lookup, Relu
from approxhw.ir.kinds.tensor.blocks import MisfitError, Product
from approxhw.ir.kinds.tensor.integers import (
    ConvInteger,
    DequantizeLinear,
    MatMulInteger,
    QuantizeLinear,
    Rescale,
    is_integer_product,
)
from approxhw.ir.kinds.tensor.ops import Add, Feed, Host, Part, Transpose, is_product, misfit, spell_dims
from approxhw.ir.kinds.tensor.products import operand_sizes, product_of
from approxhw.numerics.formats import dtype_of

from .integers import codes_of_numbers, integer_product, looked_up_codes, numbers_of_codes, rescaled_sums
from .layers import codes_of_ports

MAXIMUM_HELD = 1280 << 20
"""Most bytes that the activations held at one time may take."""


class HostRuntime(Protocol):
    """What carries Host Nodes out, and products without an arithmetic; ``frontends/runtime`` has one over onnxruntime."""

    def run(self, node: Node, operands: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return every value that the Host *node* makes of *operands*."""
        ...

    def plain(self, node: Node, operands: Sequence[np.ndarray | None]) -> np.ndarray:
        """Return what floating point makes of the product *node*; None: an operand that is not there."""
        ...


Multiply = Callable[[Node, Product, Sequence[np.ndarray]], np.ndarray]
"""What a run does with a product: Node, how it multiplies, operands → its value."""


def run_tensors(
    graph: Graph, feeds: Mapping[str, np.ndarray], host: HostRuntime, multiply: Multiply | None, threads: int = 1
) -> dict[str, np.ndarray]:
    """Return the results of *graph* by title. *feeds*: by title of the input, checked already (:func:`checked_feeds`).

    Values are let go after their last reader. Raises :class:`MisfitError` for operands that do not fit one another, and
    for activations of more than ``MAXIMUM_HELD`` bytes at once.
    """
    values = walk_tensors(graph, feeds, host, multiply, threads=threads)
    return {title: values[name] for title, name in graph.results}


def walk_tensors(
    graph: Graph,
    feeds: Mapping[str, np.ndarray],
    host: HostRuntime,
    multiply: Multiply | None,
    seen: Callable[[Node, np.ndarray], None] | None = None,
    threads: int = 1,
) -> dict[str, np.ndarray]:
    """Return the values that are left at the end; *seen* is shown every value as it is made.

    *multiply* None: products of codes are what their Nodes say, on so many *threads*, others are the host's.
    """
    plan = plan_of(graph)
    values: dict[str, np.ndarray] = dict(plan.constants)
    parts: dict[str, list[np.ndarray]] = {}
    for node in graph.nodes:
        op = node.op
        if node.name in plan.constants:
            pass
        elif isinstance(op, Feed):
            values[node.name] = feeds[op.title]
        elif isinstance(op, Host):
            made = host.run(node, [values[name] for name in node.inputs])
            values[node.name] = made[0]
            if node.name in plan.last_part:
                parts[node.name] = made
        elif isinstance(op, Part):
            source = node.inputs[0]
            values[node.name] = parts[source][op.index]
            if plan.last_part[source] == node.name:
                del parts[source]
        elif is_product(op) or is_integer_product(op):
            product = plan.products[node.name]
            operands = [values[name] for name in node.inputs]
            if any(each.nbytes for each in operands):
                held = (each for name, each in values.items() if name not in plan.constants and each.dtype != object)
                check_result_memory(product, operands[: len(product.inputs)], sum(each.nbytes for each in held))
            if multiply is not None:
                values[node.name] = multiply(node, product, operands)
            elif isinstance(op, MatMulInteger | ConvInteger):
                values[node.name] = integer_product(op, product, operands, plan.names, threads)
            else:
                values[node.name] = host.plain(node, operands)
        else:
            values[node.name] = _plain_node(node, [values[name] for name in node.inputs])
        if seen:
            seen(node, values[node.name])
        for name in plan.dies[node.name]:
            values.pop(name, None)
    return values


def _plain_node(node: Node, operands: Sequence[np.ndarray]) -> np.ndarray:
    op = node.op
    if isinstance(op, QuantizeLinear):
        return codes_of_numbers(op, *operands)
    if isinstance(op, DequantizeLinear):
        codes, scale, zero = operands
        return numbers_of_codes(op, codes, scale, zero, dtype_of(node.type.format))
    if isinstance(op, Rescale):
        return rescaled_sums(op, *operands).astype(dtype_of(node.type.format))
    if isinstance(op, Lookup):
        return looked_up_codes(op, operands[0]).astype(dtype_of(node.type.format))
    if isinstance(op, Add):
        with np.errstate(all="ignore"):  # NaN and infinity are carried
            return np.asarray(operands[0] + operands[1])
    if isinstance(op, Transpose):
        return np.ascontiguousarray(np.transpose(operands[0], op.axes))
    if isinstance(op, Relu):
        x = operands[0]
        return np.where(x < 0, x.dtype.type(0), x)  # -0 and NaN stay, as in ONNX
    raise TypeError(f"{node.name}: no tensor Graph has {node.kind}")


class RunPlan:
    """What is the same in every run of a Graph: constants as arrays, products, and what dies behind which Node."""

    def __init__(self, graph: Graph) -> None:
        """Look through *graph* once."""
        self.constants = {
            node.name: node.op.data.astype(dtype_of(node.type.format), copy=False)
            for node in graph.nodes
            if isinstance(node.op, Constant)
        }
        self.products = {
            node.name: product_of(node.op, node.inputs, node.origin)  # type: ignore[arg-type]
            for node in graph.nodes
            if is_product(node.op) or is_integer_product(node.op)
        }
        self.names = frozenset(self.constants)
        self.codes = codes_of_ports(graph)
        self.last_part = {node.inputs[0]: node.name for node in graph.nodes if isinstance(node.op, Part)}
        last: dict[str, str] = {}
        for node in graph.nodes:
            last.setdefault(node.name, node.name)
            for name in node.inputs:
                last[name] = node.name
        kept = {name for _, name in graph.results} | set(self.constants)
        self.dies: dict[str, list[str]] = {node.name: [] for node in graph.nodes}
        for name, reader in last.items():
            if name not in kept:
                self.dies[reader].append(name)


def plan_of(graph: Graph) -> RunPlan:
    """Return the plan of *graph* (made once a Graph)."""
    cached = graph.__dict__.get("_plan")
    if cached is None:
        cached = RunPlan(graph)
        object.__setattr__(graph, "_plan", cached)
    return cached


def check_result_memory(product: Product, operands: Sequence[np.ndarray], held: int) -> None:
    """Refuse a product whose result, beside the *held* bytes, would take more memory than the engine may."""
    sizes = operand_sizes(product, [np.shape(each) for each in operands])
    total = held + 4 * (math.prod(sizes.output) + sizes.scratch)
    if total > MAXIMUM_HELD:
        why = f"activations of {total >> 20} MiB would be held at once; {MAXIMUM_HELD >> 20} MiB are the most"
        raise MisfitError(product, why)


def checked_feeds(graph: Graph, inputs: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
    """Return *inputs* as arrays of the Graph's types; raise :class:`InvalidDataError` with all that does not fit."""
    problems = []
    known = {node.op.title: node for node in graph.nodes if isinstance(node.op, Feed)}
    if not isinstance(inputs, Mapping):
        why = f"{shown(type(inputs).__name__)} is no dict"
        hint = f"give an array by the name of each input: {', '.join(map(shown, known))}"
        raise InvalidDataError(f"inputs of {title_of(graph)}", [Problem("inputs", why, hint)])
    for name in inputs:
        if name not in known:
            said = ", ".join(map(shown, known))
            problems.append(Problem(f"input {shown(name)!r}", "the model has no such input", f"its inputs are {said}"))
    feeds = {}
    for name, node in known.items():
        assert isinstance(node.op, Feed)
        said = spell_dims(name, node.op.dims)
        if name not in inputs:
            problems.append(Problem(f"input {shown(name)!r}", "is missing", f"give an array: {said}"))
            continue
        wanted = dtype_of(node.type.format)
        try:
            array = np.asarray(inputs[name])
        except (TypeError, ValueError):
            problems.append(Problem(f"input {shown(name)!r}", "is no array: its rows differ in size", f"give {said}"))
            continue
        same = array.dtype.kind == wanted.kind or (array.dtype.kind in "iu" and wanted.kind in "iuf")
        if not same and wanted.kind != "O":
            problems.append(Problem(f"input {shown(name)!r}", f"holds {array.dtype}, the model reads {wanted}"))
        elif why := misfit(node.op.dims, array.shape):
            problems.append(Problem(f"input {shown(name)!r}", why, f"the model says {said}"))
        else:
            feeds[name] = array.astype(wanted, copy=False)
    if problems:
        raise InvalidDataError(f"inputs of {title_of(graph)}", problems)
    return feeds


def title_of(graph: Graph) -> str:
    """Return what the model is called where people read it."""
    return graph.source or graph.name
