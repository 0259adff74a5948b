"""Compressed models in onnxruntime: decoded tensors and outputs are those of ``EightBit.decode``, bit for bit."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import approxhw as ax
from approxhw.numerics.eight_bit.codes import EightBit, dynamic8
from approxhw.numerics.eight_bit.tables import KINDS

FORMATS = [
    EightBit(kind, block, maximum)
    for kind in KINDS
    for block, maximum in ((None, "fixed"), (None, "exact"), (None, "pow2"), (64, "exact"), (256, "pow2"))
]
SHAPES = ((16, 32), (20, 17), (3, 5, 7), (256, 2), (1, 64), (2, 3, 4, 11))
"""Whole blocks, a short last block, fewer values than a block, and blocks that are the tensor's own last axis."""


def same_bits(seen: np.ndarray, wanted: np.ndarray) -> bool:
    return seen.dtype == wanted.dtype and seen.shape == wanted.shape and seen.tobytes() == wanted.tobytes()


def holder(make, shapes, opset=17, ir=8, dtype=np.float32, seed=0):
    """A model that reads weights of *shapes* of all sizes: a zero block, subnormals and signed zeros among them."""
    rng, constants, nodes = np.random.default_rng(seed), {}, []
    for number, shape in enumerate(shapes):
        values = rng.normal(size=shape) * 10.0 ** rng.uniform(-3, 1, size=shape)
        flat = values.reshape(-1)
        flat[: flat.size // 3] = rng.choice([0.0, -0.0, 1e-41, -3e-39, 2e-30], size=flat.size // 3)
        constants[f"w{number}"] = values.astype(dtype)
        nodes.append(helper.make_node("Shape", [f"w{number}"], [f"s{number}"]))
    nodes.append(helper.make_node("Identity", ["x"], ["y"]))
    return make(nodes, constants, opset=opset, ir=ir)


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_onnxruntime_decodes_the_bits_of_the_format(format, make, shown_by):
    model = holder(make, SHAPES)
    made = ax.compress_model(model, format, minimum_elements=1)
    onnx.checker.check_model(made.proto, full_check=True)
    compared = 0
    for level in ("none", "default"):
        seen = shown_by(made, {"x": np.zeros((1, 4), np.float32)}, level)
        for tensor in made.tensors:
            before = numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == tensor.name))
            wanted = format.decode(format.encode(before, ragged=True))
            assert same_bits(seen[tensor.name], wanted), (tensor.name, level)
            assert same_bits(tensor.decode(), wanted)
            assert tensor.format == format
            compared += wanted.size
    assert compared == 2 * sum(math.prod(shape) for shape in SHAPES)


@pytest.mark.parametrize("opset", range(7, 25))
def test_a_short_last_block_in_every_opset(make, shown_by, opset):
    made = ax.compress_model(holder(make, [(20, 17)], opset=opset, ir=7), "dynamic8,block=64")
    onnx.checker.check_model(made.proto, full_check=True)
    (tensor,) = made.tensors
    assert tensor.elements % 64
    for level in ("none", "default"):
        assert same_bits(shown_by(made, {"x": np.zeros((1, 4), np.float32)}, level)["w0"], tensor.decode())


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.sampled_from(FORMATS),
    st.lists(st.integers(1, 9), min_size=2, max_size=5),
    st.sampled_from([7, 8, 9, 10, 11, 13, 14, 18, 21]),
    st.sampled_from([np.float32, np.float64, np.float16]),
    st.integers(0, 1000),
)
def test_any_shape_opset_and_type(make, shown_by, format, shape, opset, dtype, seed):
    model = holder(make, [tuple(shape)], opset=opset, ir=7, dtype=dtype, seed=seed)
    made = ax.compress_model(model, format, minimum_elements=1)
    onnx.checker.check_model(made.proto, full_check=True)
    seen = shown_by(made, {"x": np.zeros((1, 4), np.float32)}, "none")["w0"]
    before = numpy_helper.to_array(model.graph.initializer[0])
    assert same_bits(seen, format.decode(format.encode(before, ragged=True)).astype(dtype))


@pytest.mark.parametrize("format", ["dynamic8", "dynamic8,block=256", "linear8,block=64,max=pow2", "static8"])
@pytest.mark.parametrize("level", ["basic", "default"])  # without the optimiser sums may be ordered otherwise
def test_outputs_are_those_of_the_decoded_weights(network, format, level, run):
    model, feeds = network
    made = ax.compress_model(model, format, minimum_elements=100)
    assert len(made.tensors) >= 2
    plain = made.decoded()
    assert [t.name for t in plain.graph.initializer if t.name.startswith("approxhw")] == []
    assert len(plain.graph.node) == len(model.graph.node)
    wanted = run(plain, feeds, level)
    for seen, expected in zip(run(made.proto, feeds, level), wanted, strict=True):
        assert expected.size > 20
        assert np.isfinite(expected).all()
        assert same_bits(seen, expected)
    assert not same_bits(run(model, feeds, level)[0], wanted[0]), "the weights were rounded"


def test_tensors_large_enough_for_the_kernel(make, shown_by):
    model = holder(make, [(64, 257), (100, 100)])
    made = ax.compress_model(model, "dynamic8,block=256")
    seen = shown_by(made, {"x": np.zeros((1, 4), np.float32)})
    small = {t.name: t for t in made.tensors}
    for name, values in seen.items():
        tensor = small[name]
        assert same_bits(values, tensor.decode())
        slow = tensor.format.tables.values[tensor.compressed.codes.reshape(-1)]
        scale = np.repeat(tensor.compressed.maxima, 256)[: slow.size]
        assert same_bits(values, (slow * scale).reshape(tensor.shape))


def test_one_table_for_all_tensors(make):
    made = ax.compress_model(holder(make, SHAPES), "dynamic8,block=64", minimum_elements=1)
    tables = [t for t in made.proto.graph.initializer if list(t.dims) == [256] and t.data_type == TensorProto.FLOAT]
    assert [t.name for t in tables] == ["approxhw/dynamic8"]
    assert sum(n.op_type == "Gather" for n in made.proto.graph.node) == len(SHAPES)
    assert {n.op_type for n in made.proto.graph.node} <= {
        *("Cast", "Gather", "Reshape", "Mul", "Tile", "Slice", "Shape", "Identity")
    }


def test_errors_and_sizes_are_those_of_the_values(make):
    model = holder(make, [(32, 64), (20, 17)])
    format = dynamic8(block=256)
    made = ax.compress_model(model, format, minimum_elements=1)
    for tensor in made.tensors:
        before = numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == tensor.name))
        before = before.astype(np.float64).reshape(-1)
        after = format.decode(format.encode(before, ragged=True)).astype(np.float64)
        assert tensor.mse == pytest.approx(((after - before) ** 2).mean(), rel=1e-12)
        assert tensor.mae == pytest.approx(np.abs(after - before).mean(), rel=1e-12)
        some = before != 0
        assert tensor.relative == pytest.approx((np.abs(after - before)[some] / np.abs(before[some])).mean(), rel=1e-12)
        assert tensor.decoded_zeros == int((some & (after == 0)).sum()) > 0
        blocks = -(-before.size // 256)
        assert tensor.bits_after == 8 * before.size + 32 * blocks
        assert tensor.bits_before == 32 * before.size
    assert made.bytes_before == len(model.SerializeToString())
    assert made.bytes_after == len(made.proto.SerializeToString())
    assert made.ratio == pytest.approx(
        sum(t.bits_before for t in made.tensors) / sum(t.bits_after for t in made.tensors)
    )


def test_a_network_of_more_than_1e5_weights_shrinks_by_3_9(make):
    rng = np.random.default_rng(0)
    layers = {"w0": (784, 256), "w1": (256, 256), "w2": (256, 10)}
    constants = {name: rng.normal(size=shape).astype(np.float32) for name, shape in layers.items()}
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["a"]),
        helper.make_node("MatMul", ["a", "w1"], ["b"]),
        helper.make_node("MatMul", ["b", "w2"], ["y"]),
    ]
    made = ax.compress_model(make(nodes, constants, [("x", (None, 784))]), "dynamic8,block=256")
    assert made.elements > 1e5
    assert made.ratio == pytest.approx(32 / (8 + 32 / 256), rel=1e-4)
    assert made.ratio > 3.9
    assert made.file_ratio > 3.9
