"""A small residual network of convolutions and dense layers as ONNX, and rows for it."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

ROWS = np.random.default_rng(11).normal(size=(64, 1, 8, 8)).astype(np.float32)


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
