"""Gemm, MatMul, element-wise operators, normalisation: every form agrees with onnxruntime."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from approxhw.common.errors import InvalidModelError, UnsupportedModelError
from approxhw.frontends import check_model, read_model
from approxhw.ir.kinds import LeakyRelu, Relu
from approxhw.numerics.formats import FLOAT64

SHARED = Path(__file__).resolve().parents[3].parent / "shared"
RNG = np.random.default_rng(7)


@pytest.fixture(autouse=True)
def _same_numbers_in_every_order():
    RNG.bit_generator.state = np.random.default_rng(7).bit_generator.state


def f32(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def node(op, inputs, outputs, name=None, **attributes):
    return helper.make_node(op, inputs, outputs, name=name or op, **attributes)


@pytest.mark.skipif(not SHARED.is_dir(), reason="work material ../shared/tasks is not here")
@pytest.mark.parametrize("task", ["breast_cancer", "cardio", "pendigits", "redwine", "whitewine"])
def test_the_five_tasks_agree_on_every_test_row(task, agrees):
    path = SHARED / "tasks" / f"{task}.onnx"
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as data:
        graph = agrees(path, data["X_test"])
    assert graph.name == task
    assert [n.kind for n in graph.nodes if n.kind != "constant"] == ["input", "dense", "relu", "dense", "argmax"]


@pytest.mark.parametrize(
    ("trans_b", "with_c", "alpha", "beta"), [*itertools.product((0, 1), (0, 1), (1.0, 0.5), (1.0, -2.0))]
)
def test_gemm_in_every_form(trans_b, with_c, alpha, beta, build, agrees):
    w = f32(3, 4) if trans_b else f32(4, 3)
    inputs, constants = ["x", "w"], {"w": w}
    if with_c:
        inputs, constants = ["x", "w", "c"], {"w": w, "c": f32(3)}
    graph = agrees(build([node("Gemm", inputs, ["y"], transB=trans_b, alpha=alpha, beta=beta)], constants))
    assert [n.name for n in graph.nodes] == ["x", "layer0_weight", "layer0_bias", "layer0_sum", "class_index"]
    assert graph["layer0_sum"].type.format == FLOAT64
    assert graph["layer0_sum"].origin == "Gemm"
    assert graph.constant("layer0_weight").shape == (3, 4)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (1, 3), (3,)])
def test_gemm_broadcasts_c(shape, build, agrees):
    agrees(build([node("Gemm", ["x", "w", "c"], ["y"])], {"w": f32(4, 3), "c": f32(*shape)}))


@pytest.mark.parametrize(("trans_a", "trans_b"), [(0, 1), (1, 1)])
def test_gemm_with_the_weights_on_the_left_and_a_transpose_back(trans_a, trans_b, build, agrees):
    w = f32(4, 3) if trans_a else f32(3, 4)
    nodes = [
        node("Gemm", ["w", "x", "c"], ["g"], transA=trans_a, transB=trans_b),
        node("Transpose", ["g"], ["y"], perm=[1, 0]),
    ]
    agrees(build(nodes, {"w": w, "c": f32(3, 1)}))


def test_gemm_reads_a_transposed_input_back(build, agrees):
    nodes = [node("Transpose", ["x"], ["t"], perm=[1, 0]), node("Gemm", ["t", "w"], ["y"], transA=1)]
    agrees(build(nodes, {"w": f32(4, 3)}))


@pytest.mark.parametrize(("alpha", "kept"), [(None, "0.01"), (0.125, "0.125"), (0.3, "0.3"), (0.0, "relu"), (1.0, "")])
def test_leaky_relu_keeps_the_fraction_that_its_float32_is(alpha, kept, build, agrees):
    attributes = {} if alpha is None else {"alpha": alpha}
    nodes = [node("Gemm", ["x", "w"], ["g"]), node("LeakyRelu", ["g"], ["h"], **attributes)]
    graph = agrees(build([*nodes, node("Gemm", ["h", "v"], ["y"])], {"w": f32(4, 5), "v": f32(5, 3)}))
    ops = [n.op for n in graph.nodes if n.kind in ("relu", "leakyrelu")]
    wanted = {"relu": [Relu()], "": []}.get(kept)
    assert ops == ([LeakyRelu(Fraction(float(np.float32(kept))))] if wanted is None else wanted)


@pytest.mark.parametrize("alpha", [float("inf"), float("nan")])
def test_leaky_relu_of_no_number_is_refused(alpha, build):
    nodes = [node("Gemm", ["x", "w"], ["g"]), node("LeakyRelu", ["g"], ["y"], name="leak", alpha=alpha)]
    with pytest.raises(InvalidModelError, match=rf"leak.*its alpha is {alpha:g}\n    do: train the model again"):
        read_model(build(nodes, {"w": f32(4, 3)}))


def test_gemm_over_the_batch_is_refused_with_its_name(build):
    model = build([node("Gemm", ["x", "w"], ["y"], name="mixer", transA=1)], {"w": f32(4, 3)})
    with pytest.raises(
        UnsupportedModelError, match="node 'mixer' \\(Gemm\\): sums over the batch axis: rows would mix"
    ):
        read_model(model)


def test_weights_that_do_not_fit_are_invalid(build):
    model = build([node("MatMul", ["x", "w"], ["y"])], {"w": f32(5, 3)})
    with pytest.raises(InvalidModelError, match="multiplies rows of 4 elements by weights for 5"):
        read_model(model)


@pytest.mark.parametrize("constant_first", [False, True])
def test_matmul_and_add_either_side_fuse_into_one_dense(constant_first, build, agrees):
    add = ["b", "m"] if constant_first else ["m", "b"]
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("Add", add, ["y"])]
    graph = agrees(build(nodes, {"w": f32(4, 3), "b": f32(3)}))
    assert [n.kind for n in graph.nodes] == ["input", "constant", "constant", "dense", "argmax"]


def test_matmul_with_the_weights_on_the_left(build, agrees):
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0]),
        node("MatMul", ["w", "t"], ["m"]),
        node("Transpose", ["m"], ["y"]),
    ]
    agrees(build(nodes, {"w": f32(3, 4)}))


def test_matmul_with_a_vector_gives_a_single_logit(build, agrees):
    graph = agrees(build([node("MatMul", ["x", "w"], ["y"])], {"w": f32(4)}))
    assert graph[graph.output].kind == "threshold"


def test_a_sum_that_two_nodes_read_is_not_fused(build):
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("Add", ["m", "b"], ["y"])]
    model = build(nodes, {"w": f32(4, 3), "b": f32(3)}, outputs=(("y", None), ("m", None)))
    with pytest.raises(UnsupportedModelError, match="2 outputs that are not forms of the same scores"):
        read_model(model)


ELEMENTWISE = {
    "x + c": [("Add", ["x", "c"])],
    "c + x": [("Add", ["c", "x"])],
    "x - c": [("Sub", ["x", "c"])],
    "c - x": [("Sub", ["c", "x"])],
    "x * c": [("Mul", ["x", "c"])],
    "c * x": [("Mul", ["c", "x"])],
    "x / c": [("Div", ["x", "c"])],
    "-x": [("Neg", ["x"])],
    "chain": [("Sub", ["x", "c"]), ("Div", ["x", "c"]), ("Mul", ["c", "x"]), ("Neg", ["x"])],
}


@pytest.mark.parametrize("where", ["before", "between", "behind"])
@pytest.mark.parametrize("form", ELEMENTWISE)
def test_elementwise_operators_before_between_and_behind_layers(form, where, build, agrees):
    width = {"before": 4, "between": 5, "behind": 3}[where]
    nodes, value, constants = [], "x", {"c": f32(width) + 2, "w0": f32(4, 5), "w1": f32(5, 3), "b": f32(5)}

    def chain():
        nonlocal value
        for position, (op, inputs) in enumerate(ELEMENTWISE[form]):
            made = f"e{position}"
            nodes.append(node(op, [value if name == "x" else name for name in inputs], [made], name=made))
            value = made

    for place, layer in (("before", 0), ("between", 1), ("behind", 2)):
        if place == where:
            chain()
        if layer < 2:
            inputs = [value, f"w{layer}"] + (["b"] if layer == 0 else [])
            nodes.append(node("Gemm", inputs, [f"g{layer}"], name=f"g{layer}"))
            value = f"g{layer}"
            if layer == 0 and where != "between":
                nodes.append(node("Relu", [value], ["r"]))
                value = "r"
    nodes.append(node("Identity", [value], ["y"]))
    agrees(build(nodes, constants))


def test_division_by_zero_is_invalid(build):
    model = build([node("Div", ["x", "c"], ["y"])], {"c": np.array([1, 0, 1, 1], np.float32)})
    with pytest.raises(InvalidModelError, match="divides by zero"):
        read_model(model)


@pytest.mark.parametrize("behind", [False, True])
def test_batch_normalization(behind, build, agrees):
    stats = {"s": f32(4), "b": f32(4), "m": f32(4), "v": np.abs(f32(4)) + 0.1, "w": f32(4, 4)}
    norm = ["s", "b", "m", "v"]
    if behind:
        nodes = [node("Gemm", ["x", "w"], ["g"]), node("BatchNormalization", ["g", *norm], ["y"], epsilon=1e-3)]
    else:
        nodes = [node("BatchNormalization", ["x", *norm], ["n"], epsilon=1e-3), node("Gemm", ["n", "w"], ["y"])]
    agrees(build(nodes, stats))


def test_batch_normalization_in_training_is_refused(build):
    stats = {name: np.ones(4, np.float32) for name in "sbmv"}
    nodes = [
        helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y", "rm", "rv"], name="bn", training_mode=1)
    ]
    with pytest.raises(UnsupportedModelError, match=r"model\.eval\(\)"):
        read_model(build(nodes, stats))


@pytest.mark.parametrize(
    ("op", "opset", "attributes", "inputs"),
    [
        ("Relu", 17, {}, []),
        ("Clip", 9, {"min": -1.0, "max": 6.0}, []),
        ("Clip", 9, {"min": 0.0}, []),
        ("Clip", 17, {}, ["low", "six"]),
        ("Clip", 17, {}, ["zero", "six"]),
        ("Clip", 17, {}, ["", "six"]),
        ("Clip", 17, {}, ["zero"]),
        ("Clip", 17, {}, ["low", "infinite"]),
        ("Min", 17, {}, ["six"]),
        ("Max", 17, {}, ["zero"]),
    ],
)
def test_activations(op, opset, attributes, inputs, build, agrees):
    constants = {"w": f32(4, 5), "v": f32(5, 3)}
    bounds = {"low": -1.5, "zero": 0.0, "six": 6.0, "infinite": np.inf}
    constants |= {name: np.array(bounds[name], np.float32) for name in inputs if name}
    nodes = [
        node("MatMul", ["x", "w"], ["g"]),
        node(op, ["g", *inputs], ["a"], name="act", **attributes),
        node("MatMul", ["a", "v"], ["y"], name="second"),
    ]
    graph = agrees(build(nodes, constants, opset=opset))
    assert any(n.name in ("layer0_relu", "layer0_clip") and n.origin == "act" for n in graph.nodes)


def test_bounds_the_wrong_way_round_are_refused(build):
    constants = {"low": np.float32(2), "high": np.float32(1)}
    with pytest.raises(UnsupportedModelError, match="its lower bound 2 is greater than its upper bound 1"):
        read_model(build([node("Clip", ["x", "low", "high"], ["y"])], constants))


def test_every_unsupported_node_is_listed_at_once_with_advice(build):
    nodes = [
        node("Conv", ["x", "w"], ["a"], name="stem"),
        node("LpNormalization", ["a"], ["b"], name="act/1"),
        node("Relu", ["b"], ["c"]),
        node("Rellu", ["c"], ["d"], name="typo"),
        helper.make_node("Magic", ["d"], ["e"], name="spell", domain="com.example"),
        node("TopK", ["e", "k"], ["y", "i"], name="late"),
    ]
    problems = check_model(build(nodes, {"w": f32(4, 4), "k": np.array([1])}, domains=("", "com.example"), opset=20))
    text = "\n".join(map(str, problems))
    assert [problem.where.split()[1] for problem in problems] == ["'stem'", "'act/1'", "'typo'", "'spell'", "'late'"]
    assert "operator Conv is not supported" in text
    assert "train a multi-layer perceptron" in text
    assert "use BatchNormalization" in text
    assert "did you mean Relu?" in text
    assert "operator Magic is of the unknown domain 'com.example'" in text


def test_scaler_of_ai_onnx_ml(build, agrees):
    scaler = helper.make_node(
        "Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[1.0, 2.0, 3.0, 4.0], scale=[0.5, 2.0, 1.0, -1.0]
    )
    graph = agrees(build([scaler, node("Gemm", ["s", "w"], ["y"])], {"w": f32(4, 3)}))
    assert [n.kind for n in graph.nodes if n.kind != "constant"] == ["input", "affine", "dense", "argmax"]
