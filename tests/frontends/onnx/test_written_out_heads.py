"""Heads that exporters write out: choices, rounded and negated comparisons, log-loss and OneVsRest of scikit-learn, averages."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from onnx import TensorProto, helper

from approxhw.common.errors import UnsupportedModelError
from approxhw.frontends import check_model, read_model
from approxhw.frontends.classifier import open_classifier
from approxhw.frontends.runtime.reference import open_reference
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


MAXIMUM = [node("ReduceMax", ["s"], ["m"], axes=[1], keepdims=1), node("Sub", ["s", "m"], ["d"])]
SHARED = [
    node("Exp", ["d"], ["e"]),
    node("ReduceSum", ["e", "axis"], ["t"], keepdims=1),
    node("Div", ["e", "t"], ["y"]),
]
WRITTEN_OUT = {
    "without a maximum": [node("Identity", ["s"], ["d"]), *SHARED],
    "less the greatest": [*MAXIMUM, *SHARED],
    "as JAX does it": [  # the maximum without its axis, bounded, reshaped and repeated
        node("ReduceMax", ["s"], ["a"], axes=[1], keepdims=0),
        node("Max", ["low", "a"], ["b"]),
        node("Reshape", ["b", "column"], ["c"]),
        node("Expand", ["c", "wide"], ["m"]),
        node("Sub", ["s", "m"], ["d"]),
        *SHARED,
    ],
    "LogSoftmax": [*MAXIMUM, *SHARED[:2], node("Log", ["t"], ["l"]), node("Sub", ["d", "l"], ["y"])],
    "LogSoftmax by one operator": [node("ReduceLogSumExp", ["s"], ["l"], axes=[1]), node("Sub", ["s", "l"], ["y"])],
    "Log of a Softmax": [node("Softmax", ["s"], ["p"], axis=1), node("Log", ["p"], ["y"])],
    "Softmax of moved scores": [*MAXIMUM, node("Softmax", ["d"], ["y"], axis=1)],
    "ArgMax of moved scores": [*MAXIMUM, node("Add", ["d", "half"], ["a"]), node("ArgMax", ["a"], ["y"], axis=1)],
    "more than the least": [node("ReduceMin", ["s"], ["m"], axes=[1]), node("Add", ["m", "s"], ["y"])],
}


@pytest.mark.parametrize("tail", WRITTEN_OUT.values(), ids=WRITTEN_OUT)
def test_a_softmax_written_out_keeps_the_order(tail, build, agrees):
    constants = {"v": V, "axis": np.array([1]), "low": np.float32(-np.inf), "half": HALF}
    constants |= {"column": np.array([-1, 1]), "wide": np.array([1, 3])}
    kind = TensorProto.INT64 if tail[-1].op_type == "ArgMax" else TensorProto.FLOAT
    graph = agrees(build(scores(*tail), constants, outputs=(("y", None, kind),)), scale=1.0)
    assert [n.kind for n in graph.nodes if n.kind != "constant"] == ["input", "dense", "argmax"]


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
        ([node("ReduceMax", ["s"], ["m"], axes=[1]), node("Sub", ["m", "s"], ["y"], name="n")], "read at the end of a model"),
        ([node("ReduceMax", ["s"], ["m"], axes=[1]), node("Div", ["s", "m"], ["y"], name="n")], "read at the end of a model"),
        ([*MAXIMUM, node("Add", ["d", "p"], ["y"], name="n")], "mixes the probabilities of several models"),
        ([*MAXIMUM, node("Mul", ["d", "minus"], ["y"], name="n")], "read at the end of a model"),
        ([*MAXIMUM, node("ReduceSum", ["d", "axis"], ["y"], name="n")], r"'n' \(ReduceSum\): sums up computed values"),
        ([node("ReduceMax", ["s"], ["y"], axes=[0], name="n")], "only over the classes"),
        ([node("ReduceMax", ["s"], ["m"], axes=[1]), node("ArgMax", ["m"], ["y"], axis=1)], "tells none"),
        (
            [node("ReduceMax", ["s"], ["m"], axes=[1], keepdims=0), node("Sub", ["s", "m"], ["y"], name="n")],
            r"shapes that do not fit\n.*keepdims=1",
        ),
        ([node("Expand", ["s", "wide"], ["y"], name="n")], r"'n' \(Expand\): repeats elements"),
    ],
)  # fmt: skip
def test_what_does_not_keep_the_order_is_refused(tail, why, build):
    constants = {"v": V, "axis": np.array([1], np.int64), "k": np.array([True]), "minus": -ONE}
    constants["wide"] = np.array([2, 1, 1])
    if any("p" in n.input and "p" not in n.output for n in tail) and tail[0].output[0] != "p":
        tail = [node("Softmax", ["s"], ["p"], axis=1), *tail]
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


@pytest.mark.parametrize("inner", ["logistic", "network"])
def test_several_labels_of_one_classifier_each(inner):
    """OneVsRest on truths of several columns: the labels that the model's own output of them tells."""
    pytest.importorskip("skl2onnx")
    import onnxruntime
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.neural_network import MLPClassifier

    rng = np.random.default_rng(3)
    rows = rng.normal(size=(200, 4)).astype(np.float32)
    truths = (rows @ rng.normal(size=(4, 3)) + abs(rows[:, :1]) > 0.5).astype(np.int64)
    made = LogisticRegression() if inner == "logistic" else MLPClassifier((3,), max_iter=20, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = convert(OneVsRestClassifier(made).fit(rows, truths))[0]
    session = onnxruntime.InferenceSession(model.SerializeToString())
    told = session.run([session.get_outputs()[0].name], {session.get_inputs()[0].name: rows})[0]
    assert 0.1 < told.mean() < 0.9
    np.testing.assert_array_equal(predict(read_model(model), rows), told)
    np.testing.assert_array_equal(open_reference(model).predict(rows), told)


def test_joined_probabilities_are_held_against_a_half(build):
    """Sigmoids of different layers: as values of a table they are joined too, and 0 would make every label true."""
    branches = [node("MatMul", ["x", f"w{i}"], [f"h{i}"]) for i in range(2)]
    rest = [node("Relu", [f"h{i}"], [f"r{i}"]) for i in range(2)]
    rest += [node("MatMul", [f"r{i}", "u"], [f"z{i}"]) for i in range(2)]
    rng = np.random.default_rng(12)
    constants = {f"w{i}": rng.normal(size=(4, 4)).astype(np.float32) for i in range(2)}
    constants |= {"u": np.array([[1], [-1], [0.5], [-0.5]], np.float32), "half": HALF, "two": ONE * 2}
    ends = {
        "Sigmoid": [node("Sigmoid", [f"z{i}"], [f"p{i}"]) for i in range(2)],
        "by tanh": [node("Tanh", ["z0"], ["t"]), node("Mul", ["t", "half"], ["q"]), node("Add", ["q", "half"], ["p0"]),
                    node("Sigmoid", ["z1"], ["s"]), node("Mul", ["s", "two"], ["d"]), node("Div", ["d", "two"], ["p1"])],
        "mixed": [node("Identity", ["z0"], ["p0"]), node("Sigmoid", ["z1"], ["p1"])],
    }  # fmt: skip
    rows = np.random.default_rng(1).normal(size=(300, 4)).astype(np.float32)
    found = {}
    for name, end in ends.items():
        model = build([*branches, *rest, *end, node("Concat", ["p0", "p1"], ["y"], axis=1)], constants)
        if name == "mixed":
            with pytest.raises(
                UnsupportedModelError, match="joins probabilities and other values: which of them decides"
            ):
                open_classifier(model, task="multilabel")
            continue
        opened = open_classifier(model, task="multilabel")
        found[name] = predict(opened.graph, rows)
        np.testing.assert_array_equal(open_reference(opened).predict(rows), found[name])
    np.testing.assert_array_equal(found["Sigmoid"], found["by tanh"])
    assert 0.1 < found["Sigmoid"].mean() < 0.9
