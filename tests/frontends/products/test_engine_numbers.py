"""What the engine tells beside its results: NaN and infinity, needed shifts, operands of a layer, memory; and the plot."""

from __future__ import annotations

import logging
import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import ml_dtypes
import numpy as np
import pytest
from onnx import helper

from approxhw.engine.matrix.api import open_engine, plot_shifts, write_shifts
from approxhw.ir.tensor.emulate import Counts, _limit
from approxhw.numerics.mac import float_mac
from approxhw.numerics.mac.arithmetic import FloatMac
from approxhw.report.engines.shifts import LAYERS, shift_drawing

op = helper.make_node
MAC = FloatMac("bf16", 20, "an-1-2")
SVG = "{http://www.w3.org/2000/svg}"


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# --- NaN and infinity --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mac", [MAC, FloatMac("fp16", 24, "exact"), FloatMac("e4m3", 16, "an-2-2")], ids=str)
def test_nan_and_infinity_are_carried_counted_and_told(networks, plainly, caplog, mac):
    model, feeds, shape = networks["cnn"]
    x = feeds["x"].copy()
    x[0, 0, 1, 1], x[0, 1, 2, 2], x[1, 0, 0, 0] = np.nan, np.inf, -np.inf
    engine = open_engine(model, mac, shape=shape)
    with caplog.at_level(logging.WARNING):
        seen = engine.run({"x": x})["y"]
    expected = plainly(model, {"x": x}, mac)[0]["y"]
    assert np.isnan(expected).any()
    np.testing.assert_array_equal(seen, expected)
    assert (engine.counts["first"].nan, engine.counts["first"].inf) == (1, 2)
    assert engine.counts["first"].made > 0
    told = [record.getMessage() for record in caplog.records if "layer first" in record.getMessage()]
    assert len(told) == 1
    assert told[0].startswith("layer first: 1 NaN and 2 infinities among its activations, ")
    assert told[0].endswith("results that are no finite number; they are carried on")
    engine.run({"x": x})
    assert engine.counts["first"].nan == 2, "counts add up over runs"
    assert not engine.configured(mac).counts


def test_padding_is_a_real_product(make, plainly):
    """Zero padding times an infinite weight is NaN, as in the chain."""
    weights = normal(1, 2, 1, 3, 3)
    weights[1, 0, 0, 0] = np.inf
    model = make([op("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])], {"w": weights}, [("x", (1, 1, 3, 3))])
    feeds = {"x": np.abs(normal(2, 1, 1, 3, 3))}
    seen, expected = open_engine(model, MAC).run(feeds)["y"], plainly(model, feeds, MAC)[0]["y"]
    np.testing.assert_array_equal(seen, expected)
    assert np.isnan(seen[0, 1, 0]).all()
    assert np.isposinf(seen[0, 1, 1:, 1:]).all()
    assert np.isfinite(seen[0, 0]).all()


def test_numbers_that_the_format_cannot_hold_are_counted(make, caplog):
    model = make([op("MatMul", ["x", "w"], ["y"], name="m")], {"w": np.ones((4, 1), np.float32)}, [("x", (2, 4))])
    x = np.float32([[1, 464, 465, -500], [1, 2, 3, 4]])
    engine = open_engine(model, FloatMac("e4m3", 16, "exact"))
    with caplog.at_level(logging.WARNING):
        y = engine.run({"x": x})["y"]
    assert np.isnan(y[0, 0])
    assert y[1, 0] == 10
    assert engine.counts == {"m": Counts(overflowed=2, made=1)}
    assert "layer m: 2 activations beyond the largest number of the input format, 1 results" in caplog.text
    assert not Counts()


@pytest.mark.parametrize(
    ("format", "kind"),
    [
        ("bf16", ml_dtypes.bfloat16),
        ("fp16", np.float16),
        ("e4m3", ml_dtypes.float8_e4m3fn),
        ("e5m2", ml_dtypes.float8_e5m2),
    ],
)
def test_the_least_number_that_overflows(format, kind):
    limit = np.float32(_limit(FloatMac(format, 24, "exact")))
    below = np.nextafter(limit, np.float32(0))
    with np.errstate(over="ignore"):
        assert not np.isfinite(limit.astype(kind).astype(np.float32))
        assert np.isfinite(below.astype(kind).astype(np.float32))


def test_float32_layers_are_not_counted(networks):
    model, feeds, shape = networks["mlp"]
    x = feeds["x"].copy()
    x[0, 0] = np.nan
    engine = open_engine(model, None, {"last": MAC}, shape)
    engine.run({"x": x})
    assert set(engine.counts) == {"last"}
    assert engine.counts["last"].nan == 7, "the layer before it gave a row of NaN"


# --- shifts ------------------------------------------------------------------------------------------------------------


def shifts_by_hand(mac, a, b):
    """Count what exact normalization would do to each sum of the chains."""
    counts = np.zeros(mac.accumulator_bits + 2, np.int64)
    for row in a:
        for column in b.T:
            state = float_mac.START
            for x, y in zip(row, column, strict=True):
                product = float_mac.multiply_codes(
                    mac, float_mac.nearest_code(mac.format, float(x)), float_mac.nearest_code(mac.format, float(y))
                )
                exponent = max(state.exponent, product.exponent)
                total = sum(
                    (-1) ** s.sign * (s.significand >> (exponent - s.exponent)) for s in (state, product)
                )  # fmt: skip
                bits = abs(total).bit_length()
                counts[-1 if total == 0 else mac.accumulator_bits + 1 - bits] += 1
                state = float_mac.accumulate(mac, state, product)
    return counts


@pytest.mark.parametrize("mac", [MAC, FloatMac("e4m3", 16, "exact")], ids=str)
def test_shifts_are_those_of_the_reference(networks, mac):
    model, feeds, _ = networks["cnn"]
    engine = open_engine(model, mac, shape={"x": feeds["x"].shape})
    histograms = engine.shift_histograms(feeds)
    assert list(histograms) == ["first", "second", "last"]
    for layer in engine.layers:
        by_hand = sum(shifts_by_hand(mac, *engine.operands(feeds, layer.name, index)) for index in range(layer.count))
        np.testing.assert_array_equal(histograms[layer.name], by_hand)
        assert by_hand.sum() == layer.products > 30


def test_shifts_of_some_rows(networks):
    model, feeds, shape = networks["attention"]
    engine = open_engine(model, MAC, {"key": None}, shape)
    whole, some = engine.shift_histograms(feeds), engine.shift_histograms(feeds, rows=4)
    assert "key" not in whole
    assert whole["query"].sum() == 10 * 8 * 8
    assert some["query"].sum() == 4 * 8 * 8
    assert some["scores"].sum() == 4 * 1 * 4 * 5, "one row of each of the four products"
    conv, given, shape = networks["cnn"]
    assert open_engine(conv, MAC, shape=shape).shift_histograms(given, rows=5)["first"].sum() == 5 * 18 * 4


def test_operands_multiply_to_the_layer_s_result(networks):
    model, feeds, shape = networks["cnn"]
    engine = open_engine(model, None, shape=shape)
    a, b = engine.operands(feeds, "first")
    assert (a.shape, b.shape) == ((2 * 3 * 5, 18), (18, 4))
    weights = next(t for t in model.graph.initializer if t.name == "k1")
    np.testing.assert_array_equal(b, np.frombuffer(weights.raw_data, np.float32).reshape(4, 18).T)
    image = np.pad(feeds["x"], ((0, 0), (0, 0), (1, 1), (1, 1)))
    np.testing.assert_array_equal(a[15 + 5 + 2], image[1, :, 2:5, 2:5].reshape(-1))
    parts = [engine.operands(feeds, "second", group) for group in range(2)]
    assert [(x.shape, w.shape) for x, w in parts] == [((24, 8), (8, 3))] * 2
    assert not np.array_equal(parts[0][0], parts[1][0])


# --- the plot ----------------------------------------------------------------------------------------------------------


def test_the_plot_shows_every_layer_and_every_shift(networks, tmp_path):
    model, feeds, shape = networks["attention"]
    engine = open_engine(model, MAC, {"key": FloatMac("bf16", 24, "exact")}, shape)
    histograms = engine.shift_histograms(feeds)
    write_shifts(tmp_path / "shifts.svg", histograms, "a <b> & c")
    root = ElementTree.fromstring((tmp_path / "shifts.svg").read_text(encoding="utf-8"))
    assert root.tag == f"{SVG}svg"
    words = [element.text for element in root.iter(f"{SVG}text")]
    assert "a <b> & c" in words
    assert set(histograms) <= set(words)
    assert [f"{shift}" for shift in range(24)] == [w for w in words if w.isdigit()]
    drawing = shift_drawing(histograms)
    assert drawing.sums == sum(int(counts.sum()) for counts in histograms.values())
    assert len(drawing.bars) == 26
    assert len(drawing.cells) == sum(int((counts > 0).sum()) for counts in histograms.values())
    total = sum(np.concatenate([c[:-1], np.zeros(26 - len(c), np.int64), c[-1:]]) for c in histograms.values())
    heights = np.array([bar.height for bar in drawing.bars])
    np.testing.assert_array_equal(np.argsort(-heights, kind="stable")[:3], np.argsort(-total, kind="stable")[:3])
    assert ((heights > 0) == (total / total.sum() > 1e-6)).all()


def test_heights_are_logarithms_of_shares():
    counts = np.zeros(22, np.int64)
    counts[[1, 2, 3]] = 1_000_000 - 1000 - 1, 1000, 1
    drawing = shift_drawing({"one": counts})
    assert [bar.words for bar in drawing.bars[:4]] == ["never", "100 %", "0.1 %", "0.0001 %"]
    assert drawing.bars[2].height == pytest.approx(drawing.bars[1].height / 2, rel=1e-3)
    assert drawing.bars[3].height == 0
    assert drawing.bars[2].y + drawing.bars[2].height == pytest.approx(drawing.bars[1].y + drawing.bars[1].height)


def test_odd_histograms_are_drawn_too():
    assert "0 sums" in plot_shifts({})
    many = {f"layer{i}": np.full(22, i) for i in range(LAYERS + 3)}
    drawing = shift_drawing(many)
    assert (len(drawing.rows), drawing.hidden) == (LAYERS, 3)
    assert drawing.rows[0].name == "layer3", "the layers with the fewest sums are left out"
    assert "3 smaller layers have no row" in plot_shifts(many)
    hostile = plot_shifts({"<script>\x00": np.ones(22, np.int64)})
    assert "<script>" not in hostile
    assert re.search(r"[\x00-\x08]", hostile) is None


# --- memory ------------------------------------------------------------------------------------------------------------

MEASURED = """
import resource, sys
import numpy as np
from onnx import helper, numpy_helper, TensorProto
from approxhw.numerics.mac.arithmetic import FloatMac
from approxhw.engine.matrix.api import open_engine
kind, width = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(1)
if kind == "conv":  # patches of 1600 x 147456: 0.9 GB if they were made at once
    node, shape = helper.make_node("Conv", ["x", "w"], ["y"], pads=[2, 2, 2, 2]), (1, 64, 384, 384)
    weights = rng.normal(size=(1, 64, 5, 5)).astype(np.float32)
else:  # 128 MiB of weights
    node, shape = helper.make_node("MatMul", ["x", "w"], ["y"]), (4, 2048)
    weights = rng.normal(size=(2048, 16384)).astype(np.float32)
graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], [numpy_helper.from_array(weights, "w")])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
import onnx
onnx.save(model, sys.argv[3])
small = rng.normal(size=shape).astype(np.float32)
first = weights.reshape(len(weights), -1)[:, :5].copy()
del model, graph, node, weights
engine = open_engine(sys.argv[3], FloatMac("bf16", width, "an-1-2"), threads=2)
y = engine.run({"x": small})["y"]
mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
far = abs(y[:, :5] - small @ first).max() if kind == "matmul" else 0
print(mib, y.size, float(far), float(abs(y).max()))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "width", "allowed"), [("conv", 20, 1100), ("matmul", 24, 900)])
def test_layers_beyond_memory_stream(kind, width, allowed, tmp_path):
    """The greatest size of a process that makes a model, reads it and runs it; 2 GiB over the model itself are the promise.

    Where kernels have to be compiled first, that takes up to 500 MiB of it.
    """
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, kind, str(width), str(tmp_path / "m.onnx")],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    mib, count, far, greatest = map(float, done.stdout.split())
    assert count == (384 * 384 if kind == "conv" else 4 * 16384)
    assert far < 0.02 * math.sqrt(2048)
    assert greatest > 10
    assert mib < allowed
