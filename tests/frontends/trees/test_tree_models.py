"""Tree ensembles: equal to onnxruntime on every row, whatever mode, exporter and what stands in front; bad ones refused."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from approxhw.common.errors import InvalidModelError, UnsupportedModelError
from approxhw.frontends.classifier import open_classifier
from approxhw.frontends.runtime.reference import open_reference
from approxhw.ir.evaluation import predict, task_of
from approxhw.ir.kinds import Forest

MODES = ("LEQ", "LT", "GTE", "GT", "EQ", "NEQ")
TREE = {
    "nodes_treeids": [0] * 5 + [1] * 3,
    "nodes_nodeids": [0, 1, 2, 3, 4, 0, 1, 2],
    "nodes_featureids": [0, 1, 0, 0, 0, 2, 0, 0],
    "nodes_values": [0.5, -0.25, 0.0, 0.0, 0.0, 0.1, 0.0, 0.0],
    "nodes_modes": ["BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF"],
    "nodes_truenodeids": [1, 2, 0, 0, 0, 1, 0, 0],
    "nodes_falsenodeids": [4, 3, 0, 0, 0, 2, 0, 0],
}
LEAVES = ([0, 0, 0, 1, 1], [2, 3, 4, 1, 2])
"""Trees and nodes of the leaves."""


def model(operator, attributes, features=3, outputs=1, opset=3, before=()):
    """Return a model of one ensemble; *before*: nodes in front of it, of which the last makes ``scaled``."""
    classifier = operator == "TreeEnsembleClassifier"
    made = ["label", "scores"] if classifier else ["values"]
    node = helper.make_node(operator, ["scaled" if before else "x"], made, domain="ai.onnx.ml", **attributes)
    text = "classlabels_strings" in attributes
    told = {"label": (TensorProto.STRING if text else TensorProto.INT64, [None])}
    told |= {name: (TensorProto.FLOAT, [None, outputs]) for name in ("scores", "values")}
    graph = helper.make_graph(
        [*before, node],
        "trees",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, features])],
        [helper.make_tensor_value_info(name, *told[name]) for name in made],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def classifier(classes=3, weights=None, **changes):
    """Return the two trees of ``TREE`` as a classifier: each leaf names one class, or as *weights* (leaf, class, weight) say."""
    rng = np.random.default_rng(1)
    entries = weights or [(leaf, c, float(rng.integers(0, 9)) / 4) for leaf in range(5) for c in range(classes)]
    given = {
        **TREE,
        "class_treeids": [LEAVES[0][leaf] for leaf, _, _ in entries],
        "class_nodeids": [LEAVES[1][leaf] for leaf, _, _ in entries],
        "class_ids": [c for _, c, _ in entries],
        "class_weights": [weight for _, _, weight in entries],
        "classlabels_int64s": list(range(classes)),
    }
    return {name: value for name, value in {**given, **changes}.items() if value is not None}


def rows_near(thresholds=(0.5, -0.25, 0.1), count=400, features=3):
    """Return readings at, and a hair beside, the thresholds, and others."""
    rng = np.random.default_rng(3)
    near = np.array([np.nextafter(np.float32(t), np.float32(way)) for t in thresholds for way in (-9, 9)])
    values = np.concatenate([np.float32(thresholds), near, rng.normal(size=20).astype(np.float32)])
    return values[rng.integers(0, len(values), (count, features))].astype(np.float64)


def equal_rows(proto, rows):
    """Return how many rows the Graph and onnxruntime agree on; all of them, or it fails."""
    opened = open_classifier(proto)
    said, found = open_reference(opened).predict(rows), predict(opened.graph, rows)
    if task_of(opened.graph) == "regression":
        assert np.allclose(said, found, rtol=1e-5, atol=1e-5)
    else:
        assert np.array_equal(said, found)
        assert len(np.unique(said)) > 1
    return len(rows)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("operator", ["TreeEnsembleClassifier", "TreeEnsembleRegressor"])
def test_every_mode_is_what_onnxruntime_makes_of_it(mode, operator):
    modes = [f"BRANCH_{mode}" if word != "LEAF" else word for word in TREE["nodes_modes"]]
    changes = classifier(nodes_modes=modes, base_values=[0.1, -0.5, 0.25])
    if operator == "TreeEnsembleRegressor":
        kept = {name: value for name, value in changes.items() if name.startswith("nodes")}
        named = {f"target_{name}": changes[f"class_{name}"] for name in ("treeids", "nodeids", "ids", "weights")}
        changes = {**kept, **named, "n_targets": 3, "base_values": [0.5, 1.0, -1.0], "aggregate_function": "AVERAGE"}
    assert equal_rows(model(operator, changes, outputs=3), rows_near()) == 400


def test_modes_may_differ_from_node_to_node():
    modes = ["BRANCH_GT", "BRANCH_EQ", "LEAF", "LEAF", "LEAF", "BRANCH_LT", "LEAF", "LEAF"]
    assert equal_rows(model("TreeEnsembleClassifier", classifier(nodes_modes=modes), outputs=3), rows_near()) == 400


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"])
def test_the_label_is_that_of_the_sums_whatever_the_scores_become(transform):
    proto = model("TreeEnsembleClassifier", classifier(post_transform=transform), outputs=3)
    assert equal_rows(proto, rows_near()) == 400


BINARY = {
    "votes": ([(0, 0, 0.75), (1, 0, 0.25), (2, 0, 0.0), (3, 0, 0.25), (4, 0, 0.0)], None),
    "logits": ([(0, 0, 0.75), (1, 0, -0.25), (2, 0, -1.0), (3, 0, 0.5), (4, 0, -0.5)], [0.125]),
    "class one": ([(0, 1, 0.75), (1, 1, 0.25), (2, 1, 0.0), (3, 1, 0.25), (4, 1, 0.0)], None),
    "both": ([(i, c, w) for i, v in enumerate((2, -1, 1, -2, 1)) for c, w in ((0, -v / 1), (1, v / 1))], None),
    "both, two bases": ([(i, c, w) for i, v in enumerate((2, -1, 1, -2, 1)) for c, w in ((0, -v), (1, v))], [0.5, 0.5]),
}


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("text", [False, True])
def test_two_classes_are_decided_as_onnxruntime_does(name, text):
    weights, base = BINARY[name]
    labels = {"classlabels_int64s": None, "classlabels_strings": ["no", "yes"]} if text else {}
    changes = classifier(2, [(i, c, float(w)) for i, c, w in weights], base_values=base, **labels)
    assert equal_rows(model("TreeEnsembleClassifier", changes, outputs=2), rows_near()) == 400


def test_missing_values_take_the_side_that_the_model_says():
    changes = classifier(nodes_missing_value_tracks_true=[1, 0, 0, 0, 0, 1, 0, 0])
    opened = open_classifier(model("TreeEnsembleClassifier", changes, outputs=3))
    (op,) = [node.op for node in opened.graph.nodes if isinstance(node.op, Forest)]
    assert op.missing.tolist() == [True, False, True]


def newer(**changes):
    """Return the attributes of a TreeEnsemble of opset 5: a tree of two tests, and one that is a leaf alone."""

    def tensor(values, kind=TensorProto.FLOAT):
        return numpy_helper.from_array(np.array(values, helper.tensor_dtype_to_np_dtype(kind)))

    given = {
        "tree_roots": [0, 2],
        "n_targets": 2,
        "nodes_featureids": [0, 2, 0],
        "nodes_splits": tensor([0.5, 0.1, 0.0]),
        "nodes_modes": tensor([0, 3, 0], TensorProto.UINT8),
        "nodes_truenodeids": [1, 0, 3],
        "nodes_falsenodeids": [2, 1, 3],
        "nodes_trueleafs": [0, 1, 1],
        "nodes_falseleafs": [1, 1, 1],
        "leaf_targetids": [0, 1, 0, 1],
        "leaf_weights": tensor([1.5, 2.5, 2.0, 0.25]),
    }
    return {**given, **changes}


@pytest.mark.parametrize("aggregate", [0, 1])
def test_the_newer_operator_sums_and_averages(aggregate):
    proto = model("TreeEnsemble", newer(aggregate_function=aggregate), outputs=2, opset=5)
    assert equal_rows(proto, rows_near()) == 400


def test_a_class_may_be_read_from_the_newer_operator():
    proto = model("TreeEnsemble", newer(), outputs=2, opset=5)
    proto.graph.node.append(helper.make_node("ArgMax", ["values"], ["index"], axis=1, keepdims=0))
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_tensor_value_info("index", TensorProto.INT64, [None]))
    assert equal_rows(proto, rows_near()) == 400


@pytest.mark.parametrize("scale", [[0.3, 1.7, 0.01], [-0.3, 1.7, -2.0]])
def test_thresholds_move_in_front_of_a_scaler_exactly(scale):
    scaler = helper.make_node("Scaler", ["x"], ["scaled"], domain="ai.onnx.ml", offset=[0.1, -3.3, 7.7], scale=scale)
    proto = model("TreeEnsembleClassifier", classifier(), outputs=3, before=[scaler])
    # readings whose images lie around the thresholds, float by float
    images = np.array([0.5, -0.25, 0.1])
    edges = (images[:, None] / np.array(scale) + np.array([0.1, -3.3, 7.7])).astype(np.float32)
    steps = [edges]
    for _ in range(6):
        steps.append(np.nextafter(steps[-1], np.float32(np.inf)))
    for _ in range(6):
        steps.append(np.nextafter(steps[0] if len(steps) == 7 else steps[-1], np.float32(-np.inf)))
    pool = np.concatenate(steps)
    rng = np.random.default_rng(2)
    rows = np.stack([pool[rng.integers(0, len(pool), 600), i] for i in range(3)], axis=1).astype(np.float64)
    assert equal_rows(proto, rows) == 600


SKLEARN = {
    "tree": lambda: DecisionTreeClassifier(max_depth=4, random_state=0),
    "forest": lambda: RandomForestClassifier(8, random_state=0),
    "shallow forest": lambda: RandomForestClassifier(8, max_depth=3, random_state=0),
    "boosted": lambda: GradientBoostingClassifier(n_estimators=4, random_state=0),
    "standard scaler": lambda: make_pipeline(StandardScaler(), RandomForestClassifier(6, random_state=0)),
    "other scaler": lambda: make_pipeline(MinMaxScaler(), GradientBoostingClassifier(n_estimators=3, random_state=0)),
}


@pytest.mark.parametrize("name", SKLEARN)
@pytest.mark.parametrize("load", [load_iris, load_breast_cancer])
@pytest.mark.parametrize("zipmap", [False, True])
def test_models_of_scikit_learn_are_equal_on_every_row(name, load, zipmap):
    from skl2onnx import to_onnx

    x, y = load(return_X_y=True)
    fitted = SKLEARN[name]().fit(x[::2], y[::2])
    proto = to_onnx(fitted, x[:1].astype(np.float32), options={"zipmap": zipmap})
    assert equal_rows(proto, x) == len(x)


def test_a_regressor_of_scikit_learn_gives_its_values():
    from skl2onnx import to_onnx

    x, y = load_diabetes(return_X_y=True)
    proto = to_onnx(RandomForestRegressor(5, max_depth=4, random_state=0).fit(x, y), x[:1].astype(np.float32))
    assert equal_rows(proto, x) == len(x)


BAD = [
    ({"nodes_values": [np.nan, *TREE["nodes_values"][1:]]}, "1 of 3 thresholds are NaN"),
    ({"class_weights": [np.inf] * 15}, "15 of 15 weights of leaves are NaN or infinite"),
    ({"nodes_truenodeids": [1, 0, 0, 0, 0, 1, 0, 0]}, "reaches its node 0 twice: a cycle, or branches that meet"),
    ({"nodes_falsenodeids": [4, 2, 0, 0, 0, 2, 0, 0]}, "twice: a cycle, or branches that meet"),
    ({"nodes_falsenodeids": [9, 3, 0, 0, 0, 2, 0, 0]}, "node 0 of tree 0 leads to node 9, which does not exist"),
    ({"nodes_featureids": [7, 1, 0, 0, 0, 2, 0, 0]}, "tests feature 7 of 3"),
    ({"class_ids": [3] * 15}, "adds to sum 3 of 3"),
    ({"nodes_treeids": [0, 0, 0, 1, 0, 1, 1, 1]}, "nodes of one tree stand in several places"),
    ({"nodes_nodeids": [0, 1, 1, 3, 4, 0, 1, 2]}, "tree 0 has two nodes of number 1"),
    ({"nodes_values": [0.5]}, "its lists differ in length: nodes_treeids 8"),
    ({"nodes_modes": ["BRANCH_MEMBER", *TREE["nodes_modes"][1:]]}, "splits by a set of categories (BRANCH_MEMBER)"),
    ({"nodes_modes": ["BRANCH_X", *TREE["nodes_modes"][1:]]}, "has the unknown mode 'BRANCH_X'"),
    ({"classlabels_int64s": [5]}, "knows 1 class: there is nothing to decide"),
    ({"base_values": [0.5]}, "has one base value for 3 classes"),
]


@pytest.mark.parametrize(("changes", "why"), BAD, ids=range(len(BAD)))
def test_a_broken_ensemble_gets_one_clear_error(changes, why):
    with pytest.raises((InvalidModelError, UnsupportedModelError)) as caught:
        open_classifier(model("TreeEnsembleClassifier", classifier(**changes), outputs=3))
    assert why in str(caught.value)
    assert len(caught.value.problems) == 1


def test_what_onnxruntime_leaves_out_is_refused():
    weights = [(0, 0, -1.0), (1, 1, 2.0), (2, 2, 1.0), (3, 0, 1.0), (4, 1, -3.0)]
    for changes, classes, why in (
        (classifier(3, weights), 3, "onnxruntime passes over a class without a weight"),
        (classifier(2, [(0, 0, 1.0), (1, 1, 1.0)], classlabels_int64s=[3, 4]), 2, "onnxruntime answers 0 and 1 then"),
        (classifier(2, [(0, 0, 1.0), (1, 1, 1.0)]), 2, "has leaves that name class 0 alone"),
        (classifier(2, [(0, 1, 1.0)], base_values=[0.0, 1.0]), 2, "onnxruntime leaves the trees out then"),
    ):
        with pytest.raises(UnsupportedModelError) as caught:
            open_classifier(model("TreeEnsembleClassifier", changes, outputs=classes))
        assert why in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"aggregate_function": 2}, "takes the MIN over its trees, which is not read"),
        ({"aggregate_function": 3}, "takes the MAX over its trees, which is not read"),
        ({"tree_roots": [5]}, "tree 0 starts at node 5, which does not exist"),
        ({"nodes_truenodeids": [1, 9, 3]}, "node 1 leads to leaf 9 (true), which does not exist"),
        ({"nodes_modes": numpy_helper.from_array(np.array([6, 0, 0], np.uint8))}, "splits by a set of categories"),
        ({"nodes_splits": numpy_helper.from_array(np.zeros(3))}, "holds nodes_splits in double precision"),
    ],
)
def test_what_the_newer_operator_may_not_hold(changes, why):
    with pytest.raises((InvalidModelError, UnsupportedModelError)) as caught:
        open_classifier(model("TreeEnsemble", newer(**changes), outputs=2, opset=5))
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("count", "why"),
    [
        (100_002, "has 100002 nodes that test something; at most 100000 are read"),
        (4_097, "has a tree that is deeper than 4096 tests"),
    ],
)
def test_a_chain_of_tests_that_is_too_long(count, why):
    numbers = list(range(2 * count + 1))
    leaf = [n % 2 == 1 or n == 2 * count for n in numbers]
    chain = {
        "nodes_treeids": [0] * len(numbers),
        "nodes_nodeids": numbers,
        "nodes_featureids": [0] * len(numbers),
        "nodes_values": [0.0] * len(numbers),
        "nodes_modes": ["LEAF" if end else "BRANCH_LEQ" for end in leaf],
        "nodes_truenodeids": [0 if end else n + 1 for n, end in zip(numbers, leaf)],
        "nodes_falsenodeids": [0 if end else n + 2 for n, end in zip(numbers, leaf)],
    }
    names = {"class_treeids": [0], "class_nodeids": [1], "class_ids": [0], "class_weights": [1.0]}
    proto = model("TreeEnsembleClassifier", {**chain, **names, "classlabels_int64s": [0, 1]}, outputs=2)
    with pytest.raises(UnsupportedModelError) as caught:
        open_classifier(proto)
    assert f"{why}\n    do: " in str(caught.value)
