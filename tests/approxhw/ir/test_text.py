"""Print and parse: round trips, and hostile text."""

import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from approxhw.common.errors import GraphError
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import Clip, Constant, Input, Type
from approxhw.ir.random_graphs import random_float_graph, random_graph
from approxhw.ir.text import MAXIMUM_LINES, parse_graph, print_graph
from approxhw.ir.verifier import problems
from approxhw.numerics.formats import FLOAT64

HEAD = 'axir 1\ngraph g\nx : u1[1] = input {"features":["a"],"titles":["a"]}\n'


def random_graphs(count):
    for seed in range(count):
        yield random_graph(seed)
        yield random_float_graph(seed)
        yield random_float_graph(seed, rational=True)


def test_round_trip_is_equal_on_900_random_graphs():
    seen = 0
    for graph in random_graphs(300):
        text = print_graph(graph)
        again = parse_graph(text)
        assert again == graph
        assert [node.origin for node in again.nodes] == [node.origin for node in graph.nodes]
        assert again.source == graph.source
        assert [c.op.data.dtype for c in again.nodes if isinstance(c.op, Constant)] == [
            c.op.data.dtype for c in graph.nodes if isinstance(c.op, Constant)
        ]
        assert print_graph(again) == text
        seen += 1
    assert seen == 900


def test_printed_form_is_the_documented_one():
    graph = random_graph(3)
    lines = print_graph(replace(graph, source="a.onnx", labels=("ü", 2))).splitlines()
    assert lines[:4] == ["axir 1", "graph random_3", 'source "a.onnx"', 'labels ["\\u00fc", 2]']
    assert lines[5] == 'x_flat : u2<2^-4>[8] = reshape(x) @"/x_flat */ \\u2028"'
    assert lines[-2:] == ['class_index : u2[] = argmax(layer1_sum) @"/class_index */ \\u2028"', "output class_index"]


@pytest.mark.parametrize("value", [0.1, 5e-324, 1.7976931348623157e308, -0.0, 1 / 3, 1e22, 123456789.0])
def test_floats_come_back_to_the_very_same_bits(value):
    node = Node("c", Constant(np.array([value])), (), Type((1,), FLOAT64))
    again = parse_graph(print_graph(Graph("g", (node,), "c"))).nodes[0].op.data
    assert again.tobytes() == np.array([value]).tobytes()


def test_integers_of_any_size_come_back():
    big = -(1 << 4000) + 1
    text = HEAD + f'c : s4096<3/7,zero=9>[2] = constant {{"data":[{big},1]}}\noutput c\n'
    graph = parse_graph(text)
    assert graph.constant("c").tolist() == [big, 1]
    assert graph["c"].type.format.scale == Fraction(3, 7)
    assert parse_graph(print_graph(graph)) == graph


def test_fractions_and_bounds_come_back():
    text = HEAD + 'c : rational[1] = constant {"data":["-3/7"]}\nd : rational[1] = clip(c) {"low":"1/3","high":null}\n'
    graph = parse_graph(text + "output d\n")
    assert graph.constant("c").tolist() == [Fraction(-3, 7)]
    assert graph["d"].op == Clip(Fraction(1, 3), None)


def test_comments_blank_lines_and_windows_line_ends_are_read():
    text = print_graph(random_graph(5))
    assert parse_graph("# made by hand\r\n\r\n" + text.replace("\n", "\r\n")) == random_graph(5)


def test_missing_encoding_is_none():
    assert isinstance(parse_graph(HEAD + "output x\n")["x"].op, Input)
    assert parse_graph(HEAD + "output x\n")["x"].op.encoding is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it has no 'graph NAME' line"),
        ("\x00\x01binary", "line 1: a Graph starts with 'axir 1', this starts with"),
        ("axir 2\n", "a Graph starts with 'axir 1', this starts with 'axir 2'"),
        (HEAD, "text: it has no 'output NAME' line"),
        (HEAD + "graph h\n", "line 4: a second 'graph' line"),
        (HEAD + "labels [1.5]\n", "line 4: labels is a JSON list of texts and integers"),
        (HEAD + "source [1]\n", "line 4: source is a JSON text"),
        (HEAD + "exec y\n", "line 4: neither 'NAME : TYPE = KIND(...)' nor one of graph, output, source, labels"),
        (HEAD + "y : u1[1] = softmax(x)\n", "line 4: 'softmax' is no kind of Node; there are input, constant, dense"),
        (HEAD + "y : v1[1] = relu(x)\n", "line 4: no number format: 'v1'"),
        (HEAD + "y : u0[1] = relu(x)\n", "line 4: a Fixed format has 1 to 4096 bits, not 0"),
        (HEAD + "y : u1 = relu(x)\n", "line 4: no type: 'u1'"),
        (HEAD + "y : u1<1/0>[1] = relu(x)\n", "line 4: Fraction(1, 0)"),
        (HEAD + "y : u1<1e999999999>[1] = relu(x)\n", "line 4: no scale: '1e999999999'"),
        (HEAD + "y : u1<2^999999999>[1] = relu(x)\n", "line 4: scale 2^999999999 is out of reach"),
        (HEAD + "y : u1[1] = relu(x) {\n", "line 4: Expecting property name"),
        (HEAD + 'y : u1[1] = relu(x) {"slope":1}\n', "line 4: relu has no slope"),
        (HEAD + 'y : u1[1] = requantize(x) {"shift":1,"low":0}\n', "line 4: requantize lacks high, multiplier, offset"),
        (HEAD + 'y : u1[1] = dense(x, x, x) {"arithmetic":"float"}\n', "line 4: no arithmetic: 'float'"),
        (HEAD + 'y : u1[1] = constant {"data":[1.5]}\n', "line 4: an integer is needed, not '1.5'"),
        (HEAD + 'y : u1[1] = constant {"data":[true]}\n', "line 4: an integer is needed, not 'True'"),
        (HEAD + 'y : u1[2,2] = constant {"data":[[1,0],[1]]}\n', "line 4: data is ragged"),
        (HEAD + 'y : float<11,52>[1] = constant {"data":[NaN]}\n', "line 4: NaN is no number of a Graph"),
        (HEAD + 'y : rational[1] = constant {"data":["1e99999999"]}\n', "line 4: no fraction: '1e99999999'"),
        (HEAD + 'y : rational[1] = constant {"data":["1/0"]}\n', "line 4: Fraction(1, 0)"),
        (HEAD + "y : u1[1] = relu(x) @7\n", 'line 4: a Node ends with {attributes} and @"origin"'),
        (HEAD + 'y : u1[1] = constant {"data":' + "[" * 5000 + "]" * 5000 + "}\n", "its JSON is nested too deeply"),
        (HEAD + 'y : u1[1] = constant {"data":[' + "9" * 5000 + "]}\n", "line 4: Exceeds the limit"),
        ("axir 1\n" + "\n" * (MAXIMUM_LINES + 5), "it has more than 268435456 characters or 100000 lines"),
    ],
)
def test_bad_text_is_refused_with_its_line(text, message):
    with pytest.raises(GraphError) as caught:
        parse_graph(text, subject="bad.axir")
    assert message in str(caught.value)
    assert str(caught.value).startswith("bad.axir: ")


def test_all_bad_lines_are_reported_at_once():
    with pytest.raises(GraphError) as caught:
        parse_graph(HEAD + "y : u1[1] = relu2(x)\nz : u99999[1] = relu(x)\n")
    assert [problem.where for problem in caught.value.problems] == ["line 4", "line 5"]


def test_mutated_text_gives_a_graph_or_a_graph_error():
    rng = random.Random(7)
    refused = parsed = unsound = 0
    for seed in range(120):
        text = print_graph(random_graph(seed) if seed % 2 else random_float_graph(seed, rational=seed % 4 == 0))
        for _ in range(12):
            mutated = mutate(rng, text)
            try:
                graph = parse_graph(mutated)
            except GraphError:
                refused += 1
                continue
            parsed += 1
            found = problems(graph)  # must not raise, whatever was parsed
            unsound += bool(found)
            if not found:
                assert parse_graph(print_graph(graph)) == graph
    assert refused > 100
    assert parsed > 100
    assert unsound > 50


def mutate(rng, text):
    """Return *text* with one to three things changed: characters, numbers, pieces moved, lines swapped or dropped."""
    for _ in range(rng.randint(1, 3)):
        lines, kind, at = text.split("\n"), rng.randrange(6), rng.randrange(len(text))
        if kind == 0:
            text = text[:at] + rng.choice('0123456789"[]{},:<>()@ -/.eN\\\x00ü') + text[at + 1 :]
        elif kind == 1:
            text = text[:at] + text[at + rng.randint(1, 9) :]
        elif kind == 2:
            numbers = [i for i, c in enumerate(text) if c.isdigit()]
            i = rng.choice(numbers)
            text = text[:i] + rng.choice(["0", "9", "77", "-1", "1.5", "1e400", "null", "true"]) + text[i + 1 :]
        elif kind == 3:
            text = text[:at] + text[rng.randrange(len(text)) :][:20] + text[at:]
        elif kind == 4:
            i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[i], lines[j] = lines[j], lines[i]
            text = "\n".join(lines)
        else:
            words = [word for word in ("relu", "argmax", "clip", "dense", "constant", "x", "u1", "s4") if word in text]
            if words:
                text = text.replace(
                    rng.choice(words), rng.choice(["relu", "clip", "reshape", "x", "s4096", "rational"]), 1
                )
        if not text:
            return "\n"
    return text
