"""Names from models and data go through the whole compiler: they never reach Verilog or paths, nor HTML unescaped."""

from __future__ import annotations

import html
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import approxhw as ax
from approxhw.backends.bespoke.readback import read_modules
from approxhw.sim import lint

PROBE = "<script>document.title='owned'</script><img src=x onerror=alert(1)>"
TEXTS = {
    "markup": PROBE,
    "comment": 'a */ endmodule module evil(); /* `include "/etc/passwd" // \\',
    "quotes": 'it\'s "quoted" `backtick` $(touch owned) ; rm -rf . | & %n {{ 7*7 }}',
    "path": "../../../../tmp/owned/./a b",
    "lines": "one\ntwo\r\nthree\tfour\x00five\x1b[31mred",
    "unicode": "größe 花びら \u202egnp.exe \ud7ff 🌸",
    "long": "long name " * 1000,
    "keywords": "module",
    "empty": " ",
}


def _labelled(mlp, layers, name, labels) -> onnx.ModelProto:
    """Return the network with Softmax and ZipMap over text *labels* behind it."""
    model = mlp(layers, name)
    last = model.graph.output[0].name
    model.graph.node.append(helper.make_node("Softmax", [last], [name("p")], name=name("soft"), axis=1))
    zipmap = helper.make_node("ZipMap", [name("p")], [name("z")], name=name("zip"), domain="ai.onnx.ml")
    zipmap.attribute.append(helper.make_attribute("classlabels_strings", labels))
    model.graph.node.append(zipmap)
    kind = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, [1]))
    output = helper.make_value_info(name("z"), helper.make_sequence_type_proto(kind))
    del model.graph.output[:]
    model.graph.output.append(output)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    model.producer_name = model.doc_string = name("producer")
    return model


def _code(folder: Path) -> str:
    """Return the Verilog without the comment in front of each file; what is no ASCII raises."""
    rtl = "".join(path.read_text("ascii") for path in sorted(folder.glob("rtl/*.v")))
    assert max(map(len, rtl.splitlines())) < 1000
    return "\n".join(line for line in rtl.splitlines() if not line.startswith("//"))


def _assert_clean(folder: Path, plain: Path) -> None:
    """Hostile Verilog has no sign that the *plain* design has not: texts give letters and digits of names at most."""
    signs, usual = (set("".join(c for c in _code(path) if not c.isalnum())) for path in (folder, plain))
    assert signs <= usual
    assert not usual & set('"\\`$!')
    design = ax.open_design(folder).design
    assert set(read_modules(design.verilog)) == set(design.modules)
    for path in folder.rglob("*"):
        relative = path.relative_to(folder).as_posix()
        assert relative.isascii()
        assert " " not in relative
        assert len(path.name) < 100
    page = (folder / "report.html").read_text("utf-8")
    assert PROBE not in page
    assert "<img src=x" not in page
    assert "\x1b" not in page
    assert "<title>owned" not in page


@pytest.mark.parametrize("kind", TEXTS)
def test_node_names_titles_and_labels(cli, mlp, rows_of, tiny, tmp_path, kind, made, icarus, verilator):
    text = TEXTS[kind]

    def name(plain: str) -> str:
        return (f"{text}{plain}" if kind != "empty" else plain).replace("\x00", "")

    labels = [name(f"class {i}") for i in range(3)]
    onnx.save(_labelled(mlp, tiny, name, labels), tmp_path / "model.onnx")
    rows, classes = rows_of(tiny)
    data = ax.Dataset(rows[:40], classes[:40], rows[40:], classes[40:], tuple(f"{text}{i}" for i in range(3)), text)
    design = ax.compile(tmp_path / "model.onnx", target=ax.Printed(input_bits=2), data=data, output=tmp_path / "out")
    design.report()
    _assert_clean(tmp_path / "out", made)
    lint(design.verilog, design.design.top)
    described = json.loads((tmp_path / "out" / "design.json").read_text())
    assert [port["title"] for port in described["inputs"]] == [f"{text}{i}" for i in range(3)]  # nothing is lost
    assert described["labels"] == labels
    assert ax.open_design(tmp_path / "out").design.graph.labels == tuple(labels)
    result = cli("report", tmp_path / "out")
    assert result.exit_code == 0, result.output
    if kind == "markup":
        page = (tmp_path / "out" / "report.html").read_text("utf-8")
        assert html.escape(PROBE, quote=False)[:20] in page


def test_hostile_names_survive_the_way_to_the_costs(cli, mlp, rows_of, tiny, tmp_path, made, icarus):
    text = TEXTS["comment"] + PROBE
    onnx.save(mlp(tiny, lambda plain: f"{text}{plain}"), tmp_path / "model.onnx")
    rows, classes = rows_of(tiny)
    data = ax.Dataset(rows, classes, rows[:0], classes[:0], tuple(f"{text}{i}" for i in range(3)))
    ax.compile(tmp_path / "model.onnx", target=ax.Printed(input_bits=2), data=data, output=tmp_path / "out")
    assert cli("simulate", tmp_path / "out", "--simulator", "icarus", "--random", 9).exit_code == 0
    assert cli("estimate", tmp_path / "out").exit_code == 0
    assert cli("report", tmp_path / "out").exit_code == 0
    _assert_clean(tmp_path / "out", made)


@pytest.mark.parametrize(
    "name",
    [
        "a b.onnx", "it's \"quoted\".onnx", "<script>alert(1)<script>.onnx", "$(touch owned);.onnx", "größe 花.onnx",
        "two\nlines.onnx", "-o.onnx", "*.onnx", "module.onnx", "1.onnx", ".onnx", "back\\slash.onnx", "x" * 240 + ".onnx",
    ],
)  # fmt: skip
def test_file_names(cli, inputs, tmp_path, made, name):
    shutil.copy(inputs / "tiny.onnx", tmp_path / name)
    shutil.copy(inputs / "tiny.npz", tmp_path / f"{name[:200]}.npz")
    words = ("compile", tmp_path / name, "--data", tmp_path / f"{name[:200]}.npz", "--no-simulate", "--no-estimate")
    result = cli(*words, "--json")
    assert result.exit_code == 0, result.output
    folder = Path(json.loads(result.stdout)["design"])
    assert folder.parent == Path("build")
    assert folder.name.isidentifier()
    assert len(folder.name) <= 64
    _assert_clean(folder, made)
    assert "<script>alert(1)" not in (folder / "report.html").read_text("utf-8")
    assert [path.name for path in Path().iterdir()] == ["build"]


def test_text_in_errors_is_one_short_printable_line(cli, tmp_path):
    nodes = [helper.make_node("Hardmax", ["x"], ["y"], name=TEXTS["lines"].replace("\x00", "") + TEXTS["long"])]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 3]) for name in "xy"]
    model = helper.make_model(helper.make_graph(nodes, "g", ports[:1], ports[1:]))
    onnx.save(model, tmp_path / "odd.onnx")
    result = cli("check", tmp_path / "odd.onnx")
    assert result.exit_code in (3, 4)
    assert "\x1b" not in result.stderr
    assert max(map(len, result.stderr.splitlines())) < 400
    np.savez(tmp_path / "data.npz", **{TEXTS["unicode"].replace("/", ""): np.zeros(3)})
    for command in ("simulate", "report", "estimate"):
        result = cli(command, "no\x1b[31m\nsuch " + "x" * 300)
        assert result.exit_code in (2, 8, 9), result.output
        assert "\x1b" not in result.stderr
        assert len(result.stderr) < 1000
