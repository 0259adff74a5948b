"""The pass that writes weights as two thin factors, of the rank that the data needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, PassError, Problem, shown
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds.tensor.ops import Conv, ConvTranspose, Gemm, MatMul, Product, is_product
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.rewriting import Reshaping
from approxhw.ir.tensor.layers import product_sizes
from approxhw.numerics.formats import dtype_of
from approxhw.passes.integers._editing import Editor
from approxhw.passes.integers._mean_shifts import with_column_shift

from .ground.budget import Form, within_budget
from .ground.by_layer import fitted_by_layer, read_by_layer, read_count
from .ground.channels import weights_of
from .ground.layers import ALL, chosen_titles, clocks_of, given_alone, ground_of, matrix_of, share_problem, share_up
from .ground.moments import Moments, input_moments
from .ground.refit import Meant, refitted

_NAME = "low-rank"

USUAL = 0.9
"""Share of clocks that stays where nothing is said."""


@dataclass(frozen=True)
class LowRank:
    """Write weights as two factors of low rank, cut where the outputs over calibration rows have least variance.

    Either *budget*, a share of the engine's clocks: each layer gets the rank that costs least error a clock saved; or *rank*,
    the same for all layers. A layer that factors make no cheaper stays. The factors are W·U and Uᵀ, U the first principal
    directions of x·W: of all factors of their rank they come nearest to the outputs. Nothing is retrained.
    """

    kind: ClassVar[str] = "approximating"
    tensors: ClassVar[bool] = True
    reshapes: ClassVar[bool] = True
    """It changes shapes, by what training rows tell."""

    budget: float | None = field(
        default=None, metadata={"help": "share of the engine's clocks that stays; 90% without a rank"}
    )
    rank: int | None = field(default=None, metadata={"help": "of every layer that it makes cheaper"})
    ranks: str = field(default="", metadata={"help": "of each layer by itself, such as conv1=16;conv2:fc=8"})
    layers: str = field(default=ALL, metadata={"help": "names or patterns of products apart by ':', or all"})
    refit: bool = field(
        default=True, metadata={"help": "second factors once more, layer after layer, by least squares"}
    )

    def __post_init__(self) -> None:
        """Refuse what leaves nothing."""
        found = share_problem(_NAME, "budget", self.budget)
        given, several = given_alone(self, ("budget", "rank", "ranks"), _NAME, "budget=70% or rank=16")
        found += several
        if not given:
            object.__setattr__(self, "budget", USUAL)
        try:
            self.by_layer()
        except OptionError as error:
            found += error.problems
        if self.rank is not None and self.rank < 1:
            found.append(Problem(f"{_NAME}.rank", f"{self.rank} leaves nothing", "give 1 or more"))
        if found:
            raise OptionError(_NAME, found)

    def by_layer(self) -> dict[str, int]:
        """Return the ``ranks`` by names, patterns or numbers of layers."""
        return read_by_layer(self.ranks, read_count, f"{_NAME}.ranks", "ranks=conv1=16;fc=8")

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* with factors in place of the weights that they make cheaper."""
        ground = ground_of(context, _NAME)
        nodes = self._chosen(graph)
        whole = ground.reshaping.typed(graph)
        moments = input_moments(whole, [node.name for node in nodes], ground.observe)
        factors = {node.name: principal_of(matrix_of(whole, node), moments[node.name]) for node in nodes}
        before = clocks_of(ground.reshaping, whole)
        if self.ranks:
            own = fitted_by_layer(self.by_layer(), product_titles(whole), _NAME)
            ranks = {node.name: own[_title(node)] for node in nodes}
        else:
            ranks = self._ranks(whole, nodes, factors, ground.reshaping, before)
        if not ranks:
            context.note("no layer has factors that are cheaper than its weights")
            return graph
        made = whole
        for name, rank in ranks.items():
            made = _factored(made, made[name], factors[name], rank, None if self.refit else moments[name])
        after = clocks_of(ground.reshaping, made)
        told = ", ".join(f"{shown(_title(whole[name]), 40)} {rank}" for name, rank in list(ranks.items())[:8])
        context.note(
            f"ranks: {told}{', …' if len(ranks) > 8 else ''}: {after:,} of {before:,} clocks ({after / before:.1%})"
        )
        context.note(_conditions(whole, factors, ranks))
        if self.refit:
            meant = [Meant(name, name, np.arange(len(factors[name].values))) for name in ranks]
            tell = None if context.on_progress is None else partial(context.on_progress, "refit layers")
            made = refitted(made, whole, meant, ground.observe, tell)
        return made

    def _chosen(self, graph: Graph) -> list[Node]:
        """Return the products that are asked for; raise :class:`PassError` naming those whose weights cannot be factored."""
        products = {_title(node): node for node in graph.nodes if is_product(node.op)}
        chosen = [products[title] for title in chosen_titles(list(products), self.layers, _NAME)]
        own = fitted_by_layer(self.by_layer(), list(products), _NAME)
        if own:
            chosen = [products[title] for title in own]
        found, problems = [], []
        for node in chosen:
            where = f"layer {shown(_title(node), 60)!r}"
            if (why := _stays(graph, node)) and (self.layers != ALL or own):
                problems.append(Problem(where, why, "leave it out"))
            elif not why:
                found.append(node)
                full = min(matrix_of(graph, node).shape)
                asked = own.get(_title(node), self.rank if self.layers != ALL else None)
                if asked is not None and asked > full:
                    problems.append(Problem(where, f"rank {asked} is above its full rank of {full}", "give less"))
        if not found and not problems:
            problems.append(Problem("layers", "no product has constant weights of one group that could be factored"))
        full = max((min(matrix_of(graph, node).shape) for node in found), default=0)
        if self.rank is not None and not problems and self.rank > full:
            why = f"{self.rank} is above the full rank of every layer; the largest is {full}"
            problems.append(Problem(f"{_NAME}.rank", why, f"give less than {full}"))
        if problems:
            raise PassError(f"pass {_NAME}", problems)
        return found

    def _ranks(
        self, graph: Graph, nodes: Sequence[Node], factors: Mapping[str, Principal], reshaping: Reshaping, before: int
    ) -> dict[str, int]:
        forms = {node.name: rank_forms(graph, node, factors[node.name], reshaping) for node in nodes}
        if self.rank is not None:
            wanted = self.rank
            return {
                name: wanted
                for name, each in forms.items()
                if wanted <= len(factors[name].values)
                and _clocks(graph, graph[name], wanted, reshaping) < each[0].costs
            }
        assert self.budget is not None
        others = before - sum(each[0].costs for each in forms.values())
        chosen, total = within_budget(list(forms.values()), self.budget * before - others)
        if total + others > self.budget * before:
            why = f"rank 1 everywhere still takes {total + others:,} of {before:,} clocks"
            raise PassError(
                f"pass {_NAME}",
                [Problem(f"{_NAME}.budget", why, f"give budget={share_up(total + others, before)} or more")],
            )
        return {node.name: form.size for node, form in zip(nodes, chosen, strict=True) if form.size}


@dataclass(frozen=True, eq=False)
class Principal:
    """Principal directions of what a layer gives: ``matrix`` (K × N), ``directions`` (N × N), ``values`` along them."""

    matrix: np.ndarray
    directions: np.ndarray
    values: np.ndarray


def principal_of(matrix: np.ndarray, moments: Moments) -> Principal:
    """Return the principal directions of what weights (K × N) give on inputs of these *moments*."""
    values, directions = np.linalg.eigh(matrix.T @ moments.covariance @ matrix)
    return Principal(matrix, directions[:, ::-1], np.maximum(values[::-1], 0.0))


def product_titles(graph: Graph) -> list[str]:
    """Return the titles of all products of *graph*, in its order: what the options of passes name."""
    return [_title(node) for node in graph.nodes if is_product(node.op)]


def _title(node: Node) -> str:
    assert isinstance(node.op, MatMul | Gemm | Conv | ConvTranspose)
    return node.op.title


def _stays(graph: Graph, node: Node) -> str:
    """Return why the weights of *node* cannot be factored; empty where they can."""
    if isinstance(node.op, ConvTranspose):
        return "filters of a ConvTranspose are not factored"
    if isinstance(node.op, Conv) and node.op.group > 1:
        return f"its filters are in {node.op.group} groups"
    return "" if weights_of(graph, node) is not None else "its second operand is no constant matrix"


def rank_forms(graph: Graph, node: Node, factor: Principal, reshaping: Reshaping) -> list[Form]:
    """Return *node* as it is, and with factors of every rank that saves clocks."""
    sizes = product_sizes(graph, node)
    whole = sizes.count * reshaping.clocks(sizes.m, sizes.k, sizes.n)
    total = max(float(factor.values.sum()), np.finfo(float).tiny)
    lost = np.append(np.cumsum(factor.values[::-1])[::-1], 0.0) / total
    forms = [Form(0, whole, 0.0)]
    for rank in range(min(factor.matrix.shape), 0, -1):
        costs = _clocks(graph, node, rank, reshaping)
        if costs < forms[-1].costs:
            forms.append(Form(rank, costs, float(lost[rank])))
    return forms


def _clocks(graph: Graph, node: Node, rank: int, reshaping: Reshaping) -> int:
    sizes = product_sizes(graph, node)
    return sizes.count * (reshaping.clocks(sizes.m, sizes.k, rank) + reshaping.clocks(sizes.m, rank, sizes.n))


def _factored(graph: Graph, node: Node, factor: Principal, rank: int, moments: Moments | None) -> Graph:
    """Return *graph* with two products in place of *node*, whose name the second one has; *moments*: whose mean is kept."""
    editor = Editor(graph)
    narrow = factor.directions[:, :rank]
    first, second = factor.matrix @ narrow, narrow.T
    for each in graph.nodes:
        if each.name != node.name:
            editor.nodes.append(each)
            continue
        before, after = _two_ops(node.op)
        inputs = [
            _constant(editor, graph, node, matrix, name) for matrix, name in ((first, "first"), (second, "second"))
        ]
        shape = list(node.type.shape)
        shape[1 if isinstance(node.op, Conv) else -1] = rank
        thin = editor.add(f"{node.name}_thin", before, [node.inputs[0], inputs[0]], shape, node.type.format)
        editor.nodes.append(replace(node, op=after, inputs=(thin, inputs[1], *node.inputs[2:])))
    made = editor.done()
    if moments is None:
        return made
    shift = moments.mean @ factor.matrix
    scale = node.op.alpha if isinstance(node.op, Gemm) else 1.0
    return with_column_shift(made, made[node.name], scale * (shift - (shift @ narrow) @ narrow.T))


def _two_ops(op: object) -> tuple[Product, Product]:
    """Return what multiplies by the first factor, and what by the second."""
    assert isinstance(op, MatMul | Gemm | Conv)
    titles = f"{op.title}/first", f"{op.title}/second"
    if isinstance(op, Gemm):
        first = replace(op, title=titles[0], beta=1.0, transpose_b=False)
        return first, replace(op, title=titles[1], alpha=1.0, transpose_a=False, transpose_b=False)
    if isinstance(op, Conv):
        plain = Conv(titles[1], arithmetic=op.arithmetic, result=op.result, codes=op.codes)
        return replace(op, title=titles[0]), plain
    return replace(op, title=titles[0]), replace(op, title=titles[1])


def _constant(editor: Editor, graph: Graph, node: Node, matrix: np.ndarray, name: str) -> str:
    """Append *matrix* (K × N) as weights of *node*'s kind: filters of its size before, of one place behind."""
    old = graph[node.inputs[1]]
    data = matrix
    if isinstance(node.op, Conv):
        kernel = old.type.shape[2:] if name == "first" else (1,) * (len(old.type.shape) - 2)
        data = matrix.T.reshape(matrix.shape[1], -1, *kernel)
    return editor.constant(f"{old.name}_{name}", np.ascontiguousarray(data.astype(dtype_of(old.type.format))))


def _conditions(graph: Graph, factors: Mapping[str, Principal], ranks: Mapping[str, int]) -> str:
    """Return how the condition of the weights changed: of the layer where it was worst."""
    name = max(ranks, key=lambda each: _condition(factors[each].matrix))
    matrix, rank = factors[name].matrix, ranks[name]
    after = _condition(matrix @ factors[name].directions[:, :rank])
    return f"worst condition of weights: {shown(_title(graph[name]), 40)} {_condition(matrix):.3g}, first factor now {after:.3g}"


def _condition(matrix: np.ndarray) -> float:
    values = np.linalg.svd(matrix, compute_uv=False)
    return float(values[0] / values[-1]) if values[-1] > 0 else float("inf")
