"""Read a Graph that is one chain of layers as real weights and biases over input codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from approxhw.common.errors import Problem
from approxhw.ir.chain import Walk, compares_values, is_activation, walk
from approxhw.ir.graph import Graph, Node, kind_of
from approxhw.ir.kinds import (
    Clip,
    Constant,
    Dense,
    HardSwish,
    LeakyRelu,
    Lookup,
    PRelu,
    Requantize,
    Reshape,
    ThresholdedRelu,
)
from approxhw.numerics.formats import Fixed
from approxhw.numerics.mac.arithmetic import Exact

from .initial_weights import RealLayer, products
from .space import MOST_INPUT_BITS

_MOST = 1e100
"""Real weights and biases stay below: products of a few of them are still numbers."""


@dataclass(frozen=True)
class Chain:
    """Layers as real numbers over codes, and the Nodes that they come from."""

    layers: tuple[RealLayer, ...]
    dense: tuple[Node, ...]
    activations: tuple[str, ...]
    """Name of the value that leaves each hidden layer."""
    head: Node
    notes: tuple[str, ...]


@dataclass
class _Shape:
    """What stands behind the sums S of a layer: gain · S + add, or where *floor* is given, floor + gain · max(0, S + add)."""

    gain: np.ndarray
    add: np.ndarray
    floor: np.ndarray | None = None


def read_chain(graph: Graph) -> tuple[Chain | None, list[Problem]]:
    """Return *graph* as a chain Input → Dense → Relu → … → Dense → ArgMax or Threshold, or everything that keeps it from it.

    ``Clip`` and ``Requantize`` may stand for ``Relu``: bounds, gains and zero points go into weights and biases; an upper
    bound is left to the saturation of QReLU. What rectifies the last sums is dropped: it only makes ties.
    """
    found: list[Problem] = []
    head = graph[graph.output]
    if not compares_values(head):
        return None, [Problem(head.name, f"the output is {head.kind}: training needs argmax or threshold")]
    passed = walk(graph)
    found += _faults_on_the_way(graph, passed)
    stretches = [(stretch.dense, stretch.following) for stretch in passed.stretches]
    fmt = graph.input.type.format
    if passed.start is not graph.input:
        found.append(Problem(passed.start.name, "the layers do not start at the input"))
    if not isinstance(fmt, Fixed):
        found.append(Problem(graph.input.name, "the Input has no codes yet", "run quantize-inputs before"))
    elif fmt.signed or fmt.bits > MOST_INPUT_BITS:
        why = f"inputs are {fmt}: only unsigned codes of at most {MOST_INPUT_BITS} bits are masked"
        found.append(Problem(graph.input.name, why))
    if not stretches and not found:
        found.append(Problem(graph.name, "there is no dense layer to train"))
    layers: list[RealLayer] = []
    notes: list[str] = []
    gain: np.ndarray = np.ones(())
    floor: np.ndarray = np.zeros(())
    if isinstance(fmt, Fixed) and stretches and stretches[0][0].is_float:
        gain, floor = np.array(float(fmt.scale)), np.array(-float(fmt.scale * fmt.zero))
    torn = bool(found)
    for number, (dense, activations) in enumerate(stretches):
        last = number == len(stretches) - 1
        if torn:  # only problems are looked for: what stands between two layers may have another size
            gain, floor = np.ones(()), np.zeros(())
        weights, bias = (graph.constant(name).astype(np.float64) for name in dense.inputs[1:3])
        bias = bias + products(weights, np.broadcast_to(floor, weights.shape[1:]))
        shape = _shape(activations, len(bias), found, notes)
        if last:
            if shape.floor is not None:
                notes.append(f"{activations[-1].name}: no longer rectifies what the {head.kind} reads")
                shape = _Shape(shape.gain, shape.gain * shape.add + shape.floor)
            layers.append(RealLayer(weights * gain * shape.gain[:, None], bias * shape.gain + shape.add))
            break
        if shape.floor is None:
            why = "no relu stands between this layer and the next: QReLU would change what they compute"
            found.append(Problem(dense.name, why, "put a relu between them, or merge them"))
            shape.floor = np.zeros(len(bias))
        layers.append(RealLayer(weights * gain, bias + shape.add))
        gain, floor = shape.gain, shape.floor
    for layer, (dense, _) in zip(layers, stretches):
        largest = max(np.abs(layer.weights).max(initial=0.0), np.abs(layer.bias).max(initial=0.0))
        if not largest < _MOST:
            found.append(
                Problem(dense.name, f"weights or biases over input codes reach {largest:g}", "scale the model")
            )
    if found:
        return None, found
    names = tuple(activations[-1].name for _, activations in stretches[:-1])
    return Chain(tuple(layers), tuple(dense for dense, _ in stretches), names, head, tuple(notes)), []


def _faults_on_the_way(graph: Graph, passed: Walk) -> list[Problem]:
    """Return what keeps the Nodes between head and Input from being a chain of real layers."""
    found: list[Problem] = []
    for node in passed.path:
        if len(graph.readers(node.name)) != 1:
            found.append(Problem(node.name, f"{len(graph.readers(node.name))} Nodes read it: no chain of layers"))
        if isinstance(node.op, Dense):
            if not node.is_float and not isinstance(node.op.arithmetic, Exact):
                why = f"its arithmetic is {node.op.arithmetic}; training starts from real or exact weights"
                found.append(Problem(node.name, why))
        elif not is_activation(node) and not isinstance(node.op, Reshape):
            remedy = "run fold-affine before" if node.kind == "affine" else ""
            found.append(Problem(node.name, f"{node.kind} has no place between layers", remedy))
    if isinstance(passed.start.op, Constant):
        found.append(Problem(passed.start.name, "a constant in place of a value"))
    for node in [node for node in passed.before if is_activation(node)][:1]:
        found.append(Problem(node.name, f"{node.kind} stands in front of the first layer"))
    return found


def _shape(activations: Sequence[Node], count: int, found: list[Problem], notes: list[str]) -> _Shape:
    shape = _Shape(np.ones(count), np.zeros(count))
    for node in activations:
        op = node.op
        if isinstance(op, Requantize):
            multiplier, offset = (np.broadcast_to(np.array(v, np.float64), count) for v in (op.multiplier, op.offset))
            if multiplier.min() <= 0:
                found.append(Problem(node.name, "a multiplier that is not above 0 turns the relu around"))
                multiplier = np.ones(count)
            scale = 0.5**op.shift
            # truncation costs half a unit on average; nothing where nothing is cut off
            lost = 0.5 if op.shift and op.rounding == "floor" else 0.0
            if shape.floor is None:
                shape.add = (shape.add * multiplier + offset) * scale - lost
            else:
                shape.floor = (shape.floor * multiplier + offset) * scale - lost
            shape.gain = shape.gain * multiplier * scale
        low, high = (op.low, op.high) if isinstance(op, Clip | Requantize) else (0, None)
        if isinstance(op, ThresholdedRelu | HardSwish | Lookup):
            said = kind_of(op).said
            why = f"it is a {said(op) if said else node.kind}, and training makes QReLU of every activation"
            found.append(Problem(node.name, why, "train with ReLU, or compile with the pipeline printed-exact"))
        if isinstance(op, PRelu):
            notes.append(f"{node.name}: QReLU makes 0 of what negative values it lets through")
        if isinstance(op, LeakyRelu):
            notes.append(f"{node.name}: QReLU makes 0 of what a leak of {op.alpha} lets through")
        if high is not None:
            notes.append(f"{node.name}: the bound {high} is left to the saturation of QReLU")
        if low is None:
            continue
        if shape.floor is None:
            shape.add, shape.floor = (shape.add - float(low)) / shape.gain, np.full(count, float(low))
        else:
            cut = np.maximum(float(low) - shape.floor, 0)
            shape.add, shape.floor = shape.add - cut / shape.gain, shape.floor + cut
    return shape
