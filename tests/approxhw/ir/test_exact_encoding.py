"""The rule ``exact`` of an Encoding: codes by exact fractions in every mode, its text form, and what the verifier says to it."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from approxhw.ir.kinds import Requantize
from approxhw.ir.text import parse_graph, print_graph
from approxhw.ir.verifier import problems, verify
from approxhw.numerics.exact.rounding import MODES, rounded_fraction
from approxhw.numerics.formats import Encoding

TEXT = """axir 1
graph g
x : u4<2^-1,zero=3>[2] = input {"features":["a","b"],"titles":["a","b"],"encoding":ENCODING}
codes : u3[2] = requantize(x) {"multiplier":[1],"shift":1,"offset":[0],"low":0,"high":7,"rounding":"half-odd"}
class_index : u1[] = argmax(codes)
output class_index
"""
EXACT = Encoding.exact(4, (Fraction(16, 3), Fraction(-2)), (Fraction(0), Fraction(1, 4)), "half-even", 3)


def graph_with(encoding):
    fields = {key: list(value) if isinstance(value, tuple) else value for key, value in encoding.attributes().items()}
    return parse_graph(TEXT.replace("ENCODING", json.dumps(fields)))


@pytest.mark.parametrize("mode", MODES)
def test_readings_are_rounded_as_their_fractions_are(mode):
    """A third of a step and ties of it: float64 holds neither."""
    gain, shift = (Fraction(16, 3), Fraction(-2)), (Fraction(1, 3), Fraction(1, 4))
    encoding = Encoding.exact(4, gain, shift, mode, 3)
    ties = [float(Fraction(3 * v, 32)) for v in range(-40, 90)]
    rows = np.array([[x + y, x] for x in ties for y in (0.0, 1e-7, -1e-7)])
    codes, outside = encoding.encode(rows)
    read = [[Fraction(float(np.float32(v))) for v in row] for row in rows.tolist()]
    whole = [[3 + rounded_fraction(mode, a * v + b) for v, a, b in zip(row, gain, shift)] for row in read]
    assert codes.tolist() == [[min(max(code, 0), 15) for code in row] for row in whole]
    assert outside.tolist() == [sum(not 0 <= row[column] <= 15 for row in whole) for column in (0, 1)]


def test_the_readings_that_codes_stand_for():
    assert EXACT.low == (-9 / 16, -47 / 8)
    assert EXACT.high == (9 / 4, 13 / 8)
    np.testing.assert_allclose(EXACT.offsets() + 15 * EXACT.steps(), [9 / 4, -47 / 8])
    assert EXACT.formula(0) == "code = clip(half_even(16/3 * x + 0) + 3, 0, 15)"
    constant = Encoding.exact(2, (Fraction(0),), (Fraction(1),), "floor", 0)
    assert constant.encode(np.array([[5.0], [-7.0]]))[0].tolist() == [[1], [1]]


def test_it_is_printed_and_read_back():
    graph = graph_with(EXACT)
    verify(graph)
    assert graph.input.op.encoding == EXACT
    assert parse_graph(print_graph(graph)) == graph
    assert '"gain":["16/3","-2"],"shift":["0","1/4"],"rounding":"half-even","base":3' in print_graph(graph)
    assert '"rounding":"half-odd"' in print_graph(graph)


def changed(name, **fields):
    """A Graph whose Node *name* has other fields in its op, or in the encoding of its op."""
    graph = graph_with(EXACT)
    node = graph[name]
    op = (
        replace(node.op, **fields)
        if isinstance(node.op, Requantize)
        else replace(node.op, encoding=replace(node.op.encoding, **fields))
    )
    return replace(graph, nodes=tuple(replace(n, op=op) if n is node else n for n in graph.nodes))


@pytest.mark.parametrize(
    ("name", "fields", "why"),
    [
        ("x", {"gain": (Fraction(1),)}, "its encoding has 1 values of gain for 2 elements"),
        ("x", {"shift": (0.5, 0.5)}, "shift is a fraction of at most 4096 bits"),
        ("x", {"rounding": "up"}, "there is no rounding 'up'; there are floor, ceil, half-even"),
        ("x", {"base": 0.5}, "base is an integer of at most 4096 bits"),
        ("codes", {"rounding": "ceil"}, "there is no rounding 'ceil'; there are floor, half-even, half-odd"),
    ],
)
def test_what_it_cannot_be_is_named(name, fields, why):
    assert any(why in problem.why for problem in problems(changed(name, **fields)))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"rounding": "half-even"', '"rounding": 3', "rounding of an encoding is a text"),
        ('"gain": ["16/3", "-2"]', '"gain": 7', "gain of an encoding is a list of fractions"),
        (', "base": 3', "", "an encoding has base, bits, gain, high, low, rounding, rule, shift"),
        ('"rounding":"half-odd"', '"rounding":1', "a rounding is a word, not '1'"),
    ],
)
def test_texts_that_are_none_are_refused(old, new, why):
    fields = {key: list(value) if isinstance(value, tuple) else value for key, value in EXACT.attributes().items()}
    text = TEXT.replace("ENCODING", json.dumps(fields))
    assert old in text
    with pytest.raises(Exception, match=why):
        parse_graph(text.replace(old, new))
