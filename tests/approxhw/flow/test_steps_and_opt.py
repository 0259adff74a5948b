"""Steps on disk: written by compile and opt, restarted from with the same result, refused where they do not fit."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

import approxhw as ax
from approxhw.artifacts.steps import read_graph
from approxhw.common.errors import OptionError, PassError

STEPS = [
    "00_input",
    "01_quantize_inputs",
    "02_fold_affine",
    "03_quantize_weights",
    "04_drop_constant",
    "05_center_logits",
    "06_narrow_formats",
]
QUICK = ("--no-simulate", "--no-estimate", "--input-bits", 3)


def _compiled(content, folder: Path) -> dict[str, bytes]:
    """Return what must not depend on the step that was started from."""
    files = content(folder)
    told = json.loads(files.pop("design.json"))
    same = {key: told[key] for key in ("files", "inputs", "accuracy", "pipeline", "saturated_readings", "modules")}
    ledger = [{k: v for k, v in row.items() if k != "seconds"} for row in told["ledger"]]
    files.pop("report.html", None)
    return {**files, "rows.npz": b"", "told": json.dumps([same["inputs"], same["accuracy"], ledger]).encode()}


@pytest.mark.parametrize("start", [0, 1, 3, 4, 6])
def test_every_start_gives_the_same_design(cli, inputs, design, content, start):
    before = _compiled(content, design)
    assert sorted(name for name in before if name.startswith("steps/")) == [f"steps/{name}.axir" for name in STEPS]
    words = ("compile", inputs / "tiny.onnx", "--data", inputs / "tiny.npz", "-o", design, *QUICK)
    result = cli(*words, "--from-step", start)
    assert result.exit_code == 0, result.stderr
    assert _compiled(content, design) == before
    assert (design / "report.html").is_file()


def test_steps_of_another_pipeline_are_refused(cli, inputs, design, content):
    before = content(design)
    words = ("compile", inputs / "tiny.onnx", "--data", inputs / "tiny.npz", "-o", design, *QUICK)
    result = cli(*words, "--from-step", 4, "--weight-bits", 6)
    assert result.exit_code == 2
    said = (
        "step 3 of {} was quantize-weights, now it is quantize-weights{{bits=6}}\n    do: start from step 2 or before"
    )
    assert said.format(design) in result.stderr
    assert content(design) == before
    assert cli(*words, "--from-step", 2, "--weight-bits", 6).exit_code == 0
    spelled = [row["spelled"] for row in ax.open_design(design).design.ledger]
    assert spelled[:3] == ["quantize-inputs{bits=3}", "fold-affine", "quantize-weights{bits=6}"]


def test_designs_without_steps_cannot_be_started_from(cli, inputs, tmp_path):
    words = ("compile", inputs / "tiny.onnx", "--data", inputs / "tiny.npz", "-o", "plain", *QUICK)
    result = cli(*words, "--from-step", 2)
    assert result.exit_code == 9
    assert "plain: 1 problem\n  design.json: no design (" in result.stderr
    assert cli(*words).exit_code == 0
    result = cli(*words, "--from-step", 2)
    assert result.exit_code == 6
    assert (
        "step 2: not every step up to 2 is there; steps: none\n    do: compile once more with --steps" in result.stderr
    )


def test_changed_and_missing_steps_are_refused(cli, inputs, design, content):
    """What was compiled stays what it was; ``opt`` is for steps edited by hand."""
    steps = design / "steps"
    (steps / "02_fold_affine.axir").write_text((steps / "00_input.axir").read_text())
    (steps / "03_quantize_weights.axir").unlink()
    before = content(design)
    words = ("compile", inputs / "tiny.onnx", "--data", inputs / "tiny.npz", "-o", design, *QUICK)
    result = cli(*words, "--from-step", 2)
    assert result.exit_code == 9
    assert "design: 2 problems\n" in result.stderr
    assert "steps/02_fold_affine.axir: the file was changed since it was compiled" in result.stderr
    assert "steps/03_quantize_weights.axir: the file is missing" in result.stderr
    assert content(design) == before


def test_opt_does_what_compile_does_step_by_step(cli, inputs, design):
    """The whole pipeline by opt gives the Graph of the design, and so does each start."""
    passes = ",".join(row["spelled"] for row in ax.open_design(design).design.ledger)
    words = ("opt", design / "steps" / "00_input.axir", "--passes", passes, "--data", inputs / "tiny.npz")
    result = cli(*words, "-o", "whole.axir", "--steps", "steps", "--json")
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert [row["name"] for row in said["passes"]] == [name[3:].replace("_", "-") for name in STEPS[1:]]
    graph = (design / "graph.axir").read_bytes()
    assert Path("whole.axir").read_bytes() == graph
    assert sorted(path.stem for path in Path("steps").iterdir()) == STEPS
    for start in (1, 4, 6):
        assert cli(*words, "-o", "again.axir", "--steps", "steps", "--from-step", start).exit_code == 0
        assert Path("again.axir").read_bytes() == graph
    said = cli(*words, "-o", "again.axir").stdout
    assert said.splitlines()[0].split() == ["pass", "kind", "nodes", "weights", "test", "accuracy", "seconds"]
    assert "quantize-weights" in said


def test_opt_leaves_alone_what_it_did_not_write(cli, design, content, inputs):
    graph = design / "graph.axir"
    Path("notes.txt").write_text("mine")
    Path("latin.axir").write_bytes(b"\xff\xfe")
    for target in ("notes.txt", "latin.axir", design):
        result = cli("opt", graph, "--passes", "narrow-formats", "-o", target)
        assert result.exit_code == 8
        assert f"{target}: it exists and is no .axir file\n    do: choose another name with -o" in result.stderr
    assert Path("notes.txt").read_text() == "mine"
    result = cli("opt", graph, "--passes", "narrow-formats", "-o", Path("notes.txt") / "x.axir")
    assert result.exit_code == 8
    assert "it cannot be written (" in result.stderr


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ("--passes narow-formats", 2, "narow-formats: there is no pass or pipeline of this name; did you mean"),
        (
            "--passes narrow-formats --from-step 1",
            2,
            "--from-step: needs the folder of the steps\n    do: give --steps",
        ),
        ("--passes narrow-formats --from-step 3 --steps s", 2, "there is no step 3 in a list of 1 passes"),
        ("--passes narrow-formats --from-step 1 --steps s", 6, "step 1: 0 files of this step; steps: none"),
        ("--passes calibrate-weights --data nope.csv", 5, "nope.csv: there is no such file"),
        ("--passes narrow-formats --data nope.npz", 5, "nope.npz: there is no such file"),
    ],
)
def test_opt_refuses(cli, design, words, code, text):
    result = cli("opt", design / "graph.axir", "-o", "out.axir", *words.split())
    assert result.exit_code == code, result.stderr
    assert text in result.stderr
    assert not Path("out.axir").exists()


def test_opt_reads_graphs_only(cli, inputs):
    result = cli("opt", "nope.axir", "--passes", "narrow-formats", "-o", "out.axir")
    assert result.exit_code == 6
    assert "nope.axir: 1 problem\n  file: it cannot be read as text (" in result.stderr
    result = cli("opt", inputs / "tiny.onnx", "--passes", "narrow-formats", "-o", "out.axir")
    assert result.exit_code == 6
    Path("no.axir").write_text("axir 99\nhello\n")
    result = cli("opt", "no.axir", "--passes", "narrow-formats", "-o", "out.axir")
    assert result.exit_code == 6
    assert "no.axir: " in result.stderr
    assert "line 1" in result.stderr


def test_passes_lists_every_pass_of_the_package(cli):
    import approxhw.passes

    folder = Path(approxhw.passes.__file__).parent
    modules = {path.stem.replace("_", "-") for path in folder.glob("*/[!_]*.py")}
    assert len(modules) >= 8
    said = json.loads(cli("passes", "--json").stdout)
    assert {info["name"] for info in said["passes"]} == modules
    assert {info["kind"] for info in said["passes"]} <= {"algebraic", "exact", "approximating"}
    assert all(info["contract"].endswith(".") for info in said["passes"])
    bits = next(
        o for i in said["passes"] if i["name"] == "quantize-weights" for o in i["options"] if o["name"] == "bits"
    )
    assert (bits["type"], bits["default"]) == ("integer", "8")
    assert [name.split("{")[0] for name in said["pipelines"]["printed-exact"]] == [
        name[3:].replace("_", "-") for name in STEPS[1:]
    ]
    text = cli("passes").stdout
    assert all(f"{name}  (" in text for name in [*modules, "printed-exact"])


def test_passes_that_are_given_replace_the_pipeline(cli, inputs, content):
    words = (
        "compile",
        inputs / "tiny.onnx",
        "--data",
        inputs / "tiny.npz",
        "-o",
        "out",
        "--no-simulate",
        "--no-estimate",
    )
    result = cli(*words, "--passes", "printed-exact{weight_bits=5},narrow-formats")
    assert result.exit_code == 0, result.stderr
    design = ax.open_design("out").design
    assert [row["name"] for row in design.ledger].count("narrow-formats") == 2
    assert "quantize-weights{bits=5}" in design.pipeline
    before = content(Path("out"))
    result = cli(*words, "--passes", "fold-affine")  # leaves a float Graph
    assert result.exit_code in (5, 6, 7)
    assert result.stderr.startswith("error: ")
    assert content(Path("out")) == before


def transformer_block() -> Any:
    """Return attention, a residual sum and a normalisation: products, simple Nodes, host Nodes of one and several values."""
    rng = np.random.default_rng(1)
    weights = {name: rng.standard_normal((16, 16)).astype(np.float32) for name in ("wq", "wk", "wv", "wo")}
    weights |= {"scale": np.ones(16, np.float32), "bias": rng.standard_normal(16).astype(np.float32)}
    weights["big"] = rng.standard_normal((16, 512)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "wq"], ["q"], name="query"),
        helper.make_node("MatMul", ["x", "wk"], ["k"], name="key"),
        helper.make_node("MatMul", ["x", "wv"], ["v"], name="value"),
        helper.make_node("Add", ["q", "bias"], ["qb"]),
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["qb", "kt"], ["scores"], name="scores"),
        helper.make_node("Softmax", ["scores"], ["shares"], axis=-1),
        helper.make_node("MatMul", ["shares", "v"], ["mixed"], name="mix"),
        helper.make_node("MatMul", ["mixed", "wo"], ["out"], name="output"),
        helper.make_node("Add", ["out", "x"], ["sum"]),
        helper.make_node("LayerNormalization", ["sum", "scale", "bias"], ["normed"], axis=-1),
        helper.make_node("Split", ["normed"], ["left", "right"], axis=-1, num_outputs=2),
        helper.make_node("Concat", ["right", "left"], ["turned"], axis=-1),
        helper.make_node("MatMul", ["turned", "big"], ["y"], name="head"),
    ]
    graph = helper.make_graph(
        nodes,
        "block",
        [helper.make_tensor_value_info("x", 1, ["rows", 5, 16])],
        [helper.make_tensor_value_info("y", 1, None), helper.make_tensor_value_info("left", 1, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_opt_runs_passes_on_a_transformer_and_writes_it_back_equal(tmp_path: Path) -> None:
    from approxhw.engine.matrix.api import open_engine
    from approxhw.flow.opt import optimize_file
    from approxhw.numerics.mac.arithmetic import FloatMac

    model = tmp_path / "block.onnx"
    model.write_bytes(transformer_block().SerializeToString())
    written, again = tmp_path / "a" / "block.axir", tmp_path / "a" / "again.axir"
    written.parent.mkdir()
    passes = "approximate-normalization{normalization=an-1-2},approximate-normalization{layers=score*,format=float32}"
    ledger = optimize_file(model, written, passes, tensors=True, shape={"x": (2, 5, 16)}, steps=tmp_path / "steps")
    assert [row["accumulator_bits"] for row in ledger] == [20, 20]
    graph = read_graph(written)
    assert {node.kind for node in graph.nodes} == {"feed", "constant", "matmul", "add", "transpose", "host", "part"}
    assert "beside" in written.read_text()
    # once more through the text, by a pass that changes nothing
    optimize_file(written, again, "approximate-normalization{layers=score*,format=float32}")
    assert read_graph(again) == graph
    assert again.read_text() == written.read_text()
    # the same from a step
    optimize_file(model, again, passes, tensors=True, shape={"x": (2, 5, 16)}, steps=tmp_path / "steps", from_step=1)
    assert read_graph(again) == graph
    mac = FloatMac("bf16", 20, "an-1-2")
    engine = open_engine(model, mac, {"scores": None}, {"x": (2, 5, 16)})
    assert engine.graph == graph
    x = np.random.default_rng(2).standard_normal((7, 5, 16)).astype(np.float32)  # another number of rows
    expected, seen = engine.run({"x": x}), engine.on(graph).run({"x": x})
    assert expected["y"].shape == (7, 5, 512)
    assert {name: value.tobytes() for name, value in seen.items()} == {n: v.tobytes() for n, v in expected.items()}
    # onnxruntime anew, from the programs in the file
    from approxhw.frontends.runtime.host import OnnxHost
    from approxhw.ir.tensor.emulate import EmulatedEngine

    fresh = EmulatedEngine(graph, OnnxHost("block.axir")).run({"x": x})
    assert {name: value.tobytes() for name, value in fresh.items()} == {n: v.tobytes() for n, v in expected.items()}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shape": {"x": (1, 5, 16)}}, "--shape: is for Graphs of whole tensors\n    do: add --tensors"),
        (
            {"tensors": True, "data": "sklearn:iris", "shape": {"x": (1, 5, 16)}},
            "--data: opt runs no rows through a Graph of whole tensors\n    do: approxhw compile MODEL --target integer-engine",
        ),
        ({"tensors": True}, "its sizes are open"),
    ],
)
def test_opt_says_what_does_not_go_with_tensors(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    from approxhw.flow.opt import optimize_file

    model = tmp_path / "block.onnx"
    model.write_bytes(transformer_block().SerializeToString())
    with pytest.raises(OptionError, match=re.escape(said)):
        optimize_file(model, tmp_path / "out.axir", "approximate-normalization", **options)


@pytest.mark.parametrize("passes", ["quantize-model", "control-variate", "correct-bias"])
def test_passes_that_learn_from_rows_lead_to_compile(tmp_path: Path, passes: str) -> None:
    from approxhw.flow.opt import optimize_file

    model = tmp_path / "block.onnx"
    model.write_bytes(transformer_block().SerializeToString())
    with pytest.raises(PassError) as raised:
        optimize_file(model, tmp_path / "out.axir", passes, tensors=True, shape={"x": (1, 5, 16)})
    assert (
        "there are none\n    do: approxhw compile MODEL --target integer-engine --passes … --data ROWS --steps"
        in str(raised.value)
    )
    assert "give --data" not in str(raised.value)
