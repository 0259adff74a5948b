"""The pass that cuts hidden activations down to a few bits."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, PassError, Problem
from approxhw.ir.chain import feeds_layers, is_activation
from approxhw.ir.evaluation import codes_of
from approxhw.ir.graph import Graph, Node, kind_of, ranges, renamed_inputs
from approxhw.ir.interpreter import run
from approxhw.ir.kinds import Add, Dense, Requantize, Type
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.rewriting import code_constant, finer_codes, fit_formats, fresh_name
from approxhw.numerics.formats import Fixed

ROUNDINGS = ("floor", "half-up")


@dataclass(frozen=True)
class RequantizeHidden:
    """Cut every hidden activation to codes of a few bits, signed where it can be negative: drop low bits, saturate at the ends.

    After each activation, and each sum of branches, that only ``Dense`` read and that needs more than *bits* bits stands a
    ``Requantize``. Its shift is the least with which the *percentile* of the values on training rows (without rows, or with
    none: the greatest value that its range allows) fits. Biases, bounds and thresholds behind it follow the coarser scale;
    where branches meet, codes are raised to the scale that they had.
    """

    kind: ClassVar[str] = "approximating"

    bits: int = field(default=8, metadata={"help": "width of a hidden activation, 1 to 32"})
    percentile: float | None = field(default=99.9, metadata={"help": "share of training values that must fit, in %"})
    rounding: str = field(default="floor", metadata={"help": "floor (QReLU) or half-up"})

    def __post_init__(self) -> None:
        """Refuse options out of reach."""
        found = []
        if not 1 <= self.bits <= 32:
            found.append(Problem("requantize-hidden.bits", f"{self.bits} is not in 1…32"))
        if self.percentile is not None and not 0 < self.percentile <= 100:
            found.append(Problem("requantize-hidden.percentile", f"{self.percentile} is not in 0…100"))
        if self.rounding not in ROUNDINGS:
            why = f"there is no {self.rounding!r}; there are {', '.join(ROUNDINGS)}"
            found.append(Problem("requantize-hidden.rounding", why))
        if found:
            raise OptionError("requantize-hidden", found)

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* with coarser hidden activations."""
        if not graph.is_integer:
            why = "only an integer Graph has bits to drop"
            raise PassError("pass requantize-hidden", [Problem(graph.name, why, "run quantize-weights before")])
        for name in [node.name for node in graph.nodes if is_hidden(graph, node)]:
            graph = self._cut(graph, name, context)
        return graph

    def _cut(self, graph: Graph, name: str, context: PassContext) -> Graph:
        node = graph[name]
        fmt = node.type.format
        assert isinstance(fmt, Fixed)
        low, high = ranges(graph)[name]
        signed = min(low.tolist()) < 0
        # what a negative code takes besides its sign: -1 takes no bit
        top = greatest = max(int(max(high.tolist())), -1 - int(min(low.tolist())))
        bits = self.bits - signed
        if greatest < 1 << bits:
            return graph
        rows = context.data.X_train if context.data is not None else np.empty((0, 1))
        if self.percentile is not None and len(rows):
            values = run(replace(graph, output=name), codes_of(graph, rows))
            values = np.maximum(values, -1 - values)
            top = max(1, math.ceil(np.percentile(values.astype(np.float64), self.percentile)))
        shift = max(0, min(top, greatest).bit_length() - bits)
        half = (1 << shift) >> 1 if self.rounding == "half-up" else 0
        cut = fresh_name(graph, f"{name}_codes")
        op = Requantize((1,), shift, (half,), -(1 << bits) if signed else 0, (1 << bits) - 1)
        kind = Type(node.type.shape, Fixed(self.bits, signed, fmt.scale * (1 << shift)))
        context.note(f"{name}: {greatest.bit_length() + signed} bits became {self.bits}, {shift} low bits dropped")
        return coarser(graph, name, Node(cut, op, (name,), kind, node.origin), shift)


def is_hidden(graph: Graph, node: Node) -> bool:
    """Whether *node* is an activation, or a sum of branches, that only ``Dense`` read."""
    hidden = isinstance(node.op, Add) or (is_activation(node) and not isinstance(node.op, Requantize))
    return hidden and feeds_layers(graph, node)


def coarser(graph: Graph, name: str, cut: Node, shift: int) -> Graph:
    """Put *cut* behind *name*, and let all that depends on it follow the scale that is 2^shift coarser."""
    factor, moved = 1 << shift, {cut.name}
    nodes: list[Node] = []
    for node in graph.nodes:
        if name in node.inputs:
            node = renamed_inputs(node, {name: cut.name})
        kind = kind_of(node.op)
        if kind.coarser is None and not moved.isdisjoint(node.inputs):
            for read in moved.intersection(node.inputs):
                raised = finer_codes(nodes, next(n for n in nodes if n.name == read), factor, set(graph.by_name))
                nodes.append(raised)
                node = renamed_inputs(node, {read: raised.name})
        elif node.inputs and node.inputs[0] in moved:
            fmt, op, follows = node.type.format, node.op, kind.coarser
            assert isinstance(fmt, Fixed)
            assert follows is not None
            node = replace(node, op=follows(op, shift))
            if isinstance(op, Dense):
                bias = [_rounded(int(value), factor) for value in graph.constant(node.inputs[2]).tolist()]
                old = graph[node.inputs[2]].type.format
                assert isinstance(old, Fixed)
                constant = code_constant(
                    fresh_name(graph, node.inputs[2], {n.name for n in nodes} | {cut.name}), bias, old.scale * factor
                )
                nodes.append(constant)
                node = replace(node, inputs=(*node.inputs[:2], constant.name, *node.inputs[3:]))
            if isinstance(op, Dense) or kind_of(op).keeps_scale:
                moved.add(node.name)
                wide = replace(fmt, bits=4000, signed=True, scale=fmt.scale * factor)
                node = replace(node, type=Type(node.type.shape, wide))
        nodes.append(node)
        if node.name == name:
            nodes.append(cut)
    used = {read for node in nodes for read in node.inputs} | {graph.output}
    kept = tuple(node for node in nodes if node.name in used or node.inputs or node is graph.input)
    return fit_formats(replace(graph, nodes=kept))


def _rounded(value: int, factor: int) -> int:
    return math.floor(Fraction(value, factor) + Fraction(1, 2))
