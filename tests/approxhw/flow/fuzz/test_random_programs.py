"""Random programs: interpreter = Icarus = Verilator = synthesised netlist; and faults put in on purpose are found."""

import json
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from approxhw.backends.bespoke import circuit as bespoke
from approxhw.backends.bespoke import compression
from approxhw.backends.cells.blocks import inverted
from approxhw.backends.estimate import Netlist
from approxhw.common.errors import MismatchError
from approxhw.flow import fuzz as fuzzing
from approxhw.flow.fuzz import fuzz, random_program
from approxhw.ir.interpreter import run
from approxhw.ir.kinds import ArgMax, Clip, Dense, Relu, Requantize, Threshold
from approxhw.ir.text import parse_graph
from approxhw.ir.verifier import verify


@pytest.fixture(scope="module")
def programs():
    """Two hundred of them by seed, which several tests look at."""
    return {seed: random_program(seed) for seed in range(1, 201)}


@pytest.mark.slow
@pytest.mark.parametrize("first", [1, 21])  # two halves, so that two test processes share them; more: make fuzz
def test_random_networks_are_equal_everywhere(first, icarus, verilator, tmp_path):
    result = fuzz(16, seed=first, folder=tmp_path)
    assert (result.networks, result.seed) == (16, first)
    assert result.constant < 5  # of the quarter that is taken as it comes
    assert set(result.checked) == {"icarus", "verilator", "netlist"}
    assert all(count > 16 * 50 for count in result.checked.values())  # each vector counted once
    assert result.checked["verilator"] == result.checked["netlist"] > result.checked["icarus"]


def test_few_networks_are_too_large_for_the_ruler(programs):
    sizes = [len(fuzzing._job(seed, programs[seed], 0).verilog) for seed in range(1, 25)]
    assert 1 <= sum(size > fuzzing.RULED for size in sizes) <= 12


def test_only_large_networks_get_fewer_vectors_on_icarus():
    driven = {}
    for seed, random in ((129, 100), (3, 100), (3, 0)):  # one of the largest, and one like most
        job = fuzzing._job(seed, random_program(seed), random)
        made = fuzzing._affordable(job)
        assert all(np.array_equal(column, job.vectors[name][: made.count]) for name, column in made.vectors.items())
        assert all(np.array_equal(column, job.expected[name][: made.count]) for name, column in made.expected.items())
        driven[seed, random] = (made.count, job.count)
    large, small, corners = driven.values()
    assert large[0] == fuzzing.ICARUS_LEAST < large[1]
    assert small[0] == small[1]
    assert 0 < corners[1] < fuzzing.ICARUS_LEAST


def test_the_two_hundred_hold_everything_that_is_awkward(programs):
    graphs = list(programs.values())
    kinds = {type(node.op) for graph in graphs for node in graph.nodes}
    assert {ArgMax, Clip, Dense, Relu, Requantize, Threshold} <= kinds
    assert {1, 2, 3, 4} <= {sum(isinstance(node.op, Dense) for node in graph.nodes) for graph in graphs}
    assert {1, 2, 3, 9} <= {graph.classes for graph in graphs}
    weights = [graph.constant(node.inputs[1]) for graph in graphs for node in graph.nodes if isinstance(node.op, Dense)]
    assert any(not w.any() for w in weights)
    assert any((~w.any(axis=0)).any() for w in weights)
    assert any((~w.any(axis=1)).any() for w in weights)
    shifts = [node.op for graph in graphs for node in graph.nodes if isinstance(node.op, Requantize)]
    assert any(min(op.multiplier) < 0 for op in shifts)
    assert any(len(op.multiplier) > 1 for op in shifts)


def test_three_in_four_decide_between_classes(programs):
    """A network that says the same of every row hides nearly every fault of its circuit."""
    several = 0
    for seed, graph in programs.items():
        verify(graph)
        assert seed % 5 or graph == random_program(seed)
        top = graph.input.type.format.high + 1
        rows = np.random.default_rng(seed).integers(0, top, (200, graph.input.type.elements))
        several += len(np.unique(run(graph, rows))) > 1
    assert several >= 150


@pytest.mark.parametrize("ruled", [fuzzing.RULED, 0])
def test_a_few_random_networks_without_verilator(ruled, icarus, tmp_path, monkeypatch):
    """Whatever recipe a network of its size gets."""
    monkeypatch.setattr(fuzzing, "RULED", ruled)
    result = fuzz(6, seed=201, folder=tmp_path, simulators=("icarus",), vectors=40)
    assert result.networks == 6
    assert set(result.checked) == {"icarus", "netlist"}
    assert all(count >= 6 * 10 for count in result.checked.values())


def swap_a_sign(monkeypatch):
    """Make a term that is subtracted from three columns up be added."""
    right = compression.Columns.add

    def wrong(self, word, shift, sign):
        right(self, word, shift, 1 if shift >= 3 else sign)

    monkeypatch.setattr(compression.Columns, "add", wrong)


def drop_a_carry(monkeypatch):
    """Make full adders of every second column lose their carry."""
    right = compression._combine

    def wrong(kind, count, column, dots, waiting, lanes, used, prefix):
        right(kind, count, column, dots, waiting, lanes, used, prefix)
        if kind == "full" and column % 2:
            waiting[column + 1].pop()

    monkeypatch.setattr(compression, "_combine", wrong)


def let_the_right_one_win_ties(monkeypatch):
    """Make every match of the argmax tree give ties to the higher index."""
    right = bespoke.add_match

    def wrong(block, group, left, other, look=None):
        before = len(block.cells)
        word, index = right(block, group, left, other, look)
        for number, cell in enumerate(block.cells[before:], before):
            if cell.template == "greater_than":
                (_, a), (_, b) = cell.inputs
                above = type(cell)(cell.template, cell.group, (("a", b), ("b", a)), cell.outputs)
                block.cells[number] = above  # b > a …
            elif cell.template == "choose":  # … and its inverse chooses
                inputs = tuple((port, inverted(bit) if port == "take_b" else bit) for port, bit in cell.inputs)
                block.cells[number] = type(cell)(cell.template, cell.group, inputs, cell.outputs, cell.shared)
        last = index[-1]
        return word, (*index[:-1], inverted(last) if not isinstance(last, int) else last)

    monkeypatch.setattr(bespoke, "add_match", wrong)


@pytest.mark.parametrize("place", ["icarus", "verilator", "netlist"])
@pytest.mark.parametrize(("fault", "seed"), [(swap_a_sign, 10), (drop_a_carry, 4), (let_the_right_one_win_ties, 7)])
def test_a_fault_in_the_backend_is_found_in_every_place(fault, seed, place, monkeypatch, request, tmp_path):
    """Two small networks each, one of which shows it."""
    if place != "netlist":
        request.getfixturevalue(place)
    fault(monkeypatch)
    simulators = () if place == "netlist" else (place,)
    with pytest.raises(MismatchError) as caught:
        fuzz(2, seed=seed, folder=tmp_path, simulators=simulators, netlists=place == "netlist", vectors=60)
    assert caught.value.file.is_file()
    assert "differ" in str(caught.value)
    kept = json.loads(caught.value.file.read_text())
    if place == "netlist":
        graph = parse_graph(kept["graph"])
        verify(graph)
        assert graph == random_program(kept["seed"])
        assert kept["mismatches"]
        assert all(row["expected"] != row["seen"] for row in kept["mismatches"])
    else:
        assert kept


def test_a_fault_in_the_netlist_is_found(monkeypatch, tmp_path):
    from approxhw.backends import estimate

    right = estimate.simulate_netlist

    def wrong(netlist, vectors):
        assert isinstance(netlist, Netlist)
        return {name: np.asarray(column) ^ 1 for name, column in right(netlist, vectors).items()}

    monkeypatch.setattr(estimate, "simulate_netlist", wrong)
    with pytest.raises(MismatchError, match="random_5: synthesised netlist"):
        fuzz(1, seed=5, folder=tmp_path, simulators=())


def test_a_fault_that_a_simulator_finds_waits_for_one_netlist_only(monkeypatch, tmp_path):
    begun, made = threading.Event(), []

    def netlist(job, folder, seed):
        begun.set()
        time.sleep(0.02)
        made.append(seed)
        return 1

    def simulated(jobs, simulator, folder, first):
        assert begun.wait(20), "netlists are made beside the simulations"
        raise MismatchError("random_1 on icarus", 1, 1, folder / "mismatches.json")

    monkeypatch.setattr(fuzzing, "_job", lambda seed, graph, count: SimpleNamespace(inputs=(("x", 1),)))
    monkeypatch.setattr(fuzzing, "_netlist", netlist)
    monkeypatch.setattr(fuzzing, "_simulated", simulated)
    with pytest.raises(MismatchError, match="random_1 on icarus"):
        fuzz(40, seed=1, folder=tmp_path, vectors=5)
    assert 1 <= len(made) < 30


def test_progress_is_told_to_the_end(tmp_path):
    seen = []
    fuzz(2, seed=3, folder=tmp_path, simulators=(), vectors=10, on_progress=lambda *step: seen.append(step))
    assert seen == [("netlist", 0, 2), ("netlist", 1, 2), ("done", 2, 2)]
