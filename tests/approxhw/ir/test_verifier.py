"""Every rule of the verifier, with a Graph that breaks it."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from approxhw.common.errors import GraphError
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import Affine, ArgMax, Clip, Constant, Dense, Input, Relu, Requantize, Reshape, Threshold, Type
from approxhw.ir.random_graphs import random_float_graph, random_graph
from approxhw.ir.text import parse_graph
from approxhw.ir.verifier import RULES, problems, verify
from approxhw.numerics.formats import FLOAT64, Encoding, Fixed, Rational
from approxhw.numerics.mac.arithmetic import Exact

GOOD = """axir 1
graph good
x : u4[2] = input {"features":["a","b"],"titles":["A","B"],"encoding":{"bits":4,"rule":"round",\
"low":[0,0],"high":[1,2]}}
w : s4<2^-2>[3,2] = constant {"data":[[7,-8],[0,1],[-1,-1]]}
b : s5<2^-2>[3] = constant {"data":[-3,0,12]}
sum : s9<2^-2>[3] = dense(x, w, b) {"arithmetic":"exact<4>"}
relu : u8<2^-2>[3] = relu(sum)
codes : u4[3] = requantize(relu) {"multiplier":[1],"shift":2,"offset":[2],"low":0,"high":15}
clip : u4[3] = clip(codes) {"low":null,"high":12}
class_index : u2[] = argmax(clip)
output class_index
"""

FLOAT = """axir 1
graph float_graph
x : float<11,52>[2] = input {"features":["a","b"],"titles":["A","B"],"encoding":null}
s : float<11,52>[2] = constant {"data":[1.5,2.5]}
y : float<11,52>[2] = affine(x, s, s)
w : float<11,52>[1,2] = constant {"data":[[1.5,2.5]]}
b : float<11,52>[1] = constant {"data":[1.5]}
sum : float<11,52>[1] = dense(y, w, b)
class_index : u1[] = threshold(sum) {"threshold":0.5}
output class_index
"""


def good() -> Graph:
    return parse_graph(GOOD)


def changed(graph: Graph, name: str, **fields: object) -> Graph:
    """*graph* with fields of one Node changed; ``format``/``shape`` reach into its Type."""
    node = graph[name]
    kind = Type(fields.pop("shape", node.type.shape), fields.pop("format", node.type.format))
    other = replace(node, type=kind, **fields)
    return replace(graph, nodes=tuple(other if n.name == name else n for n in graph.nodes))


def real() -> Graph:
    return parse_graph(FLOAT)


def encoding(**fields: object) -> Graph:
    old = good()["x"].op
    return changed(good(), "x", op=replace(old, encoding=replace(old.encoding, **fields)))


Q = good()["codes"].op
BROKEN = {
    "names": [
        (lambda: replace(good(), name="9lives"), "Graph: [names] '9lives' is no lower-case identifier"),
        (lambda: replace(good(), name="module"), "Graph: [names] 'module' is a reserved word of Verilog"),
        (lambda: replace(good(), nodes=(*good().nodes, good()["clip"])), "clip: [names] two Nodes have this name"),
        (lambda: changed(good(), "x", op=replace(good()["x"].op, features=("a", "a"))), "two features are named 'a'"),
        (lambda: changed(good(), "x", op=replace(good()["x"].op, features=("a", "*/"))), "feature '*/' is no lower-"),
        (lambda: changed(good(), "x", op=replace(good()["x"].op, features=("a", "wire"))), "feature 'wire' is a res"),
    ],
    "order": [
        (lambda: changed(good(), "relu", inputs=("clip",)), "relu: [order] it reads 'clip', which stands below it"),
        (lambda: changed(good(), "relu", inputs=("nil",)), "relu: [order] it reads 'nil', which does not exist"),
        (lambda: replace(good(), output="nil"), "output: [order] 'nil' does not exist"),
    ],
    "arity": [
        (lambda: changed(good(), "sum", inputs=("x", "w")), "sum: [arity] dense has 3 inputs, this one has 2"),
        (lambda: changed(good(), "w", inputs=("x",)), "w: [arity] constant has 0 inputs, this one has 1"),
    ],
    "kinds": [
        (lambda: changed(good(), "relu", op="softmax"), "relu: [kinds] str is no kind of Node"),
        (lambda: changed(real(), "y", format=Fixed(8)), "y: [kinds] affine is for float Nodes only"),
        (lambda: changed(good(), "codes", format=FLOAT64), "[kinds] requantize makes codes, not float<11,52>"),
        (lambda: replace(real(), nodes=real().nodes[1:]), "Graph: [kinds] it has 0 Inputs, not 1"),
    ],
    "attributes": [
        (lambda: changed(good(), "clip", op=Clip(0.5, 3)), "clip: [attributes] bound 0.5 is no code (an integer)"),
        (lambda: changed(good(), "clip", op=Clip(5, 3)), "clip: [attributes] low 5 is greater than high 3"),
        (lambda: changed(good(), "codes", op=replace(Q, shift=-1)), "[attributes] shift -1 does not lie in 0…4096"),
        (lambda: changed(good(), "codes", op=replace(Q, shift=10**6)), "shift 1000000 does not lie in 0…4096"),
        (lambda: changed(good(), "codes", op=replace(Q, multiplier=(1, 2))), "multiplier has 2 values for 3 elements"),
        (lambda: changed(good(), "codes", op=replace(Q, offset=())), "offset has 0 values for 3 elements"),
        (lambda: changed(good(), "codes", op=replace(Q, low=16)), "low 16 is greater than high 15"),
        (lambda: changed(good(), "codes", op=replace(Q, low=0.5)), "multiplier, offset, low and high are integers"),
        (lambda: changed(real(), "class_index", op=Threshold(float("nan"))), "threshold nan is no finite number"),
    ],
    "shapes": [
        (lambda: changed(good(), "x", shape=(0,)), "x: [shapes] shape [0]: dimensions are ≥ 1"),
        (lambda: changed(good(), "x", shape=(10**9, 10**9)), "their product is at most 16777216"),
        (lambda: changed(good(), "x", shape=(3,)), "x: [shapes] 2 features for 3 elements"),
        (
            lambda: changed(good(), "relu", shape=(4,)),
            "relu: [shapes] relu of [3] → [4]\n    do: it should be [3] → [3]",
        ),
        (lambda: changed(good(), "sum", shape=(2,)), "dense of [2], [3,2], [3] → [2]\n    do: it should be [2], [2,2]"),
        (lambda: changed(real(), "y", shape=(1, 2)), "affine of [2], [2], [2] → [1,2]"),
        (lambda: changed(good(), "class_index", shape=(1,)), "argmax of [3] → [1]"),
        (lambda: changed(good(), "class_index", op=Threshold(0), format=Fixed(1)), "threshold of [3] → []"),
        (lambda: changed(good(), "clip", op=Reshape(), shape=(2, 2)), "reshape of [3] → [2,2]"),
    ],
    "constants": [
        (
            lambda: changed(good(), "b", op=Constant(np.array([1, 2]))),
            "b: [constants] its data has shape [2], its type",
        ),
        (lambda: changed(good(), "b", op=Constant(np.array([1, 2, 16]))), "codes of s5<2^-2> lie in -16…15, its data"),
        (lambda: changed(good(), "b", op=Constant(np.array([1, 2, 0.5]))), "data is held as integers, not float64"),
        (
            lambda: changed(real(), "b", op=Constant(np.array([np.inf]))),
            "b: [constants] its data holds NaN or infinity",
        ),
        (lambda: changed(real(), "b", op=Constant(np.array([1], np.float32))), "is held as float64, not float32"),
        (lambda: changed(real(), "b", format=Rational()), "b: [constants] rational data is held as fractions"),
        (lambda: changed(real(), "y", inputs=("x", "x", "s")), "y: [constants] x is input, it has to be a constant"),
    ],
    "formats": [
        (lambda: changed(good(), "relu", format=Fixed(8)), "relu keeps scale and zero point, but s9<2^-2> became u8"),
        (lambda: changed(good(), "clip", format=Fixed(4, zero=1)), "clip keeps scale and zero point, but u4 became u4"),
        (lambda: changed(good(), "sum", format=Fixed(9, True)), "the scale of its result is 1, that of x · w is 1/4"),
        (lambda: changed(good(), "b", format=Fixed(5, True)), "the scale of its bias is 1, that of x · w is 1/4"),
        (
            lambda: changed(good(), "w", format=Fixed(4, True, Fraction(1, 4), 2)),
            "sum: [formats] its weight has zero point 2, only 0 is allowed there",
        ),
        (lambda: changed(good(), "class_index", format=Fixed(3)), "its format is u3, argmax of this makes u2"),
        (lambda: changed(real(), "class_index", format=Fixed(2)), "its format is u2, threshold of this makes u1"),
        (lambda: changed(real(), "sum", format=Fixed(8)), "an integer Node cannot read float<11,52>"),
        (lambda: changed(real(), "sum", format=Rational()), "a rational Node cannot read float<11,52>"),
    ],
    "encoding": [
        (lambda: changed(good(), "x", op=replace(good()["x"].op, encoding=None)), "a Fixed Input needs an encoding"),
        (lambda: changed(real(), "x", op=replace(real()["x"].op, encoding=Encoding(4, "round", (), ()))), "has no enc"),
        (lambda: encoding(bits=5), "x: [encoding] its encoding makes u5 codes, its format is u4"),
        (lambda: encoding(low=(0.0,)), "its encoding has 1 low and 2 high values for 2 elements"),
        (lambda: encoding(rule="nearest"), "there is no encoding rule 'nearest'; there are round, floor16, linear"),
        (lambda: encoding(low=(0.0, float("nan"))), "[encoding] low and high are finite"),
        (lambda: encoding(low=(0.0, 3.0)), "[encoding] low is greater than high"),
        (lambda: encoding(rule="linear", low=(0.0, 2.0)), "[encoding] rule linear needs low < high"),
        (lambda: encoding(rule="floor16"), "[encoding] rule floor16 is 4 bits from 0 to 1"),
    ],
    "arithmetic": [
        (lambda: changed(good(), "sum", op=Dense(None)), "sum: [arithmetic] an integer dense needs an arithmetic"),
        (
            lambda: changed(good(), "sum", op=Dense(Exact(3))),
            "sum: [arithmetic] weights -8…7 do not fit exact<3>\n    do: exact<4> would hold them",
        ),
        (lambda: changed(real(), "sum", op=Dense(Exact(3))), "a float dense has no arithmetic, this one has exact<3>"),
    ],
    "ranges": [
        (
            lambda: changed(good(), "sum", format=Fixed(7, True, Fraction(1, 4))),
            "sum: [ranges] its range -123…102 does not fit s7<2^-2> (-64…63)\n    do: s8<2^-2> would hold it",
        ),
        (
            lambda: changed(good(), "relu", format=Fixed(6, False, Fraction(1, 4))),
            "relu: [ranges] its range 0…102 does not fit u6<2^-2> (0…63)\n    do: u7<2^-2> would hold it",
        ),
        (lambda: changed(good(), "codes", format=Fixed(3)), "codes: [ranges] its range 0…15 does not fit u3 (0…7)"),
    ],
}


def test_every_rule_has_a_graph_that_breaks_it():
    assert set(BROKEN) == set(RULES)


@pytest.mark.parametrize(
    ("rule", "make", "text"), [(rule, make, text) for rule, cases in BROKEN.items() for make, text in cases]
)
def test_broken_rule_is_named(rule, make, text):
    with pytest.raises(GraphError) as caught:
        verify(make())
    assert text in str(caught.value)
    assert f"[{rule}]" in str(caught.value)


def test_good_graphs_have_no_problems():
    assert problems(good()) == []
    assert problems(real()) == []
    for seed in range(200):
        for graph in (random_graph(seed), random_float_graph(seed), random_float_graph(seed, rational=True)):
            assert problems(graph) == [], seed


def test_all_broken_rules_are_reported_at_once():
    graph = changed(good(), "relu", format=Fixed(6, False, Fraction(1, 4)))
    graph = changed(graph, "b", op=Constant(np.array([1, 2])))
    graph = replace(changed(graph, "x", op=replace(graph["x"].op, features=("a", "a"))), name="Wide")
    rules = [problem.why.split("]")[0][1:] for problem in problems(graph)]
    assert rules == ["names", "names", "constants"]
    # what reads the broken constant is left out; the range of relu depends on it
    graph = changed(good(), "codes", format=Fixed(3))
    graph = changed(graph, "relu", format=Fixed(6, False, Fraction(1, 4)))
    assert [problem.where for problem in problems(graph)] == ["relu", "codes"]


def test_an_accumulator_beyond_every_format_is_refused():
    data = np.array([[1 << 4090]], dtype=object)
    nodes = (
        Node("x", Input(("a",), ("a",), Encoding(8, "round", (0.0,), (1.0,))), (), Type((1,), Fixed(8))),
        Node("w", Constant(data), (), Type((1, 1), Fixed(4096))),
        Node("b", Constant(np.array([0])), (), Type((1,), Fixed(1))),
        Node("y", Dense(Exact(4092)), ("x", "w", "b"), Type((1,), Fixed(4096))),
        Node("z", Relu(), ("y",), Type((1,), Fixed(4096))),
        Node("c", ArgMax(), ("z",), Type((), Fixed(1))),
    )
    found = problems(Graph("wide", nodes, "c"))
    assert [problem.where for problem in found] == ["y", "z"]
    assert "no format is wide enough" in found[0].remedy


def test_subject_is_shown_safely():
    with pytest.raises(GraphError, match="Graph bad\N{REPLACEMENT CHARACTER}name: 1 problem"):
        verify(replace(good(), name="bad\nname"))


def test_affine_and_requantize_are_covered_by_the_good_graphs():
    kinds = {type(node.op) for seed in range(60) for node in random_graph(seed).nodes}
    kinds |= {type(node.op) for seed in range(60) for node in random_float_graph(seed).nodes}
    assert {Affine, Requantize, Threshold, Reshape, Clip, Relu, ArgMax} <= kinds
