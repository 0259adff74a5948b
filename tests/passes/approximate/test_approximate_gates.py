"""approximate-gates: area goes, rows set aside stay within the budget, and what cannot be is told."""

import functools
import itertools
import re

import numpy as np
import pytest

from approxhw.common.data.dataset import Dataset
from approxhw.common.errors import OptionError, PassError
from approxhw.flow.stages.mapped import circuit_gates
from approxhw.ir.evaluation import accuracy, codes_of
from approxhw.ir.graph import Graph, Node
from approxhw.ir.interpreter import run
from approxhw.ir.kinds import ArgMax, Dense, Input, Relu, Type
from approxhw.ir.pass_manager import PassContext, parse_passes, run_passes, spell_pass
from approxhw.ir.rewriting import code_constant, fit_formats
from approxhw.ir.text import parse_graph
from approxhw.ir.verifier import verify
from approxhw.numerics.formats import Encoding, Fixed
from approxhw.numerics.logic.removal import care_rows
from approxhw.numerics.mac.arithmetic import Exact


def classifier(sizes=(3, 2, 3), seed=3):
    """A small integer network of random weights over 3-bit codes."""
    rng = np.random.default_rng(seed)
    n, names = sizes[0], tuple(f"f{i}" for i in range(sizes[0]))
    nodes = [Node("x", Input(names, names, Encoding(3, "round", (0.0,) * n, (7.0,) * n)), (), Type((n,), Fixed(3)))]
    last = "x"
    for i, (n, m) in enumerate(itertools.pairwise(sizes)):
        weights = rng.integers(-7, 8, (m, n))
        reach = 3 if i == 0 else 12
        nodes += [code_constant(f"w{i}", weights), code_constant(f"b{i}", -reach * weights.sum(axis=1))]
        nodes.append(Node(f"s{i}", Dense(Exact(4)), (last, f"w{i}", f"b{i}"), Type((m,), Fixed(40, True))))
        last = f"s{i}"
        if i + 2 < len(sizes):
            nodes.append(Node(f"h{i}", Relu(), (last,), Type((m,), Fixed(40, True))))
            last = f"h{i}"
    head = Node("c", ArgMax(), (last,), Type((), Fixed(2)))
    graph = fit_formats(Graph("g", (*nodes, head), "c", ("one", "two", "three")))
    verify(graph)
    return graph


def dataset(graph, rows=720, noise=0.1, seed=5):
    """Readings around three points, and the classes of *graph*, a tenth of them drawn anew."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(1, 7, (6, graph.input.type.elements))
    x = np.clip(centres[rng.integers(0, 6, rows)] + rng.integers(-2, 3, (rows, centres.shape[1])), 0, 7).astype(float)
    y = run(graph, codes_of(graph, x)).reshape(-1)
    y = np.where(rng.random(rows) < noise, rng.integers(0, 3, rows), y)
    half = 2 * rows // 3
    return Dataset(x[:half], y[:half], x[half:], y[half:])


TENSORS = """axir 1
graph tensors
x : float<11,52>[2,64] = feed {"title":"X","dims":["size0",64]}
output x
results [["X","x"]]
"""
GRAPH = classifier()
DATA = dataset(GRAPH)


def simplified(text, data=DATA, graph=GRAPH):
    return run_passes(graph, parse_passes(text), PassContext(data, mapped_gates=circuit_gates))


simplified_once = functools.cache(simplified)


def figures(record):
    """Gates and areas before and after, rows lost and right before, rows set aside, wrong ones after and before."""
    told = " ".join(record.notes)
    gates = re.search(r"(\d+) gates, now (\d+); ([\d.]+) mm², now ([\d.]+) mm²", told)
    rows = re.search(
        r"(\d+) of (\d+) rows and noisy copies lost .* of (\d+) rows set aside (\d+) are wrong, (\d+) before", told
    )
    return [float(figure) for figure in (*gates.groups(), *rows.groups())]


@pytest.mark.parametrize(("loss", "share"), [(0.0, 0.95), (0.06, 0.7)])
def test_area_goes_and_rows_set_aside_stay_within_the_budget(loss, share):
    result, (record,) = simplified_once(f"approximate-gates{{max-loss={100 * loss:g}%}}")
    before, after, area, left, lost, right, aside, aside_wrong, aside_before = figures(record)
    assert [node.kind for node in result.nodes] == ["input", "gates"]
    assert (result.labels, result.output, result.classes, result.input) == (GRAPH.labels, "c", 3, GRAPH.input)
    assert after < share * before
    assert left < share * area
    assert circuit_gates(result).area_mm2 == pytest.approx(left, rel=0.03)
    assert len(result["c"].op.gates.functions) == after
    rng = np.random.default_rng([1, 13])
    codes = codes_of(GRAPH, DATA.X_train)
    rows = care_rows(codes, DATA.y_train, aside=0.3, copies=4, noise=0.2, high=7, most=10_000, rng=rng)
    assert 100 < len(rows.aside_codes) == aside < 160
    assert np.count_nonzero(run(result, rows.aside_codes) != rows.aside_labels) == aside_wrong
    assert np.count_nonzero(run(GRAPH, rows.aside_codes) != rows.aside_labels) == aside_before
    assert aside_wrong <= aside_before + loss * aside
    was_right = run(GRAPH, rows.codes) == rows.labels
    assert np.count_nonzero(was_right) == right
    assert np.count_nonzero(was_right & (run(result, rows.codes) != rows.labels)) == lost
    assert lost <= loss * len(rows.codes)
    assert record.train_accuracy_after == accuracy(result, DATA.X_train, DATA.y_train)


def test_a_seed_gives_the_same_gates_whatever_the_test_rows_are():
    shuffled = Dataset(DATA.X_train, DATA.y_train, DATA.X_test[::-1].copy(), (DATA.y_test + 1) % 3)
    first, _ = simplified_once("approximate-gates{max-loss=6%}")
    again, _ = simplified("approximate-gates{max-loss=6%}", shuffled)
    other, _ = simplified("approximate-gates{max-loss=6%,seed=2}")
    assert first == again
    assert first != other


def test_equal_rows_are_seen_or_set_aside_together():
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 3, (400, 4))
    rows = care_rows(codes, np.arange(400), aside=0.25, copies=1, noise=0.5, high=2, most=300, rng=rng)
    seen = rows.codes[: len(rows.codes) // 2]
    assert len(seen) + len(rows.aside_codes) == 300
    assert 0 < len(rows.aside_codes) <= 75
    assert not {*map(tuple, seen.tolist())} & {*map(tuple, rows.aside_codes.tolist())}
    assert np.array_equal(codes[rows.labels[: len(seen)]], seen)
    noisy = rows.codes[len(seen) :]
    assert np.abs(noisy - seen).max() == 1
    assert 0.2 < np.mean(noisy != seen) < 0.5  # what left the range came back
    assert (noisy.min(), noisy.max()) == (0, 2)


def test_where_nothing_may_go_the_graph_stays_and_that_is_told():
    def stubborn(graph):  # a synthesiser whose circuits never get smaller
        mapped = circuit_gates(graph)
        return type(mapped)(mapped.gates, 1000.0, mapped.function_areas)

    context = PassContext(DATA, mapped_gates=stubborn)
    result, (record,) = run_passes(GRAPH, parse_passes("approximate-gates{max_loss=0}"), context)
    assert result == GRAPH
    assert record.notes[0] == "nothing went: no smaller netlist loses at most 0.00% of the rows set aside"


def test_gates_are_simplified_again():
    once, _ = simplified_once("approximate-gates{max-loss=6%}")
    twice, (record,) = simplified("approximate-gates{max_loss=5%,seed=2}", graph=once)
    assert figures(record)[3] <= figures(record)[2]
    assert [node.kind for node in twice.nodes] == ["input", "gates"]


def test_options_out_of_reach_are_all_named():
    text = "approximate-gates{max_loss=2,aside=0,copies=-1,noise=1.5,candidates=-1,rows=1,seed=-1}"
    with pytest.raises(OptionError) as caught:
        parse_passes(text)
    assert [problem.where.removeprefix("approximate-gates.") for problem in caught.value.problems] == [
        "max_loss", "aside", "noise", "copies", "candidates", "rows", "seed",
    ]  # fmt: skip
    assert caught.value.problems[0].remedy == "write 0.5% or 0.005"
    (item,) = parse_passes("approximate-gates{max-loss=1%,rows=500}")
    assert spell_pass(item) == "approximate-gates{max_loss=0.01,rows=500}"


def test_what_it_needs_is_told_at_once():
    with pytest.raises(PassError) as caught:
        run_passes(GRAPH, parse_passes("approximate-gates"), PassContext())
    assert [problem.why for problem in caught.value.problems] == [
        "what may go is found on training rows, and there are none",
        "it works on synthesised gates, and nothing here synthesises",
    ]
    few = Dataset(DATA.X_train[:1], DATA.y_train[:1], DATA.X_test, DATA.y_test)
    with pytest.raises(PassError, match="1 training rows, of which 0 can be set aside: too few to judge by"):
        simplified("approximate-gates", few)


def test_graphs_that_are_none_for_it_are_refused():
    regressor = fit_formats(Graph("r", GRAPH.nodes[:-1], "s1"))
    with pytest.raises(PassError, match="it ends with dense, and wrong rows are counted by classes"):
        simplified(
            "approximate-gates", Dataset(DATA.X_train, np.zeros((480, 3)), DATA.X_test, np.zeros((240, 3))), regressor
        )
    with pytest.raises(
        PassError, match=r"approximate-gates works on one row of a classifier; .* is a Graph of whole tensors"
    ):
        run_passes(parse_graph(TENSORS), parse_passes("approximate-gates"), PassContext())
