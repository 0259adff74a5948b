"""Layers as passes that change shapes take them: which are asked for, their weights as matrices, what is needed to run them."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from approxhw.common.errors import PassError, Problem, shown
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import Constant
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.rewriting import Reshaping
from approxhw.ir.tensor.integer_layers import held
from approxhw.ir.tensor.layers import near, product_layers
from approxhw.passes.integers._editing import Editor

from .channels import weights_of
from .moments import Observe

ALL = "all"


@dataclass(frozen=True)
class Ground:
    """What a pass that changes shapes stands on: runs over calibration rows, and what the array makes of sizes."""

    observe: Observe
    reshaping: Reshaping


def ground_of(context: PassContext, name: str) -> Ground:
    """Return what *context* has of both for the pass *name*; raise :class:`PassError` where it lacks one."""
    if context.reshaping is None:
        why = "it changes the shapes of a whole model, and nothing here can run one"
        raise PassError(f"pass {name}", [Problem("model", why, "compile for --target matrix-engine or integer-engine")])
    if context.observe is None:
        why = "what can leave is told by calibration rows, and there are none"
        raise PassError(f"pass {name}", [Problem("data", why, "give --data with training rows")])
    return Ground(context.observe, context.reshaping)


def chosen_titles(known: Sequence[str], layers: str, name: str) -> list[str]:
    """Return those *known* titles of products that *layers* (names or patterns, colons between; all) asks for.

    Raises :class:`PassError` for the pass *name* with every pattern that fits none.
    """
    if layers == ALL:
        return list(known)
    patterns = [layers] if layers in known else layers.split(":")
    found: list[str] = []
    problems = []
    for pattern in patterns:
        fits = [title for title in known if title == pattern or fnmatch.fnmatchcase(title, pattern)]
        found += fits
        if not fits:
            problems.append(Problem(f"layer {shown(pattern)!r}", "the model has no such product", near(pattern, known)))
    if problems:
        raise PassError(f"pass {name}", problems)
    return list(dict.fromkeys(found))


def matrix_of(graph: Graph, node: Node) -> np.ndarray:
    """Return the weights of the product *node* as K × N in float64."""
    found = weights_of(graph, node)
    data = held(graph, node.inputs[found.place]) if found is not None else None
    assert found is not None
    assert data is not None
    if not np.isfinite(data).all() or not data.size:
        why = "some of its weights are infinite or no numbers" if data.size else "it has no weights: a size of it is 0"
        where = f"layer {shown(node.op.title, 60)!r}"  # type: ignore[union-attr]
        raise PassError("weights", [Problem(where, why, "look at the model, or leave the layer out")])
    moved = np.moveaxis(data.astype(np.float64), (found.columns, found.rows), (0, 1))
    return moved.reshape(len(moved), -1).T


def with_matrix(graph: Graph, node: Node, matrix: np.ndarray) -> Graph:
    """Return *graph* whose product *node* has *matrix* (K × N) as its weights, in a Constant of another name."""
    found = weights_of(graph, node)
    assert found is not None
    old = graph[node.inputs[found.place]]
    shape = old.type.shape
    rest = [size for place, size in enumerate(shape) if place not in (found.rows, found.columns)]
    data = matrix.T.reshape(matrix.shape[1], shape[found.rows], *rest)
    assert isinstance(old.op, Constant)
    moved = np.moveaxis(data, (0, 1), (found.columns, found.rows)).astype(held(graph, old.name).dtype)  # type: ignore[union-attr]
    editor = Editor(graph)
    for each in graph.nodes:
        if each.name == node.name:
            name = editor.constant(f"{old.name}_repaired", np.ascontiguousarray(moved))
            inputs = list(each.inputs)
            inputs[found.place] = name
            each = replace(each, inputs=tuple(inputs))
        editor.nodes.append(each)
    return editor.done()


def clocks_of(reshaping: Reshaping, graph: Graph) -> int:
    """Return the clocks of all products of *graph* at the sizes of its types."""
    return sum(each.count * reshaping.clocks(each.m, each.k, each.n) for each in product_layers(graph))


def share_up(costs: int, of: int) -> str:
    """Return a share of *of* in whole percent that is at least *costs*: what an error advises can be met."""
    return f"{-(-100 * costs // of)}%"


def share_problem(name: str, option: str, value: float | None) -> list[Problem]:
    """Return what is wrong with a share that an *option* of the pass *name* gives: it lies in 0…1, without 0."""
    if value is None or (isinstance(value, int | float) and 0 < value <= 1):
        return []
    why = f"{value!r} leaves nothing" if value == 0 else f"{shown(repr(value), 40)} is no share above 0 and at most 1"
    return [Problem(f"{name}.{option}", why, "give a share such as 0.6 or 60%")]


def given_alone(options: object, names: Sequence[str], name: str, example: str) -> tuple[list[str], list[Problem]]:
    """Return which of the options *names* of the pass *name* are given, and the problem of more than one; *example*: of one."""
    given = [each for each in names if getattr(options, each) not in (None, "")]
    if len(given) < 2:
        return given, []
    why = f"{'both' if len(given) == 2 else 'all'} are given"
    return given, [Problem(f"{name}.{' and '.join(given)}", why, f"give one of them, such as {example}")]
