"""ConvTranspose on the engine: sizes and values of onnxruntime for every attribute, bits of a plain evaluation, its text."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from approxhw.common.errors import ApproxhwError
from approxhw.engine.matrix.api import open_engine
from approxhw.ir.kinds.tensor.ops import ConvTranspose
from approxhw.ir.text import parse_graph, print_graph
from approxhw.numerics.mac.arithmetic import FloatMac

MAC = FloatMac("bf16", 20, "an-1-2")


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def network(make, image, weights, *, bias=True, **given):
    channels = weights[1] * given.get("group", 1)
    constants = {"w": normal(2, *weights)} | ({"b": normal(3, channels)} if bias else {})
    node = helper.make_node("ConvTranspose", ["x", *constants], ["y"], name="up", **given)
    return make([node], constants, [("x", ("N", *image[1:]))]), {"x": normal(1, *image)}


CASES = [
    ((2, 2, 4), (2, 3, 3), {}),
    ((1, 2, 3, 4), (2, 1, 3, 2), {"strides": [2, 3], "pads": [1, 0, 0, 1]}),
    ((2, 4, 3, 3), (4, 2, 2, 2), {"group": 2, "strides": [2, 2], "output_padding": [1, 0]}),
    ((1, 3, 3, 2), (3, 1, 2, 3), {"group": 3, "dilations": [2, 2], "bias": False}),
    ((1, 1, 3, 3), (1, 2, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ((1, 1, 3, 3), (1, 2, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    ((1, 1, 3, 3), (1, 2, 3, 3), {"strides": [3, 2], "auto_pad": "VALID", "kernel_shape": [3, 3]}),
    ((1, 2, 3, 3), (2, 2, 3, 3), {"strides": [3, 2], "output_shape": [8, 6]}),
    ((1, 2, 3, 3), (2, 2, 3, 3), {"strides": [3, 2], "output_shape": [8, 6], "auto_pad": "SAME_UPPER"}),
    ((1, 2, 3, 2, 2), (2, 1, 2, 2, 1), {"strides": [1, 2, 2], "output_padding": [0, 1, 1], "pads": [1, 0, 0, 0, 0, 0]}),
    ((1, 2, 2, 2), (2, 1, 1, 1), {"strides": [3, 3]}),
]


@pytest.mark.parametrize(("image", "weights", "given"), CASES)
def test_equal_to_onnxruntime(make, session, image, weights, given):
    model, feeds = network(make, image, weights, **given)
    wanted = session(model, feeds)["y"]
    shape = {"x": image}
    np.testing.assert_array_equal(open_engine(model, None, shape=shape).run(feeds)["y"], wanted)
    near = open_engine(model, FloatMac("fp16", 24, "exact"), shape=shape).run(feeds)["y"]
    assert near.shape == wanted.shape
    np.testing.assert_allclose(near, wanted, rtol=4e-3, atol=2e-2)


def test_bits_are_those_of_its_products_added_in_order(make, plainly):
    """Products of channels by the reference on integers; places of filters that meet are added in float32, the first first."""
    model, feeds = network(make, (2, 4, 3, 2), (4, 2, 2, 3), group=2, strides=[1, 2], pads=[0, 1, 1, 0])
    x, w, b = feeds["x"], normal(2, 4, 2, 2, 3), normal(3, 4)
    whole = np.zeros((2, 4, 4, 5), np.float32)
    for group in range(2):
        part = w[2 * group : 2 * group + 2]
        node = helper.make_node("MatMul", ["x", "w"], ["y"])
        rows = np.moveaxis(x[:, 2 * group : 2 * group + 2], 1, -1)
        made, steps = plainly(make([node], {"w": part.reshape(2, -1)}, [("x", rows.shape)]), {"x": rows}, MAC)
        assert steps == 2 * 3 * 2 * 2 * 12
        made = np.moveaxis(made["y"], -1, 1).reshape(2, 2, 2, 3, 3, 2)
        for i, j in np.ndindex(2, 3):
            whole[:, 2 * group : 2 * group + 2, i : i + 3, j : j + 3 : 2] += made[:, :, i, j]
    expected = whole[:, :, :3, 1:] + b.reshape(1, 4, 1, 1)
    engine = open_engine(model, MAC, shape={"x": (1, 4, 3, 2)})
    seen = engine.run(feeds)["y"]
    np.testing.assert_array_equal(seen.view(np.uint32), expected.view(np.uint32))
    (layer,) = engine.layers
    assert (layer.op, layer.count, layer.m, layer.k, layer.n) == ("ConvTranspose", 2, 6, 2, 12)
    streams, stays = engine.operands(feeds, "up", 1)
    np.testing.assert_array_equal(streams[:6], x[0, 2:].reshape(2, 6).T)
    np.testing.assert_array_equal(stays, w[2:].reshape(2, 12))


def test_its_text_is_read_back(make):
    model, _ = network(make, (1, 2, 3, 3), (2, 2, 3, 3), strides=[3, 2], output_shape=[8, 6], group=1)
    graph = open_engine(model, MAC, shape={"x": (1, 2, 3, 3)}).graph
    (node,) = [node for node in graph.nodes if isinstance(node.op, ConvTranspose)]
    assert node.op.output_shape == (8, 6)
    assert parse_graph(print_graph(graph)) == graph


MISFITS = [
    ((1, 2, 3, 3), (3, 2, 3, 3), {}, "2 channels, filters of 3 × 2 × 3 × 3 and 1 groups do not go together"),
    ((1, 2, 3, 3), (2, 2, 3, 3), {"strides": [1]}, "are not those of 2 axes"),
    ((1, 2, 3, 3), (2, 2, 3, 3), {"kernel_shape": [2, 2]}, "kernel_shape is 2 × 2, the weights have 3 × 3"),
    ((1, 2, 1, 1), (2, 2, 1, 1), {"pads": [1, 1, 1, 1]}, "its pads leave nothing of 1 × 1"),
    ((1, 2, 3, 3), (2, 2, 3, 3), {"output_shape": [1]}, "output_shape 1 is not that of 2 axes"),
]


@pytest.mark.parametrize(("image", "weights", "given", "why"), MISFITS)
def test_what_does_not_fit_is_refused(make, image, weights, given, why):
    model, _ = network(make, image, weights, bias=False, **given)
    with pytest.raises(ApproxhwError) as error:
        open_engine(model, MAC, shape={"x": image})
    assert why in str(error.value)
