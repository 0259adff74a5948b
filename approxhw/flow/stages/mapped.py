"""A Graph's circuit as gates: built, synthesised to the cells of a library, and read back as a list."""

from __future__ import annotations

from pathlib import Path

from approxhw.ir.graph import Graph
from approxhw.numerics.formats import Fixed
from approxhw.numerics.logic.gates import CONSTANTS, MappedGates


def circuit_gates(graph: Graph, library: str | Path = "egfet", *, timeout: float = 600.0) -> MappedGates:
    """Return the gates of the bespoke circuit of an integer *graph*, synthesised to the cells of *library*.

    Their input bits are those of the Input, element by element; their outputs the bits of the output, as wide as its format.
    """
    from approxhw.backends.bespoke.circuit import build_circuit
    from approxhw.backends.bespoke.emit import emit
    from approxhw.backends.estimate import load_library, synthesise
    from approxhw.backends.estimate.netlist.gates import function_areas, gate_list

    fmt, made = graph.input.type.format, graph[graph.output].type.format
    assert isinstance(fmt, Fixed)
    assert isinstance(made, Fixed)
    cells, circuit = load_library(library), build_circuit(graph)
    emitted = emit(circuit)
    netlist = synthesise(emitted.verilog, emitted.top, cells, timeout=timeout)
    signals = {port.name: [CONSTANTS + port.feature * fmt.bits + p for p in port.positions] for port in circuit.inputs}
    nets = {port.name: port.nets for port in netlist.outputs}
    outputs = [net for name, _ in circuit.outputs for net in (*nets[name], *(0,) * made.bits)[: made.bits]]
    gates = gate_list(netlist, graph.input.type.elements * fmt.bits, signals, outputs)
    return MappedGates(gates, netlist.area(), function_areas(cells))
