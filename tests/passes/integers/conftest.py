"""A small residual network, its rows, and what onnxruntime's static quantisation makes of it."""

from __future__ import annotations

import logging

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from approxhw.frontends.products.partition import open_model
from approxhw.ir.pass_manager import PassContext, run_passes
from approxhw.ir.tensor.run import walk_tensors

RNG = np.random.default_rng(11)
ROWS = RNG.normal(size=(64, 1, 8, 8)).astype(np.float32)


def network():
    """Return a network with a residual branch, a grouped convolution, and a dense layer written in two nodes."""
    held = {
        "w1": RNG.normal(size=(8, 1, 3, 3)) * 0.4,
        "b1": RNG.normal(size=8) * 0.1,
        "w2": RNG.normal(size=(8, 4, 3, 3)) * 0.2,
        "b2": RNG.normal(size=8) * 0.1,
        "w3": RNG.normal(size=(10, 8)) * 0.5,
        "b3": RNG.normal(size=10),
        "w4": RNG.normal(size=(10, 6)) * 0.5,
        "b4": RNG.normal(size=6),
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


@pytest.fixture(scope="session")
def float_model():
    return network()


@pytest.fixture(scope="session")
def quantised(float_model, tmp_path_factory):
    """Return what makes a model in one of onnxruntime's forms: format, types of activations and weights, per channel."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )

    folder = tmp_path_factory.mktemp("quantised")
    onnx.save(float_model, folder / "float.onnx")
    types = {"u8": QuantType.QUInt8, "s8": QuantType.QInt8}

    class Rows(CalibrationDataReader):
        def __init__(self):
            self.rows = iter([{"x": ROWS[:32]}])

        def get_next(self):
            return next(self.rows, None)

    def make(form, activations="u8", weights="s8", per_channel=False):
        path = folder / f"{form}_{activations}_{weights}_{per_channel}.onnx"
        logging.disable(logging.WARNING)
        try:
            if form == "dynamic":
                quantize_dynamic(folder / "float.onnx", path)
            else:
                quantize_static(
                    folder / "float.onnx",
                    path,
                    Rows(),
                    quant_format=QuantFormat[form],
                    activation_type=types[activations],
                    weight_type=types[weights],
                    per_channel=per_channel,
                )
        finally:
            logging.disable(logging.NOTSET)
        return onnx.load(path)

    return make


@pytest.fixture(scope="session")
def by_onnxruntime():
    """Return what runs a model unoptimised and tells every value that leaves it, and all values named."""

    def run(model, names=()):
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        known = {value.name for value in copy.graph.output}
        copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])
        made = session.run(None, {"x": ROWS})
        return dict(zip([value.name for value in session.get_outputs()], made, strict=True))

    return run


@pytest.fixture(scope="session")
def opened(float_model):
    """Return the float network as a Graph with its host."""
    return open_model(float_model, {"x": ROWS.shape}, integers=True)


@pytest.fixture(scope="session")
def context(opened):
    def observe(graph, seen):
        walk_tensors(graph, {"x": ROWS}, opened.host, None, seen)

    return PassContext(observe=observe)


@pytest.fixture(scope="session")
def outputs(opened):
    """Return what carries a Graph out on the rows."""
    return lambda graph: walk_tensors(graph, {"x": ROWS}, opened.host, None)[graph.output]


@pytest.fixture(scope="session")
def integer_graph(opened, context):
    return run_passes(opened.graph, "quantize-model,integer-products", context)[0]
