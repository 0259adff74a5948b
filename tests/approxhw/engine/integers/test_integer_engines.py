"""Integer engines whole: compiled from a float network, streamed, measured, told, and refused where something is wrong."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

import approxhw as ax
from approxhw.artifacts.integer_engine import CONSTANTS
from approxhw.backends import estimate as estimating
from approxhw.backends.estimate import estimate
from approxhw.common.errors import InvalidDesignError, OptionError, PassError, UnsupportedModelError
from approxhw.engine.integers.array_parts import integer_parts, resting_vectors
from approxhw.engine.integers.cost import integer_element_cost, tiles_of
from approxhw.engine.integers.rtl import array_from
from approxhw.flow.compile import check, open_folder

LAYERS = ["conv1", "conv2", "fc1", "fc2"]


def test_a_float_network_becomes_an_engine(engine):
    design = engine.design
    assert [layer.name for layer in design.layers] == LAYERS
    assert [layer.result for layer in design.layers] == [
        "sums",
        "sums",
        "codes",
        "sums",
    ]  # the first two go on to a sum, too
    assert {layer.operator for layer in design.layers} == {"truncated-6"}
    assert [row["name"] for row in design.ledger] == [
        "quantize-model",
        "integer-products",
        "approximate-multiplier",
        "correct-bias",
    ]
    assert design.accuracy["onnx"] == 1.0
    assert design.accuracy["rows"] == 32
    assert design.accuracy["engine"] >= 0.9
    assert "the data has one split: its first 32 rows give ranges, the others are reported" in design.warnings
    assert all(layer.operands and layer.tiles and 0 < layer.utilisation <= 1 for layer in design.layers)
    assert "operators: truncated-6" in design.verilog
    again = open_folder(engine.folder)
    assert again.design.layers == design.layers
    assert again.summary()["accuracy"] == dict(design.accuracy)
    assert check(engine.folder.parent / "net.onnx", target="integer-engine") == []


@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_comes_through_the_verilog_bit_for_bit(engine, icarus, layer):
    found = engine.simulate("icarus", layer=layer, vectors=5, columns=5, pause=0.3)
    assert found.mismatches == 0
    assert found.vectors == 5 * min(5, engine.design.layer(layer).n)
    assert found.clocks >= found.least_clocks


def test_a_layer_on_the_other_simulator(engine, verilator):
    assert engine.simulate("verilator", layer="conv2", vectors=9, hold=(40, 30)).mismatches == 0


@pytest.mark.parametrize(
    ("options", "layer"),
    [
        ({"recover": "all", "depth": 2}, "conv1"),  # low bits of activations are summed along the rows
        ({"operator": "leading-3", "adder": "or-3", "recover": "tune"}, "fc1"),
        ({"operator": "exact", "weight_bits": 4}, "conv2"),
        ({"operator": "rounded", "recover": "none"}, "fc2"),
    ],
)
def test_other_engines_are_equal_too(compile_net, icarus, options, layer):
    made = compile_net("other", **{"operator": "truncated-6", **options})
    assert made.simulate("icarus", layer=layer, vectors=4, columns=6, pause=0.2).mismatches == 0
    variates = {each.variate for each in made.design.layers}
    assert (max(variates) > 0) == (options.get("recover") == "all")


def test_a_module_of_ones_own_multiplies(compile_net, files, icarus):
    (files / "mine.v").write_text(
        "// the lowest bit of the product is left out\n"
        "module mine(input signed [7:0] w, input [7:0] x, output signed [15:0] p);\n"
        "  wire signed [15:0] all = {{8{w[7]}}, w} * {8'd0, x};\n  assign p = {all[15:1], 1'b0};\nendmodule\n"
    )
    made = compile_net("mine", operator=str(files / "mine.v"), weight="w")
    assert {layer.operator for layer in made.design.layers} == {"mine.v"}
    assert made.simulate("icarus", layer="fc1", vectors=4).mismatches == 0
    assert open_folder(made.folder).design.engine == made.design.engine


def test_weights_with_a_zero_point_of_their_own(compile_net, files, icarus, tmp_path):
    """Unsigned weights: the row sums of activations take their zero point out."""
    ones = ax.IntegerEngine(operator="exact", rows=4, columns=4, vectors=16)
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    rows = np.load(files / "rows.npz")["x"]

    class Rows(CalibrationDataReader):
        def __init__(self):
            self.rows = iter([{"x": rows[:16]}])

        def get_next(self):
            return next(self.rows, None)

    quantize_static(files / "net.onnx", tmp_path / "q.onnx", Rows(), quant_format=QuantFormat.QDQ,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QUInt8)  # fmt: skip
    made = ax.compile(tmp_path / "q.onnx", target=ones, data=files / "rows.npz", output=tmp_path / "e")
    assert made.design.engine["variate"] == 8
    assert "it is quantised already: its codes stay" in made.design.ledger[0]["notes"]
    assert made.simulate("icarus", layer="conv1", vectors=5).mismatches == 0


def test_an_element_is_measured_on_real_tiles_beside_an_exact_one(engine, monkeypatch):
    made, right = [], estimating.synthesise
    with monkeypatch.context() as patch:
        patch.setattr(
            estimating, "synthesise", lambda text, top, *more, **kw: made.append(top) or right(text, top, *more, **kw)
        )
        found = engine.estimate(clock_ns=5e6)
    assert made.count("integer_end") == 1, "the largest part is mapped once, for sums that move and for those that stay"
    (element,) = found["elements"]
    assert element["operator"] == "truncated-6"
    assert element["checked"] > 100
    (plain,) = found["exact_elements"]
    assert element["area_um2"] < plain["area_um2"]
    assert element["clock_ns"] == plain["clock_ns"] == 5e6
    assert element["made"] == plain["made"] == "reference recipe"
    energy, whole = found["energy"], found["estimate"]
    assert 0 < energy["array_saved"] < energy["saved"] < 1
    assert energy["products_nj"] < energy["exact_nj"]
    clocks = sum(layer.count * layer.clocks for layer in engine.design.layers)
    parts = {row["part"]: row for row in whole["parts"]}
    array, each_nj = array_from(engine.design.engine), 5e6 * 1e-3
    assert energy["clocks"] == clocks
    assert energy["elements_nj"] == pytest.approx(parts["elements"]["power_mw"] * clocks * each_nj)
    ending = sum(layer.count * layer.m * -(-layer.n // array.columns) for layer in engine.design.layers)
    assert energy["inputs"] == {name: list(size) for name, size in engine.design.shape.items()} != {}
    assert 0 < energy["ending_clocks"] == ending < clocks
    end = next(part for part in integer_parts(array) if part.part == "column ends")
    resting = resting_vectors(array)
    assert resting["leaves"].sum() == resting["write"].sum() == 2 * array.banks
    at_rest = end.count * estimate(end.verilog, end.top, "egfet", clock_ns=5e6, vectors=resting).known_power_mw()
    assert 0 < at_rest <= parts["column ends"]["power_mw"]
    working = ending * parts["column ends"]["power_mw"]
    assert energy["ends_nj"] == pytest.approx((working + (clocks - ending) * at_rest) * each_nj)
    assert energy["array_nj"] == pytest.approx(energy["elements_nj"] + energy["ends_nj"])
    assert energy["exact_array_nj"] - energy["array_nj"] == pytest.approx(
        16 * (plain["power_mw"] - element["power_mw"]) * 5e6 * clocks * 1e-3
    )
    assert parts.keys() >= {"elements", "column ends", "control", "skew of rows", "addresses on their way"}
    assert whole["area_mm2"] == pytest.approx(sum(row["area_um2"] for row in whole["parts"]) * 1e-6)
    assert (
        whole["memories"]["sums between tiles (memory)"]
        == 16 * 4 * array_from(engine.design.engine).mac.accumulator_bits
    )
    assert whole["memory_bits"] == sum(whole["memories"].values())
    nothing = ("met", "kept_clock_ns", "peak_gmac_per_s", "memory_area_um2")
    assert all(whole[key] is None for key in nothing), "egfet has neither delay tables nor memories"
    page = engine.report().read_text()
    for word in ("truncated-6", "fc2", "nJ a run", "correct-bias", "whether a clock is kept is not known", "in no sum"):
        assert word in page


@pytest.mark.slow
def test_a_clock_that_the_column_ends_miss_is_told(engine, cli):
    """In sky130 a product of 32 by 31 bits takes more than 8 ns, whatever the elements do."""
    said = cli("estimate", engine.folder, "--library", "sky130", "--clock-ns", "7.5").stdout
    found = engine.summary()["estimate"]
    whole, (element,), (plain,) = found["estimate"], found["elements"], found["exact_elements"]
    assert element["met"] is plain["met"] is True
    assert whole["met"] is False
    slowest = max((row for row in whole["parts"] if "delay_ns" in row), key=lambda row: row["delay_ns"])
    assert slowest["part"] == "column ends"
    assert whole["kept_clock_ns"] == slowest["delay_ns"] > 7.5
    assert whole["peak_gmac_per_s"] == pytest.approx(16 / slowest["delay_ns"])
    assert whole["memory_area_um2"] == pytest.approx(sum(whole["memory_areas_um2"].values()))
    for words in ("for column ends", "clock of 7.5 ns kept", "memories besides: ", "billion products a second at most"):
        assert words in said
    page = engine.report().read_text()
    for words in ("does not keep 7.5 ns", "mm² besides", "OpenRAM macros"):
        assert words in page


def test_no_clock_and_estimates_of_before_are_refused(engine, tmp_path):
    import shutil

    with pytest.raises(OptionError, match=r"0\.0 is no clock period"):
        engine.estimate(clock_ns=0.0)
    shutil.copytree(engine.folder, tmp_path / "engine")
    (tmp_path / "engine" / "estimate").mkdir(exist_ok=True)
    (tmp_path / "engine" / "estimate" / "egfet.json").write_text(json.dumps({"library": "egfet", "parts": []}))
    with pytest.raises(InvalidDesignError, match=r"egfet\.json: no estimate"):
        open_folder(tmp_path / "engine").summary()


def test_an_element_that_is_wrong_is_seen(engine, tmp_path):
    """The netlist of one operator beside the table of another."""
    from approxhw.common.errors import MismatchError

    array = array_from(engine.design.engine)
    name, x, weights, products = tiles_of(engine.design)["truncated-6"]
    wrong = products.copy()
    wrong[:, 77:] += 64
    x = np.maximum(x, 77)
    with pytest.raises(MismatchError, match="netlist of integer<truncated-6"):
        integer_element_cost(
            array, "truncated-6", "egfet", 1e6, (name, x, weights, wrong), mismatch_file=tmp_path / "m.json"
        )
    assert json.loads((tmp_path / "m.json").read_text())["mismatches"] > 0


def test_a_folder_of_another_engine_is_refused(engine, tmp_path):
    import hashlib
    import shutil

    def forged(change):
        folder = tmp_path / "forged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(engine.folder, folder)
        told = json.loads((folder / "design.json").read_text())
        change(folder, told)
        for name in told["files"]:
            if (folder / name).is_file():
                told["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        (folder / "design.json").write_text(json.dumps(told))
        with pytest.raises(InvalidDesignError) as caught:
            open_folder(folder)
        return str(caught.value)

    def other(folder, told):
        told["engine"]["rows"] = 3

    def text(folder, told):
        path = folder / "rtl" / "integer_adder.v"
        path.write_text(path.read_text().replace("+", "-", 1))

    def operands(folder, told):
        arrays = dict(np.load(folder / "operands" / "00.npz"))
        arrays["bias"] = arrays["bias"][:-1]
        np.savez(folder / "operands" / "00.npz", **arrays)

    def products(folder, told):
        arrays = dict(np.load(folder / "operands" / "00.npz"))
        arrays["products"] = arrays["products"].astype(np.int64) << 40
        np.savez(folder / "operands" / "00.npz", **arrays)

    def sizes(folder, told):
        told["layers"][0]["k"] = -1

    assert "its Verilog is that of another one" in forged(other)
    assert "its Verilog is that of another one" in forged(text)
    assert "bias of layer conv1" in forged(operands)
    assert "sizes of layer conv1" in forged(sizes)
    said = forged(products)
    assert "does not fit its files" in said
    assert "products of layer conv1" in said
    assert set(CONSTANTS) < set(np.load(engine.folder / "operands" / "00.npz").files)


@pytest.mark.parametrize("coded", [False, True])
def test_layers_without_an_element_are_named(tmp_path, coded):
    """Whether its codes come with the model or not; by ``check`` as by ``compile``."""
    weights = [("w", np.zeros((4, 0), np.int8 if coded else np.float32)), ("s", np.float32(1)), ("z", np.uint8(0))]
    nodes, operands = [], ["x", "w"]
    if coded:
        nodes = [
            onnx.helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            onnx.helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
            onnx.helper.make_node("DequantizeLinear", ["w", "s"], ["v"]),
        ]
        operands = ["d", "v"]
    nodes.append(onnx.helper.make_node("MatMul", operands, ["y"], name="none"))
    ends = [onnx.helper.make_tensor_value_info(name, 1, [3, size]) for name, size in (("x", 4), ("y", 0))]
    arrays = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in weights]
    graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:], arrays)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    wanted = "layer 'none': it multiplies 3 × 4 by 4 × 0\n    do: look at its sizes: a layer of 0 neurons, or 0 classes"
    (found,) = check(model, target="integer-engine")
    assert str(found) == wanted
    with pytest.raises(UnsupportedModelError) as caught:
        ax.compile(model, target=ax.IntegerEngine(), data={"x": np.zeros((6, 4), np.float32)}, output=tmp_path / "e")
    assert wanted in str(caught.value)


def test_everything_wrong_is_told(files, compile_net, tmp_path, cli):
    with pytest.raises(OptionError) as caught:
        compile_net("wrong", depth=3, rows=0, vectors=3, adder="xor", recover="more", operator="trunkated")
    told = {problem.where for problem in caught.value.problems}
    assert {"depth", "rows", "vectors", "adder", "recover", "approximate-multiplier.operator"} <= told
    with pytest.raises(PassError, match="activations get their ranges from rows, and there are none"):
        ax.compile(files / "net.onnx", target=ax.IntegerEngine(), shape={"x": (1, 1, 8, 8)}, output=tmp_path / "e")
    from approxhw.numerics.multipliers.families import own_operator

    own_operator("truncated-5").table(8, 8).save(tmp_path / "t.npz")
    with pytest.raises(OptionError, match=r"what operator 't\.npz' is made of is not known here: a table has no gates"):
        compile_net("wrong", operator=str(tmp_path / "t.npz"))
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("x", 1, [1, 2])],
        [onnx.helper.make_tensor_value_info("y", 1, [1, 2])],
    )
    with pytest.raises(UnsupportedModelError, match="an engine has nothing to do"):
        ax.compile(onnx.helper.make_model(graph), target=ax.IntegerEngine(), output=tmp_path / "e")


@pytest.mark.parametrize("operator", ["truncated-6,exact", "."])
def test_several_operators_are_led_to_where_they_go(operator):
    with pytest.raises(OptionError) as caught:
        ax.IntegerEngine(operator=operator).check()
    assert f"there is no operator {operator!r}" in str(caught.value)
    assert (
        "do: name one, which may be exact; several go into search --operators, or layer by layer into --layers"
    ) in str(caught.value)
    with pytest.raises(OptionError, match=r"'x' is not one of none, bias, .*\n    do: choose bias, or another of them"):
        ax.IntegerEngine(recover="x").check()


def test_an_adder_that_is_too_coarse_is_named(compile_net):
    with pytest.raises(
        PassError, match=r"by the adder or-30 its sums need \d+ bits, .*\n    do: choose an adder of fewer"
    ):
        compile_net("coarse", adder="or-30")


def test_the_command_line_compiles_simulates_measures_and_reports(files, cli, icarus, verilator, tmp_path):
    options = ["--operator", "truncated-6", "--array", "4x4", "--library", "egfet", "--clock-ns", "5e6"]
    words = ["compile", files / "net.onnx", "--data", files / "rows.npz", "--target", "integer-engine", *options]
    said = cli(*words, "-o", tmp_path / "e").stdout
    for words in (
        "4 products of codes",
        "accuracy on 32 rows",
        "icarus: layer conv1",
        "verilator: layer conv1",
        "fJ a product",
    ):
        assert words in said
    assert (tmp_path / "e" / "report.html").is_file()
    page = tmp_path / "e" / "report.html"
    for command in (["simulate", "--simulator", "icarus", "--rows", "4"], ["estimate", "--clock-ns", "6e6"]):
        page.write_text("what was known before")
        said = cli(command[0], tmp_path / "e", *command[1:])
        assert said.exit_code == 0, said.output
        assert "<h2>Cost</h2>" in page.read_text()
    told = json.loads(cli("report", tmp_path / "e", "--json").stdout)
    assert {run["mismatches"] for run in told["simulation"]} == {0}
    assert told["estimate"]["energy"]["saved"] > 0


def test_a_convolution_with_fewer_places_than_rows_are_kept(tmp_path, icarus):
    """Images of 2 × 2: eight of them have 32 places, fewer than a design keeps of a layer; each channel has a filter."""
    rng = np.random.default_rng(6)
    held = {"w": rng.normal(size=(3, 1, 2, 2)).astype(np.float32)}
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["c"], name="conv", group=3, pads=[1, 0, 0, 1]),
        onnx.helper.make_node("GlobalAveragePool", ["c"], ["g"]),
        onnx.helper.make_node("Flatten", ["g"], ["y"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info("x", 1, ["n", 3, 2, 2])],
        [onnx.helper.make_tensor_value_info("y", 1, ["n", 3])],
        [onnx.numpy_helper.from_array(array, name) for name, array in held.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    data = {"x": rng.normal(size=(20, 3, 2, 2)).astype(np.float32), "labels": np.arange(20) % 3}
    target = ax.IntegerEngine(operator="leading-4", rows=4, columns=2, vectors=16)
    made = ax.compile(model, target=target, data=data, output=tmp_path / "e")
    (layer,) = made.design.layers
    assert (layer.count, layer.m, layer.k, layer.n) == (3, 32, 4, 1)
    assert made.simulate("icarus").mismatches == 0


def test_dynamic_quantisation_has_zero_points_that_are_computed(files, icarus, tmp_path):
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(files / "net.onnx", tmp_path / "dynamic.onnx")
    target = ax.IntegerEngine(operator="truncated-4", rows=4, columns=4, vectors=16, recover="all")
    made = ax.compile(tmp_path / "dynamic.onnx", target=target, data=files / "rows.npz", output=tmp_path / "e")
    assert {layer.result for layer in made.design.layers} == {"sums"}
    assert made.design.accuracy["agree"] > 0.9
    assert made.simulate("icarus", layer="1", vectors=4, columns=4).mismatches == 0
