"""Branches and activations of quantised models: the forms of exporters, at full width, and what is refused with what works."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from exact_onnx import evaluate, fractions
from onnx import TensorProto, helper, numpy_helper

from approxhw.common.errors import UnsupportedModelError
from approxhw.frontends import read_model
from approxhw.frontends.classifier import open_classifier
from approxhw.frontends.runtime.reference import open_reference
from approxhw.ir.evaluation import predict
from approxhw.ir.interpreter import run, run_all

F32 = np.float32
ROWS = np.random.default_rng(2).normal(size=(300, 3)).astype(F32)
RNG = np.random.default_rng(4)
CONSTANTS = {
    "w": RNG.integers(-127, 128, (3, 3)).astype(np.int8), "v": RNG.integers(-127, 128, (3, 3)).astype(np.int8),
    "u": RNG.integers(-127, 128, (6, 3)).astype(np.int8), "b": RNG.normal(size=3).astype(F32), "sw": F32(0.0123),
    "q": np.array([[90, -70, -20], [-60, 85, -25], [-30, -15, 45]], np.int8), "z": np.uint8(131),
    "sx": F32(0.0271), "s0": F32(0.0312), "s1": F32(0.01937), "s2": F32(0.0443), "zero": np.uint8(0), "i": np.int8(0),
}  # fmt: skip
WEIGHTS = [helper.make_node("DequantizeLinear", [name, "sw"], [f"d{name}"]) for name in "wvuq"]


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs, [output], name=output, **attributes)


def pair(value, scale, zero, output):
    return [
        node("QuantizeLinear", [value, scale, zero], f"{output}_q"),
        node("DequantizeLinear", [f"{output}_q", scale, zero], output),
    ]


def build(nodes, constants=None, label=True):
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])]
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in {**CONSTANTS, **(constants or {})}.items()]
    graph = helper.make_graph([*WEIGHTS, *nodes], "net", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


FIRST = [*pair("x", "sx", "z", "a"), node("Gemm", ["a", "dw", "b"], "g")]
HIDDEN = [*FIRST, node("Relu", ["g"], "r"), *pair("r", "s0", "zero", "h")]
LAST = node("Gemm", ["m", "dq", "b"], "y")


def equal(nodes, constants=None):
    """What the last layer reads, and the classes, are those of exact fractions, on every row; nearly always onnxruntime's too."""
    model = build(nodes, constants)
    graph = read_model(model)
    seen = predict(graph, ROWS)
    scores = evaluate(model, fractions(ROWS), "y")
    assert seen.tolist() == [max(range(3), key=lambda i: (row[i], -i)) for row in scores.tolist()]
    if any(each.output[0] == "m_q" for each in nodes):
        last = [each for each in graph.nodes if each.kind == "dense"][-1].inputs[0]
        fmt = graph[last].type.format
        codes = run_all(graph, graph.input.op.encoding.encode(ROWS)[0])[last].astype(object)
        wanted = evaluate(model, fractions(ROWS), "m")
        assert ((codes - fmt.zero) * fmt.scale == wanted).all()
        assert len(set(wanted.reshape(-1).tolist())) > 3
    assert (open_reference(model).predict(ROWS) == seen).mean() > 0.98
    return graph


SECOND = [node("Gemm", ["h", "dv", "b"], "k"), node("Relu", ["k"], "l"), *pair("l", "s1", "zero", "t")]


def test_a_residual_branch_of_8_bits_takes_small_multipliers():
    """Both operands on one scale would need multipliers of some thirty bits."""
    graph = equal([*HIDDEN, *SECOND, node("Add", ["h", "t"], "sum"), *pair("sum", "s2", "zero", "m"), LAST])
    (sum_node,) = [each for each in graph.nodes if each.kind == "add"]
    parts = [graph[name] for name in sum_node.inputs]
    assert all(max(abs(m).bit_length() for m in part.op.multiplier) <= 20 for part in parts)
    assert sum_node.type.format.bits <= 29


def test_branches_side_by_side_are_rounded_to_one_quantiser():
    end = [
        node("Concat", ["h", "t"], "both", axis=1),
        *pair("both", "s2", "zero", "m"),
        node("Gemm", ["m", "du", "b"], "y"),
    ]
    graph = equal([*HIDDEN, *SECOND, *end])
    (joined,) = [each for each in graph.nodes if each.kind == "concat"]
    assert joined.type.format.scale == Fraction(float(F32(0.0443)))
    assert joined.type.format.bits == 8


def test_branches_that_are_quantised_no_more_stay_exact():
    equal([*HIDDEN, *SECOND, node("Add", ["h", "t"], "m"), LAST])
    equal([*HIDDEN, *SECOND, node("Sub", ["h", "t"], "m"), node("Gemm", ["m", "dq", "b"], "y")])
    equal([*HIDDEN, *SECOND, node("Concat", ["h", "t"], "m", axis=1), node("Gemm", ["m", "du", "b"], "y")])
    equal([*HIDDEN, node("Gemm", ["h", "dv", "b"], "k"), node("Add", ["h", "k"], "y")])


def test_a_branch_that_is_no_codes_is_added_up_on_one_scale():
    end = [node("Gemm", ["h", "dv", "b"], "k"), node("Add", ["k", "a"], "sum"), node("Relu", ["sum"], "o")]
    equal([*HIDDEN, *end, *pair("o", "s2", "zero", "m"), LAST])


def test_bounds_of_each_channel_hold_for_a_sum():
    """A clipped sum that is scaled by channel: its bounds differ, and change places where a scale is negative."""
    factors = {"f": np.array([1.0, -0.5, 0.25], F32), "lo": F32(0.5), "hi": F32(2.5)}
    end = [node("Add", ["h", "t"], "sum"), node("Clip", ["sum", "lo", "hi"], "c"), node("Mul", ["c", "f"], "o")]
    equal([*HIDDEN, *SECOND, *end, *pair("o", "s1", "z", "m"), LAST], factors)


LEAKS = {
    "LeakyRelu": ([node("LeakyRelu", ["k"], "l", alpha=0.1)], {}),
    "PRelu": ([node("PRelu", ["k", "slope"], "l")], {"slope": F32(0.25)}),
    "PRelu by channel": ([node("PRelu", ["k", "slope"], "l")], {"slope": np.array([0.25, -0.5, 1.75], F32)}),
    "LeakyRelu, clipped": ([node("LeakyRelu", ["k"], "n", alpha=0.3), node("Clip", ["n", "lo", "hi"], "l")],
                           {"lo": F32(-0.4), "hi": F32(1.5)}),
    "LeakyRelu, moved": ([node("LeakyRelu", ["k"], "n", alpha=0.3), node("Add", ["n", "b"], "l")], {}),
    "HardSigmoid": ([node("HardSigmoid", ["k"], "l", alpha=0.2, beta=0.5)], {}),
}  # fmt: skip


@pytest.mark.parametrize("form", ["of sums", "of codes"])
@pytest.mark.parametrize("name", LEAKS)
def test_activations_that_bend(name, form):
    made, constants = LEAKS[name]
    before = [node("Gemm", ["h", "dv", "b"], "k")]
    if form == "of codes":
        before = [node("Gemm", ["h", "dv", "b"], "j"), *pair("j", "s0", "z", "k")]
    graph = equal([*HIDDEN, *before, *made, *pair("l", "s1", "z", "m"), LAST], constants)
    assert not any(each.kind in ("lookup", "leaky-relu", "prelu") for each in graph.nodes)


TABLES = {"HardSwish": {}, "ThresholdedRelu": {"alpha": 0.7}, "Tanh": {}, "Sigmoid": {}, "Elu": {"alpha": 0.5}}


@pytest.mark.parametrize("op", TABLES)
def test_functions_of_few_codes_are_tables(op):
    """Each code that the function can meet becomes the code of its value, clipped ends included."""
    nodes = [*pair("x", "sx2", "z", "a"), node(op, ["a"], "f", **TABLES[op]), *pair("f", "s2", "z", "m"), LAST]
    graph = read_model(build(nodes, {"sx2": F32(0.07)}))
    (table,) = [each for each in graph.nodes if each.kind == "lookup"]
    codes = np.arange(256)
    found = run_all(graph, np.repeat(codes[:, None], 3, axis=1))[table.name]
    x = (codes - 131) * float(F32(0.07))
    wanted = {
        "HardSwish": lambda: x * np.clip(x / 6 + 0.5, 0, 1), "ThresholdedRelu": lambda: np.where(x > float(F32(0.7)), x, 0),
        "Tanh": lambda: np.tanh(x), "Sigmoid": lambda: 1 / (1 + np.exp(-x)), "Elu": lambda: np.where(x > 0, x, 0.5 * np.expm1(x)),
    }[op]()  # fmt: skip
    expected = np.clip(np.rint(wanted / float(F32(0.0443))) + 131, 0, 255)
    assert (found - table.type.format.zero == (expected - 131)[:, None]).all()
    assert x.min() < -8 < 8 < x.max()


def test_what_needs_a_quantiser_says_so():
    def refused(nodes, constants=None):
        with pytest.raises(UnsupportedModelError) as error:
            read_model(build(nodes, constants))
        return str(error.value)

    direct = [
        *HIDDEN,
        node("Gemm", ["h", "dv", "b"], "k"),
        node("HardSwish", ["k"], "f"),
        *pair("f", "s1", "z", "m"),
        LAST,
    ]
    text = refused(direct)
    assert "node 'f': hard swish reads values of" in text
    assert "quantise what it reads to 10 bits or fewer" in text
    text = refused([*pair("x", "sx", "z", "a"), node("Tanh", ["a"], "m"), LAST])
    assert "reads table of tanh" in text
    assert "quantise its input" in text
    mixed = [*HIDDEN, node("Add", ["h", "x"], "sum"), *pair("sum", "s2", "zero", "m"), LAST]
    assert "joins readings that are not quantised" in refused(mixed)


def test_a_rounding_that_floats_cannot_tell_is_refused():
    """tanh(1/2) over a scale that puts it a hair off the middle between two codes."""
    near = np.tanh(0.5) / 2.5
    scale = {"st": np.float64(near * (1 + 1e-13)), "h": np.float64(0.5), "zt": np.uint8(0)}
    nodes = [
        node("QuantizeLinear", ["x64", "h", "zt"], "a_q"), node("DequantizeLinear", ["a_q", "h", "zt"], "a"),
        node("Tanh", ["a"], "f"),
        node("QuantizeLinear", ["f", "st", "zt"], "m_q"), node("DequantizeLinear", ["m_q", "st", "zt"], "m"), LAST,
    ]  # fmt: skip
    model = build(nodes, scale)
    model.graph.input[0].name = "x64"
    with pytest.raises(
        UnsupportedModelError, match=r"rounds table of tanh.* of 0.5 to one of two codes: which one is not known"
    ):
        read_model(model)


def test_a_regressor_that_ends_in_a_sum():
    model = build([*HIDDEN, node("Gemm", ["h", "dv", "b"], "k"), node("Add", ["h", "k"], "y")])
    opened = open_classifier(model, task="regression")
    exact = evaluate(model, fractions(ROWS), "y").astype(np.float64)
    np.testing.assert_allclose(predict(opened.graph, ROWS), exact, rtol=1e-12, atol=1e-12)


def test_float_layers_behind_quantised_readings_may_branch():
    """The codes of the Input go to a layer and around it."""
    end = [node("Gemm", ["a", "wf", "b"], "k"), node("Relu", ["k"], "r"), node("Add", ["a", "r"], "y")]
    model = build([*pair("x", "sx", "z", "a"), *end], {"wf": RNG.normal(size=(3, 3)).astype(F32)})
    graph = read_model(model)
    assert not graph.is_integer
    codes, _ = graph.input.op.encoding.encode(ROWS)
    np.testing.assert_array_equal(run(graph, codes), open_reference(model).predict(ROWS))


@pytest.mark.parametrize("op", ["Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
@pytest.mark.parametrize("zero", [0, 3])
def test_a_quantised_sigmoid_is_compared_as_its_codes_are(op, zero):
    """Codes of p that stand for more than a half begin at another logit than 0; so does a bound that no code stands for."""
    step = {
        "sp": F32(1 / 16),
        "zp": np.uint8(zero),
        "wl": np.array([[1.0]], F32),
        "sl": F32(1 / 64),
        "zl": np.uint8(128),
    }
    for bound in (0.5, 0.53):
        nodes = [node("QuantizeLinear", ["x", "sl", "zl"], "x_q"), node("DequantizeLinear", ["x_q", "sl", "zl"], "k")]
        nodes += [node("Sigmoid", ["k"], "p"), *pair("p", "sp", "zp", "d"), node(op, ["d", "bound"], "y")]
        model = build(nodes, {**step, "bound": np.array([bound], F32)})
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.BOOL
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 1
        rows = np.arange(-128, 128)[:, None] / 64
        codes = np.rint(16 / (1 + np.exp(-rows[:, 0])))
        compare = {
            "Greater": np.greater,
            "GreaterOrEqual": np.greater_equal,
            "Less": np.less,
            "LessOrEqual": np.less_equal,
        }[op]
        graph = read_model(model)
        assert predict(graph, rows).tolist() == compare(codes / 16, float(F32(bound))).astype(int).tolist()
        np.testing.assert_array_equal(open_reference(model).predict(rows.astype(F32)), predict(graph, rows))


def test_a_quantised_sigmoid_between_layers_keeps_its_quantiser():
    """It was left out where more than an end followed."""
    nodes = [*pair("x", "sx", "z", "a"), node("Sigmoid", ["a"], "f"), *pair("f", "s2", "zero", "m"), LAST]
    graph = read_model(build(nodes))
    (table,) = [each for each in graph.nodes if each.kind == "lookup"]
    assert table.type.format.scale == Fraction(float(F32(0.0443)))
    assert (open_reference(build(nodes)).predict(ROWS) == predict(graph, ROWS)).all()
