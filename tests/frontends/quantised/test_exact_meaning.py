"""A quantised model as an integer Graph decides as its ONNX nodes do in exact fractions, ties included: random networks."""

from __future__ import annotations

import numpy as np
import pytest
from exact_onnx import evaluate, fractions
from onnx import TensorProto, helper, numpy_helper

from approxhw.frontends import read_model
from approxhw.ir.interpreter import run
from approxhw.ir.verifier import verify

QONNX = "qonnx.custom_op.general"
MODES = ("ROUND", "HALF_EVEN", "FLOOR", "CEIL", "UP", "DOWN", "HALF_UP", "HALF_DOWN")
F32 = np.float32


class Network:
    """A random quantised network in the making, a node at a time."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes, self.constants = [], {}
        self.qonnx = bool(self.rng.random() < 0.5)
        self.binary = bool(self.rng.random() < 0.7)
        self.features = int(self.rng.integers(1, 4))

    def constant(self, array) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def node(self, op, inputs, domain="", **attributes) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], domain=domain, **attributes))
        return name

    def scale(self, size=None):
        """Powers of two make ties frequent; 3 · 2^-k makes them of factors that are none; others are anything."""
        rng = self.rng
        pick = 0.5 if self.binary else rng.random()
        if pick < 0.6:
            return F32(2.0 ** rng.integers(-3, 2, size))
        if pick < 0.75:
            return F32(1.5 * 2.0 ** rng.integers(-2, 1, size))
        return F32(rng.uniform(0.05, 1.5, size))

    def activation(self, value, first=False):
        rng, bits = self.rng, int(self.rng.integers(1, 5 if not first else 4))
        scale = self.constant(self.scale())
        if not self.qonnx:
            signed = rng.random() < 0.5
            kind = np.int8 if signed else np.uint8
            low = -(1 << bits) // 2 if signed else 0
            zero = self.constant(kind(rng.integers(low, low + (1 << bits))))
            code = self.node("QuantizeLinear", [value, scale, zero])
            low, high = self.constant(kind(low)), self.constant(kind(low + (1 << bits) - 1))
            if rng.random() < 0.8:
                code = self.node("Clip", [code, low, high])
            else:
                code = self.node("Min", [self.node("Max", [code, low]), high])
            return self.node("DequantizeLinear", [code, scale, zero])
        if rng.random() < 0.1:
            return self.node("BipolarQuant", [value, scale], QONNX)
        signed = int(rng.random() < 0.5)
        zero = F32(0 if bits == 1 or rng.random() < 0.6 else rng.integers(-2, 3))
        numbers = [scale, self.constant(zero), self.constant(F32(bits))]
        narrow = int(bits > 1 and rng.random() < 0.3)
        mode = str(rng.choice(MODES)) if rng.random() < 0.6 else "ROUND"
        made = self.node("Quant", [value, *numbers], QONNX, signed=signed, narrow=narrow, rounding_mode=mode)
        if rng.random() < 0.1 and bits > 2 and not zero:
            numbers = [scale, self.constant(F32(0)), self.constant(F32(bits)), self.constant(F32(bits - 1))]
            made = self.node("Trunc", [made, *numbers], QONNX, rounding_mode=str(rng.choice(MODES)))
        return made

    def layer(self, value, inputs, outputs):
        rng, bits = self.rng, int(self.rng.integers(2, 5))
        by_channel = rng.random() < 0.5
        top = (1 << (bits - 1)) - 1
        if self.qonnx:
            scale = self.scale((1, outputs)) if by_channel else self.scale()
            # runtimes divide constants by their scale in float32: ties there are ties of fractions for powers of two alone
            steps = rng.integers(-2 * top - 2, 2 * top + 3, (inputs, outputs)) / (2 if self.binary else 2.25)
            weight = steps * np.asarray(scale, np.float64)
            numbers = [self.constant(scale), self.constant(F32(0)), self.constant(F32(bits))]
            w = self.node("Quant", [self.constant(weight.astype(F32)), *numbers], QONNX,
                          signed=1, narrow=1, rounding_mode="ROUND")  # fmt: skip
        else:
            codes = rng.integers(-top - 1, top + 1, (inputs, outputs)).astype(np.int8)
            scale = self.scale(outputs) if by_channel else self.scale()
            zero = np.zeros(outputs, np.int8) if by_channel else np.int8(rng.integers(-1, 2))
            w = self.node("DequantizeLinear", [self.constant(codes), self.constant(scale), self.constant(zero)], axis=1)
        bias = self.constant((rng.integers(-24, 25, outputs) / 16).astype(F32))
        if rng.random() < 0.5:
            alpha, beta = (1.0, 1.0) if rng.random() < 0.7 else (-0.5, 2.0)
            return self.node("Gemm", [value, w, bias], alpha=alpha, beta=beta)
        return self.node("Add", [self.node("MatMul", [value, w]), bias])

    def between(self, value, count):
        """Something that is linear or rectifies, of each channel; scales of 0 and below too."""
        rng, quarter = self.rng, lambda: (self.rng.integers(-6, 7, count) / 4).astype(F32)
        match int(rng.integers(0, 10)):
            case 0:
                return self.node("Mul", [value, self.constant(quarter())])
            case 1:
                return self.node("Sub", [self.constant(quarter()), value])
            case 2:
                return self.node("Div", [value, self.constant(F32(rng.choice([3.0, -1.5, 4.0])))])
            case 3:
                root = rng.integers(1, 5, count)
                epsilon = 2.0**-10
                parts = [quarter(), quarter(), quarter(), (root**2 / 4 - epsilon).astype(F32)]
                return self.node("BatchNormalization", [value, *map(self.constant, parts)], epsilon=epsilon)
            case 4 | 5 | 6:
                return self.node("Relu", [value])
            case 7:
                return self.node("Clip", [value, self.constant(F32(-0.75)), self.constant(F32(1.25))])
        return value

    def bend(self, value, count, few):
        """An activation that is none of ReLU; *few*: the value has few codes, so that a table can be made."""
        rng = self.rng
        match int(rng.integers(0, 6 if few else 4)):
            case 0:
                return self.node("LeakyRelu", [value], alpha=float(F32(rng.choice([0.25, 0.1, 1.5, 0.0]))))
            case 1:
                return self.node("PRelu", [value, self.constant(F32(rng.choice([0.5, -0.25, 0.3])))])
            case 2:
                return self.node("PRelu", [value, self.constant((rng.integers(-3, 6, count) / 4).astype(F32))])
            case 3:
                return self.node("HardSigmoid", [value], alpha=0.25, beta=0.5)
            case 4:
                return self.node("HardSwish", [value])
        return self.node("ThresholdedRelu", [value], alpha=float(rng.choice([0.5, -0.75, 1.25])))

    def branches(self, value, width):
        """A hidden value and a layer of it, added up or side by side, with something behind; and how wide that is."""
        rng = self.rng
        bent = self.activation(self.bend(value, width, few=True)) if rng.random() < 0.5 else value
        outputs = width if rng.random() < 0.6 else int(rng.integers(1, 4))
        layer = self.between(self.layer(bent, width, outputs), outputs)
        if rng.random() < 0.4:
            layer = self.bend(layer, outputs, few=False)
        other = self.activation(layer) if rng.random() < 0.8 else layer
        if outputs != width or rng.random() < 0.4:
            made, width = self.node("Concat", [value, other], axis=1), width + outputs
        else:
            made = self.node(str(rng.choice(["Add", "Sub"])), [value, other])
            if rng.random() < 0.3:
                made = self.node("Add", [made, value])
        made = self.between(made, width)
        return (self.activation(made) if rng.random() < 0.8 else made), width

    def model(self, branched=False):
        rng = self.rng
        value, width = "x", self.features
        if rng.random() < 0.25:
            value = self.node("Mul", [value, self.constant(F32(rng.choice([0.5, 0.75, -1.0])))])
        value = self.activation(value, first=True)
        for _ in range(int(rng.integers(0, 2))):
            outputs = int(rng.integers(1, 4))
            value = self.between(self.layer(value, width, outputs), outputs)
            value, width = self.activation(self.between(value, outputs)), outputs
        if branched:
            value, width = self.branches(value, width)
        single = rng.random() < 0.3
        outputs = 1 if single else int(rng.integers(2, 6))
        value = self.between(self.between(self.layer(value, width, outputs), outputs), outputs)
        if rng.random() < 0.15:
            value = self.activation(value)
        if single:
            op = str(rng.choice(["Greater", "GreaterOrEqual", "Less", "LessOrEqual"]))
            y = self.node(op, [value, self.constant((rng.integers(-8, 9, 1) / 8).astype(F32))])
        else:
            y = self.node("ArgMax", [value], axis=1, keepdims=0)
        kind = TensorProto.BOOL if single else TensorProto.INT64
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", self.features])]
        graph = helper.make_graph(
            self.nodes, "net", inputs, [helper.make_tensor_value_info(y, kind, None)],
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )  # fmt: skip
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid(QONNX, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8), y


def readings(graph, seed, grid):
    """Readings at, between, and halfway between those that codes stand for; only the former where a float32 division decides."""
    encoding, n = graph.input.op.encoding, graph.input.type.elements
    rng = np.random.default_rng(seed)
    steps, offsets = encoding.steps(), encoding.offsets()
    quarters = rng.integers(-6, 4 << encoding.bits, (40, n)) / 4
    if grid and encoding.rule == "linear":
        quarters = np.rint(quarters)
    return (offsets + quarters * steps).astype(F32)


@pytest.mark.parametrize("block", range(4))
def test_decisions_are_those_of_exact_fractions(block):
    rows_seen = ties = 0
    for seed in range(100 * block, 100 * block + 100):
        network = Network(seed)
        model, y = network.model()
        graph = read_model(model)
        verify(graph)
        assert graph.is_integer
        rows = readings(graph, seed, grid=not network.binary)
        codes, _ = graph.input.op.encoding.encode(rows)
        expected = evaluate(model, fractions(rows), y).reshape(-1)
        seen = run(graph, codes)
        assert seen.tolist() == expected.tolist(), seed
        rows_seen += len(rows)
        scores = evaluate(model, fractions(rows), model.graph.node[-1].input[0])
        ties += sum(sorted(row)[-1] == sorted(row)[-2] for row in scores.tolist() if len(row) > 1)
    assert rows_seen == 4_000
    assert ties > 200


@pytest.mark.parametrize("block", range(4))
def test_branches_and_bends_are_those_of_exact_fractions(block):
    """Sums, values side by side, leaky ReLU and its kin, hard swish: 0 rows differ."""
    seen_kinds, rows_seen = set(), 0
    for seed in range(5000 + 60 * block, 5060 + 60 * block):
        network = Network(seed)
        model, y = network.model(branched=True)
        graph = read_model(model)
        verify(graph)
        assert graph.is_integer
        rows = readings(graph, seed, grid=not network.binary)[:20]
        codes, _ = graph.input.op.encoding.encode(rows)
        expected = evaluate(model, fractions(rows), y).reshape(-1)
        assert run(graph, codes).tolist() == expected.tolist(), seed
        rows_seen += len(rows)
        seen_kinds |= {node.kind for node in graph.nodes}
    assert rows_seen == 1200
    assert {"add", "concat", "lookup", "requantize"} <= seen_kinds
