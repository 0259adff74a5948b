"""The search as a pass: a network of powers of two goes in, the chosen masked one comes out, without a look at test rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import approxhw as ax
from approxhw.common.errors import OptionError, PassError
from approxhw.ir.evaluation import accuracy
from approxhw.ir.kinds import Dense
from approxhw.ir.pass_manager import PassContext, parse_passes, run_passes
from approxhw.ir.text import print_graph
from approxhw.numerics.mac.arithmetic import MaskedPowerOfTwo

IRIS = Path(__file__).resolve().parents[3] / "examples" / "iris.onnx"
QUICK = "genetic-retraining{target_accuracy=0.8,population=16,generations=4,starts=1,moves=200}"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("retraining")
    passes = parse_passes(f"printed-po2,{QUICK}")
    given = {"data": "sklearn:iris", "output": folder / "out", "passes": passes}
    return ax.compile(IRIS, steps=True, **given), folder


def test_compile_goes_on_with_the_network_that_the_search_chose(compiled):
    design, _ = compiled
    row = design.design.ledger[-1]
    assert row["name"] == "genetic-retraining"
    assert row["spelled"] == QUICK
    assert any(note.startswith("chosen: ") for note in row["notes"])
    assert any("evaluations" in note for note in row["notes"])
    graph = design.design.graph
    layers = [node for node in graph.nodes if isinstance(node.op, Dense)]
    assert layers
    assert all(isinstance(node.op.arithmetic, MaskedPowerOfTwo) for node in layers)
    assert row["weights"] <= design.design.ledger[-2]["weights"] * 2
    assert row["train_accuracy_after"] >= 0.7
    assert graph.name == "iris"


def test_the_same_seed_gives_the_same_network_whatever_the_test_rows_are(compiled):
    design, folder = compiled
    data = ax.load_dataset("sklearn:iris", 4, 3)
    swapped = replace(data, y_test=(data.y_test + 1) % 3)
    before = ax.open_design(folder / "out").design.graph
    assert print_graph(before) == print_graph(design.design.graph)
    start = ax.read(IRIS)
    graphs = []
    for rows in (data, swapped):
        made = ax.compile(start, data=rows, output=folder / "again", passes=parse_passes(f"printed-po2,{QUICK}"))
        graphs.append(print_graph(made.design.graph))
        assert accuracy(made.design.graph, data.X_train, data.y_train) > 0.7
    assert graphs[0] == graphs[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            "target_accuracy=90",
            "genetic-retraining.target_accuracy: 90 is not between 0 and 1\n    do: write 0.9 for 90 %",
        ),
        ("population=2", "genetic-retraining.population: 2 is less than 4"),
        ("generations=0", "genetic-retraining.generations: 0 is less than 1"),
        ("moves=-1", "genetic-retraining.moves: -1 is less than 0"),
    ],
)
def test_options_out_of_reach_are_refused(options, said):
    with pytest.raises(OptionError) as caught:
        parse_passes(f"genetic-retraining{{{options}}}")
    assert said in str(caught.value)


def test_what_it_needs_is_told():
    graph = ax.read(IRIS)
    (item,) = parse_passes("genetic-retraining")
    with pytest.raises(
        PassError, match="it learns from training rows, and there are none\n    do: give them with --data"
    ):
        run_passes(graph, [item], PassContext())
    with pytest.raises(PassError, match="whoever runs the passes hands in no search"):
        run_passes(graph, [item], PassContext(ax.load_dataset("sklearn:iris", 4, 3)))
    with pytest.raises(
        PassError, match=r"it is no masked network: .*\n    do: put printed-po2 or printed-masked in front"
    ):
        ax.compile(graph, data="sklearn:iris", passes=[item])
