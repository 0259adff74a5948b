"""Models for the tests of the engine, and a plain evaluation of them: node by node, products by the reference on integers."""

from __future__ import annotations

import itertools
import struct

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from approxhw.numerics.mac import float_mac


def number(code, result):
    """Return the float32 of a code of the column's end."""
    return np.frombuffer(struct.pack("<I", code if result == "float32" else code << 16), "<f4")[0]


class Plain:
    """Products of one arithmetic as loops over Python integers; ``steps`` counts the multiply-adds."""

    def __init__(self, mac, result="float32"):
        self.mac, self.result, self.steps, self.codes = mac, result, 0, {}

    def code(self, value):
        value = np.float32(value)
        key = value.tobytes()
        if key not in self.codes:
            self.codes[key] = float_mac.nearest_code(self.mac.format, float(value))
        return self.codes[key]

    def dot(self, a, b):
        state = float_mac.START
        for x, y in zip(a, b, strict=True):
            state = float_mac.step(self.mac, state, self.code(x), self.code(y))
            self.steps += 1
        return number(float_mac.finish(state, self.result, self.mac.accumulator_bits), self.result)

    def matmul(self, a, b):
        a2, b2 = (a if a.ndim > 1 else a[None]), (b if b.ndim > 1 else b[:, None])
        batch = np.broadcast_shapes(a2.shape[:-2], b2.shape[:-2])
        a2, b2 = np.broadcast_to(a2, (*batch, *a2.shape[-2:])), np.broadcast_to(b2, (*batch, *b2.shape[-2:]))
        out = np.zeros((*batch, a2.shape[-2], b2.shape[-1]), np.float32)
        for at in np.ndindex(*out.shape):
            out[at] = self.dot(a2[(*at[:-2], at[-2])], b2[(*at[:-2], slice(None), at[-1])])
        out = out if a.ndim > 1 else out[..., 0, :]
        return out if b.ndim > 1 else out[..., 0]

    def gemm(self, a, b, c=None, alpha=1.0, beta=1.0, transA=0, transB=0):  # noqa: N803
        out = np.float32(alpha) * self.matmul(a.T if transA else a, b.T if transB else b)
        return out if c is None else out + np.float32(beta) * c

    def conv(self, x, w, bias=None, *, group=1, strides=None, dilations=None, pads=None, **ignored):
        axes = x.ndim - 2
        strides, dilations, pads = strides or [1] * axes, dilations or [1] * axes, pads or [0] * 2 * axes
        sizes = [
            (n + before + after - d * (k - 1) - 1) // s + 1
            for n, k, s, d, before, after in zip(x.shape[2:], w.shape[2:], strides, dilations, pads, pads[axes:])
        ]
        out = np.zeros((x.shape[0], w.shape[0], *sizes), np.float32)
        for at in np.ndindex(*out.shape):
            image, filter_, place = at[0], at[1], at[2:]
            first = filter_ // (w.shape[0] // group) * w.shape[1]
            seen, weights = [], []
            for channel, *kernel in itertools.product(*map(range, w.shape[1:])):
                spot = [p * s + k * d - b for p, s, k, d, b in zip(place, strides, kernel, dilations, pads)]
                inside = all(0 <= i < n for i, n in zip(spot, x.shape[2:]))
                seen.append(x[(image, first + channel, *spot)] if inside else np.float32(0))
                weights.append(w[(filter_, channel, *kernel)])
            out[at] = self.dot(seen, weights)
            if bias is not None:
                out[at] += np.float32(bias[filter_])
        return out


def alone(node, opset, operands):
    """Return what onnxruntime makes of one node, by itself."""
    kinds = {n: helper.np_dtype_to_tensor_dtype(a.dtype) for n, a in operands.items()}
    inputs = [helper.make_tensor_value_info(name, kind, None) for name, kind in kinds.items()]
    outputs = [helper.ValueInfoProto(name=name) for name in node.output]
    graph = helper.make_graph([node], "one", inputs, outputs)
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, operands)


@pytest.fixture(scope="session")
def plainly():
    """Evaluate a model node by node → its outputs by name, and how many multiply-adds it took."""

    def evaluate(model, feeds, mac, result="float32", layers=None):
        values = dict(feeds) | {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        steps = 0
        for node in model.graph.node:
            operands = [values[name] for name in node.input]
            given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            unit = Plain((layers or {}).get(node.name, mac), result)
            kind = {"MatMul": unit.matmul, "Gemm": unit.gemm, "Conv": unit.conv}.get(node.op_type)
            if kind is None or unit.mac is None:
                made = alone(node, model.opset_import, dict(zip(node.input, operands)))
                values.update(zip(node.output, made))
                continue
            with np.errstate(all="ignore"):
                values[node.output[0]] = kind(*operands, **given)
            steps += unit.steps
        return {value.name: values[value.name] for value in model.graph.output}, steps

    return evaluate


@pytest.fixture(scope="session")
def make():
    """A model of nodes, constants by name, inputs and outputs as (name, shape[, type])."""

    def model(nodes, constants=None, inputs=(("x", ("N", 4)),), outputs=("y",), opset=17, functions=(), domains=()):
        def info(name, shape, kind=TensorProto.FLOAT):
            return helper.make_tensor_value_info(name, kind, shape)

        tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
        graph = helper.make_graph(
            list(nodes), "graph", [info(*e) for e in inputs], [helper.ValueInfoProto(name=n) for n in outputs], tensors
        )
        imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
        return helper.make_model(graph, opset_imports=imports, ir_version=8, functions=list(functions))

    return model


@pytest.fixture(scope="session")
def session():
    """Return the outputs that onnxruntime gives a whole model."""

    def run(model, feeds):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        made = onnxruntime.InferenceSession(model.SerializeToString(), options)
        return dict(zip([o.name for o in made.get_outputs()], made.run(None, feeds)))

    return run


def normal(seed, *shape, scale=1.0):
    return np.random.default_rng(seed).normal(scale=scale, size=shape).astype(np.float32)


@pytest.fixture(scope="session")
def networks(make):
    """Three small networks, each with inputs: (model, feeds, shape)."""
    op = helper.make_node
    mlp = make(
        [
            op("Gemm", ["x", "w1", "b1"], ["h"], name="hidden", transB=1, alpha=0.75),
            op("Relu", ["h"], ["r"]),
            op("MatMul", ["r", "w2"], ["m"], name="last"),
            op("Add", ["m", "b2"], ["y"]),
        ],
        {"w1": normal(1, 7, 9), "b1": normal(2, 7), "w2": normal(3, 7, 5), "b2": normal(4, 5)},
        [("x", ("N", 9))],
    )
    cnn = make(
        [
            op("Conv", ["x", "k1", "c1"], ["a"], name="first", pads=[1, 1, 1, 1], strides=[2, 1]),
            op("Relu", ["a"], ["b"]),
            op("Conv", ["b", "k2"], ["c"], name="second", group=2, dilations=[1, 2], pads=[0, 1, 1, 0]),
            op("GlobalAveragePool", ["c"], ["d"]),
            op("Flatten", ["d"], ["e"]),
            op("Gemm", ["e", "w", "v"], ["y"], name="last", transB=1, beta=0.5),
        ],
        {
            "k1": normal(5, 4, 2, 3, 3),
            "c1": normal(6, 4),
            "k2": normal(7, 6, 2, 2, 2),
            "w": normal(8, 3, 6),
            "v": normal(9, 3),
        },
        [("x", ("N", 2, 6, 5))],
    )
    attention = make(
        [
            op("MatMul", ["x", "wq"], ["q"], name="query"),
            op("MatMul", ["x", "wk"], ["k"], name="key"),
            op("MatMul", ["x", "wv"], ["v"], name="value"),
            op("Reshape", ["q", "parts"], ["q4"]),
            op("Reshape", ["k", "parts"], ["k4"]),
            op("Reshape", ["v", "parts"], ["v4"]),
            op("Transpose", ["q4"], ["qh"], perm=[0, 2, 1, 3]),
            op("Transpose", ["k4"], ["kt"], perm=[0, 2, 3, 1]),
            op("Transpose", ["v4"], ["vh"], perm=[0, 2, 1, 3]),
            op("MatMul", ["qh", "kt"], ["s"], name="scores"),
            op("Softmax", ["s"], ["p"], axis=-1),
            op("MatMul", ["p", "vh"], ["o"], name="mixed"),
            op("Transpose", ["o"], ["ot"], perm=[0, 2, 1, 3]),
            op("Reshape", ["ot", "whole"], ["oo"]),
            op("MatMul", ["oo", "wo"], ["pr"], name="output"),
            op("Add", ["pr", "x"], ["y"]),
        ],
        {
            **{name: normal(seed, 8, 8, scale=0.4) for seed, name in enumerate(("wq", "wk", "wv", "wo"), 10)},
            "parts": np.array([0, 0, 2, 4]),
            "whole": np.array([0, 0, 8]),
        },
        [("x", ("N", "T", 8))],
    )
    return {
        "mlp": (mlp, {"x": normal(20, 6, 9)}, {"x": (1, 9)}),
        "cnn": (cnn, {"x": normal(21, 2, 2, 6, 5)}, {"x": (1, 2, 6, 5)}),
        "attention": (attention, {"x": normal(22, 2, 5, 8)}, {"x": (1, 5, 8)}),
    }
