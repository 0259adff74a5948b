"""Weights of fewer bits: the nearest multiple of the step, for every code and width; what the mean loses goes into biases."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from approxhw.common.errors import OptionError, PassError
from approxhw.ir.kinds.tensor.integers import ConvInteger, MatMulInteger
from approxhw.ir.pass_manager import PassContext, parse_passes, run_passes
from approxhw.ir.tensor.integer_layers import held, weights_last
from approxhw.ir.verifier import problems
from approxhw.passes.integers.narrow_weights import rounded_to_bits


def layers_of(graph):
    return [node for node in graph.nodes if isinstance(node.op, ConvInteger | MatMulInteger)]


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_every_code_becomes_the_nearest_multiple_that_its_type_holds(kind):
    limits, compared = np.iinfo(kind), 0
    codes = np.arange(limits.min, limits.max + 1).astype(kind)
    for bits in range(2, 9):
        step = 1 << (8 - bits)
        multiples = [value for value in range(limits.min, limits.max + 1) if value % step == 0]
        for code, found in zip(codes.tolist(), rounded_to_bits(codes, bits).tolist(), strict=True):
            wanted = min(multiples, key=lambda each: (abs(each - code), Fraction(each, step) % 2))
            assert found == wanted, (bits, code)
            compared += 1
    assert compared == 7 * 256


def test_layers_that_are_named_get_fewer_bits_and_biases_take_the_mean(integer_graph, context, outputs):
    operators = "approximate-multiplier{operator=truncated-0}"
    graph, records = run_passes(integer_graph, f"{operators},narrow-weights{{bits=4,layers=1:3}}", context)
    assert problems(graph) == []
    steps = [int(np.gcd.reduce(held(graph, weights_last(graph, node)[1]).reshape(-1))) for node in layers_of(graph)]
    assert [step % 16 == 0 for step in steps] == [False, True, False, True]
    assert "weights moved, in 2 layers" in records[-1].notes[0]
    blind, _ = run_passes(integer_graph, f"{operators},narrow-weights{{bits=4,layers=1:3}}", PassContext())
    exact = outputs(integer_graph)
    with_means, without = (np.abs((outputs(each) - exact).mean(axis=0)).mean() for each in (graph, blind))
    assert with_means < without


def test_what_cannot_be_is_refused(integer_graph):
    with pytest.raises(OptionError) as caught:
        parse_passes("narrow-weights{bits=9,layers=0.5:-1}")
    for part in (
        "narrow-weights.bits: 9 does not lie in 2…8",
        "narrow-weights.layers: 0.5 is no layer",
        "narrow-weights.layers: -1.0 is no layer",
    ):
        assert part in str(caught.value)
    with pytest.raises(OptionError, match=r"tune-weights\.layers: name every layer once"):
        parse_passes("tune-weights{layers=1:1}")
    with pytest.raises(PassError, match="layers: there is no layer 7: they are numbered 0 … 3"):
        run_passes(integer_graph, "narrow-weights{layers=7}", PassContext())
