"""Verilog that describes no circuit is refused with everything that is wrong named; what is legal is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from approxhw.backends.estimate import estimate, synthesise
from approxhw.backends.estimate.synthesis.soundness import may_be_undefined, read_check, spelled_bits
from approxhw.backends.estimate.synthesis.source_files import read_sources
from approxhw.common.errors import LibraryError, OptionError, VerilogError

BROKEN = """module adder(input a, b, c, output s, output [1:0] never);
  assign s = a ^ b ^ c; assign never[0] = a;
endmodule
module broken(input [3:0] a, b, input clk, output [4:0] s, output t, output reg q, output [3:0] part, output z, output [1:0] x,
              output y, output loop, output [1:0] open);
  wire [4:0] sum; assign sum = a + b; assign s = sun;
  adder floating(.a(a[0]), .b(b[0]), .s(t), .never(open));
  reg ck; always @(posedge ck) q <= a[0];
  assign part[1] = a[1];
  assign z = 1'bz; assign x = {1'bx, a[0]};
  assign y = a[0] & b[0]; assign y = a[0] | b[0];
  wire ring; assign ring = ~ring; assign loop = ring & a[0];
endmodule
"""
LEGAL = """module full(input a, b, c, output s, co); assign {co, s} = a + b + c; endmodule
module probe(input clk, input [3:0] x); endmodule
module legal #(parameter W = 4) (input clk, input [W-1:0] a, b, input unused, input [1:0] sel, input we,
    output reg [W-1:0] y, output [W-1:0] f, output p, k, g, c, r0, output reg [W-1:0] m);
  wire unread; assign unread = a[0] & b[0];
  full one(.a(a[0]), .b(b[0]), .c(1'b0), .s(p), .co());
  full idle(.a(a[1]), .b(b[1]), .c(), .s(), .co());
  probe watching(.clk(clk), .x(a * b));
  always @* casez (sel) 2'b1?: y = a; 2'b01: y = b; default: y = 4'bx; endcase
  function [W-1:0] mix(input [W-1:0] q); integer i; begin mix = 0; for (i = 0; i < W; i = i + 1) mix = mix ^ (q << i); end
  endfunction
  assign f = mix(a);
  reg [W-1:0] mem [0:3]; always @(posedge clk) begin if (we) mem[sel] <= a; m <= mem[b[1:0]]; end
  wire [4:0] ripple; assign ripple[0] = 1'b0; genvar i;
  generate for (i = 0; i < 4; i = i + 1) begin : bits assign ripple[i+1] = ripple[i] ^ a[i]; end endgenerate
  assign k = ripple[4]; supply1 vdd; assign g = vdd & a[0];
  reg [3:0] fixed; initial fixed = 4'd9; assign c = ^(fixed & a);
  reg toggle; initial toggle = 1; always @(posedge clk) toggle <= #1 ~toggle; assign r0 = toggle;
  specify (a => f) = 1; endspecify
  initial $display("hi");
  always @(posedge clk) if (we) $display("%d", a * b);
endmodule
"""


def test_everything_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(VerilogError) as caught:
        synthesise(BROKEN, "broken")
    told = {problem.where: problem for problem in caught.value.problems}
    assert told["net sun"].why == (
        "is read, but declared and driven nowhere: most likely the name is misspelt (source.v, line 6)"
    )
    assert told["net sun"].remedy.startswith("correct the name; --allow-undriven (allow_undriven=True in Python)")
    assert "input c of instance floating is open" in told["net floating.c"].why
    assert "is a clock, and nothing drives it" in told["net ck"].why
    assert told["net part[3:2,0]"].why == "nothing drives these bits: 3 of 4 (source.v, line 4)"
    assert any("never[1]" in where or "open[1]" in where for where in told)
    assert told["output z"].why == "is z whatever the inputs are: nothing gives it a value"
    assert told["output x[1]"].why == "is x whatever the inputs are: nothing gives it a value"
    assert told["net y"].why == "has several drivers at once: and at source.v, line 11; or at source.v, line 11"
    assert "depends on itself without a register" in told["loop through ring"].why
    assert len(told) == 9
    assert caught.value.exit_code == 18


def test_undriven_nets_count_as_0_where_that_is_asked_for() -> None:
    source = "module t(input [3:0] a, output [3:0] s, output k); assign s = a ^ sun; assign k = sun; endmodule"
    found = estimate(source, "t", allow_undriven=True)
    assert found.cells == 0
    (note,) = found.notes
    assert note.startswith("counted as 0, as allowed: net sun (is read, but declared and driven nowhere")
    assert found.as_json()["notes"] == [note]


def test_what_is_calculated_from_an_undriven_net_is_not_left_out() -> None:
    head = "module t(input a, b, output s, c); wire open;"
    half = estimate(f"{head} assign {{c, s}} = a + b; endmodule", "t")
    assert half.area_mm2 > 1
    found = estimate(f"{head} assign {{c, s}} = a + b + open; endmodule", "t", allow_undriven=True)
    assert found.area_mm2 == half.area_mm2
    variable = (
        "module t(input logic [1:0] a, output logic [1:0] y); logic [1:0] never; assign y = ~a - never; endmodule"
    )
    assert estimate(variable, "t", allow_undriven=True).cells == 2
    care = "always @* case (a) 0: y = b; 1: y = b; default: y = 1'bx; endcase"  # x stays whatever is smallest
    text = f"module t(input [1:0] a, input b, output reg y, output z); wire open; assign z = open; {care} endmodule"
    assert estimate(text, "t", allow_undriven=True).cells == 0


def test_what_is_allowed_is_nets_without_a_driver_alone() -> None:
    for fault, where in (("assign y = a; assign y = b;", "net y"), ("assign y = ~y;", "loop through y")):
        with pytest.raises(VerilogError, match=where):
            synthesise(f"module t(input a, b, output y); {fault} endmodule", "t", allow_undriven=True)


def test_bits_of_one_net_are_one_problem() -> None:
    source = "module t(input [3:0] a, b, output [3:0] y); assign y = a; assign y = b; endmodule"
    with pytest.raises(VerilogError) as caught:
        synthesise(source, "t")
    (problem,) = caught.value.problems
    assert (problem.where, problem.why) == ("net y", "has several drivers at once: input a; input b")


def test_legal_verilog_is_not_refused() -> None:
    netlist = synthesise(LEGAL, "legal", "sky130")
    assert netlist.notes == ("nothing drives net idle.c; no output depends on it",)
    assert netlist.area() > 0
    assert not any(name.startswith("watching") for name in netlist.names.values())


def test_system_verilog_that_is_legal_and_that_is_not(tmp_path: Path) -> None:
    (tmp_path / "legal.sv").write_text(
        "package p; typedef struct packed { logic [3:0] x, y; } pair; endpackage\n"
        "interface bus; logic [3:0] d; modport src(output d); modport dst(input d); endinterface\n"
        "module give(input logic [3:0] a, bus.src b); assign b.d = ~a; endmodule\n"
        "module sv import p::*; (input logic clk, input pair q, output logic [4:0] s, output logic [3:0] d);\n"
        "  bus wires(); give g(q.x, wires); assign d = wires.d; logic unread;\n"
        "  typedef enum logic [1:0] {IDLE, RUN} state; state now; always_ff @(posedge clk) now <= now == IDLE ? RUN : IDLE;\n"
        "  always_ff @(posedge clk) s <= q.x + q.y + 5'(now);\n"
        "  assert property (@(posedge clk) s < 31);\nendmodule\n"
    )
    netlist = synthesise(read_sources([tmp_path / "legal.sv"]), None, "sky130")
    assert (netlist.top, netlist.notes) == ("sv", ())
    (tmp_path / "broken.sv").write_text(
        "module broken(input logic [3:0] a, input logic clk, output logic [3:0] w, output logic q);\n"
        "  logic [3:0] none; logic ck; assign w = a & none;\n  always_ff @(posedge ck) q <= a[0];\nendmodule\n"
    )
    with pytest.raises(VerilogError) as caught:
        synthesise(read_sources([tmp_path / "broken.sv"]), "broken")
    told = {problem.where: problem.why for problem in caught.value.problems}
    assert told["net none"] == "is read, and nothing drives it (broken.sv, line 2)"
    assert told["net ck"].startswith("is a clock, and nothing drives it")


def test_parts_that_nobody_models_are_named() -> None:
    source = "module t(input [3:0] a, output [3:0] y, z); DW01_inc u(.A(a), .Y(y)); RAM r(.A(a), .Y(z)); endmodule"
    with pytest.raises(VerilogError) as caught:
        synthesise(source, "t")
    assert [problem.where for problem in caught.value.problems] == ["module DW01_inc", "module RAM"]
    assert "but no file defines it" in str(caught.value)
    assert "write a module of that name that does the same" in str(caught.value)
    empty = "module RAM(input [3:0] A, output [3:0] Y); endmodule module t(input [3:0] a, output [3:0] y); RAM r(a, y); endmodule"
    with pytest.raises(LibraryError, match=r"module RAM: has no contents \(instance r in module t\)"):
        synthesise(empty, "t")


LIBRARY = """library (small) { leakage_power_unit : "1nW"; capacitive_load_unit (1, ff); nom_voltage : 1;
  cell (INV) { area : 1; pin (A) { direction : input; capacitance : 1; } pin (Y) { direction : output; function : "!A"; }
    leakage_power () { when : "A"; value : 1; } leakage_power () { when : "!A"; value : 1; } }
  cell (NAND2) { area : 2; pin (A) { direction : input; capacitance : 1; } pin (B) { direction : input; capacitance : 1; }
    pin (Y) { direction : output; function : "!(A B)"; }
    leakage_power () { when : "A B"; value : 1; } leakage_power () { when : "A !B"; value : 1; }
    leakage_power () { when : "!A B"; value : 1; } leakage_power () { when : "!A !B"; value : 1; } }
  cell (RAM8) { area : 1000; memory () { type : ram; } pin (D) { direction : input; } } }
"""


def test_cells_and_memories_of_the_library_are_measured_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "small.lib").write_text(LIBRARY)
    (tmp_path / "t.v").write_text(
        "module RAM8(input ck, input [1:0] d, output [1:0] q); endmodule\n"
        "module t(input ck, input [1:0] a, output y); wire [1:0] q;\n"
        "  RAM8 ram(.ck(ck), .d(a), .q(q)); NAND2 gate(.A(q[0]), .B(q[1]), .Y(y)); endmodule\n"
    )
    found = estimate(read_sources([tmp_path / "t.v"]), None, tmp_path / "small.lib")
    assert found.cells_by_type == {"RAM8": 1, "NAND2": 1}
    assert found.area_mm2 == pytest.approx(1002e-6)
    assert found.notes == (
        "part ram (RAM8) has no contents: its area is counted, its power and delay are not, and what it drives changes at "
        "random",
    )
    assert found.library_file == str(tmp_path / "small.lib")


def test_modules_that_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(VerilogError, match="module t: has no output, so nothing of it would be left"):
        synthesise("module t(input a, b); wire y = a & b; endmodule", "t")
    (tmp_path / "t.v").write_text(
        "module part(input a, output y); assign y = ~a; endmodule\n"
        "module t(input a, output y); part p(.a(a), .y()); assign y = a; endmodule\n"
    )
    assert synthesise(read_sources([tmp_path / "t.v"]), None).notes == (
        "nothing is left of it: each output is a constant, or an input as it comes",
    )


def test_a_port_that_is_not_there_and_a_test_bench() -> None:
    sub = "module s(input i, output o); assign o = i; endmodule "
    with pytest.raises(VerilogError, match="instance u in module t: connects port oo, which module s does not have"):
        synthesise(f"{sub} module t(input a, output y); s u(.i(a), .oo(y)); endmodule", "t")
    with pytest.raises(OptionError, match="b stands on top, but has no port, as test benches do"):
        synthesise(f"{sub} module b; wire y; s u(.i(1'b0), .o(y)); endmodule", None)


def test_what_yosys_says_is_read() -> None:
    log = (
        "Warning: Wire t.\\u.c is used but has no driver.\nWarning: Wire t.\\y [3] is used but has no driver.\n"
        "Warning: Wire t.\\y [1] is used but has no driver.\n"
        "Warning: multiple conflicting drivers for t.\\k [2]:\n    module input a[0]\n    port Y[0] of cell $or$s.v:1$2 ($or)\n"
    )
    checked = read_check(log)
    assert checked.undriven == {"u.c": (0,), "y": (1, 3)}
    assert checked.conflicts == {("k", 2): ("module input a[0]", "port Y[0] of cell $or$s.v:1$2 ($or)")}
    assert spelled_bits((0, 2, 3, 7)) == "7,3:2,0"
    dump = "module \\t\n  wire output 1 \\y\n  connect \\y %s\nend\n"
    assert may_be_undefined(dump % "{ \\a 3'x }", "t")
    assert not may_be_undefined(dump % "{ \\a4'x 3'001 }", "t")
    assert not may_be_undefined(dump % "3'x", "other")


def test_what_stops_elaboration_is_told_in_words(tmp_path: Path) -> None:
    bench, loop = tmp_path / "tb.v", tmp_path / "again.v"
    bench.write_text(
        'module t(input a, output y); assign y = ~a;\ninitial begin $display("x"); $finish; end endmodule\n'
    )
    loop.write_text("module t #(parameter N = 3)(input a, output y); t #(N) u(a, y); endmodule\n")
    for path, place, why in (
        (bench, "tb.v, line 2", "an initial block ends the simulation: this is a test bench"),
        (loop, "hierarchy", "a module instantiates itself without an end"),
    ):
        with pytest.raises(VerilogError) as caught:
            synthesise(read_sources([path]), "t")
        (problem,) = caught.value.problems
        assert problem.where == place
        assert problem.why.startswith(why)
