"""Activations at the ends of columns: a residual block and a feed-forward part stream through RTL as the interpreter says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from layer_values import check_layers
from onnx import TensorProto, helper, numpy_helper

import approxhw as ax
from approxhw.artifacts.steps import read_graph
from approxhw.common.errors import GraphError, OptionError, PassError
from approxhw.frontends.products.partition import open_model
from approxhw.frontends.products.writing import onnx_of
from approxhw.ir.kinds import Lookup
from approxhw.ir.pass_manager import PassContext, run_passes
from approxhw.ir.tensor.run import walk_tensors
from approxhw.ir.text import parse_graph, print_graph
from approxhw.ir.verifier import verify
from approxhw.numerics.functions.units import unit_value

RNG = np.random.default_rng(3)
SMALL = {"rows": 4, "columns": 4, "vectors": 16, "library": "egfet"}


def held(name, *shape, scale=0.4):
    return numpy_helper.from_array((RNG.normal(size=shape) * scale).astype(np.float32), name)


def number(name, value):
    return numpy_helper.from_array(np.array(value, np.float32), name)


def model_of(nodes, arrays, x, y):
    told = [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)]
    graph = helper.make_graph(nodes, "g", told, [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)], arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def silu(source, made):
    return [
        helper.make_node("Sigmoid", [source], [f"{made}_gate"]),
        helper.make_node("Mul", [source, f"{made}_gate"], [made]),
    ]


def gelu(source, made):
    return [
        helper.make_node("Div", [source, "root"], [f"{made}_1"]),
        helper.make_node("Erf", [f"{made}_1"], [f"{made}_2"]),
        helper.make_node("Add", [f"{made}_2", "one"], [f"{made}_3"]),
        helper.make_node("Mul", [source, f"{made}_3"], [f"{made}_4"]),
        helper.make_node("Mul", [f"{made}_4", "half"], [made]),
    ]


GELU = [number("root", np.sqrt(2.0)), number("one", 1.0), number("half", 0.5)]


def residual_block():
    """8 x 8 images of 4 channels: two convolutions, SiLU between them and a sum with the input, then a classifier."""
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="first", pads=[1, 1, 1, 1]),
        *silu("c1", "a1"),
        helper.make_node("Conv", ["a1", "w2", "b2"], ["c2"], name="second", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c2", "x"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["a2"]),
        helper.make_node("Conv", ["a2", "w3"], ["c3"], name="third"),
        helper.make_node("LeakyRelu", ["c3"], ["a3"], alpha=0.125),
        helper.make_node("Conv", ["a3", "w4"], ["y"], name="last"),
    ]
    arrays = [held("w1", 4, 4, 3, 3), held("b1", 4), held("w2", 4, 4, 3, 3), held("b2", 4), held("w3", 3, 4, 1, 1)]
    return model_of(nodes, [*arrays, held("w4", 2, 3, 1, 1)], ["n", 4, 8, 8], ["n", 2, 8, 8])


def feed_forward():
    """n = 4 positions of d = 8: GELU as exporters write it, and tanh in front of the last product."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["m1"], name="up"),
        helper.make_node("Add", ["m1", "b1"], ["h1"]),
        *gelu("h1", "a1"),
        helper.make_node("MatMul", ["a1", "w2"], ["h2"], name="down"),
        helper.make_node("Tanh", ["h2"], ["a2"]),
        helper.make_node("MatMul", ["a2", "w3"], ["y"], name="head"),
    ]
    arrays = [held("w1", 8, 16), held("b1", 16), held("w2", 16, 8), held("w3", 8, 3), *GELU]
    return model_of(nodes, arrays, ["n", 4, 8], ["n", 4, 3])


IMAGES, POSITIONS = (RNG.normal(size=(24, *shape)).astype(np.float32) for shape in ((4, 8, 8), (4, 8)))


def streamed(made, simulator, count):
    """Stream every layer of the engine *made*, and return how many result words there were."""
    words = 0
    for layer in range(count):
        verdict = made.simulate(simulator, layer=str(layer), vectors=24)
        assert verdict.mismatches == 0
        assert verdict.words > 0
        words += verdict.words
    return words


def test_a_residual_block_streams_layer_by_layer(simulator, tmp_path):
    made, _ = check_layers(residual_block(), IMAGES, ax.IntegerEngine(activation="pwl", **SMALL), tmp_path / "e")
    assert [layer.result for layer in made.design.layers] == ["codes", "sums", "codes", "sums"]
    assert len(made.design.engine["units"]) == 2
    assert [int(made.design.operands[layer.operands]["unit"].max()) for layer in made.design.layers] == [1, 0, 2, 0]
    assert streamed(made, simulator, 4) == 4 * 24


def test_a_feed_forward_part_streams_layer_by_layer(simulator, tmp_path):
    target = ax.IntegerEngine(activation="pade", max_ulp=2.0, **SMALL)
    made, _ = check_layers(feed_forward(), POSITIONS, target, tmp_path / "e")
    assert [layer.result for layer in made.design.layers] == ["codes", "codes", "sums"]
    assert streamed(made, simulator, 3) > 20
    opened = ax.open_folder(tmp_path / "e")
    assert opened.design.engine["units"] == made.design.engine["units"]
    graph = read_graph(max((tmp_path / "e" / "steps").glob("*.axir")))
    tables = [node for node in graph.nodes if isinstance(node.op, Lookup)]
    assert [node.op.unit.kind for node in tables] == ["pade", "pade"]
    for node in tables:
        assert node.op.table == tuple(unit_value(node.op.unit, code - 256 * (code > 127)) for code in range(256))


@pytest.mark.slow
def test_ends_with_units_are_told_beside_ends_without(tmp_path):
    labels = np.arange(len(POSITIONS)) % 3
    np.savez(tmp_path / "rows.npz", x=POSITIONS[:, 0], labels=labels)
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["m"], name="up"),
        helper.make_node("Tanh", ["m"], ["t"]),
        helper.make_node("MatMul", ["t", "w2"], ["y"], name="head"),
    ]
    model = model_of(nodes, [held("w1", 8, 4), held("w2", 4, 3)], ["n", 8], ["n", 3])
    target = ax.IntegerEngine(activation="table", **SMALL)
    made = ax.compile(model, target=target, data=tmp_path / "rows.npz", output=tmp_path / "e")
    found = made.estimate()
    ends = next(part for part in found["estimate"]["parts"] if part["part"] == "column ends")
    plain = found["plain_ends"]
    assert plain["count"] == ends["count"] == 4
    assert 0 < plain["area_um2"] < ends["area_um2"] < 1.5 * plain["area_um2"]
    assert plain["power_mw"] < ends["power_mw"]
    assert made.summary()["estimate"]["plain_ends"] == plain


def passed(model, rows, passes):
    opened = open_model(model, {"x": rows.shape}, integers=True)

    def observe(graph, seen):
        walk_tensors(graph, {"x": rows}, opened.host, None, seen)

    from approxhw.ir.rewriting import Reshaping

    context = PassContext(observe=observe, reshaping=Reshaping(opened.apart, opened.typed))
    return opened, *run_passes(opened.graph, passes, context)


CODES = "quantize-model,integer-products,"


def test_tables_are_near_the_model_and_go_out_as_onnx():
    rows = POSITIONS[:8]
    # of weights of 7 bits, since onnxruntime saturates sums of two products on machines without VNNI
    codes = CODES.replace("model", "model{weight_bits=7}")
    opened, graph, ledger = passed(feed_forward(), rows, f"{codes}approximate-activation{{unit=table}}")
    assert sum(isinstance(node.op, Lookup) for node in graph.nodes) == 2
    assert ledger[-1].notes[0].startswith("a1_codes: x * (erf((x / 1.41421)) + 1) * 0.5 by a table of 256 codes")
    values = walk_tensors(graph, {"x": rows}, opened.host, None)
    plain = walk_tensors(opened.graph, {"x": rows}, opened.host, None)
    away = values[graph.output] - plain[opened.graph.output]
    assert np.sqrt(np.mean(away**2)) < 0.05 * np.std(plain[opened.graph.output])
    assert parse_graph(print_graph(graph)) == graph
    written = onnx_of(graph)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    (out,) = onnxruntime.InferenceSession(written.SerializeToString(), options).run(None, {"x": rows})
    assert np.abs(out - values[graph.output]).max() < 0.02


UNARY = [
    ("Relu", {}), ("Sigmoid", {}), ("Tanh", {}), ("Softplus", {}), ("LeakyRelu", {"alpha": 0.2}), ("HardSwish", {}),
    ("HardSigmoid", {"alpha": 0.3}), ("Elu", {"alpha": 0.7}), ("Celu", {"alpha": 0.7}), ("Selu", {}), ("Mish", {}),
    ("ThresholdedRelu", {"alpha": 0.4}), ("Softsign", {}), ("Erf", {}), ("Exp", {}), ("Abs", {}), ("Sin", {}),
]  # fmt: skip


def test_functions_are_those_of_onnxruntime():
    from approxhw.numerics.functions.formulas import formula_values
    from approxhw.passes.activations._functions import FunctionsBehind

    checked = 0
    x = np.linspace(-6, 6, 2001).astype(np.float32)[:, None]
    for kind, attributes in UNARY:
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
            helper.make_node(kind, ["d"], ["f"], **attributes),
            helper.make_node("Mul", ["f", "s"], ["m"]),
            helper.make_node("Clip", ["m", "low", "high"], ["c"]),
            helper.make_node("MatMul", ["c", "one"], ["y"]),
        ]
        step, zero = number("s", 0.05), numpy_helper.from_array(np.array(0, np.int8), "z")
        bounds = [number("low", -0.1), number("high", 0.2), number("one", [[1.0]])]
        model = model_of(nodes, [step, zero, *bounds], ["n", 1], ["n", 1])
        model.opset_import[0].version = 18
        opened = open_model(model, {"x": x.shape}, integers=True)
        graph = opened.apart(opened.graph)
        clipped = graph[graph.output].inputs[0]
        found = FunctionsBehind(graph).of(clipped)
        seen = {}
        walk_tensors(
            graph, {"x": x}, opened.host, None, lambda node, value, seen=seen: seen.__setitem__(node.name, value)
        )
        made = formula_values(found.formula, seen[found.base].astype(np.float64))
        assert np.abs(made - seen[clipped]).max() < 1e-5, kind
        checked += 1
    assert checked == len(UNARY) > 0


def test_what_is_no_function_of_one_value_stays_and_is_told():
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["m1"], name="up"),
        helper.make_node("Softmax", ["m1"], ["s"]),
        helper.make_node("MatMul", ["s", "w2"], ["m2"], name="down"),
        helper.make_node("Mul", ["m2", "m1"], ["p"]),
        helper.make_node("MatMul", ["p", "w3"], ["m3"], name="third"),
        helper.make_node("Tanh", ["m3"], ["t"]),
        helper.make_node("MatMul", ["t", "w4"], ["m4"], name="last"),
        helper.make_node("Add", ["m3", "m4"], ["y"]),
    ]
    arrays = [held(f"w{i}", 8, 8) for i in range(1, 5)]
    model = model_of(nodes, arrays, ["n", 4, 8], ["n", 4, 8])
    _, graph, ledger = passed(model, POSITIONS[:8], f"{CODES}approximate-activation{{unit=pwl}}")
    assert not any(isinstance(node.op, Lookup) for node in graph.nodes)
    told = ledger[-1].notes
    assert any("stays on the host: Softmax (s) is no function of one value that a unit makes" in note for note in told)
    assert any("joins 2 values: a unit reads one" in note for note in told)
    assert any("reads what layer third makes, too" in note for note in told)
    assert told[-1] == "there is no table of a function: nothing changed"


def test_rows_are_needed_for_the_scale_of_a_unit():
    opened, graph, _ = passed(feed_forward(), POSITIONS[:8], CODES.rstrip(","))
    from approxhw.ir.rewriting import Reshaping

    context = PassContext(reshaping=Reshaping(opened.apart, opened.typed))
    with pytest.raises(PassError, match="a unit behind sums gets its scale from training rows, and there are none"):
        run_passes(graph, "approximate-activation{unit=pwl}", context)


def test_numbers_that_are_none_are_refused():
    rows = POSITIONS[:8].copy()
    _, graph, _ = passed(feed_forward(), rows, CODES.rstrip(","))
    opened = open_model(feed_forward(), {"x": rows.shape}, integers=True)

    def observe(graph, seen):
        def broken(node, value):
            seen(node, np.full_like(value, np.nan) if value.dtype.kind == "f" else value)

        walk_tensors(graph, {"x": rows}, opened.host, None, broken)

    from approxhw.ir.rewriting import Reshaping

    context = PassContext(observe=observe, reshaping=Reshaping(opened.apart, opened.typed))
    with pytest.raises(PassError, match="some of its numbers are infinite or no numbers"):
        run_passes(graph, "approximate-activation{unit=pwl}", context)


@pytest.mark.parametrize(("change", "said"), [
    ({"table": (0,) * 128, "unit": None}, "its table has 128 codes; a tensor Graph looks up 8-bit codes in 256"),
    ({"table": (0,) * 255 + (300,), "unit": None}, "its table makes 0 to 300, which are no u8"),
])  # fmt: skip
def test_tables_that_are_none_are_refused(change, said):
    _, graph, _ = passed(feed_forward(), POSITIONS[:8], f"{CODES}approximate-activation{{unit=table}}")
    node = next(node for node in graph.nodes if isinstance(node.op, Lookup))
    broken = replace(node, op=replace(node.op, **change))
    nodes = tuple(broken if each is node else each for each in graph.nodes)
    with pytest.raises(GraphError, match=said):
        verify(replace(graph, nodes=nodes))


def test_a_kind_that_is_none_is_refused():
    with pytest.raises(OptionError, match="activation: 'curve' is not one of none, table, compressed-table, pwl"):
        ax.IntegerEngine(activation="curve").check()
    with pytest.raises(OptionError, match=r"max_ulp: -1\.0 is not a number from 0 on"):
        ax.IntegerEngine(activation="pwl", max_ulp=-1.0).check()
