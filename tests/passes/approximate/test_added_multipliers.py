"""Multipliers of other packages: operator names for tables and Verilog modules, in the pass and in tabulate()."""

from __future__ import annotations

import json

import numpy as np
import pytest
from toy_packages import make_package

import approxhw as ax
from approxhw.common.errors import PassError, PluginError
from approxhw.ir.kinds import Dense
from approxhw.ir.pass_manager import PassContext, parse_passes, run_passes
from approxhw.ir.random_graphs import random_graph
from approxhw.numerics.mac.arithmetic import Exact

QUANTISED = "quantize-inputs,fold-affine,quantize-weights,drop-constant,center-logits"


def test_operators_of_another_package_make_products(toy):
    code = """
import numpy as np
import approxhw as ax
table, module = ax.tabulate("toy-table"), ax.tabulate("toy-module", x_bits=4)
w, x = np.ix_(module.weights, module.codes)
assert (table.products == (w * x & ~3)).all()
assert (module.products == w * (x & ~1) + (x & 1) * (w >> 1)).all()
print(table.name, module.name, module.signed)
"""
    assert toy("-c", code) == "toy-table toy_multiplier.v, module toy_multiplier weight\n"


def test_the_pass_takes_them_by_name(toy, tmp_path):
    network = {
        "weights0": [[3, 2, -2], [-1, 2, 1]],
        "bias0": [-1, 0.5],
        "weights1": [[1, -1], [-2, 1], [0.5, 1.5]],
        "bias1": [0.25, 0.5, -2],
    }
    (tmp_path / "net.toy").write_text(json.dumps(network))
    readings = np.random.default_rng(1).random((40, 3))
    np.savez(tmp_path / "d.npz", X_train=readings, y_train=np.arange(40) % 3)
    words = ("compile", "net.toy", "--data", "d.npz", "-o", "out", "--no-simulate", "--no-estimate", "--passes")
    toy(*words, f"{QUANTISED},approximate-multiplier{{operators=toy-table:toy-module:exact,max-loss=1,layers=0}}")
    (row,) = json.loads((tmp_path / "out" / "design.json").read_text())["ledger"][-1:]
    assert "mm² saved in this layer alone: toy-table" in row["notes"][0]
    said = toy(*words, f"{QUANTISED},approximate-multiplier{{operator=toy-table,weight-bits=7}}", code=7)
    assert "weight_bits: 7 bits are stated, the multiplier has 8" in said
    said = toy(*words, f"{QUANTISED},approximate-multiplier{{operator=toy-table,signed=none}}", code=2)
    assert "'none' is stated of operators that say it themselves" in said
    said = toy(*words, f"{QUANTISED},approximate-multiplier{{operator=tioy}}", code=2)
    assert "rounded, toy-module, toy-table, and files that end in" in said


def test_tables_that_are_none_name_their_package(tmp_path, monkeypatch):
    code = (
        "from pathlib import Path\nfrom approxhw.numerics.multipliers.plugins import MultiplierFile\n"
        "GONE, TEXT, NUMBER = MultiplierFile(Path('no.v')), MultiplierFile(Path('no.txt')), 3\n"
    )
    entries = {name.lower(): f"products_module:{name}" for name in ("GONE", "TEXT", "NUMBER")}
    make_package(tmp_path, "products", {"multipliers": entries}, code)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, why in (
        ("gone", r"there is no file no\.v"),
        ("text", r"no\.txt ends in none of \.npz, \.v, \.sv"),
        ("number", "it is of type int"),
    ):
        with pytest.raises(PluginError, match=f"products 2.0, .*: {why}"):
            ax.tabulate(name)
        assert parse_passes(f"approximate-multiplier{{operator={name}}}"), "nothing is loaded before it is used"


def test_a_module_needs_somebody_who_tabulates(tmp_path, monkeypatch):
    (tmp_path / "m.v").write_text("module m(input [7:0] a, input [3:0] b, output [11:0] p); endmodule\n")
    code = (
        "from pathlib import Path\nfrom approxhw.numerics.multipliers.plugins import MultiplierFile\n"
        "M = MultiplierFile(Path(__file__).parent / 'm.v')\n"
    )
    make_package(tmp_path, "modules", {"multipliers": {"mine": "modules_module:M"}}, code)
    monkeypatch.syspath_prepend(str(tmp_path))
    graphs = ([node.op for node in g.nodes if isinstance(node.op, Dense)] for g in map(random_graph, range(1, 100)))
    seed = next(
        n for n, found in enumerate(graphs, 1) if found and all(isinstance(op.arithmetic, Exact) for op in found)
    )
    with pytest.raises(PassError, match="it is a Verilog module, and nothing here tabulates one"):
        run_passes(random_graph(seed), parse_passes("approximate-multiplier{operator=mine}"), PassContext())
