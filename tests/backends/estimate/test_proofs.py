"""SAT proofs: equal blocks are proven, a flipped gate is found and written down."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from approxhw.backends.estimate import load_library, prove_blocks, synthesise
from approxhw.backends.estimate.synthesis.proofs import verilog_models
from approxhw.common.errors import MismatchError, OptionError

SOURCE = """
module mul #(parameter W = 2) (input [W-1:0] a, b, output [2*W-1:0] p); assign p = a * b; endmodule
module acc(input clk, input [2:0] d, output reg [2:0] q); always @(posedge clk) q <= q + d; endmodule
module t(input [4:0] a, b, input clk, output [9:0] p, output [3:0] r, output [2:0] q);
  mul #(5) big(a, b, p); mul small(a[1:0], b[1:0], r); acc sum(clk, a[2:0], q); endmodule
"""


@pytest.mark.parametrize("library", ["egfet", "sky130"])
def test_blocks_are_proven_and_wide_ones_named(library: str) -> None:
    proofs = {proof.module.split("\\W")[0]: proof for proof in prove_blocks(SOURCE, "t", library)}
    assert set(proofs) == {"t", "mul", "$paramod\\mul", "acc"}
    assert (proofs["t"].proven, proofs["t"].reason) == (False, "more than 10 input bits")
    for name, bits in (("mul", 4), ("$paramod\\mul", 10), ("acc", 4)):
        assert proofs[name].proven, proofs[name].reason
        assert proofs[name].input_bits == bits


@pytest.mark.parametrize(("module", "old", "new"), [
    ("mul", "NAND2X1", "NOR2X1"),
    ("acc", "NAND2X1", "NOR2X1"),
])  # fmt: skip
def test_flipped_gate_is_found_and_written_down(module: str, old: str, new: str, tmp_path: Path) -> None:
    netlist = synthesise(SOURCE, "t", flatten=False)
    at = netlist.verilog.index(f"module {module}(")
    broken = netlist.verilog[:at] + netlist.verilog[at:].replace(old, new, 1)
    assert broken != netlist.verilog
    with pytest.raises(
        MismatchError, match=f"netlist of module {module} and its source: 1 of 1 vectors differ"
    ) as caught:
        prove_blocks(SOURCE, "t", netlist=replace(netlist, verilog=broken), folder=tmp_path)
    record = json.loads(caught.value.file.read_text())
    assert caught.value.file.parent == tmp_path
    assert record["module"] == module
    assert record["expected"] != record["seen"]
    if module == "acc":
        assert len(record["inputs"]["d"]) == len(record["seen"]["q"]) >= 2  # it takes a clock to show
    if module == "mul":
        a, b, p = (int(bits[0], 2) for bits in (*record["inputs"].values(), *record["expected"].values()))
        assert p == a * b  # the source is right, and the input is a real one
        assert set(record["inputs"]) == {"a", "b"}


def test_undefined_bits_of_the_source_may_become_anything() -> None:
    source = (
        "module t(input [1:0] a, output reg y); "
        "always @* case (a) 0: y = 1; 1: y = 0; default: y = 1'bx; endcase endmodule"
    )
    (proof,) = prove_blocks(source, "t")
    assert proof.proven


def test_time_limit_leaves_the_block_open() -> None:
    source = "module t(input [15:0] a, input [15:0] b, output [31:0] p); assign p = a * b; endmodule"
    netlist = synthesise(source, "t", flatten=False)
    (proof,) = prove_blocks(source, "t", netlist=netlist, max_input_bits=32, timeout=5.0)
    assert not proof.proven
    assert proof.reason.startswith("not decided in")


def test_netlist_of_another_source() -> None:
    netlist = synthesise(SOURCE, "t", flatten=False)
    with pytest.raises(OptionError, match="module mul: is in the netlist, but not in the source"):
        prove_blocks(SOURCE.replace("module mul", "module mux").replace(" mul ", " mux "), "t", netlist=netlist)


def test_models_describe_every_cell() -> None:
    text = verilog_models(load_library("sky130"))
    assert "module a21oi_1(input A1, input A2, input B1, output Y);\n  assign Y = ~((A1 & A2) | B1);\nendmodule" in text
    assert text.count("endmodule") == len(load_library("sky130").cells) + 1
