"""Other people's multipliers: Verilog modules read, checked against what is said of them, and tabulated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import approxhw as ax
from approxhw.backends.integer_engine.operator_modules import operator_verilog
from approxhw.common.errors import InvalidDesignError, OptionError, ToolNotFoundError, VerilogError
from approxhw.numerics.multipliers.families import own_operator
from approxhw.numerics.multipliers.tables import ProductTable, error_figures

SIGNED = """// the lowest bit of the product is always 0
module mul(input signed [4:0] w, input [2:0] x, output signed [7:0] p);
  wire signed [8:0] whole;
  assign whole = w * $signed({1'b0, x});
  assign p = {whole[7:1], 1'b0};
endmodule
"""
GATES = """module mul2s(input [1:0] A, input [1:0] B, output [3:0] O);
  wire a1b0, a0b1, middle, top;
  and g0(O[0], A[0], B[0]);
  nand g1(a1b0, A[1], B[0]);
  nand g2(a0b1, A[0], B[1]);
  wire carry1, carry2, sum;
  assign {carry1, sum} = a1b0 + a0b1;
  assign O[1] = sum;
  assign {carry2, O[2]} = (A[1] & B[1]) + carry1 + 2'd1;
  assign O[3] = ~carry2;
endmodule
"""
"""A Baugh-Wooley multiplier of 2 by 2 bits: no port says signed."""

Writer = Callable[[str], Path]


@pytest.fixture
def module(tmp_path: Path) -> Writer:
    def write(text: str) -> Path:
        (tmp_path / "their.v").write_text(text)
        return tmp_path / "their.v"

    return write


def refused(path: Path, **stated: object) -> str:
    with pytest.raises((OptionError, VerilogError)) as caught:
        ax.tabulate(path, **stated)
    return str(caught.value)


def test_a_module_becomes_its_products(module):
    table = ax.tabulate(module(SIGNED), weight="w", weight_bits=5, x_bits=3)
    weights = np.where(np.arange(32) > 15, np.arange(32) - 32, np.arange(32))
    exact = weights[:, None] * np.arange(8)
    assert (table.products == exact - (exact & 1)).all()
    assert (table.name, table.signed) == ("their.v, module mul", "weight")
    assert error_figures(table).error_rate == 1 / 4


def test_gates_without_signs_are_what_is_stated(module):
    table = ax.tabulate(module(GATES), weight="A", signed="both")
    assert table.products.tolist() == [[0, 0, 0, 0], [0, 1, -2, -1], [0, -2, 4, 2], [0, -1, 2, 1]]
    for signed in ("weight", "none"):
        said = refused(module(GATES), weight="A", signed=signed)
        assert f"signed: signed={signed} is stated, but the mean error" in said
        assert "do: state signed=both, or take another multiplier" in said


@pytest.mark.parametrize("name", ["truncated-3-corrected", "broken-array-4-1", "logarithmic"])
def test_our_own_come_back_as_their_reference(module, name):
    operator = own_operator(name)
    table = ax.tabulate(module(operator_verilog(operator, 6, 5)))
    assert (table.products == operator.table(6, 5).products).all()
    assert (ax.tabulate(name, weight_bits=6, x_bits=5).products == table.products).all()


def test_declared_signs_that_contradict_what_is_stated(module):
    said = refused(module(SIGNED), weight="w", signed="none")
    assert said.startswith("multiplier their.v, module mul: 2 problems\n")
    assert "port w: the module declares it signed, but signed=none is stated: the weight would be unsigned\n" in said
    assert "port p: the module declares it signed, but signed=none is stated: the product would be unsigned\n" in said
    assert "do: state signed=weight or signed=both" in said
    said = refused(module(SIGNED), weight="x", signed="weight")
    assert "port w: the module declares it signed, but signed=weight is stated: the x would be unsigned\n" in said
    assert "do: say that it is the weight (weight=w), or signed=both where both carry two.s complement" in said.replace(
        "'", "."
    )


def test_two_signed_operands_are_stated_so(module):
    text = (
        "module m(input signed [2:0] a, input signed [2:0] b, output signed [5:0] y);\n  assign y = a * b;\nendmodule\n"
    )
    for weight in ("a", "b"):
        said = refused(module(text), weight=weight, signed="weight")
        assert "do: state signed=both\n" in f"{said}\n"
        assert "say that it is the weight" not in said
    assert ax.tabulate(module(text)).signed == "both"


def test_signs_declared_on_a_wire_count(module):
    text = "module m(a, b, y);\n  input [2:0] a, b;\n  wire signed [2:0] a;\n  output [5:0] y;\n  assign y = a * b;\nendmodule\n"
    said = refused(module(text), signed="none")
    assert "port a: the module declares it signed" in said


def test_directives_are_resolved(module, icarus):
    text = "`timescale 1ns/1ps\n`define BITS 5\n`ifdef NARROW\n`define X 2\n`else\n`define X 3\n`endif\n"
    text += SIGNED.replace("[4:0]", "[`BITS-1:0]").replace("[2:0]", "[`X-1:0]")
    assert ax.tabulate(module(text), weight="w").products.shape == (32, 8)


def test_directives_without_icarus(module, monkeypatch):
    def nowhere() -> None:
        raise ToolNotFoundError("iverilog", "install it")

    monkeypatch.setattr("approxhw.flow.stages.tabulate.find_icarus", nowhere)
    ax.tabulate(module("// `define in a comment\n" + SIGNED), weight="w")
    with pytest.raises(ToolNotFoundError, match=r"install it; their\.v has directives, which it resolves"):
        ax.tabulate(module("`timescale 1ns/1ps\n" + SIGNED), weight="w")


def test_no_other_file_is_read(module):
    said = refused(module('`include "/etc/hostname"\n' + SIGNED), weight="w")
    assert '`include "/etc/hostname": other files are not read\n    do: put all modules into one file' in said


CLOCKED = """module m(input clock, input [3:0] a, input [3:0] b, output reg [7:0] y, output ready);
  assign ready = 1'b1;
  always @(posedge clock) y <= a * b;
endmodule
"""
LATCHED = """module m(input [3:0] a, input [3:0] b, output [7:0] y);
  reg [7:0] kept;
  assign y = kept;
  always @(*) if (a[0]) kept = a * b;
endmodule
"""


def test_registers_latches_and_ports_too_many_are_named_at_once(module):
    said = refused(module(CLOCKED), signed="none")
    assert said == (
        "multiplier their.v, module m: 3 problems\n"
        "  inputs: it has 3 inputs (clock, a, b); a multiplier has 2\n"
        "    do: wrap it in a module that has just those\n"
        "  outputs: it has 2 outputs (y, ready); a multiplier has 1\n"
        "    do: wrap it in a module that has just those\n"
        "  registers: 8 bits are stored at a clock edge (y): what it says depends on the past\n"
        "    do: give its combinational part"
    )
    said = refused(module(LATCHED), signed="none")
    assert "latches: a latch is left where some branch assigns nothing (kept): what it says depends on the past" in said


@pytest.mark.parametrize(
    ("text", "stated", "said"),
    [
        (SIGNED, {"weight": "a"}, "weight: there is no input 'a'; the inputs are: w, x\n    do: say weight=PORT"),
        (SIGNED, {"weight": "p"}, "weight: there is no input 'p'"),
        (SIGNED, {"weight": "w", "weight_bits": 8}, "weight_bits: 8 bits are stated, the multiplier has 5"),
        (SIGNED, {"weight": "w", "x_bits": 4}, "x_bits: 4 bits are stated, the multiplier has 3"),
        (SIGNED, {"weight": "w", "signed": "x"}, "signed: 'x' is not one of weight, none, both"),
        (SIGNED, {"weight": "w", "top": "mult"}, "top: there is no module 'mult'; there are: mul"),
        (SIGNED + GATES, {}, "top: the file does not tell which module it is; there are: mul, mul2s\n    do: say top="),
        (
            "module m(input [3:0] a, inout [3:0] b, output [7:0] y);\nendmodule\n",
            {},
            "port b: is inout; a multiplier has",
        ),
        (
            "module m(input signed [15:0] a, input [15:0] b, output [31:0] y);\n  assign y = a * b;\nendmodule\n",
            {},
            "ports: 16 by 16 bits: the table of its products would be too large (at most 10 bits an operand, 18 together)",
        ),
        (
            "module m #(parameter N = 11) (input [N-1:0] a, input b, output [N:0] y);\n  assign y = a & {N{b}};\nendmodule\n",
            {"signed": "none"},
            "ports: 11 by 1 bits: the table of its products would be too large",
        ),
        (
            "module m(input a, input b, output [40:0] y);\n  assign y = {40'b0, a & b};\nendmodule\n",
            {"signed": "none"},
            "port y: a product of 41 bits; at most 40",
        ),
        (
            "module m(input [1:0] a, input [1:0] b, output y);\n  wire t;\n  assign t = ~(t & a[0]);\n"
            "  assign y = t & b[0];\nendmodule\n",
            {"signed": "none"},
            "loop through t: depends on itself",
        ),
    ],
)
def test_modules_that_are_no_multiplier_as_stated(module, text, stated, said):
    assert said in refused(module(text), **stated)


def test_parameters_have_their_defaults(module):
    text = "module m #(parameter N = 3) (input [N-1:0] a, input [1:0] b, output [N+1:0] y);\n  assign y = a * b;\nendmodule\n"
    assert ax.tabulate(module(text), signed="none").products.shape == (8, 4)


def test_one_of_several_modules(module):
    assert ax.tabulate(module(SIGNED + GATES), weight="A", signed="both", top="mul2s").products.shape == (4, 4)


def test_files_that_are_none(module, tmp_path):
    assert "nowhere.v: there is no such file\n    do: check the path" in refused(tmp_path / "nowhere.v")
    (tmp_path / "bytes.v").write_bytes(b"\xff\xfe\x00")
    assert "bytes.v: it cannot be read as text" in refused(tmp_path / "bytes.v")
    with pytest.raises(InvalidDesignError, match="pyverilog: cannot read it"):
        ax.tabulate(module("module m(input [3:0] a; endmodule\n"))


def test_our_own_have_to_be_told_their_widths():
    with pytest.raises(
        OptionError, match="logarithmic: its widths are not stated\n    do: give weight_bits and x_bits"
    ):
        ax.tabulate("logarithmic", weight_bits=4)


def test_tables_come_back(tmp_path):
    ax.tabulate("truncated-2", weight_bits=4, x_bits=4).save(tmp_path / "t.npz")
    table = ax.tabulate(tmp_path / "t.npz")
    assert isinstance(table, ProductTable)
    assert (table.products == own_operator("truncated-2").table(4, 4).products).all()


# What nobody states ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [("a", "b"), ("$signed(a)", "$signed(b)"), ("$signed(a)", "$signed({1'b0, b})")])
def test_signs_and_ports_are_found_out(module, kind):
    """Inputs of any names: the first is the weight; all products say how they are read."""
    signed = "both" if kind[1] == "$signed(b)" else "weight" if "$" in kind[0] else "none"
    wide = "wire signed [7:0] o" if signed != "none" else "wire [7:0] o"
    text = f"module m(input [3:0] a, input [3:0] b, output [7:0] y);\n  {wide};\n  assign o = {kind[0]} * {kind[1]};\n"
    table = ax.tabulate(module(f"{text}  assign y = o;\nendmodule\n"), weight=None, signed=None)
    assert table.signed == signed
    assert error_figures(table).worst_distance == 0


def test_the_weight_is_the_port_of_the_stated_width(module):
    text = "module m(input [2:0] s, input [3:0] t, output [6:0] y);\n  assign y = s * t;\nendmodule\n"
    assert ax.tabulate(module(text), weight=None, signed=None).products.shape == (8, 16)
    assert ax.tabulate(module(text), weight=None, signed=None, weight_bits=4).products.shape == (16, 8)
    said = refused(module(text), weight=None, signed=None, weight_bits=5)
    assert "weight_bits: 5 bits are stated, the multiplier has 3" in said


def test_declared_signs_narrow_what_may_be_found(module):
    text = "module m(input signed [3:0] a, input [3:0] b, output signed [7:0] y);\n"
    said = refused(module(f"{text}  assign y = {{4'b0, a[2:0], 1'b0}} ^ b;\nendmodule\n"), weight=None, signed=None)
    assert "no reading fits its products; mean errors as signed=weight: " in said
    assert "signed=none" not in said


def test_a_module_called_as_its_file_is_the_top(module):
    unused = "module buffer(input a, output y);\n  assign y = a;\nendmodule\n"
    text = SIGNED.replace("module mul(", "module their(") + unused
    assert ax.tabulate(module(text), weight="w").name == "their.v, module their"


UNDEFINED = """module m(input [2:0] a, input [2:0] b, output reg [5:0] y);
  always @(*)
    case (a)
      3'd7: y = {value};
      default: y = a * b;
    endcase
endmodule
"""


def test_products_that_depend_on_undefined_values(module):
    said = refused(module(UNDEFINED.replace("{value}", "6'b1xx000")), weight=None, signed=None)
    assert said == (
        "multiplier their.v, module m: 1 problem\n"
        "  undefined products: 8 of 64 products are x or z, the first of them at a = 7, b = 0\n"
        "    do: give every product a value"
    )
    unread = UNDEFINED.replace("{value}", "a * b").replace("default:", "3'bxxx: y = 6'hx;\n      default:")
    assert ax.tabulate(module(unread), weight=None, signed=None).signed == "none"


def test_outputs_that_nothing_drives(module):
    """The advice of ``estimate``, to count them as 0, is none here."""
    said = refused(
        module("module m(input [2:0] a, input [2:0] b, output [5:0] y);\n  assign y[4:0] = a * b;\nendmodule\n")
    )
    assert "y[5]" in said
    assert "allow" not in said


def test_parts_without_contents(module):
    text = "module m(input [2:0] a, input [2:0] b, output [5:0] y);\n  FAX1 u (.A(a[0]), .Y(y[0]));\nendmodule\n"
    said = refused(module(text))
    assert "module FAX1: is instantiated (instance u in module m), but no file defines it\n" in said
    assert "    do: put all modules into one file" in said


@pytest.mark.parametrize(
    ("product", "told"),
    [
        (
            "a * b + (6'd8 / b - 6'd8 / b)",
            "undefined products: 8 of 64 products are x or z, the first of them at a = 0, b = 0",
        ),
        ("(a * b) / b * b", "undefined products: 8 of 64 products are x or z, the first of them at a = 0, b = 0"),
    ],
)
def test_products_that_are_undefined_for_some_operands(module, product, told):
    """Cells have a value for a division by 0, the text has none."""
    text = f"module m(input [2:0] a, input [2:0] b, output [5:0] y);\n  assign y = {product};\nendmodule\n"
    assert told in refused(module(text))


def test_what_simulation_and_synthesis_read_differently(module):
    text = UNDEFINED.replace("{value}", "a * b").replace("@(*)", "@(a)")
    said = refused(module(text))
    assert "products: simulation and synthesis disagree on " in said
    assert "do: name every input that a block reads in its sensitivity list: always @(*)" in said


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("assign #1 y = a * b;", "#1"),
        ("reg [5:0] r; always @(*) r = #3 a * b; assign y = r;", "#3"),
        ("wire #(1, 2) w; assign y = a * b;", "#(…)"),
    ],
)
def test_delays_are_named(module, written, told):
    text = f"module m(input [2:0] a, input [2:0] b, output [5:0] y);\n  {written}\nendmodule\n"
    said = refused(module(text))
    assert (
        f"delays: {told}: an engine reads the product in the clock of its operands, and Verilator knows no time" in said
    )


def test_parameters_of_instances_are_no_delays(module):
    text = (
        "module m #(parameter W = 3) (input [2:0] a, input [2:0] b, output [5:0] y);\n  part #(W) u (.a(a), .b(b), .y(y));\n"
        "endmodule\nmodule part #(parameter W = 1) (input [W-1:0] a, input [W-1:0] b, output [2*W-1:0] y);\n"
        "  assign y = a * b;  // no #1 here\nendmodule\n"
    )
    assert ax.tabulate(module(text)).signed == "none"


def test_what_multiplies_nothing_is_refused_whatever_is_stated(module):
    text = "module m(input [2:0] a, input [2:0] b, output [5:0] y);\n  assign y = {{a}};\nendmodule\n"
    for product in ("6'd12", "6'd9 + a[0]"):
        said = refused(module(text.replace("{{a}}", product)), signed="none")
        assert "that of one number for all" in said
        assert "it multiplies nothing" in said


def test_errors_name_the_file_that_was_given(module):
    said = refused(
        module("module m(input [2:0] a, input [2:0] b, output [5:0] y);\n  assign y = a * sun;\nendmodule\n")
    )
    assert "source.v" not in said
