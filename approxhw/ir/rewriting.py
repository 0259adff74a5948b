"""Small tools for whoever rewrites Graphs: fit formats to exact ranges, fresh names, integer Constants, shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from approxhw.numerics.formats import Fixed, fixed_for

from .graph import Graph, Node, identifier, kind_of, ranges
from .kinds import Constant, Requantize, Type


def fit_formats(graph: Graph, widen_only: bool = False) -> Graph:
    """Return *graph* with every ``Fixed`` format the narrowest for its exact range; scales and zero points stay.

    The Input keeps its format (its Encoding says its width), ``ArgMax`` and ``Threshold`` keep theirs (their kind says
    it). With *widen_only*, formats that hold their range stay as they are.
    """
    known, nodes = ranges(graph), []
    for node in graph.nodes:
        fmt = node.type.format
        if isinstance(fmt, Fixed) and not kind_of(node.op).says_format:
            low, high = known[node.name]
            lowest, highest = int(min(low.tolist())), int(max(high.tolist()))
            if not (widen_only and fmt.low <= lowest and highest <= fmt.high):
                node = replace(node, type=Type(node.type.shape, fixed_for(lowest, highest, fmt.scale, fmt.zero)))
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def code_array(values: object) -> np.ndarray:
    """Return integers as the array that a ``Constant`` holds: int64, or object where one needs more bits."""
    array = np.array(values, dtype=object)
    flat = array.reshape(-1).tolist()
    small = all(-(1 << 63) <= value < 1 << 63 for value in flat)
    return array.astype(np.int64) if small else array


def code_constant(name: str, values: object, scale: Fraction = Fraction(1), zero: int = 0, origin: str = "") -> Node:
    """Return a Constant Node of integer codes in the narrowest format that holds them."""
    data = code_array(values)
    fmt = fixed_for(int(data.min()), int(data.max()), scale, zero)
    return Node(name, Constant(data), (), Type(data.shape, fmt), origin)


def finer_codes(nodes: Sequence[Node], read: Node, factor: int, taken: frozenset[str] | set[str] = frozenset()) -> Node:
    """Return a Requantize of *read*, the last of *nodes* or one above, on a scale *factor* times finer, of zero point 0.

    Nothing is rounded; wires do where *factor* is a power of two and there was no zero point.
    """
    fmt = read.type.format
    assert isinstance(fmt, Fixed)
    low, high = ranges(Graph("codes", tuple(nodes), read.name))[read.name]
    least, most = (factor * (int(end) - fmt.zero) for end in (min(low.tolist()), max(high.tolist())))
    name = identifier(f"{read.name}_aligned", {node.name for node in nodes} | set(taken))
    op = Requantize((factor,), 0, (-factor * fmt.zero,), least, most)
    return Node(name, op, (read.name,), Type(read.type.shape, fixed_for(least, most, fmt.scale / factor)), read.origin)


def fresh_name(graph: Graph, base: str, taken: frozenset[str] | set[str] = frozenset()) -> str:
    """Return a legal name like *base* that no Node of *graph* bears and that is not in *taken*."""
    return identifier(base, {node.name for node in graph.nodes} | set(taken))


@dataclass(frozen=True)
class Reshaping:
    """What lets passes change the shapes of a tensor Graph: they know no host's runtime and no array by themselves.

    ``apart``: a Graph with one operator a Host Node and all types known. ``typed``: a changed one with its types anew.
    ``clocks``: what M × K by K × N takes on the array.
    """

    apart: Callable[[Graph], Graph]
    typed: Callable[[Graph], Graph]
    clocks: Callable[[int, int, int], int] = lambda m, k, n: m * k * n
