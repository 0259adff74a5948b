"""Passes of other packages: listed with their package, run, kept in the ledger, restarted from; what fails names who."""

from __future__ import annotations

import json

import pytest
from toy_packages import make_package

from approxhw.common.errors import PluginError
from approxhw.ir.pass_manager import describe, parse_passes, pass_named, run_passes
from approxhw.ir.random_graphs import random_graph

PASSES = "quantize-inputs,fold-affine,quantize-weights{bits=4},drop-small-weights{least=3},narrow-formats"


def test_a_pass_of_another_package_is_listed_with_it(toy):
    listed = json.loads(toy("passes", "--json"))["passes"]
    (found,) = [row for row in listed if row["package"]]
    assert (found["name"], found["package"], found["kind"]) == (
        "drop-small-weights",
        "approxhw-toy 1.0",
        "approximating",
    )
    assert found["contract"] == "Make weights whose code is below *least* zero."
    assert found["options"][0] == {
        "name": "least",
        "type": "integer",
        "default": "2",
        "help": "least code of a weight that stays, at least 1",
    }
    assert "drop-small-weights  (approximating, from approxhw-toy 1.0)" in toy("passes")


def test_it_runs_stands_in_the_ledger_and_is_restarted_from(toy, inputs, tmp_path):
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
    toy(*words, "--passes", PASSES, "--steps")
    design = json.loads((tmp_path / "out" / "design.json").read_text())
    row = design["ledger"][3]
    assert (row["spelled"], row["options"]) == ("drop-small-weights{least=3}", {"least": 3})
    assert row["notes"]
    assert row["weights"] < design["ledger"][2]["weights"]
    assert (tmp_path / "out" / "steps" / "04_drop_small_weights.axir").is_file()
    toy(*words, "--passes", PASSES, "--from-step", 4)
    assert json.loads((tmp_path / "out" / "design.json").read_text())["ledger"][3] == row
    said = toy(*words, "--passes", PASSES.replace("least=3", "least=0"), code=2)
    assert "drop-small-weights.least: 0 is less than 1" in said


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("raise RuntimeError('no')", "it failed on Graph .*: RuntimeError: no"),
        ("return 3", "TypeError: it returned int"),
    ],
)
def test_a_pass_that_fails_names_its_package(tmp_path, monkeypatch, body, why):
    code = (
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Fall:\n    'Fall.'\n    kind = 'exact'\n"
        f"    def __call__(self, graph, context): {body}\n"
    )
    name = f"falling{len(body)}"
    site = make_package(tmp_path, name, {"passes": {"fall": f"{name}_module:Fall"}}, code)
    monkeypatch.syspath_prepend(str(site))
    assert describe(pass_named("fall")).package == f"{name} 2.0"
    with pytest.raises(PluginError, match=why) as error:
        run_passes(random_graph(1), parse_passes("fall"))
    assert f"{name} 2.0, approxhw.passes fall: it failed" in str(error.value)
    assert f"pip uninstall {name}" in str(error.value)
