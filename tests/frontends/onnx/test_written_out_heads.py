"""Heads that exporters write out: choices, rounded and negated comparisons, log-loss and OneVsRest of scikit-learn, averages."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from approxhw.common.errors import UnsupportedModelError
from approxhw.frontends import check_model, read_model
from approxhw.frontends.scikit_learn import convert
from approxhw.ir.evaluation import predict
from approxhw.ir.kinds import ArgMax, Clip, Dense, Threshold

RNG = np.random.default_rng(5)
W, V = RNG.normal(size=(4, 1)).astype(np.float32), RNG.normal(size=(4, 3)).astype(np.float32)
ZERO, ONE, HALF = np.float32(0), np.float32(1), np.float32(0.5)
node = helper.make_node


def logit(*tail):
    return [node("MatMul", ["x", "w"], ["z"], name="z"), *tail]


def scores(*tail):
    return [node("MatMul", ["x", "v"], ["s"], name="s"), *tail]


SINGLE = {
    "where": [node("Greater", ["z", "half"], ["c"]), node("Where", ["c", "one", "zero"], ["y"])],
    "where, the other way round": [node("Greater", ["z", "half"], ["c"]), node("Where", ["c", "zero", "one"], ["y"])],
    "where of less or equal": [node("LessOrEqual", ["z", "half"], ["c"]), node("Where", ["c", "one", "zero"], ["y"])],
    "rounded": [node("Sigmoid", ["z"], ["p"]), node("Round", ["p"], ["y"])],
    "rounded, cast, squeezed": [
        node("Sigmoid", ["z"], ["p"]),
        node("Round", ["p"], ["r"]),
        node("Cast", ["r"], ["i"], to=TensorProto.INT64),
        node("Squeeze", ["i", "axis"], ["y"]),
    ],
    "not": [node("Greater", ["z", "half"], ["c"]), node("Not", ["c"], ["n"]), node("Cast", ["n"], ["y"], to=TensorProto.INT32)],
    "not of not": [node("Less", ["z", "half"], ["c"]), node("Not", ["c"], ["n"]), node("Not", ["n"], ["y"])],
    "sigmoid written out": [
        node("Neg", ["z"], ["m"]),
        node("Exp", ["m"], ["e"]),
        node("Add", ["e", "one"], ["d"]),
        node("Reciprocal", ["d"], ["p"]),
        node("Greater", ["p", "p0"], ["y"]),
    ],
    "sigmoid written out, as the output": [
        node("Neg", ["z"], ["m"]),
        node("Exp", ["m"], ["e"]),
        node("Add", ["one", "e"], ["d"]),
        node("Div", ["one", "d"], ["y"]),
    ],
}  # fmt: skip


@pytest.mark.parametrize("tail", SINGLE.values(), ids=SINGLE)
def test_heads_of_a_single_logit(tail, build, agrees):
    kind = {"Where": TensorProto.FLOAT, "Round": TensorProto.FLOAT, "Div": TensorProto.FLOAT}.get(tail[-1].op_type)
    kind = kind or {"Cast": TensorProto.INT32, "Squeeze": TensorProto.INT64}.get(tail[-1].op_type, TensorProto.BOOL)
    constants = {
        "w": W,
        "zero": ZERO,
        "one": ONE,
        "half": HALF,
        "p0": np.float32(0.25),
        "axis": np.array([1], np.int64),
    }
    graph = agrees(build(logit(*tail), constants, outputs=(("y", None, kind),)))
    assert isinstance(graph[graph.output].op, Threshold)
    seen = predict(graph, np.random.default_rng(1).normal(size=(200, 4)))
    assert 20 < seen.sum() < 180


def test_a_choice_between_other_numbers_gives_labels(build, agrees):
    tail = [node("Greater", ["z", "zero"], ["c"]), node("Where", ["c", "one", "minus"], ["y"])]
    graph = agrees(build(logit(*tail), {"w": W, "zero": ZERO, "one": ONE, "minus": np.float32(-1)}))
    assert graph.labels == (-1, 1)


def test_ties_of_a_negated_comparison_are_kept(build):
    tail = [node("Greater", ["z", "zero"], ["c"]), node("Not", ["c"], ["y"])]
    unit = np.array([[1], [0], [0], [0]], np.float32)
    graph = read_model(build(logit(*tail), {"w": unit, "zero": ZERO}, outputs=(("y", None, TensorProto.BOOL),)))
    rows = np.zeros((3, 4))
    rows[:, 0] = [-5e-324, 0.0, 5e-324]
    assert predict(graph, rows).tolist() == [1, 1, 0]


GUARD = [
    node("ReduceSum", ["p", "axis"], ["t"], keepdims=1),
    node("Cast", ["t"], ["some"], to=TensorProto.BOOL),
    node("Not", ["some"], ["none"]),
    node("Cast", ["none"], ["fill"], to=TensorProto.FLOAT),
    node("Add", ["p", "fill"], ["q"]),
    node("Mul", ["fill", "three"], ["more"]),
    node("Add", ["t", "more"], ["u"]),
    node("Div", ["q", "u"], ["y"]),
]  # fmt: skip
SEVERAL = {
    "log loss": [
        node("Mul", ["s", "minus"], ["m"]),
        node("Exp", ["m"], ["e"]),
        node("Add", ["e", "one"], ["d"]),
        node("Reciprocal", ["d"], ["p"]),
        *GUARD,
    ],
    "modified Huber loss": [
        node("Clip", ["s", "minus", "one"], ["k"]),
        node("Add", ["k", "one"], ["a"]),
        node("Div", ["a", "two"], ["p"]),
        *GUARD,
    ],
    "shares of a Sigmoid": [
        node("Sigmoid", ["s"], ["p"]),
        node("ReduceSum", ["p", "axis"], ["t"], keepdims=1),
        node("Div", ["p", "t"], ["y"]),
    ],
    "Exp, which rises": [node("Exp", ["s"], ["y"])],
    "a scaled Softmax": [node("Softmax", ["s"], ["p"], axis=1), node("Mul", ["p", "two"], ["y"])],
}  # fmt: skip


@pytest.mark.parametrize("tail", SEVERAL.values(), ids=SEVERAL)
def test_shares_keep_the_order_of_the_scores(tail, build, agrees):
    constants = {"v": V, "minus": -ONE, "one": ONE, "two": ONE * 2, "three": ONE * 3, "axis": np.array([1], np.int64)}
    graph = agrees(build(scores(*tail), constants), scale=1.0)
    assert isinstance(graph[graph.output].op, ArgMax)
    assert len(np.unique(predict(graph, np.random.default_rng(1).normal(size=(99, 4))))) == 3


def test_branches_of_one_input_become_one_layer(build, agrees):
    constants = {f"v{i}": RNG.normal(size=(4, 1)).astype(np.float32) for i in range(3)}
    constants |= {f"b{i}": RNG.normal(size=1).astype(np.float32) for i in range(3)}
    branches = [node("Gemm", ["x", f"v{i}", f"b{i}"], [f"z{i}"]) for i in range(3)]
    sigmoids = [node("Sigmoid", [f"z{i}"], [f"p{i}"]) for i in range(3)]
    tail = [node("Concat", ["p0", "p1", "p2"], ["p"], axis=1), node("ArgMax", ["p"], ["y"], axis=1)]
    graph = agrees(
        build([*branches, *sigmoids, *tail], constants, outputs=(("y", None, TensorProto.INT64),)), scale=1.0
    )
    assert [n.op for n in graph.nodes if isinstance(n.op, Dense)] == [graph.nodes[-2].op]
    pair = [node("Sub", ["one", "z0"], ["n"]), node("Concat", ["n", "z0"], ["y"], axis=1)]
    single = agrees(build([branches[0], *pair], {**constants, "one": ONE}))
    assert isinstance(single[single.output].op, Threshold)


@pytest.mark.parametrize("op", ["Add", "Sum", "Mean"])
def test_averages_of_layers_of_one_input_are_a_layer(op, build, agrees):
    layers = [node("MatMul", ["x", "v"], ["a"]), node("MatMul", ["x", "u"], ["b"]), node(op, ["a", "b"], ["y"])]
    graph = agrees(build(layers, {"v": V, "u": RNG.normal(size=(4, 3)).astype(np.float32)}))
    assert sum(isinstance(n.op, Dense) for n in graph.nodes) == 1


@pytest.mark.parametrize("op", ["Add", "Mean"])
def test_averaged_probabilities_are_refused_with_what_works(op, build):
    layers = [node("MatMul", ["x", "v"], ["a"]), node("MatMul", ["x", "u"], ["b"])]
    soft = [node("Softmax", ["a"], ["p"]), node("Softmax", ["b"], ["q"]), node(op, ["p", "q"], ["y"], name="mix")]
    (problem,) = check_model(build([*layers, *soft], {"v": V, "u": 2 * V}))
    assert problem.where == f"node 'mix' ({op})"
    assert "no scores have their order" in problem.why
    assert problem.remedy == "average the scores, before Softmax and Sigmoid, or keep one model"


@pytest.mark.parametrize(
    ("tail", "why"),
    [
        ([node("Round", ["s"], ["y"], name="n")], r"'n' \(Round\): rounds something else than a single Sigmoid"),
        ([node("Where", ["k", "s", "s"], ["y"], name="n")], r"'n' \(Where\): chooses by something else"),
        ([node("ReduceSum", ["s", "axis"], ["y"], name="n")], r"'n' \(ReduceSum\): sums up computed values"),
        ([node("Softmax", ["s"], ["p"]), node("ReduceSum", ["p", "axis"], ["y"])], "output 'y': is a sum over the classes"),
        ([node("Softmax", ["s"], ["p"]), node("Mul", ["p", "minus"], ["y"], name="n")], "Softmax is read at the end"),
    ],
)  # fmt: skip
def test_what_does_not_keep_the_order_is_refused(tail, why, build):
    constants = {"v": V, "axis": np.array([1], np.int64), "k": np.array([True]), "minus": -ONE}
    with pytest.raises(UnsupportedModelError, match=why):
        read_model(build(scores(*tail), constants))


@pytest.mark.parametrize(
    "name", ["log loss", "modified Huber", "OneVsRest", "OneVsRest of log loss", "OneVsRest of SVC", "binary"]
)
def test_scikit_learn_models_of_scores(name, agrees):
    pytest.importorskip("skl2onnx")
    from sklearn.linear_model import LogisticRegression, SGDClassifier
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.svm import LinearSVC

    rng = np.random.default_rng(3)
    rows = rng.normal(size=(150, 4))
    labels = np.argmax(rows @ rng.normal(size=(4, 3)), axis=1)
    made = {
        "log loss": SGDClassifier(loss="log_loss", alpha=0.1, random_state=0),
        "modified Huber": SGDClassifier(loss="modified_huber", alpha=0.1, random_state=0),
        "OneVsRest": OneVsRestClassifier(LogisticRegression()),
        "OneVsRest of log loss": OneVsRestClassifier(SGDClassifier(loss="log_loss", alpha=0.1, random_state=0)),
        "OneVsRest of SVC": OneVsRestClassifier(LinearSVC()),
        "binary": OneVsRestClassifier(LogisticRegression()),
    }[name]
    made.fit(rows, labels > 0 if name == "binary" else labels)
    graph = agrees(convert(made)[0], rows=rows)
    assert sum(isinstance(n.op, Dense) for n in graph.nodes) == 1
    assert any(isinstance(n.op, Clip) for n in graph.nodes) == (name == "modified Huber")
    np.testing.assert_array_equal(made.classes_[predict(graph, rows)], made.predict(rows))
