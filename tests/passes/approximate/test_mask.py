"""mask: summand bits go while training accuracy stays within the loss, and nothing else changes."""

import re

import numpy as np
import pytest

from approxhw.common.data.dataset import Dataset
from approxhw.common.errors import OptionError, PassError
from approxhw.ir.evaluation import accuracy, codes_of
from approxhw.ir.graph import Graph, Node
from approxhw.ir.interpreter import run
from approxhw.ir.kinds import ArgMax, Dense, Input, Requantize, Threshold, Type
from approxhw.ir.pass_manager import PassContext, parse_passes, run_passes
from approxhw.ir.rewriting import code_constant, fit_formats
from approxhw.ir.verifier import verify
from approxhw.networks.area_model import default_model
from approxhw.networks.space import encode_genome, space_of
from approxhw.numerics.formats import Encoding, Fixed
from approxhw.numerics.mac.arithmetic import MaskedPowerOfTwo


def network(seed=1, sizes=(5, 3, 3), threshold=False):
    """A masked Graph with all masks full: random powers of two and biases."""
    rng = np.random.default_rng(seed)
    n, names = sizes[0], tuple(f"f{i}" for i in range(sizes[0]))
    nodes = [Node("x", Input(names, names, Encoding(4, "round", (0.0,) * n, (15.0,) * n)), (), Type((n,), Fixed(4)))]
    last, bits = "x", 4
    for i, (n, m) in enumerate([sizes[j : j + 2] for j in range(len(sizes) - 1)]):
        weights = rng.choice([-1, 1], (m, n)) << rng.integers(0, 5, (m, n))
        bias = (250 if i + 2 < len(sizes) else 0) - np.round(weights.sum(axis=1) * (7.5 if i == 0 else 15)).astype(int)
        nodes += [code_constant(f"w{i}", weights), code_constant(f"b{i}", bias)]
        nodes.append(code_constant(f"m{i}", np.full((m, n), (1 << bits) - 1)))
        inputs = (last, f"w{i}", f"b{i}", f"m{i}")
        nodes.append(Node(f"s{i}", Dense(MaskedPowerOfTwo(7)), inputs, Type((m,), Fixed(40, True))))
        last, bits = f"s{i}", 5
        if i + 2 < len(sizes):
            nodes.append(Node(f"h{i}", Requantize((1,), 4, (0,), 0, 31), (last,), Type((m,), Fixed(5))))
            last = f"h{i}"
    head = Node("c", Threshold(4) if threshold else ArgMax(), (last,), Type((), Fixed(1 if threshold else 2)))
    graph = fit_formats(Graph("g", (*nodes, head), "c"))
    verify(graph)
    return graph


def dataset(graph, rows=400, noise=0.1):
    """Readings that are their own codes, and the classes of *graph*, a tenth of them drawn anew."""
    rng = np.random.default_rng(3)
    x = rng.integers(0, 16, (rows, graph.input.type.elements)).astype(float)
    y = run(graph, codes_of(graph, x)).reshape(-1)
    assert len(np.unique(y)) == graph.classes
    y = np.where(rng.random(rows) < noise, rng.integers(0, graph.classes, rows), y)
    return Dataset(x[: rows // 2], y[: rows // 2], x[rows // 2 :], y[rows // 2 :])


def bits_of(graph):
    return sum(int(np.bitwise_count(graph.constant(name)).sum()) for name in ("m0", "m1"))


@pytest.mark.parametrize("threshold", [False, True])
@pytest.mark.parametrize("loss", [0.0, 0.05, 0.2])
def test_bits_go_while_training_accuracy_stays_within_the_loss(loss, threshold):
    graph = network(sizes=(5, 3, 1) if threshold else (5, 3, 3), threshold=threshold)
    data = dataset(graph)
    result, (record,) = run_passes(graph, parse_passes(f"mask{{max_loss={loss}}}"), PassContext(data))
    before, after = (accuracy(g, data.X_train, data.y_train) for g in (graph, result))
    assert after >= before - loss - 1e-9
    assert bits_of(result) < bits_of(graph)
    assert [node.name for node in result.nodes] == [node.name for node in graph.nodes]
    for name in ("w0", "w1"):
        kept = result.constant(name) != 0
        assert np.array_equal(result.constant(name)[kept], graph.constant(name)[kept])
        assert np.array_equal(kept, result.constant(name.replace("w", "m")) != 0)
    space = space_of(graph)
    areas = default_model().area_mm2(
        space.layout, space.head, np.stack([encode_genome(space, g) for g in (graph, result)])
    )
    assert areas[1] < areas[0]
    wrong = [round(200 * (1 - share)) for share in (before, after)]
    used = np.count_nonzero(result.constant("m0").any(axis=0))
    first, second, third = record.notes
    assert (
        first
        == f"{bits_of(graph) - bits_of(result)} of {bits_of(graph)} summand bits dropped, {used} of 5 inputs are read"
    )
    said = re.fullmatch(r"estimated area (\S+) mm², now (\S+) mm² \(egfet\)", second)
    assert [float(number) for number in said.groups()] == pytest.approx(areas.tolist(), abs=0.051)
    assert third == f"{wrong[1]} of 200 training rows wrong, {wrong[0]} before"


def test_more_loss_buys_more_bits_and_the_seed_decides_alone():
    graph = network()
    data = dataset(graph)
    bits = []
    for loss in (0.0, 0.05, 0.2, 1.0):
        results = [run_passes(graph, parse_passes(f"mask{{max_loss={loss}}}"), PassContext(data))[0] for _ in range(2)]
        assert results[0] == results[1]
        bits.append(bits_of(results[0]))
    assert bits[0] > bits[1] > bits[2] > bits[3] == 0


def test_what_a_mask_drops_goes_into_the_bias():
    """Where a whole summand goes, the mean of what it added stays: the classes would tip over without it."""
    graph = network()
    data = dataset(graph, noise=0)
    result, _ = run_passes(graph, parse_passes("mask{max_loss=0.1}"), PassContext(data))
    moved = [name for name in ("b0", "b1") if not np.array_equal(graph.constant(name), result.constant(name))]
    assert moved
    plain = Graph(
        "g",
        tuple(graph[node.name] if node.name in ("b0", "b1") else node for node in result.nodes),
        "c",
    )
    with_bias, without = (accuracy(fit_formats(g), data.X_train, data.y_train) for g in (result, plain))
    assert with_bias > without


def test_areas_are_those_of_the_library_that_is_asked_for():
    graph = network()
    data = dataset(graph)

    def made(library, cell_area=None):
        context = PassContext(data, library=library, cell_area=cell_area)
        result, records = run_passes(graph, parse_passes("mask{max_loss=0.05}"), context)
        return result, float(re.search(r"estimated area ([\d.]+) mm²", "".join(records[0].notes))[1]), records[0].notes

    printed, silicon = made("egfet"), made("sky130")
    assert silicon[1] < printed[1] / 100
    assert "mm² (sky130)" in "".join(silicon[2])
    synthesised = []

    def cell_area(text, top):
        synthesised.append(top)
        return float(len(synthesised))

    mine = made("mine.lib", cell_area)
    assert "mm² (mine.lib)" in "".join(mine[2])
    assert set(synthesised) == {"cell_alone"}
    with pytest.raises(OptionError, match=r"'mine\.lib' has no table of cells"):
        made("mine.lib")


def test_what_it_refuses():
    graph = network()
    with pytest.raises(OptionError) as caught:
        parse_passes("mask{max_loss=1.5}")
    assert str(caught.value) == "passes: 1 problem\n  mask.max_loss: 1.5 is not in 0…1"
    with pytest.raises(PassError) as caught:
        run_passes(graph, parse_passes("mask"), PassContext())
    assert str(caught.value) == (
        "pass mask: 1 problem\n  g: which bits are needed is found on training rows, and there are none\n"
        "    do: give data: --data FILE"
    )
    swapped = Graph("g", tuple(n for n in graph.nodes if n.name not in ("h0",)), "c")
    wired = tuple(Node(n.name, n.op, ("s0", *n.inputs[1:]), n.type) if n.name == "s1" else n for n in swapped.nodes)
    with pytest.raises(PassError, match="s1: it reads s0 without a QReLU between them"):
        parse_passes("mask")[0](Graph("g", wired, "c"), PassContext(dataset(graph)))
