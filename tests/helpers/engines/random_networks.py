"""Seeded random ONNX networks with channels of every kind of tie: sums, joins, norms, depthwise filters, flattening, heads."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

CLASSES = 4


class _Net:
    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.held = [], []

    def held_as(self, name, array):
        self.held.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weights(self, *shape, scale=1.0):
        array = (scale * self.rng.standard_normal(shape)).astype(np.float32)
        return self.held_as(f"w{len(self.held)}", array)

    def add(self, kind, inputs, **attributes):
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def model(self, shape, output, opset=17):
        self.nodes.append(helper.make_node("Identity", [output], ["logits"]))
        graph = helper.make_graph(
            self.nodes,
            "random",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", *shape])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", CLASSES])],
            self.held,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def random_convolutions(seed):
    """Return a network of images of 2 × 6 × 6 whose channels are tied in as many ways as *seed* draws."""
    net = _Net(seed)
    rng = net.rng
    x, channels = "x", 2

    def conv(x, into, out, kernel, group=1):
        bias = [net.weights(out)] if rng.random() < 0.5 else []
        pads = [kernel // 2] * 4
        weights = net.weights(out, into // group, kernel, kernel, scale=0.5)
        return net.add("Conv", [x, weights, *bias], kernel_shape=[kernel] * 2, pads=pads, group=group)

    for _ in range(int(rng.integers(3, 6))):
        choice = rng.integers(6)
        out = int(rng.integers(2, 6))
        if choice == 0:
            x, channels = net.add("Relu", [conv(x, channels, out, 3)]), out
        elif choice == 1:  # residual
            inner = net.add("Relu", [conv(x, channels, out, 3)])
            x = net.add("Relu", [net.add("Add", [conv(inner, out, channels, 1), x])]) if x != "x" else inner
            channels = channels if x != inner else out
        elif choice == 2:  # joined
            left, right = conv(x, channels, out, 1), net.add("Sigmoid", [conv(x, channels, 3, 3)])
            x, channels = net.add("Concat", [left, right], axis=1), out + 3
        elif choice == 3 and x != "x":  # depthwise, with several filters a channel at times
            each = int(rng.integers(1, 3))
            x, channels = net.add("Relu", [conv(x, channels, each * channels, 3, group=channels)]), each * channels
        elif choice == 4 and x != "x":
            scale = [
                net.held_as(f"n{len(net.held)}_{i}", rng.uniform(0.5, 2, channels).astype(np.float32)) for i in range(4)
            ]
            x = net.add("BatchNormalization", [x, *scale])
        else:
            x, channels = net.add("LeakyRelu", [conv(x, channels, out, 3)], alpha=0.1), out
            slope = net.held_as(f"s{len(net.held)}", rng.uniform(0, 1, (channels, 1, 1)).astype(np.float32))
            x = net.add("PRelu", [x, slope])
    if x == "x":
        x, channels = conv(x, channels, 4, 3), 4
    if rng.random() < 0.5:
        x = net.add("Flatten", [net.add("GlobalAveragePool", [x])], axis=1)
        size = channels
    else:
        x = net.add("MaxPool", [x], kernel_shape=[3, 3], strides=[3, 3])
        size = 4 * channels
        if rng.random() < 0.5:
            x = net.add("Flatten", [x], axis=1)
        else:
            x = net.add("Reshape", [x, net.held_as(f"r{len(net.held)}", np.array([0, size]))])
    hidden = int(rng.integers(3, 7))
    x = net.add("Tanh", [net.add("Gemm", [x, net.weights(hidden, size), net.weights(hidden)], transB=1, alpha=0.5)])
    return net.model((2, 6, 6), net.add("Gemm", [x, net.weights(hidden, CLASSES), net.weights(CLASSES)], beta=2.0))


def random_encoder(seed):
    """Return a transformer's encoder layer or two over 5 tokens; shapes of heads are constants, or joined of computed sizes."""
    net = _Net(seed)
    rng = net.rng
    heads, each = int(rng.integers(2, 5)), int(rng.integers(2, 4))
    width = int(rng.integers(4, 8))
    inner = heads * each
    x = "x"

    def dense(x, into, out, bias=True):
        made = net.add("MatMul", [x, net.weights(into, out, scale=0.5)])
        return net.add("Add", [net.weights(out), made]) if bias else made

    def split(x):
        if rng.random() < 0.5:
            shape = net.held_as(f"r{len(net.held)}", np.array([0, 0, heads, each]))
        else:
            first = net.add(
                "Slice", [net.add("Shape", [x]), *(net.held_as(f"r{len(net.held)}", np.array([at])) for at in (0, 2))]
            )
            ends = [net.held_as(f"r{len(net.held)}", np.array([size])) for size in (heads, each)]
            shape = net.add("Concat", [first, *ends], axis=0)
        return net.add("Transpose", [net.add("Reshape", [x, shape])], perm=[0, 2, 1, 3])

    for _ in range(int(rng.integers(1, 3))):
        q, k, v = (split(dense(x, width, inner, bias)) for bias in (True, False, True))
        scores = net.add("MatMul", [q, net.add("Transpose", [k], perm=[0, 1, 3, 2])])
        scale = net.held_as(f"c{len(net.held)}", np.array(each**-0.5, np.float32))
        chances = net.add("Softmax", [net.add("Mul", [scores, scale])], axis=-1)
        joined = net.add("Transpose", [net.add("MatMul", [chances, v])], perm=[0, 2, 1, 3])
        shape = net.held_as(f"r{len(net.held)}", np.array([0, 0, (inner, -1)[int(rng.integers(2))]]))
        made = dense(net.add("Reshape", [joined, shape]), inner, width)
        ends = [net.weights(width), net.weights(width)]
        x = net.add("LayerNormalization", [net.add("Add", [x, made]), *ends], axis=-1)
        hidden = int(rng.integers(4, 9))
        wide = dense(x, width, hidden)
        half = net.held_as(f"c{len(net.held)}", np.array(0.5, np.float32))
        gelu = net.add("Mul", [net.add("Mul", [wide, half]), net.add("Erf", [wide])])
        x = net.add("Add", [x, dense(gelu, hidden, width)])
    pooled = net.add("ReduceMean", [x], axes=[1], keepdims=0)
    return net.model((5, width), dense(pooled, width, CLASSES))
