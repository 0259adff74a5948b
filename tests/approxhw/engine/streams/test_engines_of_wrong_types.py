"""Whatever a caller hands to the engine's functions in place of what they take: an error of ours that names it, no traceback."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from approxhw.backends.matrix_engine import eight_bit_rtl as rtl
from approxhw.backends.matrix_engine.engine import Engine, activation_words, engine_verilog, weight_words
from approxhw.backends.matrix_engine.templates import element_verilog
from approxhw.backends.systolic.schedule import make_schedule
from approxhw.common.errors import ApproxhwError
from approxhw.engine.matrix import api
from approxhw.numerics.eight_bit.codes import make
from approxhw.numerics.mac.arithmetic import FloatMac

ONES = np.ones((1, 3), np.float32)
SHAPE = {"x": (1, 3)}
SCHEDULE = make_schedule(Engine(2, 2), 1, 2, 2)
DYNAMIC = make("dynamic8", max="pow2")


def model():
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 3))],
        [helper.ValueInfoProto(name="y")],
        [numpy_helper.from_array(np.ones((3, 2), np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def opened(**given):
    return api.open_engine(model(), **{"mac": FloatMac(), "shape": SHAPE, **given})


CALLS = {
    "model": (lambda: api.open_engine(3), "int is no model that is read here"),
    "mac": (lambda: opened(mac="bf16"), "mac: 'bf16' is neither a FloatMac nor None"),
    "layers": (lambda: opened(layers=["y"]), r"layers: \['y'\] is no dict"),
    "layer": (lambda: opened(layers={"y": 5}), "layer 'y': 5 is neither a FloatMac nor None"),
    "shape": (lambda: opened(shape=[1, 3]), r"shape: \[1, 3\] is no dict"),
    "shape as text": (lambda: opened(shape="x=1x3"), "shape: 'x=1x3' is no dict"),
    "sizes": (lambda: opened(shape={"x": 3}), "shape: 'x': 3 are no sizes of an input"),
    "sizes as text": (lambda: opened(shape={"x": "1x3"}), "shape: 'x': '1x3' are no sizes of an input"),
    "name of a shape": (lambda: opened(shape={3: (1, 3)}), r"shape: 3: \(1, 3\) are no sizes of an input"),
    "result": (lambda: opened(result=[]), r"result: \[\] is no result"),
    "threads": (lambda: opened(threads="2"), "threads: '2' is no number of threads"),
    "compress": (lambda: opened(compress=5), "compress: 5 is no text"),
    "inputs": (lambda: opened().run(None), "inputs: NoneType is no dict"),
    "an array": (lambda: opened().run(ONES), "inputs: ndarray is no dict"),
    "ragged": (lambda: opened().run({"x": [[1, 2, 3], [1]]}), "input 'x': is no array: its rows differ in size"),
    "texts": (lambda: opened().run({"x": "abc"}), "input 'x': holds <U3, the model reads float32"),
    "rows": (lambda: opened().shift_histograms({"x": ONES}, rows="a"), "rows: 'a' is no number of rows"),
    "index": (lambda: opened().operands({"x": ONES}, "y", "0"), "there is no product 0 of a layer 'y'"),
    "shapes": (lambda: api.parse_shapes([3]), r"shape: \[3\] is no list of texts"),
    "histograms": (lambda: api.plot_shifts(None), "histograms: NoneType is no dict"),
    "fields": (
        lambda: Engine("4", 2, "bf16", 2.0, [], 4, "yes", "dynamic8"),
        "(?s)6 problems.*rows: '4' .*depth: 2.0 .*result: .*mac: 'bf16' .*fast: 'yes' .*codes: 'dynamic8' are no codes",
    ),
    "Verilog": (lambda: engine_verilog(None), "engine: NoneType is no engine"),
    "sizes of a product": (
        lambda: make_schedule(Engine(), "a", 1.5, True),
        "(?s)m: 'a' is no.*k: 1.5 is.*n: True is no",
    ),
    "a list": (lambda: weight_words(Engine(2, 2), SCHEDULE, [[1, 2], [3, 4]]), "weights: are no array, but list"),
    "numbers": (lambda: weight_words(Engine(2, 2), SCHEDULE, np.ones((2, 2))), "weights: are float64, not codes"),
    "wide": (
        lambda: activation_words(Engine(2, 2), SCHEDULE, np.full((1, 2), 1 << 16)),
        "activations: are no codes of 16 bits",
    ),
    "element": (lambda: element_verilog(None), "mac: None is no FloatMac"),
    "depth": (lambda: element_verilog(FloatMac(), "2"), "depth: '2' is no depth"),
    "form": (lambda: element_verilog(FloatMac(), 2, fast=9), "fast: 9 is no form of an element"),
    "format": (lambda: rtl.decoder_verilog("dynamic8"), "format: 'dynamic8' is no 8-bit format"),
    "fixed": (lambda: rtl.encoder_verilog(DYNAMIC, fixed=(12, 11)), r"fixed: \(12, 11\) is no FixedPoint"),
    "widths": (lambda: rtl.FixedPoint("a", 1.0), "(?s)width: a bits are not.*fraction: 1.0 bits"),
    "lanes": (lambda: rtl.decoder_verilog(DYNAMIC, lanes="4"), "lanes: 4 are not 1 to 1024"),
    "maximum": (
        lambda: rtl.decoder_verilog(DYNAMIC, fixed=rtl.FixedPoint(12, 11), maximum="a"),
        "2.a is no power of two",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_it_is_not_is_said(name):
    call, words = CALLS[name]
    with pytest.raises(ApproxhwError, match=words):
        call()
