"""A small residual network, its rows, and what onnxruntime's static quantisation makes of it."""

from __future__ import annotations

import logging

import onnx
import onnxruntime
import pytest
from small_networks import ROWS, network

from approxhw.frontends.products.partition import open_model
from approxhw.ir.pass_manager import PassContext, run_passes
from approxhw.ir.tensor.run import walk_tensors


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
