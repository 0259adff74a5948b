"""Activations, hidden and last, in every form that exporters write, and branches that meet: each agrees with onnxruntime."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from onnx import TensorProto, helper

from approxhw.common.errors import UnsupportedModelError
from approxhw.frontends import read_model
from approxhw.ir.kinds import HardSwish, Lookup, PRelu, Threshold
from approxhw.numerics.functions.formulas import formula_text


def f32(*shape):
    return np.random.default_rng([7, *shape]).normal(size=shape).astype(np.float32)


def n(op, inputs, output, **attributes):
    return helper.make_node(op, inputs.split(), [output], name=f"{op}_{output}", **attributes)


NUMBERS = {"one": 1, "half": 0.5, "two": 2, "three": 3, "six": 6, "zero": 0, "root2": 2**0.5, "cubic": 0.044715}
NUMBERS |= {"tanh_scale": (2 / math.pi) ** 0.5, "sixth": 1 / 6, "tiny": 1e-7, "nearly": 1 - 1e-7}


def hidden(build, middle, width=6, opset=20, out=3, **constants):
    """x · w + b → *middle*, which makes a of z → a · v."""
    weights = {"w": f32(4, width), "b": f32(width), "v": f32(width, out), **constants}
    used = {name for node in middle for name in node.input}
    weights |= {name: np.float32(value) for name, value in NUMBERS.items() if name in used}
    return build([n("Gemm", "x w b", "z"), *middle, n("MatMul", "a v", "y")], weights, opset=opset, ir=9)


def kinds(graph):
    return [node.kind for node in graph.nodes if node.kind != "constant"]


GELU_TANH = [n("Pow", "z three", "p"), n("Mul", "p cubic", "q"), n("Add", "z q", "r"), n("Mul", "r tanh_scale", "s")]
GELU_TANH += [n("Tanh", "s", "t"), n("Add", "t one", "u"), n("Mul", "half z", "h"), n("Mul", "h u", "a")]
TABLES = {
    "tanh": [n("Tanh", "z", "a")],
    "sigmoid": [n("Sigmoid", "z", "a")],
    "sigmoid, scaled": [n("Sigmoid", "z", "s"), n("Mul", "s two", "a")],
    "silu": [n("Sigmoid", "z", "s"), n("Mul", "z s", "a")],
    "silu the other way": [n("Sigmoid", "z", "s"), n("Mul", "s z", "a")],
    "swish": [n("Mul", "z two", "m"), n("Sigmoid", "m", "s"), n("Mul", "z s", "a")],
    "gelu": [n("Gelu", "z", "a")],
    "gelu by tanh": [n("Gelu", "z", "a", approximate="tanh")],
    "gelu by erf": [
        *(n("Div", "z root2", "q"), n("Erf", "q", "r"), n("Add", "r one", "s")),
        *(n("Mul", "z s", "t"), n("Mul", "t half", "a")),
    ],
    "gelu written out": GELU_TANH,
    "mish": [n("Mish", "z", "a")],
    "mish written out": [n("Softplus", "z", "p"), n("Tanh", "p", "t"), n("Mul", "z t", "a")],
    "elu": [n("Elu", "z", "a", alpha=0.7)],
    "selu": [n("Selu", "z", "a")],
    "celu": [n("Celu", "z", "a", alpha=2.0)],
    "softplus": [n("Softplus", "z", "a")],
    "softsign": [n("Softsign", "z", "a")],
    "softsign written out": [n("Abs", "z", "p"), n("Add", "p one", "q"), n("Div", "z q", "a")],
    "shrink": [n("Shrink", "z", "a", lambd=0.5, bias=0.25)],
    "exponential": [n("Exp", "z", "a")],
    "softplus written out": [n("Exp", "z", "e"), n("Add", "e one", "f"), n("Log", "f", "a")],
    "silu, all written out": [
        *(n("Neg", "z", "m"), n("Exp", "m", "e"), n("Add", "one e", "f"), n("Div", "one f", "s"), n("Mul", "z s", "a")),
    ],
    "square": [n("Mul", "z z", "a")],
    "power": [n("Pow", "z two", "a")],
    "root": [n("Abs", "z", "p"), n("Sqrt", "p", "a")],
    "sine": [n("Sin", "z", "a")],
    "inverse": [n("Softplus", "z", "p"), n("Add", "p one", "q"), n("Reciprocal", "q", "a")],
    "one over": [n("Softplus", "z", "p"), n("Add", "p one", "q"), n("Div", "two q", "a")],
}


@pytest.mark.parametrize("form", TABLES)
def test_functions_of_one_value_become_one_table(form, build, agrees):
    graph = agrees(hidden(build, TABLES[form]), scale=1.0)
    assert kinds(graph).count("lookup") <= 1 + (form in ("inverse", "one over", "softplus written out"))
    assert [k for k in kinds(graph) if k not in ("input", "dense", "affine", "prelu", "lookup", "argmax")] == []


def test_a_table_says_what_it_holds(build):
    graph = read_model(hidden(build, TABLES["silu"]))
    assert [formula_text(node.op.formula) for node in graph.nodes if isinstance(node.op, Lookup)] == ["x * sigmoid(x)"]


HARD_SWISH = {
    "hard swish": [n("HardSwish", "z", "a")],
    "hard sigmoid times x": [n("HardSigmoid", "z", "g", alpha=1 / 6, beta=0.5), n("Mul", "g z", "a")],
    "clip and divide": [
        *(n("Add", "z three", "p"), n("Clip", "p zero six", "g"), n("Mul", "z g", "q")),
        n("Div", "q six", "a"),
    ],
    "relu, then minimum": [
        *(n("Add", "z three", "p"), n("Relu", "p", "r"), n("Min", "r six", "g")),
        *(n("Mul", "g sixth", "h"), n("Mul", "z h", "a")),
    ],
}


@pytest.mark.parametrize("form", HARD_SWISH)
def test_every_form_of_hard_swish_is_exact(form, build, agrees):
    graph = agrees(hidden(build, HARD_SWISH[form]), scale=1.0)
    (op,) = [node.op for node in graph.nodes if isinstance(node.op, HardSwish)]
    assert (op.offset, op.low, op.high) == pytest.approx((3, 0, 6), abs=1e-6)
    assert "lookup" not in kinds(graph)


@pytest.mark.parametrize(
    ("middle", "kind"),
    [
        ([n("HardSigmoid", "z", "a", alpha=0.2, beta=0.5)], "clip"),
        ([n("ThresholdedRelu", "z", "a", alpha=0.6)], "thresholdedrelu"),
        ([n("Abs", "z", "a")], "prelu"),
        ([n("LeakyRelu", "z", "a", alpha=-0.25)], "prelu"),
        ([n("PRelu", "z slope", "a")], "prelu"),
        ([n("PRelu", "z same", "a")], "leakyrelu"),
    ],
)
def test_exact_activations(middle, kind, build, agrees):
    graph = agrees(hidden(build, middle, slope=f32(6), same=np.full((1, 6), 0.5, np.float32)))
    assert kind in kinds(graph)
    assert "lookup" not in kinds(graph)


def test_slopes_are_the_fractions_that_float32_holds(build):
    slope = f32(6)
    graph = read_model(hidden(build, [n("PRelu", "z slope", "a")], slope=slope))
    assert [node.op for node in graph.nodes if node.kind == "prelu"] == [PRelu(tuple(map(Fraction, slope.tolist())))]


def test_a_gate_of_two_values_is_refused(build):
    nodes = [n("Gemm", "x w b", "g"), n("Sigmoid", "g", "s"), n("Mul", "z s", "a")]
    with pytest.raises(UnsupportedModelError, match=r"Mul_a.*multiplies or divides two computed tensors \(a gated net"):
        read_model(hidden(build, nodes))


# The end of a model ------------------------------------------------------------------------------------------------------


def single(build, *ends):
    weights = {"w": f32(4, 5), "b": f32(5), "v": f32(5, 1)}
    used = {name for node in ends for name in node.input}
    weights |= {name: np.float32(value) for name, value in NUMBERS.items() if name in used}
    nodes = [n("Gemm", "x w b", "z"), n("Relu", "z", "r"), n("MatMul", "r v", "l"), *ends]
    kind = TensorProto.BOOL if ends[-1].op_type in ("Greater", "Less") else TensorProto.FLOAT
    return build(nodes, weights, outputs=(("y", None, kind),), opset=20, ir=9)


@pytest.mark.parametrize(
    "ends",
    [
        [n("Tanh", "l", "y")],
        [n("HardSigmoid", "l", "y")],
        [n("Sigmoid", "l", "s"), n("Clip", "s tiny nearly", "y")],
        [n("Sigmoid", "l", "s"), n("Greater", "s half", "y")],
        [n("Tanh", "l", "t"), n("Greater", "t half", "y")],
        [n("Exp", "l", "t"), n("Greater", "t two", "y")],
    ],
    ids=lambda ends: " ".join(node.op_type for node in ends),
)
def test_a_single_value_decides_where_its_function_does(ends, build, agrees):
    graph = agrees(single(build, *ends), scale=1.0, compare_logits=False)
    assert isinstance(graph[graph.output].op, Threshold)
    assert "lookup" not in kinds(graph), "which side of the threshold it is, the logit says"


def test_what_is_always_above_0_decides_nothing(build):
    with pytest.raises(UnsupportedModelError) as refused:
        read_model(single(build, n("Softplus", "l", "y")))
    why = "is a single value, softplus(x), that is always above 0: which one decides is not known"
    assert why in str(refused.value)
    assert "end with the logit, or compare it with a threshold (Greater)" in str(refused.value)


def test_what_rises_is_dropped_in_front_of_argmax(build, agrees):
    nodes = [n("Gemm", "x w b", "z"), n("Tanh", "z", "t"), n("Sigmoid", "t", "y")]
    assert kinds(agrees(build(nodes, {"w": f32(4, 3), "b": f32(3)}), scale=0.3, compare_logits=False)) == [
        "input",
        "dense",
        "argmax",
    ]


# Branches ----------------------------------------------------------------------------------------------------------------

BRANCHES = {
    "residual": [n("Relu", "z", "r"), n("Gemm", "r m c", "p"), n("Relu", "p", "q"), n("Add", "q r", "a")],
    "relu behind": [n("Relu", "z", "r"), n("Gemm", "r m c", "p"), n("Add", "r p", "s"), n("Relu", "s", "a")],
    "from the input": [n("MatMul", "x w", "s"), n("Tanh", "s", "t"), n("Add", "t z", "a")],
    "difference": [n("Relu", "z", "r"), n("MatMul", "x w", "s"), n("Tanh", "s", "t"), n("Sub", "r t", "a")],
    "twice": [n("Relu", "z", "r"), n("Add", "r r", "a")],
    "three": [n("Relu", "z", "r"), n("Gemm", "r m c", "p"), n("Tanh", "p", "t"), n("Sum", "t r z", "a")],
    "mean": [n("Relu", "z", "r"), n("Gemm", "r m c", "p"), n("Mean", "p r", "a")],
    "prelu by two relus": [
        *(n("Relu", "z", "r"), n("Neg", "z", "m_z"), n("Relu", "m_z", "s")),
        *(n("Mul", "s slope", "t"), n("Sub", "r t", "a")),
    ],
}


@pytest.mark.parametrize("form", BRANCHES)
def test_branches_that_are_added_up(form, build, agrees):
    graph = agrees(hidden(build, BRANCHES[form], m=f32(6, 6), c=f32(6), slope=np.abs(f32(6))))
    assert "add" in kinds(graph)


@pytest.mark.parametrize(("inputs", "width"), [("r t", 11), ("t r x", 15), ("x r", 10)])
def test_branches_side_by_side(inputs, width, build, agrees):
    nodes = [n("Gemm", "x w b", "z"), n("Relu", "z", "r"), n("MatMul", "x w2", "s"), n("Tanh", "s", "t")]
    nodes += [n("Concat", inputs, "a", axis=-1), n("MatMul", "a v", "y")]
    graph = agrees(build(nodes, {"w": f32(4, 6), "b": f32(6), "w2": f32(4, 5), "v": f32(width, 3)}))
    (joined,) = [node for node in graph.nodes if node.kind == "concat"]
    assert sum(joined.op.sizes) == width


def test_averaged_logits_of_two_networks(build, agrees):
    nodes = [n("Gemm", "x w b", "z"), n("Relu", "z", "r"), n("MatMul", "r v", "first")]
    nodes += [n("Gemm", "x w2 b2", "s"), n("HardSwish", "s", "t"), n("MatMul", "t v2", "second")]
    nodes += [n("Add", "first second", "both"), n("Div", "both two", "mean"), n("Softmax", "mean", "y")]
    weights = {"w": f32(4, 6), "b": f32(6), "v": f32(6, 3), "w2": f32(4, 5), "b2": f32(5), "v2": f32(5, 3)}
    agrees(build(nodes, {**weights, "two": np.float32(2)}))


def test_averaged_probabilities_of_a_single_score_decide_nothing_without_a_threshold(build, agrees):
    nodes = [n("MatMul", "x w", "a"), n("Sigmoid", "a", "p"), n("MatMul", "x v", "b"), n("Sigmoid", "b", "q")]
    nodes += [n("Add", "p q", "s"), n("Div", "s two", "m")]
    constants = {"w": f32(4, 1), "v": -f32(4, 1) + 1, "two": np.float32(2), "half": np.float32(0.5)}
    with pytest.raises(UnsupportedModelError, match="is a sum of values that are all above 0, such as probabilities"):
        read_model(build([*nodes[:-1], n("Div", "s two", "y")], constants))
    told = (("y", None, TensorProto.BOOL),)
    agrees(build([*nodes, n("Greater", "m half", "y")], constants, outputs=told), compare_logits=False)


def test_averaged_probabilities_are_refused(build):
    nodes = [n("MatMul", "x w", "a"), n("Softmax", "a", "p"), n("MatMul", "x v", "b"), n("Softmax", "b", "q")]
    with pytest.raises(
        UnsupportedModelError, match=r"no scores have their order\n    do: average the scores, before Softmax"
    ):
        read_model(build([*nodes, n("Add", "p q", "y")], {"w": f32(4, 3), "v": f32(4, 3)}))
