"""LSTM, GRU and RNN written out over time: equal to onnxruntime (batch first: to ONNX itself), and to the plain evaluation."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from approxhw.common.errors import UnsupportedModelError
from approxhw.engine.matrix.api import open_engine
from approxhw.frontends.products.recurrent import unroll
from approxhw.numerics.mac.arithmetic import FloatMac

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
LENGTH, BATCH, INPUTS, HIDDEN = 3, 2, 3, 4


def network(kind, *, parts="bh", outputs=None, length=LENGTH, dtype=np.float32, seed=1, **attributes):
    """Return a model of one recurrent node, and rows. *parts*: b, bias; h, initial states; p, peepholes; s, lengths."""
    rng = np.random.default_rng(seed)
    ways, gates = 2 if attributes.get("direction") == "bidirectional" else 1, GATES[kind]
    first = bool(attributes.get("layout"))
    state = (BATCH, ways, HIDDEN) if first else (ways, BATCH, HIDDEN)
    sizes = {
        "W": (ways, gates * HIDDEN, INPUTS),
        "R": (ways, gates * HIDDEN, HIDDEN),
        "B": (ways, 2 * gates * HIDDEN) if "b" in parts else None,
        "lengths": (BATCH,) if "s" in parts else None,
        "h": state if "h" in parts else None,
        "c": state if "h" in parts and kind == "LSTM" else None,
        "P": (ways, 3 * HIDDEN) if "p" in parts else None,
    }
    tensors = [
        numpy_helper.from_array(
            np.full(size, 2, np.int32) if name == "lengths" else rng.normal(size=size).astype(dtype), name
        )
        for name, size in sizes.items()
        if size and name not in "hc"
    ]
    inputs = ["x", *(name if size else "" for name, size in sizes.items())]
    while not inputs[-1]:
        inputs.pop()
    made = outputs or (("Y", "Yh", "Yc") if kind == "LSTM" else ("Y", "Yh"))
    node = helper.make_node(kind, inputs, list(made), name="cell", hidden_size=HIDDEN, **attributes)
    shape = (BATCH, length, INPUTS) if first else (length, BATCH, INPUTS)
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    fed = {"x": shape, **{name: sizes[name] for name in "hc" if sizes[name]}}
    graph = helper.make_graph(
        [node],
        "recurrent",
        [helper.make_tensor_value_info(name, element, size) for name, size in fed.items()],
        [helper.ValueInfoProto(name=name) for name in made if name],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model, {name: rng.normal(size=[n or LENGTH for n in size]).astype(dtype) for name, size in fed.items()}


NETWORKS = [
    ("LSTM", {}),
    ("LSTM", {"parts": ""}),
    ("LSTM", {"parts": "bhp", "direction": "bidirectional"}),
    ("LSTM", {"parts": "p", "direction": "reverse"}),
    ("LSTM", {"outputs": ("", "", "Yc"), "direction": "bidirectional"}),
    ("GRU", {}),
    ("GRU", {"parts": "", "direction": "reverse"}),
    ("GRU", {"parts": "b", "linear_before_reset": 1}),
    ("GRU", {"direction": "bidirectional", "linear_before_reset": 1, "outputs": ("Y",)}),
    ("GRU", {"parts": "h", "linear_before_reset": 1, "outputs": ("", "Yh")}),
    ("RNN", {"direction": "bidirectional"}),
    ("RNN", {"parts": "", "activations": ["Relu"]}),
    ("LSTM", {"activations": ["Sigmoid", "Tanh", "Relu"]}),
]


@pytest.mark.parametrize(("kind", "how"), NETWORKS)
def test_equal_to_onnxruntime_and_to_the_plain_evaluation(session, plainly, kind, how):
    model, feeds = network(kind, **how)
    wanted, seen = session(model, feeds), open_engine(model, None).run(feeds)
    assert seen.keys() == wanted.keys()
    for name, array in wanted.items():
        assert seen[name].shape == array.shape
        np.testing.assert_allclose(seen[name], array, rtol=1e-5, atol=1e-6)
    mac = FloatMac("bf16", 20, "an-1-2")
    expected, steps = plainly(unroll(model)[0], feeds, mac)
    engine = open_engine(model, mac)
    for name, array in engine.run(feeds).items():
        np.testing.assert_array_equal(array.view(np.uint32), expected[name].view(np.uint32))
    assert sum(layer.products for layer in engine.layers) == steps > 0


@pytest.mark.parametrize("kind", GATES)
def test_batch_first_is_equal_to_the_reference_of_onnx(kind):
    model, feeds = network(kind, layout=1)
    seen = open_engine(model, None).run(feeds)
    for array, wanted in zip(seen.values(), ReferenceEvaluator(model).run(None, feeds), strict=True):
        assert array.shape == wanted.shape
        np.testing.assert_allclose(array, wanted, rtol=1e-5, atol=1e-6)


def test_every_step_is_a_layer_and_the_first_without_a_state_has_none():
    with_state = [layer.name for layer in open_engine(network("LSTM")[0], None).layers]
    assert with_state == ["cell.forward.inputs", *(f"cell.forward.step{i}" for i in range(LENGTH))]
    without = open_engine(network("GRU", parts="b")[0], None).layers
    assert {(layer.m, layer.k, layer.n) for layer in without} == {
        (LENGTH * BATCH, INPUTS, 3 * HIDDEN),
        (BATCH, HIDDEN, 2 * HIDDEN),
        (BATCH, HIDDEN, HIDDEN),
    }
    assert len(without) == 1 + 2 * (LENGTH - 1)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats_keep_their_type(dtype):
    model, feeds = network("GRU", dtype=dtype)
    single, same = network("GRU")
    seen, wanted = open_engine(model, None).run(feeds), open_engine(single, None).run(same)
    assert seen["Y"].dtype == dtype
    np.testing.assert_allclose(seen["Y"], wanted["Y"], rtol=1e-2, atol=1e-2)


STAY = [
    ({"length": None}, "its sequence length is open; export the model with a fixed one"),
    ({"clip": 1.0}, "it clips its gates"),
    ({"input_forget": 1}, "its input and forget gates are coupled"),
    ({"parts": "bs"}, r"rows have lengths of their own \(sequence_lens\)"),
    ({"activations": ["HardSigmoid", "Tanh", "Tanh"]}, "its activations are others than Sigmoid, Tanh and Relu"),
    ({"length": 2000}, "more than 1024 steps are not written out"),
]


@pytest.mark.parametrize(("how", "why"), STAY)
def test_others_stay_and_say_why(how, why):
    model, _ = network("LSTM", **how)
    with pytest.raises(
        UnsupportedModelError, match=rf"node 'cell' \(LSTM\) runs in onnxruntime, not on the engine: {why}"
    ):
        open_engine(model, None, shape={"x": (LENGTH, BATCH, INPUTS)} if how.get("length", 1) is None else None)


def test_a_length_that_other_nodes_fix_is_found(session):
    model, feeds = network("RNN", length=None)
    node = helper.make_node("Reshape", ["x", "shape"], ["fixed"])
    model.graph.initializer.append(numpy_helper.from_array(np.array([LENGTH, BATCH, INPUTS]), "shape"))
    model.graph.node[0].input[0] = "fixed"
    model.graph.node.insert(0, node)
    engine = open_engine(model, None, shape={"x": (LENGTH, BATCH, INPUTS)})
    assert len(engine.layers) == 1 + LENGTH
    np.testing.assert_allclose(engine.run(feeds)["Y"], session(model, feeds)["Y"], rtol=1e-5, atol=1e-6)
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
