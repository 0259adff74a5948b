"""Errors of the command line: the text, the exit code, JSON for machines, a traceback for -v and for nobody else."""

from __future__ import annotations

import json
import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

QUICK = ("--no-simulate", "--no-estimate")


def _error(result, code: int) -> str:
    """Return the text after ``error: `` of a *result* that has to have left with *code* and printed nothing else."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    return result.stderr.removeprefix("error: ")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("compil model.onnx", "no such command 'compil'; did you mean 'compile'?"),
        (
            "frobnicate",
            "no such command 'frobnicate'; there are check, compile, compress, eight-bit-rtl, estimate, export, fuzz, link-model,"
            " multiplier, opt, passes, report, search, simulate",
        ),
        ("compile m.onnx --dataa d.npz", "No such option '--dataa'. (Did you mean one of: '--data', '--task'?)"),
        ("simulate d --simulato icarus", "No such option '--simulato'. Did you mean '--simulator'?"),
        ("compile m.onnx --weight-bits abc", "Invalid value for '--weight-bits': 'abc' is not a valid integer."),
        ("simulate d --random -1", "Invalid value for '--random': -1 is not in the range x>=0."),
        ("simulate d --timeout 0", "Invalid value for '--timeout': 0.0 is not in the range x>0."),
        ("estimate d --timeout -3", "Invalid value for '--timeout': -3.0 is not in the range x>0."),
        ("fuzz --count 0", "Invalid value for '--count': 0 is not in the range x>=1."),
        ("check", "Missing argument 'MODEL'."),
        ("opt g.axir --passes fold-affine", "Missing option '-o' / '--output'."),
    ],
)
def test_words_that_mean_nothing_are_named_with_what_is_near(cli, words, text):
    result = cli(*words.split())
    assert result.exit_code == 2
    assert result.stdout == ""
    assert f"Error: {text}\n" in result.stderr
    machine = cli(*words.split(), "--json")
    assert machine.exit_code == 2
    assert json.loads(machine.stdout) == {"error": text, "exit_code": 2}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("--target printd", "compile: 1 problem\n  --target: there is no target 'printd'; did you mean 'printed'?"),
        ("--pipeline printed-exat", "printed-exat: there is no pipeline of this name; did you mean 'printed-exact'?"),
        ("--passes fold-afine", "fold-afine: there is no pass or pipeline of this name; did you mean 'fold-affine'?"),
        ("--passes quantize-weights{bit=3}", "quantize-weights has no such option; did you mean 'bits'?"),
        ("--passes quantize-weights{bits=many}", "quantize-weights.bits: 'many' is no integer"),
        (
            "--passes quantize-weights{bits",
            "cannot read 'quantize-weights{bits'\n    do: write name{option=value,option=value},name,…",
        ),
        ("--low a --high 1", "--low: 'a' is no finite number, nor such numbers with commas between"),
        ("--low 0 --high 1,,2", "--high: '1,,2' is no finite number"),
        ("--low nan --high 1", "--low: 'nan' is no finite number"),
        ("--low 0 --high 1e999", "--high: '1e999' is no finite number"),
        ("--weight-bits 1", "quantize-weights.bits: 1 is not in 2…16"),
        ("--weight-bits 17", "quantize-weights.bits: 17 is not in 2…16"),
        ("--input-bits 0", "quantize-inputs.bits: 0 does not lie in 1…16"),
        ("--hidden-bits 99", "requantize-hidden.bits: 99 is not in 1…32"),
        (
            "--input-code floor16 --input-bits 5",
            "quantize-inputs.bits: floor16 makes 4-bit codes, bits is 5\n    do: say bits=4, or code=round",
        ),
        ("--input-code floor17", "quantize-inputs.code: there is no 'floor17'; there are round, floor16"),
        ("--from-step 99", "--from-step: there is no step 99; this pipeline has steps 0 to 6"),
        ("--from-step -1", "--from-step: there is no step -1; this pipeline has steps 0 to 6"),
    ],
)
def test_options_of_compile_that_cannot_be(cli, inputs, words, text):
    given = ["compile", inputs / "tiny.onnx", "--data", inputs / "tiny.npz", "-o", "out", *QUICK, *words.split()]
    assert text in _error(cli(*given), 2)
    machine = cli(*given, "--json")
    said = json.loads(machine.stdout)
    assert set(said) == {"error", "exit_code"}
    assert text in said["error"]
    assert said["exit_code"] == machine.exit_code == 2


def test_a_mistyped_library_is_refused_before_anything_is_built(cli, inputs, content, tmp_path):
    words = ("compile", inputs / "tiny.onnx", "--data", inputs / "tiny.npz", "--library", "egfit", "-o", "out")
    said = _error(cli(*words), 2)
    assert "egfit: no built-in library and no file of that name; did you mean 'egfet'?" in said
    assert content(tmp_path / "here") == {}


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ("", 7, "low, high: no training rows to take the range of each feature from\n    do: give data with training"),
        ("--low 0", 7, "or the options low and high"),
        ("--low 0,1 --high 1,2", 7, "pass quantize-inputs: 2 problems\n  low: 2 numbers for 3 features\n"),
        ("--low 1 --high 0", 7, "low, high: low is greater than high for some feature"),
    ],
)
def test_ranges_that_are_missing_or_wrong(cli, inputs, words, code, text):
    assert text in _error(cli("compile", inputs / "tiny.onnx", "-o", "out", *QUICK, *words.split()), code)


def _save(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_unusable_data_is_refused_with_every_fault(cli, inputs, tmp_path):
    rows, classes = np.random.default_rng(0).random((9, 3)), np.arange(9) % 3
    holes = rows.copy()
    holes[4, 1], holes[6, 2] = np.nan, np.inf
    cases = {
        "holes": (
            {"X_train": holes, "y_train": classes, "X_test": rows[:, :2], "y_test": classes + 1},
            (
                "4 problems",
                "X_train: 2 of 9 rows hold NaN or infinity: rows 4, 6, counted from 0",
                "splits differ in their features: 3, 2",
                "labels 3 are not in 0…2",
            ),
        ),
        "counts": ({"X": rows, "y": classes[:5]}, ("X, y: 9 rows, but 5 labels",)),
        "negative": ({"X": rows, "y": classes - 1}, ("labels -1 are not in 0…2",)),
        "keys": ({"x": rows, "labels": classes}, ("X, y are missing; there is labels, x",)),
        "empty": ({"X": rows[:0], "y": classes[:0]}, ("it has no rows",)),
    }
    for name, (arrays, texts) in cases.items():
        path = _save(tmp_path / f"{name}.npz", **arrays)
        said = _error(cli("compile", inputs / "tiny.onnx", "--data", path, "-o", "out", *QUICK), 5)
        for text in texts:
            assert text in said, (name, said)
    said = _error(cli("compile", inputs / "tiny.onnx", "--data", inputs / "tiney.npz", "-o", "out", *QUICK), 5)
    assert "tiney.npz: there is no such file; did you mean 'tiny.npz'?" in said
    pickled = _save(tmp_path / "pickled.npz", X=np.array([[object()]], dtype=object), y=np.zeros(1, int))
    said = _error(cli("compile", inputs / "tiny.onnx", "--data", pickled, "-o", "out", *QUICK), 5)
    assert "pickled.npz" in said


def test_check_lists_every_unsupported_node_at_once(cli, tmp_path):
    nodes = [
        helper.make_node("LpNormalization", ["x"], ["a"], name="wave"),
        helper.make_node("LSTM", ["a", "w", "r"], ["b"], name="memory", hidden_size=2),
        helper.make_node("Hardmax", ["b"], ["c"], name="soft"),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 3]) for name in "xwrc"]
    graph = helper.make_graph(nodes, "g", ports[:3], ports[3:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "odd.onnx")
    said = _error(cli("check", tmp_path / "odd.onnx"), 3)
    for name, operator in (("wave", "LpNormalization"), ("memory", "LSTM"), ("soft", "Hardmax")):
        line = next(line for line in said.splitlines() if name in line)
        assert operator in line, line
    assert said.count("    do: ") >= 3
    assert _error(cli("compile", tmp_path / "odd.onnx", "--low", 0, "--high", 1, *QUICK), 3) == said.replace(
        f"{tmp_path}/", ""
    )


def test_check_says_what_can_be_compiled(cli, inputs):
    result = cli("check", inputs / "tiny.onnx")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{inputs / 'tiny.onnx'}: can be compiled: 3 inputs, 3 classes\n"
    said = json.loads(cli("check", inputs / "tiny.onnx", "--json").stdout)
    assert said == {"model": str(inputs / "tiny.onnx"), "problems": [], "inputs": 3, "classes": 3}


def test_model_files_that_are_none(cli, inputs, tmp_path):
    (tmp_path / "cut.onnx").write_bytes((inputs / "tiny.onnx").read_bytes()[:100])
    for command in ("check", "compile"):
        assert "this is no ONNX model, or one that was cut short" in _error(cli(command, tmp_path / "cut.onnx"), 4)
        assert "nope.onnx: there is no such file" in _error(cli(command, "nope.onnx"), 4)
        assert "this is a folder, not a model file" in _error(cli(command, tmp_path), 4)
        assert "/dev/null: this is a device, not a model file" in _error(cli(command, "/dev/null"), 4)


def test_pipes_are_called_pipes(cli, tmp_path):
    """As they come from ``<(zcat model.onnx.gz)`` in a shell."""
    pipe, source = tmp_path / "pipe", tmp_path / "a.v"
    os.mkfifo(pipe)
    source.write_text("module a(input x, output y); assign y = ~x; endmodule\n")
    assert f"{pipe}: this is a pipe, not a model file" in _error(cli("check", pipe), 4)
    assert "no built-in library and that is a pipe; built in" in _error(cli("estimate", source, "--liberty", pipe), 2)
    assert f"{pipe}: it is a pipe, no file\n    do: save it first" in _error(
        cli("estimate", source, "--vectors", pipe), 5
    )


def test_link_model_leaves_nothing_unheard_beside_published(cli, tmp_path):
    said = _error(cli("link-model", "--published", "--plot", tmp_path / "a.svg", "--per-node", 2), 2)
    assert "--per-node: --published recomputes what was published, and takes no other option" in said
    assert "--plot" in said
    assert cli("link-model", "--published").exit_code == 0


def test_designs_that_are_none(cli, inputs):
    for command in ("simulate", "report"):
        said = _error(cli(command, "nope"), 9)
        assert said.startswith("nope: 1 problem\n  design.json: no design (")
        assert "    do: make it with: approxhw compile MODEL --data DATA -o FOLDER" in said
    assert "design.json: no design (" in _error(cli("simulate", inputs / "tiny.npz"), 9)
    assert "design.json: no design (" in _error(cli("estimate", inputs), 9)
    assert "nope.v: there is no such design folder or Verilog file" in _error(cli("estimate", "nope.v"), 2)


@pytest.mark.parametrize("words", [("simulate", "--layer", "0", "--pause", "0.5"), ("estimate", "--clock-ns", "5")])
def test_a_folder_without_a_design_is_said_before_options_of_one_target(cli, tmp_path, words):
    command, *options = words
    told = cli(command, str(tmp_path), *options)
    assert told.exit_code != 0
    assert "design.json: no design" in told.stderr
    assert options[0] not in told.stderr


def test_settings_of_simulate_and_estimate_that_cannot_be(cli, design):
    assert "simulator: veriltor is unknown\n    do: icarus or verilator" in _error(
        cli("simulate", design, "--simulator", "veriltor"), 2
    )
    for words, text in {
        "--library egfit": "did you mean 'egfet'?",
        "--top x --vectors v.npz": "estimate: 2 problems\n  --top: is for Verilog files; a design folder knows its own",
        "--frequency -1": "frequency: -1.0 is no rate",
        "--frequency nan": "frequency: nan is no rate",
        "--recipe best": "recipe: 'best' is not one of reference, smallest",
    }.items():
        assert text in _error(cli("estimate", design, *words.split()), 2)
    assert "yosys: not done after 0.01 s, ended" in _error(cli("estimate", design, "--timeout", 0.01), 14)


def test_only_v_shows_tracebacks(cli):
    quiet, loud = cli("simulate", "nope"), cli("simulate", "nope", "-v")
    assert "Traceback" not in quiet.output
    assert "Traceback (most recent call last)" in loud.stderr
    assert loud.stderr.endswith(quiet.stderr)
    assert (quiet.exit_code, loud.exit_code) == (9, 9)
    assert json.loads(cli("simulate", "nope", "-v", "--json").stdout)["exit_code"] == 9


def test_a_defect_of_ours_says_so_and_leaves_with_70(cli, inputs, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("one by none")

    monkeypatch.setattr("approxhw.flow.compile.check", broken)
    said = _error(cli("check", inputs / "tiny.onnx"), 70)
    assert said == (
        "defect of approxhw: ZeroDivisionError: one by none\n    do: run it again with -v and report what it says\n"
    )
    assert "Traceback" in cli("check", inputs / "tiny.onnx", "-v").stderr
    assert json.loads(cli("check", inputs / "tiny.onnx", "--json").stdout)["exit_code"] == 70
