"""approximate-argmax: comparators look at fewer bits while training accuracy holds, and the result means what it says."""

import numpy as np
import pytest

from approxhw.common.data.dataset import Dataset
from approxhw.common.errors import OptionError, PassError
from approxhw.ir.evaluation import accuracy, codes_of
from approxhw.ir.graph import Graph, Node
from approxhw.ir.interpreter import run
from approxhw.ir.kinds import ArgMax, Dense, Input, Threshold, Type
from approxhw.ir.pass_manager import PassContext, parse_passes, run_passes
from approxhw.ir.rewriting import code_constant, fit_formats
from approxhw.ir.verifier import verify
from approxhw.numerics.formats import Encoding, Fixed
from approxhw.numerics.mac.arithmetic import Exact


def network(classes=5, features=4, seed=2, threshold=False):
    """A linear classifier of random 6-bit weights: an integer Graph."""
    rng = np.random.default_rng(seed)
    names = tuple(f"f{i}" for i in range(features))
    encoding = Encoding(4, "round", (0.0,) * features, (15.0,) * features)
    m = 1 if threshold else classes
    nodes = (
        Node("x", Input(names, names, encoding), (), Type((features,), Fixed(4))),
        code_constant("w", rng.integers(-31, 32, (m, features))),
        code_constant("b", rng.integers(-99, 100, m)),
        Node("s", Dense(Exact(6)), ("x", "w", "b"), Type((m,), Fixed(40, True))),
    )
    bits = 1 if threshold else max(1, (m - 1).bit_length())
    head = Node("c", Threshold(0) if threshold else ArgMax(), ("s",), Type((), Fixed(bits)))
    graph = fit_formats(Graph("g", (*nodes, head), "c"))
    verify(graph)
    return graph


def dataset(graph, rows=600):
    x = np.random.default_rng(3).integers(0, 16, (rows, graph.input.type.elements)).astype(float)
    y = run(graph, codes_of(graph, x)).reshape(-1)
    assert len(np.unique(y)) > 1
    return Dataset(x[:400], y[:400], x[400:], y[400:])


@pytest.mark.parametrize("classes", [2, 3, 5, 8])
@pytest.mark.parametrize("loss", [0.0, 0.03, 0.3])
def test_bits_go_while_training_accuracy_stays_within_the_loss(classes, loss):
    graph = network(classes)
    data = dataset(graph)
    result, (record,) = run_passes(graph, parse_passes(f"approximate-argmax{{max_loss={loss}}}"), PassContext(data))
    verify(result)
    op = result["c"].op
    assert op.width == graph["s"].type.format.bits
    assert len(op.bits) == classes - 1
    assert sum(map(len, op.bits)) < (classes - 1) * op.width
    after = accuracy(result, data.X_train, data.y_train)
    assert after >= 1 - loss
    sizes = [len(bits) for bits in op.bits]
    assert record.notes == (
        f"{classes - 1} comparators look at {sum(sizes)} bits, {(classes - 1) * op.width} before; "
        f"at {min(sizes)} to {max(sizes)} of {op.width} each",
        f"{round(400 * (1 - after))} of 400 training rows wrong, 0 before",
    )
    assert [node for node in result.nodes if node.name != "c"] == [node for node in graph.nodes if node.name != "c"]
    for c in range(classes - 1):  # nothing more can go
        for position in op.bits[c]:
            fewer = tuple(p for p in op.bits[c] if p != position)
            other = ArgMax(op.width, (*op.bits[:c], fewer, *op.bits[c + 1 :]))
            nodes = tuple(Node(n.name, other, n.inputs, n.type) if n.name == "c" else n for n in result.nodes)
            assert round(400 * accuracy(Graph("g", nodes, "c"), data.X_train, data.y_train)) < 400 - int(400 * loss)


def test_more_loss_buys_more_bits():
    graph = network(8)
    data = dataset(graph)
    counts = []
    for loss in (0.0, 0.03, 0.3, 1.0):
        result, _ = run_passes(graph, parse_passes(f"approximate-argmax{{max_loss={loss}}}"), PassContext(data))
        counts.append(sum(map(len, result["c"].op.bits)))
    assert counts[0] > counts[1] > counts[2] > counts[3] == 0


def test_it_goes_on_from_the_bits_that_are_looked_at():
    graph = network(5)
    data = dataset(graph)
    once, _ = run_passes(graph, parse_passes("approximate-argmax{max_loss=0.05}"), PassContext(data))
    twice, (record,) = run_passes(once, parse_passes("approximate-argmax{max_loss=0.2}"), PassContext(data))
    assert all(set(b) <= set(a) for a, b in zip(once["c"].op.bits, twice["c"].op.bits))
    assert twice["c"].op.bits != once["c"].op.bits
    same, (record,) = run_passes(once, parse_passes("approximate-argmax{max_loss=0}"), PassContext(data))
    assert same is once
    assert record.notes == ("every bit is needed: nothing changed",)


def test_a_threshold_stays_and_what_it_refuses():
    graph = network(threshold=True)
    result, (record,) = run_passes(graph, parse_passes("approximate-argmax"), PassContext(dataset(graph)))
    assert result is graph
    assert record.notes == ("the output is threshold, not argmax: nothing changed",)
    with pytest.raises(OptionError) as caught:
        parse_passes("approximate-argmax{max_loss=-0.1}")
    assert str(caught.value) == "passes: 1 problem\n  approximate-argmax.max_loss: -0.1 is not in 0…1"
    with pytest.raises(PassError) as caught:
        run_passes(network(), parse_passes("approximate-argmax"), PassContext())
    assert str(caught.value) == (
        "pass approximate-argmax: 1 problem\n  c: which bits are needed is found on training rows, and there are none\n"
        "    do: give data: --data FILE"
    )
