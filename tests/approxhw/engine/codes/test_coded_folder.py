"""A model compiled for an engine with 8-bit codes: its folder, its simulation, its report, its cost, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from approxhw.cli.main import main
from approxhw.common.errors import InvalidDesignError, MismatchError, OptionError
from approxhw.dse.targets import search_engine
from approxhw.engine.matrix.api import open_engine
from approxhw.engine.matrix.compile import compile_engine, open_engine_design
from approxhw.engine.matrix.cost import engine_of, engine_parts, register_bits
from approxhw.engine.matrix.settings import EngineSearch
from approxhw.engine.matrix.target import MatrixEngine
from approxhw.numerics.eight_bit.port_codes import EngineCodes, unpack
from approxhw.numerics.mac.kernels.codes import to_codes
from approxhw.report.figures import grouped

COMPRESS = "dynamic8,block=64,activations=true"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory, small_net):
    """An engine of 4 × 2 elements for the small net; nothing writes into its folder but simulations and reports."""
    model, rows = small_net
    target = MatrixEngine(rows=4, columns=2, vectors=16, compress=COMPRESS)
    return compile_engine(model, target=target, data=rows, output=tmp_path_factory.mktemp("engine") / "out")


def test_the_folder_holds_codes_and_reads_back(compiled, small_net):
    design = compiled.design
    again = open_engine_design(compiled.folder).design
    assert again.layers == design.layers
    assert again.engine == json.loads(json.dumps(design.engine))
    assert engine_of(again).codes == EngineCodes("dynamic8", 64, activations=True)
    emulated = open_engine(small_net[0], shape={"x": (24, 70)}, mac=engine_of(design).mac, compress=COMPRESS)
    x = np.load(small_net[1])["X_test"]
    compared = 0
    for layer in again.layers:
        (a, b), (coded_a, coded_b) = again.operands[layer.operands], again.packed[layer.operands]
        np.testing.assert_array_equal(a, to_codes(unpack(coded_a), "bf16"))
        np.testing.assert_array_equal(b, to_codes(unpack(coded_b).T, "bf16"))
        plain = emulated.operands({"x": x}, layer.name)[0]
        errors = np.abs(unpack(coded_a) - plain)
        assert 0 < errors.max() <= 0.02 * np.abs(plain).max()
        compared += a.size + b.size
    assert compared == 24 * 70 + 70 * 9 + 24 * 9 + 9 * 3
    assert design.accuracy["rows"] == 24
    assert design.top == "matrix_engine_codes"
    assert "// weights: dynamic8<block=64,max=pow2>" in design.modules[design.top]


def test_layers_tell_bits_and_errors(compiled):
    first, second = compiled.design.layers
    told = first.compression["weights"]
    assert told["format"] == "dynamic8<block=64,max=pow2>"
    assert (told["elements"], told["bits_before"], told["bits_after"]) == (630, 16 * 630, 8 * 630 + 8 * 9 * 2)
    assert told["looked_at"] == 630
    assert first.compression["activations"]["bits_after"] == 8 * 24 * 70 + 8 * 24 * 2
    for summary in (*first.compression.values(), *second.compression.values()):
        assert 0.002 < summary["relative"] < 0.05
        assert 0 < summary["mse"] < summary["mae"]


def test_without_data_nothing_is_known_of_errors(small_net, tmp_path):
    compiled = compile_engine(
        small_net[0], target=MatrixEngine(compress="linear8"), shape={"x": (4, 70)}, output=tmp_path / "out"
    )
    assert [layer.compression for layer in open_engine_design(tmp_path / "out").design.layers] == [{}, {}]
    assert compiled.design.packed == {}


def test_a_plain_engine_has_not_changed(small_net, tmp_path):
    model, rows = small_net
    plain = compile_engine(model, target=MatrixEngine(rows=4, columns=2), data=rows, output=tmp_path / "out")
    assert plain.design.top == "matrix_engine"
    assert not any("eight_bit" in name or "codes" in name for name in plain.design.modules)
    assert plain.design.packed == {}
    assert [layer.compression for layer in plain.design.layers] == [{}, {}]
    told = json.loads((tmp_path / "out" / "design.json").read_text())
    del told["engine"]["codes"]  # as it was written before there were codes
    (tmp_path / "out" / "design.json").write_text(json.dumps(told))
    assert engine_of(open_engine_design(tmp_path / "out").design).codes is None


def test_every_layer_streams_on_icarus(icarus, compiled):
    for number, results in (("0", 3 * 9), ("1", 3 * 3)):
        found = compiled.simulate("icarus", layer=number, vectors=3, pause=0.2)
        assert (found.vectors, found.mismatches) == (results, 0)


@pytest.mark.slow
def test_a_layer_streams_on_verilator(verilator, compiled):
    found = compiled.simulate("verilator", layer="0", vectors=16, pause=0.2)
    assert (found.vectors, found.mismatches) == (16 * 9, 0)


def test_some_columns_of_a_layer_stream(icarus, compiled):
    found = compiled.simulate("icarus", layer="0", vectors=2, columns=3)
    assert (found.vectors, found.mismatches) == (6, 0)


def test_a_defect_of_a_decoder_is_found(icarus, small_net, tmp_path):
    model, rows = small_net
    target = MatrixEngine(rows=4, columns=2, compress="dynamic8,block=64")
    compiled = compile_engine(model, target=target, data=rows, output=tmp_path / "out")
    modules = dict(compiled.design.modules)
    modules["eight_bit_decode"] = modules["eight_bit_decode"].replace("{code[7], biased &", "{code[6], biased &")
    assert modules != compiled.design.modules
    object.__setattr__(compiled.design, "modules", modules)
    with pytest.raises(MismatchError, match=r"net: first on icarus: \d+ of \d+ vectors differ"):
        compiled.simulate("icarus", vectors=2)


def test_report_shows_codes(compiled):
    page = compiled.report().read_text(encoding="utf-8")
    assert "8-bit codes" in page
    assert "dynamic8&lt;block=64,max=pow2&gt;" in page
    told = compiled.design.layers[0].compression["weights"]
    for figure in (told["bits_before"], told["bits_after"], 40):
        assert f">{grouped(figure)}<" in page


def test_cost_counts_decoders_and_registers(compiled):
    engine = engine_of(compiled.design)
    parts = {part.part: (part.count, part.top) for part in engine_parts(engine)}
    assert parts["decoders of 8-bit weights"] == (4, "eight_bit_decode")
    assert parts["decoders of 8-bit activations"] == (4, "eight_bit_decode")
    assert register_bits(engine)["words behind 8-bit decoders"] == 2 * 4 * 16 + 2 + 4
    assert engine.beats()["weights"] == {"bits": 40, "without_codes": 64}


def test_a_damaged_summary_is_refused(compiled, tmp_path):
    text = (compiled.folder / "design.json").read_text()
    for damage in ('"relative": "x"', '"relative": -1', '"colour": 1'):
        told = json.loads(text)
        told["layers"][0]["compression"]["weights"] |= json.loads("{" + damage + "}")
        folder = tmp_path / str(len(damage))
        folder.mkdir()
        for name in ("rtl", "operands"):
            (folder / name).symlink_to(compiled.folder / name)
        (folder / "design.json").write_text(json.dumps(told))
        with pytest.raises(InvalidDesignError, match=r"8-bit codes of layer first"):
            open_engine_design(folder)


def test_the_command_line(icarus, small_net, tmp_path):
    model, rows = map(str, small_net)
    options = [
        "--target",
        "matrix-engine",
        "--array",
        "4x2",
        "--compress",
        "dynamic8,block=64",
        "--no-estimate",
        "--no-simulate",
    ]
    out = str(tmp_path / "out")
    told = CliRunner().invoke(main, ["compile", model, *options, "--data", rows, "-o", out])
    assert told.exit_code == 0, told.output
    said = "weights as 8-bit codes: beats of 40 bits, not 64; 8."
    assert said in " ".join(told.output.split())
    assert "activations as 8-bit codes" not in told.output
    run = ["simulate", out, "--simulator", "icarus", "--rows", "2", "--json"]
    told = CliRunner().invoke(main, run)
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    assert found["beats"] == {
        "weights": {"bits": 40, "without_codes": 64},
        "activations": {"bits": 64, "without_codes": 64},
    }
    assert found["engine"]["codes"]["code"] == "dynamic8"
    assert found["simulation"][0]["mismatches"] == 0


@pytest.mark.parametrize(("options", "why"), [
    (["--compress", "dynamic8,max=exact"], "max=exact would need a multiplier a lane"),
    (["--compress", "auto"], "auto would choose a code for every tensor, and an engine has decoders for one"),
    (["--compress", "dynamic8,block=100", "--array", "16x16"], "choose block=96 or 112, 4 rows, or no block"),
    (["--compress", "dynamic8", "--format", "fp16"], "decoders make bf16 of 8-bit codes, and the operands are fp16"),
    (["--compress", "dynamic8,size=3"], "compress has no such option"),
])  # fmt: skip
def test_the_command_line_refuses(small_net, tmp_path, options, why):
    model, rows = map(str, small_net)
    out = tmp_path / "out"
    told = CliRunner().invoke(
        main, ["compile", model, "--target", "matrix-engine", *options, "--data", rows, "-o", str(out)]
    )
    assert told.exit_code != 0
    assert why in " ".join(told.output.split())
    assert not out.exists()


def test_all_problems_at_once():
    with pytest.raises(OptionError) as caught:
        MatrixEngine(rows=0, clock_ns=0, compress="dynamic8,max=exact,block=1").array()
    assert len(caught.value.problems) == 4


def test_a_search_has_no_codes(small_net, tmp_path):
    model, rows = small_net
    with pytest.raises(OptionError, match=r"compress: a search tries formats that codes do not go with"):
        search_engine(
            model,
            data=rows,
            output=tmp_path / "front",
            target=MatrixEngine(compress="dynamic8"),
            options=EngineSearch(),
        )
