"""Channels that leave with repair: who reads them, what that costs in error and saves in clocks, the Graph without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from approxhw.common.errors import PassError, Problem, shown
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds.tensor.ops import Conv, ConvTranspose, Gemm, MatMul, is_product
from approxhw.ir.kinds.tensor.products import operand_sizes, product_of
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.rewriting import Reshaping
from approxhw.passes.integers._mean_shifts import with_column_shift

from .channels import ChannelGroup, Channels, channels_of, weights_of
from .layers import ALL, Ground, chosen_titles, ground_of, matrix_of, with_matrix
from .moments import Moments
from .refit import Meant
from .repair import WeightReader, repaired
from .slicing import kept_places, sliced


def open_groups(
    graph: Graph, context: PassContext, layers: str, name: str
) -> tuple[Ground, Channels, list[ChannelGroup]]:
    """Return what the pass *name* stands on, the channels of *graph* taken apart, and the groups that *layers* asks for.

    Raises :class:`PassError` where something is missing, or nothing can leave.
    """
    ground = ground_of(context, name)
    channels = channels_of(ground.reshaping.apart(graph))
    return ground, channels, chosen_groups(channels, layers, name)


def chosen_groups(channels: Channels, layers: str, name: str) -> list[ChannelGroup]:
    """Return the groups that *layers* asks for and that can leave; raise :class:`PassError` for what is named and cannot."""
    titles = dict.fromkeys(group.title for group in channels.groups)
    asked = set(chosen_titles(list(titles), layers, name))
    chosen = [group for group in channels.groups if group.title in asked]
    stuck = [group for group in chosen if group.why]
    free = [group for group in chosen if not group.why and group.size > 1]
    if stuck and (layers != ALL or not free):
        remedy = "leave it out" if layers != ALL else "such a model has nothing that this pass can take out"
        found = [
            Problem(f"layer {shown(group.title, 60)!r}", f"its channels stay: {group.why}", remedy) for group in stuck
        ]
        raise PassError(f"pass {name}", found)
    if not free:
        raise PassError(f"pass {name}", [Problem("layers", "no layer has more than one channel that could leave")])
    return free


def matrix_channels(channels: Channels, node: Node) -> np.ndarray:
    """Return the channel that each of the K inputs of *node*'s weights reads."""
    found = weights_of(channels.graph, node)
    assert found is not None
    weights = node.inputs[found.place]
    axis = channels.axes[weights][found.rows]
    shape = channels.graph[weights].type.shape
    assert axis is not None
    return np.repeat(axis, int(np.prod(shape)) // (shape[found.rows] * shape[found.columns]))


def group_readers(channels: Channels, group: ChannelGroup, moments: Mapping[str, Moments]) -> list[WeightReader]:
    """Return what reads the channels of *group*."""
    graph = channels.graph
    return [
        WeightReader(matrix_of(graph, graph[name]), moments[name], matrix_channels(channels, graph[name]))
        for name in group.readers
    ]


def without_channels(
    channels: Channels, gone: np.ndarray, moments: Mapping[str, Moments] | None, reshaping: Reshaping
) -> Graph:
    """Return the Graph without the channels *gone*; with *moments*, weights that read them are repaired by least squares."""
    graph = sliced(channels, gone, reshaping.typed)
    for name in [node.name for node in channels.graph.nodes if moments is not None and node.name in moments]:
        node = channels.graph[name]
        reads = matrix_channels(channels, node)
        if moments is not None and np.isin(reads, gone).any() and name in graph.by_name:
            renewed, shift = repaired(matrix_of(channels.graph, node), moments[name], kept_places(reads, gone))
            graph = _with_repair(channels, graph, node, gone, renewed, shift)
    return graph


def _with_repair(
    channels: Channels, graph: Graph, before: Node, gone: np.ndarray, renewed: np.ndarray, shift: np.ndarray
) -> Graph:
    """Return *graph* with *renewed* weights (S × all N of *before*) and *shift* in what *before* has become."""
    found = weights_of(channels.graph, before)
    assert found is not None
    columns_axis = channels.axes[before.inputs[found.place]][found.columns]
    columns = np.arange(len(shift)) if columns_axis is None else kept_places(columns_axis, gone)
    graph = with_matrix(graph, graph[before.name], renewed[:, columns])
    moved = shift[columns] * (before.op.alpha if isinstance(before.op, Gemm) else 1.0)
    return with_column_shift(graph, graph[before.name], moved) if np.any(moved) else graph


def useful_sizes(channels: Channels, group: ChannelGroup, order: np.ndarray, reshaping: Reshaping) -> list[int]:
    """Return how many channels of *group* may stay, fewest first: the most of them that take so many clocks.

    *order*: in which they leave.
    """
    names = touched_by(channels, group)
    found = [group.size]
    last = clocks_without(channels, order[:0], reshaping, names)
    for size in range(group.size - 1, 0, -1):
        taken = clocks_without(channels, order[: group.size - size], reshaping, names)
        if taken < last:
            found.append(size)
            last = taken
    return found[::-1]


def touched_by(channels: Channels, group: ChannelGroup) -> list[str]:
    """Return the products whose sizes change with the channels of *group*, those of two activations among them."""
    found = []
    for node in channels.graph.nodes:
        if is_product(node.op):
            axes = [axis for name in node.inputs[:2] for axis in channels.axes[name] if axis is not None]
            if any(np.isin(axis, group.channels).any() for axis in axes):
                found.append(node.name)
    return found


def clocks_without(
    channels: Channels, gone: np.ndarray, reshaping: Reshaping, names: Sequence[str] | None = None
) -> int:
    """Return the clocks of all products (or those of *names*) once the channels *gone* have left."""
    total, graph = 0, channels.graph
    for node in graph.nodes if names is None else [graph[name] for name in names]:
        if is_product(node.op):
            shapes = [
                tuple(
                    size if axis is None else int(np.count_nonzero(~np.isin(axis, gone)))
                    for size, axis in zip(graph[name].type.shape, channels.axes[name], strict=True)
                )
                for name in node.inputs
            ]
            op = node.op
            if isinstance(op, Conv) and op.group == graph[node.inputs[0]].type.shape[1] > 1:
                op = replace(op, group=shapes[0][1])
            assert isinstance(op, MatMul | Gemm | Conv | ConvTranspose)
            sizes = operand_sizes(product_of(op, node.inputs), shapes)
            total += sizes.count * reshaping.clocks(sizes.m, sizes.k, sizes.n)
    return total


def meant_columns(channels: Channels, groups: list[ChannelGroup], gone: np.ndarray) -> list[Meant]:
    """Return what the products are to give that read channels of *groups*: what they gave before."""
    graph, found = channels.graph, []
    for name in dict.fromkeys(name for group in groups for name in group.readers):
        node = graph[name]
        weights = weights_of(graph, node)
        assert weights is not None
        axis = channels.axes[node.inputs[weights.place]][weights.columns]
        assert axis is not None
        found.append(Meant(name, name, kept_places(axis, gone)))
    return found
