"""A matrix engine from a model to a folder: what stands in it, what streams through it, what it costs, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from approxhw.cli.main import main
from approxhw.common.errors import InvalidDataError, InvalidDesignError, MismatchError, OptionError, OutputError
from approxhw.engine.matrix.compile import CompiledEngine, compile_engine, open_engine_design
from approxhw.engine.matrix.cost import element_cost, engine_of
from approxhw.engine.matrix.element_feed import operand_words, stimulus
from approxhw.engine.matrix.target import MatrixEngine
from approxhw.numerics.mac.arithmetic import FloatMac
from approxhw.numerics.mac.kernels.codes import to_codes

FEATURES, HIDDEN, CLASSES = 6, 5, 3


def model_of(folder: Path, batch: str | int = "rows") -> Path:
    """Write a small MLP of two Gemms."""
    source = np.random.default_rng(3)
    constants = {
        "w0": source.normal(size=(FEATURES, HIDDEN)),
        "b0": source.normal(size=HIDDEN),
        "w1": source.normal(size=(HIDDEN, CLASSES)),
        "b1": source.normal(size=CLASSES),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "w0", "b0"], ["sum"], name="first"),
            helper.make_node("Relu", ["sum"], ["hidden"]),
            helper.make_node("Gemm", ["hidden", "w1", "b1"], ["y"], name="second"),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, FEATURES])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, CLASSES])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    path = folder / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def rows_of(folder: Path, count: int = 40) -> Path:
    source = np.random.default_rng(4)
    x = source.normal(size=(count, FEATURES)).astype(np.float32)
    np.savez(
        folder / "rows.npz",
        X_train=x,
        y_train=source.integers(0, CLASSES, count),
        X_test=x,
        y_test=np.arange(count) % 3,
    )
    return folder / "rows.npz"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> CompiledEngine:
    """An engine of 4 × 2 elements for the small MLP; nothing writes into its folder but simulations and estimates."""
    folder = tmp_path_factory.mktemp("engine")
    target = MatrixEngine(rows=4, columns=2, vectors=16)
    return compile_engine(model_of(folder), target=target, data=rows_of(folder), output=folder / "out")


def test_the_folder_is_whole_and_reads_back(compiled):
    design = compiled.design
    again = open_engine_design(compiled.folder)
    assert again.design.layers == design.layers
    assert again.verilog == compiled.verilog
    assert [(layer.name, layer.m, layer.k, layer.n) for layer in design.layers] == [
        ("first", 40, 6, 5),
        ("second", 40, 5, 3),
    ]
    # 40 vectors in blocks of 16, five columns in pairs, six rows in fours
    assert [layer.tiles for layer in design.layers] == [3 * 3 * 2, 3 * 2 * 2]
    assert [layer.blocks for layer in design.layers] == [(16, 2, 4)] * 2
    assert all(sum(layer.shifts) == 40 * layer.k * layer.n for layer in design.layers)
    assert design.accuracy["rows"] == 40
    assert set(design.accuracy) == {"onnx", "engine", "agree", "rows", "majority"}
    a, b = again.design.operands["operands/00.npz"]
    assert (a.shape, b.shape, a.dtype) == ((40, 6), (6, 5), np.uint16)
    assert design.top == "matrix_engine"
    assert "// engine: 4 x 2, float-mac<bf16,20,an-1-2>" in compiled.verilog


def test_layers_stream_through_the_verilog_bit_for_bit(compiled, icarus):
    first = compiled.simulate("icarus")
    assert (first.layer, first.vectors, first.mismatches) == ("first", 40 * 5, 0)
    assert first.clocks >= first.least_clocks > 0
    second = compiled.simulate("icarus", layer="1", vectors=9, columns=2, pause=0.4)
    assert (second.layer, second.vectors, second.mismatches) == ("second", 9 * 2, 0)
    with pytest.raises(OptionError, match=r"vectors: 0 is too few(.|\n)*columns: -1 is too few"):
        compiled.simulate("icarus", vectors=0, columns=-1)
    verdicts = sorted((compiled.folder / "simulation").glob("icarus-*/verdict.json"))
    assert [json.loads(path.read_text())["layer"] for path in verdicts] == ["first", "second"]
    page = compiled.report().read_text()
    assert "✓ equal" in page
    assert "Shifts that exact normalization needs" in page


@pytest.mark.slow
def test_on_verilator_too(compiled, verilator):
    found = compiled.simulate("verilator", layer="second")
    assert (found.vectors, found.mismatches) == (120, 0)


def test_a_wrong_engine_is_found(compiled, icarus, tmp_path):
    from dataclasses import replace

    from approxhw.engine.matrix.simulate import simulate_engine

    modules = dict(compiled.design.modules)
    text = modules["float_decode"]
    modules["float_decode"] = text.replace("operand = {code[EXPONENT_BITS+F], is_number", "operand = {1'b0, is_number")
    assert modules["float_decode"] != text
    with pytest.raises(MismatchError, match=r"net: first on icarus: \d+ of \d+ vectors differ"):
        simulate_engine(tmp_path, replace(compiled.design, modules=modules), "icarus")


def test_an_element_on_real_tiles_equals_the_reference_and_costs_something(compiled):
    found = compiled.estimate(clock_ns=40.0)
    pe, whole = found["estimate_pe"], found["estimate"]
    assert pe["checked"] == 4 * 40, "every row of the tile, every vector"
    assert pe["met"] is True
    assert 0 < pe["delay_ns"] <= 40
    assert pe["power_mw"] == pytest.approx(pe["static_power_mw"] + pe["dynamic_power_mw"])
    parts = {row["part"]: row for row in whole["parts"]}
    assert parts["elements"]["area_um2"] == pytest.approx(8 * pe["area_um2"])
    assert whole["area_mm2"] == pytest.approx(sum(row["area_um2"] for row in whole["parts"]) * 1e-6)
    assert whole["memories"]["states between tiles (memory)"] == 16 * 2 * 33
    kept = json.loads((compiled.folder / "estimate/sky130.json").read_text())
    assert kept["estimate"] == whole
    faster = compiled.estimate(clock_ns=20.0)
    assert faster["estimate_pe"]["dynamic_power_mw"] == pytest.approx(2 * pe["dynamic_power_mw"])


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("mac", [FloatMac("bf16", 20, "exact"), FloatMac("e4m3", 16, "an-2-2")], ids=str)
def test_elements_of_all_depths_are_fed_right(mac, depth, tmp_path):
    """Zeros, an infinity and a nan among the operands; the netlist is compared in every clock that has a result."""
    source = np.random.default_rng(8)
    a, b = source.normal(size=(30, 5)).astype(np.float32), source.normal(size=(5, 2)).astype(np.float32)
    a[source.random(a.shape) < 0.2] = 0
    a[3, 1], a[7, 2] = (np.inf, np.nan) if mac.format == "bf16" else (0, np.nan)
    tile = ("layer", to_codes(a, mac.format), to_codes(b, mac.format))
    found = element_cost(mac, depth, "sky130", 30.0, tile, mismatch_file=tmp_path / "m.json")
    assert found.checked == 5 * 30
    assert not (tmp_path / "m.json").exists()


def test_a_wrong_element_is_found(tmp_path, monkeypatch):
    import approxhw.engine.matrix.cost as cost

    plain = cost.stimulus

    def flipped(*given):
        found = plain(*given)
        found.expected[found.plain.argmax()] ^= 1
        return found

    monkeypatch.setattr(cost, "stimulus", flipped)
    codes = to_codes(np.ones((4, 2), np.float32), "bf16")
    with pytest.raises(MismatchError, match=r"netlist of float-mac<bf16,20,exact>: 1 of 8 vectors differ"):
        element_cost(
            FloatMac("bf16", 20, "exact"),
            2,
            "sky130",
            20.0,
            ("layer", codes, codes[:2]),
            mismatch_file=tmp_path / "m.json",
        )
    assert json.loads((tmp_path / "m.json").read_text())["mismatches"] == 1


def test_operand_words_are_those_of_the_decoder(icarus, tmp_path):
    """All codes of an 8-bit format, and of bf16 those at its edges, through the template itself."""
    from approxhw.backends.matrix_engine.templates import decode_parameters, operand_bits
    from approxhw.backends.systolic.templates import configured
    from approxhw.sim.job import SimulationJob
    from approxhw.sim.running import simulate

    for mac in (FloatMac("e4m3"), FloatMac("e5m2"), FloatMac("bf16")):
        bits = mac.code.bits
        codes = np.arange(1 << bits, dtype=np.int64) if bits == 8 else np.arange(0, 1 << 16, 37, dtype=np.int64)
        job = SimulationJob(
            str(mac),
            configured("float_decode", decode_parameters(mac)),
            "float_decode",
            (("code", bits),),
            (("operand", operand_bits(mac)),),
            vectors={"code": codes},
            expected={"operand": operand_words(codes, mac)},
        )
        result = simulate(job, "icarus", tmp_path / mac.format)
        assert (result.vectors, result.mismatches) == (len(codes), 0)


def test_stimulus_places_results_behind_the_pipeline():
    mac = FloatMac("bf16", 20, "exact")
    a, b = to_codes(np.full((2, 1), 1.5, np.float32), "bf16"), to_codes(np.full((1, 1), 2.0, np.float32), "bf16")
    fed = stimulus(mac, 2, a, b, [(0, 0)])
    assert fed.vectors["load"].tolist()[:3] == [0, 1, 0]
    assert np.flatnonzero(fed.plain).tolist() == [4, 5], "weight, operand, and two stages"
    assert fed.expected[4] & 0xFFFFF == 0b11 << 18, "3 = 1.5 · 2, its top bit set"


def test_altered_and_missing_files_are_named(compiled, tmp_path):
    import shutil

    folder = Path(shutil.copytree(compiled.folder, tmp_path / "copy"))
    (folder / "rtl/mac_add.v").write_text("module mac_add; endmodule\n")
    (folder / "operands/00.npz").unlink()
    with pytest.raises(InvalidDesignError) as caught:
        open_engine_design(folder)
    assert "rtl/mac_add.v: the file was changed since it was compiled" in str(caught.value)
    assert "operands/00.npz: the file is missing" in str(caught.value)
    told = json.loads((folder / "design.json").read_text())
    told["layers"][0]["k"] = -1
    told["files"] = {}
    (folder / "design.json").write_text(json.dumps(told))
    with pytest.raises(InvalidDesignError, match=r"design\.json: it does not fit its files"):
        open_engine_design(folder)
    (folder / "design.json").write_text("[]")
    with pytest.raises(InvalidDesignError, match="no matrix engine"):
        open_engine_design(folder)


def test_folders_of_others_are_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    with pytest.raises(OutputError, match="was not written by approxhw"):
        compile_engine(model_of(tmp_path), data=rows_of(tmp_path), output=tmp_path / "mine")


def test_everything_wrong_with_an_engine_is_told_at_once():
    with pytest.raises(OptionError) as caught:
        MatrixEngine(rows=0, depth=9, clock_ns=-1).array()
    for text in ("0 is no number of rows", "9 is no depth", "-1 is no clock period"):
        assert text in str(caught.value)


def test_data_that_does_not_fit_is_refused(tmp_path):
    model = model_of(tmp_path)
    x = np.zeros((4, FEATURES), np.float32)
    with pytest.raises(InvalidDataError, match="the arrays differ in their rows: x 4, labels 3"):
        compile_engine(model, data={"x": x, "labels": np.zeros(3, np.int64)}, output=tmp_path / "a")
    with pytest.raises(InvalidDataError, match="x: it holds <U1, not numbers"):
        compile_engine(model, data={"x": np.array(["a"])}, output=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_arrays_by_name_and_models_of_one_batch(tmp_path):
    found = compile_engine(
        model_of(tmp_path, 4),
        target=MatrixEngine(rows=2, columns=2),
        data={"x": np.ones((10, FEATURES)), "labels": np.zeros(10, np.int64)},
        output=tmp_path / "out",
    )
    assert found.design.layers[0].m == 4
    assert found.accuracy["rows"] == 8, "whole batches only"


def test_without_data_sizes_must_be_said(tmp_path):
    with pytest.raises(OptionError, match=r"say them: --shape x=1x6"):
        compile_engine(model_of(tmp_path), output=tmp_path / "out")
    made = compile_engine(model_of(tmp_path), shape={"x": (3, FEATURES)}, output=tmp_path / "out")
    assert made.design.layers[0].m == 3
    assert "no data was given" in made.design.warnings[0]
    with pytest.raises(InvalidDesignError, match="compile the model with --data"):
        made.simulate("icarus")
    with pytest.raises(OptionError, match="the design was compiled without data"):
        made.estimate()


def run(*words: object):
    return CliRunner().invoke(main, [*map(str, words)])


def test_the_command_line_compiles_simulates_and_measures(tmp_path, icarus, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("approxhw.cli.targets.engines.SIMULATORS", ("icarus",))
    words = (
        "compile",
        model_of(tmp_path),
        "--target",
        "matrix-engine",
        "--array",
        "3x2",
        "--data",
        rows_of(tmp_path, 20),
    )
    result = run(*words, "-o", "out", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["estimate_pe"]["checked"] > 0
    assert told["estimate"]["area_mm2"] > 0
    assert told["simulation"][0]["mismatches"] == 0
    assert told["engine"]["mac"] == {
        "format": "bf16",
        "accumulator_bits": 20,
        "normalization": "an-1-2",
        "alignment": None,
        "exponent_step": None,
    }
    result = run("simulate", "out", "--simulator", "icarus", "--layer", "second", "--rows", 5)
    assert result.exit_code == 0, result.output
    assert "layer second (5 × 5 × 3), 15 results, 0 mismatches" in result.output
    assert run("report", "out").exit_code == 0
    result = run("estimate", "out", "--clock-ns", "25")
    assert "clock of 25 ns kept" in result.output


def test_limited_alignment_goes_from_the_command_line_into_the_hardware(tmp_path, icarus, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("--alignment", "2", "--accumulator-bits", "16", "--array", "3x2", "--data", rows_of(tmp_path, 20))
    kept = ("--no-simulate", "--no-estimate", "-o", "out")
    result = run("compile", model_of(tmp_path), "--target", "matrix-engine", *words, *kept)
    assert result.exit_code == 0, result.output
    design = open_engine_design(tmp_path / "out").design
    assert design.engine["mac"]["alignment"] == 2
    assert {layer.arithmetic for layer in design.layers} == {"float-mac<bf16,16,an-1-2,align-2>"}
    assert "parameter ALIGN                 = 2," in design.verilog
    assert "float-mac<bf16,16,an-1-2,align-2>" in design.verilog
    result = run("simulate", "out", "--simulator", "icarus", "--rows", 6)
    assert result.exit_code == 0, result.output
    assert ", 0 mismatches" in result.output
    assert run("report", "out").exit_code == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "normalization <b>an-1-2</b>, aligned by 2 bits of distance, made" in page
    told = json.loads((tmp_path / "out" / "design.json").read_text())
    del told["engine"]["mac"]["alignment"]  # as designs were written before there was any
    assert engine_of(replace(design, engine=told["engine"])).mac == FloatMac("bf16", 16, "an-1-2")


@pytest.mark.parametrize(("words", "text"), [
    (["--alignment", "5", "--normalization", "an-0-2"], "alignment: 5 is no number of bits of distance from 1 to 4"),
    (["--alignment", "5", "--normalization", "an-0-2"], "normalization: 'an-0-2' is no normalization"),
    (["--array", "8y4", "--depth", "7"], "--array: '8y4' is no ROWSxCOLUMNS"),
    (["--normalization", "an-9-9", "--accumulator-bits", "16"], "an-9-9 shifts left by 18, the accumulator has 16 bits"),
    (["--format", "fp16", "--accumulator-bits", "20"], "a product of two fp16 significands has 22 bits"),
    (["--weight-bits", "4"], "--weight-bits: is for printed circuits"),
    (["--shape", "x"], "'x' is no shape"),
    (["--library", "nowhere"], "nowhere"),
])  # fmt: skip
def test_wrong_options_of_the_command_line(words, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("compile", model_of(tmp_path), "--target", "matrix-engine", *words)
    assert result.exit_code != 0
    assert text in result.output
    assert not (tmp_path / "build").exists()


def test_options_of_the_other_target_are_refused(compiled, tmp_path, monkeypatch):
    result = run("compile", model_of(tmp_path), "--array", "4x4")
    assert "--array: is for --target matrix-engine" in result.output
    result = run("simulate", compiled.folder, "--random", 5)
    assert "--random: is for printed circuits" in result.output
    result = run("estimate", compiled.folder, "--prove")
    assert "--prove: is not for matrix engines" in result.output
    result = run("compile", model_of(tmp_path), "--target", "matrix-engin")
    assert "there is no target 'matrix-engin'; did you mean 'matrix-engine'?" in result.output


def test_compile_hands_the_model_to_its_target(tmp_path):
    import approxhw as ax

    target = ax.MatrixEngine(ax.FloatMac(normalization="exact"), rows=2, columns=2)
    made = ax.compile(model_of(tmp_path), target=target, data=rows_of(tmp_path), output=tmp_path / "out")
    assert isinstance(made, ax.CompiledEngine)
    assert ax.open_engine_design(tmp_path / "out").design.engine["mac"]["normalization"] == "exact"
    named = ax.compile(model_of(tmp_path), target="matrix-engine", data=rows_of(tmp_path), output=tmp_path / "named")
    assert isinstance(named, ax.CompiledEngine)
    with pytest.raises(OptionError, match="3 is no target: it names no compiler"):
        ax.compile(model_of(tmp_path), target=3, output=tmp_path / "out")


def test_an_engine_has_passes_a_ledger_and_steps(tmp_path):
    import approxhw as ax

    target = ax.MatrixEngine(rows=2, columns=2, layers={"second": None}, compress="dynamic8,block=64")
    given = {"target": target, "data": rows_of(tmp_path), "output": tmp_path / "out"}
    model = model_of(tmp_path)
    names = [
        layer.name
        for layer in ax.compile(model, **{**given, "target": ax.MatrixEngine(rows=2, columns=2)}).design.layers
    ]
    given["target"] = ax.MatrixEngine(rows=2, columns=2, layers={names[-1]: None}, compress="dynamic8,block=64")
    whole = ax.compile(model, steps=True, **given)
    spelled = [row["spelled"] for row in whole.design.ledger]
    assert spelled == [
        "approximate-normalization",
        f"approximate-normalization{{format=float32,layers={names[-1]}}}",
        "compress{block=64,max=pow2}",
    ]
    assert whole.design.ledger[0]["accumulator_bits"] == 20
    assert whole.design.ledger[-1]["test_accuracy_after"] == whole.accuracy["engine"]
    assert whole.design.ledger[0]["test_accuracy_before"] == whole.accuracy["onnx"]
    files = sorted(path.name for path in (tmp_path / "out" / "steps").glob("*.axir"))
    assert files == [
        "00_input.axir", "01_approximate_normalization.axir", "02_approximate_normalization.axir", "03_compress.axir",
    ]  # fmt: skip
    again = ax.compile(model, from_step=2, **given)
    assert again.design.layers == whole.design.layers
    assert again.design.modules == whole.design.modules
    assert [row["spelled"] for row in again.design.ledger] == spelled
    assert ax.open_engine_design(tmp_path / "out").design.ledger == again.design.ledger
    other = ax.MatrixEngine(ax.FloatMac(normalization="exact"), rows=2, columns=2)
    with pytest.raises(OptionError, match=r"step 1 of .* was approximate-normalization, now it is"):
        ax.compile(model, from_step=1, **{**given, "target": other})
    with pytest.raises(OptionError, match="there is no step 7; this pipeline has steps 0 to 3"):
        ax.compile(model, from_step=7, **given)


def test_passes_that_are_given_say_what_is_built(tmp_path):
    import approxhw as ax

    given = {"target": ax.MatrixEngine(rows=2, columns=2), "data": rows_of(tmp_path), "output": tmp_path / "out"}
    passes = ax.parse_passes(
        "approximate-normalization{accumulator=24,normalization=exact,result=bf16},compress{block=64}"
    )
    made = ax.compile(model_of(tmp_path), passes=passes, **given).design
    assert made.engine["mac"] == {
        "format": "bf16",
        "accumulator_bits": 24,
        "normalization": "exact",
        "alignment": None,
        "exponent_step": None,
    }
    assert (made.engine["result"], made.engine["codes"]["block"]) == ("bf16", 64)
    assert {layer.arithmetic for layer in made.layers} == {"float-mac<bf16,24,exact>"}
    assert all(layer.operands for layer in made.layers)
    assert "matrix_engine_codes" in made.verilog


def test_folders_of_before_are_read(tmp_path):
    target, data = MatrixEngine(rows=2, columns=2), rows_of(tmp_path)
    made = compile_engine(model_of(tmp_path), target=target, data=data, output=tmp_path / "out")
    path = tmp_path / "out" / "design.json"
    told = json.loads(path.read_text())
    del told["ledger"], told["pipeline"]
    path.write_text(json.dumps(told))
    assert open_engine_design(tmp_path / "out").design.ledger == ()
    assert open_engine_design(tmp_path / "out").design.layers == made.design.layers


def test_large_models_are_looked_at_in_few_rows(tmp_path, monkeypatch, icarus):
    import approxhw.engine.matrix.compile as compiler

    products = FEATURES * HIDDEN + HIDDEN * CLASSES
    monkeypatch.setattr(compiler, "LOOKED_AT", 7 * products)
    monkeypatch.setattr(compiler, "KEPT_ROWS", 5)
    target = MatrixEngine(rows=2, columns=2)
    made = compile_engine(model_of(tmp_path), target=target, data=rows_of(tmp_path), output=tmp_path / "out")
    assert [layer.m for layer in made.design.layers] == [7, 7]
    assert made.accuracy["rows"] == 40, "accuracy is of all rows"
    assert [a.shape for a, _ in made.design.operands.values()] == [(5, 6), (5, 5)]
    assert made.simulate("icarus", layer="1").vectors == 5 * CLASSES
    monkeypatch.setattr(compiler, "KEPT_BYTES", 5 * 6 * 2 + 6 * 5 * 2)
    made = compile_engine(model_of(tmp_path), target=target, data=rows_of(tmp_path), output=tmp_path / "out")
    assert [bool(layer.operands) for layer in made.design.layers] == [True, False]
    assert any("the operands of 1 layers were not kept" in text for text in made.design.warnings)
