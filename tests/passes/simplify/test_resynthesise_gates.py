"""resynthesise-gates: codes that cannot occur make circuits smaller, all others are proven equal, and the rest is refused."""

import re
from dataclasses import replace

import numpy as np
import pytest

from approxhw.common.errors import OptionError, PassError
from approxhw.flow.stages.mapped import circuit_gates
from approxhw.ir.evaluation import care_set_of
from approxhw.ir.graph import Graph, Node
from approxhw.ir.interpreter import run
from approxhw.ir.kinds import ArgMax, Gates, Input, Type, random_gates
from approxhw.ir.pass_manager import PassContext, parse_passes, run_passes
from approxhw.numerics.formats import FLOAT64, Encoding, Fixed
from approxhw.numerics.logic.care_set import every_word
from approxhw.numerics.logic.gates import XOR, GateList, MappedGates
from approxhw.numerics.logic.resynthesis import Resynthesised

RUN = parse_passes("resynthesise-gates")


def thermometer_graph(gates, steps, readings, classes=3):
    """A classifier that *gates* are, over a thermometer of *steps* bits for each of *readings*."""
    count = steps * readings
    names = tuple(f"x{i // steps}_{i % steps}" for i in range(count))
    borders = tuple((float(i % steps),) for i in range(count))
    reads = tuple(i // steps for i in range(count))
    encoding = Encoding(
        1, "thermometer", (0.0,) * count, (9.0,) * count, borders=borders, closed=((False,),) * count, reads=reads,
        readings=readings,
    )  # fmt: skip
    x = Node("x", Input(names, names, encoding), (), Type((count,), Fixed(1)))
    return Graph("g", (x, Node("c", Gates(gates, 1, classes), ("x",), Type((), Fixed(2)))), "c")


GRAPH = thermometer_graph(random_gates(np.random.default_rng(4), 12, 2, 120), 4, 3)


def test_a_thermometer_makes_gates_fewer_and_nothing_that_occurs_different():
    made, (record,) = run_passes(GRAPH, RUN, PassContext(mapped_gates=circuit_gates))
    assert [node.kind for node in made.nodes] == ["input", "gates"]
    before, after, area, left = map(
        float, re.match(r"(\d+) gates, now (\d+); (\S+) mm², now (\S+) mm²", record.notes[0]).groups()
    )
    assert after < before
    assert left < 0.9 * area
    assert circuit_gates(made).area_mm2 == pytest.approx(left, rel=0.06)
    rows = every_word(care_set_of(GRAPH), np.ones((12, 1), dtype=bool))
    assert len(rows) == 125
    assert np.array_equal(run(made, rows), run(GRAPH, rows))
    everything = np.arange(1 << 12)[:, None] >> np.arange(12) & 1
    assert (run(made, everything) != run(GRAPH, everything)).any()  # what cannot occur was free, and was used
    told = re.match(
        r"equal on all (\d+) patterns of its (\d+) bits that can occur; (\d+) others cannot", record.notes[1]
    )
    words, bits, others = map(int, told.groups())
    assert words + others == 1 << bits
    assert words <= 125
    assert record.checked_rows == 512


def test_the_same_seed_gives_the_same_gates():
    first, _ = run_passes(GRAPH, RUN, PassContext(mapped_gates=circuit_gates))
    again, _ = run_passes(GRAPH, RUN, PassContext(mapped_gates=circuit_gates))
    assert first == again


def test_where_nothing_is_free_the_graph_stays():
    wires = thermometer_graph(GateList(2, [], np.zeros((0, 3)), [2, 3]), 1, 2, 0)
    constant = thermometer_graph(GateList(2, [], np.zeros((0, 3)), [1, 0]), 1, 2)
    for graph, words in (
        (replace(wires, nodes=(wires.nodes[0], replace(wires["c"], op=Gates(wires["c"].op.gates, 1, 4)))), 4),
        (constant, 1),
    ):
        made, (record,) = run_passes(graph, RUN, PassContext(mapped_gates=circuit_gates))
        assert made == graph
        assert record.notes[0] == "nothing went: no smaller netlist is equal on every code that can occur"
        assert record.notes[2].startswith(f"equal on all {words} patterns")


def test_a_wrong_resynthesis_is_caught_by_the_check_on_codes_that_can_occur(monkeypatch):
    from approxhw.passes.simplify import resynthesise_gates

    def broken(graph, mapped, *rest):
        gates = mapped.gates
        outputs = gates.outputs.copy()
        outputs[0] = 1
        made = MappedGates(GateList(gates.inputs, gates.functions, gates.operands, outputs), 0.5, mapped.function_areas)
        return Resynthesised(made, 125, 1, 1)

    monkeypatch.setattr(resynthesise_gates, "resynthesised_gates", broken)
    with pytest.raises(PassError, match=r"it is exact, but \d+ of 512 rows differ"):
        run_passes(GRAPH, RUN, PassContext(mapped_gates=circuit_gates))


def test_what_cannot_be_proven_or_has_no_gates_is_refused():
    chain = [[2, 3, 0], *([66 + g, 4 + g, 0] for g in range(62))]
    wide = thermometer_graph(GateList(64, [XOR] * 63, chain, [128, 0]), 1, 64)

    def as_it_is(graph):
        return MappedGates(graph["c"].op.gates, 9.0, (1.0,) * 8)

    with pytest.raises(
        PassError,
        match=r"its circuit reads 64 bits, of which 18446744073709551616 patterns can occur; with 63 gates 16647104 are the most",
    ):
        run_passes(wide, RUN, PassContext(mapped_gates=as_it_is))
    with pytest.raises(PassError, match="it works on synthesised gates, and nothing here synthesises"):
        run_passes(GRAPH, RUN, PassContext())
    values = Graph("v", (GRAPH.nodes[0], replace(GRAPH["c"], op=Gates(GRAPH["c"].op.gates, 1))), "c")
    with pytest.raises(PassError, match="it ends with gates, and wrong rows are counted by classes"):
        run_passes(values, RUN, PassContext(mapped_gates=circuit_gates))
    names = ("a", "b")
    floats = Graph(
        "f",
        (Node("x", Input(names, names), (), Type((2,), FLOAT64)), Node("c", ArgMax(), ("x",), Type((), Fixed(1)))),
        "c",
    )
    with pytest.raises(PassError, match="only an integer Graph has gates"):
        run_passes(floats, RUN, PassContext(mapped_gates=circuit_gates))
    many = MappedGates(GateList(12, np.zeros(200_001), np.tile([2, 0, 0], (200_001, 1)), [2, 3]), 1e6, (1.0,) * 8)
    with pytest.raises(PassError, match="its circuit has 200001 gates; 200000 are the most"):
        run_passes(GRAPH, RUN, PassContext(mapped_gates=lambda graph: many))
    with pytest.raises(OptionError, match=r"resynthesise-gates.candidates: -1 is less than 0"):
        parse_passes("resynthesise-gates{candidates=-1}")
