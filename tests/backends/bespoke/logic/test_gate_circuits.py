"""``Gates`` as a circuit: one assignment a gate, equal to the interpreter on both simulators, and read back from synthesis."""

import re

import numpy as np
import pytest

from approxhw.backends.bespoke.circuit import build_circuit
from approxhw.backends.bespoke.emit import emit
from approxhw.backends.bespoke.readback import check_emitted
from approxhw.backends.estimate import load_library, synthesise
from approxhw.backends.estimate.netlist.gates import gate_list
from approxhw.common.errors import LibraryError
from approxhw.flow.stages.mapped import circuit_gates
from approxhw.ir.graph import Graph, Node
from approxhw.ir.interpreter import run
from approxhw.ir.kinds import Gates, Input, Relu, Type, random_gates
from approxhw.ir.random_graphs import random_graph
from approxhw.ir.rewriting import fit_formats
from approxhw.ir.verifier import verify
from approxhw.numerics.formats import Encoding, Fixed
from approxhw.numerics.logic.gates import FUNCTIONS, NOT, SELECT, XOR, GateList, run_gates
from approxhw.sim import bundle, bundle_ports, simulate


def graph_of(op, fmt, shape=(), elements=3, bits=2, name="tiny"):
    names = tuple(f"f{i}" for i in range(elements))
    encoding = Encoding(bits, "round", (0.0,) * elements, (1.0,) * elements)
    x = Node("x", Input(names, names, encoding), (), Type((elements,), Fixed(bits)))
    graph = Graph(name, (x, Node("c", op, ("x",), Type(shape, fmt))), "c")
    verify(graph)
    return graph


def cases(making):
    """Yield Graphs with gates: heads that are held back or not, values with signs, wires and constants, layers around them."""
    rng = np.random.default_rng(3)
    for classes in (2, 3, 5, 6, 8):
        width = (classes - 1).bit_length()
        yield graph_of(
            Gates(random_gates(rng, 10, width, 30), 2, classes), Fixed(width), elements=5, name=f"c{classes}"
        )
    yield graph_of(Gates(random_gates(rng, 6, 12, 25), 2), Fixed(4, True), (3,), name="values")
    yield graph_of(Gates(GateList(6, [], np.zeros((0, 3)), [2, 1, 5, 5]), 2), Fixed(4), name="wires")
    yield graph_of(Gates(GateList(6, [SELECT], [[2, 5, 4]], [8]), 2, 2), Fixed(1), name="chosen")
    built = making(3, 2).dense([[3, -2, 1], [-1, -1, 2]], [-2, 1]).graph()
    gates = Node("values", Gates(random_gates(rng, 8, 6, 20), 4), (built.output,), Type((2,), Fixed(3, True)))
    relu = Node("relu", Relu(), ("values",), Type((2,), Fixed(3, True)))
    yield fit_formats(Graph("amid", (*built.nodes, gates, relu), "relu"))


def test_circuits_equal_the_interpreter(making, jobs, simulator, tmp_path):
    graphs = list(cases(making))
    made = [jobs(graph) for graph in graphs]
    together = bundle(made)
    result = simulate(together, simulator, tmp_path / simulator)
    assert sorted({graphs[bundle_ports(together)[port][0]].name for port in result.failing}) == []
    assert result.vectors == max(job.count for job in made) >= 256
    assert len(made) == 9


def test_registered_ones_too(making, jobs, icarus, tmp_path):
    made = [jobs(graph, registers=True, limit=8, random=60) for graph in list(cases(making))[::3]]
    result = simulate(bundle(made), "icarus", tmp_path)
    assert result.vectors >= 60
    assert result.mismatches == 0


def test_each_gate_is_one_assignment_in_order():
    gates = GateList(6, [*range(7), SELECT], [[2, 0, 0], *[[3 + i, 8 + i, 0] for i in range(6)], [5, 14, 13]], [15, 14])
    graph = graph_of(Gates(gates, 2, 4), Fixed(2))
    emitted = emit(build_circuit(graph), header=("model: tiny",))
    check_emitted(emitted)
    body = emitted.verilog[emitted.verilog.index("module gates(") :]
    assert re.findall(r"^  assign (.*);$", body, re.M) == [
        "not0 = ~f0[0]",
        "and1 = f0[1] & not0",
        "or2 = f1[0] | and1",
        "xor3 = f1[1] ^ or2",
        "nand4 = ~(f2[0] & xor3)",
        "nor5 = ~(f2[1] | nand4)",
        "xnor6 = ~(not0 ^ nor5)",
        "select7 = f1[1] ? nor5 : xnor6",
        "c = { xnor6, select7 }",
    ]


def test_synthesis_gives_the_gates_back():
    """Through Verilog, Yosys and ABC, and read back as a list: equal on every row, of a random network too."""
    seen = 0
    for seed in range(6):
        graph = random_graph(seed, max_inputs=4, max_layers=2, input_bits=3)
        mapped = circuit_gates(graph)
        fmt, n = graph.input.type.format, graph.input.type.elements
        rows = np.stack(np.meshgrid(*[np.arange(1 << fmt.bits)] * n), axis=-1).reshape(-1, n)[:4096]
        width = graph[graph.output].type.format.bits
        found = run_gates(mapped.gates, rows, fmt.bits, width).ravel()
        assert np.array_equal(found, run(graph, rows)), seed
        assert len(mapped.function_areas) == len(FUNCTIONS)
        assert mapped.function_areas[NOT] < mapped.function_areas[XOR]
        cells = sum(mapped.function_areas[f] for f in mapped.gates.functions)
        assert cells == pytest.approx(mapped.area_mm2), "every printed cell is a gate of its own"
        seen += len(rows)
    assert seen > 1000


def test_a_circuit_with_registers_is_no_list_of_gates():
    text = "module m(input clk, input a, output reg q); always @(posedge clk) q <= q ^ a; endmodule"
    netlist = synthesise(text, "m", load_library("egfet"))
    with pytest.raises(
        LibraryError, match=r"registers: a list of gates has no state\n +do: give a circuit without registers"
    ):
        gate_list(netlist, 2, {"clk": [2], "a": [3]}, [0])
