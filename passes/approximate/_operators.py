"""Put product tables into layers: replace, move biases by the mean error, measure it, and choose an operator a layer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from approxhw.common.data.dataset import Dataset
from approxhw.common.errors import PassError, Problem
from approxhw.ir.evaluation import codes_of, score
from approxhw.ir.graph import Graph, Node, ranges
from approxhw.ir.interpreter import run
from approxhw.ir.kinds import Dense, Type
from approxhw.ir.rewriting import code_constant, fit_formats, fresh_name
from approxhw.numerics.formats import Fixed
from approxhw.numerics.mac import arithmetic
from approxhw.numerics.multipliers.tables import ErrorFigures, ProductTable, error_figures, fitted_table

Maker = Callable[[Graph, Node], ProductTable]
"""Makes the table of an operator for a layer: our own ones come in every width."""

MAXIMUM_COMBINATIONS = 4096
_WIDE = 4000


def integer_layers(graph: Graph) -> list[Node]:
    """Return the integer ``Dense`` Nodes of *graph* in order: layers are numbered from 0."""
    return [node for node in graph.nodes if isinstance(node.op, Dense) and not node.is_float]


def operand_format(graph: Graph, node: Node) -> Fixed:
    """Return the format of what ``Dense`` *node* reads."""
    fmt = graph[node.inputs[0]].type.format
    assert isinstance(fmt, Fixed)
    return fmt


def replaced(graph: Graph, name: str, table: ProductTable, skip_zero: bool = True) -> Graph:
    """Return *graph* with the products of ``Dense`` *name* taken from *table*; biases stay.

    ``skip_zero``: a weight of 0 has no multiplier, so its product is 0, whatever the table says. Raises
    :class:`OptionError` where weights or codes do not fit the table's operands.
    """
    node = graph[name]
    fmt, weights = operand_format(graph, node), graph.constant(node.inputs[1])
    low, high = ranges(graph)[node.inputs[0]]
    products = fitted_table(table, weights, (min(low.tolist()), max(high.tolist())), fmt.bits, fmt.signed)
    if skip_zero:
        products = products * (np.arange(len(products)) > 0)[:, None]
    assert isinstance(node.type.format, Fixed)
    constant = code_constant(fresh_name(graph, f"{name}_products"), products, node.type.format.scale)
    op = arithmetic.ApproximateMultiplier(len(products).bit_length() - 1, fmt.bits)
    changed = replace(
        node,
        op=Dense(op),
        inputs=(*node.inputs[:3], constant.name),
        type=Type(node.type.shape, replace(node.type.format, bits=_WIDE, signed=True)),
    )
    nodes = [part for other in graph.nodes for part in ((constant, changed) if other is node else (other,))]
    return fit_formats(replace(graph, nodes=tuple(nodes)))


def mean_errors(graph: Graph, name: str, codes: np.ndarray) -> list[int]:
    """Return the mean of (sum of the table's products − exact sum) of each neuron of *name*, rounded, over rows of *codes*."""
    node = graph[name]
    x = run(replace(graph, output=node.inputs[0]), codes).reshape(len(codes), -1)
    exact = x @ graph.constant(node.inputs[1]).T + graph.constant(node.inputs[2])
    errors = run(replace(graph, output=name), codes).reshape(exact.shape) - exact
    return [(2 * int(total) + len(codes)) // (2 * len(codes)) for total in errors.sum(axis=0).tolist()]


def corrected(graph: Graph, name: str, codes: np.ndarray) -> tuple[Graph, list[int]]:
    """Return *graph* with the biases of layer *name* moved by the mean error of its sums on *codes*, and by how much."""
    node = graph[name]
    moves = [-error for error in mean_errors(graph, name, codes)]
    old = graph[node.inputs[2]]
    assert isinstance(old.type.format, Fixed)
    shared = sum(other.inputs.count(old.name) for other in graph.nodes) > 1
    bias = [int(value) + move for value, move in zip(graph.constant(old.name).tolist(), moves, strict=True)]
    constant = code_constant(
        fresh_name(graph, old.name) if shared else old.name, bias, old.type.format.scale, origin=old.origin
    )
    assert isinstance(node.type.format, Fixed)
    changed = replace(
        node,
        inputs=(*node.inputs[:2], constant.name, *node.inputs[3:]),
        type=Type(node.type.shape, replace(node.type.format, bits=_WIDE, signed=True)),
    )
    nodes: list[Node] = []
    for other in graph.nodes:
        if other is old and not shared:
            continue
        nodes += [constant, changed] if other is node else [other]
    return fit_formats(replace(graph, nodes=tuple(nodes))), moves


def with_operator(
    graph: Graph, name: str, table: ProductTable, rows: Dataset | None, correct: bool, skip_zero: bool
) -> tuple[Graph, list[int]]:
    """Return *graph* with layer *name* on *table*, biases moved where that costs no training accuracy, and the moves made."""
    plain = replaced(graph, name, table, skip_zero)
    if rows is None or not correct or not len(rows.X_train):
        return plain, []
    moved, moves = corrected(plain, name, codes_of(graph, rows.X_train))
    accuracies = [score(made, rows.X_train, rows.y_train) for made in (plain, moved)]
    worse = accuracies[0] is not None and accuracies[1] is not None and accuracies[1] < accuracies[0]
    return (plain, []) if worse else (moved, moves)


def figures_in_use(graph: Graph, name: str, codes: np.ndarray) -> ErrorFigures:
    """Return the error figures of the products that layer *name* of *graph* makes of rows of *codes*."""
    node = graph[name]
    fmt = operand_format(graph, node)
    table = ProductTable(name, graph.constant(node.inputs[3]), "both" if fmt.signed else "weight")
    x = run(replace(graph, output=node.inputs[0]), codes).reshape(len(codes), -1) % (1 << fmt.bits)
    rows = graph.constant(node.inputs[1]) % len(table.products)
    times = np.zeros(table.products.shape)
    for column, row in zip(x.T, rows.T):
        np.add.at(times, row, np.bincount(column, minlength=1 << fmt.bits))
    return error_figures(table, times)


@dataclass(frozen=True)
class OperatorChoice:
    """What was chosen: ``names``, layer → operator; ``saved``: mm² that each operator saves in each layer, the others exact.

    ``exact_mm2``, ``area_mm2``: the circuit before and after; ``accuracy``: on training rows, after.
    """

    names: Mapping[str, str]
    saved: Mapping[tuple[str, str], float]
    exact_mm2: float
    area_mm2: float
    accuracy: float


def choose_operators(
    graph: Graph,
    layers: Sequence[str],
    operators: Mapping[str, Maker | None],
    data: Dataset,
    area: Callable[[Graph], float],
    max_loss: float,
    *,
    correct: bool = True,
    skip_zero: bool = True,
) -> tuple[Graph, OperatorChoice]:
    """Return *graph* with the operators of least area in *layers* that cost at most *max_loss* of training accuracy.

    ``operators``: name → what makes its table, None for the exact product. ``area``: mm² of a Graph's circuit. Every
    operator is measured in every layer, the others exact; savings are taken as additive, and combinations are tried from
    the smallest up until one holds the accuracy of *graph* less *max_loss* (absolute) on the training rows. Ties go to the
    operators that are named first. Raises :class:`PassError` where none does.
    """
    base = score(graph, data.X_train, data.y_train)
    if base is None:
        why = "there are no training rows to judge operators by"
        raise PassError("pass approximate-multiplier", [Problem("operators", why, "give --data with training rows")])
    count = len(operators) ** len(layers)
    if count > MAXIMUM_COMBINATIONS:
        why = f"{len(operators)} operators in {len(layers)} layers are {count} combinations, more than {MAXIMUM_COMBINATIONS}"
        raise PassError("pass approximate-multiplier", [Problem("operators", why, "name fewer operators or layers")])

    def build(names: Mapping[str, str]) -> Graph:
        built = graph
        for layer, name in names.items():
            maker = operators[name]
            if maker is not None:
                built, _ = with_operator(built, layer, maker(graph, graph[layer]), data, correct, skip_zero)
        return built

    exact = area(graph)
    saved = {
        (layer, name): 0.0 if maker is None else exact - area(build({layer: name}))
        for layer in layers
        for name, maker in operators.items()
    }
    combinations = [dict(zip(layers, names)) for names in itertools.product(operators, repeat=len(layers))]
    best = 0.0
    for names in sorted(combinations, key=lambda names: -math.fsum(saved[pair] for pair in names.items())):
        built = build(names)
        reached = score(built, data.X_train, data.y_train) or 0.0
        best = max(best, reached)
        if reached >= base - max_loss - 1e-12:
            return built, OperatorChoice(names, saved, exact, area(built), reached)
    why = f"no combination loses at most {max_loss:g}: the best has {best:.4f} of {base:.4f} on training rows"
    raise PassError("pass approximate-multiplier", [Problem("operators", why, "add exact, or allow more by max_loss")])
