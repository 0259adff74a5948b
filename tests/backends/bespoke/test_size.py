"""A circuit's size is told before it is built, with what makes it smaller; wide layers share within runs of inputs."""

from __future__ import annotations

import random

import numpy as np
import pytest

import approxhw as ax
from approxhw.backends.bespoke import shift_add
from approxhw.backends.bespoke.shift_add import plan_layer, signed_digits
from approxhw.backends.bespoke.size import adder_bits, check_size, duration
from approxhw.common.errors import OptionError
from approxhw.ir.kinds import Relu, Requantize


def test_bits_by_hand(making):
    graph = (
        making(2, 4).dense([[3, -8], [0, 1]]).then(Relu(), "hidden").dense([[5, 0], [1, 7]], [1, 2]).argmax().graph()
    )
    # first: 3 has two digits, −8 and 1 one each, of 4 bits; hidden: 3x − 8y ≤ 45 takes 6 bits, y takes 4
    assert adder_bits(graph) == {"sum0": 4 * (2 + 1 + 1), "sum1": 6 * (2 + 1) + 4 * 2}
    assert adder_bits(graph, 2) == {"sum0": 16, "sum1": 2 * 3 + 2 * 2}
    assert check_size(graph, 42) == 42
    for value in (0, 1, 3, 7, 45, 200, 1023):
        assert (3 * value ^ value).bit_count() == len(signed_digits(value))


def test_what_is_too_large_says_what_to_do(making):
    rng = np.random.default_rng(0)
    layers = making(16, 4)
    for _ in range(4):
        layers = layers.dense(rng.integers(-90, 90, (16, 16)).tolist()).then(Relu())
    deep = layers.dense(rng.integers(-90, 90, (3, 16)).tolist()).argmax().graph()
    bits, fewer = sum(adder_bits(deep).values()), sum(adder_bits(deep, 8).values())
    assert fewer < bits / 2
    with pytest.raises(OptionError) as caught:
        check_size(deep, fewer)
    text = str(caught.value)
    spaced = f"{bits:,}".replace(",", " ")
    assert f"tiny: the circuit would add up about {spaced} bits, most of them" in text
    assert f"take about {duration(bits * 1.2e-3)} to write and read back" in text
    assert f"--hidden-bits 8 (hidden_bits=8 in Python) makes it about {fewer:,}".replace(",", " ") in text
    asked = int(text.rpartition("--max-adder-bits ")[2].split()[0])
    assert check_size(deep, asked) == bits, "what is advised works"
    with pytest.raises(OptionError) as caught:
        check_size(deep, 100)
    assert "--hidden-bits" not in str(caught.value), "no width of hidden values makes it as small as that"
    assert "a matrix engine takes layers of any size: --target matrix-engine" in str(caught.value)


def test_advice_leaves_out_what_is_so_already(making):
    graph = (
        making(4, 4)
        .dense([[99] * 4] * 4)
        .then(Requantize((1,), 6, (0,), 0, 127))
        .dense([[99] * 4] * 3)
        .argmax()
        .graph()
    )
    with pytest.raises(OptionError) as caught:
        check_size(graph, 150)
    assert "--hidden-bits 8" not in str(caught.value)


def test_compile_tells_before_it_builds(making, tmp_path, monkeypatch):
    from approxhw.backends.bespoke import circuit

    graph = making(3, 4).dense([[3, -8, 5], [0, 1, 7]]).argmax().graph()
    bits = sum(adder_bits(graph).values())
    built = []
    build = circuit.build_circuit
    monkeypatch.setattr(circuit, "build_circuit", lambda *given: built.append(1) or build(*given))
    with pytest.raises(OptionError, match="the circuit would add up about"):
        ax.compile(graph, target=ax.Printed(max_adder_bits=bits - 1), passes=(), output=tmp_path / "a")
    assert not built
    assert not (tmp_path / "a").exists()
    told = []
    target = ax.Printed(max_adder_bits=bits)
    ax.compile(graph, target=target, passes=(), output=tmp_path / "a", on_progress=lambda *step: told.append(step))
    assert built
    assert [share for step, share in told if step == "emit"][-2:] == [1.0, 1.0], "block by block"


def test_plans_of_runs_say_the_same_sums(monkeypatch):
    source = random.Random(3)
    weights = [[source.randrange(-127, 128) for _ in range(24)] for _ in range(5)]
    low, high = [0] * 24, [15] * 24
    whole = plan_layer(weights, low, high)
    monkeypatch.setattr(shift_add, "MOST_PAIRS", 500)
    parted = plan_layer(weights, low, high)
    assert parted != whole
    assert len(parted.sources) > 24, "they share all the same"
    for plan in (whole, parted):
        x = [source.randrange(16) for _ in range(24)]
        values = list(x)
        for shared in plan.sources[24:]:
            (a, _, first), (b, shift, second) = shift_add.pair_terms(shared)
            values.append(first * values[a] + second * (values[b] << shift))
            assert shared.low <= values[-1] <= shared.high
        sums = [sum(sign * (values[s] << k) for s, k, sign in terms) for terms in plan.neurons]
        assert sums == [sum(w * v for w, v in zip(row, x, strict=True)) for row in weights]
