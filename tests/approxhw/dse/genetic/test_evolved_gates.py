"""evolve-gates: gates evolve within the bound on rows set aside, by seed, and what ends it early leaves the best so far."""

import functools
import re
from dataclasses import replace

import numpy as np
import pytest

from approxhw.common.data.dataset import Dataset
from approxhw.common.errors import OptionError, PassError
from approxhw.dse.as_pass import gates as searching_gates
from approxhw.dse.as_pass.gates import EvolveOptions, evolved_gates
from approxhw.flow.stages.mapped import circuit_gates
from approxhw.flow.stages.searching import searching
from approxhw.ir.graph import Graph, Node
from approxhw.ir.interpreter import run
from approxhw.ir.kinds import ArgMax, Dense, Gates, Input, Type
from approxhw.ir.pass_manager import PassContext, parse_passes, run_passes
from approxhw.ir.rewriting import code_constant, fit_formats
from approxhw.networks.gate_level import GateOptions, gate_generator, rows_of_gates, smallest_gates
from approxhw.numerics.formats import Encoding, Fixed
from approxhw.numerics.logic.gates import GateList
from approxhw.numerics.mac.arithmetic import Exact

NAMES = ("a", "b", "c", "d")
X = Node("x", Input(NAMES, NAMES, Encoding(2, "round", (0.0,) * 4, (3.0,) * 4)), (), Type((4,), Fixed(2)))
OPTIONS = EvolveOptions(0.05, generations=90, population=64)


def gates_graph(gates, classes=4):
    return Graph("g", (X, Node("c", Gates(gates, 2, classes), ("x",), Type((), Fixed(2)))), "c")


def network():
    """Three sums of four codes of two bits, and the greatest of them."""
    weights = np.array([[3, -2, 1, 0], [-1, 3, -2, 1], [0, 1, 2, -3]])
    parts = [code_constant("w", weights), code_constant("b", np.array([-2, 0, 1]))]
    sums = Node("s", Dense(Exact(3)), ("x", "w", "b"), Type((3,), Fixed(40, True)))
    return fit_formats(Graph("g", (X, *parts, sums, Node("c", ArgMax(), ("s",), Type((), Fixed(2)))), "c"))


GRAPH = network()
CODES = np.random.default_rng(5).integers(0, 4, (600, 4))
LABELS = np.where(np.random.default_rng(6).random(600) < 0.1, 0, run(GRAPH, CODES))


@functools.cache
def evolved_once(**options):
    return evolved_gates(GRAPH, CODES, LABELS, circuit_gates, replace(OPTIONS, **options))


def test_area_goes_within_the_bound_on_rows_that_no_genome_saw():
    made, told = evolved_once()
    assert told.mapped.area_mm2 < 0.9 * told.before.area_mm2
    assert circuit_gates(made).area_mm2 == pytest.approx(told.mapped.area_mm2, rel=0.03)
    assert made["c"].op.gates == told.mapped.gates
    rows = rows_of_gates("", GRAPH, CODES, LABELS, OPTIONS, gate_generator(1))
    wrong = [np.count_nonzero(run(graph, rows.aside_codes) != rows.aside_labels) for graph in (GRAPH, made)]
    assert told.aside_wrong == tuple(wrong)
    assert told.aside == len(rows.aside_codes) > 100
    assert wrong[1] <= wrong[0] + 0.05 * told.aside
    right = run(GRAPH, rows.codes) == rows.labels
    assert told.right == np.count_nonzero(right)
    assert told.lost == np.count_nonzero(right & (run(made, rows.codes) != rows.labels))
    assert told.lost <= 0.05 * len(rows.codes)
    assert told.evaluations == 3 * 31 * 64


def test_a_seed_gives_the_same_gates_whatever_the_number_of_jobs():
    first, _ = evolved_once()
    again, _ = evolved_gates(GRAPH, CODES, LABELS, circuit_gates, OPTIONS, jobs=2)
    other, _ = evolved_gates(GRAPH, CODES, LABELS, circuit_gates, OPTIONS, 2)
    assert first == again
    assert first != other


def test_ctrl_c_and_stop_leave_the_best_so_far():
    def interrupted(step, done, total):
        assert (step, total) == ("evolve gates", 90)
        if done == 20:
            raise KeyboardInterrupt

    made, told = evolved_gates(GRAPH, CODES, LABELS, circuit_gates, OPTIONS, on_progress=interrupted)
    assert told.interrupted
    assert told.evaluations == 21 * 64
    assert told.mapped.area_mm2 < told.before.area_mm2
    assert made["c"].op.gates == told.mapped.gates
    stopped, also = evolved_gates(GRAPH, CODES, LABELS, circuit_gates, OPTIONS, stop=lambda: True)
    assert also.interrupted
    assert also.evaluations == 64
    assert stopped.classes == 3


def test_the_pass_is_that_search_and_tells_it():
    data = Dataset(CODES.astype(float), LABELS, CODES[:9].astype(float), LABELS[:9])
    heard = []
    context = PassContext(
        data,
        mapped_gates=circuit_gates,
        search=searching("egfet"),
        on_progress=lambda step, done, total: heard.append((step, done / total)),
    )
    made, (record,) = run_passes(GRAPH, parse_passes("evolve-gates{max_loss=5%,generations=90,population=64}"), context)
    assert heard[0] == ("evolve gates", 0)
    assert heard[-1] == ("evolve gates", 1)
    assert len(heard) == 93
    direct, told = evolved_once()
    assert made == direct
    assert record.notes[0].startswith(
        f"{len(told.before.gates.functions)} gates, now {len(told.mapped.gates.functions)};"
    )
    figures = r"(\d+) of (\d+) rows and noisy copies lost that were right; of (\d+) rows set aside (\d+) are wrong, (\d+) before"
    found = [int(figure) for figure in re.match(figures, record.notes[1]).groups()]
    assert found == [told.lost, told.right, told.aside, told.aside_wrong[1], told.aside_wrong[0]]
    assert record.notes[2] == f"{told.evaluations} netlists evaluated"


def test_where_nothing_can_go_the_graph_stays():
    wires = gates_graph(GateList(8, [], np.zeros((0, 3)), [2, 3]))
    made, told = evolved_gates(wires, CODES, run(wires, CODES), circuit_gates, OPTIONS)
    assert made is wires
    assert (told.evaluations, told.mapped is told.before) == (0, True)
    constant = gates_graph(GateList(8, [], np.zeros((0, 3)), [1, 0]))
    assert evolved_gates(constant, CODES, LABELS, circuit_gates, OPTIONS)[0] is constant
    assert smallest_gates(constant, CODES, LABELS, circuit_gates) is constant


def test_a_loss_that_nothing_meets_leaves_the_graph_and_says_so(monkeypatch):
    monkeypatch.setattr(searching_gates, "_smallest", lambda problem, last, best, *rest: (best.gates, best))
    data = Dataset(CODES.astype(float), LABELS, CODES[:9].astype(float), LABELS[:9])
    context = PassContext(data, mapped_gates=circuit_gates, search=searching("egfet"))
    made, (record,) = run_passes(GRAPH, parse_passes("evolve-gates{max_loss=0,generations=3,population=8}"), context)
    assert made == GRAPH
    assert record.notes[0] == "nothing evolved: no smaller netlist loses at most 0.00% of the rows set aside"


def test_smallest_gates_need_no_context_and_keep_their_bound():
    options = GateOptions(max_loss=0.03)
    made = smallest_gates(GRAPH, CODES, LABELS, circuit_gates, options, 4)
    assert made == smallest_gates(GRAPH, CODES, LABELS, circuit_gates, options, 4)
    assert circuit_gates(made).area_mm2 < 0.8 * circuit_gates(GRAPH).area_mm2
    rows = rows_of_gates("", GRAPH, CODES, LABELS, options, gate_generator(4))
    wrong = [np.count_nonzero(run(graph, rows.aside_codes) != rows.aside_labels) for graph in (GRAPH, made)]
    assert wrong[1] <= wrong[0] + 0.03 * len(rows.aside_codes)


def test_what_cannot_be_is_refused_at_once():
    with pytest.raises(OptionError) as caught:
        parse_passes(
            "evolve-gates{max_loss=2,aside=1,noise=-1,copies=-1,rows=1,seed=-1,generations=0,population=3,islands=0}"
        )
    assert [problem.where.removeprefix("evolve-gates.") for problem in caught.value.problems] == [
        "max_loss", "aside", "noise", "copies", "rows", "seed", "generations", "population", "islands",
    ]  # fmt: skip
    with pytest.raises(PassError, match="what may go is found on training rows, and there are none"):
        run_passes(GRAPH, parse_passes("evolve-gates"), PassContext())
    data = Dataset(CODES.astype(float), LABELS, CODES[:9].astype(float), LABELS[:9])
    with pytest.raises(PassError, match="whoever runs the passes hands in no search"):
        run_passes(GRAPH, parse_passes("evolve-gates"), PassContext(data, mapped_gates=circuit_gates))
    with pytest.raises(PassError, match="1 training rows, of which 0 can be set aside: too few to judge by"):
        evolved_gates(GRAPH, CODES[:1], LABELS[:1], circuit_gates, OPTIONS)
    with pytest.raises(PassError, match="1 training rows, of which 0 can be set aside: too few to judge by"):
        smallest_gates(GRAPH, CODES[:1], LABELS[:1], circuit_gates)
    with pytest.raises(PassError, match=r"smallest-gates.max_loss: 7 is not in 0…1"):
        smallest_gates(GRAPH, CODES, LABELS, circuit_gates, GateOptions(max_loss=7))
