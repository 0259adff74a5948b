"""A tensor Graph with one operator a Host Node as a function that PyTorch differentiates by the weights that can be trained."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from approxhw.common.errors import PassError, Problem, shown
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import Constant, Relu
from approxhw.ir.kinds.tensor.ops import Add, Conv, ConvTranspose, Feed, Gemm, Host, MatMul, Part, Transpose, is_product
from approxhw.ir.kinds.tensor.products import product_of
from approxhw.ir.tensor.integer_layers import held
from approxhw.passes.structure.ground.operators import host_operator

from .operators.layers import affine_product, convolved, spread_images
from .operators.library import RESULTS, Made, Tensor, UntranslatedError, torch
from .operators.table import TRANSLATED

PASS = "pass fine-tune"

_SCALED = {"LayerNormalization": (1, 2), "BatchNormalization": (1, 2), "InstanceNormalization": (1, 2), "PRelu": (1,)}
"""Which operands of an operator are trained where they are constants."""

_JOINED = ("Add", "Sub", "Mul", "Div")
"""Operators whose constants of several elements are scales and biases."""


@dataclass(frozen=True, eq=False)
class TorchModel:
    """A Graph up to some of its values, in PyTorch: what is trained (by name of its Constant), and all other constants."""

    graph: Graph
    nodes: tuple[Node, ...]
    """Those that lead to the values, in order."""
    makers: Mapping[str, Callable[[list[Any]], Any]]
    trained: Mapping[str, Tensor]
    fixed: Mapping[str, Tensor]
    last: Mapping[str, tuple[str, ...]] = field(repr=False)
    """What nothing reads behind a Node."""

    def values(self, feeds: Mapping[str, Tensor], wanted: Collection[str]) -> dict[str, Tensor]:
        """Return the values of the names *wanted*; *feeds* by the title of each input."""
        values: dict[str, Tensor] = {**self.fixed, **self.trained}
        kept = set(wanted)
        for node in self.nodes:
            if isinstance(node.op, Constant):
                continue
            if isinstance(node.op, Feed):
                values[node.name] = feeds[node.op.title]
            elif isinstance(node.op, Part):
                values[node.name] = values[f"{node.inputs[0]}/parts"][node.op.index]
            else:
                made = self._made(node, [values[name] for name in node.inputs])
                if isinstance(made, list):
                    values[f"{node.name}/parts"], made = made, made[0]
                values[node.name] = made
            for name in self.last[node.name]:
                if name not in kept:
                    values.pop(name, None)
        return {name: values[name] for name in wanted}

    def _made(self, node: Node, operands: list[Any]) -> Any:
        try:
            return self.makers[node.name](operands)
        except UntranslatedError as error:
            raise PassError(PASS, [untranslated(node, str(error))]) from error
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            why = f"PyTorch does not compute it: {shown(error, 200)}"
            raise PassError(PASS, [Problem(_told(node), why, _REMEDY)]) from error


_REMEDY = "leave fine-tune out, or fine-tune the model where it was trained"


def untranslated(node: Node, what: str) -> Problem:
    """Return the problem of a Node that has no translation; *what* of it."""
    return Problem(_told(node), f"{what} has no translation to PyTorch here", _REMEDY)


def _told(node: Node) -> str:
    return shown(getattr(node.op, "title", "") or node.origin or node.name, 80)


def torch_model(graph: Graph, wanted: Collection[str], *, trained: bool) -> TorchModel:
    """Return *graph*, with one operator a Host Node, up to the values *wanted*, with weights to train where that is asked for.

    Raises :class:`PassError` naming every Node that has no translation.
    """
    nodes = _leading_to(graph, wanted)
    makers: dict[str, Callable[[list[Any]], Any]] = {}
    problems = []
    for node in nodes:
        if isinstance(node.op, Constant | Feed | Part):
            continue
        maker = _maker(graph, node)
        if isinstance(maker, Problem):
            problems.append(maker)
        else:
            makers[node.name] = maker
    if problems:
        raise PassError(PASS, problems)
    chosen = trainable(graph, nodes) if trained else []
    fixed, learnt = {}, {}
    for node in nodes:
        if isinstance(node.op, Constant):
            data = held(graph, node.name)
            assert data is not None
            tensor = torch().tensor(np.ascontiguousarray(data).reshape(data.shape))
            if node.name in chosen:
                learnt[node.name] = tensor.requires_grad_()
            else:
                fixed[node.name] = tensor
    return TorchModel(graph, nodes, makers, learnt, fixed, _last_readers(nodes))


def trainable(graph: Graph, nodes: Collection[Node]) -> list[str]:
    """Return the Constants among *nodes* that are weights of products, scales or biases, in the order of the Graph.

    Tables that rows are picked from stay: what a few rows say of a word says nothing of the others. So do masks.
    """
    chosen: set[str] = set()
    tables: set[str] = set()
    for node in nodes:
        kind = node.op.operators[0] if isinstance(node.op, Host) and len(node.op.operators) == 1 else ""
        if kind in ("Gather", "GatherElements", "GatherND"):
            tables.add(node.inputs[0])
        if is_product(node.op):
            chosen.update(node.inputs)
        elif isinstance(node.op, Add) or kind in _JOINED:
            chosen.update(name for name in node.inputs if graph[name].type.elements > 1)
        else:
            chosen.update(node.inputs[place] for place in _SCALED.get(kind, ()) if place < len(node.inputs))
    return [node.name for node in nodes if node.name in chosen - tables and _is_learnable(graph, node)]


_MASKED = 1e4
"""Numbers that large hide places of attention."""


def _is_learnable(graph: Graph, node: Node) -> bool:
    """Whether *node* is a Constant of finite real numbers that are no mask: not all 0 or 1, none very large."""
    data = held(graph, node.name) if isinstance(node.op, Constant) else None
    if data is None or data.dtype not in (np.float32, np.float64) or not np.isfinite(data).all():
        return False
    return bool(np.abs(data).max(initial=0) < _MASKED) and not bool(
        np.isin(data, (0, 1)).all() and np.unique(data).size > 1
    )


def _leading_to(graph: Graph, wanted: Collection[str]) -> tuple[Node, ...]:
    """Return the Nodes that *wanted* ones come of, in order."""
    needed, chosen = set(wanted), []
    for node in reversed(graph.nodes):
        if node.name in needed:
            chosen.append(node)
            needed.update(node.inputs)
    return tuple(reversed(chosen))


def _last_readers(nodes: Collection[Node]) -> dict[str, tuple[str, ...]]:
    last: dict[str, str] = {}
    for node in nodes:
        last[node.name] = node.name
        if isinstance(node.op, Host):
            last[f"{node.name}/parts"] = node.name
        for name in node.inputs:
            last[name] = node.name
            if isinstance(node.op, Part):
                last[f"{name}/parts"] = node.name
    found: dict[str, list[str]] = {node.name: [] for node in nodes}
    for name, reader in last.items():
        found[reader].append(name)
    return {name: tuple(dying) for name, dying in found.items()}


def _maker(graph: Graph, node: Node) -> Callable[[list[Any]], Any] | Problem:
    """Return what makes *node* of its operands, or why nothing does."""
    op = node.op
    if isinstance(op, Add):
        return lambda x: x[0] + x[1]
    if isinstance(op, Relu):
        return lambda x: x[0].relu()
    if isinstance(op, Transpose):
        return lambda x, axes=op.axes: x[0].permute(axes)  # type: ignore[misc]
    if isinstance(op, MatMul):
        return lambda x: x[0] @ x[1]
    if isinstance(op, Gemm | Conv | ConvTranspose):
        made = affine_product if isinstance(op, Gemm) else convolved if isinstance(op, Conv) else spread_images
        attributes = product_of(op, ()).attributes
        return lambda x: made(x[0], x[1], x[2] if len(x) > 2 else None, attributes)
    if not isinstance(op, Host):
        what = f"{node.kind}, of codes,"
        return Problem(
            _told(node), f"{what} has no slope", "put fine-tune before quantize-model; retrain-weights behind it"
        )
    found = host_operator(node)
    if found is None or found[0] not in TRANSLATED:
        return untranslated(node, ", ".join(op.operators) or "what it computes")
    kind, given, places = found
    return _host_maker(TRANSLATED[kind], {**given, RESULTS: len(op.makes)}, places)


def _host_maker(made: Made, given: Mapping[str, Any], places: list[int]) -> Callable[[list[Any]], Any]:
    return lambda x: made([x[place] if place >= 0 else None for place in places], given)
