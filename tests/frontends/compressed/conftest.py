"""Models with float weights of many kinds, and onnxruntime at every level of its optimiser, for compressed models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

LEVELS = {
    "none": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "default": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def model_of(
    nodes: Sequence[Any],
    constants: Mapping[str, np.ndarray],
    inputs: Sequence[tuple[str, Any]] = (("x", (None, 4)),),
    outputs: Sequence[str] = ("y",),
    opset: int = 17,
    ir: int = 8,
    kind: int = TensorProto.FLOAT,
    rank: int = 2,
) -> onnx.ModelProto:
    """Return a model whose outputs have *rank*; an input of int64 has the type as its third entry."""
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    ports = [helper.make_tensor_value_info(name, (*rest, kind)[1], rest[0]) for name, *rest in inputs]
    made = [helper.make_tensor_value_info(name, kind, [None] * rank) for name in outputs]
    graph = helper.make_graph(list(nodes), "graph", ports, made, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def run_model(proto: onnx.ModelProto, feeds: Mapping[str, np.ndarray], level: str = "default") -> list[np.ndarray]:
    """Return the outputs that onnxruntime gives."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = LEVELS[level]
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    made = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(made.run(None, dict(feeds)))


def with_outputs(proto: onnx.ModelProto, names: Sequence[str], kinds: Sequence[int]) -> onnx.ModelProto:
    """Return *proto* with the values *names* as its only outputs, so that onnxruntime shows them."""
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    del made.graph.output[:]
    made.graph.output.extend(helper.make_tensor_value_info(n, k, None) for n, k in zip(names, kinds, strict=True))
    return made


@pytest.fixture(scope="session")
def make() -> Callable[..., onnx.ModelProto]:
    """Build a model."""
    return model_of


@pytest.fixture(scope="session")
def run() -> Callable[..., list[np.ndarray]]:
    """Run a model in onnxruntime."""
    return run_model


@pytest.fixture(scope="session")
def shown_by() -> Callable[..., dict[str, np.ndarray]]:
    """Return what onnxruntime makes of the compressed tensors of a model, by name."""

    def values(made: Any, feeds: Mapping[str, np.ndarray], level: str = "default") -> dict[str, np.ndarray]:
        names = [tensor.name for tensor in made.tensors]
        kinds = [int(helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))) for tensor in made.tensors]
        proto = with_outputs(made.proto, names, kinds)
        return dict(zip(names, run_model(proto, feeds, level), strict=True))

    return values


def _networks() -> dict[str, tuple[onnx.ModelProto, dict[str, np.ndarray]]]:
    rng = np.random.default_rng(5)

    def weight(*shape: int) -> np.ndarray:
        return rng.normal(scale=0.3, size=shape).astype(np.float32)

    node = helper.make_node
    rows = {"x": weight(9, 20)}
    mlp = model_of(
        [
            node("Gemm", ["x", "w0", "b0"], ["s0"], transB=1),
            node("Relu", ["s0"], ["h0"]),
            node("MatMul", ["h0", "w1"], ["s1"]),
            node("Add", ["s1", "b1"], ["a1"]),
            node("Softmax", ["a1"], ["y"]),
        ],
        {"w0": weight(100, 20), "b0": weight(100), "w1": weight(100, 7), "b1": weight(7)},
        [("x", (None, 20))],
    )
    cnn = model_of(
        [
            node("Conv", ["x", "k0", "b0"], ["c0"], pads=[1, 1, 1, 1]),
            node("BatchNormalization", ["c0", "g", "b", "m", "v"], ["n0"]),
            node("Relu", ["n0"], ["r0"]),
            node("Conv", ["r0", "k1"], ["c1"], group=2, strides=[2, 2]),
            node("Flatten", ["c1"], ["f"]),
            node("MatMul", ["f", "w"], ["y"]),
        ],
        {
            "k0": weight(16, 3, 3, 3),
            "b0": weight(16),
            "k1": weight(8, 8, 3, 3),
            "w": weight(8 * 3 * 3, 11),
            "g": weight(16),
            "b": weight(16),
            "m": weight(16),
            "v": np.abs(weight(16)),
        },
        [("x", (None, 3, 8, 8))],
    )
    attention = model_of(
        [
            node("Gather", ["words", "x"], ["e"]),
            node("LayerNormalization", ["e", "g", "b"], ["l"]),
            *(node("MatMul", ["l", name], [name + "p"]) for name in ("q", "k", "v")),
            node("Transpose", ["kp"], ["kt"], perm=[0, 2, 1]),
            node("MatMul", ["qp", "kt"], ["scores"]),
            node("Softmax", ["scores"], ["p"]),
            node("MatMul", ["p", "vp"], ["mixed"]),
            node("MatMul", ["mixed", "o"], ["out"]),
            node("Add", ["out", "l"], ["y"]),
        ],
        {
            "words": weight(90, 24),
            "g": weight(24),
            "b": weight(24),
            **{n: weight(24, 24) for n in ("q", "k", "v", "o")},
        },
        [("x", (None, None), TensorProto.INT64)],
        rank=3,
    )
    lstm = model_of(
        [
            node("LSTM", ["x", "w", "r", "b"], ["", "h"], hidden_size=12),
            node("Reshape", ["h", "flat"], ["f"]),
            node("Gemm", ["f", "o"], ["y"], alpha=0.5),
        ],
        {
            "w": weight(1, 48, 10),
            "r": weight(1, 48, 12),
            "b": weight(1, 96),
            "o": weight(12, 25),
            "flat": np.array([-1, 12]),
        },
        [("x", (5, 3, 10))],
    )
    return {
        "mlp": (mlp, rows),
        "cnn": (cnn, {"x": weight(4, 3, 8, 8)}),
        "attention": (attention, {"x": rng.integers(0, 90, size=(3, 13))}),
        "lstm": (lstm, {"x": weight(5, 3, 10)}),
    }


NETWORKS = ("mlp", "cnn", "attention", "lstm")


@pytest.fixture(scope="session", params=NETWORKS)
def network(request: pytest.FixtureRequest) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A small network and what it is fed with."""
    return _networks()[request.param]
