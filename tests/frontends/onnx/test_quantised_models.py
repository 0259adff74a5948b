"""QDQ and QONNX models become integer Graphs with their own scales, and agree with onnxruntime's unfused execution."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from approxhw.common.errors import InvalidModelError, UnsupportedModelError
from approxhw.frontends import read_model
from approxhw.frontends.runtime.reference import open_reference
from approxhw.ir.interpreter import run, run_all

RNG = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def _same_numbers_in_every_order():
    RNG.bit_generator.state = np.random.default_rng(3).bit_generator.state


def f32(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def node(op, inputs, outputs, name=None, domain="", **attributes):
    return helper.make_node(op, inputs, outputs, name=name or outputs[0], domain=domain, **attributes)


@pytest.fixture(scope="module")
def float_model(build, tmp_path_factory):
    """A 6-9-4 network with a BatchNormalization-free ReLU layer, on disk, and rows for it."""
    nodes = [node("Gemm", ["x", "w0", "b0"], ["g"]), node("Relu", ["g"], ["r"]), node("Gemm", ["r", "w1", "b1"], ["y"])]
    constants = {"w0": f32(6, 9), "b0": f32(9), "w1": f32(9, 4), "b1": f32(4)}
    path = tmp_path_factory.mktemp("qdq") / "net.onnx"
    onnx.save(build(nodes, constants, (("x", ("N", 6)),), opset=13), path)
    return path, RNG.uniform(-1, 3, size=(1500, 6)).astype(np.float32)


def quantised(path, rows, target, activations, weights, per_channel):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.left = iter([{"x": rows[:300]}])

        def get_next(self):
            return next(self.left, None)

    quantize_static(path, target, Reader(), quant_format=QuantFormat.QDQ, activation_type=activations,
                    weight_type=weights, per_channel=per_channel)  # fmt: skip
    return target


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(("activations", "weights"), [("QUInt8", "QInt8"), ("QInt8", "QInt8"), ("QUInt8", "QUInt8"),
                                                      ("QUInt16", "QInt8"), ("QInt16", "QInt16")])  # fmt: skip
def test_qdq_of_onnxruntime(activations, weights, per_channel, float_model, tmp_path):
    from onnxruntime.quantization import QuantType

    path, rows = float_model
    kinds = (getattr(QuantType, activations), getattr(QuantType, weights))
    target = quantised(path, rows, tmp_path / "q.onnx", *kinds, per_channel)
    graph, reference = read_model(target), open_reference(target)
    assert graph.is_integer
    bits = 16 if "16" in activations else 8
    assert (graph.input.type.format.bits, graph.input.type.format.signed) == (bits, False)
    codes, _ = graph.input.op.encoding.encode(rows)
    assert (run(graph, codes) == reference.predict(rows)).mean() >= 0.99

    # the codes of every quantiser, from onnxruntime's own input codes
    names = ["x_QuantizeLinear_Output", "r_QuantizeLinear_Output", "y_QuantizeLinear_Output"]
    x, hidden, scores = ort_values(target, rows, names)
    zero = np.iinfo(x.dtype).min
    assert abs(codes - (x.astype(np.int64) - zero)).max() <= 1
    values = run_all(graph, x.astype(np.int64) - zero)
    made = [n for n in graph.nodes if n.kind == "requantize"]
    assert [n.name for n in made] == ["layer0_code", "layer1_code"]
    for one, expected, name in zip(made, (hidden, scores), ("r", "y"), strict=True):
        own_zero = zero_point(target, f"{name}_zero_point")
        difference = abs((values[one.name] - one.type.format.zero) - (expected.astype(np.int64) - own_zero))
        assert difference.max() <= (1 if name == "r" else 2 if bits == 8 else 8)
        assert (difference <= 1).mean() > 0.99
    assert made[0].type.format.low >= 0
    assert float(made[0].type.format.scale) == scale(target, "r_scale")


def ort_values(path, rows, names):
    import onnxruntime

    model = onnx.load(path)
    for name in names:
        model.graph.output.add().name = name
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(names, {"x": rows})


def tensor(path, name):
    return next(numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer if t.name == name)


def scale(path, name):
    return float(tensor(path, name))


def zero_point(path, name):
    return int(tensor(path, name))


QUANT = "qonnx.custom_op.general"


def qonnx_model(build, *, mode="ROUND", narrow=0, bits=4, channels=False, head="ArgMax"):
    """Brevitas style: Quant on the input, on weights (as parameters), on the activation behind ReLU."""
    outputs = 3 if head == "ArgMax" else 1
    scale = np.abs(f32(1, 5)) + 0.05 if channels else np.float32(0.125)
    constants = {"w0": f32(4, 5), "b0": f32(5), "w1": f32(5, outputs), "sw0": scale}
    numbers = {"zero": 0, "eight": 8, "bits": bits, "sx": 0.25, "sw1": 0.0625, "sa": 0.5}
    constants |= {name: np.float32(value) for name, value in numbers.items()}
    q = {"domain": QUANT, "rounding_mode": mode}
    nodes = [
        node("Quant", ["x", "sx", "zero", "bits"], ["xq"], signed=1, narrow=narrow, **q),
        node("Quant", ["w0", "sw0", "zero", "eight"], ["w0q"], domain=QUANT, signed=1, narrow=1, rounding_mode="ROUND"),
        node("Gemm", ["xq", "w0q", "b0"], ["g"]),
        node("Relu", ["g"], ["r"]),
        node("Quant", ["r", "sa", "zero", "bits"], ["rq"], signed=0, narrow=0, **q),
        node("Quant", ["w1", "sw1", "zero", "eight"], ["w1q"], domain=QUANT, signed=1, narrow=0, rounding_mode="ROUND"),
        node("MatMul", ["rq", "w1q"], ["y"]),
    ]
    return build(nodes, constants, domains=("", QUANT)), constants


def quant(x, scale, bits, signed, narrow, mode="ROUND"):
    """QONNX Quant with zero point 0, from its specification."""
    low, high = (-(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1 - narrow)
    rounded = np.floor(x / scale) if mode == "FLOOR" else np.rint(x / scale)
    return np.clip(rounded, low, high) * scale


@pytest.mark.parametrize("head", ["ArgMax", "Threshold"])
@pytest.mark.parametrize(
    ("mode", "narrow", "bits", "channels"),
    [("ROUND", 0, 4, False), ("ROUND", 1, 4, True), ("FLOOR", 0, 6, False), ("ROUND", 1, 8, True)],
)
def test_qonnx_quant(mode, narrow, bits, channels, head, build):
    model, c = qonnx_model(build, mode=mode, narrow=narrow, bits=bits, channels=channels, head=head)
    graph = read_model(model)
    assert graph.is_integer
    rows = RNG.normal(size=(2000, 4)) * 1.3 + 0.0123
    x = quant(rows, 0.25, bits, True, narrow, mode)
    w0, w1 = (quant(c[f"w{k}"].astype(float), c[f"sw{k}"].astype(float), 8, True, 1 - k) for k in (0, 1))
    hidden = quant(np.maximum(x @ w0 + c["b0"], 0), 0.5, bits, False, 0, mode)
    y = hidden @ w1
    expected = y.argmax(axis=1) if head == "ArgMax" else (y[:, 0] > 0).astype(int)
    codes, _ = graph.input.op.encoding.encode(rows)
    values = run_all(graph, codes)
    fmt = graph.input.type.format
    name = next(n.name for n in graph.nodes if n.kind == "clip") if narrow else "x"
    np.testing.assert_allclose(float(fmt.scale) * (values[name] - fmt.zero), x)
    # scales are powers of two and leave nothing to round, but where channels differ
    assert (values[graph.output] == expected).mean() >= (0.995 if channels else 1.0)


def test_an_activation_before_the_quantiser_becomes_its_bounds(build):
    graph = read_model(qonnx_model(build)[0])
    kinds = [n.kind for n in graph.nodes if n.kind != "constant"]
    assert kinds == ["input", "dense", "requantize", "dense", "argmax"]
    assert graph["layer0_code"].op.low == 0
    assert graph["layer0_code"].type.format.scale == Fraction(1, 2)


def test_a_bias_absorbs_the_zero_point(build):
    """codes 0 … 255 with zero 128: bias code = round(b / (sx · sw)) − 128 · Σ w."""
    constants = {
        "sx": np.float32(0.5), "zx": np.uint8(128), "wq": np.array([[3, -2], [5, 7]], np.int8), "sw": np.float32(0.25),
        "zw": np.int8(0), "b": np.array([1.0, -0.5], np.float32),
    }  # fmt: skip
    nodes = [
        node("QuantizeLinear", ["x", "sx", "zx"], ["q"]),
        node("DequantizeLinear", ["q", "sx", "zx"], ["d"]),
        node("DequantizeLinear", ["wq", "sw", "zw"], ["w"]),
        node("Gemm", ["d", "w", "b"], ["y"], transB=1),
    ]
    graph = read_model(build(nodes, constants, (("x", ("N", 2)),)))
    assert graph.constant("layer0_weight").tolist() == [[3, -2], [5, 7]]
    assert graph.constant("layer0_bias").tolist() == [8 - 128 * 1, -4 - 128 * 12]
    assert graph["layer0_sum"].type.format.scale == Fraction(1, 8)


def test_scaled_features_before_the_first_quantiser_go_into_the_encoding(build, agrees):
    constants = {
        "mean": np.array([10.0, -3.0], np.float32), "spread": np.array([4.0, 0.5], np.float32),
        "wq": np.array([[30, -20, 9], [50, 70, -11]], np.int8), "zw": np.int8(0), "z": np.uint8(120),
        "s": np.float32(0.02), "sw": np.float32(0.01),
    }  # fmt: skip
    nodes = [
        node("Sub", ["x", "mean"], ["m"]),
        node("Div", ["m", "spread"], ["n"]),
        node("QuantizeLinear", ["n", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("DequantizeLinear", ["wq", "sw", "zw"], ["w"]),
        node("MatMul", ["d", "w"], ["y"]),
    ]
    model = build(nodes, constants, (("x", ("N", 2)),))
    graph, reference = read_model(model), open_reference(model)
    rows = (RNG.normal(size=(1000, 2)) * [6, 0.7] + [10, -3]).astype(np.float32)
    codes, _ = graph.input.op.encoding.encode(rows)
    assert (run(graph, codes) == reference.predict(rows)).mean() >= 0.999
    assert graph.input.op.encoding.rule == "exact"


CHAINS = {
    "weights transposed": ["transpose"],
    "quantised before and behind the activation": ["quantise", "relu", "quantise"],
    "activation not quantised again": ["quantise", "relu"],
    "ReLU6": ["clip", "quantise"],
    "BatchNormalization between": ["norm", "relu", "quantise"],
    "negative slope between": ["scale", "quantise"],
    "no quantiser between layers": ["relu"],
    "nothing between layers": [],
}


@pytest.mark.parametrize("tail", ["plain", "quantised", "ArgMax", "single logit"])
@pytest.mark.parametrize("chain", CHAINS)
def test_chains_of_quantisers_and_activations(chain, tail, build):
    outputs = 1 if tail == "single logit" else 3
    constants = {
        "sx": np.float32(0.03), "zx": np.uint8(117), "s": np.float32(0.041), "z": np.int8(-31), "six": np.float32(6),
        "zero": np.float32(0), "sw": np.float32(0.012), "zw": np.int8(0), "b": f32(5), "k": f32(5) - 1,
        "w0": RNG.integers(-127, 128, size=(4, 5)).astype(np.int8), "ones": np.ones(5, np.float32), "m": f32(5),
        "w1": RNG.integers(-127, 128, size=(5, outputs)).astype(np.int8),
    }  # fmt: skip
    if chain == "weights transposed":
        constants["w1"] = constants["w1"].T.copy()
    nodes, value = [], "x"

    def put(op, inputs, **attributes):
        nonlocal value
        nodes.append(node(op, [value, *inputs], [f"v{len(nodes)}"], **attributes))
        value = f"v{len(nodes) - 1}"

    def quantise(scale, zero):
        put("QuantizeLinear", [scale, zero])
        put("DequantizeLinear", [scale, zero])

    quantise("sx", "zx")
    nodes.append(node("DequantizeLinear", ["w0", "sw", "zw"], ["w0f"]))
    nodes.append(node("DequantizeLinear", ["w1", "sw", "zw"], ["w1f"]))
    put("Gemm", ["w0f", "b"])
    for step in CHAINS[chain]:
        if step == "quantise":
            quantise("s", "z")
        elif step == "clip":
            put("Clip", ["zero", "six"])
        elif step == "norm":
            put("BatchNormalization", ["ones", "m", "k", "ones"])
        elif step == "scale":
            put("Mul", ["k"])
        elif step == "relu":
            put("Relu", [])
    if chain == "weights transposed":
        quantise("s", "z")
        nodes.append(node("Transpose", ["w1f"], ["w1t"], perm=[1, 0]))
    put("MatMul", ["w1t" if chain == "weights transposed" else "w1f"])
    if tail == "quantised":
        quantise("s", "z")
    if tail == "ArgMax":
        put("ArgMax", [], axis=1)
    nodes.append(node("Identity", [value], ["y"]))
    kind = TensorProto.INT64 if tail == "ArgMax" else TensorProto.FLOAT
    model = build(nodes, constants, outputs=(("y", None, kind),))
    graph, reference = read_model(model), open_reference(model)
    assert graph.is_integer
    rows = RNG.normal(size=(2000, 4)).astype(np.float32)
    codes, _ = graph.input.op.encoding.encode(rows)
    classes = run(graph, codes)
    assert (classes == reference.predict(rows)).mean() >= 0.99
    assert len(np.unique(classes)) > 1


def qdq(build, *extra, scale=0.5, **constants):
    base = {"s": np.float32(scale), "z": np.uint8(0), "w": f32(4, 3), **constants}
    nodes = [node("QuantizeLinear", ["x", "s", "z"], ["q"]), *extra]
    return build(nodes, base)


def test_float_weights_in_a_quantised_model_are_refused(build):
    nodes = [
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("MatMul", ["d", "w"], ["h"], "layer"),
        node("QuantizeLinear", ["h", "s", "z"], ["hq"]),
        node("DequantizeLinear", ["hq", "s", "z"], ["y"]),
    ]
    with pytest.raises(
        UnsupportedModelError, match=r"node 'layer': its weights are not quantised\n.*quantise the weights"
    ):
        read_model(qdq(build, *nodes))


def test_quantised_weights_alone_are_refused(build):
    constants = {"s": np.float32(0.5), "w": np.array([[1], [2], [3], [4]], np.int8)}
    model = build([node("DequantizeLinear", ["w", "s"], ["d"]), node("MatMul", ["x", "d"], ["y"], "layer")], constants)
    with pytest.raises(
        UnsupportedModelError, match=r"node 'layer': a layer reads values that are not quantised\n.*QuantizeLinear"
    ):
        read_model(model)


def test_codes_are_taken_at_the_scale_that_dequantises_them(build):
    """Other numbers than those of the QuantizeLinear before it: the model says what its codes stand for."""
    constants = {
        "t": np.float32(0.25),
        "p": np.uint8(3),
        "wq": np.array([[3, -2, 1]] * 4, np.int8),
        "sw": np.float32(1),
    }
    nodes = [
        node("DequantizeLinear", ["q", "t", "p"], ["d"]),
        node("DequantizeLinear", ["wq", "sw"], ["wd"]),
        node("MatMul", ["d", "wd"], ["y"]),
    ]
    model = qdq(build, *nodes, **constants)
    graph = read_model(model)
    rows = RNG.normal(size=(300, 4)) * 3
    codes, _ = graph.input.op.encoding.encode(rows)
    np.testing.assert_array_equal(run(graph, codes), open_reference(model).predict(rows))
    assert graph.constant("layer0_bias").tolist() == [-3 * 12, 3 * 8, -3 * 4]


def test_a_scale_of_zero_is_invalid(build):
    model = qdq(build, node("DequantizeLinear", ["q", "s", "z"], ["y"]), scale=0.0)
    with pytest.raises(InvalidModelError, match=r"'q' .*a scale is not greater than 0"):
        read_model(model)


def test_weights_with_one_scale_an_input_are_refused(build):
    constants = {"wq": np.ones((4, 3), np.int8), "sw": np.array([1, 2, 3, 4], np.float32), "zw": np.zeros(4, np.int8)}
    model = qdq(
        build,
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("DequantizeLinear", ["wq", "sw", "zw"], ["wd"], axis=0),
        node("MatMul", ["d", "wd"], ["y"], "layer"),
        **constants,
    )
    with pytest.raises(UnsupportedModelError, match=r"'layer': its weights have one scale an input"):
        read_model(model)


def test_dynamic_and_fused_quantisation_are_refused_with_advice(build):
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], "dynamic"),
        node("MatMulInteger", ["q", "w"], ["i"], "fused"),
        node("Cast", ["i"], ["y"], to=TensorProto.FLOAT),
    ]
    with pytest.raises(UnsupportedModelError) as error:
        read_model(build(nodes, {"w": np.ones((4, 3), np.int8)}))
    assert "'dynamic' (DynamicQuantizeLinear): operator DynamicQuantizeLinear is not supported" in str(error.value)
    assert "quant_format=QuantFormat.QDQ" in str(error.value)
