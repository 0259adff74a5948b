"""Products of every form as one small ONNX model, and rows for it."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FORM_ROWS = np.random.default_rng(4).normal(size=(64, 2, 10, 12)).astype(np.float32)


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
