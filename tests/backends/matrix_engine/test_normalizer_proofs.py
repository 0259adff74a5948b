"""SAT proofs about the normalizers and the adder on small widths, each of them shown to fail on an injected defect."""

from __future__ import annotations

import pytest

from approxhw.backends.systolic.templates import configured
from approxhw.common.errors import ToolFailedError
from approxhw.common.tools import find_yosys, run_tool

WIDTHS = (5, 8, 11)
SHIFTS = ((1, 1), (1, 2), (2, 2), (3, 1))

APPROXIMATE = """
module property(input [{W}:0] sum, input [9:0] exponent, input above, output holds);
  wire [{W}-1:0] v;
  wire [9:0] e;
  normalize_approximate normalize (.sum(sum), .zero(1'b0), .exponent(exponent), .above(above),
                                   .significand(v), .result_exponent(e));
  wire [9:0] aligned;  // E' of the definition
  assign aligned = exponent + {{9'd0, above}};
  wire [9:0] n;  // how far the exponent was lowered
  assign n = aligned - e;
  {claims}
endmodule
"""
NO_BIT_IS_LOST = """
  wire [2*{W}-1:0] wide;
  assign wide = {{{{{W}{{1'b0}}}}, sum[{W}-1:0]}} << n;
  assign holds = sum[{W}] | ((n == 0 | n == {K} | n == {K} + {L}) & wide == {{{{{W}{{1'b0}}}}, v}});
"""
CARRY_IS_EXACT = "assign holds = ~sum[{W}] | (v == sum[{W}:1] & e == aligned + 10'd1);"

EXACT = """
module property(input [{W}:0] sum, input [9:0] exponent, input above, output holds);
  wire [{W}-1:0] v;
  wire [9:0] e;
  normalize_exact normalize (.sum(sum), .zero(sum == 0), .exponent(exponent), .above(above),
                             .significand(v), .result_exponent(e));
  assign holds = sum == 0 ? v == 0 & e == 10'h200 : v[{W}-1];
endmodule
"""

REFERENCE = """
module reference(input [{W}:0] sum, input zero, input [9:0] exponent, input above, output reg [{W}-1:0] v, output reg [9:0] e);
  integer i;
  reg found;
  reg [9:0] n;
  always @* begin
    n = 0;
    found = 0;
    for (i = {W} - 1; i >= 0; i = i - 1)
      if (sum[i]) found = 1;
      else if (~found) n = n + 1;
    if (~{exact}) n = n < {K} ? 0 : n < {K} + {L} ? {K} : {K} + {L};
    n = n - n % {step};
    v = sum[{W}] ? sum >> {step} : sum[{W}-1:0] << n;
    e = zero ? 10'h200 : exponent + above + (sum[{W}] ? 10'd{step} : -n);
  end
endmodule
module property(input [{W}:0] sum, input [9:0] exponent, input above, output holds);
  wire [{W}-1:0] v, wanted_v;
  wire [9:0] e, wanted_e;
  {name} normalize (.sum(sum), .zero(sum == 0), .exponent(exponent), .above(above), .significand(v), .result_exponent(e));
  reference wanted (.sum(sum), .zero(sum == 0), .exponent(exponent), .above(above), .v(wanted_v), .e(wanted_e));
  assign holds = v == wanted_v & e == wanted_e;
endmodule
"""

ADD = """
module property(input [{W}-1:0] larger, smaller, input negative, subtract, zeros, output holds);
  wire [{W}:0] sum;
  wire sign, zero;
  wire both_zero;
  assign both_zero = larger == 0 & smaller == 0;
  mac_add add (.larger(larger), .addend(smaller ^ {{{W}{{subtract}}}}), .negative(negative), .subtract(subtract),
               .both_zero(both_zero), .sum(sum), .sign(sign), .zero(zero));
  wire signed [{W}+1:0] a, b, s;
  assign a = negative ? -{{2'b0, larger}} : {{2'b0, larger}};
  assign b = negative ^ subtract ? -{{2'b0, smaller}} : {{2'b0, smaller}};
  assign s = a + b;
  assign holds = sum == (s < 0 ? -s : s) & (s == 0 ? sign == (negative & ~subtract) : sign == (s < 0))
               & (zero == (s == 0) | ~subtract & ~both_zero);
endmodule
"""


def proven(verilog: str, tmp_path) -> bool:
    """Return whether ``holds`` of the module ``property`` in *verilog* is 1 for all inputs; every other answer is an error."""
    (tmp_path / "property.v").write_text(verilog)
    script = tmp_path / "script.ys"
    lines = ["read_verilog property.v", "hierarchy -check -top property", "proc; flatten; opt_clean"]
    script.write_text("\n".join([*lines, "sat -verify -prove holds 1 -show-inputs property"]) + "\n")
    log = tmp_path / "log"
    try:
        run_tool(find_yosys(), [script], timeout=120, log=log, folder=tmp_path)
    except ToolFailedError:
        if "model found: FAIL!" in log.read_text():
            return False
        raise
    assert "SAT proof finished - no model found: SUCCESS!" in log.read_text()
    return True


def approximate(width, k, further, fast) -> str:
    return configured("normalize_approximate", {"W": width, "K": k, "L": further, "FAST": fast})


def exact(width, fast) -> str:
    return configured("normalize_exact", {"W": width, "FAST": fast})


def claim(text, width, k, further) -> str:
    claims = text.format(W=width, K=k, L=further)
    return APPROXIMATE.format(W=width, claims=claims)


CASES = [(width, k, further, number % 2) for number, (k, further) in enumerate(SHIFTS) for width in WIDTHS]


@pytest.mark.parametrize(("width", "k", "further", "fast"), CASES)
def test_without_a_carry_no_bit_is_lost_and_the_value_stays(tmp_path, width, k, further, fast):
    assert proven(approximate(width, k, further, fast) + claim(NO_BIT_IS_LOST, width, k, further), tmp_path)


@pytest.mark.parametrize(("old", "new"), [
    ("next ? BY_K[9:0] : BY_BOTH[9:0]", "next ? BY_K[9:0] : BY_K[9:0]"),
    ("|sum[W-1-K-:L]", "1'b0"),  # shifts too far: bits fall off
])  # fmt: skip
def test_a_lost_bit_or_value_is_found(tmp_path, old, new):
    text = approximate(8, 1, 2, 0)
    assert text.count(old) == 1
    assert not proven(text.replace(old, new) + claim(NO_BIT_IS_LOST, 8, 1, 2), tmp_path)


@pytest.mark.parametrize(("width", "k", "further", "fast"), CASES)
def test_a_carry_is_a_shift_by_one_to_the_right(tmp_path, width, k, further, fast):
    assert proven(approximate(width, k, further, fast) + claim(CARRY_IS_EXACT, width, k, further), tmp_path)


@pytest.mark.parametrize(("old", "new"), [
    ("carry ? right :", "carry ? sum[W-1:0] :"),
    ("carry ? RIGHT[9:0] :", "carry ? 10'd0 :"),
])  # fmt: skip
def test_a_wrong_carry_is_found(tmp_path, old, new):
    text = approximate(8, 1, 2, 0)
    assert text.count(old) == 1
    assert not proven(text.replace(old, new) + claim(CARRY_IS_EXACT, 8, 1, 2), tmp_path)


@pytest.mark.parametrize("fast", [0, 1])
@pytest.mark.parametrize("width", [*WIDTHS, 15, 16, 20])
def test_exact_sets_the_top_bit_and_zero_has_the_lowest_exponent(tmp_path, width, fast):
    assert proven(exact(width, fast) + EXACT.format(W=width), tmp_path)


@pytest.mark.parametrize(("old", "new"), [
    ("~(|word[T-1-:(STRIDE<<(STEPS-1-s))]);", "~(|word[T-2-:(STRIDE<<(STEPS-1-s))]);"),
    ("sum_of[9] | zero", "sum_of[9]"),
])  # fmt: skip
def test_a_missing_shift_or_exponent_is_found(tmp_path, old, new):
    text = exact(8, 0)
    assert text.count(old) == 1
    assert not proven(text.replace(old, new) + EXACT.format(W=8), tmp_path)


@pytest.mark.parametrize("fast", [0, 1, 2])
@pytest.mark.parametrize("width", [*WIDTHS, 16, 20])
def test_exact_equals_its_reference(tmp_path, width, fast):
    wanted = REFERENCE.format(W=width, K=1, L=1, exact="1'b1", step=1, name="normalize_exact")
    assert proven(exact(width, fast) + wanted, tmp_path)


@pytest.mark.parametrize(("width", "k", "further", "fast"), [*CASES, (16, 1, 2, 0), (20, 2, 2, 1)])
def test_approximate_equals_its_reference(tmp_path, width, k, further, fast):
    wanted = REFERENCE.format(W=width, K=k, L=further, exact="1'b0", step=1, name="normalize_approximate")
    assert proven(approximate(width, k, further, fast) + wanted, tmp_path)


@pytest.mark.parametrize("fast", [0, 1])
@pytest.mark.parametrize(("width", "step"), [(8, 2), (11, 2), (16, 4), (17, 4), (20, 4), (24, 4)])
def test_exact_in_multiples_equals_its_reference(tmp_path, width, step, fast):
    wanted = REFERENCE.format(W=width, K=1, L=1, exact="1'b1", step=step, name="normalize_exact")
    text = configured("normalize_exact", {"W": width, "STEP": step, "FAST": fast})
    assert proven(text + wanted, tmp_path)


@pytest.mark.parametrize(("width", "step", "k", "further"), [
    (8, 1, 1, 0), (8, 1, 0, 0), (8, 2, 2, 2), (11, 2, 2, 0), (16, 4, 4, 4), (20, 4, 4, 0), (20, 4, 8, 4), (17, 4, 0, 0),
])  # fmt: skip
def test_approximate_in_multiples_equals_its_reference(tmp_path, width, step, k, further):
    wanted = REFERENCE.format(W=width, K=k, L=further, exact="1'b0", step=step, name="normalize_approximate")
    text = configured("normalize_approximate", {"W": width, "STEP": step, "K": k, "L": further})
    assert proven(text + wanted, tmp_path)
    broken = text.replace("10'd0 : next", "10'd1 : next")
    assert broken != text
    assert not proven(broken + wanted, tmp_path)


def test_a_difference_from_the_reference_is_found(tmp_path):
    wanted = REFERENCE.format(W=8, K=1, L=2, exact="1'b0", step=1, name="normalize_approximate")
    assert not proven(approximate(8, 2, 1, 0) + wanted, tmp_path)
    wanted = REFERENCE.format(W=8, K=1, L=1, exact="1'b1", step=1, name="normalize_exact")
    broken = exact(8, 1).replace("+ {{(STEPS-2){1'b0}}, 1'b1}", "+ {{(STEPS-2){1'b0}}, 1'b0}")
    assert broken != exact(8, 1)
    assert not proven(broken + wanted, tmp_path)


@pytest.mark.parametrize("fast", [0, 1])
@pytest.mark.parametrize("width", [4, 9, 16])
def test_sums_and_differences_have_the_right_size_and_sign(tmp_path, width, fast):
    text = configured("mac_add", {"W": width, "FAST": fast})
    assert proven(text + ADD.format(W=width), tmp_path)
    broken = text.replace("assign end_around = subtract & carry_out;", "assign end_around = subtract;")
    assert broken != text
    assert not proven(broken + ADD.format(W=width), tmp_path)
