"""SAT proofs on small widths: sums of rows and control variates equal plain Verilog, each shown to fail on a defect."""

from __future__ import annotations

import pytest

from approxhw.backends.systolic.templates import configured
from approxhw.common.errors import ToolFailedError
from approxhw.common.tools import find_yosys, run_tool

ROWS = """
module property(input clock, input [{ROWS}*{X}-1:0] codes, input [8:0] start, output holds);
  wire [8:0] seen;
  wire [11:0] unused;
  integer_array array (.clock(clock), .select(1'b0), .codes(codes), .load(1'b0), .sums_in(12'd0), .sums_out(unused),
                       .variate_in(start), .variate_out(seen));
  reg [8:0] total;
  reg [{LATE}*9-1:0] late;
  reg [{ROWS}*{X}-1:0] before;
  integer r;
  always @(posedge clock) begin
    total = start;  // it belongs to the codes of a clock before
    for (r = 0; r < {ROWS}; r = r + 1) total = total + {TERM};
    late <= {{late[({LATE}-1)*9-1:0], total}};
    before <= codes;
  end
  assign holds = seen == late[{LATE}*9-1:({LATE}-1)*9];
endmodule
"""
END = """
module property(input clock, input number, input last, input [3:0] sum, input [3:0] variate, input [6:0] c, input [3:0] b,
                output holds);
  wire [31:0] seen;
  reg bank;
  reg leaves;
  reg [3:0] recent;
  reg [3:0] sum_late, variate_late;
  reg signed [31:0] bias, coefficient, total, total_late;
  integer_end finish (.clock(clock), .write(1'b1), .write_bank(number), .bank(bank), .leaves(leaves), .sum(sum_late),
                      .constants({{{{9{{c[6]}}}}, c, {{28{{b[3]}}}}, b}}),
                      .variate({{{{5{{variate_late[3]}}}}, variate_late}}), .result(seen));
  always @(posedge clock) begin
    bank <= number;
    leaves <= last;
    recent <= {{recent[2:0], leaves}};
    sum_late <= sum;
    variate_late <= variate;
    coefficient <= $signed(c);
    bias <= $signed(b);
    if (leaves) total <= $signed(sum_late) + bias + coefficient * $signed(variate_late);  // else it stays
    total_late <= total;
  end
  assign holds = seen == total_late | ~(|recent[3:1]);  // nothing is known before the first sum has left
endmodule
"""


def proven(verilog: str, steps: int, tmp_path) -> bool:
    """Return whether ``holds`` of ``property`` is 1 *steps* clocks after any state, whatever the inputs were."""
    (tmp_path / "property.v").write_text(verilog)
    script = tmp_path / "script.ys"
    lines = ["read_verilog property.v", "hierarchy -check -top property", "proc; flatten; memory; opt_clean"]
    lines.append(f"sat -verify -seq {steps} -prove-skip {steps - 1} -prove holds 1 -set-def-inputs property")
    script.write_text("\n".join(lines) + "\n")
    log = tmp_path / "log"
    try:
        run_tool(find_yosys(), [script], timeout=240, log=log, folder=tmp_path)
    except ToolFailedError:
        if "model found: FAIL!" in log.read_text():
            return False
        raise
    assert "no model found: SUCCESS!" in log.read_text()
    return True


def row_sums(rows: int, x_bits: int, variate: int, signed: int, depth: int) -> str:
    whole = signed and variate == x_bits
    sign = f"before[r*{x_bits}+{x_bits - 1}]" if whole else "1'b0"
    term = f"{{{{{9 - variate}{{{sign}}}}}, before[r*{x_bits}+:{variate}]}}"
    parameters = {"ROWS": rows, "COLUMNS": 1, "WEIGHT_BITS": 3, "X_BITS": x_bits, "WEIGHT_SIGNED": signed}
    parameters |= {"X_SIGNED": signed, "SUM_BITS": 12, "DEPTH": depth, "VARIATE": variate, "VARIATE_BITS": 9}
    return configured("integer_array", parameters) + ROWS.format(ROWS=rows, X=x_bits, TERM=term, LATE=rows + depth - 1)


@pytest.mark.parametrize(("rows", "x_bits", "variate", "signed", "depth"), [
    (3, 4, 2, 1, 1), (3, 4, 4, 1, 2), (2, 4, 4, 0, 1), (4, 3, 1, 1, 2),
])  # fmt: skip
def test_sums_of_rows(tmp_path, rows, x_bits, variate, signed, depth):
    assert proven(row_sums(rows, x_bits, variate, signed, depth), rows + depth + 3, tmp_path)


def test_a_control_variate_is_one_product_a_result(tmp_path):
    parameters = {"SUM_BITS": 4, "VARIATE": 4, "VARIATE_BITS": 9, "BANK_BITS": 1, "RESULT_BITS": 32}
    assert proven(configured("integer_end", parameters) + END.format(), 8, tmp_path)


@pytest.mark.parametrize(("old", "new"), [
    ("VARIATE == X_BITS && X_SIGNED != 0", "X_SIGNED != 0"),
    (".CLOCKS(r)", ".CLOCKS(r > 1 ? 1 : r)"),
])  # fmt: skip
def test_a_defect_is_no_proof_for_rows(tmp_path, old, new):
    text = row_sums(3, 4, 2, 1, 1)
    assert text.count(old) == 1
    assert not proven(text.replace(old, new), 7, tmp_path)


@pytest.mark.parametrize(("old", "new"), [
    ("{{16{coefficient[15]}}, coefficient[15:8]}", "{16'd0, coefficient[15:8]}"),
    ("if (leaves) with_bias <=", "with_bias <="),
    ("        if (leaves) begin\n", "        begin\n"),
])  # fmt: skip
def test_a_defect_is_no_proof_for_the_end(tmp_path, old, new):
    parameters = {"SUM_BITS": 4, "VARIATE": 4, "VARIATE_BITS": 9, "BANK_BITS": 1, "RESULT_BITS": 32}
    text = configured("integer_end", parameters)
    assert text.count(old) == 1
    assert not proven(text.replace(old, new) + END.format(), 8, tmp_path)
