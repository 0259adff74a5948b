"""The reference: onnxruntime's class indices and logits, whatever the model shows."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from approxhw.common.errors import InvalidDataError, InvalidModelError, UnsupportedModelError
from approxhw.frontends.classifier import open_classifier
from approxhw.frontends.runtime.reference import open_reference

W = np.array([[1, -1, 0], [0, 2, -2]], np.float32)
ROWS = np.array([[1.0, 0.0], [0.0, 1.0], [-3.0, 0.5], [0.0, -5.0]])


def node(op, inputs, outputs, domain="", **attributes):
    return helper.make_node(op, inputs, outputs, name=outputs[0], domain=domain, **attributes)


def graph_of_one_product():
    """Return a classifier of two features."""
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, size]) for name, size in (("x", 2), ("y", 3))
    ]
    weights = helper.make_tensor("w", TensorProto.FLOAT, W.shape, W.ravel())
    return helper.make_graph([node("MatMul", ["x", "w"], ["y"])], "one", ports[:1], ports[1:], [weights])


def expected():
    return (ROWS @ W).argmax(axis=1)


@pytest.mark.parametrize("last", ["logits", "Softmax", "LogSoftmax", "ArgMax", "text"])
def test_every_kind_of_output_gives_class_indices(last, build):
    nodes, kind, constants = [node("Gemm", ["x", "w"], ["g"])], TensorProto.FLOAT, {"w": W}
    if last in ("ArgMax", "text"):
        kind = TensorProto.INT64 if last == "ArgMax" else TensorProto.STRING
        nodes.append(node("ArgMax", ["g"], ["i"], axis=1, keepdims=0))
        constants |= {"names": np.array([b"n", b"o", b"p"], dtype=object)} if last == "text" else {}
        nodes.append(node("Gather", ["names", "i"], ["y"]) if last == "text" else node("Identity", ["i"], ["y"]))
    else:
        nodes.append(node("Identity" if last == "logits" else last, ["g"], ["y"]))
    reference = open_reference(build(nodes, constants, (("x", ("N", 2)),), (("y", None, kind),)))
    np.testing.assert_array_equal(reference.predict(ROWS), expected())
    np.testing.assert_allclose(reference.scores(ROWS), ROWS @ W, rtol=1e-6)
    assert reference.labels == (("n", "o", "p") if last == "text" else ())
    assert reference.classes == 3


@pytest.mark.parametrize("sigmoid", [False, True])
def test_a_single_logit_is_class_1_above_zero(sigmoid, build):
    nodes = [node("Gemm", ["x", "w"], ["g"]), node("Sigmoid" if sigmoid else "Identity", ["g"], ["y"])]
    model = build(nodes, {"w": W[:, :1]}, (("x", ("N", 2)),))
    assert open_reference(model).predict(ROWS).tolist() == [1, 0, 0, 0]


def test_probabilities_of_a_linear_classifier_alone():
    from skl2onnx import to_onnx

    iris = load_iris()
    estimator = LogisticRegression(max_iter=500).fit(iris.data, iris.target)
    model = to_onnx(estimator, iris.data[:1].astype(np.float32), options={"zipmap": False})
    del model.graph.output[0]
    reference = open_reference(model)
    assert reference.scores(iris.data) is None
    assert (reference.predict(iris.data) == estimator.predict(iris.data)).mean() > 0.99


def test_the_dictionary_of_a_zipmap_alone(build):
    nodes = [
        node("Gemm", ["x", "w"], ["g"]),
        node("Softmax", ["g"], ["p"]),
        node("ZipMap", ["p"], ["y"], "ai.onnx.ml", classlabels_strings=["n", "o", "p"]),
    ]
    model = build(nodes, {"w": W}, (("x", ("N", 2)),))
    model.graph.output[0].CopyFrom(helper.make_empty_tensor_value_info("y"))
    kind = model.graph.output[0].type.sequence_type.elem_type.map_type
    kind.key_type = TensorProto.STRING
    kind.value_type.tensor_type.elem_type = TensorProto.FLOAT
    reference = open_reference(model)
    assert reference.labels == ("n", "o", "p")
    np.testing.assert_array_equal(reference.predict(ROWS), expected())


def test_a_fixed_batch_is_filled_up(build):
    model = build([node("Gemm", ["x", "w"], ["y"])], {"w": W}, (("x", (3, 2)),), (("y", (3, 3)),))
    reference = open_reference(model)
    np.testing.assert_array_equal(reference.predict(ROWS), expected())
    assert reference.scores(ROWS).shape == (4, 3)
    assert reference.predict(ROWS[:0]).shape == (0,)


def test_rows_of_another_width_are_refused(build):
    model = build([node("Gemm", ["x", "w"], ["y"])], {"w": W}, (("x", ("N", 2)),))
    with pytest.raises(InvalidDataError, match=r"the model reads 2 features, the data has shape \(4, 3\)"):
        open_reference(model).predict(np.zeros((4, 3)))


def test_operators_that_onnxruntime_lacks_are_named(build):
    q = "qonnx.custom_op.general"
    constants = {"s": np.float32(0.5), "z": np.float32(0), "b": np.float32(4)}
    model = build([node("Quant", ["x", "s", "z", "b"], ["y"], q, signed=1)], constants, domains=("", q))
    known = open_classifier(model)
    known.loaded.proto.graph.node[0].op_type = "FloatQuant"  # as if it were read, but not written out
    with pytest.raises((UnsupportedModelError, InvalidModelError), match=r"onnxruntime: .*FloatQuant"):
        open_reference(known).predict(np.zeros((1, 4)))


def test_the_reference_runs_the_model_as_it_stands(build):
    """Fused kernels of onnxruntime leave the meaning of a QDQ model: the reference must not use them."""
    import onnxruntime

    reference = open_reference(build([node("Gemm", ["x", "w"], ["y"])], {"w": W}, (("x", ("N", 2)),)))
    level = reference.session.get_session_options().graph_optimization_level
    assert level == onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL


@pytest.mark.parametrize(("own", "seen"), [(None, "1"), ("0", "0")])
def test_onnxruntime_is_told_before_its_import_to_keep_no_telemetry(own, seen, tmp_path):
    """It queues what it would send below the user's cache; a setting of the user's own stays."""
    onnx.save(helper.make_model(graph_of_one_product()), tmp_path / "m.onnx")
    code = f"""
import os, sys
import approxhw as ax
from approxhw.frontends.runtime.reference import open_reference
from approxhw.frontends.classifier import open_classifier

class Watch:
    def find_spec(self, name, *_):
        if name == "onnxruntime":
            print(os.environ.get("ORT_DISABLE_TELEMETRY"))

sys.meta_path.insert(0, Watch())
open_reference(open_classifier({str(tmp_path / "m.onnx")!r}))
assert "onnxruntime" in sys.modules
"""
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    environment |= {} if own is None else {"ORT_DISABLE_TELEMETRY": own}
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert (done.returncode, done.stdout) == (0, f"{seen}\n"), done.stderr
    if own is None:
        assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".onnx"], (
            "a queue of telemetry"
        )
