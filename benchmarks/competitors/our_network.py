"""The same network by our own generator, without the argmax that its circuits end with: built and written as always."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from approxhw.backends.bespoke.circuit import Circuit, InputPort, _Builder
from approxhw.backends.bespoke.emit import emit
from approxhw.backends.cells.blocks import prune
from approxhw.ir.graph import Graph
from approxhw.ir.kinds import ArgMax, Dense, Input, Relu
from approxhw.numerics.formats import Fixed

from .constant_network import Generated, Network, Sum, Wire

NAME = "approxhw"


def without_argmax(graph: Graph) -> Graph:
    """Return an integer *graph* that ends with the sums which its argmax compares."""
    final = graph[graph.output]
    if not isinstance(final.op, ArgMax):
        raise ValueError(f"{graph.name} ends with {final.kind}, not with argmax")
    return replace(graph, nodes=tuple(node for node in graph.nodes if node is not final), output=final.inputs[0])


def network_of(graph: Graph) -> Network:
    """Return the integers of a *graph* of dense layers and ReLUs, as the other generators read them."""
    layers = []
    for node in graph.nodes:
        if isinstance(node.op, Dense):
            weights, biases = (graph.constant(name).astype(np.int64) for name in node.inputs[1:])
            layers.append((weights.T, biases))
        elif not isinstance(node.op, Input | Relu) and not graph.is_constant(node.name):
            raise ValueError(f"{graph.name}: {node.kind} is neither dense nor relu")
    fmt = graph.input.type.format
    assert isinstance(fmt, Fixed)
    assert not fmt.signed
    return Network(tuple(layers), fmt.bits)


def generate(graph: Graph) -> Generated:
    """Return the circuit of what :func:`without_argmax` returned; all its sums leave on one port.

    A circuit's one output is a class index, so this takes the builder behind ``build_circuit``, and joins the sums.
    """
    builder = _Builder(graph, "network")
    words = builder.build()[graph.output]
    bits = tuple(bit for word in words for bit in word.bits)
    blocks, read = prune(builder.blocks, bits)
    assert isinstance(graph.input.op, Input)
    inputs = tuple(
        InputPort(feature, index, read[feature])
        for index, feature in enumerate(graph.input.op.features)
        if feature in read
    )
    emitted = emit(Circuit(builder.top, tuple(blocks), inputs, "sums", bits, read))
    wires = tuple(
        Wire(port.name, place, port.feature, position)
        for port in inputs
        for place, position in enumerate(port.positions)
    )
    sums, first = [], 0
    for word in words:
        sums.append(Sum(first, len(word.bits), word.signed, 0))
        first += len(word.bits)
    return Generated(emitted.verilog, emitted.top, wires, "sums", tuple(sums))
