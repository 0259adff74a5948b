"""Small networks as ONNX, and rows for them: a residual one, and one with products of every form."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

ROWS = np.random.default_rng(11).normal(size=(64, 1, 8, 8)).astype(np.float32)
FORM_ROWS = np.random.default_rng(4).normal(size=(64, 2, 10, 12)).astype(np.float32)


def network():
    """Return a network with a residual branch, a grouped convolution, and a dense layer written in two nodes; always the same."""
    rng = np.random.default_rng(12)
    held = {
        "w1": rng.normal(size=(8, 1, 3, 3)) * 0.4,
        "b1": rng.normal(size=8) * 0.1,
        "w2": rng.normal(size=(8, 4, 3, 3)) * 0.2,
        "b2": rng.normal(size=8) * 0.1,
        "w3": rng.normal(size=(10, 8)) * 0.5,
        "b3": rng.normal(size=10),
        "w4": rng.normal(size=(10, 6)) * 0.5,
        "b4": rng.normal(size=6),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], name="conv2", pads=[1, 0, 1, 2], group=2),
        helper.make_node("Add", ["c2", "r1"], ["a"]),
        helper.make_node("Relu", ["a"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["h"], name="fc1", transB=1),
        helper.make_node("Relu", ["h"], ["r3"]),
        helper.make_node("MatMul", ["r3", "w4"], ["m"], name="fc2"),
        helper.make_node("Add", ["m", "b4"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 6])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in held.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def many_forms():
    """Return products of every form: matrices side by side, a constant at the left, a filter a channel, a vector."""
    rng = np.random.default_rng(3)
    held_arrays = {
        "several": rng.normal(size=(2, 12, 8)) * 0.3,
        "left": rng.normal(size=(6, 10)) * 0.3,
        "each": rng.normal(size=(2, 1, 3, 3)) * 0.3,
        "last": rng.normal(size=(96,)) * 0.3,
    }
    nodes = [
        helper.make_node("MatMul", ["x", "several"], ["a"], name="several"),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["left", "b"], ["c"], name="left"),
        helper.make_node("Conv", ["c", "each"], ["d"], name="each", pads=[1, 1, 1, 1], group=2),
        helper.make_node("Flatten", ["d"], ["e"]),
        helper.make_node("MatMul", ["e", "last"], ["y"], name="last"),
    ]
    graph = helper.make_graph(
        nodes,
        "forms",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 10, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in held_arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
