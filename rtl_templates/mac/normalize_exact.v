// The sum shifted until its top bit is set, by halves: each step looks whether 16, 8, 4, 2, 1 bits on top are all zeros.
// A carry, sum[W], is the step that is not taken: significand = sum >> 1. exponent, above: E' = exponent + above.
// FAST = 1: the steps are told by a tree of their own over the sum, not through the shifting.
module normalize_exact #(
  parameter W    = 20,
  parameter FAST = 0
) (
  input  wire [W:0]   sum,
  input  wire         zero,
  input  wire [9:0]   exponent,
  input  wire         above,
  output wire [W-1:0] significand,
  output wire [9:0]   result_exponent
);
  generate  // what the module is not made for stops elaboration
    if (W < 4 || W > 32) begin : refuse_W normalize_exact_needs_W_from_4_to_32 stop (); end
    if (FAST < 0 || FAST > 2) begin : refuse_FAST normalize_exact_needs_FAST_from_0_to_2 stop (); end
  endgenerate
  localparam STEPS = W > 0 ? $clog2(W + 1) : 1;
  wire [STEPS-1:0] count;  // zeros on top of the sum
  genvar s;
  generate
    for (s = 0; s < STEPS; s = s + 1) begin : step  // the widest first; the last, by 1, is below
      wire [W:0] word;
      if (s == 0) begin : first
        assign word = sum;
      end else begin : halves
        assign word = count[STEPS-s] ? step[s-1].word << (1 << (STEPS - s)) : step[s-1].word;
      end
      if (FAST != 1) begin : looked_at
        assign count[STEPS-1-s] = ~(|word[W-:(1<<(STEPS-1-s))]);
      end
    end
    if (FAST == 1) begin : told
      wire [(1<<STEPS)-1:0] padded;
      if ((1 << STEPS) > W + 1) begin : wider
        assign padded = {sum, {((1<<STEPS)-W-1){1'b0}}};
      end else begin : same
        assign padded = sum;
      end
      mac_leading_zeros #(.STEPS(STEPS)) tree (
        .word(padded),
        .count(count)
      );
    end
  endgenerate
  assign significand = count[0] ? step[STEPS-1].word[W-1:0] : step[STEPS-1].word[W:1];

  // E = E' + 1 - count; the lowest bit of 1 - count is that of ~count
  wire [9:0]       sum_of;
  wire [STEPS-2:0] upper;
  assign upper = ~count[STEPS-1:1] + {{(STEPS-2){1'b0}}, 1'b1};
  mac_adder #(.WIDTH(10), .FAST(FAST)) adjust (
    .a(exponent),
    .b({{(10-STEPS){|count[STEPS-1:1]}}, upper, ~count[0]}),
    .carry_in(above),
    .sum(sum_of)
  );
  assign result_exponent = {sum_of[9] | zero, sum_of[8:0] & {9{~zero}}};  // of zero it is -512
endmodule
