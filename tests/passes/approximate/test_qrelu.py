"""qrelu: what the activation becomes, which shift is taken, what follows it, and what it refuses."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from approxhw.common.data.dataset import Dataset
from approxhw.common.errors import OptionError, PassError
from approxhw.ir.evaluation import codes_of
from approxhw.ir.graph import Graph, Node
from approxhw.ir.interpreter import run, run_all
from approxhw.ir.kinds import ArgMax, Clip, Constant, Dense, Input, LeakyRelu, Relu, Requantize, Type
from approxhw.ir.pass_manager import PassContext, parse_passes
from approxhw.ir.rewriting import code_constant, fit_formats
from approxhw.ir.verifier import verify
from approxhw.networks.space import space_of
from approxhw.numerics.formats import Encoding, Fixed, parse_format
from approxhw.numerics.mac.arithmetic import Exact, MaskedPowerOfTwo


def network(layers, activation=None, masked=False):
    """An integer Graph: Dense of weights and biases, an activation between, an argmax at the end."""
    n = len(layers[0][0][0])
    names = tuple(f"f{i}" for i in range(n))
    nodes = [Node("x", Input(names, names, Encoding(4, "round", (0.0,) * n, (15.0,) * n)), (), Type((n,), Fixed(4)))]
    last = "x"
    for i, (w, b) in enumerate(layers):
        nodes += [code_constant(f"w{i}", w), code_constant(f"b{i}", b)]
        inputs = (last, f"w{i}", f"b{i}")
        if masked:
            full = np.full(np.shape(w), 15 if i == 0 else (1 << 12) - 1)
            nodes.append(code_constant(f"m{i}", full))
            inputs = (*inputs, f"m{i}")
        kind = Type((len(b),), Fixed(40, True))
        nodes.append(Node(f"s{i}", Dense(MaskedPowerOfTwo(12) if masked else Exact(12)), inputs, kind))
        last = f"s{i}"
        if i + 1 < len(layers):
            nodes.append(Node(f"r{i}", activation or Relu(), (last,), Type((len(b),), Fixed(40, True))))
            last = f"r{i}"
    bits = max(1, (len(layers[-1][1]) - 1).bit_length())
    graph = fit_formats(Graph("g", (*nodes, Node("c", ArgMax(), (last,), Type((), Fixed(bits)))), "c"))
    verify(graph)
    return graph


def dataset(graph, rows=400, seed=1):
    """Readings that are their own codes, and the classes of *graph*."""
    x = np.random.default_rng(seed).integers(0, 16, (rows, graph.input.type.elements)).astype(float)
    y = run(graph, codes_of(graph, x)).reshape(-1)
    assert len(np.unique(y)) > 1
    return Dataset(x, y, x[:0], y[:0])


def applied(text, graph, data=None):
    (item,) = parse_passes(text)
    context = PassContext(data)
    result = item(graph, context)
    verify(result)
    return result, context.notes


WIDE = [([[64, 32, -16], [-8, 128, 16]], [100, -200]), ([[8, -4], [-4, 8]], [5000, -3000])]


@pytest.mark.parametrize("masked", [False, True])
def test_the_activation_is_a_qrelu_and_all_behind_it_follows(masked):
    graph = network(WIDE, masked=masked)
    result, notes = applied("qrelu{bits=4,shift=6}", graph)
    assert notes == ["r0: 4 bits kept, 6 low bits dropped, as asked for"]
    assert [node.kind for node in result.nodes if node.inputs] == ["dense", "requantize", "dense", "argmax"]
    assert result["r0_codes"].op == Requantize((1,), 6, (0,), 0, 15)
    rows = np.random.default_rng(2).integers(0, 16, (500, 3))
    before, after = run_all(graph, rows), run_all(result, rows)
    assert np.array_equal(after["r0_codes"], np.clip(before["s0"] >> 6, 0, 15))
    weights, biases = np.array(WIDE[1][0]), np.array([78, -47])  # 5000 / 64 and −3000 / 64, rounded
    assert np.array_equal(after["s1"], after["r0_codes"] @ weights.T + biases)
    assert after["r0_codes"].max() == 15  # some saturate
    if masked:
        assert result.constant("m1").tolist() == [[15, 15], [15, 15]]
        assert space_of(result).layers[0].hidden_bits == 4


@pytest.mark.parametrize("masked", [False, True])
def test_the_shift_with_the_fewest_wrong_rows_is_taken_and_the_greatest_of_equals(masked):
    graph = network(WIDE, masked=masked)
    data = dataset(graph)
    for bits in (2, 4, 8):
        errors = []
        for shift in range(12):
            forced, _ = applied(f"qrelu{{bits={bits},shift={shift}}}", graph)
            errors.append(int((run(forced, codes_of(graph, data.X_train)).reshape(-1) != data.y_train).sum()))
        best = max(s for s in range(12) if errors[s] == min(errors))
        result, notes = applied(f"qrelu{{bits={bits}}}", graph, data)
        assert result["r0_codes"].op.shift == best
        assert notes == [
            f"r0: {bits} bits kept, {best} low bits dropped: {min(errors)} of 400 training rows wrong, 0 before"
        ]
    assert len(set(errors)) > 2


def test_without_training_rows_the_whole_range_fits():
    graph = network(WIDE)  # at most 128 · 15 + 16 · 15 − 200 = 1960: 11 bits
    result, notes = applied("qrelu", graph)
    assert result["r0_codes"].op == Requantize((1,), 3, (0,), 0, 255)
    assert notes == ["r0: 8 bits kept, 3 low bits dropped: the whole range fits"]


def test_every_hidden_layer_gets_its_shift():
    three = [*WIDE[:1], ([[8, -4], [-4, 8]], [50, -30]), ([[1, -1], [-1, 1]], [0, 1])]
    graph = network(three)
    one, _ = applied("qrelu{bits=6,shift=3}", graph)
    assert [node.op.shift for node in one.nodes if isinstance(node.op, Requantize)] == [3, 3]
    chosen, notes = applied("qrelu{bits=6}", graph, dataset(graph))
    assert len(notes) == 2
    assert len([node for node in chosen.nodes if isinstance(node.op, Requantize)]) == 2


def test_a_clip_from_zero_is_a_qrelu_and_another_one_is_refused():
    graph = network(WIDE, Clip(0, 700))
    result, _ = applied("qrelu{bits=4,shift=6}", graph)
    assert result["r0_codes"].op == Requantize((1,), 6, (0,), 0, 15)
    with pytest.raises(PassError) as caught:
        applied("qrelu", network(WIDE, Clip(-5, 700)))
    assert str(caught.value) == (
        "pass qrelu: 1 problem\n  r0: it is clip from -5, and QReLU starts at 0\n    do: use a ReLU, or a clip from 0 on"
    )


def test_a_leak_is_refused():
    with pytest.raises(PassError) as caught:
        applied("qrelu", network(WIDE, LeakyRelu(Fraction(1, 8))))
    assert str(caught.value) == (
        "pass qrelu: 1 problem\n  r0: it is a leaky relu 1/8, and QReLU lets nothing below 0 through\n"
        "    do: use a ReLU, or power-of-two, which retrains the network with QReLU"
    )


def test_what_it_leaves_alone_and_what_it_refuses():
    single = network(WIDE[:1])
    result, notes = applied("qrelu", single)
    assert result is single
    assert notes == ["there is no hidden Relu or Clip: nothing changed"]
    kind = Type((2, 3), parse_format("float<11,52>"))
    weight = Node("w0", Constant(np.ones((2, 3))), (), kind)
    real = replace(single, nodes=tuple(weight if node.name == "w0" else node for node in single.nodes))
    with pytest.raises(
        PassError, match="only an integer Graph has bits to drop\n    do: run quantize-weights or power"
    ):
        applied("qrelu", real)
    with pytest.raises(OptionError) as caught:
        parse_passes("qrelu{bits=0,shift=99}")
    assert str(caught.value) == ("passes: 2 problems\n  qrelu.bits: 0 is not in 1…16\n  qrelu.shift: 99 is not in 0…62")
