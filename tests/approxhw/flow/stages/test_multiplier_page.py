"""docs/approximate-multipliers.md: its examples run, its figures are those of the operators, its claims hold."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

import approxhw as ax
from approxhw.backends.estimate import synthesise
from approxhw.backends.integer_engine.operator_modules import operator_verilog
from approxhw.common.errors import OptionError
from approxhw.numerics.multipliers.families import own_operator
from approxhw.numerics.multipliers.tables import error_figures

CHECKOUT = Path(__file__).resolve().parents[4]
PAGE = (CHECKOUT / "docs" / "approximate-multipliers.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert found
    return found


@pytest.fixture
def here(cli, tmp_path: Path) -> Path:
    """The empty folder that the command line runs in, with the model and the module of the page."""
    shutil.copy(CHECKOUT / "examples" / "breast_cancer.onnx", tmp_path / "here")
    (verilog,) = blocks("verilog")
    (tmp_path / "here" / "or_multiplier.v").write_text(verilog)
    return tmp_path / "here"


def notes_of(folder: str) -> list[str]:
    ledger = ax.open_design(folder).design.ledger
    return [note for row in ledger if row["name"] == "approximate-multiplier" for note in row["notes"]]


@pytest.mark.slow
def test_the_commands_do_what_the_page_says(cli, here):
    pytest.importorskip("sklearn", reason="the page's data come with scikit-learn")
    commands = [shlex.split(line) for block in blocks("console") for line in block.splitlines()]
    assert [words[0] for words in commands] == ["approxhw"] * 4
    areas, accuracies = {}, {}
    for words in commands:
        result = cli(*words[1:], "--no-simulate", "--json")
        assert result.exit_code == 0, result.output
        said = json.loads(result.stdout)
        areas[words[-1]] = said["estimate"]["area_mm2"] / 100
        accuracies[words[-1]] = said["accuracy"]["hardware"]
    assert f"The first circuit has {areas['exact']:.2f} cm², the second {areas['truncated']:.2f} cm²" in PAGE
    loss = 100 * (accuracies["exact"] - accuracies["truncated"])
    assert f"(egfet, 1 V), at {loss:.1f} % less accuracy on test rows" in PAGE
    assert areas["chosen"] < areas["exact"]
    assert any(note.startswith("layer0_sum: truncated-") for note in notes_of("chosen"))
    (first, second) = notes_of("theirs")
    assert first.startswith("layer0_sum: or_multiplier.v, module or_multiplier: over all pairs mean error distance ")
    assert second.startswith("layer0_sum: on its own weights and training rows mean error distance ")


def test_the_commands_about_multipliers_run(cli, here):
    commands = [shlex.split(line) for block in blocks("sh") for line in block.splitlines()]
    assert [words[:2] for words in commands] == [["approxhw", "multiplier"]] * 2
    results = [cli(*words[1:]) for words in commands]
    assert [result.exit_code for result in results] == [0, 0], results[0].output + results[1].output
    said = json.loads((here / "build" / "multipliers" / "multipliers.json").read_text())
    assert {each["name"]: each["signed"] for each in said["operators"]}["or_multiplier"] == "weight"
    assert len(said["operators"]) == 8
    assert ax.tabulate("or_multiplier.npz").products.shape == (256, 16)


def test_the_python_examples_run(here, capsys):
    pytest.importorskip("sklearn", reason="the page's data come with scikit-learn")
    scope: dict[str, object] = {}
    for block in blocks("python"):
        exec(compile(block, "docs/approximate-multipliers.md", "exec"), scope)
    told = capsys.readouterr().out
    assert "layer0_sum: truncated-5 of 8 by 4 bits: over all pairs mean error distance" in told
    assert "[('exact', 0.0, " in told
    assert ax.tabulate(here / "logarithmic.npz").products.shape == (256, 16)


def test_the_module_of_the_page_is_near_the_product(here):
    table = ax.tabulate(here / "or_multiplier.v", weight="w", weight_bits=8, x_bits=4)
    assert 0 < error_figures(table).normalised < 0.05


def test_the_figures_are_those_of_the_operators():
    rows = re.search(r"<!-- figures: begin -->\n(.*?)<!-- figures: end -->", PAGE, re.DOTALL)[1].splitlines()[2:]
    assert len(rows) == 16
    for row in rows:
        name, bits, mean, normalised, worst, rate, bias, area = (cell.strip(" `") for cell in row.strip("|").split("|"))
        operator, widths = own_operator(name), tuple(map(int, bits.split("×")))
        seen = error_figures(operator.table(*widths))
        assert (mean, normalised, worst) == (
            f"{seen.mean_distance:.4g}",
            f"{seen.normalised:.3g}",
            str(seen.worst_distance),
        )
        assert (rate, bias) == (f"{seen.error_rate:.3g}", f"{seen.bias:.4g}")
        if widths == (8, 4):
            made = synthesise(operator_verilog(operator, *widths), "multiplier", "egfet").area()
            assert float(area) == pytest.approx(made, abs=0.06)


def test_the_refusal_is_as_the_page_shows_it(here):
    text = "module mul8(input [7:0] A, input [7:0] B, output [15:0] O);\n  wire signed [7:0] a, b;\n"
    text += "  assign a = A;\n  assign b = B;\n  assign O = a * b;\nendmodule\n"
    (here / "mul8.v").write_text(text)
    with pytest.raises(OptionError) as caught:
        ax.tabulate(here / "mul8.v", weight="A", signed="none")
    assert blocks("text") == [f"{caught.value}\n"]


def test_every_option_is_on_the_page():
    from dataclasses import fields

    from approxhw.passes.approximate.approximate_multiplier import ApproximateMultiplier

    for option in fields(ApproximateMultiplier):
        assert f"`{option.name}`" in PAGE, option.name


MISMATCHED = "approximate-multiplier{operator=or_multiplier.v,weight=w,signed=none,layers=0}"


def test_signs_that_do_not_match_end_the_compilation(cli, here, inputs):
    result = cli(
        "compile", inputs / "tiny.onnx", "--data", inputs / "tiny.npz", "--passes", f"printed-exact,{MISMATCHED}"
    )
    assert result.exit_code == 2
    assert (
        "port w: the module declares it signed, but signed=none is stated: the weight would be unsigned"
        in result.stderr
    )
    assert not (here / "build").exists()


def test_simulated_and_measured_like_any_other_design(cli, here, inputs, icarus):
    passes = "printed-exact,approximate-multiplier{operator=or_multiplier.v,weight=w,layers=0},narrow-formats"
    words = ("compile", inputs / "tiny.onnx", "--data", inputs / "tiny.npz", "-o", "out")
    result = cli(*words, "--passes", passes, "--no-simulate")
    assert result.exit_code == 0, result.output
    verdict = ax.open_design("out").simulate("icarus")
    assert (verdict.mismatches, verdict.vectors > 1000) == (0, True)
    assert "approximate-multiplier<8,4>" in (here / "out" / "graph.axir").read_text()
    step = cli("opt", "out/graph.axir", "--passes", "narrow-formats", "-o", "again.axir")
    assert step.exit_code == 0, step.output


def test_a_graph_in_a_file_takes_modules_too(cli, here, inputs):
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
    assert cli(*words).exit_code == 0
    for chosen in ("operator=or_multiplier.v,weight=w,layers=0", "operators=truncated-7:exact,layers=0,max_loss=1"):
        passes = f"approximate-multiplier{{{chosen}}}"
        result = cli("opt", "out/graph.axir", "--passes", passes, "--data", inputs / "tiny.npz", "-o", "changed.axir")
        assert result.exit_code == 0, result.output
        assert (here / "changed.axir").read_text().count("approximate-multiplier<") == 1
